//! A scan that several workers share: every row once, whoever reads it.

use headwater::arrow_array::RecordBatch;
use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::Int64Type;
use headwater::environment::Environment;
use headwater::{Code, ErrorKind, Table};

use crate::pruning::check;
use crate::pruning::conditions::conditions;
use crate::pruning::foreign::{files, place};
use crate::pruning::rows::schema;
use crate::support::store::Faulty;
use crate::support::{block_on, open, storage};

/// Files of odd row groups and pages, with deletion vectors; predicates and projections; push-down on. The oracle is an
/// interpreter that goes row by row.
#[test]
fn partitions_of_a_scan_have_every_row_once() {
    let cases = (
        proptest::collection::vec(files(), 1..6),
        conditions(),
        1_usize..17,
        1_usize..9,
    );
    check(48, cases, |(files, condition, count, batch_rows)| {
        block_on(async {
            let store = Faulty::default();
            let create = Table::create_in(storage(&store), Environment::system(), schema());
            create.feature("deletionVectors").await.unwrap();
            let rows = place(&store, &files, false).await;
            let mut expected: Vec<i64> = rows
                .iter()
                .filter(|row| condition.holds(row) == Some(true))
                .map(|row| row.id)
                .collect();
            expected.sort_unstable();
            let snapshot = open(&store).await.unwrap().snapshot();
            let scan = snapshot
                .scan()
                .filter(condition.predicate())
                .select(["id"])
                .batch_rows(batch_rows);
            let mut found: Vec<i64> = Vec::new();
            for index in 0..count {
                for batch in scan
                    .clone()
                    .partition(index, count)
                    .collect()
                    .await
                    .unwrap()
                {
                    found.extend(batch.column(0).as_primitive::<Int64Type>().values());
                }
            }
            found.sort_unstable();
            assert_eq!(found, expected, "{} in {count}", condition.predicate());
        });
    });
}

#[tokio::test]
async fn a_partition_that_is_not_there_is_refused() {
    let store = Faulty::default();
    let table = crate::support::create(&store).await;
    for (index, count) in [(1, 1), (0, 0), (7, 3)] {
        let refused = table
            .snapshot()
            .scan()
            .partition(index, count)
            .collect()
            .await
            .unwrap_err();
        assert_eq!(
            (refused.kind(), refused.code()),
            (ErrorKind::Invalid, Code::InvalidArgument)
        );
    }
    let none: Vec<RecordBatch> = table
        .snapshot()
        .scan()
        .partition(3, 5)
        .collect()
        .await
        .unwrap();
    assert!(none.is_empty());
}
