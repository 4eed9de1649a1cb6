//! Restore brings back what is there.

use super::*;

#[tokio::test]
async fn a_version_is_restored_with_its_rows_and_its_schema() {
    let store = Faulty::default();
    let table = with_vectors(&store).await;
    table.append(ids([1, 2, 3])).await.unwrap();
    table.append(ids([4])).await.unwrap();
    table.delete(col("id").eq(2)).await.unwrap();
    table.delete(col("id").eq(3)).await.unwrap();
    table
        .alter()
        .add_column(Field::new("note", DataType::STRING, true))
        .await
        .unwrap();
    for version in [3_u64, 1, 4, 2, 5] {
        let expected = ids_of(&table.snapshot_at(version).await.unwrap())
            .await
            .unwrap();
        table.restore(version).await.unwrap();
        let reopened = open(&store).await.unwrap();
        assert_eq!(
            ids_of(&reopened.snapshot()).await.unwrap(),
            expected,
            "{version}"
        );
        let fields = reopened.snapshot().schema().fields().len();
        assert_eq!(fields, if version == 5 { 2 } else { 1 });
    }
    let nothing = table.restore(5).await.unwrap();
    assert_eq!(nothing.status, headwater::CommitStatus::Unchanged);
    let missing = table.restore(99).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn e_4_what_was_vacuumed_is_not_brought_back() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1])).await.unwrap();
    table.overwrite(ids([2])).await.unwrap();
    a_moment().await;
    // The vacuum starts between the plan of the restore and its commit.
    let other = open(&store).await.unwrap();
    store.before_put(&format!("{:020}.json", 3), async move {
        assert_eq!(now(&other).await.unwrap().files, 1);
    });
    let error = table.restore(1).await.unwrap_err();
    assert_eq!(error.code(), Code::FilesExpired, "{error}");
    let newest = table.refresh().await.unwrap();
    assert_eq!(ids_of(&newest).await.unwrap(), [2]);

    // A vacuum that has started and not ended: files of the version may go, unless the newest has them all.
    table.overwrite(ids([3])).await.unwrap();
    let newest = table.refresh().await.unwrap();
    let started = "{\"commitInfo\":{\"operation\":\"VACUUM START\"}}\n";
    store
        .place(&commit_key(newest.version() + 1), started)
        .await;
    assert_eq!(
        table.restore(newest.version()).await.unwrap().status,
        headwater::CommitStatus::Unchanged
    );
    let busy = table.restore(2).await.unwrap_err();
    assert_eq!(
        (busy.kind(), busy.code()),
        (ErrorKind::Conflict, Code::FilesVacuumed)
    );
}

#[tokio::test]
async fn d_3_a_restore_gives_way_to_what_happened_meanwhile_and_is_planned_again() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1])).await.unwrap();
    table.append(ids([2])).await.unwrap();
    let other = open(&store).await.unwrap();
    store.before_put(&format!("{:020}.json", 3), async move {
        other.append(ids([3])).await.unwrap();
    });
    assert_eq!(table.restore(1).await.unwrap().version, 4);
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [1]);
}

#[tokio::test]
async fn e_4_the_end_of_one_vacuum_does_not_hide_another() {
    let store = Faulty::default();
    let (table, clock) = ahead(&store).await;
    table.append(ids([1])).await.unwrap();
    table.overwrite(ids([2])).await.unwrap();
    let millis = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    let start = serde_json::json!({"commitInfo": {
        "timestamp": millis, "operation": "VACUUM START", "operationParameters": {"plannedVersion": "2"},
    }});
    let end = serde_json::json!({"commitInfo": {
        "timestamp": millis, "operation": "VACUUM END", "operationParameters": {"startVersion": "4"},
    }});
    commit(&store, 3, std::slice::from_ref(&start)).await;
    commit(&store, 4, &[start]).await;
    commit(&store, 5, &[end]).await;
    let busy = table.restore(1).await.unwrap_err();
    assert_eq!(
        (busy.kind(), busy.code()),
        (ErrorKind::Conflict, Code::FilesVacuumed)
    );
    assert_eq!(busy.context_value("vacuum_version"), Some("3"));
    // However many versions come after it.
    for id in 0..101 {
        table.append(ids([id])).await.unwrap();
    }
    let busy = table.restore(1).await.unwrap_err();
    assert_eq!(busy.context_value("vacuum_version"), Some("3"));
    // It was killed, and deletes nothing any more.
    clock.forward(Duration::from_secs(16 * 60));
    table.restore(1).await.unwrap();
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [1]);
}

#[tokio::test]
async fn a_restore_does_not_bring_times_of_commits_back() {
    const KEY: &str = "delta.enableInCommitTimestamps";
    let store = Faulty::default();
    let create = Table::create_in(
        storage(&store),
        Environment::system(),
        crate::support::id_schema(),
    );
    let table = create.property(KEY, "true").await.unwrap();
    table.append(ids([1])).await.unwrap();
    table.alter().unset_property(KEY).await.unwrap();
    table.append(ids([2])).await.unwrap();
    table.restore(1).await.unwrap();
    let configuration = table.snapshot().metadata().configuration.clone();
    assert_eq!(configuration.get(KEY), None);
    table.append(ids([3])).await.unwrap();
    let fresh = open(&store).await.unwrap();
    assert_eq!(ids_of(&fresh.snapshot()).await.unwrap(), [1, 3]);
    fresh.append(ids([4])).await.unwrap();
    assert_eq!(
        ids_of(&open(&store).await.unwrap().snapshot())
            .await
            .unwrap(),
        [1, 3, 4]
    );
}
