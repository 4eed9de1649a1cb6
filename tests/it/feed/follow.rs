//! Following a table: what is added comes once, what only moves does not, and no gap goes unseen.

use std::sync::Arc;
use std::time::Duration;

use headwater::arrow_array::{ArrayRef, Int64Array, RecordBatch};
use headwater::error::Code;
use headwater::feed::{Cursor, FollowOptions, FollowStart, Follower, OnChange, OnGap};
use headwater::predicate::col;
use headwater::protocol::action::Add;
use headwater::{ErrorKind, Result, Table};
use proptest::prelude::*;
use serde_json::Value;

use super::{add, adds, commit, compact, flights, ids_in, remove, rows, without};
use crate::support::hasty::Ahead;
use crate::support::store::{Faulty, Request};
use crate::support::{block_on, commit_key, open, storage_in};

fn following(change: impl FnOnce(&mut FollowOptions)) -> FollowOptions {
    let mut options = FollowOptions::default();
    change(&mut options);
    options
}

/// All that is there to hand out, sorted.
async fn drain(follower: &mut Follower) -> Result<Vec<i64>> {
    let mut ids = Vec::new();
    while let Some(input) = follower.next().await? {
        assert_eq!(Some(input.end()), follower.cursor());
        ids.extend(ids_in(&input.collect().await?));
    }
    ids.sort_unstable();
    Ok(ids)
}

async fn table(store: &Faulty) -> Table {
    let table = flights(store, &["day"]).await;
    table.append(rows(0..10)).await.unwrap();
    table.append(rows(10..20)).await.unwrap();
    table
}

#[tokio::test]
async fn what_is_there_comes_first_and_then_what_is_added() {
    let store = Faulty::default();
    let table = table(&store).await;
    let mut follower = table.follow(FollowOptions::default());
    assert_eq!(
        drain(&mut follower).await.unwrap(),
        (0..20).collect::<Vec<_>>()
    );
    assert_eq!(drain(&mut follower).await.unwrap(), Vec::<i64>::new());
    open(&store)
        .await
        .unwrap()
        .append(rows(20..25))
        .await
        .unwrap();
    assert_eq!(
        drain(&mut follower).await.unwrap(),
        (20..25).collect::<Vec<_>>()
    );
    assert_eq!(follower.cursor(), Some(Cursor::through(3).unwrap()));
}

#[tokio::test]
async fn it_can_start_at_a_version_or_now() {
    let store = Faulty::default();
    let table = table(&store).await;
    let from = |start| following(|options| options.start = start);
    let second = from(FollowStart::Version(2));
    assert_eq!(
        drain(&mut table.follow(second)).await.unwrap(),
        (10..20).collect::<Vec<_>>()
    );
    let zero = from(FollowStart::Version(0));
    assert_eq!(
        drain(&mut table.follow(zero)).await.unwrap(),
        (0..20).collect::<Vec<_>>()
    );
    let mut latest = table.follow(from(FollowStart::Latest));
    let mut future = table.follow(from(FollowStart::Version(4)));
    assert_eq!(drain(&mut latest).await.unwrap(), Vec::<i64>::new());
    assert_eq!(drain(&mut future).await.unwrap(), Vec::<i64>::new());
    table.append(rows(20..21)).await.unwrap();
    table.append(rows(21..22)).await.unwrap();
    assert_eq!(drain(&mut latest).await.unwrap(), vec![20, 21]);
    assert_eq!(drain(&mut future).await.unwrap(), vec![21]);
}

