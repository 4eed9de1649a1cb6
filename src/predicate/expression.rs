//! Expressions over the columns of a row, and how they are built in Rust.

use std::cmp::Ordering;

use crate::error::Result;
use crate::predicate::bind::{self, BoundExpression};
use crate::predicate::function::Function;
use crate::predicate::{Predicate, parse, pattern};
use crate::protocol::schema::{PrimitiveType, Schema};
use crate::protocol::value::Scalar;

/// Something that has a value in every row: a column, a literal, or a condition over others.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Expression {
    /// A column, or a field of a struct column, by the names on the way to it.
    Column(Vec<String>),
    /// One value for all rows.
    Literal(Scalar),
    /// Two values compared.
    Compare {
        /// The left side.
        left: Box<Self>,
        /// What must hold between them.
        op: Comparison,
        /// The right side.
        right: Box<Self>,
    },
    /// True where all are; false where one is false.
    And(Vec<Self>),
    /// True where one is; false where all are false.
    Or(Vec<Self>),
    /// True where it is false, false where it is true.
    Not(Box<Self>),
    /// Whether there is no value; never unknown itself.
    IsNull(Box<Self>),
    /// Whether a condition is exactly true, or exactly false; never unknown itself.
    IsTruth {
        /// The condition.
        value: Box<Self>,
        /// What it is to be.
        truth: bool,
    },
    /// Whether a value equals one of a list.
    In {
        /// The value.
        value: Box<Self>,
        /// The list.
        list: Vec<Self>,
    },
    /// Whether a value is neither below `low` nor above `high`.
    Between {
        /// The value.
        value: Box<Self>,
        /// The least that matches.
        low: Box<Self>,
        /// The greatest that matches.
        high: Box<Self>,
    },
    /// Whether text has the form of a pattern: `%` stands for any text, `_` for one character, and a backslash before
    /// either, or before a backslash, takes it literally.
    Like {
        /// The text.
        value: Box<Self>,
        /// The pattern.
        pattern: String,
    },
    /// A number reckoned from two.
    Arithmetic {
        /// The left side.
        left: Box<Self>,
        /// What is reckoned.
        op: Arithmetic,
        /// The right side.
        right: Box<Self>,
    },
    /// A number with the other sign.
    Negate(Box<Self>),
    /// The value of the first branch whose condition is true, or whose value equals the operand.
    Case {
        /// What the branches are compared with; without it, they are conditions.
        operand: Option<Box<Self>>,
        /// When, and then.
        branches: Vec<(Self, Self)>,
        /// Where no branch is; null without it.
        otherwise: Option<Box<Self>>,
    },
    /// A value as one of another type, as Spark's `CAST` in ANSI mode: what has no such value is an error.
    Cast {
        /// The value.
        value: Box<Self>,
        /// The type.
        data_type: PrimitiveType,
    },
    /// What a function makes of its arguments.
    Call {
        /// The function.
        function: Function,
        /// The arguments, in order.
        arguments: Vec<Self>,
    },
}

/// What may be reckoned from two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Arithmetic {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`: of decimals a decimal, of all other numbers a double.
    Divide,
    /// `%`: has the sign of the left side.
    Remainder,
}

impl Arithmetic {
    /// The operator in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }

    /// Whether it binds as strongly as multiplication.
    pub(super) fn is_strong(self) -> bool {
        !matches!(self, Self::Add | Self::Subtract)
    }
}

/// What may hold between two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Comparison {
    /// `=`
    Eq,
    /// `<>`
    NotEq,
    /// `<`
    Lt,
    /// `<=`
    LtEq,
    /// `>`
    Gt,
    /// `>=`
    GtEq,
    /// `<=>`: as `=`, but null equals null and nothing else, and the answer is never unknown.
    NullSafeEq,
}

