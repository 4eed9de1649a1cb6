//! Variants as they are stored, one level at a time.

use crate::error::Result;
use crate::protocol::variant::corrupt;

/// The field names of a variant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dictionary<'a> {
    names: Parts<'a>,
}

/// One value; arrays and objects are looked into one level at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f32),
    Double(f64),
    Decimal {
        unscaled: i128,
        scale: u8,
    },
    /// Days since the epoch.
    Date(i32),
    /// Time since the epoch.
    Timestamp {
        value: i64,
        unit: Unit,
        utc: bool,
    },
    /// Microseconds since midnight.
    Time(i64),
    Binary(&'a [u8]),
    String(&'a str),
    Uuid([u8; 16]),
    Object(Object<'a>),
    Array(Items<'a>),
}

/// What a timestamp counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Micros,
    Nanos,
}

/// Fields by their ids in the dictionary, in the order of their names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Object<'a> {
    ids: &'a [u8],
    id_size: usize,
    values: Parts<'a>,
}

/// The elements of an array.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Items<'a>(Parts<'a>);

/// Slices of `bytes`, by a list of where each begins. Offsets of objects need not ascend, so a part reaches as far as
/// the bytes do; what is in it knows its own length.
#[derive(Debug, Clone, Copy)]
struct Parts<'a> {
    offsets: &'a [u8],
    offset_size: usize,
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Dictionary<'a> {
    /// Reads the outline of `metadata`.
    pub(crate) fn parse(metadata: &'a [u8]) -> Result<Self> {
        let mut rest = metadata;
        let [header] = *take::<1>(&mut rest)?;
        if header & 0x0f != 1 {
            return Err(corrupt("its version is not known"));
        }
        let offset_size = usize::from(header >> 6) + 1;
        let count = number(take_slice(&mut rest, offset_size)?)?;
        Ok(Self {
            names: Parts::parse(&mut rest, count, offset_size)?,
        })
    }

    /// The name of this id.
    pub(crate) fn name(&self, id: usize) -> Result<&'a str> {
        let (start, end) = (
            self.names.offset(id)?,
            self.names.offset(id.saturating_add(1))?,
        );
        let known = if id < self.names.count {
            self.names.bytes.get(start..end)
        } else {
            None
        };
        let name = known.ok_or_else(|| corrupt("a field has no name"))?;
        text(name)
    }

    /// The id of this name.
    pub(crate) fn id(&self, name: &str) -> Result<Option<usize>> {
        for id in 0..self.names.count {
            if self.name(id)? == name {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }
}

impl<'a> Parts<'a> {
    fn parse(rest: &mut &'a [u8], count: usize, offset_size: usize) -> Result<Self> {
        let length = count
            .checked_add(1)
            .and_then(|count| count.checked_mul(offset_size));
        let length = length.ok_or_else(|| corrupt("it is cut short"))?;
        let offsets = take_slice(rest, length)?;
        let mut parts = Self {
            offsets,
            offset_size,
            count,
            bytes: &[],
        };
        let end = parts.offset(count)?;
        parts.bytes = take_slice(rest, end)?;
        Ok(parts)
    }

    fn offset(&self, index: usize) -> Result<usize> {
        entry(self.offsets, index, self.offset_size)
    }

    fn get(&self, index: usize) -> Result<&'a [u8]> {
        let start = self.offset(index)?;
        let part = if index < self.count {
            self.bytes.get(start..)
        } else {
            None
        };
        part.ok_or_else(|| corrupt("a part lies outside of it"))
    }
}

impl<'a> Value<'a> {
    /// What `bytes` begin with.
    pub(crate) fn parse(mut bytes: &'a [u8]) -> Result<Self> {
        Self::take(&mut bytes)
    }

    fn take(rest: &mut &'a [u8]) -> Result<Self> {
        let [first] = *take::<1>(rest)?;
        let header = first >> 2;
        match first & 0x03 {
            0 => Self::primitive(header, rest),
            1 => text(take_slice(rest, header.into())?).map(Self::String),
            2 => Self::object(header, rest),
            _ => {
                let count_size = if header & 0x04 == 0 { 1 } else { 4 };
                let count = number(take_slice(rest, count_size)?)?;
                let offset_size = usize::from(header & 0x03) + 1;
                Parts::parse(rest, count, offset_size).map(|parts| Self::Array(Items(parts)))
            }
        }
    }

