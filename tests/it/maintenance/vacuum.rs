//! Vacuum takes what nobody needs, and nothing else.

use super::*;

#[tokio::test]
async fn e_10_a_retention_below_the_promise_is_refused_unless_it_is_asked_for_as_unsafe() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1])).await.unwrap();
    let refused = table
        .vacuum()
        .retention(Duration::from_secs(3_600))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert_eq!(refused.context_value("promised_hours"), Some("168"));
    let grace = table.vacuum().grace(Duration::ZERO).await.unwrap_err();
    assert_eq!(grace.kind(), ErrorKind::Invalid);
    assert_eq!(table.vacuum().await.unwrap().files, 0);
    assert_eq!(
        table.refresh().await.unwrap().version(),
        1,
        "nothing to delete is no version"
    );
}

#[tokio::test]
async fn what_nobody_needs_is_deleted_and_what_the_newest_version_needs_stays() {
    let store = Faulty::default();
    let table = with_vectors(&store).await;
    for id in 0..4 {
        table.append(ids([id * 10, id * 10 + 1])).await.unwrap();
    }
    table.delete(col("id").eq(10)).await.unwrap();
    table.delete(col("id").lt(2)).await.unwrap();
    table
        .overwrite(ids([7]))
        .matching(col("id").gt_eq(30))
        .await
        .unwrap_err();
    store.place(&Path::from("table/orphan.parquet"), "x").await;
    store
        .place(&Path::from("table/_other/mine.parquet"), "x")
        .await;
    a_moment().await;
    let before = data(&store).await;
    let would = now(&table).dry_run().await.unwrap();
    assert_eq!(data(&store).await, before);
    let did = now(&table).await.unwrap();
    assert_eq!(did.keys, would.keys);
    assert!(did.keys.contains(&"orphan.parquet".to_owned()), "{did:?}");
    assert!(
        did.files >= 3,
        "the orphan, a file of deleted rows, and the change feed: {did:?}"
    );
    let after = data(&store).await;
    assert!(
        after.contains("table/_other/mine.parquet"),
        "hidden names are others' business"
    );
    let reopened = open(&store).await.unwrap();
    assert_eq!(
        ids_of(&reopened.snapshot()).await.unwrap(),
        [11, 20, 21, 30, 31]
    );
    let history = reopened.snapshot().history(2).await.unwrap();
    let operations: Vec<_> = history
        .iter()
        .map(|entry| entry.info.operation.clone().unwrap())
        .collect();
    assert_eq!(operations, ["VACUUM END", "VACUUM START"]);
    let again = now(&table).await.unwrap();
    assert_eq!(again.files, 0, "E-9: a second run finds nothing");
    // E-14: an old version says that its files have expired.
    let old = reopened.snapshot_at(4).await.unwrap();
    let expired = ids_of(&old).await.unwrap_err();
    assert_eq!(
        (expired.kind(), expired.code()),
        (ErrorKind::NotFound, Code::FilesExpired)
    );
}

#[tokio::test]
async fn e_2_what_a_writer_may_be_about_to_commit_stays_for_the_grace() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1])).await.unwrap();
    table.overwrite(ids([2])).await.unwrap();
    store
        .place(&Path::from("table/in-flight.parquet"), "x")
        .await;
    a_moment().await;
    let vacuum = table
        .vacuum()
        .retention(Duration::ZERO)
        .grace(Duration::from_secs(30));
    let did = vacuum.allow_unsafe_retention().await.unwrap();
    assert_eq!(
        did.files, 1,
        "what the log says went, goes at once: {did:?}"
    );
    assert!(data(&store).await.contains("table/in-flight.parquet"));
}

