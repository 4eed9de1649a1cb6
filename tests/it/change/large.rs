//! Files of more rows than a batch, in several row groups: what stands at the edges is neither lost nor doubled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headwater::Table;
use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::{Int32Type, Int64Type};
use headwater::arrow_array::{Int32Array, Int64Array, RecordBatch};
use headwater::environment::Environment;
use headwater::predicate::{Expression, Predicate, col};
use headwater::protocol::schema::{DataType, Field, Schema};
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;
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

/// P70: a deletion vector whose last row stands long before the end of the file hides no row after it, in batches of
/// whatever size.
#[test]
fn p70_rows_after_the_last_deleted_one_are_read() {
    for last in [
        0, 1, 1_023, 1_024, 4_999, 5_000, 8_191, 8_192, 8_193, 19_999,
    ] {
        block_on(async {
            let store = Faulty::default();
            let table = create(&store, true).await;
            let gone: Vec<i64> = [0, 1, 700, 4_998, last]
                .into_iter()
                .filter(|id| *id <= last)
                .collect();
            table.delete(col("id").is_in(gone.clone())).await.unwrap();
            let left: Vec<i64> = (0..ROWS).filter(|id| !gone.contains(id)).collect();
            // One row at a time is slow: of the last row groups only.
            for (batch_rows, from) in [(1, 15_000), (1_024, 0), (ROWS as usize, 0), (8_192, 0)] {
                let scan = open(&store).await.unwrap().snapshot().scan();
                let scan = scan.select(["id"]).batch_rows(batch_rows);
                let scan = scan.filter(col("id").gt_eq(from));
                let mut found: Vec<i64> = Vec::new();
                for batch in scan.collect().await.unwrap() {
                    assert!(batch.num_rows() <= batch_rows);
                    found.extend(batch.column(0).as_primitive::<Int64Type>().values());
                }
                found.sort_unstable();
                let expected = left.iter().copied().filter(|id| from <= *id);
                assert!(found.iter().copied().eq(expected), "{last}, {batch_rows}");
            }
            // What is found to be changed stands where it stood.
            let next = last + 1;
            let commit = table
                .delete(col("id").gt_eq(next).and(col("id").lt(next + 2)))
                .await;
            let left: Vec<(i64, i64)> = left
                .into_iter()
                .filter(|id| !(next..next + 2).contains(id))
                .map(|id| (id, id * 10))
                .collect();
            assert_eq!(commit.unwrap().rows_deleted, 2.min(ROWS - next) as u64);
            assert_eq!(read(&store).await, left);
        });
    }
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

/// A row of the tables below: key, partition, value.
type Row = (Option<i64>, i32, Option<i64>);

/// A change of rows.
#[derive(Debug, Clone)]
enum Op {
    Delete(Which),
    Update(Which, i64),
    /// Keys from one on, so many, every so many; and how many rows are in a batch.
    Merge(i64, i64, i64, usize),
}

/// Rows, by what they have in common.
#[derive(Debug, Clone)]
enum Which {
    Ids(i64, i64),
    Part(i32),
    NoValue,
    /// Those of which the value has this remainder.
    Every(i64, i64),
}

impl Which {
    fn holds(&self, row: &Row) -> bool {
        match self {
            Self::Ids(low, high) => row.0.is_some_and(|id| (*low..*high).contains(&id)),
            Self::Part(part) => row.1 == *part,
            Self::NoValue => row.2.is_none(),
            Self::Every(step, rest) => row.2.is_some_and(|value| value % step == *rest),
        }
    }

    fn predicate(&self) -> Predicate {
        match self {
            Self::Ids(low, high) => col("id").gt_eq(*low).and(col("id").lt(*high)),
            Self::Part(part) => col("p").eq(*part),
            Self::NoValue => col("v").is_null(),
            Self::Every(step, rest) => Predicate::parse(&format!("v % {step} = {rest}")).unwrap(),
        }
    }
}

/// Ids near the ends of batches, row groups and files.
fn near_ends(group_rows: i64, first_rows: i64) -> impl Strategy<Value = i64> {
    let ends = vec![
        0,
        1_024,
        8_192,
        group_rows,
        2 * group_rows,
        first_rows,
        first_rows + 8_192,
    ];
    (proptest::sample::select(ends), -2_i64..3).prop_map(|(end, by)| end + by)
}

fn ops(group_rows: i64, first_rows: i64) -> impl Strategy<Value = Op> {
    let start = near_ends(group_rows, first_rows).boxed();
    let width = proptest::sample::select(vec![1_i64, 2, 3, 1_024, 8_192, 9_000]).boxed();
    let which = prop_oneof![
        5 => (start.clone(), width.clone()).prop_map(|(start, width)| Which::Ids(start, start + width)),
        1 => (0_i32..3).prop_map(Which::Part),
        1 => Just(Which::NoValue),
        2 => (2_i64..40, 0_i64..2).prop_map(|(step, rest)| Which::Every(step, rest)),
    ];
    let batch_rows = proptest::sample::select(vec![1_000, 8_192, 8_193, 20_000]);
    prop_oneof![
        3 => which.clone().prop_map(Op::Delete),
        3 => (which, 0_i64..50).prop_map(|(which, by)| Op::Update(which, by)),
        3 => (start, width, 1_i64..4, batch_rows)
            .prop_map(|(start, width, step, rows)| Op::Merge(start, width, step, rows)),
    ]
}

impl Op {
    /// The source of a merge: the last row has no key, and is not for any other.
    fn source(&self) -> Vec<Row> {
        let Self::Merge(start, width, step, _) = self else {
            return Vec::new();
        };
        let ids = (0..*width).map(|number| start + number * step);
        let row = |id: i64| {
            (
                Some(id),
                (id.rem_euclid(2)) as i32,
                (id % 5 != 0).then_some(-id),
            )
        };
        ids.map(row).chain([(None, 1, Some(-1))]).collect()
    }

    /// The rows after it, and how many it deletes, updates and inserts.
    fn apply(&self, rows: &mut Vec<Row>) -> [u64; 3] {
        let before = rows.len();
        let mut updated = 0;
        match self {
            Self::Delete(which) => rows.retain(|row| !which.holds(row)),
            Self::Update(which, by) => {
                for row in rows.iter_mut().filter(|row| which.holds(row)) {
                    row.2 = row.2.map(|value| value + by);
                    updated += 1;
                }
            }
            Self::Merge(..) => {
                let source = self.source();
                let by_key: BTreeMap<i64, &Row> = source
                    .iter()
                    .filter_map(|row| Some((row.0?, row)))
                    .collect();
                let mut met = BTreeSet::new();
                rows.retain_mut(|row| {
                    let Some(new) = row.0.and_then(|id| by_key.get(&id)) else {
                        return true;
                    };
                    met.insert(new.0);
                    if new.2.is_none() {
                        return false;
                    }
                    *row = **new;
                    updated += 1;
                    true
                });
                let deleted = before - rows.len();
                let new = source.iter().filter(|row| !met.contains(&row.0));
                let kept = rows.len();
                rows.extend(new);
                return [deleted as u64, updated, (rows.len() - kept) as u64];
            }
        }
        [(before - rows.len()) as u64, updated, 0]
    }

    async fn carry_out(&self, table: &Table) -> headwater::Commit {
        match self {
            Self::Delete(which) => table.delete(which.predicate()).await.unwrap(),
            Self::Update(which, by) => {
                let update = table.update().set("v", col("v") + *by);
                update.filter(which.predicate()).await.unwrap()
            }
            Self::Merge(.., batch_rows) => {
                let source = self.source();
                let batches: Vec<RecordBatch> =
                    source.chunks(*batch_rows).map(rows_batch).collect();
                let merge = table.merge(batches).on(["id"]).when_matched_delete();
                let merge = merge.only_if(col("source.v").is_null());
                let merge = merge.when_matched_update_all();
                merge.when_not_matched_insert_all().await.unwrap()
            }
        }
    }
}

fn rows_batch(rows: &[Row]) -> RecordBatch {
    super::columns(vec![
        (
            "id",
            Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.0))),
        ),
        (
            "p",
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.1))),
        ),
        (
            "v",
            Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.2))),
        ),
    ])
}

