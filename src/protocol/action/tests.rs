use serde_json::{Value, json};

use super::*;
use crate::protocol::golden;

/// One line of a commit, as a reader takes it apart.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Line {
    add: Option<Add>,
    remove: Option<Remove>,
    cdc: Option<AddCdc>,
    meta_data: Option<Metadata>,
    protocol: Option<Protocol>,
    txn: Option<Txn>,
    commit_info: Option<CommitInfo>,
    domain_metadata: Option<DomainMetadata>,
    sidecar: Option<Sidecar>,
    checkpoint_metadata: Option<CheckpointMetadata>,
}

impl Line {
    fn action(self) -> Option<Action> {
        let file = self
            .add
            .map(Action::Add)
            .or(self.remove.map(Action::Remove))
            .or(self.cdc.map(Action::Cdc));
        let table = self
            .meta_data
            .map(Action::Metadata)
            .or(self.protocol.map(Action::Protocol));
        let note = self
            .txn
            .map(Action::Txn)
            .or(self.commit_info.map(Action::CommitInfo));
        let domain = self.domain_metadata.map(Action::DomainMetadata);
        let checkpoint = self
            .sidecar
            .map(Action::Sidecar)
            .or(self.checkpoint_metadata.map(Action::CheckpointMetadata));
        file.or(table).or(note).or(domain).or(checkpoint)
    }
}

fn read(line: &str) -> Option<Action> {
    serde_json::from_str::<Line>(line)
        .unwrap_or_else(|error| panic!("{error}: {line}"))
        .action()
}

/// Whether everything in `part` is in `whole`, too.
fn is_within(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => part.iter().all(|(key, value)| {
            // Absent and null mean the same wherever null is allowed.
            value.is_null() || whole.get(key).is_some_and(|other| is_within(value, other))
        }),
        _ => part == whole,
    }
}

#[test]
fn unknown_fields_survive_per_protocol_evolution() {
    let unknown = json!({"x": 1, "y": {"z": [1.5, null, "s"]}});
    for (name, mut action) in [
        (
            "add",
            json!({"path":"p","partitionValues":{"a":null,"b":"1"},"size":1,"modificationTime":2,"dataChange":true,"stats":"{}","tags":{"t":null}}),
        ),
        (
            "remove",
            json!({"path":"p","deletionTimestamp":5,"dataChange":false,"extendedFileMetadata":true,"partitionValues":{},"size":3}),
        ),
        (
            "metaData",
            json!({"id":"i","format":{"provider":"parquet","options":{}},"schemaString":"{}","partitionColumns":["a"],"configuration":{"k":"v"},"createdTime":7}),
        ),
        (
            "domainMetadata",
            json!({"domain":"d","configuration":"{}","removed":false}),
        ),
        (
            "commitInfo",
            json!({"timestamp":1,"operation":"WRITE","operationParameters":{"mode":"Append","n":"[\"a\"]"},"operationMetrics":{"numFiles":"1"},"isBlindAppend":true,"txnId":"t"}),
        ),
    ] {
        action
            .as_object_mut()
            .unwrap()
            .extend(unknown.as_object().unwrap().clone());
        let line = json!({name: action});
        let written = serde_json::to_value(read(&line.to_string()).unwrap()).unwrap();
        assert_eq!(written, line);
    }
}

