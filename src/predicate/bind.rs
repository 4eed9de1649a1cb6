//! Expressions against a schema: names found, literals in the columns' types, nonsense refused.

use std::borrow::Cow;
use std::sync::Arc;

use crate::error::{Code, Error, Result};
use crate::predicate::bind::value::{Node, Op};
use crate::predicate::coerce::{self, Place};
use crate::predicate::compute::cast::is_number;
use crate::predicate::pattern::Pattern;
use crate::predicate::{Comparison, Expression, Predicate, literal};
use crate::protocol::schema::{DataType, PrimitiveType, Schema};
use crate::protocol::value::Scalar;

mod bound;
mod computed;
mod types;
pub(super) mod value;

pub use bound::BoundExpression;
pub(super) use bound::{Root, bind_expression};

/// How deep an expression may nest.
const DEPTH_MAX: usize = 200;

/// A column that a predicate names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundColumn {
    /// The logical names on the way to it, as the schema writes them.
    pub path: Vec<String>,
    /// Its type. A struct, list or map can be tested for null only, and is [`PrimitiveType::Unknown`] here.
    pub data_type: PrimitiveType,
}

impl BoundColumn {
    /// The path in SQL.
    pub fn name(&self) -> String {
        literal::column(&self.path)
    }
}

/// A predicate whose columns and types are known: ready to skip files and to filter rows.
#[derive(Debug, Clone)]
pub struct BoundPredicate {
    source: Arc<Predicate>,
    columns: Arc<[BoundColumn]>,
    root: Arc<Bound>,
}

impl BoundPredicate {
    /// The columns that decide, each once.
    pub fn columns(&self) -> &[BoundColumn] {
        &self.columns
    }

    /// The predicate as it was before it was bound.
    pub fn predicate(&self) -> &Predicate {
        &self.source
    }

    pub(super) fn root(&self) -> &Bound {
        &self.root
    }

    pub(super) fn with_root(&self, root: Arc<Bound>) -> Self {
        Self {
            root,
            ..self.clone()
        }
    }
}

/// A condition over columns, by their places in [`BoundPredicate::columns`].
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Bound {
    /// The same answer for every row; `None` is unknown.
    Constant(Option<bool>),
    /// One test of columns.
    Leaf(Box<Leaf>),
    /// Whether the part is exactly this.
    Is {
        part: Box<Self>,
        truth: Option<bool>,
    },
    /// All.
    And(Vec<Self>),
    /// At least one.
    Or(Vec<Self>),
    /// The opposite.
    Not(Box<Self>),
}

/// A test, and how it was written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Leaf {
    pub(super) source: Expression,
    pub(super) test: Test,
}

/// What is asked of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    /// This answer for every value, unknown for null.
    Value { column: usize, truth: bool },
    /// A value against a literal of its type (a double for both types of floats), which is not null.
    Compare {
        column: usize,
        op: Comparison,
        literal: Scalar,
    },
    /// Two values of types that have an order between them.
    Columns {
        left: usize,
        op: Comparison,
        right: usize,
    },
    /// Equal to one of these, in order and without repetition; unknown instead of false where `or_unknown`.
    In {
        column: usize,
        values: Vec<Scalar>,
        or_unknown: bool,
    },
    /// Text of this form.
    Like { column: usize, pattern: Pattern },
    /// No value.
    IsNull { column: usize },
    /// What a computed value says.
    Computed(Box<Node>),
}

pub(super) fn bind(predicate: &Predicate, schema: &Schema) -> Result<BoundPredicate> {
    let mut binder = Binder {
        schema,
        columns: Vec::new(),
    };
    let root = binder.condition(predicate.expression(), 0)?;
    Ok(BoundPredicate {
        source: Arc::new(predicate.clone()),
        columns: binder.columns.into(),
        root: Arc::new(root),
    })
}

struct Binder<'a> {
    schema: &'a Schema,
    columns: Vec<BoundColumn>,
}

