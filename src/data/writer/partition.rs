//! Rows of one partition that wait for their file.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::{Array, RecordBatch};

use crate::data::writer::SLAB_ROWS;
use crate::data::writer::file::OpenFile;
use crate::data::writer::split::PartitionKey;

/// What a piece of rows in a buffer costs beside its values.
const PIECE_COST: usize = 512;

/// What is known of one partition.
pub(super) struct Partition {
    pub(super) key: PartitionKey,
    pub(super) buffer: VecDeque<Piece>,
    pub(super) buffer_rows: usize,
    pub(super) buffer_bytes: usize,
    pub(super) file: FileState,
    /// What the open file holds in memory.
    pub(super) file_bytes: usize,
}

pub(super) enum FileState {
    None,
    Open(Box<OpenFile>, usize),
    Busy,
}

pub(super) struct Piece {
    rows: RecordBatch,
    bytes: usize,
}

impl Partition {
    pub(super) fn new(key: PartitionKey) -> Self {
        Self {
            key,
            buffer: VecDeque::new(),
            buffer_rows: 0,
            buffer_bytes: 0,
            file: FileState::None,
            file_bytes: 0,
        }
    }

    /// Appends rows to the buffer, in pieces no larger than a slab; says how many bytes they are.
    pub(super) fn take_in(&mut self, rows: &RecordBatch, slab_bytes: usize) -> usize {
        let all = rows.num_rows();
        let row_bytes = (PIECE_COST + bytes_of(rows)).div_ceil(all.max(1));
        let step = (slab_bytes / row_bytes).clamp(1, SLAB_ROWS);
        let mut taken = 0;
        for start in (0..all).step_by(step) {
            let rows = rows.slice(start, step.min(all - start));
            let bytes = row_bytes * rows.num_rows();
            taken += bytes;
            self.buffer_rows += rows.num_rows();
            self.buffer.push_back(Piece { rows, bytes });
        }
        self.buffer_bytes += taken;
        taken
    }

    pub(super) fn has_slab(&self, slab_bytes: usize) -> bool {
        SLAB_ROWS <= self.buffer_rows || slab_bytes <= self.buffer_bytes
    }

    /// The first rows of the buffer, up to a slab, and their bytes.
    pub(super) fn take_slab(&mut self, slab_bytes: usize) -> (Vec<RecordBatch>, usize) {
        let mut slab = Vec::new();
        let (mut rows, mut bytes) = (0, 0);
        while rows < SLAB_ROWS && bytes < slab_bytes {
            let Some(piece) = self.buffer.pop_front() else {
                break;
            };
            rows += piece.rows.num_rows();
            bytes += piece.bytes;
            slab.push(piece.rows);
        }
        self.buffer_rows -= rows;
        self.buffer_bytes -= bytes;
        (slab, bytes)
    }
}

/// The bytes that the rows take, be they part of larger arrays or not.
fn bytes_of(rows: &RecordBatch) -> usize {
    let bytes = |column: &Arc<dyn Array>| column.to_data().get_slice_memory_size();
    rows.columns()
        .iter()
        .map(|column| bytes(column).unwrap_or(0))
        .sum()
}
