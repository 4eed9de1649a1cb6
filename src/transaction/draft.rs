//! What is to become one commit: changed files, what was read to decide on them, and the state they lead to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roaring::RoaringTreemap;

use crate::data::reader::deleted_rows;
use crate::data::writer::Change;
use crate::error::{Code, Error, Result};
use crate::log::commit;
use crate::log::key::canonical_path;
use crate::predicate::Predicate;
use crate::protocol::action::{
    Action, Add, AddCdc, CommitInfo, DeletionVectorDescriptor, DomainMetadata, Metadata, Protocol,
    Remove,
};
use crate::protocol::deletion_vector;
use crate::snapshot::Snapshot;
use crate::storage::Storage;
use crate::transaction::Operation;

/// How many tombstones of one commit say which values their files held.
const BOUNDED_TOMBSTONES_MAX: usize = 10_000;

/// Rows, by what they have in common.
#[derive(Debug, Clone)]
pub(crate) enum ReadRows {
    /// All.
    All,
    /// Those for which this is true.
    Matching(Predicate),
}

/// Rows whose change by another writer would change what is staged.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    pub(crate) rows: ReadRows,
    /// What they were read from: columns are those of its schema.
    pub(crate) seen: Snapshot,
    /// Whether it also matters that such rows go. Rows that are staged to go themselves need no mention.
    pub(crate) removals: bool,
}

/// Rows of a live file that go by deletion vector.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    /// The file, as the base has it; or as it was staged.
    pub(crate) file: Add,
    /// Whether the file is staged itself, so that nothing of it is to be removed.
    is_new: bool,
    physical_rows: u64,
    /// Disjoint from what the file's vector deletes already.
    pub(crate) rows: RoaringTreemap,
}

/// Files by their canonical path: a path is live at most once.
#[derive(Debug, Default)]
pub(crate) struct FileChanges {
    adds: BTreeMap<String, Add>,
    pub(crate) removes: BTreeMap<String, Add>,
    pub(crate) marks: BTreeMap<String, Mark>,
    cdcs: Vec<AddCdc>,
}

impl FileChanges {
    /// How many files are added, removed or marked.
    pub(crate) fn len(&self) -> usize {
        self.adds.len() + self.removes.len() + self.marks.len()
    }
}

/// Files that came or went as wholes, by path and deletion vector, and whether they came or went.
pub(crate) type Untold = BTreeMap<(String, Option<String>), (Change, Add)>;

/// Rows that a draft is about.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Written into data files: new ones, changed ones, and those that had to be copied.
    pub(crate) written: u64,
    pub(crate) deleted: u64,
    pub(crate) updated: u64,
    pub(crate) inserted: u64,
}

/// Which of a draft's applications' transactions have landed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Landed {
    None,
    All,
    /// These applications' have, and those have not.
    Some {
        landed: String,
        missing: String,
    },
}

/// Changes staged on a snapshot.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) base: Snapshot,
    /// The base with everything staged so far, but for what was staged since [`settle`](Self::settle).
    state: Snapshot,
    pub(crate) operation: Operation,
    /// Rows that the verbs wrote and changed.
    pub(crate) counts: Counts,
    pub(crate) files: FileChanges,
    pub(crate) reads: Vec<Read>,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) domains: BTreeMap<String, DomainMetadata>,
    pub(crate) txns: BTreeMap<String, i64>,
    /// Applications whose progress the draft rests on.
    pub(crate) txns_read: BTreeSet<String>,
    data_change: bool,
    /// Whether the table has a change feed, so that it is kept what the feed has not been told.
    notes_changes: bool,
    /// What the log tells the change feed: all of it, as long as there are no files of the feed.
    untold: Untold,
    /// Whether files come back that had been removed.
    pub(crate) revives: bool,
    /// Whether a version is made although nothing changes.
    always: bool,
}

impl Draft {
    /// Nothing staged yet on `base`.
    pub(crate) fn on(base: Snapshot, operation: &'static str) -> Self {
        Self {
            notes_changes: base.has_change_feed(),
            untold: Untold::new(),
            state: base.clone(),
            base,
            operation: Operation::new(operation),
            counts: Counts::default(),
            files: FileChanges::default(),
            reads: Vec::new(),
            metadata: None,
            protocol: None,
            domains: BTreeMap::new(),
            txns: BTreeMap::new(),
            txns_read: BTreeSet::new(),
            data_change: true,
            revives: false,
            always: false,
        }
    }

