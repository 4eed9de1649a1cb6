//! Columns of variants as files have them, brought to one form: `metadata` and `value`.
//!
//! A file may keep some of what variants hold in columns of their own ("shredded"): typed values, fields of objects,
//! elements of arrays, each beside a `value` for what is of another type. They are put together again row by row.
//!
//! Spec: [Variant Shredding](https://github.com/apache/parquet-format/blob/master/VariantShredding.md).

use std::cell::Cell;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time64MicrosecondType, TimestampMicrosecondType, TimestampNanosecondType,
};
use arrow_array::{Array, ArrayRef, BinaryArray, ListArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType as ArrowType, TimeUnit};

use crate::error::Error;
use crate::protocol::schema::{DataType, PrimitiveType};
use crate::protocol::variant::{
    Dictionary, Scalar, VARIANT_BYTES_MAX, Value, array, object, scalar,
};

/// How deep columns of a shredded variant may nest.
const SHREDDED_DEPTH_MAX: usize = 100;
/// What a column of a batch holds: its offsets have 32 bits and a sign.
const BATCH_BYTES_MAX: usize = (1 << 31) - 1;

/// The group of columns that holds variants, as structs of `metadata` and `value`.
pub(super) fn assemble(group: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let Some(group) = group.as_struct_opt() else {
        return Err(invalid("a column of variants is no group"));
    };
    let metadata =
        binary(group, "metadata")?.ok_or_else(|| invalid("a variant has no metadata"))?;
    let nulls = group.nulls();
    if (0..group.len()).any(|row| group.is_valid(row) && metadata.is_null(row)) {
        return Err(invalid("a variant has no metadata"));
    }
    let shredded = Shredded::of(group, 0)?;
    let plain = shredded.typed.is_none();
    let value = match shredded.value {
        Some(value) if plain && !has_hole(value, nulls) => without_nulls(value)?,
        _ => shredded.rows(metadata, nulls)?,
    };
    let ArrowType::Struct(fields) = variant_type()? else {
        return Err(invalid("a variant is no struct"));
    };
    let columns: Vec<ArrayRef> = vec![Arc::new(without_nulls(metadata)?), Arc::new(value)];
    Ok(Arc::new(StructArray::try_new(
        fields,
        columns,
        nulls.cloned(),
    )?))
}

fn variant_type() -> Result<ArrowType, ArrowError> {
    DataType::Primitive(PrimitiveType::Variant)
        .to_arrow()
        .map_err(external)
}

/// A value, and what else is known of it in columns.
struct Shredded<'a> {
    value: Option<&'a BinaryArray>,
    typed: Option<Typed<'a>>,
}

