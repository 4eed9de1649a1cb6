//! Data files to batches: the rows of a logical file in the table's types, without those that are deleted or not asked for.
//!
//! A file is opened once: its footer says which row groups a predicate rules out, its page index which rows of the
//! others. Row positions come from the Parquet reader and count all rows of the file, whatever was skipped, so
//! deletion vectors hit the rows they mean.
//!
//! Spec: [Data Files](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#data-files),
//! [Deletion Vectors](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#deletion-vectors).

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{
    Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt64Array, new_null_array,
};
use arrow_buffer::BooleanBuffer;
use arrow_schema::ArrowError;
use arrow_select::filter::{FilterBuilder, prep_null_mask_filter};
use futures::stream::{self, BoxStream, StreamExt};
use parquet::arrow::ProjectionMask;
use roaring::RoaringTreemap;

use crate::data::layout::nullable;
use crate::data::reader::bounds::KnownColumns;
use crate::data::reader::mapping::{FileSchema, Mapping};
use crate::data::reader::plan::Prepared;
use crate::data::reader::prune::Group;
use crate::error::{Code, Error, ErrorKind, Result};
use crate::protocol::action::{Add, DeletionVectorDescriptor, PartitionValues};
use crate::protocol::arrow::conform;
use crate::protocol::deletion_vector::check_rows;
use crate::protocol::location;
use crate::protocol::schema::DataType;
use crate::protocol::statistics::FileStatistics;
use crate::protocol::value::Scalar;
use crate::storage::Storage;
use crate::storage::parquet::{ParquetFile, ReadRequest};

mod bounds;
mod deletion;
mod mapping;
mod plan;
mod prune;
mod ranges;
#[cfg(test)]
mod tests;
mod variant;

pub(crate) use deletion::{deleted_rows, is_missing_vector};
pub(crate) use mapping::FindFields;
pub(crate) use plan::ReadPlan;
pub(crate) use ranges::RowGroup;

/// A logical file: a data file, and which of its rows are deleted.
#[derive(Debug, Clone)]
pub(crate) struct DataFile {
    /// As it stands in the log.
    pub(crate) path: String,
    /// The size of the object, as the log has it.
    pub(crate) size: u64,
    /// Partition values by physical name.
    pub(crate) partition_values: PartitionValues,
    /// Which rows are deleted.
    pub(crate) deletion_vector: Option<DeletionVectorDescriptor>,
    /// Which rows are meant; without it, all.
    pub(crate) only: Option<Arc<RoaringTreemap>>,
    /// How many rows it has, deleted ones included, if the log says.
    pub(crate) physical_rows: Option<u64>,
}

/// Rows of one file at most. Encoded as runs they take next to no bytes, so the size of a file does not bound them; no
/// writer puts 2^34 rows into one, and to count as far takes seconds.
const FILE_ROWS_MAX: u64 = 1 << 34;

impl DataFile {
    /// The logical file that an action adds.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](ErrorKind::Corrupt) if its size is negative.
    pub(crate) fn of(add: &Add) -> Result<Self> {
        let size = u64::try_from(add.size).map_err(|_| {
            let message = "the log has a data file of negative size";
            Error::corrupt(Code::CorruptCommit, message).with("path", &add.path)
        })?;
        Ok(Self {
            path: add.path.clone(),
            size,
            partition_values: add.partition_values.clone(),
            deletion_vector: add.deletion_vector.clone(),
            only: None,
            physical_rows: add
                .stats
                .as_deref()
                .and_then(|stats| FileStatistics::parse(stats)?.num_records()),
        })
    }
}

/// A batch of rows.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    /// The columns that were asked for.
    pub(crate) batch: RecordBatch,
    /// Where the rows stand in their file, if that was asked for.
    pub(crate) positions: Option<UInt64Array>,
}

/// Rows as they are decoded. What remains to be done with each batch is done where the stream is polled.
pub(crate) type RowStream = BoxStream<'static, Result<Rows>>;

/// What reads have come to so far: what was there, and what was left of it.
#[derive(Debug, Default)]
pub(crate) struct ReadCounters {
    /// Files opened.
    pub(crate) files: AtomicU64,
    /// Row groups of these files, and those of them that were decoded.
    pub(crate) row_groups: AtomicU64,
    /// See `row_groups`.
    pub(crate) row_groups_read: AtomicU64,
    /// Rows of these files, deleted ones among them.
    pub(crate) rows: AtomicU64,
    /// Rows that row groups and pages left to decode.
    pub(crate) rows_selected: AtomicU64,
    /// Rows handed out.
    pub(crate) rows_returned: AtomicU64,
}

