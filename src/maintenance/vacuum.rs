//! Vacuum: objects that no version inside its promise needs are deleted.
//!
//! A version keeps its promise as long as the table's retention (`delta.deletedFileRetentionDuration`) has not passed
//! since a later one took its files away, as long as a pin or a lease holds it, and always if it is the newest. What
//! no commit ever named is left for the same time by the store's clock: a writer may be about to commit it.
//!
//! The plan is made, `VACUUM START` is committed, and what other writers did in between is kept, too, and what was pinned
//! or leased; then objects are deleted, and `VACUUM END` says how many. A pin or lease that comes later may not be seen:
//! who makes one looks for a vacuum that has started and not ended, see `transaction::vacuum`. Nothing else in the crate deletes
//! an object of a table.

mod hidden;
mod keep;
mod marker;

use std::future::IntoFuture;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt, stream};

use crate::data::ColumnNames;
use crate::error::{Code, Error, Result};
use crate::maintenance::hold;
use crate::maintenance::vacuum::hidden::{is_candidate, is_entered};
use crate::maintenance::vacuum::keep::Keep;
use crate::maintenance::vacuum::marker::Marker;
use crate::operation::{carry_out, invalid};
use crate::protocol::Version;
use crate::snapshot::Snapshot;
use crate::storage::{ObjectInfo, Storage};
use crate::table::Table;
use crate::transaction::vacuum::LASTS_MILLIS;

/// Deletions that are under way at one time.
pub(super) const DELETIONS_IN_FLIGHT: usize = 16;
/// How many rounds in a row may end before anything was deleted.
const ROUNDS_IN_VAIN_MAX: usize = 3;
/// How far the clocks of writers, of the store and of this machine may differ.
const CLOCKS_DIFFER_MAX: Duration = Duration::from_secs(3_600);
/// Who promises less than a day vouches for better clocks: this part of the promise is how far they may differ.
const CLOCKS_DIFFER_PART: u32 = 24;

/// Deletes what nobody needs; await it. See [`Table::vacuum`].
#[derive(Debug, Clone)]
#[must_use = "nothing happens until it is awaited"]
pub struct Vacuum {
    table: Table,
    retention: Option<Duration>,
    grace: Option<Duration>,
    unsafe_retention: bool,
    dry_run: bool,
}

/// What a vacuum did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Vacuumed {
    /// Objects deleted; in a dry run, those that would be.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their keys below the table, sorted.
    pub keys: Vec<String>,
    /// Leftovers of killed writers that never were objects.
    pub unpublished: u64,
}

impl Table {
    /// Deletes objects that no version inside the table's retention needs, nor a pinned or leased one.
    ///
    /// ```
    /// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use headwater::protocol::schema::{DataType, Field, Schema};
    /// # let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
    /// # let table = headwater::Table::create("memory:///vacuum-example", schema).await?;
    /// let would = table.vacuum().dry_run().await?;
    /// assert_eq!(would.files, 0, "everything is younger than a week");
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    ///
    /// When awaited: [`Invalid`](crate::ErrorKind::Invalid) for a retention below the table's, unless it is asked for
    /// as unsafe; [`Corrupt`](crate::ErrorKind::Corrupt) if a kept version cannot be read, or if another table lies
    /// below this one; [`Storage`](crate::ErrorKind::Storage). Nothing that is needed has been deleted.
    pub fn vacuum(&self) -> Vacuum {
        Vacuum {
            table: self.clone(),
            retention: None,
            grace: None,
            unsafe_retention: false,
            dry_run: false,
        }
    }
}

