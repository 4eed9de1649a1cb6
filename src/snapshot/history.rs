//! Who changed the table, when and how.

use futures::{StreamExt, TryStreamExt};

use crate::error::Result;
use crate::log::commit;
use crate::protocol::Version;
use crate::protocol::action::CommitInfo;
use crate::snapshot::Snapshot;

/// How many commit files are fetched at once.
const COMMITS_IN_FLIGHT: usize = 16;

/// One version: when it was committed, and what its writer said of it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// The version.
    pub version: Version,
    /// When it was committed, in milliseconds since the epoch.
    pub timestamp_millis: i64,
    /// What the writer said; empty where it said nothing.
    pub info: CommitInfo,
}

impl Snapshot {
    /// The newest `limit` commits up to this version, newest first. A commit file costs one request.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if a commit in the range cannot be read.
    pub async fn history(&self, limit: usize) -> Result<Vec<HistoryEntry>> {
        let mut times = self.file_times().await?;
        times.reverse();
        times.truncate(limit);
        let entries = futures::stream::iter(times)
            .map(|(version, file_time)| self.clone().entry(version, file_time));
        entries.buffered(COMMITS_IN_FLIGHT).try_collect().await
    }

    async fn entry(self, version: Version, file_time: i64) -> Result<HistoryEntry> {
        let commit = commit::read(self.storage(), version).await?;
        let timestamp_millis = match &commit {
            Some(commit) if self.has_in_commit_timestamp(version) => {
                commit.in_commit_timestamp()?
            }
            _ => file_time,
        };
        let info = commit.and_then(|commit| commit.info).unwrap_or_default();
        Ok(HistoryEntry {
            version,
            timestamp_millis,
            info,
        })
    }
}
