use super::*;
use crate::environment::Environment;
use crate::error::ErrorKind;
use crate::log::path::{LAST_CHECKPOINT_KEY, checkpoint_key};
use crate::protocol::VERSION_MAX;

const UUID: &str = "80a083e8-7026-4e79-81be-64bd76c43a11";

/// A log with the commits and the other files named.
async fn log(
    name: &str,
    commits: impl IntoIterator<Item = Version>,
    others: impl IntoIterator<Item = String>,
) -> Storage {
    let location = format!("memory:///segment-tests/{name}");
    let storage = Storage::open(&location, &Environment::system()).unwrap();
    for version in commits {
        storage
            .put(&commit_key(version), "{}".into())
            .await
            .unwrap();
    }
    for other in others {
        storage.put(&other, "x".into()).await.unwrap();
    }
    storage
}

async fn hint(storage: &Storage, text: &str) {
    storage
        .put(LAST_CHECKPOINT_KEY, text.to_owned().into())
        .await
        .unwrap();
}

fn part(version: Version, part: u32, parts: u32) -> String {
    format!("_delta_log/{version:020}.checkpoint.{part:010}.{parts:010}.parquet")
}

fn uuid(version: Version) -> String {
    format!("_delta_log/{version:020}.checkpoint.{UUID}.parquet")
}

/// The version, the version of its anchor and the versions of the commits after it.
fn shape(segment: &LogSegment) -> (Version, Option<Version>, Vec<Version>) {
    let anchor = segment
        .checkpoint
        .as_ref()
        .map(|checkpoint| checkpoint.version);
    (
        segment.version,
        anchor,
        segment
            .commits
            .iter()
            .map(|commit| commit.version)
            .collect(),
    )
}

async fn latest(storage: &Storage) -> (Version, Option<Version>, Vec<Version>) {
    shape(&LogSegment::list(storage, None).await.unwrap())
}

async fn error(storage: &Storage, version: Option<Version>) -> Error {
    LogSegment::list(storage, version).await.unwrap_err()
}

fn unreadable() -> Error {
    Error::corrupt(Code::CorruptCheckpoint, "the footer is torn")
}

#[tokio::test]
async fn a_version_is_an_anchor_and_the_commits_after_it() {
    let storage = log("plain", 0..=12, [checkpoint_key(4), checkpoint_key(10)]).await;
    assert_eq!(latest(&storage).await, (12, Some(10), vec![11, 12]));
    for (version, expected) in [
        (0, (0, None, vec![0])),
        (3, (3, None, vec![0, 1, 2, 3])),
        (4, (4, Some(4), vec![])),
        (9, (9, Some(4), vec![5, 6, 7, 8, 9])),
        (10, (10, Some(10), vec![])),
    ] {
        let segment = LogSegment::list(&storage, Some(version)).await.unwrap();
        assert_eq!(shape(&segment), expected, "{version}");
    }
    let missing = error(&storage, Some(13)).await;
    assert_eq!(missing.code(), Code::VersionNotFound);
    for (key, value) in [("asked", "13"), ("earliest", "0"), ("latest", "12")] {
        assert_eq!(missing.context_value(key), Some(value));
    }
}

#[tokio::test]
async fn a_place_without_a_log_has_no_table() {
    let junk = [
        "_delta_log/.tmp".to_owned(),
        "_delta_log/_commits/x".to_owned(),
    ];
    let storage = log("none", [], junk).await;
    let error = error(&storage, None).await;
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::NotFound, Code::TableNotFound)
    );
}

