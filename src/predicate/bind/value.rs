//! Expressions with types: every operator given what it takes, by casts where Spark casts.

use crate::error::Result;
use crate::predicate::bind::types::{self, common, comparable_as};
use crate::predicate::bind::{Binder, Bound, DEPTH_MAX, invalid};
use crate::predicate::compute::cast::{can_cast, is_number, is_time, is_whole};
use crate::predicate::pattern::Pattern;
use crate::predicate::{Arithmetic, Comparison, Expression, Function, literal};
use crate::protocol::schema::PrimitiveType;
use crate::protocol::value::Scalar;

mod call;

/// An expression whose type is known.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::predicate) struct Node {
    pub(in crate::predicate) ty: PrimitiveType,
    pub(in crate::predicate) op: Op,
}

/// How a value comes about.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::predicate) enum Op {
    Column(usize),
    Literal(Scalar),
    Condition(Box<Bound>),
    Arithmetic {
        op: Arithmetic,
        left: Box<Node>,
        right: Box<Node>,
    },
    Negate(Box<Node>),
    /// To the type of the node.
    Cast(Box<Node>),
    Case {
        operand: Option<Box<Node>>,
        branches: Vec<(Node, Node)>,
        otherwise: Box<Node>,
    },
    Call {
        function: Function,
        arguments: Vec<Node>,
    },
    Compare {
        op: Comparison,
        left: Box<Node>,
        right: Box<Node>,
    },
    IsNull(Box<Node>),
    In {
        value: Box<Node>,
        list: Vec<Node>,
    },
    /// From the first to the second of the bounds.
    Between {
        value: Box<Node>,
        bounds: Box<(Node, Node)>,
    },
    Like {
        value: Box<Node>,
        pattern: Pattern,
    },
}

impl Node {
    pub(in crate::predicate) fn literal(scalar: Scalar) -> Self {
        Self {
            ty: scalar.data_type().unwrap_or(PrimitiveType::Void),
            op: Op::Literal(scalar),
        }
    }

    pub(super) fn boolean(op: Op) -> Self {
        Self {
            ty: PrimitiveType::Boolean,
            op,
        }
    }

    /// The node in another type; a cast that is not understood is refused.
    pub(in crate::predicate) fn cast(self, ty: &PrimitiveType) -> Result<Self> {
        if self.ty == *ty {
            return Ok(self);
        }
        if !can_cast(&self.ty, ty) {
            let message = format!("a {} cannot be cast to a {ty} in this build", self.ty);
            return Err(invalid(message));
        }
        Ok(Self {
            ty: ty.clone(),
            op: Op::Cast(Box::new(self)),
        })
    }

    /// The number, if it is a whole one, the same in all rows, and not large.
    pub(in crate::predicate) fn constant_whole(&self) -> Option<i32> {
        match self.op {
            Op::Literal(Scalar::Byte(value)) => Some(value.into()),
            Op::Literal(Scalar::Short(value)) => Some(value.into()),
            Op::Literal(Scalar::Integer(value)) => Some(value),
            _ => None,
        }
        .filter(|value| value.abs() <= 38)
    }
}

impl Binder<'_> {
    /// An expression as a value.
    pub(super) fn value(&mut self, expression: &Expression, depth: usize) -> Result<Node> {
        if DEPTH_MAX < depth {
            let message = format!("the expression nests deeper than {DEPTH_MAX} levels");
            return Err(invalid(message));
        }
        let depth = depth + 1;
        match expression {
            Expression::Literal(scalar) => Ok(Node::literal(scalar.clone())),
            Expression::Column(path) => {
                let column = self.column(path)?;
                let bound = self.bound(column)?;
                match &bound.data_type {
                    ty @ (PrimitiveType::Unknown(_) | PrimitiveType::Variant) => {
                        let message = format!("a {ty} can be taken whole or tested for null only");
                        Err(invalid(message).with("column", bound.name()))
                    }
                    // A void column has no place in data files, and no value anywhere.
                    PrimitiveType::Void => Ok(Node::literal(Scalar::Null)),
                    ty => Ok(Node {
                        ty: ty.clone(),
                        op: Op::Column(column),
                    }),
                }
            }
            Expression::Arithmetic { left, op, right } => {
                let (left, right) = (self.value(left, depth)?, self.value(right, depth)?);
                arithmetic(*op, left, right)
            }
            Expression::Negate(value) => {
                let value = self.value(value, depth)?;
                if !is_number(&value.ty) && value.ty != PrimitiveType::Void {
                    return Err(invalid(format!("a {} has no other sign", value.ty)));
                }
                Ok(Node {
                    ty: value.ty.clone(),
                    op: Op::Negate(Box::new(value)),
                })
            }
            Expression::Cast { value, data_type } => self.value(value, depth)?.cast(data_type),
            Expression::Case {
                operand,
                branches,
                otherwise,
            } => self.case(operand.as_deref(), branches, otherwise.as_deref(), depth),
            Expression::Call {
                function,
                arguments,
            } => {
                let arguments = arguments.iter().map(|argument| self.value(argument, depth));
                call::call(*function, arguments.collect::<Result<_>>()?)
            }
            condition => {
                let condition = self.condition(condition, depth)?;
                Ok(Node::boolean(Op::Condition(Box::new(condition))))
            }
        }
    }

    fn case(
        &mut self,
        operand: Option<&Expression>,
        branches: &[(Expression, Expression)],
        otherwise: Option<&Expression>,
        depth: usize,
    ) -> Result<Node> {
        let mut operand = operand
            .map(|operand| self.value(operand, depth))
            .transpose()?;
        let mut bound = Vec::with_capacity(branches.len());
        for (when, then) in branches {
            let when = self.value(when, depth)?;
            let when = match &operand {
                Some(_) => when,
                None => condition_value(when)?,
            };
            bound.push((when, self.value(then, depth)?));
        }
        if let Some(value) = operand.take() {
            let (whens, thens): (Vec<Node>, Vec<Node>) = bound.into_iter().unzip();
            let (value, whens) = types::comparable_with(value, whens)?;
            operand = Some(value);
            bound = whens.into_iter().zip(thens).collect();
        }
        let otherwise = match otherwise {
            Some(otherwise) => self.value(otherwise, depth)?,
            None => Node::literal(Scalar::Null),
        };
        let mut ty = otherwise.ty.clone();
        for (_, then) in &bound {
            ty = common(&ty, &then.ty).ok_or_else(|| types::apart("CASE", &ty, &then.ty))?;
        }
        let branches = bound.into_iter();
        let branches = branches.map(|(when, then)| Ok((when, then.cast(&ty)?)));
        Ok(Node {
            op: Op::Case {
                operand: operand.map(Box::new),
                branches: branches.collect::<Result<_>>()?,
                otherwise: Box::new(otherwise.cast(&ty)?),
            },
            ty,
        })
    }

    /// A comparison of which a side is neither a column nor a literal.
    pub(super) fn compared(&self, op: Comparison, left: Node, right: Node) -> Result<Node> {
        let (left, right) = comparable_as(left, right)?;
        let (left, right) = (Box::new(left), Box::new(right));
        Ok(Node::boolean(Op::Compare { op, left, right }))
    }
}

