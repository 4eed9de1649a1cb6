//! Tables that other engines wrote, read through the command, against what the reference engine reads from them.
//!
//! The tables lie in `../shared/golden` (or where `HEADWATER_GOLDEN` says); without them the tests say so and, with
//! `CI` set, fail.

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

mod doctor;
mod reads;
mod rows;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The folder of the tables.
fn golden() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/golden");
    let named = std::env::var_os("HEADWATER_GOLDEN").map(PathBuf::from);
    let found = Some(named.unwrap_or(beside)).filter(|folder| folder.is_dir());
    if found.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "the golden tables are missing"
        );
        eprintln!("the golden tables are missing: nothing was compared");
    }
    found
}

/// The tables, in order.
fn names(golden: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(golden)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
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

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}
