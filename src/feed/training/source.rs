//! Rows of units, as a feed selects them: live, wanted by the predicate, of the right part of the split.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::ArrowError;
use arrow_select::filter::{filter, filter_record_batch};
use futures::TryStreamExt;

use crate::data::ordered::expired;
use crate::data::reader::{DataFile, FileReader, FindFields, ReadPlan, Reader, Rows};
use crate::error::{Code, Error, Result};
use crate::feed::split::{SplitPart, buckets};
use crate::predicate::BoundPredicate;
use crate::protocol::schema::Schema;
use crate::snapshot::Snapshot;

/// Files that stay open, so that units of one file do not fetch its footer again and again.
const FILES_OPEN_MAX: usize = 32;
/// Rows of a batch within a unit.
const BATCH_ROWS: usize = 65_536;

/// Which rows of a file belong to the feed.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    pub(super) predicate: Option<Arc<BoundPredicate>>,
    pub(super) part: Option<SplitPart>,
}

impl Selection {
    /// Whether all live rows belong to it.
    pub(super) fn is_all(&self) -> bool {
        self.predicate.is_none() && self.part.is_none()
    }
}

/// Reads rows of a snapshot's files.
#[derive(Debug)]
pub(super) struct Source {
    snapshot: Snapshot,
    reader: Reader,
    part: Option<(SplitPart, Vec<usize>)>,
    /// Columns that come out; those that only the split looks at stand behind them.
    width: usize,
    open: Mutex<VecDeque<(String, FileReader)>>,
}

/// Whether rows come with their places in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Places {
    Wanted,
    NotWanted,
}

impl Source {
    pub(super) fn new(
        snapshot: &Snapshot,
        output: &Schema,
        selection: &Selection,
        places: Places,
    ) -> Result<Self> {
        let table = snapshot.schema();
        let mut fields = output.fields().to_vec();
        let mut part = None;
        if let Some(wanted) = &selection.part {
            let mut keys = Vec::new();
            for key in wanted.fields(table)? {
                let place = fields.iter().position(|field| field.name == key.name);
                keys.push(place.unwrap_or(fields.len()));
                if place.is_none() {
                    fields.push(key);
                }
            }
            part = Some((wanted.clone(), keys));
        }
        let plan = ReadPlan {
            table_schema: Arc::clone(table),
            partition_columns: snapshot.partition_columns().to_vec(),
            find: FindFields::by(snapshot.properties().column_mapping_mode),
            schema: Arc::new(Schema::new(fields)?),
            predicate: selection.predicate.clone(),
            prune: true,
            batch_rows: BATCH_ROWS,
            row_positions: places == Places::Wanted,
        };
        Ok(Self {
            snapshot: snapshot.clone(),
            reader: Reader::new(snapshot.storage(), plan)?,
            part,
            width: output.fields().len(),
            open: Mutex::default(),
        })
    }

    /// The file, opened.
    pub(super) async fn open(&self, file: &DataFile) -> Result<FileReader> {
        let known = {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let vector = |reader: &FileReader| reader.clone();
            let found = open.iter().find(|(key, _)| *key == key_of(file));
            found.map(|(_, reader)| vector(reader))
        };
        if let Some(reader) = known {
            return Ok(reader);
        }
        let reader = match self.reader.open_indexed(file).await {
            Ok(reader) => reader,
            Err(error) => return Err(expired(&self.snapshot, file, error).await),
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push_front((key_of(file), reader.clone()));
        open.truncate(FILES_OPEN_MAX);
        Ok(reader)
    }

    /// The rows of the feed among these rows of the file, in their order.
    pub(super) async fn rows(&self, file: &DataFile, rows: Range<u64>) -> Result<Vec<Rows>> {
        let reader = self.open(file).await?;
        let mut stream = reader.read_rows(rows).await?;
        let mut taken = Vec::new();
        loop {
            let next = match stream.try_next().await {
                Ok(next) => next,
                Err(error) => return Err(expired(&self.snapshot, file, error).await),
            };
            let Some(rows) = next else { break };
            let rows = self.of_part(rows)?;
            if 0 < rows.batch.num_rows() {
                taken.push(rows);
            }
        }
        Ok(taken)
    }

    /// The rows of the part, without columns that only the split looks at.
    fn of_part(&self, rows: Rows) -> Result<Rows> {
        let Some((part, keys)) = &self.part else {
            return Ok(rows);
        };
        let Rows { batch, positions } = rows;
        let columns: Vec<ArrayRef> = keys
            .iter()
            .filter_map(|place| batch.columns().get(*place).cloned())
            .collect();
        let buckets = buckets(&columns, batch.num_rows())?;
        let mask: BooleanArray = buckets
            .into_iter()
            .map(|bucket| Some(part.has(bucket)))
            .collect();
        let kept = filter_record_batch(&batch, &mask).map_err(unfit)?;
        let outputs: Vec<usize> = (0..self.width).collect();
        let batch: RecordBatch = kept.project(&outputs).map_err(unfit)?;
        let positions = match positions {
            None => None,
            Some(positions) => {
                let kept = filter(&positions, &mask).map_err(unfit)?;
                kept.as_any().downcast_ref().cloned()
            }
        };
        Ok(Rows { batch, positions })
    }
}

/// A logical file: path and deletion vector.
pub(super) fn key_of(file: &DataFile) -> String {
    let vector = file.deletion_vector.as_ref();
    let vector = vector.map(crate::protocol::action::DeletionVectorDescriptor::unique_id);
    crate::log::key::key_text(&file.path, vector.as_deref()).into_owned()
}

fn unfit(cause: ArrowError) -> Error {
    let message = "the rows of a unit cannot be selected";
    Error::corrupt(Code::DataCorrupt, message).because(cause)
}
