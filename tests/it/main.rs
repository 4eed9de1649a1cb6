//! The promises of the crate, tested from outside: one binary, one file per promise.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::too_many_lines,
    clippy::too_many_arguments,
    reason = "a test panics when a promise is broken"
)]

mod alter;
mod awkward;
mod change;
mod changes;
mod checkpoints;
mod commit;
mod compact;
mod concurrency;
mod conflict;
mod create;
mod doctor;
mod feed;
mod hostile;
mod listing;
mod maintenance;
mod overwrite;
mod partitions;
mod promise;
mod pruning;
mod row_ids;
mod rules;
mod shapes;
mod story;
mod support;
mod transaction;
