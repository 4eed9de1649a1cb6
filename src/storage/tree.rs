//! The whole tree of a table, and taking objects out of it: what vacuum needs and nobody else.

use futures::{StreamExt, TryStreamExt, stream};
use object_store::{Error as StoreError, ObjectStoreExt};

use crate::error::{Code, Error, ErrorKind, Result};
use crate::storage::{ObjectInfo, Storage};

/// Directories that are listed at one time.
const LISTINGS_IN_FLIGHT: usize = 8;

impl Storage {
    /// All objects below the table whose first directory passes `enters`, in no order. Directories directly below the
    /// table are listed side by side.
    ///
    /// # Errors
    /// `ErrorKind::Storage` if the store fails; a listing of which a part fails, fails.
    pub(crate) async fn list_tree(&self, enters: impl Fn(&str) -> bool) -> Result<Vec<ObjectInfo>> {
        let attempt = self.attempt("list the objects", "");
        let refused = || Error::corrupt(Code::UnsafePath, "a directory's path is not allowed");
        let root = self.below_root("").ok_or_else(refused)?;
        let page = self
            .retrying(|| async {
                self.0.counters.lists.add(1);
                let listed = self.0.store.list_with_delimiter(Some(&root));
                let listed = self.in_time(0, listed).await;
                listed.map_err(|error| attempt.failed(error))
            })
            .await?;
        let mut found: Vec<ObjectInfo> = page
            .objects
            .iter()
            .filter_map(|meta| self.info(meta))
            .collect();
        let prefix = match root.as_ref() {
            "" => String::new(),
            root => format!("{root}/"),
        };
        let entered = page.common_prefixes.into_iter().filter(|directory| {
            let name = directory.as_ref().strip_prefix(&prefix);
            name.is_some_and(&enters)
        });
        let listings = stream::iter(entered).map(|directory| async move {
            let attempt = self.attempt("list the objects", directory.as_ref());
            self.retrying(|| async {
                self.0.counters.lists.add(1);
                let mut pages = self.0.store.list(Some(&directory));
                let mut objects = Vec::new();
                let failed = |error| attempt.failed(error);
                while let Some(meta) = self.in_time(0, pages.try_next()).await.map_err(failed)? {
                    objects.extend(self.info(&meta));
                }
                Ok(objects)
            })
            .await
        });
        let mut listings = listings.buffer_unordered(LISTINGS_IN_FLIGHT);
        while let Some(objects) = listings.try_next().await? {
            found.extend(objects);
        }
        Ok(found)
    }

    /// Takes an object away; `false` if there was none.
    ///
    /// # Errors
    /// `ErrorKind::Storage` if the store fails: the object may be gone.
    pub(crate) async fn delete(&self, key: &str) -> Result<bool> {
        let path = self.path(key)?;
        let attempt = self.attempt("delete the object", key);
        let deleted = self
            .retrying(|| async {
                self.0.counters.deletes.add(1);
                match self.in_time(0, self.0.store.delete(&path)).await {
                    Ok(()) => Ok(true),
                    Err(StoreError::NotFound { .. }) => Ok(false),
                    Err(error) => Err(attempt.failed(error)),
                }
            })
            .await;
        match deleted {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            deleted => deleted,
        }
    }

    /// Removes what killed writers left of objects that never got their names, if older than `millis`. Stores other
    /// than folders clean up by themselves. Hands back how many there were.
    ///
    /// # Errors
    /// `ErrorKind::Storage` if the folder cannot be read.
    pub(crate) async fn sweep_unpublished(&self, older_than_millis: i64) -> Result<u64> {
        let Some(folder) = &self.0.folder else {
            return Ok(0);
        };
        let attempt = self.attempt("sweep the folder", "");
        let swept = folder.sweep(older_than_millis).await;
        swept.map_err(|error| attempt.failed(error))
    }
}
