use std::sync::Arc;

use arrow_array::types::{Int8Type, UInt32Type};
use arrow_array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, Date64Array, Decimal256Array, DictionaryArray,
    FixedSizeBinaryArray, Int32Array, LargeStringArray, NullArray, PrimitiveArray, StringViewArray,
    Time32SecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
};
use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;

fn decimal(unscaled: i128, precision: u8, scale: u8) -> Scalar {
    Scalar::Decimal {
        unscaled,
        precision,
        scale,
    }
}

fn decimal_type(precision: u8, scale: u8) -> PrimitiveType {
    PrimitiveType::Decimal { precision, scale }
}

fn check_order(cases: &[(Scalar, Scalar, Option<Ordering>)]) {
    for (a, b, expected) in cases {
        assert_eq!(a.compare(b), *expected, "{a:?} {b:?}");
        assert_eq!(b.compare(a), expected.map(Ordering::reverse), "{b:?} {a:?}");
    }
}

#[test]
fn numbers_are_ordered_as_spark_orders_them() {
    use Ordering::{Equal, Greater, Less};
    check_order(&[
        (
            Scalar::Double(f64::NAN),
            Scalar::Double(f64::NAN),
            Some(Equal),
        ),
        (
            Scalar::Double(f64::NAN),
            Scalar::Double(f64::INFINITY),
            Some(Greater),
        ),
        (
            Scalar::Float(f32::NAN),
            Scalar::Double(-f64::NAN),
            Some(Equal),
        ),
        (Scalar::Double(-0.0), Scalar::Double(0.0), Some(Equal)),
        (Scalar::Long(0), Scalar::Double(-0.0), Some(Equal)),
        (Scalar::Long(i64::MAX), Scalar::Double(f64::NAN), Some(Less)),
        (
            Scalar::Long(i64::MAX),
            Scalar::Double(9_223_372_036_854_775_807.0),
            Some(Equal),
        ),
        (
            Scalar::Long(i64::MIN),
            Scalar::Double(-9_223_372_036_854_775_808.0),
            Some(Equal),
        ),
        (
            Scalar::Long(9_007_199_254_740_993),
            Scalar::Double(9_007_199_254_740_992.0),
            Some(Equal),
        ),
        (
            Scalar::Long(9_007_199_254_740_995),
            Scalar::Double(9_007_199_254_740_994.0),
            Some(Greater),
        ),
        (
            Scalar::Long(9_007_199_254_740_993),
            Scalar::Long(9_007_199_254_740_992),
            Some(Greater),
        ),
        (Scalar::Byte(-1), Scalar::Long(-1), Some(Equal)),
        (Scalar::Short(2), Scalar::Integer(1), Some(Greater)),
        (Scalar::Integer(1), decimal(100, 5, 2), Some(Equal)),
        (
            decimal(i128::MAX, 38, 0),
            decimal(i128::MAX, 38, 38),
            Some(Greater),
        ),
        (decimal(1, 38, 38), decimal(0, 1, 0), Some(Greater)),
        (decimal(1, 10, 1), Scalar::Double(0.1), Some(Equal)),
        (decimal(-1, 10, 1), Scalar::Double(-0.1), Some(Equal)),
        (decimal(1, 10, 1), Scalar::Float(0.1), Some(Less)),
        (
            decimal(i128::MIN, 38, 0),
            Scalar::Double(-1e39),
            Some(Greater),
        ),
        (decimal(1, 38, 38), Scalar::Double(5e-324), Some(Greater)),
    ]);
}

#[test]
fn texts_and_times_are_ordered_as_spark_orders_them() {
    use Ordering::{Greater, Less};
    check_order(&[
        (Scalar::from("Z"), Scalar::from("a"), Some(Less)),
        // UTF-16 units would order these the other way round.
        (
            Scalar::from("\u{ffff}"),
            Scalar::from("\u{10000}"),
            Some(Less),
        ),
        (
            Scalar::from(&[0xff_u8][..]),
            Scalar::from(&[0x7f_u8, 1][..]),
            Some(Greater),
        ),
        (Scalar::Boolean(false), Scalar::Boolean(true), Some(Less)),
        (Scalar::Date(1), Scalar::Date(-1), Some(Greater)),
        (Scalar::Timestamp(1), Scalar::Timestamp(2), Some(Less)),
        (Scalar::Timestamp(1), Scalar::TimestampNtz(1), None),
        (Scalar::Date(1), Scalar::Integer(1), None),
        (Scalar::Boolean(true), Scalar::Byte(1), None),
        (Scalar::from("1"), Scalar::Byte(1), None),
        (Scalar::Null, Scalar::Null, None),
    ]);
}

