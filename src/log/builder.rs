//! File actions on their way into columns, one row at a time.

use std::sync::{Arc, OnceLock};

use arrow_array::builder::{
    BooleanBuilder, Int32Builder, Int64Builder, MapBuilder, MapFieldNames, StringBuilder,
};
use arrow_array::{ArrayRef, RecordBatch, StructArray};
use arrow_buffer::NullBufferBuilder;
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema};

use crate::error::{Code, Error, Result};
use crate::log::files::FileBatch;
use crate::log::removes::RemoveBatch;
use crate::log::rows::{AddRow, RemoveRow, Stats, Text, TextMap};
use crate::protocol::action::DeletionVectorDescriptor;

/// The most bytes of text one batch may hold: Arrow counts them in 32 bits, and overflowing them would panic.
const TEXT_BYTES_MAX: usize = i32::MAX as usize;

/// The parts of a batch that adds and removes share.
#[derive(Debug)]
struct Common {
    path: StringBuilder,
    stats: StringBuilder,
    tags: MapBuilder<StringBuilder, StringBuilder>,
    partition_values: MapBuilder<StringBuilder, StringBuilder>,
    vectors: Vectors,
    base_row_id: Int64Builder,
    default_row_commit_version: Int64Builder,
    text_bytes: usize,
}

impl Common {
    fn with_capacity(rows: usize) -> Self {
        Self {
            path: StringBuilder::with_capacity(rows, 0),
            stats: StringBuilder::with_capacity(rows, 0),
            tags: text_map(rows),
            partition_values: text_map(rows),
            vectors: Vectors::with_capacity(rows),
            base_row_id: Int64Builder::with_capacity(rows),
            default_row_commit_version: Int64Builder::with_capacity(rows),
            text_bytes: 0,
        }
    }

    /// Counts the text of a row, so that no column can overflow.
    fn reserve(
        &mut self,
        path: &Text<'_>,
        stats: &Stats<'_>,
        maps: [Option<&TextMap<'_>>; 2],
        vector: Option<&DeletionVectorDescriptor>,
    ) -> Result<()> {
        let text = |text: &Text<'_>| text.0.len();
        let entry = |(key, value): &(Text<'_>, Option<Text<'_>>)| {
            text(key) + value.as_ref().map_or(0, text) + 1
        };
        let in_maps: usize = maps
            .into_iter()
            .flatten()
            .map(|map| map.0.iter().map(entry).sum::<usize>())
            .sum();
        // Every row counts for at least one, so the number of rows is bounded, too.
        let in_vector = vector.map_or(0, |v| v.path_or_inline_dv.len() + v.storage_type.len());
        self.text_bytes += text(path) + stats.0.as_ref().map_or(0, text) + in_maps + in_vector + 1;
        if TEXT_BYTES_MAX < self.text_bytes {
            return Err(Error::invalid(
                Code::LimitExceeded,
                "file actions are too large for one batch",
            )
            .with("limit", TEXT_BYTES_MAX));
        }
        Ok(())
    }
}

/// Adds on their way into a [`FileBatch`].
#[derive(Debug)]
pub(crate) struct AddRows {
    common: Common,
    size: Int64Builder,
    modification_time: Int64Builder,
    data_change: BooleanBuilder,
    clustering_provider: StringBuilder,
    rows: usize,
}

impl AddRows {
    /// Room for so many rows to start with.
    pub(crate) fn with_capacity(rows: usize) -> Self {
        Self {
            common: Common::with_capacity(rows),
            size: Int64Builder::with_capacity(rows),
            modification_time: Int64Builder::with_capacity(rows),
            data_change: BooleanBuilder::with_capacity(rows),
            clustering_provider: StringBuilder::with_capacity(rows, 0),
            rows: 0,
        }
    }

    /// Appends one row.
    pub(crate) fn push(&mut self, row: &AddRow<'_>) -> Result<()> {
        let common = &mut self.common;
        let maps = [row.partition_values.as_ref(), row.tags.as_ref()];
        common.reserve(&row.path, &row.stats, maps, row.deletion_vector.as_ref())?;
        common.path.append_value(&row.path.0);
        // An absent map is an empty one here: the column is not nullable in the protocol.
        let empty = TextMap::default();
        append_map(
            &mut common.partition_values,
            Some(row.partition_values.as_ref().unwrap_or(&empty)),
        )?;
        common
            .stats
            .append_option(row.stats.0.as_ref().map(|text| &text.0));
        append_map(&mut common.tags, row.tags.as_ref())?;
        common.vectors.append(row.deletion_vector.as_ref());
        common.base_row_id.append_option(row.base_row_id);
        common
            .default_row_commit_version
            .append_option(row.default_row_commit_version);
        self.size.append_value(row.size);
        self.modification_time.append_value(row.modification_time);
        self.data_change.append_value(row.data_change);
        self.clustering_provider
            .append_option(row.clustering_provider.as_ref().map(|text| &text.0));
        self.rows += 1;
        Ok(())
    }

