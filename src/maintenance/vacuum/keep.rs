//! Which objects a table may still need.
//!
//! A file that must stay, and of which it cannot be told which object it is, stops the vacuum: it may be any of them.
//! One that an absolute path names outside of the table may lie in it all the same, under another address of the same
//! place (`s3a` for `s3`, a link, another host name), so that no object of its name goes.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};

use crate::error::{Code, Error, ErrorKind, Result};
use crate::log::checkpoint::FileColumns;
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

/// Commits that are read at one time.
const COMMITS_IN_FLIGHT: usize = 16;

/// Keys, as the store lists them: both sides are compared in the one decoded form.
#[derive(Debug)]
pub(super) struct Keep {
    storage: Storage,
    pub(super) keys: BTreeSet<String>,
    /// Last segments of files that the log places outside of the table.
    names: BTreeSet<String>,
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
            names: BTreeSet::new(),
            removed: BTreeSet::new(),
            held: BTreeSet::new(),
        }
    }

    /// Whether the object of this key may be needed.
    pub(super) fn holds(&self, key: &str) -> bool {
        self.keys.contains(key) || self.names.contains(last_segment(key))
    }

    /// Whether the other one holds all that this one holds.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.keys.is_subset(&other.keys) && self.names.is_subset(&other.names)
    }

    /// Keeps the live files of a version, and files removed at or after `cutoff_millis`.
    ///
    /// A checkpoint that cannot be read is passed over for an older one.
    pub(super) async fn version(&mut self, snapshot: &Snapshot, cutoff_millis: i64) -> Result<()> {
        let mut snapshot = snapshot.clone();
        loop {
            match self.version_once(&snapshot, cutoff_millis).await {
                Err(error) if error.code() == Code::CorruptCheckpoint => {
                    snapshot = snapshot.without_checkpoint(error).await?;
                }
                kept => return kept,
            }
        }
    }

    async fn version_once(&mut self, snapshot: &Snapshot, cutoff_millis: i64) -> Result<()> {
        let columns = FileColumns::least();
        let mut files = snapshot.files(columns).await?;
        while let Some(batch) = files.try_next().await? {
            self.adds(&batch)?;
        }
        let mut tombstones = snapshot.tombstones().await?;
        while let Some(batch) = tombstones.try_next().await? {
            self.removes(&batch, Some(cutoff_millis))?;
        }
        Ok(())
    }

    /// Keeps the live files of versions that are pinned or leased.
    pub(super) async fn held(&mut self, table: &Table, versions: &[Version]) -> Result<()> {
        for version in versions {
            if !self.held.contains(version) {
                let held = table.snapshot_at(*version).await.map_err(unreadable_hold)?;
                self.version(&held, i64::MAX).await?;
                self.held.insert(*version);
            }
        }
        Ok(())
    }

    /// Keeps everything that commits from `first` on speak of.
    pub(super) async fn commits(&mut self, first: Version, last: Version) -> Result<()> {
        let storage = self.storage.clone();
        let read = |version| {
            let storage = storage.clone();
            async move { commit::read(&storage, version).await }
        };
        let mut commits = stream::iter(first..=last)
            .map(read)
            .buffered(COMMITS_IN_FLIGHT);
        while let Some(commit) = commits.try_next().await? {
            if let Some(commit) = commit {
                self.commit(&commit)?;
            }
        }
        Ok(())
    }

    /// Keeps what a commit added and what it removed.
    fn commit(&mut self, commit: &Commit) -> Result<()> {
        self.adds(&commit.adds)?;
        self.removes(&commit.removes, None)?;
        commit.cdcs.iter().try_for_each(|cdc| self.path(&cdc.path))
    }

    fn adds(&mut self, batch: &FileBatch) -> Result<()> {
        for row in 0..batch.len() {
            self.path(batch.path(row))?;
            self.vector(batch.deletion_vector(row))?;
        }
        Ok(())
    }

    fn removes(&mut self, batch: &RemoveBatch, cutoff_millis: Option<i64>) -> Result<()> {
        for row in 0..batch.len() {
            let when = batch.deletion_timestamp(row).unwrap_or(0);
            let (path, vector) = (batch.path(row), batch.deletion_vector(row));
            if cutoff_millis.is_none_or(|cutoff| cutoff <= when) {
                self.path(path)?;
                self.vector(vector)?;
            } else {
                // What cannot be placed waits as long as what no commit named.
                let file = resolve(path).ok();
                let vector = vector.and_then(|vector| vector_location(&vector).ok().flatten());
                for location in file.into_iter().chain(vector) {
                    let key = self.key(location);
                    self.removed.extend(key);
                }
            }
        }
        Ok(())
    }

    fn path(&mut self, path: &str) -> Result<()> {
        let location = resolve(path).map_err(unplaced)?;
        self.keep(location);
        Ok(())
    }

    fn vector(&mut self, vector: Option<DeletionVectorDescriptor>) -> Result<()> {
        if let Some(vector) = vector
            && let Some(location) = vector_location(&vector).map_err(unplaced)?
        {
            self.keep(location);
        }
        Ok(())
    }

    fn keep(&mut self, location: FileLocation) {
        let name = last_segment(location.canonical()).to_owned();
        match self.key(location) {
            Some(key) => drop(self.keys.insert(key)),
            None => drop(self.names.insert(name)),
        }
    }

    /// The key below the table; `None` if the path leads elsewhere.
    fn key(&self, location: FileLocation) -> Option<String> {
        let (place, key) = self.storage.locate(location).ok()?;
        (place.location() == self.storage.location()).then_some(key)
    }
}

/// The object that a vector is in, if it is in one.
fn vector_location(vector: &DeletionVectorDescriptor) -> Result<Option<FileLocation>> {
    match vector.source()? {
        VectorSource::File { location, .. } => Ok(Some(location)),
        VectorSource::Inline(_) => Ok(None),
    }
}

fn last_segment(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

fn unplaced(cause: Error) -> Error {
    let message = "a file that must stay cannot be placed, so it is not known which object it is; nothing was deleted: \
                   repair the log, or remove the file from the table";
    Error::corrupt(Code::UnsafePath, message).because(cause)
}

fn unreadable_hold(cause: Error) -> Error {
    match cause.kind() {
        ErrorKind::NotFound | ErrorKind::Corrupt => {
            let message = "a version that is pinned or leased cannot be loaded, so it is not known which files it needs; \
                           nothing was deleted: end the pin, or wait for the end of the lease";
            Error::corrupt(cause.code(), message).because(cause)
        }
        _ => cause,
    }
}
