//! Which files are rewritten. Pure: the same files give the same choice.

use std::collections::BTreeMap;

/// A file below this share of the target is small, in percent.
const SMALL_PERCENT: u64 = 75;
/// A file of whose rows at least this share is deleted is worth rewriting by itself, in percent.
const DELETED_PERCENT: u64 = 20;

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// About how large files are to be.
    pub(super) target_bytes: u64,
    /// How many bytes are rewritten for one commit, about.
    pub(super) commit_bytes: u64,
    /// How many files go with one commit, about.
    pub(super) commit_files: usize,
    /// How many small files make it worth the while.
    pub(super) files_min: usize,
}

/// What is known of a file for the choice. There may be millions, so it is little.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    /// As the log spells it.
    pub(super) path: String,
    /// Which partition it is of: they are numbered.
    pub(super) partition: usize,
    pub(super) bytes: u64,
    pub(super) modification_time: i64,
    /// Rows, deleted ones among them, where the log says it.
    pub(super) rows: Option<u64>,
    pub(super) deleted: u64,
    /// The size that it was to have, if compaction made it full.
    pub(super) full: Option<u64>,
}

/// Files of one partition that become fewer, in the order in which their rows are written.
pub(super) type Group = Vec<Candidate>;

/// The groups to rewrite for one commit: those of the partition with the oldest file first, so that a partition that
/// gets many files keeps none of the others waiting for ever. A second choice over what they become is empty, unless a
/// group was cut short: then it has fewer files, or fewer that are not full.
pub(super) fn choose(files: Vec<Candidate>, wanted: Wanted) -> Vec<Group> {
    let mut partitions: BTreeMap<_, Vec<Candidate>> = BTreeMap::new();
    for file in files {
        if is_candidate(&file, wanted) {
            partitions.entry(file.partition).or_default().push(file);
        }
    }
    let mut groups: Vec<Group> = partitions
        .into_values()
        .filter_map(|files| group(files, wanted))
        .collect();
    // Stable: partitions of one age stay in their order.
    groups.sort_by_key(|inputs| inputs.first().map(|file| file.modification_time));
    let (mut bytes, mut count) = (0_u64, 0);
    let fits = |inputs: &Group| {
        let is_first_or_fits = bytes < wanted.commit_bytes.max(1) && count < wanted.commit_files;
        bytes = bytes.saturating_add(total(inputs));
        count += inputs.len();
        is_first_or_fits
    };
    groups.into_iter().take_while(fits).collect()
}

/// What is rewritten of a partition, oldest first; `None` if it is not worth the while.
fn group(mut files: Vec<Candidate>, wanted: Wanted) -> Option<Group> {
    files.sort_by(|left, right| {
        let age = |file: &Candidate| file.modification_time;
        (age(left), &left.path).cmp(&(age(right), &right.path))
    });
    let (mut bytes, mut length) = (0_u64, 0);
    for file in &files {
        // Two at least: one by itself would stay what it is, and what comes after it would wait for ever.
        if 2 <= length && (wanted.commit_bytes <= bytes || wanted.commit_files <= length) {
            break;
        }
        bytes = bytes.saturating_add(file.bytes);
        length += 1;
    }
    // More than one commit's worth of files is enough, however few they are.
    let is_cut = length < files.len();
    files.truncate(length);
    let files_min = if is_cut { 2 } else { wanted.files_min };
    is_worth_it(&files, files_min).then_some(files)
}

fn total(files: &[Candidate]) -> u64 {
    files
        .iter()
        .fold(0, |sum, file| sum.saturating_add(file.bytes))
}

fn is_candidate(file: &Candidate, wanted: Wanted) -> bool {
    let is_full = file.full.is_some_and(|full| wanted.target_bytes <= full);
    is_holey(file) || (is_small(file.bytes, wanted) && !is_full)
}

/// Whether a file of this size is small enough to be joined with others.
pub(super) fn is_small(size: u64, wanted: Wanted) -> bool {
    let percent = u128::from(wanted.target_bytes) * u128::from(SMALL_PERCENT);
    u128::from(size) * 100 < percent
}

