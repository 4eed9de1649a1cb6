//! What expressions come to: values worked out by hand, and an interpreter of one row.

use super::*;
use crate::predicate::Function;

/// The value of an expression in a single row.
fn value_in(sql: &str, row: &[Scalar]) -> Result<Scalar, String> {
    let bound = Expression::parse(sql)
        .and_then(|expression| expression.bind(&schema()))
        .map_err(|error| error.to_string())?;
    let array = bound
        .evaluate(&batch(&[row.to_vec()]))
        .map_err(|error| error.to_string())?;
    assert_eq!(*array.data_type(), bound.data_type().to_arrow().unwrap());
    Ok(Scalar::from_array(array.as_ref(), 0).unwrap())
}

fn nothing() -> Row {
    vec![Scalar::Null; columns().len()]
}

/// A row with these values, by the names of the columns.
fn row(values: &[(&str, Scalar)]) -> Row {
    let mut row = nothing();
    for (name, value) in values {
        let place = columns().iter().position(|(path, _)| path == &[*name]);
        row[place.unwrap()] = value.clone();
    }
    row
}

fn date(text: &str) -> Scalar {
    Scalar::from_partition_value(Some(text), &PrimitiveType::Date).unwrap()
}

fn time(text: &str) -> Scalar {
    Scalar::from_partition_value(Some(text), &PrimitiveType::Timestamp).unwrap()
}

#[test]
fn numbers_are_reckoned_as_in_spark() {
    for (sql, expected) in [
        ("1 + 2", lit(3)),
        ("7 - 10", lit(-3)),
        ("1 + 2L", lit(3_i64)),
        ("7 / 2", lit(3.5)),
        ("-7 % 3", lit(-1)),
        ("mod(7, -3)", lit(1)),
        ("2 + 3 * 4", lit(14)),
        ("(2 + 3) * 4", lit(20)),
        ("10 - 4 - 3", lit(3)),
        ("-(3)", lit(-3)),
        ("- -3", lit(3)),
        ("CAST(100 AS TINYINT) + 1", lit(101)),
        ("1.5 + 1.25", lit(decimal(275, 4, 2))),
        ("1.5 * 1.25", lit(decimal(1875, 6, 3))),
        ("1.5 + 1", lit(decimal(25, 3, 1))),
        ("1.0 / 3.0", lit(decimal(333_333, 8, 6))),
        ("2.0 / 3.0", lit(decimal(666_667, 8, 6))),
        ("-2.0 / 3.0", lit(decimal(-666_667, 8, 6))),
        ("7.5 % 2", lit(decimal(15, 2, 1))),
        ("1.5 + 1e0", lit(2.5)),
        ("CAST(1 AS FLOAT) + 2", lit(3.0)),
        ("abs(-5)", lit(5)),
        ("abs(-5.5)", lit(decimal(55, 2, 1))),
        ("ceil(1.2e0)", lit(2_i64)),
        ("ceil(-1.2)", lit(decimal(-1, 2, 0))),
        ("floor(-1.2)", lit(decimal(-2, 2, 0))),
        ("floor(-1.2e0)", lit(-2_i64)),
        ("ceiling(5)", lit(5_i64)),
        ("round(2.5)", lit(decimal(3, 2, 0))),
        ("round(-2.5e0)", lit(-3.0)),
        ("round(2.345, 2)", lit(decimal(235, 4, 2))),
        ("round(1.005e0, 2)", lit(1.01)),
        ("round(12345, -2)", lit(12_300)),
        ("round(15, -1)", lit(20)),
        ("greatest(1, NULL, 3L)", lit(3_i64)),
        ("least(1.5, 2)", lit(decimal(15, 11, 1))),
        ("CAST(2.9e0 AS INT)", lit(2)),
        ("CAST(-2.9e0 AS INT)", lit(-2)),
        ("CAST(2.95 AS DECIMAL(2,1))", lit(decimal(30, 2, 1))),
        ("CAST(0.1e0 AS DECIMAL(3,2))", lit(decimal(10, 3, 2))),
        ("CAST(' 12 ' AS INT)", lit(12)),
        ("CAST(1 AS BOOLEAN)", lit(true)),
        ("CAST(TRUE AS INT)", lit(1)),
        ("bigint(5) * 2", lit(10_i64)),
        // What exceeds 64 bits is the last of them; what is no number is 0.
        ("ceil(1e30)", lit(i64::MAX)),
        ("floor(-1e30)", lit(i64::MIN)),
        ("floor(double('NaN'))", lit(0_i64)),
        // A float counts with its value, not with the digits that stand for it.
        (
            "CAST(CAST('0.1' AS FLOAT) AS DOUBLE)",
            lit(f64::from(0.1_f32)),
        ),
        (
            "CAST(CAST('0.1' AS FLOAT) AS DECIMAL(10,9))",
            lit(decimal(100_000_001, 10, 9)),
        ),
    ] {
        let Expression::Literal(expected) = expected else {
            panic!()
        };
        assert_eq!(value_in(sql, &nothing()).as_ref(), Ok(&expected), "{sql}");
    }
}

