//! The identity of a logical file: its path, decoded, and the id of its deletion vector.
//!
//! Spec: [Add File and Remove File](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#add-file-and-remove-file):
//! paths are URIs, so two spellings of one URI are one file.

use std::borrow::Cow;

use crate::protocol::location::resolve;

/// The key under which adds and removes meet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileKey {
    /// The canonical path: see [`canonical_path`].
    pub(crate) path: String,
    /// The unique id of the deletion vector, if there is one.
    pub(crate) dv: Option<String>,
}

impl FileKey {
    /// The key of a path as it stands in the log.
    pub(crate) fn new(path_in_log: &str, dv: Option<String>) -> Self {
        Self {
            path: canonical_path(path_in_log).into_owned(),
            dv,
        }
    }

    /// The key as one text, different for different keys.
    pub(crate) fn text(&self) -> String {
        match &self.dv {
            Some(dv) => join(&self.path, dv),
            None => self.path.clone(),
        }
    }
}

/// The key of a logical file as one text; borrowed where path and text are the same, as for most files.
pub(crate) fn key_text<'a>(path_in_log: &'a str, dv: Option<&str>) -> Cow<'a, str> {
    let path = canonical_path(path_in_log);
    match dv {
        Some(dv) => Cow::Owned(join(&path, dv)),
        None => path,
    }
}

// A canonical path has no NUL but for one at the start of a path that must not be read, whose rest is escaped.
fn join(path: &str, dv: &str) -> String {
    format!("{path}\0{dv}")
}

/// The path with its spelling taken away: percent-escapes decoded once, `/x`, `file:/x` and `file:///x` made one.
///
/// A path that must not be read (one that leaves the table, say) is a key, too: adds and removes of it meet each other
/// by their exact text and never a file that can be read. Reading it is refused elsewhere.
pub(crate) fn canonical_path(path_in_log: &str) -> Cow<'_, str> {
    if is_plain(path_in_log) {
        return Cow::Borrowed(path_in_log);
    }
    match resolve(path_in_log) {
        Ok(location) => Cow::Owned(location.into_canonical()),
        Err(_) => unreadable(path_in_log),
    }
}

fn unreadable(path_in_log: &str) -> Cow<'_, str> {
    Cow::Owned(format!("\0{}", path_in_log.escape_default()))
}

/// Whether the text is its own canonical form at a glance: the case of nearly every file.
fn is_plain(path: &str) -> bool {
    // At the start of a segment dots and slashes matter.
    let mut previous = b'/';
    for byte in path.bytes() {
        let plain = match byte {
            b'/' | b'.' => previous != b'/',
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'=' => true,
            _ => false,
        };
        if !plain {
            return false;
        }
        previous = byte;
    }
    previous != b'/'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str) -> FileKey {
        FileKey::new(path, None)
    }

    #[test]
    fn two_spellings_of_one_uri_are_one_file() {
        for (one, other) in [
            ("a b", "a%20b"),
            ("p=x%3Ay/f.parquet", "p=x:y/f.parquet"),
            ("%66.parquet", "f.parquet"),
            ("\u{e9}/f", "%C3%A9/f"),
            ("/some/path", "file:/some/path"),
            ("/some/path", "file:///some/path"),
            (
                "/some/with%20space/p@%23h",
                "FILE:/some/with%20space/p@%23h",
            ),
        ] {
            assert_eq!(key(one), key(other));
            assert_eq!(key(one).text(), key_text(other, None));
        }
    }

    #[test]
    fn different_files_have_different_keys() {
        let paths = [
            "a/b",
            "a%2Fb",
            "a%252Fb",
            "a%5Cb",
            "a\\b",
            "a//b",
            "a/./b",
            "a/../b",
            "a/%2e%2e/b",
            "./a/b",
            "../a/b",
            "/a/b",
            "s3://a/b",
            "s3:/a/b2",
            "gs://a/b",
            "a/b/",
            "a/b%00",
            "a/b\0",
            "",
            "a%FFb",
            "A/b",
            "a/b%20",
            "a/b%2520",
        ];
        for (i, one) in paths.iter().enumerate() {
            for other in paths.iter().skip(i + 1) {
                assert_ne!(key(one), key(other), "{one:?} {other:?}");
                assert_ne!(key(one).text(), key(other).text(), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn the_deletion_vector_is_half_of_the_key() {
        let with = |dv: &str| FileKey::new("a", Some(dv.to_owned()));
        assert_ne!(with("u1").text(), key("a").text());
        assert_ne!(with("u1").text(), with("u1@0").text());
        assert_eq!(with("u1").text(), key_text("%61", Some("u1")));
        assert_ne!(with("u1").text(), key("a\0u1").text());
    }

    #[test]
    fn plain_paths_are_not_copied() {
        let path = "p=1/part-00000-80a083e8-7026.c000.zstd.parquet";
        assert!(matches!(key_text(path, None), Cow::Borrowed(_)));
    }
}
