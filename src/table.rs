//! A handle on a table. Verbs live in their own rooms; this file only knows how to get hold of a version.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::environment::{Environment, Task};
use crate::error::Result;
use crate::log::checkpoint::CheckpointReader;
use crate::log::segment::CheckpointFiles;
use crate::snapshot::{At, Snapshot};
use crate::storage::Storage;

/// A handle on a table: where it is, and the newest version this handle knows. Cloning is cheap; clones share what
/// they know.
///
/// ```
/// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use headwater::protocol::schema::{DataType, Field, Schema};
/// let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
/// headwater::Table::create("memory:///table-example", schema).await?;
///
/// let table = headwater::Table::open("memory:///table-example").await?;
/// assert_eq!(table.snapshot().version(), 0);
/// # Ok(()) }) }
/// ```
#[derive(Clone)]
pub struct Table(Arc<Inner>);

struct Inner {
    storage: Storage,
    environment: Environment,
    newest: Mutex<Snapshot>,
    /// The checkpoint that is being written, if one is.
    background: Mutex<Option<Task<()>>>,
}

impl Table {
    /// Opens the table at a path or URL (`data/flights`, `file:///data/flights`, `memory:///name`). Costs the hint,
    /// one listing, the commits after the last checkpoint, and one look for a commit that the listing does not show yet.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if no table is there, [`Unsupported`](crate::ErrorKind::Unsupported)
    /// if it needs a feature that this build cannot read, [`Corrupt`](crate::ErrorKind::Corrupt) if its log breaks
    /// the protocol.
    pub async fn open(location: &str) -> Result<Self> {
        let environment = Environment::system();
        let storage = Storage::open(location, &environment)?;
        Self::open_in(storage, environment).await
    }

    /// Opens the table in a storage of the caller's own.
    ///
    /// # Errors
    ///
    /// As [`Table::open`].
    pub async fn open_in(storage: Storage, environment: Environment) -> Result<Self> {
        let newest = Snapshot::latest(&storage, &environment).await?;
        Ok(Self::of(newest))
    }

    /// Opens the table as it was at a version. Nothing newer is read, so this works even where a newer version needs
    /// what this build lacks; [`Table::refresh`] leads to the newest version.
    ///
    /// ```
    /// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use headwater::protocol::schema::{DataType, Field, Schema};
    /// # let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
    /// # headwater::Table::create("memory:///open-at-example", schema).await?;
    /// let table = headwater::Table::open_at("memory:///open-at-example", 0).await?;
    /// assert_eq!(table.snapshot().version(), 0);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Table::open`], and [`NotFound`](crate::ErrorKind::NotFound) if the version is not there.
    pub async fn open_at(location: &str, at: impl Into<At>) -> Result<Self> {
        let environment = Environment::system();
        let storage = Storage::open(location, &environment)?;
        Self::open_at_in(storage, environment, at).await
    }

    /// As [`Table::open_at`], in a storage of the caller's own.
    ///
    /// # Errors
    ///
    /// As [`Table::open_at`].
    pub async fn open_at_in(
        storage: Storage,
        environment: Environment,
        at: impl Into<At>,
    ) -> Result<Self> {
        let snapshot = Snapshot::load_at(&storage, &environment, at.into()).await?;
        Ok(Self::of(snapshot))
    }

    /// A handle that starts from a known version.
    pub(crate) fn of(newest: Snapshot) -> Self {
        Self(Arc::new(Inner {
            storage: newest.storage().clone(),
            environment: newest.environment().clone(),
            newest: Mutex::new(newest),
            background: Mutex::new(None),
        }))
    }

    /// Where the table is, without secrets.
    pub fn location(&self) -> &str {
        self.0.storage.location()
    }

    /// The newest version this handle knows. Costs nothing; see [`Table::refresh`].
    pub fn snapshot(&self) -> Snapshot {
        lock(&self.0.newest).clone()
    }

    /// The newest version there is. Costs one request per commit since the last look, and one more; after
    /// a pause of some seconds another one, to see that the version known is still in the log.
    ///
    /// # Errors
    ///
    /// As [`Table::open`]; [`Conflict`](crate::ErrorKind::Conflict) if another table was created in this one's place.
    pub async fn refresh(&self) -> Result<Snapshot> {
        let refreshed = self.snapshot().refreshed().await?;
        Ok(self.learn(refreshed))
    }

