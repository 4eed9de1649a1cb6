//! Types of the protocol as Arrow types, and arrays of other layouts as arrays of those types.
//!
//! | protocol | Arrow |
//! | --- | --- |
//! | string, binary | `Utf8`, `Binary` |
//! | byte, short, integer, long | `Int8`, `Int16`, `Int32`, `Int64` |
//! | float, double, decimal | `Float32`, `Float64`, `Decimal128` |
//! | boolean, date, void | `Boolean`, `Date32`, `Null` |
//! | timestamp, `timestamp_ntz` | `Timestamp(Microsecond, "UTC")`, `Timestamp(Microsecond)` |
//! | array, map, struct | `List` of `element`, `Map` of `key_value` with `key` and `value`, `Struct` |
//! | variant | `Struct` of `metadata` and `value`, in a field of the extension type `arrow.parquet.variant` |
//! | intervals of months, of days to seconds | `Interval(YearMonth)`, `Duration(Microsecond)` |
//!
//! Spec: [Schema Serialization Format](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#schema-serialization-format).

use std::sync::Arc;

use arrow_schema::{
    DataType as ArrowType, Field as ArrowField, Fields, IntervalUnit, Schema as ArrowSchema,
    SchemaRef, TimeUnit,
};

use crate::error::{Code, Error, Result};
use crate::protocol::interval::Interval;
use crate::protocol::schema::{DataType, Field, PrimitiveType, SCHEMA_DEPTH_MAX, Schema};
use crate::protocol::variant::{EXTENSION_KEY, EXTENSION_NAME};

mod conform;

pub(crate) use conform::{conform, position, refuse_unknown_fields};

#[cfg(test)]
mod tests;

impl Schema {
    /// The schema as Arrow has it. Notes of fields stay behind.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::error::ErrorKind::Unsupported) if data of a column's type cannot be held.
    pub fn to_arrow(&self) -> Result<SchemaRef> {
        Ok(Arc::new(ArrowSchema::new(fields_to_arrow(self)?)))
    }

    /// The schema of a table that holds what `schema` describes. Dictionaries, views and large types are layouts and
    /// become the plain type; timestamps of any unit become microseconds.
    ///
    /// ```
    /// use arrow_schema::{DataType, Field, Schema};
    /// let arrow = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
    /// let schema = headwater::protocol::schema::Schema::from_arrow(&arrow)?;
    /// assert_eq!(*schema.to_arrow()?, arrow);
    /// # Ok::<(), headwater::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::error::ErrorKind::Invalid) if a type has no counterpart (unsigned integers, times of day,
    /// durations, unions) or two names differ in case only.
    pub fn from_arrow(schema: &ArrowSchema) -> Result<Self> {
        schema_from_arrow(schema.fields(), 0)
    }
}

impl DataType {
    /// The type as Arrow has it.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::error::ErrorKind::Unsupported) if data of the type cannot be held.
    pub fn to_arrow(&self) -> Result<ArrowType> {
        Ok(match self {
            Self::Primitive(primitive) => primitive_to_arrow(primitive)?,
            Self::Struct(schema) => ArrowType::Struct(fields_to_arrow(schema)?),
            Self::Array(array) => {
                let element = field_to_arrow("element", &array.element, array.contains_null)?;
                ArrowType::List(Arc::new(element))
            }
            Self::Map(map) => {
                let key = field_to_arrow("key", &map.key, false)?;
                let value = field_to_arrow("value", &map.value, map.value_contains_null)?;
                let entries = ArrowType::Struct(Fields::from(vec![key, value]));
                ArrowType::Map(
                    Arc::new(ArrowField::new("key_value", entries, false)),
                    false,
                )
            }
        })
    }

    /// The type of a column that holds what an Arrow array of type `ty` holds.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::error::ErrorKind::Invalid) if the type has no counterpart.
    pub fn from_arrow(ty: &ArrowType) -> Result<Self> {
        type_from_arrow(ty, 0)
    }
}

fn fields_to_arrow(schema: &Schema) -> Result<Fields> {
    let field = |field: &Field| {
        field_to_arrow(&field.name, &field.data_type, field.nullable)
            .map_err(|cause| cause.with("column", &field.name))
    };
    schema.fields().iter().map(field).collect()
}

/// A field of this type, with the note of its extension type if it has one.
pub(crate) fn field_to_arrow(name: &str, ty: &DataType, nullable: bool) -> Result<ArrowField> {
    let field = ArrowField::new(name, ty.to_arrow()?, nullable);
    Ok(match ty {
        DataType::Primitive(PrimitiveType::Variant) => field.with_metadata(
            [(EXTENSION_KEY.to_owned(), EXTENSION_NAME.to_owned())]
                .into_iter()
                .collect(),
        ),
        _ => field,
    })
}

