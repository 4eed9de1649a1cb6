//! A store in memory in which everything can go wrong, and a host whose time passes only by
//! waiting.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use crate::environment::Host;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Throttle,
    Reset,
    Deny,
    Full,
    Broken,
    Unable,
    Exists,
    Precondition,
    Leak,
    /// The request is done, and the answer never arrives.
    LoseAnswer,
    /// Nothing is done, and no answer arrives.
    Hang,
    /// The body ends early.
    Shorten,
    /// The body goes on.
    Lengthen,
    /// Body and listing come one by one, half a minute each.
    Drip,
    /// After the answer, the object is another one.
    ThenReplace,
    /// A listing that repeats itself, backwards.
    Scramble,
    /// A listing that fails in the middle.
    BreakListing,
    FailParts,
    FailComplete,
}

impl Fault {
    /// The error that the fault is, if it is one that every request can meet.
    fn error(self) -> Option<StoreError> {
        let (path, store) = ("x".to_owned(), "faulty");
        let generic = |text: &str| StoreError::Generic {
            store,
            source: text.into(),
        };
        let io = |code| {
            let source = Box::new(std::io::Error::from_raw_os_error(code));
            StoreError::Generic { store, source }
        };
        Some(match self {
            Self::Throttle => generic("server error: 503 Slow Down, after 10 retries"),
            Self::Reset => generic("connection reset by peer"),
            Self::Leak => generic("GET http://u:canary@host/x?sig=canary failed"),
            Self::Deny => StoreError::PermissionDenied {
                path,
                source: "403".into(),
            },
            Self::Full => io(28),
            Self::Broken => io(5),
            Self::Unable => StoreError::NotImplemented {
                operation: "conditional put".into(),
                implementer: store.into(),
            },
            Self::Exists => StoreError::AlreadyExists {
                path,
                source: "409".into(),
            },
            Self::Precondition => StoreError::Precondition {
                path,
                source: "412".into(),
            },
            _ => return None,
        })
    }
}

#[derive(Default)]
pub(super) struct Faulty {
    pub(super) memory: InMemory,
    script: Mutex<Vec<Fault>>,
    always: Arc<Mutex<Option<Fault>>>,
    replacement: Mutex<Bytes>,
    host: TestHost,
    requests: AtomicU64,
    aborts: Arc<AtomicU64>,
}

impl Faulty {
    /// A store whose slow answers take the time of this host.
    pub(super) fn at(host: TestHost) -> Self {
        Self {
            host,
            ..Self::default()
        }
    }

    /// What happens to the next requests, one each.
    pub(super) fn next(&self, faults: Vec<Fault>) {
        *self.script.lock().unwrap() = faults;
        self.requests.store(0, Ordering::SeqCst);
    }

    pub(super) fn always(&self, fault: Fault) {
        *self.always.lock().unwrap() = Some(fault);
        self.requests.store(0, Ordering::SeqCst);
    }

    pub(super) fn heal(&self) {
        *self.always.lock().unwrap() = None;
    }

    pub(super) fn replacement(&self, bytes: Bytes) {
        *self.replacement.lock().unwrap() = bytes;
    }