    /// What a verb is planned against: the base with what the verbs before it have staged.
    pub(crate) fn state(&self) -> &Snapshot {
        &self.state
    }

    /// Says that rows like these were looked for: more of them would change what is staged.
    pub(crate) fn reads(&mut self, rows: ReadRows) {
        self.read(self.state.clone(), rows, false);
    }

    /// As [`reads`](Self::reads), for rows that were found and stay: that they go would change what is staged, too.
    pub(crate) fn depends_on(&mut self, rows: ReadRows) {
        self.read(self.state.clone(), rows, true);
    }

    /// As [`depends_on`](Self::depends_on), for rows of the base, which were read before anything was staged.
    pub(crate) fn depends_on_base(&mut self, rows: ReadRows) {
        self.read(self.base.clone(), rows, true);
    }

    fn read(&mut self, seen: Snapshot, rows: ReadRows, removals: bool) {
        self.reads.push(Read {
            rows,
            seen,
            removals,
        });
    }

    /// Adds a data file. One that was staged to go stays then: a commit cannot both add and remove a file with the same
    /// deletion vector.
    ///
    /// Spec: [Add File and Remove File](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#add-file-and-remove-file).
    pub(crate) fn add(&mut self, add: Add) {
        self.note(Change::Insert, &add);
        self.add_told(add);
    }

    /// As [`add`](Self::add), where the change feed is told otherwise of the rows that are new.
    pub(crate) fn add_told(&mut self, add: Add) {
        let path = canonical_path(&add.path).into_owned();
        let is_same = |gone: &Add| vector_id(gone) == vector_id(&add);
        if self.files.removes.get(&path).is_some_and(is_same) {
            self.files.removes.remove(&path);
            return;
        }
        self.files.adds.insert(path, add);
    }

    /// Removes a live file of [`state`](Self::state) as a whole.
    pub(crate) fn remove(&mut self, file: Add) {
        self.note(Change::Delete, &file);
        self.remove_told(file);
    }

    /// As [`remove`](Self::remove), where the change feed is told otherwise of the rows that go.
    pub(crate) fn remove_told(&mut self, file: Add) {
        let path = canonical_path(&file.path).into_owned();
        let was_new = self.files.adds.remove(&path).is_some();
        match self.files.marks.remove(&path) {
            Some(mark) if mark.is_new => {}
            Some(mark) => drop(self.files.removes.insert(path, mark.file)),
            None if was_new => {}
            None => drop(self.files.removes.insert(path, file)),
        }
    }

    /// Keeps that the rows of a file came or went, unless they came and went.
    fn note(&mut self, change: Change, file: &Add) {
        if !self.notes_changes {
            return;
        }
        let key = (canonical_path(&file.path).into_owned(), vector_id(file));
        match self.untold.remove(&key) {
            Some((before, _)) if before != change => {}
            _ => drop(self.untold.insert(key, (change, file.clone()))),
        }
    }

    /// Whether it is kept what the change feed has not been told.
    pub(crate) fn notes_changes(&self) -> bool {
        self.notes_changes
    }

    /// Whether a file of which rows went before goes as a whole, and the change feed has not been told of it.
    pub(crate) fn drops_vectors(&self) -> bool {
        let gone = |(change, add): &(Change, Add)| {
            *change == Change::Delete && add.deletion_vector.is_some()
        };
        self.data_change && self.untold.values().any(gone)
    }

    /// What the change feed has not been told, to be told in files: where a version has files of the feed its readers see
    /// nothing else.
    ///
    /// Spec: [Change Data Files](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#change-data-files).
    pub(crate) fn take_untold(&mut self) -> Untold {
        match self.data_change {
            true => std::mem::take(&mut self.untold),
            false => Untold::new(),
        }
    }

