//! Writing checkpoints: V1, one file, the classic name.

use std::time::Duration;

use arrow_array::BooleanArray;

use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::log::checkpoint::encode::{Encoder, Piece};
use crate::log::checkpoint::read::CheckpointReader;
use crate::log::checkpoint::schema::Layout;
use crate::log::checkpoint::state::CheckpointState;
use crate::log::checkpoint::{cannot_build, corrupt};
use crate::log::files::FileBatch;
use crate::log::hint::LastCheckpoint;
use crate::log::path::checkpoint_key;
use crate::log::removes::RemoveBatch;
use crate::log::segment::CheckpointFiles;
use crate::protocol::Version;
use crate::protocol::property::TableProperties;
use crate::protocol::schema::Schema;
use crate::storage::{ObjectInfo, Storage, Upload};

/// The state of a table at one version, reconciled. The commit of that version exists.
#[derive(Debug)]
pub(crate) struct CheckpointInput {
    /// The version.
    pub(crate) version: Version,
    /// Protocol, metadata, transactions, domains.
    pub(crate) state: CheckpointState,
    /// The table's schema.
    pub(crate) schema: Schema,
    /// The table's properties.
    pub(crate) properties: TableProperties,
    /// Live files, with everything that is known of them: see [`FileColumns::all`](super::FileColumns::all).
    pub(crate) files: Vec<FileBatch>,
    /// Tombstones; those past retention are left out.
    pub(crate) removes: Vec<RemoveBatch>,
}

/// Writes the checkpoint, reads back what it says of the table as a whole and of its size, and then moves the hint to it,
/// unless the hint names a newer one.
///
/// Memory beside the input: a few row groups and eight bytes a file. A checkpoint that is there and whole, as far as its
/// footer tells, is left as it is: readers may have it open.
///
/// # Errors
///
/// What the store says; `CorruptCheckpoint` if what was read back is not what was written.
pub(crate) async fn write(
    storage: &Storage,
    environment: &Environment,
    input: CheckpointInput,
) -> Result<LastCheckpoint> {
    let version = input.version;
    let made = write_at(storage, environment, input).await;
    made.map_err(|error| error.with("version", version))
}

async fn write_at(
    storage: &Storage,
    environment: &Environment,
    input: CheckpointInput,
) -> Result<LastCheckpoint> {
    let key = checkpoint_key(input.version);
    let version = input.version;
    let now_millis = environment.now_millis();
    let adds = input.files.iter().map(FileBatch::len).sum::<usize>();
    let adds = u64::try_from(adds).unwrap_or(u64::MAX);
    let state = kept(input.state.clone(), &input.properties, now_millis);
    let wanted = state.clone();
    if let Some(hint) = standing(storage, version, adds, &wanted).await? {
        hint.publish(storage).await?;
        return Ok(hint);
    }
    let encoder = environment.run_blocking(move || {
        let CheckpointInput {
            schema,
            properties,
            files,
            removes,
            ..
        } = input;
        let layout = Layout::new(&state.protocol, &state.metadata, &schema, &properties);
        let removes = in_retention(removes, &properties, now_millis)?;
        Encoder::new(layout, state, files, removes)
    });
    let encoder = encoder.await.ok_or_else(broken)??;
    let rows = encoder.rows();
    let mut upload = storage.upload(&key).await?;
    // The footer is written last and only if all went well: half a checkpoint is no Parquet file.
    let size = match send(environment, encoder, &mut upload).await {
        Ok(()) => upload.finish().await?,
        Err(error) => {
            // What was sent is no object yet; the first error is the one to tell.
            let _ = upload.abort().await;
            return Err(error);
        }
    };
    let object = ObjectInfo {
        key,
        size,
        modified_millis: now_millis,
    };
    let files = CheckpointFiles::new(version, vec![object]);
    check(storage, &files, (rows, adds), &wanted).await?;
    let hint = LastCheckpoint::of(version, rows, size, adds);
    hint.publish(storage).await?;
    Ok(hint)
}

