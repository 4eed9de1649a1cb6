//! Conditions of the tests' own: how they are written, twice, and what they mean, row by row.

use std::cmp::Ordering;

use headwater::predicate::{Comparison, Expression, Predicate, col};
use proptest::prelude::*;

use super::rows::{COLUMNS, Row};
use super::values::{Kind, Value, order};

/// A literal: its value, and the kind it is written as.
#[derive(Debug, Clone)]
pub(crate) struct Literal {
    value: Value,
    kind: Kind,
}

/// A condition over the rows of [`COLUMNS`], which are named by their places.
#[derive(Debug, Clone)]
pub(crate) enum Condition {
    Compare(usize, Comparison, Literal),
    Flipped(Literal, Comparison, usize),
    Columns(usize, Comparison, usize),
    In(usize, Vec<Literal>),
    Between(usize, Literal, Literal),
    Like(usize, String),
    IsNull(usize),
    /// The struct itself, or the one in it.
    NoStruct {
        deep: bool,
    },
    IsTruth(Box<Self>, bool),
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Box<Self>),
}

const OPERATORS: [Comparison; 7] = [
    Comparison::Eq,
    Comparison::NotEq,
    Comparison::Lt,
    Comparison::LtEq,
    Comparison::Gt,
    Comparison::GtEq,
    Comparison::NullSafeEq,
];

fn literal(kind: Kind) -> BoxedStrategy<Literal> {
    let of = |kind: Kind| kind.values().prop_map(move |value| Literal { value, kind });
    let other: BoxedStrategy<Literal> = match kind {
        // Whole numbers are compared with literals of every numeric type, exactly.
        _ if kind.is_whole() => prop_oneof![
            of(Kind::Long),
            of(Kind::Double),
            of(Kind::Decimal(38, 18)),
            of(Kind::Decimal(5, 2))
        ]
        .boxed(),
        Kind::Float | Kind::Double => prop_oneof![of(Kind::Long), of(Kind::Double)].boxed(),
        Kind::Decimal(..) => prop_oneof![
            of(Kind::Long),
            of(Kind::Decimal(38, 18)),
            of(Kind::Decimal(38, 0)),
            of(Kind::Decimal(5, 2))
        ]
        .boxed(),
        _ => of(kind).boxed(),
    };
    prop_oneof![3 => of(kind), 1 => other].boxed()
}

fn like(kind: Kind) -> BoxedStrategy<String> {
    let exact = |value: Value| match value {
        Value::Text(text) => text
            .replace('\\', "\\\\")
            .replace('%', "\\%")
            .replace('_', "\\_"),
        _ => String::new(),
    };
    let prefix = (kind.values(), 0_usize..40).prop_map(move |(value, length)| {
        let text: String = match value {
            Value::Text(text) => text.chars().take(length).collect(),
            _ => String::new(),
        };
        exact(Value::Text(text)) + "%"
    });
    prop_oneof![
        2 => prefix,
        1 => kind.values().prop_map(exact),
        1 => "[a-cz%_]{0,5}",
    ]
    .boxed()
}

fn test(column: usize) -> BoxedStrategy<Condition> {
    let kind = COLUMNS[column].1;
    let operator = proptest::sample::select(OPERATORS.to_vec());
    let compare = (operator.clone(), literal(kind))
        .prop_map(move |(op, literal)| Condition::Compare(column, op, literal));
    let flipped = (operator.clone(), literal(kind))
        .prop_map(move |(op, literal)| Condition::Flipped(literal, op, column));
    let is_in = proptest::collection::vec(literal(kind), 0..5)
        .prop_map(move |list| Condition::In(column, list));
    let between = (literal(kind), literal(kind))
        .prop_map(move |(low, high)| Condition::Between(column, low, high));
    let others: Vec<usize> = (0..COLUMNS.len())
        .filter(|other| comparable(kind, COLUMNS[*other].1))
        .collect();
    let columns = (operator, proptest::sample::select(others))
        .prop_map(move |(op, other)| Condition::Columns(column, op, other));
    let plain = prop_oneof![
        6 => compare,
        1 => flipped,
        2 => is_in,
        2 => between,
        1 => columns,
        1 => Just(Condition::IsNull(column)),
    ];
    match kind {
        Kind::Text => prop_oneof![
            3 => plain,
            1 => like(kind).prop_map(move |pattern| Condition::Like(column, pattern))
        ]
        .boxed(),
        _ => plain.boxed(),
    }
}

