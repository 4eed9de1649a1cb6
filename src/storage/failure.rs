//! The store's failures in the crate's words: what happened, whether waiting helps, and no secret.

use std::error::Error as StdError;
use std::io;

use crate::error::{Code, Error};
use crate::storage::address::redact;
use crate::storage::local::Escape;

/// What a text says when a store asks for patience, as HTTP and the clouds word it.
const PATIENCE: [&str; 8] = [
    "status code: 429",
    "status code: 503",
    "Too Many Requests",
    "TooManyRequests",
    "Service Unavailable",
    "SlowDown",
    "Slow Down",
    "ServerBusy",
];

/// What was tried when a store failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt<'a> {
    /// As in "cannot read the object".
    pub(super) what: &'static str,
    pub(super) key: &'a str,
    pub(super) location: &'a str,
}

impl Attempt<'_> {
    /// The failure of this attempt as an error of the crate.
    pub(super) fn failed(&self, error: object_store::Error) -> Error {
        self.place(self.classify(&error).because(Cause::of(&error)))
    }

    /// An answer that is not what was asked for; asking again may help.
    pub(super) fn wrong_answer(&self, why: &str) -> Error {
        self.place(
            Error::storage(Code::StoreFailed, format!("cannot {}: {why}", self.what))
                .retryable(true),
        )
    }

    /// Adds where it happened.
    pub(super) fn place(&self, error: Error) -> Error {
        error
            .with("path", redact(self.key))
            .with("table", self.location)
    }

    fn classify(&self, error: &object_store::Error) -> Error {
        use object_store::Error as Store;
        let what = self.what;
        match error {
            Store::NotFound { .. } => Error::not_found(
                Code::ObjectNotFound,
                format!("cannot {what}: it does not exist"),
            ),
            Store::AlreadyExists { .. } | Store::Precondition { .. } => Error::conflict(
                Code::CommitConflict,
                format!("cannot {what}: it exists already"),
            ),
            Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => {
                Error::storage(Code::Denied, format!("cannot {what}: access is denied"))
            }
            Store::NotSupported { .. } | Store::NotImplemented { .. } => {
                Error::unsupported(format!("cannot {what}: this store lacks the operation"))
            }
            Store::InvalidPath { .. } => Error::corrupt(
                Code::UnsafePath,
                format!("cannot {what}: its path is not allowed"),
            ),
            other => self.classify_generic(other),
        }
    }

    fn classify_generic(&self, error: &object_store::Error) -> Error {
        let what = self.what;
        for cause in chain(error) {
            if let Some(io) = cause.downcast_ref::<io::Error>() {
                return self.classify_io(io);
            }
        }
        // A store's client hides the status of an answer that it gave up on; only its text still
        // tells. A bare number would not do: texts hold sizes and paths too.
        let text = Cause::of(error).0;
        if PATIENCE.iter().any(|sign| text.contains(sign)) {
            let message = format!("cannot {what}: the store asks for patience");
            return Error::storage(Code::Throttled, message).retryable(true);
        }
        Error::storage(
            Code::StoreFailed,
            format!("cannot {what}: the store failed"),
        )
        .retryable(true)
    }

    fn classify_io(&self, error: &io::Error) -> Error {
        use io::ErrorKind as Io;
        let what = self.what;
        if error.get_ref().is_some_and(|inner| inner.is::<Escape>()) {
            let message = format!("cannot {what}: a symbolic link leads out of the table");
            return Error::corrupt(Code::UnsafePath, message);
        }
        match error.kind() {
            Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => {
                Error::storage(Code::NoSpace, format!("cannot {what}: no space is left"))
            }
            Io::PermissionDenied | Io::ReadOnlyFilesystem => {
                Error::storage(Code::Denied, format!("cannot {what}: access is denied"))
            }
            kind => {
                // EMFILE and ENFILE have no kind of their own: files close, then it works again.
                let crowded = matches!(error.raw_os_error(), Some(23 | 24));
                let passing = matches!(
                    kind,
                    Io::Interrupted
                        | Io::TimedOut
                        | Io::WouldBlock
                        | Io::ConnectionReset
                        | Io::ConnectionAborted
                        | Io::ConnectionRefused
                        | Io::BrokenPipe
                        | Io::NotConnected
                        | Io::UnexpectedEof
                        | Io::StaleNetworkFileHandle
                        | Io::ResourceBusy
                );
                Error::storage(
                    Code::StoreFailed,
                    format!("cannot {what}: the store failed"),
                )
                .retryable(crowded || passing)
            }
        }
    }
}

/// The text of a store's error and of its causes, with user names, passwords and query strings
/// taken out of URLs.
///
/// The error itself is not kept: its `Debug` text could hold a signed URL.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Cause(String);

impl Cause {
    fn of(error: &object_store::Error) -> Self {
        let mut text = String::new();
        for cause in chain(error) {
            let line = cause.to_string();
            // Most errors of object_store repeat their source.
            if text.contains(&line) {
                continue;
            }
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&line);
        }
        Self(redact(&text))
    }
}

fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let current = next?;
        next = current.source();
        Some(current)
    })
}
