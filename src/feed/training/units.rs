//! Cutting files into units, and counting the rows of the feed in each.
//!
//! Files that have no row of the feed must not show in what comes out: whether the log could tell so, and they were
//! left unread, is no property of the version.

use std::ops::Range;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};

use crate::data::reader::{DataFile, RowGroup};
use crate::error::{Code, Error, Result};
use crate::feed::digest::{Digest, field};
use crate::feed::training::choice::{self, UNIT_ROWS_MIN};
use crate::feed::training::plan::Unit;
use crate::feed::training::source::{Selection, Source};
use crate::feed::training::{ShuffleOptions, pool};

/// Files that are looked at at once.
const FILES_AHEAD: usize = 8;
/// Rows that are read at once to count those of the feed among them.
const READ_ROWS: u64 = 65_536;

/// The units of a feed, in the order of their files.
pub(super) struct Units {
    pub(super) units: Vec<Unit>,
    /// A digest of which rows belong to the feed.
    pub(super) rows: Digest,
    pub(super) unit_rows: u32,
    /// About how many bytes a row takes in memory.
    pub(super) row_bytes: u64,
}

/// A row group, and how many rows of the feed are in each of its pieces, which are as small as units may be.
struct Counted {
    group: RowGroup,
    pieces: Vec<u32>,
}

impl Counted {
    fn has_any(&self) -> bool {
        self.pieces.iter().any(|live| 0 < *live)
    }
}

impl Units {
    /// Looks at every file; where rows are selected, reads the columns that this depends on, once.
    pub(super) async fn of(
        options: &ShuffleOptions,
        source: Source,
        files: &[DataFile],
        selection: &Selection,
    ) -> Result<Self> {
        let piece_rows = options.unit_rows.map_or(UNIT_ROWS_MIN, u64::from).max(1);
        let source = Arc::new(source);
        let counted = futures::stream::iter(files).map(|file| {
            let (source, file) = (Arc::clone(&source), file.clone());
            async move { count(&source, &file, selection, piece_rows).await }
        });
        let counted: Vec<_> = counted.buffered(FILES_AHEAD).try_collect().await?;
        let (mut rows, mut bytes) = (0_u64, 0_u64);
        let mut hasher = blake3::Hasher::new();
        field(&mut hasher, b"headwater feed rows 1");
        for (groups, digest) in &counted {
            if groups.iter().any(Counted::has_any) {
                for Counted { group, .. } in groups {
                    rows = rows.saturating_add(group.rows.end.saturating_sub(group.rows.start));
                    bytes = bytes.saturating_add(group.bytes);
                }
                if let Some(digest) = digest {
                    hasher.update(digest.bytes());
                }
            }
        }
        let unit_rows = choice::unit_rows(options, rows, bytes);
        let mut units = Vec::new();
        for ((number, file), (groups, _)) in (0_u32..).zip(files).zip(&counted) {
            for counted in groups {
                let of_group = cut(counted, (piece_rows, unit_rows.into()), number);
                let of_group =
                    of_group.map_err(|error: Error| error.with("path", file.path.as_str()))?;
                units.extend(of_group);
            }
        }
        Ok(Self {
            units,
            rows: Digest::finish(&hasher),
            unit_rows,
            row_bytes: bytes.checked_div(rows).unwrap_or(0).max(1),
        })
    }
}

/// The pieces of a row group.
fn pieces(group: &RowGroup, piece_rows: u64) -> impl Iterator<Item = Range<u64>> + use<> {
    let rows = group.rows.clone();
    let step = match group.is_indexed {
        true => piece_rows,
        // Without an index, a part of it would cost as much as the whole.
        false => u64::MAX,
    };
    let mut first = rows.start;
    std::iter::from_fn(move || {
        let piece = first..first.saturating_add(step).min(rows.end);
        first = piece.end;
        (piece.start < piece.end).then_some(piece)
    })
}

/// The units of a row group that have rows of the feed.
fn cut(counted: &Counted, (piece_rows, unit_rows): (u64, u64), file: u32) -> Result<Vec<Unit>> {
    let ranges: Vec<Range<u64>> = pieces(&counted.group, piece_rows).collect();
    let together = usize::try_from((unit_rows / piece_rows).max(1)).unwrap_or(usize::MAX);
    let mut units = Vec::new();
    let all = ranges.chunks(together).zip(counted.pieces.chunks(together));
    for (ranges, live) in all {
        let first_row = ranges.first().map_or(0, |range| range.start);
        let end = ranges.last().map_or(0, |range| range.end);
        let Ok(rows) = u32::try_from(end.saturating_sub(first_row)) else {
            let message = "a row group has too many rows for a feed; rewrite the file";
            return Err(Error::invalid(Code::LimitExceeded, message));
        };
        // A unit has no more rows than that.
        let live = live
            .iter()
            .fold(0_u32, |sum, live| sum.saturating_add(*live));
        if 0 < live {
            units.push(Unit {
                file,
                first_row,
                rows,
                live,
            });
        }
    }
    Ok(units)
}

/// The row groups of a file with the rows of the feed in them, and which ones these are, if some are left out.
async fn count(
    source: &Source,
    file: &DataFile,
    selection: &Selection,
    piece_rows: u64,
) -> Result<(Vec<Counted>, Option<Digest>)> {
    let reader = source.open(file).await?;
    let groups = reader.row_groups();
    if selection.is_all() {
        // Those that are not deleted.
        let counted = groups.into_iter().map(|group| {
            let live = pieces(&group, piece_rows).map(|piece| reader.live_rows(&piece));
            let pieces = live.map(|live| u32::try_from(live).unwrap_or(u32::MAX));
            Counted {
                pieces: pieces.collect(),
                group,
            }
        });
        return Ok((counted.collect(), None));
    }
    let mut hasher = blake3::Hasher::new();
    let mut counted = Vec::with_capacity(groups.len());
    for group in groups {
        let pieces = selected(source, file, (&group, piece_rows), &mut hasher).await?;
        counted.push(Counted { group, pieces });
    }
    Ok((counted, Some(Digest::finish(&hasher))))
}

/// Rows of each piece that are selected.
async fn selected(
    source: &Source,
    file: &DataFile,
    (group, piece_rows): (&RowGroup, u64),
    hasher: &mut blake3::Hasher,
) -> Result<Vec<u32>> {
    let mut counts = vec![0_u32; pieces(group, piece_rows).count()];
    let whole = RowGroup {
        is_indexed: true,
        ..group.clone()
    };
    let (step, piece_rows) = match group.is_indexed {
        true => (READ_ROWS, piece_rows),
        false => (u64::MAX, u64::MAX),
    };
    for range in pieces(&whole, step) {
        for rows in source.rows(file, range).await? {
            let places = rows.positions.ok_or_else(pool::stopped)?;
            for place in places.values() {
                hasher.update(&place.to_le_bytes());
                let piece = place.saturating_sub(group.rows.start) / piece_rows;
                let piece = usize::try_from(piece).ok();
                let count = piece.and_then(|piece| counts.get_mut(piece));
                let count = count.ok_or_else(pool::stopped)?;
                *count = count.saturating_add(1);
            }
        }
    }
    Ok(counts)
}
