//! Merge.

use std::sync::Arc;

use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::{Float64Type, Int64Type};
use headwater::arrow_array::{Array, Float64Array, Int64Array, RecordBatch, StringArray};
use headwater::environment::Environment;
use headwater::predicate::{Predicate, col};
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::{Code, Commit, Merge, Table};
use proptest::prelude::*;

use super::assert_status;
use crate::pruning::check;
use crate::support::store::{Answer, Faulty, Request, When as Struck};
use crate::support::{block_on, open, storage};

/// One row, of the table or of the source.
#[derive(Debug, Clone)]
struct Row {
    a: Option<i64>,
    f: Option<f64>,
    s: Option<String>,
    v: Option<i64>,
}

impl Row {
    /// The row as text: what differs in anything differs here.
    fn text(&self) -> String {
        let f = self.f.map(f64::to_bits);
        format!("{:?} {f:?} {:?} {:?}", self.a, self.s, self.v)
    }

    /// The values of a key as text; `None` if one is null.
    fn key(&self, on: &[&str]) -> Option<String> {
        let part = |column: &&str| match *column {
            "a" => self.a.map(|a| a.to_string()),
            "f" => self.f.map(|f| match f {
                f if f.is_nan() => "nan".to_owned(),
                f => (f + 0.0).to_string(),
            }),
            _ => self.s.clone(),
        };
        let parts: Option<Vec<String>> = on.iter().map(part).collect();
        parts.map(|parts| parts.join("|"))
    }
}

fn rows(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Row>> {
    let a = proptest::option::weighted(0.9, 0_i64..12);
    let fs = vec![0.0, -0.0, f64::NAN, -f64::NAN, 1.5, f64::INFINITY];
    let f = proptest::option::weighted(0.9, proptest::sample::select(fs));
    let s = proptest::option::weighted(0.9, "[a-d]{1,2}");
    let v = proptest::option::weighted(0.9, 0_i64..10);
    let row = (a, f, s, v).prop_map(|(a, f, s, v)| Row { a, f, s, v });
    proptest::collection::vec(row, len)
}

fn batch(rows: &[Row]) -> RecordBatch {
    let ints = |of: fn(&Row) -> Option<i64>| Int64Array::from_iter(rows.iter().map(of));
    let texts = StringArray::from_iter(rows.iter().map(|row| row.s.clone()));
    super::columns(vec![
        ("a", Arc::new(ints(|row| row.a))),
        (
            "f",
            Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.f))),
        ),
        ("s", Arc::new(texts)),
        ("v", Arc::new(ints(|row| row.v))),
    ])
}

fn texts(rows: &[Row]) -> Vec<String> {
    let mut texts: Vec<String> = rows.iter().map(Row::text).collect();
    texts.sort();
    texts
}

async fn read(table: &Table) -> Vec<Row> {
    let mut rows = Vec::new();
    let scan = table.snapshot().scan().select(["a", "f", "s", "v"]);
    for batch in scan.collect().await.unwrap() {
        let int = |column: usize, row: usize| {
            let column = batch.column(column).as_primitive::<Int64Type>();
            column.is_valid(row).then(|| column.value(row))
        };
        let (floats, texts) = (batch.column(1), batch.column(2).as_string::<i32>());
        let floats = floats.as_primitive::<Float64Type>();
        rows.extend((0..batch.num_rows()).map(|row| Row {
            a: int(0, row),
            f: floats.is_valid(row).then(|| floats.value(row)),
            s: texts.is_valid(row).then(|| texts.value(row).to_owned()),
            v: int(3, row),
        }));
    }
    rows
}

/// A condition, in words and in Rust.
#[derive(Debug, Clone, Copy)]
enum When {
    Always,
    SourceAbove,
    SourceBelowFive,
    TargetNull,
    TargetAboveFive,
}

impl When {
    fn predicate(self) -> Option<Predicate> {
        Some(match self {
            Self::Always => return None,
            Self::SourceAbove => col("source.v").gt(col("target.v")),
            Self::SourceBelowFive => Predicate::parse("source.v < 5").unwrap(),
            Self::TargetNull => col("TARGET.v").is_null(),
            Self::TargetAboveFive => col("target.v").gt(5),
        })
    }

