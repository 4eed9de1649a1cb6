//! The log, read from its beginning: is it whole, and does everything in it agree.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Code, Error, ErrorKind, Result};
use crate::log::checkpoint::CheckpointReader;
use crate::log::commit::{self, Commit};
use crate::log::hint;
use crate::log::path::{CheckpointKind, LAST_CHECKPOINT_KEY, LOG_DIRECTORY, LogPath};
use crate::log::segment::CheckpointFiles;
use crate::maintenance::doctor::state::State;
use crate::maintenance::doctor::{Doctor, Grade, Report, checkpoints, checksum, summaries};
use crate::protocol::Version;
use crate::protocol::feature::{check_columns, check_readable};
use crate::storage::ObjectInfo;

/// What lies in the log.
#[derive(Debug, Default)]
struct Listing {
    commits: BTreeSet<Version>,
    checkpoints: BTreeMap<Version, Vec<CheckpointFiles>>,
    checksums: BTreeSet<Version>,
}

/// Reads the whole log; the state of the newest version, if it can be rebuilt.
pub(super) async fn examine(doctor: &Doctor, report: &mut Report) -> Result<Option<State>> {
    let objects = doctor.storage.list(LOG_DIRECTORY, None).await?;
    let listing = Listing::of(objects, report);
    let newest = listing
        .commits
        .last()
        .max(listing.checkpoints.keys().last())
        .copied();
    let Some(newest) = newest else {
        report.find(
            Grade::Rows,
            "no_table",
            "there is no table at this location",
        );
        return Ok(None);
    };
    report.version = Some(newest);
    check_hint(doctor, &listing, report).await?;
    let (mut state, mut next) = match listing.commits.contains(&0) {
        true => (Some(State::empty()), 0),
        false => restart(doctor, &listing, 0, report).await?,
    };
    while let Some(rebuilt) = state.as_mut() {
        if newest < next {
            break;
        }
        match read(doctor, next).await? {
            Ok(commit) => {
                report.commits = report.commits.saturating_add(1);
                rebuilt.apply(&commit, report);
                examine_version(doctor, &listing, (next, &commit), rebuilt, report).await?;
                next = next.saturating_add(1);
            }
            Err(error) => {
                let carried = listing.checkpoints.keys().any(|version| next <= *version);
                let grade = if carried { Grade::Damage } else { Grade::Rows };
                let code = if error.code() == Code::LogGap {
                    "log_gap"
                } else {
                    "corrupt_commit"
                };
                report.failed(grade, code, &error).with("version", next);
                (state, next) = restart(doctor, &listing, next, report).await?;
            }
        }
    }
    let Some(state) = state else {
        report
            .find(
                Grade::Rows,
                "no_anchor",
                "the newest version cannot be rebuilt",
            )
            .with("version", newest);
        return Ok(None);
    };
    check_state(&state, report);
    Ok(Some(state))
}

impl Listing {
    fn of(objects: Vec<ObjectInfo>, report: &mut Report) -> Self {
        let mut listing = Self::default();
        let mut parts: BTreeMap<(Version, u32), BTreeMap<u32, ObjectInfo>> = BTreeMap::new();
        for object in objects {
            match LogPath::of_key(&object.key) {
                Some(LogPath::Commit { version }) => {
                    listing.commits.insert(version);
                }
                Some(LogPath::Checksum { version }) => {
                    listing.checksums.insert(version);
                }
                Some(LogPath::Checkpoint {
                    version,
                    kind: CheckpointKind::Multi { part, parts: of },
                }) => {
                    parts.entry((version, of)).or_default().insert(part, object);
                }
                Some(LogPath::Checkpoint { version, .. }) => {
                    let files = CheckpointFiles::new(version, vec![object]);
                    listing.checkpoints.entry(version).or_default().push(files);
                }
                Some(LogPath::Compacted { .. }) | None => {}
            }
        }
        for ((version, of), found) in parts {
            if u32::try_from(found.len()).ok() == Some(of) {
                let files = CheckpointFiles::new(version, found.into_values().collect());
                listing.checkpoints.entry(version).or_default().push(files);
            } else {
                let message = "a checkpoint of several parts lacks some: it is ignored";
                report
                    .find(Grade::Note, "incomplete_checkpoint", message)
                    .with("version", version);
            }
        }
        listing
    }
}

/// The commit, or why there is none; a store that fails is an error of the examination.
async fn read(doctor: &Doctor, version: Version) -> Result<Result<Commit, Error>> {
    match commit::read(&doctor.storage, version).await {
        Ok(Some(commit)) => Ok(Ok(commit)),
        Ok(None) => Ok(Err(Error::corrupt(
            Code::LogGap,
            "a commit is missing in the middle of the log",
        ))),
        Err(error) if error.kind() == ErrorKind::Storage => Err(error),
        Err(error) => Ok(Err(error)),
    }
}