/// Whole part and fraction in digits, of equal lengths for all numbers.
fn exact_text(value: &Scalar) -> (bool, String) {
    let text = match *value {
        Scalar::Double(value) => format!("{value:.1100}"),
        Scalar::Float(value) => format!("{:.1100}", f64::from(value)),
        ref other => other.to_statistics().unwrap(),
    };
    let negative = text.starts_with('-');
    let (whole, fraction) = text.trim_start_matches('-').split_once('.').map_or(
        (text.trim_start_matches('-').to_owned(), String::new()),
        |(whole, fraction)| (whole.to_owned(), fraction.to_owned()),
    );
    (negative, format!("{whole:0>400}{fraction:0<1100}"))
}

/// What a number is beside another: the double that its digits are read as, if that one is a float.
fn beside(value: &Scalar, other: &Scalar) -> Scalar {
    let is_float = |value: &Scalar| matches!(value, Scalar::Float(_) | Scalar::Double(_));
    match is_float(other) && !is_float(value) {
        true => Scalar::Double(value.to_statistics().unwrap().parse().unwrap()),
        false => value.clone(),
    }
}

fn reference_order(a: &Scalar, b: &Scalar) -> Ordering {
    let (a, b) = (&beside(a, b), &beside(b, a));
    let ((a_negative, a), (b_negative, b)) = (exact_text(a), exact_text(b));
    let zero = |text: &str| text.bytes().all(|byte| byte == b'0');
    let signed = |negative: bool, text: &str| {
        if zero(text) {
            0
        } else if negative {
            -1
        } else {
            1
        }
    };
    let (x, y) = (signed(a_negative, &a), signed(b_negative, &b));
    x.cmp(&y)
        .then_with(|| if x < 0 { b.cmp(&a) } else { a.cmp(&b) })
}

fn numbers() -> impl Strategy<Value = Scalar> {
    let float = any::<f64>().prop_filter("finite", |value| value.is_finite());
    let near = (-50_i64..50, -4_i32..4).prop_map(|(digit, power)| digit as f64 / 2_f64.powi(power));
    prop_oneof![
        any::<i64>().prop_map(Scalar::Long),
        any::<i8>().prop_map(Scalar::Byte),
        (-1000_i128..1000, 0_u8..5).prop_map(|(unscaled, scale)| decimal(unscaled, 38, scale)),
        (any::<i128>(), 0_u8..=38).prop_map(|(unscaled, scale)| decimal(unscaled / 2, 38, scale)),
        float.prop_map(Scalar::Double),
        near.prop_map(Scalar::Double),
        any::<f32>()
            .prop_filter("finite", |value| value.is_finite())
            .prop_map(Scalar::Float),
    ]
}

/// A value of every type that can partition a table.
fn values() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        any::<bool>().prop_map(Scalar::Boolean),
        any::<i8>().prop_map(Scalar::Byte),
        any::<i16>().prop_map(Scalar::Short),
        any::<i32>().prop_map(Scalar::Integer),
        any::<i64>().prop_map(Scalar::Long),
        any::<f32>().prop_map(Scalar::Float),
        any::<f64>().prop_map(Scalar::Double),
        (-(10_i128.pow(20))..10_i128.pow(20), 0_u8..20)
            .prop_map(|(unscaled, scale)| decimal(unscaled, 38, scale)),
        "\\PC{1,20}".prop_map(Scalar::String),
        "\\PC{1,20}".prop_map(|text| Scalar::Binary(text.into_bytes())),
        (-90_000_000_i32..90_000_000).prop_map(Scalar::Date),
        (-8_000_000_000_000_000_000_i64..8_000_000_000_000_000_000).prop_map(Scalar::Timestamp),
        (-8_000_000_000_000_000_000_i64..8_000_000_000_000_000_000).prop_map(Scalar::TimestampNtz),
    ]
}

