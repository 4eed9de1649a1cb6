//! What the log says of vacuums, and what it means for those who need files that a vacuum may take.
//!
//! A vacuum reads pins and leases, and what others committed, once its start is in the log. So who writes one and then
//! finds no start in the log is seen by every vacuum that is to come. Who finds one that has not ended may be too late
//! for it: what it was planned to delete may go at any moment, though it is there now. A vacuum deletes for a limited
//! time after its start and then starts again, so that one that was killed holds nobody up for long. Vacuums of other
//! engines, whose starts do not say what they were planned on, may delete for as long as they like.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};

use crate::error::{Code, Error, Result};
use crate::log::commit;
use crate::protocol::Version;
use crate::protocol::action::CommitInfo;
use crate::protocol::location::resolve;
use crate::snapshot::Snapshot;
use crate::transaction::draft::Draft;

/// The operation that says that objects are about to be deleted.
pub(crate) const VACUUM_START: &str = "VACUUM START";
/// The operation that says that objects have been deleted.
pub(crate) const VACUUM_END: &str = "VACUUM END";
/// The parameter of a start that holds the version that the vacuum was planned on.
pub(crate) const PLANNED: &str = "plannedVersion";
/// The parameter of an end that holds the version that is its start.
pub(crate) const STARTED: &str = "startVersion";

/// How long a vacuum deletes after its start.
pub(crate) const LASTS_MILLIS: i64 = 10 * 60_000;
/// How long others take it to be deleting: the last requests take their time, and clocks differ.
const SEEN_MILLIS: i64 = 15 * 60_000;
/// How old a commit may be by the store's clock that is looked at.
const LOOKED_AT_MILLIS: i64 = OTHERS_SEEN_MILLIS + 5 * 60_000;
/// How long another engine's vacuum may be deleting that does not say that it has ended: none limits its time.
const OTHERS_SEEN_MILLIS: i64 = 24 * 3_600_000;
/// Files that are looked for at one time.
const HEADS_IN_FLIGHT: usize = 16;
/// Commits that are read at one time.
const COMMITS_IN_FLIGHT: usize = 8;

/// The start of a vacuum that was planned after `version` and may be deleting now: it may take files of this version,
/// but none of the files of `tip`. Without a version, any that may be deleting.
pub(crate) async fn under_way(tip: &Snapshot, version: Option<Version>) -> Result<Option<Version>> {
    let is_after = |other: Version| version.is_none_or(|version| version < other);
    let now = tip.environment().now_millis();
    let mut times = tip.file_times().await?;
    times.retain(|(later, time)| is_after(*later) && now.saturating_sub(LOOKED_AT_MILLIS) < *time);
    times.reverse();
    let commits = stream::iter(times).map(|(later, _)| async move {
        let commit = commit::read(tip.storage(), later).await?;
        Ok::<_, Error>((later, commit.and_then(|commit| commit.info)))
    });
    let mut commits = commits.buffered(COMMITS_IN_FLIGHT);
    let mut ended = BTreeSet::new();
    // Other engines do not say which start they end.
    let mut others_ended = false;
    while let Some((later, info)) = commits.try_next().await? {
        let Some(info) = info else { continue };
        match info.operation.as_deref() {
            Some(VACUUM_END) => match version_in(&info, STARTED) {
                Some(start) => drop(ended.insert(start)),
                None => others_ended = true,
            },
            Some(VACUUM_START) => {
                let planned = version_in(&info, PLANNED);
                let seen = planned.map_or(OTHERS_SEEN_MILLIS, |_| SEEN_MILLIS);
                let is_ended = ended.contains(&later) || (planned.is_none() && others_ended);
                let age = now.saturating_sub(info.timestamp.unwrap_or(now));
                if !is_ended && is_after(planned.unwrap_or(later)) && age < seen {
                    return Ok(Some(later));
                }
            }
            _ => {}
        }
    }
    Ok(None)
}

fn version_in(info: &CommitInfo, parameter: &str) -> Option<Version> {
    let parameters = info.operation_parameters.as_ref()?;
    parameters.get(parameter)?.as_string()?.parse().ok()
}

/// Whether the files that a draft names are there and stay. A writer that is slower than the table's grace for files
/// that no commit named may have lost some to vacuum, or be about to.
pub(crate) async fn check_files(draft: &Draft, tip: &Snapshot) -> Result<()> {
    let now = tip.environment().now_millis();
    let planned = i64::try_from(draft.base.seen_for().as_millis()).unwrap_or(i64::MAX);
    let adds = draft.adds();
    let adds = adds.map(|add| (&add.path, now.saturating_sub(add.modification_time)));
    let cdcs = draft.cdcs().map(|cdc| (&cdc.path, planned));
    let grace = grace_millis(tip);
    let late: Vec<(&String, i64)> = adds.chain(cdcs).filter(|(_, age)| grace < *age).collect();
    // Of these a vacuum that is under way may have planned to take some that are there now.
    let doomed = late.iter().find(|(_, age)| grace + grace / 2 < *age);
    if let Some((path, _)) = doomed
        && under_way(tip, None).await?.is_some()
    {
        return Err(vacuumed(path));
    }
    let late: Vec<String> = late.into_iter().map(|(path, _)| path.clone()).collect();
    let heads = stream::iter(late).map(|path| async move {
        let (place, key) = tip.storage().locate(resolve(&path)?)?;
        match place.head(&key).await? {
            Some(_) => Ok(()),
            None => Err(vacuumed(&path)),
        }
    });
    let mut heads = heads.buffer_unordered(HEADS_IN_FLIGHT);
    while heads.try_next().await?.is_some() {}
    Ok(())
}

/// How old a file may be that no commit names, so that no vacuum takes it: half of what vacuum waits.
pub(crate) fn grace_millis(tip: &Snapshot) -> i64 {
    let grace = tip.properties().deleted_file_retention.as_millis() / 2;
    i64::try_from(grace).unwrap_or(i64::MAX)
}

fn vacuumed(path: &str) -> Error {
    let message = "a file that was to be committed is gone, or about to go: the write took longer than vacuum waits for \
                   files that no commit names; write the rows again";
    Error::conflict(Code::FilesVacuumed, message).with("path", path)
}
