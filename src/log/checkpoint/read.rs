//! Reading checkpoints: V1 in one file or several, V2 in Parquet or JSON, with or without sidecars.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use futures::future;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use crate::error::{Error, Result};
use crate::log::checkpoint::files::{self, FileColumns, Plan, StatsWanted};
use crate::log::checkpoint::json::{self, Lines};
use crate::log::checkpoint::part::Part;
use crate::log::checkpoint::state::{CheckpointState, Found};
use crate::log::checkpoint::{corrupt, in_checkpoint, schema};
use crate::log::files::FileBatch;
use crate::log::removes::RemoveBatch;
use crate::log::segment::CheckpointFiles;
use crate::protocol::Version;
use crate::protocol::action::Sidecar;
use crate::protocol::location::resolve_sidecar;
use crate::protocol::schema::Schema;
use crate::storage::Storage;

/// Footers that are fetched at one time.
const OPENS_AT_ONCE: usize = 8;
/// How many sidecars a checkpoint may name.
const SIDECARS_MAX: usize = 100_000;

/// A checkpoint whose footers and non-file actions have been read. Cloning is cheap.
///
/// What cannot be read is [`Code::CorruptCheckpoint`](crate::error::Code::CorruptCheckpoint), upon which the caller falls
/// back to an older checkpoint; failures of the store stay what they are.
#[derive(Debug, Clone)]
pub(crate) struct CheckpointReader(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    storage: Storage,
    version: Version,
    state: CheckpointState,
    parts: Vec<Part>,
    sidecars: Vec<(String, u64)>,
    inline: Option<Inline>,
    rows: u64,
}

/// File actions of a checkpoint in JSON.
#[derive(Debug)]
struct Inline {
    adds: FileBatch,
    removes: RemoveBatch,
}

impl CheckpointReader {
    /// Reads footers and everything but file actions.
    pub(crate) async fn open(storage: &Storage, files: &CheckpointFiles) -> Result<Self> {
        let version = files.version;
        let at_version = |error: Error| error.with("version", version);
        let reader = Self::open_at(storage, files).await.map_err(at_version)?;
        reader.check_hint(files)?;
        Ok(reader)
    }

    /// Holds what there is against the hint, so that a file cut short by its writer shows.
    ///
    /// Two writers of one version agree on its live files, but maybe not on which tombstones are past retention, and some
    /// engines give bytes for the number of actions. So that number counts only if the hint is about these very bytes.
    /// Sidecars are held against their sizes when they are opened.
    fn check_hint(&self, files: &CheckpointFiles) -> Result<()> {
        let Some(hint) = files.hint.as_ref().filter(|_| !self.has_sidecars()) else {
            return Ok(());
        };
        let adds = hint.num_of_add_files.zip(self.adds());
        if let Some((expected, found)) = adds.filter(|(expected, found)| expected != found) {
            return Err(
                self.incomplete(format!("the checkpoint has {found} files, not {expected}"))
            );
        }
        let same_bytes = hint.size_in_bytes == Some(files.bytes());
        match hint.size.filter(|_| same_bytes) {
            Some(expected) => self.check_rows(expected),
            None => Ok(()),
        }
    }

    async fn open_at(storage: &Storage, files: &CheckpointFiles) -> Result<Self> {
        match files.objects.as_slice() {
            [object] if object.key.ends_with(".json") => {
                let bytes = storage.get_limited(&object.key, json::BYTES_MAX).await;
                let bytes = bytes.map_err(|error| in_checkpoint(error, &object.key))?;
                if u64::try_from(bytes.len()) != Ok(object.size) {
                    return Err(in_checkpoint(
                        corrupt("its size is not the listed one"),
                        &object.key,
                    ));
                }
                let made = Self::of_json(storage, files.version, &bytes);
                made.map_err(|error| in_checkpoint(error, &object.key))
            }
            objects => {
                let opens = objects.iter().cloned().map(|object| {
                    let storage = storage.clone();
                    async move { Part::open(&storage, &object.key, object.size).await }
                });
                let parts = stream::iter(opens)
                    .buffered(OPENS_AT_ONCE)
                    .try_collect()
                    .await?;
                Self::of_parts(storage, files.version, parts).await
            }
        }
    }

