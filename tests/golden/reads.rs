//! Every read that stands beside a table: rows, changes, row ids, files, sums and history, or the error.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use headwater::{Code, Error, ErrorKind, Table};
use serde_json::Value;

use crate::rows::{compare, rows, sha256};
use crate::{golden, headwater, message, names};

/// A table whose stored rows break the protocol: the table that tells the right ones, and how many files it has.
///
/// The log compaction files of this one hold an `add` and a `remove` of the same logical file, which reconciliation of
/// their commits cannot give (PROTOCOL.md, Log Compaction Files); the commits themselves are those of the other table.
const DISPUTED: [(&str, &str, u64); 1] = [(
    "kernel-compacted-log-files-table",
    "kernel-cdf-table-with-cdc-and-dvs",
    2,
)];

/// Why each read that fails fails: table, code, and words of the message.
///
/// The first table's only commit with a `metaData` is not there, and its path leads out of it. The second has a
/// checkpoint without protocol and schema, for which its commits make up, but no data: see
/// [`a_checkpoint_without_protocol_and_schema_is_no_checkpoint`].
const REFUSED: [(&str, Code, &str); 10] = [
    (
        "golden-data-reader-absolute-paths-escaped-chars",
        Code::NoUsableAnchor,
        "no metaData action",
    ),
    (
        "golden-deltalog-state-reconstruction-from-checkpoint-missing-protocol",
        Code::DataCorrupt,
        "is missing (path: 0)",
    ),
    (
        "golden-deltalog-state-reconstruction-without-protocol",
        Code::NoUsableAnchor,
        "no protocol action",
    ),
    (
        "golden-hive",
        Code::TableNotFound,
        "no table at this location",
    ),
    (
        "golden-no-delta-log-folder",
        Code::TableNotFound,
        "no table at this location",
    ),
    ("golden-versions-not-contiguous", Code::LogGap, "missing: 1"),
    (
        "kernel-crc-malformed",
        Code::TableNotFound,
        "no table at this location",
    ),
    (
        "kernel-table-with-geo",
        Code::UnsupportedFeature,
        "geospatial",
    ),
    (
        "kernel-type-widening",
        Code::UnsupportedFeature,
        "from byte to decimal(4,1)",
    ),
    (
        "rs-simple_table_features",
        Code::UnsupportedFeature,
        "blahabl",
    ),
];

/// A table and what is expected of it.
struct Golden {
    name: String,
    folder: PathBuf,
    expect: Value,
}

impl Golden {
    fn open(golden: &Path, name: &str) -> Self {
        let folder = golden.join(name);
        let expect = fs::read_to_string(folder.join("expect.json")).unwrap();
        Self {
            name: name.to_owned(),
            folder,
            expect: serde_json::from_str(&expect).unwrap(),
        }
    }

    fn table(&self) -> PathBuf {
        self.folder.join("table")
    }

    /// The reads of a kind: version and what is expected.
    fn reads(&self, kind: &str) -> Vec<(&str, &Value)> {
        let reads = self.expect[kind].as_object().into_iter().flatten();
        reads
            .map(|(version, expected)| (version.as_str(), expected))
            .collect()
    }

    fn run(&self, verb: &[&str], version: &str) -> Output {
        let named = ["--version", version];
        let named = if is_latest(version) { &[] } else { &named[..] };
        headwater(&[verb, named].concat(), &self.table())
    }

    fn disputed(&self) -> Option<(&'static str, u64)> {
        let found = DISPUTED.iter().find(|(name, ..)| *name == self.name);
        found.map(|(_, source, files)| (*source, *files))
    }

    /// The stored rows of a read.
    fn stored(&self, file: &str) -> Option<String> {
        let folder = match self.disputed() {
            Some((source, _)) => self.folder.with_file_name(source),
            None => self.folder.clone(),
        };
        fs::read_to_string(folder.join(file)).ok()
    }

    /// The top-level columns that hold a variant at some depth.
    fn variants(&self, version: &str) -> Result<Vec<String>, String> {
        let info = self.info(version)?;
        let fields = info["schema"]["fields"].as_array().unwrap().iter();
        let variants = fields.filter(|field| field["type"].to_string().contains("\"variant\""));
        Ok(variants
            .map(|field| field["name"].as_str().unwrap().to_owned())
            .collect())
    }

    fn info(&self, version: &str) -> Result<Value, String> {
        let info = self.run(&["info", "--json"], version);
        match info.status.success() {
            true => Ok(serde_json::from_slice(&info.stdout).unwrap()),
            false => Err(message(&info)),
        }
    }
}

fn is_latest(version: &str) -> bool {
    matches!(version, "latest" | "-1")
}

