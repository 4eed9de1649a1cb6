//! Scorers in processes of their own, two at a time with one application id, killed again and again: every source row
//! is scored exactly once (faults J-1, J-7).
//!
//! Each process is this binary, started again as the test `worker`. `HEADWATER_FULL=1` runs the full figures in a
//! build with debug assertions, too; `HEADWATER_SEED` repeats a run's choices.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, says how far it is, and starts real processes in real time"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path as FilePath, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::stream::BoxStream;
use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::Int64Type;
use headwater::arrow_array::{Int64Array, RecordBatch};
use headwater::environment::Environment;
use headwater::feed::FollowOptions;
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::storage::{LocalStore, Storage};
use headwater::{Result, Table};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
};
use serde::{Deserialize, Serialize};

/// The variable that makes this binary a worker.
const ORDER: &str = "HEADWATER_SCORER_ORDER";
const HELD: &str = "@ held";
const SIGKILL: i32 = 9;

/// A place in the commit of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    /// A data file of the output is on the disk.
    Data,
    /// The commit is about to be put.
    Commit,
    /// The commit is on the disk; nobody has heard of it.
    Landed,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    source: PathBuf,
    sink: PathBuf,
    files_max: usize,
    /// Where it stands still, at the how manyeth time.
    hold: Option<(Phase, usize)>,
}

/// The sink's store, which stands still where it was told to.
#[derive(Debug)]
struct Holding {
    inner: LocalStore,
    hold: Option<(Phase, usize)>,
    seen: AtomicUsize,
}

impl Holding {
    async fn reach(&self, phase: Phase) {
        if let Some((place, times)) = self.hold
            && place == phase
            && self.seen.fetch_add(1, Ordering::Relaxed) + 1 == times
        {
            say_held();
            std::future::pending::<()>().await;
        }
    }
}

fn say_held() {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{HELD}").unwrap();
    out.flush().unwrap();
}

impl std::fmt::Display for Holding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Holding")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Holding {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        let name = path.as_ref().strip_prefix("_delta_log/");
        let is_commit = name.is_some_and(|name| name.len() == 25 && name.ends_with(".json"));
        if is_commit {
            self.reach(Phase::Commit).await;
        }
        let result = self.inner.put_opts(path, payload, options).await;
        match (is_commit, name) {
            (true, _) if result.is_ok() => self.reach(Phase::Landed).await,
            (false, None) => self.reach(Phase::Data).await,
            _ => {}
        }
        result
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(
        &self,
        from: &Path,
        to: &Path,
        options: RenameOptions,
    ) -> object_store::Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

impl Order {
    async fn run(&self) -> Result<()> {
        let environment = Environment::system();
        let source = Table::open(self.source.to_str().unwrap()).await?;
        let store = Holding {
            inner: LocalStore::new(&self.sink, &environment).unwrap(),
            hold: self.hold,
            seen: AtomicUsize::new(0),
        };
        let storage = Storage::new(Arc::new(store), Path::ROOT, &environment);
        let sink = Table::open_in(storage, environment).await?;
        let options = FollowOptions {
            files_max: self.files_max,
            ..FollowOptions::default()
        };
        let mut feed = source.score_into(&sink, "scorer", options);
        while let Some(input) = feed.next().await? {
            let output = input.collect().await?;
            feed.commit(&input, output).await?;
        }
        sink.close().await;
        Ok(())
    }
}

/// Not a test: what the other test starts as processes of their own.
#[test]
fn worker() {
    let Ok(order) = std::env::var(ORDER) else {
        return;
    };
    let order: Order = serde_json::from_str(&order).unwrap();
    // The parent holds the other end and never writes: its end is this process's end.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(1);
    });
    block_on(order.run()).unwrap();
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// One process, and when it is killed.
struct Life {
    child: Child,
    hold: Option<(Phase, usize)>,
    delay: Duration,
}

