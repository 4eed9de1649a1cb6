//! New rows, as verbs take them: written once, staged as often as it takes to land them.

use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};

use crate::data::ColumnNames;
use crate::data::reader::DataFile;
use crate::data::rewrite::follow::{Followed, follow};
use crate::data::rules::Rules;
use crate::data::writer::{DataWriter, WriterContext, WriterOptions, Written};
use crate::error::{Code, Error, ErrorKind, Result};
use crate::operation::{evolve, invalid};
use crate::predicate::{BoundPredicate, Predicate};
use crate::protocol::action::{Add, Metadata};
use crate::protocol::feature;
use crate::protocol::schema::Schema;
use crate::snapshot::Snapshot;
use crate::transaction::Draft;

/// Any error of the caller's own, while it makes batches.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// Rows to write: one batch, some, or a stream of them.
pub struct Batches(BoxStream<'static, Result<RecordBatch, SourceError>>);

impl Batches {
    /// Rows that are made while they are written; an error of the stream ends the write before its commit.
    pub fn stream<S, E>(batches: S) -> Self
    where
        S: Stream<Item = Result<RecordBatch, E>> + Send + 'static,
        E: Into<SourceError> + 'static,
    {
        Self(batches.map_err(Into::into).boxed())
    }
}

impl Batches {
    /// The batches themselves.
    pub(super) fn into_stream(self) -> BoxStream<'static, Result<RecordBatch, SourceError>> {
        self.0
    }
}

impl From<RecordBatch> for Batches {
    fn from(batch: RecordBatch) -> Self {
        Self::from(vec![batch])
    }
}

impl From<Vec<RecordBatch>> for Batches {
    fn from(batches: Vec<RecordBatch>) -> Self {
        Self(futures::stream::iter(batches.into_iter().map(Ok)).boxed())
    }
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Batches")
    }
}

/// Rows for the table, or the files they have become.
#[derive(Debug)]
pub(super) struct NewRows {
    batches: Option<Batches>,
    /// Whether columns that the first batch has and the table lacks are added to the table.
    pub(super) adds_columns: bool,
    pub(super) target_file_bytes: Option<u64>,
    /// Whether the table gets the schema of the rows in place of its own.
    pub(super) replaces_schema: bool,
    /// What must be true for every row.
    pub(super) must: Option<Predicate>,
    written: Option<Files>,
}

/// Rows in data files that no commit names yet, and what they were written for.
#[derive(Debug)]
struct Files {
    written: Written,
    /// The first batch without its rows.
    like: Option<RecordBatch>,
    /// Whether all batches had the columns of the first.
    is_uniform: bool,
    /// The table then.
    seen: Snapshot,
    /// What the rows made of its metadata.
    evolved: Option<Metadata>,
}

impl Files {
    /// The metadata that the files were written for.
    fn metadata(&self) -> &Metadata {
        self.evolved.as_ref().unwrap_or(self.seen.metadata())
    }

    /// The rows once more, held against the table as it is now. The files are all that is left of them.
    async fn again(
        &self,
        state: &Snapshot,
        context: WriterContext,
        must: Option<Must>,
    ) -> Result<Self> {
        let mut writer = DataWriter::new(context)?;
        let followed = self.written.adds.iter().map(|add| {
            let file = DataFile::of(add)?;
            Ok(Followed { file, rows: None })
        });
        let followed: Vec<Followed> = followed.collect::<Result<_>>()?;
        if !followed.is_empty() {
            let mut batches = follow(&self.seen, None, followed)?;
            while let Some(batch) = batches.try_next().await? {
                let rows = self.given(&batch.hits)?;
                let rows = match &must {
                    Some(must) => must.checked(&rows)?,
                    None => rows,
                };
                writer.write(rows).await?;
            }
        }
        let written = writer.finish().await?;
        if written.rows != self.written.rows {
            let message = "files that were just written gave another number of rows; nothing was committed, try again";
            return Err(Error::corrupt(Code::DataCorrupt, message)
                .with("expected", self.written.rows)
                .with("found", written.rows));
        }
        Ok(Self {
            written,
            like: self.like.clone(),
            is_uniform: true,
            seen: state.clone(),
            evolved: None,
        })
    }

