//! The log of a changed table, read without the crate: which operation made each version, the files that are live
//! then, and the rows that there have to be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::Int64Type;
use headwater::arrow_array::{Array, RecordBatch};
use serde_json::Value;

use crate::change::{Change, Held, Model, rows_of};
use crate::replay::{STAGE, batches, keys, read, version};
use crate::rows::Id;
use crate::vector::Vector;

/// A table as of a version, by the commits up to it.
#[derive(Debug)]
pub(crate) struct Ledger {
    table: PathBuf,
    /// How many commits were read.
    commits: u64,
    /// What the operations of these commits, in this order, leave.
    pub(crate) model: Model,
    /// Where each operation landed.
    pub(crate) places: BTreeMap<Id, u64>,
    live: BTreeMap<String, Live>,
    txn_ids: BTreeSet<String>,
    /// Every data file and vector that any commit named.
    named: BTreeSet<String>,
    pub(crate) counts: Counts,
}

/// What happened on the way.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Commits that landed on top of others than the one they were planned on.
    pub(crate) rebased: usize,
    /// Commits that marked rows of a file that another one had marked since they were planned.
    pub(crate) united: usize,
    /// Deletion vectors in the log, and in objects of their own.
    pub(crate) inline: usize,
    pub(crate) stored: usize,
    pub(crate) deleted: u64,
    pub(crate) updated: u64,
    /// Operations that found nothing to do.
    pub(crate) idle: usize,
}

#[derive(Debug, Clone)]
struct Live {
    /// The version that put it there as it is.
    since: u64,
    vector: Option<Vector>,
    add: Value,
}

/// A checkpoint's or a version's files, with their vectors.
type Files = BTreeSet<(String, Option<String>)>;

