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
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headwater::environment::Environment;
use headwater::{Code, Error, Table};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::Outcome;
use crate::table::{self, Prediction};

/// For how long an id is known to have been answered.
const REMEMBERED: Duration = Duration::from_secs(3_600);
/// Requests that wait for the next commit, at most; beyond, the service says that it is busy.
const WAITING_MAX: usize = 4_096;
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
pub(crate) struct Committer(mpsc::Sender<Request>);

/// Too many requests wait, or the service is about to stop.
#[derive(Debug)]
pub(crate) struct Busy;

struct Request {
    predictions: Vec<Prediction>,
    answer: oneshot::Sender<Stored>,
}

impl Committer {
    /// Starts the task that writes. It ends when every handle is dropped, or with an error that repeating does not
    /// cure; who waits then is told by a closed channel.
    pub(crate) async fn start(
        table: Table,
        model: String,
    ) -> Outcome<(Self, JoinHandle<Outcome<()>>)> {
        let (sender, requests) = mpsc::channel(WAITING_MAX);
        let now = micros();
        let mut writer = Writer {
            // The number of a group means something for one process: an id of its own, so that two never share one.
            app_id: format!("headwater-serve/{}", Environment::system().uuid()),
            groups: 0,
            table,
            model,
            answered: HashMap::new(),
            order: VecDeque::new(),
        };
        let since = now.saturating_sub(in_micros(REMEMBERED));
        for (id, late) in table::answered_since(&writer.table, since).await? {
            writer.remember(id, late, now);
        }
        Ok((Self(sender), tokio::spawn(writer.run(requests))))
    }

    /// Hands predictions in. What comes back resolves when they are durable.
    pub(crate) fn store(
        &self,
        predictions: Vec<Prediction>,
    ) -> Result<oneshot::Receiver<Stored>, Busy> {
        let (answer, stored) = oneshot::channel();
        let request = Request {
            predictions,
            answer,
        };
        self.0.try_send(request).map_err(|_| Busy)?;
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
}

impl Writer {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>) -> Outcome<()> {
        while let Some(first) = requests.recv().await {
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
        for one in new {
            self.remember(one.id, one.late, now);
        }
        for request in group {
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
