//! A scalar from an Arrow array, and an Arrow array from a scalar.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Date32Array, Decimal128Array,
    Float32Array, Float64Array, PrimitiveArray, StringArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow_schema::{DataType as ArrowType, TimeUnit};

use crate::error::{Code, Error, Result};
use crate::protocol::schema::{DataType, PrimitiveType};
use crate::protocol::value::Scalar;

const MILLIS_PER_DAY: i64 = 86_400_000;

impl Scalar {
    /// The value at `index` of an array of any layout whose values are ours; [`Scalar::Null`] where it is null.
    ///
    /// `None` if there is no such index, or the array's type is none of the protocol's, or the value does not fit.
    /// Nanoseconds are cut to the microsecond they are in.
    pub fn from_array(array: &dyn Array, index: usize) -> Option<Self> {
        if array.len() <= index {
            return None;
        }
        if array.is_null(index) || matches!(array.data_type(), ArrowType::Null) {
            return Some(Self::Null);
        }
        Some(match array.data_type() {
            ArrowType::Boolean => Self::Boolean(array.as_boolean().value(index)),
            ArrowType::Int8 => Self::Byte(value::<Int8Type>(array, index)?),
            ArrowType::Int16 => Self::Short(value::<Int16Type>(array, index)?),
            ArrowType::Int32 => Self::Integer(value::<Int32Type>(array, index)?),
            ArrowType::Int64 => Self::Long(value::<Int64Type>(array, index)?),
            ArrowType::Float32 => Self::Float(value::<Float32Type>(array, index)?),
            ArrowType::Float64 => Self::Double(value::<Float64Type>(array, index)?),
            ArrowType::Utf8 => Self::from(array.as_string::<i32>().value(index)),
            ArrowType::LargeUtf8 => Self::from(array.as_string::<i64>().value(index)),
            ArrowType::Utf8View => Self::from(array.as_string_view().value(index)),
            ArrowType::Binary => Self::from(array.as_binary::<i32>().value(index)),
            ArrowType::LargeBinary => Self::from(array.as_binary::<i64>().value(index)),
            ArrowType::BinaryView => Self::from(array.as_binary_view().value(index)),
            ArrowType::FixedSizeBinary(_) => Self::from(array.as_fixed_size_binary().value(index)),
            ArrowType::Date32 => Self::Date(value::<Date32Type>(array, index)?),
            ArrowType::Date64 => {
                let days = value::<Date64Type>(array, index)?.div_euclid(MILLIS_PER_DAY);
                Self::Date(i32::try_from(days).ok()?)
            }
            ArrowType::Timestamp(unit, zone) => {
                let micros = micros(array, index, *unit)?;
                if zone.is_some() {
                    Self::Timestamp(micros)
                } else {
                    Self::TimestampNtz(micros)
                }
            }
            ArrowType::Dictionary(_, _) => {
                let dictionary = array.as_any_dictionary_opt()?;
                let key = key(dictionary.keys(), index)?;
                return Self::from_array(dictionary.values().as_ref(), key);
            }
            _ => return decimal(array, index),
        })
    }

    /// A column of `len` times this value, in the Arrow type of `ty`.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::error::ErrorKind::Invalid) if the value is not of that type and does not widen to it
    /// without loss; [`Unsupported`](crate::error::ErrorKind::Unsupported) if data of the type cannot be held.
    pub fn to_array(&self, ty: &PrimitiveType, len: usize) -> Result<ArrayRef> {
        let wrong = || {
            let have = self
                .data_type()
                .map_or_else(|| "null".to_owned(), |ty| ty.to_string());
            Error::invalid(Code::InvalidArgument, format!("a {have} is not a {ty}"))
        };
        if self.is_null() {
            let ty = DataType::Primitive(ty.clone()).to_arrow()?;
            return Ok(new_null_array(&ty, len));
        }
        let whole = self.whole();
        let array: Option<ArrayRef> = match ty {
            PrimitiveType::Boolean => match self {
                Self::Boolean(value) => Some(Arc::new(BooleanArray::from(vec![*value; len]))),
                _ => None,
            },
            PrimitiveType::Byte => fill::<Int8Type, _>(whole, len),
            PrimitiveType::Short => fill::<Int16Type, _>(whole, len),
            PrimitiveType::Integer => fill::<Int32Type, _>(whole, len),
            PrimitiveType::Long => fill::<Int64Type, _>(whole, len),
            PrimitiveType::Float => match self {
                Self::Float(value) => Some(Arc::new(Float32Array::from_value(*value, len))),
                _ => None,
            },
            PrimitiveType::Double => match self {
                Self::Double(value) => Some(Arc::new(Float64Array::from_value(*value, len))),
                Self::Float(value) => {
                    Some(Arc::new(Float64Array::from_value(f64::from(*value), len)))
                }
                _ => None,
            },
            &PrimitiveType::Decimal { precision, scale } => {
                let unscaled = self.rescaled(precision, scale).ok_or_else(wrong)?;
                return decimals(unscaled, (precision, scale), len);
            }
            PrimitiveType::String => match self {
                Self::String(value) => Some(Arc::new(StringArray::from_iter_values(
                    std::iter::repeat_n(value.as_str(), len),
                ))),
                _ => None,
            },
            PrimitiveType::Binary => match self {
                Self::Binary(value) => Some(Arc::new(BinaryArray::from_iter_values(
                    std::iter::repeat_n(value.as_slice(), len),
                ))),
                _ => None,
            },
            PrimitiveType::Date => match self {
                Self::Date(value) => Some(Arc::new(Date32Array::from_value(*value, len))),
                _ => None,
            },
            PrimitiveType::Timestamp => match self {
                Self::Timestamp(value) => Some(Arc::new(
                    TimestampMicrosecondArray::from_value(*value, len).with_timezone("UTC"),
                )),
                _ => None,
            },
            PrimitiveType::TimestampNtz => match self {
                Self::TimestampNtz(value) => {
                    Some(Arc::new(TimestampMicrosecondArray::from_value(*value, len)))
                }
                _ => None,
            },
            PrimitiveType::Void | PrimitiveType::Variant | PrimitiveType::Unknown(_) => None,
        };
        array.ok_or_else(wrong)
    }

