//! What a predicate means, against an interpreter that knows nothing of binding, bitmaps or bounds.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StructArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType as ArrowType, Field as ArrowField, Fields, Schema as ArrowSchema};
use proptest::prelude::*;
use proptest::sample::select;

use crate::error::Code;
use crate::predicate::{
    BoundColumn, Bounds, ColumnBounds, Comparison, Expression, Predicate, Skip, col, lit,
};
use crate::protocol::schema::{DataType, Field, PrimitiveType, Schema};
use crate::protocol::value::Scalar;

mod bounds;
mod computed;
mod mixed;
mod text;
mod values;

const DECIMAL: PrimitiveType = PrimitiveType::Decimal {
    precision: 10,
    scale: 2,
};
const WIDE: PrimitiveType = PrimitiveType::Decimal {
    precision: 38,
    scale: 10,
};

/// Every type once; the last two are fields of a struct that may be null.
fn columns() -> Vec<(Vec<&'static str>, PrimitiveType)> {
    vec![
        (vec!["flag"], PrimitiveType::Boolean),
        (vec!["tiny"], PrimitiveType::Byte),
        (vec!["small"], PrimitiveType::Short),
        (vec!["whole"], PrimitiveType::Integer),
        (vec!["big"], PrimitiveType::Long),
        (vec!["single"], PrimitiveType::Float),
        (vec!["double"], PrimitiveType::Double),
        (vec!["price"], DECIMAL),
        (vec!["wide"], WIDE),
        (vec!["A Name"], PrimitiveType::String),
        (vec!["bytes"], PrimitiveType::Binary),
        (vec!["day"], PrimitiveType::Date),
        (vec!["at"], PrimitiveType::Timestamp),
        (vec!["local"], PrimitiveType::TimestampNtz),
        (vec!["in", "x.y"], PrimitiveType::Integer),
        (vec!["in", "t"], PrimitiveType::String),
    ]
}

fn schema() -> Schema {
    let mut fields = Vec::new();
    let mut inner = Vec::new();
    for (path, ty) in columns() {
        let field = Field::new(path[path.len() - 1], DataType::Primitive(ty), true);
        if path.len() == 1 {
            fields.push(field)
        } else {
            inner.push(field)
        }
    }
    let inner = DataType::Struct(Schema::new(inner).unwrap());
    fields.push(Field::new("in", inner, true));
    let tags = DataType::array(DataType::STRING, true);
    fields.push(Field::new("tags", tags, true));
    fields.push(Field::new(
        "nothing",
        DataType::Primitive(PrimitiveType::Void),
        true,
    ));
    Schema::new(fields).unwrap()
}

fn decimal(unscaled: i128, precision: u8, scale: u8) -> Scalar {
    Scalar::Decimal {
        unscaled,
        precision,
        scale,
    }
}

