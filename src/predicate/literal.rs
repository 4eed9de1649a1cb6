//! Names and literals in SQL text, both ways.

use std::fmt::Write;

use sqlparser::keywords::ALL_KEYWORDS;

use crate::error::{Code, Error, Result};
use crate::protocol::schema::PrimitiveType;
use crate::protocol::value::Scalar;

const DECIMAL_DIGITS_MAX: u32 = 38;

/// The path of a column, its names in back-ticks where they need them.
pub(super) fn column(path: &[String]) -> String {
    let names: Vec<String> = path.iter().map(|name| identifier(name)).collect();
    names.join(".")
}

fn identifier(name: &str) -> String {
    let mut chars = name.chars();
    let starts = chars
        .next()
        .is_some_and(|char| char.is_ascii_alphabetic() || char == '_');
    let plain = starts && chars.all(|char| char.is_ascii_alphanumeric() || char == '_');
    let keyword = || {
        ALL_KEYWORDS
            .binary_search(&name.to_ascii_uppercase().as_str())
            .is_ok()
    };
    if plain && !keyword() {
        name.to_owned()
    } else {
        format!("`{}`", name.replace('`', "``"))
    }
}

/// Text in single quotes.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A literal that parses to the same scalar.
pub(super) fn to_sql(scalar: &Scalar) -> String {
    match scalar {
        Scalar::Null => "NULL".to_owned(),
        Scalar::Boolean(value) => if *value { "TRUE" } else { "FALSE" }.to_owned(),
        Scalar::Byte(value) => format!("CAST({value} AS TINYINT)"),
        Scalar::Short(value) => format!("CAST({value} AS SMALLINT)"),
        Scalar::Integer(value) => value.to_string(),
        Scalar::Long(value) if i32::try_from(*value).is_ok() => format!("{value}L"),
        Scalar::Long(value) => value.to_string(),
        Scalar::Float(value) => {
            format!("CAST('{}' AS FLOAT)", float_text(f64::from(*value), value))
        }
        Scalar::Double(value) if value.is_finite() => double_text(*value),
        Scalar::Double(value) => format!("CAST('{}' AS DOUBLE)", float_text(*value, value)),
        &Scalar::Decimal {
            unscaled,
            precision,
            scale,
        } => {
            let digits = decimal_text(unscaled, scale);
            if precision == natural_precision(unscaled, scale) {
                digits
            } else {
                format!("CAST({digits} AS DECIMAL({precision},{scale}))")
            }
        }
        Scalar::String(value) => quoted(value),
        Scalar::Binary(value) => {
            let mut out = String::with_capacity(value.len() * 2 + 3);
            out.push_str("X'");
            for byte in value {
                // Writing into a string cannot fail.
                let _ = write!(out, "{byte:02X}");
            }
            out + "'"
        }
        Scalar::Date(_) => format!("DATE '{}'", text_of(scalar)),
        Scalar::Timestamp(_) => format!("TIMESTAMP '{}'", text_of(scalar)),
        Scalar::TimestampNtz(_) => format!("TIMESTAMP_NTZ '{}'", text_of(scalar)),
    }
}

fn text_of(scalar: &Scalar) -> String {
    scalar
        .to_partition_value()
        .ok()
        .flatten()
        .unwrap_or_default()
}

fn float_text(value: f64, shortest: &dyn std::fmt::Display) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value < 0.0 { "-Infinity" } else { "Infinity" }.to_owned()
    } else {
        shortest.to_string()
    }
}

// An exponent makes a number a double; without one it would be a decimal.
fn double_text(value: f64) -> String {
    let readable = value == 0.0 || (1e-6..1e16).contains(&value.abs());
    if readable {
        format!("{value}e0")
    } else {
        format!("{value:e}")
    }
}

fn decimal_text(unscaled: i128, scale: u8) -> String {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = unscaled.unsigned_abs().to_string();
    let scale = usize::from(scale);
    let digits = format!(
        "{}{digits}",
        "0".repeat((scale + 1).saturating_sub(digits.len()))
    );
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

fn natural_precision(unscaled: i128, scale: u8) -> u8 {
    let digits = unscaled
        .unsigned_abs()
        .checked_ilog10()
        .map_or(1, |digits| digits + 1);
    u8::try_from(digits).unwrap_or(u8::MAX).max(scale)
}

/// The scalar of a number as SQL writes it, with its sign: an integer of the narrowest type from 32 bits on, a double if
/// it has an exponent, a decimal if it has a point or exceeds 64 bits.
pub(super) fn number(text: &str, long: bool) -> Result<Scalar> {
    let invalid = |what: &str| Err(Error::invalid(Code::InvalidPredicate, what));
    if long {
        let value = text.parse().map(Scalar::Long);
        return value.or_else(|_| invalid("a number that ends in L is no 64-bit integer"));
    }
    if text.contains(['e', 'E']) {
        return match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Scalar::Double(value)),
            _ => invalid("a number with an exponent is beyond the range of a double"),
        };
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !text.contains('.') {
        if let Ok(value) = text.parse() {
            return Ok(Scalar::Integer(value));
        }
        if let Ok(value) = text.parse() {
            return Ok(Scalar::Long(value));
        }
    }
    let unscaled = format!("{whole}{fraction}").parse::<i128>().ok();
    let limit = 10_u128.pow(DECIMAL_DIGITS_MAX);
    let unscaled = unscaled.filter(|unscaled| unscaled.unsigned_abs() < limit);
    let scale = u8::try_from(fraction.len()).ok();
    match (
        unscaled,
        scale.filter(|scale| u32::from(*scale) <= DECIMAL_DIGITS_MAX),
    ) {
        (Some(unscaled), Some(scale)) => {
            let precision = natural_precision(unscaled, scale);
            Ok(Scalar::Decimal {
                unscaled,
                precision,
                scale,
            })
        }
        _ => invalid("a number has more than 38 digits"),
    }
}

