//! What each value of a column adds to its row.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef, GenericByteArray, types::ByteArrayType};
use arrow_buffer::NullBuffer;
use arrow_cast::cast;
use arrow_schema::{DataType as ArrowType, TimeUnit};

use crate::data::ColumnNames;
use crate::data::fingerprint::{chain, chain_of_bytes, mix};
use crate::error::{Code, Error, Result};
use crate::protocol::schema::{DataType, Field, PrimitiveType, Schema};
use crate::protocol::value::Scalar;

const CONTEXT: &str = "headwater row fingerprint version 1";
const NAN_BITS: u64 = 0x7ff8_0000_0000_0000;

/// Where in the schema a value stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Place(Vec<u8>);

/// A column, a field of a struct, an element, a key or a value.
#[derive(Debug)]
pub(super) struct Column {
    key: Key,
    kind: Kind,
}

#[derive(Debug)]
struct Key {
    multiplier: u128,
    offset: u128,
}

#[derive(Debug)]
enum Kind {
    // A type without values.
    Void,
    Primitive(PrimitiveType),
    Struct(Vec<Column>),
    List(Box<Column>),
    Map(Box<Column>, Box<Column>),
}

impl Place {
    fn field(&self, name: &str) -> Self {
        let mut below = self.step(b'f');
        below.0.extend((name.len() as u64).to_le_bytes());
        below.0.extend(name.as_bytes());
        below
    }

    fn step(&self, kind: u8) -> Self {
        let mut below = self.clone();
        below.0.push(kind);
        below
    }

    fn key(&self, class: &str) -> Key {
        let mut material = self.0.clone();
        material.push(b'=');
        material.extend(class.as_bytes());
        let key = blake3::derive_key(CONTEXT, &material);
        let (multiplier, offset) = key.split_at(16);
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .rev()
                .fold(0, |x, &byte| (x << 8) | u128::from(byte))
        };
        Key {
            multiplier: number(multiplier) | 1,
            offset: number(offset),
        }
    }
}

impl Key {
    fn add(&self, sum: &mut u128, word: u128) {
        *sum = sum
            .wrapping_add(self.offset)
            .wrapping_add(word.wrapping_mul(self.multiplier));
    }

    fn of(&self, word: u128) -> u128 {
        let mut sum = 0;
        self.add(&mut sum, word);
        sum
    }

    // The loop of everything: one word for each row that has a value.
    fn add_all(
        &self,
        words: impl Iterator<Item = u128>,
        valid: Option<&NullBuffer>,
        sums: &mut [u128],
    ) {
        match valid.filter(|valid| 0 < valid.null_count()) {
            None => sums
                .iter_mut()
                .zip(words)
                .for_each(|(sum, word)| self.add(sum, word)),
            Some(valid) => {
                for ((sum, word), valid) in sums.iter_mut().zip(words).zip(valid) {
                    if valid {
                        self.add(sum, word);
                    }
                }
            }
        }
    }
}

impl Column {
    /// The columns of a schema that stands at `place`.
    pub(super) fn all(schema: &Schema, names: ColumnNames, place: &Place) -> Result<Vec<Self>> {
        schema
            .fields()
            .iter()
            .map(|field| Self::new(field, names, place))
            .collect()
    }

    /// One field of a schema that stands at `place`.
    pub(super) fn new(field: &Field, names: ColumnNames, place: &Place) -> Result<Self> {
        Self::at(&field.data_type, names, &place.field(&names.of(field)))
    }

    fn at(data_type: &DataType, names: ColumnNames, place: &Place) -> Result<Self> {
        Ok(match data_type {
            DataType::Primitive(PrimitiveType::Variant) => {
                let part = |name| Self::at(&DataType::BINARY, names, &place.field(name));
                let parts = vec![part("metadata")?, part("value")?];
                Self {
                    key: place.key("variant"),
                    kind: Kind::Struct(parts),
                }
            }
            DataType::Primitive(primitive) => Self::primitive(primitive, place)?,
            DataType::Struct(schema) => Self {
                key: place.key("struct"),
                kind: Kind::Struct(Self::all(schema, names, place)?),
            },
            DataType::Array(list) => {
                let element = Self::at(&list.element, names, &place.step(b'e'))?;
                Self {
                    key: place.key("list"),
                    kind: Kind::List(Box::new(element)),
                }
            }
            DataType::Map(map) => {
                let key = Self::at(&map.key, names, &place.step(b'k'))?;
                let value = Self::at(&map.value, names, &place.step(b'v'))?;
                Self {
                    key: place.key("map"),
                    kind: Kind::Map(Box::new(key), Box::new(value)),
                }
            }
        })
    }

