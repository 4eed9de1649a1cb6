//! What a table demands of its rows holds for rows that are changed, and adds to them; rows that stay are let be.

use std::sync::Arc;

use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::{Int32Type, Int64Type};
use headwater::arrow_array::{Array, Int8Array, Int64Array};
use headwater::predicate::{Expression, col};
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::{Code, Table};

use crate::rules::table;
use crate::support::store::Faulty;
use crate::support::{block_on, commit_key, ids, open};

/// Id, twice (computed of id), kind (42 by default), x (null, or above 3).
async fn read(table: &Table) -> Vec<(i64, i64, i32, Option<i64>)> {
    let mut rows = Vec::new();
    for batch in table.snapshot().scan().collect().await.unwrap() {
        let long = |index: usize| batch.column(index).as_primitive::<Int64Type>().clone();
        let (ids, twice, x) = (long(0), long(1), long(3));
        let kinds = batch.column(2).as_primitive::<Int32Type>().clone();
        rows.extend((0..batch.num_rows()).map(|row| {
            let x = x.is_valid(row).then(|| x.value(row));
            (ids.value(row), twice.value(row), kinds.value(row), x)
        }));
    }
    rows.sort_unstable();
    rows
}

#[test]
fn changed_rows_are_computed_anew_and_get_defaults() {
    block_on(async {
        let store = Faulty::default();
        let table = table(&store).await;
        table.append(ids([1, 2])).await.unwrap();
        let update = table
            .update()
            .set("id", col("id") + 10)
            .set("kind", col("twice"));
        update.filter(col("id").eq(2)).await.unwrap();
        assert_eq!(read(&table).await, [(1, 2, 42, None), (12, 24, 4, None)]);
        let source = super::columns(vec![
            ("id", Arc::new(Int64Array::from(vec![12, 7]))),
            ("x", Arc::new(Int64Array::from(vec![5, 6]))),
        ]);
        let merge = table.merge(source).on(["id"]);
        let merge = merge
            .when_matched_update([("id", Expression::parse("source.id + 1").unwrap())])
            .when_not_matched_insert_all();
        merge.await.unwrap();
        let table = open(&store).await.unwrap();
        let expected = [(1, 2, 42, None), (7, 14, 42, Some(6)), (13, 26, 4, None)];
        assert_eq!(read(&table).await, expected);
    });
}

#[test]
fn changes_that_break_a_rule_change_nothing() {
    block_on(async {
        let store = Faulty::default();
        let table = table(&store).await;
        table.append(ids([1, 2])).await.unwrap();
        let before = table.snapshot().version();
        let refused = [
            table.update().set("id", col("id") - 1).await,
            table
                .update()
                .set("id", Expression::parse("NULL").unwrap())
                .await,
            table.update().set("x", 3_i64).filter(col("id").eq(1)).await,
            table.update().set("twice", 3_i64).await,
            table
                .merge(ids([-1]))
                .on(["id"])
                .when_not_matched_insert_all()
                .await,
        ];
        for outcome in refused {
            assert_eq!(outcome.unwrap_err().code(), Code::RowsRejected);
        }
        assert_eq!(table.refresh().await.unwrap().version(), before);
    });
}

/// Another writer may have added the constraint without a look at the rows: to delete some is no reason to refuse.
#[test]
fn rows_that_stay_are_not_held_against_rules() {
    block_on(async {
        let store = Faulty::default();
        let table = crate::support::create(&store).await;
        table.append(ids([1, 2, 3])).await.unwrap();
        let log = storage_text(&store, 0).await;
        let metadata = log.lines().find(|line| line.contains("metaData")).unwrap();
        let protocol = r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":3}}"#;
        let mut constrained: serde_json::Value = serde_json::from_str(metadata).unwrap();
        constrained["metaData"]["configuration"]["delta.constraints.large"] = "id > 100".into();
        store
            .place(&commit_key(2), format!("{protocol}\n{constrained}\n"))
            .await;
        let table = open(&store).await.unwrap();
        assert_eq!(
            table.append(ids([4])).await.unwrap_err().code(),
            Code::RowsRejected
        );
        table.delete(col("id").eq(2)).await.unwrap();
        let update = table
            .update()
            .set("id", col("id") + 100)
            .filter(col("id").eq(3));
        update.await.unwrap();
        assert_eq!(
            crate::support::ids_of(&table.snapshot()).await.unwrap(),
            [1, 103]
        );
    });
}

async fn storage_text(store: &Faulty, version: u64) -> String {
    let storage = crate::support::storage(store);
    let log = storage
        .get(&format!("_delta_log/{version:020}.json"))
        .await
        .unwrap();
    String::from_utf8(log.to_vec()).unwrap()
}

/// Spark's ANSI store assignment: numbers fit or are an error, text is no number.
#[test]
fn values_are_brought_to_the_type_of_their_column() {
    block_on(async {
        let store = Faulty::default();
        let schema = Schema::new([
            Field::new("small", DataType::BYTE, true),
            Field::new("text", DataType::STRING, true),
        ]);
        let storage = crate::support::storage(&store);
        let environment = headwater::environment::Environment::system();
        let table = Table::create_in(storage, environment, schema.unwrap())
            .await
            .unwrap();
        let batch = super::columns(vec![("small", Arc::new(Int8Array::from(vec![1, 2])))]);
        table.append(batch).await.unwrap();
        table
            .update()
            .set("small", 100_i64)
            .set("text", col("small"))
            .await
            .unwrap();
        let rows = table
            .snapshot()
            .scan()
            .filter_sql("small = 100 AND text IN ('1', '2')")
            .unwrap();
        assert_eq!(rows.collect().await.unwrap()[0].num_rows(), 2);
        let large = table.update().set("small", 300_i64).await.unwrap_err();
        assert_eq!(large.context_value("column"), Some("small"), "{large:?}");
        assert!(!large.to_string().contains("300"), "{large:?}");
        let text = table.update().set("small", col("text")).await.unwrap_err();
        assert_eq!(text.kind(), headwater::ErrorKind::Invalid, "{text:?}");
    });
}
