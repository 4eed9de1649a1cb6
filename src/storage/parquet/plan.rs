//! What to read of a row group: which rows, which bytes, and whether the pages in them may be decoded.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::page_index::offset_index::PageLocation;

use super::chunk::Chunks;
use super::delta;
use super::footer::{chunk_range, value_len};
use super::page::{Column, Pages};
use super::thrift::Refusal;
use super::unpack::Chunk;
use super::weight::{Taken, Weight};

/// Bytes that the pages and dictionaries of all columns take at one time while a row group is decoded.
const DECODE_BYTES_MAX: usize = 4 << 30;

/// Rows to read of one row group.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) index: usize,
    /// Runs of rows to take and to leave; `None` for all rows.
    pub(super) selectors: Option<Vec<RowSelector>>,
    /// Rows that are taken.
    pub(super) rows: usize,
    /// Row groups have it as a signed number.
    pub(super) total: usize,
}

/// Cuts a selection over the rows of several row groups into one for each, leaving out those of which nothing is taken.
pub(super) fn groups(
    metadata: &ParquetMetaData,
    indexes: &[usize],
    selection: Option<RowSelection>,
) -> Option<Vec<Group>> {
    let mut selection = selection;
    let mut found = Vec::with_capacity(indexes.len());
    for index in indexes {
        let total = row_count(metadata.row_groups().get(*index)?);
        let selectors = selection
            .as_mut()
            .map(|all| Vec::from(all.split_off(total)));
        let rows = selectors.as_deref().map_or(total, |runs| {
            runs.iter()
                .filter(|run| !run.skip)
                .map(|run| run.row_count)
                .sum()
        });
        if rows > 0 {
            let selectors = selectors.filter(|_| rows < total);
            found.push(Group {
                index: *index,
                selectors,
                rows,
                total,
            });
        }
    }
    Some(found)
}

/// The rows of a row group, which the footer was checked for.
pub(super) fn row_count(group: &RowGroupMetaData) -> usize {
    usize::try_from(group.num_rows()).unwrap_or_default()
}

/// The column chunks of a row group that are read, and the pages of each if only some are.
pub(super) struct Parts<'a> {
    columns: Vec<(&'a ColumnChunkMetaData, Option<Vec<Part>>)>,
    total: usize,
    selectors: Option<Vec<RowSelector>>,
}

/// A page, or the dictionary in front of the pages.
struct Part {
    location: PageLocation,
    range: Range<u64>,
    /// Rows of the page; zero for a dictionary.
    rows: usize,
}

impl<'a> Parts<'a> {
    /// The parts to read for `group`. Pages are told apart if `metadata` has a page index and some rows are left out.
    pub(super) fn new(
        metadata: &'a ParquetMetaData,
        group: &Group,
        projection: &ProjectionMask,
    ) -> Option<Self> {
        let offsets = metadata.offset_index().and_then(|all| all.get(group.index));
        let selection = group.selectors.clone().map(RowSelection::from);
        let mut columns = Vec::new();
        for (leaf, column) in metadata
            .row_groups()
            .get(group.index)?
            .columns()
            .iter()
            .enumerate()
        {
            if !projection.leaf_included(leaf) {
                continue;
            }
            let pages = match (offsets, &selection) {
                (Some(offsets), Some(selection)) => Some(pages(
                    column,
                    &offsets.get(leaf)?.page_locations,
                    selection,
                    group.total,
                )?),
                _ => None,
            };
            columns.push((column, pages));
        }
        Some(Self {
            columns,
            total: group.total,
            selectors: group.selectors.clone(),
        })
    }

    /// Whether pages are told apart.
    pub(super) fn are_pages(&self) -> bool {
        self.columns.iter().any(|(_, pages)| pages.is_some())
    }

    /// The bytes of all parts.
    pub(super) fn ranges(&self) -> Vec<Range<u64>> {
        self.columns
            .iter()
            .flat_map(|(column, pages)| match pages {
                Some(pages) => pages.iter().map(|part| part.range.clone()).collect(),
                None => Vec::from_iter(chunk_range(column)),
            })
            .collect()
    }

