//! The objects that the newest version names: are they there, whole, and what the log says they are.

use std::collections::BTreeMap;

use futures::StreamExt;

use crate::data::ColumnNames;
use crate::data::reader::{DataFile, deleted_rows};
use crate::error::{Code, Error, ErrorKind, Result};
use crate::maintenance::doctor::state::State;
use crate::maintenance::doctor::{Doctor, Finding, Grade, Report, bounds};
use crate::protocol::action::Add;
use crate::protocol::deletion_vector::check_rows;
use crate::protocol::location::resolve;
use crate::protocol::schema::{DataType, Schema};
use crate::protocol::statistics::FileStatistics;
use crate::protocol::value::Scalar;
use crate::storage::Storage;
use crate::storage::parquet::ParquetFile;

/// How many files are looked at side by side.
const FILES_AT_ONCE: usize = 8;
/// The tag in which a writer of this crate notes the hash of a file.
const HASH_TAG: &str = "headwater.blake3";
/// How many bytes of a file are hashed at one time.
const HASHED_AT_ONCE: u64 = 8 << 20;

/// Looks at every live file.
pub(super) async fn examine(doctor: &Doctor, state: &State, report: &mut Report) -> Result<()> {
    let schema = state.schema();
    let schema = schema.as_ref();
    let adds: Vec<Add> = state.live.values().cloned().collect();
    let checks = adds
        .into_iter()
        .map(|add| async move { look(doctor, state, schema, &add).await });
    let mut checks = futures::stream::iter(checks).buffered(FILES_AT_ONCE);
    while let Some(found) = checks.next().await {
        report.files = report.files.saturating_add(1);
        report.findings.extend(found?);
    }
    Ok(())
}

async fn look(
    doctor: &Doctor,
    state: &State,
    schema: Option<&Schema>,
    add: &Add,
) -> Result<Vec<Finding>> {
    let mut report = Report::default();
    let opened = open(doctor, add, &mut report).await?;
    let rows = opened.map(|file| file.num_rows());
    check_vector(doctor, add, rows, &mut report).await?;
    check_statistics(add, rows, &mut report);
    if let Some(schema) = schema {
        check_partition_values(state, schema, add, &mut report);
        bounds::check_json(state, schema, add, &mut report);
        let readable = report
            .findings
            .iter()
            .all(|finding| finding.grade < Grade::Rows);
        if doctor.rows && rows.is_some() && readable {
            bounds::check_rows(doctor, state, schema, add, &mut report).await?;
        }
    }
    // An address in a path may hold a secret; what is wrong with it was said without it.
    for finding in report
        .findings
        .iter_mut()
        .filter(|finding| finding.code != "unsafe_path")
    {
        finding.with("path", &add.path);
    }
    Ok(report.findings)
}

async fn open(doctor: &Doctor, add: &Add, report: &mut Report) -> Result<Option<ParquetFile>> {
    let place = resolve(&add.path).and_then(|location| doctor.storage.locate(location));
    let (storage, key) = match place {
        Ok(place) => place,
        Err(error) => {
            report.failed(Grade::Rows, "unsafe_path", &error);
            return Ok(None);
        }
    };
    let Some(info) = storage.head(&key).await? else {
        let mut message = "a live data file is missing".to_owned();
        if key != add.path && matches!(storage.head(&add.path).await, Ok(Some(_))) {
            message.push_str(
                ": a file has the name that the log has, but as a URI that means another file",
            );
        }
        report.find(Grade::Rows, "missing_file", message);
        return Ok(None);
    };
    if i64::try_from(info.size).ok() != Some(add.size) {
        let message = "a data file is not of the size that the log says";
        let finding = report.find(Grade::Rows, "file_size", message);
        finding.with("in_log", add.size).with("found", info.size);
        return Ok(None);
    }
    match ParquetFile::open(&storage, &key, Some(info.size)).await {
        Ok(file) => {
            if doctor.rows {
                check_hash((&storage, &key, info.size), add, report).await?;
            }
            Ok(Some(file))
        }
        Err(error) if error.kind() == ErrorKind::Storage => Err(error),
        Err(error) => {
            report.failed(Grade::Rows, "corrupt_file", &error);
            Ok(None)
        }
    }
}

