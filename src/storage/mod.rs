//! One table's objects: the only door to any store.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `address` | locations as users write them |
//! | `local` | a folder as a durable store |
//! | `read` | reading and listing, every answer checked |
//! | `retry` | waiting before trying again |
//! | `failure` | a store's failures in the crate's words |
//! | `upload` | large objects, piece by piece |
//! | `parquet` | the guarded door to Parquet files |
//! | `count` | what was asked of the store |
//!
//! What a store must offer: a put that creates or fails ([`object_store::PutMode::Create`]), reads
//! that see a finished write, and listings that show an object some time after it was written.
//! Listings may be late, unsorted, and repeat themselves.

mod address;
mod count;
mod failure;
mod local;
pub(crate) mod parquet;
mod read;
pub(crate) mod retry;
#[cfg(test)]
mod tests;
mod tree;
mod upload;

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    Error as StoreError, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions,
    PutOptions, PutPayload,
};

use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::protocol::location::{FileLocation, checked_key};
use crate::storage::address::{Address, redact};
use crate::storage::count::Counters;
use crate::storage::failure::Attempt;
use crate::storage::retry::{Backoff, RetryPolicy};

pub use crate::storage::count::RequestCounts;
pub use crate::storage::local::LocalStore;
pub use crate::storage::upload::Upload;

/// A store that has not answered for this long is taken to have failed, plus the time its bytes
/// take at the slowest.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// The slowest transfer that is waited for, in bytes per second.
const SLOWEST_RATE: u64 = 256 * 1024;

/// The slowest listing that is waited for, in objects per second.
const SLOWEST_LISTING: u64 = 100;

/// Objects in one listing; a directory that holds more is refused rather than kept in memory.
const LISTED_MAX: usize = 4_000_000;

/// Every `memory:` table of this process.
static MEMORY: LazyLock<Arc<InMemory>> = LazyLock::new(Arc::default);

/// What a store knows about an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The path of the object below the table, `/` between its parts.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
    /// When the store last saw it change, in milliseconds since the Unix epoch.
    pub modified_millis: i64,
}

/// How a put that may not replace anything ended.
#[derive(Debug)]
#[must_use]
pub enum PutOutcome {
    /// The object was not there, and is now.
    Created,
    /// The store did not say so. That is no proof of the contrary: an answer can get lost, and a
    /// store's client may have repeated the request and met its own object. Read the object back to
    /// know.
    NotCreated(Error),
}

/// The objects of one table. Cloning is cheap, and clones share their [counts](Self::counts).
///
/// Keys are paths below the table, as they are: decoded, `/` between their parts, a percent sign is
/// a percent sign. Reads and replacing writes that fail for a passing reason are repeated, with
/// growing waits; a write that must not replace is sent once.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use headwater::environment::Environment;
/// use headwater::storage::Storage;
///
/// let storage = Storage::open("memory:///doc/storage", &Environment::system())?;
/// storage.put("a/b", "hello".into()).await?;
/// assert_eq!(storage.get("a/b").await?, "hello");
/// assert_eq!(storage.counts().gets, 1);
/// # Ok::<(), headwater::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Storage(Arc<Inner>, Arc<[Self]>);

struct Inner {
    store: Arc<dyn ObjectStore>,
    /// The same store as `store`, if it is a folder: what it can do better than the trait says.
    folder: Option<LocalStore>,
    root: Path,
    location: String,
    environment: Environment,
    policy: RetryPolicy,
    listed_max: usize,
    counters: Counters,
}

impl Storage {
    /// The table at a path or URL: `some/folder`, `file:///some/folder`, `memory:///some/name`.
    ///
    /// `memory:` tables live as long as the process, and all of it sees them. Nothing is read, so
    /// the table need not exist.
    ///
    /// # Errors
    /// `ErrorKind::Unsupported` for a store that is not built in, naming the cargo feature;
    /// `ErrorKind::Invalid` for a location that cannot be understood.
    pub fn open(url: &str, environment: &Environment) -> Result<Self> {
        match Address::parse(url)? {
            Address::Local(path) => Self::local(&path, environment),
            Address::Memory(root) => {
                let store: Arc<dyn ObjectStore> = Arc::<InMemory>::clone(&MEMORY);
                let location = format!("memory:///{root}");
                Ok(Self::assemble(store, None, (root, location), environment))
            }
        }
    }

    /// The table at `root` in a store of the caller's own.
    ///
    /// Its location, as messages show it, is `root`: see [`with_location`](Self::with_location).
    pub fn new(store: Arc<dyn ObjectStore>, root: Path, environment: &Environment) -> Self {
        let location = format!("store:///{root}");
        Self::assemble(store, None, (root, location), environment)
    }

    /// The table in a folder of this machine.
    ///
    /// # Errors
    /// `ErrorKind::Storage` if the path is relative and the working directory is not known.
    pub fn local(path: &std::path::Path, environment: &Environment) -> Result<Self> {
        let folder = LocalStore::new(path, environment).map_err(|error| {
            Error::storage(Code::StoreFailed, "the working directory is not known").because(error)
        })?;
        let location = folder.root().display().to_string();
        let place = (Path::ROOT, location);
        Ok(Self::assemble(
            Arc::new(folder.clone()),
            Some(folder),
            place,
            environment,
        ))
    }

