//! Whatever happens to whichever bytes of a table: it is read, or refused by an error that is no accident.

use headwater::environment::Environment;
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::{Code, Error, ErrorKind, Result, Table};
use object_store::path::Path;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::store::Faulty;
use crate::support::{block_on, ids, storage};

/// What happens to an object; places are shares of its length.
#[derive(Debug, Clone)]
enum Mutation {
    Flip { at: f64, bit: u8 },
    Set { at: f64, bytes: Vec<u8> },
    Cut { at: f64 },
    Remove { from: f64, length: usize },
    Repeat { from: f64, length: usize },
}

fn mutations() -> impl Strategy<Value = Mutation> {
    let at = || 0.0..1.0_f64;
    let odd = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..9),
        Just(vec![0xff; 9]),
        Just(vec![0; 8]),
        Just(b"\"".to_vec()),
        Just(b"-9223372036854775808".to_vec()),
        Just(b"[[[[".to_vec()),
        Just(b"null".to_vec()),
    ];
    prop_oneof![
        4 => (at(), 0_u8..8).prop_map(|(at, bit)| Mutation::Flip { at, bit }),
        3 => (at(), odd).prop_map(|(at, bytes)| Mutation::Set { at, bytes }),
        1 => at().prop_map(|at| Mutation::Cut { at }),
        1 => (at(), 1_usize..200).prop_map(|(from, length)| Mutation::Remove { from, length }),
        1 => (at(), 1_usize..200).prop_map(|(from, length)| Mutation::Repeat { from, length }),
    ]
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let place = |share: &f64| (share * bytes.len() as f64) as usize;
        match self {
            _ if bytes.is_empty() => {}
            Self::Flip { at, bit } => {
                let at = place(at);
                bytes[at] ^= 1 << bit;
            }
            Self::Set { at, bytes: new } => {
                let at = place(at);
                let end = (at + new.len()).min(bytes.len());
                bytes[at..end].copy_from_slice(&new[..end - at]);
            }
            Self::Cut { at } => bytes.truncate(place(at)),
            Self::Remove { from, length } => {
                let from = place(from);
                bytes.drain(from..(from + length).min(bytes.len()));
            }
            Self::Repeat { from, length } => {
                let from = place(from);
                let piece = bytes[from..(from + length).min(bytes.len())].to_vec();
                bytes.splice(from..from, piece);
            }
        }
    }
}

async fn table(store: &Faulty) {
    let schema = Schema::new([
        Field::new("id", DataType::LONG, false),
        Field::new("s", DataType::STRING, true),
    ]);
    let create = Table::create_in(storage(store), Environment::system(), schema.unwrap());
    let table = create.await.unwrap();
    for id in 0..4 {
        let _ = table
            .append(ids([id, id + 10]))
            .exactly_once("app", id)
            .await
            .unwrap();
        if id == 1 {
            table.checkpoint().await.unwrap();
        }
    }
}

/// Everything that reads, and what writes on top of it.
async fn use_all(store: &Faulty) -> Result<()> {
    let table = Table::open_in(storage(store), Environment::system()).await?;
    let snapshot = table.snapshot();
    let mut failed = Vec::new();
    let mut note = |outcome: Result<()>| failed.extend(outcome.err());
    note(snapshot.scan().collect().await.map(drop));
    note(snapshot.scan().limit(3).collect().await.map(drop));
    let filtered = snapshot.scan().filter_sql("id = 2 AND s IS NULL")?;
    note(filtered.collect().await.map(drop));
    note(filtered.explain().await.map(drop));
    note(snapshot.sums().await.map(drop));
    note(snapshot.history(100).await.map(drop));
    for version in 0..5 {
        let at = table.snapshot_at(version).await;
        note(at.map(drop));
    }
    note(table.append(ids([99])).await.map(drop));
    note(table.checkpoint().await.map(drop));
    failed
        .into_iter()
        .try_for_each(|error| is_no_accident(&error).then_some(()).ok_or(error))
}

fn is_no_accident(error: &Error) -> bool {
    error.code() != Code::Stopped && error.kind() != ErrorKind::Storage
}

#[test]
fn mutated_objects_are_read_or_refused_and_never_end_a_task() {
    let times = std::env::var("HEADWATER_CASES")
        .ok()
        .and_then(|times| times.parse().ok());
    let config = Config {
        cases: 200 * times.unwrap_or(1),
        failure_persistence: None,
        ..Config::default()
    };
    let whole = Faulty::default();
    block_on(table(&whole));
    let objects: Vec<(String, Vec<u8>)> = block_on(async {
        let mut objects = Vec::new();
        for path in whole.paths().await {
            objects.push((
                path.clone(),
                whole.bytes(&Path::from(path.as_str())).await.to_vec(),
            ));
        }
        objects
    });
    assert!(10 < objects.len());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.unwrap();
    let strategy = proptest::collection::vec((0..objects.len(), mutations()), 1..4);
    let outcome = TestRunner::new(config).run(&strategy, |mutations| {
        let mut objects = objects.clone();
        for (object, mutation) in &mutations {
            mutation.apply(&mut objects[*object].1);
        }
        let outcome = runtime.block_on(async {
            let store = Faulty::default();
            for (path, bytes) in objects {
                store.place(&Path::from(path.as_str()), bytes).await;
            }
            use_all(&store).await
        });
        match outcome {
            Err(error) if !is_no_accident(&error) => Err(TestCaseError::fail(format!("{error:?}"))),
            _ => Ok(()),
        }
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
