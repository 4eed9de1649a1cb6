//! Which files are rewritten. Pure: the same files give the same choice.

use std::collections::BTreeMap;

use crate::protocol::action::Add;

/// A file that compaction made full carries the size it was to have in this tag, so that it is never made again.
pub(super) const TAG_FULL: &str = "headwater.full";

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
    /// How many small files make it worth the while.
    pub(super) files_min: usize,
}

/// Files of one partition that become fewer, in the order in which their rows are written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub(super) inputs: Vec<Add>,
}

/// What is known of a file for the choice.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) add: Add,
    /// Rows, deleted ones among them, where the log says it.
    pub(super) rows: Option<u64>,
}

/// The groups to rewrite, oldest files first. A second choice over what they become is empty.
pub(super) fn choose(files: Vec<Candidate>, wanted: Wanted) -> Vec<Group> {
    let mut partitions: BTreeMap<_, Vec<Candidate>> = BTreeMap::new();
    for file in files {
        if is_candidate(&file, wanted) {
            let partition = partitions.entry(file.add.partition_values.clone());
            partition.or_default().push(file);
        }
    }
    let mut groups = Vec::new();
    let mut bytes = 0_u64;
    for mut files in partitions.into_values() {
        files.sort_by(|left, right| {
            let age = |file: &Candidate| file.add.modification_time;
            (age(left), &left.add.path).cmp(&(age(right), &right.add.path))
        });
        let mut inputs = Vec::new();
        for file in files {
            if !inputs.is_empty() && wanted.commit_bytes <= bytes {
                break;
            }
            bytes = bytes.saturating_add(size(&file.add));
            inputs.push(file);
        }
        if is_worth_it(&inputs, wanted.files_min) {
            let inputs = inputs.into_iter().map(|file| file.add).collect();
            groups.push(Group { inputs });
        }
        if wanted.commit_bytes <= bytes {
            break;
        }
    }
    groups
}

fn is_candidate(file: &Candidate, wanted: Wanted) -> bool {
    let tags = file.add.tags.as_ref();
    let full = tags
        .and_then(|tags| tags.get(TAG_FULL))
        .and_then(Option::as_deref);
    let full = full.and_then(|full| full.parse::<u64>().ok());
    let is_full = full.is_some_and(|full| wanted.target_bytes <= full);
    let is_small = size(&file.add) < wanted.target_bytes / 100 * SMALL_PERCENT;
    is_holey(file) || (is_small && !is_full)
}

/// Whether enough rows are deleted that reading past them costs more than writing the others once.
fn is_holey(file: &Candidate) -> bool {
    let deleted = file.add.deletion_vector.as_ref();
    let deleted = deleted.map_or(0, |vector| vector.cardinality.unsigned_abs());
    let rows = file.rows.unwrap_or(0);
    0 < deleted && rows.saturating_mul(DELETED_PERCENT) <= deleted.saturating_mul(100)
}

/// One small file by itself stays what it is.
fn is_worth_it(inputs: &[Candidate], files_min: usize) -> bool {
    files_min.max(2) <= inputs.len() || inputs.iter().any(is_holey)
}

fn size(add: &Add) -> u64 {
    add.size.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::action::DeletionVectorDescriptor;

    const WANTED: Wanted = Wanted {
        target_bytes: 1_000,
        commit_bytes: 100_000,
        files_min: 2,
    };

    fn file(path: &str, part: &str, size: i64) -> Candidate {
        let add = Add {
            path: path.to_owned(),
            partition_values: BTreeMap::from([("p".to_owned(), Some(part.to_owned()))]),
            size,
            modification_time: 0,
            data_change: true,
            stats: None,
            tags: None,
            deletion_vector: None,
            base_row_id: None,
            default_row_commit_version: None,
            clustering_provider: None,
            unknown: BTreeMap::new(),
        };
        let rows = Some(100);
        Candidate { add, rows }
    }

    fn holey(path: &str, size: i64, deleted: i64) -> Candidate {
        let mut file = file(path, "1", size);
        file.add.deletion_vector = Some(DeletionVectorDescriptor {
            storage_type: "u".to_owned(),
            path_or_inline_dv: String::new(),
            offset: None,
            size_in_bytes: 1,
            cardinality: deleted,
        });
        file
    }

    fn chosen(files: Vec<Candidate>, wanted: Wanted) -> Vec<Vec<String>> {
        let paths = |group: Group| group.inputs.into_iter().map(|add| add.path).collect();
        choose(files, wanted).into_iter().map(paths).collect()
    }

    #[test]
    fn small_files_of_one_partition_meet_and_lonely_ones_stay() {
        let files = vec![
            file("b", "1", 10),
            file("a", "1", 700),
            file("c", "2", 10),
            file("large", "1", 750),
        ];
        assert_eq!(chosen(files, WANTED), [["a", "b"]]);
    }

    #[test]
    fn what_compaction_made_full_is_not_made_again_unless_files_are_to_be_larger() {
        let full = |path: &str| {
            let mut file = file(path, "1", 300);
            file.add.tags = Some(BTreeMap::from([(
                TAG_FULL.to_owned(),
                Some("1000".to_owned()),
            )]));
            file
        };
        assert!(chosen(vec![full("a"), full("b"), file("c", "1", 10)], WANTED).is_empty());
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
            chosen(vec![holey("a", 10, 1), file("b", "1", 10)], WANTED),
            [["a", "b"]]
        );
    }

    #[test]
    fn a_commit_rewrites_about_as_much_as_is_wanted() {
        let files: Vec<_> = (0..10).map(|n| file(&format!("{n}"), "1", 100)).collect();
        let little = Wanted {
            commit_bytes: 250,
            ..WANTED
        };
        assert_eq!(chosen(files, little), [["0", "1", "2"]]);
    }
}
