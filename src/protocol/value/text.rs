//! A scalar from and to text: as a partition value, and as a bound in the JSON of statistics.

use chrono::{Datelike, NaiveDate};

use crate::error::{Code, Error, Result};
use crate::protocol::schema::PrimitiveType;
use crate::protocol::value::Scalar;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// Days from 0001-01-01, which is day 1, to the epoch.
const EPOCH_FROM_COMMON_ERA: i32 = 719_163;

impl Scalar {
    /// Reads a value of `partitionValues`. No value and the empty string are null, whatever the type.
    ///
    /// A timestamp without a zone is taken as UTC: the protocol means the writer's zone, which is nowhere recorded.
    ///
    /// Spec: [Partition Value Serialization](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#partition-value-serialization).
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::error::ErrorKind::Corrupt) if the text is no value of the type: it never becomes null by
    /// accident. [`Unsupported`](crate::error::ErrorKind::Unsupported) if the type cannot partition a table.
    pub fn from_partition_value(text: Option<&str>, ty: &PrimitiveType) -> Result<Self> {
        let text = match text {
            None | Some("") => return Ok(Self::Null),
            Some(text) => text,
        };
        let value = match ty {
            PrimitiveType::String => Some(Self::from(text)),
            PrimitiveType::Binary => Some(Self::from(text.as_bytes())),
            PrimitiveType::Boolean => boolean(text),
            PrimitiveType::Byte => text.trim().parse().ok().map(Self::Byte),
            PrimitiveType::Short => text.trim().parse().ok().map(Self::Short),
            PrimitiveType::Integer => text.trim().parse().ok().map(Self::Integer),
            PrimitiveType::Long => text.trim().parse().ok().map(Self::Long),
            PrimitiveType::Float => float(text).map(Self::Float),
            PrimitiveType::Double => double(text).map(Self::Double),
            &PrimitiveType::Decimal { precision, scale } => {
                decimal(text.trim()).and_then(|value| value.in_type(precision, scale))
            }
            PrimitiveType::Date => date(text).map(Self::Date),
            PrimitiveType::Timestamp => instant(text).map(|(micros, _)| Self::Timestamp(micros)),
            PrimitiveType::TimestampNtz => match instant(text) {
                Some((micros, Zone::None)) => Some(Self::TimestampNtz(micros)),
                _ => None,
            },
            PrimitiveType::Void | PrimitiveType::Variant | PrimitiveType::Unknown(_) => {
                return Err(Error::unsupported(format!("a table partitioned by a {ty}")));
            }
        };
        value.ok_or_else(|| {
            Error::corrupt(
                Code::DataCorrupt,
                format!("a partition value is not of type {ty}"),
            )
        })
    }

    /// The value as text for `partitionValues`; `None` is null, which is also what an empty text becomes.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::error::ErrorKind::Invalid) if partition values cannot say it: bytes that are not UTF-8, and
    /// dates far outside the calendar.
    pub fn to_partition_value(&self) -> Result<Option<String>> {
        let wrong = |what: &str| {
            let message = format!("{what} cannot be the value of a partition column");
            Err(Error::invalid(Code::RowsRejected, message))
        };
        let text = match self {
            Self::Null => return Ok(None),
            Self::String(value) => value.clone(),
            Self::Binary(value) => match String::from_utf8(value.clone()) {
                Ok(text) => text,
                Err(_) => return wrong("binary data that is not UTF-8"),
            },
            &Self::Date(days) => match calendar(days.into()) {
                Some(date) => date.to_string(),
                None => return wrong("a date outside the calendar"),
            },
            &Self::Timestamp(micros) => match clock(micros, 'T', Digits::Six) {
                Some(text) => format!("{text}Z"),
                None => return wrong("a time outside the calendar"),
            },
            &Self::TimestampNtz(micros) => match clock(micros, ' ', Digits::SixOrNone) {
                Some(text) => text,
                None => return wrong("a time outside the calendar"),
            },
            Self::Boolean(value) => value.to_string(),
            &Self::Float(value) => {
                float_text(value.into(), format!("{value:?}"), format!("{value:E}"))
            }
            &Self::Double(value) => float_text(value, format!("{value:?}"), format!("{value:E}")),
            Self::Byte(_) | Self::Short(_) | Self::Integer(_) | Self::Long(_) => self.digits(),
            Self::Decimal { .. } => self.digits(),
        };
        Ok((!text.is_empty()).then_some(text))
    }

    /// Reads a bound of `minValues` or `maxValues` from the text of one JSON value.
    ///
    /// `None`, which means that nothing is known, if it is null, not of the type, or of a type without bounds.
    /// Numbers are read digit by digit, never through floating point. The bound is as written: see
    /// [`FileStatistics`](crate::protocol::statistics::FileStatistics) for what may be concluded from it.
    ///
    /// Spec: [Per-file Statistics](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#per-file-statistics).
    pub fn from_statistics(json: &str, ty: &PrimitiveType) -> Option<Self> {
        let json = json.trim();
        let string: Option<String> = if json.starts_with('"') {
            Some(serde_json::from_str(json).ok()?)
        } else {
            None
        };
        // Some writers quote numbers; no writer leaves text without quotes.
        let number = string.as_deref().unwrap_or(json);
        match ty {
            PrimitiveType::String => string.map(Self::String),
            PrimitiveType::Date => date(string.as_deref()?).map(Self::Date),
            // A time without a zone is in the writer's, which is not known: it bounds nothing.
            PrimitiveType::Timestamp => match instant(string.as_deref()?)? {
                (_, Zone::None) => None,
                (micros, _) => Some(Self::Timestamp(micros)),
            },
            PrimitiveType::TimestampNtz => match instant(string.as_deref()?)? {
                (_, Zone::Offset) => None,
                (micros, _) => Some(Self::TimestampNtz(micros)),
            },
            PrimitiveType::Boolean => boolean(number),
            PrimitiveType::Float => float(number).map(Self::Float),
            PrimitiveType::Double => double(number).map(Self::Double),
            PrimitiveType::Byte => decimal(number)?
                .rescaled(38, 0)?
                .try_into()
                .ok()
                .map(Self::Byte),
            PrimitiveType::Short => decimal(number)?
                .rescaled(38, 0)?
                .try_into()
                .ok()
                .map(Self::Short),
            PrimitiveType::Integer => decimal(number)?
                .rescaled(38, 0)?
                .try_into()
                .ok()
                .map(Self::Integer),
            PrimitiveType::Long => decimal(number)?
                .rescaled(38, 0)?
                .try_into()
                .ok()
                .map(Self::Long),
            &PrimitiveType::Decimal { precision, scale } => {
                let read = decimal(number)?;
                Some(read.in_type(precision, scale).unwrap_or(read))
            }
            PrimitiveType::Binary
            | PrimitiveType::Void
            | PrimitiveType::Variant
            | PrimitiveType::Unknown(_) => None,
        }
    }

    /// The value as JSON text for `minValues` or `maxValues`; `None` where JSON, or the readers of statistics, cannot
    /// say it: null, booleans, bytes, years outside 0001 to 9999. NaN and infinities are strings.
    ///
    /// A timestamp keeps its microseconds; rounding it to milliseconds in the sound direction is up to the caller.
    pub fn to_statistics(&self) -> Option<String> {
        let quoted = |text: String| serde_json::to_string(&text).ok();
        match self {
            Self::Null | Self::Boolean(_) | Self::Binary(_) => None,
            Self::String(value) => serde_json::to_string(value).ok(),
            &Self::Float(value) => {
                let text = float_text(value.into(), format!("{value:?}"), format!("{value:E}"));
                if value.is_finite() {
                    Some(text)
                } else {
                    quoted(text)
                }
            }
            &Self::Double(value) => {
                let text = float_text(value, format!("{value:?}"), format!("{value:E}"));
                if value.is_finite() {
                    Some(text)
                } else {
                    quoted(text)
                }
            }
            &Self::Date(days) => quoted(common_year(calendar(days.into())?)?.to_string()),
            &Self::Timestamp(micros) => {
                common_year(calendar(micros.div_euclid(MICROS_PER_DAY))?)?;
                quoted(format!("{}Z", clock(micros, 'T', Digits::ThreeOrSix)?))
            }
            &Self::TimestampNtz(micros) => {
                common_year(calendar(micros.div_euclid(MICROS_PER_DAY))?)?;
                quoted(clock(micros, 'T', Digits::ThreeOrSix)?)
            }
            _ => Some(self.digits()),
        }
    }

    /// An integer or decimal in plain digits; empty for anything else.
    fn digits(&self) -> String {
        match *self {
            Self::Byte(value) => value.to_string(),
            Self::Short(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Long(value) => value.to_string(),
            Self::Decimal {
                unscaled, scale, ..
            } => {
                let sign = if unscaled < 0 { "-" } else { "" };
                let scale = usize::from(scale);
                let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
                match digits.split_at_checked(digits.len().saturating_sub(scale)) {
                    Some((whole, fraction)) if 0 < scale => format!("{sign}{whole}.{fraction}"),
                    _ => format!("{sign}{digits}"),
                }
            }
            _ => String::new(),
        }
    }

    fn in_type(&self, precision: u8, scale: u8) -> Option<Self> {
        let unscaled = self.rescaled(precision, scale)?;
        Some(Self::Decimal {
            unscaled,
            precision,
            scale,
        })
    }
}

