//! Which files a change is about: those that hold none of its rows are left out, those that hold nothing else are known
//! for that, all without reading them.

use std::sync::Arc;

use futures::TryStreamExt;

use crate::error::{Code, Result};
use crate::log::checkpoint::{FileColumns, StatsWanted};
use crate::log::files::FileBatch;
use crate::predicate::{BoundPredicate, Bounds, Predicate, Skip};
use crate::protocol::action::Add;
use crate::scan::bounds::BatchBounds;
use crate::scan::plan::Planner;
use crate::snapshot::Snapshot;

/// A file that may hold rows of a predicate.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// The file, as the log has it.
    pub(crate) add: Add,
    /// The number of its rows that are not deleted, if the log proves that the predicate is true for all of them.
    pub(crate) all: Option<u64>,
}

/// The files that may hold rows of a predicate, by age, and the predicate bound to the table's schema.
#[derive(Debug)]
pub(crate) struct Candidates {
    pub(crate) files: Vec<Candidate>,
    pub(crate) predicate: Arc<BoundPredicate>,
}

/// Whether a file may hold a row that is looked for, by the bounds of the predicate's columns.
pub(crate) type MayHold<'a> = &'a (dyn Fn(&BoundPredicate, &dyn Bounds) -> bool + Sync);

/// Divides the live files of a version by a predicate. Memory: what may hold a matching row.
///
/// # Errors
///
/// [`Invalid`](crate::ErrorKind::Invalid) if the predicate does not fit the schema,
/// [`Corrupt`](crate::ErrorKind::Corrupt) if the list of files cannot be read.
pub(crate) async fn candidates(snapshot: &Snapshot, predicate: &Predicate) -> Result<Candidates> {
    candidates_where(snapshot, predicate, &|_, _| true).await
}

/// As [`candidates`], without files that a second look at the bounds of the predicate's columns leaves out.
pub(crate) async fn candidates_where(
    snapshot: &Snapshot,
    predicate: &Predicate,
    may_hold: MayHold<'_>,
) -> Result<Candidates> {
    let mut snapshot = snapshot.clone();
    loop {
        match divided(&snapshot, predicate, may_hold).await {
            Err(error) if error.code() == Code::CorruptCheckpoint => {
                snapshot = snapshot.without_checkpoint(error).await?;
            }
            candidates => return candidates,
        }
    }
}

async fn divided(
    snapshot: &Snapshot,
    predicate: &Predicate,
    may_hold: MayHold<'_>,
) -> Result<Candidates> {
    let bound = Arc::new(predicate.bind(snapshot.schema())?);
    let planner = Planner::of(snapshot, Arc::clone(&bound));
    let columns = FileColumns {
        stats: StatsWanted::All,
        tags: true,
        partition_values_parsed: false,
    };
    let mut files = Vec::new();
    let mut batches = snapshot.files(columns).await?;
    while let Some(batch) = batches.try_next().await? {
        let bounds = BatchBounds::new(&planner, &batch);
        for row in 0..batch.len() {
            let file = bounds.file(row);
            if !may_hold(&bound, &file) {
                continue;
            }
            let all = match bound.skip(&file) {
                Skip::Never => continue,
                Skip::Maybe => None,
                Skip::Always => live_rows(&batch, row),
            };
            let add = batch.add(row);
            files.push(Candidate { add, all });
        }
    }
    // By age, then by path: the same order whichever checkpoint the list came from.
    files.sort_by(|left, right| {
        let key = |it: &Candidate| (it.add.modification_time, it.add.path.clone());
        key(left).cmp(&key(right))
    });
    let predicate = bound;
    Ok(Candidates { files, predicate })
}

/// How many rows of a file are not deleted, as far as the log says.
fn live_rows(batch: &FileBatch, row: usize) -> Option<u64> {
    let physical = batch.statistics(row)?.num_records()?;
    let deleted = batch.deletion_vector(row);
    let deleted = deleted.map_or(0, |vector| vector.cardinality);
    physical.checked_sub(u64::try_from(deleted).ok()?)
}
