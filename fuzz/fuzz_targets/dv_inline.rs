//! A deletion vector in the log: an error, or rows that are written and read again as they were.
#![no_main]

use headwater::protocol::action::DeletionVectorDescriptor;
use headwater::protocol::deletion_vector::{VectorSource, check_rows, decode, encode, inline_text};
use headwater_fuzz::start;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: start(), |input: (u8, u32, &str)| {
    let (filling, cardinality, text) = input;
    let size = (text.len() / 5 * 4).saturating_sub(usize::from(filling % 5));
    let mut descriptor = DeletionVectorDescriptor {
        storage_type: ["i", "u", "p"][usize::from(filling) / 5 % 3].to_owned(),
        path_or_inline_dv: text.to_owned(),
        offset: None,
        size_in_bytes: i32::try_from(size).unwrap_or(i32::MAX),
        cardinality: i64::from(cardinality),
    };
    let Ok(VectorSource::Inline(bytes)) = descriptor.source() else {
        return;
    };
    assert_eq!(bytes.len(), size);
    let Ok(vector) = decode(&bytes, &descriptor) else {
        return;
    };
    assert_eq!(vector.len(), u64::from(cardinality));
    if let Some(last) = vector.max() {
        assert!(check_rows(&vector, last).is_err());
        assert!(check_rows(&vector, last + 1).is_ok());
    }
    let written = encode(&vector);
    descriptor.path_or_inline_dv = inline_text(&written);
    descriptor.size_in_bytes = i32::try_from(written.len()).expect("a small vector");
    let Ok(VectorSource::Inline(bytes)) = descriptor.source() else {
        panic!("what is written can be read");
    };
    assert_eq!(decode(&bytes, &descriptor).expect("what is written can be read"), vector);
});
