//! Predicate and record batch to a row mask.
//!
//! A mask is kept as two bitmaps, the rows where it is true and the rows where it is false; the rest is unknown, or
//! failed. The rules of three-valued logic are then plain operations on bitmaps.

use std::cell::OnceCell;
use std::cmp::Ordering;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, BooleanArray, RecordBatch, StructArray};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::DataType as ArrowType;

use crate::error::{Code, Error, Result};
use crate::predicate::bind::{Bound, Test};
use crate::predicate::pattern::Pattern;
use crate::predicate::{BoundColumn, BoundPredicate, Comparison};
use crate::protocol::arrow::conform;
use crate::protocol::schema::{DataType, PrimitiveType, fold};
use crate::protocol::value::Scalar;

mod mask;
mod values;

use mask::Mask;

impl BoundPredicate {
    /// For every row of the batch whether it matches; null where that is unknown, which is no match.
    ///
    /// Columns are found by their logical names, whatever their order and whatever else the batch has.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::error::ErrorKind::Invalid) if the batch lacks a column or has it in another type, or if in
    /// some row a computed part has no value: its type is too small for it, or it is divided by zero.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let rows = Rows::new(batch, self.columns());
        let mask = rows.mask(self.root())?;
        if let Some(failed) = &mask.failed {
            let count = failed.rows.count_set_bits();
            return Err(values::failed(failed.fault, count).with("predicate", self.predicate()));
        }
        let valid = NullBuffer::new(&mask.yes | &mask.no);
        Ok(BooleanArray::new(
            mask.yes,
            Some(valid).filter(|valid| 0 < valid.null_count()),
        ))
    }
}

struct Rows<'a> {
    batch: &'a RecordBatch,
    columns: &'a [BoundColumn],
    /// Columns in their table's Arrow types, each made when first asked for.
    loaded: Vec<OnceCell<Values>>,
}

// Values, and where there are none: a field has none where its struct is null.
struct Values {
    array: ArrayRef,
    nulls: Option<NullBuffer>,
}

impl<'a> Rows<'a> {
    fn new(batch: &'a RecordBatch, columns: &'a [BoundColumn]) -> Self {
        Self {
            batch,
            columns,
            loaded: columns.iter().map(|_| OnceCell::new()).collect(),
        }
    }

    fn mask(&self, bound: &Bound) -> Result<Mask> {
        let rows = self.batch.num_rows();
        match bound {
            Bound::Constant(truth) => Ok(Mask::constant(*truth, rows)),
            Bound::Leaf(leaf) => self.test(&leaf.test),
            Bound::Is { part, truth } => Ok(self.mask(part)?.is(*truth)),
            Bound::Not(part) => Ok(self.mask(part)?.not()),
            Bound::And(parts) => {
                let mut mask = Mask::constant(Some(true), rows);
                for part in parts {
                    mask = mask.and(&self.mask(part)?);
                }
                Ok(mask)
            }
            Bound::Or(parts) => {
                let mut mask = Mask::constant(Some(false), rows);
                for part in parts {
                    mask = mask.or(&self.mask(part)?);
                }
                Ok(mask)
            }
        }
    }

    fn test(&self, test: &Test) -> Result<Mask> {
        let rows = self.batch.num_rows();
        match test {
            Test::Value { column, truth } => {
                let (_, nulls) = self.find(self.column(*column)?)?;
                Ok(Mask::of(
                    BooleanBuffer::collect_bool(rows, |_| *truth),
                    nulls.as_ref(),
                ))
            }
            Test::IsNull { column } => {
                let (_, nulls) = self.find(self.column(*column)?)?;
                let valid = Mask::constant(Some(true), rows).yes;
                let valid = nulls.map_or(valid, |nulls| nulls.inner().clone());
                Ok(Mask::certain(!&valid, valid))
            }
            Test::Compare {
                column,
                op,
                literal,
            } => {
                let values = self.values(*column)?;
                let asked = Asked::Compare(*op, literal);
                Ok(Mask::of(ask(&values.array, &asked)?, values.nulls.as_ref()))
            }
            Test::In {
                column,
                values: list,
                or_unknown,
            } => {
                let values = self.values(*column)?;
                let mask = Mask::of(ask(&values.array, &Asked::In(list))?, values.nulls.as_ref());
                let no = if *or_unknown {
                    Mask::constant(None, rows).no
                } else {
                    mask.no
                };
                Ok(Mask::certain(mask.yes, no))
            }
            Test::Like { column, pattern } => {
                let values = self.values(*column)?;
                Ok(Mask::of(
                    like(&values.array, pattern)?,
                    values.nulls.as_ref(),
                ))
            }
            Test::Columns { left, op, right } => {
                beside(self.values(*left)?, *op, self.values(*right)?)
            }
            Test::Computed(node) => Ok(Mask::of_cells(self.cells(node)?.booleans()?)),
        }
    }

    fn column(&self, column: usize) -> Result<&BoundColumn> {
        let missing = || Error::invalid(Code::InvalidPredicate, "a column is not bound");
        self.columns.get(column).ok_or_else(missing)
    }

