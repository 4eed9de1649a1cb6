//! From version to version: what is in force, and which rows come and go.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::SchemaRef;
use futures::StreamExt;
use futures::stream::BoxStream;

use crate::data::layout::nullable_schema;
use crate::data::ordered::in_order;
use crate::data::reader::{FindFields, ReadPlan, Reader};
use crate::error::{Code, Error, ErrorKind, Result};
use crate::log::commit::Commit;
use crate::protocol::Version;
use crate::protocol::feature::check_readable;
use crate::protocol::property::TableProperties;
use crate::protocol::schema::{DataType, Field, Schema};
use crate::scan::changes::evolution::{self, Columns};
use crate::scan::changes::files::{Kind, Step, changes_rows, steps};
use crate::scan::changes::{CHANGE_TYPE, Changes, expired, output};
use crate::snapshot::{At, Snapshot};

/// Goes through the commits of a range in their order.
pub(super) struct Walk {
    end: Snapshot,
    /// The first version of the range.
    first: Version,
    schema: SchemaRef,
    /// File times of versions.
    times: Vec<(Version, i64)>,
    /// Whether the feed is enabled at the version that was reached.
    recorded: bool,
    unrecorded: bool,
    /// Readers of change files and of data files.
    recorded_files: Reader,
    data_files: Reader,
}

impl Walk {
    pub(super) fn new(
        changes: &Changes,
        start: &Snapshot,
        end: Snapshot,
        times: Vec<(Version, i64)>,
    ) -> Result<Self> {
        let properties = start.properties();
        evolution::check(&columns_of(start), &columns_of(&end), start.version())?;
        let reader = |change_type: bool| {
            let mut table = end.schema().fields().to_vec();
            if change_type {
                table.push(Field::new(CHANGE_TYPE, DataType::STRING, true));
            }
            let table = Schema::new(table)?;
            let plan = ReadPlan {
                schema: Arc::new(nullable_schema(&table)),
                table_schema: Arc::new(table),
                partition_columns: end.partition_columns().to_vec(),
                find: FindFields::by(end.properties().column_mapping_mode),
                predicate: None,
                prune: false,
                batch_rows: changes.batch_rows,
                row_positions: false,
            };
            Reader::new(end.storage(), plan)
        };
        Ok(Self {
            schema: output(end.schema())?.to_arrow()?,
            recorded_files: reader(true)?,
            data_files: reader(false)?,
            recorded: properties.enable_change_data_feed,
            unrecorded: changes.unrecorded,
            first: start.version(),
            end,
            times,
        })
    }

    /// The changes of the next commit.
    pub(super) async fn step(
        &mut self,
        commit: &Commit,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let version = commit.version;
        self.follow(commit)
            .map_err(|error| match error.context_value("version") {
                Some(_) => error,
                None => error.with("version", version),
            })?;
        if !self.recorded && !self.unrecorded && changes_rows(commit) {
            let message = "the change data feed was not enabled at this version, so its changes were not recorded";
            return Err(Error::invalid(Code::InvalidArgument, message).with("version", version));
        }
        if version == self.first {
            self.check_before(commit).await?;
        }
        let steps = steps(commit, &self.end)
            .await
            .map_err(|error| gone(error, version, true))?;
        if steps.is_empty() {
            return Ok(futures::stream::empty().boxed());
        }
        let millis = self.time(commit)?;
        let rows: Vec<_> = steps
            .into_iter()
            .map(|step| self.rows(step, version, millis))
            .collect();
        Ok(futures::stream::iter(rows).flatten().boxed())
    }

    /// What the commit puts in force.
    fn follow(&mut self, commit: &Commit) -> Result<()> {
        if let Some(protocol) = &commit.protocol {
            check_readable(protocol)?;
        }
        if let Some(metadata) = &commit.metadata {
            let schema = Schema::from_json(&metadata.schema_string)?;
            let properties = TableProperties::parse_leniently(&metadata.configuration)?;
            let columns = Columns {
                schema: &schema,
                partition_columns: &metadata.partition_columns,
                mapping: properties.column_mapping_mode,
            };
            evolution::check(&columns, &columns_of(&self.end), commit.version)?;
            self.recorded = properties.enable_change_data_feed;
        }
        Ok(())
    }

