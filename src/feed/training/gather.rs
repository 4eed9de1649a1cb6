//! From units to the rows of a block, in their order.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use arrow_select::interleave::interleave_record_batch;

use crate::error::{Code, Error, Result};
use crate::feed::order::RowId;
use crate::feed::training::pool::{UnitRows, stopped};

/// What a block takes its rows of a unit from.
pub(super) enum Part {
    /// The unit.
    Whole(UnitRows),
    /// Only the rows that the block hands out: which ones of the unit, ascending, and the rows.
    Few(Vec<u32>, RecordBatch),
}

impl Part {
    /// The rows of a unit that are in a block, alone.
    pub(super) fn few(
        unit: u32,
        block: &[(u64, RowId)],
        rows: &UnitRows,
        schema: &SchemaRef,
    ) -> Result<Self> {
        let of_unit = block.iter().map(|(_, row)| *row);
        let mut wanted: Vec<RowId> = of_unit.filter(|row| row.unit == unit).collect();
        wanted.sort_unstable();
        let kept = wanted.iter().map(|row| row.row).collect();
        let whole = [(unit, Self::Whole(UnitRows::clone(rows)))];
        Ok(Self::Few(kept, gather(&wanted, &whole, schema)?))
    }

    fn batches(&self) -> &[RecordBatch] {
        match self {
            Self::Whole(rows) => rows.batches(),
            Self::Few(_, batch) => std::slice::from_ref(batch),
        }
    }

    /// Where a row of the unit stands among those that are here.
    fn place(&self, row: u32) -> Option<usize> {
        match self {
            Self::Whole(_) => usize::try_from(row).ok(),
            Self::Few(kept, _) => kept.binary_search(&row).ok(),
        }
    }
}

/// These rows of these units, which ascend, in this order.
pub(super) fn gather(
    rows: &[RowId],
    units: &[(u32, Part)],
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    if rows.is_empty() {
        return Ok(RecordBatch::new_empty(SchemaRef::clone(schema)));
    }
    let mut batches = Vec::new();
    // For each unit, its first batch among all, and the rows before each of its batches.
    let mut places = Vec::with_capacity(units.len());
    for (number, part) in units {
        let mut before = Vec::with_capacity(part.batches().len());
        let mut sum = 0_usize;
        let first = batches.len();
        for batch in part.batches() {
            before.push(sum);
            sum = sum.saturating_add(batch.num_rows());
            batches.push(batch);
        }
        places.push((*number, part, first, before));
    }
    let place = |row: &RowId| {
        let unit = places
            .binary_search_by_key(&row.unit, |place| place.0)
            .ok()?;
        let (_, part, first, before) = places.get(unit)?;
        let row = part.place(row.row)?;
        let batch = before
            .partition_point(|start| *start <= row)
            .checked_sub(1)?;
        Some((first + batch, row - before.get(batch)?))
    };
    let places: Option<Vec<_>> = rows.iter().map(place).collect();
    let places = places.ok_or_else(stopped)?;
    interleave_record_batch(&batches, &places).map_err(|cause| {
        let message = "the rows of a batch cannot be gathered; make batches smaller";
        Error::invalid(Code::LimitExceeded, message).because(cause)
    })
}
