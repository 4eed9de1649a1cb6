//! Bounds that we write, beside those that Spark writes for the same value.

use std::cmp::Ordering;
use std::sync::Arc;

use headwater::Table;
use headwater::arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use headwater::environment::Environment;
use headwater::protocol::schema::{DataType, Field, PrimitiveType, Schema};
use headwater::protocol::value::Scalar;
use serde_json::Value as Json;

use crate::support::store::Faulty;
use crate::support::{commit_key, storage};

/// What Spark writes as the bounds of a file of one value.
const VECTORS: &str = include_str!("../../vectors/statistics.ndjson");

/// The text between two marks.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let inner = text
        .strip_prefix(start)
        .and_then(|rest| rest.strip_suffix(end));
    inner.unwrap_or_else(|| panic!("{text} is not {start}..{end}"))
}

/// A float as Spark's SQL has it: `1.5D`, `double('NaN')`, `float(0.1)`.
fn float<T: std::str::FromStr>(text: &str, name: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    let text = text.trim_end_matches('D');
    let text = match text.strip_prefix(name) {
        Some(inner) => between(inner, "(", ")").trim_matches('\''),
        None => text,
    };
    text.parse().unwrap()
}

fn micros(text: &str) -> i64 {
    let format = "%Y-%m-%d %H:%M:%S%.f";
    let time = chrono::NaiveDateTime::parse_from_str(text, format).unwrap();
    time.and_utc().timestamp_micros()
}

