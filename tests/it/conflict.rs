//! Isolation: whatever two writers do at once, the table is as if one had come after the other; and what does not
//! contradict is not planned twice.
//!
//! The loser is planned on a version, then the winner commits, then the loser tries to: the worst moment there is. Rows
//! are held against a model that applies both one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::{Int32Type, Int64Type};
use headwater::arrow_array::{Array, Int32Array, Int64Array, RecordBatch};
use headwater::environment::Environment;
use headwater::predicate::{Predicate, col};
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::{CommitStatus, ErrorKind, Snapshot, Table};
use object_store::path::Path;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use crate::support::store::Faulty;
use crate::support::{commit_key, open, storage};

/// A row: key, partition or group, value.
type Row = (i64, i32, Option<i64>);

#[derive(Debug, Clone)]
enum Pred {
    All,
    Ids(i64, i64),
    Part(i32),
    PartIds(i32, i64, i64),
    NoValue,
    Below(i64),
}

impl Pred {
    fn holds(&self, row: &Row) -> bool {
        match self {
            Self::All => true,
            Self::Ids(low, high) => (*low..*high).contains(&row.0),
            Self::Part(part) => row.1 == *part,
            Self::PartIds(part, low, high) => row.1 == *part && (*low..*high).contains(&row.0),
            Self::NoValue => row.2.is_none(),
            Self::Below(value) => row.2.is_some_and(|have| have < *value),
        }
    }

    fn predicate(&self) -> Predicate {
        let ids = |low: i64, high: i64| col("id").gt_eq(low).and(col("id").lt(high));
        match self {
            Self::All => col("id").is_not_null(),
            Self::Ids(low, high) => ids(*low, *high),
            Self::Part(part) => col("p").eq(*part),
            Self::PartIds(part, low, high) => col("p").eq(*part).and(ids(*low, *high)),
            Self::NoValue => col("v").is_null(),
            Self::Below(value) => col("v").lt(*value),
        }
    }
}

/// What a writer does.
#[derive(Debug, Clone)]
enum Op {
    Append(Vec<Row>),
    /// Appends a row whose key tells how many rows of the condition there are.
    Count(Pred),
    Delete(Pred),
    Update(Pred, i64),
    Merge(Vec<Row>),
    Overwrite(Vec<Row>),
    Replace(Pred, Vec<Row>),
    Partitions(Vec<Row>),
    Compact,
    /// Every file under another name: what another engine's compaction may do.
    Rearrange,
}

impl Op {
    fn apply(&self, mut rows: Vec<Row>) -> Vec<Row> {
        match self {
            Self::Append(new) => rows.extend(new),
            Self::Count(pred) => {
                let count = rows.iter().filter(|row| pred.holds(row)).count();
                rows.push((1_000 + count as i64, 0, None));
            }
            Self::Delete(pred) => rows.retain(|row| !pred.holds(row)),
            Self::Update(pred, value) => {
                for row in rows.iter_mut().filter(|row| pred.holds(row)) {
                    row.2 = Some(*value);
                }
            }
            Self::Merge(source) => {
                for new in source {
                    let mut matched = false;
                    for row in rows.iter_mut().filter(|row| row.0 == new.0) {
                        *row = *new;
                        matched = true;
                    }
                    if !matched {
                        rows.push(*new);
                    }
                }
            }
            Self::Overwrite(new) => rows.clone_from(new),
            Self::Replace(pred, new) => {
                rows.retain(|row| !pred.holds(row));
                rows.extend(new.iter().filter(|row| pred.holds(row)));
            }
            Self::Partitions(new) => {
                let parts: BTreeSet<i32> = new.iter().map(|row| row.1).collect();
                rows.retain(|row| !parts.contains(&row.1));
                rows.extend(new);
            }
            Self::Compact | Self::Rearrange => {}
        }
        rows.sort_unstable();
        rows
    }