/// A data file that is open: its footer was read, and its row groups were held against the predicate.
#[derive(Debug, Clone)]
pub(crate) struct FileReader(Arc<Opened>);

#[derive(Debug)]
struct Opened {
    file: ParquetFile,
    path: String,
    plan: Arc<Prepared>,
    mapping: Mapping,
    /// For each column of the read, its value if that is the same in all rows.
    constants: Vec<Option<Scalar>>,
    groups: Vec<Group>,
    deleted: Option<RoaringTreemap>,
    /// Of all rows, only these.
    only: Option<Arc<RoaringTreemap>>,
    physical_rows: Option<u64>,
    counters: Arc<ReadCounters>,
}

/// Reads data files of one table by one plan. Cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    storage: Storage,
    plan: Arc<Prepared>,
    counters: Arc<ReadCounters>,
}

impl Reader {
    /// A reader of the files in `storage`.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](ErrorKind::Unsupported) if a column's type cannot be read.
    pub(crate) fn new(storage: &Storage, plan: ReadPlan) -> Result<Self> {
        let plan = Arc::new(Prepared::new(plan)?);
        Ok(Self {
            storage: storage.clone(),
            plan,
            counters: Arc::default(),
        })
    }

    /// What the reads have come to so far.
    pub(crate) fn counters(&self) -> &Arc<ReadCounters> {
        &self.counters
    }

    /// The rows of a file, in their order.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); the stream ends with [`Corrupt`](ErrorKind::Corrupt) if the file cannot be decoded or
    /// does not hold what the schema says.
    #[cfg(test)]
    pub(crate) async fn read(&self, file: &DataFile) -> Result<RowStream> {
        let opened = self.open(file).await?;
        opened.read(0..opened.parts()).await
    }

    /// Opens a file: reads its footer, its deletion vector, and its page index if a predicate may make use of it.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](ErrorKind::Corrupt) if the file is missing, is not of the size that the log says, or is damaged; if
    /// its deletion vector is; if a partition value cannot be read. [`Storage`](ErrorKind::Storage) if the store
    /// fails.
    pub(crate) async fn open(&self, file: &DataFile) -> Result<FileReader> {
        let opened = self.open_file(file).await;
        opened
            .map(|opened| FileReader(Arc::new(opened)))
            .map_err(|error| place(error, &file.path))
    }

    async fn open_file(&self, file: &DataFile) -> Result<Opened> {
        let plan = Arc::clone(&self.plan);
        let (storage, key) = self.storage.locate(location::resolve(&file.path)?)?;
        let parquet = ParquetFile::open(&storage, &key, Some(file.size));
        let deleted = deleted_rows(&self.storage, file.deletion_vector.as_ref());
        let (mut parquet, deleted) = futures::future::try_join(parquet, deleted).await?;
        if FILE_ROWS_MAX < parquet.num_rows() {
            let message = "a data file claims more rows than a file may have";
            return Err(Error::corrupt(Code::LimitExceeded, message));
        }
        for rows in file.only.as_deref().into_iter().chain(&deleted) {
            check_rows(rows, parquet.num_rows())?;
        }
        let descriptor = parquet.metadata().file_metadata().schema_descr();
        let schema = FileSchema::new(descriptor, parquet.arrow_schema(), plan.plan.find)?;
        let mapping = schema.map(&plan.read, |field| !plan.is_partition(&field.name));
        let constants = plan
            .read
            .fields()
            .iter()
            .map(|field| plan.constant(file, field));
        let constants = constants.collect::<Result<Vec<_>>>()?;
        // Of what is not known nothing is ruled out.
        let known = match plan.plan.prune {
            true => plan.known(file, &schema)?,
            false => KnownColumns::new(),
        };
        let predicate = plan.plan.predicate.as_deref();
        let mut groups = prune::groups(parquet.metadata(), predicate, &known);
        let row_groups = parquet.metadata().num_row_groups() as u64;
        if let Some(predicate) = predicate
            && plan.plan.prune
            && groups.iter().any(|group| group.filter)
        {
            parquet = parquet.with_page_index().await?;
            for group in groups.iter_mut().filter(|group| group.filter) {
                prune::pages(parquet.metadata(), predicate, &known, group);
            }
        }
        groups.retain(|group| {
            let first = parquet.first_row_of(group.index).unwrap_or(0);
            let rows = first..first + group.rows;
            let meant = |only: &Arc<RoaringTreemap>| 0 < deletion::count(only, &rows);
            0 < group.selected()
                && file.only.as_ref().is_none_or(meant)
                && !deletion::covers(deleted.as_ref(), rows)
        });
        let counters = Arc::clone(&self.counters);
        let count = |counter: &AtomicU64, value| counter.fetch_add(value, Ordering::Relaxed);
        count(&counters.files, 1);
        count(&counters.row_groups, row_groups);
        count(&counters.row_groups_read, groups.len() as u64);
        count(&counters.rows, parquet.num_rows());
        count(
            &counters.rows_selected,
            groups.iter().map(Group::selected).sum(),
        );
        let path = file.path.clone();
        Ok(Opened {
            file: parquet,
            path,
            plan,
            mapping,
            constants,
            groups,
            deleted,
            only: file.only.clone(),
            physical_rows: file.physical_rows,
            counters,
        })
    }
}

