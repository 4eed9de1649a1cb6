//! Expressions as SQL text that parses to the same expression.

use std::fmt;

use crate::predicate::{Arithmetic, Expression, literal};
use crate::protocol::schema::PrimitiveType;

/// SQL that parses to the same expression.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Column(path) => f.write_str(&literal::column(path)),
            Self::Literal(scalar) => f.write_str(&literal::to_sql(scalar)),
            Self::Compare { left, op, right } => {
                write!(f, "{} {} {}", Operand(left), op.as_str(), Operand(right))
            }
            Self::And(parts) => joined(f, parts, " AND ", "TRUE"),
            Self::Or(parts) => joined(f, parts, " OR ", "FALSE"),
            Self::Not(part) => part.write_negated(f),
            Self::IsNull(value) => write!(f, "{} IS NULL", Operand(value)),
            Self::IsTruth { value, truth } => {
                write!(
                    f,
                    "{} IS {}",
                    Operand(value),
                    if *truth { "TRUE" } else { "FALSE" }
                )
            }
            Self::In { value, list } => write_in(f, value, "IN", list),
            Self::Between { value, low, high } => write_between(f, value, "BETWEEN", (low, high)),
            Self::Like { value, pattern } => write_like(f, value, "LIKE", pattern),
            Self::Arithmetic { left, op, right } => write_arithmetic(f, left, *op, right),
            Self::Negate(value) => write!(f, "-({value})"),
            Self::Case {
                operand,
                branches,
                otherwise,
            } => write_case(f, operand.as_deref(), branches, otherwise.as_deref()),
            Self::Cast { value, data_type } => {
                write!(f, "CAST({value} AS {})", SqlType(data_type))
            }
            Self::Call {
                function,
                arguments,
            } => {
                write!(f, "{function}(")?;
                for (index, argument) in arguments.iter().enumerate() {
                    write!(f, "{}{argument}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
        }
    }
}

fn write_arithmetic(
    f: &mut fmt::Formatter<'_>,
    left: &Expression,
    op: Arithmetic,
    right: &Expression,
) -> fmt::Result {
    match left {
        // Operators of one strength are taken from the left: no parentheses, so that long sums do not nest.
        Expression::Arithmetic { op: inner, .. } if inner.is_strong() || !op.is_strong() => {
            write!(f, "{left}")?;
        }
        left => write!(f, "{}", Operand(left))?,
    }
    write!(f, " {} {}", op.as_str(), Operand(right))
}

fn write_case(
    f: &mut fmt::Formatter<'_>,
    operand: Option<&Expression>,
    branches: &[(Expression, Expression)],
    otherwise: Option<&Expression>,
) -> fmt::Result {
    f.write_str("CASE")?;
    if let Some(operand) = operand {
        write!(f, " {}", Operand(operand))?;
    }
    for (when, then) in branches {
        write!(f, " WHEN {when} THEN {then}")?;
    }
    if let Some(otherwise) = otherwise {
        write!(f, " ELSE {otherwise}")?;
    }
    f.write_str(" END")
}

// The name of a type in SQL.
struct SqlType<'a>(&'a PrimitiveType);

impl fmt::Display for SqlType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            PrimitiveType::Byte => "TINYINT",
            PrimitiveType::Short => "SMALLINT",
            PrimitiveType::Integer => "INT",
            PrimitiveType::Long => "BIGINT",
            other => return f.write_str(&other.to_string().to_uppercase()),
        })
    }
}

impl Expression {
    fn write_negated(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IsNull(value) => write!(f, "{} IS NOT NULL", Operand(value)),
            Self::In { value, list } => write_in(f, value, "NOT IN", list),
            Self::Between { value, low, high } => {
                write_between(f, value, "NOT BETWEEN", (low, high))
            }
            Self::Like { value, pattern } => write_like(f, value, "NOT LIKE", pattern),
            Self::Column(_) => write!(f, "NOT {self}"),
            other => write!(f, "NOT ({other})"),
        }
    }
}

// What stands on a side of an operator: whole by itself, or in parentheses.
struct Operand<'a>(&'a Expression);

impl fmt::Display for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Expression::Column(_)
            | Expression::Literal(_)
            | Expression::Cast { .. }
            | Expression::Case { .. }
            | Expression::Call { .. } => self.0.fmt(f),
            other => write!(f, "({other})"),
        }
    }
}

fn joined(
    f: &mut fmt::Formatter<'_>,
    parts: &[Expression],
    word: &str,
    empty: &str,
) -> fmt::Result {
    if parts.is_empty() {
        return f.write_str(empty);
    }
    for (index, part) in parts.iter().enumerate() {
        let word = if index == 0 { "" } else { word };
        match part {
            Expression::And(_) | Expression::Or(_) => write!(f, "{word}({part})")?,
            part => write!(f, "{word}{part}")?,
        }
    }
    Ok(())
}

fn write_in(
    f: &mut fmt::Formatter<'_>,
    value: &Expression,
    word: &str,
    list: &[Expression],
) -> fmt::Result {
    write!(f, "{} {word} (", Operand(value))?;
    for (index, item) in list.iter().enumerate() {
        write!(f, "{}{}", if index == 0 { "" } else { ", " }, Operand(item))?;
    }
    f.write_str(")")
}

fn write_between(
    f: &mut fmt::Formatter<'_>,
    value: &Expression,
    word: &str,
    (low, high): (&Expression, &Expression),
) -> fmt::Result {
    write!(
        f,
        "{} {word} {} AND {}",
        Operand(value),
        Operand(low),
        Operand(high)
    )
}

fn write_like(
    f: &mut fmt::Formatter<'_>,
    value: &Expression,
    word: &str,
    pattern: &str,
) -> fmt::Result {
    write!(f, "{} {word} {}", Operand(value), literal::quoted(pattern))
}
