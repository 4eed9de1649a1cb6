//! Names in `_delta_log`, as types.
//!
//! Spec: [Delta Log Entries](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#delta-log-entries),
//! [Checkpoint Naming Scheme](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#checkpoint-naming-scheme).

use uuid::Uuid;

use crate::error::{Code, Error, Result};
use crate::protocol::{VERSION_MAX, Version};

/// The directory of the log, relative to the table root.
pub(crate) const LOG_DIRECTORY: &str = "_delta_log";

/// The key of the hint that names the newest checkpoint.
pub(crate) const LAST_CHECKPOINT_KEY: &str = "_delta_log/_last_checkpoint";

/// The most parts that a multi-part checkpoint may claim to have: no writer makes nearly as many, and the claim sizes
/// what a listing must hold.
const PARTS_MAX: u32 = 100_000;

/// What a name in `_delta_log` stands for. Other names belong to nobody: they are neither read nor trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogPath {
    /// `<version>.json`
    Commit { version: Version },
    /// `<version>.checkpoint.….parquet` or `….json`
    Checkpoint {
        version: Version,
        kind: CheckpointKind,
    },
    /// `<from>.<to>.compacted.json`: the commits of a range in one file. Optional to read, and not read here.
    Compacted { from: Version, to: Version },
    /// `<version>.crc`
    Checksum { version: Version },
}

/// How a checkpoint is laid out in files. The order is the order of preference at one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CheckpointKind {
    /// One file with the classic name; its content is V1 or V2.
    Classic,
    /// One part of several; all of the same count make a checkpoint. `part` counts from 1.
    Multi { part: u32, parts: u32 },
    /// A file with a unique name, V2.
    Uuid { id: Uuid, json: bool },
}

impl LogPath {
    /// What the object with this key, relative to the table root, stands for.
    pub(crate) fn of_key(key: &str) -> Option<Self> {
        Self::parse(key.strip_prefix(LOG_DIRECTORY)?.strip_prefix('/')?)
    }

    /// What `name`, the last segment of a key, stands for. Only the exact grammar is accepted, so that temporary files,
    /// copies and backups beside the log never become part of it.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (digits, rest) = name.split_at_checked(20)?;
        let version = parse_version(digits)?;
        match rest {
            ".json" => return Some(Self::Commit { version }),
            ".crc" => return Some(Self::Checksum { version }),
            ".checkpoint.parquet" => {
                return Some(Self::Checkpoint {
                    version,
                    kind: CheckpointKind::Classic,
                });
            }
            _ => {}
        }
        if let Some(middle) = rest.strip_prefix(".checkpoint.") {
            return parse_checkpoint(middle).map(|kind| Self::Checkpoint { version, kind });
        }
        let to = parse_version(rest.strip_prefix('.')?.strip_suffix(".compacted.json")?)?;
        (version < to).then_some(Self::Compacted { from: version, to })
    }
}

/// The key of a commit.
pub(crate) fn commit_key(version: Version) -> String {
    format!("{LOG_DIRECTORY}/{version:020}.json")
}

/// The key of a checkpoint in one file with the classic name.
pub(crate) fn checkpoint_key(version: Version) -> String {
    format!("{LOG_DIRECTORY}/{version:020}.checkpoint.parquet")
}

/// A key that sorts before every file of `version` and after every file of the versions before.
pub(crate) fn version_prefix_key(version: Version) -> String {
    format!("{LOG_DIRECTORY}/{version:020}")
}

/// The version after `version`.
///
/// # Errors
///
/// [`Code::LimitExceeded`] after the last version there can be.
pub(crate) fn next_version(version: Version) -> Result<Version> {
    version
        .checked_add(1)
        .filter(|next| *next <= VERSION_MAX)
        .ok_or_else(|| {
            Error::invalid(
                Code::LimitExceeded,
                "there is no version after the last one",
            )
            .with("version", version)
            .with("limit", VERSION_MAX)
        })
}

/// Exactly 20 digits, and a version that other engines can hold.
fn parse_version(digits: &str) -> Option<Version> {
    all_digits(digits, 20)?
        .parse()
        .ok()
        .filter(|version| *version <= VERSION_MAX)
}

fn parse_checkpoint(middle: &str) -> Option<CheckpointKind> {
    let (stem, extension) = middle.rsplit_once('.')?;
    if let Some((part, parts)) = stem.split_once('.') {
        let part: u32 = all_digits(part, 10)?.parse().ok()?;
        let parts: u32 = all_digits(parts, 10)?.parse().ok()?;
        let valid = extension == "parquet" && 1 <= part && part <= parts && parts <= PARTS_MAX;
        return valid.then_some(CheckpointKind::Multi { part, parts });
    }
    let json = match extension {
        "json" => true,
        "parquet" => false,
        _ => return None,
    };
    // The hyphenated form only: `Uuid` reads others, too.
    let id = Uuid::try_parse(stem).ok().filter(|_| stem.len() == 36)?;
    Some(CheckpointKind::Uuid { id, json })
}