impl FileReader {
    /// How many parts of the file are left to read. They can be read side by side.
    pub(crate) fn parts(&self) -> usize {
        self.0.groups.len()
    }

    /// How many rows of a part are to be decoded.
    #[cfg(test)]
    pub(crate) fn part_rows(&self, part: usize) -> u64 {
        self.0.groups.get(part).map_or(0, Group::selected)
    }

    /// All rows of the file, deleted ones among them, whatever is left to read.
    pub(crate) fn file_rows(&self) -> u64 {
        self.0.file.num_rows()
    }

    /// The rows of the file that are not deleted, whatever is left to read.
    pub(crate) fn rows_left(&self) -> u64 {
        let deleted = self.0.deleted.as_ref();
        let gone =
            |rows: &RoaringTreemap| deleted.map_or(0, |deleted| deleted.intersection_len(rows));
        match self.0.only.as_deref() {
            Some(only) => only.len().saturating_sub(gone(only)),
            None => self
                .file_rows()
                .saturating_sub(deleted.map_or(0, RoaringTreemap::len)),
        }
    }

    /// The rows of some parts, in their order.
    ///
    /// # Errors
    ///
    /// [`Storage`](ErrorKind::Storage) if the store fails. The stream ends with [`Corrupt`](ErrorKind::Corrupt) if the
    /// file cannot be decoded or does not hold what the schema says.
    pub(crate) async fn read(&self, parts: Range<usize>) -> Result<RowStream> {
        self.read_groups(self.0.groups.get(parts).unwrap_or_default().to_vec())
            .await
    }

    async fn read_groups(&self, groups: Vec<Group>) -> Result<RowStream> {
        let opened = Arc::clone(&self.0);
        if groups.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let filter = groups.iter().any(|group| group.filter);
        let decoded = opened
            .decode(&groups)
            .await
            .map_err(|error| place(error, &opened.path))?;
        let finish = move |decoded: Result<(RecordBatch, Option<UInt64Array>)>| {
            let rows =
                decoded.and_then(|(batch, positions)| opened.finish(&batch, positions, filter));
            rows.map_err(|error| place(error, &opened.path))
        };
        let is_rest = |rows: &Result<Rows>| match rows {
            Ok(rows) => 0 < rows.batch.num_rows(),
            Err(_) => true,
        };
        Ok(decoded
            .map(finish)
            .filter(move |rows| std::future::ready(is_rest(rows)))
            .boxed())
    }
}

type Decoded = BoxStream<'static, Result<(RecordBatch, Option<UInt64Array>)>>;

impl Opened {
    async fn decode(&self, groups: &[Group]) -> Result<Decoded> {
        let positions =
            self.plan.plan.row_positions || self.deleted.is_some() || self.only.is_some();
        let batch_rows = self.plan.plan.batch_rows.max(1);
        if self.mapping.leaves.is_empty() {
            self.check_row_counts(groups)?;
            return Ok(self.count_rows(groups, batch_rows, positions));
        }
        let descriptor = self.file.metadata().file_metadata().schema_descr();
        let request = ReadRequest {
            row_groups: groups.iter().map(|group| group.index).collect(),
            projection: ProjectionMask::leaves(descriptor, self.mapping.leaves.iter().copied()),
            selection: prune::selection(groups),
            batch_rows,
            with_row_numbers: positions,
            arrow_schema_hint: None,
            limit: None,
        };
        let split = move |batch: Result<RecordBatch>| {
            let mut batch = batch?;
            if !positions {
                return Ok((batch, None));
            }
            let numbers = batch.remove_column(batch.num_columns().saturating_sub(1));
            let numbers = numbers.as_primitive_opt::<UInt64Type>().cloned();
            let numbers = numbers.ok_or_else(|| corrupt("rows came without their positions"))?;
            Ok((batch, Some(numbers)))
        };
        Ok(self.file.read(request).await?.map(split).boxed())
    }

