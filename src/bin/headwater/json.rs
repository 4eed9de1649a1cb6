//! One row as one JSON object.
//!
//! Integers and floats are JSON numbers (32-bit floats widened first; NaN and infinities as text), decimals text, dates
//! `YYYY-MM-DD`, timestamps RFC 3339 in UTC with six digits and `Z`, timestamps without zone the same without `Z`,
//! binary base64, nested values objects and arrays, maps arrays of `{"key":…,"value":…}`, variants the JSON value that
//! they hold, intervals ISO 8601 durations.

use std::fmt::Write;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, DurationMicrosecondType, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, IntervalYearMonthType, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow_schema::{DataType, Field, IntervalUnit, TimeUnit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use headwater::protocol::variant::{self, EXTENSION_KEY, EXTENSION_NAME};

use crate::Failure;

/// Appends every row of `batch` to `out`, one object per line.
pub(crate) fn rows(batch: &RecordBatch, out: &mut String) -> Result<(), Failure> {
    let columns = StructArray::from(batch.clone());
    for row in 0..batch.num_rows() {
        object(&columns, row, out)?;
        out.push('\n');
    }
    Ok(())
}

/// The batch with every struct, list and map column as JSON text, for formats that know none.
pub(crate) fn nested_as_text(batch: &RecordBatch) -> Result<RecordBatch, Failure> {
    let mut columns: Vec<(String, ArrayRef)> = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if !field.data_type().is_nested() && !matches!(field.data_type(), DataType::Binary) {
            columns.push((field.name().clone(), Arc::clone(column)));
            continue;
        }
        let mut texts = StringBuilder::new();
        for row in 0..column.len() {
            // A text alone stands without quotes; within a value that may be of any type they say that it is one.
            let text = match column.as_binary_opt::<i32>() {
                Some(bytes) => STANDARD.encode(bytes.value(row)),
                None => {
                    let mut text = String::new();
                    field_value(field, column, row, &mut text)?;
                    text
                }
            };
            texts.append_option(column.is_valid(row).then_some(text));
        }
        columns.push((field.name().clone(), Arc::new(texts.finish())));
    }
    if columns.is_empty() {
        return Ok(batch.clone());
    }
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn object(columns: &StructArray, row: usize, out: &mut String) -> Result<(), Failure> {
    out.push('{');
    for (index, (field, column)) in columns.fields().iter().zip(columns.columns()).enumerate() {
        comma(index, out);
        string(field.name(), out);
        out.push(':');
        field_value(field, column, row, out)?;
    }
    out.push('}');
    Ok(())
}

/// A value of a field, whose notes may say more than its Arrow type.
fn field_value(
    field: &Field,
    array: &dyn Array,
    row: usize,
    out: &mut String,
) -> Result<(), Failure> {
    let is_variant = field
        .metadata()
        .get(EXTENSION_KEY)
        .is_some_and(|name| name == EXTENSION_NAME);
    let parts = array
        .as_struct_opt()
        .filter(|_| is_variant && array.is_valid(row));
    let Some(parts) = parts else {
        return value(array, row, out);
    };
    let part = |name| {
        parts
            .column_by_name(name)
            .and_then(|part| part.as_binary_opt::<i32>())
    };
    let (metadata, bytes) = part("metadata")
        .zip(part("value"))
        .ok_or("a variant lacks a part")?;
    out.push_str(&variant::to_json(metadata.value(row), bytes.value(row))?);
    Ok(())
}

fn value(array: &dyn Array, row: usize, out: &mut String) -> Result<(), Failure> {
    if array.is_null(row) {
        out.push_str("null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Null => out.push_str("null"),
        DataType::Boolean => write!(out, "{}", array.as_boolean().value(row))?,
        DataType::Int8 => write!(out, "{}", array.as_primitive::<Int8Type>().value(row))?,
        DataType::Int16 => write!(out, "{}", array.as_primitive::<Int16Type>().value(row))?,
        DataType::Int32 => write!(out, "{}", array.as_primitive::<Int32Type>().value(row))?,
        DataType::Int64 => write!(out, "{}", array.as_primitive::<Int64Type>().value(row))?,
        DataType::Float32 => float(array.as_primitive::<Float32Type>().value(row).into(), out)?,
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row), out)?,
        DataType::Decimal128(..) => {
            let text = array.as_primitive::<Decimal128Type>().value_as_string(row);
            string(&text, out);
        }
        DataType::Utf8 => string(array.as_string::<i32>().value(row), out),
        DataType::Utf8View => string(array.as_string_view().value(row), out),
        DataType::Binary => {
            string(&STANDARD.encode(array.as_binary::<i32>().value(row)), out);
        }
        DataType::Date32 => date(array.as_primitive::<Date32Type>().value(row), out)?,
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            timestamp(micros, if zone.is_some() { "Z" } else { "" }, out)?;
        }
        DataType::Struct(_) => object(array.as_struct(), row, out)?,
        DataType::List(element) => {
            let values = array.as_list::<i32>().value(row);
            out.push('[');
            for index in 0..values.len() {
                comma(index, out);
                field_value(element, &values, index, out)?;
            }
            out.push(']');
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            out.push('[');
            for index in 0..entries.len() {
                comma(index, out);
                object(&entries, index, out)?;
            }
            out.push(']');
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            months(
                array.as_primitive::<IntervalYearMonthType>().value(row),
                out,
            )?;
        }
        DataType::Duration(TimeUnit::Microsecond) => {
            micros(
                array.as_primitive::<DurationMicrosecondType>().value(row),
                out,
            )?;
        }
        other => {
            return Err(
                format!("values of the Arrow type {other} cannot be printed as JSON").into(),
            );
        }
    }
    Ok(())
}

fn comma(index: usize, out: &mut String) {
    if 0 < index {
        out.push(',');
    }
}

fn months(months: i32, out: &mut String) -> Result<(), Failure> {
    let (sign, months) = (if months < 0 { "-" } else { "" }, months.unsigned_abs());
    write!(out, "\"{sign}P{}Y{}M\"", months / 12, months % 12)?;
    Ok(())
}

fn micros(micros: i64, out: &mut String) -> Result<(), Failure> {
    let (sign, micros) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    write!(
        out,
        "\"{sign}P{days}DT{hours}H{minutes}M{}.{fraction:06}S\"",
        seconds % 60
    )?;
    Ok(())
}

fn float(number: f64, out: &mut String) -> Result<(), Failure> {
    if number.is_finite() {
        out.push_str(&serde_json::to_string(&number)?);
    } else if number.is_nan() {
        out.push_str("\"NaN\"");
    } else if number.is_sign_positive() {
        out.push_str("\"Infinity\"");
    } else {
        out.push_str("\"-Infinity\"");
    }
    Ok(())
}

fn date(days: i32, out: &mut String) -> Result<(), Failure> {
    let days = i64::from(days);
    let micros = days
        .checked_mul(86_400_000_000)
        .ok_or("a date is out of range")?;
    let time = chrono::DateTime::from_timestamp_micros(micros).ok_or("a date is out of range")?;
    write!(out, "\"{}\"", time.format("%Y-%m-%d"))?;
    Ok(())
}

fn timestamp(micros: i64, zone: &str, out: &mut String) -> Result<(), Failure> {
    let time = chrono::DateTime::from_timestamp_micros(micros).ok_or("a time is out of range")?;
    write!(out, "\"{}{zone}\"", time.format("%Y-%m-%dT%H:%M:%S%.6f"))?;
    Ok(())
}

/// A JSON string, quoted and escaped.
pub(crate) fn string(text: &str, out: &mut String) {
    // Serializing text cannot fail.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}
