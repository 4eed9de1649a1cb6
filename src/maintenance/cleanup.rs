//! Log cleanup: commits and checkpoints that no version inside its promise needs are deleted.
//!
//! Spec: [Metadata Cleanup](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#metadata-cleanup). The oldest
//! version that stays is loaded from its checkpoint, whole, before anything is deleted; if that cannot be, an older
//! checkpoint is taken. Pins and leases that come meanwhile are seen, or refused: see [`Announcement`].

use std::collections::{BTreeMap, BTreeSet};
use std::future::IntoFuture;
use std::time::Duration;

use futures::TryStreamExt;
use futures::future::BoxFuture;

use crate::error::{Code, Error, ErrorKind, Result};
use crate::log::checkpoint::{CheckpointReader, FileColumns};
use crate::log::path::{LOG_DIRECTORY, LogPath};
use crate::log::segment::{CheckpointFiles, complete_checkpoints};
use crate::maintenance::hold::{self, Announcement};
use crate::maintenance::vacuum::{DELETIONS_IN_FLIGHT, delete_all, delete_while};
use crate::operation::invalid;
use crate::protocol::Version;
use crate::protocol::feature::check_writable;
use crate::protocol::location::SIDECAR_DIRECTORY;
use crate::snapshot::Snapshot;
use crate::storage::{ObjectInfo, Storage};
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
    /// Log files deleted, sidecars of checkpoints among them.
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
    /// When awaited: [`Corrupt`](crate::ErrorKind::Corrupt) if the oldest version to keep cannot be loaded from any
    /// checkpoint; nothing has been deleted then. [`Unsupported`](crate::ErrorKind::Unsupported) if the table has
    /// features that this crate cannot write; [`Storage`](crate::ErrorKind::Storage).
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
        check_writable(snapshot.protocol(), snapshot.metadata(), snapshot.schema())?;
        let properties = snapshot.properties();
        if !properties.enable_expired_log_cleanup {
            let message =
                "the table keeps its whole log (`delta.enableExpiredLogCleanup` is false)";
            return Err(invalid(message));
        }
        let retention = self.retention.unwrap_or(properties.log_retention);
        let cutoff = self.cutoff(retention);
        let mut cleaned = CleanedUp::default();
        let mut held = hold::held(table).await?.0;
        // Each turn deletes something, or goes back further because of a hold that came.
        while let Some(plan) = self.plan(&snapshot, cutoff, &held).await? {
            cleaned.oldest = Some(plan.anchor);
            if self.dry_run {
                cleaned.count(plan.all());
                break;
            }
            // From here on nobody comes to hold what goes: see `hold::Announcement`. Who came before is read now.
            let announcement = table.announce_cleanup(plan.anchor).await?;
            held = hold::held(table).await?.0;
            let is_held = held.iter().any(|held| *held < plan.anchor);
            let ended = match is_held {
                true => Ok(false),
                false => plan.carry_out(table, &announcement, &mut cleaned).await,
            };
            // Whatever became of it, nothing more is deleted.
            announcement.withdraw().await?;
            if ended? {
                break;
            }
        }
        if !self.dry_run {
            delete_all(table.storage(), table.dead_cleanups().await?).await?;
        }
        Ok(cleaned)
    }

    fn cutoff(&self, retention: Duration) -> i64 {
        let now = self.table.environment().now_millis();
        let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let cutoff = match self.retention {
            // As other engines do: a version lasts until the end of its day.
            None => now
                .saturating_sub(retention)
                .div_euclid(DAY_MILLIS)
                .saturating_mul(DAY_MILLIS),
            Some(_) => now.saturating_sub(retention),
        };
        cutoff.min(now.saturating_sub(YOUNG_MILLIS))
    }

    /// What goes: all that is older than the newest checkpoint from which the oldest version that stays loads. `None`
    /// if that is nothing.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if no such checkpoint can be loaded, though there are some.
    async fn plan(
        &self,
        snapshot: &Snapshot,
        cutoff: i64,
        held: &[Version],
    ) -> Result<Option<Plan>> {
        let times = snapshot.file_times().await?;
        // The version in force at the cutoff stays, and all after it.
        let in_force = times.iter().rev().find(|(_, time)| *time <= cutoff);
        let Some((in_force, _)) = in_force.copied() else {
            return Ok(None);
        };
        let oldest = held.iter().copied().fold(in_force, Version::min);
        let storage = self.table.storage();
        let listed = storage.list(LOG_DIRECTORY, None).await?;
        let checkpoints = complete_checkpoints(listed.clone());
        let mut anchors: Vec<Version> = checkpoints.iter().map(|files| files.version).collect();
        anchors.retain(|version| *version <= oldest);
        anchors.dedup();
        let mut damaged = None;
        for anchor in anchors {
            let mut plan = Plan::before(anchor, &listed);
            if plan.all().next().is_none() {
                return Ok(None);
            }
            match prove(&self.table, anchor).await {
                Ok(()) => {
                    let kept = checkpoints.iter().filter(|files| anchor <= files.version);
                    let before = cutoff.min(snapshot.environment().now_millis() - DAY_MILLIS);
                    plan.sidecars = unreferenced_sidecars(storage, kept, before).await?;
                    return Ok(Some(plan));
                }
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    tracing::warn!(version = anchor, %error, "checkpoint_fallback: log cleanup goes back to an older one");
                    damaged.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        damaged.map_or(Ok(None), Err)
    }
}

impl CleanedUp {
    fn count<'a>(&mut self, objects: impl Iterator<Item = &'a ObjectInfo>) {
        for object in objects {
            self.files += 1;
            self.bytes += object.size;
        }
    }
}

