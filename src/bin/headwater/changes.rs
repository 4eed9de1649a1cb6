//! Commands that change rows.

use std::path::PathBuf;

use clap::Args;
use headwater::predicate::{Expression, Predicate};
use headwater::{Batches, Commit, CommitStatus, Table};
use serde_json::json;

use crate::commands::print;
use crate::{Failure, input};

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Path or URL of the table
    table: String,
    /// Delete the rows for which this SQL condition is true
    #[arg(long = "where", value_name = "SQL")]
    condition: String,
}

#[derive(Debug, Args)]
pub(crate) struct Update {
    /// Path or URL of the table
    table: String,
    /// Set a column to a SQL expression over the row as it was
    #[arg(long = "set", value_name = "COLUMN=SQL", value_parser = set, required = true)]
    sets: Vec<(String, Expression)>,
    /// Change only rows for which this SQL condition is true
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Merge {
    /// Path or URL of the table
    table: String,
    /// Rows to merge: .parquet, .csv, .ndjson, .json, .arrow
    source: PathBuf,
    /// The columns of the key
    #[arg(long, value_name = "a,b", value_delimiter = ',', required = true)]
    on: Vec<String>,
    /// Delete rows whose key is in the source, where this SQL condition over source.x and target.x is true
    #[arg(long, value_name = "SQL")]
    delete_matched: Option<String>,
    /// Update rows whose key is in the source: all columns that the source has
    #[arg(long, conflicts_with = "sets")]
    update_all: bool,
    /// Update rows whose key is in the source: a column to a SQL expression over source.x and target.x
    #[arg(long = "set", value_name = "COLUMN=SQL", value_parser = set)]
    sets: Vec<(String, Expression)>,
    /// Insert rows of the source whose key the table does not have
    #[arg(long)]
    insert_all: bool,
    /// Delete rows of the table whose key the source does not have
    #[arg(long)]
    delete_not_in_source: bool,
}

pub(crate) async fn delete(delete: Delete, as_json: bool) -> Result<(), Failure> {
    let table = Table::open(&delete.table).await?;
    let commit = table.delete(Predicate::parse(&delete.condition)?).await?;
    table.close().await;
    report(&commit, as_json)
}

pub(crate) async fn update(update: Update, as_json: bool) -> Result<(), Failure> {
    let table = Table::open(&update.table).await?;
    let sets = update.sets.into_iter();
    let mut updating = sets.fold(table.update(), |updating, (column, value)| {
        updating.set(column, value)
    });
    if let Some(condition) = &update.condition {
        updating = updating.filter(Predicate::parse(condition)?);
    }
    let commit = updating.await?;
    table.close().await;
    report(&commit, as_json)
}

pub(crate) async fn merge(merge: Merge, as_json: bool) -> Result<(), Failure> {
    let table = Table::open(&merge.table).await?;
    let schema = table.snapshot().schema().clone();
    let rows = input::open(&merge.source, &schema)?;
    let source = Batches::stream(futures::stream::iter(rows));
    let mut merging = table.merge(source).on(merge.on);
    if let Some(condition) = &merge.delete_matched {
        let condition = Predicate::parse(condition)?;
        merging = merging.when_matched_delete().only_if(condition);
    }
    if merge.update_all {
        merging = merging.when_matched_update_all();
    }
    if !merge.sets.is_empty() {
        merging = merging.when_matched_update(merge.sets);
    }
    if merge.insert_all {
        merging = merging.when_not_matched_insert_all();
    }
    if merge.delete_not_in_source {
        merging = merging.when_not_matched_by_source_delete();
    }
    let commit = merging.await?;
    table.close().await;
    report(&commit, as_json)
}

pub(crate) fn report(commit: &Commit, as_json: bool) -> Result<(), Failure> {
    let changed = commit.status != CommitStatus::Unchanged;
    if as_json {
        return print(
            &json!({
                "version": commit.version, "changed": changed,
                "rows_updated": commit.rows_updated, "rows_deleted": commit.rows_deleted,
                "rows_inserted": commit.rows_inserted, "rows_written": commit.rows,
                "files": commit.files, "files_removed": commit.files_removed, "bytes": commit.bytes,
            })
            .to_string(),
        );
    }
    if !changed {
        let version = commit.version;
        return print(&format!("version {version}: there was nothing to change"));
    }
    print(&format!(
        "version {}: {} rows updated, {} deleted, {} inserted",
        commit.version, commit.rows_updated, commit.rows_deleted, commit.rows_inserted
    ))
}

/// A column, and the expression after the first `=`.
fn set(text: &str) -> Result<(String, Expression), String> {
    let (column, sql) = text.split_once('=').ok_or("say COLUMN=SQL")?;
    let value = Expression::parse(sql).map_err(|error| error.to_string())?;
    Ok((column.trim().to_owned(), value))
}