/// Few values, close together, with the edges of the type: so that they meet.
fn values_of(ty: &PrimitiveType) -> Vec<Scalar> {
    const TIMES: [i64; 6] = [
        -86_400_000_000,
        -1,
        0,
        1,
        86_400_000_000,
        253_402_300_799_999_999,
    ];
    match ty {
        PrimitiveType::Boolean => vec![Scalar::Boolean(false), Scalar::Boolean(true)],
        PrimitiveType::Byte => [i8::MIN, -1, 0, 1, 2, i8::MAX].map(Scalar::from).to_vec(),
        PrimitiveType::Short => [i16::MIN, -1, 0, 1, 2, i16::MAX].map(Scalar::from).to_vec(),
        PrimitiveType::Integer => [i32::MIN, -1, 0, 1, 2, i32::MAX].map(Scalar::from).to_vec(),
        PrimitiveType::Long => {
            let near = (1 << 53) + 1;
            [i64::MIN, -1, 0, 1, 2, 1 << 53, near, i64::MAX]
                .map(Scalar::from)
                .to_vec()
        }
        PrimitiveType::Float => {
            let edges = [
                f32::NEG_INFINITY,
                f32::MAX,
                f32::INFINITY,
                f32::NAN,
                -f32::NAN,
            ];
            let near = [-1.5, -0.0, 0.0, 0.1, 1.0, 2.0];
            edges.into_iter().chain(near).map(Scalar::from).collect()
        }
        PrimitiveType::Double => {
            let edges = [
                f64::NEG_INFINITY,
                f64::MAX,
                f64::INFINITY,
                f64::NAN,
                -f64::NAN,
            ];
            let near = [-1.5, -0.0, 0.0, 0.1, 1.0, 2.0, 9_007_199_254_740_992.0];
            edges.into_iter().chain(near).map(Scalar::from).collect()
        }
        &PrimitiveType::Decimal { precision, scale } => {
            let one = 10_i128.pow(scale.into());
            let most = 10_i128.pow(precision.into()) - 1;
            [-most, -one, -1, 0, 1, one / 10, one, 2 * one, most]
                .map(|unscaled| decimal(unscaled, precision, scale))
                .to_vec()
        }
        PrimitiveType::String => {
            let long = "m".repeat(40);
            let high = format!("{}\u{10ffff}z", "m".repeat(31));
            let short = ["", "a", "ab", "abc", "b", "\u{e9}", "\u{1f600}", "%_\\"];
            short
                .into_iter()
                .chain([long.as_str(), high.as_str()])
                .map(Scalar::from)
                .collect()
        }
        PrimitiveType::Binary => [&[][..], &[0], &[0, 255], &[127], &[255; 40]]
            .map(Scalar::from)
            .to_vec(),
        PrimitiveType::Date => [-719_162, -1, 0, 1, 2_932_896].map(Scalar::Date).to_vec(),
        PrimitiveType::Timestamp => TIMES.map(Scalar::Timestamp).to_vec(),
        PrimitiveType::TimestampNtz => TIMES.map(Scalar::TimestampNtz).to_vec(),
        _ => Vec::new(),
    }
}

fn is_number(ty: &PrimitiveType) -> bool {
    matches!(
        ty,
        PrimitiveType::Byte
            | PrimitiveType::Short
            | PrimitiveType::Integer
            | PrimitiveType::Long
            | PrimitiveType::Float
            | PrimitiveType::Double
            | PrimitiveType::Decimal { .. }
    )
}

/// What may be compared with a column of the type.
fn literals_for(ty: &PrimitiveType) -> Vec<Scalar> {
    let mut literals = vec![Scalar::Null];
    for (_, other) in columns() {
        let days = [
            PrimitiveType::Date,
            PrimitiveType::Timestamp,
            PrimitiveType::TimestampNtz,
        ];
        let both = |test: &dyn Fn(&PrimitiveType) -> bool| test(ty) && test(&other);
        if *ty == other || both(&is_number) || both(&|ty| days.contains(ty)) {
            literals.extend(values_of(&other));
        }
    }
    if is_number(ty) {
        literals.extend([decimal(5, 1, 1), decimal(-5, 2, 1), decimal(1, 1, 1)]);
        literals.extend([
            Scalar::Double(0.5),
            Scalar::Double(-0.5),
            Scalar::Double(1e30),
        ]);
        literals.push(decimal(10_i128.pow(38) - 1, 38, 0));
        literals.push(decimal(1, 38, 38));
    }
    literals
}

/// Rows: a value for each column, in order.
type Row = Vec<Scalar>;

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let cells: Vec<_> = columns()
        .into_iter()
        .map(|(_, ty)| prop_oneof![1 => Just(Scalar::Null), 4 => select(values_of(&ty))].boxed())
        .collect();
    let row = (cells, prop::bool::weighted(0.1)).prop_map(|(mut row, no_struct): (Row, bool)| {
        if no_struct {
            let first = row.len() - 2;
            row[first..].fill(Scalar::Null);
        }
        row
    });
    // Few rows often agree, so that bounds are narrow.
    prop::collection::vec(row, 0..5)
}

