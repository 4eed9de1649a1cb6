//! Reading along the order of an epoch.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZero;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::channel::mpsc;
use futures::{SinkExt, Stream, StreamExt};

use crate::error::{Code, Error, Result};
use crate::feed::order::{Order, OrderDigest, RowId, Share, Walk};
use crate::feed::training::gather::{Part, gather};
use crate::feed::training::plan::{Planned, TrainingPlan};
use crate::feed::training::pool::{Counters, Pool, stopped};
use crate::feed::training::state::FeedState;

/// Rows of a batch, at most.
const BATCH_ROWS_MAX: usize = 1 << 24;

/// How the rows of a plan are handed out. None of it changes their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchOptions {
    /// Rows of a batch, over all ranks together. Default 1,024.
    pub rows: usize,
    /// The epochs to hand out, from the first to before the last. Default 0..1.
    pub epochs: Range<u64>,
    /// What becomes of the rows at the end of an epoch that do not fill a batch.
    pub last: LastBatch,
    /// Which of `world` consumers this is, counted from 0. Each gets its share of every batch.
    pub rank: u32,
    /// How many consumers train together. Default 1.
    pub world: u32,
    /// Units that are decoded at once. Default: the threads of the machine.
    pub threads: usize,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            rows: 1_024,
            epochs: 0..1,
            last: LastBatch::Short,
            rank: 0,
            world: 1,
            threads: std::thread::available_parallelism().map_or(1, NonZero::get),
        }
    }
}

/// What becomes of the rows at the end of an epoch that do not fill a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LastBatch {
    /// They are a short batch: every row comes once.
    #[default]
    Short,
    /// They are left out of this epoch: every batch has the same size.
    Drop,
}

/// What a feed did so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FeedCounts {
    /// Units whose reading was begun.
    pub units_read: u64,
    /// Units that were in memory, or on their way, at the same time.
    pub units_resident_max: u64,
    /// Bytes of decoded units that were in memory at the same time.
    pub bytes_resident_max: u64,
}

/// Batches of a training run, as a stream. Dropping it stops the work.
pub struct TrainingBatches {
    engine: Option<Engine>,
    said: Option<mpsc::Receiver<Said>>,
    schema: SchemaRef,
    state: FeedState,
    digest: OrderDigest,
    counters: Arc<Counters>,
}

/// What the task that gathers says.
enum Said {
    Batch {
        rows: RecordBatch,
        digest: OrderDigest,
        state: FeedState,
    },
    Failed(Error),
    /// All is handed out: a task that stops without saying so has lost rows.
    End,
}

impl TrainingPlan {
    /// Hands out the rows from the beginning of the first epoch on.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if batches are empty, there is no such rank, or every batch would be
    /// short and is to be left out.
    pub fn batches(&self, options: BatchOptions) -> Result<TrainingBatches> {
        let state = FeedState {
            identity: self.0.identity,
            epoch: options.epochs.start,
            position: 0,
        };
        self.from(state, options)
    }

    /// Goes on after the last row that had been handed out when the state was taken. `epochs.end` says where to stop;
    /// `epochs.start` does not matter.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if the state is of another plan, saying in what it differs, and as
    /// [`TrainingPlan::batches`].
    pub fn resume(&self, state: &FeedState, options: BatchOptions) -> Result<TrainingBatches> {
        state.check(&self.0.identity)?;
        if self.0.rows() < state.position {
            let message = "the state stands behind the end of the epoch";
            return Err(Error::invalid(Code::InvalidArgument, message)
                .with("position", state.position)
                .with("rows", self.0.rows()));
        }
        self.from(*state, options)
    }

