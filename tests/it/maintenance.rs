//! Vacuum, log cleanup, restore, pins, leases, and the worker: no version inside its promise loses a file.

use std::collections::BTreeSet;
use std::time::Duration;

use headwater::environment::Environment;
use headwater::predicate::col;
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::{Code, ErrorKind, State, Table};
use object_store::path::Path;

use crate::support::hasty::Ahead;
use crate::support::store::{Answer, Faulty, Request, When};
use crate::support::{commit_key, create, ids, ids_of, open, storage, storage_in};

async fn with_vectors(store: &Faulty) -> Table {
    Table::create_in(
        storage(store),
        Environment::system(),
        crate::support::id_schema(),
    )
    .property("delta.enableDeletionVectors", "true")
    .property("delta.enableChangeDataFeed", "true")
    .await
    .unwrap()
}

fn now(table: &Table) -> headwater::Vacuum {
    let vacuum = table
        .vacuum()
        .retention(Duration::ZERO)
        .grace(Duration::ZERO);
    vacuum.allow_unsafe_retention()
}

/// Clocks count milliseconds.
async fn a_moment() {
    Environment::system().sleep(Duration::from_millis(10)).await;
}

async fn data(store: &Faulty) -> BTreeSet<String> {
    let paths = store.paths().await.into_iter();
    paths
        .filter(|path| path.ends_with(".parquet") && !path.contains("_delta_log"))
        .collect()
}

#[tokio::test]
async fn e_10_a_retention_below_the_promise_is_refused_unless_it_is_asked_for_as_unsafe() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1])).await.unwrap();
    let refused = table
        .vacuum()
        .retention(Duration::from_secs(3_600))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert_eq!(refused.context_value("promised_hours"), Some("168"));
    let grace = table.vacuum().grace(Duration::ZERO).await.unwrap_err();
    assert_eq!(grace.kind(), ErrorKind::Invalid);
    assert_eq!(table.vacuum().await.unwrap().files, 0);
    assert_eq!(
        table.refresh().await.unwrap().version(),
        1,
        "nothing to delete is no version"
    );
}

#[tokio::test]
async fn what_nobody_needs_is_deleted_and_what_the_newest_version_needs_stays() {
    let store = Faulty::default();
    let table = with_vectors(&store).await;
    for id in 0..4 {
        table.append(ids([id * 10, id * 10 + 1])).await.unwrap();
    }
    table.delete(col("id").eq(10)).await.unwrap();
    table.delete(col("id").lt(2)).await.unwrap();
    table
        .overwrite(ids([7]))
        .matching(col("id").gt_eq(30))
        .await
        .unwrap_err();
    store.place(&Path::from("table/orphan.parquet"), "x").await;
    store
        .place(&Path::from("table/_other/mine.parquet"), "x")
        .await;
    a_moment().await;
    let before = data(&store).await;
    let would = now(&table).dry_run().await.unwrap();
    assert_eq!(data(&store).await, before);
    let did = now(&table).await.unwrap();
    assert_eq!(did.keys, would.keys);
    assert!(did.keys.contains(&"orphan.parquet".to_owned()), "{did:?}");
    assert!(
        did.files >= 3,
        "the orphan, a file of deleted rows, and the change feed: {did:?}"
    );
    let after = data(&store).await;
    assert!(
        after.contains("table/_other/mine.parquet"),
        "hidden names are others' business"
    );
    let reopened = open(&store).await.unwrap();
    assert_eq!(
        ids_of(&reopened.snapshot()).await.unwrap(),
        [11, 20, 21, 30, 31]
    );
    let history = reopened.snapshot().history(2).await.unwrap();
    let operations: Vec<_> = history
        .iter()
        .map(|entry| entry.info.operation.clone().unwrap())
        .collect();
    assert_eq!(operations, ["VACUUM END", "VACUUM START"]);
    let again = now(&table).await.unwrap();
    assert_eq!(again.files, 0, "E-9: a second run finds nothing");
    // E-14: an old version says that its files have expired.
    let old = reopened.snapshot_at(4).await.unwrap();
    let expired = ids_of(&old).await.unwrap_err();
    assert_eq!(
        (expired.kind(), expired.code()),
        (ErrorKind::NotFound, Code::FilesExpired)
    );
}

