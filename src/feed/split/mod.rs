//! Train, valid and test: which part a row belongs to is a function of its key columns alone.
//!
//! The bucket of a row is `pmod(xxhash64(key columns), 10000)` with Spark's `xxhash64`, so a query in Spark selects
//! the very same rows. Appends, compaction, clustering and deletes of other rows move no row to another part.

mod columns;
#[cfg(test)]
mod tests;
mod xxhash;

use std::ops::Range;

use crate::error::{Code, Error, Result};
use crate::protocol::schema::{DataType, Field, PrimitiveType, Schema};

pub(crate) use columns::buckets;

/// Buckets that rows are spread over.
pub const BUCKETS: u32 = 10_000;

/// Named parts of a table, by hash of key columns.
///
/// ```
/// use headwater::feed::HashSplit;
/// let split = HashSplit::by(["flight_key"], [("train", 80), ("valid", 10), ("test", 10)])?;
/// assert_eq!(
///     split.sql("valid")?,
///     "pmod(xxhash64(`flight_key`), 10000) BETWEEN 8000 AND 8999",
/// );
/// # Ok::<(), headwater::Error>(())
/// ```
///
/// What a reader may rely on: a row's part depends on the values of the key columns, their order and their types,
/// and on the shares. Nothing else moves a row. What moves rows: an update of a key, other shares, and a change of a
/// key column's type (Spark hashes an `int` and a `bigint` of the same value differently). A null does not count:
/// rows whose keys are all null are in bucket 42 together.
///
/// Choose the entity as the key (a customer, a device), and no rows of one entity are on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashSplit {
    columns: Vec<String>,
    /// Each part with the end of its buckets; they begin where those of the part before end.
    parts: Vec<(String, u32)>,
}

/// Rows of one part of a [`HashSplit`], or of all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitPart {
    pub(crate) columns: Vec<String>,
    pub(crate) buckets: Vec<Range<u32>>,
}

impl HashSplit {
    /// Parts by hash of `columns`, with shares in any unit: percent, or `[("a", 1), ("b", 1)]` for halves.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if there are no columns, no parts, a name stands twice, or a share is
    /// less than one bucket of 10,000.
    pub fn by<C, P>(
        columns: impl IntoIterator<Item = C>,
        parts: impl IntoIterator<Item = (P, u32)>,
    ) -> Result<Self>
    where
        C: Into<String>,
        P: Into<String>,
    {
        let columns: Vec<String> = columns.into_iter().map(Into::into).collect();
        let shares: Vec<(String, u32)> = parts
            .into_iter()
            .map(|(name, share)| (name.into(), share))
            .collect();
        if columns.is_empty() || shares.is_empty() {
            return Err(invalid("a split needs key columns and parts"));
        }
        let total: u64 = shares.iter().map(|(_, share)| u64::from(*share)).sum();
        let (mut parts, mut sum) = (Vec::<(String, u32)>::new(), 0_u64);
        for (name, share) in shares {
            sum += u64::from(share);
            let end = (u64::from(BUCKETS) * sum).checked_div(total).unwrap_or(0);
            let end = u32::try_from(end).unwrap_or(BUCKETS);
            if parts.iter().any(|(known, _)| *known == name) {
                return Err(invalid("two parts of a split have the same name").with("part", name));
            }
            if share == 0 || u64::from(share).saturating_mul(BUCKETS.into()) < total {
                let message = "a part of a split has no bucket; give it a larger share";
                return Err(invalid(message).with("part", name));
            }
            parts.push((name, end));
        }
        Ok(Self { columns, parts })
    }

    /// The rows of one part.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if there is no such part.
    pub fn part(&self, name: &str) -> Result<SplitPart> {
        Ok(self.of(vec![self.buckets(name)?]))
    }

    /// The rows of all parts but one: what a fold of a cross validation trains on.
    ///
    /// # Errors
    ///
    /// As [`HashSplit::part`].
    pub fn all_but(&self, name: &str) -> Result<SplitPart> {
        let without = self.buckets(name)?;
        let mut rest = vec![0..without.start, without.end..BUCKETS];
        rest.retain(|buckets| buckets.start < buckets.end);
        Ok(self.of(rest))
    }

    /// The condition that selects the rows of a part in Spark SQL.
    ///
    /// # Errors
    ///
    /// As [`HashSplit::part`].
    pub fn sql(&self, name: &str) -> Result<String> {
        let buckets = self.buckets(name)?;
        let columns: Vec<_> = self
            .columns
            .iter()
            .map(|column| format!("`{}`", column.replace('`', "``")))
            .collect();
        Ok(format!(
            "pmod(xxhash64({}), {BUCKETS}) BETWEEN {} AND {}",
            columns.join(", "),
            buckets.start,
            buckets.end.saturating_sub(1),
        ))
    }

    fn buckets(&self, name: &str) -> Result<Range<u32>> {
        let mut start = 0;
        for (part, end) in &self.parts {
            if part == name {
                return Ok(start..*end);
            }
            start = *end;
        }
        let known: Vec<_> = self.parts.iter().map(|(name, _)| name.as_str()).collect();
        Err(invalid("the split has no such part")
            .with("part", name)
            .with("parts", known.join(", ")))
    }

    fn of(&self, buckets: Vec<Range<u32>>) -> SplitPart {
        SplitPart {
            columns: self.columns.clone(),
            buckets,
        }
    }
}

impl SplitPart {
    pub(crate) fn has(&self, bucket: u32) -> bool {
        self.buckets.iter().any(|range| range.contains(&bucket))
    }

    /// The key columns as they stand in the schema.
    pub(crate) fn fields(&self, schema: &Schema) -> Result<Vec<Field>> {
        let fields = self.columns.iter().map(|name| {
            let field = schema.field(name).cloned();
            let field = field.ok_or_else(|| {
                invalid("a key column of the split is not in the table").with("column", name)
            })?;
            match can_hash(&field.data_type) {
                true => Ok(field),
                false => Err(Error::unsupported(
                    "a split cannot hash a column of this type; choose another key",
                )
                .with("column", name)
                .with("type", &field.data_type)),
            }
        });
        fields.collect()
    }
}

/// Whether the hash of the type is Spark's, as far as Spark's own values have shown.
fn can_hash(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Primitive(
            PrimitiveType::String
                | PrimitiveType::Long
                | PrimitiveType::Integer
                | PrimitiveType::Short
                | PrimitiveType::Byte
                | PrimitiveType::Float
                | PrimitiveType::Double
                | PrimitiveType::Decimal { .. }
                | PrimitiveType::Boolean
                | PrimitiveType::Binary
                | PrimitiveType::Date
                | PrimitiveType::Timestamp
                | PrimitiveType::TimestampNtz
        )
    )
}

fn invalid(message: &str) -> Error {
    Error::invalid(Code::InvalidArgument, message)
}
