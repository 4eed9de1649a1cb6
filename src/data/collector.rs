//! Record batches to the statistics of a data file: row count, null counts and bounds of its leaf columns.
//!
//! Spec: [Per-file Statistics](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#per-file-statistics).
//!
//! Statistics are sound or absent: no bound that is written excludes a value of the file, by the order in which engines
//! compare (NaN above everything, the two zeros equal, text by its UTF-8 bytes).
//!
//! | type | minimum | maximum |
//! | --- | --- | --- |
//! | integers, decimals | exact | exact |
//! | float, double | the least number, -0.0 for zero | the greatest number, 0.0 for zero; none if a NaN is above it |
//! | date | exact | exact |
//! | timestamps | rounded down to milliseconds | rounded up to milliseconds |
//! | string | a prefix | a prefix and a greater character |
//! | all others | none | none |
//!
//! JSON has infinities, and the NaN of a column of nothing else, as strings. Engines read no year outside 1 to 9999:
//! such a bound is left out. Null counts are exact, and a null struct makes all its leaves null. Lists, maps and
//! variants are leaves with a null count only.

mod bound;
mod extent;
#[cfg(test)]
mod tests;

use arrow_array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow_buffer::NullBuffer;

use crate::data::ColumnNames;
use crate::data::collector::bound::Bounds;
use crate::error::{Code, Error, Result};
use crate::protocol::property::TableProperties;
use crate::protocol::schema::{DataType, Field, PrimitiveType, Schema, fold};
use crate::protocol::statistics::StatisticsBuilder;
#[cfg(test)]
use crate::protocol::value::Scalar;

/// What statistics of a file hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatisticsOptions {
    /// Which leaf columns have statistics. Default: the first 32.
    pub(crate) columns: IndexedColumns,
    /// How many characters of a text are kept in its bounds. Default 32.
    pub(crate) text_prefix: usize,
}

/// Which leaf columns have statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IndexedColumns {
    /// All of them.
    All,
    /// So many, in the order of the schema; the fields of a struct count one by one, a list or map counts as one.
    First(u64),
    /// Those named by a path, or standing below a struct that is named. Names are logical, in any case.
    Named(Vec<Vec<String>>),
}

impl Default for StatisticsOptions {
    fn default() -> Self {
        Self::of(&TableProperties::default())
    }
}

impl StatisticsOptions {
    /// What a table's properties ask for; columns that are named go before a number of columns.
    pub(crate) fn of(properties: &TableProperties) -> Self {
        let named = properties.data_skipping_stats_columns.clone();
        let first = || {
            properties
                .data_skipping_num_indexed_cols
                .map(IndexedColumns::First)
        };
        let prefix = properties.data_skipping_string_prefix_length;
        Self {
            columns: named
                .map(IndexedColumns::Named)
                .or_else(first)
                .unwrap_or(IndexedColumns::All),
            text_prefix: usize::try_from(prefix).unwrap_or(usize::MAX),
        }
    }
}

/// Collects the statistics of one data file while its rows are written.
///
/// It keeps two values per column, whatever the number of rows; a text column keeps its two in full.
#[derive(Debug)]
pub(crate) struct Collector {
    columns: Vec<Column>,
    rows: u64,
    text_prefix: usize,
}

/// What is known of one leaf column.
#[cfg(test)]
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ColumnStatistics {
    /// Names from the top of the schema down, as the statistics have them.
    pub(crate) path: Vec<String>,
    /// How many rows have no value, be it for a null struct above.
    pub(crate) null_count: u64,
    /// The least value, exactly; NaN does not count. `None` if there is none, or the type has no bounds.
    pub(crate) min: Option<Scalar>,
    /// The greatest value, exactly. `None` also if a NaN stands above it.
    pub(crate) max: Option<Scalar>,
}

#[derive(Debug)]
struct Column {
    name: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Struct(Vec<Column>),
    Leaf { nulls: u64, bounds: Bounds },
    // Not indexed; its place is kept, since columns and arrays are matched by position.
    Skipped,
}

impl Collector {
    /// A collector for a file with the columns of `schema`: those of the table without its partition columns.
    pub(crate) fn new(schema: &Schema, names: ColumnNames, options: &StatisticsOptions) -> Self {
        let (left, named) = match &options.columns {
            IndexedColumns::All => (u64::MAX, None),
            IndexedColumns::First(count) => (*count, None),
            IndexedColumns::Named(paths) => {
                let folded = |path: &Vec<String>| path.iter().map(|name| fold(name)).collect();
                (0, Some(paths.iter().map(folded).collect()))
            }
        };
        let mut plan = Plan {
            names,
            named,
            left,
            path: Vec::new(),
        };
        Self {
            columns: plan.columns(schema, false),
            rows: 0,
            text_prefix: options.text_prefix,
        }
    }

