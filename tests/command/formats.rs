//! Every format, to standard output and to files.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::{Folder, PRICES, done, failed, rows, run, table};

/// A table with the three rows of [`PRICES`].
fn prices(folder: &Folder) -> String {
    let table = table(folder);
    done(&["append", &table, &folder.file("prices.ndjson", PRICES)]);
    table
}

fn sorted(text: &str) -> Vec<Value> {
    let mut rows = rows(text);
    rows.sort_by_key(|row| row["id"].as_i64());
    rows
}

#[test]
fn rows_are_printed_as_csv_and_as_a_table() {
    let folder = Folder::new("printed");
    let table = prices(&folder);
    let scan = |format: &str| {
        let select = ["--select", "id,name,price,tags", "--format", format];
        done(&[&["scan", &table, "--where", "id < 3"][..], &select].concat())
    };
    let csv = scan("csv");
    let mut lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.remove(0), "id,name,price,tags");
    lines.sort_unstable();
    assert_eq!(lines, ["1,a,1.50,", "2,b,2.50,"]);
    let aligned = scan("table");
    assert!(
        aligned.contains("| id | name | price | tags |"),
        "{aligned}"
    );
    assert!(
        aligned.contains("| 1  | a    | 1.50  |      |"),
        "{aligned}"
    );
    assert!(aligned.trim_end().ends_with("2 rows"), "{aligned}");
}

#[test]
fn what_is_written_to_a_file_can_be_appended() {
    let folder = Folder::new("files");
    let table = prices(&folder);
    let expected = sorted(&done(&["scan", &table]));
    // CSV has no lists.
    let columns = "id,name,price,ratio,day,at";
    for ending in ["parquet", "arrow", "ndjson", "csv"] {
        let file = folder.path(&format!("rows.{ending}"));
        let select = match ending {
            "csv" => columns,
            _ => "id,name,price,ratio,day,at,tags",
        };
        let scan = ["scan", &table, "--select", select, "--output", &file];
        assert_eq!(done(&scan), "");
        let copy = folder.path(&format!("copy-{ending}"));
        done(&["create", &copy, "--schema", &folder.path("schema.json")]);
        done(&["append", &copy, &file]);
        assert_eq!(sorted(&done(&["scan", &copy])), expected, "{ending}");
        // And a file in place of the older one.
        done(&[&scan[..], &["--where", "id = 1"]].concat());
        done(&["append", &copy, &file]);
        assert_eq!(rows(&done(&["scan", &copy])).len(), 4, "{ending}");
    }
    let left = fs::read_dir(&folder.0).unwrap().flatten();
    let partial = left.filter(|file| file.path().to_string_lossy().contains("partial"));
    assert_eq!(partial.count(), 0);
}

/// A file that an error cut short must not pass for a whole one, nor replace one.
#[test]
fn a_scan_that_fails_leaves_the_file_that_was_there() {
    let folder = Folder::new("cut");
    let table = prices(&folder);
    let append = folder.file("more.ndjson", &PRICES.replace("\"id\":", "\"id\":1"));
    done(&["append", &table, &append]);
    let files = rows(&done(&["files", &table, "--json"]));
    // The one that is read last is cut.
    let path = files.last().unwrap()["path"].as_str().unwrap();
    let path = fs::canonicalize(folder.0.join("table").join(path)).unwrap();
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    for ending in ["parquet", "arrow", "ndjson", "csv"] {
        let file = folder.file(&format!("rows.{ending}"), "older");
        failed(&["scan", &table, "--output", &file]);
        assert_eq!(fs::read_to_string(&file).unwrap(), "older", "{ending}");
        let fresh = folder.path(&format!("fresh.{ending}"));
        failed(&["scan", &table, "--output", &fresh]);
        assert!(!fs::exists(&fresh).unwrap(), "{ending}");
    }
    let left = fs::read_dir(&folder.0).unwrap().flatten();
    let partial = left.filter(|file| file.path().to_string_lossy().contains("partial"));
    assert_eq!(partial.count(), 0);
}

