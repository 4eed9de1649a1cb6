//! Pruning never loses a row: scans are held against an interpreter of conditions that knows no statistics.

pub(crate) mod conditions;
pub(crate) mod foreign;
pub(crate) mod rows;
pub(crate) mod values;
mod vectors;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use headwater::arrow_array::RecordBatch;
use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::Int64Type;
use headwater::environment::Environment;
use headwater::predicate::Predicate;
use headwater::scan::Pruning;
use headwater::{Snapshot, Table};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use self::conditions::{Condition, conditions};
use self::rows::{COLUMNS, Chunk, PLAIN, Row, batch, chunks, read_back, schema};
use self::values::{Value, order};
use crate::support::store::Faulty;
use crate::support::{block_on, storage};

/// How a table is laid out.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) partitions: Vec<usize>,
    pub(crate) properties: Vec<(&'static str, &'static str)>,
    pub(crate) target_file_bytes: u64,
    /// After which append a checkpoint is written.
    pub(crate) checkpoint_after: Option<usize>,
}

pub(crate) fn layouts() -> impl Strategy<Value = Layout> {
    let partitions = prop_oneof![
        3 => Just(Vec::new()),
        2 => (0..PLAIN).prop_map(|column| vec![column]),
        1 => proptest::sample::subsequence((0..PLAIN).collect::<Vec<_>>(), 2),
    ];
    let properties = proptest::sample::select(vec![
        vec![],
        vec![("delta.checkpoint.writeStatsAsJson", "false")],
        vec![("delta.checkpoint.writeStatsAsStruct", "false")],
        vec![("delta.dataSkippingNumIndexedCols", "6")],
        vec![("delta.dataSkippingNumIndexedCols", "-1")],
        vec![("delta.dataSkippingStatsColumns", "f64,st.deep,s,id")],
    ]);
    let target = proptest::sample::select(vec![1, 3_000, 20_000, 1 << 30]);
    (
        partitions,
        properties,
        target,
        proptest::option::of(0_usize..3),
    )
        .prop_map(
            |(partitions, properties, target_file_bytes, checkpoint_after)| Layout {
                partitions,
                properties,
                target_file_bytes,
                checkpoint_after,
            },
        )
}

async fn build(layout: &Layout, chunks: &[Chunk]) -> (Snapshot, Vec<Row>) {
    let store = Faulty::default();
    let environment = Environment::system();
    let mut create = Table::create_in(storage(&store), environment.clone(), schema())
        .partition_by(layout.partitions.iter().map(|index| COLUMNS[*index].0));
    for (key, value) in &layout.properties {
        create = create.property(*key, *value);
    }
    let table = create.await.unwrap();
    let mut all = Vec::new();
    for (number, chunk) in chunks.iter().enumerate() {
        let rows = chunk.rows(all.len() as i64, &layout.partitions);
        let append = table
            .append(batch(&rows))
            .target_file_bytes(layout.target_file_bytes);
        assert_eq!(append.await.unwrap().rows, rows.len() as u64);
        all.extend(rows);
        if layout.checkpoint_after == Some(number) {
            table.checkpoint().await.unwrap();
        }
    }
    // Another process: what it knows comes from the log.
    let reader = Table::open_in(storage(&store), environment).await.unwrap();
    (reader.snapshot(), all)
}

fn ids_in(batches: &[RecordBatch]) -> Vec<i64> {
    let ids = batches.iter().flat_map(|batch| {
        batch
            .column(0)
            .as_primitive::<Int64Type>()
            .values()
            .to_vec()
    });
    let mut ids: Vec<i64> = ids.collect();
    ids.sort_unstable();
    ids
}

async fn ids(snapshot: &Snapshot, predicate: Predicate, pruning: Pruning) -> Vec<i64> {
    let scan = snapshot
        .scan()
        .filter(predicate)
        .select(["id"])
        .pruning(pruning);
    ids_in(&scan.collect().await.unwrap())
}