/// One kind of read: how many there are, and which went wrong.
#[derive(Default)]
struct Tally {
    reads: usize,
    wrong: Vec<String>,
    tables: BTreeSet<String>,
}

impl Tally {
    fn note(&mut self, golden: &Golden, what: &str, outcome: Result<(), String>) {
        self.reads += 1;
        self.tables.insert(golden.name.clone());
        if let Err(text) = outcome {
            self.wrong.push(format!("{}: {what}: {text}", golden.name));
        }
    }

    /// Prints `n of n`, and fails unless it is.
    fn settle(self, what: &str, tables: usize, reads: usize) {
        let right = self.reads - self.wrong.len();
        let wrong = self.wrong.iter().filter_map(|text| text.split(": ").next());
        let wrong: BTreeSet<_> = wrong.collect();
        println!(
            "{what}: {right} of {} reads, {} of {} tables",
            self.reads,
            self.tables.len() - wrong.len(),
            self.tables.len()
        );
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
        assert!(tables <= self.tables.len() && reads <= self.reads);
    }
}

#[test]
fn golden_tables_give_the_rows_beside_them_or_the_error() {
    let Some(golden) = golden() else {
        return;
    };
    let mut tally = Tally::default();
    for name in names(&golden) {
        let golden = Golden::open(&golden, &name);
        for (version, expected) in golden.reads("reads") {
            let what = format!("version {version}");
            tally.note(&golden, &what, check_read(&golden, version, expected));
        }
    }
    tally.settle("rows", 141, 325);
}

fn check_read(golden: &Golden, version: &str, expected: &Value) -> Result<(), String> {
    let output = golden.run(&["scan", "--format", "ndjson"], version);
    if let Some(kind) = expected["error"].as_str() {
        return check_error(golden, version, kind, &output);
    }
    if expected["data"] == "absent" {
        check_absent(golden, version, &output)?;
        return check_sums(golden, version, None);
    }
    if !output.status.success() {
        return Err(message(&output));
    }
    let stored = format!("rows@{version}.ndjson");
    let count = check_rows(golden, version, expected, &output, &stored)?;
    check_sums(golden, version, Some(count))
}

/// The command fails with one line and exit code 1, and the library with the kind that the reference states.
fn check_error(golden: &Golden, version: &str, kind: &str, output: &Output) -> Result<(), String> {
    let text = message(output);
    if output.status.code() != Some(1) || text.lines().count() != 1 {
        return Err(format!("an error of the kind {kind} expected, got: {text}"));
    }
    let error = library_error(golden, version)?;
    let found = format!("{:?}", error.kind());
    if found != kind {
        return Err(format!("an error of the kind {kind} expected: {error:?}"));
    }
    let known = REFUSED.iter().find(|(name, ..)| *name == golden.name);
    match known {
        Some((_, code, word)) if *code == error.code() && text.contains(word) => Ok(()),
        _ => Err(format!("{known:?} expected: {error:?} {text}")),
    }
}

/// What the library says to who reads this version.
fn library_error(golden: &Golden, version: &str) -> Result<Error, String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let place = golden.table();
    let read = runtime.block_on(async {
        let table = Table::open(place.to_str().unwrap()).await?;
        let snapshot = match is_latest(version) {
            true => table.snapshot(),
            false => table.snapshot_at(version.parse::<u64>().unwrap()).await?,
        };
        snapshot.scan().collect().await.map(drop)
    });
    read.err().ok_or_else(|| "it was read".to_owned())
}

/// A file that is not there is named, unless its path leads out of the table: such a one may hold a secret.
fn check_absent(golden: &Golden, version: &str, output: &Output) -> Result<(), String> {
    if output.status.code() != Some(1) {
        return Err("it was read, without its files".to_owned());
    }
    let error = library_error(golden, version)?;
    let named = error
        .context_value("path")
        .is_some_and(|path| path.ends_with(".parquet") || !path.is_empty());
    match (error.kind(), error.code()) {
        (ErrorKind::Corrupt, Code::UnsafePath) => Ok(()),
        (ErrorKind::Corrupt | ErrorKind::NotFound, _) if named => Ok(()),
        _ => Err(format!("{error:?}")),
    }
}

