//! Adds as columns: a table may have millions of files, so no struct per file is kept.

use std::borrow::Cow;

use arrow_array::{BooleanArray, Int64Array, RecordBatch};
use arrow_schema::SchemaRef;

use crate::error::{Code, Error, Result};
use crate::log::builder::AddRows;
use crate::log::columns::{
    CommonColumns, boolean, filtered, int64, malformed, number, required, text, unmergeable,
};
use crate::log::key::{FileKey, canonical_path};
use crate::protocol::action::{Add, DeletionVectorDescriptor, PartitionValues, UnknownFields};
use crate::protocol::statistics::FileStatistics;

/// Adds as columns: the fields of the `add` struct of a checkpoint, under their names.
///
/// Always there and never null: `path`, `size` (not negative), `modificationTime`, `dataChange`. Of their exact type
/// where they are there: `partitionValues` and `tags` (Map of Utf8 to Utf8), `stats` (Utf8), `deletionVector`
/// (Struct), `baseRowId`, `defaultRowCommitVersion` (Int64), `clusteringProvider` (Utf8). Other columns, such as
/// `stats_parsed` and `partitionValues_parsed` of a checkpoint, are carried along as they are.
///
/// Cloning and slicing share the columns.
#[derive(Debug, Clone)]
pub(crate) struct FileBatch {
    batch: RecordBatch,
    common: CommonColumns,
    size: Int64Array,
    modification_time: Int64Array,
    data_change: BooleanArray,
}

impl FileBatch {
    /// Adds from columns that were read from a table.
    ///
    /// # Errors
    ///
    /// [`Code::CorruptCheckpoint`] if a column that must be there is not, has another type, or holds what it cannot.
    pub(crate) fn try_new(batch: RecordBatch) -> Result<Self> {
        let size: Int64Array = required(int64(&batch, "size")?, "size")?;
        if size.values().iter().any(|size| *size < 0) {
            return Err(malformed("size", "is negative"));
        }
        Ok(Self {
            common: CommonColumns::of(&batch)?,
            size,
            modification_time: required(int64(&batch, "modificationTime")?, "modificationTime")?,
            data_change: required(boolean(&batch, "dataChange")?, "dataChange")?,
            batch,
        })
    }

    /// Adds from structs.
    ///
    /// # Errors
    ///
    /// [`Code::LimitExceeded`] if they hold more text than one batch can.
    pub(crate) fn from_adds(adds: impl IntoIterator<Item = Add>) -> Result<Self> {
        let adds = adds.into_iter();
        let mut rows = AddRows::with_capacity(adds.size_hint().0);
        for add in adds {
            rows.push(&(&add).into())?;
        }
        rows.finish()
    }

    /// No adds.
    pub(crate) fn empty() -> Result<Self> {
        AddRows::with_capacity(0).finish()
    }

    /// How many adds there are.
    pub(crate) fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The columns.
    pub(crate) fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// Names and types of the columns.
    pub(crate) fn schema(&self) -> SchemaRef {
        self.batch.schema()
    }

    /// The path as it stands in the log: a URI.
    pub(crate) fn path(&self, index: usize) -> &str {
        self.common.path.value(index)
    }

    /// Size of the data file in bytes; never negative.
    pub(crate) fn size(&self, index: usize) -> i64 {
        self.size.value(index)
    }

    /// When the file was made, in milliseconds since the epoch.
    pub(crate) fn modification_time(&self, index: usize) -> i64 {
        self.modification_time.value(index)
    }

    /// Whether the add changes rows of the table.
    pub(crate) fn data_change(&self, index: usize) -> bool {
        self.data_change.value(index)
    }

    /// Statistics as JSON text, if there are any.
    pub(crate) fn stats(&self, index: usize) -> Option<&str> {
        text(self.common.stats.as_ref()?, index)
    }

