//! The guarded door through which Parquet bytes from storage reach the parquet crate.
//!
//! A file is untrusted: a failed allocation ends the process, and the crate allocates by counts that it reads. So every
//! footer, page index and page header goes through a walk of our own first, and is held against the bytes that there are.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `thrift` | the walk over bytes in Thrift's compact protocol |
//! | `shape` | the structs of the Parquet format, as data |
//! | `footer` | the footer, bounded and held against the file |
//! | `index` | the page index, if it can be relied on |
//! | `page` | page headers and their limits |
//! | `unpack` | pages decompressed, only to look |
//! | `delta` | lengths inside of pages |
//! | `weight` | what rows take in memory, and how many make a batch |
//! | `chunk` | the parts of a file that are in memory |
//! | `plan` | what to read of a row group |
//! | `decode` | batches |

mod chunk;
mod decode;
mod delta;
mod footer;
mod index;
mod page;
mod plan;
mod shape;
#[cfg(test)]
mod tests;
mod thrift;
mod unpack;
mod weight;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use futures::stream::BoxStream;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection};
use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::ParquetMetaData;
use parquet::schema::types::SchemaDescriptor;

pub(crate) use self::decode::catch_decode;

use self::chunk::{Chunks, merge};
use self::decode::Job;
use self::thrift::Refusal;
use crate::environment::Environment;
use crate::error::{Code, Error, ErrorKind, Result};
use crate::storage::Storage;

/// The column of row positions: see [`ReadRequest::with_row_numbers`].
pub(crate) const ROW_COLUMN: &str = "_headwater_row";

/// Bytes at the end of a file that are read to find its footer, with the page index if it is small.
const TAIL_BYTES: u64 = 64 << 10;

/// Files up to this size are read with the one request for their end.
const SMALL_FILE_BYTES: u64 = 256 << 10;

/// Bytes of one row group that are in memory before they are decoded.
const GROUP_BYTES_MAX: u64 = 8 << 30;

/// Rows of a batch, whatever was asked for.
const BATCH_ROWS_MAX: usize = 1 << 20;

/// A Parquet object whose footer has been bounded and parsed. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct ParquetFile(Arc<Inner>);

struct Inner {
    storage: Storage,
    key: String,
    size: u64,
    /// Where the footer begins: no data lies beyond.
    data_end: u64,
    /// The end of the file, from `tail_start` on.
    tail: Bytes,
    tail_start: u64,
    /// Without the page index: so a column chunk that is read as a whole is read without believing the index.
    plain: ArrowReaderMetadata,
    indexed: Option<ArrowReaderMetadata>,
    /// The position of the first row of each row group, by the order in the footer.
    first_rows: Vec<u64>,
}

/// What to read of a [`ParquetFile`].
#[derive(Debug, Clone)]
pub(crate) struct ReadRequest {
    /// Row groups, by their place in the footer, in the order in which their rows are wanted.
    pub(crate) row_groups: Vec<usize>,
    /// Leaf columns.
    pub(crate) projection: ProjectionMask,
    /// Rows to take, counted over `row_groups` in their order; rows past its end are left out. With a page index
    /// loaded, pages without such rows are not read.
    pub(crate) selection: Option<RowSelection>,
    /// Rows of a batch at most; wide rows come in smaller batches.
    pub(crate) batch_rows: usize,
    /// Whether each batch ends with a column [`ROW_COLUMN`], the positions of its rows in the file.
    pub(crate) with_row_numbers: bool,
    /// Arrow types to read all columns as, where they are not those that the Parquet types suggest.
    pub(crate) arrow_schema_hint: Option<SchemaRef>,
    /// Rows at most.
    pub(crate) limit: Option<usize>,
}

impl ParquetFile {
    /// Reads the footer of an object, with one request if its size is known.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] with `Code::DataCorrupt` if the object is missing, has another size than expected, or is no
    /// sound Parquet file, and with `Code::LimitExceeded` if it takes too much memory to read;
    /// [`ErrorKind::Unsupported`] if it is encrypted; [`ErrorKind::Storage`] if the store fails.
    pub(crate) async fn open(
        storage: &Storage,
        key: &str,
        expected_size: Option<u64>,
    ) -> Result<Self> {
        let size = match expected_size {
            Some(size) => size,
            None => {
                storage
                    .head(key)
                    .await?
                    .ok_or_else(|| place(missing(), key))?
                    .size
            }
        };
        let start = if size <= SMALL_FILE_BYTES {
            0
        } else {
            size - TAIL_BYTES
        };
        let end = storage.get_end(key, start, size).await;
        let mut tail = end.map_err(as_missing)?;
        let footer = footer::locate(&tail, size).map_err(|refusal| place(refused(refusal), key))?;
        let mut tail_start = start;
        if footer.start < start {
            let head = read(storage, key, footer.start..start).await?;
            tail = [head, tail].concat().into();
            tail_start = footer.start;
        }
        let (file, name) = ((storage.clone(), tail, tail_start), key.to_owned());
        let parse = move || catch_decode(|| Self::parse(file, name, size, footer));
        let parsed = storage.environment().run_blocking(parse).await;
        parsed
            .ok_or_else(stopped)?
            .map_err(|error| place(error, key))
    }

