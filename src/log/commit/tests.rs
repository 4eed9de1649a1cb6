use super::*;
use crate::environment::Environment;
use crate::protocol::action::Remove;

const INFO: &str = r#"{"commitInfo":{"timestamp":1,"operation":"WRITE","txnId":"t"}}"#;

fn add(path: &str) -> String {
    format!(
        r#"{{"add":{{"path":"{path}","partitionValues":{{"p":"1","q":null}},"size":10,"modificationTime":-1,"dataChange":true,"stats":"{{\"numRecords\":3}}"}}}}"#
    )
}

fn add_with_vector(path: &str, vector: &str) -> String {
    add(path).replace(
        r#""dataChange""#,
        &format!(
            r#""deletionVector":{{"storageType":"u","pathOrInlineDv":"{vector}","offset":1,"sizeInBytes":36,"cardinality":2}},"dataChange""#
        ),
    )
}

fn remove(path: &str) -> String {
    format!(r#"{{"remove":{{"path":"{path}","deletionTimestamp":5,"dataChange":true}}}}"#)
}

fn lines<S: AsRef<str>>(lines: &[S]) -> String {
    lines
        .iter()
        .map(|line| format!("{}\n", line.as_ref()))
        .collect()
}

fn read_lines<S: AsRef<str>>(given: &[S]) -> Result<Commit> {
    decode(7, lines(given).as_bytes())
}

/// The error of lines that make a corrupt commit.
fn corrupt_lines<S: AsRef<str>>(given: &[S]) -> Error {
    let error = read_lines(given).unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Corrupt, Code::CorruptCommit),
        "{error}"
    );
    assert_eq!(error.context_value("version"), Some("7"));
    error
}

fn storage(name: &str) -> Storage {
    let location = format!("memory:///commit-tests/{name}");
    Storage::open(&location, &Environment::system()).unwrap()
}

