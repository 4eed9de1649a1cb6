//! Versions are kept, restored and cleaned up.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::{Folder, done, failed, ids_and, rows, run, table};

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
    assert_eq!(run(&["restore", &table]).status.code(), Some(2));
    let removed = done(&["pin", "remove", &table, "three", "--json"]);
    assert_eq!(rows(&removed)[0]["removed"], true);
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
    let entries = |folder: PathBuf| fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    // The table is partitioned.
    let parts = entries(PathBuf::from(&table)).filter(|path| path.is_dir());
    let data: Vec<PathBuf> = parts.flat_map(entries).filter(is_data).collect();
    assert_eq!(data.len(), 1);
    fs::remove_file(&data[0]).unwrap();
    let found = run(&["doctor", &table]);
    assert_eq!(found.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&found.stdout).contains("missing_file"));
    for share in ["nan", "0", "-1", "2", "inf"] {
        let refused = run(&["maintain", &table, "--once", "--core-share", share]);
        assert_eq!(refused.status.code(), Some(2), "{share}");
    }
}

#[test]
fn b_4_a_commit_file_without_bytes_is_taken_back_when_that_is_asked_for() {
    let folder = Folder::new("repair");
    let table = table(&folder);
    let rows = folder.file("rows.ndjson", "{\"id\": 1}\n");
    done(&["append", &table, &rows]);
    let repair = ["repair", &table, "--drop-empty-tip"];
    assert!(done(&repair).contains("nothing to take back"));
    let empty = PathBuf::from(&table).join(format!("_delta_log/{:020}.json", 2));
    fs::write(&empty, "").unwrap();
    let refused = failed(&["append", &table, &rows]);
    assert!(refused.contains("drop_empty_tip"), "{refused}");
    let unasked = run(&["repair", &table]);
    assert_eq!(unasked.status.code(), Some(2));
    assert!(done(&[&repair[..], &["--json"]].concat()).contains("{\"dropped\":2}"));
    done(&["append", &table, &rows]);
    assert_eq!(
        done(&["scan", &table, "--format", "ndjson"])
            .lines()
            .count(),
        2
    );
}
