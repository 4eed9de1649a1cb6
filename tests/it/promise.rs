//! Whatever is done to a table, in whatever order: every version inside its promise is readable and what a model says,
//! nothing that is referenced is ever deleted, and what nobody references is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use headwater::environment::Environment;
use headwater::predicate::{Predicate, col};
use headwater::protocol::deletion_vector::VectorSource;
use headwater::{CommitStatus, Lease, Table};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::hasty::{Ahead, Clock};
use crate::support::store::Faulty;
use crate::support::{id_schema, ids, ids_of, storage_in};

/// Versions stay for this long after a later one took files of theirs.
const RETENTION: Duration = Duration::from_secs(10 * 24 * 3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    Overwrite(usize),
    Replace(i64, i64),
    Delete(i64, i64),
    Compact,
    Checkpoint,
    Vacuum,
    CleanUp,
    Restore(usize),
    Pin(usize, u8, Option<u8>),
    Unpin(u8),
    Lease(usize, u8),
    Release,
    /// Deletes rows all over the table: vectors too large for the log.
    Scatter(i64),
    Reopen,
    Wait(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let range = (0_i64..60, 1_i64..20).prop_map(|(low, width)| (low, low + width));
    let step = prop_oneof![
        6 => (1_usize..6).prop_map(Step::Append),
        1 => Just(Step::Append(3_000)),
        2 => (2_i64..9).prop_map(Step::Scatter),
        1 => (0_usize..4).prop_map(Step::Overwrite),
        1 => range.clone().prop_map(|(low, high)| Step::Replace(low, high)),
        4 => range.prop_map(|(low, high)| Step::Delete(low, high)),
        3 => Just(Step::Compact),
        2 => Just(Step::Checkpoint),
        4 => Just(Step::Vacuum),
        3 => Just(Step::CleanUp),
        2 => any::<prop::sample::Index>().prop_map(|at| Step::Restore(at.index(1_000))),
        2 => (any::<prop::sample::Index>(), 0_u8..3, prop::option::of(1_u8..30))
            .prop_map(|(at, name, days)| Step::Pin(at.index(1_000), name, days)),
        2 => (any::<prop::sample::Index>(), 1_u8..30).prop_map(|(at, days)| Step::Lease(at.index(1_000), days)),
        1 => Just(Step::Release),
        1 => (0_u8..3).prop_map(Step::Unpin),
        1 => Just(Step::Reopen),
        5 => (1_u8..12).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..40)
}

/// What must be true of the table.
struct World {
    store: Faulty,
    environment: Environment,
    clock: Clock,
    table: Table,
    /// Rows of every version.
    versions: Vec<Vec<i64>>,
    /// When each version was committed.
    times: Vec<i64>,
    /// Version and end of every pin by its name.
    pins: BTreeMap<u8, (u64, i64)>,
    leases: Vec<(Lease, i64)>,
    /// Whether there is a change feed.
    changes: bool,
    next_id: i64,
}

impl World {
    async fn new(vectors: bool, changes: bool) -> Self {
        let store = Faulty::default();
        let (environment, clock) = Ahead::environment();
        let storage = storage_in(&store, &environment);
        let table = Table::create_in(storage, environment.clone(), id_schema())
            .property("delta.enableDeletionVectors", vectors.to_string())
            .property("delta.enableChangeDataFeed", changes.to_string())
            .property("delta.deletedFileRetentionDuration", "interval 10 days")
            .property("delta.logRetentionDuration", "interval 12 days")
            .property("delta.checkpointInterval", "7")
            .await
            .unwrap();
        store.follow(&environment);
        Self {
            versions: vec![Vec::new()],
            times: vec![environment.now_millis()],
            pins: BTreeMap::new(),
            leases: Vec::new(),
            changes,
            next_id: 0,
            store,
            environment,
            clock,
            table,
        }
    }

    fn fresh(&mut self, count: usize) -> Vec<i64> {
        let first = self.next_id;
        self.next_id += count as i64;
        (first..self.next_id).collect()
    }

    fn rows(&self) -> Vec<i64> {
        self.versions.last().unwrap().clone()
    }

    /// A version that a step made, and versions that say only that something was deleted.
    async fn made(&mut self, rows: Vec<i64>) {
        let newest = self.table.refresh().await.unwrap().version() as usize;
        while self.versions.len() <= newest {
            self.versions.push(rows.clone());
            self.times.push(self.environment.now_millis());
        }
    }

    /// Versions that are promised: those that end inside the retention, and pinned ones.
    fn promised(&self) -> BTreeSet<u64> {
        let cutoff = self.environment.now_millis() - RETENTION.as_millis() as i64;
        let ends = |version: usize| self.times.get(version + 1).copied().unwrap_or(i64::MAX);
        let young = (0..self.versions.len()).filter(|version| cutoff < ends(*version));
        young
            .map(|version| version as u64)
            .chain(self.held())
            .collect()
    }

    /// Versions that are pinned or leased now.
    fn held(&self) -> BTreeSet<u64> {
        let now = self.environment.now_millis();
        let pins = self.pins.values().copied();
        let leases = self
            .leases
            .iter()
            .map(|(lease, ends)| (lease.version(), *ends));
        let held = pins.chain(leases).filter(|(_, ends)| now < *ends);
        held.map(|(version, _)| version).collect()
    }

    /// An hour before a day ends, so that nothing ends in the very moment in which somebody looks.
    fn until(&self, days: u8) -> (Duration, i64) {
        let lasts = DAY * u32::from(days) - Duration::from_secs(3_600);
        (
            lasts,
            self.environment.now_millis() + lasts.as_millis() as i64,
        )
    }

    fn any_promised(&self, at: usize) -> u64 {
        let promised: Vec<u64> = self.promised().into_iter().collect();
        promised[at % promised.len()]
    }

    async fn take(&mut self, step: Step) {
        let table = self.table.clone();
        match step {
            Step::Append(count) => {
                let new = self.fresh(count);
                table.append(ids(new.iter().copied())).await.unwrap();
                self.made([self.rows(), new].concat()).await;
            }
            Step::Overwrite(count) => {
                let new = self.fresh(count);
                table.overwrite(ids(new.iter().copied())).await.unwrap();
                self.made(new).await;
            }
            Step::Replace(low, high) => {
                let range = col("id").gt_eq(low).and(col("id").lt(high));
                let mut rows = self.rows();
                rows.retain(|id| !(low..high).contains(id));
                // With a change feed, parts of files are not replaced in one step.
                if self.changes {
                    table.delete(range).await.unwrap();
                    self.made(rows.clone()).await;
                    table.append(ids([low])).await.unwrap();
                } else {
                    table.overwrite(ids([low])).matching(range).await.unwrap();
                }
                rows.push(low);
                self.made(rows).await;
            }
            Step::Delete(low, high) => {
                table
                    .delete(col("id").gt_eq(low).and(col("id").lt(high)))
                    .await
                    .unwrap();
                let mut rows = self.rows();
                rows.retain(|id| !(low..high).contains(id));
                self.made(rows).await;
            }
            Step::Compact => {
                table.compact().await.unwrap();
                self.made(self.rows()).await;
            }
            Step::Checkpoint => {
                table.checkpoint().await.unwrap();
            }
            Step::Vacuum => {
                table.vacuum().await.unwrap();
                self.made(self.rows()).await;
                self.check_objects().await;
                self.check_versions().await;
            }
            Step::CleanUp => {
                table.clean_up_log().await.unwrap();
                self.check_versions().await;
            }
            Step::Restore(at) => {
                let version = self.any_promised(at);
                let done = table.restore(version).await.unwrap();
                if done.status == CommitStatus::Committed {
                    self.made(self.versions[version as usize].clone()).await;
                }
            }
            Step::Scatter(modulus) => {
                let scattered = Predicate::parse(&format!("id % {modulus} = 1"));
                table.delete(scattered.unwrap()).await.unwrap();
                let mut rows = self.rows();
                rows.retain(|id| id % modulus != 1);
                self.made(rows).await;
            }
            Step::Pin(at, name, days) => {
                let version = self.any_promised(at);
                let until = days.map(|days| self.until(days));
                let lasts = until.map(|(lasts, _)| lasts);
                table.pin(&name.to_string(), version, lasts).await.unwrap();
                let ends = until.map_or(i64::MAX, |(_, ends)| ends);
                self.pins.insert(name, (version, ends));
            }
            Step::Lease(at, days) => {
                let snapshot = table.snapshot_at(self.any_promised(at)).await.unwrap();
                let (lasts, ends) = self.until(days);
                let lease = table.lease(&snapshot, lasts).await.unwrap();
                self.leases.push((lease, ends));
            }
            Step::Release => {
                if let Some((lease, _)) = self.leases.pop() {
                    lease.release().await.unwrap();
                }
            }
            Step::Unpin(name) => {
                let was_there = table.unpin(&name.to_string()).await.unwrap();
                assert_eq!(was_there, self.pins.remove(&name).is_some());
            }
            Step::Reopen => {
                let storage = storage_in(&self.store, &self.environment);
                self.table = Table::open_in(storage, self.environment.clone())
                    .await
                    .unwrap();
            }
            Step::Wait(days) => self.clock.forward(DAY * u32::from(days)),
        }
    }

    /// Every promised version is readable, and as the model has it.
    async fn check_versions(&self) {
        let storage = storage_in(&self.store, &self.environment);
        let reader = Table::open_in(storage, self.environment.clone())
            .await
            .unwrap();
        for version in self.promised() {
            let snapshot = reader.snapshot_at(version).await.unwrap();
            let mut expected = self.versions[version as usize].clone();
            expected.sort_unstable();
            assert_eq!(
                ids_of(&snapshot).await.unwrap(),
                expected,
                "version {version}"
            );
        }
    }

    /// After a vacuum: what no promised version names is gone, as far as it is old enough.
    async fn check_objects(&self) {
        let again = self.table.vacuum().dry_run().await.unwrap();
        assert_eq!(again.files, 0, "a second vacuum finds {:?}", again.keys);
    }
}

#[test]
fn whatever_is_done_promised_versions_stay_and_nothing_else_does() {
    let cases = std::env::var("HEADWATER_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    let mut runner = TestRunner::new(Config {
        cases: cases.unwrap_or(24),
        failure_persistence: None,
        ..Config::default()
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.unwrap();
    let kinds = (any::<bool>(), any::<bool>());
    let ran = runner.run(&(steps(), kinds), |(steps, (vectors, changes))| {
        runtime.block_on(async {
            let mut world = World::new(vectors, changes).await;
            for step in steps {
                world.take(step).await;
                world.table.close().await;
            }
            world.check_versions().await;
            // A long time later only the newest version and pinned ones are there, and no file but theirs.
            world.clock.forward(RETENTION * 2);
            world.take(Step::Vacuum).await;
            world.check_versions().await;
            let left = world.store.paths().await.into_iter();
            let is_data = |path: &String| path.ends_with(".parquet") || path.ends_with(".bin");
            let left = left.filter(|path| is_data(path) && !path.contains("_delta_log"));
            assert_eq!(left.collect::<BTreeSet<_>>(), world.referenced().await);
        });
        Ok(())
    });
    if let Err(failure) = ran {
        panic!("{failure}");
    }
}

impl World {
    /// Paths of the data files of the newest version and of pinned ones, as the log of each has them.
    async fn referenced(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let newest = self.table.refresh().await.unwrap().version();
        for version in self.held().into_iter().chain([newest]) {
            let snapshot = self.table.snapshot_at(version).await.unwrap();
            for decision in snapshot.scan().explain().await.unwrap() {
                found.insert(format!("table/{}", decision.add.path));
                if let Some(vector) = &decision.add.deletion_vector
                    && let VectorSource::File { location, .. } = vector.source().unwrap()
                {
                    found.insert(format!("table/{}", location.canonical()));
                }
            }
        }
        found
    }
}
