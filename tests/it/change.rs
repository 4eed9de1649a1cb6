//! Rows that are changed: delete, update and merge are held against an interpreter that goes row by row.

mod delete;
mod feed;
mod large;
mod merge;
mod rules;
mod update;

use std::sync::Arc;

use headwater::arrow_array::{Array, RecordBatch};
use headwater::environment::Environment;
use headwater::{Commit, CommitStatus, Table};
use proptest::prelude::*;

use crate::pruning::foreign::{File, files, place};
use crate::pruning::rows::{COLUMNS, Chunk, Row, batch, chunks, schema};
use crate::pruning::{Layout, layouts};
use crate::support::storage;
use crate::support::store::Faulty;

/// A table before it is changed.
#[derive(Debug, Clone)]
enum Start {
    /// Written here.
    Ours(Layout, Vec<Chunk>),
    /// Written by others: many row groups, small pages, odd statistics, deletion vectors.
    Theirs(Vec<File>),
}

/// A table, and what the rows of it are changed by.
#[derive(Debug, Clone)]
struct Case {
    start: Start,
    /// Whether rows go by deletion vector.
    marks: bool,
    feed: bool,
}

fn cases() -> impl Strategy<Value = Case> {
    let ours = (layouts(), proptest::collection::vec(chunks(0..24), 1..4));
    let ours = ours.prop_map(|(layout, chunks)| Start::Ours(layout, chunks));
    let theirs = proptest::collection::vec(files(), 1..3).prop_map(Start::Theirs);
    let start = prop_oneof![1 => ours, 1 => theirs];
    (start, any::<[bool; 2]>()).prop_map(|(start, [marks, feed])| Case { start, marks, feed })
}

impl Case {
    /// The table, and its rows.
    async fn build(&self, store: &Faulty) -> (Table, Vec<Row>) {
        let environment = Environment::system();
        let mut create = Table::create_in(storage(store), environment, schema());
        // The protocol allows both; the properties turn them on.
        create = create.feature("deletionVectors").feature("changeDataFeed");
        let word = |on: bool| if on { "true" } else { "false" };
        create = create.property("delta.enableDeletionVectors", word(self.marks));
        create = create.property("delta.enableChangeDataFeed", word(self.feed));
        match &self.start {
            Start::Theirs(files) => {
                let table = create.await.unwrap();
                let rows = place(store, files, false).await;
                (table, rows)
            }
            Start::Ours(layout, chunks) => {
                let partitions = layout.partitions.iter();
                create = create.partition_by(partitions.map(|index| COLUMNS[*index].0));
                for (key, value) in &layout.properties {
                    create = create.property(*key, *value);
                }
                let table = create.await.unwrap();
                let mut all = Vec::new();
                for chunk in chunks {
                    let rows = chunk.rows(all.len() as i64, &layout.partitions);
                    let append = table.append(batch(&rows));
                    let append = append.target_file_bytes(layout.target_file_bytes);
                    append.await.unwrap();
                    all.extend(rows);
                }
                (table, all)
            }
        }
    }
}

/// What another process finds is these rows, and the log adds up to them.
async fn assert_is(store: &Faulty, rows: &[Row]) {
    let table = crate::support::open(store).await.unwrap();
    let snapshot = table.snapshot();
    crate::pruning::assert_whole(&snapshot, rows).await;
    let sums = snapshot.sums().await.unwrap();
    // Files of others need not say how many rows they have.
    assert!(
        sums.rows.is_none_or(|sum| sum == rows.len() as u64),
        "{sums:?}"
    );
}

/// A commit happened if and only if something changed.
fn assert_status(commit: &Commit, changes: bool) {
    let expected = match changes {
        true => CommitStatus::Committed,
        false => CommitStatus::Unchanged,
    };
    assert_eq!(commit.status, expected, "{commit:?}");
}

/// A batch of plain columns, all of which may be null.
fn columns(columns: Vec<(&str, Arc<dyn Array>)>) -> RecordBatch {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}
