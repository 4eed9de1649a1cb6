//! Literals in the type of the column that they are compared with, exactly.
//!
//! A literal need not be a value of the column's type: `x < 2.5` is asked of integers, `x < 3000000000` of 32 bits. Such
//! a literal stands between two neighbouring values of the type, or outside all of them, and the comparison is rewritten
//! to one with a neighbour, or to an answer that is the same for every value. Beside a float an integer or a decimal is
//! the double nearest to it, which many values may share: then the literal stands for all of them.

use std::cmp::Ordering;

use crate::protocol::schema::PrimitiveType;
use crate::protocol::value::{Scalar, nearest_double};

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Where a literal stands among the values of a type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    /// It is this value.
    At(Scalar),
    /// It equals all values from the first to the second.
    Span(Scalar, Scalar),
    /// It is above this value and below the next.
    After(Scalar),
    /// It is below every value.
    BelowAll,
    /// It is above every value.
    AboveAll,
}

/// Finds the place of a literal that is not null; `None` if values of the two types have no order between them.
pub(super) fn place(literal: &Scalar, ty: &PrimitiveType) -> Option<Place> {
    match ty {
        PrimitiveType::Byte => whole(literal, |value| {
            Some(Scalar::Byte(i8::try_from(value).ok()?))
        }),
        PrimitiveType::Short => whole(literal, |value| {
            Some(Scalar::Short(i16::try_from(value).ok()?))
        }),
        PrimitiveType::Integer => whole(literal, |value| {
            Some(Scalar::Integer(i32::try_from(value).ok()?))
        }),
        PrimitiveType::Long => {
            let value = |value| Some(Scalar::Long(i64::try_from(value).ok()?));
            match as_double(literal) {
                Some(double) => rounded(double, (i64::MIN.into(), i64::MAX.into()), 0, value),
                None => whole(literal, value),
            }
        }
        &PrimitiveType::Decimal { precision, scale } => {
            let value = |unscaled| {
                Some(Scalar::Decimal {
                    unscaled,
                    precision,
                    scale,
                })
            };
            let most = 10_i128.checked_pow(precision.into())?.checked_sub(1)?;
            match as_double(literal) {
                Some(double) => rounded(double, (-most, most), scale, value),
                None => Some(scaled(Decimal::exact(literal)?, scale, value)),
            }
        }
        PrimitiveType::Float | PrimitiveType::Double => float(literal),
        PrimitiveType::Boolean => match literal {
            Scalar::Boolean(_) => Some(Place::At(literal.clone())),
            Scalar::String(text) => text_as(text, ty),
            _ => None,
        },
        PrimitiveType::String => match literal {
            Scalar::String(_) => Some(Place::At(literal.clone())),
            _ => None,
        },
        PrimitiveType::Binary => match literal {
            Scalar::Binary(_) => Some(Place::At(literal.clone())),
            _ => None,
        },
        PrimitiveType::Date => date(literal),
        PrimitiveType::Timestamp => instant(literal, ty).map(|at| in_micros(at, Scalar::Timestamp)),
        PrimitiveType::TimestampNtz => {
            instant(literal, ty).map(|at| in_micros(at, Scalar::TimestampNtz))
        }
        PrimitiveType::Void | PrimitiveType::Variant | PrimitiveType::Unknown(_) => None,
    }
}

fn text_as(text: &str, ty: &PrimitiveType) -> Option<Place> {
    match Scalar::from_partition_value(Some(text), ty) {
        Ok(Scalar::Null) | Err(_) => None,
        Ok(scalar) => Some(Place::At(scalar)),
    }
}

fn date(literal: &Scalar) -> Option<Place> {
    let micros = match literal {
        Scalar::Date(_) => return Some(Place::At(literal.clone())),
        Scalar::String(text) => return text_as(text, &PrimitiveType::Date),
        Scalar::Timestamp(micros) | Scalar::TimestampNtz(micros) => micros,
        _ => return None,
    };
    // Every day that 64 bits of microseconds can name fits in 32 bits.
    let day = Scalar::Date(i32::try_from(micros.div_euclid(MICROS_PER_DAY)).ok()?);
    Some(if micros.rem_euclid(MICROS_PER_DAY) == 0 {
        Place::At(day)
    } else {
        Place::After(day)
    })
}

