//! A checkpoint must say what the commits before it add up to, about all kinds of actions.
//!
//! Spec: [Checkpoints](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#checkpoints).

use std::collections::BTreeSet;

use crate::log::segment::CheckpointFiles;
use crate::maintenance::doctor::state::State;
use crate::maintenance::doctor::{Grade, Report};
use crate::protocol::action::{Add, Protocol};
use crate::protocol::statistics::FileStatistics;

/// How bad a difference is, what it is, and how often it is there.
type Difference = (Grade, &'static str, usize);

/// Says in what a checkpoint differs from the replay of the commits up to its version. Of `bolder` files it is known
/// already that it says more.
pub(super) fn compare(
    (replay, found): (&State, &State),
    bolder: usize,
    files: &CheckpointFiles,
    report: &mut Report,
) {
    let mut all = live_files(replay, found);
    all.extend(metadata(replay, found));
    all.extend(progress(replay, found));
    let tombstones = lost_tombstones(replay, found, files);
    let what = "it lacks tombstones that had not expired";
    all.push((Grade::Damage, what, tombstones));
    let what = "it says narrower bounds or other numbers of nulls, so pruning may lose rows";
    all.push((Grade::Rows, what, bolder));
    for (grade, what, count) in all.into_iter().filter(|(_, _, count)| 0 < *count) {
        let message = format!("a checkpoint differs from the commits before it: {what}");
        let finding = report.find(grade, "checkpoint_differs", message);
        finding.with("version", files.version).with("count", count);
    }
}

fn live_files(replay: &State, found: &State) -> Vec<Difference> {
    let keys = replay.live.keys();
    let lost = keys.filter(|key| !found.live.contains_key(*key)).count();
    let keys = found.live.keys();
    let more = keys.filter(|key| !replay.live.contains_key(*key)).count();
    let changed = replay.live.iter().filter(|(key, add)| {
        found.live.get(*key).is_some_and(|other| {
            other.size != add.size
                || other.partition_values != add.partition_values
                || other.base_row_id != add.base_row_id
                || other.default_row_commit_version != add.default_row_commit_version
        })
    });
    let what = "it says other sizes, partition values or row ids of files";
    let both = || {
        let replayed = replay.live.iter();
        replayed.filter_map(|(key, add)| Some((add, found.live.get(key)?)))
    };
    let vectors = both().filter(|(add, other)| add.deletion_vector != other.deletion_vector);
    let rows = |add: &Add| FileStatistics::parse(add.stats.as_deref()?)?.num_records();
    let counts = both().filter(|(add, other)| {
        let other = rows(other);
        // A writer of checkpoints may leave statistics out.
        other.is_some() && rows(add).is_some() && rows(add) != other
    });
    // A writer of checkpoints may leave tags out, or write none as an empty map.
    let tags = both().filter(|(add, other)| {
        let told = other.tags.as_ref().is_some_and(|tags| !tags.is_empty());
        told && add.tags != other.tags
    });
    let told = "it says other sizes or numbers of rows of deletion vectors";
    vec![
        (Grade::Rows, told, vectors.count()),
        (
            Grade::Rows,
            "it says other numbers of rows of files",
            counts.count(),
        ),
        (Grade::Damage, "it has other tags of files", tags.count()),
        (Grade::Rows, "it lacks live files", lost),
        (Grade::Rows, "it has files that are not live", more),
        (Grade::Rows, what, changed.count()),
    ]
}

fn metadata(replay: &State, found: &State) -> Vec<Difference> {
    let differs = |same: bool, what| (Grade::Rows, what, usize::from(!same));
    let protocol = |state: &State| state.protocol.as_ref().map(features);
    let mut all = vec![differs(
        protocol(replay) == protocol(found),
        "its protocol is another",
    )];
    if let (Some(metadata), Some(other)) = (&replay.metadata, &found.metadata) {
        let partitions = metadata.partition_columns == other.partition_columns;
        let properties = metadata.configuration == other.configuration;
        all.extend([
            differs(metadata.id == other.id, "its table id is another"),
            differs(replay.schema() == found.schema(), "its schema is another"),
            differs(partitions, "its partition columns are others"),
            differs(properties, "its properties are others"),
        ]);
    }
    all
}

fn progress(replay: &State, found: &State) -> Vec<Difference> {
    // Without the number of an application, what was written exactly once may be written again.
    let may_expire = replay.properties().set_transaction_retention.is_some();
    let txns = replay
        .txns
        .iter()
        .filter(|(app, number)| match found.txns.get(*app) {
            Some(other) => other != *number,
            None => !may_expire,
        });
    let domains = replay.domains.iter().filter(|(name, domain)| {
        let found = found.domains.get(*name).map(|found| &found.configuration);
        found != Some(&domain.configuration)
    });
    let told = "it has transaction numbers of applications that are unknown";
    let apps = found.txns.keys();
    let more_txns = apps.filter(|app| !replay.txns.contains_key(*app)).count();
    let names = found.domains.keys();
    let back = names.filter(|name| !replay.domains.contains_key(*name));
    let what = "it lacks transaction numbers of applications, or has others";
    vec![
        // What such an application writes next would be taken to be there.
        (Grade::Rows, told, more_txns),
        (
            Grade::Damage,
            "it has metadata domains that were removed, or never were",
            back.count(),
        ),
        (Grade::Rows, what, txns.count()),
        (
            Grade::Damage,
            "it lacks metadata domains, or has others",
            domains.count(),
        ),
    ]
}

/// Tombstones that had not expired when the checkpoint was written.
fn lost_tombstones(replay: &State, found: &State, files: &CheckpointFiles) -> usize {
    let written = files
        .objects
        .iter()
        .map(|object| object.modified_millis)
        .min();
    let Some(written) = written else { return 0 };
    let retention = replay.properties().deleted_file_retention;
    let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    let lost = replay.tombstones.iter().filter(|(key, time)| {
        let lives = time.is_some_and(|time| written < time.saturating_add(retention));
        lives && !found.tombstones.contains_key(*key)
    });
    lost.count()
}

/// What a protocol asks for.
pub(super) fn features(protocol: &Protocol) -> (i32, i32, BTreeSet<String>) {
    let lists = [&protocol.reader_features, &protocol.writer_features];
    let names = lists.into_iter().flatten().flatten().cloned();
    (
        protocol.min_reader_version,
        protocol.min_writer_version,
        names.collect(),
    )
}
