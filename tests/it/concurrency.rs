//! Many writers on one table (faults D-1, D-9 to D-11, D-13, D-14).

use std::collections::BTreeMap;

use headwater::predicate::col;
use headwater::protocol::action::{Action, Metadata};
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::{CommitStatus, ErrorKind};

use crate::support::store::Faulty;
use crate::support::{commit_key, create, ids, ids_of, open};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn d_1_appenders_in_many_tasks_all_land() {
    let store = Faulty::default();
    create(&store).await;
    let mut writers = Vec::new();
    for writer in 0..16_i64 {
        let store = store.clone();
        writers.push(tokio::spawn(async move {
            let table = open(&store).await.unwrap();
            for number in 0..10 {
                table.append(ids([writer * 1_000 + number])).await.unwrap();
            }
            table.close().await;
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let table = open(&store).await.unwrap();
    assert_eq!(table.snapshot().version(), 160);
    let expected: Vec<_> = (0..16)
        .flat_map(|writer| (0..10).map(move |n| writer * 1_000 + n))
        .collect();
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn d_1_clones_of_one_handle_append_at_once() {
    let store = Faulty::default();
    let table = create(&store).await;
    let appends = (0..32).map(|id| {
        let table = table.clone();
        tokio::spawn(async move { table.append(ids([id])).await.unwrap().version })
    });
    let mut versions = Vec::new();
    for append in appends.collect::<Vec<_>>() {
        versions.push(append.await.unwrap());
    }
    versions.sort_unstable();
    assert_eq!(versions, (1..=32).collect::<Vec<_>>());
    assert_eq!(
        ids_of(&table.snapshot()).await.unwrap(),
        (0..32).collect::<Vec<_>>()
    );
}

/// A commit that another engine makes, with these actions.
async fn foreign_commit(store: &Faulty, version: u64, actions: &[Action]) {
    let lines: Vec<_> = actions
        .iter()
        .map(|action| serde_json::to_string(action).unwrap())
        .collect();
    store
        .place(&commit_key(version), lines.join("\n") + "\n")
        .await;
}

/// An append that has looked for newer commits before `meanwhile` happens.
async fn append_around<F: Future<Output = ()>>(
    store: &Faulty,
    id: i64,
    meanwhile: F,
) -> headwater::Result<headwater::Commit> {
    let table = open(store).await.unwrap();
    let started = std::sync::Arc::new(tokio::sync::Notify::new());
    let go = std::sync::Arc::new(tokio::sync::Notify::new());
    let (inner_started, inner_go) = (started.clone(), go.clone());
    let rows = futures::stream::once(async move {
        inner_started.notify_one();
        inner_go.notified().await;
        Ok::<_, std::io::Error>(ids([id]))
    });
    let appending =
        tokio::spawn(async move { table.append(headwater::Batches::stream(rows)).await });
    started.notified().await;
    meanwhile.await;
    go.notify_one();
    appending.await.unwrap()
}

/// Rows that were written for another table than there is now are written anew for this one.
#[tokio::test]
async fn d_9_a_metadata_change_makes_an_append_that_did_not_see_it_write_its_rows_anew() {
    let store = Faulty::default();
    let table = create(&store).await;
    let mut fields = table.snapshot().schema().fields().to_vec();
    fields[0].nullable = true;
    let metadata = Metadata {
        schema_string: Schema::new(fields).unwrap().to_json(),
        ..table.snapshot().metadata().clone()
    };
    let actions = [Action::Metadata(metadata)];
    let change = foreign_commit(&store, 1, &actions);
    let landed = append_around(&store, 1, change).await.unwrap();
    assert_eq!((landed.version, landed.rows), (2, 1));
    let newest = table.refresh().await.unwrap();
    assert_eq!(ids_of(&newest).await.unwrap(), [1]);
    let info = &newest.history(1).await.unwrap()[0].info;
    assert_eq!(info.read_version, Some(1));
    let puts = store.puts();
    let files = puts.iter().filter(|(path, _)| path.ends_with(".parquet"));
    assert_eq!(files.count(), 2);
}

#[tokio::test]
async fn d_14_an_append_lands_on_a_schema_that_its_rows_still_fit() {
    let store = Faulty::default();
    let table = create(&store).await;
    let known = table.snapshot();
    let mut fields = known.schema().fields().to_vec();
    fields.push(Field::new("note", DataType::STRING, true));
    let metadata = Metadata {
        schema_string: Schema::new(fields).unwrap().to_json(),
        configuration: BTreeMap::from([("delta.appendOnly".into(), "true".into())]),
        ..known.metadata().clone()
    };
    let actions = [Action::Metadata(metadata)];
    let change = foreign_commit(&store, 1, &actions);
    let landed = append_around(&store, 1, change).await.unwrap();
    assert_eq!(landed.version, 2);
    let newest = table.refresh().await.unwrap();
    assert_eq!(ids_of(&newest).await.unwrap(), [1]);
    assert_eq!(newest.schema().fields().len(), 2);
    let noted = newest.scan().filter(col("note").is_not_null());
    assert!(noted.collect().await.unwrap().is_empty());
}

#[tokio::test]
async fn d_14_an_append_to_a_schema_that_its_rows_do_not_fit_is_a_conflict() {
    let changes: [fn(&mut Vec<Field>); 3] = [
        |fields| fields[0].name = "number".into(),
        |fields| fields[0].data_type = DataType::STRING,
        |fields| fields.push(Field::new("needed", DataType::LONG, false)),
    ];
    for change in changes {
        let store = Faulty::default();
        let table = create(&store).await;
        let mut fields = table.snapshot().schema().fields().to_vec();
        change(&mut fields);
        let metadata = Metadata {
            schema_string: Schema::new(fields).unwrap().to_json(),
            ..table.snapshot().metadata().clone()
        };
        let actions = [Action::Metadata(metadata)];
        let change = foreign_commit(&store, 1, &actions);
        let conflict = append_around(&store, 1, change).await.unwrap_err();
        assert_eq!(conflict.context_value("conflict"), Some("MetadataChanged"));
        assert_eq!(table.refresh().await.unwrap().version(), 1);
    }
}

/// A protocol that this build obeys asks nothing else of rows that are written already.
#[tokio::test]
async fn d_9_an_append_lands_on_a_protocol_that_asks_nothing_more_of_its_rows() {
    let store = Faulty::default();
    let table = create(&store).await;
    let mut protocol = table.snapshot().protocol().clone();
    protocol.min_writer_version = 3;
    let actions = [Action::Protocol(protocol)];
    let change = foreign_commit(&store, 1, &actions);
    let landed = append_around(&store, 1, change).await.unwrap();
    assert_eq!(landed.version, 2);
    let newest = table.refresh().await.unwrap();
    assert_eq!(newest.protocol().min_writer_version, 3);
    assert_eq!(ids_of(&newest).await.unwrap(), [1]);
}

/// That deletion vectors are enabled, columns are mapped, or a constraint is added, while rows are appended.
#[tokio::test]
async fn d_9_an_append_lands_where_the_new_rules_allow_and_is_a_conflict_elsewhere() {
    for (key, value) in [
        ("delta.enableDeletionVectors", "true"),
        ("delta.enableChangeDataFeed", "true"),
        ("delta.columnMapping.mode", "name"),
    ] {
        let store = Faulty::default();
        let table = create(&store).await;
        let alter = table.alter().set_property(key, value);
        let change = async move {
            alter.await.unwrap();
        };
        let landed = append_around(&store, 1, change).await;
        let newest = table.refresh().await.unwrap();
        assert_eq!(newest.metadata().configuration[key], value);
        assert_eq!(landed.unwrap().version, 2, "{key}");
        assert_eq!(ids_of(&newest).await.unwrap(), [1]);
        table.delete(col("id").eq(1)).await.unwrap();
    }
    for (id, obeys) in [(7, true), (1, false)] {
        let store = Faulty::default();
        let table = create(&store).await;
        let alter = table.alter().add_constraint("large", "id > 5");
        let change = async move {
            alter.await.unwrap();
        };
        let landed = append_around(&store, id, change).await;
        let newest = table.refresh().await.unwrap();
        if obeys {
            assert_eq!(landed.unwrap().version, 2);
            assert_eq!(ids_of(&newest).await.unwrap(), [7]);
        } else {
            let conflict = landed.unwrap_err();
            assert_eq!(conflict.kind(), ErrorKind::Conflict, "{conflict}");
            assert_eq!(newest.version(), 1);
        }
    }
}

/// Columns that the rows did not have are made by the rules as they are now: defaults, and what is computed.
#[tokio::test]
async fn d_14_rows_that_are_written_anew_get_the_defaults_and_values_of_now() {
    let store = Faulty::default();
    let table = crate::rules::table(&store).await;
    let known = table.snapshot();
    let metadata = known.metadata().clone();
    // A column whose default is another one, a computed column that is computed otherwise.
    let changed = metadata.schema_string.replace("\"42\"", "\"43\"");
    let changed = changed.replace("id * 2", "id * 3");
    assert_ne!(changed, metadata.schema_string);
    let metadata = Metadata {
        schema_string: changed,
        ..metadata
    };
    let actions = [Action::Metadata(metadata)];
    let change = foreign_commit(&store, 1, &actions);
    append_around(&store, 5, change).await.unwrap();
    let newest = table.refresh().await.unwrap();
    let found = newest
        .scan()
        .filter_sql("id = 5 AND twice = 15 AND kind = 43");
    let found = found.unwrap().collect().await.unwrap();
    assert_eq!(found.iter().map(|batch| batch.num_rows()).sum::<usize>(), 1);
}

/// A protocol that this build does not obey ends every write.
#[tokio::test]
async fn d_9_an_append_ends_at_a_protocol_that_this_build_does_not_know() {
    let store = Faulty::default();
    create(&store).await;
    let protocol = serde_json::json!({
        "minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["appendOnly", "invariants", "fromTheFuture"],
    });
    let actions = [Action::Protocol(serde_json::from_value(protocol).unwrap())];
    let change = foreign_commit(&store, 1, &actions);
    let refused = append_around(&store, 1, change).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
    assert_eq!(
        store
            .paths()
            .await
            .iter()
            .filter(|path| path.ends_with(".json"))
            .count(),
        2
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn d_10_of_writers_with_one_transaction_exactly_one_commits() {
    let store = Faulty::default();
    create(&store).await;
    for number in 0..10_i64 {
        let mut writers = Vec::new();
        for _ in 0..8 {
            let store = store.clone();
            writers.push(tokio::spawn(async move {
                let table = open(&store).await.unwrap();
                table
                    .append(ids([number]))
                    .exactly_once("app", number)
                    .await
                    .unwrap()
                    .status
            }));
        }
        let mut committed = 0;
        for writer in writers {
            committed += usize::from(writer.await.unwrap() == CommitStatus::Committed);
        }
        assert_eq!(committed, 1, "transaction {number}");
    }
    let table = open(&store).await.unwrap();
    assert_eq!(
        ids_of(&table.snapshot()).await.unwrap(),
        (0..10).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn d_10_the_watermark_survives_checkpoint_and_reload() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1])).exactly_once("app", 7).await.unwrap();
    table.checkpoint().await.unwrap();
    for reopened in [table, open(&store).await.unwrap()] {
        assert_eq!(reopened.snapshot().app_version("app"), Some(7));
        let repeat = reopened
            .append(ids([1]))
            .exactly_once("app", 7)
            .await
            .unwrap();
        assert_eq!(repeat.status, CommitStatus::AlreadyApplied);
    }
}

#[tokio::test]
async fn d_11_an_older_transaction_is_already_applied_and_the_watermark_never_goes_back() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([5])).exactly_once("app", 5).await.unwrap();
    for older in [5, 4, -1, i64::MIN] {
        let repeat = table
            .append(ids([5]))
            .exactly_once("app", older)
            .await
            .unwrap();
        assert_eq!(repeat.status, CommitStatus::AlreadyApplied, "{older}");
    }
    assert_eq!(table.refresh().await.unwrap().app_version("app"), Some(5));
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [5]);
    let txn = table.snapshot().txns().get("app").cloned().unwrap();
    assert!(
        txn.last_updated.is_some(),
        "other engines expire a transaction without it"
    );
}

/// D-13: nobody starves. Every one of a thousand writers lands, with a bounded number of attempts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d_13_a_thousand_writers_of_one_table_all_land() {
    const WRITERS: i64 = 1_000;
    const HANDLES: usize = 8;
    let store = Faulty::default();
    create(&store).await;
    let mut handles = Vec::new();
    for _ in 0..HANDLES {
        handles.push(open(&store).await.unwrap());
    }
    let mut writers = Vec::new();
    for id in 0..WRITERS {
        let table = handles[id as usize % HANDLES].clone();
        writers.push(tokio::spawn(async move {
            table.append(ids([id])).await.unwrap().version
        }));
    }
    let mut versions = Vec::new();
    for writer in writers {
        versions.push(writer.await.unwrap());
    }
    versions.sort_unstable();
    assert_eq!(versions, (1..=WRITERS as u64).collect::<Vec<_>>());
    let puts = store.puts();
    let mut attempts = BTreeMap::<String, usize>::new();
    for (path, bytes) in puts.iter().filter(|(path, _)| path.ends_with(".json")) {
        assert!(path.contains("_delta_log"));
        let first = String::from_utf8_lossy(bytes)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned();
        let info: serde_json::Value = serde_json::from_str(&first).unwrap();
        let txn = info["commitInfo"]["txnId"].as_str().unwrap().to_owned();
        *attempts.entry(txn).or_default() += 1;
    }
    let most = attempts.values().max().unwrap();
    let all: usize = attempts.values().sum();
    println!("{all} attempts for {WRITERS} commits, {most} at most");
    assert!(*most < 200, "{most} attempts of one writer");
    let table = open(&store).await.unwrap();
    assert_eq!(
        ids_of(&table.snapshot()).await.unwrap(),
        (0..WRITERS).collect::<Vec<_>>()
    );
}
