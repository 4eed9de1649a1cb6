//! Statistics against values: written bounds must contain every value, and lose no more than rounding.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType,
};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int64Array, ListArray,
    PrimitiveArray, RecordBatch, StringArray, StructArray,
};
use arrow_buffer::NullBuffer;
use arrow_schema::{Field as ArrowField, Schema as ArrowSchema};
use proptest::prelude::*;
use proptest::{collection, option};
use serde_json::value::RawValue;

use super::*;

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read<'a> {
    num_records: u64,
    #[serde(borrow)]
    min_values: BTreeMap<String, &'a RawValue>,
    #[serde(borrow)]
    max_values: BTreeMap<String, &'a RawValue>,
    #[serde(borrow)]
    null_count: BTreeMap<String, &'a RawValue>,
    tight_bounds: bool,
}

/// Statistics of one column, as JSON texts.
#[derive(Debug, PartialEq)]
struct Written {
    min: Option<String>,
    max: Option<String>,
    nulls: u64,
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, array)| ArrowField::new(*name, array.data_type().clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), arrays).unwrap()
}

fn schema(columns: Vec<(&str, DataType)>) -> Schema {
    Schema::new(
        columns
            .into_iter()
            .map(|(name, ty)| Field::new(name, ty, true)),
    )
    .unwrap()
}

fn all() -> StatisticsOptions {
    options(&[("delta.dataSkippingNumIndexedCols", "-1")])
}

fn options(pairs: &[(&str, &str)]) -> StatisticsOptions {
    let pairs = pairs
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()));
    StatisticsOptions::of(&TableProperties::parse(&pairs.collect()).unwrap())
}

fn collect_all(schema: &Schema, batches: &[RecordBatch]) -> String {
    let mut collector = Collector::new(schema, ColumnNames::Logical, &all());
    batches
        .iter()
        .for_each(|batch| collector.update(batch).unwrap());
    collector.finish()
}

/// Collects `array` as one column, in two batches split at `cut`; below a struct with this validity if there is one.
fn written(ty: &DataType, array: ArrayRef, parent: Option<&[bool]>, cut: usize) -> Written {
    let (ty, array) = match parent {
        None => (ty.clone(), array),
        Some(valid) => {
            let fields = vec![Arc::new(ArrowField::new(
                "c",
                array.data_type().clone(),
                true,
            ))];
            let nulls = Some(NullBuffer::from(valid.to_vec()));
            let parent = StructArray::new(fields.into(), vec![array], nulls);
            (
                DataType::Struct(schema(vec![("c", ty.clone())])),
                Arc::new(parent) as ArrayRef,
            )
        }
    };
    let rows = array.len();
    let whole = batch(vec![("c", array)]);
    let cut = cut.min(rows);
    let json = collect_all(
        &schema(vec![("c", ty)]),
        &[whole.slice(0, cut), whole.slice(cut, rows - cut)],
    );
    let read: Read<'_> = serde_json::from_str(&json).unwrap();
    assert_eq!(read.num_records, rows as u64);
    assert!(read.tight_bounds);
    let leaf = |values: &BTreeMap<String, &RawValue>| {
        let text = values.get("c")?.get();
        match parent {
            None => Some(text.to_owned()),
            Some(_) => Some(
                serde_json::from_str::<BTreeMap<String, &RawValue>>(text).unwrap()["c"]
                    .get()
                    .to_owned(),
            ),
        }
    };
    Written {
        min: leaf(&read.min_values),
        max: leaf(&read.max_values),
        nulls: leaf(&read.null_count).unwrap().parse().unwrap(),
    }
}

/// What random rows of a column look like: values, and validity of a struct around them.
type Rows<T> = (Vec<Option<T>>, Option<Vec<bool>>, usize);

fn rows<T: std::fmt::Debug + Clone + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Rows<T>> {
    let value = option::weighted(0.8, value).boxed();
    prop_oneof![1_usize..6, 60_usize..140].prop_flat_map(move |rows| {
        let values = prop_oneof![
            9 => collection::vec(value.clone(), rows),
            1 => Just(vec![None; rows]),
        ];
        let valid = option::of(collection::vec(prop::bool::weighted(0.7), rows));
        (values, valid, 0..=rows)
    })
}

