//! Whatever is done to a table, in whatever order and by whichever handle: every version is what a list in memory says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::Int64Type;
use headwater::arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use headwater::environment::Environment;
use headwater::predicate::col;
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::{Code, CommitStatus, Snapshot, Table};
use object_store::path::Path;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::store::{Answer, Faulty, Request, When};
use crate::support::{block_on, hasty, storage_in};

/// One step of the story; `who` is one of two handles.
#[derive(Debug, Clone)]
enum Step {
    Append {
        who: usize,
        rows: usize,
        new_column: bool,
    },
    /// The same, as transaction `number` of one application.
    Once {
        who: usize,
        number: i64,
    },
    Checkpoint {
        who: usize,
    },
    Refresh {
        who: usize,
    },
    Reopen {
        who: usize,
    },
    /// Log cleanup: commits and checkpoints before the newest checkpoint go.
    CleanUp {
        hint_too: bool,
    },
    /// The next answer to a commit is lost, before or after it was carried out.
    Lose {
        after: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = 0_usize..2;
    let step = prop_oneof![
        6 => (who.clone(), 0_usize..5, proptest::bool::weighted(0.15))
            .prop_map(|(who, rows, new_column)| Step::Append { who, rows, new_column }),
        1 => (who.clone(), 0_i64..4).prop_map(|(who, number)| Step::Once { who, number }),
        2 => who.clone().prop_map(|who| Step::Checkpoint { who }),
        1 => who.clone().prop_map(|who| Step::Refresh { who }),
        1 => who.prop_map(|who| Step::Reopen { who }),
        1 => any::<bool>().prop_map(|hint_too| Step::CleanUp { hint_too }),
        1 => any::<bool>().prop_map(|after| Step::Lose { after }),
    ];
    proptest::collection::vec(step, 1..40)
}

/// A row: its partition, and its values of the columns that there were when it was written.
type Row = (String, Vec<i64>);

#[derive(Debug, Clone, Default)]
struct Version {
    rows: BTreeMap<i64, Row>,
    columns: usize,
    txn: Option<i64>,
}

struct Story {
    store: Faulty,
    environment: Environment,
    handles: Vec<Table>,
    versions: Vec<Version>,
    earliest: usize,
    next_id: i64,
}

impl Story {
    async fn begin() -> Self {
        let store = Faulty::default();
        let environment = hasty::environment();
        let schema = Schema::new([
            Field::new("id", DataType::LONG, false),
            Field::new("p", DataType::STRING, true),
        ]);
        let storage = storage_in(&store, &environment);
        let create = Table::create_in(storage.clone(), environment.clone(), schema.unwrap());
        let first = create.partition_by(["p"]).await.unwrap();
        let second = Table::open_in(storage, environment.clone()).await.unwrap();
        Self {
            store,
            environment,
            handles: vec![first, second],
            versions: vec![Version::default()],
            earliest: 0,
            next_id: 0,
        }
    }

    async fn open(&self) -> Table {
        let storage = storage_in(&self.store, &self.environment);
        Table::open_in(storage, self.environment.clone())
            .await
            .unwrap()
    }

    fn newest(&self) -> &Version {
        self.versions.last().unwrap()
    }

    /// Rows as a batch, and as the list has them.
    fn rows(&mut self, count: usize, columns: usize) -> (RecordBatch, BTreeMap<i64, Row>) {
        let ids: Vec<i64> = (self.next_id..).take(count).collect();
        self.next_id += count as i64;
        let partition = |id: &i64| format!("p{}", id % 3);
        let mut arrays: Vec<(String, ArrayRef, bool)> = vec![
            (
                "id".to_owned(),
                Arc::new(Int64Array::from(ids.clone())),
                false,
            ),
            (
                "p".to_owned(),
                Arc::new(
                    ids.iter()
                        .map(|id| Some(partition(id)))
                        .collect::<StringArray>(),
                ),
                true,
            ),
        ];
        for column in 0..columns {
            let values = Int64Array::from_iter_values(ids.iter().map(|id| id * 10 + column as i64));
            arrays.push((format!("c{column}"), Arc::new(values), true));
        }
        let values = |id: &i64| (0..columns as i64).map(|column| id * 10 + column).collect();
        let rows = ids
            .iter()
            .map(|id| (*id, (partition(id), values(id))))
            .collect();
        (
            RecordBatch::try_from_iter_with_nullable(arrays).unwrap(),
            rows,
        )
    }

