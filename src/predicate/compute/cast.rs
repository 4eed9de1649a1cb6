//! Values as values of other types: Spark's `CAST` in ANSI mode. Times of day are in UTC.

use std::borrow::Cow;

use crate::error::Result;
use crate::predicate::compute::arithmetic::{in_range, rounded};
use crate::predicate::compute::{Cell, Cells, Fault, decimal, map, mistyped};
use crate::protocol::schema::PrimitiveType;
use crate::protocol::value::{Scalar, nearest_double};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// Whether a number is of this type, without a fraction.
pub(in crate::predicate) fn is_whole(ty: &PrimitiveType) -> bool {
    matches!(
        ty,
        PrimitiveType::Byte | PrimitiveType::Short | PrimitiveType::Integer | PrimitiveType::Long
    )
}

/// Whether values of this type are numbers.
pub(in crate::predicate) fn is_number(ty: &PrimitiveType) -> bool {
    is_whole(ty)
        || matches!(
            ty,
            PrimitiveType::Float | PrimitiveType::Double | PrimitiveType::Decimal { .. }
        )
}

/// Whether values of this type are days or times.
pub(in crate::predicate) fn is_time(ty: &PrimitiveType) -> bool {
    matches!(
        ty,
        PrimitiveType::Date | PrimitiveType::Timestamp | PrimitiveType::TimestampNtz
    )
}

/// Whether a cast from one type to the other is understood.
pub(in crate::predicate) fn can_cast(from: &PrimitiveType, to: &PrimitiveType) -> bool {
    use PrimitiveType as T;
    let known = |ty: &T| !matches!(ty, T::Void | T::Variant | T::Unknown(_));
    match (from, to) {
        (from, to) if from == to => true,
        (T::Void, to) => known(to),
        (T::String, to) => known(to),
        (T::Binary, to) => *to == T::String,
        (T::Boolean, to) => is_number(to) || *to == T::String,
        (T::Timestamp, T::Long) => true,
        (from, to) if is_time(from) => is_time(to) || *to == T::String,
        (from, T::Timestamp) => is_whole(from),
        (from, to) if is_number(from) => is_number(to) || matches!(to, T::String | T::Boolean),
        _ => false,
    }
}

/// Whether a value of one type may be stored in a column of the other without being asked to by name: Spark's ANSI
/// store assignment.
pub(in crate::predicate) fn can_assign(from: &PrimitiveType, to: &PrimitiveType) -> bool {
    use PrimitiveType as T;
    let allowed = match (from, to) {
        (T::Void, _) | (_, T::String) => true,
        (from, to) => {
            from == to || (is_number(from) && is_number(to)) || (is_time(from) && is_time(to))
        }
    };
    allowed && can_cast(from, to)
}

/// The values in another type.
pub(in crate::predicate) fn cast<'a>(
    cells: Cells<'a>,
    from: &PrimitiveType,
    to: &PrimitiveType,
) -> Result<Cells<'a>> {
    if from == to {
        return Ok(cells);
    }
    if *from == PrimitiveType::Void {
        return of_nothing(&cells, to);
    }
    match cells {
        Cells::Void(rows) => Ok(Cells::Void(rows)),
        Cells::Text(cells) => of_text(cells, to),
        Cells::Boolean(cells) if *to == PrimitiveType::String => {
            let text = |value| if value { "true" } else { "false" };
            Ok(Cells::Text(map(cells, |value| {
                Ok(Some(Cow::Borrowed(text(value))))
            })))
        }
        Cells::Boolean(cells) => {
            let cells = Cells::Whole(map(cells, |value| Ok(Some(i64::from(value)))));
            cast(cells, &PrimitiveType::Byte, to)
        }
        Cells::Binary(cells) => Ok(Cells::Text(map(cells, |value| {
            let text = String::from_utf8(value.into_owned()).map_err(|_| Fault::TEXT)?;
            Ok(Some(Cow::Owned(text)))
        }))),
        Cells::Whole(cells) if is_time(from) => of_time(cells, from, to),
        Cells::Whole(cells) => of_whole(cells, to),
        Cells::Decimal(cells) => of_decimal(cells, from, to),
        Cells::Float(cells) => of_float(cells, from, to),
    }
}