    /// A column in the table's Arrow type.
    fn values(&self, place: usize) -> Result<&Values> {
        let column = self.column(place)?;
        let missing = || Error::invalid(Code::InvalidPredicate, "a column is not bound");
        let cell = self.loaded.get(place).ok_or_else(missing)?;
        if let Some(values) = cell.get() {
            return Ok(values);
        }
        let values = self.load(column)?;
        Ok(cell.get_or_init(|| values))
    }

    fn load(&self, column: &BoundColumn) -> Result<Values> {
        let (array, nulls) = self.find(column)?;
        let ty = DataType::Primitive(column.data_type.clone());
        let array = if readable(array.data_type(), &column.data_type) {
            array
        } else {
            conform(&array, &ty, &column.name())?
        };
        Ok(Values { array, nulls })
    }

    fn find(&self, column: &BoundColumn) -> Result<(ArrayRef, Option<NullBuffer>)> {
        let missing = || {
            let message = "the rows lack a column that the predicate names";
            Error::invalid(Code::InvalidArgument, message).with("column", column.name())
        };
        let (first, rest) = column.path.split_first().ok_or_else(missing)?;
        let schema = self.batch.schema_ref();
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let index = position(names, first).ok_or_else(missing)?;
        let mut array = self.batch.columns().get(index).ok_or_else(missing)?.clone();
        let mut nulls = array.logical_nulls();
        for name in rest {
            let parent = array
                .as_any()
                .downcast_ref::<StructArray>()
                .ok_or_else(missing)?;
            let index = position(parent.column_names().into_iter(), name).ok_or_else(missing)?;
            let child = parent.columns().get(index).ok_or_else(missing)?.clone();
            nulls = NullBuffer::union(nulls.as_ref(), child.logical_nulls().as_ref());
            array = child;
        }
        Ok((array, nulls))
    }
}

fn position<'a>(names: impl Iterator<Item = &'a str> + Clone, name: &str) -> Option<usize> {
    names.clone().position(|have| have == name).or_else(|| {
        let folded = fold(name);
        names.into_iter().position(|have| fold(have) == folded)
    })
}

/// Whether values of this Arrow type are read as they are: the zone of a timestamp does not change its value.
fn readable(have: &ArrowType, ty: &PrimitiveType) -> bool {
    match ty {
        PrimitiveType::Boolean => matches!(have, ArrowType::Boolean),
        PrimitiveType::Byte => matches!(have, ArrowType::Int8),
        PrimitiveType::Short => matches!(have, ArrowType::Int16),
        PrimitiveType::Integer => matches!(have, ArrowType::Int32),
        PrimitiveType::Long => matches!(have, ArrowType::Int64),
        PrimitiveType::Float => matches!(have, ArrowType::Float32),
        PrimitiveType::Double => matches!(have, ArrowType::Float64),
        &PrimitiveType::Decimal { scale, .. } => {
            matches!(have, ArrowType::Decimal128(_, of) if u8::try_from(*of) == Ok(scale))
        }
        PrimitiveType::String => matches!(have, ArrowType::Utf8),
        PrimitiveType::Binary => matches!(have, ArrowType::Binary),
        PrimitiveType::Date => matches!(have, ArrowType::Date32),
        _ => false,
    }
}

