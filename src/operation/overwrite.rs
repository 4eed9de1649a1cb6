//! Overwrite: new rows in place of all rows, of those of a condition, or of those of the same partitions.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use futures::future::BoxFuture;

use crate::data::ColumnNames;
use crate::error::{Code, Error, Result};
use crate::log::checkpoint::FileColumns;
use crate::operation::change::timed;
use crate::operation::delete::Delete;
use crate::operation::rows::{Batches, NewRows};
use crate::operation::{Verb, awaitable, invalid};
use crate::predicate::{Expression, Predicate};
use crate::protocol::action::Add;
use crate::protocol::value::Scalar;
use crate::snapshot::Snapshot;
use crate::table::Table;
use crate::transaction::{Draft, ReadRows};

/// Replaces rows; await it. See [`Table::overwrite`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct Overwrite {
    table: Table,
    rows: NewRows,
    replaced: Replaced,
    txn: Option<(String, i64)>,
}

/// Which rows go.
#[derive(Debug)]
enum Replaced {
    All,
    Matching(Predicate),
    PartitionsOfRows,
}

impl Table {
    /// Replaces all rows by these, as one version; earlier versions stay readable.
    ///
    /// ```
    /// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use headwater::protocol::schema::{DataType, Field, Schema};
    /// # use headwater::arrow_array::{Int64Array, RecordBatch};
    /// # use std::sync::Arc;
    /// # let ids = |ids: Vec<i64>| {
    /// #     let column = Arc::new(Int64Array::from(ids)) as _;
    /// #     RecordBatch::try_from_iter([("id", column)]).unwrap()
    /// # };
    /// # let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
    /// # let table = headwater::Table::create("memory:///overwrite-example", schema).await?;
    /// table.append(ids(vec![1, 2, 3])).await?;
    /// let commit = table.overwrite(ids(vec![7])).await?;
    /// assert_eq!((commit.rows_inserted, commit.files_removed), (1, 1));
    /// assert_eq!(table.snapshot().sums().await?.rows, Some(1));
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    ///
    /// When awaited: as [`Table::append`], and [`Invalid`](crate::ErrorKind::Invalid) if the table is append-only.
    pub fn overwrite(&self, batches: impl Into<Batches>) -> Overwrite {
        Overwrite {
            table: self.clone(),
            rows: NewRows::new(batches.into()),
            replaced: Replaced::All,
            txn: None,
        }
    }
}

impl Overwrite {
    /// Replaces only the rows for which this is true; the new rows must meet it, too. What is left of a file of which
    /// some rows go is copied, or they are marked as deleted: see [`Table::delete`].
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
    /// # let table = headwater::Table::create("memory:///replace-example", schema).await?;
    /// table.append(ids(vec![1, 2, 10])).await?;
    /// let commit = table.overwrite(ids(vec![3])).matching(col("id").lt(10)).await?;
    /// assert_eq!((commit.rows_deleted, commit.rows_inserted), (2, 1));
    /// assert_eq!(table.snapshot().sums().await?.rows, Some(2));
    /// # Ok(()) }) }
    /// ```
    pub fn matching(mut self, condition: impl Into<Predicate>) -> Self {
        self.replaced = Replaced::Matching(condition.into());
        self
    }

    /// Replaces only the rows of the partitions that the new rows are of; needs a table with partition columns.
    pub fn partitions_of_rows(mut self) -> Self {
        self.replaced = Replaced::PartitionsOfRows;
        self
    }

    /// Gives the table the schema of the rows, if that is another one. With column mapping, columns of the same name and
    /// plain type stay the same columns; others are new ones.
    pub fn replace_schema(mut self) -> Self {
        self.rows.replaces_schema = true;
        self
    }

    /// Adds columns that the first batch has and the table does not, as nullable.
    pub fn add_columns(mut self) -> Self {
        self.rows.adds_columns = true;
        self
    }

    /// Makes the overwrite the transaction `number` of the application `app_id`: see [`Append::exactly_once`].
    ///
    /// [`Append::exactly_once`]: crate::Append::exactly_once
    pub fn exactly_once(mut self, app_id: impl Into<String>, number: i64) -> Self {
        self.txn = Some((app_id.into(), number));
        self
    }

    /// About how large a data file becomes, in bytes. Unset: the property `delta.targetFileSize`, else 128 MiB.
    pub fn target_file_bytes(mut self, bytes: u64) -> Self {
        self.rows.target_file_bytes = Some(bytes);
        self
    }

    /// The rows that go and those that come are held against the same condition: at one time, however often the
    /// overwrite is planned.
    fn set_time(&mut self, state: &Snapshot) {
        if let Replaced::Matching(condition) = &mut self.replaced {
            let now = state.environment().now_millis().saturating_mul(1_000);
            *condition = timed(condition, now);
            self.rows.must = Some(condition.clone());
        }
    }

