//! Actions: what a commit is made of.
//!
//! Spec: [Actions](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#actions). Unknown fields are tolerated
//! everywhere, as the protocol asks. Those of `metaData` are kept when it is written again. Those of `add` and `remove` are
//! not: a field that matters to others comes with a writer feature, and without that feature this crate does not write.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::protocol::Version;
use crate::protocol::json::Json;

#[cfg(test)]
mod tests;

/// Fields that this build does not know, kept as they were.
pub type UnknownFields = BTreeMap<String, serde_json::Value>;

/// Partition values by physical column name. `None` and the empty string both mean null.
pub type PartitionValues = BTreeMap<String, Option<String>>;

/// One action of a commit.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub enum Action {
    /// See [`Add`].
    #[serde(rename = "add")]
    Add(Add),
    /// See [`Remove`].
    #[serde(rename = "remove")]
    Remove(Remove),
    /// See [`AddCdc`].
    #[serde(rename = "cdc")]
    Cdc(AddCdc),
    /// See [`Metadata`].
    #[serde(rename = "metaData")]
    Metadata(Metadata),
    /// See [`Protocol`].
    #[serde(rename = "protocol")]
    Protocol(Protocol),
    /// See [`Txn`].
    #[serde(rename = "txn")]
    Txn(Txn),
    /// See [`CommitInfo`].
    #[serde(rename = "commitInfo")]
    CommitInfo(CommitInfo),
    /// See [`DomainMetadata`].
    #[serde(rename = "domainMetadata")]
    DomainMetadata(DomainMetadata),
    /// See [`Sidecar`].
    #[serde(rename = "sidecar")]
    Sidecar(Sidecar),
    /// See [`CheckpointMetadata`].
    #[serde(rename = "checkpointMetadata")]
    CheckpointMetadata(CheckpointMetadata),
}

/// Adds a logical file to the table.
///
/// Spec: [Add File and Remove File](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#add-file-and-remove-file).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Add {
    /// URI of the data file, percent-encoded, relative to the table root or absolute.
    pub path: String,
    /// Partition values by physical column name, as text.
    #[serde(default, deserialize_with = "null_as_default")]
    pub partition_values: PartitionValues,
    /// Size of the data file in bytes.
    pub size: i64,
    /// When the file was made, in milliseconds since the epoch.
    pub modification_time: i64,
    /// Whether rows of the table change: `false` when the file only rearranges rows that were there.
    pub data_change: bool,
    /// Statistics of the file: JSON as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<String>,
    /// Notes about the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, Option<String>>>,
    /// Which rows of the file are deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_vector: Option<DeletionVectorDescriptor>,
    /// Row id of the file's first row, where row tracking is supported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_row_id: Option<i64>,
    /// First version that held the file, where row tracking is supported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_row_commit_version: Option<i64>,
    /// Name of the clustering implementation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clustering_provider: Option<String>,
    /// Fields that this build does not know.
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

/// Removes a logical file from the table, and is its tombstone.
///
/// Spec: [Add File and Remove File](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#add-file-and-remove-file).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Remove {
    /// URI of the data file, as in the [`Add`] it undoes.
    pub path: String,
    /// When it was removed, in milliseconds since the epoch; absent is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<i64>,
    /// Whether rows of the table change. Absent means `true`.
    #[serde(default = "default_true", deserialize_with = "null_as_true")]
    pub data_change: bool,
    /// Whether partition values, size and tags are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_file_metadata: Option<bool>,
    /// Partition values, if the metadata is extended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_values: Option<PartitionValues>,
    /// Size in bytes, if the metadata is extended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
    /// Statistics: JSON as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<String>,
    /// Notes about the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, Option<String>>>,
    /// The deletion vector of the logical file that is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_vector: Option<DeletionVectorDescriptor>,
    /// Row id of the file's first row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_row_id: Option<i64>,
    /// First version that held the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_row_commit_version: Option<i64>,
    /// Fields that this build does not know.
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

/// A file with the changes of a commit, for the change feed.
///
/// Spec: [Add CDC File](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#add-cdc-file).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddCdc {
    /// URI of the file, below `_change_data`.
    pub path: String,
    /// Partition values by physical column name.
    #[serde(default, deserialize_with = "null_as_default")]
    pub partition_values: PartitionValues,
    /// Size in bytes.
    pub size: i64,
    /// Always `false`.
    pub data_change: bool,
    /// Notes about the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, Option<String>>>,
}

