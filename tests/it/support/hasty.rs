//! A world in which waiting takes no time: its clock moves by what was slept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use headwater::environment::{Environment, Host};

/// How often a sleeper lets others run before it goes on.
const YIELDS: usize = 20;

/// When a fresh world begins.
const START_MILLIS: i64 = 1_600_000_000_000;

#[derive(Debug, Default)]
struct Hasty {
    slept_micros: Arc<AtomicU64>,
    draws: AtomicU64,
}

/// A fresh world.
pub(crate) fn environment() -> Environment {
    Environment::new(Arc::new(Hasty::default()))
}

impl Host for Hasty {
    fn now_millis(&self) -> i64 {
        START_MILLIS + (self.slept_micros.load(Ordering::Relaxed) / 1_000) as i64
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.slept_micros.load(Ordering::Relaxed))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let slept = self.slept_micros.clone();
        Box::pin(async move {
            for _ in 0..YIELDS {
                tokio::task::yield_now().await;
            }
            slept.fetch_add(duration.as_micros() as u64, Ordering::Relaxed);
        })
    }

    fn random_bytes(&self, buffer: &mut [u8]) {
        for byte in buffer {
            *byte = drawn(&self.draws);
        }
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn run_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        tokio::task::spawn_blocking(work);
    }
}

/// The next byte of a stream: its place, with each bit mixed into all others (the finalizer of SplitMix64).
fn drawn(places: &AtomicU64) -> u8 {
    let place = places.fetch_add(1, Ordering::Relaxed);
    let mut mixed = place.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((mixed ^ (mixed >> 31)) >> 56) as u8
}

/// Our world in one millisecond, as one of several actors sees it: they have one seed, but each a stream of its own.
#[derive(Debug)]
struct Actor {
    system: Environment,
    draws: AtomicU64,
}

/// The actor of this number.
pub(crate) fn actor(number: u64) -> Environment {
    Environment::new(Arc::new(Actor {
        system: Environment::system(),
        draws: AtomicU64::new(number << 32),
    }))
}

impl Host for Actor {
    fn now_millis(&self) -> i64 {
        START_MILLIS
    }

    fn elapsed(&self) -> Duration {
        self.system.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn random_bytes(&self, buffer: &mut [u8]) {
        for byte in buffer {
            *byte = drawn(&self.draws);
        }
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn run_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        tokio::task::spawn_blocking(work);
    }
}

/// Our world, but for a clock that can be set forward, and a clock on the wall that can be set back.
#[derive(Debug)]
pub(crate) struct Ahead {
    system: Environment,
    clock: Clock,
}

/// Sets the clocks of a world.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock {
    millis: Arc<AtomicU64>,
    behind: Arc<AtomicU64>,
}

impl Clock {
    pub(crate) fn forward(&self, duration: Duration) {
        self.millis
            .fetch_add(duration.as_millis() as u64, Ordering::Relaxed);
    }

    /// Sets the clock on the wall back; time goes on.
    pub(crate) fn back(&self, duration: Duration) {
        self.behind
            .fetch_add(duration.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Ahead {
    /// Another world with the same clock.
    pub(crate) fn with(clock: &Clock) -> Environment {
        Environment::new(Arc::new(Self {
            system: Environment::system(),
            clock: clock.clone(),
        }))
    }

    /// A world, and its clock.
    pub(crate) fn environment() -> (Environment, Clock) {
        let clock = Clock::default();
        let ahead = Self {
            system: Environment::system(),
            clock: clock.clone(),
        };
        (Environment::new(Arc::new(ahead)), clock)
    }
}

impl Host for Ahead {
    fn now_millis(&self) -> i64 {
        let millis = self.clock.millis.load(Ordering::Relaxed) as i64;
        self.system.now_millis() + millis - self.clock.behind.load(Ordering::Relaxed) as i64
    }

    fn elapsed(&self) -> Duration {
        let millis = self.clock.millis.load(Ordering::Relaxed);
        self.system.elapsed() + Duration::from_millis(millis)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn random_bytes(&self, buffer: &mut [u8]) {
        for byte in buffer {
            [*byte] = self.system.random_bytes();
        }
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn run_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        tokio::task::spawn_blocking(work);
    }
}
