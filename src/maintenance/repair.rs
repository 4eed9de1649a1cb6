//! A log whose newest commit file is empty: what a crash leaves where a file's name is durable before its bytes are.
//!
//! Such a table opens for nobody, and no version can follow. Whether somebody was told that the commit landed, the file
//! does not say, so nothing takes it back unasked.
//!
//! Spec: [Delta Log Entries](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#delta-log-entries): versions are
//! contiguous, and each of them is the actions in its file.

use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::log::path::{LOG_DIRECTORY, LogPath, commit_key};
use crate::log::segment::no_table;
use crate::maintenance::vacuum::{delete_all, drop_hold};
use crate::protocol::Version;
use crate::protocol::feature::check_writable;
use crate::snapshot::Snapshot;
use crate::storage::{ObjectInfo, Storage};
use crate::table::Table;

/// Claims of repairs that are under way: two at one time could take back what was committed in between.
const CLAIMS: &str = "_headwater/repairs";

impl Table {
    /// Takes the newest version back if its commit file has no bytes, and hands it back; `None` if it has some, and
    /// then nothing is done. The version before it is the newest then, and the next commit takes its place.
    ///
    /// A table with an empty commit file cannot be opened, and only its older versions can be read. What that commit
    /// held is lost already: whoever wrote it may have been told that it landed, and must write it again.
    ///
    /// ```
    /// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use headwater::protocol::schema::{DataType, Field, Schema};
    /// # let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
    /// # headwater::Table::create("memory:///repair-example", schema).await?;
    /// assert_eq!(headwater::Table::drop_empty_tip("memory:///repair-example").await?, None);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no table; [`Corrupt`](crate::ErrorKind::Corrupt) if the version before it
    /// cannot be loaded, or if a checkpoint holds the version; [`Conflict`](crate::ErrorKind::Conflict) if another repair is
    /// under way; [`Unsupported`](crate::ErrorKind::Unsupported) if the table has features that this crate cannot write;
    /// [`Storage`](crate::ErrorKind::Storage).
    pub async fn drop_empty_tip(location: &str) -> Result<Option<Version>> {
        let environment = Environment::system();
        let storage = Storage::open(location, &environment)?;
        Self::drop_empty_tip_in(storage, environment).await
    }

    /// As [`drop_empty_tip`](Self::drop_empty_tip), in a store of the caller's own.
    ///
    /// # Errors
    ///
    /// As [`drop_empty_tip`](Self::drop_empty_tip).
    pub async fn drop_empty_tip_in(
        storage: Storage,
        environment: Environment,
    ) -> Result<Option<Version>> {
        let Some(version) = empty_tip(&storage).await? else {
            return Ok(None);
        };
        if let Some(before) = version.checked_sub(1) {
            let before = Snapshot::at_version(&storage, &environment, before).await?;
            check_writable(before.protocol(), before.metadata(), before.schema())?;
        }
        let claim = claim(&storage, &environment).await?;
        let dropped = drop_if_still_empty(&storage, version).await;
        // Whatever became of it, nothing more is deleted.
        drop_hold(&storage, &claim).await?;
        dropped
    }
}

/// The newest version, if its commit file has no bytes.
async fn empty_tip(storage: &Storage) -> Result<Option<Version>> {
    let listed = storage.list(LOG_DIRECTORY, None).await?;
    let newest = listed.iter().filter_map(commit).max();
    let Some((version, size)) = newest else {
        return Err(no_table(storage));
    };
    if 0 < size {
        return Ok(None);
    }
    let mut checkpoints = listed.iter().filter_map(checkpoint);
    if checkpoints.any(|held| version <= held) {
        let message = "the commit file is empty, but a checkpoint holds its version: another commit in its place would \
                       differ from it; restore the file from a backup";
        return Err(Error::corrupt(Code::CorruptCommit, message).with("version", version));
    }
    Ok(Some(version))
}

/// Says that a repair is under way, and hands back the key of that claim. Of two that do so at one time each sees the
/// other's, or the one that is late finds what the other has done.
async fn claim(storage: &Storage, environment: &Environment) -> Result<String> {
    let ours = format!("{CLAIMS}/{}.json", environment.uuid());
    storage.put(&ours, "{}".into()).await?;
    let claims = storage.list(CLAIMS, None).await?;
    match claims.into_iter().find(|claim| claim.key != ours) {
        None => Ok(ours),
        Some(other) => {
            drop_hold(storage, &ours).await?;
            let message = "another repair of this table is under way, or was killed; if none is running, delete the \
                           object that says so";
            Err(Error::conflict(Code::CommitConflict, message).with("path", other.key))
        }
    }
}

async fn drop_if_still_empty(storage: &Storage, version: Version) -> Result<Option<Version>> {
    // Another repair may have been faster, and a commit may have taken the place.
    if empty_tip(storage).await? != Some(version) {
        return Ok(None);
    }
    delete_all(storage, vec![commit_key(version)]).await?;
    Ok(Some(version))
}

fn checkpoint(object: &ObjectInfo) -> Option<Version> {
    match LogPath::of_key(&object.key)? {
        LogPath::Checkpoint { version, .. } => Some(version),
        _ => None,
    }
}

fn commit(object: &ObjectInfo) -> Option<(Version, u64)> {
    match LogPath::of_key(&object.key)? {
        LogPath::Commit { version } => Some((version, object.size)),
        _ => None,
    }
}
