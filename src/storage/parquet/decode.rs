//! Decoding: one row group in memory, the next on its way, one batch ahead of the caller.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow_schema::{DataType, Field, Schema};
use futures::stream::{self, BoxStream, StreamExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
    RowSelectionPolicy, RowSelector,
};

use super::chunk::Chunks;
use super::plan::{Group, Parts};
use super::{ParquetFile, ROW_COLUMN};
use crate::environment::Task;
use crate::error::{Code, Error, Result};

/// Runs code of the parquet crate on bytes that nobody vouches for: a panic in there is a corrupt object.
///
/// # Errors
/// What `work` returns, and `Code::DataCorrupt` if it panics.
pub(crate) fn catch_decode<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Error::corrupt(
            Code::DataCorrupt,
            "the Parquet decoder gave up on the bytes",
        ))
    })
}

/// What one stream reads.
pub(super) struct Job {
    pub(super) file: ParquetFile,
    pub(super) metadata: ArrowReaderMetadata,
    pub(super) projection: ProjectionMask,
    pub(super) batch_rows: usize,
    pub(super) row_numbers: bool,
}

/// Starts to read.
pub(super) fn stream(
    job: Job,
    groups: Vec<Group>,
    limit: Option<usize>,
) -> BoxStream<'static, Result<RecordBatch>> {
    let state = State {
        job: Arc::new(job),
        groups: groups.into(),
        remaining: limit.unwrap_or(usize::MAX),
        fetching: None,
        decoding: None,
    };
    stream::try_unfold(state, async |mut state| {
        Ok(state.next().await?.map(|batch| (batch, state)))
    })
    .boxed()
}

/// A row group whose bytes are on their way.
type Fetching = (Group, Task<Result<Chunks>>);

struct State {
    job: Arc<Job>,
    /// The row groups that nothing was asked of yet.
    groups: VecDeque<Group>,
    /// Rows that the caller still wants.
    remaining: usize,
    fetching: Option<Fetching>,
    decoding: Option<Task<Option<Result<Step>>>>,
}

/// A decoder, and the batch that it made unless it is at its end.
type Step = Option<(Decoder, RecordBatch)>;

impl State {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if self.remaining == 0 {
                return Ok(None);
            }
            let Some(decoding) = self.decoding.take() else {
                if !self.start_group().await? {
                    return Ok(None);
                }
                continue;
            };
            let step = decoding.join().await.flatten().ok_or_else(stopped)?;
            let Some((decoder, batch)) = step.map_err(|error| self.job.file.place(error))? else {
                continue;
            };
            self.remaining = self.remaining.saturating_sub(batch.num_rows());
            if self.remaining > 0 {
                self.decode(move || decoder.step());
            }
            if batch.num_rows() > 0 {
                return Ok(Some(batch));
            }
        }
    }

    /// Waits for the bytes of the next row group, lets it be decoded, and asks for the bytes of the one after it.
    async fn start_group(&mut self) -> Result<bool> {
        let Some((mut group, fetching)) = self.fetching.take().or_else(|| self.fetch()) else {
            return Ok(false);
        };
        let chunks = fetching.join().await.ok_or_else(stopped)??;
        // Rows past the limit are none to wait for.
        if self.remaining > group.rows {
            self.fetching = self.fetch();
        }
        group.rows = group.rows.min(self.remaining);
        let job = Arc::clone(&self.job);
        self.decode(move || Decoder::new(&job, &group, chunks)?.step());
        Ok(true)
    }

    fn fetch(&mut self) -> Option<Fetching> {
        let group = self.groups.pop_front()?;
        let (job, wanted) = (Arc::clone(&self.job), group.clone());
        let task = self.job.file.environment().spawn(async move {
            let ranges = Parts::new(job.metadata.metadata(), &wanted, &job.projection)
                .map(|parts| parts.ranges())
                .unwrap_or_default();
            job.file.fetch(ranges).await
        });
        Some((group, task))
    }

    fn decode(&mut self, work: impl FnOnce() -> Result<Step> + Send + 'static) {
        let environment = self.job.file.environment().clone();
        self.decoding = Some(
            self.job
                .file
                .environment()
                .spawn(async move { environment.run_blocking(move || catch_decode(work)).await }),
        );
    }
}

fn stopped() -> Error {
    Error::storage(Code::Stopped, "reading was stopped: its runtime ended")
}