    fn of_json(storage: &Storage, version: Version, bytes: &[u8]) -> Result<Self> {
        let lines = Lines::read(bytes)?;
        let inline = Inline {
            adds: FileBatch::from_adds(lines.adds)?,
            removes: RemoveBatch::from_removes(lines.removes)?,
        };
        if !lines.found.is_v2() {
            return Err(corrupt("it has no checkpointMetadata"));
        }
        let sidecars = sidecars(&lines.found.sidecars)?;
        let outside = inline.adds.len() + inline.removes.len();
        if !sidecars.is_empty() && 0 < outside {
            return Err(mixed());
        }
        Ok(Self(Arc::new(Inner {
            storage: storage.clone(),
            version,
            state: lines.found.finish(version)?,
            parts: Vec::new(),
            sidecars,
            inline: Some(inline),
            rows: lines.rows,
        })))
    }

    async fn of_parts(storage: &Storage, version: Version, parts: Vec<Part>) -> Result<Self> {
        let mut found = Found::default();
        for part in &parts {
            let taken = take_state(part, &mut found).await;
            taken.map_err(|error| in_checkpoint(error, part.key()))?;
        }
        let key = parts
            .first()
            .map(|part| part.key().to_owned())
            .unwrap_or_default();
        let here = |error| in_checkpoint(error, &key);
        let sidecars = sidecars(&found.sidecars).map_err(here)?;
        if !sidecars.is_empty() && !found.is_v2() {
            return Err(here(corrupt("it has sidecars but no checkpointMetadata")));
        }
        Ok(Self(Arc::new(Inner {
            storage: storage.clone(),
            version,
            state: found.finish(version).map_err(here)?,
            rows: parts.iter().map(Part::rows).sum(),
            parts,
            sidecars,
            inline: None,
        })))
    }

    /// The version the checkpoint is of.
    pub(crate) fn version(&self) -> Version {
        self.0.version
    }

    /// Protocol, metadata, transactions, domains.
    pub(crate) fn state(&self) -> &CheckpointState {
        &self.0.state
    }

    /// How many actions there are, those in sidecars aside.
    pub(crate) fn rows(&self) -> u64 {
        self.0.rows
    }

    /// Whether file actions are in sidecars.
    pub(crate) fn has_sidecars(&self) -> bool {
        !self.0.sidecars.is_empty()
    }

    /// The keys of the sidecars.
    pub(crate) fn sidecar_keys(&self) -> impl Iterator<Item = &str> {
        self.0.sidecars.iter().map(|(key, _)| key.as_str())
    }

    /// How many live files there are, if that is known without reading them.
    pub(crate) fn adds(&self) -> Option<u64> {
        match &self.0.inline {
            _ if self.has_sidecars() => None,
            Some(inline) => u64::try_from(inline.adds.len()).ok(),
            None => self
                .0
                .parts
                .iter()
                .map(|part| part.values(&["add", "path"]))
                .sum(),
        }
    }

    fn check_rows(&self, expected: u64) -> Result<()> {
        if expected <= self.rows() {
            return Ok(());
        }
        let found = self.rows();
        Err(self.incomplete(format!(
            "the checkpoint has {found} actions, not {expected}"
        )))
    }

    fn incomplete(&self, message: String) -> Error {
        corrupt(message).with("version", self.version())
    }

    /// Live files, in the order of the checkpoint.
    pub(crate) async fn files(
        &self,
        columns: FileColumns,
    ) -> Result<BoxStream<'static, Result<FileBatch>>> {
        if let Some(inline) = self.0.inline.as_ref().filter(|_| !self.has_sidecars()) {
            let adds = inline.adds.clone();
            return Ok(stream::iter([Ok(adds)]).boxed());
        }
        // A schema that cannot be read is reported by whoever needs it; here it only tells times apart.
        let instants = match columns.stats {
            StatsWanted::All => Schema::from_json(&self.state().metadata.schema_string).ok(),
            _ => None,
        };
        let instants = Arc::new(instants.as_ref().map(schema::instants).unwrap_or_default());
        let batches = self.batches(move |part| {
            let plan = Plan::new(part, &columns, &instants);
            let projection = plan.projection(part)?;
            let turn = move |batch: &RecordBatch| plan.adds(batch);
            Some(("add", projection, turn))
        });
        Ok(batches
            .try_filter(|batch: &FileBatch| future::ready(!batch.is_empty()))
            .boxed())
    }

    /// Tombstones.
    pub(crate) async fn removes(&self) -> Result<BoxStream<'static, Result<RemoveBatch>>> {
        if let Some(inline) = self.0.inline.as_ref().filter(|_| !self.has_sidecars()) {
            let removes = inline.removes.clone();
            return Ok(stream::iter([Ok(removes)]).boxed());
        }
        let batches = self.batches(|part| {
            let projection = files::remove_projection(part)?;
            Some((
                "remove",
                projection,
                files::removes as fn(&RecordBatch) -> _,
            ))
        });
        Ok(batches
            .try_filter(|batch: &RemoveBatch| future::ready(!batch.is_empty()))
            .boxed())
    }

    /// Reads one kind of file action of all parts, or of all sidecars where there are any.
    fn batches<T, P, F>(&self, plan: P) -> BoxStream<'static, Result<T>>
    where
        T: Send + 'static,
        P: Fn(&Part) -> Option<(&'static str, parquet::arrow::ProjectionMask, F)>,
        P: Clone + Send + 'static,
        F: Fn(&RecordBatch) -> Result<T> + Send + 'static,
    {
        let inner = Arc::clone(&self.0);
        let parts = stream::iter(inner.parts.clone()).map(Ok).boxed();
        let parts = match inner.sidecars.is_empty() {
            true => parts,
            false => sidecar_parts(inner),
        };
        let version = self.version();
        parts
            .and_then(move |part| read_part(part, plan.clone()))
            .try_flatten()
            .map_err(move |error| error.with("version", version))
            .boxed()
    }
}

