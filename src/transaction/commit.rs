//! The bounded loop: attempt a slot, settle the answer, judge the winner, go on top of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};

use crate::data::reader::deleted_rows;
use crate::data::vectors::write_vectors;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::log::commit::{self, Commit, TABLE_ID};
use crate::log::times;
use crate::protocol::Version;
use crate::protocol::action::{Action, Add, DeletionVectorDescriptor};
use crate::protocol::feature::TableFeature;
use crate::protocol::property::TableProperties;
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

/// How many deletion vectors are read at a time.
const VECTORS_AT_ONCE: usize = 16;

/// The properties that say since when commits say their own times.
const ENABLED_FROM: &str = "delta.inCommitTimestampEnablementVersion";
const ENABLED_AT: &str = "delta.inCommitTimestampEnablementTimestamp";

impl Draft {
    /// Lands the draft, exactly once, on top of whatever does not contradict it.
    pub(crate) async fn commit(self, table: &Table) -> Outcome {
        match self.is_applied() {
            Ok(false) => {}
            Ok(true) => return Outcome::AlreadyApplied(self.base),
            Err(error) => return Outcome::Rejected(error),
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
            put_at: 0,
        };
        let outcome = landing.run().await;
        if let Outcome::Committed(snapshot) | Outcome::AlreadyApplied(snapshot) = &outcome {
            table.learn(snapshot.clone());
        }
        outcome
    }
}

/// What a commit says of its own time.
#[derive(Default)]
struct Times {
    own: Option<i64>,
    /// Properties of the table, for its metadata.
    enablement: BTreeMap<String, String>,
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
    /// When the last of them was first tried.
    put_at: i64,
}

