//! Checkpoints: the whole state of a table at one version, as columns.
//!
//! [`CheckpointReader`] reads every kind there is: V1 in one file or in parts, V2 in Parquet or JSON, with or without
//! sidecars. It reads only the columns that are asked for, and of tables with typed statistics only those of the columns
//! that are asked for. [`write()`] makes V1 checkpoints in one file with the classic name, which every reader understands.
//!
//! A checkpoint that cannot be read is never half-read: every defect is
//! [`Code::CorruptCheckpoint`], upon which the caller takes an older one. Only a sidecar whose path leads elsewhere is
//! [`Code::UnsafePath`], upon which nobody goes on: no writer makes one by accident.
//!
//! Spec: [Checkpoints](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#checkpoints).

mod cells;
mod encode;
mod files;
mod json;
mod normal;
mod part;
mod read;
mod schema;
mod state;
mod statistics;
mod write;

pub(crate) use files::{FileColumns, StatsWanted};
pub(crate) use read::CheckpointReader;
pub(crate) use state::CheckpointState;
pub(crate) use statistics::{ColumnReader, ColumnSummary, FileText};
pub(crate) use write::{CheckpointInput, write};

use crate::error::{Code, Error, ErrorKind};

/// A checkpoint that is not what a checkpoint must be.
fn corrupt(what: impl Into<String>) -> Error {
    Error::corrupt(Code::CorruptCheckpoint, what)
}

/// An error met while reading an object of a checkpoint. Whatever is wrong with its content makes the checkpoint
/// corrupt, and so does its absence, for it was listed; what is wrong with the store says nothing about it.
fn in_checkpoint(error: Error, key: &str) -> Error {
    if error.kind() == ErrorKind::Storage {
        return error;
    }
    if matches!(error.code(), Code::CorruptCheckpoint | Code::UnsafePath) {
        return match error.context_value("object") {
            Some(_) => error,
            None => error.with("object", key),
        };
    }
    corrupt("the checkpoint cannot be read")
        .with("object", key)
        .because(error)
}

/// Columns that do not fit together, which only a defect of ours or an overflow of 32-bit offsets can cause.
fn cannot_build(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::invalid(Code::LimitExceeded, "checkpoint columns cannot be built").because(cause)
}

#[cfg(test)]
mod tests;