/// The values that are seen: neither null nor below a null struct.
fn seen<T: Clone>((values, parent, _): &Rows<T>) -> Vec<T> {
    let valid = |index: usize| parent.as_ref().is_none_or(|valid| valid[index]);
    values
        .iter()
        .enumerate()
        .filter(|(index, _)| valid(*index))
        .filter_map(|(_, value)| value.clone())
        .collect()
}

fn primitive<T: ArrowPrimitiveType>(values: &[Option<T::Native>]) -> ArrayRef {
    Arc::new(values.iter().copied().collect::<PrimitiveArray<T>>())
}

fn extremes<T: Ord + Clone>(values: &[T]) -> (Option<T>, Option<T>) {
    (values.iter().min().cloned(), values.iter().max().cloned())
}

fn unquoted(json: &str) -> String {
    serde_json::from_str(json).unwrap()
}

fn check_integers<T: ArrowPrimitiveType>(
    ty: &DataType,
    rows: &Rows<T::Native>,
) -> Result<(), TestCaseError>
where
    T::Native: Ord + std::fmt::Display,
{
    let found = written(ty, primitive::<T>(&rows.0), rows.1.as_deref(), rows.2);
    let (min, max) = extremes(&seen(rows));
    prop_assert_eq!(found.min, min.map(|value| value.to_string()));
    prop_assert_eq!(found.max, max.map(|value| value.to_string()));
    prop_assert_eq!(found.nulls as usize, rows.0.len() - seen(rows).len());
    Ok(())
}

fn check_floats(rows: &Rows<f64>, found: &Written) -> Result<(), TestCaseError> {
    let seen = seen(rows);
    let numbers: Vec<f64> = seen
        .iter()
        .copied()
        .filter(|value| !value.is_nan())
        .collect();
    if numbers.is_empty() && !seen.is_empty() {
        let nan = Some("\"NaN\"".to_owned());
        prop_assert_eq!((&found.min, &found.max), (&nan, &nan));
        return Ok(());
    }
    let min = numbers.iter().copied().reduce(f64::min);
    let max = numbers.iter().copied().reduce(f64::max);
    let max = max.filter(|_| numbers.len() == seen.len());
    let read = |json: &Option<String>| {
        let json = json.as_ref()?;
        Some(json.trim_matches('"').parse::<f64>().unwrap())
    };
    prop_assert_eq!(read(&found.min), min, "lower bound of {:?}", numbers);
    prop_assert_eq!(read(&found.max), max, "upper bound of {:?}", numbers);
    // A reader that orders floats totally must see the zeros inside, too.
    if let (Some(low), Some(high)) = (read(&found.min), read(&found.max)) {
        prop_assert!(
            numbers
                .iter()
                .all(|value| low.total_cmp(value) != Ordering::Greater)
        );
        prop_assert!(
            numbers
                .iter()
                .all(|value| value.total_cmp(&high) != Ordering::Greater)
        );
    }
    prop_assert_eq!(found.nulls as usize, rows.0.len() - seen.len());
    Ok(())
}

fn micros_of(json: &str, zone: &str) -> i64 {
    let text = unquoted(json);
    let text = text.strip_suffix(zone).unwrap();
    let (_, fraction) = text.split_once('.').unwrap();
    assert_eq!(fraction.len(), 3, "readers expect milliseconds: {text}");
    chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f")
        .unwrap()
        .and_utc()
        .timestamp_micros()
}

const YEAR_1: i64 = -62_135_596_800_000_000;
const YEAR_10000: i64 = 253_402_300_800_000_000;

fn check_timestamps(rows: &Rows<i64>, found: &Written, zone: &str) -> Result<(), TestCaseError> {
    let (min, max) = extremes(&seen(rows));
    let expressible = YEAR_1..YEAR_10000;
    match (min, &found.min) {
        (Some(min), Some(json)) => {
            let low = micros_of(json, zone);
            prop_assert!(low <= min && min - low < 1000);
        }
        (Some(min), None) => prop_assert!(!expressible.contains(&min)),
        (None, json) => prop_assert_eq!(json, &None),
    }
    match (max, &found.max) {
        (Some(max), Some(json)) => {
            let high = micros_of(json, zone);
            prop_assert!(max <= high && high - max < 1000);
        }
        (Some(max), None) => prop_assert!(!(YEAR_1 - 999..=YEAR_10000 - 1000).contains(&max)),
        (None, json) => prop_assert_eq!(json, &None),
    }
    prop_assert_eq!(found.nulls as usize, rows.0.len() - seen(rows).len());
    Ok(())
}