fn predicate() -> impl Strategy<Value = Predicate> {
    let leaf = select(columns()).prop_flat_map(|(path, ty)| {
        let column = Expression::Column(path.iter().map(|name| (*name).to_owned()).collect());
        let literal = || select(literals_for(&ty)).prop_map(lit);
        let op = || {
            select(vec![
                Comparison::Eq,
                Comparison::NotEq,
                Comparison::Lt,
                Comparison::LtEq,
                Comparison::Gt,
                Comparison::GtEq,
                Comparison::NullSafeEq,
            ])
        };
        let of_same_kind: Vec<Expression> = columns()
            .into_iter()
            .filter(|(_, other)| *other == ty || (is_number(other) && is_number(&ty)))
            .map(|(path, _)| {
                Expression::Column(path.iter().map(|name| (*name).to_owned()).collect())
            })
            .collect();
        let (a, b, c, d, e) = (
            column.clone(),
            column.clone(),
            column.clone(),
            column.clone(),
            column.clone(),
        );
        let like = select(vec![
            "%", "a%", "ab", "_", "%b%", "\\%%", "mmm%", "\u{e9}%", "a_c", "",
        ]);
        let is_text = ty == PrimitiveType::String;
        let is_flag = ty == PrimitiveType::Boolean;
        prop_oneof![
            6 => (op(), literal()).prop_map(move |(op, literal)| a.clone().compare(op, literal)),
            1 => (op(), literal()).prop_map(move |(op, literal)| literal.compare(op, b.clone())),
            1 => (op(), select(of_same_kind))
                .prop_map(move |(op, other)| c.clone().compare(op, other)),
            2 => prop::collection::vec(literal(), 0..4)
                .prop_map(move |list| d.clone().is_in(list)),
            3 => (literal(), literal(), like, 0..3).prop_map(move |(low, high, like, kind)| {
                match kind {
                    0 if is_text => e.clone().like(like),
                    0 if is_flag => Predicate::from(e.clone()),
                    1 => e.clone().is_null(),
                    _ => e.clone().between(low, high),
                }
            }),
        ]
    });
    leaf.prop_recursive(4, 16, 3, |inner| {
        let truth = |value: Predicate, truth| {
            Predicate::from(Expression::IsTruth {
                value: Box::new(value.into()),
                truth,
            })
        };
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| a.and(b)),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| a.or(b)),
            inner.clone().prop_map(Predicate::not),
            inner
                .clone()
                .prop_map(|part| Expression::from(part).is_null()),
            (inner, any::<bool>()).prop_map(move |(part, want)| truth(part, want)),
        ]
    })
}

// The interpreter: one row, one answer.

fn value_of(expression: &Expression, row: &[Scalar]) -> Scalar {
    match expression {
        Expression::Literal(scalar) => scalar.clone(),
        Expression::Column(path) => {
            let index = columns()
                .iter()
                .position(|(known, _)| known == path)
                .unwrap();
            row[index].clone()
        }
        condition => interpret(condition, row).map_or(Scalar::Null, Scalar::Boolean),
    }
}

/// What a literal is taken for beside a value: a day beside a time is its midnight.
fn meant(literal: &Scalar, beside: &Scalar) -> Scalar {
    const DAY: i64 = 86_400_000_000;
    match (literal, beside) {
        (Scalar::Timestamp(at), Scalar::TimestampNtz(_)) => Scalar::TimestampNtz(*at),
        (Scalar::TimestampNtz(at), Scalar::Timestamp(_)) => Scalar::Timestamp(*at),
        (Scalar::Date(day), Scalar::Timestamp(_)) => Scalar::Timestamp(i64::from(*day) * DAY),
        (Scalar::Date(day), Scalar::TimestampNtz(_)) => Scalar::TimestampNtz(i64::from(*day) * DAY),
        _ => literal.clone(),
    }
}

