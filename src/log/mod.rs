//! The transaction log: files in `_delta_log` to and from actions.
//!
//! A table is what its log says. This room owns the names in `_delta_log` ([`path`]), which of them make a version
//! ([`segment`]), how a commit is read and written ([`commit`]), and how commits add up to a state ([`replay`]).
//! The hint where to start ([`hint`]) is never trusted for more, and times ([`times`]) never order anything.
//! Exactly one function writes a commit file, once and never over another: [`commit::try_write`].
//!
//! File actions are columns ([`files`]), never one struct per file, because a table may have millions of them.
//!
//! Spec: [Delta Log Entries](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#delta-log-entries),
//! [Action Reconciliation](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#action-reconciliation).

pub(crate) mod builder;
pub(crate) mod checkpoint;
pub(crate) mod columns;
pub(crate) mod commit;
pub(crate) mod encode;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "whole actions are read back by their tests, and by what rewrites files"
    )
)]
pub(crate) mod files;
pub(crate) mod hint;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "whole actions are read back by their tests, and by what rewrites files"
    )
)]
pub(crate) mod key;
pub(crate) mod path;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "whole actions are read back by their tests, and by what rewrites files"
    )
)]
pub(crate) mod removes;
pub(crate) mod replay;
pub(crate) mod rows;
pub(crate) mod segment;
pub(crate) mod times;

#[cfg(test)]
mod tests;
