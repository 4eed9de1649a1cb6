//! The JSON form of a schema: read level by level from raw text, so that depth and width are bounded by us, not by a
//! parser; written as Spark writes it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::{Code, Error, Result};
use crate::protocol::schema::{
    DataType, Field, FieldMetadata, PrimitiveType, SCHEMA_DEPTH_MAX, SCHEMA_FIELDS_MAX, Schema,
    corrupt_schema,
};

#[derive(Default)]
pub(super) struct Reader {
    fields: usize,
}

#[derive(Deserialize)]
struct ReadType<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    fields: Option<Vec<&'a RawValue>>,
    #[serde(borrow, rename = "elementType")]
    element: Option<&'a RawValue>,
    #[serde(rename = "containsNull")]
    contains_null: Option<bool>,
    #[serde(borrow, rename = "keyType")]
    key: Option<&'a RawValue>,
    #[serde(borrow, rename = "valueType")]
    value: Option<&'a RawValue>,
    #[serde(rename = "valueContainsNull")]
    value_contains_null: Option<bool>,
}

#[derive(Deserialize)]
struct ReadField<'a> {
    name: String,
    #[serde(borrow, rename = "type")]
    data_type: &'a RawValue,
    nullable: Option<bool>,
    metadata: Option<FieldMetadata>,
}

impl Reader {
    pub(super) fn data_type(&mut self, text: &str, depth: usize) -> Result<DataType> {
        if SCHEMA_DEPTH_MAX < depth {
            let message = format!("the schema nests deeper than {SCHEMA_DEPTH_MAX} levels");
            return Err(Error::corrupt(Code::LimitExceeded, message));
        }
        if text.trim_start().starts_with('"') {
            let name: String = parse(text)?;
            return primitive(&name).map(DataType::Primitive);
        }
        let read: ReadType<'_> = parse(text)?;
        let part = |raw: Option<&'_ RawValue>, what: &str| {
            raw.map(|raw| raw.get().to_owned())
                .ok_or_else(|| corrupt_schema(format!("a type has no {what}")))
        };
        match read.kind.as_str() {
            "struct" => {
                let fields = read
                    .fields
                    .ok_or_else(|| corrupt_schema("a struct has no fields"))?;
                let fields = fields.into_iter().map(|raw| self.field(raw.get(), depth));
                Ok(DataType::Struct(Schema {
                    fields: fields.collect::<Result<_>>()?,
                }))
            }
            "array" => {
                let element = self.data_type(&part(read.element, "elementType")?, depth + 1)?;
                Ok(DataType::array(element, read.contains_null.unwrap_or(true)))
            }
            "map" => {
                let key = self.data_type(&part(read.key, "keyType")?, depth + 1)?;
                let value = self.data_type(&part(read.value, "valueType")?, depth + 1)?;
                Ok(DataType::map(
                    key,
                    value,
                    read.value_contains_null.unwrap_or(true),
                ))
            }
            other => Err(corrupt_schema(format!(
                "there is no type `{}`",
                other.escape_debug()
            ))),
        }
    }

    fn field(&mut self, text: &str, depth: usize) -> Result<Field> {
        self.fields += 1;
        if SCHEMA_FIELDS_MAX < self.fields {
            let message = format!("the schema has more than {SCHEMA_FIELDS_MAX} fields");
            return Err(Error::corrupt(Code::LimitExceeded, message));
        }
        let read: ReadField<'_> = parse(text)?;
        Ok(Field {
            data_type: self.data_type(read.data_type.get(), depth + 1)?,
            name: read.name,
            nullable: read.nullable.unwrap_or(true),
            metadata: read.metadata.unwrap_or_default(),
        })
    }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|cause| corrupt_schema("it is not the JSON of a schema").because(cause))
}

impl PrimitiveType {
    /// The type of this name; `None` if it makes no sense, such as a decimal of 40 digits.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        primitive(name).ok()
    }
}

fn primitive(name: &str) -> Result<PrimitiveType> {
    Ok(match name {
        "string" => PrimitiveType::String,
        "long" => PrimitiveType::Long,
        "integer" => PrimitiveType::Integer,
        "short" => PrimitiveType::Short,
        "byte" => PrimitiveType::Byte,
        "float" => PrimitiveType::Float,
        "double" => PrimitiveType::Double,
        "boolean" => PrimitiveType::Boolean,
        "binary" => PrimitiveType::Binary,
        "date" => PrimitiveType::Date,
        "timestamp" => PrimitiveType::Timestamp,
        "timestamp_ntz" => PrimitiveType::TimestampNtz,
        "void" | "null" => PrimitiveType::Void,
        "variant" => PrimitiveType::Variant,
        "decimal" => PrimitiveType::Decimal {
            precision: 10,
            scale: 0,
        },
        other => match other
            .strip_prefix("decimal(")
            .and_then(|rest| rest.strip_suffix(')'))
        {
            Some(arguments) => decimal(arguments)?,
            None => PrimitiveType::Unknown(other.to_owned()),
        },
    })
}

fn decimal(arguments: &str) -> Result<PrimitiveType> {
    let wrong = || corrupt_schema(format!("there is no decimal({})", arguments.escape_debug()));
    let (precision, scale) = arguments.split_once(',').ok_or_else(wrong)?;
    let precision = precision.trim().parse().map_err(|_| wrong())?;
    let scale = scale.trim().parse().map_err(|_| wrong())?;
    match DataType::decimal(precision, scale) {
        Ok(DataType::Primitive(primitive)) => Ok(primitive),
        _ => Err(wrong()),
    }
}

#[derive(Serialize)]
pub(super) struct WrittenStruct<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    fields: Vec<WrittenField<'a>>,
}

#[derive(Serialize)]
struct WrittenField<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    data_type: WrittenType<'a>,
    nullable: bool,
    metadata: &'a FieldMetadata,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WrittenType<'a> {
    Primitive(String),
    Struct(WrittenStruct<'a>),
    #[serde(rename_all = "camelCase")]
    Array {
        #[serde(rename = "type")]
        kind: &'static str,
        element_type: Box<WrittenType<'a>>,
        contains_null: bool,
    },
    #[serde(rename_all = "camelCase")]
    Map {
        #[serde(rename = "type")]
        kind: &'static str,
        key_type: Box<WrittenType<'a>>,
        value_type: Box<WrittenType<'a>>,
        value_contains_null: bool,
    },
}

impl<'a> WrittenStruct<'a> {
    pub(super) fn of(schema: &'a Schema) -> Self {
        let field = |field: &'a Field| WrittenField {
            name: &field.name,
            data_type: WrittenType::of(&field.data_type),
            nullable: field.nullable,
            metadata: &field.metadata,
        };
        Self {
            kind: "struct",
            fields: schema.fields.iter().map(field).collect(),
        }
    }
}

impl<'a> WrittenType<'a> {
    fn of(data_type: &'a DataType) -> Self {
        match data_type {
            DataType::Primitive(primitive) => Self::Primitive(primitive.to_string()),
            DataType::Struct(schema) => Self::Struct(WrittenStruct::of(schema)),
            DataType::Array(array) => Self::Array {
                kind: "array",
                element_type: Box::new(Self::of(&array.element)),
                contains_null: array.contains_null,
            },
            DataType::Map(map) => Self::Map {
                kind: "map",
                key_type: Box::new(Self::of(&map.key)),
                value_type: Box::new(Self::of(&map.value)),
                value_contains_null: map.value_contains_null,
            },
        }
    }
}
