//! What each command does.

use std::io::Write;
use std::path::PathBuf;

use futures::{StreamExt, TryStreamExt};
use headwater::environment::Environment;
use headwater::protocol::schema::Schema;
use headwater::scan::{Pruning, Verdict};
use headwater::snapshot::At;
use headwater::storage::Storage;
use headwater::{Batches, CommitStatus, Table};
use serde_json::json;

use crate::arguments::{
    Append, Changes, Checkpoint, Create, Doctor, Files, Format, History, Info, Scan,
};
use crate::output::{self, Output};
use crate::{Failure, input, place, progress};

pub(crate) async fn create(create: Create, as_json: bool) -> Result<(), Failure> {
    let schema = match (&create.schema, &create.like) {
        (Some(path), _) => {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
            Schema::from_json(&text)?
        }
        (None, Some(path)) => Schema::from_arrow(input::parquet_schema(path)?.as_ref())?,
        (None, None) => return Err("name a schema with --schema or --like".into()),
    };
    let mut creating = Table::create(&create.table, schema).partition_by(create.partition_by);
    for (key, value) in create.properties {
        creating = creating.property(key, value);
    }
    for feature in create.features {
        creating = creating.feature(feature);
    }
    let table = creating.await?;
    let snapshot = table.snapshot();
    if as_json {
        return print(
            &json!({ "version": snapshot.version(), "table": table.location() }).to_string(),
        );
    }
    print(&format!(
        "created {} at version {}",
        table.location(),
        snapshot.version()
    ))
}

/// The rows of files, with a bar that counts them.
pub(crate) fn source(
    table: &Table,
    files: Vec<PathBuf>,
    doing: &'static str,
) -> (Batches, indicatif::ProgressBar) {
    let schema = table.snapshot().schema().clone();
    let bar = progress::rows(doing);
    let counting = bar.clone();
    let files = futures::stream::iter(files);
    let batches = files
        .map(move |path: PathBuf| match input::open(&path, &schema) {
            Ok(rows) => Ok(futures::stream::iter(rows)),
            Err(error) => Err(error),
        })
        .try_flatten()
        .inspect_ok(move |batch| counting.inc(batch.num_rows() as u64));
    (Batches::stream(batches), bar)
}

pub(crate) async fn append(append: Append, as_json: bool) -> Result<(), Failure> {
    let table = Table::open(&append.table).await?;
    let (batches, bar) = source(&table, append.files, "appending");
    let mut appending = table.append(batches);
    if let (Some(app_id), Some(number)) = (append.app_id, append.app_version) {
        appending = appending.exactly_once(app_id, number);
    }
    if append.add_columns {
        appending = appending.add_columns();
    }
    let commit = appending.await;
    bar.finish_and_clear();
    let commit = commit?;
    table.close().await;
    let applied = commit.status == CommitStatus::AlreadyApplied;
    if as_json {
        return print(
            &json!({
                "version": commit.version, "rows": commit.rows, "files": commit.files, "bytes": commit.bytes,
                "already_applied": applied,
            })
            .to_string(),
        );
    }
    if applied {
        return print(&format!(
            "already applied at version {}: nothing was appended",
            commit.version
        ));
    }
    print(&format!(
        "version {}: {} rows in {} files",
        commit.version, commit.rows, commit.files
    ))
}

pub(crate) async fn scan(scan: Scan, as_json: bool) -> Result<(), Failure> {
    let mut storage = Storage::open(&scan.table, &Environment::system())?;
    for place in &scan.allow {
        storage = storage.also_reads(Storage::open(place, &Environment::system())?);
    }
    let table = Table::open_at_in(storage, Environment::system(), scan.travel.at()).await?;
    let snapshot = table.snapshot();
    let mut reading = snapshot.scan();
    if let Some(condition) = &scan.condition {
        reading = reading.filter_sql(condition)?;
    }
    if !scan.select.is_empty() {
        reading = reading.select(scan.select);
    }
    let format = output::format(scan.format, scan.output.as_deref(), as_json);
    let limit = scan.limit;
    if let Some(rows) = limit {
        reading = reading.limit(rows);
    }
    if scan.no_pruning {
        reading = reading.pruning(Pruning::Off);
    }
    if scan.row_ids {
        reading = reading.row_ids();
    }
    let mut batches = reading.stream().await?;
    let mut output = Output::open(format, scan.output.as_deref(), &batches.schema())?;
    let bar = progress_of(scan.output.is_some() || format == Format::Table);
    while let Some(batch) = batches.try_next().await? {
        bar.inc(batch.num_rows() as u64);
        output.write(&batch)?;
    }
    bar.finish_and_clear();
    output.finish()
}

