//! The checksum file of a version: whatever it says, the table is the same, and the doctor gives an answer.
#![no_main]

use headwater::Table;
use headwater_fuzz::{given, place, run, start, store};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(init: start(), |data: &[u8]| {
    run(async {
        let (storage, environment) = store();
        let metadata = given::metadata(&given::id_schema(), &[], &json!({}));
        given::commit(&storage, 0, &[given::protocol(), metadata, given::add("a", 10)]).await;
        given::commit(&storage, 1, &[given::add("b", 10)]).await;
        place(&storage, &format!("_delta_log/{:020}.crc", 1), data.to_vec()).await;
        let table = Table::open_in(storage.clone(), environment)
            .await
            .expect("a checksum is never an error");
        assert_eq!(table.snapshot().version(), 1);
        assert_eq!(table.snapshot().metadata().schema_string, given::id_schema());
        let report = table.doctor().await.expect("the doctor says what is wrong");
        assert_eq!(report.commits, 2);
    });
});