/// Nulls of a type; what failed before it was null has failed.
fn of_nothing(cells: &Cells<'_>, to: &PrimitiveType) -> Result<Cells<'static>> {
    fn nulls<T>(cells: &Cells<'_>) -> Vec<Cell<T>> {
        let cells = cells.nulls().into_iter();
        cells.map(|cell| cell.map(|_| None)).collect()
    }
    Ok(match to {
        PrimitiveType::Boolean => Cells::Boolean(nulls(cells)),
        PrimitiveType::String => Cells::Text(nulls(cells)),
        PrimitiveType::Binary => Cells::Binary(nulls(cells)),
        PrimitiveType::Float | PrimitiveType::Double => Cells::Float(nulls(cells)),
        PrimitiveType::Decimal { .. } => Cells::Decimal(nulls(cells)),
        to if is_whole(to) || is_time(to) => Cells::Whole(nulls(cells)),
        _ => return Err(mistyped()),
    })
}

fn of_whole(cells: Vec<Cell<i64>>, to: &PrimitiveType) -> Result<Cells<'static>> {
    Ok(match to {
        PrimitiveType::Boolean => Cells::Boolean(map(cells, |value| Ok(Some(value != 0)))),
        PrimitiveType::String => Cells::Text(map(cells, |value| owned(value.to_string()))),
        #[expect(clippy::as_conversions, reason = "to the nearest float, as Spark does")]
        PrimitiveType::Float => Cells::Float(map(cells, |value| Ok(Some(f64::from(value as f32))))),
        #[expect(
            clippy::as_conversions,
            reason = "to the nearest double, as Spark does"
        )]
        PrimitiveType::Double => Cells::Float(map(cells, |value| Ok(Some(value as f64)))),
        PrimitiveType::Decimal { .. } => {
            Cells::Decimal(map(cells, |value| decimal::in_type((value.into(), 0), to)))
        }
        PrimitiveType::Timestamp => Cells::Whole(map(cells, |value| {
            value
                .checked_mul(MICROS_PER_SECOND)
                .map(Some)
                .ok_or(Fault::RANGE)
        })),
        to if is_whole(to) => Cells::Whole(map(cells, |value| in_range(value, to))),
        _ => return Err(mistyped()),
    })
}

fn of_decimal(
    cells: Vec<Cell<i128>>,
    from: &PrimitiveType,
    to: &PrimitiveType,
) -> Result<Cells<'static>> {
    let &PrimitiveType::Decimal { scale, .. } = from else {
        return Err(mistyped());
    };
    Ok(match to {
        PrimitiveType::Boolean => Cells::Boolean(map(cells, |value| Ok(Some(value != 0)))),
        PrimitiveType::String => {
            Cells::Text(map(cells, |value| owned(decimal::plain(value, scale))))
        }
        PrimitiveType::Float | PrimitiveType::Double => Cells::Float(map(cells, |value| {
            let value = nearest_double(value, scale).ok_or(Fault::RANGE)?;
            Ok(Some(rounded(value, to)))
        })),
        PrimitiveType::Decimal { .. } => Cells::Decimal(map(cells, |value| {
            decimal::in_type((value, scale.into()), to)
        })),
        to if is_whole(to) => {
            let one = 10_i128.pow(u32::from(scale).min(38));
            Cells::Whole(map(cells, |value| {
                in_range(i64::try_from(value / one).map_err(|_| Fault::RANGE)?, to)
            }))
        }
        _ => return Err(mistyped()),
    })
}

fn of_float(
    cells: Vec<Cell<f64>>,
    from: &PrimitiveType,
    to: &PrimitiveType,
) -> Result<Cells<'static>> {
    Ok(match to {
        PrimitiveType::Boolean => Cells::Boolean(map(cells, |value| Ok(Some(value != 0.0)))),
        PrimitiveType::String => Cells::Text(map(cells, |value| {
            #[expect(clippy::as_conversions, reason = "a value of 32 bits, back in them")]
            let scalar = match from {
                PrimitiveType::Float => Scalar::Float(value as f32),
                _ => Scalar::Double(value),
            };
            owned(text_of(&scalar)?)
        })),
        PrimitiveType::Float | PrimitiveType::Double => {
            Cells::Float(map(cells, |value| Ok(Some(rounded(value, to)))))
        }
        PrimitiveType::Decimal { .. } => Cells::Decimal(map(cells, |value| {
            decimal::in_type(decimal::shortest(value).ok_or(Fault::RANGE)?, to)
        })),
        to if is_whole(to) => Cells::Whole(map(cells, |value| {
            in_range(whole_of_float(value.trunc())?, to)
        })),
        _ => return Err(mistyped()),
    })
}

