//! Rows as the command prints them, as multisets.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Rows, each with how often it is there.
pub(crate) type Rows = BTreeMap<String, usize>;

/// The rows of lines of JSON. Of the columns in `loose`, which hold variants, the reference engine leaves out null fields
/// and prints maps as objects, so there these are the same; everywhere else maps are lists of entries, in any order,
/// and null is null.
pub(crate) fn rows(text: &str, loose: &[String], without: &[&str]) -> Rows {
    let mut rows = Rows::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let row: Value = serde_json::from_str(line).unwrap();
        let columns = row.as_object().unwrap().iter();
        let row: serde_json::Map<_, _> = columns
            .filter(|(name, _)| !without.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), normal(value, loose.contains(name))))
            .collect();
        *rows.entry(Value::from(row).to_string()).or_default() += 1;
    }
    rows
}

/// The first rows that differ, if any do.
pub(crate) fn compare(wanted: &Rows, actual: &Rows) -> Result<(), String> {
    if wanted == actual {
        return Ok(());
    }
    let missing = wanted
        .iter()
        .find(|(row, times)| actual.get(*row) != Some(times));
    let extra = actual
        .iter()
        .find(|(row, times)| wanted.get(*row) != Some(times));
    Err(format!("rows differ; missing {missing:?}, extra {extra:?}"))
}

/// The digest of the rows as the reference states it: lines of JSON with sorted keys, sorted.
pub(crate) fn sha256(text: &str) -> String {
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| spaced(&serde_json::from_str(line).unwrap()))
        .collect();
    lines.sort_unstable();
    let mut digest = String::new();
    for byte in Sha256::digest(lines.join("\n")) {
        write!(digest, "{byte:02x}").unwrap();
    }
    digest
}

/// One line of JSON with a space after commas and colons.
fn spaced(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(spaced).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| format!("{}: {}", Value::from(name.as_str()), spaced(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// The value with one form for what is the same: integers and floats of one value, maps whose entries are in another
/// order.
fn normal(value: &Value, loose: bool) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if float.fract() == 0.0 && float.abs() < 9e15 => Value::from(float as i64),
            _ => value.clone(),
        },
        Value::Array(items) => {
            let is_map = !items.is_empty() && items.iter().all(is_entry);
            let has_text_keys = items.iter().all(|item| item["key"].is_string());
            if loose && is_map && has_text_keys {
                let entries = items.iter().map(|item| {
                    let key = item["key"].as_str().unwrap().to_owned();
                    (key, item["value"].clone())
                });
                return normal(&Value::Object(entries.collect()), loose);
            }
            let mut items: Vec<_> = items.iter().map(|item| normal(item, loose)).collect();
            if is_map {
                items.sort_by_key(ToString::to_string);
            }
            Value::from(items)
        }
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !loose || !value.is_null())
            .map(|(name, value)| (name.clone(), normal(value, loose)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        _ => value.clone(),
    }
}

fn is_entry(item: &Value) -> bool {
    item.as_object().is_some_and(|entry| {
        entry.len() == 2 && entry.contains_key("key") && entry.contains_key("value")
    })
}

/// A comparison that sees nothing shows nothing: what is easily overlooked is told apart.
#[test]
fn rows_that_differ_are_told_apart() {
    let strict = |line: &str| rows(line, &[], &[]);
    for (one, other) in [
        (r#"{"m":[{"key":"a","value":1}]}"#, r#"{"m":{"a":1}}"#),
        (r#"{"s":{"a":null}}"#, r#"{"s":{}}"#),
        (r#"{"s":{"a":null}}"#, r#"{"s":null}"#),
        (r#"{"l":[1,2]}"#, r#"{"l":[2,1]}"#),
        (r#"{"s":""}"#, r#"{"s":null}"#),
        (r#"{"n":9007199254740993}"#, r#"{"n":9007199254740992}"#),
        ("{\"n\":1}\n{\"n\":1}", r#"{"n":1}"#),
    ] {
        assert!(
            compare(&strict(one), &strict(other)).is_err(),
            "{one} {other}"
        );
    }
    let (one, other) = (
        r#"{"m":[{"key":"a","value":1.0},{"key":"b","value":null}]}"#,
        r#"{"m":[{"key":"b","value":null},{"key":"a","value":1}]}"#,
    );
    assert_eq!(strict(one), strict(other));
}