/// The type, and a column of the one value.
fn column(ty: &str, value: &str) -> (PrimitiveType, ArrayRef) {
    match ty {
        "string" => (
            PrimitiveType::String,
            Arc::new(StringArray::from(vec![value])),
        ),
        "bigint" => (
            PrimitiveType::Long,
            Arc::new(Int64Array::from(vec![value.parse::<i64>().unwrap()])),
        ),
        "boolean" => (
            PrimitiveType::Boolean,
            Arc::new(BooleanArray::from(vec![value == "true"])),
        ),
        "double" => (
            PrimitiveType::Double,
            Arc::new(Float64Array::from(vec![float::<f64>(value, "double")])),
        ),
        "float" => (
            PrimitiveType::Float,
            Arc::new(Float32Array::from(vec![float::<f32>(value, "float")])),
        ),
        "binary" => {
            let hex = between(value, "x'", "'");
            let bytes = (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
            let bytes: Vec<u8> = bytes.collect();
            (
                PrimitiveType::Binary,
                Arc::new(BinaryArray::from_vec(vec![&bytes])),
            )
        }
        "date" => {
            let date: chrono::NaiveDate = between(value, "date'", "'").parse().unwrap();
            let days = (date - chrono::NaiveDate::default()).num_days() as i32;
            (PrimitiveType::Date, Arc::new(Date32Array::from(vec![days])))
        }
        "timestamp" => {
            let times = vec![micros(between(value, "timestamp'", "'"))];
            (
                PrimitiveType::Timestamp,
                Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")),
            )
        }
        "timestamp_ntz" => {
            let times = vec![micros(between(value, "timestamp_ntz'", "'"))];
            (
                PrimitiveType::TimestampNtz,
                Arc::new(TimestampMicrosecondArray::from(times)),
            )
        }
        decimal => {
            let (precision, scale) = between(decimal, "decimal(", ")").split_once(',').unwrap();
            let (precision, scale) = (precision.parse().unwrap(), scale.parse::<u8>().unwrap());
            let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
            let unscaled: i128 = format!("{whole}{fraction:0<0$}", usize::from(scale))
                .parse()
                .unwrap();
            let array = Decimal128Array::from(vec![unscaled]);
            let array = array
                .with_precision_and_scale(precision, scale as i8)
                .unwrap();
            (PrimitiveType::Decimal { precision, scale }, Arc::new(array))
        }
    }
}

/// A bound as the vectors have it, as the JSON that stands in the log.
fn json_of(bound: &Json) -> Option<String> {
    match bound {
        Json::Null => None,
        Json::Object(number) => Some(number["number"].as_str().unwrap().to_owned()),
        text => Some(text.to_string()),
    }
}

/// The statistics of a table of this one value, as they stand in the commit.
async fn written(ty: &PrimitiveType, array: ArrayRef) -> Json {
    let store = Faulty::default();
    let schema = Schema::new([
        Field::new("id", DataType::LONG, true),
        Field::new("v", DataType::Primitive(ty.clone()), true),
    ]);
    let table = Table::create_in(storage(&store), Environment::system(), schema.unwrap());
    let batch = RecordBatch::try_from_iter([("v", array)]).unwrap();
    table.await.unwrap().append(batch).await.unwrap();
    let commit = store.bytes(&commit_key(1)).await;
    let lines = std::str::from_utf8(&commit).unwrap().lines();
    let lines = lines.map(|line| serde_json::from_str::<Json>(line).unwrap());
    let adds: Vec<Json> = lines.filter(|line| line.get("add").is_some()).collect();
    assert_eq!(adds.len(), 1);
    // Numbers are kept as text: 38 digits do not fit a float.
    let stats = adds[0]["add"]["stats"].as_str().unwrap();
    let stats: std::collections::BTreeMap<String, Box<serde_json::value::RawValue>> =
        serde_json::from_str(stats).unwrap();
    let part = |name: &str| -> Json {
        let columns: std::collections::BTreeMap<String, Box<serde_json::value::RawValue>> =
            serde_json::from_str(stats[name].get()).unwrap();
        columns
            .get("v")
            .map_or(Json::Null, |bound| bound.get().into())
    };
    serde_json::json!({
        "numRecords": stats["numRecords"].get(),
        "min": part("minValues"), "max": part("maxValues"), "nullCount": part("nullCount"),
    })
}

fn is_within(low: &Scalar, high: &Scalar) -> bool {
    matches!(low.compare(high), Some(Ordering::Less | Ordering::Equal))
}

#[tokio::test]
async fn bounds_are_sound_and_as_tight_as_those_of_spark_that_are_sound() {
    let (mut lines, mut bounds, mut unsound) = (0, 0, 0);
    for line in VECTORS.lines() {
        let vector: Json = serde_json::from_str(line).unwrap();
        let (ty, array) = column(
            vector["type"].as_str().unwrap(),
            vector["value"].as_str().unwrap(),
        );
        let value = Scalar::from_array(&array, 0).unwrap();
        let ours = written(&ty, array).await;
        let read = |json: &str| {
            let bound = Scalar::from_statistics(json, &ty);
            bound.unwrap_or_else(|| panic!("{json} is no bound, for {line}"))
        };
        assert_eq!(
            (ours["numRecords"].as_str(), ours["nullCount"].as_str()),
            (Some("1"), Some("0"))
        );
        for (side, of_spark) in [("min", &vector["min"]), ("max", &vector["max"])] {
            let holds = |bound: &Scalar| match side {
                "min" => is_within(bound, &value),
                _ => is_within(&value, bound),
            };
            let mine = ours[side].as_str().map(read);
            assert!(
                mine.as_ref().is_none_or(holds),
                "{side} {mine:?} is wrong, for {line}"
            );
            let Some(spark) = json_of(of_spark).map(|json| read(&json)) else {
                continue;
            };
            bounds += 1;
            if !holds(&spark) {
                unsound += 1;
                continue;
            }
            let mine = mine.unwrap_or_else(|| panic!("no {side}, for {line}"));
            let tight = match side {
                "min" => is_within(&spark, &mine),
                _ => is_within(&mine, &spark),
            };
            assert!(tight, "{side} {mine:?} is wider than {spark:?}, for {line}");
        }
        lines += 1;
    }
    // Spark cuts the microseconds of its maxima.
    assert!(
        50 <= lines && 100 <= bounds && 4 <= unsound,
        "{lines} {bounds} {unsound}"
    );
}
