//! From the log to a snapshot, and from a snapshot to the next one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};

use crate::environment::Environment;
use crate::error::{Code, Error, ErrorKind, Result};
use crate::log::checkpoint::{CheckpointReader, CheckpointState};
use crate::log::commit::{self, Commit};
use crate::log::segment::LogSegment;
use crate::protocol::Version;
use crate::protocol::action::{DomainMetadata, Metadata, Protocol, Txn};
use crate::protocol::feature;
use crate::snapshot::{Anchor, Inner, Moment, Snapshot, TableMetadata};
use crate::storage::Storage;

/// How many commit files are fetched at once.
const COMMITS_IN_FLIGHT: usize = 16;
/// How many newer commits a refresh probes for one by one before it lists the log instead.
const PROBES_MAX: usize = 64;
/// How long a listing serves: log cleanup leaves alone what is younger than an hour.
const LISTED_FOR: Duration = Duration::from_secs(10 * 60);

impl Snapshot {
    /// Loads the newest version.
    pub(crate) async fn latest(storage: &Storage, environment: &Environment) -> Result<Self> {
        Self::load(storage, environment, None).await
    }

    /// Loads one version.
    pub(crate) async fn at_version(
        storage: &Storage,
        environment: &Environment,
        version: Version,
    ) -> Result<Self> {
        Self::load(storage, environment, Some(version)).await
    }

    async fn load(
        storage: &Storage,
        environment: &Environment,
        version: Option<Version>,
    ) -> Result<Self> {
        let segment = LogSegment::list(storage, version).await?;
        Self::of_segment(storage, environment, segment, version).await
    }

    /// The same version from an older anchor: the checkpoint that this snapshot starts from proved unreadable when its
    /// files were asked for.
    ///
    /// # Errors
    ///
    /// `cause`, if nothing takes the checkpoint's place.
    pub(crate) async fn without_checkpoint(&self, cause: Error) -> Result<Self> {
        let Some(bad) = self.checkpoint_version() else {
            return Err(cause);
        };
        tracing::warn!(
            table = self.0.storage.location(),
            error = %cause,
            "checkpoint_fallback: an unreadable checkpoint is passed over"
        );
        let version = Some(self.version());
        let mut segment = LogSegment::list(&self.0.storage, version).await?;
        let mut cause = Some(cause);
        // One older than that, so that each such step leads back towards version 0.
        while segment
            .checkpoint
            .as_ref()
            .is_some_and(|checkpoint| bad <= checkpoint.version)
        {
            let why = cause.take().unwrap_or_else(passed_over);
            segment = segment.without_checkpoint(&self.0.storage, why).await?;
        }
        Self::of_segment(&self.0.storage, &self.0.environment, segment, version).await
    }

    async fn of_segment(
        storage: &Storage,
        environment: &Environment,
        mut segment: LogSegment,
        version: Option<Version>,
    ) -> Result<Self> {
        let mut listed_again = false;
        loop {
            match Self::from_segment(storage, environment, &segment).await {
                Ok(snapshot) => return Ok(snapshot),
                Err(Unloaded::Checkpoint(cause)) => {
                    tracing::warn!(
                        table = storage.location(),
                        error = %cause,
                        "checkpoint_fallback: an unreadable checkpoint is passed over"
                    );
                    segment = segment.without_checkpoint(storage, cause).await?;
                }
                // A listing may show what has been cleaned up since: look once more, then decide.
                Err(Unloaded::CommitGone(cause)) if listed_again => return Err(cause),
                Err(Unloaded::CommitGone(_)) => {
                    listed_again = true;
                    segment = LogSegment::list(storage, version).await?;
                }
                Err(Unloaded::Failed(cause)) => return Err(cause),
            }
        }
    }

    async fn from_segment(
        storage: &Storage,
        environment: &Environment,
        segment: &LogSegment,
    ) -> Result<Self, Unloaded> {
        let (anchor, mut building) = match &segment.checkpoint {
            Some(files) => {
                let reader = CheckpointReader::open(storage, files).await;
                let reader = reader.map_err(unreadable_checkpoint)?;
                let state = Building::from_checkpoint(reader.state().clone());
                (
                    Some(Anchor {
                        version: files.version,
                        reader,
                        bytes: files.bytes(),
                    }),
                    state,
                )
            }
            None => (None, Building::default()),
        };
        let versions: Vec<_> = segment.commits.iter().map(|file| file.version).collect();
        let tail: Vec<Arc<Commit>> = futures::stream::iter(versions)
            .map(|version| read_listed(storage.clone(), version))
            .buffered(COMMITS_IN_FLIGHT)
            .try_collect()
            .await?;
        for commit in &tail {
            building.apply(commit)?;
        }
        let built = building.finish(segment.version)?;
        Ok(Self(Arc::new(Inner {
            storage: storage.clone(),
            environment: environment.clone(),
            version: segment.version,
            anchor,
            tail,
            protocol: built.protocol,
            metadata: built.metadata,
            txns: built.txns,
            domains: built.domains,
            listed: Moment::now(environment),
        })))
    }

