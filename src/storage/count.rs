//! Counting what a table costs its store.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many requests went to the store, and how many bytes: what tests and users hold against a
/// budget.
///
/// A retried request counts each time it is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestCounts {
    /// Reads of an object or of one range of it.
    pub gets: u64,
    /// Questions for size and time of an object.
    pub heads: u64,
    /// Writes: whole objects, whether or not they may replace one, and the parts of large ones.
    pub puts: u64,
    /// Listings, however many pages one has.
    pub lists: u64,
    /// Deletions.
    pub deletes: u64,
    /// Requests among those above that repeat one that failed.
    pub retries: u64,
    /// Bytes of objects received.
    pub bytes_read: u64,
    /// Bytes of objects sent.
    pub bytes_written: u64,
}

impl RequestCounts {
    /// All requests together.
    pub fn requests(&self) -> u64 {
        self.gets + self.heads + self.puts + self.lists + self.deletes
    }

    /// What was spent after `earlier` was taken.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            gets: self.gets.saturating_sub(earlier.gets),
            heads: self.heads.saturating_sub(earlier.heads),
            puts: self.puts.saturating_sub(earlier.puts),
            lists: self.lists.saturating_sub(earlier.lists),
            deletes: self.deletes.saturating_sub(earlier.deletes),
            retries: self.retries.saturating_sub(earlier.retries),
            bytes_read: self.bytes_read.saturating_sub(earlier.bytes_read),
            bytes_written: self.bytes_written.saturating_sub(earlier.bytes_written),
        }
    }
}

/// One counter per field of [`RequestCounts`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) gets: Counter,
    pub(super) heads: Counter,
    pub(super) puts: Counter,
    pub(super) lists: Counter,
    pub(super) deletes: Counter,
    pub(super) retries: Counter,
    pub(super) bytes_read: Counter,
    pub(super) bytes_written: Counter,
}

impl Counters {
    pub(super) fn read(&self) -> RequestCounts {
        RequestCounts {
            gets: self.gets.read(),
            heads: self.heads.read(),
            puts: self.puts.read(),
            lists: self.lists.read(),
            deletes: self.deletes.read(),
            retries: self.retries.read(),
            bytes_read: self.bytes_read.read(),
            bytes_written: self.bytes_written.read(),
        }
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
