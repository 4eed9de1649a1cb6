//! Each rule of PROTOCOL.md, by its section.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{ArrayRef, Date32Array, Int32Array, Int64Array, StringArray};

use super::*;
use crate::error::ErrorKind;
use crate::protocol::json::Json;

/// Noon of 2013-11-30, in milliseconds.
const NOW: i64 = 1_385_812_800_000;

fn field(name: &str, data_type: DataType, notes: &[(&str, &str)]) -> Field {
    let mut field = Field::new(name, data_type, true);
    for (key, text) in notes {
        let json = serde_json::to_string(text).unwrap();
        field
            .metadata
            .insert((*key).to_owned(), Json::parse(&json).unwrap());
    }
    field
}

fn invariant(sql: &str) -> String {
    serde_json::json!({ "expression": { "expression": sql } }).to_string()
}

fn rules(fields: Vec<Field>, constraints: &[(&str, &str)]) -> Result<Rules> {
    let property = |(name, sql): &(&str, &str)| (format!("{CONSTRAINTS}{name}"), (*sql).to_owned());
    let properties = constraints.iter().map(property).collect();
    Rules::of(&Arc::new(Schema::new(fields).unwrap()), &properties, NOW)
}

fn longs(name: &str, values: Vec<Option<i64>>) -> (String, ArrayRef) {
    (name.to_owned(), Arc::new(Int64Array::from(values)))
}

