//! Removes as columns: the tombstones of a table are as many as its files.

use std::borrow::Cow;

use arrow_array::{BooleanArray, Int64Array, RecordBatch};

use crate::error::Result;
use crate::log::builder::RemoveRows;
use crate::log::columns::{CommonColumns, boolean, filtered, flag, int64, malformed, number, text};
use crate::log::key::{FileKey, canonical_path};
use crate::protocol::action::{DeletionVectorDescriptor, Remove, UnknownFields};

/// Removes as columns: the fields of the `remove` action under their names.
///
/// Always there and never null: `path`. The others are as in the protocol, and absent where nobody knows them.
#[derive(Debug, Clone)]
pub(crate) struct RemoveBatch {
    batch: RecordBatch,
    common: CommonColumns,
    size: Option<Int64Array>,
    deletion_timestamp: Option<Int64Array>,
    data_change: Option<BooleanArray>,
    extended_file_metadata: Option<BooleanArray>,
}

impl RemoveBatch {
    /// Removes from columns that were read from a table.
    ///
    /// # Errors
    ///
    /// `CorruptCheckpoint` if a column that must be there is not, has another type, or holds what it cannot.
    pub(crate) fn try_new(batch: RecordBatch) -> Result<Self> {
        let size = int64(&batch, "size")?;
        if size
            .iter()
            .flat_map(|column| column.iter())
            .flatten()
            .any(|size| size < 0)
        {
            return Err(malformed("size", "is negative"));
        }
        Ok(Self {
            common: CommonColumns::of(&batch)?,
            size,
            deletion_timestamp: int64(&batch, "deletionTimestamp")?,
            data_change: boolean(&batch, "dataChange")?,
            extended_file_metadata: boolean(&batch, "extendedFileMetadata")?,
            batch,
        })
    }

    /// Removes from structs.
    ///
    /// # Errors
    ///
    /// `LimitExceeded` if they hold more text than one batch can.
    pub(crate) fn from_removes(removes: impl IntoIterator<Item = Remove>) -> Result<Self> {
        let removes = removes.into_iter();
        let mut rows = RemoveRows::with_capacity(removes.size_hint().0);
        for remove in removes {
            rows.push(&(&remove).into())?;
        }
        rows.finish()
    }

    /// How many removes there are.
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

    /// The path as it stands in the log: a URI.
    pub(crate) fn path(&self, index: usize) -> &str {
        self.common.path.value(index)
    }

    /// When the file was removed, in milliseconds since the epoch; `None` is unknown, not long ago.
    pub(crate) fn deletion_timestamp(&self, index: usize) -> Option<i64> {
        number(self.deletion_timestamp.as_ref(), index)
    }

    /// Whether the remove changes rows of the table.
    pub(crate) fn data_change(&self, index: usize) -> bool {
        flag(self.data_change.as_ref(), index).unwrap_or(true)
    }

    /// Size of the data file in bytes, if it is known.
    pub(crate) fn size(&self, index: usize) -> Option<i64> {
        number(self.size.as_ref(), index)
    }

    /// The deletion vector, if there is one.
    pub(crate) fn deletion_vector(&self, index: usize) -> Option<DeletionVectorDescriptor> {
        self.common.vectors.as_ref()?.get(index)
    }

    /// The partition value under a physical column name: `None` if it is not known, `Some(None)` if it is null.
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

    /// One remove as a struct.
    pub(crate) fn remove(&self, index: usize) -> Remove {
        let common = &self.common;
        let stats = common.stats.as_ref().and_then(|column| text(column, index));
        Remove {
            path: self.path(index).to_owned(),
            deletion_timestamp: self.deletion_timestamp(index),
            data_change: self.data_change(index),
            extended_file_metadata: flag(self.extended_file_metadata.as_ref(), index),
            partition_values: common.map(common.partition_values.as_ref(), index),
            size: self.size(index),
            stats: stats.map(str::to_owned),
            tags: common.map(common.tags.as_ref(), index),
            deletion_vector: self.deletion_vector(index),
            base_row_id: number(common.base_row_id.as_ref(), index),
            default_row_commit_version: number(common.default_row_commit_version.as_ref(), index),
            unknown: UnknownFields::new(),
        }
    }

    /// All removes as structs: for commits, not for tables.
    pub(crate) fn removes(&self) -> impl Iterator<Item = Remove> + '_ {
        (0..self.len()).map(|index| self.remove(index))
    }

    /// The removes where the mask is true.
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
}
