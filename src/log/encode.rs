//! Actions into the bytes of a commit file, checked first: what no reader could read in one way is never written.
//!
//! Spec: [Requirements for Writers, Delta Log Entries](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#delta-log-entries-1).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::error::{Code, Error, Result};
use crate::log::commit::{ACTION_COUNT, Limits, is_too_deep};
use crate::log::key::FileKey;
use crate::log::rows::negative_number;
use crate::protocol::action::{Action, Add, CommitInfo, DeletionVectorDescriptor, Remove};
use crate::protocol::location::resolve;
use crate::protocol::{VERSION_MAX, Version};

/// How large a commit may be that is written: a quarter of the largest that is read.
pub(crate) const WRITTEN: Limits = Limits {
    commit_bytes: 128 << 20,
    ..Limits::READ
};

/// The bytes of the commit of `version`: `commitInfo` first, then the other actions in their order.
///
/// # Errors
///
/// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) if the actions contradict each other, and
/// [`Code::LimitExceeded`] if they are too large. Nothing has been written then.
pub(crate) fn encode(version: Version, actions: &[Action]) -> Result<Bytes> {
    encode_within(version, actions, WRITTEN)
}

fn encode_within(version: Version, actions: &[Action], limits: Limits) -> Result<Bytes> {
    if VERSION_MAX < version {
        return Err(Error::invalid(
            Code::LimitExceeded,
            "there is no version after the last one",
        )
        .with("version", version));
    }
    if limits.lines < actions.len() {
        return Err(too_large("the number of actions is", version, limits.lines));
    }
    let info = check(actions).map_err(|why| {
        Error::invalid(
            Code::InvalidArgument,
            format!("the commit contradicts itself: {why}"),
        )
        .with("version", version)
    })?;
    let mut info = info.clone();
    info.unknown
        .insert(ACTION_COUNT.to_owned(), actions.len().into());
    let first = Action::CommitInfo(info);
    let others = actions
        .iter()
        .filter(|action| !matches!(action, Action::CommitInfo(_)));
    let mut bytes = Vec::new();
    for action in std::iter::once(&first).chain(others) {
        let start = bytes.len();
        serde_json::to_writer(&mut bytes, action).map_err(|error| {
            Error::invalid(Code::InvalidArgument, "an action cannot be written as JSON")
                .with("version", version)
                .because(error)
        })?;
        let line = bytes.get(start..).unwrap_or_default();
        // What is written must be read back, by others and by this crate.
        if limits.line_bytes < line.len() || is_too_deep(line) {
            return Err(too_large("an action is", version, limits.line_bytes));
        }
        bytes.push(b'\n');
        if limits.commit_bytes < bytes.len() {
            return Err(too_large("the commit is", version, limits.commit_bytes));
        }
    }
    Ok(bytes.into())
}

/// What has been seen of a commit's actions.
#[derive(Default)]
struct Seen<'a> {
    info: Option<&'a CommitInfo>,
    protocol: bool,
    metadata: bool,
    apps: BTreeSet<&'a str>,
    domains: BTreeSet<&'a str>,
    added: BTreeMap<String, Option<String>>,
    removed: BTreeSet<FileKey>,
}

/// Checks that the actions, which have no order, can be read in one way only, and hands back their provenance.
fn check(actions: &[Action]) -> Result<&CommitInfo, &'static str> {
    let mut seen = Seen::default();
    for action in actions {
        seen.see(action)?;
    }
    let added_again = |key: &FileKey| {
        seen.added
            .get(&key.path)
            .is_some_and(|vector| *vector == key.dv)
    };
    if seen.removed.iter().any(added_again) {
        return Err("a file is both added and removed");
    }
    let info = seen.info.ok_or("it has no commitInfo")?;
    if info.txn_id.as_ref().is_none_or(String::is_empty) {
        return Err("its commitInfo has no txnId");
    }
    Ok(info)
}

impl<'a> Seen<'a> {
    fn see(&mut self, action: &'a Action) -> Result<(), &'static str> {
        let unseen = |unseen: bool, twice: &'static str| if unseen { Ok(()) } else { Err(twice) };
        match action {
            Action::Add(add) => self.add(add),
            Action::Remove(remove) => self.remove(remove),
            Action::Cdc(cdc) if cdc.size < 0 => Err("the size of a file is negative"),
            Action::Cdc(cdc) => readable(&cdc.path),
            Action::Protocol(_) => unseen(
                !std::mem::replace(&mut self.protocol, true),
                "two protocol actions",
            ),
            Action::Metadata(_) => unseen(
                !std::mem::replace(&mut self.metadata, true),
                "two metaData actions",
            ),
            Action::CommitInfo(info) => {
                unseen(self.info.replace(info).is_none(), "two commitInfo actions")
            }
            Action::Txn(txn) => unseen(
                self.apps.insert(&txn.app_id),
                "two txn actions of one application",
            ),
            Action::DomainMetadata(domain) => unseen(
                self.domains.insert(&domain.domain),
                "two domainMetadata actions of one domain",
            ),
            Action::Sidecar(_) | Action::CheckpointMetadata(_) => {
                Err("an action that belongs into checkpoints")
            }
        }
    }

    fn add(&mut self, add: &Add) -> Result<(), &'static str> {
        readable(&add.path)?;
        let row_tracking = [add.base_row_id, add.default_row_commit_version];
        numbers(Some(add.size), row_tracking, add.deletion_vector.as_ref())?;
        let vector = add
            .deletion_vector
            .as_ref()
            .map(DeletionVectorDescriptor::unique_id);
        let key = FileKey::new(&add.path, vector);
        match self.added.insert(key.path, key.dv) {
            Some(_) => Err("a file is added twice"),
            None => Ok(()),
        }
    }

    fn remove(&mut self, remove: &Remove) -> Result<(), &'static str> {
        let row_tracking = [remove.base_row_id, remove.default_row_commit_version];
        numbers(remove.size, row_tracking, remove.deletion_vector.as_ref())?;
        let vector = remove
            .deletion_vector
            .as_ref()
            .map(DeletionVectorDescriptor::unique_id);
        if self.removed.insert(FileKey::new(&remove.path, vector)) {
            Ok(())
        } else {
            Err("a file is removed twice")
        }
    }
}

fn readable(path: &str) -> Result<(), &'static str> {
    resolve(path)
        .map(|_| ())
        .map_err(|_| "a path that no reader may follow")
}

fn numbers(
    size: Option<i64>,
    row_tracking: [Option<i64>; 2],
    vector: Option<&DeletionVectorDescriptor>,
) -> Result<(), &'static str> {
    match negative_number(size, row_tracking, vector) {
        Some(why) => Err(why),
        None => Ok(()),
    }
}

fn too_large(what: &str, version: Version, limit: usize) -> Error {
    Error::invalid(Code::LimitExceeded, format!("{what} larger than it may be"))
        .with("version", version)
        .with("limit", limit)
}

#[cfg(test)]
mod tests;
