use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;
use crate::protocol::golden;

fn descriptor(
    kind: &str,
    text: &str,
    offset: Option<i32>,
    size: i32,
    rows: i64,
) -> DeletionVectorDescriptor {
    DeletionVectorDescriptor {
        storage_type: kind.to_owned(),
        path_or_inline_dv: text.to_owned(),
        offset,
        size_in_bytes: size,
        cardinality: rows,
    }
}

/// A descriptor that goes with these bytes.
fn of(data: &[u8], rows: u64) -> DeletionVectorDescriptor {
    descriptor(
        "i",
        &inline_text(data),
        None,
        data.len().try_into().unwrap(),
        rows.try_into().unwrap(),
    )
}

fn is_corrupt<T: std::fmt::Debug>(result: Result<T>) -> bool {
    matches!(result.unwrap_err(), error if (error.kind(), error.code()) == (ErrorKind::Corrupt, Code::DataCorrupt))
}

#[test]
fn inline_vectors_per_deletion_vector_format() {
    let text = "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L";
    let given = descriptor("i", text, None, 44, 6);
    let VectorSource::Inline(data) = given.source().unwrap() else {
        panic!("it is inline")
    };
    assert_eq!(data.len(), 44);
    let vector = decode(&data, &given).unwrap();
    assert_eq!(vector.iter().collect::<Vec<_>>(), [3, 4, 7, 11, 18, 29]);
    assert_eq!(inline_text(&data), text);
}

#[test]
fn the_native_layout_of_json_example_3_is_refused_by_name() {
    let text = "wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L";
    let given = descriptor("i", text, None, 40, 6);
    let VectorSource::Inline(data) = given.source().unwrap() else {
        panic!("it is inline")
    };
    let error = decode(&data, &given).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("native"));
}

#[test]
fn files_are_named_per_derived_fields() {
    let given = descriptor("u", "ab^-aqEH.-t@S}K{vb[*k^", Some(4), 40, 6);
    let expected = FileLocation::Relative(
        "ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin".into(),
    );
    assert_eq!(
        given.source().unwrap(),
        VectorSource::File {
            location: expected,
            range: 4..52
        }
    );
    let id: Uuid = "d2c639aa-8816-431a-aaf6-d3fe2512ff61".parse().unwrap();
    assert_eq!(uuid_text("ab", id), given.path_or_inline_dv);
    for offset in [None, Some(0), Some(1)] {
        let given = descriptor("u", "^-aqEH.-t@S}K{vb[*k^", offset, 40, 6);
        let VectorSource::File { location, range } = given.source().unwrap() else {
            panic!("it is in a file")
        };
        assert_eq!(
            (location.key().unwrap(), range),
            (
                "deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin",
                1..49
            )
        );
    }
    let path = "p=1/x%20y.bin";
    let VectorSource::File { location, .. } =
        descriptor("p", path, Some(1), 40, 6).source().unwrap()
    else {
        panic!()
    };
    assert_eq!(location, FileLocation::Relative("p=1/x y.bin".into()));
}

#[test]
fn h_1_prefixes_do_not_lead_out_of_the_table() {
    for prefix in [
        "..",
        "../..",
        "/etc",
        "a/../b",
        "a//b",
        "a\\b",
        "./a",
        "a/",
        "_delta_log",
        "file:///etc",
        "C:",
    ] {
        let text = format!("{prefix}^-aqEH.-t@S}}K{{vb[*k^");
        let error = descriptor("u", &text, Some(1), 40, 6).source().unwrap_err();
        assert_eq!(error.code(), Code::UnsafePath, "{prefix}");
    }
    assert_eq!(
        descriptor("p", "../x.bin", Some(1), 40, 6)
            .source()
            .unwrap_err()
            .code(),
        Code::UnsafePath
    );
}

#[test]
fn h_10_descriptors_that_lie_are_corrupt() {
    let uuid = "^-aqEH.-t@S}K{vb[*k^";
    for given in [
        descriptor("u", uuid, Some(-1), 40, 6),
        descriptor("u", uuid, Some(i32::MIN), 40, 6),
        descriptor("u", uuid, Some(1), -40, 6),
        descriptor("u", uuid, Some(1), i32::MAX, 6),
        descriptor("u", uuid, Some(1), 40, -1),
        descriptor("u", "short", Some(1), 40, 1),
        descriptor(
            "u",
            "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}",
            Some(1),
            40,
            1,
        ),
        descriptor("u", "~~~~~~~~~~~~~~~~~~~~", Some(1), 40, 1),
        descriptor("i", "", None, 40, 1),
        descriptor("i", "wi5b=0000", None, 8, 1),
        descriptor("i", "wi5b=", None, 8, 1),
        descriptor("i", "wi5b=wi5b=", None, 4, 1),
        descriptor("i", "#####", None, 4, 1),
    ] {
        assert!(is_corrupt(given.source()), "{given:?}");
    }
    assert_eq!(
        descriptor("x", uuid, None, 40, 6)
            .source()
            .unwrap_err()
            .kind(),
        ErrorKind::Unsupported
    );
    let top = descriptor("u", uuid, Some(i32::MAX), 40, 6)
        .source()
        .unwrap();
    assert!(matches!(top, VectorSource::File { range, .. } if range.end == 2_147_483_647 + 48));
}