#[test]
fn actions_without_room_for_unknown_fields_ignore_them() {
    for line in [
        json!({"protocol":{"minReaderVersion":1,"minWriterVersion":2}}),
        json!({"txn":{"appId":"a","version":1,"lastUpdated":2}}),
        json!({"cdc":{"path":"_change_data/x","partitionValues":{},"size":1,"dataChange":false}}),
        json!({"sidecar":{"path":"x","sizeInBytes":1,"modificationTime":2}}),
        json!({"checkpointMetadata":{"version":1}}),
    ] {
        let mut with_unknown = line.clone();
        let fields = with_unknown
            .as_object_mut()
            .unwrap()
            .values_mut()
            .next()
            .unwrap();
        fields["future"] = json!({"a": 1});
        assert_eq!(
            serde_json::to_value(read(&with_unknown.to_string()).unwrap()).unwrap(),
            line
        );
    }
    assert_eq!(read(r#"{"somethingNew":{"a":1}}"#), None);
}

#[test]
fn absent_and_null_fields_have_their_meaning() {
    let Some(Action::Remove(remove)) =
        read(r#"{"remove":{"path":"p","dataChange":null,"size":null}}"#)
    else {
        panic!()
    };
    assert!(remove.data_change);
    assert_eq!((remove.deletion_timestamp, remove.size), (None, None));
    let add = r#"{"add":{"path":"p","partitionValues":null,"size":1,"modificationTime":1,"dataChange":true,"tags":null,"deletionVector":null}}"#;
    let Some(Action::Add(add)) = read(add) else {
        panic!()
    };
    assert!(add.partition_values.is_empty() && add.tags.is_none() && add.deletion_vector.is_none());
}

/// A reader of numbers that rounds carelessly drifts by one place each time a field is kept.
#[test]
fn b_16_fractions_in_unknown_fields_are_kept_to_the_last_place() {
    for number in [
        "1700000000900000000000",
        "0.1",
        "2.2250738585072014e-308",
        "9007199254740993.5",
    ] {
        let line = format!(r#"{{"commitInfo":{{"txnId":"t","unheardOf":{number}}}}}"#);
        let Some(Action::CommitInfo(info)) = read(&line) else {
            panic!("{line}")
        };
        let expected: f64 = number.parse().unwrap();
        assert_eq!(
            info.unknown["unheardOf"].as_f64(),
            Some(expected),
            "{number}"
        );
    }
}

#[test]
fn provenance_of_any_shape_is_read() {
    let line = r#"{"commitInfo":{"timestamp":"yesterday","operation":5,"operationParameters":["x"],
        "operationMetrics":{"a":12345678901234567890123,"b":"1"},"isBlindAppend":"no","txnId":"t","inCommitTimestamp":9,
        "readVersion":null}}"#;
    let Some(Action::CommitInfo(info)) = read(line) else {
        panic!()
    };
    assert_eq!(
        (
            info.timestamp,
            info.operation.as_ref(),
            info.is_blind_append
        ),
        (None, None, None)
    );
    assert!(
        info.is_of("t")
            && info.in_commit_timestamp == Some(9)
            && info.operation_parameters.is_none()
    );
    assert_eq!(
        info.operation_metrics.unwrap()["a"].text(),
        "12345678901234567890123"
    );
    assert!(
        serde_json::from_str::<Line>(r#"{"commitInfo":{"inCommitTimestamp":"soon"}}"#).is_err()
    );
}

#[test]
fn h_6_numbers_beyond_64_bits_are_errors() {
    for number in [
        "9223372036854775808",
        "-9223372036854775809",
        "1e3",
        "1.0",
        "\"1\"",
        "null",
        "1e400",
    ] {
        let add = format!(
            r#"{{"add":{{"path":"p","partitionValues":{{}},"size":{number},"modificationTime":1,"dataChange":true}}}}"#
        );
        assert!(serde_json::from_str::<Line>(&add).is_err(), "{number}");
        let txn = format!(r#"{{"txn":{{"appId":"p","version":{number}}}}}"#);
        assert!(serde_json::from_str::<Line>(&txn).is_err(), "{number}");
    }
    assert!(
        serde_json::from_str::<Line>(
            r#"{"protocol":{"minReaderVersion":2147483648,"minWriterVersion":1}}"#
        )
        .is_err()
    );
}

#[test]
fn actions_of_other_writers_survive_reading_and_writing() {
    let Some(lines) = golden::log_lines() else {
        return;
    };
    let mut count = 0;
    for (table, line) in lines {
        let given: Value = serde_json::from_str(&line).unwrap();
        let action = read(&line).unwrap_or_else(|| panic!("{}: {line}", table.display()));
        let written = serde_json::to_string(&action).unwrap();
        assert!(
            is_within(&given, &serde_json::from_str(&written).unwrap()),
            "{line}\n{written}"
        );
        assert_eq!(read(&written), Some(action));
        count += 1;
    }
    assert!(1000 < count, "{count}");
}

#[test]
fn schemas_of_other_writers_survive_reading_and_writing() {
    use crate::protocol::schema::Schema;
    let Some(lines) = golden::log_lines() else {
        return;
    };
    let mut count = 0;
    for (_, line) in lines {
        let line: Value = serde_json::from_str(&line).unwrap_or_default();
        let text = line["metaData"]["schemaString"].as_str();
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            continue;
        };
        let schema = Schema::from_json(text).unwrap_or_else(|error| panic!("{error:?}: {text}"));
        assert_eq!(Schema::from_json(&schema.to_json()).unwrap(), schema);
        let (given, written): (Value, Value) = (
            serde_json::from_str(text).unwrap(),
            serde_json::from_str(&schema.to_json()).unwrap(),
        );
        assert_eq!(given, written);
        count += 1;
    }
    assert!(100 < count, "{count}");
}