#[tokio::test]
async fn e_2_what_a_writer_may_be_about_to_commit_stays_for_the_grace() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1])).await.unwrap();
    table.overwrite(ids([2])).await.unwrap();
    store
        .place(&Path::from("table/in-flight.parquet"), "x")
        .await;
    a_moment().await;
    let vacuum = table
        .vacuum()
        .retention(Duration::ZERO)
        .grace(Duration::from_secs(30));
    let did = vacuum.allow_unsafe_retention().await.unwrap();
    assert_eq!(
        did.files, 1,
        "what the log says went, goes at once: {did:?}"
    );
    assert!(data(&store).await.contains("table/in-flight.parquet"));
}

#[tokio::test]
async fn e_5_e_6_paths_are_compared_in_one_form() {
    let store = Faulty::default();
    let schema = Schema::new([
        Field::new("id", DataType::LONG, false),
        Field::new("p", DataType::STRING, true),
    ]);
    let create = Table::create_in(storage(&store), Environment::system(), schema.unwrap());
    let table = create.partition_by(["p"]).await.unwrap();
    let awkward = [
        "a b",
        "50%",
        "x+y~z",
        "k=v",
        "\u{e9}\u{4e2d}",
        "a:b",
        "%20",
        "q?#&",
    ];
    for (id, value) in awkward.iter().enumerate() {
        use headwater::arrow_array::{Int64Array, RecordBatch, StringArray};
        let rows = RecordBatch::try_from_iter([
            (
                "id",
                std::sync::Arc::new(Int64Array::from(vec![id as i64])) as _,
            ),
            (
                "p",
                std::sync::Arc::new(StringArray::from(vec![*value])) as _,
            ),
        ]);
        table.append(rows.unwrap()).await.unwrap();
    }
    a_moment().await;
    let did = now(&table).await.unwrap();
    assert_eq!(did.files, 0, "every file is live: {did:?}");
    assert_eq!(
        ids_of(&table.snapshot()).await.unwrap().len(),
        awkward.len()
    );
}

#[tokio::test]
async fn e_7_another_table_below_this_one_stops_a_vacuum() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1])).await.unwrap();
    let inner = Path::from("table/inner/_delta_log/00000000000000000000.json");
    store.place(&inner, "{}").await;
    a_moment().await;
    let refused = now(&table).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert!(refused.message().contains("another table"), "{refused}");
}

#[tokio::test]
async fn e_8_files_that_are_committed_between_plan_and_deletion_stay() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1])).await.unwrap();
    table.overwrite(ids([2])).await.unwrap();
    a_moment().await;
    // A version that names a file which the plan is about to delete.
    let first = store.bytes(&commit_key(1)).await;
    let text = String::from_utf8(first.to_vec()).unwrap();
    let add = text
        .lines()
        .find(|line| line.starts_with("{\"add\""))
        .unwrap()
        .to_owned();
    let (meanwhile, store_too) = (format!("{:020}.json", 3), store.clone());
    store.before_put(&meanwhile, async move {
        let info = "{\"commitInfo\":{\"operation\":\"FOREIGN\"}}";
        store_too
            .place(&commit_key(3), format!("{info}\n{add}\n"))
            .await;
    });
    let did = now(&table).await.unwrap();
    assert_eq!(did.files, 0, "{did:?}");
    assert_eq!(
        ids_of(&table.refresh().await.unwrap()).await.unwrap(),
        [1, 2]
    );
}

