//! Data files of every shape that writers were known to make: encodings, codecs, old lists and maps, paths.

use std::sync::Arc;

use arrow_cast::display::{ArrayFormatter, FormatOptions};
use headwater::arrow_array::{ArrayRef, Float32Array, RecordBatch};
use headwater::arrow_schema::DataType;
use headwater::environment::Environment;
use headwater::protocol::deletion_vector::{encode, encode_frame};
use headwater::storage::Storage;
use headwater::{Code, ErrorKind, Table};
use object_store::path::Path;
use parquet::basic::{BrotliLevel, Compression, Encoding, GzipLevel, ZstdLevel};
use parquet::data_type::{
    ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int32Type, Int64Type,
    Int96, Int96Type,
};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use roaring::RoaringTreemap;
use serde_json::{Value, json};

use crate::support::store::Faulty;
use crate::support::{commit_key, open, storage};

/// The values of one Parquet column: values, definition and repetition levels.
enum Column {
    I32(Vec<i32>),
    I64(Vec<i64>),
    I96(Vec<[u32; 3]>),
    Bytes(Vec<Vec<u8>>),
    Fixed(Vec<Vec<u8>>),
}

type Levels<'a> = (&'a [i16], &'a [i16]);

fn written(
    message: &str,
    columns: Vec<(Column, Levels<'_>)>,
    properties: WriterProperties,
) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(message).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for (column, (definition, repetition)) in columns {
        let mut next = group.next_column().unwrap().unwrap();
        let def = Some(definition).filter(|levels| !levels.is_empty());
        let rep = Some(repetition).filter(|levels| !levels.is_empty());
        match column {
            Column::I32(values) => next.typed::<Int32Type>().write_batch(&values, def, rep),
            Column::I64(values) => next.typed::<Int64Type>().write_batch(&values, def, rep),
            Column::I96(values) => {
                let values: Vec<Int96> = values
                    .iter()
                    .map(|parts| Int96::from(parts.to_vec()))
                    .collect();
                next.typed::<Int96Type>().write_batch(&values, def, rep)
            }
            Column::Bytes(values) => {
                let values: Vec<ByteArray> = values.into_iter().map(ByteArray::from).collect();
                next.typed::<ByteArrayType>().write_batch(&values, def, rep)
            }
            Column::Fixed(values) => {
                let values: Vec<FixedLenByteArray> =
                    values.into_iter().map(FixedLenByteArray::from).collect();
                next.typed::<FixedLenByteArrayType>()
                    .write_batch(&values, def, rep)
            }
        }
        .unwrap();
        next.close().unwrap();
    }
    group.close().unwrap();
    writer.into_inner().unwrap()
}

fn plain() -> WriterProperties {
    WriterProperties::builder().build()
}

fn add(path: &str, bytes: usize, more: Value) -> Value {
    let mut add = json!({
        "path": path, "size": bytes, "partitionValues": {}, "modificationTime": 0, "dataChange": true,
    });
    for (key, value) in more.as_object().unwrap() {
        add[key] = value.clone();
    }
    json!({ "add": add })
}

/// The commit of a table with these fields (JSON of the schema) and files.
fn commit(fields: &Value, partitions: &[&str], configuration: Value, adds: &[Value]) -> String {
    let features = [
        "columnMapping",
        "deletionVectors",
        "timestampNtz",
        "typeWidening",
    ];
    let protocol = json!({"protocol": {
        "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features,
    }});
    let schema = json!({"type": "struct", "fields": fields}).to_string();
    let metadata = json!({"metaData": {
        "id": "6c41bfba-1a4b-4a0a-8b4b-00000000000b", "format": {"provider": "parquet", "options": {}},
        "schemaString": schema, "partitionColumns": partitions, "createdTime": 0, "configuration": configuration,
    }});
    let lines = [protocol, metadata].into_iter().chain(adds.iter().cloned());
    lines
        .map(|line| line.to_string())
        .collect::<Vec<_>>()
        .join("\n")
}

