//! Checkpoints: when one is due, and writing it behind the commits.

use futures::TryStreamExt;

use crate::error::{Code, Result};
use crate::log::checkpoint::{
    self, CheckpointInput, CheckpointReader, CheckpointState, FileColumns,
};
use crate::log::hint;
use crate::log::path::checkpoint_key;
use crate::log::segment::{CheckpointFiles, LogSegment};
use crate::protocol::Version;
use crate::protocol::property::TableProperties;
use crate::protocol::schema::Schema;
use crate::snapshot::Snapshot;
use crate::storage::ObjectInfo;
use crate::table::Table;

/// How many commits at least lie between two checkpoints where `delta.checkpointInterval` is unset.
const COMMITS_MIN: u64 = 10;
/// How many commits at most lie between two checkpoints where `delta.checkpointInterval` is unset: a reader fetches each
/// of them, some at a time, which takes a few seconds for so many; and the checkpoint of a table of millions of files is
/// still spread over enough commits that its cost does not show.
const COMMITS_MAX: u64 = 1_000;
/// Which share of the last checkpoint's bytes the commits after it reach before the next one is worth its cost.
const REPLAYED_SHARE: u64 = 10;

impl Table {
    /// Writes a checkpoint of the newest version, so that readers replay nothing. Hands back its version.
    ///
    /// Spec: [Checkpoints](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#checkpoints).
    ///
    /// # Errors
    ///
    /// [`Storage`](crate::ErrorKind::Storage) if it cannot be written; the table is as it was.
    pub async fn checkpoint(&self) -> Result<Version> {
        self.close().await;
        let snapshot = self.refresh().await?;
        if snapshot.checkpoint_version() != Some(snapshot.version()) {
            self.write_checkpoint(&snapshot).await?;
        }
        Ok(snapshot.version())
    }

    /// Starts writing a checkpoint in the background if the commits since the last one make it worth its cost. The
    /// commit is acknowledged already: a checkpoint that fails is said in the log and left to the next writer.
    pub(crate) fn checkpoint_if_due(&self, snapshot: &Snapshot) {
        let (commits, bytes) = snapshot.replayed();
        let due = Due {
            interval: snapshot.properties().checkpoint_interval,
            version: snapshot.version(),
            commits,
            bytes,
            checkpoint_bytes: snapshot.checkpoint_bytes().unwrap_or(0),
        };
        if !due.now() {
            return;
        }
        let table = self.clone();
        let snapshot = snapshot.clone();
        self.start_background(|| {
            self.environment().spawn(async move {
                if let Err(error) = table.checkpoint_unless_there(&snapshot, due).await {
                    tracing::warn!(version = snapshot.version(), %error, "checkpoint_failed");
                }
            })
        });
    }

    /// Another writer may have written a checkpoint since this one last looked: then that one serves.
    async fn checkpoint_unless_there(&self, snapshot: &Snapshot, due: Due) -> Result<()> {
        if let Some(hint) = hint::read(self.storage()).await?
            && snapshot
                .checkpoint_version()
                .is_none_or(|known| known < hint.version)
            && hint.version <= snapshot.version()
        {
            let segment = LogSegment::list(self.storage(), Some(snapshot.version())).await?;
            if let Some(files) = &segment.checkpoint {
                let reader = CheckpointReader::open(self.storage(), files).await?;
                self.anchor(files.clone(), reader.clone());
                let anchored = snapshot.anchored_at(files.clone(), reader);
                let (commits, bytes) = anchored.replayed();
                let checkpoint_bytes = anchored.checkpoint_bytes().unwrap_or(0);
                if !(Due {
                    commits,
                    bytes,
                    checkpoint_bytes,
                    ..due
                })
                .now()
                {
                    return Ok(());
                }
            }
        }
        self.write_checkpoint(snapshot).await
    }

    async fn write_checkpoint(&self, snapshot: &Snapshot) -> Result<()> {
        let mut snapshot = snapshot.clone();
        loop {
            match self.write_checkpoint_of(&snapshot).await {
                Err(error) if error.code() == Code::CorruptCheckpoint => {
                    snapshot = snapshot.without_checkpoint(error).await?;
                }
                written => return written,
            }
        }
    }

    async fn write_checkpoint_of(&self, snapshot: &Snapshot) -> Result<()> {
        let input = CheckpointInput {
            version: snapshot.version(),
            state: CheckpointState {
                protocol: snapshot.protocol().clone(),
                metadata: snapshot.metadata().clone(),
                txns: snapshot.txns().values().cloned().collect(),
                domains: snapshot.domains().values().cloned().collect(),
            },
            schema: Schema::clone(snapshot.schema()),
            properties: TableProperties::clone(snapshot.properties()),
            files: snapshot
                .files(FileColumns::all())
                .await?
                .try_collect()
                .await?,
            removes: snapshot.tombstones().await?.try_collect().await?,
        };
        let version = snapshot.version();
        let written = checkpoint::write(self.storage(), self.environment(), input).await?;
        let bytes = written.size_in_bytes.unwrap_or(0);
        let object = ObjectInfo {
            key: checkpoint_key(version),
            size: bytes,
            modified_millis: 0,
        };
        let files = CheckpointFiles::new(version, vec![object]);
        let reader = CheckpointReader::open(self.storage(), &files).await?;
        self.anchor(files, reader);
        Ok(())
    }
}

/// What the decision rests on.
#[derive(Debug, Clone, Copy)]
struct Due {
    /// `delta.checkpointInterval`, if set.
    interval: Option<u64>,
    version: Version,
    /// Commits since the last checkpoint.
    commits: u64,
    /// Their bytes.
    bytes: u64,
    checkpoint_bytes: u64,
}

impl Due {
    /// Of many writers, the one that commits a multiple of the interval does the work; if it died, whoever sees that
    /// two intervals have gone by.
    fn now(&self) -> bool {
        let interval = self.interval.unwrap_or(COMMITS_MIN).max(1);
        let turn = self.version.is_multiple_of(interval) && interval <= self.commits;
        let overdue = interval.saturating_mul(2) <= self.commits;
        let worth = self.interval.is_some()
            || COMMITS_MAX <= self.commits
            || self.checkpoint_bytes <= self.bytes.saturating_mul(REPLAYED_SHARE);
        (turn || overdue) && worth
    }
}

#[cfg(test)]
mod tests {
    use super::Due;

    fn due(interval: Option<u64>, version: u64, commits: u64, bytes: u64) -> bool {
        Due {
            interval,
            version,
            commits,
            bytes,
            checkpoint_bytes: 1_000,
        }
        .now()
    }

    #[test]
    fn an_explicit_interval_is_obeyed() {
        assert!(!due(Some(4), 3, 3, 0));
        assert!(due(Some(4), 4, 4, 0));
        assert!(!due(Some(4), 5, 1, 0));
        assert!(
            due(Some(4), 9, 8, 0),
            "a writer that died left it to the next"
        );
    }

    #[test]
    fn without_an_interval_the_replayed_bytes_decide() {
        assert!(!due(None, 10, 10, 99));
        assert!(due(None, 10, 10, 100));
        assert!(!due(None, 9, 9, 5_000));
        assert!(!due(None, 990, 990, 99));
        assert!(
            due(None, 1_000, 1_000, 0),
            "so many commits are too many, however small"
        );
    }
}