    /// Of rows of the files, the columns that were given: the table's rules have made the others.
    fn given(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let like = self.like.iter().flat_map(|like| like.schema_ref().fields());
        let places = like.filter_map(|field| self.seen.schema().index_of(field.name()));
        let places: Vec<usize> = places.collect();
        rows.project(&places).map_err(|cause| {
            let message = "rows that were written cannot be read back";
            Error::corrupt(Code::DataCorrupt, message).because(cause)
        })
    }
}

impl NewRows {
    pub(super) fn new(batches: Batches) -> Self {
        Self {
            batches: Some(batches),
            adds_columns: false,
            target_file_bytes: None,
            replaces_schema: false,
            must: None,
            written: None,
        }
    }

    /// Writes the rows as data files, the first time, and stages these. Files that do not fit the table any more are read
    /// back and written anew.
    ///
    /// # Errors
    ///
    /// [`Conflict`](crate::ErrorKind::Conflict) if the table has changed since in a way that the rows do not fit;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) if it has got a feature that this build lacks.
    pub(super) async fn stage(&mut self, draft: &mut Draft) -> Result<()> {
        let state = draft.state().clone();
        if let Some(files) = self.files_for(&state).await? {
            self.written = Some(files);
        }
        let Some(files) = &self.written else {
            return Ok(());
        };
        let evolved = self.evolved_from(files, &state)?;
        let metadata = evolved.as_ref().unwrap_or(state.metadata());
        let partition_by = serde_json::Value::from(metadata.partition_columns.clone()).to_string();
        draft.parameter("partitionBy", partition_by);
        if let Some(metadata) = evolved {
            draft.set_metadata(metadata);
        }
        let written = &files.written;
        draft.commit_always();
        for add in &written.adds {
            draft.add(add.clone());
        }
        draft.counts.written += written.rows;
        draft.counts.inserted += written.rows;
        draft.metric("numFiles", written.adds.len() as u64);
        draft.metric("numOutputRows", written.rows);
        draft.metric("numOutputBytes", written.bytes);
        Ok(())
    }

    /// The files that the rows became.
    pub(super) fn files(&self) -> &[Add] {
        self.written
            .as_ref()
            .map_or(&[], |files| files.written.adds.as_slice())
    }

    /// The rows as files for this state of the table, if those that are there are not.
    async fn files_for(&mut self, state: &Snapshot) -> Result<Option<Files>> {
        let Some(files) = &self.written else {
            return self.write(state).await.map(Some);
        };
        // A feature asks something of data files only through schema and properties.
        feature::check_writable(state.protocol(), state.metadata(), state.schema())?;
        let evolved = self.evolved_from(files, state)?;
        let metadata = evolved.as_ref().unwrap_or(state.metadata());
        if evolve::still_fits(files.metadata(), metadata)? {
            return Ok(None);
        }
        let message =
            "the table changed while the rows were written, and they do not fit it any more";
        let unfit = Error::conflict(Code::CommitConflict, message);
        let changes_schema = self.adds_columns || self.replaces_schema;
        if changes_schema || !files.is_uniform {
            return Err(unfit);
        }
        let schema = Arc::clone(state.schema());
        let must = self.must.as_ref();
        let must = must
            .map(|must| Must::bind(must, state, &schema))
            .transpose()?;
        let context = self.context(state, schema);
        match files.again(state, context, must).await {
            Err(error) if error.kind() == ErrorKind::Invalid => Err(unfit.because(error)),
            written => written.map(Some),
        }
    }

    /// What the rows make of the table's metadata as it is now.
    fn evolved_from(&self, files: &Files, state: &Snapshot) -> Result<Option<Metadata>> {
        if state.metadata() == files.seen.metadata() {
            return Ok(files.evolved.clone());
        }
        let evolved = self.evolved(state, files.like.as_ref())?;
        Ok(evolved.map(|(_, metadata)| metadata))
    }

