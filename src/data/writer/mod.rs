//! Batches to data files: Parquet objects and the `add` actions that name them.
//!
//! Rows are checked against the schema, divided by partition, gathered into slabs and encoded in the background while
//! the caller makes the next batch. A file ends near the target size. Memory is bounded over all open files together:
//! when it is short, the largest open file gives way, so many partitions cost small files, never memory.
//!
//! Nothing here is atomic: files that no commit names are left for vacuum. An unfinished object never shows under
//! its final name.
//!
//! Spec: [Data Files](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#data-files).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::data::ColumnNames;
use crate::data::writer::file::OpenFile;
use crate::data::writer::partition::{FileState, Partition};
use crate::data::writer::plan::WritePlan;
use crate::data::writer::split::PartitionKey;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::protocol::action::Add;
use crate::protocol::schema::Schema;
use crate::storage::Storage;

mod changes;
mod file;
mod nan;
mod options;
mod partition;
mod plan;
mod split;
#[cfg(test)]
mod tests;

pub(crate) use changes::{Change, ChangeWriter};
#[cfg(test)]
pub(crate) use file::{TAG_BLAKE3, TAG_ROWS};
pub(crate) use options::WriterOptions;

/// Rows that are encoded at one go, at most.
const SLAB_ROWS: usize = 64 << 10;
/// Bytes of rows that are encoded at one go, about.
const SLAB_BYTES: usize = 16 << 20;
/// Slabs that are encoded at one time, of different files.
const JOBS_MAX: usize = 2;
/// Files that are open at one time.
const OPEN_FILES_MAX: usize = 256;
/// A file that has to give way ends, unless its row group is worth writing by itself.
const GROUP_BYTES_MIN: usize = 8 << 20;

/// Where rows go, and as what.
#[derive(Debug, Clone)]
pub(crate) struct WriterContext {
    /// The table's objects.
    pub(crate) storage: Storage,
    /// Clock, ids and threads.
    pub(crate) environment: Environment,
    /// The table's schema.
    pub(crate) schema: Arc<Schema>,
    /// The table's properties, which hold its CHECK constraints.
    pub(crate) configuration: BTreeMap<String, String>,
    /// Logical names of the partition columns, in their order.
    pub(crate) partition_columns: Vec<String>,
    /// By which names files and partition values know the columns.
    pub(crate) names: ColumnNames,
    /// Sizes.
    pub(crate) options: WriterOptions,
}

/// What a write made.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// The files, in the order in which they were begun.
    pub(crate) adds: Vec<Add>,
    /// Their rows.
    pub(crate) rows: u64,
    /// Their size.
    pub(crate) bytes: u64,
}

/// Writes batches of rows as data files.
pub(crate) struct DataWriter {
    plan: Arc<WritePlan>,
    partitions: Vec<Partition>,
    places: BTreeMap<PartitionKey, usize>,
    /// Partitions that have a slab waiting.
    full: BTreeSet<usize>,
    jobs: FuturesUnordered<Running>,
    adds: BTreeMap<usize, Add>,
    /// Files begun, and those of them that are not whole.
    files: usize,
    files_open: usize,
    rows: u64,
    /// Bytes of rows in buffers and in running jobs.
    row_bytes: usize,
    /// Memory that open files hold.
    file_bytes: usize,
    failed: bool,
}

type Running = std::pin::Pin<Box<dyn Future<Output = Option<Result<Done>>> + Send>>;

/// What becomes of a file when its slab is encoded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    GoOn,
    Relieve,
    Finish,
}

struct Job {
    plan: Arc<WritePlan>,
    place: usize,
    number: usize,
    file: Box<OpenFile>,
    slab: Vec<RecordBatch>,
    bytes: usize,
    then: Then,
}

/// The outcome of a job: the file goes on, or is whole.
struct Done {
    place: usize,
    number: usize,
    bytes: usize,
    outcome: Outcome,
}

enum Outcome {
    Open(Box<OpenFile>),
    Whole(Box<Add>),
}

impl DataWriter {
    /// A writer with nothing written.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::error::ErrorKind::Invalid) or [`Unsupported`](crate::error::ErrorKind::Unsupported) if files
    /// cannot hold rows of this schema.
    pub(crate) fn new(context: WriterContext) -> Result<Self> {
        Ok(Self::with(WritePlan::new(context)?))
    }

