//! Tables that other engines wrote, read through the command, against the rows that the reference engine reads.
//!
//! The tables lie in `../shared/golden` (or where `HEADWATER_GOLDEN` says); without them the test says so and, with
//! `CI=true`, fails.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::too_many_lines,
    reason = "a test panics when a promise is broken"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Tables whose stored rows break the protocol, the table that tells the right ones, and why.
///
/// The log compaction files of this one hold an `add` and a `remove` of the same logical file, which reconciliation of
/// their commits cannot give (PROTOCOL.md, Log Compaction Files); the commits themselves are those of the other table.
const DISPUTED: [(&str, &str); 1] = [(
    "kernel-compacted-log-files-table",
    "kernel-cdf-table-with-cdc-and-dvs",
)];

/// Tables in which the doctor finds what is really wrong with them: the code of the worst finding, and what it is.
const UNSOUND: &[(&str, &str, &str)] = &[
    (
        "golden-data-reader-absolute-paths-escaped-chars",
        "unsafe_path",
        "made to be refused",
    ),
    (
        "golden-deltalog-state-reconstruction-from-checkpoint-missing-protocol",
        "missing_file",
        "a log alone",
    ),
    (
        "golden-deltalog-state-reconstruction-without-protocol",
        "metadata",
        "a log without protocol",
    ),
    ("golden-hive", "no_table", "the tables lie deeper"),
    (
        "golden-log-replay-special-characters-b",
        "missing_file",
        "a log alone",
    ),
    ("golden-no-delta-log-folder", "no_table", "no log"),
    (
        "golden-versions-not-contiguous",
        "log_gap",
        "made to be refused",
    ),
    (
        "kernel-app-txn-with-last-updated",
        "missing_file",
        "a log alone",
    ),
    (
        "kernel-crc-full",
        "checksum_differs",
        "a checksum of files that no commit adds",
    ),
    ("kernel-crc-malformed", "no_table", "the tables lie deeper"),
    (
        "kernel-parquet_row_group_skipping",
        "checkpoint_differs",
        "its checkpoint is of another table",
    ),
    (
        "kernel-parsed-stats",
        "stale_statistics",
        "null counts of 0 in a column of nulls",
    ),
    (
        "kernel-table-with-geo",
        "unsupported",
        "a feature that no reader here has",
    ),
    (
        "kernel-type-widening",
        "unsupported",
        "a type change that the protocol does not have",
    ),
    (
        "kernel-with_checkpoint_no_last_checkpoint",
        "missing_file",
        "a log alone",
    ),
    (
        "rs-cdc_ict_table",
        "checksum_differs",
        "an in-commit timestamp was edited",
    ),
    ("rs-checkpoints_vacuumed", "missing_file", "a log alone"),
    ("rs-issue_1374", "stale_statistics", "a minimum was edited"),
    (
        "rs-simple_table_features",
        "unsupported",
        "made to be refused",
    ),
    (
        "rs-spark-variant-stable-feature-checkpoint",
        "missing_file",
        "a log alone",
    ),
    (
        "rs-table_failed_last_checkpoint_update",
        "hint",
        "the hint is behind",
    ),
    (
        "rs-with_checkpoint_no_last_checkpoint",
        "missing_file",
        "a log alone",
    ),
];

