//! Listings, clocks, time travel (faults C-1 to C-6, C-11, B-20).

use std::time::Duration;

use headwater::snapshot::{AfterLast, At};
use headwater::{Code, ErrorKind};
use object_store::ObjectMeta;

use crate::support::hasty::Ahead;
use crate::support::store::{Answer, Faulty, Request, When};
use crate::support::{commit_key, create, ids, ids_of, open, open_hasty, storage_in};

fn is_commit(meta: &ObjectMeta, version: u64) -> bool {
    meta.location == commit_key(version)
}

async fn table_of_five(store: &Faulty) -> headwater::Table {
    let table = create(store).await;
    for id in 1..=5 {
        table.append(ids([id])).await.unwrap();
    }
    table
}

#[tokio::test]
async fn c_1_a_stale_listing_never_takes_back_what_this_process_has_seen() {
    let store = Faulty::default();
    let table = table_of_five(&store).await;
    store.relist(|metas| {
        metas
            .into_iter()
            .filter(|meta| !is_commit(meta, 5))
            .collect()
    });
    assert_eq!(table.refresh().await.unwrap().version(), 5);
    // Nor does a new handle of this process, in which the commit was acknowledged.
    let fresh = open(&store).await.unwrap();
    assert_eq!(fresh.snapshot().version(), 5);
    let by_number = table.snapshot_at(5).await.unwrap();
    assert_eq!(ids_of(&by_number).await.unwrap(), [1, 2, 3, 4, 5]);
    let missing = table.snapshot_at(6).await.unwrap_err();
    assert_eq!(missing.code(), Code::VersionNotFound);

    // However much a listing misses.
    store.relist(|metas| {
        let first = |meta: &ObjectMeta| is_commit(meta, 0);
        metas.into_iter().filter(first).collect()
    });
    let fresh = open(&store).await.unwrap();
    let commit = fresh.append(ids([6])).await.unwrap();
    assert_eq!(commit.version, 6);
    assert_eq!(ids_of(&fresh.snapshot()).await.unwrap(), [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn an_open_costs_the_hint_a_listing_the_commits_and_one_look() {
    let store = Faulty::default();
    table_of_five(&store).await;
    let (gets, lists) = (store.count(Request::Get), store.count(Request::List));
    open(&store).await.unwrap();
    assert_eq!(store.count(Request::Get) - gets, 1 + 6 + 1);
    assert_eq!(store.count(Request::List) - lists, 1);
}

#[tokio::test]
async fn c_1_c_2_history_has_what_a_listing_misses() {
    let store = Faulty::default();
    let table = table_of_five(&store).await;
    for hidden in [[5, 5], [4, 5], [2, 3], [0, 0]] {
        store.relist(move |metas| {
            let shown = |meta: &ObjectMeta| !hidden.iter().any(|it| is_commit(meta, *it));
            metas.into_iter().filter(shown).collect()
        });
        let history = table.snapshot().history(10).await.unwrap();
        let versions: Vec<_> = history.iter().map(|entry| entry.version).collect();
        assert_eq!(versions, [5, 4, 3, 2, 1, 0], "{hidden:?} are hidden");
    }
}

#[tokio::test]
async fn a_version_that_only_its_checkpoint_tells_of_has_a_time() {
    let store = Faulty::default();
    let table = table_of_five(&store).await;
    table.checkpoint().await.unwrap();
    for version in 0..=5 {
        store.remove(&commit_key(version)).await;
    }
    let snapshot = open(&store).await.unwrap().snapshot();
    let time = snapshot.timestamp_millis().await.unwrap();
    let now = headwater::environment::Environment::system().now_millis();
    assert!((now - 3_600_000..=now).contains(&time));
    assert_eq!(snapshot.history(10).await.unwrap(), []);
    let then = table.snapshot_at(At::timestamp(time)).await.unwrap();
    assert_eq!(then.version(), 5);
    let later = At::Timestamp(time + 1, AfterLast::Newest);
    assert_eq!(table.snapshot_at(later).await.unwrap().version(), 5);
    let before = table.snapshot_at(At::timestamp(time - 1)).await;
    assert_eq!(before.unwrap_err().code(), Code::VersionNotFound);
}

#[tokio::test]
async fn c_1_a_version_below_others_is_not_the_newest_though_the_next_one_is_gone() {
    let store = Faulty::default();
    let table = create(&store).await;
    for id in 1..=7 {
        table.append(ids([id])).await.unwrap();
        if id == 3 || id == 6 {
            table.checkpoint().await.unwrap();
        }
    }
    // Log cleanup left the older checkpoint over.
    for version in 0..6 {
        store.remove(&commit_key(version)).await;
    }
    let storage = crate::support::storage(&store);
    let environment = headwater::environment::Environment::system();
    let old = headwater::Table::open_at_in(storage, environment, 3);
    let old = old.await.unwrap();
    assert_eq!(old.snapshot().version(), 3);
    assert_eq!(old.refresh().await.unwrap().version(), 7);
    assert_eq!(old.append(ids([8])).await.unwrap().version, 8);
}

#[tokio::test]
async fn c_2_a_commit_that_a_listing_misses_is_probed_for() {
    let store = Faulty::default();
    table_of_five(&store).await;
    store.relist(|metas| {
        metas
            .into_iter()
            .filter(|meta| !is_commit(meta, 3))
            .collect()
    });
    let table = open(&store).await.unwrap();
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [1, 2, 3, 4, 5]);

    store.remove(&commit_key(3)).await;
    let gap = open(&store).await.unwrap_err();
    assert_eq!((gap.kind(), gap.code()), (ErrorKind::Corrupt, Code::LogGap));
}

#[tokio::test]
async fn c_3_b_20_duplicates_and_disorder_in_a_listing_change_nothing() {
    let store = Faulty::default();
    table_of_five(&store).await;
    store.relist(|metas| {
        let mut twice: Vec<_> = metas.iter().rev().cloned().collect();
        twice.extend(metas);
        twice
    });
    let table = open(&store).await.unwrap();
    assert_eq!(table.snapshot().version(), 5);
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn c_4_an_object_that_is_listed_but_gone_is_looked_for_again_then_an_error() {
    let store = Faulty::default();
    table_of_five(&store).await;
    store.fail(Request::Get, "4.json", 1, When::Before, Answer::NotFound);
    let table = open(&store).await.unwrap();
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [1, 2, 3, 4, 5]);

    store.fail(
        Request::Get,
        "4.json",
        1_000,
        When::Before,
        Answer::NotFound,
    );
    let gone = open(&store).await.unwrap_err();
    assert_eq!(
        (gone.kind(), gone.code()),
        (ErrorKind::Corrupt, Code::LogGap)
    );
    assert_eq!(
        gone.context_value("version")
            .or(gone.context_value("missing")),
        Some("4")
    );
}

#[tokio::test]
async fn c_5_a_listing_that_fails_half_way_is_an_error_not_a_short_listing() {
    let store = Faulty::default();
    table_of_five(&store).await;
    store.fail(Request::List, "_delta_log", 1, When::Before, Answer::Reset);
    let table = open_hasty(&store).await.unwrap();
    assert_eq!(
        table.snapshot().version(),
        5,
        "a passing failure is repeated"
    );

    store.fail(
        Request::List,
        "_delta_log",
        1_000,
        When::Before,
        Answer::Reset,
    );
    let failed = open_hasty(&store).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Storage);
    assert!(failed.is_retryable());
}

/// Gives the commits of a listing these times, in milliseconds, by version.
fn set_times(store: &Faulty, times: &'static [i64]) {
    store.relist(move |metas| {
        let timed = metas.into_iter().map(|mut meta| {
            for (version, millis) in times.iter().enumerate() {
                if is_commit(&meta, version as u64) {
                    meta.last_modified = chrono::DateTime::from_timestamp_millis(*millis).unwrap();
                }
            }
            meta
        });
        timed.collect()
    });
}

#[tokio::test]
async fn c_6_version_order_never_depends_on_clocks() {
    let store = Faulty::default();
    table_of_five(&store).await;
    // Hours of skew, a clock that goes back, and times before 1970.
    set_times(&store, &[9_000_000, 5, -7_000, 4, 4, 3_600_000]);
    let table = open(&store).await.unwrap();
    assert_eq!(table.snapshot().version(), 5);
    let history = table.snapshot().history(10).await.unwrap();
    let times: Vec<_> = history
        .iter()
        .rev()
        .map(|entry| entry.timestamp_millis)
        .collect();
    assert_eq!(
        times,
        [
            9_000_000, 9_000_001, 9_000_002, 9_000_003, 9_000_004, 9_000_005
        ]
    );
}

#[tokio::test]
async fn c_6_a_clock_that_goes_back_changes_no_order() {
    for in_commit in ["false", "true"] {
        let store = Faulty::default();
        let (environment, clock) = Ahead::environment();
        store.follow(&environment);
        let storage = storage_in(&store, &environment);
        let table = headwater::Table::create_in(storage, environment, crate::support::id_schema())
            .property("delta.enableInCommitTimestamps", in_commit)
            .await
            .unwrap();
        for id in 1..=6 {
            clock.back(Duration::from_secs(3_600));
            table.append(ids([id])).await.unwrap();
        }
        let snapshot = table.refresh().await.unwrap();
        assert_eq!(ids_of(&snapshot).await.unwrap(), [1, 2, 3, 4, 5, 6]);
        let history = snapshot.history(10).await.unwrap();
        let times: Vec<_> = history.iter().map(|entry| entry.timestamp_millis).collect();
        assert_eq!(times.len(), 7);
        assert!(times.windows(2).all(|pair| pair[1] < pair[0]), "{times:?}");
        assert_eq!(snapshot.timestamp_millis().await.unwrap(), times[0]);
        for (entry, time) in history.iter().zip(&times) {
            let then = table.snapshot_at(At::timestamp(*time)).await.unwrap();
            assert_eq!(then.version(), entry.version, "{in_commit}");
        }
    }
}

#[tokio::test]
async fn c_6_in_commit_timestamps_grow_whatever_the_clock_says() {
    let store = Faulty::default();
    let environment = headwater::environment::Environment::system();
    let table = headwater::Table::create_in(
        crate::support::storage(&store),
        environment,
        crate::support::id_schema(),
    )
    .property("delta.enableInCommitTimestamps", "true")
    .await
    .unwrap();
    for id in 1..=30 {
        table.append(ids([id])).await.unwrap();
    }
    let history = table.snapshot().history(100).await.unwrap();
    let times: Vec<_> = history
        .iter()
        .rev()
        .map(|entry| entry.timestamp_millis)
        .collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    let middle = times[17];
    let then = table.snapshot_at(At::timestamp(middle)).await.unwrap();
    assert_eq!(then.version(), 17);
}

#[tokio::test]
async fn c_11_time_travel_at_the_boundaries() {
    let store = Faulty::default();
    table_of_five(&store).await;
    // Versions 2 and 3 in one millisecond: 3 counts as one later.
    set_times(&store, &[1_000, 2_000, 3_000, 3_000, 4_000, 5_000]);
    let table = open(&store).await.unwrap();
    let version_at = async |at: At| {
        table
            .snapshot_at(at)
            .await
            .map(|snapshot| snapshot.version())
    };
    let exact = [
        (1_000, 0),
        (1_999, 0),
        (2_000, 1),
        (2_001, 1),
        (2_999, 1),
        (3_000, 2),
        (3_001, 3),
        (3_999, 3),
        (4_000, 4),
        (4_999, 4),
        (5_000, 5),
    ];
    for (millis, version) in exact {
        assert_eq!(
            version_at(At::timestamp(millis)).await.unwrap(),
            version,
            "at {millis}"
        );
    }
    for outside in [999, -1, i64::MIN, 5_001, i64::MAX] {
        let error = version_at(At::timestamp(outside)).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::NotFound, Code::VersionNotFound)
        );
    }
    let newest = At::Timestamp(5_001, AfterLast::Newest);
    assert_eq!(version_at(newest).await.unwrap(), 5);
    let before = At::Timestamp(999, AfterLast::Newest);
    assert!(
        version_at(before).await.is_err(),
        "before the first there is nothing"
    );
}

#[tokio::test]
async fn a_version_that_is_not_there_is_named_with_those_that_are() {
    let store = Faulty::default();
    let table = table_of_five(&store).await;
    let missing = table.snapshot_at(6).await.unwrap_err();
    assert_eq!(
        (missing.kind(), missing.code()),
        (ErrorKind::NotFound, Code::VersionNotFound)
    );
    for (version, expected) in [(0, vec![]), (3, vec![1, 2, 3])] {
        let then = table.snapshot_at(version).await.unwrap();
        assert_eq!(ids_of(&then).await.unwrap(), expected);
    }
}
