//! The doctor finds what was planted, and nothing in a table that is sound. Fault ids are in the names.

mod deeper;

use std::sync::Arc;

use headwater::arrow_array::{Int64Array, RecordBatch, StringArray};
use headwater::environment::Environment;
use headwater::predicate::col;
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::{Doctor, Grade, Report, Table};
use object_store::path::Path;
use serde_json::{Value, json};

use crate::support::store::Faulty;
use crate::support::{commit_key, storage};

async fn examine(store: &Faulty) -> Report {
    Doctor::of(storage(store)).read_rows().await.unwrap()
}

/// What was found, as grade and code.
async fn found(store: &Faulty) -> Vec<(Grade, &'static str)> {
    examine(store)
        .await
        .findings
        .iter()
        .map(|finding| (finding.grade, finding.code))
        .collect()
}

async fn assert_finds(store: &Faulty, grade: Grade, code: &str) {
    let report = examine(store).await;
    let hit = report
        .findings
        .iter()
        .any(|finding| (finding.grade, finding.code) == (grade, code));
    assert!(hit, "{grade:?} {code} is not in {report:#?}");
    assert_eq!(
        report.keeps_rows(),
        report
            .findings
            .iter()
            .all(|finding| finding.grade != Grade::Rows)
    );
}

fn schema() -> Schema {
    Schema::new([
        Field::new("id", DataType::LONG, true),
        Field::new("v", DataType::STRING, true),
    ])
    .unwrap()
}

fn rows(ids: std::ops::Range<i64>) -> RecordBatch {
    let texts: Vec<String> = ids.clone().map(|id| format!("v{}", id % 2)).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(Int64Array::from_iter_values(ids)) as _, true),
        ("v", Arc::new(StringArray::from(texts)) as _, true),
    ])
    .unwrap()
}

