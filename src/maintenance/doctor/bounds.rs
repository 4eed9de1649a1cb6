//! Statistics in the log against the rows: a bound that does not hold loses rows when it prunes.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use futures::TryStreamExt;
use serde_json::Value;

use crate::data::ColumnNames;
use crate::data::reader::{FindFields, ReadPlan, Reader};
use crate::error::{ErrorKind, Result};
use crate::maintenance::doctor::files::{ByColumn, data_file};
use crate::maintenance::doctor::state::State;
use crate::maintenance::doctor::{Doctor, Grade, Report};
use crate::protocol::action::Add;
use crate::protocol::schema::{DataType, PrimitiveType, Schema};
use crate::protocol::statistics::{FileStatistics, nan_possible};
use crate::protocol::value::Scalar;

const BATCH_ROWS: usize = 8_192;

/// A column with bounds: logical and physical path, and type.
pub(super) struct Leaf {
    logical: Vec<String>,
    pub(super) physical: Vec<String>,
    pub(super) data_type: PrimitiveType,
    pub(super) was_float: bool,
}

pub(super) fn leaves(schema: &Schema, names: ColumnNames) -> Vec<Leaf> {
    let mut found = Vec::new();
    let mut open = vec![(schema, Vec::new(), Vec::new())];
    while let Some((schema, logical, physical)) = open.pop() {
        for field in schema.fields() {
            let below = |path: &Vec<String>, name: String| {
                path.iter().cloned().chain([name]).collect::<Vec<_>>()
            };
            let logical = below(&logical, field.name.clone());
            let physical = below(&physical, names.of(field));
            match &field.data_type {
                DataType::Struct(inner) => open.push((inner, logical, physical)),
                DataType::Primitive(data_type) => {
                    let (data_type, was_float) = (data_type.clone(), field.was_float());
                    found.push(Leaf {
                        logical,
                        physical,
                        data_type,
                        was_float,
                    });
                }
                DataType::Array(_) | DataType::Map(_) => {}
            }
        }
    }
    found
}

/// Bounds that contradict each other or the number of rows: they prune nothing.
pub(super) fn check_json(state: &State, schema: &Schema, add: &Add, report: &mut Report) {
    let names = ColumnNames::by(state.properties().column_mapping_mode);
    let known = add
        .stats
        .as_deref()
        .filter(|text| FileStatistics::parse(text).is_some());
    let Some(stats) = known.and_then(|text| serde_json::from_str::<Value>(text).ok()) else {
        return;
    };
    let rows = stats.get("numRecords").and_then(Value::as_i64);
    for leaf in leaves(schema, names) {
        let at = |kind: &str| {
            let start = stats.get(kind)?;
            leaf.physical
                .iter()
                .try_fold(start, |value, name| value.get(name))
                .filter(|value| !value.is_null())
        };
        let nulls = at("nullCount").map(Value::as_i64);
        let odd = match nulls {
            Some(Some(nulls)) => nulls < 0 || rows.is_some_and(|rows| rows < nulls),
            Some(None) => true,
            None => false,
        };
        let bound = |kind| {
            at(kind).map(|value| Scalar::from_statistics(&value.to_string(), &leaf.data_type))
        };
        let contradict = match (bound("minValues"), bound("maxValues")) {
            (Some(Some(min)), Some(Some(max))) => min.compare(&max) == Some(Ordering::Greater),
            (Some(None), _) | (_, Some(None)) => has_bounds(&leaf.data_type),
            _ => false,
        };
        if odd || contradict {
            let message =
                "the statistics of a column contradict each other or its type: they prune nothing";
            report
                .find(Grade::Damage, "statistics", message)
                .with("column", leaf.logical.join("."));
        }
    }
}

fn has_bounds(data_type: &PrimitiveType) -> bool {
    !matches!(
        data_type,
        PrimitiveType::Binary
            | PrimitiveType::Boolean
            | PrimitiveType::Void
            | PrimitiveType::Variant
            | PrimitiveType::Unknown(_)
            // A time without a zone is valid text, but bounds nothing.
            | PrimitiveType::Timestamp
            | PrimitiveType::TimestampNtz
    )
}

