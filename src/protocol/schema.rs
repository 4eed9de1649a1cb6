//! The schema of a table, its JSON form, and names as the protocol compares them.
//!
//! Spec: [Schema Serialization Format](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#schema-serialization-format).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::error::{Code, Error, Result};
use crate::protocol::json::{JSON_DEPTH_MAX, Json, depth_within};

mod form;
mod mapping;

pub(crate) use mapping::Mapper;

use form::{Reader, WrittenStruct};

#[cfg(test)]
mod tests;

/// How deep types may nest in a schema read from a table.
pub const SCHEMA_DEPTH_MAX: usize = 100;
/// How many fields, at all depths, a schema read from a table may have.
pub const SCHEMA_FIELDS_MAX: usize = 100_000;
/// How many bytes of JSON a schema read from a table may be.
pub const SCHEMA_BYTES_MAX: usize = 16 << 20;

/// Notes about a field; values keep the JSON type and digits they were written with.
pub type FieldMetadata = BTreeMap<String, Json>;

/// Rows of a table, or of a struct column: named, typed fields.
///
/// Field names are unique without regard to case, at every depth; look-ups ignore case.
///
/// ```
/// use headwater::protocol::schema::{DataType, Field, Schema};
/// let schema = Schema::new([Field::new("id", DataType::LONG, false), Field::new("name", DataType::STRING, true)])?;
/// assert_eq!(schema.field("ID").unwrap().name, "id");
/// assert_eq!(Schema::from_json(&schema.to_json())?, schema);
/// # Ok::<(), headwater::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schema {
    fields: Vec<Field>,
}

/// One column, or one field of a struct column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The logical name.
    pub name: String,
    /// The type of its values.
    pub data_type: DataType,
    /// Whether it may be null.
    pub nullable: bool,
    /// Notes: comments, column mapping, invariants, defaults.
    pub metadata: FieldMetadata,
}

/// The type of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataType {
    /// A value without parts.
    Primitive(PrimitiveType),
    /// Named fields.
    Struct(Schema),
    /// A list.
    Array(Box<ArrayType>),
    /// Keys with values.
    Map(Box<MapType>),
}

/// The type of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrayType {
    /// Type of the elements.
    pub element: DataType,
    /// Whether elements may be null.
    pub contains_null: bool,
}

/// The type of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapType {
    /// Type of the keys.
    pub key: DataType,
    /// Type of the values.
    pub value: DataType,
    /// Whether values may be null.
    pub value_contains_null: bool,
}

/// A type without parts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum PrimitiveType {
    /// UTF-8 text.
    String,
    /// 64-bit signed integer.
    Long,
    /// 32-bit signed integer.
    Integer,
    /// 16-bit signed integer.
    Short,
    /// 8-bit signed integer.
    Byte,
    /// 32-bit IEEE 754.
    Float,
    /// 64-bit IEEE 754.
    Double,
    /// Exact decimal number.
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits after the point, 0 to `precision`.
        scale: u8,
    },
    /// True or false.
    Boolean,
    /// Bytes.
    Binary,
    /// A calendar date without a time zone.
    Date,
    /// Microseconds since the epoch, in UTC.
    Timestamp,
    /// Microseconds since the epoch, without a time zone. Needs the feature `timestampNtz`.
    TimestampNtz,
    /// No value but null; has no column in data files.
    Void,
    /// Semi-structured data. Needs the feature `variantType`.
    Variant,
    /// Anything else, by its name: readable as a schema, refused as data.
    Unknown(String),
}

impl DataType {
    /// [`PrimitiveType::String`].
    pub const STRING: Self = Self::Primitive(PrimitiveType::String);
    /// [`PrimitiveType::Long`].
    pub const LONG: Self = Self::Primitive(PrimitiveType::Long);
    /// [`PrimitiveType::Integer`].
    pub const INTEGER: Self = Self::Primitive(PrimitiveType::Integer);
    /// [`PrimitiveType::Short`].
    pub const SHORT: Self = Self::Primitive(PrimitiveType::Short);
    /// [`PrimitiveType::Byte`].
    pub const BYTE: Self = Self::Primitive(PrimitiveType::Byte);
    /// [`PrimitiveType::Float`].
    pub const FLOAT: Self = Self::Primitive(PrimitiveType::Float);
    /// [`PrimitiveType::Double`].
    pub const DOUBLE: Self = Self::Primitive(PrimitiveType::Double);
    /// [`PrimitiveType::Boolean`].
    pub const BOOLEAN: Self = Self::Primitive(PrimitiveType::Boolean);
    /// [`PrimitiveType::Binary`].
    pub const BINARY: Self = Self::Primitive(PrimitiveType::Binary);
    /// [`PrimitiveType::Date`].
    pub const DATE: Self = Self::Primitive(PrimitiveType::Date);
    /// [`PrimitiveType::Timestamp`].
    pub const TIMESTAMP: Self = Self::Primitive(PrimitiveType::Timestamp);
    /// [`PrimitiveType::TimestampNtz`].
    pub const TIMESTAMP_NTZ: Self = Self::Primitive(PrimitiveType::TimestampNtz);

    /// A list type.
    pub fn array(element: Self, contains_null: bool) -> Self {
        Self::Array(Box::new(ArrayType {
            element,
            contains_null,
        }))
    }

    /// A map type.
    pub fn map(key: Self, value: Self, value_contains_null: bool) -> Self {
        Self::Map(Box::new(MapType {
            key,
            value,
            value_contains_null,
        }))
    }

    /// A decimal type.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::error::ErrorKind::Invalid) unless `1 <= precision <= 38` and `scale <= precision`.
    pub fn decimal(precision: u8, scale: u8) -> Result<Self> {
        if (1..=38).contains(&precision) && scale <= precision {
            Ok(Self::Primitive(PrimitiveType::Decimal { precision, scale }))
        } else {
            Err(Error::invalid(
                Code::InvalidSchema,
                format!("there is no decimal({precision},{scale})"),
            ))
        }
    }

