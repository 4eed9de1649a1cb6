//! A condition to the rows of each file that it is true for.

use std::sync::Arc;

use crate::data::reader::DataFile;
use crate::data::rewrite::find::{Found, find};
use crate::error::Result;
use crate::predicate::{BoundPredicate, Predicate};
use crate::protocol::action::Add;
use crate::scan::candidates::candidates;
use crate::snapshot::Snapshot;

/// A file with rows that a change is about.
#[derive(Debug, Clone)]
pub(crate) struct Hit {
    /// The file, as the log has it.
    pub(crate) add: Add,
    /// Which rows, where the file was read to know; else all that are not deleted.
    pub(crate) found: Option<Found>,
    /// How many rows that is.
    pub(crate) count: u64,
}

impl Hit {
    /// Whether no row of the file is left out.
    pub(crate) fn is_whole(&self) -> bool {
        self.found.as_ref().is_none_or(Found::is_all)
    }

    /// Whether the log alone tells the change feed which rows go: the whole file does, and it has no rows that went
    /// before. Not all readers of the feed look at the deletion vector of a file that is removed.
    pub(crate) fn is_told_by_the_log(&self) -> bool {
        self.is_whole() && self.add.deletion_vector.is_none()
    }

    /// The file, to read it.
    pub(crate) fn file(&self) -> Result<DataFile> {
        DataFile::of(&self.add)
    }

    /// A file that was read, if rows of it are hit.
    pub(crate) fn of_found(add: Add, found: Option<Found>) -> Option<Self> {
        let found = found.filter(|found| !found.rows.is_empty())?;
        let count = found.rows.len();
        let found = Some(found);
        Some(Self { add, found, count })
    }
}

/// Files with rows that a change is about.
#[derive(Debug)]
pub(crate) struct Hits {
    /// Each with at least one row.
    pub(crate) files: Vec<Hit>,
    /// True for every row that is hit.
    pub(crate) predicate: Arc<BoundPredicate>,
}

/// The rows for which a predicate is true. Files are read only where the log leaves a doubt.
pub(crate) async fn hits(state: &Snapshot, predicate: &Predicate) -> Result<Hits> {
    let candidates = candidates(state, predicate).await?;
    let predicate = candidates.predicate;
    let (mut files, mut doubtful) = (Vec::new(), Vec::new());
    for candidate in candidates.files {
        match candidate.all {
            // Nothing is left of it: a file of deleted rows only stays as it is.
            Some(0) => {}
            Some(count) => files.push(Hit {
                add: candidate.add,
                found: None,
                count,
            }),
            None => doubtful.push(candidate.add),
        }
    }
    let data = doubtful.iter().map(DataFile::of).collect::<Result<_>>()?;
    let found = find(state, &predicate, data).await?;
    let hit = doubtful.into_iter().zip(found);
    files.extend(hit.filter_map(|(add, found)| Hit::of_found(add, found)));
    Ok(Hits { files, predicate })
}
