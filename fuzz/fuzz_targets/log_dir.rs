//! A whole log: an error, or rows; what is well formed gives what a naive replay gives.
//!
//! An input is either text (`== name`, then the lines of that file, and so on), or a list of decisions that make a log
//! as writers make them, with and without a checkpoint.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use arbitrary::Unstructured;
use headwater::environment::Environment;
use headwater::storage::Storage;
use headwater::{Result, Snapshot, Table};
use headwater_fuzz::{given, place, run, start, store};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

/// A file of the ids 0 to 99, which lies under each of these names.
const HUNDRED: &[u8] = include_bytes!("../seeds/hundred.parquet");
const FILES: [&str; 5] = ["f0", "f1", "f2", "p=1/f3", "p=a%20b/f4"];

/// What a log comes to.
#[derive(Debug, Default, Clone, PartialEq)]
struct State {
    files: BTreeSet<String>,
    txns: BTreeMap<String, i64>,
    domains: BTreeMap<String, String>,
}

impl State {
    /// `None` if this replay does not know what to make of the line.
    fn apply(&mut self, action: &Value) -> Option<()> {
        let (name, body) = match action.as_object()?.iter().collect::<Vec<_>>().as_slice() {
            [(name, body)] => (name.as_str(), *body),
            _ => return None,
        };
        let path = || {
            let path = body["path"].as_str()?;
            let plain = FILES.contains(&path) && body["deletionVector"].is_null();
            plain.then(|| path.to_owned())
        };
        match name {
            "add" => drop(self.files.insert(path()?)),
            "remove" => drop(self.files.remove(&path()?)),
            "txn" => drop(self.txns.insert(
                body["appId"].as_str()?.to_owned(),
                body["version"].as_i64()?,
            )),
            "domainMetadata" => {
                let domain = body["domain"].as_str()?.to_owned();
                match body["removed"].as_bool()? {
                    true => drop(self.domains.remove(&domain)),
                    false => drop(
                        self.domains
                            .insert(domain, body["configuration"].as_str()?.to_owned()),
                    ),
                }
            }
            "metaData" | "protocol" | "commitInfo" => {}
            _ => return None,
        }
        Some(())
    }

    async fn of(snapshot: &Snapshot) -> Result<Self> {
        let decisions = snapshot.scan().explain().await?;
        let files: BTreeSet<_> = decisions
            .iter()
            .map(|decision| decision.add.path.clone())
            .collect();
        assert_eq!(files.len(), decisions.len(), "a file is there twice");
        let txns = snapshot
            .txns()
            .iter()
            .map(|(app, txn)| (app.clone(), txn.version));
        let domains = snapshot
            .domains()
            .iter()
            .map(|(name, domain)| (name.clone(), domain.configuration.clone()));
        Ok(Self {
            files,
            txns: txns.collect(),
            domains: domains.collect(),
        })
    }
}

async fn place_files(storage: &Storage) {
    for file in FILES {
        place(storage, &file.replace("%20", " "), HUNDRED).await;
    }
}

/// The rows that a scan gives.
async fn rows(snapshot: &Snapshot) -> Result<usize> {
    let batches = snapshot.scan().collect().await?;
    Ok(batches.iter().map(|batch| batch.num_rows()).sum())
}

/// A naive replay of a log without checkpoints; `None` if it is none that everybody reads in the same way.
fn replayed(files: &[(&str, String)]) -> Option<State> {
    let mut state = State::default();
    let commits: BTreeMap<_, _> = files.iter().map(|(name, text)| (*name, text)).collect();
    if commits.len() != files.len() {
        return None;
    }
    for (version, (name, text)) in commits.iter().enumerate() {
        if *name != format!("{version:020}.json") {
            return None;
        }
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            state.apply(&serde_json::from_str(line).ok()?)?;
        }
    }
    Some(state)
}

