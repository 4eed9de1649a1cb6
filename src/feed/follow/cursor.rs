//! How far a follower has come: one number, so that it fits a `txn` action.

use std::fmt;
use std::str::FromStr;

use crate::error::{Code, Error, Result};
use crate::protocol::Version;

const FILES_BITS: u32 = 20;
const ALL_FILES: u32 = (1 << FILES_BITS) - 1;
const VERSION_BITS: u32 = 42;

/// Files of one version that a cursor can count.
pub(crate) const FILES_MAX: u32 = ALL_FILES - 1;

/// How far a follower has come in the versions of a table.
///
/// A cursor is one number that only grows, and is stored as the version of a `txn` action: 42 bits of table version,
/// one bit that says whether files of the initial snapshot (0) or of a commit (1) are counted, 20 bits of files.
/// Files are counted in the order of their paths; all ones means that the version is through. As text: `12` when
/// version 12 is through, `12+3` after three files of commit 12, `12@3` after three files of the initial snapshot of
/// version 12.
///
/// ```
/// use headwater::feed::Cursor;
/// let cursor: Cursor = "12+3".parse()?;
/// assert_eq!((cursor.version(), cursor.is_through()), (12, false));
/// assert_eq!(Cursor::from_number(cursor.number())?, cursor);
/// assert!("12@3".parse::<Cursor>()? < cursor && cursor < Cursor::through(12)?);
/// # Ok::<(), headwater::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    version: Version,
    phase: Phase,
    files: u32,
}

/// Which files a cursor counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Phase {
    /// The live files of the version.
    Initial,
    /// The files that the commit of the version added.
    Commit,
}

impl Cursor {
    /// Everything up to and with a version.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if the version is more than a cursor can hold.
    pub fn through(version: Version) -> Result<Self> {
        Self::checked(version, Phase::Commit, ALL_FILES)
    }

    /// After some files of a version.
    pub(crate) fn after(version: Version, phase: Phase, files: u32) -> Result<Self> {
        if FILES_MAX < files {
            let message =
                format!("a version has more than {FILES_MAX} files, more than a feed can count");
            let error = Error::invalid(Code::LimitExceeded, message);
            return Err(error.with("version", version));
        }
        Self::checked(version, phase, files)
    }

    fn checked(version: Version, phase: Phase, files: u32) -> Result<Self> {
        if 1 << VERSION_BITS <= version {
            let message = "the version is more than a cursor can hold";
            return Err(Error::invalid(Code::LimitExceeded, message).with("version", version));
        }
        Ok(Self {
            version,
            phase,
            files,
        })
    }

    /// The version that is being read, or that is through.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether all of the version was read.
    pub fn is_through(&self) -> bool {
        self.files == ALL_FILES
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// Files of the version that were read, unless it is through.
    pub(crate) fn files(&self) -> Option<u32> {
        (!self.is_through()).then_some(self.files)
    }

    /// The cursor as one number, never negative.
    pub fn number(&self) -> i64 {
        let phase = match self.phase {
            Phase::Initial => 0,
            Phase::Commit => 1,
        };
        let number =
            (self.version << (FILES_BITS + 1)) | (phase << FILES_BITS) | u64::from(self.files);
        number.cast_signed()
    }

    /// The cursor that a number stands for.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if the number is negative, or no follower writes it: then it is no cursor
    /// of a feed.
    pub fn from_number(number: i64) -> Result<Self> {
        let wrong = || {
            let message = "the number is no cursor; another application uses this id";
            Error::invalid(Code::InvalidArgument, message).with("number", number)
        };
        let Ok(number) = u64::try_from(number) else {
            return Err(wrong());
        };
        let phase = match (number >> FILES_BITS) & 1 {
            0 => Phase::Initial,
            _ => Phase::Commit,
        };
        let files = u32::try_from(number & u64::from(ALL_FILES)).unwrap_or(ALL_FILES);
        // A version is through once its commit is: no follower says this of the initial snapshot, nor can text.
        if phase == Phase::Initial && files == ALL_FILES {
            return Err(wrong());
        }
        Self::checked(number >> (FILES_BITS + 1), phase, files)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.files(), self.phase) {
            (None, _) => write!(f, "{}", self.version),
            (Some(files), Phase::Initial) => write!(f, "{}@{files}", self.version),
            (Some(files), Phase::Commit) => write!(f, "{}+{files}", self.version),
        }
    }
}

impl FromStr for Cursor {
    type Err = Error;

    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if the text is no cursor.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            let message = "say a cursor as 12, 12+3 or 12@3";
            Error::invalid(Code::InvalidArgument, message).with("cursor", text)
        };
        let number = |text: &str| text.parse().map_err(|_| wrong());
        let files = |text: &str| text.parse().map_err(|_| wrong());
        if let Some((version, count)) = text.split_once('+') {
            return Self::after(number(version)?, Phase::Commit, files(count)?);
        }
        if let Some((version, count)) = text.split_once('@') {
            return Self::after(number(version)?, Phase::Initial, files(count)?);
        }
        Self::through(number(text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_numbers_that_grow_with_them() {
        let mut last = -1;
        for version in [0, 1, 2, 4_000_000_000_000] {
            let in_order = [
                Cursor::after(version, Phase::Initial, 0).unwrap(),
                Cursor::after(version, Phase::Initial, 7).unwrap(),
                Cursor::after(version, Phase::Commit, 0).unwrap(),
                Cursor::after(version, Phase::Commit, FILES_MAX).unwrap(),
                Cursor::through(version).unwrap(),
            ];
            for cursor in in_order {
                assert!(last < cursor.number());
                last = cursor.number();
                assert_eq!(Cursor::from_number(last).unwrap(), cursor);
                assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
            }
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        assert!(Cursor::from_number(-1).is_err());
        // All files of an initial snapshot: as text it would be another cursor.
        assert!(Cursor::from_number(522_393 << 21 | 0xf_ffff).is_err());
        assert!(Cursor::through(1 << 42).is_err());
        assert!(Cursor::after(1, Phase::Commit, ALL_FILES).is_err());
        for text in ["", "x", "1+", "+1", "1@x", "1+1048575", "-1", "1+1+1"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
