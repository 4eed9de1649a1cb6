//! The parts of a file that are in memory, as the parquet crate wants to read them.

use std::ops::Range;

use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use super::footer::cut;

/// Parts of a file, by where they start; they do not overlap. Reading elsewhere is an error.
#[derive(Debug, Clone, Default)]
pub(super) struct Chunks {
    parts: Vec<(u64, Bytes)>,
    size: u64,
}

impl Chunks {
    /// The parts of a file of `size` bytes: `ranges` as [`merge`] left them, with their bytes.
    pub(super) fn new(size: u64, ranges: &[Range<u64>], bytes: Vec<Bytes>) -> Self {
        Self {
            parts: ranges.iter().map(|range| range.start).zip(bytes).collect(),
            size,
        }
    }

    /// The bytes of a range that lies in one part.
    pub(super) fn get(&self, range: &Range<u64>) -> Option<Bytes> {
        let index = self
            .parts
            .partition_point(|(start, _)| *start <= range.start)
            .checked_sub(1)?;
        let (start, bytes) = self.parts.get(index)?;
        cut(bytes, *start, range)
    }

    fn rest(&self, start: u64) -> Option<Bytes> {
        let index = self
            .parts
            .partition_point(|(at, _)| *at <= start)
            .checked_sub(1)?;
        let (at, bytes) = self.parts.get(index)?;
        cut(bytes, *at, &(start..at.checked_add(bytes.len() as u64)?))
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Chunks {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        self.rest(start).map(Buf::reader).ok_or_else(absent)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        start
            .checked_add(length as u64)
            .and_then(|end| self.get(&(start..end)))
            .ok_or_else(absent)
    }
}

fn absent() -> ParquetError {
    ParquetError::EOF("a read leaves the bytes that belong to the column".to_owned())
}

/// The same bytes as few ranges: sorted, none empty, none touching another.
pub(super) fn merge(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_what_touches() {
        let merged = merge(vec![20..30, 5..5, 0..10, 10..12, 25..40, 50..51]);
        assert_eq!(merged, [0..12, 20..40, 50..51]);
    }

    #[test]
    fn reads_inside_of_parts_only() {
        let bytes = |len: usize| Bytes::from(vec![7; len]);
        let chunks = Chunks::new(100, &[0..12, 20..40], vec![bytes(12), bytes(20)]);
        assert_eq!(chunks.get_bytes(20, 20).unwrap().len(), 20);
        assert_eq!(chunks.get_read(30).unwrap().into_inner().len(), 10);
        for (start, len) in [
            (0, 13),
            (12, 1),
            (39, 2),
            (40, 1),
            (u64::MAX, 2),
            (15, usize::MAX),
        ] {
            assert!(chunks.get_bytes(start, len).is_err(), "{start} {len}");
        }
        assert!(
            chunks
                .get_read(12)
                .is_ok_and(|rest| rest.into_inner().is_empty())
        );
        assert!(chunks.get_read(13).is_err());
    }
}
