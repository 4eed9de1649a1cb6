//! A store in memory whose answers fail by script.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use headwater::environment::Environment;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, Result,
};

/// Which requests a rule speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    Get,
    Put,
    List,
    Delete,
}

/// When the failure strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Nothing happens but the answer.
    Before,
    /// The request is carried out, then its answer is lost.
    After,
    /// The request is carried out when the path is next written to or read `n` requests later.
    Late(usize),
}

/// What the caller sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Reset,
    TimedOut,
    InternalError,
    SlowDown,
    AlreadyExists,
    Precondition,
    Denied,
    NotImplemented,
    NotFound,
    EndOfFile,
}

/// One line of the script: the next `times` matching requests fail.
#[derive(Debug, Clone)]
struct Rule {
    request: Request,
    ending: String,
    times: usize,
    when: When,
    answer: Answer,
}

/// Rewrites what a listing says.
type Relist = Arc<dyn Fn(Vec<ObjectMeta>) -> Vec<ObjectMeta> + Send + Sync>;

/// What somebody else does.
type Meanwhile = futures::future::BoxFuture<'static, ()>;

#[derive(Default)]
struct Script {
    rules: Vec<Rule>,
    late: Vec<(usize, Path, PutPayload, PutOptions)>,
    relist: Option<Relist>,
    meanwhile: Option<(String, Meanwhile)>,
    afterwards: Option<(String, Meanwhile)>,
    replacement: Option<(String, Bytes)>,
    /// Whose clock the times of objects follow, and what it said when they were put.
    clock: Option<Environment>,
    times: BTreeMap<String, i64>,
    puts: Vec<(String, Bytes)>,
    gets: usize,
    lists: usize,
}

/// The store. Clones share objects and script.
#[derive(Clone, Default)]
pub(crate) struct Faulty {
    inner: Arc<InMemory>,
    script: Arc<Mutex<Script>>,
}

impl Faulty {
    /// The next `times` requests of this kind, for a path with this ending, fail so.
    pub(crate) fn fail(
        &self,
        request: Request,
        ending: &str,
        times: usize,
        when: When,
        answer: Answer,
    ) {
        let ending = ending.to_owned();
        self.script.lock().unwrap().rules.push(Rule {
            request,
            ending,
            times,
            when,
            answer,
        });
    }

    /// Passes every listing through `relist`.
    pub(crate) fn relist(
        &self,
        relist: impl Fn(Vec<ObjectMeta>) -> Vec<ObjectMeta> + Send + Sync + 'static,
    ) {
        self.script.lock().unwrap().relist = Some(Arc::new(relist));
    }

    /// Just before the next object with this ending is put, `meanwhile` happens.
    pub(crate) fn before_put(
        &self,
        ending: &str,
        meanwhile: impl Future<Output = ()> + Send + 'static,
    ) {
        let meanwhile = (ending.to_owned(), Box::pin(meanwhile) as Meanwhile);
        self.script.lock().unwrap().meanwhile = Some(meanwhile);
    }

    /// Just after the next object with this ending was put, and before anybody hears of it, `afterwards` happens.
    pub(crate) fn after_put(
        &self,
        ending: &str,
        afterwards: impl Future<Output = ()> + Send + 'static,
    ) {
        let afterwards = (ending.to_owned(), Box::pin(afterwards) as Meanwhile);
        self.script.lock().unwrap().afterwards = Some(afterwards);
    }

    /// From now on, objects are as old as this world's clock says.
    pub(crate) fn follow(&self, environment: &Environment) {
        self.script.lock().unwrap().clock = Some(environment.clone());
    }

    fn put_now(&self, path: &Path) {
        let mut script = self.script.lock().unwrap();
        if let Some(now) = script.clock.as_ref().map(Environment::now_millis) {
            script.times.insert(path.to_string(), now);
        }
    }

    fn timed(&self, mut meta: ObjectMeta) -> ObjectMeta {
        let script = self.script.lock().unwrap();
        let time = script.times.get(meta.location.as_ref());
        if let Some(time) = time.and_then(|time| chrono::DateTime::from_timestamp_millis(*time)) {
            meta.last_modified = time;
        }
        meta
    }

