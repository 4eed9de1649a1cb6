//! SQL text to expressions: what cannot be evaluated is refused by its name.

use std::cell::Cell;
use std::ops::Add;

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType as SqlType, ExactNumberInfo, Expr, Ident, UnaryOperator,
    Value,
};
use sqlparser::dialect::Dialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::{Code, Error, Result};
use crate::predicate::compute::cast::is_whole;
use crate::predicate::{Arithmetic, Comparison, Expression, Function, literal, pattern};
use crate::protocol::schema::PrimitiveType;
use crate::protocol::value::Scalar;

mod call;

/// How many bytes of text a predicate may be.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// How deep a predicate may nest.
const DEPTH_MAX: usize = 48;
/// Up to this depth, what was read can be written and read again: each level takes three then at most, with a `NOT` and
/// the parentheses.
const DEPTH_SURE: usize = DEPTH_MAX / 3 - 4;
/// How many operators a predicate may chain: a chain is a tree as deep as it is long, and is dropped by recursion.
const CHAIN_MAX: usize = 2_000;

pub(super) fn parse(sql: &str) -> Result<Expression> {
    let deepest = Cell::new(0);
    let expression = read(sql, &deepest)?;
    // States of feeds and commits keep predicates as text: who cannot read it again would find that out too late.
    if DEPTH_SURE < deepest.get() {
        read(&expression.to_string(), &deepest).map_err(|cause| too_deep().because(cause))?;
    }
    Ok(expression)
}

fn read(sql: &str, deepest: &Cell<usize>) -> Result<Expression> {
    if TEXT_BYTES_MAX < sql.len() {
        return Err(invalid(format!(
            "the predicate is longer than {TEXT_BYTES_MAX} bytes"
        )));
    }
    let no_sql = "the predicate is not an SQL expression";
    let tokens = Tokenizer::new(&Sql, sql).tokenize();
    let tokens = tokens.map_err(|cause| invalid(no_sql).because(cause))?;
    if CHAIN_MAX < chained(&tokens) {
        return Err(invalid(format!(
            "the predicate chains more than {CHAIN_MAX} operators"
        )));
    }
    let mut parser = Parser::new(&Sql)
        .with_recursion_limit(DEPTH_MAX)
        .with_tokens(tokens);
    let parsed = parser
        .parse_expr()
        .map_err(|cause| invalid(no_sql).because(cause))?;
    if parser.peek_token().token != Token::EOF {
        return Err(invalid(
            "the predicate goes on after its end; is an operator or a quote missing?",
        ));
    }
    convert(parsed, Depth { level: 0, deepest })
}

/// How deep a part of a predicate lies, and how deep any part of it does that was seen.
#[derive(Debug, Clone, Copy)]
struct Depth<'a> {
    level: usize,
    deepest: &'a Cell<usize>,
}

impl Add<usize> for Depth<'_> {
    type Output = Self;

    fn add(self, levels: usize) -> Self {
        let level = self.level.saturating_add(levels);
        self.deepest.set(self.deepest.get().max(level));
        Self { level, ..self }
    }
}

fn too_deep() -> Error {
    invalid(format!(
        "the predicate nests deeper than {DEPTH_MAX} levels, or would if it were written out"
    ))
}

/// Standard SQL with Spark's names: back-ticks or double quotes around names, single quotes around text.
#[derive(Debug)]
struct Sql;

