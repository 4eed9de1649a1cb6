//! Compaction: fewer files, the same rows.

mod multiset;

use std::sync::Arc;

use headwater::arrow_array::{Int64Array, RecordBatch, StringArray};
use headwater::environment::Environment;
use headwater::predicate::col;
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::{CommitStatus, ErrorKind, Table};
use object_store::path::Path;

use crate::support::store::Faulty;
use crate::support::{create, ids, ids_of, open, storage};

async fn wide(store: &Faulty) -> Table {
    let schema = Schema::new([
        Field::new("id", DataType::LONG, false),
        Field::new("p", DataType::STRING, true),
        Field::new("text", DataType::STRING, true),
    ])
    .unwrap();
    Table::create_in(storage(store), Environment::system(), schema)
        .partition_by(["p"])
        .property("delta.enableDeletionVectors", "true")
        .await
        .unwrap()
}

/// Rows whose texts do not compress.
fn rows(first: i64, count: i64, part: Option<&str>) -> RecordBatch {
    let ids = first..first + count;
    let texts = ids.clone().map(|id| {
        let hash = blake3::hash(&id.to_le_bytes());
        (id % 7 != 0).then(|| hash.to_hex().to_string())
    });
    RecordBatch::try_from_iter_with_nullable([
        (
            "id",
            Arc::new(Int64Array::from_iter_values(ids.clone())) as _,
            false,
        ),
        (
            "p",
            Arc::new(StringArray::from(vec![part; count as usize])) as _,
            true,
        ),
        ("text", Arc::new(texts.collect::<StringArray>()) as _, true),
    ])
    .unwrap()
}

#[tokio::test]
async fn small_files_become_few_and_a_second_run_finds_nothing() {
    let store = Faulty::default();
    let table = wide(&store).await;
    for first in 0..30 {
        let part = [Some("a"), Some("b"), None][first as usize % 3];
        table
            .append(rows(first * 1_000, 1_000, part))
            .await
            .unwrap();
    }
    table.delete(col("id").lt(2_500)).await.unwrap();
    let before = ids_of(&table.snapshot()).await.unwrap();
    let done = table.compact().target_file_bytes(200_000).await.unwrap();
    assert_eq!(done.rows, before.len() as u64);
    assert!(done.files_added < done.files_removed, "{done:?}");
    assert!(
        6 <= done.files_added,
        "partitions stay apart, and files end near the target: {done:?}"
    );
    let reopened = open(&store).await.unwrap();
    assert_eq!(ids_of(&reopened.snapshot()).await.unwrap(), before);
    let again = table.compact().target_file_bytes(200_000).await.unwrap();
    assert_eq!(again.version, None, "{again:?}");
    let info = &reopened.snapshot().history(1).await.unwrap()[0].info;
    assert_eq!(info.operation.as_deref(), Some("OPTIMIZE"));
    assert_eq!(info.is_blind_append, Some(false));
    let version = reopened.snapshot().version();
    let commit = store.bytes(&crate::support::commit_key(version)).await;
    let text = String::from_utf8_lossy(&commit);
    assert!(!text.contains("\"dataChange\":true"));
    let mut tombstones = text.lines().filter(|line| line.contains("\"remove\""));
    assert!(tombstones.all(|line| !line.contains("\"stats\"")));
    assert_eq!(
        ids_of(&reopened.snapshot_at(30).await.unwrap())
            .await
            .unwrap()
            .len(),
        30_000
    );
    let one = table.compact().await.unwrap();
    assert_eq!(one.files_added, 3, "larger files are wanted now: {one:?}");
}

#[tokio::test]
async fn several_commits_are_made_where_one_would_be_too_large() {
    let store = Faulty::default();
    let table = create(&store).await;
    for id in 0..20 {
        table.append(ids([id])).await.unwrap();
    }
    let done = table.compact().commit_bytes(3_000).await.unwrap();
    assert!(Some(22) <= done.version, "{done:?}");
    assert_eq!(
        ids_of(&table.snapshot()).await.unwrap(),
        (0..20).collect::<Vec<_>>()
    );
    assert_eq!(table.snapshot().sums().await.unwrap().files, 1);
    assert_eq!(table.compact().await.unwrap().version, None);
}