    /// The columns.
    pub(crate) fn finish(self) -> Result<FileBatch> {
        // Most commits have no row of one of the kinds: all of those share one batch.
        static EMPTY: OnceLock<FileBatch> = OnceLock::new();
        if self.rows == 0 {
            return shared(&EMPTY, || self.columns());
        }
        self.columns()
    }

    fn columns(self) -> Result<FileBatch> {
        let mut common = self.common;
        let (mut size, mut time) = (self.size, self.modification_time);
        let (mut change, mut provider) = (self.data_change, self.clustering_provider);
        let columns: Vec<(&str, ArrayRef, bool)> = vec![
            ("path", Arc::new(common.path.finish()), false),
            (
                "partitionValues",
                Arc::new(common.partition_values.finish()),
                false,
            ),
            ("size", Arc::new(size.finish()), false),
            ("modificationTime", Arc::new(time.finish()), false),
            ("dataChange", Arc::new(change.finish()), false),
            ("stats", Arc::new(common.stats.finish()), true),
            ("tags", Arc::new(common.tags.finish()), true),
            ("deletionVector", common.vectors.finish()?, true),
            ("baseRowId", Arc::new(common.base_row_id.finish()), true),
            (
                "defaultRowCommitVersion",
                Arc::new(common.default_row_commit_version.finish()),
                true,
            ),
            ("clusteringProvider", Arc::new(provider.finish()), true),
        ];
        FileBatch::try_new(batch_of(columns)?)
    }
}

/// Removes on their way into a [`RemoveBatch`].
#[derive(Debug)]
pub(crate) struct RemoveRows {
    common: Common,
    deletion_timestamp: Int64Builder,
    data_change: BooleanBuilder,
    extended_file_metadata: BooleanBuilder,
    size: Int64Builder,
    rows: usize,
}

impl RemoveRows {
    /// Room for so many rows to start with.
    pub(crate) fn with_capacity(rows: usize) -> Self {
        Self {
            common: Common::with_capacity(rows),
            deletion_timestamp: Int64Builder::with_capacity(rows),
            data_change: BooleanBuilder::with_capacity(rows),
            extended_file_metadata: BooleanBuilder::with_capacity(rows),
            size: Int64Builder::with_capacity(rows),
            rows: 0,
        }
    }

    /// Appends one row.
    pub(crate) fn push(&mut self, row: &RemoveRow<'_>) -> Result<()> {
        let common = &mut self.common;
        let maps = [row.partition_values.as_ref(), row.tags.as_ref()];
        common.reserve(&row.path, &row.stats, maps, row.deletion_vector.as_ref())?;
        common.path.append_value(&row.path.0);
        append_map(&mut common.partition_values, row.partition_values.as_ref())?;
        common
            .stats
            .append_option(row.stats.0.as_ref().map(|text| &text.0));
        append_map(&mut common.tags, row.tags.as_ref())?;
        common.vectors.append(row.deletion_vector.as_ref());
        common.base_row_id.append_option(row.base_row_id);
        common
            .default_row_commit_version
            .append_option(row.default_row_commit_version);
        self.deletion_timestamp
            .append_option(row.deletion_timestamp);
        self.data_change
            .append_value(row.data_change.unwrap_or(true));
        self.extended_file_metadata
            .append_option(row.extended_file_metadata);
        self.size.append_option(row.size);
        self.rows += 1;
        Ok(())
    }

    /// The columns.
    pub(crate) fn finish(self) -> Result<RemoveBatch> {
        static EMPTY: OnceLock<RemoveBatch> = OnceLock::new();
        if self.rows == 0 {
            return shared(&EMPTY, || self.columns());
        }
        self.columns()
    }

