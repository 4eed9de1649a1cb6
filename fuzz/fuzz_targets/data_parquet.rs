//! A data file under a scan: an error, or rows of the table's schema, as many with a condition as without it.
#![no_main]

use futures::TryStreamExt;
use headwater::arrow_array::RecordBatch;
use headwater::predicate::Predicate;
use headwater::scan::Scan;
use headwater::{Table, fuzzing};
use headwater_fuzz::{assemble, given, place, run, start, store};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

const CONDITIONS: [&str; 4] = [
    "id > 3 AND id < 7",
    "text >= 'b' OR score < 0.5",
    "inner.a IS NULL OR day > DATE '2020-01-02'",
    "NOT (price = 1.50) OR flag",
];

/// Rows and bytes of batches: none is kept.
async fn read(scan: &Scan) -> headwater::Result<usize> {
    let schema = scan.schema()?;
    let mut rows = 0;
    let mut batches = scan.stream().await?;
    while let Some(batch) = batches.try_next().await? {
        let batch: RecordBatch = batch;
        assert_eq!(batch.schema(), schema);
        rows += batch.num_rows();
    }
    Ok(rows)
}

fuzz_target!(init: start(), |data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    run(async {
        let (storage, environment) = store();
        let file = assemble(rest);
        let add = given::add("f.parquet", file.len());
        place(&storage, "f.parquet", file).await;
        // The columns that the file has, or those that the seeds have.
        let schema = match choice & 0x80 {
            0 => given::wide_schema(),
            _ => match fuzzing::schema_of(&storage, "f.parquet").await {
                Ok(schema) => schema.to_json(),
                Err(_) => return,
            },
        };
        let metadata = given::metadata(&schema, &[], &json!({}));
        given::commit(&storage, 0, &[given::protocol(), metadata, add]).await;
        let Ok(table) = Table::open_in(storage, environment).await else {
            return;
        };
        let scan = table.snapshot().scan();
        let all = read(&scan).await;
        let condition = Predicate::parse(CONDITIONS[usize::from(*choice) % CONDITIONS.len()]).expect("a condition");
        let some = read(&scan.filter(condition).batch_rows(usize::from(choice & 0x7c) + 1)).await;
        if let (Ok(all), Ok(some)) = (all, some) {
            assert!(some <= all, "{some} of {all}");
        }
    });
});
