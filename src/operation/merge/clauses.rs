//! Which clause is for a row, and what it does to it.
//!
//! Conditions and values see one batch: the row of the source as the struct `source`, the row of the table as the struct
//! `target`.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, StructArray};
use arrow_schema::{Field as ArrowField, Schema as ArrowSchema};
use arrow_select::filter::filter_record_batch;

use crate::error::{Code, Error, Result};
use crate::operation::change::assign::{Assignments, Set};
use crate::operation::change::timed;
use crate::predicate::{BoundPredicate, Expression, Predicate};
use crate::protocol::schema::{DataType, Field, Schema};

/// The struct of the source's columns.
const SOURCE: &str = "source";
/// The struct of the table's columns.
const TARGET: &str = "target";

/// A clause as it was written.
#[derive(Clone)]
pub(super) struct Clause {
    pub(super) condition: Option<Predicate>,
    pub(super) action: Action,
}

/// What a clause does.
#[derive(Clone)]
pub(super) enum Action {
    /// Sets or inserts these.
    Values(Vec<Set>),
    /// Sets or inserts all columns that the source has.
    All,
    /// Deletes.
    Delete,
}

/// The clauses as they were written.
#[derive(Clone, Default)]
pub(super) struct Written {
    pub(super) matched: Vec<Clause>,
    pub(super) not_matched: Vec<Clause>,
    pub(super) by_source: Vec<Clause>,
}

impl Written {
    pub(super) fn is_empty(&self) -> bool {
        self.matched.is_empty() && self.not_matched.is_empty() && self.by_source.is_empty()
    }
}

/// Clauses of one kind, bound.
#[derive(Debug)]
pub(super) struct Clauses {
    clauses: Vec<Bound>,
    sees: Sees,
}

/// Which rows the clauses of a kind see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sees {
    Both,
    Source,
    Target,
}

#[derive(Debug)]
struct Bound {
    condition: Option<BoundPredicate>,
    /// `None` deletes.
    values: Option<Assignments>,
}

impl Clauses {
    /// Binds clauses that see these rows.
    pub(super) fn bind(
        clauses: &[Clause],
        (sees, now_micros): (Sees, i64),
        source: &Schema,
        table: &Schema,
    ) -> Result<Self> {
        let given = given_schema(sees, source, table)?;
        let assigned = |sets: &[Set]| Assignments::bind(table, &given, sets, now_micros);
        let bound = clauses.iter().map(|clause| {
            let condition = clause.condition.as_ref();
            let condition = condition.map(|it| timed(it, now_micros).bind(&given));
            let values = match &clause.action {
                Action::Delete => None,
                Action::Values(sets) => Some(assigned(sets)?),
                Action::All => Some(assigned(&all_columns(source, table))?),
            };
            Ok(Bound {
                condition: condition.transpose()?,
                values,
            })
        });
        let clauses = bound.collect::<Result<_>>()?;
        Ok(Self { clauses, sees })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.clauses.is_empty()
    }

    /// The columns of the table that conditions look at, by the names on the way to them.
    pub(super) fn target_columns(&self) -> impl Iterator<Item = &[String]> {
        let conditions = self.clauses.iter().filter_map(|it| it.condition.as_ref());
        let columns = conditions.flat_map(|condition| condition.columns());
        columns.filter_map(|column| match column.path.split_first() {
            Some((root, rest)) if root == TARGET => Some(rest),
            _ => None,
        })
    }

    /// Whether a clause has a condition.
    pub(super) fn has_conditions(&self) -> bool {
        self.clauses.iter().any(|clause| clause.condition.is_some())
    }