fn primitive_to_arrow(primitive: &PrimitiveType) -> Result<ArrowType> {
    Ok(match primitive {
        PrimitiveType::String => ArrowType::Utf8,
        PrimitiveType::Long => ArrowType::Int64,
        PrimitiveType::Integer => ArrowType::Int32,
        PrimitiveType::Short => ArrowType::Int16,
        PrimitiveType::Byte => ArrowType::Int8,
        PrimitiveType::Float => ArrowType::Float32,
        PrimitiveType::Double => ArrowType::Float64,
        &PrimitiveType::Decimal { precision, scale } => {
            let scale = i8::try_from(scale).map_err(|_| no_counterpart(primitive))?;
            ArrowType::Decimal128(precision, scale)
        }
        PrimitiveType::Boolean => ArrowType::Boolean,
        PrimitiveType::Binary => ArrowType::Binary,
        PrimitiveType::Date => ArrowType::Date32,
        PrimitiveType::Timestamp => ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        PrimitiveType::TimestampNtz => ArrowType::Timestamp(TimeUnit::Microsecond, None),
        PrimitiveType::Void => ArrowType::Null,
        PrimitiveType::Variant => {
            let bytes = |name| ArrowField::new(name, ArrowType::Binary, false);
            ArrowType::Struct(Fields::from(vec![bytes("metadata"), bytes("value")]))
        }
        PrimitiveType::Unknown(name) => match Interval::from_name(name) {
            Some(Interval::Months) => ArrowType::Interval(IntervalUnit::YearMonth),
            Some(Interval::Micros) => ArrowType::Duration(TimeUnit::Microsecond),
            None => return Err(Error::unsupported(format!("data of type {primitive}"))),
        },
    })
}

fn no_counterpart(ty: &impl std::fmt::Display) -> Error {
    Error::invalid(
        Code::InvalidSchema,
        format!("a table cannot hold values of type {ty}"),
    )
}

fn schema_from_arrow(fields: &Fields, depth: usize) -> Result<Schema> {
    let field = |field: &Arc<ArrowField>| {
        let ty = field_from_arrow(field, depth + 1);
        let ty = ty.map_err(|cause| cause.with("column", field.name()))?;
        Ok(Field::new(field.name(), ty, field.is_nullable()))
    };
    Schema::new(fields.iter().map(field).collect::<Result<Vec<_>>>()?)
}

/// The type of a field; its notes may say more than its Arrow type.
fn field_from_arrow(field: &ArrowField, depth: usize) -> Result<DataType> {
    let extension = field.metadata().get(EXTENSION_KEY);
    if extension.is_some_and(|name| name == EXTENSION_NAME) {
        return Ok(DataType::Primitive(PrimitiveType::Variant));
    }
    type_from_arrow(field.data_type(), depth)
}

fn type_from_arrow(ty: &ArrowType, depth: usize) -> Result<DataType> {
    if SCHEMA_DEPTH_MAX < depth {
        let message = format!("the schema nests deeper than {SCHEMA_DEPTH_MAX} levels");
        return Err(Error::invalid(Code::LimitExceeded, message));
    }
    Ok(match ty {
        ArrowType::Null => DataType::Primitive(PrimitiveType::Void),
        ArrowType::Boolean => DataType::BOOLEAN,
        ArrowType::Int8 => DataType::BYTE,
        ArrowType::Int16 => DataType::SHORT,
        ArrowType::Int32 => DataType::INTEGER,
        ArrowType::Int64 => DataType::LONG,
        ArrowType::Float16 | ArrowType::Float32 => DataType::FLOAT,
        ArrowType::Float64 => DataType::DOUBLE,
        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => DataType::STRING,
        ArrowType::Binary
        | ArrowType::LargeBinary
        | ArrowType::BinaryView
        | ArrowType::FixedSizeBinary(_) => DataType::BINARY,
        ArrowType::Date32 | ArrowType::Date64 => DataType::DATE,
        ArrowType::Timestamp(_, Some(_)) => DataType::TIMESTAMP,
        ArrowType::Timestamp(_, None) => DataType::TIMESTAMP_NTZ,
        ArrowType::Decimal32(precision, scale)
        | ArrowType::Decimal64(precision, scale)
        | ArrowType::Decimal128(precision, scale)
        | ArrowType::Decimal256(precision, scale) => {
            let scale = u8::try_from(*scale).map_err(|_| no_counterpart(ty))?;
            DataType::decimal(*precision, scale)?
        }
        ArrowType::Dictionary(_, values) => type_from_arrow(values, depth + 1)?,
        ArrowType::RunEndEncoded(_, values) => type_from_arrow(values.data_type(), depth + 1)?,
        ArrowType::List(element)
        | ArrowType::LargeList(element)
        | ArrowType::ListView(element)
        | ArrowType::LargeListView(element)
        | ArrowType::FixedSizeList(element, _) => {
            let ty = field_from_arrow(element, depth + 1)?;
            DataType::array(ty, element.is_nullable())
        }
        ArrowType::Struct(fields) => DataType::Struct(schema_from_arrow(fields, depth + 1)?),
        ArrowType::Map(entries, _) => match entries.data_type() {
            ArrowType::Struct(fields) => match fields.as_ref() {
                [key, value] => DataType::map(
                    field_from_arrow(key, depth + 1)?,
                    field_from_arrow(value, depth + 1)?,
                    value.is_nullable(),
                ),
                _ => return Err(no_counterpart(ty)),
            },
            _ => return Err(no_counterpart(ty)),
        },
        _ => return Err(no_counterpart(ty)),
    })
}
