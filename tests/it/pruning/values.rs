//! Values of the tests' own, their order as Spark has it, and where they are awkward.

use std::cmp::Ordering;

use headwater::protocol::schema::{DataType, PrimitiveType};
use headwater::protocol::value::Scalar;
use proptest::prelude::*;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Byte,
    Short,
    Integer,
    Long,
    Float,
    Double,
    Decimal(u8, u8),
    Text,
    Bytes,
    Day,
    Instant,
    Wall,
}

/// One value. Whole numbers of all widths are `Int`, both kinds of floats are `Double`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Decimal(i128, u8),
    Text(String),
    Bytes(Vec<u8>),
    Day(i32),
    Instant(i64),
    Wall(i64),
}

impl Kind {
    pub(crate) fn data_type(self) -> DataType {
        match self {
            Self::Bool => DataType::BOOLEAN,
            Self::Byte => DataType::BYTE,
            Self::Short => DataType::SHORT,
            Self::Integer => DataType::INTEGER,
            Self::Long => DataType::LONG,
            Self::Float => DataType::FLOAT,
            Self::Double => DataType::DOUBLE,
            Self::Decimal(precision, scale) => {
                DataType::Primitive(PrimitiveType::Decimal { precision, scale })
            }
            Self::Text => DataType::STRING,
            Self::Bytes => DataType::BINARY,
            Self::Day => DataType::DATE,
            Self::Instant => DataType::TIMESTAMP,
            Self::Wall => DataType::TIMESTAMP_NTZ,
        }
    }

    pub(crate) fn is_whole(self) -> bool {
        matches!(self, Self::Byte | Self::Short | Self::Integer | Self::Long)
    }

    /// The values that are likely to be got wrong.
    pub(crate) fn edges(self) -> Vec<Value> {
        match self {
            Self::Bool => vec![Value::Bool(false), Value::Bool(true)],
            Self::Byte => ints([i8::MIN.into(), i8::MAX.into()]),
            Self::Short => ints([i16::MIN.into(), i16::MAX.into()]),
            Self::Integer => ints([i32::MIN.into(), i32::MAX.into()]),
            Self::Long => {
                let mut all = ints([i64::MIN, i64::MAX]);
                all.extend([i64::MIN + 1, i64::MAX - 1, 1 << 53, (1 << 53) + 1].map(Value::Int));
                all
            }
            Self::Float => floats32(),
            Self::Double => floats64(),
            Self::Decimal(precision, scale) => {
                let most = 10_i128.pow(precision.into()) - 1;
                let one = 10_i128.pow(scale.into()).min(most);
                [
                    0,
                    1,
                    -1,
                    one,
                    -one,
                    (one + 1).min(most),
                    15,
                    most,
                    -most,
                    most - 1,
                ]
                .map(|unscaled| Value::Decimal(unscaled, scale))
                .to_vec()
            }
            Self::Text => texts().into_iter().map(Value::Text).collect(),
            Self::Bytes => bytes().into_iter().map(Value::Bytes).collect(),
            Self::Day => {
                // 0001-01-01 and 9999-12-31 with their neighbours, and the ends of the type.
                let days = [-719_162, -719_163, 2_932_896, 2_932_897, 0, -1, 1, 19_000];
                days.into_iter()
                    .chain([i32::MIN, i32::MAX])
                    .map(Value::Day)
                    .collect()
            }
            Self::Instant => micros().into_iter().map(Value::Instant).collect(),
            Self::Wall => micros().into_iter().map(Value::Wall).collect(),
        }
    }

    /// Any value of the kind, the edges more often than all others, and null.
    pub(crate) fn values(self) -> BoxedStrategy<Value> {
        let edges = proptest::sample::select(self.edges());
        let others = match self {
            Self::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
            Self::Byte => any::<i8>().prop_map(|it| Value::Int(it.into())).boxed(),
            Self::Short => any::<i16>().prop_map(|it| Value::Int(it.into())).boxed(),
            Self::Integer => any::<i32>().prop_map(|it| Value::Int(it.into())).boxed(),
            Self::Long => any::<i64>().prop_map(Value::Int).boxed(),
            Self::Float => (-100_i16..100)
                .prop_map(|it| Value::Double(f64::from(f32::from(it) / 7.0)))
                .boxed(),
            Self::Double => any::<f64>().prop_map(Value::Double).boxed(),
            Self::Decimal(precision, scale) => {
                let most = 10_i128.pow(precision.into()) - 1;
                (-most..=most)
                    .prop_map(move |it| Value::Decimal(it, scale))
                    .boxed()
            }
            Self::Text => "[a-c\u{e9}\u{10ffff}]{0,70}".prop_map(Value::Text).boxed(),
            Self::Bytes => proptest::collection::vec(any::<u8>(), 0..70)
                .prop_map(Value::Bytes)
                .boxed(),
            Self::Day => (-800_000..3_000_000).prop_map(Value::Day).boxed(),
            Self::Instant => (-3_000_i64..3_000).prop_map(Value::Instant).boxed(),
            Self::Wall => any::<i64>().prop_map(Value::Wall).boxed(),
        };
        prop_oneof![1 => Just(Value::Null), 6 => edges, 2 => others].boxed()
    }
}

