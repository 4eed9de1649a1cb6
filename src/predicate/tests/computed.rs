//! Computed values against an interpreter of one row, which knows nothing of columns of values.

use super::bounds::file;
use super::*;
use crate::predicate::{Arithmetic, Function};

const LONG: PrimitiveType = PrimitiveType::Long;

fn whole(depth: u32) -> BoxedStrategy<Expression> {
    let leaf = prop_oneof![
        select(vec![i64::MIN, -3, -1, 0, 1, 2, 7, i64::MAX]).prop_map(lit),
        Just(lit(Scalar::Null).cast(LONG)),
        Just(col("big")),
        Just(col("whole").cast(LONG)),
        Just(col("tiny").cast(LONG)),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let part = || whole(depth - 1);
    let arithmetic = (part(), 0..4, part()).prop_map(|(a, op, b)| match op {
        0 => a + b,
        1 => a - b,
        2 => a * b,
        _ => a % b,
    });
    let cased = (truth(depth - 1), part(), part(), part());
    prop_oneof![
        3 => arithmetic,
        1 => part().prop_map(|a| -a),
        1 => part().prop_map(|a| Expression::call(Function::Abs, [a])),
        1 => (part(), part()).prop_map(|(a, b)| Expression::coalesce([a, b])),
        1 => (part(), part()).prop_map(|(a, b)| Expression::call(Function::NullIf, [a, b])),
        1 => prop::collection::vec(part(), 2..4)
            .prop_map(|parts| Expression::call(Function::Greatest, parts)),
        1 => text(depth - 1).prop_map(|a| Expression::call(Function::Length, [a]).cast(LONG)),
        2 => cased.prop_map(|(when, a, b, c)| Expression::Case {
            operand: None,
            branches: vec![(when.clone(), a), (Expression::IsNull(Box::new(when)), b)],
            otherwise: Some(Box::new(c)),
        }),
        1 => (part(), part(), part()).prop_map(|(of, when, then)| Expression::Case {
            operand: Some(Box::new(of)),
            branches: vec![(when, then)],
            otherwise: None,
        }),
        2 => leaf,
    ]
    .boxed()
}

fn text(depth: u32) -> BoxedStrategy<Expression> {
    let leaf = prop_oneof![
        select(vec!["", "a", "ab", "\u{e9}x"]).prop_map(lit),
        Just(col("`A Name`")),
        Just(col("in.t")),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let part = || text(depth - 1);
    let small = || (-4_i32..5).prop_map(lit);
    prop_oneof![
        (part(), part()).prop_map(|(a, b)| Expression::call(Function::Concat, [a, b])),
        part().prop_map(|a| Expression::call(Function::Upper, [a])),
        (part(), small(), small())
            .prop_map(|(a, from, length)| Expression::call(Function::Substring, [a, from, length])),
        (part(), small()).prop_map(|(a, length)| Expression::call(Function::Right, [a, length])),
        whole(depth - 1).prop_map(|a| a.cast(PrimitiveType::String)),
        leaf,
    ]
    .boxed()
}

fn truth(depth: u32) -> BoxedStrategy<Expression> {
    let ops = || {
        select(vec![
            Comparison::Eq,
            Comparison::NotEq,
            Comparison::Lt,
            Comparison::GtEq,
            Comparison::NullSafeEq,
        ])
    };
    let leaf = prop_oneof![
        (whole(depth), ops(), whole(depth))
            .prop_map(|(a, op, b)| Expression::from(a.compare(op, b))),
        (text(depth), ops(), text(depth)).prop_map(|(a, op, b)| Expression::from(a.compare(op, b))),
        Just(col("flag")),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let part = || truth(depth - 1);
    prop_oneof![
        3 => leaf,
        1 => (part(), part()).prop_map(|(a, b)| Expression::And(vec![a, b])),
        1 => (part(), part()).prop_map(|(a, b)| Expression::Or(vec![a, b])),
        1 => part().prop_map(|a| Expression::Not(Box::new(a))),
        1 => (whole(depth - 1), prop::collection::vec(whole(depth - 1), 0..3))
            .prop_map(|(a, list)| Expression::from(a.is_in(list))),
        1 => (whole(depth - 1), whole(depth - 1), whole(depth - 1))
            .prop_map(|(a, low, high)| Expression::from(a.between(low, high))),
        1 => whole(depth - 1).prop_map(|a| Expression::from(a.is_null())),
    ]
    .boxed()
}

/// No value, and no null: the row is an error.
#[derive(Debug, PartialEq)]
struct Broken;

type Answer = Result<Scalar, Broken>;

fn in_row(expression: &Expression, row: &[Scalar]) -> Answer {
    let value = |part: &Expression| in_row(part, row);
    let pair = |a: &Expression, b: &Expression| -> Result<Option<(i64, i64)>, Broken> {
        match value(a)? {
            Scalar::Long(a) => Ok(match value(b)? {
                Scalar::Long(b) => Some((a, b)),
                _ => None,
            }),
            _ => Ok(None),
        }
    };
    let long = |value: Option<i64>| value.map(Scalar::Long).ok_or(Broken);
    match expression {
        Expression::Arithmetic { left, op, right } => match pair(left, right)? {
            None => Ok(Scalar::Null),
            Some((_, 0)) if *op == Arithmetic::Remainder => Err(Broken),
            Some((a, b)) => long(match op {
                Arithmetic::Add => a.checked_add(b),
                Arithmetic::Subtract => a.checked_sub(b),
                Arithmetic::Multiply => a.checked_mul(b),
                _ => Some(a.wrapping_rem(b)),
            }),
        },
        Expression::Negate(part) => match value(part)? {
            Scalar::Long(a) => long(a.checked_neg()),
            _ => Ok(Scalar::Null),
        },
        Expression::Cast {
            value: part,
            data_type,
        } => Ok(match (value(part)?, data_type) {
            (Scalar::Byte(a), _) => Scalar::Long(a.into()),
            (Scalar::Integer(a), _) => Scalar::Long(a.into()),
            (Scalar::Long(a), PrimitiveType::String) => Scalar::from(a.to_string()),
            (other, _) => other,
        }),
        Expression::Case {
            operand,
            branches,
            otherwise,
        } => {
            for (when, then) in branches {
                let hit = match operand {
                    Some(of) => matches!(pair(of, when)?, Some((a, b)) if a == b),
                    None => value(when)? == Scalar::Boolean(true),
                };
                if hit {
                    return value(then);
                }
            }
            otherwise
                .as_ref()
                .map_or(Ok(Scalar::Null), |part| value(part))
        }
        Expression::Call {
            function,
            arguments,
        } => called(*function, arguments, row),
        Expression::Column(_) | Expression::Literal(_) => Ok(value_of(expression, row)),
        condition => Ok(decided(condition, row)?.map_or(Scalar::Null, Scalar::Boolean)),
    }
}

fn called(function: Function, arguments: &[Expression], row: &[Scalar]) -> Answer {
    if function == Function::Coalesce {
        for argument in arguments {
            let value = in_row(argument, row)?;
            if !value.is_null() {
                return Ok(value);
            }
        }
        return Ok(Scalar::Null);
    }
    let mut values = Vec::new();
    for argument in arguments {
        let value = in_row(argument, row)?;
        // Null is the answer before the other arguments are asked.
        if value.is_null()
            && function != Function::Greatest
            && !(function == Function::NullIf && values.len() == 1)
        {
            return Ok(Scalar::Null);
        }
        values.push(value);
    }
    Ok(match (function, values.as_slice()) {
        (Function::NullIf, [a, b]) if a == b => Scalar::Null,
        (Function::NullIf, [a, _]) => a.clone(),
        (Function::Greatest, values) => {
            let order = |a: &&Scalar, b: &&Scalar| a.compare(b).unwrap();
            let there = values.iter().filter(|value| !value.is_null());
            there.max_by(order).cloned().unwrap_or(Scalar::Null)
        }
        (_, values) if values.iter().any(Scalar::is_null) => Scalar::Null,
        (Function::Abs, [Scalar::Long(a)]) => Scalar::Long(a.checked_abs().ok_or(Broken)?),
        (Function::Length, [Scalar::String(a)]) => {
            Scalar::Integer(a.chars().count().try_into().unwrap())
        }
        (Function::Concat, [Scalar::String(a), Scalar::String(b)]) => {
            Scalar::from(format!("{a}{b}"))
        }
        (Function::Upper, [Scalar::String(a)]) => Scalar::from(a.to_uppercase()),
        (Function::Right, [Scalar::String(a), Scalar::Integer(n)]) => {
            let count = i32::try_from(a.chars().count()).unwrap();
            let kept = a.chars().enumerate();
            let kept = kept.filter(|(at, _)| count - n <= i32::try_from(*at).unwrap());
            Scalar::from(kept.map(|(_, char)| char).collect::<String>())
        }
        (Function::Substring, [Scalar::String(a), Scalar::Integer(from), Scalar::Integer(n)]) => {
            let count = i32::try_from(a.chars().count()).unwrap();
            let first = if 0 < *from {
                from - 1
            } else if *from < 0 {
                count + from
            } else {
                0
            };
            let kept = a.chars().enumerate().filter(|(at, _)| {
                let at = i32::try_from(*at).unwrap();
                first <= at && at < first + n
            });
            Scalar::from(kept.map(|(_, char)| char).collect::<String>())
        }
        other => panic!("{other:?}"),
    })
}

fn decided(condition: &Expression, row: &[Scalar]) -> Result<Option<bool>, Broken> {
    let truth = |value: Scalar| match value {
        Scalar::Boolean(value) => Some(value),
        _ => None,
    };
    let compared = |left: &Expression, op, right: &Expression| {
        let a = in_row(left, row)?;
        // Null is the answer before the other side is asked, but for the comparison that knows null.
        let b = in_row(right, row);
        if a.is_null() && op != Comparison::NullSafeEq && b.is_err() {
            return Ok(None);
        }
        Ok(compare(op, (&a, false), (&b?, false)))
    };
    let any = |answers: Vec<Result<Option<bool>, Broken>>, decisive: bool| {
        if answers.contains(&Ok(Some(decisive))) {
            return Ok(Some(decisive));
        }
        let answers: Vec<Option<bool>> = answers.into_iter().collect::<Result<_, _>>()?;
        Ok(if answers.contains(&None) {
            None
        } else {
            Some(!decisive)
        })
    };
    match condition {
        Expression::And(parts) => any(parts.iter().map(|it| decided(it, row)).collect(), false),
        Expression::Or(parts) => any(parts.iter().map(|it| decided(it, row)).collect(), true),
        Expression::Not(part) => Ok(decided(part, row)?.map(|value| !value)),
        Expression::IsNull(part) => Ok(Some(in_row(part, row)?.is_null())),
        Expression::Compare { left, op, right } => compared(left, *op, right),
        Expression::In { value, list } => any(
            list.iter()
                .map(|item| compared(value, Comparison::Eq, item))
                .collect(),
            true,
        ),
        Expression::Between { value, low, high } => any(
            vec![
                compared(value, Comparison::GtEq, low),
                compared(value, Comparison::LtEq, high),
            ],
            false,
        ),
        value => in_row(value, row).map(truth),
    }
}

/// Wherever in the list it stands, and whether the value is a column or computed.
#[test]
fn what_is_equal_decides_a_list_though_another_part_of_it_has_a_fault() {
    let mut row = vec![Scalar::Null; schema().fields().len()];
    row[4] = Scalar::Long(i64::MAX);
    let rows = batch(&[row]);
    for value in ["big", "big + 0"] {
        let answer = |list: &str| {
            let text = format!("{value} IN ({list})");
            let bound = Expression::parse(&text).unwrap().bind(&schema()).unwrap();
            let array = bound.evaluate(&rows).ok()?;
            Scalar::from_array(array.as_ref(), 0)
        };
        let equal = Some(Scalar::Boolean(true));
        assert_eq!(answer("big - 0, big + 1"), equal, "{value}");
        assert_eq!(answer("big + 1, big - 0"), equal, "{value}");
        assert_eq!(answer("big + 1, big - 1"), None, "{value}: it overflows");
    }
}

/// `ABS(NULL)` is a double, `ABS(CAST(NULL AS BIGINT))` is not: a double knows 2^63 - 1 from 2^63 no more.
#[test]
fn a_null_that_was_cast_keeps_its_type_in_text() {
    let mut row = vec![Scalar::Null; schema().fields().len()];
    row[4] = Scalar::Long(i64::MAX);
    let text = "GREATEST(big, ABS(CAST(NULL AS BIGINT)))";
    let bound = Expression::parse(text).unwrap().bind(&schema()).unwrap();
    let array = bound.evaluate(&batch(&[row])).unwrap();
    assert_eq!(
        Scalar::from_array(array.as_ref(), 0),
        Some(Scalar::Long(i64::MAX))
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..cases() })]

    #[test]
    fn values_are_what_the_interpreter_says(
        expression in prop_oneof![whole(3), text(3), truth(2)],
        rows in rows(),
    ) {
        let bound = expression.bind(&schema()).unwrap();
        let expected: Result<Vec<Scalar>, Broken> = rows.iter().map(|row| in_row(&expression, row)).collect();
        let found = bound.evaluate(&batch(&rows)).ok().map(|array| {
            (0..array.len()).map(|row| Scalar::from_array(array.as_ref(), row).unwrap()).collect::<Vec<_>>()
        });
        prop_assert_eq!(found, expected.ok(), "{}", expression);
    }

    #[test]
    fn computed_text_gives_the_same_values_back(expression in truth(3), rows in rows()) {
        let text = expression.to_string();
        let again = Expression::parse(&text).unwrap();
        let found = |expression: &Expression| {
            expression.bind(&schema()).unwrap().evaluate(&batch(&rows)).ok()
        };
        prop_assert_eq!(found(&again), found(&expression), "{}", text);
    }

    #[test]
    fn skipping_by_computed_conditions_is_sound(condition in truth(1), (rows, told) in file()) {
        let bound = Predicate::from(condition.clone()).bind(&schema()).unwrap();
        let answers: Vec<_> = rows.iter().map(|row| decided(&condition, row)).collect();
        match bound.skip(&told) {
            Skip::Never => prop_assert!(!answers.contains(&Ok(Some(true))), "{}", condition),
            Skip::Always => prop_assert!(answers.iter().all(|it| *it == Ok(Some(true))), "{}", condition),
            Skip::Maybe => {}
        }
    }
}
