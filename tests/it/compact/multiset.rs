//! Whatever a table holds, compaction keeps the multiset of its rows.

use arrow_cast::display::{ArrayFormatter, FormatOptions};
use headwater::arrow_array::builder::{Int64Builder, ListBuilder, MapBuilder, StringBuilder};
use headwater::arrow_array::{ArrayRef, Decimal128Array, Float64Array, StructArray};
use headwater::predicate::Predicate;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

fn schema() -> Schema {
    let nested = Schema::new([
        Field::new("x", DataType::LONG, true),
        Field::new("tags", DataType::array(DataType::STRING, true), true),
    ]);
    Schema::new([
        Field::new("id", DataType::LONG, false),
        Field::new("f", DataType::DOUBLE, true),
        Field::new("s", DataType::STRING, true),
        Field::new("p", DataType::STRING, true),
        Field::new("d", DataType::decimal(12, 2).unwrap(), true),
        Field::new("n", DataType::Struct(nested.unwrap()), true),
        Field::new(
            "m",
            DataType::map(DataType::STRING, DataType::LONG, true),
            true,
        ),
    ])
    .unwrap()
}

/// A few values that are often the same, and awkward.
fn rows_from(first: i64, count: i64, part: Option<&str>) -> RecordBatch {
    const FLOATS: [Option<f64>; 6] = [
        Some(f64::NAN),
        Some(-0.0),
        Some(0.0),
        None,
        Some(f64::NEG_INFINITY),
        Some(1.5),
    ];
    const TEXTS: [Option<&str>; 5] = [
        None,
        Some(""),
        Some("\u{e9}\u{4e2d}"),
        Some("a"),
        Some("%/'"),
    ];
    let ids: Vec<i64> = (first..first + count).collect();
    let pick =
        |id: i64, of: usize| (id.wrapping_mul(2_654_435_761) >> 7).rem_euclid(of as i64) as usize;
    let floats: Float64Array = ids.iter().map(|id| FLOATS[pick(*id, 6)]).collect();
    let texts: StringArray = ids.iter().map(|id| TEXTS[pick(*id, 5)]).collect();
    let decimals: Decimal128Array = ids
        .iter()
        .map(|id| (pick(*id, 4) != 0).then_some(i128::from(*id % 100)))
        .collect();
    let mut tags = ListBuilder::new(StringBuilder::new());
    let mut xs = Int64Builder::new();
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    for id in &ids {
        match pick(*id, 3) {
            0 => tags.append_null(),
            1 => tags.append_value(Vec::<Option<&str>>::new()),
            _ => tags.append_value([Some("t"), None]),
        }
        xs.append_option((pick(*id, 2) == 0).then_some(*id % 3));
        for entry in 0..pick(*id, 3) {
            maps.keys().append_value(format!("k{entry}"));
            maps.values().append_option((entry == 0).then_some(*id % 5));
        }
        maps.append(pick(*id, 7) != 0).unwrap();
    }
    let (xs, tags): (ArrayRef, ArrayRef) = (Arc::new(xs.finish()), Arc::new(tags.finish()));
    let field = |name: &str, array: &ArrayRef| {
        let ty = array.data_type().clone();
        Arc::new(arrow_schema::Field::new(name, ty, true))
    };
    let nested = StructArray::from(vec![
        (field("x", &xs), xs.clone()),
        (field("tags", &tags), tags),
    ]);
    let decimals = decimals.with_precision_and_scale(12, 2).unwrap();
    RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(Int64Array::from(ids)) as ArrayRef, false),
        ("f", Arc::new(floats) as _, true),
        ("s", Arc::new(texts) as _, true),
        (
            "p",
            Arc::new(StringArray::from(vec![part; count as usize])) as _,
            true,
        ),
        ("d", Arc::new(decimals) as _, true),
        ("n", Arc::new(nested) as _, true),
        ("m", Arc::new(maps.finish()) as _, true),
    ])
    .unwrap()
}

/// All rows as text, sorted.
async fn multiset(table: &Table) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let mut rows = Vec::new();
    for batch in table.snapshot().scan().collect().await.unwrap() {
        let columns = batch.columns().iter();
        let columns: Vec<_> = columns
            .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let values = columns.iter().map(|column| column.value(row).to_string());
            rows.push(values.collect::<Vec<_>>().join("|"));
        }
    }
    rows.sort_unstable();
    rows
}

#[derive(Debug, Clone)]
struct Shape {
    mapped: bool,
    vectors: bool,
    sorted: bool,
    /// How many rows each append has, and in which partition.
    appends: Vec<(i64, usize)>,
    /// Rows whose id modulo the first is the second are deleted.
    deletes: Vec<(i64, i64)>,
    target: u64,
}

fn shapes() -> impl Strategy<Value = Shape> {
    let appends = prop::collection::vec((1_i64..120, 0_usize..3), 2..9);
    let deletes = prop::collection::vec((2_i64..9, 0_i64..3), 0..3);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (flags, appends, deletes, 3_000_u64..40_000).prop_map(|(flags, appends, deletes, target)| {
        let (mapped, vectors, sorted) = flags;
        Shape {
            mapped,
            vectors,
            sorted,
            appends,
            deletes,
            target,
        }
    })
}

async fn check(shape: Shape) {
    let store = Faulty::default();
    let mode = if shape.mapped { "name" } else { "none" };
    let mut create = Table::create_in(storage(&store), Environment::system(), schema())
        .partition_by(["p"])
        .property("delta.columnMapping.mode", mode)
        .property("delta.enableDeletionVectors", shape.vectors.to_string());
    if shape.sorted {
        create = create.property("headwater.sortColumns", "f,s,d");
    }
    let table = create.await.unwrap();
    let mut first = 0;
    for (count, part) in &shape.appends {
        let part = [None, Some("a b"), Some("50%")][*part];
        table.append(rows_from(first, *count, part)).await.unwrap();
        first += count;
    }
    for (modulus, rest) in &shape.deletes {
        let rows = Predicate::parse(&format!("id % {modulus} = {rest}"));
        table.delete(rows.unwrap()).await.unwrap();
    }
    let before = multiset(&table).await;
    let compact = || table.compact().target_file_bytes(shape.target);
    let done = compact().await.unwrap();
    if done.version.is_some() {
        assert_ne!(done.rows, 0);
    }
    assert_eq!(multiset(&open(&store).await.unwrap()).await, before);
    assert_eq!(compact().await.unwrap().version, None, "a second run");
}

#[test]
fn compaction_keeps_the_multiset_of_rows() {
    let cases = std::env::var("HEADWATER_CASES").ok();
    let cases = cases.and_then(|cases| cases.parse().ok());
    let mut runner = TestRunner::new(Config {
        cases: cases.unwrap_or(24),
        failure_persistence: None,
        ..Config::default()
    });
    let ran = runner.run(&shapes(), |shape| {
        crate::support::block_on(check(shape));
        Ok(())
    });
    if let Err(failure) = ran {
        panic!("{failure}");
    }
}