    /// Goes over all page headers; the number of rows that make a batch of a sensible size, `most` at most.
    pub(super) fn check(&self, chunks: &Arc<Chunks>, most: usize) -> Result<usize, Refusal> {
        let mut decode = 0usize;
        let mut weight = Weight::default();
        for (column, parts) in &self.columns {
            let range = chunk_range(column).unwrap_or_default();
            let (pages, stored) = match parts {
                Some(parts) => {
                    let stored = parts.iter().map(|part| part.range.end - part.range.start);
                    (check_parts(chunks, column, parts)?, stored.sum())
                }
                None => {
                    let bytes = if range.is_empty() {
                        Some(Bytes::new())
                    } else {
                        chunks.get(&range)
                    };
                    let pages =
                        Pages::of_chunk(&bytes.ok_or(GONE)?, as_column(column), self.total)?;
                    (pages, range.end - range.start)
                }
            };
            decode = decode
                .saturating_add(pages.largest)
                .saturating_add(pages.dictionary);
            if decode > DECODE_BYTES_MAX {
                return Err(Refusal::TooLarge(
                    "its pages take too much memory at one time",
                ));
            }
            let chunk = Chunk {
                chunks,
                column,
                rows: self.total,
                pages: parts
                    .as_ref()
                    .map(|parts| parts.iter().map(|part| part.location.clone()).collect()),
            };
            let strings = match pages.lengths {
                true => delta::check(&chunk)?,
                false => Vec::new(),
            };
            let taken = Taken {
                chunk,
                stored: usize::try_from(stored).unwrap_or(usize::MAX),
                rows: parts
                    .as_ref()
                    .map_or(self.total, |parts| parts.iter().map(|part| part.rows).sum()),
                by_page: self.taken(parts.as_deref(), &pages),
                strings,
            };
            weight.add(&taken, &pages)?;
        }
        Ok(weight.batch_rows(most, decode))
    }

    /// The rows that are taken of each data page of a column without lists.
    fn taken(&self, parts: Option<&[Part]>, pages: &Pages) -> Vec<usize> {
        let mut next = 0usize;
        let places: Vec<Range<usize>> = match parts {
            Some(parts) => {
                let data = parts.iter().filter(|part| part.rows > 0);
                let place = |part: &Part| {
                    let first = usize::try_from(part.location.first_row_index).unwrap_or(0);
                    first..first.saturating_add(part.rows)
                };
                data.map(place).collect()
            }
            None => {
                let place = |values: usize| {
                    let first = next;
                    next = next.saturating_add(values);
                    first..next
                };
                pages
                    .data
                    .iter()
                    .map(|page| page.values)
                    .map(place)
                    .collect()
            }
        };
        let Some(runs) = &self.selectors else {
            return places.into_iter().map(|place| place.len()).collect();
        };
        let mut runs = runs.iter();
        let mut run = 0..0;
        let mut skip = true;
        let mut count = |place: Range<usize>| {
            let mut taken = 0;
            loop {
                if !skip {
                    let (start, end) = (run.start.max(place.start), run.end.min(place.end));
                    taken += end.saturating_sub(start);
                }
                if run.end >= place.end {
                    return taken;
                }
                let Some(next) = runs.next() else {
                    return taken;
                };
                run = run.end..run.end.saturating_add(next.row_count);
                skip = next.skip;
            }
        };
        places.into_iter().map(&mut count).collect()
    }
}

const GONE: Refusal = Refusal::Malformed("a page lies outside of its column chunk");

/// The pages that hold selected rows, with the dictionary in front.
fn pages(
    column: &ColumnChunkMetaData,
    locations: &[PageLocation],
    selection: &RowSelection,
    total: usize,
) -> Option<Vec<Part>> {
    let wanted: BTreeSet<u64> = selection
        .scan_ranges(locations)
        .into_iter()
        .map(|range| range.start)
        .collect();
    let mut parts = Vec::with_capacity(wanted.len() + 1);
    let start = chunk_range(column)?.start;
    let first = u64::try_from(locations.first()?.offset).ok()?;
    if start < first {
        let location = PageLocation {
            offset: i64::try_from(start).ok()?,
            compressed_page_size: i32::try_from(first - start).ok()?,
            first_row_index: 0,
        };
        parts.push(Part {
            location,
            range: start..first,
            rows: 0,
        });
    }
    let ends = locations
        .iter()
        .skip(1)
        .map(|next| next.first_row_index)
        .chain([i64::try_from(total).ok()?]);
    for (location, end) in locations.iter().zip(ends) {
        let at = u64::try_from(location.offset).ok()?;
        if wanted.contains(&at) {
            let range = at..at.checked_add(u64::try_from(location.compressed_page_size).ok()?)?;
            let rows = usize::try_from(end - location.first_row_index).ok()?;
            parts.push(Part {
                location: location.clone(),
                range,
                rows,
            });
        }
    }
    Some(parts)
}

/// Goes over pages that an index points to: each has to be there, with the rows that the index gives it.
fn check_parts(
    chunks: &Chunks,
    column: &ColumnChunkMetaData,
    parts: &[Part],
) -> Result<Pages, Refusal> {
    let about = as_column(column);
    let mut pages = Pages::default();
    let mut rows = 0;
    for part in parts {
        let bytes = chunks.get(&part.range).ok_or(GONE)?;
        let values = pages.add_single(&bytes, about)?;
        let strange = part.rows == 0 && !pages.data.is_empty();
        if strange || (!about.repeated && values != part.rows) {
            return Err(Refusal::Malformed(
                "a page has other rows than its index says",
            ));
        }
        rows += part.rows;
    }
    pages.check_values(about, rows)?;
    Ok(pages)
}

fn as_column(column: &ColumnChunkMetaData) -> Column {
    Column {
        repeated: column.column_descr().max_rep_level() > 0,
        value_len: value_len(column),
        compressed: column.compression() != Compression::UNCOMPRESSED,
    }
}