#[tokio::test]
async fn e_5_e_6_paths_are_compared_in_one_form() {
    let store = Faulty::default();
    let schema = Schema::new([
        Field::new("id", DataType::LONG, false),
        Field::new("p", DataType::STRING, true),
    ]);
    let create = Table::create_in(storage(&store), Environment::system(), schema.unwrap());
    let table = create.partition_by(["p"]).await.unwrap();
    let awkward = [
        "a b",
        "50%",
        "x+y~z",
        "k=v",
        "\u{e9}\u{4e2d}",
        "a:b",
        "%20",
        "q?#&",
    ];
    for (id, value) in awkward.iter().enumerate() {
        use headwater::arrow_array::{Int64Array, RecordBatch, StringArray};
        let rows = RecordBatch::try_from_iter([
            (
                "id",
                std::sync::Arc::new(Int64Array::from(vec![id as i64])) as _,
            ),
            (
                "p",
                std::sync::Arc::new(StringArray::from(vec![*value])) as _,
            ),
        ]);
        table.append(rows.unwrap()).await.unwrap();
    }
    a_moment().await;
    let did = now(&table).await.unwrap();
    assert_eq!(did.files, 0, "every file is live: {did:?}");
    assert_eq!(
        ids_of(&table.snapshot()).await.unwrap().len(),
        awkward.len()
    );
}

#[tokio::test]
async fn e_7_another_table_below_this_one_stops_a_vacuum() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1])).await.unwrap();
    let inner = Path::from("table/inner/_delta_log/00000000000000000000.json");
    store.place(&inner, "{}").await;
    a_moment().await;
    let refused = now(&table).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert!(refused.message().contains("another table"), "{refused}");
}

#[tokio::test]
async fn e_8_files_that_are_committed_between_plan_and_deletion_stay() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1])).await.unwrap();
    table.overwrite(ids([2])).await.unwrap();
    a_moment().await;
    // A version that names a file which the plan is about to delete.
    let first = store.bytes(&commit_key(1)).await;
    let text = String::from_utf8(first.to_vec()).unwrap();
    let add = text
        .lines()
        .find(|line| line.starts_with("{\"add\""))
        .unwrap()
        .to_owned();
    let (meanwhile, store_too) = (format!("{:020}.json", 3), store.clone());
    store.before_put(&meanwhile, async move {
        let info = "{\"commitInfo\":{\"operation\":\"FOREIGN\"}}";
        store_too
            .place(&commit_key(3), format!("{info}\n{add}\n"))
            .await;
    });
    let did = now(&table).await.unwrap();
    assert_eq!(did.files, 0, "{did:?}");
    assert_eq!(
        ids_of(&table.refresh().await.unwrap()).await.unwrap(),
        [1, 2]
    );
}

#[tokio::test]
async fn e_9_a_vacuum_that_fails_half_way_is_completed_by_the_next() {
    let store = Faulty::default();
    let table = create(&store).await;
    for id in 0..19 {
        table.overwrite(ids([id])).await.unwrap();
    }
    let victim = data(&store).await.into_iter().nth(7).unwrap();
    table.overwrite(ids([19])).await.unwrap();
    a_moment().await;
    store.fail(Request::Delete, &victim, 99, When::Before, Answer::Denied);
    let failed = now(&table).await.unwrap_err();
    assert_eq!(failed.code(), Code::Denied, "{failed}");
    assert_eq!(ids_of(&table.refresh().await.unwrap()).await.unwrap(), [19]);
    store.heal();
    let left = data(&store).await.len();
    let second = now(&table).await.unwrap();
    assert_eq!(second.files as usize, left - 1);
    assert_eq!(data(&store).await.len(), 1);
    assert_eq!(ids_of(&table.refresh().await.unwrap()).await.unwrap(), [19]);
}

#[tokio::test]
async fn e_11_a_recent_tombstone_keeps_a_file_however_old_it_is() {
    let folder = std::env::temp_dir().join(format!("headwater-e-11-{}", std::process::id()));
    let location = folder.to_str().unwrap().to_owned();
    let table = Table::create(&location, crate::support::id_schema())
        .await
        .unwrap();
    table.append(ids([1])).await.unwrap();
    table.overwrite(ids([2])).await.unwrap();
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(90 * 24 * 3_600);
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "parquet") {
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.set_modified(long_ago).unwrap();
            files += 1;
        }
    }
    assert_eq!(files, 2);
    assert_eq!(table.vacuum().await.unwrap().files, 0);
    assert_eq!(
        ids_of(&table.snapshot_at(1).await.unwrap()).await.unwrap(),
        [1]
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn e_14_a_version_that_was_vacuumed_says_so_before_it_gives_a_row() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1])).await.unwrap();
    table.overwrite(ids([2])).await.unwrap();
    a_moment().await;
    now(&table).await.unwrap();
    let expired = ids_of(&table.snapshot_at(1).await.unwrap())
        .await
        .unwrap_err();
    assert_eq!(
        (expired.kind(), expired.code()),
        (ErrorKind::NotFound, Code::FilesExpired)
    );
    assert_eq!(expired.context_value("version"), Some("1"));
}