    /// Rows that the first commit of the range takes away were written in the columns of the version before it, which no
    /// commit of the range tells of.
    async fn check_before(&self, commit: &Commit) -> Result<()> {
        let takes = |row: usize| commit.removes.data_change(row);
        let takes = !commit.cdcs.is_empty() || (0..commit.removes.len()).any(takes);
        let (Some(_), true, Some(before)) =
            (&commit.metadata, takes, commit.version.checked_sub(1))
        else {
            return Ok(());
        };
        let (storage, environment) = (self.end.storage(), self.end.environment());
        let before = Snapshot::load_at(storage, environment, At::Version(before)).await;
        let before = before.map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                expired(commit.version, commit.version.saturating_add(1)).because(error)
            }
            _ => error,
        })?;
        evolution::check(&columns_of(&before), &columns_of(&self.end), commit.version)
    }

    /// When the version was committed, in milliseconds since the epoch.
    fn time(&self, commit: &Commit) -> Result<i64> {
        if self.end.has_in_commit_timestamp(commit.version) {
            return commit.in_commit_timestamp();
        }
        let found = self
            .times
            .binary_search_by_key(&commit.version, |(version, _)| *version);
        let time = found.ok().and_then(|index| self.times.get(index));
        let said = commit.info.as_ref().and_then(|info| info.timestamp);
        time.map(|(_, millis)| *millis).or(said).ok_or_else(|| {
            let message = "a commit does not say when it was made";
            Error::corrupt(Code::CorruptCommit, message).with("version", commit.version)
        })
    }

    fn rows(
        &self,
        step: Step,
        version: Version,
        millis: i64,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let schema = Arc::clone(&self.schema);
        let reader = match step.kind {
            Kind::Recorded => &self.recorded_files,
            Kind::Delete | Kind::Insert => &self.data_files,
        };
        let kind = step.kind;
        let rows = in_order(reader.clone(), step.files, self.end.clone());
        let rows = rows.map(move |rows| {
            let rows = rows.map_err(|error| gone(error, version, kind != Kind::Insert))?;
            complete(&rows.rows.batch, &schema, kind, (version, millis))
        });
        rows.boxed()
    }
}

fn columns_of(snapshot: &Snapshot) -> Columns<'_> {
    Columns {
        schema: snapshot.schema(),
        partition_columns: snapshot.partition_columns(),
        mapping: snapshot.properties().column_mapping_mode,
    }
}

/// A file that is missing although no live version needs it was vacuumed: then the changes expired.
fn gone(error: Error, version: Version, may_be: bool) -> Error {
    let is_missing = std::error::Error::source(&error)
        .and_then(|cause| cause.downcast_ref::<Error>())
        .is_some_and(|cause| cause.kind() == ErrorKind::NotFound);
    let vacuumed = error.code() == Code::FilesExpired;
    if vacuumed || (may_be && is_missing && error.kind() == ErrorKind::Corrupt) {
        return expired(version, version.saturating_add(1)).because(error);
    }
    error
}

/// The rows with what happened to them, by whom and when.
fn complete(
    batch: &RecordBatch,
    schema: &SchemaRef,
    kind: Kind,
    (version, millis): (Version, i64),
) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let mut columns = batch.columns().to_vec();
    let all = |what: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
            what, rows,
        )))
    };
    match kind {
        Kind::Recorded => {}
        Kind::Delete => columns.push(all("delete")),
        Kind::Insert => columns.push(all("insert")),
    }
    let out_of_range = || {
        let message = "the time or number of a commit is out of range";
        Error::corrupt(Code::CorruptCommit, message).with("version", version)
    };
    let number = i64::try_from(version).map_err(|_| out_of_range())?;
    let micros = millis.checked_mul(1000).ok_or_else(out_of_range)?;
    columns.push(Arc::new(Int64Array::from_value(number, rows)));
    columns.push(Arc::new(
        TimestampMicrosecondArray::from_value(micros, rows).with_timezone("UTC"),
    ));
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(|cause| {
        let message = "a change file does not say what happened to its rows";
        Error::corrupt(Code::DataCorrupt, message)
            .with("version", version)
            .because(cause)
    })
}