    /// The next object with this ending is stored with other bytes than those that were put.
    pub(crate) fn replace_next(&self, ending: &str, bytes: Bytes) {
        self.script.lock().unwrap().replacement = Some((ending.to_owned(), bytes));
    }

    /// Takes back what was to happen before a PUT, if it has not.
    pub(crate) fn not_yet(&self) -> Option<impl Future<Output = ()> + Send + 'static> {
        let meanwhile = self.script.lock().unwrap().meanwhile.take();
        meanwhile.map(|(_, meanwhile)| meanwhile)
    }

    /// Deletes everything, past all faults.
    pub(crate) async fn clear(&self) {
        for path in self.paths().await {
            self.remove(&Path::from(path)).await;
        }
    }

    /// Ends all faults.
    pub(crate) fn heal(&self) {
        let mut script = self.script.lock().unwrap();
        script.rules.clear();
        script.relist = None;
    }

    /// Every PUT so far: path and bytes, whether or not it was carried out.
    pub(crate) fn puts(&self) -> Vec<(String, Bytes)> {
        self.script.lock().unwrap().puts.clone()
    }

    /// How many requests of a kind there were.
    pub(crate) fn count(&self, request: Request) -> usize {
        let script = self.script.lock().unwrap();
        match request {
            Request::Get => script.gets,
            Request::Put => script.puts.len(),
            Request::List => script.lists,
            Request::Delete => 0,
        }
    }

    /// Puts an object, past all faults.
    pub(crate) async fn place(&self, path: &Path, bytes: impl Into<Bytes>) {
        self.inner.put(path, bytes.into().into()).await.unwrap();
    }

    /// The bytes of an object, past all faults.
    pub(crate) async fn bytes(&self, path: &Path) -> Bytes {
        self.inner.get(path).await.unwrap().bytes().await.unwrap()
    }

    /// Deletes an object, past all faults.
    pub(crate) async fn remove(&self, path: &Path) {
        self.inner.delete(path).await.unwrap();
    }

    /// Paths of all objects, sorted, past all faults.
    pub(crate) async fn paths(&self) -> Vec<String> {
        let listed: Vec<_> = self.inner.list(None).collect().await;
        let mut paths: Vec<_> = listed
            .into_iter()
            .map(|meta| meta.unwrap().location.to_string())
            .collect();
        paths.sort();
        paths
    }

    fn rule(&self, request: Request, path: &Path) -> Option<(When, Answer)> {
        let mut script = self.script.lock().unwrap();
        let matching = |rule: &&mut Rule| {
            rule.request == request && 0 < rule.times && path.as_ref().ends_with(&rule.ending)
        };
        let rule = script.rules.iter_mut().find(matching)?;
        rule.times -= 1;
        Some((rule.when, rule.answer))
    }

    /// Carries out what was delayed until now.
    async fn tick(&self) {
        let mut due = Vec::new();
        {
            let mut script = self.script.lock().unwrap();
            for late in &mut script.late {
                late.0 = late.0.saturating_sub(1);
            }
            let (ready, waiting) = std::mem::take(&mut script.late)
                .into_iter()
                .partition(|late| late.0 == 0);
            due.extend(ready as Vec<_>);
            script.late = waiting;
        }
        for (_, path, payload, options) in due {
            // Late: nobody hears the answer.
            let _ = self.inner.put_opts(&path, payload, options).await;
        }
    }
}

