//! Changing what a table is: columns, properties, constraints, features.

use std::sync::Arc;

use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::Int64Type;
use headwater::arrow_array::{Array, Int64Array, RecordBatch, StringArray, StructArray};
use headwater::environment::Environment;
use headwater::predicate::col;
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

/// A table of two columns of numbers, with column mapping.
async fn pairs(store: &Faulty) -> Table {
    let schema = Schema::new([
        Field::new("a", DataType::LONG, true),
        Field::new("b", DataType::LONG, true),
    ]);
    Table::create_in(storage(store), Environment::system(), schema.unwrap())
        .property("delta.columnMapping.mode", "name")
        .await
        .unwrap()
}

fn pair(a: i64, b: i64) -> RecordBatch {
    RecordBatch::try_from_iter([
        ("a", Arc::new(Int64Array::from(vec![a])) as _),
        ("b", Arc::new(Int64Array::from(vec![b])) as _),
    ])
    .unwrap()
}

/// CHECK Constraints: the rows are held against the columns as all changes of the alter leave them.
#[tokio::test]
async fn a_constraint_is_checked_on_the_columns_of_the_same_alter() {
    for (a, b, fits) in [(-1, 5, true), (5, -1, false)] {
        let store = Faulty::default();
        let table = pairs(&store).await;
        table.append(pair(a, b)).await.unwrap();
        let alter = table.alter().rename_column("a", "old");
        let alter = alter.rename_column("b", "a").add_constraint("c", "a > 0");
        let done = alter.await;
        if fits {
            done.unwrap();
            let refused = table.append(pair(-1, 1)).await.unwrap_err();
            assert_eq!(refused.code(), Code::RowsRejected);
        } else {
            let refused = done.unwrap_err();
            assert_eq!(refused.code(), Code::RowsRejected, "{refused}");
            assert_eq!(refused.context_value("rows"), Some("1"));
            assert_eq!(table.refresh().await.unwrap().version(), 1);
        }
    }
    let store = Faulty::default();
    let table = pairs(&store).await;
    table.append(pair(1, 2)).await.unwrap();
    let x = || Field::new("x", DataType::LONG, true);
    let strict = table.alter().add_column(x()).add_constraint("c", "x > 0");
    let refused = strict.await.unwrap_err();
    assert_eq!(refused.code(), Code::RowsRejected, "{refused}");
    let lenient = table.alter().add_column(x());
    let lenient = lenient.add_constraint("c", "x IS NULL OR x > 0");
    lenient.await.unwrap();
    table.append(pair(3, 4)).await.unwrap();
}

/// What every writer would refuse from then on is refused when it is added.
#[tokio::test]
async fn a_constraint_that_writers_read_differently_is_not_added() {
    let store = Faulty::default();
    let schema = Schema::new([
        Field::new("id", DataType::LONG, true),
        Field::new("s", DataType::STRING, true),
    ]);
    let table = Table::create_in(storage(&store), Environment::system(), schema.unwrap());
    let table = table.await.unwrap();
    for text in [r#""id" > 0"#, r"s <> 'a\b'"] {
        let refused = table.alter().add_constraint("c", text).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported, "{text}: {refused}");
        assert_eq!(refused.context_value("constraint"), Some("c"));
    }
    assert_eq!(table.refresh().await.unwrap().version(), 0);
    let plain = table
        .alter()
        .add_constraint("c", "`id` > 0 AND s <> 'a\"b'");
    plain.await.unwrap();
    let id = Arc::new(Int64Array::from(vec![1])) as _;
    let s = Arc::new(StringArray::from(vec!["x"])) as _;
    let row = RecordBatch::try_from_iter([("id", id), ("s", s)]).unwrap();
    table.append(row).await.unwrap();
}

#[tokio::test]
async fn a_constraint_that_is_dropped_holds_no_longer() {
    let store = Faulty::default();
    let table = create(&store).await;
    table
        .alter()
        .add_constraint("Positive", "id > 0")
        .await
        .unwrap();
    let refused = table.append(ids([-1])).await.unwrap_err();
    assert_eq!(refused.code(), Code::RowsRejected);
    let unknown = table.alter().drop_constraint("other").await.unwrap_err();
    assert_eq!(unknown.context_value("constraint"), Some("other"));
    table.alter().drop_constraint("POSITIVE").await.unwrap();
    table.append(ids([-1])).await.unwrap();
    let table = open(&store).await.unwrap();
    let snapshot = table.snapshot();
    let mut properties = snapshot.metadata().configuration.keys();
    assert!(!properties.any(|key| key.starts_with("delta.constraints.")));
    assert_eq!(ids_of(&snapshot).await.unwrap(), [-1]);
}

