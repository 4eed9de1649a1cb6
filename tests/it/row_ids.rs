//! Rows with their ids: PROTOCOL.md, "Row Tracking".

use std::sync::Arc;

use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::Int64Type;
use headwater::arrow_array::{Array, ArrayRef, Int64Array, RecordBatch};
use headwater::predicate::col;
use headwater::protocol::deletion_vector::{encode, inline_text};
use headwater::{ErrorKind, Table};
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use roaring::RoaringTreemap;
use serde_json::{Value, json};

use crate::support::store::Faulty;
use crate::support::{commit_key, id_schema, open};

const IDS: &str = "_row-id-col-1";
const VERSIONS: &str = "_row-commit-version-col-1";

/// A file of one row group for every two rows.
fn file(columns: &[(&str, Vec<Option<i64>>)]) -> Vec<u8> {
    let columns = columns.iter().map(|(name, values)| {
        (
            *name,
            Arc::new(Int64Array::from(values.clone())) as ArrayRef,
            true,
        )
    });
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(2))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

async fn put(
    store: &Faulty,
    name: &str,
    columns: &[(&str, Vec<Option<i64>>)],
    more: Value,
) -> Value {
    let bytes = file(columns);
    let mut add = json!({
        "path": name, "size": bytes.len(), "partitionValues": {}, "modificationTime": 0, "dataChange": true,
        "stats": json!({ "numRecords": columns[0].1.len() }).to_string(),
    });
    for (key, value) in more.as_object().unwrap() {
        add[key] = value.clone();
    }
    store
        .place(&Path::from(format!("table/{name}")), bytes)
        .await;
    json!({ "add": add })
}

async fn table(store: &Faulty, enabled: bool, adds: &[Value]) -> Table {
    let protocol = json!({"protocol": {
        "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors"],
        "writerFeatures": ["rowTracking", "domainMetadata", "deletionVectors"],
    }});
    let metadata = json!({"metaData": {
        "id": "6c41bfba-1a4b-4a0a-8b4b-00000000000a", "format": {"provider": "parquet", "options": {}},
        "schemaString": id_schema().to_json(), "partitionColumns": [], "createdTime": 0,
        "configuration": {
            "delta.enableRowTracking": enabled.to_string(),
            "delta.rowTracking.materializedRowIdColumnName": IDS,
            "delta.rowTracking.materializedRowCommitVersionColumnName": VERSIONS,
        },
    }});
    let lines: Vec<String> = [protocol, metadata]
        .iter()
        .chain(adds)
        .map(Value::to_string)
        .collect();
    store.place(&commit_key(0), lines.join("\n")).await;
    open(store).await.unwrap()
}

async fn ids(scan: headwater::Scan) -> Vec<[i64; 3]> {
    let mut found = Vec::new();
    for batch in scan.row_ids().collect().await.unwrap() {
        let column = |name| {
            batch
                .column_by_name(name)
                .unwrap()
                .as_primitive::<Int64Type>()
                .clone()
        };
        let (id, row, version) = (
            column("id"),
            column("_row_id"),
            column("_row_commit_version"),
        );
        assert_eq!(row.null_count() + version.null_count(), 0);
        found.extend(
            (0..batch.num_rows()).map(|at| [id.value(at), row.value(at), version.value(at)]),
        );
    }
    found.sort_unstable();
    found
}

