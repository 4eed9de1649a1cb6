//! Tables that are awkward but right: names, partitions, empty rows, evolution, limits, wide and long values.

use std::sync::Arc;

use headwater::arrow_array::builder::{Int64Builder, ListBuilder, MapBuilder, StringBuilder};
use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::{Int32Type, Int64Type};
use headwater::arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    Float64Array, Int32Array, Int64Array, LargeStringArray, RecordBatch, RecordBatchOptions,
    StringArray, StringViewArray, StructArray, TimestampMicrosecondArray, TimestampNanosecondArray,
    UInt64Array,
};
use headwater::arrow_schema::{
    DataType as ArrowType, Field as ArrowField, Fields, Schema as ArrowSchema,
};
use headwater::environment::Environment;
use headwater::predicate::col;
use headwater::protocol::schema::{DataType, Field, PrimitiveType, Schema};
use headwater::scan::Pruning;
use headwater::{Batches, Code, ErrorKind, Scan, Snapshot, Table};

use crate::support::store::Faulty;
use crate::support::{commit_key, ids, ids_of, storage};

fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> RecordBatch {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn longs(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn texts<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

async fn create(store: &Faulty, schema: Schema, partitions: &[&str]) -> Table {
    let create = Table::create_in(storage(store), Environment::system(), schema);
    create
        .partition_by(partitions.iter().copied())
        .await
        .unwrap()
}

async fn reopened(store: &Faulty) -> Snapshot {
    Table::open_in(storage(store), Environment::system())
        .await
        .unwrap()
        .snapshot()
}

async fn count(scan: Scan) -> usize {
    let batches = scan.collect().await.unwrap();
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// How many rows a condition keeps, with pruning and without, which must be the same.
async fn matching(snapshot: &Snapshot, condition: &str) -> usize {
    let scan = snapshot.scan().filter_sql(condition).unwrap();
    let pruned = count(scan.clone()).await;
    assert_eq!(
        count(scan.pruning(Pruning::Off)).await,
        pruned,
        "{condition}"
    );
    pruned
}

#[tokio::test]
async fn names_may_hold_anything() {
    let names = [
        "a.b",
        "a",
        "`",
        "``",
        "a`b",
        "a b",
        "\"",
        "'",
        "select",
        "A.B.C",
        "\u{e9}\u{4e2d}",
        "x,y;{}()=",
        "\\",
        "_headwater_row",
        "path",
        "stats",
        "add",
        "minValues",
        "numRecords",
        "%41",
        "1",
        "-",
        "NULL",
        "TRUE",
        "tab\t",
        "line\n",
        "#",
        "?",
        "$value",
        "*",
        ".",
        "..",
        "\u{1f600}",
        "a.`b`",
    ];
    for partitioned in [false, true] {
        for checkpoint in [false, true] {
            let store = Faulty::default();
            let mut fields: Vec<Field> = names
                .iter()
                .map(|name| Field::new(*name, DataType::LONG, true))
                .collect();
            let inner = Schema::new([
                Field::new("b", DataType::LONG, true),
                Field::new("c.d", DataType::LONG, true),
            ]);
            fields.push(Field::new("s", DataType::Struct(inner.unwrap()), true));
            let partitions = if partitioned {
                vec!["a.b", "`", "x,y;{}()="]
            } else {
                vec![]
            };
            let table = create(&store, Schema::new(fields).unwrap(), &partitions).await;
            for first in [0, 1_000] {
                let mut columns: Vec<(String, ArrayRef, bool)> = Vec::new();
                for (number, name) in names.iter().enumerate() {
                    let number = number as i64 * 10 + first;
                    columns.push(((*name).to_owned(), longs([number, number + 1]), true));
                }
                let inner = StructArray::from(vec![
                    (
                        Arc::new(ArrowField::new("b", ArrowType::Int64, true)),
                        longs([first + 7, first + 8]),
                    ),
                    (
                        Arc::new(ArrowField::new("c.d", ArrowType::Int64, true)),
                        longs([first + 9, first + 10]),
                    ),
                ]);
                columns.push(("s".to_owned(), Arc::new(inner), true));
                let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
                assert_eq!(table.append(rows).await.unwrap().rows, 2);
            }
            if checkpoint {
                table.checkpoint().await.unwrap();
            }
            let snapshot = reopened(&store).await;
            for (number, name) in names.iter().enumerate() {
                let quoted = format!("`{}`", name.replace('`', "``"));
                let value = number as i64 * 10 + 1_001;
                let built = snapshot
                    .scan()
                    .filter(col(&quoted).eq(value))
                    .select([*name]);
                let rows = built.collect().await.unwrap();
                assert_eq!(rows.len(), 1, "{name}");
                assert_eq!(
                    rows[0].column(0).as_primitive::<Int64Type>().values(),
                    &[value],
                    "{name}"
                );
                assert_eq!(rows[0].schema().field(0).name(), name);
                assert_eq!(
                    matching(&snapshot, &format!("{quoted} = {value}")).await,
                    1,
                    "{name}"
                );
                assert_eq!(
                    matching(&snapshot, &format!("{quoted} < 1000")).await,
                    2,
                    "{name}"
                );
                let shown = col(&quoted).eq(value).to_string();
                assert_eq!(matching(&snapshot, &shown).await, 1, "{shown}");
            }
            assert_eq!(matching(&snapshot, "s.b = 1007").await, 1);
            assert_eq!(matching(&snapshot, "s.`c.d` = 1009").await, 1);
            assert_eq!(matching(&snapshot, "S.`C.D` < 1000").await, 2);
            let missing = snapshot
                .scan()
                .filter_sql("s.`c.x` = 1")
                .unwrap()
                .collect()
                .await
                .unwrap_err();
            assert_eq!(
                (missing.kind(), missing.code()),
                (ErrorKind::Invalid, Code::InvalidPredicate)
            );
        }
    }
}

#[tokio::test]
async fn empty_rows_and_no_rows_are_versions_without_files() {
    let store = Faulty::default();
    let table = crate::support::create(&store).await;
    let none = table.append(Vec::<RecordBatch>::new()).await.unwrap();
    assert_eq!((none.version, none.rows, none.files), (1, 0, 0));
    let empty = table.append(ids([])).await.unwrap();
    assert_eq!((empty.version, empty.rows, empty.files), (2, 0, 0));
    let mixed = table
        .append(vec![ids([]), ids([1]), ids([]), ids([2]), ids([])])
        .await
        .unwrap();
    assert_eq!((mixed.version, mixed.rows, mixed.files), (3, 2, 1));
    let stream = futures::stream::iter(Vec::<Result<RecordBatch, std::io::Error>>::new());
    assert_eq!(
        table.append(Batches::stream(stream)).await.unwrap().version,
        4
    );
    assert_eq!(table.checkpoint().await.unwrap(), 4);
    let snapshot = reopened(&store).await;
    assert_eq!(ids_of(&snapshot).await.unwrap(), [1, 2]);
    assert_eq!(
        ids_of(&table.snapshot_at(2).await.unwrap()).await.unwrap(),
        [] as [i64; 0]
    );
    assert_eq!(matching(&snapshot, "id > 0").await, 2);
    let sums = snapshot.sums().await.unwrap();
    assert_eq!((sums.files, sums.rows), (1, Some(2)));
}

#[tokio::test]
async fn a_data_file_without_rows_is_read() {
    let store = Faulty::default();
    let table = crate::support::create(&store).await;
    let mut bytes = Vec::new();
    let rows = ids([]);
    let writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, rows.schema(), None).unwrap();
    writer.close().unwrap();
    let stats = [
        serde_json::Value::Null,
        "{\"numRecords\":0}".into(),
        "{\"numRecords\":0,\"minValues\":{},\"nullCount\":{\"id\":0}}".into(),
    ];
    for (number, stats) in stats.into_iter().enumerate() {
        let line = serde_json::json!({"add": {
            "path": format!("f{number}.parquet"), "partitionValues": {}, "size": bytes.len(), "modificationTime": 0,
            "dataChange": true, "stats": stats,
        }});
        store
            .place(
                &object_store::path::Path::from(format!("table/f{number}.parquet")),
                bytes.clone(),
            )
            .await;
        store
            .place(&commit_key(number as u64 + 1), line.to_string())
            .await;
    }
    let _ = table.append(ids([5])).await.unwrap();
    for _ in 0..2 {
        let snapshot = reopened(&store).await;
        assert_eq!(ids_of(&snapshot).await.unwrap(), [5]);
        assert_eq!(matching(&snapshot, "id = 5").await, 1);
        assert_eq!(matching(&snapshot, "id IS NULL").await, 0);
        table.checkpoint().await.unwrap();
    }
}

#[tokio::test]
async fn a_column_that_was_added_is_null_in_older_rows_and_can_be_asked_for() {
    for checkpoint_before in [false, true] {
        for checkpoint_after in [false, true] {
            let store = Faulty::default();
            let inner = Schema::new([Field::new("x", DataType::LONG, true)]).unwrap();
            let schema = Schema::new([
                Field::new("id", DataType::LONG, false),
                Field::new("s", DataType::Struct(inner), true),
            ]);
            let table = create(&store, schema.unwrap(), &[]).await;
            let one = |name: &str, array: ArrayRef| {
                StructArray::from(vec![(
                    Arc::new(ArrowField::new(name, array.data_type().clone(), true)),
                    array,
                )])
            };
            let old = batch([
                ("id", longs([1, 2])),
                ("s", Arc::new(one("x", longs([10, 20])))),
            ]);
            let old = RecordBatch::try_new(
                Arc::new(ArrowSchema::new(vec![
                    ArrowField::new("id", ArrowType::Int64, false),
                    ArrowField::new("s", old.column(1).data_type().clone(), true),
                ])),
                old.columns().to_vec(),
            );
            let _ = table.append(old.unwrap()).await.unwrap();
            if checkpoint_before {
                table.checkpoint().await.unwrap();
            }
            let new = batch([
                ("ID", longs([3, 4])),
                ("New", texts([Some("n"), None])),
                ("s", Arc::new(one("y", texts([Some("y"), None])))),
            ]);
            let refused = table.append(new.clone()).await.unwrap_err();
            assert_eq!(refused.code(), Code::RowsRejected);
            assert_eq!(table.append(new).add_columns().await.unwrap().version, 2);
            // Whoever still writes the old columns goes on.
            let _ = table.append(batch([("id", longs([5]))])).await.unwrap();
            if checkpoint_after {
                table.checkpoint().await.unwrap();
            }
            let snapshot = reopened(&store).await;
            let names: Vec<_> = snapshot
                .schema()
                .fields()
                .iter()
                .map(|field| field.name.clone())
                .collect();
            assert_eq!(names, ["id", "s", "New"]);
            for (condition, expected) in [
                ("new IS NULL", 4),
                ("new IS NOT NULL", 1),
                ("new = 'n'", 1),
                ("new <> 'n'", 0),
                ("new = 'n' OR id < 3", 3),
                ("NOT (new = 'n')", 0),
                ("new <=> NULL", 4),
                ("s.x = 20", 1),
                ("s.x IS NULL", 3),
                ("s.y IS NULL", 4),
                ("s.y = 'y'", 1),
                ("s IS NULL", 1),
                ("id > 0", 5),
            ] {
                assert_eq!(
                    matching(&snapshot, condition).await,
                    expected,
                    "{condition}"
                );
            }
            let before = table.snapshot_at(1).await.unwrap();
            assert_eq!(before.schema().fields().len(), 2);
            assert!(
                before
                    .scan()
                    .filter(col("new").is_null())
                    .collect()
                    .await
                    .is_err()
            );
            assert_eq!(matching(&before, "s.x = 20").await, 1);
            let rows = snapshot
                .scan()
                .select(["New", "id"])
                .collect()
                .await
                .unwrap();
            assert_eq!(
                rows.iter()
                    .map(|rows| rows.column(0).null_count())
                    .sum::<usize>(),
                4
            );
        }
    }
}

/// A table of 100 ids in 10 files of two partitions.
async fn table_of_hundred(store: &Faulty) -> Table {
    let schema = Schema::new([
        Field::new("p", DataType::STRING, true),
        Field::new("id", DataType::LONG, true),
    ]);
    let table = create(store, schema.unwrap(), &["P"]).await;
    for part in 0..5 {
        let range = part * 20..(part + 1) * 20;
        let names = range
            .clone()
            .map(|id| Some(if id % 2 == 0 { "even" } else { "odd" }));
        let rows = batch([("id", longs(range.clone())), ("p", texts(names))]);
        assert_eq!(table.append(rows).await.unwrap().files, 2);
    }
    table
}

#[tokio::test]
async fn limits_and_selections_combine() {
    let store = Faulty::default();
    let table = table_of_hundred(&store).await;
    let snapshot = table.snapshot();
    for limit in [0, 1, 9, 10, 11, 20, 99, 100, 101, u64::MAX] {
        for batch_rows in [1, 3, 7, 10, 1_000, usize::MAX] {
            let scan = || snapshot.scan().limit(limit).batch_rows(batch_rows);
            let expected = usize::try_from(limit).unwrap_or(usize::MAX).min(100);
            assert_eq!(
                count(scan()).await,
                expected,
                "limit {limit} of batches of {batch_rows}"
            );
            let none: [&str; 0] = [];
            assert_eq!(count(scan().select(none)).await, expected);
            assert_eq!(count(scan().select(["P"])).await, expected);
            let filtered = scan().filter(col("id").gt_eq(50)).select(["p"]);
            assert_eq!(count(filtered).await, expected.min(50));
            let filtered = scan().filter(col("p").eq("odd")).select(none);
            assert_eq!(count(filtered).await, expected.min(50));
            let filtered = scan().filter(col("id").eq(77)).select(none);
            assert_eq!(count(filtered).await, expected.min(1));
        }
    }
    // Some rows and the same rows again: the order is stable.
    let first = |limit| {
        let scan = snapshot.scan().select(["id"]).limit(limit);
        async move { scan.collect().await }
    };
    let ids = |batches: Vec<RecordBatch>| -> Vec<i64> {
        batches
            .iter()
            .flat_map(|batch| {
                batch
                    .column(0)
                    .as_primitive::<Int64Type>()
                    .values()
                    .to_vec()
            })
            .collect()
    };
    let all = ids(first(100).await.unwrap());
    for limit in [1, 13, 50] {
        assert_eq!(ids(first(limit).await.unwrap()), all[..limit as usize]);
    }
    table.checkpoint().await.unwrap();
    let checkpointed = reopened(&store).await;
    assert_eq!(
        ids(checkpointed.scan().select(["id"]).collect().await.unwrap()),
        all
    );
    // In any order, in any case; twice is refused, and so is what is not there.
    let turned = snapshot
        .scan()
        .select(["ID", "P"])
        .limit(1)
        .collect()
        .await
        .unwrap();
    assert_eq!(
        (
            turned[0].schema().field(0).name().as_str(),
            turned[0].num_columns()
        ),
        ("id", 2)
    );
    for wrong in [vec!["id", "ID"], vec!["nowhere"], vec![""]] {
        let error = snapshot.scan().select(wrong).collect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    // A stream that is dropped half-way, and many at once.
    for _ in 0..20 {
        let mut stream = snapshot.scan().batch_rows(3).stream().await.unwrap();
        assert!(futures::StreamExt::next(&mut stream).await.is_some());
    }
    let scans = (0..20).map(|_| count(snapshot.scan()));
    assert!(
        futures::future::join_all(scans)
            .await
            .into_iter()
            .all(|rows| rows == 100)
    );
}

#[tokio::test]
async fn partition_columns_may_stand_anywhere_and_be_of_every_type() {
    let decimal = DataType::decimal(10, 2).unwrap();
    let types = [
        ("b", DataType::BOOLEAN),
        ("y", DataType::BYTE),
        ("h", DataType::SHORT),
        ("i", DataType::INTEGER),
        ("l", DataType::LONG),
        ("f", DataType::FLOAT),
        ("d", DataType::DOUBLE),
        ("c", decimal),
        ("s", DataType::STRING),
        ("x", DataType::BINARY),
        ("t", DataType::DATE),
        ("u", DataType::TIMESTAMP),
        ("n", DataType::TIMESTAMP_NTZ),
    ];
    let values: Vec<(ArrayRef, &str, &str)> = vec![
        (
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
            "b",
            "NOT b",
        ),
        (cast(&longs([1, -2, 0]), &ArrowType::Int8), "y = 1", "y < 0"),
        (
            cast(&longs([1, -2, 0]), &ArrowType::Int16),
            "h >= 1",
            "h = -2",
        ),
        (
            cast(&longs([1, -2, 0]), &ArrowType::Int32),
            "i IN (1, 99)",
            "i BETWEEN -5 AND -1",
        ),
        (
            longs([i64::MAX, i64::MIN, 0]),
            "l = 9223372036854775807",
            "l = -9223372036854775808",
        ),
        (
            cast(
                &(Arc::new(Float64Array::from(vec![f64::NAN, -0.5, 0.0])) as ArrayRef),
                &ArrowType::Float32,
            ),
            "f = float('NaN')",
            "f < 0",
        ),
        (
            Arc::new(Float64Array::from(vec![f64::INFINITY, -1e300, -0.0])),
            "d > 1e308",
            "d < -1e299",
        ),
        (
            Arc::new(
                Decimal128Array::from(vec![123, -456, 0])
                    .with_precision_and_scale(10, 2)
                    .unwrap(),
            ),
            "c = 1.23",
            "c < -4.5",
        ),
        (
            texts([Some("a/b=c%41 \u{1f600}\u{85}\n"), Some("."), Some("")]),
            "s LIKE 'a/b=c\\%41%'",
            "s = '.'",
        ),
        (
            Arc::new(BinaryArray::from_vec(vec![b"\x00\x01", b"zz", b""])),
            "x = X'0001'",
            "x = X'7a7a'",
        ),
        (
            Arc::new(Date32Array::from(vec![2_932_896, -719_162, 0])),
            "t = DATE '9999-12-31'",
            "t < DATE '0002-01-01'",
        ),
        (
            Arc::new(
                TimestampMicrosecondArray::from(vec![253_402_300_799_999_999, -1, 0])
                    .with_timezone("UTC"),
            ),
            "u > TIMESTAMP '9999-12-31T23:59:59.999998Z'",
            "u = TIMESTAMP '1969-12-31T23:59:59.999999Z'",
        ),
        (
            Arc::new(TimestampMicrosecondArray::from(vec![
                1,
                -62_135_596_800_000_000,
                0,
            ])),
            "n = TIMESTAMP_NTZ '1970-01-01T00:00:00.000001'",
            "n = TIMESTAMP_NTZ '0001-01-01T00:00:00'",
        ),
    ];
    for place in 0..3 {
        for ((name, ty), (array, first, second)) in types.iter().zip(&values) {
            let store = Faulty::default();
            let mut fields = vec![
                Field::new("id", DataType::LONG, false),
                Field::new("z", DataType::STRING, true),
            ];
            fields.insert(place, Field::new(*name, ty.clone(), true));
            let table = create(&store, Schema::new(fields).unwrap(), &[name]).await;
            let rows =
                RecordBatch::try_from_iter([("id", longs([1, 2, 3])), (*name, Arc::clone(array))])
                    .unwrap();
            assert_eq!(table.append(rows).await.unwrap().files, 3, "{name}");
            for checkpoint in [false, true] {
                if checkpoint {
                    table.checkpoint().await.unwrap();
                }
                let snapshot = reopened(&store).await;
                assert_eq!(snapshot.schema().fields()[place].name, *name);
                for (condition, expected) in [(*first, 1), (*second, 2)] {
                    let scan = snapshot.scan().filter_sql(condition).unwrap();
                    assert_eq!(
                        scan.plan().await.unwrap().counts().files_pruned,
                        2,
                        "{condition}"
                    );
                    let rows = scan.collect().await.unwrap();
                    assert_eq!(rows.len(), 1, "{condition}");
                    let found = rows[0]
                        .column_by_name("id")
                        .unwrap()
                        .as_primitive::<Int64Type>();
                    assert_eq!(found.values(), &[expected], "{condition}");
                    assert_eq!(rows[0].column(place).len(), 1);
                    assert_eq!(rows[0].column(place).data_type(), array.data_type());
                    if *name != "f" {
                        let at = usize::try_from(expected - 1).unwrap();
                        assert_eq!(
                            rows[0].column(place).as_ref(),
                            array.slice(at, 1).as_ref(),
                            "{condition}"
                        );
                    }
                    assert_eq!(matching(&snapshot, condition).await, 1);
                }
                let nulls = usize::from(array.is_null(2) || ["s", "x"].contains(name));
                assert_eq!(
                    matching(&snapshot, &format!("{name} IS NULL")).await,
                    nulls,
                    "{name}"
                );
                assert_eq!(
                    matching(&snapshot, &format!("{name} IS NOT NULL AND id > 0")).await,
                    3 - nulls
                );
                assert_eq!(
                    matching(&snapshot, &format!("{name} <=> NULL OR id = 1")).await,
                    1 + nulls
                );
            }
        }
    }
}

fn cast(array: &ArrayRef, to: &ArrowType) -> ArrayRef {
    arrow_cast::cast(array, to).unwrap()
}

#[tokio::test]
async fn many_partitions_and_long_values_keep_every_row() {
    let store = Faulty::default();
    let schema = Schema::new([
        Field::new("id", DataType::LONG, true),
        Field::new("p", DataType::INTEGER, true),
        Field::new("q", DataType::STRING, true),
    ]);
    let table = create(&store, schema.unwrap(), &["p", "q"]).await;
    let long = "l\u{e9}/".repeat(300);
    let q: Vec<Option<&str>> = (0..3_000)
        .map(|row| {
            if row % 7 == 0 {
                None
            } else {
                Some(long.as_str())
            }
        })
        .collect();
    let p = Int32Array::from_iter_values((0..3_000).map(|row| row % 600));
    let rows = batch([("id", longs(0..3_000)), ("p", Arc::new(p)), ("q", texts(q))]);
    let halves = vec![rows.slice(0, 1_700), rows.slice(1_700, 1_300)];
    let appended = table.append(halves).await.unwrap();
    assert_eq!(appended.rows, 3_000);
    table.checkpoint().await.unwrap();
    let snapshot = reopened(&store).await;
    assert_eq!(
        ids_of(&snapshot).await.unwrap(),
        (0..3_000).collect::<Vec<_>>()
    );
    assert_eq!(matching(&snapshot, "p = 599").await, 5);
    assert_eq!(
        matching(&snapshot, &format!("q = '{long}' AND p IN (0, 1)")).await,
        8
    );
    assert_eq!(matching(&snapshot, "q IS NULL").await, 429);
}

#[tokio::test]
async fn huge_texts_and_many_columns_come_back() {
    let store = Faulty::default();
    let mut fields = vec![
        Field::new("id", DataType::LONG, true),
        Field::new("s", DataType::STRING, true),
    ];
    fields.extend((0..600).map(|number| Field::new(format!("c{number}"), DataType::DOUBLE, true)));
    let table = create(&store, Schema::new(fields).unwrap(), &[]).await;
    let huge = [
        "z".repeat(9 << 20),
        "\u{10ffff}".repeat(1 << 20),
        String::new(),
    ];
    let rows = batch([
        ("id", longs(0..3)),
        ("s", texts(huge.iter().map(|text| Some(text.as_str())))),
    ]);
    let _ = table
        .append(rows.clone())
        .target_file_bytes(1 << 20)
        .await
        .unwrap();
    let _ = table.append(rows).await.unwrap();
    for _ in 0..2 {
        let snapshot = reopened(&store).await;
        for (condition, expected) in [
            ("s > 'zzz'", 4),
            ("s LIKE 'zz%'", 2),
            ("s = ''", 2),
            ("c599 IS NULL", 6),
            ("c599 > 0", 0),
        ] {
            assert_eq!(
                matching(&snapshot, condition).await,
                expected,
                "{condition}"
            );
        }
        let found = snapshot
            .scan()
            .filter(col("s").eq(huge[0].as_str()))
            .select(["s"])
            .collect()
            .await
            .unwrap();
        assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
        assert_eq!(found[0].column(0).as_string::<i32>().value(0), huge[0]);
        table.checkpoint().await.unwrap();
    }
}

#[tokio::test]
async fn every_version_is_what_it_was_across_checkpoints_and_handles() {
    let store = Faulty::default();
    let environment = Environment::system();
    let table = Table::create_in(
        storage(&store),
        environment.clone(),
        crate::support::id_schema(),
    )
    .property("delta.checkpointInterval", "3")
    .await
    .unwrap();
    let other = Table::open_in(storage(&store), environment.clone())
        .await
        .unwrap();
    let held = other.snapshot();
    let mut kept = vec![held.clone()];
    for id in 1..=20_i64 {
        let writer = if id % 2 == 0 { &table } else { &other };
        assert_eq!(writer.append(ids([id])).await.unwrap().version, id as u64);
        kept.push(writer.snapshot());
        // A checkpoint still being written would take the place of the next one.
        writer.close().await;
    }
    let checkpoints = store
        .paths()
        .await
        .into_iter()
        .filter(|path| path.contains(".checkpoint."))
        .count();
    assert!(5 <= checkpoints, "{checkpoints}");
    for reader in [
        &table,
        &other,
        &Table::open_in(storage(&store), environment).await.unwrap(),
    ] {
        assert_eq!(reader.refresh().await.unwrap().version(), 20);
        for version in 0..=20_u64 {
            let expected: Vec<i64> = (1..=version as i64).collect();
            let travelled = reader.snapshot_at(version).await.unwrap();
            assert_eq!(ids_of(&travelled).await.unwrap(), expected);
            assert_eq!(
                matching(&travelled, "id > 5").await,
                expected.len().saturating_sub(5)
            );
            assert_eq!(ids_of(&kept[version as usize]).await.unwrap(), expected);
        }
    }
    assert_eq!(ids_of(&held).await.unwrap(), [] as [i64; 0]);
}

#[tokio::test]
async fn arrays_of_every_layout_are_taken_or_refused_by_name() {
    let store = Faulty::default();
    let schema = Schema::new([
        Field::new("id", DataType::LONG, true),
        Field::new("s", DataType::STRING, true),
    ])
    .unwrap();
    let table = create(&store, schema, &[]).await;
    let words = ["a", "b", "a"];
    let dictionary: DictionaryArray<Int32Type> = words.into_iter().collect();
    let layouts: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(words.to_vec())),
        Arc::new(LargeStringArray::from(words.to_vec())),
        Arc::new(StringViewArray::from(words.to_vec())),
        Arc::new(dictionary),
        Arc::new(StringArray::from(vec!["x", "a", "b", "a", "y"]).slice(1, 3)),
    ];
    for array in &layouts {
        let rows = batch([
            ("s", Arc::clone(array)),
            ("id", cast(&longs(0..3), &ArrowType::Int16)),
        ]);
        assert_eq!(
            table.append(rows).await.unwrap().rows,
            3,
            "{}",
            array.data_type()
        );
    }
    let snapshot = reopened(&store).await;
    assert_eq!(matching(&snapshot, "s = 'a'").await, 2 * layouts.len());
    for (name, array) in [
        ("id", Arc::new(UInt64Array::from(vec![1])) as ArrayRef),
        ("id", Arc::new(Float64Array::from(vec![1.0]))),
        ("id", texts([Some("1")])),
        ("s", longs([1])),
        ("nowhere", longs([1])),
    ] {
        let error = table.append(batch([(name, array)])).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::Invalid, Code::RowsRejected),
            "{name}"
        );
        assert!(error.context_value("column").is_some(), "{error:?}");
    }
    assert_eq!(table.snapshot().version(), layouts.len() as u64);
    let no_columns = RecordBatchOptions::new().with_row_count(Some(4));
    let empty =
        RecordBatch::try_new_with_options(Arc::new(ArrowSchema::empty()), vec![], &no_columns)
            .unwrap();
    assert_eq!(
        table.append(empty).await.unwrap().rows,
        4,
        "all columns are null"
    );
    assert_eq!(
        matching(&table.snapshot(), "id IS NULL AND s IS NULL").await,
        4
    );
}

