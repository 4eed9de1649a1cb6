//! What the room promises of any store; `faulty` puts the faults in front of one.

mod faulty;
mod folder;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStoreExt};

use crate::environment::Environment;
use crate::error::{Code, Error, ErrorKind};
use crate::storage::retry::RetryPolicy;
use crate::storage::tests::faulty::{Fault, Faulty, TestHost};
use crate::storage::{PutOutcome, Storage};

/// A table in memory that anything may go wrong with.
struct Fixture {
    storage: Storage,
    store: Arc<Faulty>,
    host: TestHost,
}

impl Fixture {
    fn new() -> Self {
        let host = TestHost::default();
        let store = Arc::new(Faulty::at(host.clone()));
        let environment = Environment::new(Arc::new(host.clone()));
        let storage = Storage::new(
            store.clone(),
            Path::parse("root/a%20b").unwrap(),
            &environment,
        );
        Self {
            storage,
            store,
            host,
        }
    }

    async fn with(objects: &[(&str, &[u8])]) -> Self {
        let fixture = Self::new();
        for (key, bytes) in objects {
            fixture
                .storage
                .put(key, Bytes::copy_from_slice(bytes))
                .await
                .unwrap();
        }
        fixture
    }

    fn inner(&mut self) -> &mut super::Inner {
        Arc::get_mut(&mut self.storage.0).unwrap()
    }
}

fn refused(outcome: PutOutcome) -> Error {
    match outcome {
        PutOutcome::NotCreated(error) => error,
        PutOutcome::Created => panic!("created"),
    }
}

fn keys(listed: &[super::ObjectInfo]) -> Vec<&str> {
    listed.iter().map(|info| info.key.as_str()).collect()
}

fn pattern(length: usize) -> Bytes {
    let period: Vec<u8> = (0..251_u32).map(|i| (i * 31 % 251) as u8).collect();
    let mut bytes = period.repeat(length / period.len() + 1);
    bytes.truncate(length);
    bytes.into()
}

fn assert_send<T: Send>(value: T) -> T {
    value
}

#[tokio::test]
async fn every_future_can_move_between_threads() {
    let storage = Storage::new(
        Arc::new(InMemory::new()),
        Path::ROOT,
        &Environment::system(),
    );
    assert_send(storage.put("a", Bytes::from_static(b"abc")))
        .await
        .unwrap();
    assert_send(storage.get("a")).await.unwrap();
    assert_send(storage.get_limited("a", 3)).await.unwrap();
    assert_send(storage.get_range("a", 0..1)).await.unwrap();
    assert_send(storage.get_ranges("a", &[0..1, 2..3]))
        .await
        .unwrap();
    assert_send(storage.head("a")).await.unwrap();
    assert_send(storage.list("", None)).await.unwrap();
    let outcome = assert_send(storage.put_if_absent("b", Bytes::new())).await;
    assert!(matches!(outcome, PutOutcome::Created));
    let mut upload = assert_send(storage.upload("c")).await.unwrap();
    assert_send(upload.write(Bytes::new())).await.unwrap();
    assert_send(upload.finish()).await.unwrap();
    let upload = storage.upload("d").await.unwrap();
    assert_send(upload.abort()).await.unwrap();
}

#[tokio::test]
async fn keys_are_kept_as_they_are_below_the_root() {
    let key = "p=a%20b c/\u{fc}\u{1f9ca}+&?#%/x %2F.parquet";
    let fixture = Fixture::with(&[(key, b"1"), ("z", b"2")]).await;
    assert_eq!(fixture.storage.get(key).await.unwrap(), "1");
    let raw = Path::parse(format!("root/a%20b/{key}")).unwrap();
    assert_eq!(
        fixture
            .store
            .memory
            .get(&raw)
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap(),
        "1"
    );
    let directory = key.rsplit_once('/').unwrap().0;
    assert_eq!(
        keys(&fixture.storage.list(directory, None).await.unwrap()),
        [key]
    );
    assert_eq!(keys(&fixture.storage.list("", None).await.unwrap()), ["z"]);
    assert_eq!(fixture.storage.head(key).await.unwrap().unwrap().key, key);
}

