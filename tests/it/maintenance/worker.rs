//! The worker does what is due, says so, and says what failed.

use super::*;

#[tokio::test]
async fn the_worker_compacts_and_checkpoints_what_is_due_and_says_so() {
    let store = Faulty::default();
    let table = create(&store).await;
    for id in 0..7 {
        table.append(ids([id])).await.unwrap();
    }
    let idle = table.maintain().once().await.unwrap();
    assert_eq!(
        (idle.compacted.version, idle.checkpoints),
        (None, 0),
        "seven files are few"
    );
    let worker = table
        .maintain()
        .every(Duration::from_millis(5))
        .core_share(1.0)
        .start();
    for id in 7..40 {
        table.append(ids([id])).await.unwrap();
    }
    for _ in 0..2_000 {
        if 0 < worker.status().compacted.files_removed && 0 < worker.status().checkpoints {
            break;
        }
        a_moment().await;
    }
    worker.pause();
    let status = worker.stop().await.unwrap();
    assert_eq!(status.state, State::Stopped);
    assert!(0 < status.compacted.files_removed, "{status:?}");
    assert_eq!(status.failures, 0, "{status:?}");
    assert_eq!(
        ids_of(&table.refresh().await.unwrap()).await.unwrap(),
        (0..40).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_worker_that_fails_says_so() {
    let store = Faulty::default();
    let table = create(&store).await;
    for id in 0..8 {
        table.append(ids([id])).await.unwrap();
    }
    let lost = data(&store).await.into_iter().next().unwrap();
    store.remove(&Path::parse(lost).unwrap()).await;
    let worker = table.maintain().every(Duration::from_millis(1)).start();
    for _ in 0..2_000 {
        if worker.status().state == State::Failed {
            break;
        }
        a_moment().await;
    }
    let status = worker.status();
    assert_eq!(
        (status.state.clone(), status.failures),
        (State::Failed, 1),
        "{status:?}"
    );
    assert!(status.last_failure.unwrap().contains("missing"));
    assert_eq!(worker.stop().await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn once_is_done_when_nothing_is_due_any_more() {
    let store = Faulty::default();
    let table = create(&store).await;
    // Forty batches do not go into one commit of the worker.
    for id in 0..40 {
        table.append(ids([id])).await.unwrap();
    }
    let done = table
        .maintain()
        .target_file_bytes(20_000)
        .once()
        .await
        .unwrap();
    assert!(0 < done.compacted.files_removed, "{done:?}");
    let again = table
        .maintain()
        .target_file_bytes(20_000)
        .once()
        .await
        .unwrap();
    assert_eq!(again.compacted.version, None, "{again:?}");
}

#[tokio::test]
async fn a_share_of_a_core_that_is_none_is_refused() {
    let store = Faulty::default();
    let table = create(&store).await;
    for share in [f64::NAN, 0.0, -0.5, f64::INFINITY] {
        let refused = table.maintain().core_share(share).once().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{share}");
        let worker = table.maintain().core_share(share).start();
        let until_failed = wait_for(&worker, |status| status.state == State::Failed).await;
        assert!(
            until_failed
                .last_failure
                .unwrap()
                .contains("share of a core")
        );
        assert_eq!(worker.stop().await.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

async fn wait_for(
    worker: &headwater::Maintenance,
    is_so: impl Fn(&headwater::Status) -> bool,
) -> headwater::Status {
    for _ in 0..3_000 {
        let status = worker.status();
        if is_so(&status) {
            return status;
        }
        a_moment().await;
    }
    panic!("it never was: {:?}", worker.status());
}

#[tokio::test]
async fn what_passes_is_tried_again_however_often_it_fails() {
    let store = Faulty::default();
    let table = crate::support::create_hasty(&store).await;
    for id in 0..8 {
        table.append(ids([id])).await.unwrap();
    }
    store.fail(
        Request::List,
        "_delta_log",
        usize::MAX,
        When::Before,
        Answer::SlowDown,
    );
    store.fail(
        Request::Get,
        ".json",
        usize::MAX,
        When::Before,
        Answer::SlowDown,
    );
    let worker = table.maintain().start();
    let failing = wait_for(&worker, |status| 12 <= status.failures_in_a_row).await;
    assert_ne!(failing.state, State::Failed);
    assert!(failing.last_failure.is_some());
    store.heal();
    let well = wait_for(&worker, |status| 0 < status.compacted.files_removed).await;
    assert!(12 <= well.failures, "{well:?}");
    wait_for(&worker, |status| status.failures_in_a_row == 0).await;
    assert_eq!(worker.stop().await.unwrap().state, State::Stopped);
    assert_eq!(
        ids_of(&table.refresh().await.unwrap()).await.unwrap(),
        (0..8).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_worker_that_is_paused_does_nothing_until_it_is_resumed() {
    let store = Faulty::default();
    let table = create(&store).await;
    let worker = table.maintain().every(Duration::from_millis(1)).start();
    wait_for(&worker, |status| status.version == Some(0)).await;
    worker.pause();
    wait_for(&worker, |status| status.state == State::Paused).await;
    for id in 0..20 {
        table.append(ids([id])).await.unwrap();
    }
    for _ in 0..20 {
        a_moment().await;
    }
    let paused = worker.status();
    assert_eq!(
        (paused.state, paused.compacted.version),
        (State::Paused, None)
    );
    worker.resume();
    wait_for(&worker, |status| status.compacted.files_removed == 20).await;
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_worker_deletes_what_is_old_when_it_is_told_to() {
    let store = Faulty::default();
    let (table, clock) = ahead(&store).await;
    for id in 0..12 {
        table.append(ids([id])).await.unwrap();
    }
    let worker = table
        .maintain()
        .every(Duration::from_millis(1))
        .delete_every(days(1))
        .start();
    wait_for(&worker, |status| status.compacted.files_removed == 12).await;
    wait_for(&worker, |status| 0 < status.checkpoints).await;
    clock.forward(days(40));
    let done = wait_for(&worker, |status| 12 < status.deleted).await;
    worker.stop().await.unwrap();
    assert_eq!(data(&store).await.len(), 1, "{done:?}");
    assert!(!store.paths().await.contains(&commit_key(0).to_string()));
    assert_eq!(
        ids_of(&table.refresh().await.unwrap()).await.unwrap(),
        (0..12).collect::<Vec<_>>()
    );
}

/// In a world where waiting takes no time, what was waited shows.
#[tokio::test]
async fn a_worker_rests_for_the_bytes_that_it_moved() {
    let store = Faulty::default();
    let world = crate::support::hasty::environment();
    let in_world = storage_in(&store, &world);
    let table = Table::create_in(in_world, world.clone(), crate::support::id_schema());
    let table = table.await.unwrap();
    for id in 0..8 {
        table.append(ids([id])).await.unwrap();
    }
    let started = world.elapsed();
    let maintain = table.maintain().every(Duration::from_millis(1));
    let worker = maintain.bytes_per_second(1).start();
    let done = wait_for(&worker, |status| {
        status.compacted.files_removed == 8 && status.state == State::Watching
    })
    .await;
    let rested = world.elapsed() - started;
    worker.stop().await.unwrap();
    // What was written is read back for the proof.
    let moved = done.compacted.bytes_removed + 2 * done.compacted.bytes_added;
    assert!(1_000 < moved);
    assert!(
        Duration::from_secs(moved) <= rested,
        "{rested:?} for {moved}"
    );
}
