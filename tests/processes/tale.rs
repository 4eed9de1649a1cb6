//! What the processes of one slot said, and how they died.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::line::{Line, Phase};
use crate::scaled;

/// What must have become of an append whose process was killed, as far as its last line tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The commit had not been sent.
    NotSent,
    /// It was being sent, or nothing was said.
    Open,
    /// It was on the disk.
    Landed,
}

/// Kills by the moment at which they struck.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Kills {
    pub(crate) all: usize,
    /// No data file of the append was there.
    pub(crate) before_data: usize,
    /// A data file was there, and the commit had not been sent.
    pub(crate) before_commit: usize,
    /// The commit was being sent.
    pub(crate) in_commit: usize,
    /// The commit was there, and the append had not returned.
    pub(crate) after_commit: usize,
    /// Between appends: before the first, or behind the last acknowledgement.
    pub(crate) idle: usize,
    /// In an append of a process that does not say how far it is.
    pub(crate) unsaid: usize,
    /// A checkpoint was being written; counted above as well.
    pub(crate) in_checkpoint: usize,
}

impl Kills {
    /// Those between the data file and the acknowledgement.
    pub(crate) fn between(&self) -> usize {
        self.before_commit + self.in_commit + self.after_commit
    }

    /// Those of all slots.
    pub(crate) fn of(tales: &[Tale]) -> Self {
        let mut sum = Self::default();
        tales.iter().for_each(|tale| sum.add(&tale.kills));
        sum
    }

    /// There were as many as a test of killed processes is about.
    pub(crate) fn check(&self) {
        let least = |full, quick| usize::try_from(scaled(full, quick)).unwrap();
        assert!(self.all >= least(100, 20), "{self:?}");
        assert!(self.between() >= least(30, 8), "{self:?}");
        assert!(self.before_commit >= least(8, 2), "{self:?}");
        assert!(self.after_commit >= least(8, 2), "{self:?}");
    }

    fn add(&mut self, other: &Self) {
        self.all += other.all;
        self.before_data += other.before_data;
        self.before_commit += other.before_commit;
        self.in_commit += other.in_commit;
        self.after_commit += other.after_commit;
        self.idle += other.idle;
        self.unsaid += other.unsaid;
        self.in_checkpoint += other.in_checkpoint;
    }
}

impl fmt::Display for Kills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "kills {}: before the data file {}; between data file and acknowledgement {} (commit not sent {}, being \
             sent {}, on the disk {}); between operations {}; unsaid {}; with a checkpoint under way {}",
            self.all,
            self.before_data,
            self.between(),
            self.before_commit,
            self.in_commit,
            self.after_commit,
            self.idle,
            self.unsaid,
            self.in_checkpoint,
        )
    }
}

/// What is known of all processes of one slot, one after another.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tale {
    /// Whether another slot makes the same appends at the same time.
    has_twin: bool,
    /// Numbers of appends that were begun, acknowledged or not.
    pub(crate) begun: BTreeSet<i64>,
    /// Acknowledged appends, and the versions they were said to be.
    pub(crate) committed: BTreeMap<i64, u64>,
    /// Acknowledged as having been committed before.
    pub(crate) already_applied: BTreeSet<i64>,
    /// Appends that were under way at a kill.
    pub(crate) fates: BTreeMap<i64, Fate>,
    pub(crate) kills: Kills,
    /// How often operations were planned again, and how often which one was at most.
    pub(crate) replanned: usize,
    pub(crate) replanned_most: (usize, i64),
    /// How often an operation ended as a conflict.
    pub(crate) gave_up: usize,
    pub(crate) pauses: usize,
    pub(crate) processes: usize,
    now: Now,
}

/// Where the living process is.
#[derive(Debug, Clone, Copy, Default)]
struct Now {
    append: Option<(i64, Option<Phase>)>,
    in_checkpoint: bool,
    done: bool,
}

impl Tale {
    /// Before the first process.
    pub(crate) fn new(has_twin: bool) -> Self {
        Self {
            has_twin,
            ..Self::default()
        }
    }

    /// A new process takes over.
    pub(crate) fn start(&mut self) {
        self.now = Now::default();
        self.processes += 1;
    }

    pub(crate) fn hear(&mut self, line: Line) {
        match line {
            Line::Ready | Line::Held(_) | Line::Turn(_) => {}
            Line::Begin(number) => {
                self.now.append = Some((number, None));
                self.begun.insert(number);
            }
            Line::GaveUp(number) => {
                self.now.append = Some((number, None));
                self.gave_up += 1;
            }
            Line::Replanned(times) => {
                self.replanned += times;
                let (number, _) = self.now.append.unwrap();
                self.replanned_most = self.replanned_most.max((times, number));
            }
            Line::Reached(Phase::Checkpoint) => self.now.in_checkpoint = true,
            Line::Reached(Phase::Hint) => self.now.in_checkpoint = false,
            Line::Reached(phase) => {
                let (_, reached) = self.now.append.as_mut().unwrap();
                *reached = Some(phase);
            }
            Line::Committed(number, version) => {
                self.returned(number);
                self.check_fate(number, Fate::Landed);
                let first = self.committed.insert(number, version);
                assert_eq!(first, None, "append {number} was acknowledged twice");
            }
            Line::AlreadyApplied(number) => {
                self.returned(number);
                if !self.has_twin {
                    self.check_fate(number, Fate::NotSent);
                }
                self.already_applied.insert(number);
            }
            Line::Done => self.now.done = true,
        }
    }

    fn returned(&mut self, number: i64) {
        assert_eq!(self.now.append.map(|(begun, _)| begun), Some(number));
        self.now.append = None;
    }

    /// A repeat is answered by what became of the append at the kill.
    fn check_fate(&self, number: i64, ruled_out: Fate) {
        let fate = self.fates.get(&number);
        assert_ne!(fate, Some(&ruled_out), "the repeat of append {number}");
    }

    /// The process was killed, and all it said was heard.
    pub(crate) fn died(&mut self, aloud: bool) {
        let kills = &mut self.kills;
        kills.all += 1;
        kills.in_checkpoint += usize::from(self.now.in_checkpoint);
        let Some((number, reached)) = self.now.append else {
            kills.idle += 1;
            return;
        };
        let (count, fate) = match reached {
            None if !aloud => (&mut kills.unsaid, Fate::Open),
            None => (&mut kills.before_data, Fate::NotSent),
            Some(Phase::Commit) => (&mut kills.in_commit, Fate::Open),
            Some(Phase::Landed) => (&mut kills.after_commit, Fate::Landed),
            Some(_) => (&mut kills.before_commit, Fate::NotSent),
        };
        *count += 1;
        self.fates.insert(number, fate);
    }

    /// The process ended by itself.
    pub(crate) fn ended(&self) {
        assert!(self.now.done, "a worker ended before its work was done");
    }

    /// Whether this append was acknowledged.
    pub(crate) fn is_acknowledged(&self, number: i64) -> bool {
        self.committed.contains_key(&number) || self.already_applied.contains(&number)
    }

    pub(crate) fn acknowledged(&self) -> i64 {
        i64::try_from(self.committed.len() + self.already_applied.len()).unwrap()
    }
}