    /// Does it to the table; `seen` is the version that is read where reading is separate from writing.
    async fn carry_out(
        &self,
        table: &Table,
        seen: &Snapshot,
        store: &Faulty,
    ) -> headwater::Result<CommitStatus> {
        let commit = match self {
            Self::Append(rows) => table.append(batch(rows)).await,
            Self::Count(pred) => {
                let found = seen.scan().filter(pred.predicate()).collect().await?;
                let count: usize = found.iter().map(RecordBatch::num_rows).sum();
                let row = batch(&[(1_000 + count as i64, 0, None)]);
                let transaction = table.transaction().reading(seen, pred.predicate());
                transaction.then(table.append(row)).commit().await
            }
            Self::Delete(pred) => table.delete(pred.predicate()).await,
            Self::Update(pred, value) => {
                table
                    .update()
                    .set("v", *value)
                    .filter(pred.predicate())
                    .await
            }
            Self::Merge(source) => {
                let merge = table.merge(batch(source)).on(["id"]);
                merge
                    .when_matched_update_all()
                    .when_not_matched_insert_all()
                    .await
            }
            Self::Overwrite(rows) => table.overwrite(batch(rows)).await,
            Self::Replace(pred, rows) => {
                let rows: Vec<Row> = rows.iter().filter(|row| pred.holds(row)).copied().collect();
                table
                    .overwrite(batch(&rows))
                    .matching(pred.predicate())
                    .await
            }
            Self::Partitions(rows) => table.overwrite(batch(rows)).partitions_of_rows().await,
            Self::Compact => {
                let done = table.compact().await?;
                return Ok(match done.version {
                    Some(_) => CommitStatus::Committed,
                    None => CommitStatus::Unchanged,
                });
            }
            Self::Rearrange => {
                rearrange(table, store).await;
                return Ok(CommitStatus::Committed);
            }
        };
        commit.map(|commit| commit.status)
    }

    /// Rows of a table that a delete or an update is about.
    fn hits(&self, rows: &[Row]) -> Option<BTreeSet<Row>> {
        match self {
            Self::Delete(pred) | Self::Update(pred, _) => {
                Some(rows.iter().filter(|row| pred.holds(row)).copied().collect())
            }
            _ => None,
        }
    }
}

fn batch(rows: &[Row]) -> RecordBatch {
    let id: Int64Array = rows.iter().map(|row| Some(row.0)).collect();
    let p: Int32Array = rows.iter().map(|row| Some(row.1)).collect();
    let v: Int64Array = rows.iter().map(|row| row.2).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(id) as _, false),
        ("p", Arc::new(p) as _, false),
        ("v", Arc::new(v) as _, true),
    ])
    .unwrap()
}

async fn rows_of(snapshot: &Snapshot) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in snapshot
        .scan()
        .select(["id", "p", "v"])
        .collect()
        .await
        .unwrap()
    {
        let id = batch.column(0).as_primitive::<Int64Type>();
        let p = batch.column(1).as_primitive::<Int32Type>();
        let v = batch.column(2).as_primitive::<Int64Type>();
        let value = |at: usize| v.is_valid(at).then(|| v.value(at));
        rows.extend((0..batch.num_rows()).map(|at| (id.value(at), p.value(at), value(at))));
    }
    rows.sort_unstable();
    rows
}

/// Commits what compaction would: every live file goes, and its rows come in another one; no row changes.
async fn rearrange(table: &Table, store: &Faulty) {
    let version = table.refresh().await.unwrap().version();
    let mut live: BTreeMap<String, serde_json::Value> = BTreeMap::new();
    for version in 0..=version {
        let text = store.bytes(&commit_key(version)).await;
        for line in String::from_utf8(text.to_vec()).unwrap().lines() {
            let action: serde_json::Value = serde_json::from_str(line).unwrap();
            if let Some(remove) = action.get("remove") {
                live.remove(remove["path"].as_str().unwrap());
            }
        }
        for line in String::from_utf8(text.to_vec()).unwrap().lines() {
            let action: serde_json::Value = serde_json::from_str(line).unwrap();
            if let Some(add) = action.get("add") {
                live.insert(add["path"].as_str().unwrap().to_owned(), add.clone());
            }
        }
    }
    let mut lines =
        vec![serde_json::json!({"commitInfo": {"operation": "OPTIMIZE", "isBlindAppend": false}})];
    for (path, mut add) in live {
        let to = format!("r{version}-{}", path.replace(['/', '%', '='], "-"));
        let bytes = store
            .bytes(&Path::parse(format!("table/{path}")).unwrap())
            .await;
        store.place(&Path::from(format!("table/{to}")), bytes).await;
        let mut remove = serde_json::json!({"path": path, "dataChange": false, "deletionTimestamp": 1,
            "extendedFileMetadata": true, "partitionValues": add["partitionValues"], "size": add["size"]});
        if let Some(vector) = add.get("deletionVector") {
            remove["deletionVector"] = vector.clone();
        }
        add["path"] = to.into();
        add["dataChange"] = false.into();
        lines.push(serde_json::json!({ "remove": remove }));
        lines.push(serde_json::json!({ "add": add }));
    }
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    store.place(&commit_key(version + 1), text).await;
}