impl Landing {
    async fn run(&mut self) -> Outcome {
        while self.slots.len() < SLOTS_MAX {
            if let Err(outcome) = self.see_tip().await {
                return outcome;
            }
            let (version, bytes) = match self.next_attempt().await {
                Ok(attempt) => attempt,
                Err(error) => return Outcome::Rejected(error),
            };
            self.slots.push(version);
            self.put_at = self.environment.now_millis();
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

    /// Makes sure that the tip is in the log, so that the slot after it is the end of it. A writer that was held up may
    /// be about to fill a slot that log cleanup has emptied, or one of another table. Nothing of this transaction can be
    /// in the log yet: every slot it tried is held by another commit.
    async fn see_tip(&mut self) -> Result<(), Outcome> {
        match self.tip.seen_again().await {
            Ok(Some(tip)) if tip.is_latest_seen() => self.tip = tip,
            Ok(_) => self.look_for_tip().await?,
            Err(error) => return Err(Outcome::Rejected(error)),
        }
        Ok(())
    }

    async fn look_for_tip(&mut self) -> Result<(), Outcome> {
        let rejected = |error| Outcome::Rejected(error);
        let newest = Snapshot::latest(self.tip.storage(), &self.environment).await;
        let newest = newest.map_err(rejected)?;
        let same = newest.check_same_table(&self.tip.metadata().id);
        same.map_err(Outcome::Conflict)?;
        if newest.version() == self.tip.version() {
            self.tip = newest;
            return Ok(());
        }
        let after = self.tip.next_version().map_err(rejected)?;
        // What has won the slot is met there.
        let taken = commit::read(self.tip.storage(), after).await;
        let is_taken = taken.map_err(rejected)?.is_some();
        if is_taken && self.tip.version() < newest.version() {
            return Ok(());
        }
        Err(Outcome::Conflict(passed_by_cleanup(newest.version())))
    }

    /// Whether the slot that was filled is the end of the log: a request may be held up as long as a writer.
    async fn settled(&self, version: Version, bytes: &Bytes) -> Outcome {
        match self.tip.seen_again().await {
            Ok(Some(_)) => self.committed(version, bytes),
            Ok(None) => self.in_newest(version).await,
            Err(error) => Outcome::Unknown(self.unknown(version, Some(error))),
        }
    }

    /// Whether what was put into a slot is in the newest version, although the log before it is gone. Cleanup may have
    /// come after the commit, or the slot was empty because cleanup had come before it: what cannot be told apart stays
    /// open, for to do it again could double rows.
    async fn in_newest(&self, version: Version) -> Outcome {
        let open = |cause| Outcome::Unknown(self.unknown(version, cause));
        let newest = match Snapshot::latest(self.tip.storage(), &self.environment).await {
            Ok(newest) => newest,
            Err(error) => {
                return match self.other_table(version).await {
                    Some(replaced) => Outcome::Conflict(replaced.because(error)),
                    None => open(Some(error)),
                };
            }
        };
        if let Err(replaced) = newest.check_same_table(&self.tip.metadata().id) {
            return Outcome::Conflict(replaced.with("with_version", version));
        }
        // One of the commits that the newest version is made of: nothing of the log is between them.
        let landed = newest.commit(version);
        if landed.is_some_and(|commit| self.is_ours(&commit)) {
            return self.committed_at(version, newest).await;
        }
        let mut txns = self.draft.txns.iter();
        if txns.any(|(app_id, number)| newest.app_version(app_id) >= Some(*number)) {
            return Outcome::AlreadyApplied(newest);
        }
        let landed = match self.draft.first_add() {
            Some(add) => newest.has_had_file(&add.path).await,
            None => Ok(false),
        };
        match landed {
            Ok(true) => self.committed_at(version, newest).await,
            Ok(false) if self.would_be_known(&newest) => {
                Outcome::Conflict(passed_by_cleanup(newest.version()))
            }
            Ok(false) => open(None),
            Err(error) => open(Some(error)),
        }
    }

    /// Whether a file that this transaction added would be live in this version or have a tombstone: its checkpoint was
    /// written before tombstones from then on could expire. Half of their time is for clocks that differ.
    fn would_be_known(&self, newest: &Snapshot) -> bool {
        let written = newest.checkpoint_millis();
        let age = written.map(|written| written.saturating_sub(self.put_at));
        self.draft.first_add().is_some()
            && age.is_some_and(|age| age < vacuum::grace_millis(newest))
    }

    /// The error that says so, if commits before `version` are of another table: what was put into its log may have
    /// broken it.
    async fn other_table(&self, version: Version) -> Option<Error> {
        for before in [version.checked_sub(1)?, 0] {
            let Ok(Some(commit)) = commit::read(self.tip.storage(), before).await else {
                continue;
            };
            if let Err(replaced) = self.tip.check_same_log(&commit) {
                return Some(replaced.with("with_version", version));
            }
        }
        None
    }

    /// The version as it was committed; where that cannot be read any more, the newest one.
    async fn committed_at(&self, version: Version, newest: Snapshot) -> Outcome {
        let storage = self.tip.storage();
        let committed = Snapshot::at_version(storage, &self.environment, version).await;
        Outcome::Committed(committed.unwrap_or(newest))
    }

    /// The next slot and the bytes for it, frozen from here on.
    async fn next_attempt(&mut self) -> Result<(Version, Bytes)> {
        let version = self.tip.next_version()?;
        let now = self.environment.now_millis();
        let mut info = self.draft.commit_info(&self.txn_id, now);
        let table_id = self.tip.metadata().id.clone();
        info.unknown.insert(TABLE_ID.to_owned(), table_id.into());
        let times = self.times(version, now).await?;
        info.in_commit_timestamp = times.own;
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
        for action in &mut actions {
            if let Action::Metadata(metadata) = action {
                metadata.configuration.extend(times.enablement.clone());
            }
        }
        Ok((version, commit::encode(version, &actions)?))
    }

    /// Whether the commit of `version` says its own time, by the state that it leads to, and what its metadata then says
    /// of it.
    ///
    /// Spec: [Writer Requirements for In-Commit Timestamps](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#writer-requirements-for-in-commit-timestamps).
    async fn times(&self, version: Version, now: i64) -> Result<Times> {
        let tip = &self.tip;
        let protocol = self.draft.protocol.as_ref().unwrap_or(tip.protocol());
        let staged = self.draft.metadata.as_ref();
        let enabled = match staged {
            Some(staged) => {
                TableProperties::parse_leniently(&staged.configuration)?.enable_in_commit_timestamps
            }
            None => tip.properties().enable_in_commit_timestamps,
        };
        if !enabled || !protocol.supports(&TableFeature::InCommitTimestamp) {
            return Ok(Times::default());
        }
        let own = times::in_commit_timestamp(now, tip.timestamp_millis().await?);
        let mut enablement = BTreeMap::new();
        if tip.has_in_commit_timestamps() {
            // Metadata of an older version may know nothing of it.
            let known = tip.metadata().configuration.iter();
            let known = known.filter(|(key, _)| [ENABLED_FROM, ENABLED_AT].contains(&key.as_str()));
            enablement.extend(known.map(|(key, value)| (key.clone(), value.clone())));
        } else {
            enablement.insert(ENABLED_FROM.to_owned(), version.to_string());
            enablement.insert(ENABLED_AT.to_owned(), own.to_string());
        }
        Ok(Times {
            own: Some(own),
            enablement,
        })
    }

    /// Deletion vectors are objects of their own: they are there before the commit that names them.
    async fn store_vectors(&self) -> Result<BTreeMap<String, DeletionVectorDescriptor>> {
        let storage = self.tip.storage();
        let marks = self.draft.files.marks.values();
        let rows: Vec<_> = marks.map(|mark| mark.all_rows(storage).boxed()).collect();
        let rows = stream::iter(rows);
        let rows: Vec<_> = rows.buffered(VECTORS_AT_ONCE).try_collect().await?;
        let stored = write_vectors(storage, &self.environment, &rows).await?;
        Ok(self.draft.files.marks.keys().cloned().zip(stored).collect())
    }

    /// Goes on top of the winner and of everything after it, unless one of them contradicts this transaction.
    async fn catch_up(&mut self, winner: Box<Commit>) -> Option<Outcome> {
        let (mut winner, mut is_seen) = (Arc::new(*winner), true);
        loop {
            match self.step_over(winner, is_seen).await {
                Ok(None) => {}
                Ok(Some(outcome)) => return Some(outcome),
                Err(error) => return Some(Outcome::Rejected(error)),
            }
            let after = match self.tip.next_version() {
                Ok(after) => after,
                Err(error) => return Some(Outcome::Rejected(error)),
            };
            match self.commit_of(after).await {
                Ok(Some((next_winner, _))) if self.is_ours(&next_winner) => {
                    // Cannot be: this slot was never tried. Refuse to guess.
                    let message = "a slot that was never tried holds this transaction";
                    let error = Error::corrupt(Code::CorruptCommit, message).with("version", after);
                    return Some(Outcome::Rejected(error));
                }
                Ok(Some(next_winner)) => (winner, is_seen) = next_winner,
                Ok(None) => return None,
                Err(error) => return Some(Outcome::Rejected(error)),
            }
        }
    }

    /// The commit that made `version`, and whether it was read just now: one that another writer of this handle has read
    /// is not read again.
    async fn commit_of(&self, version: Version) -> Result<Option<(Arc<Commit>, bool)>> {
        if let Some(known) = self.table.snapshot().commit(version) {
            return Ok(Some((known, false)));
        }
        let read = commit::read(self.tip.storage(), version).await?;
        Ok(read.map(|read| (Arc::new(read), true)))
    }

    /// Goes on top of one winner, or says how the transaction ends.
    async fn step_over(&mut self, winner: Arc<Commit>, is_seen: bool) -> Result<Option<Outcome>> {
        let verdict = conflict::check(&self.draft, &winner)?;
        let next = match is_seen {
            true => self.tip.followed_by_seen(&winner)?,
            false => self.tip.followed_by(&winner)?,
        };
        match verdict {
            Verdict::Rebase => {}
            Verdict::RebaseMarks(moves) => {
                for (path, add) in moves {
                    if !self.move_mark(&path, add).await? {
                        let found = Found::same_rows(&path);
                        let error = conflict::conflict(&self.draft, &winner, &found);
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
        match landed.and_then(|commit| self.tip.followed_by_seen(&Arc::new(commit))) {
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

/// The commits that this one was to follow are gone, and it is not among those that are left.
fn passed_by_cleanup(newest: Version) -> Error {
    let message = "this writer was held up until log cleanup had passed its version: nothing was committed; \
                   refresh the table and do it again";
    Error::conflict(Code::CommitConflict, message)
        .with("conflict", "LogCleanedUp")
        .with("with_version", newest)
}

#[cfg(test)]
mod tests;
