//! Deleted rows never come; old versions feed as they did.

use std::collections::BTreeSet;

use headwater::Table;
use headwater::feed::{BatchOptions, FollowOptions, HashSplit, OnChange, ShuffleOptions};
use headwater::predicate::col;
use proptest::prelude::*;

use super::{
    add, adds, commit, compact, feed, flights, ids_in, options, records, remove, rows, scanned,
    without,
};
use crate::support::block_on;
use crate::support::store::Faulty;

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_deleted_row_is_ever_fed(
        sizes in prop::collection::vec(1_i64..400, 1..5),
        deleted in prop::collection::btree_set(0_u64..400, 0..200),
        lanes in 1_u32..4, window in 1_u32..6, unit_rows in 1_u32..100, rows_of_batch in 1_usize..300,
    ) {
        let (fed, expected) = block_on(async {
            let store = Faulty::default();
            let table = flights(&store, &[]).await;
            let mut expected = BTreeSet::new();
            let mut first = 0;
            for size in &sizes {
                table.append(rows(first..first + size)).await.unwrap();
                let live = (0..*size).filter(|row| !deleted.contains(&(*row as u64)));
                expected.extend(live.map(|row| first + row));
                first += size;
            }
            let mut actions = Vec::new();
            for file in adds(&table.snapshot()).await {
                let size = records(&file);
                let gone: Vec<_> = deleted.iter().copied().filter(|row| *row < size).collect();
                if !gone.is_empty() {
                    actions.extend([remove(&file, true), add(&without(&file, gone))]);
                }
            }
            let snapshot = commit(&store, &table, actions).await;
            let shuffle = ShuffleOptions {
                lanes: Some(lanes), window: Some(window), unit_rows: Some(unit_rows), ..ShuffleOptions::default()
            };
            let plan = snapshot.feed(1).shuffle(shuffle).plan().await.unwrap();
            let fed = feed(&plan, options(rows_of_batch)).await.unwrap();
            assert_eq!(plan.rows(), fed.ids.len() as u64);
            (fed.sorted(), expected.into_iter().collect::<Vec<_>>())
        });
        prop_assert_eq!(fed, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_version_feeds_as_it_did_after_deletes_compaction_and_appends() {
    let store = Faulty::default();
    let table = flights(&store, &["day"]).await;
    for first in [0, 500, 1_000] {
        table.append(rows(first..first + 500)).await.unwrap();
    }
    let then = table.snapshot().version();
    let before = table.snapshot().feed(9).plan().await.unwrap();
    let fed = feed(&before, options(99)).await.unwrap();

    let file = adds(&table.snapshot()).await.remove(0);
    let gone = vec![remove(&file, true), add(&without(&file, 0..50))];
    commit(&store, &table, gone).await;
    table.append(rows(1_500..1_600)).await.unwrap();
    let compacted = compact(&store, &table).await;
    assert_eq!(adds(&compacted).await.len(), 1);
    table.checkpoint().await.unwrap();

    let again = table.snapshot_at(then).await.unwrap();
    let after = again.feed(9).plan().await.unwrap();
    assert_eq!(after.digest(), before.digest());
    assert_eq!(after.snapshot_digest(), before.snapshot_digest());
    assert_eq!(
        feed(
            &after,
            BatchOptions {
                threads: 1,
                ..options(7)
            }
        )
        .await
        .unwrap()
        .ids,
        fed.ids
    );
    let newest = table.snapshot().feed(9).plan().await.unwrap();
    assert_ne!(newest.digest(), before.digest());
    assert_eq!(
        feed(&newest, options(7)).await.unwrap().sorted(),
        scanned(&table.snapshot()).await
    );
}

#[tokio::test]
async fn the_digest_of_a_version_is_the_same_with_and_without_a_checkpoint() {
    let store = Faulty::default();
    let table = flights(&store, &["day"]).await;
    table.append(rows(0..10)).await.unwrap();
    let file = adds(&table.snapshot()).await.remove(0);
    commit(
        &store,
        &table,
        vec![remove(&file, true), add(&without(&file, [0]))],
    )
    .await;
    let plain = table.snapshot().digest().await.unwrap();
    assert_eq!(plain.to_string().len(), 32);
    table.checkpoint().await.unwrap();
    let reopened = crate::support::open(&store).await.unwrap().snapshot();
    assert_eq!(reopened.digest().await.unwrap(), plain);
    table.append(rows(10..11)).await.unwrap();
    assert_ne!(table.snapshot().digest().await.unwrap(), plain);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_deletes_and_compaction_leave_splits_and_followers_alone() {
    let store = Faulty::default();
    let table = flights(&store, &["day"]).await;
    for first in [0, 200, 400] {
        table.append(rows(first..first + 200)).await.unwrap();
    }
    let split = HashSplit::by(["key"], [("train", 80), ("test", 20)]).unwrap();
    let tested = async |table: &Table| {
        let feeding = table.snapshot().feed(3).part(split.part("test").unwrap());
        let plan = feeding.plan().await.unwrap();
        feed(&plan, options(64)).await.unwrap().sorted()
    };
    let options = FollowOptions {
        on_change: OnChange::IgnoreDeletes,
        ..FollowOptions::default()
    };
    let mut follower = table.follow(options);
    let first = follower.next().await.unwrap().unwrap();
    assert_eq!(first.rows(), Some(600));

    let before = tested(&table).await;
    table.compact().await.unwrap();
    assert!(
        adds(&table.snapshot()).await.len() <= 3,
        "compaction did something"
    );
    assert_eq!(tested(&table).await, before);
    table.delete(col("id").lt(100)).await.unwrap();
    let left: Vec<i64> = before.into_iter().filter(|id| 100 <= *id).collect();
    assert_eq!(tested(&table).await, left);
    table.compact().await.unwrap();
    assert_eq!(tested(&table).await, left);
    let deletes = follower.next().await;
    assert!(deletes.unwrap().is_none(), "nothing was added");
    table.append(rows(600..603)).await.unwrap();
    let added = follower
        .next()
        .await
        .unwrap()
        .unwrap()
        .collect()
        .await
        .unwrap();
    let mut ids = ids_in(&added);
    ids.sort_unstable();
    assert_eq!(ids, vec![600, 601, 602]);
}