// What is asked of each value of an array.
enum Asked<'a> {
    Compare(Comparison, &'a Scalar),
    In(&'a [Scalar]),
}

fn mistyped() -> Error {
    Error::invalid(
        Code::InvalidPredicate,
        "a column is of another type than its literal",
    )
}

fn ask(array: &ArrayRef, asked: &Asked<'_>) -> Result<BooleanBuffer> {
    let answers = match array.data_type() {
        ArrowType::Boolean => {
            let array = array.as_boolean();
            answer(array.values().iter(), asked, |scalar| match scalar {
                Scalar::Boolean(value) => Some(*value),
                _ => None,
            })
        }
        ArrowType::Int8 => numbers::<Int8Type, i64>(array, asked, whole),
        ArrowType::Int16 => numbers::<Int16Type, i64>(array, asked, whole),
        ArrowType::Int32 => numbers::<Int32Type, i64>(array, asked, whole),
        ArrowType::Int64 => numbers::<Int64Type, i64>(array, asked, whole),
        ArrowType::Date32 => numbers::<Date32Type, i64>(array, asked, whole),
        ArrowType::Timestamp(_, _) => numbers::<TimestampMicrosecondType, i64>(array, asked, whole),
        ArrowType::Decimal128(_, _) => numbers::<Decimal128Type, i128>(array, asked, unscaled),
        ArrowType::Float32 => {
            let values = array.as_primitive::<Float32Type>().values().iter();
            answer(values.map(|value| float_key((*value).into())), asked, float)
        }
        ArrowType::Float64 => {
            let values = array.as_primitive::<Float64Type>().values().iter();
            answer(values.map(|value| float_key(*value)), asked, float)
        }
        ArrowType::Utf8 => {
            let array = array.as_string::<i32>();
            let keys = (0..array.len()).map(|row| array.value(row));
            answer(keys, asked, |scalar| match scalar {
                Scalar::String(value) => Some(value.as_str()),
                _ => None,
            })
        }
        ArrowType::Binary => {
            let array = array.as_binary::<i32>();
            let keys = (0..array.len()).map(|row| array.value(row));
            answer(keys, asked, |scalar| match scalar {
                Scalar::Binary(value) => Some(value.as_slice()),
                _ => None,
            })
        }
        _ => None,
    };
    answers.ok_or_else(mistyped)
}

fn numbers<T: ArrowPrimitiveType<Native: Into<K>>, K: Ord + Copy>(
    array: &ArrayRef,
    asked: &Asked<'_>,
    key: impl Fn(&Scalar) -> Option<K>,
) -> Option<BooleanBuffer> {
    let values = array.as_primitive_opt::<T>()?.values();
    answer(values.iter().map(|value| (*value).into()), asked, key)
}

/// The answer for each key, in the order of keys; `None` if a literal has none.
fn answer<'s, K: Ord + Copy>(
    keys: impl Iterator<Item = K>,
    asked: &Asked<'s>,
    key: impl Fn(&'s Scalar) -> Option<K>,
) -> Option<BooleanBuffer> {
    Some(match asked {
        Asked::Compare(op, literal) => {
            let literal = key(literal)?;
            match op {
                Comparison::Eq | Comparison::NullSafeEq => keys.map(|key| key == literal).collect(),
                Comparison::NotEq => keys.map(|key| key != literal).collect(),
                Comparison::Lt => keys.map(|key| key < literal).collect(),
                Comparison::LtEq => keys.map(|key| key <= literal).collect(),
                Comparison::Gt => keys.map(|key| key > literal).collect(),
                Comparison::GtEq => keys.map(|key| key >= literal).collect(),
            }
        }
        Asked::In(list) => {
            let mut list: Vec<K> = list.iter().map(key).collect::<Option<_>>()?;
            list.sort_unstable();
            keys.map(|key| list.binary_search(&key).is_ok()).collect()
        }
    })
}

fn whole(scalar: &Scalar) -> Option<i64> {
    match *scalar {
        Scalar::Byte(value) => Some(value.into()),
        Scalar::Short(value) => Some(value.into()),
        Scalar::Integer(value) | Scalar::Date(value) => Some(value.into()),
        Scalar::Long(value) | Scalar::Timestamp(value) | Scalar::TimestampNtz(value) => Some(value),
        _ => None,
    }
}

fn unscaled(scalar: &Scalar) -> Option<i128> {
    match *scalar {
        Scalar::Decimal { unscaled, .. } => Some(unscaled),
        _ => None,
    }
}

fn float(scalar: &Scalar) -> Option<i64> {
    match *scalar {
        Scalar::Double(value) => Some(float_key(value)),
        _ => None,
    }
}

/// An integer for each float, in Spark's order: one for all NaN, above all others, and one for both zeros.
fn float_key(value: f64) -> i64 {
    let value = if value.is_nan() {
        f64::NAN.abs()
    } else {
        value + 0.0
    };
    let bits = value.to_bits().cast_signed();
    bits ^ (bits >> 63).cast_unsigned().wrapping_shr(1).cast_signed()
}

fn like(array: &ArrayRef, pattern: &Pattern) -> Result<BooleanBuffer> {
    let array = array.as_string_opt::<i32>().ok_or_else(mistyped)?;
    Ok(BooleanBuffer::collect_bool(array.len(), |row| {
        pattern.matches(array.value(row))
    }))
}

/// Two columns, value by value.
fn beside(left: &Values, op: Comparison, right: &Values) -> Result<Mask> {
    let rows = left.array.len();
    let valid = NullBuffer::union(left.nulls.as_ref(), right.nulls.as_ref());
    let mut answers = Vec::with_capacity(rows);
    for row in 0..rows {
        let known = valid.as_ref().is_none_or(|valid| valid.is_valid(row));
        answers.push(known && op.holds(order(&left.array, &right.array, row)?));
    }
    let mask = Mask::of(BooleanBuffer::from(answers), valid.as_ref());
    if op != Comparison::NullSafeEq {
        return Ok(mask);
    }
    let null = |values: &Values, row| {
        values
            .nulls
            .as_ref()
            .is_some_and(|nulls| nulls.is_null(row))
    };
    let both = BooleanBuffer::collect_bool(rows, |row| null(left, row) && null(right, row));
    let yes = &mask.yes | &both;
    Ok(Mask::certain(yes.clone(), !&yes))
}

fn order(left: &ArrayRef, right: &ArrayRef, row: usize) -> Result<Ordering> {
    let value = |array: &ArrayRef| Scalar::from_array(array, row).ok_or_else(mistyped);
    value(left)?.compare(&value(right)?).ok_or_else(mistyped)
}