/// A bar that counts rows, unless the rows themselves are seen to come.
fn progress_of(is_quiet: bool) -> indicatif::ProgressBar {
    match is_quiet {
        true => progress::rows("reading"),
        false => indicatif::ProgressBar::hidden(),
    }
}

pub(crate) async fn changes(changes: Changes, as_json: bool) -> Result<(), Failure> {
    let table = Table::open(&changes.table).await?;
    let from = match (changes.from, changes.from_time) {
        (Some(version), _) => At::Version(version),
        (None, Some(millis)) => At::timestamp(millis),
        (None, None) => return Err("say where to begin with --from or --from-time".into()),
    };
    let mut reading = table.changes(from);
    if let Some(version) = changes.to {
        reading = reading.to(version);
    } else if let Some(millis) = changes.to_time {
        reading = reading.to(At::timestamp(millis));
    }
    if changes.unrecorded {
        reading = reading.unrecorded();
    }
    let format = output::format(changes.format, changes.output.as_deref(), as_json);
    let mut batches = reading.stream().await?;
    let mut output = Output::open(format, changes.output.as_deref(), &batches.schema())?;
    let bar = progress_of(changes.output.is_some() || format == Format::Table);
    while let Some(batch) = batches.try_next().await? {
        bar.inc(batch.num_rows() as u64);
        output.write(&batch)?;
    }
    bar.finish_and_clear();
    output.finish()
}

pub(crate) async fn doctor(doctor: Doctor, as_json: bool) -> Result<(), Failure> {
    let storage = Storage::open(&doctor.table, &Environment::system())?;
    let mut examination = headwater::Doctor::of(storage);
    if doctor.rows {
        examination = examination.read_rows();
    }
    let report = examination.await?;
    for finding in &report.findings {
        if !as_json {
            print(&finding.to_string())?;
            continue;
        }
        let mut object = json!({
            "grade": finding.grade.as_str(), "code": finding.code, "message": finding.message,
        });
        for (key, value) in &finding.context {
            insert(&mut object, key, json!(value));
        }
        print(&object.to_string())?;
    }
    let sound = report.keeps_rows();
    if as_json {
        print(&json!({
            "version": report.version, "commits": report.commits, "checkpoints": report.checkpoints,
            "files": report.files, "findings": report.findings.len(), "keeps_rows": sound,
        }).to_string())?;
    } else {
        print(&format!(
            "{} findings in {} commits, {} checkpoints and {} files",
            report.findings.len(),
            report.commits,
            report.checkpoints,
            report.files
        ))?;
    }
    match sound {
        true => Ok(()),
        false => Err("the table would lose or double rows, or cannot be read".into()),
    }
}

