//! The command's contract: formats, exit codes, one line of error.

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

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("headwater-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_headwater"))
        .args(arguments)
        .output()
        .unwrap()
}

fn done(arguments: &[&str]) -> String {
    let output = run(arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn failed(arguments: &[&str]) -> String {
    let output = run(arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
    assert_eq!(error.trim_end().lines().count(), 1, "one line: {error}");
    assert!(error.starts_with("headwater: "), "{error}");
    error
}

fn rows(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

const SCHEMA: &str = r#"{"type":"struct","fields":[
    {"name":"id","type":"long","nullable":false,"metadata":{}},
    {"name":"name","type":"string","nullable":true,"metadata":{}},
    {"name":"price","type":"decimal(10,2)","nullable":true,"metadata":{}},
    {"name":"ratio","type":"double","nullable":true,"metadata":{}},
    {"name":"day","type":"date","nullable":true,"metadata":{}},
    {"name":"at","type":"timestamp","nullable":true,"metadata":{}},
    {"name":"tags","type":{"type":"array","elementType":"string","containsNull":true},"nullable":true,"metadata":{}}
]}"#;

fn table(folder: &Folder) -> String {
    let schema = folder.file("schema.json", SCHEMA);
    let table = folder.path("table");
    done(&[
        "create",
        &table,
        "--schema",
        &schema,
        "--partition-by",
        "day",
    ]);
    table
}

#[test]
fn rows_go_in_as_ndjson_and_come_out_as_they_were() {
    let folder = Folder::new("ndjson");
    let table = table(&folder);
    let lines = concat!(
        r#"{"id":1,"name":"a","price":"1.50","ratio":0.5,"day":"2013-06-30","at":"2013-06-30T12:00:00.000001Z","tags":["x",null]}"#,
        "\n",
        r#"{"id":2,"name":null,"price":null,"ratio":null,"day":null,"at":null,"tags":null}"#,
        "\n",
    );
    let file = folder.file("rows.ndjson", lines);
    let appended: Value =
        serde_json::from_str(&done(&["append", &table, &file, "--json"])).unwrap();
    assert_eq!(
        (&appended["version"], &appended["rows"]),
        (&Value::from(1), &Value::from(2))
    );
    let mut out = rows(&done(&["scan", &table, "--format", "ndjson"]));
    out.sort_by_key(|row| row["id"].as_i64());
    assert_eq!(out, rows(lines));
    let names: Vec<_> = done(&["scan", &table, "--format", "ndjson", "--limit", "1"])
        .chars()
        .take(6)
        .collect();
    assert_eq!(
        names.iter().collect::<String>(),
        "{\"id\":",
        "columns in schema order"
    );
}

#[test]
fn a_scan_filters_selects_limits_and_travels() {
    let folder = Folder::new("scan");
    let table = table(&folder);
    for version in 1..=3 {
        let file = folder.file("rows.csv", &format!("id,name\n{version},n{version}\n"));
        done(&["append", &table, &file]);
    }
    let scan = |more: &[&str]| {
        let mut arguments = vec!["scan", &table, "--format", "ndjson", "--select", "id"];
        arguments.extend(more);
        rows(&done(&arguments))
            .iter()
            .map(|row| row["id"].as_i64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(scan(&[]), [1, 2, 3]);
    assert_eq!(scan(&["--where", "id > 1 AND name = 'n3'"]), [3]);
    assert_eq!(scan(&["--where", "id > 1", "--no-pruning"]), [2, 3]);
    assert_eq!(scan(&["--version", "2"]), [1, 2]);
    assert_eq!(scan(&["--limit", "2"]).len(), 2);
    assert!(failed(&["scan", &table, "--version", "9"]).contains('9'));
    assert!(failed(&["scan", &table, "--as-of", "1999-01-01"]).contains("before"));
    assert!(failed(&["scan", &table, "--where", "nope = 1"]).contains("nope"));
    assert!(failed(&["scan", &table, "--select", "nope"]).contains("nope"));
    for format in ["csv", "table", "arrow"] {
        let output = run(&["scan", &table, "--format", format]);
        assert!(
            output.status.success() && !output.stdout.is_empty(),
            "{format}"
        );
    }
    let copy = folder.path("copy.parquet");
    done(&["scan", &table, "--output", &copy]);
    assert!(Path::new(&copy).is_file());
    assert!(!Path::new(&format!("{copy}.partial")).exists());
    done(&["append", &table, &copy]);
    assert_eq!(scan(&[]).len(), 6);
}

#[test]
fn an_append_with_an_application_number_lands_once() {
    let folder = Folder::new("once");
    let table = table(&folder);
    let file = folder.file("rows.csv", "id\n1\n");
    let append = [
        "append",
        &table,
        &file,
        "--app-id",
        "load",
        "--app-version",
        "7",
        "--json",
    ];
    let first: Value = serde_json::from_str(&done(&append)).unwrap();
    let again: Value = serde_json::from_str(&done(&append)).unwrap();
    assert_eq!(
        (&first["already_applied"], &again["already_applied"]),
        (&false.into(), &true.into())
    );
    assert_eq!(
        done(&["scan", &table, "--format", "ndjson"])
            .lines()
            .count(),
        1
    );
}

#[test]
fn info_history_files_and_checkpoint_say_what_there_is() {
    let folder = Folder::new("info");
    let table = table(&folder);
    let file = folder.file("rows.csv", "id,day\n1,2013-01-01\n2,2013-01-02\n");
    done(&["append", &table, &file]);
    let info: Value = serde_json::from_str(&done(&["info", &table, "--json"])).unwrap();
    for key in [
        "version",
        "files",
        "rows",
        "bytes",
        "schema",
        "partition_columns",
        "protocol",
        "features",
        "properties",
        "timestamp",
    ] {
        assert!(!info[key].is_null(), "{key}");
    }
    assert_eq!(
        (&info["files"], &info["rows"]),
        (&Value::from(2), &Value::from(2))
    );
    let history = rows(&done(&["history", &table, "--json"]));
    assert_eq!(history.len(), 2);
    assert_eq!(history[0]["operation"], "WRITE");
    assert!(
        history[0]["operationMetrics"]["numOutputRows"].is_string(),
        "as Spark writes it"
    );
    let kept = done(&["files", &table, "--where", "day = DATE '2013-01-02'"]);
    assert_eq!(kept.lines().count(), 1);
    let explained = done(&[
        "files",
        &table,
        "--where",
        "day = DATE '2013-01-02'",
        "--explain",
    ]);
    assert!(
        explained.contains("pruned") && explained.contains("1 files kept, 1 pruned"),
        "{explained}"
    );
    assert!(done(&["checkpoint", &table]).contains('1'));
    assert!(
        Path::new(&table)
            .join("_delta_log/00000000000000000001.checkpoint.parquet")
            .is_file()
    );
    assert_eq!(
        done(&["scan", &table, "--format", "ndjson"])
            .lines()
            .count(),
        2
    );
}

#[test]
fn a_wrong_call_is_2_and_a_failure_is_1() {
    let folder = Folder::new("wrong");
    let table = table(&folder);
    for usage in [
        &["nonsense"][..],
        &["scan"],
        &["create", "x"],
        &["scan", &table, "--version", "x"],
        &["append", &table],
    ] {
        assert_eq!(run(usage).status.code(), Some(2), "{usage:?}");
    }
    assert!(failed(&["scan", &folder.path("nothing")]).contains("no table"));
    assert!(
        failed(&["create", &table, "--schema", &folder.path("schema.json")]).contains("exists")
    );
    assert!(failed(&["append", &table, &folder.path("missing.csv")]).contains("missing.csv"));
    let odd = folder.file("rows.xyz", "1");
    assert!(failed(&["append", &table, &odd]).contains("ending"));
    let null = folder.file("null.ndjson", "{\"name\":\"no id\"}\n");
    assert!(failed(&["append", &table, &null]).contains("id"));
    let unknown = folder.file("unknown.ndjson", "{\"id\":1,\"surprise\":2}\n");
    assert!(failed(&["append", &table, &unknown]).contains("surprise"));
    assert_eq!(
        done(&["scan", &table, "--format", "ndjson"]),
        "",
        "nothing of it was appended"
    );
    assert!(failed(&["info", "s3://bucket/table"]).contains("s3"));
}

const PRICES: &str = concat!(
    r#"{"id":1,"name":"a","price":"1.50","ratio":0.5,"day":"2013-06-30","at":null,"tags":null}"#,
    "\n",
    r#"{"id":2,"name":"b","price":"2.50","ratio":null,"day":"2013-06-30","at":null,"tags":null}"#,
    "\n",
    r#"{"id":3,"name":null,"price":null,"ratio":1.5,"day":null,"at":null,"tags":null}"#,
    "\n",
);

fn ids_and(table: &str, column: &str) -> Vec<(i64, Value)> {
    let select = format!("id,{column}");
    let out = done(&["scan", table, "--select", &select, "--format", "ndjson"]);
    let mut out: Vec<(i64, Value)> = rows(&out)
        .into_iter()
        .map(|row| (row["id"].as_i64().unwrap(), row[column].clone()))
        .collect();
    out.sort_by_key(|(id, _)| *id);
    out
}

#[test]
fn rows_are_updated_and_deleted_by_sql() {
    let folder = Folder::new("change");
    let table = table(&folder);
    done(&["append", &table, &folder.file("rows.ndjson", PRICES)]);
    let changed = done(&[
        "update",
        &table,
        "--set",
        "price=price * 2",
        "--set",
        "name = upper(name)",
        "--where",
        "id < 3",
        "--json",
    ]);
    let changed: Value = serde_json::from_str(&changed).unwrap();
    assert_eq!(changed["rows_updated"], 2, "{changed}");
    assert_eq!(
        (&changed["version"], &changed["changed"]),
        (&2.into(), &true.into())
    );
    let prices = ids_and(&table, "price");
    assert_eq!(
        prices,
        [(1, "3.00".into()), (2, "5.00".into()), (3, Value::Null)]
    );
    assert_eq!(ids_and(&table, "name")[0].1, "A");
    let deleted = done(&["delete", &table, "--where", "price > 4 OR day IS NULL"]);
    assert_eq!(
        deleted.trim(),
        "version 3: 0 rows updated, 2 deleted, 0 inserted"
    );
    assert_eq!(ids_and(&table, "name").len(), 1);
    let none = done(&["delete", &table, "--where", "id = 77"]);
    assert_eq!(none.trim(), "version 3: there was nothing to change");
    let error = failed(&["delete", &table, "--where", "nope = 1"]);
    assert!(error.contains("nope"), "{error}");
    let error = failed(&["update", &table, "--set", "id = NULL"]);
    assert!(error.contains("id"), "{error}");
    assert_eq!(ids_and(&table, "name").len(), 1);
}

#[test]
fn a_table_is_altered_and_its_rows_are_held_to_the_new_constraint() {
    let folder = Folder::new("alter");
    let table = table(&folder);
    done(&["append", &table, &folder.file("rows.ndjson", PRICES)]);
    let altered = done(&[
        "alter",
        &table,
        "--add-column",
        "note:string",
        "--add-constraint",
        "small=id < 100",
        "--set",
        "delta.columnMapping.mode=name",
    ]);
    assert_eq!(altered.trim(), "version 2: altered");
    done(&[
        "alter",
        &table,
        "--rename",
        "name=title",
        "--drop-column",
        "note",
    ]);
    assert_eq!(ids_and(&table, "title").len(), 3);
    let error = failed(&["alter", &table, "--add-constraint", "none=id < 2"]);
    assert!(
        error.contains("none") && error.contains("rows: 2"),
        "{error}"
    );
    let many = folder.file("many.ndjson", "{\"id\": 100}\n");
    let error = failed(&["append", &table, &many]);
    assert!(error.contains("small"), "{error}");
    let info = done(&["info", &table, "--json"]);
    let info: Value = serde_json::from_str(info.trim()).unwrap();
    assert_eq!(info["properties"]["delta.constraints.small"], "id < 100");
    for wrong in [
        &["alter", &table][..],
        &["alter", &table, "--add-column", "x:what"],
    ] {
        assert_eq!(run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn versions_are_pinned_and_restored_and_what_nobody_needs_is_deleted() {
    let folder = Folder::new("maintain");
    let table = table(&folder);
    for id in 0..9 {
        let rows = folder.file("rows.ndjson", &format!("{{\"id\": {id}}}\n"));
        done(&["append", &table, &rows]);
    }
    let report = done(&["maintain", &table, "--once", "--json"]);
    let report: Value = serde_json::from_str(report.trim()).unwrap();
    assert_eq!(
        (&report["files_removed"], &report["files_added"]),
        (&9.into(), &1.into())
    );
    done(&["pin", "add", &table, "three", "--version", "3"]);
    assert_eq!(done(&["pin", "list", &table]).trim(), "three: version 3");
    let error = failed(&["vacuum", &table, "--retention", "0s"]);
    assert!(error.contains("allow unsafe"), "{error}");
    let unsafely = [
        "--retention",
        "0s",
        "--grace",
        "0s",
        "--allow-unsafe-retention",
    ];
    let vacuum = |more: &[&str]| done(&[&["vacuum", table.as_str()][..], &unsafely, more].concat());
    std::thread::sleep(std::time::Duration::from_millis(10));
    assert!(vacuum(&["--dry-run"]).contains("6 files"));
    assert!(vacuum(&[]).starts_with("6 files"));
    let scan = done(&["scan", &table, "--version", "3", "--format", "ndjson"]);
    assert_eq!(rows(&scan).len(), 3);
    let restored = done(&["restore", &table, "--version", "3"]);
    assert!(
        restored.contains("3 files restored, 1 removed"),
        "{restored}"
    );
    assert_eq!(ids_and(&table, "name").len(), 3);
    assert!(failed(&["restore", &table, "--version", "9"]).contains("vacuumed"));
    assert!(failed(&["restore", &table]).contains("--version"));
    done(&["pin", "remove", &table, "three"]);
    assert!(failed(&["pin", "remove", &table, "three"]).contains("three"));
    let cleaned = done(&["clean-up-log", &table, "--dry-run"]);
    assert_eq!(cleaned.trim(), "there was nothing to clean up");
    assert_eq!(
        run(&["vacuum", &table, "--retention", "soon"])
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn the_doctor_fails_where_rows_are_lost_and_only_there() {
    let folder = Folder::new("doctor");
    let table = table(&folder);
    let rows = folder.file("rows.ndjson", "{\"id\": 1}\n");
    done(&["append", &table, &rows]);
    done(&["doctor", &table]);
    let is_data = |path: &PathBuf| path.extension().is_some_and(|it| it == "parquet");
    let entries = std::fs::read_dir(&table).unwrap();
    let data = entries.map(|entry| entry.unwrap().path()).find(is_data);
    std::fs::remove_file(data.unwrap()).unwrap();
    let found = run(&["doctor", &table]);
    assert_eq!(found.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&found.stdout).contains("missing_file"));
    for share in ["nan", "0", "-1", "2", "inf"] {
        let refused = run(&["maintain", &table, "--once", "--core-share", share]);
        assert_eq!(refused.status.code(), Some(2), "{share}");
    }
}

#[test]
fn rows_are_overwritten_and_files_compacted() {
    let folder = Folder::new("overwrite");
    let table = table(&folder);
    let rows = folder.file("rows.ndjson", PRICES);
    done(&["append", &table, &rows]);
    done(&["append", &table, &rows]);
    let compacted = done(&["compact", &table, "--json"]);
    let compacted: Value = serde_json::from_str(compacted.trim()).unwrap();
    assert_eq!(compacted["rows"], 6, "{compacted}");
    assert_eq!(
        done(&["compact", &table]).trim(),
        "there was nothing to compact"
    );
    let one = folder.file("one.ndjson", "{\"id\": 1}\n");
    let replaced = done(&["overwrite", &table, &one, "--where", "id = 1", "--json"]);
    let replaced: Value = serde_json::from_str(replaced.trim()).unwrap();
    assert_eq!(
        (&replaced["rows_deleted"], &replaced["rows_inserted"]),
        (&2.into(), &1.into())
    );
    let error = failed(&["overwrite", &table, &one, "--where", "id = 2"]);
    assert!(
        error.contains("= 2") && error.contains("rows: 1"),
        "{error}"
    );
    done(&["overwrite", &table, &one]);
    assert_eq!(ids_and(&table, "name"), [(1, Value::Null)]);
}

#[test]
fn rows_of_a_file_are_merged_by_key() {
    let folder = Folder::new("merge");
    let table = table(&folder);
    done(&["append", &table, &folder.file("rows.ndjson", PRICES)]);
    let source = folder.file(
        "source.csv",
        "id,name,price\n2,bb,9.25\n4,d,4.00\n3,gone,\n",
    );
    let merged = done(&[
        "merge",
        &table,
        &source,
        "--on",
        "id",
        "--delete-matched",
        "source.price IS NULL",
        "--update-all",
        "--insert-all",
        "--delete-not-in-source",
        "--json",
    ]);
    let merged: Value = serde_json::from_str(&merged).unwrap();
    let counts =
        ["rows_updated", "rows_deleted", "rows_inserted"].map(|name| merged[name].as_u64());
    assert_eq!(counts, [Some(1), Some(2), Some(1)], "{merged}");
    assert_eq!(
        ids_and(&table, "price"),
        [(2, "9.25".into()), (4, "4.00".into())]
    );
    // Columns that the source lacks stay.
    assert_eq!(
        ids_and(&table, "day"),
        [(2, "2013-06-30".into()), (4, Value::Null)]
    );
    let twice = folder.file("twice.csv", "id,name\n2,x\n2,y\n");
    let error = failed(&[
        "merge",
        &table,
        &twice,
        "--on",
        "id",
        "--set",
        "name=source.name",
    ]);
    assert!(
        error.contains("columns: id") && !error.contains('x'),
        "{error}"
    );
}

/// A table of ids from 0 on, in files of 40 rows.
fn ids(folder: &Folder, name: &str, rows: i64) -> String {
    let schema = r#"{"type":"struct","fields":[{"name":"id","type":"long","nullable":false,"metadata":{}}]}"#;
    let schema = folder.file("ids.json", schema);
    let table = folder.path(name);
    done(&["create", &table, "--schema", &schema]);
    append_ids(folder, &table, 0..rows);
    table
}

fn append_ids(folder: &Folder, table: &str, ids: std::ops::Range<i64>) {
    let all: Vec<i64> = ids.collect();
    for part in all.chunks(40) {
        let lines: String = part.iter().map(|id| format!("{{\"id\":{id}}}\n")).collect();
        done(&["append", table, &folder.file("ids.ndjson", &lines)]);
    }
}

fn ids_of(batches: &[Value], name: &str) -> Vec<i64> {
    let rows = batches
        .iter()
        .flat_map(|batch| batch[name].as_array().unwrap());
    rows.map(|row| row["id"].as_i64().unwrap()).collect()
}

#[test]
fn a_feed_prints_batches_and_goes_on_from_its_state() {
    let folder = Folder::new("feed");
    let table = ids(&folder, "table", 100);
    let whole = rows(&done(&[
        "feed",
        &table,
        "--seed",
        "7",
        "--batch-rows",
        "16",
        "--json",
    ]));
    assert_eq!(whole.len(), 7);
    let order = ids_of(&whole, "batch");
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    assert_ne!(order, sorted);

    let state = folder.path("state");
    let begin = [
        "feed",
        &table,
        "--seed",
        "7",
        "--batch-rows",
        "16",
        "--batches",
        "3",
        "--state",
        &state,
        "--json",
    ];
    let mut parts = rows(&done(&begin));
    assert!(fs::read_to_string(&state).unwrap().len() <= 256);
    // Later versions do not matter: the run reads the one it began with.
    append_ids(&folder, &table, 100..110);
    parts.extend(rows(&done(&[
        "feed",
        &table,
        "--batch-rows",
        "9",
        "--state",
        &state,
        "--json",
    ])));
    assert_eq!(ids_of(&parts, "batch"), order);
    assert_eq!(done(&["feed", &table, "--state", &state, "--json"]), "");

    let refused = run(&["feed", &table, "--version", "1", "--state", &state]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another version"));
}

#[test]
fn a_feed_says_what_its_plan_came_to_and_splits() {
    let folder = Folder::new("feed-plan");
    let table = ids(&folder, "table", 100);
    let plan = |part: &str| {
        let split = "id:train=80,test=20";
        let text = done(&[
            "feed", &table, "--split", split, "--part", part, "--plan", "--json",
        ]);
        rows(&text).remove(0)
    };
    let (train, test) = (plan("train"), plan("test"));
    assert_eq!(
        train["rows"].as_u64().unwrap() + test["rows"].as_u64().unwrap(),
        100
    );
    assert_ne!(train["plan"], test["plan"]);
    assert_eq!(train["snapshot"], test["snapshot"]);
    assert_eq!(train["order"].as_str().unwrap().len(), 32);
    let wrong = run(&["feed", &table, "--split", "id", "--part", "train"]);
    assert_eq!(wrong.status.code(), Some(2));
    let none = run(&["feed", &table, "--split", "id:a=1", "--part", "b"]);
    assert_eq!(none.status.code(), Some(1));
}

#[test]
fn following_prints_what_is_new_or_appends_it_once() {
    let folder = Folder::new("follow");
    let table = ids(&folder, "table", 100);
    let state = folder.path("cursor");
    let follow = [
        "follow", &table, "--state", &state, "--files", "1", "--json",
    ];
    let first = rows(&done(&follow));
    assert_eq!(first.len(), 3);
    let mut seen = ids_of(&first, "input");
    seen.sort_unstable();
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
    assert_eq!(fs::read_to_string(&state).unwrap(), "3");
    assert_eq!(done(&follow), "");

    let sink = ids(&folder, "sink", 0);
    let copy = [
        "follow", &table, "--into", &sink, "--app-id", "copy", "--json",
    ];
    assert_eq!(rows(&done(&copy))[0]["rows"], 100);
    assert_eq!(done(&copy), "");
    append_ids(&folder, &table, 100..105);
    assert_eq!(rows(&done(&copy))[0]["rows"], 5);
    assert_eq!(ids_of(&rows(&done(&follow)), "input").len(), 5);
    assert_eq!(rows(&done(&["scan", &sink])).len(), 105);
    let after = done(&["follow", &table, "--after", "4", "--json"]);
    assert_eq!(after, "");
    let after = rows(&done(&["follow", &table, "--after", "3", "--json"]));
    assert_eq!(ids_of(&after, "input"), (100..105).collect::<Vec<_>>());
}
