use arrow_array::builder::{
    FixedSizeListBuilder, Int32Builder, LargeListBuilder, StringViewBuilder,
};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int16Type, Int32Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, BinaryArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array,
    Int32Array, Int64Array, LargeStringArray, ListArray, MapArray, StringArray, StructArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt32Array,
    UInt64Array, new_null_array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};

use super::*;
use crate::error::ErrorKind;
use crate::protocol::value::Scalar;

fn arc(array: impl Array + 'static) -> ArrayRef {
    Arc::new(array)
}

fn types() -> Vec<DataType> {
    vec![
        DataType::STRING,
        DataType::LONG,
        DataType::INTEGER,
        DataType::SHORT,
        DataType::BYTE,
        DataType::FLOAT,
        DataType::DOUBLE,
        DataType::BOOLEAN,
        DataType::BINARY,
        DataType::DATE,
        DataType::TIMESTAMP,
        DataType::TIMESTAMP_NTZ,
        DataType::decimal(1, 0).unwrap(),
        DataType::decimal(38, 38).unwrap(),
        DataType::Primitive(PrimitiveType::Void),
    ]
}

fn nested() -> Schema {
    let fields = types()
        .into_iter()
        .enumerate()
        .map(|(index, ty)| Field::new(format!("c{index}"), ty, true));
    let inner = DataType::Struct(Schema::new(fields).unwrap());
    Schema::new([
        Field::new("s", inner.clone(), false),
        Field::new(
            "a",
            DataType::array(DataType::array(inner.clone(), false), true),
            true,
        ),
        Field::new("m", DataType::map(DataType::STRING, inner, false), true),
    ])
    .unwrap()
}

#[test]
fn every_type_survives_arrow() {
    let schema = nested();
    let arrow = schema.to_arrow().unwrap();
    assert_eq!(Schema::from_arrow(&arrow).unwrap(), schema);
    assert_eq!(
        Schema::from_arrow(&arrow).unwrap().to_arrow().unwrap(),
        arrow
    );
    for ty in [
        PrimitiveType::Unknown("interval".into()),
        PrimitiveType::Unknown("fancy".into()),
    ] {
        let schema = Schema::new([Field::new("v", DataType::Primitive(ty), true)]).unwrap();
        let error = schema.to_arrow().unwrap_err();
        assert_eq!(
            (error.kind(), error.context_value("column")),
            (ErrorKind::Unsupported, Some("v"))
        );
    }
}

#[test]
fn variants_are_an_extension_type_and_intervals_are_arrows_own() {
    let variant = || DataType::Primitive(PrimitiveType::Variant);
    let interval = |name: &str| DataType::Primitive(PrimitiveType::Unknown(name.into()));
    let schema = Schema::new([
        Field::new("v", variant(), true),
        Field::new("l", DataType::array(variant(), true), true),
        Field::new("m", DataType::map(DataType::STRING, variant(), true), true),
    ])
    .unwrap();
    let arrow = schema.to_arrow().unwrap();
    assert_eq!(Schema::from_arrow(&arrow).unwrap(), schema);
    assert_eq!(arrow.field(0).metadata()[EXTENSION_KEY], EXTENSION_NAME);
    let (months, micros) = (
        interval("interval year"),
        interval("interval day to second"),
    );
    assert_eq!(
        months.to_arrow().unwrap(),
        ArrowType::Interval(IntervalUnit::YearMonth)
    );
    let stored: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None]));
    let read = conform(&stored, &micros, "c").unwrap();
    assert_eq!(
        read.data_type(),
        &ArrowType::Duration(TimeUnit::Microsecond)
    );
    assert_eq!(read.null_count(), 1);
}