fn boolean(text: &str) -> Option<Scalar> {
    let text = text.trim();
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    if is("true") {
        Some(Scalar::Boolean(true))
    } else if is("false") {
        Some(Scalar::Boolean(false))
    } else {
        None
    }
}

/// Infinite only if the text says so: a number too large for the type is no number of the type.
fn says_infinity(text: &str) -> bool {
    text.contains(['i', 'I'])
}

fn float(text: &str) -> Option<f32> {
    let value: f32 = text.trim().parse().ok()?;
    (value.is_infinite() == says_infinity(text)).then_some(value)
}

fn double(text: &str) -> Option<f64> {
    let value: f64 = text.trim().parse().ok()?;
    (value.is_infinite() == says_infinity(text)).then_some(value)
}

/// A float as the reference engine writes it, so that partitions of equal values have equal texts.
fn float_text(value: f64, plain: String, scientific: String) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value < 0.0 { "-Infinity" } else { "Infinity" }.to_owned();
    }
    if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
        return plain;
    }
    match scientific.split_once('E') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
        _ => scientific,
    }
}

/// Reads `-12.50`, `1.0E-5`, `0E-18`: exact, in the smallest scale that holds it.
fn decimal(text: &str) -> Option<Scalar> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().ok()?;
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some(Scalar::Decimal {
            unscaled: 0,
            precision: 1,
            scale: 0,
        });
    }
    let dropped = i32::try_from(digits.len() - significant.len()).ok()?;
    let fraction = i32::try_from(fraction.len()).ok()?;
    let power = exponent.checked_add(dropped)?.checked_sub(fraction)?;
    let mut unscaled: i128 = significant.parse().ok()?;
    if 0 < power {
        unscaled = unscaled.checked_mul(10_i128.checked_pow(power.unsigned_abs())?)?;
    }
    let scale = if power < 0 {
        u8::try_from(power.unsigned_abs()).ok()?
    } else {
        0
    };
    let precision = u8::try_from(unscaled.unsigned_abs().checked_ilog10()? + 1).ok()?;
    Some(Scalar::Decimal {
        unscaled: if negative {
            unscaled.checked_neg()?
        } else {
            unscaled
        },
        precision: precision.max(scale),
        scale,
    })
}

