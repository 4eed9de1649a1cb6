//! The live files of a snapshot, as columns.

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use crate::error::{Code, Error, Result};
use crate::log::checkpoint::{ColumnReader, FileColumns, FileText, StatsWanted};
use crate::log::files::FileBatch;
use crate::log::key::canonical_path;
use crate::log::removes::RemoveBatch;
use crate::log::replay::Replay;
use crate::protocol::action::DeletionVectorDescriptor;
use crate::protocol::schema::PrimitiveType;
use crate::snapshot::Snapshot;

impl Snapshot {
    /// The live files, batch by batch, with the columns asked for: those of the checkpoint first, then those of the
    /// commits after it, oldest first. Memory: one batch of the checkpoint, and the keys in the commits after it.
    ///
    /// Spec: [Action Reconciliation](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#action-reconciliation).
    pub(crate) async fn files(
        &self,
        columns: FileColumns,
    ) -> Result<BoxStream<'static, Result<FileBatch>>> {
        let mut replay = Replay::new();
        let mut newest_first = Vec::with_capacity(self.0.tail.len());
        for commit in self.0.tail.iter().rev() {
            newest_first.push(replay.live(commit)?);
        }
        let tail = futures::stream::iter(newest_first.into_iter().rev().map(Ok));
        let tail = tail.try_filter(|batch| futures::future::ready(!batch.is_empty()));
        let Some(anchor) = &self.0.anchor else {
            return Ok(tail.boxed());
        };
        let checkpoint = anchor.reader.files(columns).await?;
        let checkpoint = checkpoint.map(move |batch| replay.live_in_checkpoint(batch?));
        let checkpoint = checkpoint.try_filter(|batch| futures::future::ready(!batch.is_empty()));
        Ok(checkpoint.chain(tail).boxed())
    }

    /// The tombstones, batch by batch, expired ones included.
    pub(crate) async fn tombstones(&self) -> Result<BoxStream<'static, Result<RemoveBatch>>> {
        let mut replay = Replay::new();
        let mut newest_first = Vec::with_capacity(self.0.tail.len());
        for commit in self.0.tail.iter().rev() {
            newest_first.push(replay.tombstones(commit)?);
        }
        let tail = futures::stream::iter(newest_first.into_iter().rev().map(Ok));
        let Some(anchor) = &self.0.anchor else {
            return Ok(tail.boxed());
        };
        let checkpoint = anchor.reader.removes().await?;
        let checkpoint = checkpoint.map(move |batch| replay.tombstones_in_checkpoint(batch?));
        Ok(checkpoint.chain(tail).boxed())
    }
}

impl Snapshot {
    /// Whether the file of this path, as it stands in the log, is live, whatever of it is deleted.
    pub(crate) async fn has_file(&self, path: &str) -> Result<bool> {
        let columns = FileColumns::least();
        let path = canonical_path(path);
        let mut batches = self.files(columns).await?;
        while let Some(batch) = batches.try_next().await? {
            if (0..batch.len()).any(|row| batch.canonical_path(row) == path) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a live file has a deletion vector in the same file as this one.
    pub(crate) async fn has_vector_file(&self, vector: &DeletionVectorDescriptor) -> Result<bool> {
        let columns = FileColumns::least();
        let mut batches = self.files(columns).await?;
        while let Some(batch) = batches.try_next().await? {
            let mut vectors = (0..batch.len()).filter_map(|row| batch.deletion_vector(row));
            if vectors.any(|other| {
                other.storage_type == vector.storage_type
                    && other.path_or_inline_dv == vector.path_or_inline_dv
            }) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the file of this path, as it stands in the log, is live or was removed, as far as that is remembered.
    pub(crate) async fn has_had_file(&self, path: &str) -> Result<bool> {
        if self.has_file(path).await? {
            return Ok(true);
        }
        let path = canonical_path(path);
        let mut batches = self.tombstones().await?;
        while let Some(batch) = batches.try_next().await? {
            if (0..batch.len()).any(|row| batch.canonical_path(row) == path) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What the live files of a version add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Sums {
    /// Live data files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their rows, without deleted ones; `None` if a file does not say how many it has.
    pub rows: Option<u64>,
}

impl Snapshot {
    /// Counts the live files, their bytes and rows, from the log alone.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if the list of files cannot be read, or its numbers are impossible.
    pub async fn sums(&self) -> Result<Sums> {
        let mut snapshot = self.clone();
        loop {
            match snapshot.added_up().await {
                Err(error) if error.code() == Code::CorruptCheckpoint => {
                    snapshot = snapshot.without_checkpoint(error).await?;
                }
                sums => return sums,
            }
        }
    }

    async fn added_up(&self) -> Result<Sums> {
        let mut sums = Sums {
            rows: Some(0),
            ..Sums::default()
        };
        let columns = FileColumns {
            stats: StatsWanted::Columns(Vec::new()),
            ..FileColumns::least()
        };
        let mut batches = self.files(columns).await?;
        while let Some(batch) = batches.try_next().await? {
            let counts = ColumnReader::new(&batch, &[], &PrimitiveType::Long);
            sums.bytes = add_bytes(sums.bytes, batch.total_bytes()?)?;
            for row in 0..batch.len() {
                sums.files += 1;
                let rows = counts.num_records(&FileText::new(&batch, row));
                let rows = live_rows(&batch, row, rows)?;
                sums.rows = sums
                    .rows
                    .zip(rows)
                    .and_then(|(sum, rows)| sum.checked_add(rows));
            }
        }
        Ok(sums)
    }
}

/// A total of bytes, as large as it can be.
///
/// # Errors
///
/// [`Code::LimitExceeded`] if it does not fit into 64 bits.
pub(crate) fn add_bytes(total: u64, bytes: u64) -> Result<u64> {
    total.checked_add(bytes).ok_or_else(|| {
        let message = "the sizes of the files add up to more than can be";
        Error::corrupt(Code::LimitExceeded, message)
    })
}

/// Rows of a file without those that its deletion vector marks.
fn live_rows(batch: &FileBatch, row: usize, physical: Option<u64>) -> Result<Option<u64>> {
    let Some(rows) = physical else {
        return Ok(None);
    };
    let Some(vector) = batch.deletion_vector(row) else {
        return Ok(Some(rows));
    };
    let deleted = u64::try_from(vector.cardinality).ok();
    match deleted.and_then(|deleted| rows.checked_sub(deleted)) {
        Some(rows) => Ok(Some(rows)),
        None => {
            let message = "a deletion vector deletes more rows than its file has";
            Err(Error::corrupt(Code::DataCorrupt, message).with("path", batch.path(row)))
        }
    }
}
