//! Why a file is read or left unread.

use futures::TryStreamExt;

use crate::error::{Code, Result};
use crate::predicate::Skip;
use crate::protocol::action::Add;
use crate::scan::bounds::BatchBounds;
use crate::scan::plan::Planner;
use crate::scan::{Pruning, Scan};
use crate::snapshot::Snapshot;

/// What a scan does with one live file.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FileDecision {
    /// The file, as the log has it.
    pub add: Add,
    /// Whether it is read.
    pub verdict: Verdict,
    /// Which condition and which bound decided, in words.
    pub reason: String,
}

/// Whether a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is read: it may hold matching rows.
    Kept,
    /// It is left unread: it provably holds no matching row.
    Pruned,
}

impl Scan {
    /// What this scan does with every live file, and why. For people: costs one struct per file.
    ///
    /// # Errors
    ///
    /// As [`Scan::plan`].
    pub async fn explain(&self) -> Result<Vec<FileDecision>> {
        let mut snapshot = self.snapshot.clone();
        loop {
            match self.explain_of(&snapshot).await {
                Err(error) if error.code() == Code::CorruptCheckpoint => {
                    snapshot = snapshot.without_checkpoint(error).await?;
                }
                decisions => return decisions,
            }
        }
    }

    async fn explain_of(&self, snapshot: &Snapshot) -> Result<Vec<FileDecision>> {
        let planner = Planner::new(self)?;
        let mut decisions = Vec::new();
        let mut files = snapshot.files(planner.columns_for_explaining()).await?;
        while let Some(batch) = files.try_next().await? {
            let all = BatchBounds::new(&planner, &batch);
            for row in 0..batch.len() {
                let (verdict, reason) = match planner.predicate() {
                    None => (Verdict::Kept, "no condition".to_owned()),
                    Some(_) if self.pruning == Pruning::Off => {
                        (Verdict::Kept, "pruning is off".to_owned())
                    }
                    Some(predicate) => {
                        let (skip, reason) = predicate.explain(&all.file(row));
                        let pruned = matches!(skip, Skip::Never);
                        (
                            if pruned {
                                Verdict::Pruned
                            } else {
                                Verdict::Kept
                            },
                            reason,
                        )
                    }
                };
                decisions.push(FileDecision {
                    add: batch.add(row),
                    verdict,
                    reason,
                });
            }
        }
        Ok(decisions)
    }
}