    /// The table at a version, or at a moment.
    ///
    /// ```
    /// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use headwater::protocol::schema::{DataType, Field, Schema};
    /// # let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
    /// # let table = headwater::Table::create("memory:///travel-example", schema).await?;
    /// assert_eq!(table.snapshot_at(0).await?.version(), 0);
    /// let missing = table.snapshot_at(7).await.unwrap_err();
    /// assert_eq!(missing.kind(), headwater::ErrorKind::NotFound);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if the version is not there (any more, or yet).
    pub async fn snapshot_at(&self, at: impl Into<At>) -> Result<Snapshot> {
        match at.into() {
            At::Latest => self.refresh().await,
            at => Snapshot::load_at(&self.0.storage, &self.0.environment, at).await,
        }
    }

    /// Waits for background work that this handle started, such as checkpoints.
    pub async fn close(&self) {
        let task = lock(&self.0.background).take();
        if let Some(task) = task {
            // A task that failed has said so in its own log line; there is nothing to hand on.
            let _ = task.join().await;
        }
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.0.storage
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.0.environment
    }

    /// Keeps the newer of what is known and `seen`, and hands that back.
    pub(crate) fn learn(&self, seen: Snapshot) -> Snapshot {
        let mut newest = lock(&self.0.newest);
        if newest.version() <= seen.version() {
            // A checkpoint may have been written since `seen` was read.
            *newest = seen.anchored_as(&newest);
        }
        newest.clone()
    }

    /// Lets later refreshes and scans of this handle start from a checkpoint.
    pub(crate) fn anchor(&self, files: CheckpointFiles, reader: CheckpointReader) {
        let mut newest = lock(&self.0.newest);
        *newest = newest.anchored_at(files, reader);
    }

    /// Starts background work unless some is under way.
    pub(crate) fn start_background(&self, start: impl FnOnce() -> Task<()>) {
        let mut background = lock(&self.0.background);
        let busy = background.as_mut().is_some_and(|task| !task.is_done());
        if !busy {
            *background = Some(start());
        }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("newest", &self.snapshot())
            .finish_non_exhaustive()
    }
}

// What these locks guard is replaced whole, so a panic elsewhere leaves nothing half-done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::Table;
    use crate::environment::Environment;
    use crate::log::checkpoint::{self, CheckpointInput, CheckpointReader, CheckpointState};
    use crate::log::commit;
    use crate::log::path::{checkpoint_key, commit_key};
    use crate::log::segment::CheckpointFiles;
    use crate::protocol::property::TableProperties;
    use crate::protocol::schema::Schema;
    use crate::snapshot::Snapshot;
    use crate::storage::Storage;

    async fn checkpoint(storage: &Storage, of: &Snapshot) -> (CheckpointFiles, CheckpointReader) {
        let input = CheckpointInput {
            version: of.version(),
            state: CheckpointState {
                protocol: of.protocol().clone(),
                metadata: of.metadata().clone(),
                txns: Vec::new(),
                domains: Vec::new(),
            },
            schema: Schema::clone(of.schema()),
            properties: TableProperties::clone(of.properties()),
            files: Vec::new(),
            removes: Vec::new(),
        };
        let written = checkpoint::write(storage, of.environment(), input).await;
        written.unwrap();
        let object = storage.head(&checkpoint_key(of.version())).await.unwrap();
        let files = CheckpointFiles::new(of.version(), vec![object.unwrap()]);
        let reader = CheckpointReader::open(storage, &files).await.unwrap();
        (files, reader)
    }

    #[tokio::test]
    async fn a_checkpoint_that_was_written_meanwhile_stays_known() {
        let environment = Environment::system();
        let storage = Storage::open("memory:///table/anchor", &environment).unwrap();
        let field = json!({"name": "id", "type": "long", "nullable": true, "metadata": {}});
        let metadata = json!({
            "id": "one", "format": {"provider": "parquet", "options": {}}, "partitionColumns": [],
            "schemaString": json!({"type": "struct", "fields": [field]}).to_string(), "configuration": {},
        });
        let protocol = json!({"minReaderVersion": 1, "minWriterVersion": 2});
        let first = format!(
            "{}\n{}\n",
            json!({"protocol": protocol}),
            json!({"metaData": metadata})
        );
        storage.put(&commit_key(0), first.into()).await.unwrap();
        let table = Table::open_in(storage.clone(), environment).await.unwrap();
        // Somebody looked for newer commits before the checkpoint was there, and commits after.
        let base = table.snapshot();
        let (files, reader) = checkpoint(&storage, &base).await;
        table.anchor(files, reader);
        let next = commit::decode(1, b"{\"commitInfo\":{}}").unwrap();
        let learnt = table.learn(base.followed_by(&Arc::new(next)).unwrap());
        assert_eq!(
            (learnt.version(), learnt.checkpoint_version()),
            (1, Some(0))
        );
        assert_eq!(learnt.replayed().0, 1, "the commit after the checkpoint");
    }
}
