//! A scan that several workers share: every row once, whoever reads it.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::{Array, ArrayRef, RecordBatch};
use headwater::environment::Environment;
use headwater::protocol::deletion_vector::{FILE_VERSION, encode, file_path, inline_text};
use headwater::protocol::value::Scalar;
use headwater::{Code, ErrorKind, Table};
use object_store::path::Path;
use proptest::prelude::*;
use roaring::RoaringTreemap;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::pruning::check;
use crate::pruning::conditions::conditions;
use crate::pruning::foreign::{File, create_mapped, files_of, physical};
use crate::pruning::rows::{COLUMNS, PLAIN, Row, batch, schema};
use crate::support::store::Faulty;
use crate::support::{block_on, commit_key, open, storage};

/// Where the deletion vector of a file is.
#[derive(Debug, Clone, Copy)]
enum Kept {
    Nowhere,
    Inline,
    OnDisk,
}

/// A data file, and which of its rows are deleted: of row `n`, entry `n` modulo their number.
#[derive(Debug, Clone)]
struct Marked {
    file: File,
    deleted: Vec<bool>,
    kept: Kept,
}

fn marked() -> impl Strategy<Value = Marked> {
    let kept = prop_oneof![
        1 => Just(Kept::Nowhere),
        2 => Just(Kept::Inline),
        3 => Just(Kept::OnDisk),
    ];
    let deleted = (0.0..1.0_f64).prop_flat_map(|share| {
        let row = proptest::bool::weighted(share);
        proptest::collection::vec(row, 1..199)
    });
    (files_of(1..200), deleted, kept).prop_map(|(file, deleted, kept)| Marked {
        file,
        deleted,
        kept,
    })
}

impl Marked {
    fn positions(&self, rows: usize) -> RoaringTreemap {
        let is_deleted = |row: &u64| self.deleted[*row as usize % self.deleted.len()];
        match self.kept {
            Kept::Nowhere => RoaringTreemap::new(),
            Kept::Inline | Kept::OnDisk => (0..rows as u64).filter(is_deleted).collect(),
        }
    }

    /// What the log says of the vector; a file of vectors is put into the store.
    async fn vector(&self, store: &Faulty, number: usize, deleted: &RoaringTreemap) -> Json {
        let data = encode(deleted);
        let mut vector = json!({
            "storageType": "i", "pathOrInlineDv": inline_text(&data),
            "sizeInBytes": data.len(), "cardinality": deleted.len(),
        });
        if matches!(self.kept, Kept::OnDisk) {
            // Something stands before the vector, as where several files share one of vectors.
            let mut bytes = vec![FILE_VERSION];
            bytes.resize(1 + number * 7, 0);
            let offset = bytes.len();
            bytes.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
            bytes.extend(&data);
            bytes.extend(crc32fast::hash(&data).to_be_bytes());
            let name = file_path("", Uuid::from_u128(number as u128));
            store
                .place(&Path::from(format!("table/{name}")), bytes)
                .await;
            vector["storageType"] = "p".into();
            vector["pathOrInlineDv"] = name.into();
            vector["offset"] = offset.into();
        }
        vector
    }
}

/// A table: how its files name the columns, and the columns that partition it.
#[derive(Debug, Clone)]
struct Layout {
    mapped: bool,
    partitions: Vec<usize>,
}

fn layouts() -> impl Strategy<Value = Layout> {
    // The statistics of the files are of this column.
    let columns: Vec<usize> = (0..PLAIN)
        .filter(|index| COLUMNS[*index].0 != "i64")
        .collect();
    let partitions = proptest::sample::subsequence(columns, 0..3);
    (any::<bool>(), partitions).prop_map(|(mapped, partitions)| Layout { mapped, partitions })
}