    /// Holds the row counts of the footer against what else is said of them: nothing is decoded that would show that
    /// they are wrong.
    fn check_row_counts(&self, groups: &[Group]) -> Result<()> {
        let rows = self.file.num_rows();
        if let Some(said) = self.physical_rows.filter(|said| *said != rows) {
            let message = "a data file has another number of rows than the log says";
            return Err(corrupt(message).with("rows", rows).with("expected", said));
        }
        for group in groups {
            let chunks = self.file.metadata().row_groups().get(group.index);
            let mut chunks = chunks
                .map(|group| group.columns().iter())
                .into_iter()
                .flatten();
            // Outside of lists and maps each row has one value, or one null.
            let flat = chunks.find(|chunk| chunk.column_descr().max_rep_level() == 0);
            if flat.is_some_and(|chunk| u64::try_from(chunk.num_values()) != Ok(group.rows)) {
                return Err(corrupt(
                    "a row group of a data file claims another number of rows than its columns have",
                ));
            }
        }
        Ok(())
    }

    /// Batches without columns: the footer says how many rows there are.
    fn count_rows(&self, groups: &[Group], batch_rows: usize, positions: bool) -> Decoded {
        let mut batches = Vec::new();
        for group in groups {
            let first = self.file.first_row_of(group.index).unwrap_or(0);
            match &group.ranges {
                None => batches.push(first..first + group.rows),
                Some(ranges) => batches.extend(
                    ranges
                        .iter()
                        .map(|rows| first + rows.start..first + rows.end),
                ),
            }
        }
        let step = batch_rows as u64;
        let cut = move |rows: Range<u64>| {
            let mut start = rows.start;
            std::iter::from_fn(move || {
                let part = start..rows.end.min(start.saturating_add(step));
                start = part.end;
                (part.start < part.end).then_some(part)
            })
        };
        let batch = move |rows: Range<u64>| {
            let count = usize::try_from(rows.end - rows.start).unwrap_or(0);
            let options = RecordBatchOptions::new().with_row_count(Some(count));
            let empty = Arc::new(arrow_schema::Schema::empty());
            let batch = RecordBatch::try_new_with_options(empty, Vec::new(), &options);
            let positions = positions.then(|| UInt64Array::from_iter_values(rows));
            batch.map(|batch| (batch, positions)).map_err(unfit)
        };
        stream::iter(batches.into_iter().flat_map(cut).map(batch)).boxed()
    }

    /// A decoded batch as the rows that were asked for.
    fn finish(
        &self,
        decoded: &RecordBatch,
        positions: Option<UInt64Array>,
        filter: bool,
    ) -> Result<Rows> {
        // Rows that are deleted are no rows of the table: whatever they hold must neither fail nor be refused.
        let live = positions
            .as_ref()
            .and_then(|positions| self.live(positions));
        let (decoded, positions) = match live {
            None => (decoded.clone(), positions),
            Some(live) => cut(decoded, positions, live)?,
        };
        let read = self.assemble(&decoded)?;
        let keep = match (&self.plan.plan.predicate, filter) {
            (Some(predicate), true) => Some(without_nulls(predicate.evaluate(&read)?)),
            _ => None,
        };
        let positions = positions.filter(|_| self.plan.plan.row_positions);
        let options = RecordBatchOptions::new().with_row_count(Some(read.num_rows()));
        let (schema, columns) = (Arc::clone(&self.plan.output_arrow), self.output(&read)?);
        let batch = RecordBatch::try_new_with_options(schema, columns, &options).map_err(unfit)?;
        let (batch, positions) = match keep.filter(|keep| keep.count_set_bits() < keep.len()) {
            None => (batch, positions),
            Some(keep) => cut(&batch, positions, keep)?,
        };
        let returned = &self.counters.rows_returned;
        returned.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        Ok(Rows { batch, positions })
    }

