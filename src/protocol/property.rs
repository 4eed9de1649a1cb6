//! Table properties, typed and with their defaults.
//!
//! Spec: [Table Properties](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#table-properties); further ones
//! are those of the reference engine.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{Code, Error, Result};

#[cfg(test)]
mod tests;

const DAY: Duration = Duration::from_secs(86_400);

/// What a table's properties say. See the fields for names and defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableProperties {
    /// `delta.appendOnly`: rows are never changed or removed.
    pub append_only: bool,
    /// `delta.checkpointInterval`: commits from one checkpoint to the next; `None` leaves it to the writer.
    pub checkpoint_interval: Option<u64>,
    /// `delta.checkpointPolicy`: which checkpoints to write.
    pub checkpoint_policy: CheckpointPolicy,
    /// `delta.checkpoint.writeStatsAsJson`: whether checkpoints hold statistics as JSON. Default true.
    pub write_stats_as_json: bool,
    /// `delta.checkpoint.writeStatsAsStruct`: whether checkpoints hold statistics as columns. Default true, as in Spark.
    pub write_stats_as_struct: bool,
    /// `delta.dataSkippingNumIndexedCols`: of how many leaf columns statistics are collected; `None` is all. Default 32.
    pub data_skipping_num_indexed_cols: Option<u64>,
    /// `delta.dataSkippingStatsColumns`: of which columns statistics are collected; goes before the number of columns.
    pub data_skipping_stats_columns: Option<Vec<Vec<String>>>,
    /// `delta.dataSkippingStringPrefixLength`: how many characters of text bounds keep. Default 32.
    pub data_skipping_string_prefix_length: u64,
    /// `delta.deletedFileRetentionDuration`: how long removed files stay. Default 7 days.
    pub deleted_file_retention: Duration,
    /// `delta.logRetentionDuration`: how long the history stays. Default 30 days.
    pub log_retention: Duration,
    /// `delta.enableExpiredLogCleanup`: whether old log files may be removed at all. Default true.
    pub enable_expired_log_cleanup: bool,
    /// `delta.setTransactionRetentionDuration`: how long transaction ids are remembered; `None` is for ever.
    pub set_transaction_retention: Option<Duration>,
    /// `delta.enableInCommitTimestamps`: commits carry their own time.
    pub enable_in_commit_timestamps: bool,
    /// `delta.inCommitTimestampEnablementVersion`: from which version on they do; `None` is from the first.
    pub in_commit_timestamp_enablement_version: Option<i64>,
    /// `delta.inCommitTimestampEnablementTimestamp`: the time of that version.
    pub in_commit_timestamp_enablement_timestamp: Option<i64>,
    /// `delta.columnMapping.mode`: how columns are known in data files.
    pub column_mapping_mode: ColumnMappingMode,
    /// `delta.enableChangeDataFeed`: row-level changes are recorded.
    pub enable_change_data_feed: bool,
    /// `delta.enableDeletionVectors`: rows may be deleted by deletion vectors.
    pub enable_deletion_vectors: bool,
    /// `delta.enableRowTracking`: rows have ids.
    pub enable_row_tracking: bool,
    /// `delta.rowTrackingSuspended`: new rows get no ids for now.
    pub row_tracking_suspended: bool,
    /// `delta.isolationLevel`: which anomalies commits exclude.
    pub isolation_level: IsolationLevel,
    /// `delta.targetFileSize`: how large data files should get, in bytes.
    pub target_file_size: Option<u64>,
    /// `delta.parquet.compression.codec`: how pages of data files and checkpoints are compressed.
    pub compression: Compression,
    /// Everything else, as it is.
    pub unknown: BTreeMap<String, String>,
}

/// Which checkpoints to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CheckpointPolicy {
    /// `classic`
    #[default]
    Classic,
    /// `v2`
    V2,
}

/// How columns are known in data files.
///
/// Spec: [Column Mapping](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#column-mapping).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColumnMappingMode {
    /// `none`: by their names.
    #[default]
    None,
    /// `name`: by physical names.
    Name,
    /// `id`: by field ids.
    Id,
}

/// Which anomalies commits exclude.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IsolationLevel {
    /// `Serializable`: the history is the order in which everything happened.
    #[default]
    Serializable,
    /// `WriteSerializable`: blind appends may have happened before what they follow.
    WriteSerializable,
}

impl IsolationLevel {
    /// The name, as it stands in the property.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serializable => "Serializable",
            Self::WriteSerializable => "WriteSerializable",
        }
    }
}

/// How pages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// `none` or `uncompressed`
    None,
    /// `snappy`
    Snappy,
    /// `gzip`
    Gzip,
    /// `lz4`, in Hadoop's framing
    Lz4,
    /// `lz4_raw`
    Lz4Raw,
    /// `zstd`
    #[default]
    Zstd,
}

