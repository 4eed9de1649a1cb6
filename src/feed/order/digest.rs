//! A digest of who came when.

use std::fmt;

use crate::feed::order::RowId;

/// What rows stood at which positions: equal for equal orders, whatever pieces they were handed out in.
///
/// It is a sum over the positions modulo 2^128, so the digests of two stretches of an epoch add up to that of both.
/// For finding differences, not for keeping out an adversary. With mix(x) the finaliser of SplitMix64, a row adds
/// `a * 2^64 + mix(a + 0x9e3779b97f4a7c15)`, where `a = mix(mix(position) xor (unit * 2^32 + row))`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct OrderDigest(u128);

impl OrderDigest {
    /// Adds the row at a position.
    pub(crate) fn add(&mut self, position: u64, row: RowId) {
        let row = (u64::from(row.unit) << 32) | u64::from(row.row);
        let high = mix(mix(position) ^ row);
        let low = mix(high.wrapping_add(0x9e37_79b9_7f4a_7c15));
        let word = (u128::from(high) << 64) | u128::from(low);
        self.0 = self.0.wrapping_add(word);
    }

    /// The digest of this stretch and another one.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for OrderDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