/// A table of two files that another engine wrote, each of one partition, in row groups of so many rows.
async fn place(store: &Faulty, marks: bool, files: [&[Row]; 2], group_rows: i64) -> Table {
    let schema = Schema::new([
        Field::new("id", DataType::LONG, true),
        Field::new("p", DataType::INTEGER, true),
        Field::new("v", DataType::LONG, true),
    ]);
    let create = Table::create_in(storage(store), Environment::system(), schema.unwrap());
    let create = create.partition_by(["p"]);
    let create = create.property("delta.enableDeletionVectors", marks.to_string());
    let table = create.await.unwrap();
    let mut adds = String::new();
    for (part, rows) in files.into_iter().enumerate() {
        let batch = rows_batch(rows).project(&[0, 2]).unwrap();
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(group_rows as usize))
            .set_data_page_row_count_limit(1_000)
            .build();
        let mut bytes = Vec::new();
        let mut writer =
            ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let mut add = json!({
            "path": format!("p={part}/one.parquet"), "partitionValues": {"p": part.to_string()},
            "size": bytes.len(), "modificationTime": 0, "dataChange": true,
        });
        if part == 1 {
            let (min, max) = (rows[0].0, rows[rows.len() - 1].0);
            let stats = json!({"numRecords": rows.len(), "minValues": {"id": min}, "maxValues": {"id": max},
                "nullCount": {"id": 0}});
            add["stats"] = stats.to_string().into();
        }
        adds += &format!("{}\n", json!({ "add": add }));
        let path = format!("table/p={part}/one.parquet");
        store.place(&Path::parse(path).unwrap(), bytes).await;
    }
    store.place(&commit_key(1), adds).await;
    table
}

