//! Training feeds: every row once an epoch, in an order that depends on plan, seed, epoch and position alone.

mod changes;
mod crash;
mod events;
mod follow;
mod golden;
mod leases;
mod order;
mod refusals;
mod scoring;
mod split;
mod units;
mod vectors;

use std::sync::Arc;

use futures::TryStreamExt;
use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::Int64Type;
use headwater::arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use headwater::environment::Environment;
use headwater::feed::{BatchOptions, FeedState, OrderDigest, TrainingPlan};
use headwater::protocol::action::{Add, DeletionVectorDescriptor};
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::{Result, Snapshot, Table};
use object_store::path::Path;
use serde_json::{Value, json};

use crate::support::store::Faulty;
use crate::support::{commit_key, storage};

/// Rows of flights: a key of text, a day to partition by, an id, a delay.
pub(crate) fn schema() -> Schema {
    Schema::new([
        Field::new("id", DataType::LONG, false),
        Field::new("key", DataType::STRING, true),
        Field::new("day", DataType::INTEGER, true),
        Field::new("delay", DataType::DOUBLE, true),
    ])
    .unwrap()
}

/// The rows with these ids. All other columns are functions of the id.
pub(crate) fn rows(ids: impl IntoIterator<Item = i64>) -> RecordBatch {
    use headwater::arrow_array::{Float64Array, Int32Array};
    let ids: Vec<i64> = ids.into_iter().collect();
    let keys = ids.iter().map(|id| (id % 97 != 0).then(|| key_of(*id)));
    let days = ids.iter().map(|id| Some((id % 3) as i32));
    let delays = ids
        .iter()
        .map(|id| (id % 5 != 0).then_some(*id as f64 / 2.0));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("key", Arc::new(keys.collect::<StringArray>())),
        ("day", Arc::new(days.collect::<Int32Array>())),
        ("delay", Arc::new(delays.collect::<Float64Array>())),
        ("id", Arc::new(Int64Array::from(ids.clone()))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn key_of(id: i64) -> String {
    format!("flight-{}", id / 2)
}

/// An empty table of flights in a store.
pub(crate) async fn flights(store: &Faulty, partitions: &[&str]) -> Table {
    Table::create_in(storage(store), Environment::system(), schema())
        .partition_by(partitions.iter().map(|name| (*name).to_owned()))
        .property("delta.enableDeletionVectors", "true")
        .await
        .unwrap()
}

/// What came out of a feed.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Fed {
    pub(crate) ids: Vec<i64>,
    pub(crate) digest: OrderDigest,
    pub(crate) batches: Vec<usize>,
    pub(crate) states: Vec<FeedState>,
}

impl Fed {
    pub(crate) fn sorted(&self) -> Vec<i64> {
        let mut ids = self.ids.clone();
        ids.sort_unstable();
        ids
    }
}

/// All batches of a plan.
pub(crate) async fn feed(plan: &TrainingPlan, options: BatchOptions) -> Result<Fed> {
    collect(plan.batches(options)?, usize::MAX).await
}

/// The ids of batches, as they stand.
pub(crate) fn ids_in(batches: &[RecordBatch]) -> Vec<i64> {
    let mut ids = Vec::new();
    for batch in batches {
        let column = batch.column_by_name("id").unwrap();
        ids.extend(column.as_primitive::<Int64Type>().values());
    }
    ids
}

/// At most so many batches.
pub(crate) async fn collect(
    mut batches: headwater::feed::TrainingBatches,
    most: usize,
) -> Result<Fed> {
    let mut fed = Fed::default();
    while fed.batches.len() < most {
        let Some(batch) = batches.try_next().await? else {
            break;
        };
        fed.ids.extend(ids_in(std::slice::from_ref(&batch)));
        fed.batches.push(batch.num_rows());
        fed.states.push(batches.state());
    }
    fed.digest = batches.order_digest();
    Ok(fed)
}

pub(crate) fn options(rows: usize) -> BatchOptions {
    BatchOptions {
        rows,
        ..BatchOptions::default()
    }
}

/// The ids of a version, sorted, as a scan has them.
pub(crate) async fn scanned(snapshot: &Snapshot) -> Vec<i64> {
    crate::support::ids_of(snapshot).await.unwrap()
}

/// The live files of a version.
pub(crate) async fn adds(snapshot: &Snapshot) -> Vec<Add> {
    let decisions = snapshot.scan().explain().await.unwrap();
    decisions.into_iter().map(|decision| decision.add).collect()
}

/// Writes a commit by hand, as another engine would.
pub(crate) async fn commit(store: &Faulty, table: &Table, actions: Vec<Value>) -> Snapshot {
    let version = table.refresh().await.unwrap().version() + 1;
    let info = json!({"commitInfo": {"operation": "BY HAND", "timestamp": 1}});
    let lines: Vec<_> = std::iter::once(info)
        .chain(actions)
        .map(|action| action.to_string())
        .collect();
    store.place(&commit_key(version), lines.join("\n")).await;
    table.refresh().await.unwrap()
}

pub(crate) fn add(add: &Add) -> Value {
    json!({ "add": add })
}

pub(crate) fn remove(add: &Add, data_change: bool) -> Value {
    let mut remove = json!({
        "path": add.path, "dataChange": data_change, "deletionTimestamp": 1,
        "extendedFileMetadata": true, "partitionValues": add.partition_values, "size": add.size,
    });
    if let Some(vector) = &add.deletion_vector {
        remove["deletionVector"] = serde_json::to_value(vector).unwrap();
    }
    json!({ "remove": remove })
}

/// The add with these rows deleted by a vector that stands in the log.
pub(crate) fn without(add: &Add, rows: impl IntoIterator<Item = u64>) -> Add {
    let rows: roaring::RoaringTreemap = rows.into_iter().collect();
    let mut bytes = 1_681_511_377_u32.to_le_bytes().to_vec();
    rows.serialize_into(&mut bytes).unwrap();
    let vector = DeletionVectorDescriptor {
        storage_type: "i".into(),
        size_in_bytes: bytes.len() as i32,
        path_or_inline_dv: z85(&bytes),
        offset: None,
        cardinality: rows.len() as i64,
    };
    Add {
        deletion_vector: Some(vector),
        ..add.clone()
    }
}

/// The rows of a file, as its statistics say.
pub(crate) fn records(add: &Add) -> u64 {
    let stats: Value = serde_json::from_str(add.stats.as_ref().unwrap()).unwrap();
    stats["numRecords"].as_u64().unwrap()
}

/// Bytes as text, four as five characters; padded with zeros.
fn z85(bytes: &[u8]) -> String {
    const DIGITS: &[u8] =
        b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(4), 0);
    let mut text = String::new();
    for word in padded.chunks_exact(4) {
        let word = u32::from_be_bytes(word.try_into().unwrap());
        for power in (0..5).rev() {
            text.push(DIGITS[(word / 85_u32.pow(power) % 85) as usize] as char);
        }
    }
    text
}

/// Puts all rows of a version into one new file, as a compaction by another engine would.
pub(crate) async fn compact(store: &Faulty, table: &Table) -> Snapshot {
    let before = table.refresh().await.unwrap();
    let rows = before.scan().collect().await.unwrap();
    let aside = Faulty::default();
    let copy = flights(&aside, &[]).await;
    copy.append(rows).await.unwrap();
    let mut actions = Vec::new();
    for old in adds(&before).await {
        actions.push(remove(&old, false));
    }
    for mut new in adds(&copy.snapshot()).await {
        let path = Path::from(format!("table/{}", new.path));
        store.place(&path, aside.bytes(&path).await).await;
        new.data_change = false;
        actions.push(add(&new));
    }
    commit(store, table, actions).await
}
