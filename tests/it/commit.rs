//! Around the commit point: crashes, lost answers, refusals (faults A-1 to A-17).

use std::task::Poll;
use std::time::Duration;

use headwater::arrow_array::RecordBatch;
use headwater::predicate::{Predicate, col};
use headwater::{Code, CommitStatus, ErrorKind, Resolution, Table};

use crate::support::hasty::{self, Ahead, Clock};
use crate::support::store::{Answer, Faulty, Request, When};
use crate::support::{
    commit_key, create, create_hasty, create_marking, id_schema, ids, ids_of, open, storage_in,
};

/// Every way in which an answer of a store says nothing about what it did.
const UNCLEAR: [Answer; 7] = [
    Answer::EndOfFile,
    Answer::InternalError,
    Answer::SlowDown,
    Answer::Reset,
    Answer::TimedOut,
    Answer::AlreadyExists,
    Answer::Precondition,
];

#[tokio::test]
async fn a_1_a_crash_before_the_commit_shows_no_rows_and_a_rerun_adds_them_once() {
    let store = Faulty::default();
    let table = create(&store).await;
    store.fail(Request::Put, "1.json", 100, When::Before, Answer::Denied);
    let failed = table
        .append(ids([1, 2]))
        .exactly_once("app", 1)
        .await
        .unwrap_err();
    assert_eq!(failed.code(), Code::Denied);
    store.heal();

    let orphans = store
        .paths()
        .await
        .iter()
        .filter(|path| path.ends_with(".parquet"))
        .count();
    assert_eq!(orphans, 1, "the data file stays for vacuum");
    let again = open(&store).await.unwrap();
    assert_eq!(ids_of(&again.snapshot()).await.unwrap(), Vec::<i64>::new());
    let commit = again
        .append(ids([1, 2]))
        .exactly_once("app", 1)
        .await
        .unwrap();
    assert_eq!(
        (commit.version, commit.status),
        (1, CommitStatus::Committed)
    );
    assert_eq!(ids_of(&again.snapshot()).await.unwrap(), [1, 2]);
}

#[tokio::test]
async fn a_2_a_crash_after_the_commit_shows_the_rows_once() {
    let store = Faulty::default();
    let table = create(&store).await;
    let appended = table
        .append(ids([1, 2]))
        .exactly_once("app", 1)
        .await
        .unwrap();
    drop(table);
    assert_eq!(appended.status, CommitStatus::Committed);

    let restarted = open(&store).await.unwrap();
    let repeat = restarted
        .append(ids([1, 2]))
        .exactly_once("app", 1)
        .await
        .unwrap();
    assert_eq!(
        (repeat.version, repeat.status),
        (1, CommitStatus::AlreadyApplied)
    );
    assert_eq!(ids_of(&restarted.snapshot()).await.unwrap(), [1, 2]);
}

