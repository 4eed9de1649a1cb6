//! Lengths inside of pages: the delta encodings of strings announce how many there are, and the parquet crate
//! allocates them on that word. Such pages are decompressed once more, only to look.

use parquet::basic::Encoding;

use super::thrift::{Refusal, varint};
use super::unpack::{Chunk, Unpacked};

const BAD: Refusal = Refusal::Malformed("the lengths in a page contradict each other");

/// Miniblocks of one block; writers use four.
const MINIBLOCKS_MAX: u64 = 4096;

/// Values of one block; writers use 128.
const BLOCK_MAX: u64 = 1 << 20;

/// What the strings of a page take once they are decoded: those that share a prefix repeat it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Strings {
    /// All of them.
    pub(super) bytes: usize,
    /// The longest, at most.
    pub(super) longest: usize,
}

/// Goes over the pages of a column chunk and holds the lengths in them against their value counts. What the strings of
/// each data page take, where it is known.
pub(super) fn check(chunk: &Chunk<'_>) -> Result<Vec<Option<Strings>>, Refusal> {
    let mut found = Vec::new();
    chunk.each(|page| {
        if let Unpacked::Data {
            encoding,
            count,
            values,
            ..
        } = page
        {
            found.push(match encoding {
                Encoding::DELTA_LENGTH_BYTE_ARRAY => {
                    check_lengths(&values, count)?;
                    None
                }
                Encoding::DELTA_BYTE_ARRAY => {
                    let prefixes = check_lengths(&values, count)?;
                    let suffixes = values.get(prefixes.end..).ok_or(BAD)?;
                    let suffixes = check_lengths(suffixes, count)?;
                    Some(Strings {
                        bytes: prefixes.sum.saturating_add(suffixes.sum),
                        longest: prefixes.largest.saturating_add(suffixes.largest),
                    })
                }
                _ => None,
            });
        }
        Ok(true)
    })?;
    Ok(found)
}

/// Numbers in delta encoding.
#[derive(Debug, PartialEq, Eq)]
struct Numbers {
    /// Where they end.
    end: usize,
    sum: usize,
    largest: usize,
}

impl Numbers {
    fn add(&mut self, value: i64) {
        // A negative length is refused by the decoder.
        let value = usize::try_from(value).unwrap_or(0);
        self.sum = self.sum.saturating_add(value);
        self.largest = self.largest.max(value);
    }
}

/// Goes over numbers in delta encoding, of which there are `count` at most.
fn check_lengths(bytes: &[u8], count: u32) -> Result<Numbers, Refusal> {
    let mut at = 0;
    let mut next = || {
        let (value, len) = varint(bytes.get(at..).ok_or(BAD)?)?;
        at += len;
        Ok(value)
    };
    let (block, miniblocks, total, first) = (next()?, next()?, next()?, next()?);
    if total > u64::from(count) || block > BLOCK_MAX || !(1..=MINIBLOCKS_MAX).contains(&miniblocks)
    {
        return Err(BAD);
    }
    let mut numbers = Numbers {
        end: 0,
        sum: 0,
        largest: 0,
    };
    let mut value = signed(first);
    if total > 0 {
        numbers.add(value);
    }
    let per_miniblock = block / miniblocks;
    let mut left = total.saturating_sub(1);
    if left > 0 && per_miniblock == 0 {
        return Err(BAD);
    }
    while left > 0 {
        let (least, len) = varint(bytes.get(at..).ok_or(BAD)?)?;
        let least = signed(least);
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
            let start = at;
            at += usize::from(*width) * per_miniblock as usize / 8;
            let packed = bytes.get(start..at).ok_or(BAD)?;
            for place in 0..left.min(per_miniblock) {
                let delta = bits(packed, place as usize, *width).cast_signed();
                value = value.wrapping_add(least).wrapping_add(delta);
                numbers.add(value);
            }
            left = left.saturating_sub(per_miniblock);
        }
    }
    numbers.end = at;
    if at > bytes.len() {
        Err(BAD)
    } else {
        Ok(numbers)
    }
}

/// A number of which the sign is the last bit.
fn signed(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// The number of `width` bits at a place among packed ones, least bits first.
pub(super) fn bits(packed: &[u8], place: usize, width: u8) -> u64 {
    let start = place * usize::from(width);
    let mut value = 0_u128;
    for (index, byte) in packed.iter().skip(start / 8).take(9).enumerate() {
        value |= u128::from(*byte) << (8 * index);
    }
    let mask = match 1_u64.checked_shl(width.into()) {
        Some(above) => above - 1,
        None => u64::MAX,
    };
    (value >> (start % 8)) as u64 & mask
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
        let end = |bytes: &[u8], count| check_lengths(bytes, count).map(|numbers| numbers.end);
        assert_eq!(end(&encoded(1, [0; 4], 0), 1), Ok(5));
        assert_eq!(end(&encoded(0, [0; 4], 0), 1), Ok(5));
        // 33 numbers after the first: two miniblocks of 32, of 3 and 5 bits; the widths of the others mean nothing.
        assert_eq!(end(&encoded(34, [3, 5, 9, 9], 32), 34), Ok(10 + 12 + 20));
    }

    /// Parquet, "Delta Encoding": the first example of the format, 7, 5, 3, 1, 2, 3, 4, 5.
    #[test]
    fn adds_numbers_up() {
        let mut bytes = vec![0x80, 1, 4, 8, 14, 3, 2, 0, 0, 0];
        // Above the least of -2: 0, 0, 0, 3, 3, 3, 3, in two bits each, and filling.
        bytes.extend([0b1100_0000, 0b0011_1111, 0, 0, 0, 0, 0, 0]);
        let numbers = check_lengths(&bytes, 8).unwrap();
        assert_eq!((numbers.sum, numbers.largest), (30, 7));
        assert_eq!(bits(&[0xff; 9], 0, 64), u64::MAX);
        assert_eq!(bits(&[0b1010_0000, 0b1], 5, 1), 1);
        assert_eq!(bits(&[0b1010_0000, 0b1], 1, 5), 0b01101);
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