impl Life {
    fn start(order: &Order, delay: Duration) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["worker", "--exact", "--nocapture", "--test-threads=1"])
            .env(ORDER, serde_json::to_string(order).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        Self {
            child: child.unwrap(),
            hold: order.hold,
            delay,
        }
    }

    /// Waits for its place and kills it. Says whether it was killed before it was done.
    fn end(mut self) -> bool {
        let out = self.child.stdout.take().unwrap();
        if self.hold.is_some() {
            let held = BufReader::new(out)
                .lines()
                .any(|line| line.is_ok_and(|line| line == HELD));
            if !held {
                assert!(self.child.wait().unwrap().success(), "a scorer failed");
                return false;
            }
        } else {
            std::thread::sleep(self.delay);
        }
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        let was_killed = status.signal() == Some(SIGKILL);
        assert!(was_killed || status.success(), "a scorer failed: {status}");
        was_killed
    }
}

fn ids(values: std::ops::Range<i64>) -> RecordBatch {
    let values = Int64Array::from_iter_values(values);
    RecordBatch::try_from_iter([("id", Arc::new(values) as _)]).unwrap()
}

async fn sorted(table: &Table) -> Vec<i64> {
    let mut found = Vec::new();
    let snapshot = table.refresh().await.unwrap();
    for batch in snapshot.scan().collect().await.unwrap() {
        found.extend(batch.column(0).as_primitive::<Int64Type>().values());
    }
    found.sort_unstable();
    found
}

fn folder(name: &str) -> PathBuf {
    let folder = FilePath::new(env!("CARGO_TARGET_TMPDIR")).join(format!("scorers-{name}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn j_1_j_7_two_scorers_that_are_killed_anywhere_score_every_row_once() {
    let is_full = std::env::var("HEADWATER_FULL").is_ok() || !cfg!(debug_assertions);
    let kills_wanted = if is_full { 100 } else { 24 };
    let seed = std::env::var("HEADWATER_SEED").map_or_else(
        |_| Environment::system().random_below(u64::MAX),
        |seed| seed.parse().unwrap(),
    );
    eprintln!("HEADWATER_SEED={seed}");
    let mut chance = Chance(seed);
    let (from, to) = (folder("source"), folder("sink"));
    let schema = || Schema::new([Field::new("id", DataType::LONG, false)]).unwrap();
    let create = async |folder: &FilePath| Table::create(folder.to_str().unwrap(), schema()).await;
    let source = block_on(create(&from)).unwrap();
    let sink = block_on(create(&to)).unwrap();
    let (mut next, mut kills, mut between, mut lives) = (0, 0, 0, 0);
    while kills < kills_wanted {
        lives += 1;
        assert!(
            lives < kills_wanted * 4,
            "processes end before they are killed"
        );
        block_on(async {
            for _ in 0..6 {
                source.append(ids(next..next + 5)).await.unwrap();
                next += 5;
            }
        });
        let two: Vec<Life> = (0..2)
            .map(|_| {
                let times = 1 + chance.below(3) as usize;
                let hold = match chance.below(4) {
                    0 => Some((Phase::Data, times)),
                    1 => Some((Phase::Commit, times)),
                    2 => Some((Phase::Landed, times)),
                    _ => None,
                };
                let order = Order {
                    source: from.clone(),
                    sink: to.clone(),
                    files_max: 1 + chance.below(3) as usize,
                    hold,
                };
                Life::start(&order, Duration::from_micros(chance.below(300_000)))
            })
            .collect();
        for life in two {
            let is_between = life.hold.is_some();
            if life.end() {
                kills += 1;
                between += usize::from(is_between);
            }
        }
    }
    println!(
        "{kills} kills, {between} of them between data file and acknowledgement, {lives} rounds"
    );
    assert!(kills_wanted * 3 / 10 <= between);
    let last = Order {
        source: from.clone(),
        sink: to.clone(),
        files_max: 1_000,
        hold: None,
    };
    block_on(async {
        last.run().await.unwrap();
        assert_eq!(sorted(&sink).await, (0..next).collect::<Vec<_>>());
    });
    for folder in [from, to] {
        std::fs::remove_dir_all(folder).unwrap();
    }
}
