//! The order of rows that a table declares.
//!
//! The property `headwater.sortColumns` names columns, with commas between them. Compaction then writes every file in
//! their order, ascending, nulls first, and says so in its footer (`sorting_columns`). Appends write rows as they come.
//!
//! Rows are sorted run by run: as many as fit into a fixed amount of memory. So each file is sorted, and files of one
//! compaction may overlap.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_ord::sort::{SortColumn, SortOptions, lexsort_to_indices};
use arrow_schema::ArrowError;
use arrow_select::concat::concat;
use arrow_select::interleave::interleave_record_batch;

use crate::error::{Code, Error, Result};
use crate::operation::invalid;
use crate::protocol::schema::{DataType, PrimitiveType};
use crate::snapshot::Snapshot;

/// The property that names the columns.
pub(super) const SORT_COLUMNS: &str = "headwater.sortColumns";
/// How many bytes of rows are sorted at one time.
const RUN_BYTES: usize = 128 << 20;
/// How many rows are handed on at one time.
const BATCH_ROWS: usize = 8_192;

/// The columns by which the table's files are to be sorted; none if it declares no order.
///
/// # Errors
///
/// [`Invalid`](crate::ErrorKind::Invalid) if one of them is not in the schema, or has no order.
pub(super) fn sort_columns(state: &Snapshot) -> Result<Vec<String>> {
    let declared = state.metadata().configuration.get(SORT_COLUMNS);
    let names = declared.map(String::as_str).unwrap_or_default().split(',');
    let mut columns: Vec<String> = Vec::new();
    for name in names.map(str::trim).filter(|name| !name.is_empty()) {
        let wrong = |message: &str| {
            let message = format!("{message}: set or unset the property `{SORT_COLUMNS}`");
            Err(invalid(message).with("column", name))
        };
        let Some(field) = state.schema().field(name) else {
            return wrong("the table is to be sorted by a column that it does not have");
        };
        match &field.data_type {
            DataType::Primitive(PrimitiveType::Void | PrimitiveType::Variant) => {}
            DataType::Primitive(_) => {
                columns.push(field.name.clone());
                continue;
            }
            _ => {}
        }
        return wrong("the table is to be sorted by a column whose values have no order");
    }
    Ok(columns)
}

/// Rows that are sorted together.
#[derive(Debug)]
pub(super) struct Run {
    columns: Arc<[String]>,
    batches: Vec<RecordBatch>,
    bytes: usize,
}

impl Run {
    pub(super) fn new(columns: &[String]) -> Self {
        Self {
            columns: columns.into(),
            batches: Vec::new(),
            bytes: 0,
        }
    }

    pub(super) fn push(&mut self, batch: RecordBatch) {
        if 0 < batch.num_rows() {
            self.bytes = self.bytes.saturating_add(batch.get_array_memory_size());
            self.batches.push(batch);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        RUN_BYTES <= self.bytes
    }

    /// The rows, and none are left.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new(&self.columns))
    }

    /// The rows as batches, in their order; rows that are equal stay in theirs.
    pub(super) fn sorted(&self) -> Result<Vec<(usize, usize)>> {
        let mut places: Vec<(usize, usize)> = Vec::new();
        for (number, batch) in self.batches.iter().enumerate() {
            places.extend((0..batch.num_rows()).map(|row| (number, row)));
        }
        let mut keys = Vec::new();
        for column in self.columns.iter() {
            keys.push(SortColumn {
                values: self.column(column)?,
                options: Some(SortOptions {
                    descending: false,
                    nulls_first: true,
                }),
            });
        }
        // The place breaks ties, so that the same rows are always written the same way.
        let rows = u32::try_from(places.len()).map_err(unsortable)?;
        keys.push(SortColumn {
            values: Arc::new(UInt32Array::from_iter_values(0..rows)),
            options: None,
        });
        let order = lexsort_to_indices(&keys, None).map_err(unsortable)?;
        let place = |index: &u32| {
            let index = usize::try_from(*index).ok()?;
            places.get(index).copied()
        };
        Ok(order.values().iter().filter_map(place).collect())
    }

    /// The rows at some places.
    pub(super) fn rows(&self, places: &[(usize, usize)]) -> Result<RecordBatch> {
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        interleave_record_batch(&batches, places).map_err(unsortable)
    }

    fn column(&self, name: &str) -> Result<ArrayRef> {
        let column = |batch: &RecordBatch| batch.column_by_name(name).cloned();
        let columns: Vec<ArrayRef> = self.batches.iter().filter_map(column).collect();
        let columns: Vec<_> = columns.iter().map(AsRef::as_ref).collect();
        concat(&columns).map_err(|cause: ArrowError| unsortable(cause).with("column", name))
    }
}

/// Places, as many as are handed on at one time.
pub(super) fn chunks(places: &[(usize, usize)]) -> impl Iterator<Item = &[(usize, usize)]> {
    places.chunks(BATCH_ROWS)
}

fn unsortable(cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::invalid(Code::InvalidArgument, "rows cannot be sorted").because(cause)
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use arrow_array::{Int64Array, StringArray};

    use super::*;

    #[test]
    fn rows_of_many_batches_come_in_order_nulls_first_and_ties_as_they_came() {
        let batch = |texts: Vec<Option<&str>>, ids: Vec<i64>| {
            RecordBatch::try_from_iter([
                ("text", Arc::new(StringArray::from(texts)) as ArrayRef),
                ("id", Arc::new(Int64Array::from(ids)) as ArrayRef),
            ])
            .unwrap()
        };
        let mut run = Run::new(&["text".to_owned()]);
        run.push(batch(vec![Some("b"), None, Some("a")], vec![1, 2, 3]));
        run.push(batch(vec![Some("a"), Some(""), None], vec![4, 5, 6]));
        run.push(batch(vec![], vec![]));
        let places = run.sorted().unwrap();
        let sorted = run.rows(&places).unwrap();
        let ids = sorted.column(1).as_primitive::<Int64Type>().values();
        assert_eq!(ids.to_vec(), [2, 6, 5, 3, 4, 1]);
        let taken = run.take();
        assert!(run.is_empty() && !taken.is_empty());
    }
}
