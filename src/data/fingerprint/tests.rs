//! The golden fingerprints of version 1, which never change, and what a fingerprint does and does not depend on.

use std::sync::Arc;

use arrow_array::builder::{Float64Builder, ListBuilder, MapBuilder, StringBuilder};
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, LargeStringArray, ListArray, StringArray,
    StringViewArray, StructArray, TimestampMicrosecondArray, TimestampMillisecondArray,
};
use arrow_buffer::NullBuffer;
use arrow_cast::cast;
use arrow_schema::{DataType as ArrowType, Field as ArrowField, Schema as ArrowSchema};
use arrow_select::take::take_record_batch;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::protocol::schema::{DataType, PrimitiveType};

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let field =
        |(name, array): &(&str, ArrayRef)| ArrowField::new(*name, array.data_type().clone(), true);
    let schema = ArrowSchema::new(columns.iter().map(field).collect::<Vec<_>>());
    RecordBatch::try_new(
        Arc::new(schema),
        columns.into_iter().map(|(_, array)| array).collect(),
    )
    .unwrap()
}

fn schema(columns: Vec<(&str, DataType)>) -> Schema {
    Schema::new(
        columns
            .into_iter()
            .map(|(name, ty)| Field::new(name, ty, true)),
    )
    .unwrap()
}

fn fingerprint(schema: &Schema, batches: &[RecordBatch]) -> RowFingerprint {
    let mut fingerprinter = Fingerprinter::new(schema, ColumnNames::Logical).unwrap();
    batches
        .iter()
        .for_each(|batch| fingerprinter.update(batch).unwrap());
    fingerprinter.finish()
}

fn one(ty: DataType, array: ArrayRef) -> RowFingerprint {
    fingerprint(&schema(vec![("c", ty)]), &[batch(vec![("c", array)])])
}

fn structs(columns: Vec<(&str, ArrayRef)>, valid: Vec<bool>) -> ArrayRef {
    let parts = StructArray::from(batch(columns));
    let (fields, arrays, _) = parts.into_parts();
    Arc::new(StructArray::new(
        fields,
        arrays,
        Some(NullBuffer::from(valid)),
    ))
}

// The expected texts come from a second implementation of the documented version 1, in another language.

#[test]
fn version_1_of_plain_rows_is_for_ever() {
    let table = schema(vec![("id", DataType::LONG), ("name", DataType::STRING)]);
    let rows = batch(vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2, -3]))),
        (
            "name",
            Arc::new(StringArray::from(vec![
                Some("a"),
                None,
                Some("a text of more than sixteen bytes"),
            ])),
        ),
    ]);
    let found = fingerprint(&table, &[rows]);
    assert_eq!(found.to_string(), "1:3:37ece7cf0f09eb3d4cfc4e085e7ee99a");
    assert_eq!(
        fingerprint(&table, &[]).to_string(),
        format!("1:0:{:032x}", 0)
    );
}

type Columns = Vec<(&'static str, DataType, ArrayRef)>;

// Two rows of values and one of nulls.
fn of_rows<A: FromIterator<Option<T>> + Array + 'static, T>(first: T, second: T) -> ArrayRef {
    Arc::new([Some(first), Some(second), None].into_iter().collect::<A>())
}

fn numbers() -> Columns {
    let most = 10_i128.pow(38) - 1;
    let decimals = Decimal128Array::from(vec![Some(-most), Some(0), None]);
    let decimals = Arc::new(decimals.with_precision_and_scale(38, 18).unwrap());
    vec![
        (
            "b",
            DataType::BOOLEAN,
            of_rows::<BooleanArray, _>(true, false),
        ),
        ("i1", DataType::BYTE, of_rows::<Int8Array, _>(i8::MIN, 0)),
        ("i2", DataType::SHORT, of_rows::<Int16Array, _>(i16::MAX, 0)),
        (
            "i4",
            DataType::INTEGER,
            of_rows::<Int32Array, _>(i32::MIN, 0),
        ),
        ("i8", DataType::LONG, of_rows::<Int64Array, _>(i64::MAX, 0)),
        (
            "f",
            DataType::FLOAT,
            of_rows::<Float32Array, _>(1.5, f32::NAN),
        ),
        (
            "d",
            DataType::DOUBLE,
            of_rows::<Float64Array, _>(-0.0, -f64::NAN),
        ),
        ("de", DataType::decimal(38, 18).unwrap(), decimals),
    ]
}