/// Spark makes a double of a float before it makes a decimal of it, in a cast as in rounding.
#[test]
fn floats_are_doubles_before_they_are_decimals() {
    let tenth = row(&[("single", Scalar::Float(0.1))]);
    assert_eq!(
        value_in("CAST(single AS DECIMAL(20,17))", &tenth),
        Ok(decimal(10_000_000_149_011_612, 20, 17))
    );
    assert_eq!(
        value_in("CAST(single AS DECIMAL(10,2))", &tenth),
        Ok(decimal(10, 10, 2))
    );
    // 1.005 in 32 bits is less than it says.
    let near = row(&[("single", Scalar::Float(1.005))]);
    assert_eq!(value_in("round(single, 2)", &near), Ok(Scalar::Float(1.0)));
}

#[test]
fn texts_are_made_as_in_spark() {
    for (sql, expected) in [
        ("'a' || 'b' || 'c'", "abc"),
        ("concat('n', 5, TRUE, 1.50)", "n5true1.50"),
        ("upper('a\u{e9}')", "A\u{c9}"),
        ("lower('AB')", "ab"),
        ("trim('  a b ')", "a b"),
        ("ltrim('  a ')", "a "),
        ("rtrim(' a  ')", " a"),
        ("substring('Spark SQL', 5)", "k SQL"),
        ("substring('Spark SQL', -3)", "SQL"),
        ("substring('Spark SQL', 5, 1)", "k"),
        ("substr('abc', 0, 2)", "ab"),
        ("substring('abc', -5, 3)", "a"),
        ("substring('abc' FROM 2 FOR 1)", "b"),
        ("substring('abc', 2, -1)", ""),
        ("left('abc', 2)", "ab"),
        ("left('abc', -2)", ""),
        ("right('abc', 2)", "bc"),
        ("right('abc', 9)", "abc"),
        ("replace('abcabc', 'b', 'X')", "aXcaXc"),
        ("replace('abc', 'b')", "ac"),
        ("replace('abc', '', 'x')", "abc"),
        ("CAST(1.0e0 AS STRING)", "1.0"),
        ("CAST(1e20 AS STRING)", "1.0E20"),
        ("CAST(DATE '2013-06-30' AS STRING)", "2013-06-30"),
        (
            "CAST(TIMESTAMP '2013-06-30T12:00:00.5Z' AS STRING)",
            "2013-06-30 12:00:00.5",
        ),
        ("date_format(DATE '2013-06-03', 'yyyy/MM/dd')", "2013/06/03"),
        (
            "date_format(TIMESTAMP '2013-06-03T07:08:09.123Z', 'yy-M-d H:m:s.SSS')",
            "13-6-3 7:8:9.123",
        ),
        (
            "date_format(TIMESTAMP '2013-06-03T17:08:09Z', \"yyyy'T'HHmmss\")",
            "2013T170809",
        ),
        ("coalesce(NULL, 'x', 'y')", "x"),
        ("nvl(NULL, 'z')", "z"),
        ("if(1 > 2, 'a', 'b')", "b"),
        ("CASE 2 WHEN 1 THEN 'one' WHEN 2 THEN 'two' END", "two"),
        ("CASE WHEN NULL THEN 'a' ELSE 'b' END", "b"),
    ] {
        let sql = sql
            .replace('"', "'")
            .replace("'yyyy'T'HHmmss'", "'yyyy''T''HHmmss'");
        assert_eq!(
            value_in(&sql, &nothing()),
            Ok(Scalar::from(expected)),
            "{sql}"
        );
    }
    for (sql, expected) in [
        ("length('a\u{1f600}')", lit(2)),
        ("char_length('')", lit(0)),
        ("startswith('abc', 'ab')", lit(true)),
        ("endswith('abc', 'ab')", lit(false)),
        ("contains('abc', 'b')", lit(true)),
        ("nullif(1, 1)", lit(Scalar::Null)),
        ("nullif(1, 2)", lit(1)),
        ("'a' || NULL", lit(Scalar::Null)),
        ("CASE 5 WHEN 1 THEN 1 END", lit(Scalar::Null)),
        ("(1 > 2) = FALSE", lit(true)),
    ] {
        let Expression::Literal(expected) = expected else {
            panic!()
        };
        assert_eq!(value_in(sql, &nothing()), Ok(expected), "{sql}");
    }
}

