//! Days and times: parts of them, beginnings of months and hours, texts of a form. All in UTC.

use chrono::{Datelike, NaiveDate};

use crate::predicate::Function;
use crate::predicate::compute::{Cell, Fault};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// Days from 0001-01-01, which is day 1, to the epoch.
const EPOCH_FROM_COMMON_ERA: i64 = 719_163;

fn date(day: i64) -> Result<NaiveDate, Fault> {
    let day = day.checked_add(EPOCH_FROM_COMMON_ERA);
    let day = day.and_then(|day| i32::try_from(day).ok());
    day.and_then(NaiveDate::from_num_days_from_ce_opt)
        .ok_or(Fault::CALENDAR)
}

fn day_of(date: NaiveDate) -> i64 {
    i64::from(date.num_days_from_ce()) - EPOCH_FROM_COMMON_ERA
}

/// A part of a day, given as days since the epoch.
pub(super) fn part_of_day(function: Function, day: i64) -> Cell<i64> {
    let date = date(day)?;
    Ok(Some(match function {
        Function::Year => date.year().into(),
        Function::Quarter => i64::from(date.month0() / 3 + 1),
        Function::Month => date.month().into(),
        Function::DayOfWeek => i64::from(date.weekday().num_days_from_sunday() + 1),
        Function::DayOfYear => date.ordinal().into(),
        _ => date.day().into(),
    }))
}

/// A part of a time of day, given as microseconds since the epoch.
pub(super) fn part_of_time(function: Function, micros: i64) -> i64 {
    let second = micros.rem_euclid(MICROS_PER_DAY) / MICROS_PER_SECOND;
    match function {
        Function::Hour => second / 3600,
        Function::Minute => second / 60 % 60,
        _ => second % 60,
    }
}

/// What a time is cut to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::predicate) enum Unit {
    Year,
    Quarter,
    Month,
    Week,
    Day,
    /// So many microseconds.
    Micros(i64),
}

impl Unit {
    /// The unit of this name.
    pub(in crate::predicate) fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "YEAR" | "YYYY" | "YY" => Self::Year,
            "QUARTER" => Self::Quarter,
            "MONTH" | "MM" | "MON" => Self::Month,
            "WEEK" => Self::Week,
            "DAY" | "DD" => Self::Day,
            "HOUR" => Self::Micros(3600 * MICROS_PER_SECOND),
            "MINUTE" => Self::Micros(60 * MICROS_PER_SECOND),
            "SECOND" => Self::Micros(MICROS_PER_SECOND),
            "MILLISECOND" => Self::Micros(1000),
            "MICROSECOND" => Self::Micros(1),
            _ => return None,
        })
    }

    /// Whether a day can be cut to it.
    pub(in crate::predicate) fn is_of_days(self) -> bool {
        !matches!(self, Self::Day | Self::Micros(_))
    }

    /// The first day of the unit that a day is in.
    pub(super) fn first_day(self, day: i64) -> Cell<i64> {
        let of = |year, month| {
            let first = NaiveDate::from_ymd_opt(year, month, 1).ok_or(Fault::CALENDAR)?;
            Ok(Some(day_of(first)))
        };
        let date = date(day)?;
        match self {
            Self::Year => of(date.year(), 1),
            Self::Quarter => of(date.year(), date.month0() / 3 * 3 + 1),
            Self::Month => of(date.year(), date.month()),
            Self::Week => Ok(Some(day - i64::from(date.weekday().num_days_from_monday()))),
            Self::Day | Self::Micros(_) => Ok(Some(day)),
        }
    }

    /// The first microsecond of the unit that a time is in.
    pub(super) fn first_micros(self, micros: i64) -> Cell<i64> {
        let first = match self {
            Self::Micros(step) => micros.checked_sub(micros.rem_euclid(step)),
            _ => match self.first_day(micros.div_euclid(MICROS_PER_DAY))? {
                Some(day) => day.checked_mul(MICROS_PER_DAY),
                None => return Ok(None),
            },
        };
        first.map(Some).ok_or(Fault::CALENDAR)
    }
}

/// The form of a time as text: `yyyy-MM-dd HH:mm:ss`, and its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::predicate) struct Form(Vec<Item>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Verbatim(String),
    /// A letter, so many times.
    Part(char, usize),
}