/// One row group while it is decoded.
struct Decoder {
    reader: ParquetRecordBatchReader,
    positions: Option<Positions>,
    /// Rows that are still to come.
    left: usize,
}

impl Decoder {
    fn new(job: &Job, group: &Group, chunks: Chunks) -> Result<Self> {
        let metadata = job.metadata.metadata();
        let gone = || Error::corrupt(Code::DataCorrupt, "a row group does not exist");
        let parts = Parts::new(metadata, group, &job.projection).ok_or_else(gone)?;
        let chunks = Arc::new(chunks);
        let most = job.batch_rows.min(group.rows);
        let fitting = parts.check(&chunks, most).map_err(super::refused)?;
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
            Chunks::clone(&chunks),
            job.metadata.clone(),
        )
        .with_row_groups(vec![group.index])
        .with_projection(job.projection.clone())
        .with_batch_size(fitting)
        .with_limit(group.rows);
        if let Some(selectors) = &group.selectors {
            builder = builder.with_row_selection(RowSelection::from(selectors.clone()));
        }
        if parts.are_pages() {
            // A bitmap would have rows decoded only to drop them, out of pages that are not there.
            builder = builder.with_row_selection_policy(RowSelectionPolicy::Selectors);
        }
        let reader = builder.build().map_err(undecodable)?;
        let positions = match job.row_numbers {
            true => {
                let first = job.file.first_row_of(group.index).ok_or_else(gone)?;
                let all = || vec![RowSelector::select(group.total)];
                let runs = group.selectors.clone().unwrap_or_else(all);
                Some(Positions {
                    next: first,
                    runs: runs.into(),
                })
            }
            false => None,
        };
        Ok(Self {
            reader,
            positions,
            left: group.rows,
        })
    }

    fn step(mut self) -> Result<Step> {
        let Some(batch) = self.reader.next().transpose().map_err(undecodable)? else {
            if self.left > 0 {
                let message = format!("a row group ends {} rows too early", self.left);
                return Err(Error::corrupt(Code::DataCorrupt, message));
            }
            return Ok(None);
        };
        let more = || Error::corrupt(Code::DataCorrupt, "a row group has more rows than it says");
        self.left = self.left.checked_sub(batch.num_rows()).ok_or_else(more)?;
        let batch = match &mut self.positions {
            Some(positions) => positions.add_to(batch)?,
            None => batch,
        };
        Ok(Some((self, batch)))
    }
}

fn undecodable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::corrupt(Code::DataCorrupt, "the Parquet bytes cannot be decoded").because(error)
}

/// The positions in the file of the rows that a decoder makes.
struct Positions {
    next: u64,
    runs: VecDeque<RowSelector>,
}

impl Positions {
    fn take(&mut self, mut count: usize) -> UInt64Array {
        let mut rows: Vec<u64> = Vec::with_capacity(count);
        while count > 0 {
            let Some(run) = self.runs.front_mut() else {
                break;
            };
            let now = if run.skip {
                run.row_count
            } else {
                run.row_count.min(count)
            };
            if !run.skip {
                rows.extend(self.next..self.next.saturating_add(now as u64));
                count -= now;
            }
            self.next = self.next.saturating_add(now as u64);
            run.row_count -= now;
            if run.row_count == 0 {
                self.runs.pop_front();
            }
        }
        rows.into()
    }

    /// The batch with its positions as the last column.
    fn add_to(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        let count = batch.num_rows();
        let (schema, mut columns, _) = batch.into_parts();
        let mut fields: Vec<Arc<Field>> = schema.fields().iter().map(Arc::clone).collect();
        fields.push(Arc::new(Field::new(ROW_COLUMN, DataType::UInt64, false)));
        columns.push(Arc::new(self.take(count)) as ArrayRef);
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
            .map_err(undecodable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_follow_the_selection() {
        let runs = [
            RowSelector::skip(2),
            RowSelector::select(3),
            RowSelector::skip(1),
            RowSelector::select(2),
        ];
        let mut positions = Positions {
            next: 10,
            runs: runs.into(),
        };
        let taken: Vec<Vec<u64>> = [2, 2, 1, 9]
            .map(|count| positions.take(count).values().to_vec())
            .into();
        assert_eq!(taken, [vec![12, 13], vec![14, 16], vec![17], vec![]]);
    }

    #[test]
    fn a_panic_is_a_corrupt_object() {
        let error = catch_decode::<()>(|| panic!("an assertion in a decoder")).unwrap_err();
        assert_eq!(error.code(), Code::DataCorrupt);
    }
}
