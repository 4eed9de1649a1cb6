//! What deltalake writes, headwater reads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use headwater::predicate::Expression;
use headwater::scan::Pruning;
use headwater::{ErrorKind, Table};
use headwater_interop::Failure;
use headwater_interop::case::{Case, load};
use headwater_interop::ledger::{Key, Ledger};
use headwater_interop::table::{self, text};
use headwater_interop::worker::{Answer, Worker};
use serde_json::json;

use crate::{Outcome, READERS, cases, causes, note, scratch, settle};

/// One answer of headwater's, and where its rows are.
struct Answered {
    table: PathBuf,
    version: u64,
    probe: Option<String>,
    file: PathBuf,
}

/// Headwater's answers about the tables that deltalake wrote.
struct Reading {
    worker: Worker,
    ledger: Ledger,
    answers: BTreeMap<Key, Answered>,
}

impl Reading {
    /// Reads a version, asks every probe of it if wanted, and has the rows judged.
    async fn version(
        &mut self,
        case: &Case,
        kind: &str,
        place: &Path,
        (version, probes): (u64, bool),
    ) -> Outcome {
        let name = format!("theirs/{}", case.name);
        let mut questions = vec![(None, Pruning::On)];
        if probes {
            let probes = case.probes.iter();
            questions.extend(
                probes.flat_map(|probe| [(Some(probe), Pruning::On), (Some(probe), Pruning::Off)]),
            );
        }
        for pruning in [Pruning::On, Pruning::Off] {
            let mut files = Vec::new();
            let prefix = match pruning {
                Pruning::On => format!("{kind}@{version}"),
                Pruning::Off => format!("{kind}@{version} unpruned"),
            };
            for (index, (probe, _)) in questions
                .iter()
                .enumerate()
                .filter(|(_, each)| each.1 == pruning)
            {
                let file = place.with_extension(format!("{version}.{index}.arrow"));
                let condition = probe.map(|probe| (probe.sql.as_str(), pruning));
                let probe = probe.map(|probe| probe.name.clone());
                let check = format!("{prefix} {}", probe.as_deref().unwrap_or("rows"));
                if let Err(error) = table::read(place, version, condition, &file).await {
                    self.ledger
                        .note("headwater", &name, &check, Some(causes(error.as_ref())));
                    continue;
                }
                files.push(json!({ "probe": probe, "file": file }));
                let answer = Answered {
                    table: place.to_owned(),
                    version,
                    probe,
                    file,
                };
                self.answers
                    .insert(("headwater".to_owned(), name.clone(), check), answer);
            }
            let judged = self.worker.ask(&json!({
                "do": "judge", "case": case.name, "commits": version + 1, "answers": files,
            }))?;
            note(&mut self.ledger, ("headwater", &name), &prefix, judged);
        }
        Ok(())
    }

    async fn case(&mut self, case: &Case, home: &Path) -> Outcome {
        let place = |kind: &str| home.join(&case.name).join(kind);
        let (original, commits, checkpoint) =
            (place("table"), place("commits"), place("checkpoint"));
        let request = json!({ "do": "write", "case": case.name, "table": original });
        let name = format!("theirs/{}", case.name);
        let problem = match self.worker.ask::<u64>(&request)? {
            Answer::Is(count) => (count != case.commits()).then(|| format!("{count} commits")),
            Answer::Failed(error) => Some(error),
            Answer::Died => Some("the process died".to_owned()),
        };
        let failed = problem.is_some();
        self.ledger.note("deltalake", &name, "write", problem);
        if failed {
            return Ok(());
        }
        table::copy_without_checkpoints(&original, &commits)?;
        // deltalake's first version has rows already, so its versions lag one behind.
        let before = case.commits_before_checkpoint() - 1;
        table::copy_from_checkpoint(&original, &checkpoint, before)?;
        let newest = case.commits() - 1;
        for version in 0..=newest {
            self.version(case, "commits", &commits, (version, version == newest))
                .await?;
        }
        self.version(case, "checkpoint", &checkpoint, (before, false))
            .await?;
        self.version(case, "checkpoint", &checkpoint, (newest, true))
            .await
    }

    /// Whether `witness` sees what headwater saw.
    fn witnessed(&mut self, witness: &str, key: &Key) -> Result<bool, Failure> {
        let Some(answer) = self.answers.get(key) else {
            return Ok(false);
        };
        let case = key.1.trim_start_matches("theirs/");
        let differs: Option<String> = self.worker.expect(&json!({
            "do": "same", "engine": witness, "case": case, "table": answer.table, "version": answer.version,
            "probe": answer.probe, "file": answer.file,
        }))?;
        Ok(differs.is_none())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_deltalake_writes_headwater_reads() -> Outcome {
    let home = scratch("theirs")?;
    let mut worker = Worker::new(&home.join("worker.log"));
    let cases = cases(&mut worker, &home)?;
    let mut reading = Reading {
        worker,
        ledger: Ledger::default(),
        answers: BTreeMap::new(),
    };
    for case in &cases {
        reading.case(case, &home).await?;
    }
    let ledger = std::mem::take(&mut reading.ledger);
    let mut worker = Worker::new(&home.join("settle.log"));
    settle("theirs", &ledger, &mut worker, |witness, key| {
        reading.witnessed(witness, key)
    })
}

/// What deltalake's other operations leave behind is read at every version as two others read it, and appended to.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_deltalake_reworks_is_read_at_every_version() -> Outcome {
    let home = scratch("operations")?;
    let mut worker = Worker::new(&home.join("worker.log"));
    let place = home.join("table");
    let newest: u64 = worker.expect(&json!({ "do": "operate", "table": place }))?;
    let mut ledger = Ledger::default();
    for version in 0..=newest {
        let (ours, theirs) = (home.join("ours.arrow"), home.join("theirs.arrow"));
        table::read(&place, version, None, &ours).await?;
        for reader in READERS {
            let rows = json!({ "do": "rows", "engine": reader, "table": place, "version": version, "file": theirs });
            worker.expect::<()>(&rows)?;
            let compare = json!({ "do": "compare", "expected": theirs, "actual": ours });
            let problem: Option<String> = worker.expect(&compare)?;
            ledger.note(
                "headwater",
                "operations/life",
                &format!("{version} {reader}"),
                problem,
            );
        }
    }
    settle("operations", &ledger, &mut worker, |_, _| Ok(false))?;
    let table = Table::open(&text(&place)).await?;
    let rows = load(&home.join("ours.arrow"))?.1;
    // The table has a CHECK constraint, which its own rows obey.
    let commit = table.append(rows).await?;
    assert_eq!(commit.version, newest + 1);
    let large = Expression::parse("id + 100000")?;
    let refused = table.update().set("id", large).await;
    let refused = refused.expect_err("the constraint is broken");
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    Ok(())
}
