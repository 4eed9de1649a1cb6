use super::*;
use crate::error::ErrorKind;
use crate::protocol::schema::{DataType, Field};

fn protocol(
    reader: i32,
    writer: i32,
    readers: Option<&[&str]>,
    writers: Option<&[&str]>,
) -> Protocol {
    let list = |names: Option<&[&str]>| {
        names.map(|names| names.iter().map(|&name| name.to_owned()).collect())
    };
    Protocol {
        min_reader_version: reader,
        min_writer_version: writer,
        reader_features: list(readers),
        writer_features: list(writers),
    }
}

fn metadata(properties: &[(&str, &str)]) -> Metadata {
    let configuration = properties
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let text = r#"{"id":"x","format":{"provider":"parquet","options":{}},"schemaString":"","partitionColumns":[]}"#;
    Metadata {
        configuration,
        ..serde_json::from_str(text).unwrap()
    }
}

fn schema(notes: &str) -> Schema {
    Schema::from_json(&format!(
        r#"{{"type":"struct","fields":[{{"name":"s","type":{{"type":"struct","fields":[
        {{"name":"a","type":"long","nullable":true,"metadata":{notes}}}]}},"nullable":true,"metadata":{{}}}}]}}"#
    ))
    .unwrap()
}

#[test]
fn versions_imply_features_per_supported_features() {
    let names = |p: &Protocol| {
        p.features()
            .iter()
            .map(ToString::to_string)
            .collect::<BTreeSet<_>>()
            .len()
    };
    assert_eq!(names(&protocol(1, 1, None, None)), 0);
    assert_eq!(names(&protocol(1, 2, None, None)), 2);
    assert_eq!(names(&protocol(1, 4, None, None)), 5);
    assert_eq!(names(&protocol(2, 5, None, None)), 6);
    assert_eq!(names(&protocol(2, 6, None, None)), 7);
    assert!(protocol(2, 7, None, Some(&["columnMapping"])).supports(&TableFeature::ColumnMapping));
    assert!(!protocol(1, 7, None, Some(&[])).supports(&TableFeature::AppendOnly));
}

#[test]
fn reading_is_refused_with_every_missing_feature_by_name() {
    for p in [
        protocol(1, 1, None, None),
        protocol(1, 6, None, None),
        protocol(2, 5, None, None),
        protocol(
            1,
            7,
            None,
            Some(&["rowTracking", "someWriterFeatureOfTheFuture"]),
        ),
        protocol(1, 9, None, Some(&[])),
        protocol(3, 7, Some(&[]), Some(&["appendOnly"])),
        protocol(
            3,
            7,
            Some(&["vacuumProtocolCheck", "timestampNtz"]),
            Some(&["timestampNtz", "vacuumProtocolCheck"]),
        ),
        // Some writers leave empty lists beside old versions.
        protocol(1, 2, Some(&[]), Some(&[])),
    ] {
        check_readable(&p).unwrap();
    }
    let both: &[&str] = &["deletionVectors", "catalogManaged", "fooBar"];
    let error = check_readable(&protocol(3, 7, Some(both), Some(both))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error.message().contains("catalogManaged (") && error.message().contains("fooBar"),
        "{error}"
    );
    assert!(!error.message().contains("deletionVectors"), "{error}");
    let error = check_readable(&protocol(
        4,
        8,
        Some(&["columnMapping"]),
        Some(&["columnMapping"]),
    ))
    .unwrap_err();
    assert!(error.message().contains("reader version 4"), "{error}");
}

#[test]
fn h_12_contradicting_protocols_are_corrupt() {
    for p in [
        protocol(0, 2, None, None),
        protocol(1, 0, None, None),
        protocol(-1, -1, None, None),
        protocol(i32::MIN, 7, None, Some(&[])),
        protocol(1, 2, Some(&["deletionVectors"]), None),
        protocol(1, 2, None, Some(&["appendOnly"])),
        protocol(3, 7, None, Some(&["appendOnly"])),
        protocol(3, 7, Some(&[]), None),
        protocol(1, 7, None, None),
        protocol(3, 2, Some(&["deletionVectors"]), None),
        protocol(3, 6, Some(&[]), None),
        protocol(3, 7, Some(&["deletionVectors"]), Some(&[])),
        protocol(3, 7, Some(&["appendOnly"]), Some(&["appendOnly"])),
        protocol(3, 7, Some(&[]), Some(&["deletionVectors"])),
        protocol(1, 7, None, Some(&["columnMapping"])),
        protocol(2, 7, None, Some(&["columnMapping", "timestampNtz"])),
    ] {
        let error = check_readable(&p).unwrap_err();
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::Corrupt, Code::CorruptCommit),
            "{p:?}"
        );
    }
}

#[test]
fn features_that_are_not_in_use_do_not_block_writers() {
    let plain = schema("{}");
    for p in [
        protocol(1, 1, None, None),
        protocol(1, 6, None, None),
        protocol(2, 6, None, None),
        protocol(
            1,
            7,
            None,
            Some(&[
                "allowColumnDefaults",
                "identityColumns",
                "icebergCompatV2",
                "clustering",
                "domainMetadata",
            ]),
        ),
        protocol(
            3,
            7,
            Some(&["v2Checkpoint", "deletionVectors"]),
            Some(&["v2Checkpoint", "deletionVectors", "inCommitTimestamp"]),
        ),
    ] {
        check_writable(
            &p,
            &metadata(&[("delta.enableInCommitTimestamps", "true")]),
            &plain,
        )
        .unwrap();
    }
    let tracked = protocol(1, 7, None, Some(&["rowTracking", "domainMetadata"]));
    assert!(check_writable(&tracked, &metadata(&[]), &plain).is_err());
    check_writable(
        &tracked,
        &metadata(&[("delta.rowTrackingSuspended", "true")]),
        &plain,
    )
    .unwrap();
}