impl Layout {
    fn names(&self) -> Vec<&'static str> {
        let names = self.partitions.iter().map(|index| COLUMNS[*index].0);
        names.collect()
    }

    async fn create(&self, store: &Faulty) {
        if self.mapped {
            create_mapped(store, &self.names()).await;
            return;
        }
        let create = Table::create_in(storage(store), Environment::system(), schema());
        let create = create.partition_by(self.names()).feature("deletionVectors");
        create.await.unwrap();
    }

    /// All rows of a file are of the partition of its first.
    fn rows(&self, file: &File, first: i64) -> Vec<Row> {
        let mut rows = file.chunk.rows(first, &self.partitions);
        for column in &self.partitions {
            let value = rows[0].values[*column].clone();
            rows.iter_mut().for_each(|row| row.set(*column, &value));
        }
        rows
    }

    fn partition_values(&self, rows: &[Row]) -> Json {
        let first = batch(&rows[..1]);
        let values = self.names().into_iter().map(|name| {
            let value = Scalar::from_array(first.column_by_name(name).unwrap(), 0).unwrap();
            let key = match self.mapped {
                true => physical(name),
                false => name.to_owned(),
            };
            (key, json!(value.to_partition_value().unwrap()))
        });
        Json::Object(values.collect())
    }

    /// Puts the files into the store and into the log, one version each; what is left is the rows that are not deleted.
    async fn place(&self, store: &Faulty, files: &[Marked], seen: &mut Seen) -> Vec<Row> {
        let mut all = Vec::new();
        let mut next = 0;
        for (number, marked) in files.iter().enumerate() {
            let rows = self.rows(&marked.file, next);
            next += rows.len() as i64;
            let bytes = marked.file.bytes(&rows, self.mapped, &self.names());
            let deleted = marked.positions(rows.len());
            let mut add = json!({
                "path": format!("part%20{number}.parquet"), "partitionValues": self.partition_values(&rows),
                "size": bytes.len(), "modificationTime": 0, "dataChange": true,
            });
            let mut stats = json!({ "numRecords": rows.len() });
            if marked.file.with_statistics {
                stats = marked.file.statistics(&rows, self.mapped);
            }
            stats["tightBounds"] = deleted.is_empty().into();
            if marked.file.with_statistics || !deleted.is_empty() {
                add["stats"] = stats.to_string().into();
            }
            if !deleted.is_empty() {
                add["deletionVector"] = marked.vector(store, number, &deleted).await;
                seen.vector(&add["deletionVector"]);
            }
            let key = Path::from(format!("table/part {number}.parquet"));
            store.place(&key, bytes).await;
            let line = json!({ "add": add }).to_string();
            store.place(&commit_key(number as u64 + 1), line).await;
            let live = rows.into_iter().enumerate();
            let live = live.filter(|(row, _)| !deleted.contains(*row as u64));
            all.extend(live.map(|(_, row)| row));
        }
        all
    }
}

/// What the cases had in them: a property over cases that lack what it is about shows nothing.
#[derive(Debug, Default)]
struct Seen {
    inline: u64,
    on_disk: u64,
    large: u64,
    mapped: u64,
    partitioned: u64,
    files_pruned: u64,
    row_groups_pruned: u64,
    rows_pruned: u64,
    no_column: u64,
    nested: u64,
    reordered: u64,
    returned: u64,
}

impl Seen {
    fn vector(&mut self, vector: &Json) {
        match vector["storageType"] == "i" {
            true => self.inline += 1,
            false => self.on_disk += 1,
        }
        let is_large = 128 < vector["sizeInBytes"].as_u64().unwrap();
        self.large += u64::from(is_large && vector["storageType"] == "p");
    }

    fn projection(&mut self, columns: &[String]) {
        let order: Vec<_> = schema()
            .fields()
            .iter()
            .map(|field| field.name.clone())
            .collect();
        let place = |name: &String| order.iter().position(|known| known == name);
        self.no_column += u64::from(columns.is_empty());
        self.nested += u64::from(columns.iter().any(|name| name == "st"));
        self.reordered += u64::from(!columns.is_sorted_by_key(place));
    }

    fn assert_all(&self) {
        for (what, count) in [
            ("vectors in the log", self.inline),
            ("vectors on disk", self.on_disk),
            ("large vectors on disk", self.large),
            ("tables with column mapping", self.mapped),
            ("partitioned tables", self.partitioned),
            ("files pruned", self.files_pruned),
            ("row groups pruned", self.row_groups_pruned),
            ("rows pruned", self.rows_pruned),
            ("projections of nothing", self.no_column),
            ("projections of structs", self.nested),
            ("projections in another order", self.reordered),
            ("rows returned", self.returned),
        ] {
            assert!(2 < count, "{what}: {self:?}");
        }
    }
}

/// Columns in any order: none, some, or all.
fn projections() -> impl Strategy<Value = Vec<String>> {
    let fields = schema();
    let names: Vec<String> = fields
        .fields()
        .iter()
        .map(|field| field.name.clone())
        .collect();
    let count = names.len();
    let some = prop_oneof![
        1 => Just(0..=0),
        6 => Just(1..=5),
        2 => Just(1..=count),
    ];
    some.prop_flat_map(move |range| proptest::sample::subsequence(names.clone(), range))
        .prop_shuffle()
}

