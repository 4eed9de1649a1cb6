//! The rows of a checkpoint, in the order in which planning reads them, as Parquet.
//!
//! The first row group holds what is not a file, the next ones tombstones, the rest live files ordered by partition
//! values, so that row groups and pages that hold other partitions can be left unread.

use std::io;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, StructArray, new_null_array};
use arrow_row::{RowConverter, SortField};
use arrow_schema::{DataType as ArrowType, Fields, SchemaRef};
use arrow_select::interleave::interleave_record_batch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::error::Result;
use crate::log::checkpoint::cannot_build;
use crate::log::checkpoint::normal::{self, Normal};
use crate::log::checkpoint::schema::{Layout, PARTITION_VALUES_PARSED, STATS_PARSED};
use crate::log::checkpoint::state::CheckpointState;
use crate::log::checkpoint::statistics;
use crate::log::files::FileBatch;
use crate::log::removes::RemoveBatch;

/// Rows of a row group: what planning reads or skips as a whole.
const ROW_GROUP_ROWS: usize = 32_768;
/// Rows that are made into columns at one time; a part of a row group.
const PIECE_ROWS: usize = 2_048;
/// Rows of a page: what planning reads or skips inside a row group.
const PAGE_ROWS: usize = 4_096;

/// A checkpoint on its way into bytes.
pub(super) struct Encoder {
    writer: ArrowWriter<Sink>,
    sink: Sink,
    schema: SchemaRef,
    layout: Layout,
    state: Option<CheckpointState>,
    removes: Ordered,
    adds: Ordered,
    rows: u64,
}

/// What to write next to storage.
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    /// Whether this was the last piece, with the footer.
    pub(super) last: bool,
}

impl Encoder {
    /// Sorts the files. Statistics and columns are made later, row group by row group.
    pub(super) fn new(
        layout: Layout,
        state: CheckpointState,
        files: Vec<FileBatch>,
        removes: Vec<RemoveBatch>,
    ) -> Result<Self> {
        let (layout, adds) = sorted(layout, files)?;
        let removes = removes
            .iter()
            .map(normal::removes)
            .collect::<Result<Vec<_>>>()?;
        let schema = layout.schema()?.to_arrow()?;
        let sink = Sink::default();
        let options = ArrowWriterOptions::new()
            .with_properties(properties()?)
            .with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(sink.clone(), Arc::clone(&schema), options);
        let removes = Ordered::as_they_are(removes);
        let files = adds.order.len() + removes.order.len();
        let rows = files + 2 + state.txns.len() + state.domains.len();
        Ok(Self {
            writer: writer.map_err(cannot_build)?,
            sink,
            schema,
            layout,
            state: Some(state),
            removes,
            adds,
            rows: u64::try_from(rows).unwrap_or(u64::MAX),
        })
    }

    /// How many rows there will be.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Makes the next row group, or the footer after the last one.
    pub(super) fn next(&mut self) -> Result<Piece> {
        if let Some(state) = self.state.take() {
            let batch = state.to_batch(&self.schema)?;
            self.writer.write(&batch).map_err(cannot_build)?;
            return self.row_group();
        }
        // In small pieces: what is made of a file's statistics is many times as large as what is written of it.
        while self.writer.in_progress_rows() < ROW_GROUP_ROWS {
            let Some(rows) = self.removes.take(PIECE_ROWS)? else {
                break;
            };
            self.write_files("remove", |name| rows.column_by_name(name).cloned())?;
        }
        if 0 < self.writer.in_progress_rows() {
            return self.row_group();
        }
        while self.writer.in_progress_rows() < ROW_GROUP_ROWS {
            let Some(rows) = self.adds.take(PIECE_ROWS)? else {
                break;
            };
            self.write_adds(&rows)?;
        }
        if 0 < self.writer.in_progress_rows() {
            return self.row_group();
        }
        self.writer.finish().map_err(cannot_build)?;
        Ok(Piece {
            bytes: self.sink.drain(),
            last: true,
        })
    }

    fn row_group(&mut self) -> Result<Piece> {
        self.writer.flush().map_err(cannot_build)?;
        Ok(Piece {
            bytes: self.sink.drain(),
            last: false,
        })
    }

    fn write_adds(&mut self, rows: &RecordBatch) -> Result<()> {
        let stats = rows
            .column_by_name("stats")
            .and_then(|array| array.as_string_opt::<i32>());
        let parsed = match (
            &self.layout.statistics,
            inner_fields(&self.schema, STATS_PARSED),
        ) {
            (Some(_), Some(fields)) => {
                let texts = (0..rows.num_rows()).map(|row| {
                    stats
                        .filter(|stats| stats.is_valid(row))
                        .map(|stats| stats.value(row))
                });
                Some(statistics::parse(texts, &self.layout, &fields)?)
            }
            _ => None,
        };
        let partition = match inner_fields(&self.schema, PARTITION_VALUES_PARSED) {
            Some(fields) => {
                let names = (0..fields.len()).map(normal::partition_column);
                let arrays: Option<Vec<ArrayRef>> = names
                    .map(|name| rows.column_by_name(&name).cloned())
                    .collect();
                let arrays = arrays.ok_or_else(|| cannot_build("a partition column is missing"))?;
                Some(
                    Arc::new(StructArray::try_new(fields, arrays, None).map_err(cannot_build)?)
                        as ArrayRef,
                )
            }
            None => None,
        };
        self.write_files("add", |name| match name {
            STATS_PARSED => parsed.clone(),
            PARTITION_VALUES_PARSED => partition.clone(),
            _ => rows.column_by_name(name).cloned(),
        })
    }