    fn primitive(primitive: &PrimitiveType, place: &Place) -> Result<Self> {
        let class = match primitive {
            PrimitiveType::Byte
            | PrimitiveType::Short
            | PrimitiveType::Integer
            | PrimitiveType::Long => Cow::Borrowed("integer"),
            PrimitiveType::Float | PrimitiveType::Double => "float".into(),
            PrimitiveType::Decimal { scale, .. } => format!("decimal/{scale}").into(),
            PrimitiveType::Boolean => "boolean".into(),
            PrimitiveType::Date => "date".into(),
            PrimitiveType::Timestamp => "timestamp".into(),
            PrimitiveType::TimestampNtz => "timestamp_ntz".into(),
            PrimitiveType::String => "string".into(),
            PrimitiveType::Binary => "binary".into(),
            PrimitiveType::Void => {
                return Ok(Self {
                    key: place.key("void"),
                    kind: Kind::Void,
                });
            }
            other => {
                return Err(Error::unsupported(format!(
                    "rows of type {other} have no fingerprint"
                )));
            }
        };
        Ok(Self {
            key: place.key(&class),
            kind: Kind::Primitive(primitive.clone()),
        })
    }

    /// What one value adds; `None` if it is not of this column's type.
    pub(super) fn of_scalar(&self, value: &Scalar) -> Option<u128> {
        if matches!(value, Scalar::Null) {
            return Some(0);
        }
        let Kind::Primitive(primitive) = &self.kind else {
            return None;
        };
        let word = match (primitive, value) {
            (PrimitiveType::Byte, Scalar::Byte(value)) => signed(*value),
            (PrimitiveType::Short, Scalar::Short(value)) => signed(*value),
            (PrimitiveType::Integer, Scalar::Integer(value)) => signed(*value),
            (PrimitiveType::Long, Scalar::Long(value)) => signed(*value),
            (PrimitiveType::Date, Scalar::Date(value)) => signed(*value),
            (PrimitiveType::Timestamp, Scalar::Timestamp(value)) => signed(*value),
            (PrimitiveType::TimestampNtz, Scalar::TimestampNtz(value)) => signed(*value),
            (PrimitiveType::Float, Scalar::Float(value)) => float(*value),
            (PrimitiveType::Double, Scalar::Double(value)) => float(*value),
            (PrimitiveType::Boolean, Scalar::Boolean(value)) => u128::from(*value),
            (PrimitiveType::String, Scalar::String(value)) => chain_of_bytes(value.as_bytes()),
            (PrimitiveType::Binary, Scalar::Binary(value)) => chain_of_bytes(value),
            (
                PrimitiveType::Decimal {
                    scale: expected, ..
                },
                Scalar::Decimal {
                    unscaled, scale, ..
                },
            ) if expected == scale => *unscaled as u128,
            _ => return None,
        };
        Some(self.key.of(word))
    }

    /// Adds what the values of `array` add, one for each of `sums`, where `parent` is valid too.
    pub(super) fn add(
        &self,
        array: &ArrayRef,
        parent: Option<&NullBuffer>,
        sums: &mut [u128],
    ) -> Result<()> {
        let array = self.plain(array)?;
        let valid = NullBuffer::union(parent, array.logical_nulls().as_ref());
        match &self.kind {
            Kind::Void => Ok(()),
            Kind::Primitive(primitive) => self
                .add_primitive(primitive, &array, valid.as_ref(), sums)
                .ok_or_else(|| unlike(&array)),
            Kind::Struct(columns) => self.add_struct(columns, &array, valid.as_ref(), sums),
            Kind::List(element) => self.add_lists(element, &array, valid.as_ref(), sums),
            Kind::Map(key, value) => self.add_maps((key, value), &array, valid.as_ref(), sums),
        }
    }