#[derive(Debug, Clone)]
struct Case {
    files: Vec<Vec<Row>>,
    partitioned: bool,
    vectors: bool,
    write_serializable: bool,
    /// Rows that went by deletion vector before.
    before: Option<Pred>,
    loser: Op,
    winner: Op,
}

impl Case {
    async fn table(&self, store: &Faulty) -> Table {
        let schema = Schema::new([
            Field::new("id", DataType::LONG, false),
            Field::new("p", DataType::INTEGER, false),
            Field::new("v", DataType::LONG, true),
        ]);
        let mut create = Table::create_in(storage(store), Environment::system(), schema.unwrap());
        if self.partitioned {
            create = create.partition_by(["p"]);
        }
        if self.vectors {
            create = create.property("delta.enableDeletionVectors", "true");
        }
        if self.write_serializable {
            create = create.property("delta.isolationLevel", "WriteSerializable");
        }
        let table = create
            .property("delta.checkpointInterval", "1000")
            .await
            .unwrap();
        for file in &self.files {
            table.append(batch(file)).await.unwrap();
        }
        if let Some(before) = &self.before {
            table.delete(before.predicate()).await.unwrap();
        }
        table
    }

    /// Whether the loser must land as it was planned: what the winner does is nothing that it read, and nothing that it
    /// changes, but for other rows of the same file where both only mark rows.
    fn must_not_conflict(&self) -> bool {
        if matches!(self.loser, Op::Append(_)) {
            return true;
        }
        let is_blind = matches!(self.winner, Op::Append(_));
        let is_ignored = self.write_serializable && is_blind;
        let reads = |files: &[Vec<Row>]| files.iter().any(|file| self.may_read(file));
        if !is_ignored && reads(&self.arrivals()) {
            return false;
        }
        let files = self.files_before();
        let touched = |op: &Op| -> Vec<usize> {
            let touches = |file: &(usize, &Vec<Row>)| self.touches(op, file.1);
            files
                .iter()
                .enumerate()
                .filter(touches)
                .map(|(at, _)| at)
                .collect()
        };
        let (ours, theirs) = (touched(&self.loser), touched(&self.winner));
        if matches!(self.loser, Op::Count(_)) {
            // Statistics of a file may still tell of rows that went by deletion vector.
            return self.before.is_none() && !theirs.iter().any(|at| self.may_read(&files[*at]));
        }
        ours.iter().filter(|at| theirs.contains(at)).all(|at| {
            let (ours, theirs) = (self.loser.hits(&files[*at]), self.winner.hits(&files[*at]));
            let (Some(ours), Some(theirs)) = (ours, theirs) else {
                return false;
            };
            let all = files[*at].len();
            self.vectors && ours.is_disjoint(&theirs) && ours.len() < all && theirs.len() < all
        })
    }

    /// Whether the statistics of a file leave it open that it has rows that the loser looked for.
    fn may_read(&self, file: &[Row]) -> bool {
        let (ids, parts) = (
            range(file, |row| row.0),
            range(file, |row| i64::from(row.1)),
        );
        let within = |range: &Option<(i64, i64)>, low: i64, high: i64| {
            range.is_some_and(|(min, max)| min < high && low <= max)
        };
        let is_part = |part: i32| within(&parts, i64::from(part), i64::from(part) + 1);
        match &self.loser {
            Op::Append(_) | Op::Compact | Op::Rearrange => false,
            Op::Overwrite(_) => !file.is_empty(),
            Op::Merge(source) => source.iter().any(|row| within(&ids, row.0, row.0 + 1)),
            Op::Partitions(new) => new.iter().any(|row| is_part(row.1)),
            Op::Count(pred) | Op::Delete(pred) | Op::Update(pred, _) | Op::Replace(pred, _) => {
                match pred {
                    Pred::All => !file.is_empty(),
                    Pred::Ids(low, high) => within(&ids, *low, *high),
                    Pred::Part(part) => is_part(*part),
                    Pred::PartIds(part, low, high) => is_part(*part) && within(&ids, *low, *high),
                    Pred::NoValue => file.iter().any(|row| row.2.is_none()),
                    Pred::Below(value) => {
                        let values = file.iter().filter_map(|row| row.2);
                        values.min().is_some_and(|min| min < *value)
                    }
                }
            }
        }
    }

