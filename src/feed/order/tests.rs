use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Value;

use crate::feed::order::staircase::Staircase;
use crate::feed::order::{Order, OrderDigest, RowId, Shape, Share, Walk};

const VECTORS: &str = include_str!("../../../tests/vectors/order-1.ndjson");

fn shape(seed: u64, lanes: u32, window: u32) -> Shape {
    Shape {
        seed,
        lanes,
        window,
    }
}

fn order(live: &[u32], shape: Shape, epoch: u64) -> Arc<Order> {
    Arc::new(Order::new(live, shape, epoch).unwrap())
}

fn all(order: &Arc<Order>) -> Vec<RowId> {
    rows(Walk::new(order.clone(), 0).batch(u64::MAX, Share::ALL))
}

fn rows(placed: Vec<(u64, RowId)>) -> Vec<RowId> {
    placed.into_iter().map(|(_, row)| row).collect()
}

fn digest(rows: &[RowId]) -> OrderDigest {
    let mut digest = OrderDigest::default();
    for (position, row) in rows.iter().enumerate() {
        digest.add(position as u64, *row);
    }
    digest
}

#[test]
fn orders_are_those_that_another_program_computed_from_the_text() {
    let mut compared = 0;
    for line in VECTORS.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let number = |name: &str| line[name].as_u64().unwrap();
        let live: Vec<u32> = serde_json::from_value(line["live"].clone()).unwrap();
        let shape = shape(
            number("seed"),
            number("lanes") as u32,
            number("window") as u32,
        );
        let rows = all(&order(&live, shape, number("epoch")));
        assert_eq!(digest(&rows).to_string(), line["digest"].as_str().unwrap());
        if let Some(expected) = line["rows"].as_array() {
            let pairs: Vec<_> = rows.iter().map(|row| (row.unit, row.row)).collect();
            assert_eq!(serde_json::json!(pairs), serde_json::json!(expected));
            compared += 1;
        }
    }
    assert!(10 <= compared);
}

