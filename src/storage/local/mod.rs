//! The local store: a folder behind the same trait as the clouds.
//!
//! object_store's own local store never syncs a file, and a killed writer leaves files that its
//! listings hide for ever.

mod disk;
mod upload;

use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error as StoreError, GetOptions, GetRange, GetResult,
    GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use crate::environment::Environment;

pub(super) use disk::Escape;
use disk::{Directory, Disk, FileInfo, Publish, STAGE_PREFIX, is_missing, read_range};
use upload::LocalUpload;

/// Files are read in pieces of this size.
const CHUNK_BYTES: u64 = 4 * 1024 * 1024;

/// Directories below one another in a recursive listing.
const DEPTH_MAX: usize = 64;

type StoreResult<T> = Result<T, StoreError>;

/// A folder as an [`ObjectStore`] that keeps what it acknowledged over a power cut, and never
/// leaves the folder.
///
/// [`Storage::local`](crate::storage::Storage::local) uses it; it is public so that a test can put
/// faults in front of it.
///
/// - A write is acknowledged after the file, its name and every new directory are synced.
/// - [`PutMode::Create`] is one hard link: of several processes that create one object, one wins.
/// - A key's parts are file names as they are, percent signs included.
/// - What symbolic links lead to must be in the folder.
/// - Files that are being written are called `.tmp-*`, and no listing shows them.
///
/// Not offered: [`PutMode::Update`], copies, and file systems without hard links.
#[derive(Debug, Clone)]
pub struct LocalStore {
    disk: Arc<Disk>,
    environment: Environment,
}

impl LocalStore {
    /// The folder `root`, which need not exist yet.
    ///
    /// # Errors
    /// If `root` is relative and the working directory is not known.
    pub fn new(root: &std::path::Path, environment: &Environment) -> io::Result<Self> {
        let disk = Disk::new(std::path::absolute(root)?);
        Ok(Self {
            disk: Arc::new(disk),
            environment: environment.clone(),
        })
    }

    /// The folder, as an absolute path.
    pub fn root(&self) -> &std::path::Path {
        self.disk.root()
    }

    /// The objects directly in one directory whose key is above `after`.
    pub(super) async fn list_directory(
        &self,
        directory: &Path,
        after: String,
    ) -> StoreResult<Vec<ObjectMeta>> {
        let key = directory.clone();
        let found = self
            .blocking(directory, move |disk| {
                disk.read_directory(key.as_ref(), &after)
            })
            .await?;
        Ok(found.files.into_iter().filter_map(object).collect())
    }

    /// Unlinks what killed writers left of files that never got their names, if last written before `millis`.
    pub(super) async fn sweep(&self, millis: i64) -> StoreResult<u64> {
        self.blocking(&Path::ROOT, move |disk| {
            let mut swept = 0;
            let mut waiting = vec![(String::new(), 0)];
            while let Some((directory, depth)) = waiting.pop() {
                let (here, directories) = disk.sweep_directory(&directory, millis)?;
                swept += here;
                if depth < DEPTH_MAX {
                    waiting.extend(directories.into_iter().map(|key| (key, depth + 1)));
                }
            }
            Ok(swept)
        })
        .await
    }

    /// Syncs the name of a file that is there, unless it is known that this may have failed before.
    pub(super) async fn sync_name(&self, location: &Path) -> StoreResult<()> {
        let key = location.clone();
        self.blocking(location, move |disk| disk.sync_name(key.as_ref()))
            .await
    }

    #[cfg(test)]
    pub(super) fn fail_directory_syncs(&self, fail: bool) {
        self.disk.fail_directory_syncs(fail);
    }

    /// Runs `work` where it may block; `location` is what its failure is about.
    async fn blocking<T, F>(&self, location: &Path, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Disk) -> io::Result<T> + Send + 'static,
    {
        let disk = Arc::clone(&self.disk);
        blocking(&self.environment, location, move || work(&disk)).await
    }

    async fn put(
        &self,
        location: &Path,
        payload: PutPayload,
        how: Publish,
    ) -> StoreResult<PutResult> {
        check_writable(location)?;
        let (key, id) = (location.clone(), self.environment.uuid());
        self.blocking(location, move |disk| {
            let stage = disk.stage(key.as_ref(), id)?;
            let chunks: Vec<Bytes> = payload.into_iter().collect();
            stage.write_at(0, &chunks)?;
            disk.publish(stage, how)
        })
        .await?;
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }

