//! One version of the log as a slot that can be filled once: attempt it until it is known what it holds.

use std::time::Duration;

use bytes::Bytes;

use crate::environment::Environment;
use crate::error::{Code, Error, ErrorKind};
use crate::log::commit::{self, Commit};
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
        match commit::read(storage, version).await {
            Ok(Some(found)) if found.info.as_ref().is_some_and(|info| info.is_of(txn_id)) => {
                return Slot::Ours;
            }
            Ok(Some(found)) => return Slot::Theirs(Box::new(found)),
            Ok(None) if is_refusal(&error) => return Slot::Refused(error),
            Ok(None) => last_error = Some(error),
            // The slot holds something that is no commit: not ours, and nothing can follow it.
            Err(unreadable) if unreadable.kind() == ErrorKind::Corrupt => {
                return Slot::Refused(unreadable);
            }
            Err(unreadable) => last_error = Some(unreadable),
        }
    }
    Slot::Open(last_error)
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
    let refused = matches!(
        error.code(),
        Code::Denied | Code::NoSpace | Code::LimitExceeded
    );
    refused || matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Invalid)
}
