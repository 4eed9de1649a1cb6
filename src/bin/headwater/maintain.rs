//! Commands that keep a table fast and small, and versions readable.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use headwater::{CommitStatus, State, Status, Table};
use serde_json::json;

use crate::Failure;
use crate::arguments::{Travel, duration};
use crate::commands::print;

#[derive(Debug, Args)]
pub(crate) struct Vacuum {
    /// Path or URL of the table
    table: String,
    /// Keep files that a version took away for this long, such as 7d, 36h or 90m; not below what the table promises
    #[arg(long, value_name = "TIME", value_parser = duration)]
    retention: Option<Duration>,
    /// Keep files that no commit ever named for this long
    #[arg(long, value_name = "TIME", value_parser = duration)]
    grace: Option<Duration>,
    /// Allow times below what the table promises: readers of older versions and slow writers lose files
    #[arg(long)]
    allow_unsafe_retention: bool,
    /// Say what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CleanUpLog {
    /// Path or URL of the table
    table: String,
    /// Keep versions for this long, such as 30d; never less than an hour
    #[arg(long, value_name = "TIME", value_parser = duration)]
    retention: Option<Duration>,
    /// Say what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Repair {
    /// Path or URL of the table
    table: String,
    /// Take the newest version back if its commit file has no bytes: what it held is lost, and must be written again
    #[arg(long, required = true)]
    drop_empty_tip: bool,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("moment").required(true).args(["version", "as_of"])))]
pub(crate) struct Restore {
    /// Path or URL of the table
    table: String,
    #[command(flatten)]
    travel: Travel,
}

