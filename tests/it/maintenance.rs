//! Vacuum, log cleanup, restore, pins, leases, and the worker: no version inside its promise loses a file.

mod held;
mod log;
mod property;
mod repair;
mod restore;
mod vacuum;
mod worker;

use std::collections::BTreeSet;
use std::time::Duration;

use headwater::environment::Environment;
use headwater::predicate::col;
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::{Code, ErrorKind, State, Table};
use object_store::path::Path;

use crate::support::hasty::{Ahead, Clock};
use crate::support::store::{Answer, Faulty, Request, When};
use crate::support::{commit_key, create, ids, ids_of, open, storage, storage_in};

/// A table of ids in a world whose clock can be set forward; objects are as old as that clock says.
async fn ahead(store: &Faulty) -> (Table, Clock) {
    let (world, clock) = Ahead::environment();
    store.follow(&world);
    let in_world = storage_in(store, &world);
    let table = Table::create_in(in_world, world, crate::support::id_schema());
    (table.await.unwrap(), clock)
}

/// Another handle in the same world.
async fn again(store: &Faulty, table: &Table, clock: &Clock) -> Table {
    let world = Ahead::with(clock);
    let other = Table::open_in(storage_in(store, &world), world)
        .await
        .unwrap();
    assert_eq!(other.location(), table.location());
    other
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 3_600)
}

/// The line of a commit that has this action.
async fn action(store: &Faulty, version: u64, name: &str) -> serde_json::Value {
    let bytes = store.bytes(&commit_key(version)).await;
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let mut lines = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.find(|line| line.get(name).is_some()).unwrap()
}

/// What another engine commits.
async fn commit(store: &Faulty, version: u64, actions: &[serde_json::Value]) {
    let lines: Vec<String> = actions.iter().map(ToString::to_string).collect();
    store.place(&commit_key(version), lines.join("\n")).await;
}

async fn with_vectors(store: &Faulty) -> Table {
    Table::create_in(
        storage(store),
        Environment::system(),
        crate::support::id_schema(),
    )
    .property("delta.enableDeletionVectors", "true")
    .property("delta.enableChangeDataFeed", "true")
    .await
    .unwrap()
}

fn now(table: &Table) -> headwater::Vacuum {
    let vacuum = table
        .vacuum()
        .retention(Duration::ZERO)
        .grace(Duration::ZERO);
    vacuum.allow_unsafe_retention()
}

/// Clocks count milliseconds.
async fn a_moment() {
    Environment::system().sleep(Duration::from_millis(10)).await;
}

async fn data(store: &Faulty) -> BTreeSet<String> {
    let paths = store.paths().await.into_iter();
    paths
        .filter(|path| path.ends_with(".parquet") && !path.contains("_delta_log"))
        .collect()
}

/// A vacuum has read which versions are held, and deletes nothing yet: its requests fail.
async fn stuck_vacuum(store: &Faulty, table: &Table) {
    store.fail(
        Request::Delete,
        ".parquet",
        99,
        When::Before,
        Answer::Denied,
    );
    let stuck = now(table).await.unwrap_err();
    assert_eq!(stuck.code(), Code::Denied);
    store.heal();
}
