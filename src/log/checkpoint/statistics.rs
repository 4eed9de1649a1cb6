//! Statistics of files as columns: `stats_parsed`, to and from JSON, and what may be concluded from it.
//!
//! Bounds only ever get wider on the way: what cannot be carried over becomes unknown.
//!
//! Spec: [Per-file Statistics](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#per-file-statistics).

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, StructArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType as ArrowType, Fields};

use crate::error::Result;
use crate::log::checkpoint::cannot_build;
use crate::log::checkpoint::cells::{booleans, longs, scalars};
use crate::log::checkpoint::schema::{Layout, STATS_PARSED};
use crate::log::files::FileBatch;
use crate::protocol::schema::{PrimitiveType, fold};
use crate::protocol::statistics::{EveryColumn, FileStatistics, widen};
use crate::protocol::value::Scalar;

/// A text shorter than that is whole, and gets no mark when it is read.
const CUT_BYTES: usize = 16;

/// What is known of one column of one file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ColumnSummary {
    /// No value is below it.
    pub(crate) min: Option<Scalar>,
    /// No value but NaN is above it.
    pub(crate) max: Option<Scalar>,
    /// How many rows have no value.
    pub(crate) null_count: Option<u64>,
}

/// Statistics of one column over the files of a batch, from typed columns where the batch has them, else from JSON.
#[derive(Debug)]
pub(crate) struct ColumnReader {
    path: Vec<String>,
    ty: PrimitiveType,
    parsed: Option<Parsed>,
}

impl ColumnReader {
    /// Finds the column of this physical path.
    pub(crate) fn new(batch: &FileBatch, path: &[String], ty: &PrimitiveType) -> Self {
        let parsed = Parsed::find(batch.batch(), path);
        Self {
            path: path.to_vec(),
            ty: ty.clone(),
            parsed,
        }
    }

    /// How many rows a file of the batch has, deleted ones included.
    pub(crate) fn num_records(&self, file: &FileText<'_>) -> Option<u64> {
        let parsed = self.parsed.as_ref();
        let parsed = parsed.and_then(|parsed| parsed.num_records(file.row));
        parsed.or_else(|| file.parsed()?.num_records())
    }

    /// What is known of the column in a file of the batch.
    pub(crate) fn get(&self, file: &FileText<'_>) -> ColumnSummary {
        match &self.parsed {
            Some(parsed) if parsed.is_known(file.row) => parsed.get(file.row, &self.ty),
            _ => file
                .parsed()
                .map(|json| self.of_json(json))
                .unwrap_or_default(),
        }
    }

    fn of_json(&self, json: &FileStatistics<'_>) -> ColumnSummary {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let (min, max) = json.bounds(&path, &self.ty);
        ColumnSummary {
            min,
            max,
            null_count: json.null_count(&path),
        }
    }
}

/// One file of a batch, whose statistics as text are read at most once, however many columns are asked for.
#[derive(Debug)]
pub(crate) struct FileText<'a> {
    batch: &'a FileBatch,
    row: usize,
    parsed: OnceCell<Option<FileStatistics<'a>>>,
}

impl<'a> FileText<'a> {
    /// The file in this row of the batch.
    pub(crate) fn new(batch: &'a FileBatch, row: usize) -> Self {
        Self {
            batch,
            row,
            parsed: OnceCell::new(),
        }
    }

    fn parsed(&self) -> Option<&FileStatistics<'a>> {
        let parse = || self.batch.stats(self.row).and_then(FileStatistics::parse);
        self.parsed.get_or_init(parse).as_ref()
    }
}

/// The arrays of one column in `stats_parsed`.
#[derive(Debug)]
struct Parsed {
    known: Option<NullBuffer>,
    num_records: Option<ArrayRef>,
    tight_bounds: Option<BooleanArray>,
    min: Option<ArrayRef>,
    max: Option<ArrayRef>,
    null_count: Option<ArrayRef>,
}

impl Parsed {
    fn find(batch: &RecordBatch, path: &[String]) -> Option<Self> {
        let stats = batch.column_by_name(STATS_PARSED)?.as_struct_opt()?;
        let below = |root: &str| descend(stats.column_by_name(root)?, path);
        Some(Self {
            known: stats.nulls().cloned(),
            num_records: stats.column_by_name("numRecords").cloned(),
            tight_bounds: stats
                .column_by_name("tightBounds")
                .and_then(|a| a.as_boolean_opt().cloned()),
            min: below("minValues"),
            max: below("maxValues"),
            null_count: below("nullCount"),
        })
    }

    fn is_known(&self, row: usize) -> bool {
        let valid = |nulls: &NullBuffer| row < nulls.len() && nulls.is_valid(row);
        self.known.as_ref().is_none_or(valid)
    }

    fn num_records(&self, row: usize) -> Option<u64> {
        count(self.num_records.as_ref()?, row)
    }

