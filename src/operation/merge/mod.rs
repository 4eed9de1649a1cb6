//! Merge: rows of a source meet the rows of the table that have the same key.
//!
//! The source is held in memory, up to a limit, and its keys in a hash table; the table is streamed past it. Files
//! that cannot hold a key of the source are not read: the keys, or their range, are a predicate like any other.
//!
//! | file | what it knows |
//! | --- | --- |
//! | [`source`] | the rows of the source |
//! | [`keys`] | rows to keys, and a key to its row of the source |
//! | [`clauses`] | which clause is for a row, and what it does to it |
//! | [`plan`] | the files and rows of the table that are met |

use std::fmt;

use futures::future::BoxFuture;

use crate::error::Result;
use crate::operation::change::assign::Set;
use crate::operation::merge::clauses::{Action, Clause, Written};
use crate::operation::merge::source::Source;
use crate::operation::rows::Batches;
use crate::operation::{Verb, awaitable, invalid};
use crate::predicate::{Expression, Predicate};
use crate::table::Table;
use crate::transaction::Draft;

mod clauses;
mod keys;
mod plan;
mod source;

/// How many bytes the rows and keys of a source may take, unless told otherwise.
const SOURCE_BYTES_MAX: u64 = 1 << 30;

/// Merges rows by key; await it. See [`Table::merge`].
#[must_use = "nothing happens until it is awaited"]
pub struct Merge {
    table: Table,
    batches: Option<Batches>,
    /// The rows, once they have been taken in: plans that lose a race use them again.
    source: Option<Source>,
    on: Vec<String>,
    written: Written,
    /// The clause that a condition is for: the last one.
    last: Option<Kind>,
    /// What is wrong with the call, told when it is awaited.
    mistake: Option<&'static str>,
    source_bytes_max: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Matched,
    NotMatched,
    BySource,
}

impl Table {
    /// Merges rows by key: rows of the table that have the key of a row of the source are updated or deleted, rows of
    /// the source without a counterpart are inserted, all as one version.
    ///
    /// [`on`](Merge::on) names the columns of the key. Keys are equal as in Spark: NaN equals NaN, `-0.0` equals
    /// `0.0`, and a key with a null in it equals none. Clauses of a kind are tried in the order in which they were
    /// added, and the first whose condition is true is for the row. In conditions and values, the columns of the source
    /// are `source.x` and those of the table `target.x`.
    ///
    /// The source is held in memory, up to [`source_bytes_max`](Merge::source_bytes_max). Only files that can hold one
    /// of its keys are read.
    ///
    /// ```
    /// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use headwater::protocol::schema::{DataType, Field, Schema};
    /// # use headwater::arrow_array::{Int64Array, RecordBatch};
    /// # use std::sync::Arc;
    /// # let rows = |ids: Vec<i64>, counts: Vec<i64>| {
    /// #     let columns = [("id", ids), ("count", counts)];
    /// #     let columns = columns.map(|(name, values)| (name, Arc::new(Int64Array::from(values)) as _));
    /// #     RecordBatch::try_from_iter(columns).unwrap()
    /// # };
    /// # let schema = Schema::new([Field::new("id", DataType::LONG, false), Field::new("count", DataType::LONG, true)])?;
    /// # let table = headwater::Table::create("memory:///merge-example", schema).await?;
    /// use headwater::predicate::col;
    /// table.append(rows(vec![1, 2], vec![10, 20])).await?;
    /// let commit = table
    ///     .merge(rows(vec![2, 3], vec![21, 30]))
    ///     .on(["id"])
    ///     .when_matched_update([("count", col("source.count"))])
    ///     .only_if(col("source.count").gt(col("target.count")))
    ///     .when_not_matched_insert_all()
    ///     .await?;
    /// assert_eq!((commit.rows_updated, commit.rows_inserted), (1, 1));
    /// assert_eq!(table.snapshot().sums().await?.rows, Some(3));
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    ///
    /// When awaited: as [`Table::update`]; [`Invalid`](crate::ErrorKind::Invalid) if two rows of the source have the
    /// same key, and, with the code [`LimitExceeded`](crate::Code::LimitExceeded), if the source is too large.
    pub fn merge(&self, source: impl Into<Batches>) -> Merge {
        Merge {
            table: self.clone(),
            batches: Some(source.into()),
            source: None,
            on: Vec::new(),
            written: Written::default(),
            last: None,
            mistake: None,
            source_bytes_max: SOURCE_BYTES_MAX,
        }
    }
}

/// Column and value pairs, as calls write them.
fn sets<C, V>(sets: impl IntoIterator<Item = (C, V)>) -> Vec<Set>
where
    C: Into<String>,
    V: Into<Expression>,
{
    let sets = sets.into_iter();
    sets.map(|(column, value)| (column.into(), value.into()))
        .collect()
}