fn texts_and_times() -> Columns {
    let instants = TimestampMicrosecondArray::from(vec![Some(-1), Some(0), None]);
    let times = of_rows::<TimestampMicrosecondArray, _>(253_402_300_799_999_999, 0);
    vec![
        (
            "s",
            DataType::STRING,
            of_rows::<StringArray, _>("\u{1f600}", ""),
        ),
        (
            "bi",
            DataType::BINARY,
            of_rows::<BinaryArray, _>(&b"\x00\xff"[..], b""),
        ),
        ("da", DataType::DATE, of_rows::<Date32Array, _>(-719_162, 0)),
        (
            "ts",
            DataType::TIMESTAMP,
            Arc::new(instants.with_timezone("UTC")),
        ),
        ("nt", DataType::TIMESTAMP_NTZ, times),
    ]
}

#[test]
fn version_1_of_every_primitive_type_is_for_ever() {
    let columns = [numbers(), texts_and_times()].concat();
    let table = schema(
        columns
            .iter()
            .map(|(name, ty, _)| (*name, ty.clone()))
            .collect(),
    );
    let rows = batch(
        columns
            .into_iter()
            .map(|(name, _, array)| (name, array))
            .collect(),
    );
    let found = fingerprint(&table, &[rows]);
    assert_eq!(found.to_string(), "1:3:4fd4b97aeb4d8f68e863e5edc7b2476a");
}

fn nested() -> (Schema, RecordBatch) {
    let inner = DataType::Struct(schema(vec![("y", DataType::STRING)]));
    let table = schema(vec![
        (
            "s",
            DataType::Struct(schema(vec![("x", DataType::LONG), ("in", inner)])),
        ),
        ("l", DataType::array(DataType::INTEGER, true)),
        ("m", DataType::map(DataType::STRING, DataType::DOUBLE, true)),
        (
            "ll",
            DataType::array(DataType::array(DataType::STRING, true), true),
        ),
    ]);
    // Below the nulls stand values that nobody sees.
    let inner = structs(
        vec![("y", Arc::new(StringArray::from(vec!["a", "hidden", "b"])))],
        vec![true, false, true],
    );
    let outer = structs(
        vec![
            (
                "x",
                Arc::new(Int64Array::from(vec![Some(1), None, Some(9)])),
            ),
            ("in", inner),
        ],
        vec![true, true, false],
    );
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
        Some(vec![Some(1), None, Some(3)]),
        Some(vec![]),
        None,
    ]);
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Float64Builder::new());
    maps.keys().append_value("k");
    maps.values().append_value(0.5);
    maps.keys().append_value("j");
    maps.values().append_null();
    maps.append(true).unwrap();
    maps.append(true).unwrap();
    maps.append(false).unwrap();
    let mut deep = ListBuilder::new(ListBuilder::new(StringBuilder::new()));
    deep.values().append(true);
    deep.values().append(false);
    deep.values().values().append_value("x");
    deep.values().values().append_null();
    deep.values().append(true);
    deep.append(true);
    deep.append(true);
    deep.append(false);
    let rows = batch(vec![
        ("s", outer),
        ("l", Arc::new(lists)),
        ("m", Arc::new(maps.finish())),
        ("ll", Arc::new(deep.finish())),
    ]);
    (table, rows)
}

#[test]
fn version_1_of_nested_rows_is_for_ever() {
    let (table, rows) = nested();
    let found = fingerprint(&table, std::slice::from_ref(&rows));
    assert_eq!(found.to_string(), "1:3:6d40d9de295bb2eb399c9c3094ccff5a");
    let backwards: Vec<_> = (0..3).rev().map(|row| rows.slice(row, 1)).collect();
    assert_eq!(fingerprint(&table, &backwards), found);
}

#[test]
fn version_1_of_variants_is_for_ever() {
    let parts: Vec<(&str, ArrayRef)> = vec![
        (
            "metadata",
            Arc::new(BinaryArray::from(vec![&b"\x01\x00\x00"[..]])),
        ),
        ("value", Arc::new(BinaryArray::from(vec![&b"\x0c\x07"[..]]))),
    ];
    let found = one(
        DataType::Primitive(PrimitiveType::Variant),
        structs(parts, vec![true]),
    );
    assert_eq!(found.to_string(), "1:1:17bcce1fc7ee25476cb0beb4c5638a89");
}

