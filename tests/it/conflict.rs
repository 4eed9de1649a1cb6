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

    fn pred(&self) -> Option<&Pred> {
        match self {
            Self::Delete(pred) | Self::Update(pred, _) | Self::Count(pred) => Some(pred),
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

    /// Whether the loser must land as it was planned.
    fn must_not_conflict(&self, rows: &[Row]) -> bool {
        let blind = matches!(self.winner, Op::Append(_));
        let (loser_part, winner_part) = (
            self.loser.pred().and_then(part),
            self.winner.pred().and_then(part),
        );
        let changes = matches!(self.winner, Op::Delete(_) | Op::Update(..));
        let apart = self.partitioned
            && changes
            && loser_part.is_some()
            && winner_part.is_some()
            && loser_part != winner_part;
        let rows_apart = match (self.loser.hits(rows), &self.winner) {
            (Some(loser), Op::Delete(_)) => {
                let winner = self.winner.hits(rows).unwrap();
                self.vectors && loser.is_disjoint(&winner) && self.keeps_a_row_of_every_file()
            }
            _ => false,
        };
        match &self.loser {
            Op::Append(_) => true,
            Op::Compact => blind,
            Op::Delete(_) | Op::Update(..) => {
                let ws = self.write_serializable && blind;
                let other_parts = match (&self.winner, loser_part) {
                    (Op::Append(new), Some(part)) => {
                        self.partitioned && new.iter().all(|row| row.1 != part)
                    }
                    _ => false,
                };
                ws || other_parts || apart || rows_apart
            }
            Op::Count(_) => apart,
            _ => false,
        }
    }

    /// A file that goes as a whole is no file whose rows are marked.
    fn keeps_a_row_of_every_file(&self) -> bool {
        let gone = |op: &Op| {
            let pred = op.pred().cloned();
            self.physical_files().iter().any(|file| {
                pred.as_ref()
                    .is_some_and(|pred| file.iter().all(|row| pred.holds(row)))
            })
        };
        !gone(&self.loser) && !gone(&self.winner)
    }

    fn physical_files(&self) -> Vec<Vec<Row>> {
        let mut files = Vec::new();
        for file in &self.files {
            let mut parts: BTreeMap<i32, Vec<Row>> = BTreeMap::new();
            for row in file {
                let part = if self.partitioned { row.1 } else { 0 };
                let is_live = !self.before.as_ref().is_some_and(|pred| pred.holds(row));
                if is_live {
                    parts.entry(part).or_default().push(*row);
                }
            }
            files.extend(parts.into_values());
        }
        files
    }

    async fn check(&self) {
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
                assert!(!self.must_not_conflict(&start), "{error}");
                return;
            }
        }
        if winner_first && newest.version() == seen.version() + 2 && self.must_not_conflict(&start)
        {
            let info = &newest.history(1).await.unwrap()[0].info;
            assert_eq!(
                info.read_version,
                Some(seen.version() as i64),
                "planned twice"
            );
        }
    }
}

fn part(pred: &Pred) -> Option<i32> {
    match pred {
        Pred::Part(part) | Pred::PartIds(part, ..) => Some(*part),
        _ => None,
    }
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.unwrap();
    for loser in 0..KINDS - 1 {
        for winner in 0..KINDS {
            for write_serializable in [false, true] {
                let config = Config {
                    cases: 8,
                    failure_persistence: None,
                    ..Config::default()
                };
                let mut runner = TestRunner::new(config);
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

/// Row-level concurrency: rows of one file that are not the same ones are marked by both writers, without planning anew.
#[test]
fn writers_that_mark_other_rows_of_a_file_both_land_as_they_were_planned() {
    let strategy = (
        6_i64..20,
        1_i64..5,
        1_i64..5,
        0_i64..20,
        any::<bool>(),
        any::<bool>(),
    );
    let strategy = strategy.prop_map(|(rows, loser, winner, value, updates, before)| {
        let cut = rows - loser - winner;
        let theirs = Pred::Ids(rows - winner, rows);
        let ours = Pred::Ids(rows - winner - loser, rows - winner);
        Case {
            files: vec![
                (0..rows)
                    .map(|id| (id, (id % 3) as i32, Some(id)))
                    .collect(),
            ],
            partitioned: false,
            vectors: true,
            write_serializable: false,
            before: (before && 0 < cut - 1).then_some(Pred::Ids(0, 1)),
            loser: match updates {
                true => Op::Update(ours, value),
                false => Op::Delete(ours),
            },
            winner: Op::Delete(theirs),
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.unwrap();
    let mut runner = TestRunner::new(Config {
        cases: 64,
        failure_persistence: None,
        ..Config::default()
    });
    let ran = runner.run(&strategy, |case| {
        runtime.block_on(async {
            let store = Faulty::default();
            let table = case.table(&store).await;
            assert!(case.must_not_conflict(&rows_of(&table.snapshot()).await));
        });
        runtime.block_on(case.check());
        Ok(())
    });
    if let Err(failure) = ran {
        panic!("{failure}");
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