fn ints(ends: [i64; 2]) -> Vec<Value> {
    let all = [0, 1, -1, 7, 100].into_iter().chain(ends);
    all.map(Value::Int).collect()
}

fn floats64() -> Vec<Value> {
    let all = [
        0.0,
        -0.0,
        f64::NAN,
        -f64::NAN,
        f64::from_bits(0x7ff8_0000_0000_0001),
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        -5e-324,
        0.1,
        1.5,
        -1.5,
        7.0,
        9_007_199_254_740_992.0,
    ];
    all.map(Value::Double).to_vec()
}

fn floats32() -> Vec<Value> {
    let all = [
        0.0,
        -0.0,
        f32::NAN,
        -f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        f32::MIN,
        f32::MIN_POSITIVE,
        1e-45,
        0.1,
        1.5,
        -1.5,
        7.0,
        16_777_216.0,
    ];
    all.map(|value| Value::Double(value.into())).to_vec()
}

fn texts() -> Vec<String> {
    let max = "\u{10ffff}";
    let plain = [
        "",
        "a",
        "A",
        "b",
        "ab",
        "\u{e9}",
        "\u{65e5}\u{672c}",
        " ",
        "'",
        "\"",
        "a%b",
        "a_b",
        "a\\b",
        "\0",
        "\u{7f}",
        "\u{ffff}",
        "\u{e000}",
        "\u{1f600}",
        "NaN",
        "null",
        "p=1/q",
        "50%25",
        "__HIVE_DEFAULT_PARTITION__",
        "..",
        "a/../b",
        "\n",
        "1",
        "2013-06-30",
        "\u{85}",
        "\u{9f}b",
        ".",
        "%2e%2e",
        "a#b?c&d=e:f;g",
        "trailing ",
        max,
    ];
    let mut all: Vec<String> = plain.map(str::to_owned).to_vec();
    for length in [15, 16, 31, 32, 33, 40, 63, 64, 65, 70] {
        all.push("z".repeat(length));
        all.push(max.repeat(length));
        all.push("\u{7f}".repeat(length));
        all.push("\u{e9}".repeat(length));
        all.push(format!("{}{max}", "z".repeat(length)));
        all.push(format!("{}{max}b", "z".repeat(length)));
        all.push(format!("{}\u{1f600}b", "z".repeat(length)));
        all.push(format!("{}a", "z".repeat(length)));
        all.push(format!("{}\u{7f}", "z".repeat(length)));
    }
    all
}

fn bytes() -> Vec<Vec<u8>> {
    let mut all = vec![
        vec![],
        vec![0],
        vec![0xff],
        vec![0x7f],
        vec![0x80],
        b"abc".to_vec(),
    ];
    for length in [16, 31, 32, 33, 63, 64, 65] {
        all.push(vec![0xff; length]);
        all.push(vec![b'z'; length]);
        let mut longer = vec![0xff; length];
        longer.push(0);
        all.push(longer);
    }
    all
}

fn micros() -> Vec<i64> {
    let year_1 = -62_135_596_800_000_000;
    let year_10000 = 253_402_300_800_000_000;
    let zone = -2_717_640_000_000_000;
    vec![
        0,
        1,
        -1,
        999,
        1_000,
        1_001,
        1_999,
        -999,
        -1_000,
        -1_001,
        year_1,
        year_1 - 1,
        year_1 + 1,
        year_10000,
        year_10000 - 1,
        year_10000 - 999,
        year_10000 - 1_000,
        zone,
        zone + 1,
        1_700_000_000_123_456,
        i64::MIN,
        i64::MAX,
        i64::MAX - 1,
    ]
}

/// The order of rows. Both values are of kinds that have an order between them, and neither is null.
pub(crate) fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Day(a), Value::Day(b)) => a.cmp(b),
        (Value::Instant(a), Value::Instant(b)) | (Value::Wall(a), Value::Wall(b)) => a.cmp(b),
        (Value::Double(a), Value::Double(b)) => doubles(*a, *b),
        (Value::Double(a), Value::Int(b)) => whole_and_double(*b, *a).reverse(),
        (Value::Int(a), Value::Double(b)) => whole_and_double(*a, *b),
        _ => decimals(digits(a), digits(b)),
    }
}

fn doubles(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => a.partial_cmp(&b).unwrap(),
    }
}

fn whole_and_double(whole: i64, double: f64) -> Ordering {
    if double.is_nan() || 1e19 < double {
        return Ordering::Less;
    }
    if double < -1e19 {
        return Ordering::Greater;
    }
    let below = double.floor();
    let by_whole = i128::from(whole).cmp(&(below as i128));
    let fraction = if below < double {
        Ordering::Less
    } else {
        Ordering::Equal
    };
    by_whole.then(fraction)
}

