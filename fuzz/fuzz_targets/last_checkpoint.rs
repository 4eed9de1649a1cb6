//! The hint where to start: whatever it says, the table is the same.
#![no_main]

use headwater::{Table, fuzzing};
use headwater_fuzz::{given, place, run, start, store};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(init: start(), |data: &[u8]| {
    if let Some((version, written)) = fuzzing::hint(data) {
        let again = fuzzing::hint(written.as_bytes()).expect("what is written can be read");
        assert_eq!(again, (version, written));
    }
    run(async {
        let (storage, environment) = store();
        let metadata = given::metadata(&given::id_schema(), &[], &json!({}));
        given::commit(&storage, 0, &[given::protocol(), metadata, given::add("a", 10)]).await;
        given::commit(&storage, 1, &[given::add("b", 10)]).await;
        place(&storage, "_delta_log/_last_checkpoint", data.to_vec()).await;
        let table = Table::open_in(storage, environment)
            .await
            .expect("a hint is never an error");
        assert_eq!(table.snapshot().version(), 1);
        let plan = table.snapshot().scan().plan().await.expect("a plan");
        assert_eq!(plan.counts().files, 2);
    });
});