/// The same value: NaN is NaN, and zeros keep their sign.
fn same(a: &Scalar, b: &Scalar) -> bool {
    match (a, b) {
        (Scalar::Float(a), Scalar::Float(b)) => {
            a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
        }
        (Scalar::Double(a), Scalar::Double(b)) => {
            a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
        }
        _ => a == b,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn numbers_compare_by_their_values_and_beside_floats_as_doubles(a in numbers(), b in numbers()) {
        prop_assert_eq!(a.compare(&b), Some(reference_order(&a, &b)));
    }

    #[test]
    fn partition_values_survive_their_text(value in values()) {
        let text = value.to_partition_value().unwrap();
        let read = Scalar::from_partition_value(text.as_deref(), &value.data_type().unwrap()).unwrap();
        prop_assert!(same(&read, &value), "{:?} {:?} {:?}", value, text, read);
    }

    #[test]
    fn bounds_survive_their_json(value in values()) {
        if let Some(json) = value.to_statistics() {
            let read = Scalar::from_statistics(&json, &value.data_type().unwrap()).unwrap();
            prop_assert!(same(&read, &value), "{:?} {} {:?}", value, json, read);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
        }
    }

    #[test]
    fn h_7_no_json_of_a_bound_panics(text in "\\PC{0,30}", digits in "-?[0-9]{0,45}\\.?[0-9]{0,45}([eE][+-]?[0-9]{1,12})?") {
        for ty in [PrimitiveType::String, PrimitiveType::Long, PrimitiveType::Double, PrimitiveType::Date,
            PrimitiveType::Timestamp, PrimitiveType::TimestampNtz, PrimitiveType::Boolean, decimal_type(38, 10)] {
            for json in [&text, &digits, &format!("\"{text}\""), &format!("\"{digits}\"")] {
                let _ = Scalar::from_statistics(json, &ty);
                let _ = Scalar::from_partition_value(Some(json), &ty);
            }
        }
    }

    #[test]
    fn arrays_hold_the_values_they_are_made_of(value in values(), len in 0_usize..4) {
        let array = value.to_array(&value.data_type().unwrap(), len).unwrap();
        prop_assert_eq!(array.len(), len);
        for index in 0..len {
            prop_assert!(same(&Scalar::from_array(&array, index).unwrap(), &value));
        }
        prop_assert_eq!(Scalar::from_array(&array, len), None);
    }
}

#[test]
fn partition_values_are_written_per_partition_value_serialization() {
    for (value, expected) in [
        (Scalar::Null, None),
        (Scalar::from(""), None),
        (Scalar::Binary(Vec::new()), None),
        (Scalar::from(" "), Some(" ")),
        (Scalar::Boolean(true), Some("true")),
        (Scalar::Byte(-7), Some("-7")),
        (Scalar::Double(1e-5), Some("1.0E-5")),
        (Scalar::Double(1.5), Some("1.5")),
        (Scalar::Double(0.001), Some("0.001")),
        (Scalar::Double(9_999_999.0), Some("9999999.0")),
        (Scalar::Double(1e7), Some("1.0E7")),
        (Scalar::Double(1.25e300), Some("1.25E300")),
        (Scalar::Float(0.1), Some("0.1")),
        (Scalar::Double(f64::NAN), Some("NaN")),
        (Scalar::Double(f64::NEG_INFINITY), Some("-Infinity")),
        (decimal(150, 10, 2), Some("1.50")),
        (decimal(-5, 38, 18), Some("-0.000000000000000005")),
        (
            decimal(i128::MIN, 38, 0),
            Some("-170141183460469231731687303715884105728"),
        ),
        (Scalar::Date(0), Some("1970-01-01")),
        (Scalar::Date(2_932_897), Some("+10000-01-01")),
        (Scalar::Date(-719_163), Some("0000-12-31")),
        (Scalar::Timestamp(-1), Some("1969-12-31T23:59:59.999999Z")),
        (Scalar::Timestamp(0), Some("1970-01-01T00:00:00.000000Z")),
        (Scalar::TimestampNtz(0), Some("1970-01-01 00:00:00")),
        (
            Scalar::TimestampNtz(500_000),
            Some("1970-01-01 00:00:00.500000"),
        ),
    ] {
        assert_eq!(
            value.to_partition_value().unwrap().as_deref(),
            expected,
            "{value:?}"
        );
    }
    for value in [
        Scalar::Binary(vec![0xff]),
        Scalar::Date(i32::MAX),
        Scalar::Timestamp(i64::MAX),
    ] {
        let error = value
            .to_partition_value()
            .map(|text| assert!(text.is_some()))
            .err();
        assert!(
            error.is_none_or(|error| error.kind() == ErrorKind::Invalid),
            "{value:?}"
        );
    }
}

fn read_partition(text: &str, ty: &PrimitiveType) -> crate::error::Result<Scalar> {
    Scalar::from_partition_value(Some(text), ty)
}

#[test]
fn h_11_partition_values_are_null_only_if_empty() {
    let all = [
        PrimitiveType::String,
        PrimitiveType::Long,
        PrimitiveType::Integer,
        PrimitiveType::Short,
        PrimitiveType::Byte,
        PrimitiveType::Float,
        PrimitiveType::Double,
        PrimitiveType::Boolean,
        PrimitiveType::Binary,
        PrimitiveType::Date,
        PrimitiveType::Timestamp,
        PrimitiveType::TimestampNtz,
        decimal_type(10, 2),
        PrimitiveType::Void,
    ];
    let hive = "__HIVE_DEFAULT_PARTITION__";
    for ty in &all {
        assert_eq!(read_partition("", ty).unwrap(), Scalar::Null);
        assert_eq!(
            Scalar::from_partition_value(None, ty).unwrap(),
            Scalar::Null
        );
        if !matches!(ty, PrimitiveType::String | PrimitiveType::Binary) {
            assert!(read_partition(hive, ty).is_err(), "{ty}");
            assert!(read_partition("null", ty).is_err(), "{ty}");
        }
    }
    assert_eq!(
        read_partition(hive, &PrimitiveType::String).unwrap(),
        Scalar::from(hive)
    );
}

#[test]
fn h_11_partition_values_of_every_spelling_are_typed() {
    for text in [
        "2020-01-01 12:00:00",
        "2020-01-01T12:00:00Z",
        "2020-01-01T12:00:00.000000Z",
        "2020-01-01T14:00:00+02:00",
        "2020-01-01T04:00:00.000-0800",
        "2020-01-01 12:00:00.000",
        "2020-01-01T12:00Z",
        "2020-1-1 12:0:0",
        "2020-01-01T12:00:00+00",
    ] {
        let noon = Scalar::Timestamp(1_577_880_000_000_000);
        assert_eq!(
            read_partition(text, &PrimitiveType::Timestamp).unwrap(),
            noon,
            "{text}"
        );
    }
    for (text, expected) in [
        ("2020-01-01", Scalar::TimestampNtz(1_577_836_800_000_000)),
        ("01", Scalar::Integer(1)),
        ("TRUE", Scalar::Boolean(true)),
        ("1E+2", decimal(10_000, 10, 2)),
        ("1.500", decimal(150, 10, 2)),
        ("+10000-01-01", Scalar::Date(2_932_897)),
    ] {
        assert_eq!(
            read_partition(text, &expected.data_type().unwrap()).unwrap(),
            expected,
            "{text}"
        );
    }
}

#[test]
fn h_11_what_is_no_value_of_the_type_is_an_error_that_shows_no_value() {
    use PrimitiveType as T;
    let wrong: &[(&[&str], PrimitiveType)] = &[
        (&["1.0", "2147483648", "0x10"], T::Integer),
        (&["128", "-129"], T::Byte),
        (&["9223372036854775808", "abc"], T::Long),
        (&["1e400", "one"], T::Double),
        (&["1e39"], T::Float),
        (&["yes", "1"], T::Boolean),
        (
            &[
                "2020-02-30",
                "2020-01-01 00:00:00",
                "20-01-01",
                "99999999-01-01",
            ],
            T::Date,
        ),
        (
            &[
                "2020-01-01T25:00:00Z",
                "2020-01-01T00:00:00+19:00",
                "2020-01-01T00:00:60Z",
            ],
            T::Timestamp,
        ),
        (&["2020-01-01T00:00:00Z"], T::TimestampNtz),
        (
            &["1.005", "123456789.00", "--1", ".", "1e"],
            decimal_type(10, 2),
        ),
        (&["xyzzy"], T::Void),
    ];
    for (texts, ty) in wrong {
        for text in *texts {
            let error = read_partition(text, ty).unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported),
                "{text}"
            );
            assert!(
                text.len() < 4 || !format!("{error:?}").contains(text),
                "{error:?}"
            );
        }
    }
}

