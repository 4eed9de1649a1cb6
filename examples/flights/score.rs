//! Scoring as a stream: a process of its own follows the table and writes predictions; it is killed on the way.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;

use headwater::Table;
use headwater::arrow_array::{ArrayRef, Float64Array, RecordBatch};
use headwater::feed::{FollowOptions, FollowStart};
use headwater::protocol::Version;
use headwater::protocol::schema::{DataType, Field, Schema};

use crate::model::Model;
use crate::rows::{KEY, Rows};
use crate::{MODEL, Outcome, PREDICTIONS, SOURCE, place};

/// The argument that makes this program the process that scores.
pub(crate) const ROLE: &str = "--score";
/// How many versions' files are scored for one commit.
const FILES: usize = 8;

/// What one process did before it ended.
pub(crate) struct Life {
    pub(crate) was_killed: bool,
    /// Commits that it told of.
    pub(crate) commits: usize,
}

/// The table of predictions.
pub(crate) async fn create(folder: &Path) -> Outcome<Table> {
    let schema = Schema::new([
        Field::new("date", DataType::DATE, true),
        Field::new("carrier", DataType::STRING, true),
        Field::new("flight", DataType::INTEGER, true),
        Field::new("origin", DataType::STRING, true),
        Field::new("late", DataType::DOUBLE, false),
    ])?;
    Ok(Table::create(&place(folder, PREDICTIONS), schema).await?)
}

/// Starts this program again as the process that scores, and kills it (SIGKILL) after so many commits.
pub(crate) fn live(folder: &Path, first: Version, kill_after: Option<usize>) -> Outcome<Life> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(ROLE)
        .arg(folder)
        .arg(first.to_string())
        .stdout(Stdio::piped())
        .spawn()?;
    let told = child.stdout.take().ok_or("the process has no output")?;
    let mut commits = 0;
    for line in BufReader::new(told).lines() {
        line?;
        commits += 1;
        if Some(commits) == kill_after {
            child.kill()?;
        }
    }
    let status = child.wait()?;
    let was_killed = is_killed(status);
    if !status.success() && !was_killed {
        return Err(format!("the process that scores failed: {status}").into());
    }
    if was_killed != kill_after.is_some() {
        return Err(format!("the process that scores was to end otherwise: {status}").into());
    }
    Ok(Life {
        was_killed,
        commits,
    })
}

/// Whether a process was killed, and did not end by itself, well or badly.
#[cfg(unix)]
fn is_killed(status: ExitStatus) -> bool {
    const SIGKILL: i32 = 9;
    std::os::unix::process::ExitStatusExt::signal(&status) == Some(SIGKILL)
}

/// Whether a process was killed; elsewhere that looks like a failure.
#[cfg(not(unix))]
fn is_killed(status: ExitStatus) -> bool {
    !status.success()
}

/// What that process does: it scores what the versions from `first` on add, and tells of each commit.
pub(crate) async fn run(folder: &Path, first: Version) -> Outcome<()> {
    let model = Model::load(&folder.join(MODEL))?;
    let source = Table::open(&place(folder, SOURCE)).await?;
    let sink = Table::open(&place(folder, PREDICTIONS)).await?;
    let options = FollowOptions {
        start: FollowStart::Version(first),
        files_max: FILES,
        ..FollowOptions::default()
    };
    let name = format!("late-arrivals@{}", model.fingerprint());
    let mut scoring = source
        .score_into(&sink, "late-arrivals", options)
        .model(name);
    while let Some(input) = scoring.next().await? {
        let mut predictions = Vec::new();
        for batch in input.collect().await? {
            predictions.push(predict(&model, &batch)?);
        }
        let commit = scoring.commit(&input, predictions).await?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{} {}", commit.version, commit.rows)?;
        out.flush()?;
    }
    sink.close().await;
    Ok(())
}

fn predict(model: &Model, batch: &RecordBatch) -> Outcome<RecordBatch> {
    let flights = Rows(batch).flights()?;
    let late = Float64Array::from_iter_values(flights.iter().map(|flight| model.late(flight)));
    let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
    for name in KEY {
        let column = batch.column_by_name(name);
        columns.push((name, Arc::clone(column.ok_or("a key column is missing")?)));
    }
    columns.push(("late", Arc::new(late)));
    Ok(RecordBatch::try_from_iter(columns)?)
}
