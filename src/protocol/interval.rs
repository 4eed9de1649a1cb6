//! Spans of time: types that no feature announces, so every reader may meet them.
//!
//! Spec: [Interval types](https://github.com/delta-io/delta/blob/master/protocol_rfcs/interval-types.md).

/// How an interval is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interval {
    /// Months, as 32-bit integers.
    Months,
    /// Microseconds, as 64-bit integers.
    Micros,
}

impl Interval {
    /// The interval type of this name, such as `interval year to month`.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        const MONTHS: &[&str] = &["year", "month"];
        const MICROS: &[&str] = &["day", "hour", "minute", "second"];
        let span = name.strip_prefix("interval ")?;
        let (first, last) = span.split_once(" to ").unwrap_or((span, span));
        let among = |units: &[&str]| {
            let place = |unit: &str| units.iter().position(|known| *known == unit);
            let is_span = first != last || !span.contains(" to ");
            place(first)
                .zip(place(last))
                .is_some_and(|(first, last)| first <= last && is_span)
        };
        if among(MONTHS) {
            Some(Self::Months)
        } else if among(MICROS) {
            Some(Self::Micros)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_types_are_known_by_their_spans() {
        for name in ["interval year", "interval month", "interval year to month"] {
            assert_eq!(Interval::from_name(name), Some(Interval::Months), "{name}");
        }
        for name in [
            "interval day",
            "interval second",
            "interval day to second",
            "interval hour to minute",
        ] {
            assert_eq!(Interval::from_name(name), Some(Interval::Micros), "{name}");
        }
        for name in [
            "interval",
            "interval ",
            "interval month to year",
            "interval year to day",
            "interval second to day",
            "Interval Year",
            "interval day to day",
            "year to month",
            "calendar_interval",
        ] {
            assert_eq!(Interval::from_name(name), None, "{name}");
        }
    }
}