#[test]
fn a_fingerprint_reads_back_exactly_as_it_is_written() {
    let found = RowFingerprint {
        rows: u64::MAX,
        total: 0xab,
    };
    assert_eq!(found.to_string().parse::<RowFingerprint>().unwrap(), found);
    let zeros = "0".repeat(32);
    for wrong in [
        "",
        "1:",
        "1:1:",
        "1:1:+b",
        "1:1:ab",
        "2:1:ab",
        &format!("1:01:{zeros}"),
        &format!("1:1:{zeros}0"),
    ] {
        assert!(wrong.parse::<RowFingerprint>().is_err(), "{wrong}");
    }
}

/// Random rows of five columns.
#[derive(Debug, Clone, PartialEq)]
struct Rows {
    id: Vec<Option<i64>>,
    text: Vec<Option<String>>,
    number: Vec<Option<f64>>,
    list: Vec<Option<Vec<Option<i64>>>>,
    inside: Vec<(bool, Option<i32>)>,
}

impl Rows {
    fn schema() -> Schema {
        schema(vec![
            ("id", DataType::LONG),
            ("text", DataType::STRING),
            ("number", DataType::DOUBLE),
            ("list", DataType::array(DataType::LONG, true)),
            (
                "inside",
                DataType::Struct(schema(vec![("x", DataType::INTEGER)])),
            ),
        ])
    }

    fn batch(&self) -> RecordBatch {
        let (valid, x): (Vec<bool>, Vec<Option<i32>>) = self.inside.iter().copied().unzip();
        batch(vec![
            ("id", Arc::new(Int64Array::from(self.id.clone()))),
            ("text", Arc::new(StringArray::from(self.text.clone()))),
            ("number", Arc::new(Float64Array::from(self.number.clone()))),
            (
                "list",
                Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(
                    self.list.clone(),
                )),
            ),
            (
                "inside",
                structs(vec![("x", Arc::new(Int32Array::from(x)))], valid),
            ),
        ])
    }

    fn fingerprint(&self) -> RowFingerprint {
        fingerprint(&Self::schema(), &[self.batch()])
    }
}

fn rows() -> impl Strategy<Value = Rows> {
    (2_usize..40).prop_flat_map(|rows| {
        let id = vec(option::of(any::<i64>()), rows);
        let text = vec(option::of(".{0,40}"), rows);
        let number = vec(option::of(prop::num::f64::ANY), rows);
        let list = vec(option::of(vec(option::of(any::<i64>()), 0..5)), rows);
        let inside = vec((any::<bool>(), option::of(any::<i32>())), rows);
        (id, text, number, list, inside).prop_map(|(id, text, number, list, inside)| Rows {
            id,
            text,
            number,
            list,
            inside,
        })
    })
}

