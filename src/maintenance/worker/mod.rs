//! The background worker: it watches a table, decides what is due, and does it at its own pace.
//!
//! It takes no lock and holds up no writer: where its work meets theirs, its work is done again. What it does is what
//! the verbs do ([`Table::compact`], [`Table::vacuum`], ...); when it does it is decided in [`mod@policy`].

mod policy;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{Either, select};
use tokio::sync::watch;

use crate::data::writer::WriterOptions;
use crate::environment::{Environment, Task};
use crate::error::{Code, Error, ErrorKind, Result};
use crate::maintenance::Compaction;
use crate::maintenance::worker::policy::{Policy, Sight, due};
use crate::operation::invalid;
use crate::protocol::Version;
use crate::snapshot::Snapshot;
use crate::table::Table;

pub use crate::maintenance::worker::policy::Job;

/// How many bytes the worker rewrites for one commit, about.
const COMMIT_BYTES: u64 = 256 << 20;
/// How often one call does what is due, at most, while each time brings something forward.
const ROUNDS_MAX: usize = 10_000;
/// What is known of a worker that ended otherwise than it should.
const DIED: &str = "the maintenance worker died; its work is undone or done, never half";
/// The most that the worker waits after a failure.
const FAILURE_WAIT_MAX: Duration = Duration::from_secs(300);

/// How a table is maintained; made by [`Table::maintain`].
#[derive(Debug, Clone)]
#[must_use = "nothing happens until it is started, or run once"]
pub struct Maintain {
    table: Table,
    every: Duration,
    files_min: usize,
    target_bytes: Option<u64>,
    core_share: f64,
    bytes_per_second: Option<u64>,
    delete_every: Option<Duration>,
}

/// What a worker is doing, and what it has done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Status {
    /// What it is doing.
    pub state: State,
    /// The version it looked at last.
    pub version: Option<Version>,
    /// What compaction came to so far.
    pub compacted: Compaction,
    /// Checkpoints written.
    pub checkpoints: u64,
    /// Objects that vacuum and log cleanup deleted.
    pub deleted: u64,
    /// Steps that failed and were, or will be, repeated.
    pub failures: u64,
    /// How many of them failed one after the other, up to now; 0 once a round went well.
    pub failures_in_a_row: u32,
    /// What the last failure said.
    pub last_failure: Option<String>,
}

/// What a worker is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum State {
    /// It waits for work.
    #[default]
    Watching,
    /// It is at work.
    Working(Job),
    /// It waits to be resumed.
    Paused,
    /// It was stopped.
    Stopped,
    /// It gave up: [`Status::last_failure`] says why.
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Run,
    Pause,
    Stop,
}

/// A worker in the background. Dropping it stops it at its next step.
#[derive(Debug)]
pub struct Maintenance {
    orders: watch::Sender<Order>,
    status: Arc<Mutex<Status>>,
    task: Task<Result<()>>,
}

impl Table {
    /// Keeps the table fast: compacts, writes checkpoints and, on request, deletes what nobody needs; once, or in the
    /// background.
    ///
    /// ```
    /// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use headwater::protocol::schema::{DataType, Field, Schema};
    /// # use headwater::arrow_array::{Int64Array, RecordBatch};
    /// # use std::sync::Arc;
    /// # let ids = |id: i64| {
    /// #     let column = Arc::new(Int64Array::from(vec![id])) as _;
    /// #     RecordBatch::try_from_iter([("id", column)]).unwrap()
    /// # };
    /// # let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
    /// # let table = headwater::Table::create("memory:///maintain-example", schema).await?;
    /// for id in 0..20 {
    ///     table.append(ids(id)).await?;
    /// }
    /// let status = table.maintain().once().await?;
    /// assert_eq!(status.compacted.files_removed, 20);
    ///
    /// let worker = table.maintain().start();
    /// worker.pause();
    /// worker.resume();
    /// worker.stop().await?;
    /// # Ok(()) }) }
    /// ```
    pub fn maintain(&self) -> Maintain {
        Maintain {
            table: self.clone(),
            every: Duration::from_secs(10),
            files_min: 8,
            target_bytes: None,
            core_share: 0.5,
            bytes_per_second: None,
            delete_every: None,
        }
    }
}

impl Maintain {
    /// How often the worker looks for new versions; 10 seconds unless set.
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// How many small files of a partition make compaction worth its while; 8 unless set.
    pub fn compact_from(mut self, files: usize) -> Self {
        self.files_min = files.max(2);
        self
    }

    /// About how large files are to become, in bytes. Unset: the property `delta.targetFileSize`, else 128 MiB.
    pub fn target_file_bytes(mut self, bytes: u64) -> Self {
        self.target_bytes = Some(bytes);
        self
    }

    /// Which share of one core the worker takes on average, more than 0 and at most 1; a half unless set. While it works
    /// it may use all cores, and rests the longer for it: it is taken to keep all of them busy.
    ///
    /// A share that is no number, or not more than 0, is refused when the work starts.
    pub fn core_share(mut self, share: f64) -> Self {
        self.core_share = share;
        self
    }

