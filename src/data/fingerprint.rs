//! One number for a set of rows, whatever their order: the proof that a rewrite has lost, doubled or changed no row.
//!
//! Equal sets of rows (with repetition) have equal fingerprints. Sets that differ by accident have different ones, but
//! for a chance below 2^-64; somebody who means to deceive can find a collision, so this is no signature.
//!
//! # What it does not depend on
//!
//! - the order of the rows, their split into batches and files;
//! - how arrays lay out their values: dictionaries, views, large offsets;
//! - the order of columns: a column is known by its name (at every depth), not by its place;
//! - columns without a value: a column of nulls counts as no column, so adding one to the schema changes nothing;
//! - the width of integers and floats: a value widened without loss stays the same value;
//! - which NaN a NaN is; the order of the entries of a map.
//!
//! It does depend on the sign of zero, on the order of list elements, on the scale of decimals, and it tells null from
//! an empty text, list or struct.
//!
//! # Version 1
//!
//! Fingerprints are kept in the tags of data files, so what follows never changes; a better way would be version 2. All
//! arithmetic is on unsigned 128-bit numbers modulo 2^128, bytes are little-endian, `^` is exclusive or.
//!
//! A *place* in the schema has a path of bytes: each step down from the top appends a kind (`f` field of a struct or
//! of the row, `e` list element, `k` map key, `v` map value), for a field the length of its name as 8 bytes, and the
//! name. With its path and its class (a word of the table below) a place has two numbers:
//!
//! ```text
//! key        = BLAKE3 derive_key("headwater row fingerprint version 1", path ++ "=" ++ class)
//! multiplier = key[0..16] | 1          offset = key[16..32]
//! ```
//!
//! A null adds 0 to its row. Any other value adds `offset + word * multiplier`, with its word as follows.
//!
//! | type | class | word |
//! | --- | --- | --- |
//! | byte, short, integer, long | `integer` | two's complement of 64 bits |
//! | float, double | `float` | bits of the 64-bit float, 0x7ff8000000000000 for NaN |
//! | boolean | `boolean` | 0 or 1 |
//! | date | `date` | days, as `integer` |
//! | timestamp | `timestamp` | microseconds, as `integer` |
//! | timestamp_ntz | `timestamp_ntz` | microseconds, as `integer` |
//! | decimal | `decimal/` and the scale | two's complement of 128 bits of the unscaled number |
//! | string | `string` | chain of its UTF-8 bytes, in pieces of 16, the last one filled with zeros; count: bytes |
//! | binary | `binary` | as string |
//! | struct | `struct` | 0; each field adds to the row on its own, where neither it nor the struct is null |
//! | list | `list` | chain of what each element adds; count: elements |
//! | map | `map` | `mix(entries)` + the sum of `mix(what key and value add)` over the entries |
//! | variant | `variant` | as a struct of the binary fields `metadata` and `value` |
//!
//! ```text
//! M1 = 0x243f6a8885a308d313198a2e03707345    M2 = 0xa4093822299f31d0082efa98ec4e6c89    digits of pi, made odd
//! step(x)  = (x * M1) ^ ((x * M1) >> 64)
//! mix(x)   = with y = step(x ^ (x >> 64)):   (y * M2) ^ ((y * M2) >> 64)
//! chain(count, pieces) = mix(s), where s begins as step(count) and each piece makes it step(s ^ piece)
//! row      = mix(M2 + the sum of what its values add)
//! total    = the sum of the rows
//! ```
//!
//! Every step is a bijection, so no information is lost before the last sum. Adding up the columns is multiply-add
//! universal hashing; the row's `mix` then binds the columns together, so that rows which trade values are noticed.

mod column;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use arrow_array::{Array, RecordBatch};

use crate::data::ColumnNames;
use crate::data::fingerprint::column::{Column, Place};
use crate::error::{Code, Error, Result};
use crate::protocol::schema::{Field, Schema};
use crate::protocol::value::Scalar;

const M1: u128 = 0x243f_6a88_85a3_08d3_1319_8a2e_0370_7345;
const M2: u128 = 0xa409_3822_299f_31d0_082e_fa98_ec4e_6c89;
// So many rows at a time: their sums stay in the processor's cache.
const ROWS_AT_ONCE: usize = 4096;

/// The fingerprint of a set of rows.
///
/// As text, in the tag of a data file, it is `1:` (the version), the number of rows, `:`, and 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RowFingerprint {
    /// How many rows there are.
    pub(crate) rows: u64,
    /// The sum over the rows.
    pub(crate) total: u128,
}

