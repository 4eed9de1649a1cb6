//! Eight processes that append and one that deletes, while two compact, one vacuums and two read what they leased; all
//! but the readers are killed (faults A-1, C-8, E-1, E-3, G-9).
//!
//! Vacuum keeps no file for the sake of the past: what a later version took away goes at once, unless it is leased.
//! The log, read without the crate, says which appends and deletions there were and in which order; every leased
//! version, and in the end the newest one, has to hold the rows that they leave.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use headwater::Table;
use headwater::environment::Environment;

use crate::book::{Book, newest};
use crate::chance::Chance;
use crate::change::{Held, UPKEEP_APPENDERS, rows_of, schema};
use crate::fleet::{Fleet, Progress, SIGKILL, SILENCE_MAX, listen, start};
use crate::line::{Line, Turn};
use crate::loops::{GRACE, stop_file};
use crate::rows::Id;
use crate::tale::{Kills, Tale};
use crate::worker::{Job, Order};
use crate::{block_on, folder, scaled, turn};

/// Loops: two that compact, one that vacuums, two that read; and how often each is killed.
const LOOPS: [(Job, i64, i64); 5] = [
    (Job::Compact, 12, 2),
    (Job::Compact, 12, 2),
    (Job::Vacuum, 20, 4),
    (Job::Read, 0, 0),
    (Job::Read, 0, 0),
];

/// How long the loops may take to find something to do: leases of a reader that went away last for a minute.
const UPKEEP_WAITS_MAX: Duration = Duration::from_secs(90);

#[test]
fn a_1_c_8_e_1_e_3_g_9_what_is_leased_stays_while_processes_compact_vacuum_and_are_killed() {
    let _turn = turn();
    let started = Instant::now();
    let mut chance = Chance::of_run("upkeep, killed");
    let fleet = Fleet {
        table: folder("upkeep"),
        apps: (1..=UPKEEP_APPENDERS + 1).collect(),
        appends: scaled(200, 12),
        kills: usize::try_from(scaled(8, 1)).unwrap(),
        job: Job::BesideUpkeep,
    };
    let table = &fleet.table;
    let _ = fs::remove_file(stop_file(table));
    create(table);
    let progress = Progress::default();
    let (tales, loops) = std::thread::scope(|scope| {
        let loops = LOOPS.map(|(job, full, quick)| {
            let one = Loop {
                table: table.clone(),
                job,
                kills: scaled(full, quick),
                chance: chance.fork(),
                told: Told::default(),
            };
            scope.spawn(move || one.run())
        });
        let running = std::panic::AssertUnwindSafe(|| fleet.run(&mut chance, &progress));
        let tales = std::panic::catch_unwind(running);
        if tales.is_ok() {
            wait_for_upkeep(table);
        }
        fs::write(stop_file(table), "").unwrap();
        let loops = loops.map(|one| one.join().unwrap());
        let tales = tales.unwrap_or_else(|cause| std::panic::resume_unwind(cause));
        (tales, loops)
    });
    let took = started.elapsed().as_secs_f64();
    let mut book = Book::new(table);
    book.advance(newest(table));
    report(&book, &tales, &loops, took);
    check_promises(&fleet, &book, &tales);
    book.check_files();
    check_kills(&tales, &loops);
    let sum = |count: fn(&Told) -> u64| loops.iter().map(count).sum::<u64>();
    assert!(sum(|told| told.scans) > 0, "there was something to read");
    let (from, to) = (sum(|told| told.compacted.0), sum(|told| told.compacted.1));
    assert!(to <= from, "compaction made {to} files of {from}");
    assert!(book.counts.compactions > 0, "{:?}", book.counts);
    assert!(book.counts.vacuums > 0, "there was nothing to vacuum");
    // A short run may be killed before it says so, and meet no vector.
    let least = scaled(1, 0).unsigned_abs();
    assert!(sum(|told| told.deleted) >= least, "vacuum did nothing");
    assert!(from >= least, "compaction did nothing");
    assert!(sum(|told| told.pauses) >= least, "no compactor stood still");
    let of_vectors = book.counts.of_vectors;
    assert!(of_vectors as i64 >= scaled(1, 0), "{:?}", book.counts);
    block_on(check_end(table, &mut book));
    // Only a table that something is wrong with stays.
    fs::remove_dir_all(table).unwrap();
    fs::remove_file(stop_file(table)).unwrap();
    println!("  {:.1} s in all", started.elapsed().as_secs_f64());
}

/// Gives the loops the time to find something to do: the writers of a short run may be done before that.
fn wait_for_upkeep(table: &Path) {
    let (started, mut book) = (Instant::now(), Book::new(table));
    while (book.counts.compactions == 0 || book.counts.vacuums == 0)
        && started.elapsed() < UPKEEP_WAITS_MAX
    {
        std::thread::sleep(Duration::from_millis(50));
        book.advance(newest(table));
    }
}