/// P70, P72, P74: files of more rows than a batch, in several row groups, with partitions, nulls and deletion vectors,
/// against an interpreter of rows.
#[test]
fn p70_p72_p74_changes_of_large_files_do_what_an_interpreter_of_rows_does() {
    for group_rows in [3_000, 8_192] {
        let first_rows = 9_001_i64;
        let ops = proptest::collection::vec(ops(group_rows, first_rows), 3..6);
        let second = proptest::sample::select(vec![8_192_i64, 8_193, 10_000]);
        crate::pruning::check(4, (any::<bool>(), second, ops), |(marks, second, ops)| {
            block_on(async {
                let row = |part: i32| move |id: i64| (Some(id), part, (id % 7 != 0).then_some(id));
                let files: [Vec<Row>; 2] = [
                    (0..first_rows).map(row(0)).collect(),
                    (first_rows..first_rows + second).map(row(1)).collect(),
                ];
                let store = Faulty::default();
                let table = place(&store, marks, [&files[0], &files[1]], group_rows).await;
                let mut rows = files.concat();
                for op in &ops {
                    let counts = op.apply(&mut rows);
                    let commit = op.carry_out(&table).await;
                    let found = [
                        commit.rows_deleted,
                        commit.rows_updated,
                        commit.rows_inserted,
                    ];
                    assert_eq!(found, counts, "{op:?}");
                    rows.sort_unstable();
                    assert!(rows_of(&store).await == rows, "{op:?}");
                }
            });
        });
    }
}

async fn rows_of(store: &Faulty) -> Vec<Row> {
    let snapshot = open(store).await.unwrap().snapshot();
    let mut rows = Vec::new();
    for batch in snapshot
        .scan()
        .select(["id", "p", "v"])
        .collect()
        .await
        .unwrap()
    {
        let long = |at: usize| batch.column(at).as_primitive::<Int64Type>().clone();
        let parts = batch.column(1).as_primitive::<Int32Type>().clone();
        let (ids, values) = (long(0), long(2));
        let all = ids.iter().zip(parts.values().iter()).zip(values.iter());
        rows.extend(all.map(|((id, part), value)| (id, *part, value)));
    }
    rows.sort_unstable();
    rows
}