fn check_texts(rows: &Rows<String>) -> Result<(), TestCaseError> {
    let array: ArrayRef = Arc::new(rows.0.iter().collect::<StringArray>());
    let found = written(&DataType::STRING, array, rows.1.as_deref(), rows.2);
    let seen = seen(rows);
    let (min, max) = extremes(&seen);
    prop_assert_eq!(found.min.is_some(), min.is_some());
    if let (Some(json), Some(min)) = (&found.min, &min) {
        let low = unquoted(json);
        prop_assert!(
            min.starts_with(&low),
            "a lower bound is a prefix of the least text"
        );
        prop_assert_eq!(low.chars().count(), min.chars().count().min(32));
    }
    if let (Some(json), Some(max)) = (&found.max, &max) {
        let high = unquoted(json);
        prop_assert!(
            seen.iter().all(|text| text.as_bytes() <= high.as_bytes()),
            "{high:?} is below {max:?}"
        );
        let mut head = high.chars();
        head.next_back();
        let grown = max.starts_with(head.as_str());
        prop_assert!(
            high == *max || grown,
            "the bound is a prefix and one character"
        );
        prop_assert!(high.encode_utf16().count() <= 68);
    }
    if let (None, Some(max)) = (&found.max, &max) {
        prop_assert!(
            max.chars()
                .filter(|character| *character == char::MAX)
                .count()
                > 16
        );
    }
    prop_assert_eq!(found.nulls as usize, rows.0.len() - seen.len());
    Ok(())
}

fn integer<T: Arbitrary + Clone + 'static>(edges: Vec<T>) -> impl Strategy<Value = T> {
    prop_oneof![any::<T>(), prop::sample::select(edges)]
}

fn double() -> impl Strategy<Value = f64> {
    let edges = vec![
        0.0,
        -0.0,
        f64::NAN,
        -f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        f64::MIN,
        5e-324,
        0.1,
        1e7,
    ];
    prop_oneof![
        2 => prop::num::f64::ANY,
        2 => prop::sample::select(vec![0.0, -0.0]),
        1 => prop::sample::select(edges),
        3 => -1e3..1e3,
    ]
}

fn decimal() -> impl Strategy<Value = i128> {
    let most = 10_i128.pow(38) - 1;
    prop_oneof![
        -most..=most,
        prop::sample::select(vec![most, -most, 0, 1, -1, 10_i128.pow(18)])
    ]
}

fn timestamp() -> impl Strategy<Value = i64> {
    let edges = vec![
        YEAR_1,
        YEAR_10000,
        0,
        i64::MIN,
        i64::MAX,
        -1,
        1_704_067_200_999_999,
    ];
    let near =
        (prop::sample::select(edges), -2000_i64..2000).prop_map(|(at, by)| at.saturating_add(by));
    prop_oneof![1 => any::<i64>(), 4 => near, 2 => YEAR_1..YEAR_10000]
}

