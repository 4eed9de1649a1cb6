//! How many rows make a batch: so many that they have a sensible size in memory, however unevenly it is spread.
//!
//! Averages are not enough. One long string in a dictionary of short ones can stand in every row, one row can hold all
//! elements of all lists, and a run of a billion equal levels takes six bytes. What decides is the largest that so many
//! rows next to each other can get. Columns are looked into only where that could be too large; real files pay nothing.

use std::collections::VecDeque;

use bytes::Bytes;

use super::delta::{Strings, bits};
use super::footer::value_len;
use super::page::{Pages, STRING_LEN};
use super::thrift::{Refusal, varint};
use super::unpack::{Chunk, Unpacked, level_bits};

/// Bytes that a batch should not be much larger than, if its rows are like the others.
const BATCH_BYTES: usize = 64 << 20;

/// Bytes that a batch is not larger than, whatever its rows are like, unless one row is, or the pages are that it is
/// decoded from.
const BATCH_BYTES_MAX: usize = 96 << 20;

/// Bytes of the lists of one row in one column. That many bytes of equal elements can be a few in the file.
const LIST_BYTES_MAX: usize = 128 << 20;

/// Lists may be larger than [`LIST_BYTES_MAX`] if the file holds one byte for so many: then it is no bomb.
const LIST_RATIO_MAX: usize = 64;

/// Lists that take so little for each byte in the file are not looked into: elements that differ take more than that.
const PLAUSIBLE_RATIO: usize = 16;

/// Bytes that a value of a list takes beside its own: levels and offsets.
const ELEMENT_BYTES: usize = 8;

/// Rows of lists are kept track of in parts of this size.
const PART_BYTES: usize = 64 << 10;

const BAD_LEVELS: Refusal = Refusal::Malformed("the levels of a page contradict its counts");

/// What the rows of all columns take in memory.
#[derive(Default)]
pub(super) struct Weight {
    columns: Vec<Column>,
    /// Bytes of lists that were not looked into.
    unseen: usize,
}

/// What the rows of one column take in memory.
#[derive(Debug, Default, PartialEq, Eq)]
struct Column {
    /// Bytes of a row, on average.
    mean: usize,
    /// Bytes that every row may take, beside those of `parts`.
    each: usize,
    /// Rows next to each other, and bytes that may all be in one of them.
    parts: Vec<(usize, usize)>,
}

/// The rows of a column that are read.
pub(super) struct Taken<'a> {
    pub(super) chunk: Chunk<'a>,
    /// Bytes of the pages in the file.
    pub(super) stored: usize,
    /// Rows of the pages.
    pub(super) rows: usize,
    /// Rows that are taken of each data page; nothing is known of lists.
    pub(super) by_page: Vec<usize>,
    /// What delta encodings make of each data page, if there are any.
    pub(super) strings: Vec<Option<Strings>>,
}

impl Weight {
    /// Adds a column.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooLarge`] if one of its rows takes too much.
    pub(super) fn add(&mut self, taken: &Taken<'_>, pages: &Pages) -> Result<(), Refusal> {
        let column = match taken.chunk.column.column_descr().max_rep_level() {
            0 => flat(taken, pages)?,
            _ => self.lists(taken, pages)?,
        };
        self.columns.push(column);
        Ok(())
    }

    /// The number of rows that make a batch, `most` at most. `decode` bytes are taken by pages anyway.
    pub(super) fn batch_rows(&self, most: usize, decode: usize) -> usize {
        let sum = |of: &dyn Fn(&Column) -> usize| {
            let bytes = self.columns.iter().map(of);
            bytes.fold(0, usize::saturating_add)
        };
        let mean = sum(&|column| column.mean).max(1);
        let mut rows = (BATCH_BYTES / mean).clamp(1, most.max(1));
        let limit = BATCH_BYTES_MAX.max(decode.saturating_mul(2));
        while rows > 1 && sum(&|column| column.at_most(rows)) > limit {
            rows /= 2;
        }
        rows
    }

