//! Reading some rows of a file, named by where they stand in it.

use std::ops::Range;

use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::file::metadata::ColumnChunkMetaData;

use crate::data::reader::prune::Group;
use crate::data::reader::{DataFile, FileReader, Reader, RowStream, deletion, place};
use crate::error::Result;

/// Bytes of a decimal in memory, however many digits it has.
const DECIMAL_BYTES: u64 = 16;
/// Bytes that say where a text begins.
const OFFSET_BYTES: u64 = 4;
/// Bytes of a text of which nothing is known.
const TEXT_BYTES: u64 = 12;

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
            let bytes = group.columns().iter().map(|chunk| decoded(chunk, rows));
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

/// About how many bytes a column chunk takes in memory. A function of the footer, so that it is the same wherever and
/// whenever it is asked for.
fn decoded(chunk: &ColumnChunkMetaData, rows: u64) -> u64 {
    let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
    let written = unsigned(chunk.uncompressed_size());
    // A value of a list is a value; a null is one, too.
    let values = unsigned(chunk.num_values()).max(rows);
    let width = match chunk.column_type() {
        _ if is_decimal(chunk) => DECIMAL_BYTES,
        Type::BOOLEAN => 1,
        Type::INT32 | Type::FLOAT => 4,
        Type::INT64 | Type::DOUBLE | Type::INT96 => 8,
        Type::FIXED_LEN_BYTE_ARRAY => unsigned(chunk.column_descr().type_length().into()),
        Type::BYTE_ARRAY => {
            let offsets = values.saturating_mul(OFFSET_BYTES);
            // A dictionary may hold a long text once that many rows have: what is written says nothing of that.
            let text = chunk.unencoded_byte_array_data_bytes().map(unsigned);
            let text = text.unwrap_or_else(|| values.saturating_mul(text_bytes(chunk)));
            return written.max(text.saturating_add(offsets));
        }
    };
    written.max(values.saturating_mul(width))
}

fn is_decimal(chunk: &ColumnChunkMetaData) -> bool {
    let column = chunk.column_descr();
    let by_logical = matches!(column.logical_type_ref(), Some(LogicalType::Decimal(_)));
    by_logical || column.converted_type() == ConvertedType::DECIMAL
}

/// How long a text is, where the writer did not say: like the longer one of the bounds, or as texts mostly are.
fn text_bytes(chunk: &ColumnChunkMetaData) -> u64 {
    let bounds = chunk.statistics().map(|bounds| {
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len) as u64;
        length(bounds.min_bytes_opt()).max(length(bounds.max_bytes_opt()))
    });
    bounds.unwrap_or(0).max(TEXT_BYTES)
}
