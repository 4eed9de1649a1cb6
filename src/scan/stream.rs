//! Decoding the planned files: several parts at once, handed out in plan order, in bounded memory.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};

use crate::data::ordered::in_order;
use crate::data::reader::{DataFile, FindFields, ReadCounters, ReadPlan, Reader};
use crate::error::Result;
use crate::protocol::schema::Schema;
use crate::scan::plan::{Plan, PlanCounts};
use crate::scan::{Pruning, Scan, row_ids};

/// Rows of a scan, as record batches in plan order. Dropping it stops the work.
pub struct ScanStream {
    schema: SchemaRef,
    batches: BoxStream<'static, Result<RecordBatch>>,
    rows_left: Option<u64>,
    planned: PlanCounts,
    counters: Arc<ReadCounters>,
}

/// What a scan did so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ScanCounts {
    /// Files kept and left out.
    pub plan: PlanCounts,
    /// Row groups of the files opened so far.
    pub row_groups: u64,
    /// Row groups left unread because they provably hold no matching row.
    pub row_groups_pruned: u64,
    /// Rows of the files opened so far, deleted ones among them.
    pub rows: u64,
    /// Rows left unread because their row groups or pages provably hold no matching row.
    pub rows_pruned: u64,
    /// Rows handed out.
    pub rows_returned: u64,
}

impl Scan {
    /// Reads the rows, batch by batch, in a stable order. Row groups are decoded in parallel; memory is bounded by a
    /// few of them, whatever the size of the table.
    ///
    /// # Errors
    ///
    /// As [`Scan::plan`]; what goes wrong with a data file comes out of the stream.
    pub async fn stream(&self) -> Result<ScanStream> {
        let plan = self.plan().await?;
        self.stream_of(plan)
    }

    /// Reads the rows of some files, in the order given, whether or not they are live.
    pub(crate) fn stream_of_files(&self, files: Vec<DataFile>) -> Result<ScanStream> {
        self.stream_of(Plan::of_files(files, self.bound()?)?)
    }

    fn stream_of(&self, plan: Plan) -> Result<ScanStream> {
        let snapshot = &self.snapshot;
        let planned = plan.counts();
        let mut output = self.output()?;
        if self.row_ids {
            let mut fields = output.fields().to_vec();
            fields.extend(row_ids::stored_columns(snapshot)?);
            output = Schema::new(fields)?;
        }
        let read = ReadPlan {
            table_schema: Arc::clone(snapshot.schema()),
            partition_columns: snapshot.partition_columns().to_vec(),
            find: FindFields::by(snapshot.properties().column_mapping_mode),
            schema: Arc::new(output),
            predicate: plan.predicate,
            prune: self.pruning == Pruning::On,
            batch_rows: self.batch_rows,
            row_positions: self.row_ids,
        };
        let reader = Reader::new(snapshot.storage(), read)?;
        let schema = self.schema()?;
        let tracked = self.row_ids.then(|| (plan.tracked, Arc::clone(&schema)));
        Ok(ScanStream {
            schema,
            counters: Arc::clone(reader.counters()),
            batches: in_order(reader, plan.files, snapshot.clone())
                .map(move |file| match &tracked {
                    Some((tracked, schema)) => row_ids::complete(&file?, tracked, schema),
                    None => Ok(file?.rows.batch),
                })
                .boxed(),
            rows_left: self.limit,
            planned,
        })
    }
}

impl ScanStream {
    /// The schema of the batches.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// What the scan did so far.
    pub fn counts(&self) -> ScanCounts {
        let read = &self.counters;
        let [groups, groups_read] = [&read.row_groups, &read.row_groups_read].map(load);
        let [rows, selected] = [&read.rows, &read.rows_selected].map(load);
        ScanCounts {
            plan: self.planned,
            row_groups: groups,
            row_groups_pruned: groups.saturating_sub(groups_read),
            rows,
            rows_pruned: rows.saturating_sub(selected),
            rows_returned: load(&read.rows_returned),
        }
    }

    fn cut_to_limit(&mut self, batch: RecordBatch) -> RecordBatch {
        let Some(left) = &mut self.rows_left else {
            return batch;
        };
        let rows = u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
        if rows <= *left {
            *left -= rows;
            return batch;
        }
        let take = usize::try_from(*left).unwrap_or(usize::MAX);
        *left = 0;
        batch.slice(0, take.min(batch.num_rows()))
    }
}

fn load(counter: &std::sync::atomic::AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Stream for ScanStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.rows_left == Some(0) {
            self.batches = futures::stream::empty().boxed();
        }
        self.batches
            .poll_next_unpin(context)
            .map(|item| match item? {
                Ok(batch) => Some(Ok(self.cut_to_limit(batch))),
                Err(error) => {
                    self.batches = futures::stream::empty().boxed();
                    Some(Err(error))
                }
            })
    }
}

impl fmt::Debug for ScanStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanStream")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
