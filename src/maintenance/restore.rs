//! Restore: a version's content becomes the newest version's.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use futures::future::BoxFuture;

use crate::error::{Code, Error, Result};
use crate::log::checkpoint::FileColumns;
use crate::log::key::key_text;
use crate::maintenance::hold;
use crate::operation::{Verb, awaitable};
use crate::protocol::action::{Add, DeletionVectorDescriptor, Metadata};
use crate::snapshot::{At, Snapshot};
use crate::table::Table;
use crate::transaction::vacuum::under_way;
use crate::transaction::{Draft, ReadRows};

/// The properties that say from when on commits carry their own time.
///
/// Spec: [In-Commit Timestamps](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#in-commit-timestamps).
const IN_COMMIT_TIMESTAMPS: [&str; 3] = [
    "delta.enableInCommitTimestamps",
    "delta.inCommitTimestampEnablementVersion",
    "delta.inCommitTimestampEnablementTimestamp",
];
/// The property that holds the largest id that a column was given.
const MAX_COLUMN_ID: &str = "delta.columnMapping.maxColumnId";

/// Brings a version's content back; await it. See [`Table::restore`].
#[derive(Debug, Clone)]
#[must_use = "nothing happens until it is awaited"]
pub struct Restore {
    table: Table,
    at: At,
}

impl Table {
    /// Makes the rows and the schema of an older version those of a new version. No version is lost: the history goes
    /// on.
    ///
    /// ```
    /// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use headwater::protocol::schema::{DataType, Field, Schema};
    /// # use headwater::arrow_array::{Int64Array, RecordBatch};
    /// # use std::sync::Arc;
    /// # let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
    /// # let table = headwater::Table::create("memory:///restore-example", schema).await?;
    /// # let ids = Arc::new(Int64Array::from(vec![1, 2])) as _;
    /// table.append(RecordBatch::try_from_iter([("id", ids)]).unwrap()).await?;
    /// table.delete(headwater::predicate::col("id").gt(0)).await?;
    /// let restored = table.restore(1).await?;
    /// assert_eq!((restored.version, restored.files), (3, 1));
    /// assert_eq!(table.snapshot().sums().await?.rows, Some(2));
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    ///
    /// When awaited: [`NotFound`](crate::ErrorKind::NotFound) if the version or a file of it is gone,
    /// [`Conflict`](crate::ErrorKind::Conflict) while a vacuum is under way, and as [`Table::overwrite`].
    pub fn restore(&self, at: impl Into<At>) -> Restore {
        Restore {
            table: self.clone(),
            at: at.into(),
        }
    }
}

impl Restore {
    async fn stage_files(&self, draft: &mut Draft) -> Result<()> {
        let state = draft.state().clone();
        let target = self.table.snapshot_at(self.at).await?;
        refuse_during_vacuum(&state, &target).await?;
        if state.properties().append_only {
            let message = "the table is append-only (`delta.appendOnly`): its rows are never changed or removed";
            return Err(Error::invalid(Code::RowsRejected, message));
        }
        if let Some(missing) = target.missing_file().await? {
            return Err(hold::gone(&target, &missing));
        }
        let mut now = files(&state).await?;
        let mut back = files(&target).await?;
        let before = now.len() as u64;
        now.retain(|key, _| back.remove(key).is_none());
        draft.depends_on(ReadRows::All);
        draft.revives();
        for (name, value) in [
            ("numRemovedFiles", now.len() as u64),
            ("numRestoredFiles", back.len() as u64),
            (
                "removedFilesSize",
                now.values().map(|add| add.size.unsigned_abs()).sum(),
            ),
            (
                "restoredFilesSize",
                back.values().map(|add| add.size.unsigned_abs()).sum(),
            ),
            (
                "numOfFilesAfterRestore",
                before - now.len() as u64 + back.len() as u64,
            ),
        ] {
            draft.metric(name, value);
        }
        draft.parameter("version", target.version().to_string());
        for file in now.into_values() {
            draft.remove(file);
        }
        for file in back.into_values() {
            draft.add(file);
        }
        let metadata = metadata(&target, &state);
        if metadata != *state.metadata() {
            draft.set_metadata(metadata);
        }
        // What was written since may rest on features that came since.
        let protocol = state.protocol().extended_by(target.protocol());
        if protocol != *state.protocol() {
            draft.set_protocol(protocol);
        }
        Ok(())
    }
}

/// The live files by path and deletion vector. A checkpoint that cannot be read is passed over for an older one.
async fn files(snapshot: &Snapshot) -> Result<BTreeMap<String, Add>> {
    let mut snapshot = snapshot.clone();
    loop {
        match files_once(&snapshot).await {
            Err(error) if error.code() == Code::CorruptCheckpoint => {
                snapshot = snapshot.without_checkpoint(error).await?;
            }
            files => return files,
        }
    }
}

async fn files_once(snapshot: &Snapshot) -> Result<BTreeMap<String, Add>> {
    let mut found = BTreeMap::new();
    let mut batches = snapshot.files(FileColumns::all()).await?;
    while let Some(batch) = batches.try_next().await? {
        for add in batch.adds() {
            let vector = add
                .deletion_vector
                .as_ref()
                .map(DeletionVectorDescriptor::unique_id);
            let key = key_text(&add.path, vector.as_deref()).into_owned();
            found.insert(key, add);
        }
    }
    Ok(found)
}

/// A vacuum that is under way may delete what would be brought back.
async fn refuse_during_vacuum(state: &Snapshot, target: &Snapshot) -> Result<()> {
    let Some(start) = under_way(state, Some(target.version())).await? else {
        return Ok(());
    };
    if target.is_needed_by(state).await? {
        return Ok(());
    }
    let message = "a vacuum is under way, or ended without saying so, and may take files of this version; try again when it \
                   is done, or in a quarter of an hour (after another engine's vacuum: a day)";
    Err(Error::conflict(Code::FilesVacuumed, message)
        .with("version", target.version())
        .with("vacuum_version", start))
}

/// What the metadata becomes: the version's, but for what must not go back. Commits that carried no time of their own
/// cannot have had one since, and an id that was given to a column is never given to another.
fn metadata(target: &Snapshot, state: &Snapshot) -> Metadata {
    let mut metadata = target.metadata().clone();
    let now = &state.metadata().configuration;
    for key in IN_COMMIT_TIMESTAMPS {
        match now.get(key) {
            Some(value) => metadata.configuration.insert(key.to_owned(), value.clone()),
            None => metadata.configuration.remove(key),
        };
    }
    let id = |value: Option<&String>| value.and_then(|value| value.parse::<i64>().ok());
    if let (Some(then), Some(now)) = (
        id(metadata.configuration.get(MAX_COLUMN_ID)),
        id(now.get(MAX_COLUMN_ID)),
    ) && then < now
    {
        let max = (MAX_COLUMN_ID.to_owned(), now.to_string());
        metadata.configuration.extend([max]);
    }
    metadata
}

impl Verb for Restore {
    fn table(&self) -> &Table {
        &self.table
    }

    fn name(&self) -> &'static str {
        "RESTORE"
    }

    fn stage<'a>(&'a mut self, draft: &'a mut Draft) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.stage_files(draft))
    }
}

awaitable!(Restore);