impl Default for TableProperties {
    fn default() -> Self {
        Self {
            append_only: false,
            checkpoint_interval: None,
            checkpoint_policy: CheckpointPolicy::default(),
            write_stats_as_json: true,
            write_stats_as_struct: true,
            data_skipping_num_indexed_cols: Some(32),
            data_skipping_stats_columns: None,
            data_skipping_string_prefix_length: 32,
            deleted_file_retention: 7 * DAY,
            log_retention: 30 * DAY,
            enable_expired_log_cleanup: true,
            set_transaction_retention: None,
            enable_in_commit_timestamps: false,
            in_commit_timestamp_enablement_version: None,
            in_commit_timestamp_enablement_timestamp: None,
            column_mapping_mode: ColumnMappingMode::default(),
            enable_change_data_feed: false,
            enable_deletion_vectors: false,
            enable_row_tracking: false,
            row_tracking_suspended: false,
            isolation_level: IsolationLevel::default(),
            target_file_size: None,
            compression: Compression::default(),
            unknown: BTreeMap::new(),
        }
    }
}

impl TableProperties {
    /// Reads properties for writing: each that is known must be well-formed.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::error::ErrorKind::Invalid) naming the property.
    pub fn parse(properties: &BTreeMap<String, String>) -> Result<Self> {
        let mut parsed = Self::default();
        for (name, value) in properties {
            parsed.set(name, value)?;
        }
        Ok(parsed)
    }

    /// Reads properties for reading: a malformed one has its default and is warned of, unless rows would be read
    /// wrongly without it.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::error::ErrorKind::Unsupported) if the column mapping is of an unknown kind.
    pub fn parse_leniently(properties: &BTreeMap<String, String>) -> Result<Self> {
        let mut parsed = Self::default();
        for (name, value) in properties {
            let Err(cause) = parsed.set(name, value) else {
                continue;
            };
            if name == "delta.columnMapping.mode" {
                return Err(Error::unsupported("this kind of column mapping").because(cause));
            }
            tracing::warn!(property = %name, "a table property is malformed: its default applies");
        }
        Ok(parsed)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let done = match name {
            "delta.appendOnly" => put(&mut self.append_only, boolean(value)),
            "delta.checkpointInterval" => {
                put(&mut self.checkpoint_interval, positive(value).map(Some))
            }
            "delta.checkpointPolicy" => {
                let known = [
                    ("classic", CheckpointPolicy::Classic),
                    ("v2", CheckpointPolicy::V2),
                ];
                put(&mut self.checkpoint_policy, word(value, &known))
            }
            "delta.checkpoint.writeStatsAsJson" => {
                put(&mut self.write_stats_as_json, boolean(value))
            }
            "delta.checkpoint.writeStatsAsStruct" => {
                put(&mut self.write_stats_as_struct, boolean(value))
            }
            "delta.dataSkippingNumIndexedCols" => {
                let count = if value.trim() == "-1" {
                    Some(None)
                } else {
                    number(value).map(Some)
                };
                put(&mut self.data_skipping_num_indexed_cols, count)
            }
            "delta.dataSkippingStatsColumns" => put(
                &mut self.data_skipping_stats_columns,
                column_list(value).map(Some),
            ),
            "delta.dataSkippingStringPrefixLength" => put(
                &mut self.data_skipping_string_prefix_length,
                positive(value),
            ),
            "delta.deletedFileRetentionDuration" => {
                put(&mut self.deleted_file_retention, interval(value))
            }
            "delta.logRetentionDuration" => put(&mut self.log_retention, interval(value)),
            "delta.enableExpiredLogCleanup" => {
                put(&mut self.enable_expired_log_cleanup, boolean(value))
            }
            "delta.setTransactionRetentionDuration" => put(
                &mut self.set_transaction_retention,
                interval(value).map(Some),
            ),
            "delta.targetFileSize" => put(&mut self.target_file_size, bytes(value).map(Some)),
            _ => return self.set_feature(name, value),
        };
        done.ok_or_else(|| malformed(name))
    }

