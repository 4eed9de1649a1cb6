use std::sync::atomic::AtomicU32;

use arrow_array::builder::{Int64Builder, ListBuilder, MapBuilder, StringBuilder};
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Float64Array, Int16Array, Int32Array, Int64Array, ListArray, MapArray, StringArray,
    StructArray, TimestampMillisecondArray, TimestampNanosecondArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType as ArrowType, Field as ArrowField, Fields};
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int96, Int96Type};
use parquet::file::metadata::{
    FileMetaData, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter,
};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::*;
use crate::data::ColumnNames;
use crate::environment::Environment;
use crate::predicate::Predicate;
use crate::protocol::deletion_vector::{self, FILE_VERSION};
use crate::protocol::property::ColumnMappingMode;
use crate::protocol::schema::{Field, PrimitiveType, Schema};

fn storage() -> Storage {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = NEXT.fetch_add(1, Ordering::Relaxed);
    Storage::open(
        &format!("memory:///reader-tests/{name}"),
        &Environment::system(),
    )
    .unwrap()
}

fn plan(schema: &Schema) -> ReadPlan {
    ReadPlan {
        table_schema: Arc::new(schema.clone()),
        partition_columns: Vec::new(),
        find: FindFields::ByName(ColumnNames::Logical),
        schema: Arc::new(schema.clone()),
        predicate: None,
        prune: true,
        batch_rows: 1000,
        row_positions: false,
    }
}

fn filtered(schema: &Schema, sql: &str) -> ReadPlan {
    let predicate = Predicate::parse(sql).unwrap().bind(schema).unwrap();
    ReadPlan {
        predicate: Some(Arc::new(predicate)),
        ..plan(schema)
    }
}

fn file_of(bytes: &[u8]) -> DataFile {
    DataFile {
        path: "f.parquet".to_owned(),
        size: bytes.len() as u64,
        partition_values: PartitionValues::new(),
        deletion_vector: None,
        only: None,
        physical_rows: None,
    }
}

async fn put(storage: &Storage, bytes: Vec<u8>) -> DataFile {
    let file = file_of(&bytes);
    storage.put(&file.path, bytes.into()).await.unwrap();
    file
}

fn parquet(batch: &RecordBatch, properties: WriterPropertiesBuilder) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties.build())).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

fn properties() -> WriterPropertiesBuilder {
    WriterProperties::builder()
}

/// Row groups of 1000 rows, pages of 100.
fn small_groups() -> WriterPropertiesBuilder {
    properties()
        .set_max_row_group_row_count(Some(1000))
        .set_data_page_row_count_limit(100)
        .set_write_batch_size(50)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_dictionary_enabled(false)
}

async fn rows_of(storage: &Storage, file: &DataFile, plan: ReadPlan) -> Result<Vec<Rows>> {
    Reader::new(storage, plan)?
        .read(file)
        .await?
        .try_collect()
        .await
}

async fn read(storage: &Storage, file: &DataFile, plan: ReadPlan) -> RecordBatch {
    let schema = plan.schema.to_arrow().unwrap();
    let rows = rows_of(storage, file, plan).await.unwrap();
    arrow_select::concat::concat_batches(&schema, rows.iter().map(|rows| &rows.batch)).unwrap()
}

fn longs(batch: &RecordBatch, column: usize) -> Vec<i64> {
    batch
        .column(column)
        .as_primitive::<Int64Type>()
        .values()
        .to_vec()
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn id_schema() -> Schema {
    Schema::new([Field::new("id", DataType::LONG, true)]).unwrap()
}

fn ids(range: Range<i64>) -> RecordBatch {
    batch(vec![("id", Arc::new(Int64Array::from_iter_values(range)))])
}

#[tokio::test]
async fn columns_are_found_by_name_and_what_a_file_lacks_is_null() {
    let storage = storage();
    let file = batch(vec![
        ("other", Arc::new(Int64Array::from(vec![7, 7]))),
        ("NAME", Arc::new(StringArray::from(vec!["a", "b"]))),
        ("id", Arc::new(Int16Array::from(vec![1, 2]))),
    ]);
    let file = put(&storage, parquet(&file, properties())).await;
    let schema = Schema::new([
        Field::new("id", DataType::LONG, false),
        Field::new("late", DataType::decimal(10, 2).unwrap(), true),
        Field::new("name", DataType::STRING, true),
        Field::new("v", DataType::Primitive(PrimitiveType::Void), true),
    ])
    .unwrap();
    let found = read(&storage, &file, plan(&schema)).await;
    assert_eq!(found.schema(), schema.to_arrow().unwrap());
    assert_eq!(longs(&found, 0), [1, 2]);
    assert_eq!(
        (
            found.column(1).null_count(),
            found.column(3).logical_null_count()
        ),
        (2, 2)
    );
    assert_eq!(found.column(2).as_ref(), &StringArray::from(vec!["a", "b"]));
    let absent = Schema::new([Field::new("gone", DataType::LONG, false)]).unwrap();
    let error = rows_of(&storage, &file, plan(&absent)).await.unwrap_err();
    assert_eq!(
        (error.code(), error.context_value("column")),
        (Code::DataCorrupt, Some("gone"))
    );
    assert_eq!(error.context_value("path"), Some("f.parquet"));
}

fn nested(x: Vec<Option<i64>>, y: Vec<Option<&str>>, valid: Vec<bool>) -> StructArray {
    let fields = Fields::from(vec![
        ArrowField::new("x", ArrowType::Int64, true),
        ArrowField::new("y", ArrowType::Utf8, true),
    ]);
    let children: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(x)),
        Arc::new(StringArray::from(y)),
    ];
    StructArray::new(fields, children, Some(NullBuffer::from(valid)))
}

