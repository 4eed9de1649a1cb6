//! The times of versions, from the times of their commit files. No clock is read here.
//!
//! Spec: [In-Commit Timestamps](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#in-commit-timestamps) for
//! what replaces them where that is enabled.

use crate::protocol::Version;

/// The times of consecutive versions made strictly increasing: a commit that is not later than the one before it counts
/// as one millisecond later. Clocks of writers and stores differ; the order of versions does not depend on them.
pub(crate) fn monotone(times: impl IntoIterator<Item = (Version, i64)>) -> Vec<(Version, i64)> {
    let mut previous: Option<i64> = None;
    let adjust = |(version, millis): (Version, i64)| {
        let floor = previous.map_or(i64::MIN, |previous| previous.saturating_add(1));
        let adjusted = millis.max(floor);
        previous = Some(adjusted);
        (version, adjusted)
    };
    times.into_iter().map(adjust).collect()
}

/// Where a moment lies among the times of versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Before the first of them.
    Before,
    /// This version was in force.
    During(Version),
    /// After the commit of the last of them, which was the newest then, as far as anybody can tell.
    After(Version),
}

/// Where `millis` lies among times as [`monotone`] makes them. A commit's own moment belongs to it.
pub(crate) fn moment(times: &[(Version, i64)], millis: i64) -> Moment {
    let up_to = times.partition_point(|(_, time)| *time <= millis);
    let Some((version, time)) = up_to.checked_sub(1).and_then(|index| times.get(index)) else {
        return Moment::Before;
    };
    if up_to == times.len() && *time < millis {
        return Moment::After(*version);
    }
    Moment::During(*version)
}

/// The in-commit timestamp of a commit at `now` on top of one at `previous`.
pub(crate) fn in_commit_timestamp(now: i64, previous: i64) -> i64 {
    now.max(previous.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c_6_times_grow_whatever_the_clocks_say() {
        let times = monotone([
            (3, 100),
            (4, 50),
            (5, 100),
            (6, 102),
            (7, 1_000),
            (8, 1_000),
        ]);
        assert_eq!(
            times,
            [
                (3, 100),
                (4, 101),
                (5, 102),
                (6, 103),
                (7, 1_000),
                (8, 1_001)
            ]
        );
        assert_eq!(
            monotone([(0, i64::MIN), (1, -5), (2, i64::MIN)]),
            [(0, i64::MIN), (1, -5), (2, -4)]
        );
        assert_eq!(monotone([]), []);
        assert_eq!(in_commit_timestamp(10, 5), 10);
        assert_eq!(in_commit_timestamp(5, 5), 6);
        assert_eq!(in_commit_timestamp(0, 100), 101);
        assert_eq!(in_commit_timestamp(0, i64::MAX), i64::MAX);
    }

    #[test]
    fn c_11_the_version_in_force_at_a_moment() {
        // Two commits in one millisecond, then one after a while; versions do not start at 0.
        let times = monotone([(5, 10), (6, 10), (7, 20)]);
        for (millis, expected) in [
            (i64::MIN, Moment::Before),
            (9, Moment::Before),
            (10, Moment::During(5)),
            (11, Moment::During(6)),
            (12, Moment::During(6)),
            (19, Moment::During(6)),
            (20, Moment::During(7)),
            (21, Moment::After(7)),
            (i64::MAX, Moment::After(7)),
        ] {
            assert_eq!(moment(&times, millis), expected, "{millis}");
        }
        assert_eq!(moment(&[], 5), Moment::Before);
    }
}