fn comparable(a: Kind, b: Kind) -> bool {
    let exact = |kind: Kind| kind.is_whole() || matches!(kind, Kind::Decimal(..));
    let float = |kind: Kind| matches!(kind, Kind::Float | Kind::Double);
    a == b
        || (exact(a) && exact(b))
        || (float(a) && float(b))
        || (a.is_whole() && float(b))
        || (float(a) && b.is_whole())
}

/// Any condition; those over few columns are the likeliest.
pub(crate) fn conditions() -> BoxedStrategy<Condition> {
    let leaf = prop_oneof![
        20 => (0..COLUMNS.len()).prop_flat_map(test),
        1 => any::<bool>().prop_map(|deep| Condition::NoStruct { deep }),
    ];
    let tree = leaf.prop_recursive(3, 8, 3, |inner| {
        let parts = || proptest::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            parts().prop_map(Condition::And),
            parts().prop_map(Condition::Or),
            inner
                .clone()
                .prop_map(|part| Condition::Not(Box::new(part))),
            (inner.clone(), any::<bool>())
                .prop_map(|(part, truth)| Condition::IsTruth(Box::new(part), truth)),
        ]
    });
    tree.boxed()
}

fn column(index: usize) -> Expression {
    col(COLUMNS[index].0)
}

impl Literal {
    fn expression(&self) -> Expression {
        Expression::Literal(self.value.scalar(self.kind))
    }

    fn sql(&self) -> Option<String> {
        self.value.sql(self.kind)
    }
}

impl Condition {
    /// The condition built from columns and values.
    pub(crate) fn predicate(&self) -> Predicate {
        let joined = |parts: &[Self], join: fn(Predicate, Predicate) -> Predicate| {
            parts.iter().map(Self::predicate).reduce(join).unwrap()
        };
        match self {
            Self::Compare(index, op, literal) => column(*index).compare(*op, literal.expression()),
            Self::Flipped(literal, op, index) => literal.expression().compare(*op, column(*index)),
            Self::Columns(left, op, right) => column(*left).compare(*op, column(*right)),
            Self::In(index, list) => column(*index).is_in(list.iter().map(Literal::expression)),
            Self::Between(index, low, high) => {
                column(*index).between(low.expression(), high.expression())
            }
            Self::Like(index, pattern) => column(*index).like(pattern.as_str()),
            Self::IsNull(index) => column(*index).is_null(),
            Self::NoStruct { deep } => col(if *deep { "st.deep" } else { "st" }).is_null(),
            Self::IsTruth(part, truth) => Predicate::from(Expression::IsTruth {
                value: Box::new(part.predicate().into()),
                truth: *truth,
            }),
            Self::And(parts) => joined(parts, |a, b| a.and(b)),
            Self::Or(parts) => joined(parts, |a, b| a.or(b)),
            Self::Not(part) => part.predicate().not(),
        }
    }

