//! What is wrong with a table: its whole log is read and held against itself, against its checkpoints and checksums,
//! and against the objects that it names.
//!
//! Nothing is changed and nothing is taken on trust: no hint, no checkpoint, no fast path. Memory: the file list.

use std::fmt;
use std::future::IntoFuture;

use futures::future::BoxFuture;

use crate::error::{Error, Result};
use crate::protocol::Version;
use crate::storage::Storage;
use crate::table::Table;

mod bounds;
mod checkpoints;
mod checksum;
mod files;
mod log;
mod state;
mod summaries;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grade {
    /// Something that other engines may stumble over, or that costs time: hints and checksums that are ignored.
    Note,
    /// A promise is broken that is not about the rows of the newest version: old versions, tombstones, statistics that
    /// prune nothing.
    Damage,
    /// The newest version loses or doubles rows, or cannot be read.
    Rows,
}

impl Grade {
    /// The grade as it appears in `--json` output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Damage => "damage",
            Self::Rows => "rows",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub grade: Grade,
    /// What kind of thing it is: a word for programs.
    pub code: &'static str,
    /// What it is, in one sentence.
    pub message: String,
    /// Which version, object or column it is about.
    pub context: Vec<(&'static str, String)>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<6} {}: {}",
            self.grade.as_str(),
            self.code,
            self.message
        )?;
        for (index, (key, value)) in self.context.iter().enumerate() {
            let open = if index == 0 { " (" } else { ", " };
            write!(f, "{open}{key}: {value}")?;
        }
        if self.context.is_empty() {
            Ok(())
        } else {
            f.write_str(")")
        }
    }
}

/// What an examination found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Report {
    /// The newest version, if there is one.
    pub version: Option<Version>,
    /// Commits that were read.
    pub commits: u64,
    /// Checkpoints that were held against the commits.
    pub checkpoints: u64,
    /// Live files that were looked at.
    pub files: u64,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether the newest version has all of its rows, once each.
    pub fn keeps_rows(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.grade < Grade::Rows)
    }

    fn find(&mut self, grade: Grade, code: &'static str, message: impl Into<String>) -> Draft<'_> {
        let (message, context) = (message.into(), Vec::new());
        let finding = Some(Finding {
            grade,
            code,
            message,
            context,
        });
        Draft {
            findings: &mut self.findings,
            finding,
        }
    }

    /// An error as a finding, with its context and causes.
    fn failed(&mut self, grade: Grade, code: &'static str, error: &Error) -> Draft<'_> {
        let mut message = error.message().to_owned();
        let mut cause = std::error::Error::source(error);
        while let Some(source) = cause {
            message.push_str(": ");
            message.push_str(&source.to_string());
            cause = source.source();
        }
        let draft = self.find(grade, code, message);
        error
            .context()
            .fold(draft, |draft, (key, value)| draft.with(key, value))
    }
}

/// A finding that is put down when nothing more is said of it.
struct Draft<'a> {
    findings: &'a mut Vec<Finding>,
    finding: Option<Finding>,
}

impl Draft<'_> {
    fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        if let Some(finding) = &mut self.finding {
            finding.with(key, value);
        }
        self
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        self.findings.extend(self.finding.take());
    }
}

impl Finding {
    fn with(&mut self, key: &'static str, value: impl fmt::Display) {
        if !self.context.iter().any(|(known, _)| *known == key) {
            self.context.push((key, value.to_string()));
        }
    }
}

/// An examination; made by [`Doctor::of`] or [`Table::doctor`], and carried out when awaited.
///
/// ```
/// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # use headwater::protocol::schema::{DataType, Field, Schema};
/// # let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
/// let table = headwater::Table::create("memory:///doctor-example", schema).await?;
/// let report = table.doctor().await?;
/// assert!(report.keeps_rows());
/// assert_eq!(report.findings, []);
/// # Ok(()) }) }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Doctor {
    storage: Storage,
    rows: bool,
}

impl Table {
    /// Examines the table: see [`Doctor`].
    pub fn doctor(&self) -> Doctor {
        Doctor::of(self.storage().clone())
    }
}

impl Doctor {
    /// Examines what lies at a place, whether or not it can be opened as a table.
    pub fn of(storage: Storage) -> Self {
        let rows = false;
        Self { storage, rows }
    }

    /// Reads all rows of the newest version, too: whether they are within the bounds that the log says, and whether
    /// files are what was once written.
    pub fn read_rows(mut self) -> Self {
        self.rows = true;
        self
    }

    async fn examine(self) -> Result<Report> {
        let mut report = Report::default();
        let state = log::examine(&self, &mut report).await?;
        if let Some(state) = state {
            files::examine(&self, &state, &mut report).await?;
        }
        report
            .findings
            .sort_by_key(|finding| std::cmp::Reverse(finding.grade));
        Ok(report)
    }
}

impl IntoFuture for Doctor {
    type Output = Result<Report>;
    type IntoFuture = BoxFuture<'static, Result<Report>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.examine())
    }
}
