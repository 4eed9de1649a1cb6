//! Checkpoints as other engines write them, and what stays true while they come and go.

use std::sync::Arc;
use std::time::Duration;

use headwater::arrow_array::builder::{MapBuilder, StringBuilder};
use headwater::arrow_array::{
    Array, ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, StructArray,
    new_null_array,
};
use headwater::arrow_schema::Field as ArrowField;
use headwater::predicate::col;
use headwater::protocol::action::Metadata;
use headwater::{Code, ErrorKind, Table};
use object_store::path::Path;
use parquet::arrow::ArrowWriter;

use crate::support::hasty::Ahead;
use crate::support::store::{Answer, Faulty, Request, When};
use crate::support::{commit_key, create, ids, ids_of, open, storage_in};

/// More rows than one batch of a reader holds.
const MANY: usize = 20_000;

/// One kind of action in a foreign checkpoint.
#[derive(Clone, Copy)]
enum Block {
    Adds(usize),
    Tombstones(usize),
}

fn checkpoint_path(version: u64) -> Path {
    Path::from(format!("table/_delta_log/{version:020}.checkpoint.parquet"))
}

fn texts(values: impl IntoIterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

fn longs(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Int64Array>())
}

/// A map column whose maps are all empty.
fn empty_maps(rows: usize) -> ArrayRef {
    let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for _ in 0..rows {
        maps.append(true).unwrap();
    }
    Arc::new(maps.finish())
}

/// A struct column of optional fields.
fn fields(columns: Vec<(&str, ArrayRef)>) -> ArrayRef {
    let fields = columns.into_iter().map(|(name, array)| {
        let field = ArrowField::new(name, array.data_type().clone(), true);
        (Arc::new(field), array)
    });
    Arc::new(StructArray::from(fields.collect::<Vec<_>>()))
}

/// Adds of files that nobody has, with ids above 1000; the first is `real`, which has the id 7.
fn adds(count: usize, (path, size): &(String, i64)) -> ArrayRef {
    let name = |row: usize| match row {
        0 => path.clone(),
        row => format!("part-{row:05}.parquet"),
    };
    let stats = |row: usize| {
        let id = if row == 0 { 7 } else { 1000 + row };
        format!(
            r#"{{"numRecords":1,"minValues":{{"id":{id}}},"maxValues":{{"id":{id}}},"nullCount":{{"id":0}}}}"#
        )
    };
    fields(vec![
        ("path", texts((0..count).map(|row| Some(name(row))))),
        ("partitionValues", empty_maps(count)),
        ("size", longs((0..count).map(|_| Some(*size)))),
        ("modificationTime", longs((0..count).map(|_| Some(1)))),
        (
            "dataChange",
            Arc::new(BooleanArray::from(vec![false; count])),
        ),
        ("stats", texts((0..count).map(|row| Some(stats(row))))),
    ])
}

fn removes(count: usize) -> ArrayRef {
    let now = i64::MAX / 2;
    fields(vec![
        (
            "path",
            texts((0..count).map(|row| Some(format!("gone-{row:05}.parquet")))),
        ),
        ("deletionTimestamp", longs((0..count).map(|_| Some(now)))),
        (
            "dataChange",
            Arc::new(BooleanArray::from(vec![false; count])),
        ),
        (
            "extendedFileMetadata",
            Arc::new(BooleanArray::from(vec![true; count])),
        ),
        ("partitionValues", empty_maps(count)),
        ("size", longs((0..count).map(|_| Some(1)))),
    ])
}

fn metadata_column(metadata: &Metadata) -> ArrayRef {
    let one = |text: &str| texts([Some(text.to_owned())]);
    let format = fields(vec![("provider", one("parquet"))]);
    fields(vec![
        ("id", one(&metadata.id)),
        ("format", format),
        ("schemaString", one(&metadata.schema_string)),
        ("configuration", empty_maps(1)),
        ("createdTime", longs([metadata.created_time])),
    ])
}

fn protocol_column() -> ArrayRef {
    let number = |value: i32| Arc::new(Int32Array::from(vec![value])) as ArrayRef;
    fields(vec![
        ("minReaderVersion", number(1)),
        ("minWriterVersion", number(2)),
    ])
}