#[tokio::test]
async fn h_1_keys_that_leave_the_table_are_refused_before_the_store_sees_them() {
    let fixture = Fixture::new();
    for key in [
        "", "/", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/./b", "a\0b", "a\nb",
    ] {
        let storage = &fixture.storage;
        for error in [
            storage.get(key).await.unwrap_err(),
            storage.get_range(key, 0..1).await.unwrap_err(),
            storage.get_ranges(key, &[0..1, 5..6]).await.unwrap_err(),
            storage.head(key).await.unwrap_err(),
            storage.put(key, Bytes::new()).await.unwrap_err(),
            refused(storage.put_if_absent(key, Bytes::new()).await),
            storage.upload(key).await.unwrap_err(),
        ] {
            assert_eq!(error.code(), Code::UnsafePath, "{key:?}");
        }
    }
    assert_eq!(fixture.storage.counts().requests(), 0);
}

#[tokio::test]
async fn a_missing_object_is_not_found_and_asked_for_once() {
    let fixture = Fixture::new();
    let storage = &fixture.storage;
    assert_eq!(
        storage.get("x").await.unwrap_err().code(),
        Code::ObjectNotFound
    );
    assert_eq!(
        storage.get_range("x", 0..5).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(
        storage
            .get_ranges("x", &[0..5, 7..8])
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::NotFound
    );
    assert_eq!(storage.head("x").await.unwrap(), None);
    assert_eq!(storage.list("no/such", None).await.unwrap(), []);
    assert_eq!(
        (
            storage.counts().gets,
            storage.counts().heads,
            storage.counts().retries
        ),
        (3, 1, 0)
    );
}

#[tokio::test]
async fn a_10_a_store_that_asks_for_patience_gets_it_with_growing_waits() {
    let fixture = Fixture::with(&[("x", b"abc")]).await;
    fixture.store.next(vec![Fault::Throttle; 5]);
    assert_eq!(fixture.storage.get("x").await.unwrap(), "abc");
    let counts = fixture.storage.counts();
    assert_eq!((counts.gets, counts.retries), (6, 5));
    let waits = fixture.host.waits();
    assert_eq!(waits.len(), 5);
    for (index, wait) in waits.iter().enumerate() {
        let bound = RetryPolicy::REQUEST.wait_first * (1 << index);
        assert!(*wait <= bound, "{index}: {wait:?}");
    }
    // Full jitter: the waits of five attempts are not all at their bound, nor all nothing.
    assert!(
        waits.iter().sum::<Duration>() > Duration::from_millis(100),
        "{waits:?}"
    );
    assert_ne!(waits[0], RetryPolicy::REQUEST.wait_first);
}

#[tokio::test]
async fn a_10_patience_ends() {
    let mut fixture = Fixture::with(&[("x", b"abc")]).await;
    fixture.store.always(Fault::Throttle);
    let error = fixture.storage.get("x").await.unwrap_err();
    assert_eq!(
        (error.code(), error.is_retryable()),
        (Code::Throttled, true)
    );
    assert_eq!(error.context_value("attempts"), Some("8"));
    assert_eq!(fixture.storage.counts().gets, 8);

    // A budget of time ends it earlier, and without a wait that would be for nothing.
    fixture.inner().policy.attempts_max = u32::MAX;
    fixture.inner().policy.budget = Duration::from_secs(30);
    let started = fixture.host.elapsed();
    assert_eq!(
        fixture.storage.get("x").await.unwrap_err().code(),
        Code::Throttled
    );
    assert!(fixture.host.elapsed() - started <= Duration::from_secs(30));
    for operation in ["put", "list", "head"] {
        let error = match operation {
            "put" => fixture.storage.put("x", Bytes::new()).await.unwrap_err(),
            "list" => fixture.storage.list("_delta_log", None).await.unwrap_err(),
            _ => fixture.storage.head("x").await.unwrap_err(),
        };
        assert_eq!(error.code(), Code::Throttled, "{operation}");
    }
}

#[tokio::test]
async fn a_failure_that_waiting_does_not_help_is_not_repeated() {
    for (fault, kind, code) in [
        (Fault::Deny, ErrorKind::Storage, Code::Denied),
        (Fault::Full, ErrorKind::Storage, Code::NoSpace),
        (Fault::Broken, ErrorKind::Storage, Code::StoreFailed),
        (
            Fault::Unable,
            ErrorKind::Unsupported,
            Code::UnsupportedFeature,
        ),
    ] {
        let fixture = Fixture::new();
        fixture.store.always(fault);
        let error = fixture.storage.put("x", Bytes::new()).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (kind, code), "{fault:?}");
        assert!(!error.is_retryable());
        assert_eq!(fixture.storage.counts().puts, 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_create_is_sent_once_whatever_the_answer() {
    for (fault, code) in [
        (Fault::Throttle, Code::Throttled),
        (Fault::Reset, Code::StoreFailed),
        (Fault::Exists, Code::CommitConflict),
        (Fault::Precondition, Code::CommitConflict),
    ] {
        let fixture = Fixture::new();
        fixture.store.always(fault);
        let error = refused(fixture.storage.put_if_absent("x", Bytes::new()).await);
        assert_eq!(error.code(), code, "{fault:?}");
        assert_eq!(
            (fixture.storage.counts().puts, fixture.store.requests()),
            (1, 1),
            "{fault:?}"
        );
        fixture.store.heal();
        assert_eq!(fixture.storage.head("x").await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_4_a_create_whose_answer_is_lost_is_not_called_created_but_is_there() {
    let fixture = Fixture::new();
    fixture.store.next(vec![Fault::LoseAnswer]);
    let error = refused(fixture.storage.put_if_absent("x", "mine".into()).await);
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert_eq!(fixture.storage.get("x").await.unwrap(), "mine");
    // A name that is taken stays with who took it.
    let error = refused(fixture.storage.put_if_absent("x", "other".into()).await);
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Conflict, Code::CommitConflict)
    );
    assert_eq!(fixture.storage.get("x").await.unwrap(), "mine");
}

#[tokio::test]
async fn a_11_a_store_without_conditional_puts_is_refused_and_never_written_otherwise() {
    let fixture = Fixture::new();
    fixture.store.always(Fault::Unable);
    let error = refused(fixture.storage.put_if_absent("x", "bytes".into()).await);
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("create"), "{error}");
    assert_eq!(fixture.store.requests(), 1);
}

#[tokio::test]
async fn g_6_a_store_that_never_answers_is_given_up() {
    let fixture = Fixture::with(&[("x", b"abc")]).await;
    fixture.store.always(Fault::Hang);
    let error = fixture.storage.get("x").await.unwrap_err();
    assert_eq!(
        (error.code(), error.is_retryable()),
        (Code::StoreFailed, true)
    );
    assert!(
        format!("{error:?}").contains("no answer within 60 seconds"),
        "{error:?}"
    );
    let error = refused(fixture.storage.put_if_absent("y", Bytes::new()).await);
    assert!(error.is_retryable());
}

#[tokio::test]
async fn g_6_an_answer_that_never_ends_is_given_up() {
    let fixture = Fixture::with(&[("x", &[7; 50]), ("y", b""), ("z/1", b"")]).await;
    fixture.store.always(Fault::Drip);
    let slow = fixture.storage.get("x").await.unwrap_err();
    assert!(slow.to_string().contains("too slowly"), "{slow}");
    assert!(slow.is_retryable());
    assert!(
        fixture.store.requests() < 10,
        "it is not repeated for ever either"
    );
    let part = fixture.storage.get_range("x", 0..40).await.unwrap_err();
    assert!(part.to_string().contains("too slowly"), "{part}");
    // What ends in time is taken, however slow.
    assert_eq!(fixture.storage.get_range("x", 0..2).await.unwrap().len(), 2);

    fixture.store.heal();
    for entry in 0..9 {
        let key = format!("z/many-{entry}");
        fixture.storage.put(&key, Bytes::new()).await.unwrap();
    }
    fixture.store.always(Fault::Drip);
    let slow = fixture.storage.list("z", None).await.unwrap_err();
    assert!(slow.to_string().contains("too slowly"), "{slow}");
}

#[tokio::test]
async fn f_8_an_answer_that_ends_early_is_repeated_and_then_an_error() {
    let bytes = pattern(5000);
    let fixture = Fixture::with(&[("x", &bytes)]).await;
    for fault in [Fault::Shorten, Fault::Lengthen] {
        fixture.store.next(vec![fault; 2]);
        assert_eq!(fixture.storage.get("x").await.unwrap(), bytes);
        fixture.store.next(vec![fault; 2]);
        assert_eq!(
            fixture.storage.get_range("x", 10..900).await.unwrap(),
            bytes.slice(10..900)
        );
        fixture.store.always(fault);
        for error in [
            fixture.storage.get("x").await.unwrap_err(),
            fixture.storage.get_range("x", 10..900).await.unwrap_err(),
            fixture
                .storage
                .get_ranges("x", &[10..900, 1000..1001])
                .await
                .unwrap_err(),
        ] {
            assert_eq!(
                (error.code(), error.is_retryable()),
                (Code::StoreFailed, true)
            );
        }
        fixture.store.heal();
    }
}

#[tokio::test]
async fn f_8_ranges_of_an_object_that_is_replaced_meanwhile_are_never_mixed() {
    let (old, new) = (pattern(3_000_000), Bytes::from(vec![9; 3_000_000]));
    let fixture = Fixture::with(&[("x", &old)]).await;
    let ranges = [0..10, 2_000_000..2_000_010];
    // After the first of the two requests, another object is there.
    fixture.store.next(vec![Fault::ThenReplace]);
    fixture.store.replacement(new.clone());
    let read = fixture.storage.get_ranges("x", &ranges).await.unwrap();
    assert_eq!(read, [new.slice(0..10), new.slice(2_000_000..2_000_010)]);
    assert_eq!(fixture.storage.counts().retries, 1);
}

#[tokio::test]
async fn a_range_past_the_end_says_that_the_object_is_too_short() {
    let fixture = Fixture::with(&[("x", &[7; 100])]).await;
    for range in [90..101, 100..101, 500..600, 0..u64::MAX] {
        let before = fixture.storage.counts();
        let error = fixture
            .storage
            .get_range("x", range.clone())
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::Corrupt, Code::DataCorrupt),
            "{range:?}"
        );
        assert!(
            fixture.storage.counts().since(&before).requests() <= 2,
            "{range:?}"
        );
    }
    let error = fixture
        .storage
        .get_ranges("x", &[0..5, 90..101])
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::DataCorrupt);
}

