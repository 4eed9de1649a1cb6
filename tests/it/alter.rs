//! Changing what a table is: columns, properties, constraints, features.

use std::sync::Arc;

use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::Int64Type;
use headwater::arrow_array::{Array, Int64Array, RecordBatch, StringArray, StructArray};
use headwater::environment::Environment;
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::{Code, ErrorKind, Snapshot, Table};

use crate::support::store::Faulty;
use crate::support::{commit_key, create, id_schema, ids, ids_of, open, storage};

async fn mapped(store: &Faulty) -> Table {
    let inner = Schema::new([Field::new("x", DataType::LONG, true)]).unwrap();
    let schema = Schema::new([
        Field::new("id", DataType::LONG, false),
        Field::new("part", DataType::STRING, true),
        Field::new("s", DataType::Struct(inner), true),
    ])
    .unwrap();
    Table::create_in(storage(store), Environment::system(), schema)
        .partition_by(["part"])
        .property("delta.columnMapping.mode", "name")
        .await
        .unwrap()
}

fn rows(names: [&str; 3], id: i64, part: &str) -> RecordBatch {
    let x = Arc::new(Int64Array::from(vec![id * 10])) as Arc<dyn Array>;
    let s = StructArray::try_from(vec![("x", x)]).unwrap();
    RecordBatch::try_from_iter([
        (names[0], Arc::new(Int64Array::from(vec![id])) as _),
        (names[1], Arc::new(StringArray::from(vec![part])) as _),
        (names[2], Arc::new(s) as _),
    ])
    .unwrap()
}

async fn longs(snapshot: &Snapshot, column: &str) -> Vec<Option<i64>> {
    let mut found = Vec::new();
    for batch in snapshot.scan().select([column]).collect().await.unwrap() {
        found.extend(batch.column(0).as_primitive::<Int64Type>().iter());
    }
    found.sort_unstable();
    found
}

/// Column Mapping: names in files never change, ids are never used again.
#[tokio::test]
async fn columns_of_a_mapped_table_are_renamed_dropped_and_added_again() {
    let store = Faulty::default();
    let table = mapped(&store).await;
    let protocol = table.snapshot().protocol().clone();
    assert_eq!(
        (protocol.min_reader_version, protocol.min_writer_version),
        (2, 7)
    );
    table
        .append(rows(["id", "part", "s"], 1, "a"))
        .await
        .unwrap();
    let alter = table
        .alter()
        .rename_column("id", "number")
        .rename_column("part", "day");
    alter.rename_column("s.x", "y").await.unwrap();
    assert_eq!(table.snapshot().partition_columns(), ["day"]);
    let inner = Schema::new([Field::new("y", DataType::LONG, true)]).unwrap();
    assert_eq!(table.snapshot().schema().fields().len(), 3);

    let found = table
        .snapshot()
        .scan()
        .filter_sql("day = 'a' AND number = 1 AND s.y = 10");
    assert_eq!(found.unwrap().collect().await.unwrap()[0].num_rows(), 1);
    let gone = table
        .snapshot()
        .scan()
        .filter_sql("id = 1")
        .unwrap()
        .collect()
        .await;
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::Invalid);

    table.alter().drop_column("s").await.unwrap();
    let added = Field::new("s", DataType::Struct(inner), true);
    table.alter().add_column(added).await.unwrap();
    let newest = table.snapshot();
    let again = newest.schema().field("s").unwrap().clone();
    assert_eq!(again.mapped_id(), Some(5), "ids 3 and 4 were used before");
    let of_old = table.snapshot_at(1).await.unwrap();
    assert_ne!(
        again.mapped_name(),
        of_old.schema().field("s").unwrap().mapped_name()
    );
    let batches = newest.scan().collect().await.unwrap();
    assert!(
        batches[0].column_by_name("s").unwrap().is_null(0),
        "the old values stay gone"
    );
    assert_eq!(longs(&of_old, "id").await, [Some(1)]);
    let reopened = open(&store).await.unwrap();
    assert_eq!(longs(&reopened.snapshot(), "number").await, [Some(1)]);
}

/// A table made with the schema of a mapped one was written by the columns' names, and stays readable by them.
#[tokio::test]
async fn a_schema_of_a_mapped_table_brings_no_names_along() {
    let (store, other) = (Faulty::default(), Faulty::default());
    let schema = mapped(&store).await.snapshot().schema().clone();
    let schema = Schema::clone(&schema);
    let table = Table::create_in(storage(&other), Environment::system(), schema)
        .partition_by(["part"])
        .await
        .unwrap();
    let id = table.snapshot().schema().field("id").unwrap().clone();
    assert_eq!((id.mapped_id(), id.mapped_name()), (None, None));
    table
        .append(rows(["id", "part", "s"], 1, "a"))
        .await
        .unwrap();
    table
        .alter()
        .set_property("delta.columnMapping.mode", "name")
        .await
        .unwrap();
    let reopened = open(&other).await.unwrap();
    assert_eq!(longs(&reopened.snapshot(), "id").await, [Some(1)]);
    let found = reopened
        .snapshot()
        .scan()
        .filter_sql("part = 'a' AND s.x = 10");
    assert_eq!(found.unwrap().collect().await.unwrap()[0].num_rows(), 1);
}

