//! Paths that lead out of the table (faults H-1, H-2), wherever a log can name one, each through a real read of a table
//! on a disk that has canaries wherever such a path could lead.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use headwater::protocol::deletion_vector::{FILE_VERSION, encode};
use headwater::{Code, Error, ErrorKind, Result, Table};
use roaring::RoaringTreemap;
use serde_json::{Value as Json, json};

use super::{SCHEMA, add, full_text, metadata, parquet, protocol, text};
use crate::support::{block_on, ids_of};

/// The id that stands only in files outside of the table.
const CANARY: i64 = 666;
/// A UUID in base 85, and as it stands in names of files.
const UUID: (&str, &str) = (
    "^-aqEH.-t@S}K{vb[*k^",
    "d2c639aa-8816-431a-aaf6-d3fe2512ff61",
);

/// A folder with a table in it, and canaries beside and above.
struct Place {
    root: PathBuf,
    table: PathBuf,
}

impl Place {
    fn new(name: &str) -> Self {
        let name = format!("headwater-paths-{name}-{}", std::process::id());
        let root = std::env::temp_dir().join(name);
        let table = root.join("above/table");
        fs::create_dir_all(table.join("_delta_log/_sidecars")).unwrap();
        // Directories through which a path could climb.
        for directory in ["p=1", "a", "v", "%2e%2e"] {
            fs::create_dir_all(table.join(directory)).unwrap();
        }
        fs::write(table.join("a.parquet"), parquet(1..=3)).unwrap();
        Self { root, table }
    }

    /// Puts these bytes wherever a path of the vectors could lead.
    fn canaries(&self, bytes: &[u8]) {
        let vector = format!("deletion_vector_{}.bin", UUID.1);
        for directory in [
            &self.root,
            &self.root.join("above"),
            &self.table.join("_delta_log"),
            &self.table.join("_delta_log/_sidecars"),
        ] {
            for name in ["secret", "x", "x.parquet", "passwd", vector.as_str()] {
                fs::write(directory.join(name), bytes).unwrap();
            }
        }
    }

    fn log(&self, name: &str, actions: &[Json]) {
        let place = self.table.join("_delta_log").join(name);
        fs::write(place, text(actions)).unwrap();
    }

    fn commit(&self, version: u64, actions: &[Json]) {
        self.log(&format!("{version:020}.json"), actions);
    }

    async fn open(&self) -> Result<Table> {
        Table::open(self.table.to_str().unwrap()).await
    }

    async fn rows(&self) -> Result<Vec<i64>> {
        ids_of(&self.open().await?.snapshot()).await
    }

    /// The number of changes of a version.
    async fn changes(&self, version: u64) -> Result<Vec<i64>> {
        let changes = self.open().await?.changes(version).collect().await?;
        Ok(changes
            .iter()
            .map(|batch| batch.num_rows() as i64)
            .collect())
    }

