use std::sync::atomic::{AtomicU32, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{ArrayRef, Date32Array, Int32Array, Int64Array, StringArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::*;
use crate::data::fingerprint::{Fingerprinter, RowFingerprint};
use crate::protocol::schema::{DataType, Field};

fn storage() -> Storage {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = NEXT.fetch_add(1, Ordering::Relaxed);
    Storage::open(
        &format!("memory:///writer-tests/{name}"),
        &Environment::system(),
    )
    .unwrap()
}

fn context(storage: &Storage, schema: Schema, partition_columns: &[&str]) -> WriterContext {
    WriterContext {
        storage: storage.clone(),
        environment: Environment::system(),
        schema: Arc::new(schema),
        configuration: BTreeMap::new(),
        partition_columns: partition_columns
            .iter()
            .map(|name| (*name).to_owned())
            .collect(),
        names: ColumnNames::Logical,
        options: WriterOptions::default(),
    }
}

fn schema() -> Schema {
    Schema::new([
        Field::new("id", DataType::LONG, false),
        Field::new("name", DataType::STRING, true),
        Field::new("day", DataType::DATE, true),
    ])
    .unwrap()
}

fn rows(ids: std::ops::Range<i64>, days: i32) -> RecordBatch {
    let count = ids.end - ids.start;
    let names = ids
        .clone()
        .map(|id| (id % 7 != 0).then(|| format!("name {id}")));
    let day = |row: i64| i32::try_from(row).unwrap() % days;
    RecordBatch::try_from_iter_with_nullable([
        (
            "id",
            Arc::new(Int64Array::from_iter_values(ids)) as ArrayRef,
            true,
        ),
        (
            "name",
            Arc::new(names.collect::<StringArray>()) as ArrayRef,
            true,
        ),
        (
            "day",
            Arc::new(Date32Array::from_iter_values((0..count).map(day))) as ArrayRef,
            true,
        ),
    ])
    .unwrap()
}

async fn write(context: WriterContext, batches: Vec<RecordBatch>) -> Written {
    let mut writer = DataWriter::new(context).unwrap();
    for batch in batches {
        writer.write(batch).await.unwrap();
    }
    writer.finish().await.unwrap()
}

async fn bytes_of_file(storage: &Storage, add: &Add) -> bytes::Bytes {
    let key = crate::protocol::location::resolve(&add.path)
        .unwrap()
        .key()
        .unwrap()
        .to_owned();
    storage.get(&key).await.unwrap()
}

async fn batches_of(storage: &Storage, add: &Add) -> Vec<RecordBatch> {
    let bytes = bytes_of_file(storage, add).await;
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .unwrap()
        .build()
        .unwrap();
    reader.collect::<std::result::Result<_, _>>().unwrap()
}

async fn ids_of(storage: &Storage, add: &Add) -> Vec<i64> {
    let batches = batches_of(storage, add).await;
    let ids = batches
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values());
    ids.copied().collect()
}

fn tag<'a>(add: &'a Add, name: &str) -> &'a str {
    add.tags.as_ref().unwrap()[name].as_deref().unwrap()
}

#[tokio::test]
async fn rows_of_one_partition_keep_their_order_across_batches_and_row_groups() {
    let storage = storage();
    let mut context = context(&storage, schema(), &[]);
    context.options.row_group_rows = 100_000;
    let batches = (0..40).map(|n| rows(n * 7000..(n + 1) * 7000, 3)).collect();
    let written = write(context, batches).await;
    assert_eq!((written.rows, written.adds.len()), (280_000, 1));
    let add = &written.adds[0];
    assert_eq!(
        ids_of(&storage, add).await,
        (0..280_000).collect::<Vec<_>>()
    );
    let bytes = bytes_of_file(&storage, add).await;
    assert_eq!(
        (add.size as u64, written.bytes),
        (bytes.len() as u64, bytes.len() as u64)
    );
    assert_eq!(tag(add, TAG_BLAKE3), blake3::hash(&bytes).to_hex().as_str());
    let footer = SerializedFileReader::new(bytes).unwrap();
    let groups = footer
        .metadata()
        .row_groups()
        .iter()
        .map(|group| group.num_rows());
    assert_eq!(groups.collect::<Vec<_>>(), [140_000, 140_000]);
}

