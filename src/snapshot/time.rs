//! Which version was in force at a moment.
//!
//! Spec: [In-Commit Timestamps](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#in-commit-timestamps) where
//! they are enabled; otherwise the file time of the commit, made monotone: a commit that is not later than the one
//! before it counts as one millisecond later.

use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::log::times::{self, Moment};
use crate::log::{commit, segment};
use crate::protocol::Version;
use crate::protocol::feature::TableFeature;
use crate::snapshot::Snapshot;
use crate::storage::Storage;

/// A place in the history of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The newest version.
    Latest,
    /// A version.
    Version(Version),
    /// The version in force at a moment, in milliseconds since the epoch.
    Timestamp(i64, AfterLast),
}

/// What a moment after the last commit means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterLast {
    /// An error: the version in force then may not have been written yet.
    Refuse,
    /// The newest version.
    Newest,
}

impl At {
    /// The version in force at `millis` since the epoch; a moment after the last commit is an error.
    pub fn timestamp(millis: i64) -> Self {
        Self::Timestamp(millis, AfterLast::Refuse)
    }
}

impl From<Version> for At {
    fn from(version: Version) -> Self {
        Self::Version(version)
    }
}

impl Snapshot {
    /// Loads the version in force at `at`.
    pub(crate) async fn load_at(
        storage: &Storage,
        environment: &Environment,
        at: At,
    ) -> Result<Self> {
        match at {
            At::Latest => Self::latest(storage, environment).await,
            At::Version(version) => Self::at_version(storage, environment, version).await,
            At::Timestamp(millis, after_last) => {
                let newest = Self::latest(storage, environment).await?;
                let version = newest.version_at(millis, after_last).await?;
                if version == newest.version() {
                    return Ok(newest);
                }
                Self::at_version(storage, environment, version).await
            }
        }
    }

    /// The newest version up to this one whose commit is not later than `millis`.
    pub(crate) async fn version_at(&self, millis: i64, after_last: AfterLast) -> Result<Version> {
        let mut times = self.file_times().await?;
        let is_bare = times.is_empty();
        if is_bare {
            // Its commit is gone, its checkpoint is there.
            times.push((self.version(), self.timestamp_millis().await?));
        }
        let asked = |what: &str| {
            Error::not_found(
                Code::VersionNotFound,
                format!("the moment asked for is {what}"),
            )
            .with("asked_millis", millis)
            .with(
                "earliest",
                times
                    .first()
                    .map_or(self.version(), |(version, _)| *version),
            )
            .with("latest", self.version())
        };
        let newest = match times.last() {
            Some((version, time)) if is_bare || !self.has_in_commit_timestamp(*version) => *time,
            _ => self.timestamp_millis().await?,
        };
        if newest < millis && after_last == AfterLast::Refuse {
            return Err(asked("after the last commit"));
        }
        let by_file =
            |(version, _): &(Version, i64)| is_bare || !self.has_in_commit_timestamp(*version);
        let split = times.partition_point(by_file);
        let (by_file, by_commit) = times.split_at_checked(split).unwrap_or((&times, &[]));
        let found = match times::moment(by_file, millis) {
            Moment::Before => None,
            Moment::During(version) | Moment::After(version) => Some(version),
        };
        let found = self.later_by_commit(by_commit, millis).await?.or(found);
        found.ok_or_else(|| asked("before the first version that can be loaded"))
    }

    /// The newest of `versions`, whose commits say their own times, that is not later than `millis`. Those times grow
    /// strictly, so halving the range finds it in a few reads.
    async fn later_by_commit(
        &self,
        versions: &[(Version, i64)],
        millis: i64,
    ) -> Result<Option<Version>> {
        let mut found = None;
        let (mut low, mut high) = (0, versions.len());
        while low < high {
            let middle = low.midpoint(high);
            let Some((version, _)) = versions.get(middle) else {
                break;
            };
            if self.in_commit_timestamp_of(*version).await? <= millis {
                found = Some(*version);
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(found)
    }

    /// File times of the versions that can be loaded, oldest first, made strictly increasing.
    pub(crate) async fn file_times(&self) -> Result<Vec<(Version, i64)>> {
        let listed = segment::loadable_commits(self.storage(), self.version()).await?;
        Ok(times::monotone(
            listed
                .iter()
                .map(|file| (file.version, file.modified_millis)),
        ))
    }

    /// Whether commits say their own times: the property counts only where the protocol lists the feature.
    pub(crate) fn has_in_commit_timestamps(&self) -> bool {
        self.properties().enable_in_commit_timestamps
            && self.protocol().supports(&TableFeature::InCommitTimestamp)
    }

    /// Whether the commit of `version` says its own time. Without an enablement version all of them do.
    pub(crate) fn has_in_commit_timestamp(&self, version: Version) -> bool {
        let enabled_at = self.properties().in_commit_timestamp_enablement_version;
        let enabled_at = enabled_at.and_then(|from| Version::try_from(from).ok());
        self.has_in_commit_timestamps() && enabled_at.unwrap_or(0) <= version
    }

    async fn in_commit_timestamp_of(&self, version: Version) -> Result<i64> {
        match commit::read(self.storage(), version).await? {
            Some(commit) => commit.in_commit_timestamp(),
            None => {
                let message = "a commit, which holds its own time, is missing";
                Err(Error::corrupt(Code::LogGap, message).with("version", version))
            }
        }
    }

    /// When this version was committed, in milliseconds since the epoch: its in-commit timestamp where those are
    /// enabled, else the file time of its commit, later than that of every version before it. Where the commit file was
    /// cleaned up, the time of the checkpoint in its place.
    ///
    /// # Errors
    ///
    /// [`Storage`](crate::error::ErrorKind::Storage) if the store fails; [`NotFound`](crate::error::ErrorKind::NotFound) if
    /// commit file and checkpoint are both gone.
    pub async fn timestamp_millis(&self) -> Result<i64> {
        if self.has_in_commit_timestamp(self.version()) {
            if let Some(commit) = self.last_commit() {
                return commit.in_commit_timestamp();
            }
            if let Some(commit) = commit::read(self.storage(), self.version()).await? {
                return commit.in_commit_timestamp();
            }
        } else if let Some((_, time)) = self.file_times().await?.last() {
            return Ok(*time);
        }
        let time = segment::checkpoint_time(self.storage(), self.version()).await?;
        time.ok_or_else(|| {
            let message = "the files of the log that made this version are gone";
            Error::not_found(Code::VersionNotFound, message).with("version", self.version())
        })
    }
}