/// A checkpoint in one row group whose leaves are all optional, its actions in blocks one after another.
fn spark_like(metadata: &Metadata, blocks: &[Block], real: &(String, i64)) -> Vec<u8> {
    let mut actions = vec![
        ("protocol", protocol_column()),
        ("metaData", metadata_column(metadata)),
    ];
    actions.extend(blocks.iter().map(|block| match *block {
        Block::Adds(count) => ("add", adds(count, real)),
        Block::Tombstones(count) => ("remove", removes(count)),
    }));
    let columns = ["txn", "add", "remove", "metaData", "protocol"].map(|name| {
        let none = match name {
            "remove" => removes(0),
            "add" => adds(0, real),
            _ => fields(vec![("appId", texts([])), ("version", longs([]))]),
        };
        let of_kind = actions.iter().find(|(kind, _)| *kind == name);
        let data_type = of_kind.map_or(none.data_type(), |(_, array)| array.data_type());
        let parts: Vec<ArrayRef> = actions
            .iter()
            .map(|(kind, array)| match *kind == name {
                true => Arc::clone(array),
                false => new_null_array(data_type, array.len()),
            })
            .collect();
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        (name, arrow_select::concat::concat(&parts).unwrap(), true)
    });
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    assert_eq!(writer.flushed_row_groups().len(), 0, "all in one row group");
    writer.into_inner().unwrap()
}

/// Path and size of the file that a commit adds.
async fn added(store: &Faulty, version: u64) -> (String, i64) {
    let commit = store.bytes(&commit_key(version)).await;
    let text = String::from_utf8(commit.to_vec()).unwrap();
    let actions = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let add = actions
        .into_iter()
        .find_map(|action| action.get("add").cloned())
        .unwrap();
    let path = add["path"].as_str().unwrap().to_owned();
    (path, add["size"].as_i64().unwrap())
}

#[tokio::test]
async fn b_14_a_foreign_checkpoint_with_kinds_of_actions_mixed_in_one_row_group_is_whole() {
    let layouts: [(&[Block], usize); 3] = [
        (&[Block::Tombstones(1), Block::Adds(MANY)], MANY),
        (&[Block::Tombstones(10_000), Block::Adds(9)], 9),
        (&[Block::Adds(10_000), Block::Tombstones(10_000)], 10_000),
    ];
    for (blocks, files) in layouts {
        let store = Faulty::default();
        let table = create(&store).await;
        table.append(ids([7])).await.unwrap();
        let real = added(&store, 1).await;
        let bytes = spark_like(table.snapshot().metadata(), blocks, &real);
        store.place(&checkpoint_path(1), bytes).await;
        // There is nothing else to read the version from.
        store.remove(&commit_key(0)).await;

        let table = open(&store).await.unwrap();
        let sums = table.snapshot().sums().await.unwrap();
        assert_eq!(sums.files, files as u64);
        let scan = table.snapshot().scan().filter(col("id").lt(1000));
        let rows: usize = scan
            .collect()
            .await
            .unwrap()
            .iter()
            .map(RecordBatch::num_rows)
            .sum();
        assert_eq!(rows, 1);

        table.append(ids([8])).await.unwrap();
        assert_eq!(table.checkpoint().await.unwrap(), 2);
        assert!(
            store
                .paths()
                .await
                .contains(&checkpoint_path(2).to_string())
        );
        let reader = open(&store).await.unwrap();
        let sums = reader.snapshot().sums().await.unwrap();
        assert_eq!(sums.files, files as u64 + 1);

        let kept = reader.vacuum().grace(Duration::from_secs(200 * 3600));
        assert_eq!(kept.dry_run().await.unwrap().files, 0);
    }
}

