//! Checkpoints in JSON: V2 with a unique name, one action a line.
//!
//! Spec: [UUID-named checkpoint](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#uuid-named-checkpoint).

use serde::Deserialize;

use crate::error::Result;
use crate::log::checkpoint::corrupt;
use crate::log::checkpoint::state::Found;
use crate::protocol::action::{
    Add, CheckpointMetadata, DomainMetadata, Metadata, Protocol, Remove, Sidecar, Txn,
};
use crate::protocol::json::{JSON_DEPTH_MAX, depth_within};

/// How many bytes a checkpoint in JSON may have: larger ones are written as Parquet.
pub(super) const BYTES_MAX: u64 = 512 << 20;

/// The actions of a checkpoint in JSON.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) found: Found,
    pub(super) adds: Vec<Add>,
    pub(super) removes: Vec<Remove>,
    pub(super) rows: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    add: Option<Add>,
    remove: Option<Remove>,
    meta_data: Option<Metadata>,
    protocol: Option<Protocol>,
    txn: Option<Txn>,
    domain_metadata: Option<DomainMetadata>,
    sidecar: Option<Sidecar>,
    checkpoint_metadata: Option<CheckpointMetadata>,
}

impl Lines {
    /// Reads the lines of a whole checkpoint.
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let mut lines = Self::default();
        let lines_of = bytes.split(|byte| *byte == b'\n');
        for line in lines_of.filter(|line| !line.trim_ascii().is_empty()) {
            if !depth_within(line, JSON_DEPTH_MAX) {
                return Err(corrupt(format!(
                    "a line nests deeper than {JSON_DEPTH_MAX} levels"
                )));
            }
            let line = serde_json::from_slice(line)
                .map_err(|cause| corrupt("a line is not an action").because(cause))?;
            lines.take(line)?;
        }
        Ok(lines)
    }

    fn take(&mut self, line: Line) -> Result<()> {
        self.rows += 1;
        self.adds.extend(line.add);
        self.removes.extend(line.remove);
        if line.meta_data.is_some() {
            self.found.metadata(line.meta_data)?;
        }
        if line.protocol.is_some() {
            self.found.protocol(line.protocol)?;
        }
        if line.txn.is_some() {
            self.found.txn(line.txn)?;
        }
        if line.domain_metadata.is_some() {
            self.found.domain(line.domain_metadata)?;
        }
        if line.sidecar.is_some() {
            self.found.sidecar(line.sidecar)?;
        }
        if let Some(metadata) = line.checkpoint_metadata {
            self.found.version(Some(metadata.version))?;
        }
        Ok(())
    }
}