    async fn take(&mut self, step: &Step) {
        match *step {
            Step::Append {
                who,
                rows,
                new_column,
            } => {
                let columns = self.newest().columns + usize::from(new_column);
                let (batch, rows) = self.rows(rows, columns);
                let append = self.handles[who].append(batch);
                let append = if new_column {
                    append.add_columns()
                } else {
                    append
                };
                let commit = append.await.unwrap();
                assert_eq!(commit.version, self.versions.len() as u64);
                let mut next = self.newest().clone();
                next.columns = columns;
                next.rows.extend(rows);
                self.versions.push(next);
            }
            Step::Once { who, number } => {
                let columns = self.newest().columns;
                let (batch, rows) = self.rows(2, columns);
                let commit = self.handles[who]
                    .append(batch)
                    .exactly_once("story", number)
                    .await
                    .unwrap();
                if self.newest().txn.is_some_and(|last| number <= last) {
                    assert_eq!(commit.status, CommitStatus::AlreadyApplied);
                } else {
                    assert_eq!(
                        (commit.status, commit.version),
                        (CommitStatus::Committed, self.versions.len() as u64)
                    );
                    let mut next = self.newest().clone();
                    next.txn = Some(number);
                    next.rows.extend(rows);
                    self.versions.push(next);
                }
            }
            Step::Checkpoint { who } => {
                let version = self.handles[who].checkpoint().await.unwrap();
                assert_eq!(version, self.versions.len() as u64 - 1);
            }
            Step::Refresh { who } => {
                let snapshot = self.handles[who].refresh().await.unwrap();
                assert_eq!(snapshot.version(), self.versions.len() as u64 - 1);
            }
            Step::Reopen { who } => {
                self.handles[who].close().await;
                self.handles[who] = self.open().await;
            }
            Step::CleanUp { hint_too } => self.clean_up(hint_too).await,
            Step::Lose { after } => {
                let when = if after { When::After } else { When::Before };
                let key = format!("{:020}.json", self.versions.len());
                self.store.fail(Request::Put, &key, 1, when, Answer::Reset);
            }
        }
    }

    async fn clean_up(&mut self, hint_too: bool) {
        for handle in &self.handles {
            handle.close().await;
        }
        let version_of = |path: &String| {
            let name = path.rsplit('/').next().unwrap();
            name.get(..20)
                .and_then(|digits| digits.parse::<usize>().ok())
        };
        let paths = self.store.paths().await;
        let checkpoints = paths.iter().filter(|path| path.contains(".checkpoint."));
        let Some(newest) = checkpoints.filter_map(version_of).max() else {
            return;
        };
        for path in paths.iter().filter(|path| path.contains("_delta_log/")) {
            if version_of(path).is_some_and(|version| version < newest) {
                self.store.remove(&Path::from(path.as_str())).await;
            }
        }
        if hint_too && paths.iter().any(|path| path.ends_with("_last_checkpoint")) {
            self.store
                .remove(&Path::from("table/_delta_log/_last_checkpoint"))
                .await;
        }
        self.earliest = self.earliest.max(newest);
        // Cleanup only ever removes what is old.
        self.environment
            .sleep(Duration::from_secs(31 * 86_400))
            .await;
    }

