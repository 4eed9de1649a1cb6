//! What happened to the rows of a table between two versions.
//!
//! A version says it itself where its writer recorded change files. Where not, the rows of added files came and those
//! of removed files went; where a file changed its deletion vector, the difference of the two vectors did.
//!
//! Spec: [Add CDC File](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#add-cdc-file),
//! [Change Data Files](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#change-data-files).

use std::fmt;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};

use crate::data::layout::nullable_schema;
use crate::error::{Code, Error, Result};
use crate::log::commit::{self, Commit};
use crate::protocol::Version;
use crate::protocol::schema::{DataType, Field, Schema};
use crate::scan::changes::walk::Walk;
use crate::snapshot::{AfterLast, At, Snapshot};
use crate::table::Table;

mod evolution;
mod files;
mod walk;

/// The column that says what happened to a row.
pub const CHANGE_TYPE: &str = "_change_type";
/// The column with the version that made the change.
pub const COMMIT_VERSION: &str = "_commit_version";
/// The column with the time of that version.
pub const COMMIT_TIMESTAMP: &str = "_commit_timestamp";

/// How many commit files are fetched ahead.
const COMMITS_AHEAD: usize = 8;
const BATCH_ROWS: usize = 8_192;

/// The changes of a range of versions; made by [`Table::changes`].
///
/// Rows come in the order of versions, with three columns more: [`CHANGE_TYPE`] (`insert`, `delete`,
/// `update_preimage`, `update_postimage`), [`COMMIT_VERSION`] and [`COMMIT_TIMESTAMP`]. They have the columns of the
/// last version of the range; a schema that changed inside of it in a way that has no one answer (a column was
/// dropped, a type does not widen, the partition columns are others) is an error that names the version.
#[derive(Debug, Clone)]
#[must_use]
pub struct Changes {
    table: Table,
    from: At,
    to: At,
    unrecorded: bool,
    batch_rows: usize,
}

impl Table {
    /// What happened to the rows from a version on, that version included, or from a moment on.
    ///
    /// ```
    /// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use headwater::protocol::schema::{DataType, Field, Schema};
    /// # use headwater::arrow_array::{Int64Array, RecordBatch};
    /// # use std::sync::Arc;
    /// # let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
    /// let table = headwater::Table::create("memory:///changes-example", schema)
    ///     .property("delta.enableChangeDataFeed", "true")
    ///     .await?;
    /// # let ids = Int64Array::from(vec![1, 2, 3]);
    /// # let batch = RecordBatch::try_from_iter([("id", Arc::new(ids) as _)]).unwrap();
    /// table.append(batch).await?;
    /// let changes = table.changes(1).collect().await?;
    /// assert_eq!(changes.iter().map(|batch| batch.num_rows()).sum::<usize>(), 3);
    /// assert!(changes[0].column_by_name("_change_type").is_some());
    /// # Ok(()) }) }
    /// ```
    pub fn changes(&self, from: impl Into<At>) -> Changes {
        Changes {
            table: self.clone(),
            from: from.into(),
            to: At::Latest,
            unrecorded: false,
            batch_rows: BATCH_ROWS,
        }
    }
}

impl Changes {
    /// Ends with this version, or with the last one up to a moment. Unset: the newest version.
    pub fn to(mut self, to: impl Into<At>) -> Self {
        self.to = to.into();
        self
    }

    /// Takes versions into account in which the change data feed was not enabled. Rows that were copied from file to
    /// file then come as a deletion and an insertion; what is left when those cancel out is exact.
    pub fn unrecorded(mut self) -> Self {
        self.unrecorded = true;
        self
    }

    /// Rows per batch at most; 8,192 unless set.
    pub fn batch_rows(mut self, rows: usize) -> Self {
        self.batch_rows = rows.clamp(1, 1 << 20);
        self
    }

    /// All changes, in memory.
    ///
    /// # Errors
    ///
    /// As [`Changes::stream`] and what comes out of it.
    pub async fn collect(&self) -> Result<Vec<RecordBatch>> {
        self.stream().await?.try_collect().await
    }