#[derive(Debug, Args)]
pub(crate) struct Maintain {
    /// Path or URL of the table
    table: String,
    /// Do what is due now, and end
    #[arg(long, conflicts_with = "watch", required_unless_present = "watch")]
    once: bool,
    /// Go on until interrupted
    #[arg(long)]
    watch: bool,
    /// Look for new versions this often
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    every: Duration,
    /// Compact a partition from this many small files on
    #[arg(long, value_name = "FILES", default_value_t = 8)]
    compact_from: usize,
    /// Take this share of one core on average
    #[arg(long, value_name = "0-1", value_parser = share, default_value = "0.5")]
    core_share: f64,
    /// Read and write at most this many bytes of data files in a second
    #[arg(long, value_name = "BYTES")]
    bytes_per_second: Option<u64>,
    /// Vacuum and clean up the log this often
    #[arg(long, value_name = "TIME", value_parser = duration)]
    delete_every: Option<Duration>,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok();
    let share = share.filter(|share| 0.0 < *share && *share <= 1.0);
    share.ok_or_else(|| "a share is a number above 0 and at most 1".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct Pin {
    #[command(subcommand)]
    what: PinCommand,
}

#[derive(Debug, Subcommand)]
enum PinCommand {
    /// Keep a version readable under a name
    Add {
        /// Path or URL of the table
        table: String,
        /// The name
        name: String,
        #[command(flatten)]
        travel: Travel,
        /// For this long, such as 90d; for good unless set
        #[arg(long, value_name = "TIME", value_parser = duration)]
        lasts: Option<Duration>,
    },
    /// End a pin
    Remove {
        /// Path or URL of the table
        table: String,
        /// The name
        name: String,
    },
    /// Print the pins
    List {
        /// Path or URL of the table
        table: String,
    },
}

pub(crate) async fn vacuum(vacuum: Vacuum, as_json: bool) -> Result<(), Failure> {
    let table = Table::open(&vacuum.table).await?;
    let mut work = table.vacuum();
    if let Some(retention) = vacuum.retention {
        work = work.retention(retention);
    }
    if let Some(grace) = vacuum.grace {
        work = work.grace(grace);
    }
    if vacuum.allow_unsafe_retention {
        work = work.allow_unsafe_retention();
    }
    if vacuum.dry_run {
        work = work.dry_run();
    }
    let done = work.await?;
    table.close().await;
    if as_json {
        for key in &done.keys {
            print(&json!({ "path": key }).to_string())?;
        }
        return print(
            &json!({"files": done.files, "bytes": done.bytes, "dry_run": vacuum.dry_run})
                .to_string(),
        );
    }
    if vacuum.dry_run {
        for key in &done.keys {
            print(key)?;
        }
    }
    let verb = if vacuum.dry_run {
        "would be deleted"
    } else {
        "deleted"
    };
    print(&format!(
        "{} files, {} bytes {verb}",
        done.files, done.bytes
    ))
}

pub(crate) async fn repair(repair: Repair, as_json: bool) -> Result<(), Failure> {
    let dropped = Table::drop_empty_tip(&repair.table).await?;
    if as_json {
        return print(&json!({ "dropped": dropped }).to_string());
    }
    print(&match dropped {
        Some(version) => format!("version {version} had no bytes and is taken back"),
        None => "the newest commit file has bytes: there is nothing to take back".to_owned(),
    })
}

pub(crate) async fn clean_up_log(clean: CleanUpLog, as_json: bool) -> Result<(), Failure> {
    let table = Table::open(&clean.table).await?;
    let mut work = table.clean_up_log();
    if let Some(retention) = clean.retention {
        work = work.retention(retention);
    }
    if clean.dry_run {
        work = work.dry_run();
    }
    let done = work.await?;
    if as_json {
        let line = json!({
            "oldest": done.oldest, "files": done.files, "bytes": done.bytes, "dry_run": clean.dry_run,
        });
        return print(&line.to_string());
    }
    let verb = if clean.dry_run {
        "would be deleted"
    } else {
        "deleted"
    };
    print(&match done.oldest {
        Some(oldest) => format!(
            "{} log files, {} bytes {verb}; version {oldest} is the oldest now",
            done.files, done.bytes
        ),
        None => "there was nothing to clean up".to_owned(),
    })
}

pub(crate) async fn restore(restore: Restore, as_json: bool) -> Result<(), Failure> {
    let at = restore.travel.at();
    let table = Table::open(&restore.table).await?;
    let commit = table.restore(at).await?;
    table.close().await;
    let changed = commit.status != CommitStatus::Unchanged;
    if as_json {
        let line = json!({
            "version": commit.version, "changed": changed,
            "files_restored": commit.files, "files_removed": commit.files_removed,
        });
        return print(&line.to_string());
    }
    print(&match changed {
        true => format!(
            "version {}: {} files restored, {} removed",
            commit.version, commit.files, commit.files_removed
        ),
        false => format!("version {}: there was nothing to restore", commit.version),
    })
}

pub(crate) async fn maintain(maintain: Maintain, as_json: bool) -> Result<(), Failure> {
    let table = Table::open(&maintain.table).await?;
    let mut work = table.maintain().every(maintain.every);
    work = work
        .compact_from(maintain.compact_from)
        .core_share(maintain.core_share);
    if let Some(bytes) = maintain.bytes_per_second {
        work = work.bytes_per_second(bytes);
    }
    if let Some(every) = maintain.delete_every {
        work = work.delete_every(every);
    }
    if maintain.once {
        return report(&work.once().await?, as_json);
    }
    let environment = headwater::environment::Environment::system();
    let worker = work.start();
    let mut seen = Status::default();
    loop {
        environment.sleep(Duration::from_millis(200)).await;
        let status = worker.status();
        if status != seen {
            report(&status, as_json)?;
        }
        if status.state == State::Failed {
            worker.stop().await?;
            return Ok(());
        }
        seen = status;
    }
}

fn report(status: &Status, as_json: bool) -> Result<(), Failure> {
    let (version, done) = (status.version, status.compacted);
    let state = format!("{:?}", status.state).to_lowercase();
    if as_json {
        let line = json!({
            "state": state, "version": version, "files_removed": done.files_removed, "files_added": done.files_added,
            "rows": done.rows, "checkpoints": status.checkpoints, "deleted": status.deleted, "failures": status.failures,
            "failures_in_a_row": status.failures_in_a_row, "last_failure": status.last_failure,
        });
        return print(&line.to_string());
    }
    // What the last round failed at is why nothing gets on.
    let failing = match (&status.last_failure, status.failures_in_a_row) {
        (Some(failure), 1..) => format!("; trying again after: {failure}"),
        _ => String::new(),
    };
    print(&format!(
        "{state} at version {}: {} files became {}, {} checkpoints, {} objects deleted, {} failures{failing}",
        version.unwrap_or(0),
        done.files_removed,
        done.files_added,
        status.checkpoints,
        status.deleted,
        status.failures
    ))
}

pub(crate) async fn pin(pin: Pin, as_json: bool) -> Result<(), Failure> {
    match pin.what {
        PinCommand::Add {
            table,
            name,
            travel,
            lasts,
        } => {
            let table = Table::open(&table).await?;
            let pin = table.pin(&name, travel.at(), lasts).await?;
            shown(&pin, as_json)
        }
        PinCommand::Remove { table, name } => {
            let removed = Table::open(&table).await?.unpin(&name).await?;
            match removed {
                true if as_json => print(&json!({"name": name, "removed": true}).to_string()),
                true => print(&format!("{name}: no longer pinned")),
                false => Err(format!("there is no pin of the name {name}").into()),
            }
        }
        PinCommand::List { table } => {
            for pin in Table::open(&table).await?.pins().await? {
                shown(&pin, as_json)?;
            }
            Ok(())
        }
    }
}

fn shown(pin: &headwater::Pin, as_json: bool) -> Result<(), Failure> {
    if as_json {
        let line = json!({"name": pin.name, "version": pin.version, "expires": pin.expires});
        return print(&line.to_string());
    }
    print(&format!("{}: version {}", pin.name, pin.version))
}
