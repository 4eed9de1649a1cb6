//! Tables that demand something of their rows: written by us, and what they refuse.

use std::sync::Arc;

use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::{Date32Type, Int32Type, Int64Type};
use headwater::arrow_array::{Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use headwater::environment::Environment;
use headwater::protocol::feature::TableFeature;
use headwater::protocol::json::Json;
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::{Code, ErrorKind, Table};

use crate::support::store::Faulty;
use crate::support::{commit_key, create, golden, ids, ids_of, open, storage};

pub(crate) fn noted(name: &str, data_type: DataType, key: &str, sql: &str) -> Field {
    let mut field = Field::new(name, data_type, true);
    let json = serde_json::to_string(sql).unwrap();
    field
        .metadata
        .insert(key.to_owned(), Json::parse(&json).unwrap());
    field
}

pub(crate) async fn table(store: &Faulty) -> Table {
    let schema = Schema::new([
        Field::new("id", DataType::LONG, false),
        noted(
            "twice",
            DataType::LONG,
            "delta.generationExpression",
            "id * 2",
        ),
        noted("kind", DataType::INTEGER, "CURRENT_DEFAULT", "42"),
        noted(
            "x",
            DataType::LONG,
            "delta.invariants",
            r#"{"expression":{"expression":"x IS NULL OR x > 3"}}"#,
        ),
    ]);
    Table::create_in(storage(store), Environment::system(), schema.unwrap())
        .property("delta.constraints.positive", "id > 0")
        .await
        .unwrap()
}

#[tokio::test]
async fn a_table_with_every_rule_is_created_and_appended_to() {
    let store = Faulty::default();
    let table = table(&store).await;
    let features = table.snapshot().protocol().features();
    for feature in [
        TableFeature::GeneratedColumns,
        TableFeature::AllowColumnDefaults,
        TableFeature::Invariants,
        TableFeature::CheckConstraints,
    ] {
        assert!(features.contains(&feature), "{feature}");
    }
    table.append(ids([1, 2])).await.unwrap();
    let rows = table
        .snapshot()
        .scan()
        .filter_sql("twice = id * 2 AND kind = 42")
        .unwrap();
    let rows = rows.collect().await.unwrap();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
}

#[tokio::test]
async fn rows_that_break_a_rule_leave_nothing_in_the_table() {
    let store = Faulty::default();
    let table = table(&store).await;
    table.append(ids([1])).await.unwrap();
    let column = |name: &str, values: Vec<i64>| {
        let ids = Int64Array::from(vec![10; values.len()]);
        let values = Int64Array::from(values);
        RecordBatch::try_from_iter([
            ("id", Arc::new(ids) as Arc<dyn Array>),
            (name, Arc::new(values)),
        ])
        .unwrap()
    };
    for (batch, key, name, rows) in [
        (ids([5, -5, 0]), "constraint", "positive", "2"),
        (column("twice", vec![20, 21]), "column", "twice", "1"),
        (column("x", vec![4, 3, 2]), "column", "x", "2"),
    ] {
        let error = table.append(batch).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::Invalid, Code::RowsRejected)
        );
        assert_eq!(error.context_value(key), Some(name), "{error}");
        assert_eq!(error.context_value("rows"), Some(rows), "{error}");
    }
    let again = open(&store).await.unwrap();
    assert_eq!(again.snapshot().version(), 1);
    assert_eq!(ids_of(&again.snapshot()).await.unwrap(), [1]);
    // A good batch before a bad one is not in the table either.
    table.append(vec![ids([7]), ids([-7])]).await.unwrap_err();
    assert_eq!(
        ids_of(&open(&store).await.unwrap().snapshot())
            .await
            .unwrap(),
        [1]
    );
}

#[tokio::test]
async fn a_rule_that_cannot_be_evaluated_refuses_every_row_by_its_name() {
    let store = Faulty::default();
    create(&store).await;
    // As another writer would add it.
    let first = store.bytes(&commit_key(0)).await;
    let mut lines = std::str::from_utf8(&first).unwrap().lines();
    let line = lines.find(|line| line.contains("\"metaData\""));
    let mut action: serde_json::Value = serde_json::from_str(line.unwrap()).unwrap();
    action["metaData"]["configuration"]["delta.constraints.odd"] = "soundex(id) > 0".into();
    let protocol = r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":3}}"#;
    store
        .place(&commit_key(1), format!("{protocol}\n{action}\n"))
        .await;
    let table = open(&store).await.unwrap();
    let error = table.append(ids([1])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.context_value("constraint"), Some("odd"), "{error}");
    assert!(error.to_string().contains("soundex"), "{error}");
    assert_eq!(open(&store).await.unwrap().snapshot().version(), 1);
}

/// A table of the reference engine: partitioned by a generated column, with a default.
#[tokio::test]
async fn a_golden_table_with_generated_and_default_columns_is_appended_to() {
    let Some(golden) = golden().map(|tables| tables.join("spark-gen/table")) else {
        return;
    };
    let kept = std::env::var("HEADWATER_KEEP_GENERATED").ok();
    let copy = kept.map_or_else(
        || std::env::temp_dir().join(format!("headwater-rules-{}", std::process::id())),
        std::path::PathBuf::from,
    );
    let _ = std::fs::remove_dir_all(&copy);
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .args([&golden, &copy])
        .status();
    assert!(copied.unwrap().success());
    let table = Table::open(copy.to_str().unwrap()).await.unwrap();
    let before = table.snapshot().version();
    let at = TimestampMicrosecondArray::from(vec![Some(1_385_855_998_000_000), None]);
    let batch = RecordBatch::try_from_iter([
        (
            "id",
            Arc::new(Int64Array::from(vec![1_001, 1_002])) as Arc<dyn Array>,
        ),
        ("TS", Arc::new(at.with_timezone("UTC"))),
    ]);
    table.append(batch.unwrap()).await.unwrap();
    assert_eq!(table.snapshot().version(), before + 1);
    let scan = table.snapshot().scan().select(["id", "d", "k"]);
    let rows = scan
        .filter_sql("id > 1000")
        .unwrap()
        .collect()
        .await
        .unwrap();
    let mut found: Vec<(i64, Option<i32>, Option<i32>)> = Vec::new();
    for batch in &rows {
        for row in 0..batch.num_rows() {
            let day = batch.column(1).as_primitive::<Date32Type>();
            let kind = batch.column(2).as_primitive::<Int32Type>();
            let id = batch.column(0).as_primitive::<Int64Type>();
            let day = day.is_valid(row).then(|| day.value(row));
            found.push((
                id.value(row),
                day,
                kind.is_valid(row).then(|| kind.value(row)),
            ));
        }
    }
    found.sort_unstable();
    assert_eq!(
        found,
        [(1_001, Some(16_039), Some(42)), (1_002, None, Some(42))]
    );
    if std::env::var("HEADWATER_KEEP_GENERATED").is_err() {
        std::fs::remove_dir_all(&copy).unwrap();
    }
}
