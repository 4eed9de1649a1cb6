//! Whether a commit that won the race contradicts what is staged. Pure: the same inputs give the same verdict.
//!
//! | what the winner did | contradicts a draft that |
//! | --- | --- |
//! | changed protocol or metadata | is any: it is planned again on the new ones |
//! | committed an application's transaction | is the same application's, with this or a lower number: it has landed then, or, if it is other applications' too, some of it |
//! | changed a domain | changes the same domain |
//! | removed a file, or rewrote it | removes it, rewrites it, or marks rows of it |
//! | marked rows of a file | removes or rewrites it, or marks the same rows; other rows are marked on top |
//! | added rows | looked for rows like these, by partition values and statistics |
//! | removed rows | depends on rows like these |
//! | started to vacuum | brings back files that had been removed |
//!
//! Isolation is `Serializable`: the history is the order in which everything happened. Only where the table says
//! `WriteSerializable`, a blind append may be taken as having happened after a draft that did not see it. What only
//! rearranges rows adds none and removes none.

use std::collections::BTreeMap;

use crate::error::{Code, Error, Result};
use crate::log::commit::Commit;
use crate::log::files::FileBatch;
use crate::protocol::action::{Add, DeletionVectorDescriptor, Remove, Txn};
use crate::protocol::property::IsolationLevel;
use crate::scan::may_match;
use crate::transaction::draft::{Draft, Landed, Read, ReadRows};
use crate::transaction::vacuum::VACUUM_START;

/// What the loser of a race does.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Go on top of the winner.
    Rebase,
    /// Go on top, unless the marks of these files, by canonical path, meet what the winner marked: its add stands
    /// beside.
    RebaseMarks(Vec<(String, Add)>),
    /// The winner is the same application's transaction with this or a higher number.
    AlreadyApplied,
    /// Give up: decide again on the new version.
    Conflict(Error),
}

/// Judges `winner` against `draft`.
///
/// # Errors
///
/// Where what was read cannot be held against the winner's files.
pub(crate) fn check(draft: &Draft, winner: &Commit) -> Result<Verdict> {
    let same_app = |app_id: &str| winner.txns.iter().find(|txn| txn.app_id == app_id);
    let landed = draft.landed(|app_id| same_app(app_id).map(|txn| txn.version));
    if landed == Landed::All {
        return Ok(Verdict::AlreadyApplied);
    }
    let found = match state(draft, winner, &landed) {
        None => match files(draft, winner) {
            Ok(moves) => match rows(draft, winner)? {
                None if moves.is_empty() => return Ok(Verdict::Rebase),
                None => return Ok(Verdict::RebaseMarks(moves)),
                Some(found) => found,
            },
            Err(found) => found,
        },
        Some(found) => found,
    };
    Ok(Verdict::Conflict(conflict(draft, winner, &found)))
}

/// What contradicts.
#[derive(Debug)]
pub(crate) struct Found {
    kind: &'static str,
    what: &'static str,
    /// The first of the winner's files that contradict, or the domain.
    path: Option<String>,
    /// How many such files there are, where more than one was looked at.
    files: Option<usize>,
}

/// Files of the winner that contradict.
struct Touched {
    first: String,
    count: usize,
}

impl Found {
    fn new(kind: &'static str, what: &'static str) -> Self {
        Self {
            kind,
            what,
            path: None,
            files: None,
        }
    }

    fn in_files(self, touched: Touched) -> Self {
        Self {
            path: Some(touched.first),
            files: Some(touched.count),
            ..self
        }
    }

    /// Two writers marked the same row of a file.
    pub(crate) fn same_rows(path: &str) -> Self {
        Self {
            path: Some(path.to_owned()),
            ..Self::new(
                "ConcurrentDeleteDelete",
                "deleted or changed the same rows of a file",
            )
        }
    }
}

fn state(draft: &Draft, winner: &Commit, landed: &Landed) -> Option<Found> {
    if matches!(landed, Landed::Some { .. }) {
        let what = "is one of several applications' transactions that this operation is";
        return Some(Found::new("ConcurrentTransaction", what));
    }
    let is_read = |txn: &Txn| draft.txns_read.contains(&txn.app_id);
    if winner.txns.iter().any(is_read) {
        let what = "is a transaction of the application whose progress was read";
        return Some(Found::new("ConcurrentTransaction", what));
    }
    if winner.protocol.is_some() {
        return Some(Found::new(
            "ProtocolChanged",
            "changed the table's protocol",
        ));
    }
    if winner.metadata.is_some() {
        let what = "changed the table's schema or properties";
        return Some(Found::new("MetadataChanged", what));
    }
    let operation = winner
        .info
        .as_ref()
        .and_then(|info| info.operation.as_deref());
    if draft.revives && operation == Some(VACUUM_START) {
        let what = "started to delete files that this operation brings back";
        return Some(Found::new("FilesVacuumed", what));
    }
    let same_domain = |domain: &&_| {
        let domain: &crate::protocol::action::DomainMetadata = domain;
        draft.domains.contains_key(&domain.domain)
    };
    let domain = winner.domains.iter().find(same_domain)?;
    Some(Found {
        path: Some(domain.domain.clone()),
        ..Found::new("DomainChanged", "changed the same domain metadata")
    })
}