impl RowFingerprint {
    /// The fingerprint of the rows of both.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            rows: self.rows.wrapping_add(other.rows),
            total: self.total.wrapping_add(other.total),
        }
    }

    /// The fingerprint of the rows without those of `other`, all of which must be among them.
    #[cfg(test)]
    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            rows: self.rows.wrapping_sub(other.rows),
            total: self.total.wrapping_sub(other.total),
        }
    }
}

impl fmt::Display for RowFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1:{}:{:032x}", self.rows, self.total)
    }
}

impl FromStr for RowFingerprint {
    type Err = Error;

    /// Reads the text form, exactly as it is written.
    fn from_str(text: &str) -> Result<Self> {
        let read = || {
            let (rows, total) = text.strip_prefix("1:")?.split_once(':')?;
            let read = Self {
                rows: rows.parse().ok()?,
                total: u128::from_str_radix(total, 16).ok()?,
            };
            (read.to_string() == text).then_some(read)
        };
        let message = "a row fingerprint is not of a version that this build knows";
        read().ok_or_else(|| Error::invalid(Code::InvalidArgument, message))
    }
}

/// Takes the fingerprint of rows as they come by.
#[derive(Debug)]
pub(crate) struct Fingerprinter {
    columns: Vec<Column>,
    constant: u128,
    names: ColumnNames,
    sums: Vec<u128>,
    found: RowFingerprint,
}

impl Fingerprinter {
    /// A fingerprinter of rows with the columns of `schema`.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::error::ErrorKind::Unsupported) if a column has a type that this build does not know.
    pub(crate) fn new(schema: &Schema, names: ColumnNames) -> Result<Self> {
        let columns = Column::all(schema, names, &Place::default())?;
        Ok(Self {
            columns,
            constant: M2,
            names,
            sums: Vec::new(),
            found: RowFingerprint::default(),
        })
    }

    /// Adds a column that has one value in all rows and is not in the batches: a partition column.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::error::ErrorKind::Invalid) if the value is not of the field's type;
    /// [`Unsupported`](crate::error::ErrorKind::Unsupported) if this build does not know the type.
    pub(crate) fn with_constant(mut self, field: &Field, value: &Scalar) -> Result<Self> {
        let column = Column::new(field, self.names, &Place::default())?;
        let added = column.of_scalar(value).ok_or_else(|| {
            let message = "a partition value is not of the type of its column";
            Error::invalid(Code::InvalidArgument, message).with("column", &field.name)
        })?;
        self.constant = self.constant.wrapping_add(added);
        Ok(self)
    }

    /// Takes in the rows of a batch, whose columns are those of the schema, in order.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::error::ErrorKind::Invalid) if the batch has other columns, or of other types; the
    /// fingerprinter is then of no use.
    pub(crate) fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.columns.len() != batch.num_columns() {
            let message = "the columns of a batch are not those of its schema";
            return Err(Error::invalid(Code::InvalidArgument, message));
        }
        let rows = batch.num_rows();
        for start in (0..rows).step_by(ROWS_AT_ONCE) {
            let count = ROWS_AT_ONCE.min(rows - start);
            self.sums.clear();
            self.sums.resize(count, self.constant);
            let fields = batch.schema_ref().fields();
            for ((column, array), field) in self.columns.iter().zip(batch.columns()).zip(fields) {
                column
                    .add(&array.slice(start, count), None, &mut self.sums)
                    .map_err(|error| error.with("column", field.name()))?;
            }
            let total = self
                .sums
                .iter()
                .fold(0_u128, |total, &sum| total.wrapping_add(mix(sum)));
            self.found = self.found.plus(RowFingerprint {
                rows: count as u64,
                total,
            });
        }
        Ok(())
    }

    /// The fingerprint of all rows that were taken in.
    pub(crate) fn finish(self) -> RowFingerprint {
        self.found
    }
}

// The four functions of version 1, as the documentation above defines them.

fn step(x: u128) -> u128 {
    let x = x.wrapping_mul(M1);
    x ^ (x >> 64)
}

fn mix(x: u128) -> u128 {
    let y = step(x ^ (x >> 64)).wrapping_mul(M2);
    y ^ (y >> 64)
}

fn chain(count: usize, pieces: impl Iterator<Item = u128>) -> u128 {
    mix(pieces.fold(step(count as u128), |state, piece| step(state ^ piece)))
}

fn chain_of_bytes(bytes: &[u8]) -> u128 {
    let (pieces, rest) = bytes.as_chunks::<16>();
    let mut last = [0; 16];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let last = (!rest.is_empty()).then_some(u128::from_le_bytes(last));
    chain(
        bytes.len(),
        pieces
            .iter()
            .map(|piece| u128::from_le_bytes(*piece))
            .chain(last),
    )
}