impl Form {
    /// Reads a form. The error is the letter that is not understood.
    pub(in crate::predicate) fn parse(form: &str) -> Result<Self, char> {
        let mut items = Vec::new();
        let mut chars = form.chars().peekable();
        while let Some(char) = chars.next() {
            if char == '\'' {
                let mut text = String::new();
                loop {
                    match chars.next() {
                        Some('\'') if chars.peek() == Some(&'\'') => {
                            chars.next();
                            text.push('\'');
                        }
                        Some('\'') => break,
                        Some(char) => text.push(char),
                        None => return Err('\''),
                    }
                }
                items.push(Item::Verbatim(if text.is_empty() {
                    "'".to_owned()
                } else {
                    text
                }));
            } else if char.is_ascii_alphabetic() {
                let mut times = 1;
                while chars.next_if_eq(&char).is_some() {
                    times += 1;
                }
                let known = match char {
                    'y' => times == 1 || times == 2 || times == 4,
                    'M' | 'd' | 'H' | 'm' | 's' => times <= 2,
                    'S' => times <= 6,
                    _ => false,
                };
                if !known {
                    return Err(char);
                }
                items.push(Item::Part(char, times));
            } else if matches!(char, '[' | ']' | '{' | '}' | '#') {
                return Err(char);
            } else {
                items.push(Item::Verbatim(char.to_string()));
            }
        }
        Ok(Self(items))
    }

    /// A time as text.
    pub(super) fn write(&self, micros: i64) -> Result<String, Fault> {
        let date = date(micros.div_euclid(MICROS_PER_DAY))?;
        if date.year() < 1 || 9999 < date.year() {
            return Err(Fault::CALENDAR);
        }
        let mut out = String::new();
        for item in &self.0 {
            match item {
                Item::Verbatim(text) => out.push_str(text),
                Item::Part('S', width) => {
                    let fraction = format!("{:06}", micros.rem_euclid(MICROS_PER_SECOND));
                    out.push_str(fraction.get(..*width).unwrap_or_default());
                }
                Item::Part(letter, width) => {
                    let value = match letter {
                        'y' if *width == 2 => i64::from(date.year() % 100),
                        'y' => date.year().into(),
                        'M' => date.month().into(),
                        'd' => date.day().into(),
                        'H' => part_of_time(Function::Hour, micros),
                        'm' => part_of_time(Function::Minute, micros),
                        _ => part_of_time(Function::Second, micros),
                    };
                    out.push_str(&format!("{value:0width$}"));
                }
            }
        }
        Ok(out)
    }

    /// The day that a text of this form tells.
    pub(super) fn read_day(&self, text: &str) -> Result<i64, Fault> {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        let mut rest = text.trim();
        for item in &self.0 {
            rest = match item {
                Item::Verbatim(part) => rest.strip_prefix(part.as_str()).ok_or(Fault::TEXT)?,
                Item::Part(letter, width) => {
                    let most = if *width == 1 { 2 } else { *width };
                    let most = if *letter == 'y' && *width == 1 {
                        4
                    } else {
                        most
                    };
                    let digits = rest.bytes().take(most).take_while(u8::is_ascii_digit);
                    let digits = digits.count();
                    if digits < *width {
                        return Err(Fault::TEXT);
                    }
                    let (number, after) = rest.split_at_checked(digits).ok_or(Fault::TEXT)?;
                    let number: u32 = number.parse().map_err(|_| Fault::TEXT)?;
                    match letter {
                        'y' if *width == 2 => year = 2000 + number,
                        'y' => year = number,
                        'M' => month = number,
                        'd' => day = number,
                        'H' if 23 < number => return Err(Fault::TEXT),
                        'm' | 's' if 59 < number => return Err(Fault::TEXT),
                        _ => {}
                    }
                    after
                }
            };
        }
        let year = i32::try_from(year).map_err(|_| Fault::TEXT)?;
        let date = NaiveDate::from_ymd_opt(year, month, day).ok_or(Fault::TEXT)?;
        if rest.is_empty() {
            Ok(day_of(date))
        } else {
            Err(Fault::TEXT)
        }
    }
}
