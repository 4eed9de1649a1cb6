//! Versions that must stay readable: pins, which have a name, and leases of readers, which have an end.
//!
//! Both are small objects beside the log (`_headwater/pins/`, `_headwater/leases/`), so that every process sees them.
//! Vacuum and log cleanup keep what they hold.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::error::{Code, Error, ErrorKind, Result};
use crate::maintenance::vacuum::drop_hold;
use crate::operation::invalid;
use crate::protocol::Version;
use crate::snapshot::{At, Snapshot};
use crate::storage::Storage;
use crate::table::Table;
use crate::transaction::vacuum::under_way;

const PINS: &str = "_headwater/pins";
const LEASES: &str = "_headwater/leases";
/// Log cleanups that are under way.
const CLEANUPS: &str = "_headwater/cleanups";
/// How long a version that is being pinned is leased.
const PINNING_LASTS: Duration = Duration::from_secs(3_600);
/// How long a log cleanup deletes after it has said so.
const CLEANUP_LASTS_MILLIS: i64 = 10 * 60_000;
/// How long others take it to be deleting: the last requests take their time, and clocks differ.
const CLEANUP_SEEN_MILLIS: i64 = 15 * 60_000;
/// How large a hold may be that is read.
const HOLD_BYTES_MAX: u64 = 64 << 10;
/// Clocks of different machines differ: a hold ends this much later for those who would delete.
const SKEW_MILLIS: i64 = 60_000;

/// A version that stays readable, whatever vacuum and log cleanup are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Pin {
    /// Its name.
    pub name: String,
    /// The version.
    pub version: Version,
    /// When it was pinned, in milliseconds since the epoch.
    pub created: i64,
    /// When the pin ends by itself; `None` is never.
    pub expires: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct LeaseFile {
    version: Version,
    expires: i64,
}

/// What a log cleanup says before it deletes.
#[derive(Debug, Serialize, Deserialize)]
struct CleanupFile {
    /// Versions before this one go.
    before: Version,
    started: i64,
}

/// The announcement of a log cleanup: versions before one are about to go.
///
/// A cleanup says so, then reads which versions are held, then deletes, for a limited time. Who writes a pin or a lease
/// reads the announcements after that, then loads the version. So either the announcement is seen, and the hold is
/// refused if it is of a version that goes; or the announcement came after the hold, which the cleanup then sees. A
/// hold that finds no announcement because the cleanup is over finds the version gone.
#[derive(Debug)]
pub(super) struct Announcement {
    storage: Storage,
    environment: Environment,
    key: String,
    until: i64,
}

/// A reader's claim on a version, until it ends or is released. See [`Table::lease`].
#[derive(Debug)]
#[must_use = "a lease that nobody renews ends"]
pub struct Lease {
    storage: Storage,
    environment: Environment,
    key: String,
    version: Version,
    length: Duration,
    /// When it ends, in milliseconds since the epoch.
    ends: AtomicI64,
}

impl Table {
    /// Keeps a version readable under a name, for good or for a time. A name that is taken is replaced.
    ///
    /// ```
    /// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use headwater::protocol::schema::{DataType, Field, Schema};
    /// # let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
    /// # let table = headwater::Table::create("memory:///pin-example", schema).await?;
    /// table.pin("training-2013-06-30", 0, None).await?;
    /// assert_eq!(table.pins().await?[0].version, 0);
    /// assert!(table.unpin("training-2013-06-30").await?);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) for a name of other characters than letters, digits, `-`, `_` and `.`;
    /// [`NotFound`](ErrorKind::NotFound) if the version, or a file of it, is gone already;
    /// [`Conflict`](ErrorKind::Conflict) if a vacuum may be about to take one.
    pub async fn pin(&self, name: &str, at: impl Into<At>, lasts: Option<Duration>) -> Result<Pin> {
        let key = pin_key(name)?;
        let snapshot = self.snapshot_at(at).await?;
        let now = self.environment().now_millis();
        let pin = Pin {
            name: name.to_owned(),
            version: snapshot.version(),
            created: now,
            expires: lasts.map(|lasts| now.saturating_add(millis(lasts))),
        };
        // A lease holds the version until the pin does, so that the pin of this name that is there stays until it can
        // be replaced: whatever is interrupted leaves the old one or the new one.
        let lease = self.lease(&snapshot, PINNING_LASTS).await?;
        let old = read_bytes(self.storage(), &key).await?;
        write(self.storage(), &key, &pin).await?;
        if lease.has_ended()
            && let Err(error) = self.check_held(&snapshot).await
        {
            match old {
                Some(old) => self.storage().put(&key, old).await?,
                None => drop(drop_hold(self.storage(), &key).await?),
            }
            return Err(error);
        }
        lease.release().await?;
        Ok(pin)
    }

