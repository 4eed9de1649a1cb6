//! One version of the log as a slot that can be filled once: attempt it until it is known what it holds.

use std::time::Duration;

use bytes::Bytes;

use crate::environment::Environment;
use crate::error::{Code, Error, ErrorKind, Result};
use crate::log::commit::{self, Commit};
use crate::log::path::commit_key;
use crate::protocol::Version;
use crate::storage::{PutOutcome, Storage};

/// How often one slot is attempted again while the store's answers leave it open.
const ATTEMPTS_MAX: u32 = 10;
/// The ceiling of the first wait after an open answer; it doubles, with full jitter.
const BACKOFF_FIRST: Duration = Duration::from_millis(20);
/// The highest ceiling of a wait.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// What a slot turned out to hold.
#[derive(Debug)]
pub(crate) enum Slot {
    /// The bytes of this transaction.
    Ours,
    /// Another commit.
    Theirs(Box<Commit>),
    /// Nothing of ours, and the store said why it does not take it.
    Refused(Error),
    /// Nothing yet, or nothing that can be read: the store's last answer.
    Open(Option<Error>),
}

/// Puts `bytes`, the commit of the transaction `txn_id`, into the slot `version`.
///
/// Any answer but success is settled by reading the slot back: the bytes may have landed although the answer was
/// lost, and "exists already" may speak of our own first attempt.
pub(crate) async fn fill(
    storage: &Storage,
    environment: &Environment,
    version: Version,
    bytes: &Bytes,
    txn_id: &str,
) -> Slot {
    // Whether an attempt was left open: its bytes may land at any time while the slot is empty.
    let mut is_open = false;
    let mut last_error = None;
    for attempt in 0..ATTEMPTS_MAX {
        if let Some(doublings) = attempt.checked_sub(1) {
            let factor = 2_u32.saturating_pow(doublings);
            wait_up_to(
                environment,
                BACKOFF_FIRST.saturating_mul(factor).min(BACKOFF_MAX),
            )
            .await;
        }
        let error = match commit::try_write(storage, version, bytes.clone()).await {
            PutOutcome::Created => return Slot::Ours,
            PutOutcome::NotCreated(error) => error,
        };
        is_open |= !is_refusal(&error);
        match look(storage, version, bytes).await {
            Ok(Some(Found::Ours)) => {
                // The answer that was lost may have been that its name is not on the disk.
                return match storage.sync_name(&commit_key(version)).await {
                    Ok(()) => Slot::Ours,
                    Err(unsynced) => Slot::Open(Some(unsynced)),
                };
            }
            Ok(Some(Found::Theirs(found))) if is_of(&found, txn_id) => {
                return Slot::Refused(drawn_twice(version, txn_id));
            }
            Ok(Some(Found::Theirs(found))) => return Slot::Theirs(found),
            Ok(None) if !is_open => return Slot::Refused(error),
            Ok(None) => last_error = Some(error),
            // The slot holds something that is no commit: not ours, and nothing can follow it.
            Err(unreadable) if unreadable.kind() == ErrorKind::Corrupt => {
                return Slot::Refused(unreadable);
            }
            Err(_) if !is_open => last_error = Some(error),
            Err(unreadable) => last_error = Some(unreadable),
        }
    }
    match last_error {
        // Not one of the attempts was taken, so whatever the slot holds is not ours.
        Some(refusal) if !is_open => Slot::Refused(refusal),
        last_error => Slot::Open(last_error),
    }
}

/// What a slot was found to hold.
enum Found {
    Ours,
    Theirs(Box<Commit>),
}

/// Looks into a slot. Bytes tell ours from others: ids are drawn at random, and a clone of a machine draws the same.
async fn look(storage: &Storage, version: Version, ours: &Bytes) -> Result<Option<Found>> {
    match commit::read_bytes(storage, version).await? {
        None => Ok(None),
        Some(found) if found == *ours => Ok(Some(Found::Ours)),
        Some(found) => {
            let found = commit::decode_aside(storage, version, found).await?;
            Ok(Some(Found::Theirs(Box::new(found))))
        }
    }
}

fn is_of(commit: &Commit, txn_id: &str) -> bool {
    commit.info.as_ref().is_some_and(|info| info.is_of(txn_id))
}