fn error(answer: Answer, path: &Path) -> Error {
    let path = path.to_string();
    let io = |kind: std::io::ErrorKind| Error::Generic {
        store: "faulty",
        source: Box::new(std::io::Error::from(kind)),
    };
    let text = |text: &str| Error::Generic {
        store: "faulty",
        source: text.to_owned().into(),
    };
    match answer {
        Answer::Reset => io(std::io::ErrorKind::ConnectionReset),
        Answer::EndOfFile => io(std::io::ErrorKind::UnexpectedEof),
        Answer::TimedOut => io(std::io::ErrorKind::TimedOut),
        Answer::InternalError => text("server returned non-2xx status code: 500"),
        Answer::SlowDown => text("server returned non-2xx status code: 503 SlowDown"),
        Answer::AlreadyExists => Error::AlreadyExists {
            path,
            source: "409".into(),
        },
        Answer::Precondition => Error::Precondition {
            path,
            source: "412".into(),
        },
        Answer::Denied => Error::PermissionDenied {
            path,
            source: "403".into(),
        },
        Answer::NotFound => Error::NotFound {
            path,
            source: "404".into(),
        },
        Answer::NotImplemented => Error::NotImplemented {
            operation: "put".into(),
            implementer: "faulty".into(),
        },
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

#[async_trait::async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.tick().await;
        let is_due = |due: &mut (String, Meanwhile)| path.as_ref().ends_with(&due.0);
        let meanwhile = self.script.lock().unwrap().meanwhile.take_if(is_due);
        if let Some((_, meanwhile)) = meanwhile {
            meanwhile.await;
        }
        let ends = |due: &mut (String, Bytes)| path.as_ref().ends_with(&due.0);
        let replacement = self.script.lock().unwrap().replacement.take_if(ends);
        let payload = replacement.map_or(payload, |(_, bytes)| bytes.into());
        let bytes: Vec<u8> = payload.iter().flat_map(|part| part.to_vec()).collect();
        self.script
            .lock()
            .unwrap()
            .puts
            .push((path.to_string(), bytes.into()));
        match self.rule(Request::Put, path) {
            None => {
                let put = self.inner.put_opts(path, payload, options).await?;
                self.put_now(path);
                let is_due = |due: &mut (String, Meanwhile)| path.as_ref().ends_with(&due.0);
                let afterwards = self.script.lock().unwrap().afterwards.take_if(is_due);
                if let Some((_, afterwards)) = afterwards {
                    afterwards.await;
                }
                Ok(put)
            }
            Some((When::Before, answer)) => Err(error(answer, path)),
            Some((When::After, answer)) => {
                self.inner.put_opts(path, payload, options).await?;
                Err(error(answer, path))
            }
            Some((When::Late(requests), answer)) => {
                let late = (requests, path.clone(), payload, options);
                self.script.lock().unwrap().late.push(late);
                Err(error(answer, path))
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.put_now(path);
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.tick().await;
        self.script.lock().unwrap().gets += 1;
        match self.rule(Request::Get, path) {
            None => {
                let mut found = self.inner.get_opts(path, options).await?;
                found.meta = self.timed(found.meta);
                Ok(found)
            }
            Some((_, answer)) => Err(error(answer, path)),
        }
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.tick().await;
        self.script.lock().unwrap().gets += 1;
        match self.rule(Request::Get, path) {
            None => self.inner.get_ranges(path, ranges).await,
            Some((_, answer)) => Err(error(answer, path)),
        }
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let allowed = paths.map(move |path| {
            let path = path?;
            match store.rule(Request::Delete, &path) {
                None => Ok(path),
                Some((_, answer)) => Err(error(answer, &path)),
            }
        });
        self.inner.delete_stream(allowed.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix, self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix, self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut result = self.inner.list_with_delimiter(prefix).await?;
        let listed: Vec<_> = self
            .listing(
                prefix,
                futures::stream::iter(result.objects.into_iter().map(Ok)).boxed(),
            )
            .collect()
            .await;
        result.objects = listed.into_iter().collect::<Result<_>>()?;
        Ok(result)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

impl Faulty {
    fn listing(
        &self,
        prefix: Option<&Path>,
        listed: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = prefix.cloned().unwrap_or_default();
        self.script.lock().unwrap().lists += 1;
        let rule = self.rule(Request::List, &prefix);
        let relist = self.script.lock().unwrap().relist.clone();
        let store = self.clone();
        let entries = async move {
            let timed = listed.map_ok(|meta| store.timed(meta));
            let mut entries: Vec<Result<ObjectMeta>> = timed.collect().await;
            if let Some(relist) = relist {
                let sound: Vec<_> = entries.into_iter().map(Result::unwrap).collect();
                entries = relist(sound).into_iter().map(Ok).collect();
            }
            // A page fails half-way: what came before it was already handed out.
            if let Some((_, answer)) = rule {
                entries.truncate(entries.len() / 2);
                entries.push(Err(error(answer, &prefix)));
            }
            futures::stream::iter(entries)
        };
        futures::stream::once(entries).flatten().boxed()
    }
}