#[tokio::test]
async fn b_13_a_checkpoint_that_is_there_is_not_written_again() {
    let store = Faulty::default();
    let one = create(&store).await;
    one.append(ids([1])).await.unwrap();
    let other = open(&store).await.unwrap();
    assert_eq!(one.checkpoint().await.unwrap(), 1);
    let reader = open(&store).await.unwrap();
    assert_eq!(other.checkpoint().await.unwrap(), 1);
    let written = |store: &Faulty| {
        let puts = store.puts();
        let checkpoints = puts
            .iter()
            .filter(|(path, _)| path.ends_with(".checkpoint.parquet"));
        checkpoints.count()
    };
    assert_eq!(written(&store), 1);
    assert_eq!(ids_of(&reader.snapshot()).await.unwrap(), [1]);

    // One that is torn is no checkpoint, and is replaced.
    let bytes = store.bytes(&checkpoint_path(1)).await;
    store
        .place(&checkpoint_path(1), bytes.slice(..bytes.len() - 9))
        .await;
    assert_eq!(open(&store).await.unwrap().checkpoint().await.unwrap(), 1);
    assert_eq!(written(&store), 2);
    store.remove(&commit_key(0)).await;
    let reader = open(&store).await.unwrap();
    assert_eq!(ids_of(&reader.snapshot()).await.unwrap(), [1]);
}

#[tokio::test]
async fn b_13_a_checkpoint_that_another_engine_replaces_is_opened_again() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([7])).await.unwrap();
    let real = added(&store, 1).await;
    let metadata = table.snapshot().metadata().clone();
    // So large that not all of it is read to open it.
    let first = spark_like(&metadata, &[Block::Adds(MANY)], &real);
    let tombstones = [Block::Tombstones(5_000), Block::Adds(MANY)];
    let second = spark_like(&metadata, &tombstones, &real);
    store.place(&checkpoint_path(1), first).await;
    // Nothing older can take its place.
    store.remove(&commit_key(0)).await;
    let reader = open(&store).await.unwrap();
    store.place(&checkpoint_path(1), second).await;
    let sums = reader.snapshot().sums().await.unwrap();
    assert_eq!(sums.files, MANY as u64);
    let scan = reader.snapshot().scan().filter(col("id").lt(1000));
    assert_eq!(scan.collect().await.unwrap().len(), 1);

    // One that is really damaged is not opened for ever.
    let reader = open(&store).await.unwrap();
    let bytes = store.bytes(&checkpoint_path(1)).await;
    let mut damaged = vec![0; bytes.len() / 2];
    damaged.extend_from_slice(&bytes[bytes.len() / 2..]);
    store.place(&checkpoint_path(1), damaged).await;
    let error = reader.snapshot().sums().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_quiet_table_whose_log_was_cleaned_up_is_looked_at_by_listing_only() {
    let store = Faulty::default();
    let (environment, clock) = Ahead::environment();
    let table = create(&store).await;
    table.append(ids([1])).await.unwrap();
    table.checkpoint().await.unwrap();
    for version in 0..=1 {
        store.remove(&commit_key(version)).await;
    }
    let storage = storage_in(&store, &environment);
    let quiet = Table::open_in(storage, environment).await.unwrap();
    // What is known is not read again.
    let ending = ".checkpoint.parquet";
    store.fail(Request::Get, ending, 1_000, When::Before, Answer::Denied);
    for _ in 0..3 {
        clock.forward(Duration::from_secs(3_600));
        let (gets, lists) = (store.count(Request::Get), store.count(Request::List));
        assert_eq!(quiet.refresh().await.unwrap().version(), 1);
        // Its commit, the hint, and the look for the next commit.
        assert_eq!(store.count(Request::Get) - gets, 3);
        assert_eq!(store.count(Request::List) - lists, 1);
    }
    assert_eq!(quiet.append(ids([2])).await.unwrap().version, 2);
}

#[tokio::test]
async fn h_6_sizes_that_add_up_to_more_than_can_be_are_an_error() {
    let store = Faulty::default();
    let table = create(&store).await;
    let add = |path: &str| {
        serde_json::json!({"add": {
            "path": path, "partitionValues": {}, "size": i64::MAX, "modificationTime": 1, "dataChange": true,
        }})
    };
    let lines: String = ["a", "b", "c"]
        .map(|path| format!("{}\n", add(path)))
        .concat();
    store.place(&commit_key(1), lines).await;
    let snapshot = table.refresh().await.unwrap();
    let sums = snapshot.sums().await.unwrap_err();
    let plan = snapshot.scan().plan().await.unwrap_err();
    for error in [sums, plan] {
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::Corrupt, Code::LimitExceeded)
        );
    }
}
