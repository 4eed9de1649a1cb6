//! Several verbs as one version: what each sees, when the whole lands, and what a commit that won the race does to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::Int64Type;
use headwater::arrow_array::{Int64Array, RecordBatch};
use headwater::environment::Environment;
use headwater::predicate::{Predicate, col};
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::{Code, CommitStatus, ErrorKind, Table};
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::support::store::{Answer, Faulty, Request, When};
use crate::support::{commit_key, create, create_marking, ids, ids_of, open, storage};

/// The name of the next commit of a table.
fn next(table: &Table) -> String {
    format!("{:020}.json", table.snapshot().version() + 1)
}

/// The actions of a version by their names.
async fn actions(store: &Faulty, version: u64) -> BTreeMap<String, Vec<Value>> {
    let text = store.bytes(&commit_key(version)).await;
    let mut actions: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in String::from_utf8(text.to_vec()).unwrap().lines() {
        let action: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
        for (name, value) in action {
            actions.entry(name).or_default().push(value);
        }
    }
    actions
}

/// No file is both added and removed with the same rows deleted.
async fn assert_files_are_named_once(store: &Faulty, version: u64) {
    let actions = actions(store, version).await;
    let mut named = Vec::new();
    for kind in ["add", "remove"] {
        for file in actions.get(kind).into_iter().flatten() {
            named.push(format!("{} {}", file["path"], file["deletionVector"]));
        }
    }
    let all = named.len();
    named.sort();
    named.dedup();
    assert_eq!(named.len(), all, "{named:?}");
}

#[tokio::test]
async fn a_15_two_transactions_of_one_application_are_no_commit() {
    let store = Faulty::default();
    let table = create(&store).await;
    for [first, second] in [[2, 1], [1, 2], [1, 1]] {
        let transaction = table.transaction().exactly_once("a", first);
        let refused = transaction.then(table.append(ids([1])).exactly_once("a", second));
        let refused = refused.commit().await.unwrap_err();
        assert_eq!(
            (refused.kind(), refused.context_value("app_id")),
            (ErrorKind::Invalid, Some("a"))
        );
        let transaction = table.transaction();
        let transaction = transaction.then(table.append(ids([1])).exactly_once("a", first));
        let refused = transaction.then(table.overwrite(ids([1])).exactly_once("a", second));
        let refused = refused.commit().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
    }
    assert_eq!(table.refresh().await.unwrap().version(), 0);
    assert_eq!(table.snapshot().app_version("a"), None);
}

fn of_two_applications(table: &Table) -> headwater::Transaction {
    let transaction = table.transaction();
    let transaction = transaction.then(table.append(ids([10])).exactly_once("a", 1));
    transaction.then(table.append(ids([20])).exactly_once("b", 5))
}

#[tokio::test]
async fn a_transaction_of_two_applications_of_which_one_has_landed_loses_no_row() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([10])).exactly_once("a", 1).await.unwrap();
    let refused = of_two_applications(&table).commit().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    for (key, value) in [("landed", "a"), ("missing", "b")] {
        assert_eq!(refused.context_value(key), Some(value));
    }
    assert_eq!(table.refresh().await.unwrap().version(), 1);
    table.append(ids([20])).exactly_once("b", 5).await.unwrap();
    let repeat = of_two_applications(&table).commit().await.unwrap();
    assert_eq!(repeat.status, CommitStatus::AlreadyApplied);
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [10, 20]);
}

/// The same where the other application's transaction lands while this one is under way.
#[tokio::test]
async fn a_transaction_of_two_applications_of_which_one_lands_meanwhile_loses_no_row() {
    for both in [false, true] {
        let store = Faulty::default();
        let table = create(&store).await;
        let others = store.clone();
        store.before_put(&next(&table), async move {
            let table = open(&others).await.unwrap();
            let transaction = table.transaction();
            let mut transaction = transaction.then(table.append(ids([10])).exactly_once("a", 3));
            if both {
                transaction = transaction.then(table.append(ids([20])).exactly_once("b", 5));
            }
            transaction.commit().await.unwrap();
        });
        let landed = of_two_applications(&table).commit().await;
        let found = ids_of(&table.refresh().await.unwrap()).await.unwrap();
        if both {
            assert_eq!(landed.unwrap().status, CommitStatus::AlreadyApplied);
            assert_eq!(found, [10, 20]);
        } else {
            let refused = landed.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
            assert_eq!(refused.context_value("missing"), Some("b"));
            assert_eq!(found, [10]);
        }
    }
}