/// A number as Spark has it beside a float: the double that its digits are read as.
fn as_double(number: &Scalar) -> f64 {
    match *number {
        Scalar::Float(value) => value.into(),
        Scalar::Double(value) => value,
        _ => {
            let digits = number.to_partition_value().unwrap().unwrap();
            digits.parse().unwrap()
        }
    }
}

fn compare(
    op: Comparison,
    (a, left): (&Scalar, bool),
    (b, right): (&Scalar, bool),
) -> Option<bool> {
    if a.is_null() || b.is_null() {
        return match op {
            Comparison::NullSafeEq => Some(a.is_null() && b.is_null()),
            _ => None,
        };
    }
    let a = if left { meant(a, b) } else { a.clone() };
    let b = if right { meant(b, &a) } else { b.clone() };
    let order = match (&a, &b) {
        (Scalar::Date(day), Scalar::Timestamp(at) | Scalar::TimestampNtz(at)) => {
            (i64::from(*day) * 86_400_000_000).cmp(at)
        }
        (Scalar::Timestamp(at) | Scalar::TimestampNtz(at), Scalar::Date(day)) => {
            at.cmp(&(i64::from(*day) * 86_400_000_000))
        }
        (Scalar::Float(_) | Scalar::Double(_), _) | (_, Scalar::Float(_) | Scalar::Double(_)) => {
            let (a, b) = (as_double(&a), as_double(&b));
            a.partial_cmp(&b)
                .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        }
        (a, b) => a.compare(b).unwrap(),
    };
    Some(match op {
        Comparison::Eq | Comparison::NullSafeEq => order == Ordering::Equal,
        Comparison::NotEq => order != Ordering::Equal,
        Comparison::Lt => order == Ordering::Less,
        Comparison::LtEq => order != Ordering::Greater,
        Comparison::Gt => order == Ordering::Greater,
        Comparison::GtEq => order != Ordering::Less,
    })
}

fn interpret(expression: &Expression, row: &[Scalar]) -> Option<bool> {
    let is_literal = |side: &Expression| matches!(side, Expression::Literal(_));
    let compared = |left: &Expression, op, right: &Expression| {
        let (a, b) = (value_of(left, row), value_of(right, row));
        compare(op, (&a, is_literal(left)), (&b, is_literal(right)))
    };
    match expression {
        Expression::Column(_) | Expression::Literal(_) => match value_of(expression, row) {
            Scalar::Boolean(value) => Some(value),
            _ => None,
        },
        Expression::Compare { left, op, right } => compared(left, *op, right),
        Expression::And(parts) => {
            let answers: Vec<_> = parts.iter().map(|part| interpret(part, row)).collect();
            if answers.contains(&Some(false)) {
                Some(false)
            } else if answers.contains(&None) {
                None
            } else {
                Some(true)
            }
        }
        Expression::Or(parts) => {
            let answers: Vec<_> = parts.iter().map(|part| interpret(part, row)).collect();
            if answers.contains(&Some(true)) {
                Some(true)
            } else if answers.contains(&None) {
                None
            } else {
                Some(false)
            }
        }
        Expression::Not(part) => interpret(part, row).map(|value| !value),
        Expression::IsNull(value) => Some(value_of(value, row).is_null()),
        Expression::IsTruth { value, truth } => Some(interpret(value, row) == Some(*truth)),
        Expression::In { value, list } => {
            let equal = |item| compared(value, Comparison::Eq, item);
            if list.iter().any(|item| equal(item) == Some(true)) {
                Some(true)
            } else if list.iter().any(|item| equal(item).is_none()) {
                None
            } else {
                Some(false)
            }
        }
        Expression::Between { value, low, high } => {
            let parts = [
                (value, Comparison::GtEq, low),
                (value, Comparison::LtEq, high),
            ];
            let answers = parts.map(|(value, op, bound)| compared(value, op, bound));
            if answers.contains(&Some(false)) {
                Some(false)
            } else {
                answers[0].and(answers[1])
            }
        }
        Expression::Like { value, pattern } => match value_of(value, row) {
            Scalar::String(text) => {
                let text: Vec<char> = text.chars().collect();
                Some(like(&text, &pattern.chars().collect::<Vec<_>>()))
            }
            _ => None,
        },
        other => panic!("{other} is none of the generated predicates"),
    }
}

