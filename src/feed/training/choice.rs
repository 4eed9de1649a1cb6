//! How large units are, how many lanes there are and how wide their windows: a function of sizes and memory.

use crate::feed::order::{Shape, WINDOW_MAX};
use crate::feed::training::ShuffleOptions;

/// Units of this many rows hold what a page of a data file holds, about. Other sizes that are chosen are this one times
/// a power of two.
pub(super) const UNIT_ROWS_MIN: u64 = 1_024;
const UNIT_ROWS_MAX: u64 = 65_536;
/// Units that memory is to hold at least, where they can be cut so small.
const UNITS_IN_MEMORY: u64 = 64;
/// From this many units on there are as many lanes as there may be.
const UNITS_FOR_ALL_LANES: u64 = 512;
const LANES_MAX: u64 = 64;
/// Units that a lane has at least.
const LANE_UNITS_MIN: u64 = 8;
/// A window that is narrower hardly mixes: then fewer lanes are better.
const WINDOW_MIN: u64 = 5;
/// A wider one costs more than it mixes.
const WINDOW_CHOSEN_MAX: u64 = 257;

/// Rows of a unit.
pub(super) fn unit_rows(options: &ShuffleOptions, rows: u64, bytes: u64) -> u32 {
    if let Some(chosen) = options.unit_rows {
        return chosen.max(1);
    }
    let row_bytes = bytes.checked_div(rows).unwrap_or(1).max(1);
    let fitting = (options.memory_bytes / UNITS_IN_MEMORY / row_bytes).max(1);
    let power = 1_u64 << (63 - fitting.leading_zeros()).min(62);
    u32::try_from(power.clamp(UNIT_ROWS_MIN, UNIT_ROWS_MAX)).unwrap_or(u32::MAX)
}

/// Lanes and window for so many units, the largest of which takes so many bytes.
pub(super) fn shape(options: &ShuffleOptions, seed: u64, units: u64, unit_bytes: u64) -> Shape {
    let capacity = (options.memory_bytes / unit_bytes.max(1)).max(1);
    let mut lanes = match options.lanes {
        Some(lanes) => u64::from(lanes),
        None if UNITS_FOR_ALL_LANES <= units => LANES_MAX,
        None => power_of_two_within((units / LANE_UNITS_MIN).max(1)).min(LANES_MAX),
    };
    // A lane holds its window and the unit that joins next.
    while options.lanes.is_none() && 1 < lanes && capacity / lanes < WINDOW_MIN + 1 {
        lanes /= 2;
    }
    let lane_units = units.div_ceil(lanes.max(1)).max(1);
    let useful = lane_units.saturating_mul(2).saturating_sub(1);
    let affordable = match lane_units <= capacity / lanes.max(1) {
        // Memory holds the whole lane: every step mixes all of it.
        true => useful,
        false => (capacity / lanes.max(1)).saturating_sub(1),
    };
    let window = match options.window {
        Some(window) => u64::from(window),
        None => affordable.min(useful).clamp(1, WINDOW_CHOSEN_MAX),
    };
    Shape {
        seed,
        lanes: u32::try_from(lanes).unwrap_or(u32::MAX),
        window: u32::try_from(window).unwrap_or(WINDOW_MAX),
    }
}

fn power_of_two_within(number: u64) -> u64 {
    1 << (63 - number.max(1).leading_zeros()).min(62)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_tables_are_shuffled_whole() {
        let options = ShuffleOptions::default();
        let chosen = shape(&options, 1, 7, 1 << 20);
        assert_eq!((chosen.lanes, chosen.window), (1, 13));
    }

    #[test]
    fn what_is_chosen_fits_in_memory() {
        let options = ShuffleOptions {
            memory_bytes: 64 << 20,
            ..ShuffleOptions::default()
        };
        for units in [1, 3, 20, 100, 600, 10_000, 1_000_000] {
            for unit_bytes in [1, 1 << 10, 1 << 16, 1 << 20, 4 << 20] {
                let chosen = shape(&options, 1, units, unit_bytes);
                let lane = u64::from(chosen.window).min(units.div_ceil(chosen.lanes.into())) + 1;
                let resident = (u64::from(chosen.lanes) * lane).min(units);
                assert!(resident * unit_bytes <= (64 << 20), "{units} {unit_bytes}");
            }
        }
    }

    #[test]
    fn units_are_smaller_where_rows_are_wider() {
        let options = ShuffleOptions::default();
        assert_eq!(unit_rows(&options, 1_000, 8_000), 65_536);
        assert_eq!(unit_rows(&options, 1_000, 100_000), 32_768);
        assert_eq!(unit_rows(&options, 1_000, 100_000_000), 1_024);
        assert_eq!(unit_rows(&options, 0, 0), 65_536);
    }
}
