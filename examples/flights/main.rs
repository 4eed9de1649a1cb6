//! A year of real flights, the whole job: append day by day, compact in the background, ask, train on a version, score
//! as a stream through kills, and load next year what the model was trained on.
//!
//! `cargo run --release --example flights [FOLDER]` writes its tables below FOLDER and leaves them there, or below a
//! temporary folder that it removes at the end.

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
    reason = "a program that shows the crate prints, and times what it does"
)]

mod model;
mod rows;
mod score;
mod train;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use headwater::arrow_array::RecordBatch;
use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::{Date32Type, Float64Type, Int32Type};
use headwater::environment::Environment;
use headwater::predicate::Predicate;
use headwater::protocol::Version;
use headwater::protocol::schema::Schema;
use headwater::scan::Verdict;
use headwater::storage::{RequestCounts, Storage};
use headwater::{Snapshot, State, Table};
use indicatif::{ProgressBar, ProgressStyle};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::rows::Rows;
use crate::train::{Quality, Trained};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What lies in the folder: the flights, the predictions, the model.
const SOURCE: &str = "flights";
const PREDICTIONS: &str = "predictions";
const MODEL: &str = "late.model";

/// The application id under which the days are loaded; the number of a load is its day.
const LOADER: &str = "flights";
const QUESTION: &str =
    "date BETWEEN DATE '2013-07-01' AND DATE '2013-07-07' AND origin = 'JFK' AND dep_delay > 60";
/// 30 June 2013, in days since 1970-01-01.
const LAST_TRAINED: i32 = 15_886;
const PIN: &str = "late-arrivals-2013-06-30";
/// The whole year is 4 MB: small enough that files of the usual 128 MiB would be one.
const FILE_BYTES: u64 = 512 << 10;

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, folder, first] = arguments.as_slice()
        && role == score::ROLE
    {
        return score::run(Path::new(folder), first.parse()?).await;
    }
    let named = arguments.first().map(PathBuf::from);
    let folder = named.clone().unwrap_or_else(|| {
        let unique = format!("headwater-flights-{}", std::process::id());
        std::env::temp_dir().join(unique)
    });
    let outcome = year(&folder).await;
    match named {
        Some(_) => println!("\nthe tables stay at {}", folder.display()),
        // What went wrong before matters more than a folder that is left, or was never made.
        None => match std::fs::remove_dir_all(&folder) {
            Err(error) if outcome.is_ok() => return Err(error.into()),
            _ => {}
        },
    }
    outcome
}

async fn year(folder: &Path) -> Outcome<()> {
    let start = Instant::now();
    let days = flights_by_day()?;
    let flights: usize = days.iter().map(|(_, rows)| rows.num_rows()).sum();
    println!(
        "{flights} flights left New York City in 2013, on {} days",
        days.len()
    );
    let table = load(folder, &days).await?;
    keep_fast(folder, &table).await?;
    ask(&table.snapshot()).await?;
    let (version, trained) = learn(folder, &table, &days).await?;
    follow(folder, version + 1, &days).await?;
    next_year(folder, &trained).await?;
    println!("\nall six steps in {}", seconds(start.elapsed()));
    Ok(())
}

/// Step 1: the year is appended, one commit per day.
async fn load(folder: &Path, days: &[(i32, RecordBatch)]) -> Outcome<Table> {
    step(1, "append, one commit per day");
    let schema = match days.first() {
        Some((_, rows)) => Schema::from_arrow(&rows.schema())?,
        None => return Err("the data file is empty".into()),
    };
    let table = Table::create(&place(folder, SOURCE), schema).await?;
    let bar = ProgressBar::new(days.len() as u64);
    bar.set_style(ProgressStyle::with_template(
        "append  {bar:40} {pos}/{len} days  {elapsed}",
    )?);
    let mut latencies = Vec::with_capacity(days.len());
    let start = Instant::now();
    for (day, rows) in days {
        let started = Instant::now();
        let commit = table
            .append(rows.clone())
            .exactly_once(LOADER, i64::from(*day))
            .await?;
        latencies.push(started.elapsed());
        assert_eq!(commit.rows, rows.num_rows() as u64);
        bar.inc(1);
    }
    table.close().await;
    let took = start.elapsed();
    bar.finish_and_clear();
    latencies.sort();
    let sums = table.snapshot().sums().await?;
    line("commits", days.len());
    line("rows", sums.rows.unwrap_or_default());
    line("data files", sums.files);
    line("bytes", sums.bytes);
    line("time", seconds(took));
    line("median commit", millis(percentile(&latencies, 50)));
    line("99 % of commits under", millis(percentile(&latencies, 99)));
    Ok(table)
}

