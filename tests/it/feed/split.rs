//! Train, valid and test: no row changes sides.

use std::collections::BTreeMap;

use headwater::Snapshot;
use headwater::feed::HashSplit;

use super::{add, adds, commit, compact, feed, flights, options, remove, rows, scanned, without};
use crate::support::store::Faulty;

fn split() -> HashSplit {
    HashSplit::by(["key"], [("train", 70), ("valid", 20), ("test", 10)]).unwrap()
}

/// For each row, the part it is in.
async fn parts(snapshot: &Snapshot) -> BTreeMap<i64, &'static str> {
    let mut parts = BTreeMap::new();
    for name in ["train", "valid", "test"] {
        let feeding = snapshot.feed(4).part(split().part(name).unwrap());
        // The key is not among the columns that come out.
        let plan = feeding.select(["id"]).plan().await.unwrap();
        let fed = feed(&plan, options(100)).await.unwrap();
        assert_eq!(fed.ids.len() as u64, plan.rows());
        for id in fed.ids {
            assert!(parts.insert(id, name).is_none(), "{id} is in two parts");
        }
    }
    assert_eq!(
        parts.keys().copied().collect::<Vec<_>>(),
        scanned(snapshot).await
    );
    parts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_row_changes_sides_when_others_are_appended_compacted_or_deleted() {
    let store = Faulty::default();
    let table = flights(&store, &["day"]).await;
    table.append(rows(0..1_500)).await.unwrap();
    table.append(rows(1_500..2_000)).await.unwrap();
    let first = parts(&table.snapshot()).await;
    let share = |name| first.values().filter(|part| **part == name).count();
    // Seventy percent of a thousand keys, give or take four standard deviations.
    assert!(
        (1_280..=1_520).contains(&share("train")),
        "{}",
        share("train")
    );
    // Both rows of a key are on the same side.
    for id in (0..2_000)
        .step_by(2)
        .filter(|id| id % 97 != 0 && (id + 1) % 97 != 0)
    {
        assert_eq!(first[&id], first[&(id + 1)]);
    }

    table.append(rows(2_000..2_600)).await.unwrap();
    let appended = parts(&table.snapshot()).await;
    compact(&store, &table).await;
    let compacted = parts(&table.snapshot()).await;
    assert_eq!(compacted, appended);
    let file = adds(&table.snapshot()).await.remove(0);
    commit(
        &store,
        &table,
        vec![
            remove(&file, true),
            add(&without(&file, (0..2_600).step_by(3))),
        ],
    )
    .await;
    let deleted = parts(&table.snapshot()).await;
    assert!(deleted.len() < compacted.len());
    for (id, part) in &first {
        assert_eq!(appended[id], *part);
        assert!(deleted.get(id).is_none_or(|after| after == part));
    }
}

#[tokio::test]
async fn the_rows_of_a_part_are_those_of_sparks_buckets() {
    // pmod(xxhash64(cast(id as bigint)), 10000) by Spark: see tests/vectors/xxhash64.ndjson.
    let spark = [
        (0, 4_188),
        (1, 4_418),
        (-1, 3_010),
        (1_234_567_890_123, 389),
    ];
    let store = Faulty::default();
    let table = flights(&store, &[]).await;
    table.append(rows(spark.map(|(id, _)| id))).await.unwrap();
    let tenths = || (0..10).map(|tenth| (tenth.to_string(), 1));
    let split = HashSplit::by(["id"], tenths()).unwrap();
    for (name, _) in tenths() {
        let part = split.part(&name).unwrap();
        let plan = table.snapshot().feed(4).part(part).plan().await.unwrap();
        let tenth: i64 = name.parse().unwrap();
        let expected = spark.iter().filter(|(_, bucket)| bucket / 1_000 == tenth);
        let mut expected: Vec<i64> = expected.map(|(id, _)| *id).collect();
        expected.sort_unstable();
        assert_eq!(feed(&plan, options(9)).await.unwrap().sorted(), expected);
    }
}

#[tokio::test]
async fn folds_train_on_what_they_do_not_test() {
    let store = Faulty::default();
    let table = flights(&store, &[]).await;
    table.append(rows(0..900)).await.unwrap();
    let folds = HashSplit::by(["key"], [("0", 1), ("1", 1), ("2", 1)]).unwrap();
    for fold in ["0", "1", "2"] {
        let mut ids = Vec::new();
        for part in [folds.part(fold).unwrap(), folds.all_but(fold).unwrap()] {
            let plan = table.snapshot().feed(4).part(part).plan().await.unwrap();
            let fed = feed(&plan, options(100)).await.unwrap();
            assert!(!fed.ids.is_empty());
            ids.extend(fed.ids);
        }
        ids.sort_unstable();
        assert_eq!(ids, (0..900).collect::<Vec<_>>());
    }
}
