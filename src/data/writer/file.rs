//! One data file while it is written.
//!
//! Rows come in slabs. The columns of a slab are encoded side by side, each by whichever thread is free, and so are its
//! statistics and its fingerprint; what comes out does not depend on who did what. Encoded pages stay in memory until
//! their row group is full, then they go to the store.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::DataType as ArrowType;
use bytes::Bytes;
use parquet::arrow::arrow_writer::{
    ArrowColumnWriter, ArrowRowGroupWriterFactory, ArrowWriter, ArrowWriterOptions, compute_leaves,
};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedFileWriter;

use crate::data::collector::Collector;
use crate::data::fingerprint::Fingerprinter;
use crate::data::writer::nan;
use crate::data::writer::plan::WritePlan;
use crate::error::{Code, Error, Result};
use crate::protocol::action::{Add, PartitionValues};
use crate::protocol::location;
use crate::storage::Upload;

/// The tag of an `add` that holds the BLAKE3 hash of the file's bytes, in hexadecimal.
pub(crate) const TAG_BLAKE3: &str = "headwater.blake3";
/// The tag of an `add` that holds the [fingerprint](crate::data::fingerprint) of the file's rows.
pub(crate) const TAG_ROWS: &str = "headwater.rows";

/// Batches smaller than this are gathered.
const BATCH_ROWS_MIN: usize = 1024;
/// Encoded bytes wait for the store in pieces of this size.
const PIECE_BYTES: usize = 4 << 20;
/// What an upload keeps in memory, at most, while nothing is written to it.
const UPLOAD_BYTES: usize = 8 << 20;
/// Below this many bytes a slab is not worth a second thread.
const SPREAD_BYTES: usize = 256 << 10;

/// What identifies a file before it has rows.
#[derive(Debug, Clone)]
pub(super) struct FileName {
    /// The decoded key below the table root.
    pub(super) key: String,
    pub(super) partition_values: PartitionValues,
}

pub(super) struct OpenFile {
    plan: Arc<WritePlan>,
    name: FileName,
    writer: SerializedFileWriter<Sink>,
    factory: ArrowRowGroupWriterFactory,
    /// The units of the open row group, by place; those that outlive a row group are among them.
    units: Vec<Unit>,
    group_rows: usize,
    rows: u64,
    hasher: blake3::Hasher,
    upload: Option<Upload>,
}

/// A part of a slab's work that one thread does.
struct Unit {
    place: usize,
    work: Work,
}

enum Work {
    Column {
        index: usize,
        writers: Vec<ArrowColumnWriter>,
        nans: Vec<bool>,
    },
    Statistics(Collector),
    Fingerprint(Fingerprinter),
}

impl OpenFile {
    pub(super) fn create(plan: Arc<WritePlan>, name: FileName) -> Result<Self> {
        let options = ArrowWriterOptions::new()
            .with_properties(plan.parquet.clone())
            .with_skip_arrow_metadata(true);
        let arrow = Arc::clone(&plan.stored_arrow);
        let (writer, factory) = ArrowWriter::try_new_with_options(Sink::default(), arrow, options)
            .and_then(ArrowWriter::into_serialized_writer)
            .map_err(encoding)?;
        let columns = plan.stored_arrow.fields().len();
        let fingerprinter = plan.fingerprinter(&name.partition_values)?;
        let units = vec![
            Unit {
                place: columns,
                work: Work::Statistics(plan.collector()),
            },
            Unit {
                place: columns + 1,
                work: Work::Fingerprint(fingerprinter),
            },
        ];
        let hasher = blake3::Hasher::new();
        let (group_rows, rows, upload) = (0, 0, None);
        Ok(Self {
            plan,
            name,
            writer,
            factory,
            units,
            group_rows,
            rows,
            hasher,
            upload,
        })
    }

    /// Encodes rows, on as many threads as the plan allows.
    pub(super) async fn encode(mut self, slab: Vec<RecordBatch>, bytes: usize) -> Result<Self> {
        let slab = gather(&self.plan, slab).await?;
        if self.group_rows == 0 {
            self.open_group()?;
        }
        let rows: usize = slab.iter().map(RecordBatch::num_rows).sum();
        let workers = self
            .plan
            .options
            .workers
            .min(1 + bytes / SPREAD_BYTES)
            .max(1);
        let queue = Arc::new(Queue {
            slab,
            waiting: Mutex::new(std::mem::take(&mut self.units)),
            done: Mutex::new(Vec::new()),
        });
        let environment = &self.plan.environment;
        let work = |_| {
            let queue = Arc::clone(&queue);
            environment.run_blocking(move || queue.run())
        };
        for outcome in futures::future::join_all((0..workers).map(work)).await {
            outcome.ok_or_else(died)??;
        }
        self.units =
            std::mem::take(&mut *queue.done.lock().unwrap_or_else(PoisonError::into_inner));
        self.units.sort_unstable_by_key(|unit| unit.place);
        self.group_rows += rows;
        self.rows += rows as u64;
        if self.plan.options.row_group_rows <= self.group_rows
            || self.plan.options.row_group_bytes <= self.group_bytes()
        {
            return self.flush().await;
        }
        Ok(self)
    }

