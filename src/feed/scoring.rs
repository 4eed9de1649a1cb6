//! Scoring feeds: rows of one table become rows of another, each once, whatever crashes.
//!
//! Output and cursor are in one commit of the sink, or neither exists: the cursor is the version of the sink's `txn`
//! action. So there is no checkpoint folder that could be lost, torn or older than the output, and a batch that was
//! committed before a crash is seen to be there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;

use crate::error::{Code, Error, Result};
use crate::feed::digest::Digest;
use crate::feed::follow::{Cursor, FollowInput, FollowOptions, FollowStart, Follower};
use crate::operation::{Append, Batches, Verb, carry_out};
use crate::table::Table;
use crate::transaction::{Commit, CommitStatus, Draft};

/// A sink that forgets cursors sooner than this is refused.
const RETENTION_MIN: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Rows of one table that become rows of another, each once; made by [`Table::score_into`].
///
/// The cursor of an application id is kept in the sink alone. [`next`](Self::next) reads it from there and hands out
/// what comes after it; [`commit`](Self::commit) appends the output and moves the cursor in one version, if nobody
/// else moved it meanwhile. Any number of scorers may run with one id: of those that worked on the same rows one
/// commits, the others' output is dropped. Use one id per pipeline, and keep it when the model changes; score anew
/// under another id.
///
/// ```
/// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # use headwater::protocol::schema::{DataType, Field, Schema};
/// # use headwater::arrow_array::{Int64Array, RecordBatch};
/// # use std::sync::Arc;
/// # let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
/// # let flights = headwater::Table::create("memory:///score-example-in", schema.clone()).await?;
/// # let scores = headwater::Table::create("memory:///score-example-out", schema).await?;
/// # let column = Arc::new(Int64Array::from(vec![1, 2])) as _;
/// # flights.append(RecordBatch::try_from_iter([("id", column)]).unwrap()).await?;
/// use headwater::feed::FollowOptions;
/// let mut scoring = flights.score_into(&scores, "late", FollowOptions::default());
/// while let Some(input) = scoring.next().await? {
///     let predictions = input.collect().await?; // a model would go here
///     let commit = scoring.commit(&input, predictions).await?;
///     assert_eq!(commit.rows, 2);
/// }
/// // Another process, later: all is scored.
/// let mut again = flights.score_into(&scores, "late", FollowOptions::default());
/// assert!(again.next().await?.is_none());
/// # Ok(()) }) }
/// ```
#[derive(Debug)]
pub struct ScoringFeed {
    source: Table,
    sink: Table,
    app_id: String,
    model: Option<String>,
    model_digest: Option<String>,
    start: FollowStart,
    /// Whether it ends at a version: then its digest is noted.
    is_pinned: bool,
    follower: Follower,
    /// The cursor in the sink when it was last looked at.
    saved: Option<Cursor>,
    /// Whether rows after it were handed out.
    is_pending: bool,
    /// Whether it was said that the sink forgets cursors one day.
    has_warned: AtomicBool,
}

impl Table {
    /// Feeds this table's rows to a scorer that writes into `sink`, each exactly once under `app_id`.
    pub fn score_into(
        &self,
        sink: &Self,
        app_id: impl Into<String>,
        options: FollowOptions,
    ) -> ScoringFeed {
        ScoringFeed {
            source: self.clone(),
            sink: sink.clone(),
            // A cursor means something for one source alone.
            app_id: format!(
                "headwater/score/{}/{}",
                app_id.into(),
                self.snapshot().metadata().id
            ),
            model: None,
            model_digest: None,
            start: options.start,
            is_pinned: options.until.is_some(),
            follower: self.follow(options),
            saved: None,
            is_pending: false,
            has_warned: AtomicBool::new(false),
        }
    }
}

impl ScoringFeed {
    /// Names the model that scores; noted in the sink's history with each version.
    #[must_use]
    pub fn model(mut self, name: impl Into<String>) -> Self {
        self.model = Some(name.into());
        self
    }

    /// Says what the model is, as a digest of it; noted beside its name, so that two models of one name differ.
    #[must_use]
    pub fn model_digest(mut self, digest: impl Into<String>) -> Self {
        self.model_digest = Some(digest.into());
        self
    }

    /// The next rows to score, after the cursor as the sink has it; `None` if there is nothing new.
    ///
    /// # Errors
    ///
    /// As [`Follower::next`]; [`Invalid`](crate::ErrorKind::Invalid) if the sink's property
    /// `delta.setTransactionRetentionDuration` lets it forget the cursor within a week, or the application id has a
    /// number that is no cursor.
    pub async fn next(&mut self) -> Result<Option<FollowInput>> {
        let mut saved = self.cursor().await?;
        if saved.is_none() && self.start == FollowStart::Latest {
            // Where it begins must not move with the next restart.
            let newest = self.source.refresh().await?.version();
            let begin = Cursor::through(newest)?;
            self.move_to((None, begin), None, Vec::new().into()).await?;
            saved = self.cursor().await?;
        }
        // What was handed out and not committed comes again.
        if self.is_pending || self.saved != saved {
            self.follower.seek(saved);
        }
        self.saved = saved;
        self.is_pending = false;
        let mut input = self.follower.next().await?;
        if let Some(input) = &mut input {
            self.is_pending = true;
            // Between the two there is nothing to hand out.
            input.begin = saved;
        }
        Ok(input)
    }

