//! What a follower hands out.

use std::sync::Arc;

use arrow_array::RecordBatch;
use futures::TryStreamExt;

use crate::data::reader::DataFile;
use crate::error::Result;
use crate::feed::follow::FollowOptions;
use crate::feed::follow::commits::Waiting;
use crate::feed::follow::cursor::Cursor;
use crate::feed::leased::Leased;
use crate::protocol::Version;
use crate::scan::{Scan, ScanStream};
use crate::snapshot::Snapshot;

/// Some files of a followed table, to be read once.
#[derive(Debug, Clone)]
pub struct FollowInput {
    pub(super) scan: Scan,
    pub(super) snapshot: Snapshot,
    pub(super) files: Vec<DataFile>,
    pub(in crate::feed) begin: Option<Cursor>,
    pub(super) end: Cursor,
    pub(super) bytes: u64,
    pub(super) rows: Option<u64>,
    /// What keeps its files.
    pub(super) leased: Option<Arc<Leased>>,
}

impl FollowInput {
    /// The cursor before it; `None` if it is the first.
    pub fn begin(&self) -> Option<Cursor> {
        self.begin
    }

    /// The cursor after it.
    pub fn end(&self) -> Cursor {
        self.end
    }

    /// The last version whose rows are in it.
    pub fn version(&self) -> Version {
        self.end.version()
    }

    /// The version of the table that its rows are read as: later columns are not among them.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Its files.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// Bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its rows before a filter, where the log says how many.
    pub fn rows(&self) -> Option<u64> {
        self.rows
    }

    /// Reads its rows, file by file, in a stable order. May be called again: the same rows come.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if a selected column is not in the table, or the condition does not fit
    /// it; what goes wrong with a data file comes out of the stream.
    pub fn stream(&self) -> Result<ScanStream> {
        self.scan.stream_of_files(self.files.clone())
    }

    /// All its rows, in memory.
    ///
    /// # Errors
    ///
    /// As [`FollowInput::stream`].
    pub async fn collect(&self) -> Result<Vec<RecordBatch>> {
        self.stream()?.try_collect().await
    }
}

/// An input that is being put together.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    files: Vec<DataFile>,
    bytes: u64,
    rows: Option<u64>,
}

impl Gathering {
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Whether a file would be too much.
    pub(super) fn is_full_for(&self, next: &Waiting, options: &FollowOptions) -> bool {
        let bytes = self.bytes.saturating_add(next.file.size);
        let rows = self
            .rows
            .unwrap_or(0)
            .saturating_add(next.rows.unwrap_or(0));
        let is_over = options.files_max <= self.files.len()
            || options.bytes_max < bytes
            || options.rows_max < rows;
        !self.is_empty() && is_over
    }

    pub(super) fn push(&mut self, next: Waiting) {
        let before = match self.is_empty() {
            true => Some(0),
            false => self.rows,
        };
        self.rows = before
            .zip(next.rows)
            .map(|(before, rows)| before.saturating_add(rows));
        self.bytes = self.bytes.saturating_add(next.file.size);
        self.files.push(next.file);
    }

    pub(super) fn finish(
        self,
        snapshot: &Snapshot,
        options: &FollowOptions,
        (begin, end): (Option<Cursor>, Cursor),
    ) -> FollowInput {
        let mut scan = snapshot.scan();
        if let Some(columns) = &options.select {
            scan = scan.select(columns.clone());
        }
        if let Some(filter) = &options.filter {
            scan = scan.filter(filter.clone());
        }
        FollowInput {
            scan,
            snapshot: snapshot.clone(),
            files: self.files,
            begin,
            end,
            bytes: self.bytes,
            rows: self.rows,
            leased: None,
        }
    }
}
