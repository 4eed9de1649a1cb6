//! Draws: numbers that are the same on every machine, each from a key of its own.

use crate::feed::order::Shape;

/// What a draw is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Purpose {
    /// The order of the units.
    Units = 0,
    /// The order of the rows of a unit.
    Rows = 1,
    /// The order of the rows of a step.
    Step = 2,
}

/// The permutation of `length` things under a key.
pub(crate) fn permutation(
    (shape, epoch): (Shape, u64),
    purpose: Purpose,
    lane: u32,
    index: u64,
    length: u32,
) -> Vec<u32> {
    let mut words = Words::new((shape.seed, epoch), purpose, lane, index);
    let mut things: Vec<u32> = (0..length).collect();
    for last in (1..length).rev() {
        let other = words.below(last.saturating_add(1));
        things.swap(last as usize, other as usize);
    }
    things
}

/// The words of a draw.
struct Words {
    output: blake3::OutputReader,
    buffer: [u8; BUFFER_BYTES],
    at: usize,
}

const BUFFER_BYTES: usize = 512;
const WORD_BYTES: usize = 4;

impl Words {
    fn new((seed, epoch): (u64, u64), purpose: Purpose, lane: u32, index: u64) -> Self {
        let mut key = blake3::Hasher::new();
        key.update(b"hw-order-1")
            .update(&seed.to_le_bytes())
            .update(&epoch.to_le_bytes())
            .update(&[purpose as u8])
            .update(&lane.to_le_bytes())
            .update(&index.to_le_bytes());
        Self {
            output: key.finalize_xof(),
            buffer: [0; BUFFER_BYTES],
            at: BUFFER_BYTES,
        }
    }

    fn next(&mut self) -> u32 {
        if BUFFER_BYTES <= self.at {
            self.output.fill(&mut self.buffer);
            self.at = 0;
        }
        let word = self.buffer.get(self.at..self.at.saturating_add(WORD_BYTES));
        self.at = self.at.saturating_add(WORD_BYTES);
        word.and_then(|word| word.try_into().ok())
            .map_or(0, u32::from_le_bytes)
    }

    /// A number below `bound`, every one with the same chance.
    fn below(&mut self, bound: u32) -> u32 {
        loop {
            let product = u64::from(self.next()).wrapping_mul(u64::from(bound));
            let (high, low) = ((product >> 32) as u32, product as u32);
            // The division is needed only where the word may have to go.
            if bound <= low || bound.wrapping_neg().checked_rem(bound).unwrap_or(0) <= low {
                return high;
            }
        }
    }
}