/// The bytes of `X'...'`.
pub(super) fn binary(hex: &str) -> Result<Scalar> {
    let digits: Option<Vec<u8>> = hex
        .chars()
        .map(|char| char.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let pairs = digits.as_deref().map(<[u8]>::as_chunks::<2>);
    match pairs {
        Some((pairs, [])) => Ok(Scalar::Binary(
            pairs.iter().map(|[high, low]| high << 4 | low).collect(),
        )),
        _ => Err(Error::invalid(
            Code::InvalidPredicate,
            "X'..' does not hold pairs of hex digits",
        )),
    }
}

/// Text as a value of a type, as in `DATE '2013-06-30'` and `CAST('NaN' AS DOUBLE)`.
pub(super) fn typed(text: &str, ty: &PrimitiveType) -> Result<Scalar> {
    let invalid = || Error::invalid(Code::InvalidPredicate, format!("a literal is no {ty}"));
    match ty {
        PrimitiveType::String => Ok(Scalar::String(text.to_owned())),
        PrimitiveType::Binary => Ok(Scalar::Binary(text.as_bytes().to_vec())),
        _ => match Scalar::from_partition_value(Some(text), ty) {
            Ok(Scalar::Null) => Err(invalid()),
            Ok(scalar) => Ok(scalar),
            Err(cause) => Err(invalid().because(cause)),
        },
    }
}

/// A literal in another type, where nothing is lost.
pub(super) fn cast(scalar: Scalar, ty: &PrimitiveType) -> Result<Scalar> {
    match (&scalar, ty) {
        (Scalar::Null, _) => Ok(Scalar::Null),
        (Scalar::String(text), _) => typed(text, ty),
        // A float counts with its value, not with the digits that stand for it.
        (&Scalar::Float(value), PrimitiveType::Double) => Ok(Scalar::Double(value.into())),
        #[expect(clippy::as_conversions, reason = "rounds to the nearest")]
        (&Scalar::Double(value), PrimitiveType::Float) => Ok(Scalar::Float(value as f32)),
        (
            Scalar::Byte(_)
            | Scalar::Short(_)
            | Scalar::Integer(_)
            | Scalar::Long(_)
            | Scalar::Decimal { .. }
            | Scalar::Float(_)
            | Scalar::Double(_),
            PrimitiveType::Float | PrimitiveType::Double,
        )
        | (
            Scalar::Byte(_) | Scalar::Short(_) | Scalar::Integer(_) | Scalar::Long(_),
            PrimitiveType::Byte
            | PrimitiveType::Short
            | PrimitiveType::Integer
            | PrimitiveType::Long
            | PrimitiveType::Decimal { .. },
        ) => typed(&text_of(&scalar), ty),
        (
            &Scalar::Decimal {
                unscaled, scale, ..
            },
            &PrimitiveType::Decimal { precision, .. },
        ) if *ty == PrimitiveType::Decimal { precision, scale }
            && natural_precision(unscaled, scale) <= precision =>
        {
            Ok(Scalar::Decimal {
                unscaled,
                precision,
                scale,
            })
        }
        (Scalar::Decimal { .. }, PrimitiveType::Decimal { .. }) => typed(&text_of(&scalar), ty),
        (scalar, ty) if scalar.data_type().as_ref() == Some(ty) => Ok(scalar.clone()),
        (scalar, ty) => {
            let have = scalar
                .data_type()
                .map_or_else(String::new, |ty| ty.to_string());
            let message = format!("a literal of type {have} cannot be cast to {ty}");
            Err(Error::invalid(Code::InvalidPredicate, message))
        }
    }
}

/// The type of this name in SQL.
pub(super) fn type_named(name: &str) -> Option<PrimitiveType> {
    Some(match name.to_ascii_lowercase().as_str() {
        "boolean" | "bool" => PrimitiveType::Boolean,
        "tinyint" | "byte" => PrimitiveType::Byte,
        "smallint" | "short" => PrimitiveType::Short,
        "int" | "integer" => PrimitiveType::Integer,
        "bigint" | "long" => PrimitiveType::Long,
        "float" | "real" => PrimitiveType::Float,
        "double" | "double precision" => PrimitiveType::Double,
        "string" | "text" | "varchar" => PrimitiveType::String,
        "binary" => PrimitiveType::Binary,
        "date" => PrimitiveType::Date,
        "timestamp" | "timestamptz" | "timestamp with time zone" => PrimitiveType::Timestamp,
        "timestamp_ntz" | "timestamp without time zone" => PrimitiveType::TimestampNtz,
        _ => return None,
    })
}
