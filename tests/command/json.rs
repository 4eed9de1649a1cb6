//! What `scan --format ndjson` prints can be appended and gives the same rows back; what would not is refused.

use std::fmt::Write;
use std::fs;
use std::sync::Arc;

use headwater::arrow_array::{ArrayRef, BinaryArray, RecordBatch, StructArray};
use headwater::arrow_schema::{DataType, Field};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use crate::{Folder, done, failed};

/// Columns of every type that can be written.
fn schema() -> Value {
    let field = |name: &str, data_type: Value| json!({"name": name, "type": data_type, "nullable": true, "metadata": {}});
    let simple = [
        "byte",
        "short",
        "integer",
        "long",
        "float",
        "double",
        "boolean",
        "string",
        "binary",
        "date",
        "timestamp",
        "timestamp_ntz",
        "decimal(10,2)",
        "decimal(38,10)",
        "decimal(5,0)",
    ];
    let mut fields: Vec<Value> = simple
        .iter()
        .enumerate()
        .map(|(number, name)| field(&format!("c{number}"), json!(name)))
        .collect();
    let list =
        |element: Value| json!({"type": "array", "elementType": element, "containsNull": true});
    let map = |key: &str, value: Value| json!({"type": "map", "keyType": key, "valueType": value, "valueContainsNull": true});
    let inner = json!({"type": "struct", "fields": [
        field("a", json!("long")), field("b", json!("binary")), field("c", list(json!("timestamp"))),
    ]});
    fields.push(field("inner", inner.clone()));
    fields.push(field("list", list(list(json!("double")))));
    fields.push(field("structs", list(inner.clone())));
    fields.push(field("map", map("string", json!("decimal(10,2)"))));
    fields.push(field("by_number", map("long", inner)));
    json!({"type": "struct", "fields": fields})
}

/// Values of a column of a type, as they are printed.
fn value(data_type: &Value, draw: &mut impl FnMut(u64) -> u64) -> Value {
    if draw(6) == 0 {
        return Value::Null;
    }
    let Some(name) = data_type.as_str() else {
        return nested(data_type, draw);
    };
    let mut pick = |values: &[Value]| values[draw(values.len() as u64) as usize].clone();
    match name {
        "byte" => pick(&[json!(-128), json!(0), json!(127)]),
        "short" => pick(&[json!(-32768), json!(7), json!(32767)]),
        "integer" => pick(&[json!(i32::MIN), json!(-1), json!(i32::MAX)]),
        "long" => pick(&[
            json!(i64::MIN),
            json!(9_007_199_254_740_993_i64),
            json!(i64::MAX),
        ]),
        "float" => pick(&[
            json!(f64::from(0.1_f32)),
            json!("NaN"),
            json!("Infinity"),
            json!("-Infinity"),
            json!(-0.0),
            json!(f64::from(f32::MAX)),
            json!(f64::from(f32::MIN_POSITIVE)),
            json!(16_777_216.0),
        ]),
        "double" => pick(&[
            json!(0.1),
            json!("NaN"),
            json!("Infinity"),
            json!("-Infinity"),
            json!(-0.0),
            json!(f64::MAX),
            json!(5e-324),
            json!(1e23),
            json!(123_456_789_012_345_680_000.0),
            json!(9_007_199_254_740_992.0),
        ]),
        "boolean" => pick(&[json!(true), json!(false)]),
        "string" => pick(&[
            json!(""),
            json!("null"),
            json!("a \"quoted\" text\\"),
            json!("line\nand\ttab\u{0}"),
            json!("\u{1F30A}\u{e9}"),
        ]),
        "binary" => pick(&[
            json!(""),
            json!("AA=="),
            json!("abcd"),
            json!("/+8="),
            json!("3q2+7w=="),
        ]),
        "date" => pick(&[
            json!("1970-01-01"),
            json!("0001-01-01"),
            json!("9999-12-31"),
            json!("2000-02-29"),
        ]),
        "timestamp" => pick(&[
            json!("1969-12-31T23:59:59.999999Z"),
            json!("2013-06-30T12:00:00.000001Z"),
            json!("0001-01-01T00:00:00.000000Z"),
            json!("9999-12-31T23:59:59.999999Z"),
        ]),
        "timestamp_ntz" => pick(&[
            json!("2013-06-30T12:00:00.100000"),
            json!("1582-10-10T00:00:00.000000"),
        ]),
        "decimal(10,2)" => pick(&[json!("99999999.99"), json!("-0.01"), json!("1.50")]),
        "decimal(38,10)" => pick(&[
            json!("9999999999999999999999999999.9999999999"),
            json!("-0.0000000001"),
        ]),
        "decimal(5,0)" => pick(&[json!("-99999"), json!("0")]),
        other => panic!("{other}"),
    }
}