    fn from(&self, state: FeedState, options: BatchOptions) -> Result<TrainingBatches> {
        let share = Share {
            rank: options.rank,
            world: options.world,
        };
        share.check()?;
        if !(1..=BATCH_ROWS_MAX).contains(&options.rows) {
            let message = format!("a batch has between 1 and {BATCH_ROWS_MAX} rows");
            return Err(Error::invalid(Code::InvalidArgument, message).with("rows", options.rows));
        }
        let rows = self.0.rows();
        if options.last == LastBatch::Drop && 0 < rows && rows < options.rows as u64 {
            let message = "an epoch has fewer rows than one batch, and short batches are left out: no row would ever \
                           be handed out; make batches smaller";
            return Err(Error::invalid(Code::InvalidArgument, message)
                .with("rows", rows)
                .with("batch_rows", options.rows));
        }
        let counters = Arc::<Counters>::default();
        let engine = Engine {
            pool: Pool::new(&self.0, options.threads, &counters),
            planned: Arc::clone(&self.0),
            share,
            options,
            state,
        };
        Ok(TrainingBatches {
            engine: Some(engine),
            said: None,
            schema: self.schema(),
            state,
            digest: OrderDigest::default(),
            counters,
        })
    }
}

impl TrainingBatches {
    /// The Arrow schema of the batches.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Where the run stands after the last batch that came out of this stream. Costs nothing.
    pub fn state(&self) -> FeedState {
        self.state
    }

    /// The digest of the rows that came out of this stream and of their positions. Over all stretches and ranks of an
    /// epoch, these [add up](OrderDigest::and) to [`TrainingPlan::order_digest`].
    pub fn order_digest(&self) -> OrderDigest {
        self.digest
    }

    /// What the feed did so far.
    pub fn counts(&self) -> FeedCounts {
        FeedCounts {
            units_read: self.counters.units_read.load(Ordering::Relaxed),
            units_resident_max: self.counters.units_resident_max.load(Ordering::Relaxed),
            bytes_resident_max: self.counters.bytes_resident_max.load(Ordering::Relaxed),
        }
    }
}

impl Stream for TrainingBatches {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(engine) = self.engine.take() {
            // As many batches wait as make a block: the next one is gathered while they are used.
            let block = engine.planned.block_rows();
            let ahead = block / (engine.options.rows as u64).max(1);
            let (sender, receiver) = mpsc::channel(usize::try_from(ahead).unwrap_or(0).max(2));
            let environment = engine.planned.environment.clone();
            let _detached = environment.spawn(engine.run(sender));
            self.said = Some(receiver);
        }
        let Some(said) = &mut self.said else {
            return Poll::Ready(None);
        };
        let item = match std::task::ready!(said.poll_next_unpin(context)) {
            Some(Said::Batch {
                rows,
                digest,
                state,
            }) => {
                self.digest = self.digest.and(digest);
                self.state = state;
                return Poll::Ready(Some(Ok(rows)));
            }
            Some(Said::End) => None,
            Some(Said::Failed(error)) => Some(Err(error)),
            None => Some(Err(stopped())),
        };
        self.said = None;
        Poll::Ready(item)
    }
}

impl fmt::Debug for TrainingBatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrainingBatches")
            .field("state", &self.state)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

/// The task that walks, waits for units and gathers their rows.
struct Engine {
    planned: Arc<Planned>,
    pool: Pool,
    share: Share,
    options: BatchOptions,
    state: FeedState,
}

/// Some batches that are gathered at once.
struct Block {
    rows: Vec<(u64, RowId)>,
    /// For each batch, how many of the rows are its own, and where the run stands after it.
    batches: Vec<(usize, FeedState)>,
}