    fn parse(
        (storage, tail, tail_start): (Storage, Bytes, u64),
        key: String,
        size: u64,
        footer: Range<u64>,
    ) -> Result<Self> {
        let bytes = footer::cut(&tail, tail_start, &footer).unwrap_or_default();
        let metadata = footer::parse(&bytes, footer.start).map_err(refused)?;
        let mut next = 0u64;
        let first_rows = metadata
            .row_groups()
            .iter()
            .map(|group| {
                let first = next;
                next = next.saturating_add(plan::row_count(group) as u64);
                first
            })
            .collect();
        let plain = with_schema(Arc::new(metadata), None)?;
        let data_end = footer.start;
        let indexed = None;
        let inner = Inner {
            storage,
            key,
            size,
            data_end,
            tail,
            tail_start,
            plain,
            indexed,
            first_rows,
        };
        Ok(Self(Arc::new(inner)))
    }

    /// The footer, with the page index once it was loaded. Its offsets and counts are held against the file; statistics
    /// are what the writer says.
    pub(crate) fn metadata(&self) -> &Arc<ParquetMetaData> {
        self.arrow().metadata()
    }

    /// The Arrow types that the Parquet types suggest. An Arrow schema in the footer does not count; timestamps of
    /// 96 bits are microseconds in UTC.
    pub(crate) fn arrow_schema(&self) -> &SchemaRef {
        self.0.plain.schema()
    }

    /// The name of the object.
    pub(crate) fn key(&self) -> &str {
        &self.0.key
    }

    /// The rows of the file.
    pub(crate) fn num_rows(&self) -> u64 {
        u64::try_from(self.metadata().file_metadata().num_rows()).unwrap_or_default()
    }

    /// The position in the file of the first row of a row group.
    pub(crate) fn first_row_of(&self, row_group: usize) -> Option<u64> {
        self.0.first_rows.get(row_group).copied()
    }

    /// The same file with its page index, if it has one that can be relied on.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if the store fails.
    pub(crate) async fn with_page_index(&self) -> Result<Self> {
        if self.0.indexed.is_some() {
            return Ok(self.clone());
        }
        let inner = Arc::clone(&self.0);
        let Some(range) = index::locate(inner.plain.metadata(), inner.data_end) else {
            return Ok(self.clone());
        };
        let chunks = self.fetch(vec![range.clone()]).await?;
        let bytes = chunks.get(&range).unwrap_or_default();
        let parse = move || {
            let metadata = inner.plain.metadata();
            catch_decode(|| Ok(index::parse(metadata, inner.size, (range.start, bytes))))
                .ok()
                .flatten()
        };
        let parsed = self
            .environment()
            .run_blocking(parse)
            .await
            .ok_or_else(stopped)?;
        let Some(metadata) = parsed else {
            tracing::warn!(
                path = self.key(),
                "a page index contradicts itself and is not used"
            );
            return Ok(self.clone());
        };
        let inner = &self.0;
        let hint = Some(Arc::clone(inner.plain.schema()));
        Ok(Self(Arc::new(Inner {
            storage: inner.storage.clone(),
            key: inner.key.clone(),
            tail: inner.tail.clone(),
            plain: inner.plain.clone(),
            indexed: Some(with_schema(Arc::new(metadata), hint)?),
            first_rows: inner.first_rows.clone(),
            ..**inner
        })))
    }

    /// Reads rows, a row group at a time. The bytes of the next one are read meanwhile, and one batch is decoded ahead.
    /// Nothing more is started once the stream is dropped. Several streams of one file decode in parallel.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if a row group does not exist or the hint does not fit. The stream ends with
    /// [`ErrorKind::Corrupt`] if the bytes cannot be decoded or make another number of rows than the footer says.
    pub(crate) async fn read(
        &self,
        request: ReadRequest,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let invalid = |message| place(Error::invalid(Code::InvalidArgument, message), self.key());
        let ReadRequest {
            row_groups,
            projection,
            selection,
            ..
        } = request;
        let metadata = match (&selection, request.arrow_schema_hint) {
            (selection, None) => {
                if selection.is_some() {
                    self.arrow().clone()
                } else {
                    self.0.plain.clone()
                }
            }
            (_, Some(hint)) => {
                with_schema(Arc::clone(self.metadata()), Some(hint)).map_err(|error| {
                    invalid("the types asked for do not fit the file").because(error)
                })?
            }
        };
        let groups = plan::groups(metadata.metadata(), &row_groups, selection)
            .ok_or_else(|| invalid("a row group does not exist"))?;
        let job = Job {
            file: self.clone(),
            metadata,
            projection,
            batch_rows: request.batch_rows.clamp(1, BATCH_ROWS_MAX),
            row_numbers: request.with_row_numbers,
        };
        Ok(decode::stream(job, groups, request.limit))
    }

