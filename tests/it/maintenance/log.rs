//! Log cleanup goes back to a checkpoint that loads, and takes nothing that is held.

use super::*;

/// The clock of both handles is one; it is set forward while the writer is held up.
#[tokio::test]
async fn c_9_a_commit_below_what_log_cleanup_left_is_not_acknowledged_and_lands_above() {
    let store = Faulty::default();
    let (world, clock) = Ahead::environment();
    let in_world = storage_in(&store, &world);
    let table = Table::create_in(in_world.clone(), world.clone(), crate::support::id_schema());
    let table = table.await.unwrap();
    table.append(ids([1])).await.unwrap();
    let other = Table::open_in(in_world, world).await.unwrap();
    store.before_put(&format!("{:020}.json", 2), async move {
        for id in 2..=5 {
            other.append(ids([id])).await.unwrap();
        }
        other.checkpoint().await.unwrap();
        clock.forward(Duration::from_secs(40 * 24 * 3_600));
        assert_eq!(other.clean_up_log().await.unwrap().oldest, Some(5));
    });
    let landed = table.append(ids([9])).await.unwrap();
    assert_eq!(landed.version, 6);
    let newest = open(&store).await.unwrap().snapshot();
    assert_eq!(ids_of(&newest).await.unwrap(), [1, 2, 3, 4, 5, 9]);
}

#[tokio::test]
async fn e_12_a_reader_whose_commits_were_cleaned_up_finds_a_newer_anchor() {
    let store = Faulty::default();
    let (world, clock) = Ahead::environment();
    let in_world = storage_in(&store, &world);
    let table = Table::create_in(in_world.clone(), world.clone(), crate::support::id_schema());
    let table = table.await.unwrap();
    let reader = Table::open_in(in_world, world.clone()).await.unwrap();
    for id in 1..=5 {
        table.append(ids([id])).await.unwrap();
    }
    table.checkpoint().await.unwrap();
    clock.forward(Duration::from_secs(40 * 24 * 3_600));
    table.clean_up_log().await.unwrap();
    let newest = reader.refresh().await.unwrap();
    assert_eq!(newest.version(), 5);
    assert_eq!(ids_of(&newest).await.unwrap(), [1, 2, 3, 4, 5]);
    assert_eq!(
        reader.snapshot_at(2).await.unwrap_err().code(),
        Code::VersionNotFound
    );
}

