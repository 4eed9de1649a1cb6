//! Changing the log: staged actions on a base snapshot, and the bounded loop that lands them exactly once.
//!
//! A commit is never ambiguous: every `commitInfo` carries a `txnId`; the bytes of an attempt are frozen; any answer
//! of the store but success is settled by reading the slot back; the next slot is tried only after this one was seen
//! to exist.

mod commit;
mod conflict;
mod draft;
mod resolve;
pub(crate) mod slot;
pub(crate) mod vacuum;

use std::collections::BTreeMap;

use crate::error::Error;
use crate::protocol::Version;
use crate::protocol::action::{Action, CommitInfo, Txn};
use crate::protocol::json::Json;
use crate::snapshot::Snapshot;

pub(crate) use crate::transaction::commit::wait_to_plan_again;
pub(crate) use crate::transaction::draft::{Counts, Draft, ReadRows};

pub use crate::transaction::resolve::Resolution;

/// What a write did.
///
/// ```
/// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # use headwater::protocol::schema::{DataType, Field, Schema};
/// # use std::sync::Arc;
/// # let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
/// # let table = headwater::Table::create("memory:///commit-example", schema).await?;
/// # let column = Arc::new(headwater::arrow_array::Int64Array::from(vec![1, 2])) as _;
/// # let batch = headwater::arrow_array::RecordBatch::try_from_iter([("id", column)]).unwrap();
/// let commit = table.append(batch.clone()).exactly_once("loader", 7).await?;
/// assert_eq!((commit.version, commit.rows), (1, 2));
///
/// let again = table.append(batch).exactly_once("loader", 7).await?;
/// assert_eq!(again.status, headwater::CommitStatus::AlreadyApplied);
/// # Ok(()) }) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Commit {
    /// The version that holds the write. For [`CommitStatus::AlreadyApplied`], the version at which that was seen.
    pub version: Version,
    /// Whether this call wrote it.
    pub status: CommitStatus,
    /// How many rows this call wrote into data files: new ones, changed ones, and those that had to be copied.
    pub rows: u64,
    /// How many data files this call added.
    pub files: u64,
    /// How many bytes of data files this call added.
    pub bytes: u64,
    /// How many data files this call removed.
    pub files_removed: u64,
    /// How many rows this call deleted, where it had to count them.
    pub rows_deleted: u64,
    /// How many rows this call changed.
    pub rows_updated: u64,
    /// How many rows this call inserted.
    pub rows_inserted: u64,
}

/// Whether a write landed now or had landed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitStatus {
    /// This call committed it.
    Committed,
    /// A write with this application id and this or a higher number had been committed before: nothing was written.
    AlreadyApplied,
    /// There was nothing to change: no version was made.
    Unchanged,
}

/// How a transaction ended. Exactly one of these; never an error that leaves it open.
#[derive(Debug)]
#[must_use]
pub(crate) enum Outcome {
    /// The commit is in the log.
    Committed(Snapshot),
    /// The application's transaction was in the log already.
    AlreadyApplied(Snapshot),
    /// Definitely not committed: another commit contradicts it.
    Conflict(Error),
    /// Definitely not committed: it was invalid, or the store refused it.
    Rejected(Error),
    /// Not known; the error's context says what to look for.
    Unknown(Error),
}

/// What `commitInfo` says was done.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    /// Values are JSON as text.
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) metrics: BTreeMap<&'static str, u64>,
}

impl Operation {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            parameters: BTreeMap::new(),
            metrics: BTreeMap::new(),
        }
    }

    /// The `commitInfo` of an attempt. Parameters and metrics are JSON strings, whatever they hold, as other engines
    /// expect.
    pub(crate) fn commit_info(&self, txn_id: &str, now_millis: i64) -> CommitInfo {
        let parameters = self.parameters.iter();
        let parameters = parameters.map(|(name, value)| (name.clone(), Json::string(value)));
        let metrics = self.metrics.iter();
        let metrics =
            metrics.map(|(name, value)| ((*name).to_owned(), Json::string(&value.to_string())));
        CommitInfo {
            timestamp: Some(now_millis),
            operation: Some(self.name.to_owned()),
            operation_parameters: Some(parameters.collect()),
            operation_metrics: Some(metrics.collect()),
            engine_info: Some(concat!("headwater/", env!("CARGO_PKG_VERSION")).to_owned()),
            txn_id: Some(txn_id.to_owned()),
            ..CommitInfo::default()
        }
    }
}

/// The `txn` action of an application's transaction.
///
/// `lastUpdated` is always there: other engines drop a transaction without it from checkpoints where
/// `delta.setTransactionRetentionDuration` is set.
fn txn_action(app_id: &str, version: i64, now_millis: i64) -> Action {
    Action::Txn(Txn {
        app_id: app_id.to_owned(),
        version,
        last_updated: Some(now_millis),
    })
}
