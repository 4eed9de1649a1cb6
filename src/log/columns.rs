//! The columns that adds and removes share, checked once and then read without looking them up by name.

use std::borrow::Cow;
use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{
    Array, BooleanArray, Int32Array, Int64Array, MapArray, RecordBatch, StringArray,
};
use arrow_buffer::NullBuffer;
use arrow_schema::ArrowError;

use crate::error::{Code, Error, Result};
use crate::log::key::{FileKey, key_text};
use crate::protocol::action::DeletionVectorDescriptor;

/// The columns that adds and removes share.
#[derive(Debug, Clone)]
pub(crate) struct CommonColumns {
    pub(crate) path: StringArray,
    pub(crate) partition_values: Option<TextMaps>,
    pub(crate) stats: Option<StringArray>,
    pub(crate) tags: Option<TextMaps>,
    pub(crate) vectors: Option<VectorColumns>,
    pub(crate) base_row_id: Option<Int64Array>,
    pub(crate) default_row_commit_version: Option<Int64Array>,
    pub(crate) clustering_provider: Option<StringArray>,
}

impl CommonColumns {
    pub(crate) fn of(batch: &RecordBatch) -> Result<Self> {
        Ok(Self {
            path: required(string(batch, "path")?, "path")?,
            partition_values: TextMaps::of(batch, "partitionValues")?,
            stats: string(batch, "stats")?,
            tags: TextMaps::of(batch, "tags")?,
            vectors: VectorColumns::of(batch)?,
            base_row_id: int64(batch, "baseRowId")?,
            default_row_commit_version: int64(batch, "defaultRowCommitVersion")?,
            clustering_provider: string(batch, "clusteringProvider")?,
        })
    }

    pub(crate) fn key(&self, index: usize) -> FileKey {
        FileKey::new(self.path.value(index), self.vector_id(index))
    }

    pub(crate) fn key_text(&self, index: usize) -> Cow<'_, str> {
        key_text(self.path.value(index), self.vector_id(index).as_deref())
    }

    pub(crate) fn vector_id(&self, index: usize) -> Option<String> {
        Some(self.vectors.as_ref()?.get(index)?.unique_id())
    }

    pub(crate) fn map(
        &self,
        maps: Option<&TextMaps>,
        index: usize,
    ) -> Option<BTreeMap<String, Option<String>>> {
        let owned = |(key, value): (&str, Option<&str>)| (key.to_owned(), value.map(str::to_owned));
        Some(maps?.entries(index)?.map(owned).collect())
    }
}

/// A map column whose keys and values are text.
#[derive(Debug, Clone)]
pub(crate) struct TextMaps {
    map: MapArray,
    keys: StringArray,
    values: StringArray,
}

impl TextMaps {
    pub(crate) fn of(batch: &RecordBatch, name: &'static str) -> Result<Option<Self>> {
        let Some(column) = batch.column_by_name(name) else {
            return Ok(None);
        };
        let wrong = || malformed(name, "is not a map of strings");
        let map = column.as_map_opt().ok_or_else(wrong)?.clone();
        let keys = map.keys().as_string_opt().ok_or_else(wrong)?.clone();
        let values = map.values().as_string_opt().ok_or_else(wrong)?.clone();
        Ok(Some(Self { map, keys, values }))
    }

    fn entries(&self, index: usize) -> Option<impl Iterator<Item = (&str, Option<&str>)>> {
        if self.map.is_null(index) {
            return None;
        }
        let offset = |at: usize| usize::try_from(*self.map.value_offsets().get(at)?).ok();
        let range = offset(index)?..offset(index + 1)?;
        Some(range.map(|at| (self.keys.value(at), text(&self.values, at))))
    }

    pub(crate) fn get(&self, index: usize, key: &str) -> Option<Option<&str>> {
        self.entries(index)?
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    }
}

/// The descriptor columns of deletion vectors.
#[derive(Debug, Clone)]
pub(crate) struct VectorColumns {
    validity: Option<NullBuffer>,
    storage_type: StringArray,
    path_or_inline: StringArray,
    offset: Option<Int32Array>,
    size_in_bytes: Int32Array,
    cardinality: Int64Array,
}

impl VectorColumns {
    pub(crate) fn of(batch: &RecordBatch) -> Result<Option<Self>> {
        const NAME: &str = "deletionVector";
        let Some(column) = batch.column_by_name(NAME) else {
            return Ok(None);
        };
        let wrong = || malformed(NAME, "is not a descriptor");
        let parts = column.as_struct_opt().ok_or_else(wrong)?;
        let field = |name: &str| parts.column_by_name(name).ok_or_else(wrong);
        let strings = |name| Ok(field(name)?.as_string_opt().ok_or_else(wrong)?.clone());
        let offset = match parts.column_by_name("offset") {
            Some(offset) => Some(
                offset
                    .as_primitive_opt::<Int32Type>()
                    .ok_or_else(wrong)?
                    .clone(),
            ),
            None => None,
        };
        let size = field("sizeInBytes")?
            .as_primitive_opt::<Int32Type>()
            .ok_or_else(wrong)?;
        let cardinality = field("cardinality")?
            .as_primitive_opt::<Int64Type>()
            .ok_or_else(wrong)?;
        let columns = Self {
            validity: parts.nulls().cloned(),
            storage_type: strings("storageType")?,
            path_or_inline: strings("pathOrInlineDv")?,
            offset,
            size_in_bytes: size.clone(),
            cardinality: cardinality.clone(),
        };
        if parts.null_count() < parts.len() {
            columns.check(parts.len())?;
        }
        Ok(Some(columns))
    }

