//! Taking rows out of their files, and following them.

use std::sync::Arc;

use arrow_array::RecordBatch;
use futures::TryStreamExt;

use crate::data::rewrite::follow::{Followed, follow};
use crate::data::writer::Change;
use crate::error::Result;
use crate::operation::change::hits::Hit;
use crate::operation::change::output::Output;
use crate::operation::change::{Changing, miscounted};
use crate::predicate::BoundPredicate;
use crate::transaction::Draft;

/// What becomes of rows that were hit.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Rows that go.
    pub(crate) deleted: Vec<RecordBatch>,
    /// Rows that change, as they were, and as they become.
    pub(crate) updated: Vec<(RecordBatch, RecordBatch)>,
}

/// What becomes of the rows of a batch. Every one of them is either deleted or changed.
pub(crate) type Effect<'a> = &'a mut (dyn FnMut(RecordBatch) -> Result<Effects> + Send);

/// What a change came to.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    /// Files removed, marked ones not among them, and their bytes.
    pub(crate) files_removed: u64,
    pub(crate) bytes_removed: u64,
    /// Deletion vectors of files that had none, and of files that had one.
    pub(crate) vectors_added: u64,
    pub(crate) vectors_updated: u64,
    /// Deletion vectors that went with their files.
    pub(crate) vectors_removed: u64,
    /// Rows hit, in files that were removed and in others.
    pub(crate) hit: u64,
    /// Rows copied because others of their file were hit.
    pub(crate) copied: u64,
}

/// Takes the rows out of their files: stages removals and marks, and copies what is left of files that are rewritten.
///
/// The rows themselves are followed and handed to `effect` where that is `Some`, or where the change feed tells of them.
/// With a predicate, which is true for all of them, files that are marked are read only where it may be true.
pub(crate) async fn carry(
    changing: &Changing,
    draft: &mut Draft,
    (hits, predicate): (Vec<Hit>, Option<Arc<BoundPredicate>>),
    output: &mut Output,
    mut effect: Option<Effect<'_>>,
) -> Result<Tally> {
    let mut tally = Tally::default();
    let (mut read_in_part, mut read_whole) = (Vec::new(), Vec::new());
    for hit in hits {
        let is_whole = hit.is_whole();
        let follows = effect.is_some() || output.has_feed();
        take_out((changing, output.has_feed()), draft, &hit, &mut tally);
        match (is_whole, changing.marks) {
            (false, false) => read_whole.push(hit),
            (true, _) if follows => read_whole.push(hit),
            (false, true) if follows => read_in_part.push(hit),
            _ => {}
        }
    }
    let parts = Way::Parts(predicate);
    for (way, hits) in [(parts, read_in_part), (Way::Whole, read_whole)] {
        follow_all(changing, (way, hits), output, &mut effect, &mut tally).await?;
    }
    Ok(tally)
}

fn take_out(
    (changing, is_told): (&Changing, bool),
    draft: &mut Draft,
    hit: &Hit,
    tally: &mut Tally,
) {
    let had_vector = u64::from(hit.add.deletion_vector.is_some());
    tally.hit += hit.count;
    match &hit.found {
        Some(found) if changing.marks && !found.is_all() => {
            draft.mark(hit.add.clone(), found.physical_rows, found.rows.clone());
            tally.vectors_updated += had_vector;
            tally.vectors_added += 1 - had_vector;
        }
        _ => {
            tally.vectors_removed += had_vector;
            tally.files_removed += 1;
            tally.bytes_removed += u64::try_from(hit.add.size).unwrap_or(0);
            match is_told {
                true => draft.remove_told(hit.add.clone()),
                false => draft.remove(hit.add.clone()),
            }
        }
    }
}

/// How files are followed.
enum Way {
    /// They stay, without the rows that are hit: the others are of no interest, nor is what the predicate leaves out.
    Parts(Option<Arc<BoundPredicate>>),
    /// They go: every row is either hit or copied.
    Whole,
}

async fn follow_all(
    changing: &Changing,
    (way, hits): (Way, Vec<Hit>),
    output: &mut Output,
    effect: &mut Option<Effect<'_>>,
    tally: &mut Tally,
) -> Result<()> {
    if hits.is_empty() {
        return Ok(());
    }
    let (is_whole, predicate) = match way {
        Way::Parts(predicate) => (false, predicate),
        Way::Whole => (true, None),
    };
    let followed = hits.iter().map(|hit| {
        let rows = hit.found.as_ref().filter(|found| !found.is_all());
        let rows = rows.map(|found| found.rows.clone());
        let file = hit.file()?;
        Ok(Followed { file, rows })
    });
    let mut seen = vec![(0_u64, 0_u64); hits.len()];
    let mut batches = follow(&changing.state, predicate, followed.collect::<Result<_>>()?)?;
    while let Some(batch) = batches.try_next().await? {
        let copies = is_whole && 0 < batch.rest.num_rows();
        if let Some((hit, rest)) = seen.get_mut(batch.place) {
            *hit += batch.hits.num_rows() as u64;
            *rest += batch.rest.num_rows() as u64;
        }
        if copies {
            tally.copied += batch.rest.num_rows() as u64;
            output.copy(batch.rest).await?;
        }
        if 0 < batch.hits.num_rows() {
            hand_on(batch.hits, output, effect).await?;
        }
    }
    // No row of a file that goes may be missing from what comes in its place.
    for (hit, (hits, rest)) in hits.iter().zip(seen) {
        let Some(found) = &hit.found else { continue };
        if hits != hit.count {
            return Err(miscounted(&hit.add.path, hit.count, hits));
        }
        if is_whole && hits + rest != found.live_rows {
            return Err(miscounted(&hit.add.path, found.live_rows, hits + rest));
        }
    }
    Ok(())
}

async fn hand_on(
    hits: RecordBatch,
    output: &mut Output,
    effect: &mut Option<Effect<'_>>,
) -> Result<()> {
    let effects = match effect {
        Some(effect) => effect(hits)?,
        None => Effects {
            deleted: vec![hits],
            ..Effects::default()
        },
    };
    for rows in effects.deleted {
        output.tell(Change::Delete, &rows).await?;
    }
    for (before, after) in effects.updated {
        output.tell(Change::Before, &before).await?;
        let after = output.put(after).await?;
        output.tell(Change::After, &after).await?;
    }
    Ok(())
}