    /// Which of the rows at these ascending positions are there; `None` if all are.
    fn live(&self, positions: &UInt64Array) -> Option<BooleanBuffer> {
        let deleted = self.deleted.as_ref();
        let live = deleted.and_then(|deleted| deletion::live(deleted, positions));
        let Some(only) = &self.only else {
            return live;
        };
        let meant = positions.values().iter().map(|row| only.contains(*row));
        let meant: BooleanBuffer = meant.collect();
        Some(match live {
            Some(live) => &live & &meant,
            None => meant,
        })
    }

    /// The columns of the read, in the table's types.
    fn assemble(&self, decoded: &RecordBatch) -> Result<RecordBatch> {
        let rows = decoded.num_rows();
        let fields = self
            .plan
            .read
            .fields()
            .iter()
            .zip(self.plan.read_arrow.fields());
        let sources = self.mapping.columns.iter().zip(&self.constants);
        let mut columns = Vec::with_capacity(self.constants.len());
        for ((field, arrow), (source, constant)) in fields.zip(sources) {
            let column = match (constant, source, &field.data_type) {
                (Some(value), _, DataType::Primitive(primitive)) => {
                    value.to_array(primitive, rows)?
                }
                (_, Some(source), _) => {
                    let column = decoded.columns().get(source.place);
                    let column = column.ok_or_else(|| corrupt("a decoded batch lacks a column"))?;
                    let column = source.shape.apply(column).map_err(unfit)?;
                    bring(&column, &nullable(&field.data_type), &field.name)?
                }
                _ => new_null_array(arrow.data_type(), rows),
            };
            columns.push(column);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::clone(&self.plan.read_arrow);
        RecordBatch::try_new_with_options(schema, columns, &options).map_err(unfit)
    }

    /// The columns of the result: without what only the predicate looked at, and not null where the table says so.
    fn output(&self, read: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let fields = self
            .plan
            .plan
            .schema
            .fields()
            .iter()
            .zip(&self.plan.output_places);
        let output = fields.map(|(field, place)| {
            let column = read.columns().get(*place);
            let column = column.ok_or_else(|| corrupt("a batch lacks a column"))?;
            if !field.nullable && column.logical_null_count() != 0 {
                let message = "a data file has nulls in a column that must not be null";
                return Err(corrupt(message).with("column", &field.name));
            }
            bring(column, &field.data_type, &field.name)
        });
        output.collect()
    }
}

/// The values in the table's type; what does not fit is the file's fault.
fn bring(array: &ArrayRef, data_type: &DataType, column: &str) -> Result<ArrayRef> {
    conform(array, data_type, column).map_err(|error| match error.kind() {
        ErrorKind::Invalid => {
            let message = "a data file does not hold what the table's schema says";
            corrupt(message).with("column", column).because(error)
        }
        _ => error,
    })
}

/// The rows of which the bits are set, and their positions.
fn cut(
    batch: &RecordBatch,
    positions: Option<UInt64Array>,
    keep: BooleanBuffer,
) -> Result<(RecordBatch, Option<UInt64Array>)> {
    let rows = keep.count_set_bits();
    let filter = FilterBuilder::new(&BooleanArray::new(keep, None))
        .optimize()
        .build();
    let columns = batch.columns().iter().map(|column| filter.filter(column));
    let columns = columns.collect::<Result<_, _>>().map_err(unfit)?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(batch.schema(), columns, &options);
    let positions = positions
        .map(|positions| filter.filter(&positions))
        .transpose()
        .map_err(unfit)?;
    let positions = positions.and_then(|cut| cut.as_primitive_opt::<UInt64Type>().cloned());
    Ok((batch.map_err(unfit)?, positions))
}

fn without_nulls(mask: BooleanArray) -> BooleanBuffer {
    match mask.null_count() {
        0 => mask.values().clone(),
        _ => prep_null_mask_filter(&mask).values().clone(),
    }
}

fn corrupt(message: &str) -> Error {
    Error::corrupt(Code::DataCorrupt, message)
}

fn unfit(cause: ArrowError) -> Error {
    corrupt("the rows of a data file do not fit the table").because(cause)
}

/// Says which file it was; a path that leads out of the table is not repeated, since addresses may hold secrets.
fn place(error: Error, path: &str) -> Error {
    if error.context_value("path").is_some() || error.code() == Code::UnsafePath {
        return error;
    }
    error.with("path", path)
}
