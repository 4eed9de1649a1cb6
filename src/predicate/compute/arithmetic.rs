//! Numbers reckoned from numbers: exact, or a fault.

use arrow_buffer::i256;

use crate::error::Result;
use crate::predicate::Arithmetic;
use crate::predicate::compute::{Cell, Cells, Fault, decimal, map, map2, mistyped};
use crate::protocol::schema::PrimitiveType;

/// Two columns of numbers, in types that binding has chosen: both the result's, but for decimals, which keep theirs.
pub(in crate::predicate) fn reckon<'a>(
    op: Arithmetic,
    (left, left_type): (Cells<'a>, &PrimitiveType),
    (right, right_type): (Cells<'a>, &PrimitiveType),
    ty: &PrimitiveType,
) -> Result<Cells<'a>> {
    Ok(match ty {
        PrimitiveType::Float | PrimitiveType::Double => {
            let reckon = |a, b| float(op, a, b).map(|value| Some(rounded(value, ty)));
            Cells::Float(map2(left.floats()?, right.floats()?, reckon))
        }
        PrimitiveType::Decimal { .. } => {
            let scale = |ty: &PrimitiveType| match *ty {
                PrimitiveType::Decimal { scale, .. } => Ok(i32::from(scale)),
                PrimitiveType::Void => Ok(0),
                _ => Err(mistyped()),
            };
            let (a, b, to) = (scale(left_type)?, scale(right_type)?, scale(ty)?);
            let reckon = |left, right| {
                if right == 0 && matches!(op, Arithmetic::Divide | Arithmetic::Remainder) {
                    return Err(Fault::ZERO);
                }
                decimal::checked(exact(op, (left, a), (right, b), to), ty)
            };
            Cells::Decimal(map2(left.decimals()?, right.decimals()?, reckon))
        }
        _ => {
            let reckon = |a, b| in_range(whole(op, a, b)?, ty);
            Cells::Whole(map2(left.wholes()?, right.wholes()?, reckon))
        }
    })
}

/// An integer, if the type has it.
pub(in crate::predicate) fn in_range(value: i64, ty: &PrimitiveType) -> Cell<i64> {
    let fits = match ty {
        PrimitiveType::Byte => i8::try_from(value).is_ok(),
        PrimitiveType::Short => i16::try_from(value).is_ok(),
        PrimitiveType::Integer | PrimitiveType::Date => i32::try_from(value).is_ok(),
        _ => true,
    };
    if fits {
        Ok(Some(value))
    } else {
        Err(Fault::RANGE)
    }
}

/// A float as its type has it.
#[expect(clippy::as_conversions, reason = "rounding to 32 bits is the point")]
pub(in crate::predicate) fn rounded(value: f64, ty: &PrimitiveType) -> f64 {
    match ty {
        PrimitiveType::Float => f64::from(value as f32),
        _ => value,
    }
}

fn whole(op: Arithmetic, a: i64, b: i64) -> Result<i64, Fault> {
    let value = match op {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Subtract => a.checked_sub(b),
        Arithmetic::Multiply => a.checked_mul(b),
        Arithmetic::Divide | Arithmetic::Remainder if b == 0 => return Err(Fault::ZERO),
        Arithmetic::Divide => a.checked_div(b),
        // The one that overflows has no remainder.
        Arithmetic::Remainder => Some(a.checked_rem(b).unwrap_or(0)),
    };
    value.ok_or(Fault::RANGE)
}

// Sums, products and quotients of 32 bits, rounded twice, are what they are rounded once.
fn float(op: Arithmetic, a: f64, b: f64) -> Result<f64, Fault> {
    Ok(match op {
        Arithmetic::Add => a + b,
        Arithmetic::Subtract => a - b,
        Arithmetic::Multiply => a * b,
        Arithmetic::Divide | Arithmetic::Remainder if b == 0.0 => return Err(Fault::ZERO),
        Arithmetic::Divide => a / b,
        Arithmetic::Remainder => a % b,
    })
}

/// `left / 10^a op right / 10^b` with `to` digits after the point.
fn exact(op: Arithmetic, (left, a): (i128, i32), (right, b): (i128, i32), to: i32) -> Option<i256> {
    let (left, right) = (i256::from_i128(left), i256::from_i128(right));
    let common = a.max(b);
    let wide = |value, scale| decimal::rescaled(value, scale, common);
    match op {
        Arithmetic::Add => {
            let sum = wide(left, a)?.checked_add(wide(right, b)?)?;
            decimal::rescaled(sum, common, to)
        }
        Arithmetic::Subtract => {
            let difference = wide(left, a)?.checked_sub(wide(right, b)?)?;
            decimal::rescaled(difference, common, to)
        }
        Arithmetic::Multiply => decimal::rescaled(left.checked_mul(right)?, a + b, to),
        Arithmetic::Remainder => {
            let rest = wide(left, a)?.checked_rem(wide(right, b)?)?;
            decimal::rescaled(rest, common, to)
        }
        Arithmetic::Divide => {
            let shift = to - a + b;
            if 0 <= shift {
                decimal::divided(decimal::rescaled(left, 0, shift)?, right)
            } else {
                decimal::divided(left, decimal::rescaled(right, 0, -shift)?)
            }
        }
    }
}