/// D-5: appends and compaction do not contradict each other.
#[tokio::test]
async fn d_5_an_append_meanwhile_leaves_a_compaction_as_it_was_planned() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1])).await.unwrap();
    table.append(ids([2])).await.unwrap();
    let other = open(&store).await.unwrap();
    store.before_put(&format!("{:020}.json", 3), async move {
        other.append(ids([3])).await.unwrap();
    });
    let done = table.compact().await.unwrap();
    assert_eq!(
        done.files_removed, 4,
        "two at first, then what came of them and the new one"
    );
    let first = &table
        .snapshot_at(4)
        .await
        .unwrap()
        .history(1)
        .await
        .unwrap()[0];
    assert_eq!(first.info.read_version, Some(2));
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [1, 2, 3]);
}

/// D-6: what a concurrent commit deleted does not come back.
#[tokio::test]
async fn d_6_rows_deleted_meanwhile_are_not_brought_back() {
    let store = Faulty::default();
    let table = wide(&store).await;
    for part in ["a", "b"] {
        for first in [0, 100] {
            table.append(rows(first, 10, Some(part))).await.unwrap();
        }
    }
    let other = open(&store).await.unwrap();
    store.before_put(&format!("{:020}.json", 5), async move {
        let both = col("p").eq("a").and(col("id").eq(3));
        assert_eq!(other.delete(both).await.unwrap().rows_deleted, 1);
    });
    table.compact().await.unwrap();
    let found = ids_of(&table.snapshot()).await.unwrap();
    assert_eq!(found.iter().filter(|id| **id == 3).count(), 1);
    assert_eq!(found.len(), 39);
    assert_eq!(table.compact().await.unwrap().version, None);
}

/// D-7: of two compactions of the same files one wins, and the other one has nothing left to do.
/// Somebody deletes one more row of the newest file whenever something is about to be committed.
fn busy(store: Faulty, other: Table, row: i64) {
    let again = store.clone();
    store.before_put(".json", async move {
        other.delete(col("id").eq(row)).await.unwrap();
        busy(again, other, row + 1);
    });
}

#[tokio::test]
async fn d_6_a_file_that_is_touched_again_and_again_keeps_the_others_from_nothing() {
    let store = Faulty::default();
    let table = wide(&store).await;
    for first in 0..10 {
        table
            .append(rows(first * 100, 100, Some("a")))
            .await
            .unwrap();
    }
    let other = open(&store).await.unwrap();
    busy(store.clone(), other, 900);
    let done = table.compact().await.unwrap();
    drop(store.not_yet());
    assert_eq!(done.files_removed, 9, "{done:?}");
    let newest = table.refresh().await.unwrap();
    let left = ids_of(&newest).await.unwrap();
    let deleted = 1_000 - left.len() as i64;
    assert!(2 <= deleted, "{deleted}");
    assert_eq!(
        left,
        (0..900).chain(900 + deleted..1_000).collect::<Vec<_>>()
    );
}

/// What was proven of the partition that nobody touched lands, and is not made again.
#[tokio::test]
async fn d_6_what_was_not_touched_lands_though_another_group_was() {
    let store = Faulty::default();
    let table = wide(&store).await;
    for first in 0..8 {
        let part = if first % 2 == 0 { "a" } else { "b" };
        table
            .append(rows(first * 10, 10, Some(part)))
            .await
            .unwrap();
    }
    let other = open(&store).await.unwrap();
    store.before_put(&format!("{:020}.json", 9), async move {
        other.delete(col("id").eq(70)).await.unwrap();
    });
    let written = |store: &Faulty| {
        let puts = store.puts().into_iter();
        puts.filter(|(path, _)| path.contains("p=a") && path.ends_with(".parquet"))
            .count()
    };
    let before = written(&store);
    table.compact().await.unwrap();
    assert_eq!(written(&store) - before, 1);
    let newest = table.refresh().await.unwrap();
    let expected: Vec<i64> = (0..80).filter(|id| *id != 70).collect();
    assert_eq!(ids_of(&newest).await.unwrap(), expected);
    assert_eq!(newest.sums().await.unwrap().files, 2);
}

#[tokio::test]
async fn d_7_of_two_compactions_one_wins_and_the_other_finds_nothing() {
    let store = Faulty::default();
    let table = create(&store).await;
    for id in 0..4 {
        table.append(ids([id])).await.unwrap();
    }
    let other = open(&store).await.unwrap();
    store.before_put(&format!("{:020}.json", 5), async move {
        assert_eq!(other.compact().await.unwrap().files_removed, 4);
    });
    let lost = table.compact().await.unwrap();
    assert_eq!(lost.version, None);
    assert_eq!(table.refresh().await.unwrap().version(), 5);
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [0, 1, 2, 3]);
}