    /// The batch that the clauses see.
    pub(super) fn given(
        &self,
        source: Option<&RecordBatch>,
        target: Option<&RecordBatch>,
    ) -> Result<RecordBatch> {
        let sides = [(SOURCE, source), (TARGET, target)];
        let mut fields = Vec::with_capacity(2);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(2);
        let mut rows = 0;
        for (name, side) in sides {
            let Some(side) = side.filter(|_| self.sees(name)) else {
                continue;
            };
            rows = side.num_rows();
            let parts = side.schema_ref().fields().clone();
            let column =
                StructArray::try_new_with_length(parts, side.columns().to_vec(), None, rows);
            let column = column.map_err(unfit)?;
            fields.push(ArrowField::new(name, column.data_type().clone(), false));
            columns.push(Arc::new(column));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::new(ArrowSchema::new(fields));
        RecordBatch::try_new_with_options(schema, columns, &options).map_err(unfit)
    }

    /// For each row, the clause that is for it, if one is.
    pub(super) fn choose(&self, given: &RecordBatch) -> Result<Vec<Option<usize>>> {
        let mut chosen: Vec<Option<usize>> = vec![None; given.num_rows()];
        for (number, clause) in self.clauses.iter().enumerate() {
            let mask = match &clause.condition {
                Some(condition) => Some(condition.evaluate(given)?),
                None => None,
            };
            let is_true = |row: usize| {
                mask.as_ref()
                    .is_none_or(|mask| mask.is_valid(row) && mask.value(row))
            };
            for (row, chosen) in chosen.iter_mut().enumerate() {
                if chosen.is_none() && is_true(row) {
                    *chosen = Some(number);
                }
            }
        }
        Ok(chosen)
    }

    /// Rows that a clause deletes, of rows and the clauses that are for them.
    pub(super) fn deleted(
        &self,
        rows: &RecordBatch,
        chosen: &[Option<usize>],
    ) -> Result<RecordBatch> {
        let deletes = |chosen: &Option<usize>| {
            let clause = chosen.and_then(|number| self.clauses.get(number));
            clause.is_some_and(|clause| clause.values.is_none())
        };
        let mask: BooleanArray = chosen.iter().map(|it| Some(deletes(it))).collect();
        filter_record_batch(rows, &mask).map_err(unfit)
    }

    /// Rows that clauses change, as they were and as they become.
    pub(super) fn updated(
        &self,
        rows: &RecordBatch,
        given: &RecordBatch,
        chosen: &[Option<usize>],
    ) -> Result<Vec<(RecordBatch, RecordBatch)>> {
        let mut updated = Vec::new();
        for (values, rows, given) in self.by_values(rows, given, chosen)? {
            let after = values.applied(&rows, &given)?;
            updated.push((rows, after));
        }
        Ok(updated)
    }

    /// Rows that clauses insert.
    pub(super) fn inserted(
        &self,
        given: &RecordBatch,
        chosen: &[Option<usize>],
    ) -> Result<Vec<RecordBatch>> {
        let parts = self.by_values(given, given, chosen)?;
        let made = parts
            .into_iter()
            .map(|(values, _, given)| values.made(&given));
        made.collect()
    }

    /// The rows of each clause that sets or inserts.
    fn by_values(
        &self,
        rows: &RecordBatch,
        given: &RecordBatch,
        chosen: &[Option<usize>],
    ) -> Result<Vec<(&Assignments, RecordBatch, RecordBatch)>> {
        let mut parts = Vec::new();
        for (number, clause) in self.clauses.iter().enumerate() {
            let Some(values) = &clause.values else {
                continue;
            };
            let mask: BooleanArray = chosen.iter().map(|it| Some(*it == Some(number))).collect();
            if mask.true_count() == 0 {
                continue;
            }
            let rows = filter_record_batch(rows, &mask).map_err(unfit)?;
            let given = filter_record_batch(given, &mask).map_err(unfit)?;
            parts.push((values, rows, given));
        }
        Ok(parts)
    }

    fn sees(&self, side: &str) -> bool {
        match self.sees {
            Sees::Both => true,
            Sees::Source => side == SOURCE,
            Sees::Target => side == TARGET,
        }
    }
}

fn given_schema(sees: Sees, source: &Schema, table: &Schema) -> Result<Schema> {
    let side =
        |name: &str, schema: &Schema| Field::new(name, DataType::Struct(schema.clone()), false);
    let mut fields = Vec::with_capacity(2);
    if sees != Sees::Target {
        fields.push(side(SOURCE, source));
    }
    if sees != Sees::Source {
        fields.push(side(TARGET, table));
    }
    Schema::new(fields)
}

/// Every column of the table that the source has, to the source's value.
fn all_columns(source: &Schema, table: &Schema) -> Vec<Set> {
    let shared = table.fields().iter().filter_map(|field| {
        let own = source.field(&field.name)?;
        let value = Expression::Column(vec![SOURCE.to_owned(), own.name.clone()]);
        Some((field.name.clone(), value))
    });
    shared.collect()
}

fn unfit(cause: arrow_schema::ArrowError) -> Error {
    let message = "rows of the source and of the table do not fit together";
    Error::invalid(Code::RowsRejected, message).because(cause)
}

impl Clause {
    /// What the clause does and when, for the parameters of the operation. `kept`: what it does unless it deletes.
    pub(super) fn described(&self, kept: &str) -> serde_json::Value {
        let action = match &self.action {
            Action::Delete => "delete",
            Action::Values(_) | Action::All => kept,
        };
        match &self.condition {
            Some(condition) => {
                serde_json::json!({ "predicate": condition.to_string(), "actionType": action })
            }
            None => serde_json::json!({ "actionType": action }),
        }
    }
}
