//! What functions take and what they give.

use crate::error::{Error, Result};
use crate::predicate::Function;
use crate::predicate::bind::invalid;
use crate::predicate::bind::types::{apart, common, comparable_as};
use crate::predicate::bind::value::{Node, Op, as_time};
use crate::predicate::compute::calendar::{Form, Unit};
use crate::predicate::compute::cast::{is_number, is_whole};
use crate::predicate::compute::decimal;
use crate::protocol::schema::PrimitiveType;
use crate::protocol::value::Scalar;

pub(super) fn call(function: Function, arguments: Vec<Node>) -> Result<Node> {
    use Function as F;
    if !function.arguments().contains(&arguments.len()) {
        let message = format!("{function} does not take this number of arguments");
        return Err(invalid(message));
    }
    let (ty, arguments) = match function {
        F::Abs | F::Ceil | F::Floor | F::Round => number(function, arguments)?,
        F::Coalesce | F::Greatest | F::Least => {
            let mut ty = PrimitiveType::Void;
            for argument in &arguments {
                ty = common(&ty, &argument.ty)
                    .ok_or_else(|| apart(function.name(), &ty, &argument.ty))?;
            }
            let arguments = arguments.into_iter().map(|argument| argument.cast(&ty));
            let arguments = arguments.collect::<Result<_>>()?;
            (ty, arguments)
        }
        F::NullIf => null_if(arguments)?,
        F::StartsWith | F::EndsWith | F::Contains => {
            (PrimitiveType::Boolean, each(arguments, text)?)
        }
        F::Length => (PrimitiveType::Integer, each(arguments, text_or_bytes)?),
        F::Concat | F::Upper | F::Lower | F::Trim | F::LTrim | F::RTrim | F::Replace => {
            (PrimitiveType::String, each(arguments, text)?)
        }
        F::Substring | F::Left | F::Right => {
            let arguments = arguments.into_iter().enumerate();
            let of_place = |(place, argument)| match place {
                0 => text(argument),
                _ => whole(function, argument),
            };
            let arguments = arguments.map(of_place).collect::<Result<_>>()?;
            (PrimitiveType::String, arguments)
        }
        F::CurrentDate | F::CurrentTimestamp => {
            let message = format!("{function} has no value here: no time was given");
            return Err(invalid(message));
        }
        _ => time(function, arguments)?,
    };
    Ok(Node {
        ty,
        op: Op::Call {
            function,
            arguments,
        },
    })
}

type Typed = (PrimitiveType, Vec<Node>);

fn refused(function: Function, ty: &PrimitiveType) -> Error {
    invalid(format!("{function} does not take a {ty}"))
}

fn each(arguments: Vec<Node>, change: impl Fn(Node) -> Result<Node>) -> Result<Vec<Node>> {
    arguments.into_iter().map(change).collect()
}

// Everything has a text but bytes: whether they are text is not known before they are read.
fn text(node: Node) -> Result<Node> {
    if node.ty == PrimitiveType::Binary {
        return Err(invalid("binary values are no text; CAST them to STRING"));
    }
    node.cast(&PrimitiveType::String)
}

fn text_or_bytes(node: Node) -> Result<Node> {
    match node.ty {
        PrimitiveType::Binary => Ok(node),
        _ => text(node),
    }
}

fn whole(function: Function, node: Node) -> Result<Node> {
    if is_whole(&node.ty) || node.ty == PrimitiveType::Void {
        node.cast(&PrimitiveType::Integer)
    } else {
        Err(refused(function, &node.ty))
    }
}

fn number(function: Function, mut arguments: Vec<Node>) -> Result<Typed> {
    let Some(first) = arguments.first_mut() else {
        return Err(refused(function, &PrimitiveType::Void));
    };
    if first.ty == PrimitiveType::Void {
        *first = first.clone().cast(&PrimitiveType::Double)?;
    }
    let ty = first.ty.clone();
    if !is_number(&ty) {
        return Err(refused(function, &ty));
    }
    let digits = match arguments.get(1) {
        None => 0,
        Some(digits) => digits.constant_whole().ok_or_else(|| {
            invalid("ROUND takes a number of digits that is the same in all rows")
        })?,
    };
    let result = match (function, &ty) {
        (Function::Abs, _) => ty.clone(),
        (Function::Round, &PrimitiveType::Decimal { precision, scale }) => {
            let whole = i32::from(precision) - i32::from(scale) + 1;
            if digits < 0 {
                decimal::bounded(whole.max(1 - digits), 0)
            } else {
                let scale = digits.min(scale.into());
                decimal::bounded(whole + scale, scale)
            }
        }
        (Function::Round, _) => ty.clone(),
        (_, &PrimitiveType::Decimal { precision, scale }) => {
            decimal::bounded(i32::from(precision) - i32::from(scale) + 1, 0)
        }
        _ => PrimitiveType::Long,
    };
    Ok((result, arguments))
}