#[tokio::test]
async fn opening_costs_the_hint_and_one_listing() {
    let storage = log("cost", 0..=12, [checkpoint_key(10)]).await;
    hint(&storage, r#"{"version":10,"size":1}"#).await;
    let before = storage.counts();
    assert_eq!(latest(&storage).await, (12, Some(10), vec![11, 12]));
    let after = storage.counts();
    assert_eq!(
        (after.gets - before.gets, after.lists - before.lists),
        (1, 1)
    );
    assert_eq!(after.heads, before.heads);
}

#[tokio::test]
async fn b_1_a_gap_in_the_middle_is_an_error() {
    let storage = log("gap", [0, 1, 2, 4, 5], []).await;
    let gap = error(&storage, None).await;
    assert_eq!((gap.kind(), gap.code()), (ErrorKind::Corrupt, Code::LogGap));
    assert_eq!(gap.context_value("missing"), Some("3"));
    assert_eq!(gap.context_value("after"), Some("2"));
    // What comes before the gap is whole.
    assert_eq!(
        LogSegment::list(&storage, Some(2))
            .await
            .unwrap()
            .commits
            .len(),
        3
    );
    for version in [3, 4, 5] {
        assert_eq!(error(&storage, Some(version)).await.code(), Code::LogGap);
    }
}

#[tokio::test]
async fn b_1_a_gap_of_many_versions_costs_one_request() {
    let storage = log("abyss", [0, 1, VERSION_MAX], []).await;
    let gap = error(&storage, None).await;
    assert_eq!(
        (gap.code(), gap.context_value("missing")),
        (Code::LogGap, Some("2"))
    );
    assert!(storage.counts().heads <= 1);
}

#[tokio::test]
async fn b_2_a_gap_right_after_a_checkpoint_is_an_error() {
    let storage = log("gap-after", (0..=10).chain(12..=13), [checkpoint_key(10)]).await;
    let gap = error(&storage, None).await;
    assert_eq!(
        (gap.code(), gap.context_value("missing")),
        (Code::LogGap, Some("11"))
    );
}

#[tokio::test]
async fn a_gap_before_the_checkpoint_does_not_matter() {
    let storage = log("gap-before", [0, 1, 8, 9, 10, 11], [checkpoint_key(10)]).await;
    assert_eq!(latest(&storage).await, (11, Some(10), vec![11]));
    assert_eq!(error(&storage, Some(9)).await.code(), Code::LogGap);
}

#[tokio::test]
async fn b_3_without_version_0_and_without_a_checkpoint_there_is_no_anchor() {
    let storage = log("headless", 3..=5, []).await;
    let error = error(&storage, None).await;
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Corrupt, Code::NoUsableAnchor)
    );
    assert_eq!(error.context_value("first_commit"), Some("3"));
}

#[tokio::test]
async fn versions_before_the_first_anchor_are_gone() {
    let storage = log("cleaned", 8..=12, [checkpoint_key(10)]).await;
    assert_eq!(latest(&storage).await, (12, Some(10), vec![11, 12]));
    let error = error(&storage, Some(9)).await;
    assert_eq!(error.code(), Code::VersionNotFound);
    assert_eq!(error.context_value("earliest"), Some("10"));
}

