//! The state of a table, rebuilt from single actions.
//!
//! Spec: [Action Reconciliation](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#action-reconciliation).

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;

use crate::error::Result;
use crate::log::checkpoint::{CheckpointReader, FileColumns};
use crate::log::commit::Commit;
use crate::maintenance::doctor::{Grade, Report};
use crate::protocol::action::{Add, DomainMetadata, Metadata, Protocol};
use crate::protocol::feature::TableFeature;
use crate::protocol::property::TableProperties;
use crate::protocol::schema::Schema;

/// A table at one version.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) protocol: Option<Protocol>,
    pub(super) metadata: Option<Metadata>,
    /// The last number of each application.
    pub(super) txns: BTreeMap<String, i64>,
    pub(super) domains: BTreeMap<String, DomainMetadata>,
    /// Live files by their keys.
    pub(super) live: BTreeMap<String, Add>,
    /// Times of tombstones by their keys.
    pub(super) tombstones: BTreeMap<String, Option<i64>>,
    /// Keys of live files by their paths.
    by_path: BTreeMap<String, String>,
    /// Whether every file that was ever there is known.
    complete: bool,
    last_time: Option<i64>,
}

impl State {
    /// Before version 0.
    pub(super) fn empty() -> Self {
        Self {
            complete: true,
            ..Self::default()
        }
    }

    /// What a checkpoint says.
    pub(super) async fn of_checkpoint(reader: &CheckpointReader) -> Result<Self> {
        let mut state = Self::default();
        let found = reader.state().clone();
        state.protocol = Some(found.protocol);
        state.metadata = Some(found.metadata);
        state.txns = found
            .txns
            .into_iter()
            .map(|txn| (txn.app_id, txn.version))
            .collect();
        let domains = found.domains.into_iter().filter(|domain| !domain.removed);
        state.domains = domains
            .map(|domain| (domain.domain.clone(), domain))
            .collect();
        let mut files = reader.files(FileColumns::all()).await?;
        while let Some(batch) = files.try_next().await? {
            for row in 0..batch.len() {
                let key = batch.key_text(row).into_owned();
                state
                    .by_path
                    .insert(batch.canonical_path(row).into_owned(), key.clone());
                state.live.insert(key, batch.add(row));
            }
        }
        let mut removes = reader.removes().await?;
        while let Some(batch) = removes.try_next().await? {
            for row in 0..batch.len() {
                let key = batch.key_text(row).into_owned();
                state.tombstones.insert(key, batch.deletion_timestamp(row));
            }
        }
        Ok(state)
    }

    /// Applies a commit, and says what in it contradicts what was there.
    pub(super) fn apply(&mut self, commit: &Commit, report: &mut Report) {
        let version = commit.version;
        if let Some(protocol) = &commit.protocol {
            self.protocol = Some(protocol.clone());
        }
        if let Some(metadata) = &commit.metadata {
            self.change_metadata(metadata, report, version);
        }
        for txn in &commit.txns {
            self.txns.insert(txn.app_id.clone(), txn.version);
        }
        for domain in &commit.domains {
            match domain.removed {
                true => self.domains.remove(&domain.domain),
                false => self.domains.insert(domain.domain.clone(), domain.clone()),
            };
        }
        for row in 0..commit.removes.len() {
            let key = commit.removes.key_text(row).into_owned();
            let known = self.live.remove(&key).is_some();
            let path = commit.removes.canonical_path(row).into_owned();
            if self.by_path.get(&path) == Some(&key) {
                self.by_path.remove(&path);
            }
            let again = self
                .tombstones
                .insert(key, commit.removes.deletion_timestamp(row))
                .is_some();
            // Dropping the feature of deletion vectors leaves tombstones of their objects.
            let vector = path.ends_with(".bin");
            if !known && !again && self.complete && !vector {
                let message = "a commit removes a file that was not there";
                let finding = report.find(Grade::Note, "removes_nothing", message);
                finding.with("version", version).with("path", path);
            }
        }
        for row in 0..commit.adds.len() {
            self.add(commit, row, report);
        }
        self.check_time(commit, report);
    }

    fn add(&mut self, commit: &Commit, row: usize, report: &mut Report) {
        let key = commit.adds.key_text(row).into_owned();
        let path = commit.adds.canonical_path(row).into_owned();
        let other = self.by_path.insert(path.clone(), key.clone());
        if other.is_some_and(|other| other != key) {
            let message =
                "a file is live with two deletion vectors at once: its rows are there twice";
            let finding = report.find(Grade::Rows, "doubled_file", message);
            finding.with("version", commit.version).with("path", path);
        }
        self.tombstones.remove(&key);
        self.live.insert(key, commit.adds.add(row));
    }

    fn change_metadata(&mut self, metadata: &Metadata, report: &mut Report, version: u64) {
        if self
            .metadata
            .as_ref()
            .is_some_and(|known| known.id != metadata.id)
        {
            let message = "the table's id changes in the middle of its log: two tables were mixed";
            report
                .find(Grade::Rows, "mixed_tables", message)
                .with("version", version);
        }
        if let Err(error) = Schema::from_json(&metadata.schema_string) {
            report
                .failed(Grade::Damage, "schema", &error)
                .with("version", version);
        }
        self.metadata = Some(metadata.clone());
    }

    fn check_time(&mut self, commit: &Commit, report: &mut Report) {
        let feature = TableFeature::InCommitTimestamp;
        let supported = self
            .protocol
            .as_ref()
            .is_some_and(|it| it.supports(&feature));
        if !supported || !self.properties().enable_in_commit_timestamps {
            self.last_time = None;
            return;
        }
        match commit.in_commit_timestamp() {
            Err(error) => {
                report
                    .failed(Grade::Damage, "commit_time", &error)
                    .with("version", commit.version);
            }
            Ok(time) => {
                if self.last_time.is_some_and(|last| time <= last) {
                    let message = "in-commit timestamps do not grow";
                    report
                        .find(Grade::Damage, "commit_time", message)
                        .with("version", commit.version);
                }
                self.last_time = Some(time);
            }
        }
    }

    /// The properties in force.
    pub(super) fn properties(&self) -> Arc<TableProperties> {
        let configuration = self
            .metadata
            .as_ref()
            .map(|metadata| &metadata.configuration);
        let parsed =
            configuration.and_then(|properties| TableProperties::parse_leniently(properties).ok());
        Arc::new(parsed.unwrap_or_default())
    }

    /// The schema in force, if it can be read.
    pub(super) fn schema(&self) -> Option<Schema> {
        Schema::from_json(&self.metadata.as_ref()?.schema_string).ok()
    }

    /// Bytes of the live files.
    pub(super) fn bytes(&self) -> i64 {
        self.live
            .values()
            .fold(0, |sum, add| sum.saturating_add(add.size))
    }
}