proptest! {
    #[test]
    fn order_and_batches_do_not_matter(
        rows in rows(), keys in vec(any::<u32>(), 40), cuts in vec(0_usize..40, 0..4),
    ) {
        let whole = rows.batch();
        let mut order: Vec<u32> = (0..whole.num_rows() as u32).collect();
        order.sort_by_key(|row| keys[*row as usize]);
        let shuffled = take_record_batch(&whole, &Int32Array::from_iter_values(order.iter().map(|row| *row as i32)));
        let shuffled = shuffled.unwrap();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(whole.num_rows())).collect();
        cuts.extend([0, whole.num_rows()]);
        cuts.sort_unstable();
        let batches: Vec<_> =
            cuts.iter().zip(&cuts[1..]).map(|(from, to)| shuffled.slice(*from, to - from)).collect();
        prop_assert_eq!(fingerprint(&Rows::schema(), &batches), rows.fingerprint());
        let parts = batches.iter().map(|part| fingerprint(&Rows::schema(), std::slice::from_ref(part)));
        prop_assert_eq!(parts.fold(RowFingerprint::default(), RowFingerprint::plus), rows.fingerprint());
    }

    #[test]
    fn every_small_change_is_noticed(rows in rows(), at in any::<prop::sample::Index>(), bit in 0_u32..64) {
        let found = rows.fingerprint();
        let at = at.index(rows.id.len());
        let mut changed = Vec::new();
        let mut change = |with: &dyn Fn(&mut Rows)| {
            let mut other = rows.clone();
            with(&mut other);
            changed.push(other);
        };
        change(&|rows| rows.id[at] = rows.id[at].map_or(Some(0), |_| None));
        change(&|rows| rows.id[at] = Some(rows.id[at].unwrap_or(0) ^ (1 << bit)));
        change(&|rows| rows.text[at] = rows.text[at].clone().map_or(Some(String::new()), |text| Some(text + "\0")));
        change(&|rows| rows.text[at] = rows.text[at].clone().map_or(Some(String::new()), |_| None));
        change(&|rows| rows.number[at] = Some(if rows.number[at] == Some(0.5) { -0.5 } else { 0.5 }));
        change(&|rows| rows.list[at] = rows.list[at].clone().map_or(Some(vec![]), |_| None));
        change(&|rows| rows.list[at].get_or_insert_default().push(None));
        change(&|rows| rows.inside[at].0 ^= true);
        for other in changed {
            prop_assert_ne!(other.fingerprint(), found, "{:?}", other);
        }
        let next = (at + 1) % rows.id.len();
        let mut swapped = rows.clone();
        swapped.id.swap(at, next);
        if rows.id[at] != rows.id[next] && visibly_differ(&rows, at, next) {
            prop_assert_ne!(swapped.fingerprint(), found);
        }
    }

    #[test]
    fn rows_can_be_taken_away(rows in rows(), gone in any::<prop::sample::Index>()) {
        let whole = rows.batch();
        let gone = gone.index(whole.num_rows());
        let deleted = fingerprint(&Rows::schema(), &[whole.slice(gone, 1)]);
        let left = [whole.slice(0, gone), whole.slice(gone + 1, whole.num_rows() - gone - 1)];
        prop_assert_eq!(rows.fingerprint().minus(deleted), fingerprint(&Rows::schema(), &left));
    }

    #[test]
    fn constants_are_columns(rows in rows(), day in option::of(any::<i32>()), name in option::of(".{0,20}")) {
        let ids: ArrayRef = Arc::new(Int64Array::from(rows.id.clone()));
        let count = rows.id.len();
        let table = schema(vec![("id", DataType::LONG), ("day", DataType::DATE), ("name", DataType::STRING)]);
        let whole = batch(vec![
            ("id", Arc::clone(&ids)),
            ("day", Arc::new(Date32Array::from(vec![day; count]))),
            ("name", Arc::new(StringArray::from(vec![name.clone(); count]))),
        ]);
        let day = day.map_or(Scalar::Null, Scalar::Date);
        let name = name.map_or(Scalar::Null, Scalar::String);
        let mut with_constants = Fingerprinter::new(&schema(vec![("id", DataType::LONG)]), ColumnNames::Logical)
            .unwrap()
            .with_constant(&table.fields()[1], &day)
            .unwrap()
            .with_constant(&table.fields()[2], &name)
            .unwrap();
        with_constants.update(&batch(vec![("id", ids)])).unwrap();
        prop_assert_eq!(with_constants.finish(), fingerprint(&table, &[whole]));
    }
}

// Whether two rows differ in columns where all differences are seen: hidden fields and kinds of NaN are not.
fn visibly_differ(rows: &Rows, left: usize, right: usize) -> bool {
    rows.text[left] != rows.text[right] || rows.list[left] != rows.list[right]
}

#[test]
fn the_layout_of_arrays_does_not_matter() {
    let texts = vec![
        Some("a"),
        None,
        Some("b"),
        Some("a"),
        Some("a text of more than sixteen bytes"),
    ];
    let plain: ArrayRef = Arc::new(StringArray::from(texts.clone()));
    let expected = one(DataType::STRING, Arc::clone(&plain));
    let dictionary = ArrowType::Dictionary(Box::new(ArrowType::Int32), Box::new(ArrowType::Utf8));
    let layouts: Vec<ArrayRef> = vec![
        Arc::new(LargeStringArray::from(texts.clone())),
        Arc::new(StringViewArray::from(texts)),
        cast(&plain, &dictionary).unwrap(),
    ];
    for array in layouts {
        assert_eq!(
            one(DataType::STRING, Arc::clone(&array)),
            expected,
            "{}",
            array.data_type()
        );
    }
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
        Some(vec![Some(1), None]),
        None,
    ]));
    let list = || DataType::array(DataType::LONG, true);
    let item = Arc::new(ArrowField::new("item", ArrowType::Int64, true));
    let large = cast(&lists, &ArrowType::LargeList(item)).unwrap();
    assert_eq!(one(list(), large), one(list(), lists));
    let millis: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![-7]).with_timezone("UTC"));
    let micros: ArrayRef =
        Arc::new(TimestampMicrosecondArray::from(vec![-7000]).with_timezone("UTC"));
    assert_eq!(
        one(DataType::TIMESTAMP, millis),
        one(DataType::TIMESTAMP, micros)
    );
}

