//! Predicate and bounds to [`Skip`]: which rows need not be read.
//!
//! Every part of a predicate is given the set of answers (true, false, unknown) that some row *may* have for it, and
//! the sets are combined by the rules of three-valued logic. A set may be too large, never too small: what is not known
//! of a column adds answers. So [`Skip::Never`] and [`Skip::Always`] are proofs, and everything else is `Maybe`.

use std::cell::OnceCell;
use std::cmp::Ordering;
use std::fmt;

use crate::predicate::bind::{Bound, Leaf, Test};
use crate::predicate::pattern::Pattern;
use crate::predicate::{BoundColumn, BoundPredicate, Comparison};
use crate::protocol::schema::PrimitiveType;
use crate::protocol::value::Scalar;

/// From this many characters on, a greatest text may be the beginning of a longer one: some writers cut it without
/// raising it. 32 is where the reference engine cuts.
const TEXT_CUT_CHARS: usize = 32;

/// What a predicate comes to for a set of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Skip {
    /// No row matches.
    Never,
    /// A row may match, and another may not: they must be read.
    Maybe,
    /// Every row matches.
    Always,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "never",
            Self::Maybe => "maybe",
            Self::Always => "always",
        })
    }
}

/// What is known of the rows of a file, a row group or a page.
pub trait Bounds {
    /// How many rows there are, or `None` if that is not known. An upper bound will do.
    fn rows(&self) -> Option<u64>;

    /// What is known of one column: [`ColumnBounds::unknown`] if nothing is.
    fn column(&self, column: &BoundColumn) -> ColumnBounds;
}

/// What is known of the values of a column. What is `None` is not known.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ColumnBounds {
    /// No value, NaN apart, is below this.
    pub min: Option<Scalar>,
    /// No value, NaN apart if [`nan_possible`](Self::nan_possible), is above this. It need not be a value itself.
    pub max: Option<Scalar>,
    /// How many rows have no value.
    pub null_count: Option<u64>,
    /// Every row has the value `min`; where that is `None` or null, every row has none: a partition column.
    pub exact: bool,
    /// There may be NaN, which neither bound tells of.
    pub nan_possible: bool,
}

impl ColumnBounds {
    /// Nothing is known.
    pub fn unknown() -> Self {
        Self {
            nan_possible: true,
            ..Self::default()
        }
    }

    /// Every row has this value, which may be null.
    pub fn constant(value: Scalar) -> Self {
        let value = (!value.is_null()).then_some(value);
        Self {
            max: value.clone(),
            min: value,
            exact: true,
            ..Self::default()
        }
    }
}

impl BoundPredicate {
    /// What the predicate comes to for rows of which this much is known.
    pub fn skip(&self, bounds: &dyn Bounds) -> Skip {
        let known = Known::new(self.columns(), bounds);
        known.verdict(known.answers(self.root()))
    }
}

/// The answers that some row may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) yes: bool,
    pub(super) no: bool,
    pub(super) unknown: bool,
}

impl Answers {
    const NONE: Self = Self {
        yes: false,
        no: false,
        unknown: false,
    };
    const ANY: Self = Self {
        yes: true,
        no: true,
        unknown: true,
    };

    fn of(truth: Option<bool>) -> Self {
        Self {
            yes: truth == Some(true),
            no: truth == Some(false),
            unknown: truth.is_none(),
        }
    }

    fn not(self) -> Self {
        Self {
            yes: self.no,
            no: self.yes,
            unknown: self.unknown,
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            yes: self.yes && other.yes,
            no: self.no || other.no,
            unknown: (self.unknown && (other.yes || other.unknown))
                || (other.unknown && (self.yes || self.unknown)),
        }
    }

    fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }

    fn is(self, truth: Option<bool>) -> Self {
        let (hit, miss) = match truth {
            Some(true) => (self.yes, self.no || self.unknown),
            Some(false) => (self.no, self.yes || self.unknown),
            None => (self.unknown, self.yes || self.no),
        };
        Self {
            yes: hit,
            no: miss,
            unknown: false,
        }
    }
}