    /// The value, if it is an integer of any width.
    fn whole(&self) -> Option<i64> {
        match *self {
            Self::Byte(value) => Some(value.into()),
            Self::Short(value) => Some(value.into()),
            Self::Integer(value) => Some(value.into()),
            Self::Long(value) => Some(value),
            _ => None,
        }
    }

    /// The value as a decimal of this precision and scale, if it is one without rounding.
    pub(crate) fn rescaled(&self, precision: u8, scale: u8) -> Option<i128> {
        let (unscaled, old) = match *self {
            Self::Decimal {
                unscaled, scale, ..
            } => (unscaled, scale),
            _ => (self.whole()?.into(), 0),
        };
        let factor = 10_i128.checked_pow(old.abs_diff(scale).into());
        let unscaled = match factor {
            _ if unscaled == 0 => 0,
            Some(factor) if old <= scale => unscaled.checked_mul(factor)?,
            Some(factor) if unscaled.checked_rem(factor) == Some(0) => {
                unscaled.checked_div(factor)?
            }
            _ => return None,
        };
        let limit = 10_u128.checked_pow(precision.into())?;
        (unscaled.unsigned_abs() < limit).then_some(unscaled)
    }
}

fn value<T: ArrowPrimitiveType>(array: &dyn Array, index: usize) -> Option<T::Native> {
    array
        .as_primitive_opt::<T>()
        .map(|array| array.value(index))
}

fn key(keys: &dyn Array, index: usize) -> Option<usize> {
    match keys.data_type() {
        ArrowType::UInt8 => Some(value::<UInt8Type>(keys, index)?.into()),
        ArrowType::UInt16 => Some(value::<UInt16Type>(keys, index)?.into()),
        ArrowType::UInt32 => value::<UInt32Type>(keys, index)?.try_into().ok(),
        ArrowType::UInt64 => value::<UInt64Type>(keys, index)?.try_into().ok(),
        _ => Scalar::from_array(keys, index)?.whole()?.try_into().ok(),
    }
}

fn micros(array: &dyn Array, index: usize, unit: TimeUnit) -> Option<i64> {
    match unit {
        TimeUnit::Second => value::<TimestampSecondType>(array, index)?.checked_mul(1_000_000),
        TimeUnit::Millisecond => value::<TimestampMillisecondType>(array, index)?.checked_mul(1000),
        TimeUnit::Microsecond => value::<TimestampMicrosecondType>(array, index),
        TimeUnit::Nanosecond => {
            value::<TimestampNanosecondType>(array, index).map(|nanos| nanos.div_euclid(1000))
        }
    }
}

fn decimal(array: &dyn Array, index: usize) -> Option<Scalar> {
    let (unscaled, precision, scale) = match *array.data_type() {
        ArrowType::Decimal32(precision, scale) => (
            value::<Decimal32Type>(array, index)?.into(),
            precision,
            scale,
        ),
        ArrowType::Decimal64(precision, scale) => (
            value::<Decimal64Type>(array, index)?.into(),
            precision,
            scale,
        ),
        ArrowType::Decimal128(precision, scale) => {
            (value::<Decimal128Type>(array, index)?, precision, scale)
        }
        ArrowType::Decimal256(precision, scale) => (
            value::<Decimal256Type>(array, index)?.to_i128()?,
            precision.min(38),
            scale,
        ),
        _ => return None,
    };
    Some(Scalar::Decimal {
        unscaled,
        precision,
        scale: u8::try_from(scale).ok()?,
    })
}

fn decimals(unscaled: i128, (precision, scale): (u8, u8), len: usize) -> Result<ArrayRef> {
    let wrong = || {
        Error::invalid(
            Code::InvalidArgument,
            "the scale of a decimal is out of range",
        )
    };
    let scale = i8::try_from(scale).map_err(|_| wrong())?;
    let array =
        Decimal128Array::from_value(unscaled, len).with_precision_and_scale(precision, scale);
    array
        .map(|array| -> ArrayRef { Arc::new(array) })
        .map_err(|cause| wrong().because(cause))
}

fn fill<T, N>(whole: Option<i64>, len: usize) -> Option<ArrayRef>
where
    T: ArrowPrimitiveType<Native = N>,
    N: TryFrom<i64>,
    PrimitiveArray<T>: Array,
{
    let value = N::try_from(whole?).ok()?;
    Some(Arc::new(PrimitiveArray::<T>::from_value(value, len)))
}
