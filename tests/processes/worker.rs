//! One process that appends or changes: this very binary, started again.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use headwater::environment::Environment;
use headwater::storage::{LocalStore, Storage};
use headwater::{Code, Commit, CommitStatus, Error, Result, Table};
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use crate::change::{APPENDERS, Change, UPKEEP_APPENDERS};
use crate::line::{Line, Phase};
use crate::rows::Id;
use crate::told::Told;
use crate::{loops, replans};

/// The variable that makes this binary a worker: it holds the [`Order`].
pub(crate) const ORDER: &str = "HEADWATER_PROCESSES_ORDER";

/// How often an operation may end as a conflict. One conflict is 20 plans in a row that others contradicted.
const GAVE_UP_MAX: u32 = 5;

/// What the numbers of a worker stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Job {
    /// Appends.
    Append,
    /// Appends, each of them made exactly once.
    AppendOnce,
    /// Changes of all kinds, each of them made exactly once.
    Change,
    /// Appends and deletions, each of them made exactly once, while others compact and vacuum.
    BesideUpkeep,
    /// Compacts until it is told to stop.
    Compact,
    /// Vacuums until it is told to stop.
    Vacuum,
    /// Leases versions and reads them until it is told to stop; `first` is the seed of its choices.
    Read,
}

impl Job {
    /// Whether a process that starts again repeats what was not acknowledged; else it goes on with the next.
    pub(crate) fn is_once(self) -> bool {
        self != Self::Append
    }
}

/// What a worker has to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) table: PathBuf,
    pub(crate) app: i64,
    /// The number of the first append.
    pub(crate) first: i64,
    pub(crate) appends: i64,
    pub(crate) job: Job,
    /// Whether it says where it is: a store of its own is put around the local one.
    pub(crate) aloud: bool,
    /// Where it stops and waits for its end.
    pub(crate) hold: Option<(Phase, usize)>,
}

/// A place to stop at: the n-th time that a phase is reached.
pub(crate) struct Hold {
    phase: Phase,
    times: usize,
    seen: AtomicUsize,
}

impl Hold {
    pub(crate) fn is_now(&self, phase: Phase) -> bool {
        phase == self.phase && self.seen.fetch_add(1, Ordering::Relaxed) + 1 == self.times
    }
}

impl Order {
    /// The application's name, as transactions have it.
    pub(crate) fn app_id(app: i64) -> String {
        format!("app-{app}")
    }

    async fn open(&self) -> Result<Table> {
        if !self.aloud {
            return Table::open(self.table.to_str().unwrap()).await;
        }
        let environment = Environment::system();
        let inner = LocalStore::new(&self.table, &environment).unwrap();
        let hold = self.hold.map(|(phase, times)| Hold {
            phase,
            times,
            seen: AtomicUsize::new(0),
        });
        let storage = Storage::new(Arc::new(Told { inner, hold }), Path::ROOT, &environment);
        Table::open_in(storage, environment).await
    }

    async fn run(&self) -> Result<()> {
        let table = self.open().await?;
        Line::Ready.print();
        match self.job {
            Job::Compact => loops::compact(&table, &self.table).await?,
            Job::Vacuum => loops::vacuum(&table, &self.table).await?,
            Job::Read => loops::read(&table, &self.table, self.first).await?,
            _ => self.carry_out_all(&table).await?,
        }
        table.close().await;
        Line::Done.print();
        Ok(())
    }

    async fn carry_out_all(&self, table: &Table) -> Result<()> {
        for number in self.first..self.first + self.appends {
            let id = Id {
                app: self.app,
                number,
            };
            Line::Begin(number).print();
            let mut gave_up = 0;
            let commit = loop {
                match self.carry_out(table, id).await {
                    // Others kept contradicting it, and it says so: it is done again.
                    Err(error) if self.gives_up(&error) && gave_up < GAVE_UP_MAX => {
                        Line::GaveUp(number).print();
                        gave_up += 1;
                    }
                    done => break done?,
                }
            };
            let times = replans::take();
            if times > 0 {
                Line::Replanned(times).print();
            }
            match commit.status {
                CommitStatus::Committed => {
                    if matches!(self.job, Job::Append | Job::AppendOnce) {
                        assert_eq!(commit.rows, id.rows().len() as u64);
                    }
                    Line::Committed(number, commit.version).print();
                }
                CommitStatus::AlreadyApplied => {
                    assert_eq!(gave_up, 0, "nothing was committed by what gave up");
                    Line::AlreadyApplied(number).print();
                }
                CommitStatus::Unchanged => panic!("each of them always makes a version"),
            }
        }
        Ok(())
    }

    async fn carry_out(&self, table: &Table, id: Id) -> Result<Commit> {
        let append = || table.append(id.batch());
        let app_id = Self::app_id(id.app);
        match self.job {
            Job::Append => append().await,
            Job::AppendOnce => append().exactly_once(app_id, id.number).await,
            Job::Change => {
                let work = Change::of(id).work(table);
                let transaction = table.transaction().exactly_once(app_id, id.number);
                transaction.then(work).commit().await
            }
            Job::BesideUpkeep => {
                let work = Change::beside_upkeep(id).work(table);
                let transaction = table.transaction().exactly_once(app_id, id.number);
                transaction.then(work).commit().await
            }
            Job::Compact | Job::Vacuum | Job::Read => panic!("it has no numbers"),
        }
    }

    /// Appends are contradicted by nothing that happens here.
    fn gives_up(&self, error: &Error) -> bool {
        let is_append = match self.job {
            Job::Change => self.app <= APPENDERS,
            Job::BesideUpkeep => self.app <= UPKEEP_APPENDERS,
            _ => true,
        };
        error.code() == Code::CommitConflict && !is_append
    }
}

/// Does what the environment orders; nothing if it orders nothing.
pub(crate) fn work() {
    let Ok(order) = std::env::var(ORDER) else {
        return;
    };
    let order: Order = serde_json::from_str(&order).unwrap();
    // The parent holds the other end and never writes: its end is this process's end.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(1);
    });
    replans::listen();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(order.run()).unwrap();
}