/// Step 2: what small files cost, and what the worker in the background makes of it.
async fn keep_fast(folder: &Path, table: &Table) -> Outcome<()> {
    step(2, "small files, and the background worker");
    let before = Cost::of(folder).await?;
    let worker = table
        .maintain()
        .every(Duration::from_millis(20))
        .core_share(1.0)
        .target_file_bytes(FILE_BYTES)
        .start();
    let start = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let status = worker.status();
        let is_done = status.compacted.version.is_some() && status.state == State::Watching;
        if is_done || status.state == State::Failed {
            break;
        }
    }
    let status = worker.stop().await?;
    let took = start.elapsed();
    table.refresh().await?;
    let after = Cost::of(folder).await?;
    println!("  {:<26}{:>12}{:>12}", "a scan of all", "before", "after");
    let both = |name: &str, of: &dyn Fn(&Cost) -> String| {
        println!("  {name:<26}{:>12}{:>12}", of(&before), of(&after));
    };
    both("rows", &|cost| cost.rows.to_string());
    both("data files", &|cost| cost.files.to_string());
    both("requests", &|cost| cost.requests.requests().to_string());
    both("bytes read", &|cost| cost.requests.bytes_read.to_string());
    both("time with opening", &|cost| millis(cost.time));
    line("rows written again", status.compacted.rows);
    line("the worker took", seconds(took));
    if before.rows != after.rows || after.files >= before.files {
        return Err("compaction went wrong".into());
    }
    Ok(())
}

/// What it costs to open the table and read all of it.
struct Cost {
    rows: usize,
    files: u64,
    requests: RequestCounts,
    time: Duration,
}

impl Cost {
    /// The fastest of three.
    async fn of(folder: &Path) -> Outcome<Self> {
        let mut costs = Vec::new();
        for _ in 0..3 {
            let environment = Environment::system();
            let storage = Storage::open(&place(folder, SOURCE), &environment)?;
            let start = Instant::now();
            let table = Table::open_in(storage.clone(), environment).await?;
            let mut stream = table.snapshot().scan().stream().await?;
            let mut rows = 0;
            while let Some(batch) = stream.try_next().await? {
                rows += batch.num_rows();
            }
            costs.push(Self {
                rows,
                files: stream.counts().plan.files,
                requests: storage.counts(),
                time: start.elapsed(),
            });
        }
        let fastest = costs.into_iter().min_by_key(|cost| cost.time);
        fastest.ok_or_else(|| "nothing was measured".into())
    }
}

/// Step 3: the long departure delays of one week at one airport.
async fn ask(snapshot: &Snapshot) -> Outcome<()> {
    step(3, "a pruned question");
    println!("  {QUESTION}");
    let scan = snapshot.scan().filter(Predicate::parse(QUESTION)?);
    let start = Instant::now();
    let mut stream = scan
        .clone()
        .select(["carrier", "dep_delay"])
        .stream()
        .await?;
    let mut delays: BTreeMap<String, (u64, i64)> = BTreeMap::new();
    while let Some(batch) = stream.try_next().await? {
        let carriers = batch.column(0).as_string::<i32>();
        let minutes = batch.column(1).as_primitive::<Int32Type>();
        for row in 0..batch.num_rows() {
            let (flights, sum) = delays.entry(carriers.value(row).to_owned()).or_default();
            *flights += 1;
            *sum += i64::from(minutes.value(row));
        }
    }
    let took = start.elapsed();
    let counts = stream.counts();
    line("files", counts.plan.files);
    line("files skipped", counts.plan.files_pruned);
    line("row groups in the rest", counts.row_groups);
    line("row groups skipped", counts.row_groups_pruned);
    line("time", millis(took));
    let decisions = scan.explain().await?;
    let pruned = decisions
        .iter()
        .find(|decision| decision.verdict == Verdict::Pruned);
    if let Some(decision) = pruned {
        println!("  why one file was skipped: {}", decision.reason);
    }
    println!("  flights delayed over an hour, by carrier (mean delay):");
    for (carrier, (flights, sum)) in delays {
        println!(
            "    {carrier}  {flights:>4}  {:>6.1} min",
            sum as f64 / flights as f64
        );
    }
    Ok(())
}