/// files that one verb removes and the next brings back stay as they are.
#[tokio::test]
async fn a_15_what_is_replaced_and_restored_in_one_transaction_is_named_once() {
    for marks in [false, true] {
        let store = Faulty::default();
        let table = if marks {
            create_marking(&store).await
        } else {
            create(&store).await
        };
        table.append(ids([1, 2, 3])).await.unwrap();
        table.append(ids([4])).await.unwrap();
        let replaced = table.transaction().then(table.overwrite(ids([7])));
        let commit = replaced.then(table.restore(1)).commit().await.unwrap();
        assert_eq!(commit.version, 3);
        assert_files_are_named_once(&store, 3).await;
        let table = open(&store).await.unwrap();
        assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [1, 2, 3]);
        let removed = actions(&store, 3).await.remove("remove").unwrap();
        assert_eq!(
            removed.len(),
            1,
            "only the file that the restored version lacks"
        );

        // Marked or copied first, then as it was.
        let changed = table.transaction().then(table.delete(col("id").eq(2)));
        let changed = changed.then(table.append(ids([9])));
        let changed = changed.then(table.restore(1)).then(table.append(ids([5])));
        let commit = changed.commit().await.unwrap();
        assert_files_are_named_once(&store, commit.version).await;
        assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [1, 2, 3, 5]);

        // Nothing is staged after this restore: the next verb changes what was there before.
        let version = table.snapshot().version();
        let changed = table.transaction().then(table.delete(col("id").eq(2)));
        let changed = changed.then(table.restore(version));
        let changed = changed.then(table.delete(col("id").eq(3)));
        let commit = changed.commit().await.unwrap();
        assert_files_are_named_once(&store, commit.version).await;
        let table = open(&store).await.unwrap();
        assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [1, 2, 5]);
    }
}

/// Marks of several verbs on one file are one deletion vector.
#[tokio::test]
async fn verbs_that_mark_rows_of_one_file_add_up() {
    let store = Faulty::default();
    let table = create_marking(&store).await;
    table.append(ids(0..10)).await.unwrap();
    let transaction = table.transaction().then(table.delete(col("id").lt(2)));
    let update = table.update().set("id", col("id") + 100_i64);
    let transaction = transaction.then(update.filter(col("id").between(1, 3)));
    let merge = table.merge(ids([4, 102, 50])).on(["id"]);
    let merge = merge.when_matched_delete().when_not_matched_insert_all();
    let transaction = transaction.then(merge);
    let commit = transaction.then(table.delete(col("id").eq(9))).commit();
    let commit = commit.await.unwrap();
    assert_eq!(
        (
            commit.rows_deleted,
            commit.rows_updated,
            commit.rows_inserted
        ),
        (5, 2, 1)
    );
    let actions = actions(&store, 2).await;
    let removes = &actions["remove"];
    assert_eq!(removes.len(), 1);
    let adds = actions["add"].iter();
    let adds: Vec<&Value> = adds
        .filter(|add| add["path"] == removes[0]["path"])
        .collect();
    assert_eq!(adds.len(), 1);
    assert_eq!(adds[0]["deletionVector"]["cardinality"], 6);
    assert_eq!(removes[0]["deletionVector"], Value::Null);
    assert_files_are_named_once(&store, 2).await;
    let table = open(&store).await.unwrap();
    assert_eq!(
        ids_of(&table.snapshot()).await.unwrap(),
        [5, 6, 7, 8, 50, 103]
    );
}