    /// The cursor, read from the sink; `None` if nothing was scored under this id.
    ///
    /// # Errors
    ///
    /// As [`ScoringFeed::next`].
    pub async fn cursor(&self) -> Result<Option<Cursor>> {
        let sink = self.sink.refresh().await?;
        if let Some(retention) = sink.properties().set_transaction_retention {
            if retention < RETENTION_MIN {
                let message = "the sink forgets its cursors after `delta.setTransactionRetentionDuration`, and a scorer \
                               that is down for so long would score rows again; set it to a week at least, or remove it";
                let error = Error::invalid(Code::InvalidArgument, message);
                return Err(error.with("seconds", retention.as_secs()));
            }
            if !self.has_warned.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    table = sink.storage().location(),
                    seconds = retention.as_secs(),
                    "cursor_expires: a scorer that is down for longer than this begins anew"
                );
            }
        }
        let number = sink.app_version(&self.app_id);
        number.map(Cursor::from_number).transpose()
    }

    /// Appends the output of an input to the sink and moves the cursor behind the input, as one version.
    ///
    /// With the status [`CommitStatus::AlreadyApplied`] nothing was written: another scorer with this id, or an
    /// earlier attempt whose answer was lost, had moved the cursor. [`next`](Self::next) goes on from there, in either
    /// case. An input without output still moves the cursor.
    ///
    /// # Errors
    ///
    /// As [`Table::append`]. Whatever the error says, go on with [`next`](Self::next): the sink knows what is done.
    pub async fn commit(
        &mut self,
        input: &FollowInput,
        output: impl Into<Batches>,
    ) -> Result<Commit> {
        let digest = match self.is_pinned {
            true => Some(input.snapshot().digest().await?),
            false => None,
        };
        let cursors = (input.begin(), input.end());
        let commit = self.move_to(cursors, digest, output.into()).await?;
        if commit.status == CommitStatus::Committed && input.begin() == self.saved {
            self.saved = Some(input.end());
            // The follower may have come further, with an input that was handed out after this one and will not be
            // committed: what lies between the two comes again.
            self.is_pending = self.follower.cursor() != self.saved;
        }
        Ok(commit)
    }

    /// Notes in the sink, without output, that everything up to here was looked at. For sources that are only
    /// compacted for months: their log may else be cleaned up beyond the cursor. `None` if there is nothing to note.
    ///
    /// # Errors
    ///
    /// As [`Table::append`].
    pub async fn save(&mut self) -> Result<Option<Commit>> {
        let Some(reached) = self.follower.cursor().filter(|reached| {
            let is_news = self.saved.is_none_or(|saved| saved < *reached);
            is_news && !self.is_pending
        }) else {
            return Ok(None);
        };
        let saved = self.cursor().await?;
        if saved != self.saved {
            return Ok(None);
        }
        let moved = self
            .move_to((saved, reached), None, Vec::new().into())
            .await?;
        if moved.status == CommitStatus::Committed {
            self.saved = Some(reached);
        }
        Ok(Some(moved))
    }

    async fn move_to(
        &self,
        (begin, end): (Option<Cursor>, Cursor),
        digest: Option<Digest>,
        output: Batches,
    ) -> Result<Commit> {
        let lineage = serde_json::json!({
            "model": self.model,
            "modelDigest": self.model_digest,
            "source": self.source.snapshot().metadata().id,
            "sourceVersion": end.version(),
            "sourceDigest": digest.map(|digest| digest.to_string()),
            "from": begin.map(|cursor| cursor.to_string()),
            "to": end.to_string(),
        });
        carry_out(Scored {
            append: self.sink.append(output),
            app_id: self.app_id.clone(),
            begin,
            end,
            lineage: lineage.to_string(),
        })
        .await
    }
}

/// An append that rests on where the cursor is.
struct Scored {
    append: Append,
    app_id: String,
    begin: Option<Cursor>,
    end: Cursor,
    lineage: String,
}

impl Verb for Scored {
    fn table(&self) -> &Table {
        self.append.table()
    }

    fn name(&self) -> &'static str {
        self.append.name()
    }

    fn stage<'a>(&'a mut self, draft: &'a mut Draft) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let number = draft.state().app_version(&self.app_id);
            let saved = number.map(Cursor::from_number).transpose()?;
            if saved != self.begin {
                // The rows were not those after the cursor: they landed before, or are somebody else's by now.
                let Some(number) = number else {
                    let message = "the sink has lost the cursor of this application; was it restored or replaced?";
                    return Err(
                        Error::conflict(Code::TableReplaced, message).with("app_id", &self.app_id)
                    );
                };
                draft.set_txn(&self.app_id, number)?;
                return Ok(());
            }
            draft.reads_txn(&self.app_id);
            draft.set_txn(&self.app_id, self.end.number())?;
            draft.parameter("lineage", self.lineage.clone());
            self.append.stage(draft).await
        })
    }
}
