//! From the log to a snapshot, and from a snapshot to the next one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};

use crate::environment::Environment;
use crate::error::{Code, Error, ErrorKind, Result};
use crate::log::checkpoint::{CheckpointReader, CheckpointState};
use crate::log::commit::{self, Commit};
use crate::log::segment::{CheckpointFiles, LogSegment};
use crate::protocol::Version;
use crate::protocol::action::{DomainMetadata, Metadata, Protocol};
use crate::protocol::feature;
use crate::snapshot::txns::Txns;
use crate::snapshot::{Anchor, Inner, Moment, Snapshot, TableMetadata};
use crate::storage::Storage;

/// How many commit files are fetched at once.
const COMMITS_IN_FLIGHT: usize = 16;
/// How many newer commits a refresh probes for one by one before it lists the log instead.
const PROBES_MAX: usize = 64;
/// How long it is taken for granted that a version is in the log after it was seen there. Log cleanup leaves alone what
/// is younger than an hour, but a table can be deleted, and another one created in its place, in no time.
const SEEN_FOR: Duration = Duration::from_secs(5);

impl Snapshot {
    /// Loads the newest version. A listing may be late, so what follows the newest version that it shows is asked for:
    /// whoever committed finds the commit.
    pub(crate) async fn latest(storage: &Storage, environment: &Environment) -> Result<Self> {
        let listed = Self::load(storage, environment, None).await?;
        let (newest, _) = listed.followed_to_the_end().await?;
        Ok(newest)
    }

    /// Version 0 of a table, from the commit that was just written.
    pub(crate) fn created(
        storage: &Storage,
        environment: &Environment,
        commit: Commit,
    ) -> Result<Self> {
        let mut building = Building::default();
        building.apply(&commit)?;
        let built = building.finish(commit.version)?;
        Ok(Self(Arc::new(Inner {
            storage: storage.clone(),
            environment: environment.clone(),
            version: commit.version,
            anchor: None,
            protocol: built.protocol,
            metadata: built.metadata,
            txns: built.txns,
            domains: built.domains,
            seen: Moment::now(environment),
            latest_seen: commit.version,
            tail: vec![Arc::new(commit)],
        })))
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
        Self::of_segment((storage, environment), segment, version, None).await
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
        // The commits after it are here already; the last of them may be one that is only staged, and in no log.
        let version = Some(bad);
        let mut segment = LogSegment::list(&self.0.storage, version).await?;
        let mut cause = Some(cause);
        // One older than that, so that each such step leads back towards version 0: unless another writer replaced the
        // checkpoint while it was read, and the one that is there now may do.
        while segment
            .checkpoint
            .as_ref()
            .is_some_and(|checkpoint| bad <= checkpoint.version && !self.is_replaced_by(checkpoint))
        {
            let why = cause.take().unwrap_or_else(passed_over);
            segment = segment.without_checkpoint(&self.0.storage, why).await?;
        }
        let world = (&self.0.storage, &self.0.environment);
        let mut snapshot = Self::of_segment(world, segment, version, None).await?;
        for commit in &self.0.tail {
            snapshot = snapshot.followed_by(commit)?;
        }
        Ok(snapshot)
    }

    /// Whether these files have the names of the checkpoint that this snapshot starts from, but are others.
    fn is_replaced_by(&self, files: &CheckpointFiles) -> bool {
        let known = self.0.anchor.as_ref().map(|anchor| &anchor.files);
        known.is_some_and(|known| {
            known.version == files.version && known.name() == files.name() && !known.is_same(files)
        })
    }