    /// Deletes rows of a live file of [`state`](Self::state) by deletion vector. The change feed is told of them in
    /// files. `rows` are positions among the
    /// file's `physical_rows`, and none that the file's present vector deletes. A file of which nothing is left goes.
    pub(crate) fn mark(&mut self, file: Add, physical_rows: u64, rows: RoaringTreemap) {
        if rows.is_empty() {
            return;
        }
        let path = canonical_path(&file.path).into_owned();
        if let Some(mark) = self.files.marks.get_mut(&path) {
            mark.rows |= rows;
            return;
        }
        let staged = self.files.adds.remove(&path);
        let is_new = staged.is_some();
        let file = staged.unwrap_or(file);
        let mark = Mark {
            file,
            is_new,
            physical_rows,
            rows,
        };
        self.files.marks.insert(path, mark);
    }

    /// The data files that are added.
    pub(crate) fn adds(&self) -> impl Iterator<Item = &Add> {
        self.files.adds.values()
    }

    /// A data file that is added, if one is.
    pub(crate) fn first_add(&self) -> Option<&Add> {
        self.adds().next()
    }

    /// Adds a file of the change feed.
    pub(crate) fn add_cdc(&mut self, cdc: AddCdc) {
        self.files.cdcs.push(cdc);
    }

    /// The files of the change feed that are added.
    pub(crate) fn cdcs(&self) -> impl Iterator<Item = &AddCdc> {
        self.files.cdcs.iter()
    }

    /// Whether the change feed of this commit is in files: then it tells all that there is to tell.
    pub(crate) fn has_change_files(&self) -> bool {
        !self.files.cdcs.is_empty()
    }

    /// Replaces the table's metadata, from [`state`](Self::state)'s.
    pub(crate) fn set_metadata(&mut self, metadata: Metadata) {
        self.metadata = Some(metadata);
    }

