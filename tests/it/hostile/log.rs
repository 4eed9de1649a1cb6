//! Logs that are torn, gapped, or littered, and checkpoints that lie (faults B-1 to B-21), as a reader meets them.

use bytes::Bytes;
use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::{Array, RecordBatch, StructArray};
use headwater::protocol::action::Add;
use headwater::protocol::deletion_vector::{encode, inline_text};
use headwater::{Code, ErrorKind, Snapshot, Table};
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;

use super::{
    SCHEMA, add, commit, handle, metadata, parquet, place, protocol, read, refusal, remove,
    table_of_three, text,
};
use crate::support::store::Faulty;
use crate::support::{commit_key, create, ids, ids_of};

const HINT: &str = "_delta_log/_last_checkpoint";

fn checkpoint_key(version: u64) -> String {
    format!("_delta_log/{version:020}.checkpoint.parquet")
}

fn path(key: &str) -> Path {
    Path::from(format!("table/{key}"))
}

/// A table of ours with the ids 1 to 6, one per version; checkpoints of versions 2 and 4, or of those that are wanted.
async fn table_of_six(store: &Faulty, checkpoints: &[u64]) -> Table {
    let table = create(store).await;
    for id in 1..=6 {
        let committed = table.append(ids([id])).await.unwrap();
        if checkpoints.contains(&committed.version) {
            assert_eq!(table.checkpoint().await.unwrap(), committed.version);
        }
    }
    table
}

/// Deletes the commits of versions below `version`, as log cleanup does.
async fn clean_up(store: &Faulty, version: u64) {
    for old in 0..version {
        store.remove(&commit_key(old)).await;
    }
}

const SIX: [i64; 6] = [1, 2, 3, 4, 5, 6];

#[tokio::test]
async fn b_1_a_gap_is_an_error_that_names_the_missing_version() {
    for missing in 1..=5 {
        let store = Faulty::default();
        table_of_six(&store, &[]).await;
        store.remove(&commit_key(missing)).await;
        let error = refusal(&store).await;
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::Corrupt, Code::LogGap)
        );
        assert_eq!(
            error.context_value("missing"),
            Some(missing.to_string().as_str())
        );
    }
}

#[tokio::test]
async fn b_2_a_gap_right_after_a_checkpoint_is_an_error() {
    let store = Faulty::default();
    table_of_six(&store, &[4]).await;
    clean_up(&store, 5).await;
    assert_eq!(read(&store).await.unwrap(), SIX);
    store.remove(&commit_key(5)).await;
    let error = refusal(&store).await;
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Corrupt, Code::LogGap)
    );
}

#[tokio::test]
async fn b_3_a_log_without_its_beginning_and_without_a_checkpoint_is_an_error() {
    let store = Faulty::default();
    table_of_six(&store, &[]).await;
    clean_up(&store, 1).await;
    let error = refusal(&store).await;
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Corrupt, Code::NoUsableAnchor)
    );
}

#[tokio::test]
async fn b_4_an_empty_newest_commit_is_an_error_and_older_versions_are_whole() {
    let store = Faulty::default();
    table_of_six(&store, &[]).await;
    commit(&store, 7, Vec::new()).await;
    let error = refusal(&store).await;
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Corrupt, Code::CorruptCommit)
    );
    assert_eq!(error.context_value("version"), Some("7"));
}

#[tokio::test]
async fn b_5_a_commit_of_ours_that_is_torn_anywhere_is_noticed() {
    let store = Faulty::default();
    let table = create(&store).await;
    let _ = table.append(ids([1])).await.unwrap();
    let _ = table.append(ids([2])).exactly_once("app", 1).await.unwrap();
    let whole = store.bytes(&commit_key(2)).await;
    assert!(2 < whole.iter().filter(|byte| **byte == b'\n').count());
    for length in (0..whole.len()).rev() {
        commit(&store, 2, whole[..length].to_vec()).await;
        match read(&store).await {
            // Only the end of the last line is gone.
            Ok(found) => assert_eq!((found, length), (vec![1, 2], whole.len() - 1)),
            Err(error) => {
                assert_eq!(
                    (error.kind(), error.code()),
                    (ErrorKind::Corrupt, Code::CorruptCommit)
                );
                assert_eq!(error.context_value("version"), Some("2"));
            }
        }
    }
}

