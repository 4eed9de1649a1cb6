//! What the statistics inside a Parquet file say about the columns of a predicate.
//!
//! They are another writer's word, so they are taken only where they are sound for the order in which rows compare:
//! none for 96-bit timestamps, unsigned and other foreign types; of the old kind, which no order was defined for, only
//! those of signed numbers; none whose minimum exceeds its maximum; and never as the last word on NaN, which they skip.
//!
//! Spec: [column order and statistics](https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use arrow_schema::{DataType as ArrowType, TimeUnit};
use parquet::basic::{ColumnOrder, Type as Physical};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics;

use crate::predicate::{BoundColumn, Bounds, ColumnBounds};
use crate::protocol::schema::PrimitiveType;
use crate::protocol::value::Scalar;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Where a column of a predicate is.
#[derive(Debug, Clone)]
pub(super) enum Known {
    /// It has this value in all rows of the file.
    Constant(Scalar),
    /// It is null in all rows of the file.
    Missing,
    /// It is this leaf.
    Leaf(Leaf),
    /// Its statistics cannot be used.
    Opaque,
}

/// One column without parts, in a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Leaf {
    /// Which Parquet column.
    pub(super) index: usize,
    /// The type that it decodes to.
    pub(super) arrow: ArrowType,
}

/// The columns of a predicate in one file, by path.
pub(super) type KnownColumns = BTreeMap<Vec<String>, Known>;

/// Rows of one row group of one file: all of them, or those of an interval of pages.
pub(super) struct RowBounds<'a> {
    pub(super) metadata: &'a ParquetMetaData,
    pub(super) columns: &'a KnownColumns,
    pub(super) row_group: usize,
    pub(super) rows: u64,
    /// For each leaf, the page that holds the rows; without it, all rows of the row group are meant.
    pub(super) pages: Option<&'a BTreeMap<usize, Page>>,
}

/// A page of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) index: usize,
    pub(super) rows: u64,
}

impl Bounds for RowBounds<'_> {
    fn rows(&self) -> Option<u64> {
        Some(self.rows)
    }

    fn column(&self, column: &BoundColumn) -> ColumnBounds {
        match self.columns.get(&column.path) {
            None | Some(Known::Opaque) => ColumnBounds::unknown(),
            Some(Known::Constant(value)) => ColumnBounds::constant(value.clone()),
            Some(Known::Missing) => ColumnBounds::constant(Scalar::Null),
            Some(Known::Leaf(leaf)) => {
                let target = &column.data_type;
                let found = match self.pages {
                    None => self.of_group(leaf, target),
                    Some(pages) => pages
                        .get(&leaf.index)
                        .and_then(|page| self.of_page(leaf, target, *page)),
                };
                found.unwrap_or_else(ColumnBounds::unknown)
            }
        }
    }
}

impl RowBounds<'_> {
    fn of_group(&self, leaf: &Leaf, target: &PrimitiveType) -> Option<ColumnBounds> {
        let chunk = self
            .metadata
            .row_groups()
            .get(self.row_group)?
            .columns()
            .get(leaf.index)?;
        let statistics = chunk.statistics()?;
        let null_count = statistics
            .null_count_opt()
            .filter(|nulls| *nulls <= self.rows);
        let order = self.order(leaf.index, statistics.is_min_max_deprecated());
        let (min, max) = match order {
            true => of_statistics(statistics),
            false => (None, None),
        };
        Some(bounds(leaf, target, (min, max), null_count))
    }

    fn of_page(&self, leaf: &Leaf, target: &PrimitiveType, page: Page) -> Option<ColumnBounds> {
        let index = page_bounds(self.metadata, self.row_group, leaf.index)?;
        if u64::try_from(page.index).ok()? >= index.num_pages() {
            return None;
        }
        let nulls = index
            .null_counts()
            .and_then(|counts| counts.get(page.index));
        let nulls = nulls.and_then(|nulls| u64::try_from(*nulls).ok());
        // The rows are some of the page's: its null count says something of them if it is none or all.
        let null_count = match nulls {
            _ if index.is_null_page(page.index) => Some(self.rows),
            Some(0) => Some(0),
            Some(nulls) if nulls == page.rows => Some(self.rows),
            _ => None,
        };
        let (min, max) = match self.order(leaf.index, false) {
            true => of_index(index, page.index),
            false => (None, None),
        };
        Some(bounds(leaf, target, (min, max), null_count))
    }

    /// Whether bounds of this leaf are by the order of its type.
    fn order(&self, leaf: usize, old_kind: bool) -> bool {
        let orders = self.metadata.file_metadata().column_orders();
        let order = orders.and_then(|orders| orders.get(leaf)).copied();
        let physical = self
            .metadata
            .file_metadata()
            .schema_descr()
            .columns()
            .get(leaf);
        let is_number = physical.is_some_and(|leaf| {
            matches!(
                leaf.physical_type(),
                Physical::BOOLEAN
                    | Physical::INT32
                    | Physical::INT64
                    | Physical::FLOAT
                    | Physical::DOUBLE
            )
        });
        match order {
            Some(ColumnOrder::TYPE_DEFINED_ORDER(_)) => !old_kind || is_number,
            Some(ColumnOrder::UNKNOWN) => false,
            Some(ColumnOrder::UNDEFINED) | None => is_number,
        }
    }
}