    fn add_primitive(
        &self,
        primitive: &PrimitiveType,
        array: &ArrayRef,
        valid: Option<&NullBuffer>,
        sums: &mut [u128],
    ) -> Option<()> {
        match primitive {
            PrimitiveType::Byte => self.add_numbers::<Int8Type>(array, signed, valid, sums),
            PrimitiveType::Short => self.add_numbers::<Int16Type>(array, signed, valid, sums),
            PrimitiveType::Integer => self.add_numbers::<Int32Type>(array, signed, valid, sums),
            PrimitiveType::Long => self.add_numbers::<Int64Type>(array, signed, valid, sums),
            PrimitiveType::Date => self.add_numbers::<Date32Type>(array, signed, valid, sums),
            PrimitiveType::Timestamp | PrimitiveType::TimestampNtz => {
                self.add_numbers::<TimestampMicrosecondType>(array, signed, valid, sums)
            }
            PrimitiveType::Float => self.add_numbers::<Float32Type>(array, float, valid, sums),
            PrimitiveType::Double => self.add_numbers::<Float64Type>(array, float, valid, sums),
            PrimitiveType::Decimal { scale, .. } => {
                let found = array.as_primitive_opt::<Decimal128Type>()?.scale();
                if found != i8::try_from(*scale).ok()? {
                    return None;
                }
                self.add_numbers::<Decimal128Type>(array, |value| value as u128, valid, sums)
            }
            PrimitiveType::Boolean => {
                let words = array.as_boolean_opt()?.values().iter().map(u128::from);
                self.key.add_all(words, valid, sums);
                Some(())
            }
            PrimitiveType::String => self.add_bytes(array.as_string_opt::<i32>()?, valid, sums),
            PrimitiveType::Binary => self.add_bytes(array.as_binary_opt::<i32>()?, valid, sums),
            _ => None,
        }
    }

    fn add_numbers<T: ArrowPrimitiveType>(
        &self,
        array: &ArrayRef,
        word: impl Fn(T::Native) -> u128,
        valid: Option<&NullBuffer>,
        sums: &mut [u128],
    ) -> Option<()> {
        let values = array.as_primitive_opt::<T>()?.values();
        self.key
            .add_all(values.iter().map(|value| word(*value)), valid, sums);
        Some(())
    }

    fn add_bytes<T: ByteArrayType>(
        &self,
        array: &GenericByteArray<T>,
        valid: Option<&NullBuffer>,
        sums: &mut [u128],
    ) -> Option<()> {
        let word = |index| chain_of_bytes(array.value(index).as_ref());
        self.key.add_all((0..array.len()).map(word), valid, sums);
        Some(())
    }

    fn add_struct(
        &self,
        columns: &[Self],
        array: &ArrayRef,
        valid: Option<&NullBuffer>,
        sums: &mut [u128],
    ) -> Result<()> {
        let parts = array
            .as_struct_opt()
            .filter(|parts| parts.num_columns() == columns.len());
        let parts = parts.ok_or_else(|| unlike(array))?;
        self.key.add_all(std::iter::repeat(0), valid, sums);
        for (column, part) in columns.iter().zip(parts.columns()) {
            column.add(part, valid, sums)?;
        }
        Ok(())
    }

    fn add_lists(
        &self,
        element: &Self,
        array: &ArrayRef,
        valid: Option<&NullBuffer>,
        sums: &mut [u128],
    ) -> Result<()> {
        let lists = array.as_list_opt::<i32>().ok_or_else(|| unlike(array))?;
        let (start, count, offsets) = window(lists.value_offsets());
        let mut elements = vec![0; count];
        element.add(&lists.values().slice(start, count), None, &mut elements)?;
        let word = |range| {
            part(&elements, range).map_or(0, |added| chain(added.len(), added.iter().copied()))
        };
        self.key.add_all(offsets.map(word), valid, sums);
        Ok(())
    }

