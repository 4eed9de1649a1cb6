//! What a feed refuses, and that no damage ends as fewer rows.

use headwater::error::Code;
use headwater::feed::{BatchOptions, HashSplit, LastBatch, ShuffleOptions};
use headwater::predicate::col;
use headwater::{ErrorKind, Table};
use object_store::path::Path;

use super::{adds, commit, feed, flights, options, remove, rows};
use crate::support::store::{Answer, Faulty, Request, When};

async fn table(store: &Faulty) -> Table {
    let table = flights(store, &[]).await;
    table.append(rows(0..1_000)).await.unwrap();
    table
}

#[tokio::test]
async fn a_state_of_another_plan_is_refused_and_says_in_what_it_differs() {
    let store = Faulty::default();
    let table = table(&store).await;
    let plan = table.snapshot().feed(1).plan().await.unwrap();
    let state = plan.batches(BatchOptions::default()).unwrap().state();
    let refusal = |plan: headwater::feed::TrainingPlan| {
        let refused = plan.resume(&state, BatchOptions::default()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        refused.message().to_owned()
    };
    let snapshot = table.snapshot();
    assert!(refusal(snapshot.feed(2).plan().await.unwrap()).contains("seed"));
    let filtered = snapshot.feed(1).filter(col("id").gt(10)).like(&state);
    assert!(refusal(filtered.plan().await.unwrap()).contains("filter or split"));
    let shuffle = ShuffleOptions {
        lanes: Some(3),
        ..ShuffleOptions::default()
    };
    assert!(refusal(snapshot.feed(1).shuffle(shuffle).plan().await.unwrap()).contains("lanes"));
    table.append(rows(1_000..1_001)).await.unwrap();
    let newer = table.snapshot().feed(1).like(&state);
    assert!(refusal(newer.plan().await.unwrap()).contains("another version"));
    let elsewhere = Faulty::default();
    let other = self::table(&elsewhere).await;
    let other = other.snapshot().feed(1).like(&state);
    assert!(refusal(other.plan().await.unwrap()).contains("another table"));
}

#[tokio::test]
async fn calls_that_make_no_sense_are_refused() {
    let store = Faulty::default();
    let table = table(&store).await;
    let snapshot = table.snapshot();
    let kind =
        |result: headwater::Result<headwater::feed::TrainingPlan>| result.unwrap_err().kind();
    assert_eq!(
        kind(snapshot.feed(1).select(["no"]).plan().await),
        ErrorKind::Invalid
    );
    let none: [&str; 0] = [];
    assert_eq!(
        kind(snapshot.feed(1).select(none).plan().await),
        ErrorKind::Invalid
    );
    let part = HashSplit::by(["no"], [("all", 1)])
        .unwrap()
        .part("all")
        .unwrap();
    assert_eq!(
        kind(snapshot.feed(1).part(part).plan().await),
        ErrorKind::Invalid
    );
    let shuffle = ShuffleOptions {
        lanes: Some(0),
        ..ShuffleOptions::default()
    };
    assert_eq!(
        kind(snapshot.feed(1).shuffle(shuffle).plan().await),
        ErrorKind::Invalid
    );
    let plan = snapshot.feed(1).plan().await.unwrap();
    assert!(plan.batches(options(0)).is_err());
    assert!(
        plan.batches(BatchOptions {
            rank: 1,
            ..options(1)
        })
        .is_err()
    );
}

/// Else it goes round for ever without a batch.
#[tokio::test]
async fn a_feed_whose_every_batch_would_be_left_out_is_refused() {
    let store = Faulty::default();
    let table = table(&store).await;
    let plan = table.snapshot().feed(1).plan().await.unwrap();
    let batches = |rows| {
        plan.batches(BatchOptions {
            last: LastBatch::Drop,
            epochs: 0..u64::MAX,
            ..options(rows)
        })
    };
    let refused = batches(1_001).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert_eq!(refused.context_value("rows"), Some("1000"));
    let fed = super::collect(batches(1_000).unwrap(), 3).await.unwrap();
    assert_eq!(fed.batches, [1_000; 3]);
}

#[tokio::test]
async fn files_that_changed_or_vanished_after_the_plan_end_the_feed_with_an_error() {
    let store = Faulty::default();
    let table = table(&store).await;
    let file = adds(&table.snapshot()).await.remove(0);
    let path = Path::from(format!("table/{}", file.path));
    let good = store.bytes(&path).await;
    // Other rows under the same name.
    let aside = Faulty::default();
    let other = flights(&aside, &[]).await;
    other.append(rows(0..999)).await.unwrap();
    let other = adds(&other.snapshot()).await.remove(0);
    let bad = aside
        .bytes(&Path::from(format!("table/{}", other.path)))
        .await;

    let plan = table.snapshot().feed(1).plan().await.unwrap();
    store.place(&path, bad).await;
    let changed = feed(&plan, options(10)).await.unwrap_err();
    assert_eq!(changed.kind(), ErrorKind::Corrupt);
    store.remove(&path).await;
    let missing = feed(&plan, options(10)).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Corrupt);

    commit(&store, &table, vec![remove(&file, true)]).await;
    let expired = feed(&plan, options(10)).await.unwrap_err();
    assert_eq!(
        (expired.kind(), expired.code()),
        (ErrorKind::NotFound, Code::FilesExpired)
    );
    store.place(&path, good).await;
    assert_eq!(feed(&plan, options(10)).await.unwrap().ids.len(), 1_000);
}

#[tokio::test]
async fn an_answer_that_is_lost_for_good_ends_the_feed_and_a_new_run_goes_on() {
    let store = Faulty::default();
    let table = table(&store).await;
    let shuffle = ShuffleOptions {
        unit_rows: Some(100),
        ..ShuffleOptions::default()
    };
    let plan = table
        .snapshot()
        .feed(1)
        .shuffle(shuffle)
        .plan()
        .await
        .unwrap();
    store.fail(
        Request::Get,
        ".parquet",
        usize::MAX,
        When::Before,
        Answer::Denied,
    );
    let denied = feed(&plan, options(10)).await.unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::Storage);
    store.heal();
    assert_eq!(feed(&plan, options(10)).await.unwrap().ids.len(), 1_000);
}