/// Notes of an earlier mapping, as other writers leave them, say nothing of files that were written without one.
#[tokio::test]
async fn stale_names_do_not_hide_the_rows_of_a_table_that_gets_mapping() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1, 2])).await.unwrap();
    let first = store.bytes(&commit_key(0)).await.to_vec();
    let first = String::from_utf8(first).unwrap();
    let note = r#"\"metadata\":{\"delta.columnMapping.id\":9,\"delta.columnMapping.physicalName\":\"stale\"}"#;
    let stale = first.replace(r#"\"metadata\":{}"#, note);
    assert_ne!(first, stale);
    store.remove(&commit_key(0)).await;
    store.place(&commit_key(0), stale).await;
    let table = open(&store).await.unwrap();
    let name = table.snapshot().schema().field("id").unwrap().mapped_name();
    assert_eq!(name.as_deref(), Some("stale"));
    table
        .alter()
        .set_property("delta.columnMapping.mode", "name")
        .await
        .unwrap();
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [1, 2]);
}

/// Trap 55: an added column is a new one, whatever its field says it was.
#[tokio::test]
async fn a_field_that_was_taken_from_a_schema_is_added_as_a_new_column() {
    let store = Faulty::default();
    let table = mapped(&store).await;
    table
        .append(rows(["id", "part", "s"], 1, "a"))
        .await
        .unwrap();
    let saved = table.snapshot().schema().field("s").unwrap().clone();
    let copy = Field {
        name: "copy".to_owned(),
        ..saved.clone()
    };
    table.alter().add_column(copy).await.unwrap();
    let schema = table.snapshot().schema().clone();
    let copy = schema.field("copy").unwrap();
    assert_ne!(copy.mapped_id(), saved.mapped_id());
    assert_ne!(copy.mapped_name(), saved.mapped_name());
    table.alter().drop_column("s").await.unwrap();
    table.alter().add_column(saved).await.unwrap();
    for column in ["s", "copy"] {
        let batches = table.snapshot().scan().select([column]).collect().await;
        assert!(batches.unwrap()[0].column(0).is_null(0), "{column}");
    }
}

/// Column Mapping: an existing table gets it without a file being touched.
#[tokio::test]
async fn a_plain_table_gets_column_mapping_and_its_old_files_stay_readable() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.append(ids([1, 2])).await.unwrap();
    let refused = table
        .alter()
        .rename_column("id", "number")
        .await
        .unwrap_err();
    assert!(
        refused.message().contains("delta.columnMapping.mode"),
        "{refused}"
    );
    let mode = "delta.columnMapping.mode";
    let by_id = table.alter().set_property(mode, "id").await.unwrap_err();
    assert_eq!(by_id.context_value("property"), Some(mode));
    table.alter().set_property(mode, "name").await.unwrap();
    let protocol = table.snapshot().protocol().clone();
    assert_eq!(
        (protocol.min_reader_version, protocol.min_writer_version),
        (2, 7)
    );
    table.alter().rename_column("id", "number").await.unwrap();
    let column = Arc::new(Int64Array::from(vec![3])) as _;
    table
        .append(RecordBatch::try_from_iter([("number", column)]).unwrap())
        .await
        .unwrap();
    table.checkpoint().await.unwrap();
    let reopened = open(&store).await.unwrap();
    assert_eq!(
        longs(&reopened.snapshot(), "number").await,
        [Some(1), Some(2), Some(3)]
    );
    let pruned = reopened.snapshot().scan().filter_sql("number = 3").unwrap();
    assert_eq!(pruned.plan().await.unwrap().counts().files_pruned, 1);
    let none = table.alter().set_property(mode, "none").await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn what_rests_on_a_column_keeps_it_from_being_renamed_or_dropped() {
    let store = Faulty::default();
    let table = mapped(&store).await;
    let partition = table.alter().drop_column("part").await.unwrap_err();
    assert_eq!(partition.context_value("column"), Some("part"));
    for unknown in ["nothing", "s.nothing", "id.x"] {
        let error = table.alter().drop_column(unknown).await.unwrap_err();
        assert_eq!(error.context_value("column"), Some(unknown));
    }
    let clash = table.alter().rename_column("id", "PART").await.unwrap_err();
    assert_eq!(clash.kind(), ErrorKind::Invalid);
    assert_eq!(
        table.refresh().await.unwrap().version(),
        0,
        "nothing of it was committed"
    );
}

