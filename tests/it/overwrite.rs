//! Overwrite, and several verbs as one version.

use std::sync::Arc;

use headwater::arrow_array::{Date32Array, Int32Array, Int64Array, RecordBatch, StringArray};
use headwater::environment::Environment;
use headwater::predicate::{Predicate, col};
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::{Code, CommitStatus, ErrorKind, Table};

use crate::support::store::Faulty;
use crate::support::{commit_key, create, ids, ids_of, open, storage};

async fn partitioned(store: &Faulty) -> Table {
    let schema = Schema::new([
        Field::new("id", DataType::LONG, false),
        Field::new("day", DataType::INTEGER, true),
    ])
    .unwrap();
    Table::create_in(storage(store), Environment::system(), schema)
        .partition_by(["day"])
        .await
        .unwrap()
}

fn rows(values: &[(i64, Option<i32>)]) -> RecordBatch {
    let id: Int64Array = values.iter().map(|(id, _)| Some(*id)).collect();
    let days = values.iter().map(|(_, day)| *day);
    let day: Int32Array = days.collect();
    RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(id) as _, false),
        ("day", Arc::new(day) as _, true),
    ])
    .unwrap()
}

#[tokio::test]
async fn a_whole_table_is_replaced_and_older_versions_stay() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1, 2])).await.unwrap();
    table.append(ids([3])).await.unwrap();
    table.checkpoint().await.unwrap();
    let commit = table.overwrite(ids([7, 8])).await.unwrap();
    assert_eq!(
        (commit.version, commit.files, commit.files_removed),
        (3, 1, 2)
    );
    assert_eq!((commit.rows, commit.rows_inserted), (2, 2));
    let reopened = open(&store).await.unwrap();
    assert_eq!(ids_of(&reopened.snapshot()).await.unwrap(), [7, 8]);
    let before = reopened.snapshot_at(2).await.unwrap();
    assert_eq!(ids_of(&before).await.unwrap(), [1, 2, 3]);
    let info = &reopened.snapshot().history(1).await.unwrap()[0];
    assert_eq!(info.info.operation.as_deref(), Some("WRITE"));
    let nothing: Vec<RecordBatch> = Vec::new();
    let emptied = table.overwrite(nothing).await.unwrap();
    assert_eq!((emptied.version, emptied.files_removed), (4, 1));
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [] as [i64; 0]);
}

/// Tombstones say which values went, so that other writers need not fear for what they read: but not so many that the
/// commit is mostly that.
#[tokio::test]
async fn tombstones_say_bounds_unless_there_are_very_many() {
    for (files, bounded) in [(10_000, true), (10_001, false)] {
        let store = Faulty::default();
        let table = create(&store).await;
        let added = |n| {
            let stats = r#"{\"numRecords\":1,\"minValues\":{\"id\":1},\"maxValues\":{\"id\":1},\"nullCount\":{\"id\":0}}"#;
            format!(
                r#"{{"add":{{"path":"{n}.parquet","partitionValues":{{}},"size":9,"modificationTime":0,"dataChange":true,"stats":"{stats}"}}}}"#
            )
        };
        let lines: Vec<String> = (0..files).map(added).collect();
        store.place(&commit_key(1), lines.join("\n")).await;
        table.overwrite(ids([7])).await.unwrap();
        let bytes = store.bytes(&commit_key(2)).await;
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let tombstones = text.lines().filter(|line| line.contains("\"remove\""));
        let says_bounds: Vec<bool> = tombstones.map(|line| line.contains("numRecords")).collect();
        assert_eq!(says_bounds, vec![bounded; files]);
        let left = ids_of(&table.refresh().await.unwrap()).await.unwrap();
        assert_eq!(left, [7]);
    }
}