async fn from_text(text: &str, storage: Storage, environment: Environment) {
    let mut files: Vec<(&str, String)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("== "), files.last_mut()) {
            (Some(name), _)
                if !name.is_empty()
                    && !name.contains(['/', '\\', '\0'])
                    && name != "."
                    && name != ".." =>
            {
                files.push((name, String::new()));
            }
            (_, Some((_, body))) => {
                body.push_str(line);
                body.push('\n');
            }
            (_, None) => {}
        }
    }
    place_files(&storage).await;
    for (name, body) in &files {
        // Names that no store has are no part of a log.
        let _ = storage
            .put(&format!("_delta_log/{name}"), body.clone().into())
            .await;
    }
    let Ok(table) = Table::open_in(storage, environment).await else {
        return;
    };
    let snapshot = table.snapshot();
    let found = State::of(&snapshot).await;
    let read = rows(&snapshot).await;
    let _ = table.snapshot_at(0).await;
    let _ = snapshot.history(10).await;
    let Ok(found) = found else {
        assert!(read.is_err(), "rows of files that cannot be listed");
        return;
    };
    if let Some(expected) = replayed(&files) {
        assert_eq!(found, expected);
    }
}

/// A log of some versions, each of lines.
fn decided(u: &mut Unstructured<'_>) -> arbitrary::Result<Vec<Vec<Value>>> {
    let mut versions = Vec::new();
    for version in 0..u.int_in_range(1..=6)? {
        let mut lines =
            vec![json!({"commitInfo": {"operation": "WRITE", "txnId": format!("t{version}")}})];
        if version == 0 || u.ratio(1, 8)? {
            lines.push(given::metadata(&given::id_schema(), &[], &json!({})));
        }
        if version == 0 {
            lines.push(given::protocol());
        }
        for file in FILES {
            match u.int_in_range(0..=3)? {
                0 => lines.push(given::add(file, HUNDRED.len())),
                1 => {
                    let time: u32 = u.arbitrary()?;
                    lines.push(json!({"remove": {"path": file, "deletionTimestamp": time, "dataChange": true}}));
                }
                _ => {}
            }
        }
        for app in ["a", "b"] {
            if u.ratio(1, 3)? {
                lines.push(json!({"txn": {"appId": app, "version": u.arbitrary::<i64>()?}}));
            }
        }
        for domain in ["x", "y"] {
            if u.ratio(1, 3)? {
                let configuration: &str = u.arbitrary()?;
                let removed: bool = u.arbitrary()?;
                lines.push(json!({"domainMetadata": {
                    "domain": domain, "configuration": configuration, "removed": removed,
                }}));
            }
        }
        versions.push(lines);
    }
    Ok(versions)
}

async fn from_decisions(mut u: Unstructured<'_>, storage: Storage, environment: Environment) {
    let Ok(versions) = decided(&mut u) else {
        return;
    };
    let checkpoint_at = u.int_in_range(0..=2 * versions.len()).unwrap_or(0);
    let hint = u.arbitrary::<bool>().unwrap_or(true);
    place_files(&storage).await;
    let mut state = State::default();
    for (version, lines) in versions.iter().enumerate() {
        given::commit(&storage, version as u64, lines).await;
        for line in lines {
            state.apply(line).expect("a line of ours");
        }
        if version == checkpoint_at {
            let table = Table::open_in(storage.clone(), environment.clone())
                .await
                .expect("a sound table");
            let at = table.checkpoint().await.expect("a sound table");
            assert_eq!(at, version as u64);
            // What is before the checkpoint is not needed any more.
            for old in 0..version {
                place(&storage, &given::commit_key(old as u64), "garbage").await;
            }
            if !hint {
                place(&storage, "_delta_log/_last_checkpoint", "{}").await;
            }
        }
    }
    let table = Table::open_in(storage, environment)
        .await
        .expect("a sound table");
    let snapshot = table.snapshot();
    assert_eq!(snapshot.version(), versions.len() as u64 - 1);
    assert_eq!(State::of(&snapshot).await.expect("a sound table"), state);
    assert_eq!(
        rows(&snapshot).await.expect("a sound table"),
        100 * state.files.len()
    );
}

fuzz_target!(init: start(), |data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    let (storage, environment) = store();
    match choice {
        b'=' => {
            if let Ok(text) = std::str::from_utf8(data) {
                run(from_text(text, storage, environment));
            }
        }
        _ => run(from_decisions(Unstructured::new(rest), storage, environment)),
    }
});