fn field(name: &str, data_type: Value) -> Value {
    json!({"name": name, "type": data_type, "nullable": true, "metadata": {}})
}

/// The rows of a table of one column and one file, printed.
async fn read(data_type: Value, bytes: Vec<u8>) -> headwater::Result<Vec<String>> {
    let store = Faulty::default();
    let adds = [add("f.parquet", bytes.len(), json!({}))];
    store.place(&Path::from("table/f.parquet"), bytes).await;
    let fields = json!([field("c", data_type)]);
    store
        .place(&commit_key(0), commit(&fields, &[], json!({}), &adds))
        .await;
    let table = open(&store).await?;
    Ok(printed(&table.snapshot().scan().collect().await?))
}

fn printed(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let mut rows = Vec::new();
    for batch in batches {
        // The formatter knows zones by their offsets only.
        let by_offset = |column: &ArrayRef| match column.data_type() {
            DataType::Timestamp(unit, Some(_)) => {
                arrow_cast::cast(column, &DataType::Timestamp(*unit, Some("+00:00".into())))
                    .unwrap()
            }
            _ => column.clone(),
        };
        let columns: Vec<ArrayRef> = batch.columns().iter().map(by_offset).collect();
        let columns = columns.iter();
        let columns: Vec<_> = columns
            .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let values: Vec<_> = columns
                .iter()
                .map(|column| column.value(row).to_string())
                .collect();
            rows.push(values.join("|"));
        }
    }
    rows
}

/// Parquet's rules of backward compatibility: LogicalTypes.md, "Lists".
#[tokio::test]
async fn lists_of_every_age_are_lists() {
    let ints = || json!({"type": "array", "elementType": "integer", "containsNull": true});
    let structs = || {
        let element = json!({"type": "struct", "fields": [field("x", json!("integer"))]});
        json!({"type": "array", "elementType": element, "containsNull": true})
    };
    // Rows: [1, 2], an empty list or none, [3].
    let rows = |message: &str, definition: &[i16]| {
        written(
            message,
            vec![(Column::I32(vec![1, 2, 3]), (definition, &[0, 1, 0, 0]))],
            plain(),
        )
    };
    let three_levels =
        "message t { optional group c (LIST) { repeated group list { optional int32 element; } } }";
    assert_eq!(
        read(ints(), rows(three_levels, &[3, 3, 1, 3]))
            .await
            .unwrap(),
        ["[1, 2]", "[]", "[3]"]
    );
    let hive = "message t { optional group c (LIST) { repeated group bag { optional int32 array_element; } } }";
    assert_eq!(
        read(ints(), rows(hive, &[3, 3, 0, 3])).await.unwrap(),
        ["[1, 2]", "null", "[3]"]
    );
    let two_levels = "message t { optional group c (LIST) { repeated int32 array; } }";
    assert_eq!(
        read(ints(), rows(two_levels, &[2, 2, 1, 2])).await.unwrap(),
        ["[1, 2]", "[]", "[3]"]
    );
    let bare = "message t { repeated int32 c; }";
    assert_eq!(
        read(ints(), rows(bare, &[1, 1, 0, 1])).await.unwrap(),
        ["[1, 2]", "[]", "[3]"]
    );
    let avro =
        "message t { optional group c (LIST) { repeated group array { required int32 x; } } }";
    assert_eq!(
        read(structs(), rows(avro, &[2, 2, 1, 2])).await.unwrap(),
        ["[{x: 1}, {x: 2}]", "[]", "[{x: 3}]"]
    );
    let thrift =
        "message t { optional group c (LIST) { repeated group c_tuple { required int32 x; } } }";
    assert_eq!(
        read(structs(), rows(thrift, &[2, 2, 0, 2])).await.unwrap(),
        ["[{x: 1}, {x: 2}]", "null", "[{x: 3}]"]
    );
}

