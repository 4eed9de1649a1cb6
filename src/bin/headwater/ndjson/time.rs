//! Dates and moments as they are written.

use chrono::{FixedOffset, NaiveDate, NaiveDateTime, NaiveTime};

use crate::ndjson::array::Why;

const NO_DATE: Why = "this is no date such as 2013-06-30";
const NO_MOMENT: Why = "this is no time such as 2013-06-30T12:00:00Z";

/// Days since the epoch.
pub(super) fn date(text: &str) -> Result<i32, Why> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| NO_DATE)?;
    let days = date.signed_duration_since(NaiveDate::default()).num_days();
    i32::try_from(days).map_err(|_| NO_DATE)
}

/// Microseconds since the epoch. A moment without a zone is one in UTC; a date is its midnight.
pub(super) fn moment(text: &str, has_zone: bool) -> Result<i64, Why> {
    let split = text.find(['T', ' ']).unwrap_or(text.len());
    let (day, time) = text.split_at_checked(split).ok_or(NO_MOMENT)?;
    let day = NaiveDate::parse_from_str(day, "%Y-%m-%d").map_err(|_| NO_MOMENT)?;
    let time = time.get(1..).unwrap_or("00:00:00");
    let (time, zone) = match time.find(['Z', 'z', '+', '-']) {
        Some(at) => time.split_at_checked(at).ok_or(NO_MOMENT)?,
        None => (time, ""),
    };
    if !zone.is_empty() && !has_zone {
        return Err("the time has a zone, and the column holds times without one");
    }
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let clock = NaiveTime::parse_from_str(time, "%H:%M:%S").map_err(|_| NO_MOMENT)?;
    if chrono::Timelike::nanosecond(&clock) != 0 {
        return Err("leap seconds cannot be held");
    }
    let seconds = NaiveDateTime::new(day, clock).and_utc().timestamp();
    let seconds = seconds.checked_sub(offset(zone)?.into()).ok_or(NO_MOMENT)?;
    let micros = seconds.checked_mul(1_000_000).ok_or(NO_MOMENT)?;
    micros.checked_add(micros_of(fraction)?).ok_or(NO_MOMENT)
}

/// Microseconds of the digits behind the point of a second.
fn micros_of(fraction: &str) -> Result<i64, Why> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NO_MOMENT);
    }
    let (kept, rest) = fraction
        .split_at_checked(6.min(fraction.len()))
        .ok_or(NO_MOMENT)?;
    if rest.bytes().any(|byte| byte != b'0') {
        return Err("the time has parts of a microsecond, and the column holds none");
    }
    format!("{kept:0<6}").parse().map_err(|_| NO_MOMENT)
}

/// Seconds east of Greenwich.
fn offset(zone: &str) -> Result<i32, Why> {
    match zone {
        "" | "Z" | "z" => Ok(0),
        zone => {
            let offset: FixedOffset = zone.parse().map_err(|_| NO_MOMENT)?;
            Ok(offset.local_minus_utc())
        }
    }
}
