//! One commit file: what it says, and the one attempt to write it.
//!
//! Reading is lenient where the protocol says so (unknown actions and fields, provenance of any shape) and strict
//! elsewhere: what could be read in two ways is corrupt, because either way could lose or double rows.
//!
//! Spec: [Delta Log Entries](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#delta-log-entries).

use std::borrow::Cow;
use std::collections::BTreeMap;
#[expect(clippy::disallowed_types, reason = "looked up by key, never iterated")]
use std::collections::HashMap;

use arrow_array::BooleanArray;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{Code, Error, ErrorKind, Result};
use crate::log::builder::{AddRows, RemoveRows};
use crate::log::files::FileBatch;
use crate::log::path::commit_key;
use crate::log::removes::RemoveBatch;
use crate::log::rows::{AddRow, RemoveRow, negative_number};
use crate::protocol::action::{AddCdc, CommitInfo, DomainMetadata, Metadata, Protocol, Txn};
use crate::protocol::json::{JSON_DEPTH_MAX, depth_within};
use crate::protocol::{VERSION_MAX, Version};
use crate::storage::{PutOutcome, Storage};

pub(crate) use crate::log::encode::encode;

/// The field of `commitInfo` in which a writer of this crate says how many lines the commit has, so that a commit that
/// was cut at the end of a line is noticed.
pub(crate) const ACTION_COUNT: &str = "headwater.actions";

/// The field of `commitInfo` in which a writer of this crate names the table, by the id in its `metaData`, so that a
/// commit in the log of another table is noticed: one that was deleted and created anew while the writer held on.
pub(crate) const TABLE_ID: &str = "headwater.tableId";

/// From this size on a commit is known again by its size alone: reading it to look at its content would cost too much.
const KNOWN_BY_SIZE: u64 = 1 << 20;

/// How large a commit may be that is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of the commit.
    pub(crate) commit_bytes: usize,
    /// Bytes of one line.
    pub(crate) line_bytes: usize,
    /// Lines.
    pub(crate) lines: usize,
}

impl Limits {
    /// What is read from a table.
    pub(crate) const READ: Self = Self {
        commit_bytes: 512 << 20,
        line_bytes: 64 << 20,
        lines: 8 << 20,
    };
}

/// What one commit did. File actions are columns.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    /// The version it made.
    pub(crate) version: Version,
    /// Bytes of the commit file.
    pub(crate) bytes: u64,
    /// The new protocol, if it changed.
    pub(crate) protocol: Option<Protocol>,
    /// The new metadata, if it changed.
    pub(crate) metadata: Option<Metadata>,
    /// Progress of applications: at most one each.
    pub(crate) txns: Vec<Txn>,
    /// Changed domains: at most one action each.
    pub(crate) domains: Vec<DomainMetadata>,
    /// Where the commit came from.
    pub(crate) info: Option<CommitInfo>,
    /// Files that were added: no key twice.
    pub(crate) adds: FileBatch,
    /// Files that were removed: no key of an add.
    pub(crate) removes: RemoveBatch,
    /// Files for the change feed.
    pub(crate) cdcs: Vec<AddCdc>,
}

impl Commit {
    /// The id of the table that it was written for, if it says one.
    pub(crate) fn table_id(&self) -> Option<&str> {
        let own = self.info.as_ref();
        let own = own.and_then(|info| info.unknown.get(TABLE_ID)?.as_str());
        own.or(self.metadata.as_ref().map(|metadata| metadata.id.as_str()))
    }

    /// Whether another reading of this version found the same commit.
    fn is_same(&self, other: &Self) -> bool {
        let same_info = match (&self.info, &other.info) {
            (Some(one), Some(other)) if one.txn_id.is_some() => one.txn_id == other.txn_id,
            (one, other) => one == other,
        };
        same_info && self.version == other.version && self.bytes == other.bytes
    }

    /// The commit's own time.
    ///
    /// # Errors
    ///
    /// [`Code::CorruptCommit`] if it does not say one: it is asked only where in-commit timestamps are enabled.
    pub(crate) fn in_commit_timestamp(&self) -> Result<i64> {
        let time = self.info.as_ref().and_then(|info| info.in_commit_timestamp);
        time.ok_or_else(|| {
            corrupt(
                self.version,
                "it has no in-commit timestamp, but those are enabled",
            )
        })
    }
}

