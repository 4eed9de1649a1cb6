//! Literals in the type of the column that they are compared with, exactly.
//!
//! A literal need not be a value of the column's type: `x < 2.5` is asked of integers, `x < 3000000000` of 32 bits. Such
//! a literal stands between two neighbouring values of the type, or outside all of them, and the comparison is rewritten
//! to one with a neighbour, or to an answer that is the same for every value.

use crate::protocol::schema::PrimitiveType;
use crate::protocol::value::Scalar;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Where a literal stands among the values of a type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    /// It is this value.
    At(Scalar),
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
        PrimitiveType::Long => whole(literal, |value| {
            Some(Scalar::Long(i64::try_from(value).ok()?))
        }),
        &PrimitiveType::Decimal { precision, scale } => {
            let value = |unscaled| {
                Some(Scalar::Decimal {
                    unscaled,
                    precision,
                    scale,
                })
            };
            Some(scaled(Decimal::shortest(literal)?, scale, value))
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

/// `digits / 10^scale`, or beyond all such numbers.
enum Decimal {
    Number { digits: i128, scale: i32 },
    BelowAll,
    AboveAll,
}

impl Decimal {
    /// The number that a literal is written as: a float is the shortest decimal that rounds to it, so that `0.1` is a
    /// tenth whatever its type.
    fn shortest(literal: &Scalar) -> Option<Self> {
        match *literal {
            Scalar::Float(value) => Some(Self::of_text(value.into(), &format!("{value:e}"))),
            Scalar::Double(value) => Some(Self::of_text(value, &format!("{value:e}"))),
            _ => Self::exact(literal),
        }
    }

    fn of_text(value: f64, scientific: &str) -> Self {
        let parsed = scientific.split_once('e').and_then(|(mantissa, exponent)| {
            let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
            let digits = format!("{whole}{fraction}").parse().ok()?;
            let scale = i32::try_from(fraction.len()).ok()? - exponent.parse::<i32>().ok()?;
            Some(Self::Number { digits, scale })
        });
        // What has no digits is infinite or not a number, which is above all numbers.
        parsed.unwrap_or(if value < 0.0 {
            Self::BelowAll
        } else {
            Self::AboveAll
        })
    }

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
        Some(Self::Number { digits, scale })
    }
}

/// The place among numbers of this scale that `scalar` can hold.
fn scaled(number: Decimal, scale: u8, scalar: impl Fn(i128) -> Option<Scalar>) -> Place {
    let (digits, from) = match number {
        Decimal::BelowAll => return Place::BelowAll,
        Decimal::AboveAll => return Place::AboveAll,
        Decimal::Number { digits, scale } => (digits, scale),
    };
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

/// The place among integers: a float counts with its exact value.
fn whole(literal: &Scalar, scalar: impl Fn(i128) -> Option<Scalar>) -> Option<Place> {
    let value = match *literal {
        Scalar::Float(value) => f64::from(value),
        Scalar::Double(value) => value,
        _ => return Some(scaled(Decimal::exact(literal)?, 0, scalar)),
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

/// The place among doubles. An integer counts exactly; a decimal with a fraction is the double nearest to it, as in
/// Spark: nobody who asks for `0.1` means a number that no double is.
fn float(literal: &Scalar) -> Option<Place> {
    let whole = match *literal {
        Scalar::Float(value) => return Some(Place::At(Scalar::Double(value.into()))),
        Scalar::Double(_) => return Some(Place::At(literal.clone())),
        Scalar::Byte(value) => i64::from(value),
        Scalar::Short(value) => i64::from(value),
        Scalar::Integer(value) => i64::from(value),
        Scalar::Long(value) => value,
        Scalar::Decimal {
            unscaled, scale, ..
        } => {
            let nearest = format!("{unscaled}e-{scale}").parse().ok()?;
            return Some(Place::At(Scalar::Double(nearest)));
        }
        _ => return None,
    };
    #[expect(
        clippy::as_conversions,
        reason = "to the nearest double, and exactly back in 128 bits"
    )]
    let (nearest, back) = (whole as f64, whole as f64 as i128);
    Some(match back.cmp(&whole.into()) {
        std::cmp::Ordering::Equal => Place::At(Scalar::Double(nearest)),
        std::cmp::Ordering::Less => Place::After(Scalar::Double(nearest)),
        std::cmp::Ordering::Greater => Place::After(Scalar::Double(nearest.next_down())),
    })
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
    fn the_edge_of_64_bits_is_exact() {
        let place = |literal: Scalar| place(&literal, &PrimitiveType::Long).unwrap();
        assert_eq!(
            place(Scalar::Double(9_223_372_036_854_775_808.0)),
            Place::AboveAll
        );
        assert_eq!(
            place(Scalar::Double(-9_223_372_036_854_775_808.0)),
            Place::At(Scalar::Long(i64::MIN))
        );
        assert_eq!(
            place(decimal(i128::from(i64::MAX) + 1, 19, 0)),
            Place::AboveAll
        );
    }

    #[test]
    fn decimals_take_floats_as_they_are_written() {
        let ty = PrimitiveType::Decimal {
            precision: 10,
            scale: 2,
        };
        let place = |literal: Scalar| place(&literal, &ty).unwrap();
        assert_eq!(place(Scalar::Double(0.1)), Place::At(decimal(10, 10, 2)));
        assert_eq!(place(Scalar::Float(0.1)), Place::At(decimal(10, 10, 2)));
        assert_eq!(
            place(Scalar::Double(1e-300)),
            Place::After(decimal(0, 10, 2))
        );
        assert_eq!(
            place(Scalar::Double(-1e-300)),
            Place::After(decimal(-1, 10, 2))
        );
        assert_eq!(place(Scalar::Double(1e300)), Place::AboveAll);
        assert_eq!(place(Scalar::Double(f64::NEG_INFINITY)), Place::BelowAll);
        assert_eq!(place(Scalar::Integer(-7)), Place::At(decimal(-700, 10, 2)));
        assert_eq!(place(decimal(i128::MAX, 38, 0)), Place::AboveAll);
    }

    #[test]
    fn doubles_take_integers_exactly_and_decimals_rounded() {
        let place = |literal: Scalar| place(&literal, &PrimitiveType::Double).unwrap();
        let power = 2_f64.powi(53);
        assert_eq!(
            place(Scalar::Long(1 << 53)),
            Place::At(Scalar::Double(power))
        );
        assert_eq!(
            place(Scalar::Long((1 << 53) + 1)),
            Place::After(Scalar::Double(power))
        );
        assert_eq!(
            place(Scalar::Long(i64::MAX)),
            Place::After(Scalar::Double(2_f64.powi(63).next_down()))
        );
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
