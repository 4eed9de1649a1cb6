//! A deletion vector in a file, under a scan: an error, or exactly the rows that it leaves.
#![no_main]

use headwater::Table;
use headwater::protocol::action::DeletionVectorDescriptor;
use headwater::protocol::deletion_vector::{FILE_VERSION, decode_frame, encode_frame};
use headwater_fuzz::{given, place, run, start, store};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

/// A file of the ids 0 to 99.
const HUNDRED: &[u8] = include_bytes!("../seeds/hundred.parquet");

fuzz_target!(init: start(), |input: (u8, u8, &[u8])| {
    let (cardinality, broken, data) = input;
    let mut frame = encode_frame(data).expect("a small vector");
    if broken == 1 {
        frame = data.to_vec();
    }
    let mut descriptor = json!({
        "storageType": "u", "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^", "offset": 1,
        "sizeInBytes": data.len(), "cardinality": cardinality,
    });
    let about: DeletionVectorDescriptor = serde_json::from_value(descriptor.clone()).expect("a descriptor");
    let vector = decode_frame(&frame, &about);
    // A scan of a table for what is a vector of this file, and for some of what is none.
    if vector.is_err() && data.len() % 8 != 0 {
        return;
    }
    run(async {
        let (storage, environment) = store();
        if broken == 2 {
            descriptor["offset"] = json!(0);
        }
        let mut add = given::add("f.parquet", HUNDRED.len());
        add["add"]["deletionVector"] = descriptor;
        let metadata = given::metadata(&given::id_schema(), &[], &json!({"delta.enableDeletionVectors": "true"}));
        given::commit(&storage, 0, &[given::protocol(), metadata, add]).await;
        place(&storage, "f.parquet", HUNDRED).await;
        let key = "ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin";
        place(&storage, key, [&[FILE_VERSION], frame.as_slice()].concat()).await;
        let table = Table::open_in(storage, environment).await.expect("a table");
        let Ok(batches) = table.snapshot().scan().collect().await else {
            return;
        };
        let vector = vector.expect("no row comes of a vector that cannot be read");
        let mut ids: Vec<i64> = Vec::new();
        for batch in &batches {
            let column = batch.column(0).as_any().downcast_ref::<arrow_array::Int64Array>();
            ids.extend(column.expect("the column").values());
        }
        let left: Vec<i64> = (0..100).filter(|row| !vector.contains(*row as u64)).collect();
        assert_eq!(ids, left);
    });
});