    /// Whether an operation removes, rewrites or marks a file of these rows.
    fn touches(&self, op: &Op, file: &[Row]) -> bool {
        match op {
            Op::Append(_) | Op::Count(_) => false,
            Op::Overwrite(_) | Op::Rearrange => true,
            Op::Delete(pred) | Op::Update(pred, _) | Op::Replace(pred, _) => {
                file.iter().any(|row| pred.holds(row))
            }
            Op::Merge(source) => file
                .iter()
                .any(|row| source.iter().any(|new| new.0 == row.0)),
            Op::Partitions(new) => new.iter().any(|new| new.1 == file[0].1),
            Op::Compact => {
                let of_part = |other: &&Vec<Row>| !self.partitioned || other[0].1 == file[0].1;
                let files = self.files_before();
                self.before.is_some() || 1 < files.iter().filter(of_part).count()
            }
        }
    }

    /// The rows that the winner writes into new files, rows that it only copies among them: by partition, where all of
    /// them might be in one file.
    fn arrivals(&self) -> Vec<Vec<Row>> {
        let start = self.files_before();
        let touched = start.iter().filter(|file| self.touches(&self.winner, file));
        let touched: Vec<Row> = touched.flatten().copied().collect();
        let rows = match &self.winner {
            Op::Compact | Op::Rearrange => Vec::new(),
            Op::Append(new) | Op::Overwrite(new) | Op::Partitions(new) => new.clone(),
            Op::Count(_) => {
                let after = self.winner.apply(start.concat()).into_iter();
                after.filter(|row| 1_000 <= row.0).collect()
            }
            Op::Delete(_) if self.vectors => Vec::new(),
            Op::Update(pred, value) if self.vectors => {
                let hit = touched.into_iter().filter(|row| pred.holds(row));
                hit.map(|row| (row.0, row.1, Some(*value))).collect()
            }
            Op::Replace(pred, new) if self.vectors => {
                new.iter().filter(|row| pred.holds(row)).copied().collect()
            }
            Op::Merge(source) if self.vectors => source.clone(),
            Op::Delete(_) | Op::Update(..) | Op::Replace(..) | Op::Merge(_) => {
                self.winner.apply(touched)
            }
        };
        let mut files: BTreeMap<i32, Vec<Row>> = BTreeMap::new();
        for row in rows {
            let part = if self.partitioned { row.1 } else { 0 };
            files.entry(part).or_default().push(row);
        }
        files.into_values().collect()
    }

    /// The live rows of the files that both start from. What was left of files that were rewritten is in one file.
    fn files_before(&self) -> Vec<Vec<Row>> {
        let is_gone = |row: &Row| self.before.as_ref().is_some_and(|pred| pred.holds(row));
        let mut files = Vec::new();
        let mut rewritten: BTreeMap<i32, Vec<Row>> = BTreeMap::new();
        for file in &self.files {
            let mut parts: BTreeMap<i32, Vec<Row>> = BTreeMap::new();
            for row in file {
                let part = if self.partitioned { row.1 } else { 0 };
                parts.entry(part).or_default().push(*row);
            }
            for (part, mut rows) in parts {
                let is_hit = rows.iter().any(is_gone);
                rows.retain(|row| !is_gone(row));
                if is_hit && !self.vectors {
                    rewritten.entry(part).or_default().extend(rows);
                } else {
                    files.push(rows);
                }
            }
        }
        files.extend(rewritten.into_values());
        files.retain(|rows| !rows.is_empty());
        files
    }