fn like(text: &[char], pattern: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|at| like(&text[at..], rest)),
        ['_', rest @ ..] => !text.is_empty() && like(&text[1..], rest),
        ['\\', want, rest @ ..] | [want, rest @ ..] => {
            text.first() == Some(want) && like(&text[1..], rest)
        }
    }
}

// Rows as a record batch.

fn array(ty: &PrimitiveType, cells: &[&Scalar]) -> ArrayRef {
    let empty = Scalar::Null.to_array(ty, 0).unwrap();
    let mut parts = vec![empty];
    parts.extend(cells.iter().map(|cell| cell.to_array(ty, 1).unwrap()));
    let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
    arrow_select::concat::concat(&parts).unwrap()
}

fn batch(rows: &[Row]) -> RecordBatch {
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    let mut inner = (Vec::new(), Vec::<ArrayRef>::new());
    for (index, (path, ty)) in columns().into_iter().enumerate() {
        let cells: Vec<&Scalar> = rows.iter().map(|row| &row[index]).collect();
        let array = array(&ty, &cells);
        let field = ArrowField::new(path[path.len() - 1], array.data_type().clone(), true);
        if path.len() == 1 {
            fields.push(field);
            arrays.push(array);
        } else {
            inner.0.push(field);
            inner.1.push(array);
        }
    }
    // Where all fields of the struct are null, it is null itself, and its fields hold something else.
    let width = columns().len();
    let valid: Vec<bool> = rows
        .iter()
        .map(|row| !(row[width - 2].is_null() && row[width - 1].is_null()))
        .collect();
    let masked: Vec<Row> = rows
        .iter()
        .zip(&valid)
        .map(|(row, valid)| {
            let other = || vec![Scalar::Integer(1), Scalar::from("a")];
            if *valid {
                row[width - 2..].to_vec()
            } else {
                other()
            }
        })
        .collect();
    for (at, ty) in [PrimitiveType::Integer, PrimitiveType::String]
        .iter()
        .enumerate()
    {
        inner.1[at] = array(ty, &masked.iter().map(|row| &row[at]).collect::<Vec<_>>());
    }
    let inner_fields = Fields::from(inner.0);
    let nulls = NullBuffer::from(valid);
    let parent =
        StructArray::try_new_with_length(inner_fields.clone(), inner.1, Some(nulls), rows.len());
    fields.push(ArrowField::new("in", ArrowType::Struct(inner_fields), true));
    arrays.push(Arc::new(parent.unwrap()));
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), arrays).unwrap()
}

fn cases() -> ProptestConfig {
    ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_mask_is_what_the_interpreter_says(predicate in predicate(), rows in rows()) {
        let mask = predicate.bind(&schema()).unwrap().evaluate(&batch(&rows)).unwrap();
        let expected: Vec<_> = rows.iter().map(|row| interpret(predicate.expression(), row)).collect();
        prop_assert_eq!(mask.iter().collect::<Vec<_>>(), expected, "{}", predicate);
    }

    #[test]
    fn sql_text_gives_the_same_predicate_back(predicate in predicate()) {
        let text = predicate.to_string();
        let parsed = Predicate::parse(&text).unwrap();
        // NaN differs from itself: the Debug form does not.
        prop_assert_eq!(format!("{parsed:?}").replace("-NaN", "NaN"), format!("{predicate:?}").replace("-NaN", "NaN"), "{}", text);
    }
}
