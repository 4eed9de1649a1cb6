//! Walking the log.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Code, Error, ErrorKind, Result};
use crate::feed::follow::commits::{Waiting, of_commit, of_snapshot};
use crate::feed::follow::cursor::{Cursor, Phase};
use crate::feed::follow::input::Gathering;
use crate::feed::follow::known::Known;
use crate::feed::follow::{FollowInput, FollowOptions, FollowStart, OnGap};
use crate::feed::leased::Leased;
use crate::log::commit;
use crate::log::segment::{LogSegment, loadable_commits};
use crate::protocol::Version;
use crate::snapshot::{At, Snapshot};
use crate::table::Table;

/// Commits that a follower keeps in memory before it looks for a newer checkpoint to start from.
const COMMITS_KEPT: u64 = 64;

/// Hands out the rows of a table, version after version; made by [`Table::follow`].
///
/// ```
/// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # use headwater::protocol::schema::{DataType, Field, Schema};
/// # use headwater::arrow_array::{Int64Array, RecordBatch};
/// # use std::sync::Arc;
/// # let ids = |ids: Vec<i64>| {
/// #     let column = Arc::new(Int64Array::from(ids)) as _;
/// #     RecordBatch::try_from_iter([("id", column)]).unwrap()
/// # };
/// # let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
/// # let table = headwater::Table::create("memory:///follow-example", schema).await?;
/// use headwater::feed::FollowOptions;
/// table.append(ids(vec![1, 2])).await?;
/// let mut follower = table.follow(FollowOptions::default());
/// assert_eq!(follower.next().await?.unwrap().rows(), Some(2)); // what is there
/// assert!(follower.next().await?.is_none()); // nothing new yet
///
/// table.append(ids(vec![3])).await?;
/// let added = follower.next().await?.unwrap();
/// assert_eq!((added.rows(), added.version()), (Some(1), 2));
/// # Ok(()) }) }
/// ```
#[derive(Debug)]
pub struct Follower {
    table: Table,
    options: FollowOptions,
    cursor: Option<Cursor>,
    place: Option<Place>,
}

/// Where a follower stands in the log.
#[derive(Debug)]
struct Place {
    /// The last version that was looked at.
    snapshot: Snapshot,
    known: Known,
    /// Files of that version that are not handed out yet.
    waiting: VecDeque<Waiting>,
    /// What keeps the files of an initial snapshot that are not handed out yet.
    leased: Option<Arc<Leased>>,
    /// How many more commits are followed before a newer checkpoint is looked for.
    commits_left: u64,
}

impl Follower {
    pub(super) fn new(table: &Table, options: FollowOptions) -> Self {
        Self {
            table: table.clone(),
            options,
            cursor: None,
            place: None,
        }
    }

    /// Goes on after a cursor, whatever was handed out so far. `None`: from the start.
    pub fn seek(&mut self, cursor: Option<Cursor>) {
        if self.cursor != cursor || cursor.is_none() {
            self.cursor = cursor;
            self.place = None;
        }
    }

    /// The cursor after what was handed out; `None` if that is nothing.
    pub fn cursor(&self) -> Option<Cursor> {
        self.cursor
    }

    /// The next rows; `None` if there is nothing new yet. An input never holds rows of two schemas.
    ///
    /// The cursor moves over versions without rows, too: whoever keeps it should look at it after `None` as well.
    ///
    /// Costs one request per new commit, and two if there is none. The first call after a start or a
    /// [`seek`](Self::seek) loads a version and lists its files, 16 bytes of memory each.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](ErrorKind::Corrupt) with the code [`LogGap`](Code::LogGap) if commits are missing that were not
    /// read, [`Conflict`](ErrorKind::Conflict) with the code [`SourceChanged`](Code::SourceChanged) if a commit
    /// deletes or changes rows. After an error, the follower stands where it stood before.
    pub async fn next(&mut self) -> Result<Option<FollowInput>> {
        loop {
            match self.go_on().await {
                // Each time it stands behind a later version.
                Err(error) => self.pass_over(error).await?,
                input => return input,
            }
        }
    }

