//! `_last_checkpoint`: where to start listing. A hint and no more: it may be missing, stale, torn, or a lie.
//!
//! Spec: [Last Checkpoint File](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#last-checkpoint-file).

use std::collections::BTreeMap;
use std::fmt::Write;

use md5::{Digest, Md5};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use crate::error::{Code, ErrorKind, Result};
use crate::log::path::LAST_CHECKPOINT_KEY;
use crate::log::segment;
use crate::protocol::json::{JSON_DEPTH_MAX, depth_within};
use crate::protocol::{VERSION_MAX, Version};
use crate::storage::Storage;

/// The largest hint that is read: some writers embed the schema of the checkpoint, or parts of it.
const BYTES_MAX: u64 = 16 << 20;

/// What the hint says of the checkpoint it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastCheckpoint {
    /// Its version.
    pub(crate) version: Version,
    /// How many actions it holds.
    pub(crate) size: Option<u64>,
    /// In how many parts it was written, if in several.
    pub(crate) parts: Option<u32>,
    /// Its bytes.
    pub(crate) size_in_bytes: Option<u64>,
    /// How many of its actions are adds.
    pub(crate) num_of_add_files: Option<u64>,
}

impl LastCheckpoint {
    /// The hint for a checkpoint in one file.
    pub(crate) fn of(version: Version, actions: u64, bytes: u64, adds: u64) -> Self {
        Self {
            version,
            size: Some(actions),
            parts: None,
            size_in_bytes: Some(bytes),
            num_of_add_files: Some(adds),
        }
    }

    /// Makes this the hint, unless a newer checkpoint is named already and is there.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`] if the store fails.
    pub(crate) async fn publish(&self, storage: &Storage) -> Result<()> {
        if let Some(current) = read(storage).await?
            && self.version < current.version
            && segment::has_checkpoint_from(storage, current.version).await?
        {
            return Ok(());
        }
        storage
            .put(LAST_CHECKPOINT_KEY, self.to_json().into())
            .await
    }

    pub(crate) fn to_json(&self) -> String {
        let mut members = vec![format!("\"version\":{}", self.version)];
        let numbers = [
            ("size", self.size),
            ("parts", self.parts.map(u64::from)),
            ("sizeInBytes", self.size_in_bytes),
            ("numOfAddFiles", self.num_of_add_files),
        ];
        members.extend(
            numbers
                .into_iter()
                .filter_map(|(name, number)| Some(format!("\"{name}\":{}", number?))),
        );
        let body = members.join(",");
        match checksum(&format!("{{{body}}}")) {
            Some(checksum) => format!("{{{body},\"checksum\":\"{checksum}\"}}"),
            None => format!("{{{body}}}"),
        }
    }

    /// The hint in a file's bytes; `None` if they cannot be trusted to be one.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        if !text.trim_ascii_start().starts_with('{') || !depth_within(bytes, JSON_DEPTH_MAX) {
            return None;
        }
        let stored: Stored = serde_json::from_str(text).ok()?;
        if stored.checksum.is_some() && stored.checksum != checksum(text) {
            return None;
        }
        let version = u64::try_from(stored.version)
            .ok()
            .filter(|version| *version <= VERSION_MAX)?;
        let count = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        Some(Self {
            version,
            size: count(stored.size),
            parts: count(stored.parts).and_then(|parts| u32::try_from(parts).ok()),
            size_in_bytes: count(stored.size_in_bytes),
            num_of_add_files: count(stored.num_of_add_files),
        })
    }
}

