//! A version checksum file must say what the commits up to its version add up to.
//!
//! Spec: [Version Checksum File](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#version-checksum-file).

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::{ErrorKind, Result};
use crate::log::commit::Commit;
use crate::log::key::key_text;
use crate::log::path::LOG_DIRECTORY;
use crate::maintenance::doctor::checkpoints::features;
use crate::maintenance::doctor::state::State;
use crate::maintenance::doctor::{Doctor, Grade, Report};
use crate::protocol::action::{
    Add, DeletionVectorDescriptor, DomainMetadata, Metadata, Protocol, Txn,
};
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
    set_transactions: Option<Vec<Txn>>,
    domain_metadata: Option<Vec<DomainMetadata>>,
    all_files: Option<Vec<Add>>,
    num_deleted_records_opt: Option<i64>,
    num_deletion_vectors_opt: Option<i64>,
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
                metadata.configuration.clone(),
            )
        };
        let metadata = self.metadata.as_ref().map(told);
        let protocol = self.protocol.as_ref().map(features);
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
                protocol.is_some() && protocol != state.protocol.as_ref().map(features),
                "the protocol",
            ),
            (
                self.in_commit_timestamp_opt.is_some() && self.in_commit_timestamp_opt != time,
                "the in-commit timestamp",
            ),
            (self.differs_in_txns(state), "the transaction numbers"),
            (self.differs_in_domains(state), "the metadata domains"),
            (self.differs_in_files(state), "the list of files"),
            (self.differs_in_vectors(state), "the deletion vectors"),
        ];
        checks
            .into_iter()
            .filter(|(differs, _)| *differs)
            .map(|(_, what)| what)
            .collect()
    }

    fn differs_in_txns(&self, state: &State) -> bool {
        let Some(txns) = &self.set_transactions else {
            return false;
        };
        let said = txns.iter().map(|txn| (txn.app_id.as_str(), txn.version));
        let said: BTreeMap<&str, i64> = said.collect();
        let may_expire = state.properties().set_transaction_retention.is_some();
        let known = |(app, version): (&&str, &i64)| state.txns.get(*app) == Some(version);
        !said.iter().all(known) || (!may_expire && said.len() != state.txns.len())
    }

    fn differs_in_domains(&self, state: &State) -> bool {
        let Some(domains) = &self.domain_metadata else {
            return false;
        };
        let live = domains.iter().filter(|domain| !domain.removed);
        let said = live.map(|domain| (domain.domain.as_str(), domain.configuration.as_str()));
        let replay = state.domains.values();
        let replay = replay.map(|domain| (domain.domain.as_str(), domain.configuration.as_str()));
        said.collect::<BTreeMap<_, _>>() != replay.collect()
    }

    fn differs_in_files(&self, state: &State) -> bool {
        let Some(files) = &self.all_files else {
            return false;
        };
        let said = files.iter().map(|add| {
            let vector = add.deletion_vector.as_ref();
            let vector = vector.map(DeletionVectorDescriptor::unique_id);
            let key = key_text(&add.path, vector.as_deref()).into_owned();
            (key, add.size)
        });
        let replay = state.live.iter().map(|(key, add)| (key.clone(), add.size));
        said.collect::<BTreeMap<_, _>>() != replay.collect()
    }

    fn differs_in_vectors(&self, state: &State) -> bool {
        let vectors = || {
            let adds = state.live.values();
            adds.filter_map(|add| add.deletion_vector.as_ref())
        };
        let count = i64::try_from(vectors().count()).unwrap_or(i64::MAX);
        let rows = vectors().fold(0, |sum: i64, it| sum.saturating_add(it.cardinality));
        self.num_deletion_vectors_opt
            .is_some_and(|said| said != count)
            || self
                .num_deleted_records_opt
                .is_some_and(|said| said != rows)
    }
}