    async fn write(&mut self, state: &Snapshot) -> Result<Files> {
        let used_up = || invalid("the rows of this write were used up by an attempt that failed");
        let mut batches = self.batches.take().ok_or_else(used_up)?.0;
        let first = batches.try_next().await.map_err(source_failed)?;
        let evolved = self.evolved(state, first.as_ref())?;
        let (schema, evolved) = match evolved {
            Some((schema, metadata)) => (Arc::new(schema), Some(metadata)),
            None => (Arc::clone(state.schema()), None),
        };
        let like = first.as_ref().map(|batch| batch.slice(0, 0));
        let must = self
            .must
            .as_ref()
            .map(|must| Must::bind(must, state, &schema));
        let must = must.transpose()?;
        let mut writer = DataWriter::new(self.context(state, schema))?;
        let mut batches = futures::stream::iter(first.map(Ok)).chain(batches);
        let mut is_uniform = true;
        while let Some(batch) = batches.try_next().await.map_err(source_failed)? {
            is_uniform &= like
                .as_ref()
                .is_none_or(|like| has_columns_of(&batch, like));
            let batch = match &must {
                Some(must) => must.checked(&batch)?,
                None => batch,
            };
            writer.write(batch).await?;
        }
        Ok(Files {
            written: writer.finish().await?,
            like,
            is_uniform,
            seen: state.clone(),
            evolved,
        })
    }

    /// The schema that the rows ask for, and the `metaData` that says so; `None` if it is the table's own.
    fn evolved(
        &self,
        state: &Snapshot,
        like: Option<&RecordBatch>,
    ) -> Result<Option<(Schema, Metadata)>> {
        match like {
            Some(like) if self.replaces_schema => evolve::replace_schema(state, like),
            Some(like) if self.adds_columns => evolve::add_columns(state, like),
            _ => Ok(None),
        }
    }

    fn context(&self, state: &Snapshot, schema: Arc<Schema>) -> WriterContext {
        let mut options = WriterOptions::of(state.properties());
        let bytes = self.target_file_bytes;
        if let Some(bytes) = bytes.and_then(|bytes| usize::try_from(bytes).ok()) {
            options.target_file_bytes = bytes.max(1);
        }
        WriterContext {
            storage: state.storage().clone(),
            environment: state.environment().clone(),
            schema,
            configuration: state.metadata().configuration.clone(),
            partition_columns: state.partition_columns().to_vec(),
            names: ColumnNames::by(state.properties().column_mapping_mode),
            options,
        }
    }
}

/// Whether two batches have the same columns, by name.
fn has_columns_of(batch: &RecordBatch, other: &RecordBatch) -> bool {
    let (fields, others) = (batch.schema_ref().fields(), other.schema_ref().fields());
    let mut pairs = fields.iter().zip(others);
    fields.len() == others.len() && pairs.all(|(field, other)| field.name() == other.name())
}

/// A condition that every new row must meet.
struct Must {
    condition: BoundPredicate,
    rules: Rules,
}

impl Must {
    fn bind(condition: &Predicate, state: &Snapshot, schema: &Arc<Schema>) -> Result<Self> {
        let now = state.environment().now_millis();
        Ok(Self {
            condition: condition.bind(schema)?,
            rules: Rules::of(schema, &state.metadata().configuration, now)?,
        })
    }

    /// The rows as they will be in the table, if all meet the condition.
    fn checked(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = self.rules.apply(batch)?;
        let others = rows.num_rows() - self.condition.evaluate(&rows)?.true_count();
        if others == 0 {
            return Ok(rows);
        }
        let message = "new rows are not among those that they are to replace: the condition must be true for them, too";
        Err(Error::invalid(Code::RowsRejected, message)
            .with("condition", self.condition.predicate())
            .with("rows", others))
    }
}

fn source_failed(cause: SourceError) -> Error {
    let message = "the stream of rows failed; nothing was committed";
    Error::invalid(Code::InvalidArgument, message).because(cause)
}