/// A bound as it is stored.
enum Raw<'a> {
    Boolean(bool),
    Int32(i32),
    Int64(i64),
    Float(f32),
    Double(f64),
    Bytes(&'a [u8]),
}

/// The bounds of the pages of a leaf; `None` where the file has none, of which one may not even ask the number.
pub(super) fn page_bounds(
    metadata: &ParquetMetaData,
    row_group: usize,
    leaf: usize,
) -> Option<&ColumnIndexMetaData> {
    let index = metadata.column_index()?.get(row_group)?.get(leaf)?;
    (!matches!(index, ColumnIndexMetaData::NONE)).then_some(index)
}

type RawPair<'a> = (Option<Raw<'a>>, Option<Raw<'a>>);

fn of_statistics(statistics: &Statistics) -> RawPair<'_> {
    match statistics {
        Statistics::Boolean(it) => (
            it.min_opt().copied().map(Raw::Boolean),
            it.max_opt().copied().map(Raw::Boolean),
        ),
        Statistics::Int32(it) => (
            it.min_opt().copied().map(Raw::Int32),
            it.max_opt().copied().map(Raw::Int32),
        ),
        Statistics::Int64(it) => (
            it.min_opt().copied().map(Raw::Int64),
            it.max_opt().copied().map(Raw::Int64),
        ),
        Statistics::Float(it) => (
            it.min_opt().copied().map(Raw::Float),
            it.max_opt().copied().map(Raw::Float),
        ),
        Statistics::Double(it) => (
            it.min_opt().copied().map(Raw::Double),
            it.max_opt().copied().map(Raw::Double),
        ),
        Statistics::ByteArray(it) => (
            it.min_bytes_opt().map(Raw::Bytes),
            it.max_bytes_opt().map(Raw::Bytes),
        ),
        Statistics::FixedLenByteArray(it) => (
            it.min_bytes_opt().map(Raw::Bytes),
            it.max_bytes_opt().map(Raw::Bytes),
        ),
        Statistics::Int96(_) => (None, None),
    }
}

fn of_index(index: &ColumnIndexMetaData, page: usize) -> RawPair<'_> {
    use ColumnIndexMetaData as Index;
    match index {
        Index::BOOLEAN(it) => (
            it.min_value(page).copied().map(Raw::Boolean),
            it.max_value(page).copied().map(Raw::Boolean),
        ),
        Index::INT32(it) => (
            it.min_value(page).copied().map(Raw::Int32),
            it.max_value(page).copied().map(Raw::Int32),
        ),
        Index::INT64(it) => (
            it.min_value(page).copied().map(Raw::Int64),
            it.max_value(page).copied().map(Raw::Int64),
        ),
        Index::FLOAT(it) => (
            it.min_value(page).copied().map(Raw::Float),
            it.max_value(page).copied().map(Raw::Float),
        ),
        Index::DOUBLE(it) => (
            it.min_value(page).copied().map(Raw::Double),
            it.max_value(page).copied().map(Raw::Double),
        ),
        Index::BYTE_ARRAY(it) | Index::FIXED_LEN_BYTE_ARRAY(it) => (
            it.min_value(page).map(Raw::Bytes),
            it.max_value(page).map(Raw::Bytes),
        ),
        Index::NONE | Index::INT96(_) => (None, None),
    }
}

