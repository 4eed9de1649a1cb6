//! Worker processes on one table: starting, killing, pausing and starting them again.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::line::{Line, Phase};
use crate::rows::Id;
use crate::tale::Tale;
use crate::worker::{Job, ORDER, Order};

/// A worker that says nothing for so long is stuck.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(60);
pub(crate) const SIGKILL: i32 = 9;

/// What the processes of a test have to do.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    pub(crate) table: PathBuf,
    /// The application of each process that runs at a time.
    pub(crate) apps: Vec<i64>,
    /// How many appends each of them has to get acknowledged.
    pub(crate) appends: i64,
    /// How often each of them is killed.
    pub(crate) kills: usize,
    pub(crate) job: Job,
}

/// What can be known while processes run.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    acknowledged: Mutex<BTreeSet<Id>>,
    pub(crate) kills: AtomicUsize,
}

impl Progress {
    pub(crate) fn acknowledged(&self) -> BTreeSet<Id> {
        let set = self.acknowledged.lock();
        set.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How one process ends.
#[derive(Debug, Clone, Copy)]
enum Aim {
    /// By itself.
    Finish,
    /// Killed so long after it was started.
    Start(Duration),
    /// Killed so long after it began its n-th append.
    During(usize, Duration),
    /// Killed as soon as the parent hears that this phase was reached for the n-th time. It may be further by then.
    Race(Phase, usize),
    /// Killed while it stands still in this phase.
    Hold(Phase, usize),
}

impl Aim {
    /// The `index`-th end of a slot: all ways take turns.
    fn draw(index: usize, appends: u64, chance: &mut Chance) -> Self {
        let count = |chance: &mut Chance| usize::try_from(chance.within(1, appends)).unwrap();
        let times = count(chance);
        let micros = |chance: &mut Chance, most| Duration::from_micros(chance.within(0, most));
        match index % 10 {
            0 => Self::Hold(Phase::Commit, times),
            1 | 6 => Self::During(times, micros(chance, 40_000)),
            2 => Self::Hold(Phase::Landed, times),
            3 => Self::Race(Phase::Data, times),
            4 => Self::Start(micros(chance, 200_000)),
            5 => Self::Race(Phase::Commit, times),
            7 => Self::Hold(Phase::Data, times),
            8 => Self::Hold(Phase::Checkpoint, 1),
            _ => Self::Hold(Phase::Hint, 1),
        }
    }

    /// Whether the worker has to say where it is.
    fn needs_lines(self) -> bool {
        matches!(self, Self::Race(..) | Self::Hold(..))
    }
}

impl Fleet {
    /// Runs all of it and hands back what each slot told.
    pub(crate) fn run(&self, chance: &mut Chance, progress: &Progress) -> Vec<Tale> {
        std::thread::scope(|scope| {
            let slots: Vec<_> = self
                .apps
                .iter()
                .enumerate()
                .map(|(place, &app)| {
                    let twins = self.apps.iter().filter(|&&other| other == app).count();
                    let slot = Slot {
                        fleet: self,
                        progress,
                        app,
                        chance: chance.fork(),
                        tale: Tale::new(twins > 1),
                    };
                    scope.spawn(move || slot.run(place))
                })
                .collect();
            let tales: Vec<_> = slots.into_iter().map(|slot| slot.join()).collect();
            tales.into_iter().map(Result::unwrap).collect()
        })
    }
}

/// One process at a time.
struct Slot<'a> {
    fleet: &'a Fleet,
    progress: &'a Progress,
    app: i64,
    chance: Chance,
    tale: Tale,
}

impl Slot<'_> {
    fn run(mut self, place: usize) -> Tale {
        let mut index = place;
        while let left @ 1.. = self.fleet.appends - self.tale.acknowledged() {
            let kills_left = self.fleet.kills.saturating_sub(self.tale.kills.all);
            let share = u64::try_from(left).unwrap() / (kills_left as u64 + 1);
            let share = share.max(1);
            let (aim, appends) = if kills_left == 0 {
                (Aim::Finish, left)
            } else {
                let aim = Aim::draw(index, share, &mut self.chance);
                (aim, left.min(i64::try_from(share).unwrap() * 2))
            };
            index += 1;
            let aloud = aim.needs_lines() || self.chance.within(0, 1) == 0;
            let order = Order {
                table: self.fleet.table.clone(),
                app: self.app,
                first: self.first(),
                appends,
                job: self.fleet.job,
                aloud,
                hold: match aim {
                    Aim::Hold(phase, times) => Some((phase, times)),
                    _ => None,
                },
            };
            self.live(&order, aim);
        }
        self.tale
    }

