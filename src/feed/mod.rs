//! Feeds: what pipelines that train and score take from a table.
//!
//! A training feed is a function: the batches of a version depend on plan, seed, epoch and position alone. `order`
//! and `split` are functions of their arguments and do no I/O.
//!
//! A follower hands out each row that a table gets once; a scoring feed writes what becomes of it, and how far it
//! came, in one commit of another table, or neither.

mod digest;
mod follow;
mod leased;
mod order;
mod scoring;
mod split;
mod training;

pub use crate::feed::digest::Digest;
pub use crate::feed::follow::{
    Cursor, FollowInput, FollowOptions, FollowStart, Follower, OnChange, OnGap,
};
pub use crate::feed::order::OrderDigest;
pub use crate::feed::scoring::ScoringFeed;
pub use crate::feed::split::{BUCKETS, HashSplit, SplitPart};
pub use crate::feed::training::{
    BatchOptions, FeedCounts, FeedState, LastBatch, PlanSummary, ShuffleOptions, TrainingBatches,
    TrainingFeed, TrainingPlan,
};
