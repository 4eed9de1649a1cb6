//! The real service, killed again and again while callers ask: no prediction that it acknowledged as durable is lost,
//! and none is doubled, though callers ask again whatever was not answered.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test fails by panicking, and starts real processes in real time"
)]

#[path = "../../flights/model.rs"]
#[allow(dead_code, reason = "shared with the example that trains the model")]
mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, SystemTime};

use headwater::Table;
use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::Float64Type;
use serde_json::{Value, json};

const KEY: &str = "a key for tests";

/// The service as a process.
struct Service {
    child: Child,
    address: SocketAddr,
}

impl Service {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_headwater-serve"))
            .args([folder.join("late.model"), folder.join("served")])
            .arg("127.0.0.1:0")
            .env("HEADWATER_SERVE_KEY", KEY)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on ").expect("it listens");
        Self {
            address: address.trim().parse().unwrap(),
            child,
        }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// One request over plain TCP: status and body. An error if the connection broke.
fn ask(
    address: SocketAddr,
    key: Option<&str>,
    target: &str,
    body: &[u8],
) -> std::io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let key = key.map_or_else(String::new, |key| {
        format!("Authorization: Bearer {key}\r\n")
    });
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Type: application/json\r\n{key}\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    // Who is refused early may not be read to the end.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let broken = || std::io::Error::other("the connection broke");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.ok_or_else(broken)?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status: u16 = status.ok_or_else(broken)?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().unwrap())
    });
    let body = answer[end + 4..].to_vec();
    if status == 200 && (read.is_err() || length != Some(body.len())) {
        return Err(broken());
    }
    Ok((status, body))
}