impl Vacuum {
    /// How long files that a version took away are kept. Unset: `delta.deletedFileRetentionDuration`, a week. Clocks
    /// differ, so files are kept an hour longer than that property promises, or a 24th of the promise if that is less.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = Some(retention);
        self
    }

    /// How long files are kept that no commit ever named. Unset: as long as the others.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// Allows times below the table's retention. Readers of older versions, and writers that take longer than the
    /// grace to commit, then lose files.
    pub fn allow_unsafe_retention(mut self) -> Self {
        self.unsafe_retention = true;
        self
    }

    /// Says what would be deleted, and deletes nothing.
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    async fn run(self) -> Result<Vacuumed> {
        let table = &self.table;
        let snapshot = table.refresh().await?;
        crate::protocol::feature::check_writable(
            snapshot.protocol(),
            snapshot.metadata(),
            snapshot.schema(),
        )?;
        let times = self.times(&snapshot)?;
        let (held, ended) = hold::held(table).await?;
        let keep = self.keep(&snapshot, times, &held).await?;
        let columns = partition_columns(&snapshot);
        let listed = table
            .storage()
            .list_tree(|name| is_entered(name, &columns))
            .await?;
        refuse_nested(&listed)?;
        let doomed = doomed(&listed, &keep, &columns, times);
        if self.dry_run {
            return Ok(report(&doomed, 0));
        }
        let deleted = self.rounds(snapshot.version(), keep, doomed).await?;
        delete_all(table.storage(), ended).await?;
        let unpublished = table.storage().sweep_unpublished(times.unknown).await?;
        Ok(report(&deleted, unpublished))
    }

    /// Deletes in rounds, each as long as its start is good for.
    async fn rounds(
        &self,
        planned: Version,
        keep: Keep,
        doomed: Vec<ObjectInfo>,
    ) -> Result<Vec<ObjectInfo>> {
        let mut round = Round {
            planned,
            keep,
            left: doomed,
            deleted: Vec::new(),
        };
        let mut in_vain = 0;
        while !round.left.is_empty() {
            let before = round.left.len();
            self.round(&mut round).await?;
            in_vain = if round.left.len() < before {
                0
            } else {
                in_vain + 1
            };
            if ROUNDS_IN_VAIN_MAX <= in_vain {
                let message = "the log changes faster than it can be read, or the store is too slow: vacuum found no time \
                               to delete; try again when the table is less busy";
                return Err(Error::storage(Code::StoreFailed, message).retryable(true));
            }
        }
        round
            .deleted
            .sort_by(|left, right| left.key.cmp(&right.key));
        Ok(round.deleted)
    }

    /// Says that deletions start, spares what was committed, pinned or leased since the plan, deletes for as long as
    /// the start is good for, and says that this has ended.
    async fn round(&self, round: &mut Round) -> Result<()> {
        let table = &self.table;
        let now = || table.environment().now_millis();
        // Others count from the start: what is read after it comes out of the same time.
        let until = now().saturating_add(LASTS_MILLIS);
        let marker = Marker::start(table, self, round.planned, &round.left);
        let start = carry_out(marker).await?;
        let tip = table.refresh().await?;
        let keep = &mut round.keep;
        keep.commits(round.planned.saturating_add(1), tip.version())
            .await?;
        keep.held(table, &hold::held(table).await?.0).await?;
        // The next round reads on from here.
        round.planned = tip.version();
        round.left.retain(|object| !keep.holds(&object.key));
        let left = std::mem::take(&mut round.left);
        let is_in_time = || now() < until;
        let storage = table.storage();
        let ended = delete_while(storage, left, DELETIONS_IN_FLIGHT, is_in_time).await?;
        let done = ended.deleted.len() as u64;
        round.left = ended.left;
        round.deleted.extend(ended.deleted);
        carry_out(Marker::end(table, start.version, done)).await?;
        Ok(())
    }

    fn times(&self, snapshot: &Snapshot) -> Result<Times> {
        let promised = snapshot.properties().deleted_file_retention;
        let retention = self.retention.unwrap_or(promised);
        let grace = self.grace.unwrap_or(retention);
        if !self.unsafe_retention && (retention < promised || grace < promised) {
            let message = "the table promises to keep files longer than that (`delta.deletedFileRetentionDuration`): \
                           readers and writers may lose files that they need; allow unsafe retention if none is active";
            return Err(invalid(message).with("promised_hours", promised.as_secs() / 3_600));
        }
        let now = snapshot.environment().now_millis();
        let least = match self.unsafe_retention {
            true => Duration::ZERO,
            false => promised.saturating_add(clocks_differ(promised)),
        };
        let before = |duration: Duration| {
            let millis = duration.max(least).as_millis();
            now.saturating_sub(i64::try_from(millis).unwrap_or(i64::MAX))
        };
        Ok(Times {
            removed: before(retention),
            unknown: before(grace),
        })
    }

    /// What must stay: files of the newest version, of those that end inside the retention, and of those that are held.
    async fn keep(&self, snapshot: &Snapshot, times: Times, held: &[Version]) -> Result<Keep> {
        let mut keep = Keep::new(self.table.storage());
        keep.version(snapshot, times.removed).await?;
        let commits = snapshot.file_times().await?;
        // The version in force when the retention began is inside it, and so is what its successor took away.
        let young = commits.iter().find(|(_, time)| times.removed <= *time);
        if let Some((first, _)) = young {
            keep.commits(*first, snapshot.version()).await?;
        }
        keep.held(&self.table, held).await?;
        Ok(keep)
    }
}

impl IntoFuture for Vacuum {
    type Output = Result<Vacuumed>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// What is left of a vacuum's work, and what is done.
#[derive(Debug)]
struct Round {
    /// Up to which version the log has been read for what must stay.
    planned: Version,
    keep: Keep,
    left: Vec<ObjectInfo>,
    deleted: Vec<ObjectInfo>,
}

/// Moments, in milliseconds since the epoch.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// Files that were removed before may go.
    removed: i64,
    /// Files that no commit named may go if they were last written before.
    unknown: i64,
}