impl Comparison {
    /// The operator in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Eq => "=",
            Self::NotEq => "<>",
            Self::Lt => "<",
            Self::LtEq => "<=",
            Self::Gt => ">",
            Self::GtEq => ">=",
            Self::NullSafeEq => "<=>",
        }
    }

    /// The operator that holds between the same values written the other way round.
    pub(super) fn flipped(self) -> Self {
        match self {
            Self::Lt => Self::Gt,
            Self::LtEq => Self::GtEq,
            Self::Gt => Self::Lt,
            Self::GtEq => Self::LtEq,
            Self::Eq | Self::NotEq | Self::NullSafeEq => self,
        }
    }

    /// Whether it holds between two values, neither null, that are in this order.
    pub(super) fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Eq | Self::NullSafeEq => order.is_eq(),
            Self::NotEq => order.is_ne(),
            Self::Lt => order.is_lt(),
            Self::LtEq => order.is_le(),
            Self::Gt => order.is_gt(),
            Self::GtEq => order.is_ge(),
        }
    }
}

/// A column by its name, with dots between the names of nested fields; back-ticks keep the dots in a name.
///
/// ```
/// use headwater::predicate::col;
/// assert_eq!(col("a.b").is_null().to_string(), "a.b IS NULL");
/// assert_eq!(col("`a.b`").is_null().to_string(), "`a.b` IS NULL");
/// ```
pub fn col(name: &str) -> Expression {
    Expression::Column(split_path(name))
}

/// A value: of any type that a [`Scalar`] can be made of.
pub fn lit(value: impl Into<Scalar>) -> Expression {
    Expression::Literal(value.into())
}

impl Expression {
    /// Reads an expression from SQL text: all that [`Predicate::parse`] understands, whatever its type.
    ///
    /// ```
    /// use headwater::predicate::{Expression, col};
    /// let half = Expression::parse("(a + b) / 2")?;
    /// assert_eq!(half, (col("a") + col("b")) / 2);
    /// assert_eq!(half.to_string(), "(a + b) / 2");
    /// # Ok::<(), headwater::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Predicate::parse`].
    pub fn parse(sql: &str) -> Result<Self> {
        parse::parse(sql)
    }

    /// The expression against a schema: columns found (without regard to case), types known, all that has no meaning
    /// refused.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::error::ErrorKind::Invalid) if there is no such column, if a function or operator is given
    /// values of types it does not take, or if the expression asks for the time, which [`at`](Self::at) gives it.
    pub fn bind(&self, schema: &Schema) -> Result<BoundExpression> {
        bind::bind_expression(self, schema)
    }

    /// The expression in which `CURRENT_TIMESTAMP`, `NOW` and `CURRENT_DATE` are this time, in microseconds since the
    /// epoch: a statement has one time for all its rows.
    #[must_use]
    pub fn at(self, now_micros: i64) -> Self {
        if let Self::Call { function, .. } = &self
            && let Some(value) = function.at(now_micros)
        {
            return Self::Literal(value);
        }
        self.with_parts(&mut |part| part.at(now_micros))
    }

    /// As another type: see [`Expression::Cast`].
    #[must_use]
    pub fn cast(self, data_type: PrimitiveType) -> Self {
        let value = Box::new(self);
        Self::Cast { value, data_type }
    }

    /// The first of these that is not null.
    #[must_use]
    pub fn coalesce<T: Into<Self>>(values: impl IntoIterator<Item = T>) -> Self {
        Self::call(Function::Coalesce, values)
    }