/// Step 4: the model is trained on the version whose append loaded 30 June.
async fn learn(
    folder: &Path,
    table: &Table,
    days: &[(i32, RecordBatch)],
) -> Outcome<(Version, Trained)> {
    step(
        4,
        "a model of late arrivals, trained on the first half of the year",
    );
    let version = version_that_loaded(table, LAST_TRAINED).await?;
    let snapshot = table.snapshot_at(version).await?;
    let pin = table.pin(PIN, version, None).await?;
    let rows = snapshot.sums().await?.rows.unwrap_or_default();
    let first_half = days.iter().filter(|(day, _)| *day <= LAST_TRAINED);
    let expected: usize = first_half.map(|(_, rows)| rows.num_rows()).sum();
    if rows != expected as u64 {
        return Err("the version does not hold the first half of the year".into());
    }
    line("30 June came with version", version);
    line("rows of that version", rows);
    println!("  pinned as {}", pin.name);

    let start = Instant::now();
    let trained = train::train(&snapshot).await?;
    let took = start.elapsed();
    trained.model.save(&folder.join(MODEL))?;
    line("rows trained on", trained.rows);
    line("batches, in 3 epochs", trained.batches);
    line("time", seconds(took));
    digests(&trained);
    let quality = train::test(&snapshot, &trained.model).await?;
    println!(
        "  on the fifth of the flights that was held out, by hash of date, carrier, flight, origin:"
    );
    judge(&quality);
    if quality.base_log_loss() <= quality.log_loss || quality.auc < 0.8 {
        return Err("the model has not learned".into());
    }
    Ok((version, trained))
}

/// The first version that knows of the load of this day. Loads came in order, whatever was committed in between, so
/// the numbers that versions know never fall: it is found by halves, and no clock is asked.
async fn version_that_loaded(table: &Table, day: i32) -> Outcome<Version> {
    let (mut low, mut high) = (0, table.snapshot().version());
    while low < high {
        let middle = low + (high - low) / 2;
        let loaded = table.snapshot_at(middle).await?.app_version(LOADER);
        match loaded {
            Some(loaded) if i64::from(day) <= loaded => high = middle,
            _ => low = middle + 1,
        }
    }
    let found = table.snapshot_at(low).await?.app_version(LOADER);
    if found != Some(i64::from(day)) {
        return Err(format!("no version loaded {}", date(day)).into());
    }
    Ok(low)
}

/// Step 5: the second half of the year is scored as a stream, by processes that are killed.
async fn follow(folder: &Path, first: Version, days: &[(i32, RecordBatch)]) -> Outcome<()> {
    step(5, "the second half of the year, scored as a stream");
    let sink = score::create(folder).await?;
    let start = Instant::now();
    for (process, kill_after) in [Some(5), Some(8), None].into_iter().enumerate() {
        let life = score::live(folder, first, kill_after)?;
        let end = if life.was_killed { "killed" } else { "done" };
        let stored = sink.refresh().await?.sums().await?.rows.unwrap_or_default();
        println!(
            "  process {}: {end} after {} commits; {stored} predictions are in the table",
            process + 1,
            life.commits
        );
    }
    let took = start.elapsed();

    let mut predictions: BTreeMap<rows::Key, Vec<f64>> = BTreeMap::new();
    for batch in sink.refresh().await?.scan().collect().await? {
        let rows = Rows(&batch);
        let late = batch.column_by_name("late").ok_or("no predictions")?;
        let late = late.as_primitive::<Float64Type>();
        for (key, late) in rows.keys()?.into_iter().zip(late.values()) {
            predictions.entry(key).or_default().push(*late);
        }
    }
    let (mut flights, mut once, mut judged) = (0, 0, Vec::new());
    for (_, batch) in days.iter().filter(|(day, _)| LAST_TRAINED < *day) {
        let rows = Rows(batch);
        for (key, late) in rows.keys()?.iter().zip(rows.late()?) {
            flights += 1;
            if let Some([probability]) = predictions.get(key).map(Vec::as_slice) {
                once += 1;
                judged.extend(late.map(|late| (*probability, late)));
            }
        }
    }
    line("flights since July", flights);
    line("flights scored", predictions.len());
    line("scored exactly once", once);
    line("time", seconds(took));
    println!("  against what came true:");
    judge(&Quality::of(judged));
    if once != flights || predictions.len() != flights {
        return Err("a flight was lost, or scored twice".into());
    }
    Ok(())
}