#[tokio::test]
async fn fields_inside_structs_lists_and_maps_are_found_by_name() {
    let storage = storage();
    let inner = nested(
        vec![Some(1), None, Some(3)],
        vec![Some("a"), None, Some("c")],
        vec![true, false, true],
    );
    let element = Arc::new(ArrowField::new("element", inner.data_type().clone(), true));
    let offsets = OffsetBuffer::new(vec![0, 1, 1, 3].into());
    let list = ListArray::new(element, offsets.clone(), Arc::new(inner.clone()), None);
    let entries = Fields::from(vec![
        ArrowField::new("key", ArrowType::Utf8, false),
        ArrowField::new("value", inner.data_type().clone(), true),
    ]);
    let keys: ArrayRef = Arc::new(StringArray::from(vec!["k", "l", "m"]));
    let entries = StructArray::new(entries, vec![keys, Arc::new(inner.clone())], None);
    let field = Arc::new(ArrowField::new(
        "key_value",
        entries.data_type().clone(),
        false,
    ));
    let map = MapArray::new(field, offsets, entries, None, false);
    let rows = batch(vec![
        ("s", Arc::new(inner)),
        ("l", Arc::new(list)),
        ("m", Arc::new(map)),
    ]);
    let file = put(&storage, parquet(&rows, properties())).await;

    // In another order, one of the fields left out, one added.
    let part = Schema::new([
        Field::new("late", DataType::DATE, true),
        Field::new("Y", DataType::STRING, true),
    ]);
    let part = DataType::Struct(part.unwrap());
    let schema = Schema::new([
        Field::new(
            "m",
            DataType::map(DataType::STRING, part.clone(), true),
            true,
        ),
        Field::new("l", DataType::array(part.clone(), true), true),
        Field::new("s", part, true),
    ])
    .unwrap();
    let found = read(&storage, &file, plan(&schema)).await;
    assert_eq!(found.schema(), schema.to_arrow().unwrap());
    let check = |found: &StructArray| {
        assert_eq!(found.column(0).null_count(), 3);
        assert_eq!(
            found.column(1).as_ref(),
            &StringArray::from(vec![Some("a"), None, Some("c")])
        );
        assert_eq!(
            (0..3).map(|row| found.is_null(row)).collect::<Vec<_>>(),
            [false, true, false]
        );
    };
    check(found.column(2).as_struct());
    check(found.column(1).as_list::<i32>().values().as_struct());
    check(found.column(0).as_map().values().as_struct());
    assert_eq!(
        found.column(0).as_map().keys().as_ref(),
        &StringArray::from(vec!["k", "l", "m"])
    );
    assert_eq!(found.column(1).as_list::<i32>().value_length(2), 2);
}

#[tokio::test]
async fn a_struct_of_which_a_file_has_no_field_keeps_its_nulls() {
    let storage = storage();
    let rows = nested(vec![Some(1), None], vec![None, None], vec![true, false]);
    let file = put(
        &storage,
        parquet(&batch(vec![("s", Arc::new(rows))]), properties()),
    )
    .await;
    let late = Schema::new([Field::new("late", DataType::LONG, true)]).unwrap();
    let schema = Schema::new([Field::new("s", DataType::Struct(late), true)]).unwrap();
    let found = read(&storage, &file, plan(&schema)).await;
    assert_eq!(
        (found.column(0).is_null(0), found.column(0).is_null(1)),
        (false, true)
    );
}

