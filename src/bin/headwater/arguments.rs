//! The command line.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use headwater::snapshot::At;

use crate::alter::{Alter, Compact, Overwrite};
use crate::changes::{Delete, Merge, Update};
use crate::maintain::{CleanUpLog, Maintain, Pin, Restore, Vacuum};

#[derive(Debug, Parser)]
#[command(
    name = "headwater",
    version,
    about = "Transactional tables in a data lake"
)]
pub(crate) struct Arguments {
    /// Print one JSON object per line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Arguments {
    /// The arguments; ends with a word about usage where they make no sense.
    pub(crate) fn checked() -> Self {
        let arguments = Self::parse();
        let (format, output) = match &arguments.command {
            Command::Scan(scan) => (scan.format, &scan.output),
            Command::Changes(changes) => (changes.format, &changes.output),
            _ => (None, &None),
        };
        let prints_json = matches!(format, None | Some(Format::Ndjson));
        if arguments.json && !prints_json && output.is_none() {
            let message =
                "--json prints JSON: it goes with --format ndjson, or with a file as --output";
            Self::command()
                .error(ErrorKind::ArgumentConflict, message)
                .exit();
        }
        arguments
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a table
    Create(Create),
    /// Append the rows of files as one version
    Append(Append),
    /// Delete the rows of a condition
    Delete(Delete),
    /// Change the rows of a condition
    Update(Update),
    /// Merge the rows of a file by key
    Merge(Merge),
    /// Replace all rows, or some, by those of files
    Overwrite(Overwrite),
    /// Change columns, properties, constraints and features
    Alter(Alter),
    /// Make few files of many small ones
    Compact(Compact),
    /// Delete objects that no version inside its promise needs
    Vacuum(Vacuum),
    /// Delete parts of the log that no version inside its promise needs
    CleanUpLog(CleanUpLog),
    /// Bring an older version's rows and schema back
    Restore(Restore),
    /// Compact, write checkpoints and delete, as it becomes due
    Maintain(Maintain),
    /// Keep versions readable
    Pin(Pin),
    /// Print rows
    Scan(Scan),
    /// Print what happened to rows, version by version
    Changes(Changes),
    /// Say what is wrong with a table; exit 1 if it would lose or double rows
    Doctor(Doctor),
    /// Repair a table that nobody can open
    Repair(crate::maintain::Repair),
    /// Print version, schema, protocol, properties and sums
    Info(Info),
    /// Print who changed the table, when and how, newest first
    History(History),
    /// Print the live files
    Files(Files),
    /// Print shuffled batches for training, and the state after each
    Feed(crate::feed::Feed),
    /// Print what is added to a table, or append it to another one, each row once
    Follow(crate::feed::Follow),
    /// Write a checkpoint of the newest version
    Checkpoint(Checkpoint),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Path or URL of the table
    pub(crate) table: String,
    /// Take the schema from a JSON file: the protocol's schema string
    #[arg(
        long,
        value_name = "FILE.json",
        required_unless_present = "like",
        conflicts_with = "like"
    )]
    pub(crate) schema: Option<PathBuf>,
    /// Take the schema from a Parquet file
    #[arg(long, value_name = "FILE.parquet")]
    pub(crate) like: Option<PathBuf>,
    /// Partition by these columns
    #[arg(long, value_name = "a,b", value_delimiter = ',')]
    pub(crate) partition_by: Vec<String>,
    /// Set a table property
    #[arg(long = "property", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) properties: Vec<(String, String)>,
    /// List a table feature in the protocol
    #[arg(long = "feature", value_name = "NAME")]
    pub(crate) features: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Append {
    /// Path or URL of the table
    pub(crate) table: String,
    /// Files to append: .parquet, .csv, .ndjson, .json, .arrow
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Append exactly once: the application's id
    #[arg(long, requires = "app_version")]
    pub(crate) app_id: Option<String>,
    /// Append exactly once: the application's transaction number
    #[arg(long, requires = "app_id")]
    pub(crate) app_version: Option<i64>,
    /// Add columns that the files have and the table has not
    #[arg(long)]
    pub(crate) add_columns: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Travel {
    /// Read this version
    #[arg(long, value_name = "N", conflicts_with = "as_of")]
    pub(crate) version: Option<u64>,
    /// Read the version in force at this moment, such as 2013-06-30T12:00:00Z
    #[arg(long, value_name = "TIMESTAMP", value_parser = moment)]
    pub(crate) as_of: Option<i64>,
}

impl Travel {
    pub(crate) fn at(&self) -> At {
        match (self.version, self.as_of) {
            (Some(version), _) => At::Version(version),
            (None, Some(millis)) => At::timestamp(millis),
            (None, None) => At::Latest,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Scan {
    /// Path or URL of the table
    pub(crate) table: String,
    #[command(flatten)]
    pub(crate) travel: Travel,
    /// Keep the rows for which this SQL condition is true
    #[arg(long = "where", value_name = "SQL")]
    pub(crate) condition: Option<String>,
    /// Print these columns
    #[arg(long, value_name = "a,b", value_delimiter = ',')]
    pub(crate) select: Vec<String>,
    /// Stop after this many rows
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// How to print
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Print to a file instead of the terminal
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Read every file, row group and page
    #[arg(long)]
    pub(crate) no_pruning: bool,
    /// Let files of the table lie below this path or URL, too, as those of clones do
    #[arg(long, value_name = "PLACE")]
    pub(crate) allow: Vec<String>,
    /// Print the id of each row, and the version that changed it last
    #[arg(long)]
    pub(crate) row_ids: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Changes {
    /// Path or URL of the table
    pub(crate) table: String,
    /// Begin with this version
    #[arg(
        long,
        value_name = "N",
        conflicts_with = "from_time",
        required_unless_present = "from_time"
    )]
    pub(crate) from: Option<u64>,
    /// Begin with the first version that is not earlier than this moment
    #[arg(long, value_name = "TIMESTAMP", value_parser = moment)]
    pub(crate) from_time: Option<i64>,
    /// End with this version instead of the newest
    #[arg(long, value_name = "N", conflicts_with = "to_time")]
    pub(crate) to: Option<u64>,
    /// End with the last version that is not later than this moment
    #[arg(long, value_name = "TIMESTAMP", value_parser = moment)]
    pub(crate) to_time: Option<i64>,
    /// Read versions, too, in which the change data feed was not enabled
    #[arg(long)]
    pub(crate) unrecorded: bool,
    /// How to print
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Print to a file instead of the terminal
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns for people
    Table,
    /// One JSON object per line
    Ndjson,
    /// Comma-separated values with a header
    Csv,
    /// A Parquet file; needs --output
    Parquet,
    /// An Arrow IPC stream
    Arrow,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Path or URL of the table
    pub(crate) table: String,
    /// Read all rows of the newest version, too
    #[arg(long)]
    pub(crate) rows: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Info {
    /// Path or URL of the table
    pub(crate) table: String,
    #[command(flatten)]
    pub(crate) travel: Travel,
}

#[derive(Debug, Args)]
pub(crate) struct History {
    /// Path or URL of the table
    pub(crate) table: String,
    /// Print at most this many versions
    #[arg(long, value_name = "N", default_value_t = usize::MAX, hide_default_value = true)]
    pub(crate) limit: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Files {
    /// Path or URL of the table
    pub(crate) table: String,
    #[command(flatten)]
    pub(crate) travel: Travel,
    /// Print only files that can hold rows for which this SQL condition is true
    #[arg(long = "where", value_name = "SQL")]
    pub(crate) condition: Option<String>,
    /// Print every file and why it was kept or pruned
    #[arg(long)]
    pub(crate) explain: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Checkpoint {
    /// Path or URL of the table
    pub(crate) table: String,
}

pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("say KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// A number of seconds, minutes, hours or days, such as `90s`, `5m`, `36h`, `7d`.
pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || "say a time as 90s, 5m, 36h or 7d".to_owned();
    let split = text.len().saturating_sub(1);
    let (number, unit) = text.split_at_checked(split).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = number.checked_mul(seconds).ok_or_else(wrong)?;
    Ok(std::time::Duration::from_secs(seconds))
}

/// Milliseconds since the epoch, from RFC 3339, or from a date or date and time in UTC.
fn moment(text: &str) -> Result<i64, String> {
    if let Ok(time) = chrono::DateTime::parse_from_rfc3339(text) {
        return Ok(time.timestamp_millis());
    }
    for format in ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"] {
        if let Ok(time) = chrono::NaiveDateTime::parse_from_str(text, format) {
            return Ok(time.and_utc().timestamp_millis());
        }
    }
    let date = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d");
    let midnight = date.ok().and_then(|date| date.and_hms_opt(0, 0, 0));
    let millis = midnight.map(|time| time.and_utc().timestamp_millis());
    millis.ok_or_else(|| "say a time as 2013-06-30T12:00:00Z or a date as 2013-06-30".to_owned())
}
