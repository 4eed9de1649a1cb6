//! Files of more rows than a batch, in several row groups: what stands at the edges is neither lost nor doubled.

use std::collections::BTreeSet;
use std::sync::Arc;

use headwater::Table;
use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::Int64Type;
use headwater::arrow_array::{Int64Array, RecordBatch};
use headwater::environment::Environment;
use headwater::predicate::{Expression, Predicate, col};
use headwater::protocol::schema::{DataType, Field, Schema};
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use serde_json::json;

use crate::support::store::Faulty;
use crate::support::{block_on, commit_key, open, storage};

/// Rows of the file.
const ROWS: i64 = 20_001;
/// Rows of a row group.
const GROUP_ROWS: usize = 5_000;

fn batch(ids: impl Iterator<Item = i64> + Clone) -> RecordBatch {
    let values = Int64Array::from_iter_values(ids.clone().map(|id| id * 10));
    super::columns(vec![
        ("id", Arc::new(Int64Array::from_iter_values(ids))),
        ("v", Arc::new(values)),
    ])
}

/// A table of one file that another engine wrote.
async fn create(store: &Faulty, marks: bool) -> Table {
    let schema = Schema::new([
        Field::new("id", DataType::LONG, true),
        Field::new("v", DataType::LONG, true),
    ]);
    let create = Table::create_in(storage(store), Environment::system(), schema.unwrap());
    let word = if marks { "true" } else { "false" };
    let table = create
        .property("delta.enableDeletionVectors", word)
        .await
        .unwrap();
    let rows = batch(0..ROWS);
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_data_page_row_count_limit(1_000)
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), Some(properties)).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    let add = json!({ "add": {
        "path": "one.parquet", "partitionValues": {}, "size": bytes.len(), "modificationTime": 0, "dataChange": true,
    }});
    store.place(&Path::from("table/one.parquet"), bytes).await;
    store.place(&commit_key(1), add.to_string()).await;
    table
}

async fn read(store: &Faulty) -> Vec<(i64, i64)> {
    let table = open(store).await.unwrap();
    let mut rows = Vec::new();
    for batch in table.snapshot().scan().collect().await.unwrap() {
        let column = |index: usize| batch.column(index).as_primitive::<Int64Type>().clone();
        let (ids, values) = (column(0), column(1));
        rows.extend(
            ids.values()
                .iter()
                .copied()
                .zip(values.values().iter().copied()),
        );
    }
    rows.sort_unstable();
    rows
}

/// The first and the last row of every batch and of every row group, and their neighbours.
fn edges() -> Vec<i64> {
    let ends = [1, 1_024, 8_192, 16_384, 5_000, 10_000, 15_000, 20_000, ROWS];
    let near = ends.iter().flat_map(|end| [end - 2, end - 1, *end]);
    let edges: BTreeSet<i64> = near.filter(|id| (0..ROWS).contains(id)).collect();
    edges.into_iter().collect()
}

fn is_edge() -> Predicate {
    col("id").is_in(edges())
}

#[test]
fn p70_p72_rows_at_the_edges_of_batches_go_and_others_stay() {
    for marks in [false, true] {
        block_on(async {
            let store = Faulty::default();
            let table = create(&store, marks).await;
            let commit = table.delete(is_edge()).await.unwrap();
            assert_eq!(commit.rows_deleted, edges().len() as u64);
            let left: Vec<(i64, i64)> = (0..ROWS)
                .filter(|id| !edges().contains(id))
                .map(|id| (id, id * 10))
                .collect();
            assert_eq!(read(&store).await, left);
            // Again, where rows are gone already: every other row, and then all of a row group.
            let odd = (0..ROWS).filter(|id| id % 2 == 1);
            let odd = odd.filter(|id| !edges().contains(id)).collect::<Vec<_>>();
            let commit = table.delete(col("id").is_in(odd.clone())).await.unwrap();
            assert_eq!(commit.rows_deleted, odd.len() as u64);
            table.delete(col("id").between(5_000, 9_999)).await.unwrap();
            let left: Vec<(i64, i64)> = left
                .into_iter()
                .filter(|(id, _)| id % 2 == 0 && !(5_000..10_000).contains(id))
                .collect();
            assert_eq!(read(&store).await, left);
        });
    }
}

#[test]
fn p72_rows_at_the_edges_of_batches_change_and_others_stay() {
    for marks in [false, true] {
        block_on(async {
            let store = Faulty::default();
            let table = create(&store, marks).await;
            let update = table
                .update()
                .set("v", col("v") + col("id"))
                .filter(is_edge());
            let commit = update.await.unwrap();
            assert_eq!(commit.rows_updated, edges().len() as u64);
            let rows = if marks {
                edges().len() as u64
            } else {
                ROWS as u64
            };
            assert_eq!(commit.rows, rows, "rows written");
            let value = |id: i64| {
                if edges().contains(&id) {
                    id * 11
                } else {
                    id * 10
                }
            };
            let expected: Vec<(i64, i64)> = (0..ROWS).map(|id| (id, value(id))).collect();
            assert_eq!(read(&store).await, expected);
            let commit = table.update().set("v", 7_i64).await.unwrap();
            assert_eq!(commit.rows_updated, ROWS as u64);
            let expected: Vec<(i64, i64)> = (0..ROWS).map(|id| (id, 7)).collect();
            assert_eq!(read(&store).await, expected);
        });
    }
}

#[test]
fn p72_p74_keys_at_the_edges_of_batches_meet_and_others_do_not() {
    for marks in [false, true] {
        block_on(async {
            let store = Faulty::default();
            let table = create(&store, marks).await;
            let ids: Vec<i64> = edges().into_iter().chain([-1, ROWS + 5]).collect();
            let merge = table.merge(batch(ids.into_iter())).on(["id"]);
            let merge = merge
                .when_matched_update([("v", Expression::from(-1_i64))])
                .when_not_matched_insert_all();
            let commit = merge.await.unwrap();
            assert_eq!(
                (commit.rows_updated, commit.rows_inserted),
                (edges().len() as u64, 2)
            );
            let value = |id: i64| if edges().contains(&id) { -1 } else { id * 10 };
            let mut expected: Vec<(i64, i64)> = (0..ROWS).map(|id| (id, value(id))).collect();
            expected.extend([(-1, -10), (ROWS + 5, (ROWS + 5) * 10)]);
            expected.sort_unstable();
            assert_eq!(read(&store).await, expected);
        });
    }
}