/// Writer Requirements for Deletion Vectors: bounds of a marked file are wide, and it says how many rows it has.
#[tokio::test]
async fn a_marked_file_says_that_its_bounds_are_wide() {
    let store = Faulty::default();
    let table = create_marking(&store).await;
    table.append(ids(0..10)).await.unwrap();
    let stats = |actions: &BTreeMap<String, Vec<Value>>| -> Value {
        serde_json::from_str(actions["add"][0]["stats"].as_str().unwrap()).unwrap()
    };
    assert_ne!(stats(&actions(&store, 1).await)["tightBounds"], false);
    for (version, id) in [(2, 0), (3, 9)] {
        table.delete(col("id").eq(id)).await.unwrap();
        let stats = stats(&actions(&store, version).await);
        assert_eq!(stats["tightBounds"], false);
        assert_eq!(stats["numRecords"], 10);
        assert_eq!(stats["minValues"]["id"], 0);
        assert_eq!(stats["maxValues"]["id"], 9);
    }
}

/// What a transaction was planned on changes under it: all of its verbs are planned again.
#[tokio::test]
async fn a_transaction_that_lost_a_race_is_planned_again_as_a_whole() {
    for marks in [false, true] {
        let store = Faulty::default();
        let table = if marks {
            create_marking(&store).await
        } else {
            create(&store).await
        };
        table.append(ids(0..6)).await.unwrap();
        let others = store.clone();
        store.before_put(&next(&table), async move {
            let table = open(&others).await.unwrap();
            table.append(ids([3, 40])).await.unwrap();
            table.delete(col("id").eq(5)).await.unwrap();
        });
        let update = table.update().set("id", col("id") + 10_i64);
        let transaction = table.transaction().then(table.append(ids([7])));
        let transaction = transaction.then(update.filter(col("id").gt_eq(3)));
        let transaction = transaction.then(table.delete(col("id").gt(14)));
        let commit = transaction.commit().await.unwrap();
        assert_eq!(commit.version, 4);
        assert_files_are_named_once(&store, 4).await;
        let table = open(&store).await.unwrap();
        // 3, 3, 4, 7 and 40 are moved by ten; of them 17 and 50 go.
        assert_eq!(
            ids_of(&table.snapshot()).await.unwrap(),
            [0, 1, 2, 13, 13, 14]
        );
    }
}

/// What a verb reads, it reads of the columns as they were staged then.
#[tokio::test]
async fn rows_that_come_meanwhile_are_held_against_columns_that_are_staged() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1])).await.unwrap();
    let others = store.clone();
    store.before_put(&next(&table), async move {
        let table = open(&others).await.unwrap();
        table.append(ids([2])).await.unwrap();
    });
    let x = Field::new("x", DataType::LONG, true);
    let update = table.update().set("x", col("id") * 2_i64);
    let transaction = table.transaction().then(table.alter().add_column(x));
    let transaction = transaction.then(update.filter(col("x").is_null()));
    let commit = transaction.commit().await.unwrap();
    assert_eq!((commit.version, commit.rows_updated), (3, 2));
    let found = table.snapshot().scan().select(["x"]).collect().await;
    let mut found: Vec<i64> = found
        .unwrap()
        .iter()
        .flat_map(|batch| {
            batch
                .column(0)
                .as_primitive::<Int64Type>()
                .values()
                .to_vec()
        })
        .collect();
    found.sort_unstable();
    assert_eq!(found, [2, 4]);
}

/// every commit between the version that was read and the one to be is looked at, not the first alone.
#[tokio::test]
async fn a_9_whichever_winner_contradicts_is_found() {
    for place in 0..3_u64 {
        let store = Faulty::default();
        let table = create(&store).await;
        table.append(ids([1, 2])).await.unwrap();
        let others = store.clone();
        store.before_put(&next(&table), async move {
            let table = open(&others).await.unwrap();
            for turn in 0..3 {
                let id = if turn == place { 5 } else { 100 + turn as i64 };
                table.append(ids([id])).await.unwrap();
            }
        });
        let seen = table.snapshot();
        let transaction = table.transaction().reading(&seen, col("id").lt(10));
        let conflict = transaction.then(table.append(ids([50]))).commit().await;
        let conflict = conflict.unwrap_err();
        assert_eq!(
            (conflict.kind(), conflict.context_value("conflict")),
            (ErrorKind::Conflict, Some("ConcurrentAppend"))
        );
        let version = (2 + place).to_string();
        for (key, value) in [
            ("operation", "WRITE"),
            ("read_version", "1"),
            ("own_files", "1"),
            ("with_operation", "WRITE"),
            ("with_version", version.as_str()),
            ("files", "1"),
        ] {
            assert_eq!(conflict.context_value(key), Some(value), "{key}");
        }
        let added = actions(&store, 2 + place).await["add"][0]["path"].clone();
        assert_eq!(conflict.context_value("path"), added.as_str());
        assert_eq!(table.refresh().await.unwrap().version(), 4);
    }
}

