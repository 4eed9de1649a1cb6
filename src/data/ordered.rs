//! The rows of several files in their order, decoded side by side, in bounded memory.

use futures::channel::mpsc;
use futures::stream::BoxStream;
use futures::{SinkExt, StreamExt, TryStreamExt};

use crate::data::reader::{DataFile, FileReader, Reader, Rows, is_missing_vector};
use crate::error::{Code, Error, ErrorKind, Result};
use crate::snapshot::Snapshot;

/// How many files are opened ahead of the one that is decoded.
const FILES_AHEAD: usize = 4;
/// How many parts (row groups) of files are decoded ahead of the one whose rows are handed out.
const PARTS_AHEAD: usize = 3;
/// How many batches of a part wait to be handed out.
const BATCHES_AHEAD: usize = 4;

/// Rows of one file.
#[derive(Debug, Clone)]
pub(crate) struct FileRows {
    /// Which of the files, by its place among them.
    pub(crate) place: usize,
    /// The open file.
    pub(crate) file: FileReader,
    /// The rows.
    pub(crate) rows: Rows,
}

/// The rows of the files, in order. Dropping the stream stops the work.
///
/// A file that is missing is an error that says whether it was vacuumed: `snapshot` is the version that is read.
pub(crate) fn in_order(
    reader: Reader,
    files: Vec<DataFile>,
    snapshot: Snapshot,
) -> BoxStream<'static, Result<FileRows>> {
    let (opening, read) = (snapshot.environment().clone(), snapshot.clone());
    let opened = futures::stream::iter(files.into_iter().enumerate()).map(move |(place, file)| {
        let (reader, snapshot) = (reader.clone(), snapshot.clone());
        // On a task of its own: it goes on while rows of earlier files are handed out.
        let task = opening.spawn(async move {
            match reader.open(&file).await {
                Err(error) => Err(expired(&snapshot, &file, error).await),
                Ok(opened) => Ok((place, opened, file)),
            }
        });
        async move { task.join().await.unwrap_or_else(|| Err(stopped())) }
    });
    let parts = opened
        .buffered(FILES_AHEAD)
        .map_ok(move |(place, file, data)| {
            let source = Source {
                data,
                snapshot: read.clone(),
            };
            let parts = (0..file.parts()).map(move |part| {
                let (file, source) = (file.clone(), source.clone());
                Ok((place, file, part, source))
            });
            futures::stream::iter(parts)
        })
        .try_flatten();
    let decoding = parts.map(move |part| async move {
        part.map(|(place, file, part, source)| start(place, file, part, source))
    });
    decoding.buffered(PARTS_AHEAD).try_flatten().boxed()
}

/// A file that is missing has expired, if a later version removed it: then it was vacuumed. Else the table is damaged.
pub(crate) async fn expired(snapshot: &Snapshot, file: &DataFile, error: Error) -> Error {
    let is_missing = std::error::Error::source(&error)
        .and_then(|cause| cause.downcast_ref::<Error>())
        .is_some_and(|cause| cause.kind() == ErrorKind::NotFound);
    if !is_missing || error.kind() != ErrorKind::Corrupt {
        return error;
    }
    let newest = Snapshot::latest(snapshot.storage(), snapshot.environment()).await;
    let Ok(newest) = newest else { return error };
    let is_live = match &file.deletion_vector {
        Some(vector) if is_missing_vector(&error) => newest.has_vector_file(vector).await,
        _ => newest.has_file(&file.path).await,
    };
    if newest.version() <= snapshot.version() || is_live.unwrap_or(true) {
        return error;
    }
    let message = "a file of this version is gone: a later version removed it, and it was vacuumed";
    Error::not_found(Code::FilesExpired, message)
        .with("version", snapshot.version())
        .with("path", &file.path)
        .because(error)
}

/// What a decoding task says.
enum Decoded {
    Rows(Rows),
    Failed(Error),
    /// The part is complete: a task that stops without saying so has lost rows.
    End,
}

/// What a file is of: it may go while it is read.
#[derive(Debug, Clone)]
struct Source {
    data: DataFile,
    snapshot: Snapshot,
}

/// Starts decoding one part on a task of its own.
fn start(
    place: usize,
    file: FileReader,
    part: usize,
    source: Source,
) -> BoxStream<'static, Result<FileRows>> {
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    let environment = source.snapshot.environment().clone();
    let _detached = environment.spawn(run(file.clone(), part, source, sender));
    let ended = receiver.chain(futures::stream::once(async { Decoded::Failed(stopped()) }));
    let batches = ended.scan(false, move |done, decoded| {
        let item = match decoded {
            _ if *done => None,
            Decoded::Rows(rows) => {
                let file = file.clone();
                Some(Ok(FileRows { place, file, rows }))
            }
            Decoded::End => None,
            Decoded::Failed(error) => {
                *done = true;
                Some(Err(error))
            }
        };
        std::future::ready(item)
    });
    batches.boxed()
}

async fn run(file: FileReader, part: usize, source: Source, mut sender: mpsc::Sender<Decoded>) {
    let end = match file.read(part..part.saturating_add(1)).await {
        Err(error) => Decoded::Failed(error),
        Ok(mut rows) => loop {
            match rows.next().await {
                None => break Decoded::End,
                Some(Err(error)) => break Decoded::Failed(error),
                Some(Ok(rows)) => {
                    // Nobody receives any more: the stream was dropped, or its reader has its rows.
                    if sender.send(Decoded::Rows(rows)).await.is_err() {
                        return;
                    }
                }
            }
        },
    };
    let end = match end {
        Decoded::Failed(error) => {
            Decoded::Failed(expired(&source.snapshot, &source.data, error).await)
        }
        end => end,
    };
    let _ = sender.send(end).await;
}

fn stopped() -> Error {
    Error::storage(
        Code::Stopped,
        "decoding stopped before its end; no row is missing silently",
    )
}