#[tokio::test]
async fn b_6_a_hint_that_names_a_checkpoint_that_is_not_there_is_ignored() {
    for version in [0, 1, 3, 6, 7, 1_000_000, u64::MAX / 2] {
        let store = Faulty::default();
        table_of_six(&store, &[4]).await;
        place(
            &store,
            HINT,
            format!("{{\"version\":{version},\"size\":9}}"),
        )
        .await;
        assert_eq!(read(&store).await.unwrap(), SIX, "{version}");
        clean_up(&store, 5).await;
        assert_eq!(read(&store).await.unwrap(), SIX, "{version}");
        store.remove(&path(&checkpoint_key(4))).await;
        assert_eq!(refusal(&store).await.code(), Code::NoUsableAnchor);
    }
}

#[tokio::test]
async fn b_7_a_hint_that_is_garbage_is_ignored() {
    let hints: [Vec<u8>; 9] = [
        Vec::new(),
        b"{".to_vec(),
        b"\xff\xfe\0".to_vec(),
        b"null".to_vec(),
        b"{\"version\":\"4\"}".to_vec(),
        b"{\"version\":-1,\"size\":1}".to_vec(),
        b"{\"version\":99999999999999999999,\"size\":1}".to_vec(),
        b"{\"version\":4,\"size\":9,\"checksum\":\"00000000000000000000000000000000\"}".to_vec(),
        vec![b' '; 17 << 20],
    ];
    for hint in hints {
        let store = Faulty::default();
        table_of_six(&store, &[4]).await;
        clean_up(&store, 3).await;
        place(&store, HINT, hint).await;
        assert_eq!(read(&store).await.unwrap(), SIX);
    }
}

/// The bytes of a checkpoint with other rows: those that `keep` keeps.
fn rewritten(bytes: Bytes, keep: impl Fn(&RecordBatch) -> Vec<usize>) -> Vec<u8> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, reader.schema().clone(), None).unwrap();
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        for row in keep(&batch) {
            writer.write(&batch.slice(row, 1)).unwrap();
        }
    }
    writer.close().unwrap();
    out
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> &'a StructArray {
    batch.column_by_name(name).unwrap().as_struct()
}

#[tokio::test]
async fn b_8_a_checkpoint_that_cannot_be_read_is_passed_over() {
    let store = Faulty::default();
    table_of_six(&store, &[2, 4]).await;
    let whole = store.bytes(&path(&checkpoint_key(4))).await;
    let mut versions = vec![Vec::new(), vec![0; whole.len()], b"PAR1PAR1".to_vec()];
    versions.extend(
        [1, 8, 100, whole.len() / 2, whole.len() - 1].map(|length| whole[..length].to_vec()),
    );
    versions.push([whole.to_vec(), vec![0]].concat());
    // Sound Parquet of other columns, and of fewer rows than the hint says.
    versions.push(parquet(0..9));
    let not_all = |batch: &RecordBatch| {
        let adds = column(batch, "add");
        let first = (0..batch.num_rows()).find(|row| adds.is_valid(*row));
        (0..batch.num_rows())
            .filter(|row| Some(*row) != first)
            .collect()
    };
    versions.push(rewritten(whole, not_all));
    for bytes in versions {
        place(&store, &checkpoint_key(4), bytes).await;
        assert_eq!(read(&store).await.unwrap(), SIX);
    }
    // With the older checkpoint alone, whose commits before are gone.
    clean_up(&store, 3).await;
    assert_eq!(read(&store).await.unwrap(), SIX);
    // With nothing older there is no anchor.
    store.remove(&path(&checkpoint_key(2))).await;
    assert_eq!(refusal(&store).await.code(), Code::NoUsableAnchor);
}

#[tokio::test]
async fn b_8_a_checkpoint_with_a_flipped_bit_never_loses_or_doubles_a_row() {
    let store = Faulty::default();
    table_of_six(&store, &[4]).await;
    let whole = store.bytes(&path(&checkpoint_key(4))).await;
    let (mut right, mut refused) = (0, 0);
    for at in (0..whole.len()).step_by(whole.len() / 400) {
        let mut flipped = whole.to_vec();
        flipped[at] ^= 1 << (at % 8);
        place(&store, &checkpoint_key(4), flipped).await;
        match read(&store).await {
            Ok(found) => {
                assert_eq!(found, SIX, "byte {at}");
                right += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}: {error:?}");
                assert_ne!(
                    error.code(),
                    Code::CorruptCheckpoint,
                    "all commits are there: {error:?}"
                );
                refused += 1;
            }
        }
    }
    // A flip within a path is a file that is not there; of all others the commits make good.
    assert!(refused < right / 4, "{right} read right, {refused} refused");
}

