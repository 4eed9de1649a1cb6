use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, LargeStringArray, StringArray, StringViewArray,
    TimestampMicrosecondArray,
};
use serde_json::Value;

use crate::error::ErrorKind;
use crate::feed::split::columns::hash_rows;
use crate::feed::split::{HashSplit, buckets};
use crate::protocol::schema::{DataType, Field, Schema};

const SPARK: &str = include_str!("../../../tests/vectors/xxhash64.ndjson");

/// What stands between the first two quotes.
fn quoted(sql: &str) -> &str {
    sql.split('\'').nth(1).unwrap()
}

fn days(text: &str) -> i32 {
    let date: chrono::NaiveDate = text.parse().unwrap();
    let epoch = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
    (date - epoch).num_days() as i32
}

fn micros(text: &str) -> i64 {
    let time = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").unwrap();
    time.and_utc().timestamp_micros()
}

/// The value of a line, from its type and its SQL or its text.
fn value(kind: &str, sql: &str, text: Option<&str>) -> ArrayRef {
    let text = || text.unwrap_or(sql);
    match kind {
        "int" => Arc::new(Int32Array::from(vec![sql.parse::<i32>().unwrap()])),
        "bigint" => Arc::new(Int64Array::from(vec![sql.parse::<i64>().unwrap()])),
        "smallint" => Arc::new(Int16Array::from(vec![sql.parse::<i16>().unwrap()])),
        "tinyint" => Arc::new(Int8Array::from(vec![sql.parse::<i8>().unwrap()])),
        "boolean" => Arc::new(BooleanArray::from(vec![sql == "true"])),
        "string" => Arc::new(StringArray::from(vec![text()])),
        "binary" => Arc::new(BinaryArray::from_vec(vec![&bytes(sql)])),
        "date" => Arc::new(Date32Array::from(vec![days(quoted(sql))])),
        "timestamp" | "timestamp_ntz" => {
            Arc::new(TimestampMicrosecondArray::from(vec![micros(quoted(sql))]))
        }
        "double" => Arc::new(Float64Array::from(vec![text().parse::<f64>().unwrap()])),
        "float" => {
            // The text of float(-0.0) lost its sign.
            let negative = sql.contains("-0.0");
            let value = text().parse::<f32>().unwrap();
            Arc::new(Float32Array::from(vec![if negative {
                -value
            } else {
                value
            }]))
        }
        decimal => {
            let (precision, scale) = decimal
                .trim_start_matches("decimal(")
                .trim_end_matches(')')
                .split_once(',')
                .unwrap();
            let unscaled: i128 = text().replace('.', "").parse().unwrap();
            let array = Decimal128Array::from(vec![unscaled]);
            let (precision, scale) = (precision.parse().unwrap(), scale.parse().unwrap());
            Arc::new(array.with_precision_and_scale(precision, scale).unwrap())
        }
    }
}

fn bytes(sql: &str) -> Vec<u8> {
    if sql.starts_with("cast(repeat(") {
        return vec![b'q'; 64];
    }
    let hex = quoted(sql);
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

/// A column of a line with several, which name their types in SQL.
fn column(sql: &str) -> ArrayRef {
    match sql {
        "cast(null as int)" => Arc::new(Int32Array::from(vec![None])),
        "cast(null as string)" => Arc::new(StringArray::from(vec![None::<&str>])),
        _ if sql.starts_with("cast(") => {
            let inner = sql.trim_start_matches("cast(").trim_end_matches(')');
            let (value_text, kind) = inner.split_once(" as ").unwrap();
            value(kind, value_text, None)
        }
        _ if sql.starts_with("date'") => value("date", sql, None),
        _ => value("string", sql, Some(quoted(sql))),
    }
}

#[test]
fn hashes_are_those_of_spark() {
    let mut compared = 0;
    for line in SPARK.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let columns = line["columns"].as_array().unwrap();
        let columns: Vec<ArrayRef> = columns
            .iter()
            .map(|described| {
                let sql = described["sql"].as_str().unwrap();
                match described["type"].as_str() {
                    Some(kind) => value(kind, sql, line["text"].as_str()),
                    None => column(sql),
                }
            })
            .collect();
        let hash = hash_rows(&columns, 1).unwrap()[0].cast_signed();
        assert_eq!(Some(hash), line["xxhash64"].as_i64(), "{line}");
        let bucket = buckets(&columns, 1).unwrap()[0];
        assert_eq!(Some(u64::from(bucket)), line["bucket_of_10000"].as_u64());
        compared += 1;
    }
    assert_eq!(compared, 55);
}

#[test]
fn text_hashes_alike_in_every_layout() {
    let words = [
        "",
        "a",
        "headwater",
        "a text that is longer than thirty-two bytes",
    ];
    let plain: ArrayRef = Arc::new(StringArray::from_iter_values(words));
    let large: ArrayRef = Arc::new(LargeStringArray::from_iter_values(words));
    let view: ArrayRef = Arc::new(StringViewArray::from_iter_values(words));
    let expected = hash_rows(&[plain], 4).unwrap();
    assert_eq!(hash_rows(&[large], 4).unwrap(), expected);
    assert_eq!(hash_rows(&[view], 4).unwrap(), expected);
}

#[test]
fn parts_cover_all_buckets_and_do_not_overlap() {
    let split = HashSplit::by(["k"], [("train", 70), ("valid", 20), ("test", 7)]).unwrap();
    let parts = ["train", "valid", "test"].map(|name| split.part(name).unwrap());
    for bucket in 0..10_000 {
        assert_eq!(parts.iter().filter(|part| part.has(bucket)).count(), 1);
    }
    let rest = split.all_but("valid").unwrap();
    for bucket in 0..10_000 {
        assert_ne!(rest.has(bucket), parts[1].has(bucket));
    }
}

#[test]
fn parts_that_make_no_sense_are_refused() {
    let none: [(&str, u32); 0] = [];
    assert!(HashSplit::by(["k"], none).is_err());
    assert!(HashSplit::by(Vec::<String>::new(), [("a", 1)]).is_err());
    assert!(HashSplit::by(["k"], [("a", 1), ("a", 1)]).is_err());
    assert!(HashSplit::by(["k"], [("a", 1_000_000), ("b", 1)]).is_err());
    assert!(HashSplit::by(["k"], [("a", 0)]).is_err());
    let split = HashSplit::by(["k"], [("a", 1)]).unwrap();
    assert_eq!(split.part("b").unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn keys_that_spark_hashes_by_parts_are_refused_by_name() {
    let list = DataType::array(DataType::LONG, true);
    let schema = Schema::new([Field::new("k", list, true)]).unwrap();
    let part = HashSplit::by(["k"], [("a", 1)]).unwrap().part("a").unwrap();
    let refused = part.fields(&schema).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert_eq!(refused.context_value("column"), Some("k"));
    let unknown = HashSplit::by(["no"], [("a", 1)])
        .unwrap()
        .part("a")
        .unwrap();
    assert_eq!(
        unknown.fields(&schema).unwrap_err().kind(),
        ErrorKind::Invalid
    );
}

#[test]
fn the_sql_of_a_part_quotes_its_columns() {
    let split = HashSplit::by(["a`b", "c"], [("one", 1), ("two", 1)]).unwrap();
    assert_eq!(
        split.sql("two").unwrap(),
        "pmod(xxhash64(`a``b`, `c`), 10000) BETWEEN 5000 AND 9999"
    );
}
