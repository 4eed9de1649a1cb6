//! Processes that go on until they are told to stop: they compact, vacuum, or lease versions and read them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use headwater::environment::Environment;
use headwater::{Code, Error, ErrorKind, Result, Snapshot, Table};

use crate::book::Book;
use crate::chance::Chance;
use crate::change::{Held, rows_of};
use crate::line::{Line, Turn};

/// Files are compacted to about this size: some thousands of rows.
const TARGET_BYTES: u64 = 24 << 10;
/// What vacuum waits before it takes a file that no commit named.
pub(crate) const GRACE: Duration = Duration::from_secs(30);

/// The file that tells the processes on a table to stop.
pub(crate) fn stop_file(table: &Path) -> PathBuf {
    table.with_extension("stop")
}

/// Compacts.
pub(crate) async fn compact(table: &Table, folder: &Path) -> Result<()> {
    while !stop_file(folder).exists() {
        let compaction = table
            .compact()
            .target_file_bytes(TARGET_BYTES)
            .commit_bytes(8 * TARGET_BYTES)
            .from_files(4);
        let turn = match compaction.await {
            Ok(done) => Turn::Compacted(done.files_removed, done.files_added),
            // Others kept contradicting it, for so long that vacuum might have taken what it wrote.
            Err(error) if error.kind() == ErrorKind::Conflict => Turn::GaveUp,
            Err(error) => return Err(error),
        };
        Line::Turn(turn).print();
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Vacuums.
pub(crate) async fn vacuum(table: &Table, folder: &Path) -> Result<()> {
    while !stop_file(folder).exists() {
        let vacuum = table.vacuum().retention(Duration::ZERO).grace(GRACE);
        let done = vacuum.allow_unsafe_retention().await?;
        Line::Turn(Turn::Vacuumed(done.files, done.unpublished)).print();
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Leases versions and reads them: all of their rows, or after the lease an error.
pub(crate) async fn read(table: &Table, folder: &Path, seed: i64) -> Result<()> {
    let mut chance = Chance::told(seed.unsigned_abs());
    let mut book = Book::new(folder);
    while !stop_file(folder).exists() {
        let snapshot = table.refresh().await?;
        // In the meantime it is not held by anything.
        let delay = chance.within(0, 1) * chance.within(0, 300);
        sleep(Duration::from_millis(delay)).await;
        book.advance(snapshot.version());
        let length = Duration::from_millis(chance.within(300, 3_000));
        let mut asked = Instant::now();
        let lease = match table.lease(&snapshot, length).await {
            Ok(lease) => lease,
            Err(error) if is_vacuumed(&error) => {
                Line::Turn(Turn::Refused).print();
                continue;
            }
            Err(error) => return Err(error),
        };
        let rows = book.rows();
        let mut scans = 0;
        for _ in 0..chance.within(2, 6) {
            let renews = Instant::now();
            if chance.within(0, 3) == 0 && lease.renew().await.is_ok() {
                asked = renews;
            }
            if let Err(error) = scan(&snapshot, &rows).await {
                let held = asked.elapsed();
                assert!(length <= held, "leased {held:?} of {length:?} ago: {error}");
                Line::Turn(Turn::Expired).print();
                break;
            }
            scans += 1;
            sleep(Duration::from_millis(chance.within(0, 300))).await;
        }
        let newer = table.refresh().await?.version() - snapshot.version();
        Line::Turn(Turn::Read(scans, newer)).print();
        // Now and then a reader dies without a word.
        if chance.within(0, 7) == 0 {
            continue;
        }
        lease.release().await?;
        sleep(Duration::from_millis(chance.within(0, 200))).await;
        if let Err(error) = scan(&snapshot, &rows).await {
            assert!(is_vacuumed(&error), "{error}");
            Line::Turn(Turn::Expired).print();
        }
    }
    Ok(())
}

/// All rows of the version; an error of the crate is handed back, other rows are the end.
async fn scan(snapshot: &Snapshot, expected: &[Held]) -> Result<()> {
    let batches = snapshot.scan().collect().await?;
    let mut rows: Vec<_> = batches.iter().flat_map(|it| rows_of(it, None)).collect();
    rows.sort_unstable();
    let (found, version) = (rows.len(), snapshot.version());
    assert!(
        rows == expected,
        "version {version}: {found} rows, not the {} that there are",
        expected.len()
    );
    Ok(())
}

fn is_vacuumed(error: &Error) -> bool {
    matches!(error.code(), Code::FilesExpired | Code::FilesVacuumed)
}

async fn sleep(duration: Duration) {
    Environment::system().sleep(duration).await;
}