    /// What a function makes of its arguments.
    #[must_use]
    pub fn call<T: Into<Self>>(function: Function, arguments: impl IntoIterator<Item = T>) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self::Call {
            function,
            arguments,
        }
    }

    /// The first value whose condition is true, otherwise the last: `CASE WHEN .. THEN .. ELSE .. END`.
    #[must_use]
    pub fn case<C: Into<Self>, V: Into<Self>>(
        branches: impl IntoIterator<Item = (C, V)>,
        otherwise: impl Into<Self>,
    ) -> Self {
        let branches = branches.into_iter();
        Self::Case {
            operand: None,
            branches: branches
                .map(|(when, then)| (when.into(), then.into()))
                .collect(),
            otherwise: Some(Box::new(otherwise.into())),
        }
    }

    fn arithmetic(self, op: Arithmetic, other: impl Into<Self>) -> Self {
        let (left, right) = (Box::new(self), Box::new(other.into()));
        Self::Arithmetic { left, op, right }
    }

    /// The expression with each of its parts changed.
    fn with_parts(self, change: &mut dyn FnMut(Self) -> Self) -> Self {
        let mut each = |parts: Vec<Self>| parts.into_iter().map(&mut *change).collect::<Vec<_>>();
        match self {
            Self::And(parts) => return Self::And(each(parts)),
            Self::Or(parts) => return Self::Or(each(parts)),
            Self::Call {
                function,
                arguments,
            } => {
                let arguments = each(arguments);
                return Self::Call {
                    function,
                    arguments,
                };
            }
            _ => {}
        }
        let mut boxed = |part: Box<Self>| Box::new(change(*part));
        match self {
            Self::Compare { left, op, right } => {
                let (left, right) = (boxed(left), boxed(right));
                Self::Compare { left, op, right }
            }
            Self::Arithmetic { left, op, right } => {
                let (left, right) = (boxed(left), boxed(right));
                Self::Arithmetic { left, op, right }
            }
            Self::Not(part) => Self::Not(boxed(part)),
            Self::Negate(part) => Self::Negate(boxed(part)),
            Self::IsNull(value) => Self::IsNull(boxed(value)),
            Self::IsTruth { value, truth } => {
                let value = boxed(value);
                Self::IsTruth { value, truth }
            }
            Self::In { value, list } => {
                let value = boxed(value);
                let list = list.into_iter().map(change).collect();
                Self::In { value, list }
            }
            Self::Between { value, low, high } => {
                let (value, low, high) = (boxed(value), boxed(low), boxed(high));
                Self::Between { value, low, high }
            }
            Self::Like { value, pattern } => {
                let value = boxed(value);
                Self::Like { value, pattern }
            }
            Self::Cast { value, data_type } => {
                let value = boxed(value);
                Self::Cast { value, data_type }
            }
            Self::Case {
                operand,
                branches,
                otherwise,
            } => {
                let (operand, otherwise) = (operand.map(&mut boxed), otherwise.map(&mut boxed));
                let branches = branches.into_iter();
                Self::Case {
                    operand,
                    branches: branches
                        .map(|(when, then)| (change(when), change(then)))
                        .collect(),
                    otherwise,
                }
            }
            whole => whole,
        }
    }
}

macro_rules! operators {
    ($($name:ident, $method:ident, $op:ident;)*) => {
        $(impl<T: Into<Expression>> std::ops::$name<T> for Expression {
            type Output = Self;

            fn $method(self, other: T) -> Self {
                self.arithmetic(Arithmetic::$op, other)
            }
        })*
    };
}

operators! {
    Add, add, Add;
    Sub, sub, Subtract;
    Mul, mul, Multiply;
    Div, div, Divide;
    Rem, rem, Remainder;
}

impl std::ops::Neg for Expression {
    type Output = Self;

    fn neg(self) -> Self {
        Self::Negate(Box::new(self))
    }
}

impl std::str::FromStr for Expression {
    type Err = crate::error::Error;

    fn from_str(sql: &str) -> Result<Self> {
        Self::parse(sql)
    }
}

/// Dates, timestamps, decimals and typed nulls are compared as [`Scalar`]s.
impl Expression {
    /// Equal to.
    #[must_use]
    pub fn eq(self, other: impl Into<Self>) -> Predicate {
        self.compare(Comparison::Eq, other)
    }

    /// Not equal to; unknown where either is null.
    #[must_use]
    pub fn not_eq(self, other: impl Into<Self>) -> Predicate {
        self.compare(Comparison::NotEq, other)
    }

    /// Below.
    #[must_use]
    pub fn lt(self, other: impl Into<Self>) -> Predicate {
        self.compare(Comparison::Lt, other)
    }

    /// Not above.
    #[must_use]
    pub fn lt_eq(self, other: impl Into<Self>) -> Predicate {
        self.compare(Comparison::LtEq, other)
    }

