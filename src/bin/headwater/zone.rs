//! Time zones by offset: the text formats of Arrow know zones by name only with a database of them, and a table's
//! timestamps are all in UTC.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Fields, Schema};

use crate::Failure;

/// The schema with UTC as the offset `+00:00`.
pub(crate) fn by_offset(schema: &Schema) -> Schema {
    Schema::new(fields(schema.fields()))
}

/// The batch with UTC as the offset `+00:00`; no value changes.
pub(crate) fn batch_by_offset(batch: &RecordBatch) -> Result<RecordBatch, Failure> {
    let schema = Arc::new(by_offset(batch.schema_ref()));
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| arrow_cast::cast(column, field.data_type()));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema, columns, &rows)?)
}

fn fields(fields: &Fields) -> Fields {
    fields.iter().map(|inner| Arc::new(field(inner))).collect()
}

fn field(field: &Field) -> Field {
    let data_type = match field.data_type() {
        DataType::Timestamp(unit, Some(zone)) if zone.as_ref() == "UTC" => {
            DataType::Timestamp(*unit, Some("+00:00".into()))
        }
        DataType::Struct(inner) => DataType::Struct(fields(inner)),
        DataType::List(element) => DataType::List(Arc::new(self::field(element))),
        DataType::Map(entries, sorted) => DataType::Map(Arc::new(self::field(entries)), *sorted),
        other => other.clone(),
    };
    field.clone().with_data_type(data_type)
}
