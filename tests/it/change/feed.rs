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

/// Rows that a version tells of, by what is left when those that went and those that came are held against each other.
fn net(told: &[Change]) -> BTreeMap<(i64, i64, String), i64> {
    let mut net = BTreeMap::new();
    for (kind, id, v, p) in told {
        let sign = match kind.as_str() {
            "insert" | "update_postimage" => 1,
            "delete" | "update_preimage" => -1,
            other => panic!("{other}"),
        };
        *net.entry((*id, *v, p.clone())).or_default() += sign;
    }
    net.retain(|_, count| *count != 0);
    net
}

/// Change Data Files: where a version has them they are all that its readers see, so new rows beside them are in them.
#[test]
fn rows_that_are_replaced_are_told_with_those_that_replace_them() {
    for marks in [false, true] {
        block_on(async {
            let store = Faulty::default();
            let table = create(&store, marks).await;
            // A part of the file of `a`, all of that of `c/d`.
            let condition = col("id").is_in([1, 5, 6]);
            let new = rows(&[(6, 60, "b"), (1, 11, "a")]);
            let commit = table.overwrite(new).matching(condition).await.unwrap();
            assert_eq!((commit.rows_deleted, commit.rows_inserted), (2, 2));
            assert_eq!(
                told(&store, 2).await,
                changes(&[
                    ("delete", 1, 10, "a"),
                    ("delete", 5, 50, "c/d"),
                    ("insert", 1, 11, "a"),
                    ("insert", 6, 60, "b"),
                ])
            );
            // Whole files only: the log says it.
            let whole = table
                .overwrite(rows(&[(7, 70, "e")]))
                .matching(col("p").eq("b"));
            assert_eq!(
                whole.await.unwrap_err().kind(),
                headwater::ErrorKind::Invalid
            );
            let whole = table
                .overwrite(rows(&[(7, 70, "b")]))
                .matching(col("p").eq("b"));
            whole.await.unwrap();
            assert!(!actions(&store, 3).await.contains_key("cdc"));
        });
    }
}

/// Verbs of one transaction: where one of them tells the feed, so do all.
#[test]
fn what_the_verbs_of_a_transaction_do_is_told_together() {
    for marks in [false, true] {
        block_on(async {
            let store = Faulty::default();
            let table = create(&store, marks).await;
            let transaction = table.transaction().then(table.append(rows(&[
                (6, 60, "a"),
                (7, 70, "a"),
                (8, 80, "e"),
            ])));
            // Rows of a file that is there, and of one that is new.
            let transaction = transaction.then(table.delete(col("id").is_in([1, 6])));
            let update = table.update().set("v", col("v") + 1);
            let transaction = transaction.then(update.filter(col("id").is_in([2, 8])));
            // A file that is there, as a whole.
            let transaction = transaction.then(table.delete(col("p").eq("c/d")));
            let merge = table.merge(rows(&[(3, 31, "b"), (9, 90, "f")])).on(["id"]);
            let merge = merge.when_matched_delete().when_not_matched_insert_all();
            let commit = transaction.then(merge).commit().await.unwrap();
            assert_eq!(commit.version, 2);
            let expected = changes(&[
                ("delete", 1, 10, "a"),
                ("delete", 2, 20, "a"),
                ("insert", 2, 21, "a"),
                ("delete", 3, 30, "b"),
                ("delete", 5, 50, "c/d"),
                ("insert", 7, 70, "a"),
                ("insert", 8, 81, "e"),
                ("insert", 9, 90, "f"),
            ]);
            assert_eq!(net(&told(&store, 2).await), net(&expected));

            // All rows, after some of them: and what came and went in between is nowhere.
            let two = rows(&[(20, 0, "z"), (21, 0, "z")]);
            table.append(two).await.unwrap();
            let transaction = table.transaction().then(table.delete(col("id").eq(20)));
            let transaction = transaction.then(table.append(rows(&[(10, 0, "g")])));
            let transaction = transaction.then(table.overwrite(rows(&[(11, 0, "g")])));
            transaction.commit().await.unwrap();
            let expected = changes(&[
                ("delete", 2, 21, "a"),
                ("delete", 4, 40, "b"),
                ("delete", 7, 70, "a"),
                ("delete", 8, 81, "e"),
                ("delete", 9, 90, "f"),
                ("delete", 20, 0, "z"),
                ("delete", 21, 0, "z"),
                ("insert", 11, 0, "g"),
            ]);
            let told = told(&store, 4).await;
            assert_eq!(net(&told), net(&expected));
            assert!(told.iter().all(|(_, id, ..)| *id != 10));

            // Verbs that change no row in part need no files.
            let transaction = table
                .transaction()
                .then(table.append(rows(&[(12, 0, "h")])));
            let transaction = transaction.then(table.delete(col("p").eq("g")));
            transaction.commit().await.unwrap();
            assert!(!actions(&store, 5).await.contains_key("cdc"));
        });
    }
}

/// Rows that were told of and columns that they do not have are no commit.
#[test]
fn columns_that_change_beside_rows_are_refused() {
    block_on(async {
        let store = Faulty::default();
        let table = create(&store, true).await;
        let other = super::columns(vec![
            ("id", Arc::new(StringArray::from(vec!["x"]))),
            ("p", Arc::new(StringArray::from(vec!["x"]))),
        ]);
        let transaction = table.transaction().then(table.delete(col("id").eq(1)));
        let transaction = transaction.then(table.overwrite(other).replace_schema());
        let refused = transaction.commit().await.unwrap_err();
        assert_eq!(refused.kind(), headwater::ErrorKind::Unsupported);
        // A column more is no hindrance, nor is a feed that is enabled first.
        let x = || Field::new("x", DataType::LONG, true);
        let transaction = table.transaction().then(table.delete(col("id").eq(1)));
        let transaction = transaction.then(table.alter().add_column(x()));
        transaction.commit().await.unwrap();
        assert_eq!(told(&store, 2).await, changes(&[("delete", 1, 10, "a")]));
    });
}

/// Other engines take the rows of a removed file for deleted, those that its deletion vector took before among them, or
/// the other way round; files of the feed leave no doubt.
#[test]
fn rows_of_files_with_deletion_vectors_that_are_overwritten_are_told_in_files() {
    block_on(async {
        let store = Faulty::default();
        let table = create(&store, true).await;
        table.delete(col("id").eq(1)).await.unwrap();
        table.overwrite(rows(&[(7, 70, "b")])).await.unwrap();
        let expected = changes(&[
            ("delete", 2, 20, "a"),
            ("delete", 3, 30, "b"),
            ("delete", 4, 40, "b"),
            ("delete", 5, 50, "c/d"),
            ("insert", 7, 70, "b"),
        ]);
        assert_eq!(told(&store, 3).await, expected);
        // Without deletion vectors the log says it all.
        table.overwrite(rows(&[(8, 80, "b")])).await.unwrap();
        assert_eq!(told(&store, 4).await, []);
        // New columns cannot stand in files of the old ones.
        table
            .append(rows(&[(1, 10, "a"), (2, 20, "a")]))
            .await
            .unwrap();
        table.delete(col("id").eq(1)).await.unwrap();
        let other = super::columns(vec![
            ("id", Arc::new(Int64Array::from(vec![9]))),
            ("p", Arc::new(StringArray::from(vec!["a"]))),
        ]);
        table.overwrite(other).replace_schema().await.unwrap();
        assert_eq!(told(&store, 7).await, []);
    });
}
