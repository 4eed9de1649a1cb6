//! Rows by partition: each part with the text of its partition values.
//!
//! Spec: [Partition Value Serialization](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#partition-value-serialization).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_row::{Row, RowConverter, SortField};
use arrow_select::take::take_record_batch;

use crate::error::{Code, Error, Result};
use crate::protocol::value::Scalar;

/// The text of one partition's values, in the order of the partition columns.
pub(super) type PartitionKey = Vec<Option<String>>;

/// One column that rows are divided by.
#[derive(Debug, Clone)]
pub(super) struct PartitionColumn {
    /// Where it stands in a batch.
    pub(super) index: usize,
    /// The logical name, for messages.
    pub(super) name: String,
    /// Whether its value may be null, as the text of an empty string is.
    pub(super) nullable: bool,
}

/// Divides the rows of `batch` by the values of `columns`. The parts hold the columns that `stored` names, and rows keep
/// their order within a part.
///
/// Values that have one text are one partition: the empty string and null, all the NaN.
pub(super) fn split(
    batch: &RecordBatch,
    columns: &[PartitionColumn],
    stored: &[usize],
) -> Result<Vec<(PartitionKey, RecordBatch)>> {
    let data = batch.project(stored).map_err(failed)?;
    if columns.is_empty() {
        return Ok(vec![(PartitionKey::new(), data)]);
    }
    let arrays = columns
        .iter()
        .filter_map(|column| batch.columns().get(column.index));
    let arrays: Vec<ArrayRef> = arrays.map(Arc::clone).collect();
    let mut partitions: BTreeMap<PartitionKey, Vec<u32>> = BTreeMap::new();
    for mut rows in group(&arrays)? {
        let Some(&first) = rows.first() else { continue };
        let key = key(&arrays, columns, first as usize)?;
        partitions.entry(key).or_default().append(&mut rows);
    }
    if partitions.len() == 1 {
        return Ok(partitions
            .into_keys()
            .map(|key| (key, data.clone()))
            .collect());
    }
    let part = |(key, mut rows): (PartitionKey, Vec<u32>)| {
        rows.sort_unstable();
        let rows = take_record_batch(&data, &UInt32Array::from(rows)).map_err(failed)?;
        Ok((key, rows))
    };
    partitions.into_iter().map(part).collect()
}

/// Row numbers by equal values.
fn group(arrays: &[ArrayRef]) -> Result<Vec<Vec<u32>>> {
    let fields = arrays
        .iter()
        .map(|array| SortField::new(array.data_type().clone()))
        .collect();
    let rows = RowConverter::new(fields).and_then(|converter| converter.convert_columns(arrays));
    let rows = rows.map_err(failed)?;
    #[expect(
        clippy::disallowed_types,
        reason = "only looked up: groups are kept by first row"
    )]
    let mut places: std::collections::HashMap<Row<'_>, usize> = std::collections::HashMap::new();
    let mut groups: Vec<Vec<u32>> = Vec::new();
    let mut last: Option<(Row<'_>, usize)> = None;
    for (number, row) in (0_u32..).zip(rows.iter()) {
        let place = match last {
            Some((before, place)) if before == row => place,
            _ => *places.entry(row).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            }),
        };
        last = Some((row, place));
        if let Some(group) = groups.get_mut(place) {
            group.push(number);
        }
    }
    Ok(groups)
}

fn key(arrays: &[ArrayRef], columns: &[PartitionColumn], row: usize) -> Result<PartitionKey> {
    let text = |(array, column): (&ArrayRef, &PartitionColumn)| {
        let unfit = || {
            let message = "the rows hold a value that no partition can have";
            Error::invalid(Code::RowsRejected, message).with("column", &column.name)
        };
        let value = Scalar::from_array(array, row).ok_or_else(unfit)?;
        let text = value
            .to_partition_value()
            .map_err(|cause| unfit().because(cause))?;
        if text.is_none() && !column.nullable {
            let message = "a partition column that must not be null is null, or an empty string";
            return Err(Error::invalid(Code::RowsRejected, message).with("column", &column.name));
        }
        Ok(text)
    };
    arrays.iter().zip(columns).map(text).collect()
}

fn failed(cause: arrow_schema::ArrowError) -> Error {
    Error::invalid(
        Code::RowsRejected,
        "the rows cannot be divided by partition",
    )
    .because(cause)
}
