//! Where output goes: to whoever reads our standard output, or to a file that is whole or not there.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Failure;

static READER_IS_GONE: AtomicBool = AtomicBool::new(false);

/// Whether who read our output has seen enough, as `head` does.
pub(crate) fn reader_is_gone() -> bool {
    READER_IS_GONE.load(Ordering::Relaxed)
}

/// Our standard output.
pub(crate) fn stdout() -> Stdout {
    Stdout(std::io::stdout())
}

/// Standard output that notes when nobody reads it any more: not every writer above it hands on why it failed.
pub(crate) struct Stdout(std::io::Stdout);

impl Stdout {
    fn noted<T>(result: std::io::Result<T>) -> std::io::Result<T> {
        if result
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::BrokenPipe)
        {
            READER_IS_GONE.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Self::noted(self.0.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Self::noted(self.0.flush())
    }
}

/// A file that is written beside its place and moved there when it is whole. Until then the place keeps what it had;
/// dropped before, it leaves nothing behind.
pub(crate) struct Unfinished {
    file: File,
    /// Where it is written, and where it belongs; none for what is no file, such as a pipe.
    partial: Option<(PathBuf, PathBuf)>,
}

impl Unfinished {
    pub(crate) fn create(place: &Path) -> Result<(Self, BufWriter<File>), Failure> {
        let named = |error: std::io::Error| format!("{}: {error}", place.display());
        let is_special = std::fs::metadata(place).is_ok_and(|found| !found.is_file());
        let (file, partial) = if is_special {
            (
                File::options().write(true).open(place).map_err(named)?,
                None,
            )
        } else {
            // A link stays one.
            let place = std::fs::canonicalize(place).unwrap_or_else(|_| place.to_owned());
            let mut partial = place.as_os_str().to_owned();
            partial.push(format!(".{}.partial", std::process::id()));
            let partial = PathBuf::from(partial);
            (
                File::create(&partial).map_err(named)?,
                Some((partial, place)),
            )
        };
        let writer = BufWriter::new(file.try_clone().map_err(named)?);
        Ok((Self { file, partial }, writer))
    }

    /// Moves it to its place. All of it must have been written.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        let Some((partial, place)) = &self.partial else {
            return Ok(());
        };
        let named = |error: std::io::Error| format!("{}: {error}", place.display());
        self.file.sync_all().map_err(named)?;
        std::fs::rename(partial, place).map_err(named)?;
        let folder = place
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new("."))).map_err(named)?;
        folder.sync_all().map_err(named)?;
        self.partial = None;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some((partial, _)) = &self.partial {
            // It may have been moved already; what cannot be removed says by its name what it is.
            let _ = std::fs::remove_file(partial);
        }
    }
}