/// the same for what is no row: an application's transaction, the schema, a file.
#[tokio::test]
async fn a_9_a_later_winner_that_changes_what_is_staged_is_found() {
    for kind in ["txn", "schema", "file"] {
        let store = Faulty::default();
        let table = create(&store).await;
        table.append(ids([1, 2])).await.unwrap();
        let others = store.clone();
        store.before_put(&next(&table), async move {
            let table = open(&others).await.unwrap();
            table.append(ids([100])).await.unwrap();
            match kind {
                "txn" => drop(table.append(ids([7])).exactly_once("a", 1).await.unwrap()),
                "schema" => {
                    let x = Field::new("x", DataType::LONG, true);
                    table.alter().add_column(x).await.unwrap();
                }
                _ => drop(table.delete(col("id").eq(1)).await.unwrap()),
            }
            table.append(ids([101])).await.unwrap();
        });
        let delete = table.delete(col("id").lt(3));
        let transaction = table.transaction().exactly_once("a", 1).then(delete);
        let commit = transaction.commit().await.unwrap();
        let found = ids_of(&table.refresh().await.unwrap()).await.unwrap();
        match kind {
            "txn" => {
                assert_eq!(commit.status, CommitStatus::AlreadyApplied);
                assert_eq!(found, [1, 2, 7, 100, 101]);
            }
            _ => {
                assert_eq!(
                    (commit.version, commit.status),
                    (5, CommitStatus::Committed)
                );
                assert_eq!(found, [100, 101]);
            }
        }
    }
}

/// Rows are deleted unread where statistics prove that a file holds nothing else, or none of them.
#[tokio::test]
async fn files_that_statistics_decide_on_are_not_read() {
    for marks in [false, true] {
        let store = Faulty::default();
        let table = if marks {
            create_marking(&store).await
        } else {
            create(&store).await
        };
        for first in [0, 10, 20] {
            table.append(ids(first..first + 10)).await.unwrap();
        }
        store.fail(
            Request::Get,
            ".parquet",
            usize::MAX,
            When::Before,
            Answer::Denied,
        );
        let commit = table.delete(col("id").lt(20)).await.unwrap();
        assert_eq!((commit.rows_deleted, commit.files_removed), (20, 2));
        let none = table.delete(col("id").gt(99)).await.unwrap();
        assert_eq!(none.status, CommitStatus::Unchanged);
        // The store does refuse.
        assert!(table.delete(col("id").eq(25)).await.is_err());
        store.heal();
        assert_eq!(
            ids_of(&table.refresh().await.unwrap()).await.unwrap(),
            (20..30).collect::<Vec<_>>()
        );
    }
}

