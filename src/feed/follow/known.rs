//! Which files the table has, as keys of a fixed size.

use std::collections::BTreeSet;

use futures::TryStreamExt;

use crate::error::{Code, Result};
use crate::log::checkpoint::FileColumns;
use crate::log::commit::Commit;
use crate::snapshot::Snapshot;

/// The live files of a version. 16 bytes each, whatever their paths.
#[derive(Debug, Clone, Default)]
pub(super) struct Known(BTreeSet<u128>);

impl Known {
    /// The files of a snapshot.
    pub(super) async fn of(snapshot: &Snapshot) -> Result<Self> {
        let mut snapshot = snapshot.clone();
        loop {
            match Self::read(&snapshot).await {
                Err(error) if error.code() == Code::CorruptCheckpoint => {
                    snapshot = snapshot.without_checkpoint(error).await?;
                }
                known => return known,
            }
        }
    }

    async fn read(snapshot: &Snapshot) -> Result<Self> {
        let columns = FileColumns::least();
        let mut known = BTreeSet::new();
        let mut batches = snapshot.files(columns).await?;
        while let Some(batch) = batches.try_next().await? {
            known.extend((0..batch.len()).map(|row| key(&batch.key_text(row))));
        }
        Ok(Self(known))
    }

    pub(super) fn has(&self, key_text: &str) -> bool {
        self.0.contains(&key(key_text))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Goes on to the version of the commit.
    pub(super) fn follow(&mut self, commit: &Commit) {
        for row in 0..commit.removes.len() {
            self.0.remove(&key(&commit.removes.key_text(row)));
        }
        for row in 0..commit.adds.len() {
            self.0.insert(key(&commit.adds.key_text(row)));
        }
    }
}

fn key(text: &str) -> u128 {
    let mut bytes = [0; 16];
    blake3::Hasher::new()
        .update(text.as_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    u128::from_le_bytes(bytes)
}