#[test]
fn a_protocol_is_extended_without_losing_a_feature_or_going_to_a_lower_version() {
    let plain = protocol(1, 2, None, None);
    let checks = protocol(1, 3, None, None);
    let mapped = protocol(2, 5, None, None);
    let vectors = protocol(3, 7, Some(&["deletionVectors"]), Some(&["deletionVectors"]));
    let domains = protocol(1, 7, None, Some(&["domainMetadata"]));
    assert_eq!(plain.extended_by(&plain), plain);
    assert_eq!(plain.extended_by(&checks), checks);
    assert_eq!(checks.extended_by(&plain), checks);
    let both = vectors.extended_by(&domains);
    assert_eq!(
        both.writer_features.unwrap(),
        ["deletionVectors", "domainMetadata"]
    );
    let all = mapped.extended_by(&vectors);
    assert_eq!((all.min_reader_version, all.min_writer_version), (3, 7));
    assert_eq!(
        all.reader_features.clone().unwrap(),
        ["columnMapping", "deletionVectors"]
    );
    let every = [plain, checks, mapped, vectors, domains];
    for one in &every {
        for other in &every {
            let extended = one.extended_by(other);
            assert!(extended.features().is_superset(&one.features()));
            assert!(extended.features().is_superset(&other.features()));
            assert!(one.min_reader_version <= extended.min_reader_version);
            assert!(one.min_writer_version <= extended.min_writer_version);
            check_readable(&extended).unwrap();
        }
    }
}

#[test]
fn features_in_use_that_cannot_be_obeyed_are_refused_by_name() {
    let cases = [
        ("identityColumns", r#"{"delta.identity.start":1}"#, None),
        (
            "icebergCompatV2",
            "{}",
            Some(("delta.enableIcebergCompatV2", "true")),
        ),
        ("fromTheFuture", "{}", None),
    ];
    for (name, notes, property) in cases {
        let metadata = metadata(property.as_slice());
        let p = protocol(1, 7, None, Some(&["appendOnly", name]));
        let error = check_writable(&p, &metadata, &schema(notes)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}");
        assert!(error.message().ends_with(&format!(": {name}")), "{error}");
    }
    // A rule declared on a table whose protocol does not know it is not broken either.
    let error = check_writable(
        &protocol(1, 1, None, None),
        &metadata(&[]),
        &schema(r#"{"delta.identity.start":1}"#),
    );
    assert!(error.unwrap_err().message().contains("identityColumns"));
}

#[test]
fn rules_on_rows_are_obeyed_by_whoever_writes_the_rows() {
    for notes in [
        r#"{"delta.invariants":"{\"expression\":{\"expression\":\"a > 3\"}}"}"#,
        r#"{"delta.generationExpression":"1"}"#,
        r#"{"CURRENT_DEFAULT":"1"}"#,
    ] {
        let p = protocol_for(&schema(notes), &metadata(&[]).configuration, &[]).unwrap();
        check_writable(&p, &metadata(&[]), &schema(notes)).unwrap();
    }
    let checked = metadata(&[("delta.constraints.pos", "a > 0")]);
    check_writable(&protocol(1, 3, None, None), &checked, &schema("{}")).unwrap();
}

#[test]
fn new_tables_get_the_lowest_protocol() {
    let ntz = Schema::new([Field::new(
        "t",
        DataType::array(DataType::TIMESTAMP_NTZ, true),
        true,
    )])
    .unwrap();
    let plain = schema("{}");
    let for_ = |schema: &Schema, properties: &[(&str, &str)], extra: &[TableFeature]| {
        protocol_for(schema, &metadata(properties).configuration, extra).unwrap()
    };
    assert_eq!(for_(&plain, &[], &[]), protocol(1, 2, None, None));
    assert_eq!(
        for_(&plain, &[("delta.appendOnly", "true")], &[]),
        protocol(1, 2, None, None)
    );
    assert_eq!(
        for_(&plain, &[("delta.constraints.c", "a > 0")], &[]),
        protocol(1, 3, None, None)
    );
    let feed = for_(&plain, &[("delta.enableChangeDataFeed", "true")], &[]);
    assert_eq!(
        feed,
        protocol(
            1,
            7,
            None,
            Some(&["appendOnly", "invariants", "changeDataFeed"])
        )
    );
    let mapped = for_(&plain, &[("delta.columnMapping.mode", "name")], &[]);
    assert_eq!(
        mapped,
        protocol(
            2,
            7,
            None,
            Some(&["appendOnly", "invariants", "columnMapping"])
        )
    );
    let ntz = for_(&ntz, &[], &[]);
    assert_eq!(
        ntz,
        protocol(
            3,
            7,
            Some(&["timestampNtz"]),
            Some(&["appendOnly", "invariants", "timestampNtz"])
        )
    );
    let clustered = for_(
        &plain,
        &[("delta.feature.clustering", "supported")],
        &[TableFeature::DeletionVectors],
    );
    assert!(clustered.supports(&TableFeature::DomainMetadata));
    assert_eq!(
        clustered.reader_features.as_deref(),
        Some(&["deletionVectors".to_owned()][..])
    );
    assert!(
        protocol_for(
            &plain,
            &metadata(&[("delta.feature.x", "off")]).configuration,
            &[]
        )
        .is_err()
    );
    for p in [feed, mapped, ntz, clustered] {
        check_readable(&p).unwrap();
    }
}
