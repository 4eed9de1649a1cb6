//! The rows of the source, in memory.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;
use futures::TryStreamExt;

use crate::data::layout::nullable_schema;
use crate::error::{Code, Error, Result};
use crate::operation::rows::Batches;
use crate::protocol::arrow::conform;
use crate::protocol::schema::Schema;

/// The rows of a source.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// Its columns, all of which may be null.
    pub(super) schema: Arc<Schema>,
    /// Its rows.
    pub(super) rows: RecordBatch,
}

impl Source {
    /// Takes the rows in. All batches have the columns of the first; a source without batches has those of the table.
    pub(super) async fn collect(batches: Batches, table: &Schema, limit: u64) -> Result<Self> {
        let mut batches = batches.into_stream();
        let mut form: Option<(Arc<Schema>, SchemaRef)> = None;
        let mut taken: Vec<RecordBatch> = Vec::new();
        let mut bytes = 0_u64;
        while let Some(batch) = batches.try_next().await.map_err(source_failed)? {
            bytes = bytes.saturating_add(size_of_rows(&batch));
            check_size(bytes, limit)?;
            let (schema, arrow) = match &form {
                Some(form) => form,
                None => form.insert(form_of(&Schema::from_arrow(&batch.schema())?)?),
            };
            taken.push(conformed(&batch, schema, arrow)?);
        }
        let (schema, arrow) = match form {
            Some(form) => form,
            None => form_of(table)?,
        };
        let rows = concat_batches(&arrow, &taken).map_err(unfit)?;
        if u32::try_from(rows.num_rows()).is_err() {
            return Err(too_large(limit));
        }
        Ok(Self { schema, rows })
    }

    /// Rows by number, in any order and as often as they are named.
    pub(super) fn take(&self, numbers: Vec<u32>) -> Result<RecordBatch> {
        take_record_batch(&self.rows, &UInt32Array::from(numbers)).map_err(unfit)
    }
}

/// What the rows of a batch take: batches that are slices of one share its buffers.
fn size_of_rows(batch: &RecordBatch) -> u64 {
    let size = |column: &ArrayRef| match column.to_data().get_slice_memory_size() {
        Ok(bytes) => bytes,
        Err(_) => column.get_array_memory_size(),
    };
    batch
        .columns()
        .iter()
        .map(|column| size(column) as u64)
        .fold(0, u64::saturating_add)
}

/// Refuses sources that take more memory than they may.
pub(super) fn check_size(bytes: u64, limit: u64) -> Result<()> {
    match bytes <= limit {
        true => Ok(()),
        false => Err(too_large(limit)),
    }
}

fn form_of(schema: &Schema) -> Result<(Arc<Schema>, SchemaRef)> {
    let schema = nullable_schema(schema);
    let arrow = schema.to_arrow()?;
    Ok((Arc::new(schema), arrow))
}

fn conformed(batch: &RecordBatch, schema: &Schema, arrow: &SchemaRef) -> Result<RecordBatch> {
    if batch.num_columns() != schema.fields().len() {
        let message = "the batches of the source have different columns";
        return Err(Error::invalid(Code::RowsRejected, message));
    }
    let columns = schema.fields().iter().map(|field| {
        let column = batch.column_by_name(&field.name).ok_or_else(|| {
            let message = "a batch of the source lacks a column of the first one";
            Error::invalid(Code::RowsRejected, message).with("column", &field.name)
        })?;
        conform(column, &field.data_type, &field.name)
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(arrow), columns, &options).map_err(unfit)
}

fn too_large(limit: u64) -> Error {
    let message = "the source of a merge takes more memory than it may; merge it in parts, or raise \
                   `source_bytes_max`";
    Error::invalid(Code::LimitExceeded, message).with("limit", limit)
}

fn source_failed(cause: crate::operation::rows::SourceError) -> Error {
    let message = "the stream of rows to merge failed; nothing was committed";
    Error::invalid(Code::InvalidArgument, message).because(cause)
}

fn unfit(cause: arrow_schema::ArrowError) -> Error {
    let message = "the rows of the source do not fit together";
    Error::invalid(Code::RowsRejected, message).because(cause)
}

#[cfg(test)]
mod tests {
    use arrow_array::Int64Array;

    use super::*;
    use crate::protocol::schema::{DataType, Field};

    #[tokio::test]
    async fn slices_of_one_batch_are_counted_once() {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..4096));
        let whole = RecordBatch::try_from_iter([("id", ids)]).unwrap();
        let slices: Vec<RecordBatch> = (0..64).map(|at| whole.slice(at * 64, 64)).collect();
        let table = Schema::new([Field::new("id", DataType::LONG, true)]).unwrap();
        let all = 4096 * 8;
        let source = Source::collect(slices.clone().into(), &table, all).await;
        assert_eq!(source.unwrap().rows.num_rows(), 4096);
        let error = Source::collect(slices.into(), &table, all - 1).await;
        assert_eq!(error.unwrap_err().code(), Code::LimitExceeded);
    }
}
