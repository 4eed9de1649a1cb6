//! Rows from JSON, one object per line: what `scan --format ndjson` prints, read back without a change.
//!
//! A value that its column cannot hold as it is written is an error that names line and column, never another value: a
//! fraction for a whole number, a digit too many for a decimal, an integer that a float would round, a time of day for
//! a date, a zone for a time without one. Keys that the table has no column for, and keys that come twice, are errors,
//! too; a key that is missing is a null.

mod array;
mod number;
mod time;

use std::borrow::Cow;
use std::fmt;
use std::io::BufRead;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, SchemaRef};
use headwater::protocol::schema::Schema;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::Failure;

const BATCH_ROWS: usize = 8_192;
/// Bytes of lines that are held at once, about.
const BATCH_BYTES: usize = 64 << 20;

/// A value as it is written, and the line it stands on; none if it is null or missing.
type Written<'a> = (u64, Option<&'a RawValue>);

/// Why a value is refused. No value stands in it.
struct Refused {
    line: u64,
    why: Cow<'static, str>,
}

impl Refused {
    fn at(line: u64, why: impl Into<Cow<'static, str>>) -> Self {
        Self {
            line,
            why: why.into(),
        }
    }
}

/// The members of an object, in their order.
struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Key(key), value)) = map.next_entry()? {
                    members.push((key, value));
                }
                Ok(Object(members))
            }
        }
        from.deserialize_map(Members)
    }
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// The rows of a file, batch by batch.
pub(crate) struct Rows<R> {
    lines: R,
    line: u64,
    schema: SchemaRef,
}

impl<R: BufRead> Rows<R> {
    pub(crate) fn new(lines: R, table: &Schema) -> Result<Self, Failure> {
        let arrow = table.to_arrow()?;
        let fields = arrow.fields().iter();
        // What must not be null is for the table to say.
        let nullable = fields.map(|field| field.as_ref().clone().with_nullable(true));
        Ok(Self {
            lines,
            line: 0,
            schema: Arc::new(arrow_schema::Schema::new(nullable.collect::<Vec<_>>())),
        })
    }

    /// The next lines that are not empty, with their numbers.
    fn read(&mut self) -> Result<Vec<(u64, String)>, Failure> {
        let (mut lines, mut bytes) = (Vec::new(), 0_usize);
        while lines.len() < BATCH_ROWS && bytes < BATCH_BYTES {
            let mut line = String::new();
            if self.lines.read_line(&mut line)? == 0 {
                break;
            }
            self.line += 1;
            bytes = bytes.saturating_add(line.len());
            if !line.trim().is_empty() {
                lines.push((self.line, line));
            }
        }
        Ok(lines)
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>, Failure> {
        let lines = self.read()?;
        if lines.is_empty() {
            return Ok(None);
        }
        let mut rows: Vec<Written<'_>> = Vec::with_capacity(lines.len());
        for (number, line) in &lines {
            let row = serde_json::from_str(line);
            let row = row.map_err(|_| format!("line {number}: this is no JSON value"))?;
            rows.push((*number, Some(row)));
        }
        let fields = self.schema.fields();
        let columns = members(&rows, fields).map_err(|refused| {
            let Refused { line, why } = refused;
            format!("line {line}: {why}")
        })?;
        let mut arrays = Vec::with_capacity(fields.len());
        for (field, values) in fields.iter().zip(&columns) {
            let array = array::of(field, values).map_err(|refused| {
                let (line, why) = (refused.line, refused.why);
                format!("line {line}, column `{}`: {why}", field.name())
            })?;
            arrays.push(array);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?;
        Ok(Some(batch))
    }
}

impl<R: BufRead> Iterator for Rows<R> {
    type Item = Result<RecordBatch, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batch().transpose()
    }
}

/// The values of each field of objects.
fn members<'a>(
    objects: &[Written<'a>],
    fields: &[Arc<Field>],
) -> Result<Vec<Vec<Written<'a>>>, Refused> {
    let nothing = |(line, _): &Written<'a>| (*line, None);
    let mut columns = vec![objects.iter().map(nothing).collect::<Vec<_>>(); fields.len()];
    for (row, (line, value)) in objects.iter().enumerate() {
        let Some(value) = value else { continue };
        let Object(members) = serde_json::from_str(value.get())
            .map_err(|_| Refused::at(*line, "this is no JSON object"))?;
        let mut seen = vec![false; fields.len()];
        for (key, value) in members {
            let place = fields.iter().position(|field| *field.name() == *key);
            let known = place.and_then(|place| columns.get_mut(place).zip(seen.get_mut(place)));
            let Some((column, seen)) = known else {
                let why = format!("there is no column or field `{key}`");
                return Err(Refused::at(*line, why));
            };
            if std::mem::replace(seen, true) {
                return Err(Refused::at(*line, format!("the key `{key}` comes twice")));
            }
            if let Some(slot) = column.get_mut(row) {
                slot.1 = (value.get() != "null").then_some(value);
            }
        }
    }
    Ok(columns)
}