    fn holds(self, source: Option<&Row>, target: Option<&Row>) -> bool {
        let (source, target) = (source.and_then(|row| row.v), target.and_then(|row| row.v));
        match self {
            Self::Always => true,
            Self::SourceAbove => source
                .zip(target)
                .is_some_and(|(source, target)| target < source),
            Self::SourceBelowFive => source.is_some_and(|v| v < 5),
            Self::TargetNull => target.is_none(),
            Self::TargetAboveFive => target.is_some_and(|v| 5 < v),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    All,
    /// Sets `v` to the source's, or inserts `a` and `v`; for rows that only the table has, sets `v` to `a`.
    Some,
    Delete,
}

#[derive(Debug, Clone)]
struct Plan {
    on: Vec<&'static str>,
    matched: Vec<(When, Does)>,
    not_matched: Vec<(When, Does)>,
    by_source: Vec<(When, Does)>,
}

fn plans() -> impl Strategy<Value = Plan> {
    let on = proptest::sample::select(vec![
        vec!["a"],
        vec!["A"],
        vec!["f"],
        vec!["s"],
        vec!["a", "f"],
        vec!["s", "a"],
    ]);
    let any = vec![
        When::Always,
        When::SourceAbove,
        When::SourceBelowFive,
        When::TargetNull,
    ];
    let clauses = |whens: Vec<When>, does: Vec<Does>, most| {
        let clause = (
            proptest::sample::select(whens),
            proptest::sample::select(does),
        );
        proptest::collection::vec(clause, 0..most)
    };
    let matched = clauses(any, vec![Does::All, Does::Some, Does::Delete], 3);
    let source = vec![When::Always, When::SourceBelowFive];
    let not_matched = clauses(source, vec![Does::All, Does::Some], 3);
    let target = vec![When::Always, When::TargetNull, When::TargetAboveFive];
    let by_source = clauses(target, vec![Does::Delete, Does::Some], 2);
    let plan = (on, matched, not_matched, by_source);
    plan.prop_map(|(on, matched, not_matched, by_source)| Plan {
        on,
        matched,
        not_matched,
        by_source,
    })
    .prop_filter("a clause", |plan| {
        !plan.matched.is_empty() || !plan.not_matched.is_empty() || !plan.by_source.is_empty()
    })
}

impl Plan {
    fn merge(&self, table: &Table, source: Vec<RecordBatch>) -> Merge {
        let mut merge = table.merge(source).on(self.on.iter().copied());
        for (when, does) in &self.matched {
            merge = match does {
                Does::All => merge.when_matched_update_all(),
                Does::Some => merge.when_matched_update([("v", col("source.v"))]),
                Does::Delete => merge.when_matched_delete(),
            };
            merge = only_if(merge, *when);
        }
        for (when, does) in &self.not_matched {
            merge = match does {
                Does::All => merge.when_not_matched_insert_all(),
                _ => {
                    let values = [("a", col("source.a")), ("v", col("source.v"))];
                    merge.when_not_matched_insert(values)
                }
            };
            merge = only_if(merge, *when);
        }
        for (when, does) in &self.by_source {
            merge = match does {
                Does::Delete => merge.when_not_matched_by_source_delete(),
                _ => merge.when_not_matched_by_source_update([("v", col("target.a"))]),
            };
            merge = only_if(merge, *when);
        }
        merge
    }

    fn on(&self) -> Vec<&'static str> {
        let lower = |column: &&'static str| if *column == "A" { "a" } else { *column };
        self.on.iter().map(lower).collect()
    }

    /// What an interpreter makes of the rows, and how many it updates, deletes and inserts.
    fn done(&self, target: &[Row], source: &[Row]) -> (Vec<Row>, [u64; 3]) {
        let on = self.on();
        let mut counts = [0; 3];
        let mut after = Vec::new();
        for row in target {
            let key = row.key(&on);
            let met = source
                .iter()
                .find(|other| key.is_some() && other.key(&on) == key);
            let clauses = if met.is_some() {
                &self.matched
            } else {
                &self.by_source
            };
            let clause = clauses.iter().find(|(when, _)| when.holds(met, Some(row)));
            match clause {
                None => after.push(row.clone()),
                Some((_, Does::Delete)) => counts[1] += 1,
                Some((_, does)) => {
                    counts[0] += 1;
                    after.push(match (met, does) {
                        (Some(met), Does::All) => met.clone(),
                        (Some(met), _) => Row {
                            v: met.v,
                            ..row.clone()
                        },
                        (None, _) => Row {
                            v: row.a,
                            ..row.clone()
                        },
                    });
                }
            }
        }
        for row in source {
            let key = row.key(&on);
            if key.is_some() && target.iter().any(|other| other.key(&on) == key) {
                continue;
            }
            let clause = self
                .not_matched
                .iter()
                .find(|(when, _)| when.holds(Some(row), None));
            let Some((_, does)) = clause else { continue };
            counts[2] += 1;
            after.push(match does {
                Does::All => row.clone(),
                _ => Row {
                    f: None,
                    s: None,
                    ..row.clone()
                },
            });
        }
        (after, counts)
    }
}

fn only_if(merge: Merge, when: When) -> Merge {
    match when.predicate() {
        Some(predicate) => merge.only_if(predicate),
        None => merge,
    }
}

fn schema() -> Schema {
    Schema::new([
        Field::new("a", DataType::LONG, true),
        Field::new("f", DataType::DOUBLE, true),
        Field::new("s", DataType::STRING, true),
        Field::new("v", DataType::LONG, true),
    ])
    .unwrap()
}

async fn create(store: &Faulty, partitioned: bool, [marks, feed]: [bool; 2]) -> Table {
    let mut create = Table::create_in(storage(store), Environment::system(), schema());
    if partitioned {
        create = create.partition_by(["s"]);
    }
    let word = |on: bool| if on { "true" } else { "false" };
    create = create.property("delta.enableDeletionVectors", word(marks));
    create
        .property("delta.enableChangeDataFeed", word(feed))
        .await
        .unwrap()
}

fn has_repeated_keys(rows: &[Row], on: &[&str]) -> bool {
    let mut keys: Vec<String> = rows.iter().filter_map(|row| row.key(on)).collect();
    let all = keys.len();
    keys.sort();
    keys.dedup();
    keys.len() < all
}

fn assert_counts(commit: &Commit, [updated, deleted, inserted]: [u64; 3]) {
    let found = (
        commit.rows_updated,
        commit.rows_deleted,
        commit.rows_inserted,
    );
    assert_eq!(found, (updated, deleted, inserted), "{commit:?}");
    assert_status(commit, 0 < updated + deleted + inserted);
}

#[test]
fn p72_merges_do_what_an_interpreter_of_rows_does() {
    let tables = proptest::collection::vec(rows(0..20), 1..4);
    let merges = proptest::collection::vec((plans(), rows(0..12), any::<bool>()), 3);
    let cases = (tables, any::<[bool; 3]>(), merges);
    check(48, cases, |(chunks, [partitioned, marks, feed], merges)| {
        block_on(async {
            let store = Faulty::default();
            let table = create(&store, partitioned, [marks, feed]).await;
            let mut all = Vec::new();
            for rows in chunks {
                table.append(batch(&rows)).await.unwrap();
                all.extend(rows);
            }
            for (plan, mut source, unique) in merges {
                let on = plan.on();
                if unique {
                    let mut known = Vec::new();
                    source.retain(|row| match row.key(&on) {
                        Some(key) if known.contains(&key) => false,
                        Some(key) => {
                            known.push(key);
                            true
                        }
                        None => true,
                    });
                }
                // Several batches, empty ones among them.
                let half = source.len() / 2;
                let batches = [&source[..half], &[], &source[half..]].map(batch);
                let outcome = plan.merge(&table, batches.to_vec()).await;
                if has_repeated_keys(&source, &on) {
                    let error = outcome.unwrap_err();
                    assert_eq!(error.code(), Code::RowsRejected, "{error:?}");
                    assert_eq!(
                        error.context_value("columns"),
                        Some(plan.on.join(", ").as_str())
                    );
                } else {
                    let (after, counts) = plan.done(&all, &source);
                    assert_counts(&outcome.unwrap(), counts);
                    all = after;
                }
                let reader = open(&store).await.unwrap();
                assert_eq!(texts(&read(&reader).await), texts(&all), "{plan:?}");
            }
        });
    });
}

fn numbered(ids: impl IntoIterator<Item = i64>, v: i64) -> Vec<Row> {
    let row = |a| Row {
        a: Some(a),
        f: None,
        s: None,
        v: Some(v),
    };
    ids.into_iter().map(row).collect()
}

/// More than 8,192 rows on both sides: no batch boundary takes unequal keys for equal, or loses a row.
#[test]
fn p74_p72_keys_beyond_a_batch_are_not_taken_for_repeated() {
    block_on(async {
        for marks in [false, true] {
            let store = Faulty::default();
            let table = create(&store, false, [marks, false]).await;
            table.append(batch(&numbered(0..20_000, 0))).await.unwrap();
            let source = batch(&numbered(10_000..30_000, 1));
            let merge = table.merge(source).on(["a"]);
            let merge = merge
                .when_matched_update_all()
                .when_not_matched_insert_all();
            let commit = merge.await.unwrap();
            assert_counts(&commit, [10_000, 0, 10_000]);
            let mut rows = read(&open(&store).await.unwrap()).await;
            rows.sort_by_key(|row| row.a);
            let expected = numbered(0..10_000, 0)
                .into_iter()
                .chain(numbered(10_000..30_000, 1));
            assert!(
                rows.iter()
                    .map(Row::text)
                    .eq(expected.map(|row| row.text()))
            );
            let mut source = numbered(0..9_000, 2);
            source.push(source[0].clone());
            let merge = table.merge(batch(&source)).on(["a"]).when_matched_delete();
            let error = merge.await.unwrap_err();
            assert_eq!(error.context_value("rows"), Some("1"));
            assert_eq!(read(&open(&store).await.unwrap()).await.len(), 30_000);
        }
    });
}

#[test]
fn a_source_that_is_too_large_is_refused() {
    block_on(async {
        let store = Faulty::default();
        let table = create(&store, false, [false, false]).await;
        let source = batch(&numbered(0..10_000, 0));
        let merge = table.merge(source).on(["a"]).when_not_matched_insert_all();
        let error = merge.source_bytes_max(1_000).await.unwrap_err();
        assert_eq!(error.code(), Code::LimitExceeded, "{error:?}");
        assert_eq!(error.context_value("limit"), Some("1000"));
    });
}

/// Files that cannot hold a key of the source are left alone, whatever else they hold.
#[test]
fn only_files_that_can_hold_a_key_are_rewritten() {
    block_on(async {
        let store = Faulty::default();
        let table = create(&store, false, [false, false]).await;
        for first in [0, 100, 200] {
            let rows = numbered(first..first + 100, 0);
            table.append(batch(&rows)).await.unwrap();
        }
        let source = batch(&numbered([5, 250, 1_000], 1));
        let merge = table.merge(source).on(["a"]);
        let merge = merge
            .when_matched_update_all()
            .when_not_matched_insert_all();
        let commit = merge.await.unwrap();
        assert_counts(&commit, [2, 0, 1]);
        assert_eq!(commit.files_removed, 2);
    });
}

/// More keys than are searched for one by one: a file between them is left alone, and unread.
#[test]
fn files_between_many_keys_are_not_read() {
    block_on(async {
        for on in ["a", "s"] {
            let store = Faulty::default();
            let table = create(&store, false, [false, false]).await;
            let named = |ids: &mut dyn Iterator<Item = i64>, v: i64| {
                let row = |a: i64| Row {
                    a: Some(a),
                    f: None,
                    s: Some(format!("{a:06}")),
                    v: Some(v),
                };
                batch(&ids.map(row).collect::<Vec<_>>())
            };
            for first in [0, 5_000, 10_000, 20_000] {
                table
                    .append(named(&mut (first..first + 100), 0))
                    .await
                    .unwrap();
            }
            // The second file, and the fourth, are within the range of the keys or beyond it.
            let puts = store.puts();
            let files: Vec<&String> = puts
                .iter()
                .map(|(path, _)| path)
                .filter(|path| path.ends_with(".parquet"))
                .collect();
            assert_eq!(files.len(), 4);
            for file in [files[1], files[3]] {
                let (get, before) = (Request::Get, Struck::Before);
                store.fail(get, file, usize::MAX, before, Answer::Denied);
            }
            let source = named(&mut (10..20).chain(10_050..11_300), 1);
            let merge = table.merge(source).on([on]);
            let merge = merge
                .when_matched_update_all()
                .when_not_matched_insert_all();
            let commit = merge.await.unwrap();
            assert_counts(&commit, [60, 0, 1_200]);
            assert_eq!(commit.files_removed, 2);
            store.heal();
            // A key at either bound of a file is one within it.
            let edges = [5_000, 5_099].into_iter().chain(30_000..31_200);
            let merge = table.merge(named(&mut edges.into_iter(), 2)).on([on]);
            let commit = merge.when_matched_delete().await.unwrap();
            assert_counts(&commit, [0, 2, 0]);
        }
    });
}

#[test]
fn calls_that_make_no_sense_are_refused() {
    block_on(async {
        let store = Faulty::default();
        let table = create(&store, false, [false, false]).await;
        let source = || batch(&numbered([1], 1));
        let refused = [
            table.merge(source()).when_matched_delete().await,
            table.merge(source()).on(["a"]).await,
            table
                .merge(source())
                .on(["nope"])
                .when_matched_delete()
                .await,
            table
                .merge(source())
                .on(["a", "A"])
                .when_matched_delete()
                .await,
            table
                .merge(source())
                .on(["a"])
                .only_if(col("source.v").gt(1))
                .await,
            table
                .merge(source())
                .on(["a"])
                .when_matched_update([("nope", col("source.v"))])
                .await,
            table
                .merge(source())
                .on(["a"])
                .when_not_matched_insert([("v", col("target.v"))])
                .await,
        ];
        for outcome in refused {
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), headwater::ErrorKind::Invalid, "{error:?}");
        }
        assert_eq!(table.refresh().await.unwrap().version(), 0);
    });
}