#[test]
fn layouts_become_plain_types_and_the_rest_is_refused_by_name() {
    let dictionary =
        ArrowType::Dictionary(Box::new(ArrowType::Int8), Box::new(ArrowType::Utf8View));
    for (arrow, ty) in [
        (dictionary, DataType::STRING),
        (ArrowType::LargeBinary, DataType::BINARY),
        (ArrowType::FixedSizeBinary(3), DataType::BINARY),
        (
            ArrowType::Timestamp(TimeUnit::Nanosecond, Some("+05:00".into())),
            DataType::TIMESTAMP,
        ),
        (
            ArrowType::Timestamp(TimeUnit::Second, None),
            DataType::TIMESTAMP_NTZ,
        ),
        (ArrowType::Date64, DataType::DATE),
        (
            ArrowType::Decimal256(38, 2),
            DataType::decimal(38, 2).unwrap(),
        ),
        (
            ArrowType::LargeList(Arc::new(ArrowField::new("item", ArrowType::Int8, false))),
            DataType::array(DataType::BYTE, false),
        ),
    ] {
        assert_eq!(DataType::from_arrow(&arrow).unwrap(), ty, "{arrow}");
    }
    for arrow in [
        ArrowType::UInt8,
        ArrowType::UInt64,
        ArrowType::Time32(TimeUnit::Second),
        ArrowType::Duration(TimeUnit::Second),
        ArrowType::Interval(IntervalUnit::DayTime),
        ArrowType::Decimal128(5, -2),
        ArrowType::Decimal256(76, 2),
    ] {
        let schema = ArrowSchema::new(vec![ArrowField::new("odd", arrow.clone(), true)]);
        let error = Schema::from_arrow(&schema).unwrap_err();
        assert_eq!(
            (error.kind(), error.context_value("column")),
            (ErrorKind::Invalid, Some("odd")),
            "{arrow}"
        );
    }
    let twins = ArrowSchema::new(vec![
        ArrowField::new("a", ArrowType::Int8, true),
        ArrowField::new("A", ArrowType::Int8, true),
    ]);
    assert_eq!(
        Schema::from_arrow(&twins).unwrap_err().kind(),
        ErrorKind::Invalid
    );
    let deep = (0..10_000).fold(ArrowType::Int8, |ty, _| {
        ArrowType::List(Arc::new(ArrowField::new("item", ty, true)))
    });
    assert_eq!(
        DataType::from_arrow(&deep).unwrap_err().code(),
        Code::LimitExceeded
    );
    // Dropping a type that deep would exhaust the stack.
    std::mem::forget(deep);
}

fn texts(array: &ArrayRef, ty: &DataType) -> Vec<String> {
    let array = conform(array, ty, "c").unwrap();
    assert_eq!(array.data_type(), &ty.to_arrow().unwrap());
    (0..array.len())
        .map(|index| format!("{:?}", Scalar::from_array(&array, index).unwrap()))
        .collect()
}

#[test]
fn values_widen_where_nothing_is_lost() {
    let ints = arc(Int32Array::from(vec![Some(-1), None, Some(i32::MAX)]));
    assert_eq!(
        texts(&ints, &DataType::LONG),
        ["Long(-1)", "Null", "Long(2147483647)"]
    );
    assert_eq!(
        texts(&ints, &DataType::DOUBLE),
        ["Double(-1.0)", "Null", "Double(2147483647.0)"]
    );
    assert_eq!(
        texts(&ints, &DataType::decimal(12, 2).unwrap())[0],
        "Decimal { unscaled: -100, precision: 12, scale: 2 }"
    );
    assert_eq!(
        texts(&arc(UInt32Array::from(vec![u32::MAX])), &DataType::LONG),
        ["Long(4294967295)"]
    );
    assert_eq!(
        texts(&arc(Float32Array::from(vec![0.5])), &DataType::DOUBLE),
        ["Double(0.5)"]
    );
    let decimals = arc(Decimal128Array::from(vec![15])
        .with_precision_and_scale(5, 1)
        .unwrap());
    assert_eq!(
        texts(&decimals, &DataType::decimal(7, 3).unwrap()),
        ["Decimal { unscaled: 1500, precision: 7, scale: 3 }"]
    );
    assert_eq!(
        texts(&arc(LargeStringArray::from(vec!["x"])), &DataType::STRING),
        ["String(\"x\")"]
    );
    assert_eq!(
        texts(&arc(BinaryArray::from(vec![&b"x"[..]])), &DataType::STRING),
        ["String(\"x\")"]
    );
    assert_eq!(
        texts(&arc(StringArray::from(vec!["x"])), &DataType::BINARY),
        ["Binary([120])"]
    );
    let dictionary: DictionaryArray<Int16Type> =
        vec![Some("a"), None, Some("a")].into_iter().collect();
    assert_eq!(
        texts(&arc(dictionary), &DataType::STRING),
        ["String(\"a\")", "Null", "String(\"a\")"]
    );
    assert_eq!(
        texts(&new_null_array(&ArrowType::Null, 1), &DataType::LONG),
        ["Null"]
    );
    assert_eq!(
        texts(&arc(Date32Array::from(vec![1])), &DataType::TIMESTAMP_NTZ),
        ["TimestampNtz(86400000000)"]
    );
}

