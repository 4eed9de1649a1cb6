//! Plans that another program computed (`tests/vectors/plan_1.py`): the way from a log to an order is frozen, too.

use headwater::Snapshot;
use headwater::feed::ShuffleOptions;
use headwater::predicate::col;
use object_store::path::Path;
use serde_json::{Value, json};

use crate::support::store::Faulty;
use crate::support::{commit_key, open};

const PLANS: &str = include_str!("../../vectors/plan-1.ndjson");
const FILE: &[u8] = include_bytes!("../../vectors/plan-1.parquet");

/// The table that a line tells of.
async fn table(line: &Value) -> Snapshot {
    let store = Faulty::default();
    let features = ["deletionVectors"];
    let first = [
        json!({"protocol": {"minReaderVersion": 3, "minWriterVersion": 7,
            "readerFeatures": features, "writerFeatures": features}}),
        json!({"metaData": {"id": line["table"], "format": {"provider": "parquet", "options": {}},
            "schemaString": line["schema"], "partitionColumns": ["p"], "configuration": {}}}),
    ];
    let mut adds = Vec::new();
    for file in line["files"].as_array().unwrap() {
        let mut add = json!({
            "path": file["path"], "partitionValues": file["partitionValues"], "size": FILE.len(),
            "modificationTime": 0, "dataChange": true, "stats": "{\"numRecords\":300}",
        });
        if let Some(vector) = file.get("deletionVector") {
            add["deletionVector"] = vector.clone();
        }
        adds.push(json!({ "add": add }));
        let path = format!("table/{}", file["decoded"].as_str().unwrap());
        store.place(&Path::parse(path).unwrap(), FILE).await;
    }
    for (version, actions) in [(0, &first[..]), (1, &adds)] {
        let lines: Vec<String> = actions.iter().map(Value::to_string).collect();
        store.place(&commit_key(version), lines.join("\n")).await;
    }
    open(&store).await.unwrap().snapshot()
}

#[tokio::test]
async fn plans_are_those_of_another_program() {
    let mut compared = 0;
    for line in PLANS.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let snapshot = table(&line).await;
        let number = |name: &str| u32::try_from(line[name].as_u64().unwrap()).unwrap();
        let mut feed = snapshot.feed(line["seed"].as_u64().unwrap());
        if let Some(below) = line["below"].as_i64() {
            feed = feed.filter(col("id").lt(below));
        }
        let shuffle = ShuffleOptions {
            lanes: Some(number("lanes")),
            window: Some(number("window")),
            unit_rows: Some(number("unit_rows")),
            ..ShuffleOptions::default()
        };
        let plan = feed.shuffle(shuffle).plan().await.unwrap();
        assert_eq!(line["size"].as_u64().unwrap(), FILE.len() as u64);
        assert_eq!(plan.rows(), line["rows"].as_u64().unwrap());
        assert_eq!(plan.summary().units, line["units"].as_u64().unwrap());
        assert_eq!(plan.snapshot_digest().to_string(), line["snapshot"]);
        assert_eq!(plan.digest().to_string(), line["plan"]);
        let order = plan.order_digest(0).await.unwrap();
        assert_eq!(order.to_string(), line["order"]);
        compared += 1;
    }
    assert_eq!(compared, 4);
}