#[test]
fn every_action_of_a_commit_is_read() {
    let commit = read_lines(&[
        INFO,
        r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["x"],"writerFeatures":["x"]}}"#,
        r#"{"metaData":{"id":"i","format":{"provider":"parquet"},"schemaString":"{}","partitionColumns":["p"],"configuration":{"a":"b"},"createdTime":4}}"#,
        &add("a%20b"),
        &add_with_vector("c", "v"),
        &remove("d"),
        r#"{"txn":{"appId":"app","version":-3,"lastUpdated":9}}"#,
        r#"{"domainMetadata":{"domain":"d","configuration":"{}","removed":false}}"#,
        r#"{"cdc":{"path":"_change_data/x","partitionValues":{},"size":1,"dataChange":false}}"#,
    ])
    .unwrap();
    assert_eq!(commit.version, 7);
    assert_eq!(commit.info.as_ref().unwrap().txn_id.as_deref(), Some("t"));
    assert_eq!(commit.protocol.as_ref().unwrap().min_reader_version, 3);
    assert_eq!(commit.metadata.as_ref().unwrap().partition_columns, ["p"]);
    assert_eq!(
        (commit.txns.len(), commit.domains.len(), commit.cdcs.len()),
        (1, 1, 1)
    );
    let adds: Vec<_> = commit.adds.adds().collect();
    assert_eq!(adds[0].path, "a%20b");
    assert_eq!(
        (adds[0].size, adds[0].modification_time, adds[0].data_change),
        (10, -1, true)
    );
    assert_eq!(adds[0].stats.as_deref(), Some(r#"{"numRecords":3}"#));
    assert_eq!(commit.adds.statistics(0).unwrap().num_records(), Some(3));
    assert_eq!(adds[0].partition_values["q"], None);
    assert_eq!(
        adds[1].deletion_vector.as_ref().unwrap().unique_id(),
        "uv@1"
    );
    let removes: Vec<Remove> = commit.removes.removes().collect();
    assert_eq!(
        (removes[0].path.as_str(), removes[0].deletion_timestamp),
        ("d", Some(5))
    );
    let plain = r#"{"remove":{"path":"d"}}"#;
    let bare = read_lines(&[plain]).unwrap().removes.remove(0);
    assert_eq!(
        (
            bare.data_change,
            bare.deletion_timestamp,
            bare.partition_values
        ),
        (true, None, None)
    );
}

#[test]
fn lines_may_end_as_windows_ends_them_and_the_last_one_not_at_all() {
    for text in [
        format!("{INFO}\r\n{}\r\n", add("a")),
        format!("{INFO}\n\n{}", add("a")),
    ] {
        assert_eq!(decode(7, text.as_bytes()).unwrap().adds.len(), 1);
    }
}

#[test]
fn b_4_an_empty_commit_file_is_corrupt() {
    for text in ["", "\n", " \r\n\n"] {
        let error = decode(7, text.as_bytes()).unwrap_err();
        assert_eq!(error.code(), Code::CorruptCommit);
        assert_eq!(error.context_value("version"), Some("7"));
    }
}

#[tokio::test]
async fn b_4_an_empty_newest_commit_is_an_error_not_an_empty_version() {
    let storage = storage("empty");
    storage.put(&commit_key(3), Bytes::new()).await.unwrap();
    let error = read(&storage, 3).await.unwrap_err();
    assert_eq!(error.code(), Code::CorruptCommit);
    assert_eq!(error.context_value("version"), Some("3"));
}

#[test]
fn b_5_a_torn_commit_of_ours_is_noticed_wherever_it_is_cut() {
    let info = r#"{"commitInfo":{"txnId":"t","headwater.actions":4}}"#;
    let whole = lines(&[info, &add("a"), &add("b"), &remove("c")]);
    assert_eq!(decode(7, whole.as_bytes()).unwrap().adds.len(), 2);
    // Only the last newline may be missing.
    for end in 0..whole.len() - 1 {
        let error = decode(7, &whole.as_bytes()[..end]).unwrap_err();
        assert_eq!(error.code(), Code::CorruptCommit, "cut at {end}");
    }
    let zero_filled = format!("{}{}", &whole[..info.len() + 1], "\0".repeat(100));
    assert_eq!(
        decode(7, zero_filled.as_bytes()).unwrap_err().code(),
        Code::CorruptCommit
    );
    // One line too many is as wrong as one too few.
    assert!(decode(7, format!("{whole}{{\"new\":{{}}}}\n").as_bytes()).is_err());
}

#[test]
fn b_5_half_a_line_of_another_writer_is_noticed() {
    let whole = lines(&[INFO, &add("a"), &add("b")]);
    let ends: Vec<usize> = whole.match_indices('\n').map(|(at, _)| at).collect();
    for end in 1..whole.len() {
        let at_line_end = ends.contains(&end) || ends.contains(&(end - 1));
        assert_eq!(
            decode(7, &whole.as_bytes()[..end]).is_ok(),
            at_line_end,
            "cut at {end}"
        );
    }
}

#[test]
fn b_16_unknown_actions_and_fields_are_passed_over() {
    let commit = read_lines(&[
        r#"{"commitInfo":{"operation":["odd"],"timestamp":"noon","operationParameters":"free text","tags":{"x":1}}}"#,
        r#"{"futureAction":{"path":"a","deep":[{}]}}"#,
        r#"{}"#,
        r#"{"checkpointMetadata":{"version":1}}"#,
        r#"{"sidecar":{"path":"x","sizeInBytes":1,"modificationTime":1}}"#,
        &add("a").replace(r#""size""#, r#""future":{"a":[1]},"size""#),
        r#"{"remove":{"path":"b","future":null}}"#,
        r#"{"txn":{"appId":"a","version":1,"future":1},"add":null}"#,
        r#"{"metaData":{"id":"i","format":{"provider":"parquet","future":1},"schemaString":"{}","future":{"a":1}}}"#,
    ])
    .unwrap();
    assert_eq!(
        (commit.adds.len(), commit.removes.len(), commit.txns.len()),
        (1, 1, 1)
    );
    // What is written again keeps what it had.
    assert!(commit.metadata.unwrap().unknown.contains_key("future"));
    let info = commit.info.unwrap();
    assert_eq!(
        (info.operation, info.timestamp, info.operation_parameters),
        (None, None, None)
    );
    assert!(info.unknown.contains_key("tags"));
}

#[test]
fn the_in_commit_timestamp_is_not_free_form() {
    corrupt_lines(&[r#"{"commitInfo":{"inCommitTimestamp":"noon","operationMetrics":1}}"#]);
    let commit = read_lines(&[r#"{"commitInfo":{"inCommitTimestamp":5}}"#]).unwrap();
    assert_eq!(commit.in_commit_timestamp().unwrap(), 5);
    for line in [INFO, &add("a")] {
        let error = read_lines(&[line])
            .unwrap()
            .in_commit_timestamp()
            .unwrap_err();
        assert_eq!(error.code(), Code::CorruptCommit);
    }
}

#[test]
fn b_17_two_of_what_there_can_be_one_of_are_corrupt() {
    for line in [
        r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#,
        r#"{"metaData":{"id":"i","format":{"provider":"parquet"},"schemaString":"{}"}}"#,
        r#"{"txn":{"appId":"a","version":1}}"#,
        r#"{"domainMetadata":{"domain":"d","configuration":"","removed":true}}"#,
    ] {
        assert!(read_lines(&[INFO, line]).is_ok());
        corrupt_lines(&[INFO, line, line]);
    }
}

#[test]
fn b_18_a_file_that_is_added_and_removed_is_corrupt() {
    for (added, removed) in [
        (add("a b"), remove("a b")),
        (add("a%20b"), remove("a b")),
        (add("/x/y"), remove("file:///x/y")),
        (
            add_with_vector("a", "v"),
            add_with_vector("a", "v").replace(r#""add""#, r#""remove""#),
        ),
    ] {
        corrupt_lines(&[&added, &removed]);
        corrupt_lines(&[&removed, &added]);
    }
    // The same path with another deletion vector is another logical file: how rows are deleted.
    let replaced = add_with_vector("a", "w");
    for removed in [
        remove("a"),
        add_with_vector("a", "v").replace(r#""add""#, r#""remove""#),
    ] {
        let commit = read_lines(&[&replaced, &removed]).unwrap();
        assert_eq!((commit.adds.len(), commit.removes.len()), (1, 1));
    }
}

#[test]
fn a_file_that_is_added_twice_is_there_once() {
    let later = add("a").replace(r#""size":10"#, r#""size":11"#);
    let commit = read_lines(&[add("a"), add("b"), add("b"), add("%61"), add("c"), later]).unwrap();
    let adds: Vec<_> = commit.adds.adds().map(|add| (add.path, add.size)).collect();
    let expected = [("b", 10), ("c", 10), ("a", 11)].map(|(path, size)| (path.to_owned(), size));
    assert_eq!(adds, expected);
    // With two vectors its rows would be there twice.
    corrupt_lines(&[add_with_vector("a", "v"), add_with_vector("a", "w")]);
    corrupt_lines(&[add("a"), add_with_vector("a", "w")]);
}

#[test]
fn h_4_json_that_is_none_is_corrupt() {
    let deep = |depth: usize| format!(r#"{{"x":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(read_lines(&[deep(63)]).is_ok());
    for line in [
        deep(64),
        deep(200_000),
        format!(r#"{{"commitInfo":{{"x":{}"#, "{\"a\":".repeat(100_000)),
        "[".repeat(1_000_000),
        format!("\u{feff}{INFO}"),
        "null".to_owned(),
        "7".to_owned(),
        "\"add\"".to_owned(),
        "[{\"path\":\"a\"}]".to_owned(),
        "\0".to_owned(),
        format!("{INFO}\0"),
        format!("{INFO}{INFO}"),
        format!("{INFO},"),
        "{\"add\":{\"path\":\"\u{0}\"}}".to_owned(),
        add("a").replace("10", "1e400"),
        add("a").replace("10", "10.5"),
        add("a").replace("10", "99999999999999999999"),
        add("a").replace("10", "\"10\""),
        add("a").replace(r#""size":10"#, r#""size":10,"size":10"#),
        add("a").replace(r#""size":10,"#, ""),
        add("\\ud800"),
        add("a").replace(r#""q":null"#, r#""p":"2""#),
        format!("{}{}", add("a").trim_end_matches('}'), r#"},"add":{}}}"#),
        format!("{},{}", add("a").trim_end_matches('}'), remove("b")),
        r#"{"add":{"path":"a"},"remove":{"path":"b"}}"#.to_owned(),
        r#"{"remove":{"path":"a"},"remove":{"path":"b"}}"#.to_owned(),
        r#"{"remove":{"path":"a"},"txn":{"appId":"a","version":1}}"#.to_owned(),
        r#"{"add":[]}"#.to_owned(),
        r#"{"txn":{"appId":"a","version":1.0}}"#.to_owned(),
    ] {
        let error = corrupt_lines(&[INFO, &line]);
        assert_eq!(error.context_value("line"), Some("2"));
    }
    corrupt_lines(&[r#"{"commitInfo":[]}"#]);
    let mut latin = lines(&[&add("a")]).into_bytes();
    let at = latin.iter().position(|byte| *byte == b'a').unwrap();
    latin[at] = 0xe9;
    assert_eq!(decode(7, &latin).unwrap_err().code(), Code::CorruptCommit);
}

#[test]
fn h_4_sizes_are_limited() {
    let text = lines(&[INFO, &add("a"), &add("b")]);
    let generous = Limits {
        commit_bytes: text.len(),
        line_bytes: add("a").len(),
        lines: 3,
    };
    assert!(decode_within(7, text.as_bytes(), generous).is_ok());
    for limits in [
        Limits {
            commit_bytes: text.len() - 1,
            ..generous
        },
        Limits {
            line_bytes: add("a").len() - 1,
            ..generous
        },
        Limits {
            lines: 2,
            ..generous
        },
    ] {
        let error = decode_within(7, text.as_bytes(), limits).unwrap_err();
        assert_eq!(error.code(), Code::LimitExceeded);
        assert_eq!(error.context_value("version"), Some("7"));
    }
}

#[test]
fn h_4_errors_do_not_repeat_what_the_line_holds() {
    let line = add("a").replace(r#""size":10"#, r#""size":"secret""#);
    let error = corrupt_lines(&[line]);
    let mut texts = vec![error.to_string()];
    let mut cause = std::error::Error::source(&error);
    while let Some(source) = cause {
        texts.push(source.to_string());
        cause = source.source();
    }
    assert!(
        texts.iter().all(|text| !text.contains("secret")),
        "{texts:?}"
    );
}

#[test]
fn h_6_numbers_that_cannot_be_are_corrupt() {
    let vector = add_with_vector("a", "v");
    for line in [
        add("a").replace(r#""size":10"#, r#""size":-1"#),
        add("a").replace(r#""size":10"#, &format!(r#""size":{}"#, i64::MIN)),
        add("a").replace(r#""size""#, r#""baseRowId":-1,"size""#),
        add("a").replace(r#""size""#, r#""defaultRowCommitVersion":-1,"size""#),
        vector.replace(r#""cardinality":2"#, r#""cardinality":-2"#),
        vector.replace(r#""sizeInBytes":36"#, r#""sizeInBytes":-36"#),
        vector.replace(r#""sizeInBytes":36"#, r#""sizeInBytes":2147483648"#),
        vector.replace(r#""offset":1"#, r#""offset":-1"#),
        remove("a").replace(r#""path""#, r#""size":-1,"path""#),
        remove("a").replace(r#""path""#, r#""baseRowId":-1,"path""#),
        r#"{"cdc":{"path":"x","partitionValues":{},"size":-1,"dataChange":false}}"#.to_owned(),
        r#"{"protocol":{"minReaderVersion":2147483648,"minWriterVersion":1}}"#.to_owned(),
    ] {
        corrupt_lines(&[line]);
    }
    let huge = add("a").replace(r#""size":10"#, &format!(r#""size":{}"#, i64::MAX));
    assert_eq!(read_lines(&[huge]).unwrap().adds.size(0), i64::MAX);
}

#[test]
fn c_10_times_before_the_epoch_and_at_the_ends_are_read() {
    for time in [i64::MIN, -1, 0, i64::MAX] {
        let line = add("a").replace(
            r#""modificationTime":-1"#,
            &format!(r#""modificationTime":{time}"#),
        );
        assert_eq!(read_lines(&[line]).unwrap().adds.modification_time(0), time);
        let line = remove("a").replace("5", &time.to_string());
        assert_eq!(
            read_lines(&[line]).unwrap().removes.deletion_timestamp(0),
            Some(time)
        );
    }
}

#[test]
fn h_7_odd_statistics_are_none() {
    for odd in [
        "null",
        "7",
        "-7",
        "1.5",
        "true",
        "[1,{}]",
        r#"{"numRecords":3}"#,
        r#""{""#,
    ] {
        let line = add("a").replace(r#""{\"numRecords\":3}""#, odd);
        let commit = read_lines(&[line]).unwrap();
        assert!(commit.adds.statistics(0).is_none(), "{odd}");
    }
}

#[test]
fn every_line_counts_however_many_there_are() {
    let count = 10_001;
    let mut all: Vec<String> = (0..count).map(|index| add(&format!("f{index}"))).collect();
    for (at, name) in [(1_023, "a"), (1_024, "b"), (1_025, "c"), (10_000, "d")] {
        all[at] = format!(
            r#"{{"domainMetadata":{{"domain":"{name}","configuration":"","removed":false}}}}"#
        );
    }
    let commit = read_lines(&all).unwrap();
    assert_eq!((commit.adds.len(), commit.domains.len()), (count - 4, 4));
    assert_eq!(commit.adds.path(9_996), "f9999");
}

#[tokio::test]
async fn a_large_commit_is_decoded_elsewhere_with_the_same_result() {
    let storage = storage("large");
    let text = lines(
        &(0..10_000)
            .map(|index| add(&format!("f{index}")))
            .collect::<Vec<_>>(),
    );
    assert!(1 << 20 < text.len());
    storage
        .put(&commit_key(4), text.clone().into())
        .await
        .unwrap();
    let commit = read(&storage, 4).await.unwrap().unwrap();
    assert_eq!(
        (commit.version, commit.adds.len(), commit.bytes),
        (4, 10_000, text.len() as u64)
    );
    let torn = text[..text.len() - 10].to_owned();
    storage.put(&commit_key(5), torn.into()).await.unwrap();
    assert_eq!(
        read(&storage, 5).await.unwrap_err().code(),
        Code::CorruptCommit
    );
}

#[tokio::test]
async fn a_commit_that_is_not_there_is_none() {
    assert!(read(&storage("absent"), 0).await.unwrap().is_none());
}

#[tokio::test]
async fn a_slot_is_written_once_and_never_over() {
    let storage = storage("slot");
    let first = try_write(&storage, 0, lines(&[INFO]).into()).await;
    assert!(matches!(first, PutOutcome::Created));
    let puts = storage.counts().puts;
    match try_write(&storage, 0, lines(&[&add("other")]).into()).await {
        PutOutcome::NotCreated(error) => assert_eq!(error.code(), Code::CommitConflict),
        PutOutcome::Created => panic!("the slot was taken"),
    }
    assert_eq!(storage.counts().puts - puts, 1);
    assert!(read(&storage, 0).await.unwrap().unwrap().adds.is_empty());
}

#[tokio::test]
async fn a_17_no_slot_lies_after_the_last_version() {
    let storage = storage("end");
    match try_write(&storage, VERSION_MAX + 1, lines(&[INFO]).into()).await {
        PutOutcome::NotCreated(error) => assert_eq!(error.code(), Code::LimitExceeded),
        PutOutcome::Created => panic!("there is no such version"),
    }
    assert_eq!(storage.counts().puts, 0);
}
