//! Delete: the rows of a condition go.

use futures::future::BoxFuture;

use crate::error::Result;
use crate::operation::change::carry::carry;
use crate::operation::change::hits::{Hit, hits};
use crate::operation::change::output::Output;
use crate::operation::change::{Changing, as_parameter, timed};
use crate::operation::{Verb, awaitable};
use crate::predicate::Predicate;
use crate::table::Table;
use crate::transaction::{Draft, ReadRows};

/// Deletes rows; await it. See [`Table::delete`].
#[derive(Debug, Clone)]
#[must_use = "nothing happens until it is awaited"]
pub struct Delete {
    table: Table,
    predicate: Predicate,
}

impl Table {
    /// Deletes the rows for which the predicate is true, as one version; earlier versions keep them. Rows for which it
    /// is unknown, because of a null, stay.
    ///
    /// Files that statistics prove to hold no such row are not read; files that they prove to hold nothing else go
    /// unread. Other files are read in the columns of the predicate; then rows are marked as deleted where the table
    /// enables deletion vectors (`delta.enableDeletionVectors`), else the rows that stay are copied to new files.
    ///
    /// ```
    /// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use headwater::protocol::schema::{DataType, Field, Schema};
    /// # use headwater::arrow_array::{Int64Array, RecordBatch};
    /// # use std::sync::Arc;
    /// # let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
    /// # let table = headwater::Table::create("memory:///delete-example", schema).await?;
    /// # let ids = Int64Array::from(vec![1, 2, 3]);
    /// # table.append(RecordBatch::try_from_iter([("id", Arc::new(ids) as _)]).unwrap()).await?;
    /// use headwater::predicate::{Predicate, col};
    /// let commit = table.delete(col("id").gt(2)).await?;
    /// assert_eq!((commit.version, commit.rows_deleted), (2, 1));
    ///
    /// table.delete(Predicate::parse("id = 1 OR id IS NULL")?).await?;
    /// assert_eq!(table.snapshot().sums().await?.rows, Some(1));
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    ///
    /// When awaited: [`Invalid`](crate::ErrorKind::Invalid) if the predicate does not fit the schema or the table is
    /// append-only, [`Unsupported`](crate::ErrorKind::Unsupported) if the table needs a writer feature that this build
    /// lacks, [`Conflict`](crate::ErrorKind::Conflict) if concurrent commits kept contradicting the plan,
    /// [`Corrupt`](crate::ErrorKind::Corrupt) and [`Storage`](crate::ErrorKind::Storage).
    pub fn delete(&self, predicate: impl Into<Predicate>) -> Delete {
        Delete::of(self, predicate.into())
    }
}

impl Delete {
    pub(super) fn of(table: &Table, predicate: Predicate) -> Self {
        Self {
            table: table.clone(),
            predicate,
        }
    }

    async fn stage_rows(&self, draft: &mut Draft) -> Result<()> {
        let changing = Changing::begin(draft)?;
        draft.parameter("predicate", as_parameter(&self.predicate));
        let predicate = timed(&self.predicate, changing.now_micros());
        draft.reads(ReadRows::Matching(predicate.clone()));
        let hits = hits(&changing.state, &predicate).await?;
        let feed = changing.feed && !hits.files.iter().all(Hit::is_told_by_the_log);
        let mut output = Output::new(&changing.state, feed)?;
        let what = (hits.files, Some(hits.predicate));
        let tally = carry(&changing, draft, what, &mut output, None).await?;
        let sums = output.finish(draft).await?;
        draft.counts.deleted += tally.hit;
        for (name, value) in [
            ("numDeletedRows", tally.hit),
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

impl Verb for Delete {
    fn table(&self) -> &Table {
        &self.table
    }

    fn name(&self) -> &'static str {
        "DELETE"
    }

    fn stage<'a>(&'a mut self, draft: &'a mut Draft) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.stage_rows(draft))
    }
}

awaitable!(Delete);
