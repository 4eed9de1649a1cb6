//! The web side: who may ask, what a question looks like, what comes back.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::committer::Committer;
use crate::model::{Flight, Model};
use crate::table::Prediction;

/// Bytes of a request.
const BODY_MAX: usize = 256 << 10;
/// Flights of a request.
const FLIGHTS_MAX: usize = 1_000;
/// Bytes of a text in a request.
const TEXT_MAX: usize = 64;
/// How long a request waits for its commit before it is told that it is not known.
const WAIT_MAX: Duration = Duration::from_secs(30);

struct Service {
    model: Model,
    committer: Committer,
}

/// The hash of the key: two hashes compare in constant time, and their length says nothing.
#[derive(Clone)]
struct Key(blake3::Hash);

/// The routes.
pub(crate) fn router(model: Model, key: &str, committer: Committer) -> Router {
    let key = Key(blake3::hash(key.as_bytes()));
    let score = post(score)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn_with_state(key, admit));
    Router::new()
        .route("/score", score)
        .route("/health", get(async || "ok\n"))
        .with_state(Arc::new(Service { model, committer }))
}

/// Lets in who has the key, before a byte of the body is read.
async fn admit(State(key): State<Key>, request: Request, next: Next) -> Response {
    match bearer(request.headers()) {
        Some(given) if blake3::hash(given.as_bytes()) == key.0 => next.run(request).await,
        _ => {
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
            let no = failure(StatusCode::UNAUTHORIZED, "a bearer key is needed");
            (challenge, no).into_response()
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key)
}

#[derive(Deserialize)]
struct Wishes {
    /// Whether to answer only once the predictions are durable.
    #[serde(default)]
    durable: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    flights: Vec<Asked>,
}

/// A flight that departs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// The caller's name for this question.
    id: String,
    #[serde(rename = "date", deserialize_with = "day")]
    day: i32,
    carrier: String,
    flight: i32,
    origin: String,
    dest: String,
    sched_dep_time: i32,
    dep_delay: Option<i32>,
    distance: i32,
}

#[derive(Serialize)]
struct Answer {
    predictions: Vec<Answered>,
    durable: bool,
    /// The version of the table that holds them, if they are durable.
    version: Option<u64>,
}

#[derive(Serialize)]
struct Answered {
    id: String,
    late: f64,
}

async fn score(
    State(service): State<Arc<Service>>,
    Query(wishes): Query<Wishes>,
    body: Bytes,
) -> Response {
    let question: Question = match serde_json::from_slice(&body) {
        Ok(question) => question,
        Err(error) => return failure(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    if let Err(why) = question.check() {
        return failure(StatusCode::UNPROCESSABLE_ENTITY, why);
    }
    let predictions: Vec<_> = question
        .flights
        .into_iter()
        .map(|flight| flight.predict(&service.model))
        .collect();
    let ids: Vec<String> = predictions.iter().map(|one| one.id.clone()).collect();
    let now: Vec<f64> = predictions.iter().map(|one| one.late).collect();
    let Ok(stored) = service.committer.store(predictions) else {
        return failure(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many requests wait; ask later",
        );
    };
    let (late, version) = match wishes.durable {
        false => (now, None),
        true => match tokio::time::timeout(WAIT_MAX, stored).await {
            Ok(Ok(stored)) => (stored.late, Some(stored.version)),
            _ => {
                let why = "it is not known whether the predictions are stored; ask again with the same ids";
                return failure(StatusCode::SERVICE_UNAVAILABLE, why);
            }
        },
    };
    let answered = ids.into_iter().zip(late);
    Json(Answer {
        predictions: answered.map(|(id, late)| Answered { id, late }).collect(),
        durable: version.is_some(),
        version,
    })
    .into_response()
}

/// A date as text, in days since 1970-01-01.
fn day<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    let text = String::deserialize(deserializer)?;
    let date: NaiveDate = text.parse().map_err(serde::de::Error::custom)?;
    let days = date.signed_duration_since(NaiveDate::default()).num_days();
    i32::try_from(days).map_err(serde::de::Error::custom)
}

impl Question {
    fn check(&self) -> Result<(), &'static str> {
        if self.flights.is_empty() || FLIGHTS_MAX < self.flights.len() {
            return Err("a request asks about 1 to 1,000 flights");
        }
        for flight in &self.flights {
            let texts = [&flight.id, &flight.carrier, &flight.origin, &flight.dest];
            if texts
                .iter()
                .any(|text| text.is_empty() || TEXT_MAX < text.len())
            {
                return Err("id, carrier, origin and dest have 1 to 64 bytes");
            }
            if !(0..2_400).contains(&flight.sched_dep_time) {
                return Err("sched_dep_time is hours and minutes, as in 1545");
            }
            if !(0..=25_000).contains(&flight.distance) {
                return Err("distance is in miles");
            }
        }
        Ok(())
    }
}

impl Asked {
    fn predict(self, model: &Model) -> Prediction {
        let late = model.late(&Flight {
            day: self.day,
            scheduled: self.sched_dep_time,
            delay: self.dep_delay,
            carrier: &self.carrier,
            origin: &self.origin,
            destination: &self.dest,
            miles: self.distance,
        });
        Prediction {
            id: self.id,
            day: self.day,
            carrier: self.carrier,
            flight: self.flight,
            origin: self.origin,
            late,
        }
    }
}

fn failure(status: StatusCode, why: &str) -> Response {
    (status, Json(serde_json::json!({ "error": why }))).into_response()
}
