//! What is written is what was said, in the form that the protocol asks for.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, StructArray};
use arrow_select::concat::concat_batches;
use futures::TryStreamExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::{ReadOptionsBuilder, SerializedFileReader};

use crate::environment::Environment;
use crate::log::checkpoint::{
    CheckpointInput, CheckpointReader, CheckpointState, FileColumns, write,
};
use crate::log::files::FileBatch;
use crate::log::hint;
use crate::log::path::checkpoint_key;
use crate::log::removes::RemoveBatch;
use crate::log::segment::CheckpointFiles;
use crate::protocol::action::{
    Add, DeletionVectorDescriptor, DomainMetadata, Format, Metadata, Protocol, Remove, Txn,
};
use crate::protocol::property::TableProperties;
use crate::protocol::schema::{DataType, Field, Schema};
use crate::protocol::statistics::FileStatistics;
use crate::storage::Storage;

pub(super) fn storage(name: &str) -> (Storage, Environment) {
    let environment = Environment::system();
    let url = format!("memory:///checkpoint/{name}/{}", environment.uuid());
    (Storage::open(&url, &environment).unwrap(), environment)
}

pub(super) fn schema() -> Schema {
    let inner = Schema::new([
        Field::new("at", DataType::TIMESTAMP, true),
        Field::new("flag", DataType::BOOLEAN, true),
    ]);
    Schema::new([
        Field::new("id", DataType::LONG, true),
        Field::new("name", DataType::STRING, true),
        Field::new("price", DataType::decimal(10, 2).unwrap(), true),
        Field::new("inner", DataType::Struct(inner.unwrap()), true),
        Field::new("list", DataType::array(DataType::LONG, true), true),
        Field::new("day", DataType::INTEGER, true),
    ])
    .unwrap()
}

pub(super) fn state(configuration: &[(&str, &str)]) -> CheckpointState {
    let text = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    CheckpointState {
        protocol: Protocol {
            min_reader_version: 1,
            min_writer_version: 2,
            reader_features: None,
            writer_features: None,
        },
        metadata: Metadata {
            id: "the-table".to_owned(),
            name: Some("a name".to_owned()),
            description: None,
            format: Format::default(),
            schema_string: schema().to_json(),
            partition_columns: vec!["day".to_owned()],
            created_time: Some(7),
            configuration: configuration.iter().map(text).collect(),
            unknown: BTreeMap::new(),
        },
        txns: vec![],
        domains: vec![],
    }
}

pub(super) fn input(version: u64, state: CheckpointState, adds: Vec<Add>) -> CheckpointInput {
    CheckpointInput {
        version,
        properties: TableProperties::parse(&state.metadata.configuration).unwrap(),
        schema: Schema::from_json(&state.metadata.schema_string).unwrap(),
        state,
        files: vec![FileBatch::from_adds(adds).unwrap()],
        removes: vec![],
    }
}

pub(super) fn add(path: &str, day: Option<i32>) -> Add {
    Add {
        path: path.to_owned(),
        partition_values: BTreeMap::from([("day".to_owned(), day.map(|day| day.to_string()))]),
        size: 10,
        modification_time: 20,
        data_change: true,
        stats: Some(stats()),
        tags: None,
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
        clustering_provider: None,
        unknown: BTreeMap::new(),
    }
}

fn stats() -> String {
    r#"{"numRecords":3,"minValues":{"id":-5,"name":"a","price":-0.10,"inner":{"at":"2020-01-01T00:00:00.001Z"}},
    "maxValues":{"id":9,"name":"bbbbbbbbbbbbbbbbbbbbbbbb","price":12345678.90,"inner":{"at":"2020-01-02T00:00:00.002Z"}},
    "nullCount":{"id":0,"name":1,"price":0,"inner":{"at":0,"flag":2},"list":1}}"#
        .replace("\n    ", "")
}

fn vector() -> DeletionVectorDescriptor {
    DeletionVectorDescriptor {
        storage_type: "u".to_owned(),
        path_or_inline_dv: "ab^-aqEH.-t@S}K{vb[*k^".to_owned(),
        offset: Some(4),
        size_in_bytes: 40,
        cardinality: 6,
    }
}

fn remove(path: &str, deletion_timestamp: Option<i64>) -> Remove {
    Remove {
        path: path.to_owned(),
        deletion_timestamp,
        data_change: true,
        extended_file_metadata: Some(true),
        partition_values: Some(BTreeMap::from([("day".to_owned(), Some("1".to_owned()))])),
        size: Some(5),
        stats: Some(stats()),
        tags: None,
        deletion_vector: Some(vector()),
        base_row_id: Some(1),
        default_row_commit_version: Some(2),
        unknown: BTreeMap::new(),
    }
}