#[tokio::test]
async fn a_3_a_checkpoint_that_a_dead_writer_left_out_is_written_by_the_next() {
    let store = Faulty::default();
    let table = create(&store).await;
    // Every attempt at a checkpoint fails: as if each writer died right after its commit.
    store.fail(Request::Put, ".parquet", 0, When::Before, Answer::Denied);
    store.fail(
        Request::Put,
        "checkpoint.parquet",
        1_000,
        When::Before,
        Answer::Denied,
    );
    for id in 0..21 {
        table.append(ids([id])).await.unwrap();
        table.close().await;
    }
    let checkpoints = |paths: Vec<String>| {
        paths
            .iter()
            .filter(|path| path.contains(".checkpoint."))
            .count()
    };
    assert_eq!(checkpoints(store.paths().await), 0);
    store.heal();

    let next = open(&store).await.unwrap();
    next.append(ids([21])).await.unwrap();
    next.close().await;
    assert_eq!(checkpoints(store.paths().await), 1);
    let reader = open(&store).await.unwrap();
    assert_eq!(
        ids_of(&reader.snapshot()).await.unwrap(),
        (0..22).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_4_a_lost_answer_is_one_commit_and_no_error() {
    for answer in [Answer::Reset, Answer::TimedOut, Answer::EndOfFile] {
        applied_but_answered(answer).await;
    }
}

#[tokio::test]
async fn a_5_an_inner_retry_that_meets_its_own_object_is_one_commit_and_no_error() {
    for answer in UNCLEAR {
        applied_but_answered(answer).await;
    }
}

/// The slot is met at once, or after another writer won the one before.
async fn applied_but_answered(answer: Answer) {
    for lost in [false, true] {
        let store = Faulty::default();
        let table = Table::create_in(
            crate::support::storage(&store),
            headwater::environment::Environment::system(),
            id_schema(),
        )
        .property("delta.enableChangeDataFeed", "true")
        .await
        .unwrap();
        let slot = if lost { 2 } else { 1 };
        let other = open(&store).await.unwrap();
        if lost {
            store.before_put("1.json", async move {
                other.append(ids([0])).await.unwrap();
            });
        }
        store.fail(
            Request::Put,
            &format!("{slot}.json"),
            1,
            When::After,
            answer,
        );
        let commit = table.append(ids([1, 2, 3])).await.unwrap();
        assert_eq!(
            (commit.version, commit.status),
            (slot, CommitStatus::Committed),
            "{answer:?}"
        );
        let after = table.append(ids([4])).await.unwrap();
        assert_eq!(after.version, slot + 1, "{answer:?}");

        let reader = open(&store).await.unwrap();
        assert_eq!(reader.snapshot().version(), slot + 1);
        let expected: Vec<i64> = (i64::from(!lost)..5).collect();
        assert_eq!(
            ids_of(&reader.snapshot()).await.unwrap(),
            expected,
            "{answer:?}"
        );
        let files = reader.snapshot().sums().await.unwrap().files;
        assert_eq!(files, slot + 1, "{answer:?}");
        // Who follows the changes gets every row once, too.
        let changes = reader.changes(1).collect().await.unwrap();
        let rows: usize = changes.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(rows, expected.len(), "{answer:?}");
    }
}

#[tokio::test]
async fn a_5_a_lost_answer_to_a_create_is_one_table() {
    for answer in UNCLEAR {
        let store = Faulty::default();
        store.fail(Request::Put, "0.json", 1, When::After, answer);
        let table = create(&store).await;
        assert_eq!(table.snapshot().version(), 0, "{answer:?}");
    }
}

#[tokio::test]
async fn a_6_a_conflict_answer_with_an_empty_slot_tries_the_same_slot_again() {
    let store = Faulty::default();
    let table = create(&store).await;
    store.fail(
        Request::Put,
        "1.json",
        2,
        When::Before,
        Answer::AlreadyExists,
    );
    let commit = table.append(ids([1])).await.unwrap();
    assert_eq!(
        commit.version, 1,
        "a slot that nobody took is not a lost race"
    );
}

#[tokio::test]
async fn a_7_a_put_that_lands_after_it_was_given_up_is_found_again() {
    let store = Faulty::default();
    let table = create(&store).await;
    // Carried out two requests later: after the read-back saw nothing.
    store.fail(Request::Put, "1.json", 1, When::Late(2), Answer::TimedOut);
    let commit = table.append(ids([1, 2])).await.unwrap();
    assert_eq!(commit.version, 1);
    let reader = open(&store).await.unwrap();
    assert_eq!(reader.snapshot().version(), 1);
    assert_eq!(ids_of(&reader.snapshot()).await.unwrap(), [1, 2]);
}

#[tokio::test]
async fn a_7_at_the_end_of_the_budget_the_outcome_is_unknown_and_resolve_settles_it() {
    let store = Faulty::default();
    let table = create_hasty(&store).await;
    store.fail(
        Request::Put,
        "1.json",
        1,
        When::Late(10_000),
        Answer::TimedOut,
    );
    store.fail(
        Request::Put,
        "1.json",
        1_000,
        When::Before,
        Answer::TimedOut,
    );
    let unknown = table.append(ids([1, 2])).await.unwrap_err();
    assert_eq!(
        (unknown.kind(), unknown.code()),
        (ErrorKind::Storage, Code::CommitUnknown)
    );
    let txn_id = unknown.context_value("txn_id").unwrap().to_owned();
    assert_eq!(unknown.context_value("first_version"), Some("1"));
    store.heal();
    let resolution = table.resolve(&txn_id, 1, 1).await.unwrap();
    assert_eq!(resolution, Resolution::StillUnknown);

    // The late PUT arrives.
    let (_, bytes) = store
        .puts()
        .into_iter()
        .find(|(path, _)| path.ends_with("1.json"))
        .unwrap();
    store.place(&commit_key(1), bytes).await;
    assert_eq!(
        table.resolve(&txn_id, 1, 1).await.unwrap(),
        Resolution::Committed(1)
    );
    assert_eq!(
        ids_of(&table.refresh().await.unwrap()).await.unwrap(),
        [1, 2]
    );
}

#[tokio::test]
async fn a_7_a_refusal_after_an_open_attempt_does_not_settle_it() {
    // The first PUT arrives while the others are refused: it is found.
    let store = Faulty::default();
    let table = create_hasty(&store).await;
    store.fail(Request::Put, "1.json", 1, When::Late(6), Answer::TimedOut);
    store.fail(Request::Put, "1.json", 1_000, When::Before, Answer::Denied);
    let commit = table.append(ids([1, 2])).await.unwrap();
    assert_eq!(commit.version, 1);
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [1, 2]);

    // It has not arrived by the end: it may yet.
    let store = Faulty::default();
    let table = create_hasty(&store).await;
    let late = When::Late(10_000);
    store.fail(Request::Put, "1.json", 1, late, Answer::TimedOut);
    store.fail(Request::Put, "1.json", 1_000, When::Before, Answer::Denied);
    let unknown = table.append(ids([1, 2])).await.unwrap_err();
    assert_eq!(unknown.code(), Code::CommitUnknown);
    store.heal();
    let mut puts = store.puts().into_iter();
    let (_, bytes) = puts.find(|(path, _)| path.ends_with("1.json")).unwrap();
    store.place(&commit_key(1), bytes).await;
    let txn_id = unknown.context_value("txn_id").unwrap();
    let resolution = table.resolve(txn_id, 1, 1).await.unwrap();
    assert_eq!(resolution, Resolution::Committed(1));

    // One that was refused from the first is not in doubt.
    store.fail(Request::Put, "2.json", 1_000, When::Before, Answer::Denied);
    let refused = table.append(ids([3])).await.unwrap_err();
    assert_eq!(refused.code(), Code::Denied);
}

#[tokio::test]
async fn a_7_a_refusal_after_an_open_attempt_to_create_does_not_settle_it() {
    let store = Faulty::default();
    let late = When::Late(10_000);
    store.fail(Request::Put, "0.json", 1, late, Answer::TimedOut);
    store.fail(Request::Put, "0.json", 1_000, When::Before, Answer::Denied);
    let environment = hasty::environment();
    let storage = storage_in(&store, &environment);
    let unknown = Table::create_in(storage, environment, id_schema()).await;
    assert_eq!(unknown.unwrap_err().code(), Code::CommitUnknown);
}

#[tokio::test]
async fn a_8_a_read_back_that_fails_is_repeated_then_unknown_and_data_files_stay() {
    let store = Faulty::default();
    let table = create_hasty(&store).await;
    store.fail(Request::Put, "1.json", 1, When::After, Answer::Reset);
    // The first read is the look for newer commits; the read-back after it fails for a while.
    table.refresh().await.unwrap();
    store.fail(Request::Get, "1.json", 1, When::Before, Answer::NotFound);
    store.fail(Request::Get, "1.json", 3, When::Before, Answer::Reset);
    let commit = table.append(ids([1])).await.unwrap();
    assert_eq!(commit.version, 1);

    store.fail(Request::Get, "2.json", 1, When::Before, Answer::NotFound);
    store.fail(Request::Put, "2.json", 1, When::After, Answer::Reset);
    store.fail(Request::Put, "2.json", 1_000, When::Before, Answer::Reset);
    store.fail(
        Request::Get,
        "2.json",
        100_000,
        When::Before,
        Answer::InternalError,
    );
    let files_before = store.paths().await.len();
    let unknown = table.append(ids([2])).await.unwrap_err();
    assert_eq!(unknown.code(), Code::CommitUnknown);
    assert_eq!(
        store.paths().await.len(),
        files_before + 2,
        "the data file and the commit stay"
    );
    store.heal();
    let txn_id = unknown.context_value("txn_id").unwrap();
    assert_eq!(
        table.resolve(txn_id, 2, 2).await.unwrap(),
        Resolution::Committed(2)
    );
    assert_eq!(
        ids_of(&table.refresh().await.unwrap()).await.unwrap(),
        [1, 2]
    );
}

#[tokio::test]
async fn a_9_a_lost_race_is_judged_against_every_winner_and_goes_on_top() {
    let store = Faulty::default();
    let slow = create(&store).await;
    let fast = open(&store).await.unwrap();
    // The slow writer looks for newer commits before the fast one has any.
    let (started, wait) = (
        std::sync::Arc::new(tokio::sync::Notify::new()),
        std::sync::Arc::new(tokio::sync::Notify::new()),
    );
    let (inner_started, inner_wait) = (started.clone(), wait.clone());
    let rows = futures::stream::once(async move {
        inner_started.notify_one();
        inner_wait.notified().await;
        Ok::<RecordBatch, std::io::Error>(ids([100]))
    });
    let appending =
        tokio::spawn(async move { slow.append(headwater::Batches::stream(rows)).await });
    started.notified().await;
    for id in 0..3 {
        fast.append(ids([id])).await.unwrap();
    }
    wait.notify_one();
    let commit = appending.await.unwrap().unwrap();
    assert_eq!(
        commit.version, 4,
        "one slot is lost, then the newest is known"
    );
    assert_eq!(
        ids_of(&fast.refresh().await.unwrap()).await.unwrap(),
        [0, 1, 2, 100]
    );
    let attempts = store
        .puts()
        .iter()
        .filter(|(path, _)| path.ends_with(".json"))
        .count();
    assert_eq!(
        attempts,
        1 + 3 + 2,
        "create, three appends, the slow writer's two slots"
    );
}

#[tokio::test]
async fn a_10_a_storm_of_slow_downs_is_waited_out() {
    let store = Faulty::default();
    let table = create_hasty(&store).await;
    store.fail(Request::Put, "1.json", 6, When::Before, Answer::SlowDown);
    let commit = table.append(ids([1])).await.unwrap();
    assert_eq!(commit.version, 1);
    let puts = store
        .puts()
        .iter()
        .filter(|(path, _)| path.ends_with("1.json"))
        .count();
    assert_eq!(puts, 7, "one PUT per answer, no busy loop");
}

#[tokio::test]
async fn a_11_a_store_without_put_if_absent_is_refused_and_never_written_plainly() {
    let store = Faulty::default();
    let table = create(&store).await;
    store.fail(
        Request::Put,
        "1.json",
        1_000,
        When::Before,
        Answer::NotImplemented,
    );
    let refused = table.append(ids([1])).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(!store.paths().await.contains(&commit_key(1).to_string()));
}

#[tokio::test]
async fn a_12_a_dropped_append_leaves_no_half_state() {
    let mut outcomes = std::collections::BTreeSet::new();
    let mut is_done = false;
    for polls in 0..1_000 {
        let store = Faulty::default();
        let table = create(&store).await;
        {
            let mut appending = Box::pin(IntoFuture::into_future(table.append(ids([1, 2]))));
            let mut left = polls;
            // Polled when it was woken, so that each time it is dropped somewhere else.
            is_done = std::future::poll_fn(|context| {
                if left == 0 {
                    return Poll::Ready(false);
                }
                left -= 1;
                appending.as_mut().poll(context).map(|_| true)
            })
            .await;
        }
        let reader = open(&store).await.unwrap();
        let found = ids_of(&reader.snapshot()).await.unwrap();
        assert!(
            found.is_empty() || found == [1, 2],
            "after {polls} polls: {found:?}"
        );
        outcomes.insert(found.len());
        reader.append(ids([3])).await.unwrap();
        let expected = found.into_iter().chain([3]).collect::<Vec<_>>();
        assert_eq!(ids_of(&reader.snapshot()).await.unwrap(), expected);
        if is_done {
            break;
        }
    }
    assert!(is_done);
    assert_eq!(
        outcomes.into_iter().collect::<Vec<_>>(),
        [0, 2],
        "some were dropped too early, some too late"
    );
}

#[tokio::test]
async fn a_13_transactions_of_one_moment_have_different_ids() {
    let store = Faulty::default();
    let table = create(&store).await;
    for id in 0..20 {
        table.append(ids([id])).await.unwrap();
    }
    let history = table.snapshot().history(100).await.unwrap();
    let txns: std::collections::BTreeSet<_> = history
        .iter()
        .map(|entry| entry.info.txn_id.clone().unwrap())
        .collect();
    assert_eq!(txns.len(), history.len());
}

#[tokio::test]
async fn a_13_two_writers_of_one_seed_and_one_millisecond_both_land() {
    let store = Faulty::default();
    create(&store).await;
    let writer = |number| {
        let world = hasty::actor(number);
        Table::open_in(storage_in(&store, &world), world)
    };
    let (one, two) = (writer(1).await.unwrap(), writer(2).await.unwrap());
    let first = one.clone();
    store.before_put("1.json", async move {
        first.append(ids([1])).await.unwrap();
    });
    // It meets the other's commit where it wanted to put its own, and must not take it for that.
    assert_eq!(two.append(ids([2])).await.unwrap().version, 2);
    let newest = two.refresh().await.unwrap();
    assert_eq!(ids_of(&newest).await.unwrap(), [1, 2]);
    let attempts = store.puts().into_iter();
    let infos: Vec<serde_json::Value> = attempts
        .filter(|(path, _)| path.ends_with("1.json"))
        .map(|(_, bytes)| {
            serde_json::from_slice(bytes.split(|byte| *byte == b'\n').next().unwrap()).unwrap()
        })
        .map(|line: serde_json::Value| line["commitInfo"].clone())
        .collect();
    assert_eq!(infos.len(), 2);
    assert_eq!(infos[0]["timestamp"], infos[1]["timestamp"]);
    assert_ne!(infos[0]["txnId"], infos[1]["txnId"]);
}

#[tokio::test]
async fn a_14_bytes_are_frozen_per_slot_and_a_rebase_keeps_the_transaction() {
    let store = Faulty::default();
    let table = create(&store).await;
    store.fail(Request::Put, "1.json", 3, When::Before, Answer::TimedOut);
    table.append(ids([1])).await.unwrap();
    let puts: Vec<_> = store
        .puts()
        .into_iter()
        .filter(|(path, _)| path.ends_with("1.json"))
        .collect();
    assert_eq!(puts.len(), 4);
    assert!(
        puts.windows(2).all(|pair| pair[0].1 == pair[1].1),
        "the same bytes in the same slot"
    );
}

#[tokio::test]
async fn a_14_a_rebase_has_new_bytes_and_the_same_transaction() {
    let store = Faulty::default();
    let table = create(&store).await;
    let other = open(&store).await.unwrap();
    store.before_put("1.json", async move {
        other.append(ids([0])).await.unwrap();
    });
    assert_eq!(table.append(ids([1])).await.unwrap().version, 2);
    let commits: Vec<(String, serde_json::Value)> = store
        .puts()
        .into_iter()
        .filter(|(path, _)| path.ends_with("1.json") || path.ends_with("2.json"))
        .map(|(path, bytes)| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let first = serde_json::from_str(text.lines().next().unwrap()).unwrap();
            (path, first)
        })
        .collect();
    // The winner of slot 1, the loser in it, the loser in slot 2.
    let [(_, winner), (lost, first), (won, second)] = commits.as_slice() else {
        panic!("{commits:?}");
    };
    assert!(lost.ends_with("1.json") && won.ends_with("2.json"));
    let id = |info: &serde_json::Value| info["commitInfo"]["txnId"].as_str().unwrap().to_owned();
    assert_eq!(id(first), id(second));
    assert_ne!(id(first), id(winner));
}