#[test]
fn days_and_times_are_taken_apart_as_in_spark() {
    let at = "TIMESTAMP '2013-11-30T23:59:58.5Z'";
    for (sql, expected) in [
        ("year($)", lit(2013)),
        ("quarter($)", lit(4)),
        ("month($)", lit(11)),
        ("day($)", lit(30)),
        ("dayofmonth($)", lit(30)),
        ("dayofweek($)", lit(7)),
        ("dayofyear($)", lit(334)),
        ("hour($)", lit(23)),
        ("minute($)", lit(59)),
        ("second($)", lit(58)),
        ("extract(month from $)", lit(11)),
        ("CAST($ AS DATE)", lit(date("2013-11-30"))),
        ("to_date('2013-11-30')", lit(date("2013-11-30"))),
        (
            "to_date('30.11.2013', 'dd.MM.yyyy')",
            lit(date("2013-11-30")),
        ),
        ("date_add(DATE '2013-11-30', 1)", lit(date("2013-12-01"))),
        ("date_sub('2013-12-01', 1)", lit(date("2013-11-30"))),
        ("datediff(DATE '2013-12-01', $)", lit(1)),
        ("trunc($, 'MM')", lit(date("2013-11-01"))),
        ("trunc($, 'quarter')", lit(date("2013-10-01"))),
        ("trunc($, 'year')", lit(date("2013-01-01"))),
        ("trunc($, 'week')", lit(date("2013-11-25"))),
        ("date_trunc('hour', $)", lit(time("2013-11-30T23:00:00Z"))),
        ("date_trunc('MONTH', $)", lit(time("2013-11-01T00:00:00Z"))),
        (
            "date_trunc('week', TIMESTAMP '1969-12-31T12:00:00Z')",
            lit(time("1969-12-29T00:00:00Z")),
        ),
        ("year(TIMESTAMP '1969-12-31T23:59:59Z')", lit(1969)),
        ("hour(TIMESTAMP '1969-12-31T23:59:59Z')", lit(23)),
        ("CAST($ AS BIGINT)", lit(1_385_855_998_i64)),
        (
            "CAST('2013-11-30 01:02:03' AS TIMESTAMP)",
            lit(time("2013-11-30T01:02:03Z")),
        ),
    ] {
        let Expression::Literal(expected) = expected else {
            panic!()
        };
        let sql = sql.replace('$', at);
        assert_eq!(value_in(&sql, &nothing()), Ok(expected), "{sql}");
    }
}

#[test]
fn what_has_no_value_is_an_error_that_counts_rows_and_shows_none() {
    let secret = 1_234_567_890;
    let rows = row(&[
        ("whole", Scalar::Integer(secret)),
        ("big", Scalar::Long(i64::MAX)),
        ("tiny", Scalar::Byte(0)),
        ("A Name", Scalar::from("hunter2")),
        ("double", Scalar::Double(f64::NAN)),
    ]);
    for (sql, word) in [
        ("whole + whole", "range"),
        ("whole * 2", "range"),
        ("big + 1", "range"),
        ("-(big) - 2", "range"),
        ("whole / tiny", "zero"),
        ("whole % tiny", "zero"),
        ("1.5 / tiny", "zero"),
        ("double / 0", "zero"),
        ("CAST(whole AS SMALLINT)", "range"),
        ("CAST(whole AS DECIMAL(3,0))", "range"),
        ("CAST(double AS INT)", "range"),
        ("CAST(`A Name` AS INT)", "text"),
        ("CAST(`A Name` AS DATE)", "text"),
        ("CAST(`A Name` AS BOOLEAN)", "text"),
        ("to_date(`A Name`, 'yyyy')", "text"),
    ] {
        let message = value_in(sql, &rows).unwrap_err();
        assert!(
            message.contains(word) && message.contains("rows: 1"),
            "{sql}: {message}"
        );
        assert!(
            !message.contains("hunter2") && !message.contains("1234567890"),
            "{message}"
        );
    }
}