    /// Lets the two meet, and holds the rows against the model. Whether the loser met the winner and landed as it was
    /// planned.
    async fn check(&self) -> bool {
        let store = Faulty::default();
        let table = self.table(&store).await;
        let seen = table.snapshot();
        let start = rows_of(&seen).await;
        let (winner, winners_store) = (self.winner.clone(), store.clone());
        let next = format!("{:020}.json", seen.version() + 1);
        store.before_put(&next, async move {
            let table = open(&winners_store).await.unwrap();
            let seen = table.snapshot();
            winner
                .carry_out(&table, &seen, &winners_store)
                .await
                .unwrap();
        });
        let landed = self.loser.carry_out(&table, &seen, &store).await;
        let winner_first = match store.not_yet() {
            Some(meanwhile) => {
                meanwhile.await;
                false
            }
            None => true,
        };
        let newest = open(&store).await.unwrap().snapshot();
        let found = rows_of(&newest).await;
        let winner_then_loser = self.loser.apply(self.winner.apply(start.clone()));
        let loser_then_winner = self.winner.apply(self.loser.apply(start.clone()));
        match landed {
            Ok(_) if !winner_first => assert_eq!(found, loser_then_winner),
            Ok(_) if self.write_serializable && found == loser_then_winner => {}
            Ok(_) => assert_eq!(found, winner_then_loser),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                assert!(error.context_value("with_version").is_some());
                assert!(
                    matches!(self.loser, Op::Count(_)),
                    "what can be planned again is: {error}"
                );
                assert_eq!(found, self.winner.apply(start.clone()));
                assert!(!self.must_not_conflict(), "{error}");
                return false;
            }
        }
        // A compaction may go on to what the winner added.
        let version = seen.version() + 2;
        let goes_on = matches!(self.loser, Op::Compact) && version < newest.version();
        if !winner_first || (newest.version() != version && !goes_on) {
            return false;
        }
        let entries = newest.history(10).await.unwrap();
        let info = &entries
            .iter()
            .find(|entry| entry.version == version)
            .unwrap()
            .info;
        let as_planned = info.read_version == Some(seen.version() as i64);
        assert!(as_planned || !self.must_not_conflict(), "planned twice");
        as_planned
    }
}

/// The least and the greatest number of rows.
fn range(rows: &[Row], number: impl Fn(&Row) -> i64) -> Option<(i64, i64)> {
    let least = rows.iter().map(&number).min();
    least.zip(rows.iter().map(number).max())
}

