//! What a worker tells its parent: one line each, written whole and at once.

use std::io::Write;

use serde::{Deserialize, Serialize};

/// Lines of a worker start with this; the test harness prints others.
const MARK: &str = "@ ";

/// A place in an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// A data file is on the disk.
    Data,
    /// All of them are; the commit is about to be put.
    Commit,
    /// The commit is on the disk; nobody has heard of it.
    Landed,
    /// A checkpoint is about to be put: the commit before it may be acknowledged or not.
    Checkpoint,
    /// A checkpoint is there; the hint that points to it is about to be put.
    Hint,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Line {
    /// The table is open.
    Ready,
    /// The append of this number starts.
    Begin(i64),
    /// The append has come so far.
    Reached(Phase),
    /// The worker stands still here and waits for its end.
    Held(Phase),
    /// What is under way was planned so many times again, because others contradicted it.
    Replanned(usize),
    /// The operation of this number ended as a conflict, so that nothing was committed, and starts again.
    GaveUp(i64),
    /// The append of this number returned: this call committed it at this version.
    Committed(i64, u64),
    /// The append of this number returned: it had been committed before.
    AlreadyApplied(i64),
    /// One turn of work that has no number is over, and what it did.
    Turn(Turn),
    /// All appends are done, and so is the work behind them.
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Turn {
    /// So many files became so many.
    Compacted(u64, u64),
    /// So many files, and so many unnamed ones, were deleted.
    Vacuumed(u64, u64),
    /// A leased version, so many commits behind the newest, was read so many times.
    Read(u64, u64),
    /// The lease was not to be had.
    Refused,
    /// After the end of the lease the version could not be read any more.
    Expired,
    /// Others contradicted it until it gave up.
    GaveUp,
}

impl Line {
    pub(crate) fn print(self) {
        // In front of the first line stands what the harness prints, without an end.
        let line = format!("\n{MARK}{}\n", serde_json::to_string(&self).unwrap());
        let mut out = std::io::stdout().lock();
        out.write_all(line.as_bytes()).unwrap();
        out.flush().unwrap();
    }

    /// The line of a worker; `None` if it is the harness's.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let json = text.strip_prefix(MARK)?;
        Some(serde_json::from_str(json).unwrap())
    }
}
