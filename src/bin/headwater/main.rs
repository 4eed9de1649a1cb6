//! The command: how operators, tests and other tools see a table.
//!
//! Exit codes: 0 done, 1 the operation failed (one line on stderr), 2 wrong usage.

mod alter;
mod arguments;
mod changes;
mod commands;
mod feed;
mod input;
mod json;
mod maintain;
mod ndjson;
mod output;
mod place;
mod progress;
mod zone;

use std::io::Write;
use std::process::ExitCode;

use crate::arguments::{Arguments, Command};

/// What a command can fail with.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments = Arguments::checked();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads us has seen enough, as `head` does.
        Err(_) if place::reader_is_gone() => ExitCode::SUCCESS,
        Err(error) => failed(error.as_ref()),
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let json = arguments.json;
    match arguments.command {
        Command::Create(create) => commands::create(create, json).await,
        Command::Append(append) => commands::append(append, json).await,
        Command::Delete(delete) => changes::delete(delete, json).await,
        Command::Update(update) => changes::update(update, json).await,
        Command::Merge(merge) => changes::merge(merge, json).await,
        Command::Overwrite(overwrite) => alter::overwrite(overwrite, json).await,
        Command::Alter(alter) => alter::alter(alter, json).await,
        Command::Compact(compact) => alter::compact(compact, json).await,
        Command::Vacuum(vacuum) => maintain::vacuum(vacuum, json).await,
        Command::CleanUpLog(clean) => maintain::clean_up_log(clean, json).await,
        Command::Restore(restore) => maintain::restore(restore, json).await,
        Command::Maintain(maintain) => maintain::maintain(maintain, json).await,
        Command::Pin(pin) => maintain::pin(pin, json).await,
        Command::Scan(scan) => commands::scan(scan, json).await,
        Command::Changes(changes) => commands::changes(changes, json).await,
        Command::Doctor(doctor) => commands::doctor(doctor, json).await,
        Command::Repair(repair) => maintain::repair(repair, json).await,
        Command::Info(info) => commands::info(info, json).await,
        Command::History(history) => commands::history(history, json).await,
        Command::Files(files) => commands::files(files, json).await,
        Command::Feed(feed) => feed::feed(feed, json).await,
        Command::Follow(follow) => feed::follow(follow, json).await,
        Command::Checkpoint(checkpoint) => commands::checkpoint(checkpoint, json).await,
    }
}

/// Says what failed, with its causes, in one line.
fn failed(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    let mut line = format!("headwater: {error}");
    let mut cause = error.source();
    while let Some(source) = cause {
        line.push_str(": ");
        line.push_str(&source.to_string());
        cause = source.source();
    }
    let line = line.replace(['\n', '\r'], " ");
    // Nothing is left to do if stderr is closed, too.
    let _ = writeln!(std::io::stderr(), "{line}");
    ExitCode::from(1)
}
