//! SQL text, names and refusals.

use super::*;

fn parsed(sql: &str) -> String {
    Predicate::parse(sql)
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
        .to_string()
}

fn refusal(sql: &str) -> String {
    let error = Predicate::parse(sql)
        .and_then(|predicate| predicate.bind(&schema()))
        .unwrap_err();
    assert_eq!(error.code(), Code::InvalidPredicate, "{sql}");
    error.to_string()
}

#[test]
fn literals_keep_their_types() {
    for (sql, expected) in [
        ("x = 5", lit(5)),
        ("x = -5", lit(-5)),
        ("x = +5", lit(5)),
        ("x = 5L", lit(5_i64)),
        ("x = 3000000000", lit(3_000_000_000_i64)),
        ("x = -9223372036854775808", lit(i64::MIN)),
        ("x = 9223372036854775808", lit(decimal(1 << 63, 19, 0))),
        ("x = 1.50", lit(decimal(150, 3, 2))),
        ("x = .5", lit(decimal(5, 1, 1))),
        ("x = -0.05", lit(decimal(-5, 2, 2))),
        ("x = 15e-1", lit(1.5)),
        ("x = -1E3", lit(-1000.0)),
        ("x = 'it''s'", lit("it's")),
        ("x = X'00fF'", lit(vec![0_u8, 255])),
        ("x = TRUE", lit(true)),
        ("x = NULL", lit(Scalar::Null)),
        ("x = DATE '2013-06-30'", lit(Scalar::Date(15_886))),
        (
            "x = TIMESTAMP '1970-01-01T00:00:01Z'",
            lit(Scalar::Timestamp(1_000_000)),
        ),
        (
            "x = TIMESTAMP '1970-01-01 01:00:00+01:00'",
            lit(Scalar::Timestamp(0)),
        ),
        (
            "x = TIMESTAMP_NTZ '1970-01-01 00:00:00.000001'",
            lit(Scalar::TimestampNtz(1)),
        ),
        ("x = CAST(5 AS TINYINT)", lit(5_i8)),
        ("x = smallint('5')", lit(5_i16)),
        ("x = CAST('-Infinity' AS DOUBLE)", lit(f64::NEG_INFINITY)),
        ("x = float('0.1')", lit(0.1_f32)),
        ("x = CAST(1 AS DECIMAL(10,2))", lit(decimal(100, 10, 2))),
        (
            "x = CAST(NULL AS INT)",
            lit(Scalar::Null).cast(PrimitiveType::Integer),
        ),
    ] {
        assert_eq!(
            Predicate::parse(sql).unwrap(),
            col("x").eq(expected),
            "{sql}"
        );
    }
    let Expression::Compare { right, .. } = Predicate::parse("x = double('NaN')").unwrap().into()
    else {
        panic!("no comparison")
    };
    assert!(matches!(*right, Expression::Literal(Scalar::Double(value)) if value.is_nan()));
}

#[test]
fn operators_bind_as_in_sql() {
    assert_eq!(
        parsed("a = 1 or b = 2 and not c = 3"),
        "a = 1 OR (b = 2 AND NOT (c = 3))"
    );
    assert_eq!(
        parsed("(a = 1 OR b == 2) AND c != 3"),
        "(a = 1 OR b = 2) AND c <> 3"
    );
    assert_eq!(
        parsed("a = 1 AND (b = 2 AND c = 3)"),
        "a = 1 AND b = 2 AND c = 3"
    );
    assert_eq!(parsed("x not in (1, -2)"), "x NOT IN (1, -2)");
    assert_eq!(parsed("x between 1 and 2 and y"), "x BETWEEN 1 AND 2 AND y");
    assert_eq!(parsed("x is distinct from 5"), "NOT (x <=> 5)");
    assert_eq!(parsed("x is not distinct from 5"), "x <=> 5");
    assert_eq!(parsed("(x > 5) is not true"), "NOT ((x > 5) IS TRUE)");
    assert_eq!(parsed("(x > 5) is unknown"), "(x > 5) IS NULL");
    assert_eq!(parsed("x like 'a!%%' escape '!'"), "x LIKE 'a\\%%'");
    assert_eq!(parsed("not flag"), "NOT flag");
    assert_eq!(parsed("x IN ()"), "x IN ()");
}

#[test]
fn names_are_found_without_regard_to_case() {
    for (sql, path) in [
        ("WHOLE > 1", vec!["whole"]),
        ("`a NAME` = 'x'", vec!["A Name"]),
        ("\"A Name\" = 'x'", vec!["A Name"]),
        ("In.`X.Y` = 1", vec!["in", "x.y"]),
        ("`in`.t = 'x'", vec!["in", "t"]),
        ("day > '2013-01-01'", vec!["day"]),
        ("at IS NULL", vec!["at"]),
    ] {
        let bound = Predicate::parse(sql).unwrap().bind(&schema()).unwrap();
        assert_eq!(bound.columns().len(), 1, "{sql}");
        assert_eq!(bound.columns()[0].path, path, "{sql}");
    }
    let twice = col("whole")
        .gt(1)
        .and(col("WHOLE").lt(9))
        .bind(&schema())
        .unwrap();
    assert_eq!(twice.columns().len(), 1);
}

