//! The footer: found, bounded, rewritten to what is understood of it, parsed, and held against the file.

use std::ops::Range;

use bytes::Bytes;
use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::{
    ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader,
    ParquetStatisticsPolicy, RowGroupMetaData,
};

use super::shape::{self, id};
use super::thrift::{self, Observer, Refusal, Shape};

/// Bytes of a footer; one of this size describes a hundred thousand columns, or as many row groups as there can be.
pub(super) const FOOTER_MAX: usize = 64 << 20;

/// The magic number at the start of a file, the length of the footer, and the magic number at its end.
pub(super) const MAGIC_LEN: u64 = 4;
pub(super) const TRAILER_LEN: u64 = 8;

/// Groups and leaves of a schema.
const SCHEMA_ELEMENTS_MAX: usize = 100_000;

/// Depth of a schema, its root included: an array takes three levels. Parsers go down recursively.
const SCHEMA_DEPTH_MAX: usize = 64;

/// Bytes of the full paths of all leaves: each leaf repeats the names above it once it is parsed.
const SCHEMA_PATHS_MAX: usize = 64 << 20;

/// Bytes of one value of a fixed length; nulls take as much in memory.
pub(super) const FIXED_LEN_MAX: i64 = 1 << 20;

/// Row groups: their ordinals are numbers of 16 bits.
const ROW_GROUPS_MAX: usize = i16::MAX as usize;

/// Column chunks of all row groups. Each takes about half a kilobyte once it is parsed.
const COLUMN_CHUNKS_MAX: usize = 512 * 1024;

/// Rows of one row group.
const GROUP_ROWS_MAX: i64 = i32::MAX as i64;

/// Where the footer lies in a file of `size` bytes, given the end of the file.
pub(super) fn locate(tail: &[u8], size: u64) -> Result<Range<u64>, Refusal> {
    let trailer = tail
        .len()
        .checked_sub(TRAILER_LEN as usize)
        .and_then(|at| tail.get(at..));
    let Some(&[a, b, c, d, ref magic @ ..]) = trailer else {
        return Err(Refusal::Malformed("it is too short for a Parquet file"));
    };
    match magic {
        b"PAR1" => {}
        b"PARE" => return Err(Refusal::Unsupported("the file is encrypted")),
        _ => return Err(Refusal::Malformed("it does not end as a Parquet file does")),
    }
    let len = u64::from(u32::from_le_bytes([a, b, c, d]));
    if len > FOOTER_MAX as u64 {
        return Err(Refusal::TooLarge("its footer is over the limit"));
    }
    let end = size.saturating_sub(TRAILER_LEN);
    match end.checked_sub(len) {
        Some(start) if start >= MAGIC_LEN => Ok(start..end),
        _ => Err(Refusal::Malformed("its footer is longer than the file")),
    }
}

/// Parses a footer that ends before `data_end`, and holds what it says against the file.
pub(super) fn parse(footer: &[u8], data_end: u64) -> Result<ParquetMetaData, Refusal> {
    let mut outline = Outline::default();
    let understood = thrift::rewrite(footer, &shape::FILE_META_DATA, &mut outline)?;
    outline.check_schema()?;
    let metadata = decode(&understood)?;
    check_rows(&metadata)?;
    for group in metadata.row_groups() {
        for column in group.columns() {
            check_chunk(column, data_end)?;
        }
    }
    Ok(metadata)
}

/// Lets the parser at bytes that this module wrote. Statistics that it does not like are left out, and nothing else is.
fn decode(understood: &[u8]) -> Result<ParquetMetaData, Refusal> {
    let plain = ParquetMetaDataOptions::new();
    let bare = plain
        .clone()
        .with_column_stats_policy(ParquetStatisticsPolicy::SkipAll);
    ParquetMetaDataReader::decode_metadata_with_options(understood, Some(&plain))
        .or_else(|_| ParquetMetaDataReader::decode_metadata_with_options(understood, Some(&bare)))
        .map_err(|_| Refusal::Malformed("its footer does not parse"))
}

fn check_rows(metadata: &ParquetMetaData) -> Result<(), Refusal> {
    let count = |total: i64, group: &RowGroupMetaData| match group.num_rows() {
        rows @ 0..=GROUP_ROWS_MAX => total.checked_add(rows),
        _ => None,
    };
    match metadata.row_groups().iter().try_fold(0, count) {
        Some(total) if total == metadata.file_metadata().num_rows() => Ok(()),
        _ => Err(Refusal::Malformed("its row counts contradict each other")),
    }
}

fn check_chunk(column: &ColumnChunkMetaData, data_end: u64) -> Result<(), Refusal> {
    let counts = [
        column.num_values(),
        column.uncompressed_size(),
        column.compressed_size(),
    ];
    if counts.iter().any(|count| *count < 0) {
        return Err(Refusal::Malformed("a column chunk has a negative size"));
    }
    let range = chunk_range(column).ok_or(Refusal::Malformed("a column chunk has no place"))?;
    let first_page = u64::try_from(column.data_page_offset()).unwrap_or(u64::MAX);
    let inside = range.start >= MAGIC_LEN
        && range.end <= data_end
        && range.start <= first_page
        && first_page <= range.end;
    // A chunk without values may point anywhere: writers leave zeros there.
    let empty = range.start == range.end && column.num_values() == 0;
    if !inside && !empty {
        return Err(Refusal::Malformed(
            "a column chunk lies outside of the file",
        ));
    }
    Ok(())
}