    /// Ends a pin; `false` if there was none of this name.
    ///
    /// # Errors
    ///
    /// [`Storage`](ErrorKind::Storage) if the store fails.
    pub async fn unpin(&self, name: &str) -> Result<bool> {
        drop_hold(self.storage(), &pin_key(name)?).await
    }

    /// The pins that have not ended, by name.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](ErrorKind::Corrupt) if one cannot be read.
    pub async fn pins(&self) -> Result<Vec<Pin>> {
        let now = self.environment().now_millis();
        let mut pins: Vec<Pin> = read_all(self.storage(), PINS).await?;
        pins.retain(|pin| pin.expires.is_none_or(|expires| now < expires));
        Ok(pins)
    }

    /// Claims a version for a time: until then, vacuum and log cleanup leave its files. Renew it in a long read;
    /// after its end, files may go, and then reading them is an error, never fewer rows.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if a file of the version is gone already; [`Conflict`](ErrorKind::Conflict) if
    /// a vacuum may be about to take one; [`Storage`](ErrorKind::Storage).
    pub async fn lease(&self, snapshot: &Snapshot, lasts: Duration) -> Result<Lease> {
        let environment = self.environment().clone();
        let lease = Lease {
            storage: self.storage().clone(),
            key: format!("{LEASES}/{}.json", environment.uuid()),
            environment,
            version: snapshot.version(),
            length: lasts,
            ends: AtomicI64::new(0),
        };
        lease.ends.store(lease.write().await?, Ordering::Release);
        if let Err(error) = self.check_held(snapshot).await {
            lease.release().await?;
            return Err(error);
        }
        Ok(lease)
    }
}

impl Table {
    /// Whether a version that has just been pinned or leased is held: a vacuum that was faster is noticed here. The pin
    /// or lease is there, so a vacuum that starts from now on sees it.
    async fn check_held(&self, snapshot: &Snapshot) -> Result<()> {
        let tip = self.refresh().await?;
        // The newest version needs all of its files, and no vacuum takes them, nor does log cleanup take what it is
        // loaded from.
        if tip.version() == snapshot.version() {
            return Ok(());
        }
        self.check_log_held(snapshot).await?;
        if let Some(start) = under_way(&tip, Some(snapshot.version())).await?
            && !snapshot.is_needed_by(&tip).await?
        {
            let message = "a vacuum is under way, or ended without saying so, and may take files of this version; take a \
                           newer version, or try again in a quarter of an hour";
            return Err(Error::conflict(Code::FilesVacuumed, message)
                .with("version", snapshot.version())
                .with("vacuum_version", start));
        }
        match snapshot.missing_file().await? {
            None => Ok(()),
            Some(missing) => Err(gone(snapshot, &missing)),
        }
    }
}

impl Table {
    /// Whether the log of a version that has just been pinned or leased is held: a cleanup that was faster is noticed.
    async fn check_log_held(&self, snapshot: &Snapshot) -> Result<()> {
        let version = snapshot.version();
        let now = self.environment().now_millis();
        for object in self.storage().list(CLEANUPS, None).await? {
            let Some(cleanup) = read::<CleanupFile>(self.storage(), &object.key).await? else {
                continue;
            };
            let age = now.saturating_sub(cleanup.started);
            if version < cleanup.before && age < CLEANUP_SEEN_MILLIS {
                let message = "a log cleanup is under way, or was killed, and takes the log of this version; take a newer \
                               version, or try again in a quarter of an hour";
                return Err(Error::conflict(Code::FilesVacuumed, message)
                    .with("version", version)
                    .with("oldest", cleanup.before));
            }
        }
        // Not what this handle remembers: what is there.
        Snapshot::at_version(self.storage(), self.environment(), version).await?;
        Ok(())
    }

    /// Says that the log before a version is about to go.
    pub(super) async fn announce_cleanup(&self, before: Version) -> Result<Announcement> {
        let environment = self.environment().clone();
        let started = environment.now_millis();
        let announcement = Announcement {
            storage: self.storage().clone(),
            key: format!("{CLEANUPS}/{}.json", environment.uuid()),
            environment,
            until: started.saturating_add(CLEANUP_LASTS_MILLIS),
        };
        let file = CleanupFile { before, started };
        write(self.storage(), &announcement.key, &file).await?;
        Ok(announcement)
    }

    /// Announcements of cleanups that were killed long ago.
    pub(super) async fn dead_cleanups(&self) -> Result<Vec<String>> {
        let mut dead = Vec::new();
        let now = self.environment().now_millis();
        for object in self.storage().list(CLEANUPS, None).await? {
            let cleanup = read::<CleanupFile>(self.storage(), &object.key).await?;
            let is_dead = |cleanup: CleanupFile| {
                CLEANUP_SEEN_MILLIS.saturating_add(SKEW_MILLIS)
                    < now.saturating_sub(cleanup.started)
            };
            if cleanup.is_some_and(is_dead) {
                dead.push(object.key);
            }
        }
        Ok(dead)
    }
}

