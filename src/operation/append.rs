//! Blind append: rows in, one version out.

use futures::future::BoxFuture;

use crate::error::Result;
use crate::operation::rows::{Batches, NewRows};
use crate::operation::{Verb, awaitable};
use crate::table::Table;
use crate::transaction::Draft;

/// Appends rows; await it. See [`Table::append`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct Append {
    table: Table,
    rows: NewRows,
    txn: Option<(String, i64)>,
}

impl Table {
    /// Appends rows as one version. Any number of appenders, in any number of processes, all land.
    ///
    /// Columns are matched by name without regard to case; a nullable column that is not there is null. Costs one
    /// look for newer commits, one object per data file, and one object for the commit.
    ///
    /// ```
    /// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use headwater::protocol::schema::{DataType, Field, Schema};
    /// # use headwater::arrow_array::{Int64Array, RecordBatch};
    /// # use std::sync::Arc;
    /// # let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
    /// # let table = headwater::Table::create("memory:///append-example", schema).await?;
    /// let ids = Int64Array::from(vec![1, 2, 3]);
    /// let batch = RecordBatch::try_from_iter([("id", Arc::new(ids) as _)]).unwrap();
    /// let commit = table.append(batch).await?;
    /// assert_eq!((commit.version, commit.rows, commit.files), (1, 3, 1));
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    ///
    /// When awaited: [`Invalid`](crate::ErrorKind::Invalid) if the rows do not fit the schema,
    /// [`Unsupported`](crate::ErrorKind::Unsupported) if the table needs a writer feature that this build lacks,
    /// [`Conflict`](crate::ErrorKind::Conflict) if schema or protocol changed meanwhile, and
    /// [`Storage`](crate::ErrorKind::Storage); with the code [`CommitUnknown`](crate::Code::CommitUnknown) the rows may be
    /// in the table, see [`Table::resolve`].
    pub fn append(&self, batches: impl Into<Batches>) -> Append {
        Append {
            table: self.clone(),
            rows: NewRows::new(batches.into()),
            txn: None,
        }
    }
}

impl Append {
    /// Makes the append the transaction `number` of the application `app_id`: a repeat, or a lower number, commits
    /// nothing and ends as [`CommitStatus::AlreadyApplied`](crate::CommitStatus::AlreadyApplied).
    ///
    /// Spec: [Transaction Identifiers](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#transaction-identifiers).
    pub fn exactly_once(mut self, app_id: impl Into<String>, number: i64) -> Self {
        self.txn = Some((app_id.into(), number));
        self
    }

    /// Adds columns (and fields of struct columns) that the first batch has and the table does not, as nullable.
    pub fn add_columns(mut self) -> Self {
        self.rows.adds_columns = true;
        self
    }

    /// About how large a data file becomes, in bytes. Unset: the property `delta.targetFileSize`, else 128 MiB.
    pub fn target_file_bytes(mut self, bytes: u64) -> Self {
        self.rows.target_file_bytes = Some(bytes);
        self
    }
}

impl Verb for Append {
    fn table(&self) -> &Table {
        &self.table
    }

    fn name(&self) -> &'static str {
        "WRITE"
    }

    fn txn(&self) -> Option<(&str, i64)> {
        self.txn
            .as_ref()
            .map(|(app_id, number)| (app_id.as_str(), *number))
    }

    fn stage<'a>(&'a mut self, draft: &'a mut Draft) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            draft.parameter("mode", "Append".to_owned());
            self.rows.stage(draft).await
        })
    }
}

awaitable!(Append);
