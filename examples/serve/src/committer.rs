//! Group commit: what was predicted while the last commit was under way goes into the next one, together.
//!
//! One task writes, so a commit costs the same however many requests wait for it. An answer that says `durable` is sent
//! after the commit that holds its predictions is on the disk; a SIGKILL after that takes nothing back.
//!
//! Nothing is doubled, either. A group carries a transaction number of this process, so a commit whose own
//! acknowledgement was lost is not repeated. And a question carries an id: whoever asks again with it, because an
//! answer did not come, gets the stored answer, and no second row, for [`REMEMBERED`] after the first. At its start a
//! process reads these ids back from the table. This holds for one process at a time on a table.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headwater::environment::Environment;
use headwater::{Code, Error, Table};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::Outcome;
use crate::table::{self, Prediction};

/// For how long an id is known to have been answered.
const REMEMBERED: Duration = Duration::from_secs(3_600);
/// Predictions that wait for a commit, at most; beyond, the service says that it is busy.
const WAITING_MAX: usize = 131_072;
/// Ids that are remembered, at most; beyond, the service says that it is busy until the oldest may be forgotten. To
/// forget them sooner would be to store a prediction twice.
const REMEMBERED_MAX: usize = 2_000_000;
/// How often ids are forgotten while nobody asks.
const FORGETTING: Duration = Duration::from_secs(30);
/// Rows of a commit, at most, give or take one request.
const GROUP_ROWS: usize = 65_536;
/// The most that is waited before a commit is tried again.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// What is stored of a request: the version that holds it, and the probabilities by id, as they were stored first.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) version: u64,
    pub(crate) late: Vec<f64>,
}

/// Where predictions are handed in.
#[derive(Debug, Clone)]
pub(crate) struct Committer {
    requests: mpsc::UnboundedSender<Request>,
    /// Room for predictions that wait, and for ids that are remembered.
    waiting: Arc<Semaphore>,
    remembering: Arc<Semaphore>,
}

/// Too many predictions wait or are remembered, or the service is about to stop.
#[derive(Debug)]
pub(crate) struct Busy;

struct Request {
    predictions: Vec<Prediction>,
    answer: oneshot::Sender<Stored>,
    /// The room that it takes among those that wait, and the room for its ids.
    _waiting: OwnedSemaphorePermit,
    remembering: OwnedSemaphorePermit,
}

impl Committer {
    /// Starts the task that writes. It ends when every handle is dropped, or with an error that repeating does not
    /// cure; who waits then is told by a closed channel.
    pub(crate) async fn start(
        table: Table,
        model: String,
    ) -> Outcome<(Self, JoinHandle<Outcome<()>>)> {
        let (sender, requests) = mpsc::unbounded_channel();
        let now = micros();
        let mut writer = Writer {
            // The number of a group means something for one process: an id of its own, so that two never share one.
            app_id: format!("headwater-serve/{}", Environment::system().uuid()),
            groups: 0,
            table,
            model,
            answered: HashMap::new(),
            order: VecDeque::new(),
            remembering: Arc::new(Semaphore::new(0)),
        };
        let since = now.saturating_sub(in_micros(REMEMBERED));
        for (id, late) in table::answered_since(&writer.table, since).await? {
            writer.remember(id, late, now);
        }
        let room = REMEMBERED_MAX.saturating_sub(writer.order.len());
        writer.remembering.add_permits(room);
        let committer = Self {
            requests: sender,
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            remembering: Arc::clone(&writer.remembering),
        };
        Ok((committer, tokio::spawn(writer.run(requests))))
    }

    /// Hands predictions in. What comes back resolves when they are durable.
    pub(crate) fn store(
        &self,
        predictions: Vec<Prediction>,
    ) -> Result<oneshot::Receiver<Stored>, Busy> {
        let room = |semaphore: &Arc<Semaphore>| {
            let rows = u32::try_from(predictions.len()).map_err(|_| Busy)?;
            let permit = Arc::clone(semaphore).try_acquire_many_owned(rows);
            permit.map_err(|_| Busy)
        };
        let (waiting, remembering) = (room(&self.waiting)?, room(&self.remembering)?);
        let (answer, stored) = oneshot::channel();
        let request = Request {
            predictions,
            answer,
            _waiting: waiting,
            remembering,
        };
        self.requests.send(request).map_err(|_| Busy)?;
        Ok(stored)
    }
}

