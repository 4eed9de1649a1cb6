//! The order of a training feed: order specification 1, frozen.
//!
//! The order is a function of the live rows of each unit, seed, epoch, number of lanes and width of the window, and
//! of nothing else. `tests/vectors/order-1.ndjson` holds orders that another program computed from this text; any
//! change of a single row is another specification with another number.
//!
//! **Units.** A unit is a range of rows of one file that is decoded at once; units are numbered from 0 and have at
//! least one live row each. Row `r` of a unit is the live row with `r` live rows before it in the unit. Live is a row
//! that the version has and that the feed's condition and split keep.
//!
//! **Units of a version.** Its files stand in the order of the bytes of their keys: the path with its percent-escapes
//! decoded once and, if there is a deletion vector, a zero byte and the vector's unique id. In a file, row groups stand
//! as in its footer. A row group whose column chunks all have an offset index is cut, from its first row on, into
//! ranges of the plan's unit size, the last one of what is left; another one is one range. Ranges without a live row
//! are left out, the others numbered in this order. `tests/vectors/plan-1.ndjson` holds plans of whole tables, from
//! their log to their order, that another program computed.
//!
//! **Draws.** A draw has a key of 39 bytes: the ASCII text `hw-order-1`, then little-endian seed (8 bytes), epoch
//! (8), purpose (1), lane (4), index (8). Its numbers are the extended output of BLAKE3 of the key, read as
//! little-endian 32-bit words. A number below `n` is made of a word `x` as `floor(x * n / 2^32)`, unless
//! `x * n mod 2^32 < 2^32 mod n`: then the word is thrown away and the next one is taken. A permutation of `n` things
//! starts as 0, 1, ..., n-1; for i from n-1 down to 1, element i and element j are swapped, j drawn below i+1.
//!
//! **Lanes.** The units are permuted (purpose 0, lane 0, index 0). In this order each goes to the lane that has the
//! fewest live rows so far, the first of them if there are several. A lane's units keep this order.
//!
//! **Staircase.** A lane has units 0 to n-1 with c(k) live rows; w is the width of the window, h = floor((w-1)/2).
//! Unit k takes part from step s(k) = max(0, k-h) to step e(k) = min(n-1, k+w-1-h), m(k) = e(k)-s(k)+1 steps. Its rows
//! are permuted (purpose 1, index: the number of the unit) and cut: its part of step s(k)+j is the permuted rows from
//! floor(j*c(k)/m(k)) to before floor((j+1)*c(k)/m(k)). Step t, from 0 to n-1, is the parts of its units one after the
//! other in the lane's order, permuted (purpose 2, index t). The lane's rows are those of its steps.
//!
//! **Epoch.** Round by round, each lane that has a row left hands out one, in the order of the lanes. The place of a
//! row among them, counted from 0, is its position.

mod digest;
mod draw;
mod lanes;
mod staircase;
#[cfg(test)]
mod tests;
mod walk;

use crate::error::{Code, Error, Result};

pub use digest::OrderDigest;
pub(crate) use walk::{Share, Walk};

/// The number of this specification.
pub(crate) const ORDER_SPEC: u32 = 1;

/// Lanes at most.
pub(crate) const LANES_MAX: u32 = 4_096;
/// Units that a step draws from at most.
pub(crate) const WINDOW_MAX: u32 = 4_096;

/// A row: the number of its unit, and how many live rows stand before it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RowId {
    pub(crate) unit: u32,
    pub(crate) row: u32,
}

/// What an order depends on besides its units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) seed: u64,
    /// Staircases side by side.
    pub(crate) lanes: u32,
    /// Units that a step of a lane draws from.
    pub(crate) window: u32,
}

/// The order of one epoch.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    shape: Shape,
    epoch: u64,
    lanes: Vec<Lane>,
    rows: u64,
}

/// A lane: its units by their numbers, and how they overlap.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    pub(crate) units: Vec<u32>,
    pub(crate) staircase: staircase::Staircase,
}

impl Order {
    /// The order of units with these live rows.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if there are no lanes or too many, or the window is empty or too wide;
    /// with the code [`LimitExceeded`](Code::LimitExceeded) if there are too many units.
    pub(crate) fn new(live: &[u32], shape: Shape, epoch: u64) -> Result<Self> {
        check(shape)?;
        if u32::try_from(live.len()).is_err() {
            let message = "the feed has too many units; make them larger";
            return Err(Error::invalid(Code::LimitExceeded, message));
        }
        let lanes = lanes::deal(live, shape, epoch);
        let lanes = lanes.into_iter().map(|units| {
            let counts = units.iter().filter_map(|unit| live.get(*unit as usize));
            Lane {
                staircase: staircase::Staircase::new(counts.copied().collect(), shape.window),
                units,
            }
        });
        Ok(Self {
            shape,
            epoch,
            lanes: lanes.collect(),
            rows: live.iter().map(|rows| u64::from(*rows)).sum(),
        })
    }

    /// The lanes, in their order.
    pub(crate) fn lanes(&self) -> &[Lane] {
        &self.lanes
    }
}

fn check(shape: Shape) -> Result<()> {
    let fits = |value: u32, most: u32| 0 < value && value <= most;
    if !fits(shape.lanes, LANES_MAX) {
        let message = format!("a feed has between 1 and {LANES_MAX} lanes");
        return Err(Error::invalid(Code::InvalidArgument, message).with("lanes", shape.lanes));
    }
    if !fits(shape.window, WINDOW_MAX) {
        let message = format!("the window of a feed is between 1 and {WINDOW_MAX} units wide");
        return Err(Error::invalid(Code::InvalidArgument, message).with("window", shape.window));
    }
    Ok(())
}