    /// Ways to name what is outside, from within.
    fn vectors(&self) -> Vec<String> {
        let mut vectors = climbing();
        vectors.extend(hidden());
        vectors.extend(foreign());
        let root = self.root.to_str().unwrap();
        for target in ["above/secret", "secret", "above/table/../secret", "x"] {
            for scheme in ["", "file:", "file://", "FILE://", "file://localhost", "//"] {
                vectors.insert(format!("{scheme}{root}/{target}"));
                vectors.insert(format!("{scheme}{}/{target}", root.replace('/', "%2f")));
            }
        }
        assert!(500 <= vectors.len(), "{} vectors", vectors.len());
        vectors.into_iter().collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What is left behind in a folder for temporary files harms nobody.
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Steps up, with every spelling of dots and separators.
fn climbing() -> BTreeSet<String> {
    let dots = [".", "%2e", "%2E", "%252e", "%252E"];
    let separators = ["/", "%2f", "%2F", "\\", "%5c", "%5C"];
    let mut paths = BTreeSet::new();
    for first in dots {
        for second in dots {
            let up = format!("{first}{second}");
            for separator in separators {
                paths.insert(format!("{up}{separator}secret"));
                paths.insert(format!("{up}{separator}{up}{separator}secret"));
                paths.insert(format!(
                    "p=1{separator}{up}{separator}{up}{separator}secret"
                ));
                paths.insert(format!("p=1/{up}{separator}x"));
            }
            paths.insert(format!("./{up}/secret"));
            paths.insert(format!("a/{up}/a.parquet"));
        }
        paths.insert(format!("{first}/a.parquet"));
        paths.insert(format!("a/{first}/x"));
    }
    paths
}

/// Control characters, drives, hosts, and segments without a name.
fn hidden() -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for control in (0..0x20).chain([0x7f]) {
        paths.insert(format!("a/x%{control:02x}y"));
        paths.insert(format!("../secret%{control:02X}"));
    }
    for letter in ('a'..='z').chain('A'..='Z') {
        paths.insert(format!("{letter}:/x"));
        paths.insert(format!("{letter}:\\x"));
        paths.insert(format!("{letter}%3A%5Cx"));
    }
    let others = [
        "",
        "/",
        "//",
        "a//x",
        "a/",
        "%c0%ae%c0%ae/secret",
        "%ff",
        "a/%2f",
        "%2fetc/passwd",
        "%5c%5chost%5cshare",
        "\\\\host\\share",
        "/etc/passwd",
        "//host/share/x",
        "///x",
        "%u002e%u002e%2fsecret",
        "..%00/secret",
        "%00",
        "_delta_log/secret",
        "_DELTA_LOG/x",
        "%5fdelta_log/secret",
        "_delta_log/_sidecars/secret",
    ];
    paths.extend(others.map(str::to_owned));
    paths
}

/// Other places.
fn foreign() -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for scheme in [
        "http", "https", "s3", "s3a", "abfss", "gs", "hdfs", "memory",
    ] {
        for host in [
            "",
            "bucket",
            "169.254.169.254",
            "localhost:80",
            "user:secret@host",
        ] {
            for tail in [
                "/x.parquet",
                "/latest/meta-data",
                "/a/../x",
                "/x?sig=secret",
            ] {
                paths.insert(format!("{scheme}://{host}{tail}"));
            }
        }
    }
    paths
}

/// A refusal for the path itself, which repeats nothing of it.
fn assert_refused<T: std::fmt::Debug>(read: Result<T>, place: &Place, path: &str) {
    match read {
        Ok(found) => panic!("{path:?} was followed: {found:?}"),
        Err(error) => {
            assert_eq!(
                (error.kind(), error.code()),
                (ErrorKind::Corrupt, Code::UnsafePath),
                "{path:?}: {error:?}"
            );
            assert_silent(&error, place, path);
        }
    }
}

fn assert_silent(error: &Error, place: &Place, path: &str) {
    let told = full_text(error);
    let root = place.root.to_str().unwrap();
    assert!(
        !told.contains("secret") && !told.contains(root),
        "{path:?}: {told}"
    );
}

fn with_feed() -> Json {
    let mut metadata = metadata(SCHEMA);
    metadata["metaData"]["configuration"] = json!({"delta.enableChangeDataFeed": "true"});
    metadata
}

#[test]
fn h_1_no_added_file_is_read_outside_of_the_table() {
    let place = Place::new("add");
    let outside = parquet([CANARY]);
    place.canaries(&outside);
    place.commit(0, &[protocol(1, 2), metadata(SCHEMA)]);
    block_on(async {
        place.commit(1, &[add("a.parquet", parquet(1..=3).len())]);
        assert_eq!(place.rows().await.unwrap(), [1, 2, 3]);
        for path in place.vectors() {
            place.commit(1, &[add(&path, outside.len())]);
            assert_refused(place.rows().await, &place, &path);
        }
    });
}

#[test]
fn h_1_no_removed_file_and_no_change_file_is_read_outside_of_the_table() {
    let place = Place::new("changes");
    let outside = parquet([CANARY]);
    place.canaries(&outside);
    place.commit(0, &[protocol(1, 4), with_feed()]);
    place.commit(1, &[add("a.parquet", parquet(1..=3).len())]);
    block_on(async {
        let remove = |path: &str, size: usize| {
            json!({"remove": {
                "path": path, "partitionValues": {}, "size": size, "deletionTimestamp": 0, "dataChange": true,
                "extendedFileMetadata": true,
            }})
        };
        place.commit(2, &[remove("a.parquet", parquet(1..=3).len())]);
        assert_eq!(place.changes(2).await.unwrap(), [3]);
        for path in place.vectors() {
            place.commit(2, &[remove(&path, outside.len())]);
            assert_refused(place.changes(2).await, &place, &path);
            let cdc = json!({"cdc": {
                "path": path, "partitionValues": {}, "size": outside.len(), "dataChange": false,
            }});
            place.commit(2, &[cdc]);
            assert_refused(place.changes(2).await, &place, &path);
        }
    });
}