    /// The next rows, up to a gap.
    async fn go_on(&mut self) -> Result<Option<FollowInput>> {
        let place = match self.place.take() {
            Some(place) => place,
            None => match self.open().await? {
                Some(place) => place,
                None => return Ok(None),
            },
        };
        let begin = self.cursor;
        let leased = place.leased.clone();
        let mut walk = Walk {
            options: &self.options,
            place,
            gathering: Gathering::default(),
            end: begin,
            newest_known: self.table.snapshot().version(),
        };
        // An error after files were gathered comes again, with the next call.
        let failed = match walk.run().await {
            Ok(()) => None,
            Err(error) if walk.gathering.is_empty() => Some(error),
            Err(_) => None,
        };
        let Walk {
            mut place,
            gathering,
            end,
            ..
        } = walk;
        // Skipped versions need not be looked at again.
        self.cursor = end;
        if let Some(error) = failed {
            return Err(error);
        }
        let input = match end {
            Some(end) if !gathering.is_empty() => {
                let mut input = gathering.finish(&place.snapshot, &self.options, (begin, end));
                input.leased = leased;
                Some(input)
            }
            _ => None,
        };
        if place.waiting.is_empty() {
            // The last input holds the version as long as it is needed.
            place.leased = None;
        }
        self.place = Some(place);
        Ok(input)
    }

    /// The next rows, waited for.
    ///
    /// # Errors
    ///
    /// As [`Follower::next`].
    pub async fn wait(&mut self, every: Duration) -> Result<FollowInput> {
        loop {
            if let Some(input) = self.next().await? {
                return Ok(input);
            }
            self.table.environment().sleep(every).await;
        }
    }

    /// Finds the place of the cursor in the log; `None` if the first version to read is not there yet.
    async fn open(&self) -> Result<Option<Place>> {
        let Some(cursor) = self.cursor else {
            return self.open_at_start().await;
        };
        let version = cursor.version();
        match (cursor.files(), cursor.phase()) {
            (None, _) => self.open_after(version).await.map(Some),
            (Some(files), Phase::Initial) => {
                let mut place = self.open_after(version).await?;
                place.wait_for_all(&self.options).await?;
                place.skip(files);
                Ok(Some(place))
            }
            (Some(files), Phase::Commit) => {
                let before = version.checked_sub(1).ok_or_else(|| {
                    let message =
                        "version 0 is read as an initial snapshot; this is no cursor of it";
                    Error::invalid(Code::InvalidArgument, message)
                })?;
                let mut place = self.open_after(before).await?;
                if !place.follow(&self.options, version).await? {
                    return Err(gap(version, None));
                }
                place.skip(files);
                Ok(Some(place))
            }
        }
    }

    async fn open_at_start(&self) -> Result<Option<Place>> {
        match self.options.start {
            FollowStart::Latest => Place::after(self.table.refresh().await?).await.map(Some),
            FollowStart::Snapshot => {
                let newest = self.table.refresh().await?.version();
                let until = self.options.until.filter(|until| *until < newest);
                let at = until.map_or(At::Latest, At::Version);
                self.open_snapshot(at).await.map(Some)
            }
            FollowStart::Version(0) => self.open_snapshot(At::Version(0)).await.map(Some),
            FollowStart::Version(version) => {
                let before = version - 1;
                if self.table.refresh().await?.version() < before {
                    return Ok(None);
                }
                self.open_after(before).await.map(Some)
            }
        }
    }

    async fn open_snapshot(&self, at: At) -> Result<Place> {
        let snapshot = self.table.snapshot_at(at).await?;
        let mut place = Place::after(snapshot).await?;
        place.wait_for_all(&self.options).await?;
        Ok(place)
    }

    /// After all of a version.
    async fn open_after(&self, version: Version) -> Result<Place> {
        match self.table.snapshot_at(version).await {
            Ok(snapshot) => Place::after(snapshot).await,
            Err(error) => Err(self.gone(version, error).await),
        }
    }

    /// A version that cannot be loaded any more, while later ones can, is a gap.
    async fn gone(&self, version: Version, error: Error) -> Error {
        let is_gone = matches!(
            error.code(),
            Code::VersionNotFound | Code::LogGap | Code::NoUsableAnchor
        );
        let newest = self.table.refresh().await.map(|newest| newest.version());
        match newest {
            // All of the version itself was read.
            Ok(newest) if is_gone && version < newest => gap(version + 1, Some(error)),
            _ => error,
        }
    }

