//! What the Delta protocol says, as types: no I/O, no clock, no randomness.
//!
//! | file | sections of [PROTOCOL.md](https://github.com/delta-io/delta/blob/master/PROTOCOL.md) |
//! | --- | --- |
//! | [`action`] | Actions |
//! | [`schema`] | Schema Serialization Format |
//! | [`value`] | Partition Value Serialization; bounds in Per-file Statistics |
//! | [`statistics`] | Per-file Statistics |
//! | [`deletion_vector`] | Deletion Vectors |
//! | [`feature`] | Table Features |
//! | [`property`] | Table Properties |
//! | [`location`] | Data Files; the `path` of Add File and Remove File |
//! | [`variant`] | Variant Data Type |
//! | `type_change` | Type Widening |
//! | `interval` | (interval types, an RFC) |
//! | [`json`] | limits on foreign JSON |

pub mod action;
pub(crate) mod arrow;
pub mod deletion_vector;
pub mod feature;
#[cfg(test)]
pub(crate) mod golden;
pub(crate) mod interval;
pub mod json;
pub mod location;
pub mod property;
pub mod schema;
pub mod statistics;
pub(crate) mod type_change;
pub mod value;
pub mod variant;

/// A version of a table: 0 for the commit that created it.
pub type Version = u64;

/// The largest version there can be: versions are signed 64-bit numbers in other engines.
pub const VERSION_MAX: Version = i64::MAX as u64;