#[test]
fn the_doctor_finds_nothing_in_golden_tables_that_are_sound() {
    let Some(golden) = golden() else {
        return;
    };
    let mut wrong = Vec::new();
    for entry in fs::read_dir(&golden)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.path().is_dir())
    {
        let name = entry.file_name().into_string().unwrap();
        let output = headwater(&["doctor", "--rows", "--json"], &entry.path().join("table"));
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let codes: Vec<_> = lines
            .iter()
            .filter_map(|line| line["code"].as_str())
            .collect();
        let known = UNSOUND
            .iter()
            .find(|(unsound, ..)| *unsound == name)
            .map(|(_, code, _)| *code);
        let fits = match known {
            None => codes.is_empty() && output.status.success(),
            Some(code) => codes.contains(&code),
        };
        if !fits {
            wrong.push(format!("{name}: expected {known:?}, found {lines:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

enum Verdict {
    Read,
    Refused(String),
    Wrong(Vec<String>),
}

#[test]
fn golden_tables_give_the_rows_beside_them_or_are_refused_by_name() {
    let Some(golden) = golden() else {
        assert!(
            std::env::var("CI").is_err(),
            "the golden tables are missing"
        );
        eprintln!("the golden tables are missing: nothing was compared");
        return;
    };
    let mut names: Vec<_> = fs::read_dir(&golden)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    let (mut read, mut refused, mut wrong) = (0, 0, Vec::new());
    for name in &names {
        match check(&golden, name) {
            Verdict::Read => read += 1,
            Verdict::Refused(why) => {
                refused += 1;
                println!("refused {name}: {why}");
            }
            Verdict::Wrong(differences) => {
                wrong.extend(
                    differences
                        .into_iter()
                        .map(|text| format!("{name}: {text}")),
                );
            }
        }
    }
    println!(
        "{read} of {} tables read, {refused} refused by name",
        names.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        read,
        names.len(),
        "every table is read, or fails as its reference says"
    );
}

fn check(golden: &Path, name: &str) -> Verdict {
    let folder = golden.join(name);
    let table = folder.join("table");
    let expect: Value = json(&folder.join("expect.json"));
    let mut wrong = Vec::new();
    let mut refused = None;
    for (version, expected) in expect["reads"].as_object().unwrap() {
        let mut arguments = vec!["scan", "--format", "ndjson"];
        if version != "latest" && version != "-1" {
            arguments.extend(["--version", version]);
        }
        let output = headwater(&arguments, &table);
        let result = if let Some(kind) = expected["error"].as_str() {
            check_error(&output, kind)
        } else if output.status.success() {
            check_rows(golden, name, version, expected, &output)
        } else if let Some(why) = refusal(&output) {
            refused = Some(why);
            Ok(())
        } else if expected["data"] == "absent" {
            named_file(&output)
        } else {
            Err(message(&output))
        };
        wrong.extend(
            result
                .err()
                .map(|text| format!("version {version}: {text}")),
        );
    }
    if !wrong.is_empty() {
        return Verdict::Wrong(wrong);
    }
    let known = expect["version"].as_u64().filter(|version| {
        let newest = expect["reads"][version.to_string()]["error"].is_string();
        refused.is_none() && !newest
    });
    match known.map(|version| check_sums(&table, version, expect["files"].as_u64())) {
        Some(Err(text)) => match text.strip_prefix("refused: ") {
            Some(why) => Verdict::Refused(why.to_owned()),
            None if DISPUTED.iter().any(|(disputed, _)| *disputed == name) => Verdict::Read,
            None => Verdict::Wrong(vec![text]),
        },
        _ => refused.map_or(Verdict::Read, Verdict::Refused),
    }
}

/// The command line prints no error kind, so the words of each kind are held.
fn check_error(output: &Output, kind: &str) -> Result<(), String> {
    if output.status.code() != Some(1) {
        return Err(format!("expected an error of the kind {kind}"));
    }
    let text = message(output);
    let words: &[&str] = match kind {
        "NotFound" => &["no table", "not there", "does not exist"],
        "Unsupported" => &["needs what this build lacks"],
        _ => &["the log", "a commit", "a path", "schema", "missing", "two"],
    };
    let fits = words.iter().any(|word| text.contains(word));
    if fits {
        Ok(())
    } else {
        Err(format!("expected an error of the kind {kind}, got: {text}"))
    }
}

/// A path that leads out of the table is refused without being repeated: it may hold a secret.
fn named_file(output: &Output) -> Result<(), String> {
    let text = message(output);
    if text.contains("(path: ") || text.contains("a path in the log is not safe") {
        return Ok(());
    }
    Err(format!("names no file: {text}"))
}

fn check_rows(
    golden: &Path,
    name: &str,
    version: &str,
    expected: &Value,
    output: &Output,
) -> Result<(), String> {
    let actual = rows(&String::from_utf8_lossy(&output.stdout));
    let source = DISPUTED.iter().find(|(disputed, _)| *disputed == name);
    let folder = golden.join(source.map_or(name, |(_, source)| source));
    let count: usize = actual.values().sum();
    if source.is_none() && expected["rows"].as_u64() != Some(count as u64) {
        return Err(format!("{count} rows, expected {}", expected["rows"]));
    }
    let stored = folder.join(format!("rows@{version}.ndjson"));
    let Ok(text) = fs::read_to_string(stored) else {
        return Ok(());
    };
    let wanted = rows(&text);
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

fn check_sums(table: &Path, version: u64, files: Option<u64>) -> Result<(), String> {
    let info = headwater(&["info", "--json"], table);
    if let Some(why) = refusal(&info) {
        return Err(format!("refused: {why}"));
    }
    if !info.status.success() {
        return Err(message(&info));
    }
    let info: Value = serde_json::from_slice(&info.stdout).unwrap();
    if info["version"].as_u64() != Some(version) {
        return Err(format!("version {}, expected {version}", info["version"]));
    }
    if files.is_some() && info["files"].as_u64() != files {
        return Err(format!("{} files, expected {files:?}", info["files"]));
    }
    let listed = headwater(&["files", "--json"], table);
    let lines = String::from_utf8_lossy(&listed.stdout).lines().count() as u64;
    if !listed.status.success() || Some(lines) != info["files"].as_u64() {
        return Err(format!("files lists {lines}: {}", message(&listed)));
    }
    let history = headwater(&["history", "--json"], table);
    if !history.status.success() {
        return Err(message(&history));
    }
    let newest = String::from_utf8_lossy(&history.stdout);
    let newest: Value = newest
        .lines()
        .next()
        .map_or(Value::Null, |line| serde_json::from_str(line).unwrap());
    let same = newest["version"].as_u64() == Some(version);
    if same {
        Ok(())
    } else {
        Err(format!("history begins with {newest}"))
    }
}

/// Rows as a multiset, in the form in which engines are compared: null fields below the top, map order and the form of
/// maps aside, integers and floats of one value the same.
fn rows(text: &str) -> BTreeMap<String, usize> {
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let row: Value = serde_json::from_str(line).unwrap();
        let row: serde_json::Map<_, _> = row
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.clone(), normal(value)))
            .collect();
        *rows.entry(Value::from(row).to_string()).or_default() += 1;
    }
    rows
}

fn normal(value: &Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if float.fract() == 0.0 && float.abs() < 9e15 => Value::from(float as i64),
            _ => value.clone(),
        },
        Value::Array(items) => {
            let is_entry = |item: &Value| {
                item.as_object().is_some_and(|entry| {
                    entry.len() == 2 && entry.contains_key("key") && entry.contains_key("value")
                })
            };
            let text_key = |item: &Value| item["key"].is_string();
            if !items.is_empty() && items.iter().all(|item| is_entry(item) && text_key(item)) {
                let entry = |item: &Value| {
                    (
                        item["key"].as_str().unwrap().to_owned(),
                        item["value"].clone(),
                    )
                };
                return normal(
                    &items
                        .iter()
                        .map(entry)
                        .collect::<serde_json::Map<_, _>>()
                        .into(),
                );
            }
            let mut items: Vec<_> = items.iter().map(normal).collect();
            if !items.is_empty() && items.iter().all(is_entry) {
                items.sort_by_key(ToString::to_string);
            }
            Value::from(items)
        }
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), normal(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        _ => value.clone(),
    }
}

fn headwater(arguments: &[&str], table: &Path) -> Output {
    let (verb, rest) = arguments.split_first().unwrap();
    Command::new(env!("CARGO_BIN_EXE_headwater"))
        .arg(verb)
        .arg(table)
        .args(rest)
        .output()
        .unwrap()
}

fn refusal(output: &Output) -> Option<String> {
    let text = message(output);
    let at = text.find("needs what this build lacks")?;
    Some(text[at..].to_owned())
}

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn golden() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/golden");
    let named = std::env::var_os("HEADWATER_GOLDEN").map(PathBuf::from);
    Some(named.unwrap_or(beside)).filter(|folder| folder.is_dir())
}
