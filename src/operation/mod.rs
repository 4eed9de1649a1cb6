//! Verbs: what a user does to a table. Every verb is awaitable, lands as one version or not at all, and says what it
//! did.
//!
//! A verb stages its changes on a draft of the newest version. If a concurrent commit contradicts the draft, the verb
//! is planned again on the version that has it; a [`Transaction`] does so with several verbs at once.

mod alter;
mod append;
mod change;
mod checkpoint;
mod create;
mod delete;
mod evolve;
mod merge;
mod overwrite;
mod rows;
mod transaction;
mod update;

use futures::future::BoxFuture;

use crate::error::{Code, Error, ErrorKind, Result};
use crate::operation::change::rest::tell_rest;
use crate::protocol::feature;
use crate::snapshot::Snapshot;
use crate::table::Table;
use crate::transaction::{Commit, CommitStatus, Counts, Draft, Outcome, wait_to_plan_again};

pub use crate::operation::alter::Alter;
pub use crate::operation::append::Append;
pub use crate::operation::create::Create;
pub use crate::operation::delete::Delete;
pub use crate::operation::merge::Merge;
pub use crate::operation::overwrite::Overwrite;
pub use crate::operation::rows::{Batches, SourceError};
pub use crate::operation::transaction::{Transaction, Work};
pub use crate::operation::update::Update;

/// How often an operation is planned again because concurrent commits contradict it.
const PLANS_MAX: u32 = 20;

/// Something that is done to a table: it stages changes, as often as it takes to land them.
pub(crate) trait Verb: Send {
    /// The table it is for.
    fn table(&self) -> &Table;

    /// What `commitInfo` calls it.
    fn name(&self) -> &'static str;

    /// The application's transaction that it is, by application and number.
    fn txn(&self) -> Option<(&str, i64)> {
        None
    }

    /// Plans against [`Draft::state`] and stages. Called again, on a newer version, after a conflict.
    fn stage<'a>(&'a mut self, draft: &'a mut Draft) -> BoxFuture<'a, Result<()>>;
}

/// Plans one verb and lands it.
pub(crate) async fn carry_out(mut verb: impl Verb) -> Result<Commit> {
    carry_out_one(&mut verb).await
}

/// As [`carry_out`], for a verb that is asked afterwards what it did.
pub(crate) async fn carry_out_one(verb: &mut dyn Verb) -> Result<Commit> {
    let (table, name) = (verb.table().clone(), verb.name());
    carry_out_all(&table, name, &mut [verb]).await
}

/// Plans verbs one after the other, each on what those before it have staged, and lands them as one version.
async fn carry_out_all(
    table: &Table,
    name: &'static str,
    verbs: &mut [&mut dyn Verb],
) -> Result<Commit> {
    let mut plans = 0;
    let mut lost = None;
    loop {
        let base = table.refresh().await?;
        plans += 1;
        let error = match staged(base.clone(), name, verbs).await {
            Ok(draft) => match land(table, draft).await {
                Err(error) if is_conflict(&error) && plans < PLANS_MAX => error,
                Err(error) if plans < PLANS_MAX && lost_files(table, &base, &error).await => error,
                landed => return landed,
            },
            // What contradicted the last plan says more than that this one cannot be made.
            Err(error) if is_conflict(&error) => return Err(lost.unwrap_or(error)),
            Err(error) if plans < PLANS_MAX && lost_files(table, &base, &error).await => error,
            Err(error) => return Err(error),
        };
        tracing::debug!(%error, "planned_again: a concurrent commit contradicts the plan");
        lost = Some(error);
        wait_to_plan_again(table.environment(), plans).await;
    }
}

fn is_conflict(error: &Error) -> bool {
    error.code() == Code::CommitConflict
}

/// Whether a file was missing that the base needs, and there is a newer version, which may not need it: a vacuum with a
/// short retention was faster than the plan.
async fn lost_files(table: &Table, base: &Snapshot, error: &Error) -> bool {
    let version = base.version().to_string();
    let is_expired = error.code() == Code::FilesExpired
        && error.context_value("version") == Some(version.as_str());
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<Error>());
    let is_missing = error.kind() == ErrorKind::Corrupt
        && cause.is_some_and(|cause| cause.kind() == ErrorKind::NotFound);
    if !is_expired && !is_missing {
        return false;
    }
    let newest = table.refresh().await;
    newest.is_ok_and(|newest| base.version() < newest.version())
}

async fn staged(base: Snapshot, name: &'static str, verbs: &mut [&mut dyn Verb]) -> Result<Draft> {
    feature::check_writable(base.protocol(), base.metadata(), base.schema())?;
    let mut draft = Draft::on(base, name);
    // Before anything is planned: a repeat plans nothing.
    for (app_id, number) in verbs.iter().filter_map(|verb| verb.txn()) {
        draft.set_txn(app_id, number)?;
    }
    if draft.is_applied()? {
        return Ok(draft);
    }
    for verb in verbs {
        draft.settle().await?;
        verb.stage(&mut draft).await?;
    }
    tell_rest(&mut draft).await?;
    Ok(draft)
}

/// Commits what is staged.
async fn land(table: &Table, draft: Draft) -> Result<Commit> {
    let counts = draft.counts;
    let sums = draft.sums();
    if draft.is_empty() {
        return Ok(commit(
            &draft.base,
            CommitStatus::Unchanged,
            (0, 0, 0),
            counts,
        ));
    }
    match draft.commit(table).await {
        Outcome::Committed(snapshot) => {
            table.checkpoint_if_due(&snapshot);
            Ok(commit(&snapshot, CommitStatus::Committed, sums, counts))
        }
        Outcome::AlreadyApplied(snapshot) => Ok(already_applied(&snapshot)),
        Outcome::Conflict(error) | Outcome::Rejected(error) | Outcome::Unknown(error) => Err(error),
    }
}

fn commit(
    snapshot: &Snapshot,
    status: CommitStatus,
    (files, bytes, files_removed): (u64, u64, u64),
    counts: Counts,
) -> Commit {
    Commit {
        version: snapshot.version(),
        status,
        rows: counts.written,
        files,
        bytes,
        files_removed,
        rows_deleted: counts.deleted,
        rows_updated: counts.updated,
        rows_inserted: counts.inserted,
    }
}

fn already_applied(snapshot: &Snapshot) -> Commit {
    let none = Counts::default();
    commit(snapshot, CommitStatus::AlreadyApplied, (0, 0, 0), none)
}

pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::invalid(Code::InvalidArgument, message)
}

/// Awaiting the builder of a verb carries it out.
macro_rules! awaitable {
    ($verb:ty) => {
        impl std::future::IntoFuture for $verb {
            type Output = crate::error::Result<crate::transaction::Commit>;
            type IntoFuture = futures::future::BoxFuture<'static, Self::Output>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(crate::operation::carry_out(self))
            }
        }

        impl From<$verb> for crate::operation::Work {
            fn from(verb: $verb) -> Self {
                Self::new(verb)
            }
        }
    };
}

pub(crate) use awaitable;
