//! Values as text, of partitions and in statistics: what is read is written so that the same is read again.
#![no_main]

use headwater::protocol::schema::PrimitiveType;
use headwater::protocol::value::Scalar;
use headwater_fuzz::start;
use libfuzzer_sys::fuzz_target;

fn is_same(left: &Scalar, right: &Scalar) -> bool {
    let both_nan = match (left, right) {
        (Scalar::Float(left), Scalar::Float(right)) => left.is_nan() && right.is_nan(),
        (Scalar::Double(left), Scalar::Double(right)) => left.is_nan() && right.is_nan(),
        _ => false,
    };
    both_nan || left == right
}

fuzz_target!(init: start(), |input: (u8, u8, &str)| {
    let (kind, digits, text) = input;
    let types = [
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
        PrimitiveType::Decimal { precision: 1 + digits % 38, scale: (digits / 38).min(digits % 38) },
    ];
    let ty = &types[usize::from(kind) % types.len()];
    if let Ok(value) = Scalar::from_partition_value(Some(text), ty) {
        if let Ok(written) = value.to_partition_value() {
            let again = Scalar::from_partition_value(written.as_deref(), ty).expect("what is written can be read");
            assert!(is_same(&value, &again), "{text:?} {value:?} {written:?} {again:?}");
        }
        let array = value.to_array(ty, 2).expect("a value of a type has an array of it");
        let again = Scalar::from_array(&array, 1).expect("a value");
        assert!(is_same(&value, &again), "{text:?} {value:?} {again:?}");
    }
    if let Some(value) = Scalar::from_statistics(text, ty)
        && let Some(written) = value.to_statistics()
    {
        let again = Scalar::from_statistics(&written, ty).expect("what is written can be read");
        assert!(is_same(&value, &again), "{text:?} {value:?} {written:?} {again:?}");
    }
});