fn mapped_schema() -> Schema {
    let text = r#"{"type":"struct","fields":[
        {"name":"b","type":"long","nullable":true,"metadata":
            {"delta.columnMapping.id":1,"delta.columnMapping.physicalName":"a"}},
        {"name":"a","type":"long","nullable":true,"metadata":
            {"delta.columnMapping.id":2,"delta.columnMapping.physicalName":"col-2"}},
        {"name":"p","type":"integer","nullable":true,"metadata":
            {"delta.columnMapping.id":3,"delta.columnMapping.physicalName":"col-3"}}]}"#;
    Schema::from_json(text).unwrap()
}

fn with_id(name: &str, id: &str) -> ArrowField {
    let key = parquet::arrow::PARQUET_FIELD_ID_META_KEY.to_owned();
    let field = ArrowField::new(name, ArrowType::Int64, true);
    field.with_metadata([(key, id.to_owned())].into_iter().collect())
}

#[tokio::test]
async fn mapped_columns_are_found_by_physical_name_or_by_id() {
    let storage = storage();
    // By name, "a" is b and "col-2" is a; by id, it is the other way round.
    let schema = arrow_schema::Schema::new(vec![with_id("a", "2"), with_id("col-2", "1")]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![10])),
        Arc::new(Int64Array::from(vec![20])),
    ];
    let rows = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
    let mut file = put(&storage, parquet(&rows, properties())).await;
    file.partition_values
        .insert("col-3".to_owned(), Some("33".to_owned()));
    for (mapping, expected) in [
        (ColumnMappingMode::Name, [10, 20]),
        (ColumnMappingMode::Id, [20, 10]),
    ] {
        let find = FindFields::by(mapping);
        let partition_columns = vec!["p".to_owned()];
        let plan = ReadPlan {
            find,
            partition_columns,
            ..plan(&mapped_schema())
        };
        let found = read(&storage, &file, plan).await;
        assert_eq!([longs(&found, 0)[0], longs(&found, 1)[0]], expected);
        assert_eq!(found.column(2).as_ref(), &Int32Array::from(vec![33]));
    }
}

#[tokio::test]
async fn a_file_without_ids_is_refused_where_columns_are_found_by_id() {
    let storage = storage();
    let file = put(&storage, parquet(&ids(0..3), properties())).await;
    let plan = ReadPlan {
        find: FindFields::ById,
        ..plan(&mapped_schema())
    };
    let error = rows_of(&storage, &file, plan).await.unwrap_err();
    assert_eq!(error.code(), Code::DataCorrupt);
}

#[tokio::test]
async fn partition_columns_come_from_the_log_whatever_the_file_holds() {
    let storage = storage();
    let rows = batch(vec![
        ("p", Arc::new(Int32Array::from(vec![99, 99]))),
        ("id", Arc::new(Int64Array::from(vec![1, 2]))),
    ]);
    let mut file = put(&storage, parquet(&rows, properties())).await;
    let schema = Schema::new([
        Field::new("p", DataType::INTEGER, true),
        Field::new("id", DataType::LONG, true),
    ])
    .unwrap();
    let partitioned = |plan: ReadPlan| ReadPlan {
        partition_columns: vec!["P".to_owned()],
        ..plan
    };
    file.partition_values
        .insert("p".to_owned(), Some("7".to_owned()));
    let found = read(&storage, &file, partitioned(plan(&schema))).await;
    assert_eq!(found.column(0).as_ref(), &Int32Array::from(vec![7, 7]));
    let none = read(&storage, &file, partitioned(filtered(&schema, "p = 99"))).await;
    assert_eq!(none.num_rows(), 0);
    let all = read(
        &storage,
        &file,
        partitioned(filtered(&schema, "p = 7 and id > 1")),
    )
    .await;
    assert_eq!(longs(&all, 1), [2]);
    // Without the value it is null; with a wrong one only reads of the column fail.
    file.partition_values.clear();
    let found = read(&storage, &file, partitioned(plan(&schema))).await;
    assert_eq!(found.column(0).null_count(), 2);
    file.partition_values
        .insert("p".to_owned(), Some("seven".to_owned()));
    let error = rows_of(&storage, &file, partitioned(plan(&schema)))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.context_value("column")),
        (ErrorKind::Corrupt, Some("p"))
    );
    let only = Arc::new(id_schema());
    let found = read(
        &storage,
        &file,
        ReadPlan {
            schema: only,
            ..partitioned(plan(&schema))
        },
    )
    .await;
    assert_eq!(longs(&found, 0), [1, 2]);
}