pub(super) async fn open(
    storage: &Storage,
    version: u64,
) -> crate::error::Result<CheckpointReader> {
    let key = checkpoint_key(version);
    let object = storage.head(&key).await.unwrap().unwrap();
    CheckpointReader::open(storage, &CheckpointFiles::new(version, vec![object])).await
}

pub(super) async fn adds(reader: &CheckpointReader) -> Vec<Add> {
    let batches: Vec<FileBatch> = reader
        .files(FileColumns::all())
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    batches
        .iter()
        .flat_map(|batch| (0..batch.len()).map(|row| batch.add(row)))
        .collect()
}

async fn parquet(storage: &Storage, version: u64) -> bytes::Bytes {
    storage.get(&checkpoint_key(version)).await.unwrap()
}

/// Every kind of action that is not a file.
fn rich_state(now: i64) -> CheckpointState {
    let mut state = state(&[("delta.appendOnly", "false"), ("a.b", "c \u{1f600}")]);
    state.protocol = Protocol {
        min_reader_version: 3,
        min_writer_version: 7,
        reader_features: Some(vec!["deletionVectors".to_owned()]),
        writer_features: Some(vec![
            "deletionVectors".to_owned(),
            "domainMetadata".to_owned(),
        ]),
    };
    state.txns = vec![
        Txn {
            app_id: "a".to_owned(),
            version: i64::MAX,
            last_updated: Some(now),
        },
        Txn {
            app_id: "b".to_owned(),
            version: 0,
            last_updated: None,
        },
    ];
    state.domains = vec![DomainMetadata {
        domain: "delta.clustering".to_owned(),
        configuration: "{\"a\":[1]}".to_owned(),
        removed: false,
        unknown: BTreeMap::new(),
    }];
    state
}

#[tokio::test]
async fn b_14_every_kind_of_action_is_read_back_as_it_was_written() {
    let (storage, environment) = storage("b14");
    let now = environment.now_millis();
    let state = rich_state(now);
    let mut full = add("day=2/b%20c.parquet", Some(2));
    full.deletion_vector = Some(vector());
    full.base_row_id = Some(100);
    full.default_row_commit_version = Some(3);
    full.clustering_provider = Some("liquid".to_owned());
    full.tags = Some(BTreeMap::from([
        ("k".to_owned(), Some("v".to_owned())),
        ("n".to_owned(), None),
    ]));
    let mut plain = add("day=1/a.parquet", Some(1));
    plain.stats = None;
    let mut input = input(7, state.clone(), vec![plain.clone(), full.clone()]);
    input.removes = vec![
        RemoveBatch::from_removes([remove("gone", Some(now)), remove("unknown", None)]).unwrap(),
    ];

    let hint = write(&storage, &environment, input).await.unwrap();
    assert_eq!(
        (hint.version, hint.size, hint.num_of_add_files),
        (7, Some(9), Some(2))
    );
    assert_eq!(
        hint.size_in_bytes,
        Some(parquet(&storage, 7).await.len() as u64)
    );
    assert_eq!(hint::read(&storage).await.unwrap(), Some(hint));

    let reader = open(&storage, 7).await.unwrap();
    assert_eq!(reader.state(), &state);
    assert_eq!(reader.rows(), 9);
    // A checkpoint changes no data.
    (plain.data_change, full.data_change) = (false, false);
    assert_eq!(adds(&reader).await, [plain, full]);
    let removes: Vec<RemoveBatch> = reader.removes().await.unwrap().try_collect().await.unwrap();
    let removes = &removes[0];
    assert_eq!(
        (removes.len(), removes.path(0), removes.path(1)),
        (2, "gone", "unknown")
    );
    assert_eq!(
        (removes.deletion_timestamp(0), removes.deletion_timestamp(1)),
        (Some(now), None)
    );
    assert_eq!(
        (removes.size(0), removes.deletion_vector(0)),
        (Some(5), Some(vector()))
    );
    assert_eq!(removes.partition_value(0, "day"), Some(Some("1")));
}

