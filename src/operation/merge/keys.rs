//! Rows to keys, and a key to its row of the source.
//!
//! A key is its columns' values in the table's types, as bytes that are equal where the values are equal, and in the
//! order of the values: NaN is one value and the greatest, both zeros are one, text and bytes are as they are.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::DataType as ArrowType;

use crate::error::{Code, Error, Result};
use crate::operation::merge::source::{Source, check_size};
use crate::predicate::{BoundPredicate, Bounds, ColumnBounds, Expression, Predicate};
use crate::protocol::arrow::conform;
use crate::protocol::schema::{DataType, Field, PrimitiveType, Schema};
use crate::protocol::value::Scalar;

/// Up to this many values of a column are searched for one by one, in files and in rows; more, by their range, in files
/// that have one of them within their own.
const VALUES_MAX: usize = 1_000;
/// What a key costs in the hash table besides its bytes, about.
const ENTRY_BYTES: u64 = 48;

/// The keys of a source.
pub(super) struct Keys {
    columns: Vec<Field>,
    converter: RowConverter,
    #[expect(
        clippy::disallowed_types,
        reason = "only looked up: its order never shows"
    )]
    index: std::collections::HashMap<Box<[u8]>, u32>,
    predicate: Predicate,
    /// Where a column has many values.
    many: Vec<Many>,
}

/// The values of a column of the key, in their order.
struct Many {
    column: String,
    array: ArrayRef,
    /// Rows of the array: one for each value.
    rows: Vec<u32>,
}

impl Keys {
    /// Finds the columns of the key in the table and in the source, and takes in the keys of the source.
    pub(super) fn new(table: &Schema, on: &[String], source: &Source, limit: u64) -> Result<Self> {
        let mut columns: Vec<Field> = Vec::with_capacity(on.len());
        let mut arrays = Vec::with_capacity(on.len());
        for name in on {
            let field = table.field(name).ok_or_else(|| missing("table", name))?;
            if columns.iter().any(|known| known.name == field.name) {
                return Err(wrong("a column is named twice in the key", name));
            }
            arrays.push(source_column(source, field, name)?);
            columns.push(field.clone());
        }
        let sort = |field: &Field| Ok(SortField::new(field.data_type.to_arrow()?));
        let sort = columns.iter().map(sort).collect::<Result<Vec<_>>>()?;
        let converter = RowConverter::new(sort).map_err(unfit)?;
        let rows = converter.convert_columns(&arrays).map_err(unfit)?;
        let index = index(&rows, &arrays, on, limit)?;
        let (predicate, many) = predicate(&columns, &arrays)?;
        Ok(Self {
            columns,
            converter,
            index,
            predicate,
            many,
        })
    }

    /// The columns of the key, as the table has them.
    pub(super) fn columns(&self) -> &[Field] {
        &self.columns
    }

    /// True for every row of the table that has a key of the source, and for others.
    pub(super) fn predicate(&self) -> &Predicate {
        &self.predicate
    }

    /// Whether a file may hold a key of the source, by the bounds of its columns.
    pub(super) fn may_be_in(&self, predicate: &BoundPredicate, file: &dyn Bounds) -> bool {
        self.many.iter().all(|many| {
            let mut columns = predicate.columns().iter();
            let column = columns
                .find(|column| matches!(column.path.as_slice(), [name] if *name == many.column));
            column.is_none_or(|column| many.may_be_within(&file.column(column)))
        })
    }

    /// For each row of the table, the row of the source that has its key.
    pub(super) fn matches(&self, rows: &RecordBatch) -> Result<Vec<Option<u32>>> {
        let column = |field: &Field| {
            let column = rows.column_by_name(&field.name);
            column
                .map(normal)
                .ok_or_else(|| missing("rows", &field.name))
        };
        let arrays = self.columns.iter().map(column);
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        let keys = self.converter.convert_columns(&arrays).map_err(unfit)?;
        let found = keys.iter().enumerate().map(|(row, key)| {
            let has_null = arrays.iter().any(|array| array.is_null(row));
            let found = self.index.get(key.as_ref());
            found.copied().filter(|_| !has_null)
        });
        Ok(found.collect())
    }
}

impl Many {
    /// Whether one of the values may be within bounds: what is not known may be.
    fn may_be_within(&self, bounds: &ColumnBounds) -> bool {
        let (Some(min), Some(max)) = (&bounds.min, &bounds.max) else {
            return true;
        };
        if bounds.nan_possible {
            return true;
        }
        let order = |row: u32, bound: &Scalar| {
            let value = Scalar::from_array(&self.array, row as usize);
            value.and_then(|value| value.compare(bound))
        };
        let below = |row: &u32| order(*row, min) == Some(Ordering::Less);
        let first = self.rows.get(self.rows.partition_point(below));
        first.is_some_and(|row| order(*row, max) != Some(Ordering::Greater))
    }
}

/// A column of the source in the type of the table's.
fn source_column(source: &Source, field: &Field, name: &str) -> Result<ArrayRef> {
    let DataType::Primitive(primitive) = &field.data_type else {
        return Err(wrong(
            "a key is of plain values, not of structs, lists or maps",
            name,
        ));
    };
    if matches!(primitive, PrimitiveType::Void | PrimitiveType::Variant) {
        return Err(wrong("values of this type are never equal", name));
    }
    let found = source.schema.field(name);
    let found = found.and_then(|found| source.rows.column_by_name(&found.name));
    let column = found.ok_or_else(|| missing("source", name))?;
    Ok(normal(&conform(column, &field.data_type, name)?))
}

