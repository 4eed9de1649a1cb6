//! Rows that headwater deletes, updates, merges and overwrites: others read every version row for row, and the change
//! feed, as deltalake and headwater read it, is the difference of the versions.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::TryStreamExt;
use headwater::Table;
use headwater::arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use headwater::predicate::{Expression, Predicate, col};
use headwater::protocol::property::ColumnMappingMode;
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater_interop::Failure;
use headwater_interop::case::save;
use headwater_interop::table::{self, text};
use headwater_interop::worker::Worker;
use serde_json::json;

use crate::golden::golden;
use crate::{Outcome, READERS, scratch};

/// The engines that read deletion vectors.
const DELETES: [&str; 2] = ["deltalake-sql", "duckdb"];

/// A table that is changed, and what came of it.
pub(crate) struct Changed {
    pub(crate) home: PathBuf,
    pub(crate) place: PathBuf,
    worker: Worker,
    pub(crate) complaints: Vec<String>,
    pub(crate) checks: usize,
}

impl Changed {
    pub(crate) fn new(name: &str) -> Result<Self, Failure> {
        let home = scratch(&format!("changed-{name}"))?;
        let place = home.join("table");
        let worker = Worker::new(&home.join("worker.log"));
        let (complaints, checks) = (Vec::new(), 0);
        Ok(Self {
            home,
            place,
            worker,
            complaints,
            checks,
        })
    }

    pub(crate) fn file(&self, version: u64) -> PathBuf {
        self.home.join(format!("{version}.arrow"))
    }

    /// Has the engines read versions, and deltalake tell what changed in those of which `feed` is true.
    pub(crate) async fn check(
        &mut self,
        versions: std::ops::RangeInclusive<u64>,
        readers: &[&str],
        feed: bool,
    ) -> Result<(), Failure> {
        for version in versions {
            table::read(&self.place, version, None, &self.file(version)).await?;
            for engine in readers {
                let same = json!({
                    "do": "same", "engine": engine, "case": null, "table": self.place, "version": version,
                    "probe": null, "file": self.file(version),
                });
                self.ask(&format!("{engine} at version {version}"), &same)?;
            }
            if feed && self.file(version.saturating_sub(1)).exists() && 0 < version {
                self.check_feed(version).await?;
            }
        }
        Ok(())
    }

    /// Whether the change feed of a version, as headwater and as deltalake read it, is the difference of its rows to
    /// those before.
    async fn check_feed(&mut self, version: u64) -> Outcome {
        let file = self.home.join("changes.arrow");
        let table = Table::open(&text(&self.place)).await?;
        let ours = table.changes(version).to(version).stream().await?;
        let schema = ours.schema();
        save(&file, &schema, &ours.try_collect::<Vec<_>>().await?)?;
        let told = |file: Option<&Path>| {
            json!({
                "do": "feed", "table": self.place, "version": version, "file": file,
                "before": self.file(version - 1), "after": self.file(version),
            })
        };
        let (ours, theirs) = (told(Some(&file)), told(None));
        self.ask(&format!("our change feed of version {version}"), &ours)?;
        let properties = Arc::clone(table.snapshot().properties());
        let why_not = if properties.column_mapping_mode != ColumnMappingMode::None {
            Some("deltalake reads no change feed of a table with column mapping")
        } else if self.is_told_by_vectors(version)? {
            Some("deltalake reads no deletion vector of a file that is removed")
        } else {
            None
        };
        if let Some(why_not) = why_not {
            println!("{}: version {version}: {why_not}", self.place.display());
            return Ok(());
        }
        self.ask(&format!("change feed of version {version}"), &theirs)?;
        let same =
            json!({ "do": "changes", "table": self.place, "version": version, "file": file });
        self.ask(&format!("changes of version {version} by both"), &same)
    }