enum Typed<'a> {
    Leaf(&'a ArrayRef),
    Object(&'a StructArray, Vec<(&'a str, Shredded<'a>)>),
    List(&'a ListArray, Box<Shredded<'a>>),
}

impl<'a> Shredded<'a> {
    fn of(group: &'a StructArray, depth: usize) -> Result<Self, ArrowError> {
        if SHREDDED_DEPTH_MAX < depth {
            return Err(invalid("a variant is shredded too deeply"));
        }
        let value = binary(group, "value")?;
        let typed = group
            .column_by_name("typed_value")
            .map(|typed| Typed::of(typed, depth + 1));
        Ok(Self {
            value,
            typed: typed.transpose()?,
        })
    }

    /// The values of all rows; those without one are variant nulls.
    fn rows(
        &self,
        metadata: &BinaryArray,
        nulls: Option<&NullBuffer>,
    ) -> Result<BinaryArray, ArrowError> {
        let mut bytes: Vec<u8> = Vec::new();
        let mut offsets: Vec<i32> = Vec::with_capacity(metadata.len() + 1);
        offsets.push(0);
        for row in 0..metadata.len() {
            if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
                let one = One {
                    dictionary: Dictionary::parse(metadata.value(row)).map_err(external)?,
                    left: Cell::new(VARIANT_BYTES_MAX),
                };
                let value = match self.row(&one, row)? {
                    Some(value) => value,
                    None => null()?,
                };
                // Before they are taken: what does not fit must not take memory either.
                let end = bytes.len().saturating_add(value.len());
                if BATCH_BYTES_MAX < end {
                    return Err(invalid("the variants of a batch exceed 2 GiB"));
                }
                bytes.extend_from_slice(&value);
            }
            let end = i32::try_from(bytes.len());
            offsets.push(end.map_err(|_| invalid("the variants of a batch exceed 2 GiB"))?);
        }
        BinaryArray::try_new(
            OffsetBuffer::new(ScalarBuffer::from(offsets)),
            bytes.into(),
            None,
        )
    }

    /// The value of one row; `None` if it is missing, which is not the same as a null.
    fn row(&self, one: &One<'_>, row: usize) -> Result<Option<Vec<u8>>, ArrowError> {
        let value = self
            .value
            .filter(|value| value.is_valid(row))
            .map(|value| value.value(row));
        let typed = match &self.typed {
            Some(typed) if typed.is_valid(row) => typed,
            _ => {
                one.takes(value.map_or(0, <[u8]>::len))?;
                return Ok(value.map(<[u8]>::to_vec));
            }
        };
        match typed {
            Typed::Object(_, fields) => partly(one, fields, value, row).map(Some),
            _ if value.is_some() => Err(invalid("a variant has two values")),
            Typed::Leaf(column) => {
                let value = leaf(column, row)?;
                one.takes(value.len())?;
                Ok(Some(value))
            }
            Typed::List(list, element) => {
                let range = list
                    .value_offsets()
                    .get(row)
                    .zip(list.value_offsets().get(row + 1));
                let bound = |offset: i32| usize::try_from(offset).unwrap_or(0);
                let range = range.map_or(0..0, |(start, end)| bound(*start)..bound(*end));
                let elements = range.map(|index| match element.row(one, index)? {
                    Some(value) => Ok(value),
                    None => {
                        one.takes(size_of::<Vec<u8>>())?;
                        null()
                    }
                });
                let elements = elements.collect::<Result<Vec<_>, _>>()?;
                array(&elements).map(Some).map_err(external)
            }
        }
    }
}

/// One variant, while it is put together.
struct One<'a> {
    dictionary: Dictionary<'a>,
    /// How many bytes its parts may still have: those that lie side by side in memory until they are joined.
    left: Cell<usize>,
}

impl One<'_> {
    fn takes(&self, bytes: usize) -> Result<(), ArrowError> {
        let left = self.left.get().checked_sub(bytes);
        self.left
            .set(left.ok_or_else(|| invalid("a variant is larger than 128 MiB"))?);
        Ok(())
    }
}

impl<'a> Typed<'a> {
    fn of(column: &'a ArrayRef, depth: usize) -> Result<Self, ArrowError> {
        let group = |array: &'a ArrayRef| {
            array
                .as_struct_opt()
                .ok_or_else(|| invalid("a part of a shredded variant is no group"))
        };
        if let Some(fields) = column.as_struct_opt() {
            let parts = fields
                .fields()
                .iter()
                .zip(fields.columns())
                .map(|(field, part)| {
                    Ok((field.name().as_str(), Shredded::of(group(part)?, depth)?))
                });
            return Ok(Self::Object(
                fields,
                parts.collect::<Result<_, ArrowError>>()?,
            ));
        }
        if let Some(list) = column.as_list_opt::<i32>() {
            return Ok(Self::List(
                list,
                Box::new(Shredded::of(group(list.values())?, depth)?),
            ));
        }
        Ok(Self::Leaf(column))
    }

    fn is_valid(&self, row: usize) -> bool {
        match self {
            Self::Leaf(column) => column.is_valid(row),
            Self::Object(fields, _) => fields.is_valid(row),
            Self::List(list, _) => list.is_valid(row),
        }
    }
}

