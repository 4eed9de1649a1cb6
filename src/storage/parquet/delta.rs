//! Lengths inside of pages: the delta encodings of strings announce how many there are, and the parquet crate
//! allocates them on that word. Such pages are decompressed once more, only to look.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageReader};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::serialized_reader::SerializedPageReader;

use super::chunk::Chunks;
use super::thrift::{Refusal, varint};

const BAD: Refusal = Refusal::Malformed("the lengths in a page contradict each other");

/// Miniblocks of one block; writers use four.
const MINIBLOCKS_MAX: u64 = 4096;

/// Values of one block; writers use 128.
const BLOCK_MAX: u64 = 1 << 20;

/// Goes over the pages of a column chunk and holds the lengths in them against their value counts.
pub(super) fn check(
    chunks: &Arc<Chunks>,
    column: &ColumnChunkMetaData,
    rows: usize,
    pages: Option<Vec<PageLocation>>,
) -> Result<(), Refusal> {
    let unreadable = |_| Refusal::Malformed("a page cannot be decompressed");
    // The reader takes bytes in front of the first page for a dictionary, so the chunk has to begin with that page.
    let first = pages.as_deref().and_then(<[PageLocation]>::first);
    let start = first.map_or(column.data_page_offset(), |page| page.offset);
    let mut about = column.clone().into_builder().set_data_page_offset(start);
    if first.is_some() {
        about = about.set_dictionary_page_offset(None);
    }
    let about = about.build().map_err(unreadable)?;
    let mut reader =
        SerializedPageReader::new(Arc::clone(chunks), &about, rows, pages).map_err(unreadable)?;
    let levels = |max: i16| {
        (
            max,
            u32::from(max.unsigned_abs())
                .checked_ilog2()
                .map_or(0, |n| n + 1),
        )
    };
    let descriptor = column.column_descr();
    let levels = [
        levels(descriptor.max_rep_level()),
        levels(descriptor.max_def_level()),
    ];
    while let Some(page) = reader.get_next_page().map_err(unreadable)? {
        let (encoding, values, count) = match page {
            Page::DictionaryPage { .. } => continue,
            Page::DataPage {
                buf,
                num_values,
                encoding,
                def_level_encoding,
                rep_level_encoding,
                ..
            } => {
                let encodings = [rep_level_encoding, def_level_encoding];
                let values = after_levels(&buf, num_values, levels, encodings).ok_or(BAD)?;
                (encoding, values, num_values)
            }
            Page::DataPageV2 {
                buf,
                num_values,
                encoding,
                def_levels_byte_len,
                rep_levels_byte_len,
                ..
            } => {
                let at = def_levels_byte_len as usize + rep_levels_byte_len as usize;
                (encoding, tail(&buf, at).ok_or(BAD)?, num_values)
            }
        };
        match encoding {
            Encoding::DELTA_LENGTH_BYTE_ARRAY => drop(check_lengths(&values, count)?),
            Encoding::DELTA_BYTE_ARRAY => {
                let at = check_lengths(&values, count)?;
                check_lengths(values.get(at..).ok_or(BAD)?, count)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// What follows the levels in a page of the first version.
fn after_levels(
    page: &Bytes,
    count: u32,
    levels: [(i16, u32); 2],
    encodings: [Encoding; 2],
) -> Option<Bytes> {
    let mut left = page.clone();
    for ((max, bits), encoding) in levels.into_iter().zip(encodings) {
        if max == 0 {
            continue;
        }
        let len = if encoding == Encoding::RLE {
            let len: [u8; 4] = left.get(..4)?.try_into().ok()?;
            4 + u32::from_le_bytes(len) as usize
        } else {
            (count as usize * bits as usize).div_ceil(8)
        };
        left = tail(&left, len)?;
    }
    Some(left)
}

fn tail(bytes: &Bytes, at: usize) -> Option<Bytes> {
    (at <= bytes.len()).then(|| bytes.slice(at..))
}

/// Goes over numbers in delta encoding, of which there are `count` at most; where they end.
fn check_lengths(bytes: &[u8], count: u32) -> Result<usize, Refusal> {
    let mut at = 0;
    let mut next = || {
        let (value, len) = varint(bytes.get(at..).ok_or(BAD)?)?;
        at += len;
        Ok(value)
    };
    let (block, miniblocks, total, _first) = (next()?, next()?, next()?, next()?);
    if total > u64::from(count) || block > BLOCK_MAX || !(1..=MINIBLOCKS_MAX).contains(&miniblocks)
    {
        return Err(BAD);
    }
    let per_miniblock = block / miniblocks;
    let mut left = total.saturating_sub(1);
    if left > 0 && per_miniblock == 0 {
        return Err(BAD);
    }
    while left > 0 {
        let (_least, len) = varint(bytes.get(at..).ok_or(BAD)?)?;
        at += len;
        let widths = bytes
            .get(at..)
            .and_then(|rest| rest.get(..miniblocks as usize))
            .ok_or(BAD)?;
        at += widths.len();
        for width in widths {
            if left == 0 {
                break;
            }
            at += usize::from(*width) * per_miniblock as usize / 8;
            left = left.saturating_sub(per_miniblock);
        }
    }
    if at > bytes.len() { Err(BAD) } else { Ok(at) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of 128 in four miniblocks: `total` numbers, one block with widths as given and zero bytes in it.
    fn encoded(total: u8, widths: [u8; 4], bytes: usize) -> Vec<u8> {
        let mut encoded = vec![0x80, 1, 4, total, 0];
        if total > 1 {
            encoded.push(0);
            encoded.extend(widths);
            encoded.extend(vec![0; bytes]);
        }
        encoded
    }

    #[test]
    fn finds_the_end() {
        assert_eq!(check_lengths(&encoded(1, [0; 4], 0), 1), Ok(5));
        assert_eq!(check_lengths(&encoded(0, [0; 4], 0), 1), Ok(5));
        // 33 numbers after the first: two miniblocks of 32, of 3 and 5 bits; the widths of the others mean nothing.
        assert_eq!(
            check_lengths(&encoded(34, [3, 5, 9, 9], 32), 34),
            Ok(10 + 12 + 20)
        );
    }

    #[test]
    fn refuses_counts_beyond_the_page() {
        assert_eq!(check_lengths(&encoded(34, [0; 4], 0), 33), Err(BAD));
        let huge = [0x80, 1, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0];
        assert_eq!(check_lengths(&huge, 1000), Err(BAD));
        assert_eq!(check_lengths(&encoded(34, [3, 5, 9, 9], 31), 34), Err(BAD));
        assert_eq!(check_lengths(&[0, 4, 9, 0, 0, 0, 0, 0, 0], 9), Err(BAD));
        assert_eq!(check_lengths(&[0x80, 1, 0, 9, 0], 9), Err(BAD));
    }
}