#[tokio::test]
async fn b_6_a_hint_that_points_at_nothing_is_ignored() {
    let storage = log("stale-hint", 0..=12, [checkpoint_key(10)]).await;
    for version in [3, 11, 12, 99, VERSION_MAX] {
        hint(&storage, &format!(r#"{{"version":{version},"size":1}}"#)).await;
        assert_eq!(
            latest(&storage).await,
            (12, Some(10), vec![11, 12]),
            "{version}"
        );
        let older = LogSegment::list(&storage, Some(5)).await.unwrap();
        assert_eq!(shape(&older).1, None);
    }
}

#[tokio::test]
async fn b_6_without_its_checkpoint_a_cleaned_log_has_no_anchor() {
    let storage = log("stale-and-cleaned", 5..=12, []).await;
    hint(&storage, r#"{"version":10,"size":1}"#).await;
    assert_eq!(error(&storage, None).await.code(), Code::NoUsableAnchor);
}

#[tokio::test]
async fn b_7_a_hint_that_is_garbage_is_ignored() {
    let storage = log("garbage-hint", 0..=3, [checkpoint_key(2)]).await;
    for text in ["", "{", "null", "\0\0", r#"{"version":-4}"#] {
        hint(&storage, text).await;
        assert_eq!(latest(&storage).await, (3, Some(2), vec![3]), "{text:?}");
    }
}

#[tokio::test]
async fn b_8_an_unreadable_checkpoint_is_passed_over_for_an_older_one() {
    let storage = log(
        "fallback",
        0..=12,
        [checkpoint_key(4), checkpoint_key(10), uuid(10)],
    )
    .await;
    hint(&storage, r#"{"version":10,"size":1}"#).await;
    let first = LogSegment::list(&storage, None).await.unwrap();
    let second = first
        .without_checkpoint(&storage, unreadable())
        .await
        .unwrap();
    assert_eq!(shape(&second), (12, Some(10), vec![11, 12]));
    assert_eq!(second.checkpoint.as_ref().unwrap().objects[0].key, uuid(10));
    let third = second
        .without_checkpoint(&storage, unreadable())
        .await
        .unwrap();
    assert_eq!(shape(&third), (12, Some(4), (5..=12).collect()));
    let last = third
        .without_checkpoint(&storage, unreadable())
        .await
        .unwrap();
    assert_eq!(shape(&last), (12, None, (0..=12).collect()));
}

#[tokio::test]
async fn b_8_nothing_takes_the_place_of_the_only_anchor() {
    for (name, commits) in [("only", 11..=12), ("only-and-before", 9..=12)] {
        let storage = log(name, commits, [checkpoint_key(10)]).await;
        let segment = LogSegment::list(&storage, None).await.unwrap();
        let error = segment
            .without_checkpoint(&storage, unreadable())
            .await
            .unwrap_err();
        assert_eq!(error.code(), Code::NoUsableAnchor);
        assert_eq!(error.context_value("version"), Some("12"));
        assert!(
            std::error::Error::source(&error)
                .unwrap()
                .to_string()
                .contains("torn")
        );
    }
    // An older checkpoint helps only as far as the commits after it are there.
    let storage = log("hole", 11..=12, [checkpoint_key(4), checkpoint_key(10)]).await;
    let segment = LogSegment::list(&storage, None).await.unwrap();
    let error = segment
        .without_checkpoint(&storage, unreadable())
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::NoUsableAnchor);
}

#[tokio::test]
async fn b_8_an_empty_checkpoint_is_no_checkpoint() {
    let storage = log("empty", 0..=12, [checkpoint_key(4)]).await;
    storage.put(&checkpoint_key(10), "".into()).await.unwrap();
    hint(&storage, r#"{"version":10,"size":1}"#).await;
    assert_eq!(latest(&storage).await, (12, Some(4), (5..=12).collect()));
}

#[tokio::test]
async fn b_10_an_incomplete_multi_part_checkpoint_is_no_checkpoint() {
    let parts = [
        part(10, 1, 3),
        part(10, 3, 3),
        part(10, 2, 2),
        part(4, 1, 2),
        part(4, 2, 2),
    ];
    let storage = log("parts", 0..=12, parts).await;
    hint(&storage, r#"{"version":10,"size":1,"parts":3}"#).await;
    let segment = LogSegment::list(&storage, None).await.unwrap();
    assert_eq!(shape(&segment).1, Some(4));
    let keys: Vec<String> = segment
        .checkpoint
        .unwrap()
        .objects
        .into_iter()
        .map(|object| object.key)
        .collect();
    assert_eq!(keys, [part(4, 1, 2), part(4, 2, 2)]);
}

#[tokio::test]
async fn b_10_of_several_complete_checkpoints_one_is_chosen_by_rule() {
    let two = [part(10, 1, 2), part(10, 2, 2)];
    let three = [part(10, 1, 3), part(10, 2, 3), part(10, 3, 3)];
    let all = two
        .iter()
        .chain(&three)
        .cloned()
        .chain([uuid(10), checkpoint_key(10)]);
    let storage = log("several", 0..=10, all).await;
    hint(&storage, r#"{"version":10,"size":7,"parts":3}"#).await;
    let mut segment = LogSegment::list(&storage, None).await.unwrap();
    let mut chosen = Vec::new();
    while let Some(checkpoint) = &segment.checkpoint {
        chosen.push(checkpoint.objects.len());
        segment = segment
            .without_checkpoint(&storage, unreadable())
            .await
            .unwrap();
    }
    assert_eq!(chosen, [1, 2, 3, 1]);
    assert_eq!(segment.commits.len(), 11);
}

#[tokio::test]
async fn the_hint_goes_with_the_checkpoint_it_speaks_of() {
    let storage = log(
        "hinted",
        0..=10,
        [part(10, 1, 2), part(10, 2, 2), checkpoint_key(4)],
    )
    .await;
    for (text, expected) in [
        (r#"{"version":10,"size":7,"parts":2}"#, Some(7)),
        (r#"{"version":10,"size":7}"#, None),
        (r#"{"version":4,"size":7}"#, None),
    ] {
        hint(&storage, text).await;
        let checkpoint = LogSegment::list(&storage, None)
            .await
            .unwrap()
            .checkpoint
            .unwrap();
        assert_eq!(
            checkpoint.hint.and_then(|hint| hint.size),
            expected,
            "{text}"
        );
    }
}

#[tokio::test]
async fn b_11_a_checkpoint_that_the_hint_does_not_know_is_found() {
    let storage = log("behind", 0..=25, [checkpoint_key(10), checkpoint_key(20)]).await;
    hint(&storage, r#"{"version":10,"size":1}"#).await;
    assert_eq!(latest(&storage).await, (25, Some(20), (21..=25).collect()));
}

#[tokio::test]
async fn b_12_an_older_hint_costs_nothing_but_a_longer_listing() {
    let storage = log("went-back", 5..=25, [checkpoint_key(5), checkpoint_key(20)]).await;
    for version in [5, 20] {
        hint(&storage, &format!(r#"{{"version":{version},"size":1}}"#)).await;
        assert_eq!(latest(&storage).await, (25, Some(20), (21..=25).collect()));
    }
}

#[tokio::test]
async fn b_15_compacted_logs_are_not_read() {
    let compacted = "_delta_log/00000000000000000002.00000000000000000004.compacted.json";
    let storage = log("compacted", 0..=5, [compacted.to_owned()]).await;
    assert_eq!(latest(&storage).await, (5, None, (0..=5).collect()));
    storage.put(compacted, "".into()).await.unwrap();
    assert_eq!(latest(&storage).await, (5, None, (0..=5).collect()));
    let alone = log("compacted-gap", [0, 1, 5], [compacted.to_owned()]).await;
    assert_eq!(error(&alone, None).await.code(), Code::LogGap);
}

#[tokio::test]
async fn b_21_junk_in_the_log_changes_nothing() {
    let junk = [
        "00000000000000000006.json.tmp",
        "._00000000000000000006.json",
        "00000000000000000006-copy.json",
        "000000000000000000006.json",
        "99999999999999999999.json",
        "00000000000000000006.json#1",
        "00000000000000000006.json/inside",
        "00000000000000000005.checkpoint.parquet.tmp",
        ".00000000000000000005.checkpoint.parquet",
        "_commits/00000000000000000006.json",
        "00000000000000000009.crc",
    ];
    let keys = junk.map(|name| format!("_delta_log/{name}"));
    let storage = log("junk", 0..=5, keys).await;
    assert_eq!(latest(&storage).await, (5, None, (0..=5).collect()));
}

/// A segment chosen from what a faulty listing shows of a log.
async fn choose(storage: &Storage, objects: Vec<ObjectInfo>) -> Result<LogSegment> {
    LogSegment::choose(storage, Listing::arrange(objects), None, Vec::new()).await
}

async fn objects(storage: &Storage) -> Vec<ObjectInfo> {
    storage.list(LOG_DIRECTORY, None).await.unwrap()
}

#[tokio::test]
async fn c_1_a_stale_listing_makes_an_older_whole_version() {
    let storage = log("stale", 0..=12, [checkpoint_key(10)]).await;
    let mut shown = objects(&storage).await;
    shown.retain(|object| object.key < version_prefix_key(10));
    let segment = choose(&storage, shown).await.unwrap();
    assert_eq!(shape(&segment), (9, None, (0..=9).collect()));
}

#[tokio::test]
async fn c_2_a_commit_that_the_listing_misses_is_asked_for() {
    let storage = log("holes", 0..=12, [checkpoint_key(10)]).await;
    for missed in [[0, 5], [11, 11], [3, 4]] {
        let mut shown = objects(&storage).await;
        let keep_checkpoint = missed[0] == 11;
        shown.retain(|object| {
            let missing = missed
                .iter()
                .any(|version| object.key == commit_key(*version));
            !missing && (keep_checkpoint || object.key != checkpoint_key(10))
        });
        let segment = choose(&storage, shown).await.unwrap();
        let (version, _, commits) = shape(&segment);
        let first = if keep_checkpoint { 11 } else { 0 };
        assert_eq!(
            (version, commits),
            (12, (first..=12).collect()),
            "{missed:?}"
        );
        assert!(segment.commits.iter().all(|commit| 0 < commit.size));
    }
}

#[tokio::test]
async fn b_20_c_3_order_and_repetition_of_a_listing_do_not_matter() {
    let parts = [part(10, 1, 2), part(10, 2, 2)];
    let storage = log("shuffled", 0..=12, parts).await;
    let sorted = objects(&storage).await;
    let expected = choose(&storage, sorted.clone()).await.unwrap();
    let mut reversed = sorted.clone();
    reversed.reverse();
    let twice: Vec<_> = sorted.iter().chain(&reversed).cloned().collect();
    let rotated: Vec<_> = sorted
        .iter()
        .skip(7)
        .chain(sorted.iter().take(9))
        .cloned()
        .collect();
    for shown in [reversed, twice, rotated] {
        let segment = choose(&storage, shown).await.unwrap();
        assert_eq!(segment.checkpoint, expected.checkpoint);
        assert_eq!(segment.commits, expected.commits);
    }
}

#[tokio::test]
async fn history_is_what_can_be_loaded() {
    let versions = async |storage: &Storage, version| {
        let commits = loadable_commits(storage, version).await.unwrap();
        commits
            .into_iter()
            .map(|commit| commit.version)
            .collect::<Vec<_>>()
    };
    let whole = log("history-whole", 0..=5, [checkpoint_key(3)]).await;
    assert_eq!(versions(&whole, 5).await, [0, 1, 2, 3, 4, 5]);
    assert_eq!(versions(&whole, 2).await, [0, 1, 2]);
    let cleaned = log("history-cleaned", 7..=12, [checkpoint_key(10)]).await;
    assert_eq!(versions(&cleaned, 12).await, [10, 11, 12]);
    let edge = log("history-edge", 11..=12, [checkpoint_key(10)]).await;
    assert_eq!(versions(&edge, 12).await, [11, 12]);
    let bare = log("history-bare", [], [checkpoint_key(10)]).await;
    assert_eq!(versions(&bare, 10).await, Vec::<Version>::new());
    let holed = log("history-holed", [0, 1, 3, 4, 5], [checkpoint_key(4)]).await;
    assert_eq!(versions(&holed, 5).await, [4, 5]);
}

#[tokio::test]
async fn c_4_commits_that_were_cleaned_up_after_the_listing_are_not_needed_by_the_next() {
    let store = std::sync::Arc::new(object_store::memory::InMemory::new());
    let root = object_store::path::Path::from("table");
    let storage = Storage::new(
        std::sync::Arc::<object_store::memory::InMemory>::clone(&store),
        root.clone(),
        &Environment::system(),
    );
    for version in 0..=12 {
        storage
            .put(&commit_key(version), "{}".into())
            .await
            .unwrap();
    }
    let shown = LogSegment::list(&storage, None).await.unwrap();
    storage.put(&checkpoint_key(10), "x".into()).await.unwrap();
    for version in 0..10 {
        let path = object_store::path::Path::from(format!("{root}/{}", commit_key(version)));
        object_store::ObjectStoreExt::delete(&*store, &path)
            .await
            .unwrap();
    }
    let gone = crate::log::commit::read(&storage, shown.commits[3].version)
        .await
        .unwrap();
    assert!(gone.is_none());
    assert_eq!(latest(&storage).await, (12, Some(10), vec![11, 12]));
}