/// Parts of the log that go.
#[derive(Debug)]
struct Plan {
    /// From whose checkpoint the oldest version that stays is loaded.
    anchor: Version,
    /// Oldest first.
    commits: Vec<ObjectInfo>,
    /// Checkpoints, checksums, compacted commits.
    others: Vec<ObjectInfo>,
    sidecars: Vec<ObjectInfo>,
}

impl Plan {
    fn before(anchor: Version, listed: &[ObjectInfo]) -> Self {
        let (mut commits, mut others) = (BTreeMap::new(), Vec::new());
        for object in listed {
            match LogPath::of_key(&object.key) {
                Some(LogPath::Commit { version }) if version < anchor => {
                    commits.insert(version, object.clone());
                }
                Some(
                    LogPath::Checkpoint { version, .. }
                    | LogPath::Checksum { version }
                    | LogPath::Compacted { from: version, .. },
                ) if version < anchor => others.push(object.clone()),
                _ => {}
            }
        }
        Self {
            anchor,
            commits: commits.into_values().collect(),
            others,
            sidecars: Vec::new(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &ObjectInfo> {
        let all = self.others.iter().chain(&self.sidecars);
        all.chain(&self.commits)
    }

    /// Deletes it, as long as the announcement is good for. Whether all of it is gone.
    async fn carry_out(
        self,
        table: &Table,
        announcement: &Announcement,
        cleaned: &mut CleanedUp,
    ) -> Result<bool> {
        let mut left = 0;
        let before = cleaned.files;
        // Commits one after the other, oldest first: whatever is interrupted leaves a log without gaps.
        for (objects, at_one_time) in [
            (self.others, DELETIONS_IN_FLIGHT),
            (self.sidecars, DELETIONS_IN_FLIGHT),
            (self.commits, 1),
        ] {
            let lasts = || announcement.lasts();
            let round = delete_while(table.storage(), objects, at_one_time, lasts).await?;
            cleaned.count(round.deleted.iter());
            left += round.left.len();
        }
        if 0 < left && cleaned.files == before {
            let message = "the store is too slow: log cleanup found no time to delete; try again";
            return Err(Error::storage(Code::StoreFailed, message).retryable(true));
        }
        Ok(left == 0)
    }
}

/// Sidecars that were written before a moment, and that none of the checkpoints names.
///
/// Spec: [Metadata Cleanup](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#metadata-cleanup), which keeps
/// those of the last day for checkpoints that are being written.
async fn unreferenced_sidecars(
    storage: &Storage,
    kept: impl Iterator<Item = &CheckpointFiles>,
    before_millis: i64,
) -> Result<Vec<ObjectInfo>> {
    let mut sidecars = storage.list(SIDECAR_DIRECTORY, None).await?;
    sidecars.retain(|object| object.modified_millis < before_millis);
    if sidecars.is_empty() {
        return Ok(sidecars);
    }
    let mut named = BTreeSet::new();
    for files in kept {
        match CheckpointReader::open(storage, files).await {
            Ok(reader) => named.extend(reader.sidecar_keys().map(str::to_owned)),
            // It may name any of them.
            Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    }
    sidecars.retain(|object| !named.contains(&object.key));
    Ok(sidecars)
}

impl IntoFuture for CleanUp {
    type Output = Result<CleanedUp>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
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