/// An object of fields in columns of their own, and of those that `value` holds besides.
fn partly(
    one: &One<'_>,
    parts: &[(&str, Shredded<'_>)],
    value: Option<&[u8]>,
    row: usize,
) -> Result<Vec<u8>, ArrowError> {
    let dictionary = &one.dictionary;
    let mut values = Vec::with_capacity(parts.len());
    for (name, part) in parts {
        if let Some(value) = part.row(one, row)? {
            let id = dictionary.id(name).map_err(external)?;
            let id = id.ok_or_else(|| invalid("a field of a variant is not in its dictionary"))?;
            values.push((*name, id, value));
        }
    }
    let mut fields: Vec<(&str, usize, &[u8])> = values
        .iter()
        .map(|(name, id, value)| (*name, *id, value.as_slice()))
        .collect();
    if let Some(value) = value {
        let Value::Object(rest) = Value::parse(value).map_err(external)? else {
            return Err(invalid("what is left of a shredded object is no object"));
        };
        for index in 0..rest.len() {
            let (id, value) = rest.field(index).map_err(external)?;
            let name = dictionary.name(id).map_err(external)?;
            if parts.iter().any(|(part, _)| *part == name) {
                return Err(invalid("a field of a variant has two values"));
            }
            fields.push((name, id, value));
        }
    }
    let known: usize = values.iter().map(|(_, _, value)| value.len()).sum();
    let whole = object(fields).map_err(external)?;
    one.takes(whole.len().saturating_sub(known))?;
    Ok(whole)
}

fn leaf(column: &ArrayRef, row: usize) -> Result<Vec<u8>, ArrowError> {
    let value = match column.data_type() {
        ArrowType::Boolean => Scalar::Boolean(column.as_boolean().value(row)),
        ArrowType::Int8 => Scalar::Byte(column.as_primitive::<Int8Type>().value(row)),
        ArrowType::Int16 => Scalar::Short(column.as_primitive::<Int16Type>().value(row)),
        ArrowType::Int32 => Scalar::Integer(column.as_primitive::<Int32Type>().value(row)),
        ArrowType::Int64 => Scalar::Long(column.as_primitive::<Int64Type>().value(row)),
        ArrowType::Float32 => Scalar::Float(column.as_primitive::<Float32Type>().value(row)),
        ArrowType::Float64 => Scalar::Double(column.as_primitive::<Float64Type>().value(row)),
        &ArrowType::Decimal128(precision, scale) => Scalar::Decimal {
            unscaled: column.as_primitive::<Decimal128Type>().value(row),
            precision,
            scale: u8::try_from(scale).map_err(|_| invalid("a decimal has a negative scale"))?,
        },
        ArrowType::Date32 => Scalar::Date(column.as_primitive::<Date32Type>().value(row)),
        ArrowType::Time64(TimeUnit::Microsecond) => {
            Scalar::Time(column.as_primitive::<Time64MicrosecondType>().value(row))
        }
        ArrowType::Timestamp(TimeUnit::Microsecond, zone) => Scalar::Micros(
            column.as_primitive::<TimestampMicrosecondType>().value(row),
            zone.is_some(),
        ),
        ArrowType::Timestamp(TimeUnit::Nanosecond, zone) => Scalar::Nanos(
            column.as_primitive::<TimestampNanosecondType>().value(row),
            zone.is_some(),
        ),
        ArrowType::Utf8 => Scalar::String(column.as_string::<i32>().value(row)),
        ArrowType::Binary => Scalar::Binary(column.as_binary::<i32>().value(row)),
        ArrowType::FixedSizeBinary(16) => Scalar::Uuid(column.as_fixed_size_binary().value(row)),
        other => {
            return Err(invalid(&format!(
                "variants cannot be shredded into {other}"
            )));
        }
    };
    scalar(value).map_err(external)
}

fn null() -> Result<Vec<u8>, ArrowError> {
    scalar(Scalar::Null).map_err(external)
}

fn binary<'a>(group: &'a StructArray, name: &str) -> Result<Option<&'a BinaryArray>, ArrowError> {
    let Some(column) = group.column_by_name(name) else {
        return Ok(None);
    };
    let column = column.as_binary_opt::<i32>();
    column
        .map(Some)
        .ok_or_else(|| invalid("a part of a variant is not binary"))
}

/// Whether a row that is not null has no value.
fn has_hole(value: &BinaryArray, nulls: Option<&NullBuffer>) -> bool {
    0 < value.null_count()
        && (0..value.len())
            .any(|row| value.is_null(row) && nulls.is_none_or(|nulls| nulls.is_valid(row)))
}