    fn lists(&mut self, taken: &Taken<'_>, pages: &Pages) -> Result<Column, Refusal> {
        let column = Strides::of(taken, pages)?;
        let all = column.all();
        let mean = all / taken.rows.max(1);
        let unseen = self.unseen.saturating_add(all);
        let plausible = all <= taken.stored.saturating_mul(PLAUSIBLE_RATIO);
        if plausible || unseen <= BATCH_BYTES_MAX {
            self.unseen = if plausible { self.unseen } else { unseen };
            return Ok(Column {
                mean,
                ..Column::default()
            });
        }
        let mut rows = Rows::default();
        let mut strides = column.0.iter();
        let width = level_bits(taken.chunk.column.column_descr().max_rep_level());
        taken.chunk.each(|page| {
            let Unpacked::Data {
                count, repetition, ..
            } = page
            else {
                return Ok(true);
            };
            let stride = strides.next().ok_or(BAD_LEVELS)?;
            let levels = repetition.ok_or(BAD_LEVELS)?;
            rows.begin_page(stride.page);
            runs(&levels, width, count as usize, |starts, len| {
                rows.values(starts, len, stride.value);
            })?;
            Ok(true)
        })?;
        let (parts, largest) = rows.finish();
        let stored = taken.stored.saturating_mul(LIST_RATIO_MAX);
        if largest > LIST_BYTES_MAX.max(stored) {
            return Err(Refusal::TooLarge("the lists of one row are over the limit"));
        }
        Ok(Column {
            mean,
            each: 0,
            parts,
        })
    }
}

impl Column {
    /// The most that so many rows next to each other take.
    fn at_most(&self, rows: usize) -> usize {
        let (mut window, mut inside, mut bytes) = (VecDeque::new(), 0usize, 0usize);
        let mut most = 0;
        for part in &self.parts {
            window.push_back(*part);
            inside = inside.saturating_add(part.0);
            bytes = bytes.saturating_add(part.1);
            // Rows from the last of the first part to the first of the last part.
            while let (Some(first), Some(last)) = (window.front(), window.back())
                && window.len() > 1
                && inside.saturating_sub(first.0 + last.0).saturating_add(2) > rows
            {
                inside = inside.saturating_sub(first.0);
                bytes = bytes.saturating_sub(first.1);
                window.pop_front();
            }
            most = most.max(bytes);
        }
        self.each.saturating_mul(rows).saturating_add(most)
    }
}

fn flat(taken: &Taken<'_>, pages: &Pages) -> Result<Column, Refusal> {
    if let Some(len) = value_len(taken.chunk.column) {
        return Ok(Column {
            mean: pages.values.saturating_mul(len) / taken.rows.max(1),
            each: len,
            parts: Vec::new(),
        });
    }
    let strides = Strides::of(taken, pages)?;
    let each = strides.0.iter().map(|stride| stride.value).max();
    let rows = taken.by_page.iter();
    let parts = strides.0.iter().zip(rows);
    Ok(Column {
        mean: average(taken, pages) / taken.rows.max(1),
        each: each.unwrap_or(0),
        parts: parts
            .filter(|(_, rows)| **rows > 0)
            .map(|(stride, rows)| (*rows, stride.page))
            .collect(),
    })
}

/// The bytes of strings, if those of a dictionary are all as long.
fn average(taken: &Taken<'_>, pages: &Pages) -> usize {
    let lengths = pages.dictionary_values.saturating_mul(STRING_LEN);
    let average = pages.dictionary.saturating_sub(lengths) / pages.dictionary_values.max(1);
    let encoded = taken.strings.iter().flatten();
    encoded
        .fold(pages.bytes, |sum, strings| {
            sum.saturating_add(strings.bytes)
        })
        .saturating_add(pages.values.saturating_mul(average))
}

/// What the values of a page take: each of them so much, and `page` for all of them together, or for any.
#[derive(Debug, Clone, Copy)]
struct Stride {
    values: usize,
    value: usize,
    page: usize,
}

/// Those of all data pages.
struct Strides(Vec<Stride>);

impl Strides {
    fn of(taken: &Taken<'_>, pages: &Pages) -> Result<Self, Refusal> {
        let column = taken.chunk.column;
        let fixed = value_len(column);
        let lists = column.column_descr().max_rep_level() > 0;
        let beside = if lists { ELEMENT_BYTES } else { STRING_LEN };
        let longest = match fixed {
            None if pages.data.iter().any(|page| page.in_dictionary) => longest(taken, pages)?,
            _ => 0,
        };
        let mut strings = taken.strings.iter();
        let strides = pages.data.iter().map(|page| {
            let strings = strings.next().copied().flatten();
            let (value, bytes) = match (fixed, strings) {
                (Some(len), _) => (len.max(STRING_LEN), 0),
                (None, _) if page.in_dictionary => (longest, 0),
                // Prefixes that are repeated over and over say nothing of where: any string is as long as the longest.
                (None, Some(strings)) if strings.bytes > page.bytes.saturating_mul(2) => {
                    (strings.longest.min(strings.bytes), 0)
                }
                (None, Some(strings)) => (0, strings.bytes),
                (None, None) => (0, page.bytes),
            };
            Stride {
                values: page.values,
                value: value.saturating_add(beside),
                page: bytes,
            }
        });
        Ok(Self(strides.collect()))
    }