#[test]
fn days_and_times_in_one_list_are_compared_as_times() {
    let rows = row(&[("day", date("2013-11-30"))]);
    for (sql, expected) in [
        (
            "date_add(day, 1) IN (DATE '2013-12-01', TIMESTAMP '2014-01-01T00:00:00Z')",
            true,
        ),
        (
            "date_add(day, 1) IN (TIMESTAMP '2014-01-01T00:00:00Z', DATE '2013-12-01')",
            true,
        ),
        (
            "date_add(day, 1) BETWEEN DATE '2013-12-01' AND TIMESTAMP '2013-12-01T00:00:00Z'",
            true,
        ),
        (
            "CASE date_add(day, 1) WHEN DATE '2013-12-01' THEN TRUE WHEN TIMESTAMP '2014-01-01T00:00:00Z' THEN FALSE END",
            true,
        ),
    ] {
        assert_eq!(value_in(sql, &rows), Ok(Scalar::Boolean(expected)), "{sql}");
    }
}

#[test]
fn what_need_not_be_evaluated_spoils_nothing() {
    let rows = row(&[("whole", Scalar::Integer(0)), ("big", Scalar::Long(5))]);
    for (sql, expected) in [
        (
            "CASE WHEN whole = 0 THEN -1e0 ELSE big / whole END",
            lit(-1.0),
        ),
        ("if(whole <> 0, big / whole, 0e0)", lit(0.0)),
        ("coalesce(big, big % whole)", lit(5_i64)),
        ("whole <> 0 AND big / whole > 1", lit(false)),
        ("whole = 0 OR big / whole > 1", lit(true)),
        ("NOT (whole <> 0 AND big / whole > 1)", lit(true)),
        ("5 IN (big, big / whole)", lit(true)),
    ] {
        let Expression::Literal(expected) = expected else {
            panic!()
        };
        assert_eq!(value_in(sql, &rows), Ok(expected), "{sql}");
    }
    assert!(value_in("(big / whole > 1) IS NULL", &rows).is_err());
    assert!(value_in("big / whole > 1 AND whole = 0", &rows).is_err());
}

#[test]
fn text_gives_the_same_expression_back() {
    for sql in [
        "a + b * c - d",
        "(a + b) * c",
        "a - (b - c)",
        "a / (b * c) % d",
        "-(a) + -(b * 2)",
        "CASE WHEN a > 1 AND b THEN 'x' ELSE NULL END",
        "CASE a + 1 WHEN 2 THEN b END",
        "CAST(a AS DECIMAL(10,2))",
        "CAST(CAST(a AS TINYINT) AS TIMESTAMP_NTZ)",
        "CONCAT(CONCAT(a, '-'), CAST(b AS STRING))",
        "COALESCE(a, b, 0)",
        "a + 1 > b AND LENGTH(c) < 5",
        "(a + 1) IN (b, 2, -3)",
        "(a + 1) BETWEEN 1 AND b",
        "LOWER(a) LIKE 'x%'",
        "LEFT(a, 2) IS NOT NULL",
        "CURRENT_TIMESTAMP() > a",
        "DATE_TRUNC('MONTH', a) = b",
    ] {
        let parsed = Expression::parse(sql).unwrap();
        let text = parsed.to_string();
        assert_eq!(Expression::parse(&text).unwrap(), parsed, "{sql}: {text}");
    }
    assert_eq!(
        Expression::parse("a || '-' || b").unwrap().to_string(),
        "CONCAT(CONCAT(a, '-'), b)"
    );
    assert_eq!(
        Expression::parse("MOD(a, 2) + 1").unwrap(),
        col("a") % 2 + 1
    );
    for name in Function::ALL {
        assert_eq!(Function::named(&name.name().to_lowercase()), Some(*name));
    }
}