/// A table of the ids 1 to 5 in versions 1 to 5, in a world whose clock can be set.
async fn held_up(store: &Faulty) -> (Table, Clock) {
    let (environment, clock) = Ahead::environment();
    let storage = storage_in(store, &environment);
    let table = Table::create_in(storage, environment, id_schema())
        .await
        .unwrap();
    for id in 1..=5 {
        table.append(ids([id])).await.unwrap();
    }
    (table, clock)
}

/// Deletes the table, and creates another one in its place that has `versions` commits after its first.
async fn replace(store: &Faulty, versions: i64) {
    store.clear().await;
    let other = create(store).await;
    for id in 0..versions {
        other.append(ids([100 + id])).await.unwrap();
    }
}

async fn assert_untouched(store: &Faulty, versions: i64) {
    let reader = open(store).await.unwrap();
    assert_eq!(reader.snapshot().version(), versions as u64);
    let expected: Vec<i64> = (100..100 + versions).collect();
    assert_eq!(ids_of(&reader.snapshot()).await.unwrap(), expected);
}

#[tokio::test]
async fn h_15_a_writer_of_a_table_that_was_replaced_conflicts_and_leaves_the_other_one_alone() {
    for versions in [2, 5, 6, 7] {
        let store = Faulty::default();
        let (table, clock) = held_up(&store).await;
        let (replaced, later) = (store.clone(), clock.clone());
        store.before_put(".parquet", async move {
            replace(&replaced, versions).await;
            later.forward(Duration::from_secs(60));
        });
        let refused = table.append(ids([6])).await.unwrap_err();
        assert_eq!(
            (refused.kind(), refused.code()),
            (ErrorKind::Conflict, Code::TableReplaced),
            "{versions} versions: {refused}"
        );
        assert_untouched(&store, versions).await;
        let reader = table.refresh().await.unwrap_err();
        assert_eq!(reader.code(), Code::TableReplaced, "{versions} versions");
    }
}

