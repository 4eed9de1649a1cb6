use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;
use crate::protocol::golden;

fn relative(path: &str) -> Option<String> {
    match resolve(path) {
        Ok(FileLocation::Relative(key)) => Some(key),
        _ => None,
    }
}

/// Whether a path can be used as a key at all, which is what every reader and vacuum asks.
fn usable(path: &str) -> bool {
    resolve(path).is_ok_and(|location| location.key().is_ok())
}

#[test]
fn data_files_paths_are_decoded_once() {
    let expected = [
        ("part-0.parquet", "part-0.parquet"),
        ("p=1/part-0.parquet", "p=1/part-0.parquet"),
        ("p=a%253Ab/x", "p=a%3Ab/x"),
        ("p=a%252Fb/x", "p=a%2Fb/x"),
        ("p=%252541/x", "p=%2541/x"),
        ("p=100%/x", "p=100%/x"),
        ("a+b&c=d", "a+b&c=d"),
        ("caf%C3%A9", "caf\u{e9}"),
        ("caf\u{e9}", "caf\u{e9}"),
        ("special%20p@%23h/test1", "special p@#h/test1"),
        ("p=../x", "p=../x"),
        ("...", "..."),
        (".hidden/x", ".hidden/x"),
        ("p=x:y/z", "p=x:y/z"),
        ("_change_data/cdc-0.parquet", "_change_data/cdc-0.parquet"),
        ("a/_delta_log/x", "a/_delta_log/x"),
    ];
    for (path, key) in expected {
        assert_eq!(relative(path).as_deref(), Some(key), "{path}");
    }
}

/// Ways to write a dot, a separator and a step up.
fn escapes() -> BTreeSet<String> {
    let dots = [".", "%2e", "%2E", "%252e", "%252E"];
    let separators = ["/", "%2f", "%2F", "\\", "%5c", "%5C"];
    let mut paths = BTreeSet::new();
    for first in dots {
        for second in dots {
            let up = format!("{first}{second}");
            for separator in separators {
                paths.insert(format!("{up}{separator}secret"));
                paths.insert(format!(
                    "p=1{separator}{up}{separator}{up}{separator}secret"
                ));
                paths.insert(format!("p=1/{up}{separator}x"));
                paths.insert(format!("p=1{separator}{up}"));
            }
            paths.insert(up.clone());
            paths.insert(format!("./{up}"));
        }
        paths.insert(first.to_owned());
        paths.insert(format!("{first}/x"));
        paths.insert(format!("a/{first}/x"));
    }
    paths
}

#[test]
fn h_1_no_path_climbs_out_of_the_table() {
    let mut paths = escapes();
    for control in (0..0x20).chain([0x7f]) {
        paths.insert(format!("a/x%{control:02x}y"));
        paths.insert(format!("a/x%{control:02X}"));
        paths.insert(format!("x{}y", char::from(control)));
    }
    for letter in ('a'..='z').chain('A'..='Z') {
        paths.insert(format!("{letter}:/x"));
        paths.insert(format!("{letter}:\\x"));
        paths.insert(format!("{letter}:x"));
        paths.insert(format!("{letter}%3a/x"));
        paths.insert(format!("{letter}%3A%5Cx"));
    }
    for path in [
        "",
        "/",
        "//",
        "a//b",
        "a/",
        "/a/",
        "a/b//",
        "%c0%ae%c0%ae/x",
        "%ff",
        "a/%2f",
        "a%2fb",
        "%2fetc/passwd",
        "%5c%5chost%5cshare",
        "\\\\host\\share",
        "..\\x",
        "a\\..\\..\\x",
        "%u002e%u002e%2fx",
        "..%00/x",
        "%00",
        "x\u{1f}y",
        "x%7fy",
    ] {
        paths.insert(path.to_owned());
    }
    assert!(500 < paths.len(), "{} vectors", paths.len());
    for path in &paths {
        assert!(!usable(path), "{path:?} is usable");
        assert!(
            resolve_sidecar(path).is_err(),
            "{path:?} is usable as a sidecar"
        );
    }
}