    /// Ends the row group, if one is open, and hands its bytes to the store.
    pub(super) async fn flush(mut self) -> Result<Self> {
        if 0 < self.group_rows {
            let environment = self.plan.environment.clone();
            let close = move || self.close_group().map(|pieces| (self, pieces));
            let (file, pieces) = environment.run_blocking(close).await.ok_or_else(died)??;
            self = file;
            self.send(pieces).await?;
        }
        Ok(self)
    }

    /// Ends the file: when this returns, the object is there, whole.
    pub(super) async fn finish(self) -> Result<Add> {
        let mut file = self.flush().await?;
        let footer = file.writer.finish().map_err(encoding)?;
        if u64::try_from(footer.file_metadata().num_rows()) != Ok(file.rows) {
            return Err(Error::storage(
                Code::StoreFailed,
                "the footer has another row count than the file",
            ));
        }
        let rest = file.take_bytes();
        file.send(rest).await?;
        let upload = file.upload.take();
        let upload =
            upload.ok_or_else(|| Error::storage(Code::StoreFailed, "a data file has no bytes"))?;
        let size = upload.finish().await?;
        file.into_add(size)
    }

    /// How large the file would be if it ended here, about.
    pub(super) fn estimated_bytes(&self) -> usize {
        self.writer.bytes_written() + self.group_bytes()
    }

    /// How much memory it holds, about.
    pub(super) fn memory_bytes(&self) -> usize {
        let waiting = self.writer.bytes_written().min(UPLOAD_BYTES);
        waiting
            + self
                .columns()
                .map(ArrowColumnWriter::memory_size)
                .sum::<usize>()
    }

    /// How large the open row group would be if it ended here, about.
    pub(super) fn group_bytes(&self) -> usize {
        self.columns()
            .map(ArrowColumnWriter::get_estimated_total_bytes)
            .sum()
    }

    fn columns(&self) -> impl Iterator<Item = &ArrowColumnWriter> {
        self.units.iter().flat_map(|unit| match &unit.work {
            Work::Column { writers, .. } => writers.as_slice(),
            Work::Statistics(_) | Work::Fingerprint(_) => &[],
        })
    }

    fn open_group(&mut self) -> Result<()> {
        let group = self.writer.flushed_row_groups().len();
        let mut writers = self
            .factory
            .create_column_writers(group)
            .map_err(encoding)?
            .into_iter();
        for (index, field) in self.plan.stored_arrow.fields().iter().enumerate() {
            let nans = vec![false; leaves(field.data_type())];
            let writers = writers.by_ref().take(nans.len()).collect();
            self.units.push(Unit {
                place: index,
                work: Work::Column {
                    index,
                    writers,
                    nans,
                },
            });
        }
        Ok(())
    }

    fn close_group(&mut self) -> Result<Vec<Bytes>> {
        let mut group = self.writer.next_row_group().map_err(encoding)?;
        let mut kept = Vec::new();
        for unit in std::mem::take(&mut self.units) {
            let Work::Column { writers, nans, .. } = unit.work else {
                kept.push(unit);
                continue;
            };
            for (writer, has_nan) in writers.into_iter().zip(nans) {
                let mut chunk = writer.close().map_err(encoding)?;
                if has_nan {
                    nan::clear_bounds(chunk.close_mut()).map_err(encoding)?;
                }
                chunk.append_to_row_group(&mut group).map_err(encoding)?;
            }
        }
        group.close().map_err(encoding)?;
        self.units = kept;
        self.group_rows = 0;
        self.writer
            .flush()
            .map_err(|cause| encoding(cause.into()))?;
        Ok(self.take_bytes())
    }

    /// What the Parquet writer has let go of; it counts towards the hash of the file.
    fn take_bytes(&mut self) -> Vec<Bytes> {
        let sink = self.writer.inner_mut();
        sink.cut();
        let pieces = std::mem::take(&mut sink.pieces);
        for piece in &pieces {
            self.hasher.update(piece);
        }
        pieces
    }