#[tokio::test]
async fn properties_are_set_unset_and_bring_the_features_they_need() {
    let store = Faulty::default();
    let table = create(&store).await;
    let key = "delta.enableDeletionVectors";
    let commit = table
        .alter()
        .set_property(key, "true")
        .set_property("mine", "1")
        .await
        .unwrap();
    assert_eq!(commit.version, 1);
    let snapshot = table.snapshot();
    assert!(snapshot.properties().enable_deletion_vectors);
    let features = snapshot.protocol().reader_features.clone().unwrap();
    assert_eq!(features, ["deletionVectors"]);
    table.alter().unset_property("mine").await.unwrap();
    let missing = table.alter().unset_property("mine").await.unwrap_err();
    assert_eq!(missing.context_value("property"), Some("mine"));
    let nothing = table.alter().unset_property_if_set("mine").await.unwrap();
    assert_eq!(nothing.status, headwater::CommitStatus::Unchanged);
    for (key, value) in [
        ("delta.appendOnly", "perhaps"),
        ("delta.columnMapping.maxColumnId", "7"),
        ("delta.minReaderVersion", "1"),
        ("delta.enableInCommitTimestamps", "true"),
        ("delta.constraints.c", "id > 0"),
    ] {
        let error = table.alter().set_property(key, value).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{key}");
        assert!(
            !format!("{error:?}").contains("perhaps"),
            "values stay out of errors"
        );
    }
    let tracked = table
        .alter()
        .set_property("delta.enableRowTracking", "true")
        .await;
    assert_eq!(tracked.unwrap_err().kind(), ErrorKind::Unsupported);
    let history = table.snapshot().history(1).await.unwrap();
    assert_eq!(
        history[0].info.operation.as_deref(),
        Some("UNSET TBLPROPERTIES")
    );
    table.append(ids([1])).await.unwrap();
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [1]);
}

/// Table Features: a protocol never loses a feature and never goes to a lower version.
#[tokio::test]
async fn features_are_added_for_good() {
    let store = Faulty::default();
    let table = create(&store).await;
    table.alter().add_feature("domainMetadata").await.unwrap();
    let protocol = table.snapshot().protocol().clone();
    assert_eq!(
        (protocol.min_reader_version, protocol.min_writer_version),
        (1, 7)
    );
    let features = protocol.writer_features.clone().unwrap();
    assert_eq!(features, ["appendOnly", "invariants", "domainMetadata"]);
    table.alter().add_feature("v2Checkpoint").await.unwrap();
    let protocol = table.snapshot().protocol().clone();
    assert_eq!(
        (protocol.min_reader_version, protocol.min_writer_version),
        (3, 7)
    );
    let again = table.alter().add_feature("v2Checkpoint").await.unwrap();
    assert_eq!(again.status, headwater::CommitStatus::Unchanged);
    let unknown = table.alter().add_feature("warpDrive").await.unwrap_err();
    assert_eq!(unknown.context_value("feature"), Some("warpDrive"));
}

#[tokio::test]
async fn columns_are_added_commented_and_become_nullable() {
    let store = Faulty::default();
    let table = mapped(&store).await;
    table
        .append(rows(["id", "part", "s"], 1, "a"))
        .await
        .unwrap();
    let field = Field::new("z", DataType::LONG, true);
    let alter = table
        .alter()
        .add_field("s", field.clone())
        .comment("s.x", Some("ten times"));
    alter
        .drop_not_null("id")
        .describe(Some("numbers"))
        .await
        .unwrap();
    let snapshot = table.snapshot();
    assert!(snapshot.schema().field("id").unwrap().nullable);
    assert_eq!(snapshot.metadata().description.as_deref(), Some("numbers"));
    assert!(snapshot.metadata().schema_string.contains("ten times"));
    let batch = snapshot
        .scan()
        .filter_sql("s.z IS NULL AND s.x = 10")
        .unwrap();
    assert_eq!(batch.collect().await.unwrap()[0].num_rows(), 1);
    let twice = table.alter().add_field("s", field).await.unwrap_err();
    assert_eq!(twice.context_value("column"), Some("z"));
    let not_null = Field::new("n", DataType::LONG, false);
    let refused = table.alter().add_column(not_null).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidSchema);
    let history = snapshot.history(1).await.unwrap();
    assert_eq!(history[0].info.operation.as_deref(), Some("ALTER TABLE"));
}

/// P15: of creators at once, one creates and the others go on with its table.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn p15_of_creators_at_once_one_creates_and_the_others_open() {
    let store = Faulty::default();
    let mut creators = Vec::new();
    for id in 0..8 {
        let store = store.clone();
        creators.push(tokio::spawn(async move {
            let create = Table::create_in(storage(&store), Environment::system(), id_schema());
            let table = create.or_open().await.unwrap();
            table.append(ids([id])).await.unwrap();
            table.snapshot().metadata().id.clone()
        }));
    }
    let mut tables = std::collections::BTreeSet::new();
    for creator in creators {
        tables.insert(creator.await.unwrap());
    }
    assert_eq!(tables.len(), 1);
    let table = open(&store).await.unwrap();
    assert_eq!(
        ids_of(&table.snapshot()).await.unwrap(),
        (0..8).collect::<Vec<_>>()
    );
}