    /// Everything below a directory, above `after`.
    async fn walk(self, prefix: Path, after: String) -> StoreResult<Vec<StoreResult<ObjectMeta>>> {
        let start = prefix.clone();
        self.blocking(&prefix, move |disk| {
            let mut objects = Vec::new();
            let mut waiting = vec![(start.as_ref().to_owned(), 0)];
            while let Some((directory, depth)) = waiting.pop() {
                let Directory { files, directories } = disk.read_directory(&directory, &after)?;
                objects.extend(files.into_iter().filter_map(object).map(Ok));
                if depth == DEPTH_MAX && !directories.is_empty() {
                    return Err(io::Error::other(
                        "directories lie too deep below one another",
                    ));
                }
                let above = |key: &String| {
                    format!("{key}/") > after || after.starts_with(&format!("{key}/"))
                };
                waiting.extend(
                    directories
                        .into_iter()
                        .filter(above)
                        .map(|key| (key, depth + 1)),
                );
            }
            Ok(objects)
        })
        .await
    }
}

impl fmt::Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalStore({})", self.disk.root().display())
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for LocalStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> StoreResult<PutResult> {
        let how = match opts.mode {
            PutMode::Create => Publish::Create,
            PutMode::Overwrite => Publish::Replace,
            PutMode::Update(_) => {
                return Err(not_implemented("a put that is conditional on an ETag"));
            }
        };
        self.put(location, payload, how).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _opts: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        check_writable(location)?;
        let (key, id) = (location.clone(), self.environment.uuid());
        let stage = self
            .blocking(location, move |disk| disk.stage(key.as_ref(), id))
            .await?;
        Ok(Box::new(LocalUpload::new(
            &self.environment,
            location,
            stage,
        )))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        check_readable(location)?;
        let key = location.clone();
        if options.head {
            let metadata = self
                .blocking(location, move |disk| disk.metadata(key.as_ref()))
                .await?;
            let meta = describe(location.clone(), &metadata);
            options.check_preconditions(&meta)?;
            let payload = GetResultPayload::Stream(stream::empty().boxed());
            return Ok(GetResult {
                payload,
                range: 0..0,
                meta,
                attributes: Attributes::default(),
            });
        }
        let wanted = options.range.clone();
        // The first piece comes with the opening: most objects are no larger, and a hop to another
        // thread costs more.
        let (file, metadata, range, first) = self
            .blocking(location, move |disk| {
                let (mut file, metadata) = disk.open(key.as_ref())?;
                let range = match wanted {
                    Some(range) => range.as_range(metadata.len()).map_err(io::Error::other)?,
                    None => 0..metadata.len(),
                };
                let first = read_range(&mut file, &piece(&range))?;
                Ok((file, metadata, range, first))
            })
            .await?;
        let meta = describe(location.clone(), &metadata);
        options.check_preconditions(&meta)?;
        let rest = piece(&range).end..range.end;
        let rest = chunks(self.environment.clone(), location.clone(), file, rest);
        let payload = stream::iter((!first.is_empty()).then_some(Ok(first))).chain(rest);
        Ok(GetResult {
            payload: GetResultPayload::Stream(payload.boxed()),
            meta,
            range,
            attributes: Attributes::default(),
        })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> StoreResult<Vec<Bytes>> {
        check_readable(location)?;
        let (key, ranges) = (location.clone(), ranges.to_vec());
        self.blocking(location, move |disk| {
            let (mut file, metadata) = disk.open(key.as_ref())?;
            let read = |range: Range<u64>| {
                let range = GetRange::Bounded(range)
                    .as_range(metadata.len())
                    .map_err(io::Error::other)?;
                read_range(&mut file, &range)
            };
            ranges.into_iter().map(read).collect()
        })
        .await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, StoreResult<Path>>,
    ) -> BoxStream<'static, StoreResult<Path>> {
        let store = self.clone();
        locations
            .and_then(move |location| {
                let (store, key) = (store.clone(), location.clone());
                async move {
                    store
                        .blocking(&location, move |disk| disk.remove(key.as_ref()))
                        .await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.list_with_offset(prefix, &Path::ROOT)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        let walk = self.clone().walk(
            prefix.cloned().unwrap_or_default(),
            offset.as_ref().to_owned(),
        );
        stream::once(walk)
            .map_ok(stream::iter)
            .try_flatten()
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        let prefix = prefix.cloned().unwrap_or_default();
        let key = prefix.clone();
        let found = self
            .blocking(&prefix, move |disk| disk.read_directory(key.as_ref(), ""))
            .await?;
        let directories = found.directories.iter();
        Ok(ListResult {
            common_prefixes: directories
                .filter_map(|key| Path::parse(key).ok())
                .collect(),
            objects: found.files.into_iter().filter_map(object).collect(),
        })
    }

    async fn copy_opts(&self, _from: &Path, _to: &Path, _options: CopyOptions) -> StoreResult<()> {
        Err(not_implemented("a copy"))
    }

    async fn rename_opts(
        &self,
        _from: &Path,
        _to: &Path,
        _options: object_store::RenameOptions,
    ) -> StoreResult<()> {
        Err(not_implemented("a rename"))
    }
}

/// Runs `work` where it may block; `location` is what its failure is about.
async fn blocking<T, F>(environment: &Environment, location: &Path, work: F) -> StoreResult<T>
where
    T: Send + 'static,
    F: FnOnce() -> io::Result<T> + Send + 'static,
{
    match environment.run_blocking(work).await {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(fail(location, error)),
        None => Err(generic(io::Error::other(
            "the work on the file was abandoned",
        ))),
    }
}

/// The bytes of a range of a file, piece by piece.
fn chunks(
    environment: Environment,
    location: Path,
    file: File,
    range: Range<u64>,
) -> BoxStream<'static, StoreResult<Bytes>> {
    let next = move |(mut file, rest): (File, Range<u64>)| {
        let (environment, location) = (environment.clone(), location.clone());
        async move {
            if rest.is_empty() {
                return Ok(None);
            }
            let now = piece(&rest);
            let rest = now.end..rest.end;
            let read = move || read_range(&mut file, &now).map(|bytes| (bytes, file));
            let (bytes, file) = blocking(&environment, &location, read).await?;
            Ok(Some((bytes, (file, rest))))
        }
    };
    stream::try_unfold((file, range), next).boxed()
}

/// What is read at once of a range that is still to be read.
fn piece(rest: &Range<u64>) -> Range<u64> {
    rest.start..rest.end.min(rest.start.saturating_add(CHUNK_BYTES))
}

fn object(file: FileInfo) -> Option<ObjectMeta> {
    // A name that object_store's paths cannot hold, such as one with a control character, is no
    // key.
    let location = Path::parse(&file.key)
        .ok()
        .filter(|path| path.as_ref() == file.key)?;
    Some(describe(location, &file.metadata))
}

fn describe(location: Path, metadata: &Metadata) -> ObjectMeta {
    let last_modified = metadata
        .modified()
        .map(DateTime::<Utc>::from)
        .unwrap_or_default();
    let nanos = last_modified.timestamp_nanos_opt().unwrap_or_default();
    let e_tag = format!("{:x}-{nanos:x}-{:x}", inode(metadata), metadata.len());
    ObjectMeta {
        location,
        last_modified,
        size: metadata.len(),
        e_tag: Some(e_tag),
        version: None,
    }
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_metadata: &Metadata) -> u64 {
    0
}

fn is_stage(location: &Path) -> bool {
    location
        .filename()
        .is_some_and(|name| name.starts_with(STAGE_PREFIX))
}

fn check_readable(location: &Path) -> StoreResult<()> {
    if is_stage(location) {
        return Err(fail(location, io::ErrorKind::NotFound.into()));
    }
    Ok(())
}

fn check_writable(location: &Path) -> StoreResult<()> {
    if is_stage(location) || location.is_root() {
        return Err(generic(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a reserved name",
        )));
    }
    Ok(())
}

/// A failure of the file system in object_store's words.
fn fail(location: &Path, error: io::Error) -> StoreError {
    let path = location.as_ref().to_owned();
    match error.kind() {
        _ if is_missing(&error) => StoreError::NotFound {
            path,
            source: Box::new(error),
        },
        io::ErrorKind::AlreadyExists => StoreError::AlreadyExists {
            path,
            source: Box::new(error),
        },
        io::ErrorKind::PermissionDenied => StoreError::PermissionDenied {
            path,
            source: Box::new(error),
        },
        io::ErrorKind::Unsupported => StoreError::NotSupported {
            source: Box::new(error),
        },
        _ => generic(error),
    }
}

fn generic(error: io::Error) -> StoreError {
    StoreError::Generic {
        store: "local",
        source: Box::new(error),
    }
}

fn not_implemented(operation: &str) -> StoreError {
    StoreError::NotImplemented {
        operation: operation.to_owned(),
        implementer: "the local store".to_owned(),
    }
}