#[tokio::test]
async fn without_columns_rows_are_counted_by_the_footer() {
    let storage = storage();
    let file = put(&storage, parquet(&ids(0..2500), small_groups())).await;
    let empty = Arc::new(Schema::default());
    let plan = ReadPlan {
        schema: empty,
        row_positions: true,
        ..plan(&id_schema())
    };
    let before = storage.counts();
    let rows = rows_of(&storage, &file, plan).await.unwrap();
    assert_eq!(storage.counts().since(&before).requests(), 1);
    let positions = rows
        .iter()
        .flat_map(|rows| rows.positions.as_ref().unwrap().values());
    assert!(positions.copied().eq(0..2500));
    assert!(rows.iter().all(|rows| rows.batch.num_rows() <= 1000));
}

#[tokio::test]
async fn row_groups_and_pages_are_ruled_out_and_positions_stay_true() {
    let storage = storage();
    let file = put(&storage, parquet(&ids(0..5000), small_groups())).await;
    let plan = ReadPlan {
        row_positions: true,
        ..filtered(&id_schema(), "id >= 2250 and id < 3120")
    };
    let reader = Reader::new(&storage, plan).unwrap();
    let rows: Vec<Rows> = reader
        .read(&file)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let found = rows.iter().flat_map(|rows| longs(&rows.batch, 0));
    assert!(found.eq(2250..3120));
    let positions = rows
        .iter()
        .flat_map(|rows| rows.positions.as_ref().unwrap().values());
    assert!(positions.copied().eq(2250..3120));
    let counters = reader.counters();
    let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    assert_eq!(
        (
            value(&counters.row_groups),
            value(&counters.row_groups_read)
        ),
        (5, 2)
    );
    assert_eq!(
        (value(&counters.rows), value(&counters.rows_selected)),
        (5000, 1000)
    );
    assert_eq!(value(&counters.rows_returned), 870);
}

#[tokio::test]
async fn pages_of_several_columns_are_held_against_the_predicate_together() {
    let storage = storage();
    let text = (0..3000).map(|row| format!("{row:06}{}", "x".repeat(row % 60)));
    let rows = batch(vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..3000))),
        (
            "down",
            Arc::new(Int64Array::from_iter_values((0..3000).rev())),
        ),
        ("text", Arc::new(StringArray::from_iter_values(text))),
        (
            "gap",
            Arc::new(
                (0..3000)
                    .map(|row| (row < 1700).then_some(row))
                    .collect::<Int64Array>(),
            ),
        ),
    ]);
    let properties = small_groups()
        .set_column_data_page_size_limit("text".into(), 1500)
        .set_max_row_group_row_count(Some(1500));
    let file = put(&storage, parquet(&rows, properties)).await;
    let schema = Schema::from_arrow(&rows.schema()).unwrap();
    for sql in [
        "id between 200 and 420 and down < 2700",
        "text >= '000777' and text < '000790'",
        "gap is null and id < 1750",
        "gap is not null and text > '001650'",
        "id < 10 or down < 10 or text = '001500'",
        "not (id < 2990)",
    ] {
        let bound = Predicate::parse(sql).unwrap().bind(&schema).unwrap();
        let mask = bound.evaluate(&rows).unwrap();
        let expected = arrow_select::filter::filter_record_batch(&rows, &mask).unwrap();
        let found = read(&storage, &file, filtered(&schema, sql)).await;
        assert_eq!(longs(&found, 0), longs(&expected, 0), "{sql}");
        assert!(0 < found.num_rows(), "{sql}");
    }
}

#[tokio::test]
async fn a_predicate_may_look_at_columns_that_are_not_asked_for() {
    let storage = storage();
    let inner = nested(
        vec![Some(1), None, Some(3)],
        vec![Some("a"), None, Some("c")],
        vec![true, false, true],
    );
    let rows = batch(vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("s", Arc::new(inner)),
    ]);
    let file = put(&storage, parquet(&rows, properties())).await;
    let schema = Schema::from_arrow(&rows.schema()).unwrap();
    let only = Arc::new(id_schema());
    let plan = ReadPlan {
        schema: Arc::clone(&only),
        ..filtered(&schema, "s.x > 1")
    };
    assert_eq!(longs(&read(&storage, &file, plan).await, 0), [3]);
    let plan = ReadPlan {
        schema: only,
        ..filtered(&schema, "s.x is null")
    };
    assert_eq!(longs(&read(&storage, &file, plan).await, 0), [2]);
    // Asked for one field, filtered by the other.
    let y = Schema::new([Field::new("y", DataType::STRING, true)]).unwrap();
    let part = Schema::new([Field::new("s", DataType::Struct(y), true)]).unwrap();
    let plan = ReadPlan {
        schema: Arc::new(part.clone()),
        ..filtered(&schema, "s.x = 3")
    };
    let found = read(&storage, &file, plan).await;
    assert_eq!(found.schema(), part.to_arrow().unwrap());
    assert_eq!(
        found.column(0).as_struct().column(0).as_ref(),
        &StringArray::from(vec!["c"])
    );
}