    /// How many bytes of data files the worker reads and writes in a second, at most, on average.
    pub fn bytes_per_second(mut self, bytes: u64) -> Self {
        self.bytes_per_second = Some(bytes.max(1));
        self
    }

    /// Lets the worker delete what is older than the table's retentions, this often: vacuum and log cleanup. Unset:
    /// never.
    pub fn delete_every(mut self, every: Duration) -> Self {
        self.delete_every = Some(every);
        self
    }

    /// Does what is due now, and says what it was.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) for a share of a core that is none; the first failure of a step, as [`Table::compact`], [`Table::checkpoint`], [`Table::vacuum`] and
    /// [`Table::clean_up_log`] have them.
    pub async fn once(self) -> Result<Status> {
        self.check()?;
        let (_orders, heard) = watch::channel(Order::Run);
        let mut worker = Worker::new(self, heard);
        worker.paced = false;
        for _ in 0..ROUNDS_MAX {
            let before = worker.status().compacted.files_removed;
            worker.round().await?;
            // Less is left than before; what is not worth a commit stays.
            if worker.status().compacted.files_removed == before {
                break;
            }
        }
        Ok(worker.status().clone())
    }

    fn check(&self) -> Result<()> {
        if self.core_share.is_finite() && 0.0 < self.core_share {
            return Ok(());
        }
        let message =
            "the share of a core that maintenance may take is a number above 0 and at most 1";
        Err(invalid(message))
    }

    /// Starts a worker in the background.
    pub fn start(self) -> Maintenance {
        let (orders, heard) = watch::channel(Order::Run);
        let environment = self.table.environment().clone();
        let worker = Worker::new(self, heard);
        let status = Arc::clone(&worker.status);
        // Whatever ends it, a panic too, its status says so.
        let ended = Ended(Arc::clone(&status));
        let task = environment.spawn(async move {
            let _ended = ended;
            worker.run().await
        });
        Maintenance {
            orders,
            status,
            task,
        }
    }
}

impl Maintenance {
    /// What the worker is doing, and what it has done.
    pub fn status(&self) -> Status {
        lock(&self.status).clone()
    }

    /// Lets the worker rest after its present step.
    pub fn pause(&self) {
        self.orders.send_replace(Order::Pause);
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.orders.send_replace(Order::Run);
    }

    /// Ends the worker after its present step, and says what it has done.
    ///
    /// # Errors
    ///
    /// What made the worker give up, if it did.
    pub async fn stop(self) -> Result<Status> {
        self.orders.send_replace(Order::Stop);
        match self.task.join().await {
            Some(ended) => ended?,
            None => {
                return Err(Error::storage(Code::Stopped, DIED));
            }
        }
        Ok(lock(&self.status).clone())
    }
}

/// Says that the worker is no more, if it ends otherwise than it should.
struct Ended(Arc<Mutex<Status>>);

impl Drop for Ended {
    fn drop(&mut self) {
        let mut status = lock(&self.0);
        if !matches!(status.state, State::Stopped | State::Failed) {
            status.state = State::Failed;
            status.last_failure = Some(DIED.to_owned());
        }
    }
}

struct Worker {
    options: Maintain,
    status: Arc<Mutex<Status>>,
    orders: watch::Receiver<Order>,
    environment: Environment,
    /// When objects were vacuumed last, by the clock that never goes back.
    vacuumed: Option<Duration>,
    /// When the log was cleaned up last.
    cleaned: Option<Duration>,
    /// The version in which compaction found nothing to do: it finds nothing again.
    compact: Option<Version>,
    /// Whether it rests between steps.
    paced: bool,
}

impl Worker {
    fn new(options: Maintain, orders: watch::Receiver<Order>) -> Self {
        Self {
            environment: options.table.environment().clone(),
            options,
            status: Arc::default(),
            orders,
            vacuumed: None,
            cleaned: None,
            compact: None,
            paced: true,
        }
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        lock(&self.status)
    }

    async fn run(mut self) -> Result<()> {
        if let Err(error) = self.options.check() {
            let mut status = self.status();
            status.state = State::Failed;
            status.last_failure = Some(error.to_string());
            return Err(error);
        }
        loop {
            match self.order() {
                Order::Stop => {
                    self.status().state = State::Stopped;
                    return Ok(());
                }
                Order::Pause => {
                    self.status().state = State::Paused;
                    // A worker whose handle is gone is stopped.
                    let _ = self.orders.changed().await;
                    continue;
                }
                Order::Run => {}
            }
            let wait = match self.round().await {
                Ok(()) => {
                    self.status().failures_in_a_row = 0;
                    self.options.every
                }
                Err(error) => self.failed(error)?,
            };
            if self.order() == Order::Run {
                self.status().state = State::Watching;
                self.rest(wait).await;
            }
        }
    }