/// What went in comes out, every value of it.
pub(crate) async fn assert_whole(snapshot: &Snapshot, rows: &[Row]) {
    let mut found = BTreeMap::new();
    for batch in snapshot.scan().collect().await.unwrap() {
        for (id, values, has_struct, has_deep) in read_back(&batch) {
            assert!(found.insert(id, (values, has_struct, has_deep)).is_none());
        }
    }
    assert_eq!(found.len(), rows.len());
    for row in rows {
        let (values, has_struct, has_deep) = &found[&row.id];
        assert_eq!(
            (*has_struct, *has_deep),
            (row.has_struct, row.has_struct && row.has_deep)
        );
        for (found, put) in values.iter().zip(&row.values) {
            let same = match (found, put) {
                (Value::Null, Value::Null) => true,
                (Value::Null, _) | (_, Value::Null) => false,
                (found, put) => order(found, put).is_eq(),
            };
            assert!(same, "{found:?} is not {put:?}");
        }
    }
}

/// How much was left unread, over all cases: a test of pruning in which nothing is pruned shows nothing.
#[derive(Debug, Default)]
struct Left {
    files: AtomicU64,
    row_groups: AtomicU64,
    rows: AtomicU64,
}

impl Left {
    fn assert_some(&self, of: impl Fn(&Self) -> &AtomicU64) {
        assert!(100 < of(self).load(Ordering::Relaxed), "{self:?}");
    }
}

async fn assert_same(snapshot: &Snapshot, rows: &[Row], condition: &Condition, left: &Left) {
    let matching = rows.iter().filter(|row| condition.holds(row) == Some(true));
    let expected: Vec<i64> = matching.map(|row| row.id).collect();
    let predicate = condition.predicate();
    let pruned = ids(snapshot, predicate.clone(), Pruning::On).await;
    assert_eq!(pruned, expected, "pruned, {predicate}");
    let whole = ids(snapshot, predicate.clone(), Pruning::Off).await;
    assert_eq!(whole, expected, "unpruned, {predicate}");
    if let Some(sql) = condition.sql() {
        let parsed = Predicate::parse(&sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert_eq!(
            ids(snapshot, parsed, Pruning::On).await,
            expected,
            "as SQL, {sql}"
        );
    }
    // The rows in order, and some of them, and how many there are.
    let scan = snapshot.scan().filter(predicate);
    let mut stream = scan.clone().select(["id"]).stream().await.unwrap();
    let mut in_order = Vec::new();
    while let Some(batch) = futures::StreamExt::next(&mut stream).await {
        let batch = batch.unwrap();
        in_order.extend_from_slice(batch.column(0).as_primitive::<Int64Type>().values());
    }
    let limit = expected.len() / 2;
    let some = scan
        .clone()
        .select(["id"])
        .limit(limit as u64)
        .batch_rows(3);
    let some = some.collect().await.unwrap();
    let some = some
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values());
    assert_eq!(
        some.copied().collect::<Vec<_>>(),
        in_order[..limit],
        "{condition:?}"
    );
    let none: [&str; 0] = [];
    let counted = scan.select(none).collect().await.unwrap();
    let counted: usize = counted.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(counted, expected.len(), "{condition:?}");
    let counts = stream.counts();
    left.files
        .fetch_add(counts.plan.files_pruned, Ordering::Relaxed);
    left.row_groups
        .fetch_add(counts.row_groups_pruned, Ordering::Relaxed);
    left.rows.fetch_add(counts.rows_pruned, Ordering::Relaxed);
}

/// Runs a property; `HEADWATER_CASES` multiplies how often.
pub(crate) fn check<S: Strategy>(cases: u32, strategy: S, property: impl Fn(S::Value)) {
    let times = std::env::var("HEADWATER_CASES")
        .ok()
        .and_then(|times| times.parse().ok());
    let config = Config {
        cases: cases * times.unwrap_or(1),
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&strategy, |value| {
        property(value);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn a_pruned_scan_finds_what_an_interpreter_of_rows_finds() {
    let tables = (
        layouts(),
        proptest::collection::vec(chunks(0..24), 1..5),
        proptest::collection::vec(conditions(), 12),
    );
    let left = Left::default();
    check(24, tables, |(layout, chunks, conditions)| {
        block_on(async {
            let (snapshot, rows) = build(&layout, &chunks).await;
            assert_whole(&snapshot, &rows).await;
            for condition in &conditions {
                assert_same(&snapshot, &rows, condition, &left).await;
            }
        });
    });
    left.assert_some(|left| &left.files);
}
