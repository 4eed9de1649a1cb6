//! Following a table: the rows that it had, then the rows that are added, each once.
//!
//! A [`Follower`] walks the log version by version and proves that it saw every one: a commit that is missing while
//! later ones exist is an error, never fewer rows. It hands out whole files in the order of versions and paths, so a
//! [`Cursor`] of one number says exactly what was read.
//!
//! Delivered is what a commit adds as a change of data. Files that only move rows (compaction) and files that the
//! table had already (a commit that landed twice) are not. Commits that delete or change rows are an error unless
//! [`OnChange`] says otherwise.

mod commits;
mod cursor;
mod follower;
mod input;
mod known;

use std::time::Duration;

use crate::predicate::Predicate;
use crate::protocol::Version;
use crate::table::Table;

pub use cursor::Cursor;
pub use follower::Follower;
pub use input::FollowInput;

/// What of a table is followed, and how much of it is handed out at once.
#[derive(Debug, Clone, PartialEq)]
pub struct FollowOptions {
    /// Where to begin where there is no cursor.
    pub start: FollowStart,
    /// What to do with commits that delete or change rows.
    pub on_change: OnChange,
    /// What to do when commits are missing that were not read.
    pub on_gap: OnGap,
    /// The last version whose rows are handed out; an initial snapshot is one of this version. Unset: there is none.
    pub until: Option<Version>,
    /// Files of an input, at most. Default 1,000.
    pub files_max: usize,
    /// Bytes of the files of an input, at most, unless one file alone has more. Default 1 GiB.
    pub bytes_max: u64,
    /// Rows of an input, at most, unless one file alone has more. Default: any number.
    pub rows_max: u64,
    /// The columns to read. Unset: all.
    pub select: Option<Vec<String>>,
    /// The rows to read. Unset: all.
    pub filter: Option<Predicate>,
    /// Leases the version of the initial snapshot for so long at a time, and renews the lease until its files are read:
    /// no vacuum takes them meanwhile, however old it is. Files that were added later are kept by the table's retention
    /// alone. Unset: no lease.
    pub lease: Option<Duration>,
}

impl Default for FollowOptions {
    fn default() -> Self {
        Self {
            start: FollowStart::default(),
            on_change: OnChange::default(),
            on_gap: OnGap::default(),
            until: None,
            files_max: 1_000,
            bytes_max: 1 << 30,
            rows_max: u64::MAX,
            select: None,
            filter: None,
            lease: None,
        }
    }
}

/// Where to begin where there is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FollowStart {
    /// With all rows of the newest version (or of [`FollowOptions::until`]), then what is added later.
    #[default]
    Snapshot,
    /// With what the commit of this version adds.
    Version(Version),
    /// With what is added after the newest version.
    Latest,
}

/// What to do with a commit that deletes or changes rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnChange {
    /// End with an error that names the version.
    #[default]
    Fail,
    /// Go on after a commit that only deletes rows: whole files, or by deletion vector. What was handed out of them
    /// stays so. A commit that changes rows, or that rewrites files to delete some, is an error.
    IgnoreDeletes,
    /// Leave out every commit that removes data, with all rows that it adds.
    SkipCommits,
}

/// What to do when commits are missing that were not read, because the log was cleaned up meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnGap {
    /// End with an error that names the first version that is still there.
    #[default]
    Fail,
    /// Go on after the first version that can still be loaded. What the missing commits and that version added is
    /// never handed out.
    Skip,
}

impl Table {
    /// Follows the table. See [`Follower`].
    pub fn follow(&self, options: FollowOptions) -> Follower {
        Follower::new(self, options)
    }
}