fn drawn_twice(version: Version, txn_id: &str) -> Error {
    let message = "another writer has committed something else under the id of this transaction, so the randomness of \
                   one of them repeats itself; nothing was committed: give each writer its own, then write again";
    Error::conflict(Code::CommitConflict, message)
        .with("version", version)
        .with("txn_id", txn_id)
}

/// Sleeps a random time below `ceiling`.
pub(crate) async fn wait_up_to(environment: &Environment, ceiling: Duration) {
    let micros = u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX);
    environment
        .sleep(Duration::from_micros(environment.random_below(micros)))
        .await;
}

/// Whether the store said that it did not take the bytes, so that an empty slot means: not committed.
fn is_refusal(error: &Error) -> bool {
    // A client that repeats requests by itself speaks of the last one: an earlier one may have been taken.
    let cause = std::error::Error::source(error).map(ToString::to_string);
    if cause.is_some_and(|cause| cause.contains("retries")) {
        return false;
    }
    let refused = matches!(
        error.code(),
        Code::Denied | Code::NoSpace | Code::LimitExceeded
    );
    refused || matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Invalid)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Slot, fill};
    use crate::environment::Environment;
    use crate::log::commit;
    use crate::protocol::action::{Action, CommitInfo};
    use crate::storage::Storage;

    fn commit_of(txn_id: &str) -> Bytes {
        let info = CommitInfo {
            txn_id: Some(txn_id.to_owned()),
            ..CommitInfo::default()
        };
        commit::encode(1, &[Action::CommitInfo(info)]).unwrap()
    }

    #[tokio::test]
    async fn g_2_a_commit_whose_name_may_not_be_on_the_disk_is_never_acknowledged() {
        let environment = Environment::system();
        let folder = std::env::temp_dir().join(format!("headwater-{}", environment.uuid()));
        let storage = Storage::local(&folder, &environment).unwrap();
        let bytes = commit_of("mine");
        // The folder of the log is there and synced.
        storage.put("_delta_log/x", Bytes::new()).await.unwrap();

        storage.fail_directory_syncs(true);
        let slot = fill(&storage, &environment, 1, &bytes, "mine").await;
        assert!(matches!(slot, Slot::Open(Some(_))), "{slot:?}");
        let found = commit::read(&storage, 1).await.unwrap().unwrap();
        assert!(found.info.unwrap().is_of("mine"), "its name is there");

        // A later sync of the same folder proves nothing of what the first one lost.
        storage.fail_directory_syncs(false);
        let slot = fill(&storage, &environment, 1, &bytes, "mine").await;
        assert!(matches!(slot, Slot::Open(Some(_))), "{slot:?}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn a_13_another_commit_with_the_same_id_is_not_taken_for_this_one() {
        let environment = Environment::system();
        let storage = Storage::open("memory:///slot-a-13", &environment).unwrap();
        let bytes = commit_of("drawn");
        let filled = fill(&storage, &environment, 1, &bytes, "drawn").await;
        assert!(matches!(filled, Slot::Ours), "{filled:?}");
        let info = CommitInfo {
            txn_id: Some("drawn".to_owned()),
            operation: Some("WRITE".to_owned()),
            ..CommitInfo::default()
        };
        let other = commit::encode(1, &[Action::CommitInfo(info)]).unwrap();
        let refused = fill(&storage, &environment, 1, &other, "drawn").await;
        let Slot::Refused(error) = refused else {
            panic!("{refused:?}");
        };
        assert!(error.message().contains("randomness"), "{error}");
        let again = fill(&storage, &environment, 1, &bytes, "drawn").await;
        assert!(matches!(again, Slot::Ours), "{again:?}");
    }

    #[tokio::test]
    async fn a_commit_that_is_read_back_is_acknowledged_once_its_name_is_synced() {
        let environment = Environment::system();
        let folder = std::env::temp_dir().join(format!("headwater-{}", environment.uuid()));
        let storage = Storage::local(&folder, &environment).unwrap();
        let bytes = commit_of("mine");
        let filled = fill(&storage, &environment, 1, &bytes, "mine").await;
        assert!(matches!(filled, Slot::Ours), "{filled:?}");
        // As if that answer had been lost.
        let again = fill(&storage, &environment, 1, &bytes, "mine").await;
        assert!(matches!(again, Slot::Ours), "{again:?}");

        storage.fail_directory_syncs(true);
        let unsynced = fill(&storage, &environment, 1, &bytes, "mine").await;
        assert!(matches!(unsynced, Slot::Open(Some(_))), "{unsynced:?}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
