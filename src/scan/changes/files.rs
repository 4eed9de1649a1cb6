//! Which files hold the changes of one commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use roaring::RoaringTreemap;

use crate::data::reader::{DataFile, deleted_rows};
use crate::error::{Code, Error, Result};
use crate::log::checkpoint::{FileColumns, StatsWanted};
use crate::log::commit::Commit;
use crate::protocol::action::{Add, Remove};
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
    for row in (0..commit.removes.len()).filter(|row| commit.removes.data_change(*row)) {
        let remove = commit.removes.remove(row);
        match added.remove(&*commit.removes.canonical_path(row)) {
            Some(add) => differ(&remove, &add, end, (&mut gone, &mut new)).await?,
            None => gone.push(removed(&remove, commit, end).await?),
        }
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

/// The file that a remove takes away. Removes may leave out what their add said; then the version before knows.
async fn removed(remove: &Remove, commit: &Commit, end: &Snapshot) -> Result<DataFile> {
    let known = remove.size.zip(remove.partition_values.clone());
    let (bytes, partition_values) = match known {
        Some(known) => known,
        None => added_before(remove, commit, end).await?,
    };
    Ok(DataFile {
        path: remove.path.clone(),
        size: size(bytes, &remove.path)?,
        partition_values,
        deletion_vector: remove.deletion_vector.clone(),
        only: None,
    })
}

async fn added_before(
    remove: &Remove,
    commit: &Commit,
    end: &Snapshot,
) -> Result<(i64, crate::protocol::action::PartitionValues)> {
    let unknown = || {
        let message = "a commit removes a file that was not there, and does not say what it was";
        let error = Error::corrupt(Code::CorruptCommit, message);
        error
            .with("version", commit.version)
            .with("path", &remove.path)
    };
    let version = commit.version.checked_sub(1).ok_or_else(unknown)?;
    let before = Snapshot::load_at(end.storage(), end.environment(), At::Version(version)).await?;
    let columns = FileColumns {
        stats: StatsWanted::None,
        tags: false,
        partition_values_parsed: false,
    };
    let mut batches = before.files(columns).await?;
    while let Some(batch) = batches.try_next().await? {
        if let Some(row) = (0..batch.len()).find(|row| batch.path(*row) == remove.path) {
            let add = batch.add(row);
            return Ok((add.size, add.partition_values));
        }
    }
    Err(unknown())
}

fn size(bytes: i64, path: &str) -> Result<u64> {
    u64::try_from(bytes).map_err(|_| {
        let message = "the log has a file of negative size";
        Error::corrupt(Code::CorruptCommit, message).with("path", path)
    })
}
