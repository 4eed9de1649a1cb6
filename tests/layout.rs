//! Holds the shape of the crate: rooms know only rooms before them, files stay small, names say something.

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

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A file may name only its own room and rooms that stand before it.
const ROOMS: [&str; 15] = [
    "error",
    "environment",
    "protocol",
    "storage",
    "predicate",
    "log",
    "snapshot",
    "table",
    "data",
    "scan",
    "transaction",
    "operation",
    "maintenance",
    "feed",
    "fuzzing",
];

/// Files that are functions of their arguments: no store, no clock, no randomness.
const PURE: [&str; 10] = [
    "protocol/",
    "predicate/",
    "log/path.rs",
    "log/times.rs",
    "data/collector",
    "data/fingerprint",
    "transaction/conflict.rs",
    "feed/order",
    "feed/split",
    "error.rs",
];

/// Lines of a file without its tests, at most.
const LINES_MAX: usize = 600;

#[test]
fn a_room_names_only_rooms_before_it() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let Some(own) = room_of(&path) else { continue };
        for named in rooms_named(&text) {
            match position(&named) {
                None => wrong.push(format!("{path}: crate::{named} is not a room")),
                Some(place) if position(&own).is_some_and(|own| own < place) => {
                    wrong.push(format!(
                        "{path}: {own} names {named}, which stands after it"
                    ));
                }
                Some(_) => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_is_in_a_room() {
    let strays = sources().into_iter().filter(|(path, _)| {
        path != "lib.rs"
            && !path.starts_with("bin/")
            && room_of(path).and_then(|room| position(&room)).is_none()
    });
    assert_eq!(
        strays.map(|(path, _)| path).collect::<Vec<_>>(),
        Vec::<String>::new()
    );
}

#[test]
fn error_imports_nothing_and_pure_files_touch_nothing() {
    for (path, text) in sources() {
        let named = rooms_named(&text);
        if path == "error.rs" {
            assert!(named.is_empty(), "error.rs names {named:?}");
        }
        if PURE.iter().any(|pure| path.starts_with(pure)) {
            for outside in ["storage", "environment"] {
                assert!(
                    !named.contains(outside),
                    "{path} is pure but names {outside}"
                );
            }
        }
    }
}

#[test]
fn files_are_small_and_named_for_what_they_know() {
    for (path, text) in sources() {
        let code = text
            .split("\n#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or(&text);
        let lines = code.lines().count();
        let is_test = path.ends_with("tests.rs") || path.contains("/tests/");
        assert!(
            is_test || lines <= LINES_MAX,
            "{path} has {lines} lines without tests"
        );
        for banned in ["util", "helper", "manager", "misc", "common"] {
            assert!(
                !path.contains(banned),
                "{path}: a room is named for what it knows"
            );
        }
        assert!(
            !text.contains("super::super"),
            "{path} reaches over its parent"
        );
        assert!(!text.contains("TODO"), "{path} leaves something open");
        let other = text
            .chars()
            .find(|character| !character.is_ascii() && *character != '\u{2026}');
        assert!(is_test || other.is_none(), "{path} is not ASCII: {other:?}");
    }
}

#[test]
fn one_place_writes_commits_and_none_deletes() {
    for (path, text) in sources() {
        let code = text
            .split("\n#[cfg(test)]\nmod tests")
            .next()
            .unwrap_or(&text);
        // Examples delete rows, not objects.
        let code: String = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        let is_test = path.ends_with("tests.rs") || path.contains("/tests/");
        if path.starts_with("storage/") || is_test {
            continue;
        }
        assert!(
            path == "log/commit.rs" || !code.contains(".put_if_absent("),
            "{path} writes a commit"
        );
        // The command holds tables, not objects.
        let may_delete = path == "maintenance/vacuum.rs" || path.starts_with("bin/");
        assert!(
            may_delete || !code.contains(".delete("),
            "{path} deletes an object"
        );
    }
}

fn position(room: &str) -> Option<usize> {
    ROOMS.iter().position(|known| *known == room)
}

fn room_of(path: &str) -> Option<String> {
    let first = path.split('/').next()?;
    let room = first.strip_suffix(".rs").unwrap_or(first);
    (path != "lib.rs" && room != "bin").then(|| room.to_owned())
}

/// What stands after `crate::` outside comments.
fn rooms_named(text: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for line in text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
    {
        for (index, _) in line.match_indices("crate::") {
            let rest = &line[index + "crate::".len()..];
            let name: String = rest
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            rooms.insert(name);
        }
    }
    rooms
}

/// Every source file: its path below `src` and its text.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path
                    .strip_prefix(&root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .replace('\\', "/");
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(10 < found.len(), "the sources were not found");
    found.sort();
    found
}
