//! The change feed: files in `_change_data` tell exactly what happened to each row.
//!
//! Spec: PROTOCOL.md, "Add CDC File", "Writer Requirements for AddCDCFile".

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater::Table;
use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::Int64Type;
use headwater::arrow_array::{Int64Array, RecordBatch, StringArray};
use headwater::environment::Environment;
use headwater::predicate::{Predicate, col};
use headwater::protocol::schema::{DataType, Field, Schema};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::support::store::Faulty;
use crate::support::{block_on, storage};

/// Kind of change, id, value, partition.
type Change = (String, i64, i64, String);

fn rows(rows: &[(i64, i64, &str)]) -> RecordBatch {
    let ints = |of: fn(&(i64, i64, &str)) -> i64| Int64Array::from_iter_values(rows.iter().map(of));
    super::columns(vec![
        ("id", Arc::new(ints(|row| row.0))),
        ("v", Arc::new(ints(|row| row.1))),
        (
            "p",
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.2))),
        ),
    ])
}

async fn create(store: &Faulty, marks: bool) -> Table {
    let schema = Schema::new([
        Field::new("id", DataType::LONG, true),
        Field::new("v", DataType::LONG, true),
        Field::new("p", DataType::STRING, true),
    ]);
    let create = Table::create_in(storage(store), Environment::system(), schema.unwrap());
    let create = create
        .partition_by(["p"])
        .property("delta.enableChangeDataFeed", "true");
    let word = if marks { "true" } else { "false" };
    let table = create
        .property("delta.enableDeletionVectors", word)
        .await
        .unwrap();
    table
        .append(rows(&[
            (1, 10, "a"),
            (2, 20, "a"),
            (3, 30, "b"),
            (4, 40, "b"),
            (5, 50, "c/d"),
        ]))
        .await
        .unwrap();
    table
}

/// The actions of a version by their names.
async fn actions(store: &Faulty, version: u64) -> BTreeMap<String, Vec<Value>> {
    let storage = storage(store);
    let log = storage
        .get(&format!("_delta_log/{version:020}.json"))
        .await
        .unwrap();
    let mut actions: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in std::str::from_utf8(&log).unwrap().lines() {
        let action: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
        for (name, value) in action {
            actions.entry(name).or_default().push(value);
        }
    }
    actions
}

/// What the files of a version tell.
async fn told(store: &Faulty, version: u64) -> Vec<Change> {
    let mut told = Vec::new();
    for cdc in actions(store, version)
        .await
        .remove("cdc")
        .unwrap_or_default()
    {
        assert_eq!(cdc["dataChange"], false);
        assert_eq!(cdc.get("stats"), None);
        let path = cdc["path"].as_str().unwrap();
        assert!(path.starts_with("_change_data/p="), "{path}");
        let key = percent_encoding::percent_decode_str(path)
            .decode_utf8()
            .unwrap();
        let bytes = storage(store).get(&key).await.unwrap();
        assert_eq!(cdc["size"], bytes.len());
        let partition = cdc["partitionValues"]["p"].as_str().unwrap().to_owned();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            let column = |name: &str| batch.column_by_name(name).unwrap().clone();
            assert!(batch.column_by_name("p").is_none());
            let (ids, values, kinds) = (column("id"), column("v"), column("_change_type"));
            for row in 0..batch.num_rows() {
                told.push((
                    kinds.as_string::<i32>().value(row).to_owned(),
                    ids.as_primitive::<Int64Type>().value(row),
                    values.as_primitive::<Int64Type>().value(row),
                    partition.clone(),
                ));
            }
        }
    }
    told.sort();
    told
}

fn changes(changes: &[(&str, i64, i64, &str)]) -> Vec<Change> {
    let mut changes: Vec<Change> = changes
        .iter()
        .map(|(kind, id, v, p)| ((*kind).to_owned(), *id, *v, (*p).to_owned()))
        .collect();
    changes.sort();
    changes
}

#[test]
fn rows_that_are_marked_or_copied_are_told() {
    for marks in [false, true] {
        block_on(async {
            let store = Faulty::default();
            let table = create(&store, marks).await;
            table.delete(col("id").is_in([1, 5])).await.unwrap();
            // One file goes as a whole, but beside it rows are told, so those of it are, too.
            assert_eq!(
                told(&store, 2).await,
                changes(&[("delete", 1, 10, "a"), ("delete", 5, 50, "c/d")])
            );
            let update = table.update().set("v", col("v") + 1).set("p", "b");
            update.filter(col("id").lt(4)).await.unwrap();
            assert_eq!(
                told(&store, 3).await,
                changes(&[
                    ("update_preimage", 2, 20, "a"),
                    ("update_postimage", 2, 21, "b"),
                    ("update_preimage", 3, 30, "b"),
                    ("update_postimage", 3, 31, "b"),
                ])
            );
            let source = rows(&[(2, 0, "b"), (3, 99, "b"), (7, 70, "z")]);
            let merge = table.merge(source).on(["id"]).when_matched_delete();
            let merge = merge
                .only_if(col("source.v").eq(0))
                .when_matched_update_all();
            merge.when_not_matched_insert_all().await.unwrap();
            assert_eq!(
                told(&store, 4).await,
                changes(&[
                    ("delete", 2, 21, "b"),
                    ("update_preimage", 3, 31, "b"),
                    ("update_postimage", 3, 99, "b"),
                    ("insert", 7, 70, "z"),
                ])
            );
        });
    }
}

/// Trap 86: a delete of whole files needs no files of changes, nor does an insert.
#[test]
fn whole_files_are_told_by_the_log_alone() {
    block_on(async {
        let store = Faulty::default();
        let table = create(&store, true).await;
        table.delete(col("p").eq("a")).await.unwrap();
        let merge = table.merge(rows(&[(8, 80, "e")])).on(["id"]);
        merge.when_not_matched_insert_all().await.unwrap();
        table
            .delete(Predicate::parse("TRUE").unwrap())
            .await
            .unwrap();
        for version in [2, 3, 4] {
            assert!(!actions(&store, version).await.contains_key("cdc"));
        }
        assert!(!actions(&store, 4).await.contains_key("add"));
    });
}

#[test]
fn a_column_of_the_feeds_own_name_is_refused() {
    block_on(async {
        let store = Faulty::default();
        let schema = Schema::new([Field::new("_change_type", DataType::LONG, true)]).unwrap();
        let create = Table::create_in(storage(&store), Environment::system(), schema);
        let table = create
            .property("delta.enableChangeDataFeed", "true")
            .await
            .unwrap();
        let column = Arc::new(Int64Array::from(vec![1, 2]));
        table
            .append(super::columns(vec![("_change_type", column)]))
            .await
            .unwrap();
        let refused = table.delete(col("_change_type").eq(1)).await.unwrap_err();
        assert_eq!(refused.context_value("column"), Some("_change_type"));
    });
}
