//! Exit codes, and one line of error.

use crate::{Folder, done, failed, run, table};

#[test]
fn a_wrong_call_is_2_and_a_failure_is_1() {
    let folder = Folder::new("wrong");
    let table = table(&folder);
    for usage in [
        &["nonsense"][..],
        &["scan"],
        &["create", "x"],
        &["scan", &table, "--version", "x"],
        &["append", &table],
    ] {
        assert_eq!(run(usage).status.code(), Some(2), "{usage:?}");
    }
    assert!(failed(&["scan", &folder.path("nothing")]).contains("no table"));
    assert!(
        failed(&["create", &table, "--schema", &folder.path("schema.json")]).contains("exists")
    );
    assert!(failed(&["append", &table, &folder.path("missing.csv")]).contains("missing.csv"));
    let odd = folder.file("rows.xyz", "1");
    assert!(failed(&["append", &table, &odd]).contains("ending"));
    let null = folder.file("null.ndjson", "{\"name\":\"no id\"}\n");
    assert!(failed(&["append", &table, &null]).contains("id"));
    let unknown = folder.file("unknown.ndjson", "{\"id\":1,\"surprise\":2}\n");
    assert!(failed(&["append", &table, &unknown]).contains("surprise"));
    assert_eq!(
        done(&["scan", &table, "--format", "ndjson"]),
        "",
        "nothing of it was appended"
    );
    assert!(failed(&["info", "s3://bucket/table"]).contains("s3"));
}