impl Ledger {
    pub(crate) fn new(table: &Path) -> Self {
        Self {
            table: table.to_owned(),
            commits: 0,
            model: Model::new(),
            places: BTreeMap::new(),
            live: BTreeMap::new(),
            txn_ids: BTreeSet::new(),
            named: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    /// The table as of `version`.
    pub(crate) fn at(table: &Path, version: u64) -> Self {
        let mut ledger = Self::new(table);
        ledger.advance(version);
        ledger
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

    /// One commit: it is one operation, done once; it removes what is live, as it is, and adds what is not.
    fn step(&mut self, text: &str) {
        let now = self.commits;
        let mut actions: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for line in text.lines() {
            let action: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
            assert_eq!(action.len(), 1, "version {now}: one action a line");
            let (name, value) = action.into_iter().next().unwrap();
            actions.entry(name).or_default().push(value);
        }
        let mut take = |name: &str| actions.remove(name).unwrap_or_default();
        let (info, txn) = (take("commitInfo"), take("txn"));
        let (removes, adds) = (take("remove"), take("add"));
        if now > 0 {
            let names: Vec<_> = actions.keys().collect();
            assert!(names.is_empty(), "version {now}: nobody wrote {names:?}");
        }
        assert_eq!(info.len(), 1, "version {now}");
        let info = &info[0];
        let txn_id = info["txnId"].as_str().unwrap().to_owned();
        assert!(
            self.txn_ids.insert(txn_id),
            "version {now}: a commit landed twice"
        );
        if now == 0 {
            assert_eq!((txn.len(), removes.len(), adds.len()), (0, 0, 0));
            return;
        }
        let planned = info["readVersion"].as_u64().unwrap();
        assert!(planned < now, "version {now} was planned on {planned}");
        self.counts.rebased += usize::from(planned + 1 < now);
        self.apply(&txn, info);
        let mut moved = self.remove(&removes);
        for add in adds {
            self.add(add, planned, &mut moved);
        }
    }

    /// Does the operation of this version to the model.
    fn apply(&mut self, txn: &[Value], info: &Value) {
        let now = self.commits;
        assert_eq!(txn.len(), 1, "version {now} is no known operation");
        let app = txn[0]["appId"].as_str().unwrap();
        let id = Id {
            app: app.strip_prefix("app-").unwrap().parse().unwrap(),
            number: txn[0]["version"].as_i64().unwrap(),
        };
        let before = self.places.insert(id, now);
        assert_eq!(before, None, "version {now}: {id:?} is there twice");
        let change = Change::of(id);
        let name = Some(change.name());
        assert_eq!(info["operation"].as_str(), name, "version {now}");
        assert_eq!(
            info["isolationLevel"].as_str(),
            Some("Serializable"),
            "version {now}"
        );
        let touched = change.apply(&mut self.model);
        self.counts.deleted += touched.deleted;
        self.counts.updated += touched.updated;
        // What the operation found is what it has to find after all versions before this one.
        for (what, rows) in [
            ("numDeletedRows", touched.deleted),
            ("numUpdatedRows", touched.updated),
        ] {
            let said = info["operationMetrics"].get(what);
            if let Some(said) = said.filter(|_| name != Some("WRITE")) {
                assert_eq!(
                    said.as_str(),
                    Some(rows.to_string().as_str()),
                    "version {now}: {what} of {id:?}"
                );
                self.counts.idle += usize::from(rows == 0);
            }
        }
    }

    /// Takes files out and hands them back.
    fn remove(&mut self, removes: &[Value]) -> BTreeMap<String, Live> {
        let now = self.commits;
        let mut gone = BTreeMap::new();
        for remove in removes {
            let path = remove["path"].as_str().unwrap();
            let live = self.live.remove(path);
            let live = live.unwrap_or_else(|| panic!("version {now}: {path} is not there"));
            assert_eq!(
                Vector::of(remove),
                live.vector,
                "version {now}: the vector of {path}"
            );
            gone.insert(path.to_owned(), live);
        }
        gone
    }

    /// Adds a new file, or one of `moved`, which were removed in the same commit, with more rows deleted.
    fn add(&mut self, add: Value, planned: u64, moved: &mut BTreeMap<String, Live>) {
        let now = self.commits;
        let path = add["path"].as_str().unwrap().to_owned();
        let vector = Vector::of(&add);
        match moved.remove(&path) {
            Some(old) => {
                let vector = vector.as_ref().unwrap();
                let rows = vector.rows(&self.table);
                let before = old.vector.map(|old| old.rows(&self.table));
                let before = before.unwrap_or_default();
                assert!(
                    before.is_subset(&rows) && before != rows,
                    "version {now}: {path} got rows back"
                );
                self.counts.united += usize::from(planned < old.since);
                match vector.key() {
                    None => self.counts.inline += 1,
                    Some(_) => self.counts.stored += 1,
                }
            }
            None => {
                assert_eq!(vector, None, "version {now}: {path} is new");
                let is_new = self.named.insert(path.clone());
                assert!(is_new, "version {now}: {path} was there before");
            }
        }
        self.named.extend(vector.as_ref().and_then(Vector::key));
        let live = Live {
            since: now,
            vector,
            add,
        };
        let other = self.live.insert(path.clone(), live);
        assert!(other.is_none(), "version {now}: {path} is there twice");
    }

    /// The files hold the rows that there have to be, each of them once.
    pub(crate) fn check_files(&self) {
        let mut found = Vec::new();
        for (path, live) in &self.live {
            let part = path
                .split('/')
                .next()
                .and_then(|it| it.strip_prefix("part="));
            let part: i32 = part.unwrap().parse().unwrap();
            let add = &live.add;
            let said = add["partitionValues"]["part"].as_str().unwrap();
            assert_eq!(said, part.to_string(), "{path}");
            let size = fs::metadata(self.table.join(path)).unwrap().len();
            assert_eq!(add["size"].as_u64(), Some(size), "{path}");
            assert_eq!(add["dataChange"], Value::Bool(true), "{path}");
            let gone = live.vector.as_ref().map(|it| it.rows(&self.table));
            let gone = gone.unwrap_or_default();
            let rows = batches(&self.table, path);
            let rows: Vec<_> = rows.iter().flat_map(|it| rows_of(it, Some(part))).collect();
            let stats: Value = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
            assert_eq!(
                stats["numRecords"].as_u64(),
                Some(rows.len() as u64),
                "{path}"
            );
            assert!(gone.max() < Some(rows.len() as u64), "{path}");
            let rows = (0_u64..).zip(rows);
            let left = rows.filter(|(row, _)| !gone.contains(*row));
            found.extend(left.map(|(_, row)| row));
        }
        found.sort_unstable();
        let version = self.commits - 1;
        assert!(found == self.rows(), "the files of version {version}");
    }

    fn files(&self) -> Files {
        let files = self.live.iter().map(|(path, live)| {
            let text = live.vector.as_ref().map(|vector| vector.text.clone());
            (path.clone(), text)
        });
        files.collect()
    }

    /// How far each application is.
    fn watermarks(&self) -> BTreeMap<String, i64> {
        let places = self.places.keys();
        places
            .map(|id| (format!("app-{}", id.app), id.number))
            .collect()
    }
}

/// What lies in the table's folder.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    /// The newest version.
    pub(crate) version: u64,
    /// Versions of checkpoints.
    pub(crate) checkpoints: Vec<u64>,
    /// Data files and vectors.
    data: BTreeSet<String>,
    /// Files without a final name.
    pub(crate) stages: usize,
}

impl Folder {
    pub(crate) fn of(table: &Path) -> Self {
        let mut found = Self::default();
        let mut versions = BTreeSet::new();
        for key in keys(table) {
            let (folder, name) = key.rsplit_once('/').unwrap_or(("", &key));
            if name.starts_with(STAGE) {
                found.stages += 1;
            } else if folder.starts_with("part=") || name.starts_with("deletion_vector_") {
                found.data.insert(key);
            } else if folder == "_delta_log" && name != "_last_checkpoint" {
                match version(name, ".json") {
                    Some(version) => drop(versions.insert(version)),
                    None => {
                        let version = version(name, ".checkpoint.parquet");
                        let version = version.unwrap_or_else(|| panic!("{key}"));
                        found.checkpoints.push(version);
                    }
                }
            } else {
                assert_eq!(name, "_last_checkpoint", "{key} does not belong here");
            }
        }
        found.checkpoints.sort_unstable();
        found.version = versions.len() as u64 - 1;
        assert_eq!(versions.last(), Some(&found.version), "versions have a gap");
        found
    }

    /// How many data files and vectors no commit names; those that are named are all there.
    pub(crate) fn orphans(&self, ledger: &Ledger) -> usize {
        let missing: Vec<_> = ledger.named.difference(&self.data).collect();
        assert!(missing.is_empty(), "named, but not there: {missing:?}");
        self.data.len() - ledger.named.len()
    }

    /// Every checkpoint says what the commits up to it say.
    pub(crate) fn check_checkpoints(&self, table: &Path) {
        let mut ledger = Ledger::new(table);
        for &version in &self.checkpoints {
            assert!(version <= self.version, "a checkpoint of no version");
            ledger.advance(version);
            let key = format!("_delta_log/{version:020}.checkpoint.parquet");
            let (mut files, mut txns) = (Files::new(), BTreeMap::new());
            for batch in batches(table, &key) {
                read_files(&batch, &mut files);
                read_txns(&batch, &mut txns);
            }
            assert_eq!(files, ledger.files(), "checkpoint {version}");
            assert_eq!(txns, ledger.watermarks(), "checkpoint {version}");
        }
    }
}

fn read_files(batch: &RecordBatch, files: &mut Files) {
    let add = batch.column_by_name("add").unwrap().as_struct();
    let paths = add.column_by_name("path").unwrap().as_string::<i32>();
    let vectors = add.column_by_name("deletionVector");
    let vectors = vectors.map(|column| column.as_struct());
    for row in (0..batch.num_rows()).filter(|&row| add.is_valid(row)) {
        let vector = vectors.filter(|it| it.is_valid(row)).map(|vector| {
            let text = vector.column_by_name("pathOrInlineDv").unwrap();
            text.as_string::<i32>().value(row).to_owned()
        });
        let path = paths.value(row).to_owned();
        assert!(files.insert((path, vector)), "a file is there twice");
    }
}

fn read_txns(batch: &RecordBatch, txns: &mut BTreeMap<String, i64>) {
    let Some(txn) = batch.column_by_name("txn") else {
        return;
    };
    let txn = txn.as_struct();
    let app = txn.column_by_name("appId").unwrap().as_string::<i32>();
    let number = txn.column_by_name("version").unwrap();
    let number = number.as_primitive::<Int64Type>();
    for row in (0..batch.num_rows()).filter(|&row| txn.is_valid(row)) {
        txns.insert(app.value(row).to_owned(), number.value(row));
    }
}