#[tokio::test]
async fn b_9_a_partial_checkpoint_that_is_sound_parquet_is_noticed() {
    let store = Faulty::default();
    table_of_six(&store, &[4]).await;
    let whole = store.bytes(&path(&checkpoint_key(4))).await;
    let rows = ParquetRecordBatchReaderBuilder::try_new(whole.clone())
        .unwrap()
        .build()
        .unwrap();
    let rows: usize = rows.map(|batch| batch.unwrap().num_rows()).sum();
    for kept in 0..rows {
        // The writer stopped after so many rows, and its close wrote a footer.
        let part = rewritten(whole.clone(), |batch| {
            (0..batch.num_rows().min(kept)).collect()
        });
        place(&store, &checkpoint_key(4), part).await;
        assert_eq!(read(&store).await.unwrap(), SIX, "{kept} of {rows} rows");
    }
}

#[tokio::test]
async fn b_10_an_incomplete_checkpoint_of_several_parts_is_none() {
    let store = Faulty::default();
    table_of_six(&store, &[4]).await;
    let whole = store.bytes(&path(&checkpoint_key(4))).await;
    store.remove(&path(&checkpoint_key(4))).await;
    store.remove(&path(HINT)).await;
    let part = |part: u32, parts: u32| {
        format!(
            "_delta_log/{:020}.checkpoint.{part:010}.{parts:010}.parquet",
            4
        )
    };
    // A part of two, and parts of sets of three and four: no set is whole.
    for (number, parts) in [(1, 2), (2, 3), (3, 3), (1, 4)] {
        place(&store, &part(number, parts), whole.to_vec()).await;
    }
    assert_eq!(read(&store).await.unwrap(), SIX);
    clean_up(&store, 5).await;
    assert_eq!(refusal(&store).await.code(), Code::NoUsableAnchor);

    // One whole set among the rest carries the table.
    let half = |first: bool| {
        rewritten(whole.clone(), move |batch| {
            (0..batch.num_rows())
                .filter(|row| (row % 2 == 0) == first)
                .collect()
        })
    };
    place(&store, &part(1, 2), half(true)).await;
    place(&store, &part(2, 2), half(false)).await;
    assert_eq!(read(&store).await.unwrap(), SIX);
}

#[tokio::test]
async fn b_11_a_checkpoint_without_a_hint_is_found() {
    let store = Faulty::default();
    table_of_six(&store, &[2, 4]).await;
    clean_up(&store, 5).await;
    store.remove(&path(HINT)).await;
    assert_eq!(read(&store).await.unwrap(), SIX);
}

#[tokio::test]
async fn b_12_a_hint_at_an_older_checkpoint_leads_to_the_newest_version() {
    let store = Faulty::default();
    let table = table_of_six(&store, &[2]).await;
    let older = store.bytes(&path(HINT)).await;
    table.checkpoint().await.unwrap();
    clean_up(&store, 7).await;
    place(&store, HINT, older.to_vec()).await;
    assert_eq!(read(&store).await.unwrap(), SIX);
    // The next checkpoint moves the hint on, never back.
    let reader = handle(&store).await;
    let _ = reader.append(ids([7])).await.unwrap();
    assert_eq!(reader.checkpoint().await.unwrap(), 7);
    assert!(
        store
            .bytes(&path(HINT))
            .await
            .starts_with(b"{\"version\":7")
    );
}

#[tokio::test]
async fn b_13_two_writers_of_one_checkpoint_leave_one_state() {
    let store = Faulty::default();
    table_of_six(&store, &[]).await;
    let (one, other) = (handle(&store).await, handle(&store).await);
    let both = futures::future::join(one.checkpoint(), other.checkpoint()).await;
    assert_eq!((both.0.unwrap(), both.1.unwrap()), (6, 6));
    clean_up(&store, 7).await;
    assert_eq!(read(&store).await.unwrap(), SIX);
}

async fn adds(snapshot: &Snapshot) -> Vec<Add> {
    let explained = snapshot.scan().explain().await.unwrap();
    let mut adds: Vec<Add> = explained.into_iter().map(|file| file.add).collect();
    adds.sort_by(|a, b| a.path.cmp(&b.path));
    adds
}

