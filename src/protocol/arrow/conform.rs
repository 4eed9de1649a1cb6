//! Arrays as files and callers have them, brought to exactly the types of a table.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, ListArray, MapArray, PrimitiveArray, StructArray,
    new_null_array,
};
use arrow_buffer::{OffsetBuffer, ScalarBuffer};
use arrow_cast::cast::{CastOptions, cast_with_options};
use arrow_schema::{
    ArrowError, DataType as ArrowType, Field as ArrowField, Fields, IntervalUnit, TimeUnit,
};

use crate::error::{Code, Error, Result};
use crate::protocol::schema::{DataType, Schema, fold};

const MILLIS_PER_DAY: i64 = 86_400_000;
const MICROS_PER_DAY: i64 = 1000 * MILLIS_PER_DAY;

/// An array of whatever layout a file or a caller has, as exactly the Arrow type of `ty`.
///
/// Fields of structs are found by name, exactly or else without regard to case; those that are missing become null
/// if they may be null, those that `ty` does not know are left out (see [`refuse_unknown_fields`]). Values widen only
/// where nothing is lost; nanoseconds are cut to the microsecond they are in; times without a zone are taken as UTC,
/// for so files with 96-bit timestamps arrive.
///
/// # Errors
///
/// [`Invalid`](crate::error::ErrorKind::Invalid) with the column's name if the types do not go together or a value
/// that must not be null is.
pub(crate) fn conform(array: &ArrayRef, ty: &DataType, column: &str) -> Result<ArrayRef> {
    let wanted = ty
        .to_arrow()
        .map_err(|cause| cause.with("column", column))?;
    to_type(array, ty, &wanted, column)
}

