//! Which files of the log make a version: one checkpoint, or version 0, and every commit after it.
//!
//! The rule that everything here serves: a version is anchored at version 0 or at one complete checkpoint, and the
//! commits after the anchor are contiguous. Anything else is an error that names the version, never fewer rows.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::error::{Code, Error, Result};
use crate::log::hint::{self, LastCheckpoint};
use crate::log::path::{
    CheckpointKind, LOG_DIRECTORY, LogPath, commit_key, next_version, version_prefix_key,
};
use crate::protocol::Version;
use crate::storage::{ObjectInfo, Storage};

/// A commit that is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CommitFile {
    /// The version it made.
    pub(crate) version: Version,
    /// When the store last saw it change, in milliseconds since the epoch.
    pub(crate) modified_millis: i64,
    /// Size in bytes.
    pub(crate) size: u64,
}

/// A complete checkpoint: all its parts are in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckpointFiles {
    /// The version it holds the state of.
    pub(crate) version: Version,
    /// The objects it is made of, in the order of their parts.
    pub(crate) objects: Vec<ObjectInfo>,
    /// What the hint says of it, if the hint speaks of it.
    pub(crate) hint: Option<LastCheckpoint>,
}

impl CheckpointFiles {
    /// A checkpoint of which no hint is known.
    pub(crate) fn new(version: Version, objects: Vec<ObjectInfo>) -> Self {
        Self {
            version,
            objects,
            hint: None,
        }
    }

    /// The bytes of all its objects.
    pub(crate) fn bytes(&self) -> u64 {
        self.objects
            .iter()
            .fold(0, |sum, object| sum.saturating_add(object.size))
    }

    fn is_meant_by(&self, hint: &LastCheckpoint) -> bool {
        let parts = hint
            .parts
            .and_then(|parts| usize::try_from(parts).ok())
            .unwrap_or(1);
        hint.version == self.version && parts == self.objects.len()
    }

    /// Whether these are the same objects with the same bytes, as far as their sizes and times tell.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.version == other.version && self.objects == other.objects
    }

    /// The first object's name: it tells one checkpoint of a version from the others.
    pub(crate) fn name(&self) -> Option<&str> {
        self.objects.first().map(|object| object.key.as_str())
    }
}

/// The files that make one version of a table.
#[derive(Debug, Clone)]
pub(crate) struct LogSegment {
    /// The version.
    pub(crate) version: Version,
    /// The anchor; `None` is version 0.
    pub(crate) checkpoint: Option<CheckpointFiles>,
    /// Every commit after the anchor up to the version, oldest first, without a gap.
    pub(crate) commits: Vec<CommitFile>,
    /// The newest version that the log was seen to have.
    pub(crate) latest: Version,
    asked: Option<Version>,
    unreadable: Vec<String>,
}

impl LogSegment {
    /// The files that make `version`, or the newest version. Costs the hint and one listing from there; a hint that
    /// cannot be trusted costs a listing of the whole log.
    ///
    /// # Errors
    ///
    /// [`Code::TableNotFound`] if there is no log; [`Code::VersionNotFound`] for a version that is not there or not
    /// any more; [`Code::LogGap`] and [`Code::NoUsableAnchor`] if the version cannot be rebuilt.
    pub(crate) async fn list(storage: &Storage, version: Option<Version>) -> Result<Self> {
        let hint = hint::read(storage).await?;
        let start = hint.filter(|hint| version.is_none_or(|version| hint.version <= version));
        if let Some(hint) = start {
            let mut listing = Listing::from(storage, hint.version).await?;
            if listing.newest_checkpoint(version, &[]).is_some() {
                listing.attach(&hint);
                return Self::choose(storage, listing, version, Vec::new()).await;
            }
            tracing::warn!(
                table = storage.location(),
                version = hint.version,
                "hint_ignored: _last_checkpoint names a checkpoint that is not there"
            );
        }
        let listing = Listing::whole(storage).await?;
        Self::choose(storage, listing, version, Vec::new()).await
    }

