//! Numbers as they are written, exactly.

use std::borrow::Cow;

use crate::ndjson::array::{Why, quoted};

const NO_NUMBER: Why = "this is no number";

/// A number in digits: `digits * 10^exponent`, without zeros at its end.
struct Decimal {
    is_negative: bool,
    digits: String,
    exponent: i64,
}

/// The text of a number, which may stand in quotes.
fn text(written: &str) -> Result<Cow<'_, str>, Why> {
    match written.starts_with('"') {
        true => quoted(written).map(Cow::Owned),
        false => Ok(Cow::Borrowed(written)),
    }
}

impl Decimal {
    fn parse(text: &str) -> Result<Self, Why> {
        let (is_negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (number, power) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = [whole, fraction].concat();
        let has_digits = !whole.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let power: i64 = power.parse().map_err(|_| NO_NUMBER)?;
        if !has_digits || (number.contains('.') && fraction.is_empty()) {
            return Err(NO_NUMBER);
        }
        let digits = digits.trim_start_matches('0');
        let significant = digits.trim_end_matches('0');
        let zeros = digits.len() - significant.len();
        let behind = i64::try_from(fraction.len()).map_err(|_| NO_NUMBER)?;
        let zeros = i64::try_from(zeros).map_err(|_| NO_NUMBER)?;
        let exponent = power
            .checked_sub(behind)
            .and_then(|exponent| exponent.checked_add(zeros));
        Ok(Self {
            is_negative,
            digits: significant.to_owned(),
            exponent: match significant.is_empty() {
                true => 0,
                false => exponent.ok_or(NO_NUMBER)?,
            },
        })
    }

    /// The number times `10^scale`; `None` if that is too large.
    fn scaled(&self, scale: i64) -> Result<Option<i128>, Why> {
        if self.digits.is_empty() {
            return Ok(Some(0));
        }
        let zeros = self.exponent.saturating_add(scale);
        if zeros < 0 {
            return Err("the number has more digits behind the point than the column holds");
        }
        let zeros = u32::try_from(zeros).ok();
        let power = zeros.and_then(|zeros| 10_i128.checked_pow(zeros));
        let number = self.digits.parse::<i128>().ok();
        let number = number
            .zip(power)
            .and_then(|(number, power)| number.checked_mul(power));
        Ok(number.map(|number| match self.is_negative {
            true => -number,
            false => number,
        }))
    }

    /// Whether a float is this number, but for digits that nobody wrote. Fractions are rounded, as floats are.
    fn is_kept_by(&self, float: f64) -> bool {
        if self.exponent < 0 || self.digits.is_empty() {
            return true;
        }
        let places = self.digits.len() - 1;
        let printed = format!("{:.places$e}", float.abs());
        let Ok(printed) = Self::parse(&printed) else {
            return false;
        };
        (printed.digits, printed.exponent) == (self.digits.clone(), self.exponent)
    }
}

/// A whole number.
pub(super) fn integer<T: TryFrom<i128>>(written: &str) -> Result<T, Why> {
    let number = Decimal::parse(&text(written)?)?;
    let number = number.scaled(0);
    let number = number.map_err(|_| "the number has a fraction, and the column holds none")?;
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or("the number is too large for the column")
}

/// A number with so many digits, so many of them behind the point.
pub(super) fn decimal(written: &str, precision: u8, scale: i8) -> Result<i128, Why> {
    let number = Decimal::parse(&text(written)?)?.scaled(scale.into())?;
    let most = 10_i128.checked_pow(precision.into()).unwrap_or(i128::MAX);
    let number = number.filter(|number| number.unsigned_abs() < most.unsigned_abs());
    number.ok_or("the number is too large for the column")
}

const ROUNDED: Why =
    "the column would hold another whole number: a float has too few digits for it";
const TOO_LARGE: Why = "the number is too large for the column";

pub(super) fn double(written: &str) -> Result<f64, Why> {
    let text = text(written)?;
    if let Some(special) = special(&text) {
        return Ok(special);
    }
    let exact = Decimal::parse(&text)?;
    let float: f64 = text.parse().map_err(|_| NO_NUMBER)?;
    match float {
        float if !float.is_finite() => Err(TOO_LARGE),
        float if !exact.is_kept_by(float) => Err(ROUNDED),
        float => Ok(float),
    }
}

pub(super) fn single(written: &str) -> Result<f32, Why> {
    let text = text(written)?;
    if let Some(special) = special(&text) {
        return Ok(special as f32);
    }
    let exact = Decimal::parse(&text)?;
    let float: f32 = text.parse().map_err(|_| NO_NUMBER)?;
    match float {
        float if !float.is_finite() => Err(TOO_LARGE),
        float if !exact.is_kept_by(float.into()) => Err(ROUNDED),
        float => Ok(float),
    }
}

/// What is no number and yet a float.
fn special(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}