/// Holds a file against the hash that its writer noted, if there is one.
async fn check_hash(file: (&Storage, &str, u64), add: &Add, report: &mut Report) -> Result<()> {
    let tag = add.tags.as_ref().and_then(|tags| tags.get(HASH_TAG));
    let Some(tag) = tag.and_then(Option::as_deref) else {
        return Ok(());
    };
    let hash = match hash(file).await {
        Ok(hash) => hash,
        Err(error) if error.kind() == ErrorKind::Storage => return Err(error),
        Err(error) => {
            report.failed(Grade::Rows, "corrupt_file", &error);
            return Ok(());
        }
    };
    if tag != hash.to_hex().as_str() {
        report.find(
            Grade::Rows,
            "changed_file",
            "a data file is not the one that was written",
        );
    }
    Ok(())
}

/// The hash of an object of this size, read piece by piece.
async fn hash((storage, key, size): (&Storage, &str, u64)) -> Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    let mut start = 0;
    while start < size {
        let end = size.min(start + HASHED_AT_ONCE);
        hasher.update(&storage.get_range(key, start..end).await?);
        start = end;
    }
    Ok(hasher.finalize())
}

async fn check_vector(
    doctor: &Doctor,
    add: &Add,
    rows: Option<u64>,
    report: &mut Report,
) -> Result<()> {
    let found = deleted_rows(&doctor.storage, add.deletion_vector.as_ref()).await;
    let checked = found.and_then(|vector| match (vector, rows) {
        (Some(vector), Some(rows)) => check_rows(&vector, rows),
        _ => Ok(()),
    });
    match checked {
        Err(error) if error.kind() == ErrorKind::Storage => return Err(error),
        Err(error) => {
            let code = if error.code() == Code::UnsafePath {
                "unsafe_path"
            } else {
                "deletion_vector"
            };
            report.failed(Grade::Rows, code, &error);
        }
        Ok(()) => {}
    }
    Ok(())
}

fn check_statistics(add: &Add, rows: Option<u64>, report: &mut Report) {
    let Some(text) = &add.stats else {
        if add.deletion_vector.is_some() {
            let message = "a file with a deletion vector does not say how many rows it has";
            report.find(Grade::Damage, "statistics", message);
        }
        return;
    };
    let Some(statistics) = FileStatistics::parse(text) else {
        report.find(
            Grade::Damage,
            "statistics",
            "the statistics of a file cannot be read: they prune nothing",
        );
        return;
    };
    let said = statistics.num_records();
    if said.is_none() && text.contains("\"numRecords\"") && !text.contains("\"numRecords\":null") {
        let message = "the statistics of a file say a number of rows that can be none";
        report.find(Grade::Damage, "statistics", message);
    }
    if let (Some(said), Some(rows)) = (said, rows)
        && said != rows
    {
        let message = "the statistics of a file say another number of rows than the file has";
        // Too small, it makes columns seem to hold nothing but nulls, or the file to be empty: scans pass it over.
        let grade = match said < rows {
            true => Grade::Rows,
            false => Grade::Damage,
        };
        report
            .find(grade, "row_count", message)
            .with("in_log", said)
            .with("found", rows);
    }
}

fn check_partition_values(state: &State, schema: &Schema, add: &Add, report: &mut Report) {
    let names = ColumnNames::by(state.properties().column_mapping_mode);
    let columns = state
        .metadata
        .iter()
        .flat_map(|metadata| &metadata.partition_columns);
    for field in columns.filter_map(|name| schema.field(name)) {
        let DataType::Primitive(primitive) = &field.data_type else {
            continue;
        };
        match add.partition_values.get(&names.of(field)) {
            None => {
                let message = "a file has no value of a partition column: it is taken as null";
                report
                    .find(Grade::Damage, "partition_value", message)
                    .with("column", &field.name);
            }
            Some(text) => {
                let read: Result<Scalar, Error> =
                    Scalar::from_partition_value(text.as_deref(), primitive);
                if let Err(error) = read {
                    report
                        .failed(Grade::Rows, "partition_value", &error)
                        .with("column", &field.name);
                }
            }
        }
    }
}

/// The file that an add means.
pub(super) fn data_file(add: &Add) -> Result<DataFile> {
    DataFile::of(add)
}

/// Values by the names of their columns, for look-ups.
pub(super) type ByColumn<T> = BTreeMap<Vec<String>, T>;