    /// Whether a version removes files with deletion vectors as wholes, and has no files of changes.
    fn is_told_by_vectors(&self, version: u64) -> Result<bool, Failure> {
        let commit = self.place.join(format!("_delta_log/{version:020}.json"));
        let mut vectors = false;
        for line in std::fs::read_to_string(commit)?.lines() {
            let action: serde_json::Value = serde_json::from_str(line)?;
            if action["cdc"].is_object() {
                return Ok(false);
            }
            vectors |= action["remove"]["deletionVector"].is_object();
        }
        Ok(vectors)
    }

    fn ask(&mut self, what: &str, request: &serde_json::Value) -> Result<(), Failure> {
        self.checks += 1;
        if let Some(problem) = self.worker.expect::<Option<String>>(request)? {
            let place = self.home.display();
            self.complaints.push(format!("{place}: {what}: {problem}"));
        }
        Ok(())
    }

    /// Asks how an engine reads the rows that are expected.
    pub(crate) fn ask_golden(&mut self, what: &str, read: &serde_json::Value) -> Outcome {
        self.checks += 1;
        let read: serde_json::Value = self.worker.expect(read)?;
        if read["equal"] != true {
            let place = self.home.display();
            self.complaints
                .push(format!("{place}: {what}: {}", read["told"]));
        }
        Ok(())
    }

    fn settle(self) -> Outcome {
        assert!(0 < self.checks, "nothing was checked");
        assert!(self.complaints.is_empty(), "{}", self.complaints.join("\n"));
        Ok(())
    }
}

fn rows(ids: std::ops::Range<i64>, v: i64) -> Result<RecordBatch, Failure> {
    let values = ids.clone().map(|id| (id % 7 != 0).then_some(v + id));
    let parts = ids
        .clone()
        .map(|id| (id % 11 != 0).then(|| format!("p {}", id % 3)));
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(Int64Array::from_iter_values(ids))),
        ("v", Arc::new(values.collect::<Int64Array>())),
        ("p", Arc::new(parts.collect::<StringArray>())),
    ];
    let columns = columns.map(|(name, array)| (name, array, true));
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

/// A life of a table, one version per line.
async fn live(place: &Path, partitioned: bool, marks: bool) -> Result<u64, Failure> {
    let schema = Schema::new([
        Field::new("id", DataType::LONG, true),
        Field::new("v", DataType::LONG, true),
        Field::new("p", DataType::STRING, true),
    ])?;
    let create = Table::create(&text(place), schema);
    let create = create.partition_by(partitioned.then_some("p"));
    let word = if marks { "true" } else { "false" };
    let create = create.property("delta.enableDeletionVectors", word);
    let table = create
        .property("delta.enableChangeDataFeed", "true")
        .await?;
    table.append(rows(0..9_000, 0)?).await?;
    table.append(rows(9_000..9_500, 0)?).await?;
    table
        .delete(col("id").is_in([0, 1, 8_191, 8_192, 8_999]))
        .await?;
    table.delete(Predicate::parse("id % 10 = 3")?).await?;
    let update = table
        .update()
        .set("v", Expression::parse("coalesce(v, 0) * 2")?);
    update.filter(col("id").lt(100)).await?;
    table
        .update()
        .set("p", "moved")
        .filter(Predicate::parse("p = 'p 1' AND id > 8900")?)
        .await?;
    table.checkpoint().await?;
    let merge = table.merge(rows(9_400..9_600, 1_000_000)?).on(["id"]);
    let merge = merge
        .when_matched_delete()
        .only_if(Predicate::parse("source.v % 2 = 0")?);
    merge
        .when_matched_update_all()
        .when_not_matched_insert_all()
        .await?;
    table.delete(col("id").gt_eq(9_000)).await?;
    table.delete(Predicate::parse("TRUE")?).await?;
    table.append(rows(0..5, 7)?).await?;
    overwrites(&table, partitioned).await?;
    table.close().await;
    Ok(table.snapshot().version())
}

