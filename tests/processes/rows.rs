//! What every append holds, so that a row alone says which append it came from.

use std::sync::Arc;

use headwater::arrow_array::{Int32Array, Int64Array, RecordBatch, StringArray};
use headwater::protocol::schema::{DataType, Field, Schema};

/// Appends of one application are numbered below this.
const NUMBERS: i64 = 1_000_000;

/// One append: an application and a number of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) app: i64,
    pub(crate) number: i64,
}

/// One row, with all of its columns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) append: i64,
    pub(crate) row: i32,
    pub(crate) note: Option<String>,
    pub(crate) slice: i32,
}

impl Id {
    /// The append that a row says it came from.
    pub(crate) fn of(row: &Row) -> Self {
        Self {
            app: row.append / NUMBERS,
            number: row.append % NUMBERS,
        }
    }

    /// The rows of this append: one to four, in one or two partitions.
    pub(crate) fn rows(self) -> Vec<Row> {
        let append = self.app * NUMBERS + self.number;
        let count = 1 + i32::try_from(append % 4).unwrap();
        let rows = (0..count).map(|row| Row {
            append,
            row,
            note: (row % 3 != 2).then(|| format!("row {row} of append {append}")),
            slice: row % 2,
        });
        rows.collect()
    }

    /// How many data files this append writes.
    pub(crate) fn files(self) -> usize {
        self.rows().len().min(2)
    }

    pub(crate) fn batch(self) -> RecordBatch {
        let rows = self.rows();
        let appends = Int64Array::from_iter_values(rows.iter().map(|row| row.append));
        let numbers = Int32Array::from_iter_values(rows.iter().map(|row| row.row));
        let notes: StringArray = rows.iter().map(|row| row.note.as_deref()).collect();
        let slices = Int32Array::from_iter_values(rows.iter().map(|row| row.slice));
        RecordBatch::try_from_iter([
            ("append", Arc::new(appends) as _),
            ("row", Arc::new(numbers) as _),
            ("note", Arc::new(notes) as _),
            ("slice", Arc::new(slices) as _),
        ])
        .unwrap()
    }
}

/// The table's schema; it is partitioned by `slice`.
pub(crate) fn schema() -> Schema {
    Schema::new([
        Field::new("append", DataType::LONG, false),
        Field::new("row", DataType::INTEGER, false),
        Field::new("note", DataType::STRING, true),
        Field::new("slice", DataType::INTEGER, false),
    ])
    .unwrap()
}
