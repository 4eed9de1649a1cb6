//! Reading and listing: every answer is checked against what was asked for.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::{Error as StoreError, GetOptions, GetRange, GetResult, ObjectMeta};

use crate::error::{Code, Error, ErrorKind, Result};
use crate::storage::failure::Attempt;
use crate::storage::{ObjectInfo, SLOWEST_LISTING, SLOWEST_RATE, Storage};

/// Ranges with less than this between them are one request: a request costs more than the bytes.
const GAP_BYTES: u64 = 512 * 1024;

/// Requests at one time for the ranges of one object.
const RANGES_IN_FLIGHT: usize = 8;

impl Storage {
    /// The whole object.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none; [`ErrorKind::Storage`] if the store fails.
    pub async fn get(&self, key: &str) -> Result<Bytes> {
        self.get_limited(key, u64::MAX).await
    }

    /// The whole object, unless it is larger than `max_bytes`: then it is not even transferred.
    ///
    /// # Errors
    /// As [`get`](Self::get), and `Code::LimitExceeded`.
    pub async fn get_limited(&self, key: &str, max_bytes: u64) -> Result<Bytes> {
        let path = self.path(key)?;
        let attempt = self.attempt("read the object", key);
        self.retrying(|| async {
            self.0.counters.gets.add(1);
            let answer = self
                .in_time(0, self.0.store.get_opts(&path, GetOptions::default()))
                .await;
            let answer = answer.map_err(|error| attempt.failed(error))?;
            let size = answer.meta.size;
            if answer.range != (0..size) {
                return Err(attempt.wrong_answer("the store sent a part of it"));
            }
            if size > max_bytes {
                let message = format!("an object of {size} bytes is over the limit of {max_bytes}");
                return Err(attempt.place(Error::corrupt(Code::LimitExceeded, message)));
            }
            self.body(answer, &attempt).await
        })
        .await
    }

