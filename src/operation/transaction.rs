//! Several verbs as one version.

use std::fmt;

use futures::future::BoxFuture;

use crate::error::Result;
use crate::operation::{Verb, carry_out_all, invalid, land, staged};
use crate::predicate::Predicate;
use crate::snapshot::Snapshot;
use crate::table::Table;
use crate::transaction::{Commit, Draft, ReadRows};

/// A verb to be staged in a [`Transaction`]: made of any of them by `into()`.
pub struct Work(Box<dyn Verb>);

impl Work {
    pub(crate) fn new(verb: impl Verb + 'static) -> Self {
        Self(Box::new(verb))
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Work").field(&self.0.name()).finish()
    }
}

/// Several verbs that become one version, or none. See [`Table::transaction`].
#[derive(Debug)]
#[must_use = "nothing happens until it is committed"]
pub struct Transaction {
    table: Table,
    works: Vec<Work>,
    read: Vec<(Snapshot, ReadRows)>,
    txn: Option<(String, i64)>,
}

impl Table {
    /// Starts a transaction: any number of verbs, each of which sees what those before it did, committed as one
    /// version. Other writers see all of it or nothing.
    ///
    /// If a concurrent commit contradicts it, the whole transaction is planned again on the version that has it.
    ///
    /// ```
    /// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use headwater::protocol::schema::{DataType, Field, Schema};
    /// # use headwater::arrow_array::{Int64Array, RecordBatch};
    /// # use headwater::predicate::col;
    /// # use std::sync::Arc;
    /// # let ids = |ids: Vec<i64>| {
    /// #     let column = Arc::new(Int64Array::from(ids)) as _;
    /// #     RecordBatch::try_from_iter([("id", column)]).unwrap()
    /// # };
    /// # let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
    /// # let table = headwater::Table::create("memory:///transaction-example", schema).await?;
    /// table.append(ids(vec![1, 2, 3])).await?;
    /// let commit = table
    ///     .transaction()
    ///     .then(table.overwrite(ids(vec![7])))
    ///     .then(table.append(ids(vec![8])))
    ///     .commit()
    ///     .await?;
    /// assert_eq!((commit.version, commit.rows_inserted), (2, 2));
    /// # Ok(()) }) }
    /// ```
    pub fn transaction(&self) -> Transaction {
        Transaction {
            table: self.clone(),
            works: Vec::new(),
            read: Vec::new(),
            txn: None,
        }
    }
}

impl Transaction {
    /// Adds a verb, to be done after those before it.
    pub fn then(mut self, verb: impl Into<Work>) -> Self {
        self.works.push(verb.into());
        self
    }

    /// Makes the whole the transaction `number` of the application `app_id`: a repeat, or a lower number, commits
    /// nothing and ends as [`CommitStatus::AlreadyApplied`](crate::CommitStatus::AlreadyApplied). It makes a version
    /// even where the verbs find nothing to do, so that a repeat is known as one.
    ///
    /// Verbs may be transactions of other applications besides. All of them land with the whole: the whole is a repeat
    /// if every one of them has landed before. If some have and others have not, nothing is committed, and the error
    /// says which: what is missing can only be told, and committed by itself, by who knows what belongs to it.
    ///
    /// Spec: [Transaction Identifiers](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#transaction-identifiers).
    pub fn exactly_once(mut self, app_id: impl Into<String>, number: i64) -> Self {
        self.txn = Some((app_id.into(), number));
        self
    }

    /// Says that what is written rests on rows that were read from `snapshot`: those for which the condition is true,
    /// or all. The verbs are planned on that version; a later commit that adds or removes such rows is then a
    /// [`Conflict`](crate::ErrorKind::Conflict), which only the caller can resolve, by reading again.
    ///
    /// ```
    /// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use headwater::protocol::schema::{DataType, Field, Schema};
    /// # use headwater::arrow_array::{Int64Array, RecordBatch};
    /// # use headwater::predicate::col;
    /// # use std::sync::Arc;
    /// # let ids = |ids: Vec<i64>| {
    /// #     let column = Arc::new(Int64Array::from(ids)) as _;
    /// #     RecordBatch::try_from_iter([("id", column)]).unwrap()
    /// # };
    /// # let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
    /// # let table = headwater::Table::create("memory:///reading-example", schema).await?;
    /// let snapshot = table.refresh().await?;
    /// let small = col("id").lt(10);
    /// let count = snapshot.scan().filter(small.clone()).collect().await?.len();
    /// table.append(ids(vec![1])).await?;
    ///
    /// let rows = ids(vec![100 + count as i64]);
    /// let transaction = table.transaction().reading(&snapshot, small).then(table.append(rows));
    /// let conflict = transaction.commit().await.unwrap_err();
    /// assert_eq!(conflict.kind(), headwater::ErrorKind::Conflict);
    /// # Ok(()) }) }
    /// ```
    pub fn reading(mut self, snapshot: &Snapshot, rows: impl Into<Option<Predicate>>) -> Self {
        let rows = rows.into().map_or(ReadRows::All, ReadRows::Matching);
        self.read.push((snapshot.clone(), rows));
        self
    }

    /// Carries out all verbs as one version.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if a verb is of another table, if two verbs are transactions of one
    /// application, or if some applications' transactions have landed before and others have not; otherwise as the
    /// verbs themselves.
    /// Nothing has been committed then, unless the code is [`CommitUnknown`](crate::Code::CommitUnknown).
    pub async fn commit(mut self) -> Result<Commit> {
        let location = self.table.location();
        if self
            .works
            .iter()
            .any(|work| work.0.table().location() != location)
        {
            return Err(invalid("a verb of this transaction is of another table"));
        }
        let name = match self.works.as_slice() {
            [one] => one.0.name(),
            _ => "TRANSACTION",
        };
        let mut once = Once {
            table: self.table.clone(),
            txn: self.txn,
        };
        let mut verbs: Vec<&mut dyn Verb> = vec![&mut once];
        for work in &mut self.works {
            verbs.push(&mut *work.0);
        }
        let Some((base, _)) = self.read.first() else {
            return carry_out_all(&self.table, name, &mut verbs).await;
        };
        let same = |read: &Snapshot| {
            read.version() == base.version() && read.metadata().id == base.metadata().id
        };
        if !self.read.iter().all(|(read, _)| same(read)) {
            return Err(invalid(
                "a transaction can rest on rows of one version only",
            ));
        }
        if base.storage().location() != location {
            return Err(invalid("the version that was read is of another table"));
        }
        let mut draft = staged(base.clone(), name, &mut verbs).await?;
        for (_, rows) in self.read {
            draft.depends_on_base(rows);
        }
        land(&self.table, draft).await
    }
}

/// The application's transaction that the whole is, beside those of its verbs.
#[derive(Debug)]
struct Once {
    table: Table,
    txn: Option<(String, i64)>,
}

impl Verb for Once {
    fn table(&self) -> &Table {
        &self.table
    }

    fn name(&self) -> &'static str {
        "TRANSACTION"
    }

    fn txn(&self) -> Option<(&str, i64)> {
        self.txn
            .as_ref()
            .map(|(app_id, number)| (app_id.as_str(), *number))
    }

    fn stage<'a>(&'a mut self, _draft: &'a mut Draft) -> BoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