fn nested(data_type: &Value, draw: &mut impl FnMut(u64) -> u64) -> Value {
    let count = draw(4);
    match data_type["type"].as_str().unwrap() {
        "struct" => {
            let fields = data_type["fields"].as_array().unwrap();
            let fields = fields.iter().map(|field| {
                let name = field["name"].as_str().unwrap().to_owned();
                (name, value(&field["type"], draw))
            });
            Value::Object(fields.collect())
        }
        "array" => (0..count)
            .map(|_| value(&data_type["elementType"], draw))
            .collect(),
        "map" => {
            let keys = (0..count).map(|key| match data_type["keyType"].as_str() {
                Some("long") => json!(key),
                _ => json!(format!("key {key}")),
            });
            let entries =
                keys.map(|key| json!({"key": key, "value": value(&data_type["valueType"], draw)}));
            entries.collect()
        }
        other => panic!("{other}"),
    }
}

/// The same rows, whatever is in them; and what was printed is what was appended, value by value.
#[test]
fn what_is_printed_can_be_appended_and_gives_the_same_rows() {
    let folder = Folder::new("round-trip");
    let file = folder.file("schema.json", &schema().to_string());
    let mut random = 2_013_u64;
    let mut draw = |below: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let fields = schema()["fields"].as_array().unwrap().clone();
    let mut lines = String::new();
    for _ in 0..400 {
        let row = fields.iter().map(|field| {
            let name = field["name"].as_str().unwrap().to_owned();
            (name, value(&field["type"], &mut draw))
        });
        writeln!(lines, "{}", Value::Object(row.collect())).unwrap();
    }
    let mut printed = vec![lines];
    for round in 0..2 {
        let table = folder.path(&format!("table-{round}"));
        done(&[
            "create",
            &table,
            "--schema",
            &file,
            "--feature",
            "timestampNtz",
        ]);
        let rows = folder.file("rows.ndjson", printed.last().unwrap());
        done(&["append", &table, &rows]);
        printed.push(done(&["scan", &table, "--format", "ndjson"]));
    }
    let parsed = |text: &str| -> Vec<Value> {
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let [given, first, second] = printed.try_into().unwrap();
    for (given, first) in parsed(&given).iter().zip(parsed(&first)) {
        assert_eq!(*given, first);
    }
    assert_eq!(parsed(&given).len(), 400);
    assert_eq!(first, second);
}

#[test]
fn a_value_that_its_column_does_not_hold_is_refused() {
    let folder = Folder::new("refused");
    let file = folder.file("schema.json", &schema().to_string());
    let table = folder.path("table");
    done(&[
        "create",
        &table,
        "--schema",
        &file,
        "--feature",
        "timestampNtz",
    ]);
    let refused = [
        (r#"{"c3":1.9}"#, "c3"),
        (r#"{"c3":9223372036854775808}"#, "c3"),
        (r#"{"c3":true}"#, "c3"),
        (r#"{"c0":128}"#, "c0"),
        (r#"{"c4":16777217}"#, "c4"),
        (r#"{"c4":1e39}"#, "c4"),
        (r#"{"c5":9007199254740993}"#, "c5"),
        (r#"{"c5":9007199254740993.0}"#, "c5"),
        (r#"{"c5":1e400}"#, "c5"),
        (r#"{"c5":"nan"}"#, "c5"),
        (r#"{"c6":1}"#, "c6"),
        (r#"{"c7":1}"#, "c7"),
        (r#"{"c8":"abc"}"#, "c8"),
        (r#"{"c9":"2013-06-30T12:00:00Z"}"#, "c9"),
        (r#"{"c9":"2013-02-30"}"#, "c9"),
        (r#"{"c10":"2013-06-30T12:00:00.0000001Z"}"#, "c10"),
        (r#"{"c10":"2013-06-30T12:00:60Z"}"#, "c10"),
        (r#"{"c11":"2013-06-30T12:00:00Z"}"#, "c11"),
        (r#"{"c12":"1.234"}"#, "c12"),
        (r#"{"c12":"123456789.00"}"#, "c12"),
        (r#"{"inner":{"a":0.5}}"#, "inner"),
        (r#"{"inner":{"a":1,"surprise":2}}"#, "surprise"),
        (r#"{"inner":{"a":1,"a":2}}"#, "twice"),
        (r#"{"list":[[1],2]}"#, "list"),
        (r#"{"map":[{"key":"a"}]}"#, "map"),
        (r#"{"map":[{"key":null,"value":null}]}"#, "map"),
        ("[1]", "object"),
        (r#"{"c3":1"#, "JSON"),
        (r#"{"c3":1} {"c3":2}"#, "JSON"),
    ];
    for (line, word) in refused {
        let rows = folder.file("wrong.ndjson", &format!("{{}}\n\n{line}\n"));
        let error = failed(&["append", &table, &rows]);
        assert!(error.contains(word), "{line}: {error}");
        let names_line = error.contains("line 3") || error.contains("line 1");
        assert!(
            names_line && error.contains("wrong.ndjson"),
            "{line}: {error}"
        );
    }
    assert_eq!(done(&["scan", &table, "--format", "ndjson"]), "");
}

#[test]
fn other_spellings_of_the_same_value_are_that_value() {
    let folder = Folder::new("spellings");
    let file = folder.file("schema.json", &schema().to_string());
    let table = folder.path("table");
    done(&[
        "create",
        &table,
        "--schema",
        &file,
        "--feature",
        "timestampNtz",
    ]);
    let lines = concat!(
        r#"{"c3":9007199254740993.0,"c5":1,"c10":"2013-06-30T14:00:00+02:00","c12":1.5,"c11":"2013-06-30 12:00:00"}"#,
        "\n",
        r#"{"c3":1e3,"c5":"2.5","c10":"2013-06-30","c12":-1e2,"c4":0.1}"#,
        "\n",
    );
    done(&["append", &table, &folder.file("rows.ndjson", lines)]);
    let select = "c3,c4,c5,c10,c11,c12";
    let printed = done(&["scan", &table, "--select", select]);
    let expected = concat!(
        r#"{"c3":9007199254740993,"c4":null,"c5":1.0,"c10":"2013-06-30T12:00:00.000000Z","c11":"2013-06-30T12:00:00.000000","c12":"1.50"}"#,
        "\n",
        r#"{"c3":1000,"c4":0.10000000149011612,"c5":2.5,"c10":"2013-06-30T00:00:00.000000Z","c11":null,"c12":"-100.00"}"#,
        "\n",
    );
    assert_eq!(printed, expected);
}

/// A table as another engine would write it, with a column of variants that are texts.
fn variants(folder: &Folder, texts: &[&str]) -> String {
    let values = texts.iter().map(|text| {
        // A short string: its length and its kind, then its bytes.
        let header = u8::try_from(text.len() << 2 | 1).unwrap();
        [&[header], text.as_bytes()].concat()
    });
    let values = BinaryArray::from_iter_values(values);
    let metadata = BinaryArray::from_iter_values(texts.iter().map(|_| [1, 0, 0]));
    let field = |name: &str| Arc::new(Field::new(name, DataType::Binary, false));
    let variant = StructArray::from(vec![
        (field("metadata"), Arc::new(metadata) as ArrayRef),
        (field("value"), Arc::new(values) as ArrayRef),
    ]);
    let batch = RecordBatch::try_from_iter([("v", Arc::new(variant) as ArrayRef)]).unwrap();
    let table = folder.0.join("variants");
    fs::create_dir_all(table.join("_delta_log")).unwrap();
    let file = fs::File::create(table.join("a.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let size = fs::metadata(table.join("a.parquet")).unwrap().len();
    let schema = json!({"type": "struct", "fields": [{"name": "v", "type": "variant", "nullable": true, "metadata": {}}]});
    let actions = [
        json!({"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["variantType"],
            "writerFeatures": ["variantType"]}}),
        json!({"metaData": {"id": "variants", "format": {"provider": "parquet", "options": {}},
            "schemaString": schema.to_string(), "partitionColumns": [], "configuration": {}}}),
        json!({"add": {"path": "a.parquet", "partitionValues": {}, "size": size, "modificationTime": 0, "dataChange": true}}),
    ];
    let lines: String = actions.iter().map(|action| format!("{action}\n")).collect();
    fs::write(table.join("_delta_log/00000000000000000000.json"), lines).unwrap();
    table.to_str().unwrap().to_owned()
}

/// CSV shows of a variant what JSON shows: its quotes say that it is a text.
#[test]
fn variants_in_csv_are_the_json_that_they_hold() {
    let folder = Folder::new("variants");
    let table = variants(&folder, &["plain", "ends in \"quotes\"", "1"]);
    let printed = done(&["scan", &table, "--format", "ndjson"]);
    let expected = concat!(
        "{\"v\":\"plain\"}\n",
        "{\"v\":\"ends in \\\"quotes\\\"\"}\n",
        "{\"v\":\"1\"}\n"
    );
    assert_eq!(printed, expected);
    let csv = done(&["scan", &table, "--format", "csv"]);
    let expected = concat!(
        "v\n",
        "\"\"\"plain\"\"\"\n",
        "\"\"\"ends in \\\"\"quotes\\\"\"\"\"\"\n",
        "\"\"\"1\"\"\"\n"
    );
    assert_eq!(csv, expected);
}
