//! One Parquet file of a checkpoint: which of its columns and row groups are worth reading.

use std::collections::BTreeSet;

use arrow_array::RecordBatch;
use futures::StreamExt;
use futures::stream::BoxStream;
use parquet::arrow::ProjectionMask;
use parquet::file::metadata::RowGroupMetaData;

use crate::error::Result;
use crate::log::checkpoint::{corrupt, in_checkpoint};
use crate::storage::Storage;
use crate::storage::parquet::{ParquetFile, ReadRequest};

/// Rows in one batch.
const BATCH_ROWS: usize = 8192;

/// The columns of a checkpoint, each with the field that every action of its kind has, and another one by which an
/// action shows that lost the first.
const ACTIONS: [(&str, [&str; 2]); 8] = [
    ("add", ["path", "size"]),
    ("remove", ["path", "size"]),
    ("protocol", ["minReaderVersion", "minWriterVersion"]),
    ("metaData", ["id", "schemaString"]),
    ("txn", ["appId", "version"]),
    ("domainMetadata", ["domain", "configuration"]),
    ("sidecar", ["path", "sizeInBytes"]),
    ("checkpointMetadata", ["version", "version"]),
];

/// One Parquet file of a checkpoint.
#[derive(Debug, Clone)]
pub(super) struct Part {
    file: ParquetFile,
    key: String,
}

impl Part {
    /// Reads the footer.
    pub(super) async fn open(storage: &Storage, key: &str, size: u64) -> Result<Self> {
        let file = ParquetFile::open(storage, key, Some(size)).await;
        let file = file.map_err(|error| in_checkpoint(error, key))?;
        let part = Self {
            file,
            key: key.to_owned(),
        };
        // Columns may be missing, but one that is there and cannot be told to hold nothing must be readable.
        for (root, [leaf, _]) in ACTIONS {
            if part.has(&[root]) && part.leaf(&[root, leaf]).is_none() {
                let missing = corrupt(format!("its column `{root}` has no `{leaf}`"));
                return Err(in_checkpoint(missing, key));
            }
        }
        Ok(part)
    }

    /// The object's key.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// How many actions there are.
    pub(super) fn rows(&self) -> u64 {
        let groups = self.file.metadata().row_groups().iter();
        groups
            .map(|group| u64::try_from(group.num_rows()).unwrap_or(0))
            .sum()
    }

    /// The columns to read; `None` if there are none of them.
    pub(super) fn columns(&self, keep: impl Fn(&[String]) -> bool) -> Option<ProjectionMask> {
        let schema = self.file.metadata().file_metadata().schema_descr();
        let leaves: Vec<usize> = (0..schema.num_columns())
            .filter(|index| keep(schema.column(*index).path().parts()))
            .collect();
        (!leaves.is_empty()).then(|| ProjectionMask::leaves(schema, leaves))
    }

    /// Whether there is a column below this path.
    fn has(&self, path: &[&str]) -> bool {
        self.columns(|parts| is_below(parts, path)).is_some()
    }

    /// The row groups that may have a value in the column at exactly this path: all, if the file does not say.
    pub(super) fn groups_with(&self, path: &[&str]) -> Vec<usize> {
        let Some(leaf) = self.leaf(path) else {
            return Vec::new();
        };
        let groups = self.file.metadata().row_groups().iter().enumerate();
        let may_have = groups.filter(|(_, group)| {
            0 < group.num_rows() && values_in(group, leaf).is_none_or(|values| 0 < values)
        });
        may_have.map(|(index, _)| index).collect()
    }

    /// The row groups that may have an action of this kind.
    pub(super) fn groups_of(&self, root: &str) -> Vec<usize> {
        let action = ACTIONS.iter().find(|(action, _)| *action == root);
        let leaves = action.map(|(_, leaves)| leaves).into_iter().flatten();
        let groups: BTreeSet<usize> = leaves
            .flat_map(|leaf| self.groups_with(&[root, leaf]))
            .collect();
        groups.into_iter().collect()
    }

    /// How many rows have a value in the column at exactly this path, if the footer says it.
    pub(super) fn values(&self, path: &[&str]) -> Option<u64> {
        let Some(leaf) = self.leaf(path) else {
            return Some(0);
        };
        self.file
            .metadata()
            .row_groups()
            .iter()
            .map(|group| values_in(group, leaf))
            .sum()
    }

    fn leaf(&self, path: &[&str]) -> Option<usize> {
        let schema = self.file.metadata().file_metadata().schema_descr();
        (0..schema.num_columns())
            .find(|index| schema.column(*index).path().parts().iter().eq(path.iter()))
    }

    /// Everything but file actions, row group by row group.
    pub(super) async fn read_state(&self) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let is_state = |root: &str| root != "add" && root != "remove";
        let actions = ACTIONS.iter().filter(|(root, _)| is_state(root));
        let groups: BTreeSet<usize> = actions.flat_map(|(root, _)| self.groups_of(root)).collect();
        let columns = self.columns(|parts| {
            let root = parts.first().filter(|root| is_state(root));
            root.is_some_and(|root| ACTIONS.iter().any(|(action, _)| action == root))
        });
        match columns.filter(|_| !groups.is_empty()) {
            Some(columns) => self.read(groups.into_iter().collect(), columns).await,
            None => Ok(futures::stream::empty().boxed()),
        }
    }

    /// Reads columns of row groups.
    pub(super) async fn read(
        &self,
        row_groups: Vec<usize>,
        projection: ProjectionMask,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let request = ReadRequest {
            row_groups,
            projection,
            selection: None,
            batch_rows: BATCH_ROWS,
            with_row_numbers: false,
            arrow_schema_hint: None,
            limit: None,
        };
        let key = self.key.clone();
        let batches = self
            .file
            .read(request)
            .await
            .map_err(|error| in_checkpoint(error, &key))?;
        Ok(batches
            .map(move |batch| batch.map_err(|error| in_checkpoint(error, &key)))
            .boxed())
    }
}

fn values_in(group: &RowGroupMetaData, leaf: usize) -> Option<u64> {
    let nulls = group.columns().get(leaf)?.statistics()?.null_count_opt()?;
    u64::try_from(group.num_rows()).ok()?.checked_sub(nulls)
}

/// Whether a column's path starts with `path`.
pub(super) fn is_below(parts: &[String], path: &[&str]) -> bool {
    path.len() <= parts.len() && parts.iter().zip(path).all(|(part, wanted)| part == wanted)
}
