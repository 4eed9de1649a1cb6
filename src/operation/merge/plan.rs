//! The files and rows of the table that the source meets.

use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;
use futures::TryStreamExt;

use crate::data::reader::DataFile;
use crate::data::rewrite::find::{Found, looked_at, note, positions};
use crate::data::writer::Change;
use crate::error::{Code, Error, Result};
use crate::operation::change::carry::{Effects, Tally, carry};
use crate::operation::change::hits::Hit;
use crate::operation::change::output::{Output, Sums};
use crate::operation::change::{Changing, every_row};
use crate::operation::merge::clauses::{Clauses, Sees, Written};
use crate::operation::merge::keys::Keys;
use crate::operation::merge::source::Source;
use crate::predicate::{BoundPredicate, Bounds};
use crate::protocol::schema::Schema;
use crate::scan::candidates::candidates_where;
use crate::transaction::{Draft, ReadRows};

/// Rows that are inserted at one go.
const INSERTED_ROWS: usize = 8_192;

/// A merge that is bound to the table.
struct Bound<'a> {
    source: &'a Source,
    keys: Keys,
    matched: Clauses,
    not_matched: Clauses,
    by_source: Clauses,
}

/// Which rows of the source met a row of the table, and whether such a row stays as it is.
struct Met {
    rows: Vec<bool>,
    stays: bool,
}

/// What a merge did to the rows of the table.
#[derive(Default)]
struct Changed {
    updated: u64,
    deleted: u64,
    by_source_updated: u64,
    by_source_deleted: u64,
    inserted: u64,
}

/// Plans a merge and stages it.
pub(super) async fn stage(
    draft: &mut Draft,
    source: &Source,
    on: &[String],
    (written, limit): (&Written, u64),
) -> Result<()> {
    let changing = Changing::begin(draft)?;
    let table = changing.state.schema();
    let now = changing.now_micros();
    let clauses = |clauses, sees| Clauses::bind(clauses, (sees, now), &source.schema, table);
    let bound = Bound {
        source,
        keys: Keys::new(table, on, source, limit)?,
        matched: clauses(&written.matched, Sees::Both)?,
        not_matched: clauses(&written.not_matched, Sees::Source)?,
        by_source: clauses(&written.by_source, Sees::Target)?,
    };
    parameters(draft, on, written);
    let (hits, met) = bound.find(&changing).await?;
    let rows = match bound.by_source.is_empty() {
        true => ReadRows::Matching(bound.keys.predicate().clone()),
        false => ReadRows::All,
    };
    // That a row was met and stays keeps its counterpart out: if it went, that would have to come in.
    match met.stays && !bound.not_matched.is_empty() {
        true => draft.depends_on(rows),
        false => draft.reads(rows),
    }
    let mut output = Output::new(&changing.state, changing.feed && !hits.is_empty())?;
    let mut changed = Changed::default();
    let predicate = match bound.by_source.is_empty() {
        true => Some(Arc::new(bound.keys.predicate().bind(table)?)),
        false => None,
    };
    let mut effect = |rows: RecordBatch| bound.effects(&rows, &mut changed);
    let what = (hits, predicate);
    let tally = carry(&changing, draft, what, &mut output, Some(&mut effect)).await?;
    bound.insert(&met, &mut output, &mut changed).await?;
    let sums = output.finish(draft).await?;
    report(draft, source, (&changed, &tally), &sums);
    Ok(())
}

