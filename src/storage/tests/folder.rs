//! What the room promises of a folder.

use std::path::{Path as FilePath, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::environment::Environment;
use crate::error::{Code, ErrorKind};
use crate::storage::tests::{keys, pattern, refused};
use crate::storage::{LocalStore, PutOutcome, Storage};

/// A folder that is removed with everything in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let id = Environment::system().uuid().simple().to_string();
        let path = std::env::temp_dir().join(format!("headwater-storage-{id}"));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.join(below)
    }

    fn storage(&self, below: &str) -> Storage {
        Storage::local(&self.path(below), &Environment::system()).unwrap()
    }

    /// Every file below, by path.
    fn files(&self) -> Vec<String> {
        let (mut found, mut waiting) = (Vec::new(), vec![self.0.clone()]);
        while let Some(directory) = waiting.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    waiting.push(entry.path());
                } else {
                    let path = entry.path();
                    found.push(
                        path.strip_prefix(&self.0)
                            .unwrap()
                            .to_string_lossy()
                            .into_owned(),
                    );
                }
            }
        }
        found.sort();
        found
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn write(path: &FilePath, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_folder_that_is_not_there_yet_reads_as_empty_and_is_made_by_the_first_write() {
    let folder = Folder::new();
    let storage = folder.storage("not/yet/t");
    assert_eq!(storage.list("", None).await.unwrap(), []);
    assert_eq!(storage.list("_delta_log", None).await.unwrap(), []);
    assert_eq!(storage.head("x").await.unwrap(), None);
    assert_eq!(
        storage.get("x").await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(folder.files(), Vec::<String>::new());
    storage.put("_delta_log/0.json", "{}".into()).await.unwrap();
    assert_eq!(folder.files(), ["not/yet/t/_delta_log/0.json"]);
    assert_eq!(
        storage.location(),
        folder.path("not/yet/t").to_str().unwrap()
    );
}

#[tokio::test]
async fn objects_are_written_read_and_replaced_whole_and_no_temporary_file_stays() {
    let folder = Folder::new();
    let storage = folder.storage("t");
    for length in [0, 1, 4 * 1024 * 1024, 9_000_001] {
        let bytes = pattern(length);
        storage.put("a/x", bytes.clone()).await.unwrap();
        assert_eq!(storage.get("a/x").await.unwrap(), bytes);
        assert_eq!(
            storage.head("a/x").await.unwrap().unwrap().size,
            length as u64
        );
        let outcome = storage
            .put_if_absent(&format!("c/{length}"), bytes.clone())
            .await;
        assert!(matches!(outcome, PutOutcome::Created));
        let error = refused(
            storage
                .put_if_absent(&format!("c/{length}"), "other".into())
                .await,
        );
        assert_eq!(error.code(), Code::CommitConflict);
        assert_eq!(storage.get(&format!("c/{length}")).await.unwrap(), bytes);
        let mut upload = storage.upload("u/x").await.unwrap();
        for piece in bytes.chunks(1_000_003) {
            upload.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        assert_eq!(upload.finish().await.unwrap(), length as u64);
        assert_eq!(storage.get("u/x").await.unwrap(), bytes);
    }
    let bytes = pattern(9_000_001);
    let ranges = [9_000_000..9_000_001, 3..3, 0..10, 4_000_000..8_500_000];
    for (range, part) in ranges
        .iter()
        .zip(storage.get_ranges("a/x", &ranges).await.unwrap())
    {
        let expected = bytes.slice(range.start as usize..range.end as usize);
        assert_eq!(part, expected);
        assert_eq!(
            storage.get_range("a/x", range.clone()).await.unwrap(),
            expected
        );
    }
    for range in [
        9_000_000..9_000_002,
        9_000_001..9_000_002,
        10_000_000..10_000_001,
    ] {
        let error = storage.get_range("a/x", range.clone()).await.unwrap_err();
        assert_eq!(error.code(), Code::DataCorrupt, "{range:?}");
        let error = storage
            .get_ranges("a/x", &[0..5, range.clone()])
            .await
            .unwrap_err();
        assert_eq!(error.code(), Code::DataCorrupt, "{range:?}");
    }
    assert!(
        folder.files().iter().all(|name| !name.contains(".tmp-")),
        "{:?}",
        folder.files()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn of_many_that_create_one_object_exactly_one_does() {
    let folder = Folder::new();
    // Each has a store of its own, as another process would.
    let racers: Vec<_> = (0..8)
        .map(|racer| {
            let storage = folder.storage("t");
            #[expect(clippy::disallowed_methods, reason = "the race needs threads")]
            tokio::spawn(async move {
                let mut won = Vec::new();
                for slot in 0..40 {
                    let key = format!("_delta_log/{slot:020}.json");
                    match storage.put_if_absent(&key, format!("{racer}").into()).await {
                        PutOutcome::Created => won.push(slot),
                        PutOutcome::NotCreated(error) => {
                            assert_eq!(error.code(), Code::CommitConflict, "{error:?}");
                        }
                    }
                    // Whoever won, the object is whole as soon as the name is taken.
                    assert_eq!(storage.get(&key).await.unwrap().len(), 1);
                }
                won
            })
        })
        .collect();
    let storage = folder.storage("t");
    let mut slots = Vec::new();
    for (racer, won) in racers.into_iter().enumerate() {
        for slot in won.await.unwrap() {
            let key = format!("_delta_log/{slot:020}.json");
            assert_eq!(storage.get(&key).await.unwrap(), format!("{racer}"));
            slots.push(slot);
        }
    }
    slots.sort_unstable();
    assert_eq!(slots, (0..40).collect::<Vec<_>>());
    assert_eq!(storage.list("_delta_log", None).await.unwrap().len(), 40);
    assert_eq!(folder.files().len(), 40);
}

/// Forbids that a killed writer leaves a torn object, takes a name it did not acknowledge with
/// another's bytes, or loses what it acknowledged.
#[test]
fn processes_that_race_and_are_killed_leave_whole_objects_and_all_that_they_acknowledged() {
    use std::io::{BufRead, BufReader};
    let folder = Folder::new();
    let mut acknowledged: Vec<(String, usize)> = Vec::new();
    for round in 0..3 {
        let mut children: Vec<_> = (0..8)
            .map(|racer| {
                Command::new(std::env::current_exe().unwrap())
                    .args([
                        "--exact",
                        "storage::tests::folder::body_of_the_race",
                        "--nocapture",
                    ])
                    .env(
                        "HEADWATER_TEST_RACE",
                        format!("{}:{round}:{racer}", folder.0.display()),
                    )
                    .stdout(std::process::Stdio::piped())
                    .stderr(std::process::Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for (racer, child) in children.iter_mut().enumerate() {
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let won = lines
                .map_while(Result::ok)
                .filter_map(|line| line.rsplit_once("won ").map(|(_, key)| key.to_owned()));
            // Killed after a few acknowledgements, in the middle of whatever comes next; some run
            // to their end.
            let enough = if racer < 6 { 2 + racer } else { usize::MAX };
            acknowledged.extend(won.take(enough).map(|key| (key, round * 8 + racer)));
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
    let listed = tokio::runtime::Runtime::new().unwrap();
    let listed = listed
        .block_on(folder.storage("t").list("_delta_log", None))
        .unwrap();
    // Two of each round lived to visit every slot.
    assert_eq!(listed.len(), 3 * 40);
    assert!(acknowledged.len() > 3, "{acknowledged:?}");
    for (key, owner) in &acknowledged {
        assert_eq!(
            std::fs::read(folder.path("t").join(key)).unwrap()[0],
            *owner as u8,
            "{key}"
        );
    }
    for info in listed {
        let bytes = std::fs::read(folder.path("t").join(&info.key)).unwrap();
        assert_eq!(bytes, vec![bytes[0]; 200_000], "{}", info.key);
    }
}

#[tokio::test]
async fn body_of_the_race() {
    let Ok(task) = std::env::var("HEADWATER_TEST_RACE") else {
        return;
    };
    let mut parts = task.rsplitn(3, ':');
    let racer: usize = parts.next().unwrap().parse().unwrap();
    let round: usize = parts.next().unwrap().parse().unwrap();
    let path = FilePath::new(parts.next().unwrap()).join("t");
    let storage = Storage::local(&path, &Environment::system()).unwrap();
    for slot in 0..40 {
        let key = format!("_delta_log/{round:010}{slot:010}.json");
        let bytes = vec![(round * 8 + racer) as u8; 200_000];
        if let PutOutcome::Created = storage.put_if_absent(&key, bytes.into()).await {
            println!("won {key}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_sees_the_old_object_or_the_new_one_whole() {
    let folder = Folder::new();
    let (writer, reader) = (folder.storage("t"), folder.storage("t"));
    writer.put("x", vec![0; 100_000].into()).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "the race needs threads")]
    let writing = tokio::spawn(async move {
        for round in 1..60 {
            writer
                .put("x", vec![round; 100_000 + usize::from(round)].into())
                .await
                .unwrap();
        }
    });
    while !writing.is_finished() {
        let read = reader.get("x").await.unwrap();
        assert_eq!(read.len(), 100_000 + usize::from(read[0]));
        assert!(read.iter().all(|byte| *byte == read[0]));
    }
    writing.await.unwrap();
}

#[tokio::test]
async fn names_are_kept_as_they_are_and_odd_ones_are_passed_over() {
    let folder = Folder::new();
    let storage = folder.storage("t%20 \u{fc}");
    let odd = [
        "p=a%2Fb/%25 x#1",
        "a b/\u{1f9ca}",
        "~`^*?\"<>|\\{}[]",
        "_delta_log/0.json",
    ];
    for key in odd {
        storage.put(key, key.to_owned().into()).await.unwrap();
        assert_eq!(
            std::fs::read(folder.path("t%20 \u{fc}").join(key)).unwrap(),
            key.as_bytes()
        );
        assert_eq!(storage.get(key).await.unwrap(), key);
        let directory = key.rsplit_once('/').map_or("", |(directory, _)| directory);
        assert_eq!(keys(&storage.list(directory, None).await.unwrap()), [key]);
    }
    let root = folder.path("t%20 \u{fc}");
    std::fs::write(root.join("control\u{1}"), "x").unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let not_text = std::ffi::OsStr::from_bytes(b"\xff\xfe");
        std::fs::write(root.join(not_text), "x").unwrap();
    }
    assert_eq!(
        keys(&storage.list("", None).await.unwrap()),
        ["~`^*?\"<>|\\{}[]"]
    );
    // Only files are objects.
    std::fs::create_dir(root.join("folder")).unwrap();
    assert_eq!(storage.head("folder").await.unwrap(), None);
    assert_eq!(
        storage.get("folder").await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(
        storage.get("_delta_log/0.json/x").await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[tokio::test]
async fn a_listing_starts_above_a_key_and_tells_size_and_time_to_the_millisecond() {
    let folder = Folder::new();
    let storage = folder.storage("t");
    let before = Environment::system().now_millis();
    for version in 0..30 {
        storage
            .put(&format!("_delta_log/{version:020}.json"), pattern(version))
            .await
            .unwrap();
    }
    storage
        .put("_delta_log/_sidecars/x", "x".into())
        .await
        .unwrap();
    let after = format!("_delta_log/{:020}.json", 24);
    let listed = storage.list("_delta_log", Some(&after)).await.unwrap();
    assert_eq!(listed.len(), 5);
    assert_eq!(listed[0].key, format!("_delta_log/{:020}.json", 25));
    // The clock of file systems may be some milliseconds behind.
    let now = Environment::system().now_millis();
    for info in &listed {
        assert!(
            (before - 50..=now).contains(&info.modified_millis),
            "{info:?}"
        );
        assert_eq!(storage.head(&info.key).await.unwrap().as_ref(), Some(info));
    }
    assert_eq!(listed[4].size, 29);
    let file = std::fs::File::open(folder.path(&format!("t/{}", listed[0].key))).unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_micros(1_234_567_891);
    file.set_modified(time).unwrap();
    let info = storage.head(&listed[0].key).await.unwrap().unwrap();
    assert_eq!(info.modified_millis, 1_234_567);
}

#[cfg(unix)]
#[tokio::test]
async fn h_3_symbolic_links_do_not_lead_out_of_the_table() {
    use std::os::unix::fs::symlink;
    let folder = Folder::new();
    write(&folder.path("secret/s.parquet"), b"secret");
    write(&folder.path("t/in/x"), b"inside");
    let storage = folder.storage("t");
    symlink(folder.path("secret/s.parquet"), folder.path("t/file")).unwrap();
    symlink(folder.path("secret"), folder.path("t/_delta_log")).unwrap();
    symlink("../../secret", folder.path("t/in/up")).unwrap();
    symlink("in/x", folder.path("t/within")).unwrap();
    symlink("nowhere", folder.path("t/dangling")).unwrap();
    for key in ["file", "_delta_log/s.parquet", "in/up/s.parquet"] {
        for error in [
            storage.get(key).await.unwrap_err(),
            storage.get_range(key, 0..1).await.unwrap_err(),
            storage.get_ranges(key, &[0..1, 2..3]).await.unwrap_err(),
            storage.head(key).await.unwrap_err(),
        ] {
            assert_eq!(error.code(), Code::UnsafePath, "{key}: {error:?}");
            assert!(!format!("{error:?}").contains("secret/"), "{error:?}");
        }
    }
    for key in ["_delta_log/new", "in/up/new", "_delta_log/deep/er/new"] {
        for error in [
            storage.put(key, "x".into()).await.unwrap_err(),
            refused(storage.put_if_absent(key, "x".into()).await),
        ] {
            assert_eq!(error.code(), Code::UnsafePath, "{key}: {error:?}");
        }
    }
    assert_eq!(
        storage.list("_delta_log", None).await.unwrap_err().code(),
        Code::UnsafePath
    );
    assert_eq!(std::fs::read_dir(folder.path("secret")).unwrap().count(), 1);
    assert_eq!(storage.get("within").await.unwrap(), "inside");
    assert_eq!(storage.head("dangling").await.unwrap(), None);
    // Replacing a link replaces the link.
    storage.put("file", "mine".into()).await.unwrap();
    assert_eq!(
        std::fs::read(folder.path("secret/s.parquet")).unwrap(),
        b"secret"
    );
    // The table itself may lie behind a link.
    symlink(folder.path("t"), folder.path("link")).unwrap();
    assert_eq!(folder.storage("link").get("in/x").await.unwrap(), "inside");
}

#[cfg(unix)]
#[tokio::test]
async fn a_pipe_in_the_folder_is_no_object_and_is_not_waited_for() {
    let folder = Folder::new();
    let status = Command::new("mkfifo")
        .arg(folder.path("pipe"))
        .status()
        .unwrap();
    assert!(status.success());
    let storage = folder.storage("");
    assert_eq!(
        storage.get("pipe").await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(storage.list("", None).await.unwrap(), []);
}

#[tokio::test]
async fn g_9_what_a_killed_writer_leaves_is_never_listed_read_or_replaced() {
    let folder = Folder::new();
    let storage = folder.storage("t");
    write(&folder.path("t/_delta_log/.tmp-0123"), b"half");
    storage
        .put("_delta_log/0.json", "whole".into())
        .await
        .unwrap();
    assert_eq!(
        keys(&storage.list("_delta_log", None).await.unwrap()),
        ["_delta_log/0.json"]
    );
    assert_eq!(storage.head("_delta_log/.tmp-0123").await.unwrap(), None);
    assert_eq!(
        storage
            .get("_delta_log/.tmp-0123")
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::NotFound
    );
    assert!(
        storage
            .put("_delta_log/.tmp-0123", "x".into())
            .await
            .is_err()
    );
    assert_eq!(
        std::fs::read(folder.path("t/_delta_log/.tmp-0123")).unwrap(),
        b"half"
    );
}

#[tokio::test]
async fn an_upload_that_is_given_up_leaves_no_file() {
    let folder = Folder::new();
    let storage = folder.storage("t");
    for abort in [true, false] {
        let mut upload = storage.upload("x").await.unwrap();
        upload.write(pattern(20_000_000)).await.unwrap();
        assert_eq!(folder.files().len(), 1);
        if abort {
            upload.abort().await.unwrap();
        } else {
            drop(upload);
            for _ in 0..1000 {
                if folder.files().is_empty() {
                    break;
                }
                Environment::system()
                    .sleep(std::time::Duration::from_millis(2))
                    .await;
            }
        }
        assert_eq!(folder.files(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_folder_that_is_removed_under_an_open_table_is_made_again() {
    let folder = Folder::new();
    let storage = folder.storage("t");
    storage
        .put("_delta_log/0.json", "old".into())
        .await
        .unwrap();
    std::fs::remove_dir_all(folder.path("t")).unwrap();
    assert_eq!(storage.head("_delta_log/0.json").await.unwrap(), None);
    let outcome = storage
        .put_if_absent("_delta_log/0.json", "new".into())
        .await;
    assert!(matches!(outcome, PutOutcome::Created));
    assert_eq!(storage.get("_delta_log/0.json").await.unwrap(), "new");
}

/// Runs one ignored-by-default body of this file in a process of its own, in which no file may grow
/// beyond 64 KiB.
#[cfg(unix)]
#[test]
fn g_1_a_full_disk_is_said_so_and_leaves_nothing_under_a_final_name() {
    let folder = Folder::new();
    // The signal is ignored so that the write fails instead of the process.
    let status = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 128; exec \"$0\" --exact \"$1\"",
        ])
        .arg(std::env::current_exe().unwrap())
        .arg("storage::tests::folder::body_of_g_1")
        .env("HEADWATER_TEST_FULL_DISK", &folder.0)
        .output()
        .unwrap();
    assert!(
        status.status.success(),
        "{}",
        String::from_utf8_lossy(&status.stdout)
    );
    assert_eq!(
        folder.files(),
        ["done", "x"],
        "nothing but what was written whole"
    );
    assert_eq!(std::fs::read(folder.path("x")).unwrap(), b"old");
}

#[cfg(unix)]
#[tokio::test]
async fn body_of_g_1() {
    let Some(path) = std::env::var_os("HEADWATER_TEST_FULL_DISK") else {
        return;
    };
    let storage = Storage::local(FilePath::new(&path), &Environment::system()).unwrap();
    storage.put("x", "old".into()).await.unwrap();
    let large = pattern(1_000_000);
    let mut upload = storage.upload("u").await.unwrap();
    let written = upload.write(pattern(9_000_000)).await;
    let failed = match written {
        Ok(()) => upload.finish().await.unwrap_err(),
        Err(error) => error,
    };
    for error in [
        storage.put("x", large.clone()).await.unwrap_err(),
        storage.put("y", large.clone()).await.unwrap_err(),
        refused(storage.put_if_absent("z", large).await),
        failed,
    ] {
        assert_eq!(
            (error.code(), error.is_retryable()),
            (Code::NoSpace, false),
            "{error:?}"
        );
    }
    for _ in 0..1000 {
        // The upload that failed is cleared away in the background.
        if std::fs::read_dir(&path).unwrap().count() == 1 {
            break;
        }
        Environment::system()
            .sleep(std::time::Duration::from_millis(2))
            .await;
    }
    storage
        .put("done", "small ones still fit".into())
        .await
        .unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn g_4_a_folder_that_is_closed_to_us_is_denied_without_repeats() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let storage = folder.storage("t");
    storage.put("d/x", "x".into()).await.unwrap();
    let directory = folder.path("t/d");
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o555)).unwrap();
    // The superuser may write anywhere: then there is nothing to see.
    if std::fs::write(directory.join("probe"), "").is_err() {
        let error = storage.put("d/y", "y".into()).await.unwrap_err();
        assert_eq!((error.code(), error.is_retryable()), (Code::Denied, false));
        assert_eq!(storage.get("d/x").await.unwrap(), "x");
        assert_eq!(storage.counts().retries, 0);
    }
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn the_folder_lists_like_object_stores_own_store_in_memory() {
    let folder = Folder::new();
    let local = LocalStore::new(&folder.path("t"), &Environment::system()).unwrap();
    let memory = InMemory::new();
    let all = [
        "a", "b/a", "b/c/d", "b/c/e", "b.x", "b/z", "ba", "c/1", "c/2", "d/e/f/g",
    ];
    for key in all {
        let path = Path::parse(key).unwrap();
        local.put(&path, key.into()).await.unwrap();
        memory.put(&path, key.into()).await.unwrap();
    }
    let names = |mut found: Vec<ObjectMeta>| {
        found.sort_by(|a, b| a.location.cmp(&b.location));
        found
            .into_iter()
            .map(|meta| (meta.location.to_string(), meta.size))
            .collect::<Vec<_>>()
    };
    let stores: [&dyn ObjectStore; 2] = [&local, &memory];
    for prefix in ["", "a", "b", "b/c", "c", "d", "nothing"].map(|text| Path::parse(text).unwrap())
    {
        for offset in [
            None,
            Some("a"),
            Some("b"),
            Some("b/c"),
            Some("b/c/d"),
            Some("b/d"),
            Some("c/1"),
            Some("d/e/f/g"),
        ] {
            let mut listed = Vec::new();
            for store in stores {
                let found = match offset {
                    None => store.list(Some(&prefix)),
                    Some(offset) => {
                        store.list_with_offset(Some(&prefix), &Path::parse(offset).unwrap())
                    }
                };
                listed.push(names(found.try_collect().await.unwrap()));
            }
            assert_eq!(listed[0], listed[1], "{prefix} {offset:?}");
        }
        let mut listed = Vec::new();
        for store in stores {
            let found = store.list_with_delimiter(Some(&prefix)).await.unwrap();
            let mut common = found.common_prefixes;
            common.sort();
            listed.push((names(found.objects), common));
        }
        assert_eq!(listed[0], listed[1], "{prefix}");
    }
    let removed = local.delete_stream(futures::stream::iter([Ok(Path::from("a"))]).boxed());
    assert_eq!(
        removed.try_collect::<Vec<_>>().await.unwrap(),
        [Path::from("a")]
    );
    assert!(local.head(&Path::from("a")).await.is_err());
}

#[tokio::test]
async fn a_folder_store_behind_another_store_keeps_its_promises() {
    let folder = Folder::new();
    let local = LocalStore::new(&folder.path("t"), &Environment::system()).unwrap();
    let storage = Storage::new(Arc::new(local), Path::from("below"), &Environment::system());
    storage.put("d/x", pattern(5_000_000)).await.unwrap();
    assert_eq!(storage.get("d/x").await.unwrap(), pattern(5_000_000));
    assert_eq!(
        keys(&storage.list("d", Some("d/w")).await.unwrap()),
        ["d/x"]
    );
    assert_eq!(
        storage
            .get_range("d/x", 0..5_000_001)
            .await
            .unwrap_err()
            .code(),
        Code::DataCorrupt
    );
    assert_eq!(folder.files(), ["t/below/d/x"]);
}
