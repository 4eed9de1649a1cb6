//! Times and types that change in the history of a table.

use headwater::arrow_array::{ArrayRef, Int32Array};
use object_store::path::Path;

use super::*;
use crate::support::golden;

/// A time that no file of these tests has.
const FAR: i64 = 4_000_000_000_000;

/// Gives each commit from `first` on a time of its own, one second after the one before.
async fn set_times(store: &Faulty, versions: std::ops::RangeInclusive<u64>) {
    for version in versions {
        let mut lines = actions(store, version).await;
        let time = FAR + 1000 * i64::try_from(version).unwrap();
        lines[0]["commitInfo"]["inCommitTimestamp"] = json!(time);
        rewrite(store, version, &lines).await;
    }
}

async fn rewrite(store: &Faulty, version: u64, lines: &[Value]) {
    let lines: Vec<_> = lines.iter().map(Value::to_string).collect();
    store.remove(&commit_key(version)).await;
    store.place(&commit_key(version), lines.join("\n")).await;
}

fn times(changes: &[RecordBatch]) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    for batch in changes {
        let column = |name| batch.column_by_name(name).unwrap();
        let versions = column("_commit_version").as_primitive::<Int64Type>();
        let times = column("_commit_timestamp").as_primitive::<TimestampMicrosecondType>();
        let pairs = versions.values().iter().zip(times.values());
        found.extend(pairs.map(|(version, micros)| (*version, micros / 1000)));
    }
    found.dedup();
    found
}

/// In-Commit Timestamps: where they are enabled, file times count nowhere.
#[tokio::test]
async fn ranges_of_changes_go_by_in_commit_timestamps() {
    let store = Faulty::default();
    let table = Table::create_in(storage(&store), Environment::system(), schema())
        .property("delta.enableChangeDataFeed", "true")
        .property("delta.enableInCommitTimestamps", "true")
        .await
        .unwrap();
    for id in 0..3 {
        table.append(rows(id..id + 1)).await.unwrap();
    }
    set_times(&store, 0..=3).await;
    let table = open(&store).await.unwrap();
    let all = table.changes(0).collect().await.unwrap();
    assert_eq!(
        times(&all),
        [1, 2, 3].map(|version| (version, FAR + 1000 * version))
    );
    let at = At::timestamp;
    let some = table.changes(at(FAR + 1001)).to(at(FAR + 2999));
    assert_eq!(times(&some.collect().await.unwrap()), [(2, FAR + 2000)]);
    let exact = table.changes(at(FAR + 2000)).to(at(FAR + 3000));
    assert_eq!(times(&exact.collect().await.unwrap()).len(), 2);
    let late = table.changes(at(FAR + 3001)).collect().await.unwrap_err();
    assert_eq!(late.code(), Code::VersionNotFound);
}

/// In-Commit Timestamps, enabled in an existing table: before that version file times count, from it on commits'.
#[tokio::test]
async fn moments_are_found_across_the_version_that_enabled_in_commit_timestamps() {
    let store = Faulty::default();
    let table = recorded(&store, false).await;
    table.append(rows(0..1)).await.unwrap();
    table
        .alter()
        .set_property("delta.randomizeFilePrefixes", "false")
        .await
        .unwrap();
    table.append(rows(1..2)).await.unwrap();
    let mut lines = actions(&store, 2).await;
    lines[0] = json!({"commitInfo": {"timestamp": 1, "operation": "SET TBLPROPERTIES"}});
    for line in &mut lines {
        if !line["metaData"].is_null() {
            let configuration = &mut line["metaData"]["configuration"];
            configuration["delta.enableInCommitTimestamps"] = json!("true");
            configuration["delta.inCommitTimestampEnablementVersion"] = json!("2");
            configuration["delta.inCommitTimestampEnablementTimestamp"] =
                json!((FAR + 2000).to_string());
        }
    }
    let first = one_action(&store, 0, "protocol").await;
    let mut features: Vec<Value> = vec![json!("inCommitTimestamp")];
    features.extend(
        first["writerFeatures"]
            .as_array()
            .into_iter()
            .flatten()
            .cloned(),
    );
    lines.push(json!({"protocol": {
        "minReaderVersion": first["minReaderVersion"], "minWriterVersion": 7,
        "readerFeatures": first["readerFeatures"], "writerFeatures": features,
    }}));
    rewrite(&store, 2, &lines).await;
    set_times(&store, 2..=3).await;
    let table = open(&store).await.unwrap();
    let version = async |millis: i64| {
        table
            .snapshot_at(At::timestamp(millis))
            .await
            .map(|it| it.version())
    };
    assert_eq!(version(FAR).await.unwrap(), 1, "the last with a file time");
    assert_eq!(version(FAR + 2000).await.unwrap(), 2);
    assert_eq!(version(FAR + 2999).await.unwrap(), 2);
    assert_eq!(version(FAR + 3000).await.unwrap(), 3);
    assert_eq!(
        version(FAR + 3001).await.unwrap_err().code(),
        Code::VersionNotFound
    );
    assert_eq!(version(0).await.unwrap_err().code(), Code::VersionNotFound);
    let seen = times(&table.changes(0).collect().await.unwrap());
    assert_eq!(seen.len(), 2);
    assert!(seen[0].1 < FAR, "a file time: {seen:?}");
    assert_eq!(seen[1], (3, FAR + 3000));
    let later = table.changes(At::timestamp(FAR)).collect().await.unwrap();
    assert_eq!(times(&later), [(3, FAR + 3000)]);
}

