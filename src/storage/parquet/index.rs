//! The page index: which rows and values the pages of a column chunk hold, and where they lie.
//!
//! It is an offer, not a promise: a file without one, or with one that contradicts itself, is read without it.
//! See [PageIndex.md](https://github.com/apache/parquet-format/blob/master/PageIndex.md).

use std::ops::Range;

use bytes::Bytes;
use parquet::file::metadata::{
    ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::PageLocation;

use super::chunk::Chunks;
use super::footer::chunk_range;
use super::shape;
use super::thrift::{self, Blind, Shape, Unknown};

/// Bytes of the page index of a whole file. Parsing takes up to twenty times as much for a moment.
const INDEX_MAX: u64 = 32 << 20;

/// Where the page index of a file lies, all of it; `None` if there is none worth reading.
pub(super) fn locate(metadata: &ParquetMetaData, data_end: u64) -> Option<Range<u64>> {
    let (mut covering, mut total): (Option<Range<u64>>, u64) = (None, 0);
    for column in metadata
        .row_groups()
        .iter()
        .flat_map(RowGroupMetaData::columns)
    {
        // With the places of some chunks unknown, the others' are of no use to the parser.
        let places = [Some(offset_range(column)?), column_range(column)];
        for range in places.into_iter().flatten() {
            total = total.checked_add(range.end - range.start)?;
            covering = Some(match covering {
                Some(all) => all.start.min(range.start)..all.end.max(range.end),
                None => range,
            });
        }
    }
    covering.filter(|all| {
        !all.is_empty()
            && all.end <= data_end
            && all.end - all.start <= INDEX_MAX
            && total <= INDEX_MAX
    })
}

/// Reads the page index out of `bytes`, which are at `at` of a file; `None` if it cannot be relied on.
pub(super) fn parse(
    metadata: &ParquetMetaData,
    size: u64,
    (at, bytes): (u64, Bytes),
) -> Option<ParquetMetaData> {
    let all = at..at.checked_add(bytes.len() as u64)?;
    let chunks = Chunks::new(size, &[all], vec![bytes]);
    let sound = |range: Range<u64>, shape: &'static Shape| {
        let bytes = chunks.get(&range)?;
        thrift::check(&bytes, shape, Unknown::Refuse, &mut Blind).ok()
    };
    for column in metadata
        .row_groups()
        .iter()
        .flat_map(RowGroupMetaData::columns)
    {
        sound(offset_range(column)?, &shape::OFFSET_INDEX)?;
        if let Some(range) = column_range(column) {
            sound(range, &shape::COLUMN_INDEX)?;
        }
    }
    let mut reader = ParquetMetaDataReader::new_with_metadata(metadata.clone())
        .with_page_index_policy(PageIndexPolicy::Optional);
    reader.read_page_indexes_sized(&chunks, size).ok()?;
    reader.finish().ok().filter(is_consistent)
}

fn offset_range(column: &ColumnChunkMetaData) -> Option<Range<u64>> {
    place(column.offset_index_offset()?, column.offset_index_length()?)
}

fn column_range(column: &ColumnChunkMetaData) -> Option<Range<u64>> {
    place(column.column_index_offset()?, column.column_index_length()?)
}

fn place(offset: i64, length: i32) -> Option<Range<u64>> {
    let start = u64::try_from(offset).ok()?;
    Some(start..start.checked_add(u64::try_from(length).ok()?)?)
}

fn is_consistent(metadata: &ParquetMetaData) -> bool {
    let Some(offsets) = metadata.offset_index() else {
        return false;
    };
    let values = metadata.column_index();
    metadata
        .row_groups()
        .iter()
        .zip(offsets)
        .enumerate()
        .all(|(index, (group, offsets))| {
            let values = values.and_then(|values| values.get(index));
            group
                .columns()
                .iter()
                .zip(offsets)
                .enumerate()
                .all(|(index, (column, offsets))| {
                    let pages = &offsets.page_locations;
                    let counted = match values.and_then(|values| values.get(index)) {
                        None | Some(ColumnIndexMetaData::NONE) => true,
                        Some(values) => values.num_pages() == pages.len() as u64,
                    };
                    counted && pages_are_in_order(pages, column, group.num_rows())
                })
        })
}

/// Whether pages follow each other in the chunk, and their rows in the row group.
fn pages_are_in_order(pages: &[PageLocation], column: &ColumnChunkMetaData, rows: i64) -> bool {
    let Some(chunk) = chunk_range(column) else {
        return false;
    };
    let Some(first) = pages.first() else {
        return rows == 0;
    };
    if first.first_row_index != 0 {
        return false;
    }
    let (mut at, mut row) = (chunk.start, -1);
    for page in pages {
        let Some(range) = place(page.offset, page.compressed_page_size) else {
            return false;
        };
        if range.is_empty() || range.start < at || range.end > chunk.end {
            return false;
        }
        if page.first_row_index <= row || page.first_row_index >= rows {
            return false;
        }
        (at, row) = (range.end, page.first_row_index);
    }
    true
}
