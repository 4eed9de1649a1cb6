//! Deletion vectors: where they are stored, and which rows they leave.
//!
//! Spec: [Deletion Vectors](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#deletion-vectors).

use std::ops::Range;

use arrow_array::UInt64Array;
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};
use roaring::RoaringTreemap;

use crate::error::{Code, Error, ErrorKind, Result};
use crate::protocol::action::DeletionVectorDescriptor;
use crate::protocol::deletion_vector::{VectorSource, decode, decode_frame};
use crate::storage::Storage;

/// The rows that a deletion vector deletes, wherever it is stored.
///
/// # Errors
///
/// [`Corrupt`](ErrorKind::Corrupt) if it is missing, damaged, or outside of the table; [`Storage`](ErrorKind::Storage)
/// if the store fails.
pub(crate) async fn deleted_rows(
    storage: &Storage,
    descriptor: Option<&DeletionVectorDescriptor>,
) -> Result<Option<RoaringTreemap>> {
    let Some(descriptor) = descriptor else {
        return Ok(None);
    };
    let rows = match descriptor.source()? {
        VectorSource::Inline(bytes) => decode(&bytes, descriptor)?,
        VectorSource::File { location, range } => {
            let (storage, key) = storage.locate(location)?;
            let frame = storage.get_range(&key, range).await.map_err(as_missing)?;
            decode_frame(&frame, descriptor)?
        }
    };
    Ok(Some(rows))
}

/// What is said of a file of deletion vectors that is not there.
const VECTOR_IS_MISSING: &str = "a file of deletion vectors is missing";

/// Whether it was not the data file but that of its deletion vector which was missing.
pub(crate) fn is_missing_vector(error: &Error) -> bool {
    error.message() == VECTOR_IS_MISSING
}

fn as_missing(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::corrupt(Code::DataCorrupt, VECTOR_IS_MISSING).because(error),
        _ => error,
    }
}

/// Whether all of these rows are deleted.
pub(super) fn covers(deleted: Option<&RoaringTreemap>, rows: Range<u64>) -> bool {
    deleted.is_some_and(|deleted| count(deleted, &rows) == rows.end - rows.start)
}

/// Which of the rows at these ascending positions are not deleted; `None` if all are.
pub(super) fn live(deleted: &RoaringTreemap, positions: &UInt64Array) -> Option<BooleanBuffer> {
    let positions = positions.values();
    let (first, last) = (*positions.first()?, *positions.last()?);
    let rows = first..last.checked_add(1)?;
    if count(deleted, &rows) == 0 {
        return None;
    }
    if rows.end - rows.start != positions.len() as u64 {
        let is_live = |index| {
            positions
                .get(index)
                .is_some_and(|row| !deleted.contains(*row))
        };
        return Some(BooleanBuffer::collect_bool(positions.len(), is_live));
    }
    let mut live = BooleanBufferBuilder::new(positions.len());
    live.append_n(positions.len(), true);
    let mut hits = deleted.iter();
    hits.advance_to(first);
    for row in hits.take_while(|row| *row <= last) {
        if let Ok(index) = usize::try_from(row - first) {
            live.set_bit(index, false);
        }
    }
    Some(live.finish())
}

/// How many of these rows are deleted.
pub(super) fn count(deleted: &RoaringTreemap, rows: &Range<u64>) -> u64 {
    let below = |end: u64| end.checked_sub(1).map_or(0, |last| deleted.rank(last));
    below(rows.end) - below(rows.start)
}
