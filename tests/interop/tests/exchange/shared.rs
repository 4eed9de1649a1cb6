//! Tables that several engines write.

use std::path::PathBuf;

use headwater::protocol::schema::Schema;
use headwater::{Commit, CommitStatus, Table};
use headwater_interop::Failure;
use headwater_interop::case::load;
use headwater_interop::table::{self, text};
use headwater_interop::worker::Worker;
use serde_json::{Value, json};

use crate::{Outcome, READERS, scratch};

/// A table that several engines append to.
struct Shared {
    home: PathBuf,
    place: PathBuf,
    worker: Worker,
    /// Who wrote how many rows, from which id on.
    turns: Vec<(&'static str, u64, u64)>,
}

impl Shared {
    async fn create(name: &str, partition_by: &[&str]) -> Result<Self, Failure> {
        let home = scratch(name)?;
        let mut worker = Worker::new(&home.join("worker.log"));
        let (place, file) = (home.join("table"), home.join("empty.arrow"));
        worker.expect::<()>(&json!({ "do": "turn", "writers": [], "file": file }))?;
        let schema = Schema::from_arrow(load(&file)?.0.as_ref())?;
        Table::create(&text(&place), schema)
            .partition_by(partition_by.iter().copied())
            .await?;
        Ok(Self {
            home,
            place,
            worker,
            turns: Vec::new(),
        })
    }

    fn next(&mut self, writer: &'static str) -> (u64, u64) {
        let first = self.turns.iter().map(|(_, _, count)| count).sum();
        let count = u64::try_from(self.turns.len()).unwrap_or(0) % 4 + 1;
        self.turns.push((writer, first, count));
        (first, count)
    }

    async fn append(&mut self, writer: &'static str) -> Outcome {
        let (first, count) = self.next(writer);
        if writer == "headwater" {
            let file = self.home.join("turn.arrow");
            let turn = [(writer, first, count)];
            self.worker
                .expect::<()>(&json!({ "do": "turn", "writers": turn, "file": file }))?;
            let table = Table::open(&text(&self.place)).await?;
            let _: Commit = table.append(load(&file)?.1).await?;
            table.close().await;
            return Ok(());
        }
        let request = json!({
            "do": "append", "engine": writer, "table": self.place, "first": first, "count": count,
        });
        self.worker.expect::<u64>(&request)?;
        Ok(())
    }

