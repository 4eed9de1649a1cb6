//! Values in and out of the struct columns of a checkpoint.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Int32Array, Int64Array, PrimitiveArray,
    StringArray, StructArray, new_null_array,
};
use arrow_schema::{DataType as ArrowType, Field as ArrowField};

use crate::error::Result;
use crate::protocol::arrow::conform;
use crate::protocol::schema::{DataType, PrimitiveType, Schema};
use crate::protocol::value::Scalar;

/// The rows of one struct column, its fields read by name.
#[derive(Debug, Clone)]
pub(super) struct Rows(StructArray);

impl Rows {
    /// A column in the types of `schema`: fields that it lacks are null, fields that `schema` lacks are dropped.
    pub(super) fn new(column: &ArrayRef, schema: Schema, name: &str) -> Result<Self> {
        let column = conform(column, &DataType::Struct(schema), name)?;
        Ok(Self(column.as_struct().clone()))
    }

    /// How many rows there are, present or not.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the row has the action at all.
    pub(super) fn is_present(&self, row: usize) -> bool {
        row < self.0.len() && self.0.is_valid(row)
    }

    /// Whether a field has a value in the row.
    pub(super) fn has(&self, row: usize, field: &str) -> bool {
        self.field(field)
            .is_some_and(|array| row < array.len() && array.is_valid(row))
    }

    /// Whether any field has a value in the row. Some writers make structs of nulls where others make null structs.
    pub(super) fn has_any(&self, row: usize) -> bool {
        self.0
            .columns()
            .iter()
            .any(|array| match array.as_struct_opt() {
                Some(inner) => Rows(inner.clone()).has_any(row),
                None => row < array.len() && array.is_valid(row),
            })
    }

    pub(super) fn text(&self, row: usize, field: &str) -> Option<String> {
        let array = self.field(field)?.as_string_opt::<i32>()?;
        value_at(array, row).map(|index| array.value(index).to_owned())
    }

    pub(super) fn long(&self, row: usize, field: &str) -> Option<i64> {
        let array = self.field(field)?.as_primitive_opt::<Int64Type>()?;
        value_at(array, row).map(|index| array.value(index))
    }

    pub(super) fn integer(&self, row: usize, field: &str) -> Option<i32> {
        let array = self.field(field)?.as_primitive_opt::<Int32Type>()?;
        value_at(array, row).map(|index| array.value(index))
    }

    pub(super) fn boolean(&self, row: usize, field: &str) -> Option<bool> {
        let array = self.field(field)?.as_boolean_opt()?;
        value_at(array, row).map(|index| array.value(index))
    }

    pub(super) fn texts(&self, row: usize, field: &str) -> Option<Vec<String>> {
        let array = self.field(field)?.as_list_opt::<i32>()?;
        let items = array.value(value_at(array, row)?);
        let items = items.as_string_opt::<i32>()?;
        Some(items.iter().flatten().map(str::to_owned).collect())
    }

    pub(super) fn map(&self, row: usize, field: &str) -> Option<BTreeMap<String, Option<String>>> {
        let array = self.field(field)?.as_map_opt()?;
        let entries = array.value(value_at(array, row)?);
        let keys = entries.column_by_name("key")?.as_string_opt::<i32>()?;
        let values = entries.column_by_name("value")?.as_string_opt::<i32>()?;
        let pairs = keys.iter().zip(values.iter());
        Some(
            pairs
                .filter_map(|(key, value)| Some((key?.to_owned(), value.map(str::to_owned))))
                .collect(),
        )
    }

    /// A struct field, as rows of its own.
    pub(super) fn inner(&self, field: &str) -> Option<Self> {
        self.field(field)?.as_struct_opt().cloned().map(Self)
    }

    fn field(&self, name: &str) -> Option<&ArrayRef> {
        self.0.column_by_name(name)
    }
}

fn value_at(array: &dyn Array, row: usize) -> Option<usize> {
    (row < array.len() && array.is_valid(row)).then_some(row)
}

pub(super) fn texts<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

pub(super) fn longs(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Int64Array>())
}

pub(super) fn integers(values: impl IntoIterator<Item = Option<i32>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Int32Array>())
}

pub(super) fn booleans(values: impl IntoIterator<Item = Option<bool>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<BooleanArray>())
}

