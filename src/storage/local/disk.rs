//! A folder as a store: blocking, durable, confined.
//!
//! A file gets its final name only after its bytes are on the disk, and a write is acknowledged
//! only after that name is on the disk too. So after a power cut every acknowledged object is
//! there, and nothing half-written has a final name.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use uuid::Uuid;

/// What the names of unpublished files start with; they never show in listings.
pub(super) const STAGE_PREFIX: &str = ".tmp-";

/// Directories that are remembered as being on the disk.
const DURABLE_MAX: usize = 100_000;

/// A path that a symbolic link leads out of the table's folder.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("a symbolic link leads out of the folder of the table")]
pub(in crate::storage) struct Escape;

fn escape() -> io::Error {
    io::Error::other(Escape)
}

/// What a file is, as far as a store asks.
#[derive(Debug, Clone)]
pub(super) struct FileInfo {
    pub(super) key: String,
    pub(super) metadata: fs::Metadata,
}

/// One directory's content.
#[derive(Debug, Default)]
pub(super) struct Directory {
    pub(super) files: Vec<FileInfo>,
    /// Keys of the directories in it.
    pub(super) directories: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    /// The root without symbolic links, once it exists.
    canonical: OnceLock<PathBuf>,
    /// Directories that this process saw synced, with all their parents.
    durable: Mutex<BTreeSet<PathBuf>>,
    /// Files whose names were given but may not be on the disk: the sync of their directory failed. A later one that
    /// succeeds says nothing of them.
    doubtful: Mutex<BTreeSet<PathBuf>>,
    #[cfg(test)]
    syncs_fail: std::sync::atomic::AtomicBool,
}

impl Disk {
    /// The folder `root`, an absolute path; it need not exist.
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            canonical: OnceLock::new(),
            durable: Mutex::default(),
            doubtful: Mutex::default(),
            #[cfg(test)]
            syncs_fail: std::sync::atomic::AtomicBool::default(),
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Opens a file for reading.
    pub(super) fn open(&self, key: &str) -> io::Result<(File, fs::Metadata)> {
        let path = self.existing(key)?;
        // A pipe would block for ever: look before opening.
        if !fs::metadata(&path)?.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        Ok((file, metadata))
    }