fn text() -> impl Strategy<Value = String> {
    let characters = vec![
        "z",
        "~",
        "\u{7f}",
        "\u{80}",
        "\u{7ff}",
        "\u{d7ff}",
        "\u{e000}",
        "\u{ffff}",
        "\u{10000}",
        "\u{1f600}",
        "\u{10fffe}",
        "\u{10ffff}",
        "\0",
        " ",
        "\"",
    ];
    let run = (prop::sample::select(characters.clone()), 0_usize..40)
        .prop_map(|(text, times)| text.repeat(times));
    prop_oneof![
        2 => any::<String>(),
        1 => Just(String::new()),
        // Long runs reach the limits of truncation, in the middle of a pair and at its ends.
        6 => collection::vec(run, 1..4).prop_map(|runs| runs.concat()),
        2 => (28_usize..36, prop::sample::select(characters), ".{0,3}")
            .prop_map(|(times, next, end)| format!("{}{next}{end}", "z".repeat(times))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn integer_bounds_are_exact(
        bytes in rows(integer(vec![i8::MIN, i8::MAX, 0])),
        shorts in rows(integer(vec![i16::MIN, i16::MAX, 0])),
        integers in rows(integer(vec![i32::MIN, i32::MAX, 0])),
        longs in rows(integer(vec![i64::MIN, i64::MAX, 0])),
    ) {
        check_integers::<Int8Type>(&DataType::BYTE, &bytes)?;
        check_integers::<Int16Type>(&DataType::SHORT, &shorts)?;
        check_integers::<Int32Type>(&DataType::INTEGER, &integers)?;
        check_integers::<Int64Type>(&DataType::LONG, &longs)?;
    }

    #[test]
    fn float_bounds_contain_every_number_and_none_stands_below_a_nan(rows in rows(double())) {
        let found = written(&DataType::DOUBLE, primitive::<Float64Type>(&rows.0), rows.1.as_deref(), rows.2);
        check_floats(&rows, &found)?;
    }

    #[test]
    fn bounds_of_narrow_floats_are_exact_even_when_read_as_doubles(
        rows in rows(double().prop_map(|value| value as f32)),
    ) {
        let found = written(&DataType::FLOAT, primitive::<Float32Type>(&rows.0), rows.1.as_deref(), rows.2);
        let widened = rows.0.iter().map(|value| value.map(f64::from)).collect();
        check_floats(&(widened, rows.1, rows.2), &found)?;
    }

    #[test]
    fn decimal_bounds_keep_every_digit(rows in rows(decimal()), scale in prop::sample::select(vec![0_u8, 18, 38])) {
        let array = rows.0.iter().copied().collect::<Decimal128Array>();
        let array: ArrayRef = Arc::new(array.with_precision_and_scale(38, scale as i8).unwrap());
        let ty = DataType::decimal(38, scale).unwrap();
        let found = written(&ty, array, rows.1.as_deref(), rows.2);
        let (min, max) = extremes(&seen(&rows));
        // Without its point, the text is the unscaled number.
        let unscaled = |json: &String| {
            let fraction = json.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            assert_eq!(fraction, usize::from(scale));
            json.replace('.', "").parse::<i128>().unwrap()
        };
        prop_assert_eq!(found.min.as_ref().map(unscaled), min);
        prop_assert_eq!(found.max.as_ref().map(unscaled), max);
        prop_assert_eq!(found.nulls as usize, rows.0.len() - seen(&rows).len());
    }

    #[test]
    fn timestamp_bounds_are_rounded_outwards(rows in rows(timestamp())) {
        let array = PrimitiveArray::<TimestampMicrosecondType>::from(rows.0.clone());
        let utc: ArrayRef = Arc::new(array.clone().with_timezone("UTC"));
        check_timestamps(&rows, &written(&DataType::TIMESTAMP, utc, rows.1.as_deref(), rows.2), "Z")?;
        let found = written(&DataType::TIMESTAMP_NTZ, Arc::new(array), rows.1.as_deref(), rows.2);
        check_timestamps(&rows, &found, "")?;
    }

    #[test]
    fn date_bounds_are_exact_within_the_calendar(
        rows in rows(integer(vec![-719_162, -719_163, 2_932_896, 2_932_897, -1, 0, i32::MIN, i32::MAX])),
    ) {
        let found = written(&DataType::DATE, primitive::<Date32Type>(&rows.0), rows.1.as_deref(), rows.2);
        let (min, max) = extremes(&seen(&rows));
        let text = |days: i32| {
            let day = chrono::Days::new(u64::try_from(i64::from(days) + 719_162).ok()?);
            let date = chrono::NaiveDate::from_ymd_opt(1, 1, 1).unwrap().checked_add_days(day)?;
            (days <= 2_932_896).then(|| format!("\"{date}\""))
        };
        prop_assert_eq!(found.min, min.and_then(text));
        prop_assert_eq!(found.max, max.and_then(text));
        prop_assert_eq!(found.nulls as usize, rows.0.len() - seen(&rows).len());
    }

    #[test]
    fn text_bounds_contain_every_text(rows in rows(text())) {
        check_texts(&rows)?;
    }

    #[test]
    fn types_without_bounds_have_exact_null_counts(rows in rows(any::<bool>())) {
        let nulls = (rows.0.len() - seen(&rows).len()) as u64;
        let expected = Written { min: None, max: None, nulls };
        let booleans: ArrayRef = Arc::new(rows.0.iter().copied().collect::<BooleanArray>());
        let bytes: BinaryArray = rows.0.iter().map(|value| value.map(|_| &b"x"[..])).collect();
        let lists = rows.0.iter().map(|value| value.map(|_| [Some(1), None]));
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists));
        let list = DataType::array(DataType::LONG, true);
        prop_assert_eq!(&written(&DataType::BOOLEAN, booleans, rows.1.as_deref(), rows.2), &expected);
        prop_assert_eq!(&written(&DataType::BINARY, Arc::new(bytes), rows.1.as_deref(), rows.2), &expected);
        prop_assert_eq!(&written(&list, lists, rows.1.as_deref(), rows.2), &expected);
    }
}

