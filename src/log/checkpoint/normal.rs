//! File actions of any origin in the columns that a checkpoint is made from.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, StringArray, new_null_array,
};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{Field as ArrowField, Schema as ArrowSchema};

use crate::error::Result;
use crate::log::checkpoint::schema::{self, STATS_PARSED};
use crate::log::checkpoint::{cannot_build, cells, statistics};
use crate::log::files::FileBatch;
use crate::log::removes::RemoveBatch;
use crate::protocol::arrow::conform;
use crate::protocol::schema::{PrimitiveType, Schema};
use crate::protocol::value::Scalar;

/// Adds in the columns of a checkpoint, and their partition values in columns of their own.
pub(super) struct Normal {
    pub(super) batch: RecordBatch,
    /// Whether every partition value is of its column's type.
    pub(super) partitions_are_typed: bool,
}

/// Under which name [`Normal`] has the values of a partition column. No field of an action is called so.
pub(super) fn partition_column(index: usize) -> String {
    format!("partition/{index}")
}

/// Adds in the columns of a checkpoint.
pub(super) fn adds(
    files: &FileBatch,
    partition: &[(String, PrimitiveType)],
    instants: &BTreeSet<Vec<String>>,
) -> Result<Normal> {
    let mut columns = known(files.batch(), &schema::add()?)?;
    for (name, array) in &mut columns {
        match name.as_str() {
            "stats" => *array = all_stats(files, array, instants),
            // A checkpoint is no commit: nothing in it changes data.
            "dataChange" => *array = unset(files.len()),
            _ => {}
        }
    }
    let mut typed = true;
    for (index, (name, ty)) in partition.iter().enumerate() {
        let values = (0..files.len()).map(|row| {
            let text = files.partition_value(row, name).flatten();
            Scalar::from_partition_value(text, ty).ok()
        });
        let values: Vec<Option<Scalar>> = values.collect();
        let array = cells::scalars(ty, &values)?;
        let lost = (0..files.len()).any(|row| {
            let null = matches!(values.get(row), Some(Some(Scalar::Null)));
            array.is_null(row) && !null
        });
        typed = typed && !lost;
        columns.push((partition_column(index), array));
    }
    Ok(Normal {
        batch: batch_of(columns, files.len())?,
        partitions_are_typed: typed,
    })
}

/// Removes in the columns of a checkpoint.
pub(super) fn removes(files: &RemoveBatch) -> Result<RecordBatch> {
    let mut columns = known(files.batch(), &schema::remove()?)?;
    for (name, array) in &mut columns {
        if name == "dataChange" {
            *array = unset(files.len());
        }
    }
    batch_of(columns, files.len())
}

fn known(batch: &RecordBatch, schema: &Schema) -> Result<Vec<(String, ArrayRef)>> {
    let column = |field: &crate::protocol::schema::Field| {
        let array = match batch.column_by_name(&field.name) {
            Some(array) => conform(array, &field.data_type, &field.name)?,
            None => new_null_array(&field.data_type.to_arrow()?, batch.num_rows()),
        };
        Ok((field.name.clone(), array))
    };
    schema.fields().iter().map(column).collect()
}

/// Statistics as JSON, taken from typed columns where there is no text.
fn all_stats(files: &FileBatch, texts: &ArrayRef, instants: &BTreeSet<Vec<String>>) -> ArrayRef {
    let parsed = files
        .batch()
        .column_by_name(STATS_PARSED)
        .and_then(|array| array.as_struct_opt());
    let Some(parsed) = parsed.filter(|_| 0 < texts.null_count()) else {
        return Arc::clone(texts);
    };
    let made = statistics::to_json(parsed, instants);
    let stats = made
        .iter()
        .enumerate()
        .map(|(row, made)| files.stats(row).or(made.as_deref()));
    Arc::new(stats.collect::<StringArray>())
}

fn unset(rows: usize) -> ArrayRef {
    Arc::new(BooleanArray::new(BooleanBuffer::new_unset(rows), None))
}

fn batch_of(columns: Vec<(String, ArrayRef)>, rows: usize) -> Result<RecordBatch> {
    let fields = columns
        .iter()
        .map(|(name, array)| ArrowField::new(name, array.data_type().clone(), true));
    let schema = Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, arrays, &options).map_err(cannot_build)
}