#[tokio::test]
async fn e_9_a_vacuum_that_fails_half_way_is_completed_by_the_next() {
    let store = Faulty::default();
    let table = create(&store).await;
    for id in 0..19 {
        table.overwrite(ids([id])).await.unwrap();
    }
    let victim = data(&store).await.into_iter().nth(7).unwrap();
    table.overwrite(ids([19])).await.unwrap();
    a_moment().await;
    store.fail(Request::Delete, &victim, 99, When::Before, Answer::Denied);
    let failed = now(&table).await.unwrap_err();
    assert_eq!(failed.code(), Code::Denied, "{failed}");
    assert_eq!(ids_of(&table.refresh().await.unwrap()).await.unwrap(), [19]);
    store.heal();
    let left = data(&store).await.len();
    let second = now(&table).await.unwrap();
    assert_eq!(second.files as usize, left - 1);
    assert_eq!(data(&store).await.len(), 1);
    assert_eq!(ids_of(&table.refresh().await.unwrap()).await.unwrap(), [19]);
}

#[tokio::test]
async fn e_11_a_recent_tombstone_keeps_a_file_however_old_it_is() {
    let folder = std::env::temp_dir().join(format!("headwater-e-11-{}", std::process::id()));
    let location = folder.to_str().unwrap().to_owned();
    let table = Table::create(&location, crate::support::id_schema())
        .await
        .unwrap();
    table.append(ids([1])).await.unwrap();
    table.overwrite(ids([2])).await.unwrap();
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(90 * 24 * 3_600);
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "parquet") {
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.set_modified(long_ago).unwrap();
            files += 1;
        }
    }
    assert_eq!(files, 2);
    assert_eq!(table.vacuum().await.unwrap().files, 0);
    assert_eq!(
        ids_of(&table.snapshot_at(1).await.unwrap()).await.unwrap(),
        [1]
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn e_14_a_version_that_was_vacuumed_says_so_before_it_gives_a_row() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1])).await.unwrap();
    table.overwrite(ids([2])).await.unwrap();
    a_moment().await;
    now(&table).await.unwrap();
    let expired = ids_of(&table.snapshot_at(1).await.unwrap())
        .await
        .unwrap_err();
    assert_eq!(
        (expired.kind(), expired.code()),
        (ErrorKind::NotFound, Code::FilesExpired)
    );
    assert_eq!(expired.context_value("version"), Some("1"));
}

/// The grace that a writer gets is half of what vacuum waits.
#[tokio::test]
async fn e_3_a_writer_that_is_slower_than_vacuum_commits_no_file_that_is_gone() {
    for vacuumed in [false, true] {
        let store = Faulty::default();
        let (world, clock) = Ahead::environment();
        let in_world = storage_in(&store, &world);
        let table = Table::create_in(in_world.clone(), world.clone(), crate::support::id_schema());
        let table = table.await.unwrap();
        let (other, gone) = (open(&store).await.unwrap(), store.clone());
        // The race for the version is lost, and days pass before the next attempt.
        store.before_put(&format!("{:020}.json", 1), async move {
            other.append(ids([7])).await.unwrap();
            clock.forward(Duration::from_secs(4 * 24 * 3_600));
            let live = other.snapshot().scan().plan().await.unwrap();
            assert_eq!(live.counts().files, 1);
            let files = data(&gone).await;
            assert_eq!(files.len(), 2);
            if vacuumed {
                let commit = gone.bytes(&commit_key(1)).await;
                let text = String::from_utf8(commit.to_vec()).unwrap();
                let orphan = files
                    .iter()
                    .find(|file| !text.contains(&file["table/".len()..]));
                gone.remove(&Path::parse(orphan.unwrap()).unwrap()).await;
            }
        });
        let landed = table.append(ids([9])).await;
        let newest = open(&store).await.unwrap().snapshot();
        if vacuumed {
            let lost = landed.unwrap_err();
            assert_eq!(
                (lost.kind(), lost.code()),
                (ErrorKind::Conflict, Code::FilesVacuumed)
            );
            assert_eq!(ids_of(&newest).await.unwrap(), [7]);
        } else {
            assert_eq!(landed.unwrap().version, 2);
            assert_eq!(ids_of(&newest).await.unwrap(), [7, 9]);
        }
    }
}

