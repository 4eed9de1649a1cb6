//! One typed value: its order, its text as a partition value, its JSON as a bound in statistics, its place in an array.
//!
//! Spec: [Partition Value Serialization](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#partition-value-serialization),
//! [Per-file Statistics](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#per-file-statistics).

use std::cmp::Ordering;

use arrow_buffer::i256;

use crate::protocol::schema::PrimitiveType;

mod array;
mod text;

#[cfg(test)]
mod tests;

/// One value of a primitive type.
///
/// `==` compares what is stored (so NaN differs from itself, and `1` from `1.0`); [`compare`](Self::compare) compares
/// as rows compare.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// No value, of any type.
    Null,
    /// A boolean.
    Boolean(bool),
    /// 8 bits.
    Byte(i8),
    /// 16 bits.
    Short(i16),
    /// 32 bits.
    Integer(i32),
    /// 64 bits.
    Long(i64),
    /// 32-bit floating point.
    Float(f32),
    /// 64-bit floating point.
    Double(f64),
    /// `unscaled / 10^scale`.
    Decimal {
        /// The digits as one integer.
        unscaled: i128,
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// Text.
    String(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// Days since the epoch.
    Date(i32),
    /// Microseconds since the epoch, UTC.
    Timestamp(i64),
    /// Microseconds since the epoch, no time zone.
    TimestampNtz(i64),
}

impl Scalar {
    /// Whether this is [`Scalar::Null`].
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The type of the value; `None` for null, which is of any type.
    pub fn data_type(&self) -> Option<PrimitiveType> {
        Some(match self {
            Self::Null => return None,
            Self::Boolean(_) => PrimitiveType::Boolean,
            Self::Byte(_) => PrimitiveType::Byte,
            Self::Short(_) => PrimitiveType::Short,
            Self::Integer(_) => PrimitiveType::Integer,
            Self::Long(_) => PrimitiveType::Long,
            Self::Float(_) => PrimitiveType::Float,
            Self::Double(_) => PrimitiveType::Double,
            &Self::Decimal {
                precision, scale, ..
            } => PrimitiveType::Decimal { precision, scale },
            Self::String(_) => PrimitiveType::String,
            Self::Binary(_) => PrimitiveType::Binary,
            Self::Date(_) => PrimitiveType::Date,
            Self::Timestamp(_) => PrimitiveType::Timestamp,
            Self::TimestampNtz(_) => PrimitiveType::TimestampNtz,
        })
    }

    /// The order of rows, as Spark has it: NaN equals NaN and exceeds every other number, `-0.0` equals `0.0`, text
    /// and bytes compare byte by byte. Integers and decimals compare by their exact values; beside a float of either
    /// width they are the doubles nearest to them.
    ///
    /// `None` if a side is null, or if values of the two types have no order between them.
    ///
    /// ```
    /// use std::cmp::Ordering;
    /// use headwater::protocol::value::Scalar;
    /// assert_eq!(Scalar::Double(f64::NAN).compare(&Scalar::Double(f64::INFINITY)), Some(Ordering::Greater));
    /// assert_eq!(Scalar::Integer(7).compare(&Scalar::Long(7)), Some(Ordering::Equal));
    /// assert_eq!(Scalar::Long((1 << 53) + 1).compare(&Scalar::Double(2_f64.powi(53))), Some(Ordering::Equal));
    /// assert_eq!(Scalar::Integer(7).compare(&Scalar::Null), None);
    /// ```
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Boolean(a), Self::Boolean(b)) => Some(a.cmp(b)),
            (Self::String(a), Self::String(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
            (Self::Binary(a), Self::Binary(b)) => Some(a.cmp(b)),
            (Self::Date(a), Self::Date(b)) => Some(a.cmp(b)),
            (Self::Timestamp(a), Self::Timestamp(b))
            | (Self::TimestampNtz(a), Self::TimestampNtz(b)) => Some(a.cmp(b)),
            _ => match (self.number()?, other.number()?) {
                (Number::Binary(a), Number::Binary(b)) => Some(compare_floats(a, b)),
                (Number::Decimal(a), Number::Decimal(b)) => compare_decimals(a, b),
                (Number::Decimal(a), Number::Binary(b)) => Some(compare_floats(a.nearest()?, b)),
                (Number::Binary(a), Number::Decimal(b)) => Some(compare_floats(a, b.nearest()?)),
            },
        }
    }

    fn number(&self) -> Option<Number> {
        Some(match *self {
            Self::Byte(value) => Number::whole(value),
            Self::Short(value) => Number::whole(value),
            Self::Integer(value) => Number::whole(value),
            Self::Long(value) => Number::whole(value),
            Self::Float(value) => Number::Binary(f64::from(value)),
            Self::Double(value) => Number::Binary(value),
            Self::Decimal {
                unscaled, scale, ..
            } => Number::Decimal(Decimal { unscaled, scale }),
            _ => return None,
        })
    }
}

enum Number {
    Decimal(Decimal),
    Binary(f64),
}

impl Number {
    fn whole(value: impl Into<i128>) -> Self {
        Self::Decimal(Decimal {
            unscaled: value.into(),
            scale: 0,
        })
    }
}

#[derive(Clone, Copy)]
struct Decimal {
    unscaled: i128,
    scale: u8,
}

impl Decimal {
    fn nearest(self) -> Option<f64> {
        nearest_double(self.unscaled, self.scale)
    }
}

/// The double nearest to `unscaled / 10^scale`.
pub(crate) fn nearest_double(unscaled: i128, scale: u8) -> Option<f64> {
    if scale == 0 {
        #[expect(clippy::as_conversions, reason = "rounds to the nearest, ties to even")]
        return Some(unscaled as f64);
    }
    format!("{unscaled}e-{scale}").parse().ok()
}

fn compare_floats(a: f64, b: f64) -> Ordering {
    // Unordered means that at least one is NaN: then the one that is NaN is the greater.
    a.partial_cmp(&b)
        .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn compare_decimals(a: Decimal, b: Decimal) -> Option<Ordering> {
    let scale = a.scale.max(b.scale);
    let widen = |value: Decimal| {
        i256::from_i128(value.unscaled).checked_mul(power(10, scale.checked_sub(value.scale)?)?)
    };
    Some(widen(a)?.cmp(&widen(b)?))
}

fn power(base: i128, exponent: u8) -> Option<i256> {
    i256::from_i128(base).checked_pow(u32::from(exponent))
}

macro_rules! from {
    ($($source:ty => $variant:ident),* $(,)?) => {
        $(impl From<$source> for Scalar {
            fn from(value: $source) -> Self {
                Self::$variant(value.into())
            }
        })*
    };
}

from! {
    bool => Boolean, i8 => Byte, i16 => Short, i32 => Integer, i64 => Long, f32 => Float, f64 => Double,
    &str => String, String => String, &[u8] => Binary, Vec<u8> => Binary,
}

impl<T: Into<Self>> From<Option<T>> for Scalar {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