/// Reads the commit that made `version`; `None` if there is none.
///
/// # Errors
///
/// [`Code::CorruptCommit`] and [`Code::LimitExceeded`] with the version; [`ErrorKind::Storage`] if the store fails.
pub(crate) async fn read(storage: &Storage, version: Version) -> Result<Option<Commit>> {
    match read_bytes(storage, version).await? {
        Some(bytes) => decode_aside(storage, version, bytes).await.map(Some),
        None => Ok(None),
    }
}

/// The bytes of the commit that made `version`; `None` if there is none.
///
/// # Errors
///
/// [`Code::LimitExceeded`] with the version; [`ErrorKind::Storage`] if the store fails.
pub(crate) async fn read_bytes(storage: &Storage, version: Version) -> Result<Option<Bytes>> {
    let limit = Limits::READ.commit_bytes as u64;
    match storage.get_limited(&commit_key(version), limit).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.with("version", version)),
    }
}

/// As [`decode`], off the threads that drive futures if it takes long.
///
/// # Errors
///
/// As of [`decode`].
pub(crate) async fn decode_aside(
    storage: &Storage,
    version: Version,
    bytes: Bytes,
) -> Result<Commit> {
    /// From this size on decoding would hold up other tasks of its thread.
    const DECODE_INLINE_MAX: usize = 1 << 20;
    if bytes.len() <= DECODE_INLINE_MAX {
        return decode(version, &bytes);
    }
    let decoded = storage
        .environment()
        .run_blocking(move || decode(version, &bytes))
        .await;
    decoded.unwrap_or_else(|| Err(corrupt(version, "it cannot be decoded")))
}