    /// `known`: a snapshot of the same log, whose checkpoint and commits need not be read again.
    async fn of_segment(
        (storage, environment): (&Storage, &Environment),
        mut segment: LogSegment,
        version: Option<Version>,
        known: Option<&Self>,
    ) -> Result<Self> {
        let mut listed_again = false;
        loop {
            match Self::from_segment(storage, environment, &segment, known).await {
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
        known: Option<&Self>,
    ) -> Result<Self, Unloaded> {
        let (anchor, mut building) = match &segment.checkpoint {
            Some(files) => {
                let anchor = Anchor::open(storage, files, known).await?;
                let state = Building::from_checkpoint(anchor.reader.state().clone());
                (Some(anchor), state)
            }
            None => (None, Building::default()),
        };
        let commits = segment.commits.iter();
        let reads: Vec<_> = commits
            .map(|file| {
                (
                    file.version,
                    known.and_then(|known| known.commit(file.version)),
                )
            })
            .collect();
        let tail: Vec<Arc<Commit>> = futures::stream::iter(reads)
            .map(|(version, known)| read_listed(storage.clone(), version, known))
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
            seen: Moment::now(environment),
            latest_seen: segment.latest,
        })))
    }

    /// The newest version, reached by reading only the commits after this one.
    ///
    /// That there is no next commit means that this is the newest only while this one is in the log: log cleanup may
    /// have removed both, or another table may be there by now. So unless it was seen just now, it is looked at first.
    pub(crate) async fn refreshed(&self) -> Result<Self> {
        let Some(seen) = self.seen_again().await? else {
            return self.listed_again(None).await;
        };
        match seen.followed_to_the_end().await? {
            (newest, true) => Ok(newest),
            (newer, false) => newer.listed_again(Some(&newer)).await,
        }
    }

    /// Goes on top of the commits after this one, and says whether there are no more of them.
    async fn followed_to_the_end(&self) -> Result<(Self, bool)> {
        let mut snapshot = self.clone();
        for _ in 0..PROBES_MAX {
            let next = snapshot.next_version()?;
            match commit::read(&self.0.storage, next).await? {
                Some(commit) => snapshot = snapshot.followed_by_seen(&Arc::new(commit))?,
                None => {
                    let is_newest = snapshot.0.latest_seen <= snapshot.version();
                    return Ok((snapshot, is_newest));
                }
            }
        }
        Ok((snapshot, false))
    }

    /// The newest version by listing the log. `known` is a version of this log, which need not be read again; without
    /// it, the commit of this version is not where it was.
    async fn listed_again(&self, known: Option<&Self>) -> Result<Self> {
        let (storage, environment) = (&self.0.storage, &self.0.environment);
        let segment = LogSegment::list(storage, None).await?;
        // It may be gone because a checkpoint serves in its place: the one that this snapshot is.
        let anchor = self.0.anchor.as_ref().map(|anchor| &anchor.files);
        let is_this = segment.version == self.version()
            && self.0.tail.is_empty()
            && anchor
                .zip(segment.checkpoint.as_ref())
                .is_some_and(|(one, other)| one.is_same(other));
        let known = known.or(is_this.then_some(self));
        let listed = Self::of_segment((storage, environment), segment, None, known).await?;
        listed.check_same_table(&self.metadata().id)?;
        let (listed, _) = listed.followed_to_the_end().await?;
        if self.version() <= listed.version() {
            return Ok(listed);
        }
        match known {
            // A stale listing must not take back what was already seen.
            Some(known) => Ok(known.clone()),
            None => {
                let message = "the newest version that was seen is no longer in the log";
                Err(Error::corrupt(Code::LogGap, message).with("missing", self.version()))
            }
        }
    }

    /// This snapshot, if its version is in the log now, and still the same; `None` if it is not.
    ///
    /// Costs nothing if that was seen just now, else one request.
    pub(crate) async fn seen_again(&self) -> Result<Option<Self>> {
        if self.seen_for() < SEEN_FOR {
            return Ok(Some(self.clone()));
        }
        let storage = &self.0.storage;
        let is_there = match self.last_commit() {
            Some(known) => commit::is_there(storage, known).await?,
            // Of a commit that was never read it only shows whether it is of another table.
            None => match commit::read(storage, self.version()).await? {
                Some(found) => found.table_id().is_none_or(|id| id == self.metadata().id),
                None => false,
            },
        };
        Ok(is_there.then(|| {
            let mut inner = Inner::clone(&self.0);
            inner.seen = Moment::now(&inner.environment);
            Self(Arc::new(inner))
        }))
    }

    /// How long ago this version was seen in the log.
    pub(crate) fn seen_for(&self) -> Duration {
        self.0.seen.age(&self.0.environment)
    }

    /// Whether no newer version was ever seen in the log.
    pub(crate) fn is_latest_seen(&self) -> bool {
        self.0.latest_seen <= self.version()
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
        self.followed(commit, self.0.seen)
    }

    /// As [`followed_by`](Self::followed_by), of a commit that was read or written just now.
    pub(crate) fn followed_by_seen(&self, commit: &Arc<Commit>) -> Result<Self> {
        self.followed(commit, Moment::now(&self.0.environment))
    }

    fn followed(&self, commit: &Arc<Commit>, seen: Moment) -> Result<Self> {
        let mut inner = Inner::clone(&self.0);
        let expected = self.next_version()?;
        if commit.version != expected {
            let message = "a commit does not follow the version it was to follow";
            return Err(Error::corrupt(Code::LogGap, message).with("missing", expected));
        }
        self.check_same_log(commit)?;
        let mut building = Building {
            protocol: Some(Arc::clone(&inner.protocol)),
            metadata: Some(Arc::clone(&inner.metadata)),
            newest_metadata: None,
            txns: inner.txns.clone(),
            domains: Arc::clone(&inner.domains),
        };
        building.apply(commit)?;
        let built = building.finish(expected)?;
        inner.version = expected;
        inner.seen = seen;
        inner.latest_seen = inner.latest_seen.max(expected);
        inner.tail.push(Arc::clone(commit));
        inner.protocol = built.protocol;
        inner.metadata = built.metadata;
        inner.txns = built.txns;
        inner.domains = built.domains;
        Ok(Self(Arc::new(inner)))
    }

    /// This snapshot started from the checkpoint that was just written of it, so that refreshes replay less.
    pub(crate) fn anchored_at(&self, files: CheckpointFiles, reader: CheckpointReader) -> Self {
        self.anchored(Anchor { files, reader })
    }

    /// This snapshot started from the checkpoint of another one of the same log, if that is the newer one.
    pub(crate) fn anchored_as(&self, other: &Self) -> Self {
        match &other.0.anchor {
            Some(anchor) => self.anchored(anchor.clone()),
            None => self.clone(),
        }
    }

    fn anchored(&self, anchor: Anchor) -> Self {
        let version = anchor.files.version;
        let known = self.checkpoint_version();
        if self.0.version < version || known.is_some_and(|known| version <= known) {
            return self.clone();
        }
        let mut inner = Inner::clone(&self.0);
        inner.tail.retain(|commit| version < commit.version);
        inner.anchor = Some(anchor);
        Self(Arc::new(inner))
    }

    /// Whether this is still the table of that id.
    pub(crate) fn check_same_table(&self, id: &str) -> Result<()> {
        match self.metadata().id == id {
            true => Ok(()),
            false => Err(self.replaced()),
        }
    }

    /// Whether a commit is of this table, as far as it says.
    pub(crate) fn check_same_log(&self, commit: &Commit) -> Result<()> {
        match commit.table_id() {
            Some(id) if id != self.metadata().id => {
                Err(self.replaced().with("version", commit.version))
            }
            _ => Ok(()),
        }
    }

    fn replaced(&self) -> Error {
        let message = "the table was deleted and another one created in its place; open it again";
        let table = self.0.storage.location();
        Error::conflict(Code::TableReplaced, message).with("table", table)
    }
}

