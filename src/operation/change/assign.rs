//! New values for columns.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::{Field as ArrowField, Schema as ArrowSchema};

use crate::data::layout::nullable;
use crate::error::{Code, Error, Result};
use crate::predicate::{BoundExpression, Expression};
use crate::protocol::arrow::conform;
use crate::protocol::schema::{DataType, Field, Schema};

/// A column and the expression for its value.
pub(crate) type Set = (String, Expression);

/// The note of a column that says what it is computed from.
const GENERATED: &str = "delta.generationExpression";

/// Expressions for some columns of a table, over given rows.
#[derive(Debug, Clone)]
pub(crate) struct Assignments {
    assignments: Vec<Assignment>,
    /// Columns that are computed from others and not set: who writes the rows computes them anew.
    computed: Vec<usize>,
}

#[derive(Debug, Clone)]
struct Assignment {
    /// Where the column stands in the table.
    place: usize,
    /// The column, which may be null until the writer says otherwise.
    field: Field,
    value: Value,
}

#[derive(Debug, Clone)]
enum Value {
    /// A struct, list or map of the given rows, by the names on the way to it.
    Whole(Vec<String>),
    Computed(BoundExpression),
}

impl Assignments {
    /// Binds expressions to the columns of `table` that they are for, and to those of `given` that they name. What asks
    /// for the time gets this one.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if there is no such column, if one is set twice, or if its type has no
    /// place for the values.
    pub(crate) fn bind(
        table: &Schema,
        given: &Schema,
        sets: &[Set],
        now_micros: i64,
    ) -> Result<Self> {
        let mut bound: Vec<Assignment> = Vec::with_capacity(sets.len());
        for (column, expression) in sets {
            let place = table.index_of(column);
            let found = place.and_then(|place| Some((place, table.fields().get(place)?)));
            let Some((place, field)) = found else {
                let message = "there is no such column to set; only whole columns are set, not fields of a struct";
                return Err(invalid(message, column));
            };
            if bound.iter().any(|other| other.place == place) {
                return Err(invalid("the column is set twice", column));
            }
            let field = Field {
                data_type: nullable(&field.data_type),
                nullable: true,
                ..field.clone()
            };
            let value = value(given, &field, expression.clone().at(now_micros))?;
            bound.push(Assignment {
                place,
                field,
                value,
            });
        }
        let is_set = |place: usize| bound.iter().any(|assignment| assignment.place == place);
        let fields = table.fields().iter().enumerate();
        let computed = fields
            .filter(|(place, field)| field.metadata.contains_key(GENERATED) && !is_set(*place));
        Ok(Self {
            computed: computed.map(|(place, _)| place).collect(),
            assignments: bound,
        })
    }

    /// Rows of the table with the new values, which are computed of `given`, row by row the same rows.
    pub(crate) fn applied(&self, rows: &RecordBatch, given: &RecordBatch) -> Result<RecordBatch> {
        let mut fields: Vec<_> = rows.schema_ref().fields().iter().cloned().collect();
        let mut columns = rows.columns().to_vec();
        for assignment in &self.assignments {
            let values = assignment.values(given)?;
            let places = (
                fields.get_mut(assignment.place),
                columns.get_mut(assignment.place),
            );
            if let (Some(field), Some(column)) = places {
                *field = assignment.arrow(&values);
                *column = values;
            }
        }
        for place in self.computed.iter().rev() {
            if *place < fields.len() {
                fields.remove(*place);
                columns.remove(*place);
            }
        }
        assembled(fields, columns, rows.num_rows())
    }

    /// New rows of the table: of the columns that are set, the values; others are not there.
    pub(crate) fn made(&self, given: &RecordBatch) -> Result<RecordBatch> {
        let mut fields = Vec::with_capacity(self.assignments.len());
        let mut columns = Vec::with_capacity(self.assignments.len());
        for assignment in &self.assignments {
            let values = assignment.values(given)?;
            fields.push(assignment.arrow(&values));
            columns.push(values);
        }
        assembled(fields, columns, given.num_rows())
    }
}

impl Assignment {
    fn values(&self, given: &RecordBatch) -> Result<ArrayRef> {
        match &self.value {
            Value::Whole(path) => conform(
                &column(given, path)?,
                &self.field.data_type,
                &self.field.name,
            ),
            Value::Computed(expression) => expression.evaluate(given),
        }
    }

    fn arrow(&self, values: &ArrayRef) -> Arc<ArrowField> {
        let data_type = values.data_type().clone();
        Arc::new(ArrowField::new(&self.field.name, data_type, true))
    }
}

/// What makes the values of a column.
fn value(given: &Schema, field: &Field, expression: Expression) -> Result<Value> {
    if let (Expression::Column(path), false) = (&expression, is_plain(&field.data_type)) {
        return Ok(Value::Whole(resolve(given, path)?));
    }
    let bound = expression.bind(given)?;
    let assigned = bound.assigned_to(&field.name, &field.data_type)?;
    Ok(Value::Computed(assigned))
}

fn is_plain(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Primitive(_))
}

/// The path as the schema writes it.
fn resolve(schema: &Schema, path: &[String]) -> Result<Vec<String>> {
    let missing = || invalid("there is no such column", &path.join("."));
    let mut names = Vec::with_capacity(path.len());
    let mut fields = Some(schema);
    for name in path {
        let field = fields
            .and_then(|fields| fields.field(name))
            .ok_or_else(missing)?;
        names.push(field.name.clone());
        fields = match &field.data_type {
            DataType::Struct(inner) => Some(inner),
            _ => None,
        };
    }
    Ok(names)
}

/// The values at a path; null where a struct on the way is.
fn column(rows: &RecordBatch, path: &[String]) -> Result<ArrayRef> {
    let lacks = || invalid("the rows lack a column", &path.join("."));
    let (first, rest) = path.split_first().ok_or_else(lacks)?;
    let mut array = rows.column_by_name(first).cloned().ok_or_else(lacks)?;
    for name in rest {
        let parent = array.as_struct_opt().ok_or_else(lacks)?.clone();
        let child = parent.column_by_name(name).cloned().ok_or_else(lacks)?;
        array = match parent.logical_nulls() {
            Some(nulls) if 0 < nulls.null_count() => {
                let there = arrow_array::BooleanArray::new(nulls.inner().clone(), None);
                let none = new_null_array(child.data_type(), child.len());
                arrow_select::zip::zip(&there, &child, &none).map_err(unfit)?
            }
            _ => child,
        };
    }
    Ok(array)
}

fn assembled(
    fields: Vec<Arc<ArrowField>>,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let schema = Arc::new(ArrowSchema::new(fields));
    RecordBatch::try_new_with_options(schema, columns, &options).map_err(unfit)
}

fn unfit(cause: arrow_schema::ArrowError) -> Error {
    let message = "the new values do not fit the table";
    Error::invalid(Code::RowsRejected, message).because(cause)
}

fn invalid(message: impl Into<String>, column: &str) -> Error {
    Error::invalid(Code::InvalidArgument, message).with("column", column)
}