/// LogicalTypes.md, "Maps".
#[tokio::test]
async fn maps_of_every_age_are_maps() {
    let map = json!({"type": "map", "keyType": "string", "valueType": "integer", "valueContainsNull": true});
    for (annotation, group, key) in [
        ("MAP", "key_value", "key"),
        ("MAP_KEY_VALUE", "map", "key"),
        ("MAP", "map", "key"),
        ("MAP", "entries", "k"),
    ] {
        let message = format!(
            "message t {{ optional group c ({annotation}) {{ repeated group {group} {{ required binary {key} (UTF8); optional int32 value; }} }} }}"
        );
        let keys = Column::Bytes(vec![b"a".to_vec(), b"b".to_vec()]);
        let columns = vec![
            (keys, (&[2_i16, 2, 0][..], &[0_i16, 1, 0][..])),
            (Column::I32(vec![7]), (&[3, 2, 0], &[0, 1, 0])),
        ];
        let found = read(map.clone(), written(&message, columns, plain()))
            .await
            .unwrap();
        assert_eq!(found, ["{a: 7, b: null}", "null"], "{message}");
    }
}

/// LogicalTypes.md, "DECIMAL": four physical types.
#[tokio::test]
async fn decimals_of_every_encoding_are_the_same() {
    let big_endian = |value: i64, width: usize| value.to_be_bytes()[8 - width..].to_vec();
    let values = [1234_i64, -5, 99_999];
    let files = [
        (
            "int32 c (DECIMAL(5,2))",
            Column::I32(values.map(|value| value as i32).to_vec()),
        ),
        ("int64 c (DECIMAL(5,2))", Column::I64(values.to_vec())),
        (
            "fixed_len_byte_array(3) c (DECIMAL(5,2))",
            Column::Fixed(values.map(|value| big_endian(value, 3)).to_vec()),
        ),
        (
            "fixed_len_byte_array(8) c (DECIMAL(5,2))",
            Column::Fixed(values.map(|value| big_endian(value, 8)).to_vec()),
        ),
        (
            "binary c (DECIMAL(5,2))",
            Column::Bytes(values.map(|value| big_endian(value, 4)).to_vec()),
        ),
    ];
    for (column, values) in files {
        let bytes = written(
            &format!("message t {{ required {column}; }}"),
            vec![(values, (&[], &[]))],
            plain(),
        );
        let found = read(json!("decimal(5,2)"), bytes.clone()).await.unwrap();
        assert_eq!(found, ["12.34", "-0.05", "999.99"], "{column}");
        // Type widening: more digits before and after the point.
        let found = read(json!("decimal(12,4)"), bytes).await.unwrap();
        assert_eq!(found, ["12.3400", "-0.0500", "999.9900"], "{column}");
    }
}

#[tokio::test]
async fn times_of_every_encoding_are_instants_or_wall_clocks() {
    // 1970-01-02T00:00:01 as nanoseconds of the day and the Julian day.
    let day = [1_000_000_000_u32, 0, 2_440_589];
    let files = [
        ("int96 c", Column::I96(vec![day])),
        (
            "int64 c (TIMESTAMP(MILLIS,true))",
            Column::I64(vec![86_401_000]),
        ),
        (
            "int64 c (TIMESTAMP(MICROS,true))",
            Column::I64(vec![86_401_000_000]),
        ),
        (
            "int64 c (TIMESTAMP(NANOS,true))",
            Column::I64(vec![86_401_000_000_000]),
        ),
        (
            "int64 c (TIMESTAMP_MICROS)",
            Column::I64(vec![86_401_000_000]),
        ),
        (
            "int64 c (TIMESTAMP(MICROS,false))",
            Column::I64(vec![86_401_000_000]),
        ),
    ];
    for (column, values) in files {
        let local = column.contains("false") || column.starts_with("int96");
        let bytes = written(
            &format!("message t {{ required {column}; }}"),
            vec![(values, (&[], &[]))],
            plain(),
        );
        let found = read(json!("timestamp"), bytes.clone()).await.unwrap();
        assert_eq!(found, ["1970-01-02T00:00:01Z"], "{column}");
        let found = read(json!("timestamp_ntz"), bytes).await;
        match local {
            true => assert_eq!(found.unwrap(), ["1970-01-02T00:00:01"], "{column}"),
            // An instant has no wall clock without a zone.
            false => assert_eq!(found.unwrap_err().kind(), ErrorKind::Corrupt, "{column}"),
        }
    }
}

