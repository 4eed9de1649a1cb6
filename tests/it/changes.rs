//! The change data feed: what happened between two versions is their difference, however it was recorded.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::{Int64Type, TimestampMicrosecondType};
use headwater::arrow_array::{Int64Array, RecordBatch, StringArray};
use headwater::environment::Environment;
use headwater::predicate::col;
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::snapshot::At;
use headwater::{Code, ErrorKind, Snapshot, Table, Work};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::pruning::check;
use crate::support::store::Faulty;
use crate::support::{block_on, commit_key, open, storage};

mod history;

/// Rows of `id` and `v`, with how often each is there.
type Bag = BTreeMap<(Option<i64>, Option<String>), i64>;

fn schema() -> Schema {
    Schema::new([
        Field::new("id", DataType::LONG, true),
        Field::new("v", DataType::STRING, true),
    ])
    .unwrap()
}

fn rows(ids: impl Iterator<Item = i64> + Clone) -> RecordBatch {
    let texts = ids
        .clone()
        .map(|id| (id % 3 != 0).then(|| format!("v{}", id % 3)));
    RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(Int64Array::from_iter_values(ids)) as _, true),
        ("v", Arc::new(StringArray::from_iter(texts)) as _, true),
    ])
    .unwrap()
}

fn count(bag: &mut Bag, batch: &RecordBatch, sign: impl Fn(usize) -> i64) {
    let ids = batch
        .column_by_name("id")
        .unwrap()
        .as_primitive::<Int64Type>();
    let texts = batch.column_by_name("v").unwrap().as_string::<i32>();
    for (row, (id, text)) in ids.iter().zip(texts.iter()).enumerate() {
        let key = (id, text.map(str::to_owned));
        *bag.entry(key.clone()).or_default() += sign(row);
        if bag[&key] == 0 {
            bag.remove(&key);
        }
    }
}

async fn bag(snapshot: &Snapshot) -> Bag {
    let mut found = Bag::new();
    for batch in snapshot.scan().collect().await.unwrap() {
        count(&mut found, &batch, |_| 1);
    }
    found
}

/// Applies changes to the rows of the version before, and returns their kinds with the versions that made them.
fn apply(bag: &mut Bag, changes: &[RecordBatch]) -> Vec<(i64, String)> {
    let mut seen = Vec::new();
    for batch in changes {
        let kinds = batch
            .column_by_name("_change_type")
            .unwrap()
            .as_string::<i32>();
        let versions = batch
            .column_by_name("_commit_version")
            .unwrap()
            .as_primitive::<Int64Type>();
        count(bag, batch, |row| match kinds.value(row) {
            "insert" | "update_postimage" => 1,
            "delete" | "update_preimage" => -1,
            other => panic!("{other}"),
        });
        seen.extend(
            (0..batch.num_rows()).map(|row| (versions.value(row), kinds.value(row).to_owned())),
        );
    }
    seen
}

/// One thing that happens to a table.
#[derive(Debug, Clone)]
enum Verb {
    Append(i64),
    Delete(i64, i64),
    Update(i64, i64),
    Merge(i64, i64),
    Overwrite(i64),
    /// Replaces the rows from one id on, so many ids, by as many new ones.
    Replace(i64, i64),
    /// As one version.
    Together(Vec<Verb>),
    Checkpoint,
}

fn verbs() -> impl Strategy<Value = Verb> {
    let changes = prop_oneof![
        3 => (1_i64..12).prop_map(Verb::Append),
        3 => (0_i64..30, 0_i64..10).prop_map(|(from, width)| Verb::Delete(from, width)),
        3 => (0_i64..30, 0_i64..10).prop_map(|(from, width)| Verb::Update(from, width)),
        3 => (0_i64..30, 1_i64..10).prop_map(|(from, width)| Verb::Merge(from, width)),
        2 => (0_i64..30, 0_i64..10).prop_map(|(from, width)| Verb::Replace(from, width)),
        1 => (1_i64..6).prop_map(Verb::Overwrite),
    ];
    let together = proptest::collection::vec(changes.clone(), 2..5);
    prop_oneof![
        12 => changes,
        4 => together.prop_map(Verb::Together),
        1 => Just(Verb::Checkpoint),
    ]
}

