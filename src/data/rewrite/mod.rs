//! Rows that a change is about: found with their positions, then followed through their files.
//!
//! A change reads twice. First it finds: only the columns that its condition looks at, and only where statistics, row
//! groups and pages leave a doubt; what comes out is one bitmap of positions per file. Then it follows: the rows of
//! those bitmaps with all their columns, and, where files are rewritten, the rows beside them, which are copied. The
//! bitmaps decide; no condition is evaluated twice with a chance of another answer.
//!
//! | file | what it knows |
//! | --- | --- |
//! | [`find`] | condition and files to positions |
//! | [`follow`] | positions to rows, with the rows beside them |

use std::sync::Arc;

use crate::data::reader::{FindFields, ReadPlan, Reader};
use crate::error::Result;
use crate::predicate::BoundPredicate;
use crate::protocol::schema::Schema;
use crate::snapshot::Snapshot;

pub(crate) mod find;
pub(crate) mod follow;

/// Rows in a batch, at most.
const BATCH_ROWS: usize = 8_192;

/// A reader of these columns with positions, of the rows that the predicate keeps.
fn reader(
    snapshot: &Snapshot,
    schema: Arc<Schema>,
    predicate: Option<Arc<BoundPredicate>>,
) -> Result<Reader> {
    let plan = ReadPlan {
        table_schema: Arc::clone(snapshot.schema()),
        partition_columns: snapshot.partition_columns().to_vec(),
        find: FindFields::by(snapshot.properties().column_mapping_mode),
        schema,
        prune: predicate.is_some(),
        predicate,
        batch_rows: BATCH_ROWS,
        row_positions: true,
    };
    Reader::new(snapshot.storage(), plan)
}
