//! Rows go in and come out.

use std::path::Path;

use serde_json::Value;

use crate::{Folder, done, failed, rows, run, table};

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