#[tokio::test]
async fn times_of_every_unit_are_taken_and_none_is_cut() {
    let store = Faulty::default();
    let schema = Schema::new([
        Field::new("t", DataType::TIMESTAMP, true),
        Field::new("n", DataType::TIMESTAMP_NTZ, true),
    ]);
    let table = create(&store, schema.unwrap(), &[]).await;
    let whole =
        TimestampNanosecondArray::from(vec![Some(-1_000), None, Some(1_700_000_000_123_456_000)]);
    let zoned: ArrayRef = Arc::new(whole.clone().with_timezone("+02:00"));
    let rows = batch([("t", zoned), ("n", Arc::new(whole))]);
    assert_eq!(table.append(rows).await.unwrap().rows, 3);
    let snapshot = table.snapshot();
    assert_eq!(
        matching(&snapshot, "t = TIMESTAMP '1969-12-31T23:59:59.999999Z'").await,
        1
    );
    assert_eq!(
        matching(&snapshot, "n = TIMESTAMP_NTZ '2023-11-14 22:13:20.123456'").await,
        1
    );
    for (name, zone) in [("t", Some("UTC")), ("n", None)] {
        let finer = TimestampNanosecondArray::from(vec![1_000, 1_001]).with_timezone_opt(zone);
        let error = table
            .append(batch([(name, Arc::new(finer))]))
            .await
            .unwrap_err();
        assert_eq!(
            (error.code(), error.context_value("column")),
            (Code::RowsRejected, Some(name))
        );
    }
}

