//! Telling the change feed what the log alone would have told.

use futures::TryStreamExt;

use crate::data::reader::DataFile;
use crate::data::rewrite::follow::{Followed, follow};
use crate::data::writer::Change;
use crate::error::{Error, Result};
use crate::operation::change::output::Output;
use crate::operation::evolve;
use crate::snapshot::Snapshot;
use crate::transaction::Draft;

/// Completes the change feed of a commit, once all of it is staged: where some changes are in files of the feed, those
/// that whole files stand for are written there, too. So they are where a file goes whose deletion vector took rows
/// before: not all readers of the feed look at it.
///
/// Spec: [Change Data Files](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#change-data-files): where a version
/// has such files, they are all that its readers see.
///
/// # Errors
///
/// [`Unsupported`](crate::ErrorKind::Unsupported) if the columns changed beside the rows, so that what was told has
/// others than what is left to tell.
pub(crate) async fn tell_rest(draft: &mut Draft) -> Result<()> {
    let is_told_in_part = draft.has_change_files();
    if !is_told_in_part && !draft.drops_vectors() {
        return Ok(());
    }
    draft.settle().await?;
    let state = draft.state().clone();
    if !evolve::still_fits(draft.base.metadata(), state.metadata())? {
        if !is_told_in_part {
            return Ok(());
        }
        let message = "rows and columns cannot change in one commit on a table with a change data feed; commit them one \
                       by one";
        return Err(Error::unsupported(message));
    }
    let (mut went, mut came) = (Vec::new(), Vec::new());
    for (change, file) in draft.take_untold().into_values() {
        let followed = Followed {
            file: DataFile::of(&file)?,
            rows: None,
        };
        match change {
            Change::Insert => came.push(followed),
            _ => went.push(followed),
        }
    }
    if went.is_empty() && came.is_empty() {
        return Ok(());
    }
    let mut output = Output::new(&state, true)?;
    tell(&state, (Change::Delete, went), &mut output).await?;
    tell(&state, (Change::Insert, came), &mut output).await?;
    let sums = output.finish(draft).await?;
    draft.metric("numAddedChangeFiles", sums.change_files);
    Ok(())
}

async fn tell(
    state: &Snapshot,
    (change, files): (Change, Vec<Followed>),
    output: &mut Output,
) -> Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    let mut batches = follow(state, None, files)?;
    while let Some(batch) = batches.try_next().await? {
        output.tell(change, &batch.hits).await?;
    }
    Ok(())
}