// Microseconds, wider than the type: the midnight of a far day does not fit.
fn instant(literal: &Scalar, ty: &PrimitiveType) -> Option<i128> {
    match literal {
        Scalar::Timestamp(micros) | Scalar::TimestampNtz(micros) => Some((*micros).into()),
        Scalar::Date(day) => Some(i128::from(*day) * i128::from(MICROS_PER_DAY)),
        Scalar::String(text) => match text_as(text, ty)? {
            Place::At(Scalar::Timestamp(micros) | Scalar::TimestampNtz(micros)) => {
                Some(micros.into())
            }
            _ => None,
        },
        _ => None,
    }
}

fn in_micros(at: i128, scalar: impl Fn(i64) -> Scalar) -> Place {
    match i64::try_from(at) {
        Ok(micros) => Place::At(scalar(micros)),
        Err(_) => outside(at),
    }
}

fn outside(value: i128) -> Place {
    if value < 0 {
        Place::BelowAll
    } else {
        Place::AboveAll
    }
}

/// `digits / 10^scale`.
struct Decimal {
    digits: i128,
    scale: i32,
}

impl Decimal {
    /// An integer or a decimal.
    fn exact(literal: &Scalar) -> Option<Self> {
        let (digits, scale) = match *literal {
            Scalar::Byte(value) => (value.into(), 0),
            Scalar::Short(value) => (value.into(), 0),
            Scalar::Integer(value) => (value.into(), 0),
            Scalar::Long(value) => (value.into(), 0),
            Scalar::Decimal {
                unscaled, scale, ..
            } => (unscaled, scale.into()),
            _ => return None,
        };
        Some(Self { digits, scale })
    }
}

fn as_double(literal: &Scalar) -> Option<f64> {
    match *literal {
        Scalar::Float(value) => Some(value.into()),
        Scalar::Double(value) => Some(value),
        _ => None,
    }
}

/// The place of a double among numbers of this scale, from the least to the greatest, each of which is the double
/// nearest to it.
fn rounded(
    double: f64,
    (least, most): (i128, i128),
    scale: u8,
    scalar: impl Fn(i128) -> Option<Scalar>,
) -> Option<Place> {
    let order = |unscaled| {
        Scalar::Double(nearest_double(unscaled, scale)?).compare(&Scalar::Double(double))
    };
    // The first that is not below, and the first that is above: the order of numbers is that of their doubles.
    let above_all = most.checked_add(1)?;
    let first = |is_there: fn(Ordering) -> bool| {
        let (mut low, mut high) = (least, above_all);
        while low < high {
            // It is rounded towards zero.
            let middle = low.midpoint(high).min(high.checked_sub(1)?);
            match is_there(order(middle)?) {
                true => high = middle,
                false => low = middle.checked_add(1)?,
            }
        }
        Some(low)
    };
    let (from, above) = (first(Ordering::is_ge)?, first(Ordering::is_gt)?);
    if from < above {
        let to = above.checked_sub(1)?;
        return Some(match from == to {
            true => Place::At(scalar(from)?),
            false => Place::Span(scalar(from)?, scalar(to)?),
        });
    }
    Some(match from {
        from if from == least => Place::BelowAll,
        from if from == above_all => Place::AboveAll,
        from => Place::After(scalar(from.checked_sub(1)?)?),
    })
}

/// The place among numbers of this scale that `scalar` can hold.
fn scaled(number: Decimal, scale: u8, scalar: impl Fn(i128) -> Option<Scalar>) -> Place {
    let Decimal {
        digits,
        scale: from,
    } = number;
    let to = i32::from(scale);
    let factor = 10_i128.checked_pow(from.abs_diff(to));
    let (floor, exact) = match factor {
        _ if digits == 0 => (0, true),
        Some(factor) if from <= to => match digits.checked_mul(factor) {
            Some(product) => (product, true),
            None => return outside(digits),
        },
        Some(factor) => (digits.div_euclid(factor), digits.rem_euclid(factor) == 0),
        None if from <= to => return outside(digits),
        // All digits are behind the last that counts.
        None => (if digits < 0 { -1 } else { 0 }, false),
    };
    match scalar(floor) {
        Some(scalar) if exact => Place::At(scalar),
        Some(scalar) => Place::After(scalar),
        None => outside(floor),
    }
}