/// The grace that a writer gets is half of what vacuum waits.
#[tokio::test]
async fn e_3_a_writer_that_is_slower_than_vacuum_commits_no_file_that_is_gone() {
    for vacuumed in [false, true] {
        let store = Faulty::default();
        let (world, clock) = Ahead::environment();
        let in_world = storage_in(&store, &world);
        let table = Table::create_in(in_world.clone(), world.clone(), crate::support::id_schema());
        let table = table.await.unwrap();
        let (other, gone) = (open(&store).await.unwrap(), store.clone());
        // The race for the version is lost, and days pass before the next attempt.
        store.before_put(&format!("{:020}.json", 1), async move {
            other.append(ids([7])).await.unwrap();
            clock.forward(Duration::from_secs(4 * 24 * 3_600));
            let live = other.snapshot().scan().plan().await.unwrap();
            assert_eq!(live.counts().files, 1);
            let files = data(&gone).await;
            assert_eq!(files.len(), 2);
            if vacuumed {
                let commit = gone.bytes(&commit_key(1)).await;
                let text = String::from_utf8(commit.to_vec()).unwrap();
                let orphan = files
                    .iter()
                    .find(|file| !text.contains(&file["table/".len()..]));
                gone.remove(&Path::parse(orphan.unwrap()).unwrap()).await;
            }
        });
        let landed = table.append(ids([9])).await;
        let newest = open(&store).await.unwrap().snapshot();
        if vacuumed {
            let lost = landed.unwrap_err();
            assert_eq!(
                (lost.kind(), lost.code()),
                (ErrorKind::Conflict, Code::FilesVacuumed)
            );
            assert_eq!(ids_of(&newest).await.unwrap(), [7]);
        } else {
            assert_eq!(landed.unwrap().version, 2);
            assert_eq!(ids_of(&newest).await.unwrap(), [7, 9]);
        }
    }
}

#[tokio::test]
async fn c_8_a_compactor_that_was_paused_brings_nothing_back() {
    let store = Faulty::default();
    let table = create(&store).await;
    for id in 0..3 {
        table.append(ids([id])).await.unwrap();
    }
    let other = open(&store).await.unwrap();
    store.before_put(&format!("{:020}.json", 4), async move {
        other.delete(col("id").lt(2)).await.unwrap();
        other.append(ids([7])).await.unwrap();
        other.checkpoint().await.unwrap();
        let vacuum = other
            .vacuum()
            .retention(Duration::ZERO)
            .grace(Duration::from_secs(60));
        vacuum.allow_unsafe_retention().await.unwrap();
    });
    let _ = table.compact().await;
    assert_eq!(
        ids_of(&table.refresh().await.unwrap()).await.unwrap(),
        [2, 7]
    );
}

/// To a machine whose clock is fast, files look longer gone than they are; so do those that a slow writer took away.
#[tokio::test]
async fn c_6_a_file_stays_as_long_as_promised_though_clocks_differ() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    // How long the table promises, and how fast the clock of the machine is that vacuums.
    for (promise, promised, fast) in [
        ("interval 7 days", days(7), minutes(59)),
        ("interval 12 hours", minutes(12 * 60), minutes(29)),
    ] {
        let store = Faulty::default();
        let (world, clock) = Ahead::environment();
        store.follow(&world);
        let in_world = storage_in(&store, &world);
        let table = Table::create_in(in_world, world, crate::support::id_schema())
            .property("delta.deletedFileRetentionDuration", promise)
            .await
            .unwrap();
        table.append(ids([1])).await.unwrap();
        let slow = Clock::default();
        slow.back(fast);
        let writer = again(&store, &table, &slow).await;
        writer.overwrite(ids([2])).await.unwrap();

        clock.forward(promised - minutes(1));
        let ahead = Clock::default();
        ahead.forward(promised - minutes(1) + fast);
        let vacuuming = again(&store, &table, &ahead).await;
        assert_eq!(vacuuming.vacuum().await.unwrap().files, 0, "{promise}");
        let old = table.snapshot_at(1).await.unwrap();
        assert_eq!(ids_of(&old).await.unwrap(), [1], "{promise}");
        // Asked for longer than that, no margin comes on top.
        ahead.forward(minutes(3));
        let longer = vacuuming.vacuum().retention(promised + minutes(62));
        assert_eq!(longer.await.unwrap().files, 0, "{promise}");
        assert_eq!(vacuuming.vacuum().await.unwrap().files, 1, "{promise}");
    }
}