    /// Replaces the table's protocol.
    pub(crate) fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = Some(protocol);
    }

    /// Makes the draft an application's transaction `number`: it lands at most once.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if it is one of this application already: only one of the two numbers
    /// could be kept, and with the lower one rows would be written again.
    pub(crate) fn set_txn(&mut self, app_id: &str, number: i64) -> Result<()> {
        if self.txns.insert(app_id.to_owned(), number).is_none() {
            return Ok(());
        }
        let message =
            "two verbs of one commit are transactions of one application; commit them one by one";
        Err(Error::invalid(Code::InvalidArgument, message).with("app_id", app_id))
    }

    /// Says that the draft rests on how far an application has come: any progress of it contradicts the draft.
    pub(crate) fn reads_txn(&mut self, app_id: &str) {
        self.txns_read.insert(app_id.to_owned());
    }

    /// Whether the applications' transactions of the draft are in the table already.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if some are and others are not: to commit would double rows, and not to
    /// commit would lose some.
    pub(crate) fn is_applied(&self) -> Result<bool> {
        let last = |app_id: &str| self.base.app_version(app_id);
        match self.landed(last) {
            Landed::None => Ok(false),
            Landed::All => Ok(true),
            Landed::Some { landed, missing } => {
                let message = "of the applications' transactions of this commit some are in the table and others are \
                               not; commit those that are missing by themselves";
                Err(Error::invalid(Code::InvalidArgument, message)
                    .with("landed", landed)
                    .with("missing", missing))
            }
        }
    }

    /// Which of the applications' transactions have landed, where `last` has the highest number of each application.
    pub(crate) fn landed(&self, last: impl Fn(&str) -> Option<i64>) -> Landed {
        let has_landed = |txn: &(&String, &i64)| last(txn.0).is_some_and(|last| *txn.1 <= last);
        let (landed, missing): (Vec<_>, Vec<_>) = self.txns.iter().partition(has_landed);
        let names = |txns: Vec<(&String, &i64)>| {
            let names: Vec<&str> = txns
                .into_iter()
                .map(|(app_id, _)| app_id.as_str())
                .collect();
            names.join(", ")
        };
        match (landed.is_empty(), missing.is_empty()) {
            (true, _) => Landed::None,
            (false, true) => Landed::All,
            (false, false) => Landed::Some {
                landed: names(landed),
                missing: names(missing),
            },
        }
    }

    /// Adds to one of `operationMetrics`.
    pub(crate) fn metric(&mut self, name: &'static str, value: u64) {
        let sum = self.operation.metrics.entry(name).or_default();
        *sum = sum.saturating_add(value);
    }

    /// Sets one of `operationParameters`, as JSON text.
    pub(crate) fn parameter(&mut self, name: &str, json: String) {
        self.operation.parameters.insert(name.to_owned(), json);
    }

    /// Says that no row changes: files only hold them otherwise. Who follows the table is not told.
    ///
    /// Spec: [Add File and Remove File](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#add-file-and-remove-file),
    /// `dataChange`.
    pub(crate) fn rearranges(&mut self) {
        self.data_change = false;
    }

    /// Says that files come back that had been removed: a vacuum that starts meanwhile may delete them.
    pub(crate) fn revives(&mut self) {
        self.revives = true;
    }

    /// Makes a version even if nothing changes, as other engines do for writes without rows.
    pub(crate) fn commit_always(&mut self) {
        self.always = true;
    }

    /// Whether anything of the table is changed.
    pub(crate) fn has_changes(&self) -> bool {
        let files = &self.files;
        let no_files = files.adds.is_empty() && files.removes.is_empty() && files.marks.is_empty();
        let no_state = self.metadata.is_none() && self.protocol.is_none();
        !(no_files && no_state && self.domains.is_empty())
    }

    /// Whether there is nothing to commit.
    pub(crate) fn is_empty(&self) -> bool {
        !self.has_changes() && self.txns.is_empty() && !self.always
    }

    /// Files and bytes that the draft adds, and files that it removes.
    pub(crate) fn sums(&self) -> (u64, u64, u64) {
        let bytes = self.files.adds.values().map(|add| add.size.unsigned_abs());
        let files = self.files.adds.len() as u64;
        (files, bytes.sum(), self.files.removes.len() as u64)
    }

    /// Whether the draft only adds files and rests on nothing it read.
    pub(crate) fn is_blind_append(&self) -> bool {
        let removes = !self.files.removes.is_empty() || !self.files.marks.is_empty();
        let changes_state =
            self.metadata.is_some() || self.protocol.is_some() || !self.domains.is_empty();
        !removes && !changes_state && self.reads.is_empty()
    }

    /// Brings [`state`](Self::state) up to what is staged, so that the next verb sees it. Deletion vectors are part
    /// of it by value; nothing is written.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if what is staged contradicts itself.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        if !self.has_changes() {
            // What was staged may have been taken back.
            self.state = self.base.clone();
            return Ok(());
        }
        let mut vectors = BTreeMap::new();
        for (path, mark) in &self.files.marks {
            let all = mark.all_rows(self.base.storage()).await?;
            vectors.insert(path.clone(), inline(&all)?);
        }
        let version = self.base.next_version()?;
        let mut actions = vec![Action::CommitInfo(self.commit_info("staged", 0))];
        actions.extend(self.actions(0, &vectors));
        let bytes = commit::encode(version, &actions)?;
        let commit = Arc::new(commit::decode(version, &bytes)?);
        self.state = self.base.followed_by(&commit)?;
        if self.files.len() == 0 {
            self.notes_changes |= self.state.has_change_feed();
        }
        Ok(())
    }

    /// The actions other than `commitInfo` and `txn`. `vectors`: what the marked files delete from now on.
    pub(crate) fn actions(
        &self,
        now_millis: i64,
        vectors: &BTreeMap<String, DeletionVectorDescriptor>,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        actions.extend(self.protocol.clone().map(Action::Protocol));
        actions.extend(self.metadata.clone().map(Action::Metadata));
        actions.extend(self.domains.values().cloned().map(Action::DomainMetadata));
        let removed = |file: &Add| Action::Remove(self.removed(file, now_millis));
        actions.extend(self.files.removes.values().map(removed));
        for (path, mark) in &self.files.marks {
            if !mark.is_new {
                actions.push(removed(&mark.file));
            }
            let vector = vectors.get(path);
            let rows_left =
                vector.is_some_and(|it| it.cardinality.unsigned_abs() < mark.physical_rows);
            if rows_left {
                actions.push(Action::Add(self.marked(mark, vector.cloned())));
            }
        }
        let added = |add: &Add| {
            let data_change = self.data_change;
            let add = add.clone();
            Action::Add(Add { data_change, ..add })
        };
        actions.extend(self.files.adds.values().map(added));
        actions.extend(self.files.cdcs.iter().cloned().map(Action::Cdc));
        actions
    }

    /// Whether tombstones say which values their files held. Other writers tell by that whether rows went that they have
    /// read; where only files went, nobody asks, and of very many the log would be mostly that.
    fn says_bounds(&self) -> bool {
        let tombstones = self.files.removes.len() + self.files.marks.len();
        self.data_change && tombstones <= BOUNDED_TOMBSTONES_MAX
    }

    /// Spec: [Add File and Remove File](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#add-file-and-remove-file):
    /// a tombstone names the deletion vector that the file had.
    fn removed(&self, file: &Add, now_millis: i64) -> Remove {
        Remove {
            path: file.path.clone(),
            deletion_timestamp: Some(now_millis),
            data_change: self.data_change,
            extended_file_metadata: Some(true),
            partition_values: Some(file.partition_values.clone()),
            size: Some(file.size),
            stats: file.stats.clone().filter(|_| self.says_bounds()),
            tags: file.tags.clone(),
            deletion_vector: file.deletion_vector.clone(),
            base_row_id: file.base_row_id,
            default_row_commit_version: file.default_row_commit_version,
            unknown: BTreeMap::new(),
        }
    }

    /// The file with its new vector. Bounds are wide from now on: they may speak of rows that are gone.
    ///
    /// Spec: [Writer Requirements for Deletion Vectors](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#writer-requirement-for-deletion-vectors).
    fn marked(&self, mark: &Mark, vector: Option<DeletionVectorDescriptor>) -> Add {
        Add {
            deletion_vector: vector,
            stats: Some(wide_statistics(
                mark.file.stats.as_deref(),
                mark.physical_rows,
            )),
            data_change: self.data_change,
            ..mark.file.clone()
        }
    }

    /// The `commitInfo` of an attempt.
    pub(crate) fn commit_info(&self, txn_id: &str, now_millis: i64) -> CommitInfo {
        let level = self.base.properties().isolation_level;
        CommitInfo {
            isolation_level: Some(level.as_str().to_owned()),
            is_blind_append: Some(self.is_blind_append()),
            read_version: i64::try_from(self.base.version()).ok(),
            ..self.operation.commit_info(txn_id, now_millis)
        }
    }
}