/// How much longer than promised files are kept: the log's times are those of the clocks of many machines.
fn clocks_differ(promised: Duration) -> Duration {
    CLOCKS_DIFFER_MAX.min(promised / CLOCKS_DIFFER_PART)
}

/// Names of partition columns as directories spell them: logical and physical.
fn partition_columns(snapshot: &Snapshot) -> Vec<String> {
    let names = ColumnNames::by(snapshot.properties().column_mapping_mode);
    let columns = snapshot.partition_columns().iter();
    columns
        .flat_map(|column| {
            let physical = snapshot.schema().field(column).map(|field| names.of(field));
            std::iter::once(column.clone()).chain(physical)
        })
        .collect()
}

/// A table inside a table: its files are nobody's business here, and cannot be told from ours.
fn refuse_nested(listed: &[ObjectInfo]) -> Result<()> {
    let nested = listed
        .iter()
        .find(|object| object.key.contains("/_delta_log/"));
    match nested {
        None => Ok(()),
        Some(object) => {
            let message = "another table lies below this one; move it before you vacuum";
            Err(Error::corrupt(Code::UnsafePath, message).with("path", &object.key))
        }
    }
}

fn doomed(listed: &[ObjectInfo], keep: &Keep, columns: &[String], times: Times) -> Vec<ObjectInfo> {
    let is_doomed = |object: &&ObjectInfo| {
        let known = keep.removed.contains(&object.key);
        let old = known || object.modified_millis < times.unknown;
        old && !keep.holds(&object.key) && is_candidate(&object.key, columns)
    };
    let mut doomed: Vec<_> = listed.iter().filter(is_doomed).cloned().collect();
    doomed.sort_by(|left, right| left.key.cmp(&right.key));
    doomed
}

fn report(doomed: &[ObjectInfo], unpublished: u64) -> Vacuumed {
    Vacuumed {
        files: doomed.len() as u64,
        bytes: doomed.iter().map(|object| object.size).sum(),
        keys: doomed.iter().map(|object| object.key.clone()).collect(),
        unpublished,
    }
}

/// Deletes objects side by side; what is gone already is no failure.
pub(super) async fn delete_all(storage: &Storage, keys: Vec<String>) -> Result<()> {
    let deletions = stream::iter(keys).map(|key| async move { storage.delete(&key).await });
    let mut deletions = deletions.buffer_unordered(DELETIONS_IN_FLIGHT);
    while deletions.try_next().await?.is_some() {}
    Ok(())
}

/// Objects that were there and are not any more, and objects for which the time did not suffice.
#[derive(Debug, Default)]
pub(super) struct Deleted {
    pub(super) deleted: Vec<ObjectInfo>,
    pub(super) left: Vec<ObjectInfo>,
}

/// Deletes objects in their order, some at one time, as long as it may.
pub(super) async fn delete_while(
    storage: &Storage,
    objects: Vec<ObjectInfo>,
    at_one_time: usize,
    may: impl Fn() -> bool,
) -> Result<Deleted> {
    let deletions = stream::iter(objects).map(|object| async {
        let is_in_time = may();
        let was_there = is_in_time && storage.delete(&object.key).await?;
        Ok::<_, Error>((object, is_in_time, was_there))
    });
    let mut deletions = deletions.buffered(at_one_time);
    let mut done = Deleted::default();
    while let Some((object, is_in_time, was_there)) = deletions.try_next().await? {
        match (is_in_time, was_there) {
            (false, _) => done.left.push(object),
            (true, true) => done.deleted.push(object),
            // Somebody else was faster, and counts it.
            (true, false) => {}
        }
    }
    Ok(done)
}

/// Ends a pin or a lease; `false` if it was not there.
pub(super) async fn drop_hold(storage: &Storage, key: &str) -> Result<bool> {
    // Many stores do not say whether there was anything to delete.
    let was_there = storage.head(key).await?.is_some();
    storage.delete(key).await?;
    Ok(was_there)
}

impl Snapshot {
    /// The path of a file of this version that is not there any more.
    pub(super) async fn missing_file(&self) -> Result<Option<String>> {
        let mut keep = self.needed().await?;
        let listed = self
            .storage()
            .list_tree(|name| name != "_delta_log")
            .await?;
        for object in listed {
            keep.keys.remove(&object.key);
        }
        Ok(keep.keys.pop_first())
    }

    /// Whether a later version needs all files that this one needs.
    pub(super) async fn is_needed_by(&self, later: &Self) -> Result<bool> {
        let (ours, theirs) = (self.needed().await?, later.needed().await?);
        Ok(ours.is_within(&theirs))
    }

    async fn needed(&self) -> Result<Keep> {
        let mut keep = Keep::new(self.storage());
        keep.version(self, i64::MAX).await?;
        Ok(keep)
    }
}
