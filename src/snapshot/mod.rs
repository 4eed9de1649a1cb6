//! The table at one version: immutable, columnar, lazy.
//!
//! A snapshot is anchored at version 0 or at one complete checkpoint; the commits after the anchor follow each other
//! without a gap. Opening reads protocol, metadata, transactions and domains; the list of files stays in the
//! checkpoint (read when a scan asks, only the columns it asks for) and in the decoded commits after it.

mod files;
mod history;
mod load;
mod time;
mod txns;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::log::checkpoint::CheckpointReader;
use crate::log::commit::Commit;
use crate::log::segment::CheckpointFiles;
use crate::protocol::Version;
use crate::protocol::action::{DomainMetadata, Metadata, Protocol, Txn};
use crate::protocol::feature::TableFeature;
use crate::protocol::property::TableProperties;
use crate::protocol::schema::Schema;
use crate::snapshot::txns::Txns;
use crate::storage::Storage;

pub use crate::snapshot::files::Sums;
pub(crate) use crate::snapshot::files::add_bytes;
pub use crate::snapshot::history::HistoryEntry;
pub use crate::snapshot::time::{AfterLast, At};

/// The table at one version. Cloning is cheap; the content never changes.
///
/// ```
/// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use headwater::protocol::schema::{DataType, Field, Schema};
/// let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
/// let table = headwater::Table::create("memory:///snapshot-example", schema).await?;
/// let snapshot = table.snapshot();
/// assert_eq!(snapshot.version(), 0);
/// assert_eq!(snapshot.schema().fields().len(), 1);
/// # Ok(()) }) }
/// ```
#[derive(Clone)]
pub struct Snapshot(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    storage: Storage,
    environment: Environment,
    version: Version,
    anchor: Option<Anchor>,
    /// Commits after the anchor, oldest first, without a gap.
    tail: Vec<Arc<Commit>>,
    protocol: Arc<Protocol>,
    metadata: Arc<TableMetadata>,
    txns: Txns,
    domains: Arc<BTreeMap<String, DomainMetadata>>,
    /// When this version was last seen in the log: it may have been cleaned up since.
    seen: Moment,
    /// The newest version that was seen in the log.
    latest_seen: Version,
}

/// A moment by both clocks: one stops while the machine sleeps, the other jumps.
#[derive(Clone, Copy)]
struct Moment {
    elapsed: Duration,
    millis: i64,
}

impl Moment {
    fn now(environment: &Environment) -> Self {
        Self {
            elapsed: environment.elapsed(),
            millis: environment.now_millis(),
        }
    }

    /// How long ago that is: by the clock that says more.
    fn age(self, environment: &Environment) -> Duration {
        let now = Self::now(environment);
        let millis = now.millis.saturating_sub(self.millis);
        let by_wall = Duration::from_millis(u64::try_from(millis).unwrap_or(0));
        now.elapsed.saturating_sub(self.elapsed).max(by_wall)
    }
}

/// The checkpoint a snapshot starts from.
#[derive(Clone)]
struct Anchor {
    files: CheckpointFiles,
    reader: CheckpointReader,
}

/// `metaData` with what is derived from it, derived once.
struct TableMetadata {
    action: Metadata,
    schema: Arc<Schema>,
    properties: Arc<TableProperties>,
}

impl TableMetadata {
    fn new(action: Metadata) -> Result<Self> {
        // Spec: [Format Specification](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#format-specification).
        let provider = &action.format.provider;
        if !provider.eq_ignore_ascii_case("parquet") {
            let message =
                "the files of the table are not Parquet: this build reads no other format";
            return Err(Error::unsupported(message).with("format", provider));
        }
        let schema = Arc::new(Schema::from_json(&action.schema_string)?);
        for column in &action.partition_columns {
            if schema.field(column).is_none() {
                let code = crate::error::Code::InvalidSchema;
                let message = "a partition column is not in the schema";
                return Err(Error::corrupt(code, message).with("column", column));
            }
        }
        let properties = Arc::new(TableProperties::parse_leniently(&action.configuration)?);
        Ok(Self {
            action,
            schema,
            properties,
        })
    }
}

impl Snapshot {
    /// The version.
    pub fn version(&self) -> Version {
        self.0.version
    }

    /// The schema, with the partition columns in it.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.0.metadata.schema
    }

    /// Logical names of the partition columns, in order.
    pub fn partition_columns(&self) -> &[String] {
        &self.0.metadata.action.partition_columns
    }

    /// The `metaData` action in force.
    pub fn metadata(&self) -> &Metadata {
        &self.0.metadata.action
    }

    /// The `protocol` action in force.
    pub fn protocol(&self) -> &Protocol {
        &self.0.protocol
    }

    /// The table properties, typed.
    pub fn properties(&self) -> &Arc<TableProperties> {
        &self.0.metadata.properties
    }

    /// The last transaction number of an application, or `None` if it never wrote.
    ///
    /// Spec: [Transaction Identifiers](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#transaction-identifiers).
    pub fn app_version(&self, app_id: &str) -> Option<i64> {
        self.0.txns.get(app_id).map(|txn| txn.version)
    }

    /// The last transaction of every application, by its id.
    pub fn txns(&self) -> &BTreeMap<String, Txn> {
        self.0.txns.all()
    }

    /// The domains in force, by name.
    ///
    /// Spec: [Domain Metadata](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#domain-metadata).
    pub fn domains(&self) -> &BTreeMap<String, DomainMetadata> {
        &self.0.domains
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.0.storage
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.0.environment
    }

    /// The commit that made this version, unless the snapshot starts from a checkpoint of it.
    pub(crate) fn last_commit(&self) -> Option<&Arc<Commit>> {
        self.0.tail.last()
    }

    /// The commit that made `version`, if this snapshot has it in memory.
    pub(crate) fn commit(&self, version: Version) -> Option<Arc<Commit>> {
        let newest_first = self.0.version.checked_sub(version)?;
        let place = usize::try_from(newest_first).ok()?;
        let commit = self.0.tail.iter().rev().nth(place)?;
        (commit.version == version).then(|| Arc::clone(commit))
    }

    /// Whether changes of rows are recorded. The property without its feature says nothing.
    pub(crate) fn has_change_feed(&self) -> bool {
        let is_listed = self.protocol().supports(&TableFeature::ChangeDataFeed);
        is_listed && self.properties().enable_change_data_feed
    }

    /// The version of the checkpoint that this snapshot starts from.
    pub(crate) fn checkpoint_version(&self) -> Option<Version> {
        self.0.anchor.as_ref().map(|anchor| anchor.files.version)
    }

    /// When the checkpoint was written that this snapshot starts from, by the clock of the store, if that is known.
    pub(crate) fn checkpoint_millis(&self) -> Option<i64> {
        let objects = self.0.anchor.as_ref()?.files.objects.iter();
        let times = objects.map(|object| object.modified_millis);
        times.max().filter(|time| *time != 0)
    }

    /// How many commits, and how many bytes of them, a reader replays on top of the checkpoint.
    pub(crate) fn replayed(&self) -> (u64, u64) {
        let bytes = self.0.tail.iter().map(|commit| commit.bytes).sum();
        (u64::try_from(self.0.tail.len()).unwrap_or(u64::MAX), bytes)
    }

    /// The size of the checkpoint that this snapshot starts from.
    pub(crate) fn checkpoint_bytes(&self) -> Option<u64> {
        self.0.anchor.as_ref().map(|anchor| anchor.files.bytes())
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("location", &self.0.storage.location())
            .field("version", &self.0.version)
            .finish_non_exhaustive()
    }
}
