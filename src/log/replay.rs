//! Commits add up to a state: for every logical file, the newest commit that speaks of it decides.
//!
//! Spec: [Action Reconciliation](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#action-reconciliation).

#[expect(
    clippy::disallowed_types,
    reason = "asked for members only, never iterated"
)]
use std::collections::HashSet;

use arrow_array::BooleanArray;

use crate::error::Result;
use crate::log::commit::Commit;
use crate::log::files::FileBatch;
use crate::log::removes::RemoveBatch;

/// Reads commits from the newest to the oldest, then the checkpoint before them. Remembers one key per file action of
/// the commits, nothing per file of the checkpoint.
#[derive(Debug, Default)]
#[expect(
    clippy::disallowed_types,
    reason = "asked for members only, never iterated"
)]
pub(crate) struct Replay {
    seen: HashSet<Box<str>>,
}

impl Replay {
    /// Nothing read so far.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The adds of the next older commit that are live.
    ///
    /// # Errors
    ///
    /// None that a commit's columns can cause.
    pub(crate) fn live(&mut self, commit: &Commit) -> Result<FileBatch> {
        let (live, _) = self.absorb(commit);
        commit.adds.filter(&live)
    }

    /// The removes of the next older commit that are tombstones: no newer commit speaks of their files.
    ///
    /// # Errors
    ///
    /// None that a commit's columns can cause.
    pub(crate) fn tombstones(&mut self, commit: &Commit) -> Result<RemoveBatch> {
        let (_, tombstones) = self.absorb(commit);
        commit.removes.filter(&tombstones)
    }

    /// Adds of the checkpoint that are live.
    ///
    /// # Errors
    ///
    /// None that the columns can cause.
    pub(crate) fn live_in_checkpoint(&self, batch: FileBatch) -> Result<FileBatch> {
        if self.seen.is_empty() {
            return Ok(batch);
        }
        let live: BooleanArray = (0..batch.len())
            .map(|index| Some(!self.seen.contains(&*batch.key_text(index))))
            .collect();
        batch.filter(&live)
    }

    /// Removes of the checkpoint that are tombstones.
    ///
    /// # Errors
    ///
    /// None that the columns can cause.
    pub(crate) fn tombstones_in_checkpoint(&self, batch: RemoveBatch) -> Result<RemoveBatch> {
        if self.seen.is_empty() {
            return Ok(batch);
        }
        let tombstones: BooleanArray = (0..batch.len())
            .map(|index| Some(!self.seen.contains(&*batch.key_text(index))))
            .collect();
        batch.filter(&tombstones)
    }

    /// Which adds and which removes of the commit are the newest word on their file. No file is both added and removed
    /// by one commit, so their order does not matter.
    fn absorb(&mut self, commit: &Commit) -> (BooleanArray, BooleanArray) {
        self.seen
            .reserve(commit.adds.len().saturating_add(commit.removes.len()));
        let mut is_new = |key: &str| !self.seen.contains(key) && self.seen.insert(key.into());
        let adds = (0..commit.adds.len())
            .map(|index| Some(is_new(&commit.adds.key_text(index))))
            .collect();
        let removes = (0..commit.removes.len())
            .map(|index| Some(is_new(&commit.removes.key_text(index))))
            .collect();
        (adds, removes)
    }
}

#[cfg(test)]
mod tests;