struct Writer {
    table: Table,
    model: String,
    app_id: String,
    groups: i64,
    answered: HashMap<String, f64>,
    /// The ids among them, with the moment they were remembered, oldest first.
    order: VecDeque<(i64, String)>,
    /// Room for more of them.
    remembering: Arc<Semaphore>,
}

impl Writer {
    async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>) -> Outcome<()> {
        loop {
            let Ok(next) = tokio::time::timeout(FORGETTING, requests.recv()).await else {
                self.forget(micros().saturating_sub(in_micros(REMEMBERED)));
                continue;
            };
            let Some(first) = next else { break };
            let mut rows = first.predictions.len();
            let mut group = vec![first];
            while rows < GROUP_ROWS
                && let Ok(next) = requests.try_recv()
            {
                rows += next.predictions.len();
                group.push(next);
            }
            self.write(group).await?;
        }
        self.table.close().await;
        Ok(())
    }

    async fn write(&mut self, group: Vec<Request>) -> Outcome<()> {
        let now = micros();
        self.forget(now.saturating_sub(in_micros(REMEMBERED)));
        let mut seen = HashSet::new();
        let all = group.iter().flat_map(|request| &request.predictions);
        let new: Vec<Prediction> = all
            .filter(|one| !self.answered.contains_key(&one.id) && seen.insert(one.id.as_str()))
            .cloned()
            .collect();
        let version = if new.is_empty() {
            // Whatever is remembered is in a version that this handle knows.
            self.table.snapshot().version()
        } else {
            self.commit(&new, now).await?
        };
        let mut remembered = new.len();
        for one in new {
            self.remember(one.id, one.late, now);
        }
        for mut request in group {
            // The ids that are new keep their room until they are forgotten.
            let kept = remembered.min(request.remembering.num_permits());
            remembered -= kept;
            if let Some(kept) = request.remembering.split(kept) {
                kept.forget();
            }
            let late = |one: &Prediction| self.answered.get(&one.id).copied();
            let late: Option<Vec<f64>> = request.predictions.iter().map(late).collect();
            let late = late.ok_or("an answer was forgotten before it was given")?;
            // Who asked may have gone.
            let _ = request.answer.send(Stored { version, late });
        }
        Ok(())
    }

    /// Commits a group, however long the store takes to recover: the same number makes it land once.
    async fn commit(&mut self, new: &[Prediction], now: i64) -> Outcome<u64> {
        let rows = table::rows(new, now, &self.model)?;
        self.groups += 1;
        let mut wait = Duration::from_millis(20);
        loop {
            let append = self.table.append(rows.clone());
            match append.exactly_once(&self.app_id, self.groups).await {
                Ok(commit) => return Ok(commit.version),
                Err(error) if is_passing(&error) => {
                    eprintln!("headwater-serve: a commit is tried again: {error}");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(RETRY_MAX);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn remember(&mut self, id: String, late: f64, now: i64) {
        self.order.push_back((now, id.clone()));
        self.answered.insert(id, late);
    }

    fn forget(&mut self, before: i64) {
        while let Some((moment, _)) = self.order.front()
            && *moment < before
            && let Some((_, id)) = self.order.pop_front()
        {
            self.answered.remove(&id);
            self.remembering.add_permits(1);
        }
    }
}

/// Whether the same commit may land when it is tried again, or has landed.
fn is_passing(error: &Error) -> bool {
    error.is_retryable() || matches!(error.code(), Code::CommitUnknown | Code::CommitConflict)
}

/// Now, in microseconds since the epoch.
fn micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    in_micros(since.unwrap_or_default())
}

fn in_micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
