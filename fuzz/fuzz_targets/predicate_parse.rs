//! A condition as SQL: an error, or one that is written and read again as it was, and that binds, prunes and filters
//! without contradicting itself.
#![no_main]

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use headwater::predicate::{BoundColumn, Bounds, ColumnBounds, Predicate, Skip};
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::protocol::value::Scalar;
use headwater_fuzz::start;
use libfuzzer_sys::fuzz_target;

/// One row, of which everything is known.
fn row() -> [(&'static str, DataType, Scalar); 9] {
    [
        ("a", DataType::LONG, Scalar::Long(7)),
        ("b", DataType::STRING, Scalar::String("x%_".to_owned())),
        ("c", DataType::DOUBLE, Scalar::Double(f64::NAN)),
        ("d", DataType::DATE, Scalar::Date(16_000)),
        (
            "e",
            DataType::TIMESTAMP,
            Scalar::Timestamp(1_372_550_400_000_001),
        ),
        ("f", DataType::BOOLEAN, Scalar::Boolean(true)),
        ("g", DataType::BINARY, Scalar::Binary(vec![0, 255])),
        (
            "h",
            DataType::decimal(12, 2).expect("a decimal"),
            Scalar::Decimal {
                unscaled: 150,
                precision: 12,
                scale: 2,
            },
        ),
        ("i", DataType::INTEGER, Scalar::Null),
    ]
}

struct One;

impl Bounds for One {
    fn rows(&self) -> Option<u64> {
        Some(1)
    }

    fn column(&self, column: &BoundColumn) -> ColumnBounds {
        let found = row().into_iter().find(|(name, ..)| column.path == [*name]);
        found.map_or_else(ColumnBounds::unknown, |(_, _, value)| {
            ColumnBounds::constant(value)
        })
    }
}

fuzz_target!(init: start(), |text: &str| {
    let Ok(predicate) = Predicate::parse(text) else {
        return;
    };
    let written = predicate.to_string();
    // What is written may be longer than what may be read.
    let Ok(again) = Predicate::parse(&written) else {
        assert!(1000 < written.len(), "{text:?} is written as {written:?}");
        return;
    };
    assert_eq!(again.to_string(), written);
    assert!(again == predicate || format!("{again:?}").contains("NaN"), "{text:?} {written:?}");
    let schema = Schema::new(row().map(|(name, ty, _)| Field::new(name, ty, true))).expect("a schema");
    let Ok(bound) = predicate.bind(&schema) else {
        return;
    };
    let columns = row().map(|(name, ty, value)| {
        let ty = ty.as_primitive().cloned().expect("a type of values");
        (name, value.to_array(&ty, 1).expect("an array") as ArrayRef, true)
    });
    let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("a batch");
    let batch = batch.with_schema(schema.to_arrow().expect("Arrow types")).map(Arc::new).expect("its schema");
    let skip = bound.skip(&One);
    let _ = bound.explain(&One);
    if let Ok(mask) = bound.evaluate(&batch) {
        let matches = mask.is_valid(0) && mask.value(0);
        match skip {
            Skip::Never => assert!(!matches, "{written}"),
            Skip::Always => assert!(matches, "{written}"),
            Skip::Maybe => {}
        }
    }
});
