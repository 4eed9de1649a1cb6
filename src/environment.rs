//! The outside world as a value: clock, sleep, entropy, tasks.
//!
//! Nothing else in the crate reads the time, waits, draws randomness or spawns (clippy's disallowed lists hold that),
//! so a simulator that supplies another [`Host`] owns every source of nondeterminism.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::BoxFuture;
use uuid::Uuid;

/// What a host offers: implement it to run the crate in a simulator.
pub trait Host: fmt::Debug + Send + Sync + 'static {
    /// Milliseconds since the Unix epoch, by the wall clock. May jump.
    fn now_millis(&self) -> i64;

    /// Time since some fixed moment, by a clock that never goes back.
    fn elapsed(&self) -> Duration;

    /// Completes after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// Fills `buffer` with entropy.
    fn random_bytes(&self, buffer: &mut [u8]);

    /// Runs `task` in the background until it ends.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Runs work that blocks or computes for long, off the threads that drive futures.
    fn run_blocking(&self, work: Box<dyn FnOnce() + Send>);
}

/// The outside world, passed to everything that needs it. Cloning is cheap.
///
/// ```
/// let environment = headwater::environment::Environment::system();
/// assert!(environment.now_millis() > 1_700_000_000_000);
/// ```
#[derive(Debug, Clone)]
pub struct Environment(Arc<dyn Host>);

impl Environment {
    /// The operating system's clock and entropy, and the tokio runtime this is called in.
    pub fn system() -> Self {
        Self(Arc::new(System {
            start: Instant::start(),
        }))
    }

    /// A host of the caller's own: a simulator.
    pub fn new(host: Arc<dyn Host>) -> Self {
        Self(host)
    }

    /// Milliseconds since the Unix epoch.
    pub fn now_millis(&self) -> i64 {
        self.0.now_millis()
    }

    /// Time by a clock that never goes back; only differences mean anything.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// Completes after `duration`.
    pub async fn sleep(&self, duration: Duration) {
        self.0.sleep(duration).await;
    }

    /// Random bytes.
    pub fn random_bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.random_bytes(&mut bytes);
        bytes
    }

    /// A random number below `bound`; 0 when `bound` is 0.
    pub fn random_below(&self, bound: u64) -> u64 {
        u64::from_le_bytes(self.random_bytes())
            .checked_rem(bound)
            .unwrap_or(0)
    }

    /// A random (version 4) UUID.
    pub fn uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.random_bytes()).into_uuid()
    }

    /// Runs `future` in the background. Dropping the handle lets it run on.
    pub fn spawn<T, F>(&self, future: F) -> Task<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        self.0.spawn(Box::pin(async move {
            // The receiver may be gone: nobody waits for the result.
            let _ = sender.send(future.await);
        }));
        Task(receiver)
    }

    /// Runs `work` off the threads that drive futures and hands back its result; `None` if it panicked.
    pub async fn run_blocking<T, F>(&self, work: F) -> Option<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        self.0.run_blocking(Box::new(move || {
            // A panic in decoding foreign bytes must end as an error of that one operation.
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            if let Ok(value) = result {
                let _ = sender.send(value);
            }
        }));
        receiver.await.ok()
    }
}

impl Default for Environment {
    fn default() -> Self {
        Self::system()
    }
}

/// A background task; await [`Task::join`] for its result.
#[derive(Debug)]
pub struct Task<T>(oneshot::Receiver<T>);

impl<T> Task<T> {
    /// Whether the task has ended.
    pub(crate) fn is_done(&mut self) -> bool {
        !matches!(self.0.try_recv(), Ok(None))
    }

    /// The result of the task; `None` if it panicked or its runtime ended.
    pub async fn join(self) -> Option<T> {
        self.0.await.ok()
    }
}

#[derive(Debug)]
struct System {
    start: Instant,
}

#[derive(Debug)]
struct Instant(std::time::Instant);

impl Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the clock"
    )]
    fn start() -> Self {
        Self(std::time::Instant::now())
    }
}

impl Host for System {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the clock"
    )]
    fn now_millis(&self) -> i64 {
        match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => {
                i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis)
            }
        }
    }

    fn elapsed(&self) -> Duration {
        self.start.0.elapsed()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that sleeps"
    )]
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    #[expect(
        clippy::disallowed_methods,
        clippy::expect_used,
        reason = "no entropy, no unique ids: going on would lose data"
    )]
    fn random_bytes(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("the operating system supplies entropy");
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that spawns"
    )]
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        // Outside a runtime there is nothing to run on: the task is dropped and its handle says so.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(task);
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that spawns"
    )]
    fn run_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        tokio::task::spawn_blocking(work);
    }
}