    /// The files that make the same version without the checkpoint of this segment, which proved unreadable because
    /// of `cause`: an older one, or another one of its version, takes its place.
    ///
    /// # Errors
    ///
    /// [`Code::NoUsableAnchor`] if nothing takes its place.
    pub(crate) async fn without_checkpoint(&self, storage: &Storage, cause: Error) -> Result<Self> {
        let mut unreadable = self.unreadable.clone();
        let name = self.checkpoint.as_ref().and_then(CheckpointFiles::name);
        unreadable.extend(name.map(str::to_owned));
        let listing = Listing::whole(storage).await?;
        let asked = self.asked;
        match Self::choose(storage, listing, asked, unreadable).await {
            Err(error) if is_about_anchors(&error) => {
                let message = "the checkpoint cannot be read, and nothing older can take its place";
                Err(Error::corrupt(Code::NoUsableAnchor, message)
                    .with("version", self.version)
                    .with("checkpoint", name.unwrap_or_default())
                    .because(cause))
            }
            chosen => chosen,
        }
    }

    async fn choose(
        storage: &Storage,
        mut listing: Listing,
        asked: Option<Version>,
        unreadable: Vec<String>,
    ) -> Result<Self> {
        let Some(latest) = listing.latest() else {
            return Err(no_table(storage));
        };
        let version = asked.unwrap_or(latest);
        // A listing may be late: what it does not show yet is asked for, one after the other.
        if latest < version {
            let later = next_version(latest)?..=version;
            match listing.fill_gaps(storage, later).await {
                Err(error) if error.code() == Code::LogGap => {
                    return Err(listing.not_found(version));
                }
                filled => filled?,
            }
        }
        let checkpoint = listing
            .newest_checkpoint(Some(version), &unreadable)
            .cloned();
        let first = match &checkpoint {
            Some(checkpoint) if checkpoint.version == version => None,
            Some(checkpoint) => Some(next_version(checkpoint.version)?),
            None if listing.find_commit(storage, 0).await? => Some(0),
            None if asked.is_some() && listing.has_checkpoint_after(version) => {
                return Err(listing.not_found(version));
            }
            None => return Err(no_anchor(version, &listing)),
        };
        let mut commits = Vec::new();
        if let Some(first) = first {
            listing.fill_gaps(storage, first..=version).await?;
            commits = listing
                .commits
                .range(first..=version)
                .map(|(_, commit)| *commit)
                .collect();
        }
        Ok(Self {
            version,
            checkpoint,
            commits,
            latest: latest.max(version),
            asked,
            unreadable,
        })
    }
}

/// The commits that are there of the versions up to `version` that can be loaded, oldest first: what history and time
/// travel by timestamp may choose from.
///
/// # Errors
///
/// As of a listing.
pub(crate) async fn loadable_commits(
    storage: &Storage,
    version: Version,
) -> Result<Vec<CommitFile>> {
    let mut listing = Listing::whole(storage).await?;
    listing.find_run_ending_at(storage, version).await?;
    let earliest = listing.earliest_loadable(version);
    let run = listing.run_ending_at(version);
    Ok(run
        .into_iter()
        .filter(|commit| earliest.is_some_and(|first| first <= commit.version))
        .collect())
}

/// When the checkpoint of a version was written, in milliseconds since the epoch, if there is one.
///
/// # Errors
///
/// As of a listing.
pub(crate) async fn checkpoint_time(storage: &Storage, version: Version) -> Result<Option<i64>> {
    let listing = Listing::from(storage, version).await?;
    let mut checkpoints = listing.checkpoints.iter();
    let checkpoint = checkpoints.find(|checkpoint| checkpoint.version == version);
    Ok(checkpoint.and_then(|checkpoint| {
        let times = checkpoint.objects.iter();
        times.map(|object| object.modified_millis).min()
    }))
}

/// The checkpoints of a listing of which all parts are there, newest first.
pub(crate) fn complete_checkpoints(listed: Vec<ObjectInfo>) -> Vec<CheckpointFiles> {
    Listing::arrange(listed).checkpoints
}

