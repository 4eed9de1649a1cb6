//! Checkpoints of other engines are read; ours say what the table is, and broken ones are refused.

mod damaged;
mod golden;
mod widened;
mod written;