    fn assemble(
        store: Arc<dyn ObjectStore>,
        folder: Option<LocalStore>,
        (root, location): (Path, String),
        environment: &Environment,
    ) -> Self {
        let inner = Arc::new(Inner {
            store,
            folder,
            root,
            location,
            environment: environment.clone(),
            policy: RetryPolicy::REQUEST,
            listed_max: LISTED_MAX,
            counters: Counters::default(),
        });
        Self(inner, Arc::default())
    }

    /// Lets files of the table lie below `place`, too. Shallow clones and converted tables name files of other tables
    /// by absolute paths, but a log must not choose what this process reads: without this, such a file is an error.
    /// A table that has been opened keeps to what was allowed then.
    ///
    /// ```
    /// use headwater::environment::Environment;
    /// use headwater::storage::Storage;
    /// let environment = Environment::system();
    /// let source = Storage::open("data/source", &environment)?;
    /// let clone = Storage::open("data/clone", &environment)?.also_reads(source);
    /// assert!(clone.location().ends_with("clone"));
    /// # Ok::<(), headwater::Error>(())
    /// ```
    #[must_use]
    pub fn also_reads(mut self, place: Self) -> Self {
        self.1 = self.1.iter().cloned().chain([place]).collect();
        self
    }

    /// Where a file is that the log names: in which of the places that may be read, and under which key.
    ///
    /// # Errors
    ///
    /// `Code::UnsafePath` if it is in none of them.
    pub(crate) fn locate(&self, location: FileLocation) -> Result<(Self, String)> {
        for place in std::iter::once(self).chain(self.1.iter()) {
            let below = match &location {
                // Relative paths are relative to the table.
                FileLocation::Relative(key) => return Ok((self.clone(), key.clone())),
                FileLocation::Absolute(_) => location.clone().relative_to(&place.address()),
            };
            if let FileLocation::Relative(key) = below {
                return Ok((place.clone(), checked_key(&key)?));
            }
        }
        location.key().map(|key| (self.clone(), key.to_owned()))
    }

    /// The location as the decoded URL that absolute paths begin with.
    fn address(&self) -> String {
        match self.0.folder {
            Some(_) => format!("file://{}", self.0.location),
            None => self.0.location.clone(),
        }
    }

    /// The same objects under another name in messages; user names, passwords and queries in it are
    /// left out.
    ///
    /// Counts start anew.
    #[must_use]
    pub fn with_location(&self, location: &str) -> Self {
        let inner = &self.0;
        let renamed = Arc::new(Inner {
            store: Arc::clone(&inner.store),
            folder: inner.folder.clone(),
            root: inner.root.clone(),
            location: redact(location),
            environment: inner.environment.clone(),
            policy: inner.policy,
            listed_max: inner.listed_max,
            counters: Counters::default(),
        });
        Self(renamed, Arc::clone(&self.1))
    }

    /// Where the table is, for messages: it holds no secret.
    pub fn location(&self) -> &str {
        &self.0.location
    }

    /// The requests and bytes since this was opened, by it and its clones.
    pub fn counts(&self) -> RequestCounts {
        self.0.counters.read()
    }