/// How often a property is tried: `HEADWATER_CASES` multiplies it.
fn config(cases: u32) -> Config {
    let times = std::env::var("HEADWATER_CASES").ok();
    let times: Option<u32> = times.and_then(|times| times.parse().ok());
    Config {
        cases: cases * times.unwrap_or(1),
        failure_persistence: None,
        ..Config::default()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let builder = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    builder.unwrap()
}

fn preds() -> impl Strategy<Value = Pred> {
    let low = 0_i64..24;
    prop_oneof![
        1 => Just(Pred::All),
        4 => (low.clone(), 1_i64..10).prop_map(|(low, width)| Pred::Ids(low, low + width)),
        2 => (0_i32..3).prop_map(Pred::Part),
        3 => (0_i32..3, low, 1_i64..16).prop_map(|(part, low, width)| Pred::PartIds(part, low, low + width)),
        1 => Just(Pred::NoValue),
        1 => (0_i64..20).prop_map(Pred::Below),
    ]
}

/// Keys that are not in the table.
fn new_rows(first: i64) -> impl Strategy<Value = Vec<Row>> {
    let row = (0_i32..3, proptest::option::of(0_i64..20));
    proptest::collection::vec(row, 1..4).prop_map(move |rows| {
        let numbered = rows.into_iter().enumerate();
        numbered
            .map(|(at, (part, value))| (first + at as i64, part, value))
            .collect()
    })
}

/// Keys of which some are in the table, each once.
fn sources() -> impl Strategy<Value = Vec<Row>> {
    let row = (0_i32..3, proptest::option::of(0_i64..20));
    proptest::collection::btree_map(0_i64..30, row, 1..6).prop_map(|rows| {
        rows.into_iter()
            .map(|(id, (part, value))| (id, part, value))
            .collect()
    })
}

fn op(kind: usize, first: i64) -> BoxedStrategy<Op> {
    match kind {
        0 => new_rows(first).prop_map(Op::Append).boxed(),
        1 => preds().prop_map(Op::Count).boxed(),
        2 => preds().prop_map(Op::Delete).boxed(),
        3 => (preds(), 0_i64..20)
            .prop_map(|(pred, value)| Op::Update(pred, value))
            .boxed(),
        4 => sources().prop_map(Op::Merge).boxed(),
        5 => new_rows(first).prop_map(Op::Overwrite).boxed(),
        6 => new_rows(first).prop_map(Op::Partitions).boxed(),
        7 => (preds(), new_rows(first))
            .prop_map(|(pred, rows)| Op::Replace(pred, rows))
            .boxed(),
        8 => Just(Op::Compact).boxed(),
        _ => Just(Op::Rearrange).boxed(),
    }
}

const KINDS: usize = 10;

fn cases(loser: usize, winner: usize, write_serializable: bool) -> impl Strategy<Value = Case> {
    let row = (0_i32..3, proptest::option::of(0_i64..20));
    let files = proptest::collection::vec(proptest::collection::vec(row, 1..9), 1..4);
    let before = proptest::option::weighted(0.4, preds());
    let table = (files, any::<bool>(), any::<bool>(), before);
    (table, op(loser, 100), op(winner, 200)).prop_map(
        move |((files, partitioned, vectors, before), loser, winner)| {
            let mut id = -1;
            let mut numbered = |(part, value): (i32, Option<i64>)| {
                id += 1;
                (id, part, value)
            };
            let files = files
                .into_iter()
                .map(|rows| rows.into_iter().map(&mut numbered).collect())
                .collect();
            let needs_partitions =
                matches!(loser, Op::Partitions(_)) || matches!(winner, Op::Partitions(_));
            Case {
                files,
                partitioned: partitioned || needs_partitions,
                vectors,
                write_serializable,
                before,
                loser,
                winner,
            }
        },
    )
}

/// D-2 to D-4, P08, P10: for every pair of operations and both isolation levels.
#[test]
fn d_2_d_3_d_4_p08_p10_two_operations_at_once_are_as_one_after_the_other() {
    let runtime = runtime();
    for loser in 0..KINDS - 1 {
        for winner in 0..KINDS {
            for write_serializable in [false, true] {
                let mut runner = TestRunner::new(config(8));
                let strategy = cases(loser, winner, write_serializable);
                let ran = runner.run(&strategy, |case| {
                    runtime.block_on(case.check());
                    Ok(())
                });
                if let Err(failure) = ran {
                    panic!("{failure}");
                }
            }
        }
    }
}

/// Runs cases in which the loser must land as it was planned, and sees that it did meet the winner and did so.
fn land_as_planned(what: &str, cases: u32, strategy: impl Strategy<Value = Case>) {
    let runtime = runtime();
    let mut runner = TestRunner::new(config(cases));
    let ran = runner.run(&strategy, |case| {
        assert!(case.must_not_conflict(), "{what}: not such a case");
        assert!(runtime.block_on(case.check()), "{what}: they did not meet");
        Ok(())
    });
    if let Err(failure) = ran {
        panic!("{what}: {failure}");
    }
}

/// D-4: rows of one file that are not the same ones are marked by both writers, without planning anew.
#[test]
fn d_4_writers_that_mark_other_rows_of_a_file_both_land_as_they_were_planned() {
    for [our_update, their_update] in [[false, false], [false, true], [true, false], [true, true]] {
        let strategy = (6_i64..20, 1_i64..5, 1_i64..5, 0_i64..20, any::<bool>());
        let strategy = strategy.prop_map(move |(rows, loser, winner, value, before)| {
            // At least one row stays.
            let loser = loser.min(rows - winner - 1);
            let cut = rows - loser - winner;
            let theirs = Pred::Ids(rows - winner, rows);
            let ours = Pred::Ids(rows - winner - loser, rows - winner);
            let op = |updates: bool, pred: Pred, value: i64| match updates {
                true => Op::Update(pred, value),
                false => Op::Delete(pred),
            };
            let row = |id: i64| (id, (id % 3) as i32, Some(id));
            Case {
                files: vec![(0..rows).map(row).collect()],
                partitioned: false,
                vectors: true,
                write_serializable: false,
                before: (before && 0 < cut - 1).then_some(Pred::Ids(0, 1)),
                loser: op(our_update, ours, value),
                winner: op(their_update, theirs, value + 1),
            }
        });
        let what = format!("updates: {our_update}, {their_update}");
        land_as_planned(&what, 16, strategy);
    }
}

/// Rows of three files of which no two have an id or a group in common, so that partitions or statistics tell them apart.
fn three_files() -> impl Strategy<Value = Vec<Vec<Row>>> {
    let values = proptest::collection::vec(proptest::option::of(0_i64..20), 3..9);
    [values.clone(), values.clone(), values].prop_map(|files| {
        let rows = |(part, values): (usize, Vec<Option<i64>>)| {
            let values = values.into_iter().enumerate();
            let first = part as i64 * 10;
            let row = move |(at, value)| (first + at as i64, part as i32, value);
            values.map(row).collect()
        };
        files.into_iter().enumerate().map(rows).collect()
    })
}

/// What changes rows of the file `part` of three alone.
fn changes_of(part: i32, value: i64) -> Vec<(&'static str, Op)> {
    let first = i64::from(part) * 10;
    let ids = Pred::Ids(first, first + 2);
    // One key that is there, and one within the bounds of the file's that is not.
    let source = vec![(first, part, Some(value)), (first + 9, part, None)];
    vec![
        ("delete", Op::Delete(ids.clone())),
        ("update", Op::Update(ids.clone(), value)),
        ("merge", Op::Merge(source)),
        (
            "replace",
            Op::Replace(ids, vec![(first + 1, part, Some(value))]),
        ),
        ("delete of all", Op::Delete(Pred::Ids(first, first + 10))),
    ]
}

/// DML on other files, told apart by partitions, and by statistics alone.
#[test]
fn writers_that_change_other_files_both_land_as_they_were_planned() {
    for partitioned in [false, true] {
        for vectors in [false, true] {
            let losers = changes_of(0, 7).len();
            let mut all: Vec<(String, Op, Op)> = Vec::new();
            for loser in 0..losers {
                for winner in 0..losers {
                    let (ours, loser) = changes_of(0, 7).swap_remove(loser);
                    let (theirs, winner) = changes_of(2, 8).swap_remove(winner);
                    all.push((format!("{ours} and {theirs}"), loser, winner));
                }
            }
            if partitioned {
                let new = |part: i32| vec![(100 + i64::from(part), part, None)];
                let (ours, theirs) = (Op::Partitions(new(0)), Op::Partitions(new(2)));
                all.push(("partitions".to_owned(), ours, theirs));
                let (ours, theirs) = (Op::Delete(Pred::Part(0)), Op::Update(Pred::Part(2), 1));
                all.push(("whole partitions".to_owned(), ours, theirs));
                let (ours, theirs) = (Op::Count(Pred::Part(0)), Op::Delete(Pred::Part(2)));
                all.push(("a reader of a partition".to_owned(), ours, theirs));
            } else {
                let (ours, theirs) = (Op::Count(Pred::Ids(0, 10)), Op::Delete(Pred::Ids(20, 22)));
                all.push(("a reader of a range".to_owned(), ours, theirs));
            }
            for (what, loser, winner) in all {
                let strategy = (three_files(), any::<bool>());
                let strategy = strategy.prop_map(move |(files, write_serializable)| Case {
                    files,
                    partitioned,
                    vectors,
                    write_serializable,
                    before: None,
                    loser: loser.clone(),
                    winner: winner.clone(),
                });
                let what = format!("{what}, partitioned {partitioned}, vectors {vectors}");
                land_as_planned(&what, 2, strategy);
            }
        }
    }
}

/// DML against appends: any that is blind under WriteSerializable, and under Serializable one whose rows partitions or
/// statistics prove to be others, blind or not.
#[test]
fn changes_of_rows_and_appends_of_others_both_land_as_they_were_planned() {
    for partitioned in [false, true] {
        for vectors in [false, true] {
            for loser in 0..changes_of(1, 7).len() {
                let within = Op::Append(vec![(17, 1, Some(3)), (19, 1, None)]);
                let apart = Op::Append(vec![(200, 2, Some(3)), (201, 2, None)]);
                // Reads nothing of what is changed, and appends a row of another id and group.
                let other = Op::Count(Pred::Ids(500, 600));
                let winners = [
                    ("a blind append within", within, true),
                    ("a blind append apart", apart.clone(), true),
                    ("a blind append apart", apart, false),
                    ("another append", other.clone(), false),
                    ("another append", other, true),
                ];
                for (theirs, winner, write_serializable) in winners {
                    let (ours, loser) = changes_of(1, 7).swap_remove(loser);
                    let strategy = three_files().prop_map(move |files| Case {
                        files,
                        partitioned,
                        vectors,
                        write_serializable,
                        before: None,
                        loser: loser.clone(),
                        winner: winner.clone(),
                    });
                    let what = format!(
                        "{ours} and {theirs}, partitioned {partitioned}, vectors {vectors}, \
                         write serializable {write_serializable}"
                    );
                    land_as_planned(&what, 2, strategy);
                }
            }
        }
    }
}

/// Compaction against appends of any kind, and against changes of files that it has no part in.
#[test]
fn a_compaction_and_who_leaves_its_files_alone_both_land_as_they_were_planned() {
    let appends = vec![
        (
            "a blind append",
            Op::Append(vec![(200, 0, None), (3, 2, Some(1))]),
        ),
        ("another append", Op::Count(Pred::All)),
    ];
    // A partition of one file is none that is compacted.
    let changes = changes_of(2, 8).into_iter();
    let changes = changes.chain([("partitions", Op::Partitions(vec![(300, 2, None)]))]);
    let changes: Vec<_> = changes.collect();
    for (winners, partitions) in [(appends, vec![false, true]), (changes, vec![true])] {
        for (theirs, winner) in winners {
            for partitioned in &partitions {
                let (partitioned, winner) = (*partitioned, winner.clone());
                let strategy = (three_files(), any::<[bool; 2]>());
                let strategy = strategy.prop_map(move |(mut files, flags)| {
                    files.push(vec![(50, 0, None), (51, 0, Some(1))]);
                    Case {
                        files,
                        partitioned,
                        vectors: flags[0],
                        write_serializable: flags[1],
                        before: None,
                        loser: Op::Compact,
                        winner: winner.clone(),
                    }
                });
                let what = format!("{theirs}, partitioned {partitioned}");
                land_as_planned(&what, 4, strategy);
            }
        }
    }
}

/// An append rests on nothing.
#[test]
fn an_append_lands_as_it_was_planned_whatever_wins() {
    for winner in 0..KINDS {
        for write_serializable in [false, true] {
            // Whether a delete or a compaction of a random table does anything is not known: they need not meet.
            let runtime = runtime();
            let mut met = 0;
            let mut runner = TestRunner::new(config(1));
            while met < 3 {
                let strategy = cases(0, winner, write_serializable);
                let tree = strategy.new_tree(&mut runner).unwrap();
                let case = tree.current();
                assert!(case.must_not_conflict());
                met += usize::from(runtime.block_on(case.check()));
            }
        }
    }
}

/// What both start from in the two tests below.
fn one_file(vectors: bool, loser: Op, winner: Op) -> Case {
    Case {
        files: vec![(0..6).map(|id| (id, 0, Some(id))).collect()],
        partitioned: false,
        vectors,
        write_serializable: false,
        before: None,
        loser,
        winner,
    }
}

/// P08: of two overwrites of the same rows the second replaces what the first wrote, and knows it.
#[test]
fn p08_the_second_of_two_overwrites_by_one_condition_replaces_the_first() {
    for vectors in [false, true] {
        let replace = |first: i64| {
            let rows = (first..first + 2).map(|id| (id, 0, None)).collect();
            Op::Replace(Pred::NoValue, rows)
        };
        let mut case = one_file(vectors, replace(100), replace(200));
        case.files.push(vec![(7, 0, None)]);
        runtime().block_on(async {
            assert!(!case.must_not_conflict());
            assert!(!case.check().await, "it has seen what the first one wrote");
            let rows = case.winner.apply(case.files.concat());
            let rows = case.loser.apply(rows);
            let ids: Vec<i64> = rows.iter().map(|row| row.0).collect();
            assert_eq!(ids, [0, 1, 2, 3, 4, 5, 100, 101]);
        });
    }
}

/// P10, D-4: of two deletes, or changes, of the same rows of a file none goes past the other.
#[test]
fn p10_d_4_two_changes_of_the_same_rows_never_pass_each_other() {
    let ops = |value: i64| {
        let both = Pred::Ids(2, 5);
        let part = Pred::Ids(4, 6);
        [
            Op::Delete(both.clone()),
            Op::Delete(part.clone()),
            Op::Update(both, value),
            Op::Update(part, value),
            Op::Delete(Pred::All),
        ]
    };
    for vectors in [false, true] {
        for loser in ops(70) {
            for winner in ops(80) {
                let case = one_file(vectors, loser.clone(), winner.clone());
                assert!(!case.must_not_conflict(), "{case:?}");
                assert!(!runtime().block_on(case.check()), "{case:?}");
            }
        }
    }
}

/// The error of a lost race says who won, where, and what to do.
#[tokio::test]
async fn a_conflict_names_both_operations_the_version_and_what_to_do() {
    let case = Case {
        files: vec![vec![(1, 0, None), (2, 0, None)]],
        partitioned: false,
        vectors: false,
        write_serializable: false,
        before: None,
        loser: Op::Count(Pred::All),
        winner: Op::Delete(Pred::Ids(1, 2)),
    };
    let store = Faulty::default();
    let table = case.table(&store).await;
    let seen = table.snapshot();
    case.winner.carry_out(&table, &seen, &store).await.unwrap();
    let error = case
        .loser
        .carry_out(&table, &seen, &store)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    for (key, value) in [
        ("operation", "WRITE"),
        ("with_operation", "DELETE"),
        ("with_version", "2"),
    ] {
        assert_eq!(error.context_value(key), Some(value), "{key}");
    }
    assert!(error.message().contains("do it again"), "{error}");
}
