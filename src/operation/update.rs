//! Update: the rows of a condition get new values.

use std::fmt;

use arrow_array::RecordBatch;
use futures::future::BoxFuture;

use crate::error::Result;
use crate::operation::change::assign::{Assignments, Set};
use crate::operation::change::carry::{Effects, carry};
use crate::operation::change::hits::hits;
use crate::operation::change::output::Output;
use crate::operation::change::{Changing, as_parameter, every_row, timed};
use crate::operation::{Verb, awaitable, invalid};
use crate::predicate::{Expression, Predicate};
use crate::table::Table;
use crate::transaction::{Draft, ReadRows};

/// Changes rows; await it. See [`Table::update`].
#[derive(Clone)]
#[must_use = "nothing happens until it is awaited"]
pub struct Update {
    table: Table,
    sets: Vec<Set>,
    predicate: Option<Predicate>,
}

impl Table {
    /// Gives columns new values in the rows of a condition, as one version; earlier versions keep the old ones.
    ///
    /// New values are computed from the row as it was, whichever columns are set, and brought to the column's type.
    /// Without [`filter`](Update::filter), all rows change. Only rows that change are written again where the table
    /// enables deletion vectors (`delta.enableDeletionVectors`), else whole files are. Partition columns may be set:
    /// the rows move.
    ///
    /// ```
    /// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use headwater::protocol::schema::{DataType, Field, Schema};
    /// # use headwater::arrow_array::{Int64Array, RecordBatch};
    /// # use std::sync::Arc;
    /// # let schema = Schema::new([Field::new("id", DataType::LONG, false), Field::new("old", DataType::LONG, true)])?;
    /// # let table = headwater::Table::create("memory:///update-example", schema).await?;
    /// # let ids = Int64Array::from(vec![1, 2, 3]);
    /// # table.append(RecordBatch::try_from_iter([("id", Arc::new(ids) as _)]).unwrap()).await?;
    /// use headwater::predicate::col;
    /// let commit = table.update().set("old", col("id")).set("id", 7_i64).filter(col("id").gt(2)).await?;
    /// assert_eq!(commit.rows_updated, 1);
    /// let seven = table.snapshot().scan().filter(col("id").eq(7).and(col("old").eq(3))).collect().await?;
    /// assert_eq!(seven.iter().map(|batch| batch.num_rows()).sum::<usize>(), 1);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    ///
    /// When awaited: as [`Table::delete`], and [`Invalid`](crate::ErrorKind::Invalid) if a value cannot be computed or
    /// has no place in its column, or if a new row breaks a constraint.
    pub fn update(&self) -> Update {
        Update {
            table: self.clone(),
            sets: Vec::new(),
            predicate: None,
        }
    }
}

impl Update {
    /// Sets a column to the value of an expression over the row as it was.
    pub fn set(mut self, column: impl Into<String>, value: impl Into<Expression>) -> Self {
        self.sets.push((column.into(), value.into()));
        self
    }

    /// Sets a column to the value of a SQL expression over the row as it was, such as `price * 1.1`.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if the text is no expression, naming what cannot be evaluated.
    pub fn set_sql(self, column: impl Into<String>, sql: &str) -> Result<Self> {
        Ok(self.set(column, Expression::parse(sql)?))
    }

    /// Changes only rows for which this is true. A second call narrows further.
    pub fn filter(mut self, predicate: impl Into<Predicate>) -> Self {
        let predicate = predicate.into();
        self.predicate = Some(match self.predicate.take() {
            Some(first) => first.and(predicate),
            None => predicate,
        });
        self
    }

    async fn stage_rows(&self, draft: &mut Draft) -> Result<()> {
        if self.sets.is_empty() {
            return Err(invalid(
                "an update without a column to set; name one with `set`",
            ));
        }
        let changing = Changing::begin(draft)?;
        let predicate = self.predicate.clone().unwrap_or_else(every_row);
        draft.parameter("predicate", as_parameter(&predicate));
        let now = changing.now_micros();
        let predicate = timed(&predicate, now);
        let schema = changing.state.schema();
        let assignments = Assignments::bind(schema, schema, &self.sets, now)?;
        draft.reads(ReadRows::Matching(predicate.clone()));
        let hits = hits(&changing.state, &predicate).await?;
        let mut output = Output::new(&changing.state, changing.feed && !hits.files.is_empty())?;
        let mut effect = |rows: RecordBatch| {
            let after = assignments.applied(&rows, &rows)?;
            Ok(Effects {
                updated: vec![(rows, after)],
                ..Effects::default()
            })
        };
        let what = (hits.files, Some(hits.predicate));
        let tally = carry(&changing, draft, what, &mut output, Some(&mut effect)).await?;
        let sums = output.finish(draft).await?;
        draft.counts.updated += tally.hit;
        for (name, value) in [
            ("numUpdatedRows", tally.hit),
            ("numCopiedRows", tally.copied),
            ("numAddedFiles", sums.files),
            ("numAddedBytes", sums.bytes),
            ("numRemovedFiles", tally.files_removed),
            ("numRemovedBytes", tally.bytes_removed),
            ("numAddedChangeFiles", sums.change_files),
            ("numDeletionVectorsAdded", tally.vectors_added),
            ("numDeletionVectorsUpdated", tally.vectors_updated),
            ("numDeletionVectorsRemoved", tally.vectors_removed),
        ] {
            draft.metric(name, value);
        }
        Ok(())
    }
}

impl fmt::Debug for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> = self
            .sets
            .iter()
            .map(|(column, _)| column.as_str())
            .collect();
        f.debug_struct("Update")
            .field("table", &self.table)
            .field("columns", &columns)
            .finish_non_exhaustive()
    }
}

impl Verb for Update {
    fn table(&self) -> &Table {
        &self.table
    }

    fn name(&self) -> &'static str {
        "UPDATE"
    }

    fn stage<'a>(&'a mut self, draft: &'a mut Draft) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.stage_rows(draft))
    }
}

awaitable!(Update);