/// Step 6: rows are deleted, files go; the pinned version is what it was, and so is what is learned from it.
async fn next_year(folder: &Path, trained: &Trained) -> Outcome<()> {
    step(
        6,
        "a delete, a compaction, a vacuum; the same version, the same model",
    );
    let table = Table::open(&place(folder, SOURCE)).await?;
    let unwanted = Predicate::parse("carrier = 'EV' AND date < DATE '2013-03-01'")?;
    let deleted = table.delete(unwanted).await?;
    line("flights deleted", deleted.rows_deleted);
    let compacted = table.compact().target_file_bytes(4 * FILE_BYTES).await?;
    line("files compacted", compacted.files_removed);
    line("to larger files", compacted.files_added);
    let vacuumed = table
        .vacuum()
        .retention(Duration::ZERO)
        .grace(Duration::ZERO)
        .allow_unsafe_retention()
        .await?;
    line("files vacuumed", vacuumed.files);

    let table = Table::open(&place(folder, SOURCE)).await?;
    let pins = table.pins().await?;
    let pin = pins.iter().find(|pin| pin.name == PIN);
    let pin = pin.ok_or("the pin is gone")?;
    let after = table.snapshot_at(pin.version + 1).await?;
    match after.scan().collect().await {
        Ok(_) => return Err("a version that nobody held still has its files".into()),
        Err(error) => println!("  version {}, not pinned: {error}", pin.version + 1),
    }
    let again = train::train(&table.snapshot_at(pin.version).await?).await?;
    println!("  version {}, pinned, trained on again:", pin.version);
    digests(&again);
    let is_same = again.snapshot == trained.snapshot && again.order == trained.order;
    if !is_same || again.model != trained.model || again.rows != trained.rows {
        return Err("the pinned version does not give the same model".into());
    }
    println!("  same snapshot, same order, same model, bit for bit");
    Ok(())
}

fn digests(trained: &Trained) {
    println!("  snapshot digest  {}", trained.snapshot);
    println!("  order digest     {}", trained.order);
    println!("  model            {}", trained.model.fingerprint());
}

fn judge(quality: &Quality) {
    line("flights", quality.rows);
    line("late", format!("{:.1} %", 100.0 * quality.base));
    line("log loss", format!("{:.4}", quality.log_loss));
    let base = quality.base_log_loss();
    line("log loss of the share", format!("{base:.4}"));
    line("AUC", format!("{:.4}", quality.auc));
}

/// The flights of each day, in order.
fn flights_by_day() -> Outcome<Vec<(i32, RecordBatch)>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/flights/flights-2013.parquet");
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let schema = builder.schema().clone();
    let batches = builder.build()?.collect::<Result<Vec<_>, _>>()?;
    let year = arrow_select::concat::concat_batches(&schema, &batches)?;
    let dates = year.column(0).as_primitive::<Date32Type>().clone();
    let mut days = Vec::new();
    let mut start = 0;
    for row in 1..=dates.len() {
        if row == dates.len() || dates.value(row) != dates.value(start) {
            days.push((dates.value(start), year.slice(start, row - start)));
            start = row;
        }
    }
    Ok(days)
}

fn place(folder: &Path, table: &str) -> String {
    folder.join(table).to_string_lossy().into_owned()
}

fn step(number: u32, title: &str) {
    println!("\n{number}. {title}");
}

fn line(name: &str, value: impl std::fmt::Display) {
    println!("  {name:<26}{value:>12}");
}

fn date(days: i32) -> String {
    let date = chrono::DateTime::from_timestamp(i64::from(days) * 86_400, 0);
    date.map_or_else(String::new, |date| date.format("%Y-%m-%d").to_string())
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