    fn columns(self) -> Result<RemoveBatch> {
        let mut common = self.common;
        let (mut timestamp, mut change) = (self.deletion_timestamp, self.data_change);
        let (mut extended, mut size) = (self.extended_file_metadata, self.size);
        let columns: Vec<(&str, ArrayRef, bool)> = vec![
            ("path", Arc::new(common.path.finish()), false),
            ("deletionTimestamp", Arc::new(timestamp.finish()), true),
            ("dataChange", Arc::new(change.finish()), false),
            ("extendedFileMetadata", Arc::new(extended.finish()), true),
            (
                "partitionValues",
                Arc::new(common.partition_values.finish()),
                true,
            ),
            ("size", Arc::new(size.finish()), true),
            ("stats", Arc::new(common.stats.finish()), true),
            ("tags", Arc::new(common.tags.finish()), true),
            ("deletionVector", common.vectors.finish()?, true),
            ("baseRowId", Arc::new(common.base_row_id.finish()), true),
            (
                "defaultRowCommitVersion",
                Arc::new(common.default_row_commit_version.finish()),
                true,
            ),
        ];
        RemoveBatch::try_new(batch_of(columns)?)
    }
}

/// Deletion vector descriptors on their way into a struct column.
#[derive(Debug)]
struct Vectors {
    storage_type: StringBuilder,
    path_or_inline: StringBuilder,
    offset: Int32Builder,
    size_in_bytes: Int32Builder,
    cardinality: Int64Builder,
    validity: NullBufferBuilder,
}

impl Vectors {
    fn with_capacity(rows: usize) -> Self {
        Self {
            storage_type: StringBuilder::with_capacity(rows, 0),
            path_or_inline: StringBuilder::with_capacity(rows, 0),
            offset: Int32Builder::with_capacity(rows),
            size_in_bytes: Int32Builder::with_capacity(rows),
            cardinality: Int64Builder::with_capacity(rows),
            validity: NullBufferBuilder::new(rows),
        }
    }

    fn append(&mut self, vector: Option<&DeletionVectorDescriptor>) {
        self.storage_type
            .append_option(vector.map(|v| v.storage_type.as_str()));
        self.path_or_inline
            .append_option(vector.map(|v| v.path_or_inline_dv.as_str()));
        self.offset.append_option(vector.and_then(|v| v.offset));
        self.size_in_bytes
            .append_option(vector.map(|v| v.size_in_bytes));
        self.cardinality
            .append_option(vector.map(|v| v.cardinality));
        self.validity.append(vector.is_some());
    }

    fn finish(mut self) -> Result<ArrayRef> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.storage_type.finish()),
            Arc::new(self.path_or_inline.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.size_in_bytes.finish()),
            Arc::new(self.cardinality.finish()),
        ];
        let array = StructArray::try_new(vector_fields(), columns, self.validity.finish())
            .map_err(unbuildable)?;
        Ok(Arc::new(array))
    }
}

/// The fields of a deletion vector descriptor as a column.
pub(crate) fn vector_fields() -> Fields {
    Fields::from(vec![
        Field::new("storageType", DataType::Utf8, true),
        Field::new("pathOrInlineDv", DataType::Utf8, true),
        Field::new("offset", DataType::Int32, true),
        Field::new("sizeInBytes", DataType::Int32, true),
        Field::new("cardinality", DataType::Int64, true),
    ])
}

fn shared<T: Clone>(cell: &OnceLock<T>, build: impl FnOnce() -> Result<T>) -> Result<T> {
    if let Some(built) = cell.get() {
        return Ok(built.clone());
    }
    let built = build()?;
    Ok(cell.get_or_init(|| built).clone())
}

fn text_map(rows: usize) -> MapBuilder<StringBuilder, StringBuilder> {
    let names = MapFieldNames {
        entry: "key_value".to_owned(),
        key: "key".to_owned(),
        value: "value".to_owned(),
    };
    let text = || StringBuilder::with_capacity(0, 0);
    MapBuilder::with_capacity(Some(names), text(), text(), rows)
}

fn append_map(
    builder: &mut MapBuilder<StringBuilder, StringBuilder>,
    map: Option<&TextMap<'_>>,
) -> Result<()> {
    for (key, value) in map.map_or(&[][..], |map| &map.0) {
        builder.keys().append_value(&key.0);
        builder
            .values()
            .append_option(value.as_ref().map(|text| &text.0));
    }
    builder.append(map.is_some()).map_err(unbuildable)
}

fn batch_of(columns: Vec<(&str, ArrayRef, bool)>) -> Result<RecordBatch> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array, nullable)| Field::new(*name, array.data_type().clone(), *nullable))
        .collect();
    let arrays = columns.into_iter().map(|(_, array, _)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(unbuildable)
}

fn unbuildable(cause: ArrowError) -> Error {
    Error::invalid(Code::LimitExceeded, "file actions do not fit into columns").because(cause)
}
