//! Statistics of a data file: read as far as asked, made sound for pruning; and written.
//!
//! A bound that is read here may be wider than what the file says, never narrower, and whatever looks odd is unknown:
//! pruning by it may keep a file needlessly but never lose a row.
//!
//! Spec: [Per-file Statistics](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#per-file-statistics).

use std::cmp::Ordering;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::protocol::json::{JSON_DEPTH_MAX, depth_within};
use crate::protocol::schema::PrimitiveType;
use crate::protocol::value::Scalar;

mod decimal;
mod every;
mod write;

pub(crate) use every::EveryColumn;
pub use write::StatisticsBuilder;

#[cfg(test)]
mod tests;

/// How many bytes of JSON statistics may be; more are not read.
pub const STATISTICS_BYTES_MAX: usize = 16 << 20;

/// Text bounds keep milliseconds of a time that has microseconds.
const CUT_MICROS: i64 = 999;
/// A text of fewer bytes is whole: no writer cuts earlier.
const CUT_BYTES: usize = 16;
/// Offsets in old zones have seconds, which some writers dropped.
const ZONE_MICROS: i64 = 60_000_000;
/// 1973-01-01: by then every zone was whole minutes from UTC.
const WHOLE_ZONES_FROM: i64 = 94_694_400_000_000;

/// The statistics of one file, over the JSON text that they stand in.
///
/// Columns are named by their physical paths.
///
/// ```
/// use headwater::protocol::schema::PrimitiveType;
/// use headwater::protocol::statistics::FileStatistics;
/// use headwater::protocol::value::Scalar;
/// let json = r#"{"numRecords":3,"minValues":{"a":{"b":1}},"maxValues":{"a":{"b":9}},"nullCount":{"a":{"b":0}}}"#;
/// let statistics = FileStatistics::parse(json).unwrap();
/// assert_eq!(statistics.max(&["a", "b"], &PrimitiveType::Long), Some(Scalar::Long(9)));
/// assert_eq!(statistics.max(&["c"], &PrimitiveType::Long), None);
/// ```
#[derive(Debug, Clone)]
pub struct FileStatistics<'a> {
    num_records: Option<u64>,
    tight_bounds: bool,
    min_values: Option<&'a RawValue>,
    max_values: Option<&'a RawValue>,
    null_count: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Top<'a> {
    #[serde(borrow)]
    num_records: Option<&'a RawValue>,
    #[serde(borrow)]
    tight_bounds: Option<&'a RawValue>,
    #[serde(borrow)]
    min_values: Option<&'a RawValue>,
    #[serde(borrow)]
    max_values: Option<&'a RawValue>,
    #[serde(borrow)]
    null_count: Option<&'a RawValue>,
}

impl<'a> FileStatistics<'a> {
    /// Reads the outline of the JSON; `None` if it is no JSON object, or one that is too large or too deep.
    pub fn parse(json: &'a str) -> Option<Self> {
        if STATISTICS_BYTES_MAX < json.len() || !depth_within(json.as_bytes(), JSON_DEPTH_MAX) {
            return None;
        }
        let top: Top<'a> = serde_json::from_str(json).ok()?;
        Some(Self {
            num_records: top.num_records.and_then(count),
            // What is not clearly tight is wide.
            tight_bounds: top
                .tight_bounds
                .is_none_or(|raw| matches!(raw.get(), "true" | "null")),
            min_values: top.min_values,
            max_values: top.max_values,
            null_count: top.null_count,
        })
    }

    /// How many rows the file has, deleted ones included.
    pub fn num_records(&self) -> Option<u64> {
        self.num_records
    }

    /// Whether bounds are those of the rows that are not deleted. Wide bounds are bounds nonetheless, but they answer
    /// no question for the least or greatest value.
    pub fn tight_bounds(&self) -> bool {
        self.tight_bounds
    }

    /// No value of the column that is not null is less.
    pub fn min(&self, path: &[&str], ty: &PrimitiveType) -> Option<Scalar> {
        self.bounds(path, ty).0
    }

    /// No value of the column that is not null is greater, except that a NaN may be: see [`nan_possible`].
    pub fn max(&self, path: &[&str], ty: &PrimitiveType) -> Option<Scalar> {
        self.bounds(path, ty).1
    }

    /// [`min`](Self::min) and [`max`](Self::max).
    pub fn bounds(&self, path: &[&str], ty: &PrimitiveType) -> (Option<Scalar>, Option<Scalar>) {
        let written = Written {
            min: self.min_values.and_then(|values| find(values, path)),
            max: self.max_values.and_then(|values| find(values, path)),
            nulls: self.null_count.and_then(|values| find(values, path)),
        };
        self.bounds_of(&written, ty)
    }

    /// How many values of the column are null. With wide bounds known only if none or all are.
    pub fn null_count(&self, path: &[&str]) -> Option<u64> {
        let nulls = self.null_count.and_then(|values| find(values, path));
        self.nulls_of(nulls).known()
    }