    fn order(&self) -> Order {
        match self.orders.has_changed() {
            Err(_) => Order::Stop,
            Ok(_) => *self.orders.borrow(),
        }
    }

    /// Waits, unless an order comes.
    async fn rest(&mut self, wait: Duration) {
        if *self.orders.borrow_and_update() != Order::Run {
            return;
        }
        let sleep = std::pin::pin!(self.environment.sleep(wait));
        let order = std::pin::pin!(self.orders.changed());
        match select(sleep, order).await {
            Either::Left(_) | Either::Right(_) => {}
        }
    }

    /// How long to wait before a step is repeated; an error if it is not. What passes is waited for, however long it
    /// takes.
    fn failed(&self, error: Error) -> Result<Duration> {
        let passes = error.is_retryable() || error.kind() == ErrorKind::Conflict;
        let mut status = self.status();
        status.failures += 1;
        status.failures_in_a_row = status.failures_in_a_row.saturating_add(1);
        status.last_failure = Some(error.to_string());
        if passes {
            let failures = status.failures_in_a_row;
            tracing::warn!(%error, failures, "maintenance_repeats: a step failed and will be repeated");
            let factor = 2_u32.saturating_pow(failures.min(16));
            return Ok(self
                .options
                .every
                .saturating_mul(factor)
                .min(FAILURE_WAIT_MAX));
        }
        status.state = State::Failed;
        tracing::error!(%error, "maintenance_failed: the worker has given up");
        Err(error)
    }

    /// Looks once, and does what is due.
    async fn round(&mut self) -> Result<()> {
        let snapshot = self.options.table.refresh().await?;
        self.status().version = Some(snapshot.version());
        for job in self.due(&snapshot).await? {
            if self.order() != Order::Run {
                return Ok(());
            }
            self.status().state = State::Working(job);
            let started = self.environment.elapsed();
            let (done, bytes) = self.work(job).await;
            let worked = self.environment.elapsed().saturating_sub(started);
            // What failed took its time, too.
            self.pace(worked, bytes).await;
            done?;
        }
        self.status().state = State::Watching;
        Ok(())
    }

    async fn due(&mut self, snapshot: &Snapshot) -> Result<Vec<Job>> {
        let policy = Policy {
            checkpoint_commits: snapshot.properties().checkpoint_interval.unwrap_or(10),
            delete_every: self.options.delete_every,
        };
        let (replayed, _) = snapshot.replayed();
        let ago = |then: Duration| self.environment.elapsed().saturating_sub(then);
        let (vacuumed, cleaned) = (self.vacuumed.map(ago), self.cleaned.map(ago));
        let groups = match self.compact == Some(snapshot.version()) {
            true => 0,
            false => self.compact().groups(snapshot).await?,
        };
        self.compact = (groups == 0).then_some(snapshot.version());
        let sight = Sight {
            groups,
            replayed,
            vacuumed,
            cleaned,
            cleans_log: snapshot.properties().enable_expired_log_cleanup,
        };
        Ok(due(policy, sight))
    }

    fn compact(&self) -> crate::maintenance::Compact {
        let options = &self.options;
        let compact = options.table.compact().commit_bytes(COMMIT_BYTES);
        let compact = compact.from_files(options.files_min);
        match options.target_bytes {
            Some(bytes) => compact.target_file_bytes(bytes),
            None => compact,
        }
    }

    /// Does a job; hands back how it ended, and the bytes of data files that it read and wrote.
    async fn work(&mut self, job: Job) -> (Result<()>, u64) {
        match job {
            Job::Compact => {
                let compact = self.compact();
                let done = compact.one_commit().await;
                let done = done.map(|done| self.status().compacted.plus(done));
                (done, compact.moved())
            }
            Job::Checkpoint => {
                let done = self.options.table.checkpoint().await;
                (done.map(|_| self.status().checkpoints += 1), 0)
            }
            Job::Vacuum | Job::CleanUpLog => (self.clear(job).await, 0),
        }
    }

    async fn clear(&mut self, job: Job) -> Result<()> {
        let table = &self.options.table;
        let files = match job {
            Job::Vacuum => table.vacuum().await?.files,
            _ => table.clean_up_log().await?.files,
        };
        self.status().deleted += files;
        // Not before: what failed is done again.
        let last = Some(self.environment.elapsed());
        match job {
            Job::Vacuum => self.vacuumed = last,
            _ => self.cleaned = last,
        }
        Ok(())
    }

    /// Rests as long as the share of a core and the bytes in a second ask for.
    async fn pace(&mut self, worked: Duration, bytes: u64) {
        if !self.paced {
            return;
        }
        let cores = WriterOptions::of(self.options.table.snapshot().properties()).workers;
        let rest = policy::rest(
            policy::Pace {
                core_share: self.options.core_share,
                cores,
                bytes_per_second: self.options.bytes_per_second,
            },
            worked,
            bytes,
        );
        if !rest.is_zero() {
            self.rest(rest).await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