fn bounds(
    leaf: &Leaf,
    target: &PrimitiveType,
    (min, max): RawPair<'_>,
    null_count: Option<u64>,
) -> ColumnBounds {
    let min = min.and_then(|raw| raw.scalar(&leaf.arrow, target, Side::Min));
    let max = max.and_then(|raw| raw.scalar(&leaf.arrow, target, Side::Max));
    let contradict = match (&min, &max) {
        (Some(min), Some(max)) => matches!(min.compare(max), None | Some(Ordering::Greater)),
        _ => false,
    };
    let (min, max) = if contradict { (None, None) } else { (min, max) };
    let nan_possible = matches!(target, PrimitiveType::Float | PrimitiveType::Double)
        && matches!(
            leaf.arrow,
            ArrowType::Float16 | ArrowType::Float32 | ArrowType::Float64
        );
    ColumnBounds {
        min,
        max,
        null_count,
        exact: false,
        nan_possible,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Min,
    Max,
}

impl Raw<'_> {
    /// The bound as a value of the table's type; `None` where that might not be a bound.
    fn scalar(self, file: &ArrowType, target: &PrimitiveType, side: Side) -> Option<Scalar> {
        use PrimitiveType as P;
        match (file, self) {
            (ArrowType::Boolean, Self::Boolean(value)) if *target == P::Boolean => {
                Some(Scalar::Boolean(value))
            }
            (ArrowType::Int8 | ArrowType::Int16 | ArrowType::Int32, Self::Int32(value)) => {
                integer(i64::from(value), target)
            }
            (ArrowType::Int64, Self::Int64(value)) => integer(value, target),
            (ArrowType::Float32, Self::Float(value)) if !value.is_nan() => match target {
                P::Float => Some(Scalar::Float(value)),
                P::Double => Some(Scalar::Double(f64::from(value))),
                _ => None,
            },
            (ArrowType::Float64, Self::Double(value))
                if !value.is_nan() && *target == P::Double =>
            {
                Some(Scalar::Double(value))
            }
            (ArrowType::Date32, Self::Int32(days)) => match target {
                P::Date => Some(Scalar::Date(days)),
                P::TimestampNtz => i64::from(days)
                    .checked_mul(MICROS_PER_DAY)
                    .map(Scalar::TimestampNtz),
                _ => None,
            },
            (ArrowType::Timestamp(unit, _), Self::Int64(value)) => {
                let micros = match unit {
                    TimeUnit::Second => value.checked_mul(1_000_000)?,
                    TimeUnit::Millisecond => value.checked_mul(1000)?,
                    TimeUnit::Microsecond => value,
                    // Reading cuts in the same way, so order is kept.
                    TimeUnit::Nanosecond => value.div_euclid(1000),
                };
                match target {
                    P::Timestamp => Some(Scalar::Timestamp(micros)),
                    P::TimestampNtz => Some(Scalar::TimestampNtz(micros)),
                    _ => None,
                }
            }
            (&ArrowType::Decimal128(precision, scale), raw) => {
                raw.decimal(precision, scale, target)
            }
            (ArrowType::Utf8 | ArrowType::Binary, Self::Bytes(bytes)) => match target {
                P::String => text(bytes, side).map(Scalar::String),
                P::Binary => Some(Scalar::Binary(bytes.to_vec())),
                _ => None,
            },
            _ => None,
        }
    }

    fn decimal(&self, precision: u8, scale: i8, target: &PrimitiveType) -> Option<Scalar> {
        let PrimitiveType::Decimal { .. } = target else {
            return None;
        };
        let unscaled = match self {
            Self::Int32(value) => i128::from(*value),
            Self::Int64(value) => i128::from(*value),
            Self::Bytes(bytes) => big_endian(bytes)?,
            Self::Boolean(_) | Self::Float(_) | Self::Double(_) => return None,
        };
        Some(Scalar::Decimal {
            unscaled,
            precision,
            scale: u8::try_from(scale).ok()?,
        })
    }
}

fn integer(value: i64, target: &PrimitiveType) -> Option<Scalar> {
    Some(match target {
        PrimitiveType::Byte => Scalar::Byte(i8::try_from(value).ok()?),
        PrimitiveType::Short => Scalar::Short(i16::try_from(value).ok()?),
        PrimitiveType::Integer => Scalar::Integer(i32::try_from(value).ok()?),
        PrimitiveType::Long => Scalar::Long(value),
        PrimitiveType::Double => Scalar::Double(f64::from(i32::try_from(value).ok()?)),
        PrimitiveType::Decimal { .. } => Scalar::Decimal {
            unscaled: i128::from(value),
            precision: 19,
            scale: 0,
        },
        _ => return None,
    })
}

/// A signed number of up to 16 bytes.
fn big_endian(bytes: &[u8]) -> Option<i128> {
    let fill = match bytes.first() {
        Some(first) if first & 0x80 != 0 => 0xff,
        Some(_) => 0,
        None => return None,
    };
    let mut wide = [fill; 16];
    let start = wide.len().checked_sub(bytes.len())?;
    for (to, from) in wide.iter_mut().skip(start).zip(bytes) {
        *to = *from;
    }
    Some(i128::from_be_bytes(wide))
}

/// Bounds may be cut within a character: what is left of a minimum is still one, of a maximum not.
fn text(bytes: &[u8], side: Side) -> Option<String> {
    match (std::str::from_utf8(bytes), side) {
        (Ok(text), _) => Some(text.to_owned()),
        (Err(error), Side::Min) => {
            let whole = bytes.get(..error.valid_up_to())?;
            std::str::from_utf8(whole).ok().map(str::to_owned)
        }
        (Err(_), Side::Max) => None,
    }
}