    async fn stage_rows(&mut self, draft: &mut Draft) -> Result<()> {
        let state = draft.state().clone();
        refuse_append_only(&state)?;
        if self.rows.replaces_schema && !matches!(self.replaced, Replaced::All) {
            return Err(invalid(
                "only an overwrite of the whole table can replace its schema",
            ));
        }
        draft.parameter("mode", "Overwrite".to_owned());
        self.set_time(&state);
        match &self.replaced {
            Replaced::All => {
                self.rows.stage(draft).await?;
                draft.reads(ReadRows::All);
                remove_files(draft, &state, |_| true).await
            }
            Replaced::Matching(condition) => {
                let mut delete = Delete::of(&self.table, condition.clone());
                delete.stage(draft).await?;
                self.rows.stage(draft).await
            }
            Replaced::PartitionsOfRows => {
                if state.partition_columns().is_empty() {
                    return Err(invalid(
                        "the table has no partitions to replace; overwrite it as a whole",
                    ));
                }
                self.rows.stage(draft).await?;
                let partitions = Partitions::of(&state, self.rows.files())?;
                draft.parameter("isDynamicPartitionOverwrite", "true".to_owned());
                draft.reads(ReadRows::Matching(partitions.predicate(&state)));
                remove_files(draft, &state, |add| partitions.contains(&state, add)).await
            }
        }
    }
}

impl Verb for Overwrite {
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
        Box::pin(self.stage_rows(draft))
    }
}

awaitable!(Overwrite);

/// Refuses to remove rows where the table keeps all.
///
/// Spec: [Append-only Tables](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#append-only-tables).
pub(super) fn refuse_append_only(state: &Snapshot) -> Result<()> {
    if !state.properties().append_only {
        return Ok(());
    }
    let message =
        "the table is append-only (`delta.appendOnly`): its rows are never changed or removed";
    Err(Error::invalid(Code::RowsRejected, message))
}

/// Removes the live files of `state` for which `is_out` holds, as wholes.
async fn remove_files(
    draft: &mut Draft,
    state: &Snapshot,
    is_out: impl Fn(&Add) -> bool,
) -> Result<()> {
    let mut state = state.clone();
    let files = loop {
        match files_of(&state, &is_out).await {
            Err(error) if error.code() == Code::CorruptCheckpoint => {
                state = state.without_checkpoint(error).await?;
            }
            files => break files?,
        }
    };
    draft.metric("numRemovedFiles", files.len() as u64);
    for file in files {
        draft.remove(file);
    }
    Ok(())
}

/// The live files for which `is_out` holds.
async fn files_of(state: &Snapshot, is_out: impl Fn(&Add) -> bool) -> Result<Vec<Add>> {
    let mut files = Vec::new();
    let mut batches = state.files(FileColumns::all()).await?;
    while let Some(batch) = batches.try_next().await? {
        files.extend(batch.adds().filter(&is_out));
    }
    Ok(files)
}

/// Partitions by their typed values: two spellings of one value are one partition.
struct Partitions {
    values: BTreeMap<Key, Vec<Scalar>>,
}

/// What the values of two files have in common if they are one partition.
type Key = Vec<String>;

impl Partitions {
    fn of(state: &Snapshot, files: &[Add]) -> Result<Self> {
        let mut values = BTreeMap::new();
        for file in files {
            let partition = partition_of(state, file).ok_or_else(|| {
                invalid("a new file has a partition value that is not of its column's type")
            })?;
            values.insert(key(&partition), partition);
        }
        Ok(Self { values })
    }

    /// A file whose partition cannot be told is no file of these.
    fn contains(&self, state: &Snapshot, file: &Add) -> bool {
        let partition = partition_of(state, file);
        partition.is_some_and(|partition| self.values.contains_key(&key(&partition)))
    }

    fn predicate(&self, state: &Snapshot) -> Predicate {
        let columns = state.partition_columns();
        let one = |values: &Vec<Scalar>| {
            let equal = columns.iter().zip(values).map(|(column, value)| {
                let column = Expression::Column(vec![column.clone()]);
                column.null_safe_eq(Expression::Literal(value.clone()))
            });
            equal.reduce(Predicate::and)
        };
        let any = self.values.values().filter_map(one).reduce(Predicate::or);
        any.unwrap_or_else(|| Predicate::from(Expression::Or(Vec::new())))
    }
}

/// The values of a column have one type: then they are equal where they look the same, both zeros and all NaN taken
/// for one.
fn key(values: &[Scalar]) -> Key {
    let one = |value: &Scalar| match *value {
        Scalar::Float(value) => format!("{:?}", Scalar::Float(value + 0.0)),
        Scalar::Double(value) => format!("{:?}", Scalar::Double(value + 0.0)),
        ref value => format!("{value:?}"),
    };
    values.iter().map(one).collect()
}

fn partition_of(state: &Snapshot, file: &Add) -> Option<Vec<Scalar>> {
    let names = ColumnNames::by(state.properties().column_mapping_mode);
    let columns = state.partition_columns().iter();
    let value = |column: &String| {
        let field = state.schema().field(column)?;
        let text = file
            .partition_values
            .get(&names.of(field))
            .and_then(Option::as_deref);
        Scalar::from_partition_value(text, field.data_type.as_primitive()?).ok()
    };
    columns.map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_the_same_by_value() {
        let of = |value: Scalar| key(&[Scalar::Integer(1), value]);
        for (left, right) in [
            (Scalar::Double(0.0), Scalar::Double(-0.0)),
            (Scalar::Float(0.0), Scalar::Float(-0.0)),
            (Scalar::Double(f64::NAN), Scalar::Double(-f64::NAN)),
            (Scalar::Null, Scalar::Null),
        ] {
            assert_eq!(of(left), of(right));
        }
        for (left, right) in [
            (Scalar::Null, Scalar::from("Null")),
            (Scalar::Null, Scalar::from("")),
            (Scalar::Double(0.1), Scalar::Double(f64::from(0.1_f32))),
            (Scalar::from("a"), Scalar::from("A")),
        ] {
            assert_ne!(of(left), of(right));
        }
    }
}
