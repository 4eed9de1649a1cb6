//! A [`Table`] in a data lake: a JSON transaction log over Parquet files, byte-compatible with the open
//! [Delta Lake protocol](https://github.com/delta-io/delta/blob/master/PROTOCOL.md). ACID appends from any number of
//! processes, time travel, statistics that prune without ever losing a row.
//!
//! # Map
//!
//! | type | what for |
//! | --- | --- |
//! | [`Table`] | a handle: create, open, append, delete, update, merge, overwrite, alter, compact, vacuum, restore, travel |
//! | [`Transaction`] | several of these as one version |
//! | [`Snapshot`] | the table at one version: schema, properties, history, sums |
//! | [`Scan`] | rows of a snapshot: filter, select, limit, explain |
//! | [`Predicate`](predicate::Predicate) | a condition over rows, from [`col`](predicate::col) or from SQL text |
//! | [`Commit`] | what a write did |
//! | [`Maintain`] | a worker that keeps a table fast in the background |
//! | [`TrainingFeed`](feed::TrainingFeed) | a version as shuffled batches: deterministic, resumable, split by hash |
//! | [`ScoringFeed`](feed::ScoringFeed) | what is added to a table, scored into another one, each row once |
//! | [`Error`] | six kinds that say what to do, finer codes that say what happened |
//!
//! # Cookbook
//!
//! Create a table, append a batch, ask a question:
//!
//! ```
//! # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use std::sync::Arc;
//! use headwater::arrow_array::{Float64Array, Int64Array, RecordBatch};
//! use headwater::predicate::col;
//! use headwater::protocol::schema::{DataType, Field, Schema};
//! use headwater::Table;
//!
//! let schema = Schema::new([
//!     Field::new("id", DataType::LONG, false),
//!     Field::new("score", DataType::DOUBLE, true),
//! ])?;
//! let table = Table::create("memory:///cookbook", schema).await?;
//!
//! let ids = Arc::new(Int64Array::from(vec![1, 2, 3]));
//! let scores = Arc::new(Float64Array::from(vec![0.2, 0.9, 0.7]));
//! let batch = RecordBatch::try_from_iter([("id", ids as _), ("score", scores as _)]).unwrap();
//! table.append(batch).await?;
//!
//! let good = table.snapshot().scan().filter(col("score").gt(0.5)).select(["id"]).collect().await?;
//! assert_eq!(good.iter().map(|batch| batch.num_rows()).sum::<usize>(), 2);
//! # Ok(()) }) }
//! ```
//!
//! # Features
//!
//! | feature | default | adds |
//! | --- | --- | --- |
//! | `cli` | no | the command `headwater` |
//!
//! No feature changes what the library means.

mod data;
pub mod environment;
pub mod error;
pub mod feed;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod log;
mod maintenance;
mod operation;
pub mod predicate;
pub mod protocol;
pub mod scan;
pub mod snapshot;
pub mod storage;
mod table;
mod transaction;

pub use arrow_array;
pub use arrow_schema;
pub use object_store;

pub use error::{Code, Error, ErrorKind, Result};
pub use maintenance::{
    CleanUp, CleanedUp, Compact, Compaction, Doctor, Finding, Grade, Job, Lease, Maintain,
    Maintenance, Pin, Report, Restore, State, Status, Vacuum, Vacuumed,
};
pub use operation::{
    Alter, Append, Batches, Create, Delete, Merge, Overwrite, SourceError, Transaction, Update,
    Work,
};
pub use scan::Scan;
pub use snapshot::Snapshot;
pub use table::Table;
pub use transaction::{Commit, CommitStatus, Resolution};

/// The programs of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