/// There is no log where a table was looked for.
pub(crate) fn no_table(storage: &Storage) -> Error {
    let message = "there is no table at this location";
    Error::not_found(Code::TableNotFound, message).with("table", storage.location())
}

/// Whether there is a complete checkpoint of `version` or a later one.
///
/// # Errors
///
/// As of a listing.
pub(crate) async fn has_checkpoint_from(storage: &Storage, version: Version) -> Result<bool> {
    Ok(Listing::from(storage, version)
        .await?
        .newest_checkpoint(None, &[])
        .is_some())
}

/// The files of a listing, or of its end, by what they are.
#[derive(Debug, Default)]
struct Listing {
    commits: BTreeMap<Version, CommitFile>,
    /// Complete ones only, the best first: the newest, and at one version in the order of [`CheckpointKind`].
    checkpoints: Vec<CheckpointFiles>,
}

impl Listing {
    async fn whole(storage: &Storage) -> Result<Self> {
        Ok(Self::arrange(storage.list(LOG_DIRECTORY, None).await?))
    }

    async fn from(storage: &Storage, version: Version) -> Result<Self> {
        let after = version_prefix_key(version);
        Ok(Self::arrange(
            storage.list(LOG_DIRECTORY, Some(&after)).await?,
        ))
    }

    /// Sorts objects into what they are. Neither their order nor repetitions matter.
    fn arrange(objects: Vec<ObjectInfo>) -> Self {
        let mut commits = BTreeMap::new();
        // By preference: the newest version, then the kind. A part of several is filed under the first one's kind.
        let mut found: BTreeMap<_, BTreeMap<u32, ObjectInfo>> = BTreeMap::new();
        for object in objects {
            match LogPath::of_key(&object.key) {
                Some(LogPath::Commit { version }) => {
                    let ObjectInfo {
                        modified_millis,
                        size,
                        ..
                    } = object;
                    commits.insert(
                        version,
                        CommitFile {
                            version,
                            modified_millis,
                            size,
                        },
                    );
                }
                Some(LogPath::Checkpoint { version, kind }) if 0 < object.size => {
                    let (kind, part) = match kind {
                        CheckpointKind::Multi { part, parts } => {
                            (CheckpointKind::Multi { part: 1, parts }, part)
                        }
                        one => (one, 1),
                    };
                    let rank = (std::cmp::Reverse(version), kind);
                    found.entry(rank).or_default().insert(part, object);
                }
                // An empty checkpoint is a torn one. The other files are for others.
                _ => {}
            }
        }
        let checkpoints = found.into_iter().filter_map(|((version, kind), parts)| {
            let expected = match kind {
                CheckpointKind::Multi { parts, .. } => usize::try_from(parts).ok()?,
                _ => 1,
            };
            let complete = parts.len() == expected;
            complete.then(|| CheckpointFiles::new(version.0, parts.into_values().collect()))
        });
        Self {
            commits,
            checkpoints: checkpoints.collect(),
        }
    }

    fn attach(&mut self, hint: &LastCheckpoint) {
        for checkpoint in &mut self.checkpoints {
            if checkpoint.is_meant_by(hint) {
                checkpoint.hint = Some(hint.clone());
            }
        }
    }

    fn latest(&self) -> Option<Version> {
        let commit = self.commits.last_key_value().map(|(version, _)| *version);
        commit.max(
            self.checkpoints
                .first()
                .map(|checkpoint| checkpoint.version),
        )
    }

    fn newest_checkpoint(
        &self,
        up_to: Option<Version>,
        unreadable: &[String],
    ) -> Option<&CheckpointFiles> {
        self.checkpoints.iter().find(|checkpoint| {
            let known_bad = unreadable.iter().any(|bad| checkpoint.name() == Some(bad));
            up_to.is_none_or(|up_to| checkpoint.version <= up_to) && !known_bad
        })
    }

    fn has_checkpoint_after(&self, version: Version) -> bool {
        self.checkpoints
            .first()
            .is_some_and(|checkpoint| version < checkpoint.version)
    }

