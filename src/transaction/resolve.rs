//! Settling, later, a commit whose fate was not known.

use crate::error::Result;
use crate::log::commit;
use crate::log::path::commit_key;
use crate::protocol::Version;
use crate::snapshot::Snapshot;
use crate::table::Table;

/// What became of a commit whose outcome was unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// It is in the log, at this version.
    Committed(Version),
    /// Every slot it tried is held by another commit: it will never be there.
    NotCommitted,
    /// A slot that it tried is still empty, and a late answer of the store may yet fill it; or the slot holds it, but
    /// log cleanup had passed that slot, or its name may not be on the disk.
    StillUnknown,
}

impl Table {
    /// What became of a write that ended with the code [`CommitUnknown`](crate::Code::CommitUnknown). Its error
    /// names `txn_id` and the `first_version` and `last_version` it tried.
    ///
    /// # Errors
    ///
    /// [`Storage`](crate::ErrorKind::Storage) if the log cannot be read now, either.
    pub async fn resolve(
        &self,
        txn_id: &str,
        first_version: Version,
        last_version: Version,
    ) -> Result<Resolution> {
        let mut resolution = Resolution::NotCommitted;
        for version in first_version..=last_version {
            match commit::read(self.storage(), version).await? {
                Some(found) if found.info.as_ref().is_some_and(|info| info.is_of(txn_id)) => {
                    return self.landed(version, txn_id).await;
                }
                Some(_) => {}
                None => resolution = Resolution::StillUnknown,
            }
        }
        Ok(resolution)
    }
    /// What it means that the slot of `version` holds the transaction: that it is committed, unless the slot lies before
    /// everything that a reader reads, or its name may not be on the disk.
    async fn landed(&self, version: Version, txn_id: &str) -> Result<Resolution> {
        if self
            .storage()
            .sync_name(&commit_key(version))
            .await
            .is_err()
        {
            return Ok(Resolution::StillUnknown);
        }
        let before = version.checked_sub(1).map(commit_key);
        let is_in_line = match before {
            Some(before) => self.storage().head(&before).await?.is_some(),
            None => true,
        };
        if is_in_line {
            return Ok(Resolution::Committed(version));
        }
        let newest = Snapshot::latest(self.storage(), self.environment()).await?;
        let info = newest
            .commit(version)
            .and_then(|commit| commit.info.clone());
        Ok(match info.is_some_and(|info| info.is_of(txn_id)) {
            true => Resolution::Committed(version),
            false => Resolution::StillUnknown,
        })
    }
}