    /// The bytes `range` of an object, all of them.
    ///
    /// # Errors
    /// As [`get`](Self::get); [`ErrorKind::Corrupt`] if the object ends before `range` does.
    pub async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        self.ranged(key, range).await.map(|ranged| ranged.bytes)
    }

    /// The bytes from `start` on of an object that has `size` bytes, at no more cost than [`get_range`](Self::get_range).
    ///
    /// # Errors
    /// As [`get_range`](Self::get_range); [`ErrorKind::Corrupt`] if the object has another size.
    pub(crate) async fn get_end(&self, key: &str, start: u64, size: u64) -> Result<Bytes> {
        let ranged = self.ranged(key, start..size).await?;
        match ranged.size {
            Some(found) if found != size => {
                let message = format!("an object of {found} bytes should have {size}");
                let attempt = self.attempt("read the object", key);
                Err(attempt.place(Error::corrupt(Code::DataCorrupt, message)))
            }
            _ => Ok(ranged.bytes),
        }
    }

    /// Several ranges of an object, in the order they are asked for; near ones share a request.
    ///
    /// # Errors
    /// As [`get_range`](Self::get_range), and if the object was replaced while it was read.
    pub async fn get_ranges(&self, key: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if let Some(folder) = &self.0.folder {
            return self.folder_ranges(folder, key, ranges).await;
        }
        let attempt = self.attempt("read the object", key);
        let fetches = coalesce(ranges);
        self.retrying(|| async {
            let parts: Vec<Ranged> = stream::iter(fetches.clone())
                .map(|fetch| self.ranged(key, fetch))
                .buffered(RANGES_IN_FLIGHT)
                .try_collect()
                .await?;
            if parts
                .windows(2)
                .any(|pair| matches!(pair, [one, other] if one.tag != other.tag))
            {
                return Err(attempt.wrong_answer("it was replaced while it was read"));
            }
            let cut = |range| cut(&fetches, &parts, range);
            let found: Option<Vec<Bytes>> = ranges.iter().map(cut).collect();
            found.ok_or_else(|| attempt.wrong_answer("the store sent less than asked for"))
        })
        .await
    }

    /// Size and time of an object; `None` if there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if the store fails.
    pub async fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        let path = self.path(key)?;
        let attempt = self.attempt("look up the object", key);
        let found = self
            .retrying(|| async {
                self.0.counters.heads.add(1);
                let options = GetOptions::new().with_head(true);
                let answer = self.in_time(0, self.0.store.get_opts(&path, options)).await;
                answer.map_err(|error| attempt.failed(error))
            })
            .await;
        match found {
            Ok(answer) => Ok(self.info(&answer.meta)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The objects directly in `directory` (`""` is the table itself) whose key is above `after`,
    /// each once, by key.
    ///
    /// A directory that does not exist is empty. A listing of which a part fails, fails.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if the store fails; `Code::LimitExceeded` if there are millions of
    /// objects.
    pub async fn list(&self, directory: &str, after: Option<&str>) -> Result<Vec<ObjectInfo>> {
        let attempt = self.attempt("list the objects", directory);
        let mut found = self
            .retrying(|| async {
                self.0.counters.lists.add(1);
                self.list_once(directory, after.unwrap_or_default(), &attempt)
                    .await
            })
            .await?;
        // Of one key shown twice, the newest is kept.
        found.sort_by(|a, b| {
            a.key
                .cmp(&b.key)
                .then(b.modified_millis.cmp(&a.modified_millis))
        });
        found.dedup_by(|later, kept| later.key == kept.key);
        Ok(found)
    }

    async fn list_once(
        &self,
        directory: &str,
        after: &str,
        attempt: &Attempt<'_>,
    ) -> Result<Vec<ObjectInfo>> {
        let mut pages = self.pages(directory, after, attempt)?;
        let prefix = if directory.is_empty() {
            String::new()
        } else {
            format!("{directory}/")
        };
        let mut found = Vec::new();
        let started = self.0.environment.elapsed();
        let mut seen: u64 = 0;
        let failed = |error| attempt.failed(error);
        while let Some(meta) = self.in_time(0, pages.try_next()).await.map_err(failed)? {
            seen = seen.saturating_add(1);
            self.check_pace(started, seen / SLOWEST_LISTING, attempt)?;
            let Some(info) = self.info(&meta) else {
                continue;
            };
            let direct = info
                .key
                .strip_prefix(&prefix)
                .is_some_and(|name| !name.contains('/'));
            if !direct || info.key.as_str() <= after {
                continue;
            }
            if found.len() >= self.0.listed_max {
                let message = format!("a directory holds more than {} objects", self.0.listed_max);
                return Err(attempt.place(Error::corrupt(Code::LimitExceeded, message)));
            }
            found.push(info);
        }
        Ok(found)
    }

    /// What the store lists for a directory: maybe more than is asked for, in any order.
    fn pages(
        &self,
        directory: &str,
        after: &str,
        attempt: &Attempt<'_>,
    ) -> Result<BoxStream<'static, Result<ObjectMeta, StoreError>>> {
        let below = |key: &str| {
            let refused = || Error::corrupt(Code::UnsafePath, "a directory's path is not allowed");
            self.below_root(key).ok_or_else(|| attempt.place(refused()))
        };
        let prefix = below(directory)?;
        let store = std::sync::Arc::clone(&self.0.store);
        if let Some(folder) = self.0.folder.clone() {
            let after = after.to_owned();
            let listed = async move { folder.list_directory(&prefix, after).await };
            return Ok(stream::once(listed).map_ok(objects).try_flatten().boxed());
        }
        if !after.is_empty() {
            return Ok(store.list_with_offset(Some(&prefix), &below(after)?));
        }
        if directory.is_empty() {
            // Everything of the table lies below: a recursive listing would show every data file.
            let listed = async move { store.list_with_delimiter(Some(&prefix)).await };
            return Ok(stream::once(listed)
                .map_ok(|page| objects(page.objects))
                .try_flatten()
                .boxed());
        }
        Ok(store.list(Some(&prefix)))
    }

    /// A range, and what the store says of the object that it is from.
    async fn ranged(&self, key: &str, range: Range<u64>) -> Result<Ranged> {
        let path = self.path(key)?;
        let attempt = self.attempt("read the object", key);
        if range.is_empty() {
            return Ok(Ranged::default());
        }
        let length = range.end - range.start;
        self.retrying(|| async {
            self.0.counters.gets.add(1);
            let options = GetOptions::new().with_range(Some(GetRange::Bounded(range.clone())));
            match self
                .in_time(length, self.0.store.get_opts(&path, options))
                .await
            {
                Ok(answer) if answer.range == range => {
                    let (tag, size) = (answer.meta.e_tag.clone(), Some(answer.meta.size));
                    let bytes = self.body(answer, &attempt).await?;
                    Ok(Ranged { bytes, tag, size })
                }
                Ok(answer) if answer.meta.size < range.end => {
                    Err(too_short(&attempt, answer.meta.size, &range))
                }
                Ok(_) => Err(attempt.wrong_answer("the store sent another range")),
                Err(error) => Err(self.explain_range(attempt.failed(error), key, &range).await),
            }
        })
        .await
    }

    /// Stores say nothing clear about a range past the end: a failed one is held against the size.
    async fn explain_range(&self, error: Error, key: &str, range: &Range<u64>) -> Error {
        if error.code() != Code::StoreFailed {
            return error;
        }
        match Box::pin(self.head(key)).await {
            Ok(Some(info)) if info.size < range.end => {
                too_short(&self.attempt("read the object", key), info.size, range)
            }
            _ => error,
        }
    }

    /// All ranges with one visit to the file.
    async fn folder_ranges(
        &self,
        folder: &crate::storage::LocalStore,
        key: &str,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>> {
        use object_store::ObjectStore;
        let path = self.path(key)?;
        let attempt = self.attempt("read the object", key);
        let asked: Vec<Range<u64>> = ranges
            .iter()
            .filter(|range| !range.is_empty())
            .cloned()
            .collect();
        if asked.is_empty() {
            return Ok(vec![Bytes::new(); ranges.len()]);
        }
        let total = asked.iter().fold(0, |sum: u64, range| {
            sum.saturating_add(range.end - range.start)
        });
        self.retrying(|| async {
            self.0.counters.gets.add(1);
            let last = asked
                .iter()
                .max_by_key(|range| range.end)
                .cloned()
                .unwrap_or_default();
            let parts = match self.in_time(total, folder.get_ranges(&path, &asked)).await {
                Ok(parts) => parts,
                Err(error) => {
                    return Err(self.explain_range(attempt.failed(error), key, &last).await);
                }
            };
            let mut parts = parts.into_iter();
            let found: Option<Vec<Bytes>> = ranges
                .iter()
                .map(|range| {
                    if range.is_empty() {
                        return Some(Bytes::new());
                    }
                    parts
                        .next()
                        .filter(|part| part.len() as u64 == range.end - range.start)
                })
                .collect();
            let found = match found {
                Some(found) => found,
                None => {
                    let error = attempt.wrong_answer("the store sent less than asked for");
                    return Err(self.explain_range(error, key, &last).await);
                }
            };
            self.0.counters.bytes_read.add(total);
            Ok(found)
        })
        .await
    }

    /// The bytes of an answer, as many as it announced.
    async fn body(&self, answer: GetResult, attempt: &Attempt<'_>) -> Result<Bytes> {
        let announced = answer.range.end.saturating_sub(answer.range.start);
        let mut rest = answer.into_stream();
        let mut chunks: Vec<Bytes> = Vec::new();
        let mut length: u64 = 0;
        let started = self.0.environment.elapsed();
        while let Some(chunk) = self
            .in_time(0, rest.try_next())
            .await
            .map_err(|error| attempt.failed(error))?
        {
            length = length.saturating_add(chunk.len() as u64);
            self.0.counters.bytes_read.add(chunk.len() as u64);
            self.check_pace(started, announced / SLOWEST_RATE, attempt)?;
            if length > announced {
                return Err(attempt.wrong_answer("the store sent more than it announced"));
            }
            chunks.push(chunk);
        }
        if length < announced {
            return Err(attempt.wrong_answer("the answer ended early"));
        }
        Ok(join(chunks))
    }
}

fn objects(found: Vec<ObjectMeta>) -> impl futures::Stream<Item = Result<ObjectMeta, StoreError>> {
    stream::iter(found.into_iter().map(Ok))
}

/// A part of an object; of a part of no bytes nothing else is known.
#[derive(Debug, Default)]
struct Ranged {
    bytes: Bytes,
    tag: Option<String>,
    size: Option<u64>,
}

fn too_short(attempt: &Attempt<'_>, size: u64, range: &Range<u64>) -> Error {
    let Range { start, end } = range;
    let message = format!("an object of {size} bytes ends before its bytes {start} to {end}");
    attempt.place(Error::corrupt(Code::DataCorrupt, message))
}

fn join(mut chunks: Vec<Bytes>) -> Bytes {
    if chunks.len() <= 1 {
        return chunks.pop().unwrap_or_default();
    }
    let mut joined = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
    chunks
        .iter()
        .for_each(|chunk| joined.extend_from_slice(chunk));
    joined.freeze()
}

/// The requests that cover `ranges`: sorted, with gaps between them that are worth a request.
fn coalesce(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted: Vec<Range<u64>> = ranges
        .iter()
        .filter(|range| !range.is_empty())
        .cloned()
        .collect();
    sorted.sort_by_key(|range| (range.start, range.end));
    let mut fetches: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match fetches.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(GAP_BYTES) => {
                last.end = last.end.max(range.end);
            }
            _ => fetches.push(range),
        }
    }
    fetches
}

/// The bytes of one range out of what was fetched.
fn cut(fetches: &[Range<u64>], parts: &[Ranged], range: &Range<u64>) -> Option<Bytes> {
    if range.is_empty() {
        return Some(Bytes::new());
    }
    let index = fetches
        .partition_point(|fetch| fetch.start <= range.start)
        .checked_sub(1)?;
    let (fetch, part) = (fetches.get(index)?, &parts.get(index)?.bytes);
    let start = usize::try_from(range.start.checked_sub(fetch.start)?).ok()?;
    let end = usize::try_from(range.end.checked_sub(fetch.start)?).ok()?;
    (start <= end && end <= part.len()).then(|| part.slice(start..end))
}
