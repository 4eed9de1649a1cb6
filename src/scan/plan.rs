//! Which files a scan reads.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};

use crate::data::ColumnNames;
use crate::data::reader::DataFile;
use crate::error::{Code, Error, Result};
use crate::log::checkpoint::{FileColumns, StatsWanted};
use crate::log::files::FileBatch;
use crate::predicate::{BoundColumn, BoundPredicate, Predicate, Skip};
use crate::protocol::schema::{DataType, PrimitiveType, Schema};
use crate::scan::bounds::BatchBounds;
use crate::scan::row_ids::Tracked;
use crate::scan::{Pruning, Scan};
use crate::snapshot::{Snapshot, add_bytes};

/// Batches of the file list that are looked through at one time.
const BATCHES_AT_ONCE: usize = 4;

/// The files a scan reads, in the order it reads them.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(crate) files: Vec<DataFile>,
    /// What the log says of the rows of each file.
    pub(super) tracked: Vec<Tracked>,
    pub(crate) predicate: Option<Arc<BoundPredicate>>,
    counts: PlanCounts,
}

/// How many files a plan kept and left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlanCounts {
    /// Live files of the version.
    pub files: u64,
    /// Files left unread because they provably hold no matching row.
    pub files_pruned: u64,
    /// Bytes of the live files.
    pub bytes: u64,
    /// Bytes of the files left unread.
    pub bytes_pruned: u64,
}

impl Plan {
    /// Files that were chosen otherwise; of their rows' ids nothing is known.
    ///
    /// # Errors
    ///
    /// [`Code::LimitExceeded`] if they have more bytes than can be.
    pub(crate) fn of_files(
        files: Vec<DataFile>,
        predicate: Option<Arc<BoundPredicate>>,
    ) -> Result<Self> {
        let mut bytes = files.iter().map(|file| file.size);
        let counts = PlanCounts {
            files: files.len() as u64,
            bytes: bytes.try_fold(0, add_bytes)?,
            ..PlanCounts::default()
        };
        Ok(Self {
            files,
            tracked: Vec::new(),
            predicate,
            counts,
        })
    }

    /// How many files were kept and left out.
    pub fn counts(&self) -> PlanCounts {
        self.counts
    }
}

impl Scan {
    /// Decides which files to read, without reading them. Memory: what is kept.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if the condition does not fit the schema,
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if the list of files cannot be read.
    pub async fn plan(&self) -> Result<Plan> {
        let mut snapshot = self.snapshot.clone();
        loop {
            match self.plan_of(&snapshot).await {
                Err(error) if error.code() == Code::CorruptCheckpoint => {
                    snapshot = snapshot.without_checkpoint(error).await?;
                }
                plan => return plan,
            }
        }
    }

    async fn plan_of(&self, snapshot: &Snapshot) -> Result<Plan> {
        let planner = Arc::new(Planner::new(self)?);
        let batches = snapshot.files(planner.columns()).await?;
        // To read statistics takes about as long as to decode what they are in: both go on at one time.
        let sifted = batches.map(|batch| {
            let (planner, pruning) = (Arc::clone(&planner), self.pruning);
            let environment = snapshot.environment();
            async move {
                let batch = batch?;
                let sift = move || Sifted::of(&planner, &batch, pruning);
                environment.run_blocking(sift).await.ok_or_else(stopped)?
            }
        });
        let mut sifted = sifted.buffered(BATCHES_AT_ONCE);
        let mut all = Sifted::default();
        while let Some(next) = sifted.try_next().await? {
            all.join(next)?;
        }
        let Sifted { mut kept, counts } = all;
        // By age, then by path: the same order whichever checkpoint the list came from.
        kept.sort_by(|left, right| {
            (left.modification_time, &left.file.path)
                .cmp(&(right.modification_time, &right.file.path))
        });
        let (index, count) = scan_partition(self)?;
        let mut place = 0..;
        kept.retain(|_| {
            place
                .next()
                .is_some_and(|place: usize| place.checked_rem(count) == Some(index))
        });
        let (files, tracked) = kept
            .into_iter()
            .map(|kept| (kept.file, kept.tracked))
            .unzip();
        Ok(Plan {
            files,
            tracked,
            predicate: planner.predicate.clone(),
            counts,
        })
    }
}

/// A file that is read.
#[derive(Debug)]
struct Kept {
    modification_time: i64,
    file: DataFile,
    tracked: Tracked,
}

/// What a plan keeps of some files.
#[derive(Debug, Default)]
struct Sifted {
    kept: Vec<Kept>,
    counts: PlanCounts,
}

impl Sifted {
    fn of(planner: &Planner, batch: &FileBatch, pruning: Pruning) -> Result<Self> {
        let mut sifted = Self::default();
        let counts = &mut sifted.counts;
        let bounds = BatchBounds::new(planner, batch);
        for row in 0..batch.len() {
            let bytes = u64::try_from(batch.size(row)).unwrap_or(0);
            counts.files += 1;
            counts.bytes = add_bytes(counts.bytes, bytes)?;
            if pruning == Pruning::On && planner.prunes(&bounds, row) {
                counts.files_pruned += 1;
                counts.bytes_pruned = add_bytes(counts.bytes_pruned, bytes)?;
                continue;
            }
            let add = batch.add(row);
            sifted.kept.push(Kept {
                modification_time: add.modification_time,
                file: DataFile::of(&add)?,
                tracked: Tracked {
                    base_row_id: add.base_row_id,
                    default_row_commit_version: add.default_row_commit_version,
                },
            });
        }
        Ok(sifted)
    }

