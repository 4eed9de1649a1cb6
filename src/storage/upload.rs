//! Writing one large object piece by piece.

use std::fmt;
use std::mem;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use object_store::path::Path;
use object_store::{MultipartUpload, PutPayload, UploadPart};

use crate::error::Result;
use crate::storage::Storage;
use crate::storage::address::redact;
use crate::storage::failure::Attempt;

/// Size of every part but the last: all stores take it, some want all parts alike.
const PART_BYTES: usize = 8 * 1024 * 1024;

/// Parts on their way at one time: they bound the memory that an upload takes.
const PARTS_IN_FLIGHT: usize = 4;

/// A new object that is being written; it exists, whole, once [`finish`](Self::finish) said so, and
/// not before.
///
/// Dropped unfinished, it is given up as by [`abort`](Self::abort), in the background.
pub struct Upload {
    storage: Storage,
    key: String,
    path: Path,
    /// What is not handed to the store yet: less than one part, except within `write`.
    pending: Vec<Bytes>,
    pending_bytes: usize,
    length: u64,
    parts: Option<Box<dyn MultipartUpload>>,
    in_flight: FuturesUnordered<UploadPart>,
}

impl Upload {
    pub(super) fn new(storage: Storage, key: &str, path: Path) -> Self {
        Self {
            storage,
            key: key.to_owned(),
            path,
            pending: Vec::new(),
            pending_bytes: 0,
            length: 0,
            parts: None,
            in_flight: FuturesUnordered::new(),
        }
    }

    /// Adds `bytes` at the end.
    ///
    /// # Errors
    /// If the store fails; the upload is then to be dropped.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.length += bytes.len() as u64;
        self.pending_bytes += bytes.len();
        self.pending.push(bytes);
        while self.pending_bytes >= PART_BYTES {
            let part = self.take(PART_BYTES);
            self.send(part).await?;
        }
        Ok(())
    }

    /// Makes the object exist, replacing one of its name, and says its size.
    ///
    /// # Errors
    /// If the store fails; the object then exists whole or not at all, and which of the two is not
    /// known.
    pub async fn finish(mut self) -> Result<u64> {
        let rest = self.take(self.pending_bytes);
        if self.parts.is_none() {
            self.storage
                .put_payload(&self.key, &self.path, rest)
                .await?;
            return Ok(self.length);
        }
        if rest.content_length() > 0 {
            self.send(rest).await?;
        }
        self.settle(0).await?;
        if let Some(parts) = &mut self.parts {
            let completed = self.storage.in_time(self.length, parts.complete()).await;
            let result = completed.map_err(|error| self.attempt().failed(error));
            result?;
        }
        // The object exists: there is nothing left to abort.
        self.parts = None;
        Ok(self.length)
    }

    /// Gives the upload up; nothing stays of it.
    ///
    /// # Errors
    /// If the store fails to forget the parts that it has.
    pub async fn abort(mut self) -> Result<()> {
        self.in_flight.clear();
        let Some(mut parts) = self.parts.take() else {
            return Ok(());
        };
        let aborted = self.storage.in_time(0, parts.abort()).await;
        aborted.map_err(|error| self.attempt().failed(error))
    }

    /// The first `wanted` pending bytes; all of them if there are fewer.
    fn take(&mut self, wanted: usize) -> PutPayload {
        let mut part = Vec::new();
        let mut missing = wanted;
        for mut chunk in mem::take(&mut self.pending) {
            let taken = chunk.split_to(missing.min(chunk.len()));
            missing -= taken.len();
            self.pending_bytes -= taken.len();
            if !taken.is_empty() {
                part.push(taken);
            }
            if !chunk.is_empty() {
                self.pending.push(chunk);
            }
        }
        part.into_iter().collect()
    }

    async fn send(&mut self, part: PutPayload) -> Result<()> {
        if self.parts.is_none() {
            let started = self.storage.start_multipart(&self.path);
            let started = started.await.map_err(|error| self.attempt().failed(error));
            self.parts = Some(started?);
        }
        self.settle(PARTS_IN_FLIGHT - 1).await?;
        if let Some(parts) = &mut self.parts {
            self.storage.count_put(part.content_length() as u64);
            self.in_flight.push(parts.put_part(part));
        }
        Ok(())
    }

    /// Waits until at most `count` parts are on their way.
    async fn settle(&mut self, count: usize) -> Result<()> {
        while self.in_flight.len() > count {
            let next = self
                .storage
                .in_time(PART_BYTES as u64 * PARTS_IN_FLIGHT as u64, async {
                    self.in_flight.next().await.unwrap_or(Ok(()))
                });
            let next = next.await;
            next.map_err(|error| self.attempt().failed(error))?;
        }
        Ok(())
    }

    fn attempt(&self) -> Attempt<'_> {
        Attempt {
            what: "write the object",
            key: &self.key,
            location: self.storage.location(),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(mut parts) = self.parts.take() else {
            return;
        };
        self.in_flight.clear();
        let key = mem::take(&mut self.key);
        let _detached = self.storage.environment().spawn(async move {
            if let Err(error) = parts.abort().await {
                tracing::debug!(
                    key,
                    "an abandoned upload was not aborted: {}",
                    redact(&error.to_string())
                );
            }
        });
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("key", &self.key)
            .field("length", &self.length)
            .finish()
    }
}
