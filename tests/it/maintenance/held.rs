//! Pins and leases keep versions readable, or say that they cannot.

use super::*;

#[tokio::test]
async fn e_1_pins_and_leases_keep_versions_readable_until_they_end() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1])).await.unwrap();
    table.pin("training", 1, None).await.unwrap();
    table.overwrite(ids([2])).await.unwrap();
    let leased = table.snapshot();
    let lease = table.lease(&leased, Duration::from_secs(60)).await.unwrap();
    table.overwrite(ids([3])).await.unwrap();
    table.checkpoint().await.unwrap();
    a_moment().await;
    assert_eq!(now(&table).await.unwrap().files, 0);
    let other = open(&store).await.unwrap();
    assert_eq!(
        ids_of(&other.snapshot_at(1).await.unwrap()).await.unwrap(),
        [1]
    );
    assert_eq!(ids_of(&leased).await.unwrap(), [2]);
    assert_eq!(other.pins().await.unwrap()[0].name, "training");
    lease.release().await.unwrap();
    assert_eq!(now(&table).await.unwrap().files, 1);
    assert!(other.unpin("training").await.unwrap());
    assert!(!other.unpin("training").await.unwrap());
    assert_eq!(now(&table).await.unwrap().files, 1);
    let gone = table.pin("late", 1, None).await.unwrap_err();
    assert_eq!(gone.code(), Code::FilesExpired);
    assert_eq!(table.pins().await.unwrap(), []);
    let name = table.pin("../escape", 0, None).await.unwrap_err();
    assert_eq!(name.kind(), ErrorKind::Invalid);
    let ended = table.pin("short", 4, Some(Duration::ZERO)).await.unwrap();
    assert!(ended.expires.is_some());
    assert_eq!(table.pins().await.unwrap(), []);
}

#[tokio::test]
async fn a_pin_that_cannot_be_read_stops_a_vacuum() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1])).await.unwrap();
    store
        .place(&Path::from("table/_headwater/pins/a.json"), "{")
        .await;
    let error = now(&table).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        error
            .context_value("path")
            .unwrap()
            .ends_with("pins/a.json")
    );
}

#[tokio::test]
async fn e_1_what_a_vacuum_that_is_under_way_may_take_is_not_leased_or_pinned_though_it_is_there() {
    let store = Faulty::default();
    let (world, clock) = Ahead::environment();
    store.follow(&world);
    let in_world = storage_in(&store, &world);
    let table = Table::create_in(in_world, world, crate::support::id_schema());
    let table = table.await.unwrap();
    table.append(ids([1])).await.unwrap();
    let old = table.snapshot();
    table.overwrite(ids([2])).await.unwrap();
    let recent = table.snapshot();
    table.append(ids([3])).await.unwrap();
    a_moment().await;
    stuck_vacuum(&store, &table).await;
    let minute = Duration::from_secs(60);
    let refused = table.lease(&old, minute).await.unwrap_err();
    assert_eq!(
        (refused.kind(), refused.code()),
        (ErrorKind::Conflict, Code::FilesVacuumed)
    );
    let refused = table.pin("old", 1, None).await.unwrap_err();
    assert_eq!(refused.code(), Code::FilesVacuumed);
    assert_eq!(table.pins().await.unwrap(), []);
    // All of its files are in the newest version, and no vacuum takes them.
    table
        .lease(&recent, minute)
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
    // What was planned on is not taken, either, whatever becomes of it.
    let planned = table.snapshot_at(3).await.unwrap();
    table.overwrite(ids([4])).await.unwrap();
    let lease = table.lease(&planned, minute).await.unwrap();
    now(&table).await.unwrap();
    assert_eq!(ids_of(&planned).await.unwrap(), [2, 3]);
    lease.release().await.unwrap();
    // The one that was stuck may go on, but not for ever.
    let refused = table.lease(&old, minute).await.unwrap_err();
    assert_eq!(refused.code(), Code::FilesVacuumed);
    clock.forward(Duration::from_secs(16 * 60));
    let gone = table.lease(&old, minute).await.unwrap_err();
    assert_eq!(gone.code(), Code::FilesExpired);
}

