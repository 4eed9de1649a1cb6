//! Which row groups and rows of a file a predicate leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::file::metadata::ParquetMetaData;

use crate::data::reader::bounds::{Known, KnownColumns, Page, RowBounds, page_bounds};
use crate::predicate::{BoundPredicate, Skip};

/// Row groups to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// Its place in the footer.
    pub(super) index: usize,
    /// Its rows.
    pub(super) rows: u64,
    /// Whether rows have to be held against the predicate one by one.
    pub(super) filter: bool,
    /// The rows that pages leave, counted from the first of the group; without it, all.
    pub(super) ranges: Option<Vec<Range<u64>>>,
}

impl Group {
    /// How many rows are to be decoded.
    pub(super) fn selected(&self) -> u64 {
        match &self.ranges {
            None => self.rows,
            Some(ranges) => ranges.iter().map(|range| range.end - range.start).sum(),
        }
    }
}

/// The row groups that may have rows for the predicate.
pub(super) fn groups(
    metadata: &ParquetMetaData,
    predicate: Option<&BoundPredicate>,
    columns: &KnownColumns,
) -> Vec<Group> {
    let mut kept = Vec::new();
    for (index, group) in metadata.row_groups().iter().enumerate() {
        let rows = u64::try_from(group.num_rows()).unwrap_or(0);
        let bounds = RowBounds {
            metadata,
            columns,
            row_group: index,
            rows,
            pages: None,
        };
        let skip = predicate.map_or(Skip::Always, |predicate| predicate.skip(&bounds));
        if 0 < rows && skip != Skip::Never {
            kept.push(Group {
                index,
                rows,
                filter: skip == Skip::Maybe,
                ranges: None,
            });
        }
    }
    kept
}

/// Drops the rows of a row group that its page index rules out. Pages of different columns begin at different rows, so
/// the predicate is held against the intervals between all their beginnings.
pub(super) fn pages(
    metadata: &ParquetMetaData,
    predicate: &BoundPredicate,
    columns: &KnownColumns,
    group: &mut Group,
) {
    let mut beginnings: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
    for known in columns.values() {
        let Known::Leaf(leaf) = known else { continue };
        if let Some(first_rows) = first_rows(metadata, group, leaf.index) {
            beginnings.insert(leaf.index, first_rows);
        }
    }
    let mut cuts: BTreeSet<u64> = beginnings.values().flatten().copied().collect();
    cuts.insert(0);
    cuts.insert(group.rows);
    let cuts: Vec<u64> = cuts.into_iter().collect();
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for (start, end) in cuts.iter().copied().zip(cuts.iter().copied().skip(1)) {
        let pages = beginnings
            .iter()
            .map(|(leaf, rows)| (*leaf, page_of(rows, start, group.rows)));
        let pages = pages.collect();
        let bounds = RowBounds {
            metadata,
            columns,
            row_group: group.index,
            rows: end - start,
            pages: Some(&pages),
        };
        if predicate.skip(&bounds) == Skip::Never {
            continue;
        }
        match ranges.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => ranges.push(start..end),
        }
    }
    let whole = 0..group.rows;
    group.ranges = (ranges.as_slice() != std::slice::from_ref(&whole)).then_some(ranges);
}

/// The first row of each page; `None` if there is no index of the column, or it makes no sense.
fn first_rows(metadata: &ParquetMetaData, group: &Group, leaf: usize) -> Option<Vec<u64>> {
    let index = page_bounds(metadata, group.index, leaf)?;
    let offsets = metadata
        .offset_index()?
        .get(group.index)?
        .get(leaf)?
        .page_locations();
    let rows = offsets
        .iter()
        .map(|page| u64::try_from(page.first_row_index).ok());
    let rows: Vec<u64> = rows.collect::<Option<_>>()?;
    let ascend = rows.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
    let fits = rows.first() == Some(&0) && rows.last().is_some_and(|last| *last < group.rows);
    (ascend && fits && index.num_pages() == rows.len() as u64).then_some(rows)
}

fn page_of(first_rows: &[u64], row: u64, group_rows: u64) -> Page {
    let index = first_rows
        .partition_point(|first| *first <= row)
        .saturating_sub(1);
    let start = first_rows.get(index).copied().unwrap_or(0);
    let end = first_rows.get(index + 1).copied().unwrap_or(group_rows);
    Page {
        index,
        rows: end.saturating_sub(start),
    }
}

/// The rows of the groups that are to be decoded, counted over all of them; `None` if it is all.
pub(super) fn selection(groups: &[Group]) -> Option<RowSelection> {
    if groups.iter().all(|group| group.ranges.is_none()) {
        return None;
    }
    let count = |rows: u64| usize::try_from(rows).unwrap_or(usize::MAX);
    let mut selectors = Vec::new();
    for group in groups {
        let whole = 0..group.rows;
        let mut next = 0;
        for range in group
            .ranges
            .as_deref()
            .unwrap_or(std::slice::from_ref(&whole))
        {
            selectors.push(RowSelector::skip(count(range.start - next)));
            selectors.push(RowSelector::select(count(range.end - range.start)));
            next = range.end;
        }
        selectors.push(RowSelector::skip(count(group.rows - next)));
    }
    Some(RowSelection::from(selectors))
}