#[tokio::test]
async fn e_3_a_writer_commits_no_file_that_a_vacuum_under_way_may_take() {
    let store = Faulty::default();
    let (world, clock) = Ahead::environment();
    store.follow(&world);
    let in_world = storage_in(&store, &world);
    let table = Table::create_in(in_world.clone(), world.clone(), crate::support::id_schema());
    let table = table.await.unwrap();
    let other = Table::open_in(in_world, world).await.unwrap();
    let hook = store.clone();
    store.before_put(&format!("{:020}.json", 1), async move {
        clock.forward(Duration::from_secs(8 * 24 * 3_600));
        hook.fail(
            Request::Delete,
            ".parquet",
            99,
            When::Before,
            Answer::Denied,
        );
        assert_eq!(other.vacuum().await.unwrap_err().code(), Code::Denied);
        hook.heal();
    });
    let lost = table.append(ids([9])).await.unwrap_err();
    assert_eq!(lost.code(), Code::FilesVacuumed, "{lost}");
    assert_eq!(data(&store).await.len(), 1, "it is still there");
}

#[tokio::test]
async fn e_9_a_vacuum_that_takes_long_looks_again_at_what_is_held() {
    let store = Faulty::default();
    let (world, clock) = Ahead::environment();
    let in_world = storage_in(&store, &world);
    let table = Table::create_in(in_world, world, crate::support::id_schema());
    let table = table.await.unwrap();
    table.append(ids([1])).await.unwrap();
    table.overwrite(ids([2])).await.unwrap();
    a_moment().await;
    store.before_put(&format!("{:020}.json", 3), async move {
        clock.forward(Duration::from_secs(11 * 60));
    });
    assert_eq!(now(&table).await.unwrap().files, 1);
    let history = table.refresh().await.unwrap().history(10).await.unwrap();
    let operations = history.iter().filter_map(|it| it.info.operation.as_deref());
    let operations: Vec<_> = operations.take(4).collect();
    assert_eq!(
        operations,
        ["VACUUM END", "VACUUM START", "VACUUM END", "VACUUM START"]
    );
}

#[tokio::test]
async fn e_5_vectors_that_a_version_took_away_go_with_its_files() {
    let store = Faulty::default();
    let table = with_vectors(&store).await;
    table.append(ids(0..4_000)).await.unwrap();
    for modulus in [3, 7] {
        let scattered = headwater::predicate::Predicate::parse(&format!("id % {modulus} = 1"));
        table.delete(scattered.unwrap()).await.unwrap();
    }
    a_moment().await;
    let vacuum = table
        .vacuum()
        .retention(Duration::ZERO)
        .grace(Duration::from_secs(3_600));
    let gone = vacuum.allow_unsafe_retention().await.unwrap().keys;
    assert_eq!(gone.len(), 1, "{gone:?}");
    assert!(gone[0].starts_with("deletion_vector_"), "{gone:?}");
    let left = ids_of(&table.refresh().await.unwrap()).await.unwrap();
    let expected: Vec<i64> = (0..4_000).filter(|id| id % 3 != 1 && id % 7 != 1).collect();
    assert_eq!(left, expected);
}

