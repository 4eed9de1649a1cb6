//! Checkpoints that other engines wrote, where the folder with them is at hand.

use std::collections::BTreeMap;
use std::path::Path;

use futures::TryStreamExt;

use crate::environment::Environment;
use crate::error::{Code, Result};
use crate::log::checkpoint::{CheckpointReader, ColumnReader, FileColumns, FileText, StatsWanted};
use crate::log::files::FileBatch;
use crate::log::path::{CheckpointKind, LOG_DIRECTORY, LogPath};
use crate::log::removes::RemoveBatch;
use crate::log::segment::{CheckpointFiles, LogSegment};
use crate::protocol::golden;
use crate::protocol::schema::{PrimitiveType, Schema};
use crate::protocol::statistics::FileStatistics;
use crate::protocol::value::Scalar;
use crate::storage::{ObjectInfo, Storage};

/// Table, version, and how many adds, removes and txns its checkpoint has, as another reader of Parquet counts them.
const TABLES: [(&str, u64, usize, usize, usize); 34] = [
    ("golden-125-iterator-bug", 10, 11, 0, 0),
    ("golden-basic-with-inserts-deletes-checkpoint", 10, 6, 5, 0),
    ("golden-dv-with-columnmapping", 10, 18, 10, 0),
    ("golden-multi-part-checkpoint", 1, 10, 0, 0),
    ("golden-v2-checkpoint-json", 2, 4, 0, 0),
    ("kernel-app-txn-checkpoint", 1, 4, 0, 2),
    ("kernel-parquet_row_group_skipping", 1, 1, 0, 2),
    ("kernel-parsed-stats", 3, 4, 0, 0),
    ("kernel-unshredded-variant", 2, 4, 0, 0),
    (
        "kernel-v1-multi-part-partitioned-struct-stats-only",
        5,
        5,
        0,
        0,
    ),
    ("kernel-v1-single-part-struct-stats-only", 5, 5, 0, 0),
    (
        "kernel-v2-checkpoints-json-with-last-checkpoint",
        0,
        2,
        0,
        0,
    ),
    ("kernel-v2-checkpoints-json-without-sidecars", 2, 3, 0, 1),
    ("kernel-v2-classic-checkpoint-json", 1, 4, 0, 0),
    ("kernel-v2-classic-checkpoint-parquet", 1, 4, 0, 0),
    ("kernel-v2-json-sidecars-struct-stats-only", 5, 5, 0, 0),
    ("kernel-v2-parquet-sidecars-struct-stats-only", 5, 5, 0, 0),
    ("kernel-with_checkpoint_no_last_checkpoint", 2, 1, 1, 0),
    ("rs-checkpoints_vacuumed", 5, 5, 0, 0),
    ("rs-checkpoints_vacuumed", 10, 10, 0, 0),
    ("rs-delta-1.2.1-only-struct-stats", 10, 10, 0, 0),
    ("rs-issue_1374", 1, 2, 0, 0),
    ("rs-simple_table_with_checkpoint", 10, 11, 0, 0),
    ("rs-spark-shredded-variant-preview-delta", 2, 4, 0, 0),
    ("rs-table_failed_last_checkpoint_update", 3, 4, 0, 0),
    ("spark-conv", 0, 4, 0, 0),
    ("spark-cp", 4, 4, 0, 0),
    ("spark-cp", 6, 6, 0, 0),
    ("spark-cps", 2, 2, 0, 0),
    ("spark-dropf", 9, 2, 3, 0),
    ("spark-dv_merge", 7, 8, 15, 0),
    ("spark-v2cp_json", 8, 6, 1, 0),
    ("spark-v2cp_parquet", 6, 6, 0, 0),
    ("spark-v2cp_parquet", 8, 6, 1, 0),
];

