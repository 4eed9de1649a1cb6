//! Walking along an epoch from any position, for all rows or for one rank's share.

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Code, Error, Result};
use crate::feed::order::draw::{Purpose, permutation};
use crate::feed::order::lanes::Weave;
use crate::feed::order::{Order, RowId};

/// The share of one of several consumers that train together.
///
/// With `world` ranks, batch g is the positions from g*B to before (g+1)*B. If `world` divides the number of lanes, a
/// rank takes the positions of the batch that leave its own number when divided by `world`: it never reads lanes of
/// others. Else rank r takes the contiguous part from floor(r*b/world) to floor((r+1)*b/world) of a batch of b rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) rank: u32,
    pub(crate) world: u32,
}

impl Share {
    /// All rows.
    pub(crate) const ALL: Self = Self { rank: 0, world: 1 };

    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if there is no such rank.
    pub(crate) fn check(self) -> Result<()> {
        if self.rank < self.world {
            return Ok(());
        }
        let message = "the rank must be below the number of ranks";
        Err(Error::invalid(Code::InvalidArgument, message)
            .with("rank", self.rank)
            .with("world", self.world))
    }

    fn by_lanes(self, lanes: usize) -> bool {
        (lanes as u64).is_multiple_of(u64::from(self.world))
    }

    /// Whether a lane's rows can be in this share.
    pub(crate) fn touches(self, lane: usize, lanes: usize) -> bool {
        !self.by_lanes(lanes) || lane as u64 % u64::from(self.world) == u64::from(self.rank)
    }

    /// Whether a position of a batch is in this share. Every position of a batch is in one share.
    fn has(self, batch: &Range<u64>, position: u64, lanes: usize) -> bool {
        let world = u64::from(self.world);
        if self.by_lanes(lanes) {
            return position % world == u64::from(self.rank);
        }
        let rows = batch.end - batch.start;
        let cut = |rank: u64| batch.start + rows * rank / world;
        (cut(self.rank.into())..cut(u64::from(self.rank) + 1)).contains(&position)
    }
}

/// A walk along an epoch.
#[derive(Debug)]
pub(crate) struct Walk {
    order: Arc<Order>,
    weave: Weave,
    position: u64,
    lanes: Vec<Option<LaneWalk>>,
}

/// Where a lane stands.
#[derive(Debug)]
struct LaneWalk {
    step: usize,
    /// The place in the lane of the step's first row.
    start: u64,
    /// The step's rows, in their order.
    rows: Vec<RowId>,
    /// The permuted rows of the units that take part, and the first of these units.
    first: usize,
    units: std::collections::VecDeque<Vec<u32>>,
}

impl Walk {
    /// From a position on; at the end of the epoch, the walk is over.
    pub(crate) fn new(order: Arc<Order>, position: u64) -> Self {
        let lengths = order.lanes.iter().map(|lane| lane.staircase.rows());
        let weave = Weave::new(lengths.collect(), position);
        let lanes = order.lanes.iter().map(|_| None).collect();
        Self {
            order,
            weave,
            position,
            lanes,
        }
    }

    /// The position of the next row.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The rows of the share among the next `rows` positions, each with its position. They are one batch of all ranks
    /// together.
    pub(crate) fn batch(&mut self, rows: u64, share: Share) -> Vec<(u64, RowId)> {
        let lanes = self.lanes.len();
        let end = self.position.saturating_add(rows).min(self.order.rows);
        let batch = self.position..end;
        let own = rows.div_ceil(u64::from(share.world).max(1)).min(1 << 20);
        let mut taken = Vec::with_capacity(usize::try_from(own).unwrap_or(0));
        while self.position < end {
            let Some((lane, place)) = self.weave.next() else {
                break;
            };
            if share.has(&batch, self.position, lanes)
                && let Some(row) = self.row(lane, place)
            {
                taken.push((self.position, row));
            }
            self.position += 1;
        }
        taken
    }

    /// Whether any row of the lane was in a share.
    pub(crate) fn has_walked(&self, lane: usize) -> bool {
        self.lanes.get(lane).is_some_and(Option::is_some)
    }

    /// The units, by their places in the lane, that the lane's present step draws from, and the one that joins next. Nothing
    /// before them is needed any more.
    pub(crate) fn units_in_use(&self, lane: usize) -> Range<usize> {
        let (Some(stairs), Some(walk)) = (self.order.lanes.get(lane), self.lanes.get(lane)) else {
            return 0..0;
        };
        let step = walk.as_ref().map(|walk| walk.step);
        let step = step.unwrap_or_else(|| self.first_step(lane));
        let units = stairs.staircase.units_of(step);
        units.start..units.end.saturating_add(1).min(stairs.units.len())
    }

    /// The step of a lane that has not been walked yet.
    fn first_step(&self, lane: usize) -> usize {
        let Some(stairs) = self.order.lanes.get(lane) else {
            return 0;
        };
        let mut weave = self.weave.clone();
        // The lane's turn comes within the next round, or it has ended.
        let turn = (0..=self.lanes.len()).find_map(|_| weave.next().filter(|next| next.0 == lane));
        match turn {
            Some((_, place)) => stairs.staircase.step_of(place),
            None => stairs.staircase.steps(),
        }
    }

    fn row(&mut self, lane: usize, place: u64) -> Option<RowId> {
        let order = &self.order;
        let walk = self.lanes.get_mut(lane)?;
        let is_here = walk
            .as_ref()
            .is_some_and(|walk| walk.start <= place && place - walk.start < walk.rows.len() as u64);
        if !is_here {
            let step = order.lanes.get(lane)?.staircase.step_of(place);
            let before = walk.take();
            *walk = LaneWalk::at(order, lane, step, before);
        }
        let walk = walk.as_ref()?;
        let index = usize::try_from(place - walk.start).ok()?;
        walk.rows.get(index).copied()
    }
}

impl LaneWalk {
    /// A lane at a step; what is known of the units that still take part is kept.
    fn at(order: &Order, lane: usize, step: usize, before: Option<Self>) -> Option<Self> {
        let stairs = order.lanes.get(lane)?;
        let number = u32::try_from(lane).ok()?;
        let units = stairs.staircase.units_of(step);
        let mut known = before.map_or((units.start, Default::default()), |walk| {
            (walk.first, walk.units)
        });
        while known.0 < units.start {
            known.1.pop_front();
            known.0 += 1;
        }
        if units.start < known.0 {
            known = (units.start, Default::default());
        }
        let (first, mut permuted) = known;
        let key = (order.shape, order.epoch);
        for unit in units.clone().skip(permuted.len()) {
            let index = u64::from(*stairs.units.get(unit)?);
            let live = stairs.staircase.live(unit);
            permuted.push_back(permutation(key, Purpose::Rows, number, index, live));
        }
        let mut parts = Vec::new();
        for (unit, rows) in units.zip(&permuted) {
            let part = stairs.staircase.part(unit, step);
            let number = *stairs.units.get(unit)?;
            let part = rows.get(part.start as usize..part.end as usize)?;
            parts.extend(part.iter().map(|row| RowId {
                unit: number,
                row: *row,
            }));
        }
        let length = u32::try_from(parts.len()).ok()?;
        let shuffled = permutation(key, Purpose::Step, number, step as u64, length);
        let rows = shuffled.iter().map(|at| parts.get(*at as usize).copied());
        Some(Self {
            step,
            start: stairs.staircase.rows_before(step),
            rows: rows.collect::<Option<_>>()?,
            first,
            units: permuted,
        })
    }
}
