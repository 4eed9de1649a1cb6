//! Feeds that hold the version they read: no vacuum takes its files, and later it may.

use std::time::Duration;

use futures::TryStreamExt;
use headwater::environment::Environment;
use headwater::error::Code;
use headwater::feed::FollowOptions;
use headwater::{ErrorKind, Table, Vacuumed};

use super::{ids_in, options, rows, schema};
use crate::support::store::Faulty;
use crate::support::{hasty, storage_in};

const HOUR: Duration = Duration::from_secs(3_600);

/// A table in a world where time passes by waiting alone, and its version with all rows.
async fn table(store: &Faulty) -> (Table, Environment) {
    let environment = hasty::environment();
    store.follow(&environment);
    let storage = storage_in(store, &environment);
    let table = Table::create_in(storage, environment.clone(), schema());
    let table = table.await.unwrap();
    table.append(rows(0..100)).await.unwrap();
    table.append(rows(100..200)).await.unwrap();
    (table, environment)
}

/// Deletes whatever no hold keeps.
async fn vacuum(table: &Table) -> Vacuumed {
    let zero = Duration::ZERO;
    let vacuum = table.vacuum().retention(zero).grace(zero);
    vacuum.allow_unsafe_retention().await.unwrap()
}

/// Lets others work until so much time has passed.
async fn pass(environment: &Environment, time: Duration) {
    let end = environment.elapsed() + time;
    while environment.elapsed() < end {
        environment.sleep(Duration::from_secs(60)).await;
    }
}

async fn leases(store: &Faulty) -> usize {
    let paths = store.paths().await;
    paths.iter().filter(|path| path.contains("leases/")).count()
}

/// Waits until whoever was told to release its lease has done so.
async fn released(store: &Faulty, environment: &Environment) {
    while 0 < leases(store).await {
        environment.sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn e_1_a_training_feed_keeps_the_files_of_its_version_however_long_it_takes() {
    let store = Faulty::default();
    let (table, environment) = table(&store).await;
    let snapshot = table.snapshot();
    let plan = snapshot.feed(7).lease(HOUR).plan().await.unwrap();
    table.overwrite(rows(200..300)).await.unwrap();
    pass(&environment, 10 * HOUR).await;
    assert_eq!(vacuum(&table).await.files, 0);
    // The batches hold it, whatever becomes of the plan.
    let mut batches = plan.batches(options(10)).unwrap();
    drop(plan);
    pass(&environment, 10 * HOUR).await;
    assert_eq!(vacuum(&table).await.files, 0);
    let mut ids = Vec::new();
    while let Some(batch) = batches.try_next().await.unwrap() {
        ids.extend(ids_in(&[batch]));
    }
    ids.sort_unstable();
    assert_eq!(ids, (0..200).collect::<Vec<_>>());
    drop(batches);
    released(&store, &environment).await;
    assert_eq!(vacuum(&table).await.files, 2);
    let late = snapshot.feed(7).lease(HOUR).plan().await.unwrap_err();
    assert_eq!(late.code(), Code::FilesExpired);
    assert_eq!(leases(&store).await, 0);
}

#[tokio::test]
async fn e_1_what_follows_an_old_version_keeps_its_files_until_they_are_read() {
    let store = Faulty::default();
    let (table, environment) = table(&store).await;
    let pinned = FollowOptions {
        until: Some(2),
        files_max: 1,
        lease: Some(HOUR),
        ..FollowOptions::default()
    };
    table.overwrite(rows(200..300)).await.unwrap();
    let mut follower = table.follow(pinned);
    let first = follower.next().await.unwrap().unwrap();
    pass(&environment, 10 * HOUR).await;
    assert_eq!(vacuum(&table).await.files, 0);
    let second = follower.next().await.unwrap().unwrap();
    // The last input holds the version, whatever becomes of the follower.
    assert!(follower.next().await.unwrap().is_none());
    drop((follower, first.collect().await.unwrap(), first));
    pass(&environment, 10 * HOUR).await;
    assert_eq!(vacuum(&table).await.files, 0);
    assert_eq!(ids_in(&second.collect().await.unwrap()).len(), 100);
    drop(second);
    released(&store, &environment).await;
    assert_eq!(vacuum(&table).await.files, 2);
}

#[tokio::test]
async fn a_lease_too_short_to_renew_is_refused() {
    let store = Faulty::default();
    let (table, _environment) = table(&store).await;
    let feed = table.snapshot().feed(7).lease(Duration::from_millis(1));
    assert_eq!(feed.plan().await.unwrap_err().kind(), ErrorKind::Invalid);
}