/// The age of a version is the age of its commit file: the clock of the environment is set forward.
#[tokio::test]
async fn e_13_old_parts_of_the_log_go_back_to_a_checkpoint_that_loads() {
    let store = Faulty::default();
    let table = create(&store).await;
    for id in 1..=5 {
        table.append(ids([id])).await.unwrap();
        if id == 3 {
            table.checkpoint().await.unwrap();
        }
    }
    let (later, clock) = Ahead::environment();
    clock.forward(Duration::from_secs(40 * 24 * 3_600));
    let old = Table::open_in(storage_in(&store, &later), later)
        .await
        .unwrap();
    old.pin("oldest", 2, None).await.unwrap();
    let held = old.clean_up_log().await.unwrap();
    assert_eq!(
        held.oldest, None,
        "no checkpoint lies at or before the pinned version"
    );
    old.unpin("oldest").await.unwrap();
    let would = old.clean_up_log().dry_run().await.unwrap();
    assert_eq!((would.oldest, would.files), (Some(3), 3));
    // The checkpoint that everything would rest on is damaged: nothing is deleted.
    let key = Path::from("table/_delta_log/00000000000000000003.checkpoint.parquet");
    let whole = store.bytes(&key).await;
    store.place(&key, whole.slice(..whole.len() - 3)).await;
    assert_eq!(
        old.clean_up_log().await.unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    assert_eq!(
        ids_of(&open(&store).await.unwrap().snapshot_at(1).await.unwrap())
            .await
            .unwrap(),
        [1]
    );
    store.place(&key, whole).await;
    assert_eq!(old.clean_up_log().await.unwrap(), would);
    let reopened = open(&store).await.unwrap();
    for version in 3..=5 {
        let found = ids_of(&reopened.snapshot_at(version).await.unwrap())
            .await
            .unwrap();
        assert_eq!(found, (1..=version as i64).collect::<Vec<_>>());
    }
    let gone = reopened.snapshot_at(2).await.unwrap_err();
    assert_eq!(gone.code(), Code::VersionNotFound);
    assert_eq!(table.append(ids([6])).await.unwrap().version, 6);
    let young = table
        .clean_up_log()
        .retention(Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(young.files, 0, "what is younger than an hour stays");
}

/// Five versions, with checkpoints of two of them, that are long past the retention of the log.
async fn long_ago(store: &Faulty) -> (Table, Clock) {
    let (table, clock) = ahead(store).await;
    for id in 1..=5 {
        table.append(ids([id])).await.unwrap();
        if id == 2 || id == 5 {
            table.checkpoint().await.unwrap();
        }
    }
    clock.forward(days(40));
    (table, clock)
}

async fn loads(store: &Faulty, version: u64) {
    let fresh = open(store).await.unwrap();
    let found = ids_of(&fresh.snapshot_at(version).await.unwrap())
        .await
        .unwrap();
    assert_eq!(found, (1..=version as i64).collect::<Vec<_>>());
}

#[tokio::test]
async fn e_13_a_pin_that_comes_while_a_cleanup_is_planned_is_kept() {
    let store = Faulty::default();
    let (table, clock) = long_ago(&store).await;
    let other = again(&store, &table, &clock).await;
    // The plan is made; then, before the cleanup has said so, somebody pins.
    store.before_put(".json", async move {
        other.pin("late", 3, None).await.unwrap();
    });
    let cleaned = table.clean_up_log().await.unwrap();
    assert_eq!(cleaned.oldest, Some(2));
    loads(&store, 3).await;
    now(&table).await.unwrap();
    assert!(table.unpin("late").await.unwrap());
    assert_eq!(table.clean_up_log().await.unwrap().oldest, Some(5));
    loads(&store, 5).await;
}

#[tokio::test]
async fn e_13_a_version_whose_log_may_be_going_is_not_pinned_though_it_loads() {
    let store = Faulty::default();
    let (table, clock) = long_ago(&store).await;
    table.append(ids([6])).await.unwrap();
    table.append(ids([7])).await.unwrap();
    // Deletions fail: as if the cleanup had been killed when it had said what it was about to do.
    store.fail(Request::Delete, ".json", 99, When::Before, Answer::Denied);
    let killed = table.clean_up_log().await.unwrap_err();
    assert_eq!(killed.code(), Code::Denied);
    store.heal();
    loads(&store, 3).await;
    let refused = table.pin("late", 3, None).await.unwrap_err();
    assert_eq!(
        (refused.kind(), refused.code()),
        (ErrorKind::Conflict, Code::FilesVacuumed),
        "{refused}"
    );
    assert_eq!(table.pins().await.unwrap(), []);
    let old = table.snapshot_at(4).await.unwrap();
    let refused = table
        .lease(&old, Duration::from_secs(60))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    table.pin("stays", 6, None).await.unwrap();
    clock.forward(Duration::from_secs(16 * 60));
    table.pin("late", 3, None).await.unwrap();
    assert!(table.unpin("late").await.unwrap());
    clock.forward(Duration::from_secs(16 * 60));
    assert_eq!(table.clean_up_log().await.unwrap().oldest, Some(5));
    let left = store.paths().await;
    assert!(
        !left.iter().any(|path| path.contains("cleanups")),
        "{left:?}"
    );
}

#[tokio::test]
async fn e_13_an_incomplete_or_damaged_checkpoint_is_no_anchor_where_an_older_one_is() {
    let log = |name: &str| Path::from(format!("table/_delta_log/{name}"));
    for damage in ["part", "empty", "garbage"] {
        let store = Faulty::default();
        let (table, _clock) = long_ago(&store).await;
        let newest = log("00000000000000000005.checkpoint.parquet");
        let whole = store.bytes(&newest).await;
        store.remove(&newest).await;
        match damage {
            "part" => {
                let one = log("00000000000000000005.checkpoint.0000000001.0000000002.parquet");
                store.place(&one, whole).await;
            }
            "empty" => store.place(&newest, "").await,
            _ => store.place(&newest, whole.slice(..whole.len() - 3)).await,
        }
        let would = table.clean_up_log().dry_run().await.unwrap();
        let cleaned = table.clean_up_log().await.unwrap();
        assert_eq!(
            (cleaned.oldest, would),
            (Some(2), cleaned.clone()),
            "{damage}"
        );
        assert_eq!(cleaned.files, 2, "the commits before it: {cleaned:?}");
        for version in 2..=5 {
            loads(&store, version).await;
        }
    }
}

#[tokio::test]
async fn log_cleanup_is_refused_on_a_table_whose_rules_it_does_not_know() {
    let store = Faulty::default();
    let (table, _clock) = long_ago(&store).await;
    let mut metadata = action(&store, 0, "metaData").await;
    metadata["metaData"]["configuration"]["delta.requireCheckpointProtectionBeforeVersion"] =
        "4".into();
    let protocol = serde_json::json!({"protocol": {
        "minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["checkpointProtection"],
    }});
    let info = serde_json::json!({"commitInfo": {"operation": "FOREIGN"}});
    commit(&store, 6, &[info, protocol, metadata]).await;
    let before = store.paths().await;
    let refused = table.clean_up_log().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
    assert_eq!(store.paths().await, before);
}

#[tokio::test]
async fn e_13_sidecars_that_no_kept_checkpoint_names_go_once_they_are_old() {
    use object_store::ObjectStoreExt;
    let store = Faulty::default();
    let (table, _clock) = long_ago(&store).await;
    let log = |name: &str| Path::from(format!("table/_delta_log/{name}"));
    // The newest checkpoint becomes one whose files are in a sidecar.
    let newest = log("00000000000000000005.checkpoint.parquet");
    let whole = store.bytes(&newest).await;
    store.remove(&newest).await;
    let size = whole.len();
    store.place(&log("_sidecars/kept.parquet"), whole).await;
    store.place(&log("_sidecars/orphan.parquet"), "x").await;
    let young = log("_sidecars/young.parquet");
    store
        .put(&young, bytes::Bytes::from_static(b"x").into())
        .await
        .unwrap();
    let lines = [
        serde_json::json!({"checkpointMetadata": {"version": 5}}),
        action(&store, 0, "protocol").await,
        action(&store, 0, "metaData").await,
        serde_json::json!({"sidecar": {"path": "kept.parquet", "sizeInBytes": size, "modificationTime": 1}}),
    ];
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    let v2 = log("00000000000000000005.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json");
    store.place(&v2, lines.join("\n")).await;
    let cleaned = table.clean_up_log().await.unwrap();
    assert_eq!(cleaned.oldest, Some(5));
    let left = store.paths().await;
    let is_left = |name: &str| left.iter().any(|path| path.ends_with(name));
    assert!(
        is_left("kept.parquet") && is_left("young.parquet"),
        "{left:?}"
    );
    assert!(!is_left("orphan.parquet"), "{left:?}");
    loads(&store, 5).await;
}
