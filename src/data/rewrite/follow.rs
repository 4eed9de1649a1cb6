//! Positions to rows, with the rows beside them.

use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};
use arrow_buffer::BooleanBuffer;
use arrow_select::filter::filter_record_batch;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use roaring::RoaringTreemap;

use crate::data::reader::DataFile;
use crate::data::rewrite::find::{looked_at, positions};
use crate::error::{Code, Error, Result};
use crate::predicate::BoundPredicate;
use crate::protocol::schema::Schema;
use crate::snapshot::Snapshot;

/// Rows of one file to follow.
#[derive(Debug, Clone)]
pub(crate) struct Followed {
    /// The file.
    pub(crate) file: DataFile,
    /// Which rows; `None` is all that are not deleted.
    pub(crate) rows: Option<RoaringTreemap>,
}

/// Rows of a batch, divided.
#[derive(Debug, Clone)]
pub(crate) struct Divided {
    /// Which of the files, by its place among them.
    pub(crate) place: usize,
    /// The rows that are followed.
    pub(crate) hits: RecordBatch,
    /// The rows beside them.
    pub(crate) rest: RecordBatch,
}

/// The rows of the files in their order, those that are followed apart from those beside them.
///
/// With a predicate, which must be true for every row that is followed, row groups and pages are left unread that hold
/// none, and the rows beside them do not come whole.
///
/// # Errors
///
/// As [`find`](crate::data::rewrite::find::find).
pub(crate) fn follow(
    snapshot: &Snapshot,
    predicate: Option<Arc<BoundPredicate>>,
    files: Vec<Followed>,
) -> Result<BoxStream<'static, Result<Divided>>> {
    let schema: Arc<Schema> = Arc::clone(snapshot.schema());
    let mut wanted = Vec::with_capacity(files.len());
    let mut data = Vec::with_capacity(files.len());
    for Followed { file, rows } in files {
        wanted.push(rows);
        data.push(file);
    }
    let batches = looked_at(snapshot, schema, predicate, data)?;
    let divide = move |batch: Result<crate::data::ordered::FileRows>| {
        let batch = batch?;
        let positions = positions(&batch.rows)?;
        let rows = wanted.get(batch.place).and_then(Option::as_ref);
        divide(batch.place, &batch.rows.batch, positions, rows)
    };
    let divided = batches.map(divide);
    Ok(divided.into_stream().boxed())
}

fn divide(
    place: usize,
    batch: &RecordBatch,
    positions: &[u64],
    wanted: Option<&RoaringTreemap>,
) -> Result<Divided> {
    let mask = match wanted {
        None => BooleanBuffer::new_set(positions.len()),
        Some(wanted) => mask(positions, wanted),
    };
    let hits = mask.count_set_bits();
    let whole = |hits, rest| Divided { place, hits, rest };
    if hits == positions.len() {
        return Ok(whole(batch.clone(), batch.slice(0, 0)));
    }
    if hits == 0 {
        return Ok(whole(batch.slice(0, 0), batch.clone()));
    }
    let rest = BooleanArray::new(!&mask, None);
    let hits = BooleanArray::new(mask, None);
    Ok(Divided {
        place,
        hits: filter_record_batch(batch, &hits).map_err(unfit)?,
        rest: filter_record_batch(batch, &rest).map_err(unfit)?,
    })
}

/// Which of the ascending positions are wanted.
fn mask(positions: &[u64], wanted: &RoaringTreemap) -> BooleanBuffer {
    let (Some(first), Some(last)) = (positions.first(), positions.last()) else {
        return BooleanBuffer::new_unset(0);
    };
    // Most batches of a large file hold none: one look says so.
    if wanted.range_cardinality(*first..=*last) == 0 {
        return BooleanBuffer::new_unset(positions.len());
    }
    positions.iter().map(|row| wanted.contains(*row)).collect()
}

fn unfit(cause: arrow_schema::ArrowError) -> Error {
    let message = "the rows of a data file cannot be divided";
    Error::corrupt(Code::DataCorrupt, message).because(cause)
}