#[tokio::test]
async fn ranges_come_in_the_order_they_are_asked_for_and_near_ones_share_a_request() {
    let bytes = pattern(4_000_000);
    let fixture = Fixture::with(&[("x", &bytes)]).await;
    let ranges = [
        3_999_990..4_000_000,
        5..5,
        0..4,
        100..200,
        150..160,
        0..4,
        3_000_000..3_000_001,
    ];
    let before = fixture.storage.counts();
    let read = fixture.storage.get_ranges("x", &ranges).await.unwrap();
    for (range, part) in ranges.iter().zip(&read) {
        assert_eq!(
            part,
            &bytes.slice(range.start as usize..range.end as usize),
            "{range:?}"
        );
    }
    let spent = fixture.storage.counts().since(&before);
    assert_eq!((spent.gets, spent.bytes_read), (3, 200 + 1 + 10));
    let before = fixture.storage.counts();
    assert_eq!(
        fixture.storage.get_ranges("x", &[]).await.unwrap(),
        Vec::<Bytes>::new()
    );
    assert_eq!(fixture.storage.get_range("x", 7..7).await.unwrap(), "");
    assert_eq!(fixture.storage.counts().since(&before).requests(), 0);
}

#[tokio::test]
async fn an_object_over_the_limit_is_not_transferred() {
    let fixture = Fixture::with(&[("x", &[7; 100])]).await;
    assert_eq!(
        fixture.storage.get_limited("x", 100).await.unwrap().len(),
        100
    );
    let before = fixture.storage.counts();
    let error = fixture.storage.get_limited("x", 99).await.unwrap_err();
    assert_eq!(error.code(), Code::LimitExceeded);
    let spent = fixture.storage.counts().since(&before);
    assert_eq!((spent.gets, spent.bytes_read), (1, 0));
}

