//! Private decoders for the fuzz targets in `fuzz/`; built with `--cfg fuzzing` only, and no part of the interface.

use bytes::Bytes;

use crate::error::Result;
use crate::log::hint::LastCheckpoint;
use crate::log::path::{CheckpointKind, LogPath};
use crate::log::{commit, encode};
use crate::protocol::Version;
use crate::protocol::action::Action;
use crate::protocol::schema::Schema;
use crate::storage::Storage;
use crate::storage::parquet::ParquetFile;

/// What a commit file says: one action per line, in no order that means anything.
///
/// # Errors
///
/// As reading a table.
pub fn decode_commit(version: Version, bytes: &[u8]) -> Result<Vec<Action>> {
    let commit = commit::decode(version, bytes)?;
    let mut actions = Vec::new();
    actions.extend(commit.info.map(Action::CommitInfo));
    actions.extend(commit.protocol.map(Action::Protocol));
    actions.extend(commit.metadata.map(Action::Metadata));
    actions.extend(commit.txns.into_iter().map(Action::Txn));
    actions.extend(commit.domains.into_iter().map(Action::DomainMetadata));
    let (adds, removes) = (&commit.adds, &commit.removes);
    actions.extend((0..adds.len()).map(|row| Action::Add(adds.add(row))));
    actions.extend((0..removes.len()).map(|row| Action::Remove(removes.remove(row))));
    actions.extend(commit.cdcs.into_iter().map(Action::Cdc));
    Ok(actions)
}

/// The bytes of a commit file.
///
/// # Errors
///
/// As writing a table.
pub fn encode_commit(version: Version, actions: &[Action]) -> Result<Bytes> {
    encode::encode(version, actions)
}

/// The version that a `_last_checkpoint` names, and what is written for the same checkpoint.
pub fn hint(bytes: &[u8]) -> Option<(Version, String)> {
    LastCheckpoint::parse(bytes).map(|hint| (hint.version, hint.to_json()))
}

/// A name in `_delta_log` as this crate would write it, if it is one.
pub fn log_file_name(name: &str) -> Option<String> {
    let name = match LogPath::parse(name)? {
        LogPath::Commit { version } => format!("{version:020}.json"),
        LogPath::Checksum { version } => format!("{version:020}.crc"),
        LogPath::Compacted { from, to } => format!("{from:020}.{to:020}.compacted.json"),
        LogPath::Checkpoint { version, kind } => {
            let rest = match kind {
                CheckpointKind::Classic => "parquet".to_owned(),
                CheckpointKind::Multi { part, parts } => format!("{part:010}.{parts:010}.parquet"),
                CheckpointKind::Uuid { id, json: true } => format!("{id}.json"),
                CheckpointKind::Uuid { id, json: false } => format!("{id}.parquet"),
            };
            format!("{version:020}.checkpoint.{rest}")
        }
    };
    Some(name)
}

/// The schema of a table that has the columns of a Parquet object.
///
/// # Errors
///
/// As reading a data file, and if a column is of a type that tables do not have.
pub async fn schema_of(storage: &Storage, key: &str) -> Result<Schema> {
    let file = ParquetFile::open(storage, key, None).await?;
    Schema::from_arrow(file.arrow_schema())
}
