//! Many processes on one local table: they append, or change what is there; some are killed (faults, D-1
//! to D-4, D-10).
//!
//! Each process is this binary, started again as the test `worker`. What it acknowledged is known from its pipe; what
//! the table holds is read by the crate and, without it, from the files. `HEADWATER_FULL=1` runs the full figures in a
//! build with debug assertions, too.

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

mod book;
mod chance;
mod change;
mod changers;
mod fleet;
mod ledger;
mod line;
mod loops;
mod replans;
mod replay;
mod rows;
mod tale;
mod told;
mod upkeep;
mod vector;
mod worker;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::Int32Type;
use headwater::{Snapshot, Table};

use crate::chance::Chance;
use crate::fleet::{Fleet, Progress};
use crate::replay::{Replay, rows_of};
use crate::rows::{Id, Row};
use crate::tale::{Fate, Kills, Tale};
use crate::worker::{Job, Order};

const PROCESSES: i64 = 8;

/// Not a test: what the other tests start as processes of their own.
#[test]
fn worker() {
    worker::work();
}

#[test]
fn d_1_appenders_in_eight_processes_all_land() {
    let run = Run::start(
        "eight appenders",
        Fleet {
            table: folder("d_1"),
            apps: (1..=PROCESSES).collect(),
            appends: scaled(200, 25),
            kills: 0,
            job: Job::Append,
        },
    );
    let appends = PROCESSES * run.fleet.appends;
    assert_eq!(run.replay.version(), u64::try_from(appends).unwrap());
    assert_eq!(
        (run.replay.orphans.len(), run.replay.stages),
        (0, 0),
        "nothing is left over"
    );
    run.finish();
}

#[test]
fn a_1_a_2_blind_appenders_in_killed_processes_lose_nothing_that_was_acknowledged() {
    let run = Run::start(
        "blind appenders, killed",
        Fleet {
            table: folder("a_1_blind"),
            apps: (1..=PROCESSES).collect(),
            appends: scaled(200, 25),
            kills: usize::try_from(scaled(14, 3)).unwrap(),
            job: Job::Append,
        },
    );
    run.check_kills();
    run.finish();
}

#[test]
fn a_1_a_2_exactly_once_appenders_in_killed_processes_append_every_row_once() {
    let run = Run::start(
        "exactly-once appenders, killed",
        Fleet {
            table: folder("a_2_exactly_once"),
            apps: (1..=PROCESSES).collect(),
            appends: scaled(200, 25),
            kills: usize::try_from(scaled(14, 3)).unwrap(),
            job: Job::AppendOnce,
        },
    );
    run.check_kills();
    let landed: usize = run
        .tales
        .iter()
        .map(|tale| tale.already_applied.len())
        .sum();
    println!("  {landed} repeats had landed before and were refused");
    assert!(
        run.sum().after_commit <= landed,
        "a repeat of what landed is refused"
    );
    let appends = PROCESSES * run.fleet.appends;
    assert_eq!(run.replay.version(), u64::try_from(appends).unwrap());
    run.finish();
}

#[test]
fn d_10_of_two_processes_with_one_transaction_exactly_one_commits() {
    let run = Run::start(
        "two processes for each application, killed",
        Fleet {
            table: folder("d_10"),
            apps: (1..=PROCESSES).map(|process| (process + 1) / 2).collect(),
            appends: scaled(60, 20),
            kills: usize::try_from(scaled(3, 1)).unwrap(),
            job: Job::AppendOnce,
        },
    );
    let appends = PROCESSES / 2 * run.fleet.appends;
    assert_eq!(run.replay.version(), u64::try_from(appends).unwrap());
    for pair in run.tales.chunks(2) {
        let (one, other) = (&pair[0].committed, &pair[1].committed);
        assert!(one.keys().all(|number| !other.contains_key(number)));
        println!(
            "  {} and {} appends of a pair committed",
            one.len(),
            other.len()
        );
    }
    run.finish();
}

/// Tests take turns: each has the machine to itself.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One test's processes, after their end.
struct Run {
    fleet: Fleet,
    tales: Vec<Tale>,
    replay: Replay,
    started: Instant,
    _turn: MutexGuard<'static, ()>,
}

