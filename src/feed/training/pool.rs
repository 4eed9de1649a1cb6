//! Units that are in memory or on their way: started early, waited for late, dropped when nothing needs them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::{Array, RecordBatch};
use tokio::sync::Semaphore;

use crate::environment::Task;
use crate::error::{Code, Error, Result};
use crate::feed::training::plan::{Planned, Unit};

/// What a feed has read so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) units_read: AtomicU64,
    pub(super) units_resident_max: AtomicU64,
    /// Bytes of all rows that are in memory, and the most there were.
    resident: AtomicU64,
    pub(super) bytes_resident_max: AtomicU64,
}

/// The decoded rows of a unit, in one batch or several.
pub(super) type UnitRows = Arc<Decoded>;

/// Batches that are counted as long as they are in memory.
#[derive(Debug)]
pub(super) struct Decoded {
    batches: Vec<RecordBatch>,
    bytes: u64,
    counters: Arc<Counters>,
}

impl Decoded {
    fn new(batches: Vec<RecordBatch>, counters: &Arc<Counters>) -> Self {
        let columns = batches.iter().flat_map(RecordBatch::columns);
        // A column that does not know its size has none of its own.
        let bytes = columns.map(|column| column.to_data().get_slice_memory_size().unwrap_or(0));
        let bytes = bytes.fold(0, usize::saturating_add) as u64;
        let before = counters.resident.fetch_add(bytes, Ordering::Relaxed);
        let most = &counters.bytes_resident_max;
        most.fetch_max(before.saturating_add(bytes), Ordering::Relaxed);
        Self {
            batches,
            bytes,
            counters: Arc::clone(counters),
        }
    }

    pub(super) fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }
}

impl Drop for Decoded {
    fn drop(&mut self) {
        let resident = &self.counters.resident;
        resident.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[derive(Debug)]
enum Held {
    /// None will come of it where memory was full.
    OnItsWay(Task<Result<Option<UnitRows>>>),
    Here(UnitRows),
}

pub(super) struct Pool {
    planned: Arc<Planned>,
    permits: Arc<Semaphore>,
    units: BTreeMap<u32, Held>,
    has_warned: bool,
    counters: Arc<Counters>,
}

impl Pool {
    /// A pool that decodes this many units at once.
    pub(super) fn new(planned: &Arc<Planned>, threads: usize, counters: &Arc<Counters>) -> Self {
        Self {
            planned: Arc::clone(planned),
            permits: Arc::new(Semaphore::new(threads.clamp(1, 1_024))),
            units: BTreeMap::new(),
            has_warned: false,
            counters: Arc::clone(counters),
        }
    }

    /// Starts to read units that are not there yet, as long as there is memory.
    pub(super) fn want(&mut self, units: impl IntoIterator<Item = u32>) {
        for number in units {
            let (planned, permits) = (&self.planned, &self.permits);
            let counters = &self.counters;
            self.units.entry(number).or_insert_with(|| {
                let (planned, permits) = (Arc::clone(planned), Arc::clone(permits));
                let counters = Arc::clone(counters);
                let environment = planned.environment.clone();
                Held::OnItsWay(environment.spawn(async move {
                    let permit = permits.acquire().await.map_err(|_| stopped())?;
                    if is_full(&planned, &counters) {
                        return Ok(None);
                    }
                    let rows = read(&planned, number, &counters).await;
                    drop(permit);
                    rows.map(Some)
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
            Some(Held::Here(rows)) => Some(rows),
            Some(Held::OnItsWay(task)) => task.join().await.unwrap_or_else(|| Err(stopped()))?,
            None => return Err(stopped()),
        };
        let rows = match rows {
            Some(rows) => rows,
            None => read(&self.planned, number, &self.counters).await?,
        };
        self.units.insert(number, Held::Here(Arc::clone(&rows)));
        Ok(rows)
    }

    /// Whether no unit is to be kept that need not be.
    pub(super) fn is_full(&self) -> bool {
        is_full(&self.planned, &self.counters)
    }

    /// Drops a unit that will be needed again, for want of memory.
    pub(super) fn give_up(&mut self, number: u32) {
        if !self.has_warned {
            self.has_warned = true;
            tracing::warn!(
                memory_bytes = self.planned.memory_bytes,
                "feed_memory: rows take more memory than planned, so pieces of files are read again and again; plan \
                 with more memory, or with smaller units, fewer lanes or a narrower window"
            );
        }
        self.units.remove(&number);
    }

    /// Drops all other units.
    pub(super) fn keep(&mut self, units: &BTreeSet<u32>) {
        self.units.retain(|number, _| units.contains(number));
    }
}

fn is_full(planned: &Planned, counters: &Counters) -> bool {
    let most = planned
        .memory_bytes
        .saturating_add(planned.memory_bytes / 2);
    most <= counters.resident.load(Ordering::Relaxed)
}

impl Drop for Pool {
    fn drop(&mut self) {
        // What has not begun to read never will.
        self.permits.close();
    }
}

async fn read(planned: &Planned, number: u32, counters: &Arc<Counters>) -> Result<UnitRows> {
    counters.units_read.fetch_add(1, Ordering::Relaxed);
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
        return Ok(Arc::new(Decoded::new(batches, counters)));
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