fn batch(columns: Vec<(String, ArrayRef)>) -> RecordBatch {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// The names and the number of rows that a refusal tells, none of the values.
fn refusal(rules: &Rules, batch: &RecordBatch) -> (String, String, String) {
    let error = rules.apply(batch).unwrap_err();
    assert_eq!(error.code(), Code::RowsRejected, "{error:?}");
    assert!(!format!("{error:?}").contains("-77"), "{error:?}");
    let of = |key| error.context_value(key).unwrap_or_default().to_owned();
    (of("constraint"), of("column"), of("rows"))
}

/// CHECK Constraints: must return true for each row; null is not true.
#[test]
fn check_constraints_must_be_true_and_null_is_not() {
    let fields = vec![
        field("A", DataType::LONG, &[]),
        field("b", DataType::LONG, &[]),
    ];
    let rules = rules(
        fields,
        &[
            ("positive", "a > 0 and B is not null"),
            ("sum", "a + b < 100"),
        ],
    );
    let rules = rules.unwrap();
    let good = batch(vec![
        longs("a", vec![Some(1), Some(2)]),
        longs("b", vec![Some(1), Some(9)]),
    ]);
    assert_eq!(rules.apply(&good).unwrap().num_rows(), 2);
    let bad = batch(vec![
        longs("a", vec![Some(1), Some(-77), None]),
        longs("b", vec![Some(1), Some(1), Some(1)]),
    ]);
    let found = refusal(&rules, &bad);
    assert_eq!(
        found,
        ("positive".to_owned(), "A".to_owned(), "2".to_owned())
    );
    let sums = batch(vec![longs("a", vec![Some(99)]), longs("b", vec![Some(5)])]);
    assert_eq!(refusal(&rules, &sums).0, "sum");
    // A column that the rows lack is null, which is not true.
    assert_eq!(
        refusal(&rules, &batch(vec![longs("a", vec![Some(1)])])).0,
        "positive"
    );
    assert_eq!(rules.apply(&good.slice(0, 0)).unwrap().num_rows(), 0);
}

#[test]
fn a_constraint_that_has_no_value_refuses_the_rows() {
    let rules = rules(
        vec![field("a", DataType::LONG, &[])],
        &[("c", "10 / a > 1")],
    )
    .unwrap();
    let zero = batch(vec![longs("a", vec![Some(1), Some(0)])]);
    assert_eq!(
        refusal(&rules, &zero),
        ("c".to_owned(), String::new(), "1".to_owned())
    );
}

/// Column Invariants: false and null abort.
#[test]
fn invariants_must_be_true_and_null_is_not() {
    let notes = invariant("x > 3");
    let rules = rules(
        vec![field("x", DataType::LONG, &[("delta.invariants", &notes)])],
        &[],
    )
    .unwrap();
    assert!(rules.apply(&batch(vec![longs("X", vec![Some(4)])])).is_ok());
    let bad = batch(vec![longs("x", vec![Some(4), Some(-77), None])]);
    assert_eq!(
        refusal(&rules, &bad),
        (String::new(), "x".to_owned(), "2".to_owned())
    );
}

/// Generated Columns: `(value <=> expression) IS TRUE`.
#[test]
fn generated_columns_are_computed_or_must_agree() {
    let generated = [("delta.generationExpression", "a * 2")];
    let mut of_null = field(
        "c",
        DataType::LONG,
        &[("delta.generationExpression", "coalesce(a, 0)")],
    );
    of_null.nullable = false;
    let fields = vec![
        field("a", DataType::LONG, &[]),
        field("g", DataType::INTEGER, &generated),
        of_null,
    ];
    let rules = rules(fields, &[("small", "g IS NULL OR g < 100")]).unwrap();
    let lacking = batch(vec![longs("a", vec![Some(1), None])]);
    let made = rules.apply(&lacking).unwrap();
    let found: Vec<_> = made.column(1).as_primitive::<Int32Type>().iter().collect();
    assert_eq!(found, [Some(2), None]);
    let found: Vec<_> = made.column(2).as_primitive::<Int64Type>().iter().collect();
    assert_eq!(found, [Some(1), Some(0)]);
    let with = |values: Vec<Option<i32>>| {
        let given: ArrayRef = Arc::new(Int32Array::from(values));
        batch(vec![
            longs("a", vec![Some(1), None]),
            ("G".to_owned(), given),
        ])
    };
    assert!(rules.apply(&with(vec![Some(2), None])).is_ok());
    let found = refusal(&rules, &with(vec![Some(-77), Some(1)]));
    assert_eq!(found, (String::new(), "g".to_owned(), "2".to_owned()));
    // What is computed must satisfy the constraints, too, and fit the column.
    let large = batch(vec![longs("a", vec![Some(50)])]);
    assert_eq!(refusal(&rules, &large).0, "small");
    let over = batch(vec![longs("a", vec![Some(1 << 40)])]);
    assert_eq!(refusal(&rules, &over).1, "g");
}

/// Default Columns: only for rows that lack an explicit value, null included.
#[test]
fn defaults_are_for_columns_that_are_not_there() {
    let fields = vec![
        field("a", DataType::LONG, &[]),
        field("k", DataType::INTEGER, &[("CURRENT_DEFAULT", "42")]),
        field(
            "s",
            DataType::STRING,
            &[("CURRENT_DEFAULT", "concat('x', 'y')")],
        ),
        field(
            "d",
            DataType::DATE,
            &[("CURRENT_DEFAULT", "current_date()")],
        ),
        field(
            "g",
            DataType::INTEGER,
            &[("delta.generationExpression", "k + 1")],
        ),
    ];
    let rules = rules(fields, &[]).unwrap();
    let made = rules
        .apply(&batch(vec![longs("a", vec![Some(1), None])]))
        .unwrap();
    assert_eq!(made.column(1).as_ref(), &Int32Array::from(vec![42, 42]));
    assert_eq!(
        made.column(2).as_ref(),
        &StringArray::from(vec!["xy", "xy"])
    );
    assert_eq!(
        made.column(3).as_ref(),
        &Date32Array::from(vec![16_039, 16_039])
    );
    assert_eq!(made.column(4).as_ref(), &Int32Array::from(vec![43, 43]));
    let nulls: ArrayRef = Arc::new(Int32Array::from(vec![None, Some(5)]));
    let given = batch(vec![
        longs("a", vec![Some(1), None]),
        ("K".to_owned(), nulls),
    ]);
    let made = rules.apply(&given).unwrap();
    assert_eq!(
        made.column(1).as_ref(),
        &Int32Array::from(vec![None, Some(5)])
    );
    assert_eq!(
        made.column(4).as_ref(),
        &Int32Array::from(vec![None, Some(6)])
    );
}

#[test]
fn a_default_fills_a_column_that_must_not_be_null() {
    let mut must = field("k", DataType::LONG, &[("CURRENT_DEFAULT", "7")]);
    must.nullable = false;
    let rules = rules(vec![field("a", DataType::LONG, &[]), must], &[]).unwrap();
    let made = rules
        .apply(&batch(vec![longs("a", vec![Some(1)])]))
        .unwrap();
    assert_eq!(made.column(1).as_ref(), &Int64Array::from(vec![7]));
    let null = batch(vec![longs("a", vec![Some(1)]), longs("k", vec![None])]);
    assert_eq!(refusal(&rules, &null).1, "k");
}

#[test]
fn rules_that_cannot_be_obeyed_are_refused_by_name_before_a_row_is_written() {
    let long = |notes: &[(&str, &str)]| vec![field("x", DataType::LONG, notes)];
    let of = |sql: &str| invariant(sql);
    let in_struct = Schema::new(vec![field(
        "y",
        DataType::LONG,
        &[("CURRENT_DEFAULT", "1")],
    )]);
    let in_struct = field("s", DataType::Struct(in_struct.unwrap()), &[]);
    let cases: Vec<(Result<Rules>, &str, &str)> = vec![
        (
            rules(long(&[]), &[("c", "soundex(x) > 1")]),
            "constraint",
            "c",
        ),
        (rules(long(&[]), &[("c", "y > 1")]), "constraint", "c"),
        (rules(long(&[]), &[("c", "x + 1")]), "constraint", "c"),
        (rules(long(&[]), &[("c", "x = \"x\"")]), "constraint", "c"),
        (
            rules(long(&[]), &[("c", "'a\\nb' = 'c'")]),
            "constraint",
            "c",
        ),
        (
            rules(long(&[("delta.invariants", "x > 3")]), &[]),
            "column",
            "x",
        ),
        (
            rules(long(&[("delta.invariants", &of("rand() > 3"))]), &[]),
            "column",
            "x",
        ),
        (
            rules(long(&[("CURRENT_DEFAULT", "'text'")]), &[]),
            "column",
            "x",
        ),
        (
            rules(long(&[("CURRENT_DEFAULT", "x + 1")]), &[]),
            "column",
            "x",
        ),
        (
            rules(long(&[("delta.generationExpression", "uuid()")]), &[]),
            "column",
            "x",
        ),
        (
            rules(long(&[("delta.generationExpression", "day(now())")]), &[]),
            "column",
            "x",
        ),
        (rules(vec![in_struct], &[]), "column", "s.y"),
    ];
    for (found, key, name) in cases {
        let error = found.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert_eq!(error.context_value(key), Some(name), "{error}");
    }
}