/// A file of one vector, which deletes the second row, and the size of the vector.
fn vector_file() -> (Vec<u8>, usize) {
    let data = encode(&RoaringTreemap::from_iter([1_u64]));
    let mut file = vec![FILE_VERSION];
    file.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
    file.extend(&data);
    file.extend(crc32fast::hash(&data).to_be_bytes());
    (file, data.len())
}

#[test]
fn h_1_no_deletion_vector_is_read_outside_of_the_table() {
    let place = Place::new("vectors");
    let (file, size) = vector_file();
    place.canaries(&file);
    let features = json!({"protocol": {
        "minReaderVersion": 3, "minWriterVersion": 7,
        "readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"],
    }});
    place.commit(0, &[features, metadata(SCHEMA)]);
    let marked = |storage: &str, path: &str| {
        let mut add = add("a.parquet", parquet(1..=3).len());
        add["add"]["stats"] = json!("{\"numRecords\":3}");
        add["add"]["deletionVector"] = json!({
            "storageType": storage, "pathOrInlineDv": path, "offset": 1, "sizeInBytes": size, "cardinality": 1,
        });
        add
    };
    block_on(async {
        // The vectors themselves are sound: within the table they are read.
        let name = format!("deletion_vector_{}.bin", UUID.1);
        fs::write(place.table.join("v").join(name), &file).unwrap();
        fs::write(place.table.join("v/x"), &file).unwrap();
        let inside = [("u", format!("v{}", UUID.0)), ("p", "v/x".to_owned())];
        for (storage, path) in inside {
            place.commit(1, &[marked(storage, &path)]);
            assert_eq!(place.rows().await.unwrap(), [1, 3], "{path}");
        }
        for path in place.vectors() {
            place.commit(1, &[marked("p", &path)]);
            assert_refused(place.rows().await, &place, &path);
            // As the directory before the name; some then are odd names within the table, where no file is.
            let directory = path.rsplit_once(['/', '\\']).map_or(&*path, |(up, _)| up);
            if directory.is_empty() {
                continue;
            }
            place.commit(1, &[marked("u", &format!("{directory}{}", UUID.0))]);
            match place.rows().await {
                Ok(found) => panic!("{path:?} was followed: {found:?}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{path:?}: {error:?}"),
            }
        }
    });
}

#[test]
fn h_1_no_sidecar_is_read_outside_of_its_directory() {
    let place = Place::new("sidecars");
    place.commit(0, &[protocol(1, 2), metadata(SCHEMA)]);
    place.commit(1, &[add("a.parquet", parquet(1..=3).len())]);
    let name = format!(
        "{:020}.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json",
        1
    );
    let features = json!({"protocol": {
        "minReaderVersion": 3, "minWriterVersion": 7,
        "readerFeatures": ["v2Checkpoint"], "writerFeatures": ["v2Checkpoint"],
    }});
    block_on(async {
        // A checkpoint of the same files will do as a sidecar.
        place.open().await.unwrap().checkpoint().await.unwrap();
        let log = place.table.join("_delta_log");
        let classic = log.join(format!("{:020}.checkpoint.parquet", 1));
        let sidecar = fs::read(&classic).unwrap();
        fs::remove_file(classic).unwrap();
        fs::remove_file(log.join("_last_checkpoint")).unwrap();
        let checkpoint = |path: &str| {
            [
                json!({"checkpointMetadata": {"version": 1}}),
                features.clone(),
                metadata(SCHEMA),
                json!({"sidecar": {"path": path, "sizeInBytes": sidecar.len(), "modificationTime": 0}}),
            ]
        };
        // Without the commits that the checkpoint stands for, and with them.
        for whole in [false, true] {
            for version in 0..2 {
                let commit = log.join(format!("{version:020}.json"));
                match whole {
                    true if version == 0 => place.commit(0, &[protocol(1, 2), metadata(SCHEMA)]),
                    true => place.commit(1, &[add("a.parquet", parquet(1..=3).len())]),
                    false => fs::remove_file(commit).unwrap(),
                }
            }
            fs::write(log.join("_sidecars/s.parquet"), &sidecar).unwrap();
            place.log(&name, &checkpoint("s.parquet"));
            assert_eq!(place.rows().await.unwrap(), [1, 2, 3]);
            place.canaries(&sidecar);
            for path in place.vectors() {
                place.log(&name, &checkpoint(&path));
                assert_refused(place.rows().await, &place, &path);
            }
        }
    });
}
