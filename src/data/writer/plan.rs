//! What all files of one write have in common.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType as ArrowType, SchemaRef};
use parquet::basic::Compression;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::data::ColumnNames;
use crate::data::collector::Collector;
use crate::data::fingerprint::Fingerprinter;
use crate::data::layout::{relabel, stored_arrow, stored_schema};
use crate::data::rules::Rules;
use crate::data::writer::file::FileName;
use crate::data::writer::split::{PartitionColumn, PartitionKey, split};
use crate::data::writer::{SLAB_BYTES, WriterContext, WriterOptions};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::protocol::action::PartitionValues;
use crate::protocol::arrow::conform;
use crate::protocol::location;
use crate::protocol::schema::{DataType, PrimitiveType, Schema};
use crate::protocol::value::Scalar;
use crate::storage::Storage;

/// Pages end at this size, or at [`PAGE_ROWS`], whichever comes first.
const PAGE_BYTES: usize = 1 << 20;
/// See [`PAGE_BYTES`].
const PAGE_ROWS: usize = 20_000;

/// Where files of the change feed lie.
const CHANGES_DIRECTORY: &str = "_change_data/";

/// What all files of one write have in common.
pub(super) struct WritePlan {
    pub(super) storage: Storage,
    pub(super) environment: Environment,
    pub(super) options: WriterOptions,
    names: ColumnNames,
    /// The table's columns.
    schema: Arc<Schema>,
    /// What callers' batches are brought to, and held against.
    rules: Rules,
    partition_columns: Vec<PartitionColumn>,
    /// The names of the partition columns in the log.
    partition_names: Vec<String>,
    /// The columns that files hold, where they stand among the table's, and their Arrow form.
    stored: Schema,
    stored_places: Vec<usize>,
    pub(super) stored_arrow: SchemaRef,
    pub(super) parquet: WriterProperties,
    /// The directory of the files, which ends in a slash unless it is the table's, and how their names begin.
    place: (&'static str, &'static str),
}

impl WritePlan {
    pub(super) fn new(context: WriterContext) -> Result<Self> {
        let WriterContext {
            storage,
            environment,
            schema,
            configuration,
            partition_columns,
            names,
            options,
        } = context;
        let columns = partition_columns
            .iter()
            .map(|name| partition_column(&schema, name));
        let partition_columns: Vec<_> = columns.collect::<Result<_>>()?;
        let partition_fields = partition_columns
            .iter()
            .filter_map(|it| schema.fields().get(it.index));
        let partition_names = partition_fields.map(|field| names.of(field)).collect();
        let is_partition = |index: usize| partition_columns.iter().any(|it| it.index == index);
        let stored = stored_schema(&schema, is_partition)?;
        let stored_places = stored
            .fields()
            .iter()
            .filter_map(|field| schema.index_of(&field.name));
        let stored_places = stored_places.collect();
        let arrow = stored_arrow(&stored, names)?;
        Ok(Self {
            rules: Rules::of(&schema, &configuration, environment.now_millis())?,
            parquet: parquet_properties(&options, sorting(&options, &stored, &arrow)),
            stored_arrow: arrow,
            storage,
            environment,
            options,
            names,
            schema,
            partition_columns,
            partition_names,
            stored,
            stored_places,
            place: ("", "part"),
        })
    }

    /// The same for files of the change feed.
    ///
    /// They hold rows as they were, too, before the table had the rules it has.
    pub(super) fn in_change_feed(self) -> Self {
        let place = (CHANGES_DIRECTORY, "cdc");
        let plan = self.for_rows_of_the_table();
        Self { place, ..plan }
    }

    /// The same for rows that are in the table already: what may be written anew need not hold of them.
    pub(super) fn for_rows_of_the_table(self) -> Self {
        let rules = self.rules.of_types();
        Self { rules, ..self }
    }

    /// The rows of a caller's batch as they lie in files, by partition.
    pub(super) fn prepare(&self, batch: &RecordBatch) -> Result<Vec<(PartitionKey, RecordBatch)>> {
        let batch = self.rules.apply(batch)?;
        let parts = split(&batch, &self.partition_columns, &self.stored_places)?;
        let store = |(key, rows): (PartitionKey, RecordBatch)| Ok((key, self.to_stored(&rows)?));
        parts.into_iter().map(store).collect()
    }

    // Leaves void fields out of structs and gives everything its name in files.
    fn to_stored(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        if rows.schema_ref() == &self.stored_arrow {
            return Ok(rows.clone());
        }
        let targets = self.stored.fields().iter().zip(self.stored_arrow.fields());
        let columns = rows
            .columns()
            .iter()
            .zip(targets)
            .map(|(column, (field, target))| {
                let column = conform(column, &field.data_type, &field.name)?;
                relabel(&column, target.data_type())
                    .map_err(|cause| unfit(cause).with("column", &field.name))
            });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let arrow = Arc::clone(&self.stored_arrow);
        RecordBatch::try_new_with_options(arrow, columns, &options).map_err(unfit)
    }

    pub(super) fn collector(&self) -> Collector {
        Collector::new(&self.stored, self.names, &self.options.statistics)
    }

