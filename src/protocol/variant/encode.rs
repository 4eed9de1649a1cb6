//! Variants put together from parts that lie in columns of their own.
//!
//! Spec: [Variant Shredding](https://github.com/apache/parquet-format/blob/master/VariantShredding.md).

use crate::error::Result;
use crate::protocol::variant::decode::length;
use crate::protocol::variant::{VARIANT_BYTES_MAX, corrupt};

/// A value without parts, as it is to be stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scalar<'a> {
    Null,
    Boolean(bool),
    Byte(i8),
    Short(i16),
    Integer(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    Decimal {
        unscaled: i128,
        precision: u8,
        scale: u8,
    },
    Date(i32),
    /// Microseconds, and whether they are in UTC.
    Micros(i64, bool),
    /// Nanoseconds, and whether they are in UTC.
    Nanos(i64, bool),
    Time(i64),
    Binary(&'a [u8]),
    String(&'a str),
    Uuid(&'a [u8]),
}

/// The bytes of a value without parts.
pub(crate) fn scalar(value: Scalar<'_>) -> Result<Vec<u8>> {
    let fixed = |kind: u8, bytes: &[u8]| {
        let mut out = Vec::with_capacity(bytes.len() + 1);
        out.push(kind << 2);
        out.extend_from_slice(bytes);
        out
    };
    Ok(match value {
        Scalar::Null => fixed(0, &[]),
        Scalar::Boolean(true) => fixed(1, &[]),
        Scalar::Boolean(false) => fixed(2, &[]),
        Scalar::Byte(value) => fixed(3, &value.to_le_bytes()),
        Scalar::Short(value) => fixed(4, &value.to_le_bytes()),
        Scalar::Integer(value) => fixed(5, &value.to_le_bytes()),
        Scalar::Long(value) => fixed(6, &value.to_le_bytes()),
        Scalar::Double(value) => fixed(7, &value.to_le_bytes()),
        Scalar::Decimal {
            unscaled,
            precision,
            scale,
        } => decimal(unscaled, precision, scale)?,
        Scalar::Date(value) => fixed(11, &value.to_le_bytes()),
        Scalar::Micros(value, true) => fixed(12, &value.to_le_bytes()),
        Scalar::Micros(value, false) => fixed(13, &value.to_le_bytes()),
        Scalar::Float(value) => fixed(14, &value.to_le_bytes()),
        Scalar::Binary(bytes) => long(15, bytes)?,
        Scalar::String(text) => match u8::try_from(text.len()) {
            Ok(length) if length < 64 => {
                let mut out = vec![length << 2 | 1];
                out.extend_from_slice(text.as_bytes());
                out
            }
            _ => long(16, text.as_bytes())?,
        },
        Scalar::Time(value) => fixed(17, &value.to_le_bytes()),
        Scalar::Nanos(value, true) => fixed(18, &value.to_le_bytes()),
        Scalar::Nanos(value, false) => fixed(19, &value.to_le_bytes()),
        Scalar::Uuid(bytes) => fixed(20, bytes),
    })
}

fn decimal(unscaled: i128, precision: u8, scale: u8) -> Result<Vec<u8>> {
    let unfit = |_| corrupt("a decimal does not fit its precision");
    let (kind, bytes) = match precision {
        0..=9 => (
            8,
            i32::try_from(unscaled)
                .map_err(unfit)?
                .to_le_bytes()
                .to_vec(),
        ),
        10..=18 => (
            9,
            i64::try_from(unscaled)
                .map_err(unfit)?
                .to_le_bytes()
                .to_vec(),
        ),
        _ => (10, unscaled.to_le_bytes().to_vec()),
    };
    let mut out = vec![kind << 2, scale];
    out.extend_from_slice(&bytes);
    Ok(out)
}

fn long(kind: u8, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut out = vec![kind << 2];
    out.extend_from_slice(&small(bytes.len())?.to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(out)
}

/// The bytes of an array of these elements.
pub(crate) fn array(elements: &[Vec<u8>]) -> Result<Vec<u8>> {
    let total = bounded(elements.iter().map(Vec::len))?;
    let size = bytes_for(total)?;
    let large = u8::from(255 < elements.len());
    let mut out = vec![3 | (size - 1) << 2 | large << 4];
    count(&mut out, elements.len(), large)?;
    offsets(&mut out, elements.iter().map(Vec::len), size)?;
    elements
        .iter()
        .for_each(|element| out.extend_from_slice(element));
    Ok(out)
}

/// The bytes of an object of these fields: name, id in the dictionary, and the bytes that its value begins.
pub(crate) fn object(mut fields: Vec<(&str, usize, &[u8])>) -> Result<Vec<u8>> {
    fields.sort_by(|(left, ..), (right, ..)| left.as_bytes().cmp(right.as_bytes()));
    for (_, _, value) in &mut fields {
        *value = value.get(..length(value)?).unwrap_or_default();
    }
    let total = bounded(fields.iter().map(|(_, _, value)| value.len()))?;
    let size = bytes_for(total)?;
    let id_size = bytes_for(fields.iter().map(|(_, id, _)| *id).max().unwrap_or(0))?;
    let large = u8::from(255 < fields.len());
    let mut out = vec![2 | (size - 1) << 2 | (id_size - 1) << 4 | large << 6];
    count(&mut out, fields.len(), large)?;
    for (_, id, _) in &fields {
        put(&mut out, *id, id_size)?;
    }
    offsets(
        &mut out,
        fields.iter().map(|(_, _, value)| value.len()),
        size,
    )?;
    fields
        .iter()
        .for_each(|(_, _, value)| out.extend_from_slice(value));
    Ok(out)
}

/// How many bytes the parts have in all.
fn bounded(lengths: impl Iterator<Item = usize>) -> Result<usize> {
    let total = lengths.fold(0_usize, usize::saturating_add);
    match total <= VARIANT_BYTES_MAX {
        true => Ok(total),
        false => Err(corrupt("it is larger than 128 MiB")),
    }
}

fn count(out: &mut Vec<u8>, count: usize, large: u8) -> Result<()> {
    put(out, count, if large == 1 { 4 } else { 1 })
}

fn offsets(out: &mut Vec<u8>, lengths: impl Iterator<Item = usize>, size: u8) -> Result<()> {
    put(out, 0, size)?;
    let mut end = 0_usize;
    for length in lengths {
        end = end.saturating_add(length);
        put(out, end, size)?;
    }
    Ok(())
}

fn put(out: &mut Vec<u8>, value: usize, size: u8) -> Result<()> {
    out.extend(small(value)?.to_le_bytes().into_iter().take(size.into()));
    Ok(())
}

fn bytes_for(value: usize) -> Result<u8> {
    Ok(match small(value)? {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xff_ffff => 3,
        _ => 4,
    })
}

fn small(value: usize) -> Result<u32> {
    u32::try_from(value).map_err(|_| corrupt("it is larger than 4 GiB"))
}
