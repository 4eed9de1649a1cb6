//! What of a commit is handed out.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use roaring::RoaringTreemap;

use crate::data::reader::{DataFile, deleted_rows};
use crate::error::{Code, Error, Result};
use crate::feed::follow::OnChange;
use crate::feed::follow::cursor::{Cursor, Phase};
use crate::feed::follow::known::Known;
use crate::log::checkpoint::FileColumns;
use crate::log::commit::Commit;
use crate::log::files::FileBatch;
use crate::snapshot::Snapshot;
use crate::storage::Storage;

/// A file to hand out, and the cursor after it.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) file: DataFile,
    /// Rows that are not deleted, where the log says how many.
    pub(super) rows: Option<u64>,
    pub(super) end: Cursor,
}

/// The files of a version, all of them.
pub(super) async fn of_snapshot(snapshot: &Snapshot) -> Result<Vec<Waiting>> {
    let mut snapshot = snapshot.clone();
    loop {
        match files_of(&snapshot).await {
            Err(error) if error.code() == Code::CorruptCheckpoint => {
                snapshot = snapshot.without_checkpoint(error).await?;
            }
            files => return in_order(files?, snapshot.version(), Phase::Initial),
        }
    }
}

async fn files_of(snapshot: &Snapshot) -> Result<BTreeMap<String, (DataFile, Option<u64>)>> {
    let mut files = BTreeMap::new();
    let mut batches = snapshot.files(FileColumns::all()).await?;
    while let Some(batch) = batches.try_next().await? {
        for row in 0..batch.len() {
            files.insert(batch.key_text(row).into_owned(), file_of(&batch, row)?);
        }
    }
    Ok(files)
}

/// The files that a commit adds to what is known, as a change of data.
///
/// # Errors
///
/// [`Conflict`](crate::ErrorKind::Conflict) with the code [`SourceChanged`](Code::SourceChanged) if it deletes or
/// changes rows in a way that is not to be passed over.
pub(super) async fn of_commit(
    storage: &Storage,
    commit: &Commit,
    known: &Known,
    on_change: OnChange,
) -> Result<Vec<Waiting>> {
    let mut added = BTreeMap::new();
    for row in 0..commit.adds.len() {
        let key = commit.adds.key_text(row);
        // What the table has already was handed out when it came: the same commit, twice.
        if commit.adds.data_change(row) && !known.has(&key) {
            added.insert(key.into_owned(), file_of(&commit.adds, row)?);
        }
    }
    let removes = (0..commit.removes.len()).filter(|row| {
        commit.removes.data_change(*row) && known.has(&commit.removes.key_text(*row))
    });
    let removes: Vec<usize> = removes.collect();
    if removes.is_empty() {
        return in_order(added, commit.version, Phase::Commit);
    }
    let passes = match on_change {
        OnChange::Fail => false,
        OnChange::SkipCommits => true,
        OnChange::IgnoreDeletes => only_deletes(storage, commit, &removes).await?,
    };
    if passes {
        return Ok(Vec::new());
    }
    let message = match on_change {
        OnChange::IgnoreDeletes => {
            "a commit of the followed table changes rows; choose to skip such commits, or follow \
             its change feed"
        }
        _ => {
            "a commit of the followed table deletes or changes rows; choose what to do with such \
             commits"
        }
    };
    Err(Error::conflict(Code::SourceChanged, message).with("version", commit.version))
}

/// Whether the commit adds no row: every file that it adds is one that it removes, with more rows deleted.
async fn only_deletes(storage: &Storage, commit: &Commit, removes: &[usize]) -> Result<bool> {
    let mut before = BTreeMap::new();
    for row in removes {
        let path = commit.removes.canonical_path(*row).into_owned();
        before.insert(path, commit.removes.deletion_vector(*row));
    }
    for row in (0..commit.adds.len()).filter(|row| commit.adds.data_change(*row)) {
        let Some(old) = before.get(commit.adds.canonical_path(row).as_ref()) else {
            return Ok(false);
        };
        let new = commit.adds.deletion_vector(row);
        let old: Option<RoaringTreemap> = deleted_rows(storage, old.as_ref()).await?;
        let new = deleted_rows(storage, new.as_ref()).await?;
        if !old.unwrap_or_default().is_subset(&new.unwrap_or_default()) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn file_of(batch: &FileBatch, row: usize) -> Result<(DataFile, Option<u64>)> {
    let file = DataFile::of(&batch.add(row))?;
    let physical = batch.statistics(row).and_then(|known| known.num_records());
    let deleted = match &file.deletion_vector {
        None => Some(0),
        Some(vector) => u64::try_from(vector.cardinality).ok(),
    };
    let rows = physical.zip(deleted);
    Ok((
        file,
        rows.and_then(|(all, deleted)| all.checked_sub(deleted)),
    ))
}

/// Files in the order of their keys, each with the cursor after it.
fn in_order(
    files: BTreeMap<String, (DataFile, Option<u64>)>,
    version: u64,
    phase: Phase,
) -> Result<Vec<Waiting>> {
    let count = files.len();
    let waiting = files
        .into_values()
        .enumerate()
        .map(|(index, (file, rows))| {
            let read = index.saturating_add(1);
            let end = match read == count {
                true => Cursor::through(version)?,
                false => Cursor::after(version, phase, u32::try_from(read).unwrap_or(u32::MAX))?,
            };
            Ok(Waiting { file, rows, end })
        });
    waiting.collect()
}