#[tokio::test]
async fn b_20_c_3_a_listing_out_of_order_with_repeats_comes_sorted_and_each_key_once() {
    let names = [
        "_delta_log/0",
        "_delta_log/1",
        "_delta_log/2",
        "_delta_log/3",
    ];
    let fixture = Fixture::with(&names.map(|name| (name, b"x".as_slice()))).await;
    fixture
        .storage
        .put("_delta_log/_sidecars/s", Bytes::new())
        .await
        .unwrap();
    fixture
        .storage
        .put("_delta_log2/0", Bytes::new())
        .await
        .unwrap();
    for after in [
        None,
        Some("_delta_log/0"),
        Some("_delta_log/00"),
        Some("_delta_log/3"),
        Some("_e"),
    ] {
        fixture.store.next(vec![Fault::Scramble]);
        let listed = fixture.storage.list("_delta_log", after).await.unwrap();
        let expected: Vec<&str> = names
            .into_iter()
            .filter(|name| *name > after.unwrap_or_default())
            .collect();
        assert_eq!(keys(&listed), expected, "{after:?}");
    }
    assert_eq!(
        keys(&fixture.storage.list("", None).await.unwrap()),
        Vec::<&str>::new()
    );
}

#[tokio::test]
async fn c_5_a_listing_of_which_a_page_fails_is_repeated_whole_or_fails() {
    let names: Vec<String> = (0..50).map(|i| format!("_delta_log/{i:03}")).collect();
    let fixture = Fixture::new();
    for name in &names {
        fixture.storage.put(name, Bytes::new()).await.unwrap();
    }
    for after in [None, Some("_delta_log/010")] {
        let expected = names
            .iter()
            .filter(|name| name.as_str() > after.unwrap_or_default())
            .count();
        fixture.store.next(vec![Fault::BreakListing; 3]);
        assert_eq!(
            fixture
                .storage
                .list("_delta_log", after)
                .await
                .unwrap()
                .len(),
            expected
        );
        fixture.store.always(Fault::BreakListing);
        let error = fixture.storage.list("_delta_log", after).await.unwrap_err();
        assert_eq!(error.code(), Code::StoreFailed);
        fixture.store.heal();
    }
}

