//! In which type values of two types meet: Spark's rules in ANSI mode.

use crate::error::{Error, Result};
use crate::predicate::Arithmetic;
use crate::predicate::bind::invalid;
use crate::predicate::bind::value::{Node, Op};
use crate::predicate::compute::cast::{is_number, is_time, is_whole};
use crate::predicate::compute::decimal;
use crate::predicate::literal;
use crate::protocol::schema::PrimitiveType;
use crate::protocol::value::Scalar;

/// The refusal of values whose types do not meet.
pub(super) fn apart(what: &str, a: &PrimitiveType, b: &PrimitiveType) -> Error {
    invalid(format!(
        "{what} is given a {a} and a {b}, which have no type in common; CAST one of them"
    ))
}

/// The type that holds the values of both, if there is one.
pub(super) fn common(a: &PrimitiveType, b: &PrimitiveType) -> Option<PrimitiveType> {
    use PrimitiveType as T;
    Some(match (a, b) {
        (T::Variant | T::Unknown(_), _) | (_, T::Variant | T::Unknown(_)) => return None,
        (a, b) if a == b => a.clone(),
        (T::Void, ty) | (ty, T::Void) => ty.clone(),
        (a, b) if is_number(a) && is_number(b) => number(a, b),
        (T::Date, ty) | (ty, T::Date) if is_time(ty) => ty.clone(),
        (a, b) if is_time(a) && is_time(b) => T::Timestamp,
        _ => return None,
    })
}

fn number(a: &PrimitiveType, b: &PrimitiveType) -> PrimitiveType {
    use PrimitiveType as T;
    let is_float = |ty: &T| matches!(ty, T::Float | T::Double);
    if is_whole(a) && is_whole(b) {
        let width = |ty: &T| match ty {
            T::Byte => 1,
            T::Short => 2,
            T::Integer => 3,
            _ => 4,
        };
        return if width(a) < width(b) {
            b.clone()
        } else {
            a.clone()
        };
    }
    if is_float(a) || is_float(b) {
        // 32 bits do not hold every integer of 32 bits.
        let narrow = |ty: &T| matches!(ty, T::Float | T::Byte | T::Short);
        return if narrow(a) && narrow(b) {
            T::Float
        } else {
            T::Double
        };
    }
    let ((p, s), (q, t)) = (digits(a), digits(b));
    let scale = s.max(t);
    decimal::fitting((p - s).max(q - t) + scale, scale)
}

/// How many digits the values of an exact type have, and how many of them after the point.
fn digits(ty: &PrimitiveType) -> (i32, i32) {
    match *ty {
        PrimitiveType::Byte => (3, 0),
        PrimitiveType::Short => (5, 0),
        PrimitiveType::Integer => (10, 0),
        PrimitiveType::Decimal { precision, scale } => (precision.into(), scale.into()),
        _ => (20, 0),
    }
}

/// An exact number, or null, as a decimal.
pub(super) fn as_decimal(node: Node) -> Result<Node> {
    let (precision, scale) = match node.ty {
        PrimitiveType::Void => (1, 0),
        _ => digits(&node.ty),
    };
    let ty = decimal::bounded(precision, scale);
    node.cast(&ty)
}

/// The type of what is reckoned from two decimals.
pub(super) fn decimal_result(
    op: Arithmetic,
    left: &PrimitiveType,
    right: &PrimitiveType,
) -> PrimitiveType {
    let ((p, s), (q, t)) = (digits(left), digits(right));
    let scale = s.max(t);
    match op {
        Arithmetic::Add | Arithmetic::Subtract => {
            decimal::fitting((p - s).max(q - t) + scale + 1, scale)
        }
        Arithmetic::Multiply => decimal::fitting(p + q + 1, s + t),
        Arithmetic::Divide => {
            let scale = (s + q + 1).max(6);
            decimal::fitting(p - s + t + scale, scale)
        }
        Arithmetic::Remainder => decimal::fitting((p - s).min(q - t) + scale, scale),
    }
}

/// Two values that can be compared with each other.
pub(super) fn comparable_as(left: Node, right: Node) -> Result<(Node, Node)> {
    use PrimitiveType as T;
    if left.ty == right.ty {
        return Ok((left, right));
    }
    // Exact numbers compare exactly; beside a float the comparison takes them as doubles.
    if is_number(&left.ty) && is_number(&right.ty) {
        return Ok((left, right));
    }
    if let Some(ty) = common(&left.ty, &right.ty) {
        return Ok((left.cast(&ty)?, right.cast(&ty)?));
    }
    let takes_text = |ty: &T| is_time(ty) || *ty == T::Boolean;
    match (&left.ty, &right.ty) {
        (T::String, ty) if takes_text(ty) => {
            let left = of_text(left, ty)?;
            Ok((left, right))
        }
        (ty, T::String) if takes_text(ty) => {
            let right = of_text(right, ty)?;
            Ok((left, right))
        }
        (a, b) => Err(invalid(format!(
            "a {a} and a {b} cannot be compared; CAST one of them"
        ))),
    }
}

/// A value and others that it can be compared with, one by one. What one of them makes of its type holds for all.
pub(super) fn comparable_with(mut value: Node, others: Vec<Node>) -> Result<(Node, Vec<Node>)> {
    for other in &others {
        (value, _) = comparable_as(value, other.clone())?;
    }
    let mut same = Vec::with_capacity(others.len());
    for other in others {
        let (left, right) = comparable_as(value, other)?;
        value = left;
        same.push(right);
    }
    Ok((value, same))
}

fn of_text(node: Node, ty: &PrimitiveType) -> Result<Node> {
    match &node.op {
        Op::Literal(Scalar::String(text)) => literal::typed(text, ty).map(Node::literal),
        _ => node.cast(ty),
    }
}