/// Type Widening, and writers that do not say how many bits they mean.
#[tokio::test]
async fn numbers_are_read_into_wider_types_and_lossless_narrower_ones() {
    let one = |column: &str, values: Column| {
        written(
            &format!("message t {{ required {column} c; }}"),
            vec![(values, (&[], &[]))],
            plain(),
        )
    };
    let ints = || one("int32", Column::I32(vec![1, -7]));
    for wide in ["integer", "short", "byte", "long"] {
        assert_eq!(
            read(json!(wide), ints()).await.unwrap(),
            ["1", "-7"],
            "{wide}"
        );
    }
    assert_eq!(
        read(json!("double"), ints()).await.unwrap(),
        ["1.0", "-7.0"]
    );
    assert_eq!(
        read(json!("decimal(12,2)"), ints()).await.unwrap(),
        ["1.00", "-7.00"]
    );
    let large = one("int32", Column::I32(vec![300]));
    assert_eq!(read(json!("short"), large.clone()).await.unwrap(), ["300"]);
    assert_eq!(
        read(json!("byte"), large).await.unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    let longs = one("int64", Column::I64(vec![1]));
    assert_eq!(
        read(json!("integer"), longs).await.unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    let message = "message t { required int32 c (DATE); }";
    let dates = written(message, vec![(Column::I32(vec![1]), (&[], &[]))], plain());
    assert_eq!(
        read(json!("timestamp_ntz"), dates).await.unwrap(),
        ["1970-01-02T00:00:00"]
    );
    let months = one("int32", Column::I32(vec![14]));
    assert_eq!(
        read(json!("interval year to month"), months).await.unwrap(),
        ["1 years 2 mons"]
    );
    let before = one("int32", Column::I32(vec![-1]));
    assert_eq!(
        read(json!("interval month"), before).await.unwrap(),
        ["-1 years 11 mons"]
    );
    let micros = one("int64", Column::I64(vec![86_401_000_002]));
    assert_eq!(
        read(json!("interval day to second"), micros).await.unwrap(),
        ["PT86401.000002S"]
    );
}

/// Text that is not marked as such, as old writers left it.
#[tokio::test]
async fn unmarked_bytes_are_text_where_the_table_says_so() {
    let bytes = |text: &[u8]| {
        let message = "message t { required binary c; }";
        written(
            message,
            vec![(Column::Bytes(vec![text.to_vec()]), (&[], &[]))],
            plain(),
        )
    };
    assert_eq!(
        read(json!("string"), bytes("gr\u{fc}n".as_bytes()))
            .await
            .unwrap(),
        ["gr\u{fc}n"]
    );
    assert_eq!(
        read(json!("string"), bytes(&[0xff]))
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::Corrupt
    );
}

/// Every codec of the Parquet format, both page versions, dictionaries that overflow into plain pages.
#[tokio::test]
async fn codecs_and_pages_of_every_kind_are_read() {
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ];
    let texts: Vec<Vec<u8>> = (0..2000)
        .map(|at| format!("text number {}", at % 700).into_bytes())
        .collect();
    let expected: Vec<String> = texts
        .iter()
        .map(|text| String::from_utf8(text.clone()).unwrap())
        .collect();
    for codec in codecs {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            for (dictionary, encoding) in [
                (true, None),
                (false, Some(Encoding::DELTA_BYTE_ARRAY)),
                (false, None),
            ] {
                let mut properties = WriterProperties::builder()
                    .set_compression(codec)
                    .set_writer_version(version)
                    .set_dictionary_enabled(dictionary)
                    // Too small for the values: after a while pages are plain.
                    .set_dictionary_page_size_limit(4096)
                    .set_data_page_row_count_limit(300)
                    .set_write_batch_size(100);
                if let Some(encoding) = encoding {
                    properties = properties.set_encoding(encoding);
                }
                let message = "message t { required binary c (UTF8); }";
                let columns = vec![(Column::Bytes(texts.clone()), (&[][..], &[][..]))];
                let found = read(
                    json!("string"),
                    written(message, columns, properties.build()),
                )
                .await;
                assert_eq!(
                    found.unwrap(),
                    expected,
                    "{codec:?} {version:?} {dictionary} {encoding:?}"
                );
            }
        }
    }
}

