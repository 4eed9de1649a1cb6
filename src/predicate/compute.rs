//! Values of an expression, for all rows of a batch at once.
//!
//! A row for which there is no answer (a sum too large for its type, a text that is no date) has a [`Fault`] in its
//! place. A fault spreads as null does, but what need not be evaluated does not spoil the row: the branch of a `CASE`
//! that is not taken, the other side of an `AND` that is false.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType,
};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Decimal128Array,
    PrimitiveArray, StringArray, new_null_array,
};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType as ArrowType;

use crate::error::{Code, Error, Result};
use crate::protocol::schema::{DataType, PrimitiveType};
use crate::protocol::value::Scalar;

pub(super) mod arithmetic;
pub(super) mod calendar;
pub(super) mod call;
pub(super) mod cast;
pub(super) mod choice;
pub(super) mod decimal;
pub(super) mod text;

/// Why a row has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault(pub(super) &'static str);

impl Fault {
    pub(super) const RANGE: Self = Self("a number is out of the range of its type");
    pub(super) const ZERO: Self = Self("a number is divided by zero");
    pub(super) const TEXT: Self = Self("a text is no value of the type it is cast to");
    pub(super) const CALENDAR: Self = Self("a time is outside the calendar");
}

/// What a row has: a value, null, or a fault.
pub(super) type Cell<T> = Result<Option<T>, Fault>;