    /// A writer of rows that are in the table already: they are held against types and not null only.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub(crate) fn for_rows_of_the_table(context: WriterContext) -> Result<Self> {
        Ok(Self::with(WritePlan::new(context)?.for_rows_of_the_table()))
    }

    fn with(plan: WritePlan) -> Self {
        Self {
            plan: Arc::new(plan),
            partitions: Vec::new(),
            places: BTreeMap::new(),
            full: BTreeSet::new(),
            jobs: FuturesUnordered::new(),
            adds: BTreeMap::new(),
            files: 0,
            files_open: 0,
            rows: 0,
            row_bytes: 0,
            file_bytes: 0,
            failed: false,
        }
    }

    /// Takes rows. They are on their way when this returns, not written.
    ///
    /// # Errors
    ///
    /// `RowsRejected` if the rows do not fit the schema: none of them is taken, and the writer can go on. After any
    /// other error the writer is of no use.
    pub(crate) async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.check_usable()?;
        let rows = batch.num_rows() as u64;
        let plan = Arc::clone(&self.plan);
        let prepared = self
            .plan
            .environment
            .run_blocking(move || plan.prepare(&batch))
            .await;
        for (key, rows) in prepared.ok_or_else(died)?? {
            self.buffer(key, &rows);
        }
        self.rows += rows;
        let scheduled = self.schedule().await;
        self.failed |= scheduled.is_err();
        scheduled
    }

    /// Ends all files. When this returns, their objects are there, whole.
    ///
    /// # Errors
    ///
    /// If the store fails; some of the objects may then be there.
    pub(crate) async fn finish(mut self) -> Result<Written> {
        self.check_usable()?;
        for place in 0..self.partitions.len() {
            self.finish_partition(place).await?;
        }
        while !self.jobs.is_empty() {
            self.join_one().await?;
        }
        let adds: Vec<Add> = self.adds.into_values().collect();
        let bytes = adds
            .iter()
            .map(|add| u64::try_from(add.size).unwrap_or(0))
            .sum();
        Ok(Written {
            adds,
            rows: self.rows,
            bytes,
        })
    }

    fn check_usable(&self) -> Result<()> {
        if self.failed {
            return Err(Error::invalid(
                Code::Stopped,
                "this write has failed before",
            ));
        }
        Ok(())
    }

    fn buffer(&mut self, key: PartitionKey, rows: &RecordBatch) {
        let place = *self.places.entry(key).or_insert_with_key(|key| {
            self.partitions.push(Partition::new(key.clone()));
            self.partitions.len() - 1
        });
        let Some(partition) = self.partitions.get_mut(place) else {
            return;
        };
        let slab_bytes = self.plan.slab_bytes();
        self.row_bytes += partition.take_in(rows, slab_bytes);
        if partition.has_slab(slab_bytes) {
            self.full.insert(place);
        }
    }

    /// Starts what is due, and waits while memory is short.
    async fn schedule(&mut self) -> Result<()> {
        loop {
            if let Some(place) = self
                .full
                .iter()
                .copied()
                .find(|place| !self.is_busy(*place))
            {
                self.start(place, Then::GoOn).await?;
                continue;
            }
            let many_files = OPEN_FILES_MAX < self.files_open;
            let much_memory = self.plan.options.memory_bytes < self.row_bytes + self.file_bytes;
            if many_files || much_memory {
                let then = if many_files {
                    Then::Finish
                } else {
                    Then::Relieve
                };
                match self.largest(many_files) {
                    Some(place) => self.start(place, then).await?,
                    None if self.jobs.is_empty() => return Ok(()),
                    None => self.join_one().await?,
                }
            } else if self.is_crowded() {
                self.join_one().await?;
            } else {
                return Ok(());
            }
        }
    }

    /// Whether a partition whose file is busy has more waiting than one slab.
    fn is_crowded(&self) -> bool {
        let slab_bytes = self.plan.slab_bytes();
        self.full
            .iter()
            .filter_map(|place| self.partitions.get(*place))
            .any(|partition| {
                2 * SLAB_ROWS <= partition.buffer_rows || 2 * slab_bytes <= partition.buffer_bytes
            })
    }

    fn is_busy(&self, place: usize) -> bool {
        let partition = self.partitions.get(place);
        partition.is_some_and(|partition| matches!(partition.file, FileState::Busy))
    }

    /// The partition that holds most memory; with `open`, of those that have a file.
    fn largest(&self, open: bool) -> Option<usize> {
        let candidates = self
            .partitions
            .iter()
            .enumerate()
            .filter(|(_, it)| match it.file {
                FileState::Busy => false,
                FileState::Open(..) => true,
                FileState::None => !open && !it.buffer.is_empty(),
            });
        candidates
            .max_by_key(|(_, it)| it.buffer_bytes + it.file_bytes)
            .map(|(place, _)| place)
    }

    async fn finish_partition(&mut self, place: usize) -> Result<()> {
        loop {
            while self.is_busy(place) {
                self.join_one().await?;
            }
            let slab_bytes = self.plan.slab_bytes();
            let Some(partition) = self.partitions.get(place) else {
                return Ok(());
            };
            if partition.has_slab(slab_bytes) {
                self.start(place, Then::GoOn).await?;
            } else if partition.buffer.is_empty() && matches!(partition.file, FileState::None) {
                return Ok(());
            } else {
                // The job takes all that is left.
                return self.start(place, Then::Finish).await;
            }
        }
    }

    /// Starts a job on a partition that is not busy, as soon as there is a place for one.
    async fn start(&mut self, place: usize, then: Then) -> Result<()> {
        while JOBS_MAX <= self.jobs.len() {
            self.join_one().await?;
        }
        let slab_bytes = self.plan.slab_bytes();
        let Some(partition) = self.partitions.get_mut(place) else {
            return Ok(());
        };
        let (file, number) = match std::mem::replace(&mut partition.file, FileState::Busy) {
            FileState::Open(file, number) => (file, number),
            FileState::None | FileState::Busy => {
                let number = self.files;
                self.files += 1;
                self.files_open += 1;
                let name = self.plan.file_name(number, &partition.key);
                (
                    Box::new(OpenFile::create(Arc::clone(&self.plan), name)?),
                    number,
                )
            }
        };
        let (slab, bytes) = partition.take_slab(slab_bytes);
        if !partition.has_slab(slab_bytes) {
            self.full.remove(&place);
        }
        let job = Job {
            plan: Arc::clone(&self.plan),
            place,
            number,
            file,
            slab,
            bytes,
            then,
        };
        let task = self.plan.environment.spawn(job.run());
        self.jobs.push(Box::pin(task.join()));
        Ok(())
    }

    async fn join_one(&mut self) -> Result<()> {
        let Some(outcome) = self.jobs.next().await else {
            return Ok(());
        };
        let done = outcome.ok_or_else(died)??;
        self.row_bytes = self.row_bytes.saturating_sub(done.bytes);
        let Some(partition) = self.partitions.get_mut(done.place) else {
            return Ok(());
        };
        self.file_bytes -= std::mem::take(&mut partition.file_bytes);
        match done.outcome {
            Outcome::Open(file) => {
                partition.file_bytes = file.memory_bytes();
                self.file_bytes += partition.file_bytes;
                partition.file = FileState::Open(file, done.number);
            }
            Outcome::Whole(add) => {
                partition.file = FileState::None;
                self.files_open -= 1;
                self.adds.insert(done.number, *add);
            }
        }
        Ok(())
    }
}