#[tokio::test]
async fn h_15_a_commit_into_the_log_of_another_table_is_never_acknowledged() {
    for versions in [2, 5, 6] {
        let store = Faulty::default();
        let (table, clock) = held_up(&store).await;
        let (replaced, later) = (store.clone(), clock.clone());
        // As late as can be: when the PUT is under way.
        store.before_put("6.json", async move {
            replace(&replaced, versions).await;
            later.forward(Duration::from_secs(60));
        });
        let refused = table.append(ids([6])).await.unwrap_err();
        assert_eq!(refused.code(), Code::TableReplaced, "{versions}: {refused}");
    }
}

#[tokio::test]
async fn h_15_a_log_that_mixes_two_tables_is_an_error() {
    let store = Faulty::default();
    let (table, _) = held_up(&store).await;
    let elsewhere = Faulty::default();
    held_up(&elsewhere).await.0.append(ids([60])).await.unwrap();
    let theirs = elsewhere.bytes(&commit_key(6)).await;
    store.place(&commit_key(6), theirs).await;
    let refused = table.refresh().await.unwrap_err();
    assert_eq!(refused.code(), Code::TableReplaced);
    let mixed = open(&store).await.unwrap_err();
    assert_eq!(
        (mixed.kind(), mixed.code()),
        (ErrorKind::Corrupt, Code::CorruptCommit)
    );
    assert_eq!(mixed.context_value("version"), Some("6"));
}

