//! The bounded loop: attempt a slot, settle the answer, judge the winner, go on top of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::data::reader::deleted_rows;
use crate::data::vectors::write_vectors;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::log::commit::{self, Commit};
use crate::log::path::commit_key;
use crate::log::times;
use crate::protocol::Version;
use crate::protocol::action::{Action, Add, DeletionVectorDescriptor};
use crate::snapshot::Snapshot;
use crate::table::Table;
use crate::transaction::conflict::{self, Found, Verdict};
use crate::transaction::draft::Draft;
use crate::transaction::slot::{self, Slot};
use crate::transaction::{Outcome, txn_action, vacuum};

/// Waits before an operation that lost is planned again, longer each time.
pub(crate) async fn wait_to_plan_again(environment: &Environment, plans: u32) {
    let ceiling = Duration::from_millis(5) * 2_u32.saturating_pow(plans.min(8));
    slot::wait_up_to(environment, ceiling).await;
}

/// How many slots one transaction tries before it says that the table is too busy. Each lost slot is another
/// writer's success, so the table as a whole makes progress.
const SLOTS_MAX: usize = 10_000;
/// From how many lost slots on a writer waits before it tries again, so that others get through.
const LOST_BEFORE_WAITING: usize = 3;
/// From what age of its listing on a writer asks whether log cleanup has passed it: cleanup leaves alone what is younger
/// than an hour.
const HELD_UP: Duration = Duration::from_secs(10 * 60);

impl Draft {
    /// Lands the draft, exactly once, on top of whatever does not contradict it.
    pub(crate) async fn commit(self, table: &Table) -> Outcome {
        if self.is_applied() {
            return Outcome::AlreadyApplied(self.base);
        }
        let environment = self.base.environment().clone();
        let mut landing = Landing {
            txn_id: environment.uuid().to_string(),
            tip: self.base.clone(),
            draft: self,
            table: table.clone(),
            vectors: None,
            vectors_stored: 0,
            environment,
            slots: Vec::new(),
        };
        let outcome = landing.run().await;
        if let Outcome::Committed(snapshot) | Outcome::AlreadyApplied(snapshot) = &outcome {
            table.learn(snapshot.clone());
        }
        outcome
    }
}

struct Landing {
    txn_id: String,
    draft: Draft,
    table: Table,
    /// The newest version known: winners are put on top of the base as they are seen.
    tip: Snapshot,
    /// What the marked files delete, as stored for the draft's present marks.
    vectors: Option<BTreeMap<String, DeletionVectorDescriptor>>,
    /// When they were stored: vacuum does not wait for ever.
    vectors_stored: i64,
    environment: Environment,
    /// Slots for which a PUT was issued.
    slots: Vec<Version>,
}

impl Landing {
    async fn run(&mut self) -> Outcome {
        while self.slots.len() < SLOTS_MAX {
            let (version, bytes) = match self.next_attempt().await {
                Ok(attempt) => attempt,
                Err(error) => return Outcome::Rejected(error),
            };
            self.slots.push(version);
            let storage = self.tip.storage();
            let filled = slot::fill(storage, &self.environment, version, &bytes, &self.txn_id);
            match filled.await {
                Slot::Ours => return self.settled(version, &bytes).await,
                Slot::Theirs(winner) => {
                    // Before catching up: the slot tried next is then the newest, not one that was lost meanwhile.
                    self.wait_when_starved().await;
                    if let Some(outcome) = self.catch_up(winner).await {
                        return outcome;
                    }
                }
                Slot::Refused(error) => return Outcome::Rejected(error),
                Slot::Open(cause) => return Outcome::Unknown(self.unknown(version, cause)),
            }
        }
        let message = format!("the commit lost {SLOTS_MAX} races in a row; try again later");
        Outcome::Conflict(Error::conflict(Code::CommitConflict, message))
    }

