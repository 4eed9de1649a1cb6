//! Rows with their ids, which they keep wherever they are moved.
//!
//! Spec: [Row Tracking](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#row-tracking).

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, UInt64Array};
use arrow_schema::SchemaRef;

use crate::data::ordered::FileRows;
use crate::error::{Code, Error, Result};
use crate::protocol::schema::{DataType, Field, Schema};
use crate::snapshot::Snapshot;

/// The column with the id of a row.
pub const ROW_ID: &str = "_row_id";
/// The column with the version that changed a row last.
pub const ROW_COMMIT_VERSION: &str = "_row_commit_version";

const ID_COLUMN: &str = "delta.rowTracking.materializedRowIdColumnName";
const VERSION_COLUMN: &str = "delta.rowTracking.materializedRowCommitVersionColumnName";

/// What the log says of the rows of one file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tracked {
    /// The id of the file's first row.
    pub(super) base_row_id: Option<i64>,
    /// The version that added the file first.
    pub(super) default_row_commit_version: Option<i64>,
}

/// The columns in which files keep ids of rows that came from other files.
pub(super) fn stored_columns(snapshot: &Snapshot) -> Result<Vec<Field>> {
    if !snapshot.properties().enable_row_tracking {
        let message = "the rows of this table have no ids: row tracking is not enabled";
        return Err(Error::invalid(Code::InvalidArgument, message));
    }
    let configuration = &snapshot.metadata().configuration;
    let stored =
        [(ID_COLUMN, ROW_ID), (VERSION_COLUMN, ROW_COMMIT_VERSION)].map(|(property, fallback)| {
            // A table without the property has no such column; the name of the result is in no file of it either way.
            let name = configuration.get(property).map_or(fallback, String::as_str);
            Field::new(name, DataType::LONG, true)
        });
    for field in &stored {
        check_free(snapshot.schema(), &field.name)?;
    }
    Ok(stored.to_vec())
}

fn check_free(schema: &Schema, name: &str) -> Result<()> {
    if schema.field(name).is_none() {
        return Ok(());
    }
    let message = "row ids need this name for a column of their own";
    Err(Error::invalid(Code::InvalidSchema, message).with("column", name))
}

/// The columns of the result, with those of row ids after them.
pub(super) fn output(schema: &Schema) -> Result<Schema> {
    let mut fields = schema.fields().to_vec();
    for name in [ROW_ID, ROW_COMMIT_VERSION] {
        check_free(schema, name)?;
        fields.push(Field::new(name, DataType::LONG, false));
    }
    Schema::new(fields)
}

/// The rows with the stored ids, which are the last two columns, completed by those that follow from the log.
pub(super) fn complete(
    file: &FileRows,
    tracked: &[Tracked],
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let (batch, positions) = (&file.rows.batch, file.rows.positions.as_ref());
    let known = tracked.get(file.place);
    let positions = positions.ok_or_else(|| corrupt("rows came without their positions"))?;
    let split = batch.num_columns().saturating_sub(2);
    let (columns, stored) = batch
        .columns()
        .split_at_checked(split)
        .unwrap_or((batch.columns(), &[]));
    let stored = |index: usize| {
        stored
            .get(index)
            .and_then(|column| column.as_primitive_opt::<Int64Type>())
    };
    let base = known.and_then(|known| known.base_row_id);
    let ids = ids(stored(0), base, positions)?;
    let version = known.and_then(|known| known.default_row_commit_version);
    let versions = filled(stored(1), batch.num_rows(), |_| version)?;
    let mut columns = columns.to_vec();
    columns.extend([ids, versions]);
    RecordBatch::try_new(Arc::clone(schema), columns)
        .map_err(|cause| corrupt("rows do not fit the table").because(cause))
}

fn ids(
    stored: Option<&Int64Array>,
    base: Option<i64>,
    positions: &UInt64Array,
) -> Result<ArrayRef> {
    let fresh = |row: usize| {
        let position = positions.values().get(row).copied();
        base?.checked_add(i64::try_from(position?).ok()?)
    };
    filled(stored, positions.len(), fresh)
}

/// The stored values, and where there is none the fresh ones.
fn filled(
    stored: Option<&Int64Array>,
    rows: usize,
    fresh: impl Fn(usize) -> Option<i64>,
) -> Result<ArrayRef> {
    let value = |row: usize| {
        let stored = stored.filter(|stored| stored.is_valid(row));
        let value = stored.and_then(|stored| stored.values().get(row).copied());
        value
            .or_else(|| fresh(row))
            .ok_or_else(|| corrupt("a file has rows without ids, though row tracking is enabled"))
    };
    let values = (0..rows).map(value).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Int64Array::from(values)))
}

fn corrupt(message: &str) -> Error {
    Error::corrupt(Code::DataCorrupt, message)
}