async fn checkpoints(table: &Path) -> (Storage, Vec<CheckpointFiles>) {
    let storage = Storage::local(table, &Environment::system()).unwrap();
    let mut found: BTreeMap<(u64, String), Vec<ObjectInfo>> = BTreeMap::new();
    for object in storage.list(LOG_DIRECTORY, None).await.unwrap() {
        let name = object.key.rsplit('/').next().unwrap();
        if let Some(LogPath::Checkpoint { version, kind }) = LogPath::parse(name) {
            let kind = match kind {
                CheckpointKind::Multi { parts, .. } => format!("{parts} parts"),
                CheckpointKind::Classic | CheckpointKind::Uuid { .. } => name.to_owned(),
            };
            found.entry((version, kind)).or_default().push(object);
        }
    }
    let files = found
        .into_iter()
        .map(|((version, _), objects)| CheckpointFiles::new(version, objects));
    (storage, files.collect())
}

async fn read(
    reader: &CheckpointReader,
    columns: FileColumns,
) -> Result<(Vec<FileBatch>, Vec<RemoveBatch>)> {
    let files = reader.files(columns).await?.try_collect().await?;
    Ok((files, reader.removes().await?.try_collect().await?))
}

#[tokio::test]
async fn every_golden_checkpoint_is_read() {
    let Some(folder) = golden::folder() else {
        return;
    };
    let mut tables: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    tables.sort();
    let mut seen = BTreeMap::new();
    for table in tables
        .iter()
        .filter(|table| table.join("table/_delta_log").is_dir())
    {
        let name = table.file_name().unwrap().to_str().unwrap();
        let (storage, found) = checkpoints(&table.join("table")).await;
        for files in found {
            let opened = CheckpointReader::open(&storage, &files).await;
            if name.ends_with("checkpoint-missing-protocol") {
                assert_eq!(opened.unwrap_err().code(), Code::CorruptCheckpoint);
                continue;
            }
            let reader = opened.unwrap_or_else(|error| panic!("{name}: {error:?}"));
            let (adds, removes) = read(&reader, FileColumns::all())
                .await
                .unwrap_or_else(|error| panic!("{name}: {error:?}"));
            let adds: usize = adds.iter().map(FileBatch::len).sum();
            let removes: usize = removes.iter().map(RemoveBatch::len).sum();
            Schema::from_json(&reader.state().metadata.schema_string).unwrap();
            seen.insert(
                (name.to_owned(), files.version),
                (adds, removes, reader.state().txns.len()),
            );
        }
    }
    for (name, version, adds, removes, txns) in TABLES {
        let found = seen.get(&(name.to_owned(), version));
        assert_eq!(
            found,
            Some(&(adds, removes, txns)),
            "{name} at version {version}"
        );
    }
}

#[tokio::test]
async fn hints_of_other_engines_agree_with_their_checkpoints() {
    let Some(folder) = golden::folder() else {
        return;
    };
    let mut agreed = 0;
    for table in std::fs::read_dir(&folder).unwrap() {
        let table = table.unwrap().path().join("table");
        let storage = Storage::local(&table, &Environment::system()).unwrap();
        let Ok(segment) = LogSegment::list(&storage, None).await else {
            continue;
        };
        let Some(files) = segment.checkpoint.filter(|files| files.hint.is_some()) else {
            continue;
        };
        if !table.to_str().unwrap().contains("missing-protocol") {
            CheckpointReader::open(&storage, &files).await.unwrap();
            agreed += 1;
        }
    }
    assert!(10 < agreed, "{agreed}");
}

