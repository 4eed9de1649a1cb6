use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::protocol::golden;
use crate::protocol::schema::{DataType, Schema};

const LONG: PrimitiveType = PrimitiveType::Long;

fn statistics(columns: &str) -> String {
    format!(r#"{{"numRecords":10,{columns}}}"#)
}

#[test]
fn bounds_of_nested_columns_are_read_by_path() {
    let json = statistics(
        r#""minValues":{"a":{"b":-5,"c":"x"},"a.b":7,"\u00fc\n":1},"maxValues":{"a":{"b":5}},"nullCount":{"a":{"b":2}}"#,
    );
    let read = FileStatistics::parse(&json).unwrap();
    assert_eq!(read.num_records(), Some(10));
    assert!(read.tight_bounds());
    assert_eq!(
        read.bounds(&["a", "b"], &LONG),
        (Some(Scalar::Long(-5)), Some(Scalar::Long(5)))
    );
    assert_eq!(read.null_count(&["a", "b"]), Some(2));
    assert_eq!(read.min(&["a.b"], &LONG), Some(Scalar::Long(7)));
    assert_eq!(read.min(&["\u{fc}\n"], &LONG), Some(Scalar::Long(1)));
    for unknown in [&["A", "b"][..], &["a"], &["a", "b", "c"], &["x"], &[]] {
        assert_eq!(read.bounds(unknown, &LONG), (None, None));
        assert_eq!(read.null_count(unknown), None);
    }
}

#[test]
fn h_7_what_looks_odd_is_unknown() {
    let odd = [
        r#""minValues":{"x":9},"maxValues":{"x":1}"#,
        r#""minValues":{"x":"9"x},"maxValues":{"x":1}"#,
        r#""minValues":{"x":true},"maxValues":{"x":[1]}"#,
        r#""minValues":{"x":1.5},"maxValues":{"x":1e400}"#,
        r#""minValues":{"x":"NaN"},"maxValues":{"x":"Infinity"}"#,
        r#""minValues":{"x":-9223372036854775809},"maxValues":{"x":9223372036854775808}"#,
        r#""minValues":{"x":1,"x":2},"maxValues":{"x":8,"x":9}"#,
        r#""minValues":[{"x":1}],"maxValues":"x""#,
        r#""minValues":null,"maxValues":null"#,
        r#""minValues":{"x":1},"maxValues":{"x":9},"nullCount":{"x":11}"#,
        r#""minValues":{"x":1},"maxValues":{"x":9},"nullCount":{"x":-1}"#,
        r#""minValues":{"x":1},"maxValues":{"x":9},"nullCount":{"x":"0"}"#,
        r#""minValues":{"x":1},"maxValues":{"x":9},"minValues":{"x":1}"#,
    ];
    for columns in odd {
        let json = statistics(columns);
        if let Some(read) = FileStatistics::parse(&json) {
            assert_eq!(read.bounds(&["x"], &LONG), (None, None), "{columns}");
            assert_eq!(read.null_count(&["x"]), None, "{columns}");
        }
    }
    for text in [
        "",
        "null",
        "[]",
        "5",
        "{",
        "{}x",
        "\u{feff}{}",
        "{\"numRecords\":}",
    ] {
        assert!(FileStatistics::parse(text).is_none(), "{text}");
    }
    assert!(
        FileStatistics::parse(&format!(
            "{{\"x\":{}{}}}",
            "[".repeat(100_000),
            "]".repeat(100_000)
        ))
        .is_none()
    );
}

#[test]
fn h_6_counts_are_checked() {
    for (text, expected) in [
        ("0", Some(0)),
        ("9223372036854775807", Some(9_223_372_036_854_775_807)),
        ("9223372036854775808", None),
        ("-1", None),
        ("1.0", None),
        ("\"1\"", None),
        ("null", None),
    ] {
        let json = format!(r#"{{"numRecords":{text}}}"#);
        assert_eq!(
            FileStatistics::parse(&json).unwrap().num_records(),
            expected,
            "{text}"
        );
    }
}

#[test]
fn wide_bounds_know_only_whether_all_or_none_are_null() {
    for (nulls, expected) in [(0, Some(0)), (3, None), (10, Some(10)), (11, None)] {
        for tight in ["false", "0", "\"yes\""] {
            let json = statistics(&format!(
                r#""tightBounds":{tight},"minValues":{{"x":1}},"maxValues":{{"x":9}},"nullCount":{{"x":{nulls}}}"#
            ));
            let read = FileStatistics::parse(&json).unwrap();
            assert!(!read.tight_bounds());
            assert_eq!(read.null_count(&["x"]), expected);
            assert_eq!(read.min(&["x"], &LONG).is_some(), nulls <= 10);
        }
    }
}

#[test]
fn times_are_let_out_by_what_was_cut() {
    let bounds = |min: &str, max: &str, ty: &PrimitiveType| {
        let json = statistics(&format!(
            r#""minValues":{{"t":"{min}"}},"maxValues":{{"t":"{max}"}}"#
        ));
        FileStatistics::parse(&json).unwrap().bounds(&["t"], ty)
    };
    let utc = &PrimitiveType::Timestamp;
    let at = |min, max| (Some(Scalar::Timestamp(min)), Some(Scalar::Timestamp(max)));
    assert_eq!(
        bounds("1970-01-01T00:00:00.001Z", "1970-01-01T00:00:00.001Z", utc),
        at(1000, 1999)
    );
    assert_eq!(
        bounds("1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00.000Z", utc),
        at(-1999, 999)
    );
    assert_eq!(
        bounds(
            "1970-01-01T00:00:00.000001Z",
            "1970-01-01T00:00:00.000002Z",
            utc
        ),
        at(1, 2)
    );
    assert_eq!(
        bounds(
            "2000-01-01T00:00:00.000-08:00",
            "2000-01-01T00:00:00.000-08:00",
            utc
        ),
        at(946_713_600_000_000, 946_713_600_000_999)
    );
    // Los Angeles was 7:52:58 behind UTC.
    let (min, max) = bounds(
        "1883-01-01T00:00:00.000-07:52",
        "1883-01-01T00:00:00.000-07:52",
        utc,
    );
    let exact = Scalar::Timestamp(-2_745_418_022_000_000);
    assert_eq!(min.unwrap().compare(&exact), Some(Ordering::Less));
    assert_eq!(max.unwrap().compare(&exact), Some(Ordering::Greater));
    assert_eq!(
        bounds("2020-01-01 00:00:00", "2020-01-01T00:00:00", utc),
        (None, None)
    );
    let ntz = &PrimitiveType::TimestampNtz;
    assert_eq!(
        bounds("1970-01-01T00:00:00.001", "1970-01-01T00:00:00.001", ntz),
        (
            Some(Scalar::TimestampNtz(1000)),
            Some(Scalar::TimestampNtz(1999))
        )
    );
    let top = widen(None, Some(Scalar::Timestamp(9_223_372_036_854_775_000))).1;
    assert_eq!(top, Some(Scalar::Timestamp(i64::MAX)));
}

#[test]
fn bounds_that_leave_out_nan_are_no_bounds_on_nan() {
    assert!(
        nan_possible(&PrimitiveType::Float)
            && nan_possible(&PrimitiveType::Double)
            && !nan_possible(&LONG)
    );
    let json = statistics(
        r#""minValues":{"x":"-Infinity","y":"NaN"},"maxValues":{"x":"Infinity","y":"NaN"}"#,
    );
    let read = FileStatistics::parse(&json).unwrap();
    assert_eq!(
        read.min(&["x"], &PrimitiveType::Double),
        Some(Scalar::Double(f64::NEG_INFINITY))
    );
    assert_eq!(read.bounds(&["y"], &PrimitiveType::Double), (None, None));
}

#[test]
fn long_texts_may_have_been_cut() {
    let of = |text: &str| widen(None, Some(Scalar::from(text))).1.unwrap();
    assert_eq!(of("short"), Scalar::from("short"));
    let cut = "a text of 32 characters or more ";
    let whole = Scalar::from(format!("{cut}zzz"));
    assert_eq!(of(cut).compare(&whole), Some(Ordering::Greater));
}

#[test]
fn built_statistics_are_nested_and_rounded_outwards() {
    let mut builder = StatisticsBuilder::new(2);
    let time = |micros| Scalar::Timestamp(micros);
    builder.column(&["t"], Some(&time(-1)), Some(&time(1)), Some(0));
    builder.column(
        &["s", "a\""],
        Some(&Scalar::Double(0.0)),
        Some(&Scalar::Double(-0.0)),
        Some(0),
    );
    builder.column(
        &["s", "b", "c"],
        Some(&Scalar::Double(f64::NAN)),
        None,
        Some(2),
    );
    builder.column(&["l"], None, None, Some(1));
    let json = builder.to_json();
    assert_eq!(
        json,
        concat!(
            r#"{"numRecords":2,"minValues":{"t":"1969-12-31T23:59:59.999Z","s":{"a\"":-0.0}},"#,
            r#""maxValues":{"t":"1970-01-01T00:00:00.001Z","s":{"a\"":0.0}},"#,
            r#""nullCount":{"t":0,"s":{"a\"":0,"b":{"c":2}},"l":1},"tightBounds":true}"#
        )
    );
    let read = FileStatistics::parse(&json).unwrap();
    assert_eq!(read.null_count(&["s", "b", "c"]), Some(2));
    let empty = StatisticsBuilder::new(0).to_json();
    assert_eq!(
        FileStatistics::parse(&empty).unwrap().num_records(),
        Some(0)
    );
}

#[test]
fn statistics_of_other_writers_are_read() {
    let Some(lines) = golden::log_lines() else {
        return;
    };
    let (mut bounds, mut files) = (0, 0);
    let mut schemas: BTreeMap<PathBuf, Option<Schema>> = BTreeMap::new();
    for (table, line) in lines {
        let Ok(action) = serde_json::from_str::<serde_json::Value>(&line) else {
            continue;
        };
        if let Some(text) = action["metaData"]["schemaString"].as_str() {
            schemas.insert(table.clone(), Schema::from_json(text).ok());
        }
        let Some(Some(schema)) = schemas.get(&table) else {
            continue;
        };
        let stats = action["add"]["stats"].as_str();
        let Some(read) = stats.and_then(FileStatistics::parse) else {
            continue;
        };
        files += 1;
        for field in schema.fields() {
            if let DataType::Primitive(ty) = &field.data_type {
                let name = field.mapped_name().unwrap_or_else(|| field.name.clone());
                let (min, max) = read.bounds(&[&name], ty);
                bounds += usize::from(min.is_some() && max.is_some());
            }
        }
    }
    assert!(
        100 < files && 300 < bounds,
        "{files} files, {bounds} bounds"
    );
}

proptest! {
    #[test]
    fn h_7_no_text_is_an_error(text in "\\PC{0,60}") {
        let json = format!(r#"{{"numRecords":1,"minValues":{{"x":{text}}}}}"#);
        for json in [&text, &json] {
            if let Some(read) = FileStatistics::parse(json) {
                let _ = (read.num_records(), read.min(&["x"], &LONG), read.null_count(&["x"]));
            }
        }
    }

    #[test]
    fn written_bounds_hold_what_they_were_made_of(micros in -62_000_000_000_000_000_i64..250_000_000_000_000_000) {
        for value in [Scalar::Timestamp(micros), Scalar::TimestampNtz(micros)] {
            let mut builder = StatisticsBuilder::new(1);
            builder.column(&["x"], Some(&value), Some(&value), Some(0));
            let json = builder.to_json();
            let ty = value.data_type().unwrap();
            let (min, max) = FileStatistics::parse(&json).unwrap().bounds(&["x"], &ty);
            prop_assert_ne!(min.unwrap().compare(&value), Some(Ordering::Greater));
            prop_assert_ne!(max.unwrap().compare(&value), Some(Ordering::Less));
        }
    }
}
