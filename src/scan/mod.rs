//! Reading a version: prune, order, decode in parallel, filter exactly.

mod bounds;
pub(crate) mod candidates;
pub mod changes;
mod explain;
mod plan;
mod row_ids;
mod stream;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::TryStreamExt;

use crate::error::{Code, Error, Result};
use crate::predicate::{BoundPredicate, Predicate};
use crate::protocol::schema::Schema;
use crate::snapshot::Snapshot;

pub use crate::scan::explain::{FileDecision, Verdict};
pub(crate) use crate::scan::plan::may_match;
pub use crate::scan::plan::{Plan, PlanCounts};
pub use crate::scan::row_ids::{ROW_COMMIT_VERSION, ROW_ID};
pub use crate::scan::stream::{ScanCounts, ScanStream};

/// Rows in a batch that a scan hands out, at most.
const BATCH_ROWS: usize = 8_192;
/// As many as may be asked for.
const BATCH_ROWS_MAX: usize = 1 << 20;

/// Which rows and columns to read from a [`Snapshot`]; made by [`Snapshot::scan`].
///
/// The same predicate prunes files by partition values and statistics, row groups and pages by what Parquet knows
/// of them, and then filters rows exactly. Comparison is Spark's: NaN equals NaN and exceeds everything, -0.0 equals
/// 0.0, text compares by bytes. Rows come in a stable order: files by age, rows as they lie in the file.
#[derive(Debug, Clone)]
#[must_use]
pub struct Scan {
    snapshot: Snapshot,
    predicate: Option<Predicate>,
    columns: Option<Vec<String>>,
    limit: Option<u64>,
    pruning: Pruning,
    batch_rows: usize,
    row_ids: bool,
    /// Which of how many partitions.
    partition: (usize, usize),
}

/// Whether statistics may be used to leave files, row groups and pages unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pruning {
    /// Leave unread what provably holds no matching row.
    #[default]
    On,
    /// Read everything and filter: slow, for checking.
    Off,
}

impl Snapshot {
    /// Starts a scan of this version.
    ///
    /// ```
    /// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use headwater::protocol::schema::{DataType, Field, Schema};
    /// # use headwater::arrow_array::{Int64Array, RecordBatch};
    /// # use std::sync::Arc;
    /// # let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
    /// # let table = headwater::Table::create("memory:///scan-example", schema).await?;
    /// # let ids = Int64Array::from(vec![1, 2, 3]);
    /// # table.append(RecordBatch::try_from_iter([("id", Arc::new(ids) as _)]).unwrap()).await?;
    /// use headwater::predicate::col;
    /// let batches = table.snapshot().scan().filter(col("id").gt(1)).collect().await?;
    /// assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 2);
    /// # Ok(()) }) }
    /// ```
    pub fn scan(&self) -> Scan {
        Scan {
            snapshot: self.clone(),
            predicate: None,
            columns: None,
            limit: None,
            pruning: Pruning::On,
            batch_rows: BATCH_ROWS,
            row_ids: false,
            partition: (0, 1),
        }
    }
}

impl Scan {
    /// Keeps the rows for which the predicate is true. A second call narrows further.
    pub fn filter(mut self, predicate: Predicate) -> Self {
        self.predicate = Some(match self.predicate.take() {
            Some(first) => first.and(predicate),
            None => predicate,
        });
        self
    }

    /// Keeps the rows for which the SQL condition is true, such as `origin = 'JFK' AND delay > 60`.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if the text is no condition, naming what cannot be evaluated.
    pub fn filter_sql(self, condition: &str) -> Result<Self> {
        Ok(self.filter(Predicate::parse(condition)?))
    }

    /// Reads these columns, in this order. Unset: all, in schema order.
    pub fn select<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Stops after this many rows.
    pub fn limit(mut self, rows: u64) -> Self {
        self.limit = Some(rows);
        self
    }

    /// Turns pruning off, to check that it changes nothing.
    pub fn pruning(mut self, pruning: Pruning) -> Self {
        self.pruning = pruning;
        self
    }

    /// Reads one of `count` partitions, `index` counting from 0: together they have every row of the scan once, so
    /// that as many workers can share it. Files are dealt out in turn; a limit holds for each partition.
    ///
    /// ```
    /// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use headwater::protocol::schema::{DataType, Field, Schema};
    /// # use headwater::arrow_array::{Int64Array, RecordBatch};
    /// # use std::sync::Arc;
    /// # let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
    /// # let table = headwater::Table::create("memory:///scan-partition", schema).await?;
    /// for id in 0..3 {
    ///     let ids = Arc::new(Int64Array::from(vec![id])) as _;
    ///     table.append(RecordBatch::try_from_iter([("id", ids)]).unwrap()).await?;
    /// }
    /// let scan = table.snapshot().scan();
    /// let rows = |batches: Vec<RecordBatch>| batches.iter().map(|batch| batch.num_rows()).sum::<usize>();
    /// let first = rows(scan.clone().partition(0, 2).collect().await?);
    /// let second = rows(scan.partition(1, 2).collect().await?);
    /// assert_eq!((first, second), (2, 1));
    /// # Ok(()) }) }
    /// ```
    pub fn partition(mut self, index: usize, count: usize) -> Self {
        self.partition = (index, count);
        self
    }

    /// Adds two columns, [`ROW_ID`] and [`ROW_COMMIT_VERSION`]: the id that a row keeps wherever it is moved, and the
    /// version that changed it last. Only where row tracking is enabled.
    ///
    /// Spec: [Row Tracking](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#row-tracking).
    pub fn row_ids(mut self) -> Self {
        self.row_ids = true;
        self
    }

    /// Rows per batch at most; 8,192 unless set, and never more than a million.
    pub fn batch_rows(mut self, rows: usize) -> Self {
        self.batch_rows = rows.clamp(1, BATCH_ROWS_MAX);
        self
    }

    /// The Arrow schema of the batches.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if a selected column is not in the table.
    pub fn schema(&self) -> Result<SchemaRef> {
        let output = self.output()?;
        match self.row_ids {
            true => row_ids::output(&output)?.to_arrow(),
            false => output.to_arrow(),
        }
    }

    /// All rows, in memory.
    ///
    /// # Errors
    ///
    /// As [`Scan::stream`], and [`Corrupt`](crate::ErrorKind::Corrupt) if a data file is missing or is not what the
    /// log says it is; [`NotFound`](crate::ErrorKind::NotFound) with the code [`FilesExpired`](Code::FilesExpired) if
    /// it is missing because a later version removed it.
    pub async fn collect(&self) -> Result<Vec<RecordBatch>> {
        self.stream().await?.try_collect().await
    }

    /// The schema of the rows that come out.
    fn output(&self) -> Result<Schema> {
        let schema = self.snapshot.schema();
        let Some(columns) = &self.columns else {
            return Ok(Schema::clone(schema));
        };
        let fields = columns.iter().map(|name| {
            schema.field(name).cloned().ok_or_else(|| {
                let known: Vec<_> = schema
                    .fields()
                    .iter()
                    .map(|field| field.name.as_str())
                    .collect();
                Error::invalid(Code::InvalidArgument, "there is no such column")
                    .with("column", name)
                    .with("columns", known.join(", "))
            })
        });
        Schema::new(fields.collect::<Result<Vec<_>>>()?)
    }

    fn bound(&self) -> Result<Option<Arc<BoundPredicate>>> {
        let predicate = self.predicate.as_ref();
        predicate
            .map(|predicate| predicate.bind(self.snapshot.schema()).map(Arc::new))
            .transpose()
    }
}
