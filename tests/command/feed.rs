//! What pipelines take from a table.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::{Folder, done, failed, rows, run};

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

#[test]
fn what_is_added_after_the_newest_version_comes_with_the_next_run() {
    let folder = Folder::new("latest");
    let table = ids(&folder, "table", 100);
    let state = folder.path("cursor");
    let follow = ["follow", &table, "--latest", "--state", &state, "--json"];
    assert_eq!(done(&follow), "");
    assert_eq!(fs::read_to_string(&state).unwrap(), "3");
    append_ids(&folder, &table, 100..105);
    let next = rows(&done(&follow));
    assert_eq!(ids_of(&next, "input"), (100..105).collect::<Vec<_>>());
}

#[test]
fn versions_without_rows_move_the_cursor() {
    let folder = Folder::new("quiet");
    let table = ids(&folder, "table", 100);
    let sink = ids(&folder, "sink", 0);
    let state = folder.path("cursor");
    let follow = ["follow", &table, "--state", &state, "--no-rows"];
    let copy = ["follow", &table, "--into", &sink, "--app-id", "copy"];
    done(&follow);
    done(&copy);
    done(&["compact", &table]);
    assert_eq!(done(&follow), "");
    assert_eq!(fs::read_to_string(&state).unwrap(), "4");
    assert_eq!(done(&copy), "");
    let history = done(&["history", &sink, "--limit", "1", "--json"]);
    assert!(
        history.contains(r#"\"to\\\":\\\"4\\\""#) || history.contains("to\\\":\\\"4"),
        "{history}"
    );
}

/// J-4: a gap is an error, and passing it over costs the rows before it alone.
#[test]
fn j_4_a_gap_is_passed_over_when_that_is_asked_for() {
    let folder = Folder::new("gap");
    let table = ids(&folder, "table", 100);
    done(&["checkpoint", &table]);
    append_ids(&folder, &table, 100..105);
    for version in 0..3 {
        let log = PathBuf::from(&table).join("_delta_log");
        fs::remove_file(log.join(format!("{version:020}.json"))).unwrap();
    }
    let follow = ["follow", &table, "--after", "1", "--json"];
    assert!(failed(&follow).contains("gone"));
    let passed = rows(&done(&[&follow[..], &["--skip-gaps"]].concat()));
    assert_eq!(ids_of(&passed, "input"), (100..105).collect::<Vec<_>>());
    let sink = ids(&folder, "sink", 0);
    let copy = [
        "follow", &table, "--from", "2", "--into", &sink, "--app-id", "copy",
    ];
    failed(&copy);
    done(&[&copy[..], &["--skip-gaps"]].concat());
    assert_eq!(rows(&done(&["scan", &sink])).len(), 5);
}

#[test]
fn watching_ends_at_the_last_version_that_was_asked_for() {
    let folder = Folder::new("until");
    let table = ids(&folder, "table", 100);
    let sink = ids(&folder, "sink", 0);
    let until = ["--until", "2", "--watch", "5"];
    let printed = rows(&done(&[&["follow", &table, "--json"][..], &until].concat()));
    assert_eq!(ids_of(&printed, "input").len(), 80);
    let copy = ["follow", &table, "--into", &sink, "--app-id", "copy"];
    done(&[&copy[..], &until].concat());
    assert_eq!(rows(&done(&["scan", &sink])).len(), 80);
}

/// J-8: whenever the command is killed, its state is the old one or the new one, and a new run misses no row.
#[test]
fn j_8_a_feed_that_is_killed_goes_on_from_a_whole_state() {
    let folder = Folder::new("killed");
    let table = ids(&folder, "table", 200);
    let state = folder.path("state");
    let feed = [
        "feed",
        &table,
        "--batch-rows",
        "2",
        "--state",
        &state,
        "--json",
    ];
    let mut seen = std::collections::BTreeSet::new();
    let mut kills = 0;
    for life in 0..40_u64 {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_headwater"))
            .args(feed)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        // At another place of its work each time: after some batches, while the next state is written.
        let mut text = String::new();
        for _ in 0..life % 7 {
            std::io::BufRead::read_line(&mut out, &mut text).unwrap();
        }
        std::thread::sleep(std::time::Duration::from_micros(life * 97 % 1_000));
        child.kill().unwrap();
        std::io::Read::read_to_string(&mut out, &mut text).unwrap();
        kills += usize::from(!child.wait().unwrap().success());
        // The last line may have been cut.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        seen.extend(ids_of(&rows(whole), "batch"));
        if let Ok(saved) = fs::read_to_string(&state) {
            saved.parse::<headwater::feed::FeedState>().unwrap();
        }
    }
    assert!(10 < kills, "{kills}");
    seen.extend(ids_of(&rows(&done(&feed)), "batch"));
    assert_eq!(seen, (0..200).collect());
}