/// Holds what was printed against the stored rows, or their digest; how many rows there are.
fn check_rows(
    golden: &Golden,
    version: &str,
    expected: &Value,
    output: &Output,
    stored: &str,
) -> Result<u64, String> {
    let printed = String::from_utf8(output.stdout.clone()).unwrap();
    let stored = golden.stored(stored);
    let loose = golden.variants(version)?;
    if let Some(stored) = &stored {
        let wanted = rows(stored, &loose, &[]);
        compare(&wanted, &rows(&printed, &loose, &[]))?;
    } else {
        let wanted = expected["sha256_of_sorted_rows"].as_str();
        let found = sha256(&printed);
        if wanted != Some(&found) {
            return Err(format!("the digest is {found}, not {wanted:?}"));
        }
    }
    let count = printed.lines().count() as u64;
    let right = golden.disputed().is_some() || expected["rows"].as_u64() == Some(count);
    match right {
        true => Ok(count),
        false => Err(format!("{count} rows, expected {}", expected["rows"])),
    }
}

/// Times of commits are times of files, which copying changes, unless they stand in the commits.
fn not_compared(golden: &Golden) -> &'static [&'static str] {
    let properties = &golden.info("latest").unwrap()["properties"];
    let from_the_first = properties["delta.inCommitTimestampEnablementVersion"].is_null();
    match properties["delta.enableInCommitTimestamps"] == "true" && from_the_first {
        true => &[],
        false => &["_commit_timestamp"],
    }
}

/// What `info`, `files` and `history` say of a version, held against the reference, against a replay of the commits,
/// and against each other.
fn check_sums(golden: &Golden, version: &str, rows: Option<u64>) -> Result<(), String> {
    let info = golden.info(version)?;
    let number: u64 = version.parse().unwrap();
    if info["version"].as_u64() != Some(number) {
        return Err(format!("info says version {}", info["version"]));
    }
    let counted = info["rows"].as_u64();
    if counted.is_some_and(|counted| rows.is_some_and(|rows| rows != counted)) {
        return Err(format!("info says {counted:?} rows, there are {rows:?}"));
    }
    let listed = golden.run(&["files", "--json"], version);
    if !listed.status.success() {
        return Err(message(&listed));
    }
    let listed = String::from_utf8(listed.stdout).unwrap();
    let paths = paths(listed.lines());
    let count = paths.values().sum::<u64>();
    if info["files"].as_u64() != Some(count) {
        return Err(format!("info says {} files, {count} listed", info["files"]));
    }
    let newest = golden.expect["version"].as_u64() == Some(number);
    let wanted = match golden.disputed() {
        Some((_, files)) => Some(files),
        None => golden.expect["files"].as_u64(),
    };
    if newest && wanted.is_some_and(|wanted| wanted != count) {
        return Err(format!("{count} files, expected {wanted:?}"));
    }
    if let Some(live) = replayed(golden, number) {
        let live: BTreeMap<_, _> = live.into_iter().map(|path| (path, 1)).collect();
        if live != paths {
            return Err(format!("files {paths:?}, by its commits {live:?}"));
        }
    }
    if newest {
        check_history(golden, number)?;
    }
    Ok(())
}

/// Logical files, as path and deletion vector, of lines of `files --json`; each should be there once.
fn paths<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<(String, String), u64> {
    let mut paths = BTreeMap::new();
    for line in lines {
        let add: Value = serde_json::from_str(line).unwrap();
        *paths.entry(logical_file(&add)).or_default() += 1;
    }
    paths
}

fn logical_file(action: &Value) -> (String, String) {
    let vector = &action["deletionVector"];
    let vector = match vector.is_object() {
        true => format!(
            "{}{}@{}",
            vector["storageType"], vector["pathOrInlineDv"], vector["offset"]
        ),
        false => String::new(),
    };
    // The same path, with and without a scheme.
    let path = action["path"].as_str().unwrap();
    let local = path.strip_prefix("file:").unwrap_or(path);
    let local = match local.starts_with("///") {
        true => &local[2..],
        false => local,
    };
    (local.to_owned(), vector)
}

fn commit_of(golden: &Golden, version: u64) -> Option<Vec<Value>> {
    let place = golden
        .table()
        .join(format!("_delta_log/{version:020}.json"));
    let text = fs::read_to_string(place).ok()?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    Some(
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}

/// The live files by the commits alone, if all of them are there.
fn replayed(golden: &Golden, version: u64) -> Option<BTreeSet<(String, String)>> {
    let mut live = BTreeSet::new();
    for number in 0..=version {
        let commit = commit_of(golden, number)?;
        for remove in commit.iter().filter(|line| line["remove"].is_object()) {
            live.remove(&logical_file(&remove["remove"]));
        }
        for add in commit.iter().filter(|line| line["add"].is_object()) {
            live.insert(logical_file(&add["add"]));
        }
    }
    Some(live)
}

/// The history has every version whose commit is there, newest first, each with what its writer said.
fn check_history(golden: &Golden, newest: u64) -> Result<(), String> {
    let history = headwater(&["history", "--json"], &golden.table());
    if !history.status.success() {
        return Err(message(&history));
    }
    let history = String::from_utf8(history.stdout).unwrap();
    let told: Vec<(u64, Value)> = history
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|entry| {
            (
                entry["version"].as_u64().unwrap(),
                entry["operation"].clone(),
            )
        })
        .collect();
    let wanted: Vec<(u64, Value)> = (0..=newest)
        .rev()
        .filter_map(|version| {
            let commit = commit_of(golden, version)?;
            let info = commit.iter().find(|line| line["commitInfo"].is_object());
            let operation = info.map(|line| line["commitInfo"]["operation"].clone());
            Some((version, operation.unwrap_or_default()))
        })
        .collect();
    match told == wanted {
        true => Ok(()),
        false => Err(format!("history {told:?}, by the commits {wanted:?}")),
    }
}