/// Goes on with the first checkpoint from a version on that can be read, and the version after it.
async fn restart(
    doctor: &Doctor,
    listing: &Listing,
    from: Version,
    report: &mut Report,
) -> Result<(Option<State>, Version)> {
    for (version, all) in listing.checkpoints.range(from..) {
        for files in all {
            let opened = open(doctor, files).await?;
            match opened {
                Ok(state) => {
                    report.checkpoints = report.checkpoints.saturating_add(1);
                    return Ok((Some(state), version.saturating_add(1)));
                }
                Err(error) => {
                    report
                        .failed(Grade::Damage, "corrupt_checkpoint", &error)
                        .with("version", version);
                }
            }
        }
    }
    Ok((None, Version::MAX))
}

/// The state in a checkpoint, or why it cannot be read.
async fn open(doctor: &Doctor, files: &CheckpointFiles) -> Result<Result<State, Error>> {
    readable(async {
        let reader = CheckpointReader::open(&doctor.storage, files).await?;
        State::of_checkpoint(&reader).await
    })
    .await
}

/// Holds a checkpoint against what the commits add up to, or says why it cannot be read.
async fn hold(
    doctor: &Doctor,
    state: &State,
    files: &CheckpointFiles,
    report: &mut Report,
) -> Result<Result<(), Error>> {
    readable(async {
        let reader = CheckpointReader::open(&doctor.storage, files).await?;
        let found = State::of_checkpoint(&reader).await?;
        let bolder = summaries::bolder(state, &reader).await?;
        checkpoints::compare((state, &found), bolder, files, report);
        Ok(())
    })
    .await
}

/// Tells what cannot be read from what the store does not give.
async fn readable<T>(opened: impl Future<Output = Result<T>>) -> Result<Result<T, Error>> {
    match opened.await {
        Err(error) if error.kind() == ErrorKind::Storage => Err(error),
        other => Ok(other),
    }
}

/// Holds the checkpoints and the checksum of a version against what its commits add up to.
async fn examine_version(
    doctor: &Doctor,
    listing: &Listing,
    (version, commit): (Version, &Commit),
    state: &State,
    report: &mut Report,
) -> Result<()> {
    for files in listing.checkpoints.get(&version).into_iter().flatten() {
        match hold(doctor, state, files, report).await? {
            Ok(()) => report.checkpoints = report.checkpoints.saturating_add(1),
            Err(error) => {
                report
                    .failed(Grade::Damage, "corrupt_checkpoint", &error)
                    .with("version", version);
            }
        }
    }
    if listing.checksums.contains(&version) {
        checksum::compare(doctor, state, commit, report).await?;
    }
    Ok(())
}

async fn check_hint(doctor: &Doctor, listing: &Listing, report: &mut Report) -> Result<()> {
    if doctor.storage.head(LAST_CHECKPOINT_KEY).await?.is_none() {
        return Ok(());
    }
    let Some(hint) = hint::read(&doctor.storage).await? else {
        report.find(
            Grade::Note,
            "hint",
            "_last_checkpoint cannot be understood: it is ignored",
        );
        return Ok(());
    };
    let Some(named) = listing.checkpoints.get(&hint.version) else {
        let message = "_last_checkpoint names a checkpoint that is not there: the log is listed from its start";
        report
            .find(Grade::Note, "hint", message)
            .with("version", hint.version);
        return Ok(());
    };
    let newest = listing.checkpoints.keys().last();
    if newest.is_some_and(|newest| hint.version < *newest) {
        let message = "_last_checkpoint names an older checkpoint than the newest";
        report
            .find(Grade::Note, "hint", message)
            .with("version", hint.version);
    }
    for files in named {
        let claimed = CheckpointFiles {
            hint: Some(hint.clone()),
            ..files.clone()
        };
        if let (Ok(_), Err(error)) = (open(doctor, files).await?, open(doctor, &claimed).await?) {
            report
                .failed(Grade::Damage, "short_checkpoint", &error)
                .with("version", hint.version);
        }
    }
    Ok(())
}

/// Whether the newest version says what a table must say.
fn check_state(state: &State, report: &mut Report) {
    match (&state.protocol, &state.metadata) {
        (Some(protocol), Some(metadata)) => {
            let schema = crate::protocol::schema::Schema::from_json(&metadata.schema_string);
            let readable = check_readable(protocol);
            let columns = schema.and_then(|schema| {
                check_columns(protocol, &schema)?;
                let strange = metadata
                    .partition_columns
                    .iter()
                    .find(|name| schema.field(name).is_none());
                match strange {
                    None => Ok(()),
                    Some(name) => {
                        let message = "a partition column is not in the schema";
                        Err(Error::corrupt(Code::InvalidSchema, message).with("column", name))
                    }
                }
            });
            for error in [readable, columns].into_iter().filter_map(Result::err) {
                let foreign = error.kind() == ErrorKind::Unsupported;
                let grade = if foreign { Grade::Note } else { Grade::Rows };
                report.failed(
                    grade,
                    if foreign { "unsupported" } else { "metadata" },
                    &error,
                );
            }
        }
        _ => {
            report.find(
                Grade::Rows,
                "metadata",
                "the log has no protocol or no metaData action",
            );
        }
    }
}