fn question(ids: &[String]) -> Vec<u8> {
    let flight = |id: &String| {
        let number = id
            .bytes()
            .fold(0_u32, |sum, byte| sum.wrapping_mul(31) + u32::from(byte));
        json!({
            "id": id, "date": "2013-07-01", "carrier": "UA", "flight": number % 4_000, "origin": "EWR",
            "dest": "IAH", "sched_dep_time": 515, "dep_delay": number % 90, "distance": 1_400,
        })
    };
    let flights: Vec<Value> = ids.iter().map(flight).collect();
    serde_json::to_vec(&json!({ "flights": flights })).unwrap()
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("serve-{name}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let weights = (0..model::WIDTH).map(|at| (at as f64 * 0.7).sin());
    let model = model::Model::new(weights.collect());
    model.save(&folder.join("late.model")).unwrap();
    folder
}

/// What the table holds: each id with all that is stored under it.
fn stored(folder: &Path) -> (BTreeMap<String, Vec<f64>>, u64) {
    let read = async {
        let place = folder.join("served");
        let table = Table::open(place.to_str().unwrap()).await.unwrap();
        let mut stored: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        let scan = table.snapshot().scan().select(["id", "late"]);
        for batch in scan.collect().await.unwrap() {
            let ids = batch.column(0).as_string::<i32>();
            let late = batch.column(1).as_primitive::<Float64Type>();
            for (id, late) in ids.iter().zip(late.values()) {
                let entry = stored.entry(id.unwrap().to_owned());
                entry.or_default().push(*late);
            }
        }
        (stored, table.snapshot().version())
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (stored, version) = runtime.block_on(read);
    println!("{} predictions in {version} versions", stored.len());
    (stored, version)
}

/// Asks again, whenever the service is not there, until there is an answer.
fn ask_until_answered(
    address: impl Fn() -> Option<SocketAddr>,
    body: &[u8],
    repeated: &AtomicU64,
) -> Vec<u8> {
    loop {
        match address().map(|at| ask(at, Some(KEY), "/score?durable=true", body)) {
            Some(Ok((200, answer))) => return answer,
            Some(Ok((503, _)) | Err(_)) | None => {
                repeated.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
            Some(Ok((status, answer))) => {
                panic!("{status}: {}", String::from_utf8_lossy(&answer))
            }
        }
    }
}

#[test]
fn a_service_that_is_killed_loses_no_durable_prediction_and_doubles_none() {
    let folder = folder("kill");
    let kills = if cfg!(debug_assertions) { 8 } else { 20 };
    let service = RwLock::new(Some(Service::start(&folder)));
    let (is_over, repeated, next) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let acknowledged: Mutex<BTreeMap<String, f64>> = Mutex::default();
    let caller = |caller: u64| {
        while !is_over.load(Ordering::Relaxed) {
            let request = next.fetch_add(1, Ordering::Relaxed);
            let ids: Vec<String> = (0..1 + (request + caller) % 4)
                .map(|flight| format!("{request}-{flight}"))
                .collect();
            let address = || service.read().unwrap().as_ref().map(|it| it.address);
            let answer = ask_until_answered(address, &question(&ids), &repeated);
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            assert_eq!(answer["durable"], true);
            let predictions = answer["predictions"].as_array().unwrap();
            assert_eq!(predictions.len(), ids.len());
            let mut acknowledged = acknowledged.lock().unwrap();
            for one in predictions {
                let id = one["id"].as_str().unwrap().to_owned();
                acknowledged.insert(id, one["late"].as_f64().unwrap());
            }
        }
    };
    std::thread::scope(|scope| {
        for number in 0..8 {
            let caller = &caller;
            scope.spawn(move || caller(number));
        }
        for _ in 0..kills {
            let nanos = SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
            std::thread::sleep(Duration::from_millis(100 + u64::from(nanos / 1_000 % 300)));
            let running = service.write().unwrap().take();
            running.unwrap().kill();
            *service.write().unwrap() = Some(Service::start(&folder));
        }
        std::thread::sleep(Duration::from_millis(200));
        is_over.store(true, Ordering::Relaxed);
    });
    service.into_inner().unwrap().unwrap().kill();

    let acknowledged = acknowledged.into_inner().unwrap();
    let (stored, versions) = stored(&folder);
    // Requests that wait together share a commit.
    let requests = next.into_inner();
    assert!(
        versions < requests / 2,
        "{versions} versions for {requests} requests"
    );
    println!(
        "{kills} kills, {} predictions acknowledged, {} requests asked again",
        acknowledged.len(),
        repeated.into_inner()
    );
    assert!(kills < acknowledged.len());
    for (id, late) in &acknowledged {
        // JSON gives numbers back within a last digit.
        let found = stored
            .get(id)
            .unwrap_or_else(|| panic!("{id} was acknowledged and is lost"));
        assert_eq!(found.len(), 1, "{id} is stored twice");
        assert!(
            (found[0] - late).abs() < 1e-12,
            "{id} is stored as something else"
        );
    }
    let asked: BTreeSet<&String> = acknowledged.keys().collect();
    let found: BTreeSet<&String> = stored.keys().collect();
    assert_eq!(asked, found, "callers asked until they were answered");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn who_has_no_key_or_asks_nonsense_is_told_so() {
    let folder = folder("refusals");
    let service = Service::start(&folder);
    let one = question(&["a".to_owned()]);
    let status = |key, body: &[u8]| ask(service.address, key, "/score", body).unwrap().0;
    assert_eq!(status(None, &one), 401);
    assert_eq!(status(Some("another key"), &one), 401);
    assert_eq!(status(Some("a key for test"), &one), 401);
    assert_eq!(status(Some(KEY), &one), 200);
    assert_eq!(status(Some(KEY), b"{"), 400);
    assert_eq!(status(Some(KEY), b"{\"flights\": []}"), 422);
    let long = question(&["x".repeat(65)]);
    assert_eq!(status(Some(KEY), &long), 422);
    assert_eq!(status(Some(KEY), &vec![b' '; 300 << 10]), 413);
    // No body of whoever has no key is read.
    assert_eq!(status(None, &vec![b' '; 300 << 10]), 401);

    // An id is stored once, however often it is asked, within a request, too.
    let twice = question(&["b".to_owned(), "b".to_owned()]);
    for _ in 0..3 {
        let asked = ask(service.address, Some(KEY), "/score?durable=true", &twice);
        let (status, answer) = asked.unwrap();
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    }
    service.kill();
    assert_eq!(stored(&folder).0["b"].len(), 1);
    std::fs::remove_dir_all(folder).unwrap();
}