// A side of a comparison.
enum Side<'a> {
    Column(usize),
    Literal(Cow<'a, Scalar>),
    Value(Box<Node>),
}

fn invalid(message: impl Into<String>) -> Error {
    Error::invalid(Code::InvalidPredicate, message)
}

fn leaf(source: &Expression, test: Test) -> Bound {
    Bound::Leaf(Box::new(Leaf {
        source: source.clone(),
        test,
    }))
}

impl Binder<'_> {
    fn condition(&mut self, expression: &Expression, depth: usize) -> Result<Bound> {
        if DEPTH_MAX < depth {
            return Err(invalid(format!(
                "the predicate nests deeper than {DEPTH_MAX} levels"
            )));
        }
        match expression {
            Expression::Literal(Scalar::Null) => Ok(Bound::Constant(None)),
            Expression::Literal(Scalar::Boolean(value)) => Ok(Bound::Constant(Some(*value))),
            Expression::Literal(_) => {
                Err(invalid("a literal that is not a boolean is no condition"))
            }
            Expression::Column(path) => {
                let column = self.column(path)?;
                self.against(expression, column, Comparison::Eq, &Scalar::Boolean(true))
            }
            Expression::Compare { left, op, right } => {
                self.compare(expression, (left, *op, right), depth)
            }
            Expression::And(parts) => self.conditions(parts, depth).map(Bound::And),
            Expression::Or(parts) => self.conditions(parts, depth).map(Bound::Or),
            Expression::Not(part) => self
                .condition(part, depth + 1)
                .map(|part| Bound::Not(Box::new(part))),
            Expression::IsNull(value) => match value.as_ref() {
                Expression::Column(path) => {
                    let column = self.column(path)?;
                    self.is_null(expression, column)
                }
                Expression::Literal(scalar) => Ok(Bound::Constant(Some(scalar.is_null()))),
                value if is_value(value) => {
                    let value = self.value(value, depth + 1)?;
                    let test = Node::boolean(Op::IsNull(Box::new(value)));
                    Ok(leaf(expression, Test::Computed(Box::new(test))))
                }
                condition => {
                    let part = Box::new(self.condition(condition, depth + 1)?);
                    Ok(Bound::Is { part, truth: None })
                }
            },
            Expression::IsTruth { value, truth } => {
                let part = Box::new(self.condition(value, depth + 1)?);
                Ok(Bound::Is {
                    part,
                    truth: Some(*truth),
                })
            }
            Expression::In { value, list } => self.is_in(expression, value, list, depth),
            Expression::Between { value, low, high } => {
                self.between(expression, value, (low, high), depth)
            }
            Expression::Like { value, pattern } => self.like(expression, value, pattern, depth),
            Expression::Arithmetic { .. }
            | Expression::Negate(_)
            | Expression::Case { .. }
            | Expression::Cast { .. }
            | Expression::Call { .. } => {
                let node = self.value(expression, depth)?.folded();
                match (&node.op, &node.ty) {
                    (Op::Literal(Scalar::Boolean(value)), _) => Ok(Bound::Constant(Some(*value))),
                    (Op::Literal(Scalar::Null), _) => Ok(Bound::Constant(None)),
                    (_, PrimitiveType::Boolean) => {
                        Ok(leaf(expression, Test::Computed(Box::new(node))))
                    }
                    (_, ty) => Err(invalid(format!("a {ty} is no condition: {expression}"))),
                }
            }
        }
    }

    fn conditions(&mut self, parts: &[Expression], depth: usize) -> Result<Vec<Bound>> {
        parts
            .iter()
            .map(|part| self.condition(part, depth + 1))
            .collect()
    }

    fn column(&mut self, path: &[String]) -> Result<usize> {
        let missing = || {
            let name = literal::column(path);
            invalid(format!(
                "there is no column {name}; text stands in single quotes"
            ))
            .with("column", name)
        };
        let mut schema = self.schema;
        let mut names = Vec::with_capacity(path.len());
        let mut found: Option<&DataType> = None;
        for name in path {
            if let Some(outer) = found {
                let DataType::Struct(inner) = outer else {
                    return Err(missing());
                };
                schema = inner;
            }
            let field = schema.field(name).ok_or_else(missing)?;
            names.push(field.name.clone());
            found = Some(&field.data_type);
        }
        let data_type = match found.ok_or_else(missing)? {
            DataType::Primitive(primitive) => primitive.clone(),
            other => PrimitiveType::Unknown(other.to_string()),
        };
        if let Some(known) = self.columns.iter().position(|column| column.path == names) {
            return Ok(known);
        }
        self.columns.push(BoundColumn {
            path: names,
            data_type,
        });
        Ok(self.columns.len() - 1)
    }

    fn bound(&self, column: usize) -> Result<&BoundColumn> {
        self.columns
            .get(column)
            .ok_or_else(|| invalid("a column is not bound"))
    }

    fn side<'e>(&mut self, expression: &'e Expression, depth: usize) -> Result<Side<'e>> {
        match expression {
            Expression::Column(path) => self.column(path).map(Side::Column),
            Expression::Literal(scalar) => Ok(Side::Literal(Cow::Borrowed(scalar))),
            computed => {
                let node = self.value(computed, depth + 1)?.folded();
                Ok(match node.op {
                    Op::Literal(scalar) => Side::Literal(Cow::Owned(scalar)),
                    _ => Side::Value(Box::new(node)),
                })
            }
        }
    }

    fn node(&mut self, side: Side<'_>) -> Result<Node> {
        match side {
            Side::Column(column) => {
                let bound = self.bound(column)?;
                let (ty, path) = (bound.data_type.clone(), bound.path.clone());
                match ty {
                    PrimitiveType::Unknown(_) | PrimitiveType::Variant | PrimitiveType::Void => {
                        self.value(&Expression::Column(path), 0)
                    }
                    ty => Ok(Node {
                        ty,
                        op: Op::Column(column),
                    }),
                }
            }
            Side::Literal(scalar) => Ok(Node::literal(scalar.into_owned())),
            Side::Value(node) => Ok(*node),
        }
    }

    fn compare(
        &mut self,
        source: &Expression,
        (left, op, right): (&Expression, Comparison, &Expression),
        depth: usize,
    ) -> Result<Bound> {
        match (self.side(left, depth)?, self.side(right, depth)?) {
            (Side::Column(column), Side::Literal(scalar)) => {
                self.against(source, column, op, &scalar)
            }
            (Side::Literal(scalar), Side::Column(column)) => {
                self.against(source, column, op.flipped(), &scalar)
            }
            (Side::Literal(left), Side::Literal(right)) => constant(&left, op, &right),
            (left @ Side::Value(_), right) | (left, right @ Side::Value(_)) => {
                let (left, right) = (self.node(left)?, self.node(right)?);
                let test = self.compared(op, left, right)?;
                Ok(leaf(source, Test::Computed(Box::new(test))))
            }
            (Side::Column(left), Side::Column(right)) => {
                let (a, b) = (&self.bound(left)?.data_type, &self.bound(right)?.data_type);
                if *a == PrimitiveType::Void || *b == PrimitiveType::Void {
                    let other = if *a == PrimitiveType::Void {
                        right
                    } else {
                        left
                    };
                    return match op {
                        Comparison::NullSafeEq => self.is_null(source, other),
                        _ => Ok(Bound::Constant(None)),
                    };
                }
                if !comparable(a, b) {
                    let names = (self.bound(left)?.name(), self.bound(right)?.name());
                    let message = format!("a {a} and a {b} cannot be compared");
                    return Err(invalid(message)
                        .with("column", names.0)
                        .with("column", names.1));
                }
                Ok(leaf(source, Test::Columns { left, op, right }))
            }
        }
    }

    /// A column against a literal.
    fn against(
        &mut self,
        source: &Expression,
        column: usize,
        op: Comparison,
        scalar: &Scalar,
    ) -> Result<Bound> {
        if scalar.is_null() {
            return match op {
                Comparison::NullSafeEq => self.is_null(source, column),
                _ => Ok(Bound::Constant(None)),
            };
        }
        if op == Comparison::NullSafeEq {
            let part = Box::new(self.against(source, column, Comparison::Eq, scalar)?);
            return Ok(Bound::Is {
                part,
                truth: Some(true),
            });
        }
        if self.bound(column)?.data_type == PrimitiveType::Void {
            return Ok(Bound::Constant(None));
        }
        let always = |truth| Test::Value { column, truth };
        let compare = |op, literal| Test::Compare {
            column,
            op,
            literal,
        };
        let below = matches!(op, Comparison::Lt | Comparison::LtEq);
        let test = match self.place(column, scalar)? {
            Place::At(literal) => compare(op, literal),
            Place::Span(from, to) => match op {
                Comparison::Lt | Comparison::GtEq => compare(op, from),
                Comparison::LtEq | Comparison::Gt => compare(op, to),
                Comparison::NotEq => {
                    return Ok(Bound::Not(Box::new(span(source, column, from, to))));
                }
                Comparison::Eq | Comparison::NullSafeEq => {
                    return Ok(span(source, column, from, to));
                }
            },
            Place::After(_) if op == Comparison::Eq => always(false),
            Place::After(_) if op == Comparison::NotEq => always(true),
            Place::After(floor) if below => compare(Comparison::LtEq, floor),
            Place::After(floor) => compare(Comparison::Gt, floor),
            _ if op == Comparison::Eq => always(false),
            _ if op == Comparison::NotEq => always(true),
            Place::AboveAll => always(below),
            Place::BelowAll => always(!below),
        };
        Ok(leaf(source, test))
    }

    // A void column has no value anywhere, and no place in data files.
    fn is_null(&self, source: &Expression, column: usize) -> Result<Bound> {
        Ok(match self.bound(column)?.data_type {
            PrimitiveType::Void => Bound::Constant(Some(true)),
            _ => leaf(source, Test::IsNull { column }),
        })
    }

    fn place(&self, column: usize, scalar: &Scalar) -> Result<Place> {
        let column = self.bound(column)?;
        coerce::place(scalar, &column.data_type).ok_or_else(|| {
            let (ty, name) = (&column.data_type, column.name());
            let message = match (scalar.data_type(), ty) {
                (_, PrimitiveType::Unknown(_) | PrimitiveType::Variant) => {
                    format!("a {ty} can be tested for null only")
                }
                (Some(PrimitiveType::String), _) => format!("a text is not a {ty}"),
                (have, _) => {
                    let have = have.map_or_else(|| "null".to_owned(), |have| have.to_string());
                    format!("a {ty} cannot be compared with a literal of type {have}")
                }
            };
            invalid(message).with("column", name)
        })
    }

    fn is_in(
        &mut self,
        source: &Expression,
        value: &Expression,
        list: &[Expression],
        depth: usize,
    ) -> Result<Bound> {
        let side = self.side(value, depth)?;
        if let Side::Value(node) = side {
            return self.value_in(source, *node, list, depth);
        }
        let literals: Option<Vec<&Scalar>> = list
            .iter()
            .map(|item| match item {
                Expression::Literal(scalar) => Some(scalar),
                _ => None,
            })
            .collect();
        let (Side::Column(column), Some(literals)) = (side, literals) else {
            let parts = list
                .iter()
                .map(|item| self.compare(source, (value, Comparison::Eq, item), depth));
            return Ok(Bound::Or(parts.collect::<Result<_>>()?));
        };
        let or_unknown = literals.iter().any(|scalar| scalar.is_null());
        if self.bound(column)?.data_type == PrimitiveType::Void {
            return Ok(Bound::Constant(if list.is_empty() {
                Some(false)
            } else {
                None
            }));
        }
        let (mut values, mut any) = (Vec::with_capacity(literals.len()), Vec::new());
        for scalar in literals.into_iter().filter(|scalar| !scalar.is_null()) {
            match self.place(column, scalar)? {
                Place::At(value) => values.push(value),
                Place::Span(from, to) => any.push(span(source, column, from, to)),
                // What is no value of the column's type equals none.
                Place::After(_) | Place::BelowAll | Place::AboveAll => {}
            }
        }
        values.sort_by(|a, b| a.compare(b).unwrap_or(std::cmp::Ordering::Equal));
        values.dedup_by(|a, b| a.compare(b) == Some(std::cmp::Ordering::Equal));
        if list.is_empty() {
            return Ok(Bound::Constant(Some(false)));
        }
        let test = Test::In {
            column,
            values,
            or_unknown,
        };
        let one = leaf(source, test);
        if any.is_empty() {
            return Ok(one);
        }
        any.push(one);
        Ok(Bound::Or(any))
    }

    fn like(
        &mut self,
        source: &Expression,
        value: &Expression,
        text: &str,
        depth: usize,
    ) -> Result<Bound> {
        let pattern = Pattern::parse(text)?;
        match self.side(value, depth)? {
            Side::Literal(scalar) => match scalar.as_ref() {
                Scalar::Null => Ok(Bound::Constant(None)),
                Scalar::String(text) => Ok(Bound::Constant(Some(pattern.matches(text)))),
                _ => Err(invalid("LIKE is asked of text only")),
            },
            Side::Value(node) => match node.ty {
                PrimitiveType::String => {
                    let test = Node::boolean(Op::Like {
                        value: node,
                        pattern,
                    });
                    Ok(leaf(source, Test::Computed(Box::new(test))))
                }
                ty => Err(invalid(format!(
                    "LIKE is asked of text only, not of a {ty}"
                ))),
            },
            Side::Column(column) => {
                let bound = self.bound(column)?;
                match &bound.data_type {
                    PrimitiveType::String => Ok(leaf(source, Test::Like { column, pattern })),
                    PrimitiveType::Void => Ok(Bound::Constant(None)),
                    ty => {
                        let message = format!("LIKE is asked of text only, not of a {ty}");
                        Err(invalid(message).with("column", bound.name()))
                    }
                }
            }
        }
    }
}

