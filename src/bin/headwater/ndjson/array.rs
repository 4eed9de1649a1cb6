//! A column of JSON values as an Arrow array.

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, StringBuilder};
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{
    ArrayRef, BooleanArray, ListArray, MapArray, NullArray, PrimitiveArray, StructArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field, Fields, TimeUnit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use headwater::protocol::variant::{EXTENSION_KEY, EXTENSION_NAME};
use serde_json::value::RawValue;

use crate::ndjson::{Object, Refused, Written, members, number, time};

/// Why a text is not a value of a type.
pub(super) type Why = &'static str;

/// The array of a field.
pub(super) fn of(field: &Field, values: &[Written<'_>]) -> Result<ArrayRef, Refused> {
    let is_variant = field
        .metadata()
        .get(EXTENSION_KEY)
        .is_some_and(|name| name == EXTENSION_NAME);
    Ok(match field.data_type() {
        DataType::Struct(_) if is_variant => {
            return Err(unsupported(values, "variants cannot be written"));
        }
        DataType::Null => nothing(values)?,
        DataType::Boolean => {
            let values: Vec<Option<bool>> = parsed(values, boolean)?;
            Arc::new(BooleanArray::from(values))
        }
        DataType::Int8 => primitive::<Int8Type>(values, number::integer)?,
        DataType::Int16 => primitive::<Int16Type>(values, number::integer)?,
        DataType::Int32 => primitive::<Int32Type>(values, number::integer)?,
        DataType::Int64 => primitive::<Int64Type>(values, number::integer)?,
        DataType::Float32 => primitive::<Float32Type>(values, number::single)?,
        DataType::Float64 => primitive::<Float64Type>(values, number::double)?,
        DataType::Decimal128(precision, scale) => {
            let (precision, scale) = (*precision, *scale);
            let decimal = |text: &str| number::decimal(text, precision, scale);
            let array = PrimitiveArray::<Decimal128Type>::from(parsed(values, decimal)?);
            let typed = array.with_precision_and_scale(precision, scale);
            Arc::new(typed.map_err(|error| unfit(values, &error))?)
        }
        DataType::Date32 => primitive::<Date32Type>(values, |text| time::date(&quoted(text)?))?,
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let has_zone = zone.is_some();
            let moment = |text: &str| time::moment(&quoted(text)?, has_zone);
            let array = PrimitiveArray::<TimestampMicrosecondType>::from(parsed(values, moment)?);
            Arc::new(array.with_timezone_opt(zone.clone()))
        }
        DataType::Utf8 => texts(values)?,
        DataType::Binary => binary(values)?,
        DataType::Struct(fields) => structs(fields, values)?,
        DataType::List(element) => list(element, values)?,
        DataType::Map(entries, _) => map(entries, values)?,
        _ => {
            return Err(unsupported(
                values,
                "values of its type cannot be read from JSON",
            ));
        }
    })
}

/// What each value that is no null says.
fn parsed<T>(
    values: &[Written<'_>],
    parse: impl Fn(&str) -> Result<T, Why>,
) -> Result<Vec<Option<T>>, Refused> {
    let parsed = values.iter().map(|(line, value)| {
        let parsed = value.map(|value| parse(value.get())).transpose();
        parsed.map_err(|why| Refused::at(*line, why))
    });
    parsed.collect()
}

fn primitive<T: ArrowPrimitiveType>(
    values: &[Written<'_>],
    parse: impl Fn(&str) -> Result<T::Native, Why>,
) -> Result<ArrayRef, Refused> {
    let values = parsed(values, parse)?;
    Ok(Arc::new(values.into_iter().collect::<PrimitiveArray<T>>()))
}

fn boolean(text: &str) -> Result<bool, Why> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("this is neither true nor false"),
    }
}

/// What stands between quotes.
pub(super) fn quoted(text: &str) -> Result<String, Why> {
    serde_json::from_str(text).map_err(|_| "this is no text in quotes")
}

fn texts(values: &[Written<'_>]) -> Result<ArrayRef, Refused> {
    let mut builder = StringBuilder::new();
    for text in parsed(values, quoted)? {
        builder.append_option(text);
    }
    Ok(Arc::new(builder.finish()))
}

fn binary(values: &[Written<'_>]) -> Result<ArrayRef, Refused> {
    let decode = |text: &str| {
        let decoded = STANDARD.decode(quoted(text)?);
        decoded.map_err(|_| "this is no base64")
    };
    let mut builder = BinaryBuilder::new();
    for bytes in parsed(values, decode)? {
        builder.append_option(bytes);
    }
    Ok(Arc::new(builder.finish()))
}

fn nothing(values: &[Written<'_>]) -> Result<ArrayRef, Refused> {
    match values.iter().find(|(_, value)| value.is_some()) {
        Some((line, _)) => Err(Refused::at(*line, "this column holds nulls alone")),
        None => Ok(Arc::new(NullArray::new(values.len()))),
    }
}

fn unsupported(values: &[Written<'_>], why: Why) -> Refused {
    let first = values.iter().find(|(_, value)| value.is_some());
    Refused::at(first.or(values.first()).map_or(0, |(line, _)| *line), why)
}

fn unfit(values: &[Written<'_>], error: &ArrowError) -> Refused {
    let line = values.first().map_or(0, |(line, _)| *line);
    Refused::at(line, format!("from here on, a value does not fit: {error}"))
}

fn nulls(values: &[Written<'_>]) -> NullBuffer {
    values.iter().map(|(_, value)| value.is_some()).collect()
}

fn structs(fields: &Fields, values: &[Written<'_>]) -> Result<ArrayRef, Refused> {
    let columns = members(values, fields)?;
    let mut arrays = Vec::with_capacity(fields.len());
    for (field, column) in fields.iter().zip(&columns) {
        arrays.push(of(field, column).map_err(|refused| within(field.name(), refused))?);
    }
    let validity = Some(nulls(values));
    let array = StructArray::try_new_with_length(fields.clone(), arrays, validity, values.len());
    Ok(Arc::new(array.map_err(|error| unfit(values, &error))?))
}

fn within(field: &str, refused: Refused) -> Refused {
    Refused::at(refused.line, format!("in `{field}`: {}", refused.why))
}

/// The elements of all lists, one after the other, and where each list ends.
fn elements<'a>(values: &[Written<'a>]) -> Result<(Vec<Written<'a>>, OffsetBuffer<i32>), Refused> {
    let mut all = Vec::new();
    let mut offsets = vec![0_i32];
    for (line, value) in values {
        if let Some(value) = value {
            let elements: Vec<&'a RawValue> = serde_json::from_str(value.get())
                .map_err(|_| Refused::at(*line, "this is no JSON array"))?;
            all.extend(elements.into_iter().map(|element| {
                let is_null = element.get() == "null";
                (*line, (!is_null).then_some(element))
            }));
        }
        let end = i32::try_from(all.len());
        offsets.push(end.map_err(|_| Refused::at(*line, "the lists are too long"))?);
    }
    Ok((all, OffsetBuffer::new(ScalarBuffer::from(offsets))))
}

fn list(element: &Arc<Field>, values: &[Written<'_>]) -> Result<ArrayRef, Refused> {
    let (all, offsets) = elements(values)?;
    let array = of(element, &all)?;
    let array = ListArray::try_new(Arc::clone(element), offsets, array, Some(nulls(values)));
    Ok(Arc::new(array.map_err(|error| unfit(values, &error))?))
}

/// Maps are arrays of objects of `key` and `value`.
fn map(entries: &Arc<Field>, values: &[Written<'_>]) -> Result<ArrayRef, Refused> {
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(unsupported(values, "this map has no entries"));
    };
    let (all, offsets) = elements(values)?;
    for (line, entry) in &all {
        let Some(entry) = entry else {
            return Err(Refused::at(*line, "an entry of the map is null"));
        };
        let has_both = serde_json::from_str(entry.get())
            .is_ok_and(|Object(members)| members.len() == fields.len());
        if !has_both {
            let why = "an entry of a map is an object of `key` and `value`";
            return Err(Refused::at(*line, why));
        }
    }
    let columns = members(&all, fields)?;
    let mut arrays = Vec::with_capacity(fields.len());
    for (field, column) in fields.iter().zip(&columns) {
        arrays.push(of(field, column).map_err(|refused| within(field.name(), refused))?);
    }
    let array = StructArray::try_new(fields.clone(), arrays, None).and_then(|inner| {
        MapArray::try_new(
            Arc::clone(entries),
            offsets,
            inner,
            Some(nulls(values)),
            false,
        )
    });
    Ok(Arc::new(array.map_err(|error| unfit(values, &error))?))
}