#[tokio::test]
async fn limits_cut_inputs_between_files_and_any_cursor_goes_on() {
    let store = Faulty::default();
    let table = table(&store).await;
    table.append(rows(20..40)).await.unwrap();
    let limits: [fn(&mut FollowOptions); 4] = [
        |options| options.files_max = 1,
        |options| options.files_max = 4,
        |options| options.rows_max = 7,
        |options| options.bytes_max = 1,
    ];
    for (limit, start) in limits.into_iter().flat_map(|limit| {
        [FollowStart::Snapshot, FollowStart::Version(1)].map(|start| (limit, start))
    }) {
        let options = following(|options| {
            limit(options);
            options.start = start;
        });
        let (mut ids, mut cursor, mut inputs) = (Vec::new(), None, 0);
        loop {
            // Every input by a new follower, which knows the cursor as text alone.
            let mut follower = table.follow(options.clone());
            follower.seek(cursor);
            let Some(input) = follower.next().await.unwrap() else {
                break;
            };
            assert!(input.files() <= 4);
            assert!(
                input.rows().unwrap() <= 7 || input.files() == 1 || options.rows_max == u64::MAX
            );
            ids.extend(ids_in(&input.collect().await.unwrap()));
            cursor = Some(input.end().to_string().parse().unwrap());
            inputs += 1;
        }
        ids.sort_unstable();
        assert_eq!(ids, (0..40).collect::<Vec<_>>());
        assert!(2 < inputs);
    }
}

#[tokio::test]
async fn columns_and_rows_are_selected() {
    let store = Faulty::default();
    let table = table(&store).await;
    let options = following(|options| {
        options.select = Some(vec!["id".into()]);
        options.filter = Some(col("id").gt(15));
    });
    let mut follower = table.follow(options);
    let input = follower.next().await.unwrap().unwrap();
    let batches = input.collect().await.unwrap();
    assert!(batches.iter().all(|batch| batch.num_columns() == 1));
    assert_eq!(ids_in(&batches).len(), 4);
}

#[tokio::test]
async fn j_5_commits_that_only_move_rows_are_not_delivered() {
    let store = Faulty::default();
    let table = table(&store).await;
    let mut follower = table.follow(FollowOptions::default());
    let mut ids = drain(&mut follower).await.unwrap();
    compact(&store, &table).await;
    table.append(rows(20..30)).await.unwrap();
    compact(&store, &table).await;
    ids.extend(drain(&mut follower).await.unwrap());
    assert_eq!(ids, (0..30).collect::<Vec<_>>());
    assert_eq!(follower.cursor().unwrap().version(), 5);
}

