//! Files of the change feed: rows with what happened to them.
//!
//! Spec: [Change Data Files](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#change-data-files),
//! [Writer Requirements for AddCDCFile](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#writer-requirements-for-addcdcfile).

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow_schema::Schema as ArrowSchema;

use crate::data::writer::plan::WritePlan;
use crate::data::writer::{DataWriter, WriterContext};
use crate::error::{Code, Error, Result};
use crate::protocol::action::AddCdc;
use crate::protocol::schema::{DataType, Field, Schema};

/// The column that says what happened to a row.
const CHANGE_TYPE: &str = "_change_type";

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It was not there before.
    Insert,
    /// It is gone.
    Delete,
    /// It was like this before an update.
    Before,
    /// It is like this after an update.
    After,
}

impl Change {
    /// The value of the column.
    fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Delete => "delete",
            Self::Before => "update_preimage",
            Self::After => "update_postimage",
        }
    }
}

/// Writes files of the change feed.
#[derive(Debug)]
pub(crate) struct ChangeWriter(DataWriter);

impl ChangeWriter {
    /// A writer of changes to a table's rows, with nothing written.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if the table has a column of the name that the change feed needs; else
    /// as [`DataWriter::new`].
    pub(crate) fn new(context: WriterContext) -> Result<Self> {
        if context.schema.field(CHANGE_TYPE).is_some() {
            let message = "the change feed needs this name: rename the column, or disable the feed";
            return Err(Error::invalid(Code::InvalidSchema, message).with("column", CHANGE_TYPE));
        }
        let mut fields = context.schema.fields().to_vec();
        fields.push(Field::new(CHANGE_TYPE, DataType::STRING, true));
        let schema = Arc::new(Schema::new(fields)?);
        let context = WriterContext { schema, ..context };
        let plan = WritePlan::new(context)?.in_change_feed();
        Ok(Self(DataWriter::with(plan)))
    }

    /// Takes rows of the table's schema that a change happened to.
    ///
    /// # Errors
    ///
    /// As [`DataWriter::write`].
    pub(crate) async fn write(&mut self, change: Change, rows: &RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let mut fields = rows.schema_ref().fields().to_vec();
        let kind = arrow_schema::Field::new(CHANGE_TYPE, arrow_schema::DataType::Utf8, true);
        fields.push(Arc::new(kind));
        let kinds = std::iter::repeat_n(change.as_str(), rows.num_rows());
        let kinds: ArrayRef = Arc::new(StringArray::from_iter_values(kinds));
        let mut columns = rows.columns().to_vec();
        columns.push(kinds);
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let schema = Arc::new(ArrowSchema::new(fields));
        let batch = RecordBatch::try_new_with_options(schema, columns, &options);
        self.0.write(batch.map_err(unfit)?).await
    }

    /// Ends all files. When this returns, their objects are there, whole.
    ///
    /// # Errors
    ///
    /// As [`DataWriter::finish`].
    pub(crate) async fn finish(self) -> Result<Vec<AddCdc>> {
        let written = self.0.finish().await?;
        let cdc = written.adds.into_iter().map(|add| AddCdc {
            path: add.path,
            partition_values: add.partition_values,
            size: add.size,
            data_change: false,
            tags: None,
        });
        Ok(cdc.collect())
    }
}

fn unfit(cause: arrow_schema::ArrowError) -> Error {
    Error::invalid(Code::RowsRejected, "the rows do not fit the change feed").because(cause)
}
