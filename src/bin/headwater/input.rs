//! Files of rows, in the formats people have.

use std::fs::File;
use std::io::{BufReader, Seek};
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};
use headwater::protocol::schema::Schema;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::{Failure, ndjson, zone};

/// Record batches of one file.
pub(crate) type Rows = Box<dyn Iterator<Item = Result<RecordBatch, Failure>> + Send>;

const BATCH_ROWS: usize = 8_192;

/// Opens a file by its ending. Text formats take column names from the file and types from the table.
pub(crate) fn open(path: &Path, table: &Schema) -> Result<Rows, Failure> {
    let named = |error: Failure| -> Failure { format!("{}: {error}", path.display()).into() };
    let file = File::open(path).map_err(|error| named(error.into()))?;
    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default();
    let rows = match extension.to_ascii_lowercase().as_str() {
        "parquet" => parquet(file),
        "csv" => csv(file, table),
        "ndjson" | "jsonl" | "json" => {
            ndjson::Rows::new(BufReader::new(file), table).map(|rows| -> Rows { Box::new(rows) })
        }
        "arrow" | "ipc" | "arrows" => ipc(file),
        _ => Err("the file's ending says no format: .parquet, .csv, .ndjson or .arrow".into()),
    };
    let rows = rows.map_err(named)?;
    let path = path.to_owned();
    Ok(Box::new(rows.map(move |batch| {
        batch.map_err(|error| -> Failure { format!("{}: {error}", path.display()).into() })
    })))
}

/// Batches of a reader of Arrow's.
fn plain(rows: impl Iterator<Item = Result<RecordBatch, ArrowError>> + Send + 'static) -> Rows {
    Box::new(rows.map(|batch| Ok(batch?)))
}

/// The schema of a Parquet file.
pub(crate) fn parquet_schema(path: &Path) -> Result<SchemaRef, Failure> {
    let named = |error: Failure| -> Failure { format!("{}: {error}", path.display()).into() };
    let file = File::open(path).map_err(|error| named(error.into()))?;
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| named(error.into()))?;
    Ok(Arc::clone(builder.schema()))
}

fn parquet(file: File) -> Result<Rows, Failure> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
    Ok(plain(builder.with_batch_size(BATCH_ROWS).build()?))
}

fn csv(mut file: File, table: &Schema) -> Result<Rows, Failure> {
    let format = arrow_csv::reader::Format::default().with_header(true);
    let (header, _) = format.infer_schema(&file, Some(1))?;
    file.rewind()?;
    let arrow = zone::by_offset(table.to_arrow()?.as_ref());
    let fields = header.fields().iter().map(|field| {
        let known = table
            .index_of(field.name())
            .and_then(|index| arrow.fields().get(index));
        match known {
            Some(known) => known
                .as_ref()
                .clone()
                .with_name(field.name())
                .with_nullable(true),
            None => field.as_ref().clone(),
        }
    });
    let schema = Arc::new(arrow_schema::Schema::new(fields.collect::<Vec<_>>()));
    let builder = arrow_csv::ReaderBuilder::new(schema)
        .with_header(true)
        .with_batch_size(BATCH_ROWS);
    Ok(plain(builder.build(file)?))
}

/// An Arrow IPC file, or a stream if it is none.
fn ipc(mut file: File) -> Result<Rows, Failure> {
    match arrow_ipc::reader::FileReader::try_new_buffered(file.try_clone()?, None) {
        Ok(reader) => Ok(plain(reader)),
        Err(_) => {
            file.rewind()?;
            let reader = arrow_ipc::reader::StreamReader::try_new_buffered(file, None)?;
            Ok(plain(reader))
        }
    }
}