/// A column of lists of strings.
pub(super) fn lists<'a>(values: impl IntoIterator<Item = Option<&'a [String]>>) -> ArrayRef {
    let field = ArrowField::new("element", ArrowType::Utf8, true);
    let mut builder = ListBuilder::new(StringBuilder::new()).with_field(field);
    for list in values {
        for item in list.into_iter().flatten() {
            builder.values().append_value(item);
        }
        builder.append(list.is_some());
    }
    Arc::new(builder.finish())
}

/// A column of one map of strings.
pub(super) fn map<'a>(
    pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<ArrayRef> {
    let names = MapFieldNames {
        entry: "key_value".to_owned(),
        key: "key".to_owned(),
        value: "value".to_owned(),
    };
    let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for (key, value) in pairs {
        builder.keys().append_value(key);
        builder.values().append_option(value);
    }
    builder
        .append(true)
        .map_err(crate::log::checkpoint::cannot_build)?;
    Ok(Arc::new(builder.finish()))
}

/// A column of values of one type; what is not of the type is null.
pub(super) fn scalars(ty: &PrimitiveType, values: &[Option<Scalar>]) -> Result<ArrayRef> {
    let data_type = DataType::Primitive(ty.clone()).to_arrow()?;
    Ok(match ty {
        PrimitiveType::Boolean => booleans(values.iter().map(|value| match value {
            Some(Scalar::Boolean(value)) => Some(*value),
            _ => None,
        })),
        PrimitiveType::String => texts(values.iter().map(|value| match value {
            Some(Scalar::String(value)) => Some(value.as_str()),
            _ => None,
        })),
        PrimitiveType::Binary => {
            let values = values.iter().map(|value| match value {
                Some(Scalar::Binary(value)) => Some(value.as_slice()),
                _ => None,
            });
            Arc::new(values.collect::<BinaryArray>())
        }
        PrimitiveType::Byte => primitive::<Int8Type>(values, data_type, |value| match value {
            Scalar::Byte(value) => Some(*value),
            _ => None,
        }),
        PrimitiveType::Short => primitive::<Int16Type>(values, data_type, |value| match value {
            Scalar::Short(value) => Some(*value),
            _ => None,
        }),
        PrimitiveType::Integer => primitive::<Int32Type>(values, data_type, |value| match value {
            Scalar::Integer(value) => Some(*value),
            _ => None,
        }),
        PrimitiveType::Long => primitive::<Int64Type>(values, data_type, |value| match value {
            Scalar::Long(value) => Some(*value),
            _ => None,
        }),
        PrimitiveType::Float => primitive::<Float32Type>(values, data_type, |value| match value {
            Scalar::Float(value) => Some(*value),
            _ => None,
        }),
        PrimitiveType::Double => primitive::<Float64Type>(values, data_type, |value| match value {
            Scalar::Double(value) => Some(*value),
            _ => None,
        }),
        PrimitiveType::Date => primitive::<Date32Type>(values, data_type, |value| match value {
            Scalar::Date(value) => Some(*value),
            _ => None,
        }),
        PrimitiveType::Timestamp | PrimitiveType::TimestampNtz => {
            primitive::<TimestampMicrosecondType>(values, data_type, |value| match value {
                Scalar::Timestamp(value) | Scalar::TimestampNtz(value) => Some(*value),
                _ => None,
            })
        }
        PrimitiveType::Decimal { scale: wanted, .. } => {
            primitive::<Decimal128Type>(values, data_type, |value| match value {
                Scalar::Decimal {
                    unscaled, scale, ..
                } if scale == wanted => Some(*unscaled),
                _ => None,
            })
        }
        PrimitiveType::Void | PrimitiveType::Variant | PrimitiveType::Unknown(_) => {
            new_null_array(&data_type, values.len())
        }
    })
}

fn primitive<T: ArrowPrimitiveType>(
    values: &[Option<Scalar>],
    data_type: ArrowType,
    native: impl Fn(&Scalar) -> Option<T::Native>,
) -> ArrayRef {
    let values = values.iter().map(|value| value.as_ref().and_then(&native));
    Arc::new(
        values
            .collect::<PrimitiveArray<T>>()
            .with_data_type(data_type),
    )
}