/// Name, schema, partitioning and properties of the table; the newest one replaces all before it.
///
/// Spec: [Change Metadata](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#change-metadata).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The table's id, the same for its whole life.
    pub id: String,
    /// A name a person gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A description a person gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Encoding of the data files.
    pub format: Format,
    /// The schema: JSON as text. See [`schema`](crate::protocol::schema).
    #[serde(default = "no_columns")]
    pub schema_string: String,
    /// Logical names of the partition columns.
    #[serde(default, deserialize_with = "null_as_default")]
    pub partition_columns: Vec<String>,
    /// When the table was made, in milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_time: Option<i64>,
    /// Table properties.
    #[serde(default, deserialize_with = "null_as_default")]
    pub configuration: BTreeMap<String, String>,
    /// Fields that this build does not know.
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

/// Encoding of the data files: `parquet`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// `parquet`.
    pub provider: String,
    /// Options of the encoding.
    #[serde(default, deserialize_with = "null_as_default")]
    pub options: BTreeMap<String, String>,
}

impl Default for Format {
    fn default() -> Self {
        Self {
            provider: "parquet".to_owned(),
            options: BTreeMap::new(),
        }
    }
}

/// What a client must be able to do to read or write the table.
///
/// Spec: [Protocol Evolution](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#protocol-evolution).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Protocol {
    /// Lowest reader version.
    pub min_reader_version: i32,
    /// Lowest writer version.
    pub min_writer_version: i32,
    /// Features a reader must support; there if and only if the reader version is 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reader_features: Option<Vec<String>>,
    /// Features a writer must support; there if and only if the writer version is 7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer_features: Option<Vec<String>>,
}

/// The last transaction of one application: what makes its writes exactly once.
///
/// Spec: [Transaction Identifiers](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#transaction-identifiers).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Txn {
    /// The application.
    pub app_id: String,
    /// Its transaction number.
    pub version: i64,
    /// When it committed, in milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_updated: Option<i64>,
}

/// Where a commit came from: not part of the table's state.
///
/// Spec: [Commit Provenance Information](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#commit-provenance-information).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitInfo {
    /// When, by the writer's clock, in milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<i64>,
    /// The commit's own time, where in-commit timestamps are enabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_commit_timestamp: Option<i64>,
    /// What was done, such as `WRITE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// How it was done; values are JSON as text, as Spark writes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation_parameters: Option<BTreeMap<String, Json>>,
    /// What it did; values are numbers as text, as Spark writes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation_metrics: Option<BTreeMap<String, Json>>,
    /// The version that was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_version: Option<i64>,
    /// `Serializable` or `WriteSerializable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolation_level: Option<String>,
    /// Whether the commit only adds files and read none; absent is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_blind_append: Option<bool>,
    /// Which engine wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_info: Option<String>,
    /// The transaction that wrote it: how a writer knows its own commit again after a lost answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub txn_id: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

/// Configuration of a named domain.
///
/// Spec: [Domain Metadata](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#domain-metadata).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainMetadata {
    /// Name of the domain; those that start with `delta.` belong to the protocol.
    pub domain: String,
    /// The domain's configuration.
    pub configuration: String,
    /// Whether this is a tombstone.
    pub removed: bool,
    /// Fields that this build does not know.
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

/// A file that holds part of a V2 checkpoint.
///
/// Spec: [Sidecar File Information](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#sidecar-file-information).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sidecar {
    /// URI of the file, usually a name below `_delta_log/_sidecars`.
    pub path: String,
    /// Size in bytes.
    pub size_in_bytes: i64,
    /// When it was made, in milliseconds since the epoch.
    pub modification_time: i64,
    /// Notes about the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, Option<String>>>,
}

/// What a V2 checkpoint says of itself.
///
/// Spec: [Checkpoint Metadata](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#checkpoint-metadata).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointMetadata {
    /// The version it is a checkpoint of.
    pub version: i64,
    /// Notes about the checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, Option<String>>>,
}