fn null_if(arguments: Vec<Node>) -> Result<Typed> {
    let mut arguments = arguments.into_iter();
    let (Some(left), Some(right)) = (arguments.next(), arguments.next()) else {
        return Err(invalid("NULLIF takes two arguments"));
    };
    let left = match left.ty {
        PrimitiveType::Void => left.cast(&right.ty)?,
        _ => left,
    };
    let ty = left.ty.clone();
    let (left, right) = comparable_as(left, right)?;
    if left.ty != ty {
        // What comes out is the first as it was: it must not be cast for the comparison.
        let message = format!("NULLIF of a {ty} takes a {ty}, not a {}", right.ty);
        return Err(invalid(message));
    }
    Ok((ty, vec![left, right]))
}

fn constant(function: Function, node: Option<&Node>) -> Result<&str> {
    match node.map(|node| &node.op) {
        Some(Op::Literal(Scalar::String(text))) => Ok(text),
        _ => Err(invalid(format!(
            "{function} takes its form as text in quotes"
        ))),
    }
}

fn form(function: Function, node: Option<&Node>) -> Result<()> {
    let text = constant(function, node)?;
    match Form::parse(text) {
        Ok(_) => Ok(()),
        Err(letter) => Err(invalid(format!(
            "{function} does not understand {letter:?} in its form; it knows yyyy, MM, dd, HH, mm, ss and S"
        ))),
    }
}

fn unit(function: Function, node: Option<&Node>, days: bool) -> Result<()> {
    let name = constant(function, node)?;
    match Unit::named(name) {
        Some(unit) if !days || unit.is_of_days() => Ok(()),
        _ => Err(invalid(format!("{function} knows no unit of this name")).with("unit", name)),
    }
}

fn time(function: Function, arguments: Vec<Node>) -> Result<Typed> {
    use Function as F;
    let day = |node: Node| as_time(node, &PrimitiveType::Date);
    // A time with a zone, or without: it stays what it is.
    let instant = |node: Node| match node.ty {
        PrimitiveType::TimestampNtz => Ok(node),
        _ => as_time(node, &PrimitiveType::Timestamp),
    };
    match function {
        F::DateFormat => form(function, arguments.get(1))?,
        F::ToDate if arguments.len() == 2 => form(function, arguments.get(1))?,
        F::DateTrunc => unit(function, arguments.first(), false)?,
        F::Trunc => unit(function, arguments.get(1), true)?,
        _ => {}
    }
    let by_form = function == F::ToDate && arguments.len() == 2;
    let mut typed = Vec::with_capacity(arguments.len());
    for (place, node) in arguments.into_iter().enumerate() {
        typed.push(match (function, place) {
            (F::DateTrunc, 0) | (F::DateFormat | F::Trunc | F::ToDate, 1) => node,
            (F::ToDate, 0) if by_form => match node.ty {
                PrimitiveType::String | PrimitiveType::Void => node,
                ty => return Err(refused(function, &ty)),
            },
            (F::DateAdd | F::DateSub, 1) => whole(function, node)?,
            (F::Hour | F::Minute | F::Second | F::DateTrunc | F::DateFormat, _) => instant(node)?,
            _ => day(node)?,
        });
    }
    let ty = match function {
        F::DateFormat => PrimitiveType::String,
        F::ToDate | F::Trunc | F::DateAdd | F::DateSub => PrimitiveType::Date,
        F::DateTrunc => {
            let zoned = typed.get(1).map(|node| node.ty.clone());
            zoned.unwrap_or(PrimitiveType::Timestamp)
        }
        _ => PrimitiveType::Integer,
    };
    Ok((ty, typed))
}
