//! A commit file without bytes is taken back when that is asked for, and nothing else ever is.

use super::*;

/// A table of one row, and version 2 without a byte.
async fn with_empty_tip(store: &Faulty) -> Table {
    let table = create(store).await;
    table.append(ids([1])).await.unwrap();
    store.place(&commit_key(2), "").await;
    let refused = open(store).await.unwrap_err();
    assert_eq!(refused.code(), Code::CorruptCommit);
    assert!(refused.to_string().contains("drop_empty_tip"), "{refused}");
    table
}

async fn repair(store: &Faulty) -> headwater::Result<Option<u64>> {
    Table::drop_empty_tip_in(storage(store), Environment::system()).await
}

#[tokio::test]
async fn b_4_an_empty_tip_is_taken_back_and_its_version_is_written_anew() {
    let store = Faulty::default();
    with_empty_tip(&store).await;
    assert_eq!(repair(&store).await.unwrap(), Some(2));
    let table = open(&store).await.unwrap();
    assert_eq!(table.append(ids([2])).await.unwrap().version, 2);
    let left = ids_of(&table.refresh().await.unwrap()).await.unwrap();
    assert_eq!(left, [1, 2]);
    let before = store.paths().await;
    assert_eq!(repair(&store).await.unwrap(), None);
    assert_eq!(store.paths().await, before, "nothing of it stays");
}

#[tokio::test]
async fn b_4_a_first_commit_without_bytes_is_taken_back_too() {
    let store = Faulty::default();
    store.place(&commit_key(0), "").await;
    assert_eq!(repair(&store).await.unwrap(), Some(0));
    let none = repair(&store).await.unwrap_err();
    assert_eq!(none.code(), Code::TableNotFound);
    create(&store).await;
}

#[tokio::test]
async fn b_4_what_has_bytes_or_is_not_the_newest_is_never_taken_back() {
    for text in [" ", "{", "\n"] {
        let store = Faulty::default();
        with_empty_tip(&store).await;
        store.place(&commit_key(2), text).await;
        assert_eq!(repair(&store).await.unwrap(), None, "{text:?}");
        assert_eq!(store.bytes(&commit_key(2)).await, text);
    }
    let store = Faulty::default();
    with_empty_tip(&store).await;
    store.place(&commit_key(3), "{}").await;
    assert_eq!(repair(&store).await.unwrap(), None);
    assert!(store.paths().await.contains(&commit_key(2).to_string()));
}

#[tokio::test]
async fn b_4_a_tip_that_a_checkpoint_holds_or_that_hides_damage_stays() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1])).await.unwrap();
    table.checkpoint().await.unwrap();
    store.place(&commit_key(1), "").await;
    let refused = repair(&store).await.unwrap_err();
    assert_eq!(refused.code(), Code::CorruptCommit);
    assert!(refused.to_string().contains("checkpoint"), "{refused}");

    let store = Faulty::default();
    with_empty_tip(&store).await;
    store.place(&commit_key(1), "").await;
    let refused = repair(&store).await.unwrap_err();
    assert_eq!(refused.context_value("version"), Some("1"));
    assert!(store.paths().await.contains(&commit_key(2).to_string()));
}

/// Another repair takes the version back, and its place is taken, before this one deletes.
#[tokio::test]
async fn b_4_a_repair_that_is_late_takes_no_commit() {
    let store = Faulty::default();
    with_empty_tip(&store).await;
    let other = store.clone();
    store.before_put(".json", async move {
        assert_eq!(repair(&other).await.unwrap(), Some(2));
        open(&other).await.unwrap().append(ids([2])).await.unwrap();
    });
    assert_eq!(repair(&store).await.unwrap(), None);
    let table = open(&store).await.unwrap();
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [1, 2]);
}

#[tokio::test]
async fn b_4_two_repairs_at_one_time_are_refused() {
    let store = Faulty::default();
    with_empty_tip(&store).await;
    let claim = Path::from("table/_headwater/repairs/other.json");
    store.place(&claim, "{}").await;
    let refused = repair(&store).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert_eq!(
        refused.context_value("path"),
        Some("_headwater/repairs/other.json")
    );
    assert!(store.paths().await.contains(&commit_key(2).to_string()));
}
