//! File actions of a checkpoint, as the columns of [`FileBatch`] and [`RemoveBatch`].

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray, StructArray};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{Field as ArrowField, Schema as ArrowSchema};
use parquet::arrow::ProjectionMask;

use crate::error::Result;
use crate::log::checkpoint::part::{Part, is_below};
use crate::log::checkpoint::schema::{self, PARTITION_VALUES_PARSED, STATS_PARSED};
use crate::log::checkpoint::{cannot_build, corrupt, statistics};
use crate::log::files::FileBatch;
use crate::log::removes::RemoveBatch;
use crate::protocol::arrow::conform;
use crate::protocol::schema::{Schema, fold};

/// What to read of `add` actions; the rest stays in storage.
#[derive(Debug, Clone)]
pub(crate) struct FileColumns {
    /// Statistics.
    pub(crate) stats: StatsWanted,
    /// Tags and the clustering provider: who writes the actions again needs them.
    pub(crate) tags: bool,
    /// `partitionValues_parsed`, where the checkpoint has it.
    pub(crate) partition_values_parsed: bool,
}

/// Which statistics to read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StatsWanted {
    /// None.
    None,
    /// All, as JSON text, made from typed columns if the checkpoint has nothing else.
    All,
    /// Those of columns at these physical paths, and row counts: as `stats_parsed` where the checkpoint has it, else
    /// as JSON text.
    Columns(Vec<Vec<String>>),
}

impl FileColumns {
    /// What tells one file from another, and which of its rows are deleted.
    pub(crate) fn least() -> Self {
        Self {
            stats: StatsWanted::None,
            tags: false,
            partition_values_parsed: false,
        }
    }

    /// Everything that is needed to write the actions again.
    pub(crate) fn all() -> Self {
        Self {
            stats: StatsWanted::All,
            tags: true,
            partition_values_parsed: false,
        }
    }
}

/// What to read of one part, and how to turn it into a batch.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    columns: FileColumns,
    stats: Source,
    instants: Arc<BTreeSet<Vec<String>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    None,
    Json,
    Parsed,
    ParsedToJson,
}

impl Plan {
    pub(super) fn new(
        part: &Part,
        columns: &FileColumns,
        instants: &Arc<BTreeSet<Vec<String>>>,
    ) -> Self {
        // A column may be there and hold nothing: writers differ in how they leave statistics out.
        let json = !part.groups_with(&["add", "stats"]).is_empty();
        let parsed = !part
            .groups_with(&["add", STATS_PARSED, "numRecords"])
            .is_empty();
        let stats = match columns.stats {
            StatsWanted::None => Source::None,
            StatsWanted::All if parsed && !json => Source::ParsedToJson,
            StatsWanted::Columns(_) if parsed => Source::Parsed,
            _ => Source::Json,
        };
        Self {
            columns: columns.clone(),
            stats,
            instants: Arc::clone(instants),
        }
    }

    /// The columns to read; `None` if the part has no adds.
    pub(super) fn projection(&self, part: &Part) -> Option<ProjectionMask> {
        part.columns(|parts| match parts {
            [add, rest @ ..] if add == "add" => self.wants(rest),
            _ => false,
        })
    }

    fn wants(&self, parts: &[String]) -> bool {
        let Some((name, rest)) = parts.split_first() else {
            return false;
        };
        match name.as_str() {
            "path"
            | "partitionValues"
            | "size"
            | "modificationTime"
            | "dataChange"
            | "deletionVector"
            | "baseRowId"
            | "defaultRowCommitVersion" => true,
            "tags" | "clusteringProvider" => self.columns.tags,
            "stats" => self.stats == Source::Json,
            STATS_PARSED => match self.stats {
                Source::None | Source::Json => false,
                Source::ParsedToJson => true,
                Source::Parsed => self.wants_statistic(rest),
            },
            PARTITION_VALUES_PARSED => self.columns.partition_values_parsed,
            _ => false,
        }
    }

    fn wants_statistic(&self, parts: &[String]) -> bool {
        let StatsWanted::Columns(wanted) = &self.columns.stats else {
            return true;
        };
        match parts {
            [name] => name == "numRecords" || name == "tightBounds",
            [kind, path @ ..]
                if ["minValues", "maxValues", "nullCount"].contains(&kind.as_str()) =>
            {
                let same = |(a, b): (&String, &String)| a == b || fold(a) == fold(b);
                wanted
                    .iter()
                    .any(|wanted| wanted.len() == path.len() && wanted.iter().zip(path).all(same))
            }
            _ => false,
        }
    }