#[tokio::test]
async fn statistics_count_all_rows_and_bound_them() {
    let storage = storage();
    let written = write(context(&storage, schema(), &[]), vec![rows(5..105, 3)]).await;
    let stats = written.adds[0].stats.as_deref().unwrap();
    let stats: serde_json::Value = serde_json::from_str(stats).unwrap();
    assert_eq!(stats["numRecords"], 100);
    assert_eq!(
        (&stats["minValues"]["id"], &stats["maxValues"]["id"]),
        (&5.into(), &104.into())
    );
    assert_eq!(stats["nullCount"]["name"], 14);
    assert_eq!(stats["maxValues"]["day"], "1970-01-03");
}

#[tokio::test]
async fn the_fingerprint_of_the_files_is_that_of_the_rows_written() {
    let storage = storage();
    let all = rows(0..1000, 5);
    let written = write(context(&storage, schema(), &["day"]), vec![all.clone()]).await;
    assert_eq!(written.adds.len(), 5);
    let prints = written
        .adds
        .iter()
        .map(|add| tag(add, TAG_ROWS).parse::<RowFingerprint>().unwrap());
    let mut whole = Fingerprinter::new(&schema(), ColumnNames::Logical).unwrap();
    whole.update(&all).unwrap();
    assert_eq!(
        prints.fold(RowFingerprint::default(), RowFingerprint::plus),
        whole.finish()
    );
}

#[tokio::test]
async fn partitions_are_directories_and_their_columns_are_not_in_the_files() {
    let storage = storage();
    let schema = Schema::new([
        Field::new("id", DataType::LONG, true),
        Field::new("p", DataType::STRING, true),
        Field::new("n", DataType::INTEGER, true),
    ])
    .unwrap();
    let batch = RecordBatch::try_from_iter_with_nullable([
        (
            "id",
            Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5])) as ArrayRef,
            true,
        ),
        (
            "p",
            Arc::new(StringArray::from(vec![
                Some("a b:c"),
                None,
                Some(""),
                Some("x"),
                Some("x"),
            ])),
            true,
        ),
        (
            "n",
            Arc::new(Int32Array::from(vec![
                Some(1),
                Some(1),
                Some(1),
                None,
                Some(7),
            ])),
            true,
        ),
    ])
    .unwrap();
    let written = write(context(&storage, schema, &["p", "n"]), vec![batch]).await;
    let mut found = Vec::new();
    for add in &written.adds {
        assert_eq!(batches_of(&storage, add).await[0].num_columns(), 1);
        let values = add.partition_values.clone();
        found.push((
            values["p"].clone(),
            values["n"].clone(),
            ids_of(&storage, add).await,
        ));
    }
    found.sort();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        found,
        [
            // The empty string is null.
            (None, text("1"), vec![2, 3]),
            (text("a b:c"), text("1"), vec![1]),
            (text("x"), None, vec![4]),
            (text("x"), text("7"), vec![5]),
        ]
    );
    let path = written
        .adds
        .iter()
        .find(|add| add.partition_values["p"] == text("a b:c"))
        .unwrap();
    assert!(
        path.path.starts_with("p=a%20b%253Ac/n=1/part-0000"),
        "{}",
        path.path
    );
    assert!(path.path.ends_with(".c000.zstd.parquet"), "{}", path.path);
}

#[tokio::test]
async fn an_empty_string_is_no_value_of_a_partition_column_that_must_not_be_null() {
    let storage = storage();
    let schema = Schema::new([
        Field::new("id", DataType::LONG, true),
        Field::new("p", DataType::STRING, false),
    ])
    .unwrap();
    let batch = |text: &str| {
        RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
            ("p", Arc::new(StringArray::from(vec![text])) as ArrayRef),
        ])
        .unwrap()
    };
    let mut writer = DataWriter::new(context(&storage, schema, &["p"])).unwrap();
    let error = writer.write(batch("")).await.unwrap_err();
    assert_eq!(
        (error.code(), error.context_value("column")),
        (Code::RowsRejected, Some("p"))
    );
    // Nothing of it was taken, and the writer goes on.
    writer.write(batch("x")).await.unwrap();
    assert_eq!(writer.finish().await.unwrap().rows, 1);
}

