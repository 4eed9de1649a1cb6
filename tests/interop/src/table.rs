//! Tables on disk: written by headwater, read by headwater, and copied with one half of their log taken away.

use std::fs;
use std::path::Path;

use headwater::protocol::schema::Schema;
use headwater::scan::Pruning;
use headwater::{Commit, Table};

use crate::Failure;
use crate::case::{Case, Kind, Step, load, save};

/// Headwater writes a case: version 0 is the empty table, every commit that brings rows is one version.
///
/// # Errors
///
/// If headwater refuses.
pub async fn write(case: &Case, place: &Path) -> Result<(), Failure> {
    let first = case.steps.first().and_then(|step| step.file.as_ref());
    let (schema, _) = load(first.ok_or("a case begins with rows")?)?;
    let creating = Table::create(&text(place), Schema::from_arrow(&schema)?);
    let creating = creating.partition_by(case.partition_by.iter().cloned());
    let properties = case.properties.iter();
    let creating = properties.fold(creating, |creating, (key, value)| {
        creating.property(key, value)
    });
    let table = creating.await?;
    for step in &case.steps {
        take(&table, step).await?;
    }
    table.close().await;
    Ok(())
}

async fn take(table: &Table, step: &Step) -> Result<(), Failure> {
    let Some(file) = &step.file else {
        table.checkpoint().await?;
        return Ok(());
    };
    let append = table.append(load(file)?.1);
    let append = match step.kind {
        Kind::Widen => append.add_columns(),
        Kind::Append | Kind::Checkpoint => append,
    };
    let _: Commit = append.await?;
    Ok(())
}

/// Headwater reads rows of a version into an Arrow file.
///
/// # Errors
///
/// If headwater cannot read them.
pub async fn read(
    place: &Path,
    version: u64,
    condition: Option<(&str, Pruning)>,
    into: &Path,
) -> Result<(), Failure> {
    let table = Table::open(&text(place)).await?;
    let snapshot = table.snapshot_at(version).await?;
    let mut scan = snapshot.scan();
    if let Some((sql, pruning)) = condition {
        scan = scan.filter_sql(sql)?.pruning(pruning);
    }
    save(into, &scan.schema()?, &scan.collect().await?)
}

/// A copy of a table that can only be read through its commits.
///
/// # Errors
///
/// If files cannot be copied.
pub fn copy_without_checkpoints(from: &Path, to: &Path) -> Result<(), Failure> {
    copy(from, to)?;
    for name in log_names(to)? {
        if name.contains("checkpoint") {
            fs::remove_file(to.join("_delta_log").join(name))?;
        }
    }
    Ok(())
}

/// A copy of a table that can only be read through the checkpoint of this version.
///
/// # Errors
///
/// If files cannot be copied, or the checkpoint is not there.
pub fn copy_from_checkpoint(from: &Path, to: &Path, version: u64) -> Result<(), Failure> {
    copy(from, to)?;
    let mut found = false;
    for name in log_names(to)? {
        let of = name.get(..20).and_then(|digits| digits.parse::<u64>().ok());
        let checkpoint = name.contains("checkpoint");
        found |= checkpoint && of == Some(version);
        if of.is_some_and(|of| of < version || of == version && !checkpoint) {
            fs::remove_file(to.join("_delta_log").join(name))?;
        }
    }
    if found {
        Ok(())
    } else {
        Err(format!("{}: no checkpoint of version {version}", from.display()).into())
    }
}

fn log_names(table: &Path) -> Result<Vec<String>, Failure> {
    let entries = fs::read_dir(table.join("_delta_log"))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect()
}

/// A copy of a table.
///
/// # Errors
///
/// If files cannot be copied.
pub fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// A path as the location of a table.
#[must_use]
pub fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