fn ids(values: &[i32]) -> Vec<u8> {
    let message = "message t { required int32 id; }";
    written(
        message,
        vec![(Column::I32(values.to_vec()), (&[], &[]))],
        plain(),
    )
}

/// Files may lack columns, have others, and have them in another order; a stray `_change_type` is not data.
#[tokio::test]
async fn columns_are_found_by_name_wherever_they_stand() {
    let store = Faulty::default();
    let message = "message t { required binary _change_type (UTF8); required binary B (UTF8); required int64 _commit_version; required int32 id; }";
    let text = |text: &str| (Column::Bytes(vec![text.into()]), (&[][..], &[][..]));
    let full = written(
        message,
        vec![
            text("insert"),
            text("b"),
            (Column::I64(vec![9]), (&[], &[])),
            (Column::I32(vec![2]), (&[], &[])),
        ],
        plain(),
    );
    let short = ids(&[1]);
    let adds = [
        add("a.parquet", short.len(), json!({})),
        add("b.parquet", full.len(), json!({"modificationTime": 1})),
    ];
    store.place(&Path::from("table/a.parquet"), short).await;
    store.place(&Path::from("table/b.parquet"), full).await;
    let fields = json!([
        field("id", json!("integer")),
        field("b", json!("string")),
        field("n", json!("void"))
    ]);
    store
        .place(&commit_key(0), commit(&fields, &[], json!({}), &adds))
        .await;
    let table = open(&store).await.unwrap();
    let batches = table.snapshot().scan().collect().await.unwrap();
    assert_eq!(printed(&batches), ["1|null|null", "2|b|null"]);
}

/// Column Mapping, id mode: ids in the file decide, at every depth, whatever the names are.
#[tokio::test]
async fn columns_of_a_table_mapped_by_id_are_found_by_id() {
    let store = Faulty::default();
    let message = "message t { required int32 old = 7; optional group g = 3 { required int32 y = 5; required int32 x = 4; } required int32 gone = 9; }";
    let columns = vec![
        (Column::I32(vec![1]), (&[][..], &[][..])),
        (Column::I32(vec![10]), (&[1], &[])),
        (Column::I32(vec![20]), (&[1], &[])),
        (Column::I32(vec![99]), (&[], &[])),
    ];
    let bytes = written(message, columns, plain());
    let mapped = |name: &str, data_type: Value, id: i64| {
        json!({"name": name, "type": data_type, "nullable": true, "metadata": {
            "delta.columnMapping.id": id, "delta.columnMapping.physicalName": format!("phys-{id}"),
        }})
    };
    let inner = json!({"type": "struct", "fields": [mapped("x", json!("integer"), 4), mapped("new", json!("integer"), 6)]});
    // `old` is the physical name of nothing; the name `gone` is taken by a column that is newer than the file.
    let fields = json!([
        mapped("gone", json!("integer"), 12),
        mapped("renamed", json!("integer"), 7),
        mapped("g", inner, 3)
    ]);
    let adds = [add("f.parquet", bytes.len(), json!({}))];
    store.place(&Path::from("table/f.parquet"), bytes).await;
    let mode = json!({"delta.columnMapping.mode": "id", "delta.columnMapping.maxColumnId": "12"});
    store
        .place(&commit_key(0), commit(&fields, &[], mode, &adds))
        .await;
    let table = open(&store).await.unwrap();
    let batches = table.snapshot().scan().collect().await.unwrap();
    assert_eq!(printed(&batches), ["null|1|{x: 20, new: null}"]);
}