#[tokio::test]
async fn bounds_of_floats_say_nothing_of_nan() {
    let storage = storage();
    let rows = batch(vec![(
        "x",
        Arc::new(Float64Array::from(vec![1.0, f64::NAN, -0.0])),
    )]);
    let file = put(&storage, parquet(&rows, small_groups())).await;
    let schema = Schema::new([Field::new("x", DataType::DOUBLE, true)]).unwrap();
    for (sql, expected) in [
        ("x > 5", 1),
        ("x >= 1", 2),
        ("x <> 1", 2),
        ("x = 0", 1),
        ("x < 0", 0),
    ] {
        let found = read(&storage, &file, filtered(&schema, sql)).await;
        assert_eq!(found.num_rows(), expected, "{sql}");
    }
}

#[tokio::test]
async fn times_of_any_unit_are_microseconds() {
    let storage = storage();
    let zone = "UTC";
    let rows = batch(vec![
        (
            "ms",
            Arc::new(
                TimestampMillisecondArray::from(vec![-1, 1_700_000_000_123]).with_timezone(zone),
            ),
        ),
        (
            "ns",
            Arc::new(TimestampNanosecondArray::from(vec![-1, 1_999]).with_timezone(zone)),
        ),
        (
            "local",
            Arc::new(TimestampMillisecondArray::from(vec![5, 6])),
        ),
    ]);
    let file = put(&storage, parquet(&rows, small_groups())).await;
    let schema = Schema::new([
        Field::new("ms", DataType::TIMESTAMP, true),
        Field::new("ns", DataType::TIMESTAMP, true),
        Field::new("local", DataType::TIMESTAMP_NTZ, true),
    ])
    .unwrap();
    let found = read(&storage, &file, plan(&schema)).await;
    let micros = |column: usize| {
        found
            .column(column)
            .as_primitive::<TimestampMicrosecondType>()
            .values()
            .to_vec()
    };
    assert_eq!(micros(0), [-1000, 1_700_000_000_123_000]);
    assert_eq!(micros(1), [-1, 1]);
    assert_eq!(micros(2), [5000, 6000]);
    // The bounds in the file are cut as the values are.
    let sql = "ns = TIMESTAMP '1969-12-31T23:59:59.999999Z'";
    assert_eq!(
        read(&storage, &file, filtered(&schema, sql))
            .await
            .num_rows(),
        1
    );
}

#[tokio::test]
async fn timestamps_of_96_bits_are_exact_far_from_our_time() {
    let storage = storage();
    let message = "message m { optional int96 t; optional int96 local; }";
    let parquet_schema = Arc::new(parse_message_type(message).unwrap());
    // Noon of 1 January 1001, and 9999-12-31 23:59:59.999999, which nanoseconds of 64 bits cannot say.
    let wide = |julian: u32, nanos: u64| {
        let mut value = Int96::new();
        value.set_data((nanos & 0xffff_ffff) as u32, (nanos >> 32) as u32, julian);
        value
    };
    let values = [
        wide(2_086_674, 43_200_000_000_000),
        wide(5_373_484, 86_399_999_999_000),
    ];
    let mut bytes = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut bytes, parquet_schema, Arc::new(properties().build()))
            .unwrap();
    let mut group = writer.next_row_group().unwrap();
    while let Some(mut column) = group.next_column().unwrap() {
        column
            .typed::<Int96Type>()
            .write_batch(&values, Some(&[1, 1]), None)
            .unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    let file = put(&storage, bytes).await;
    let schema = Schema::new([
        Field::new("t", DataType::TIMESTAMP, true),
        Field::new("local", DataType::TIMESTAMP_NTZ, true),
    ])
    .unwrap();
    let found = read(&storage, &file, plan(&schema)).await;
    let expected = [
        (2_086_674 - 2_440_588) * 86_400_000_000 + 43_200_000_000,
        253_402_300_799_999_999,
    ];
    for column in 0..2 {
        assert_eq!(
            found
                .column(column)
                .as_primitive::<TimestampMicrosecondType>()
                .values(),
            &expected
        );
    }
    // Statistics of such columns are in no order.
    let sql = "t > TIMESTAMP '9000-01-01T00:00:00Z'";
    assert_eq!(
        read(&storage, &file, filtered(&schema, sql))
            .await
            .num_rows(),
        1
    );
}

