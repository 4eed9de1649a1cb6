//! What headwater writes, others read.

use std::path::{Path, PathBuf};

use headwater_interop::Failure;
use headwater_interop::case::Case;
use headwater_interop::ledger::Ledger;
use headwater_interop::table;
use headwater_interop::worker::Worker;
use serde_json::json;

use crate::{Outcome, READERS, cases, causes, note, scratch, settle};

/// Tables that headwater wrote, with one log that has only commits and one that needs the checkpoint.
struct Written {
    case: Case,
    original: PathBuf,
    commits: PathBuf,
    checkpoint: PathBuf,
}

impl Written {
    /// Which versions to read, in which copy.
    fn reads(&self) -> Vec<(&'static str, &Path, u64)> {
        let newest = self.case.commits();
        let all = (0..=newest).map(|version| ("commits", self.commits.as_path(), version));
        let checkpoint = [self.case.commits_before_checkpoint(), newest];
        let checkpoint =
            checkpoint.map(|version| ("checkpoint", self.checkpoint.as_path(), version));
        all.chain(checkpoint).collect()
    }
}

async fn write_all(cases: Vec<Case>, home: &Path) -> Result<Vec<Written>, Failure> {
    let mut written = Vec::new();
    for case in cases {
        let place = |kind: &str| home.join(&case.name).join(kind);
        let (original, commits, checkpoint) =
            (place("table"), place("commits"), place("checkpoint"));
        let done = table::write(&case, &original).await;
        done.map_err(|error| format!("{}: {}", case.name, causes(error.as_ref())))?;
        table::copy_without_checkpoints(&original, &commits)?;
        table::copy_from_checkpoint(&original, &checkpoint, case.commits_before_checkpoint())?;
        written.push(Written {
            case,
            original,
            commits,
            checkpoint,
        });
    }
    Ok(written)
}

fn read_with(reader: &str, written: &[Written], log: &Path) -> Result<Ledger, Failure> {
    let mut worker = Worker::new(log);
    let mut ledger = Ledger::default();
    for table in written {
        let name = format!("ours/{}", table.case.name);
        for (kind, place, version) in table.reads() {
            let probes = version == table.case.commits();
            let answer = worker.ask(&json!({
                "do": "read", "engine": reader, "case": table.case.name, "table": place,
                "version": version, "commits": version, "probes": probes,
            }))?;
            note(
                &mut ledger,
                (reader, &name),
                &format!("{kind}@{version}"),
                answer,
            );
        }
        let newest = table.case.commits();
        let request = match reader {
            "deltalake" => json!({
                "do": "describe", "case": table.case.name, "table": table.original, "commits": newest,
            }),
            "replay" => json!({ "do": "statistics", "table": table.commits }),
            _ => continue,
        };
        note(
            &mut ledger,
            (reader, &name),
            "newest",
            worker.ask(&request)?,
        );
    }
    Ok(ledger)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_headwater_writes_others_read() -> Outcome {
    let home = scratch("ours")?;
    let mut worker = Worker::new(&home.join("worker.log"));
    let cases = cases(&mut worker, &home)?;
    let written = write_all(cases, &home).await?;
    let mut ledger = Ledger::default();
    std::thread::scope(|scope| {
        let readers = READERS.map(|reader| {
            let log = home.join(format!("{reader}.log"));
            let written = written.as_slice();
            scope.spawn(move || read_with(reader, written, &log))
        });
        for reader in readers {
            ledger.merge(reader.join().map_err(|_| "a reader panicked")??);
        }
        Ok::<(), Failure>(())
    })?;
    settle("ours", &ledger, &mut worker, |witness, key| {
        Ok(ledger.agrees(witness, &key.1, &key.2))
    })
}