/// What changes rows, to be done.
fn work(table: &Table, verb: &Verb, next: &mut i64) -> Option<Work> {
    let within = |from: i64, width: i64| col("id").gt_eq(from).and(col("id").lt(from + width));
    let mut new = |count: i64| {
        let first = *next;
        *next += count;
        rows(first..first + count)
    };
    Some(match *verb {
        Verb::Append(count) => table.append(new(count)).into(),
        Verb::Delete(from, width) => table.delete(within(from, width)).into(),
        Verb::Update(from, width) => {
            let update = table.update().set("v", "new");
            update.filter(within(from, width)).into()
        }
        Verb::Merge(from, width) => {
            // Ids of the table, ids that it never had, and some that went.
            let merge = table.merge(rows(from..from + width)).on(["id"]);
            let merge = merge.when_matched_delete();
            let merge = merge.only_if(col("source.v").eq("v1"));
            let merge = merge.when_matched_update([("v", "met")]);
            let merge = merge.only_if(col("source.v").eq("v2"));
            merge.when_not_matched_insert_all().into()
        }
        Verb::Overwrite(count) => table.overwrite(new(count)).into(),
        Verb::Replace(from, width) => {
            let overwrite = table.overwrite(rows(from..from + width));
            overwrite.matching(within(from, width)).into()
        }
        Verb::Together(_) | Verb::Checkpoint => return None,
    })
}

async fn perform(table: &Table, verb: &Verb, next: &mut i64) {
    match verb {
        Verb::Checkpoint => {
            table.checkpoint().await.unwrap();
        }
        Verb::Together(verbs) => {
            let mut transaction = table.transaction();
            for work in verbs.iter().filter_map(|verb| work(table, verb, next)) {
                transaction = transaction.then(work);
            }
            transaction.commit().await.unwrap();
        }
        verb => {
            let work = work(table, verb, next).unwrap();
            table.transaction().then(work).commit().await.unwrap();
        }
    }
}

/// PROTOCOL.md, "Add CDC File": applied to the rows of one version, changes give the rows of another, whether they
/// were recorded, follow from added and removed files, or from deletion vectors.
#[test]
fn changes_are_the_difference_of_versions() {
    let cases = (
        any::<[bool; 3]>(),
        proptest::collection::vec(verbs(), 1..9),
        0_u64..9,
        1_usize..5,
    );
    check(
        48,
        cases,
        |([feed, marks, by_part], verbs, start, batch_rows)| {
            block_on(async {
                let store = Faulty::default();
                let mut create = Table::create_in(storage(&store), Environment::system(), schema());
                create = create.feature("deletionVectors").feature("changeDataFeed");
                create = create.property("delta.enableChangeDataFeed", feed.to_string());
                create = create.property("delta.enableDeletionVectors", marks.to_string());
                if by_part {
                    create = create.partition_by(["v"]);
                }
                let table = create.await.unwrap();
                let mut next = 0;
                for verb in &verbs {
                    perform(&table, verb, &mut next).await;
                }
                table.close().await;
                let newest = table.refresh().await.unwrap().version();
                let from = start.min(newest);
                for to in from..=newest {
                    let mut changes = table.changes(from).to(to).batch_rows(batch_rows);
                    if !feed {
                        changes = changes.unrecorded();
                    }
                    let mut found = match from.checked_sub(1) {
                        Some(before) => bag(&table.snapshot_at(before).await.unwrap()).await,
                        None => Bag::new(),
                    };
                    let seen = apply(&mut found, &changes.collect().await.unwrap());
                    assert_eq!(
                        found,
                        bag(&table.snapshot_at(to).await.unwrap()).await,
                        "{from} to {to}: {verbs:?}"
                    );
                    assert!(
                        seen.windows(2).all(|pair| pair[0].0 <= pair[1].0),
                        "versions in their order"
                    );
                    assert!(
                        seen.iter()
                            .all(|(version, _)| (from..=to).contains(&(*version as u64)))
                    );
                }
            });
        },
    );
}