    /// The newest version, reached by reading only the commits after this one.
    ///
    /// That there is no next commit means that this is the newest only while log cleanup cannot have removed it: after
    /// a while the log is listed again.
    pub(crate) async fn refreshed(&self) -> Result<Self> {
        let mut snapshot = self.clone();
        for _ in 0..PROBES_MAX {
            let next = snapshot.next_version()?;
            match commit::read(&self.0.storage, next).await? {
                Some(commit) => snapshot = snapshot.followed_by(&Arc::new(commit))?,
                None if self.0.listed.age(&self.0.environment) < LISTED_FOR => return Ok(snapshot),
                None => break,
            }
        }
        let listed = Self::latest(&self.0.storage, &self.0.environment).await?;
        listed.check_same_table(&snapshot.metadata().id)?;
        // A stale listing must not take back what was already seen.
        Ok(if listed.version() < snapshot.version() {
            snapshot
        } else {
            listed
        })
    }

    /// How long ago the log was listed to know of this version, or of one that it follows.
    pub(crate) fn listed_for(&self) -> Duration {
        self.0.listed.age(&self.0.environment)
    }

    /// The version after this one.
    pub(crate) fn next_version(&self) -> Result<Version> {
        let next = self.0.version.checked_add(1);
        next.filter(|next| *next <= crate::protocol::VERSION_MAX)
            .ok_or_else(|| {
                Error::invalid(
                    Code::LimitExceeded,
                    "the table has reached the last version there can be",
                )
                .with("version", self.0.version)
            })
    }

    /// This snapshot with one more commit on top: costs the commit, not the table.
    pub(crate) fn followed_by(&self, commit: &Arc<Commit>) -> Result<Self> {
        let mut inner = Inner::clone(&self.0);
        let expected = self.next_version()?;
        if commit.version != expected {
            let message = "a commit does not follow the version it was to follow";
            return Err(Error::corrupt(Code::LogGap, message).with("missing", expected));
        }
        let mut building = Building {
            protocol: Some(Arc::clone(&inner.protocol)),
            metadata: Some(Arc::clone(&inner.metadata)),
            newest_metadata: None,
            txns: Arc::clone(&inner.txns),
            domains: Arc::clone(&inner.domains),
        };
        building.apply(commit)?;
        let built = building.finish(expected)?;
        inner.version = expected;
        inner.tail.push(Arc::clone(commit));
        inner.protocol = built.protocol;
        inner.metadata = built.metadata;
        inner.txns = built.txns;
        inner.domains = built.domains;
        Ok(Self(Arc::new(inner)))
    }

    /// This snapshot started from the checkpoint that was just written of it, so that refreshes replay less.
    pub(crate) fn anchored_at(
        &self,
        version: Version,
        reader: CheckpointReader,
        bytes: u64,
    ) -> Self {
        let mut inner = Inner::clone(&self.0);
        if version <= inner.version
            && inner
                .anchor
                .as_ref()
                .is_none_or(|old| old.version < version)
        {
            inner.tail.retain(|commit| version < commit.version);
            inner.anchor = Some(Anchor {
                version,
                reader,
                bytes,
            });
        }
        Self(Arc::new(inner))
    }

    fn check_same_table(&self, id: &str) -> Result<()> {
        if self.metadata().id == id {
            return Ok(());
        }
        let message = "the table was deleted and another one created in its place; open it again";
        Err(Error::conflict(Code::TableReplaced, message).with("table", self.0.storage.location()))
    }
}

enum Unloaded {
    /// The checkpoint cannot be read; an older anchor may do.
    Checkpoint(Error),
    /// A listed commit is not there.
    CommitGone(Error),
    Failed(Error),
}

