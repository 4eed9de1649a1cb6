//! One lane: which rows of which units a step draws from. All of it is closed form, so any step can be found without
//! those before it.

use std::ops::Range;

/// The units of a lane by their live rows, and the width of the window.
#[derive(Debug, Clone)]
pub(crate) struct Staircase {
    live: Vec<u32>,
    /// Live rows of all units before each unit, and of all.
    before: Vec<u64>,
    window: usize,
}

impl Staircase {
    pub(crate) fn new(live: Vec<u32>, window: u32) -> Self {
        let mut before = Vec::with_capacity(live.len().saturating_add(1));
        let mut sum = 0_u64;
        before.push(sum);
        for rows in &live {
            sum = sum.saturating_add((*rows).into());
            before.push(sum);
        }
        Self {
            live,
            before,
            window: (window as usize).max(1),
        }
    }

    /// Rows of the lane.
    pub(crate) fn rows(&self) -> u64 {
        self.before.last().copied().unwrap_or(0)
    }

    /// Steps of the lane: as many as it has units.
    pub(crate) fn steps(&self) -> usize {
        self.live.len()
    }

    /// Live rows of a unit.
    pub(crate) fn live(&self, unit: usize) -> u32 {
        self.live.get(unit).copied().unwrap_or(0)
    }

    /// Units that take part before their own step.
    fn ahead(&self) -> usize {
        (self.window - 1) / 2
    }

    /// The units that take part in a step.
    pub(crate) fn units_of(&self, step: usize) -> Range<usize> {
        let behind = self.window - 1 - self.ahead();
        let end = step
            .saturating_add(self.ahead())
            .saturating_add(1)
            .min(self.live.len());
        step.saturating_sub(behind).min(end)..end
    }

    /// The steps that a unit takes part in.
    pub(crate) fn steps_of(&self, unit: usize) -> Range<usize> {
        let behind = self.window - 1 - self.ahead();
        let end = unit
            .saturating_add(behind)
            .saturating_add(1)
            .min(self.live.len());
        unit.saturating_sub(self.ahead()).min(end)..end
    }

    /// The part of a unit's permuted rows that a step hands out.
    pub(crate) fn part(&self, unit: usize, step: usize) -> Range<u32> {
        let steps = self.steps_of(unit);
        let cut = |step: usize| -> u32 {
            let done = step.saturating_sub(steps.start) as u64;
            let all = (steps.len() as u64).max(1);
            let rows = u64::from(self.live(unit)).saturating_mul(done) / all;
            u32::try_from(rows).unwrap_or(u32::MAX)
        };
        if !steps.contains(&step) {
            return 0..0;
        }
        cut(step)..cut(step + 1)
    }

    /// Rows that the steps before this one hand out.
    pub(crate) fn rows_before(&self, step: usize) -> u64 {
        if self.steps() <= step {
            return self.rows();
        }
        let units = self.units_of(step);
        // Units before the window are through; those after it have not begun.
        let through = self.before.get(units.start).copied().unwrap_or(0);
        let parts = units.map(|unit| u64::from(self.part(unit, step).start));
        through.saturating_add(parts.sum())
    }

    /// The step that hands out the row at a place of the lane, which must be before its end.
    pub(crate) fn step_of(&self, place: u64) -> usize {
        let (mut low, mut high) = (0, self.steps().saturating_sub(1));
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if self.rows_before(middle) <= place {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        low
    }
}