/// P09: overwriting at once never multiplies rows; each version holds one writer's rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn p09_d_3_overwriters_at_once_never_multiply_rows() {
    let store = Faulty::default();
    create(&store).await;
    let mut writers = Vec::new();
    for id in 0..6_i64 {
        let store = store.clone();
        writers.push(tokio::spawn(async move {
            let table = open(&store).await.unwrap();
            for round in 0..4 {
                let values = [id * 100 + round * 10, id * 100 + round * 10 + 1];
                table.overwrite(ids(values)).await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let table = open(&store).await.unwrap();
    assert_eq!(table.snapshot().version(), 24);
    for version in 1..=24_u64 {
        let found = ids_of(&table.snapshot_at(version).await.unwrap())
            .await
            .unwrap();
        assert_eq!(found.len(), 2, "version {version}");
        assert_eq!(found[0] + 1, found[1]);
    }
}

#[tokio::test]
async fn only_the_partitions_of_the_new_rows_are_replaced() {
    let store = Faulty::default();
    let table = partitioned(&store).await;
    let first = [(1, Some(1)), (2, Some(2)), (3, None), (4, Some(1))];
    table.append(rows(&first)).await.unwrap();
    let new = rows(&[(10, Some(1)), (30, None)]);
    let commit = table.overwrite(new).partitions_of_rows().await.unwrap();
    assert_eq!(commit.files_removed, 2);
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [2, 10, 30]);
    let plain = create(&Faulty::default()).await;
    let refused = plain
        .overwrite(ids([1]))
        .partitions_of_rows()
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn only_the_rows_of_a_condition_are_replaced_and_the_new_ones_must_meet_it() {
    let store = Faulty::default();
    let table = partitioned(&store).await;
    table
        .append(rows(&[(1, Some(1)), (2, Some(2)), (3, None), (4, Some(1))]))
        .await
        .unwrap();
    let small = col("id").lt(4).and(col("day").eq(1));
    let refused = table
        .overwrite(rows(&[(3, Some(1)), (5, Some(1)), (2, Some(2))]))
        .matching(small.clone());
    let refused = refused.await.unwrap_err();
    assert_eq!(refused.context_value("rows"), Some("2"));
    assert_eq!(table.refresh().await.unwrap().version(), 1);
    let commit = table
        .overwrite(rows(&[(0, Some(1))]))
        .matching(small)
        .await
        .unwrap();
    assert_eq!(
        (commit.rows_deleted, commit.rows_inserted, commit.rows),
        (1, 1, 2)
    );
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [0, 2, 3, 4]);
}

/// The time of the statement is one for the rows that go and for those that come.
#[tokio::test]
async fn rows_are_replaced_by_a_condition_that_asks_for_the_time() {
    let store = Faulty::default();
    let schema = Schema::new([
        Field::new("id", DataType::LONG, false),
        Field::new("d", DataType::DATE, true),
    ]);
    let table = Table::create_in(storage(&store), Environment::system(), schema.unwrap());
    let table = table.await.unwrap();
    // Days of 1970 and of 2243.
    let rows = |rows: &[(i64, i32)]| {
        let id: Int64Array = rows.iter().map(|row| Some(row.0)).collect();
        let d: Date32Array = rows.iter().map(|row| Some(row.1)).collect();
        let columns = [("id", Arc::new(id) as _), ("d", Arc::new(d) as _)];
        RecordBatch::try_from_iter(columns).unwrap()
    };
    let (past, future) = (9, 99_999);
    let first = rows(&[(1, past), (2, future), (3, past)]);
    table.append(first).await.unwrap();
    let to_come = Predicate::parse("d >= current_date()").unwrap();
    let refused = table
        .overwrite(rows(&[(4, past)]))
        .matching(to_come.clone());
    let refused = refused.await.unwrap_err();
    assert_eq!(refused.code(), Code::RowsRejected, "{refused}");
    let overwrite = table.overwrite(rows(&[(5, future)]));
    let commit = overwrite.matching(to_come).await.unwrap();
    assert_eq!((commit.rows_deleted, commit.rows_inserted), (1, 1));
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [1, 3, 5]);
}

#[tokio::test]
async fn a_schema_is_replaced_on_request_only() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1])).await.unwrap();
    let names = Arc::new(StringArray::from(vec!["a"])) as _;
    let other = RecordBatch::try_from_iter([("name", names)]).unwrap();
    let refused = table.overwrite(other.clone()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    table.overwrite(other).replace_schema().await.unwrap();
    assert_eq!(table.snapshot().schema().fields()[0].name, "name");
    let before = table.snapshot_at(1).await.unwrap();
    assert_eq!(ids_of(&before).await.unwrap(), [1]);
}

