//! The background worker: it watches a table, decides what is due, and does it at its own pace.
//!
//! It takes no lock and holds up no writer: where its work meets theirs, its work is done again. What it does is what
//! the verbs do ([`Table::compact`], [`Table::vacuum`], ...); when it does it is decided in [`mod@policy`].

mod policy;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{Either, select};
use tokio::sync::watch;

use crate::environment::{Environment, Task};
use crate::error::{Code, Error, ErrorKind, Result};
use crate::maintenance::Compaction;
use crate::maintenance::worker::policy::{Policy, Sight, due};
use crate::protocol::Version;
use crate::snapshot::Snapshot;
use crate::table::Table;

pub use crate::maintenance::worker::policy::Job;

/// How many bytes the worker rewrites for one commit, about.
const COMMIT_BYTES: u64 = 256 << 20;
/// How often a step that failed and may be repeated is repeated before the worker gives up.
const FAILURES_MAX: u32 = 8;
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

    /// Which share of the time the worker works, from 0 to 1; a half unless set. It rests in between.
    pub fn core_share(mut self, share: f64) -> Self {
        self.core_share = share.clamp(0.01, 1.0);
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
    /// The first failure of a step, as [`Table::compact`], [`Table::checkpoint`], [`Table::vacuum`] and
    /// [`Table::clean_up_log`] have them.
    pub async fn once(self) -> Result<Status> {
        let (_orders, heard) = watch::channel(Order::Run);
        let mut worker = Worker::new(self, heard);
        worker.options.core_share = 1.0;
        worker.options.bytes_per_second = None;
        worker.round().await?;
        Ok(worker.status().clone())
    }

    /// Starts a worker in the background.
    pub fn start(self) -> Maintenance {
        let (orders, heard) = watch::channel(Order::Run);
        let environment = self.table.environment().clone();
        let worker = Worker::new(self, heard);
        let status = Arc::clone(&worker.status);
        let task = environment.spawn(worker.run());
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
                let message = "the maintenance worker died; its work is undone or done, never half";
                return Err(Error::storage(Code::Stopped, message));
            }
        }
        Ok(lock(&self.status).clone())
    }
}

struct Worker {
    options: Maintain,
    status: Arc<Mutex<Status>>,
    orders: watch::Receiver<Order>,
    environment: Environment,
    /// By the clock that never goes back.
    deleted: Option<Duration>,
}

impl Worker {
    fn new(options: Maintain, orders: watch::Receiver<Order>) -> Self {
        Self {
            environment: options.table.environment().clone(),
            options,
            status: Arc::default(),
            orders,
            deleted: None,
        }
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        lock(&self.status)
    }

    async fn run(mut self) -> Result<()> {
        let mut failures = 0;
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
                    failures = 0;
                    self.options.every
                }
                Err(error) => {
                    failures += 1;
                    self.failed(error, failures)?
                }
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

    /// How long to wait before a step is repeated; an error if it is not.
    fn failed(&self, error: Error, failures: u32) -> Result<Duration> {
        let passes = error.is_retryable() || error.kind() == ErrorKind::Conflict;
        let mut status = self.status();
        status.failures += 1;
        status.last_failure = Some(error.to_string());
        if passes && failures < FAILURES_MAX {
            tracing::warn!(%error, failures, "maintenance_repeats: a step failed and will be repeated");
            let wait = self
                .options
                .every
                .saturating_mul(2_u32.saturating_pow(failures));
            return Ok(wait.min(FAILURE_WAIT_MAX));
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
            let bytes = self.work(job).await?;
            let worked = self.environment.elapsed().saturating_sub(started);
            self.pace(worked, bytes).await;
        }
        self.status().state = State::Watching;
        Ok(())
    }

    async fn due(&self, snapshot: &Snapshot) -> Result<Vec<Job>> {
        let policy = Policy {
            checkpoint_commits: snapshot.properties().checkpoint_interval.unwrap_or(10),
            delete_every: self.options.delete_every,
        };
        let (replayed, _) = snapshot.replayed();
        let ago = |then: Duration| self.environment.elapsed().saturating_sub(then);
        let sight = Sight {
            groups: self.compact().groups(snapshot).await?,
            replayed,
            deleted: self.deleted.map(ago),
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

    /// Does a job; hands back the bytes of data files that it read and wrote.
    async fn work(&mut self, job: Job) -> Result<u64> {
        let table = self.options.table.clone();
        match job {
            Job::Compact => {
                let done = self.compact().one_commit().await?;
                self.status().compacted.plus(done);
                Ok(done.bytes_removed.saturating_add(done.bytes_added))
            }
            Job::Checkpoint => {
                table.checkpoint().await?;
                self.status().checkpoints += 1;
                Ok(0)
            }
            Job::Vacuum => {
                let done = table.vacuum().await?;
                self.status().deleted += done.files;
                self.deleted = Some(self.environment.elapsed());
                Ok(0)
            }
            Job::CleanUpLog => {
                let done = table.clean_up_log().await?;
                self.status().deleted += done.files;
                Ok(0)
            }
        }
    }

    /// Rests as long as the share of time and the bytes in a second ask for.
    async fn pace(&mut self, worked: Duration, bytes: u64) {
        let share = self.options.core_share;
        let by_share = worked.mul_f64((1.0 - share) / share);
        let by_bytes = self.options.bytes_per_second.map(|per_second| {
            let needed = Duration::from_secs_f64(bytes as f64 / per_second as f64);
            needed.saturating_sub(worked)
        });
        let rest = by_share.max(by_bytes.unwrap_or_default());
        if !rest.is_zero() {
            self.rest(rest).await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
