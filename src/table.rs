//! A handle on a table. Verbs live in their own rooms; this file only knows how to get hold of a version.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::environment::{Environment, Task};
use crate::error::Result;
use crate::log::checkpoint::CheckpointReader;
use crate::protocol::Version;
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
    /// one listing, and the commits after the last checkpoint.
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

    /// The newest version there is. Costs one request per commit since the last look, and one more.
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
            *newest = seen;
        }
        newest.clone()
    }

    /// Lets later refreshes and scans of this handle start from a checkpoint.
    pub(crate) fn anchor(&self, version: Version, reader: CheckpointReader, bytes: u64) {
        let mut newest = lock(&self.0.newest);
        *newest = newest.anchored_at(version, reader, bytes);
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