/// Whether enough rows are deleted that reading past them costs more than writing the others once.
fn is_holey(file: &Candidate) -> bool {
    let rows = file.rows.unwrap_or(0);
    0 < file.deleted && rows.saturating_mul(DELETED_PERCENT) <= file.deleted.saturating_mul(100)
}

/// One small file by itself stays what it is.
fn is_worth_it(inputs: &[Candidate], files_min: usize) -> bool {
    files_min.max(2) <= inputs.len() || inputs.iter().any(is_holey)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted = Wanted {
        target_bytes: 1_000,
        commit_bytes: 100_000,
        commit_files: 1_000,
        files_min: 2,
    };

    fn file(path: &str, partition: usize, bytes: u64) -> Candidate {
        Candidate {
            path: path.to_owned(),
            partition,
            bytes,
            modification_time: 0,
            rows: Some(100),
            deleted: 0,
            full: None,
        }
    }

    fn holey(path: &str, bytes: u64, deleted: u64) -> Candidate {
        Candidate {
            deleted,
            ..file(path, 1, bytes)
        }
    }

    fn chosen(files: Vec<Candidate>, wanted: Wanted) -> Vec<Vec<String>> {
        let paths = |group: Group| group.into_iter().map(|file| file.path).collect();
        choose(files, wanted).into_iter().map(paths).collect()
    }

    #[test]
    fn small_files_of_one_partition_meet_and_lonely_ones_stay() {
        let files = vec![
            file("b", 1, 10),
            file("a", 1, 700),
            file("c", 2, 10),
            file("large", 1, 750),
        ];
        assert_eq!(chosen(files, WANTED), [["a", "b"]]);
    }

    #[test]
    fn what_compaction_made_full_is_not_made_again_unless_files_are_to_be_larger() {
        let full = |path: &str| Candidate {
            full: Some(1_000),
            ..file(path, 1, 300)
        };
        assert!(chosen(vec![full("a"), full("b"), file("c", 1, 10)], WANTED).is_empty());
        let larger = Wanted {
            target_bytes: 2_000,
            ..WANTED
        };
        assert_eq!(chosen(vec![full("a"), full("b")], larger), [["a", "b"]]);
    }

    #[test]
    fn a_file_with_many_deleted_rows_is_rewritten_by_itself() {
        assert_eq!(chosen(vec![holey("a", 5_000, 20)], WANTED), [["a"]]);
        assert!(chosen(vec![holey("a", 5_000, 19)], WANTED).is_empty());
        assert_eq!(
            chosen(vec![holey("a", 10, 1), file("b", 1, 10)], WANTED),
            [["a", "b"]]
        );
    }

    #[test]
    fn a_commit_rewrites_about_as_much_as_is_wanted() {
        let files: Vec<_> = (0..10).map(|n| file(&format!("{n}"), 1, 100)).collect();
        let little = Wanted {
            commit_bytes: 250,
            ..WANTED
        };
        assert_eq!(chosen(files, little), [["0", "1", "2"]]);
    }

    /// The files of a group as one that compaction made, and as full ones where they are larger than that.
    fn rewritten(
        group: &[String],
        all: &[Candidate],
        wanted: Wanted,
        turn: usize,
    ) -> Vec<Candidate> {
        let inputs = all.iter().filter(|file| group.contains(&file.path));
        let part = inputs.clone().next().unwrap().partition;
        let mut left: u64 = inputs.map(|file| file.bytes).sum();
        let mut outputs = Vec::new();
        while 0 < left {
            let size = left.min(wanted.target_bytes);
            left -= size;
            let name = format!("{turn}-{}-{}", group[0], outputs.len());
            outputs.push(Candidate {
                modification_time: 1_000 + turn as i64,
                full: (0 < left).then_some(wanted.target_bytes),
                ..file(&name, part, size)
            });
        }
        outputs
    }

    /// Rewrites until nothing is chosen; hands back what there is then.
    fn settle(mut files: Vec<Candidate>, wanted: Wanted) -> Vec<Candidate> {
        for turn in 0..1_000 {
            let groups = chosen(files.clone(), wanted);
            if groups.is_empty() {
                return files;
            }
            for group in groups {
                let outputs = rewritten(&group, &files, wanted, turn);
                files.retain(|file| !group.contains(&file.path));
                files.extend(outputs);
            }
        }
        panic!("it never ends");
    }

    #[test]
    fn files_too_large_for_one_commit_together_are_rewritten_nevertheless() {
        // Five make a commit, eight would make it worth the while: without more, none ever was.
        let appends: Vec<_> = (0..20).map(|n| file(&format!("{n:02}"), 1, 50)).collect();
        let wanted = Wanted {
            target_bytes: 128,
            commit_bytes: 256,
            commit_files: 1_000,
            files_min: 8,
        };
        assert_eq!(chosen(appends.clone(), wanted)[0].len(), 6);
        let settled = settle(appends, wanted);
        assert!(settled.len() < 12, "{}", settled.len());
        assert_eq!(settled.iter().map(|file| file.bytes).sum::<u64>(), 1_000);
    }

    #[test]
    fn very_many_files_go_with_several_commits_however_small_they_are() {
        let files: Vec<_> = (0..9).map(|n| file(&format!("{n}"), 1, 1)).collect();
        let mut parts = files.clone();
        parts.extend((0..9).map(|n| file(&format!("x{n}"), 2, 1)));
        let wanted = Wanted {
            commit_files: 4,
            ..WANTED
        };
        assert_eq!(chosen(files.clone(), wanted), [["0", "1", "2", "3"]]);
        assert_eq!(chosen(parts, wanted).len(), 1);
        assert_eq!(settle(files, wanted).len(), 1);
    }

    #[test]
    fn files_as_large_as_a_commit_are_joined_in_twos() {
        let files: Vec<_> = (0..4).map(|n| file(&format!("{n}"), 1, 300)).collect();
        let wanted = Wanted {
            commit_bytes: 256,
            ..WANTED
        };
        assert_eq!(chosen(files.clone(), wanted), [["0", "1"]]);
        let settled = settle(files, wanted);
        assert_eq!(settled.len(), 2, "one is full, one is the rest");
    }

    #[test]
    fn lonely_files_of_many_partitions_take_nothing_of_what_a_commit_holds() {
        let mut files: Vec<_> = (0..46)
            .map(|day| file(&format!("day-{day:02}"), day, 90))
            .collect();
        files.extend((0..8).map(|n| file(&format!("small-{n}"), 99, 1)));
        let wanted = Wanted {
            target_bytes: 128,
            commit_bytes: 256,
            commit_files: 1_000,
            files_min: 8,
        };
        let groups = chosen(files, wanted);
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].len(), 8);
    }

    #[test]
    fn the_partition_with_the_oldest_file_goes_first() {
        let aged = |path: &str, partition: usize, modification_time: i64| Candidate {
            modification_time,
            ..file(path, partition, 200)
        };
        let files = vec![
            aged("a", 1, 50),
            aged("b", 1, 60),
            aged("c", 2, 7),
            aged("d", 2, 70),
        ];
        let little = Wanted {
            commit_bytes: 100,
            ..WANTED
        };
        assert_eq!(chosen(files.clone(), little), [["c", "d"]]);
        assert_eq!(chosen(files, WANTED), [["c", "d"], ["a", "b"]]);
    }

    #[test]
    fn whatever_the_sizes_it_ends_and_leaves_less_than_is_worth_the_while() {
        for partitions in [1, 3, 46] {
            for (commit_bytes, commit_files) in [
                (1, 100),
                (90, 100),
                (256, 100),
                (100_000, 100),
                (100_000, 1),
                (100_000, 3),
            ] {
                for files_min in [2, 8] {
                    let wanted = Wanted {
                        target_bytes: 128,
                        commit_bytes,
                        commit_files,
                        files_min,
                    };
                    let files = (0..partitions * 12).map(|n| {
                        let size = 1 + n as u64 * 37 % 95;
                        file(&format!("{n:03}"), n % partitions, size)
                    });
                    let settled = settle(files.collect(), wanted);
                    for part in 0..partitions {
                        let small = settled
                            .iter()
                            .filter(|file| file.partition == part && is_candidate(file, wanted));
                        assert!(
                            small.count() < files_min,
                            "{partitions} {commit_bytes} {commit_files}"
                        );
                    }
                }
            }
        }
    }
}