    /// The primitive type, if it is one.
    pub fn as_primitive(&self) -> Option<&PrimitiveType> {
        match self {
            Self::Primitive(primitive) => Some(primitive),
            _ => None,
        }
    }
}

impl fmt::Display for PrimitiveType {
    /// The protocol's name of the type.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::String => "string",
            Self::Long => "long",
            Self::Integer => "integer",
            Self::Short => "short",
            Self::Byte => "byte",
            Self::Float => "float",
            Self::Double => "double",
            Self::Decimal { precision, scale } => return write!(f, "decimal({precision},{scale})"),
            Self::Boolean => "boolean",
            Self::Binary => "binary",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::TimestampNtz => "timestamp_ntz",
            Self::Void => "void",
            Self::Variant => "variant",
            Self::Unknown(name) => name,
        };
        f.write_str(name)
    }
}

impl fmt::Display for DataType {
    /// The type as Spark's SQL writes it: `array<struct<a:long>>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primitive(primitive) => primitive.fmt(f),
            Self::Array(array) => write!(f, "array<{}>", array.element),
            Self::Map(map) => write!(f, "map<{},{}>", map.key, map.value),
            Self::Struct(schema) => {
                f.write_str("struct<")?;
                for (index, field) in schema.fields.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{}:{}", field.name, field.data_type)?;
                }
                f.write_str(">")
            }
        }
    }
}

impl Field {
    /// A field without notes.
    pub fn new(name: impl Into<String>, data_type: DataType, nullable: bool) -> Self {
        Self {
            name: name.into(),
            data_type,
            nullable,
            metadata: FieldMetadata::new(),
        }
    }

    /// The name by which data files, partition values and statistics know the field, where columns are mapped.
    ///
    /// Spec: [Column Mapping](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#column-mapping).
    pub fn mapped_name(&self) -> Option<String> {
        self.metadata
            .get("delta.columnMapping.physicalName")
            .and_then(Json::as_string)
    }

    /// The field's id in Parquet files, where columns are mapped by id.
    pub fn mapped_id(&self) -> Option<i64> {
        self.metadata
            .get("delta.columnMapping.id")
            .and_then(Json::as_i64)
    }
}

impl Schema {
    /// A schema of these fields.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::error::ErrorKind::Invalid) if two names of one struct differ in case only, or a name is empty.
    pub fn new(fields: impl IntoIterator<Item = Field>) -> Result<Self> {
        let schema = Self {
            fields: fields.into_iter().collect(),
        };
        schema.check_names()?;
        Ok(schema)
    }

    /// The fields, in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The field of this name, without regard to case.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.index_of(name).and_then(|index| self.fields.get(index))
    }

    /// Where the field of this name stands, without regard to case.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        let exact = self.fields.iter().position(|field| field.name == name);
        exact.or_else(|| {
            let folded = fold(name);
            self.fields
                .iter()
                .position(|field| fold(&field.name) == folded)
        })
    }

    /// Reads the JSON form.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::error::ErrorKind::Corrupt) if the text is no schema, breaks a rule, or exceeds a limit.
    pub fn from_json(text: &str) -> Result<Self> {
        let limit = |what: String| Err(Error::corrupt(Code::LimitExceeded, what));
        if SCHEMA_BYTES_MAX < text.len() {
            return limit(format!(
                "the schema is longer than {SCHEMA_BYTES_MAX} bytes"
            ));
        }
        // A level of the schema is up to three of its JSON. Each level reads its text anew, so depth is bounded first.
        if !depth_within(text.as_bytes(), 3 * SCHEMA_DEPTH_MAX + JSON_DEPTH_MAX) {
            return limit(format!(
                "the schema nests deeper than {SCHEMA_DEPTH_MAX} levels"
            ));
        }
        let mut reader = Reader::default();
        match reader.data_type(text, 0)? {
            DataType::Struct(schema) => {
                schema
                    .check_names()
                    .map_err(|cause| corrupt_schema("its names clash").because(cause))?;
                Ok(schema)
            }
            other => Err(corrupt_schema(format!(
                "its top level is {other}, not a struct"
            ))),
        }
    }

    /// The JSON form, as Spark writes it.
    pub fn to_json(&self) -> String {
        // Serializing strings and maps with string keys into a string cannot fail.
        serde_json::to_string(&WrittenStruct::of(self)).unwrap_or_default()
    }

    fn check_names(&self) -> Result<()> {
        let mut seen = BTreeSet::new();
        for field in &self.fields {
            if field.name.is_empty() {
                return Err(Error::invalid(Code::InvalidSchema, "a column has no name"));
            }
            if !seen.insert(fold(&field.name)) {
                let message = "two columns have names that differ at most in case";
                return Err(
                    Error::invalid(Code::InvalidSchema, message).with("column", &field.name)
                );
            }
            field.data_type.check_names()?;
        }
        Ok(())
    }
}

impl DataType {
    fn check_names(&self) -> Result<()> {
        match self {
            Self::Primitive(_) => Ok(()),
            Self::Struct(schema) => schema.check_names(),
            Self::Array(array) => array.element.check_names(),
            Self::Map(map) => map.key.check_names().and_then(|()| map.value.check_names()),
        }
    }
}

/// A name in the form in which names are compared.
pub(crate) fn fold(name: &str) -> String {
    name.to_lowercase()
}

fn corrupt_schema(what: impl fmt::Display) -> Error {
    Error::corrupt(
        Code::InvalidSchema,
        format!("the table's schema cannot be read: {what}"),
    )
}