#[test]
fn h_1_every_separator_within_a_segment_is_refused() {
    for prefix in ["", "p=", "p=1/", "p=%2541/"] {
        for separator in ["%2f", "%2F", "%5c", "%5C", "\\"] {
            for suffix in ["", "x", "/x", "..", "../x"] {
                let path = format!("{prefix}a{separator}{suffix}");
                let error = resolve(&path).unwrap_err();
                assert_eq!(
                    (error.kind(), error.code()),
                    (ErrorKind::Corrupt, Code::UnsafePath),
                    "{path}"
                );
            }
        }
    }
}

#[test]
fn h_1_nothing_of_the_log_is_a_data_file() {
    for path in [
        "_delta_log/00000000000000000000.json",
        "_DELTA_LOG/x",
        "%5fdelta_log/x",
        "_delta_log",
        "_delta%5Flog/x",
    ] {
        assert_eq!(
            resolve(path).unwrap_err().code(),
            Code::UnsafePath,
            "{path}"
        );
    }
}

#[test]
fn h_2_what_is_outside_the_table_is_no_key() {
    let schemes = [
        "file", "FILE", "http", "https", "s3", "s3a", "abfss", "gs", "hdfs", "ftp", "memory", "c",
    ];
    let hosts = [
        "",
        "bucket",
        "169.254.169.254",
        "localhost:80",
        "user:secret@host",
        "HOST",
        "[::1]",
    ];
    let tails = [
        "/x.parquet",
        "/latest/meta-data",
        "",
        "/a/../b",
        "/%2e%2e/x",
        "/a?X-Amz-Signature=secret",
        "/a#b",
        "/",
    ];
    let mut count = 0;
    for scheme in schemes {
        for host in hosts {
            for tail in tails {
                for form in [
                    format!("{scheme}://{host}{tail}"),
                    format!("{scheme}:{tail}"),
                    format!("{scheme}:/{tail}"),
                ] {
                    assert!(!usable(&form), "{form}");
                    count += 1;
                }
            }
        }
    }
    for path in [
        "/etc/passwd",
        "//host/share/x",
        "///x",
        "file:x",
        "file:",
        "//",
        "mailto:x@y",
    ] {
        assert!(!usable(path), "{path}");
    }
    assert!(1500 < count);
}

#[test]
fn h_2_messages_repeat_no_path() {
    for path in [
        "https://user:secret@host/x",
        "/home/secret/x",
        "s3://secret/x?sig=secret",
        "../secret",
        "secret%2f",
    ] {
        let error = resolve(path)
            .and_then(|location| location.key().map(str::to_owned))
            .unwrap_err();
        assert_eq!(error.code(), Code::UnsafePath);
        assert!(
            !format!("{error:?} {error}").contains("secret"),
            "{error:?}"
        );
    }
}

#[test]
fn absolute_paths_have_one_spelling_and_become_relative_below_the_root() {
    let same = [
        "/some/with%20space/p@%23h",
        "file:/some/with%20space/p@%23h",
        "file:///some/with space/p%40%23h",
    ];
    let canonical: BTreeSet<String> = same
        .iter()
        .map(|path| resolve(path).unwrap().into_canonical())
        .collect();
    assert_eq!(canonical.len(), 1, "{canonical:?}");
    let location = resolve("s3://bucket/a/table/p=1/x%20y").unwrap();
    assert_eq!(
        location.clone().relative_to("s3://bucket/a/table/"),
        FileLocation::Relative("p=1/x y".into())
    );
    assert_eq!(location.clone().relative_to("s3://bucket/a/tab"), location);
    assert_eq!(
        location.clone().relative_to("s3://bucket2/a/table"),
        location
    );
}

#[test]
fn sidecars_are_names_in_their_directory() {
    assert_eq!(
        resolve_sidecar("a%20b.parquet").unwrap(),
        "_delta_log/_sidecars/a b.parquet"
    );
    for path in [
        "s3://b/table/_delta_log/_sidecars/a%20b.parquet",
        "file:/elsewhere/table/_delta_log/_sidecars/a b.parquet",
        "/elsewhere/table/_delta_log/_sidecars/a%20b.parquet",
    ] {
        assert_eq!(
            resolve_sidecar(path).unwrap(),
            "_delta_log/_sidecars/a b.parquet",
            "{path}"
        );
    }
    for path in [
        "x/y",
        "../x",
        "/x",
        "s3://b/x",
        "s3://b/_delta_log/x",
        "s3://b/x_delta_log/_sidecars/x",
        "s3://b/t/_delta_log/_sidecars/../x",
        "s3://b/t/_delta_log/_sidecars/a/x",
        "s3://b/t/_delta_log/_sidecars/",
        "_delta_log/_sidecars/x",
        "a:b",
        "",
    ] {
        assert!(resolve_sidecar(path).is_err(), "{path}");
    }
}