#[tokio::test]
async fn j_6_a_commit_that_landed_twice_is_delivered_once() {
    let store = Faulty::default();
    let table = table(&store).await;
    let mut early = table.follow(FollowOptions::default());
    drain(&mut early).await.unwrap();
    let twice: Vec<Value> = adds(&table.snapshot())
        .await
        .iter()
        .take(4)
        .map(add)
        .collect();
    commit(&store, &table, twice).await;
    table.append(rows(20..22)).await.unwrap();
    assert_eq!(drain(&mut early).await.unwrap(), vec![20, 21]);
    let from_one = following(|options| options.start = FollowStart::Version(1));
    assert_eq!(
        drain(&mut table.follow(from_one)).await.unwrap(),
        (0..22).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn j_3_a_commit_that_vanished_is_an_error_and_the_cursor_stays() {
    let store = Faulty::default();
    let table = table(&store).await;
    let mut follower = table.follow(FollowOptions::default());
    drain(&mut follower).await.unwrap();
    let before = follower.cursor();
    table.append(rows(20..25)).await.unwrap();
    let bytes = store.bytes(&commit_key(3)).await;
    store.remove(&commit_key(3)).await;
    for _ in 0..2 {
        let gap = follower.next().await.unwrap_err();
        assert_eq!((gap.kind(), gap.code()), (ErrorKind::Corrupt, Code::LogGap));
        assert_eq!(gap.context_value("missing"), Some("3"));
        assert_eq!(follower.cursor(), before);
    }
    store.place(&commit_key(3), bytes).await;
    assert_eq!(
        drain(&mut follower).await.unwrap(),
        (20..25).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn j_4_a_log_that_was_cleaned_up_under_a_slow_follower_is_an_error_unless_skipping_was_chosen()
 {
    let store = Faulty::default();
    let table = table(&store).await;
    let mut follower = table.follow(FollowOptions::default());
    drain(&mut follower).await.unwrap();
    let slow = follower.cursor();
    for first in [20, 30, 40] {
        table.append(rows(first..first + 10)).await.unwrap();
    }
    table.checkpoint().await.unwrap();
    for version in 0..5 {
        store.remove(&commit_key(version)).await;
    }
    let reopened = open(&store).await.unwrap();
    let mut late = reopened.follow(FollowOptions::default());
    late.seek(slow);
    let gap = late.next().await.unwrap_err();
    assert_eq!(gap.code(), Code::LogGap);
    assert_eq!(gap.context_value("earliest"), Some("5"));
    assert_eq!(late.cursor(), slow);

    let skipping = following(|options| options.on_gap = OnGap::Skip);
    let mut late = reopened.follow(skipping);
    late.seek(slow);
    assert_eq!(drain(&mut late).await.unwrap(), Vec::<i64>::new());
    assert_eq!(late.cursor(), Some(Cursor::through(5).unwrap()));
    table.append(rows(50..51)).await.unwrap();
    assert_eq!(drain(&mut late).await.unwrap(), vec![50]);
}

#[tokio::test]
async fn j_4_what_comes_after_a_gap_is_handed_out_at_once() {
    let store = Faulty::default();
    let table = table(&store).await;
    for first in [20, 30, 40] {
        table.append(rows(first..first + 10)).await.unwrap();
    }
    table.checkpoint().await.unwrap();
    for version in 0..5 {
        store.remove(&commit_key(version)).await;
    }
    table.append(rows(50..51)).await.unwrap();
    table.append(rows(51..52)).await.unwrap();
    let reopened = open(&store).await.unwrap();
    let skipping = |start| {
        following(|options| {
            options.on_gap = OnGap::Skip;
            options.start = start;
        })
    };
    // From a cursor, and from a version that is gone.
    let mut late = reopened.follow(skipping(FollowStart::Snapshot));
    late.seek(Some(Cursor::through(2).unwrap()));
    assert_eq!(drain(&mut late).await.unwrap(), vec![50, 51]);
    let mut early = reopened.follow(skipping(FollowStart::Version(3)));
    assert_eq!(drain(&mut early).await.unwrap(), vec![50, 51]);
}

/// Two requests where nothing is new, and a listing only now and then, however long it waits and follows.
#[tokio::test]
async fn following_costs_few_requests() {
    let store = Faulty::default();
    let table = table(&store).await;
    let (environment, clock) = Ahead::environment();
    let watching = Table::open_in(storage_in(&store, &environment), environment);
    let mut follower = watching.await.unwrap().follow(FollowOptions::default());
    drain(&mut follower).await.unwrap();
    let counts = || (store.count(Request::Get), store.count(Request::List));
    for _ in 0..3 {
        clock.forward(Duration::from_secs(11 * 60));
        let before = counts();
        assert_eq!(drain(&mut follower).await.unwrap(), Vec::<i64>::new());
        // Where nothing came, a look at the newest commit is enough, and serves for a while.
        assert_eq!(counts().1, before.1);
        let before = counts();
        for _ in 0..5 {
            assert_eq!(drain(&mut follower).await.unwrap(), Vec::<i64>::new());
        }
        assert_eq!(counts(), (before.0 + 10, before.1));
    }
    for id in 20..320 {
        table.append(rows(id..id + 1)).await.unwrap();
    }
    table.close().await;
    let before = counts();
    let mut inputs = 0;
    while let Some(input) = follower.next().await.unwrap() {
        inputs += input.files();
    }
    assert_eq!(inputs, 300);
    let after = counts();
    // Each commit once, and again what stands after a checkpoint when one is gone to.
    assert!(after.0 < before.0 + 450, "{} requests", after.0 - before.0);
    assert!(after.1 < before.1 + 15, "{} listings", after.1 - before.1);
}

#[tokio::test]
async fn commits_that_delete_or_change_rows_are_an_error_unless_something_was_chosen() {
    let store = Faulty::default();
    let table = table(&store).await;
    let choices = [
        OnChange::Fail,
        OnChange::IgnoreDeletes,
        OnChange::SkipCommits,
    ];
    let mut followers: Vec<Follower> = Vec::new();
    for choice in choices {
        let mut follower = table.follow(following(|options| options.on_change = choice));
        drain(&mut follower).await.unwrap();
        followers.push(follower);
    }
    let next = async |followers: &mut Vec<Follower>| {
        let mut codes = Vec::new();
        for follower in followers.iter_mut() {
            codes.push(drain(follower).await.map_err(|error| error.code()));
        }
        codes
    };
    // Rows deleted by deletion vector, and a whole file deleted.
    let files = adds(&table.snapshot()).await;
    commit(
        &store,
        &table,
        vec![remove(&files[0], true), add(&without(&files[0], [0]))],
    )
    .await;
    commit(&store, &table, vec![remove(&files[1], true)]).await;
    let changed = Err(Code::SourceChanged);
    assert_eq!(
        next(&mut followers).await,
        [changed.clone(), Ok(vec![]), Ok(vec![])]
    );
    // A file in place of another: rows may have changed.
    let aside = Faulty::default();
    let other = flights(&aside, &["day"]).await;
    other.append(rows([300])).await.unwrap();
    let new = adds(&other.snapshot()).await.remove(0);
    commit(&store, &table, vec![remove(&files[2], true), add(&new)]).await;
    assert_eq!(
        next(&mut followers).await,
        [changed.clone(), changed.clone(), Ok(vec![])]
    );
    // Rows that were deleted come back: no deletion.
    let files = adds(&table.snapshot()).await;
    let marked = files
        .iter()
        .find(|file| file.deletion_vector.is_some())
        .unwrap();
    let plain = Add {
        deletion_vector: None,
        ..marked.clone()
    };
    commit(&store, &table, vec![remove(marked, true), add(&plain)]).await;
    assert_eq!(
        next(&mut followers).await,
        [changed.clone(), changed, Ok(vec![])]
    );
}

#[tokio::test]
async fn an_input_has_rows_of_one_schema() {
    let store = Faulty::default();
    let table = table(&store).await;
    let mut follower = table.follow(following(|options| options.start = FollowStart::Version(1)));
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    let plain = rows(20..22);
    for (field, column) in plain.schema().fields().iter().zip(plain.columns()) {
        columns.push((field.name().clone(), column.clone()));
    }
    columns.push(("extra".into(), Arc::new(Int64Array::from(vec![1, 2]))));
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    table.append(batch).add_columns().await.unwrap();
    let first = follower.next().await.unwrap().unwrap();
    let second = follower.next().await.unwrap().unwrap();
    assert_eq!((first.version(), second.version()), (2, 3));
    assert_eq!(first.snapshot().schema().fields().len(), 4);
    assert_eq!(second.collect().await.unwrap()[0].num_columns(), 5);
}

/// What happens to a table.
#[derive(Debug, Clone)]
enum Step {
    Append(i64),
    Compact,
    Checkpoint,
    Twice,
    Follow,
    Restart,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn j_5_what_is_delivered_is_what_was_appended(
        steps in prop::collection::vec(prop_oneof![
            4 => (1_i64..9).prop_map(Step::Append), 1 => Just(Step::Compact), 1 => Just(Step::Checkpoint),
            1 => Just(Step::Twice), 3 => Just(Step::Follow), 1 => Just(Step::Restart),
        ], 1..25),
        files_max in 1_usize..5,
    ) {
        block_on(async {
            let store = Faulty::default();
            let table = flights(&store, &["day"]).await;
            let options = following(|options| options.files_max = files_max);
            let mut follower = table.follow(options.clone());
            let (mut next, mut delivered) = (0_i64, Vec::new());
            for step in steps.into_iter().chain([Step::Restart]) {
                match step {
                    Step::Append(count) => {
                        table.append(rows(next..next + count)).await.unwrap();
                        next += count;
                    }
                    Step::Compact => drop(compact(&store, &table).await),
                    Step::Checkpoint => drop(table.checkpoint().await.unwrap()),
                    Step::Twice => {
                        let again: Vec<Value> = adds(&table.snapshot()).await.iter().map(add).collect();
                        commit(&store, &table, again).await;
                    }
                    Step::Follow => {
                        if let Some(input) = follower.next().await.unwrap() {
                            delivered.extend(ids_in(&input.collect().await.unwrap()));
                        }
                    }
                    Step::Restart => {
                        let cursor = follower.cursor();
                        follower = open(&store).await.unwrap().follow(options.clone());
                        follower.seek(cursor);
                    }
                }
            }
            delivered.extend(drain(&mut follower).await.unwrap());
            delivered.sort_unstable();
            assert_eq!(delivered, (0..next).collect::<Vec<_>>());
        });
    }
}
