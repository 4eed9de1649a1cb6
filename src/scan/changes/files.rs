//! Which files hold the changes of one commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use roaring::RoaringTreemap;

use crate::data::reader::{DataFile, deleted_rows};
use crate::error::{Code, Error, Result};
use crate::log::checkpoint::FileColumns;
use crate::log::commit::Commit;
use crate::protocol::Version;
use crate::protocol::action::{Add, PartitionValues, Remove};
use crate::snapshot::{At, Snapshot};

/// What all rows of some files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Changes of any kind, as a column of the files says.
    Recorded,
    /// Rows that are gone.
    Delete,
    /// Rows that are new.
    Insert,
}

/// The files of one kind of change.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) kind: Kind,
    pub(super) files: Vec<DataFile>,
}

/// Whether the commit may have changed rows.
pub(super) fn changes_rows(commit: &Commit) -> bool {
    let adds = (0..commit.adds.len()).any(|row| commit.adds.data_change(row));
    let removes = (0..commit.removes.len()).any(|row| commit.removes.data_change(row));
    adds || removes || !commit.cdcs.is_empty()
}

/// The files that hold the changes of a commit: its change files if there are any, else what it added and removed.
pub(super) async fn steps(commit: &Commit, end: &Snapshot) -> Result<Vec<Step>> {
    if !commit.cdcs.is_empty() {
        let files = commit.cdcs.iter().map(|cdc| {
            let size = size(cdc.size, &cdc.path)?;
            let (path, partition_values) = (cdc.path.clone(), cdc.partition_values.clone());
            Ok(DataFile {
                path,
                size,
                partition_values,
                deletion_vector: None,
                only: None,
                physical_rows: None,
            })
        });
        let files = files.collect::<Result<_>>()?;
        return Ok(vec![Step {
            kind: Kind::Recorded,
            files,
        }]);
    }
    let mut added: BTreeMap<String, Add> = BTreeMap::new();
    for row in (0..commit.adds.len()).filter(|row| commit.adds.data_change(*row)) {
        added.insert(
            commit.adds.canonical_path(row).into_owned(),
            commit.adds.add(row),
        );
    }
    let (mut gone, mut new) = (Vec::new(), Vec::new());
    let mut unsaid: BTreeMap<String, Remove> = BTreeMap::new();
    for row in (0..commit.removes.len()).filter(|row| commit.removes.data_change(*row)) {
        let remove = commit.removes.remove(row);
        let path = commit.removes.canonical_path(row);
        let said = remove.size.zip(remove.partition_values.clone());
        match (added.remove(&*path), said) {
            (Some(add), _) => differ(&remove, &add, end, (&mut gone, &mut new)).await?,
            (None, Some(said)) => gone.push(removed(&remove, said)?),
            (None, None) => drop(unsaid.insert(path.into_owned(), remove)),
        }
    }
    if !unsaid.is_empty() {
        gone.extend(said_before(unsaid, commit.version, end).await?);
    }
    for add in added.values() {
        new.push(DataFile::of(add)?);
    }
    let steps = [
        Step {
            kind: Kind::Delete,
            files: gone,
        },
        Step {
            kind: Kind::Insert,
            files: new,
        },
    ];
    Ok(steps
        .into_iter()
        .filter(|step| !step.files.is_empty())
        .collect())
}

/// A file that stays, with another deletion vector: the rows in which the two vectors differ.
async fn differ(
    remove: &Remove,
    add: &Add,
    end: &Snapshot,
    (gone, new): (&mut Vec<DataFile>, &mut Vec<DataFile>),
) -> Result<()> {
    let named = |error: Error| error.with("path", &add.path);
    let before = deleted_rows(end.storage(), remove.deletion_vector.as_ref())
        .await
        .map_err(named)?;
    let after = deleted_rows(end.storage(), add.deletion_vector.as_ref())
        .await
        .map_err(named)?;
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    let file = |rows: RoaringTreemap| -> Result<Option<DataFile>> {
        if rows.is_empty() {
            return Ok(None);
        }
        Ok(Some(DataFile {
            deletion_vector: None,
            only: Some(Arc::new(rows)),
            ..DataFile::of(add)?
        }))
    };
    gone.extend(file(&after - &before)?);
    new.extend(file(&before - &after)?);
    Ok(())
}

/// The file that a remove takes away: of so many bytes, in this partition.
fn removed(remove: &Remove, (bytes, partition_values): (i64, PartitionValues)) -> Result<DataFile> {
    Ok(DataFile {
        path: remove.path.clone(),
        size: size(bytes, &remove.path)?,
        partition_values,
        deletion_vector: remove.deletion_vector.clone(),
        only: None,
        physical_rows: None,
    })
}

/// The files of removes, by path, that leave out what their adds said: the version before knows.
async fn said_before(
    mut removes: BTreeMap<String, Remove>,
    version: Version,
    end: &Snapshot,
) -> Result<Vec<DataFile>> {
    let mut files = Vec::with_capacity(removes.len());
    if let Some(before) = version.checked_sub(1) {
        let before =
            Snapshot::load_at(end.storage(), end.environment(), At::Version(before)).await?;
        let columns = FileColumns::least();
        let mut batches = before.files(columns).await?;
        while let Some(batch) = batches.try_next().await? {
            for row in 0..batch.len() {
                if let Some(remove) = removes.remove(&*batch.canonical_path(row)) {
                    let add = batch.add(row);
                    files.push(removed(&remove, (add.size, add.partition_values))?);
                }
            }
        }
    }
    match removes.values().next() {
        None => Ok(files),
        Some(remove) => {
            let message =
                "a commit removes a file that was not there, and does not say what it was";
            let error = Error::corrupt(Code::CorruptCommit, message);
            Err(error.with("version", version).with("path", &remove.path))
        }
    }
}

fn size(bytes: i64, path: &str) -> Result<u64> {
    u64::try_from(bytes).map_err(|_| {
        let message = "the log has a file of negative size";
        Error::corrupt(Code::CorruptCommit, message).with("path", path)
    })
}
