//! What `create` writes (PROTOCOL.md: Protocol Evolution, Change Metadata; Writer Version Requirements).

use headwater::environment::Environment;
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::{Code, ErrorKind, Table};

use crate::support::store::Faulty;
use crate::support::{commit_key, create, id_schema, ids, open, storage};

#[tokio::test]
async fn a_plain_table_has_reader_1_and_writer_2_and_no_feature_lists() {
    let store = Faulty::default();
    let table = create(&store).await;
    let protocol = table.snapshot().protocol().clone();
    assert_eq!(
        (protocol.min_reader_version, protocol.min_writer_version),
        (1, 2)
    );
    assert_eq!(
        (protocol.reader_features, protocol.writer_features),
        (None, None)
    );
    let properties = table.snapshot().metadata().configuration.clone();
    assert_eq!(
        properties
            .get("delta.checkpoint.writeStatsAsStruct")
            .unwrap(),
        "true"
    );
}

#[tokio::test]
async fn a_schema_or_property_that_needs_a_feature_lists_it_and_no_other() {
    let store = Faulty::default();
    let schema = Schema::new([Field::new("at", DataType::TIMESTAMP_NTZ, true)]).unwrap();
    let table = Table::create_in(storage(&store), Environment::system(), schema)
        .property("delta.feature.vacuumProtocolCheck", "supported")
        .await
        .unwrap();
    let protocol = table.snapshot().protocol().clone();
    assert_eq!(
        (protocol.min_reader_version, protocol.min_writer_version),
        (3, 7)
    );
    let mut readers = protocol.reader_features.unwrap();
    readers.sort();
    assert_eq!(readers, ["timestampNtz", "vacuumProtocolCheck"]);
    let properties = table.snapshot().metadata().configuration.clone();
    assert!(
        properties
            .keys()
            .all(|key| !key.starts_with("delta.feature."))
    );
}

#[tokio::test]
async fn the_first_line_of_every_commit_says_who_wrote_it_as_spark_does() {
    let store = Faulty::default();
    let table = create(&store).await;
    table
        .append(ids([1, 2]))
        .exactly_once("app", 1)
        .await
        .unwrap();
    for version in 0..=1 {
        let bytes = store.bytes(&commit_key(version)).await;
        let first = bytes.split(|byte| *byte == b'\n').next().unwrap();
        let line: serde_json::Value = serde_json::from_slice(first).unwrap();
        let info = &line["commitInfo"];
        assert!(
            info["txnId"].is_string() && info["isBlindAppend"].is_boolean(),
            "{info}"
        );
        for group in ["operationParameters", "operationMetrics"] {
            let values = info[group].as_object().unwrap().values();
            assert!(
                values.into_iter().all(serde_json::Value::is_string),
                "{group}: {info}"
            );
        }
    }
}

#[tokio::test]
async fn a_table_is_created_once() {
    let store = Faulty::default();
    create(&store).await;
    let again = Table::create_in(storage(&store), Environment::system(), id_schema()).await;
    let error = again.unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Conflict, Code::TableExists)
    );
    assert_eq!(open(&store).await.unwrap().snapshot().version(), 0);
}

#[tokio::test]
async fn what_cannot_be_obeyed_is_refused_by_name_when_it_is_created() {
    let refused = [
        ("delta.constraints.odd", "soundex(id) > 0", "soundex"),
        ("delta.enableRowTracking", "true", "rowTracking"),
    ];
    for (property, value, name) in refused {
        let store = Faulty::default();
        let creating = Table::create_in(storage(&store), Environment::system(), id_schema())
            .property(property, value);
        let error = creating.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{property}");
        assert!(error.to_string().contains(name), "{error}");
        assert!(store.paths().await.is_empty(), "nothing was written");
    }
    let store = Faulty::default();
    for columns in [vec!["nope"], vec!["id"], vec!["id", "ID"]] {
        let creating = Table::create_in(storage(&store), Environment::system(), id_schema());
        let error = creating.partition_by(columns).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn a_checkpoint_interval_is_obeyed() {
    let store = Faulty::default();
    let table = Table::create_in(storage(&store), Environment::system(), id_schema())
        .property("delta.checkpointInterval", "3")
        .await
        .unwrap();
    for id in 1..=7 {
        table.append(ids([id])).await.unwrap();
        table.close().await;
    }
    let paths = store.paths().await;
    let checkpoints: Vec<_> = paths
        .iter()
        .filter(|path| path.ends_with(".checkpoint.parquet"))
        .collect();
    assert_eq!(checkpoints.len(), 2, "{checkpoints:?}");
    assert!(
        checkpoints[0].ends_with("3.checkpoint.parquet")
            && checkpoints[1].ends_with("6.checkpoint.parquet")
    );
}

#[tokio::test]
async fn refreshing_step_by_step_is_opening_anew() {
    let store = Faulty::default();
    let table = create(&store).await;
    let follower = open(&store).await.unwrap();
    for id in 0..25 {
        table
            .append(ids([id]))
            .exactly_once(format!("app-{}", id % 3), id)
            .await
            .unwrap();
        table.close().await;
        let followed = follower.refresh().await.unwrap();
        let opened = open(&store).await.unwrap().snapshot();
        assert_eq!(followed.version(), opened.version());
        assert_eq!(followed.sums().await.unwrap(), opened.sums().await.unwrap());
        assert_eq!(followed.txns(), opened.txns());
        assert_eq!(followed.metadata(), opened.metadata());
    }
}

#[tokio::test]
async fn in_commit_timestamps_cannot_be_switched_on_by_another_spelling() {
    let store = Faulty::default();
    let table = create(&store).await;
    for value in ["true", "True", " TRUE "] {
        let set = table
            .alter()
            .set_property("delta.enableInCommitTimestamps", value);
        let refused = set.await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{value}");
    }
    table.append(ids([1])).await.unwrap();
    assert_eq!(table.refresh().await.unwrap().version(), 1);
}