#[tokio::test]
async fn feature_lists_have_columns_only_where_the_protocol_has_features() {
    for (reader, writer, wanted) in [
        (1, 2, vec![]),
        (1, 7, vec!["writerFeatures"]),
        (3, 7, vec!["readerFeatures", "writerFeatures"]),
    ] {
        let (storage, environment) = storage("features");
        let mut state = state(&[]);
        state.protocol.min_reader_version = reader;
        state.protocol.min_writer_version = writer;
        write(&storage, &environment, input(0, state, vec![]))
            .await
            .unwrap();
        let bytes = parquet(&storage, 0).await;
        let read = ParquetRecordBatchReaderBuilder::try_new(bytes)
            .unwrap()
            .build()
            .unwrap();
        let batch = read.map(Result::unwrap).next().unwrap();
        let protocol = batch.column_by_name("protocol").unwrap().as_struct();
        let lists: Vec<_> = protocol
            .column_names()
            .into_iter()
            .filter(|name| name.ends_with("Features"))
            .collect();
        assert_eq!(lists, wanted);
        for list in wanted {
            assert!(
                protocol.column_by_name(list).unwrap().is_valid(0),
                "{list} is not null"
            );
        }
    }
}

#[tokio::test]
async fn files_are_ordered_by_typed_partition_values_and_have_a_page_index() {
    let (storage, environment) = storage("order");
    let days = [Some(10), Some(2), None, Some(-1), Some(2)];
    let files = days
        .iter()
        .enumerate()
        .map(|(index, day)| add(&format!("f{index}"), *day));
    write(
        &storage,
        &environment,
        input(1, state(&[]), files.collect()),
    )
    .await
    .unwrap();
    let paths: Vec<_> = adds(&open(&storage, 1).await.unwrap())
        .await
        .into_iter()
        .map(|add| add.path)
        .collect();
    assert_eq!(paths, ["f2", "f3", "f1", "f4", "f0"]);

    let options = ReadOptionsBuilder::new().with_page_index().build();
    let file = SerializedFileReader::new_with_options(parquet(&storage, 1).await, options).unwrap();
    let metadata = file.metadata();
    assert_eq!(metadata.num_row_groups(), 2);
    let columns = metadata.column_index().unwrap();
    let schema = metadata.file_metadata().schema_descr();
    let leaf = (0..schema.num_columns())
        .find(|leaf| schema.column(*leaf).path().string() == "add.partitionValues_parsed.day")
        .unwrap();
    assert!(!matches!(
        columns[1][leaf],
        parquet::file::page_index::column_index::ColumnIndexMetaData::NONE
    ));
}

/// The `add` column of a checkpoint, its rows without an add left out.
pub(super) async fn written_adds(storage: &Storage) -> StructArray {
    let read = ParquetRecordBatchReaderBuilder::try_new(parquet(storage, 1).await).unwrap();
    let batches: Vec<_> = read.build().unwrap().map(Result::unwrap).collect();
    let batch = concat_batches(&batches[0].schema(), &batches).unwrap();
    let add = batch.column_by_name("add").unwrap().as_struct();
    let first = (0..add.len()).find(|row| add.is_valid(*row)).unwrap();
    add.slice(first, add.len() - first)
}

pub(super) fn within(parent: &StructArray, path: &[&str]) -> Option<ArrayRef> {
    let (last, above) = path.split_last().unwrap();
    let parent = above.iter().fold(parent.clone(), |parent, name| {
        parent.column_by_name(name).unwrap().as_struct().clone()
    });
    parent.column_by_name(last).cloned()
}

fn long(parent: &StructArray, path: &[&str], row: usize) -> Option<i64> {
    let array = within(parent, path).unwrap();
    let array = array.as_primitive::<Int64Type>();
    array.is_valid(row).then(|| array.value(row))
}

#[tokio::test]
async fn statistics_are_written_in_the_types_of_the_columns() {
    let (storage, environment) = storage("typed");
    let files = vec![add("good", Some(1))];
    write(&storage, &environment, input(1, state(&[]), files))
        .await
        .unwrap();
    let add = written_adds(&storage).await;
    let days = within(&add, &["partitionValues_parsed", "day"]).unwrap();
    assert_eq!(days.as_primitive::<Int32Type>().value(0), 1);
    let stats = add.column_by_name("stats_parsed").unwrap().as_struct();
    assert_eq!(long(stats, &["numRecords"], 0), Some(3));
    assert_eq!(long(stats, &["minValues", "id"], 0), Some(-5));
    assert_eq!(long(stats, &["maxValues", "id"], 0), Some(9));
    assert_eq!(long(stats, &["nullCount", "inner", "flag"], 0), Some(2));
    assert_eq!(long(stats, &["nullCount", "list"], 0), Some(1));
    let prices = within(stats, &["maxValues", "price"]).unwrap();
    assert_eq!(
        prices.as_primitive::<Decimal128Type>().value(0),
        1_234_567_890
    );
    let names = within(stats, &["maxValues", "name"]).unwrap();
    assert_eq!(
        names.as_string::<i32>().value(0),
        "bbbbbbbbbbbbbbbbbbbbbbbb",
        "as it was written"
    );
    let times = within(stats, &["maxValues", "inner", "at"]).unwrap();
    let cut = times.as_primitive::<TimestampMicrosecondType>().value(0) % 1000;
    assert_eq!(cut, 999, "a time may have been cut to milliseconds");
    for without in [
        ["minValues", "list"],
        ["minValues", "day"],
        ["nullCount", "day"],
    ] {
        assert!(within(stats, &without).is_none(), "{without:?}");
    }
}