    fn add_maps(
        &self,
        (key, value): (&Self, &Self),
        array: &ArrayRef,
        valid: Option<&NullBuffer>,
        sums: &mut [u128],
    ) -> Result<()> {
        let maps = array.as_map_opt().ok_or_else(|| unlike(array))?;
        let (start, count, offsets) = window(maps.value_offsets());
        let mut entries = vec![0; count];
        key.add(&maps.keys().slice(start, count), None, &mut entries)?;
        value.add(&maps.values().slice(start, count), None, &mut entries)?;
        let word = |range| {
            part(&entries, range).map_or(0, |added| {
                let entries = added.iter().map(|entry| mix(*entry));
                entries.fold(mix(added.len() as u128), u128::wrapping_add)
            })
        };
        self.key.add_all(offsets.map(word), valid, sums);
        Ok(())
    }

    // The array in the one layout that the functions above read; it is that already unless it comes from outside.
    fn plain<'a>(&self, array: &'a ArrayRef) -> Result<Cow<'a, ArrayRef>> {
        let plain = match &self.kind {
            Kind::Void => array.data_type().clone(),
            Kind::Primitive(primitive) => plain_primitive(primitive, array.data_type()),
            Kind::Struct(_) | Kind::List(_) | Kind::Map(..) => plain_nested(array.data_type()),
        };
        if *array.data_type() == plain {
            return Ok(Cow::Borrowed(array));
        }
        cast(array, &plain)
            .map(Cow::Owned)
            .map_err(|cause| unlike(array).because(cause))
    }
}

// What cannot hold the primitive type stays as it is, to be refused by name.
fn plain_primitive(primitive: &PrimitiveType, from: &ArrowType) -> ArrowType {
    match (primitive, from) {
        (_, ArrowType::Dictionary(_, values)) => plain_primitive(primitive, values),
        (_, ArrowType::RunEndEncoded(_, values)) => plain_primitive(primitive, values.data_type()),
        (PrimitiveType::String, ArrowType::LargeUtf8 | ArrowType::Utf8View) => ArrowType::Utf8,
        (
            PrimitiveType::Binary,
            ArrowType::LargeBinary | ArrowType::BinaryView | ArrowType::FixedSizeBinary(_),
        ) => ArrowType::Binary,
        (
            PrimitiveType::Decimal { precision, scale },
            ArrowType::Decimal32(_, found)
            | ArrowType::Decimal64(_, found)
            | ArrowType::Decimal256(_, found),
        ) if *found == *scale as i8 => ArrowType::Decimal128(*precision, *found),
        // Coarser units become finer without loss.
        (_, ArrowType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, zone)) => {
            ArrowType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        _ => from.clone(),
    }
}

fn plain_nested(from: &ArrowType) -> ArrowType {
    match from {
        ArrowType::Dictionary(_, values) => plain_nested(values),
        ArrowType::LargeList(element)
        | ArrowType::FixedSizeList(element, _)
        | ArrowType::ListView(element)
        | ArrowType::LargeListView(element) => ArrowType::List(element.clone()),
        _ => from.clone(),
    }
}

fn signed(value: impl Into<i64>) -> u128 {
    u128::from(value.into() as u64)
}

fn float(value: impl Into<f64>) -> u128 {
    let value: f64 = value.into();
    u128::from(if value.is_nan() {
        NAN_BITS
    } else {
        value.to_bits()
    })
}

// The part of the elements that the lists of a slice use, and each list's range in it.
fn window(offsets: &[i32]) -> (usize, usize, impl Iterator<Item = (usize, usize)>) {
    let place = |offset: i32| usize::try_from(offset).unwrap_or(0);
    let start = offsets.first().map_or(0, |first| place(*first));
    let end = offsets.last().map_or(0, |last| place(*last));
    let ends = offsets.iter().skip(1);
    let ranges = offsets
        .iter()
        .zip(ends)
        .map(move |(from, to)| (place(*from) - start, place(*to) - start));
    (start, end - start, ranges)
}

fn part(added: &[u128], (from, to): (usize, usize)) -> Option<&[u128]> {
    added.get(from..to)
}

fn unlike(array: &ArrayRef) -> Error {
    let message = format!(
        "a column does not hold the type of its schema but {}",
        array.data_type()
    );
    Error::invalid(Code::InvalidArgument, message)
}
