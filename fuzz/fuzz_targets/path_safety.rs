//! Paths in a log: a file below the root of the table, or one that nobody reads unasked.
#![no_main]

use std::path::{Component, Path};

use headwater::protocol::location::{FileLocation, encode, resolve, resolve_sidecar};
use headwater_fuzz::start;
use libfuzzer_sys::fuzz_target;

/// Every part of the path is a name.
fn check(key: &str) {
    assert!(!key.is_empty());
    assert!(!key.contains('\0'), "{key:?}");
    for part in key.split('/') {
        assert!(!matches!(part, "" | "." | ".."), "{key:?}");
    }
    let mut parts = Path::new(key).components();
    assert!(
        parts.all(|part| matches!(part, Component::Normal(_))),
        "{key:?}"
    );
}

fuzz_target!(init: start(), |text: &str| {
    if let Ok(location) = resolve(text) {
        match &location {
            FileLocation::Relative(key) => {
                check(key);
                assert_eq!(location.key().expect("it is below the table"), key);
                let again = resolve(&encode(key)).expect("what is written can be read");
                assert_eq!(again, location);
            }
            FileLocation::Absolute(_) => assert!(location.key().is_err()),
        }
        for root in ["file:///data/table", "s3://bucket", "memory:///", ""] {
            if let FileLocation::Relative(key) = location.clone().relative_to(root)
                && matches!(location, FileLocation::Absolute(_))
            {
                // What a caller allowed: it is checked once more where it is read, so no part may lead up.
                assert!(location.canonical().starts_with(root), "{root} {key:?}");
                assert!(location.canonical().ends_with(&key));
            }
        }
    }
    if let Ok(key) = resolve_sidecar(text) {
        check(&key);
        assert!(key.starts_with("_delta_log/_sidecars/"), "{key:?}");
    }
});
