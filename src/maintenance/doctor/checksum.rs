//! A version checksum file must say what the commits up to its version add up to.
//!
//! Spec: [Version Checksum File](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#version-checksum-file).

use serde::Deserialize;

use crate::error::{ErrorKind, Result};
use crate::log::commit::Commit;
use crate::log::path::LOG_DIRECTORY;
use crate::maintenance::doctor::state::State;
use crate::maintenance::doctor::{Doctor, Grade, Report};
use crate::protocol::action::{Metadata, Protocol};
use crate::protocol::json::{JSON_DEPTH_MAX, depth_within};
use crate::protocol::schema::Schema;

/// The largest checksum file that is read.
const BYTES_MAX: u64 = 256 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Checksum {
    table_size_bytes: Option<i64>,
    num_files: Option<i64>,
    num_metadata: Option<i64>,
    num_protocol: Option<i64>,
    in_commit_timestamp_opt: Option<i64>,
    metadata: Option<Metadata>,
    protocol: Option<Protocol>,
}

/// Says in what the checksum file of a commit differs from the replay.
pub(super) async fn compare(
    doctor: &Doctor,
    state: &State,
    commit: &Commit,
    report: &mut Report,
) -> Result<()> {
    let version = commit.version;
    let key = format!("{LOG_DIRECTORY}/{version:020}.crc");
    let bytes = match doctor.storage.get_limited(&key, BYTES_MAX).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::Storage => return Err(error),
        Err(_) => return Ok(()),
    };
    let parsed = depth_within(&bytes, JSON_DEPTH_MAX)
        .then(|| serde_json::from_slice::<Checksum>(&bytes).ok());
    let Some(sum) = parsed.flatten() else {
        let message = "a version checksum file cannot be read: it is ignored";
        report
            .find(Grade::Note, "checksum", message)
            .with("version", version);
        return Ok(());
    };
    for what in sum.differences(state, commit) {
        let message =
            format!("a version checksum file disagrees with the commits up to it: {what}");
        report
            .find(Grade::Damage, "checksum_differs", message)
            .with("version", version);
    }
    Ok(())
}

impl Checksum {
    fn differences(&self, state: &State, commit: &Commit) -> Vec<&'static str> {
        let files = i64::try_from(state.live.len()).unwrap_or(i64::MAX);
        let told = |metadata: &Metadata| {
            let schema = Schema::from_json(&metadata.schema_string).ok();
            (
                metadata.id.clone(),
                schema,
                metadata.partition_columns.clone(),
            )
        };
        let metadata = self.metadata.as_ref().map(told);
        let versions =
            |protocol: &Protocol| (protocol.min_reader_version, protocol.min_writer_version);
        let protocol = self.protocol.as_ref().map(versions);
        let time = commit
            .info
            .as_ref()
            .and_then(|info| info.in_commit_timestamp);
        let other = [self.num_metadata, self.num_protocol]
            .into_iter()
            .flatten()
            .any(|count| count != 1);
        let checks = [
            (
                self.num_files.is_some_and(|count| count != files),
                "the number of files",
            ),
            (
                self.table_size_bytes
                    .is_some_and(|bytes| bytes != state.bytes()),
                "the bytes of the table",
            ),
            (other, "the number of protocol or metaData actions"),
            (
                metadata.is_some() && metadata != state.metadata.as_ref().map(told),
                "the metadata",
            ),
            (
                protocol.is_some() && protocol != state.protocol.as_ref().map(versions),
                "the protocol",
            ),
            (
                self.in_commit_timestamp_opt.is_some() && self.in_commit_timestamp_opt != time,
                "the in-commit timestamp",
            ),
        ];
        checks
            .into_iter()
            .filter(|(differs, _)| *differs)
            .map(|(_, what)| what)
            .collect()
    }
}
