//! In-commit timestamps: what a commit says of its own time follows from the state that it leads to.

use std::collections::BTreeMap;

use serde_json::json;

use super::{ENABLED_AT, ENABLED_FROM};
use crate::environment::Environment;
use crate::log::commit::{self, Commit};
use crate::log::path::commit_key;
use crate::snapshot::Snapshot;
use crate::storage::Storage;
use crate::table::Table;
use crate::transaction::{Draft, Outcome};

const ENABLED: &str = "delta.enableInCommitTimestamps";

/// A table whose protocol lists the feature or not, with these properties.
async fn table(name: &str, listed: bool, properties: &[(&str, &str)]) -> Table {
    let environment = Environment::system();
    let storage = Storage::open(&format!("memory:///commit/{name}"), &environment).unwrap();
    let protocol = match listed {
        true => {
            json!({"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["inCommitTimestamp"]})
        }
        false => json!({"minReaderVersion": 1, "minWriterVersion": 2}),
    };
    let field = json!({"name": "id", "type": "long", "nullable": true, "metadata": {}});
    let schema = json!({"type": "struct", "fields": [field]}).to_string();
    let properties: BTreeMap<_, _> = properties.iter().copied().collect();
    let metadata = json!({
        "id": "one", "format": {"provider": "parquet", "options": {}}, "schemaString": schema,
        "partitionColumns": [], "configuration": properties,
    });
    let lines = [
        json!({"commitInfo": {"inCommitTimestamp": 5_000_000_000_000_i64}}),
        json!({"protocol": protocol}),
        json!({"metaData": metadata}),
    ];
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    storage.put(&commit_key(0), text.into()).await.unwrap();
    Table::of(Snapshot::latest(&storage, &environment).await.unwrap())
}

/// Commits a change of properties, and reads the commit back.
async fn set(table: &Table, properties: &[(&str, &str)]) -> Commit {
    let base = table.refresh().await.unwrap();
    let mut draft = Draft::on(base.clone(), "SET TBLPROPERTIES");
    let mut metadata = base.metadata().clone();
    let owned = properties.iter();
    metadata.configuration = owned
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    draft.metadata = Some(metadata);
    let Outcome::Committed(snapshot) = draft.commit(table).await else {
        panic!("it lands");
    };
    let read = commit::read(table.storage(), snapshot.version()).await;
    read.unwrap().unwrap()
}

fn own_time(commit: &Commit) -> Option<i64> {
    commit.info.as_ref().unwrap().in_commit_timestamp
}

fn configured<'a>(commit: &'a Commit, key: &str) -> Option<&'a str> {
    let metadata = commit.metadata.as_ref().unwrap();
    metadata.configuration.get(key).map(String::as_str)
}

#[tokio::test]
async fn the_property_means_nothing_without_the_feature() {
    let table = table("unlisted", false, &[(ENABLED, "true")]).await;
    let commit = set(&table, &[(ENABLED, "true"), ("a", "b")]).await;
    assert_eq!((commit.version, own_time(&commit)), (1, None));
    assert!(configured(&commit, ENABLED_FROM).is_none());
    // The time of the file, not one that the commit says.
    let time = table.snapshot().timestamp_millis().await.unwrap();
    assert!(time < 5_000_000_000_000, "{time}");
    let history = table.snapshot().history(9).await.unwrap();
    assert!(history.iter().all(|it| it.timestamp_millis <= time));
}

#[tokio::test]
async fn a_commit_that_enables_them_says_its_time_and_since_when() {
    let table = table("enabled", true, &[]).await;
    let commit = set(&table, &[(ENABLED, "True")]).await;
    let time = own_time(&commit).expect("its own time");
    assert_eq!(configured(&commit, ENABLED_FROM), Some("1"));
    assert_eq!(
        configured(&commit, ENABLED_AT),
        Some(time.to_string().as_str())
    );
    assert_eq!(table.snapshot().timestamp_millis().await.unwrap(), time);
    // The table can be written to from then on, and its older version is where it was.
    let commit = set(&table, &[(ENABLED, "true"), ("a", "b")]).await;
    assert!(time < own_time(&commit).unwrap());
    assert_eq!(configured(&commit, ENABLED_FROM), Some("1"), "it is kept");
    assert_eq!(table.snapshot().history(9).await.unwrap().len(), 3);
    // Disabled, and enabled anew.
    assert_eq!(own_time(&set(&table, &[]).await), None);
    let commit = set(&table, &[(ENABLED, "true")]).await;
    assert_eq!(configured(&commit, ENABLED_FROM), Some("4"));
    assert!(own_time(&commit).is_some());
}

#[tokio::test]
async fn c_6_a_commit_is_later_than_the_one_before_it_whatever_the_clock_says() {
    let table = table("later", true, &[(ENABLED, "true")]).await;
    let commit = set(&table, &[(ENABLED, "true"), ("a", "b")]).await;
    assert_eq!(own_time(&commit), Some(5_000_000_000_001));
}
