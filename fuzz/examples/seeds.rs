//! Writes the seeds: one folder per target below `corpus`, and the data file that tables of other targets have.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{
    FixedSizeBinaryBuilder, Float32Builder, Int32Builder, ListBuilder, MapBuilder, StringBuilder,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array,
    Int16Array, Int64Array, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field};
use headwater::Table;
use headwater::protocol::action::DeletionVectorDescriptor;
use headwater::protocol::deletion_vector::{encode, inline_text};
use headwater_fuzz::{given, run, store, taken_apart};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion,
};
use serde_json::json;

const ROWS: usize = 9;

fn seed(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(name), bytes).expect("a file");
}

fn rows<T>(make: impl Fn(usize) -> T) -> impl Iterator<Item = Option<T>> {
    (0..ROWS).map(move |row| (row % 4 != 3).then(|| make(row)))
}

fn flat() -> Vec<(&'static str, ArrayRef)> {
    let ticks = |row: usize| 1_700_000_000_000_000 + row as i64;
    vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..ROWS as i64))),
        (
            "small",
            Arc::new(Int16Array::from_iter(rows(|row| row as i16))),
        ),
        (
            "flag",
            Arc::new(BooleanArray::from_iter(rows(|row| row % 2 == 0))),
        ),
        (
            "score",
            Arc::new(Float64Array::from_iter(rows(|row| row as f64 / 8.0))),
        ),
        (
            "text",
            Arc::new(StringArray::from_iter(rows(|row| {
                format!("text {}", row / 2)
            }))),
        ),
        (
            "bytes",
            Arc::new(BinaryArray::from_iter(rows(|row| vec![row as u8; row]))),
        ),
        (
            "day",
            Arc::new(Date32Array::from_iter(rows(|row| 18_000 + row as i32))),
        ),
        (
            "at",
            Arc::new(TimestampMicrosecondArray::from_iter(rows(ticks)).with_timezone("UTC")),
        ),
        (
            "local",
            Arc::new(TimestampMicrosecondArray::from_iter(rows(ticks))),
        ),
        (
            "price",
            Arc::new(
                Decimal128Array::from_iter(rows(|row| 150 * row as i128))
                    .with_precision_and_scale(12, 2)
                    .expect("a decimal"),
            ),
        ),
    ]
}

fn nested() -> Vec<(&'static str, ArrayRef)> {
    let mut tags = ListBuilder::new(StringBuilder::new());
    let mut points = ListBuilder::new(ListBuilder::new(Float32Builder::new()));
    let mut counts = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    for row in 0..ROWS {
        (0..row % 3).for_each(|tag| tags.values().append_value(format!("tag {tag}")));
        tags.append(row % 4 != 1);
        for _ in 0..row % 3 {
            points.values().values().append_value(row as f32);
            points.values().append(true);
        }
        points.append(true);
        if row % 2 == 0 {
            counts.keys().append_value("k");
            counts.values().append_value(row as i32);
        }
        counts.append(true).expect("as many keys as values");
    }
    let inner: Vec<(Arc<Field>, ArrayRef)> = vec![
        (
            Arc::new(Field::new("a", DataType::Int32, true)),
            Arc::new(arrow_array::Int32Array::from_iter(rows(|row| row as i32))),
        ),
        (
            Arc::new(Field::new("b", DataType::Utf8, true)),
            Arc::new(StringArray::from_iter(rows(|row| format!("b{row}")))),
        ),
    ];
    vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..ROWS as i64))),
        ("tags", Arc::new(tags.finish())),
        ("points", Arc::new(points.finish())),
        ("counts", Arc::new(counts.finish())),
        ("inner", Arc::new(StructArray::from(inner))),
    ]
}

fn variants(shredded: bool) -> Vec<(&'static str, ArrayRef)> {
    let metadata = [0x01, 0x01, 0x00, 0x01, b'a'];
    let value = [0x02, 0x01, 0x00, 0x00, 0x02, 0x0c, 0x07];
    let field = |name: &str, column: &ArrayRef| {
        Arc::new(Field::new(name, column.data_type().clone(), true))
    };
    let metadata: ArrayRef = Arc::new(BinaryArray::from_iter_values((0..ROWS).map(|_| metadata)));
    let values: ArrayRef = match shredded {
        false => Arc::new(BinaryArray::from_iter_values((0..ROWS).map(|_| value))),
        true => Arc::new(BinaryArray::from_iter(
            (0..ROWS).map(|row| (row % 2 == 0).then_some([0x0c, 0x07])),
        )),
    };
    let mut parts = vec![
        (field("metadata", &metadata), metadata),
        (field("value", &values), values),
    ];
    if shredded {
        let typed: ArrayRef = Arc::new(Int64Array::from_iter(
            (0..ROWS).map(|row| (row % 2 == 1).then_some(row as i64)),
        ));
        parts.push((field("typed_value", &typed), typed));
    }
    vec![("any", Arc::new(StructArray::from(parts)))]
}