#[tokio::test]
async fn h_15_the_commits_of_others_are_known_again_without_a_table_id() {
    let foreign = |path: &str| {
        let add = serde_json::json!({"add": {
            "path": path, "partitionValues": {}, "size": 1, "modificationTime": 1, "dataChange": true,
        }});
        format!("{{\"commitInfo\":{{\"timestamp\":1}}}}\n{add}\n")
    };
    for path in ["a.parquet", "another.parquet"] {
        let store = Faulty::default();
        let (table, clock) = held_up(&store).await;
        store.place(&commit_key(6), foreign("a.parquet")).await;
        assert_eq!(table.refresh().await.unwrap().version(), 6);
        store.place(&commit_key(6), foreign(path)).await;
        clock.forward(Duration::from_secs(60));
        assert_eq!(table.refresh().await.unwrap().version(), 6);
        let files = table.snapshot().sums().await.unwrap().files;
        assert_eq!(files, 6);
        let paths = table.snapshot().scan().plan().await.unwrap();
        let found = format!("{paths:?}").contains(path);
        assert!(found, "what is in the log now counts: {path}");
    }
}

/// Log cleanup: another writer appends, a checkpoint is written, and everything before it goes.
async fn clean_up(store: Faulty, clock: Clock) {
    let other = open(&store).await.unwrap();
    for id in 50..53 {
        other.append(ids([id])).await.unwrap();
    }
    let newest = other.checkpoint().await.unwrap();
    for version in 0..newest {
        store.remove(&commit_key(version)).await;
    }
    clock.forward(Duration::from_secs(2 * 3600));
}