#[tokio::test]
async fn statistics_that_contradict_themselves_become_unknown() {
    let (storage, environment) = storage("odd");
    let mut odd = add("odd", Some(2));
    let contradiction = r#"{"numRecords":1,"minValues":{"id":9,"name":7},"maxValues":{"id":1},
        "nullCount":{"price":5,"name":0}}"#;
    odd.stats = Some(contradiction.to_owned());
    let mut none = add("none", Some(3));
    none.stats = None;
    let mut torn = add("torn", Some(4));
    torn.stats = Some("{\"numRecords\":1".to_owned());
    let files = vec![odd, none, torn];
    write(&storage, &environment, input(1, state(&[]), files))
        .await
        .unwrap();
    let add = written_adds(&storage).await;
    let stats = add.column_by_name("stats_parsed").unwrap().as_struct();
    assert_eq!(
        (0..3).map(|row| stats.is_valid(row)).collect::<Vec<_>>(),
        [true, false, false]
    );
    assert_eq!(long(stats, &["numRecords"], 0), Some(1));
    assert_eq!(
        long(stats, &["minValues", "id"], 0),
        None,
        "more than the maximum"
    );
    assert_eq!(
        long(stats, &["maxValues", "id"], 0),
        None,
        "less than the minimum"
    );
    assert!(
        within(stats, &["minValues", "name"]).unwrap().is_null(0),
        "a number is no text"
    );
    assert_eq!(
        long(stats, &["nullCount", "price"], 0),
        None,
        "more nulls than rows"
    );
    assert_eq!(long(stats, &["nullCount", "name"], 0), Some(0));
}

#[tokio::test]
async fn the_properties_decide_in_which_form_statistics_are_kept() {
    for (json, parsed) in [
        ("true", "true"),
        ("true", "false"),
        ("false", "true"),
        ("false", "false"),
    ] {
        let (storage, environment) = storage("forms");
        let properties = [
            ("delta.checkpoint.writeStatsAsJson", json),
            ("delta.checkpoint.writeStatsAsStruct", parsed),
        ];
        write(
            &storage,
            &environment,
            input(1, state(&properties), vec![add("f", Some(1))]),
        )
        .await
        .unwrap();
        let bytes = parquet(&storage, 1).await;
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
        let schema = builder.parquet_schema();
        let has = |name: &str| {
            let mut leaves = schema.columns().iter();
            leaves.any(|leaf| leaf.path().parts().get(1).is_some_and(|part| part == name))
        };
        assert_eq!(
            (has("stats"), has("stats_parsed")),
            (json == "true", parsed == "true")
        );
        assert_eq!(has("partitionValues_parsed"), parsed == "true");
        let read = adds(&open(&storage, 1).await.unwrap()).await;
        let read = read[0].stats.as_deref();
        if json == "true" {
            assert_eq!(read, Some(stats().as_str()));
        } else if parsed == "true" {
            let read = FileStatistics::parse(read.unwrap()).unwrap();
            let original = stats();
            let original = FileStatistics::parse(&original).unwrap();
            assert_eq!(read.num_records(), Some(3));
            for (name, ty) in [("id", DataType::LONG), ("name", DataType::STRING)] {
                let ty = ty.as_primitive().unwrap();
                assert_eq!(read.bounds(&[name], ty), original.bounds(&[name], ty));
            }
            assert_eq!(read.null_count(&["inner", "flag"]), Some(2));
        } else {
            assert_eq!(read, None);
        }
    }
}

#[tokio::test]
async fn statistics_in_columns_only_last_from_checkpoint_to_checkpoint() {
    let (storage, environment) = storage("generations");
    let state = state(&[("delta.checkpoint.writeStatsAsJson", "false")]);
    write(
        &storage,
        &environment,
        input(1, state.clone(), vec![add("f", Some(1))]),
    )
    .await
    .unwrap();
    let first = adds(&open(&storage, 1).await.unwrap()).await;
    for version in 2..5 {
        let before = adds(&open(&storage, version - 1).await.unwrap()).await;
        write(
            &storage,
            &environment,
            input(version, state.clone(), before),
        )
        .await
        .unwrap();
    }
    assert_eq!(adds(&open(&storage, 4).await.unwrap()).await, first);
}