    fn object(header: u8, rest: &mut &'a [u8]) -> Result<Self> {
        let count_size = if header & 0x10 == 0 { 1 } else { 4 };
        let count = number(take_slice(rest, count_size)?)?;
        let id_size = usize::from(header >> 2 & 0x03) + 1;
        let ids = count
            .checked_mul(id_size)
            .ok_or_else(|| corrupt("it is cut short"))?;
        let ids = take_slice(rest, ids)?;
        let values = Parts::parse(rest, count, usize::from(header & 0x03) + 1)?;
        Ok(Self::Object(Object {
            ids,
            id_size,
            values,
        }))
    }

    fn primitive(kind: u8, rest: &mut &'a [u8]) -> Result<Self> {
        let timestamp = |value, unit, utc| Self::Timestamp { value, unit, utc };
        Ok(match kind {
            0 => Self::Null,
            1 => Self::Boolean(true),
            2 => Self::Boolean(false),
            3 => Self::Integer(i8::from_le_bytes(*take(rest)?).into()),
            4 => Self::Integer(i16::from_le_bytes(*take(rest)?).into()),
            5 => Self::Integer(i32::from_le_bytes(*take(rest)?).into()),
            6 => Self::Integer(i64::from_le_bytes(*take(rest)?)),
            7 => Self::Double(f64::from_le_bytes(*take(rest)?)),
            8..=10 => {
                let [scale] = *take::<1>(rest)?;
                let unscaled = match kind {
                    8 => i32::from_le_bytes(*take(rest)?).into(),
                    9 => i64::from_le_bytes(*take(rest)?).into(),
                    _ => i128::from_le_bytes(*take(rest)?),
                };
                if 38 < scale {
                    return Err(corrupt("a decimal has a scale beyond 38"));
                }
                Self::Decimal { unscaled, scale }
            }
            11 => Self::Date(i32::from_le_bytes(*take(rest)?)),
            12 => timestamp(i64::from_le_bytes(*take(rest)?), Unit::Micros, true),
            13 => timestamp(i64::from_le_bytes(*take(rest)?), Unit::Micros, false),
            14 => Self::Float(f32::from_le_bytes(*take(rest)?)),
            15 | 16 => {
                let length = number(take::<4>(rest)?)?;
                let bytes = take_slice(rest, length)?;
                match kind {
                    15 => Self::Binary(bytes),
                    _ => Self::String(text(bytes)?),
                }
            }
            17 => Self::Time(i64::from_le_bytes(*take(rest)?)),
            18 => timestamp(i64::from_le_bytes(*take(rest)?), Unit::Nanos, true),
            19 => timestamp(i64::from_le_bytes(*take(rest)?), Unit::Nanos, false),
            20 => Self::Uuid(*take(rest)?),
            _ => return Err(corrupt("it has a type that is not known")),
        })
    }
}

impl<'a> Object<'a> {
    /// How many fields there are.
    pub(crate) fn len(&self) -> usize {
        self.values.count
    }

    /// The id of the name, and the bytes that the value begins, of a field.
    pub(crate) fn field(&self, index: usize) -> Result<(usize, &'a [u8])> {
        Ok((
            entry(self.ids, index, self.id_size)?,
            self.values.get(index)?,
        ))
    }
}

impl<'a> Items<'a> {
    /// How many elements there are.
    pub(crate) fn len(&self) -> usize {
        self.0.count
    }

    /// The bytes that an element begins.
    pub(crate) fn get(&self, index: usize) -> Result<&'a [u8]> {
        self.0.get(index)
    }
}

/// How many bytes the value at the beginning of `bytes` takes up.
pub(super) fn length(bytes: &[u8]) -> Result<usize> {
    let mut rest = bytes;
    Value::take(&mut rest)?;
    Ok(bytes.len().saturating_sub(rest.len()))
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| corrupt("its text is not UTF-8"))
}

fn entry(list: &[u8], index: usize, size: usize) -> Result<usize> {
    let start = index.checked_mul(size);
    let range = start.and_then(|start| Some(start..start.checked_add(size)?));
    let bytes = range.and_then(|range| list.get(range));
    number(bytes.ok_or_else(|| corrupt("it is cut short"))?)
}

/// An unsigned number of up to four bytes.
fn number(bytes: &[u8]) -> Result<usize> {
    let value = bytes
        .iter()
        .rev()
        .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    usize::try_from(value).map_err(|_| corrupt("it is cut short"))
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N]> {
    let (head, tail) = rest
        .split_first_chunk::<N>()
        .ok_or_else(|| corrupt("it is cut short"))?;
    *rest = tail;
    Ok(head)
}

fn take_slice<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (head, tail) = rest
        .split_at_checked(length)
        .ok_or_else(|| corrupt("it is cut short"))?;
    *rest = tail;
    Ok(head)
}