/// Where nothing but the checkpoint is left, the table is refused, and the error says what the checkpoint lacks.
#[test]
fn a_checkpoint_without_protocol_and_schema_is_no_checkpoint() {
    let Some(golden) = golden() else {
        return;
    };
    let name = "golden-deltalog-state-reconstruction-from-checkpoint-missing-protocol";
    let from = golden.join(name).join("table/_delta_log");
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("golden-missing-protocol");
    let log = place.join("_delta_log");
    fs::create_dir_all(&log).unwrap();
    for file in [
        "00000000000000000010.checkpoint.parquet",
        "_last_checkpoint",
    ] {
        fs::copy(from.join(file), log.join(file)).unwrap();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let opened = runtime.block_on(Table::open(place.to_str().unwrap()));
    let error = opened.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    let told = format!("{error:?}");
    assert!(told.contains("lacks its id or schema"), "{told}");
}

#[test]
fn golden_tables_give_the_changes_beside_them() {
    let Some(golden) = golden() else {
        return;
    };
    let mut tally = Tally::default();
    for name in names(&golden) {
        let golden = Golden::open(&golden, &name);
        for (version, expected) in golden.reads("changes") {
            let what = format!("changes to {version}");
            tally.note(&golden, &what, check_changes(&golden, version, expected));
        }
    }
    tally.settle("changes", 12, 12);
}

fn check_changes(golden: &Golden, version: &str, expected: &Value) -> Result<(), String> {
    let arguments = [
        "changes", "--from", "0", "--to", version, "--format", "ndjson",
    ];
    let output = headwater(&arguments, &golden.table());
    if let Some(kind) = expected["error"].as_str() {
        let text = message(&output);
        if output.status.code() != Some(1) || text.lines().count() != 1 {
            return Err(format!("an error of the kind {kind} expected, got: {text}"));
        }
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let place = golden.table();
        let read = runtime.block_on(async {
            let table = Table::open(place.to_str().unwrap()).await?;
            let to = version.parse::<u64>().unwrap();
            table.changes(0).to(to).collect().await
        });
        return match read {
            Err(error) if format!("{:?}", error.kind()) == kind => Ok(()),
            other => Err(format!("{kind} expected: {other:?}")),
        };
    }
    if !output.status.success() {
        return Err(message(&output));
    }
    let stored = format!("changes-rows@{version}.ndjson");
    let stored_rows = golden.folder.join(&stored);
    assert!(stored_rows.exists(), "{}", stored_rows.display());
    // Of changes nothing is disputed: they are the commits' own.
    let without = not_compared(golden);
    let wanted = rows(&fs::read_to_string(stored_rows).unwrap(), &[], without);
    let printed = String::from_utf8(output.stdout).unwrap();
    compare(&wanted, &rows(&printed, &[], without))?;
    let count = printed.lines().count() as u64;
    match expected["rows"].as_u64() == Some(count) {
        true => Ok(()),
        false => Err(format!("{count} changes, expected {}", expected["rows"])),
    }
}

#[test]
fn golden_tables_give_the_row_ids_beside_them() {
    let Some(golden) = golden() else {
        return;
    };
    let mut tally = Tally::default();
    for name in names(&golden) {
        let golden = Golden::open(&golden, &name);
        for (version, expected) in golden.reads("rowids") {
            let scan = ["scan", "--row-ids", "--format", "ndjson"];
            let output = golden.run(&scan, version);
            let stored = format!("rowids-rows@{version}.ndjson");
            let outcome = match output.status.success() {
                true => check_rows(&golden, version, expected, &output, &stored).map(drop),
                false => Err(message(&output)),
            };
            tally.note(&golden, &format!("row ids at {version}"), outcome);
        }
    }
    tally.settle("row ids", 3, 6);
}