    /// Whether the slot that was filled is the end of the log. A writer that was held up for long may have filled one
    /// that log cleanup had emptied: cleanup removes a prefix of the log, so then the commit before it is gone.
    async fn settled(&self, version: Version, bytes: &Bytes) -> Outcome {
        let before = version.checked_sub(1).map(commit_key);
        let (Some(before), true) = (before, HELD_UP < self.tip.listed_for()) else {
            return self.committed(version, bytes);
        };
        match self.tip.storage().head(&before).await {
            Ok(Some(_)) => self.committed(version, bytes),
            Ok(None) => self.in_newest(version).await,
            Err(error) => Outcome::Unknown(self.unknown(version, Some(error))),
        }
    }

    /// Whether what was committed is in the newest version, although the log before it is gone.
    async fn in_newest(&self, version: Version) -> Outcome {
        let newest = match Snapshot::latest(self.tip.storage(), &self.environment).await {
            Ok(newest) => newest,
            Err(error) => return Outcome::Unknown(self.unknown(version, Some(error))),
        };
        let landed = match self.draft.first_add() {
            Some(add) => {
                newest
                    .has_file(&add.path, add.deletion_vector.as_ref())
                    .await
            }
            None => Ok(false),
        };
        match landed {
            Ok(true) => Outcome::Committed(newest),
            Ok(false) => {
                let message = "this writer was held up until log cleanup had passed its version: nothing was committed; \
                               refresh the table and do it again";
                Outcome::Conflict(
                    Error::conflict(Code::CommitConflict, message)
                        .with("conflict", "LogCleanedUp")
                        .with("with_version", version),
                )
            }
            Err(error) => Outcome::Unknown(self.unknown(version, Some(error))),
        }
    }

    /// The next slot and the bytes for it, frozen from here on.
    async fn next_attempt(&mut self) -> Result<(Version, Bytes)> {
        let version = self.tip.next_version()?;
        let now = self.environment.now_millis();
        let mut info = self.draft.commit_info(&self.txn_id, now);
        if self.tip.properties().enable_in_commit_timestamps {
            let previous = self.tip.in_commit_timestamp().await?;
            info.in_commit_timestamp = Some(times::in_commit_timestamp(now, previous));
        }
        vacuum::check_files(&self.draft, &self.tip).await?;
        let is_late = vacuum::grace_millis(&self.tip) < now.saturating_sub(self.vectors_stored);
        if self.vectors.is_none() || is_late {
            self.vectors_stored = now;
            self.vectors = Some(self.store_vectors().await?);
        }
        let mut actions = vec![Action::CommitInfo(info)];
        for (app_id, number) in &self.draft.txns {
            actions.push(txn_action(app_id, *number, now));
        }
        let vectors = self.vectors.as_ref();
        actions.extend(self.draft.actions(now, vectors.unwrap_or(&BTreeMap::new())));
        Ok((version, commit::encode(version, &actions)?))
    }

    /// Deletion vectors are objects of their own: they are there before the commit that names them.
    async fn store_vectors(&self) -> Result<BTreeMap<String, DeletionVectorDescriptor>> {
        let mut paths = Vec::new();
        let mut rows = Vec::new();
        for (path, mark) in &self.draft.files.marks {
            paths.push(path.clone());
            rows.push(mark.all_rows(self.tip.storage()).await?);
        }
        let stored = write_vectors(self.tip.storage(), &self.environment, &rows).await?;
        Ok(paths.into_iter().zip(stored).collect())
    }

    /// Goes on top of the winner and of everything after it, unless one of them contradicts this transaction.
    async fn catch_up(&mut self, winner: Box<Commit>) -> Option<Outcome> {
        let mut winner = Arc::new(*winner);
        loop {
            match self.step_over(winner).await {
                Ok(None) => {}
                Ok(Some(outcome)) => return Some(outcome),
                Err(error) => return Some(Outcome::Rejected(error)),
            }
            let after = match self.tip.next_version() {
                Ok(after) => after,
                Err(error) => return Some(Outcome::Rejected(error)),
            };
            match self.commit_of(after).await {
                Ok(Some(next_winner)) if self.is_ours(&next_winner) => {
                    // Cannot be: this slot was never tried. Refuse to guess.
                    let message = "a slot that was never tried holds this transaction";
                    let error = Error::corrupt(Code::CorruptCommit, message).with("version", after);
                    return Some(Outcome::Rejected(error));
                }
                Ok(Some(next_winner)) => winner = next_winner,
                Ok(None) => return None,
                Err(error) => return Some(Outcome::Rejected(error)),
            }
        }
    }

