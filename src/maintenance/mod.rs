//! Keeping a table fast and small, without breaking a promise: no row is lost, doubled or changed, and no version that
//! was promised becomes unreadable.

mod cleanup;
mod compact;
pub(crate) mod doctor;
mod hold;
mod repair;
mod restore;
mod vacuum;
mod worker;

pub use crate::maintenance::cleanup::{CleanUp, CleanedUp};
pub use crate::maintenance::compact::{Compact, Compaction};
pub use crate::maintenance::doctor::{Doctor, Finding, Grade, Report};
pub use crate::maintenance::hold::{Lease, Pin};
pub use crate::maintenance::restore::Restore;
pub use crate::maintenance::vacuum::{Vacuum, Vacuumed};
pub use crate::maintenance::worker::{Job, Maintain, Maintenance, State, Status};