    /// Takes the fingerprint of whole rows, partition columns as readers will see them.
    pub(super) fn fingerprinter(&self, values: &PartitionValues) -> Result<Fingerprinter> {
        let mut fingerprinter = Fingerprinter::new(&self.stored, self.names)?;
        for column in &self.partition_columns {
            let Some(field) = self.schema.fields().get(column.index) else {
                continue;
            };
            let DataType::Primitive(primitive) = &field.data_type else {
                continue;
            };
            let text = values.get(&self.names.of(field)).and_then(Option::as_deref);
            let value = Scalar::from_partition_value(text, primitive)?;
            fingerprinter = fingerprinter.with_constant(field, &value)?;
        }
        Ok(fingerprinter)
    }

    /// How many bytes of rows are encoded at one go: few where files or memory are small.
    pub(super) fn slab_bytes(&self) -> usize {
        let WriterOptions {
            target_file_bytes,
            memory_bytes,
            ..
        } = self.options;
        SLAB_BYTES
            .min(target_file_bytes)
            .min(memory_bytes / 8)
            .max(1)
    }

    /// The name of the file with this number, for rows of this partition.
    pub(super) fn file_name(&self, number: usize, key: &PartitionKey) -> FileName {
        let values = self.partition_names.iter().zip(key);
        let directory: Vec<_> = values
            .clone()
            .map(|(name, value)| (name.as_str(), value.as_deref()))
            .collect();
        let (root, prefix) = self.place;
        let mut path = root.to_owned();
        path.push_str(&location::partition_directory(&directory));
        if !path.is_empty() && !path.ends_with('/') {
            path.push('/');
        }
        let id = self.environment.uuid();
        let codec = codec_name(self.options.compression);
        FileName {
            key: format!("{path}{prefix}-{number:05}-{id}.c000{codec}.parquet"),
            partition_values: values
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        }
    }
}

fn partition_column(schema: &Schema, name: &str) -> Result<PartitionColumn> {
    let invalid =
        |message: String| Error::invalid(Code::InvalidSchema, message).with("column", name);
    let Some(index) = schema.index_of(name) else {
        return Err(invalid("there is no such partition column".to_owned()));
    };
    match schema.fields().get(index) {
        Some(field) => match &field.data_type {
            DataType::Primitive(PrimitiveType::Void | PrimitiveType::Variant) => Err(invalid(
                format!("a table cannot be partitioned by {}", field.data_type),
            )),
            DataType::Primitive(_) => Ok(PartitionColumn {
                index,
                name: field.name.clone(),
                nullable: field.nullable,
            }),
            other => Err(invalid(format!("a table cannot be partitioned by {other}"))),
        },
        None => Err(invalid("there is no such partition column".to_owned())),
    }
}

/// The columns that files are sorted by, as footers name them: by the places of their leaves. A partition column is the
/// same in all rows of a file.
fn sorting(
    options: &WriterOptions,
    stored: &Schema,
    arrow: &SchemaRef,
) -> Option<Vec<SortingColumn>> {
    let mut columns = Vec::new();
    for place in options
        .sorted_by
        .iter()
        .filter_map(|name| stored.index_of(name))
    {
        let before = arrow.fields().iter().take(place);
        let leaves: usize = before.map(|field| leaves(field.data_type())).sum();
        columns.push(SortingColumn {
            column_idx: i32::try_from(leaves).ok()?,
            descending: false,
            nulls_first: true,
        });
    }
    (!columns.is_empty()).then_some(columns)
}

fn leaves(ty: &ArrowType) -> usize {
    match ty {
        ArrowType::Struct(fields) => fields.iter().map(|field| leaves(field.data_type())).sum(),
        ArrowType::List(field)
        | ArrowType::LargeList(field)
        | ArrowType::FixedSizeList(field, _)
        | ArrowType::Map(field, _) => leaves(field.data_type()),
        _ => 1,
    }
}

fn parquet_properties(
    options: &WriterOptions,
    sorting: Option<Vec<SortingColumn>>,
) -> WriterProperties {
    WriterProperties::builder()
        .set_sorting_columns(sorting)
        .set_created_by(concat!("headwater version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(options.compression)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_data_page_row_count_limit(PAGE_ROWS)
        // Row groups are ended by us, by what all their columns hold.
        .set_max_row_group_row_count(None)
        .build()
}

/// How the codec stands in a file's name, as Spark has it.
fn codec_name(compression: Compression) -> &'static str {
    match compression {
        Compression::UNCOMPRESSED => "",
        Compression::SNAPPY => ".snappy",
        Compression::GZIP(_) => ".gz",
        Compression::LZO => ".lzo",
        Compression::BROTLI(_) => ".br",
        Compression::LZ4 => ".lz4hadoop",
        Compression::ZSTD(_) => ".zstd",
        Compression::LZ4_RAW => ".lz4raw",
    }
}

fn unfit(cause: arrow_schema::ArrowError) -> Error {
    Error::invalid(Code::RowsRejected, "the rows do not fit the table").because(cause)
}