/// A table of five versions: three appends, a deletion by vector, an append; a transaction and a domain.
async fn sound(store: &Faulty) -> Table {
    let table = Table::create_in(storage(store), Environment::system(), schema())
        .feature("deletionVectors")
        .feature("domainMetadata")
        .property("delta.enableDeletionVectors", "true")
        .partition_by(["v"])
        .await
        .unwrap();
    for start in [0, 10, 20] {
        table
            .append(rows(start..start + 6))
            .exactly_once("loader", start)
            .await
            .unwrap();
    }
    table.delete(col("id").eq(11)).await.unwrap();
    table.append(rows(30..33)).await.unwrap();
    table.close().await;
    table
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn commit(store: &Faulty, version: u64) -> Vec<Value> {
    json_lines(std::str::from_utf8(&store.bytes(&commit_key(version)).await).unwrap())
}

/// Writes a commit anew, with another number of lines if need be.
async fn rewrite(store: &Faulty, version: u64, mut actions: Vec<Value>) {
    let count = actions.len();
    for action in &mut actions {
        if let Some(info) = action.get_mut("commitInfo") {
            info["headwater.actions"] = json!(count);
        }
    }
    let lines: Vec<String> = actions.iter().map(Value::to_string).collect();
    store.place(&commit_key(version), lines.join("\n")).await;
}

/// Changes the adds of a commit.
async fn change_adds(store: &Faulty, version: u64, change: impl Fn(&mut Value)) {
    let mut actions = commit(store, version).await;
    actions
        .iter_mut()
        .filter_map(|action| action.get_mut("add"))
        .for_each(change);
    rewrite(store, version, actions).await;
}

fn with_stats(add: &mut Value, change: impl Fn(&mut Value)) {
    let mut stats: Value = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
    change(&mut stats);
    add["stats"] = json!(stats.to_string());
}

/// The key of a data file of a commit.
async fn data_key(store: &Faulty, version: u64) -> Path {
    let actions = commit(store, version).await;
    let add = actions
        .iter()
        .find_map(|action| action["add"]["path"].as_str())
        .unwrap();
    Path::parse(format!("table/{add}")).unwrap()
}

fn log(name: &str) -> Path {
    Path::from(format!("table/_delta_log/{name}"))
}

fn checkpoint(version: u64) -> Path {
    log(&format!("{version:020}.checkpoint.parquet"))
}

#[tokio::test]
async fn a_sound_table_has_no_findings() {
    let store = Faulty::default();
    let table = sound(&store).await;
    assert_eq!(found(&store).await, []);
    table.checkpoint().await.unwrap();
    let report = examine(&store).await;
    assert_eq!(report.findings, []);
    assert_eq!(
        (report.version, report.commits, report.checkpoints),
        (Some(5), 6, 1)
    );
    assert!(6 < report.files);
    // Anchored at the checkpoint alone, it is sound, too.
    for version in 0..5 {
        store.remove(&commit_key(version)).await;
    }
    table.append(rows(40..41)).await.unwrap();
    assert_eq!(found(&store).await, []);
}

#[tokio::test]
async fn b_1_a_gap_in_the_middle() {
    let store = Faulty::default();
    sound(&store).await;
    store.remove(&commit_key(3)).await;
    assert_finds(&store, Grade::Rows, "log_gap").await;
    assert_finds(&store, Grade::Rows, "no_anchor").await;
}

#[tokio::test]
async fn b_2_a_gap_right_after_a_checkpoint() {
    let store = Faulty::default();
    let table = sound(&store).await;
    table.checkpoint().await.unwrap();
    for start in [40, 50] {
        table.append(rows(start..start + 1)).await.unwrap();
    }
    store.remove(&commit_key(6)).await;
    assert_finds(&store, Grade::Rows, "log_gap").await;
    // Before the checkpoint a gap costs old versions only.
    let store = Faulty::default();
    sound(&store).await.checkpoint().await.unwrap();
    store.remove(&commit_key(2)).await;
    assert_finds(&store, Grade::Damage, "log_gap").await;
    assert!(examine(&store).await.keeps_rows());
}

#[tokio::test]
async fn b_3_no_version_0_and_no_checkpoint() {
    let store = Faulty::default();
    sound(&store).await;
    store.remove(&commit_key(0)).await;
    assert_finds(&store, Grade::Rows, "no_anchor").await;
    let nothing = Faulty::default();
    assert_finds(&nothing, Grade::Rows, "no_table").await;
}

#[tokio::test]
async fn b_4_an_empty_commit() {
    let store = Faulty::default();
    sound(&store).await;
    store.place(&commit_key(5), "").await;
    assert_finds(&store, Grade::Rows, "corrupt_commit").await;
}

#[tokio::test]
async fn b_5_a_torn_commit() {
    for cut_at_line in [false, true] {
        let store = Faulty::default();
        sound(&store).await;
        let text = String::from_utf8(store.bytes(&commit_key(5)).await.to_vec()).unwrap();
        let text = text.trim_end();
        let end = if cut_at_line {
            text.rfind('\n').unwrap()
        } else {
            text.len() - 10
        };
        store.place(&commit_key(5), text[..end].to_owned()).await;
        assert_finds(&store, Grade::Rows, "corrupt_commit").await;
    }
}

#[tokio::test]
async fn b_6_a_hint_that_names_no_checkpoint() {
    let store = Faulty::default();
    sound(&store).await.checkpoint().await.unwrap();
    store.remove(&checkpoint(5)).await;
    assert_finds(&store, Grade::Note, "hint").await;
    assert!(examine(&store).await.keeps_rows());
}

#[tokio::test]
async fn b_7_a_hint_that_is_garbage() {
    let store = Faulty::default();
    sound(&store).await.checkpoint().await.unwrap();
    store.place(&log("_last_checkpoint"), "{\"version\":").await;
    assert_eq!(found(&store).await, [(Grade::Note, "hint")]);
}

#[tokio::test]
async fn b_8_a_truncated_checkpoint() {
    let store = Faulty::default();
    sound(&store).await.checkpoint().await.unwrap();
    let bytes = store.bytes(&checkpoint(5)).await;
    store
        .place(&checkpoint(5), bytes.slice(..bytes.len() / 2))
        .await;
    assert_finds(&store, Grade::Damage, "corrupt_checkpoint").await;
    assert!(
        examine(&store).await.keeps_rows(),
        "the commits carry the table"
    );
    for version in 0..5 {
        store.remove(&commit_key(version)).await;
    }
    assert_finds(&store, Grade::Rows, "no_anchor").await;
}

/// A checkpoint of another state in place of the right one.
async fn replace_checkpoint(store: &Faulty, version: u64, change: impl AsyncFnOnce(&Faulty)) {
    let other = Faulty::default();
    for path in store.paths().await {
        other
            .place(
                &Path::parse(&path).unwrap(),
                store.bytes(&Path::parse(&path).unwrap()).await,
            )
            .await;
    }
    change(&other).await;
    let table = Table::open_in(storage(&other), Environment::system())
        .await
        .unwrap();
    assert_eq!(table.checkpoint().await.unwrap(), version);
    store
        .place(
            &checkpoint(version),
            other.bytes(&checkpoint(version)).await,
        )
        .await;
}

#[tokio::test]
async fn b_9_a_checkpoint_that_lacks_files() {
    let store = Faulty::default();
    sound(&store).await;
    replace_checkpoint(&store, 5, async |other| {
        let actions = commit(other, 5)
            .await
            .into_iter()
            .filter(|action| action["add"].is_null())
            .collect();
        rewrite(other, 5, actions).await;
    })
    .await;
    assert_finds(&store, Grade::Rows, "checkpoint_differs").await;
}

#[tokio::test]
async fn b_10_a_checkpoint_of_several_parts_that_lacks_one() {
    let store = Faulty::default();
    sound(&store).await.checkpoint().await.unwrap();
    let bytes = store.bytes(&checkpoint(5)).await;
    store
        .place(
            &log(&format!("{:020}.checkpoint.{:010}.{:010}.parquet", 5, 1, 2)),
            bytes,
        )
        .await;
    assert_eq!(
        found(&store).await,
        [(Grade::Note, "incomplete_checkpoint")]
    );
}

#[tokio::test]
async fn b_11_a_hint_that_is_behind() {
    let store = Faulty::default();
    let table = sound(&store).await;
    table.checkpoint().await.unwrap();
    let hint = store.bytes(&log("_last_checkpoint")).await;
    table.append(rows(40..41)).await.unwrap();
    table.checkpoint().await.unwrap();
    store.place(&log("_last_checkpoint"), hint).await;
    assert_eq!(found(&store).await, [(Grade::Note, "hint")]);
}

#[tokio::test]
async fn b_14_a_checkpoint_that_drops_a_transaction() {
    let store = Faulty::default();
    sound(&store).await;
    replace_checkpoint(&store, 5, async |other| {
        for version in 1..4 {
            let actions = commit(other, version)
                .await
                .into_iter()
                .filter(|action| action["txn"].is_null())
                .collect();
            rewrite(other, version, actions).await;
        }
    })
    .await;
    assert_finds(&store, Grade::Rows, "checkpoint_differs").await;
}

#[tokio::test]
async fn b_14_a_checkpoint_that_drops_a_domain() {
    let store = Faulty::default();
    sound(&store).await;
    let mut actions = commit(&store, 5).await;
    actions.push(
        json!({"domainMetadata": {"domain": "mine", "configuration": "{}", "removed": false}}),
    );
    let without = actions[..actions.len() - 1].to_vec();
    rewrite(&store, 5, actions).await;
    assert_eq!(found(&store).await, []);
    replace_checkpoint(&store, 5, async |other| rewrite(other, 5, without).await).await;
    assert_eq!(found(&store).await, [(Grade::Damage, "checkpoint_differs")]);
}

#[tokio::test]
async fn b_14_a_checkpoint_that_drops_a_tombstone() {
    let store = Faulty::default();
    sound(&store).await;
    let actions = commit(&store, 4).await;
    assert!(
        actions.iter().any(|action| !action["remove"].is_null()),
        "the deletion left a tombstone"
    );
    replace_checkpoint(&store, 5, async |other| {
        let mut actions = actions.clone();
        for action in actions
            .iter_mut()
            .filter(|action| !action["remove"].is_null())
        {
            // Expired long ago.
            action["remove"]["deletionTimestamp"] = json!(1);
        }
        rewrite(other, 4, actions).await;
    })
    .await;
    assert_eq!(found(&store).await, [(Grade::Damage, "checkpoint_differs")]);
}

#[tokio::test]
async fn b_14_a_checkpoint_with_another_protocol_or_schema() {
    for changed in ["protocol", "metaData"] {
        let store = Faulty::default();
        sound(&store).await;
        replace_checkpoint(&store, 5, async |other| {
            let mut actions = commit(other, 0).await;
            for action in &mut actions {
                if changed == "protocol" && !action["protocol"].is_null() {
                    action["protocol"]["writerFeatures"]
                        .as_array_mut()
                        .unwrap()
                        .push(json!("clustering"));
                }
                if changed == "metaData" && !action["metaData"].is_null() {
                    action["metaData"]["configuration"]["delta.appendOnly"] = json!("true");
                }
            }
            rewrite(other, 0, actions).await;
        })
        .await;
        assert_finds(&store, Grade::Rows, "checkpoint_differs").await;
    }
}

#[tokio::test]
async fn b_17_two_metadata_actions_in_one_commit() {
    let store = Faulty::default();
    sound(&store).await;
    let mut actions = commit(&store, 0).await;
    let metadata = actions
        .iter()
        .find(|action| !action["metaData"].is_null())
        .unwrap()
        .clone();
    actions.push(metadata);
    rewrite(&store, 0, actions).await;
    assert_finds(&store, Grade::Rows, "corrupt_commit").await;
}

#[tokio::test]
async fn b_19_a_checksum_that_disagrees() {
    let store = Faulty::default();
    sound(&store).await;
    let sums = json!({"tableSizeBytes": 1, "numFiles": 99, "numMetadata": 1, "numProtocol": 1});
    store
        .place(&log(&format!("{:020}.crc", 5)), sums.to_string())
        .await;
    let report = examine(&store).await;
    let codes: Vec<_> = report
        .findings
        .iter()
        .map(|finding| (finding.grade, finding.code))
        .collect();
    assert_eq!(codes, [(Grade::Damage, "checksum_differs"); 2]);
    store.place(&log(&format!("{:020}.crc", 5)), "{").await;
    assert_eq!(found(&store).await, [(Grade::Note, "checksum")]);
}

#[tokio::test]
async fn a_file_that_is_live_twice() {
    let store = Faulty::default();
    sound(&store).await;
    // The deletion by vector without the removal of the file as it was.
    let actions = commit(&store, 4)
        .await
        .into_iter()
        .filter(|action| action["remove"].is_null())
        .collect();
    rewrite(&store, 4, actions).await;
    assert_finds(&store, Grade::Rows, "doubled_file").await;
}

#[tokio::test]
async fn two_tables_that_were_mixed() {
    let store = Faulty::default();
    sound(&store).await;
    let mut metadata = commit(&store, 0)
        .await
        .into_iter()
        .find(|action| !action["metaData"].is_null())
        .unwrap();
    metadata["metaData"]["id"] = json!("another");
    let mut actions = commit(&store, 5).await;
    actions.push(metadata);
    rewrite(&store, 5, actions).await;
    assert_finds(&store, Grade::Rows, "mixed_tables").await;
}

#[tokio::test]
async fn e_5_a_path_that_is_escaped_once_too_often() {
    let store = Faulty::default();
    sound(&store).await;
    let key = data_key(&store, 5).await;
    let bytes = store.bytes(&key).await;
    // On disk the name has a percent sign; in the log that sign is not escaped.
    store
        .place(&Path::parse("table/a%20b.parquet").unwrap(), bytes.clone())
        .await;
    let path = key.as_ref().strip_prefix("table/").unwrap().to_owned();
    change_adds(&store, 5, |add| {
        if add["path"] == json!(path) {
            add["path"] = json!("a%20b.parquet");
        }
    })
    .await;
    let report = examine(&store).await;
    assert!(
        report
            .findings
            .iter()
            .any(|it| it.code == "missing_file" && it.message.contains("URI")),
        "{report:#?}"
    );
}

#[tokio::test]
async fn f_4_a_deletion_vector_that_was_flipped() {
    let store = Faulty::default();
    sound(&store).await;
    change_adds(&store, 4, |add| {
        let text = add["deletionVector"]["pathOrInlineDv"]
            .as_str()
            .unwrap()
            .to_owned();
        let last = if text.ends_with('0') { '1' } else { '0' };
        add["deletionVector"]["pathOrInlineDv"] = json!(format!("{last}{}", &text[1..]));
    })
    .await;
    assert_finds(&store, Grade::Rows, "deletion_vector").await;
}

#[tokio::test]
async fn a_deletion_vector_of_another_cardinality() {
    let store = Faulty::default();
    sound(&store).await;
    change_adds(&store, 4, |add| {
        add["deletionVector"]["cardinality"] = json!(2)
    })
    .await;
    assert_finds(&store, Grade::Rows, "deletion_vector").await;
}

#[tokio::test]
async fn f_5_a_file_of_another_size() {
    let store = Faulty::default();
    sound(&store).await;
    let key = data_key(&store, 5).await;
    let bytes = store.bytes(&key).await;
    store.place(&key, bytes.slice(..bytes.len() - 1)).await;
    assert_finds(&store, Grade::Rows, "file_size").await;
}

#[tokio::test]
async fn f_6_a_file_that_is_missing() {
    let store = Faulty::default();
    sound(&store).await;
    store.remove(&data_key(&store, 5).await).await;
    assert_finds(&store, Grade::Rows, "missing_file").await;
}

#[tokio::test]
async fn f_7_a_file_that_was_changed_in_place() {
    let store = Faulty::default();
    sound(&store).await;
    let key = data_key(&store, 5).await;
    let mut bytes = store.bytes(&key).await.to_vec();
    // In the data, behind the magic bytes: the footer stays what it was.
    bytes[40] ^= 1;
    store.place(&key, bytes.clone()).await;
    assert_finds(&store, Grade::Rows, "changed_file").await;
    let footer = bytes.len() - 20;
    bytes[footer] ^= 0xff;
    store.place(&key, bytes).await;
    assert!(!examine(&store).await.keeps_rows());
}

#[tokio::test]
async fn f_9_a_number_of_rows_that_is_not_the_files() {
    let store = Faulty::default();
    sound(&store).await;
    change_adds(&store, 5, |add| {
        with_stats(add, |stats| stats["numRecords"] = json!(77))
    })
    .await;
    assert_finds(&store, Grade::Damage, "row_count").await;
}

#[tokio::test]
async fn h_6_numbers_that_are_negative() {
    let store = Faulty::default();
    sound(&store).await;
    change_adds(&store, 5, |add| add["size"] = json!(-1)).await;
    assert_finds(&store, Grade::Rows, "corrupt_commit").await;
}

#[tokio::test]
async fn h_7_statistics_that_contradict_themselves() {
    let changes: [fn(&mut Value); 4] = [
        |stats| stats["minValues"]["id"] = json!(1000),
        |stats| stats["nullCount"]["id"] = json!(1000),
        |stats| stats["maxValues"]["id"] = json!("much"),
        |stats| stats["nullCount"]["id"] = json!("none"),
    ];
    for change in changes {
        let store = Faulty::default();
        sound(&store).await;
        change_adds(&store, 5, |add| with_stats(add, change)).await;
        assert_finds(&store, Grade::Damage, "statistics").await;
    }
    let store = Faulty::default();
    sound(&store).await;
    change_adds(&store, 5, |add| add["stats"] = json!("{")).await;
    assert_finds(&store, Grade::Damage, "statistics").await;
}

#[tokio::test]
async fn statistics_that_rows_contradict() {
    let changes: [fn(&mut Value); 3] = [
        |stats| stats["maxValues"]["id"] = json!(30),
        |stats| stats["minValues"]["id"] = json!(32),
        |stats| stats["nullCount"]["id"] = stats["numRecords"].clone(),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let store = Faulty::default();
        sound(&store).await;
        change_adds(&store, 5, |add| {
            with_stats(add, |stats| {
                let (min, max) = (
                    stats["minValues"]["id"].clone(),
                    stats["maxValues"]["id"].clone(),
                );
                change(stats);
                if index < 2
                    && stats["minValues"]["id"].as_i64() > stats["maxValues"]["id"].as_i64()
                {
                    // This file does not reach that far.
                    stats["minValues"]["id"] = min;
                    stats["maxValues"]["id"] = max;
                }
            });
        })
        .await;
        assert_finds(&store, Grade::Rows, "stale_statistics").await;
        let shallow = Doctor::of(storage(&store)).await.unwrap();
        assert_eq!(shallow.findings, [], "rows are read only on request");
    }
}

#[tokio::test]
async fn h_1_a_path_that_leads_out_of_the_table() {
    for path in [
        "../secret.parquet",
        "file:///etc/passwd",
        "a/%2e%2e/b.parquet",
    ] {
        let store = Faulty::default();
        sound(&store).await;
        change_adds(&store, 5, |add| {
            add["path"] = json!(format!("{path}{}", add["size"]))
        })
        .await;
        assert_finds(&store, Grade::Rows, "unsafe_path").await;
        let report = examine(&store).await;
        let told = report
            .findings
            .iter()
            .any(|finding| finding.to_string().contains("secret"));
        assert!(!told, "{report:#?}");
    }
}

#[tokio::test]
async fn h_11_a_partition_value_that_is_not_of_its_type() {
    let store = Faulty::default();
    let schema = Schema::new([Field::new("id", DataType::LONG, true)]).unwrap();
    let create = Table::create_in(storage(&store), Environment::system(), schema);
    let table = create.partition_by(["id"]).await;
    // Some column must be left for the files.
    assert!(table.is_err());
    let schema = Schema::new([
        Field::new("id", DataType::LONG, true),
        Field::new("v", DataType::STRING, true),
    ]);
    let create = Table::create_in(storage(&store), Environment::system(), schema.unwrap());
    let table = create.partition_by(["id"]).await.unwrap();
    table.append(rows(0..2)).await.unwrap();
    change_adds(&store, 1, |add| {
        add["partitionValues"]["id"] = json!("seven")
    })
    .await;
    assert_finds(&store, Grade::Rows, "partition_value").await;
    change_adds(&store, 1, |add| add["partitionValues"] = json!({})).await;
    assert_finds(&store, Grade::Damage, "partition_value").await;
}

#[tokio::test]
async fn in_commit_timestamps_that_do_not_grow() {
    let store = Faulty::default();
    let table = Table::create_in(storage(&store), Environment::system(), schema())
        .property("delta.enableInCommitTimestamps", "true")
        .await
        .unwrap();
    for start in [0, 10] {
        table.append(rows(start..start + 1)).await.unwrap();
    }
    assert_eq!(found(&store).await, []);
    let mut actions = commit(&store, 2).await;
    actions[0]["commitInfo"]["inCommitTimestamp"] = json!(5);
    rewrite(&store, 2, actions.clone()).await;
    assert_eq!(found(&store).await, [(Grade::Damage, "commit_time")]);
    actions[0]["commitInfo"]
        .as_object_mut()
        .unwrap()
        .remove("inCommitTimestamp");
    rewrite(&store, 2, actions).await;
    assert_eq!(found(&store).await, [(Grade::Damage, "commit_time")]);
}