    /// The commit that made `version`: one that another writer of this handle has read is not read again.
    async fn commit_of(&self, version: Version) -> Result<Option<Arc<Commit>>> {
        if let Some(known) = self.table.snapshot().commit(version) {
            return Ok(Some(known));
        }
        let read = commit::read(self.tip.storage(), version).await?;
        Ok(read.map(Arc::new))
    }

    /// Goes on top of one winner, or says how the transaction ends.
    async fn step_over(&mut self, winner: Arc<Commit>) -> Result<Option<Outcome>> {
        let verdict = conflict::check(&self.draft, &self.tip, &winner)?;
        let next = self.tip.followed_by(&winner)?;
        match verdict {
            Verdict::Rebase => {}
            Verdict::RebaseMarks(moves) => {
                for (path, add) in moves {
                    if !self.move_mark(&path, add).await? {
                        let found = Found::same_rows(&path);
                        let error = conflict::conflict(self.draft.operation.name, &winner, &found);
                        return Ok(Some(Outcome::Conflict(error)));
                    }
                }
            }
            Verdict::AlreadyApplied => return Ok(Some(Outcome::AlreadyApplied(next))),
            Verdict::Conflict(error) => return Ok(Some(Outcome::Conflict(error))),
        }
        self.tip = next;
        Ok(None)
    }

    /// Puts the marks of a file on top of the winner's, unless both mark a row: `false`.
    async fn move_mark(&mut self, path: &str, theirs: Add) -> Result<bool> {
        let vector = theirs.deletion_vector.as_ref();
        let deleted = deleted_rows(self.tip.storage(), vector).await?;
        let Some(mark) = self.draft.files.marks.get_mut(path) else {
            return Ok(false);
        };
        if !mark.rows.is_disjoint(&deleted.unwrap_or_default()) {
            return Ok(false);
        }
        mark.file = theirs;
        self.vectors = None;
        Ok(true)
    }

    fn committed(&self, version: Version, bytes: &Bytes) -> Outcome {
        let landed = commit::decode(version, bytes);
        match landed.and_then(|commit| self.tip.followed_by(&Arc::new(commit))) {
            Ok(snapshot) => Outcome::Committed(snapshot),
            // The commit is durable, so this must not end as a failure to commit.
            Err(error) => {
                let message = "the commit is in the log, but this build cannot read it back";
                let error = Error::storage(Code::CommitUnknown, message).because(error);
                Outcome::Unknown(self.name_slots(error))
            }
        }
    }

    fn is_ours(&self, commit: &Commit) -> bool {
        commit
            .info
            .as_ref()
            .is_some_and(|info| info.is_of(&self.txn_id))
    }

    fn unknown(&self, version: Version, cause: Option<Error>) -> Error {
        let message = "the store did not say whether the commit landed; \
                       call `Table::resolve` before doing it again";
        let mut error = Error::storage(Code::CommitUnknown, message).with("version", version);
        if let Some(cause) = cause {
            error = error.because(cause);
        }
        self.name_slots(error)
    }

    fn name_slots(&self, error: Error) -> Error {
        error
            .with("txn_id", &self.txn_id)
            .with(
                "first_version",
                self.slots.first().copied().unwrap_or_default(),
            )
            .with(
                "last_version",
                self.slots.last().copied().unwrap_or_default(),
            )
    }

    async fn wait_when_starved(&self) {
        if let Some(extra) = self.slots.len().checked_sub(LOST_BEFORE_WAITING) {
            let ceiling = Duration::from_millis(2) * u32::try_from(extra.min(25)).unwrap_or(25);
            slot::wait_up_to(&self.environment, ceiling).await;
        }
    }
}