#[test]
fn statistics_have_the_shape_that_the_reference_engine_writes() {
    let inner = schema(vec![("b", DataType::LONG), ("y", DataType::BOOLEAN)]);
    let flags = schema(vec![("y", DataType::BOOLEAN)]);
    let table = schema(vec![
        ("id", DataType::LONG),
        ("a\"b", DataType::STRING),
        (
            "st",
            DataType::Struct(schema(vec![("a", DataType::Struct(inner))])),
        ),
        ("flags", DataType::Struct(flags)),
        ("gone", DataType::Primitive(PrimitiveType::Void)),
    ]);
    let deep = StructArray::new(
        vec![
            Arc::new(ArrowField::new("b", arrow_schema::DataType::Int64, true)),
            Arc::new(ArrowField::new("y", arrow_schema::DataType::Boolean, true)),
        ]
        .into(),
        vec![
            Arc::new(Int64Array::from(vec![5, 900])),
            Arc::new(BooleanArray::from(vec![true, false])),
        ],
        Some(NullBuffer::from(vec![true, false])),
    );
    let field = Arc::new(ArrowField::new("a", deep.data_type().clone(), true));
    let outer = StructArray::new(vec![field].into(), vec![Arc::new(deep)], None);
    let flag = Arc::new(ArrowField::new("y", arrow_schema::DataType::Boolean, true));
    let flags = StructArray::new(
        vec![flag].into(),
        vec![Arc::new(BooleanArray::from(vec![None, None]))],
        None,
    );
    let rows = batch(vec![
        ("id", Arc::new(Int64Array::from(vec![2, 1]))),
        (
            "a\"b",
            Arc::new(StringArray::from(vec![None::<&str>, None])),
        ),
        ("st", Arc::new(outer)),
        ("flags", Arc::new(flags)),
        ("gone", Arc::new(arrow_array::NullArray::new(2))),
    ]);
    assert_eq!(
        collect_all(&table, &[rows]),
        r#"{"numRecords":2,"minValues":{"id":1,"st":{"a":{"b":5}}},"maxValues":{"id":2,"st":{"a":{"b":5}}},"#.to_owned()
            + r#""nullCount":{"id":0,"a\"b":2,"st":{"a":{"b":1,"y":1}},"flags":{"y":2}},"tightBounds":true}"#
    );
}

#[test]
fn a_file_without_rows_has_no_bounds() {
    let json = collect_all(&schema(vec![("a", DataType::LONG)]), &[]);
    assert_eq!(
        json,
        r#"{"numRecords":0,"minValues":{},"maxValues":{},"nullCount":{"a":0},"tightBounds":true}"#
    );
}

#[test]
fn a_nan_or_a_value_below_a_null_struct_is_not_a_value() {
    let hidden: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, 1.0, -9.0]));
    let found = written(&DataType::DOUBLE, hidden, Some(&[false, true, false]), 1);
    let expected = Written {
        min: Some("1.0".to_owned()),
        max: Some("1.0".to_owned()),
        nulls: 2,
    };
    assert_eq!(found, expected);
}

fn indexed(schema: &Schema, pairs: &[(&str, &str)]) -> Vec<String> {
    let collector = Collector::new(schema, ColumnNames::Logical, &options(pairs));
    collector
        .statistics()
        .into_iter()
        .map(|column| column.path.join("."))
        .collect()
}

#[test]
fn leaves_are_counted_in_the_order_of_the_schema() {
    let inner = schema(vec![
        ("x", DataType::LONG),
        ("y", DataType::LONG),
        ("z", DataType::LONG),
    ]);
    let table = schema(vec![
        ("m", DataType::map(DataType::STRING, DataType::LONG, true)),
        ("s", DataType::Struct(inner)),
        ("l", DataType::array(DataType::LONG, true)),
        ("Last", DataType::STRING),
    ]);
    let first = |count| indexed(&table, &[("delta.dataSkippingNumIndexedCols", count)]);
    assert_eq!(first("0"), Vec::<String>::new());
    assert_eq!(first("3"), ["m", "s.x", "s.y"]);
    assert_eq!(first("5"), ["m", "s.x", "s.y", "s.z", "l"]);
    assert_eq!(first("-1"), ["m", "s.x", "s.y", "s.z", "l", "Last"]);
    let names: Vec<String> = (0..40).map(|index| format!("c{index}")).collect();
    let wide = schema(
        names
            .iter()
            .map(|name| (name.as_str(), DataType::LONG))
            .collect(),
    );
    assert_eq!(indexed(&wide, &[]).len(), 32);
}