#[tokio::test]
async fn c_8_a_compactor_that_was_paused_brings_nothing_back() {
    let store = Faulty::default();
    let table = create(&store).await;
    for id in 0..3 {
        table.append(ids([id])).await.unwrap();
    }
    let other = open(&store).await.unwrap();
    store.before_put(&format!("{:020}.json", 4), async move {
        other.delete(col("id").lt(2)).await.unwrap();
        other.append(ids([7])).await.unwrap();
        other.checkpoint().await.unwrap();
        let vacuum = other
            .vacuum()
            .retention(Duration::ZERO)
            .grace(Duration::from_secs(60));
        vacuum.allow_unsafe_retention().await.unwrap();
    });
    let _ = table.compact().await;
    assert_eq!(
        ids_of(&table.refresh().await.unwrap()).await.unwrap(),
        [2, 7]
    );
}

/// The clock of both handles is one; it is set forward while the writer is held up.
#[tokio::test]
async fn c_9_a_commit_below_what_log_cleanup_left_is_not_acknowledged_and_lands_above() {
    let store = Faulty::default();
    let (world, clock) = Ahead::environment();
    let in_world = storage_in(&store, &world);
    let table = Table::create_in(in_world.clone(), world.clone(), crate::support::id_schema());
    let table = table.await.unwrap();
    table.append(ids([1])).await.unwrap();
    let other = Table::open_in(in_world, world).await.unwrap();
    store.before_put(&format!("{:020}.json", 2), async move {
        for id in 2..=5 {
            other.append(ids([id])).await.unwrap();
        }
        other.checkpoint().await.unwrap();
        clock.forward(Duration::from_secs(40 * 24 * 3_600));
        assert_eq!(other.clean_up_log().await.unwrap().oldest, Some(5));
    });
    let landed = table.append(ids([9])).await.unwrap();
    assert_eq!(landed.version, 6);
    let newest = open(&store).await.unwrap().snapshot();
    assert_eq!(ids_of(&newest).await.unwrap(), [1, 2, 3, 4, 5, 9]);
}

#[tokio::test]
async fn e_12_a_reader_whose_commits_were_cleaned_up_finds_a_newer_anchor() {
    let store = Faulty::default();
    let (world, clock) = Ahead::environment();
    let in_world = storage_in(&store, &world);
    let table = Table::create_in(in_world.clone(), world.clone(), crate::support::id_schema());
    let table = table.await.unwrap();
    let reader = Table::open_in(in_world, world.clone()).await.unwrap();
    for id in 1..=5 {
        table.append(ids([id])).await.unwrap();
    }
    table.checkpoint().await.unwrap();
    clock.forward(Duration::from_secs(40 * 24 * 3_600));
    table.clean_up_log().await.unwrap();
    let newest = reader.refresh().await.unwrap();
    assert_eq!(newest.version(), 5);
    assert_eq!(ids_of(&newest).await.unwrap(), [1, 2, 3, 4, 5]);
    assert_eq!(
        reader.snapshot_at(2).await.unwrap_err().code(),
        Code::VersionNotFound
    );
}

#[tokio::test]
async fn e_1_pins_and_leases_keep_versions_readable_until_they_end() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1])).await.unwrap();
    table.pin("training", 1, None).await.unwrap();
    table.overwrite(ids([2])).await.unwrap();
    let leased = table.snapshot();
    let lease = table.lease(&leased, Duration::from_secs(60)).await.unwrap();
    table.overwrite(ids([3])).await.unwrap();
    table.checkpoint().await.unwrap();
    a_moment().await;
    assert_eq!(now(&table).await.unwrap().files, 0);
    let other = open(&store).await.unwrap();
    assert_eq!(
        ids_of(&other.snapshot_at(1).await.unwrap()).await.unwrap(),
        [1]
    );
    assert_eq!(ids_of(&leased).await.unwrap(), [2]);
    assert_eq!(other.pins().await.unwrap()[0].name, "training");
    lease.release().await.unwrap();
    assert_eq!(now(&table).await.unwrap().files, 1);
    assert!(other.unpin("training").await.unwrap());
    assert!(!other.unpin("training").await.unwrap());
    assert_eq!(now(&table).await.unwrap().files, 1);
    let gone = table.pin("late", 1, None).await.unwrap_err();
    assert_eq!(gone.code(), Code::FilesExpired);
    assert_eq!(table.pins().await.unwrap(), []);
    let name = table.pin("../escape", 0, None).await.unwrap_err();
    assert_eq!(name.kind(), ErrorKind::Invalid);
    let ended = table.pin("short", 4, Some(Duration::ZERO)).await.unwrap();
    assert!(ended.expires.is_some());
    assert_eq!(table.pins().await.unwrap(), []);
}