    /// Takes what was kept of the files that come next.
    fn join(&mut self, next: Self) -> Result<()> {
        let (counts, more) = (&mut self.counts, next.counts);
        counts.files += more.files;
        counts.files_pruned += more.files_pruned;
        counts.bytes = add_bytes(counts.bytes, more.bytes)?;
        counts.bytes_pruned = add_bytes(counts.bytes_pruned, more.bytes_pruned)?;
        self.kept.extend(next.kept);
        Ok(())
    }
}

fn stopped() -> Error {
    Error::storage(
        Code::Stopped,
        "planning was stopped: its runtime ended, or it met what it cannot read",
    )
}

fn scan_partition(scan: &Scan) -> Result<(usize, usize)> {
    let (index, count) = scan.partition;
    if index < count {
        return Ok((index, count));
    }
    let message = "there is no such partition of a scan: they count from 0";
    let error = Error::invalid(Code::InvalidArgument, message);
    Err(error.with("partition", index).with("partitions", count))
}

/// Which of these files may hold a row of the predicate, by what the log says of them.
pub(crate) fn may_match(
    snapshot: &Snapshot,
    predicate: &Predicate,
    files: &FileBatch,
) -> Result<Vec<usize>> {
    let planner = Planner::new(&snapshot.scan().filter(predicate.clone()))?;
    let bounds = BatchBounds::new(&planner, files);
    let kept = (0..files.len()).filter(|row| !planner.prunes(&bounds, *row));
    Ok(kept.collect())
}

/// A column of the predicate, as the log knows it.
#[derive(Debug)]
pub(crate) enum PlannedColumn {
    /// Its value is in `partitionValues`.
    Partition {
        physical: String,
        data_type: PrimitiveType,
    },
    /// Its bounds are in the statistics.
    Data {
        physical: Vec<String>,
        data_type: PrimitiveType,
        /// Whether some bounds may be those of 32-bit floats.
        was_float: bool,
    },
}

/// The predicate with its columns resolved against the log.
#[derive(Debug)]
pub(crate) struct Planner {
    predicate: Option<Arc<BoundPredicate>>,
    /// The same, with parts first that partition values answer.
    skipping: Option<BoundPredicate>,
    /// As many as the predicate has columns, in its order.
    pub(crate) columns: Vec<(Vec<String>, PlannedColumn)>,
}

impl Planner {
    pub(crate) fn new(scan: &Scan) -> Result<Self> {
        Ok(Self::with(&scan.snapshot, scan.bound()?))
    }

    /// A planner for a predicate that is bound to the schema of the snapshot.
    pub(crate) fn of(snapshot: &Snapshot, predicate: Arc<BoundPredicate>) -> Self {
        Self::with(snapshot, Some(predicate))
    }

    fn with(snapshot: &Snapshot, predicate: Option<Arc<BoundPredicate>>) -> Self {
        let bound = predicate
            .as_ref()
            .map(|predicate| predicate.columns())
            .unwrap_or_default();
        let columns = bound.iter().filter_map(|column| {
            planned(snapshot, column).map(|planned| (column.path.clone(), planned))
        });
        let columns: Vec<_> = columns.collect();
        let is_partition = |column: &BoundColumn| {
            columns.iter().any(|(path, planned)| {
                *path == column.path && matches!(planned, PlannedColumn::Partition { .. })
            })
        };
        let skipping = predicate
            .as_ref()
            .map(|predicate| predicate.asking_first(is_partition));
        Self {
            skipping,
            columns,
            predicate,
        }
    }

    pub(crate) fn predicate(&self) -> Option<&BoundPredicate> {
        self.predicate.as_deref()
    }

    /// The columns of the file list that planning needs: statistics only of columns that the predicate names.
    fn columns(&self) -> FileColumns {
        let wanted = self
            .columns
            .iter()
            .filter_map(|(_, planned)| match planned {
                PlannedColumn::Data { physical, .. } => Some(physical.clone()),
                PlannedColumn::Partition { .. } => None,
            });
        let wanted: Vec<_> = wanted.collect();
        let stats = if wanted.is_empty() {
            StatsWanted::None
        } else {
            StatsWanted::Columns(wanted)
        };
        FileColumns {
            stats,
            ..FileColumns::least()
        }
    }

    pub(crate) fn columns_for_explaining(&self) -> FileColumns {
        FileColumns::all()
    }

    fn prunes(&self, bounds: &BatchBounds<'_>, row: usize) -> bool {
        let Some(predicate) = &self.skipping else {
            return false;
        };
        matches!(predicate.skip(&bounds.file(row)), Skip::Never)
    }
}

fn planned(snapshot: &Snapshot, column: &BoundColumn) -> Option<PlannedColumn> {
    let names = ColumnNames::by(snapshot.properties().column_mapping_mode);
    let data_type = column.data_type.clone();
    let mut physical = Vec::with_capacity(column.path.len());
    let mut schema: Option<&Schema> = Some(snapshot.schema());
    let mut was_float = false;
    for name in &column.path {
        let field = schema.and_then(|schema| schema.field(name))?;
        was_float = field.was_float();
        physical.push(names.of(field));
        schema = match &field.data_type {
            DataType::Struct(inner) => Some(inner),
            _ => None,
        };
    }
    let is_partition = match column.path.as_slice() {
        [name] => snapshot.partition_columns().iter().any(|partition| {
            partition == name
                || snapshot.schema().index_of(partition) == snapshot.schema().index_of(name)
        }),
        _ => false,
    };
    if is_partition {
        let physical = physical.into_iter().next()?;
        return Some(PlannedColumn::Partition {
            physical,
            data_type,
        });
    }
    Some(PlannedColumn::Data {
        physical,
        data_type,
        was_float,
    })
}