pub(crate) async fn info(info: Info, as_json: bool) -> Result<(), Failure> {
    let table = Table::open_at(&info.table, info.travel.at()).await?;
    let snapshot = table.snapshot();
    let sums = snapshot.sums().await?;
    let protocol = snapshot.protocol();
    let timestamp = time(snapshot.timestamp_millis().await?);
    let mut features = protocol.reader_features.clone().unwrap_or_default();
    features.extend(protocol.writer_features.clone().unwrap_or_default());
    features.sort();
    features.dedup();
    if as_json {
        let schema: serde_json::Value = serde_json::from_str(&snapshot.schema().to_json())?;
        return print(
            &json!({
                "table": table.location(), "id": snapshot.metadata().id, "version": snapshot.version(),
                "timestamp": timestamp, "files": sums.files, "rows": sums.rows, "bytes": sums.bytes,
                "schema": schema, "partition_columns": snapshot.partition_columns(),
                "protocol": protocol, "features": features,
                "properties": snapshot.metadata().configuration,
                "txns": snapshot.txns().values().collect::<Vec<_>>(),
            })
            .to_string(),
        );
    }
    let mut text = format!(
        "table        {}\nversion      {} ({timestamp})\nfiles        {}\nrows         {}\nbytes        {}\n",
        table.location(),
        snapshot.version(),
        sums.files,
        sums.rows
            .map_or_else(|| "unknown".to_owned(), |rows| rows.to_string()),
        sums.bytes,
    );
    text += &format!(
        "protocol     reader {}, writer {}\n",
        protocol.min_reader_version, protocol.min_writer_version
    );
    if !features.is_empty() {
        text += &format!("features     {}\n", features.join(", "));
    }
    if !snapshot.partition_columns().is_empty() {
        text += &format!("partitions   {}\n", snapshot.partition_columns().join(", "));
    }
    for (key, value) in &snapshot.metadata().configuration {
        text += &format!("property     {key} = {value}\n");
    }
    for field in snapshot.schema().fields() {
        let null = if field.nullable { "" } else { " not null" };
        text += &format!("column       {} {}{null}\n", field.name, field.data_type);
    }
    print(text.trim_end())
}

pub(crate) async fn history(history: History, as_json: bool) -> Result<(), Failure> {
    let table = Table::open(&history.table).await?;
    for entry in table.snapshot().history(history.limit).await? {
        let operation = entry.info.operation.clone().unwrap_or_default();
        let timestamp = time(entry.timestamp_millis);
        if as_json {
            let mut object = serde_json::to_value(&entry.info)?;
            insert(&mut object, "version", json!(entry.version));
            insert(&mut object, "timestamp", json!(timestamp));
            print(&object.to_string())?;
            continue;
        }
        let parameters = entry.info.operation_parameters.unwrap_or_default();
        let parameters: Vec<_> = parameters
            .iter()
            .map(|(key, value)| format!("{key}={}", value.text()))
            .collect();
        print(&format!(
            "{:>8}  {timestamp}  {operation:<16} {}",
            entry.version,
            parameters.join(" ")
        ))?;
    }
    Ok(())
}

pub(crate) async fn files(files: Files, as_json: bool) -> Result<(), Failure> {
    let table = Table::open_at(&files.table, files.travel.at()).await?;
    let snapshot = table.snapshot();
    let mut scan = snapshot.scan();
    if let Some(condition) = &files.condition {
        scan = scan.filter_sql(condition)?;
    }
    let (mut kept, mut pruned) = (0_u64, 0_u64);
    for decision in scan.explain().await? {
        let keeps = decision.verdict == Verdict::Kept;
        *if keeps { &mut kept } else { &mut pruned } += 1;
        if !keeps && !files.explain {
            continue;
        }
        if as_json {
            let mut object = serde_json::to_value(&decision.add)?;
            if files.explain {
                insert(&mut object, "kept", json!(keeps));
                insert(&mut object, "reason", json!(decision.reason));
            }
            print(&object.to_string())?;
            continue;
        }
        let mut line = format!("{:>12}  {}", decision.add.size, decision.add.path);
        if files.explain {
            let verdict = if keeps { "kept  " } else { "pruned" };
            line = format!("{verdict}  {line}  {}", decision.reason);
        }
        print(&line)?;
    }
    if files.explain && !as_json {
        print(&format!("{kept} files kept, {pruned} pruned"))?;
    }
    Ok(())
}

pub(crate) async fn checkpoint(checkpoint: Checkpoint, as_json: bool) -> Result<(), Failure> {
    let table = Table::open(&checkpoint.table).await?;
    let bar = progress::work("writing a checkpoint");
    let version = table.checkpoint().await;
    bar.finish_and_clear();
    let version = version?;
    if as_json {
        return print(&json!({ "version": version }).to_string());
    }
    print(&format!("checkpoint of version {version}"))
}

/// Adds a field to an object.
fn insert(object: &mut serde_json::Value, key: &str, value: serde_json::Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
}

fn time(millis: i64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(millis);
    time.map_or_else(
        || millis.to_string(),
        |time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
    )
}

pub(crate) fn print(line: &str) -> Result<(), Failure> {
    writeln!(place::stdout(), "{line}")?;
    Ok(())
}
