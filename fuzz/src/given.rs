//! Tables that the inputs are put into.

use headwater::storage::Storage;
use serde_json::{Value, json};

use crate::place;

/// The protocol of a table that reads everything.
pub fn protocol() -> Value {
    let features = [
        "columnMapping",
        "deletionVectors",
        "timestampNtz",
        "typeWidening",
        "v2Checkpoint",
        "vacuumProtocolCheck",
        "variantType",
    ];
    json!({"protocol": {
        "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features,
    }})
}

/// The metadata of a table.
pub fn metadata(schema: &str, partition_columns: &[&str], properties: &Value) -> Value {
    json!({"metaData": {
        "id": "5fba94ed-9794-4965-ba6e-6ee3c0d22af9", "format": {"provider": "parquet", "options": {}},
        "schemaString": schema, "partitionColumns": partition_columns, "configuration": properties,
        "createdTime": 1_700_000_000_000_i64,
    }})
}

/// A file of the table.
pub fn add(path: &str, size: usize) -> Value {
    json!({"add": {
        "path": path, "partitionValues": {}, "size": size, "modificationTime": 1_700_000_000_000_i64,
        "dataChange": true,
    }})
}

/// Lines of a log file.
pub fn lines(actions: &[Value]) -> String {
    actions.iter().map(|action| format!("{action}\n")).collect()
}

/// The key of a commit.
pub fn commit_key(version: u64) -> String {
    format!("_delta_log/{version:020}.json")
}

/// Places a commit.
pub async fn commit(storage: &Storage, version: u64, actions: &[Value]) {
    place(storage, &commit_key(version), lines(actions)).await;
}

/// A field of a schema.
pub fn field(name: &str, data_type: impl Into<Value>) -> Value {
    json!({"name": name, "type": data_type.into(), "nullable": true, "metadata": {}})
}

/// A schema as text.
pub fn schema(fields: &[Value]) -> String {
    json!({"type": "struct", "fields": fields}).to_string()
}

/// Columns of every kind of type that there is; the seeds of Parquet files have them.
pub fn wide_schema() -> String {
    let list =
        |element: Value| json!({"type": "array", "elementType": element, "containsNull": true});
    schema(&[
        field("id", "long"),
        field("small", "short"),
        field("flag", "boolean"),
        field("score", "double"),
        field("text", "string"),
        field("bytes", "binary"),
        field("day", "date"),
        field("at", "timestamp"),
        field("local", "timestamp_ntz"),
        field("price", "decimal(12,2)"),
        field("tags", list(json!("string"))),
        field("points", list(list(json!("float")))),
        field(
            "counts",
            json!({"type": "map", "keyType": "string", "valueType": "integer", "valueContainsNull": true}),
        ),
        field(
            "inner",
            json!({"type": "struct", "fields": [field("a", "integer"), field("b", "string")]}),
        ),
        field("any", "variant"),
    ])
}

/// The schema of one number.
pub fn id_schema() -> String {
    schema(&[field("id", "long")])
}