/// What all rows have, by kind of value.
#[derive(Debug)]
pub(super) enum Cells<'a> {
    /// Null in so many rows.
    Void(usize),
    Boolean(Vec<Cell<bool>>),
    /// Integers of every width, dates, timestamps.
    Whole(Vec<Cell<i64>>),
    /// Unscaled; the scale is the type's.
    Decimal(Vec<Cell<i128>>),
    /// Of both widths.
    Float(Vec<Cell<f64>>),
    Text(Vec<Cell<Cow<'a, str>>>),
    Binary(Vec<Cell<Cow<'a, [u8]>>>),
}

/// Binding gives every operator what it takes: this error would be a mistake of this room.
pub(super) fn mistyped() -> Error {
    let message = "a part of the expression has values of another type than it was bound with";
    Error::invalid(Code::InvalidPredicate, message)
}

/// One value made of one; null of null.
pub(super) fn map<A, B>(cells: Vec<Cell<A>>, make: impl Fn(A) -> Cell<B>) -> Vec<Cell<B>> {
    let one = |cell: Cell<A>| match cell {
        Ok(Some(value)) => make(value),
        Ok(None) => Ok(None),
        Err(fault) => Err(fault),
    };
    cells.into_iter().map(one).collect()
}

/// One value made of two; null where either is.
pub(super) fn map2<A, B, C>(
    left: Vec<Cell<A>>,
    right: Vec<Cell<B>>,
    make: impl Fn(A, B) -> Cell<C>,
) -> Vec<Cell<C>> {
    let one = |(left, right): (Cell<A>, Cell<B>)| match (left?, right) {
        (None, _) => Ok(None),
        (Some(left), right) => match right? {
            Some(right) => make(left, right),
            None => Ok(None),
        },
    };
    left.into_iter().zip(right).map(one).collect()
}

macro_rules! of_kind {
    ($($method:ident, $variant:ident, $item:ty;)*) => {
        impl<'a> Cells<'a> {
            $(
                /// The cells, if they are of this kind.
                pub(super) fn $method(self) -> Result<Vec<Cell<$item>>> {
                    match self {
                        Self::$variant(cells) => Ok(cells),
                        Self::Void(rows) => Ok(vec![Ok(None); rows]),
                        _ => Err(mistyped()),
                    }
                }
            )*
        }
    };
}

of_kind! {
    booleans, Boolean, bool;
    wholes, Whole, i64;
    decimals, Decimal, i128;
    floats, Float, f64;
    texts, Text, Cow<'a, str>;
    binaries, Binary, Cow<'a, [u8]>;
}

/// Runs an expression over the cells of whichever kind.
macro_rules! with_cells {
    ($cells:expr, $rows:ident => $void:expr, $bound:ident => $body:expr) => {
        match $cells {
            Cells::Void($rows) => $void,
            Cells::Boolean($bound) => $body,
            Cells::Whole($bound) => $body,
            Cells::Decimal($bound) => $body,
            Cells::Float($bound) => $body,
            Cells::Text($bound) => $body,
            Cells::Binary($bound) => $body,
        }
    };
}
pub(super) use with_cells;

impl<'a> Cells<'a> {
    /// One value in every row.
    pub(super) fn constant(scalar: &'a Scalar, rows: usize) -> Self {
        match scalar {
            Scalar::Null => Self::Void(rows),
            Scalar::Boolean(value) => Self::Boolean(vec![Ok(Some(*value)); rows]),
            Scalar::Byte(value) => Self::Whole(vec![Ok(Some((*value).into())); rows]),
            Scalar::Short(value) => Self::Whole(vec![Ok(Some((*value).into())); rows]),
            Scalar::Integer(value) | Scalar::Date(value) => {
                Self::Whole(vec![Ok(Some((*value).into())); rows])
            }
            Scalar::Long(value) | Scalar::Timestamp(value) | Scalar::TimestampNtz(value) => {
                Self::Whole(vec![Ok(Some(*value)); rows])
            }
            Scalar::Float(value) => Self::Float(vec![Ok(Some((*value).into())); rows]),
            Scalar::Double(value) => Self::Float(vec![Ok(Some(*value)); rows]),
            Scalar::Decimal { unscaled, .. } => Self::Decimal(vec![Ok(Some(*unscaled)); rows]),
            Scalar::String(value) => {
                Self::Text(vec![Ok(Some(Cow::Borrowed(value.as_str()))); rows])
            }
            Scalar::Binary(value) => {
                Self::Binary(vec![Ok(Some(Cow::Borrowed(value.as_slice()))); rows])
            }
        }
    }

    /// The values of an array in its table's Arrow type, null where `nulls` says so.
    pub(super) fn of(array: &'a ArrayRef, nulls: Option<&NullBuffer>) -> Result<Self> {
        let rows = 0..array.len();
        let there = |row: usize| nulls.is_none_or(|nulls| nulls.is_valid(row));
        Ok(match array.data_type() {
            ArrowType::Null => Self::Void(array.len()),
            ArrowType::Boolean => {
                let array = array.as_boolean();
                Self::Boolean(
                    rows.map(|row| Ok(there(row).then(|| array.value(row))))
                        .collect(),
                )
            }
            ArrowType::Int8 => Self::Whole(numbers::<Int8Type, _>(array, nulls)?),
            ArrowType::Int16 => Self::Whole(numbers::<Int16Type, _>(array, nulls)?),
            ArrowType::Int32 => Self::Whole(numbers::<Int32Type, _>(array, nulls)?),
            ArrowType::Int64 => Self::Whole(numbers::<Int64Type, _>(array, nulls)?),
            ArrowType::Date32 => Self::Whole(numbers::<Date32Type, _>(array, nulls)?),
            ArrowType::Timestamp(_, _) => {
                Self::Whole(numbers::<TimestampMicrosecondType, _>(array, nulls)?)
            }
            ArrowType::Decimal128(_, _) => {
                Self::Decimal(numbers::<Decimal128Type, _>(array, nulls)?)
            }
            ArrowType::Float32 => Self::Float(numbers::<Float32Type, _>(array, nulls)?),
            ArrowType::Float64 => Self::Float(numbers::<Float64Type, _>(array, nulls)?),
            ArrowType::Utf8 => {
                let array = array.as_string::<i32>();
                let value = |row| there(row).then(|| Cow::Borrowed(array.value(row)));
                Self::Text(rows.map(|row| Ok(value(row))).collect())
            }
            ArrowType::Binary => {
                let array = array.as_binary::<i32>();
                let value = |row| there(row).then(|| Cow::Borrowed(array.value(row)));
                Self::Binary(rows.map(|row| Ok(value(row))).collect())
            }
            _ => return Err(mistyped()),
        })
    }

    /// How many rows have a fault, and the first.
    pub(super) fn faults(&self) -> Option<(usize, Fault)> {
        let first = with_cells!(self, _rows => None, cells => {
            cells.iter().find_map(|cell| cell.as_ref().err().copied())
        })?;
        let count = with_cells!(self, _rows => 0, cells => cells.iter().filter(|cell| cell.is_err()).count());
        Some((count, first))
    }

    /// Whether there is no value, row by row.
    pub(super) fn nulls(&self) -> Vec<Cell<bool>> {
        with_cells!(self, rows => vec![Ok(Some(true)); *rows], cells => {
            let null = |cell: &Cell<_>| cell.as_ref().map(|cell| Some(cell.is_none())).map_err(|fault| *fault);
            cells.iter().map(null).collect()
        })
    }

    /// An array of exactly the Arrow type of `ty`; faults are null.
    pub(super) fn into_array(self, ty: &PrimitiveType) -> Result<ArrayRef> {
        let arrow = DataType::Primitive(ty.clone()).to_arrow()?;
        if let Self::Void(rows) = self {
            return Ok(new_null_array(&arrow, rows));
        }
        let array: ArrayRef = match ty {
            PrimitiveType::Void => new_null_array(&arrow, choice::rows(&self)),
            PrimitiveType::Boolean => {
                let cells = self.booleans()?.into_iter();
                Arc::new(
                    cells
                        .map(Result::unwrap_or_default)
                        .collect::<BooleanArray>(),
                )
            }
            PrimitiveType::Byte => narrow::<Int8Type>(self)?,
            PrimitiveType::Short => narrow::<Int16Type>(self)?,
            PrimitiveType::Integer => narrow::<Int32Type>(self)?,
            PrimitiveType::Date => narrow::<Date32Type>(self)?,
            PrimitiveType::Long => narrow::<Int64Type>(self)?,
            PrimitiveType::Timestamp | PrimitiveType::TimestampNtz => {
                let cells = self.wholes()?.into_iter().map(Result::unwrap_or_default);
                let array: PrimitiveArray<TimestampMicrosecondType> = cells.collect();
                Arc::new(array.with_data_type(arrow))
            }
            #[expect(
                clippy::as_conversions,
                reason = "the value came from, or was rounded to, 32 bits"
            )]
            PrimitiveType::Float => {
                let cells = self.floats()?.into_iter().map(Result::unwrap_or_default);
                let cells = cells.map(|value| value.map(|value| value as f32));
                Arc::new(cells.collect::<PrimitiveArray<Float32Type>>())
            }
            PrimitiveType::Double => {
                let cells = self.floats()?.into_iter().map(Result::unwrap_or_default);
                Arc::new(cells.collect::<PrimitiveArray<Float64Type>>())
            }
            PrimitiveType::Decimal { .. } => {
                let cells = self.decimals()?.into_iter().map(Result::unwrap_or_default);
                Arc::new(cells.collect::<Decimal128Array>().with_data_type(arrow))
            }
            PrimitiveType::String => {
                let cells = self.texts()?.into_iter().map(Result::unwrap_or_default);
                Arc::new(cells.collect::<StringArray>())
            }
            PrimitiveType::Binary => {
                let cells = self.binaries()?.into_iter().map(Result::unwrap_or_default);
                Arc::new(cells.collect::<BinaryArray>())
            }
            _ => return Err(mistyped()),
        };
        Ok(array)
    }
}

fn numbers<T, K>(array: &ArrayRef, nulls: Option<&NullBuffer>) -> Result<Vec<Cell<K>>>
where
    T: ArrowPrimitiveType<Native: Into<K>>,
{
    let values = array.as_primitive_opt::<T>().ok_or_else(mistyped)?.values();
    let there = |row: usize| nulls.is_none_or(|nulls| nulls.is_valid(row));
    let cell = |(row, value): (usize, &T::Native)| Ok(there(row).then(|| (*value).into()));
    Ok(values.iter().enumerate().map(cell).collect())
}

fn narrow<T: ArrowPrimitiveType<Native: TryFrom<i64>>>(cells: Cells<'_>) -> Result<ArrayRef> {
    let mut builder = PrimitiveArray::<T>::builder(0);
    for cell in cells.wholes()? {
        let value = cell.unwrap_or_default().map(T::Native::try_from);
        builder.append_option(value.transpose().map_err(|_| mistyped())?);
    }
    Ok(Arc::new(builder.finish()))
}