#[tokio::test]
async fn b_14_what_a_checkpoint_says_is_what_the_commits_say() {
    let store = Faulty::default();
    let features = [
        "deletionVectors",
        "domainMetadata",
        "appendOnly",
        "timestampNtz",
    ];
    let protocol = json!({"protocol": {
        "minReaderVersion": 3, "minWriterVersion": 7,
        "readerFeatures": ["deletionVectors", "timestampNtz"], "writerFeatures": features,
    }});
    let mut info = metadata(SCHEMA);
    info["metaData"]["name"] = "named".into();
    info["metaData"]["description"] = "described".into();
    info["metaData"]["configuration"] =
        json!({"delta.logRetentionDuration": "interval 9 days", "my.own": "x"});
    commit(&store, 0, text(&[protocol, info])).await;
    let now = headwater::environment::Environment::system().now_millis();
    let rows = parquet(0..10);
    let mut gone = remove("gone.parquet");
    gone["remove"]["deletionTimestamp"] = now.into();
    gone["remove"]["tags"] = json!({"t": "u"});
    let mut tagged = add("a%20b.parquet", rows.len());
    tagged["add"]["tags"] = json!({"k": "v", "nothing": null});
    tagged["add"]["stats"] =
        r#"{"numRecords":10,"minValues":{"id":0},"maxValues":{"id":9},"nullCount":{"id":0}}"#
            .into();
    commit(
        &store,
        1,
        text(&[
            add("gone.parquet", 9),
            tagged.clone(),
            add("c.parquet", rows.len()),
        ]),
    )
    .await;
    let data = encode(&(2..5).collect());
    let mut with_vector = add("c.parquet", rows.len());
    with_vector["add"]["deletionVector"] = json!({
        "storageType": "i", "pathOrInlineDv": inline_text(&data), "sizeInBytes": data.len(), "cardinality": 3,
    });
    with_vector["add"]["stats"] = r#"{"numRecords":10,"tightBounds":false}"#.into();
    let txn = |app: &str, version: i64| json!({"txn": {"appId": app, "version": version, "lastUpdated": 5}});
    let domain = |name: &str, removed: bool| json!({"domainMetadata": {"domain": name, "configuration": "{\"x\":1}", "removed": removed}});
    commit(
        &store,
        2,
        text(&[
            gone,
            txn("a", 1),
            txn("b", -7),
            domain("kept", false),
            domain("dropped", false),
        ]),
    )
    .await;
    commit(
        &store,
        3,
        text(&[
            remove("c.parquet"),
            with_vector,
            txn("a", 9),
            domain("dropped", true),
        ]),
    )
    .await;
    for name in ["a b.parquet", "c.parquet"] {
        place(&store, name, rows.clone()).await;
    }

    let by_commits = handle(&store).await.snapshot();
    assert_eq!(handle(&store).await.checkpoint().await.unwrap(), 3);
    clean_up(&store, 4).await;
    let by_checkpoint = handle(&store).await.snapshot();
    assert_eq!(by_checkpoint.version(), 3);
    assert_eq!(by_checkpoint.protocol(), by_commits.protocol());
    assert_eq!(by_checkpoint.metadata(), by_commits.metadata());
    assert_eq!(by_checkpoint.txns(), by_commits.txns());
    assert_eq!(
        (
            by_checkpoint.app_version("a"),
            by_checkpoint.app_version("b")
        ),
        (Some(9), Some(-7))
    );
    assert_eq!(by_checkpoint.domains(), by_commits.domains());
    assert_eq!(by_checkpoint.domains().keys().collect::<Vec<_>>(), ["kept"]);
    let (left, right) = (adds(&by_checkpoint).await, adds(&by_commits).await);
    assert_eq!(left.len(), 2);
    for (left, right) in left.iter().zip(&right) {
        let kept = |add: &Add| {
            let Add {
                path,
                size,
                partition_values,
                modification_time,
                tags,
                deletion_vector,
                ..
            } = add.clone();
            (
                path,
                size,
                partition_values,
                modification_time,
                tags,
                deletion_vector,
            )
        };
        assert_eq!(kept(left), kept(right));
    }
    let mut expected: Vec<i64> = (0..10).chain([0, 1, 5, 6, 7, 8, 9]).collect();
    expected.sort_unstable();
    assert_eq!(ids_of(&by_commits).await.unwrap(), expected);
    assert_eq!(ids_of(&by_checkpoint).await.unwrap(), expected);

    // A tombstone within its retention is there, for vacuum to know.
    let bytes = store.bytes(&path(&checkpoint_key(3))).await;
    let batches = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .unwrap()
        .build()
        .unwrap();
    let tombstones: usize = batches
        .map(|batch| {
            let removes = column(&batch.unwrap(), "remove").clone();
            let paths = removes
                .column_by_name("path")
                .unwrap()
                .as_string::<i32>()
                .clone();
            paths
                .iter()
                .flatten()
                .filter(|path| *path == "gone.parquet")
                .count()
        })
        .sum();
    assert_eq!(tombstones, 1);
}

