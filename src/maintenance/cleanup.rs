//! Log cleanup: commits and checkpoints that no version inside its promise needs are deleted.
//!
//! Spec: [Metadata Cleanup](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#metadata-cleanup). The oldest
//! version that stays is loaded from its checkpoint, whole, before anything is deleted; commits are deleted oldest
//! first, so that whatever is interrupted leaves a log without gaps.

use std::future::IntoFuture;
use std::time::Duration;

use futures::TryStreamExt;
use futures::future::BoxFuture;

use crate::error::{Code, Error, Result};
use crate::log::checkpoint::FileColumns;
use crate::log::path::{LOG_DIRECTORY, LogPath};
use crate::maintenance::hold;
use crate::maintenance::vacuum::{delete_all, delete_in_order};
use crate::operation::invalid;
use crate::protocol::Version;
use crate::snapshot::Snapshot;
use crate::storage::ObjectInfo;
use crate::table::Table;

const DAY_MILLIS: i64 = 24 * 3_600_000;
/// Commits younger than this stay, whatever is asked: a writer that was held up relies on it.
const YOUNG_MILLIS: i64 = 3_600_000;

/// Deletes old parts of the log; await it. See [`Table::clean_up_log`].
#[derive(Debug, Clone)]
#[must_use = "nothing happens until it is awaited"]
pub struct CleanUp {
    table: Table,
    retention: Option<Duration>,
    dry_run: bool,
}

/// What a log cleanup did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CleanedUp {
    /// The oldest version that can be loaded afterwards, if anything was to be deleted.
    pub oldest: Option<Version>,
    /// Log files deleted.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Table {
    /// Deletes commits and checkpoints older than the table's log retention (`delta.logRetentionDuration`, 30 days),
    /// back to the checkpoint that the oldest kept, pinned or leased version needs. Without such a checkpoint nothing
    /// is deleted.
    ///
    /// # Errors
    ///
    /// When awaited: [`Corrupt`](crate::ErrorKind::Corrupt) if the oldest version to keep cannot be loaded from its
    /// checkpoint; nothing has been deleted then. [`Storage`](crate::ErrorKind::Storage).
    pub fn clean_up_log(&self) -> CleanUp {
        CleanUp {
            table: self.clone(),
            retention: None,
            dry_run: false,
        }
    }
}

impl CleanUp {
    /// How long versions stay. Unset: `delta.logRetentionDuration`; never less than an hour.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = Some(retention);
        self
    }

    /// Says what would be deleted, and deletes nothing.
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    async fn run(self) -> Result<CleanedUp> {
        let table = &self.table;
        let snapshot = table.refresh().await?;
        let properties = snapshot.properties();
        if !properties.enable_expired_log_cleanup {
            let message =
                "the table keeps its whole log (`delta.enableExpiredLogCleanup` is false)";
            return Err(invalid(message));
        }
        let retention = self.retention.unwrap_or(properties.log_retention);
        let Some(anchor) = self.anchor(&snapshot, retention).await? else {
            return Ok(CleanedUp::default());
        };
        let listed = table.storage().list(LOG_DIRECTORY, None).await?;
        let (mut commits, mut others) = (Vec::new(), Vec::new());
        for object in listed {
            match parsed(&object) {
                Some(LogPath::Commit { version }) if version < anchor => commits.push(object),
                Some(
                    LogPath::Checkpoint { version, .. }
                    | LogPath::Checksum { version }
                    | LogPath::Compacted { from: version, .. },
                ) if version < anchor => others.push(object),
                _ => {}
            }
        }
        let all = commits.iter().chain(&others);
        let bytes = all.map(|object| object.size).sum();
        let cleaned = CleanedUp {
            oldest: Some(anchor),
            files: (commits.len() + others.len()) as u64,
            bytes,
        };
        if self.dry_run || cleaned.files == 0 {
            return Ok(cleaned);
        }
        prove(table, anchor).await?;
        let keys = |objects: Vec<ObjectInfo>| objects.into_iter().map(|it| it.key).collect();
        delete_all(table.storage(), keys(others)).await?;
        delete_in_order(table.storage(), keys(commits)).await?;
        Ok(cleaned)
    }

    /// The checkpoint from which the oldest version that stays is loaded.
    async fn anchor(&self, snapshot: &Snapshot, retention: Duration) -> Result<Option<Version>> {
        let now = snapshot.environment().now_millis();
        let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let cutoff = match self.retention {
            // As other engines do: a version lasts until the end of its day.
            None => now
                .saturating_sub(retention)
                .div_euclid(DAY_MILLIS)
                .saturating_mul(DAY_MILLIS),
            Some(_) => now.saturating_sub(retention),
        };
        let cutoff = cutoff.min(now.saturating_sub(YOUNG_MILLIS));
        let times = snapshot.file_times().await?;
        // The version in force at the cutoff stays, and all after it.
        let in_force = times.iter().rev().find(|(_, time)| *time <= cutoff);
        let Some((mut oldest, _)) = in_force.copied() else {
            return Ok(None);
        };
        for held in hold::held(&self.table).await?.0 {
            oldest = oldest.min(held);
        }
        let listed = self.table.storage().list(LOG_DIRECTORY, None).await?;
        let checkpoints = listed.iter().filter_map(|object| match parsed(object) {
            Some(LogPath::Checkpoint { version, .. }) if version <= oldest => Some(version),
            _ => None,
        });
        Ok(checkpoints.max())
    }
}

impl IntoFuture for CleanUp {
    type Output = Result<CleanedUp>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

fn parsed(object: &ObjectInfo) -> Option<LogPath> {
    let name = object.key.strip_prefix(LOG_DIRECTORY)?.strip_prefix('/')?;
    LogPath::parse(name)
}

/// Loads the version from its own checkpoint, with every file and tombstone.
async fn prove(table: &Table, anchor: Version) -> Result<()> {
    let snapshot = table.snapshot_at(anchor).await?;
    if snapshot.checkpoint_version() != Some(anchor) {
        let message =
            "the oldest version to keep cannot be loaded from its checkpoint; nothing was deleted";
        return Err(Error::corrupt(Code::CorruptCheckpoint, message).with("version", anchor));
    }
    let mut files = snapshot.files(FileColumns::all()).await?;
    while files.try_next().await?.is_some() {}
    let mut tombstones = snapshot.tombstones().await?;
    while tombstones.try_next().await?.is_some() {}
    Ok(())
}