/// A value as text that tells it from every other of its type.
fn cell(array: &ArrayRef, row: usize) -> String {
    match array.as_struct_opt() {
        _ if array.is_null(row) => "null".to_owned(),
        Some(parts) => {
            let names = parts.column_names().into_iter().zip(parts.columns());
            let cells = names.map(|(name, part)| format!("{name}: {}", cell(part, row)));
            format!("{{{}}}", cells.collect::<Vec<_>>().join(", "))
        }
        None => format!("{:?}", Scalar::from_array(array, row).unwrap()),
    }
}

/// The rows of a batch in these columns, each with how often it is there.
fn count(batch: &RecordBatch, columns: &[String], into: &mut BTreeMap<Vec<String>, usize>) {
    let names = batch.schema_ref().fields().iter().map(|field| field.name());
    assert!(names.eq(columns), "{columns:?}");
    for row in 0..batch.num_rows() {
        let cells = batch.columns().iter().map(|column| cell(column, row));
        *into.entry(cells.collect()).or_default() += 1;
    }
}

/// Files of odd row groups and pages, with any rows deleted; partition columns and column mapping; any predicate and
/// any projection; push-down on. The oracle is an interpreter that goes row by row.
#[test]
fn partitions_of_a_scan_have_every_row_once() {
    let cases = (
        layouts(),
        proptest::collection::vec(marked(), 1..6),
        proptest::collection::vec((conditions(), projections()), 4),
        1_usize..17,
        1_usize..300,
    );
    let seen = std::cell::RefCell::new(Seen::default());
    check(
        48,
        cases,
        |(layout, files, questions, workers, batch_rows)| {
            let seen = &mut *seen.borrow_mut();
            block_on(async {
                let store = Faulty::default();
                layout.create(&store).await;
                let rows = layout.place(&store, &files, seen).await;
                seen.mapped += u64::from(layout.mapped);
                seen.partitioned += u64::from(!layout.partitions.is_empty());
                let snapshot = open(&store).await.unwrap().snapshot();
                for (condition, columns) in &questions {
                    seen.projection(columns);
                    let matching = rows.iter().filter(|row| condition.holds(row) == Some(true));
                    let matching: Vec<Row> = matching.cloned().collect();
                    let whole = batch(&matching);
                    let order = columns.iter().map(|name| whole.schema_ref().index_of(name));
                    let order: Vec<usize> = order.collect::<Result<_, _>>().unwrap();
                    let mut expected = BTreeMap::new();
                    count(&whole.project(&order).unwrap(), columns, &mut expected);
                    let scan = snapshot.scan().filter(condition.predicate());
                    let scan = scan.select(columns.clone()).batch_rows(batch_rows);
                    let mut found = BTreeMap::new();
                    for index in 0..workers {
                        let part = scan.clone().partition(index, workers);
                        let mut stream = part.stream().await.unwrap();
                        while let Some(batch) = stream.try_next().await.unwrap() {
                            assert!(batch.num_rows() <= batch_rows);
                            count(&batch, columns, &mut found);
                        }
                        let counts = stream.counts();
                        seen.files_pruned += counts.plan.files_pruned;
                        seen.row_groups_pruned += counts.row_groups_pruned;
                        seen.rows_pruned += counts.rows_pruned;
                        seen.returned += counts.rows_returned;
                    }
                    let wrong: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
                    let wrong: Vec<_> = wrong
                        .into_iter()
                        .filter(|row| found.get(*row) != expected.get(*row))
                        .collect();
                    assert!(
                        wrong.is_empty(),
                        "{} in {workers}, {columns:?}: {wrong:?}",
                        condition.predicate()
                    );
                }
            });
        },
    );
    seen.into_inner().assert_all();
}

#[tokio::test]
async fn a_partition_that_is_not_there_is_refused() {
    let store = Faulty::default();
    let table = crate::support::create(&store).await;
    for (index, count) in [(1, 1), (0, 0), (7, 3)] {
        let refused = table
            .snapshot()
            .scan()
            .partition(index, count)
            .collect()
            .await
            .unwrap_err();
        assert_eq!(
            (refused.kind(), refused.code()),
            (ErrorKind::Invalid, Code::InvalidArgument)
        );
    }
    let none: Vec<RecordBatch> = table
        .snapshot()
        .scan()
        .partition(3, 5)
        .collect()
        .await
        .unwrap();
    assert!(none.is_empty());
}
