//! Tables as input that nobody vouches for: what is read is right, or an error that says so.

mod data;
mod json;
mod log;
mod mutated;
mod paths;

use std::sync::Arc;

use headwater::arrow_array::{Int64Array, RecordBatch};
use headwater::{Error, Result, Table};
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use serde_json::{Value as Json, json};

use crate::support::store::Faulty;
use crate::support::{commit_key, ids_of, open};

pub(crate) const SCHEMA: &str =
    r#"{"type":"struct","fields":[{"name":"id","type":"long","nullable":true,"metadata":{}}]}"#;

pub(crate) fn protocol(reader: i64, writer: i64) -> Json {
    json!({"protocol": {"minReaderVersion": reader, "minWriterVersion": writer}})
}

pub(crate) fn metadata(schema: &str) -> Json {
    json!({"metaData": {
        "id": "6c41bfba-1a4b-4a0a-8b4b-000000000001", "format": {"provider": "parquet", "options": {}},
        "schemaString": schema, "partitionColumns": [], "configuration": {}, "createdTime": 0,
    }})
}

pub(crate) fn add(path: &str, size: usize) -> Json {
    json!({"add": {
        "path": path, "partitionValues": {}, "size": size, "modificationTime": 0, "dataChange": true,
    }})
}

pub(crate) fn remove(path: &str) -> Json {
    json!({"remove": {"path": path, "dataChange": true, "deletionTimestamp": 0}})
}

/// The actions as the text of a commit.
pub(crate) fn text(actions: &[Json]) -> String {
    let lines = actions.iter().map(|action| format!("{action}\n"));
    lines.collect()
}

/// Puts a commit of these bytes where the log has it.
pub(crate) async fn commit(store: &Faulty, version: u64, bytes: impl Into<Vec<u8>>) {
    store.place(&commit_key(version), bytes.into()).await;
}

/// A data file of these ids.
pub(crate) fn parquet(ids: impl IntoIterator<Item = i64>) -> Vec<u8> {
    let column = Arc::new(Int64Array::from_iter_values(ids));
    let batch = RecordBatch::try_from_iter([("id", column as _)]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

/// Puts an object below the table's root.
pub(crate) async fn place(store: &Faulty, key: &str, bytes: impl Into<Vec<u8>>) {
    store
        .place(&Path::from(format!("table/{key}")), bytes.into())
        .await;
}

/// A table of another writer: version 0 without files, version 1 with the ids 1 to 3 in `a.parquet`.
pub(crate) async fn table_of_three(store: &Faulty) {
    commit(store, 0, text(&[protocol(1, 2), metadata(SCHEMA)])).await;
    let file = parquet(1..=3);
    commit(store, 1, text(&[add("a.parquet", file.len())])).await;
    place(store, "a.parquet", file).await;
}

/// What a reader sees who opens the table now.
pub(crate) async fn read(store: &Faulty) -> Result<Vec<i64>> {
    ids_of(&open(store).await?.snapshot()).await
}

/// The error of a reader who opens the table now.
pub(crate) async fn refusal(store: &Faulty) -> Error {
    match read(store).await {
        Ok(ids) => panic!("it was read: {ids:?}"),
        Err(error) => error,
    }
}

/// The error of a reader of a table whose version 1 is these bytes.
pub(crate) async fn refusal_of(bytes: impl Into<Vec<u8>>) -> Error {
    let store = Faulty::default();
    table_of_three(&store).await;
    commit(&store, 1, bytes).await;
    refusal(&store).await
}

/// The error with all its causes, as a log would show it.
pub(crate) fn full_text(error: &Error) -> String {
    format!("{error} {error:?}")
}

/// A handle on the table.
pub(crate) async fn handle(store: &Faulty) -> Table {
    open(store).await.unwrap()
}