    /// A descriptor that is there only in part would bring deleted rows back if it were ignored.
    fn check(&self, rows: usize) -> Result<()> {
        for index in 0..rows {
            if self.is_null(index) {
                continue;
            }
            let complete = self.storage_type.is_valid(index)
                && self.path_or_inline.is_valid(index)
                && self.size_in_bytes.is_valid(index)
                && self.cardinality.is_valid(index);
            if !complete {
                return Err(malformed("deletionVector", "is incomplete"));
            }
        }
        Ok(())
    }

    /// No vector: a null struct, or one whose parts are all null, as some writers put it.
    fn is_null(&self, index: usize) -> bool {
        self.validity
            .as_ref()
            .is_some_and(|validity| validity.is_null(index))
            || (self.storage_type.is_null(index)
                && self.path_or_inline.is_null(index)
                && self.size_in_bytes.is_null(index)
                && self.cardinality.is_null(index))
    }

    pub(crate) fn any(&self) -> bool {
        (0..self.storage_type.len()).any(|index| !self.is_null(index))
    }

    pub(crate) fn get(&self, index: usize) -> Option<DeletionVectorDescriptor> {
        if self.is_null(index) {
            return None;
        }
        let offset = self.offset.as_ref().filter(|offset| offset.is_valid(index));
        Some(DeletionVectorDescriptor {
            storage_type: self.storage_type.value(index).to_owned(),
            path_or_inline_dv: self.path_or_inline.value(index).to_owned(),
            offset: offset.map(|offset| offset.value(index)),
            size_in_bytes: self.size_in_bytes.value(index),
            cardinality: self.cardinality.value(index),
        })
    }
}

pub(crate) fn string(batch: &RecordBatch, name: &'static str) -> Result<Option<StringArray>> {
    let Some(column) = batch.column_by_name(name) else {
        return Ok(None);
    };
    let array = column
        .as_string_opt::<i32>()
        .ok_or_else(|| malformed(name, "is not a string"))?;
    Ok(Some(array.clone()))
}

pub(crate) fn int64(batch: &RecordBatch, name: &'static str) -> Result<Option<Int64Array>> {
    let Some(column) = batch.column_by_name(name) else {
        return Ok(None);
    };
    let array = column
        .as_primitive_opt::<Int64Type>()
        .ok_or_else(|| malformed(name, "is not a long"))?;
    Ok(Some(array.clone()))
}

pub(crate) fn boolean(batch: &RecordBatch, name: &'static str) -> Result<Option<BooleanArray>> {
    let Some(column) = batch.column_by_name(name) else {
        return Ok(None);
    };
    let array = column
        .as_boolean_opt()
        .ok_or_else(|| malformed(name, "is not a boolean"))?;
    Ok(Some(array.clone()))
}

pub(crate) fn required<A: Array>(array: Option<A>, name: &'static str) -> Result<A> {
    let array = array.ok_or_else(|| malformed(name, "is missing"))?;
    if array.null_count() == 0 {
        Ok(array)
    } else {
        Err(malformed(name, "is null"))
    }
}

pub(crate) fn text(column: &StringArray, index: usize) -> Option<&str> {
    column.is_valid(index).then(|| column.value(index))
}

pub(crate) fn number(column: Option<&Int64Array>, index: usize) -> Option<i64> {
    column
        .filter(|column| column.is_valid(index))
        .map(|column| column.value(index))
}

pub(crate) fn flag(column: Option<&BooleanArray>, index: usize) -> Option<bool> {
    column
        .filter(|column| column.is_valid(index))
        .map(|column| column.value(index))
}

/// The rows where the mask is true; `None` if those are all.
pub(crate) fn filtered(batch: &RecordBatch, mask: &BooleanArray) -> Result<Option<RecordBatch>> {
    if mask.len() != batch.num_rows() {
        return Err(Error::invalid(
            Code::InvalidArgument,
            "a mask has another length than what it masks",
        ));
    }
    if mask.true_count() == mask.len() {
        return Ok(None);
    }
    arrow_select::filter::filter_record_batch(batch, mask)
        .map(Some)
        .map_err(unmergeable)
}

pub(crate) fn malformed(column: &'static str, why: &str) -> Error {
    Error::corrupt(
        Code::CorruptCheckpoint,
        format!("a file action's {column} {why}"),
    )
    .with("column", column)
}

pub(crate) fn unmergeable(cause: ArrowError) -> Error {
    Error::invalid(
        Code::InvalidArgument,
        "file actions of different columns do not go together",
    )
    .because(cause)
}