#[tokio::test]
async fn lists_and_maps_of_old_writers_are_lists_and_maps() {
    let storage = storage();
    let message = "message m {
        optional group l (LIST) { repeated int32 array; }
        optional group m (MAP_KEY_VALUE) { repeated group map {
            required binary key (UTF8); optional int32 value; } } }";
    let parquet_schema = Arc::new(parse_message_type(message).unwrap());
    let mut bytes = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut bytes, parquet_schema, Arc::new(properties().build()))
            .unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut list = group.next_column().unwrap().unwrap();
    list.typed::<Int32Type>()
        .write_batch(&[1, 2, 3], Some(&[2, 2, 2]), Some(&[0, 1, 0]))
        .unwrap();
    list.close().unwrap();
    let mut keys = group.next_column().unwrap().unwrap();
    let texts = [ByteArray::from("a"), ByteArray::from("b")];
    keys.typed::<ByteArrayType>()
        .write_batch(&texts, Some(&[2, 2]), Some(&[0, 0]))
        .unwrap();
    keys.close().unwrap();
    let mut values = group.next_column().unwrap().unwrap();
    values
        .typed::<Int32Type>()
        .write_batch(&[7], Some(&[3, 2]), Some(&[0, 0]))
        .unwrap();
    values.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let file = put(&storage, bytes).await;
    let schema = Schema::new([
        Field::new(
            "m",
            DataType::map(DataType::STRING, DataType::LONG, true),
            true,
        ),
        Field::new("l", DataType::array(DataType::LONG, true), true),
    ])
    .unwrap();
    let found = read(&storage, &file, plan(&schema)).await;
    let mut lists = ListBuilder::new(Int64Builder::new());
    lists.append_value([Some(1), Some(2)]);
    lists.append_value([Some(3)]);
    let lists = lists.finish();
    assert_eq!(found.column(1).as_list::<i32>().values(), lists.values());
    assert_eq!(found.column(1).as_list::<i32>().offsets(), lists.offsets());
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    for (key, value) in [("a", Some(7)), ("b", None)] {
        maps.keys().append_value(key);
        maps.values().append_option(value);
        maps.append(true).unwrap();
    }
    let maps = maps.finish();
    assert_eq!(found.column(0).as_map().values(), maps.values());
    assert_eq!(found.column(0).as_map().keys(), maps.keys());
}

fn vector(rows: &[u64]) -> (Vec<u8>, DeletionVectorDescriptor) {
    let rows: RoaringTreemap = rows.iter().copied().collect();
    let data = deletion_vector::encode(&rows);
    let descriptor = DeletionVectorDescriptor {
        storage_type: "i".to_owned(),
        path_or_inline_dv: deletion_vector::inline_text(&data),
        offset: None,
        size_in_bytes: i32::try_from(data.len()).unwrap(),
        cardinality: i64::try_from(rows.len()).unwrap(),
    };
    (data, descriptor)
}

#[tokio::test]
async fn deleted_rows_are_left_out_by_their_position_in_the_file() {
    let storage = storage();
    let mut file = put(&storage, parquet(&ids(0..5000), small_groups())).await;
    // The whole second row group, and rows on both sides of row groups and pages.
    let mut rows: Vec<u64> = (1000..2000).collect();
    rows.extend([0, 99, 100, 999, 2000, 2999, 3000, 3111, 4999]);
    file.deletion_vector = Some(vector(&rows).1);
    let is_live = |id: &i64| !rows.contains(&u64::try_from(*id).unwrap());
    let reader = Reader::new(&storage, plan(&id_schema())).unwrap();
    let found: Vec<Rows> = reader
        .read(&file)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let found = found.iter().flat_map(|rows| longs(&rows.batch, 0));
    assert!(found.eq((0..5000).filter(is_live)));
    assert_eq!(reader.counters().row_groups_read.load(Ordering::Relaxed), 4);
    let pruned = read(
        &storage,
        &file,
        filtered(&id_schema(), "id in (3110, 3111, 3112, 1500)"),
    )
    .await;
    assert_eq!(longs(&pruned, 0), [3110, 3112]);
    let counted = ReadPlan {
        schema: Arc::new(Schema::default()),
        ..plan(&id_schema())
    };
    let counted = rows_of(&storage, &file, counted).await.unwrap();
    let counted: usize = counted.iter().map(|rows| rows.batch.num_rows()).sum();
    assert_eq!(counted, 5000 - rows.len());
}