    /// The number that a new process starts with.
    fn first(&self) -> i64 {
        let last = self.tale.begun.last().copied();
        match last {
            None => 1,
            Some(last) if self.fleet.job.is_once() && !self.tale.is_acknowledged(last) => last,
            Some(last) => last + 1,
        }
    }

    /// One process from start to end.
    fn live(&mut self, order: &Order, aim: Aim) {
        let mut child = start(order);
        let lines = listen(&mut child);
        self.tale.start();
        self.attend(&mut child, &lines, aim);
        // What it said before it died is still in the pipe.
        for line in &lines {
            self.hear(line);
        }
        let status = child.wait().unwrap();
        if status.signal() == Some(SIGKILL) {
            self.tale.died(order.aloud);
            self.progress.kills.fetch_add(1, Ordering::Relaxed);
        } else {
            assert!(status.success(), "a worker failed: {status}, {order:?}");
            self.tale.ended();
        }
    }

    /// Listens until the process has ended or was killed.
    fn attend(&mut self, child: &mut Child, lines: &Receiver<Line>, aim: Aim) {
        let mut strike = match aim {
            Aim::Start(delay) => Some(Instant::now() + delay),
            _ => None,
        };
        let mut seen = 0;
        let mut pause_at = match self.chance.within(0, 3) {
            0 if self.fleet.kills > 0 => Some(self.chance.within(1, 12)),
            _ => None,
        };
        loop {
            let patience = strike.map_or(SILENCE_MAX, |at| {
                at.saturating_duration_since(Instant::now())
            });
            match lines.recv_timeout(patience) {
                Ok(line) => {
                    self.hear(line);
                    if let Some(delay) = strikes(aim, line, &mut seen) {
                        strike = Some(Instant::now() + delay);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    assert!(strike.is_some(), "a worker is stuck: {:?}", self.tale);
                }
            }
            if strike.is_some_and(|at| at <= Instant::now()) {
                child.kill().unwrap();
                return;
            }
            pause_at = pause_at.map(|lines| lines - 1);
            if pause_at == Some(0) {
                pause_at = None;
                self.pause(child);
            }
        }
    }

    /// Lets the process stand still for a while, wherever it is, as a busy or sleeping machine does.
    fn pause(&mut self, child: &Child) {
        let send = |signal: &str| {
            let id = child.id().to_string();
            Command::new("kill").args([signal, &id]).status().unwrap()
        };
        // It has not been waited for, so the id is its own even if it has ended.
        if send("-STOP").success() {
            std::thread::sleep(Duration::from_millis(self.chance.within(20, 300)));
            send("-CONT");
            self.tale.pauses += 1;
        }
    }

    fn hear(&mut self, line: Line) {
        self.tale.hear(line);
        if let Line::Committed(number, _) | Line::AlreadyApplied(number) = line {
            let app = self.app;
            let set = self.progress.acknowledged.lock();
            set.unwrap_or_else(PoisonError::into_inner)
                .insert(Id { app, number });
        }
    }
}

/// How long after this line to kill; `None` if not because of it.
fn strikes(aim: Aim, line: Line, seen: &mut usize) -> Option<Duration> {
    let (matches, times, delay) = match aim {
        Aim::Finish | Aim::Start(_) => return None,
        Aim::During(times, delay) => (matches!(line, Line::Begin(_)), times, delay),
        Aim::Race(phase, times) => (line == Line::Reached(phase), times, Duration::ZERO),
        Aim::Hold(phase, _) => (line == Line::Held(phase), 1, Duration::ZERO),
    };
    *seen += usize::from(matches);
    (matches && *seen == times).then_some(delay)
}

pub(crate) fn start(order: &Order) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["worker", "--exact", "--nocapture", "--test-threads=1"])
        .env(ORDER, serde_json::to_string(order).unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The lines of a process, until its end.
pub(crate) fn listen(child: &mut Child) -> Receiver<Line> {
    let out = BufReader::new(child.stdout.take().unwrap());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for text in out.lines() {
            let Some(line) = Line::parse(&text.unwrap()) else {
                continue;
            };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