/// Opens sidecars, in order, once it is sure that no file action stands outside them.
fn sidecar_parts(inner: Arc<Inner>) -> BoxStream<'static, Result<Part>> {
    let parts = inner.parts.clone();
    let checked = stream::once(async move {
        for part in &parts {
            refuse_files(part).await?;
        }
        Ok(None)
    });
    let opened = stream::iter(inner.sidecars.clone()).map(move |(key, size)| {
        let storage = inner.storage.clone();
        async move { Part::open(&storage, &key, size).await }
    });
    let opened = opened.buffered(OPENS_AT_ONCE).map_ok(Some);
    checked
        .chain(opened)
        .try_filter_map(|part| future::ready(Ok(part)))
        .boxed()
}

/// A V2 checkpoint has all its file actions in sidecars or none.
async fn refuse_files(part: &Part) -> Result<()> {
    for root in ["add", "remove"] {
        let groups = part.groups_of(root);
        let columns = part.columns(|parts| parts.iter().eq([root, "path"].iter()));
        let Some(columns) = columns.filter(|_| !groups.is_empty()) else {
            continue;
        };
        let mut batches = part.read(groups, columns).await?;
        while let Some(batch) = batches.try_next().await? {
            let values = batch.column_by_name(root).and_then(|array| {
                let fields = array.as_struct_opt()?;
                Some(fields.column_by_name("path")?.logical_null_count() < batch.num_rows())
            });
            if values == Some(true) {
                return Err(in_checkpoint(mixed(), part.key()));
            }
        }
    }
    Ok(())
}

async fn read_part<T, P, F>(part: Part, plan: P) -> Result<BoxStream<'static, Result<T>>>
where
    T: Send + 'static,
    P: Fn(&Part) -> Option<(&'static str, parquet::arrow::ProjectionMask, F)>,
    F: Fn(&RecordBatch) -> Result<T> + Send + 'static,
{
    let Some((root, projection, turn)) = plan(&part) else {
        return Ok(stream::empty().boxed());
    };
    let groups = part.groups_of(root);
    if groups.is_empty() {
        return Ok(stream::empty().boxed());
    }
    let key = part.key().to_owned();
    let batches = part.read(groups, projection).await?;
    let turned = move |batch: RecordBatch| turn(&batch).map_err(|error| in_checkpoint(error, &key));
    Ok(batches.map(move |batch| batch.and_then(&turned)).boxed())
}

async fn take_state(part: &Part, found: &mut Found) -> Result<()> {
    let mut batches = part.read_state().await?;
    while let Some(batch) = batches.try_next().await? {
        found.batch(&batch)?;
    }
    Ok(())
}

/// The keys and sizes of sidecars.
fn sidecars(found: &[Sidecar]) -> Result<Vec<(String, u64)>> {
    if SIDECARS_MAX < found.len() {
        return Err(corrupt(format!(
            "it names more than {SIDECARS_MAX} sidecars"
        )));
    }
    let sidecar = |sidecar: &Sidecar| {
        let size = u64::try_from(sidecar.size_in_bytes)
            .map_err(|_| corrupt("a sidecar has an impossible size"))?;
        Ok((resolve_sidecar(&sidecar.path)?, size))
    };
    found.iter().map(sidecar).collect()
}

fn mixed() -> Error {
    corrupt("it has file actions in sidecars and outside them")
}