/// What the hint says of the checkpoint of this version that another writer has written, if there is one that says the
/// same.
async fn standing(
    storage: &Storage,
    version: Version,
    adds: u64,
    wanted: &CheckpointState,
) -> Result<Option<LastCheckpoint>> {
    let Some(object) = storage.head(&checkpoint_key(version)).await? else {
        return Ok(None);
    };
    let size = object.size;
    let files = CheckpointFiles::new(version, vec![object]);
    let reader = match CheckpointReader::open(storage, &files).await {
        Ok(reader) => reader,
        Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(None),
        Err(error) => return Err(error),
    };
    let state = reader.state();
    // Which transactions have expired by now is another matter.
    let is_same = state.protocol == wanted.protocol && state.metadata == wanted.metadata;
    let is_whole = reader.adds() == Some(adds);
    Ok((is_same && is_whole).then(|| LastCheckpoint::of(version, reader.rows(), size, adds)))
}

async fn send(environment: &Environment, mut encoder: Encoder, upload: &mut Upload) -> Result<()> {
    loop {
        let step = environment.run_blocking(move || {
            let piece = encoder.next();
            (encoder, piece)
        });
        let (rest, piece) = step.await.ok_or_else(broken)?;
        encoder = rest;
        let Piece { bytes, last } = piece?;
        upload.write(bytes).await?;
        if last {
            return Ok(());
        }
    }
}

/// What the checkpoint says of the table as a whole: transactions that expired and domains that were removed are left
/// out, and with them fields that a checkpoint has no place for.
fn kept(
    mut state: CheckpointState,
    properties: &TableProperties,
    now_millis: i64,
) -> CheckpointState {
    let protocol = &mut state.protocol;
    let features =
        |features: Option<Vec<String>>, has: bool| has.then(|| features.unwrap_or_default());
    protocol.reader_features = features(
        protocol.reader_features.take(),
        3 <= protocol.min_reader_version,
    );
    protocol.writer_features = features(
        protocol.writer_features.take(),
        7 <= protocol.min_writer_version,
    );
    state.metadata.unknown.clear();
    if let Some(retention) = properties.set_transaction_retention {
        let oldest = now_millis.saturating_sub(millis(retention));
        state
            .txns
            .retain(|txn| txn.last_updated.is_none_or(|updated| oldest < updated));
    }
    state.txns.sort_by(|a, b| a.app_id.cmp(&b.app_id));
    state.domains.retain(|domain| !domain.removed);
    state.domains.sort_by(|a, b| a.domain.cmp(&b.domain));
    state
        .domains
        .iter_mut()
        .for_each(|domain| domain.unknown.clear());
    state
}

/// Tombstones that vacuum still has to know of. One without a time may be young.
fn in_retention(
    removes: Vec<RemoveBatch>,
    properties: &TableProperties,
    now_millis: i64,
) -> Result<Vec<RemoveBatch>> {
    let oldest = now_millis.saturating_sub(millis(properties.deleted_file_retention));
    let young = |removes: RemoveBatch| {
        let keep: BooleanArray = (0..removes.len())
            .map(|row| {
                Some(
                    removes
                        .deletion_timestamp(row)
                        .is_none_or(|time| oldest < time),
                )
            })
            .collect();
        removes.filter(&keep)
    };
    removes.into_iter().map(young).collect()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Reads back what no reader could do without.
async fn check(
    storage: &Storage,
    files: &CheckpointFiles,
    (rows, adds): (u64, u64),
    wanted: &CheckpointState,
) -> Result<()> {
    let reader = CheckpointReader::open(storage, files).await?;
    if reader.rows() != rows || reader.state() != wanted {
        return Err(corrupt(
            "what was read back of the checkpoint is not what was written",
        ));
    }
    let found = reader.adds();
    if found != Some(adds) {
        return Err(corrupt(format!(
            "the checkpoint was written with {adds} files and has others"
        )));
    }
    Ok(())
}

fn broken() -> Error {
    cannot_build("encoding a checkpoint panicked")
}