/// Rows are replaced: those of a condition, those of partitions, all; some of them in files with deletion vectors.
async fn overwrites(table: &Table, partitioned: bool) -> Outcome {
    let one = |v: i64| -> Result<RecordBatch, Failure> {
        let columns: [(&str, ArrayRef); 3] = [
            ("id", Arc::new(Int64Array::from(vec![50, 51]))),
            ("v", Arc::new(Int64Array::from(vec![Some(v), None]))),
            ("p", Arc::new(StringArray::from(vec!["p 1", "p 1"]))),
        ];
        let columns = columns.map(|(name, array)| (name, array, true));
        Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
    };
    let condition = match partitioned {
        true => Predicate::parse("p = 'p 1'")?,
        false => Predicate::parse("id >= 0")?,
    };
    table.overwrite(one(1)?).matching(condition).await?;
    table.append(rows(100..200, 0)?).await?;
    table.delete(Predicate::parse("id % 10 = 3")?).await?;
    let overwrite = table.overwrite(one(2)?);
    match partitioned {
        true => overwrite.partitions_of_rows().await?,
        false => overwrite.await?,
    };
    table.append(rows(200..300, 0)?).await?;
    table.delete(Predicate::parse("id % 10 = 4")?).await?;
    table.overwrite(rows(300..310, 0)?).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn others_read_what_was_deleted_updated_merged_and_overwritten() -> Outcome {
    for partitioned in [false, true] {
        for marks in [false, true] {
            let mut changed = Changed::new(&format!("ours-{partitioned}-{marks}"))?;
            let newest = live(&changed.place, partitioned, marks).await?;
            assert_eq!(newest, 17);
            // deltalake's dataset and `replay` know no deletion vectors.
            let readers = if marks { &DELETES } else { &READERS[..] };
            changed.check(0..=newest, readers, true).await?;
            changed.settle()?;
        }
    }
    Ok(())
}

/// Compacts the table, if there is anything to compact, and has the engines read the rows that were there before.
async fn compacted(changed: &mut Changed, readers: &[&str]) -> Result<Option<u64>, Failure> {
    let table = Table::open(&text(&changed.place)).await?;
    let first = table.snapshot().version();
    table::read(&changed.place, first, None, &changed.file(first)).await?;
    let done = match table.compact().await {
        Err(error) if error.kind() == headwater::ErrorKind::Unsupported => {
            println!("{}: not compacted: {error}", changed.place.display());
            return Ok(None);
        }
        done => done?,
    };
    let Some(version) = done.version else {
        return Ok(None);
    };
    for engine in readers {
        let same = json!({
            "do": "same", "engine": engine, "case": null, "table": changed.place, "version": version,
            "probe": null, "file": changed.file(first),
        });
        changed.ask(&format!("{engine} after compaction"), &same)?;
    }
    Ok(Some(done.files_removed))
}

#[tokio::test(flavor = "multi_thread")]
async fn others_read_the_same_rows_after_compaction() -> Outcome {
    for partitioned in [false, true] {
        for marks in [false, true] {
            let mut changed = Changed::new(&format!("compacted-{partitioned}-{marks}"))?;
            live(&changed.place, partitioned, marks).await?;
            let table = Table::open(&text(&changed.place)).await?;
            for first in 0..18 {
                table
                    .append(rows(first * 100..first * 100 + 90, first)?)
                    .await?;
                if first == 5 {
                    table.delete(Predicate::parse("id % 7 = 2")?).await?;
                }
            }
            let readers = if marks { &DELETES } else { &READERS[..] };
            let removed = compacted(&mut changed, readers).await?;
            assert!(
                removed.is_some_and(|files| 12 <= files),
                "{removed:?} files"
            );
            changed.settle()?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn golden_tables_with_deletion_vectors_are_compacted_and_read_by_others() -> Outcome {
    let Some(folder) = golden() else {
        return Ok(());
    };
    let mut compacted_tables = 0;
    for name in [
        "golden-dv-with-columnmapping",
        "golden-log-replay-dv-key-cases",
        "kernel-cdf-table-with-cdc-and-dvs",
        "kernel-table-with-dv-small",
        "kernel-with-short-dv",
        "rs-cdf-table-with-cdc-and-dvs",
        "spark-dv_merge",
        "spark-v2cp_json",
        "spark-v2cp_parquet",
    ] {
        let golden = folder.join(name).join("table");
        let mut changed = Changed::new(&format!("compacted-{name}"))?;
        table::copy(&golden, &changed.place)?;
        if let Some(files) = compacted(&mut changed, &DELETES).await? {
            compacted_tables += 1;
            println!("{name}: {files} files compacted");
            changed.settle()?;
        }
    }
    assert!(
        4 <= compacted_tables,
        "{compacted_tables} tables were compacted"
    );
    Ok(())
}

/// Numbers that look random and are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: i64) -> i64 {
        // Knuth's multiplier; the high bits are the good ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as i64) % bound
    }

    /// A condition that some rows of a table with so many ids meet.
    fn condition(&mut self, ids: i64) -> String {
        let (low, width) = (self.below(ids), 1 + self.below(ids));
        match self.below(5) {
            0 => format!("id >= {low} AND id < {}", low + width),
            1 => format!("id % {} = {}", 2 + self.below(9), self.below(3)),
            2 => "v IS NULL".to_owned(),
            3 => format!("p = 'p {}' AND v > {low}", self.below(3)),
            _ => format!("v BETWEEN {low} AND {} OR id = {low}", low + width),
        }
    }
}

/// A life by chance: files of any size around a batch and a slab, and changes by any condition.
async fn random_life(place: &Path, seed: u64) -> Result<(u64, bool), Failure> {
    let mut dice = Dice(seed);
    let (partitioned, marks) = (dice.below(2) == 0, dice.below(2) == 0);
    let schema = Schema::new([
        Field::new("id", DataType::LONG, true),
        Field::new("v", DataType::LONG, true),
        Field::new("p", DataType::STRING, true),
    ])?;
    let create = Table::create(&text(place), schema).partition_by(partitioned.then_some("p"));
    let word = if marks { "true" } else { "false" };
    let table = create.property("delta.enableDeletionVectors", word).await?;
    let mut ids = 0;
    for _ in 0..3 {
        let count = match dice.below(5) {
            0 => 1,
            1 => 100,
            2 => 8_191,
            3 => 8_193,
            _ => 17_000,
        };
        table
            .append(rows(ids..ids + count, dice.below(50))?)
            .await?;
        ids += count;
    }
    for _ in 0..5 {
        let condition = Predicate::parse(&dice.condition(ids))?;
        match dice.below(3) {
            0 => {
                table.delete(condition).await?;
            }
            1 => {
                let value = Expression::parse("coalesce(v, id) + 1")?;
                table.update().set("v", value).filter(condition).await?;
            }
            _ => {
                let first = dice.below(ids);
                let merge = table.merge(rows(first..first + 50, 1_000)?).on(["id"]);
                let merge = merge
                    .when_matched_update_all()
                    .only_if(Predicate::parse("target.v IS NOT NULL")?);
                // A key that a delete took away may be there again only once.
                merge.when_not_matched_insert_all().await?;
                ids = ids.max(first + 50);
            }
        }
    }
    Ok((table.refresh().await?.version(), marks))
}

#[tokio::test(flavor = "multi_thread")]
async fn others_read_every_version_of_lives_by_chance() -> Outcome {
    let seeds = std::env::var("HEADWATER_SEEDS")
        .ok()
        .and_then(|seeds| seeds.parse().ok());
    for seed in 0..seeds.unwrap_or(4_u64) {
        let mut changed = Changed::new(&format!("chance-{seed}"))?;
        let (newest, marks) = random_life(&changed.place, seed).await?;
        let readers = if marks { &DELETES } else { &READERS[..] };
        changed.check(0..=newest, readers, false).await?;
        println!(
            "seed {seed}: {newest} versions, vectors {marks}, {} checks",
            changed.checks
        );
        changed.settle()?;
    }
    Ok(())
}
