//! What delete, update and merge have in common: rows are found, taken out of their files, and written anew where they
//! stay or change.
//!
//! A file all of whose rows go is removed. Where the table enables deletion vectors, rows of other files are marked;
//! else what is left of the file is copied. With a change feed, what happened to each row is written, unless whole
//! files come and go and nothing else happens: then the log alone says it.
//!
//! | file | what it knows |
//! | --- | --- |
//! | [`hits`] | a condition to the rows of each file that it is true for |
//! | [`carry`] | taking rows out of their files, and following them |
//! | [`output`] | rows to data files and files of the change feed |
//! | [`assign`] | new values for columns |
//! | [`rest`] | telling the change feed what the log alone would have told |

use crate::error::{Code, Error, Result};
use crate::predicate::{Expression, Predicate};
use crate::protocol::feature::TableFeature;
use crate::snapshot::Snapshot;
use crate::transaction::Draft;

pub(crate) mod assign;
pub(crate) mod carry;
pub(crate) mod hits;
pub(crate) mod output;
pub(crate) mod rest;

/// A change of rows that are there.
#[derive(Debug, Clone)]
pub(crate) struct Changing {
    /// The version that it is planned against.
    pub(crate) state: Snapshot,
    /// Whether rows go by deletion vector.
    pub(crate) marks: bool,
    /// Whether the table has a change feed.
    pub(crate) feed: bool,
}

impl Changing {
    /// The time of the statement, in microseconds since the epoch.
    pub(crate) fn now_micros(&self) -> i64 {
        let millis = self.state.environment().now_millis();
        millis.saturating_mul(1_000)
    }

    /// Starts a change on top of what is staged.
    ///
    /// Spec: [Append-only Tables](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#append-only-tables).
    pub(crate) fn begin(draft: &Draft) -> Result<Self> {
        let state = draft.state().clone();
        crate::operation::overwrite::refuse_append_only(&state)?;
        let properties = state.properties();
        // A property without its feature says nothing.
        let vectors = state.protocol().supports(&TableFeature::DeletionVectors);
        let marks = properties.enable_deletion_vectors && vectors;
        let feed = state.has_change_feed();
        if feed && !draft.notes_changes() {
            let message = "the change data feed was enabled after rows were changed in the same commit; enable it by \
                           itself";
            return Err(Error::unsupported(message));
        }
        Ok(Self { state, marks, feed })
    }
}

/// The condition with the time of this statement, where it asks for that.
pub(crate) fn timed(predicate: &Predicate, now_micros: i64) -> Predicate {
    Predicate::from(Expression::from(predicate.clone()).at(now_micros))
}

/// The condition that every row meets.
pub(crate) fn every_row() -> Predicate {
    Predicate::from(Expression::from(true))
}

/// A condition as Spark has it among the parameters of an operation: a JSON array of texts.
pub(crate) fn as_parameter(predicate: &Predicate) -> String {
    let is_all = *predicate == every_row();
    let texts: Vec<String> = match is_all {
        true => Vec::new(),
        false => vec![predicate.to_string()],
    };
    serde_json::Value::from(texts).to_string()
}

/// An error of ours, not of the caller's: rows would be lost or doubled, so nothing is committed.
fn miscounted(path: &str, expected: u64, found: u64) -> Error {
    let message =
        "a data file gave another number of rows than before; nothing was committed, try again";
    Error::corrupt(Code::DataCorrupt, message)
        .with("path", path)
        .with("expected", expected)
        .with("found", found)
}