/// Append-only Tables: rows are never removed.
/// Names are found without regard to case, but partition values stand under the name that the schema has.
#[tokio::test]
async fn a_replaced_schema_spells_partition_columns_anew() {
    let store = Faulty::default();
    let table = partitioned(&store).await;
    table.append(rows(&[(1, Some(1))])).await.unwrap();
    let other = RecordBatch::try_from_iter([
        ("DAY", Arc::new(Int32Array::from(vec![7])) as _),
        ("id", Arc::new(Int64Array::from(vec![2])) as _),
    ])
    .unwrap();
    table.overwrite(other).replace_schema().await.unwrap();
    assert_eq!(table.snapshot().partition_columns(), ["DAY"]);
    let reopened = open(&store).await.unwrap();
    let found = reopened.snapshot().scan().filter_sql("day = 7").unwrap();
    let found = found.collect().await.unwrap();
    assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
}

#[tokio::test]
async fn an_append_only_table_is_not_overwritten() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1])).await.unwrap();
    table
        .alter()
        .set_property("delta.appendOnly", "true")
        .await
        .unwrap();
    let refused = table.overwrite(ids([2])).await.unwrap_err();
    assert!(refused.message().contains("delta.appendOnly"), "{refused}");
    assert_eq!(ids_of(&table.refresh().await.unwrap()).await.unwrap(), [1]);
}

#[tokio::test]
async fn verbs_of_one_transaction_see_each_other_and_land_together() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1])).await.unwrap();
    let field = Field::new("note", DataType::STRING, true);
    let note = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![9])) as _),
        ("note", Arc::new(StringArray::from(vec!["x"])) as _),
    ])
    .unwrap();
    let transaction = table.transaction().then(table.overwrite(ids([2])));
    let transaction = transaction.then(table.append(ids([3])).exactly_once("job", 4));
    let transaction = transaction.then(table.alter().add_column(field));
    let commit = transaction.then(table.append(note)).commit().await.unwrap();
    assert_eq!(
        (commit.version, commit.rows_inserted, commit.files),
        (2, 3, 3)
    );
    let reopened = open(&store).await.unwrap();
    assert_eq!(ids_of(&reopened.snapshot()).await.unwrap(), [2, 3, 9]);
    assert_eq!(reopened.snapshot().app_version("job"), Some(4));
    let noted = reopened.snapshot().scan().filter_sql("note = 'x'").unwrap();
    assert_eq!(noted.collect().await.unwrap()[0].num_rows(), 1);

    // What was staged and then replaced is nowhere.
    let replaced = table
        .transaction()
        .then(table.append(ids([5])))
        .then(table.overwrite(ids([6])));
    let commit = replaced.commit().await.unwrap();
    assert_eq!((commit.files, commit.files_removed), (1, 3));
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [6]);

    let failing = table.transaction().then(table.append(ids([7])));
    let failing = failing.then(table.alter().drop_column("nothing"));
    assert_eq!(
        failing.commit().await.unwrap_err().kind(),
        ErrorKind::Invalid
    );
    assert_eq!(ids_of(&table.refresh().await.unwrap()).await.unwrap(), [6]);

    let elsewhere = Table::create("memory:///another-table", crate::support::id_schema());
    let elsewhere = elsewhere.await.unwrap();
    let mixed = table
        .transaction()
        .then(elsewhere.append(ids([1])))
        .commit()
        .await;
    assert_eq!(mixed.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_transaction_that_an_application_repeats_lands_once() {
    let store = Faulty::default();
    let table = create(&store).await;
    for _ in 0..2 {
        let first = table.append(ids([1])).exactly_once("a", 1);
        let second = table.append(ids([2])).exactly_once("b", 1);
        table
            .transaction()
            .then(first)
            .then(second)
            .commit()
            .await
            .unwrap();
    }
    assert_eq!(
        ids_of(&table.refresh().await.unwrap()).await.unwrap(),
        [1, 2]
    );
}

#[tokio::test]
async fn a_change_of_rows_is_done_once_however_often_it_is_asked_for() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1, 2, 3])).await.unwrap();
    let plus = headwater::predicate::Expression::parse("id + 10").unwrap();
    for round in 0..3 {
        let update = table
            .update()
            .set("id", plus.clone())
            .filter(col("id").gt(1));
        let transaction = table.transaction().exactly_once("job", 1).then(update);
        let commit = transaction.commit().await.unwrap();
        assert_eq!(commit.status == CommitStatus::Committed, round == 0);
    }
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [1, 12, 13]);
    let nothing = table
        .transaction()
        .exactly_once("job", 2)
        .then(table.delete(col("id").gt(99)));
    assert_eq!(
        nothing.commit().await.unwrap().status,
        CommitStatus::Committed
    );
    assert_eq!(table.snapshot().app_version("job"), Some(2));
}
