//! What a checkpoint says of the values in files, as pruning reads it, against what the commits said: who says more than
//! that may lose rows.

use std::cmp::Ordering;

use futures::TryStreamExt;

use crate::data::ColumnNames;
use crate::error::Result;
use crate::log::checkpoint::{
    CheckpointReader, ColumnReader, ColumnSummary, FileColumns, FileText, StatsWanted,
};
use crate::maintenance::doctor::bounds::{Leaf, leaves};
use crate::maintenance::doctor::state::State;
use crate::protocol::statistics::FileStatistics;
use crate::protocol::value::Scalar;

/// How many files a checkpoint says more of than the commits up to its version did.
pub(super) async fn bolder(replay: &State, reader: &CheckpointReader) -> Result<usize> {
    let Some(schema) = replay.schema() else {
        return Ok(0);
    };
    let names = ColumnNames::by(replay.properties().column_mapping_mode);
    let leaves: Vec<Leaf> = leaves(&schema, names)
        .into_iter()
        .filter(|leaf| !leaf.was_float)
        .collect();
    let paths = leaves.iter().map(|leaf| leaf.physical.clone());
    let columns = FileColumns {
        stats: StatsWanted::Columns(paths.collect()),
        ..FileColumns::least()
    };
    let mut count = 0;
    let mut batches = reader.files(columns).await?;
    while let Some(batch) = batches.try_next().await? {
        let found = leaves
            .iter()
            .map(|leaf| ColumnReader::new(&batch, &leaf.physical, &leaf.data_type));
        let found: Vec<ColumnReader> = found.collect();
        for row in 0..batch.len() {
            let add = replay.live.get(&*batch.key_text(row));
            let stats = add.and_then(|add| add.stats.as_deref());
            let Some(stats) = stats.and_then(FileStatistics::parse) else {
                continue;
            };
            let text = FileText::new(&batch, row);
            let mut leaves = leaves.iter().zip(&found);
            let is_bolder = leaves.any(|(leaf, found)| is_bolder(leaf, &found.get(&text), &stats));
            count += usize::from(is_bolder);
        }
    }
    Ok(count)
}

/// Whether fewer rows are possible by what was found than by what was said.
fn is_bolder(leaf: &Leaf, found: &ColumnSummary, said: &FileStatistics<'_>) -> bool {
    let path: Vec<&str> = leaf.physical.iter().map(String::as_str).collect();
    let (min, max) = said.bounds(&path, &leaf.data_type);
    let is = |found: &Option<Scalar>, said: &Option<Scalar>, order| match (found, said) {
        (Some(found), Some(said)) => found.compare(said) == Some(order),
        _ => false,
    };
    let nulls = match (found.null_count, said.null_count(&path)) {
        (Some(found), Some(said)) => found != said,
        _ => false,
    };
    nulls || is(&found.min, &min, Ordering::Greater) || is(&found.max, &max, Ordering::Less)
}