fn date(text: &str) -> Option<i32> {
    let text = text.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut parts = digits.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || year.len() < 4 {
        return None;
    }
    let year = i32::try_from(number(year, 6)?).ok()?;
    let date = NaiveDate::from_ymd_opt(sign * year, number(month, 2)?, number(day, 2)?)?;
    date.num_days_from_ce().checked_sub(EPOCH_FROM_COMMON_ERA)
}

/// Between one and `longest` digits and nothing else.
fn number(text: &str, longest: usize) -> Option<u32> {
    let digits =
        !text.is_empty() && text.len() <= longest && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Zone {
    /// None given.
    None,
    /// `Z`.
    Utc,
    /// Hours and minutes from UTC.
    Offset,
}

/// Reads a date with or without a time and a zone, as microseconds since the epoch.
fn instant(text: &str) -> Option<(i64, Zone)> {
    let text = text.trim();
    let Some((day, time)) = text.split_once(['T', ' ']) else {
        return Some((
            i64::from(date(text)?).checked_mul(MICROS_PER_DAY)?,
            Zone::None,
        ));
    };
    let (time, offset, zone) = match time.strip_suffix(['Z', 'z']) {
        Some(time) => (time, 0, Zone::Utc),
        None => match time
            .find(['+', '-'])
            .and_then(|at| time.split_at_checked(at))
        {
            Some((time, offset)) => (time, offset_seconds(offset)?, Zone::Offset),
            None => (time, 0, Zone::None),
        },
    };
    let mut parts = time.trim_end().split(':');
    let (hour, minute) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let (second, fraction) = match parts.next() {
        Some(text) => text.split_once('.').unwrap_or((text, "")),
        None => ("0", ""),
    };
    let second = number(second, 2)?;
    if parts.next().is_some() || 23 < hour || 59 < minute || 59 < second {
        return None;
    }
    let seconds = i64::from(hour * 3600 + minute * 60 + second) - offset;
    let micros = i64::from(date(day)?).checked_mul(MICROS_PER_DAY)?;
    let micros = micros.checked_add(seconds.checked_mul(MICROS_PER_SECOND)?)?;
    Some((micros.checked_add(fraction_micros(fraction)?)?, zone))
}

/// The fraction of a second in microseconds; further digits are cut, as Spark cuts them.
fn fraction_micros(digits: &str) -> Option<i64> {
    if 9 < digits.len() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    format!("{digits:0<6}").get(..6)?.parse().ok()
}

/// Reads `+01:30`, `-0800`, `+5`, `-07:52:58`.
fn offset_seconds(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+')?),
    };
    let mut parts = digits.split(':');
    let (hours, minutes) = match (parts.next()?, parts.next()) {
        (hours, Some(minutes)) => (hours, minutes),
        (both, None) if both.len() == 4 => both.split_at_checked(2)?,
        (hours, None) => (hours, "0"),
    };
    let seconds = parts.next().map_or(Some(0), |seconds| number(seconds, 2))?;
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    if parts.next().is_some() || 18 < hours || 59 < minutes || 59 < seconds {
        return None;
    }
    Some(sign * i64::from(hours * 3600 + minutes * 60 + seconds))
}

fn calendar(days: i64) -> Option<NaiveDate> {
    let days = i32::try_from(days)
        .ok()?
        .checked_add(EPOCH_FROM_COMMON_ERA)?;
    NaiveDate::from_num_days_from_ce_opt(days)
}

fn common_year(date: NaiveDate) -> Option<NaiveDate> {
    (1..=9999).contains(&date.year()).then_some(date)
}

enum Digits {
    Six,
    SixOrNone,
    ThreeOrSix,
}

/// Date and time with the separator between them and this many digits after the second.
fn clock(micros: i64, separator: char, digits: Digits) -> Option<String> {
    let date = calendar(micros.div_euclid(MICROS_PER_DAY))?;
    let of_day = micros.rem_euclid(MICROS_PER_DAY);
    let (second, fraction) = (of_day / MICROS_PER_SECOND, of_day % MICROS_PER_SECOND);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let text = format!("{date}{separator}{hour:02}:{minute:02}:{second:02}");
    Some(match digits {
        Digits::SixOrNone if fraction == 0 => text,
        Digits::ThreeOrSix if fraction % 1000 == 0 => format!("{text}.{:03}", fraction / 1000),
        _ => format!("{text}.{fraction:06}"),
    })
}
