//! Decimals: their types as Spark has them, digits moved and rounded, text to digits.

use arrow_buffer::i256;

use crate::predicate::compute::{Cell, Fault};
use crate::protocol::schema::PrimitiveType;

const PRECISION_MAX: i32 = 38;
/// As many digits after the point are kept when a type would need more than 38 in all.
const SCALE_KEPT: i32 = 6;

/// The type of a result that needs so many digits: where they are more than 38, those after the point give way first,
/// down to six.
pub(in crate::predicate) fn fitting(precision: i32, scale: i32) -> PrimitiveType {
    if precision <= PRECISION_MAX {
        return bounded(precision, scale);
    }
    let whole = precision - scale;
    bounded(
        PRECISION_MAX,
        (PRECISION_MAX - whole).max(scale.min(SCALE_KEPT)),
    )
}

/// The decimal type of so many digits, at most 38.
pub(in crate::predicate) fn bounded(precision: i32, scale: i32) -> PrimitiveType {
    let digits = |value: i32, least: i32| {
        u8::try_from(value.clamp(least, PRECISION_MAX)).unwrap_or_default()
    };
    PrimitiveType::Decimal {
        precision: digits(precision.max(scale), 1),
        scale: digits(scale, 0),
    }
}

fn power(exponent: u32) -> Option<i256> {
    i256::from_i128(10).checked_pow(exponent)
}

/// `numerator / denominator`, halves away from zero.
pub(super) fn divided(numerator: i256, denominator: i256) -> Option<i256> {
    let quotient = numerator.checked_div(denominator)?;
    let rest = numerator.checked_rem(denominator)?.checked_abs()?;
    let half = rest.checked_mul(i256::from_i128(2))? >= denominator.checked_abs()?;
    if !half {
        return Some(quotient);
    }
    let one = i256::from_i128(1);
    if (numerator < i256::ZERO) == (denominator < i256::ZERO) {
        quotient.checked_add(one)
    } else {
        quotient.checked_sub(one)
    }
}

/// `value / 10^from` with `to` digits after the point, halves away from zero.
pub(super) fn rescaled(value: i256, from: i32, to: i32) -> Option<i256> {
    let factor = power(from.abs_diff(to));
    if from <= to {
        if value == i256::ZERO {
            return Some(value);
        }
        return value.checked_mul(factor?);
    }
    match factor {
        Some(factor) => divided(value, factor),
        // All digits are far behind the last that counts.
        None => Some(i256::ZERO),
    }
}

/// The value in so many digits.
pub(super) fn checked(value: Option<i256>, ty: &PrimitiveType) -> Cell<i128> {
    let &PrimitiveType::Decimal { precision, .. } = ty else {
        return Err(Fault::RANGE);
    };
    let limit = 10_u128.checked_pow(precision.into()).ok_or(Fault::RANGE)?;
    let value = value.and_then(i256::to_i128).ok_or(Fault::RANGE)?;
    if value.unsigned_abs() < limit {
        Ok(Some(value))
    } else {
        Err(Fault::RANGE)
    }
}

/// `digits / 10^scale` as a value of the type.
pub(super) fn in_type((digits, scale): (i128, i32), ty: &PrimitiveType) -> Cell<i128> {
    let &PrimitiveType::Decimal { scale: to, .. } = ty else {
        return Err(Fault::RANGE);
    };
    checked(rescaled(i256::from_i128(digits), scale, to.into()), ty)
}

/// Reads `-12.50`, `1e-5`: the digits, and how many of them are after the point.
pub(super) fn digits(text: &str) -> Option<(i128, i32)> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let only_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !only_digits(whole) || !only_digits(fraction) {
        return None;
    }
    let digits = format!("{sign}{whole}{fraction}").parse().ok()?;
    let fraction = i32::try_from(fraction.len()).ok()?;
    let scale = fraction.checked_sub(exponent.parse().ok()?)?;
    (scale.abs() < 1_000).then_some((digits, scale))
}

/// The shortest digits that mean this double. A value of 32 bits is one of 64 first, as in Spark.
pub(super) fn shortest(value: f64) -> Option<(i128, i32)> {
    digits(&format!("{value:e}"))
}

/// Digits in plain notation.
pub(super) fn plain(unscaled: i128, scale: u8) -> String {
    let sign = if unscaled < 0 { "-" } else { "" };
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    match digits.split_at_checked(digits.len().saturating_sub(scale)) {
        Some((whole, fraction)) if 0 < scale => format!("{sign}{whole}.{fraction}"),
        _ => format!("{sign}{digits}"),
    }
}