#[test]
fn bounds_are_read_digit_by_digit() {
    let read = |json: &str, ty: &PrimitiveType| Scalar::from_statistics(json, ty);
    assert_eq!(
        read(
            "12345678901234567890.123456789012345678",
            &decimal_type(38, 18)
        ),
        Some(decimal(
            12_345_678_901_234_567_890_123_456_789_012_345_678,
            38,
            18
        ))
    );
    assert_eq!(
        read("-1E-18", &decimal_type(38, 18)),
        Some(decimal(-1, 38, 18))
    );
    assert_eq!(
        read("\"1.5\"", &decimal_type(5, 1)),
        Some(decimal(15, 5, 1))
    );
    // A bound that is finer than the type is kept as it is.
    assert_eq!(read("1.55", &decimal_type(5, 1)), Some(decimal(155, 3, 2)));
    assert_eq!(
        read("9223372036854775807", &PrimitiveType::Long),
        Some(Scalar::Long(i64::MAX))
    );
    assert_eq!(
        read("5.0", &PrimitiveType::Integer),
        Some(Scalar::Integer(5))
    );
    assert_eq!(
        read("\"Infinity\"", &PrimitiveType::Float),
        Some(Scalar::Float(f32::INFINITY))
    );
    assert_eq!(
        read("4.9E-324", &PrimitiveType::Double),
        Some(Scalar::Double(5e-324))
    );
    for (json, ty) in [
        ("null", PrimitiveType::Long),
        ("true", PrimitiveType::Long),
        ("5", PrimitiveType::String),
        ("{}", PrimitiveType::String),
        ("\"\\ud83d\"", PrimitiveType::String),
        ("5.5", PrimitiveType::Integer),
        ("\"AA==\"", PrimitiveType::Binary),
        ("1e999999999", decimal_type(38, 0)),
        ("18262", PrimitiveType::Date),
        ("\"2020-01-01T00:00:00\"", PrimitiveType::Timestamp),
        ("1e400", PrimitiveType::Double),
    ] {
        assert_eq!(read(json, &ty), None, "{json} {ty}");
    }
}

