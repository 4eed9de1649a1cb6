//! What is due. Pure: the same sight gives the same jobs.

use std::time::Duration;

/// What is done to a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Job {
    /// Small files become few.
    Compact,
    /// A checkpoint is written.
    Checkpoint,
    /// Old parts of the log go.
    CleanUpLog,
    /// Objects that nobody needs go.
    Vacuum,
}

/// When things are due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    pub(super) checkpoint_commits: u64,
    /// How long there is between two vacuums, and two log cleanups; `None` is for ever.
    pub(super) delete_every: Option<Duration>,
}

/// What the worker sees of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight {
    /// Groups of files that compaction would make fewer.
    pub(super) groups: usize,
    /// Commits since the last checkpoint.
    pub(super) replayed: u64,
    /// How long ago objects were vacuumed last, if the worker knows.
    pub(super) vacuumed: Option<Duration>,
    /// How long ago the log was cleaned up last, if the worker knows.
    pub(super) cleaned: Option<Duration>,
    /// Whether the table lets old parts of its log go.
    pub(super) cleans_log: bool,
}

/// What is due, in the order in which it is done: what makes files goes before what deletes them.
pub(super) fn due(policy: Policy, sight: Sight) -> Vec<Job> {
    let mut jobs = Vec::new();
    if 0 < sight.groups {
        jobs.push(Job::Compact);
    }
    if policy.checkpoint_commits <= sight.replayed {
        jobs.push(Job::Checkpoint);
    }
    let deletes = |last: Option<Duration>| {
        let every = policy.delete_every;
        every.is_some_and(|every| last.is_none_or(|ago| every <= ago))
    };
    if deletes(sight.vacuumed) {
        jobs.push(Job::Vacuum);
    }
    if deletes(sight.cleaned) && sight.cleans_log {
        jobs.push(Job::CleanUpLog);
    }
    jobs
}

/// How much the worker may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// The share of one core.
    pub(super) core_share: f64,
    /// How many cores the work keeps busy.
    pub(super) cores: usize,
    pub(super) bytes_per_second: Option<u64>,
}

/// How long to rest after work, so that on average no more is taken than may be.
pub(super) fn rest(pace: Pace, worked: Duration, bytes: u64) -> Duration {
    // So small a share is as good as none, and longer rests are nobody's wish.
    let share = pace.core_share.clamp(0.01, 1.0);
    let cores = u32::try_from(pace.cores.max(1)).unwrap_or(u32::MAX);
    let seconds = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    let by_share = seconds(worked.as_secs_f64() * (f64::from(cores) / share - 1.0));
    let by_bytes = pace.bytes_per_second.map(|per_second| {
        let needed = seconds(bytes as f64 / per_second as f64);
        needed.saturating_sub(worked)
    });
    by_share.max(by_bytes.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        checkpoint_commits: 10,
        delete_every: Some(Duration::from_secs(100)),
    };
    const QUIET: Sight = Sight {
        groups: 0,
        replayed: 9,
        vacuumed: Some(Duration::from_secs(99)),
        cleaned: Some(Duration::from_secs(99)),
        cleans_log: true,
    };

    #[test]
    fn nothing_is_due_on_a_table_that_is_as_it_should_be() {
        assert_eq!(due(POLICY, QUIET), []);
    }

    #[test]
    fn each_job_has_its_cause() {
        assert_eq!(due(POLICY, Sight { groups: 1, ..QUIET }), [Job::Compact]);
        assert_eq!(
            due(
                POLICY,
                Sight {
                    replayed: 10,
                    ..QUIET
                }
            ),
            [Job::Checkpoint]
        );
        let long_ago = Sight {
            vacuumed: Some(Duration::from_secs(100)),
            cleaned: Some(Duration::from_secs(100)),
            ..QUIET
        };
        assert_eq!(due(POLICY, long_ago), [Job::Vacuum, Job::CleanUpLog]);
        let keeps = Sight {
            vacuumed: None,
            cleaned: None,
            cleans_log: false,
            ..QUIET
        };
        assert_eq!(due(POLICY, keeps), [Job::Vacuum]);
        let never = Policy {
            delete_every: None,
            ..POLICY
        };
        assert_eq!(due(never, long_ago), []);
    }

    #[test]
    fn a_cleanup_that_failed_is_due_though_the_vacuum_before_it_was_done() {
        let failed = Sight {
            vacuumed: Some(Duration::ZERO),
            cleaned: None,
            ..QUIET
        };
        assert_eq!(due(POLICY, failed), [Job::CleanUpLog]);
    }

    #[test]
    fn rests_make_up_for_what_was_taken() {
        let second = Duration::from_secs(1);
        let pace = |core_share, cores, bytes_per_second| Pace {
            core_share,
            cores,
            bytes_per_second,
        };
        assert_eq!(rest(pace(1.0, 1, None), second, 9), Duration::ZERO);
        assert_eq!(rest(pace(0.5, 1, None), second, 9), second);
        // Two cores for a second are four seconds of half a core.
        assert_eq!(rest(pace(0.5, 2, None), second, 9), second * 3);
        assert_eq!(rest(pace(1.0, 1, Some(10)), second, 100), second * 9);
        assert_eq!(rest(pace(0.5, 1, Some(1_000)), second, 100), second);
        assert!(rest(pace(0.000_1, 64, Some(1)), second, u64::MAX) > second);
    }
}