#[tokio::test]
async fn h_14_a_directory_with_too_many_objects_is_refused() {
    let mut fixture = Fixture::with(&[("d/1", b""), ("d/2", b""), ("d/3", b"")]).await;
    fixture.inner().listed_max = 3;
    assert_eq!(fixture.storage.list("d", None).await.unwrap().len(), 3);
    fixture.inner().listed_max = 2;
    assert_eq!(
        fixture.storage.list("d", None).await.unwrap_err().code(),
        Code::LimitExceeded
    );
    assert_eq!(
        fixture.storage.list("d", Some("d/1")).await.unwrap().len(),
        2
    );
}

#[tokio::test]
async fn an_upload_of_any_size_is_whole_and_only_there_once_finished() {
    const MIB: usize = 1024 * 1024;
    for (length, puts) in [
        (0, 1),
        (1, 1),
        (8 * MIB - 1, 1),
        (8 * MIB, 1),
        (20 * MIB, 3),
    ] {
        let fixture = Fixture::new();
        let bytes = pattern(length);
        let mut upload = fixture.storage.upload("x").await.unwrap();
        for start in (0..length).step_by(3 * MIB + 17) {
            let piece = bytes.slice(start..length.min(start + 3 * MIB + 17));
            upload.write(piece).await.unwrap();
        }
        assert_eq!(fixture.storage.head("x").await.unwrap(), None);
        assert_eq!(upload.finish().await.unwrap(), length as u64);
        assert_eq!(fixture.storage.get("x").await.unwrap(), bytes);
        let counts = fixture.storage.counts();
        assert_eq!(
            (counts.puts, counts.bytes_written),
            (puts, length as u64),
            "{length}"
        );
        assert_eq!(fixture.store.aborts(), 0);
    }
}