/// The same in a table that the reference engine wrote.
#[tokio::test]
async fn a_table_of_another_engine_that_enabled_in_commit_timestamps_has_both_times() {
    const ENABLED: i64 = 1_795_291_094_425;
    let Some(folder) = golden().map(|tables| tables.join("spark-ict2/table")) else {
        return;
    };
    let table = Table::open(folder.to_str().unwrap()).await.unwrap();
    let version = async |millis: i64| {
        table
            .snapshot_at(At::timestamp(millis))
            .await
            .map(|it| it.version())
    };
    assert_eq!(version(ENABLED).await.unwrap(), 2);
    assert_eq!(version(1_795_291_095_041).await.unwrap(), 2);
    assert_eq!(version(1_795_291_095_042).await.unwrap(), 3);
    let late = version(1_795_291_095_043).await.unwrap_err();
    assert_eq!(late.code(), Code::VersionNotFound);
    // The files of this copy are newer than what they say: before the enablement those times count.
    let early = version(ENABLED - 1).await.unwrap_err();
    assert_eq!(early.code(), Code::VersionNotFound);
    let changes = table.changes(0).unrecorded().collect().await.unwrap();
    let seen = times(&changes);
    assert_eq!(seen[1], (3, 1_795_291_095_042));
    let file = folder.join("_delta_log/00000000000000000001.json");
    let modified = file.metadata().unwrap().modified().unwrap();
    let modified = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(seen[0].1 >= i64::try_from(modified.as_millis()).unwrap());
}

async fn put(store: &Faulty, name: &str, ids: ArrayRef) -> Value {
    let rows = RecordBatch::try_from_iter([("id", ids)]).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    let bytes = writer.into_inner().unwrap();
    let add = json!({
        "path": name, "size": bytes.len(), "partitionValues": {}, "modificationTime": 0, "dataChange": true,
    });
    store
        .place(&Path::from(format!("table/{name}")), bytes)
        .await;
    json!({ "add": add })
}

/// Type Widening inside of a range: what was written in the narrow type is told in the wide one.
#[tokio::test]
async fn a_type_that_widens_inside_a_range_has_one_answer() {
    let store = Faulty::default();
    let metadata = |data_type: &str, changes: Value| {
        let field = json!({"name": "id", "type": data_type, "nullable": true, "metadata": changes});
        json!({"metaData": {
            "id": "6c41bfba-1a4b-4a0a-8b4b-00000000000c", "format": {"provider": "parquet", "options": {}},
            "schemaString": json!({"type": "struct", "fields": [field]}).to_string(), "partitionColumns": [],
            "createdTime": 0, "configuration": {"delta.enableChangeDataFeed": "true"},
        }})
    };
    let protocol = json!({"protocol": {
        "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["typeWidening"],
        "writerFeatures": ["typeWidening", "changeDataFeed"],
    }});
    let narrow = put(&store, "a.parquet", Arc::new(Int32Array::from(vec![1, 2]))).await;
    let wide = put(
        &store,
        "b.parquet",
        Arc::new(Int64Array::from(vec![3_000_000_000])),
    )
    .await;
    let mut remove = narrow["add"].clone();
    remove["deletionTimestamp"] = json!(1);
    remove.as_object_mut().unwrap().remove("modificationTime");
    let changes = json!({"delta.typeChanges": [{"fromType": "integer", "toType": "long"}]});
    let info = json!({"commitInfo": {"timestamp": 1, "operation": "WRITE"}});
    let commits = [
        vec![protocol, metadata("integer", json!({}))],
        vec![info.clone(), narrow],
        vec![info.clone(), metadata("long", changes)],
        vec![info, wide, json!({ "remove": remove })],
    ];
    for (version, lines) in commits.into_iter().enumerate() {
        let lines: Vec<_> = lines.iter().map(Value::to_string).collect();
        let key = commit_key(u64::try_from(version).unwrap());
        store.place(&key, lines.join("\n")).await;
    }
    let table = open(&store).await.unwrap();
    let all = table.changes(0).collect().await.unwrap();
    let told: Vec<(i64, String)> = all
        .iter()
        .flat_map(|batch| {
            let ids = batch.column(0).as_primitive::<Int64Type>();
            let kinds = batch.column_by_name("_change_type").unwrap();
            let kinds = kinds.as_string::<i32>();
            let row = |row| (ids.value(row), kinds.value(row).to_owned());
            (0..batch.num_rows()).map(row).collect::<Vec<_>>()
        })
        .collect();
    let expected = [
        (1, "insert"),
        (2, "insert"),
        (1, "delete"),
        (2, "delete"),
        (3_000_000_000, "insert"),
    ];
    assert_eq!(told, said(&expected));
    let before = table.changes(0).to(1).collect().await.unwrap();
    assert_eq!(
        *before[0].column(0).data_type(),
        arrow_schema::DataType::Int32
    );
}
