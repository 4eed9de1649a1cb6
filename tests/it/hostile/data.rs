//! Data files that are not what the log says (faults F-5, F-6).

use headwater::{Code, ErrorKind};
use object_store::path::Path;

use super::{add, commit, handle, parquet, place, read, refusal, remove, table_of_three, text};
use crate::support::ids_of;
use crate::support::store::Faulty;

#[tokio::test]
async fn f_5_a_file_of_another_size_is_corrupt_before_anything_of_it_is_decoded() {
    let whole = parquet(1..=3);
    let mut longer = whole.clone();
    longer.push(0);
    let mut doubled = whole.clone();
    doubled.extend_from_slice(&whole);
    let other = parquet(1..=50);
    for bytes in [
        whole[..whole.len() - 1].to_vec(),
        whole[..whole.len() / 2].to_vec(),
        whole[..4].to_vec(),
        Vec::new(),
        longer,
        doubled,
        other,
    ] {
        assert_ne!(bytes.len(), whole.len());
        let store = Faulty::default();
        table_of_three(&store).await;
        place(&store, "a.parquet", bytes).await;
        let error = refusal(&store).await;
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::Corrupt, Code::DataCorrupt),
            "{error:?}"
        );
        assert_eq!(error.context_value("path"), Some("a.parquet"));
        assert!(!error.is_retryable());
    }
    // Bytes that are no Parquet, of the size the log says.
    let store = Faulty::default();
    table_of_three(&store).await;
    place(&store, "a.parquet", vec![0; whole.len()]).await;
    assert_eq!(refusal(&store).await.code(), Code::DataCorrupt);
}

#[tokio::test]
async fn f_5_rows_before_a_bad_file_are_handed_out_and_the_scan_ends_with_the_error() {
    use futures::StreamExt;
    let store = Faulty::default();
    table_of_three(&store).await;
    let file = parquet(4..=9);
    let mut later = add("b.parquet", file.len() + 1);
    later["add"]["modificationTime"] = 1.into();
    commit(&store, 2, text(&[later])).await;
    place(&store, "b.parquet", file).await;
    let mut stream = handle(&store)
        .await
        .snapshot()
        .scan()
        .stream()
        .await
        .unwrap();
    let mut rows = 0;
    let error = loop {
        match stream.next().await {
            Some(Ok(batch)) => rows += batch.num_rows(),
            Some(Err(error)) => break error,
            None => panic!("the scan ended as if it were whole"),
        }
    };
    assert_eq!((rows, error.code()), (3, Code::DataCorrupt));
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn f_6_a_missing_file_is_corrupt_in_the_latest_version() {
    let store = Faulty::default();
    table_of_three(&store).await;
    store.remove(&Path::from("table/a.parquet")).await;
    let error = refusal(&store).await;
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Corrupt, Code::DataCorrupt)
    );
    assert_eq!(error.context_value("path"), Some("a.parquet"));
    assert!(error.to_string().contains("missing"), "{error}");
}

#[tokio::test]
async fn f_6_a_missing_file_of_an_old_version_has_expired_if_a_later_one_removed_it() {
    let store = Faulty::default();
    table_of_three(&store).await;
    let file = parquet(4..=5);
    commit(
        &store,
        2,
        text(&[remove("a.parquet"), add("b.parquet", file.len())]),
    )
    .await;
    place(&store, "b.parquet", file).await;
    let table = handle(&store).await;
    let old = table.snapshot_at(1).await.unwrap();
    assert_eq!(ids_of(&old).await.unwrap(), [1, 2, 3]);

    store.remove(&Path::from("table/a.parquet")).await;
    let error = ids_of(&old).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::NotFound, Code::FilesExpired),
        "{error:?}"
    );
    assert_eq!(error.context_value("version"), Some("1"));
    assert_eq!(error.context_value("path"), Some("a.parquet"));
    assert_eq!(read(&store).await.unwrap(), [4, 5]);

    // A file that the latest version needs has not expired, whichever version is read.
    store.remove(&Path::from("table/b.parquet")).await;
    let at_two = table.snapshot_at(2).await.unwrap();
    commit(&store, 3, text(&[add("c.parquet", 1)])).await;
    let error = ids_of(&at_two).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Corrupt, Code::DataCorrupt),
        "{error:?}"
    );
}