    /// Every version that can be loaded, as every handle and a newcomer see it.
    async fn check(&self) {
        let latest = self.versions.len() - 1;
        let newcomer = self.open().await;
        assert_eq!(newcomer.snapshot().version(), latest as u64);
        for handle in self.handles.iter().chain([&newcomer]) {
            let known = handle.snapshot();
            assert_version(&known, &self.versions[known.version() as usize]).await;
            let snapshot = handle.refresh().await.unwrap();
            assert_eq!(snapshot.version(), latest as u64);
            assert_version(&snapshot, self.newest()).await;
        }
        for (version, expected) in self.versions.iter().enumerate() {
            match newcomer.snapshot_at(version as u64).await {
                Ok(snapshot) => assert_version(&snapshot, expected).await,
                Err(error) => {
                    assert!(version < self.earliest, "{version}: {error:?}");
                    assert_eq!(error.code(), Code::VersionNotFound, "{error:?}");
                }
            }
        }
        let beyond = newcomer.snapshot_at(latest as u64 + 1).await.unwrap_err();
        assert_eq!(beyond.code(), Code::VersionNotFound);
        let history = newcomer.snapshot().history(usize::MAX).await.unwrap();
        let versions: Vec<u64> = history.iter().map(|entry| entry.version).collect();
        let first = versions.last().copied().unwrap_or(latest as u64);
        assert_eq!(versions, (first..=latest as u64).rev().collect::<Vec<_>>());
    }
}

async fn assert_version(snapshot: &Snapshot, expected: &Version) {
    assert_eq!(snapshot.app_version("story"), expected.txn);
    assert_eq!(snapshot.schema().fields().len(), 2 + expected.columns);
    let mut found = BTreeMap::new();
    for batch in snapshot.scan().collect().await.unwrap() {
        let ids = batch.column(0).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let values = (0..expected.columns).map(|column| {
                let array = batch.column(2 + column).as_primitive::<Int64Type>();
                array.is_valid(row).then(|| array.value(row))
            });
            let partition = batch.column(1).as_string::<i32>().value(row).to_owned();
            let previous = found.insert(ids.value(row), (partition, values.collect::<Vec<_>>()));
            assert!(previous.is_none(), "a row is there twice");
        }
    }
    let expected_rows = expected.rows.iter().map(|(id, (partition, values))| {
        let mut values: Vec<Option<i64>> = values.iter().copied().map(Some).collect();
        values.resize(expected.columns, None);
        (*id, (partition.clone(), values))
    });
    assert_eq!(found, expected_rows.collect::<BTreeMap<_, _>>());
    assert_eq!(
        snapshot.sums().await.unwrap().rows,
        Some(expected.rows.len() as u64)
    );
    // Questions, with what is pruned by them.
    let count = async |predicate: headwater::predicate::Predicate| {
        let batches = snapshot.scan().filter(predicate).collect().await.unwrap();
        batches.iter().map(RecordBatch::num_rows).sum::<usize>()
    };
    let middle = expected.rows.len() as i64 / 2;
    let upper = expected.rows.keys().filter(|id| middle <= **id).count();
    assert_eq!(count(col("id").gt_eq(middle)).await, upper);
    let third = expected
        .rows
        .values()
        .filter(|(partition, _)| partition == "p1")
        .count();
    assert_eq!(count(col("p").eq("p1")).await, third);
    if let Some(last) = expected.columns.checked_sub(1) {
        let name = format!("c{last}");
        let without = expected
            .rows
            .values()
            .filter(|(_, values)| values.len() <= last)
            .count();
        assert_eq!(count(col(&name).is_null()).await, without);
        assert_eq!(
            count(col(&name).gt_eq(0)).await,
            expected.rows.len() - without
        );
    }
}

#[test]
fn every_version_is_what_a_list_in_memory_says() {
    let times = std::env::var("HEADWATER_CASES")
        .ok()
        .and_then(|times| times.parse().ok());
    let config = Config {
        cases: 16 * times.unwrap_or(1),
        failure_persistence: None,
        max_shrink_iters: 1_000,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&steps(), |steps| {
        block_on(async {
            let mut story = Story::begin().await;
            for step in &steps {
                story.take(step).await;
            }
            story.check().await;
        });
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[tokio::test]
async fn a_handle_that_slept_while_the_log_was_cleaned_up_finds_the_newest_version() {
    let mut story = Story::begin().await;
    for _ in 0..3 {
        let append = Step::Append {
            who: 0,
            rows: 2,
            new_column: false,
        };
        story.take(&append).await;
    }
    story.take(&Step::Checkpoint { who: 0 }).await;
    story.take(&Step::CleanUp { hint_too: false }).await;
    let sleeper = story.handles[1].clone();
    assert_eq!(sleeper.snapshot().version(), 0);
    // What it appends lands on top, not in a slot that cleanup has freed.
    let (batch, _) = story.rows(1, 0);
    assert_eq!(sleeper.append(batch).await.unwrap().version, 4);
    assert_eq!(
        story.open().await.snapshot().sums().await.unwrap().rows,
        Some(7)
    );
}