#[tokio::test]
async fn a_pin_that_cannot_be_read_stops_a_vacuum() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1])).await.unwrap();
    store
        .place(&Path::from("table/_headwater/pins/a.json"), "{")
        .await;
    let error = now(&table).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        error
            .context_value("path")
            .unwrap()
            .ends_with("pins/a.json")
    );
}

#[tokio::test]
async fn a_version_is_restored_with_its_rows_and_its_schema() {
    let store = Faulty::default();
    let table = with_vectors(&store).await;
    table.append(ids([1, 2, 3])).await.unwrap();
    table.append(ids([4])).await.unwrap();
    table.delete(col("id").eq(2)).await.unwrap();
    table.delete(col("id").eq(3)).await.unwrap();
    table
        .alter()
        .add_column(Field::new("note", DataType::STRING, true))
        .await
        .unwrap();
    for version in [3_u64, 1, 4, 2, 5] {
        let expected = ids_of(&table.snapshot_at(version).await.unwrap())
            .await
            .unwrap();
        table.restore(version).await.unwrap();
        let reopened = open(&store).await.unwrap();
        assert_eq!(
            ids_of(&reopened.snapshot()).await.unwrap(),
            expected,
            "{version}"
        );
        let fields = reopened.snapshot().schema().fields().len();
        assert_eq!(fields, if version == 5 { 2 } else { 1 });
    }
    let nothing = table.restore(5).await.unwrap();
    assert_eq!(nothing.status, headwater::CommitStatus::Unchanged);
    let missing = table.restore(99).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn e_4_what_was_vacuumed_is_not_brought_back() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1])).await.unwrap();
    table.overwrite(ids([2])).await.unwrap();
    a_moment().await;
    // The vacuum starts between the plan of the restore and its commit.
    let other = open(&store).await.unwrap();
    store.before_put(&format!("{:020}.json", 3), async move {
        assert_eq!(now(&other).await.unwrap().files, 1);
    });
    let error = table.restore(1).await.unwrap_err();
    assert_eq!(error.code(), Code::FilesExpired, "{error}");
    let newest = table.refresh().await.unwrap();
    assert_eq!(ids_of(&newest).await.unwrap(), [2]);

    // A vacuum that has started and not ended.
    let started = "{\"commitInfo\":{\"operation\":\"VACUUM START\"}}\n";
    store
        .place(&commit_key(newest.version() + 1), started)
        .await;
    let busy = table.restore(2).await.unwrap_err();
    assert_eq!(
        (busy.kind(), busy.code()),
        (ErrorKind::Conflict, Code::FilesVacuumed)
    );
}

#[tokio::test]
async fn d_3_a_restore_gives_way_to_what_happened_meanwhile_and_is_planned_again() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1])).await.unwrap();
    table.append(ids([2])).await.unwrap();
    let other = open(&store).await.unwrap();
    store.before_put(&format!("{:020}.json", 3), async move {
        other.append(ids([3])).await.unwrap();
    });
    assert_eq!(table.restore(1).await.unwrap().version, 4);
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [1]);
}

