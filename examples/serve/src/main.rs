//! A web service that says how likely a flight arrives late, and writes what it said to a table.
//!
//! ```sh
//! cargo run --release --example flights year        # trains the model: year/late.model
//! HEADWATER_SERVE_KEY=secret cargo run --release -p headwater-serve -- year/late.model year/served 127.0.0.1:8080
//! curl -H 'Authorization: Bearer secret' 'http://127.0.0.1:8080/score?durable=true' -H 'Content-Type: application/json' \
//!   -d '{"flights": [{"id": "a-1", "date": "2013-07-01", "carrier": "UA", "flight": 1545, "origin": "EWR",
//!        "dest": "IAH", "sched_dep_time": 515, "dep_delay": 22, "distance": 1400}]}'
//! ```
//!
//! Many requests share a commit: `committer.rs` tells how, and what an answer promises.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program that says where it listens, asks for the time and keeps ids by hash"
)]

mod committer;
#[path = "../../flights/model.rs"]
#[allow(
    dead_code,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "shared with the example that trains the model"
)]
mod model;
mod table;
mod web;

use std::path::Path;
use std::process::ExitCode;

use tokio::net::TcpListener;

use crate::committer::Committer;
use crate::model::Model;

/// The environment variable that holds the bearer key.
const KEY: &str = "HEADWATER_SERVE_KEY";
/// Shorter keys can be guessed.
const KEY_BYTES_MIN: usize = 6;
/// How often it is looked whether the upkeep goes on.
const UPKEEP_WATCHED: std::time::Duration = std::time::Duration::from_secs(1);

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, predictions, address] = arguments.as_slice() else {
        eprintln!("usage: {KEY}=... headwater-serve MODEL PREDICTIONS ADDRESS");
        return ExitCode::from(2);
    };
    match serve(Path::new(model), predictions, address).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("headwater-serve: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(model: &Path, predictions: &str, address: &str) -> Outcome<()> {
    let key = std::env::var(KEY).unwrap_or_default();
    if key.len() < KEY_BYTES_MIN {
        return Err(format!("set {KEY} to a key of {KEY_BYTES_MIN} bytes at least").into());
    }
    let model = Model::load(model)?;
    let name = format!("late-arrivals@{}", model.fingerprint());
    let table = table::open(predictions).await?;
    // Every group is a small file: somebody has to make few of them.
    let upkeep = table.maintain().start();
    let (committer, committing) = Committer::start(table, name).await?;
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let router = web::router(model, &key, committer);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = axum::serve(listener, router).with_graceful_shutdown(async {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = stopped => {}
        }
    });
    // The committer ends when nobody can ask it any more, or with an error that waiting does not cure.
    let committing = async {
        let ended = committing.await;
        drop(stop);
        ended
    };
    let mut work = std::pin::pin!(async { tokio::join!(async { serving.await }, committing) });
    let (served, committed) = tokio::select! {
        done = &mut work => done,
        () = failed(&upkeep) => {
            // Slower from now on, and right: whoever runs the service has to know at once.
            eprintln!("headwater-serve: the upkeep of the table has failed; its files stay small until a restart");
            work.await
        }
    };
    served?;
    committed??;
    upkeep.stop().await?;
    Ok(())
}

/// Comes back when the upkeep has failed.
async fn failed(upkeep: &headwater::Maintenance) {
    while upkeep.status().state != headwater::State::Failed {
        tokio::time::sleep(UPKEEP_WATCHED).await;
    }
}