impl Run {
    fn start(what: &str, fleet: Fleet) -> Self {
        let turn = turn();
        let started = Instant::now();
        let mut chance = Chance::of_run(what);
        println!(
            "{what}: {} processes, {} appends each",
            fleet.apps.len(),
            fleet.appends
        );
        create(&fleet.table);
        let (progress, over) = (Progress::default(), AtomicBool::new(false));
        let tales = std::thread::scope(|scope| {
            let looking = scope.spawn(|| look(&fleet.table, &progress, &over));
            let running = std::panic::AssertUnwindSafe(|| fleet.run(&mut chance, &progress));
            let tales = std::panic::catch_unwind(running);
            over.store(true, Ordering::Relaxed);
            looking.join().unwrap();
            tales.unwrap_or_else(|cause| std::panic::resume_unwind(cause))
        });
        println!(
            "  {:.1} s for the processes",
            started.elapsed().as_secs_f64()
        );
        let replay = Replay::of(&fleet.table);
        let run = Self {
            fleet,
            tales,
            replay,
            started,
            _turn: turn,
        };
        run.report();
        run.check_promises();
        run.check_reading();
        run
    }

    fn sum(&self) -> Kills {
        Kills::of(&self.tales)
    }

    fn report(&self) {
        let (replay, kills) = (&self.replay, self.sum());
        let sum = |count: fn(&Tale) -> usize| self.tales.iter().map(count).sum::<usize>();
        println!(
            "  version {}, {} checkpoints, {} rows; {} processes, {} pauses",
            replay.version(),
            replay.checkpoints.len(),
            replay.rows(replay.version()).len(),
            sum(|tale| tale.processes),
            sum(|tale| tale.pauses),
        );
        println!(
            "  acknowledged {} (of these committed before: {}); begun {}; left over: {} data files, \
             {} unnamed files",
            sum(|tale| tale.committed.len() + tale.already_applied.len()),
            sum(|tale| tale.already_applied.len()),
            sum(|tale| tale.begun.len()),
            replay.orphans.len(),
            replay.stages,
        );
        println!("  {kills}");
    }

    /// There were as many kills as the test is about.
    fn check_kills(&self) {
        let kills = self.sum();
        kills.check();
        // A kill leaves data files of the append that was under way, and unnamed files of writes.
        let slots = self.fleet.apps.iter().zip(&self.tales);
        let killed: BTreeSet<_> = slots
            .flat_map(|(&app, tale)| tale.fates.keys().map(move |&number| Id { app, number }))
            .collect();
        for id in &self.replay.orphans {
            assert!(killed.contains(id), "{id:?} left a data file");
        }
        assert!(self.replay.orphans.len() <= kills.all * 2);
        assert!(self.replay.stages <= kills.all * 4);
    }

    /// What was acknowledged is there, once, where it was said to be; what was not, is there at most once; nothing
    /// else is.
    fn check_promises(&self) {
        let mut found = BTreeSet::new();
        let mut txn_ids = BTreeSet::new();
        for (version, commit) in (0..).zip(&self.replay.commits) {
            let txn_id = commit.txn_id.clone().expect("every commit has an id");
            assert!(
                txn_ids.insert(txn_id),
                "version {version}: a commit landed twice"
            );
            if version == 0 {
                continue;
            }
            let id = commit.append();
            assert!(found.insert(id), "version {version}: {id:?} is there twice");
            let txn = self
                .fleet
                .job
                .is_once()
                .then(|| (Order::app_id(id.app), id.number));
            assert_eq!(commit.txn, txn, "version {version}");
        }
        let mut begun = BTreeSet::new();
        for (&app, tale) in self.fleet.apps.iter().zip(&self.tales) {
            assert_eq!(tale.acknowledged(), self.fleet.appends, "application {app}");
            let id = |number: &i64| Id {
                app,
                number: *number,
            };
            begun.extend(tale.begun.iter().map(id));
            for (number, version) in &tale.committed {
                let commit = &self.replay.commits[usize::try_from(*version).unwrap()];
                assert_eq!(commit.append(), id(number), "version {version}");
            }
            for number in &tale.already_applied {
                assert!(found.contains(&id(number)), "{:?} is not there", id(number));
            }
            if !self.fleet.job.is_once() {
                for (number, fate) in &tale.fates {
                    let is_there = found.contains(&id(number));
                    assert!(
                        *fate != Fate::Landed || is_there,
                        "{:?} is lost",
                        id(number)
                    );
                    assert!(
                        *fate != Fate::NotSent || !is_there,
                        "{:?} is there",
                        id(number)
                    );
                }
            }
        }
        assert!(
            found.is_subset(&begun),
            "there are rows that nobody appended"
        );
        if self.fleet.job.is_once() {
            assert_eq!(found, begun, "in the end all of them are there");
        }
    }