/// The age of a version is the age of its commit file: the clock of the environment is set forward.
#[tokio::test]
async fn e_13_old_parts_of_the_log_go_back_to_a_checkpoint_that_loads() {
    let store = Faulty::default();
    let table = create(&store).await;
    for id in 1..=5 {
        table.append(ids([id])).await.unwrap();
        if id == 3 {
            table.checkpoint().await.unwrap();
        }
    }
    let (later, clock) = Ahead::environment();
    clock.forward(Duration::from_secs(40 * 24 * 3_600));
    let old = Table::open_in(storage_in(&store, &later), later)
        .await
        .unwrap();
    old.pin("oldest", 2, None).await.unwrap();
    let held = old.clean_up_log().await.unwrap();
    assert_eq!(
        held.oldest, None,
        "no checkpoint lies at or before the pinned version"
    );
    old.unpin("oldest").await.unwrap();
    let would = old.clean_up_log().dry_run().await.unwrap();
    assert_eq!((would.oldest, would.files), (Some(3), 3));
    // The checkpoint that everything would rest on is damaged: nothing is deleted.
    let key = Path::from("table/_delta_log/00000000000000000003.checkpoint.parquet");
    let whole = store.bytes(&key).await;
    store.place(&key, whole.slice(..whole.len() - 3)).await;
    assert_eq!(
        old.clean_up_log().await.unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    assert_eq!(
        ids_of(&open(&store).await.unwrap().snapshot_at(1).await.unwrap())
            .await
            .unwrap(),
        [1]
    );
    store.place(&key, whole).await;
    assert_eq!(old.clean_up_log().await.unwrap(), would);
    let reopened = open(&store).await.unwrap();
    for version in 3..=5 {
        let found = ids_of(&reopened.snapshot_at(version).await.unwrap())
            .await
            .unwrap();
        assert_eq!(found, (1..=version as i64).collect::<Vec<_>>());
    }
    let gone = reopened.snapshot_at(2).await.unwrap_err();
    assert_eq!(gone.code(), Code::VersionNotFound);
    assert_eq!(table.append(ids([6])).await.unwrap().version, 6);
    let young = table
        .clean_up_log()
        .retention(Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(young.files, 0, "what is younger than an hour stays");
}

#[tokio::test]
async fn the_worker_compacts_and_checkpoints_what_is_due_and_says_so() {
    let store = Faulty::default();
    let table = create(&store).await;
    for id in 0..7 {
        table.append(ids([id])).await.unwrap();
    }
    let idle = table.maintain().once().await.unwrap();
    assert_eq!(
        (idle.compacted.version, idle.checkpoints),
        (None, 0),
        "seven files are few"
    );
    let worker = table
        .maintain()
        .every(Duration::from_millis(5))
        .core_share(1.0)
        .start();
    for id in 7..40 {
        table.append(ids([id])).await.unwrap();
    }
    for _ in 0..2_000 {
        if 0 < worker.status().compacted.files_removed && 0 < worker.status().checkpoints {
            break;
        }
        a_moment().await;
    }
    worker.pause();
    let status = worker.stop().await.unwrap();
    assert_eq!(status.state, State::Stopped);
    assert!(0 < status.compacted.files_removed, "{status:?}");
    assert_eq!(status.failures, 0, "{status:?}");
    assert_eq!(
        ids_of(&table.refresh().await.unwrap()).await.unwrap(),
        (0..40).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_worker_that_fails_says_so() {
    let store = Faulty::default();
    let table = create(&store).await;
    for id in 0..8 {
        table.append(ids([id])).await.unwrap();
    }
    let lost = data(&store).await.into_iter().next().unwrap();
    store.remove(&Path::parse(lost).unwrap()).await;
    let worker = table.maintain().every(Duration::from_millis(1)).start();
    for _ in 0..2_000 {
        if worker.status().state == State::Failed {
            break;
        }
        a_moment().await;
    }
    let status = worker.status();
    assert_eq!(
        (status.state.clone(), status.failures),
        (State::Failed, 1),
        "{status:?}"
    );
    assert!(status.last_failure.unwrap().contains("missing"));
    assert_eq!(worker.stop().await.unwrap_err().kind(), ErrorKind::Corrupt);
}

/// A vacuum has read which versions are held, and deletes nothing yet: its requests fail.
async fn stuck_vacuum(store: &Faulty, table: &Table) {
    store.fail(
        Request::Delete,
        ".parquet",
        99,
        When::Before,
        Answer::Denied,
    );
    let stuck = now(table).await.unwrap_err();
    assert_eq!(stuck.code(), Code::Denied);
    store.heal();
}

#[tokio::test]
async fn e_1_what_a_vacuum_that_is_under_way_may_take_is_not_leased_or_pinned_though_it_is_there() {
    let store = Faulty::default();
    let (world, clock) = Ahead::environment();
    store.follow(&world);
    let in_world = storage_in(&store, &world);
    let table = Table::create_in(in_world, world, crate::support::id_schema());
    let table = table.await.unwrap();
    table.append(ids([1])).await.unwrap();
    let old = table.snapshot();
    table.overwrite(ids([2])).await.unwrap();
    let recent = table.snapshot();
    table.append(ids([3])).await.unwrap();
    a_moment().await;
    stuck_vacuum(&store, &table).await;
    let minute = Duration::from_secs(60);
    let refused = table.lease(&old, minute).await.unwrap_err();
    assert_eq!(
        (refused.kind(), refused.code()),
        (ErrorKind::Conflict, Code::FilesVacuumed)
    );
    let refused = table.pin("old", 1, None).await.unwrap_err();
    assert_eq!(refused.code(), Code::FilesVacuumed);
    assert_eq!(table.pins().await.unwrap(), []);
    // All of its files are in the newest version, and no vacuum takes them.
    table
        .lease(&recent, minute)
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
    // What was planned on is not taken, either, whatever becomes of it.
    let planned = table.snapshot_at(3).await.unwrap();
    table.overwrite(ids([4])).await.unwrap();
    let lease = table.lease(&planned, minute).await.unwrap();
    now(&table).await.unwrap();
    assert_eq!(ids_of(&planned).await.unwrap(), [2, 3]);
    lease.release().await.unwrap();
    // The one that was stuck may go on, but not for ever.
    let refused = table.lease(&old, minute).await.unwrap_err();
    assert_eq!(refused.code(), Code::FilesVacuumed);
    clock.forward(Duration::from_secs(16 * 60));
    let gone = table.lease(&old, minute).await.unwrap_err();
    assert_eq!(gone.code(), Code::FilesExpired);
}

#[tokio::test]
async fn e_1_a_lease_that_has_ended_is_not_renewed() {
    let store = Faulty::default();
    let (world, clock) = Ahead::environment();
    let in_world = storage_in(&store, &world);
    let table = Table::create_in(in_world, world, crate::support::id_schema());
    let table = table.await.unwrap();
    let minute = Duration::from_secs(60);
    let lease = table.lease(&table.snapshot(), minute).await.unwrap();
    clock.forward(minute / 2);
    lease.renew().await.unwrap();
    clock.forward(minute * 3 / 4);
    lease.renew().await.unwrap();
    clock.forward(minute);
    let ended = lease.renew().await.unwrap_err();
    assert_eq!(ended.code(), Code::FilesExpired, "{ended}");
}

#[tokio::test]
async fn e_3_a_writer_commits_no_file_that_a_vacuum_under_way_may_take() {
    let store = Faulty::default();
    let (world, clock) = Ahead::environment();
    store.follow(&world);
    let in_world = storage_in(&store, &world);
    let table = Table::create_in(in_world.clone(), world.clone(), crate::support::id_schema());
    let table = table.await.unwrap();
    let other = Table::open_in(in_world, world).await.unwrap();
    let hook = store.clone();
    store.before_put(&format!("{:020}.json", 1), async move {
        clock.forward(Duration::from_secs(8 * 24 * 3_600));
        hook.fail(
            Request::Delete,
            ".parquet",
            99,
            When::Before,
            Answer::Denied,
        );
        assert_eq!(other.vacuum().await.unwrap_err().code(), Code::Denied);
        hook.heal();
    });
    let lost = table.append(ids([9])).await.unwrap_err();
    assert_eq!(lost.code(), Code::FilesVacuumed, "{lost}");
    assert_eq!(data(&store).await.len(), 1, "it is still there");
}

#[tokio::test]
async fn e_9_a_vacuum_that_takes_long_looks_again_at_what_is_held() {
    let store = Faulty::default();
    let (world, clock) = Ahead::environment();
    let in_world = storage_in(&store, &world);
    let table = Table::create_in(in_world, world, crate::support::id_schema());
    let table = table.await.unwrap();
    table.append(ids([1])).await.unwrap();
    table.overwrite(ids([2])).await.unwrap();
    a_moment().await;
    store.before_put(&format!("{:020}.json", 3), async move {
        clock.forward(Duration::from_secs(11 * 60));
    });
    assert_eq!(now(&table).await.unwrap().files, 1);
    let history = table.refresh().await.unwrap().history(10).await.unwrap();
    let operations = history.iter().filter_map(|it| it.info.operation.as_deref());
    let operations: Vec<_> = operations.take(4).collect();
    assert_eq!(
        operations,
        ["VACUUM END", "VACUUM START", "VACUUM END", "VACUUM START"]
    );
}

#[tokio::test]
async fn e_5_vectors_that_a_version_took_away_go_with_its_files() {
    let store = Faulty::default();
    let table = with_vectors(&store).await;
    table.append(ids(0..4_000)).await.unwrap();
    for modulus in [3, 7] {
        let scattered = headwater::predicate::Predicate::parse(&format!("id % {modulus} = 1"));
        table.delete(scattered.unwrap()).await.unwrap();
    }
    a_moment().await;
    let vacuum = table
        .vacuum()
        .retention(Duration::ZERO)
        .grace(Duration::from_secs(3_600));
    let gone = vacuum.allow_unsafe_retention().await.unwrap().keys;
    assert_eq!(gone.len(), 1, "{gone:?}");
    assert!(gone[0].starts_with("deletion_vector_"), "{gone:?}");
    let left = ids_of(&table.refresh().await.unwrap()).await.unwrap();
    let expected: Vec<i64> = (0..4_000).filter(|id| id % 3 != 1 && id % 7 != 1).collect();
    assert_eq!(left, expected);
}

#[tokio::test]
async fn a_1_g_9_what_killed_writers_left_goes_after_the_grace_and_not_before() {
    let folder = std::env::temp_dir().join(format!("headwater-g-9-{}", std::process::id()));
    let table = Table::create(folder.to_str().unwrap(), crate::support::id_schema());
    let table = table.await.unwrap();
    table.append(ids([1])).await.unwrap();
    let age = |name: &str, seconds: u64| {
        let file = std::fs::File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join(name))
            .unwrap();
        let then = std::time::SystemTime::now() - Duration::from_secs(seconds);
        file.set_modified(then).unwrap();
    };
    let left = [
        "part-00000-killed.parquet",
        "_delta_log/.tmp-killed",
        ".tmp-killed",
        "deletion_vector_killed.bin",
    ];
    let there = || left.map(|name| folder.join(name).exists());
    left.iter().for_each(|name| age(name, 7 * 24 * 3_600 - 60));
    let kept = table.vacuum().await.unwrap();
    assert_eq!((kept.files, kept.unpublished, there()), (0, 0, [true; 4]));
    left.iter().for_each(|name| age(name, 7 * 24 * 3_600 + 60));
    let swept = table.vacuum().await.unwrap();
    assert_eq!(
        (swept.files, swept.unpublished, there()),
        (2, 2, [false; 4])
    );
    assert_eq!(ids_of(&table.refresh().await.unwrap()).await.unwrap(), [1]);
    std::fs::remove_dir_all(folder).unwrap();
}