#[test]
fn odd_names_survive_their_text() {
    for name in [
        "a b", "a.b", "a`b", "select", "\u{e9}", "1a", "", "'", "\"", "date", "--", "a\nb",
    ] {
        let predicate = Expression::Column(vec![name.to_owned(), "x".to_owned()]).is_null();
        let text = predicate.to_string();
        // No schema has an empty name.
        if !name.is_empty() {
            assert_eq!(Predicate::parse(&text).unwrap(), predicate, "{text}");
        }
    }
}

#[test]
fn nonsense_is_refused_by_name() {
    for (sql, word) in [
        ("nowhere = 1", "nowhere"),
        ("whole.x = 1", "whole.x"),
        ("in.nowhere = 1", "nowhere"),
        ("whole = \"text\"", "text"),
        ("whole = 'text'", "integer"),
        ("`A Name` = 5", "string"),
        ("day = 'June'", "date"),
        ("flag = 1", "boolean"),
        ("whole = day", "date"),
        ("whole", "boolean"),
        ("5", "condition"),
        ("tags = 'x'", "null only"),
        ("in = 1", "null only"),
        ("whole LIKE 'a%'", "text only"),
        ("`A Name` LIKE 'a\\b'", "backslash"),
        ("whole = 'x' OR TRUE", "integer"),
        ("(whole > 1) = 1", "boolean"),
        ("whole + day > 2", "+"),
        ("whole + 1", "no condition"),
        ("initcap(`A Name`) = 'x'", "initcap"),
        ("CASE WHEN whole THEN TRUE END", "integer"),
        ("CASE WHEN flag THEN 1 ELSE 'a' END = 1", "CASE"),
        ("lower(`A Name`, 'x') = 'x'", "arguments"),
        ("date_format(day, 'EEE') = 'Mon'", "'E'"),
        ("date_trunc('decade', day) = day", "DATE_TRUNC"),
        ("current_date() = day", "CURRENT_DATE"),
        ("trim(both 'x' from `A Name`) = ''", "TRIM"),
        ("-flag = 1", "sign"),
        ("coalesce(whole, 'none') = 1", "COALESCE"),
        ("lower(bytes) = 'x'", "binary"),
        ("whole + 1 = 'x'", "cannot be compared"),
        ("whole IN (SELECT 1)", "subquery"),
        ("CAST(day AS INT) = 1", "cast"),
        ("`A Name` ILIKE 'x'", "ILIKE"),
        ("tags[0] = 'x'", "element"),
        ("whole = ?", "placeholder"),
        ("rand() < 0.5", "rand"),
        ("1 = 'x'", "order"),
        ("DATE 'June' = day", "date"),
        ("whole = 1e999", "range"),
        (
            "wide = 123456789012345678901234567890123456789",
            "38 digits",
        ),
        ("whole = 300 AND tiny = CAST(300 AS TINYINT)", "byte"),
        ("whole = X'0'", "hex"),
        ("`A Name` = STRING 5", "quotes"),
        ("day = DATE NULL", "quotes"),
        ("TRY_CAST(`A Name` AS INT) = 1", "gives null"),
        ("SAFE_CAST(`A Name` AS INT) = 1", "gives null"),
        ("whole = 1 whole", "goes on"),
        ("whole = ", "SQL"),
        ("'open", "SQL"),
        ("", "SQL"),
        ("whole = 1; DROP TABLE t", "goes on"),
    ] {
        let message = refusal(sql);
        assert!(message.contains(word), "{sql}: {message}");
    }
}

/// States of feeds keep predicates as text: what was accepted once must be accepted when it is read back.
#[test]
fn what_is_read_can_be_written_and_read_again_however_deep() {
    let (mut accepted, mut refused) = (0, 0);
    // Half of the stack that threads have unless they are told otherwise.
    let small = std::thread::Builder::new().stack_size(1 << 20);
    let check = move || {
        for (start, open, close) in [
            ("big", "(", ")"),
            ("big = 1", "NOT ", ""),
            ("big = 1", "NOT (", ")"),
            ("big", "-", ""),
            ("big", "- ", ""),
            ("big", "-(", ")"),
            ("big", "abs(", ")"),
            ("big", "CAST(", " AS BIGINT)"),
            ("big", "", " + 1"),
            ("big", "1 - (", ")"),
            ("big", "", " = 1"),
            ("flag", "flag = ", ""),
            ("flag", "", " IS NULL"),
            ("flag", "", " IS NOT TRUE"),
            ("flag", "(flag AND ", " OR flag)"),
            ("big", "", " IN (1, 2)"),
            ("big", "", " BETWEEN 1 AND 2"),
            ("big", "CASE WHEN flag THEN ", " ELSE 2 END"),
            ("big = 1", "CASE WHEN ", " THEN flag END"),
            ("flag", "coalesce(flag, ", ")"),
        ] {
            for times in 1..120 {
                let text = format!("{}{start}{}", open.repeat(times), close.repeat(times));
                let Ok(predicate) = Predicate::parse(&text) else {
                    refused += 1;
                    continue;
                };
                accepted += 1;
                let written = predicate.to_string();
                let again =
                    Predicate::parse(&written).unwrap_or_else(|error| panic!("{text}: {error}"));
                assert_eq!(again, predicate, "{text}");
            }
        }
        assert!(600 < accepted && 600 < refused, "{accepted} {refused}");
    };
    small.spawn(check).unwrap().join().unwrap();
}