    /// Reads the changes, version by version. Memory: a few row groups and commits, whatever the range.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) with the code [`ChangesExpired`](Code::ChangesExpired) and
    /// `first_available` if the range begins before what the log still has, with
    /// [`VersionNotFound`](Code::VersionNotFound) if it ends after the newest version;
    /// [`Invalid`](crate::ErrorKind::Invalid) if it ends before it begins. The stream ends with
    /// [`Invalid`](crate::ErrorKind::Invalid) where the feed was not enabled, with
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where the schema changes beyond one answer, and with
    /// [`ChangesExpired`](Code::ChangesExpired) where files were vacuumed.
    pub async fn stream(&self) -> Result<ChangeStream> {
        let newest = self.table.refresh().await?;
        let times = newest.file_times().await?;
        let first = times
            .first()
            .map_or(newest.version(), |(version, _)| *version);
        let from = first_version(&newest, self.from, first).await?;
        let to = last_version(&newest, self.to).await?;
        if to < from {
            let message = "the range of changes ends before it begins";
            let error = Error::invalid(Code::InvalidArgument, message);
            return Err(error.with("from", from).with("to", to));
        }
        if from < first || times.is_empty() {
            return Err(expired(from, first));
        }
        let (storage, environment) = (newest.storage().clone(), newest.environment().clone());
        let start = Snapshot::load_at(&storage, &environment, At::Version(from)).await?;
        let end = match to == newest.version() {
            true => newest.clone(),
            false => Snapshot::load_at(&storage, &environment, At::Version(to)).await?,
        };
        let schema = output(end.schema())?.to_arrow()?;
        let walk = Walk::new(self, &start, end, times)?;
        let commits = futures::stream::iter(from..=to)
            .map(move |version| read(storage.clone(), version))
            .buffered(COMMITS_AHEAD);
        let state = (commits.boxed(), walk);
        let versions = futures::stream::try_unfold(state, |(mut commits, mut walk)| async move {
            match commits.try_next().await? {
                None => Ok(None),
                Some(commit) => {
                    let rows = walk.step(&commit).await?;
                    Ok(Some((rows, (commits, walk))))
                }
            }
        });
        Ok(ChangeStream {
            schema,
            versions: from..=to,
            batches: versions.try_flatten().boxed(),
        })
    }
}

async fn read(storage: crate::storage::Storage, version: Version) -> Result<Commit> {
    let found = commit::read(&storage, version).await?;
    found.ok_or_else(|| expired(version, version.saturating_add(1)))
}

fn expired(version: Version, first: Version) -> Error {
    let message = "the changes of a version that far back are gone";
    let error = Error::not_found(Code::ChangesExpired, message);
    error
        .with("version", version)
        .with("first_available", first)
}

/// The first version of a range that begins at `at`: of a moment, the first that is not earlier.
async fn first_version(newest: &Snapshot, at: At, first: Version) -> Result<Version> {
    match at {
        At::Latest => Ok(newest.version()),
        At::Version(version) if newest.version() < version => {
            let message = "the range of changes begins after the newest version";
            let error = Error::not_found(Code::VersionNotFound, message);
            Err(error
                .with("asked", version)
                .with("latest", newest.version()))
        }
        At::Version(version) => Ok(version),
        At::Timestamp(millis, _) => {
            let before = newest
                .version_at(millis.saturating_sub(1), AfterLast::Newest)
                .await;
            match before {
                Ok(version) if version < newest.version() => Ok(version.saturating_add(1)),
                Ok(_) => {
                    let message = "the range of changes begins after the newest version";
                    let error = Error::not_found(Code::VersionNotFound, message);
                    Err(error
                        .with("asked_millis", millis)
                        .with("latest", newest.version()))
                }
                Err(error) if error.code() == Code::VersionNotFound => Ok(first),
                Err(error) => Err(error),
            }
        }
    }
}

async fn last_version(newest: &Snapshot, at: At) -> Result<Version> {
    match at {
        At::Latest => Ok(newest.version()),
        At::Version(version) if newest.version() < version => {
            let message = "the range of changes ends after the newest version";
            let error = Error::not_found(Code::VersionNotFound, message);
            Err(error
                .with("asked", version)
                .with("latest", newest.version()))
        }
        At::Version(version) => Ok(version),
        At::Timestamp(millis, _) => newest.version_at(millis, AfterLast::Newest).await,
    }
}

/// The columns of the changes of a table with this schema. Everything may be null: a row that is gone may be from
/// before a column was.
fn output(schema: &Schema) -> Result<Schema> {
    let mut fields = nullable_schema(schema).fields().to_vec();
    for name in [CHANGE_TYPE, COMMIT_VERSION, COMMIT_TIMESTAMP] {
        if schema.field(name).is_some() {
            let message = "the changes need this name for a column of their own";
            return Err(Error::invalid(Code::InvalidSchema, message).with("column", name));
        }
    }
    fields.push(Field::new(CHANGE_TYPE, DataType::STRING, false));
    fields.push(Field::new(COMMIT_VERSION, DataType::LONG, false));
    fields.push(Field::new(COMMIT_TIMESTAMP, DataType::TIMESTAMP, false));
    Schema::new(fields)
}

/// Changes as record batches, version by version. Dropping it stops the work.
pub struct ChangeStream {
    schema: SchemaRef,
    versions: RangeInclusive<Version>,
    batches: BoxStream<'static, Result<RecordBatch>>,
}

impl ChangeStream {
    /// The schema of the batches.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The versions whose changes these are.
    pub fn versions(&self) -> RangeInclusive<Version> {
        self.versions.clone()
    }
}

impl Stream for ChangeStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.batches.poll_next_unpin(context);
        if matches!(next, Poll::Ready(Some(Err(_)))) {
            self.batches = futures::stream::empty().boxed();
        }
        next
    }
}

impl fmt::Debug for ChangeStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeStream")
            .field("versions", &self.versions)
            .finish_non_exhaustive()
    }
}