/// What is known of a column, once the contradictions are out.
#[derive(Debug)]
pub(super) struct Range {
    pub(super) min: Option<Scalar>,
    pub(super) max: Option<Scalar>,
    /// A value may start with `max` and go on.
    pub(super) open: bool,
    pub(super) nan: bool,
    pub(super) nulls: Nulls,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nulls {
    None,
    Maybe,
    All,
}

impl Range {
    fn new(column: &BoundColumn, bounds: ColumnBounds, rows: impl FnOnce() -> Option<u64>) -> Self {
        let float = matches!(
            column.data_type,
            PrimitiveType::Float | PrimitiveType::Double
        );
        let value = |scalar: Option<Scalar>| scalar.filter(|scalar| !scalar.is_null());
        let (mut min, mut max) = (value(bounds.min), value(bounds.max));
        if bounds.exact {
            let nulls = if min.is_some() {
                Nulls::None
            } else {
                Nulls::All
            };
            return Self {
                max: min.clone(),
                min,
                open: false,
                nan: false,
                nulls,
            };
        }
        // Some writers count the leaves of a list or map under its name, an empty list among the nulls: no such leaf
        // means no such list, but any other number says nothing of it.
        let counted = !matches!(
            column.data_type,
            PrimitiveType::Unknown(_) | PrimitiveType::Variant
        );
        let null_count = bounds.null_count.filter(|nulls| counted || *nulls == 0);
        let nulls = match null_count {
            Some(0) => Nulls::None,
            // A column without a value has no bounds: where both are given, one of them is wrong.
            Some(nulls) if min.is_none() && max.is_none() && rows() == Some(nulls) => Nulls::All,
            _ => Nulls::Maybe,
        };
        // A bound that is NaN among bounds that do not tell of NaN, or bounds in the wrong order: neither is to be trusted.
        let nan = float && (bounds.nan_possible || max.is_none());
        let bad =
            |bound: &Option<Scalar>| bounds.nan_possible && bound.as_ref().is_some_and(is_nan);
        let crossed = match (&min, &max) {
            (Some(min), Some(max)) => min.compare(max).is_none_or(Ordering::is_gt),
            _ => false,
        };
        if crossed || (float && (bad(&min) || bad(&max))) {
            (min, max) = (None, None);
            return Self {
                min,
                max,
                open: false,
                nan: float,
                nulls,
            };
        }
        let open = match &max {
            Some(Scalar::String(text)) => TEXT_CUT_CHARS <= text.chars().count(),
            Some(Scalar::Binary(bytes)) => TEXT_CUT_CHARS <= bytes.len(),
            _ => false,
        };
        Self {
            min,
            max,
            open,
            nan,
            nulls,
        }
    }

    /// Answers of a test that has these for values, and is unknown for null.
    fn answers(&self, yes: bool, no: bool) -> Answers {
        match self.nulls {
            Nulls::All => Answers {
                unknown: true,
                ..Answers::NONE
            },
            nulls => Answers {
                yes,
                no,
                unknown: nulls == Nulls::Maybe,
            },
        }
    }

    /// How the values may stand to a literal.
    fn against(&self, literal: &Scalar) -> Orders {
        let min = self.min.as_ref().and_then(|min| min.compare(literal));
        let max = self.max.as_ref().and_then(|max| max.compare(literal));
        let max = if self.open && self.max.as_ref().is_some_and(|max| begins(literal, max)) {
            Some(Ordering::Greater)
        } else {
            max
        };
        let mut orders = Orders {
            less: !min.is_some_and(Ordering::is_ge),
            equal: !min.is_some_and(Ordering::is_gt) && !max.is_some_and(Ordering::is_lt),
            greater: !max.is_some_and(Ordering::is_le),
        };
        if is_nan(literal) {
            // Nothing exceeds NaN; only NaN equals it.
            orders.greater = false;
            orders.equal |= self.nan;
        } else {
            orders.greater |= self.nan;
        }
        orders
    }