    // The same conclusions as from JSON: what contradicts itself says nothing.
    fn get(&self, row: usize, ty: &PrimitiveType) -> ColumnSummary {
        let rows = self.num_records(row);
        let nulls = self
            .null_count
            .as_ref()
            .and_then(|array| Scalar::from_array(array, row));
        let nulls = match nulls {
            Some(Scalar::Null) | None => None,
            Some(nulls) => {
                match whole(&nulls).filter(|nulls| rows.is_none_or(|rows| *nulls <= rows)) {
                    Some(nulls) => Some(nulls),
                    None => return ColumnSummary::default(),
                }
            }
        };
        let tight = self.tight_bounds.as_ref();
        let tight = tight.is_none_or(|tight| tight.is_null(row) || tight.value(row));
        let null_count = nulls.filter(|nulls| tight || *nulls == 0 || Some(*nulls) == rows);
        let value = |array: &Option<ArrayRef>| typed(Scalar::from_array(array.as_ref()?, row)?, ty);
        let (min, max) = widen(value(&self.min), value(&self.max));
        ColumnSummary {
            min,
            max,
            null_count,
        }
    }
}

fn descend(array: &ArrayRef, path: &[String]) -> Option<ArrayRef> {
    let Some((first, rest)) = path.split_first() else {
        return Some(Arc::clone(array));
    };
    let fields = array.as_struct_opt()?;
    let exact = fields.column_by_name(first);
    let folded = || {
        let name = fold(first);
        let index = fields
            .column_names()
            .iter()
            .position(|other| fold(other) == name)?;
        fields.columns().get(index)
    };
    descend(exact.or_else(folded)?, rest)
}

fn count(array: &ArrayRef, row: usize) -> Option<u64> {
    whole(&Scalar::from_array(array, row)?)
}

fn whole(count: &Scalar) -> Option<u64> {
    match count {
        Scalar::Long(count) => u64::try_from(*count).ok(),
        Scalar::Integer(count) => u64::try_from(*count).ok(),
        _ => None,
    }
}

/// A bound as a value that compares with values of the column, though older files may have had another type and
/// writers differ in how they mark time zones.
fn typed(bound: Scalar, ty: &PrimitiveType) -> Option<Scalar> {
    match (bound, ty) {
        (Scalar::Null, _) => None,
        (Scalar::Timestamp(micros) | Scalar::TimestampNtz(micros), PrimitiveType::Timestamp) => {
            Some(Scalar::Timestamp(micros))
        }
        (Scalar::TimestampNtz(micros), PrimitiveType::TimestampNtz) => {
            Some(Scalar::TimestampNtz(micros))
        }
        (bound, ty) => same_kind(&bound, ty).then_some(bound),
    }
}

fn same_kind(bound: &Scalar, ty: &PrimitiveType) -> bool {
    use PrimitiveType as Type;
    match bound {
        Scalar::Byte(_) | Scalar::Short(_) | Scalar::Integer(_) | Scalar::Long(_) => {
            matches!(
                ty,
                Type::Byte | Type::Short | Type::Integer | Type::Long | Type::Decimal { .. }
            )
        }
        Scalar::Decimal { .. } => matches!(ty, Type::Decimal { .. }),
        Scalar::Float(_) => matches!(ty, Type::Float | Type::Double),
        Scalar::Double(_) => matches!(ty, Type::Double),
        Scalar::String(_) => matches!(ty, Type::String),
        Scalar::Date(_) => matches!(ty, Type::Date),
        _ => false,
    }
}

/// The `stats_parsed` column of files, from their statistics as JSON.
///
/// Times are let out as their readers do it, because a column no longer says with how many digits they were written. So
/// they bound even for readers who take them at their word.
pub(super) fn parse<'a>(
    stats: impl Iterator<Item = Option<&'a str>>,
    layout: &Layout,
    fields: &Fields,
) -> Result<ArrayRef> {
    let mut stats: Vec<Option<EveryColumn<'_>>> = stats
        .map(|text| text.and_then(FileStatistics::parse).map(EveryColumn::of))
        .collect();
    let number = |count: Option<u64>| count.and_then(|count| i64::try_from(count).ok());
    let mut columns: BTreeMap<Vec<String>, ArrayRef> = BTreeMap::new();
    let files = || {
        stats
            .iter()
            .map(|stats| stats.as_ref().map(EveryColumn::file))
    };
    let rows = files().map(|file| number(file?.num_records()));
    columns.insert(vec!["numRecords".to_owned()], longs(rows));
    let tight = files().map(|file| Some(file?.tight_bounds()));
    columns.insert(vec!["tightBounds".to_owned()], booleans(tight));
    let known: Vec<bool> = stats.iter().map(Option::is_some).collect();
    for (leaf, ty) in layout.leaves() {
        let path: Vec<&str> = leaf.iter().map(String::as_str).collect();
        let below = |root: &str| {
            let root = std::iter::once(root.to_owned());
            root.chain(leaf.iter().cloned()).collect()
        };
        let (mut min, mut max, mut nulls) = (Vec::new(), Vec::new(), Vec::new());
        for stats in &mut stats {
            let column = stats.as_mut().map(|stats| stats.column(&path, ty.as_ref()));
            let ((least, greatest), null_count) = column.unwrap_or_default();
            min.push(least);
            max.push(greatest.map(as_written));
            nulls.push(number(null_count));
        }
        columns.insert(below("nullCount"), longs(nulls));
        if let Some(ty) = ty {
            columns.insert(below("minValues"), scalars(&ty, &min)?);
            columns.insert(below("maxValues"), scalars(&ty, &max)?);
        }
    }
    assemble(fields, &mut Vec::new(), &columns, Some(known.into()))
}

