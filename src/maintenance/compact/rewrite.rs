//! Files to fewer files, with the proof that they hold the same rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;

use crate::data::ColumnNames;
use crate::data::fingerprint::{Fingerprinter, RowFingerprint};
use crate::data::ordered::in_order;
use crate::data::reader::{DataFile, FindFields, ReadPlan, Reader};
use crate::data::writer::{DataWriter, WriterContext, WriterOptions};
use crate::error::{Code, Error, Result};
use crate::maintenance::compact::sort::{Run, chunks, sort_columns};
use crate::protocol::action::Add;
use crate::snapshot::Snapshot;

/// A file that compaction made full carries the size it was to have in this tag, so that it is never made again.
pub(super) const TAG_FULL: &str = "headwater.full";

/// Rows in a batch, at most.
const BATCH_ROWS: usize = 8_192;

/// Files that were rewritten, and those that are to take their place.
#[derive(Debug)]
pub(super) struct Rewritten {
    pub(super) inputs: Vec<Add>,
    pub(super) outputs: Vec<Add>,
    pub(super) rows: u64,
}

/// Writes the rows of a group as files of about the target size, in the order that the table declares, and proves that
/// they are all there.
pub(super) async fn rewrite(state: &Snapshot, inputs: Vec<Add>, target: u64) -> Result<Rewritten> {
    let columns = sort_columns(state)?;
    let mut before = fingerprinter(state)?;
    let mut outputs = match columns.is_empty() {
        true => copy(state, &inputs, target, &mut before).await?,
        false => sort(state, (&inputs, &columns), target, &mut before).await?,
    };
    let before = before.finish();
    prove(state, before, &outputs).await?;
    // All but the last one are as large as they become.
    let full = outputs.len().saturating_sub(1);
    for add in outputs.iter_mut().take(full) {
        let tags = add.tags.get_or_insert_with(BTreeMap::new);
        tags.insert(TAG_FULL.to_owned(), Some(target.to_string()));
    }
    let provider = clustering_provider(&inputs);
    for add in &mut outputs {
        add.clustering_provider.clone_from(&provider);
    }
    Ok(Rewritten {
        inputs,
        outputs,
        rows: before.rows,
    })
}

/// Who clustered the files, if one did all of them: what they become is not for others to cluster again.
fn clustering_provider(inputs: &[Add]) -> Option<String> {
    let provider = inputs.first()?.clustering_provider.as_ref();
    let same = |input: &Add| input.clustering_provider.as_ref() == provider;
    inputs.iter().all(same).then(|| provider.cloned()).flatten()
}

/// Writes rows as they come.
async fn copy(
    state: &Snapshot,
    inputs: &[Add],
    target: u64,
    before: &mut Fingerprinter,
) -> Result<Vec<Add>> {
    let mut writer = DataWriter::for_rows_of_the_table(context(state, target, &[]))?;
    let mut batches = rows(state, inputs)?;
    while let Some(batch) = batches.try_next().await? {
        before.update(&batch.rows.batch)?;
        writer.write(batch.rows.batch).await?;
    }
    Ok(writer.finish().await?.adds)
}

/// Writes rows sorted: as many at one time as are held in memory.
async fn sort(
    state: &Snapshot,
    (inputs, columns): (&[Add], &[String]),
    target: u64,
    before: &mut Fingerprinter,
) -> Result<Vec<Add>> {
    let mut outputs = Vec::new();
    let mut run = Run::new(columns);
    let mut batches = rows(state, inputs)?;
    while let Some(batch) = batches.try_next().await? {
        before.update(&batch.rows.batch)?;
        run.push(batch.rows.batch);
        if run.is_full() {
            outputs.extend(write_run(state, run.take(), target, columns).await?);
        }
    }
    if !run.is_empty() {
        outputs.extend(write_run(state, run, target, columns).await?);
    }
    Ok(outputs)
}

async fn write_run(
    state: &Snapshot,
    run: Run,
    target: u64,
    columns: &[String],
) -> Result<Vec<Add>> {
    let sorting = state.environment().run_blocking(move || {
        let places = run.sorted();
        places.map(|places| (run, places))
    });
    let sorted = sorting.await.unwrap_or_else(|| {
        let message = "sorting rows ended before its time";
        Err(Error::storage(Code::Stopped, message))
    });
    let (run, places) = sorted?;
    let mut writer = DataWriter::for_rows_of_the_table(context(state, target, columns))?;
    for places in chunks(&places) {
        writer.write(run.rows(places)?).await?;
    }
    Ok(writer.finish().await?.adds)
}