#[tokio::test]
async fn a_1_g_9_what_killed_writers_left_goes_after_the_grace_and_not_before() {
    let folder = std::env::temp_dir().join(format!("headwater-g-9-{}", std::process::id()));
    let table = Table::create(folder.to_str().unwrap(), crate::support::id_schema());
    let table = table.await.unwrap();
    table.append(ids([1])).await.unwrap();
    let age = |name: &str, seconds: u64| {
        let file = std::fs::File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join(name))
            .unwrap();
        let then = std::time::SystemTime::now() - Duration::from_secs(seconds);
        file.set_modified(then).unwrap();
    };
    let left = [
        "part-00000-killed.parquet",
        "_delta_log/.tmp-killed",
        ".tmp-killed",
        "deletion_vector_killed.bin",
    ];
    let there = || left.map(|name| folder.join(name).exists());
    // A week, and an hour because clocks differ.
    let grace = (7 * 24 + 1) * 3_600;
    left.iter().for_each(|name| age(name, grace - 60));
    let kept = table.vacuum().await.unwrap();
    assert_eq!((kept.files, kept.unpublished, there()), (0, 0, [true; 4]));
    left.iter().for_each(|name| age(name, grace + 60));
    let swept = table.vacuum().await.unwrap();
    assert_eq!(
        (swept.files, swept.unpublished, there()),
        (2, 2, [false; 4])
    );
    assert_eq!(ids_of(&table.refresh().await.unwrap()).await.unwrap(), [1]);
    std::fs::remove_dir_all(folder).unwrap();
}

/// Version 2 names the file of version 1 in another way, or in one that nobody can place.
async fn renamed(store: &Faulty, rename: impl Fn(&str) -> String) -> (Table, String) {
    let table = create(store).await;
    table.append(ids([1])).await.unwrap();
    let mut add = action(store, 1, "add").await;
    let path = add["add"]["path"].as_str().unwrap().to_owned();
    let remove =
        serde_json::json!({"remove": {"path": path, "dataChange": false, "deletionTimestamp": 1}});
    add["add"]["path"] = rename(&path).into();
    let info = serde_json::json!({"commitInfo": {"operation": "FOREIGN"}});
    commit(store, 2, &[info, remove, add]).await;
    a_moment().await;
    (table, format!("table/{path}"))
}

#[tokio::test]
async fn e_6_a_file_that_must_stay_and_cannot_be_placed_stops_a_vacuum() {
    for rename in [
        |path: &str| format!("./{path}"),
        |path: &str| format!("p=1//{path}"),
        |path: &str| format!("%2e/{path}"),
        |path: &str| format!("//host/table/{path}"),
        |path: &str| format!("s3://bucket:9000/table/{path}"),
    ] {
        let store = Faulty::default();
        let (table, file) = renamed(&store, rename).await;
        let refused = now(&table).await.unwrap_err();
        assert_eq!(
            (refused.kind(), refused.code()),
            (ErrorKind::Corrupt, Code::UnsafePath),
            "{refused}"
        );
        assert!(
            refused.message().contains("nothing was deleted"),
            "{refused}"
        );
        assert!(data(&store).await.contains(&file));
        let refused = now(&table).dry_run().await.unwrap_err();
        assert_eq!(refused.code(), Code::UnsafePath);
    }
}

#[tokio::test]
async fn e_6_a_vector_that_must_stay_and_cannot_be_placed_stops_a_vacuum() {
    let store = Faulty::default();
    let table = with_vectors(&store).await;
    table.append(ids([1])).await.unwrap();
    table.append(ids([2])).await.unwrap();
    table.overwrite(ids([3])).await.unwrap();
    let mut add = action(&store, 3, "add").await;
    add["add"]["deletionVector"] = serde_json::json!({
        "storageType": "u", "pathOrInlineDv": "no uuid", "offset": 1, "sizeInBytes": 34, "cardinality": 1,
    });
    let path = add["add"]["path"].clone();
    let remove =
        serde_json::json!({"remove": {"path": path, "dataChange": true, "deletionTimestamp": 1}});
    let info = serde_json::json!({"commitInfo": {"operation": "FOREIGN"}});
    commit(&store, 4, &[info, remove, add]).await;
    a_moment().await;
    let before = data(&store).await;
    let refused = now(&table).await.unwrap_err();
    assert_eq!(refused.code(), Code::UnsafePath, "{refused}");
    assert_eq!(data(&store).await, before);
}