fn digits(value: &Value) -> (i128, u8) {
    match value {
        Value::Int(value) => ((*value).into(), 0),
        Value::Decimal(unscaled, scale) => (*unscaled, *scale),
        other => panic!("{other:?} is no decimal"),
    }
}

fn decimals((a, a_scale): (i128, u8), (b, b_scale): (i128, u8)) -> Ordering {
    let split = |unscaled: i128, scale: u8| {
        let one = 10_i128.pow(scale.into());
        // Fractions of all scales on one: below 10^38, which 128 bits hold.
        let fraction = unscaled.rem_euclid(one) * 10_i128.pow(38 - u32::from(scale));
        (unscaled.div_euclid(one), fraction)
    };
    split(a, a_scale).cmp(&split(b, b_scale))
}

impl Value {
    /// The value as a typed literal of a kind.
    pub(crate) fn scalar(&self, kind: Kind) -> Scalar {
        match (self, kind) {
            (Self::Null, _) => Scalar::Null,
            (Self::Bool(value), _) => Scalar::Boolean(*value),
            (Self::Int(value), Kind::Byte) => Scalar::Byte(i8::try_from(*value).unwrap()),
            (Self::Int(value), Kind::Short) => Scalar::Short(i16::try_from(*value).unwrap()),
            (Self::Int(value), Kind::Integer) => Scalar::Integer(i32::try_from(*value).unwrap()),
            (Self::Int(value), _) => Scalar::Long(*value),
            (Self::Double(value), Kind::Float) => Scalar::Float(*value as f32),
            (Self::Double(value), _) => Scalar::Double(*value),
            (Self::Decimal(unscaled, scale), _) => Scalar::Decimal {
                unscaled: *unscaled,
                precision: 38,
                scale: *scale,
            },
            (Self::Text(value), _) => Scalar::String(value.clone()),
            (Self::Bytes(value), _) => Scalar::Binary(value.clone()),
            (Self::Day(value), _) => Scalar::Date(*value),
            (Self::Instant(value), _) => Scalar::Timestamp(*value),
            (Self::Wall(value), _) => Scalar::TimestampNtz(*value),
        }
    }

    /// The value as SQL; `None` where SQL has no way to write it.
    pub(crate) fn sql(&self, kind: Kind) -> Option<String> {
        Some(match self {
            Self::Null => "NULL".to_owned(),
            Self::Bool(value) => value.to_string().to_uppercase(),
            Self::Int(value) => value.to_string(),
            Self::Double(value) => {
                let text = if value.is_nan() {
                    "NaN".to_owned()
                } else if value.is_infinite() {
                    let sign = if *value < 0.0 { "-" } else { "" };
                    format!("{sign}Infinity")
                } else if kind == Kind::Float {
                    format!("{:?}", *value as f32)
                } else {
                    format!("{value:?}")
                };
                let ty = if kind == Kind::Float {
                    "FLOAT"
                } else {
                    "DOUBLE"
                };
                format!("CAST('{text}' AS {ty})")
            }
            Self::Decimal(unscaled, scale) => {
                let sign = if *unscaled < 0 { "-" } else { "" };
                let scale = usize::from(*scale);
                let digits = format!("{:0>1$}", unscaled.unsigned_abs(), scale + 1);
                let (whole, fraction) = digits.split_at(digits.len() - scale);
                format!("CAST('{sign}{whole}.{fraction}' AS DECIMAL(38, {scale}))")
            }
            Self::Text(value) => format!("'{}'", value.replace('\'', "''")),
            Self::Bytes(value) => {
                let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("X'{hex}'")
            }
            Self::Day(days) => format!(
                "DATE '{}'",
                date(i64::from(*days).checked_mul(86_400_000_000)?)?
            ),
            Self::Instant(micros) => format!("TIMESTAMP '{}Z'", clock(*micros)?),
            Self::Wall(micros) => format!("TIMESTAMP_NTZ '{}'", clock(*micros)?),
        })
    }

    /// The value as a partition column has it: what has no text there is null here.
    pub(crate) fn partitioned(&self) -> Self {
        match self {
            Self::Text(text) if text.is_empty() => Self::Null,
            Self::Bytes(bytes) if bytes.is_empty() || std::str::from_utf8(bytes).is_err() => {
                Self::Null
            }
            Self::Day(days) if 90_000_000 < days.unsigned_abs() => Self::Null,
            Self::Instant(micros) | Self::Wall(micros)
                if 7_000_000_000_000_000_000 < micros.unsigned_abs() =>
            {
                Self::Null
            }
            other => other.clone(),
        }
    }
}

fn time(micros: i64) -> Option<chrono::DateTime<chrono::Utc>> {
    use chrono::Datelike;
    let time = chrono::DateTime::from_timestamp_micros(micros)?;
    (1..=9999).contains(&time.year()).then_some(time)
}

fn date(micros: i64) -> Option<String> {
    Some(time(micros)?.format("%Y-%m-%d").to_string())
}

fn clock(micros: i64) -> Option<String> {
    Some(time(micros)?.format("%Y-%m-%dT%H:%M:%S%.6f").to_string())
}
