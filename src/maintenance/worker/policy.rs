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
    /// How long ago objects were deleted last, if the worker knows.
    pub(super) deleted: Option<Duration>,
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
    let deletes = policy
        .delete_every
        .is_some_and(|every| sight.deleted.is_none_or(|ago| every <= ago));
    if deletes {
        jobs.push(Job::Vacuum);
        if sight.cleans_log {
            jobs.push(Job::CleanUpLog);
        }
    }
    jobs
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
        deleted: Some(Duration::from_secs(99)),
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
            deleted: Some(Duration::from_secs(100)),
            ..QUIET
        };
        assert_eq!(due(POLICY, long_ago), [Job::Vacuum, Job::CleanUpLog]);
        let keeps = Sight {
            deleted: None,
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
}
