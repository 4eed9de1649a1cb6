//! What the doctor says of tables of other engines: nothing of those that are sound, and exactly what is wrong with the
//! others.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{golden, headwater, names};

/// A table, its findings, and why it has them.
type Known = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
);

/// Tables in which the doctor finds what is really wrong with them: each finding's grade and code, and what it is. Those
/// with nothing but notes are sound all the same.
const KNOWN: &[Known] = &[
    (
        "golden-data-reader-absolute-paths-escaped-chars",
        &[
            ("rows", "metadata"),
            ("rows", "missing_file"),
            ("rows", "unsafe_path"),
        ],
        "made to be refused",
    ),
    (
        "golden-deltalog-state-reconstruction-from-checkpoint-missing-protocol",
        &[("damage", "corrupt_checkpoint"), ("rows", "missing_file")],
        "a checkpoint without protocol, in a log alone",
    ),
    (
        "golden-deltalog-state-reconstruction-without-protocol",
        &[("rows", "metadata"), ("rows", "missing_file")],
        "a log without protocol",
    ),
    (
        "golden-hive",
        &[("rows", "no_table")],
        "the tables lie deeper",
    ),
    (
        "golden-log-replay-special-characters-b",
        &[("rows", "missing_file")],
        "a log alone",
    ),
    (
        "golden-no-delta-log-folder",
        &[("rows", "no_table")],
        "no log",
    ),
    (
        "golden-versions-not-contiguous",
        &[("rows", "log_gap"), ("rows", "no_anchor")],
        "made to be refused",
    ),
    (
        "kernel-app-txn-with-last-updated",
        &[("rows", "missing_file")],
        "a log alone",
    ),
    (
        "kernel-crc-full",
        &[("damage", "checksum_differs")],
        "a checksum of files that no commit adds",
    ),
    (
        "kernel-crc-malformed",
        &[("rows", "no_table")],
        "the tables lie deeper",
    ),
    (
        "kernel-parquet_row_group_skipping",
        &[("rows", "checkpoint_differs")],
        "its checkpoint is of another table",
    ),
    (
        "kernel-parsed-stats",
        &[("rows", "stale_statistics")],
        "null counts of 0 in a column of nulls",
    ),
    (
        "kernel-table-with-geo",
        &[("note", "unsupported")],
        "a feature that no reader here has",
    ),
    (
        "kernel-type-widening",
        &[("note", "unsupported")],
        "a type change that the protocol does not have",
    ),
    (
        "kernel-with_checkpoint_no_last_checkpoint",
        &[("rows", "missing_file")],
        "a log alone",
    ),
    (
        "rs-cdc_ict_table",
        &[("damage", "checksum_differs"), ("damage", "commit_time")],
        "an in-commit timestamp was edited",
    ),
    (
        "rs-checkpoints_vacuumed",
        &[("rows", "missing_file")],
        "a log alone",
    ),
    (
        "rs-issue_1374",
        &[("rows", "stale_statistics")],
        "a minimum was edited",
    ),
    (
        "rs-simple_table_features",
        &[("note", "unsupported")],
        "made to be refused",
    ),
    (
        "rs-spark-variant-stable-feature-checkpoint",
        &[("rows", "missing_file")],
        "a log alone",
    ),
    (
        "rs-table_failed_last_checkpoint_update",
        &[("note", "hint")],
        "the hint is behind, which costs time",
    ),
    (
        "rs-with_checkpoint_no_last_checkpoint",
        &[("rows", "missing_file")],
        "a log alone",
    ),
];

#[test]
fn the_doctor_finds_nothing_in_golden_tables_that_are_sound() {
    let Some(golden) = golden() else {
        return;
    };
    let (mut wrong, mut clean, mut noted) = (Vec::new(), 0, 0);
    let names = names(&golden);
    for name in &names {
        let table = golden.join(name).join("table");
        let output = headwater(&["doctor", "--rows", "--json"], &table);
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let found: BTreeSet<_> = lines
            .iter()
            .filter(|line| line["code"].is_string())
            .map(|line| (text(line, "grade"), text(line, "code")))
            .collect();
        let known = KNOWN.iter().find(|(known, ..)| known == name);
        let known: BTreeSet<_> = known
            .map(|(_, findings, _)| findings.iter())
            .into_iter()
            .flatten()
            .map(|(grade, code)| ((*grade).to_owned(), (*code).to_owned()))
            .collect();
        let loses_rows = known.iter().any(|(grade, _)| grade == "rows");
        clean += usize::from(found.is_empty());
        let has_notes = !found.is_empty() && found.iter().all(|(grade, _)| grade == "note");
        noted += usize::from(has_notes);
        if found != known || output.status.code() != Some(i32::from(loses_rows)) {
            wrong.push(format!(
                "{name}: expected {known:?}, found {found:?} {lines:?}"
            ));
        }
    }
    println!(
        "doctor: {clean} of {} tables without a finding, {noted} with notes alone, {} that are damaged",
        names.len(),
        names.len() - clean - noted
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(clean + KNOWN.len(), names.len());
}
