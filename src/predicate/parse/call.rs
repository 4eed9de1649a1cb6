//! Calls of functions, among them those that SQL writes in words of their own.

use sqlparser::ast::{
    CeilFloorKind, DateTimeField, Expr, Function as SqlFunction, FunctionArg, FunctionArgExpr,
    FunctionArguments,
};

use crate::error::Result;
use crate::predicate::parse::{Depth, boxed, cast, convert, invalid, unsupported};
use crate::predicate::{Arithmetic, Expression, Function, literal};

/// A call by name; `double('NaN')` and its like are Spark's other way to write a cast.
pub(super) fn function(function: SqlFunction, depth: Depth<'_>) -> Result<Expression> {
    let name = function.name.to_string();
    let refused = || unsupported(format!("the function {}", name.to_lowercase()));
    let plain = function.over.is_none()
        && function.filter.is_none()
        && function.null_treatment.is_none()
        && function.within_group.is_empty();
    let arguments = match function.args {
        FunctionArguments::None if plain => Vec::new(),
        FunctionArguments::List(list)
            if plain && list.clauses.is_empty() && list.duplicate_treatment.is_none() =>
        {
            let arguments = list.args.into_iter().map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => convert(expr, depth + 1),
                _ => Err(refused()),
            });
            arguments.collect::<Result<Vec<_>>>()?
        }
        _ => return Err(refused()),
    };
    if let Some(function) = Function::named(&name) {
        return call(function, arguments);
    }
    let count = arguments.len();
    let mut arguments = arguments.into_iter();
    let mut next = || arguments.next().ok_or_else(refused).map(Box::new);
    match (name.to_ascii_uppercase().as_str(), count) {
        ("MOD", 2) => {
            let (left, op, right) = (next()?, Arithmetic::Remainder, next()?);
            Ok(Expression::Arithmetic { left, op, right })
        }
        ("IF" | "IFF", 3) => {
            let branch = (*next()?, *next()?);
            Ok(Expression::Case {
                operand: None,
                branches: vec![branch],
                otherwise: Some(next()?),
            })
        }
        ("ISNULL", 1) => Ok(Expression::IsNull(next()?)),
        ("ISNOTNULL", 1) => Ok(Expression::Not(Box::new(Expression::IsNull(next()?)))),
        (_, 1) => {
            let ty = literal::type_named(&name).ok_or_else(refused)?;
            cast(*next()?, &ty)
        }
        _ => Err(refused()),
    }
}

fn call(function: Function, arguments: Vec<Expression>) -> Result<Expression> {
    if !function.arguments().contains(&arguments.len()) {
        let message = format!("{function} does not take this number of arguments");
        return Err(invalid(message));
    }
    Ok(Expression::Call {
        function,
        arguments,
    })
}

/// What the parser of SQL knows by itself: `TRIM(x)`, `SUBSTRING(x FROM 2 FOR 3)`, `EXTRACT(YEAR FROM x)`.
pub(super) fn spelled(expr: Expr, depth: Depth<'_>) -> Result<Expression> {
    let whole = |field: &CeilFloorKind| {
        matches!(
            field,
            CeilFloorKind::DateTimeField(DateTimeField::NoDateTime)
        )
    };
    match expr {
        Expr::Ceil { expr, field } if whole(&field) => {
            call(Function::Ceil, vec![convert(*expr, depth + 1)?])
        }
        Expr::Floor { expr, field } if whole(&field) => {
            call(Function::Floor, vec![convert(*expr, depth + 1)?])
        }
        Expr::Trim {
            trim_where: None,
            trim_what: None,
            expr,
            trim_characters: None,
        } => call(Function::Trim, vec![convert(*expr, depth + 1)?]),
        Expr::Substring {
            expr,
            substring_from: Some(from),
            substring_for,
            ..
        } => {
            let mut arguments = vec![*boxed(*expr, depth)?, *boxed(*from, depth)?];
            if let Some(length) = substring_for {
                arguments.push(*boxed(*length, depth)?);
            }
            call(Function::Substring, arguments)
        }
        Expr::Extract { field, expr, .. } => {
            let name = field.to_string();
            let function = match Function::named(&name) {
                Some(
                    function @ (Function::Year
                    | Function::Quarter
                    | Function::Month
                    | Function::Day
                    | Function::Hour
                    | Function::Minute),
                ) => function,
                _ => return Err(unsupported(format!("EXTRACT of {name}"))),
            };
            call(function, vec![convert(*expr, depth + 1)?])
        }
        other => Err(unsupported(name_of(&other))),
    }
}

fn name_of(expr: &Expr) -> &'static str {
    match expr {
        Expr::Cast { .. } => "CAST with a format",
        Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => "a subquery",
        Expr::ILike { .. } => "ILIKE",
        Expr::Like { .. } => "LIKE ANY",
        Expr::RLike { .. } | Expr::SimilarTo { .. } => "a regular expression",
        Expr::Substring { .. } => "SUBSTRING",
        Expr::Trim { .. } => "TRIM of other characters than spaces",
        Expr::Ceil { .. } => "CEIL to a scale",
        Expr::Floor { .. } => "FLOOR to a scale",
        Expr::Position { .. } => "POSITION",
        Expr::Interval(_) => "INTERVAL",
        Expr::Tuple(_) => "a list outside IN",
        Expr::CompoundFieldAccess { .. } | Expr::JsonAccess { .. } => {
            "an element of an array or map"
        }
        Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => "a star",
        _ => "this kind of expression",
    }
}
