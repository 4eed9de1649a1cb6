//! Commands that change what a table is, or how it lies.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use headwater::predicate::Predicate;
use headwater::protocol::schema::{Field, Schema};
use headwater::{CommitStatus, Table};
use serde_json::json;

use crate::commands::{print, source};
use crate::{Failure, arguments::key_value, changes::report, progress};

/// Changes are made in the order of this list, as one version.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true).args(["rename", "drop_columns", "add_columns", "drop_not_null", "comments",
    "describe", "properties", "unset", "drop_constraints", "constraints", "features"]))]
pub(crate) struct Alter {
    /// Path or URL of the table
    table: String,
    /// List a table feature in the protocol, for good
    #[arg(long = "add-feature", value_name = "NAME")]
    features: Vec<String>,
    /// Set a table property
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    properties: Vec<(String, String)>,
    /// Remove a table property
    #[arg(long, value_name = "KEY")]
    unset: Vec<String>,
    /// Give a column another name; needs column mapping
    #[arg(long, value_name = "OLD=NEW", value_parser = key_value)]
    rename: Vec<(String, String)>,
    /// Take a column out of the schema; needs column mapping
    #[arg(long = "drop-column", value_name = "COLUMN")]
    drop_columns: Vec<String>,
    /// Add a nullable column, such as `note:string`, `price:decimal(10,2)`, or a type in the protocol's JSON
    #[arg(long = "add-column", value_name = "NAME:TYPE", value_parser = field)]
    add_columns: Vec<Field>,
    /// Let a column be null
    #[arg(long, value_name = "COLUMN")]
    drop_not_null: Vec<String>,
    /// Note what a column is about
    #[arg(long = "comment", value_name = "COLUMN=TEXT", value_parser = key_value)]
    comments: Vec<(String, String)>,
    /// Describe the table
    #[arg(long, value_name = "TEXT")]
    describe: Option<String>,
    /// Remove a constraint
    #[arg(long = "drop-constraint", value_name = "NAME")]
    drop_constraints: Vec<String>,
    /// Make every row obey a SQL condition; the rows that are there are checked first
    #[arg(long = "add-constraint", value_name = "NAME=SQL", value_parser = key_value)]
    constraints: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct Overwrite {
    /// Path or URL of the table
    table: String,
    /// New rows: .parquet, .csv, .ndjson, .json, .arrow
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Replace only the rows for which this SQL condition is true; the new rows must meet it
    #[arg(long = "where", value_name = "SQL", conflicts_with = "partitions")]
    condition: Option<String>,
    /// Replace only the rows of the partitions that the new rows are of
    #[arg(long)]
    partitions: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Compact {
    /// Path or URL of the table
    table: String,
    /// About how large files are to become, in bytes
    #[arg(long, value_name = "BYTES")]
    target_file_bytes: Option<u64>,
}

pub(crate) async fn alter(alter: Alter, as_json: bool) -> Result<(), Failure> {
    let table = Table::open(&alter.table).await?;
    let mut altering = table.alter();
    for name in alter.features {
        altering = altering.add_feature(name);
    }
    for (key, value) in alter.properties {
        altering = altering.set_property(key, value);
    }
    for key in alter.unset {
        altering = altering.unset_property(key);
    }
    for (old, new) in alter.rename {
        altering = altering.rename_column(&old, new);
    }
    for column in &alter.drop_columns {
        altering = altering.drop_column(column);
    }
    for field in alter.add_columns {
        altering = altering.add_column(field);
    }
    for column in &alter.drop_not_null {
        altering = altering.drop_not_null(column);
    }
    for (column, text) in &alter.comments {
        altering = altering.comment(column, Some(text));
    }
    if let Some(text) = &alter.describe {
        altering = altering.describe(Some(text));
    }
    for name in alter.drop_constraints {
        altering = altering.drop_constraint(name);
    }
    for (name, condition) in alter.constraints {
        altering = altering.add_constraint(name, condition);
    }
    let commit = altering.await?;
    table.close().await;
    let changed = commit.status != CommitStatus::Unchanged;
    if as_json {
        return print(&json!({"version": commit.version, "changed": changed}).to_string());
    }
    print(&match changed {
        true => format!("version {}: altered", commit.version),
        false => format!("version {}: there was nothing to change", commit.version),
    })
}

pub(crate) async fn overwrite(overwrite: Overwrite, as_json: bool) -> Result<(), Failure> {
    let table = Table::open(&overwrite.table).await?;
    let (batches, bar) = source(&table, overwrite.files, "overwriting");
    let mut writing = table.overwrite(batches);
    if let Some(condition) = &overwrite.condition {
        writing = writing.matching(Predicate::parse(condition)?);
    }
    if overwrite.partitions {
        writing = writing.partitions_of_rows();
    }
    let commit = writing.await;
    bar.finish_and_clear();
    table.close().await;
    report(&commit?, as_json)
}

pub(crate) async fn compact(compact: Compact, as_json: bool) -> Result<(), Failure> {
    let table = Table::open(&compact.table).await?;
    let mut compacting = table.compact();
    if let Some(bytes) = compact.target_file_bytes {
        compacting = compacting.target_file_bytes(bytes);
    }
    let bar = progress::work("compacting");
    let done = compacting.await;
    bar.finish_and_clear();
    let done = done?;
    table.close().await;
    if as_json {
        let line = json!({
            "version": done.version, "files_removed": done.files_removed, "files_added": done.files_added,
            "bytes_removed": done.bytes_removed, "bytes_added": done.bytes_added, "rows": done.rows,
        });
        return print(&line.to_string());
    }
    print(&match done.version {
        Some(version) => format!(
            "version {version}: {} files became {}, {} rows",
            done.files_removed, done.files_added, done.rows
        ),
        None => "there was nothing to compact".to_owned(),
    })
}

/// A nullable column, its type by name or in the protocol's JSON.
fn field(text: &str) -> Result<Field, String> {
    let (name, data_type) = text.split_once(':').ok_or("say NAME:TYPE")?;
    let data_type = match data_type.trim_start().starts_with('{') {
        true => serde_json::from_str(data_type).map_err(|error| error.to_string())?,
        false => serde_json::Value::from(data_type.trim()),
    };
    let field = json!({"name": name, "type": data_type, "nullable": true, "metadata": {}});
    let schema = json!({"type": "struct", "fields": [field]}).to_string();
    let schema = Schema::from_json(&schema).map_err(|error| error.to_string())?;
    let is_known = schema.to_arrow().map_err(|error| error.to_string());
    is_known?;
    schema
        .fields()
        .first()
        .cloned()
        .ok_or_else(|| "say NAME:TYPE".to_owned())
}
