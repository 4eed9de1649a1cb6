//! Reading some rows of a file, named by where they stand in it.

use std::ops::Range;

use crate::data::reader::prune::Group;
use crate::data::reader::{DataFile, FileReader, Reader, RowStream, deletion, place};
use crate::error::Result;

/// A row group of a file, whatever a predicate leaves of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowGroup {
    /// Where its rows stand in the file.
    pub(crate) rows: Range<u64>,
    /// About how many bytes its rows take in memory.
    pub(crate) bytes: u64,
    /// Whether some of its rows can be read without the others.
    pub(crate) is_indexed: bool,
}

impl Reader {
    /// Opens a file with its page index, so that [`FileReader::read_rows`] leaves pages unread.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub(crate) async fn open_indexed(&self, file: &DataFile) -> Result<FileReader> {
        let opened = async {
            let mut opened = self.open_file(file).await?;
            opened.file = opened.file.with_page_index().await?;
            Ok(FileReader(opened.into()))
        };
        opened.await.map_err(|error| place(error, &file.path))
    }
}

impl FileReader {
    /// All row groups of the file, in their order.
    pub(crate) fn row_groups(&self) -> Vec<RowGroup> {
        let file = &self.0.file;
        let groups = file.metadata().row_groups().iter().enumerate();
        let groups = groups.map(|(index, group)| {
            let first = file.first_row_of(index).unwrap_or(0);
            let rows = u64::try_from(group.num_rows()).unwrap_or(0);
            let bytes = group.columns().iter().map(|chunk| {
                let written = u64::try_from(chunk.uncompressed_size()).unwrap_or(0);
                written.max(rows.saturating_mul(width(chunk.column_type())))
            });
            RowGroup {
                rows: first..first.saturating_add(rows),
                bytes: bytes.fold(0, u64::saturating_add),
                is_indexed: group
                    .columns()
                    .iter()
                    .all(|chunk| chunk.offset_index_offset().is_some()),
            }
        });
        groups.collect()
    }

    /// How many of the rows at these places are not deleted.
    pub(crate) fn live_rows(&self, rows: &Range<u64>) -> u64 {
        let all = rows.end.saturating_sub(rows.start);
        let deleted = self.0.deleted.as_ref();
        all.saturating_sub(deleted.map_or(0, |deleted| deletion::count(deleted, rows)))
    }

    /// The rows at these places, without those that are deleted or not asked for.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(crate) async fn read_rows(&self, rows: Range<u64>) -> Result<RowStream> {
        let groups = self.0.groups.iter().filter_map(|group| {
            let first = self.0.file.first_row_of(group.index)?;
            let (start, end) = (rows.start.max(first), rows.end.min(first + group.rows));
            (start < end).then(|| within(group, &(start - first..end - first)))
        });
        self.read_groups(groups.filter(|group| 0 < group.selected()).collect())
            .await
    }
}

/// The group with what is left of its rows inside a range.
fn within(group: &Group, rows: &Range<u64>) -> Group {
    let whole = 0..group.rows;
    if *rows == whole {
        return group.clone();
    }
    let left = group
        .ranges
        .as_deref()
        .unwrap_or(std::slice::from_ref(&whole));
    let cut = left
        .iter()
        .map(|range| range.start.max(rows.start)..range.end.min(rows.end));
    Group {
        ranges: Some(cut.filter(|range| range.start < range.end).collect()),
        ..group.clone()
    }
}

/// Bytes that a value takes in memory, at least.
fn width(kind: parquet::basic::Type) -> u64 {
    use parquet::basic::Type;
    match kind {
        Type::BOOLEAN => 1,
        Type::INT32 | Type::FLOAT => 4,
        Type::INT64 | Type::DOUBLE | Type::INT96 => 8,
        Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY => 16,
    }
}