/// Numbers with the other sign.
pub(in crate::predicate) fn negated<'a>(cells: Cells<'a>, ty: &PrimitiveType) -> Result<Cells<'a>> {
    Ok(match cells {
        Cells::Whole(cells) => Cells::Whole(map(cells, |value| {
            in_range(value.checked_neg().ok_or(Fault::RANGE)?, ty)
        })),
        Cells::Decimal(cells) => Cells::Decimal(map(cells, |value| {
            value.checked_neg().map(Some).ok_or(Fault::RANGE)
        })),
        Cells::Float(cells) => Cells::Float(map(cells, |value| Ok(Some(-value)))),
        Cells::Void(rows) => Cells::Void(rows),
        _ => return Err(mistyped()),
    })
}

/// Numbers without their sign.
pub(super) fn absolute<'a>(cells: Cells<'a>, ty: &PrimitiveType) -> Result<Cells<'a>> {
    Ok(match cells {
        Cells::Whole(cells) => Cells::Whole(map(cells, |value| {
            in_range(value.checked_abs().ok_or(Fault::RANGE)?, ty)
        })),
        Cells::Decimal(cells) => Cells::Decimal(map(cells, |value| {
            value.checked_abs().map(Some).ok_or(Fault::RANGE)
        })),
        Cells::Float(cells) => Cells::Float(map(cells, |value| Ok(Some(value.abs())))),
        Cells::Void(rows) => Cells::Void(rows),
        _ => return Err(mistyped()),
    })
}

/// To whole numbers, up or down: longs of floats, decimals without a fraction of decimals.
pub(super) fn stepped<'a>(
    cells: Cells<'a>,
    from: &PrimitiveType,
    ty: &PrimitiveType,
    up: bool,
) -> Result<Cells<'a>> {
    Ok(match cells {
        Cells::Float(cells) => Cells::Whole(map(cells, |value| {
            let value = if up { value.ceil() } else { value.floor() };
            #[expect(clippy::as_conversions, reason = "saturates, as in Spark; NaN is 0")]
            Ok(Some(value as i64))
        })),
        Cells::Decimal(cells) => {
            let &PrimitiveType::Decimal { scale, .. } = from else {
                return Err(mistyped());
            };
            let one = 10_i128.pow(u32::from(scale).min(38));
            Cells::Decimal(map(cells, |value| {
                let floor = value.div_euclid(one);
                let value = floor + i128::from(up && value.rem_euclid(one) != 0);
                decimal::checked(Some(i256::from_i128(value)), ty)
            }))
        }
        whole => whole,
    })
}

/// To so many digits after the point, halves away from zero.
pub(super) fn to_digits<'a>(
    cells: Cells<'a>,
    from: &PrimitiveType,
    ty: &PrimitiveType,
    digits: i32,
) -> Result<Cells<'a>> {
    let cut = |value: i128, scale: i32| {
        decimal::rescaled(i256::from_i128(value), scale, digits)
            .and_then(|value| decimal::rescaled(value, digits, scale.max(digits).max(0)))
    };
    Ok(match cells {
        Cells::Whole(cells) if 0 <= digits => Cells::Whole(cells),
        Cells::Whole(cells) => Cells::Whole(map(cells, |value| {
            let value = cut(value.into(), 0).and_then(i256::to_i128);
            let value = value.and_then(|value| i64::try_from(value).ok());
            in_range(value.ok_or(Fault::RANGE)?, ty)
        })),
        Cells::Decimal(cells) => {
            let &PrimitiveType::Decimal { scale, .. } = from else {
                return Err(mistyped());
            };
            Cells::Decimal(map(cells, |value| {
                let digits = digits.min(scale.into());
                let value = decimal::rescaled(i256::from_i128(value), scale.into(), digits);
                let &PrimitiveType::Decimal { scale: to, .. } = ty else {
                    return Err(Fault::RANGE);
                };
                decimal::checked(
                    value.and_then(|value| decimal::rescaled(value, digits, to.into())),
                    ty,
                )
            }))
        }
        Cells::Float(cells) => Cells::Float(map(cells, |value| {
            if !value.is_finite() {
                return Ok(Some(value));
            }
            let Some((shortest, scale)) = decimal::shortest(value) else {
                return Err(Fault::RANGE);
            };
            if scale <= digits {
                return Ok(Some(value));
            }
            let value = decimal::rescaled(i256::from_i128(shortest), scale, digits);
            let value = value.and_then(i256::to_i128).ok_or(Fault::RANGE)?;
            let value: f64 = format!("{value}e{}", -digits)
                .parse()
                .map_err(|_| Fault::RANGE)?;
            Ok(Some(rounded(value, ty)))
        })),
        other => other,
    })
}