    fn all(&self) -> usize {
        self.0.iter().fold(0, |sum, stride| {
            let values = stride.values.saturating_mul(stride.value);
            sum.saturating_add(values).saturating_add(stride.page)
        })
    }
}

/// The longest string of a dictionary, or more than that if it is small as a whole.
fn longest(taken: &Taken<'_>, pages: &Pages) -> Result<usize, Refusal> {
    let whole = pages.dictionary;
    if whole.saturating_mul(pages.values) <= BATCH_BYTES {
        return Ok(whole);
    }
    let mut longest = 0;
    taken.chunk.each(|page| {
        let Unpacked::Dictionary(strings) = page else {
            return Ok(false);
        };
        let mut left: &[u8] = &strings;
        while let Some((len, rest)) = left.split_first_chunk::<STRING_LEN>() {
            let len = u32::from_le_bytes(*len) as usize;
            longest = longest.max(len);
            left = rest.get(len..).unwrap_or_default();
        }
        Ok(false)
    })?;
    // A length beyond the end is refused by the decoder.
    Ok(longest.min(whole))
}

/// Rows of lists as they begin and end.
#[derive(Default)]
struct Rows {
    parts: Vec<(usize, usize)>,
    part: (usize, usize),
    /// Bytes of the row that has begun.
    row: Option<usize>,
    /// Bytes of a page in which none has begun yet.
    page: usize,
    largest: usize,
}

impl Rows {
    /// Bytes of a page of which it is not known whose they are: they count to the row at which the page begins.
    fn begin_page(&mut self, bytes: usize) {
        let bytes = bytes.saturating_add(std::mem::take(&mut self.page));
        match &mut self.row {
            Some(row) => *row = row.saturating_add(bytes),
            None => self.page = bytes,
        }
    }

    /// Values that follow each other, of which each starts a row or none does.
    fn values(&mut self, starts: bool, count: usize, bytes: usize) {
        if !starts {
            let more = count.saturating_mul(bytes);
            self.row = Some(self.row.unwrap_or(0).saturating_add(more));
            return;
        }
        if self.row.is_some() {
            self.end_row();
        }
        let page = std::mem::take(&mut self.page);
        let mut whole = count.saturating_sub(1);
        if whole > 0 {
            self.largest = self.largest.max(bytes);
        }
        while whole > 0 {
            let room = PART_BYTES.saturating_sub(self.part.1) / bytes.max(1);
            let rows = whole.min(room.max(1));
            self.take(rows, rows.saturating_mul(bytes));
            whole -= rows;
        }
        self.row = Some(bytes.saturating_add(page));
    }

    fn end_row(&mut self) {
        let bytes = self.row.take().unwrap_or(0);
        self.largest = self.largest.max(bytes);
        self.take(1, bytes);
    }

    fn take(&mut self, rows: usize, bytes: usize) {
        self.part.0 += rows;
        self.part.1 = self.part.1.saturating_add(bytes);
        if self.part.1 >= PART_BYTES {
            self.parts.push(std::mem::take(&mut self.part));
        }
    }

    /// The parts, and the bytes of the largest row.
    fn finish(mut self) -> (Vec<(usize, usize)>, usize) {
        if self.row.is_some() {
            self.end_row();
        }
        if self.part.0 > 0 {
            self.parts.push(self.part);
        }
        (self.parts, self.largest)
    }
}