/// Reads the live rows of a file and holds them against its statistics.
pub(super) async fn check_rows(
    doctor: &Doctor,
    state: &State,
    schema: &Schema,
    add: &Add,
    report: &mut Report,
) -> Result<()> {
    let mapping = state.properties().column_mapping_mode;
    let partitions = state
        .metadata
        .iter()
        .flat_map(|metadata| metadata.partition_columns.clone());
    let readable = schema
        .fields()
        .iter()
        .filter(|field| field.data_type.to_arrow().is_ok())
        .cloned();
    let table_schema = Arc::new(schema.clone());
    let plan = ReadPlan {
        table_schema,
        partition_columns: partitions.collect(),
        find: FindFields::by(mapping),
        schema: Arc::new(Schema::new(readable)?),
        predicate: None,
        prune: false,
        batch_rows: BATCH_ROWS,
        row_positions: false,
    };
    let held = hold(doctor, plan, (state, add), report).await;
    match held {
        Err(error) if error.kind() == ErrorKind::Storage => Err(error),
        Err(error) => {
            report.failed(Grade::Rows, "corrupt_file", &error);
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

async fn hold(
    doctor: &Doctor,
    plan: ReadPlan,
    (state, add): (&State, &Add),
    report: &mut Report,
) -> Result<()> {
    let names = ColumnNames::by(state.properties().column_mapping_mode);
    let leaves = leaves(&plan.schema, names);
    let reader = Reader::new(&doctor.storage, plan)?;
    let file = reader.open(&data_file(add)?).await?;
    let mut rows = file.read(0..file.parts()).await?;
    let statistics = add.stats.as_deref().and_then(FileStatistics::parse);
    let mut broken: ByColumn<&'static str> = ByColumn::new();
    while let Some(rows) = rows.try_next().await? {
        let Some(statistics) = &statistics else {
            continue;
        };
        for leaf in leaves.iter().filter(|leaf| !leaf.was_float) {
            let Some(column) = column(&rows.batch, &leaf.logical) else {
                continue;
            };
            if let Some(what) = outside(&column, leaf, statistics) {
                broken.insert(leaf.logical.clone(), what);
            }
        }
    }
    for (column, what) in broken {
        let message = format!(
            "the statistics of a column do not hold for its rows, so pruning loses rows: {what}"
        );
        report
            .find(Grade::Rows, "stale_statistics", message)
            .with("column", column.join("."));
    }
    Ok(())
}

fn column(batch: &arrow_array::RecordBatch, path: &[String]) -> Option<ArrayRef> {
    let (first, rest) = path.split_first()?;
    let mut column = Arc::clone(batch.column_by_name(first)?);
    for name in rest {
        column = Arc::clone(column.as_struct_opt()?.column_by_name(name)?);
    }
    Some(column)
}

/// Which statement about the column a row contradicts.
fn outside(
    column: &ArrayRef,
    leaf: &Leaf,
    statistics: &FileStatistics<'_>,
) -> Option<&'static str> {
    let path: Vec<&str> = leaf.physical.iter().map(String::as_str).collect();
    let (min, max) = statistics.bounds(&path, &leaf.data_type);
    if statistics.null_count(&path) == Some(0)
        && 0 < column.logical_null_count()
        && leaf.logical.len() == 1
    {
        return Some("there are nulls");
    }
    let all_null = statistics
        .null_count(&path)
        .is_some_and(|nulls| Some(nulls) == statistics.num_records());
    if all_null && column.logical_null_count() < column.len() && leaf.logical.len() == 1 {
        return Some("there are values");
    }
    if min.is_none() && max.is_none() {
        return None;
    }
    for row in (0..column.len()).filter(|row| column.is_valid(*row)) {
        let value = Scalar::from_array(column, row)?;
        let is = |bound: &Option<Scalar>, order| {
            bound
                .as_ref()
                .is_some_and(|bound| value.compare(bound) == Some(order))
        };
        let nan = match value {
            Scalar::Float(value) => value.is_nan(),
            Scalar::Double(value) => value.is_nan(),
            _ => false,
        };
        if is(&min, Ordering::Less) {
            return Some("a value is less than the least");
        }
        if is(&max, Ordering::Greater) && !(nan && nan_possible(&leaf.data_type)) {
            return Some("a value is greater than the greatest");
        }
    }
    None
}