    /// The condition as text; `None` where a value cannot be written.
    pub(crate) fn sql(&self) -> Option<String> {
        let name = |index: &usize| COLUMNS[*index].0;
        let join = |parts: &[Self], word: &str| -> Option<String> {
            let parts: Option<Vec<_>> = parts.iter().map(Self::sql).collect();
            Some(format!("({})", parts?.join(word)))
        };
        Some(match self {
            Self::Compare(index, op, literal) => {
                format!("{} {} {}", name(index), op.as_str(), literal.sql()?)
            }
            Self::Flipped(literal, op, index) => {
                format!("{} {} {}", literal.sql()?, op.as_str(), name(index))
            }
            Self::Columns(left, op, right) => {
                format!("{} {} {}", name(left), op.as_str(), name(right))
            }
            Self::In(index, list) => {
                let list: Option<Vec<_>> = list.iter().map(Literal::sql).collect();
                format!("{} IN ({})", name(index), list?.join(", "))
            }
            Self::Between(index, low, high) => {
                format!("{} BETWEEN {} AND {}", name(index), low.sql()?, high.sql()?)
            }
            Self::Like(index, pattern) => {
                format!("{} LIKE '{}'", name(index), pattern.replace('\'', "''"))
            }
            Self::IsNull(index) => format!("{} IS NULL", name(index)),
            Self::NoStruct { deep: true } => "st.deep IS NULL".to_owned(),
            Self::NoStruct { deep: false } => "st IS NULL".to_owned(),
            Self::IsTruth(part, true) => format!("({}) IS TRUE", part.sql()?),
            Self::IsTruth(part, false) => format!("({}) IS FALSE", part.sql()?),
            Self::And(parts) => join(parts, " AND ")?,
            Self::Or(parts) => join(parts, " OR ")?,
            Self::Not(part) => format!("NOT ({})", part.sql()?),
        })
    }

    /// What the condition says of a row; `None` is unknown.
    pub(crate) fn holds(&self, row: &Row) -> Option<bool> {
        match self {
            Self::Compare(index, op, literal) => compare(&row.values[*index], *op, &literal.value),
            Self::Flipped(literal, op, index) => compare(&literal.value, *op, &row.values[*index]),
            Self::Columns(left, op, right) => compare(&row.values[*left], *op, &row.values[*right]),
            Self::In(index, list) => {
                let value = &row.values[*index];
                let parts = list
                    .iter()
                    .map(|literal| compare(value, Comparison::Eq, &literal.value));
                any_of(parts)
            }
            Self::Between(index, low, high) => {
                let value = &row.values[*index];
                let parts = [
                    compare(value, Comparison::GtEq, &low.value),
                    compare(value, Comparison::LtEq, &high.value),
                ];
                all_of(parts.into_iter())
            }
            Self::Like(index, pattern) => match &row.values[*index] {
                Value::Text(text) => {
                    let (text, pattern): (Vec<_>, Vec<_>) =
                        (text.chars().collect(), pattern.chars().collect());
                    Some(matches(&text, &pattern))
                }
                _ => None,
            },
            Self::IsNull(index) => Some(row.values[*index] == Value::Null),
            Self::NoStruct { deep: true } => Some(!row.has_struct || !row.has_deep),
            Self::NoStruct { deep: false } => Some(!row.has_struct),
            Self::IsTruth(part, truth) => Some(part.holds(row) == Some(*truth)),
            Self::And(parts) => all_of(parts.iter().map(|part| part.holds(row))),
            Self::Or(parts) => any_of(parts.iter().map(|part| part.holds(row))),
            Self::Not(part) => part.holds(row).map(|truth| !truth),
        }
    }
}

fn any_of(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let parts: Vec<_> = parts.collect();
    if parts.contains(&Some(true)) {
        Some(true)
    } else if parts.contains(&None) {
        None
    } else {
        Some(false)
    }
}

fn all_of(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    any_of(parts.map(|part| part.map(|truth| !truth))).map(|truth| !truth)
}

fn compare(left: &Value, op: Comparison, right: &Value) -> Option<bool> {
    if *left == Value::Null || *right == Value::Null {
        let both = *left == Value::Null && *right == Value::Null;
        return (op == Comparison::NullSafeEq).then_some(both);
    }
    let order = order(left, right);
    Some(match op {
        Comparison::Eq | Comparison::NullSafeEq => order == Ordering::Equal,
        Comparison::NotEq => order != Ordering::Equal,
        Comparison::Lt => order == Ordering::Less,
        Comparison::LtEq => order != Ordering::Greater,
        Comparison::Gt => order == Ordering::Greater,
        Comparison::GtEq => order != Ordering::Less,
    })
}

fn matches(text: &[char], pattern: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|skip| matches(&text[skip..], rest)),
        ['_', rest @ ..] => !text.is_empty() && matches(&text[1..], rest),
        ['\\', exactly, rest @ ..] | [exactly, rest @ ..] => {
            text.first() == Some(exactly) && matches(&text[1..], rest)
        }
    }
}