    fn set_feature(&mut self, name: &str, value: &str) -> Result<()> {
        let done = match name {
            "delta.enableInCommitTimestamps" => {
                put(&mut self.enable_in_commit_timestamps, boolean(value))
            }
            "delta.inCommitTimestampEnablementVersion" => {
                let version = value.trim().parse().ok().filter(|version| 0 <= *version);
                put(
                    &mut self.in_commit_timestamp_enablement_version,
                    version.map(Some),
                )
            }
            "delta.inCommitTimestampEnablementTimestamp" => {
                let millis = value.trim().parse().ok();
                put(
                    &mut self.in_commit_timestamp_enablement_timestamp,
                    millis.map(Some),
                )
            }
            "delta.columnMapping.mode" => {
                let known = [
                    ("none", ColumnMappingMode::None),
                    ("name", ColumnMappingMode::Name),
                    ("id", ColumnMappingMode::Id),
                ];
                put(&mut self.column_mapping_mode, word(value, &known))
            }
            "delta.enableChangeDataFeed" => put(&mut self.enable_change_data_feed, boolean(value)),
            "delta.enableDeletionVectors" => put(&mut self.enable_deletion_vectors, boolean(value)),
            "delta.enableRowTracking" => put(&mut self.enable_row_tracking, boolean(value)),
            "delta.rowTrackingSuspended" => put(&mut self.row_tracking_suspended, boolean(value)),
            "delta.isolationLevel" => {
                let known = [
                    ("serializable", IsolationLevel::Serializable),
                    ("writeserializable", IsolationLevel::WriteSerializable),
                ];
                put(&mut self.isolation_level, word(value, &known))
            }
            "delta.parquet.compression.codec" => {
                let known = [
                    ("none", Compression::None),
                    ("uncompressed", Compression::None),
                    ("snappy", Compression::Snappy),
                    ("gzip", Compression::Gzip),
                    ("lz4", Compression::Lz4),
                    ("lz4_raw", Compression::Lz4Raw),
                    ("zstd", Compression::Zstd),
                ];
                put(&mut self.compression, word(value, &known))
            }
            _ => {
                self.unknown.insert(name.to_owned(), value.to_owned());
                Some(())
            }
        };
        done.ok_or_else(|| malformed(name))
    }
}

fn malformed(name: &str) -> Error {
    Error::invalid(Code::InvalidArgument, "the table property is malformed").with("property", name)
}

fn put<T>(place: &mut T, value: Option<T>) -> Option<()> {
    *place = value?;
    Some(())
}

fn boolean(text: &str) -> Option<bool> {
    word(text, &[("true", true), ("false", false)])
}

fn word<T: Copy>(text: &str, known: &[(&str, T)]) -> Option<T> {
    let found = known
        .iter()
        .find(|(word, _)| text.trim().eq_ignore_ascii_case(word));
    found.map(|(_, value)| *value)
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

fn positive(text: &str) -> Option<u64> {
    number(text).filter(|number| 0 < *number)
}

/// Reads `104857600` or `100mb`.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    let factor = match unit.trim() {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        "t" | "tb" => 1 << 40,
        _ => return None,
    };
    positive(digits)?.checked_mul(factor)
}

/// Reads an interval as Spark writes it: `interval 1 week 2 hours`. Months and years have no fixed length and are
/// refused, as are negative intervals.
pub(crate) fn interval(text: &str) -> Option<Duration> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_prefix("interval").unwrap_or(&text);
    let mut words = text.split_ascii_whitespace().peekable();
    words.peek()?;
    let mut total = Duration::ZERO;
    while let Some(count) = words.next() {
        let unit = words.next()?;
        let nanos: u64 = match unit.strip_suffix('s').unwrap_or(unit) {
            "week" => 604_800_000_000_000,
            "day" => 86_400_000_000_000,
            "hour" => 3_600_000_000_000,
            "minute" => 60_000_000_000,
            "second" => 1_000_000_000,
            "millisecond" => 1_000_000,
            "microsecond" => 1000,
            "nanosecond" => 1,
            _ => return None,
        };
        let count: u64 = count.parse().ok()?;
        let nanos = u128::from(count).checked_mul(nanos.into())?;
        let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
        let rest = u32::try_from(nanos % 1_000_000_000).ok()?;
        total = total.checked_add(Duration::new(seconds, rest))?;
    }
    Some(total)
}

/// Reads a comma list of names, each in parts with dots between them; a part may stand in back-ticks, in which two
/// back-ticks stand for one.
fn column_list(text: &str) -> Option<Vec<Vec<String>>> {
    let mut columns = Vec::new();
    let mut path = Vec::new();
    let mut part = String::new();
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    // A comma at the end closes the last column as it does every other.
    while let Some(c) = chars.next() {
        match c {
            '`' => {
                if !part.trim().is_empty() || quoted {
                    return None;
                }
                part = quoted_part(&mut chars)?;
                quoted = true;
            }
            '.' | ',' => {
                path.push(finish(&mut part, &mut quoted)?);
                if c == ',' {
                    columns.push(std::mem::take(&mut path));
                }
            }
            c if quoted && !c.is_whitespace() => return None,
            _ if quoted => {}
            c => part.push(c),
        }
    }
    if !path.is_empty() || quoted || !part.trim().is_empty() {
        path.push(finish(&mut part, &mut quoted)?);
        columns.push(path);
    }
    Some(columns)
}

fn quoted_part(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    let mut part = String::new();
    loop {
        match chars.next()? {
            '`' if chars.peek() == Some(&'`') => {
                chars.next();
                part.push('`');
            }
            '`' => return Some(part),
            c => part.push(c),
        }
    }
}

fn finish(part: &mut String, quoted: &mut bool) -> Option<String> {
    let text = std::mem::take(part);
    let was_quoted = std::mem::take(quoted);
    let text = if was_quoted {
        text
    } else {
        text.trim().to_owned()
    };
    (!text.is_empty()).then_some(text)
}