    fn bounds_of(
        &self,
        written: &Written<'a>,
        ty: &PrimitiveType,
    ) -> (Option<Scalar>, Option<Scalar>) {
        if matches!(self.nulls_of(written.nulls), Nulls::Odd) {
            return (None, None);
        }
        let read = |raw: Option<&'a RawValue>| {
            let raw = raw?;
            let bound = Scalar::from_statistics(raw.get(), ty)?;
            let bound = match ty {
                PrimitiveType::Decimal { scale, .. } => decimal::at_scale(bound, *scale),
                _ => bound,
            };
            Some((bound, is_offset_time(raw.get(), ty)))
        };
        let (min, max) = (read(written.min), read(written.max));
        let offset =
            |bound: &Option<(Scalar, bool)>| bound.as_ref().is_some_and(|(_, offset)| *offset);
        let old_zone = offset(&min) || offset(&max);
        let (min, max) = widen(min.map(|(min, _)| min), max.map(|(max, _)| max));
        if old_zone {
            return (
                min.map(|min| shift(min, -ZONE_MICROS)),
                max.map(|max| shift(max, ZONE_MICROS)),
            );
        }
        (min, max)
    }

    fn nulls_of(&self, raw: Option<&RawValue>) -> Nulls {
        let Some(raw) = raw else {
            return Nulls::Unknown;
        };
        match (count(raw), self.num_records) {
            (None, _) if raw.get() == "null" => Nulls::Unknown,
            (None, _) => Nulls::Odd,
            (Some(nulls), Some(rows)) if rows < nulls => Nulls::Odd,
            (Some(nulls), rows) if self.tight_bounds || nulls == 0 || rows == Some(nulls) => {
                Nulls::Exactly(nulls)
            }
            (Some(_), _) => Nulls::Unknown,
        }
    }
}

/// What stands in the JSON for one column.
struct Written<'a> {
    min: Option<&'a RawValue>,
    max: Option<&'a RawValue>,
    nulls: Option<&'a RawValue>,
}

impl Nulls {
    fn known(&self) -> Option<u64> {
        match self {
            Self::Exactly(count) => Some(*count),
            Self::Unknown | Self::Odd => None,
        }
    }
}

enum Nulls {
    Exactly(u64),
    Unknown,
    /// More than there are rows, or no count at all: then nothing of the column is to be trusted.
    Odd,
}

/// Whether a column of this type may hold NaN although its upper bound is less: several writers leave NaN out of
/// bounds, but in the order of rows it exceeds every number.
pub fn nan_possible(ty: &PrimitiveType) -> bool {
    matches!(ty, PrimitiveType::Float | PrimitiveType::Double)
}

/// Bounds as they were written, made sound: those of times, long texts and long decimals are let out by what writers cut
/// off, and bounds that are NaN or contradict each other are unknown. For bounds that stand in columns of a checkpoint as for those in JSON.
pub fn widen(min: Option<Scalar>, max: Option<Scalar>) -> (Option<Scalar>, Option<Scalar>) {
    let known = |bound: &Scalar| match bound {
        Scalar::Null => false,
        Scalar::Float(value) => !value.is_nan(),
        Scalar::Double(value) => !value.is_nan(),
        _ => true,
    };
    let (min, max) = (min.filter(known), max.filter(known));
    if let (Some(least), Some(greatest)) = (&min, &max)
        && !matches!(
            least.compare(greatest),
            Some(Ordering::Less | Ordering::Equal)
        )
    {
        return (None, None);
    }
    let min = min.and_then(|min| decimal::let_out(min, decimal::Side::Below));
    let max = max.and_then(|max| decimal::let_out(max, decimal::Side::Above));
    let is_cut = |micros: i64| micros % 1000 == 0;
    let min = min.map(|min| match min {
        // Cut towards zero, a time before the epoch came out later.
        Scalar::Timestamp(micros) | Scalar::TimestampNtz(micros)
            if micros < 0 && is_cut(micros) =>
        {
            shift(min, -CUT_MICROS)
        }
        min => min,
    });
    let max = max.map(|max| match max {
        Scalar::Timestamp(micros) | Scalar::TimestampNtz(micros) if is_cut(micros) => {
            shift(max, CUT_MICROS)
        }
        // Some writers cut a long text without marking that more may follow.
        Scalar::String(mut text) if CUT_BYTES <= text.len() => {
            text.push(char::MAX);
            Scalar::String(text)
        }
        max => max,
    });
    (min, max)
}

fn shift(bound: Scalar, micros: i64) -> Scalar {
    match bound {
        Scalar::Timestamp(value) => Scalar::Timestamp(value.saturating_add(micros)),
        Scalar::TimestampNtz(value) => Scalar::TimestampNtz(value.saturating_add(micros)),
        other => other,
    }
}

/// Whether a time stands there with an offset from UTC that may be cut to minutes.
fn is_offset_time(json: &str, ty: &PrimitiveType) -> bool {
    let old = || match Scalar::from_statistics(json, ty) {
        Some(Scalar::Timestamp(micros)) => micros < WHOLE_ZONES_FROM,
        _ => false,
    };
    *ty == PrimitiveType::Timestamp && !json.trim_end_matches('"').ends_with(['Z', 'z']) && old()
}

fn count(raw: &RawValue) -> Option<u64> {
    // Counts are signed in other engines; what exceeds that is no count.
    serde_json::from_str::<i64>(raw.get()).ok()?.try_into().ok()
}

/// The value at `path` of nested objects; `None` if there is none, or two.
fn find<'a>(object: &'a RawValue, path: &[&str]) -> Option<&'a RawValue> {
    path.iter().try_fold(object, |object, name| {
        let mut deserializer = serde_json::Deserializer::from_str(object.get());
        Find(name).deserialize(&mut deserializer).ok().flatten()
    })
}

/// Looks for one key of an object and skips the values of all others.
struct Find<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_it) = map.next_key_seed(Is(self.0))? {
            if !is_it {
                map.next_value::<IgnoredAny>()?;
            } else if found.replace(map.next_value()?).is_some() {
                return Err(A::Error::custom("a key stands there twice"));
            }
        }
        Ok(found)
    }
}

/// Whether a key is the one looked for.
struct Is<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}