async fn recorded(store: &Faulty, marks: bool) -> Table {
    Table::create_in(storage(store), Environment::system(), schema())
        .feature("deletionVectors")
        .property("delta.enableChangeDataFeed", "true")
        .property("delta.enableDeletionVectors", marks.to_string())
        .await
        .unwrap()
}

async fn kinds(changes: headwater::scan::changes::Changes) -> Vec<(i64, String)> {
    apply(&mut Bag::new(), &changes.collect().await.unwrap())
}

fn said(expected: &[(i64, &str)]) -> Vec<(i64, String)> {
    expected
        .iter()
        .map(|(version, kind)| (*version, (*kind).to_owned()))
        .collect()
}

/// Two deletion vectors of one file: only the rows in which they differ went, and come back where the vector shrinks.
#[tokio::test]
async fn deletion_vectors_of_one_file_differ_by_rows() {
    let store = Faulty::default();
    let table = recorded(&store, true).await;
    table.append(rows(0..6)).await.unwrap();
    table.delete(col("id").eq(1)).await.unwrap();
    table.delete(col("id").eq(4)).await.unwrap();
    // The version before, again: what a restore does.
    let text = |version| {
        let store = store.clone();
        async move { String::from_utf8(store.bytes(&commit_key(version)).await.to_vec()).unwrap() }
    };
    let actions = |text: String| -> Vec<Value> {
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let (second, third) = (actions(text(2).await), actions(text(3).await));
    let old = second
        .iter()
        .find(|action| !action["add"].is_null())
        .unwrap();
    let new = third
        .iter()
        .find(|action| !action["add"].is_null())
        .unwrap();
    let mut remove = new["add"].clone();
    remove["deletionTimestamp"] = json!(1);
    remove["extendedFileMetadata"] = json!(true);
    remove.as_object_mut().unwrap().remove("modificationTime");
    remove.as_object_mut().unwrap().remove("tags");
    let info = json!({"commitInfo": {"timestamp": 1, "operation": "RESTORE"}});
    store
        .place(
            &commit_key(4),
            format!("{info}\n{}\n{old}\n", json!({ "remove": remove })),
        )
        .await;
    let table = open(&store).await.unwrap();
    assert_eq!(kinds(table.changes(2).to(2)).await, said(&[(2, "delete")]));
    assert_eq!(
        kinds(table.changes(2)).await,
        said(&[(2, "delete"), (3, "delete"), (4, "insert")])
    );
    let back = table.changes(4).collect().await.unwrap();
    assert_eq!(back[0].column(0).as_primitive::<Int64Type>().value(0), 4);
}

#[tokio::test]
async fn a_range_is_named_by_versions_or_by_moments() {
    let store = Faulty::default();
    let table = recorded(&store, false).await;
    for id in 0..3 {
        table.append(rows(id..id + 1)).await.unwrap();
    }
    let changes = table.changes(0).collect().await.unwrap();
    let times: Vec<i64> = changes
        .iter()
        .flat_map(|batch| {
            let times = batch.column_by_name("_commit_timestamp").unwrap();
            times
                .as_primitive::<TimestampMicrosecondType>()
                .values()
                .to_vec()
        })
        .map(|micros| micros / 1000)
        .collect();
    assert_eq!(times.len(), 3);
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    let inserted = |versions: &[i64]| {
        versions
            .iter()
            .map(|version| (*version, "insert".to_owned()))
            .collect::<Vec<_>>()
    };
    let at = At::timestamp;
    assert_eq!(kinds(table.changes(at(times[1]))).await, inserted(&[2, 3]));
    assert_eq!(
        kinds(table.changes(at(times[0] + 1)).to(at(times[2] - 1))).await,
        inserted(&[2])
    );
    assert_eq!(
        kinds(table.changes(at(0)).to(at(i64::MAX / 2))).await,
        inserted(&[1, 2, 3])
    );
    let late = table.changes(at(times[2] + 1)).collect().await.unwrap_err();
    assert_eq!(
        (late.kind(), late.code()),
        (ErrorKind::NotFound, Code::VersionNotFound)
    );
    let late = table.changes(4).collect().await.unwrap_err();
    assert_eq!(
        (late.kind(), late.code()),
        (ErrorKind::NotFound, Code::VersionNotFound)
    );
    let late = table.changes(1).to(4).collect().await.unwrap_err();
    assert_eq!(late.code(), Code::VersionNotFound);
    let turned = table.changes(3).to(1).collect().await.unwrap_err();
    assert_eq!(
        (turned.kind(), turned.code()),
        (ErrorKind::Invalid, Code::InvalidArgument)
    );
}

/// delta-rs#3392: what is gone is an error that says from where on there is something.
#[tokio::test]
async fn changes_that_expired_name_the_first_version_that_is_left() {
    let store = Faulty::default();
    let table = recorded(&store, false).await;
    for id in 0..4 {
        table.append(rows(id..id + 1)).await.unwrap();
    }
    table.snapshot_at(2).await.unwrap();
    table
        .update()
        .set("v", "new")
        .filter(col("id").eq(3))
        .await
        .unwrap();
    table.checkpoint().await.unwrap();
    // Vacuumed: the change file of version 5, and the log up to version 2.
    for path in store
        .paths()
        .await
        .iter()
        .filter(|path| path.contains("_change_data"))
    {
        store
            .remove(&object_store::path::Path::from(path.as_str()))
            .await;
    }
    let vacuumed = table.changes(4).collect().await.unwrap_err();
    assert_eq!(
        (vacuumed.kind(), vacuumed.code()),
        (ErrorKind::NotFound, Code::ChangesExpired),
        "{vacuumed:?}"
    );
    assert_eq!(vacuumed.context_value("version"), Some("5"));
    for version in 0..5 {
        store.remove(&commit_key(version)).await;
    }
    let table = open(&store).await.unwrap();
    let expired = table.changes(1).collect().await.unwrap_err();
    assert_eq!(
        (expired.kind(), expired.code()),
        (ErrorKind::NotFound, Code::ChangesExpired),
        "{expired:?}"
    );
    assert_eq!(expired.context_value("first_available"), Some("5"));
}

#[tokio::test]
async fn versions_that_recorded_nothing_are_refused_unless_asked_for() {
    let store = Faulty::default();
    let table = Table::create_in(storage(&store), Environment::system(), schema())
        .await
        .unwrap();
    table.append(rows(0..3)).await.unwrap();
    let refused = table.changes(0).collect().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert_eq!(refused.context_value("version"), Some("1"));
    table
        .update()
        .set("v", "new")
        .filter(col("id").eq(1))
        .await
        .unwrap();
    let mut all = Bag::new();
    let seen = apply(
        &mut all,
        &table.changes(0).unrecorded().collect().await.unwrap(),
    );
    assert_eq!(all, bag(&table.snapshot_at(2).await.unwrap()).await);
    // The file was copied: one row changed, three went and three came.
    assert_eq!(seen.len(), 9);
    table
        .alter()
        .add_feature("changeDataFeed")
        .set_property("delta.enableChangeDataFeed", "true")
        .await
        .unwrap();
    table.append(rows(9..10)).await.unwrap();
    assert_eq!(kinds(table.changes(3)).await, said(&[(4, "insert")]));
}

#[tokio::test]
async fn schemas_inside_a_range_have_one_answer_or_are_refused_by_version() {
    for mode in ["name", "id"] {
        schemas_inside_a_range(mode).await;
    }
}

async fn schemas_inside_a_range(mapping: &str) {
    let store = Faulty::default();
    let table = Table::create_in(storage(&store), Environment::system(), schema())
        .property("delta.enableChangeDataFeed", "true")
        .property("delta.columnMapping.mode", mapping)
        .await
        .unwrap();
    table.append(rows(0..2)).await.unwrap();
    table
        .alter()
        .rename_column("v", "w")
        .add_column(Field::new("x", DataType::LONG, true))
        .await
        .unwrap();
    table
        .update()
        .set("x", 7_i64)
        .filter(col("id").eq(1))
        .await
        .unwrap();
    // Renamed and added: rows from before have the columns of the last version.
    let changes = table.changes(0).collect().await.unwrap();
    assert_eq!(changes[0].schema().fields()[1].name(), "w");
    assert_eq!(
        changes[0]
            .column_by_name("w")
            .unwrap()
            .as_string::<i32>()
            .value(1),
        "v1"
    );
    assert_eq!(changes[0].column_by_name("x").unwrap().null_count(), 2);
    let last: Vec<Option<i64>> = changes[1..]
        .iter()
        .flat_map(|batch| {
            batch
                .column_by_name("x")
                .unwrap()
                .as_primitive::<Int64Type>()
                .iter()
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(last.iter().flatten().collect::<Vec<_>>(), [&7]);
    let before = table.changes(0).to(1).collect().await.unwrap();
    assert_eq!(
        before[0].schema().fields()[1].name(),
        "v",
        "the columns of the end of the range"
    );
    table.alter().drop_column("w").await.unwrap();
    let refused = table.changes(1).collect().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused:?}");
    assert_eq!(refused.context_value("version"), Some("1"));
    assert_eq!(kinds_of(&table.changes(4).collect().await.unwrap()), 0);
    assert!(table.changes(1).to(3).collect().await.is_ok());
}

fn kinds_of(changes: &[RecordBatch]) -> usize {
    changes.iter().map(RecordBatch::num_rows).sum()
}

async fn actions(store: &Faulty, version: u64) -> Vec<Value> {
    let bytes = store.bytes(&commit_key(version)).await.to_vec();
    let lines = String::from_utf8(bytes).unwrap();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn one_action(store: &Faulty, version: u64, name: &str) -> Value {
    let actions = actions(store, version).await;
    let found = actions.iter().find(|action| !action[name].is_null());
    found.unwrap()[name].clone()
}

/// The first version of a range may itself change the columns of the files that it takes away.
#[tokio::test]
async fn what_held_before_the_first_version_of_a_range_is_checked_too() {
    let store = Faulty::default();
    let table = recorded(&store, false).await;
    table.append(rows(0..3)).await.unwrap();
    table.append(rows(3..4)).await.unwrap();
    let mut metadata = one_action(&store, 0, "metaData").await;
    metadata["partitionColumns"] = json!(["v"]);
    let removes = [1, 2].map(async |version| {
        let add = one_action(&store, version, "add").await;
        json!({"remove": {
            "path": add["path"], "size": add["size"], "partitionValues": {}, "dataChange": true, "deletionTimestamp": 1
        }})
    });
    let [first, second] = removes;
    let info = json!({"commitInfo": {"timestamp": 1, "operation": "WRITE"}});
    let lines = [
        info,
        json!({ "metaData": metadata }),
        first.await,
        second.await,
    ];
    let lines = lines.map(|line| line.to_string()).join("\n");
    store.place(&commit_key(3), lines).await;
    let table = open(&store).await.unwrap();
    for from in [2, 3] {
        let refused = table.changes(from).collect().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused:?}");
    }
    // Before it, and after it, there is one meaning.
    assert_eq!(kinds(table.changes(1).to(2)).await.len(), 4);
}

/// Removes of old writers have neither size nor partition, and may spell a path otherwise than its add.
#[tokio::test]
async fn removes_that_say_nothing_are_known_from_the_version_before() {
    let store = Faulty::default();
    let table = Table::create_in(storage(&store), Environment::system(), schema())
        .property("delta.enableChangeDataFeed", "true")
        .partition_by(["v"])
        .await
        .unwrap();
    table.append(rows(0..6)).await.unwrap();
    let adds: Vec<Value> = actions(&store, 1)
        .await
        .into_iter()
        .filter(|action| !action["add"].is_null())
        .collect();
    assert_eq!(adds.len(), 3);
    let info = json!({"commitInfo": {"timestamp": 1, "operation": "DELETE"}});
    let mut lines = vec![info.to_string()];
    for add in &adds {
        let path = add["add"]["path"].as_str().unwrap().replace('-', "%2D");
        let remove = json!({"path": path, "dataChange": true, "deletionTimestamp": 1});
        lines.push(json!({ "remove": remove }).to_string());
    }
    store.place(&commit_key(2), lines.join("\n")).await;
    let table = open(&store).await.unwrap();
    let mut left = bag(&table.snapshot_at(1).await.unwrap()).await;
    let seen = apply(&mut left, &table.changes(2).collect().await.unwrap());
    assert_eq!((left, seen.len()), (Bag::new(), 6));
}