/// Reads what was written back from storage: its rows must be those that were read.
///
/// # Errors
///
/// [`Corrupt`](crate::ErrorKind::Corrupt) if they are not.
async fn prove(state: &Snapshot, before: RowFingerprint, outputs: &[Add]) -> Result<()> {
    let mut after = fingerprinter(state)?;
    let mut batches = rows(state, outputs)?;
    while let Some(batch) = batches.try_next().await? {
        after.update(&batch.rows.batch)?;
    }
    let after = after.finish();
    if before == after {
        return Ok(());
    }
    let message = "the files that compaction wrote do not hold the rows that it read; nothing was committed, and the \
                   table is as it was";
    Err(Error::corrupt(Code::DataCorrupt, message)
        .with("rows_read", before.rows)
        .with("rows_written", after.rows))
}

fn fingerprinter(state: &Snapshot) -> Result<Fingerprinter> {
    Fingerprinter::new(state.schema(), ColumnNames::Logical)
}

/// The rows of files that are not deleted, with all columns.
fn rows(
    state: &Snapshot,
    files: &[Add],
) -> Result<futures::stream::BoxStream<'static, Result<crate::data::ordered::FileRows>>> {
    let plan = ReadPlan {
        table_schema: Arc::clone(state.schema()),
        partition_columns: state.partition_columns().to_vec(),
        find: FindFields::by(state.properties().column_mapping_mode),
        schema: Arc::clone(state.schema()),
        predicate: None,
        prune: false,
        batch_rows: BATCH_ROWS,
        row_positions: false,
    };
    let reader = Reader::new(state.storage(), plan)?;
    let files = files.iter().map(DataFile::of).collect::<Result<_>>()?;
    Ok(in_order(reader, files, state.clone()))
}

fn context(state: &Snapshot, target: u64, sorted_by: &[String]) -> WriterContext {
    let options = WriterOptions {
        sorted_by: sorted_by.to_vec(),
        target_file_bytes: usize::try_from(target).unwrap_or(usize::MAX),
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

#[cfg(test)]
mod tests {
    use arrow_array::{Int64Array, RecordBatch};

    use super::*;
    use crate::error::ErrorKind;
    use crate::log::checkpoint::FileColumns;
    use crate::protocol::schema::{DataType, Field, Schema};
    use crate::table::Table;

    /// A table of one file for each list of ids, and the files in that order.
    async fn files(name: &str, lists: &[&[i64]]) -> (Snapshot, Vec<Add>) {
        let schema = Schema::new([Field::new("id", DataType::LONG, false)]).unwrap();
        let table = Table::create(&format!("memory:///{name}"), schema)
            .await
            .unwrap();
        let mut adds = Vec::new();
        for ids in lists {
            let ids = Arc::new(Int64Array::from(ids.to_vec())) as _;
            table
                .append(RecordBatch::try_from_iter([("id", ids)]).unwrap())
                .await
                .unwrap();
            let batches = table.snapshot().files(FileColumns::all()).await.unwrap();
            let batches: Vec<_> = batches.try_collect().await.unwrap();
            adds.extend(batches.last().unwrap().adds().last());
        }
        (table.snapshot(), adds)
    }

    async fn fingerprint(state: &Snapshot, file: &Add) -> RowFingerprint {
        let mut found = fingerprinter(state).unwrap();
        let mut batches = rows(state, std::slice::from_ref(file)).unwrap();
        while let Some(batch) = batches.try_next().await.unwrap() {
            found.update(&batch.rows.batch).unwrap();
        }
        found.finish()
    }

    #[tokio::test]
    async fn d_8_the_proof_notices_rows_that_are_lost_doubled_or_changed() {
        let lists: [&[i64]; 5] = [&[1, 2, 3], &[1, 2], &[1, 2, 3, 3], &[1, 2, 4], &[3, 1, 2]];
        let (state, files) = files("proof", &lists).await;
        let before = fingerprint(&state, &files[0]).await;
        for wrong in [&files[1..2], &files[2..3], &files[3..4], &[]] {
            let error = prove(&state, before, wrong).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.message().contains("nothing was committed"));
        }
        prove(&state, before, &files[4..5]).await.unwrap();
    }
}