fn any_order() -> impl Strategy<Value = (Vec<u32>, Shape, u64)> {
    let shapes = (any::<u64>(), 1_u32..20, 1_u32..20)
        .prop_map(|(seed, lanes, window)| shape(seed, lanes, window));
    (
        prop::collection::vec(1_u32..40, 0..60),
        shapes,
        any::<u64>(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_row_comes_once((live, shape, epoch) in any_order()) {
        let rows = all(&order(&live, shape, epoch));
        let expected: BTreeSet<_> = live.iter().enumerate().flat_map(|(unit, rows)| {
            (0..*rows).map(move |row| RowId { unit: unit as u32, row })
        }).collect();
        prop_assert_eq!(rows.len(), expected.len());
        prop_assert_eq!(rows.into_iter().collect::<BTreeSet<_>>(), expected);
    }

    #[test]
    fn a_walk_from_any_position_in_any_batches_is_the_rest_of_the_whole(
        (live, shape, epoch) in any_order(), start in 0.0..1.0, batch in 1_u64..50,
    ) {
        let order = order(&live, shape, epoch);
        let whole = all(&order);
        let start = (whole.len() as f64 * start) as usize;
        let mut walk = Walk::new(order.clone(), start as u64);
        let mut rest = Vec::new();
        loop {
            let rows = rows(walk.batch(batch, Share::ALL));
            if rows.is_empty() { break; }
            rest.extend(rows);
        }
        prop_assert_eq!(&rest[..], &whole[start..]);
    }

    #[test]
    fn the_shares_of_all_ranks_are_each_batch_in_full(
        (live, shape, epoch) in any_order(), world in 1_u32..9, batch in 1_u64..50,
    ) {
        let order = order(&live, shape, epoch);
        let whole = all(&order);
        let mut walks: Vec<_> = (0..world).map(|_| Walk::new(order.clone(), 0)).collect();
        for expected in whole.chunks(batch as usize) {
            let mut rows = Vec::new();
            for (rank, walk) in walks.iter_mut().enumerate() {
                let share = self::rows(walk.batch(batch, Share { rank: rank as u32, world }));
                if u64::from(shape.lanes).is_multiple_of(world.into()) && batch % u64::from(world) == 0
                    && expected.len() == batch as usize {
                    prop_assert_eq!(share.len() as u64, batch / u64::from(world));
                }
                rows.extend(share);
            }
            rows.sort_unstable();
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            prop_assert_eq!(rows, expected);
        }
    }

    #[test]
    fn a_rank_that_divides_the_lanes_reads_only_its_own_before_the_first_lane_ends(
        (live, mut shape, epoch) in any_order(), world in 1_u32..5, lanes in 1_u32..5,
    ) {
        shape.lanes = world * lanes;
        let order = order(&live, shape, epoch);
        let shortest = order.lanes().iter().map(|lane| lane.staircase.rows()).min().unwrap();
        for rank in 0..world {
            let share = Share { rank, world };
            let own: BTreeSet<u32> = order.lanes().iter().enumerate()
                .filter(|(lane, _)| share.touches(*lane, shape.lanes as usize))
                .flat_map(|(_, lane)| lane.units.iter().copied()).collect();
            let rows = rows(Walk::new(order.clone(), 0).batch(shortest * u64::from(shape.lanes), share));
            prop_assert!(rows.iter().all(|row| own.contains(&row.unit)));
        }
    }

    #[test]
    fn lanes_differ_by_at_most_one_unit((live, shape, epoch) in any_order()) {
        let order = order(&live, shape, epoch);
        let rows: Vec<u64> = order.lanes().iter().map(|lane| lane.staircase.rows()).collect();
        let most = live.iter().copied().max().unwrap_or(0);
        prop_assert!(rows.iter().max().unwrap() - rows.iter().min().unwrap() <= u64::from(most));
    }

    #[test]
    fn steps_and_units_know_each_other(live in prop::collection::vec(1_u32..100, 1..60), window in 1_u32..30) {
        let stairs = Staircase::new(live.clone(), window);
        let mut before = 0;
        for step in 0..stairs.steps() {
            prop_assert_eq!(stairs.rows_before(step), before);
            let units = stairs.units_of(step);
            prop_assert!(units.len() <= window as usize);
            for unit in 0..live.len() {
                prop_assert_eq!(units.contains(&unit), stairs.steps_of(unit).contains(&step));
            }
            before += units.map(|unit| stairs.part(unit, step).len() as u64).sum::<u64>();
        }
        prop_assert_eq!(before, stairs.rows());
        for place in 0..stairs.rows() {
            let step = stairs.step_of(place);
            prop_assert!(stairs.rows_before(step) <= place && place < stairs.rows_before(step + 1));
        }
    }
}

#[test]
fn the_digest_of_an_epoch_is_the_sum_of_its_stretches_and_sees_a_swap() {
    let order = order(&[50; 30], shape(3, 4, 5), 0);
    let mut rows = all(&order);
    let whole = digest(&rows);
    let (mut first, mut second) = (OrderDigest::default(), OrderDigest::default());
    for (position, row) in rows.iter().enumerate() {
        let stretch = if position < 700 {
            &mut first
        } else {
            &mut second
        };
        stretch.add(position as u64, *row);
    }
    assert_eq!(first.and(second), whole);
    rows.swap(10, 11);
    assert_ne!(digest(&rows), whole);
}

#[test]
fn epochs_and_seeds_differ() {
    let orders = [(1, 0), (1, 1), (2, 0)].map(|(seed, epoch)| {
        let rows = all(&order(&[20; 20], shape(seed, 2, 9), epoch));
        digest(&rows)
    });
    assert_ne!(orders[0], orders[1]);
    assert_ne!(orders[0], orders[2]);
    assert_ne!(orders[1], orders[2]);
}

#[test]
fn the_mixing_is_as_good_as_its_formula_says() {
    // Rows sorted by their unit: the worst case. The mean over 256 rows in a row has a variance of deff times that of
    // random rows; deff = T / (W + T / C) with T = 256 rows, W = 17 units, C = 64 rows a unit.
    let (units, live, window, stretch) = (256_u32, 64_u32, 17_u32, 256_usize);
    let mut variance = 0.0;
    let seeds = 20;
    for seed in 0..seeds {
        let rows = all(&order(
            &vec![live; units as usize],
            shape(seed, 1, window),
            0,
        ));
        let means: Vec<f64> = rows
            .chunks_exact(stretch)
            .map(|rows| rows.iter().map(|row| f64::from(row.unit)).sum::<f64>() / stretch as f64)
            .collect();
        let center = f64::from(units - 1) / 2.0;
        variance += means
            .iter()
            .map(|mean| (mean - center).powi(2))
            .sum::<f64>()
            / means.len() as f64;
    }
    let random = (f64::from(units).powi(2) - 1.0) / 12.0 / stretch as f64;
    let measured = variance / seeds as f64 / random;
    let formula = stretch as f64 / (f64::from(window) + stretch as f64 / f64::from(live));
    assert!(
        (measured / formula - 1.0).abs() < 0.3,
        "measured {measured}, formula {formula}"
    );
}

#[test]
fn impossible_shapes_are_refused() {
    for (lanes, window) in [(0, 1), (1, 0), (5_000, 1), (1, 5_000)] {
        assert!(Order::new(&[1], shape(0, lanes, window), 0).is_err());
    }
    assert!(Share { rank: 2, world: 2 }.check().is_err());
    assert!(Share { rank: 0, world: 0 }.check().is_err());
}
