//! Which units go to which lane, and which lane hands out the row of a position.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::feed::order::Shape;
use crate::feed::order::draw::{Purpose, permutation};

/// The units of each lane, in the lane's order. Lanes differ by at most the rows of one unit.
pub(crate) fn deal(live: &[u32], shape: Shape, epoch: u64) -> Vec<Vec<u32>> {
    let mut lanes = vec![Vec::new(); shape.lanes as usize];
    let mut loads: BinaryHeap<_> = (0..shape.lanes)
        .map(|lane| Reverse((0_u64, lane)))
        .collect();
    let units = u32::try_from(live.len()).unwrap_or(u32::MAX);
    for unit in permutation((shape, epoch), Purpose::Units, 0, 0, units) {
        let Some(mut least) = loads.peek_mut() else {
            break;
        };
        let Reverse((load, lane)) = *least;
        let rows = live.get(unit as usize).copied().unwrap_or(0);
        *least = Reverse((load.saturating_add(rows.into()), lane));
        if let Some(lane) = lanes.get_mut(lane as usize) {
            lane.push(unit);
        }
    }
    lanes
}

/// The lanes' rows in turn.
#[derive(Debug, Clone)]
pub(crate) struct Weave {
    lengths: Vec<u64>,
    /// Rows that every lane that goes on has handed out.
    round: u64,
    /// The lane whose turn it is.
    lane: usize,
}

impl Weave {
    /// From a position on.
    pub(crate) fn new(lengths: Vec<u64>, position: u64) -> Self {
        let before = |round: u64| -> u64 { lengths.iter().map(|length| round.min(*length)).sum() };
        let (mut low, mut high) = (0, lengths.iter().copied().max().unwrap_or(0));
        // The last round that begins at or before the position.
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if before(middle) <= position {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        let left = position.saturating_sub(before(low));
        let mut weave = Self {
            round: low,
            lane: 0,
            lengths,
        };
        for _ in 0..left {
            if weave.next().is_none() {
                break;
            }
        }
        weave
    }
}

impl Iterator for Weave {
    /// A lane and the place of the row in it.
    type Item = (usize, u64);

    fn next(&mut self) -> Option<(usize, u64)> {
        let mut rounds_begun = 0;
        loop {
            let Some(length) = self.lengths.get(self.lane) else {
                self.lane = 0;
                self.round = self.round.saturating_add(1);
                rounds_begun += 1;
                // A whole round without a row: all lanes have ended.
                if 1 < rounds_begun {
                    return None;
                }
                continue;
            };
            let lane = self.lane;
            self.lane += 1;
            if self.round < *length {
                return Some((lane, self.round));
            }
        }
    }
}