    /// Whether the commit is there, asking the store if the listing does not show it: listings may be stale.
    async fn find_commit(&mut self, storage: &Storage, version: Version) -> Result<bool> {
        if self.commits.contains_key(&version) {
            return Ok(true);
        }
        let Some(found) = storage.head(&commit_key(version)).await? else {
            return Ok(false);
        };
        let ObjectInfo {
            modified_millis,
            size,
            ..
        } = found;
        self.commits.insert(
            version,
            CommitFile {
                version,
                modified_millis,
                size,
            },
        );
        Ok(true)
    }

    /// Makes sure that every commit of the range is there. Stops at the first that is not, so the cost is bounded by
    /// what there is, whatever numbers the listing shows.
    async fn fill_gaps(&mut self, storage: &Storage, range: RangeInclusive<Version>) -> Result<()> {
        let mut next = *range.start();
        loop {
            if !self.find_commit(storage, next).await? {
                return Err(gap(next));
            }
            if next == *range.end() {
                return Ok(());
            }
            next = next_version(next)?;
        }
    }

    /// Asks the store for what the listing misses of the run of commits that ends at `version`, until one is not there.
    async fn find_run_ending_at(&mut self, storage: &Storage, version: Version) -> Result<()> {
        let mut next = version;
        while self.find_commit(storage, next).await? {
            let run = self.run_ending_at(next);
            let first = run.first().map_or(next, |commit| commit.version);
            match first.checked_sub(1) {
                Some(before) => next = before,
                None => break,
            }
        }
        Ok(())
    }

    /// The commits of the contiguous run that ends at `version`, oldest first.
    fn run_ending_at(&self, version: Version) -> Vec<CommitFile> {
        let mut run: Vec<CommitFile> = Vec::new();
        for (found, commit) in self.commits.range(..=version).rev() {
            let expected = match run.last() {
                Some(newer) => newer.version.checked_sub(1),
                None => Some(version),
            };
            if expected != Some(*found) {
                break;
            }
            run.push(*commit);
        }
        run.reverse();
        run
    }

    /// The earliest version from which on every version up to `version` can be loaded, going by this listing.
    fn earliest_loadable(&self, version: Version) -> Option<Version> {
        let run = self.run_ending_at(version);
        let Some(start) = run.first().map(|commit| commit.version) else {
            let anchor = self.newest_checkpoint(Some(version), &[])?;
            return (anchor.version == version).then_some(version);
        };
        if start == 0 {
            return Some(0);
        }
        // A checkpoint just before the run carries it, too.
        let reaches = |anchor: &&CheckpointFiles| start <= anchor.version.saturating_add(1);
        let usable = |anchor: &&CheckpointFiles| anchor.version <= version;
        let anchors = self.checkpoints.iter().filter(reaches).filter(usable);
        anchors.map(|anchor| anchor.version).min()
    }

    fn not_found(&self, asked: Version) -> Error {
        let mut error = Error::not_found(Code::VersionNotFound, "there is no such version")
            .with("asked", asked);
        if let Some(latest) = self.latest() {
            if let Some(earliest) = self.earliest_loadable(latest) {
                error = error.with("earliest", earliest);
            }
            error = error.with("latest", latest);
        }
        error
    }
}

fn gap(missing: Version) -> Error {
    let mut error =
        Error::corrupt(Code::LogGap, "a commit is missing in the log").with("missing", missing);
    if let Some(after) = missing.checked_sub(1) {
        error = error.with("after", after);
    }
    error
}

fn no_anchor(version: Version, listing: &Listing) -> Error {
    let message = "the log has neither a complete checkpoint nor version 0 to start from";
    let mut error = Error::corrupt(Code::NoUsableAnchor, message).with("version", version);
    if let Some((first, _)) = listing.commits.first_key_value() {
        error = error.with("first_commit", first);
    }
    error
}

fn is_about_anchors(error: &Error) -> bool {
    use Code::{LogGap, NoUsableAnchor, TableNotFound, VersionNotFound};
    matches!(
        error.code(),
        LogGap | NoUsableAnchor | TableNotFound | VersionNotFound
    )
}

#[cfg(test)]
mod tests;
