//! The log of a table that is compacted and vacuumed, read without the crate: the rows that there have to be, and the
//! files that have to be there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::change::{Change, Held, Model, rows_of};
use crate::replay::{STAGE, batches, keys, read};
use crate::rows::Id;
use crate::vector::Vector;

/// A table as of a version, by the commits up to it. Data files are not looked at: those of old versions are gone.
#[derive(Debug)]
pub(crate) struct Book {
    table: PathBuf,
    /// How many commits were read.
    commits: u64,
    /// What the appends and deletions of these commits, in this order, leave.
    pub(crate) model: Model,
    /// Where each of them landed.
    pub(crate) places: BTreeMap<Id, u64>,
    /// Files by path.
    live: BTreeMap<String, Live>,
    /// Paths of all files there ever were.
    named: BTreeSet<String>,
    /// Objects of all deletion vectors there ever were.
    named_vectors: BTreeSet<String>,
    txn_ids: BTreeSet<String>,
    pub(crate) counts: Counts,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) compactions: usize,
    /// Of these, how many met deletion vectors.
    pub(crate) of_vectors: usize,
    pub(crate) vacuums: usize,
    /// Deletion vectors in objects of their own.
    pub(crate) vectors: usize,
    pub(crate) deleted: u64,
}

#[derive(Debug)]
struct Live {
    vector: Option<Vector>,
    size: u64,
}