/// Whether a commit that was read before is still in the log, and no other one in its place.
///
/// # Errors
///
/// As of [`read`], but that a commit that cannot be read is another one.
pub(crate) async fn is_there(storage: &Storage, known: &Commit) -> Result<bool> {
    if KNOWN_BY_SIZE < known.bytes {
        let found = storage.head(&commit_key(known.version)).await?;
        return Ok(found.is_some_and(|found| found.size == known.bytes));
    }
    match read(storage, known.version).await {
        Ok(found) => Ok(found.is_some_and(|found| known.is_same(&found))),
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the one attempt to write the commit of `version`. Nothing else in the crate writes a commit file.
///
/// The attempt is one request that creates the object or fails; it never replaces, and it is never repeated here. Any
/// answer but [`PutOutcome::Created`] leaves open whether the commit landed: read the slot back to know.
pub(crate) async fn try_write(storage: &Storage, version: Version, bytes: Bytes) -> PutOutcome {
    if VERSION_MAX < version {
        let error = Error::invalid(
            Code::LimitExceeded,
            "there is no version after the last one",
        );
        return PutOutcome::NotCreated(error.with("version", version));
    }
    storage.put_if_absent(&commit_key(version), bytes).await
}

/// Decodes the bytes of a commit file.
///
/// # Errors
///
/// [`Code::CorruptCommit`] if they are no commit, or one that can be read in two ways; [`Code::LimitExceeded`].
pub(crate) fn decode(version: Version, bytes: &[u8]) -> Result<Commit> {
    decode_within(version, bytes, Limits::READ)
}

/// As [`decode`], with other limits.
pub(crate) fn decode_within(version: Version, bytes: &[u8], limits: Limits) -> Result<Commit> {
    if limits.commit_bytes < bytes.len() {
        return Err(too_large(version, "commit", limits.commit_bytes));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| corrupt(version, "it is not UTF-8"))?;
    let mut decoder = Decoder::new(version, bytes.len());
    let mut lines = 0_usize;
    for (index, line) in text.split('\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        lines = lines.saturating_add(1);
        if limits.line_bytes < line.len() {
            return Err(too_large(version, "line", limits.line_bytes));
        }
        if limits.lines < lines {
            return Err(too_large(version, "number of lines", limits.lines));
        }
        decoder
            .line(line)
            .map_err(|why| corrupt(version, why).with("line", index + 1))?;
    }
    decoder.finish(lines)
}

/// One line: one action. Names that are not here are actions of the future or of checkpoints, which are passed over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(borrow, default)]
    add: Option<AddRow<'a>>,
    #[serde(borrow, default)]
    remove: Option<RemoveRow<'a>>,
    #[serde(default)]
    cdc: Option<AddCdc>,
    #[serde(default)]
    protocol: Option<Protocol>,
    #[serde(default)]
    meta_data: Option<Metadata>,
    #[serde(default)]
    txn: Option<Txn>,
    #[serde(default)]
    domain_metadata: Option<DomainMetadata>,
    #[serde(borrow, default)]
    commit_info: Option<&'a RawValue>,
}

/// Why a line or a commit is corrupt. It never repeats what the line holds.
type Why = Cow<'static, str>;

struct Decoder {
    version: Version,
    bytes: usize,
    protocol: Option<Protocol>,
    metadata: Option<Metadata>,
    txns: BTreeMap<String, Txn>,
    domains: BTreeMap<String, DomainMetadata>,
    info: Option<CommitInfo>,
    adds: AddRows,
    removes: RemoveRows,
    cdcs: Vec<AddCdc>,
}

impl Decoder {
    fn new(version: Version, bytes: usize) -> Self {
        // Most lines are adds of about this size; the builders grow if they are not.
        let adds = bytes / 512;
        Self {
            version,
            bytes,
            protocol: None,
            metadata: None,
            txns: BTreeMap::new(),
            domains: BTreeMap::new(),
            info: None,
            adds: AddRows::with_capacity(adds),
            removes: RemoveRows::with_capacity(0),
            cdcs: Vec::new(),
        }
    }

    fn line(&mut self, line: &str) -> Result<(), Why> {
        if !line.starts_with('{') {
            return Err("a line is no JSON object".into());
        }
        if is_too_deep(line.as_bytes()) {
            return Err(format!("a line nests deeper than {JSON_DEPTH_MAX}").into());
        }
        let line: Line<'_> = serde_json::from_str(line).map_err(|error| unparsed(&error))?;
        if 1 < line.actions() {
            return Err("a line holds more than one action".into());
        }
        self.file_actions(&line)?;
        self.state_actions(line)
    }

    fn file_actions(&mut self, line: &Line<'_>) -> Result<(), Why> {
        if let Some(add) = &line.add {
            let row_tracking = [add.base_row_id, add.default_row_commit_version];
            let vector = add.deletion_vector.as_ref();
            check_numbers(Some(add.size), row_tracking, vector)?;
            self.adds
                .push(add)
                .map_err(|error| error.message().to_owned())?;
        }
        if let Some(remove) = &line.remove {
            let row_tracking = [remove.base_row_id, remove.default_row_commit_version];
            check_numbers(remove.size, row_tracking, remove.deletion_vector.as_ref())?;
            self.removes
                .push(remove)
                .map_err(|error| error.message().to_owned())?;
        }
        Ok(())
    }

    fn state_actions(&mut self, line: Line<'_>) -> Result<(), Why> {
        if let Some(protocol) = line.protocol
            && self.protocol.replace(protocol).is_some()
        {
            return Err("it has two protocol actions".into());
        }
        if let Some(metadata) = line.meta_data
            && self.metadata.replace(metadata).is_some()
        {
            return Err("it has two metaData actions".into());
        }
        if let Some(txn) = line.txn
            && self.txns.insert(txn.app_id.clone(), txn).is_some()
        {
            return Err("it has two txn actions of one application".into());
        }
        if let Some(domain) = line.domain_metadata
            && self.domains.insert(domain.domain.clone(), domain).is_some()
        {
            return Err("it has two domainMetadata actions of one domain".into());
        }
        if let Some(cdc) = line.cdc {
            check_numbers(Some(cdc.size), [None, None], None)?;
            self.cdcs.push(cdc);
        }
        if let Some(raw) = line.commit_info
            && self.info.is_none()
        {
            self.info = Some(commit_info(raw)?);
        }
        Ok(())
    }

    fn finish(self, lines: usize) -> Result<Commit> {
        let version = self.version;
        if lines == 0 {
            return Err(corrupt(
                version,
                "it is empty; if it is the newest, `Table::drop_empty_tip` takes it back",
            ));
        }
        let promised = self
            .info
            .as_ref()
            .and_then(|info| info.unknown.get(ACTION_COUNT));
        if let Some(promised) = promised
            && promised.as_u64() != u64::try_from(lines).ok()
        {
            return Err(corrupt(
                version,
                "it is torn: its writer gave it another number of lines",
            ));
        }
        let removes = self.removes.finish()?;
        let adds = settle(version, self.adds.finish()?, &removes)?;
        Ok(Commit {
            version,
            bytes: self.bytes as u64,
            protocol: self.protocol,
            metadata: self.metadata,
            txns: self.txns.into_values().collect(),
            domains: self.domains.into_values().collect(),
            info: self.info,
            adds,
            removes,
            cdcs: self.cdcs,
        })
    }
}

impl Line<'_> {
    fn actions(&self) -> usize {
        [
            self.add.is_some(),
            self.remove.is_some(),
            self.cdc.is_some(),
            self.protocol.is_some(),
            self.meta_data.is_some(),
            self.txn.is_some(),
            self.domain_metadata.is_some(),
            self.commit_info.is_some_and(|raw| raw.get() != "null"),
        ]
        .into_iter()
        .filter(|present| *present)
        .count()
    }
}