    /// Goes behind a gap, if that is wanted.
    async fn pass_over(&mut self, error: Error) -> Result<()> {
        if error.code() != Code::LogGap || self.options.on_gap != OnGap::Skip {
            return Err(error);
        }
        let newest = self.table.refresh().await?.version();
        let read = self.cursor.map(|cursor| cursor.version());
        let commits = loadable_commits(self.table.storage(), newest).await?;
        let mut later = commits.iter().map(|commit| commit.version);
        let next = later.find(|version| read.is_none_or(|read| read < *version));
        let Some(next) = next else {
            return Err(error);
        };
        tracing::warn!(
            ?read,
            next,
            "log_gap: commits that were never read are passed over"
        );
        self.cursor = Some(Cursor::through(next)?);
        Ok(())
    }
}

impl Place {
    /// All of a version is read.
    async fn after(snapshot: Snapshot) -> Result<Self> {
        Ok(Self {
            known: Known::of(&snapshot).await?,
            snapshot,
            waiting: VecDeque::new(),
            leased: None,
            commits_left: COMMITS_KEPT,
        })
    }

    /// Starts from a newer checkpoint, if there is one, so that commits that were read do not stay in memory for ever.
    async fn anchor(&mut self) -> Result<()> {
        let own = &self.snapshot;
        let version = own.version();
        let segment = LogSegment::list(own.storage(), Some(version)).await?;
        let newest = segment.checkpoint.map(|checkpoint| checkpoint.version);
        if own.checkpoint_version() < newest {
            let anchored = Snapshot::at_version(own.storage(), own.environment(), version).await?;
            if anchored.metadata().id == own.metadata().id {
                self.snapshot = anchored;
            }
        }
        Ok(())
    }

    /// Looks for a newer checkpoint every so many commits.
    async fn keep_short(&mut self) {
        if 0 < self.commits_left {
            return;
        }
        if let Err(error) = self.anchor().await {
            // What is in memory serves as well.
            tracing::debug!(%error, "a newer checkpoint of the followed table could not be used");
        }
        // Where nobody writes checkpoints, looking for them must not cost more than following.
        self.commits_left = self.snapshot.replayed().0.max(COMMITS_KEPT);
    }

    /// All files of the version are to be handed out.
    async fn wait_for_all(&mut self, options: &FollowOptions) -> Result<()> {
        if let Some(lasts) = options.lease {
            self.leased = Some(Arc::new(Leased::of(&self.snapshot, lasts).await?));
        }
        self.waiting = of_snapshot(&self.snapshot).await?.into();
        Ok(())
    }

    /// Leaves out files that were handed out before.
    fn skip(&mut self, files: u32) {
        let files = usize::try_from(files).unwrap_or(usize::MAX);
        self.waiting.drain(..files.min(self.waiting.len()));
    }

    /// Goes on to the next version; `false` if there is none.
    async fn follow(&mut self, options: &FollowOptions, version: Version) -> Result<bool> {
        let Some((next, waiting)) = self.look(options, version).await? else {
            return Ok(false);
        };
        self.go(next, waiting);
        Ok(true)
    }

    /// The next commit and what it delivers. `newest_known`: a version that somebody has seen.
    async fn look(
        &mut self,
        options: &FollowOptions,
        newest_known: Version,
    ) -> Result<Option<(Next, Vec<Waiting>)>> {
        self.keep_short().await;
        let storage = self.snapshot.storage().clone();
        let version = self.snapshot.next_version()?;
        let Some(found) = commit::read(&storage, version).await? else {
            // Nothing here is the end of the log only if nothing comes after it.
            let refreshed = self.snapshot.refreshed().await?;
            let newest = refreshed.version().max(newest_known);
            if newest < version {
                // It may have been listed anew, which then serves the next looks, too.
                self.snapshot = refreshed;
                return Ok(None);
            }
            // It may have been committed between the two looks.
            return match commit::read(&storage, version).await? {
                Some(found) => self.deliver(found, options).await.map(Some),
                None => Err(gap(version, None).with("newest", newest)),
            };
        };
        self.deliver(found, options).await.map(Some)
    }

