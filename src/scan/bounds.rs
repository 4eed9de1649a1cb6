//! What the log knows of the live files of a batch, as bounds for a predicate.

use crate::log::checkpoint::{ColumnReader, FileText};
use crate::log::files::FileBatch;
use crate::predicate::{BoundColumn, Bounds, ColumnBounds};
use crate::protocol::schema::PrimitiveType;
use crate::protocol::statistics::nan_possible;
use crate::protocol::value::Scalar;
use crate::scan::plan::{PlannedColumn, Planner};

/// The columns of a predicate over the files of one batch.
#[derive(Debug)]
pub(crate) struct BatchBounds<'a> {
    batch: &'a FileBatch,
    /// By logical path, in the predicate's order.
    columns: Vec<(&'a [String], Source<'a>)>,
}

#[derive(Debug)]
enum Source<'a> {
    Partition {
        physical: &'a str,
        data_type: &'a PrimitiveType,
    },
    Statistics {
        reader: Box<ColumnReader>,
        data_type: &'a PrimitiveType,
        was_float: bool,
    },
}

/// The bounds of one file of the batch.
#[derive(Debug)]
pub(crate) struct FileBounds<'a> {
    all: &'a BatchBounds<'a>,
    row: usize,
    text: FileText<'a>,
}

impl<'a> BatchBounds<'a> {
    pub(crate) fn new(planner: &'a Planner, batch: &'a FileBatch) -> Self {
        let columns = planner.columns.iter().map(|(path, planned)| {
            let source = match planned {
                PlannedColumn::Partition {
                    physical,
                    data_type,
                } => Source::Partition {
                    physical,
                    data_type,
                },
                PlannedColumn::Data {
                    physical,
                    data_type,
                    was_float,
                } => Source::Statistics {
                    reader: Box::new(ColumnReader::new(batch, physical, data_type)),
                    data_type,
                    was_float: *was_float,
                },
            };
            (path.as_slice(), source)
        });
        Self {
            batch,
            columns: columns.collect(),
        }
    }

    pub(crate) fn file(&'a self, row: usize) -> FileBounds<'a> {
        FileBounds {
            all: self,
            row,
            text: FileText::new(self.batch, row),
        }
    }
}

impl Bounds for FileBounds<'_> {
    fn rows(&self) -> Option<u64> {
        self.all
            .columns
            .iter()
            .find_map(|(_, source)| match source {
                Source::Statistics { reader, .. } => reader.num_records(&self.text),
                Source::Partition { .. } => None,
            })
    }

    fn column(&self, column: &BoundColumn) -> ColumnBounds {
        let found = self
            .all
            .columns
            .iter()
            .find(|(path, _)| *path == column.path.as_slice());
        match found.map(|(_, source)| source) {
            None => ColumnBounds::unknown(),
            Some(Source::Partition {
                physical,
                data_type,
            }) => {
                let text = self.all.batch.partition_value(self.row, physical).flatten();
                // A value that cannot be read is unknown here; reading the column says so by name.
                match Scalar::from_partition_value(text, data_type) {
                    Ok(value) => ColumnBounds::constant(value),
                    Err(_) => ColumnBounds::unknown(),
                }
            }
            Some(Source::Statistics {
                reader,
                data_type,
                was_float,
            }) => {
                let known = reader.get(&self.text);
                let (min, max) = match was_float {
                    true => (known.min.map(float_min), known.max.map(float_max)),
                    false => (known.min, known.max),
                };
                ColumnBounds {
                    min,
                    max,
                    null_count: known.null_count,
                    exact: false,
                    nan_possible: nan_possible(data_type),
                }
            }
        }
    }
}

/// The bound, or the 32-bit float that its text stood for if that is less.
fn float_min(bound: Scalar) -> Scalar {
    as_float(bound, f64::min)
}

/// The bound, or the 32-bit float that its text stood for if that is greater.
fn float_max(bound: Scalar) -> Scalar {
    as_float(bound, f64::max)
}

fn as_float(bound: Scalar, choose: impl Fn(f64, f64) -> f64) -> Scalar {
    match bound {
        Scalar::Double(value) => {
            #[expect(
                clippy::as_conversions,
                reason = "rounding to the nearest is what is meant"
            )]
            let narrow = f64::from(value as f32);
            Scalar::Double(choose(value, narrow))
        }
        other => other,
    }
}
