//! A checkpoint that is not whole is refused as corrupt, so that an older one is taken; it is never half-read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, StructArray};
use arrow_schema::{DataType as ArrowType, Field as ArrowField, Schema as ArrowSchema};
use futures::TryStreamExt;
use futures::future::BoxFuture;
use parquet::arrow::ArrowWriter;

use super::written::{add, input, state, storage};
use crate::environment::{Environment, Host};
use crate::error::{Code, Error, ErrorKind, Result};
use crate::log::checkpoint::{CheckpointReader, FileColumns, write};
use crate::log::files::FileBatch;
use crate::log::hint::LastCheckpoint;
use crate::log::path::checkpoint_key;
use crate::log::segment::CheckpointFiles;
use crate::storage::{ObjectInfo, Storage};

const UUID: &str = "80a083e8-7026-4e79-81be-64bd76c43a11";

/// Reads everything of the bytes as a checkpoint of version 1, listed under their own size.
async fn read(storage: &Storage, key: &str, bytes: Vec<u8>) -> Result<usize> {
    let size = bytes.len() as u64;
    storage.put(key, bytes.into()).await.unwrap();
    let object = ObjectInfo {
        key: key.to_owned(),
        size,
        modified_millis: 0,
    };
    read_files(storage, &CheckpointFiles::new(1, vec![object])).await
}

async fn read_files(storage: &Storage, files: &CheckpointFiles) -> Result<usize> {
    let reader = CheckpointReader::open(storage, files).await?;
    let files: Vec<FileBatch> = reader
        .files(FileColumns::all())
        .await?
        .try_collect()
        .await?;
    reader.removes().await?.try_collect::<Vec<_>>().await?;
    Ok(files.iter().map(FileBatch::len).sum())
}

fn assert_corrupt(result: Result<usize>, what: &str) -> Error {
    let error = result.expect_err(what);
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Corrupt, Code::CorruptCheckpoint),
        "{what}: {error:?}"
    );
    assert_eq!(error.context_value("version"), Some("1"), "{what}: {error}");
    error
}

async fn good(storage: &Storage, environment: &Environment) -> Vec<u8> {
    let files = vec![add("a", Some(1)), add("b", Some(2))];
    write(storage, environment, input(1, state(&[]), files))
        .await
        .unwrap();
    storage.get(&checkpoint_key(1)).await.unwrap().to_vec()
}

#[tokio::test]
async fn b_8_b_9_a_checkpoint_cut_anywhere_is_corrupt() {
    let (storage, environment) = storage("cut");
    let whole = good(&storage, &environment).await;
    let key = checkpoint_key(1);
    let near_the_end = whole.len().saturating_sub(20)..whole.len();
    for length in (0..whole.len()).step_by(97).chain(near_the_end) {
        let cut = whole[..length].to_vec();
        assert_corrupt(read(&storage, &key, cut).await, &format!("{length} bytes"));
    }
    assert_eq!(read(&storage, &key, whole).await.unwrap(), 2);
}

#[tokio::test]
async fn b_8_a_flipped_bit_is_corrupt_or_goes_unnoticed_but_nothing_else() {
    let (storage, environment) = storage("flip");
    let whole = good(&storage, &environment).await;
    let mut noticed = 0;
    let positions = (0..whole.len()).step_by(41);
    let tries = positions.len();
    for position in positions {
        let mut flipped = whole.clone();
        flipped[position] ^= 1 << (position % 8);
        match read(&storage, &checkpoint_key(1), flipped).await {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.code(), Code::CorruptCheckpoint, "{error:?}");
                noticed += 1;
            }
        }
    }
    assert!(tries / 4 < noticed, "{noticed} of {tries}");
}

#[tokio::test]
async fn b_8_a_checkpoint_of_another_size_or_gone_is_corrupt() {
    let (storage, environment) = storage("size");
    let whole = good(&storage, &environment).await;
    let object = |key: String, size| ObjectInfo {
        key,
        size,
        modified_millis: 0,
    };
    let size = whole.len() as u64;
    let longer = CheckpointFiles::new(1, vec![object(checkpoint_key(1), size + 1)]);
    assert_corrupt(read_files(&storage, &longer).await, "shorter than listed");
    let gone = CheckpointFiles::new(1, vec![object(checkpoint_key(2), size)]);
    assert_corrupt(read_files(&storage, &gone).await, "gone");
}