    async fn deliver(
        &self,
        found: commit::Commit,
        options: &FollowOptions,
    ) -> Result<(Next, Vec<Waiting>)> {
        let storage = self.snapshot.storage();
        let waiting = of_commit(storage, &found, &self.known, options.on_change).await?;
        let found = Arc::new(found);
        let snapshot = self.snapshot.followed_by(&found)?;
        Ok((Next { snapshot, found }, waiting))
    }

    fn go(&mut self, next: Next, waiting: Vec<Waiting>) {
        self.known.follow(&next.found);
        self.snapshot = next.snapshot;
        self.waiting = waiting.into();
        self.leased = None;
        self.commits_left = self.commits_left.saturating_sub(1);
    }

    /// Whether rows of the next version are read like those of this one.
    fn reads_like(&self, next: &Next) -> bool {
        let (own, next) = (self.snapshot.metadata(), next.snapshot.metadata());
        own.schema_string == next.schema_string
            && own.partition_columns == next.partition_columns
            && own.configuration == next.configuration
    }
}

/// A version that may be gone to.
struct Next {
    snapshot: Snapshot,
    found: Arc<commit::Commit>,
}

/// Gathering one input.
struct Walk<'a> {
    options: &'a FollowOptions,
    place: Place,
    gathering: Gathering,
    end: Option<Cursor>,
    newest_known: Version,
}

impl Walk<'_> {
    /// Gathers until the limits, the end of the log, or a change of schema.
    async fn run(&mut self) -> Result<()> {
        loop {
            while let Some(next) = self.place.waiting.pop_front() {
                if self.gathering.is_full_for(&next, self.options) {
                    self.place.waiting.push_front(next);
                    return Ok(());
                }
                self.end = Some(next.end);
                self.gathering.push(next);
            }
            let version = self.place.snapshot.version();
            self.end = Some(Cursor::through(version)?);
            if self.options.until.is_some_and(|until| until <= version) {
                return Ok(());
            }
            let Some((next, waiting)) = self.place.look(self.options, self.newest_known).await?
            else {
                return Ok(());
            };
            if !self.gathering.is_empty() && !self.place.reads_like(&next) {
                return Ok(());
            }
            self.place.go(next, waiting);
        }
    }
}

fn gap(version: Version, cause: Option<Error>) -> Error {
    let message = "commits of the followed table are gone that were not read: the log was cleaned up, or damaged; \
                   rows may be missing, so going on has to be asked for";
    let mut error = Error::new(ErrorKind::Corrupt, Code::LogGap, message).with("missing", version);
    if let Some(cause) = cause {
        if let Some(earliest) = cause.context_value("earliest") {
            error = error.with("earliest", earliest.to_owned());
        }
        error = error.because(cause);
    }
    error
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int64Array, RecordBatch};

    use super::*;
    use crate::protocol::schema::{DataType, Field, Schema};

    #[tokio::test]
    async fn commits_that_were_read_do_not_stay_in_memory() {
        let schema = Schema::new([Field::new("id", DataType::LONG, false)]).unwrap();
        let table = Table::create("memory:///follower-forgets", schema).await;
        let table = table.unwrap();
        let mut follower = table.follow(FollowOptions::default());
        let mut longest = 0;
        for id in 0..3 * COMMITS_KEPT as i64 {
            let column = Arc::new(Int64Array::from(vec![id])) as _;
            let batch = RecordBatch::try_from_iter([("id", column)]).unwrap();
            table.append(batch).await.unwrap();
            if id % 20 == 0 {
                table.checkpoint().await.unwrap();
            }
            let input = follower.next().await.unwrap().unwrap();
            assert_eq!(input.rows(), Some(1));
            longest = longest.max(input.snapshot().replayed().0);
        }
        assert!((20..2 * COMMITS_KEPT).contains(&longest), "{longest}");
        let place = follower.place.unwrap();
        assert_eq!(place.snapshot.version(), 3 * COMMITS_KEPT);
        assert_eq!(place.known.len() as u64, 3 * COMMITS_KEPT);
    }
}
