//! The bounds of one column: kept exactly, written so that no value falls outside.

use arrow_array::ArrayRef;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_buffer::NullBuffer;

use crate::data::collector::extent::{Extent, Number, of_numbers, of_texts};
use crate::protocol::schema::{DataType, PrimitiveType};
use crate::protocol::value::Scalar;

/// The least and the greatest value so far, as the type of the column keeps them.
#[derive(Debug)]
pub(super) enum Bounds {
    /// Bounds are not kept for this type.
    None,
    Integer(PrimitiveType, Option<(i64, i64)>),
    Decimal {
        precision: u8,
        scale: u8,
        range: Option<(i128, i128)>,
    },
    Float(PrimitiveType, Extent<f64>),
    Text(Option<(String, String)>),
}

impl Bounds {
    /// No values yet of a leaf column of this type.
    pub(super) fn of(leaf: &DataType) -> Self {
        let DataType::Primitive(primitive) = leaf else {
            return Self::None;
        };
        match primitive {
            PrimitiveType::Byte
            | PrimitiveType::Short
            | PrimitiveType::Integer
            | PrimitiveType::Long
            | PrimitiveType::Date
            | PrimitiveType::Timestamp
            | PrimitiveType::TimestampNtz => Self::Integer(primitive.clone(), None),
            PrimitiveType::Decimal { precision, scale } => Self::Decimal {
                precision: *precision,
                scale: *scale,
                range: None,
            },
            PrimitiveType::Float | PrimitiveType::Double => Self::Float(
                primitive.clone(),
                Extent {
                    range: None,
                    nan: false,
                },
            ),
            PrimitiveType::String => Self::Text(None),
            _ => Self::None,
        }
    }

    /// Takes in the values that `valid` marks, or all. `None` if the array is of another type.
    pub(super) fn update(&mut self, array: &ArrayRef, valid: Option<&NullBuffer>) -> Option<()> {
        match self {
            Self::None => {}
            Self::Integer(primitive, range) => widen(range, integers(array, primitive, valid)?),
            Self::Decimal { scale, range, .. } => {
                let array = array.as_primitive_opt::<Decimal128Type>()?;
                if i8::try_from(*scale).ok()? != array.scale() {
                    return None;
                }
                widen(range, of_numbers(array.values(), valid).range);
            }
            Self::Float(primitive, extent) => {
                let found = floats(array, primitive, valid)?;
                widen(&mut extent.range, found.range);
                extent.nan |= found.nan;
            }
            Self::Text(range) => {
                let found = of_texts(array.as_string_opt::<i32>()?, valid);
                widen_texts(range, found);
            }
        }
        Some(())
    }

    /// The least value.
    pub(super) fn min(&self) -> Option<Scalar> {
        match self {
            Self::None => None,
            Self::Integer(primitive, range) => integer(primitive, range.as_ref()?.0),
            Self::Decimal {
                precision,
                scale,
                range,
            } => {
                let unscaled = range.as_ref()?.0;
                Some(Scalar::Decimal {
                    unscaled,
                    precision: *precision,
                    scale: *scale,
                })
            }
            Self::Float(primitive, extent) => Some(float(primitive, extent.range?.0)),
            Self::Text(range) => Some(Scalar::String(range.as_ref()?.0.clone())),
        }
    }

    /// The greatest value; `None` if it is a NaN.
    pub(super) fn max(&self) -> Option<Scalar> {
        match self {
            Self::None => None,
            Self::Integer(primitive, range) => integer(primitive, range.as_ref()?.1),
            Self::Decimal {
                precision,
                scale,
                range,
            } => {
                let unscaled = range.as_ref()?.1;
                Some(Scalar::Decimal {
                    unscaled,
                    precision: *precision,
                    scale: *scale,
                })
            }
            Self::Float(_, extent) if extent.nan => None,
            Self::Float(primitive, extent) => Some(float(primitive, extent.range?.1)),
            Self::Text(range) => Some(Scalar::String(range.as_ref()?.1.clone())),
        }
    }

    /// Whether there are values and all of them are NaN: then that is both bounds, for readers of every persuasion.
    fn is_nan_only(&self) -> bool {
        let Self::Float(_, extent) = self else {
            return false;
        };
        extent.nan && extent.range.is_none()
    }

    // Floats are written with all the digits that 64 bits need, also where the column has 32 bits: a reader that takes
    // the number for either of them gets the value itself, while the shorter text of a 32-bit float may lie on the
    // wrong side of it.

    /// What statistics say of the least value: itself, or a text of at most so many characters that is not above it.
    pub(super) fn lower(&self, prefix: usize) -> Option<Scalar> {
        if self.is_nan_only() {
            return Some(Scalar::Double(f64::NAN));
        }
        Some(match self.min()? {
            Scalar::Float(value) => Scalar::Double(value.into()),
            Scalar::String(text) => Scalar::String(lower_text(&text, prefix).to_owned()),
            exact => exact,
        })
    }