/// One process at a time that goes on until the stop file is there.
struct Loop {
    table: PathBuf,
    job: Job,
    kills: i64,
    chance: Chance,
    told: Told,
}

/// What the processes of a loop said.
#[derive(Debug, Default)]
struct Told {
    killed: usize,
    /// How often one stood still for a while.
    pauses: u64,
    turns: u64,
    /// Files that compaction made fewer, and those that they became.
    compacted: (u64, u64),
    /// Files that vacuum deleted, and those without a name.
    deleted: u64,
    unnamed: u64,
    scans: u64,
    /// How many commits there were while a version was read, at most.
    behind: u64,
    refused: u64,
    expired: u64,
    gave_up: u64,
}

impl Loop {
    fn run(mut self) -> Told {
        while !self.live() {}
        self.told
    }

    /// One process from start to end; `true` if it ended because it was told to.
    fn live(&mut self) -> bool {
        let order = Order {
            table: self.table.clone(),
            app: 0,
            first: i64::try_from(self.chance.next() >> 1).unwrap(),
            appends: 0,
            job: self.job,
            aloud: false,
            hold: None,
        };
        let mut child = start(&order);
        let lines = listen(&mut child);
        let mut strike = None;
        // So many lines after its start, and a while after that, which is often in the middle of a turn.
        let mut lines_left = (self.kills > 0).then(|| self.chance.within(1, 8));
        // A compactor stands still now and then, wherever it is: others may vacuum what it works with.
        let mut pause_in = (self.job == Job::Compact).then(|| self.chance.within(1, 2));
        loop {
            let patience = strike.map_or(SILENCE_MAX, |at: Instant| {
                at.saturating_duration_since(Instant::now())
            });
            match lines.recv_timeout(patience) {
                Ok(line) => {
                    self.told.hear(line);
                    lines_left = lines_left.map(|left| left.saturating_sub(1));
                    pause_in = pause_in.map(|left| left.saturating_sub(1));
                    if pause_in == Some(0) {
                        pause_in = Some(self.chance.within(4, 12));
                        self.pause(&child);
                    }
                    if lines_left == Some(0) && strike.is_none() {
                        let delay = Duration::from_micros(self.chance.within(0, 400_000));
                        strike = Some(Instant::now() + delay);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    assert!(strike.is_some(), "a process is stuck: {order:?}");
                }
            }
            if strike.is_some_and(|at| at <= Instant::now()) {
                child.kill().unwrap();
                break;
            }
        }
        lines.iter().for_each(|line| self.told.hear(line));
        let status = child.wait().unwrap();
        if status.signal() == Some(SIGKILL) {
            self.kills -= 1;
            self.told.killed += 1;
            return false;
        }
        assert!(status.success(), "a process failed: {status}, {order:?}");
        true
    }
}

impl Loop {
    /// Lets the process stand still a moment after what it said, which is often in the middle of its next turn.
    fn pause(&mut self, child: &Child) {
        let send = |signal: &str| {
            let id = child.id().to_string();
            Command::new("kill").args([signal, &id]).status().unwrap()
        };
        let sleep = |millis| std::thread::sleep(Duration::from_millis(millis));
        sleep(self.chance.within(50, 200));
        // It has not been waited for, so the id is its own even if it has ended.
        if send("-STOP").success() {
            sleep(self.chance.within(200, 2_000));
            send("-CONT");
            self.told.pauses += 1;
        }
    }
}

impl Told {
    fn hear(&mut self, line: Line) {
        let Line::Turn(turn) = line else { return };
        self.turns += 1;
        match turn {
            Turn::Compacted(from, to) => {
                self.compacted.0 += from;
                self.compacted.1 += to;
            }
            Turn::Vacuumed(files, unnamed) => {
                self.deleted += files;
                self.unnamed += unnamed;
            }
            Turn::Read(scans, behind) => {
                self.scans += scans;
                self.behind = self.behind.max(behind);
            }
            Turn::Refused => self.refused += 1,
            Turn::Expired => self.expired += 1,
            Turn::GaveUp => self.gave_up += 1,
        }
    }
}

fn report(book: &Book, tales: &[Tale], loops: &[Told], took: f64) {
    let sum = |count: fn(&Tale) -> usize| tales.iter().map(count).sum::<usize>();
    println!("  {took:.1} s for the processes");
    println!(
        "  {} operations acknowledged (of these committed before: {}), planned again {} times, gave up {} times; {} \
         rows in {} files; {:?}",
        sum(|tale| tale.committed.len() + tale.already_applied.len()),
        sum(|tale| tale.already_applied.len()),
        sum(|tale| tale.replanned),
        sum(|tale| tale.gave_up),
        book.model.len(),
        book.live(),
        book.counts,
    );
    for ((job, ..), told) in LOOPS.iter().zip(loops) {
        println!("  {job:?}: {told:?}");
    }
    println!("  {}", Kills::of(tales));
}

/// All operations are there, each of them once, where they were said to be, and nothing else is.
fn check_promises(fleet: &Fleet, book: &Book, tales: &[Tale]) {
    for (&app, tale) in fleet.apps.iter().zip(tales) {
        assert_eq!(tale.acknowledged(), fleet.appends, "application {app}");
        for number in 1..=fleet.appends {
            let id = Id { app, number };
            let place = book.places.get(&id);
            let place = place.unwrap_or_else(|| panic!("{id:?} is lost"));
            match tale.committed.get(&number) {
                Some(version) => assert_eq!(version, place, "{id:?}"),
                None => assert!(tale.already_applied.contains(&number), "{id:?}"),
            }
        }
    }
    let all = fleet.apps.len() as u64 * fleet.appends.unsigned_abs();
    assert_eq!(book.places.len() as u64, all);
}

/// There were as many kills as the test is about.
fn check_kills(tales: &[Tale], loops: &[Told]) {
    let fleet = Kills::of(tales);
    let loops: usize = loops.iter().map(|told| told.killed).sum();
    println!("  {} kills in all", fleet.all + loops);
    let least = |full, quick| usize::try_from(scaled(full, quick)).unwrap();
    assert!(fleet.all + loops >= least(100, 10), "{fleet:?}, {loops}");
    assert!(fleet.between() >= least(20, 2), "{fleet:?}");
}

/// Reads the newest version, and takes away what is no part of it: what killed writers left as well, but only after
/// the grace.
async fn check_end(table: &Path, book: &mut Book) {
    let handle = Table::open(table.to_str().unwrap()).await.unwrap();
    let batches = handle.snapshot().scan().collect().await.unwrap();
    let mut rows: Vec<Held> = batches.iter().flat_map(|it| rows_of(it, None)).collect();
    rows.sort_unstable();
    assert!(rows == book.rows(), "the newest version");
    // Readers are gone; their leases would last for another minute.
    let leases = table.join("_headwater/leases");
    if leases.exists() {
        fs::remove_dir_all(leases).unwrap();
    }
    // Clocks count milliseconds.
    Environment::system().sleep(Duration::from_millis(20)).await;
    let (before, unnamed_before) = book.left_over();
    let looked = Instant::now();
    let unknown = before.iter().filter(|key| !book.was_named(key));
    let unknown: Vec<_> = unknown.map(|key| (key, age(&table.join(key)))).collect();
    let now = || handle.vacuum().retention(Duration::ZERO);
    let kept = now().grace(GRACE).allow_unsafe_retention().await.unwrap();
    let (between, unnamed_between) = book.left_over();
    // What commits named and took away goes at once; what none ever named stays for the grace.
    let named: Vec<_> = between.iter().filter(|key| book.was_named(key)).collect();
    assert!(named.is_empty(), "{named:?} should be gone");
    let took = looked.elapsed();
    for (key, age) in &unknown {
        match between.contains(*key) {
            // Clocks of files are coarse.
            true => assert!(
                *age < GRACE + Duration::from_secs(1),
                "{key} is {age:?} old and there"
            ),
            false => assert!(GRACE <= *age + took, "{key} went, {age:?} old"),
        }
    }
    let last = now().grace(Duration::ZERO).allow_unsafe_retention();
    let last = last.await.unwrap();
    println!(
        "  left over: {} files and {unnamed_before} without a name; vacuum with grace took {} and {}, without {} and {}",
        before.len(),
        kept.files,
        kept.unpublished,
        last.files,
        last.unpublished
    );
    assert_eq!(last.unpublished, unnamed_between as u64);
    book.advance(newest(table));
    let (after, unnamed_after) = book.left_over();
    assert!(after.is_empty(), "{after:?}");
    assert_eq!(unnamed_after, 0);
    book.check_files();
    assert_eq!(
        now()
            .grace(Duration::ZERO)
            .allow_unsafe_retention()
            .await
            .unwrap()
            .files,
        0
    );
}

fn age(path: &Path) -> Duration {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    modified.elapsed().unwrap_or_default()
}

fn create(table: &Path) {
    block_on(async {
        let table = Table::create(table.to_str().unwrap(), schema())
            .partition_by(["part"])
            .property("delta.enableDeletionVectors", "true")
            // Writers look after their files from half of what vacuum waits on.
            .property("delta.deletedFileRetentionDuration", "interval 30 seconds");
        table.await.unwrap();
    });
}