#[test]
fn times_become_microseconds() {
    let utc = DataType::TIMESTAMP;
    assert_eq!(
        texts(&arc(TimestampNanosecondArray::from(vec![-1, 1999])), &utc),
        ["Timestamp(-1)", "Timestamp(1)"]
    );
    let zoned = arc(TimestampMillisecondArray::from(vec![1]).with_timezone("+05:00"));
    assert_eq!(texts(&zoned, &utc), ["Timestamp(1000)"]);
    assert!(conform(&zoned, &DataType::TIMESTAMP_NTZ, "c").is_err());
    let seconds = arc(TimestampSecondArray::from(vec![i64::MAX]));
    assert_eq!(
        conform(&seconds, &utc, "c").unwrap_err().code(),
        Code::RowsRejected
    );
    let array = conform(&zoned, &utc, "c").unwrap();
    assert_eq!(
        array.as_primitive::<TimestampMicrosecondType>().timezone(),
        Some("UTC")
    );
}

#[test]
fn what_would_lose_something_is_refused_by_column() {
    let long = arc(Int64Array::from(vec![1]));
    let decimal = arc(Decimal128Array::from(vec![15])
        .with_precision_and_scale(10, 5)
        .unwrap());
    for (array, ty) in [
        (&long, DataType::INTEGER),
        (&long, DataType::DOUBLE),
        (&long, DataType::STRING),
        (&long, DataType::BOOLEAN),
        (&long, DataType::decimal(18, 0).unwrap()),
        (&decimal, DataType::decimal(10, 4).unwrap()),
        (&decimal, DataType::decimal(10, 6).unwrap()),
        (&decimal, DataType::DOUBLE),
        (&long, DataType::array(DataType::LONG, true)),
        (&arc(UInt64Array::from(vec![1])), DataType::LONG),
        (
            &arc(BinaryArray::from(vec![&[0xff_u8][..]])),
            DataType::STRING,
        ),
        (&arc(StringArray::from(vec!["2020-01-01"])), DataType::DATE),
        (&long, DataType::TIMESTAMP),
    ] {
        let error = conform(array, &ty, "s.x").unwrap_err();
        assert_eq!(
            (error.kind(), error.context_value("column")),
            (ErrorKind::Invalid, Some("s.x")),
            "{ty}"
        );
    }
}

fn of_struct(ty: &str) -> DataType {
    let json = format!(r#"{{"type":"struct","fields":[{ty}]}}"#);
    DataType::Struct(Schema::from_json(&json).unwrap())
}

fn field(name: &str, nullable: bool) -> String {
    format!(r#"{{"name":"{name}","type":"integer","nullable":{nullable},"metadata":{{}}}}"#)
}

fn structs(names: &[&str], nulls: Option<Vec<bool>>) -> ArrayRef {
    let column = arc(Int32Array::from(vec![Some(1), None]));
    let fields: Fields = names
        .iter()
        .map(|name| ArrowField::new(*name, ArrowType::Int32, true))
        .collect();
    arc(StructArray::new(
        fields,
        names.iter().map(|_| Arc::clone(&column)).collect(),
        nulls.map(NullBuffer::from),
    ))
}

#[test]
fn fields_of_structs_are_found_by_name_and_missing_ones_are_null() {
    let array = structs(&["b", "A", "extra"], None);
    let ty = of_struct(&[field("a", true), field("B", true), field("new", true)].join(","));
    let conformed = conform(&array, &ty, "s").unwrap();
    assert_eq!(conformed.data_type(), &ty.to_arrow().unwrap());
    assert_eq!(
        conformed
            .as_struct()
            .column(0)
            .as_primitive::<Int32Type>()
            .value(0),
        1
    );
    assert_eq!(conformed.as_struct().column(2).null_count(), 2);
    let error = conform(&array, &of_struct(&field("new", false)), "s").unwrap_err();
    assert_eq!(error.context_value("column"), Some("s.new"));
    let error = conform(&array, &of_struct(&field("a", false)), "s").unwrap_err();
    assert_eq!(
        (error.code(), error.context_value("column")),
        (Code::RowsRejected, Some("s.a"))
    );
    // A null struct has no fields that could be null.
    let masked = structs(&["a"], Some(vec![true, false]));
    conform(&masked, &of_struct(&field("a", false)), "s").unwrap();
    // The exact name goes before one that differs in case.
    let both = StructArray::from(vec![
        (
            Arc::new(ArrowField::new("A", ArrowType::Int32, true)),
            arc(Int32Array::from(vec![1])),
        ),
        (
            Arc::new(ArrowField::new("a", ArrowType::Int32, true)),
            arc(Int32Array::from(vec![2])),
        ),
    ]);
    let conformed = conform(&arc(both), &of_struct(&field("a", true)), "s").unwrap();
    assert_eq!(
        conformed
            .as_struct()
            .column(0)
            .as_primitive::<Int32Type>()
            .value(0),
        2
    );
}

#[test]
fn lists_of_every_layout_and_their_slices_conform() {
    let ty = DataType::array(DataType::LONG, true);
    let mut large = LargeListBuilder::new(Int32Builder::new());
    let mut fixed = FixedSizeListBuilder::new(Int32Builder::new(), 2);
    for values in [[1, 2], [3, 4], [5, 6]] {
        large.append_value(values.map(Some));
        values
            .into_iter()
            .for_each(|value| fixed.values().append_value(value));
        fixed.append(true);
    }
    let small = ListArray::from_iter_primitive::<Int32Type, _, _>(
        [[1, 2], [3, 4], [5, 6]].map(|v| Some(v.map(Some))),
    );
    for array in [arc(large.finish()), arc(fixed.finish()), arc(small)] {
        for (from, length) in [(0, 3), (1, 1), (2, 1), (1, 2), (3, 0)] {
            let conformed = conform(&array.slice(from, length), &ty, "l").unwrap();
            assert_eq!(conformed.data_type(), &ty.to_arrow().unwrap());
            let list = conformed.as_list::<i32>();
            assert_eq!(list.len(), length);
            for index in 0..length {
                let row = list.value(index);
                let first = i64::try_from((from + index) * 2 + 1).unwrap();
                assert_eq!(
                    row.as_ref(),
                    &Int64Array::from(vec![first, first + 1]) as &dyn Array
                );
            }
        }
    }
    // Values that only an outer slice hides do not count.
    let with_null = arc(ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![None]),
        Some(vec![Some(1)]),
    ]));
    let strict = DataType::array(DataType::INTEGER, false);
    assert_eq!(
        conform(&with_null, &strict, "l")
            .unwrap_err()
            .context_value("column"),
        Some("l")
    );
    conform(&with_null.slice(1, 1), &strict, "l").unwrap();
    let mut views = LargeListBuilder::new(StringViewBuilder::new());
    views.append_value([Some("x")]);
    views.append_null();
    let conformed = conform(
        &arc(views.finish()),
        &DataType::array(DataType::STRING, true),
        "l",
    )
    .unwrap();
    assert!(conformed.is_null(1));
}

