//! The functions that an expression may call, by their names in Spark's SQL.

use std::fmt;
use std::ops::RangeInclusive;

use crate::protocol::value::Scalar;

const MICROS_PER_DAY: i64 = 86_400_000_000;

macro_rules! functions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal $(| $other:literal)*, $arguments:expr;)*) => {
        /// Something that makes a value of others, as Spark's function of the same name in ANSI mode.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Function {
            $($(#[$doc])* $variant,)*
        }

        impl Function {
            /// Every function.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in SQL.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The function of this name, without regard to case.
            pub fn named(name: &str) -> Option<Self> {
                match name.to_ascii_uppercase().as_str() {
                    $($name $(| $other)* => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// How many arguments it takes.
            pub fn arguments(self) -> RangeInclusive<usize> {
                match self {
                    $(Self::$variant => $arguments,)*
                }
            }
        }
    };
}

functions! {
    /// The number without its sign.
    Abs = "ABS", 1..=1;
    /// The least whole number that is not below.
    Ceil = "CEIL" | "CEILING", 1..=1;
    /// The greatest whole number that is not above.
    Floor = "FLOOR", 1..=1;
    /// Rounded to so many digits after the point, halves away from zero.
    Round = "ROUND", 1..=2;
    /// The first argument that is not null.
    Coalesce = "COALESCE" | "IFNULL" | "NVL", 1..=usize::MAX;
    /// The first argument, or null where it equals the second.
    NullIf = "NULLIF", 2..=2;
    /// The greatest argument that is not null.
    Greatest = "GREATEST", 2..=usize::MAX;
    /// The least argument that is not null.
    Least = "LEAST", 2..=usize::MAX;
    /// Texts one after another; null if one is.
    Concat = "CONCAT", 0..=usize::MAX;
    /// Text in capitals.
    Upper = "UPPER" | "UCASE", 1..=1;
    /// Text in small letters.
    Lower = "LOWER" | "LCASE", 1..=1;
    /// Text without spaces at both ends.
    Trim = "TRIM" | "BTRIM", 1..=1;
    /// Text without spaces at its beginning.
    LTrim = "LTRIM", 1..=1;
    /// Text without spaces at its end.
    RTrim = "RTRIM", 1..=1;
    /// How many characters a text has, or how many bytes.
    Length = "LENGTH" | "CHAR_LENGTH" | "CHARACTER_LENGTH" | "LEN", 1..=1;
    /// Part of a text: from a character on, counted from 1 or backwards from the end, and so many.
    Substring = "SUBSTRING" | "SUBSTR", 2..=3;
    /// So many characters from the beginning.
    Left = "LEFT", 2..=2;
    /// So many characters from the end.
    Right = "RIGHT", 2..=2;
    /// A text with each occurrence of another replaced.
    Replace = "REPLACE", 2..=3;
    /// Whether a text starts with another.
    StartsWith = "STARTSWITH", 2..=2;
    /// Whether a text ends with another.
    EndsWith = "ENDSWITH", 2..=2;
    /// Whether a text is part of another.
    Contains = "CONTAINS", 2..=2;
    /// The year of a day.
    Year = "YEAR", 1..=1;
    /// The quarter of a year, from 1.
    Quarter = "QUARTER", 1..=1;
    /// The month of a year, from 1.
    Month = "MONTH", 1..=1;
    /// The day of a month, from 1.
    Day = "DAY" | "DAYOFMONTH", 1..=1;
    /// The day of a week, from Sunday, which is 1.
    DayOfWeek = "DAYOFWEEK", 1..=1;
    /// The day of a year, from 1.
    DayOfYear = "DAYOFYEAR", 1..=1;
    /// The hour of a day.
    Hour = "HOUR", 1..=1;
    /// The minute of an hour.
    Minute = "MINUTE", 1..=1;
    /// The second of a minute.
    Second = "SECOND", 1..=1;
    /// A time as text of a form.
    DateFormat = "DATE_FORMAT", 2..=2;
    /// The day that a text tells, in a form.
    ToDate = "TO_DATE", 1..=2;
    /// The beginning of the year, month, ... that a time is in.
    DateTrunc = "DATE_TRUNC", 2..=2;
    /// The first day of the year, quarter, month or week that a day is in.
    Trunc = "TRUNC", 2..=2;
    /// So many days later.
    DateAdd = "DATE_ADD" | "DATEADD", 2..=2;
    /// So many days earlier.
    DateSub = "DATE_SUB", 2..=2;
    /// How many days the first is after the second.
    DateDiff = "DATEDIFF" | "DATE_DIFF", 2..=2;
    /// The day of the statement, in UTC.
    CurrentDate = "CURRENT_DATE" | "CURDATE", 0..=0;
    /// The time of the statement.
    CurrentTimestamp = "CURRENT_TIMESTAMP" | "NOW", 0..=0;
}

impl Function {
    /// Its value at a time, if that is all it depends on.
    pub(super) fn at(self, now_micros: i64) -> Option<Scalar> {
        match self {
            Self::CurrentTimestamp => Some(Scalar::Timestamp(now_micros)),
            Self::CurrentDate => i32::try_from(now_micros.div_euclid(MICROS_PER_DAY))
                .ok()
                .map(Scalar::Date),
            _ => None,
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