impl Bound<'_> {
    /// The rows that a clause is for, and the rows of the source that met one. Reads the columns of the key and of
    /// conditions, of files that can hold a key.
    async fn find(&self, changing: &Changing) -> Result<(Vec<Hit>, Met)> {
        let mut met = Met {
            rows: vec![false; self.source.rows.num_rows()],
            stays: false,
        };
        let state = &changing.state;
        let reads_all = !self.by_source.is_empty();
        let keys = self.keys.predicate();
        let rows = if reads_all { every_row() } else { keys.clone() };
        let may_hold = |predicate: &BoundPredicate, file: &dyn Bounds| {
            reads_all || self.keys.may_be_in(predicate, file)
        };
        let candidates = candidates_where(state, &rows, &may_hold).await?;
        let predicate = (!reads_all).then_some(candidates.predicate);
        let files: Vec<_> = candidates.files.into_iter().map(|it| it.add).collect();
        let data = files.iter().map(DataFile::of).collect::<Result<_>>()?;
        let mut found: Vec<Option<Found>> = Vec::new();
        found.resize_with(files.len(), || None);
        let columns = Arc::new(self.columns(state.schema())?);
        let mut batches = looked_at(state, columns, predicate, data)?;
        while let Some(batch) = batches.try_next().await? {
            let hit = self.hit(&batch.rows.batch, &mut met)?;
            let positions = positions(&batch.rows)?.iter().copied();
            if let Some(found) = found.get_mut(batch.place) {
                let hit = positions.zip(hit).filter(|(_, hit)| *hit);
                let hit = hit.map(|(position, _)| position);
                note(found, &batch).rows.extend(hit);
            }
        }
        let hits = files.into_iter().zip(found);
        let hits = hits.filter_map(|(add, found)| Hit::of_found(add, found));
        Ok((hits.collect(), met))
    }

    /// The columns that decide: those of the key, and those that conditions look at.
    fn columns(&self, table: &Schema) -> Result<Schema> {
        let keys = self.keys.columns().iter().map(|field| field.name.as_str());
        let conditions = self.matched.target_columns();
        let conditions = conditions.chain(self.by_source.target_columns());
        let roots = conditions.filter_map(|path| path.first().map(String::as_str));
        let names: Vec<&str> = keys.chain(roots).collect();
        let fields = table.fields().iter();
        let wanted = fields.filter(|field| names.contains(&field.name.as_str()));
        Schema::new(wanted.cloned())
    }

    /// Which rows of the table a clause is for.
    fn hit(&self, rows: &RecordBatch, met: &mut Met) -> Result<Vec<bool>> {
        let matches = self.keys.matches(rows)?;
        for number in matches.iter().flatten() {
            if let Some(met) = met.rows.get_mut(*number as usize) {
                *met = true;
            }
        }
        let mut hit = vec![false; rows.num_rows()];
        for (clauses, of_matched) in [(&self.matched, true), (&self.by_source, false)] {
            let is_theirs = |found: &Option<u32>| found.is_some() == of_matched;
            if clauses.is_empty() || !matches.iter().any(is_theirs) {
                continue;
            }
            if !clauses.has_conditions() {
                let mine = hit.iter_mut().zip(&matches);
                mine.for_each(|(hit, found)| *hit |= is_theirs(found));
                continue;
            }
            let side = self.side(rows, &matches, of_matched)?;
            let chosen = clauses.choose(&side.given(clauses)?)?;
            let mut chosen = chosen.into_iter();
            for (hit, found) in hit.iter_mut().zip(&matches) {
                if is_theirs(found) {
                    *hit |= chosen.next().flatten().is_some();
                }
            }
        }
        let mut pairs = matches.iter().zip(&hit);
        met.stays |= pairs.any(|(found, hit)| found.is_some() && !hit);
        Ok(hit)
    }

    /// The rows that were matched, with their counterparts; or those that were not.
    fn side(&self, rows: &RecordBatch, matches: &[Option<u32>], of_matched: bool) -> Result<Side> {
        let mask: BooleanArray = matches
            .iter()
            .map(|found| Some(found.is_some() == of_matched))
            .collect();
        let target = match mask.true_count() == rows.num_rows() {
            true => rows.clone(),
            false => filter_record_batch(rows, &mask).map_err(unfit)?,
        };
        let source = match of_matched {
            true => Some(
                self.source
                    .take(matches.iter().flatten().copied().collect())?,
            ),
            false => None,
        };
        Ok(Side { source, target })
    }

    /// What becomes of rows that clauses are for.
    fn effects(&self, rows: &RecordBatch, changed: &mut Changed) -> Result<Effects> {
        let matches = self.keys.matches(rows)?;
        let mut effects = Effects::default();
        for (clauses, of_matched) in [(&self.matched, true), (&self.by_source, false)] {
            if clauses.is_empty() {
                continue;
            }
            let side = self.side(rows, &matches, of_matched)?;
            if side.target.num_rows() == 0 {
                continue;
            }
            let given = side.given(clauses)?;
            let chosen = clauses.choose(&given)?;
            if chosen.iter().any(Option::is_none) {
                let message = "a condition of the merge gave another answer than before; nothing was committed";
                return Err(Error::invalid(Code::InvalidPredicate, message));
            }
            let deleted = clauses.deleted(&side.target, &chosen)?;
            let gone = deleted.num_rows() as u64;
            let updated = side.target.num_rows() as u64 - gone;
            match of_matched {
                true => {
                    changed.updated += updated;
                    changed.deleted += gone;
                }
                false => {
                    changed.by_source_updated += updated;
                    changed.by_source_deleted += gone;
                }
            }
            if 0 < gone {
                effects.deleted.push(deleted);
            }
            let updated = clauses.updated(&side.target, &given, &chosen)?;
            effects.updated.extend(updated);
        }
        Ok(effects)
    }

    /// Inserts rows of the source that met none.
    async fn insert(&self, met: &Met, output: &mut Output, changed: &mut Changed) -> Result<()> {
        if self.not_matched.is_empty() {
            return Ok(());
        }
        let numbers = (0_u32..).zip(&met.rows).filter(|(_, met)| !**met);
        let numbers: Vec<u32> = numbers.map(|(number, _)| number).collect();
        for numbers in numbers.chunks(INSERTED_ROWS) {
            let rows = self.source.take(numbers.to_vec())?;
            let given = self.not_matched.given(Some(&rows), None)?;
            let chosen = self.not_matched.choose(&given)?;
            for rows in self.not_matched.inserted(&given, &chosen)? {
                changed.inserted += rows.num_rows() as u64;
                let rows = output.put(rows).await?;
                output.tell(Change::Insert, &rows).await?;
            }
        }
        Ok(())
    }
}