#[tokio::test]
async fn e_6_an_object_that_an_absolute_path_may_mean_stays() {
    for rename in [
        |path: &str| format!("s3a://alias/table/{path}"),
        |path: &str| format!("store:///table/{path}"),
        |path: &str| format!("STORE:/table/{path}"),
        |path: &str| format!("/mnt/link/to/table/{path}"),
    ] {
        let store = Faulty::default();
        let (table, file) = renamed(&store, rename).await;
        store.place(&Path::from("table/orphan.parquet"), "x").await;
        a_moment().await;
        let did = now(&table).await.unwrap();
        assert_eq!(did.keys, ["orphan.parquet"]);
        assert!(data(&store).await.contains(&file));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn e_6_a_linked_root_and_a_trailing_slash_are_the_same_table() {
    let folder = std::env::temp_dir().join(format!("headwater-e-6-{}", std::process::id()));
    let (real, link) = (folder.join("real"), folder.join("link"));
    std::fs::create_dir_all(&folder).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let table = Table::create(real.to_str().unwrap(), crate::support::id_schema())
        .await
        .unwrap();
    table.append(ids([1])).await.unwrap();
    table.append(ids([2])).await.unwrap();
    table.overwrite(ids([3])).await.unwrap();
    // The live file by its absolute path, as engines write it that were given the other name of the folder.
    let commit_of = |version: u64| real.join(format!("_delta_log/{version:020}.json"));
    let text = std::fs::read_to_string(commit_of(3)).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut add = lines
        .into_iter()
        .find(|line| line.get("add").is_some())
        .unwrap();
    let path = add["add"]["path"].as_str().unwrap().to_owned();
    let remove =
        serde_json::json!({"remove": {"path": path, "dataChange": false, "deletionTimestamp": 1}});
    add["add"]["path"] = format!("file://{}/{path}", link.display()).into();
    let info = serde_json::json!({"commitInfo": {"operation": "FOREIGN"}});
    std::fs::write(commit_of(4), format!("{info}\n{remove}\n{add}")).unwrap();
    a_moment().await;
    let locations = [
        real.display().to_string(),
        format!("{}/", real.display()),
        link.display().to_string(),
        format!("{}/", link.display()),
        format!("file://{}/", link.display()),
    ];
    for location in locations {
        let other = Table::open(&location).await.unwrap();
        now(&other).await.unwrap();
        assert!(real.join(&path).exists(), "{location}");
    }
    let left = std::fs::read_dir(&real).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().ends_with(".parquet")
    });
    assert_eq!(left.count(), 1, "what was overwritten is gone");
    std::fs::remove_dir_all(folder).unwrap();
}

/// Whatever is put next comes eleven minutes late, and so on.
fn slow(store: Faulty, clock: Clock, times: usize) {
    let again = store.clone();
    store.before_put(".json", async move {
        clock.forward(Duration::from_secs(11 * 60));
        if 0 < times {
            slow(again, clock, times - 1);
        }
    });
}

#[tokio::test]
async fn a_vacuum_that_never_finds_time_to_delete_says_so_and_ends() {
    let store = Faulty::default();
    let (table, clock) = ahead(&store).await;
    table.append(ids([1])).await.unwrap();
    table.overwrite(ids([2])).await.unwrap();
    a_moment().await;
    slow(store.clone(), clock, 100);
    let error = now(&table).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.is_retryable(), "{error}");
    assert_eq!(data(&store).await.len(), 2);
    drop(store.not_yet());
    assert_eq!(now(&table).await.unwrap().files, 1);
}

#[tokio::test]
async fn e_1_a_held_version_that_is_gone_stops_a_vacuum_and_says_what_to_do() {
    let store = Faulty::default();
    let (table, clock) = ahead(&store).await;
    for id in 1..=4 {
        table.overwrite(ids([id])).await.unwrap();
    }
    table.pin("old", 1, None).await.unwrap();
    table.checkpoint().await.unwrap();
    // Another engine cleans up the log and knows nothing of pins.
    for version in 0..=3 {
        store.remove(&commit_key(version)).await;
    }
    clock.forward(days(8));
    let before = data(&store).await;
    let refused = now(&table).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
    assert!(refused.message().contains("end the pin"), "{refused}");
    assert_eq!(data(&store).await, before);
    assert!(table.unpin("old").await.unwrap());
    now(&table).await.unwrap();
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [4]);
}