impl From<Error> for Unloaded {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

fn passed_over() -> Error {
    Error::corrupt(
        Code::CorruptCheckpoint,
        "a checkpoint of this version was found unreadable before",
    )
}

fn unreadable_checkpoint(error: Error) -> Unloaded {
    match error.kind() {
        ErrorKind::Corrupt | ErrorKind::NotFound => Unloaded::Checkpoint(error),
        _ => Unloaded::Failed(error),
    }
}

async fn read_listed(storage: Storage, version: Version) -> Result<Arc<Commit>, Unloaded> {
    match commit::read(&storage, version).await {
        Ok(Some(commit)) => Ok(Arc::new(commit)),
        Ok(None) => {
            let message = "a commit of the log is missing";
            Err(Unloaded::CommitGone(
                Error::corrupt(Code::LogGap, message).with("version", version),
            ))
        }
        Err(error) => Err(Unloaded::Failed(error)),
    }
}

/// The state that is not files, while commits are applied to it.
#[derive(Default)]
struct Building {
    protocol: Option<Arc<Protocol>>,
    /// Parsed already: what holds unless a commit brings another.
    metadata: Option<Arc<TableMetadata>>,
    /// The newest one seen while applying, parsed at the end.
    newest_metadata: Option<Metadata>,
    txns: Arc<BTreeMap<String, Txn>>,
    domains: Arc<BTreeMap<String, DomainMetadata>>,
}

impl Building {
    fn from_checkpoint(state: CheckpointState) -> Self {
        let txns = state.txns.into_iter().map(|txn| (txn.app_id.clone(), txn));
        let domains = state.domains.into_iter().filter(|domain| !domain.removed);
        Self {
            protocol: Some(Arc::new(state.protocol)),
            metadata: None,
            newest_metadata: Some(state.metadata),
            txns: Arc::new(txns.collect()),
            domains: Arc::new(
                domains
                    .map(|domain| (domain.domain.clone(), domain))
                    .collect(),
            ),
        }
    }

    /// Spec: [Action Reconciliation](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#action-reconciliation).
    fn apply(&mut self, commit: &Commit) -> Result<()> {
        if let Some(protocol) = &commit.protocol {
            self.protocol = Some(Arc::new(protocol.clone()));
        }
        if let Some(metadata) = &commit.metadata {
            if self.id().is_some_and(|id| id != metadata.id) {
                let message =
                    "the table's id changes in the middle of its log: two tables were mixed";
                return Err(
                    Error::corrupt(Code::CorruptCommit, message).with("version", commit.version)
                );
            }
            self.newest_metadata = Some(metadata.clone());
        }
        if !commit.txns.is_empty() {
            let txns = Arc::make_mut(&mut self.txns);
            txns.extend(
                commit
                    .txns
                    .iter()
                    .map(|txn| (txn.app_id.clone(), txn.clone())),
            );
        }
        for domain in &commit.domains {
            let domains = Arc::make_mut(&mut self.domains);
            if domain.removed {
                domains.remove(&domain.domain);
            } else {
                domains.insert(domain.domain.clone(), domain.clone());
            }
        }
        Ok(())
    }

    fn id(&self) -> Option<&str> {
        let parsed = self
            .metadata
            .as_ref()
            .map(|metadata| metadata.action.id.as_str());
        self.newest_metadata
            .as_ref()
            .map(|metadata| metadata.id.as_str())
            .or(parsed)
    }

    fn finish(self, version: Version) -> Result<Built> {
        let missing = |what: &str| {
            let message = format!("the log has no {what} action up to this version");
            Error::corrupt(Code::NoUsableAnchor, message).with("version", version)
        };
        let protocol = self.protocol.ok_or_else(|| missing("protocol"))?;
        feature::check_readable(&protocol)?;
        let metadata = match self.newest_metadata {
            Some(action) => {
                let parsed = TableMetadata::new(action);
                Arc::new(parsed.map_err(|error| error.with("version", version))?)
            }
            None => self.metadata.ok_or_else(|| missing("metaData"))?,
        };
        feature::check_columns(&protocol, &metadata.schema)?;
        Ok(Built {
            protocol,
            metadata,
            txns: self.txns,
            domains: self.domains,
        })
    }
}

struct Built {
    protocol: Arc<Protocol>,
    metadata: Arc<TableMetadata>,
    txns: Arc<BTreeMap<String, Txn>>,
    domains: Arc<BTreeMap<String, DomainMetadata>>,
}
