//! Which columns of a table lie in its data files, and arrays under other names.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, MapArray, StructArray};
use arrow_schema::{
    ArrowError, DataType as ArrowType, Field as ArrowField, Fields, Schema as ArrowSchema,
    SchemaRef,
};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use crate::data::ColumnNames;
use crate::error::{Code, Error, Result};
use crate::protocol::schema::{ArrayType, DataType, Field, MapType, PrimitiveType, Schema};

/// The fields of `schema` that have a column in data files: all but the partition columns, and without
/// void at any depth.
///
/// # Errors
///
/// [`Invalid`](crate::error::ErrorKind::Invalid) for a struct of nothing but void, void in a list or a map, and types
/// that this build cannot store.
pub(crate) fn stored_schema(
    schema: &Schema,
    is_partition: impl Fn(usize) -> bool,
) -> Result<Schema> {
    let fields = schema
        .fields()
        .iter()
        .enumerate()
        .filter(|(index, _)| !is_partition(*index));
    let stored = fields.filter_map(|(_, field)| stored_field(field).transpose());
    Schema::new(stored.collect::<Result<Vec<_>>>()?)
}

fn stored_field(field: &Field) -> Result<Option<Field>> {
    if is_void(&field.data_type) {
        return Ok(None);
    }
    let data_type =
        stored_type(&field.data_type).map_err(|error| error.with("column", &field.name))?;
    Ok(Some(Field {
        data_type,
        ..field.clone()
    }))
}

fn stored_type(data_type: &DataType) -> Result<DataType> {
    let invalid = |message: String| Err(Error::invalid(Code::InvalidSchema, message));
    Ok(match data_type {
        DataType::Primitive(PrimitiveType::Void) => {
            return invalid("void cannot be stored inside a list or a map".to_owned());
        }
        DataType::Primitive(PrimitiveType::Unknown(_) | PrimitiveType::Variant) => {
            return Err(Error::unsupported(format!(
                "values of type {data_type} cannot be stored"
            )));
        }
        DataType::Primitive(primitive) => DataType::Primitive(primitive.clone()),
        DataType::Struct(schema) => {
            let fields = schema
                .fields()
                .iter()
                .filter_map(|field| stored_field(field).transpose());
            let fields = fields.collect::<Result<Vec<_>>>()?;
            if fields.is_empty() {
                return invalid("a struct without a storable field cannot be stored".to_owned());
            }
            DataType::Struct(Schema::new(fields)?)
        }
        DataType::Array(array) => DataType::Array(Box::new(ArrayType {
            element: stored_type(&array.element)?,
            contains_null: array.contains_null,
        })),
        DataType::Map(map) => DataType::Map(Box::new(MapType {
            key: stored_type(&map.key)?,
            value: stored_type(&map.value)?,
            value_contains_null: map.value_contains_null,
        })),
    })
}

pub(crate) fn is_void(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Primitive(PrimitiveType::Void))
}

/// The Arrow form of a stored schema: with the names that files have and, where columns are mapped, their ids.
pub(crate) fn stored_arrow(schema: &Schema, names: ColumnNames) -> Result<SchemaRef> {
    match names {
        ColumnNames::Logical => schema.to_arrow(),
        ColumnNames::Physical => Ok(Arc::new(ArrowSchema::new(physical_fields(schema)?))),
    }
}

fn physical_fields(schema: &Schema) -> Result<Fields> {
    let physical = |field: &Field| {
        let name = ColumnNames::Physical.of(field);
        let arrow = ArrowField::new(name, physical_type(&field.data_type)?, field.nullable);
        Ok(match field.mapped_id() {
            Some(id) => arrow.with_metadata(
                [(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]
                    .into_iter()
                    .collect(),
            ),
            None => arrow,
        })
    };
    schema.fields().iter().map(physical).collect()
}

fn physical_type(data_type: &DataType) -> Result<ArrowType> {
    let same = |field: &ArrowField, data_type: &DataType| -> Result<ArrowField> {
        Ok(field.clone().with_data_type(physical_type(data_type)?))
    };
    Ok(match (data_type, data_type.to_arrow()?) {
        (DataType::Struct(schema), _) => ArrowType::Struct(physical_fields(schema)?),
        (DataType::Array(array), ArrowType::List(field)) => {
            ArrowType::List(Arc::new(same(&field, &array.element)?))
        }
        (DataType::Map(map), ArrowType::Map(entries, sorted)) => {
            let ArrowType::Struct(parts) = entries.data_type() else {
                return Ok(ArrowType::Map(entries, sorted));
            };
            let parts = parts.iter().zip([&map.key, &map.value]);
            let parts = parts.map(|(field, data_type)| same(field, data_type));
            let parts = ArrowType::Struct(parts.collect::<Result<_>>()?);
            ArrowType::Map(
                Arc::new(entries.as_ref().clone().with_data_type(parts)),
                sorted,
            )
        }
        (_, plain) => plain,
    })
}

/// The schema with everything in it nullable, at every depth.
pub(crate) fn nullable_schema(schema: &Schema) -> Schema {
    let fields = schema.fields().iter().map(|field| Field {
        data_type: nullable(&field.data_type),
        nullable: true,
        ..field.clone()
    });
    // The names are those of a schema that was checked.
    Schema::new(fields).unwrap_or_default()
}

/// The type with everything in it nullable.
pub(crate) fn nullable(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Primitive(primitive) => DataType::Primitive(primitive.clone()),
        DataType::Struct(schema) => DataType::Struct(nullable_schema(schema)),
        DataType::Array(array) => DataType::array(nullable(&array.element), true),
        DataType::Map(map) => DataType::map(nullable(&map.key), nullable(&map.value), true),
    }
}

/// The same values as an array of type `to`, which differs in names and nullability of nested fields only.
///
/// # Errors
///
/// The cause as Arrow tells it: the types differ in more, or there is a null where `to` has none.
pub(crate) fn relabel(array: &ArrayRef, to: &ArrowType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    match (array.data_type(), to) {
        (ArrowType::Struct(_), ArrowType::Struct(fields)) => {
            let array = array.as_struct();
            let children = array.columns().iter().zip(fields);
            let children = children.map(|(child, field)| relabel(child, field.data_type()));
            let children = children.collect::<Result<Vec<_>, _>>()?;
            let nulls = array.nulls().cloned();
            let built =
                StructArray::try_new_with_length(fields.clone(), children, nulls, array.len())?;
            Ok(Arc::new(built))
        }
        (ArrowType::List(_), ArrowType::List(field)) => {
            let array = array.as_list::<i32>();
            let values = relabel(array.values(), field.data_type())?;
            let (offsets, nulls) = (array.offsets().clone(), array.nulls().cloned());
            Ok(Arc::new(ListArray::try_new(
                Arc::clone(field),
                offsets,
                values,
                nulls,
            )?))
        }
        (ArrowType::Map(_, _), ArrowType::Map(field, sorted)) => {
            let array = array.as_map();
            let entries: ArrayRef = Arc::new(array.entries().clone());
            let entries = relabel(&entries, field.data_type())?.as_struct().clone();
            let (offsets, nulls) = (array.offsets().clone(), array.nulls().cloned());
            Ok(Arc::new(MapArray::try_new(
                Arc::clone(field),
                offsets,
                entries,
                nulls,
                *sorted,
            )?))
        }
        (from, to) => Err(ArrowError::SchemaError(format!("{from} is not {to}"))),
    }
}