/// Derived from the first row's id and the position where nothing is stored; row groups, pages, deletion vectors and
/// predicates do not shift them.
#[tokio::test]
async fn row_ids_are_stored_or_follow_from_positions() {
    let store = Faulty::default();
    let some = |values: std::ops::Range<i64>| values.map(Some).collect::<Vec<_>>();
    let mut deleted = RoaringTreemap::new();
    deleted.extend([1, 4]);
    let data = encode(&deleted);
    let vector = json!({
        "storageType": "i", "pathOrInlineDv": inline_text(&data), "sizeInBytes": data.len(), "cardinality": 2,
    });
    let derived = json!({"baseRowId": 100, "defaultRowCommitVersion": 3, "deletionVector": vector});
    let first = put(&store, "a.parquet", &[("id", some(0..7))], derived).await;
    let stored = [
        ("id", some(10..14)),
        (IDS, vec![Some(7), None, Some(9), None]),
        (VERSIONS, vec![None, Some(1), Some(2), None]),
    ];
    let more = json!({"baseRowId": 200, "defaultRowCommitVersion": 5});
    let second = put(&store, "b.parquet", &stored, more).await;
    let table = table(&store, true, &[first, second]).await;
    let all = [
        [0, 100, 3],
        [2, 102, 3],
        [3, 103, 3],
        [5, 105, 3],
        [6, 106, 3],
        [10, 7, 5],
        [11, 201, 1],
        [12, 9, 2],
        [13, 203, 5],
    ];
    let snapshot = table.snapshot();
    assert_eq!(ids(snapshot.scan()).await, all);
    assert_eq!(ids(snapshot.scan().batch_rows(1)).await, all);
    assert_eq!(
        ids(snapshot
            .scan()
            .filter(col("id").gt_eq(5).and(col("id").lt(12))))
        .await,
        all[3..7]
    );
    let none: [&str; 0] = [];
    let only = snapshot
        .scan()
        .select(none)
        .row_ids()
        .collect()
        .await
        .unwrap();
    let rows: usize = only.iter().map(RecordBatch::num_rows).sum();
    assert_eq!((rows, only[0].num_columns()), (9, 2));
    let plain = snapshot.scan().collect().await.unwrap();
    assert_eq!(
        plain[0].num_columns(),
        1,
        "stored ids are no columns of the table"
    );
}

#[tokio::test]
async fn row_ids_are_refused_where_there_are_none() {
    let store = Faulty::default();
    let add = put(&store, "a.parquet", &[("id", vec![Some(1)])], json!({})).await;
    let without = table(&store, false, std::slice::from_ref(&add)).await;
    let refused = without
        .snapshot()
        .scan()
        .row_ids()
        .collect()
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    let other = Faulty::default();
    let add = put(&other, "a.parquet", &[("id", vec![Some(1)])], json!({})).await;
    let broken = table(&other, true, &[add]).await;
    let refused = broken
        .snapshot()
        .scan()
        .row_ids()
        .collect()
        .await
        .unwrap_err();
    assert_eq!(
        refused.kind(),
        ErrorKind::Corrupt,
        "enabled, but the file has no first id"
    );
}

/// Ids stay with rows that are taken one by one: pages that a predicate leaves out, and files that are all deleted but one.
#[tokio::test]
async fn row_ids_stay_true_where_most_of_a_file_is_not_read() {
    let store = Faulty::default();
    let some = |values: std::ops::Range<i64>| values.map(Some).collect::<Vec<_>>();
    let mut deleted = RoaringTreemap::new();
    deleted.insert_range(0..9);
    let data = encode(&deleted);
    let vector = json!({
        "storageType": "i", "pathOrInlineDv": inline_text(&data), "sizeInBytes": data.len(), "cardinality": 9,
    });
    let more = json!({"baseRowId": 0, "defaultRowCommitVersion": 1, "deletionVector": vector});
    let first = put(&store, "a.parquet", &[("id", some(0..10))], more).await;
    // Stored ids alone are enough.
    let stored = [
        ("id", some(20..22)),
        (IDS, vec![Some(3), Some(2)]),
        (VERSIONS, vec![Some(1), Some(1)]),
    ];
    let second = put(&store, "b.parquet", &stored, json!({})).await;
    let table = table(&store, true, &[first, second]).await;
    let snapshot = table.snapshot();
    let all = [[9, 9, 1], [20, 3, 1], [21, 2, 1]];
    assert_eq!(ids(snapshot.scan()).await, all);
    let one = snapshot.scan().filter(col("id").eq(9_i64));
    assert_eq!(ids(one).await, all[..1]);
    let last = snapshot.scan().filter(col("id").gt(20_i64));
    assert_eq!(ids(last).await, all[2..]);
}