#[tokio::test]
async fn c_9_a_writer_that_log_cleanup_has_passed_does_it_again_on_top() {
    let store = Faulty::default();
    let (table, clock) = held_up(&store).await;
    store.before_put(".parquet", clean_up(store.clone(), clock));
    let commit = table.append(ids([6])).await.unwrap();
    assert_eq!(commit.version, 9);
    let reader = open(&store).await.unwrap();
    assert_eq!(
        ids_of(&reader.snapshot()).await.unwrap(),
        [1, 2, 3, 4, 5, 6, 50, 51, 52]
    );
}

#[tokio::test]
async fn c_9_a_slot_that_log_cleanup_emptied_is_never_acknowledged() {
    // Where tombstones are kept, a file that neither lives nor has one was never committed. Where they are not, it may
    // have been: to do it again could double rows.
    for (retention, provable) in [("interval 1 week", true), ("interval 0 days", false)] {
        let store = Faulty::default();
        let (environment, clock) = Ahead::environment();
        let storage = storage_in(&store, &environment);
        let table = Table::create_in(storage, environment, id_schema())
            .property("delta.deletedFileRetentionDuration", retention)
            .await
            .unwrap();
        store.before_put("1.json", clean_up(store.clone(), clock));
        let landed = table.append(ids([6])).await;
        let reader = open(&store).await.unwrap();
        let found = ids_of(&reader.snapshot()).await.unwrap();
        if provable {
            assert_eq!(landed.unwrap().version, 4);
            assert_eq!(found, [6, 50, 51, 52]);
            continue;
        }
        let unknown = landed.unwrap_err();
        assert_eq!(unknown.code(), Code::CommitUnknown);
        let txn_id = unknown.context_value("txn_id").unwrap();
        let resolution = table.resolve(txn_id, 1, 1).await.unwrap();
        assert_eq!(resolution, Resolution::StillUnknown);
        assert_eq!(found, [50, 51, 52]);
    }
}

