//! Reading a table without the crate: JSON lines, Parquet files, and a set of paths.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::{Int32Type, Int64Type};
use headwater::arrow_array::{Array, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::rows::{Id, Row};

/// Names of files that were being written when their process was killed.
pub(crate) const STAGE: &str = ".tmp-";

/// All that a table is, by its files.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// By version.
    pub(crate) commits: Vec<Commit>,
    /// Versions of checkpoints.
    pub(crate) checkpoints: Vec<u64>,
    /// The version that the hint points to.
    pub(crate) hint: Option<u64>,
    /// Whole data files that no commit names, by the append that left them.
    pub(crate) orphans: Vec<Id>,
    /// Files without a final name.
    pub(crate) stages: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Commit {
    pub(crate) adds: Vec<String>,
    pub(crate) rows: Vec<Row>,
    /// The application's transaction.
    pub(crate) txn: Option<(String, i64)>,
    pub(crate) txn_id: Option<String>,
}

impl Commit {
    /// The one append whose rows these are, all of them and no others.
    pub(crate) fn append(&self) -> Id {
        let id = Id::of(self.rows.first().expect("a commit without rows"));
        assert_eq!(self.rows, id.rows(), "rows of one append");
        assert_eq!(self.adds.len(), id.files(), "files of {id:?}");
        id
    }
}

impl Replay {
    pub(crate) fn of(table: &Path) -> Self {
        let mut replay = Self::default();
        let mut commits = BTreeMap::new();
        let mut data = BTreeSet::new();
        for key in keys(table) {
            let (folder, name) = key.rsplit_once('/').unwrap_or(("", &key));
            if name.starts_with(STAGE) {
                replay.stages += 1;
            } else if folder.starts_with("slice=") && name.ends_with(".parquet") {
                data.insert(key);
            } else {
                assert_eq!(folder, "_delta_log", "{key} does not belong here");
                if name == "_last_checkpoint" {
                    let hint: Value = serde_json::from_slice(&read(table, &key)).unwrap();
                    replay.hint = Some(hint["version"].as_u64().unwrap());
                } else if let Some(version) = version(name, ".json") {
                    commits.insert(version, read(table, &key));
                } else {
                    let version = version(name, ".checkpoint.parquet");
                    replay
                        .checkpoints
                        .push(version.unwrap_or_else(|| panic!("{key}")));
                }
            }
        }
        replay.checkpoints.sort_unstable();
        for (expected, (version, bytes)) in (0..).zip(commits) {
            assert_eq!(version, expected, "versions have no gap");
            let commit = decode(table, version, &bytes, &mut data);
            replay.commits.push(commit);
        }
        // What no commit names is left over, and whole: nothing half-written has a final name.
        let append = |key: &String| Id::of(&rows(table, key, None)[0]);
        replay.orphans = data.iter().map(append).collect();
        replay.check_checkpoints(table);
        replay
    }

    pub(crate) fn version(&self) -> u64 {
        self.commits.len() as u64 - 1
    }

    /// Paths of the files of a version.
    pub(crate) fn paths(&self, version: u64) -> BTreeSet<&str> {
        let until = usize::try_from(version).unwrap();
        let adds = self.commits[..=until]
            .iter()
            .flat_map(|commit| &commit.adds);
        adds.map(String::as_str).collect()
    }

    /// Rows of a version, sorted.
    pub(crate) fn rows(&self, version: u64) -> Vec<Row> {
        let until = usize::try_from(version).unwrap();
        let rows = self.commits[..=until]
            .iter()
            .flat_map(|commit| &commit.rows);
        let mut rows: Vec<_> = rows.cloned().collect();
        rows.sort();
        rows
    }

    /// Every checkpoint says what the commits up to it say.
    fn check_checkpoints(&self, table: &Path) {
        for &version in &self.checkpoints {
            assert!(version <= self.version(), "a checkpoint of no version");
            let key = format!("_delta_log/{version:020}.checkpoint.parquet");
            let mut paths = BTreeSet::new();
            let mut txns = BTreeMap::new();
            let (mut protocols, mut metadatas) = (0, 0);
            for batch in batches(table, &key) {
                let column = |name: &str| batch.column_by_name(name).unwrap().as_struct();
                protocols += batch.num_rows() - column("protocol").null_count();
                metadatas += batch.num_rows() - column("metaData").null_count();
                let add = column("add");
                let path = add.column_by_name("path").unwrap().as_string::<i32>();
                for row in (0..batch.num_rows()).filter(|&row| add.is_valid(row)) {
                    let fresh = paths.insert(path.value(row).to_owned());
                    assert!(fresh, "checkpoint {version} has a file twice");
                }
                let Some(txn) = batch.column_by_name("txn") else {
                    continue;
                };
                let txn = txn.as_struct();
                let app = txn.column_by_name("appId").unwrap().as_string::<i32>();
                let number = txn.column_by_name("version").unwrap();
                let number = number.as_primitive::<Int64Type>();
                for row in (0..batch.num_rows()).filter(|&row| txn.is_valid(row)) {
                    txns.insert(app.value(row).to_owned(), number.value(row));
                }
            }
            assert_eq!((protocols, metadatas), (1, 1), "checkpoint {version}");
            let paths: BTreeSet<_> = paths.iter().map(String::as_str).collect();
            assert_eq!(paths, self.paths(version), "checkpoint {version}");
            let until = usize::try_from(version).unwrap();
            let commits = self.commits[..=until].iter();
            let watermarks: BTreeMap<_, _> =
                commits.filter_map(|commit| commit.txn.clone()).collect();
            assert_eq!(txns, watermarks, "checkpoint {version}");
        }
        if let Some(hint) = self.hint {
            assert!(
                self.checkpoints.contains(&hint),
                "the hint points at nothing"
            );
        }
    }
}

/// One commit; its files are taken out of `data`.
fn decode(table: &Path, version: u64, bytes: &[u8], data: &mut BTreeSet<String>) -> Commit {
    let text = std::str::from_utf8(bytes).unwrap();
    let mut commit = Commit::default();
    for line in text.lines() {
        let action: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
        assert_eq!(action.len(), 1, "version {version}: one action a line");
        let (name, value) = action.into_iter().next().unwrap();
        match name.as_str() {
            "commitInfo" => commit.txn_id = value["txnId"].as_str().map(str::to_owned),
            "protocol" | "metaData" => assert_eq!(version, 0, "{name} changed"),
            "txn" => {
                let app = value["appId"].as_str().unwrap().to_owned();
                let txn = (app, value["version"].as_i64().unwrap());
                assert_eq!(commit.txn.replace(txn), None, "version {version}: two txn");
            }
            "add" => {
                let path = value["path"].as_str().unwrap().to_owned();
                let there = data.remove(&path);
                assert!(
                    there,
                    "version {version}: {path} is missing, or added twice"
                );
                commit.rows.extend(rows(table, &path, Some(&value)));
                commit.adds.push(path);
            }
            other => panic!("version {version}: nobody wrote a {other}"),
        }
    }
    commit.rows.sort();
    commit
}

/// The rows of a data file, and whether they are what the commit says.
fn rows(table: &Path, key: &str, add: Option<&Value>) -> Vec<Row> {
    let partition = key
        .split('/')
        .next()
        .and_then(|name| name.strip_prefix("slice="));
    let slice: i32 = partition.unwrap().parse().unwrap();
    let mut found = Vec::new();
    for batch in batches(table, key) {
        found.extend(rows_of(&batch, |_| slice));
    }
    if let Some(add) = add {
        let size = fs::metadata(table.join(key)).unwrap().len();
        assert_eq!(add["size"].as_u64(), Some(size), "{key}");
        assert_eq!(add["dataChange"], Value::Bool(true), "{key}");
        let value = add["partitionValues"]["slice"].as_str();
        assert_eq!(value, Some(slice.to_string().as_str()), "{key}");
        let stats: Value = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
        assert_eq!(
            stats["numRecords"].as_u64(),
            Some(found.len() as u64),
            "{key}"
        );
    }
    found
}

/// The rows of a batch; `slice` finds the partition of a row.
pub(crate) fn rows_of(batch: &RecordBatch, slice: impl Fn(usize) -> i32) -> Vec<Row> {
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let appends = column("append").as_primitive::<Int64Type>();
    let numbers = column("row").as_primitive::<Int32Type>();
    let notes = column("note").as_string::<i32>();
    let rows = (0..batch.num_rows()).map(|row| Row {
        append: appends.value(row),
        row: numbers.value(row),
        note: notes.is_valid(row).then(|| notes.value(row).to_owned()),
        slice: slice(row),
    });
    rows.collect()
}

pub(crate) fn batches(table: &Path, key: &str) -> Vec<RecordBatch> {
    let file = fs::File::open(table.join(key)).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|reader| reader.build());
    let reader = reader.unwrap_or_else(|error| panic!("{key}: {error}"));
    reader.map(Result::unwrap).collect()
}

pub(crate) fn read(table: &Path, key: &str) -> Vec<u8> {
    fs::read(table.join(key)).unwrap()
}

/// The version in a file's name.
pub(crate) fn version(name: &str, ending: &str) -> Option<u64> {
    let digits = name.strip_suffix(ending)?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

/// Every file below the table.
pub(crate) fn keys(table: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![table.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let key = path.strip_prefix(table).unwrap().to_str().unwrap();
                found.push(key.to_owned());
            }
        }
    }
    found
}