/// Takes back the mark that reading puts after a long text; else it would grow from checkpoint to checkpoint.
fn as_written(max: Scalar) -> Scalar {
    match max {
        Scalar::String(mut text) => {
            let marked = text.strip_suffix(char::MAX).map(str::len);
            if let Some(length) = marked.filter(|length| CUT_BYTES <= *length) {
                text.truncate(length);
            }
            Scalar::String(text)
        }
        other => other,
    }
}

fn assemble(
    fields: &Fields,
    path: &mut Vec<String>,
    columns: &BTreeMap<Vec<String>, ArrayRef>,
    known: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let mut arrays = Vec::with_capacity(fields.len());
    for field in fields {
        path.push(field.name().clone());
        arrays.push(match field.data_type() {
            ArrowType::Struct(inner) => assemble(inner, path, columns, None)?,
            _ => columns
                .get(path)
                .cloned()
                .ok_or_else(|| cannot_build("a column is missing"))?,
        });
        path.pop();
    }
    let array = StructArray::try_new(fields.clone(), arrays, known).map_err(cannot_build)?;
    Ok(Arc::new(array))
}

/// Statistics as JSON, from a `stats_parsed` column of any shape; null where nothing is known.
///
/// `instants` are the columns whose times are in UTC: older writers keep them in Parquet types that do not say so.
pub(super) fn to_json(
    stats: &StructArray,
    instants: &BTreeSet<Vec<String>>,
) -> Vec<Option<String>> {
    let mut path = Vec::new();
    let mut text = |row| {
        row_to_json(
            stats,
            row,
            &mut Place {
                instants,
                path: &mut path,
            },
        )
    };
    (0..stats.len())
        .map(|row| if stats.is_valid(row) { text(row) } else { None })
        .collect()
}

/// Where in the schema a value is.
struct Place<'a> {
    instants: &'a BTreeSet<Vec<String>>,
    path: &'a mut Vec<String>,
}

fn row_to_json(stats: &StructArray, row: usize, place: &mut Place<'_>) -> Option<String> {
    let mut out = String::from("{");
    let column = |name: &str| stats.column_by_name(name);
    if let Some(rows) = column("numRecords").and_then(|array| count(array, row)) {
        push_member(&mut out, "numRecords", &rows.to_string());
    }
    for bounds in ["minValues", "maxValues", "nullCount"] {
        if let Some(value) = column(bounds).and_then(|array| value_to_json(array, row, place)) {
            push_member(&mut out, bounds, &value);
        }
    }
    let tight = column("tightBounds").and_then(|array| array.as_boolean_opt());
    if let Some(tight) = tight.filter(|array| array.is_valid(row)) {
        push_member(&mut out, "tightBounds", &tight.value(row).to_string());
    }
    out.push('}');
    (out != "{}").then_some(out)
}

fn value_to_json(array: &ArrayRef, row: usize, place: &mut Place<'_>) -> Option<String> {
    let Some(fields) = array.as_struct_opt() else {
        return match Scalar::from_array(array, row)? {
            Scalar::TimestampNtz(micros) if place.instants.contains(place.path) => {
                Scalar::Timestamp(micros).to_statistics()
            }
            other => other.to_statistics(),
        };
    };
    if fields.is_null(row) {
        return None;
    }
    let mut out = String::from("{");
    for (name, array) in fields.column_names().into_iter().zip(fields.columns()) {
        place.path.push(name.to_owned());
        if let Some(value) = value_to_json(array, row, place) {
            push_member(&mut out, name, &value);
        }
        place.path.pop();
    }
    out.push('}');
    (out != "{}").then_some(out)
}

fn push_member(out: &mut String, name: &str, value: &str) {
    if !out.ends_with('{') {
        out.push(',');
    }
    out.push_str(&serde_json::Value::from(name).to_string());
    out.push(':');
    out.push_str(value);
}