#[tokio::test]
async fn c_9_a_commit_that_landed_before_log_cleanup_is_known_again_and_not_repeated() {
    // What became of the file meanwhile: nothing, it was marked, or it was removed.
    for removed in [None, Some(6), Some(7)] {
        let store = Faulty::default();
        let (environment, clock) = Ahead::environment();
        let storage = storage_in(&store, &environment);
        let table = Table::create_in(storage, environment, id_schema())
            .property("delta.enableDeletionVectors", "true")
            .await
            .unwrap();
        let meanwhile = (store.clone(), clock.clone());
        store.after_put("1.json", async move {
            let (store, clock) = meanwhile;
            let other = open(&store).await.unwrap();
            if let Some(below) = removed {
                let delete = other.delete(col("id").lt(below)).await.unwrap();
                assert_eq!(delete.version, 2);
            }
            clean_up(store, clock).await;
        });
        let commit = table.append(ids([5, 6])).await.unwrap();
        assert_eq!(commit.status, CommitStatus::Committed);
        let reader = open(&store).await.unwrap();
        let kept = [5, 6, 50, 51, 52].into_iter();
        let kept = kept.filter(|id| *id >= 50 || removed.is_none_or(|below| below <= *id));
        assert_eq!(
            ids_of(&reader.snapshot()).await.unwrap(),
            kept.collect::<Vec<_>>(),
            "{removed:?}"
        );
    }
}