/// What a deleted row holds is nobody's: not a divisor of zero, not a null where there must be none.
#[tokio::test]
async fn the_predicate_is_never_asked_of_rows_that_are_deleted() {
    let storage = storage();
    let rows = batch(vec![
        ("a", Arc::new(Int64Array::from(vec![6, 6, 6]))),
        (
            "b",
            Arc::new(Int64Array::from(vec![Some(0), Some(2), None])),
        ),
    ]);
    let mut file = put(&storage, parquet(&rows, properties())).await;
    let schema = Schema::new([
        Field::new("a", DataType::LONG, false),
        Field::new("b", DataType::LONG, false),
    ])
    .unwrap();
    let of = || filtered(&schema, "a / b > 1");
    assert!(rows_of(&storage, &file, of()).await.is_err());
    file.deletion_vector = Some(vector(&[0, 2]).1);
    let found = read(&storage, &file, of()).await;
    assert_eq!((longs(&found, 0), longs(&found, 1)), (vec![6], vec![2]));
}

/// Rows that a change is about, of a file that claims more rows than fit in memory as a set.
#[tokio::test]
async fn some_rows_of_a_file_are_read_without_a_set_of_all_others() {
    let storage = storage();
    let mut file = put(&storage, parquet(&ids(0..5000), small_groups())).await;
    let only: RoaringTreemap = [7, 1500, 1501, 4999].into_iter().collect();
    file.only = Some(Arc::new(only));
    file.deletion_vector = Some(vector(&[8, 1501]).1);
    let reader = Reader::new(&storage, plan(&id_schema())).unwrap();
    let opened = reader.open(&file).await.unwrap();
    assert_eq!((opened.parts(), opened.rows_left()), (3, 3));
    let found = read(&storage, &file, plan(&id_schema())).await;
    assert_eq!(longs(&found, 0), [7, 1500, 4999]);
}

/// The footer with other numbers of rows: what the writer says of its row groups, and in all.
fn claiming(bytes: &[u8], rows: &[i64]) -> Vec<u8> {
    let metadata = ParquetMetaDataReader::new()
        .parse_and_finish(&bytes::Bytes::copy_from_slice(bytes))
        .unwrap();
    let groups = metadata.row_groups().iter().zip(rows);
    let groups = groups.map(|(group, rows)| {
        let group = group.clone().into_builder();
        group.set_num_rows(*rows).build().unwrap()
    });
    let file = metadata.file_metadata();
    let file = FileMetaData::new(
        file.version(),
        rows.iter().sum(),
        file.created_by().map(str::to_owned),
        None,
        file.schema_descr_ptr(),
        None,
    );
    let metadata = ParquetMetaData::new(file, groups.collect());
    let length = bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap();
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap();
    let mut claimed = bytes[..bytes.len() - 8 - length].to_vec();
    let mut tail = Vec::new();
    ParquetMetaDataWriter::new(&mut tail, &metadata)
        .finish()
        .unwrap();
    claimed.extend(tail);
    claimed
}

#[tokio::test]
async fn h_8_rows_that_only_the_footer_claims_are_not_counted() {
    let (storage, other) = (storage(), storage());
    let counted = || ReadPlan {
        schema: Arc::new(Schema::default()),
        ..plan(&id_schema())
    };
    let true_bytes = parquet(&ids(0..2500), small_groups());
    let mut file = put(&storage, claiming(&true_bytes, &[1000, 1000, 500])).await;
    assert!(rows_of(&storage, &file, counted()).await.is_ok());
    file.physical_rows = Some(2499);
    let error = rows_of(&storage, &file, counted()).await.unwrap_err();
    assert_eq!(error.code(), Code::DataCorrupt);

    let over = claiming(&true_bytes, &[1000, 1000, 501]);
    let file = put(&other, over).await;
    let error = rows_of(&other, &file, counted()).await.unwrap_err();
    assert_eq!(error.code(), Code::DataCorrupt);
    assert_eq!(error.context_value("path"), Some("f.parquet"));
}

#[tokio::test]
async fn h_8_a_file_claims_no_more_rows_than_a_file_may_have() {
    let storage = storage();
    let rows = ids(0..20_000);
    let bytes = parquet(&rows, small_groups());
    let most = i64::from(i32::MAX);
    let file = put(&storage, claiming(&bytes, &[most; 20])).await;
    let reader = Reader::new(&storage, plan(&id_schema())).unwrap();
    let error = reader.open(&file).await.unwrap_err();
    assert_eq!(error.code(), Code::LimitExceeded);
}