/// The bytes of a column chunk; `None` if their numbers are no place at all.
pub(super) fn chunk_range(column: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let start = column
        .dictionary_page_offset()
        .unwrap_or(column.data_page_offset());
    let start = u64::try_from(start).ok()?;
    let len = u64::try_from(column.compressed_size()).ok()?;
    Some(start..start.checked_add(len)?)
}

/// The bytes of one value of a column, if all take the same.
pub(super) fn value_len(column: &ColumnChunkMetaData) -> Option<usize> {
    match column.column_type() {
        PhysicalType::BOOLEAN | PhysicalType::BYTE_ARRAY => None,
        PhysicalType::INT32 | PhysicalType::FLOAT => Some(4),
        PhysicalType::INT64 | PhysicalType::DOUBLE => Some(8),
        PhysicalType::INT96 => Some(12),
        PhysicalType::FIXED_LEN_BYTE_ARRAY => {
            usize::try_from(column.column_descr().type_length()).ok()
        }
    }
}

/// Cuts `range` out of bytes that start at `at` in the file.
pub(super) fn cut(bytes: &Bytes, at: u64, range: &Range<u64>) -> Option<Bytes> {
    let start = usize::try_from(range.start.checked_sub(at)?).ok()?;
    let end = usize::try_from(range.end.checked_sub(at)?).ok()?;
    (start <= end && end <= bytes.len()).then(|| bytes.slice(start..end))
}

/// What has to be known of a footer before it is parsed.
#[derive(Default)]
struct Outline {
    elements: Vec<Element>,
    row_groups: usize,
    column_chunks: usize,
}

#[derive(Default)]
struct Element {
    children: usize,
    name_len: usize,
}

impl Outline {
    /// Goes over the tree of the schema, which is written as a list with counts of children.
    fn check_schema(&self) -> Result<(), Refusal> {
        let bad = Refusal::Malformed("its schema is no tree");
        // For each open group: the children that are still to come, and the length of the path to it.
        let mut open: Vec<(usize, usize)> = Vec::new();
        let mut paths = 0usize;
        for (index, element) in self.elements.iter().enumerate() {
            let above = match open.last_mut() {
                Some((left, path)) => {
                    *left -= 1;
                    *path
                }
                None if index == 0 => 0,
                None => return Err(bad),
            };
            let path = above
                .saturating_add(element.name_len)
                .saturating_add(PATH_PART);
            paths = paths.saturating_add(path);
            if element.children > self.elements.len() {
                return Err(bad);
            }
            open.push((element.children, path));
            if open.len() > SCHEMA_DEPTH_MAX {
                return Err(Refusal::TooLarge("its schema nests too deep"));
            }
            while open.pop_if(|(left, _)| *left == 0).is_some() {}
        }
        if paths > SCHEMA_PATHS_MAX {
            return Err(Refusal::TooLarge(
                "the paths of its schema are over the limit",
            ));
        }
        if self.elements.is_empty() || !open.is_empty() {
            return Err(bad);
        }
        Ok(())
    }
}

/// What a name in a path takes beside its bytes.
const PATH_PART: usize = size_of::<String>();

fn counted(count: &mut usize, max: usize, what: &'static str) -> Result<(), Refusal> {
    *count += 1;
    if *count > max {
        Err(Refusal::TooLarge(what))
    } else {
        Ok(())
    }
}

impl Observer for Outline {
    fn begin(&mut self, shape: &'static Shape) -> Result<(), Refusal> {
        if std::ptr::eq(shape, &shape::SCHEMA_ELEMENT) {
            if self.elements.len() >= SCHEMA_ELEMENTS_MAX {
                return Err(Refusal::TooLarge("its schema has too many columns"));
            }
            self.elements.push(Element::default());
        } else if std::ptr::eq(shape, &shape::ROW_GROUP) {
            counted(
                &mut self.row_groups,
                ROW_GROUPS_MAX,
                "it has too many row groups",
            )?;
        } else if std::ptr::eq(shape, &shape::COLUMN_CHUNK) {
            counted(
                &mut self.column_chunks,
                COLUMN_CHUNKS_MAX,
                "it has too many column chunks",
            )?;
        }
        Ok(())
    }

    fn integer(&mut self, shape: &'static Shape, field: i16, value: i64) -> Result<bool, Refusal> {
        if std::ptr::eq(shape, &shape::COLUMN_META_DATA) {
            // Some writers say "no dictionary" with a zero, where only the magic number is.
            return Ok(field != id::CHUNK_DICTIONARY_OFFSET || value >= MAGIC_LEN as i64);
        }
        if std::ptr::eq(shape, &shape::SCHEMA_ELEMENT) {
            match (field, self.elements.last_mut()) {
                (id::ELEMENT_CHILDREN, Some(element)) => {
                    element.children = usize::try_from(value)
                        .map_err(|_| Refusal::Malformed("a group has a negative count"))?;
                }
                (id::ELEMENT_LENGTH, _) if value > FIXED_LEN_MAX => {
                    return Err(Refusal::TooLarge(
                        "the length of its values is over the limit",
                    ));
                }
                (id::ELEMENT_LENGTH, _) => return Ok(value >= 0),
                _ => {}
            }
        }
        Ok(true)
    }

    fn binary(&mut self, shape: &'static Shape, field: i16, len: usize) -> Result<(), Refusal> {
        if std::ptr::eq(shape, &shape::SCHEMA_ELEMENT)
            && field == id::ELEMENT_NAME
            && let Some(element) = self.elements.last_mut()
        {
            element.name_len = len;
        }
        Ok(())
    }
}
