//! A store that dies: after so many requests, nothing is answered any more.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use headwater::environment::Environment;
use headwater::storage::Storage;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

/// A store in memory, seen by a process that dies. Its requests are counted; the last one may be carried out.
#[derive(Debug, Clone)]
pub(crate) struct Mortal {
    inner: Arc<InMemory>,
    left: Arc<AtomicI64>,
    carries_out_the_last: bool,
}

impl Mortal {
    /// A process that lives for so many requests.
    pub(crate) fn new(inner: &Arc<InMemory>, requests: i64, carries_out_the_last: bool) -> Self {
        Self {
            inner: inner.clone(),
            left: Arc::new(AtomicI64::new(requests)),
            carries_out_the_last,
        }
    }

    pub(crate) fn storage(&self, folder: &str, environment: &Environment) -> Storage {
        Storage::new(Arc::new(self.clone()), Path::from(folder), environment)
    }

    /// Requests that are left; negative once it died.
    pub(crate) fn left(&self) -> i64 {
        self.left.load(Ordering::SeqCst)
    }

    /// Whether the request is carried out, and whether it is answered.
    fn request(&self) -> (bool, bool) {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        (
            0 < left || (left == 0 && self.carries_out_the_last),
            0 < left,
        )
    }

    fn dead(path: &Path) -> Error {
        Error::PermissionDenied {
            path: path.to_string(),
            source: "the process is dead".into(),
        }
    }
}

impl fmt::Display for Mortal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mortal")
    }
}

#[async_trait::async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Mortal {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let (carried_out, answered) = self.request();
        if carried_out {
            let result = self.inner.put_opts(path, payload, options).await;
            if answered {
                return result;
            }
        }
        Err(Self::dead(path))
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        match self.request() {
            (_, true) => self.inner.put_multipart_opts(path, options).await,
            _ => Err(Self::dead(path)),
        }
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        match self.request() {
            (_, true) => self.inner.get_opts(path, options).await,
            _ => Err(Self::dead(path)),
        }
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match self.request() {
            (_, true) => self.inner.get_ranges(path, ranges).await,
            _ => Err(Self::dead(path)),
        }
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.request() {
            (_, true) => self.inner.list(prefix),
            _ => stream::iter([Err(Self::dead(&prefix.cloned().unwrap_or_default()))]).boxed(),
        }
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.request() {
            (_, true) => self.inner.list_with_offset(prefix, offset),
            _ => stream::iter([Err(Self::dead(&prefix.cloned().unwrap_or_default()))]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        match self.request() {
            (_, true) => self.inner.list_with_delimiter(prefix).await,
            _ => Err(Self::dead(&prefix.cloned().unwrap_or_default())),
        }
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        match self.request() {
            (_, true) => self.inner.copy_opts(from, to, options).await,
            _ => Err(Self::dead(from)),
        }
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        match self.request() {
            (_, true) => self.inner.rename_opts(from, to, options).await,
            _ => Err(Self::dead(from)),
        }
    }
}