fn all_digits(text: &str, length: usize) -> Option<&str> {
    (text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_protocol_says() {
        let id = "80a083e8-7026-4e79-81be-64bd76c43a11";
        let checkpoint = |version, kind| Some(LogPath::Checkpoint { version, kind });
        let cases = [
            (
                "00000000000000000000.json".to_owned(),
                Some(LogPath::Commit { version: 0 }),
            ),
            (
                "00000000000000000042.crc".to_owned(),
                Some(LogPath::Checksum { version: 42 }),
            ),
            (
                "09223372036854775807.json".to_owned(),
                Some(LogPath::Commit {
                    version: VERSION_MAX,
                }),
            ),
            (
                "00000000000000000007.checkpoint.parquet".to_owned(),
                checkpoint(7, CheckpointKind::Classic),
            ),
            (
                "00000000000000000007.checkpoint.0000000002.0000000003.parquet".to_owned(),
                checkpoint(7, CheckpointKind::Multi { part: 2, parts: 3 }),
            ),
            (
                format!("00000000000000000007.checkpoint.{id}.json"),
                checkpoint(
                    7,
                    CheckpointKind::Uuid {
                        id: Uuid::parse_str(id).unwrap(),
                        json: true,
                    },
                ),
            ),
            (
                format!("00000000000000000007.checkpoint.{id}.parquet"),
                checkpoint(
                    7,
                    CheckpointKind::Uuid {
                        id: Uuid::parse_str(id).unwrap(),
                        json: false,
                    },
                ),
            ),
            (
                "00000000000000000004.00000000000000000006.compacted.json".to_owned(),
                Some(LogPath::Compacted { from: 4, to: 6 }),
            ),
        ];
        for (name, expected) in cases {
            assert_eq!(LogPath::parse(&name), expected, "{name}");
        }
    }

    #[test]
    fn b_21_junk_beside_the_log_is_not_part_of_it() {
        for name in [
            "",
            ".json",
            "_last_checkpoint",
            "0000000000000000000.json",
            "000000000000000000000.json",
            "00000000000000000001.json.tmp",
            ".00000000000000000001.json",
            "._00000000000000000001.json",
            "00000000000000000001.json#1",
            "00000000000000000001.json.crc",
            "00000000000000000001-copy.json",
            "00000000000000000001.JSON",
            "00000000000000000001",
            "00000000000000000001.",
            "0000000000000000000a.json",
            "+0000000000000000001.json",
            "\u{0661}0000000000000000000.json",
            "09223372036854775808.json",
            "99999999999999999999.json",
            "00000000000000000001.checkpoint",
            "00000000000000000001.checkpoint.parquet.tmp",
            "00000000000000000001.checkpoint.json",
            "00000000000000000001.checkpoint..parquet",
            "00000000000000000001.checkpoint.0000000000.0000000002.parquet",
            "00000000000000000001.checkpoint.0000000003.0000000002.parquet",
            "00000000000000000001.checkpoint.1.2.parquet",
            "00000000000000000001.checkpoint.0000000001.0000000002.json",
            "00000000000000000001.checkpoint.0000000001.9999999999.parquet",
            "00000000000000000001.checkpoint.80a083e870264e7981be64bd76c43a11.parquet",
            "00000000000000000001.checkpoint.tmp.parquet",
            "00000000000000000006.00000000000000000004.compacted.json",
            "00000000000000000004.00000000000000000004.compacted.json",
            "00000000000000000004.6.compacted.json",
            "00000000000000000001.80a083e8-7026-4e79-81be-64bd76c43a11.json",
        ] {
            assert_eq!(LogPath::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_17_version_numbers_do_not_wrap() {
        assert_eq!(next_version(0).unwrap(), 1);
        assert_eq!(next_version(1 << 53).unwrap(), (1 << 53) + 1);
        assert_eq!(next_version(VERSION_MAX - 1).unwrap(), VERSION_MAX);
        for last in [VERSION_MAX, Version::MAX] {
            assert_eq!(next_version(last).unwrap_err().code(), Code::LimitExceeded);
        }
    }

    #[test]
    fn keys_parse_back() {
        for version in [0, 9, 1 << 53, VERSION_MAX] {
            let key = commit_key(version);
            let name = key.strip_prefix("_delta_log/").unwrap();
            assert_eq!(LogPath::parse(name), Some(LogPath::Commit { version }));
            assert!(version_prefix_key(version) < key);
            assert!(version_prefix_key(version) < checkpoint_key(version));
        }
    }
}
