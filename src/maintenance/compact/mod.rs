//! Compaction: many small files become few, rows that are deleted go, and not one other row is lost, doubled or changed.
//!
//! | file | what it knows |
//! | --- | --- |
//! | [`mod@choose`] | which files are rewritten |
//! | [`mod@rewrite`] | files to fewer files, with the proof that they hold the same rows |
//! | [`mod@sort`] | the order of rows that a table declares |
//!
//! A commit says that no data changed (`dataChange` is false), so that whoever follows the table is not told of it.
//! Before it is committed, what was written is read back from storage: row count and an order-free fingerprint of all
//! rows must be those of the inputs without their deleted rows.

mod choose;
mod rewrite;
mod sort;

use std::collections::{BTreeMap, BTreeSet};
use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::TryStreamExt;
use futures::future::BoxFuture;

use crate::data::writer::WriterOptions;
use crate::error::{Code, Result};
use crate::log::checkpoint::{ColumnReader, FileColumns, FileText, StatsWanted};
use crate::log::key::canonical_path;
use crate::maintenance::compact::choose::{Candidate, Group, Wanted, choose, is_small};
use crate::maintenance::compact::rewrite::{Rewritten, TAG_FULL, rewrite};
use crate::operation::{Verb, carry_out_one};
use crate::protocol::Version;
use crate::protocol::action::{Add, DeletionVectorDescriptor};
use crate::protocol::schema::PrimitiveType;
use crate::snapshot::Snapshot;
use crate::table::Table;
use crate::transaction::vacuum::grace_millis;
use crate::transaction::{CommitStatus, Draft};

/// How many bytes are rewritten for one commit, about: what a lost race costs, at most.
const COMMIT_BYTES: u64 = 4 << 30;
/// How many files go with one commit, about: the log holds a line for each, and this process a struct.
const COMMIT_FILES: usize = 20_000;
/// How many commits one run makes at most; each one leaves less to do.
const COMMITS_MAX: usize = 10_000;
/// How often a commit is made half as large because the last one was in vain.
const HALVINGS_MAX: u32 = 8;

/// Makes few files of many; await it. See [`Table::compact`].
#[derive(Debug, Clone)]
#[must_use = "nothing happens until it is awaited"]
pub struct Compact {
    table: Table,
    target_bytes: Option<u64>,
    commit_bytes: u64,
    files_min: usize,
    /// Bytes of data files that were read and written, whatever became of them.
    moved: Arc<AtomicU64>,
}

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Compaction {
    /// The last version it made; `None` if there was nothing to do.
    pub version: Option<Version>,
    /// Files that went.
    pub files_removed: u64,
    /// Files that came in their place.
    pub files_added: u64,
    /// Bytes that went.
    pub bytes_removed: u64,
    /// Bytes that came in their place.
    pub bytes_added: u64,
    /// Rows that were written again.
    pub rows: u64,
}

impl Table {
    /// Makes few files of many small ones, partition by partition, and drops rows that are deleted by deletion vectors.
    /// No row changes; a second run finds nothing to do.
    ///
    /// If the table's property `headwater.sortColumns` names columns, with commas between them, each file that is written
    /// is sorted by them, ascending and nulls first, as its footer says.
    ///
    /// Appends go on meanwhile. A concurrent commit that removes or changes an input makes only what rests on it be
    /// done again. Memory is bounded; older versions stay readable until they are vacuumed.
    ///
    /// ```
    /// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use headwater::protocol::schema::{DataType, Field, Schema};
    /// # use headwater::arrow_array::{Int64Array, RecordBatch};
    /// # use std::sync::Arc;
    /// # let ids = |ids: Vec<i64>| {
    /// #     let column = Arc::new(Int64Array::from(ids)) as _;
    /// #     RecordBatch::try_from_iter([("id", column)]).unwrap()
    /// # };
    /// # let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
    /// # let table = headwater::Table::create("memory:///compact-example", schema).await?;
    /// for id in 0..10 {
    ///     table.append(ids(vec![id])).await?;
    /// }
    /// let done = table.compact().await?;
    /// assert_eq!((done.files_removed, done.files_added, done.rows), (10, 1, 10));
    /// assert_eq!(table.compact().await?.version, None);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    ///
    /// When awaited: [`Corrupt`](crate::ErrorKind::Corrupt) if a file is damaged, or if what was written does not hold
    /// the rows that it must; [`Invalid`](crate::ErrorKind::Invalid) if the table is to be sorted by what it has not; [`Conflict`](crate::ErrorKind::Conflict) if concurrent commits kept changing the inputs;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) and [`Storage`](crate::ErrorKind::Storage).
    pub fn compact(&self) -> Compact {
        Compact {
            table: self.clone(),
            target_bytes: None,
            commit_bytes: COMMIT_BYTES,
            files_min: 2,
            moved: Arc::default(),
        }
    }
}

impl Compact {
    /// About how large files are to become, in bytes. Unset: the property `delta.targetFileSize`, else 128 MiB.
    pub fn target_file_bytes(mut self, bytes: u64) -> Self {
        self.target_bytes = Some(bytes.max(1));
        self
    }