/// Whether a line nests too deep. Counting brackets is much cheaper than following them, and settles it for nearly
/// every line.
pub(crate) fn is_too_deep(line: &[u8]) -> bool {
    let brackets = line
        .iter()
        .filter(|byte| matches!(byte, b'{' | b'['))
        .count();
    JSON_DEPTH_MAX < brackets && !depth_within(line, JSON_DEPTH_MAX)
}

/// The actions of a commit have no order, so what contradicts itself has no meaning.
#[expect(clippy::disallowed_types, reason = "looked up by key, never iterated")]
fn settle(version: Version, adds: FileBatch, removes: &RemoveBatch) -> Result<FileBatch> {
    let mut by_path: HashMap<Cow<'_, str>, usize> = HashMap::with_capacity(adds.len());
    let mut repeated = Vec::new();
    for index in 0..adds.len() {
        let Some(earlier) = by_path.insert(adds.canonical_path(index), index) else {
            continue;
        };
        if adds.vector_id(earlier) != adds.vector_id(index) {
            let why = "it adds one file twice, with different deletion vectors";
            return Err(corrupt(version, why));
        }
        // Other writers were seen to do this; the file is there once, as the later line says.
        repeated.push(earlier);
    }
    for index in 0..removes.len() {
        let same_path = by_path.get(&removes.canonical_path(index));
        if same_path.is_some_and(|add| adds.vector_id(*add) == removes.vector_id(index)) {
            return Err(corrupt(version, "it both adds and removes one file"));
        }
    }
    if repeated.is_empty() {
        return Ok(adds);
    }
    repeated.sort_unstable();
    tracing::warn!(
        version,
        "repeated_add: a commit adds a file twice; the later line counts"
    );
    let keep: BooleanArray = (0..adds.len())
        .map(|index| Some(repeated.binary_search(&index).is_err()))
        .collect();
    adds.filter(&keep)
}

fn check_numbers(
    size: Option<i64>,
    row_tracking: [Option<i64>; 2],
    vector: Option<&crate::protocol::action::DeletionVectorDescriptor>,
) -> Result<(), Why> {
    match negative_number(size, row_tracking, vector) {
        Some(why) => Err(why.into()),
        None => Ok(()),
    }
}

/// Provenance has any shape: what is not as this crate writes it is dropped rather than refused, but for the
/// in-commit timestamp, which is more than provenance.
fn commit_info(raw: &RawValue) -> Result<CommitInfo, Why> {
    if raw.get() == "null" {
        return Ok(CommitInfo::default());
    }
    let first = match serde_json::from_str(raw.get()) {
        Ok(info) => return Ok(info),
        Err(error) => unparsed(&error),
    };
    let Ok(mut fields) = serde_json::from_str::<serde_json::Map<_, _>>(raw.get()) else {
        return Err(first);
    };
    for maps in ["operationParameters", "operationMetrics"] {
        if fields.get(maps).is_some_and(|value| !value.is_object()) {
            fields.remove(maps);
        }
    }
    let kept = serde_json::Value::Object(fields).to_string();
    serde_json::from_str(&kept).map_err(|error| unparsed(&error))
}

/// What a parser says, without the values it saw.
fn unparsed(error: &serde_json::Error) -> Why {
    let what = match error.classify() {
        serde_json::error::Category::Io => "cannot be read",
        serde_json::error::Category::Syntax => "is no JSON",
        serde_json::error::Category::Data => "is no action of the protocol",
        serde_json::error::Category::Eof => "ends too early",
    };
    format!("a line {what} (column {})", error.column()).into()
}

fn corrupt(version: Version, why: impl AsRef<str>) -> Error {
    Error::corrupt(
        Code::CorruptCommit,
        format!("a commit is corrupt: {}", why.as_ref()),
    )
    .with("version", version)
}

fn too_large(version: Version, what: &str, limit: usize) -> Error {
    Error::corrupt(
        Code::LimitExceeded,
        format!("the {what} of a commit is over the limit"),
    )
    .with("version", version)
    .with("limit", limit)
}

#[cfg(test)]
mod tests;