fn fixed() -> Vec<(&'static str, ArrayRef)> {
    let mut list = ListBuilder::new(FixedSizeBinaryBuilder::new(16));
    for row in 0..ROWS {
        for _ in 0..row % 3 {
            list.values()
                .append_value([row as u8; 16])
                .expect("sixteen bytes");
        }
        list.append(row % 4 != 1);
    }
    vec![("ids", Arc::new(list.finish()))]
}

fn parquet(columns: Vec<(&'static str, ArrayRef)>, properties: WriterPropertiesBuilder) -> Vec<u8> {
    let columns = columns
        .into_iter()
        .map(|(name, column)| (name, column, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("a batch");
    let mut bytes = Vec::new();
    let properties = properties.set_created_by("seed".to_owned()).build();
    let options = parquet::arrow::arrow_writer::ArrowWriterOptions::new()
        .with_properties(properties)
        .with_skip_arrow_metadata(true);
    let mut writer =
        ArrowWriter::try_new_with_options(&mut bytes, batch.schema(), options).expect("a writer");
    writer.write(&batch).expect("rows");
    writer.close().expect("a file");
    bytes
}

fn plain() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
}

fn data_files() {
    let file = |name: &str,
                choice: u8,
                columns: Vec<(&'static str, ArrayRef)>,
                properties: WriterPropertiesBuilder| {
        let bytes = taken_apart(&parquet(columns, properties));
        seed(
            "data_parquet",
            name,
            &[&[choice], bytes.as_slice()].concat(),
        );
    };
    let paged = || {
        WriterProperties::builder()
            .set_data_page_row_count_limit(3)
            .set_write_batch_size(3)
            .set_max_row_group_row_count(Some(6))
    };
    let few = |names: &[&str]| {
        flat()
            .into_iter()
            .filter(|(name, _)| names.contains(name))
            .collect::<Vec<_>>()
    };
    file("flat", 0, flat(), plain());
    file("nested", 2, nested(), plain());
    file(
        "pages",
        4,
        few(&["id", "text"]),
        paged().set_compression(Compression::SNAPPY),
    );
    let old = plain().set_dictionary_enabled(false);
    file("no-dictionary", 1, few(&["id", "flag", "text"]), old);
    let new = plain()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_dictionary_enabled(false);
    file("version-2", 8, few(&["id", "flag", "text", "score"]), new);
    let delta = plain()
        .set_dictionary_enabled(false)
        .set_encoding(Encoding::DELTA_LENGTH_BYTE_ARRAY);
    file("lengths", 0x81, few(&["text", "bytes"]), delta);
    let zstd = plain().set_compression(Compression::ZSTD(Default::default()));
    file("zstd", 3, few(&["id", "price"]), zstd);
    file("variant", 0, variants(false), plain());
    file("shredded", 0, variants(true), plain());
    file("fixed", 0x80, fixed(), plain());
    let hundred: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100));
    let hundred = parquet(
        vec![("id", hundred)],
        plain()
            .set_dictionary_enabled(false)
            .set_encoding(Encoding::DELTA_BINARY_PACKED),
    );
    fs::write(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds/hundred.parquet"),
        hundred,
    )
    .expect("a file");
}

/// Checkpoints that this crate writes, and the log they are of.
fn checkpoints() {
    let bytes = run(async {
        let (storage, environment) = store();
        let metadata = given::metadata(
            &given::id_schema(),
            &[],
            &json!({"delta.checkpoint.writeStatsAsStruct": "true"}),
        );
        let mut add = given::add("f0", 10);
        add["add"]["stats"] = json!(
            r#"{"numRecords":3,"minValues":{"id":1},"maxValues":{"id":9},"nullCount":{"id":0}}"#
        );
        given::commit(
            &storage,
            0,
            &[given::protocol(), metadata, add, given::add("f1", 10)],
        )
        .await;
        let remove = json!({"remove": {"path": "f1", "deletionTimestamp": 1_700_000_000_000_i64, "dataChange": true}});
        let txn = json!({"txn": {"appId": "app", "version": 3}});
        let domain =
            json!({"domainMetadata": {"domain": "d", "configuration": "{}", "removed": false}});
        given::commit(&storage, 1, &[remove, txn, domain]).await;
        let table = Table::open_in(storage.clone(), environment)
            .await
            .expect("a table");
        table.checkpoint().await.expect("a checkpoint");
        storage
            .get("_delta_log/00000000000000000001.checkpoint.parquet")
            .await
            .expect("a checkpoint")
    });
    let file = taken_apart(&bytes);
    seed(
        "checkpoint_parquet",
        "classic",
        &[&[0], file.as_slice()].concat(),
    );
    seed(
        "checkpoint_parquet",
        "later",
        &[&[0x82], file.as_slice()].concat(),
    );
}

fn vectors() {
    for (name, rows) in [
        ("few", vec![0_u64, 3, 99]),
        ("runs", (10..90).collect()),
        ("far", vec![5, 1 << 33]),
    ] {
        let mut vector: roaring::RoaringTreemap = rows.iter().copied().collect();
        vector.optimize();
        let bytes = encode(&vector);
        let cardinality = rows.len() as u8;
        // Structured inputs: numbers first, lengths of texts at the end.
        seed(
            "dv_blob",
            name,
            &[&[cardinality, 0], bytes.as_slice()].concat(),
        );
        let text = inline_text(&bytes);
        let filling = (text.len() / 5 * 4 - bytes.len()) as u8;
        let mut input = vec![filling];
        input.extend((rows.len() as u32).to_le_bytes());
        input.extend(text.as_bytes());
        seed("dv_inline", name, &input);
        let _: DeletionVectorDescriptor = serde_json::from_value(json!({
            "storageType": "i", "pathOrInlineDv": text, "sizeInBytes": bytes.len(), "cardinality": rows.len(),
        }))
        .expect("a descriptor");
    }
}

fn texts() {
    let commit = given::lines(&[
        json!({"commitInfo": {"timestamp": 1, "operation": "WRITE", "operationParameters": {"mode": "Append"}, "txnId": "t"}}),
        given::protocol(),
        given::metadata(
            &given::id_schema(),
            &[],
            &json!({"delta.appendOnly": "false"}),
        ),
        json!({"add": {
            "path": "p=a%2520b/f.parquet", "partitionValues": {"p": "a b", "q": null}, "size": 1, "modificationTime": 2,
            "dataChange": true, "stats": "{\"numRecords\":1}", "tags": {"a": "b"}, "baseRowId": 0,
            "defaultRowCommitVersion": 1, "clusteringProvider": "x", "deletionVector": {
                "storageType": "u", "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^", "offset": 4, "sizeInBytes": 40, "cardinality": 6,
            },
        }}),
        json!({"remove": {"path": "g", "deletionTimestamp": 3, "dataChange": true, "extendedFileMetadata": true, "size": 4}}),
        json!({"cdc": {"path": "_change_data/c", "partitionValues": {}, "size": 5, "dataChange": false}}),
        json!({"txn": {"appId": "a", "version": 1, "lastUpdated": 2}}),
        json!({"domainMetadata": {"domain": "delta.x", "configuration": "{}", "removed": true}}),
    ]);
    seed("commit_json", "all", commit.as_bytes());
    seed("commit_line_structured", "some", &[1, 2, 3, 4].repeat(64));
    seed(
        "last_checkpoint",
        "plain",
        br#"{"version":1,"size":8,"parts":2,"sizeInBytes":100,"numOfAddFiles":2}"#,
    );
    let summed = br#"{"version":0,"size":6,"sizeInBytes":9889,"numOfAddFiles":2,"checksum":"00000000000000000000000000000000"}"#;
    seed("last_checkpoint", "checksum", summed);
    let metadata = &given::metadata(&given::id_schema(), &[], &json!({}))["metaData"];
    let sum = json!({
        "tableSizeBytes": 20, "numFiles": 2, "numMetadata": 1, "numProtocol": 1, "inCommitTimestampOpt": 5,
        "metadata": metadata, "protocol": given::protocol()["protocol"], "setTransactions": [], "domainMetadata": [],
    });
    seed("crc_file", "right", sum.to_string().as_bytes());
    seed("schema_string", "wide", given::wide_schema().as_bytes());
    let mapped = json!({"type": "struct", "fields": [{"name": "a", "type": "integer", "nullable": false, "metadata": {
        "delta.columnMapping.id": 1, "delta.columnMapping.physicalName": "c-1",
        "delta.typeChanges": [{"fromType": "short", "toType": "integer", "fieldPath": "element"}],
    }}]});
    seed("schema_string", "mapped", mapped.to_string().as_bytes());
    for (name, text) in [
        ("number", "12.50"),
        ("time", "2013-06-30 12:00:00.123456"),
        ("date", "2013-06-30"),
    ] {
        for kind in [1_u8, 6, 9, 10, 12] {
            seed(
                "partition_value",
                &format!("{name}-{kind}"),
                &[&[kind, 50], text.as_bytes()].concat(),
            );
        }
    }
    for (name, text) in [
        ("relative", "p=a%253Ab/x%20y.parquet"),
        ("up", "p=1/%2e%2e/%2e%2e/secret"),
        ("absolute", "file:///data/table/f.parquet"),
        ("bucket", "s3a://bucket/table/f.parquet"),
    ] {
        seed("path_safety", name, text.as_bytes());
    }
    for (name, text) in [
        ("commit", "00000000000000000010.json"),
        ("classic", "00000000000000000010.checkpoint.parquet"),
        (
            "multi",
            "00000000000000000010.checkpoint.0000000001.0000000002.parquet",
        ),
        (
            "uuid",
            "00000000000000000010.checkpoint.0e42c15b-17cc-4918-990d-2ff76e918e4d.json",
        ),
        (
            "compacted",
            "00000000000000000004.00000000000000000006.compacted.json",
        ),
        ("checksum", "00000000000000000010.crc"),
    ] {
        seed("log_file_name", name, text.as_bytes());
    }
    let properties = "delta.appendOnly=true\ndelta.checkpointInterval=10\ndelta.deletedFileRetentionDuration=interval 7 days\n\
        delta.columnMapping.mode=name\ndelta.dataSkippingStatsColumns=a,`b c`\nother=1\n";
    seed("config_properties", "some", properties.as_bytes());
    for (name, text) in [
        ("compare", "a > 3 AND NOT (b LIKE 'x%' OR c <= 1.5e0)"),
        (
            "list",
            "d IN (DATE '2013-06-30', NULL) AND h BETWEEN 1.50 AND 2",
        ),
        (
            "case",
            "CASE WHEN f THEN a ELSE i END + 1 = COALESCE(i, 7) AND X'00FF' = g",
        ),
        (
            "call",
            "SUBSTRING(UPPER(b), 1, 2) || 'x' <=> CAST(a AS STRING) AND YEAR(d) % 4 = 0",
        ),
        (
            "time",
            "e < TIMESTAMP '2013-06-30T12:00:00Z' AND DATE_TRUNC('month', e) IS NOT NULL",
        ),
    ] {
        seed("predicate_parse", name, text.as_bytes());
    }
    seed("stats_vs_prune", "some", &(0..=255_u8).collect::<Vec<_>>());
    seed(
        "variant",
        "object",
        &[
            5, 1, 1, 0, 1, b'a', 0x02, 0x01, 0x00, 0x00, 0x02, 0x0c, 0x07,
        ],
    );
    seed(
        "variant",
        "array",
        &[3, 1, 0, 0, 0x03, 2, 0, 2, 5, 0x0c, 0x07, 0x09, b'h', b'i'],
    );
    let state = r#"{"hw_feed":1,"plan":"0123456789abcdef0123456789abcdef","table":"01234567","version":3,"rows":"89abcdef","order":[17,8,16,4096],"epoch":1,"pos":100,"sum":"00000000"}"#;
    seed("feed_state", "broken-sum", state.as_bytes());
    for (name, text) in [("through", "12"), ("commit", "12+3"), ("initial", "12@3")] {
        seed(
            "cursor",
            name,
            &[&[9, 0, 0, 0, 0, 0, 0, 0], text.as_bytes()].concat(),
        );
    }
    logs(&commit);
}

fn logs(commit: &str) {
    let first = given::lines(&[
        given::protocol(),
        given::metadata(&given::id_schema(), &[], &json!({})),
        given::add("f0", 400),
        given::add("f1", 400),
    ]);
    let second = given::lines(&[
        json!({"remove": {"path": "f0", "dataChange": true}}),
        given::add("f2", 400),
    ]);
    let log = format!("== {:020}.json\n{first}== {:020}.json\n{second}", 0, 1);
    seed("log_dir", "two", log.as_bytes());
    seed(
        "log_dir",
        "hint",
        format!("{log}== _last_checkpoint\n{{\"version\":1,\"size\":4}}\n").as_bytes(),
    );
    let v2 = given::lines(&[json!({"checkpointMetadata": {"version": 0}})]) + &first;
    let json = format!(
        "== {:020}.checkpoint.0e42c15b-17cc-4918-990d-2ff76e918e4d.json\n{v2}== {:020}.json\n{second}",
        0, 1
    );
    seed("log_dir", "checkpoint", json.as_bytes());
    let sums = format!(
        "== {:020}.json\n{commit}== {:020}.crc\n{{\"numFiles\":1}}\n",
        0, 0
    );
    seed("log_dir", "crc", sums.as_bytes());
    for (name, step) in [
        ("decisions-1", 7_u8),
        ("decisions-2", 31),
        ("decisions-3", 101),
    ] {
        let bytes: Vec<u8> = (0..160_u8)
            .map(|at| at.wrapping_mul(step).wrapping_add(step / 3))
            .collect();
        seed("log_dir", name, &bytes);
    }
}

fn main() {
    data_files();
    checkpoints();
    vectors();
    texts();
}