impl Mark {
    /// What the file deletes, old and new.
    pub(crate) async fn all_rows(&self, storage: &Storage) -> Result<RoaringTreemap> {
        let vector = self.file.deletion_vector.as_ref();
        let old = deleted_rows(storage, vector).await?;
        Ok(old.unwrap_or_default() | &self.rows)
    }
}

/// What tells a file from the same file with other rows deleted.
fn vector_id(file: &Add) -> Option<String> {
    let vector = file.deletion_vector.as_ref();
    vector.map(DeletionVectorDescriptor::unique_id)
}

/// A vector as part of its descriptor.
fn inline(rows: &RoaringTreemap) -> Result<DeletionVectorDescriptor> {
    let data = deletion_vector::encode(rows);
    let too_large = || Error::invalid(Code::LimitExceeded, "a deletion vector is too large");
    Ok(DeletionVectorDescriptor {
        storage_type: "i".to_owned(),
        path_or_inline_dv: deletion_vector::inline_text(&data),
        offset: None,
        size_in_bytes: i32::try_from(data.len()).map_err(|_| too_large())?,
        cardinality: i64::try_from(rows.len()).map_err(|_| too_large())?,
    })
}

/// Statistics that hold for a file with a deletion vector: the exact number of physical rows, and bounds that say
/// that they are wide.
fn wide_statistics(stats: Option<&str>, physical_rows: u64) -> String {
    let parsed = stats.and_then(|stats| {
        serde_json::from_str::<BTreeMap<&str, &serde_json::value::RawValue>>(stats).ok()
    });
    let mut text = format!("{{\"numRecords\":{physical_rows}");
    for (name, value) in parsed.iter().flatten() {
        if !matches!(*name, "numRecords" | "tightBounds") {
            text.push_str(&format!(
                ",{}:{}",
                serde_json::Value::from(*name),
                value.get()
            ));
        }
    }
    text.push_str(",\"tightBounds\":false}");
    text
}
