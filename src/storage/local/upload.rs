//! A large file, written part by part into its place in an unpublished one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, PutPayload, PutResult, UploadPart};

use crate::environment::Environment;
use crate::storage::local::disk::{Publish, Stage};
use crate::storage::local::{StoreResult, blocking, generic};

/// A large file in the making.
#[derive(Debug)]
pub(super) struct LocalUpload {
    environment: Environment,
    location: Path,
    /// Gone once the upload is completed or aborted.
    stage: Option<Arc<Stage>>,
    /// Bytes of all parts that were handed in.
    length: u64,
    /// Bytes of all parts that are in the file.
    written: Arc<AtomicU64>,
}

impl LocalUpload {
    pub(super) fn new(environment: &Environment, location: &Path, stage: Stage) -> Self {
        Self {
            environment: environment.clone(),
            location: location.clone(),
            stage: Some(Arc::new(stage)),
            length: 0,
            written: Arc::default(),
        }
    }
}

#[async_trait]
impl MultipartUpload for LocalUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (environment, location) = (self.environment.clone(), self.location.clone());
        let (stage, written) = (self.stage.clone(), Arc::clone(&self.written));
        let (offset, length) = (self.length, data.content_length() as u64);
        self.length += length;
        Box::pin(async move {
            let stage = stage.ok_or_else(|| generic(io::Error::other("the upload is over")))?;
            let chunks: Vec<Bytes> = data.into_iter().collect();
            blocking(&environment, &location, move || {
                stage.write_at(offset, &chunks)
            })
            .await?;
            written.fetch_add(length, Ordering::AcqRel);
            Ok(())
        })
    }

    async fn complete(&mut self) -> StoreResult<PutResult> {
        let stage = self.stage.take().and_then(Arc::into_inner);
        let whole = self.written.load(Ordering::Acquire) == self.length;
        let Some(stage) = stage.filter(|_| whole) else {
            return Err(generic(io::Error::other(
                "a part of the upload was not written",
            )));
        };
        blocking(&self.environment, &self.location, move || {
            stage.publish(Publish::Replace)
        })
        .await?;
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }

    async fn abort(&mut self) -> StoreResult<()> {
        self.stage = None;
        Ok(())
    }
}