    /// How the values may stand to those of another column.
    fn beside(&self, other: &Self) -> Orders {
        let order = |a: &Option<Scalar>, b: &Option<Scalar>| a.as_ref()?.compare(b.as_ref()?);
        let least = order(&self.min, &other.max).filter(|_| !other.open && !other.nan);
        let greatest = order(&self.max, &other.min).filter(|_| !self.open && !self.nan);
        Orders {
            less: !least.is_some_and(Ordering::is_ge),
            equal: !least.is_some_and(Ordering::is_gt) && !greatest.is_some_and(Ordering::is_lt),
            greater: !greatest.is_some_and(Ordering::is_le),
        }
    }

    // The list is in order: what equals a value of this range, if anything does, is the first that is not below it,
    // or NaN, which is the last.
    fn is_in(&self, values: &[Scalar]) -> Answers {
        let below = |value: &Scalar| {
            self.min
                .as_ref()
                .and_then(|min| value.compare(min))
                .is_some_and(Ordering::is_lt)
        };
        let first = values.get(values.partition_point(below));
        let near = || first.into_iter().chain(values.last());
        let hit = near().any(|value| self.against(value).equal);
        let certain = near().any(|value| {
            let orders = self.against(value);
            !orders.less && !orders.greater
        });
        self.answers(hit, !certain)
    }

    fn like(&self, pattern: &Pattern) -> Answers {
        let prefix = pattern.prefix();
        if pattern.is_exact() {
            let orders = self.against(&Scalar::String(prefix));
            return self.answers(orders.equal, orders.less || orders.greater);
        }
        let (min, max) = match (&self.min, &self.max) {
            (Some(Scalar::String(min)), Some(Scalar::String(max))) => (Some(min), Some(max)),
            (Some(Scalar::String(min)), _) => (Some(min), None),
            (_, Some(Scalar::String(max))) => (None, Some(max)),
            _ => (None, None),
        };
        // Texts that start with the prefix lie together: from the prefix itself on, until the first that does not.
        let starts = |bound: &String| bound.starts_with(&prefix);
        let above = min.is_some_and(|min| prefix < *min && !starts(min));
        let below = max
            .is_some_and(|max| *max < prefix && !(self.open && prefix.starts_with(max.as_str())));
        let all = pattern.is_prefix_only() && {
            prefix.is_empty() || (min.is_some_and(starts) && max.is_some_and(starts))
        };
        self.answers(!above && !below, !all)
    }
}

// How values may stand to others.
struct Orders {
    less: bool,
    equal: bool,
    greater: bool,
}

impl Orders {
    fn may(&self, holds: impl Fn(Ordering) -> bool) -> bool {
        (self.less && holds(Ordering::Less))
            || (self.equal && holds(Ordering::Equal))
            || (self.greater && holds(Ordering::Greater))
    }
}

fn is_nan(scalar: &Scalar) -> bool {
    match scalar {
        Scalar::Float(value) => value.is_nan(),
        Scalar::Double(value) => value.is_nan(),
        _ => false,
    }
}

fn begins(literal: &Scalar, max: &Scalar) -> bool {
    match (literal, max) {
        (Scalar::String(literal), Scalar::String(max)) => literal.starts_with(max.as_str()),
        (Scalar::Binary(literal), Scalar::Binary(max)) => literal.starts_with(max),
        _ => false,
    }
}

/// Bounds, asked for once per column.
pub(super) struct Known<'a> {
    columns: &'a [BoundColumn],
    bounds: &'a dyn Bounds,
    ranges: Vec<OnceCell<Range>>,
}

impl<'a> Known<'a> {
    pub(super) fn new(columns: &'a [BoundColumn], bounds: &'a dyn Bounds) -> Self {
        Self {
            columns,
            bounds,
            ranges: columns.iter().map(|_| OnceCell::new()).collect(),
        }
    }