    /// About how many bytes are rewritten for one commit; 4 GiB unless set. It is what a lost race costs, at most.
    pub fn commit_bytes(mut self, bytes: u64) -> Self {
        self.commit_bytes = bytes;
        self
    }

    /// How many small files of a partition make it worth the while; 2 unless set.
    pub fn from_files(mut self, files: usize) -> Self {
        self.files_min = files;
        self
    }

    async fn run(self) -> Result<Compaction> {
        let mut done = Compaction::default();
        for _ in 0..COMMITS_MAX {
            let step = self.one_commit().await?;
            if step.version.is_none() {
                break;
            }
            done.plus(step);
        }
        Ok(done)
    }

    /// As much as one commit takes.
    pub(super) async fn one_commit(&self) -> Result<Compaction> {
        let mut step = Step {
            options: self.clone(),
            rewritten: Vec::new(),
            lost: 0,
            touched: BTreeSet::new(),
        };
        let commit = carry_out_one(&mut step).await?;
        let mut done = Compaction::default();
        if commit.status != CommitStatus::Committed {
            return Ok(done);
        }
        done.version = Some(commit.version);
        for rewritten in &step.rewritten {
            done.files_removed += rewritten.inputs.len() as u64;
            done.files_added += rewritten.outputs.len() as u64;
            done.bytes_removed += bytes(&rewritten.inputs);
            done.bytes_added += bytes(&rewritten.outputs);
            done.rows += rewritten.rows;
        }
        Ok(done)
    }

    /// Bytes of data files that were read and written since this was made, in vain or not.
    pub(super) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// How many groups of files would become fewer.
    pub(super) async fn groups(&self, state: &Snapshot) -> Result<usize> {
        let wanted = self.wanted(state);
        let (_, live) = live_files(state, wanted, &BTreeSet::new()).await?;
        Ok(choose(live.candidates, wanted).len())
    }

    fn wanted(&self, state: &Snapshot) -> Wanted {
        let of_table = || WriterOptions::of(state.properties()).target_file_bytes as u64;
        Wanted {
            target_bytes: self.target_bytes.unwrap_or_else(of_table),
            commit_bytes: self.commit_bytes,
            commit_files: COMMIT_FILES,
            files_min: self.files_min,
        }
    }
}

impl Compaction {
    /// Adds what came after.
    pub(super) fn plus(&mut self, later: Self) {
        self.version = later.version.or(self.version);
        self.files_removed += later.files_removed;
        self.files_added += later.files_added;
        self.bytes_removed += later.bytes_removed;
        self.bytes_added += later.bytes_added;
        self.rows += later.rows;
    }
}

fn bytes(files: &[Add]) -> u64 {
    files.iter().map(|add| add.size.unsigned_abs()).sum()
}

impl IntoFuture for Compact {
    type Output = Result<Compaction>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// One commit of a compaction. What was rewritten is kept over lost races, as long as its inputs are what they were, and
/// lands before anything else is rewritten. What was lost is planned again smaller, without the files that were touched.
#[derive(Debug)]
struct Step {
    options: Compact,
    rewritten: Vec<Rewritten>,
    /// How often all of the work was in vain.
    lost: u32,
    /// Inputs that concurrent commits touched: they are likely to do so again.
    touched: BTreeSet<String>,
}

impl Step {
    async fn stage_files(&mut self, draft: &mut Draft) -> Result<()> {
        let mut wanted = self.options.wanted(draft.state());
        let inputs = self.rewritten.iter().flat_map(|done| &done.inputs);
        let watched = inputs.map(|input| canonical_path(&input.path).into_owned());
        let (state, live) = live_files(draft.state(), wanted, &watched.collect()).await?;
        let had_work = !self.rewritten.is_empty();
        self.keep_what_holds(&state, &live);
        if self.rewritten.is_empty() {
            if had_work {
                self.lost = self.lost.saturating_add(1);
            }
            wanted.commit_bytes >>= self.lost.min(HALVINGS_MAX);
            let mut files = live.candidates;
            files.retain(|file| !self.touched.contains(&*canonical_path(&file.path)));
            for inputs in load(&state, choose(files, wanted)).await? {
                self.rewrite(&state, inputs, wanted.target_bytes).await?;
            }
        }
        draft.rearranges();
        for done in &self.rewritten {
            for input in &done.inputs {
                draft.remove(input.clone());
            }
            for output in &done.outputs {
                draft.add(output.clone());
            }
            draft.counts.written += done.rows;
            draft.metric("numRemovedFiles", done.inputs.len() as u64);
            draft.metric("numRemovedBytes", bytes(&done.inputs));
            draft.metric("numAddedFiles", done.outputs.len() as u64);
            draft.metric("numAddedBytes", bytes(&done.outputs));
        }
        draft.parameter("predicate", "[]".to_owned());
        draft.parameter("auto", "false".to_owned());
        Ok(())
    }