fn condition_value(node: Node) -> Result<Node> {
    match node.ty {
        PrimitiveType::Boolean => Ok(node),
        PrimitiveType::Void => node.cast(&PrimitiveType::Boolean),
        ty => Err(invalid(format!("a {ty} is no condition"))),
    }
}

/// Two numbers in the types in which they are reckoned, and the type of what comes out.
fn arithmetic(op: Arithmetic, left: Node, right: Node) -> Result<Node> {
    for side in [&left, &right] {
        if !is_number(&side.ty) && side.ty != PrimitiveType::Void {
            let message = format!(
                "the operator {} is not understood of a {}",
                op.as_str(),
                side.ty
            );
            return Err(invalid(message));
        }
    }
    let (left, right) = (beside_decimal(left, &right.ty)?, right);
    let right = beside_decimal(right, &left.ty)?;
    let is_decimal = |node: &Node| matches!(node.ty, PrimitiveType::Decimal { .. });
    let is_float = |node: &Node| matches!(node.ty, PrimitiveType::Float | PrimitiveType::Double);
    let exact = (is_decimal(&left) || is_decimal(&right)) && !is_float(&left) && !is_float(&right);
    if exact {
        let (left, right) = (types::as_decimal(left)?, types::as_decimal(right)?);
        let ty = types::decimal_result(op, &left.ty, &right.ty);
        let (left, right) = (Box::new(left), Box::new(right));
        return Ok(Node {
            ty,
            op: Op::Arithmetic { op, left, right },
        });
    }
    let ty = match op {
        Arithmetic::Divide => PrimitiveType::Double,
        _ => common(&left.ty, &right.ty)
            .ok_or_else(|| types::apart(op.as_str(), &left.ty, &right.ty))?,
    };
    if ty == PrimitiveType::Void {
        return Ok(Node::literal(Scalar::Null));
    }
    let (left, right) = (Box::new(left.cast(&ty)?), Box::new(right.cast(&ty)?));
    Ok(Node {
        ty,
        op: Op::Arithmetic { op, left, right },
    })
}

// A whole literal beside a decimal is a decimal of as many digits as it has.
fn beside_decimal(node: Node, other: &PrimitiveType) -> Result<Node> {
    match (&node.op, other) {
        (Op::Literal(scalar), PrimitiveType::Decimal { .. }) if is_whole(&node.ty) => {
            let digits = scalar
                .to_partition_value()
                .ok()
                .flatten()
                .unwrap_or_default();
            let digits = digits.trim_start_matches('-').len();
            let ty = PrimitiveType::Decimal {
                precision: u8::try_from(digits).unwrap_or(20),
                scale: 0,
            };
            literal::cast(scalar.clone(), &ty).map(Node::literal)
        }
        _ => Ok(node),
    }
}

/// Text of a literal, and what is text in every row, as a day or time.
pub(super) fn as_time(node: Node, ty: &PrimitiveType) -> Result<Node> {
    if is_time(&node.ty) || matches!(node.ty, PrimitiveType::String | PrimitiveType::Void) {
        return match &node.op {
            Op::Literal(Scalar::String(text)) => literal::typed(text, ty).map(Node::literal),
            _ => node.cast(ty),
        };
    }
    Err(invalid(format!("a {} is no {ty}", node.ty)))
}