/// Goes over `count` levels of `width` bits: whether each of a run is zero, and how long the run is.
///
/// Spec: [Run Length Encoding](https://parquet.apache.org/docs/file-format/data-pages/encodings/#RLE).
fn runs(
    levels: &Bytes,
    width: u32,
    count: usize,
    mut run: impl FnMut(bool, usize),
) -> Result<(), Refusal> {
    let width = u8::try_from(width).map_err(|_| BAD_LEVELS)?;
    let mut rest: &[u8] = levels;
    let mut left = count;
    while left > 0 {
        let (header, len) = varint(rest)?;
        rest = rest.get(len..).ok_or(BAD_LEVELS)?;
        let length = usize::try_from(header >> 1).map_err(|_| BAD_LEVELS)?;
        if header & 1 == 0 {
            let bytes = usize::from(width).div_ceil(8);
            let value = rest.get(..bytes).ok_or(BAD_LEVELS)?;
            let zero = value.iter().all(|byte| *byte == 0);
            run(zero, length.min(left));
            left -= length.min(left);
            rest = rest.get(bytes..).ok_or(BAD_LEVELS)?;
        } else {
            let bytes = length.saturating_mul(width.into());
            // The last group may be cut short.
            let packed = rest.get(..bytes).unwrap_or(rest);
            let values = length.saturating_mul(8).min(left);
            if values.saturating_mul(width.into()) > packed.len().saturating_mul(8) {
                return Err(BAD_LEVELS);
            }
            for place in 0..values {
                run(bits(packed, place, width) == 0, 1);
            }
            left -= values;
            rest = rest.get(bytes..).unwrap_or_default();
        }
        if length == 0 && rest.is_empty() && left > 0 {
            return Err(BAD_LEVELS);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_is_the_heaviest_run_of_rows() {
        let column = Column {
            mean: 0,
            each: 1,
            parts: vec![(10, 100), (1, 7), (3, 200), (5, 50)],
        };
        let found: Vec<usize> = [1, 2, 3, 4, 5, 6, 100]
            .map(|rows| column.at_most(rows) - rows)
            .into();
        assert_eq!(found, [200, 250, 307, 307, 307, 357, 357]);
        assert_eq!(Column::default().at_most(9), 0);
    }

    #[test]
    fn batches_get_smaller_until_they_fit() {
        let mib = 1 << 20;
        let weight = |columns| Weight { columns, unseen: 0 };
        let even = |mean| Column {
            mean,
            ..Column::default()
        };
        assert_eq!(weight(vec![even(8)]).batch_rows(1000, 0), 1000);
        assert_eq!(weight(vec![even(mib)]).batch_rows(1000, 0), 64);
        assert_eq!(weight(vec![even(usize::MAX)]).batch_rows(1000, 0), 1);
        let uneven = || Column {
            mean: 8,
            each: mib,
            parts: Vec::new(),
        };
        assert_eq!(weight(vec![uneven()]).batch_rows(1000, 0), 62);
        // Of a row that is large whatever is done, and of many columns that take as much as their pages.
        let parts = vec![(1, 500 * mib)];
        let large = Column {
            mean: 8,
            each: 0,
            parts,
        };
        assert_eq!(weight(vec![large]).batch_rows(1000, 0), 1);
        let paged = || Column {
            mean: 8,
            each: 0,
            parts: vec![(100, mib); 9],
        };
        let wide = |columns| weight((0..columns).map(|_| paged()).collect());
        assert_eq!(wide(1000).batch_rows(100, 1000 * mib), 100);
    }

    #[test]
    fn rows_of_lists_are_told_apart() {
        let mut rows = Rows::default();
        rows.begin_page(5);
        rows.values(true, 3, 10);
        rows.values(false, 4, 10);
        rows.begin_page(7);
        rows.values(false, 1, 20);
        rows.values(true, 1, 20);
        // Rows of 10, 10, 10 + 5 + 40 + 7 + 20, and 20 bytes: what a page takes counts to the row that has begun.
        assert_eq!(rows.finish(), (vec![(4, 122)], 82));

        let mut rows = Rows::default();
        rows.begin_page(0);
        rows.values(true, 20_001, 16);
        let (parts, largest) = rows.finish();
        assert_eq!((parts[0], largest), ((4096, PART_BYTES), 16));
        assert_eq!(parts.iter().map(|part| part.0).sum::<usize>(), 20_001);
    }

    #[test]
    fn levels_are_read_in_both_forms() {
        let read = |bytes: &[u8], width, count| {
            let mut found = Vec::new();
            let levels = Bytes::copy_from_slice(bytes);
            runs(&levels, width, count, |zero, len| found.push((zero, len))).map(|()| found)
        };
        // A run of five zeros, one of three ones, and eight packed levels, of which two count.
        let both = [10, 0, 6, 1, 3, 0b0000_0001];
        let expected = vec![(true, 5), (false, 3), (false, 1), (true, 1)];
        assert_eq!(read(&both, 1, 10), Ok(expected));
        assert!(read(&both, 1, 17).is_err(), "there are sixteen");
        assert!(read(&[0], 1, 1).is_err(), "a run of none");
        assert!(read(&[], 1, 1).is_err());
        assert_eq!(read(&[], 1, 0), Ok(Vec::new()));
    }
}
