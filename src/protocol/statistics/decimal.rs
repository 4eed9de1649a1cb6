//! Bounds of decimals that a writer took through a 64-bit float.
//!
//! Some writers turn decimals into floats for the statistics, so a bound comes out a little inside of what it bounds, or
//! as an end of the 64-bit integers. Nothing marks such a bound, but it has the digits of a float, and a bound that was
//! written exactly hardly ever does once it has too many digits for one.

use crate::protocol::value::Scalar;

/// A float differs from the decimal it came from by less than one part in so many, arithmetic of the writer included.
const FLOAT_PARTS: u128 = 1 << 50;
/// No decimal has more digits.
const DIGITS_MAX: u8 = 38;
/// Decimals of more digits exceed the 64-bit integers.
const LONG_DIGITS: u8 = 18;

/// Which way a bound is let out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Below,
    Above,
}

/// The bound of a decimal column in units of its last digit, even if it exceeds the column's precision.
pub(super) fn at_scale(bound: Scalar, column_scale: u8) -> Scalar {
    let Scalar::Decimal {
        unscaled, scale, ..
    } = bound
    else {
        return bound;
    };
    let finer = column_scale.checked_sub(scale).filter(|finer| 0 < *finer);
    let factor = finer.and_then(|finer| 10_i128.checked_pow(finer.into()));
    match factor.and_then(|factor| unscaled.checked_mul(factor)) {
        Some(unscaled) => Scalar::Decimal {
            unscaled,
            precision: DIGITS_MAX,
            scale: column_scale,
        },
        None => bound,
    }
}

/// The bound, let out by what a float may have taken off; `None` if it may be off by anything.
pub(super) fn let_out(bound: Scalar, side: Side) -> Option<Scalar> {
    let Scalar::Decimal {
        unscaled,
        precision,
        scale,
    } = bound
    else {
        return Some(bound);
    };
    let long = i64::try_from(unscaled);
    let saturated = matches!(long, Ok(i64::MIN | i64::MAX));
    if saturated && scale == 0 && LONG_DIGITS < precision {
        return None;
    }
    let margin = i128::try_from(unscaled.unsigned_abs() / FLOAT_PARTS).ok()?;
    if margin == 0 || !is_float(unscaled, scale) {
        return Some(bound);
    }
    let unscaled = match side {
        Side::Below => unscaled.checked_sub(margin)?,
        Side::Above => unscaled.checked_add(margin)?,
    };
    Some(Scalar::Decimal {
        unscaled,
        precision,
        scale,
    })
}

/// Whether a float is written with just these digits, or is a whole number that is just this.
fn is_float(unscaled: i128, scale: u8) -> bool {
    let Ok(float) = format!("{unscaled}e-{scale}").parse::<f64>() else {
        return false;
    };
    if scale == 0 && format!("{float:.0}") == unscaled.to_string() {
        return true;
    }
    let shortest = format!("{:e}", float.abs());
    let mantissa = shortest.split('e').next().unwrap_or_default();
    let digits = unscaled.unsigned_abs().to_string();
    digits.trim_end_matches('0') == mantissa.replace('.', "").trim_end_matches('0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::schema::PrimitiveType;

    /// What the log says of a column of this type, and what is known of it then.
    fn known(json: &str, precision: u8, scale: u8) -> (Option<Scalar>, Option<Scalar>) {
        let ty = PrimitiveType::Decimal { precision, scale };
        let bound = || at_scale(Scalar::from_statistics(json, &ty).unwrap(), scale);
        (let_out(bound(), Side::Below), let_out(bound(), Side::Above))
    }

    fn value(unscaled: i128, scale: u8) -> Scalar {
        Scalar::Decimal {
            unscaled,
            precision: DIGITS_MAX,
            scale,
        }
    }

    #[track_caller]
    fn encloses(json: &str, precision: u8, scale: u8, truth: i128) {
        let (min, max) = known(json, precision, scale);
        let truth = value(truth, scale);
        let le = |a: &Scalar, b: &Scalar| a.compare(b).unwrap().is_le();
        assert!(min.is_none_or(|min| le(&min, &truth)), "{json}");
        assert!(max.is_none_or(|max| le(&truth, &max)), "{json}");
    }

    #[test]
    fn bounds_that_went_through_a_float_enclose_where_they_came_from() {
        let nines = |digits: u32| 10_i128.pow(digits) - 1;
        encloses("9.999999999999998e19", 38, 18, nines(38));
        encloses("0.9999999999999999", 38, 38, nines(38));
        encloses("1.0", 38, 38, nines(38));
        encloses("1000000000.0", 18, 9, nines(18));
        encloses("-1000000000.0", 18, 9, -nines(18));
        encloses("1e33", 38, 2, 10_i128.pow(35) + 2);
        encloses("9007199254740992", 38, 0, 9_007_199_254_740_993);
        encloses("9223372036854775807", 38, 0, nines(38));
        encloses("-9223372036854775808", 19, 0, -nines(19));
    }

    #[test]
    fn bounds_with_digits_that_no_float_has_stay_exact() {
        for (json, precision, scale, unscaled) in [
            ("12.5", 38, 2, 1250),
            (
                "99999999999999999999999999999999999999",
                38,
                0,
                10_i128.pow(38) - 1,
            ),
            ("-999999999.999999998", 18, 9, -999_999_999_999_999_998),
            ("9007199254740993", 16, 0, 9_007_199_254_740_993),
            ("0.000000000000000001", 38, 18, 1),
        ] {
            let exact = value(unscaled, scale);
            let (min, max) = known(json, precision, scale);
            for bound in [min.unwrap(), max.unwrap()] {
                assert!(bound.compare(&exact).unwrap().is_eq(), "{json}: {bound:?}");
            }
        }
    }
}
