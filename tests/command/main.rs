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

mod changes;
mod feed;
mod formats;
mod json;
mod rows;
mod upkeep;
mod usage;

use std::fs;
use std::path::PathBuf;
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

const PRICES: &str = concat!(
    r#"{"id":1,"name":"a","price":"1.50","ratio":0.5,"day":"2013-06-30","at":null,"tags":null}"#,
    "\n",
    r#"{"id":2,"name":"b","price":"2.50","ratio":null,"day":"2013-06-30","at":null,"tags":null}"#,
    "\n",
    r#"{"id":3,"name":null,"price":null,"ratio":1.5,"day":null,"at":null,"tags":null}"#,
    "\n",
);