/// What is no file, a device or a pipe, is written to and never replaced.
#[test]
fn a_device_stays_a_device() {
    let folder = Folder::new("device");
    let table = prices(&folder);
    let link = folder.path("null");
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    done(&["scan", &table, "--format", "csv", "--output", &link]);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let null = fs::metadata("/dev/null").unwrap();
    assert!(!null.is_file());
    // A link to a file stays one, too.
    let file = folder.file("target.csv", "older");
    let link = folder.path("link.csv");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    done(&["scan", &table, "--output", &link]);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 4);
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_command_quietly() {
    let folder = Folder::new("pipe");
    let table = prices(&folder);
    let lines: String = (10..60_000)
        .map(|id| format!("{{\"id\":{id},\"name\":\"a name that fills the pipe\"}}\n"))
        .collect();
    done(&["append", &table, &folder.file("many.ndjson", &lines)]);
    for arguments in [
        &["scan", &table, "--format", "ndjson"][..],
        &["scan", &table, "--format", "csv"],
        &["scan", &table, "--format", "arrow"],
        &["follow", &table],
        &["follow", &table, "--json"],
        &["feed", &table, "--json"],
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_headwater"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut [0; 100]).unwrap();
        drop(out);
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), error.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
    // Small outputs are written at their end alone.
    for arguments in [
        &["scan", &table, "--format", "table"][..],
        &["info", &table],
        &["history", &table],
        &["feed", &table, "--plan"],
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_headwater"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), error.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
}

#[test]
fn tables_are_created_like_a_file_with_properties_and_features() {
    let folder = Folder::new("like");
    let table = prices(&folder);
    let file = folder.path("rows.parquet");
    done(&["scan", &table, "--output", &file]);
    let like = folder.path("like");
    let property = [
        "--property",
        "delta.appendOnly=true",
        "--feature",
        "deletionVectors",
    ];
    done(&[&["create", &like, "--like", &file][..], &property].concat());
    let info = |table: &str| rows(&done(&["info", table, "--json"])).remove(0);
    let (own, other) = (info(&like), info(&table));
    let names = |info: &Value| -> Vec<String> {
        let fields = info["schema"]["fields"].as_array().unwrap();
        let text = |field: &Value| format!("{}:{}", field["name"], field["type"]);
        fields.iter().map(text).collect()
    };
    assert_eq!(names(&own), names(&other));
    assert_eq!(own["properties"]["delta.appendOnly"], "true");
    let features = own["features"].as_array().unwrap();
    assert!(features.contains(&"deletionVectors".into()), "{features:?}");
}

#[test]
fn earlier_versions_are_read_by_number_and_by_time() {
    let folder = Folder::new("travel");
    let table = prices(&folder);
    let first = rows(&done(&["info", &table, "--json"])).remove(0);
    let time = first["timestamp"].as_str().unwrap().to_owned();
    std::thread::sleep(std::time::Duration::from_millis(20));
    done(&["append", &table, &folder.path("prices.ndjson")]);
    assert_eq!(rows(&done(&["scan", &table])).len(), 6);
    assert_eq!(rows(&done(&["scan", &table, "--as-of", &time])).len(), 3);
    for (command, key) in [("info", "rows"), ("files", "size")] {
        let older = rows(&done(&[command, &table, "--version", "1", "--json"]));
        let newer = rows(&done(&[command, &table, "--json"]));
        assert_ne!(older, newer, "{command}");
        assert!(older[0][key].as_i64().is_some());
    }
    let before = failed(&["scan", &table, "--as-of", "2001-01-01"]);
    assert!(before.contains("version"), "{before}");
}

/// The log of a table with row tracking switched on, as another engine would have written it.
fn tracked(table: &str) {
    for (version, first) in [(0, 0), (1, 0), (2, 2)] {
        let path = Path::new(table).join(format!("_delta_log/{version:020}.json"));
        let text = fs::read_to_string(&path).unwrap();
        let mut lines = String::new();
        for line in text.lines() {
            let mut action: Value = serde_json::from_str(line).unwrap();
            if action.get("protocol").is_some() {
                let features = ["rowTracking", "domainMetadata"];
                action = json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": features}});
            }
            if let Some(metadata) = action.get_mut("metaData") {
                metadata["configuration"] = json!({
                    "delta.enableRowTracking": "true", "delta.rowTracking.materializedRowIdColumnName": "_ids",
                    "delta.rowTracking.materializedRowCommitVersionColumnName": "_versions",
                });
            }
            if let Some(add) = action.get_mut("add") {
                add["baseRowId"] = first.into();
                add["defaultRowCommitVersion"] = version.into();
            }
            lines += &format!("{action}\n");
        }
        fs::write(&path, lines).unwrap();
    }
}

#[test]
fn rows_come_with_their_ids() {
    let folder = Folder::new("row-ids");
    let schema = r#"{"type":"struct","fields":[{"name":"id","type":"long","nullable":false,"metadata":{}}]}"#;
    let table = folder.path("tracked");
    done(&[
        "create",
        &table,
        "--schema",
        &folder.file("ids.json", schema),
    ]);
    for first in [0, 2] {
        let lines = format!("{{\"id\":{first}}}\n{{\"id\":{}}}\n", first + 1);
        done(&["append", &table, &folder.file("ids.ndjson", &lines)]);
    }
    tracked(&table);
    let with_ids = sorted(&done(&["scan", &table, "--row-ids"]));
    let numbers = |name: &str| -> Vec<i64> {
        let numbers = with_ids.iter().map(|row| row[name].as_i64().unwrap());
        numbers.collect()
    };
    assert_eq!(numbers("_row_id"), [0, 1, 2, 3]);
    assert_eq!(numbers("_row_commit_version"), [1, 1, 2, 2]);
}

#[test]
fn changes_are_printed_with_what_happened() {
    let folder = Folder::new("changes");
    let table = prices(&folder);
    done(&["alter", &table, "--set", "delta.enableChangeDataFeed=true"]);
    done(&["update", &table, "--set", "name='c'", "--where", "id = 2"]);
    done(&["delete", &table, "--where", "id = 1"]);
    let changes = rows(&done(&["changes", &table, "--from", "3"]));
    let mut kinds: Vec<(i64, &str, i64)> = Vec::new();
    for row in &changes {
        let kind = row["_change_type"].as_str().unwrap();
        let version = row["_commit_version"].as_i64().unwrap();
        assert!(row["_commit_timestamp"].as_str().unwrap().ends_with('Z'));
        kinds.push((version, kind, row["id"].as_i64().unwrap()));
    }
    kinds.sort_unstable();
    let expected = [
        (3, "update_postimage", 2),
        (3, "update_preimage", 2),
        (4, "delete", 1),
    ];
    assert_eq!(kinds, expected);
    let file = folder.path("changes.csv");
    let to_file = [
        "changes", &table, "--from", "3", "--to", "3", "--output", &file,
    ];
    assert_eq!(done(&to_file), "");
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 3);
    failed(&["changes", &table, "--from", "1"]);
}

/// `--json` promises JSON: a format that is none is a wrong call, unless it goes to a file.
#[test]
fn json_goes_with_no_other_format() {
    let folder = Folder::new("json");
    let table = prices(&folder);
    for format in ["table", "csv", "arrow"] {
        let wrong = run(&["scan", &table, "--json", "--format", format]);
        assert_eq!(wrong.status.code(), Some(2), "{format}");
        let wrong = run(&[
            "changes", &table, "--from", "0", "--json", "--format", format,
        ]);
        assert_eq!(wrong.status.code(), Some(2), "{format}");
    }
    assert_eq!(rows(&done(&["scan", &table, "--json"])).len(), 3);
    let file = folder.path("rows.csv");
    done(&["scan", &table, "--json", "--output", &file]);
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 4);
}