/// Rows that come while a constraint is added are held against it, too.
#[tokio::test]
async fn a_constraint_that_loses_to_an_append_is_checked_again() {
    for (id, breaks) in [(5, false), (-5, true)] {
        let store = Faulty::default();
        let table = create(&store).await;
        table.append(ids([1])).await.unwrap();
        let others = store.clone();
        store.before_put("00000000000000000002.json", async move {
            let table = open(&others).await.unwrap();
            table.append(ids([id])).await.unwrap();
        });
        let done = table.alter().add_constraint("positive", "id > 0").await;
        let newest = table.refresh().await.unwrap();
        let constraint = "delta.constraints.positive";
        let has_constraint = newest.metadata().configuration.contains_key(constraint);
        assert_eq!(has_constraint, !breaks);
        if breaks {
            let refused = done.unwrap_err();
            assert_eq!(refused.code(), Code::RowsRejected, "{refused}");
            assert_eq!(refused.context_value("rows"), Some("1"));
        } else {
            // The new rows are all within the constraint, by their statistics: nothing is planned twice.
            assert_eq!(done.unwrap().version, 3);
            let info = &newest.history(1).await.unwrap()[0].info;
            assert_eq!(info.read_version, Some(1));
        }
    }
}

/// A change of rows that loses to a change of the table is planned again under the new rules.
#[tokio::test]
async fn changes_of_rows_that_lose_to_an_alter_obey_it() {
    for kind in ["property", "constraint", "column"] {
        let store = Faulty::default();
        let table = create(&store).await;
        table.append(ids([1, 2, 3])).await.unwrap();
        let others = store.clone();
        store.before_put("00000000000000000002.json", async move {
            let table = open(&others).await.unwrap();
            let alter = table.alter();
            let alter = match kind {
                "property" => alter.set_property("delta.enableDeletionVectors", "true"),
                "constraint" => alter.add_constraint("small", "id < 10"),
                _ => alter.add_column(Field::new("x", DataType::LONG, true)),
            };
            alter.await.unwrap();
        });
        let update = table.update().set("id", col("id") * 10_i64);
        let done = update.filter(col("id").lt(3)).await;
        let newest = table.refresh().await.unwrap();
        let found = ids_of(&newest).await.unwrap();
        if kind == "constraint" {
            assert_eq!(done.unwrap_err().code(), Code::RowsRejected);
            assert_eq!(found, [1, 2, 3]);
            continue;
        }
        assert_eq!(done.unwrap().version, 3);
        assert_eq!(found, [3, 10, 20]);
        let info = &newest.history(1).await.unwrap()[0].info;
        assert_eq!(info.read_version, Some(2));
        let marks = info.operation_metrics.as_ref().unwrap()["numDeletionVectorsAdded"].text();
        assert_eq!(marks, if kind == "property" { "\"1\"" } else { "\"0\"" });
    }
}

/// Column Mapping: a schema that rows bring keeps the columns that stay, and never uses an id or a name again.
#[tokio::test]
async fn the_schema_of_a_mapped_table_is_replaced() {
    let store = Faulty::default();
    let table = pairs(&store).await;
    table.append(pair(1, 2)).await.unwrap();
    let mapping = |table: &Table, name: &str| -> (String, String) {
        let schema = Schema::clone(table.snapshot().schema());
        let note = |key: &str| {
            let key = format!("delta.columnMapping.{key}");
            schema.field(name).unwrap().metadata[&key].text().to_owned()
        };
        (note("id"), note("physicalName"))
    };
    let (a, b) = (mapping(&table, "a"), mapping(&table, "b"));
    table.overwrite(pair(3, 4)).replace_schema().await.unwrap();
    assert_eq!(
        (mapping(&table, "a"), mapping(&table, "b")),
        (a.clone(), b.clone())
    );
    let other = RecordBatch::try_from_iter([
        (
            "b",
            Arc::new(StringArray::from(vec!["x"])) as Arc<dyn Array>,
        ),
        ("c", Arc::new(Int64Array::from(vec![7])) as _),
        ("a", Arc::new(Int64Array::from(vec![5])) as _),
    ]);
    let replaced = table.overwrite(other.unwrap()).replace_schema();
    replaced.await.unwrap();
    let table = open(&store).await.unwrap();
    let names = table.snapshot().schema().fields().to_vec();
    let names: Vec<&str> = names.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["b", "c", "a"]);
    assert_eq!(mapping(&table, "a"), a, "the same column");
    let (new_b, new_c) = (mapping(&table, "b"), mapping(&table, "c"));
    for new in [&new_b, &new_c] {
        assert!(new.0 != a.0 && new.0 != b.0 && new.1 != a.1 && new.1 != b.1);
    }
    let snapshot = table.snapshot();
    let max = &snapshot.metadata().configuration["delta.columnMapping.maxColumnId"];
    assert_eq!(max, "4");
    let found = snapshot.scan().filter_sql("a = 5 AND b = 'x' AND c = 7");
    assert_eq!(found.unwrap().collect().await.unwrap()[0].num_rows(), 1);
    let before = table.snapshot_at(2).await.unwrap();
    assert_eq!(longs(&before, "b").await, [Some(4)]);
}