/// Where a deletion vector is, and how many rows it deletes.
///
/// Spec: [Deletion Vector Descriptor Schema](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#deletion-vector-descriptor-schema).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletionVectorDescriptor {
    /// `u`: a file named by a UUID; `i`: inline; `p`: a file at an absolute path.
    pub storage_type: String,
    /// What the storage type says: base85 of the bitmap, prefix and base85 of the UUID, or a path.
    pub path_or_inline_dv: String,
    /// Where in the file the vector starts, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<i32>,
    /// Size of the vector in bytes.
    pub size_in_bytes: i32,
    /// How many rows it deletes.
    pub cardinality: i64,
}

impl DeletionVectorDescriptor {
    /// The id of the vector, one half of a logical file's key.
    ///
    /// Spec: [Derived Fields](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#derived-fields).
    ///
    /// ```
    /// use headwater::protocol::action::DeletionVectorDescriptor;
    /// let mut vector = DeletionVectorDescriptor {
    ///     storage_type: "u".into(),
    ///     path_or_inline_dv: "ab^-aqEH.-t@S}K{vb[*k^".into(),
    ///     offset: Some(0),
    ///     size_in_bytes: 36,
    ///     cardinality: 2,
    /// };
    /// assert_eq!(vector.unique_id(), "uab^-aqEH.-t@S}K{vb[*k^@0");
    /// vector.offset = None;
    /// assert_eq!(vector.unique_id(), "uab^-aqEH.-t@S}K{vb[*k^");
    /// ```
    pub fn unique_id(&self) -> String {
        let Self {
            storage_type,
            path_or_inline_dv,
            ..
        } = self;
        match self.offset {
            Some(offset) => format!("{storage_type}{path_or_inline_dv}@{offset}"),
            None => format!("{storage_type}{path_or_inline_dv}"),
        }
    }
}

impl CommitInfo {
    /// The first `version`-independent identity of a commit: its `txnId`.
    pub fn is_of(&self, txn_id: &str) -> bool {
        self.txn_id.as_deref() == Some(txn_id)
    }
}

/// One commit: its version and its actions.
#[derive(Debug, Clone, PartialEq)]
pub struct CommitActions {
    /// The version the commit made.
    pub version: Version,
    /// Its actions, in file order.
    pub actions: Vec<Action>,
}

/// The reference engine leaves the schema out where it has not been said yet.
fn no_columns() -> String {
    r#"{"type":"struct","fields":[]}"#.to_owned()
}

fn default_true() -> bool {
    true
}

/// Some writers say `null` where the protocol asks for a collection.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Some writers say `null` where absence means `true`.
fn null_as_true<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Option::deserialize(deserializer).map(|value| value.unwrap_or(true))
}

impl<'de> Deserialize<'de> for CommitInfo {
    /// Provenance is free-form in the protocol, so a field of another type than ours is unknown, not corrupt; except
    /// the commit's own time, which the table's history rests on.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields: BTreeMap<String, Json> = BTreeMap::deserialize(deserializer)?;
        let in_commit_timestamp = match fields.remove("inCommitTimestamp") {
            Some(json) => serde_json::from_str(json.text()).map_err(serde::de::Error::custom)?,
            None => None,
        };
        Ok(Self {
            timestamp: take(&mut fields, "timestamp"),
            in_commit_timestamp,
            operation: take(&mut fields, "operation"),
            operation_parameters: take(&mut fields, "operationParameters"),
            operation_metrics: take(&mut fields, "operationMetrics"),
            read_version: take(&mut fields, "readVersion"),
            isolation_level: take(&mut fields, "isolationLevel"),
            is_blind_append: take(&mut fields, "isBlindAppend"),
            engine_info: take(&mut fields, "engineInfo"),
            txn_id: take(&mut fields, "txnId"),
            unknown: fields
                .into_iter()
                .filter_map(|(name, json)| Some((name, serde_json::from_str(json.text()).ok()?)))
                .collect(),
        })
    }
}

/// Takes a field out; `None` if it is not there, null, or of another type.
fn take<T: for<'a> Deserialize<'a>>(fields: &mut BTreeMap<String, Json>, name: &str) -> Option<T> {
    serde_json::from_str(fields.remove(name)?.text()).ok()
}
