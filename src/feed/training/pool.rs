//! Units that are in memory or on their way: started early, waited for late, dropped when nothing needs them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::RecordBatch;
use tokio::sync::Semaphore;

use crate::environment::Task;
use crate::error::{Code, Error, Result};
use crate::feed::training::plan::{Planned, Unit};

/// What a feed has read so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) units_read: AtomicU64,
    pub(super) units_resident_max: AtomicU64,
}

/// The decoded rows of a unit, in one batch or several.
pub(super) type UnitRows = Arc<Vec<RecordBatch>>;

#[derive(Debug)]
enum Held {
    OnItsWay(Task<Result<UnitRows>>),
    Here(UnitRows),
}

pub(super) struct Pool {
    planned: Arc<Planned>,
    permits: Arc<Semaphore>,
    units: BTreeMap<u32, Held>,
    counters: Arc<Counters>,
}

impl Pool {
    /// A pool that decodes this many units at once.
    pub(super) fn new(planned: &Arc<Planned>, threads: usize, counters: &Arc<Counters>) -> Self {
        Self {
            planned: Arc::clone(planned),
            permits: Arc::new(Semaphore::new(threads.clamp(1, 1_024))),
            units: BTreeMap::new(),
            counters: Arc::clone(counters),
        }
    }

    /// Starts to read units that are not there yet.
    pub(super) fn want(&mut self, units: impl IntoIterator<Item = u32>) {
        for number in units {
            let (planned, permits) = (&self.planned, &self.permits);
            let counters = &self.counters;
            self.units.entry(number).or_insert_with(|| {
                counters.units_read.fetch_add(1, Ordering::Relaxed);
                let (planned, permits) = (Arc::clone(planned), Arc::clone(permits));
                let environment = planned.environment.clone();
                Held::OnItsWay(environment.spawn(async move {
                    let permit = permits.acquire().await.map_err(|_| stopped())?;
                    let rows = read(&planned, number).await;
                    drop(permit);
                    rows
                }))
            });
        }
        let resident = self.units.len() as u64;
        let most = &self.counters.units_resident_max;
        most.fetch_max(resident, Ordering::Relaxed);
    }

    /// The rows of a unit.
    pub(super) async fn get(&mut self, number: u32) -> Result<UnitRows> {
        self.want([number]);
        let rows = match self.units.remove(&number) {
            Some(Held::Here(rows)) => rows,
            Some(Held::OnItsWay(task)) => task.join().await.unwrap_or_else(|| Err(stopped()))?,
            None => return Err(stopped()),
        };
        self.units.insert(number, Held::Here(Arc::clone(&rows)));
        Ok(rows)
    }

    /// Drops all other units.
    pub(super) fn keep(&mut self, units: &BTreeSet<u32>) {
        self.units.retain(|number, _| units.contains(number));
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // What has not begun to read never will.
        self.permits.close();
    }
}

async fn read(planned: &Planned, number: u32) -> Result<UnitRows> {
    let unit = usize::try_from(number).ok();
    let unit: &Unit = unit
        .and_then(|unit| planned.units.get(unit))
        .ok_or_else(stopped)?;
    let file = usize::try_from(unit.file).ok();
    let file = file
        .and_then(|file| planned.files.get(file))
        .ok_or_else(stopped)?;
    let rows = planned.source.rows(file, unit.range()).await?;
    let batches: Vec<RecordBatch> = rows.into_iter().map(|rows| rows.batch).collect();
    let count: u64 = batches.iter().map(|batch| batch.num_rows() as u64).sum();
    if count == u64::from(unit.live) {
        return Ok(Arc::new(batches));
    }
    // Whoever goes on here loses or doubles a row of the epoch.
    let message = "a data file has other rows than when the feed was planned";
    Err(Error::corrupt(Code::DataCorrupt, message)
        .with("path", &file.path)
        .with("planned", unit.live)
        .with("read", count))
}

pub(super) fn stopped() -> Error {
    Error::storage(
        Code::Stopped,
        "the training feed stopped before its end; no row is missing silently",
    )
}