#[tokio::test]
async fn lists_maps_and_structs_come_back_whole() {
    let store = Faulty::default();
    let point = Schema::new([
        Field::new("x", DataType::LONG, true),
        Field::new("tags", DataType::array(DataType::STRING, true), true),
    ]);
    let point = DataType::Struct(point.unwrap());
    let schema = Schema::new([
        Field::new("l", DataType::array(DataType::LONG, true), true),
        Field::new(
            "m",
            DataType::map(DataType::STRING, DataType::LONG, true),
            true,
        ),
        Field::new("p", DataType::array(point, true), true),
        Field::new("v", DataType::Primitive(PrimitiveType::Void), true),
        Field::new("id", DataType::LONG, true),
    ]);
    let table = create(&store, schema.unwrap(), &[]).await;
    let mut lists = ListBuilder::new(Int64Builder::new());
    lists.append_value([Some(1), None]);
    lists.append_value([]);
    lists.append_null();
    lists.append_value([Some(4)]);
    let lists: ArrayRef = Arc::new(lists.finish());
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    for row in 0..4 {
        for entry in 0..row {
            maps.keys().append_value(format!("k{entry}"));
            maps.values()
                .append_option((entry % 2 == 0).then_some(entry));
        }
        maps.append(row != 2).unwrap();
    }
    let maps: ArrayRef = Arc::new(maps.finish());
    let rows = batch([
        ("l", Arc::clone(&lists)),
        ("m", Arc::clone(&maps)),
        ("id", longs(0..4)),
    ]);
    // Whole, and in slices whose offsets do not begin at zero.
    let _ = table.append(rows.clone()).await.unwrap();
    let _ = table
        .append(vec![rows.slice(1, 3), rows.slice(3, 1), rows.slice(0, 1)])
        .await
        .unwrap();
    table.checkpoint().await.unwrap();
    let snapshot = reopened(&store).await;
    assert_eq!(matching(&snapshot, "l IS NULL").await, 2);
    assert_eq!(
        matching(&snapshot, "m IS NULL AND v IS NULL AND p IS NULL").await,
        2
    );
    for id in 0..4 {
        let found = snapshot
            .scan()
            .filter(col("id").eq(id))
            .collect()
            .await
            .unwrap();
        let times = if id == 3 { 3 } else { 2 };
        assert_eq!(
            found.iter().map(RecordBatch::num_rows).sum::<usize>(),
            times
        );
        for batch in &found {
            for row in 0..batch.num_rows() {
                let (at, list) = (id as usize, batch.column(0).slice(row, 1));
                assert_eq!(list.is_null(0), lists.is_null(at));
                if lists.is_valid(at) {
                    assert_eq!(
                        list.as_list::<i32>().value(0).as_ref(),
                        lists.as_list::<i32>().value(at).as_ref()
                    );
                }
                let map = batch.column(1).as_map();
                assert_eq!(map.is_null(row), maps.is_null(at));
                if maps.is_valid(at) {
                    assert_eq!(map.value(row).columns(), maps.as_map().value(at).columns());
                }
            }
        }
    }
    let compared = snapshot
        .scan()
        .filter(col("l").eq(1))
        .collect()
        .await
        .unwrap_err();
    assert_eq!(compared.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn conditions_without_columns_and_odd_literals_have_one_answer() {
    let store = Faulty::default();
    let schema = Schema::new([
        Field::new("id", DataType::LONG, true),
        Field::new("b", DataType::BOOLEAN, true),
        Field::new("t", DataType::TIMESTAMP, true),
    ]);
    let table = create(&store, schema.unwrap(), &[]).await;
    let times = TimestampMicrosecondArray::from(vec![Some(0), None, Some(86_400_000_000)])
        .with_timezone("UTC");
    let rows = batch([
        ("id", longs([1, 2, 3])),
        (
            "b",
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
        ),
        ("t", Arc::new(times)),
    ]);
    let _ = table.append(rows).await.unwrap();
    let snapshot = table.snapshot();
    for (condition, expected) in [
        ("TRUE", 3),
        ("FALSE", 0),
        ("NULL", 0),
        ("NOT NULL", 0),
        ("1 = 1", 3),
        ("1 > 2", 0),
        ("b", 1),
        ("NOT b", 1),
        ("b = FALSE", 1),
        ("b IS NULL", 1),
        ("b IS NOT TRUE", 2),
        ("b AND NOT b", 0),
        ("b OR NOT b", 2),
        ("id = 99999999999999999999999", 0),
        ("id < 99999999999999999999999", 3),
        ("id <> 1.5", 3),
        ("id > 1.5", 2),
        ("id >= 2.0", 2),
        ("id IN (1, NULL)", 1),
        ("id NOT IN (1, NULL)", 0),
        ("id NOT IN (1)", 2),
        ("id BETWEEN 3 AND 1", 0),
        ("id NOT BETWEEN 2 AND NULL", 1),
        ("t = '1970-01-01'", 1),
        ("t >= DATE '1970-01-01'", 2),
        ("t < '1970-01-02T00:00:00+00:00'", 1),
        ("id = id", 3),
        ("t <=> t", 3),
        ("t = t", 2),
        ("id <=> NULL", 0),
    ] {
        match snapshot.scan().filter_sql(condition) {
            Ok(_) => assert_eq!(
                matching(&snapshot, condition).await,
                expected,
                "{condition}"
            ),
            Err(error) => panic!("{condition}: {error:?}"),
        }
    }
    for wrong in [
        "",
        "id",
        "id +",
        "id = 'x'",
        "id = b",
        "nowhere = 1",
        "id = 1; DROP",
        "t = 'soon'",
        "id LIKE '1'",
        "COUNT(*) > 1",
        "id = (SELECT 1)",
        "(b IS NULL) = 1",
    ] {
        let outcome = match snapshot.scan().filter_sql(wrong) {
            Ok(scan) => scan.collect().await,
            Err(error) => Err(error),
        };
        let error = outcome.expect_err(wrong);
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::Invalid, Code::InvalidPredicate),
            "{wrong}"
        );
    }
    let many: Vec<String> = (0..20_000).map(|id| id.to_string()).collect();
    assert_eq!(
        matching(&snapshot, &format!("id IN ({})", many.join(","))).await,
        3
    );
    let chain = vec!["id = 1"; 900].join(" OR ");
    assert_eq!(matching(&snapshot, &chain).await, 1);
    let deep = format!("{}id = 1{}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(snapshot.scan().filter_sql(&deep).is_err());
    let nots = format!("{}b", "NOT ".repeat(5_000));
    assert!(snapshot.scan().filter_sql(&nots).is_err());
    let mut built = col("id").eq(1);
    for _ in 0..1_000 {
        built = built.not();
    }
    assert_eq!(
        snapshot
            .scan()
            .filter(built)
            .collect()
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::Invalid
    );
}

#[tokio::test]
async fn local_tables_live_at_awkward_places() {
    let base = std::env::temp_dir().join(format!("headwater-awkward-{}", std::process::id()));
    for name in [
        "plain",
        "with space",
        "per%20cent",
        "h#sh",
        "qu?stion",
        "\u{e9}\u{4e2d}",
        "a+b=c",
        "[x]{y}",
        "dot.",
        "'",
    ] {
        let place = base.join(name).join("deeper");
        let text = place.to_str().unwrap();
        let schema = Schema::new([
            Field::new("id", DataType::LONG, true),
            Field::new("p", DataType::STRING, true),
        ]);
        let table = Table::create(text, schema.unwrap())
            .partition_by(["p"])
            .await
            .unwrap();
        let odd = [
            "a/b",
            "x y",
            "50%",
            "\u{1f600}",
            "..",
            "~",
            "CON",
            "q?#[]",
            "\u{7f}\n",
            "*:<>|\"",
            &"w".repeat(400),
        ];
        let rows = batch([
            ("id", longs(0..odd.len() as i64)),
            ("p", texts(odd.iter().map(|p| Some(*p)))),
        ]);
        let _ = table.append(rows).await.unwrap();
        table.checkpoint().await.unwrap();
        assert!(
            place.join("_delta_log/00000000000000000001.json").is_file(),
            "{name}"
        );
        for location in [
            text.to_owned(),
            format!("{text}/"),
            url::Url::from_file_path(&place).unwrap().to_string(),
        ] {
            let opened = Table::open(&location)
                .await
                .unwrap_or_else(|error| panic!("{location}: {error:?}"));
            for (id, value) in odd.iter().enumerate() {
                let scan = opened.snapshot().scan().filter(col("p").eq(*value));
                let rows = scan.collect().await.unwrap();
                assert_eq!(rows.len(), 1, "{location} {value:?}");
                assert_eq!(
                    rows[0].column(0).as_primitive::<Int64Type>().values(),
                    &[id as i64]
                );
                assert_eq!(rows[0].column(1).as_string::<i32>().value(0), *value);
            }
        }
        assert_eq!(
            Table::create(text, crate::support::id_schema())
                .await
                .unwrap_err()
                .kind(),
            ErrorKind::Conflict
        );
    }
    let missing = Table::open(base.join("nothing here").to_str().unwrap())
        .await
        .unwrap_err();
    assert_eq!(
        (missing.kind(), missing.code()),
        (ErrorKind::NotFound, Code::TableNotFound)
    );
    std::fs::remove_dir_all(&base).unwrap();
}

#[tokio::test]
async fn fields_that_must_not_be_null_are_never_null() {
    let store = Faulty::default();
    let inner = Schema::new([Field::new("x", DataType::LONG, false)]).unwrap();
    let schema = Schema::new([
        Field::new("id", DataType::LONG, false),
        Field::new("p", DataType::STRING, false),
        Field::new("s", DataType::Struct(inner), true),
    ]);
    let table = create(&store, schema.unwrap(), &["p"]).await;
    let fields = Fields::from(vec![ArrowField::new("x", ArrowType::Int64, true)]);
    let with = |id: Option<i64>, p: Option<&str>, x: Option<i64>, there: bool| {
        let nulls = Some(vec![there].into());
        let inner = StructArray::new(
            fields.clone(),
            vec![Arc::new(Int64Array::from(vec![x]))],
            nulls,
        );
        batch([
            ("id", Arc::new(Int64Array::from(vec![id]))),
            ("p", texts([p])),
            ("s", Arc::new(inner)),
        ])
    };
    let _ = table
        .append(with(Some(1), Some("p"), None, false))
        .await
        .unwrap();
    let _ = table
        .append(with(Some(2), Some("p"), Some(3), true))
        .await
        .unwrap();
    for (rows, column) in [
        (with(None, Some("p"), Some(3), true), "id"),
        (with(Some(1), None, Some(3), true), "p"),
        (with(Some(1), Some(""), Some(3), true), "p"),
        (with(Some(1), Some("p"), None, true), "s.x"),
        (batch([("p", texts([Some("p")]))]), "id"),
    ] {
        let error = table.append(rows).await.unwrap_err();
        assert_eq!(
            (error.code(), error.context_value("column")),
            (Code::RowsRejected, Some(column))
        );
    }
    let snapshot = table.refresh().await.unwrap();
    assert_eq!(
        (snapshot.version(), matching(&snapshot, "s.x IS NULL").await),
        (2, 1)
    );
    assert_eq!(matching(&snapshot, "s.x = 3").await, 1);
}