#[test]
fn named_columns_are_found_in_any_case_and_a_struct_names_its_leaves() {
    let inner = schema(vec![("x", DataType::LONG), ("y", DataType::LONG)]);
    let table = schema(vec![
        ("s", DataType::Struct(inner.clone())),
        ("t", DataType::Struct(inner)),
        ("Last", DataType::STRING),
    ]);
    let key = "delta.dataSkippingStatsColumns";
    assert_eq!(
        indexed(&table, &[(key, "S,t.Y,`lAST`,none")]),
        ["s.x", "s.y", "t.y", "Last"]
    );
    let both = [("delta.dataSkippingNumIndexedCols", "1"), (key, "t")];
    assert_eq!(indexed(&table, &both), ["t.x", "t.y"]);
}

#[test]
fn the_length_of_text_bounds_is_a_property() {
    let table = schema(vec![("t", DataType::STRING)]);
    let two = options(&[("delta.dataSkippingStringPrefixLength", "2")]);
    let mut collector = Collector::new(&table, ColumnNames::Logical, &two);
    let texts = StringArray::from(vec!["abcde", "vwxyz"]);
    collector
        .update(&batch(vec![("t", Arc::new(texts))]))
        .unwrap();
    let json = collector.finish();
    assert!(
        json.contains("\"minValues\":{\"t\":\"ab\"},\"maxValues\":{\"t\":\"vw\u{7f}\"}"),
        "{json}"
    );
}

