//! Memory: a change of a few rows in a large table costs what the rows cost, not what the table does; compaction costs
//! what a few files cost, however many there are.
//!
//! Ignored by default, since the table takes a while to make; in release:
//! `cargo test --release --test memory -- --ignored --nocapture`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::too_many_lines,
    reason = "a test panics when a promise is broken"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use headwater::arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use headwater::predicate::col;
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::{Batches, Table};

const ROWS: i64 = 10_000_000;
const BATCH_ROWS: i64 = 100_000;
/// What a change may take, in kilobytes.
const PEAK_MAX: u64 = 400 * 1024;
/// Rows of a kilobyte each, which compaction rewrites.
const WIDE_ROWS: i64 = 1_600_000;
const WIDE_BATCH_ROWS: i64 = 8_000;
/// What compaction may take, in kilobytes: much less than the rows do.
const COMPACT_PEAK_MAX: u64 = 1024 * 1024;
/// Says to a child of this test what it does, and where.
const JOB: &str = "HEADWATER_MEMORY_JOB";

fn batch(ids: impl Iterator<Item = i64> + Clone) -> RecordBatch {
    let columns: [(&str, ArrayRef); 4] = [
        ("id", Arc::new(Int64Array::from_iter_values(ids.clone()))),
        (
            "value",
            Arc::new(Float64Array::from_iter_values(
                ids.clone().map(|id| (id as f64).sin()),
            )),
        ),
        (
            "name",
            Arc::new(StringArray::from_iter_values(ids.clone().map(|id| {
                format!("name {}", id.wrapping_mul(2_654_435_761) % 1_000_003)
            }))),
        ),
        (
            "other",
            Arc::new(Int64Array::from_iter_values(ids.map(|id| id ^ 0x5555))),
        ),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

async fn make(place: &Path, marks: bool) {
    let schema = Schema::new([
        Field::new("id", DataType::LONG, true),
        Field::new("value", DataType::DOUBLE, true),
        Field::new("name", DataType::STRING, true),
        Field::new("other", DataType::LONG, true),
    ]);
    let word = if marks { "true" } else { "false" };
    let create = Table::create(place.to_str().unwrap(), schema.unwrap());
    let table = create
        .property("delta.enableDeletionVectors", word)
        .await
        .unwrap();
    let batches = (0..ROWS / BATCH_ROWS).map(|number| {
        let first = number * BATCH_ROWS;
        Ok::<_, std::io::Error>(batch(first..first + BATCH_ROWS))
    });
    let batches = Batches::stream(futures::stream::iter(batches));
    let commit = table.append(batches).await.unwrap();
    assert_eq!(commit.rows, ROWS as u64);
    table.close().await;
}

/// What a child does to the table.
async fn work(job: &str, place: &str) {
    let table = Table::open(place).await.unwrap();
    match job {
        "update" => {
            let update = table
                .update()
                .set("name", "changed")
                .filter(col("id").eq(5_000_000));
            assert_eq!(update.await.unwrap().rows_updated, 1);
        }
        "upsert" => {
            // All over the table, and half of them new.
            let ids = (0..1_000).map(|number| number * (2 * ROWS / 1_000) + 17);
            let merge = table.merge(batch(ids)).on(["id"]);
            let merge = merge
                .when_matched_update_all()
                .when_not_matched_insert_all();
            let commit = merge.await.unwrap();
            assert_eq!((commit.rows_updated, commit.rows_inserted), (500, 500));
        }
        "compact" => {
            let done = table.compact().target_file_bytes(256 << 20).await.unwrap();
            assert_eq!(done.rows, WIDE_ROWS as u64);
            assert!(2 <= done.files_added && done.files_added < done.files_removed);
        }
        other => panic!("{other}"),
    }
    table.close().await;
}

/// A table of many files, with texts that hardly compress.
async fn make_wide(place: &Path, sorted_by: &str) {
    let schema = Schema::new([
        Field::new("id", DataType::LONG, true),
        Field::new("text", DataType::STRING, true),
    ]);
    let table = Table::create(place.to_str().unwrap(), schema.unwrap())
        .property("delta.targetFileSize", "33554432")
        .property("headwater.sortColumns", sorted_by)
        .await
        .unwrap();
    let batches = (0..WIDE_ROWS / WIDE_BATCH_ROWS).map(|number| {
        let first = number * WIDE_BATCH_ROWS;
        let ids = first..first + WIDE_BATCH_ROWS;
        let texts = ids.clone().map(|id| {
            let hash = |part: i64| blake3::hash(&(id * 16 + part).to_le_bytes()).to_hex();
            (0..16)
                .map(|part| hash(part).to_string())
                .collect::<String>()
        });
        let columns: [(&str, ArrayRef); 2] = [
            ("id", Arc::new(Int64Array::from_iter_values(ids.clone()))),
            ("text", Arc::new(StringArray::from_iter_values(texts))),
        ];
        Ok::<_, std::io::Error>(RecordBatch::try_from_iter(columns).unwrap())
    });
    let batches = Batches::stream(futures::stream::iter(batches));
    table.append(batches).await.unwrap();
    table.close().await;
}

/// The most memory that this process ever had, in kilobytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn run(future: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().unwrap().block_on(future);
}

/// Not a test of its own: what a child process runs.
#[test]
#[ignore = "a child of the gate runs it"]
fn child() {
    let Ok(job) = std::env::var(JOB) else { return };
    let (job, place) = job.split_once('@').unwrap();
    run(work(job, place));
    println!("peak {} kB", peak());
}

fn peak_of(job: &str, place: &Path) -> u64 {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env(JOB, format!("{job}@{}", place.display()))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "peak").expect(&text);
    words[at + 1].parse().unwrap()
}

#[test]
#[ignore = "makes a table of ten million rows"]
fn changes_of_few_rows_in_ten_million_stay_under_400_megabytes() {
    if !Path::new("/proc/self/status").exists() {
        println!("this system does not say how much memory a process had: nothing was checked");
        return;
    }
    let mut peaks = Vec::new();
    for marks in [false, true] {
        let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("memory-{marks}"));
        let _ = std::fs::remove_dir_all(&place);
        run(make(&place, marks));
        for job in ["update", "upsert"] {
            let peak = peak_of(job, &place);
            println!("{job}, deletion vectors {marks}: {} MB", peak / 1024);
            peaks.push(peak);
        }
        let _ = std::fs::remove_dir_all(&place);
    }
    assert!(peaks.iter().all(|peak| *peak < PEAK_MAX), "{peaks:?} kB");
}

#[test]
#[ignore = "makes a table of 1.6 gigabytes"]
fn compaction_of_more_than_a_gigabyte_stays_under_one() {
    if !Path::new("/proc/self/status").exists() {
        println!("this system does not say how much memory a process had: nothing was checked");
        return;
    }
    let mut peaks = Vec::new();
    for sorted_by in ["", "text"] {
        let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("memory-compact");
        let _ = std::fs::remove_dir_all(&place);
        run(make_wide(&place, sorted_by));
        let peak = peak_of("compact", &place);
        println!("compact, sorted by `{sorted_by}`: {} MB", peak / 1024);
        peaks.push(peak);
        let _ = std::fs::remove_dir_all(&place);
    }
    assert!(
        peaks.iter().all(|peak| *peak < COMPACT_PEAK_MAX),
        "{peaks:?} kB"
    );
}