impl Book {
    pub(crate) fn new(table: &Path) -> Self {
        Self {
            table: table.to_owned(),
            commits: 0,
            model: Model::new(),
            places: BTreeMap::new(),
            live: BTreeMap::new(),
            named: BTreeSet::new(),
            named_vectors: BTreeSet::new(),
            txn_ids: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    /// Reads on, up to `version`.
    pub(crate) fn advance(&mut self, version: u64) {
        while self.commits <= version {
            let key = format!("_delta_log/{:020}.json", self.commits);
            let bytes = read(&self.table, &key);
            self.step(std::str::from_utf8(&bytes).unwrap());
            self.commits += 1;
        }
    }

    /// The rows that there have to be, sorted.
    pub(crate) fn rows(&self) -> Vec<Held> {
        self.model.values().copied().collect()
    }

    pub(crate) fn live(&self) -> usize {
        self.live.len()
    }

    fn step(&mut self, text: &str) {
        let now = self.commits;
        let mut actions: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for line in text.lines() {
            let action: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
            let (name, value) = action.into_iter().next().unwrap();
            actions.entry(name).or_default().push(value);
        }
        let mut take = |name: &str| actions.remove(name).unwrap_or_default();
        let (info, txn) = (take("commitInfo"), take("txn"));
        let (removes, adds) = (take("remove"), take("add"));
        let txn_id = info[0]["txnId"].as_str().unwrap().to_owned();
        assert!(
            self.txn_ids.insert(txn_id),
            "version {now}: a commit landed twice"
        );
        if now == 0 {
            return;
        }
        let names: Vec<_> = actions.keys().collect();
        assert!(names.is_empty(), "version {now}: nobody wrote {names:?}");
        let changes = self.apply(&txn, info[0]["operation"].as_str().unwrap());
        if !changes {
            let mut all = removes.iter().chain(&adds);
            let rearranged = all.all(|it| it["dataChange"] == Value::Bool(false));
            assert!(rearranged, "version {now} says that rows changed");
        }
        self.exchange(&removes, &adds);
    }

    /// Does the operation of this version to the model; `false` if it changes no row.
    fn apply(&mut self, txn: &[Value], operation: &str) -> bool {
        let now = self.commits;
        let Some(txn) = txn.first() else {
            match operation {
                "OPTIMIZE" => self.counts.compactions += 1,
                "VACUUM START" => self.counts.vacuums += 1,
                "VACUUM END" => {}
                other => panic!("version {now}: nobody did {other}"),
            }
            return false;
        };
        let app = txn["appId"].as_str().unwrap();
        let id = Id {
            app: app.strip_prefix("app-").unwrap().parse().unwrap(),
            number: txn["version"].as_i64().unwrap(),
        };
        let before = self.places.insert(id, now);
        assert_eq!(before, None, "version {now}: {id:?} is there twice");
        let change = Change::beside_upkeep(id);
        assert_eq!(operation, change.name(), "version {now}");
        self.counts.deleted += change.apply(&mut self.model).deleted;
        true
    }

    /// What goes is there as it goes, and what comes was never there or has only more rows deleted.
    fn exchange(&mut self, removes: &[Value], adds: &[Value]) {
        let now = self.commits;
        let mut moved = BTreeSet::new();
        for remove in removes {
            let path = remove["path"].as_str().unwrap();
            let live = self.live.remove(path);
            let live = live.unwrap_or_else(|| panic!("version {now}: {path} is not there"));
            assert_eq!(Vector::of(remove), live.vector, "version {now}: {path}");
            let is_rewritten = remove["dataChange"] == Value::Bool(false);
            self.counts.of_vectors += usize::from(is_rewritten && live.vector.is_some());
            moved.insert(path.to_owned());
        }
        for add in adds {
            let path = add["path"].as_str().unwrap().to_owned();
            let vector = Vector::of(add);
            let is_new = self.named.insert(path.clone());
            assert!(
                is_new || (moved.contains(&path) && vector.is_some()),
                "version {now}: {path} came back"
            );
            let stored = vector.as_ref().and_then(Vector::key);
            self.counts.vectors += usize::from(stored.is_some());
            self.named_vectors.extend(stored);
            let size = add["size"].as_u64().unwrap();
            let other = self.live.insert(path, Live { vector, size });
            assert!(other.is_none(), "version {now}: a file is there twice");
        }
    }

    /// The live files hold the rows that there have to be, each of them once.
    pub(crate) fn check_files(&self) {
        let mut found = Vec::new();
        for (path, live) in &self.live {
            let part = path.split('/').next().unwrap();
            let part: i32 = part.strip_prefix("part=").unwrap().parse().unwrap();
            let size = fs::metadata(self.table.join(path)).unwrap().len();
            assert_eq!(live.size, size, "{path}");
            let gone = live.vector.as_ref().map(|it| it.rows(&self.table));
            let gone = gone.unwrap_or_default();
            let rows = batches(&self.table, path);
            let rows: Vec<_> = rows.iter().flat_map(|it| rows_of(it, Some(part))).collect();
            let rows = (0_u64..).zip(rows);
            let left = rows.filter(|(row, _)| !gone.contains(*row));
            found.extend(left.map(|(_, row)| row));
        }
        found.sort_unstable();
        assert!(found == self.rows(), "the files of the newest version");
    }

    /// Whether a commit ever named the object.
    pub(crate) fn was_named(&self, key: &str) -> bool {
        self.named.contains(key) || self.named_vectors.contains(key)
    }

    /// What lies in the table's folder beside the log and is no part of this version, and how much of it has no name.
    pub(crate) fn left_over(&self) -> (BTreeSet<String>, usize) {
        let mut found: BTreeSet<String> = keys(&self.table).into_iter().collect();
        let unnamed = |key: &String| key.rsplit('/').next().unwrap().starts_with(STAGE);
        let unnamed: Vec<_> = found.extract_if(.., |key| unnamed(key)).collect();
        for (path, live) in &self.live {
            let vector = live.vector.as_ref().and_then(Vector::key);
            for key in vector.iter().chain([path]) {
                // A vector's object may serve several files.
                assert!(self.table.join(key).exists(), "{key} is missing");
                found.remove(key);
            }
        }
        found.retain(|key| !key.starts_with("_delta_log/"));
        (found, unnamed.len())
    }
}

/// The newest version in the table's folder.
pub(crate) fn newest(table: &Path) -> u64 {
    let names = keys(table).into_iter();
    let versions = names.filter_map(|key| {
        let name = key.strip_prefix("_delta_log/")?;
        crate::replay::version(name, ".json")
    });
    versions.max().unwrap()
}
