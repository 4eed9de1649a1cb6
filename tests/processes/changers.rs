//! Eight processes that change one table in every way, and are killed (faults D-2 to D-4).
//!
//! Every operation is told by its application and number, and is made exactly once: what was not acknowledged is done
//! again. So the log alone, read without the crate, says which operations there were and in which order; the rows have
//! to be those that they leave, done one after the other.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use headwater::{Snapshot, Table};

use crate::chance::Chance;
use crate::change::{Change, Held, rows_of, schema};
use crate::fleet::{Fleet, Progress};
use crate::ledger::{Folder, Ledger};
use crate::rows::Id;
use crate::tale::{Kills, Tale};
use crate::worker::Job;
use crate::{PROCESSES, block_on, folder, scaled, travels, turn};

#[test]
fn d_2_d_4_processes_that_append_delete_update_and_overwrite_leave_what_one_after_the_other_would()
{
    let _turn = turn();
    let started = Instant::now();
    let mut chance = Chance::of_run("changers, killed");
    let fleet = Fleet {
        table: folder("d_2"),
        apps: (1..=PROCESSES).collect(),
        appends: scaled(200, 25),
        kills: usize::try_from(scaled(17, 3)).unwrap(),
        job: Job::Change,
    };
    println!(
        "changers, killed: {} processes, {} operations each",
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
    let found = Folder::of(&fleet.table);
    let ledger = Ledger::at(&fleet.table, found.version);
    let kills = Kills::of(&tales);
    report(&found, &ledger, &tales, &kills);
    check_promises(&fleet, &ledger, &tales);
    kills.check();
    assert!(found.stages <= kills.all * 4);
    let counts = ledger.counts;
    assert!(counts.inline > 0 && counts.stored > 0, "{counts:?}");
    let least = usize::try_from(scaled(1, 0)).unwrap();
    assert!(counts.united >= least, "nobody met in a file: {counts:?}");
    ledger.check_files();
    found.check_checkpoints(&fleet.table);
    check_reading(&fleet, &found, &ledger);
    // Only a table that something is wrong with stays.
    fs::remove_dir_all(&fleet.table).unwrap();
    println!("  {:.1} s in all", started.elapsed().as_secs_f64());
}

fn report(found: &Folder, ledger: &Ledger, tales: &[Tale], kills: &Kills) {
    let sum = |count: fn(&Tale) -> usize| tales.iter().map(count).sum::<usize>();
    println!(
        "  version {}, {} checkpoints, {} rows in {} files; {} processes, {} pauses; left over: {} data files and \
         vectors, {} unnamed files",
        found.version,
        found.checkpoints.len(),
        ledger.model.len(),
        ledger.live(),
        sum(|tale| tale.processes),
        sum(|tale| tale.pauses),
        found.orphans(ledger),
        found.stages,
    );
    println!(
        "  acknowledged {} (of these committed before: {}); planned again {} times; {:?}",
        sum(|tale| tale.committed.len() + tale.already_applied.len()),
        sum(|tale| tale.already_applied.len()),
        sum(|tale| tale.replanned),
        ledger.counts,
    );
    for (app, tale) in (1..).zip(tales).filter(|(_, tale)| tale.replanned > 0) {
        let (most, number) = tale.replanned_most;
        let all = tale.replanned;
        println!(
            "  application {app} planned again {all} times ({most} times its operation {number}), gave up {} times",
            tale.gave_up
        );
    }
    println!("  {kills}");
}

/// All operations are there, each of them once, where they were said to be, and nothing else is.
fn check_promises(fleet: &Fleet, ledger: &Ledger, tales: &[Tale]) {
    for (&app, tale) in fleet.apps.iter().zip(tales) {
        assert_eq!(tale.acknowledged(), fleet.appends, "application {app}");
        for number in 1..=fleet.appends {
            let id = Id { app, number };
            let place = ledger.places.get(&id);
            let place = place.unwrap_or_else(|| panic!("{id:?} is lost"));
            match tale.committed.get(&number) {
                Some(version) => assert_eq!(version, place, "{id:?}"),
                None => assert!(tale.already_applied.contains(&number), "{id:?}"),
            }
        }
    }
    let all = PROCESSES * fleet.appends;
    assert_eq!(ledger.places.len() as u64, u64::try_from(all).unwrap());
}

/// The crate reads the rows that there have to be: with all commits, at old versions, and with no commit that a
/// checkpoint stands for.
fn check_reading(fleet: &Fleet, found: &Folder, ledger: &Ledger) {
    let table = &fleet.table;
    block_on(async {
        let location = table.to_str().unwrap();
        let handle = Table::open(location).await.unwrap();
        assert_eq!(handle.snapshot().version(), found.version);
        check_rows(&handle.snapshot(), ledger).await;
        for version in travels(&found.checkpoints) {
            let old = handle.snapshot_at(version).await.unwrap();
            let ledger = Ledger::at(table, version);
            check_rows(&old, &ledger).await;
            ledger.check_files();
        }
        let anchor = *found.checkpoints.last().expect("there is a checkpoint");
        for version in 0..=anchor {
            fs::remove_file(table.join(format!("_delta_log/{version:020}.json"))).unwrap();
        }
        let handle = Table::open(location).await.unwrap();
        check_rows(&handle.snapshot(), ledger).await;
        let next = Id {
            app: 5,
            number: fleet.appends + 1,
        };
        let (mut model, change) = (ledger.model.clone(), Change::of(next));
        let work = change.clone().work(&handle);
        let commit = handle.transaction().then(work).commit().await.unwrap();
        let touched = change.apply(&mut model);
        assert_eq!(
            commit.rows_deleted, touched.deleted,
            "and it can be changed"
        );
        let left: Vec<_> = model.into_values().collect();
        assert!(read(&handle.snapshot()).await == left);
        handle.close().await;
    });
}

async fn check_rows(snapshot: &Snapshot, ledger: &Ledger) {
    let (found, expected) = (read(snapshot).await, ledger.rows());
    let version = snapshot.version();
    let differs = found
        .iter()
        .zip(&expected)
        .find(|(one, other)| one != other);
    assert!(
        found == expected,
        "version {version} has {} rows and not {}; first {differs:?}",
        found.len(),
        expected.len()
    );
}

/// Reads the table again and again while it is changed: every look sees all that was acknowledged before it, and what
/// the operations up to its version leave.
fn look(table: &Path, progress: &Progress, over: &AtomicBool) {
    let started = Instant::now();
    let mut ledger = Ledger::new(table);
    block_on(async {
        let handle = Table::open(table.to_str().unwrap()).await.unwrap();
        let mut pause = Duration::from_millis(500);
        while !over.load(Ordering::Relaxed) {
            std::thread::sleep(pause);
            // Looks become costly as the table grows: they take at most a part of the time.
            let begun = Instant::now();
            let acknowledged = progress.acknowledged();
            let snapshot = handle.refresh().await.unwrap();
            let version = snapshot.version();
            ledger.advance(version);
            check_rows(&snapshot, &ledger).await;
            let missing = acknowledged
                .iter()
                .find(|id| !ledger.places.contains_key(id));
            assert_eq!(missing, None, "version {version} lacks it");
            println!(
                "  {:5.1} s: version {version}, {} acknowledged, {} kills, {} rows",
                started.elapsed().as_secs_f64(),
                acknowledged.len(),
                progress.kills.load(Ordering::Relaxed),
                ledger.model.len(),
            );
            pause = Duration::from_secs(2).max(begun.elapsed() * 10);
        }
    });
}

/// The rows of a version as the crate reads them, sorted.
async fn read(snapshot: &Snapshot) -> Vec<Held> {
    let batches = snapshot.scan().collect().await.unwrap();
    let mut rows: Vec<_> = batches.iter().flat_map(|it| rows_of(it, None)).collect();
    rows.sort_unstable();
    rows
}

fn create(table: &Path) {
    block_on(async {
        let table = Table::create(table.to_str().unwrap(), schema())
            .partition_by(["part"])
            .property("delta.enableDeletionVectors", "true");
        table.await.unwrap();
    });
}
