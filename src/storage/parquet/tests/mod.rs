//! Files that writers make, and files that nobody should.

mod hostile;
mod reading;

use std::sync::Arc;

use arrow_array::builder::{Int32Builder, ListBuilder, StringBuilder};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, StructArray, UInt64Array};
use arrow_schema::{DataType, Field};
use bytes::Bytes;
use futures::TryStreamExt;
use parquet::arrow::arrow_reader::RowSelection;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};

use super::{ParquetFile, ROW_COLUMN, ReadRequest};
use crate::environment::Environment;
use crate::error::Result;
use crate::storage::Storage;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(future)
}

/// A store of its own.
fn store() -> Storage {
    let environment = Environment::system();
    Storage::open(
        &format!("memory:///parquet/{}", environment.uuid()),
        &environment,
    )
    .unwrap()
}

async fn opened(bytes: Bytes) -> Result<ParquetFile> {
    let storage = store();
    let size = bytes.len() as u64;
    storage.put("f", bytes).await.unwrap();
    ParquetFile::open(&storage, "f", Some(size)).await
}

/// Numbers, strings with nulls, lists of numbers, and structs: `rows` rows, of which `from` is the first.
fn batch(from: usize, rows: usize) -> RecordBatch {
    let all = from..from + rows;
    let numbers = Int64Array::from_iter_values(all.clone().map(|row| row as i64 * 3));
    let mut strings = StringBuilder::new();
    let mut lists = ListBuilder::new(Int32Builder::new());
    for row in all.clone() {
        strings.append_option((row % 7 != 0).then(|| format!("value {}", row % 50)));
        (0..row % 4).for_each(|element| lists.values().append_value((row * 10 + element) as i32));
        lists.append(row % 5 != 0);
    }
    let inner: StringArray = all
        .map(|row| (row % 3 != 0).then(|| format!("inner {row}")))
        .collect();
    let field = Arc::new(Field::new("inner", DataType::Utf8, true));
    let structs = StructArray::from(vec![(field, Arc::new(inner) as ArrayRef)]);
    RecordBatch::try_from_iter_with_nullable([
        ("number", Arc::new(numbers) as ArrayRef, false),
        ("string", Arc::new(strings.finish()) as ArrayRef, true),
        ("list", Arc::new(lists.finish()) as ArrayRef, true),
        ("struct", Arc::new(structs) as ArrayRef, false),
    ])
    .unwrap()
}

/// Row groups of 100 rows in pages of 10.
fn small_pages() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_max_row_group_row_count(Some(100))
        .set_data_page_row_count_limit(10)
        .set_write_batch_size(10)
}

fn written(batch: &RecordBatch, properties: WriterPropertiesBuilder) -> Bytes {
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties.build())).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes.into()
}

/// All rows of all columns, with their positions.
fn everything(file: &ParquetFile) -> ReadRequest {
    ReadRequest {
        row_groups: (0..file.metadata().num_row_groups()).collect(),
        projection: ProjectionMask::all(),
        selection: None,
        batch_rows: 37,
        with_row_numbers: true,
        arrow_schema_hint: None,
        limit: None,
    }
}

async fn collected(file: &ParquetFile, request: ReadRequest) -> Result<Vec<RecordBatch>> {
    file.read(request).await?.try_collect().await
}

/// The positions that batches come with, and their other columns as text.
fn rows(batches: &[RecordBatch]) -> Vec<(u64, String)> {
    let mut rows = Vec::new();
    for batch in batches {
        let mut batch = batch.clone();
        let last = batch.num_columns() - 1;
        assert_eq!(batch.schema().field(last).name(), ROW_COLUMN);
        let positions = batch.remove_column(last);
        let positions = positions
            .as_any()
            .downcast_ref::<UInt64Array>()
            .unwrap()
            .clone();
        for row in 0..batch.num_rows() {
            let one = batch.slice(row, 1);
            let text: Vec<String> = one
                .columns()
                .iter()
                .map(|column| format!("{:?}", column.slice(0, 1)))
                .collect();
            rows.push((positions.value(row), text.join("|")));
        }
    }
    rows
}

/// What reading rows at `positions` of the batch that a file was written from has to give.
fn expected(batch: &RecordBatch, positions: impl IntoIterator<Item = usize>) -> Vec<(u64, String)> {
    positions
        .into_iter()
        .map(|row| {
            let one = batch.slice(row, 1);
            let text: Vec<String> = one
                .columns()
                .iter()
                .map(|column| format!("{column:?}"))
                .collect();
            (row as u64, text.join("|"))
        })
        .collect()
}

fn ranges(ranges: &[std::ops::Range<usize>], total: usize) -> RowSelection {
    RowSelection::from_consecutive_ranges(ranges.iter().cloned(), total)
}