impl Dialect for Sql {
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`' || ch == '"'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_'
    }

    fn supports_in_empty_list(&self) -> bool {
        true
    }
}

/// How many tokens may each deepen the tree: all but literals, commas, and what begins an operand.
fn chained(tokens: &[Token]) -> usize {
    let mut count = 0;
    let mut begins = true;
    for token in tokens {
        match token {
            Token::Whitespace(_) => {}
            Token::Comma => begins = true,
            Token::Number(..) | Token::SingleQuotedString(_) | Token::HexStringLiteral(_) => {
                begins = false;
            }
            // A sign in a list is part of its number; elsewhere it may be one of a chain of signs.
            Token::Word(_) | Token::Minus if begins => begins = false,
            Token::Word(word) => {
                begins = matches!(word.keyword, Keyword::AND | Keyword::OR);
                count += 1;
            }
            Token::RParen | Token::Minus => {
                begins = false;
                count += 1;
            }
            _ => {
                begins = true;
                count += 1;
            }
        }
    }
    count
}

fn invalid(message: impl Into<String>) -> Error {
    Error::invalid(Code::InvalidPredicate, message)
}

fn unsupported(what: impl std::fmt::Display) -> Error {
    invalid(format!("a predicate cannot have {what} in this build"))
}

fn boxed(expr: Expr, depth: Depth<'_>) -> Result<Box<Expression>> {
    convert(expr, depth + 1).map(Box::new)
}

fn convert(expr: Expr, depth: Depth<'_>) -> Result<Expression> {
    if DEPTH_MAX < depth.level {
        return Err(too_deep());
    }
    match expr {
        Expr::Nested(inner) => convert(*inner, depth),
        Expr::Identifier(name) => Ok(Expression::Column(vec![name.value])),
        Expr::CompoundIdentifier(names) => Ok(column(names)),
        Expr::Value(value) => scalar(value.value).map(Expression::Literal),
        Expr::TypedString(typed) => {
            let ty = primitive(&typed.data_type)?;
            let text = match typed.value.value {
                Value::SingleQuotedString(text) => text,
                _ => return Err(unsupported(format!("a {ty} that is not text in quotes"))),
            };
            literal::typed(&text, &ty).map(Expression::Literal)
        }
        Expr::Cast {
            kind: CastKind::TryCast | CastKind::SafeCast,
            ..
        } => Err(unsupported(
            "a cast that gives null for what cannot be cast",
        )),
        Expr::Cast {
            expr,
            data_type,
            format: None,
            ..
        } => cast(convert(*expr, depth + 1)?, &primitive(&data_type)?),
        Expr::Function(function) => call::function(function, depth),
        Expr::UnaryOp { op, expr } => unary(op, *expr, depth),
        Expr::BinaryOp { ref op, .. } if matches!(op, BinaryOperator::And | BinaryOperator::Or) => {
            let op = op.clone();
            chain(expr, &op, depth)
        }
        Expr::BinaryOp { left, op, right } => {
            let (left, right) = (boxed(*left, depth)?, boxed(*right, depth)?);
            if op == BinaryOperator::StringConcat {
                return Ok(Expression::call(Function::Concat, [*left, *right]));
            }
            if let Some(op) = arithmetic(&op) {
                return Ok(Expression::Arithmetic { left, op, right });
            }
            let op = comparison(&op)?;
            Ok(Expression::Compare { left, op, right })
        }
        Expr::Case {
            operand,
            conditions,
            else_result,
            ..
        } => {
            let part = |part: Option<Box<Expr>>| part.map(|part| boxed(*part, depth)).transpose();
            let branches = conditions.into_iter().map(|branch| {
                let when = convert(branch.condition, depth + 1)?;
                Ok((when, convert(branch.result, depth + 1)?))
            });
            Ok(Expression::Case {
                operand: part(operand)?,
                branches: branches.collect::<Result<_>>()?,
                otherwise: part(else_result)?,
            })
        }
        other => test(other, depth),
    }
}

/// What is asked of a value by words.
fn test(expr: Expr, depth: Depth<'_>) -> Result<Expression> {
    match expr {
        Expr::IsNull(value) | Expr::IsUnknown(value) => {
            Ok(Expression::IsNull(boxed(*value, depth)?))
        }
        Expr::IsNotNull(value) | Expr::IsNotUnknown(value) => {
            Ok(negated(true, Expression::IsNull(boxed(*value, depth)?)))
        }
        Expr::IsTrue(value) => truth(*value, true, false, depth),
        Expr::IsNotTrue(value) => truth(*value, true, true, depth),
        Expr::IsFalse(value) => truth(*value, false, false, depth),
        Expr::IsNotFalse(value) => truth(*value, false, true, depth),
        Expr::IsDistinctFrom(left, right) => distinct(*left, *right, true, depth),
        Expr::IsNotDistinctFrom(left, right) => distinct(*left, *right, false, depth),
        Expr::InList {
            expr,
            list,
            negated: not,
        } => {
            let value = boxed(*expr, depth)?;
            let list = list.into_iter().map(|item| convert(item, depth + 1));
            let list = list.collect::<Result<_>>()?;
            Ok(negated(not, Expression::In { value, list }))
        }
        Expr::Between {
            expr,
            negated: not,
            low,
            high,
        } => {
            let value = boxed(*expr, depth)?;
            let (low, high) = (boxed(*low, depth)?, boxed(*high, depth)?);
            Ok(negated(not, Expression::Between { value, low, high }))
        }
        Expr::Like {
            negated: not,
            any: false,
            expr,
            pattern,
            escape_char,
        } => {
            let escape = escape_char.map(|escape| *escape);
            let like = like(boxed(*expr, depth)?, *pattern, escape, depth)?;
            Ok(negated(not, like))
        }
        other => call::spelled(other, depth),
    }
}

/// A chain of one operator, which the parser nests to the left, in one list.
fn chain(expr: Expr, operator: &BinaryOperator, depth: Depth<'_>) -> Result<Expression> {
    let mut reversed = Vec::new();
    let mut rest = expr;
    loop {
        match rest {
            Expr::BinaryOp { left, op, right } if op == *operator => {
                reversed.push(*right);
                rest = *left;
            }
            first => {
                reversed.push(first);
                break;
            }
        }
    }
    let parts = reversed
        .into_iter()
        .rev()
        .map(|part| convert(part, depth + 1));
    let parts: Vec<Expression> = parts.collect::<Result<_>>()?;
    Ok(match operator {
        BinaryOperator::And => Expression::all(parts),
        _ => Expression::any(parts),
    })
}

fn negated(not: bool, expression: Expression) -> Expression {
    if not {
        Expression::Not(Box::new(expression))
    } else {
        expression
    }
}

fn truth(value: Expr, truth: bool, not: bool, depth: Depth<'_>) -> Result<Expression> {
    Ok(negated(
        not,
        Expression::IsTruth {
            value: boxed(value, depth)?,
            truth,
        },
    ))
}

fn distinct(left: Expr, right: Expr, not: bool, depth: Depth<'_>) -> Result<Expression> {
    let (left, right) = (boxed(left, depth)?, boxed(right, depth)?);
    Ok(negated(
        not,
        Expression::Compare {
            left,
            op: Comparison::NullSafeEq,
            right,
        },
    ))
}

fn like(
    value: Box<Expression>,
    pattern: Expr,
    escape: Option<Expr>,
    depth: Depth<'_>,
) -> Result<Expression> {
    let text = match convert(pattern, depth + 1)? {
        Expression::Literal(Scalar::String(text)) => text,
        Expression::Literal(Scalar::Null) => return Ok(Expression::Literal(Scalar::Null)),
        _ => {
            return Err(unsupported(
                "LIKE with a pattern that is not text in quotes",
            ));
        }
    };
    let escape = match escape
        .map(|escape| convert(escape, depth + 1))
        .transpose()?
    {
        None => None,
        Some(Expression::Literal(Scalar::String(escape))) if escape.chars().count() == 1 => {
            escape.chars().next()
        }
        Some(_) => return Err(invalid("ESCAPE is followed by one character in quotes")),
    };
    Ok(Expression::Like {
        value,
        pattern: pattern::with_escape(&text, escape)?,
    })
}

fn unary(op: UnaryOperator, expr: Expr, depth: Depth<'_>) -> Result<Expression> {
    match (op, expr) {
        (UnaryOperator::Not, expr) => Ok(Expression::Not(boxed(expr, depth)?)),
        (UnaryOperator::Minus, Expr::Value(value)) => match value.value {
            Value::Number(text, long) => {
                literal::number(&format!("-{text}"), long).map(Expression::Literal)
            }
            value => Ok(-scalar(value).map(Expression::Literal)?),
        },
        (UnaryOperator::Minus, expr) => Ok(-convert(expr, depth + 1)?),
        (UnaryOperator::Plus, Expr::Value(value)) if matches!(value.value, Value::Number(..)) => {
            scalar(value.value).map(Expression::Literal)
        }
        (op, _) => Err(unsupported(format!("the operator {op} here"))),
    }
}

fn arithmetic(op: &BinaryOperator) -> Option<Arithmetic> {
    Some(match op {
        BinaryOperator::Plus => Arithmetic::Add,
        BinaryOperator::Minus => Arithmetic::Subtract,
        BinaryOperator::Multiply => Arithmetic::Multiply,
        BinaryOperator::Divide => Arithmetic::Divide,
        BinaryOperator::Modulo => Arithmetic::Remainder,
        _ => return None,
    })
}

fn comparison(op: &BinaryOperator) -> Result<Comparison> {
    Ok(match op {
        BinaryOperator::Eq => Comparison::Eq,
        BinaryOperator::NotEq => Comparison::NotEq,
        BinaryOperator::Lt => Comparison::Lt,
        BinaryOperator::LtEq => Comparison::LtEq,
        BinaryOperator::Gt => Comparison::Gt,
        BinaryOperator::GtEq => Comparison::GtEq,
        BinaryOperator::Spaceship => Comparison::NullSafeEq,
        other => return Err(unsupported(format!("the operator {other}"))),
    })
}

fn column(names: Vec<Ident>) -> Expression {
    Expression::Column(names.into_iter().map(|name| name.value).collect())
}

fn scalar(value: Value) -> Result<Scalar> {
    match value {
        Value::Null => Ok(Scalar::Null),
        Value::Boolean(value) => Ok(Scalar::Boolean(value)),
        Value::Number(text, long) => literal::number(&text, long),
        Value::SingleQuotedString(text) => Ok(Scalar::String(text)),
        Value::HexStringLiteral(hex) => literal::binary(&hex),
        Value::Placeholder(_) => Err(unsupported("a placeholder")),
        _ => Err(unsupported("text in this kind of quotes")),
    }
}

/// A literal becomes a literal of the type where nothing is lost; numbers that lose something are cast in every row.
fn cast(value: Expression, ty: &PrimitiveType) -> Result<Expression> {
    match value {
        Expression::Literal(Scalar::String(text)) => {
            literal::typed(&text, ty).map(Expression::Literal)
        }
        // The null keeps its type: what it is compared and computed with is typed by it.
        Expression::Literal(Scalar::Null) => Ok(value.cast(ty.clone())),
        Expression::Literal(scalar) => match literal::cast(scalar.clone(), ty) {
            Ok(scalar) => Ok(Expression::Literal(scalar)),
            // A number that the type never holds is a mistake; digits after the point may be meant to go.
            Err(error) if is_whole(ty) && scalar.data_type().as_ref().is_some_and(is_whole) => {
                Err(error)
            }
            Err(_) => Ok(Expression::Literal(scalar).cast(ty.clone())),
        },
        value => Ok(value.cast(ty.clone())),
    }
}

fn primitive(ty: &SqlType) -> Result<PrimitiveType> {
    let unknown = || unsupported(format!("values of type {ty}"));
    match ty {
        SqlType::Decimal(info) | SqlType::Numeric(info) | SqlType::Dec(info) => {
            let (precision, scale) = match *info {
                ExactNumberInfo::None => (10, 0),
                ExactNumberInfo::Precision(precision) => (precision, 0),
                ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
            };
            let precision = u8::try_from(precision).map_err(|_| unknown())?;
            let scale = u8::try_from(scale).map_err(|_| unknown())?;
            if precision == 0 || 38 < precision || precision < scale {
                return Err(unknown());
            }
            Ok(PrimitiveType::Decimal { precision, scale })
        }
        other => literal::type_named(&other.to_string()).ok_or_else(unknown),
    }
}
