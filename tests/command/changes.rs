//! Rows and tables are changed.

use serde_json::Value;

use crate::{Folder, PRICES, done, failed, ids_and, run, table};

#[test]
fn rows_are_updated_and_deleted_by_sql() {
    let folder = Folder::new("change");
    let table = table(&folder);
    done(&["append", &table, &folder.file("rows.ndjson", PRICES)]);
    let changed = done(&[
        "update",
        &table,
        "--set",
        "price=price * 2",
        "--set",
        "name = upper(name)",
        "--where",
        "id < 3",
        "--json",
    ]);
    let changed: Value = serde_json::from_str(&changed).unwrap();
    assert_eq!(changed["rows_updated"], 2, "{changed}");
    assert_eq!(
        (&changed["version"], &changed["changed"]),
        (&2.into(), &true.into())
    );
    let prices = ids_and(&table, "price");
    assert_eq!(
        prices,
        [(1, "3.00".into()), (2, "5.00".into()), (3, Value::Null)]
    );
    assert_eq!(ids_and(&table, "name")[0].1, "A");
    let deleted = done(&["delete", &table, "--where", "price > 4 OR day IS NULL"]);
    assert_eq!(
        deleted.trim(),
        "version 3: 0 rows updated, 2 deleted, 0 inserted"
    );
    assert_eq!(ids_and(&table, "name").len(), 1);
    let none = done(&["delete", &table, "--where", "id = 77"]);
    assert_eq!(none.trim(), "version 3: there was nothing to change");
    let error = failed(&["delete", &table, "--where", "nope = 1"]);
    assert!(error.contains("nope"), "{error}");
    let error = failed(&["update", &table, "--set", "id = NULL"]);
    assert!(error.contains("id"), "{error}");
    assert_eq!(ids_and(&table, "name").len(), 1);
}

#[test]
fn a_table_is_altered_and_its_rows_are_held_to_the_new_constraint() {
    let folder = Folder::new("alter");
    let table = table(&folder);
    done(&["append", &table, &folder.file("rows.ndjson", PRICES)]);
    let altered = done(&[
        "alter",
        &table,
        "--add-column",
        "note:string",
        "--add-constraint",
        "small=id < 100",
        "--set",
        "delta.columnMapping.mode=name",
    ]);
    assert_eq!(altered.trim(), "version 2: altered");
    done(&[
        "alter",
        &table,
        "--rename",
        "name=title",
        "--drop-column",
        "note",
    ]);
    assert_eq!(ids_and(&table, "title").len(), 3);
    let error = failed(&["alter", &table, "--add-constraint", "none=id < 2"]);
    assert!(
        error.contains("none") && error.contains("rows: 2"),
        "{error}"
    );
    let many = folder.file("many.ndjson", "{\"id\": 100}\n");
    let error = failed(&["append", &table, &many]);
    assert!(error.contains("small"), "{error}");
    let info = done(&["info", &table, "--json"]);
    let info: Value = serde_json::from_str(info.trim()).unwrap();
    assert_eq!(info["properties"]["delta.constraints.small"], "id < 100");
    for wrong in [
        &["alter", &table][..],
        &["alter", &table, "--add-column", "x:what"],
    ] {
        assert_eq!(run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn rows_are_overwritten_and_files_compacted() {
    let folder = Folder::new("overwrite");
    let table = table(&folder);
    let rows = folder.file("rows.ndjson", PRICES);
    done(&["append", &table, &rows]);
    done(&["append", &table, &rows]);
    let compacted = done(&["compact", &table, "--json"]);
    let compacted: Value = serde_json::from_str(compacted.trim()).unwrap();
    assert_eq!(compacted["rows"], 6, "{compacted}");
    assert_eq!(
        done(&["compact", &table]).trim(),
        "there was nothing to compact"
    );
    let one = folder.file("one.ndjson", "{\"id\": 1}\n");
    let replaced = done(&["overwrite", &table, &one, "--where", "id = 1", "--json"]);
    let replaced: Value = serde_json::from_str(replaced.trim()).unwrap();
    assert_eq!(
        (&replaced["rows_deleted"], &replaced["rows_inserted"]),
        (&2.into(), &1.into())
    );
    let error = failed(&["overwrite", &table, &one, "--where", "id = 2"]);
    assert!(
        error.contains("= 2") && error.contains("rows: 1"),
        "{error}"
    );
    done(&["overwrite", &table, &one]);
    assert_eq!(ids_and(&table, "name"), [(1, Value::Null)]);
}

#[test]
fn rows_of_a_file_are_merged_by_key() {
    let folder = Folder::new("merge");
    let table = table(&folder);
    done(&["append", &table, &folder.file("rows.ndjson", PRICES)]);
    let source = folder.file(
        "source.csv",
        "id,name,price\n2,bb,9.25\n4,d,4.00\n3,gone,\n",
    );
    let merged = done(&[
        "merge",
        &table,
        &source,
        "--on",
        "id",
        "--delete-matched",
        "source.price IS NULL",
        "--update-all",
        "--insert-all",
        "--delete-not-in-source",
        "--json",
    ]);
    let merged: Value = serde_json::from_str(&merged).unwrap();
    let counts =
        ["rows_updated", "rows_deleted", "rows_inserted"].map(|name| merged[name].as_u64());
    assert_eq!(counts, [Some(1), Some(2), Some(1)], "{merged}");
    assert_eq!(
        ids_and(&table, "price"),
        [(2, "9.25".into()), (4, "4.00".into())]
    );
    // Columns that the source lacks stay.
    assert_eq!(
        ids_and(&table, "day"),
        [(2, "2013-06-30".into()), (4, Value::Null)]
    );
    let twice = folder.file("twice.csv", "id,name\n2,x\n2,y\n");
    let error = failed(&[
        "merge",
        &table,
        &twice,
        "--on",
        "id",
        "--set",
        "name=source.name",
    ]);
    assert!(
        error.contains("columns: id") && !error.contains('x'),
        "{error}"
    );
}