fn without_nulls(array: &BinaryArray) -> Result<BinaryArray, ArrowError> {
    BinaryArray::try_new(array.offsets().clone(), array.values().clone(), None)
}

fn invalid(what: &str) -> ArrowError {
    ArrowError::InvalidArgumentError(what.to_owned())
}

fn external(error: Error) -> ArrowError {
    ArrowError::ExternalError(Box::new(error))
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int64Array, StringArray};
    use arrow_schema::{Field as ArrowField, Fields};

    use super::*;
    use crate::protocol::variant::to_json;

    /// The names `a` and `b`.
    const NAMES: &[u8] = &[0x01, 2, 0, 1, 2, b'a', b'b'];

    fn group(columns: Vec<(&str, ArrayRef)>, nulls: Option<NullBuffer>) -> ArrayRef {
        let field = |(name, column): &(&str, ArrayRef)| {
            ArrowField::new(*name, column.data_type().clone(), true)
        };
        let fields: Fields = columns.iter().map(field).collect();
        let columns = columns.into_iter().map(|(_, column)| column).collect();
        Arc::new(StructArray::new(fields, columns, nulls))
    }

    fn bytes(values: Vec<Option<Vec<u8>>>) -> ArrayRef {
        Arc::new(BinaryArray::from_iter(values))
    }

    fn number(value: i64) -> Vec<u8> {
        scalar(Scalar::Long(value)).unwrap()
    }

    fn printed(group: &ArrayRef) -> Result<Vec<Option<String>>, ArrowError> {
        let plain = assemble(group)?;
        let part = |name: &str| {
            let column = plain.as_struct().column_by_name(name);
            column.unwrap().as_binary::<i32>().clone()
        };
        let (metadata, value) = (part("metadata"), part("value"));
        let print = |row| to_json(metadata.value(row), value.value(row)).unwrap();
        Ok((0..plain.len())
            .map(|row| plain.is_valid(row).then(|| print(row)))
            .collect())
    }

    fn said(expected: &[Option<&str>]) -> Vec<Option<String>> {
        expected
            .iter()
            .map(|text| text.map(str::to_owned))
            .collect()
    }

    /// VariantShredding.md, "Objects": a field is typed, of another type, or missing; the rest stays beside.
    #[test]
    fn shredded_objects_are_put_together_again() {
        let typed_a = group(
            vec![
                (
                    "value",
                    bytes(vec![
                        None,
                        Some(scalar(Scalar::String("x")).unwrap()),
                        None,
                        None,
                        None,
                    ]),
                ),
                (
                    "typed_value",
                    Arc::new(Int64Array::from(vec![Some(1), None, None, None, None])),
                ),
            ],
            None,
        );
        let live = NullBuffer::from(vec![true, true, true, false, false]);
        let typed = group(vec![("a", typed_a)], Some(live));
        let five = number(5);
        let rest = object(vec![("b", 1, five.as_slice())]).unwrap();
        let value = bytes(vec![None, Some(rest), None, Some(number(9)), None]);
        let metadata = bytes(vec![Some(NAMES.to_vec()); 5]);
        let nulls = NullBuffer::from(vec![true, true, true, true, false]);
        let columns = vec![
            ("metadata", metadata),
            ("value", value),
            ("typed_value", typed),
        ];
        let found = printed(&group(columns, Some(nulls))).unwrap();
        let expected = [
            Some(r#"{"a":1}"#),
            Some(r#"{"a":"x","b":5}"#),
            Some("{}"),
            Some("9"),
            None,
        ];
        assert_eq!(found, said(&expected));
    }

    /// VariantShredding.md, "Arrays" and "Value Shredding".
    #[test]
    fn shredded_arrays_and_values_are_put_together_again() {
        let elements = group(
            vec![
                ("value", bytes(vec![None, Some(number(7)), None])),
                (
                    "typed_value",
                    Arc::new(StringArray::from(vec![Some("x"), None, None])),
                ),
            ],
            None,
        );
        let field = ArrowField::new("element", elements.data_type().clone(), true);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, 3, 3, 3]));
        let nulls = NullBuffer::from(vec![true, true, false]);
        let list = ListArray::new(Arc::new(field), offsets, elements, Some(nulls));
        let columns = vec![
            ("metadata", bytes(vec![Some(NAMES.to_vec()); 3])),
            ("value", bytes(vec![None; 3])),
            ("typed_value", Arc::new(list) as ArrayRef),
        ];
        let found = printed(&group(columns, None)).unwrap();
        // An element without a value is a null; so is a variant without one.
        assert_eq!(
            found,
            said(&[Some(r#"["x",7,null]"#), Some("[]"), Some("null")])
        );
    }

    /// A few hundred kilobytes that refer to themselves: an object of which every field is the same long text.
    #[test]
    fn parts_that_share_their_bytes_do_not_become_gigabytes() {
        const FIELDS: usize = 4096;
        let text = scalar(Scalar::String(&"x".repeat(200_000))).unwrap();
        let names: Vec<String> = (0..=FIELDS).map(|index| format!("f{index:05}")).collect();
        let mut metadata = vec![0x81];
        metadata.extend_from_slice(&(names.len() as u32).to_le_bytes()[..3]);
        for end in 0..=names.len() {
            metadata.extend_from_slice(&((end * 6) as u32).to_le_bytes()[..3]);
        }
        metadata.extend(names.concat().bytes());
        // Large, with ids and offsets of three bytes; all offsets but the last are 0.
        let mut value = vec![2 | (2 << 2) | (2 << 4) | (1 << 6)];
        value.extend_from_slice(&(FIELDS as u32).to_le_bytes());
        for id in 1..=FIELDS {
            value.extend_from_slice(&(id as u32).to_le_bytes()[..3]);
        }
        value.extend(vec![0; FIELDS * 3]);
        value.extend_from_slice(&(text.len() as u32).to_le_bytes()[..3]);
        value.extend_from_slice(&text);
        assert!(value.len() < 300_000);

        let part = group(
            vec![("typed_value", Arc::new(Int64Array::from(vec![1])))],
            None,
        );
        let typed = group(vec![("f00000", part)], None);
        let whole = |value: Vec<u8>| {
            group(
                vec![
                    ("metadata", bytes(vec![Some(metadata.clone())])),
                    ("value", bytes(vec![Some(value)])),
                    ("typed_value", Arc::clone(&typed)),
                ],
                None,
            )
        };
        let error = assemble(&whole(value)).unwrap_err().to_string();
        assert!(error.contains("128 MiB"), "{error}");
        // One such field is fine.
        let one = object(vec![(names[1].as_str(), 1, text.as_slice())]).unwrap();
        assert!(assemble(&whole(one)).is_ok());
    }

    #[test]
    fn elements_are_counted_while_they_are_put_together() {
        let long = scalar(Scalar::String(&"x".repeat(1 << 20))).unwrap();
        let one = One {
            dictionary: Dictionary::parse(NAMES).unwrap(),
            left: Cell::new(VARIANT_BYTES_MAX),
        };
        let column = bytes(vec![Some(long)]);
        let shredded = Shredded {
            value: column.as_binary_opt(),
            typed: None,
        };
        let taken = (0..200).find(|_| shredded.row(&one, 0).is_err());
        assert_eq!(taken, Some(127));
    }

    #[test]
    fn variants_with_two_values_or_without_names_are_refused() {
        let metadata = || bytes(vec![Some(NAMES.to_vec())]);
        let long = || Arc::new(Int64Array::from(vec![1])) as ArrayRef;
        let two = vec![
            ("metadata", metadata()),
            ("value", bytes(vec![Some(number(1))])),
            ("typed_value", long()),
        ];
        assert!(printed(&group(two, None)).is_err());
        let field = |name: &'static str| {
            let part = group(vec![("typed_value", long())], None);
            group(
                vec![
                    ("metadata", metadata()),
                    ("typed_value", group(vec![(name, part)], None)),
                ],
                None,
            )
        };
        assert_eq!(printed(&field("b")).unwrap(), said(&[Some(r#"{"b":1}"#)]));
        assert!(
            printed(&field("c")).is_err(),
            "a name that is not in the dictionary"
        );
        let none = vec![
            ("metadata", bytes(vec![None])),
            ("value", bytes(vec![Some(number(1))])),
        ];
        assert!(printed(&group(none, None)).is_err());
    }
}
