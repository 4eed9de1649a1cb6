//! Where tests find the tables that other engines wrote.

use std::path::{Path, PathBuf};

/// The folder of these tables: beside the checkout, or where `HEADWATER_GOLDEN` says.
///
/// None where there is none, except with `CI` set: there a test that compares nothing fails.
pub(crate) fn folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/golden");
    let found = std::env::var_os("HEADWATER_GOLDEN").map_or(beside, PathBuf::from);
    let found = found.is_dir().then_some(found);
    assert!(
        found.is_some() || std::env::var_os("CI").is_none(),
        "the golden tables are missing"
    );
    found
}

/// Every line of the JSON files in these tables' logs, each with its table's folder; None without the tables.
pub(crate) fn log_lines() -> Option<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    for table in std::fs::read_dir(folder()?).unwrap() {
        let table = table.unwrap().path().join("table");
        let Ok(log) = std::fs::read_dir(table.join("_delta_log")) else {
            continue;
        };
        let names = log.map(|entry| entry.unwrap().path());
        files.extend(names.filter(|path| path.extension().is_some_and(|end| end == "json")));
    }
    files.sort();
    let mut lines = Vec::new();
    for file in files {
        let table = file.parent().and_then(Path::parent).unwrap().to_owned();
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let filled = text.lines().filter(|line| !line.trim().is_empty());
        lines.extend(filled.map(|line| (table.clone(), line.to_owned())));
    }
    Some(lines)
}
