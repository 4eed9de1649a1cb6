//! Settling, later, a commit whose fate was not known.

use crate::error::Result;
use crate::log::commit;
use crate::protocol::Version;
use crate::table::Table;

/// What became of a commit whose outcome was unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// It is in the log, at this version.
    Committed(Version),
    /// Every slot it tried is held by another commit: it will never be there.
    NotCommitted,
    /// A slot that it tried is still empty: a late answer of the store may yet fill it.
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
                    return Ok(Resolution::Committed(version));
                }
                Some(_) => {}
                None => resolution = Resolution::StillUnknown,
            }
        }
        Ok(resolution)
    }
}