#[tokio::test]
async fn what_expired_is_left_out() {
    let (storage, environment) = storage("expired");
    let now = environment.now_millis();
    let mut state = state(&[
        ("delta.setTransactionRetentionDuration", "interval 1 day"),
        ("delta.deletedFileRetentionDuration", "interval 2 days"),
    ]);
    let day = 86_400_000;
    let txn = |app: &str, last_updated| Txn {
        app_id: app.to_owned(),
        version: 1,
        last_updated,
    };
    state.txns = vec![
        txn("old", Some(now - 2 * day)),
        txn("young", Some(now - day / 2)),
        txn("when", None),
    ];
    state.domains = vec![DomainMetadata {
        domain: "gone".to_owned(),
        configuration: String::new(),
        removed: true,
        unknown: BTreeMap::new(),
    }];
    let mut input = input(1, state, vec![]);
    input.removes = vec![
        RemoveBatch::from_removes([
            remove("old", Some(now - 3 * day)),
            remove("young", Some(now - day)),
        ])
        .unwrap(),
    ];
    write(&storage, &environment, input).await.unwrap();
    let reader = open(&storage, 1).await.unwrap();
    let apps: Vec<_> = reader
        .state()
        .txns
        .iter()
        .map(|txn| txn.app_id.as_str())
        .collect();
    assert_eq!(apps, ["when", "young"]);
    assert_eq!(reader.state().domains, []);
    let removes: Vec<RemoveBatch> = reader.removes().await.unwrap().try_collect().await.unwrap();
    assert_eq!(
        removes
            .iter()
            .map(|batch| batch.path(0))
            .collect::<Vec<_>>(),
        ["young"]
    );
}

#[tokio::test]
async fn b_12_the_hint_does_not_move_backwards() {
    let (storage, environment) = storage("b12");
    write(&storage, &environment, input(5, state(&[]), vec![]))
        .await
        .unwrap();
    write(&storage, &environment, input(3, state(&[]), vec![]))
        .await
        .unwrap();
    assert_eq!(hint::read(&storage).await.unwrap().unwrap().version, 5);
    write(&storage, &environment, input(6, state(&[]), vec![]))
        .await
        .unwrap();
    assert_eq!(hint::read(&storage).await.unwrap().unwrap().version, 6);
}

#[tokio::test]
async fn b_13_two_writers_of_one_version_leave_one_state() {
    let (storage, environment) = storage("b13");
    let files = vec![add("b", Some(2)), add("a", Some(1))];
    let reversed = files.iter().rev().cloned().collect();
    let (first, second) = (input(1, state(&[]), files), input(1, state(&[]), reversed));
    let both = futures::join!(
        write(&storage, &environment, first),
        write(&storage, &environment, second)
    );
    both.0.unwrap();
    both.1.unwrap();
    let paths: Vec<_> = adds(&open(&storage, 1).await.unwrap())
        .await
        .into_iter()
        .map(|add| add.path)
        .collect();
    assert_eq!(paths, ["a", "b"]);
}

#[tokio::test]
async fn more_files_than_a_row_group_holds_are_all_there() {
    let (storage, environment) = storage("many");
    let files: Vec<Add> = (0..40_000)
        .map(|index| Add {
            stats: None,
            ..add(&format!("f{index:06}"), Some(index % 7))
        })
        .collect();
    let hint = write(&storage, &environment, input(1, state(&[]), files))
        .await
        .unwrap();
    assert_eq!(hint.num_of_add_files, Some(40_000));
    let reader = open(&storage, 1).await.unwrap();
    assert_eq!(reader.adds(), Some(40_000));
    let read = adds(&reader).await;
    assert!(read.is_sorted_by_key(|add| (add.partition_values["day"].clone(), add.path.clone())));
    assert_eq!(read.len(), 40_000);
}

#[tokio::test]
async fn partition_values_that_are_not_of_their_type_do_not_stop_a_checkpoint() {
    let (storage, environment) = storage("untyped");
    let mut odd = add("odd", None);
    odd.partition_values
        .insert("day".to_owned(), Some("monday".to_owned()));
    write(
        &storage,
        &environment,
        input(1, state(&[]), vec![odd, add("good", Some(1))]),
    )
    .await
    .unwrap();
    let bytes = parquet(&storage, 1).await;
    let schema = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let mut leaves = schema.parquet_schema().columns().iter();
    assert!(
        !leaves.any(|leaf| leaf.path().string().contains("_parsed.day")),
        "null would be a lie"
    );
    assert_eq!(adds(&open(&storage, 1).await.unwrap()).await.len(), 2);
}
