//! The order, the states, the shares.

use futures::TryStreamExt;
use headwater::feed::{BatchOptions, FeedState, LastBatch, ShuffleOptions, TrainingPlan};
use headwater::predicate::col;
use headwater::{Snapshot, Table};

use super::{
    Fed, add, adds, collect, commit, feed, flights, options, records, remove, rows, scanned,
    without,
};
use crate::support::store::Faulty;

const ROWS: i64 = 5_000;

/// A table of files of many sizes, some with deleted rows.
async fn table() -> (Faulty, Table) {
    let store = Faulty::default();
    let table = flights(&store, &["day"]).await;
    let mut first = 0;
    for size in [1_700, 3, 900, 1, 2_000, 396] {
        table.append(rows(first..first + size)).await.unwrap();
        first += size;
    }
    assert_eq!(first, ROWS);
    let mut actions = Vec::new();
    for (number, file) in adds(&table.snapshot()).await.iter().enumerate() {
        if number % 3 == 0 {
            actions.push(remove(file, true));
            actions.push(add(&without(file, (0..records(file)).step_by(7))));
        }
    }
    commit(&store, &table, actions).await;
    (store, table)
}

fn shuffle() -> ShuffleOptions {
    ShuffleOptions {
        lanes: Some(4),
        window: Some(5),
        unit_rows: Some(64),
        ..ShuffleOptions::default()
    }
}

