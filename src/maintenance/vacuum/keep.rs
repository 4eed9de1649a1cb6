//! Which objects a table may still need.

use std::collections::BTreeSet;

use futures::TryStreamExt;

use crate::error::Result;
use crate::log::checkpoint::{FileColumns, StatsWanted};
use crate::log::commit::{self, Commit};
use crate::log::files::FileBatch;
use crate::log::removes::RemoveBatch;
use crate::protocol::Version;
use crate::protocol::action::DeletionVectorDescriptor;
use crate::protocol::deletion_vector::VectorSource;
use crate::protocol::location::{FileLocation, resolve};
use crate::snapshot::Snapshot;
use crate::storage::Storage;
use crate::table::Table;

/// Keys, as the store lists them: both sides are compared in the one decoded form.
#[derive(Debug)]
pub(super) struct Keep {
    storage: Storage,
    pub(super) keys: BTreeSet<String>,
    /// Keys that the log says went: if they are not kept, their time has come.
    pub(super) removed: BTreeSet<String>,
    /// Versions that are kept because they are held.
    held: BTreeSet<Version>,
}

impl Keep {
    pub(super) fn new(storage: &Storage) -> Self {
        Self {
            storage: storage.clone(),
            keys: BTreeSet::new(),
            removed: BTreeSet::new(),
            held: BTreeSet::new(),
        }
    }

    /// Keeps the live files of a version, and files removed at or after `cutoff_millis`.
    pub(super) async fn version(&mut self, snapshot: &Snapshot, cutoff_millis: i64) -> Result<()> {
        let columns = FileColumns {
            stats: StatsWanted::None,
            tags: false,
            partition_values_parsed: false,
        };
        let mut files = snapshot.files(columns).await?;
        while let Some(batch) = files.try_next().await? {
            self.adds(&batch);
        }
        let mut tombstones = snapshot.tombstones().await?;
        while let Some(batch) = tombstones.try_next().await? {
            self.removes(&batch, Some(cutoff_millis));
        }
        Ok(())
    }

    /// Keeps the live files of versions that are pinned or leased.
    pub(super) async fn held(&mut self, table: &Table, versions: &[Version]) -> Result<()> {
        for version in versions {
            if self.held.insert(*version) {
                let held = table.snapshot_at(*version).await?;
                self.version(&held, i64::MAX).await?;
            }
        }
        Ok(())
    }

    /// Keeps everything that commits from `first` on speak of.
    pub(super) async fn commits(&mut self, first: Version, last: Version) -> Result<()> {
        for version in first..=last {
            if let Some(commit) = commit::read(&self.storage, version).await? {
                self.commit(&commit, None);
            }
        }
        Ok(())
    }

    /// Keeps what a commit added, and what it removed at or after `cutoff_millis`; `None` is all.
    pub(super) fn commit(&mut self, commit: &Commit, cutoff_millis: Option<i64>) {
        self.adds(&commit.adds);
        self.removes(&commit.removes, cutoff_millis);
        for cdc in &commit.cdcs {
            self.path(&cdc.path);
        }
    }

    fn adds(&mut self, batch: &FileBatch) {
        for row in 0..batch.len() {
            self.path(batch.path(row));
            self.vector(batch.deletion_vector(row));
        }
    }

    fn removes(&mut self, batch: &RemoveBatch, cutoff_millis: Option<i64>) {
        for row in 0..batch.len() {
            let when = batch.deletion_timestamp(row).unwrap_or(0);
            if cutoff_millis.is_none_or(|cutoff| cutoff <= when) {
                self.path(batch.path(row));
                self.vector(batch.deletion_vector(row));
            } else {
                let vector = self.vector_key(batch.deletion_vector(row));
                self.removed.extend(self.key(batch.path(row)));
                self.removed.extend(vector);
            }
        }
    }

    fn path(&mut self, path: &str) {
        self.keys.extend(self.key(path));
    }

    fn vector(&mut self, vector: Option<DeletionVectorDescriptor>) {
        self.keys.extend(self.vector_key(vector));
    }

    /// The object that a vector is in.
    fn vector_key(&self, vector: Option<DeletionVectorDescriptor>) -> Option<String> {
        match vector?.source().ok()? {
            VectorSource::File { location, .. } => self.located(location),
            VectorSource::Inline(_) => None,
        }
    }

    /// The key below the table; a path that leads elsewhere is no object of it.
    fn key(&self, path: &str) -> Option<String> {
        resolve(path)
            .ok()
            .and_then(|location| self.located(location))
    }

    fn located(&self, location: FileLocation) -> Option<String> {
        let (place, key) = self.storage.locate(location).ok()?;
        (place.location() == self.storage.location()).then_some(key)
    }
}