/// Refuses an Arrow type that has fields, at any depth, which `ty` has not: a writer must not drop them silently.
pub(crate) fn refuse_unknown_fields(have: &ArrowType, ty: &DataType, column: &str) -> Result<()> {
    match (have, ty) {
        (ArrowType::Struct(fields), DataType::Struct(schema)) => {
            for field in fields {
                let path = child(column, field.name());
                let Some(known) = schema.field(field.name()) else {
                    return Err(rejected("the table has no such column", &path));
                };
                refuse_unknown_fields(field.data_type(), &known.data_type, &path)?;
            }
            Ok(())
        }
        (
            ArrowType::List(element)
            | ArrowType::LargeList(element)
            | ArrowType::ListView(element)
            | ArrowType::LargeListView(element)
            | ArrowType::FixedSizeList(element, _),
            DataType::Array(array),
        ) => {
            let path = child(column, "element");
            refuse_unknown_fields(element.data_type(), &array.element, &path)
        }
        (ArrowType::Map(entries, _), DataType::Map(map)) => match entries.data_type() {
            ArrowType::Struct(fields) => {
                let parts = [("key", &map.key), ("value", &map.value)];
                fields
                    .iter()
                    .zip(parts)
                    .try_for_each(|(field, (name, ty))| {
                        refuse_unknown_fields(field.data_type(), ty, &child(column, name))
                    })
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn to_type(array: &ArrayRef, ty: &DataType, wanted: &ArrowType, column: &str) -> Result<ArrayRef> {
    let have = array.data_type();
    if have == wanted {
        return Ok(Arc::clone(array));
    }
    match have {
        ArrowType::Null => return Ok(new_null_array(wanted, array.len())),
        ArrowType::Dictionary(_, values) => {
            return to_type(&cast(array, values, column)?, ty, wanted, column);
        }
        ArrowType::RunEndEncoded(_, values) => {
            return to_type(
                &cast(array, values.data_type(), column)?,
                ty,
                wanted,
                column,
            );
        }
        _ => {}
    }
    match (ty, wanted) {
        (DataType::Struct(schema), ArrowType::Struct(fields)) => match array.as_struct_opt() {
            Some(array) => struct_to(array, schema, fields, column),
            None => Err(mismatch(have, ty, column)),
        },
        (DataType::Array(element), ArrowType::List(field)) => {
            let list = as_list(array, ty, column)?;
            let (offsets, values) = reachable(list.offsets(), list.values())?;
            let path = child(column, "element");
            let values = to_type(&values, &element.element, field.data_type(), &path)?;
            let list =
                ListArray::try_new(Arc::clone(field), offsets, values, list.nulls().cloned());
            finish(list, column)
        }
        (DataType::Map(map), ArrowType::Map(entries, ordered)) => {
            let ArrowType::Struct(fields) = entries.data_type() else {
                return Err(mismatch(have, ty, column));
            };
            let Some(have_map) = array.as_map_opt() else {
                return Err(mismatch(have, ty, column));
            };
            let part = |values: &ArrayRef, ty: &DataType, index: usize, name: &str| {
                let wanted = fields
                    .get(index)
                    .map_or(&ArrowType::Null, |field| field.data_type());
                to_type(values, ty, wanted, &child(column, name))
            };
            let (offsets, keys) = reachable(have_map.offsets(), have_map.keys())?;
            let (_, values) = reachable(have_map.offsets(), have_map.values())?;
            let columns = vec![
                part(&keys, &map.key, 0, "key")?,
                part(&values, &map.value, 1, "value")?,
            ];
            let rows = StructArray::try_new(fields.clone(), columns, None)
                .map_err(|cause| nulls(column).because(cause))?;
            let nulls = have_map.nulls().cloned();
            finish(
                MapArray::try_new(Arc::clone(entries), offsets, rows, nulls, *ordered),
                column,
            )
        }
        (DataType::Primitive(_), _) => {
            primitive_to(array, wanted, column)?.ok_or_else(|| mismatch(have, ty, column))
        }
        _ => Err(mismatch(have, ty, column)),
    }
}

fn struct_to(
    array: &StructArray,
    schema: &Schema,
    fields: &Fields,
    column: &str,
) -> Result<ArrayRef> {
    let names: Vec<&str> = array
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    let mut columns = Vec::with_capacity(fields.len());
    for (field, wanted) in schema.fields().iter().zip(fields) {
        let path = child(column, &field.name);
        let found = position(&names, &field.name).and_then(|index| array.columns().get(index));
        let values = match found {
            Some(values) => to_type(values, &field.data_type, wanted.data_type(), &path)?,
            None if field.nullable || array.null_count() == array.len() => {
                new_null_array(wanted.data_type(), array.len())
            }
            None => return Err(rejected("a column that must not be null is missing", &path)),
        };
        if !wanted.is_nullable() && has_unmasked_null(&values, array) {
            return Err(nulls(&path));
        }
        columns.push(values);
    }
    let nulls = array.nulls().cloned();
    finish(
        StructArray::try_new_with_length(fields.clone(), columns, nulls, array.len()),
        column,
    )
}

fn has_unmasked_null(values: &ArrayRef, parent: &StructArray) -> bool {
    match (values.logical_nulls(), parent.nulls()) {
        (Some(nulls), Some(parent)) => !parent.contains(&nulls),
        (Some(nulls), None) => 0 < nulls.null_count(),
        (None, _) => false,
    }
}

/// Where a name stands among `names`: the same, or else the same but for case.
pub(crate) fn position(names: &[&str], name: &str) -> Option<usize> {
    names.iter().position(|have| *have == name).or_else(|| {
        let folded = fold(name);
        names.iter().position(|have| fold(have) == folded)
    })
}

/// Only what the offsets reach: a slice keeps the values of the array that it was cut from.
fn reachable(
    offsets: &OffsetBuffer<i32>,
    values: &ArrayRef,
) -> Result<(OffsetBuffer<i32>, ArrayRef)> {
    let (first, last) = match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => (*first, *last),
        _ => (0, 0),
    };
    let bound = |offset: i32| usize::try_from(offset).unwrap_or(0);
    if bound(first) == 0 && bound(last) == values.len() {
        return Ok((offsets.clone(), Arc::clone(values)));
    }
    let moved: Vec<i32> = offsets.iter().map(|offset| offset - first).collect();
    let length = bound(last).saturating_sub(bound(first));
    Ok((
        OffsetBuffer::new(ScalarBuffer::from(moved)),
        values.slice(bound(first), length),
    ))
}

fn as_list(array: &ArrayRef, ty: &DataType, column: &str) -> Result<ListArray> {
    let element = match array.data_type() {
        ArrowType::List(element)
        | ArrowType::LargeList(element)
        | ArrowType::ListView(element)
        | ArrowType::LargeListView(element)
        | ArrowType::FixedSizeList(element, _) => element,
        have => return Err(mismatch(have, ty, column)),
    };
    let element = ArrowField::new("element", element.data_type().clone(), true);
    let list = cast(array, &ArrowType::List(Arc::new(element)), column)?;
    list.as_list_opt()
        .cloned()
        .ok_or_else(|| mismatch(array.data_type(), ty, column))
}

/// `None` if the types do not go together.
fn primitive_to(array: &ArrayRef, wanted: &ArrowType, column: &str) -> Result<Option<ArrayRef>> {
    let have = array.data_type();
    if let (ArrowType::Timestamp(unit, zone), ArrowType::Timestamp(_, wanted_zone)) = (have, wanted)
    {
        // With a zone it is an instant: there is no telling which wall clock to read it from.
        if zone.is_some() && wanted_zone.is_none() {
            return Ok(None);
        }
        return timestamps(array, *unit, wanted_zone.clone(), column).map(Some);
    }
    if let (ArrowType::Date64, ArrowType::Date32) = (have, wanted) {
        let days = |millis: i64| i32::try_from(millis.div_euclid(MILLIS_PER_DAY));
        let Some(array) = array.as_primitive_opt::<Date64Type>() else {
            return Ok(None);
        };
        let array: PrimitiveArray<Date32Type> = array
            .try_unary(days)
            .map_err(|_| rejected("a date is out of range", column))?;
        return Ok(Some(Arc::new(array)));
    }
    if let (ArrowType::Date32, ArrowType::Timestamp(_, None)) = (have, wanted) {
        let midnight = |days: i32| i64::from(days).checked_mul(MICROS_PER_DAY).ok_or(());
        let Some(array) = array.as_primitive_opt::<Date32Type>() else {
            return Ok(None);
        };
        let array: PrimitiveArray<TimestampMicrosecondType> = array
            .try_unary(midnight)
            .map_err(|()| rejected("a date is out of range", column))?;
        return Ok(Some(Arc::new(array)));
    }
    if widens(have, wanted) {
        cast(array, wanted, column).map(Some)
    } else {
        Ok(None)
    }
}

/// Whether every value of one type is a value of the other.
fn widens(have: &ArrowType, wanted: &ArrowType) -> bool {
    use ArrowType as T;
    if let Some((digits, scale)) = decimal_digits(have)
        && let T::Decimal128(precision, wanted_scale) = *wanted
    {
        let whole = i16::from(digits) - i16::from(scale);
        let wanted_whole = i16::from(precision) - i16::from(wanted_scale);
        return scale <= wanted_scale && whole <= wanted_whole;
    }
    match wanted {
        T::Utf8 => matches!(
            have,
            T::LargeUtf8 | T::Utf8View | T::Binary | T::LargeBinary | T::BinaryView
        ),
        T::Binary => matches!(
            have,
            T::LargeBinary
                | T::BinaryView
                | T::FixedSizeBinary(_)
                | T::Utf8
                | T::LargeUtf8
                | T::Utf8View
        ),
        T::Int16 => matches!(have, T::Int8 | T::UInt8),
        T::Int32 => matches!(have, T::Int8 | T::UInt8 | T::Int16 | T::UInt16),
        T::Int64 => {
            matches!(
                have,
                T::Int8 | T::UInt8 | T::Int16 | T::UInt16 | T::Int32 | T::UInt32
            )
        }
        T::Float32 => matches!(have, T::Float16 | T::Int8 | T::UInt8 | T::Int16 | T::UInt16),
        T::Float64 => matches!(
            have,
            T::Float16
                | T::Float32
                | T::Int8
                | T::UInt8
                | T::Int16
                | T::UInt16
                | T::Int32
                | T::UInt32
        ),
        // Intervals are stored as plain numbers.
        T::Interval(IntervalUnit::YearMonth) => *have == T::Int32,
        T::Duration(TimeUnit::Microsecond) => *have == T::Int64,
        _ => false,
    }
}

/// How many digits, and how many of them after the point, the values of a type have at most.
fn decimal_digits(ty: &ArrowType) -> Option<(u8, i8)> {
    match *ty {
        ArrowType::Decimal32(precision, scale)
        | ArrowType::Decimal64(precision, scale)
        | ArrowType::Decimal128(precision, scale)
        | ArrowType::Decimal256(precision, scale) => Some((precision, scale)),
        ArrowType::Int8 | ArrowType::UInt8 => Some((3, 0)),
        ArrowType::Int16 | ArrowType::UInt16 => Some((5, 0)),
        ArrowType::Int32 | ArrowType::UInt32 => Some((10, 0)),
        ArrowType::Int64 => Some((19, 0)),
        _ => None,
    }
}

fn timestamps(
    array: &ArrayRef,
    unit: TimeUnit,
    zone: Option<Arc<str>>,
    column: &str,
) -> Result<ArrayRef> {
    let array: Option<PrimitiveArray<TimestampMicrosecondType>> = match unit {
        TimeUnit::Second => micros::<TimestampSecondType>(array, |v| v.checked_mul(1_000_000)),
        TimeUnit::Millisecond => micros::<TimestampMillisecondType>(array, |v| v.checked_mul(1000)),
        TimeUnit::Microsecond => array.as_primitive_opt().cloned(),
        TimeUnit::Nanosecond => {
            micros::<TimestampNanosecondType>(array, |v| Some(v.div_euclid(1000)))
        }
    };
    let array = array.ok_or_else(|| rejected("a time is out of range", column))?;
    Ok(Arc::new(array.with_timezone_opt(zone)))
}

fn micros<T: ArrowPrimitiveType<Native = i64>>(
    array: &ArrayRef,
    scale: impl Fn(i64) -> Option<i64>,
) -> Option<PrimitiveArray<TimestampMicrosecondType>> {
    array
        .as_primitive_opt::<T>()?
        .try_unary(|value| scale(value).ok_or(()))
        .ok()
}

fn cast(array: &ArrayRef, wanted: &ArrowType, column: &str) -> Result<ArrayRef> {
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(array, wanted, &options).map_err(|_| {
        // The cause would show the value.
        rejected(
            format!(
                "a value of type {} does not fit {wanted}",
                array.data_type()
            ),
            column,
        )
    })
}

fn finish<A: Array + 'static>(array: Result<A, ArrowError>, column: &str) -> Result<ArrayRef> {
    match array {
        Ok(array) => Ok(Arc::new(array)),
        Err(cause) => Err(nulls(column).because(cause)),
    }
}

fn child(column: &str, name: &str) -> String {
    if column.is_empty() {
        name.to_owned()
    } else {
        format!("{column}.{name}")
    }
}

fn rejected(what: impl Into<String>, column: &str) -> Error {
    Error::invalid(Code::RowsRejected, what).with("column", column)
}

fn nulls(column: &str) -> Error {
    rejected("a value is null that must not be", column)
}

fn mismatch(have: &ArrowType, ty: &DataType, column: &str) -> Error {
    rejected(
        format!("the values are of type {have}, the column is of type {ty}"),
        column,
    )
}
