//! A variant as the JSON value that it stands for.

use std::fmt::Write;

use crate::error::{Code, Error, Result};
use crate::protocol::variant::decode::{Dictionary, Unit, Value};
use crate::protocol::variant::{
    VARIANT_DEPTH_MAX, VARIANT_JSON_BYTES_MAX, VARIANT_JSON_RATIO_MAX, corrupt,
};

const MICROS_PER_SECOND: i64 = 1_000_000;
const BASE_64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A variant as the JSON value that it stands for: numbers of every kind as numbers with all their digits, NaN and
/// infinities, dates, times, bytes (base64) and ids as text. Fields come in the order of their names.
///
/// ```
/// let metadata = [0x01, 0x01, 0x00, 0x01, b'a']; // one field name: a
/// let value = [0x02, 0x01, 0x00, 0x00, 0x02, 0x0c, 0x07]; // an object of it: the 8-bit integer 7
/// assert_eq!(headwater::protocol::variant::to_json(&metadata, &value)?, r#"{"a":7}"#);
/// # Ok::<(), headwater::Error>(())
/// ```
///
/// # Errors
///
/// [`Corrupt`](crate::error::ErrorKind::Corrupt) if the bytes are no variant, or one beyond the limits.
pub fn to_json(metadata: &[u8], value: &[u8]) -> Result<String> {
    let bytes = metadata.len().saturating_add(value.len());
    let limit = VARIANT_JSON_BYTES_MAX.max(bytes.saturating_mul(VARIANT_JSON_RATIO_MAX));
    to_json_within(metadata, value, limit)
}

/// As [`to_json`], of so many bytes at most.
pub(super) fn to_json_within(metadata: &[u8], value: &[u8], limit: usize) -> Result<String> {
    let (dictionary, out) = (Dictionary::parse(metadata)?, String::new());
    let mut printer = Printer {
        dictionary,
        out,
        limit,
    };
    printer.value(value, 0)?;
    Ok(printer.out)
}

struct Printer<'a> {
    dictionary: Dictionary<'a>,
    out: String,
    limit: usize,
}

impl Printer<'_> {
    fn value(&mut self, bytes: &[u8], depth: usize) -> Result<()> {
        if VARIANT_DEPTH_MAX < depth || self.limit < self.out.len() {
            let message = "a variant is too deep or too large to be printed";
            return Err(Error::corrupt(Code::LimitExceeded, message));
        }
        match Value::parse(bytes)? {
            Value::Null => self.out.push_str("null"),
            Value::Boolean(value) => self.out.push_str(if value { "true" } else { "false" }),
            Value::Integer(value) => self.out.push_str(&value.to_string()),
            Value::Float(value) => self.float(value.into())?,
            Value::Double(value) => self.float(value)?,
            Value::Decimal { unscaled, scale } => self.decimal(unscaled, scale),
            Value::Date(days) => self.date(days)?,
            Value::Timestamp { value, unit, utc } => self.timestamp(value, unit, utc)?,
            Value::Time(micros) => self.time(micros)?,
            Value::Binary(bytes) => self.base64(bytes),
            Value::String(text) => self.text(text)?,
            Value::Uuid(bytes) => self.uuid(bytes),
            Value::Array(items) => {
                self.out.push('[');
                for index in 0..items.len() {
                    self.comma(index);
                    self.value(items.get(index)?, depth + 1)?;
                }
                self.out.push(']');
            }
            Value::Object(object) => {
                self.out.push('{');
                for index in 0..object.len() {
                    self.comma(index);
                    let (id, value) = object.field(index)?;
                    let name = self.dictionary.name(id)?;
                    self.text(name)?;
                    self.out.push(':');
                    self.value(value, depth + 1)?;
                }
                self.out.push('}');
            }
        }
        Ok(())
    }

    fn comma(&mut self, index: usize) {
        if 0 < index {
            self.out.push(',');
        }
    }

    fn text(&mut self, text: &str) -> Result<()> {
        let quoted = serde_json::to_string(text);
        self.out
            .push_str(&quoted.map_err(|_| corrupt("its text is not UTF-8"))?);
        Ok(())
    }

    fn float(&mut self, value: f64) -> Result<()> {
        if value.is_finite() {
            let text = serde_json::to_string(&value);
            self.out
                .push_str(&text.map_err(|_| corrupt("it has a number out of range"))?);
        } else if value.is_nan() {
            self.out.push_str("\"NaN\"");
        } else {
            self.out.push_str(if 0.0 < value {
                "\"Infinity\""
            } else {
                "\"-Infinity\""
            });
        }
        Ok(())
    }

    fn decimal(&mut self, unscaled: i128, scale: u8) {
        let scale = usize::from(scale);
        let digits = format!("{:0>1$}", unscaled.unsigned_abs(), scale + 1);
        let (whole, fraction) = digits.split_at(digits.len().saturating_sub(scale));
        if unscaled < 0 {
            self.out.push('-');
        }
        self.out.push_str(whole);
        if !fraction.is_empty() {
            self.out.push('.');
            self.out.push_str(fraction);
        }
    }

    fn date(&mut self, days: i32) -> Result<()> {
        let time = chrono::DateTime::from_timestamp(i64::from(days) * 86_400, 0);
        let time = time.ok_or_else(|| corrupt("it has a date out of range"))?;
        self.write(format_args!("\"{}\"", time.format("%Y-%m-%d")));
        Ok(())
    }

    fn timestamp(&mut self, value: i64, unit: Unit, utc: bool) -> Result<()> {
        let zone = if utc { "Z" } else { "" };
        let wrong = || corrupt("it has a time out of range");
        match unit {
            Unit::Micros => {
                let time = chrono::DateTime::from_timestamp_micros(value).ok_or_else(wrong)?;
                let time = time.format("%Y-%m-%dT%H:%M:%S%.6f");
                self.write(format_args!("\"{time}{zone}\""));
            }
            Unit::Nanos => {
                let time = chrono::DateTime::from_timestamp_nanos(value);
                let time = time.format("%Y-%m-%dT%H:%M:%S%.9f");
                self.write(format_args!("\"{time}{zone}\""));
            }
        }
        Ok(())
    }

    fn time(&mut self, micros: i64) -> Result<()> {
        let (seconds, fraction) = (
            micros.div_euclid(MICROS_PER_SECOND),
            micros.rem_euclid(MICROS_PER_SECOND),
        );
        if !(0..86_400).contains(&seconds) {
            return Err(corrupt("it has a time out of range"));
        }
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        self.write(format_args!(
            "\"{hour:02}:{minute:02}:{second:02}.{fraction:06}\""
        ));
        Ok(())
    }

    fn uuid(&mut self, bytes: [u8; 16]) {
        self.write(format_args!("\"{}\"", uuid::Uuid::from_bytes(bytes)));
    }

    fn base64(&mut self, bytes: &[u8]) {
        self.out.push('"');
        for chunk in bytes.chunks(3) {
            let byte = |index: usize| chunk.get(index).map_or(0, |byte| u32::from(*byte));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for place in 0..4_usize {
                let digit = usize::try_from(bits >> (18 - 6 * place) & 0x3f).unwrap_or(0);
                let digit = BASE_64.get(digit).filter(|_| place <= chunk.len());
                self.out.push(digit.map_or('=', |digit| char::from(*digit)));
            }
        }
        self.out.push('"');
    }

    fn write(&mut self, arguments: std::fmt::Arguments<'_>) {
        // Writing to text cannot fail.
        let _ = self.out.write_fmt(arguments);
    }
}