/// Absolute paths lead where the log says only if the reader has allowed it: for data files and deletion vectors.
#[tokio::test]
async fn absolute_paths_are_read_where_the_reader_allows_it() {
    let environment = Environment::system();
    let source = Storage::open("memory:///shapes/source", &environment).unwrap();
    let clone = Storage::open("memory:///shapes/clone", &environment).unwrap();
    let bytes = ids(&[1, 2, 3]);
    source
        .put("p=1/a b%41.parquet", bytes.clone().into())
        .await
        .unwrap();
    let vector = encode(&RoaringTreemap::from_iter([1]));
    let mut object = vec![1];
    object.extend(encode_frame(&vector).unwrap());
    source.put("vectors/v.bin", object.into()).await.unwrap();
    let vector = json!({
        "storageType": "p", "pathOrInlineDv": "memory:///shapes/source/vectors/v.bin", "offset": 1,
        "sizeInBytes": vector.len(), "cardinality": 1,
    });
    let path = "memory:///shapes/source/p=1/a%20b%2541.parquet";
    let adds = [add(path, bytes.len(), json!({ "deletionVector": vector }))];
    let fields = json!([field("id", json!("integer"))]);
    let text = commit(&fields, &[], json!({}), &adds);
    clone
        .put("_delta_log/00000000000000000000.json", text.into())
        .await
        .unwrap();
    let refused = Table::open_in(clone.clone(), environment.clone())
        .await
        .unwrap();
    let refused = refused.snapshot().scan().collect().await.unwrap_err();
    assert_eq!(
        (refused.kind(), refused.code()),
        (ErrorKind::Corrupt, Code::UnsafePath)
    );
    let elsewhere = Storage::open("memory:///shapes/sour", &environment).unwrap();
    let allowed = clone.clone().also_reads(elsewhere);
    let other = Table::open_in(allowed, environment.clone()).await.unwrap();
    assert_eq!(
        other.snapshot().scan().collect().await.unwrap_err().code(),
        Code::UnsafePath
    );
    let allowed = Table::open_in(clone.also_reads(source), environment)
        .await
        .unwrap();
    assert_eq!(
        printed(&allowed.snapshot().scan().collect().await.unwrap()),
        ["1", "3"]
    );
}

/// An absolute path into the table itself needs no leave; one into its log is none of data.
#[tokio::test]
async fn absolute_paths_into_the_table_itself_are_read() {
    let folder = tempfile("absolute");
    std::fs::create_dir_all(folder.join("_delta_log")).unwrap();
    let bytes = ids(&[4]);
    std::fs::write(folder.join("f.parquet"), &bytes).unwrap();
    let root = std::fs::canonicalize(&folder).unwrap();
    for (path, is_read) in [
        ("f.parquet", true),
        ("_delta_log/f.parquet", false),
        ("../f.parquet", false),
    ] {
        let adds = [add(
            &format!("file://{}/{path}", root.display()),
            bytes.len(),
            json!({}),
        )];
        let text = commit(
            &json!([field("id", json!("integer"))]),
            &[],
            json!({}),
            &adds,
        );
        std::fs::write(folder.join("_delta_log/00000000000000000000.json"), text).unwrap();
        let table = Table::open(root.to_str().unwrap()).await;
        let rows = match table {
            Ok(table) => table.snapshot().scan().collect().await,
            Err(error) => Err(error),
        };
        match is_read {
            true => assert_eq!(printed(&rows.unwrap()), ["4"]),
            false => assert_eq!(rows.unwrap_err().code(), Code::UnsafePath, "{path}"),
        }
    }
}

fn tempfile(name: &str) -> std::path::PathBuf {
    let place = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("shapes-{name}"));
    let _ = std::fs::remove_dir_all(&place);
    std::fs::create_dir_all(&place).unwrap();
    place
}