/// Reads the hint. `None` if there is none that can be trusted; then the log is listed from its start.
///
/// # Errors
///
/// [`ErrorKind::Storage`] if the store fails. What the file holds is never an error.
pub(crate) async fn read(storage: &Storage) -> Result<Option<LastCheckpoint>> {
    let table = storage.location();
    match storage.get_limited(LAST_CHECKPOINT_KEY, BYTES_MAX).await {
        Ok(bytes) => {
            let hint = LastCheckpoint::parse(&bytes);
            if hint.is_none() {
                tracing::warn!(table, "hint_ignored: _last_checkpoint cannot be understood");
            }
            Ok(hint)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.code() == Code::LimitExceeded => {
            tracing::warn!(table, "hint_ignored: _last_checkpoint is too large");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    version: i64,
    #[serde(default)]
    size: Option<i64>,
    #[serde(default)]
    parts: Option<i64>,
    #[serde(default)]
    size_in_bytes: Option<i64>,
    #[serde(default)]
    num_of_add_files: Option<i64>,
    #[serde(default)]
    checksum: Option<String>,
}

/// All bytes but the unreserved ones.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The checksum of a hint: MD5 of its canonical form. `None` if it has none, because a key is there twice, say.
///
/// Spec: [JSON checksum](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#json-checksum).
fn checksum(json: &str) -> Option<String> {
    let canonical = canonical(json)?;
    let mut hex = String::with_capacity(32);
    for byte in Md5::digest(canonical.as_bytes()) {
        write!(hex, "{byte:02x}").ok()?;
    }
    Some(hex)
}

fn canonical(json: &str) -> Option<String> {
    let mut leaves = BTreeMap::new();
    collect_leaves("", json, &mut leaves)?;
    let pairs: Vec<String> = leaves
        .into_iter()
        .map(|(path, value)| format!("{path}={value}"))
        .collect();
    Some(pairs.join(","))
}

/// Collects the canonical leaves of a value under their canonical paths. The depth of `json` is bounded by the caller.
fn collect_leaves(path: &str, json: &str, leaves: &mut BTreeMap<String, String>) -> Option<()> {
    let below = |name: &str| match path {
        "" => name.to_owned(),
        _ => format!("{path}+{name}"),
    };
    match json.as_bytes().first()? {
        b'{' => {
            let Members(members) = serde_json::from_str(json).ok()?;
            for (key, value) in members {
                if !(path.is_empty() && key == "checksum") {
                    collect_leaves(&below(&quoted(&key)), value.get(), leaves)?;
                }
            }
        }
        b'[' => {
            let elements: Vec<&RawValue> = serde_json::from_str(json).ok()?;
            for (index, value) in elements.into_iter().enumerate() {
                collect_leaves(&below(&index.to_string()), value.get(), leaves)?;
            }
        }
        b'"' => {
            let text: String = serde_json::from_str(json).ok()?;
            leaves.insert(path.to_owned(), quoted(&text));
        }
        _ => {
            leaves.insert(path.to_owned(), json.to_owned());
        }
    }
    Some(())
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", utf8_percent_encode(text, RESERVED))
}

/// The members of an object; a key that is there twice is an error.
struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if members.insert(key, value).is_some() {
                        return Err(de::Error::custom("a key is there twice"));
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::log::path::checkpoint_key;

    /// The example of the protocol.
    const SPEC: &str = r#"{"k0":"'v 0'", "checksum": "adsaskfljadfkjadfkj", "k1":{"k2": 2, "k3": ["v3", [1, 2], {"k4": "v4", "k5": ["v5", "v6", "v7"]}]}}"#;

    #[test]
    fn the_checksum_is_the_one_of_the_protocol() {
        let expected = concat!(
            r#""k0"="%27v%200%27","k1"+"k2"=2,"k1"+"k3"+0="v3","k1"+"k3"+1+0=1,"k1"+"k3"+1+1=2,"#,
            r#""k1"+"k3"+2+"k4"="v4","k1"+"k3"+2+"k5"+0="v5","k1"+"k3"+2+"k5"+1="v6","k1"+"k3"+2+"k5"+2="v7""#
        );
        assert_eq!(canonical(SPEC).unwrap(), expected);
        assert_eq!(checksum(SPEC).unwrap(), "6a92d155a59bf2eecbd4b4ec7fd1f875");
        let literals =
            r#"{"b": {"y": null, "x": "https://delta.io"}, "a": 10, "c": 1.50, "d": {}}"#;
        let canonical_form = r#""a"=10,"b"+"x"="https%3A%2F%2Fdelta.io","b"+"y"=null,"c"=1.50"#;
        assert_eq!(canonical(literals).unwrap(), canonical_form);
        assert_eq!(checksum(r#"{"a":1,"a":1}"#), None);
    }

    #[test]
    fn hints_of_other_writers_are_understood() {
        let old =
            LastCheckpoint::parse(br#"{"size":8,"size_in_bytes":21857,"version":1}"#).unwrap();
        assert_eq!(
            (old.version, old.size, old.size_in_bytes),
            (1, Some(8), None)
        );
        let nulls = LastCheckpoint::parse(br#"{"parts":null,"size":20622,"version":1}"#).unwrap();
        assert_eq!((nulls.parts, nulls.size), (None, Some(20622)));
        // As Delta Spark 3 wrote it, checksum included.
        let spark = concat!(
            r#"{"version":0,"size":6,"sizeInBytes":9889,"numOfAddFiles":2,"v2Checkpoint":{"path":"000000"#,
            r#"00000000000000.checkpoint.0e42c15b-17cc-4918-990d-2ff76e918e4d.json","sizeInBytes":686,"#,
            r#""modificationTime":1739329764061,"nonFileActions":[{"protocol":{"minReaderVersion":3,"#,
            r#""minWriterVersion":7,"readerFeatures":["v2Checkpoint"],"writerFeatures":["v2Checkpoint","#,
            r#""appendOnly","invariants"]}},{"metaData":{"id":"f03ce383-0d09-4e1c-9446-8d80e1a59daa","#,
            r#""format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\","#,
            r#"\"fields\":[{\"name\":\"id\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}}]}","#,
            r#""partitionColumns":[],"configuration":{"delta.checkpointPolicy":"v2"},"createdTime":"#,
            r#"1739329763101}},{"checkpointMetadata":{"version":0}}],"sidecarFiles":[{"path":"00000000"#,
            r#"000000000000.checkpoint.0000000001.0000000001.9167a758-dd93-4e52-8636-7cf5776eb10f.parquet","#,
            r#""sizeInBytes":9203,"modificationTime":1739329764031}]},"checksum":"#,
            r#""faac1cfe0a308fc671d5b956b95e93eb"}"#
        );
        assert_eq!(
            LastCheckpoint::parse(spark.as_bytes())
                .unwrap()
                .num_of_add_files,
            Some(2)
        );
        let forged = spark.replace("\"size\":6", "\"size\":7");
        assert_eq!(LastCheckpoint::parse(forged.as_bytes()), None);
    }

    #[test]
    fn b_7_garbage_is_no_hint() {
        let deep = format!(
            r#"{{"version":1,"size":1,"tags":{}1{}}}"#,
            "[".repeat(99),
            "]".repeat(99)
        );
        for bytes in [
            &b""[..],
            b"{",
            b"[1]",
            b"\0\0\0\0",
            b"\xff\xfe{}",
            b"{}",
            br#"{"version":"1"}"#,
            br#"{"version":-1}"#,
            br#"{"version":1.5}"#,
            br#"{"version":99999999999999999999}"#,
            br#"{"version":1,"version":2}"#,
            br#"{"version":1,"size":1,"checksum":"00000000000000000000000000000000"}"#,
            br#"{"version":1,"size":1,"x":1,"x":1,"checksum":"00000000000000000000000000000000"}"#,
            br#"{"version":1,"size":1} trailing"#,
            deep.as_bytes(),
        ] {
            assert_eq!(
                LastCheckpoint::parse(bytes),
                None,
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    async fn storage(name: &str) -> Storage {
        Storage::open(
            &format!("memory:///hint-tests/{name}"),
            &Environment::system(),
        )
        .unwrap()
    }

    #[tokio::test]
    async fn b_7_a_huge_hint_is_no_hint() {
        let storage = storage("huge").await;
        let huge = vec![b' '; usize::try_from(BYTES_MAX).unwrap() + 1];
        storage.put(LAST_CHECKPOINT_KEY, huge.into()).await.unwrap();
        assert_eq!(read(&storage).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_published_is_read() {
        let storage = storage("published").await;
        assert_eq!(read(&storage).await.unwrap(), None);
        let hint = LastCheckpoint::of(7, 10, 1000, 5);
        hint.publish(&storage).await.unwrap();
        assert_eq!(read(&storage).await.unwrap(), Some(hint));
        let text = storage.get(LAST_CHECKPOINT_KEY).await.unwrap();
        assert!(std::str::from_utf8(&text).unwrap().contains("checksum"));
    }

    #[tokio::test]
    async fn b_12_an_older_hint_does_not_replace_a_newer_one() {
        let storage = storage("older").await;
        let (older, newer) = (
            LastCheckpoint::of(10, 1, 1, 1),
            LastCheckpoint::of(20, 1, 1, 1),
        );
        storage.put(&checkpoint_key(20), "x".into()).await.unwrap();
        newer.publish(&storage).await.unwrap();
        older.publish(&storage).await.unwrap();
        assert_eq!(read(&storage).await.unwrap(), Some(newer));
    }

    #[tokio::test]
    async fn b_12_a_newer_hint_that_lies_is_replaced() {
        let storage = storage("lying").await;
        let (older, newer) = (
            LastCheckpoint::of(10, 1, 1, 1),
            LastCheckpoint::of(20, 1, 1, 1),
        );
        newer.publish(&storage).await.unwrap();
        older.publish(&storage).await.unwrap();
        assert_eq!(read(&storage).await.unwrap(), Some(older));
    }
}