/// Whether a value is neither below the first nor above the second.
fn span(source: &Expression, column: usize, from: Scalar, to: Scalar) -> Bound {
    let bounds = [(Comparison::GtEq, from), (Comparison::LtEq, to)];
    let test = |(op, literal)| Test::Compare {
        column,
        op,
        literal,
    };
    Bound::And(
        bounds
            .map(|bound| leaf(source, test(bound)))
            .into_iter()
            .collect(),
    )
}

/// Whether an expression is no condition by its form.
fn is_value(expression: &Expression) -> bool {
    matches!(
        expression,
        Expression::Arithmetic { .. }
            | Expression::Negate(_)
            | Expression::Case { .. }
            | Expression::Cast { .. }
            | Expression::Call { .. }
    )
}

fn constant(left: &Scalar, op: Comparison, right: &Scalar) -> Result<Bound> {
    if left.is_null() || right.is_null() {
        let both = left.is_null() && right.is_null();
        return Ok(Bound::Constant(
            (op == Comparison::NullSafeEq).then_some(both),
        ));
    }
    match left.compare(right) {
        Some(order) => Ok(Bound::Constant(Some(op.holds(order)))),
        None => Err(invalid(
            "two literals are compared that have no order between them",
        )),
    }
}

fn comparable(a: &PrimitiveType, b: &PrimitiveType) -> bool {
    match a {
        PrimitiveType::Unknown(_) | PrimitiveType::Variant => false,
        _ => a == b || (is_number(a) && is_number(b)),
    }
}