impl Merge {
    /// The columns of the key: the source and the table have them under the same names.
    pub fn on<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.on = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Where keys meet: sets columns to values over `source.x` and `target.x`.
    pub fn when_matched_update<C, V>(self, values: impl IntoIterator<Item = (C, V)>) -> Self
    where
        C: Into<String>,
        V: Into<Expression>,
    {
        let values = Action::Values(sets(values));
        self.clause(Kind::Matched, values)
    }

    /// Where keys meet: sets all columns that the source has. Columns that only the table has keep their values.
    pub fn when_matched_update_all(self) -> Self {
        self.clause(Kind::Matched, Action::All)
    }

    /// Where keys meet: deletes the row.
    pub fn when_matched_delete(self) -> Self {
        self.clause(Kind::Matched, Action::Delete)
    }

    /// Where a row of the source meets none: inserts a row of values over `source.x`. Columns without a value get
    /// their default, or null.
    pub fn when_not_matched_insert<C, V>(self, values: impl IntoIterator<Item = (C, V)>) -> Self
    where
        C: Into<String>,
        V: Into<Expression>,
    {
        let values = Action::Values(sets(values));
        self.clause(Kind::NotMatched, values)
    }

    /// Where a row of the source meets none: inserts it, without columns that the table does not have.
    pub fn when_not_matched_insert_all(self) -> Self {
        self.clause(Kind::NotMatched, Action::All)
    }

    /// Where a row of the table meets none of the source: deletes it. Reads the keys of the whole table.
    pub fn when_not_matched_by_source_delete(self) -> Self {
        self.clause(Kind::BySource, Action::Delete)
    }

    /// Where a row of the table meets none of the source: sets columns to values over `target.x`. Reads the keys of
    /// the whole table.
    pub fn when_not_matched_by_source_update<C, V>(
        self,
        values: impl IntoIterator<Item = (C, V)>,
    ) -> Self
    where
        C: Into<String>,
        V: Into<Expression>,
    {
        let values = Action::Values(sets(values));
        self.clause(Kind::BySource, values)
    }

    /// A condition for the clause that was added last. A second call narrows further.
    pub fn only_if(mut self, condition: impl Into<Predicate>) -> Self {
        let condition = condition.into();
        match self.last.and_then(|kind| self.of_kind(kind).last_mut()) {
            Some(clause) => {
                clause.condition = Some(match clause.condition.take() {
                    Some(first) => first.and(condition),
                    None => condition,
                });
            }
            None => self.mistake = Some("a condition of a merge stands after the clause it is for"),
        }
        self
    }

    /// How many bytes the rows and keys of the source may take in memory; 1 GiB unless set.
    pub fn source_bytes_max(mut self, bytes: u64) -> Self {
        self.source_bytes_max = bytes;
        self
    }

    fn clause(mut self, kind: Kind, action: Action) -> Self {
        self.last = Some(kind);
        let condition = None;
        self.of_kind(kind).push(Clause { condition, action });
        self
    }

    fn of_kind(&mut self, kind: Kind) -> &mut Vec<Clause> {
        match kind {
            Kind::Matched => &mut self.written.matched,
            Kind::NotMatched => &mut self.written.not_matched,
            Kind::BySource => &mut self.written.by_source,
        }
    }

    async fn stage_rows(&mut self, draft: &mut Draft) -> Result<()> {
        if let Some(mistake) = self.mistake {
            return Err(invalid(mistake));
        }
        if self.on.is_empty() {
            return Err(invalid("a merge without a key; name its columns with `on`"));
        }
        if self.written.is_empty() {
            return Err(invalid("a merge without a clause changes nothing; add one"));
        }
        let limit = self.source_bytes_max;
        let source = match (&self.source, self.batches.take()) {
            (None, Some(batches)) => {
                let schema = draft.state().schema();
                let source = Source::collect(batches, schema, limit).await?;
                self.source.insert(source)
            }
            (Some(source), _) => source,
            (None, None) => return Err(invalid("the source of the merge was used up")),
        };
        plan::stage(draft, source, &self.on, (&self.written, limit)).await
    }
}

impl fmt::Debug for Merge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Merge")
            .field("table", &self.table)
            .field("on", &self.on)
            .finish_non_exhaustive()
    }
}

impl Verb for Merge {
    fn table(&self) -> &Table {
        &self.table
    }

    fn name(&self) -> &'static str {
        "MERGE"
    }

    fn stage<'a>(&'a mut self, draft: &'a mut Draft) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.stage_rows(draft))
    }
}

awaitable!(Merge);