#[tokio::test]
async fn typed_statistics_say_the_same_as_json_made_from_them() {
    let Some(folder) = golden::folder() else {
        return;
    };
    let cases = [
        (
            "rs-delta-1.2.1-only-struct-stats",
            "integer",
            PrimitiveType::Integer,
        ),
        (
            "rs-delta-1.2.1-only-struct-stats",
            "timestamp",
            PrimitiveType::Timestamp,
        ),
        (
            "rs-delta-1.2.1-only-struct-stats",
            "string",
            PrimitiveType::String,
        ),
        (
            "rs-delta-1.2.1-only-struct-stats",
            "date",
            PrimitiveType::Date,
        ),
        (
            "kernel-v1-multi-part-partitioned-struct-stats-only",
            "id",
            PrimitiveType::Long,
        ),
        (
            "kernel-v2-parquet-sidecars-struct-stats-only",
            "id",
            PrimitiveType::Long,
        ),
        (
            "kernel-v2-json-sidecars-struct-stats-only",
            "value",
            PrimitiveType::String,
        ),
        ("spark-cps", "ts", PrimitiveType::Timestamp),
    ];
    for (name, column, ty) in cases {
        let (storage, found) = checkpoints(&folder.join(name).join("table")).await;
        let reader = CheckpointReader::open(&storage, found.last().unwrap())
            .await
            .unwrap();
        let path = vec![column.to_owned()];
        let columns = FileColumns {
            stats: StatsWanted::Columns(vec![path.clone()]),
            tags: false,
            partition_values_parsed: false,
        };
        let (typed, _) = read(&reader, columns).await.unwrap();
        let (json, _) = read(&reader, FileColumns::all()).await.unwrap();
        let pairs = typed.iter().zip(&json);
        let bounded: usize = pairs
            .map(|(typed, json)| compare(name, (typed, json), &path, &ty))
            .sum();
        assert!(0 < bounded, "{name}.{column} has no bounds");
    }
}

/// Holds typed statistics of one column against JSON, and says how many files have bounds.
fn compare(
    name: &str,
    (typed, json): (&FileBatch, &FileBatch),
    path: &[String],
    ty: &PrimitiveType,
) -> usize {
    let column = path[0].as_str();
    let summary = ColumnReader::new(typed, path, ty);
    let mut bounded = 0;
    for row in 0..typed.len() {
        assert_eq!(typed.path(row), json.path(row));
        assert_eq!(
            typed.stats(row),
            None,
            "{name}: typed statistics are enough"
        );
        let file = FileText::new(typed, row);
        let found = summary.get(&file);
        let Some(text) = json.stats(row) else {
            continue;
        };
        let text = FileStatistics::parse(text).unwrap();
        assert_eq!(summary.num_records(&file), text.num_records());
        assert_eq!(
            (found.min.clone(), found.max),
            text.bounds(&[column], ty),
            "{name}.{column}"
        );
        assert_eq!(found.null_count, text.null_count(&[column]));
        bounded += usize::from(found.min.is_some());
    }
    bounded
}

#[tokio::test]
async fn statistics_that_nobody_asked_for_stay_in_storage() {
    let Some(folder) = golden::folder() else {
        return;
    };
    let (storage, found) =
        checkpoints(&folder.join("rs-delta-1.2.1-only-struct-stats/table")).await;
    let reader = CheckpointReader::open(&storage, found.last().unwrap())
        .await
        .unwrap();
    let columns = FileColumns::least();
    let (files, _) = read(&reader, columns).await.unwrap();
    let names: Vec<_> = files[0]
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    assert!(
        !names
            .iter()
            .any(|name| name.starts_with("stats") || name == "tags"),
        "{names:?}"
    );
    let columns = StatsWanted::Columns(vec![vec!["INTEGER".to_owned()]]);
    let columns = FileColumns {
        stats: columns,
        tags: false,
        partition_values_parsed: false,
    };
    let (files, _) = read(&reader, columns).await.unwrap();
    let file = FileText::new(&files[0], 0);
    let found =
        ColumnReader::new(&files[0], &["integer".to_owned()], &PrimitiveType::Integer).get(&file);
    assert!(matches!(found.min, Some(Scalar::Integer(_))));
    let other = ColumnReader::new(&files[0], &["date".to_owned()], &PrimitiveType::Date).get(&file);
    assert_eq!(
        other.min, None,
        "only the column that was asked for is read"
    );
}