#[tokio::test]
async fn e_1_a_lease_that_has_ended_is_not_renewed() {
    let store = Faulty::default();
    let (world, clock) = Ahead::environment();
    let in_world = storage_in(&store, &world);
    let table = Table::create_in(in_world, world, crate::support::id_schema());
    let table = table.await.unwrap();
    let minute = Duration::from_secs(60);
    let lease = table.lease(&table.snapshot(), minute).await.unwrap();
    clock.forward(minute / 2);
    lease.renew().await.unwrap();
    clock.forward(minute * 3 / 4);
    lease.renew().await.unwrap();
    clock.forward(minute);
    let ended = lease.renew().await.unwrap_err();
    assert_eq!(ended.code(), Code::FilesExpired, "{ended}");
}

#[tokio::test]
async fn e_1_a_pin_that_cannot_be_moved_stays_where_it_was() {
    let store = Faulty::default();
    let table = create(&store).await;
    for id in 1..=3 {
        table.overwrite(ids([id])).await.unwrap();
        if id == 1 {
            table.pin("prod", 1, None).await.unwrap();
        }
    }
    a_moment().await;
    assert_eq!(now(&table).await.unwrap().files, 1);
    let gone = table.pin("prod", 2, None).await.unwrap_err();
    assert_eq!(gone.code(), Code::FilesExpired);
    let pinned = |pins: Vec<headwater::Pin>| pins.iter().map(|pin| pin.version).collect::<Vec<_>>();
    assert_eq!(pinned(table.pins().await.unwrap()), [1]);
    assert_eq!(now(&table).await.unwrap().files, 0);
    // Interrupted before the new one is written.
    store.fail(
        Request::Put,
        "pins/prod.json",
        99,
        When::Before,
        Answer::Denied,
    );
    let denied = table.pin("prod", 3, None).await.unwrap_err();
    assert_eq!(denied.code(), Code::Denied);
    store.heal();
    assert_eq!(pinned(table.pins().await.unwrap()), [1]);
    assert_eq!(
        ids_of(&table.snapshot_at(1).await.unwrap()).await.unwrap(),
        [1]
    );
    // A name that is new is not left behind.
    table.pin("new", 2, None).await.unwrap_err();
    assert_eq!(table.pins().await.unwrap().len(), 1);
    table.pin("prod", 3, None).await.unwrap();
    assert_eq!(pinned(table.pins().await.unwrap()), [3]);
    assert_eq!(now(&table).await.unwrap().files, 1);
}

/// The old pin is still there when the new one is checked: a vacuum that comes between takes neither version.
#[tokio::test]
async fn e_1_while_a_pin_is_moved_both_versions_are_held() {
    let store = Faulty::default();
    let table = create(&store).await;
    for id in 1..=3 {
        table.overwrite(ids([id])).await.unwrap();
    }
    table.pin("prod", 1, None).await.unwrap();
    a_moment().await;
    let other = open(&store).await.unwrap();
    store.before_put("pins/prod.json", async move {
        assert_eq!(now(&other).await.unwrap().files, 0);
    });
    table.pin("prod", 2, None).await.unwrap();
    assert_eq!(
        ids_of(&table.snapshot_at(2).await.unwrap()).await.unwrap(),
        [2]
    );
}

#[tokio::test]
async fn e_1_a_lease_whose_renewal_came_too_late_has_ended_for_good() {
    let store = Faulty::default();
    let (table, clock) = ahead(&store).await;
    let minute = Duration::from_secs(60);
    let lease = table.lease(&table.snapshot(), minute).await.unwrap();
    store.before_put(".json", async move { clock.forward(minute * 2) });
    let late = lease.renew().await.unwrap_err();
    assert_eq!(late.code(), Code::FilesExpired, "{late}");
    let still = lease.renew().await.unwrap_err();
    assert_eq!(still.code(), Code::FilesExpired, "{still}");
}