    /// Writes rows that all have the action `root`.
    fn write_files(&mut self, root: &str, column: impl Fn(&str) -> Option<ArrayRef>) -> Result<()> {
        let Some(ArrowType::Struct(fields)) = root_type(&self.schema, root) else {
            return Err(cannot_build("the checkpoint has no such column"));
        };
        let arrays: Option<Vec<ArrayRef>> =
            fields.iter().map(|field| column(field.name())).collect();
        let arrays = arrays.ok_or_else(|| cannot_build("a column of file actions is missing"))?;
        let rows = arrays.first().map_or(0, |array| array.len());
        let files = StructArray::try_new(fields, arrays, None).map_err(cannot_build)?;
        let columns = self
            .schema
            .fields()
            .iter()
            .map(|field| match field.name() == root {
                true => Arc::new(files.clone()) as ArrayRef,
                false => new_null_array(field.data_type(), rows),
            });
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns.collect());
        self.writer
            .write(&batch.map_err(cannot_build)?)
            .map_err(cannot_build)
    }
}

fn root_type(schema: &SchemaRef, root: &str) -> Option<ArrowType> {
    schema
        .field_with_name(root)
        .ok()
        .map(|field| field.data_type().clone())
}

fn inner_fields(schema: &SchemaRef, name: &str) -> Option<Fields> {
    let Some(ArrowType::Struct(add)) = root_type(schema, "add") else {
        return None;
    };
    let (_, field) = add.find(name)?;
    match field.data_type() {
        ArrowType::Struct(fields) => Some(fields.clone()),
        _ => None,
    }
}

/// Rows of batches in an order, gathered piece by piece.
struct Ordered {
    batches: Vec<RecordBatch>,
    order: Vec<(u32, u32)>,
    next: usize,
}

impl Ordered {
    fn as_they_are(batches: Vec<RecordBatch>) -> Self {
        let rows = batches.iter().zip(0_u32..).flat_map(|(batch, index)| {
            (0_u32..)
                .take(batch.num_rows())
                .map(move |row| (index, row))
        });
        Self {
            order: rows.collect(),
            batches,
            next: 0,
        }
    }

    fn take(&mut self, rows: usize) -> Result<Option<RecordBatch>> {
        let end = self.order.len().min(self.next.saturating_add(rows));
        let indices = self.order.get(self.next..end).unwrap_or_default();
        if indices.is_empty() {
            return Ok(None);
        }
        let wide = |index: u32| usize::try_from(index).unwrap_or(usize::MAX);
        let indices: Vec<_> = indices
            .iter()
            .map(|(batch, row)| (wide(*batch), wide(*row)))
            .collect();
        self.next = end;
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        interleave_record_batch(&batches, &indices)
            .map(Some)
            .map_err(cannot_build)
    }
}

/// Adds by partition values; as they came where there are none, or where some are not of their type.
fn sorted(mut layout: Layout, files: Vec<FileBatch>) -> Result<(Layout, Ordered)> {
    let normal = files
        .iter()
        .map(|batch| normal::adds(batch, &layout.partition, &layout.instants));
    let normal = normal.collect::<Result<Vec<Normal>>>()?;
    drop(files);
    let typed = normal.iter().all(|normal| normal.partitions_are_typed);
    if !typed {
        tracing::warn!(
            "partition values are not of their column's type: the checkpoint has them as text only"
        );
        layout.partition.clear();
        layout.partition_values_parsed = false;
    }
    let batches = normal.into_iter().map(|normal| normal.batch);
    let mut ordered = Ordered::as_they_are(batches.collect());
    if layout.partition.is_empty() {
        return Ok((layout, ordered));
    }
    let types = layout.partition.iter().map(|(_, ty)| {
        crate::protocol::schema::DataType::Primitive(ty.clone())
            .to_arrow()
            .map(SortField::new)
    });
    let converter = RowConverter::new(types.collect::<Result<Vec<_>>>()?).map_err(cannot_build)?;
    let keys = ordered.batches.iter().map(|batch| {
        let names = (0..layout.partition.len()).map(normal::partition_column);
        let columns: Vec<ArrayRef> = names
            .filter_map(|name| batch.column_by_name(&name).cloned())
            .collect();
        converter.convert_columns(&columns).map_err(cannot_build)
    });
    let keys = keys.collect::<Result<Vec<_>>>()?;
    let key = |(batch, row): &(u32, u32)| {
        let rows = keys.get(usize::try_from(*batch).ok()?)?;
        let row = usize::try_from(*row).ok()?;
        (row < rows.num_rows()).then(|| rows.row(row))
    };
    ordered.order.sort_by(|a, b| key(a).cmp(&key(b)));
    Ok((layout, ordered))
}

fn properties() -> Result<WriterProperties> {
    let path =
        |parts: &[&str]| ColumnPath::new(parts.iter().map(|part| (*part).to_owned()).collect());
    let level = ZstdLevel::try_new(3).map_err(cannot_build)?;
    // Paths and statistics as text are all different and compared by nobody.
    Ok(WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_created_by(format!("headwater version {}", env!("CARGO_PKG_VERSION")))
        .set_max_row_group_row_count(None)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_column_dictionary_enabled(path(&["add", "path"]), false)
        .set_column_dictionary_enabled(path(&["add", "stats"]), false)
        .set_column_statistics_enabled(path(&["add", "stats"]), EnabledStatistics::Chunk)
        .build())
}

/// Bytes that the Parquet writer has made and storage has not got yet.
#[derive(Debug, Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn drain(&self) -> Bytes {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        mem::take(&mut *bytes).into()
    }
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