#[test]
fn paths_are_escaped_as_spark_escapes_them() {
    let text = include_str!("../../../tests/vectors/partition-paths.ndjson");
    for line in text.lines() {
        let vector: serde_json::Value = serde_json::from_str(line).unwrap();
        let directory = partition_directory(&[("p", vector["value"].as_str())]);
        assert_eq!(directory, vector["directory"].as_str().unwrap(), "{line}");
        assert_eq!(
            encode(&directory),
            vector["add_path"].as_str().unwrap(),
            "{line}"
        );
        assert_eq!(relative(&encode(&directory)), Some(directory), "{line}");
    }
}

#[test]
fn paths_that_other_writers_wrote_are_files_or_refused() {
    let Some(lines) = golden::log_lines() else {
        return;
    };
    let mut count = 0;
    for (table, line) in lines {
        let Ok(action) = serde_json::from_str::<serde_json::Value>(&line) else {
            continue;
        };
        let Some(path) = action["add"]["path"].as_str() else {
            continue;
        };
        count += 1;
        // One table of the reference engine does leave its root, and is refused.
        if path.starts_with("..//Users/") {
            assert!(!usable(path));
            continue;
        }
        let location =
            resolve(path).unwrap_or_else(|error| panic!("{}: {path}: {error}", table.display()));
        if let FileLocation::Relative(key) = location {
            assert_eq!(relative(&encode(&key)).as_deref(), Some(key.as_str()));
        }
    }
    assert!(500 < count, "{count}");
}

#[test]
fn directories_of_several_columns_and_of_long_values() {
    let directory = partition_directory(&[("a b", Some("x/y")), ("q=", None), ("r", Some(""))]);
    assert_eq!(
        directory,
        "a b=x%2Fy/q%3D=__HIVE_DEFAULT_PARTITION__/r=__HIVE_DEFAULT_PARTITION__"
    );
    let long = partition_directory(&[("p", Some(&"\u{e9}/".repeat(500))), ("q", Some("1"))]);
    assert!(long.split('/').all(|name| name.len() <= 255), "{long}");
    assert!(long.ends_with("/q=1"));
    assert_eq!(relative(&encode(&long)), Some(long));
}

proptest! {
    #[test]
    fn keys_survive_the_log(values in proptest::collection::vec("\\PC{0,20}", 1..4), name in "[a-z0-9. %:\u{e9}-]{1,20}\\.parquet") {
        let pairs: Vec<_> = values.iter().map(|value| ("p", Some(value.as_str()))).collect();
        let key = format!("{}/{name}", partition_directory(&pairs));
        prop_assert_eq!(relative(&encode(&key)), Some(key));
    }

    #[test]
    fn h_1_whatever_resolves_stays_below_the_root(path in "([a-z.%/\\\\:]|%2[eEfF]|%5[cC]|%25){0,24}") {
        if let Ok(FileLocation::Relative(key)) = resolve(&path) {
            let mut depth = 0_i32;
            for segment in key.split('/') {
                prop_assert!(!segment.is_empty() && segment != ".");
                depth += if segment == ".." { -1 } else { 1 };
                prop_assert!(0 < depth);
            }
            prop_assert!(!key.contains('\\'));
            let resolved = Path::new("/root/table").join(&key);
            prop_assert!(resolved.starts_with("/root/table"));
        }
    }
}

#[test]
fn a_host_is_no_name_below_a_root_without_one() {
    for (path, root) in [
        ("memory://data/te", "memory:///"),
        ("store://other/x", "store:///"),
        ("file://host/x", "file:///"),
    ] {
        if let Ok(location) = resolve(path) {
            assert_eq!(location.clone().relative_to(root), location, "{path}");
        }
    }
    let below = resolve("store:///a/b").unwrap().relative_to("store:///");
    assert_eq!(below, FileLocation::Relative("a/b".to_owned()));
}