#[test]
fn mapped_columns_go_by_their_physical_names() {
    let json = r#"{"type":"struct","fields":[{"name":"a","type":"long","nullable":true,
        "metadata":{"delta.columnMapping.physicalName":"col-1"}}]}"#;
    let schema = Schema::from_json(json).unwrap();
    let named = [("delta.dataSkippingStatsColumns", "A")];
    let mut collector = Collector::new(&schema, ColumnNames::Physical, &options(&named));
    collector
        .update(&batch(vec![("a", Arc::new(Int64Array::from(vec![7])))]))
        .unwrap();
    let found = collector.statistics();
    assert_eq!(found[0].path, ["col-1"]);
    assert_eq!(
        (&found[0].min, &found[0].max),
        (&Some(Scalar::Long(7)), &Some(Scalar::Long(7)))
    );
    assert_eq!(collector.rows(), 1);
    assert!(collector.finish().contains(r#""minValues":{"col-1":7}"#));
}

#[test]
fn a_batch_of_other_columns_is_refused() {
    let mut collector = Collector::new(
        &schema(vec![("a", DataType::LONG)]),
        ColumnNames::Logical,
        &all(),
    );
    let texts = batch(vec![("a", Arc::new(StringArray::from(vec!["x"])))]);
    assert_eq!(
        collector
            .update(&texts)
            .unwrap_err()
            .context_value("column"),
        Some("a")
    );
    let number: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    assert!(
        collector
            .update(&batch(vec![("a", Arc::clone(&number)), ("b", number)]))
            .is_err()
    );
}

/// One line of the vectors: what Delta Spark 4.4 wrote as the bounds of a file with one value.
#[derive(serde::Deserialize)]
struct Vector {
    #[serde(rename = "type")]
    ty: String,
    value: String,
    min: Option<serde_json::Value>,
    max: Option<serde_json::Value>,
}

impl Vector {
    // The value stands there as in SQL: 1.5D, float(0.1), date'1969-12-31'.
    fn literal(&self) -> &str {
        let quoted = self
            .value
            .split_once('\'')
            .map(|(_, rest)| rest.trim_end_matches(['\'', ')']));
        let inner = self
            .value
            .split_once('(')
            .map(|(_, rest)| rest.trim_end_matches(')'));
        quoted.or(inner).unwrap_or(self.value.trim_end_matches('D'))
    }

    fn micros(&self) -> i64 {
        let time =
            chrono::NaiveDateTime::parse_from_str(self.literal(), "%Y-%m-%d %H:%M:%S%.f").unwrap();
        time.and_utc().timestamp_micros()
    }

    fn array(&self) -> (DataType, ArrayRef) {
        let literal = self.literal();
        match self.ty.as_str() {
            "string" => (
                DataType::STRING,
                Arc::new(StringArray::from(vec![self.value.as_str()])),
            ),
            "double" => (
                DataType::DOUBLE,
                primitive::<Float64Type>(&[literal.parse().ok()]),
            ),
            "float" => (
                DataType::FLOAT,
                primitive::<Float32Type>(&[literal.parse().ok()]),
            ),
            "bigint" => (
                DataType::LONG,
                primitive::<Int64Type>(&[literal.parse().ok()]),
            ),
            "date" => {
                let date = chrono::NaiveDate::parse_from_str(literal, "%Y-%m-%d").unwrap();
                let days = chrono::Datelike::num_days_from_ce(&date) - 719_163;
                (DataType::DATE, primitive::<Date32Type>(&[Some(days)]))
            }
            "timestamp" => {
                let array = PrimitiveArray::<TimestampMicrosecondType>::from(vec![self.micros()]);
                (DataType::TIMESTAMP, Arc::new(array.with_timezone("UTC")))
            }
            "timestamp_ntz" => (
                DataType::TIMESTAMP_NTZ,
                primitive::<TimestampMicrosecondType>(&[Some(self.micros())]),
            ),
            "boolean" => (
                DataType::BOOLEAN,
                Arc::new(BooleanArray::from(vec![literal == "true"])),
            ),
            "binary" => (
                DataType::BINARY,
                Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..]])),
            ),
            decimal => {
                let scale = if decimal == "decimal(38,18)" { 18 } else { 0 };
                let precision = if scale == 18 { 38 } else { 10 };
                let fraction = self
                    .value
                    .split_once('.')
                    .map_or(0, |(_, fraction)| fraction.len());
                let unscaled: i128 = self.value.replace('.', "").parse().unwrap();
                let unscaled = unscaled * 10_i128.pow(scale - fraction as u32);
                let array = Decimal128Array::from(vec![unscaled]);
                let array = array
                    .with_precision_and_scale(precision, scale as i8)
                    .unwrap();
                (
                    DataType::decimal(precision, scale as u8).unwrap(),
                    Arc::new(array),
                )
            }
        }
    }

    fn expected(&self, bound: &Option<serde_json::Value>, ty: &DataType) -> Option<Scalar> {
        let text = match bound.as_ref()? {
            serde_json::Value::Object(number) => number["number"].as_str().unwrap().to_owned(),
            other => other.to_string(),
        };
        Scalar::from_statistics(&text, ty.as_primitive().unwrap())
    }
}

#[test]
fn bounds_are_as_tight_as_the_reference_engine_wherever_its_are_sound() {
    let vectors = include_str!("../../../tests/vectors/statistics.ndjson");
    for line in vectors.lines() {
        let vector: Vector = serde_json::from_str(line).unwrap();
        let (ty, array) = vector.array();
        assert_eq!(array.null_count(), 0, "{line}");
        let found = written(&ty, array, None, 0);
        let read =
            |json: &Option<String>| Scalar::from_statistics(json.as_ref()?, ty.as_primitive()?);
        let (min, mut max) = (
            vector.expected(&vector.min, &ty),
            vector.expected(&vector.max, &ty),
        );
        // A maximum that was cut to milliseconds is not sound; the last instant of year 9999 has no sound one.
        if let Some(Scalar::Timestamp(cut) | Scalar::TimestampNtz(cut)) = &mut max {
            *cut += if vector.micros() == *cut { 0 } else { 1000 };
            if *cut == YEAR_10000 {
                max = None;
            }
        }
        let same = |found: Option<Scalar>, expected: Option<Scalar>| match (found, expected) {
            (Some(found), Some(expected)) => found.compare(&expected) == Some(Ordering::Equal),
            (found, expected) => found == expected,
        };
        assert!(same(read(&found.min), min), "{line}: {:?}", found.min);
        assert!(same(read(&found.max), max), "{line}: {:?}", found.max);
        assert_eq!(found.nulls, 0);
    }
    assert!(40 < vectors.lines().count());
}