/// Partition values in the spellings that are out there, and the paths that writers make of them.
#[tokio::test]
async fn partition_values_are_read_from_the_log_in_every_spelling() {
    let cases = [
        ("integer", "007", "7"),
        ("integer", " 7 ", "7"),
        ("boolean", "TRUE", "true"),
        ("double", "1.0E-5", "0.00001"),
        ("double", "NaN", "NaN"),
        ("decimal(5,2)", "1.5", "1.50"),
        ("date", "2020-02-03", "2020-02-03"),
        (
            "timestamp",
            "2020-02-03 04:05:06.123456",
            "2020-02-03T04:05:06.123456Z",
        ),
        (
            "timestamp",
            "2020-02-03T04:05:06.000000Z",
            "2020-02-03T04:05:06Z",
        ),
        (
            "timestamp_ntz",
            "2020-02-03 04:05:06",
            "2020-02-03T04:05:06",
        ),
        ("timestamp_ntz", "2020-02-03", "2020-02-03T00:00:00"),
        ("string", "a b/c%20=d", "a b/c%20=d"),
        (
            "string",
            "__HIVE_DEFAULT_PARTITION__",
            "__HIVE_DEFAULT_PARTITION__",
        ),
        ("integer", "", "null"),
    ];
    for (data_type, value, expected) in cases {
        let store = Faulty::default();
        let bytes = ids(&[1]);
        // The directory says something else: only the log counts. It is Hive-escaped, then escaped as a URI.
        let adds = [add(
            "p=9%253A9/f.parquet",
            bytes.len(),
            json!({"partitionValues": {"p": value}}),
        )];
        let place = Path::parse("table/p=9%3A9/f.parquet").unwrap();
        store.place(&place, bytes).await;
        let fields = json!([field("id", json!("integer")), field("p", json!(data_type))]);
        store
            .place(&commit_key(0), commit(&fields, &["p"], json!({}), &adds))
            .await;
        let table = Table::open_in(storage(&store), Environment::system())
            .await
            .unwrap();
        let rows = table.snapshot().scan().collect().await.unwrap();
        assert_eq!(
            printed(&rows),
            [format!("1|{expected}")],
            "{data_type} {value}"
        );
    }
}

/// Bounds of 32-bit floats are text of 32 bits: read as 64 bits they would lose rows.
#[tokio::test]
async fn type_widening_keeps_bounds_of_floats_sound() {
    use headwater::predicate::col;
    let store = Faulty::default();
    let array: ArrayRef = Arc::new(Float32Array::from(vec![3.4_f32, 0.1]));
    let batch = RecordBatch::try_from_iter([("d", array)]).unwrap();
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let bytes = writer.into_inner().unwrap();
    let stats =
        r#"{"numRecords":2,"minValues":{"d":0.1},"maxValues":{"d":3.4},"nullCount":{"d":0}}"#;
    let adds = [add("f.parquet", bytes.len(), json!({ "stats": stats }))];
    store.place(&Path::from("table/f.parquet"), bytes).await;
    let fields = json!([{"name": "d", "type": "double", "nullable": true, "metadata": {
        "delta.typeChanges": [{"fromType": "float", "toType": "double"}],
    }}]);
    store
        .place(&commit_key(0), commit(&fields, &[], json!({}), &adds))
        .await;
    let table = open(&store).await.unwrap();
    let count = |rows: Vec<RecordBatch>| rows.iter().map(RecordBatch::num_rows).sum::<usize>();
    for condition in [
        col("d").gt(3.4),
        col("d").eq(f64::from(3.4_f32)),
        col("d").eq(f64::from(0.1_f32)),
    ] {
        let found = table
            .snapshot()
            .scan()
            .filter(condition.clone())
            .collect()
            .await
            .unwrap();
        assert_eq!(count(found), 1, "{condition:?}");
    }
}