#[expect(
    clippy::disallowed_types,
    reason = "only looked up: its order never shows"
)]
fn index(
    rows: &Rows,
    arrays: &[ArrayRef],
    on: &[String],
    limit: u64,
) -> Result<std::collections::HashMap<Box<[u8]>, u32>> {
    let mut index = std::collections::HashMap::with_capacity(rows.num_rows());
    let (mut bytes, mut repeated) = (0_u64, 0_u64);
    for (number, key) in (0_u32..).zip(rows.iter()) {
        let row = number as usize;
        if arrays.iter().any(|array| array.is_null(row)) {
            continue;
        }
        let key: Box<[u8]> = key.as_ref().into();
        bytes = bytes.saturating_add(ENTRY_BYTES + key.len() as u64);
        check_size(bytes, limit)?;
        repeated += u64::from(index.insert(key, number).is_some());
    }
    if 0 < repeated {
        let message = "the source has several rows for one key; make its keys unique first";
        return Err(Error::invalid(Code::RowsRejected, message)
            .with("columns", on.join(", "))
            .with("rows", repeated));
    }
    Ok(index)
}

/// What the keys of the source have in common: few values, or a range of them; and the values where they are many.
fn predicate(columns: &[Field], arrays: &[ArrayRef]) -> Result<(Predicate, Vec<Many>)> {
    let rows = arrays.first().map_or(0, |array| array.len());
    let whole = |row: &usize| !arrays.iter().any(|array| array.is_null(*row));
    let rows: Vec<usize> = (0..rows).filter(whole).collect();
    let mut parts = Vec::with_capacity(columns.len());
    let mut many = Vec::new();
    for (field, array) in columns.iter().zip(arrays) {
        let column = Expression::Column(vec![field.name.clone()]);
        let sort = SortField::new(array.data_type().clone());
        let converter = RowConverter::new(vec![sort]).map_err(unfit)?;
        let encoded = converter
            .convert_columns(&[Arc::clone(array)])
            .map_err(unfit)?;
        let value = |row: usize| {
            let value = Scalar::from_array(array, row);
            let unknown = || wrong("a value of the key cannot be compared", &field.name);
            value.map(Expression::Literal).ok_or_else(unknown)
        };
        let mut few: Option<BTreeMap<&[u8], usize>> = Some(BTreeMap::new());
        let mut range: Option<(usize, usize)> = None;
        let bytes = |row: usize| encoded.row(row).data();
        for row in rows.iter().copied() {
            let (low, high) = range.unwrap_or((row, row));
            let low = if bytes(row) < bytes(low) { row } else { low };
            let high = if bytes(high) < bytes(row) { row } else { high };
            range = Some((low, high));
            if let Some(values) = &mut few {
                values.insert(bytes(row), row);
            }
            few = few.filter(|values| values.len() <= VALUES_MAX);
        }
        parts.push(match (few, range) {
            (Some(values), _) => {
                let values = values.into_values().map(value);
                column.is_in(values.collect::<Result<Vec<_>>>()?)
            }
            (None, Some((low, high))) => {
                let mut rows: Vec<u32> = rows
                    .iter()
                    .filter_map(|row| (*row).try_into().ok())
                    .collect();
                rows.sort_by(|left, right| bytes(*left as usize).cmp(bytes(*right as usize)));
                rows.dedup_by(|left, right| bytes(*left as usize) == bytes(*right as usize));
                many.push(Many {
                    column: field.name.clone(),
                    array: Arc::clone(array),
                    rows,
                });
                column.between(value(low)?, value(high)?)
            }
            (None, None) => Predicate::from(Expression::from(false)),
        });
    }
    let all = parts.into_iter().reduce(Predicate::and);
    let all = all.unwrap_or_else(|| Predicate::from(Expression::from(false)));
    Ok((all, many))
}

/// The values with one NaN and one zero.
fn normal(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        ArrowType::Float32 => {
            let floats = array.as_primitive::<Float32Type>();
            let one = |value: f32| {
                if value.is_nan() {
                    f32::NAN
                } else {
                    value + 0.0
                }
            };
            Arc::new(floats.unary::<_, Float32Type>(one))
        }
        ArrowType::Float64 => {
            let floats = array.as_primitive::<Float64Type>();
            let one = |value: f64| {
                if value.is_nan() {
                    f64::NAN
                } else {
                    value + 0.0
                }
            };
            Arc::new(floats.unary::<_, Float64Type>(one))
        }
        _ => Arc::clone(array),
    }
}

fn missing(place: &str, column: &str) -> Error {
    wrong(
        &format!("the {place} of a merge lacks a column of the key"),
        column,
    )
}

fn wrong(message: &str, column: &str) -> Error {
    Error::invalid(Code::InvalidArgument, message).with("column", column)
}

fn unfit(cause: arrow_schema::ArrowError) -> Error {
    let message = "the keys of a merge cannot be compared";
    Error::invalid(Code::InvalidArgument, message).because(cause)
}