impl Announcement {
    /// Whether there is still time to delete.
    pub(super) fn lasts(&self) -> bool {
        self.environment.now_millis() < self.until
    }

    /// Takes it back: nothing is deleted any more.
    pub(super) async fn withdraw(self) -> Result<()> {
        drop_hold(&self.storage, &self.key).await?;
        Ok(())
    }
}

impl Lease {
    /// The version that is held.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Makes the lease last its whole length from now on.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) with the code [`FilesExpired`](Code::FilesExpired) if it has ended: files may be
    /// gone, so take a new one. [`Storage`](ErrorKind::Storage) if the store fails: the lease then ends when it would
    /// have.
    pub async fn renew(&self) -> Result<()> {
        let ends = self.ends.load(Ordering::Acquire);
        self.check_lasts(ends)?;
        let renewed = self.write().await?;
        // A vacuum may have seen the end while the store took its time: then the lease stays ended.
        self.check_lasts(ends)?;
        self.ends.store(renewed, Ordering::Release);
        Ok(())
    }

    /// Hands back when it ends now.
    async fn write(&self) -> Result<i64> {
        let now = self.environment.now_millis();
        let file = LeaseFile {
            version: self.version,
            expires: now.saturating_add(millis(self.length)),
        };
        write(&self.storage, &self.key, &file).await?;
        Ok(file.expires)
    }

    fn has_ended(&self) -> bool {
        self.ends.load(Ordering::Acquire) <= self.environment.now_millis()
    }

    fn check_lasts(&self, ends: i64) -> Result<()> {
        if self.environment.now_millis() < ends {
            return Ok(());
        }
        let message = "the lease has ended, so files of its version may be gone; take a new one";
        Err(Error::not_found(Code::FilesExpired, message).with("version", self.version))
    }

    /// Ends the lease.
    ///
    /// # Errors
    ///
    /// [`Storage`](ErrorKind::Storage) if the store fails: the lease then ends by itself.
    pub async fn release(self) -> Result<()> {
        drop_hold(&self.storage, &self.key).await?;
        Ok(())
    }
}

/// The versions that are held now, and the keys of leases that ended long ago.
pub(super) async fn held(table: &Table) -> Result<(Vec<Version>, Vec<String>)> {
    let storage = table.storage();
    let now = table.environment().now_millis();
    let lasts = |expires: i64| now < expires.saturating_add(SKEW_MILLIS);
    let pins: Vec<Pin> = read_all(storage, PINS).await?;
    let pins = pins.iter().filter(|pin| pin.expires.is_none_or(lasts));
    let mut versions: Vec<Version> = pins.map(|pin| pin.version).collect();
    let mut ended = Vec::new();
    for object in storage.list(LEASES, None).await? {
        let Some(lease) = read::<LeaseFile>(storage, &object.key).await? else {
            continue;
        };
        match lasts(lease.expires) {
            true => versions.push(lease.version),
            false => ended.push(object.key),
        }
    }
    versions.sort_unstable();
    versions.dedup();
    Ok((versions, ended))
}

/// What a version that has lost a file is.
pub(super) fn gone(snapshot: &Snapshot, path: &str) -> Error {
    let message = "a file of this version is gone: it was vacuumed";
    Error::not_found(Code::FilesExpired, message)
        .with("version", snapshot.version())
        .with("path", path)
}

fn pin_key(name: &str) -> Result<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || 200 < name.len() || !name.chars().all(is_name) || name.starts_with('.') {
        let message = "a pin's name is made of letters, digits, `-`, `_` and `.`";
        return Err(invalid(message).with("name", name));
    }
    Ok(format!("{PINS}/{name}.json"))
}

async fn write(storage: &Storage, key: &str, hold: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(hold)
        .map_err(|cause| invalid("a hold cannot be written").because(cause))?;
    storage.put(key, text.into()).await
}

async fn read_all<T: for<'a> Deserialize<'a>>(
    storage: &Storage,
    directory: &str,
) -> Result<Vec<T>> {
    let mut found = Vec::new();
    for object in storage.list(directory, None).await? {
        found.extend(read(storage, &object.key).await?);
    }
    Ok(found)
}

/// A hold; `None` if it went meanwhile. One that cannot be read is an error: it may hold anything.
async fn read<T: for<'a> Deserialize<'a>>(storage: &Storage, key: &str) -> Result<Option<T>> {
    let Some(bytes) = read_bytes(storage, key).await? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|cause| {
        let message =
            "a pin or lease cannot be read, so it is not known what it holds; repair or remove it";
        Error::corrupt(Code::DataCorrupt, message)
            .with("path", key)
            .because(cause)
    })
}

async fn read_bytes(storage: &Storage, key: &str) -> Result<Option<bytes::Bytes>> {
    match storage.get_limited(key, HOLD_BYTES_MAX).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
