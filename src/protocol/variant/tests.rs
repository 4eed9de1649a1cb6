use super::*;

fn names(names: &[&str]) -> Vec<u8> {
    let mut out = vec![0x01, names.len() as u8, 0];
    let mut end = 0;
    for name in names {
        end += name.len() as u8;
        out.push(end);
    }
    names.iter().for_each(|name| out.extend(name.as_bytes()));
    out
}

fn json(value: &[u8]) -> String {
    to_json(&names(&[]), value).unwrap()
}

#[test]
fn values_without_parts_print_as_json() {
    let cases = [
        (Scalar::Null, "null"),
        (Scalar::Boolean(true), "true"),
        (Scalar::Boolean(false), "false"),
        (Scalar::Byte(-1), "-1"),
        (Scalar::Short(-300), "-300"),
        (Scalar::Integer(70_000), "70000"),
        (Scalar::Long(i64::MIN), "-9223372036854775808"),
        (Scalar::Double(2.5), "2.5"),
        (Scalar::Double(f64::NAN), "\"NaN\""),
        (Scalar::Float(f32::NEG_INFINITY), "\"-Infinity\""),
        (
            Scalar::Decimal {
                unscaled: -5,
                precision: 9,
                scale: 3,
            },
            "-0.005",
        ),
        (
            Scalar::Decimal {
                unscaled: 1234,
                precision: 18,
                scale: 2,
            },
            "12.34",
        ),
        (
            Scalar::Decimal {
                unscaled: i128::MAX,
                precision: 38,
                scale: 0,
            },
            "170141183460469231731687303715884105727",
        ),
        (Scalar::Date(-1), "\"1969-12-31\""),
        (Scalar::Micros(1, true), "\"1970-01-01T00:00:00.000001Z\""),
        (Scalar::Micros(-1, false), "\"1969-12-31T23:59:59.999999\""),
        (Scalar::Nanos(1, true), "\"1970-01-01T00:00:00.000000001Z\""),
        (Scalar::Nanos(1, false), "\"1970-01-01T00:00:00.000000001\""),
        (Scalar::Time(3_661_000_001), "\"01:01:01.000001\""),
        (Scalar::Binary(b"\x00\xff"), "\"AP8=\""),
        (Scalar::Binary(b"abc"), "\"YWJj\""),
        (Scalar::Binary(b"a"), "\"YQ==\""),
        (Scalar::String("say \"hi\""), "\"say \\\"hi\\\"\""),
        (
            Scalar::Uuid(&[0x11; 16]),
            "\"11111111-1111-1111-1111-111111111111\"",
        ),
    ];
    for (value, expected) in cases {
        let bytes = scalar(value).unwrap();
        assert_eq!(json(&bytes), expected, "{value:?}");
        assert_eq!(decode::length(&bytes).unwrap(), bytes.len(), "{value:?}");
        // Cut anywhere it is an error, never a shorter value.
        for end in 0..bytes.len() {
            assert!(
                to_json(&names(&[]), &bytes[..end]).is_err(),
                "{value:?} cut at {end}"
            );
        }
    }
    let long = "x".repeat(1000);
    assert_eq!(
        json(&scalar(Scalar::String(&long)).unwrap()),
        format!("\"{long}\"")
    );
}

#[test]
fn arrays_and_objects_of_every_width_print_as_json() {
    for count in [0, 1, 255, 256, 70_000] {
        let element = scalar(Scalar::Short(7)).unwrap();
        let bytes = array(&vec![element; count]).unwrap();
        assert_eq!(
            json(&bytes),
            format!("[{}]", vec!["7"; count].join(",")),
            "{count}"
        );
        assert_eq!(decode::length(&bytes).unwrap(), bytes.len());
    }
    let dictionary = names(&["b", "a"]);
    let (one, two) = (
        scalar(Scalar::Byte(1)).unwrap(),
        scalar(Scalar::String("two")).unwrap(),
    );
    let mut longer = one.clone();
    longer.extend([9, 9, 9]);
    let bytes = object(vec![("b", 0, longer.as_slice()), ("a", 1, two.as_slice())]).unwrap();
    assert_eq!(
        to_json(&dictionary, &bytes).unwrap(),
        r#"{"a":"two","b":1}"#
    );
    for end in 0..bytes.len() {
        assert!(to_json(&dictionary, &bytes[..end]).is_err());
    }
}

#[test]
fn h_8_a_hostile_variant_is_an_error_within_bounds() {
    // An array whose only element is itself, as far as the offsets go.
    let nested = (0..5000).fold(scalar(Scalar::Null).unwrap(), |inner, _| {
        array(&[inner]).unwrap()
    });
    assert_eq!(
        to_json(&names(&[]), &nested).unwrap_err().code(),
        Code::LimitExceeded
    );
    // 255 references to one value, over and over.
    let mut laughs = scalar(Scalar::String("ha")).unwrap();
    for _ in 0..10 {
        let mut outer = vec![3 | 3 << 2, 255];
        (0..255).for_each(|_| outer.extend([0; 4]));
        outer.extend((laughs.len() as u32).to_le_bytes());
        outer.extend(&laughs);
        laughs = outer;
    }
    assert_eq!(
        print::to_json_within(&names(&[]), &laughs, 1 << 20)
            .unwrap_err()
            .code(),
        Code::LimitExceeded
    );
    for bytes in [
        &[0xff_u8; 40][..],
        &[0x02, 0xff],
        &[0x03, 0xff, 0xff],
        &[0x4e, 1, 2],
    ] {
        assert!(to_json(&names(&[]), bytes).is_err());
        assert!(to_json(bytes, &[0]).is_err());
    }
    assert!(to_json(&[], &[0]).is_err());
    assert!(
        to_json(&names(&[]), &[0x02, 1, 0, 0, 1, 0]).is_err(),
        "a field without a name"
    );
}
