//! The training feed: shuffled batches of one version, the same ones whoever asks, as often as they ask.
//!
//! A [`TrainingFeed`] says what is wanted. [`TrainingFeed::plan`] looks at the files once and cuts them into units; a
//! [`TrainingPlan`] knows every row's place in every epoch. [`TrainingBatches`] reads along that order, in bounded
//! memory, and says after each batch where it stands: a [`FeedState`] of at most 256 bytes, from which another
//! process, with other threads and another batch size, goes on with the very next row.

mod batches;
mod choice;
mod gather;
mod plan;
mod pool;
mod source;
mod state;
mod units;

use std::time::Duration;

use crate::error::{Code, Error, Result};
use crate::feed::split::SplitPart;
use crate::predicate::Predicate;
use crate::protocol::schema::Schema;
use crate::snapshot::Snapshot;

pub use batches::{BatchOptions, FeedCounts, LastBatch, TrainingBatches};
pub use plan::{PlanSummary, TrainingPlan};
pub use state::FeedState;

/// Which rows and columns of a [`Snapshot`] a training run sees, in which random order; made by [`Snapshot::feed`].
#[derive(Debug, Clone)]
#[must_use]
pub struct TrainingFeed {
    snapshot: Snapshot,
    columns: Option<Vec<String>>,
    predicate: Option<Predicate>,
    part: Option<SplitPart>,
    seed: u64,
    shuffle: ShuffleOptions,
    lease: Option<Duration>,
}

/// How well rows are mixed, and what that may cost. What is not set is chosen by the plan and noted in every state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShuffleOptions {
    /// Bytes of decoded rows that wait to be handed out, about. Default 256 MiB.
    ///
    /// Lanes, window and unit size are chosen so, by what the footers say of the rows. Should rows take more than they
    /// said, the order stays what it is: from one and a half times as many bytes on, a unit is not kept but read again
    /// where more of its rows are handed out.
    pub memory_bytes: u64,
    /// How many orders run side by side. As many ranks as divide it can share an epoch without reading a row twice.
    pub lanes: Option<u32>,
    /// How many units each lane mixes at a time.
    pub window: Option<u32>,
    /// Rows of a unit, the piece of a file that is read at once; more where a file has no page index to cut by.
    pub unit_rows: Option<u32>,
}

impl Default for ShuffleOptions {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            lanes: None,
            window: None,
            unit_rows: None,
        }
    }
}

impl Snapshot {
    /// Starts a training feed of this version.
    ///
    /// ```
    /// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use headwater::protocol::schema::{DataType, Field, Schema};
    /// # use headwater::arrow_array::{Int64Array, RecordBatch};
    /// # use std::sync::Arc;
    /// # let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
    /// # let table = headwater::Table::create("memory:///feed-example", schema).await?;
    /// # let ids = Int64Array::from_iter_values(0..1000);
    /// # table.append(RecordBatch::try_from_iter([("id", Arc::new(ids) as _)]).unwrap()).await?;
    /// use futures::TryStreamExt;
    /// use headwater::feed::{BatchOptions, HashSplit};
    ///
    /// let split = HashSplit::by(["id"], [("train", 80), ("test", 20)])?;
    /// let plan = table.snapshot().feed(17).part(split.part("train")?).plan().await?;
    ///
    /// let mut batches = plan.batches(BatchOptions { rows: 64, ..BatchOptions::default() })?;
    /// let first = batches.try_next().await?.unwrap();
    /// assert_eq!(first.num_rows(), 64);
    /// let state = batches.state();
    ///
    /// let mut resumed = plan.resume(&state, BatchOptions::default())?;
    /// let mut rows = first.num_rows();
    /// while let Some(batch) = resumed.try_next().await? {
    ///     rows += batch.num_rows();
    /// }
    /// assert_eq!(rows as u64, plan.rows());
    /// # Ok(()) }) }
    /// ```
    pub fn feed(&self, seed: u64) -> TrainingFeed {
        TrainingFeed {
            snapshot: self.clone(),
            columns: None,
            predicate: None,
            part: None,
            seed,
            shuffle: ShuffleOptions::default(),
            lease: None,
        }
    }
}

impl TrainingFeed {
    /// Reads these columns, in this order. Unset: all. The order of rows does not depend on it.
    pub fn select<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Keeps the rows for which the predicate is true. A second call narrows further.
    pub fn filter(mut self, predicate: Predicate) -> Self {
        self.predicate = Some(match self.predicate.take() {
            Some(first) => first.and(predicate),
            None => predicate,
        });
        self
    }

    /// Keeps the rows of one part of a [`HashSplit`](crate::feed::HashSplit).
    pub fn part(mut self, part: SplitPart) -> Self {
        self.part = Some(part);
        self
    }

    /// Mixes rows so well, and spends so much on it.
    pub fn shuffle(mut self, options: ShuffleOptions) -> Self {
        self.shuffle = options;
        self
    }

    /// Leases the version for so long at a time, and renews the lease while the plan, or batches of it, are in use: no
    /// vacuum takes its files meanwhile. Whoever wants to train on it next year as well [pins](crate::Table::pin) it.
    pub fn lease(mut self, lasts: Duration) -> Self {
        self.lease = Some(lasts);
        self
    }

    /// Takes seed, lanes, window and unit size from a state, so that the plan is the one the state was taken from
    /// whatever this machine would choose.
    pub fn like(mut self, state: &FeedState) -> Self {
        let (shape, unit_rows) = (state.shape(), state.unit_rows());
        self.seed = shape.seed;
        self.shuffle = ShuffleOptions {
            lanes: Some(shape.lanes),
            window: Some(shape.window),
            unit_rows: Some(unit_rows),
            ..self.shuffle
        };
        self
    }

    /// The columns that come out.
    fn output(&self) -> Result<Schema> {
        let schema = self.snapshot.schema();
        let Some(columns) = &self.columns else {
            return Ok(Schema::clone(schema));
        };
        if columns.is_empty() {
            return Err(invalid("a feed needs at least one column"));
        }
        let fields = columns.iter().map(|name| {
            let field = schema.field(name).cloned();
            field.ok_or_else(|| invalid("there is no such column").with("column", name))
        });
        Schema::new(fields.collect::<Result<Vec<_>>>()?)
    }
}

fn invalid(message: &str) -> Error {
    Error::invalid(Code::InvalidArgument, message)
}