    /// Drops what was rewritten of files that are not what they were.
    fn keep_what_holds(&mut self, state: &Snapshot, live: &LiveFiles) {
        let now = state.environment().now_millis();
        // Vacuum does not wait for ever for files that no commit names: they are soon as old as a writer may get.
        let oldest = now.saturating_sub(grace_millis(state) / 2);
        let touched = &mut self.touched;
        self.rewritten.retain(|done| {
            let is_young = done
                .outputs
                .iter()
                .all(|output| oldest <= output.modification_time);
            let gone = done.inputs.iter().filter(|input| !live.has(input));
            let before = touched.len();
            touched.extend(gone.map(|input| canonical_path(&input.path).into_owned()));
            is_young && touched.len() == before
        });
    }

    async fn rewrite(&mut self, state: &Snapshot, inputs: Vec<Add>, target: u64) -> Result<()> {
        let moved = |bytes| self.options.moved.fetch_add(bytes, Ordering::Relaxed);
        // Whether or not it succeeds: they are read.
        moved(bytes(&inputs));
        let done = rewrite(state, inputs, target).await?;
        // Written, and read back for the proof.
        moved(bytes(&done.outputs).saturating_mul(2));
        self.rewritten.push(done);
        Ok(())
    }
}

impl Verb for Step {
    fn table(&self) -> &Table {
        &self.options.table
    }

    fn name(&self) -> &'static str {
        "OPTIMIZE"
    }

    fn stage<'a>(&'a mut self, draft: &'a mut Draft) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.stage_files(draft))
    }
}

/// The live files, as far as a choice needs them.
#[derive(Debug, Default)]
struct LiveFiles {
    /// Those that may be chosen.
    candidates: Vec<Candidate>,
    /// The ids of the deletion vectors of watched files, by canonical path.
    watched: BTreeMap<String, Option<String>>,
}

impl LiveFiles {
    /// Whether a watched file is still live, with the same rows deleted.
    fn has(&self, input: &Add) -> bool {
        let vector = input.deletion_vector.as_ref();
        let vector = vector.map(DeletionVectorDescriptor::unique_id);
        self.watched.get(&*canonical_path(&input.path)) == Some(&vector)
    }
}

/// The live files, and the state that they were read from: a checkpoint that cannot be read is passed over for an older
/// one.
async fn live_files(
    state: &Snapshot,
    wanted: Wanted,
    watched: &BTreeSet<String>,
) -> Result<(Snapshot, LiveFiles)> {
    let mut state = state.clone();
    loop {
        match live_files_once(&state, wanted, watched).await {
            Err(error) if error.code() == Code::CorruptCheckpoint => {
                state = state.without_checkpoint(error).await?;
            }
            files => return files.map(|files| (state, files)),
        }
    }
}

/// What is read of files: what a choice needs, and what rewriting them does.
fn columns() -> FileColumns {
    FileColumns {
        stats: StatsWanted::Columns(Vec::new()),
        ..FileColumns::all()
    }
}

async fn live_files_once(
    state: &Snapshot,
    wanted: Wanted,
    watched: &BTreeSet<String>,
) -> Result<LiveFiles> {
    let mut live = LiveFiles::default();
    let mut partitions = BTreeMap::new();
    let mut batches = state.files(columns()).await?;
    while let Some(batch) = batches.try_next().await? {
        let counts = ColumnReader::new(&batch, &[], &PrimitiveType::Long);
        for row in 0..batch.len() {
            if !watched.is_empty() {
                let path = batch.canonical_path(row);
                if watched.contains(&*path) {
                    live.watched.insert(path.into_owned(), batch.vector_id(row));
                }
            }
            let (vector, bytes) = (batch.deletion_vector(row), batch.size(row).unsigned_abs());
            if vector.is_none() && !is_small(bytes, wanted) {
                continue;
            }
            let number = partitions.len();
            let partition = partitions.entry(batch.partition_values(row));
            live.candidates.push(Candidate {
                path: batch.path(row).to_owned(),
                partition: *partition.or_insert(number),
                bytes,
                modification_time: batch.modification_time(row),
                rows: counts.num_records(&FileText::new(&batch, row)),
                deleted: vector.map_or(0, |vector| vector.cardinality.unsigned_abs()),
                full: batch.tag(row, TAG_FULL).and_then(|full| full.parse().ok()),
            });
        }
    }
    Ok(live)
}

/// The files of the groups as the log has them.
async fn load(state: &Snapshot, groups: Vec<Group>) -> Result<Vec<Vec<Add>>> {
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let mut places = BTreeMap::new();
    for (group, files) in groups.iter().enumerate() {
        for (at, file) in files.iter().enumerate() {
            places.insert(canonical_path(&file.path), (group, at));
        }
    }
    let mut found: Vec<BTreeMap<usize, Add>> = vec![BTreeMap::new(); groups.len()];
    let mut batches = state.files(columns()).await?;
    while let Some(batch) = batches.try_next().await? {
        for row in 0..batch.len() {
            if let Some((group, at)) = places.get(&batch.canonical_path(row))
                && let Some(group) = found.get_mut(*group)
            {
                group.insert(*at, batch.add(row));
            }
        }
    }
    let in_order = found.into_iter().map(BTreeMap::into_values);
    Ok(in_order.map(Iterator::collect).collect())
}
