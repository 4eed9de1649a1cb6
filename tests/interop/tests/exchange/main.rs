//! Headwater and other engines, on the same tables.
//!
//! `divergences.toml` lists what the others get wrong. To see the list that a run observes, set
//! `HEADWATER_INTEROP_RECORD` to a folder: each test then writes its own part there.

#![expect(
    clippy::print_stdout,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it covered, and ends when it cannot go on"
)]

mod altered;
mod changed;
mod golden;
mod ours;
mod shared;
mod theirs;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use headwater_interop::Failure;
use headwater_interop::case::{Case, load, save};
use headwater_interop::ledger::{Divergence, Key, Ledger};
use headwater_interop::worker::{Answer, Worker};
use serde_json::json;

type Outcome = Result<(), Failure>;

/// The engines that read, each through its own code; `replay` is the small reader of `replay.py`.
const READERS: [&str; 4] = ["deltalake", "deltalake-sql", "duckdb", "replay"];

/// A fresh folder for one test.
fn scratch(name: &str) -> Result<PathBuf, Failure> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::create_dir_all(&place)?;
    Ok(place)
}

/// Has the worker write the cases, and reads their descriptions.
fn cases(worker: &mut Worker, into: &Path) -> Result<Vec<Case>, Failure> {
    let names: Vec<String> = worker.expect(&json!({ "do": "cases", "into": into }))?;
    names.iter().map(|name| Case::read(into, name)).collect()
}

/// Ends a test: prints what was covered, and fails for everything that is not as `divergences.toml` says.
fn settle(
    area: &str,
    ledger: &Ledger,
    worker: &mut Worker,
    witnessed: impl FnMut(&str, &Key) -> Result<bool, Failure>,
) -> Outcome {
    for (peer, (checks, failed)) in ledger.counts() {
        println!("{area}: {peer}: {checks} checks, {failed} listed differences");
    }
    if let Some(folder) = std::env::var_os("HEADWATER_INTEROP_RECORD") {
        let file = |ending: &str| Path::new(&folder).join(format!("{area}.{ending}"));
        fs::write(file("toml"), ledger.as_toml())?;
        let all = ledger.complaints(&[], |_, _| Ok(true))?;
        fs::write(file("txt"), all.join("\n"))?;
    }
    let all: Vec<Divergence> = worker.expect(&json!({ "do": "divergences" }))?;
    let prefix = format!("{area}/");
    let known: Vec<_> = all
        .into_iter()
        .filter(|divergence| divergence.case.starts_with(&prefix))
        .collect();
    let complaints = ledger.complaints(&known, witnessed)?;
    if !complaints.is_empty() {
        let shown = complaints.iter().take(60).cloned().collect::<Vec<_>>();
        panic!("{} complaints:\n{}", complaints.len(), shown.join("\n"));
    }
    Ok(())
}

/// Notes the checks of one request under a prefix; an engine that could not even begin has one failed check.
fn note(
    ledger: &mut Ledger,
    (peer, case): (&str, &str),
    prefix: &str,
    answer: Answer<BTreeMap<String, Option<String>>>,
) {
    let failed = match answer {
        Answer::Is(checks) => {
            for (check, problem) in checks {
                ledger.note(peer, case, &format!("{prefix} {check}"), problem);
            }
            return;
        }
        Answer::Failed(error) => error,
        Answer::Died => "the process died".to_owned(),
    };
    ledger.note(peer, case, &format!("{prefix} open"), Some(failed));
}

fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// The worker's comparison can fail: rows that differ in what is easily overlooked are told apart.
#[test]
fn rows_that_differ_are_told_apart() -> Outcome {
    let home = scratch("comparison")?;
    let mut worker = Worker::new(&home.join("worker.log"));
    let (one, two) = (home.join("one.arrow"), home.join("two.arrow"));
    for (turns, same) in [
        ([("a", 0, 3)], true),
        ([("a", 0, 2)], false),
        ([("b", 0, 3)], false),
    ] {
        worker.expect::<()>(&json!({ "do": "turn", "writers": [("a", 0, 3)], "file": one }))?;
        worker.expect::<()>(&json!({ "do": "turn", "writers": turns, "file": two }))?;
        let compare = json!({ "do": "compare", "expected": one, "actual": two });
        let problem: Option<String> = worker.expect(&compare)?;
        assert_eq!(problem.is_none(), same, "{problem:?}");
    }
    let (schema, batches) = load(&one)?;
    save(&two, &schema, &[batches.clone(), batches].concat())?;
    let compare = json!({ "do": "compare", "expected": one, "actual": two });
    assert!(
        worker.expect::<Option<String>>(&compare)?.is_some(),
        "rows are counted"
    );
    Ok(())
}
