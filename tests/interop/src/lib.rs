//! What the tests against other engines share: a worker that runs those engines, the cases that tables are made of,
//! and the ledger of known differences.
//!
//! The engines are Python packages (`requirements.txt`); `run` installs them. The worker is `worker.py`; rows travel
//! as Arrow files, everything else as one JSON object per line.

pub mod case;
pub mod ledger;
pub mod table;
pub mod worker;

/// What a test cannot go on after.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