/// A checkpoint that proves unreadable when the files are asked for is passed over, by every verb, also after another
/// one of its transaction.
#[tokio::test]
async fn b_8_an_overwrite_passes_over_a_checkpoint_that_cannot_be_read() {
    for staged in [false, true] {
        for parts in [false, true] {
            let store = Faulty::default();
            let schema = Schema::new([
                Field::new("id", DataType::LONG, false),
                Field::new("p", DataType::LONG, false),
            ]);
            let table = Table::create_in(storage(&store), Environment::system(), schema.unwrap());
            let table = table.partition_by(["p"]).await.unwrap();
            for id in 0..4 {
                table.append(pairs(&[(id, id % 2)])).await.unwrap();
            }
            table.checkpoint().await.unwrap();
            let key = Path::from(format!("table/_delta_log/{:020}.checkpoint.parquet", 4));
            let whole = store.bytes(&key).await;
            // What says which files there are; the rest of it is sound.
            let mut broken = whole.to_vec();
            let sound = ParquetRecordBatchReaderBuilder::try_new(whole).unwrap();
            for group in sound.metadata().row_groups() {
                for column in group.columns() {
                    if column.column_path().string() == "add.path" {
                        let (start, length) = column.byte_range();
                        broken[start as usize..(start + length) as usize].fill(0);
                    }
                }
            }
            store.place(&key, broken).await;
            let table = open(&store).await.unwrap();
            assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [0, 1, 2, 3]);
            let rows = pairs(&[(8, 0)]);
            let overwrite = match parts {
                true => table.overwrite(rows).partitions_of_rows(),
                false => table.overwrite(rows),
            };
            let mut transaction = table.transaction();
            if staged {
                transaction = transaction.then(table.append(pairs(&[(9, 1)])));
                // A commit after the checkpoint, which stays.
                let others = open(&store).await.unwrap();
                others.append(pairs(&[(10, 1)])).await.unwrap();
            }
            transaction.then(overwrite).commit().await.unwrap();
            let found = ids_of(&open(&store).await.unwrap().snapshot())
                .await
                .unwrap();
            let expected: &[i64] = match (staged, parts) {
                (_, false) => &[8],
                (false, true) => &[1, 3, 8],
                (true, true) => &[1, 3, 8, 9, 10],
            };
            assert_eq!(found, expected, "staged {staged}, parts {parts}");
        }
    }
}

fn pairs(pairs: &[(i64, i64)]) -> RecordBatch {
    let column = |values: Vec<i64>| Arc::new(Int64Array::from(values)) as _;
    RecordBatch::try_from_iter([
        ("id", column(pairs.iter().map(|(id, _)| *id).collect())),
        ("p", column(pairs.iter().map(|(_, p)| *p).collect())),
    ])
    .unwrap()
}

/// F-4, H-10: a deletion vector that is not what was written, and one that is not where the log says, are never taken
/// for an empty one.
#[tokio::test]
async fn f_4_h_10_a_deletion_vector_that_is_not_sound_hides_no_row_and_shows_none() {
    let store = Faulty::default();
    let table = create_marking(&store).await;
    table.append(ids(0..4_000)).await.unwrap();
    // Scattered, so that the vector is too large for the log.
    let scattered = Predicate::parse("id % 7 = 3 OR id % 11 = 5").unwrap();
    table.delete(scattered).await.unwrap();
    let left = ids_of(&table.snapshot()).await.unwrap();
    let paths = store.paths().await;
    let vector = paths.iter().find(|path| path.ends_with(".bin")).unwrap();
    let vector = Path::from(vector.as_str());
    let whole = store.bytes(&vector).await;
    for at in (1..whole.len()).step_by(whole.len() / 40) {
        let mut flipped = whole.to_vec();
        flipped[at] ^= 1 << (at % 8);
        store.place(&vector, flipped).await;
        let table = open(&store).await.unwrap();
        let error = ids_of(&table.snapshot()).await.unwrap_err();
        assert_eq!(error.code(), Code::DataCorrupt, "byte {at}: {error}");
        let error = table.delete(col("id").eq(1)).await.unwrap_err();
        assert_eq!(error.code(), Code::DataCorrupt, "byte {at}: {error}");
    }
    store.place(&vector, whole.clone()).await;
    let commit = store.bytes(&commit_key(2)).await;
    let commit = String::from_utf8(commit.to_vec()).unwrap();
    for offset in [2, whole.len() - 4, whole.len(), whole.len() + 1, 1 << 30] {
        let away = commit.replace("\"offset\":1,", &format!("\"offset\":{offset},"));
        assert_ne!(away, commit);
        store.place(&commit_key(2), away).await;
        let table = open(&store).await.unwrap();
        let error = ids_of(&table.snapshot()).await.unwrap_err();
        assert_eq!(error.code(), Code::DataCorrupt, "offset {offset}: {error}");
    }
    store.place(&commit_key(2), commit).await;
    let table = open(&store).await.unwrap();
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), left);
}