#[test]
fn maps_conform_whatever_their_parts_are_called() {
    let keys = arc(LargeStringArray::from(vec!["a", "b", "c"]));
    let values = arc(Int32Array::from(vec![Some(1), None, Some(3)]));
    let parts = Fields::from(vec![
        ArrowField::new("keys", ArrowType::LargeUtf8, false),
        ArrowField::new("values", ArrowType::Int32, true),
    ]);
    let entries = StructArray::new(parts.clone(), vec![keys, values], None);
    let field = Arc::new(ArrowField::new("entries", ArrowType::Struct(parts), false));
    let map = arc(MapArray::new(
        field,
        OffsetBuffer::from_lengths([2, 1]),
        entries,
        None,
        true,
    ));
    let ty = DataType::map(DataType::STRING, DataType::LONG, true);
    let conformed = conform(&map, &ty, "m").unwrap();
    assert_eq!(conformed.data_type(), &ty.to_arrow().unwrap());
    let last = conform(
        &map.slice(1, 1),
        &DataType::map(DataType::STRING, DataType::LONG, false),
        "m",
    )
    .unwrap();
    assert_eq!(last.as_map().value(0).len(), 1);
    let error = conform(
        &map,
        &DataType::map(DataType::STRING, DataType::LONG, false),
        "m",
    )
    .unwrap_err();
    assert_eq!(error.context_value("column"), Some("m"));
    let error = conform(
        &map,
        &DataType::map(DataType::LONG, DataType::LONG, true),
        "m",
    )
    .unwrap_err();
    assert_eq!(error.context_value("column"), Some("m.key"));
}

#[test]
fn writers_do_not_drop_what_the_table_does_not_know() {
    let schema = nested();
    for (have, field) in schema
        .to_arrow()
        .unwrap()
        .fields()
        .iter()
        .zip(schema.fields())
    {
        refuse_unknown_fields(have.data_type(), &field.data_type, &field.name).unwrap();
    }
    let inner = of_struct(&field("a", true));
    let wider = of_struct(&[field("A", true), field("b", true)].join(","));
    for (have, ty, path) in [
        (wider.clone(), inner.clone(), "c.b"),
        (
            DataType::array(wider.clone(), true),
            DataType::array(inner.clone(), true),
            "c.element.b",
        ),
        (
            DataType::map(DataType::STRING, wider, true),
            DataType::map(DataType::STRING, inner, true),
            "c.value.b",
        ),
    ] {
        let error = refuse_unknown_fields(&have.to_arrow().unwrap(), &ty, "c").unwrap_err();
        assert_eq!(
            (error.code(), error.context_value("column")),
            (Code::RowsRejected, Some(path))
        );
    }
}