    /// Requests since the last change of plan.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    pub(super) fn aborts(&self) -> u64 {
        self.aborts.load(Ordering::SeqCst)
    }

    fn fault(&self) -> Option<Fault> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let mut script = self.script.lock().unwrap();
        if script.is_empty() {
            *self.always.lock().unwrap()
        } else {
            Some(script.remove(0))
        }
    }

    async fn strike(&self) -> Result<Option<Fault>> {
        let fault = self.fault();
        match fault {
            Some(Fault::Hang) => std::future::pending().await,
            Some(other) => other.error().map_or(Ok(fault), Err),
            None => Ok(None),
        }
    }

    fn listing(
        &self,
        found: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let fault = self.fault();
        if let Some(error) = fault.and_then(Fault::error) {
            return stream::once(async { Err(error) }).boxed();
        }
        match fault {
            Some(Fault::Scramble) => stream::once(found.collect::<Vec<_>>())
                .flat_map(|found| {
                    let found: Vec<ObjectMeta> = found.into_iter().map(Result::unwrap).collect();
                    stream::iter(found.clone().into_iter().rev().chain(found).map(Ok))
                })
                .boxed(),
            Some(Fault::BreakListing) => {
                let broken = stream::once(async { Err(Fault::Reset.error().unwrap()) });
                found.take(20).chain(broken).boxed()
            }
            Some(Fault::Hang) => stream::pending().boxed(),
            Some(Fault::Drip) => {
                let host = self.host.clone();
                let drip = move |entry| {
                    host.pass(Duration::from_secs(30));
                    entry
                };
                found.map(drip).boxed()
            }
            _ => found,
        }
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty(canary)")
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty(canary)")
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let fault = self.strike().await?;
        let done = self.memory.put_opts(path, payload, options).await?;
        if fault == Some(Fault::LoseAnswer) {
            return Err(Fault::Reset.error().unwrap());
        }
        Ok(done)
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.memory.put_multipart_opts(path, options).await?;
        let (always, aborts) = (Arc::clone(&self.always), Arc::clone(&self.aborts));
        Ok(Box::new(FaultyUpload {
            inner,
            always,
            aborts,
        }))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let fault = self.strike().await?;
        let mut answer = self.memory.get_opts(path, options).await?;
        match fault {
            Some(Fault::Drip) => {
                let (meta, range) = (answer.meta.clone(), answer.range.clone());
                let attributes = answer.attributes.clone();
                let (bytes, host) = (answer.bytes().await?, self.host.clone());
                let body = stream::iter(bytes.to_vec()).map(move |byte| {
                    host.pass(Duration::from_secs(30));
                    Ok(Bytes::from(vec![byte]))
                });
                answer = GetResult {
                    payload: GetResultPayload::Stream(body.boxed()),
                    meta,
                    range,
                    attributes,
                };
            }
            Some(Fault::Shorten | Fault::Lengthen) => {
                let meta = answer.meta.clone();
                let range = answer.range.clone();
                let attributes = answer.attributes.clone();
                let mut bytes = answer.bytes().await?.to_vec();
                if fault == Some(Fault::Shorten) {
                    bytes.pop();
                } else {
                    bytes.push(0);
                }
                let body = stream::iter([Ok(Bytes::from(bytes))]).boxed();
                answer = GetResult {
                    payload: GetResultPayload::Stream(body),
                    meta,
                    range,
                    attributes,
                };
            }
            Some(Fault::ThenReplace) => {
                let bytes = self.replacement.lock().unwrap().clone();
                self.memory.put(path, bytes.into()).await?;
            }
            _ => {}
        }
        Ok(answer)
    }

    async fn get_ranges(&self, path: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<Bytes>> {
        self.strike().await?;
        self.memory.get_ranges(path, ranges).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.memory.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(self.memory.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(self.memory.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.strike().await?;
        self.memory.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.memory.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.memory.rename_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn MultipartUpload>,
    always: Arc<Mutex<Option<Fault>>>,
    aborts: Arc<AtomicU64>,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let part = self.inner.put_part(data);
        let fail = *self.always.lock().unwrap() == Some(Fault::FailParts);
        Box::pin(async move {
            if fail {
                Err(Fault::Reset.error().unwrap())
            } else {
                part.await
            }
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        if *self.always.lock().unwrap() == Some(Fault::FailComplete) {
            return Err(Fault::Reset.error().unwrap());
        }
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.aborts.fetch_add(1, Ordering::SeqCst);
        self.inner.abort().await
    }
}

/// A host whose clock moves only when somebody waits, and whose entropy is a counter, mixed.
#[derive(Debug, Clone, Default)]
pub(super) struct TestHost(Arc<State>);

#[derive(Debug, Default)]
struct State {
    elapsed: Mutex<Duration>,
    waits: Mutex<Vec<Duration>>,
    drawn: AtomicU64,
}

impl TestHost {
    pub(super) fn waits(&self) -> Vec<Duration> {
        self.0.waits.lock().unwrap().clone()
    }

    /// Time goes by although nobody waits.
    pub(super) fn pass(&self, duration: Duration) {
        *self.0.elapsed.lock().unwrap() += duration;
    }

    pub(super) fn elapsed(&self) -> Duration {
        *self.0.elapsed.lock().unwrap()
    }
}

impl Host for TestHost {
    fn now_millis(&self) -> i64 {
        0
    }

    fn elapsed(&self) -> Duration {
        Self::elapsed(self)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let state = Arc::clone(&self.0);
        Box::pin(async move {
            *state.elapsed.lock().unwrap() += duration;
            state.waits.lock().unwrap().push(duration);
        })
    }

    fn random_bytes(&self, buffer: &mut [u8]) {
        for byte in buffer {
            let drawn = self.0.drawn.fetch_add(1, Ordering::SeqCst) + 1;
            *byte = (drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a host is what spawns")]
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn run_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }
}
