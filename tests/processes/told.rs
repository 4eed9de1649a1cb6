//! The local store, saying aloud where in an append it is, and stopping there if it was told to.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use futures::stream::BoxStream;
use headwater::storage::LocalStore;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

use crate::line::{Line, Phase};
use crate::worker::Hold;

/// A [`LocalStore`] that prints a line before and after what matters.
pub(crate) struct Told {
    pub(crate) inner: LocalStore,
    pub(crate) hold: Option<Hold>,
}

impl Told {
    async fn say(&self, phase: Phase) {
        Line::Reached(phase).print();
        if let Some(hold) = &self.hold
            && hold.is_now(phase)
        {
            Line::Held(phase).print();
            // Until it is killed: what is on the disk now is what a crash here leaves.
            std::future::pending::<()>().await;
        }
    }
}

/// What is said before and after a put of this object.
fn phases(path: &Path, options: &PutOptions) -> (Option<Phase>, Option<Phase>) {
    let key = path.as_ref();
    let Some(name) = key.strip_prefix("_delta_log/") else {
        return (None, Some(Phase::Data));
    };
    if name == "_last_checkpoint" {
        return (Some(Phase::Hint), None);
    }
    if name.contains(".checkpoint.") {
        return (Some(Phase::Checkpoint), None);
    }
    assert!(
        matches!(options.mode, PutMode::Create),
        "{key} is a commit and must not replace one"
    );
    (Some(Phase::Commit), Some(Phase::Landed))
}

#[async_trait::async_trait]
impl ObjectStore for Told {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let (before, after) = phases(path, &options);
        if let Some(phase) = before {
            self.say(phase).await;
        }
        let result = self.inner.put_opts(path, payload, options).await;
        if let Some(phase) = after.filter(|_| result.is_ok()) {
            self.say(phase).await;
        }
        result
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        if path.as_ref().contains(".checkpoint.") {
            self.say(Phase::Checkpoint).await;
        }
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(path, options).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(path, ranges).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told")
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told")
    }
}