    /// The adds of a batch of checkpoint rows.
    pub(super) fn adds(&self, batch: &RecordBatch) -> Result<FileBatch> {
        let rows = Actions::find(batch, "add")?;
        if rows.is_empty() {
            return FileBatch::empty();
        }
        let mut columns = rows.columns(&schema::add()?)?;
        let changes = columns.iter().position(|(name, _)| name == "dataChange");
        let changes = changes.map(|index| columns.swap_remove(index).1);
        columns.push(("dataChange".to_owned(), rows.or_false(changes)));
        if let Some(stats) = rows
            .fields
            .column_by_name(STATS_PARSED)
            .and_then(|a| a.as_struct_opt())
        {
            if self.stats == Source::ParsedToJson {
                let json: StringArray = statistics::to_json(stats, &self.instants)
                    .into_iter()
                    .collect();
                columns.push(("stats".to_owned(), Arc::new(json)));
            } else {
                columns.push((STATS_PARSED.to_owned(), Arc::new(stats.clone())));
            }
        }
        if let Some(parsed) = rows.fields.column_by_name(PARTITION_VALUES_PARSED) {
            columns.push((PARTITION_VALUES_PARSED.to_owned(), Arc::clone(parsed)));
        }
        FileBatch::try_new(rows.gather(columns)?)
    }
}

/// The columns of removes; `None` if the part has none.
pub(super) fn remove_projection(part: &Part) -> Option<ProjectionMask> {
    let known = schema::remove().ok()?;
    part.columns(|parts| {
        is_below(parts, &["remove"]) && parts.get(1).is_some_and(|name| known.field(name).is_some())
    })
}

/// The removes of a batch of checkpoint rows.
pub(super) fn removes(batch: &RecordBatch) -> Result<RemoveBatch> {
    let rows = Actions::find(batch, "remove")?;
    if rows.is_empty() {
        return RemoveBatch::from_removes([]);
    }
    let mut columns = rows.columns(&schema::remove()?)?;
    // An absent `dataChange` means true in a remove, but a tombstone's is of no consequence.
    let changes = columns.iter().position(|(name, _)| name == "dataChange");
    let changes = changes.map(|index| columns.swap_remove(index).1);
    columns.push(("dataChange".to_owned(), rows.or_false(changes)));
    RemoveBatch::try_new(rows.gather(columns)?)
}

/// The rows of a batch that have one kind of file action.
struct Actions {
    root: &'static str,
    fields: StructArray,
    present: BooleanArray,
}

impl Actions {
    fn find(batch: &RecordBatch, root: &'static str) -> Result<Self> {
        let fields = batch
            .column_by_name(root)
            .and_then(|array| array.as_struct_opt().cloned());
        let fields = fields.ok_or_else(|| corrupt(format!("`{root}` is not a struct")))?;
        let has = |name: &str| {
            fields
                .column_by_name(name)
                .map(|array| valid(&fields, array))
        };
        let path = has("path").ok_or_else(|| corrupt(format!("`{root}` has no `path`")))?;
        // A struct of nulls is no action, a struct without a path but with a size is one that lost its path.
        let lost = has("size").is_some_and(|size| 0 < (&size & &!&path).count_set_bits());
        if lost {
            return Err(corrupt(format!("a row of `{root}` has no path")));
        }
        Ok(Self {
            root,
            fields,
            present: BooleanArray::new(path, None),
        })
    }

    /// Row groups hold actions of any kind: a batch may have none of this one, and then no column of it either.
    fn is_empty(&self) -> bool {
        self.present.true_count() == 0
    }

    /// The known fields in their types; those that are all null are left out.
    fn columns(&self, known: &Schema) -> Result<Vec<(String, ArrayRef)>> {
        let mut columns = Vec::new();
        for field in known.fields() {
            let Some(array) = self.fields.column_by_name(&field.name) else {
                continue;
            };
            if array.null_count() < array.len() || array.is_empty() {
                let name = format!("{}.{}", self.root, field.name);
                columns.push((field.name.clone(), conform(array, &field.data_type, &name)?));
            }
        }
        Ok(columns)
    }

    fn or_false(&self, column: Option<ArrayRef>) -> ArrayRef {
        let column = column.and_then(|array| array.as_boolean_opt().cloned());
        Arc::new(match column {
            Some(array) if array.null_count() == 0 => array,
            Some(array) => array
                .iter()
                .map(|value| Some(value.unwrap_or(false)))
                .collect(),
            None => BooleanArray::new(BooleanBuffer::new_unset(self.fields.len()), None),
        })
    }

    fn gather(&self, columns: Vec<(String, ArrayRef)>) -> Result<RecordBatch> {
        let all = self.present.true_count() == self.present.len();
        let mut fields = Vec::with_capacity(columns.len());
        let mut arrays = Vec::with_capacity(columns.len());
        for (name, array) in columns {
            let array = match all {
                true => array,
                false => {
                    arrow_select::filter::filter(&array, &self.present).map_err(cannot_build)?
                }
            };
            fields.push(ArrowField::new(name, array.data_type().clone(), true));
            arrays.push(array);
        }
        RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), arrays).map_err(cannot_build)
    }
}

/// Where both the struct and its field have a value.
fn valid(fields: &StructArray, field: &ArrayRef) -> BooleanBuffer {
    let of = |array: &dyn Array| match array.nulls() {
        Some(nulls) => nulls.inner().clone(),
        None => BooleanBuffer::new_set(array.len()),
    };
    &of(fields) & &of(field)
}