#[tokio::test]
async fn files_end_near_the_target_size() {
    let storage = storage();
    let mut context = context(&storage, schema(), &[]);
    context.options.target_file_bytes = 200_000;
    context.options.compression = Compression::UNCOMPRESSED;
    let batches = (0..50).map(|n| rows(n * 4000..(n + 1) * 4000, 3)).collect();
    let written = write(context, batches).await;
    let sizes: Vec<i64> = written.adds.iter().map(|add| add.size).collect();
    let (last, whole) = sizes.split_last().unwrap();
    assert!(
        5 < whole.len() && whole.iter().all(|size| (200_000..500_000).contains(size)),
        "{sizes:?}"
    );
    assert!(*last < 500_000);
    let mut ids = Vec::new();
    for add in &written.adds {
        ids.extend(ids_of(&storage, add).await);
    }
    assert_eq!(ids, (0..200_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn many_partitions_stay_within_the_memory_given() {
    let storage = storage();
    let schema = Schema::new([
        Field::new("id", DataType::LONG, true),
        Field::new("p", DataType::INTEGER, true),
    ])
    .unwrap();
    let mut context = context(&storage, schema, &["p"]);
    context.options.memory_bytes = 1 << 20;
    let mut writer = DataWriter::new(context).unwrap();
    for n in 0..30 {
        let ids = Int64Array::from_iter_values(n * 5000..(n + 1) * 5000);
        let parts = Int32Array::from_iter_values((0..5000).map(|row| row % 700));
        let columns = [
            ("id", Arc::new(ids) as ArrayRef),
            ("p", Arc::new(parts) as ArrayRef),
        ];
        writer
            .write(RecordBatch::try_from_iter(columns).unwrap())
            .await
            .unwrap();
        assert!(writer.files_open <= OPEN_FILES_MAX + JOBS_MAX);
        let held = writer.row_bytes + writer.file_bytes;
        assert!(held <= (1 << 20), "{held}");
    }
    let written = writer.finish().await.unwrap();
    let mut ids = Vec::new();
    for add in &written.adds {
        let part: i64 = add.partition_values["p"]
            .as_deref()
            .unwrap()
            .parse()
            .unwrap();
        let found = ids_of(&storage, add).await;
        assert!(found.iter().all(|id| id % 5000 % 700 == part));
        ids.extend(found);
    }
    ids.sort_unstable();
    assert_eq!(ids, (0..150_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn small_batches_and_slices_of_large_ones_are_written_as_they_are() {
    let storage = storage();
    let large = rows(0..3000, 3);
    let batches = (0..3000).map(|row| large.slice(row, 1)).collect();
    let written = write(context(&storage, schema(), &[]), batches).await;
    assert_eq!(
        ids_of(&storage, &written.adds[0]).await,
        (0..3000).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_write_that_failed_says_so_and_is_of_no_use() {
    // A folder below a file cannot be made.
    let place =
        std::env::temp_dir().join(format!("headwater-writer-{}", Environment::system().uuid()));
    std::fs::write(&place, "a file").unwrap();
    let storage = Storage::local(&place.join("table"), &Environment::system()).unwrap();
    let mut context = context(&storage, schema(), &[]);
    context.options.target_file_bytes = 1000;
    let mut writer = DataWriter::new(context).unwrap();
    let mut failed = None;
    for n in 0..20 {
        if let Err(error) = writer.write(rows(n * 1000..(n + 1) * 1000, 3)).await {
            failed = Some(error);
            break;
        }
    }
    assert!(failed.is_some());
    assert_eq!(
        writer.write(rows(0..1, 1)).await.unwrap_err().code(),
        Code::Stopped
    );
    assert_eq!(writer.finish().await.unwrap_err().code(), Code::Stopped);
    std::fs::remove_file(&place).unwrap();
}

#[tokio::test]
async fn nothing_written_is_no_file() {
    let storage = storage();
    let written = write(context(&storage, schema(), &[]), vec![rows(0..0, 1)]).await;
    assert_eq!((written.adds.len(), written.rows), (0, 0));
    assert_eq!(storage.counts().puts, 0);
}

#[tokio::test]
async fn void_fields_have_no_column_in_files() {
    let storage = storage();
    let void = DataType::Primitive(crate::protocol::schema::PrimitiveType::Void);
    let inner = Schema::new([
        Field::new("x", DataType::INTEGER, true),
        Field::new("nothing", void.clone(), true),
    ]);
    let schema = Schema::new([
        Field::new("v", void.clone(), true),
        Field::new("s", DataType::Struct(inner.unwrap()), true),
    ])
    .unwrap();
    let x = Arc::new(arrow_schema::Field::new(
        "x",
        arrow_schema::DataType::Int32,
        true,
    ));
    let ones: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    let array = arrow_array::StructArray::from(vec![(x, ones)]);
    let batch = RecordBatch::try_from_iter([("s", Arc::new(array) as ArrayRef)]).unwrap();
    let written = write(context(&storage, schema, &[]), vec![batch]).await;
    let found = &batches_of(&storage, &written.adds[0]).await[0];
    assert_eq!(found.num_columns(), 1);
    let found = found.column(0).as_struct();
    assert_eq!(found.num_columns(), 1);
    assert_eq!(
        found.column(0).as_primitive::<Int32Type>().values(),
        &[1, 2]
    );
    let nothing = Schema::new([Field::new("n", void, true)]).unwrap();
    let only = Schema::new([Field::new("s", DataType::Struct(nothing), true)]).unwrap();
    assert!(DataWriter::new(context(&storage, only, &[])).is_err());
}

#[tokio::test]
async fn mapped_columns_have_physical_names_and_ids() {
    let storage = storage();
    let text = r#"{"type":"struct","fields":[{"name":"a","type":"long","nullable":true,"metadata":
        {"delta.columnMapping.id":4,"delta.columnMapping.physicalName":"col-4"}},{"name":"p","type":"long",
        "nullable":true,"metadata":{"delta.columnMapping.id":5,"delta.columnMapping.physicalName":"col-5"}}]}"#;
    let mut context = context(&storage, Schema::from_json(text).unwrap(), &["p"]);
    context.names = ColumnNames::Physical;
    let one: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let batch = RecordBatch::try_from_iter([("a", Arc::clone(&one)), ("p", one)]).unwrap();
    let written = write(context, vec![batch]).await;
    assert_eq!(
        written.adds[0].partition_values["col-5"].as_deref(),
        Some("1")
    );
    assert!(
        written.adds[0]
            .stats
            .as_deref()
            .unwrap()
            .contains("\"col-4\":1")
    );
    let footer =
        SerializedFileReader::new(bytes_of_file(&storage, &written.adds[0]).await).unwrap();
    let root = footer
        .metadata()
        .file_metadata()
        .schema_descr()
        .root_schema()
        .clone();
    let field = &root.get_fields()[0];
    assert_eq!((field.name(), field.get_basic_info().id()), ("col-4", 4));
}

#[tokio::test]
async fn pages_are_small_and_indexed() {
    let storage = storage();
    let written = write(context(&storage, schema(), &[]), vec![rows(0..100_000, 3)]).await;
    let bytes = bytes_of_file(&storage, &written.adds[0]).await;
    let options = parquet::arrow::arrow_reader::ArrowReaderOptions::new()
        .with_page_index_policy(PageIndexPolicy::Required);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).unwrap();
    let pages = builder.metadata().offset_index().unwrap()[0][0]
        .page_locations()
        .len();
    assert!((5..=10).contains(&pages), "{pages}");
    assert!(
        builder
            .metadata()
            .file_metadata()
            .created_by()
            .unwrap()
            .starts_with("headwater version")
    );
    assert!(
        builder
            .metadata()
            .file_metadata()
            .key_value_metadata()
            .is_none()
    );
}