    fn arrow(&self) -> &ArrowReaderMetadata {
        self.0.indexed.as_ref().unwrap_or(&self.0.plain)
    }

    fn environment(&self) -> &Environment {
        self.0.storage.environment()
    }

    /// Reads ranges of the file, out of its end where that is in memory.
    async fn fetch(&self, ranges: Vec<Range<u64>>) -> Result<Chunks> {
        let inner = &self.0;
        let ranges = merge(ranges);
        let total = ranges.iter().fold(0, |sum: u64, range| {
            sum.saturating_add(range.end - range.start)
        });
        if total > GROUP_BYTES_MAX {
            return Err(self.place(refused(Refusal::TooLarge("a row group is over the limit"))));
        }
        let at_hand = |range| footer::cut(&inner.tail, inner.tail_start, range);
        let away: Vec<Range<u64>> = ranges
            .iter()
            .filter(|range| at_hand(range).is_none())
            .cloned()
            .collect();
        let mut fetched = if away.is_empty() {
            Vec::new()
        } else {
            inner
                .storage
                .get_ranges(&inner.key, &away)
                .await
                .map_err(as_missing)?
        }
        .into_iter();
        let bytes = ranges
            .iter()
            .filter_map(|range| at_hand(range).or_else(|| fetched.next()))
            .collect();
        Ok(Chunks::new(inner.size, &ranges, bytes))
    }

    fn place(&self, error: Error) -> Error {
        place(error, self.key())
    }
}

impl fmt::Debug for ParquetFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetFile")
            .field("key", &self.0.key)
            .field("size", &self.0.size)
            .finish()
    }
}

async fn read(storage: &Storage, key: &str, range: Range<u64>) -> Result<Bytes> {
    storage.get_range(key, range).await.map_err(as_missing)
}

/// An object that the log names and the store does not have: the table is damaged.
fn as_missing(error: Error) -> Error {
    if error.kind() == ErrorKind::NotFound {
        missing().because(error)
    } else {
        error
    }
}

fn missing() -> Error {
    Error::corrupt(Code::DataCorrupt, "a Parquet file of the table is missing")
}

fn stopped() -> Error {
    Error::storage(Code::Stopped, "reading was stopped: its runtime ended")
}

fn place(error: Error, key: &str) -> Error {
    if error.context_value("path").is_some() {
        error
    } else {
        error.with("path", key)
    }
}

fn refused(refusal: Refusal) -> Error {
    let message = format!("the object is no Parquet file that can be read: {refusal}");
    match refusal {
        Refusal::Malformed(_) => Error::corrupt(Code::DataCorrupt, message),
        Refusal::TooLarge(_) => Error::corrupt(Code::LimitExceeded, message),
        Refusal::Unsupported(_) => Error::unsupported(message),
    }
}

/// The footer with Arrow types: those of `hint`, or those that the Parquet types suggest.
fn with_schema(
    metadata: Arc<ParquetMetaData>,
    hint: Option<SchemaRef>,
) -> Result<ArrowReaderMetadata> {
    let unusable = |error| {
        Error::corrupt(
            Code::DataCorrupt,
            "the schema of the Parquet file cannot be read",
        )
        .because(error)
    };
    let load = |hint: Option<SchemaRef>| {
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let options = match hint {
            Some(schema) => options.with_schema(schema),
            None => options,
        };
        ArrowReaderMetadata::try_new(Arc::clone(&metadata), options).map_err(unusable)
    };
    if hint.is_some() {
        return load(hint);
    }
    let suggested = load(None)?;
    match in_microseconds(suggested.schema(), metadata.file_metadata().schema_descr()) {
        Some(schema) => load(Some(Arc::new(schema))),
        None => Ok(suggested),
    }
}

/// Timestamps of 96 bits as microseconds, which hold all years that Spark writes; `None` if there are none.
fn in_microseconds(schema: &Schema, parquet: &SchemaDescriptor) -> Option<Schema> {
    let is_wide = |leaf: usize| {
        parquet
            .columns()
            .get(leaf)
            .is_some_and(|leaf| leaf.physical_type() == PhysicalType::INT96)
    };
    if !(0..parquet.num_columns()).any(is_wide) {
        return None;
    }
    let mut leaf = 0;
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| narrowed(field, &mut leaf, &is_wide))
        .collect();
    Some(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn narrowed(field: &Field, leaf: &mut usize, is_wide: &impl Fn(usize) -> bool) -> Field {
    let data_type = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(
            fields
                .iter()
                .map(|field| narrowed(field, leaf, is_wide))
                .collect(),
        ),
        DataType::List(field) => DataType::List(Arc::new(narrowed(field, leaf, is_wide))),
        DataType::Map(field, sorted) => {
            DataType::Map(Arc::new(narrowed(field, leaf, is_wide)), *sorted)
        }
        other => {
            *leaf += 1;
            if is_wide(*leaf - 1) {
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
            } else {
                other.clone()
            }
        }
    };
    field.clone().with_data_type(data_type)
}