    /// Takes in the rows of a batch, whose columns are those of the schema, in order, in the Arrow types of the table.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::error::ErrorKind::Invalid) if the batch has other columns; the collector is then of no use.
    pub(crate) fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        update_all(&mut self.columns, batch.columns(), None)?;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// How many rows were taken in.
    #[cfg(test)]
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// What is known of each indexed leaf, in the order of the schema.
    #[cfg(test)]
    pub(crate) fn statistics(&self) -> Vec<ColumnStatistics> {
        let mut found = Vec::new();
        self.each_leaf(|path, nulls, bounds| {
            found.push(ColumnStatistics {
                path: path.iter().map(|name| (*name).to_owned()).collect(),
                null_count: nulls,
                min: bounds.min(),
                max: bounds.max(),
            });
        });
        found
    }

    /// The statistics as JSON: the `stats` of the `add` action.
    pub(crate) fn finish(self) -> String {
        let mut statistics = StatisticsBuilder::new(self.rows);
        self.each_leaf(|path, nulls, bounds| {
            let (min, max) = (
                bounds.lower(self.text_prefix),
                bounds.upper(self.text_prefix),
            );
            statistics.column(path, min.as_ref(), max.as_ref(), Some(nulls));
        });
        statistics.to_json()
    }

    fn each_leaf<'a>(&'a self, mut with: impl FnMut(&[&'a str], u64, &'a Bounds)) {
        for column in &self.columns {
            column.each_leaf(&mut Vec::new(), &mut with);
        }
    }
}

// Walks the schema and decides which leaves are indexed.
struct Plan {
    names: ColumnNames,
    named: Option<Vec<Vec<String>>>,
    left: u64,
    path: Vec<String>,
}

impl Plan {
    fn columns(&mut self, schema: &Schema, below_named: bool) -> Vec<Column> {
        schema
            .fields()
            .iter()
            .map(|field| self.column(field, below_named))
            .collect()
    }

    fn column(&mut self, field: &Field, below_named: bool) -> Column {
        self.path.push(fold(&field.name));
        let named = below_named
            || self
                .named
                .as_ref()
                .is_some_and(|paths| paths.contains(&self.path));
        let kind = match &field.data_type {
            DataType::Struct(schema) => Kind::Struct(self.columns(schema, named)),
            // Data files have no such columns.
            DataType::Primitive(PrimitiveType::Void) => Kind::Skipped,
            leaf if self.admits(named) => Kind::Leaf {
                nulls: 0,
                bounds: Bounds::of(leaf),
            },
            _ => Kind::Skipped,
        };
        self.path.pop();
        Column {
            name: self.names.of(field),
            kind,
        }
    }

    fn admits(&mut self, named: bool) -> bool {
        if self.named.is_some() {
            return named;
        }
        let admitted = 0 < self.left;
        self.left = self.left.saturating_sub(1);
        admitted
    }
}

fn update_all(
    columns: &mut [Column],
    arrays: &[ArrayRef],
    parent: Option<&NullBuffer>,
) -> Result<()> {
    if columns.len() != arrays.len() {
        let message = "the columns of a batch are not those of its file";
        return Err(Error::invalid(Code::InvalidArgument, message));
    }
    for (column, array) in columns.iter_mut().zip(arrays) {
        column.update(array, parent)?;
    }
    Ok(())
}

impl Column {
    fn update(&mut self, array: &ArrayRef, parent: Option<&NullBuffer>) -> Result<()> {
        match &mut self.kind {
            Kind::Skipped => Ok(()),
            Kind::Struct(columns) => {
                let Some(parts) = array.as_any().downcast_ref::<StructArray>() else {
                    return Err(unlike(&self.name, array));
                };
                let valid = NullBuffer::union(parent, parts.nulls());
                update_all(columns, parts.columns(), valid.as_ref())
            }
            Kind::Leaf { nulls, bounds } => {
                let valid = NullBuffer::union(parent, array.logical_nulls().as_ref());
                *nulls += valid.as_ref().map_or(0, NullBuffer::null_count) as u64;
                bounds
                    .update(array, valid.as_ref())
                    .ok_or_else(|| unlike(&self.name, array))
            }
        }
    }

    fn each_leaf<'a>(
        &'a self,
        path: &mut Vec<&'a str>,
        with: &mut impl FnMut(&[&'a str], u64, &'a Bounds),
    ) {
        path.push(&self.name);
        match &self.kind {
            Kind::Skipped => {}
            Kind::Struct(columns) => columns
                .iter()
                .for_each(|column| column.each_leaf(path, with)),
            Kind::Leaf { nulls, bounds } => with(path, *nulls, bounds),
        }
        path.pop();
    }
}

fn unlike(name: &str, array: &ArrayRef) -> Error {
    let message = format!(
        "a column does not hold the type of its file but {}",
        array.data_type()
    );
    Error::invalid(Code::InvalidArgument, message).with("column", name)
}
