//! Rows of the table as the example looks at them.

use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::{Date32Type, Int32Type};
use headwater::arrow_array::{Array, PrimitiveArray, RecordBatch, StringArray};

use crate::Outcome;
use crate::model::{Flight, LATE_MINUTES};

/// What the model is trained on: all that it sees, and how late the flight was.
pub(crate) const TRAINING: [&str; 8] = [
    "date",
    "sched_dep_time",
    "dep_delay",
    "carrier",
    "origin",
    "dest",
    "distance",
    "arr_delay",
];
/// What identifies a flight: no two rows share it.
pub(crate) const KEY: [&str; 4] = ["date", "carrier", "flight", "origin"];

/// A flight's identity.
pub(crate) type Key = (i32, String, i32, String);

/// A batch with columns by name.
pub(crate) struct Rows<'a>(pub(crate) &'a RecordBatch);

impl<'a> Rows<'a> {
    pub(crate) fn dates(&self) -> Outcome<&'a PrimitiveArray<Date32Type>> {
        Ok(self.column("date")?.as_primitive())
    }

    pub(crate) fn integers(&self, name: &str) -> Outcome<&'a PrimitiveArray<Int32Type>> {
        Ok(self.column(name)?.as_primitive())
    }

    pub(crate) fn texts(&self, name: &str) -> Outcome<&'a StringArray> {
        Ok(self.column(name)?.as_string())
    }

    fn column(&self, name: &str) -> Outcome<&'a dyn Array> {
        let column = self.0.column_by_name(name);
        let column = column.ok_or_else(|| format!("there is no column {name}"))?;
        Ok(column.as_ref())
    }

    /// The flights as the model sees them.
    pub(crate) fn flights(&self) -> Outcome<Vec<Flight<'a>>> {
        let days = self.dates()?;
        let scheduled = self.integers("sched_dep_time")?;
        let delays = self.integers("dep_delay")?;
        let carriers = self.texts("carrier")?;
        let origins = self.texts("origin")?;
        let destinations = self.texts("dest")?;
        let miles = self.integers("distance")?;
        let flight = |row| Flight {
            day: days.value(row),
            scheduled: scheduled.value(row),
            delay: delays.is_valid(row).then(|| delays.value(row)),
            carrier: carriers.value(row),
            origin: origins.value(row),
            destination: destinations.value(row),
            miles: miles.value(row),
        };
        Ok((0..self.0.num_rows()).map(flight).collect())
    }

    /// Whether each flight was late; unknown for those that did not arrive.
    pub(crate) fn late(&self) -> Outcome<Vec<Option<bool>>> {
        let delays = self.integers("arr_delay")?.iter();
        Ok(delays
            .map(|delay| delay.map(|delay| LATE_MINUTES < delay))
            .collect())
    }

    pub(crate) fn keys(&self) -> Outcome<Vec<Key>> {
        let (days, numbers) = (self.dates()?, self.integers("flight")?);
        let (carriers, origins) = (self.texts("carrier")?, self.texts("origin")?);
        let key = |row| {
            let carrier = carriers.value(row).to_owned();
            let origin = origins.value(row).to_owned();
            (days.value(row), carrier, numbers.value(row), origin)
        };
        Ok((0..self.0.num_rows()).map(key).collect())
    }
}