    /// What statistics say of the greatest value: itself, or a text of about so many characters that is not below it.
    pub(super) fn upper(&self, prefix: usize) -> Option<Scalar> {
        if self.is_nan_only() {
            return Some(Scalar::Double(f64::NAN));
        }
        Some(match self.max()? {
            Scalar::Float(value) => Scalar::Double(value.into()),
            Scalar::String(text) => Scalar::String(upper_text(&text, prefix)?),
            exact => exact,
        })
    }
}

fn widen<T: Number>(range: &mut Option<(T, T)>, found: Option<(T, T)>) {
    let Some((low, high)) = found else { return };
    *range = Some(match *range {
        None => (low, high),
        Some((least, greatest)) => (
            if low < least { low } else { least },
            if greatest < high { high } else { greatest },
        ),
    });
}

fn widen_texts(range: &mut Option<(String, String)>, found: Option<(&str, &str)>) {
    let Some((low, high)) = found else { return };
    match range {
        None => *range = Some((low.to_owned(), high.to_owned())),
        Some((least, greatest)) => {
            if low < least.as_str() {
                low.clone_into(least);
            }
            if greatest.as_str() < high {
                high.clone_into(greatest);
            }
        }
    }
}

// The outer `None` is an array of another type, the inner one an array without values.
fn integers(
    array: &ArrayRef,
    primitive: &PrimitiveType,
    valid: Option<&NullBuffer>,
) -> Option<Option<(i64, i64)>> {
    match primitive {
        PrimitiveType::Byte => widest::<Int8Type>(array, valid),
        PrimitiveType::Short => widest::<Int16Type>(array, valid),
        PrimitiveType::Integer => widest::<Int32Type>(array, valid),
        PrimitiveType::Long => widest::<Int64Type>(array, valid),
        PrimitiveType::Date => widest::<Date32Type>(array, valid),
        PrimitiveType::Timestamp | PrimitiveType::TimestampNtz => {
            widest::<TimestampMicrosecondType>(array, valid)
        }
        _ => None,
    }
}

fn widest<T>(array: &ArrayRef, valid: Option<&NullBuffer>) -> Option<Option<(i64, i64)>>
where
    T: ArrowPrimitiveType<Native: Number + Into<i64>>,
{
    let range = of_numbers(array.as_primitive_opt::<T>()?.values(), valid).range;
    Some(range.map(|(low, high)| (low.into(), high.into())))
}

fn floats(
    array: &ArrayRef,
    primitive: &PrimitiveType,
    valid: Option<&NullBuffer>,
) -> Option<Extent<f64>> {
    if *primitive == PrimitiveType::Double {
        return Some(of_numbers(
            array.as_primitive_opt::<Float64Type>()?.values(),
            valid,
        ));
    }
    let found = of_numbers(array.as_primitive_opt::<Float32Type>()?.values(), valid);
    let range = found
        .range
        .map(|(low, high)| (f64::from(low), f64::from(high)));
    Some(Extent {
        range,
        nan: found.nan,
    })
}

fn integer(primitive: &PrimitiveType, value: i64) -> Option<Scalar> {
    Some(match primitive {
        PrimitiveType::Byte => Scalar::Byte(value.try_into().ok()?),
        PrimitiveType::Short => Scalar::Short(value.try_into().ok()?),
        PrimitiveType::Integer => Scalar::Integer(value.try_into().ok()?),
        PrimitiveType::Date => Scalar::Date(value.try_into().ok()?),
        PrimitiveType::Timestamp => Scalar::Timestamp(value),
        PrimitiveType::TimestampNtz => Scalar::TimestampNtz(value),
        _ => Scalar::Long(value),
    })
}

fn float(primitive: &PrimitiveType, value: f64) -> Scalar {
    match primitive {
        // It was widened from 32 bits, so nothing is lost on the way back.
        PrimitiveType::Float => Scalar::Float(value as f32),
        _ => Scalar::Double(value),
    }
}

// A prefix is not above any text that begins with it, nor, since `min` is the least, above any other of the column.
fn lower_text(min: &str, characters: usize) -> &str {
    let end = min.char_indices().nth(characters);
    end.and_then(|(index, _)| min.get(..index)).unwrap_or(min)
}

// A text not below `max` nor, since `max` is the greatest, below any other text of the column.
//
// A prefix followed by a character greater than the one that was cut off is above the whole text. No character is
// greater than U+10FFFF, so the prefix runs on while that comes next; if it gets twice as long, there is no bound.
// As in Spark, upper bounds count UTF-16 units, but a surrogate pair that begins within is kept whole.
fn upper_text(max: &str, prefix: usize) -> Option<String> {
    let mut bound = String::new();
    let mut units = 0;
    for next in max.chars() {
        if prefix <= units {
            if next < char::MAX {
                bound.push(if next < '\u{7f}' { '\u{7f}' } else { char::MAX });
                return Some(bound);
            }
            if prefix.saturating_mul(2) <= units {
                return None;
            }
        }
        bound.push(next);
        units += next.len_utf16();
    }
    Some(bound)
}