    /// The crate reads the rows that the files hold: with all commits, at old versions, and with no commit that a
    /// checkpoint stands for.
    fn check_reading(&self) {
        let (replay, table) = (&self.replay, &self.fleet.table);
        let newest = replay.version();
        block_on(async {
            let location = table.to_str().unwrap();
            let handle = Table::open(location).await.unwrap();
            assert_eq!(handle.snapshot().version(), newest);
            assert_eq!(read(&handle.snapshot()).await, replay.rows(newest));
            for version in travels(&replay.checkpoints) {
                let old = handle.snapshot_at(version).await.unwrap();
                assert_eq!(read(&old).await, replay.rows(version), "version {version}");
            }
            let anchor = *replay.checkpoints.last().expect("there is a checkpoint");
            for version in 0..=anchor {
                fs::remove_file(table.join(format!("_delta_log/{version:020}.json"))).unwrap();
            }
            let handle = Table::open(location).await.unwrap();
            assert_eq!(read(&handle.snapshot()).await, replay.rows(newest));
            let last = 1 + newest;
            let id = Id { app: 99, number: 1 };
            let appended = handle.append(id.batch()).await.unwrap();
            assert_eq!(appended.version, last, "and the table can be written");
            handle.close().await;
        });
    }

    /// Removes the table: only a table that something is wrong with stays.
    fn finish(self) {
        fs::remove_dir_all(&self.fleet.table).unwrap();
        println!("  {:.1} s in all", self.started.elapsed().as_secs_f64());
    }
}

/// Versions to travel to: checkpoints and the versions before them, which need the one before.
fn travels(checkpoints: &[u64]) -> BTreeSet<u64> {
    let some = [0, checkpoints.len() / 3, checkpoints.len() * 2 / 3];
    let around = some.map(|index| [checkpoints[index] - 1, checkpoints[index]]);
    around.into_iter().flatten().collect()
}

/// Reads the table again and again while it is written: what was acknowledged before a look is seen by it.
fn look(table: &Path, progress: &Progress, over: &AtomicBool) {
    let started = Instant::now();
    let location = table.to_str().unwrap();
    block_on(async {
        let handle = Table::open(location).await.unwrap();
        let mut pause = Duration::from_millis(500);
        while !over.load(Ordering::Relaxed) {
            std::thread::sleep(pause);
            // Looks become costly as the table grows: they take at most a part of the time.
            let begun = Instant::now();
            let acknowledged = progress.acknowledged();
            let snapshot = handle.refresh().await.unwrap();
            let rows = read(&snapshot).await;
            let found: BTreeSet<_> = rows.iter().map(Id::of).collect();
            let version = snapshot.version();
            assert_eq!(found.len() as u64, version, "one append a version");
            let expected: usize = found.iter().map(|id| id.rows().len()).sum();
            assert_eq!(
                rows.len(),
                expected,
                "version {version} has parts of appends"
            );
            let missing: Vec<_> = acknowledged.difference(&found).collect();
            assert!(missing.is_empty(), "version {version} lacks {missing:?}");
            println!(
                "  {:5.1} s: version {version}, {} acknowledged, {} kills",
                started.elapsed().as_secs_f64(),
                acknowledged.len(),
                progress.kills.load(Ordering::Relaxed),
            );
            pause = Duration::from_secs(2).max(begun.elapsed() * 10);
        }
    });
}

/// The rows of a version as the crate reads them, sorted.
async fn read(snapshot: &Snapshot) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in snapshot.scan().collect().await.unwrap() {
        let slices = batch.column_by_name("slice").unwrap().clone();
        let slices = slices.as_primitive::<Int32Type>();
        rows.extend(rows_of(&batch, |row| slices.value(row)));
    }
    rows.sort();
    rows
}

fn create(table: &Path) {
    block_on(async {
        let table = Table::create(table.to_str().unwrap(), rows::schema());
        table.partition_by(["slice"]).await.unwrap();
    });
}

/// A new folder on the disk that the build is on: not in memory, where syncing means nothing.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("processes-{name}"));
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    folder
}

/// The full figure, or the one for a build in which everything is slow.
fn scaled(full: i64, quick: i64) -> i64 {
    let is_full = !cfg!(debug_assertions) || std::env::var_os("HEADWATER_FULL").is_some();
    if is_full { full } else { quick }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}