    async fn send(&mut self, pieces: Vec<Bytes>) -> Result<()> {
        for piece in pieces {
            let upload = match &mut self.upload {
                Some(upload) => upload,
                None => self
                    .upload
                    .insert(self.plan.storage.upload(&self.name.key).await?),
            };
            upload.write(piece).await?;
        }
        Ok(())
    }

    fn into_add(self, size: u64) -> Result<Add> {
        let mut stats = None;
        let mut tags = BTreeMap::new();
        tags.insert(
            TAG_BLAKE3.to_owned(),
            Some(self.hasher.finalize().to_hex().to_string()),
        );
        for unit in self.units {
            match unit.work {
                Work::Column { .. } => {}
                Work::Statistics(collector) => stats = Some(collector.finish()),
                Work::Fingerprint(fingerprint) => {
                    tags.insert(TAG_ROWS.to_owned(), Some(fingerprint.finish().to_string()));
                }
            }
        }
        let too_large = |_| Error::invalid(Code::LimitExceeded, "a data file is too large");
        Ok(Add {
            path: location::encode(&self.name.key),
            partition_values: self.name.partition_values,
            size: i64::try_from(size).map_err(too_large)?,
            modification_time: self.plan.environment.now_millis(),
            data_change: true,
            stats,
            tags: Some(tags),
            deletion_vector: None,
            base_row_id: None,
            default_row_commit_version: None,
            clustering_provider: None,
            unknown: BTreeMap::new(),
        })
    }
}

/// Encoding costs something per batch: many small ones become one.
async fn gather(plan: &WritePlan, slab: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
    let rows: usize = slab.iter().map(RecordBatch::num_rows).sum();
    if slab.len() < 2 || BATCH_ROWS_MIN * slab.len() <= rows {
        return Ok(slab);
    }
    let arrow = Arc::clone(&plan.stored_arrow);
    let concat = move || arrow_select::concat::concat_batches(&arrow, &slab);
    let gathered = plan
        .environment
        .run_blocking(concat)
        .await
        .ok_or_else(died)?;
    gathered
        .map(|batch| vec![batch])
        .map_err(|cause| encoding(cause.into()))
}

/// A slab and the units that are still to take it in.
struct Queue {
    slab: Vec<RecordBatch>,
    waiting: Mutex<Vec<Unit>>,
    done: Mutex<Vec<Unit>>,
}

impl Queue {
    fn run(&self) -> Result<()> {
        loop {
            let next = self
                .waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop();
            let Some(mut unit) = next else { return Ok(()) };
            unit.work.take_in(&self.slab)?;
            self.done
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(unit);
        }
    }
}

impl Work {
    fn take_in(&mut self, slab: &[RecordBatch]) -> Result<()> {
        for batch in slab {
            match self {
                Self::Column {
                    index,
                    writers,
                    nans,
                } => {
                    let field = batch.schema_ref().fields().get(*index);
                    let (Some(field), Some(column)) = (field, batch.columns().get(*index)) else {
                        return Err(encoding(ParquetError::General(
                            "a column is missing".to_owned(),
                        )));
                    };
                    nan::mark(column, &mut nans.iter_mut());
                    let leaves = compute_leaves(field, column).map_err(encoding)?;
                    for (writer, leaf) in writers.iter_mut().zip(&leaves) {
                        writer.write(leaf).map_err(encoding)?;
                    }
                }
                Self::Statistics(collector) => collector.update(batch)?,
                Self::Fingerprint(fingerprint) => fingerprint.update(batch)?,
            }
        }
        Ok(())
    }
}

/// Takes the bytes that the Parquet writer lets go of.
#[derive(Default)]
struct Sink {
    pieces: Vec<Bytes>,
    open: Vec<u8>,
}

impl Sink {
    fn cut(&mut self) {
        if !self.open.is_empty() {
            self.pieces
                .push(Bytes::from(std::mem::take(&mut self.open)));
        }
    }
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.open.extend_from_slice(bytes);
        if PIECE_BYTES <= self.open.len() {
            self.cut();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How many Parquet columns hold a value of this type.
fn leaves(data_type: &ArrowType) -> usize {
    match data_type {
        ArrowType::Struct(fields) => fields.iter().map(|field| leaves(field.data_type())).sum(),
        ArrowType::List(field) | ArrowType::Map(field, _) => leaves(field.data_type()),
        _ => 1,
    }
}

fn encoding(cause: ParquetError) -> Error {
    Error::invalid(Code::RowsRejected, "the rows cannot be encoded as Parquet").because(cause)
}

fn died() -> Error {
    Error::storage(
        Code::Stopped,
        "the work on a data file ended before it was done",
    )
}