#[test]
fn bounds_are_written_as_spark_writes_them() {
    let text = include_str!("../../../tests/vectors/statistics.ndjson");
    let mut count = 0;
    for line in text.lines() {
        let vector: serde_json::Value = serde_json::from_str(line).unwrap();
        let ty = match vector["type"].as_str().unwrap() {
            "bigint" => PrimitiveType::Long,
            "decimal(38,18)" => decimal_type(38, 18),
            "decimal(10,0)" => decimal_type(10, 0),
            "double" => PrimitiveType::Double,
            "float" => PrimitiveType::Float,
            "date" => PrimitiveType::Date,
            "timestamp" => PrimitiveType::Timestamp,
            "timestamp_ntz" => PrimitiveType::TimestampNtz,
            "string" => PrimitiveType::String,
            _ => continue,
        };
        let json = vector["min"]["number"]
            .as_str()
            .map_or_else(|| vector["min"].to_string(), str::to_owned);
        let Some(read) = Scalar::from_statistics(&json, &ty) else {
            panic!("{line}")
        };
        match read.to_statistics() {
            // Spark writes numbers as Java does; the smallest and decimals differ in form, not in value.
            Some(written) if json.contains('E') => {
                let again = Scalar::from_statistics(&written, &ty).unwrap();
                assert_eq!(again.compare(&read), Some(Ordering::Equal), "{line}");
            }
            Some(written) => assert_eq!(
                serde_json::from_str::<serde_json::Value>(&written).unwrap(),
                serde_json::from_str::<serde_json::Value>(&json).unwrap(),
                "{line}"
            ),
            None => panic!("{line}"),
        }
        count += 1;
    }
    assert!(40 < count);
}

#[test]
fn values_outside_what_json_can_say_have_no_bound() {
    for value in [
        Scalar::Null,
        Scalar::Boolean(true),
        Scalar::Binary(vec![1]),
        Scalar::Date(2_932_897),
        Scalar::Date(-719_163),
        Scalar::Timestamp(i64::MAX),
        Scalar::TimestampNtz(i64::MIN),
        Scalar::Timestamp(253_402_300_800_000_000),
    ] {
        assert_eq!(value.to_statistics(), None, "{value:?}");
    }
}