#[test]
fn a_statement_has_one_time() {
    let at = 1_385_855_998_500_000;
    for (sql, expected) in [
        ("current_timestamp()", Scalar::Timestamp(at)),
        ("now()", Scalar::Timestamp(at)),
        ("CURRENT_TIMESTAMP", Scalar::Timestamp(at)),
        ("current_date", date("2013-11-30")),
        ("date_add(current_date(), 1)", date("2013-12-01")),
        (
            "CASE WHEN now() IS NULL THEN 1 ELSE year(now()) END",
            Scalar::Integer(2013),
        ),
    ] {
        let expression = Expression::parse(sql).unwrap();
        assert!(expression.bind(&schema()).is_err(), "{sql}");
        let bound = expression.at(at).bind(&schema()).unwrap();
        let array = bound.evaluate(&batch(&[nothing()])).unwrap();
        assert_eq!(
            Scalar::from_array(array.as_ref(), 0),
            Some(expected),
            "{sql}"
        );
    }
}

#[test]
fn values_are_stored_by_store_assignment() {
    let rows = row(&[
        ("big", Scalar::Long(300)),
        ("double", Scalar::Double(2.9)),
        ("price", decimal(12_345, 10, 2)),
        ("day", date("2013-11-30")),
    ]);
    let stored = |sql: &str, ty: PrimitiveType| -> crate::error::Result<Scalar> {
        let bound = Expression::parse(sql).unwrap().bind(&schema()).unwrap();
        let bound = bound.assigned_to("target", &DataType::Primitive(ty))?;
        let array = bound.evaluate(&batch(std::slice::from_ref(&rows)))?;
        assert_eq!(*array.data_type(), bound.data_type().to_arrow().unwrap());
        Ok(Scalar::from_array(array.as_ref(), 0).unwrap())
    };
    let tenth = PrimitiveType::Decimal {
        precision: 10,
        scale: 1,
    };
    assert_eq!(
        stored("big", PrimitiveType::Short).unwrap(),
        Scalar::Short(300)
    );
    assert_eq!(
        stored("big", PrimitiveType::String).unwrap(),
        Scalar::from("300")
    );
    assert_eq!(
        stored("double", PrimitiveType::Integer).unwrap(),
        Scalar::Integer(2)
    );
    assert_eq!(stored("price", tenth).unwrap(), decimal(1235, 10, 1));
    assert_eq!(
        stored("day", PrimitiveType::Timestamp).unwrap(),
        time("2013-11-30T00:00:00Z")
    );
    assert_eq!(stored("NULL", PrimitiveType::Binary).unwrap(), Scalar::Null);
    let error = stored("big", PrimitiveType::Byte).unwrap_err();
    assert_eq!(error.context_value("column"), Some("target"));
    assert!(!error.to_string().contains("300"), "{error}");
    for (sql, ty) in [
        ("'5'", PrimitiveType::Integer),
        ("big", PrimitiveType::Boolean),
        ("big", PrimitiveType::Timestamp),
        ("big > 1", PrimitiveType::Integer),
    ] {
        let error = stored(sql, ty).unwrap_err();
        assert_eq!(error.context_value("column"), Some("target"), "{sql}");
    }
}

#[test]
fn whole_structs_and_lists_are_taken_as_they_are() {
    let bound = col("in").bind(&schema()).unwrap();
    assert_eq!(bound.data_type(), &schema().field("in").unwrap().data_type);
    let rows = batch(&[nothing(), nothing()]);
    let array = bound.evaluate(&rows).unwrap();
    assert_eq!((array.len(), array.null_count()), (2, 2));
    let null = Expression::parse("NULL").unwrap().bind(&schema()).unwrap();
    let tags = schema().field("tags").unwrap().data_type.clone();
    let array = null
        .assigned_to("tags", &tags)
        .unwrap()
        .evaluate(&rows)
        .unwrap();
    assert_eq!((array.len(), array.null_count()), (2, 2));
    assert!(
        col("in")
            .bind(&schema())
            .unwrap()
            .assigned_to("x", &tags)
            .is_err()
    );
}