#[test]
fn h_10_bytes_that_lie_are_corrupt() {
    let vector: RoaringTreemap = [1, 2, 1 << 33].into_iter().collect();
    let data = encode(&vector);
    assert_eq!(decode(&data, &of(&data, 3)).unwrap(), vector);
    for rows in [0, 2, 4, 1 << 40] {
        assert!(is_corrupt(decode(&data, &of(&data, rows))));
    }
    for length in 0..data.len() {
        assert!(
            is_corrupt(decode(&data[..length], &of(&data, 3))),
            "{length}"
        );
    }
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = data.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        decode(&changed, &of(&data, 3))
    };
    assert!(is_corrupt(with(0, &[0; 4])));
    assert!(is_corrupt(with(4, &u64::MAX.to_le_bytes())));
    assert!(is_corrupt(with(12, &(1_u32 << 31).to_le_bytes())));
    assert!(
        is_corrupt(with(12, &2_u32.to_le_bytes())),
        "keys that do not ascend"
    );
    assert!(is_corrupt(decode(
        &[data.clone(), vec![0]].concat(),
        &of(&data, 3)
    )));
    assert_eq!(
        with(0, &MAGIC_NATIVE.to_le_bytes()).unwrap_err().kind(),
        ErrorKind::Unsupported
    );
}

#[test]
fn h_10_rows_beyond_the_file_are_corrupt() {
    let vector: RoaringTreemap = [0, 9].into_iter().collect();
    check_rows(&vector, 10).unwrap();
    check_rows(&RoaringTreemap::new(), 0).unwrap();
    for rows in [0, 1, 9] {
        assert!(is_corrupt(check_rows(&vector, rows)));
    }
}

#[test]
fn f_4_every_flipped_bit_of_a_file_is_seen() {
    let vector: RoaringTreemap = (0..100).chain([70_000, 1 << 32]).collect();
    let data = encode(&vector);
    let frame = encode_frame(&data).unwrap();
    let given = of(&data, vector.len());
    assert_eq!(decode_frame(&frame, &given).unwrap(), vector);
    for bit in 0..frame.len() * 8 {
        let mut flipped = frame.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(is_corrupt(decode_frame(&flipped, &given)), "bit {bit}");
    }
    for length in 0..frame.len() {
        assert!(is_corrupt(decode_frame(&frame[..length], &given)));
    }
}

#[test]
fn vectors_of_the_reference_engine_are_read() {
    let Some(lines) = golden::log_lines() else {
        return;
    };
    let mut count = 0;
    for (table, line) in lines {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        let given = serde_json::from_value::<DeletionVectorDescriptor>(
            line["add"]["deletionVector"].clone(),
        );
        let Ok(given) = given else {
            continue;
        };
        let vector = match given.source().unwrap() {
            VectorSource::Inline(data) => decode(&data, &given).unwrap(),
            VectorSource::File { location, range } => {
                let Ok(file) = location.key().map(|key| table.join(key)) else {
                    continue;
                };
                let Ok(bytes) = std::fs::read(file) else {
                    continue;
                };
                assert_eq!(bytes[0], FILE_VERSION);
                let range =
                    usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                decode_frame(&bytes[range], &given).unwrap()
            }
        };
        check_rows(&vector, 1 << 32).unwrap();
        count += 1;
    }
    assert!(20 < count, "{count}");
}

proptest! {
    #[test]
    fn vectors_survive_their_bytes(rows in proptest::collection::btree_set(prop_oneof![0_u64..70_000, 0_u64..1 << 40], 0..200)) {
        let mut vector: RoaringTreemap = rows.iter().collect();
        for runs in [false, true] {
            if runs {
                vector.insert_range(1 << 20..(1 << 20) + 100_000);
            }
            let data = encode(&vector);
            let given = of(&data, vector.len());
            let VectorSource::Inline(read) = given.source().unwrap() else { panic!("it is inline") };
            prop_assert_eq!(&read, &data);
            prop_assert_eq!(&decode(&read, &given).unwrap(), &vector);
            prop_assert_eq!(&decode_frame(&encode_frame(&data).unwrap(), &given).unwrap(), &vector);
        }
    }

    #[test]
    fn h_10_no_bytes_panic(noise in proptest::collection::vec(any::<u8>(), 0..200), at in 0_usize..60, byte: u8) {
        let mut data = encode(&(0..50).chain([99_999]).collect());
        let place = at % data.len();
        data[place] = byte;
        let _ = decode(&data, &of(&data, 51));
        let bytes = [&MAGIC.to_le_bytes()[..], &1_u64.to_le_bytes(), &[0; 4], &noise].concat();
        let _ = decode(&bytes, &of(&bytes, 1));
        let _ = decode(&noise, &of(&noise, 1));
    }

    #[test]
    fn h_10_no_text_panics(text in "\\PC{0,40}", size in 0..64) {
        let _ = descriptor("i", &text, None, size, 1).source();
        let _ = descriptor("u", &text, None, size, 1).source();
        let _ = descriptor("p", &text, None, size, 1).source();
    }
}