/// Winner's removes against what the draft touches. Marks that move on top of the winner's are handed back.
fn files(draft: &Draft, winner: &Commit) -> Result<Vec<(String, Add)>, Found> {
    let mut moves = Vec::new();
    let adds = (0..winner.adds.len()).map(|index| (winner.adds.canonical_path(index), index));
    let adds: BTreeMap<_, _> = adds.collect();
    for index in 0..winner.removes.len() {
        let path = winner.removes.canonical_path(index);
        let is_marked = draft.files.marks.contains_key(&*path);
        if !is_marked && !draft.files.removes.contains_key(&*path) {
            continue;
        }
        // A file that is only given another deletion vector.
        let again = adds.get(&path).map(|index| winner.adds.add(*index));
        match again {
            Some(add) if is_marked => moves.push((path.into_owned(), add)),
            _ => {
                let what = "removed or rewrote a file that this operation removes or changes";
                return Err(Found {
                    path: Some(path.into_owned()),
                    ..Found::new("ConcurrentDeleteDelete", what)
                });
            }
        }
    }
    Ok(moves)
}

/// Rows that came or went against the rows that were looked for.
fn rows(draft: &Draft, winner: &Commit) -> Result<Option<Found>> {
    if draft.reads.is_empty() {
        return Ok(None);
    }
    let blind = winner.info.as_ref().and_then(|info| info.is_blind_append) == Some(true);
    let level = draft.base.properties().isolation_level;
    let ignored = blind && level == IsolationLevel::WriteSerializable && draft.metadata.is_none();
    let came = if ignored {
        None
    } else {
        Some(arrivals(winner)?)
    };
    let went = Departures::of(winner)?;
    for read in &draft.reads {
        let came = came.as_ref().map(|adds| touched(read, adds)).transpose()?;
        if let Some(touched) = came.flatten() {
            let what = "added rows that this operation would have read";
            return Ok(Some(Found::new("ConcurrentAppend", what).in_files(touched)));
        }
        if !read.removals {
            continue;
        }
        let what = "removed rows that this operation has read";
        let found = Found::new("ConcurrentDeleteRead", what);
        match touched(read, &went.files)? {
            Some(touched) => return Ok(Some(found.in_files(touched))),
            None if went.some_unknown => return Ok(Some(found)),
            None => {}
        }
    }
    Ok(None)
}

/// Which of the files may hold rows that were looked for: the first of them, and how many.
fn touched(read: &Read, files: &FileBatch) -> Result<Option<Touched>> {
    let touched = match &read.rows {
        ReadRows::All => (0..files.len()).collect(),
        ReadRows::Matching(predicate) => may_match(&read.seen, predicate, files)?,
    };
    let first = touched.first();
    Ok(first.map(|first| Touched {
        first: files.canonical_path(*first).into_owned(),
        count: touched.len(),
    }))
}

/// Files whose rows were not in the table before: not those that are only rearranged, nor those that lost rows.
fn arrivals(winner: &Commit) -> Result<FileBatch> {
    let mut removed = BTreeMap::new();
    for index in 0..winner.removes.len() {
        let vector = winner.removes.deletion_vector(index);
        removed.insert(winner.removes.canonical_path(index), cardinality(vector));
    }
    let operation = winner
        .info
        .as_ref()
        .and_then(|info| info.operation.as_deref());
    let restores = operation == Some("RESTORE");
    let is_new = |index: usize| {
        let before = removed.get(&winner.adds.canonical_path(index));
        let after = cardinality(winner.adds.deletion_vector(index));
        // A vector that did not grow brings rows back.
        let only_lost = !restores && before.is_some_and(|before| *before < after);
        winner.adds.data_change(index) && !only_lost
    };
    let mask = (0..winner.adds.len())
        .map(|index| Some(is_new(index)))
        .collect();
    winner.adds.filter(&mask)
}

fn cardinality(vector: Option<DeletionVectorDescriptor>) -> i64 {
    vector.map_or(0, |vector| vector.cardinality)
}

/// Files that lost rows.
struct Departures {
    /// As their tombstones describe them.
    files: FileBatch,
    /// Whether a tombstone does not say of which partition it is.
    some_unknown: bool,
}

impl Departures {
    fn of(winner: &Commit) -> Result<Self> {
        let went = winner.removes.removes().filter(|remove| remove.data_change);
        let (known, unknown): (Vec<_>, Vec<_>) = went.partition(|it| it.partition_values.is_some());
        Ok(Self {
            files: FileBatch::from_adds(known.into_iter().map(described))?,
            some_unknown: !unknown.is_empty(),
        })
    }
}

/// The file that a tombstone stands for.
fn described(remove: Remove) -> Add {
    Add {
        path: remove.path,
        partition_values: remove.partition_values.unwrap_or_default(),
        size: remove.size.unwrap_or(0),
        modification_time: 0,
        data_change: true,
        stats: remove.stats,
        tags: None,
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
        clustering_provider: None,
        unknown: BTreeMap::new(),
    }
}

/// The error of a draft that lost to `winner`: both operations, both versions, and the files that they meet in.
pub(crate) fn conflict(draft: &Draft, winner: &Commit, found: &Found) -> Error {
    let info = winner.info.as_ref();
    let theirs = info
        .and_then(|info| info.operation.as_deref())
        .unwrap_or("unknown operation");
    let message = format!(
        "a concurrent commit {}; refresh the table and do it again",
        found.what
    );
    let error = Error::conflict(Code::CommitConflict, message)
        .with("conflict", found.kind)
        .with("operation", draft.operation.name)
        .with("read_version", draft.base.version())
        .with("own_files", draft.files.len())
        .with("with_operation", theirs)
        .with("with_version", winner.version);
    let error = match &found.path {
        Some(path) => error.with("path", path),
        None => error,
    };
    match found.files {
        Some(files) => error.with("files", files),
        None => error,
    }
}