#[test]
fn values_are_read_from_arrays_of_every_layout() {
    let from = |array: &dyn Array| Scalar::from_array(array, 0);
    assert_eq!(
        from(&LargeStringArray::from(vec!["x"])),
        Some(Scalar::from("x"))
    );
    assert_eq!(
        from(&StringViewArray::from(vec!["x"])),
        Some(Scalar::from("x"))
    );
    assert_eq!(
        from(&BinaryViewArray::from(vec![&b"x"[..]])),
        Some(Scalar::from(&b"x"[..]))
    );
    assert_eq!(
        from(&FixedSizeBinaryArray::try_from_iter(std::iter::once(b"ab")).unwrap()),
        Some(Scalar::from(&b"ab"[..]))
    );
    assert_eq!(
        from(&TimestampNanosecondArray::from(vec![-1])),
        Some(Scalar::TimestampNtz(-1))
    );
    assert_eq!(
        from(&TimestampSecondArray::from(vec![2]).with_timezone("+01:00")),
        Some(Scalar::Timestamp(2_000_000))
    );
    assert_eq!(from(&TimestampSecondArray::from(vec![i64::MAX])), None);
    assert_eq!(from(&Date64Array::from(vec![-1])), Some(Scalar::Date(-1)));
    let wide = |value| {
        Decimal256Array::from(vec![value])
            .with_precision_and_scale(76, 3)
            .unwrap()
    };
    assert_eq!(from(&wide(i256::from_i128(7))), Some(decimal(7, 38, 3)));
    assert_eq!(from(&wide(i256::MAX)), None);
    assert_eq!(from(&NullArray::new(1)), Some(Scalar::Null));
    assert_eq!(
        from(&Int32Array::from(vec![None, Some(1)])),
        Some(Scalar::Null)
    );
    assert_eq!(
        from(&BooleanArray::from(vec![true])),
        Some(Scalar::Boolean(true))
    );
    assert_eq!(from(&UInt64Array::from(vec![1])), None);
    assert_eq!(from(&Time32SecondArray::from(vec![1])), None);
    let words: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a"), None, Some("b")]));
    let keys = PrimitiveArray::<UInt32Type>::from(vec![Some(2), Some(1), None]);
    let dictionary = DictionaryArray::new(keys, Arc::clone(&words));
    let read: Vec<_> = (0..4)
        .map(|index| Scalar::from_array(&dictionary, index))
        .collect();
    assert_eq!(
        read,
        [
            Some(Scalar::from("b")),
            Some(Scalar::Null),
            Some(Scalar::Null),
            None
        ]
    );
    let signed = DictionaryArray::new(PrimitiveArray::<Int8Type>::from(vec![0]), words);
    assert_eq!(from(&signed), Some(Scalar::from("a")));
}

#[test]
fn columns_are_made_of_values_that_widen() {
    let read = |value: Scalar, ty: PrimitiveType| {
        let array = value.to_array(&ty, 2).ok()?;
        assert_eq!(
            array.data_type(),
            &crate::protocol::schema::DataType::Primitive(ty)
                .to_arrow()
                .unwrap()
        );
        Scalar::from_array(&array, 1)
    };
    assert_eq!(
        read(Scalar::Byte(1), PrimitiveType::Long),
        Some(Scalar::Long(1))
    );
    assert_eq!(
        read(Scalar::Long(1), PrimitiveType::Byte),
        Some(Scalar::Byte(1))
    );
    assert_eq!(read(Scalar::Long(128), PrimitiveType::Byte), None);
    assert_eq!(
        read(Scalar::Long(5), decimal_type(5, 2)),
        Some(decimal(500, 5, 2))
    );
    assert_eq!(read(decimal(1, 1, 0), decimal_type(38, 38)), None);
    assert_eq!(
        read(Scalar::Float(0.5), PrimitiveType::Double),
        Some(Scalar::Double(0.5))
    );
    assert_eq!(
        read(Scalar::Timestamp(5), PrimitiveType::Timestamp),
        Some(Scalar::Timestamp(5))
    );
    assert_eq!(
        read(Scalar::Timestamp(5), PrimitiveType::TimestampNtz),
        None
    );
    assert_eq!(
        read(Scalar::Null, PrimitiveType::String),
        Some(Scalar::Null)
    );
    assert_eq!(read(Scalar::Null, PrimitiveType::Void), Some(Scalar::Null));
    assert_eq!(read(Scalar::from("1"), PrimitiveType::Long), None);
    assert_eq!(
        Scalar::Null
            .to_array(&PrimitiveType::Unknown("fancy".into()), 1)
            .unwrap_err()
            .kind(),
        ErrorKind::Unsupported
    );
}