/// D-8: a row that is lost between the encoder and the store is noticed before the commit.
#[tokio::test]
async fn d_8_a_row_lost_on_the_way_to_the_store_is_caught_before_the_commit() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1, 2])).await.unwrap();
    table.append(ids([3, 4])).await.unwrap();
    // What the same compaction writes of a table that lacks a row, in place of what it writes of this one.
    let elsewhere = Faulty::default();
    let poorer = create(&elsewhere).await;
    poorer.append(ids([1, 2])).await.unwrap();
    poorer.append(ids([3])).await.unwrap();
    poorer.compact().await.unwrap();
    let names = elsewhere.paths().await;
    let name = newest_data(&elsewhere, &names).await;
    let bytes = elsewhere.bytes(&Path::parse(name).unwrap()).await;
    store.replace_next(".parquet", bytes.clone());
    let error = table.compact().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(table.refresh().await.unwrap().version(), 2);
    let done = table.compact().await.unwrap();
    assert_eq!((done.files_removed, done.rows), (2, 4));
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [1, 2, 3, 4]);
    assert_eq!(
        table.append(ids([5])).await.unwrap().status,
        CommitStatus::Committed
    );
}

/// The path of the data file that the last commit added.
async fn newest_data(store: &Faulty, names: &[String]) -> String {
    let last = names.iter().rfind(|name| name.ends_with(".json")).unwrap();
    let text = store.bytes(&Path::parse(last).unwrap()).await;
    let text = String::from_utf8(text.to_vec()).unwrap();
    let added = text
        .lines()
        .find(|line| line.starts_with("{\"add\""))
        .unwrap();
    let action: serde_json::Value = serde_json::from_str(added).unwrap();
    format!("table/{}", action["add"]["path"].as_str().unwrap())
}

#[tokio::test]
async fn files_come_in_the_order_that_the_table_declares_and_say_so() {
    use headwater::arrow_array::cast::AsArray;
    use headwater::arrow_array::types::Int64Type;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let store = Faulty::default();
    let table = wide(&store).await;
    table
        .alter()
        .set_property("headwater.sortColumns", "text, id")
        .await
        .unwrap();
    for first in 0..6 {
        table
            .append(rows(first * 1_000, 1_000, Some("a")))
            .await
            .unwrap();
    }
    table.delete(col("id").lt(1_500)).await.unwrap();
    let done = table.compact().target_file_bytes(100_000).await.unwrap();
    assert!(1 < done.files_added, "{done:?}");
    let again = table.compact().target_file_bytes(100_000).await.unwrap();
    assert_eq!(again.version, None);
    let newest = table.snapshot();
    assert_eq!(
        ids_of(&newest).await.unwrap(),
        (1_500..6_000).collect::<Vec<_>>()
    );
    for decision in newest.scan().explain().await.unwrap() {
        let path = Path::parse(format!("table/{}", decision.add.path)).unwrap();
        let file = SerializedFileReader::new(store.bytes(&path).await).unwrap();
        for group in file.metadata().row_groups() {
            let sorted = group.sorting_columns().unwrap();
            let places: Vec<i32> = sorted.iter().map(|column| column.column_idx).collect();
            // `p` is not in the file.
            assert_eq!(places, [1, 0]);
            assert!(sorted.iter().all(|it| !it.descending && it.nulls_first));
        }
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(
            store.bytes(&path).await,
        );
        let mut found: Vec<(Option<String>, i64)> = Vec::new();
        for batch in reader.unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let texts = batch.column_by_name("text").unwrap().as_string::<i32>();
            let ids = batch.column_by_name("id").unwrap();
            let ids = ids.as_primitive::<Int64Type>().values();
            let texts = texts.iter().map(|text| text.map(str::to_owned));
            found.extend(texts.zip(ids.iter().copied()));
        }
        assert!(found.is_sorted(), "{}", decision.add.path);
    }
    table
        .alter()
        .set_property("headwater.sortColumns", "nothing")
        .await
        .unwrap();
    table.append(rows(9_000, 10, Some("b"))).await.unwrap();
    table.append(rows(9_010, 10, Some("b"))).await.unwrap();
    let refused = table.compact().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    assert_eq!(refused.context_value("column"), Some("nothing"));
}