    /// Every engine sees the rows of all turns.
    async fn check(&mut self) -> Outcome {
        let (expected, seen) = (
            self.home.join("expected.arrow"),
            self.home.join("seen.arrow"),
        );
        self.worker
            .expect::<()>(&json!({ "do": "turn", "writers": self.turns, "file": expected }))?;
        let newest = Table::open(&text(&self.place)).await?.snapshot().version();
        for reader in ["headwater"].into_iter().chain(READERS) {
            if reader == "headwater" {
                table::read(&self.place, newest, None, &seen).await?;
            } else {
                let rows = json!({
                    "do": "rows", "engine": reader, "table": self.place, "version": Value::Null, "file": seen,
                });
                self.worker.expect::<()>(&rows)?;
            }
            let compare = json!({ "do": "compare", "expected": expected, "actual": seen });
            let problem: Option<String> = self.worker.expect(&compare)?;
            assert_eq!(problem, None, "{reader} at version {newest}");
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_engines_append_in_turn() -> Outcome {
    let mut shared = Shared::create("turns", &[]).await?;
    for round in 0..5 {
        for writer in ["headwater", "deltalake", "duckdb"] {
            shared.append(writer).await?;
            shared.check().await?;
        }
        match round {
            1 => drop(
                Table::open(&text(&shared.place))
                    .await?
                    .checkpoint()
                    .await?,
            ),
            3 => shared
                .worker
                .expect::<()>(&json!({ "do": "checkpoint", "table": shared.place }))?,
            _ => {}
        }
    }
    assert_eq!(shared.turns.len(), 15);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_append_in_turn_to_partitions() -> Outcome {
    let mut shared = Shared::create("turns-partitioned", &["writer"]).await?;
    for _ in 0..4 {
        for writer in ["headwater", "deltalake"] {
            shared.append(writer).await?;
        }
        shared.check().await?;
    }
    Ok(())
}

/// Both commit as fast as they can; every acknowledged row is there once.
#[tokio::test(flavor = "multi_thread")]
async fn two_engines_append_at_the_same_time() -> Outcome {
    const COMMITS: u64 = 12;
    let mut shared = Shared::create("race", &[]).await?;
    let turns: Vec<_> = (0..2 * COMMITS)
        .map(|turn| {
            (
                if turn % 2 == 0 {
                    "headwater"
                } else {
                    "deltalake"
                },
                turn * 10,
                10,
            )
        })
        .collect();
    let mut batches = Vec::new();
    for turn in turns.iter().filter(|turn| turn.0 == "headwater") {
        let file = shared.home.join("turn.arrow");
        shared
            .worker
            .expect::<()>(&json!({ "do": "turn", "writers": [turn], "file": file }))?;
        batches.push(load(&file)?.1);
    }
    let (mut worker, place) = (
        Worker::new(&shared.home.join("rival.log")),
        shared.place.clone(),
    );
    let theirs: Vec<_> = turns
        .iter()
        .filter(|turn| turn.0 == "deltalake")
        .copied()
        .collect();
    let rival = tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let rival = scope.spawn(move || {
                theirs.iter().try_for_each(|(writer, first, count)| {
                    let request = json!({
                        "do": "append", "engine": writer, "table": place, "first": first, "count": count,
                    });
                    worker.expect::<u64>(&request).map(drop)
                })
            });
            tokio::runtime::Handle::current().block_on(async {
                let table = Table::open(&text(&shared.place)).await?;
                for batch in batches {
                    let _: Commit = table.append(batch).await?;
                }
                table.close().await;
                Ok::<(), Failure>(())
            })?;
            rival
                .join()
                .map_err(|_| Failure::from("the rival panicked"))
        })
    })?;
    rival?;
    shared.turns = turns;
    shared.check().await?;
    let versions = Table::open(&text(&shared.place))
        .await?
        .snapshot()
        .version();
    assert_eq!(versions, 2 * COMMITS);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn application_transactions_are_shared() -> Outcome {
    let mut shared = Shared::create("transactions", &[]).await?;
    let file = shared.home.join("turn.arrow");
    let (first, count) = shared.next("headwater");
    let turn = [("headwater", first, count)];
    shared
        .worker
        .expect::<()>(&json!({ "do": "turn", "writers": turn, "file": file }))?;
    let rows = || load(&file).map(|(_, batches)| batches);

    let table = Table::open(&text(&shared.place)).await?;
    let scored = table.append(rows()?).exactly_once("scorer", 7).await?;
    assert_eq!(scored.status, CommitStatus::Committed);
    let asked = |app: &str| json!({ "do": "txn", "table": shared.place, "app_id": app });
    let (scorer, etl) = (asked("scorer"), asked("etl"));
    assert_eq!(shared.worker.expect::<Option<i64>>(&scorer)?, Some(7));
    assert_eq!(shared.worker.expect::<Option<i64>>(&etl)?, None);

    let (first, count) = shared.next("deltalake");
    shared.worker.expect::<u64>(&json!({
        "do": "append", "engine": "deltalake", "table": shared.place, "first": first, "count": count, "txn": ["etl", 3],
    }))?;
    let seen = table.refresh().await?;
    assert_eq!(
        (seen.app_version("scorer"), seen.app_version("etl")),
        (Some(7), Some(3))
    );
    let repeat = table.append(rows()?).exactly_once("etl", 3).await?;
    assert_eq!(repeat.status, CommitStatus::AlreadyApplied);

    // Both kinds of checkpoint carry them on.
    let ours = table.checkpoint().await?;
    let copy = shared.home.join("from-our-checkpoint");
    table::copy_from_checkpoint(&shared.place, &copy, ours)?;
    for (app, number) in [("scorer", 7), ("etl", 3)] {
        let request = json!({ "do": "txn", "table": copy, "app_id": app });
        assert_eq!(
            shared.worker.expect::<Option<i64>>(&request)?,
            Some(number),
            "{app}"
        );
    }
    shared.append("deltalake").await?;
    shared
        .worker
        .expect::<()>(&json!({ "do": "checkpoint", "table": shared.place }))?;
    let copy = shared.home.join("from-their-checkpoint");
    table::copy_from_checkpoint(&shared.place, &copy, ours + 1)?;
    let seen = Table::open(&text(&copy)).await?.snapshot();
    assert_eq!(
        (seen.app_version("scorer"), seen.app_version("etl")),
        (Some(7), Some(3))
    );
    shared.check().await
}