    /// Size and time of a file.
    pub(super) fn metadata(&self, key: &str) -> io::Result<fs::Metadata> {
        let metadata = fs::metadata(self.existing(key)?)?;
        if metadata.is_file() {
            Ok(metadata)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    /// Removes a file's name; a link goes, not what it points to.
    pub(super) fn remove(&self, key: &str) -> io::Result<()> {
        let (directory, name) = split(key);
        fs::remove_file(self.existing(directory)?.join(name))
    }

    /// The files and directories directly in a directory, of files only those whose key is above
    /// `after`.
    ///
    /// A directory that does not exist is empty. Names that are not UTF-8 are no keys, and are
    /// passed over.
    pub(super) fn read_directory(&self, directory: &str, after: &str) -> io::Result<Directory> {
        let mut found = Directory::default();
        let entries = match self.existing(directory).and_then(fs::read_dir) {
            Ok(entries) => entries,
            Err(error) if is_missing(&error) => return Ok(found),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| !name.starts_with(STAGE_PREFIX)) else {
                continue;
            };
            let key = if directory.is_empty() {
                name.to_owned()
            } else {
                format!("{directory}/{name}")
            };
            let file_type = entry.file_type()?;
            if file_type.is_dir() {
                found.directories.push(key);
            } else if key.as_str() > after {
                // Metadata costs a system call: only for entries that are asked for.
                match fs::metadata(entry.path()) {
                    Ok(metadata) if metadata.is_file() => {
                        found.files.push(FileInfo { key, metadata })
                    }
                    // A link to a directory is passed over: a walk stays within the tree.
                    Ok(_) => {}
                    // Gone since, or a link to nothing.
                    Err(error) if is_missing(&error) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(found)
    }

    /// Unlinks temporary names in a directory that were last written before `millis`, and says how many, and which
    /// directories lie in it. A live upload writes to its file all the time.
    pub(super) fn sweep_directory(
        &self,
        directory: &str,
        millis: i64,
    ) -> io::Result<(u64, Vec<String>)> {
        let (mut swept, mut directories) = (0, Vec::new());
        let entries = match self.existing(directory).and_then(fs::read_dir) {
            Ok(entries) => entries,
            Err(error) if is_missing(&error) => return Ok((swept, directories)),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if entry.file_type()?.is_dir() {
                directories.push(match directory {
                    "" => name.to_owned(),
                    directory => format!("{directory}/{name}"),
                });
            } else if name.starts_with(STAGE_PREFIX)
                && entry
                    .metadata()
                    .and_then(|it| it.modified())
                    .is_ok_and(|at| is_before(at, millis))
                && fs::remove_file(entry.path()).is_ok()
            {
                swept += 1;
            }
        }
        Ok((swept, directories))
    }

    /// Starts a file whose name will be `key`, making and syncing its directories.
    pub(super) fn stage(&self, key: &str, id: Uuid) -> io::Result<Stage> {
        let (directory, name) = split(key);
        let stage = || Stage::create(&self.make_directory(directory)?, name, id);
        match stage() {
            Err(error) if is_missing(&error) => {
                // The directory was removed under us: what we remember of it is wrong.
                self.durable().clear();
                stage()
            }
            staged => staged,
        }
    }

    /// Makes a directory and its parents, all of them on the disk when this returns.
    fn make_directory(&self, directory: &str) -> io::Result<PathBuf> {
        let path = self.join(directory);
        if !self.durable().contains(&path) {
            self.make_durable(&path)?;
            let mut durable = self.durable();
            if durable.len() >= DURABLE_MAX {
                durable.clear();
            }
            durable.insert(path);
        }
        self.existing(directory)
    }

    fn make_durable(&self, path: &Path) -> io::Result<()> {
        let mut missing = Vec::new();
        let mut ancestor = path;
        while !ancestor.try_exists()? {
            missing.push(ancestor);
            match ancestor.parent() {
                Some(parent) => ancestor = parent,
                None => break,
            }
        }
        // Below the root, a link must not make us create directories elsewhere.
        if ancestor.starts_with(&self.root) {
            self.confine(ancestor)?;
        }
        for directory in missing.into_iter().rev() {
            match DirBuilder::new().create(directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => sync_parent(directory)?,
            }
        }
        // Another process may have made these a moment ago, and not synced them yet.
        let mut directory = path;
        while directory.starts_with(&self.root) && directory != self.root {
            sync_parent(directory)?;
            match directory.parent() {
                Some(parent) => directory = parent,
                None => break,
            }
        }
        // What holds the table's folder may be closed to us; then somebody else made the folder.
        match sync_parent(&self.root) {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => Err(error),
            _ => Ok(()),
        }
    }

    /// Gives a file its final name, durably.
    pub(super) fn publish(&self, stage: Stage, how: Publish) -> io::Result<()> {
        let (directory, target) = (stage.directory.clone(), stage.target.clone());
        stage.name(how)?;
        let synced = self.sync_directory(&directory);
        if synced.is_err() {
            self.doubtful().insert(target);
        }
        synced
    }

    /// Makes sure that the name of a file that is there is on the disk.
    pub(super) fn sync_name(&self, key: &str) -> io::Result<()> {
        let (directory, name) = split(key);
        let directory = self.existing(directory)?;
        let synced = self.sync_directory(&directory);
        // Asked last: whoever gave the name may be syncing it now.
        if self.doubtful().contains(&directory.join(name)) {
            return Err(io::Error::other(
                "a sync of its directory failed, so its name may be lost",
            ));
        }
        synced
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        #[cfg(test)]
        if self.syncs_fail.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(5));
        }
        sync_directory(directory)
    }

    #[cfg(test)]
    pub(super) fn fail_directory_syncs(&self, fail: bool) {
        self.syncs_fail
            .store(fail, std::sync::atomic::Ordering::SeqCst);
    }

    fn doubtful(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        // As of `durable`.
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn durable(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        // Every change to the set is one call: a panic elsewhere cannot leave it half changed.
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The real path of something that exists, which must be in the table's folder.
    fn existing(&self, key: &str) -> io::Result<PathBuf> {
        self.confine(&self.join(key))
    }

    fn confine(&self, path: &Path) -> io::Result<PathBuf> {
        let real = fs::canonicalize(path)?;
        if real.starts_with(self.canonical_root()?) {
            Ok(real)
        } else {
            Err(escape())
        }
    }

    fn canonical_root(&self) -> io::Result<&Path> {
        if self.canonical.get().is_none() {
            let _ = self.canonical.set(fs::canonicalize(&self.root)?);
        }
        self.canonical
            .get()
            .map(PathBuf::as_path)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The path of a key: one file name for each of its parts, as they are.
    fn join(&self, key: &str) -> PathBuf {
        let mut path = self.root.clone();
        path.extend(key.split('/').filter(|part| !part.is_empty()));
        path
    }
}

/// Whether a final name may replace an object that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Publish {
    /// No: the name must be free.
    Create,
    /// Yes.
    Replace,
}

/// A file that has no final name yet. Dropped unpublished, it is removed.
#[derive(Debug)]
pub(super) struct Stage {
    file: Mutex<File>,
    path: PathBuf,
    target: PathBuf,
    directory: PathBuf,
    /// Whether the temporary name is gone.
    renamed: bool,
}

impl Stage {
    fn create(directory: &Path, name: &str, id: Uuid) -> io::Result<Self> {
        let path = directory.join(format!("{STAGE_PREFIX}{}", id.simple()));
        let opened = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = opened.map_err(|error| match error.kind() {
            // It is the temporary name that is taken: this must not read as if the object existed.
            io::ErrorKind::AlreadyExists => io::ErrorKind::ResourceBusy.into(),
            _ => error,
        })?;
        Ok(Self {
            file: Mutex::new(file),
            path,
            target: directory.join(name),
            directory: directory.to_owned(),
            renamed: false,
        })
    }

    /// Writes `chunks` one after another, the first at `offset`.
    pub(super) fn write_at(&self, offset: u64, chunks: &[Bytes]) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        chunks.iter().try_for_each(|chunk| file.write_all(chunk))
    }

    /// Gives the file its final name, durably. A sync that failed is not tried again: the file is
    /// given up.
    pub(super) fn publish(self, how: Publish) -> io::Result<()> {
        let directory = self.directory.clone();
        self.name(how)?;
        sync_directory(&directory)
    }

    /// Gives the file, whose bytes are on the disk then, its final name; that is on the disk once the directory is synced.
    fn name(mut self, how: Publish) -> io::Result<()> {
        self.file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .sync_all()?;
        match how {
            Publish::Create => {
                fs::hard_link(&self.path, &self.target).map_err(link_failed)?;
                // Before the directory is synced, so that one sync covers both names.
                self.renamed = fs::remove_file(&self.path).is_ok();
            }
            Publish::Replace => {
                fs::rename(&self.path, &self.target)?;
                self.renamed = true;
            }
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.renamed {
            // Nothing more can be done if this fails: the name is hidden, and nobody ever uses it
            // again.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Tells a file system without hard links from one that is closed to us: both say EPERM.
fn link_failed(error: io::Error) -> io::Error {
    const EPERM: i32 = 1;
    let lacking = matches!(
        error.kind(),
        io::ErrorKind::Unsupported | io::ErrorKind::CrossesDevices
    );
    if lacking || error.raw_os_error() == Some(EPERM) {
        return io::Error::new(
            io::ErrorKind::Unsupported,
            "the file system has no hard links",
        );
    }
    error
}

/// Reads up to `range.end - range.start` bytes; fewer only at the end of the file.
pub(super) fn read_range(file: &mut File, range: &Range<u64>) -> io::Result<Bytes> {
    let length = range.end.saturating_sub(range.start);
    file.seek(SeekFrom::Start(range.start))?;
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(usize::try_from(length).unwrap_or(usize::MAX))?;
    Read::by_ref(file).take(length).read_to_end(&mut buffer)?;
    Ok(buffer.into())
}

/// Whether a failure says that there is nothing of that name.
fn is_before(time: std::time::SystemTime, millis: i64) -> bool {
    let since = time
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).is_ok_and(|time| time < millis)
}

pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// The directory and the name of a key.
fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('/').unwrap_or(("", key))
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_directory)
}

#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // A file system that cannot sync a directory says so this way; there is nothing more to be
        // done there.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

/// Other systems do not open directories as files; their file systems log names themselves.
#[cfg(not(unix))]
fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}
