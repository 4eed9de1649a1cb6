//! How files become units: by what the version holds, not by what the log or a writer happens to say of it.

use std::sync::Arc;

use futures::TryStreamExt;
use headwater::Table;
use headwater::arrow_array::{Int64Array, RecordBatch, StringArray};
use headwater::environment::Environment;
use headwater::feed::{BatchOptions, ShuffleOptions};
use headwater::predicate::col;
use headwater::protocol::schema::{DataType, Field, Schema};

use super::{ids_in, options};
use crate::support::store::Faulty;
use crate::support::{open, storage};

const MEMORY: u64 = 4 << 20;

/// Rows with a text of so many bytes, of which there are few.
fn texts(ids: std::ops::Range<i64>, bytes: usize) -> RecordBatch {
    let texts = ids.clone().map(|id| format!("{:0bytes$}", id % 5));
    let texts: StringArray = texts.map(Some).collect();
    let ids = Int64Array::from_iter_values(ids);
    let columns = [("id", Arc::new(ids) as _), ("text", Arc::new(texts) as _)];
    RecordBatch::try_from_iter(columns).unwrap()
}

async fn table(store: &Faulty) -> Table {
    let schema = Schema::new([
        Field::new("id", DataType::LONG, false),
        Field::new("text", DataType::STRING, true),
    ]);
    Table::create_in(storage(store), Environment::system(), schema.unwrap())
        .property("delta.checkpoint.writeStatsAsJson", "false")
        .property("delta.checkpoint.writeStatsAsStruct", "false")
        .await
        .unwrap()
}

fn little() -> ShuffleOptions {
    ShuffleOptions {
        memory_bytes: MEMORY,
        ..ShuffleOptions::default()
    }
}

#[tokio::test]
async fn the_plan_does_not_depend_on_which_files_the_log_could_leave_out() {
    let store = Faulty::default();
    let table = table(&store).await;
    table.append(texts(0..20_000, 8)).await.unwrap();
    // Files without a row of the feed, whose rows are much wider.
    table.append(texts(20_000..24_000, 2_000)).await.unwrap();
    table.append(texts(24_000..24_500, 9_000)).await.unwrap();
    let plan = async |table: &Table| {
        let feed = table.snapshot().feed(7).filter(col("id").lt(15_000));
        feed.shuffle(little()).plan().await.unwrap()
    };
    let kept = async |table: &Table| {
        let scan = table.snapshot().scan().filter(col("id").lt(15_000));
        let files = scan.explain().await.unwrap();
        let kept = files
            .iter()
            .filter(|file| file.verdict == headwater::scan::Verdict::Kept);
        kept.count()
    };
    let (with, files) = (plan(&table).await, kept(&table).await);
    table.checkpoint().await.unwrap();
    let forgetful = open(&store).await.unwrap();
    assert_eq!((files, kept(&forgetful).await), (1, 3));
    let without = plan(&forgetful).await;
    assert_eq!(with.summary(), without.summary());
    assert_eq!(with.digest(), without.digest());
    assert_eq!(with.rows(), 15_000);
    // It is the narrow rows that were measured.
    assert!(1_024 < with.summary().unit_rows, "{:?}", with.summary());
}

#[tokio::test]
async fn a_dictionary_hides_no_long_text_from_the_plan() {
    let store = Faulty::default();
    let table = table(&store).await;
    table.append(texts(0..30_000, 1_024)).await.unwrap();
    let plan = table.snapshot().feed(7).shuffle(little());
    let plan = plan.plan().await.unwrap();
    let summary = plan.summary();
    assert_eq!(summary.unit_rows, 1_024);
    assert!(summary.memory_bytes <= MEMORY, "{summary:?}");
    let mut batches = plan.batches(BatchOptions::default()).unwrap();
    let mut rows = 0;
    while let Some(batch) = batches.try_next().await.unwrap() {
        rows += batch.num_rows();
    }
    assert_eq!(rows, 30_000);
    let counts = batches.counts();
    assert_eq!(counts.units_read, summary.units, "{counts:?} {summary:?}");
    assert!(counts.bytes_resident_max <= MEMORY * 3 / 2, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_take_more_memory_than_planned_come_in_the_same_order() {
    let store = Faulty::default();
    let table = table(&store).await;
    table.append(texts(0..20_000, 1_024)).await.unwrap();
    let plan = async |memory_bytes| {
        let shuffle = ShuffleOptions {
            memory_bytes,
            lanes: Some(2),
            window: Some(21),
            unit_rows: Some(512),
        };
        let feed = table.snapshot().feed(7).shuffle(shuffle);
        feed.plan().await.unwrap()
    };
    let mut orders = Vec::new();
    for memory_bytes in [1 << 30, MEMORY] {
        let plan = plan(memory_bytes).await;
        let threads = 2;
        let mut batches = plan
            .batches(BatchOptions {
                threads,
                ..options(700)
            })
            .unwrap();
        let mut ids = Vec::new();
        while let Some(batch) = batches.try_next().await.unwrap() {
            ids.extend(ids_in(&[batch]));
        }
        assert_eq!(batches.order_digest(), plan.order_digest(0).await.unwrap());
        orders.push((ids, plan.digest()));
        let (counts, units) = (batches.counts(), plan.summary().units);
        if memory_bytes == MEMORY {
            // Half a MiB each: those that are read at once, and the one that is handed out.
            let most = MEMORY * 3 / 2 + (threads as u64 + 1) * (600 << 10);
            assert!(counts.bytes_resident_max <= most, "{counts:?}");
            assert!(units < counts.units_read, "{counts:?}");
        } else {
            assert!(4 * MEMORY < counts.bytes_resident_max, "{counts:?}");
            assert_eq!(counts.units_read, units);
        }
    }
    assert_eq!(orders[0], orders[1]);
    let mut ids = orders.remove(0).0;
    ids.sort_unstable();
    assert_eq!(ids, (0..20_000).collect::<Vec<_>>());
}