#[test]
fn deep_and_long_texts_are_refused_not_overflown() {
    let deep = |open: &str, close: &str, times| {
        format!("{}flag{}", open.repeat(times), close.repeat(times))
    };
    assert!(Predicate::parse(&deep("(", ")", 10)).is_ok());
    refusal(&deep("(", ")", 100_000));
    refusal(&deep("NOT ", "", 100_000));
    refusal(&deep("NOT (", ")", 10_000));
    refusal(&deep("", " IS NULL", 900));
    refusal(&deep("", " IS NULL", 100_000));
    refusal(&deep("", " + 1", 1_900));
    refusal(&deep("", " + 1", 200_000));
    refusal(&deep("- ", "", 100_000));
    refusal(&format!("'{}' = `A Name`", "x".repeat(2 << 20)));
}

#[test]
fn long_lists_and_chains_are_fine() {
    let list: Vec<String> = (0..50_000).map(|number| (-number).to_string()).collect();
    let predicate = Predicate::parse(&format!("whole IN ({})", list.join(", "))).unwrap();
    predicate.bind(&schema()).unwrap();
    let chain: Vec<String> = (0..900).map(|number| format!("whole = {number}")).collect();
    let chain = Predicate::parse(&chain.join(" OR ")).unwrap();
    chain.bind(&schema()).unwrap();
    let built = (0..5_000).fold(col("whole").eq(0), |all, number| {
        all.or(col("whole").eq(number))
    });
    assert!(matches!(built.expression(), Expression::Or(parts) if parts.len() == 5_001));
    built.bind(&schema()).unwrap();
}

#[test]
fn nested_and_void_columns_can_be_tested_for_null() {
    let bound = col("tags").is_not_null().bind(&schema()).unwrap();
    assert_eq!(
        bound.columns()[0].data_type,
        PrimitiveType::Unknown("array<string>".to_owned())
    );
    let rows = batch(&[vec![Scalar::Null; columns().len()]]);
    assert!(
        bound
            .evaluate(&rows)
            .unwrap_err()
            .to_string()
            .contains("tags")
    );
    let mask = |sql: &str| {
        Predicate::parse(sql)
            .unwrap()
            .bind(&schema())
            .unwrap()
            .evaluate(&rows)
            .unwrap()
    };
    assert_eq!(mask("in IS NULL").iter().collect::<Vec<_>>(), [Some(true)]);
    assert_eq!(
        mask("nothing IS NULL").iter().collect::<Vec<_>>(),
        [Some(true)]
    );
    assert_eq!(mask("nothing = 5").iter().collect::<Vec<_>>(), [None]);
}

#[test]
fn batches_of_other_layouts_are_read_too() {
    use arrow_array::{Int64Array, StringViewArray, TimestampNanosecondArray};
    let fields = vec![
        ArrowField::new(
            "AT",
            ArrowType::Timestamp(arrow_schema::TimeUnit::Nanosecond, None),
            true,
        ),
        ArrowField::new("a name", ArrowType::Utf8View, true),
        ArrowField::new("big", ArrowType::Int64, true),
    ];
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(TimestampNanosecondArray::from(vec![
            Some(-1),
            Some(1_500),
            None,
        ])),
        Arc::new(StringViewArray::from(vec![Some("abc"), None, Some("b")])),
        Arc::new(Int64Array::from(vec![1, 2, 3])),
    ];
    let batch = RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), arrays).unwrap();
    let mask = |predicate: Predicate| {
        let mask = predicate.bind(&schema()).unwrap().evaluate(&batch).unwrap();
        mask.iter().collect::<Vec<_>>()
    };
    let none: Option<bool> = None;
    assert_eq!(
        mask(col("at").lt(Scalar::Timestamp(0))),
        [Some(true), Some(false), none]
    );
    assert_eq!(
        mask(col("at").eq(Scalar::Timestamp(1))),
        [Some(false), Some(true), none]
    );
    assert_eq!(
        mask(col("`A Name`").starts_with("a")),
        [Some(true), none, Some(false)]
    );
    assert_eq!(
        mask(!col("big").between(2, 3)),
        [Some(true), Some(false), Some(false)]
    );
}
