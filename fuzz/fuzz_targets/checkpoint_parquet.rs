//! A checkpoint in Parquet: an error, or a state; what the plan and the sums say of it agrees.
#![no_main]

use headwater::Table;
use headwater::scan::Pruning;
use headwater_fuzz::{assemble, given, place, run, start, store};
use libfuzzer_sys::fuzz_target;

/// Each is one of the shapes that checkpoints have.
const NAMES: [&str; 3] = [
    "00000000000000000001.checkpoint.parquet",
    "00000000000000000001.checkpoint.0000000001.0000000001.parquet",
    "00000000000000000001.checkpoint.0e42c15b-17cc-4918-990d-2ff76e918e4d.parquet",
];

fuzz_target!(init: start(), |data: &[u8]| {
    let Some((shape, rest)) = data.split_first() else {
        return;
    };
    run(async {
        let (storage, environment) = store();
        let name = NAMES[usize::from(*shape) % NAMES.len()];
        place(&storage, &format!("_delta_log/{name}"), assemble(rest)).await;
        if shape & 0x80 != 0 {
            given::commit(&storage, 2, &[given::add("later.parquet", 10)]).await;
        }
        let Ok(table) = Table::open_in(storage, environment).await else {
            return;
        };
        let snapshot = table.snapshot();
        let _ = snapshot.txns().len() + snapshot.domains().len();
        let Ok(plan) = snapshot.scan().plan().await else {
            return;
        };
        // The sums need more columns than the plan does.
        let files = plan.counts().files;
        if let Ok(sums) = snapshot.sums().await {
            assert_eq!(sums.files, files);
        }
        let Some(column) = snapshot.schema().fields().first().map(|field| field.name.clone()) else {
            return;
        };
        let some = snapshot.scan().filter(headwater::predicate::col(&column).is_not_null());
        if let Ok(kept) = some.plan().await {
            assert_eq!(kept.counts().files, files);
            assert!(kept.counts().files_pruned <= files);
            let all = some.pruning(Pruning::Off).plan().await.expect("what can be pruned can be read");
            assert_eq!((all.counts().files, all.counts().files_pruned), (files, 0));
        }
        let _ = snapshot.scan().explain().await;
    });
});