    /// Writes an object, replacing one of its name.
    ///
    /// # Errors
    /// `ErrorKind::Storage` if the store fails, `Code::NoSpace` and `Code::Denied` among the codes.
    /// Nothing half-written ever has the name.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        let path = self.path(key)?;
        self.put_payload(key, &path, bytes.into()).await
    }

    /// Creates an object unless its name is taken: one request, never repeated, never in parts.
    ///
    /// [`PutOutcome::NotCreated`] holds `ErrorKind::Conflict` if the store says that the name is
    /// taken (which may be by this very request), and `ErrorKind::Unsupported` if the store cannot
    /// do this at all.
    pub async fn put_if_absent(&self, key: &str, bytes: Bytes) -> PutOutcome {
        let path = match self.path(key) {
            Ok(path) => path,
            Err(error) => return PutOutcome::NotCreated(error),
        };
        let length = bytes.len() as u64;
        self.count_put(length);
        let put = self
            .0
            .store
            .put_opts(&path, bytes.into(), PutMode::Create.into());
        match self.in_time(length, put).await {
            Ok(_) => PutOutcome::Created,
            Err(error) => {
                PutOutcome::NotCreated(self.attempt("create the object", key).failed(error))
            }
        }
    }

    /// Makes sure that the name of an object that was found is on the disk, where that is for this process to do.
    ///
    /// # Errors
    /// `ErrorKind::Storage` if it is not, or if that cannot be known any more: a sync of its directory failed.
    pub(crate) async fn sync_name(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        let Some(folder) = &self.0.folder else {
            return Ok(());
        };
        let attempt = self.attempt("sync the name of the object", key);
        let synced = folder.sync_name(&path).await;
        synced.map_err(|error| attempt.failed(error))
    }

    /// From now on syncs of directories fail, or do not.
    #[cfg(test)]
    pub(crate) fn fail_directory_syncs(&self, fail: bool) {
        if let Some(folder) = &self.0.folder {
            folder.fail_directory_syncs(fail);
        }
    }

    /// Starts writing an object that may be large, or whose size is not known.
    ///
    /// # Errors
    /// `ErrorKind::Corrupt` if `key` is not allowed.
    pub async fn upload(&self, key: &str) -> Result<Upload> {
        let path = self.path(key)?;
        Ok(Upload::new(self.clone(), key, path))
    }

    async fn put_payload(&self, key: &str, path: &Path, payload: PutPayload) -> Result<()> {
        let attempt = self.attempt("write the object", key);
        let length = payload.content_length() as u64;
        let attempt = &attempt;
        let put = || async {
            self.count_put(length);
            let put = self
                .0
                .store
                .put_opts(path, payload.clone(), PutOptions::default());
            self.in_time(length, put)
                .await
                .map_err(|error| attempt.failed(error))?;
            Ok(())
        };
        self.retrying(put).await
    }

    async fn start_multipart(&self, path: &Path) -> Result<Box<dyn MultipartUpload>, StoreError> {
        self.in_time(
            0,
            self.0
                .store
                .put_multipart_opts(path, PutMultipartOptions::default()),
        )
        .await
    }

    fn count_put(&self, length: u64) {
        self.0.counters.puts.add(1);
        self.0.counters.bytes_written.add(length);
    }

    /// The clock, the entropy and the threads that it was opened with.
    pub(crate) fn environment(&self) -> &Environment {
        &self.0.environment
    }

    fn attempt<'a>(&'a self, what: &'static str, key: &'a str) -> Attempt<'a> {
        Attempt {
            what,
            key,
            location: &self.0.location,
        }
    }

    /// The object's path in the store.
    fn path(&self, key: &str) -> Result<Path> {
        let refused = || {
            let error = Error::corrupt(Code::UnsafePath, "an object's path is not allowed");
            self.attempt("", key).place(error)
        };
        // `Path::parse` would drop a slash at either end, and so would make two keys one.
        if key.is_empty() || key.starts_with('/') || key.ends_with('/') {
            return Err(refused());
        }
        self.below_root(key).ok_or_else(refused)
    }

    /// The path of something below the table: `""` is the table itself.
    fn below_root(&self, key: &str) -> Option<Path> {
        let root = &self.0.root;
        match (root.is_root(), key.is_empty()) {
            (_, true) => Some(root.clone()),
            (true, false) => Path::parse(key).ok(),
            (false, false) => Path::parse(format!("{root}/{key}")).ok(),
        }
    }

    /// The key of an object of the store; `None` if it is not below the table.
    fn info(&self, meta: &ObjectMeta) -> Option<ObjectInfo> {
        let root = self.0.root.as_ref();
        let key = match meta.location.as_ref().strip_prefix(root)? {
            rest if root.is_empty() => rest,
            rest => rest.strip_prefix('/')?,
        };
        Some(ObjectInfo {
            key: key.to_owned(),
            size: meta.size,
            modified_millis: meta.last_modified.timestamp_millis(),
        })
    }

    /// The answer to a request about `bytes` bytes, unless the store stays silent for too long.
    async fn in_time<T>(
        &self,
        bytes: u64,
        request: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let patience = patience(bytes / SLOWEST_RATE);
        // Started only if the request does not end at once: memory needs no timer.
        let timer = self.0.environment.sleep(patience);
        match select(std::pin::pin!(request), std::pin::pin!(timer)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(((), _)) => {
                let seconds = patience.as_secs();
                let source = format!("no answer within {seconds} seconds").into();
                Err(StoreError::Generic {
                    store: "any",
                    source,
                })
            }
        }
    }

    /// Refuses an answer that keeps coming, but so slowly that it may never end. `started` is when it began, `seconds`
    /// how long what it is about may take at the slowest.
    fn check_pace(&self, started: Duration, seconds: u64, attempt: &Attempt<'_>) -> Result<()> {
        let spent = self.0.environment.elapsed().saturating_sub(started);
        match spent <= patience(seconds) {
            true => Ok(()),
            false => Err(attempt.wrong_answer("the store answers too slowly")),
        }
    }

    /// Repeats a request that is safe to repeat, while waiting helps.
    async fn retrying<T, F>(&self, mut request: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut backoff = Backoff::new(&self.0.environment, self.0.policy);
        loop {
            match request().await {
                Err(error) if error.is_retryable() => {
                    if !backoff.wait().await {
                        return Err(error.with("attempts", backoff.attempts()));
                    }
                    self.0.counters.retries.add(1);
                }
                settled => return settled,
            }
        }
    }
}

/// How long is waited for what may take so many seconds.
fn patience(seconds: u64) -> Duration {
    SILENCE_MAX.saturating_add(Duration::from_secs(seconds))
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The store itself stays out: it may hold keys.
        f.debug_tuple("Storage").field(&self.location()).finish()
    }
}