/// Type Widening: the note of a change stands in the nearest field of a struct, wherever below it the type is.
#[tokio::test]
async fn types_are_widened_inside_structs_lists_and_maps() {
    use arrow_array::builder::{
        Float32Builder, Int16Builder, Int32Builder, ListBuilder, MapBuilder,
    };
    use headwater::arrow_array::{Int8Array, StructArray};
    let store = Faulty::default();
    let inner = StructArray::try_from(vec![(
        "x",
        Arc::new(Int8Array::from(vec![Some(-7), None])) as ArrayRef,
    )])
    .unwrap();
    let mut list = ListBuilder::new(Int16Builder::new());
    list.append_value([Some(300), None]);
    list.append_value([]);
    let mut map = MapBuilder::new(None, Int32Builder::new(), Float32Builder::new());
    map.keys().append_value(5);
    map.values().append_value(0.1);
    map.append(true).unwrap();
    map.append(false).unwrap();
    let rows = RecordBatch::try_from_iter_with_nullable([
        ("s", Arc::new(inner) as ArrayRef, true),
        ("l", Arc::new(list.finish()) as ArrayRef, true),
        ("m", Arc::new(map.finish()) as ArrayRef, true),
    ])
    .unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    let bytes = writer.into_inner().unwrap();
    let adds = [add("f.parquet", bytes.len(), json!({}))];
    store.place(&Path::from("table/f.parquet"), bytes).await;
    let widened = |name: &str, data_type: Value, changes: Value| json!({"name": name, "type": data_type, "nullable": true, "metadata": {"delta.typeChanges": changes}});
    let x = widened(
        "x",
        json!("long"),
        json!([{"fromType": "byte", "toType": "integer"}, {"fromType": "integer", "toType": "long"}]),
    );
    let fields = json!([
        field("s", json!({"type": "struct", "fields": [x]})),
        widened(
            "l",
            json!({"type": "array", "elementType": "double", "containsNull": true}),
            json!([{"fromType": "short", "toType": "double", "fieldPath": "element"}]),
        ),
        widened(
            "m",
            json!({
                "type": "map", "keyType": "decimal(12,1)", "valueType": "double", "valueContainsNull": true,
            }),
            json!([
                {"fromType": "integer", "toType": "decimal(12,1)", "fieldPath": "key"},
                {"fromType": "float", "toType": "double", "fieldPath": "value"},
            ]),
        ),
    ]);
    store
        .place(&commit_key(0), commit(&fields, &[], json!({}), &adds))
        .await;
    let table = open(&store).await.unwrap();
    let rows = table.snapshot().scan().collect().await.unwrap();
    assert_eq!(
        printed(&rows),
        [
            "{x: -7}|[300.0, null]|{5.0: 0.10000000149011612}",
            "{x: null}|[]|null"
        ]
    );
    use headwater::predicate::col;
    let found = table.snapshot().scan().filter(col("s.x").eq(-7_i64));
    assert_eq!(found.collect().await.unwrap()[0].num_rows(), 1);
}

/// A column that nobody can read does not hide the others.
#[tokio::test]
async fn a_column_of_an_unknown_type_is_refused_by_name_and_left_out_on_request() {
    let store = Faulty::default();
    let bytes = ids(&[1]);
    let adds = [add("f.parquet", bytes.len(), json!({}))];
    store.place(&Path::from("table/f.parquet"), bytes).await;
    let fields = json!([
        field("id", json!("integer")),
        field("odd", json!("quaternion"))
    ]);
    store
        .place(&commit_key(0), commit(&fields, &[], json!({}), &adds))
        .await;
    let table = open(&store).await.unwrap();
    let refused = table.snapshot().scan().collect().await.unwrap_err();
    assert_eq!(
        (refused.kind(), refused.context_value("column")),
        (ErrorKind::Unsupported, Some("odd"))
    );
    assert_eq!(
        printed(
            &table
                .snapshot()
                .scan()
                .select(["id"])
                .collect()
                .await
                .unwrap()
        ),
        ["1"]
    );
}
