//! A schema with one field changed.

use crate::error::{Code, Error, Result};
use crate::predicate::{Expression, col};
use crate::protocol::schema::{DataType, Field, Schema};

/// The names on the way to a column, of its text form.
pub(super) fn path(column: &str) -> Vec<String> {
    match col(column) {
        Expression::Column(path) => path,
        _ => vec![column.to_owned()],
    }
}

/// The schema with the field at `path` as `change` has it; `None` takes it out.
pub(super) fn changed(
    schema: &Schema,
    path: &[String],
    change: &mut dyn FnMut(&Field) -> Result<Option<Field>>,
) -> Result<Schema> {
    changed_below(schema, path, 0, change)
}

/// As [`changed`], in the struct that the first `depth` names lead to.
fn changed_below(
    schema: &Schema,
    path: &[String],
    depth: usize,
    change: &mut dyn FnMut(&Field) -> Result<Option<Field>>,
) -> Result<Schema> {
    let unknown = || {
        let message = "there is no such column";
        Error::invalid(Code::InvalidSchema, message).with("column", path.join("."))
    };
    let name = path.get(depth).ok_or_else(unknown)?;
    let is_last = depth + 1 == path.len();
    let index = schema.index_of(name).ok_or_else(unknown)?;
    let mut fields = Vec::with_capacity(schema.fields().len());
    for (at, field) in schema.fields().iter().enumerate() {
        if at != index {
            fields.push(field.clone());
        } else if is_last {
            fields.extend(change(field)?);
        } else {
            let DataType::Struct(inner) = &field.data_type else {
                return Err(unknown());
            };
            fields.push(Field {
                data_type: DataType::Struct(changed_below(inner, path, depth + 1, change)?),
                ..field.clone()
            });
        }
    }
    Schema::new(fields)
}

/// The schema with a field added at the end of the struct at `parent`, or of the table.
pub(super) fn added(schema: &Schema, parent: &[String], field: &Field) -> Result<Schema> {
    let with = |schema: &Schema| {
        if schema.field(&field.name).is_some() {
            let message = "a column of this name is there already";
            let error = Error::invalid(Code::InvalidSchema, message);
            return Err(error.with("column", &field.name));
        }
        Schema::new(schema.fields().iter().cloned().chain([field.clone()]))
    };
    if parent.is_empty() {
        return with(schema);
    }
    changed(schema, parent, &mut |column| match &column.data_type {
        DataType::Struct(inner) => Ok(Some(Field {
            data_type: DataType::Struct(with(inner)?),
            ..column.clone()
        })),
        _ => {
            let message = "only a struct column can get another field";
            Err(Error::invalid(Code::InvalidSchema, message).with("column", &column.name))
        }
    })
}