#[tokio::test]
async fn an_upload_that_is_dropped_aborted_or_fails_leaves_nothing() {
    let bytes = pattern(20 * 1024 * 1024);
    for end in ["drop", "abort", "part", "complete"] {
        let fixture = Fixture::new();
        let mut upload = fixture.storage.upload("x").await.unwrap();
        if end == "part" {
            fixture.store.always(Fault::FailParts);
        }
        let written = upload.write(bytes.clone()).await;
        match end {
            "abort" => upload.abort().await.unwrap(),
            "drop" => drop(upload),
            "part" => assert!(written.is_err() || upload.finish().await.is_err()),
            _ => {
                fixture.store.always(Fault::FailComplete);
                assert!(upload.finish().await.is_err());
            }
        }
        fixture.store.heal();
        tokio::task::yield_now().await;
        assert_eq!(fixture.store.aborts(), 1, "{end}");
        assert_eq!(fixture.storage.head("x").await.unwrap(), None, "{end}");
    }
}

#[tokio::test]
async fn i_1_no_secret_of_a_store_shows_in_an_error_or_in_debug_text() {
    let fixture = Fixture::new();
    fixture.store.always(Fault::Leak);
    let named = fixture
        .storage
        .with_location("s3://canary:canary@bucket/t?sig=canary");
    assert_eq!(named.location(), "s3://bucket/t");
    for storage in [&fixture.storage, &named] {
        for error in [
            storage.get("x").await.unwrap_err(),
            storage.list("x", None).await.unwrap_err(),
            refused(storage.put_if_absent("x", Bytes::new()).await),
        ] {
            let shown = format!("{error} {error:?} {storage:?}");
            assert!(shown.contains("http://host/x"), "{shown}");
            assert!(!shown.contains("canary"), "{shown}");
        }
    }
    let upload = fixture.storage.upload("x").await.unwrap();
    assert!(!format!("{upload:?}").contains("canary"));
}

#[tokio::test]
async fn memory_tables_are_seen_by_the_whole_process_and_apart_by_name() {
    let environment = Environment::system();
    let one = Storage::open("memory:///storage-tests/one", &environment).unwrap();
    let again = Storage::open("memory://storage-tests/one/", &environment).unwrap();
    let other = Storage::open("memory:///storage-tests/other", &environment).unwrap();
    one.put("x", "1".into()).await.unwrap();
    assert_eq!(again.get("x").await.unwrap(), "1");
    assert_eq!(again.location(), "memory:///storage-tests/one");
    assert_eq!(other.head("x").await.unwrap(), None);
    assert_eq!((one.counts().puts, again.counts().puts), (1, 0));
}

#[test]
fn the_cause_of_a_failure_is_kept_as_text_and_numbers_in_it_mean_nothing() {
    let attempt = super::Attempt {
        what: "read the object",
        key: "k",
        location: "t",
    };
    let source = std::io::Error::from_raw_os_error(5);
    let error = attempt.failed(StoreError::Generic {
        store: "s",
        source: source.into(),
    });
    assert_eq!(
        error.to_string(),
        "cannot read the object: the store failed (path: k, table: t)"
    );
    assert!(format!("{error:?}").contains("os error 5"), "{error:?}");
    for (text, code) in [
        ("range 429..503 is wrong", Code::StoreFailed),
        (
            "Server returned non-2xx status code: 503 Service Unavailable: ",
            Code::Throttled,
        ),
        (
            "Server returned error response: <Code>SlowDown</Code>",
            Code::Throttled,
        ),
    ] {
        let error = attempt.failed(StoreError::Generic {
            store: "s",
            source: text.into(),
        });
        assert_eq!(error.code(), code, "{text}");
    }
}
