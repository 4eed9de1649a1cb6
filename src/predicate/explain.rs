//! Why a file is read or not, in words.

use crate::predicate::bind::{Bound, Leaf, Test};
use crate::predicate::skip::{Known, Nulls, Range};
use crate::predicate::{BoundPredicate, Bounds, Skip, literal};
use crate::protocol::value::Scalar;

/// How many reasons are given where several decide together.
const REASONS_MAX: usize = 3;
/// How many characters of a condition or of a value are shown.
const SHOWN_CHARS: usize = 60;

impl BoundPredicate {
    /// What the predicate comes to for rows of which this much is known, and the conditions and bounds that decided.
    pub fn explain(&self, bounds: &dyn Bounds) -> (Skip, String) {
        let known = Known::new(self.columns(), bounds);
        let skip = known.verdict(known.answers(self.root()));
        if known.rows() == Some(0) {
            return (skip, "there are no rows".to_owned());
        }
        let mut reasons = Vec::new();
        known.reasons(self.root(), false, &mut reasons);
        let more = reasons.len().saturating_sub(REASONS_MAX);
        reasons.truncate(REASONS_MAX);
        if 0 < more {
            reasons.push(format!("and {more} more"));
        }
        let verdict = match skip {
            Skip::Never => "no row can match",
            Skip::Maybe => "rows may match",
            Skip::Always => "every row matches",
        };
        (skip, format!("{verdict}: {}", reasons.join("; ")))
    }
}

impl Known<'_> {
    /// The conditions that make the answer what it is: of a conjunction that fails, the one that fails; of one that may
    /// hold, those that do not surely hold. `negated` swaps the roles.
    fn reasons(&self, bound: &Bound, negated: bool, reasons: &mut Vec<String>) {
        match bound {
            Bound::Constant(truth) => reasons.push(match truth {
                Some(true) => "a condition is always true".to_owned(),
                Some(false) => "a condition is always false".to_owned(),
                None => "a comparison with NULL is never true".to_owned(),
            }),
            Bound::Leaf(leaf) => reasons.push(self.reason(leaf)),
            Bound::Not(part) => self.reasons(part, !negated, reasons),
            Bound::Is {
                part,
                truth: Some(false),
            } => self.reasons(part, !negated, reasons),
            Bound::Is { part, .. } => self.reasons(part, negated, reasons),
            Bound::And(parts) => self.several(parts, negated, negated, reasons),
            Bound::Or(parts) => self.several(parts, negated, !negated, reasons),
        }
    }

    // `any`: one part that matches is enough.
    fn several(&self, parts: &[Bound], negated: bool, any: bool, reasons: &mut Vec<String>) {
        let verdict = |part: &Bound| {
            let answers = self.answers(part);
            let (yes, no) = if negated {
                (answers.no, answers.yes)
            } else {
                (answers.yes, answers.no)
            };
            match (yes, no || answers.unknown) {
                (false, _) => Skip::Never,
                (true, true) => Skip::Maybe,
                (true, false) => Skip::Always,
            }
        };
        let decided = if any { Skip::Always } else { Skip::Never };
        let neutral = if any { Skip::Never } else { Skip::Always };
        if let Some(part) = parts.iter().find(|part| verdict(part) == decided) {
            return self.reasons(part, negated, reasons);
        }
        let open: Vec<&Bound> = parts
            .iter()
            .filter(|part| verdict(part) != neutral)
            .collect();
        if open.is_empty() {
            parts
                .iter()
                .for_each(|part| self.reasons(part, negated, reasons));
        } else {
            open.into_iter()
                .for_each(|part| self.reasons(part, negated, reasons));
        }
    }

    fn reason(&self, leaf: &Leaf) -> String {
        let facts: Vec<String> = match &leaf.test {
            Test::Columns { left, right, .. } => vec![self.fact(*left), self.fact(*right)],
            Test::Value { column, .. }
            | Test::Compare { column, .. }
            | Test::In { column, .. }
            | Test::Like { column, .. }
            | Test::IsNull { column } => vec![self.fact(*column)],
            Test::Computed(_) => vec!["nothing is known of what is computed".to_owned()],
        };
        format!(
            "{} where {}",
            shortened(leaf.source.to_string()),
            facts.join(" and ")
        )
    }

    fn fact(&self, column: usize) -> String {
        let (Some(bound), Some(range)) = (self.column(column), self.range(column)) else {
            return "nothing is known".to_owned();
        };
        format!("{} {}", bound.name(), fact(range))
    }
}

fn fact(range: &Range) -> String {
    let nulls = match range.nulls {
        Nulls::All => return "is null in every row".to_owned(),
        Nulls::None => "without nulls",
        Nulls::Maybe => "maybe null",
    };
    let nan = if range.nan { ", maybe NaN" } else { "" };
    let show = |scalar: &Scalar| shortened(literal::to_sql(scalar));
    match (&range.min, &range.max) {
        (Some(min), Some(max)) if min == max => format!("is {} ({nulls}{nan})", show(min)),
        (Some(min), Some(max)) => {
            format!("is from {} to {} ({nulls}{nan})", show(min), show(max))
        }
        (Some(min), None) => format!("is at least {} ({nulls}{nan})", show(min)),
        (None, Some(max)) => format!("is at most {} ({nulls}{nan})", show(max)),
        (None, None) if range.nulls == Nulls::None => "has no bounds, and no nulls".to_owned(),
        (None, None) => "has no bounds".to_owned(),
    }
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