#[tokio::test]
async fn b_16_what_is_unknown_is_passed_over_unless_a_feature_says_that_it_matters() {
    let store = Faulty::default();
    table_of_three(&store).await;
    let file = parquet(4..=4);
    let mut future = add("b.parquet", file.len());
    future["add"]["colour"] = json!({"of": ["many", 7]});
    future["unheardOf"] = json!([1, {"x": null}]);
    let other = json!({"quantumState": {"path": "a.parquet", "collapsed": true}});
    commit(&store, 2, text(&[future, other])).await;
    place(&store, "b.parquet", file).await;
    assert_eq!(read(&store).await.unwrap(), [1, 2, 3, 4]);

    let table = handle(&store).await;
    let needs = json!({"protocol": {
        "minReaderVersion": 3, "minWriterVersion": 7,
        "readerFeatures": ["telepathy", "deletionVectors"], "writerFeatures": ["telepathy", "deletionVectors"],
    }});
    commit(&store, 3, text(&[needs])).await;
    let error = refusal(&store).await;
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Unsupported, Code::UnsupportedFeature)
    );
    assert!(
        error.to_string().contains("telepathy") && !error.to_string().contains("deletionVectors")
    );
    assert_eq!(
        table.refresh().await.unwrap_err().kind(),
        ErrorKind::Unsupported
    );
    let before = table.snapshot_at(2).await.unwrap();
    assert_eq!(ids_of(&before).await.unwrap(), [1, 2, 3, 4]);
}

#[tokio::test]
async fn b_17_two_protocols_or_two_schemas_in_one_commit_are_corrupt() {
    for twice in [protocol(1, 2), metadata(SCHEMA)] {
        let store = Faulty::default();
        table_of_three(&store).await;
        commit(&store, 2, text(&[twice.clone(), twice])).await;
        let error = refusal(&store).await;
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::Corrupt, Code::CorruptCommit)
        );
        assert_eq!(error.context_value("version"), Some("2"));
    }
}

#[tokio::test]
async fn b_18_a_file_that_one_commit_adds_and_removes_is_corrupt() {
    let size = parquet(1..=3).len();
    let both = [add("a.parquet", size), remove("a.parquet")];
    let spelled = [add("a.parquet", size), remove("%61.parquet")];
    for mut actions in [both, spelled] {
        for _ in 0..2 {
            actions.reverse();
            let store = Faulty::default();
            table_of_three(&store).await;
            commit(&store, 2, text(&actions)).await;
            let error = refusal(&store).await;
            assert_eq!(
                (error.kind(), error.code()),
                (ErrorKind::Corrupt, Code::CorruptCommit)
            );
        }
    }
}

#[tokio::test]
async fn b_20_a_listing_that_repeats_itself_changes_nothing() {
    let store = Faulty::default();
    table_of_six(&store, &[4]).await;
    store.relist(|metas| metas.iter().chain(&metas).rev().cloned().collect());
    assert_eq!(read(&store).await.unwrap(), SIX);
}

#[tokio::test]
async fn b_21_litter_in_the_log_is_no_part_of_it() {
    let store = Faulty::default();
    table_of_six(&store, &[4]).await;
    let real = store.bytes(&commit_key(6)).await;
    for name in [
        "00000000000000000007.json.tmp",
        "00000000000000000007.json#1",
        "._00000000000000000007.json",
        ".00000000000000000007.json.crc",
        "00000000000000000007-copy.json",
        "00000000000000000007 (1).json",
        "000000000000000000007.json",
        "0000000000000000007.json",
        "00000000000000000007.JSON",
        "00000000000000000007.json/part",
        "+0000000000000000007.json",
        "99999999999999999999.json",
        "18446744073709551615.json",
        "00000000000000000007.crc",
        "00000000000000000005.00000000000000000007.compacted.json",
        "00000000000000000007.checkpoint.parquet.tmp",
        "00000000000000000007.checkpoint.1.2.parquet",
        "_commits/00000000000000000007.a.json",
        "tmp/00000000000000000007.json",
    ] {
        place(&store, &format!("_delta_log/{name}"), real.to_vec()).await;
    }
    let table = handle(&store).await;
    assert_eq!(table.snapshot().version(), 6);
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), SIX);
    assert_eq!(table.append(ids([7])).await.unwrap().version, 7);
    // The greatest number that a version can have, with nothing before it, is a gap and no endless search.
    place(
        &store,
        &format!("_delta_log/{:020}.json", i64::MAX),
        real.to_vec(),
    )
    .await;
    let error = refusal(&store).await;
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Corrupt, Code::LogGap)
    );
}
