//! What can go wrong, sorted by what the caller does about it.
//!
//! One [`Error`] type with six [kinds](ErrorKind) that say what to do, a finer [`Code`] that says what happened,
//! context (path, version, column) that says where, and the cause as its [source](std::error::Error::source).
//! Errors never hold a secret and never hold a value of a row.

use std::fmt;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller does about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorKind {
    /// There is no such table, version or object: check the location or the version.
    NotFound,
    /// Another writer changed what this operation rests on: read again, decide again.
    Conflict,
    /// The table needs something that this build lacks, named in the message: upgrade, or use another engine.
    Unsupported,
    /// The call is wrong: fix its arguments.
    Invalid,
    /// The table breaks the protocol, or its bytes went bad; the message names the object.
    Corrupt,
    /// The store failed; [`Error::is_retryable`] says whether waiting helps.
    Storage,
}

impl ErrorKind {
    /// The kind as one word, as it appears in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not found",
            Self::Conflict => "conflict",
            Self::Unsupported => "unsupported",
            Self::Invalid => "invalid",
            Self::Corrupt => "corrupt",
            Self::Storage => "storage",
        }
    }
}

/// What exactly happened: finer than [`ErrorKind`], for logs, tests and dashboards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Code {
    /// No table at this location.
    TableNotFound,
    /// A table exists already where one was to be created.
    TableExists,
    /// The version asked for is not there.
    VersionNotFound,
    /// No object of that name.
    ObjectNotFound,
    /// A version is missing in the middle of the log.
    LogGap,
    /// A commit file cannot be read.
    CorruptCommit,
    /// A checkpoint cannot be read.
    CorruptCheckpoint,
    /// No checkpoint and no version 0: the state cannot be rebuilt.
    NoUsableAnchor,
    /// Data files of an old version are gone.
    FilesExpired,
    /// Changes of versions that far back are gone.
    ChangesExpired,
    /// A data file is missing, or is not what the log says it is.
    DataCorrupt,
    /// A table feature that this build cannot read or write.
    UnsupportedFeature,
    /// A path in the log that leaves the table.
    UnsafePath,
    /// Something is larger than the limit for it.
    LimitExceeded,
    /// The store asks for patience.
    Throttled,
    /// The disk or the quota is full.
    NoSpace,
    /// The store refuses access.
    Denied,
    /// The store answered with another failure.
    StoreFailed,
    /// It is not known whether the commit landed; `resolve` it later.
    CommitUnknown,
    /// A concurrent commit contradicts this one.
    CommitConflict,
    /// A followed table deleted or changed rows, and the follower was not told what to do then.
    SourceChanged,
    /// The data files of this commit were vacuumed before it landed.
    FilesVacuumed,
    /// The table was deleted and created anew under this handle.
    TableReplaced,
    /// Rows do not fit the schema or break a constraint.
    RowsRejected,
    /// A schema that the table cannot have.
    InvalidSchema,
    /// An argument is wrong.
    InvalidArgument,
    /// A predicate or expression cannot be understood or evaluated.
    InvalidPredicate,
    /// The operation was stopped.
    Stopped,
}

impl Code {
    /// The code as it appears in messages and in `--json` output.
    pub fn as_str(self) -> String {
        format!("{self:?}")
    }
}

/// An error: its [kind](ErrorKind), its [code](Code), one line of message, context and source.
///
/// `Display` is one line, without the source; walk [`std::error::Error::source`] for the causes.
///
/// ```
/// # tokio_test(async {
/// let missing = headwater::Table::open("memory:///no/such/table").await.unwrap_err();
/// assert_eq!(missing.kind(), headwater::ErrorKind::NotFound);
/// assert!(!missing.is_retryable());
/// # });
/// # fn tokio_test<F: std::future::Future<Output = ()>>(f: F) {
/// #     tokio::runtime::Runtime::new().unwrap().block_on(f)
/// # }
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    code: Code,
    message: String,
    context: Vec<(&'static str, String)>,
    retryable: bool,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// What the caller does about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What exactly happened.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// Whether the same call may succeed after waiting. Only ever true for [`ErrorKind::Storage`].
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// The message alone, without context.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where it happened: pairs such as `("version", "7")`, in the order they were added.
    pub fn context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0
            .context
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
    }

    /// The value of one context pair.
    pub fn context_value(&self, key: &str) -> Option<&str> {
        self.context()
            .find(|(k, _)| *k == key)
            .map(|(_, value)| value)
    }

    pub(crate) fn new(kind: ErrorKind, code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            code,
            message: message.into(),
            context: Vec::new(),
            retryable: false,
            source: None,
        }))
    }

    pub(crate) fn not_found(code: Code, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, code, message)
    }

    pub(crate) fn conflict(code: Code, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, code, message)
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, Code::UnsupportedFeature, message)
    }

    pub(crate) fn invalid(code: Code, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, code, message)
    }

    pub(crate) fn corrupt(code: Code, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, code, message)
    }

    pub(crate) fn storage(code: Code, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Storage, code, message)
    }

    /// Adds a context pair: where it happened.
    pub(crate) fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Adds the cause.
    pub(crate) fn because(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        for (index, (key, value)) in self.0.context.iter().enumerate() {
            let separator = if index == 0 { " (" } else { ", " };
            write!(f, "{separator}{key}: {value}")?;
        }
        if !self.0.context.is_empty() {
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}: {self}", self.0.kind, self.0.code)?;
        let mut cause = std::error::Error::source(self);
        while let Some(source) = cause {
            write!(f, "\n  because: {source}")?;
            cause = source.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