#[tokio::test]
async fn after_a_pause_an_append_costs_one_more_look() {
    let store = Faulty::default();
    let (table, clock) = held_up(&store).await;
    for (pause, looks) in [(0, 1), (3_600, 2), (0, 1)] {
        clock.forward(Duration::from_secs(pause));
        let (gets, lists) = (store.count(Request::Get), store.count(Request::List));
        table.append(ids([6])).await.unwrap();
        assert_eq!(store.count(Request::Get) - gets, looks);
        assert_eq!(store.count(Request::List) - lists, 0);
    }
}

#[tokio::test]
async fn a_5_a_created_table_is_known_from_what_was_written() {
    let store = Faulty::default();
    store.fail(Request::Get, "0.json", 1_000, When::Before, Answer::Reset);
    let table = create(&store).await;
    assert_eq!(table.snapshot().version(), 0);
    assert_eq!(*table.snapshot().schema().as_ref(), id_schema());
    let gets = store.count(Request::Get);
    assert_eq!(
        (gets, store.count(Request::List)),
        (1, 1),
        "hint and listing"
    );
    store.heal();
    let reader = open(&store).await.unwrap();
    assert_eq!(reader.snapshot().metadata(), table.snapshot().metadata());
}

#[tokio::test]
async fn a_table_of_another_file_format_is_refused_by_name() {
    let store = Faulty::default();
    create(&store).await;
    let commit = store.bytes(&commit_key(0)).await;
    let text = String::from_utf8(commit.to_vec()).unwrap();
    let other = text.replace(r#""provider":"parquet""#, r#""provider":"orc""#);
    assert_ne!(text, other);
    store.place(&commit_key(0), other).await;
    let refused = open(&store).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert_eq!(refused.context_value("format"), Some("orc"));
}

#[tokio::test]
async fn a_missing_file_that_the_newest_version_needs_is_damage_in_older_ones_too() {
    let store = Faulty::default();
    let table = create_marking(&store).await;
    table.append(ids([1, 2, 3])).await.unwrap();
    table.delete(col("id").eq(2)).await.unwrap();
    for path in store.paths().await {
        if path.ends_with(".parquet") {
            store.remove(&path.into()).await;
        }
    }
    let then = table.snapshot_at(1).await.unwrap();
    let damaged = ids_of(&then).await.unwrap_err();
    assert_eq!(damaged.kind(), ErrorKind::Corrupt, "{damaged}");
}

/// A newer vector of the same data file takes the place of the older one, which vacuum then deletes.
#[tokio::test]
async fn e_14_a_vector_that_newer_versions_do_without_has_expired() {
    let store = Faulty::default();
    let table = create_marking(&store).await;
    table.append(ids(0..2_000)).await.unwrap();
    let vectors = async || {
        let paths = store.paths().await.into_iter();
        paths
            .filter(|path| path.ends_with(".bin"))
            .collect::<Vec<_>>()
    };
    let some = |rest: i64| Predicate::parse(&format!("id % 7 = {rest} AND id < 1900")).unwrap();
    table.delete(some(1)).await.unwrap();
    let older = vectors().await;
    table.delete(some(3)).await.unwrap();
    assert_eq!((older.len(), vectors().await.len()), (1, 2));
    store.remove(&older[0].as_str().into()).await;
    let then = table.snapshot_at(2).await.unwrap();
    let gone = ids_of(&then).await.unwrap_err();
    assert_eq!(gone.code(), Code::FilesExpired, "{gone}");
    assert_eq!(
        ids_of(&table.snapshot()).await.unwrap().len(),
        2_000 - 272 - 271
    );
    for vector in vectors().await {
        store.remove(&vector.as_str().into()).await;
    }
    let damaged = ids_of(&table.snapshot()).await.unwrap_err();
    assert_eq!(damaged.kind(), ErrorKind::Corrupt, "{damaged}");
}

#[tokio::test]
async fn an_append_costs_one_look_one_data_file_and_one_commit() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([0])).await.unwrap();
    let (gets, puts, lists) = (
        store.count(Request::Get),
        store.count(Request::Put),
        store.count(Request::List),
    );
    table.append(ids([1])).await.unwrap();
    assert_eq!(
        store.count(Request::Get) - gets,
        1,
        "the look for a newer commit"
    );
    assert_eq!(store.count(Request::Put) - puts, 2, "data and commit");
    assert_eq!(store.count(Request::List) - lists, 0);
}