#[tokio::test]
async fn b_8_missing_rows_show_against_the_hint() {
    let (storage, environment) = storage("rows");
    let size = good(&storage, &environment).await.len() as u64;
    let object = ObjectInfo {
        key: checkpoint_key(1),
        size,
        modified_millis: 0,
    };
    let mut files = CheckpointFiles::new(1, vec![object]);
    let hint = |actions, bytes, adds| Some(LastCheckpoint::of(1, actions, bytes, adds));
    for (hint, whole, what) in [
        (hint(4, size, 2), true, "as it is"),
        (hint(5, size, 3), false, "a file is missing"),
        (
            hint(5, size + 9, 3),
            false,
            "a file is missing from a shorter checkpoint",
        ),
        (hint(5, size, 2), false, "another action is missing"),
        (
            hint(5, size + 9, 2),
            true,
            "another writer kept one tombstone more",
        ),
    ] {
        files.hint = hint;
        let read = read_files(&storage, &files).await;
        match whole {
            true => assert_eq!(read.unwrap(), 2, "{what}"),
            false => drop(assert_corrupt(read, what)),
        }
    }
}

fn parquet(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let fields = columns
        .iter()
        .map(|(name, array)| ArrowField::new(*name, array.data_type().clone(), true));
    let schema = Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn fields(columns: Vec<(&str, ArrayRef)>) -> ArrayRef {
    let fields = columns.into_iter().map(|(name, array)| {
        (
            Arc::new(ArrowField::new(name, array.data_type().clone(), true)),
            array,
        )
    });
    Arc::new(StructArray::from(fields.collect::<Vec<_>>()))
}

fn texts(values: [Option<&str>; 2]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn longs(values: [Option<i64>; 2]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

/// A checkpoint of two rows that has a protocol, a schema and these file actions.
fn with_files(files: Vec<(&'static str, ArrayRef)>) -> Vec<u8> {
    let versions = arrow_select::concat::concat(&[&longs([Some(1), None])]).unwrap();
    let version = arrow_cast::cast(&versions, &ArrowType::Int32).unwrap();
    let protocol = fields(vec![
        ("minReaderVersion", Arc::clone(&version)),
        ("minWriterVersion", version),
    ]);
    let schema = r#"{"type":"struct","fields":[]}"#;
    let metadata = fields(vec![
        ("id", texts([None, Some("id")])),
        ("schemaString", texts([None, Some(schema)])),
    ]);
    let mut columns = vec![("protocol", protocol), ("metaData", metadata)];
    columns.extend(files);
    parquet(columns)
}

fn file(path: [Option<&str>; 2], size: [Option<i64>; 2]) -> Vec<(&'static str, ArrayRef)> {
    let time = longs(path.map(|path| path.map(|_| 1)));
    vec![(
        "add",
        fields(vec![
            ("path", texts(path)),
            ("size", longs(size)),
            ("modificationTime", time),
        ]),
    )]
}

#[tokio::test]
async fn h_13_columns_that_are_missing_are_null_and_columns_of_other_types_are_corrupt() {
    let (storage, _) = storage("shapes");
    let key = checkpoint_key(1);
    let both = ([Some("a"), Some("b")], [Some(1), Some(2)]);
    for (files, wanted, what) in [
        (vec![], 0, "no files"),
        (file(both.0, both.1), 2, "no optional column"),
        (
            file([Some("a"), None], [Some(1), None]),
            1,
            "a struct of nulls is no action",
        ),
    ] {
        assert_eq!(
            read(&storage, &key, with_files(files)).await.unwrap(),
            wanted,
            "{what}"
        );
    }
    for (files, what) in [
        (
            file([Some("a"), None], [Some(1), Some(2)]),
            "a file without a path",
        ),
        (file(both.0, [Some(1), None]), "a file without a size"),
        (file(both.0, [Some(1), Some(-2)]), "a negative size"),
        (vec![("add", texts([Some("a"), None]))], "files as text"),
        (
            vec![("add", fields(vec![("size", longs(both.1))]))],
            "no paths at all",
        ),
        (
            vec![(
                "add",
                fields(vec![("path", longs(both.1)), ("size", longs(both.1))]),
            )],
            "paths as numbers",
        ),
        (
            vec![("txn", fields(vec![("appId", texts(both.0))]))],
            "a transaction without a version",
        ),
        (
            vec![(
                "remove",
                fields(vec![("path", texts([None; 2])), ("size", longs(both.1))]),
            )],
            "a tombstone without a path",
        ),
    ] {
        assert_corrupt(read(&storage, &key, with_files(files)).await, what);
    }
    for (bytes, what) in [
        (
            parquet(file(both.0, both.1)),
            "neither protocol nor metadata",
        ),
        (b"PAR1PAR1".to_vec(), "no footer"),
        (vec![0; 4096], "zeros"),
    ] {
        assert_corrupt(read(&storage, &key, bytes).await, what);
    }
}

fn json(lines: &[&str]) -> Vec<u8> {
    let always = [
        r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#,
        r#"{"metaData":{"id":"i","format":{"provider":"parquet"},"schemaString":"{}","partitionColumns":[]}}"#,
    ];
    always
        .iter()
        .chain(lines)
        .map(|line| format!("{line}\n"))
        .collect::<String>()
        .into_bytes()
}

#[tokio::test]
async fn checkpoints_in_json_are_v2_or_corrupt() {
    let (storage, environment) = storage("json");
    let whole = good(&storage, &environment).await;
    storage
        .put("_delta_log/_sidecars/s.parquet", whole.clone().into())
        .await
        .unwrap();
    let key = format!("_delta_log/{:020}.checkpoint.{UUID}.json", 1);
    let v2 = r#"{"checkpointMetadata":{"version":1}}"#;
    let file = r#"{"add":{"path":"p","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true}}"#;
    let sidecar = |path: &str, size: usize| {
        format!(r#"{{"sidecar":{{"path":"{path}","sizeInBytes":{size},"modificationTime":1}}}}"#)
    };
    let there = sidecar("s.parquet", whole.len());
    let elsewhere = "s3://bucket/old/_delta_log/_sidecars/s.parquet";
    let moved = sidecar(elsewhere, whole.len());
    assert_eq!(
        read(&storage, &key, json(&[v2, file, "", file]))
            .await
            .unwrap(),
        2
    );
    assert_eq!(read(&storage, &key, json(&[v2, &there])).await.unwrap(), 2);
    assert_eq!(
        read(&storage, &key, json(&[v2, &moved])).await.unwrap(),
        2,
        "sidecars have one place"
    );
    for path in ["../../../../s%2Eparquet", "..", "s3://bucket/s.parquet"] {
        let sidecar = sidecar(path, whole.len());
        let error = read(&storage, &key, json(&[v2, &sidecar])).await;
        let error = error.unwrap_err();
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::Corrupt, Code::UnsafePath),
            "{path}"
        );
    }

    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let protocol = r#"{"protocol":{"minReaderVersion":2,"minWriterVersion":5}}"#;
    let other = r#"{"checkpointMetadata":{"version":2}}"#;
    let (short, gone) = (sidecar("s.parquet", 5), sidecar("t.parquet", whole.len()));
    for (lines, what) in [
        (vec![file], "no checkpointMetadata"),
        (vec![other], "of another version"),
        (vec![v2, "{"], "half a line"),
        (vec![v2, &deep], "too deep"),
        (vec![v2, protocol], "two protocols"),
        (
            vec![v2, file, &there],
            "files inside and outside of sidecars",
        ),
        (vec![v2, &short], "a sidecar of another size"),
        (vec![v2, &gone], "a sidecar that is gone"),
    ] {
        assert_corrupt(read(&storage, &key, json(&lines)).await, what);
    }
}

/// A host on which the first few pieces of blocking work run and the next is lost.
#[derive(Debug)]
struct Mortal {
    left: AtomicUsize,
    system: Environment,
}

impl Host for Mortal {
    fn now_millis(&self) -> i64 {
        self.system.now_millis()
    }
    fn elapsed(&self) -> Duration {
        self.system.elapsed()
    }
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let system = self.system.clone();
        Box::pin(async move { system.sleep(duration).await })
    }
    fn random_bytes(&self, buffer: &mut [u8]) {
        buffer.fill_with(|| self.system.random_bytes::<1>()[0]);
    }
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(self.system.spawn(task));
    }
    fn run_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        let left = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        if left.is_ok() {
            work();
        }
    }
}

#[tokio::test]
async fn b_9_a_writer_that_fails_half_way_leaves_no_checkpoint_and_no_hint() {
    for left in 0..4 {
        let (storage, system) = storage("mortal");
        let mortal = Environment::new(Arc::new(Mortal {
            left: AtomicUsize::new(left),
            system,
        }));
        let files = vec![add("a", Some(1)), add("b", Some(2))];
        let written = write(&storage, &mortal, input(1, state(&[]), files)).await;
        // Sorting, two row groups and the footer are four.
        assert!(written.is_err());
        assert_eq!(
            storage.list("_delta_log", None).await.unwrap(),
            [],
            "after {left}"
        );
    }
}
