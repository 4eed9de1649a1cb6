use std::collections::BTreeMap;

use super::*;
use crate::log::commit::decode;

/// A file as the tests write it: a path, and the id of its deletion vector.
type File = (String, Option<String>);

fn line(kind: &str, (path, vector): &File, size: usize) -> String {
    let vector = vector.as_ref().map_or_else(String::new, |id| {
        format!(
            r#","deletionVector":{{"storageType":"i","pathOrInlineDv":"{id}","sizeInBytes":1,"cardinality":1}}"#
        )
    });
    format!(
        r#"{{"{kind}":{{"path":"{path}","partitionValues":{{}},"size":{size},"modificationTime":0,"dataChange":true{vector}}}}}"#
    )
}

fn commit(version: u64, adds: &[File], removes: &[File]) -> Commit {
    let size = usize::try_from(version).unwrap();
    let adds = adds.iter().map(|file| line("add", file, size));
    let removes = removes.iter().map(|file| line("remove", file, size));
    let info = r#"{"commitInfo":{}}"#.to_owned();
    let lines: Vec<String> = std::iter::once(info).chain(adds).chain(removes).collect();
    decode(version, lines.join("\n").as_bytes()).unwrap()
}

fn file(path: &str) -> File {
    (path.to_owned(), None)
}

fn with_vector(path: &str, id: &str) -> File {
    (path.to_owned(), Some(id.to_owned()))
}

/// The keys of live files, with the version whose add stands for them, and the keys of tombstones.
fn replayed(commits: &[Commit]) -> (BTreeMap<String, i64>, Vec<String>) {
    let (mut adds, mut removes) = (Replay::new(), Replay::new());
    let mut live = BTreeMap::new();
    let mut tombstones = Vec::new();
    for commit in commits.iter().rev() {
        let batch = adds.live(commit).unwrap();
        for index in 0..batch.len() {
            let again = live.insert(batch.key(index).text(), batch.size(index));
            assert_eq!(again, None, "a file is live twice");
        }
        let batch = removes.tombstones(commit).unwrap();
        tombstones.extend((0..batch.len()).map(|index| batch.key(index).text()));
    }
    tombstones.sort();
    (live, tombstones)
}

#[test]
fn the_newest_word_on_a_file_counts() {
    let commits = [
        commit(1, &[file("a"), file("b"), file("c")], &[]),
        commit(2, &[file("b")], &[file("a")]),
        commit(3, &[file("a")], &[file("c"), file("never")]),
    ];
    let (live, tombstones) = replayed(&commits);
    assert_eq!(live, [("a".to_owned(), 3), ("b".to_owned(), 2)].into());
    assert_eq!(tombstones, ["c", "never"]);
}

#[test]
fn a_deletion_vector_makes_another_file_of_a_path() {
    let commits = [
        commit(1, &[file("a")], &[]),
        commit(2, &[with_vector("a", "v")], &[file("a")]),
        commit(3, &[with_vector("a", "w")], &[with_vector("a", "v")]),
    ];
    let (live, tombstones) = replayed(&commits);
    assert_eq!(live, [("a\0iw".to_owned(), 3)].into());
    assert_eq!(tombstones, ["a", "a\0iv"]);
}

#[test]
fn a_file_is_removed_under_any_spelling() {
    let commits = [
        commit(
            1,
            &[file("/some/with%20space/p@%23h"), file("p=1%253A/x")],
            &[],
        ),
        commit(
            2,
            &[],
            &[file("file:/some/with%20space/p@%23h"), file("%70=1%253A/x")],
        ),
    ];
    assert_eq!(replayed(&commits).0.len(), 0);
}

#[test]
fn the_checkpoint_is_older_than_every_commit() {
    let held = commit(
        9,
        &[file("a"), file("b"), with_vector("c", "v")],
        &[file("x"), file("y")],
    );
    let newer = commit(10, &[file("a"), file("x")], &[with_vector("c", "v")]);
    let mut replay = Replay::new();
    let untouched = replay.live_in_checkpoint(held.adds.clone()).unwrap();
    assert_eq!(untouched.len(), 3);
    replay.live(&newer).unwrap();
    let live = replay.live_in_checkpoint(held.adds.clone()).unwrap();
    assert_eq!((live.len(), live.path(0)), (1, "b"));
    let tombstones = replay
        .tombstones_in_checkpoint(held.removes.clone())
        .unwrap();
    assert_eq!((tombstones.len(), tombstones.path(0)), (1, "y"));
}

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

#[test]
fn backwards_with_a_memory_is_the_same_as_forwards() {
    for seed in 0..200 {
        let mut numbers = Numbers(seed);
        let mut state: BTreeMap<String, Option<i64>> = BTreeMap::new();
        let mut commits = Vec::new();
        for version in 1..=12 {
            let mut adds: BTreeMap<String, File> = BTreeMap::new();
            let mut removes: BTreeMap<String, File> = BTreeMap::new();
            for _ in 0..numbers.below(6) {
                let path = format!("f{}", numbers.below(4));
                let vector = [None, Some("v"), Some("w")][numbers.below(3)];
                let file = (path.clone(), vector.map(str::to_owned));
                let key = format!(
                    "{path}{}",
                    vector.map_or(String::new(), |id| format!("\0i{id}"))
                );
                if numbers.below(2) == 0 {
                    let path_is_free = adds.values().all(|(added, _)| *added != path);
                    if path_is_free && !removes.contains_key(&key) {
                        adds.insert(key, file);
                    }
                } else if !adds.contains_key(&key) {
                    removes.insert(key, file);
                }
            }
            state.extend(removes.keys().map(|key| (key.clone(), None)));
            let size = i64::try_from(version).unwrap();
            state.extend(adds.keys().map(|key| (key.clone(), Some(size))));
            let adds: Vec<File> = adds.into_values().collect();
            let removes: Vec<File> = removes.into_values().collect();
            commits.push(commit(version, &adds, &removes));
        }
        let (live, tombstones) = replayed(&commits);
        let expected: BTreeMap<String, i64> = state
            .iter()
            .filter_map(|(key, size)| Some((key.clone(), (*size)?)))
            .collect();
        let gone: Vec<String> = state
            .iter()
            .filter(|(_, size)| size.is_none())
            .map(|(key, _)| key.clone())
            .collect();
        assert_eq!((live, tombstones), (expected, gone), "seed {seed}");
    }
}