async fn plan(snapshot: &Snapshot) -> TrainingPlan {
    snapshot.feed(17).shuffle(shuffle()).plan().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_order_does_not_depend_on_threads_and_batch_size() {
    let (_store, table) = table().await;
    let plan = plan(&table.snapshot()).await;
    assert!(60 < plan.summary().units);
    let expected = feed(&plan, options(100)).await.unwrap();
    assert_eq!(expected.sorted(), scanned(&table.snapshot()).await);
    assert_ne!(expected.ids, expected.sorted());
    assert_eq!(expected.digest, plan.order_digest(0).await.unwrap());
    for threads in [1, 2, 8] {
        for rows in [1, 7, 256, 1_024] {
            let options = BatchOptions {
                threads,
                ..options(rows)
            };
            let fed = feed(&plan, options).await.unwrap();
            assert_eq!(
                fed.ids, expected.ids,
                "threads {threads}, batches of {rows}"
            );
            assert_eq!(fed.digest, expected.digest);
            let (last, full) = fed.batches.split_last().unwrap();
            assert!(full.iter().all(|length| *length == rows) && *last <= rows);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_stops_at_any_point_goes_on_with_the_next_row() {
    let (_store, table) = table().await;
    let plan = plan(&table.snapshot()).await;
    let epochs = 0..2;
    let whole = feed(
        &plan,
        BatchOptions {
            epochs: epochs.clone(),
            ..options(100)
        },
    )
    .await
    .unwrap();
    assert_eq!(whole.ids.len() as u64, 2 * plan.rows());
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: usize| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) as usize % below
    };
    for _ in 0..100 {
        let first = BatchOptions {
            epochs: epochs.clone(),
            threads: 1 + draw(8),
            ..options(1 + draw(900))
        };
        let mut fed = collect(plan.batches(first).unwrap(), 1 + draw(12))
            .await
            .unwrap();
        let state: FeedState = fed.states.last().unwrap().to_string().parse().unwrap();
        assert!(state.to_string().len() <= 256);
        // A new process plans anew, with other memory, and reads only the ids.
        let again = table
            .snapshot()
            .feed(0)
            .shuffle(ShuffleOptions::default())
            .like(&state);
        let again = again.select(["id"]).plan().await.unwrap();
        let second = BatchOptions {
            epochs: epochs.clone(),
            ..options(1 + draw(900))
        };
        let rest = collect(again.resume(&state, second).unwrap(), usize::MAX)
            .await
            .unwrap();
        fed.ids.extend(&rest.ids);
        assert_eq!(fed.ids, whole.ids);
        assert_eq!(fed.digest.and(rest.digest), whole.digest);
        let end = rest.states.last().or(fed.states.last()).unwrap();
        assert_eq!((end.epoch(), end.position()), (2, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shares_of_all_ranks_are_the_epoch() {
    let (_store, table) = table().await;
    let plan = plan(&table.snapshot()).await;
    let digest = plan.order_digest(0).await.unwrap();
    for world in [1, 2, 3, 4, 5, 8] {
        let mut ids: Vec<i64> = Vec::new();
        let mut sum = headwater::feed::OrderDigest::default();
        let mut states: Vec<Vec<FeedState>> = Vec::new();
        for rank in 0..world {
            let options = BatchOptions {
                rank,
                world,
                ..options(120)
            };
            let fed = feed(&plan, options).await.unwrap();
            ids.extend(&fed.ids);
            sum = sum.and(fed.digest);
            states.push(fed.states);
        }
        ids.sort_unstable();
        assert_eq!(ids, scanned(&table.snapshot()).await, "{world} ranks");
        assert_eq!(sum, digest);
        // After each batch, every rank has the same state.
        assert!(states.iter().all(|of_rank| *of_rank == states[0]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_unit_is_read_once_and_few_are_in_memory() {
    let store = Faulty::default();
    let table = flights(&store, &[]).await;
    table.append(rows(0..40_000)).await.unwrap();
    let shuffle = ShuffleOptions {
        lanes: Some(2),
        window: Some(5),
        unit_rows: Some(200),
        ..shuffle()
    };
    let plan = table
        .snapshot()
        .feed(3)
        .shuffle(shuffle)
        .plan()
        .await
        .unwrap();
    assert_eq!(plan.summary().units, 200);
    let mut batches = plan.batches(options(50)).unwrap();
    let mut seen = 0;
    while let Some(batch) = batches.try_next().await.unwrap() {
        seen += batch.num_rows();
    }
    assert_eq!(seen, 40_000);
    let counts = batches.counts();
    assert_eq!(counts.units_read, 200);
    // A block of 8,192 rows is about 41 units, and each lane holds 5 and one more.
    assert!(counts.units_resident_max < 70, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranks_that_divide_the_lanes_share_the_reading() {
    let store = Faulty::default();
    let table = flights(&store, &[]).await;
    table.append(rows(0..40_000)).await.unwrap();
    let shuffle = ShuffleOptions {
        lanes: Some(8),
        window: Some(3),
        unit_rows: Some(200),
        ..shuffle()
    };
    let plan = table
        .snapshot()
        .feed(3)
        .shuffle(shuffle)
        .plan()
        .await
        .unwrap();
    let mut read = 0;
    for rank in 0..4 {
        let mut batches = plan
            .batches(BatchOptions {
                rank,
                world: 4,
                ..options(80)
            })
            .unwrap();
        while let Some(batch) = batches.try_next().await.unwrap() {
            assert_eq!(batch.num_rows(), 20);
        }
        read += batches.counts().units_read;
    }
    assert!(read <= 220, "{read} units read for 200");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_last_batch_can_be_left_out() {
    let (_store, table) = table().await;
    let plan = plan(&table.snapshot()).await;
    let options = BatchOptions {
        last: LastBatch::Drop,
        epochs: 0..3,
        ..options(512)
    };
    let fed = feed(&plan, options).await.unwrap();
    assert!(fed.batches.iter().all(|length| *length == 512));
    assert_eq!(fed.batches.len() as u64, plan.rows() / 512 * 3);
    let end = fed.states.last().unwrap();
    assert_eq!((end.epoch(), end.position()), (3, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn epochs_and_seeds_give_other_orders_of_the_same_rows() {
    let (_store, table) = table().await;
    let snapshot = table.snapshot();
    let plan = plan(&snapshot).await;
    let other = snapshot.feed(18).shuffle(shuffle()).plan().await.unwrap();
    assert_ne!(plan.digest(), other.digest());
    let first = feed(&plan, options(100)).await.unwrap();
    let second = feed(
        &plan,
        BatchOptions {
            epochs: 1..2,
            ..options(100)
        },
    )
    .await
    .unwrap();
    let third = feed(&other, options(100)).await.unwrap();
    assert_ne!(first.ids, second.ids);
    assert_ne!(first.ids, third.ids);
    assert_eq!(first.sorted(), second.sorted());
    assert_eq!(first.sorted(), third.sorted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn predicates_select_exactly_and_projections_change_no_order() {
    let (_store, table) = table().await;
    let snapshot = table.snapshot();
    let late = || col("delay").gt(800.0).and(col("day").eq(1));
    let feeding = || snapshot.feed(5).shuffle(shuffle()).filter(late());
    let all = feeding().plan().await.unwrap();
    let some = feeding().select(["day", "id"]).plan().await.unwrap();
    assert_eq!(all.digest(), some.digest());
    let (fed, narrow) = (
        feed(&all, options(64)).await.unwrap(),
        feed(&some, options(64)).await.unwrap(),
    );
    assert_eq!(fed.ids, narrow.ids);
    let scan = snapshot
        .scan()
        .filter(late())
        .select(["id"])
        .collect()
        .await
        .unwrap();
    let expected: usize = scan.iter().map(|batch| batch.num_rows()).sum();
    assert_eq!(fed.ids.len(), expected);
    assert!(
        fed.ids
            .iter()
            .all(|id| id % 3 == 1 && *id > 1_600 && id % 5 != 0)
    );
    // Columns that no file has: the partition values alone.
    let days = feeding().select(["day"]).plan().await.unwrap();
    let batches: Vec<_> = days
        .batches(options(64))
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(
        batches.iter().map(|batch| batch.num_rows()).sum::<usize>(),
        expected
    );
    let unfiltered = snapshot
        .feed(5)
        .shuffle(shuffle())
        .select(["day"])
        .plan()
        .await
        .unwrap();
    let batches: Vec<_> = unfiltered
        .batches(options(64))
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let rows: usize = batches.iter().map(|batch| batch.num_rows()).sum();
    assert_eq!(rows as u64, unfiltered.rows());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_chosen_by_default_feeds_every_row() {
    let (_store, table) = table().await;
    let plan = table.snapshot().feed(1).plan().await.unwrap();
    let fed: Fed = feed(&plan, BatchOptions::default()).await.unwrap();
    assert_eq!(fed.sorted(), scanned(&table.snapshot()).await);
    let empty = table
        .snapshot_at(0)
        .await
        .unwrap()
        .feed(1)
        .plan()
        .await
        .unwrap();
    assert_eq!(
        feed(&empty, BatchOptions::default()).await.unwrap().ids,
        Vec::<i64>::new()
    );
}
