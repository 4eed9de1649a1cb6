//! Condition and files to positions.

use std::sync::Arc;

use futures::TryStreamExt;
use futures::stream::BoxStream;
use roaring::RoaringTreemap;

use crate::data::ordered::{FileRows, in_order};
use crate::data::reader::{DataFile, Rows};
use crate::data::rewrite::reader;
use crate::error::{Code, Error, Result};
use crate::predicate::BoundPredicate;
use crate::protocol::schema::Schema;
use crate::snapshot::Snapshot;

/// Rows of one file that were found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    /// All rows of the file, deleted ones among them.
    pub(crate) physical_rows: u64,
    /// Those of them that are not deleted.
    pub(crate) live_rows: u64,
    /// The positions of those that were found: none is deleted.
    pub(crate) rows: RoaringTreemap,
}

impl Found {
    /// Whether every row that is not deleted was found.
    pub(crate) fn is_all(&self) -> bool {
        self.rows.len() == self.live_rows
    }
}

/// For each file, where the rows are for which the predicate is true; `None` where there are none.
///
/// # Errors
///
/// [`Corrupt`](crate::ErrorKind::Corrupt) if a file is missing or is not what the log says;
/// [`NotFound`](crate::ErrorKind::NotFound) if it has expired; [`Invalid`](crate::ErrorKind::Invalid) if the predicate
/// cannot be evaluated for a row.
pub(crate) async fn find(
    snapshot: &Snapshot,
    predicate: &Arc<BoundPredicate>,
    files: Vec<DataFile>,
) -> Result<Vec<Option<Found>>> {
    let mut found: Vec<Option<Found>> = Vec::new();
    found.resize_with(files.len(), || None);
    let nothing = Arc::new(Schema::new([])?);
    let mut batches = looked_at(snapshot, nothing, Some(Arc::clone(predicate)), files)?;
    while let Some(batch) = batches.try_next().await? {
        if let Some(found) = found.get_mut(batch.place) {
            let positions = positions(&batch.rows)?;
            note(found, &batch).rows.extend(positions.iter().copied());
        }
    }
    Ok(found)
}

/// Some columns of the rows of files for which the predicate is true, with positions.
pub(crate) fn looked_at(
    snapshot: &Snapshot,
    schema: Arc<Schema>,
    predicate: Option<Arc<BoundPredicate>>,
    files: Vec<DataFile>,
) -> Result<BoxStream<'static, Result<FileRows>>> {
    let reader = reader(snapshot, schema, predicate)?;
    Ok(in_order(reader, files, snapshot.clone()))
}

/// What was found in a file so far.
pub(crate) fn note<'a>(found: &'a mut Option<Found>, batch: &FileRows) -> &'a mut Found {
    found.get_or_insert_with(|| Found {
        physical_rows: batch.file.file_rows(),
        live_rows: batch.file.rows_left(),
        rows: RoaringTreemap::new(),
    })
}

/// Where the rows of a batch stand in their file.
pub(crate) fn positions(rows: &Rows) -> Result<&[u64]> {
    match &rows.positions {
        Some(positions) if positions.len() == rows.batch.num_rows() => Ok(positions.values()),
        _ => {
            let message = "rows came without their positions";
            Err(Error::corrupt(Code::DataCorrupt, message))
        }
    }
}