#[tokio::test]
async fn f_4_deletion_vectors_in_files_are_checked_and_read_within_the_table_only() {
    let storage = storage();
    let mut file = put(&storage, parquet(&ids(0..10), properties())).await;
    let (data, mut descriptor) = vector(&[3, 4]);
    let mut bytes = vec![FILE_VERSION];
    bytes.extend(deletion_vector::encode_frame(&data).unwrap());
    let id = "d2c639aa-8816-431a-aaf6-d3fe2512ff61".parse().unwrap();
    storage
        .put(&deletion_vector::file_path("ab", id), bytes.clone().into())
        .await
        .unwrap();
    descriptor.storage_type = "u".to_owned();
    descriptor.path_or_inline_dv = deletion_vector::uuid_text("ab", id);
    descriptor.offset = Some(1);
    file.deletion_vector = Some(descriptor.clone());
    assert_eq!(
        longs(&read(&storage, &file, plan(&id_schema())).await, 0),
        [0, 1, 2, 5, 6, 7, 8, 9]
    );

    let code = async |descriptor: &DeletionVectorDescriptor| {
        let file = DataFile {
            deletion_vector: Some(descriptor.clone()),
            ..file.clone()
        };
        rows_of(&storage, &file, plan(&id_schema()))
            .await
            .unwrap_err()
            .code()
    };
    let mut lie = descriptor.clone();
    lie.cardinality = 3;
    assert_eq!(code(&lie).await, Code::DataCorrupt);
    let mut away = descriptor.clone();
    away.storage_type = "p".to_owned();
    away.path_or_inline_dv = "file:///etc/passwd".to_owned();
    assert_eq!(code(&away).await, Code::UnsafePath);
    let mut missing = descriptor.clone();
    missing.path_or_inline_dv = deletion_vector::uuid_text("", id);
    assert_eq!(code(&missing).await, Code::DataCorrupt);
    assert_eq!(code(&vector(&[10]).1).await, Code::DataCorrupt);
    // A flipped bit is found by the checksum.
    let last = bytes.len() - 6;
    bytes[last] ^= 1;
    storage
        .put(&deletion_vector::file_path("ab", id), bytes.into())
        .await
        .unwrap();
    assert_eq!(code(&descriptor).await, Code::DataCorrupt);
}

#[tokio::test]
async fn a_file_that_is_not_what_the_log_says_is_corrupt() {
    let storage = storage();
    let file = put(&storage, parquet(&ids(0..10), properties())).await;
    let code = async |file: DataFile, schema: Schema| {
        let error = rows_of(&storage, &file, plan(&schema)).await.unwrap_err();
        // A path that leads out of the table may hold secrets.
        let said = (error.code() != Code::UnsafePath).then_some(file.path.as_str());
        assert_eq!(error.context_value("path"), said);
        error.code()
    };
    let longer = DataFile {
        size: file.size + 1,
        ..file.clone()
    };
    assert_eq!(code(longer, id_schema()).await, Code::DataCorrupt);
    let missing = DataFile {
        path: "gone.parquet".to_owned(),
        ..file.clone()
    };
    assert_eq!(code(missing, id_schema()).await, Code::DataCorrupt);
    let outside = DataFile {
        path: "../f.parquet".to_owned(),
        ..file.clone()
    };
    assert_eq!(code(outside, id_schema()).await, Code::UnsafePath);
    let narrower = Schema::new([Field::new("id", DataType::INTEGER, true)]).unwrap();
    assert_eq!(code(file, narrower).await, Code::DataCorrupt);
}

#[tokio::test]
async fn parts_of_a_file_can_be_read_side_by_side() {
    let storage = storage();
    let file = put(&storage, parquet(&ids(0..2500), small_groups())).await;
    let opened = Reader::new(&storage, plan(&id_schema()))
        .unwrap()
        .open(&file)
        .await
        .unwrap();
    assert_eq!(
        (opened.parts(), opened.part_rows(2), opened.file_rows()),
        (3, 500, 2500)
    );
    let mut found = Vec::new();
    for part in 0..3 {
        let rows: Vec<Rows> = opened
            .read(part..part + 1)
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        found.extend(rows.iter().flat_map(|rows| longs(&rows.batch, 0)));
    }
    assert!(found.into_iter().eq(0..2500));
}
