//! Rows to data files and files of the change feed.

use std::sync::Arc;

use arrow_array::RecordBatch;

use crate::data::ColumnNames;
use crate::data::rules::Rules;
use crate::data::writer::{Change, ChangeWriter, DataWriter, WriterContext, WriterOptions};
use crate::error::Result;
use crate::snapshot::Snapshot;
use crate::transaction::Draft;

/// Memory for rows that wait and for open row groups of data files, about.
const DATA_MEMORY_BYTES: usize = 128 << 20;
/// The same for files of the change feed.
const FEED_MEMORY_BYTES: usize = 64 << 20;

/// Where rows go that a change writes.
#[derive(Debug)]
pub(crate) struct Output {
    state: Snapshot,
    /// What new rows are held against; rows that are copied have been in the table before.
    rules: Rules,
    data: Option<DataWriter>,
    feed: Option<ChangeWriter>,
}

/// What a change wrote.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sums {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) rows: u64,
    pub(crate) change_files: u64,
}

impl Output {
    /// Nothing written yet. With `feed`, changes are told to the change feed.
    pub(crate) fn new(state: &Snapshot, feed: bool) -> Result<Self> {
        let feed = feed.then(|| ChangeWriter::new(context(state, FEED_MEMORY_BYTES)));
        let now = state.environment().now_millis();
        let configuration = &state.metadata().configuration;
        Ok(Self {
            rules: Rules::of(state.schema(), configuration, now)?,
            state: state.clone(),
            data: None,
            feed: feed.transpose()?,
        })
    }

    /// Whether changes are told to the change feed.
    pub(crate) fn has_feed(&self) -> bool {
        self.feed.is_some()
    }

    /// Writes rows of the table again, as they are.
    pub(crate) async fn copy(&mut self, rows: RecordBatch) -> Result<()> {
        self.data()?.write(rows).await
    }

    /// Writes new rows, once they satisfy the table's rules, and hands them back as they are in the table now: with
    /// defaults and computed columns.
    pub(crate) async fn put(&mut self, rows: RecordBatch) -> Result<RecordBatch> {
        let rows = self.rules.apply(&rows)?;
        self.data()?.write(rows.clone()).await?;
        Ok(rows)
    }

    /// Tells the change feed, if there is one.
    pub(crate) async fn tell(&mut self, change: Change, rows: &RecordBatch) -> Result<()> {
        match &mut self.feed {
            Some(feed) => feed.write(change, rows).await,
            None => Ok(()),
        }
    }

    /// Ends all files and stages them.
    pub(crate) async fn finish(self, draft: &mut Draft) -> Result<Sums> {
        let mut sums = Sums::default();
        if let Some(data) = self.data {
            let written = data.finish().await?;
            sums.files = written.adds.len() as u64;
            (sums.bytes, sums.rows) = (written.bytes, written.rows);
            for add in written.adds {
                match self.feed {
                    Some(_) => draft.add_told(add),
                    None => draft.add(add),
                }
            }
        }
        if let Some(feed) = self.feed {
            for cdc in feed.finish().await? {
                sums.change_files += 1;
                draft.add_cdc(cdc);
            }
        }
        draft.counts.written += sums.rows;
        Ok(sums)
    }

    fn data(&mut self) -> Result<&mut DataWriter> {
        match &mut self.data {
            Some(data) => Ok(data),
            none => {
                let writer =
                    DataWriter::for_rows_of_the_table(context(&self.state, DATA_MEMORY_BYTES))?;
                Ok(none.insert(writer))
            }
        }
    }
}

fn context(state: &Snapshot, memory_bytes: usize) -> WriterContext {
    let options = WriterOptions {
        memory_bytes,
        ..WriterOptions::of(state.properties())
    };
    WriterContext {
        storage: state.storage().clone(),
        environment: state.environment().clone(),
        schema: Arc::clone(state.schema()),
        configuration: state.metadata().configuration.clone(),
        partition_columns: state.partition_columns().to_vec(),
        names: ColumnNames::by(state.properties().column_mapping_mode),
        options,
    }
}