impl Anchor {
    /// Opens a checkpoint, unless it is the one that a known snapshot starts from.
    async fn open(
        storage: &Storage,
        files: &CheckpointFiles,
        known: Option<&Snapshot>,
    ) -> Result<Self, Unloaded> {
        let known = known.and_then(|known| known.0.anchor.as_ref());
        if let Some(known) = known.filter(|known| known.files.is_same(files)) {
            return Ok(known.clone());
        }
        let reader = CheckpointReader::open(storage, files).await;
        Ok(Self {
            files: files.clone(),
            reader: reader.map_err(unreadable_checkpoint)?,
        })
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
        // No accident makes such a path: what else the log says is not to be trusted either.
        _ if error.code() == Code::UnsafePath => Unloaded::Failed(error),
        ErrorKind::Corrupt | ErrorKind::NotFound => Unloaded::Checkpoint(error),
        _ => Unloaded::Failed(error),
    }
}

async fn read_listed(
    storage: Storage,
    version: Version,
    known: Option<Arc<Commit>>,
) -> Result<Arc<Commit>, Unloaded> {
    if let Some(known) = known {
        return Ok(known);
    }
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
    txns: Txns,
    domains: Arc<BTreeMap<String, DomainMetadata>>,
}

impl Building {
    fn from_checkpoint(state: CheckpointState) -> Self {
        let domains = state.domains.into_iter().filter(|domain| !domain.removed);
        Self {
            protocol: Some(Arc::new(state.protocol)),
            metadata: None,
            newest_metadata: Some(state.metadata),
            txns: Txns::new(state.txns),
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
        let says = commit.table_id();
        if says.zip(self.id()).is_some_and(|(says, id)| says != id) {
            let message = "a commit was written for another table: two tables were mixed";
            return Err(
                Error::corrupt(Code::CorruptCommit, message).with("version", commit.version)
            );
        }
        self.txns.extend(&commit.txns);
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
    txns: Txns,
    domains: Arc<BTreeMap<String, DomainMetadata>>,
}
