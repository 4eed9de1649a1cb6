//! What a table demands of its rows, and adds to them: the one operator that every written row passes.
//!
//! | rule | where it stands | what it does |
//! | --- | --- | --- |
//! | default | `CURRENT_DEFAULT` of a field | is the value of a column that the rows lack; null that is given stays null |
//! | generated column | `delta.generationExpression` of a field | is computed if the rows lack it; if they have it, they must agree, null with null |
//! | not null | the schema | see [`enforce`](crate::data::enforce) |
//! | invariant | `delta.invariants` of a field | must be true: false and null are refused |
//! | CHECK constraint | the property `delta.constraints.NAME` | must be true: false and null are refused |
//!
//! A rule that cannot be evaluated refuses the write before a row is written, by the name of the rule. Messages name
//! rules and columns and count rows; they never hold a value.
//!
//! Spec: [Column Invariants](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#column-invariants),
//! [CHECK Constraints](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#check-constraints),
//! [Generated Columns](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#generated-columns),
//! [Default Columns](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#default-columns).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{Array, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::{Field as ArrowField, Schema as ArrowSchema, SchemaRef};

use crate::data::enforce::conform_batch;
use crate::error::{Code, Error, Result};
use crate::predicate::{BoundExpression, BoundPredicate, Comparison, Expression, Predicate};
use crate::protocol::schema::{DataType, Field, Schema};

mod declared;
#[cfg(test)]
mod tests;

use declared::{Declared, Kind};

/// The property prefix of CHECK constraints.
const CONSTRAINTS: &str = "delta.constraints.";

/// The rules of a table, ready to be held against rows.
#[derive(Debug)]
pub(crate) struct Rules {
    schema: Arc<Schema>,
    arrow: SchemaRef,
    defaults: Vec<Column>,
    generated: Vec<Generated>,
    conditions: Vec<Condition>,
}

/// Whether rows can be held against a CHECK constraint of this text.
///
/// # Errors
///
/// [`Unsupported`](crate::error::ErrorKind::Unsupported), naming the constraint, if they cannot.
pub(crate) fn check_condition(name: &str, sql: &str, schema: &Schema) -> Result<()> {
    let declared = Declared {
        kind: Kind::Check,
        name: name.to_owned(),
        sql: sql.to_owned(),
    };
    let test = Predicate::from(declared.expression(0)?).bind(schema);
    test.map(drop)
        .map_err(|cause| declared.not_evaluated(cause))
}

/// What makes a column.
#[derive(Debug)]
struct Column {
    index: usize,
    values: BoundExpression,
}

/// A column that is computed from others.
#[derive(Debug)]
struct Generated {
    column: Column,
    /// Whether a value that was given is the one that is computed.
    agrees: Condition,
}

/// What must be true of every row.
#[derive(Debug)]
struct Condition {
    kind: Kind,
    /// Of the constraint, or of the column.
    name: String,
    test: BoundPredicate,
}

impl Rules {
    /// The rules that a schema and the properties of its table make. Expressions that ask for the time get this one.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::error::ErrorKind::Unsupported), naming the column or the constraint, if a rule cannot be
    /// read or evaluated.
    pub(crate) fn of(
        schema: &Arc<Schema>,
        properties: &BTreeMap<String, String>,
        now_millis: i64,
    ) -> Result<Self> {
        let mut rules = Self {
            arrow: schema.to_arrow()?,
            schema: Arc::clone(schema),
            defaults: Vec::new(),
            generated: Vec::new(),
            conditions: Vec::new(),
        };
        let now_micros = now_millis.saturating_mul(1000);
        for (index, field) in schema.fields().iter().enumerate() {
            for declared in Declared::of(field)? {
                rules.declare(index, field, &declared, now_micros)?;
            }
        }
        for (key, sql) in properties {
            if let Some(name) = key.strip_prefix(CONSTRAINTS) {
                let declared = Declared {
                    kind: Kind::Check,
                    name: name.to_owned(),
                    sql: sql.clone(),
                };
                let condition = rules.condition(&declared, declared.expression(now_micros)?)?;
                rules.conditions.push(condition);
            }
        }
        Ok(rules)
    }

    /// Types and not null only: for rows that were in the table before.
    pub(crate) fn of_types(self) -> Self {
        Self {
            defaults: Vec::new(),
            generated: Vec::new(),
            conditions: Vec::new(),
            ..self
        }
    }

    fn declare(
        &mut self,
        index: usize,
        field: &Field,
        declared: &Declared,
        now_micros: i64,
    ) -> Result<()> {
        let expression = declared.expression(now_micros)?;
        match declared.kind {
            Kind::Invariant | Kind::Check => {
                let condition = self.condition(declared, expression)?;
                self.conditions.push(condition);
            }
            Kind::Default => {
                let values = self.values(field, declared, &expression)?;
                if !values.columns().is_empty() {
                    let message = "the default of a column depends on other columns";
                    return Err(declared.refused(message));
                }
                self.defaults.push(Column { index, values });
            }
            Kind::Generated => {
                if declared.asks_for_time() {
                    let message = "a generated column depends on the time of the write";
                    return Err(declared.refused(message));
                }
                let values = self.values(field, declared, &expression)?;
                let DataType::Primitive(ty) = &field.data_type else {
                    return Err(declared.refused("a generated column is a struct, list or map"));
                };
                let computed = expression.cast(ty.clone());
                let given = Expression::Column(vec![field.name.clone()]);
                let agrees = given.compare(Comparison::NullSafeEq, computed);
                let agrees = self.condition(declared, agrees.into())?;
                let column = Column { index, values };
                self.generated.push(Generated { column, agrees });
            }
        }
        Ok(())
    }

