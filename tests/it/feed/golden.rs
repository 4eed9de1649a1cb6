//! Tables of other engines: what a scan reads, a feed hands out, in another order.

use std::path::{Path, PathBuf};

use futures::TryStreamExt;
use headwater::Table;
use headwater::arrow_array::RecordBatch;
use headwater::feed::{BatchOptions, ShuffleOptions};

use crate::support::golden;

/// Rows of a table that are compared as text.
const TEXT_ROWS_MAX: usize = 300;

/// Folders below one that are tables.
fn tables(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    let folders: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    if folders.iter().any(|path| path.ends_with("_delta_log")) {
        found.push(folder.to_owned());
        return;
    }
    for folder in folders {
        tables(&folder, found);
    }
}

/// The rows as text, sorted.
fn texts(batches: &[RecordBatch]) -> Vec<String> {
    let rows = batches
        .iter()
        .flat_map(|batch| (0..batch.num_rows()).map(|row| batch.slice(row, 1)));
    let mut texts: Vec<_> = rows.map(|row| format!("{:?}", row.columns())).collect();
    texts.sort();
    texts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn golden_tables_feed_the_rows_that_they_scan() {
    let mut found = Vec::new();
    let Some(folder) = golden() else {
        return;
    };
    tables(&folder, &mut found);
    let mut compared = 0;
    for folder in &found {
        let Ok(table) = Table::open(folder.to_str().unwrap()).await else {
            continue;
        };
        // What cannot be read cannot be fed; `tests/golden.rs` says which tables these are.
        let Ok(scanned) = table.snapshot().scan().collect().await else {
            continue;
        };
        let rows: usize = scanned.iter().map(RecordBatch::num_rows).sum();
        let shuffle = ShuffleOptions {
            lanes: Some(2),
            window: Some(3),
            unit_rows: Some((rows as u32 / 10).max(7)),
            ..ShuffleOptions::default()
        };
        let plan = table.snapshot().feed(1).shuffle(shuffle).plan().await;
        let plan = plan.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let batches = plan.batches(BatchOptions::default()).unwrap();
        let fed: Vec<RecordBatch> = batches.try_collect().await.unwrap();
        let count =
            |batches: &[RecordBatch]| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
        assert_eq!(count(&fed), count(&scanned), "{}", folder.display());
        // Text is slow: large tables by their number of rows alone.
        if count(&scanned) <= TEXT_ROWS_MAX {
            assert_eq!(texts(&fed), texts(&scanned), "{}", folder.display());
        }
        compared += 1;
    }
    assert!(100 < compared, "{compared}");
}
