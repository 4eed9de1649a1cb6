//! The process that runs the other engines. An engine that takes its process down is an observation, not the end of
//! the test: the next request gets a new process.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Failure;

/// How the worker answered.
#[derive(Debug)]
pub enum Answer<T> {
    /// With this.
    Is(T),
    /// That it could not be done, and why.
    Failed(String),
    /// Not at all: the process is gone.
    Died,
}

/// A worker; started when it is first asked.
#[derive(Debug)]
pub struct Worker {
    process: Option<Process>,
    log: PathBuf,
}

#[derive(Debug)]
struct Process {
    child: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Worker {
    /// A worker that writes what the engines print to a file.
    #[must_use]
    pub fn new(log: &Path) -> Self {
        Self {
            process: None,
            log: log.to_owned(),
        }
    }

    /// Asks; see `worker.py` for what can be asked.
    ///
    /// # Errors
    ///
    /// If no worker can be started.
    pub fn ask<T: DeserializeOwned>(&mut self, request: &Value) -> Result<Answer<T>, Failure> {
        let mut process = match self.process.take() {
            Some(process) => process,
            None => start(&self.log)?,
        };
        let Some(line) = process.exchange(request) else {
            process.child.wait()?;
            return Ok(Answer::Died);
        };
        self.process = Some(process);
        let mut reply: serde_json::Map<String, Value> = serde_json::from_str(&line)?;
        match reply.remove("ok") {
            Some(value) => Ok(Answer::Is(serde_json::from_value(value)?)),
            None => {
                let error = reply.remove("error").unwrap_or_default();
                Ok(Answer::Failed(error.as_str().unwrap_or("?").to_owned()))
            }
        }
    }

    /// Asks for what must not fail.
    ///
    /// # Errors
    ///
    /// If it failed nonetheless.
    pub fn expect<T: DeserializeOwned>(&mut self, request: &Value) -> Result<T, Failure> {
        match self.ask(request)? {
            Answer::Is(value) => Ok(value),
            Answer::Failed(error) => Err(format!("{request}: {error}").into()),
            Answer::Died => {
                Err(format!("{request}: the worker died, see {}", self.log.display()).into())
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.requests);
            // Nobody is left to tell.
            let _ = process.child.wait();
        }
    }
}

impl Process {
    /// The reply to a request; `None` if the process is gone.
    fn exchange(&mut self, request: &Value) -> Option<String> {
        writeln!(self.requests, "{request}").ok()?;
        self.requests.flush().ok()?;
        let mut line = String::new();
        let length = self.replies.read_line(&mut line).ok()?;
        (0 < length).then_some(line)
    }
}

fn start(log: &Path) -> Result<Process, Failure> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = python();
    let log = File::options().create(true).append(true).open(log)?;
    let mut child = Command::new(&python)
        .arg(home.join("worker.py"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(|error| {
            let advice = "run tests/interop/run, which installs the engines";
            format!("{}: {error}; {advice}", python.display())
        })?;
    match (child.stdin.take(), child.stdout.take()) {
        (Some(requests), Some(replies)) => Ok(Process {
            child,
            requests,
            replies: BufReader::new(replies),
        }),
        _ => Err("the worker has no pipes".into()),
    }
}

/// The Python that has the engines: as the environment says, else where `run` puts it.
fn python() -> PathBuf {
    if let Some(python) = std::env::var_os("HEADWATER_INTEROP_PYTHON") {
        return python.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    cache.unwrap_or_else(home).join("headwater-venv/bin/python")
}