/// A float without a fraction as an integer.
pub(super) fn whole_of_float(value: f64) -> Result<i64, Fault> {
    let limit = 2_f64.powi(63);
    if -limit <= value && value < limit {
        #[expect(clippy::as_conversions, reason = "a whole number in range")]
        let value = value as i64;
        Ok(value)
    } else {
        Err(Fault::RANGE)
    }
}

fn of_time(
    cells: Vec<Cell<i64>>,
    from: &PrimitiveType,
    to: &PrimitiveType,
) -> Result<Cells<'static>> {
    use PrimitiveType as T;
    Ok(match (from, to) {
        (_, T::String) => Cells::Text(map(cells, |value| owned(time_text(value, from)?))),
        (T::Date, T::Timestamp | T::TimestampNtz) => Cells::Whole(map(cells, |value| {
            value
                .checked_mul(MICROS_PER_DAY)
                .map(Some)
                .ok_or(Fault::CALENDAR)
        })),
        (_, T::Date) => Cells::Whole(map(cells, |value| {
            Ok(Some(value.div_euclid(MICROS_PER_DAY)))
        })),
        (_, T::Timestamp | T::TimestampNtz) => Cells::Whole(cells),
        (_, T::Long) => Cells::Whole(map(cells, |value| {
            Ok(Some(value.div_euclid(MICROS_PER_SECOND)))
        })),
        _ => return Err(mistyped()),
    })
}

/// `2013-06-30`, `2013-06-30 12:00:00.5`.
fn time_text(value: i64, ty: &PrimitiveType) -> Result<String, Fault> {
    if *ty == PrimitiveType::Date {
        let day = i32::try_from(value).map_err(|_| Fault::CALENDAR)?;
        return text_of(&Scalar::Date(day));
    }
    let text = text_of(&Scalar::TimestampNtz(value))?;
    Ok(if text.contains('.') {
        text.trim_end_matches('0').to_owned()
    } else {
        text
    })
}

fn text_of(scalar: &Scalar) -> Result<String, Fault> {
    let text = scalar.to_partition_value().map_err(|_| Fault::CALENDAR)?;
    text.ok_or(Fault::CALENDAR)
}

fn owned<'a>(text: String) -> Cell<Cow<'a, str>> {
    Ok(Some(Cow::Owned(text)))
}

fn of_text<'a>(cells: Vec<Cell<Cow<'a, str>>>, to: &PrimitiveType) -> Result<Cells<'a>> {
    Ok(match to {
        PrimitiveType::Boolean => Cells::Boolean(map(cells, |text| {
            let text = text.trim().to_ascii_lowercase();
            match text.as_str() {
                "t" | "true" | "y" | "yes" | "1" => Ok(Some(true)),
                "f" | "false" | "n" | "no" | "0" => Ok(Some(false)),
                _ => Err(Fault::TEXT),
            }
        })),
        PrimitiveType::Float | PrimitiveType::Double => Cells::Float(map(cells, |text| {
            let text = text.trim();
            Ok(Some(match to {
                PrimitiveType::Float => f64::from(text.parse::<f32>().map_err(|_| Fault::TEXT)?),
                _ => text.parse::<f64>().map_err(|_| Fault::TEXT)?,
            }))
        })),
        PrimitiveType::Decimal { .. } => Cells::Decimal(map(cells, |text| {
            decimal::in_type(decimal::digits(text.trim()).ok_or(Fault::TEXT)?, to)
        })),
        PrimitiveType::Binary => Cells::Binary(map(cells, |text| {
            Ok(Some(Cow::Owned(text.into_owned().into_bytes())))
        })),
        PrimitiveType::Date => Cells::Whole(map(cells, |text| match read(&text, to) {
            Some(Scalar::Date(day)) => Ok(Some(day.into())),
            _ => match read(&text, &PrimitiveType::Timestamp) {
                Some(Scalar::Timestamp(micros)) => Ok(Some(micros.div_euclid(MICROS_PER_DAY))),
                _ => Err(Fault::TEXT),
            },
        })),
        PrimitiveType::Timestamp | PrimitiveType::TimestampNtz => {
            Cells::Whole(map(cells, |text| match read(&text, to) {
                Some(Scalar::Timestamp(micros) | Scalar::TimestampNtz(micros)) => Ok(Some(micros)),
                _ => Err(Fault::TEXT),
            }))
        }
        to if is_whole(to) => Cells::Whole(map(cells, |text| {
            in_range(text.trim().parse().map_err(|_| Fault::TEXT)?, to)
        })),
        _ => return Err(mistyped()),
    })
}

fn read(text: &str, ty: &PrimitiveType) -> Option<Scalar> {
    Scalar::from_partition_value(Some(text), ty).ok()
}
