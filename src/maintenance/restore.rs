//! Restore: a version's content becomes the newest version's.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use futures::future::BoxFuture;

use crate::error::{Code, Error, Result};
use crate::log::checkpoint::FileColumns;
use crate::log::key::key_text;
use crate::maintenance::hold;
use crate::operation::{Verb, awaitable};
use crate::protocol::action::{Add, DeletionVectorDescriptor};
use crate::snapshot::{At, Snapshot};
use crate::table::Table;
use crate::transaction::vacuum::{VACUUM_END, VACUUM_START};
use crate::transaction::{Draft, ReadRows};

/// How many versions back a vacuum is looked for that has not ended.
const VERSIONS_LOOKED_AT: usize = 100;
/// How long a vacuum that never said that it ended may still be deleting.
const VACUUM_LASTS_MILLIS: i64 = 24 * 3_600_000;

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
        refuse_during_vacuum(&state).await?;
        let target = self.table.snapshot_at(self.at).await?;
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
        if target.metadata() != state.metadata() {
            draft.set_metadata(target.metadata().clone());
        }
        // What was written since may rest on features that came since.
        let protocol = state.protocol().extended_by(target.protocol());
        if protocol != *state.protocol() {
            draft.set_protocol(protocol);
        }
        Ok(())
    }
}

/// The live files by path and deletion vector.
async fn files(snapshot: &Snapshot) -> Result<BTreeMap<String, Add>> {
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
async fn refuse_during_vacuum(state: &Snapshot) -> Result<()> {
    let now = state.environment().now_millis();
    for entry in state.history(VERSIONS_LOOKED_AT).await? {
        match entry.info.operation.as_deref() {
            Some(VACUUM_END) => return Ok(()),
            Some(VACUUM_START) => {
                let started = entry.info.timestamp.unwrap_or(now);
                if VACUUM_LASTS_MILLIS < now.saturating_sub(started) {
                    return Ok(());
                }
                let message = "a vacuum is under way, or ended without saying so; try again when it is done, or after a \
                               day";
                return Err(
                    Error::conflict(Code::FilesVacuumed, message).with("version", entry.version)
                );
            }
            _ => {}
        }
    }
    Ok(())
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
