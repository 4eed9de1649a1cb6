//! What the targets share: a host without threads, tables in memory, and what counts as a finding beside a crash.
//!
//! Memory is counted where it is asked for, because a reservation that nobody touches shows in no resident size, and
//! the next file touches it.

pub mod given;
pub mod memory;

use std::io::Write;
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use headwater::environment::{Environment, Host};
use headwater::storage::Storage;
use object_store::memory::InMemory;

/// Called once, before the first input: what a panic means.
///
/// A panic in another crate that headwater catches is an answer like any other. A panic in headwater itself, or in a
/// target, is a finding wherever it is caught. What nobody catches reaches the engine, which calls that a crash.
pub fn start() {
    std::panic::set_hook(Box::new(|panic: &PanicHookInfo<'_>| {
        let foreign = panic.location().is_some_and(|place| {
            let file = place.file();
            file.contains("/registry/src/") || file.starts_with("/rustc/")
        });
        if !foreign {
            let _ = writeln!(std::io::stderr(), "{panic}");
            let trace = std::backtrace::Backtrace::force_capture();
            let _ = writeln!(std::io::stderr(), "{trace}");
            std::process::abort();
        }
        if std::env::var_os("HEADWATER_FUZZ_PANICS").is_some() {
            let _ = writeln!(std::io::stderr(), "caught: {panic}");
        }
    }));
}

/// One thread does all the work, in order, so that an input does the same every time.
#[derive(Debug, Default)]
struct Inline {
    millis: AtomicI64,
}

impl Host for Inline {
    fn now_millis(&self) -> i64 {
        1_700_000_000_000 + self.millis.fetch_add(1, Ordering::Relaxed)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.millis.load(Ordering::Relaxed).unsigned_abs())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed()
    }

    fn random_bytes(&self, buffer: &mut [u8]) {
        let mut state = self.millis.fetch_add(1, Ordering::Relaxed).unsigned_abs();
        for byte in buffer {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            *byte = state.to_be_bytes()[0];
        }
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(tokio::task::spawn_local(task));
    }

    fn run_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }
}

/// Runs a future to its end on this thread. What it spawned and did not wait for is dropped.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime without threads");
    }
    RUNTIME.with(|runtime| tokio::task::LocalSet::new().block_on(runtime, future))
}

/// An empty store of one table.
pub fn store() -> (Storage, Environment) {
    let environment = Environment::new(Arc::new(Inline::default()));
    let store = Arc::new(InMemory::new());
    let storage = Storage::new(store, object_store::path::Path::ROOT, &environment);
    (storage, environment)
}

/// Places an object.
pub async fn place(storage: &Storage, key: &str, bytes: impl Into<Bytes>) {
    storage
        .put(key, bytes.into())
        .await
        .expect("memory takes every object");
}

/// A Parquet file out of an input: two bytes say where the footer begins, so that the input can grow in the middle and
/// stay a file.
pub fn assemble(input: &[u8]) -> Vec<u8> {
    let (at, rest) = input.split_first_chunk::<2>().unwrap_or((&[0, 0], input));
    let at = usize::from(u16::from_le_bytes(*at)).min(rest.len());
    let (data, footer) = rest.split_at(at);
    let len = u32::try_from(footer.len()).unwrap_or(u32::MAX);
    [b"PAR1", data, footer, &len.to_le_bytes(), b"PAR1"].concat()
}

/// The input that [`assemble`] makes this file of.
pub fn taken_apart(file: &[u8]) -> Vec<u8> {
    let end = file.len() - 8;
    let len: [u8; 4] = file[end..end + 4].try_into().expect("four bytes");
    let footer = end - u32::from_le_bytes(len) as usize;
    let data = u16::try_from(footer - 4).expect("a seed is small");
    [&data.to_le_bytes(), &file[4..end]].concat()
}
