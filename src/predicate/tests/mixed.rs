//! Numbers beside floats: Spark takes both sides as doubles, and many numbers share one.

use super::bounds::{Told, file_of_all};
use super::*;

/// Numbers of one column, close to where doubles cannot tell them apart.
fn near(name: &str) -> Vec<Scalar> {
    const EDGE: i64 = 1 << 53;
    match name {
        "big" => [
            EDGE - 1,
            EDGE,
            EDGE + 1,
            EDGE + 2,
            EDGE + 3,
            i64::MAX - 1,
            i64::MAX,
            i64::MIN + 1,
        ]
        .map(Scalar::from)
        .to_vec(),
        "price" => [-1, 0, 9, 10, 11, 30]
            .map(|unscaled| decimal(unscaled, 10, 2))
            .to_vec(),
        // 38 digits, ten of them after the point.
        "wide" => {
            let edge = i128::from(EDGE) * 10_i128.pow(10);
            let tenth = 10_i128.pow(9);
            [edge - 1, edge, edge + 1, edge + tenth, tenth, 3 * tenth]
                .map(|unscaled| decimal(unscaled, 38, 10))
                .to_vec()
        }
        "single" => [0.1, 0.3, f32::NAN, 9_007_199_254_740_992.0, -0.0]
            .map(Scalar::from)
            .to_vec(),
        _ => {
            let edge = 2_f64.powi(53);
            [
                0.1,
                0.3,
                f64::from(0.1_f32),
                edge,
                edge + 2.0,
                edge + 4.0,
                2_f64.powi(63),
                -2_f64.powi(63),
                f64::NAN,
                f64::NEG_INFINITY,
            ]
            .map(Scalar::from)
            .to_vec()
        }
    }
}

const NUMBERS: [&str; 5] = ["big", "price", "wide", "single", "double"];

fn mixed_rows() -> impl Strategy<Value = Vec<Row>> {
    let cells: Vec<_> = columns()
        .into_iter()
        .map(|(path, _)| match NUMBERS.contains(&path[0]) {
            true => prop_oneof![1 => Just(Scalar::Null), 6 => select(near(path[0]))].boxed(),
            false => Just(Scalar::Null).boxed(),
        })
        .collect();
    prop::collection::vec(cells, 0..4)
}

fn side(literals: bool) -> BoxedStrategy<Expression> {
    let column = select(NUMBERS.to_vec()).prop_map(col);
    if !literals {
        return column.boxed();
    }
    let literal = select(NUMBERS.to_vec()).prop_flat_map(|name| select(near(name)).prop_map(lit));
    prop_oneof![1 => column, 2 => literal].boxed()
}

fn mixed() -> impl Strategy<Value = Predicate> {
    let op = select(vec![
        Comparison::Eq,
        Comparison::NotEq,
        Comparison::Lt,
        Comparison::LtEq,
        Comparison::Gt,
        Comparison::GtEq,
        Comparison::NullSafeEq,
    ]);
    let list = prop::collection::vec(side(true), 1..4);
    prop_oneof![
        3 => (side(false), op.clone(), side(true))
            .prop_map(|(left, op, right)| left.compare(op, right)),
        1 => (side(true), op, side(false)).prop_map(|(left, op, right)| left.compare(op, right)),
        1 => (side(false), side(true), side(true))
            .prop_map(|(value, low, high)| value.between(low, high)),
        1 => (side(false), list).prop_map(|(value, list)| value.is_in(list)),
    ]
}

/// The same comparison with sides that are computed: nothing is gained from bounds, and the answers are the same.
fn computed(predicate: &Predicate) -> Option<Predicate> {
    match predicate.expression() {
        Expression::Compare { left, op, right } => {
            let one = |side: &Expression| Expression::coalesce([side.clone()]);
            Some(one(left).compare(*op, one(right)))
        }
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8_000, ..cases() })]

    #[test]
    fn numbers_beside_floats_are_doubles_in_every_row(predicate in mixed(), rows in mixed_rows()) {
        let expected: Vec<_> = rows.iter().map(|row| interpret(predicate.expression(), row)).collect();
        let mask = |predicate: &Predicate| -> Vec<Option<bool>> {
            let bound = predicate.bind(&schema()).unwrap();
            bound.evaluate(&batch(&rows)).unwrap().iter().collect()
        };
        prop_assert_eq!(mask(&predicate), expected.clone(), "{}", predicate);
        if let Some(computed) = computed(&predicate) {
            prop_assert_eq!(mask(&computed), expected, "{}", computed);
        }
    }

    #[test]
    fn pruning_by_numbers_beside_floats_is_sound(predicate in mixed(), rows in mixed_rows(), way in 0_u8..8) {
        let told: Told = file_of_all(&rows, way);
        let answers: Vec<_> = rows.iter().map(|row| interpret(predicate.expression(), row)).collect();
        let skip = predicate.bind(&schema()).unwrap().skip(&told);
        let hits = answers.iter().filter(|answer| **answer == Some(true)).count();
        prop_assert!(skip != Skip::Never || hits == 0, "{} lost rows", predicate);
        prop_assert!(skip != Skip::Always || hits == rows.len(), "{} has too many rows", predicate);
    }
}

#[test]
fn a_price_equals_the_double_that_was_paid() {
    let schema = schema();
    let mask = |sql: &str, row: &[(&str, Scalar)]| {
        let cells = columns().into_iter().map(|(path, _)| {
            let given = row.iter().find(|(name, _)| path == [*name]);
            given.map_or(Scalar::Null, |(_, value)| value.clone())
        });
        let bound = Predicate::parse(sql).unwrap().bind(&schema).unwrap();
        bound.evaluate(&batch(&[cells.collect()])).unwrap().value(0)
    };
    let paid = [
        ("price", decimal(10, 10, 2)),
        ("double", Scalar::Double(0.1)),
    ];
    assert!(mask("price = double", &paid));
    assert!(mask("price + 0.00 = double", &paid));
    assert!(!mask("price < double", &paid));
    let large = [
        ("big", Scalar::Long((1 << 53) + 1)),
        ("double", Scalar::Double(2_f64.powi(53))),
        ("single", Scalar::Float(0.1)),
    ];
    assert!(mask("big = double", &large));
    assert!(mask("big = 9007199254740992e0", &large));
    assert!(mask("big IN (1, 9007199254740992e0)", &large));
    assert!(!mask("big > 9007199254740992e0", &large));
    assert!(mask("double = 9007199254740993", &large));
    // A tenth in 32 bits is another double than a tenth.
    assert!(mask("single > 0.1", &large));
}