    fn condition(&self, declared: &Declared, expression: Expression) -> Result<Condition> {
        let test = Predicate::from(expression).bind(&self.schema);
        Ok(Condition {
            kind: declared.kind,
            name: declared.name.clone(),
            test: test.map_err(|cause| declared.not_evaluated(cause))?,
        })
    }

    fn values(
        &self,
        field: &Field,
        declared: &Declared,
        expression: &Expression,
    ) -> Result<BoundExpression> {
        let bound = expression.bind(&self.schema);
        bound
            .and_then(|bound| bound.assigned_to(&field.name, &field.data_type))
            .map_err(|cause| declared.not_evaluated(cause))
    }

    /// The rows of `batch` as exactly the columns of the table, with what the table adds to them, once they satisfy
    /// every rule. Columns are found by name, without regard to case.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::error::ErrorKind::Invalid), code `RowsRejected`, naming the column or the constraint.
    pub(crate) fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let lacks = |index: usize| {
            let schema = batch.schema_ref();
            let mut names = schema
                .fields()
                .iter()
                .map(|field| self.schema.index_of(field.name()));
            !names.any(|place| place == Some(index))
        };
        let defaults: Vec<_> = self.defaults.iter().filter(|it| lacks(it.index)).collect();
        let computed: Vec<_> = self
            .generated
            .iter()
            .map(|it| &it.column)
            .filter(|it| lacks(it.index))
            .collect();
        let rows = if defaults.is_empty() && computed.is_empty() {
            conform_batch(batch, &self.schema, &self.arrow)?
        } else {
            self.completed(batch, &defaults, &computed)?
        };
        for generated in &self.generated {
            if lacks(generated.column.index) {
                continue;
            }
            generated.agrees.check(&rows)?;
        }
        for condition in &self.conditions {
            condition.check(&rows)?;
        }
        Ok(rows)
    }

    fn completed(
        &self,
        batch: &RecordBatch,
        defaults: &[&Column],
        computed: &[&Column],
    ) -> Result<RecordBatch> {
        let batch = self.with(batch, defaults)?;
        if computed.is_empty() {
            return conform_batch(&batch, &self.schema, &self.arrow);
        }
        // The columns to come may be missing from what they are computed from.
        let is_computed = |index: usize| computed.iter().any(|column| column.index == index);
        let fields = self
            .schema
            .fields()
            .iter()
            .enumerate()
            .map(|(index, field)| Field {
                nullable: field.nullable || is_computed(index),
                ..field.clone()
            });
        let loose = Schema::new(fields)?;
        let rows = conform_batch(&batch, &loose, &loose.to_arrow()?)?;
        let kept: Vec<usize> = (0..rows.num_columns())
            .filter(|index| !is_computed(*index))
            .collect();
        let known = rows.project(&kept).map_err(unfit)?;
        conform_batch(&self.with(&known, computed)?, &self.schema, &self.arrow)
    }

    /// The batch and these columns after its own.
    fn with(&self, batch: &RecordBatch, columns: &[&Column]) -> Result<RecordBatch> {
        let mut fields = batch.schema_ref().fields().to_vec();
        let mut arrays = batch.columns().to_vec();
        for column in columns {
            let Some(field) = self.schema.fields().get(column.index) else {
                continue;
            };
            let values = column.values.evaluate(batch);
            let values = values.map_err(|cause| {
                let message = "the value of a column cannot be computed in some rows";
                rejected(message, &cause)
                    .with("column", &field.name)
                    .because(cause)
            })?;
            let ty = values.data_type().clone();
            fields.push(Arc::new(ArrowField::new(&field.name, ty, true)));
            arrays.push(values);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = Arc::new(ArrowSchema::new(fields));
        RecordBatch::try_new_with_options(schema, arrays, &options).map_err(unfit)
    }
}

impl Condition {
    fn check(&self, rows: &RecordBatch) -> Result<()> {
        let place = match self.kind {
            Kind::Check => "constraint",
            _ => "column",
        };
        let answers: BooleanArray = self.test.evaluate(rows).map_err(|cause| {
            let message = format!("{} cannot be evaluated for some rows", self.kind.of());
            let error = rejected(&message, &cause).with(place, &self.name);
            error.because(cause)
        })?;
        // Only true is true enough: null is a violation, too.
        let broken = answers.len() - answers.true_count();
        if broken == 0 {
            return Ok(());
        }
        let message = match self.kind {
            Kind::Generated => "a generated column has other values than those it is computed as",
            Kind::Invariant => "rows break the invariant of a column",
            _ => "rows break a CHECK constraint",
        };
        let mut error = Error::invalid(Code::RowsRejected, message).with(place, &self.name);
        if self.kind == Kind::Check {
            for column in self.test.columns() {
                error = error.with("column", column.name());
            }
        }
        Err(error.with("rows", broken))
    }
}

/// A refusal that counts the rows that the cause counts.
fn rejected(message: &str, cause: &Error) -> Error {
    let error = Error::invalid(Code::RowsRejected, message);
    match cause.context_value("rows") {
        Some(rows) => error.with("rows", rows),
        None => error,
    }
}

fn unfit(cause: arrow_schema::ArrowError) -> Error {
    Error::invalid(Code::RowsRejected, "the rows do not fit the table").because(cause)
}
