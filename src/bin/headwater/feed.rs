//! `headwater feed` and `headwater follow`: what pipelines take from a table, batch by batch.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow_array::RecordBatch;
use clap::{Args, ValueEnum};
use futures::TryStreamExt;
use headwater::Table;
use headwater::feed::{
    BatchOptions, Cursor, FeedState, FollowInput, FollowOptions, FollowStart, HashSplit, LastBatch,
    OnChange, OnGap, ShuffleOptions, TrainingBatches, TrainingPlan,
};
use headwater::predicate::Predicate;
use serde_json::{Value, json};

use crate::arguments::{Travel, duration};
use crate::place::{self, Unfinished};
use crate::{Failure, json as text};

#[derive(Debug, Args)]
pub(crate) struct Feed {
    /// Path or URL of the table
    table: String,
    #[command(flatten)]
    travel: Travel,
    /// Seed of the order
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// First epoch
    #[arg(long, default_value_t = 0)]
    epoch: u64,
    /// How many epochs
    #[arg(long, default_value_t = 1)]
    epochs: u64,
    /// Rows of a batch, over all ranks together
    #[arg(long, default_value_t = 1_024)]
    batch_rows: usize,
    /// Leave out the rows at the end of an epoch that do not fill a batch
    #[arg(long)]
    drop_last: bool,
    /// Stop after this many batches
    #[arg(long, value_name = "N")]
    batches: Option<usize>,
    /// Keep the rows for which this SQL condition is true
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
    /// Print these columns
    #[arg(long, value_name = "a,b", value_delimiter = ',')]
    select: Vec<String>,
    /// Split by hash of key columns, such as id:train=80,valid=10,test=10
    #[arg(long, value_name = "KEYS:PART=SHARE,..", value_parser = split, requires = "part")]
    split: Option<HashSplit>,
    /// Keep the rows of this part of the split
    #[arg(long, requires = "split")]
    part: Option<String>,
    /// Go on from the state in this file, if it exists, and keep the state there after each batch
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Memory for rows that wait, in MiB
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,
    /// Which of the consumers this is, from 0
    #[arg(long, default_value_t = 0, requires = "world")]
    rank: u32,
    /// How many consumers train together
    #[arg(long, default_value_t = 1)]
    world: u32,
    /// How many pieces of files are decoded at once
    #[arg(long)]
    threads: Option<usize>,
    /// Lease the version for so long at a time, such as 10m, while it is read: no vacuum takes its files
    #[arg(long, value_name = "TIME", value_parser = duration)]
    lease: Option<Duration>,
    /// Print what the plan came to, and no rows
    #[arg(long)]
    plan: bool,
    /// Print no rows
    #[arg(long)]
    no_rows: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Follow {
    /// Path or URL of the table
    table: String,
    /// Go on after this cursor: 12, 12+3 or 12@3
    #[arg(long, value_name = "CURSOR")]
    after: Option<Cursor>,
    /// Go on after the cursor in this file, if it exists, and keep the cursor there after each input
    #[arg(long, value_name = "FILE", conflicts_with = "after")]
    state: Option<PathBuf>,
    /// Begin with what this version adds, instead of with all rows of the newest version
    #[arg(long, value_name = "N", conflicts_with = "latest")]
    from: Option<u64>,
    /// End after this version
    #[arg(long, value_name = "N")]
    until: Option<u64>,
    /// Begin with what is added after the newest version
    #[arg(long)]
    latest: bool,
    /// What to do with commits that delete or change rows
    #[arg(long, value_enum, default_value_t = Change::Fail)]
    on_change: Change,
    /// Go on when commits are gone that were not read: their rows are lost
    #[arg(long)]
    skip_gaps: bool,
    /// Files of an input, at most
    #[arg(long, value_name = "N")]
    files: Option<usize>,
    /// Bytes of the files of an input, at most, unless one file has more
    #[arg(long, value_name = "N")]
    bytes: Option<u64>,
    /// Rows of an input, at most, unless one file has more
    #[arg(long, value_name = "N")]
    rows: Option<u64>,
    /// Keep the rows for which this SQL condition is true
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
    /// Print these columns
    #[arg(long, value_name = "a,b", value_delimiter = ',')]
    select: Vec<String>,
    /// Append what is read to this table, each row once, and keep the cursor there
    #[arg(long, value_name = "TABLE", requires = "app_id", conflicts_with_all = ["after", "state"])]
    into: Option<String>,
    /// The application whose cursor the other table keeps
    #[arg(long, requires = "into")]
    app_id: Option<String>,
    /// Lease the version that is read first for so long at a time, such as 10m: no vacuum takes its files
    #[arg(long, value_name = "TIME", value_parser = duration)]
    lease: Option<Duration>,
    /// Do not end: look for new commits, every so many milliseconds
    #[arg(long, value_name = "MILLISECONDS")]
    watch: Option<u64>,
    /// Print no rows
    #[arg(long)]
    no_rows: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Change {
    /// End with an error
    Fail,
    /// Go on after commits that only delete rows
    IgnoreDeletes,
    /// Leave out every commit that removes data
    SkipCommits,
}

pub(crate) async fn feed(feed: Feed, as_json: bool) -> Result<(), Failure> {
    let state = match &feed.state {
        Some(path) => read(path)?.map(|text| text.parse::<FeedState>()),
        None => None,
    };
    let state = state.transpose()?;
    let plan = plan(&feed, state.as_ref()).await?;
    if feed.plan {
        return print_plan(&plan, feed.epoch, as_json).await;
    }
    let mut options = BatchOptions {
        rows: feed.batch_rows,
        epochs: feed.epoch..feed.epoch.saturating_add(feed.epochs),
        rank: feed.rank,
        world: feed.world,
        ..BatchOptions::default()
    };
    if feed.drop_last {
        options.last = LastBatch::Drop;
    }
    if let Some(threads) = feed.threads {
        options.threads = threads;
    }
    let mut batches = match &state {
        Some(state) => plan.resume(state, options)?,
        None => plan.batches(options)?,
    };
    let mut out = std::io::BufWriter::new(place::stdout());
    for _ in 0..feed.batches.unwrap_or(usize::MAX) {
        let Some(batch) = batches.try_next().await? else {
            break;
        };
        print_batch(&mut out, &batch, &batches, (as_json, !feed.no_rows))?;
        out.flush()?;
        // Only what was printed counts as handed out.
        if let Some(path) = &feed.state {
            write(path, &batches.state().to_string())?;
        }
    }
    Ok(())
}

async fn plan(feed: &Feed, state: Option<&FeedState>) -> Result<TrainingPlan, Failure> {
    let table = Table::open(&feed.table).await?;
    let at = match (state, feed.travel.version, feed.travel.as_of) {
        // A run that goes on reads the version it began with.
        (Some(state), None, None) => state.version().into(),
        _ => feed.travel.at(),
    };
    let snapshot = table.snapshot_at(at).await?;
    let mut feeding = snapshot.feed(feed.seed);
    if let Some(mebibytes) = feed.memory {
        feeding = feeding.shuffle(ShuffleOptions {
            memory_bytes: mebibytes << 20,
            ..ShuffleOptions::default()
        });
    }
    if let Some(state) = state {
        feeding = feeding.like(state);
    }
    if let Some(condition) = &feed.condition {
        feeding = feeding.filter(Predicate::parse(condition)?);
    }
    if let (Some(split), Some(part)) = (&feed.split, &feed.part) {
        feeding = feeding.part(split.part(part)?);
    }
    if let Some(lasts) = feed.lease {
        feeding = feeding.lease(lasts);
    }
    if !feed.select.is_empty() {
        feeding = feeding.select(feed.select.clone());
    }
    Ok(feeding.plan().await?)
}

async fn print_plan(plan: &TrainingPlan, epoch: u64, as_json: bool) -> Result<(), Failure> {
    let summary = plan.summary();
    let facts = json!({
        "version": plan.version(), "plan": plan.digest().to_string(),
        "snapshot": plan.snapshot_digest().to_string(),
        "order": plan.order_digest(epoch).await?.to_string(), "epoch": epoch,
        "rows": summary.rows, "units": summary.units, "unit_rows": summary.unit_rows,
        "lanes": summary.lanes, "window": summary.window, "memory_bytes": summary.memory_bytes,
        "variance_factor": summary.variance_factor(1_024, 0.1),
    });
    if as_json {
        return line(&facts);
    }
    let mut out = place::stdout();
    for (name, value) in facts.as_object().into_iter().flatten() {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        writeln!(out, "{name:<16} {value}")?;
    }
    Ok(())
}

fn print_batch(
    out: &mut impl Write,
    batch: &RecordBatch,
    batches: &TrainingBatches,
    (as_json, with_rows): (bool, bool),
) -> Result<(), Failure> {
    let state = batches.state().to_string();
    if as_json {
        let rows = with_rows.then(|| objects(batch)).transpose()?;
        let rows = rows.map_or(String::new(), |rows| format!("\"batch\":[{rows}],"));
        let (count, digest) = (batch.num_rows(), batches.order_digest());
        writeln!(
            out,
            "{{{rows}\"rows\":{count},\"order\":\"{digest}\",\"state\":{state}}}"
        )?;
        return Ok(());
    }
    if with_rows {
        let mut lines = String::new();
        text::rows(batch, &mut lines)?;
        out.write_all(lines.as_bytes())?;
    }
    writeln!(out, "{state}")?;
    Ok(())
}

pub(crate) async fn follow(follow: Follow, as_json: bool) -> Result<(), Failure> {
    let source = Table::open(&follow.table).await?;
    let defaults = FollowOptions::default();
    let options = FollowOptions {
        start: match (follow.from, follow.latest) {
            (Some(version), _) => FollowStart::Version(version),
            (None, true) => FollowStart::Latest,
            (None, false) => FollowStart::Snapshot,
        },
        on_change: match follow.on_change {
            Change::Fail => OnChange::Fail,
            Change::IgnoreDeletes => OnChange::IgnoreDeletes,
            Change::SkipCommits => OnChange::SkipCommits,
        },
        on_gap: match follow.skip_gaps {
            true => OnGap::Skip,
            false => OnGap::Fail,
        },
        until: follow.until,
        files_max: follow.files.unwrap_or(defaults.files_max),
        bytes_max: follow.bytes.unwrap_or(defaults.bytes_max),
        rows_max: follow.rows.unwrap_or(defaults.rows_max),
        select: (!follow.select.is_empty()).then(|| follow.select.clone()),
        filter: follow
            .condition
            .as_deref()
            .map(Predicate::parse)
            .transpose()?,
        lease: follow.lease,
    };
    match (&follow.into, &follow.app_id) {
        (Some(sink), Some(app_id)) => {
            copy(&follow, &source, (sink, app_id, options), as_json).await
        }
        _ => print_new(&follow, &source, options, as_json).await,
    }
}

async fn print_new(
    follow: &Follow,
    source: &Table,
    options: FollowOptions,
    as_json: bool,
) -> Result<(), Failure> {
    let saved = match &follow.state {
        Some(path) => read(path)?.map(|text| text.trim().parse::<Cursor>()),
        None => None,
    };
    let mut saved = saved.transpose()?;
    let mut follower = source.follow(options);
    follower.seek(saved.or(follow.after));
    loop {
        let input = follower.next().await?;
        if let Some(input) = &input {
            print_input(follow, input, as_json).await?;
        }
        // Versions without rows count, too: where it begins must not move with the next run, and the log of a table
        // that is only compacted must not be cleaned up beyond the cursor.
        let reached = follower.cursor();
        if let (Some(path), Some(cursor)) = (&follow.state, reached)
            && saved != reached
        {
            write(path, &cursor.to_string())?;
            saved = reached;
        }
        if input.is_none() && (is_done(follow, reached) || !wait(follow).await) {
            return Ok(());
        }
    }
}

/// Whether all is read that was asked for.
fn is_done(follow: &Follow, reached: Option<Cursor>) -> bool {
    let until = follow.until.map(Cursor::through).and_then(Result::ok);
    until.is_some_and(|until| reached.is_some_and(|reached| until <= reached))
}

async fn copy(
    follow: &Follow,
    source: &Table,
    (sink, app_id, options): (&str, &str, FollowOptions),
    as_json: bool,
) -> Result<(), Failure> {
    let sink = Table::open(sink).await?;
    let mut feed = source.score_into(&sink, app_id, options);
    loop {
        let Some(input) = feed.next().await? else {
            feed.save().await?;
            let is_done = follow.until.is_some() && is_done(follow, feed.cursor().await?);
            if is_done || !wait(follow).await {
                break;
            }
            continue;
        };
        let rows = headwater::Batches::stream(input.stream()?);
        let commit = feed.commit(&input, rows).await?;
        if as_json {
            line(&json!({
                "cursor": input.end().to_string(), "source_version": input.version(),
                "version": commit.version, "rows": commit.rows, "status": format!("{:?}", commit.status),
            }))?;
        } else {
            let (from, to) = (input.end(), commit.version);
            writeln!(
                place::stdout(),
                "after {from}: {} rows in version {to}",
                commit.rows
            )?;
        }
    }
    sink.close().await;
    Ok(())
}

async fn print_input(follow: &Follow, input: &FollowInput, as_json: bool) -> Result<(), Failure> {
    let mut out = std::io::BufWriter::new(place::stdout());
    let with_rows = !follow.no_rows;
    if as_json && with_rows {
        write!(out, "{{\"input\":[")?;
    }
    let mut rows = 0;
    let mut batches = input.stream()?;
    while let Some(batch) = batches.try_next().await? {
        if with_rows && 0 < batch.num_rows() {
            let text = match as_json {
                true => objects(&batch)?,
                false => lines(&batch)?,
            };
            if as_json && 0 < rows {
                write!(out, ",")?;
            }
            out.write_all(text.as_bytes())?;
        }
        rows += batch.num_rows();
    }
    let (end, version, files, bytes) = (input.end(), input.version(), input.files(), input.bytes());
    let facts = format!(
        "\"rows\":{rows},\"files\":{files},\"bytes\":{bytes},\"version\":{version},\"cursor\":\"{end}\""
    );
    match as_json && with_rows {
        true => writeln!(out, "],{facts}}}")?,
        false => writeln!(out, "{{{facts}}}")?,
    }
    out.flush()?;
    Ok(())
}

/// Waits for new commits; `false` if that was not asked for.
async fn wait(follow: &Follow) -> bool {
    let Some(millis) = follow.watch else {
        return false;
    };
    let world = headwater::environment::Environment::system();
    world.sleep(Duration::from_millis(millis.max(1))).await;
    true
}

/// The rows as JSON objects, one per line.
fn lines(batch: &RecordBatch) -> Result<String, Failure> {
    let mut lines = String::new();
    text::rows(batch, &mut lines)?;
    Ok(lines)
}

/// The rows as JSON objects with commas between them.
fn objects(batch: &RecordBatch) -> Result<String, Failure> {
    Ok(lines(batch)?.trim_end().replace('\n', ","))
}

/// The text of a file, if there is one.
fn read(path: &Path) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display()).into()),
    }
}

/// Puts text into a file so that it holds the old text or the new one, whatever happens.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let (file, mut writer) = Unfinished::create(path)?;
    let named = |error: std::io::Error| format!("{}: {error}", path.display());
    writer.write_all(text.as_bytes()).map_err(named)?;
    writer.flush().map_err(named)?;
    file.finish()
}

fn split(text: &str) -> Result<HashSplit, String> {
    let wrong = || "say KEYS:PART=SHARE,.. such as id:train=80,test=20".to_owned();
    let (keys, parts) = text.split_once(':').ok_or_else(wrong)?;
    let parts = parts.split(',').map(|part| {
        let (name, share) = part.split_once('=').ok_or_else(wrong)?;
        Ok((name.to_owned(), share.parse::<u32>().map_err(|_| wrong())?))
    });
    let parts: Vec<(String, u32)> = parts.collect::<Result<_, String>>()?;
    HashSplit::by(keys.split(','), parts).map_err(|error| error.to_string())
}

fn line(facts: &Value) -> Result<(), Failure> {
    writeln!(place::stdout(), "{facts}")?;
    Ok(())
}