    /// Above.
    #[must_use]
    pub fn gt(self, other: impl Into<Self>) -> Predicate {
        self.compare(Comparison::Gt, other)
    }

    /// Not below.
    #[must_use]
    pub fn gt_eq(self, other: impl Into<Self>) -> Predicate {
        self.compare(Comparison::GtEq, other)
    }

    /// Equal to, where null equals null: SQL's `<=>`.
    #[must_use]
    pub fn null_safe_eq(self, other: impl Into<Self>) -> Predicate {
        self.compare(Comparison::NullSafeEq, other)
    }

    /// This comparison with another expression.
    #[must_use]
    pub fn compare(self, op: Comparison, other: impl Into<Self>) -> Predicate {
        let (left, right) = (Box::new(self), Box::new(other.into()));
        Predicate::from(Self::Compare { left, op, right })
    }

    /// Has no value.
    #[must_use]
    pub fn is_null(self) -> Predicate {
        Predicate::from(Self::IsNull(Box::new(self)))
    }

    /// Has a value.
    #[must_use]
    pub fn is_not_null(self) -> Predicate {
        Predicate::from(Self::Not(Box::new(Self::IsNull(Box::new(self)))))
    }

    /// Equal to one of these.
    #[must_use]
    pub fn is_in<T: Into<Self>>(self, list: impl IntoIterator<Item = T>) -> Predicate {
        let list = list.into_iter().map(Into::into).collect();
        Predicate::from(Self::In {
            value: Box::new(self),
            list,
        })
    }

    /// From `low` to `high`, both included.
    #[must_use]
    pub fn between(self, low: impl Into<Self>, high: impl Into<Self>) -> Predicate {
        let (low, high) = (Box::new(low.into()), Box::new(high.into()));
        Predicate::from(Self::Between {
            value: Box::new(self),
            low,
            high,
        })
    }

    /// Text of this form: see [`Expression::Like`].
    #[must_use]
    pub fn like(self, pattern: impl Into<String>) -> Predicate {
        Predicate::from(Self::Like {
            value: Box::new(self),
            pattern: pattern.into(),
        })
    }

    /// Text that starts with this prefix.
    #[must_use]
    pub fn starts_with(self, prefix: &str) -> Predicate {
        self.like(pattern::starting_with(prefix))
    }

    /// The conjunction, without conjunctions directly inside it.
    pub(super) fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let parts = parts.into_iter().flat_map(|part| match part {
            Self::And(parts) => parts,
            other => vec![other],
        });
        Self::And(parts.collect())
    }

    /// The disjunction, without disjunctions directly inside it.
    pub(super) fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let parts = parts.into_iter().flat_map(|part| match part {
            Self::Or(parts) => parts,
            other => vec![other],
        });
        Self::Or(parts.collect())
    }
}

impl From<Scalar> for Expression {
    fn from(value: Scalar) -> Self {
        Self::Literal(value)
    }
}

macro_rules! literals {
    ($($source:ty),* $(,)?) => {
        $(impl From<$source> for Expression {
            fn from(value: $source) -> Self {
                Self::Literal(Scalar::from(value))
            }
        })*
    };
}

literals!(
    bool,
    i8,
    i16,
    i32,
    i64,
    f32,
    f64,
    &str,
    String,
    &[u8],
    Vec<u8>
);

// A back-tick that is never closed is an ordinary character: the name will not be found, and the error shows it.
fn split_path(name: &str) -> Vec<String> {
    let mut path = Vec::new();
    let mut part = String::new();
    let mut quoted = false;
    let mut chars = name.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '`' if quoted && chars.peek() == Some(&'`') => {
                chars.next();
                part.push('`');
            }
            '`' if quoted => quoted = false,
            '`' if part.is_empty() => quoted = true,
            '.' if !quoted => path.push(std::mem::take(&mut part)),
            other => part.push(other),
        }
    }
    if quoted {
        return vec![name.to_owned()];
    }
    path.push(part);
    path
}