    pub(super) fn rows(&self) -> Option<u64> {
        self.bounds.rows()
    }

    pub(super) fn column(&self, column: usize) -> Option<&'a BoundColumn> {
        self.columns.get(column)
    }

    pub(super) fn range(&self, column: usize) -> Option<&Range> {
        let (cell, column) = (self.ranges.get(column)?, self.columns.get(column)?);
        let rows = || self.bounds.rows();
        Some(cell.get_or_init(|| Range::new(column, self.bounds.column(column), rows)))
    }

    pub(super) fn verdict(&self, answers: Answers) -> Skip {
        // To ask for the rows may cost more than all that has been asked for: it comes last.
        if !answers.yes || self.rows() == Some(0) {
            Skip::Never
        } else if answers.no || answers.unknown {
            Skip::Maybe
        } else {
            Skip::Always
        }
    }

    pub(super) fn answers(&self, bound: &Bound) -> Answers {
        match bound {
            Bound::Constant(truth) => Answers::of(*truth),
            Bound::Leaf(leaf) => self.test(leaf).unwrap_or(Answers::ANY),
            Bound::Is { part, truth } => self.answers(part).is(*truth),
            Bound::Not(part) => self.answers(part).not(),
            Bound::And(parts) => self.fold(parts, Some(true), Answers::and),
            Bound::Or(parts) => self.fold(parts, Some(false), Answers::or),
        }
    }

    /// The answers of parts together. `start` is what no part changes; its opposite is what no further part changes, so
    /// that the rest need not be asked.
    fn fold(
        &self,
        parts: &[Bound],
        start: Option<bool>,
        join: impl Fn(Answers, Answers) -> Answers,
    ) -> Answers {
        let end = Answers::of(start.map(|start| !start));
        let mut answers = Answers::of(start);
        for part in parts {
            answers = join(answers, self.answers(part));
            if answers == end {
                break;
            }
        }
        answers
    }

    // None if a column is out of range, which binding excludes.
    fn test(&self, leaf: &Leaf) -> Option<Answers> {
        Some(match &leaf.test {
            Test::Value { column, truth } => self.range(*column)?.answers(*truth, !*truth),
            Test::Compare {
                column,
                op,
                literal,
            } => {
                let range = self.range(*column)?;
                let orders = range.against(literal);
                let yes = orders.may(|order| op.holds(order));
                range.answers(yes, orders.may(|order| !op.holds(order)))
            }
            Test::Columns { left, op, right } => {
                columns(self.range(*left)?, *op, self.range(*right)?)
            }
            Test::In {
                column,
                values,
                or_unknown,
            } => {
                let mut answers = self.range(*column)?.is_in(values);
                if *or_unknown {
                    answers.unknown |= answers.no;
                    answers.no = false;
                }
                answers
            }
            Test::Like { column, pattern } => self.range(*column)?.like(pattern),
            // Bounds of columns say nothing of what is computed from them.
            Test::Computed(_) => Answers::ANY,
            Test::IsNull { column } => {
                let nulls = self.range(*column)?.nulls;
                Answers {
                    yes: nulls != Nulls::None,
                    no: nulls != Nulls::All,
                    unknown: false,
                }
            }
        })
    }
}

fn columns(left: &Range, op: Comparison, right: &Range) -> Answers {
    let orders = left.beside(right);
    let both = left.nulls != Nulls::All && right.nulls != Nulls::All;
    let yes = both && orders.may(|order| op.holds(order));
    let no = both && orders.may(|order| !op.holds(order));
    let nulls = left.nulls != Nulls::None || right.nulls != Nulls::None;
    if op == Comparison::NullSafeEq {
        let both_null = left.nulls != Nulls::None && right.nulls != Nulls::None;
        let one_null = nulls && !(left.nulls == Nulls::All && right.nulls == Nulls::All);
        return Answers {
            yes: yes || both_null,
            no: no || one_null,
            unknown: false,
        };
    }
    Answers {
        yes,
        no,
        unknown: nulls,
    }
}
