//! Vacuum over whatever paths and whatever held versions there are.

use std::sync::Arc;

use headwater::arrow_array::{Int64Array, RecordBatch, StringArray};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

fn runner(cases: u32) -> TestRunner {
    let asked = std::env::var("HEADWATER_CASES").ok();
    TestRunner::new(Config {
        cases: asked.and_then(|cases| cases.parse().ok()).unwrap_or(cases),
        failure_persistence: None,
        ..Config::default()
    })
}

fn in_parts(id: i64, parts: &[String]) -> RecordBatch {
    let ids = Int64Array::from_iter_values((0..parts.len() as i64).map(|part| id + part));
    RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(ids) as _, false),
        ("p", Arc::new(StringArray::from(parts.to_vec())) as _, true),
    ])
    .unwrap()
}

#[test]
fn e_5_whatever_stands_in_a_path_live_files_stay_and_removed_ones_go() {
    let part = prop_oneof![
        any::<String>(),
        "[ %+~=&#?'\"/\\\\:.a\u{e9}\u{4e2d}\u{2028}]{1,8}",
        Just("%2F".to_owned()),
        Just("..".to_owned()),
    ];
    // Empty is null.
    let part = part.prop_filter("not empty", |part| !part.is_empty());
    let part = part.prop_map(|part| part.chars().take(30).collect::<String>());
    let parts = prop::collection::btree_set(part, 1..8);
    let ran = runner(48).run(&parts, |parts| {
        crate::support::block_on(async {
            let parts: Vec<String> = parts.into_iter().collect();
            let store = Faulty::default();
            let schema = Schema::new([
                Field::new("id", DataType::LONG, false),
                Field::new("p", DataType::STRING, true),
            ]);
            let table = Table::create_in(storage(&store), Environment::system(), schema.unwrap())
                .partition_by(["p"])
                .await
                .unwrap();
            table.append(in_parts(0, &parts)).await.unwrap();
            let old = data(&store).await;
            table.overwrite(in_parts(100, &parts)).await.unwrap();
            let live: BTreeSet<String> = &data(&store).await - &old;
            assert_eq!((old.len(), live.len()), (parts.len(), parts.len()));
            a_moment().await;
            let kept = table.vacuum().await.unwrap();
            assert_eq!(kept.files, 0, "all of them are young");
            let did = now(&table).await.unwrap();
            assert_eq!(did.files as usize, old.len(), "{did:?}");
            assert_eq!(data(&store).await, live);
            let left = ids_of(&open(&store).await.unwrap().snapshot()).await;
            let expected = (100..100 + parts.len() as i64).collect::<Vec<_>>();
            assert_eq!(left.unwrap(), expected);
        });
        Ok(())
    });
    if let Err(failure) = ran {
        panic!("{failure}");
    }
}

/// Files of the live rows of a version.
async fn files(table: &Table, version: u64) -> BTreeSet<String> {
    let snapshot = table.snapshot_at(version).await.unwrap();
    let decisions = snapshot.scan().explain().await.unwrap().into_iter();
    decisions
        .map(|decision| format!("table/{}", decision.add.path))
        .collect()
}

#[test]
fn e_11_exactly_the_union_of_what_is_kept_stays_in_whatever_order_it_was_held() {
    let held = prop::collection::vec(0_u64..12, 0..6);
    let ran = runner(24).run(&held, |held| {
        crate::support::block_on(async {
            let store = Faulty::default();
            let table = create(&store).await;
            for id in 0..6 {
                table.append(ids([id * 10, id * 10 + 1])).await.unwrap();
                table.delete(col("id").eq(id * 10)).await.unwrap();
            }
            let mut expected = files(&table, 12).await;
            for (name, version) in held.iter().enumerate() {
                table.pin(&name.to_string(), *version, None).await.unwrap();
                expected.extend(files(&table, *version).await);
            }
            a_moment().await;
            now(&table).await.unwrap();
            assert_eq!(data(&store).await, expected);
            for version in held {
                let found = ids_of(&table.snapshot_at(version).await.unwrap()).await;
                assert!(found.is_ok(), "{version}");
            }
        });
        Ok(())
    });
    if let Err(failure) = ran {
        panic!("{failure}");
    }
}

#[tokio::test]
async fn e_7_files_of_the_change_feed_stay_for_the_retention_and_go_after_it() {
    let store = Faulty::default();
    let (world, clock) = Ahead::environment();
    store.follow(&world);
    let in_world = storage_in(&store, &world);
    let table = Table::create_in(in_world, world, crate::support::id_schema())
        .property("delta.enableChangeDataFeed", "true")
        .await
        .unwrap();
    table.append(ids(0..10)).await.unwrap();
    let changes = async || {
        let all = data(&store).await.into_iter();
        all.filter(|path| path.contains("_change_data/"))
            .collect::<BTreeSet<_>>()
    };
    table.delete(col("id").eq(1)).await.unwrap();
    let old = changes().await;
    assert_eq!(old.len(), 1);
    clock.forward(days(8));
    table.delete(col("id").eq(2)).await.unwrap();
    let both = changes().await;
    assert_eq!(both.len(), 2);
    table.vacuum().await.unwrap();
    assert_eq!(changes().await, &both - &old);
    clock.forward(days(8));
    table.vacuum().await.unwrap();
    assert_eq!(changes().await, BTreeSet::new());
    let left = ids_of(&table.refresh().await.unwrap()).await.unwrap();
    assert_eq!(left, [0, 3, 4, 5, 6, 7, 8, 9]);
}

/// However long it stood still: what it wrote of rows that were deleted meanwhile never becomes part of the table.
#[tokio::test]
async fn c_8_a_compactor_that_stood_still_for_a_minute_or_for_weeks_brings_nothing_back() {
    let minute = Duration::from_secs(60);
    for stood in [minute, days(1), days(8), days(40)] {
        let store = Faulty::default();
        let (table, clock) = ahead(&store).await;
        for id in 0..3 {
            table.append(ids([id])).await.unwrap();
        }
        let before = data(&store).await;
        let (other, seen) = (again(&store, &table, &clock).await, store.clone());
        let (tell, written) = tokio::sync::oneshot::channel();
        store.before_put(&format!("{:020}.json", 4), async move {
            tell.send(&data(&seen).await - &before).unwrap();
            other.delete(col("id").lt(2)).await.unwrap();
            other.append(ids([7])).await.unwrap();
            other.checkpoint().await.unwrap();
            clock.forward(stood);
            other.vacuum().await.unwrap();
            other.clean_up_log().await.unwrap();
        });
        let done = table.compact().await;
        let in_vain = written.await.unwrap();
        assert_eq!(in_vain.len(), 1);
        let newest = open(&store).await.unwrap().snapshot();
        assert_eq!(
            ids_of(&newest).await.unwrap(),
            [2, 7],
            "{stood:?}: {done:?}"
        );
        let live = files(&table, newest.version()).await;
        assert!(live.is_disjoint(&in_vain), "{stood:?}");
    }
}