/// Rows of the table, and their counterparts where they have some.
struct Side {
    source: Option<RecordBatch>,
    target: RecordBatch,
}

impl Side {
    fn given(&self, clauses: &Clauses) -> Result<RecordBatch> {
        clauses.given(self.source.as_ref(), Some(&self.target))
    }
}

fn report(draft: &mut Draft, source: &Source, (changed, tally): (&Changed, &Tally), sums: &Sums) {
    let updated = changed.updated + changed.by_source_updated;
    let deleted = changed.deleted + changed.by_source_deleted;
    draft.counts.updated += updated;
    draft.counts.deleted += deleted;
    draft.counts.inserted += changed.inserted;
    for (name, value) in [
        ("numSourceRows", source.rows.num_rows() as u64),
        ("numTargetRowsInserted", changed.inserted),
        ("numTargetRowsUpdated", updated),
        ("numTargetRowsDeleted", deleted),
        ("numTargetRowsCopied", tally.copied),
        ("numTargetRowsMatchedUpdated", changed.updated),
        ("numTargetRowsMatchedDeleted", changed.deleted),
        (
            "numTargetRowsNotMatchedBySourceUpdated",
            changed.by_source_updated,
        ),
        (
            "numTargetRowsNotMatchedBySourceDeleted",
            changed.by_source_deleted,
        ),
        ("numOutputRows", sums.rows),
        ("numTargetFilesAdded", sums.files),
        ("numTargetFilesRemoved", tally.files_removed),
        ("numTargetBytesAdded", sums.bytes),
        ("numTargetBytesRemoved", tally.bytes_removed),
        ("numTargetChangeFilesAdded", sums.change_files),
        ("numTargetDeletionVectorsAdded", tally.vectors_added),
        ("numTargetDeletionVectorsUpdated", tally.vectors_updated),
        ("numTargetDeletionVectorsRemoved", tally.vectors_removed),
    ] {
        draft.metric(name, value);
    }
}

/// How the merge was asked for, as Spark writes it.
fn parameters(draft: &mut Draft, on: &[String], written: &Written) {
    let equal = on
        .iter()
        .map(|column| format!("target.{column} = source.{column}"));
    let equal = equal.collect::<Vec<_>>().join(" AND ");
    draft.parameter(
        "predicate",
        serde_json::Value::from(vec![equal]).to_string(),
    );
    for (name, clauses, kept) in [
        ("matchedPredicates", &written.matched, "update"),
        ("notMatchedPredicates", &written.not_matched, "insert"),
        ("notMatchedBySourcePredicates", &written.by_source, "update"),
    ] {
        let clauses = clauses.iter().map(|clause| clause.described(kept));
        let clauses = serde_json::Value::from(clauses.collect::<Vec<_>>());
        draft.parameter(name, clauses.to_string());
    }
}

fn unfit(cause: arrow_schema::ArrowError) -> Error {
    let message = "rows of the table cannot be divided";
    Error::corrupt(Code::DataCorrupt, message).because(cause)
}
