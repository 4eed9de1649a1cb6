//! Waiting before trying again: bounded, exponential, with full jitter.
//!
//! Full jitter (a wait drawn from zero up to the bound) spreads writers that failed together, so
//! that they do not fail together again.

use std::time::Duration;

use crate::environment::Environment;

/// How long and how often to try.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetryPolicy {
    /// Attempts in all, the first one included.
    pub(crate) attempts_max: u32,
    /// Bound of the first wait; it doubles with each one.
    pub(crate) wait_first: Duration,
    /// Bound of any wait.
    pub(crate) wait_max: Duration,
    /// No attempt starts after this much time.
    pub(crate) budget: Duration,
}

impl RetryPolicy {
    /// For requests that may be repeated without harm.
    pub(crate) const REQUEST: Self = Self {
        attempts_max: 8,
        wait_first: Duration::from_millis(100),
        wait_max: Duration::from_secs(10),
        budget: Duration::from_secs(90),
    };
}

/// The waits of one operation.
#[derive(Debug)]
pub(crate) struct Backoff {
    environment: Environment,
    policy: RetryPolicy,
    started: Duration,
    attempts: u32,
}

impl Backoff {
    /// Starts the budget: the first attempt follows at once.
    pub(crate) fn new(environment: &Environment, policy: RetryPolicy) -> Self {
        let started = environment.elapsed();
        Self {
            environment: environment.clone(),
            policy,
            started,
            attempts: 1,
        }
    }

    /// Attempts that were allowed so far.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Waits before another attempt; `false`, at once, when there shall be none.
    pub(crate) async fn wait(&mut self) -> bool {
        let Some(wait) = self.next_wait() else {
            return false;
        };
        self.environment.sleep(wait).await;
        true
    }

    fn next_wait(&mut self) -> Option<Duration> {
        if self.attempts >= self.policy.attempts_max {
            return None;
        }
        let doublings = self.attempts.saturating_sub(1).min(31);
        let bound = self
            .policy
            .wait_first
            .saturating_mul(1 << doublings)
            .min(self.policy.wait_max);
        let micros = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        let wait = Duration::from_micros(self.environment.random_below(micros.saturating_add(1)));
        let spent = self.environment.elapsed().saturating_sub(self.started);
        if spent.saturating_add(wait) > self.policy.budget {
            return None;
        }
        self.attempts += 1;
        Some(wait)
    }
}