#[test]
fn a_slice_of_nested_arrays_is_what_it_shows() {
    let (table, rows) = nested();
    let last = rows.slice(2, 1);
    let copied = take_record_batch(&rows, &Int32Array::from(vec![2])).unwrap();
    assert_eq!(fingerprint(&table, &[last]), fingerprint(&table, &[copied]));
}

#[test]
fn a_column_of_nulls_is_no_column_and_the_order_of_columns_does_not_matter() {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["x", "y"]));
    let nulls: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>, None]));
    let (id, text, new) = (
        ("id", DataType::LONG),
        ("text", DataType::STRING),
        ("new", DataType::STRING),
    );
    let plain = fingerprint(
        &schema(vec![id.clone(), text.clone()]),
        &[batch(vec![
            ("id", Arc::clone(&ids)),
            ("text", Arc::clone(&texts)),
        ])],
    );
    let turned = fingerprint(
        &schema(vec![text.clone(), new, id.clone()]),
        &[batch(vec![
            ("text", Arc::clone(&texts)),
            ("new", nulls),
            ("id", Arc::clone(&ids)),
        ])],
    );
    assert_eq!(turned, plain);
    let renamed = schema(vec![id, ("other", DataType::STRING)]);
    assert_ne!(
        fingerprint(&renamed, &[batch(vec![("id", ids), ("other", texts)])]),
        plain
    );
}

#[test]
fn widened_values_stay_the_same_and_signed_zeros_do_not() {
    let narrow = one(DataType::BYTE, Arc::new(Int8Array::from(vec![-1, 7])));
    assert_eq!(
        narrow,
        one(DataType::LONG, Arc::new(Int64Array::from(vec![-1, 7])))
    );
    let narrow = one(
        DataType::FLOAT,
        Arc::new(Float32Array::from(vec![0.1, f32::NAN])),
    );
    let wide = vec![f64::from(0.1_f32), -f64::NAN];
    assert_eq!(
        narrow,
        one(DataType::DOUBLE, Arc::new(Float64Array::from(wide)))
    );
    let zero = |value: f64| one(DataType::DOUBLE, Arc::new(Float64Array::from(vec![value])));
    assert_ne!(zero(0.0), zero(-0.0));
}

#[test]
fn mapped_columns_go_by_their_physical_names() {
    let json = r#"{"type":"struct","fields":[{"name":"NAME","type":"long","nullable":true,
        "metadata":{"delta.columnMapping.physicalName":"col-1"}}]}"#;
    let renamed = Schema::from_json(&json.replace("NAME", "b")).unwrap();
    let physical = |schema: &Schema| {
        let mut fingerprinter = Fingerprinter::new(schema, ColumnNames::Physical).unwrap();
        fingerprinter
            .update(&batch(vec![("x", Arc::new(Int64Array::from(vec![7])))]))
            .unwrap();
        fingerprinter.finish()
    };
    assert_eq!(
        physical(&renamed),
        physical(&Schema::from_json(&json.replace("NAME", "a")).unwrap())
    );
    assert_eq!(
        physical(&renamed),
        physical(&schema(vec![("col-1", DataType::LONG)]))
    );
}

#[test]
fn what_does_not_fit_the_schema_is_refused() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let refused = |ty: DataType, columns: Vec<(&str, ArrayRef)>| {
        let mut fingerprinter =
            Fingerprinter::new(&schema(vec![("c", ty)]), ColumnNames::Logical).unwrap();
        fingerprinter.update(&batch(columns)).unwrap_err().code()
    };
    let wrong = Code::InvalidArgument;
    assert_eq!(
        refused(DataType::DOUBLE, vec![("c", Arc::clone(&numbers))]),
        wrong
    );
    assert_eq!(
        refused(
            DataType::array(DataType::LONG, true),
            vec![("c", Arc::clone(&numbers))]
        ),
        wrong
    );
    assert_eq!(
        refused(
            DataType::LONG,
            vec![("c", Arc::clone(&numbers)), ("d", numbers)]
        ),
        wrong
    );
    let unknown = schema(vec![(
        "c",
        DataType::Primitive(PrimitiveType::Unknown("geo".to_owned())),
    )]);
    let error = Fingerprinter::new(&unknown, ColumnNames::Logical).unwrap_err();
    assert_eq!(error.kind(), crate::error::ErrorKind::Unsupported);
    let fingerprinter = Fingerprinter::new(&schema(vec![]), ColumnNames::Logical).unwrap();
    let field = Field::new("p", DataType::DATE, true);
    assert!(
        fingerprinter
            .with_constant(&field, &Scalar::Long(1))
            .is_err()
    );
}
