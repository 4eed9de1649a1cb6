//! Rows to data files and back.
//!
//! Batches enter in the table's own Arrow types; Parquet objects, their statistics and the fingerprint of their rows
//! leave, and the other way round. This room never touches the log and never deletes an object.
//!
//! | file | owns |
//! | --- | --- |
//! | [`collector`] | batches to the statistics of a file |
//! | [`enforce`] | what rows must be before they are written |
//! | [`rules`] | what the table demands of its rows, and adds to them |
//! | [`layout`] | which columns lie in files, and arrays under other names |
//! | [`writer`] | batches to data files |
//! | [`reader`] | data files to batches |
//! | [`ordered`] | the rows of several files, decoded side by side |
//! | [`rewrite`] | rows that a change is about, found and followed |
//! | [`vectors`] | deletion vectors to the log or to objects |
//! | [`fingerprint`] | batches to one number that tells whether two sets of rows are the same |

pub(crate) mod collector;
pub(crate) mod enforce;
pub(crate) mod fingerprint;
pub(crate) mod layout;
pub(crate) mod ordered;
pub(crate) mod reader;
pub(crate) mod rewrite;
pub(crate) mod rules;
pub(crate) mod vectors;
pub(crate) mod writer;

use crate::protocol::property::ColumnMappingMode;
use crate::protocol::schema::Field;

/// By which names data files, statistics and fingerprints know the columns of a table.
///
/// Spec: [Column Mapping](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#column-mapping).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnNames {
    /// The names of the schema: the table maps no columns.
    Logical,
    /// The physical names noted in the schema.
    Physical,
}

impl ColumnNames {
    /// The names that a table with this mapping uses.
    pub(crate) fn by(mapping: ColumnMappingMode) -> Self {
        match mapping {
            ColumnMappingMode::None => Self::Logical,
            ColumnMappingMode::Name | ColumnMappingMode::Id => Self::Physical,
        }
    }

    /// The name of `field`. A field without a physical name goes by its logical one.
    pub(crate) fn of(self, field: &Field) -> String {
        match self {
            Self::Logical => field.name.clone(),
            Self::Physical => field.mapped_name().unwrap_or_else(|| field.name.clone()),
        }
    }
}
