//! Conditions over rows: one typed value that prunes partitions, files, row groups and pages, filters rows, and is
//! kept for conflict checks.
//!
//! | file | what it knows |
//! | --- | --- |
//! | [`expression`], `function` | the expression itself, how it is built; the functions it may call |
//! | `parse`, `literal`, `display` | SQL text to expressions and back; literals from and to SQL |
//! | `bind`, `coerce` | names, types and literals against a schema |
//! | `compute` | what operators and functions make of values |
//! | `pattern` | `LIKE` |
//! | [`skip`], `order`, `explain` | predicate and bounds to [`Skip`], what is asked first, and why it came out so |
//! | `evaluate` | predicate and record batch to a row mask, expression and record batch to a column |
//!
//! Truth has three values, as in SQL: a comparison with null is neither true nor false but unknown, and a row matches
//! only where the whole predicate is true. Values compare as in Spark: NaN equals NaN and exceeds every other number,
//! `-0.0` equals `0.0`, an integer or a decimal beside a float is the double nearest to it, text compares byte by byte.

use std::fmt;

use crate::error::Result;
use crate::protocol::schema::Schema;

mod bind;
mod coerce;
mod compute;
mod display;
mod evaluate;
mod explain;
pub mod expression;
mod function;
mod literal;
mod order;
mod parse;
mod pattern;
pub mod skip;
#[cfg(test)]
mod tests;

pub use bind::{BoundColumn, BoundExpression, BoundPredicate};
pub use expression::{Arithmetic, Comparison, Expression, col, lit};
pub use function::Function;
pub use skip::{Bounds, ColumnBounds, Skip};

/// A condition over the rows of a table.
///
/// Built from columns and values, or parsed from SQL; its `Display` is SQL that parses to the same predicate.
///
/// ```
/// use headwater::predicate::{Predicate, col};
/// let built = col("origin").eq("JFK").and(col("dep_delay").gt(60));
/// assert_eq!(built, Predicate::parse("origin = 'JFK' AND dep_delay > 60")?);
/// assert_eq!(built.to_string(), "origin = 'JFK' AND dep_delay > 60");
/// # Ok::<(), headwater::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Predicate(Expression);

impl Predicate {
    /// Reads a predicate from SQL text.
    ///
    /// Understood are columns (`a`, `a.b`, `` `with space` ``), literals of every type (`7`, `7L`, `1.50` exactly,
    /// `1.5e0`, `'text'`, `X'00FF'`, `TRUE`, `NULL`, `DATE '2013-06-30'`, `TIMESTAMP '2013-06-30T12:00:00Z'`,
    /// `TIMESTAMP_NTZ '...'`, `CAST('NaN' AS DOUBLE)`), `= == <> != < <= > >= <=>`, `AND`, `OR`, `NOT`,
    /// `IS [NOT] NULL | TRUE | FALSE | UNKNOWN | DISTINCT FROM`, `[NOT] IN`, `[NOT] BETWEEN`, and `[NOT] LIKE` with
    /// `%`, `_` and a backslash (or `ESCAPE`) before either. A timestamp without an offset is in UTC.
    ///
    /// Values may be computed, as in Spark 4 in ANSI mode: `+ - * / %` and `MOD`, `||`, `CASE` in both forms, `IF`,
    /// `CAST` between numbers, text, booleans, dates and timestamps, and every [`Function`] by its SQL name: `ABS`,
    /// `CEIL`, `FLOOR`, `ROUND`; `COALESCE` (`IFNULL`, `NVL`), `NULLIF`, `GREATEST`, `LEAST`; `CONCAT`, `UPPER`, `LOWER`,
    /// `TRIM`, `LTRIM`, `RTRIM`, `LENGTH`, `SUBSTRING`, `LEFT`, `RIGHT`, `REPLACE`, `STARTSWITH`, `ENDSWITH`, `CONTAINS`;
    /// `YEAR`, `QUARTER`, `MONTH`, `DAY`, `DAYOFWEEK`, `DAYOFYEAR`, `HOUR`, `MINUTE`, `SECOND`, `DATE_FORMAT`, `TO_DATE`,
    /// `DATE_TRUNC`, `TRUNC`, `DATE_ADD`, `DATE_SUB`, `DATEDIFF`; `CURRENT_DATE` and `CURRENT_TIMESTAMP` once
    /// [`Expression::at`] gives them their time. A number too large for its type, a division by zero and a text that
    /// is not what it is cast to are errors, not null; the time zone is UTC. What is computed filters rows and prunes
    /// nothing, unless it is the same for all rows.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::error::ErrorKind::Invalid) if the text is no SQL expression, is too long or nests too deep,
    /// or needs something that this build cannot evaluate, which the message names.
    pub fn parse(sql: &str) -> Result<Self> {
        parse::parse(sql).map(Self)
    }

    /// The predicate against a schema: columns found (without regard to case), literals turned into the columns' types.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::error::ErrorKind::Invalid) if there is no such column, or if values are compared that have
    /// no order between them.
    pub fn bind(&self, schema: &Schema) -> Result<BoundPredicate> {
        bind::bind(self, schema)
    }

    /// The predicate as an expression whose value is a boolean.
    pub fn expression(&self) -> &Expression {
        &self.0
    }

    /// Both.
    #[must_use]
    pub fn and(self, other: impl Into<Self>) -> Self {
        Self(Expression::all([self.0, other.into().0]))
    }

    /// At least one.
    #[must_use]
    pub fn or(self, other: impl Into<Self>) -> Self {
        Self(Expression::any([self.0, other.into().0]))
    }

    /// The opposite; where the predicate is unknown, so is its opposite.
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "the operator is implemented too; a chain reads better"
    )]
    pub fn not(self) -> Self {
        Self(Expression::Not(Box::new(self.0)))
    }
}

impl std::ops::Not for Predicate {
    type Output = Self;

    fn not(self) -> Self {
        Self::not(self)
    }
}

/// An expression as a condition; binding refuses it unless its value is a boolean.
impl From<Expression> for Predicate {
    fn from(expression: Expression) -> Self {
        Self(expression)
    }
}

impl From<Predicate> for Expression {
    fn from(predicate: Predicate) -> Self {
        predicate.0
    }
}

impl std::str::FromStr for Predicate {
    type Err = crate::error::Error;

    fn from_str(sql: &str) -> Result<Self> {
        Self::parse(sql)
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