/// The place among integers that are doubles themselves: a float counts with its exact value.
fn whole(literal: &Scalar, scalar: impl Fn(i128) -> Option<Scalar>) -> Option<Place> {
    let Some(value) = as_double(literal) else {
        return Some(scaled(Decimal::exact(literal)?, 0, scalar));
    };
    let floor = value.floor();
    // The cast saturates: what is beyond 128 bits stays beyond 64; NaN is above all numbers.
    #[expect(clippy::as_conversions, reason = "a saturating cast of a whole number")]
    let whole = if value.is_nan() {
        i128::MAX
    } else {
        floor as i128
    };
    Some(match scalar(whole) {
        Some(scalar) if floor == value => Place::At(scalar),
        Some(scalar) => Place::After(scalar),
        None => outside(whole),
    })
}

/// The place among doubles: a number of another type is the double nearest to it, as in Spark.
fn float(literal: &Scalar) -> Option<Place> {
    if let Some(double) = as_double(literal) {
        return Some(Place::At(Scalar::Double(double)));
    }
    let Decimal { digits, scale } = Decimal::exact(literal)?;
    let nearest = nearest_double(digits, u8::try_from(scale).ok()?)?;
    Some(Place::At(Scalar::Double(nearest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(unscaled: i128, precision: u8, scale: u8) -> Scalar {
        Scalar::Decimal {
            unscaled,
            precision,
            scale,
        }
    }

    #[test]
    fn integers_take_numbers_of_every_type() {
        let place = |literal: Scalar| place(&literal, &PrimitiveType::Byte).unwrap();
        assert_eq!(place(Scalar::Long(5)), Place::At(Scalar::Byte(5)));
        assert_eq!(place(Scalar::Long(128)), Place::AboveAll);
        assert_eq!(place(Scalar::Long(-129)), Place::BelowAll);
        assert_eq!(place(decimal(-25, 2, 1)), Place::After(Scalar::Byte(-3)));
        assert_eq!(place(decimal(1275, 4, 1)), Place::After(Scalar::Byte(127)));
        assert_eq!(place(decimal(-1285, 4, 1)), Place::BelowAll);
        assert_eq!(place(decimal(-1, 38, 200)), Place::After(Scalar::Byte(-1)));
        assert_eq!(place(Scalar::Double(2.5)), Place::After(Scalar::Byte(2)));
        assert_eq!(place(Scalar::Double(-0.0)), Place::At(Scalar::Byte(0)));
        assert_eq!(place(Scalar::Double(f64::NAN)), Place::AboveAll);
        assert_eq!(place(Scalar::Float(f32::NEG_INFINITY)), Place::BelowAll);
    }

    #[test]
    fn longs_beside_floats_are_the_doubles_nearest_to_them() {
        let place = |literal: Scalar| place(&literal, &PrimitiveType::Long).unwrap();
        let span = |from, to| Place::Span(Scalar::Long(from), Scalar::Long(to));
        let power = 2_f64.powi(53);
        assert_eq!(place(Scalar::Double(2.5)), Place::After(Scalar::Long(2)));
        assert_eq!(place(Scalar::Double(-0.0)), Place::At(Scalar::Long(0)));
        // Ties go to the even one: 2^53 + 1 is 2^53, 2^53 + 3 is 2^53 + 4.
        assert_eq!(place(Scalar::Double(power)), span(1 << 53, (1 << 53) + 1));
        let next = Place::At(Scalar::Long((1 << 53) + 2));
        assert_eq!(place(Scalar::Double(power + 2.0)), next);
        // The greatest longs are 2^63 as doubles.
        let top = span(i64::MAX - 511, i64::MAX);
        assert_eq!(place(Scalar::Double(2_f64.powi(63))), top);
        assert_eq!(place(Scalar::Float(2_f32.powi(63))), top);
        let bottom = span(i64::MIN, i64::MIN + 512);
        assert_eq!(place(Scalar::Double(-2_f64.powi(63))), bottom);
        assert_eq!(place(Scalar::Double(1e19)), Place::AboveAll);
        assert_eq!(place(Scalar::Double(f64::NAN)), Place::AboveAll);
        assert_eq!(place(Scalar::Double(f64::NEG_INFINITY)), Place::BelowAll);
        assert_eq!(
            place(decimal(i128::from(i64::MAX) + 1, 19, 0)),
            Place::AboveAll
        );
    }

    #[test]
    fn decimals_beside_floats_are_the_doubles_nearest_to_them() {
        let ty = PrimitiveType::Decimal {
            precision: 10,
            scale: 2,
        };
        let of = |literal: Scalar| place(&literal, &ty).unwrap();
        assert_eq!(of(Scalar::Double(0.1)), Place::At(decimal(10, 10, 2)));
        // A tenth in 32 bits is more than a tenth.
        assert_eq!(of(Scalar::Float(0.1)), Place::After(decimal(10, 10, 2)));
        assert_eq!(of(Scalar::Double(1e-300)), Place::After(decimal(0, 10, 2)));
        assert_eq!(
            of(Scalar::Double(-1e-300)),
            Place::After(decimal(-1, 10, 2))
        );
        assert_eq!(of(Scalar::Double(1e300)), Place::AboveAll);
        assert_eq!(of(Scalar::Double(f64::NEG_INFINITY)), Place::BelowAll);
        assert_eq!(of(Scalar::Integer(-7)), Place::At(decimal(-700, 10, 2)));
        assert_eq!(of(decimal(i128::MAX, 38, 0)), Place::AboveAll);
        let ty = PrimitiveType::Decimal {
            precision: 38,
            scale: 20,
        };
        let Place::Span(from, to) = place(&Scalar::Double(0.1), &ty).unwrap() else {
            panic!("many decimals of 20 digits are 0.1 as doubles");
        };
        for edge in [from, to] {
            let Scalar::Decimal { unscaled, .. } = edge else {
                panic!("{edge:?}");
            };
            assert_eq!(nearest_double(unscaled, 20), Some(0.1));
        }
    }

    #[test]
    fn doubles_take_other_numbers_rounded() {
        let place = |literal: Scalar| place(&literal, &PrimitiveType::Double).unwrap();
        let power = Place::At(Scalar::Double(2_f64.powi(53)));
        assert_eq!(place(Scalar::Long(1 << 53)), power);
        assert_eq!(place(Scalar::Long((1 << 53) + 1)), power);
        let top = Place::At(Scalar::Double(2_f64.powi(63)));
        assert_eq!(place(Scalar::Long(i64::MAX)), top);
        assert_eq!(place(decimal(1, 1, 1)), Place::At(Scalar::Double(0.1)));
    }

    #[test]
    fn days_take_times() {
        let day = |micros| place(&Scalar::Timestamp(micros), &PrimitiveType::Date).unwrap();
        assert_eq!(day(0), Place::At(Scalar::Date(0)));
        assert_eq!(day(-1), Place::After(Scalar::Date(-1)));
        let far = place(&Scalar::Date(i32::MAX), &PrimitiveType::Timestamp).unwrap();
        assert_eq!(far, Place::AboveAll);
        let text = Scalar::from("2013-06-30");
        assert_eq!(
            place(&text, &PrimitiveType::Date).unwrap(),
            Place::At(Scalar::Date(15_886))
        );
        assert_eq!(place(&Scalar::from("June"), &PrimitiveType::Date), None);
    }

    #[test]
    fn kinds_that_have_no_order_are_none() {
        assert_eq!(place(&Scalar::Integer(1), &PrimitiveType::String), None);
        assert_eq!(place(&Scalar::from("1"), &PrimitiveType::Integer), None);
        assert_eq!(place(&Scalar::Boolean(true), &PrimitiveType::Long), None);
        assert_eq!(place(&Scalar::Integer(1), &PrimitiveType::Date), None);
    }
}