/// Why the task ends early.
enum Stop {
    /// Nobody listens any more.
    Dropped,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Engine {
    async fn run(mut self, mut sender: mpsc::Sender<Said>) {
        let end = match self.epochs(&mut sender).await {
            Ok(()) => Said::End,
            Err(Stop::Dropped) => return,
            Err(Stop::Failed(error)) => Said::Failed(error),
        };
        // Nobody may listen any more.
        let _ = sender.send(end).await;
    }

    async fn epochs(&mut self, sender: &mut mpsc::Sender<Said>) -> Result<(), Stop> {
        while self.state.epoch < self.options.epochs.end && 0 < self.planned.rows() {
            let (planned, state) = (Arc::clone(&self.planned), self.state);
            let begin = move || {
                let order = Arc::new(planned.order(state.epoch)?);
                Ok::<_, Error>((Walk::new(Arc::clone(&order), state.position), order))
            };
            let begun = self.planned.environment.run_blocking(begin).await;
            let (walk, order) = begun.ok_or_else(stopped)??;
            self.epoch(walk, &order, sender).await?;
            self.pool.keep(&BTreeSet::new());
            self.state.epoch = self.state.epoch.saturating_add(1);
            self.state.position = 0;
        }
        Ok(())
    }

    async fn epoch(
        &mut self,
        mut walk: Walk,
        order: &Order,
        sender: &mut mpsc::Sender<Said>,
    ) -> Result<(), Stop> {
        loop {
            let (options, share, state) = (self.options.clone(), self.share, self.state);
            let sizes = (self.planned.rows(), self.planned.block_rows());
            let step = move || {
                let block = Block::next(&mut walk, (&options, share), state, sizes);
                (walk, block)
            };
            let stepped = self.planned.environment.run_blocking(step).await;
            let (after, block) = stepped.ok_or_else(stopped)?;
            walk = after;
            if block.batches.is_empty() {
                return Ok(());
            }
            let kept = self.units_ahead(&walk, order);
            let needed: BTreeSet<u32> = block.rows.iter().map(|(_, row)| row.unit).collect();
            self.pool.want(needed.iter().copied());
            self.pool.want(kept.iter().copied());
            let mut units = Vec::with_capacity(needed.len());
            for unit in needed {
                let rows = self.pool.get(unit).await?;
                let part = match self.pool.is_full() {
                    false => Part::Whole(rows),
                    true => {
                        let part = Part::few(unit, &block.rows, &rows, &self.planned.schema)?;
                        self.pool.give_up(unit);
                        part
                    }
                };
                units.push((unit, part));
            }
            self.pool.keep(&kept);
            self.hand_out(block, units, sender).await?;
        }
    }

    /// The units that the next rows come from, and one more of each lane.
    fn units_ahead(&self, walk: &Walk, order: &Order) -> BTreeSet<u32> {
        let lanes = order.lanes().len();
        let mut ahead = BTreeSet::new();
        for (number, lane) in order.lanes().iter().enumerate() {
            if walk.has_walked(number) || self.share.touches(number, lanes) {
                let units = lane.units.get(walk.units_in_use(number));
                ahead.extend(units.unwrap_or_default());
            }
        }
        ahead
    }

    async fn hand_out(
        &self,
        block: Block,
        units: Vec<(u32, Part)>,
        sender: &mut mpsc::Sender<Said>,
    ) -> Result<(), Stop> {
        let schema = Arc::clone(&self.planned.schema);
        let gather = move || {
            let rows: Vec<RowId> = block.rows.iter().map(|(_, row)| *row).collect();
            gather(&rows, &units, &schema).map(|rows| (rows, block))
        };
        let gathered = self.planned.environment.run_blocking(gather).await;
        let (rows, block) = gathered.ok_or_else(stopped)??;
        let mut first = 0;
        for (length, state) in block.batches {
            let mut digest = OrderDigest::default();
            for (position, row) in block.rows.iter().skip(first).take(length) {
                digest.add(*position, *row);
            }
            let batch = Said::Batch {
                rows: rows.slice(first, length),
                digest,
                state,
            };
            sender.send(batch).await.map_err(|_| Stop::Dropped)?;
            first = first.saturating_add(length);
        }
        Ok(())
    }
}

impl Block {
    /// The next batches of the walk; none at its end.
    fn next(
        walk: &mut Walk,
        (options, share): (&BatchOptions, Share),
        state: FeedState,
        (rows, block_rows): (u64, u64),
    ) -> Self {
        let mut block = Self {
            rows: Vec::new(),
            batches: Vec::new(),
        };
        let batch_rows = options.rows as u64;
        let begin = walk.position();
        while walk.position().saturating_sub(begin) < block_rows {
            let left = rows.saturating_sub(walk.position());
            let is_over =
                |left: u64| left == 0 || (options.last == LastBatch::Drop && left < batch_rows);
            if is_over(left) {
                break;
            }
            let own = walk.batch(batch_rows, share);
            let mut after = FeedState {
                position: walk.position(),
                ..state
            };
            if is_over(rows.saturating_sub(walk.position())) {
                after.epoch = after.epoch.saturating_add(1);
                after.position = 0;
            }
            block.batches.push((own.len(), after));
            block.rows.extend(own);
        }
        block
    }
}