impl fmt::Debug for DataWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rows,
            files,
            files_open,
            row_bytes,
            file_bytes,
            failed,
            ..
        } = self;
        f.debug_struct("DataWriter")
            .field("rows", rows)
            .field("files", files)
            .field("files_open", files_open)
            .field("row_bytes", row_bytes)
            .field("file_bytes", file_bytes)
            .field("failed", failed)
            .finish_non_exhaustive()
    }
}

impl Job {
    async fn run(self) -> Result<Done> {
        let Self {
            plan,
            place,
            number,
            mut file,
            slab,
            bytes,
            then,
        } = self;
        if !slab.is_empty() {
            file = Box::new(file.encode(slab, bytes).await?);
        }
        let is_whole = match then {
            Then::GoOn => false,
            Then::Relieve => file.group_bytes() < GROUP_BYTES_MIN,
            Then::Finish => true,
        };
        let outcome = if is_whole || plan.options.target_file_bytes <= file.estimated_bytes() {
            Outcome::Whole(Box::new(file.finish().await?))
        } else if then == Then::Relieve {
            Outcome::Open(Box::new(file.flush().await?))
        } else {
            Outcome::Open(file)
        };
        Ok(Done {
            place,
            number,
            bytes,
            outcome,
        })
    }
}

fn died() -> Error {
    Error::storage(
        Code::Stopped,
        "the work on a data file ended before it was done",
    )
}