    /// Statistics, parsed as far as they are asked; unreadable ones are none.
    pub(crate) fn statistics(&self, index: usize) -> Option<FileStatistics<'_>> {
        FileStatistics::parse(self.stats(index)?)
    }

    /// The partition value under a physical column name: `None` if the add does not have one, `Some(None)` if it is
    /// null.
    pub(crate) fn partition_value(
        &self,
        index: usize,
        physical_name: &str,
    ) -> Option<Option<&str>> {
        self.common
            .partition_values
            .as_ref()?
            .get(index, physical_name)
    }

    /// All partition values, by physical column name.
    pub(crate) fn partition_values(&self, index: usize) -> PartitionValues {
        let common = &self.common;
        let values = common.map(common.partition_values.as_ref(), index);
        values.unwrap_or_default()
    }

    /// A tag's value: `None` if the add does not have the tag or it is null.
    pub(crate) fn tag(&self, index: usize, name: &str) -> Option<&str> {
        self.common.tags.as_ref()?.get(index, name)?
    }

    /// The deletion vector, if there is one.
    pub(crate) fn deletion_vector(&self, index: usize) -> Option<DeletionVectorDescriptor> {
        self.common.vectors.as_ref()?.get(index)
    }

    /// Whether any add has a deletion vector.
    pub(crate) fn has_deletion_vectors(&self) -> bool {
        self.common
            .vectors
            .as_ref()
            .is_some_and(|vectors| vectors.any())
    }

    /// The key of the logical file.
    pub(crate) fn key(&self, index: usize) -> FileKey {
        self.common.key(index)
    }

    /// The path without its spelling: one half of the key.
    pub(crate) fn canonical_path(&self, index: usize) -> Cow<'_, str> {
        canonical_path(self.path(index))
    }

    /// The id of the deletion vector, if there is one: the other half of the key.
    pub(crate) fn vector_id(&self, index: usize) -> Option<String> {
        self.common.vector_id(index)
    }

    /// The key of the logical file as one text: see [`key_text`](crate::log::key::key_text).
    pub(crate) fn key_text(&self, index: usize) -> Cow<'_, str> {
        self.common.key_text(index)
    }

    /// One add as a struct.
    pub(crate) fn add(&self, index: usize) -> Add {
        let common = &self.common;
        Add {
            path: self.path(index).to_owned(),
            partition_values: self.partition_values(index),
            size: self.size(index),
            modification_time: self.modification_time(index),
            data_change: self.data_change(index),
            stats: self.stats(index).map(str::to_owned),
            tags: common.map(common.tags.as_ref(), index),
            deletion_vector: self.deletion_vector(index),
            base_row_id: number(common.base_row_id.as_ref(), index),
            default_row_commit_version: number(common.default_row_commit_version.as_ref(), index),
            clustering_provider: common
                .clustering_provider
                .as_ref()
                .and_then(|column| text(column, index))
                .map(str::to_owned),
            unknown: UnknownFields::new(),
        }
    }

    /// All adds as structs: for commits, not for tables.
    pub(crate) fn adds(&self) -> impl Iterator<Item = Add> + '_ {
        (0..self.len()).map(|index| self.add(index))
    }

    /// The size of all files together.
    ///
    /// # Errors
    ///
    /// [`Code::LimitExceeded`] if it does not fit into 64 bits.
    pub(crate) fn total_bytes(&self) -> Result<u64> {
        let total: u128 = self
            .size
            .values()
            .iter()
            .map(|size| u128::from(size.unsigned_abs()))
            .sum();
        u64::try_from(total).map_err(|_| {
            Error::corrupt(
                Code::LimitExceeded,
                "the sizes of the files add up to more than can be",
            )
        })
    }

    /// The adds where the mask is true.
    ///
    /// # Errors
    ///
    /// If the mask has another length.
    pub(crate) fn filter(&self, mask: &BooleanArray) -> Result<Self> {
        match filtered(&self.batch, mask)? {
            Some(batch) => Self::try_new(batch),
            None => Ok(self.clone()),
        }
    }

    /// Batches with the same columns as one.
    ///
    /// # Errors
    ///
    /// If they do not have the same columns, or hold more text than one batch can.
    pub(crate) fn concat(batches: &[Self]) -> Result<Self> {
        let Some(first) = batches.first() else {
            return Self::empty();
        };
        let all = batches.iter().map(|batch| &batch.batch);
        let joined =
            arrow_select::concat::concat_batches(&first.schema(), all).map_err(unmergeable)?;
        Self::try_new(joined)
    }
}

#[cfg(test)]
mod tests;
