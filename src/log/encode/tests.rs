use super::*;
use crate::log::commit::decode;
use crate::protocol::action::{
    AddCdc, CheckpointMetadata, DomainMetadata, Format, Metadata, Protocol, Sidecar, Txn,
    UnknownFields,
};

fn info() -> Action {
    Action::CommitInfo(CommitInfo {
        txn_id: Some("t".to_owned()),
        is_blind_append: Some(true),
        ..CommitInfo::default()
    })
}

fn added(path: &str, vector: Option<&str>) -> Add {
    Add {
        path: path.to_owned(),
        partition_values: [("p".to_owned(), Some("\u{e9} \"\\\n".to_owned()))].into(),
        size: 1,
        modification_time: 2,
        data_change: true,
        stats: Some(r#"{"numRecords":1}"#.to_owned()),
        tags: Some([("k".to_owned(), Some("v".to_owned()))].into()),
        deletion_vector: vector.map(descriptor),
        base_row_id: None,
        default_row_commit_version: Some(4),
        clustering_provider: None,
        unknown: UnknownFields::new(),
    }
}

fn removed(path: &str, vector: Option<&str>) -> Remove {
    Remove {
        path: path.to_owned(),
        deletion_timestamp: Some(3),
        data_change: true,
        extended_file_metadata: Some(true),
        partition_values: Some([("p".to_owned(), None)].into()),
        size: Some(1),
        stats: None,
        tags: None,
        deletion_vector: vector.map(descriptor),
        base_row_id: None,
        default_row_commit_version: None,
        unknown: UnknownFields::new(),
    }
}

fn descriptor(id: &str) -> DeletionVectorDescriptor {
    DeletionVectorDescriptor {
        storage_type: "u".to_owned(),
        path_or_inline_dv: id.to_owned(),
        offset: Some(1),
        size_in_bytes: 2,
        cardinality: 3,
    }
}

fn add(path: &str) -> Action {
    Action::Add(added(path, None))
}

fn remove(path: &str) -> Action {
    Action::Remove(removed(path, None))
}

fn protocol() -> Action {
    Action::Protocol(Protocol {
        min_reader_version: 1,
        min_writer_version: 2,
        reader_features: None,
        writer_features: None,
    })
}

fn metadata() -> Action {
    Action::Metadata(Metadata {
        id: "i".to_owned(),
        name: None,
        description: None,
        format: Format::default(),
        schema_string: "{}".to_owned(),
        partition_columns: vec!["p".to_owned()],
        created_time: Some(1),
        configuration: [("a".to_owned(), "b".to_owned())].into(),
        unknown: UnknownFields::new(),
    })
}

fn txn(app: &str, version: i64) -> Action {
    Action::Txn(Txn {
        app_id: app.to_owned(),
        version,
        last_updated: Some(1),
    })
}

fn domain(name: &str) -> Action {
    Action::DomainMetadata(DomainMetadata {
        domain: name.to_owned(),
        configuration: "{}".to_owned(),
        removed: false,
        unknown: UnknownFields::new(),
    })
}

fn rejected(actions: &[Action]) -> Error {
    let error = encode(7, actions).unwrap_err();
    assert_eq!(error.kind(), crate::error::ErrorKind::Invalid, "{error}");
    assert_eq!(error.context_value("version"), Some("7"));
    error
}

#[test]
fn what_is_encoded_is_decoded() {
    let cdc = AddCdc {
        path: "_change_data/x".to_owned(),
        partition_values: Default::default(),
        size: 1,
        data_change: false,
        tags: None,
    };
    let actions = [
        protocol(),
        metadata(),
        add("a%20b"),
        info(),
        Action::Add(added("c", Some("v"))),
        remove("d"),
        Action::Remove(removed("c", None)),
        txn("x", 1),
        txn("y", -1),
        domain("d"),
        Action::Cdc(cdc.clone()),
    ];
    let bytes = encode(7, &actions).unwrap();
    assert!(bytes.starts_with(br#"{"commitInfo":{"#));
    assert_eq!(
        bytes.iter().filter(|byte| **byte == b'\n').count(),
        actions.len()
    );
    assert!(bytes.ends_with(b"\n"));
    let commit = decode(7, &bytes).unwrap();
    let adds: Vec<_> = commit.adds.adds().collect();
    assert_eq!(adds, [added("a%20b", None), added("c", Some("v"))]);
    let removes: Vec<_> = commit.removes.removes().collect();
    assert_eq!(removes, [removed("d", None), removed("c", None)]);
    assert_eq!(Action::Protocol(commit.protocol.unwrap()), protocol());
    assert_eq!(Action::Metadata(commit.metadata.unwrap()), metadata());
    assert_eq!(commit.cdcs, [cdc]);
    assert_eq!((commit.txns.len(), commit.domains.len()), (2, 1));
    let written = commit.info.unwrap();
    assert_eq!(written.unknown[ACTION_COUNT], actions.len());
    assert!(written.is_of("t"));
    // The same actions make the same bytes.
    assert_eq!(encode(7, &actions).unwrap(), bytes);
}

#[test]
fn b_5_a_commit_of_ours_that_is_cut_at_a_line_end_is_noticed() {
    let bytes = encode(7, &[info(), add("a"), add("b")]).unwrap();
    let ends = bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(at, _)| at + 1);
    for end in ends {
        assert_eq!(decode(7, &bytes[..end]).is_ok(), end == bytes.len());
    }
}

#[test]
fn a_15_p20_a_commit_that_contradicts_itself_is_rejected() {
    let with_vector = |id| Action::Add(added("a", Some(id)));
    let without_vector = |id| Action::Remove(removed("a", Some(id)));
    for contradiction in [
        vec![add("a"), add("a")],
        vec![add("a b"), add("a%20b")],
        vec![with_vector("v"), with_vector("v")],
        vec![with_vector("v"), with_vector("w")],
        vec![add("a"), with_vector("w")],
        vec![add("a"), remove("a")],
        vec![remove("a"), add("%61")],
        vec![with_vector("v"), without_vector("v")],
        vec![remove("a"), remove("a")],
        vec![protocol(), protocol()],
        vec![metadata(), metadata()],
        vec![txn("x", 1), txn("x", 2)],
        vec![domain("d"), domain("d")],
        vec![info()],
    ] {
        let actions: Vec<_> = std::iter::once(info()).chain(contradiction).collect();
        rejected(&actions);
    }
    for fine in [
        vec![with_vector("v"), remove("a")],
        vec![with_vector("v"), without_vector("w")],
        vec![remove("a"), without_vector("v")],
        vec![txn("x", 1), txn("y", 1)],
    ] {
        let actions: Vec<_> = std::iter::once(info()).chain(fine).collect();
        assert!(decode(7, &encode(7, &actions).unwrap()).is_ok());
    }
}

#[test]
fn a_15_what_no_reader_could_take_is_rejected() {
    rejected(&[add("a")]);
    rejected(&[Action::CommitInfo(CommitInfo::default()), add("a")]);
    for path in ["../a", "a/%2e%2e/b", "", "a//b", "a%2Fb"] {
        rejected(&[info(), add(path)]);
    }
    rejected(&[
        info(),
        Action::Add(Add {
            size: -1,
            ..added("a", None)
        }),
    ]);
    rejected(&[
        info(),
        Action::Remove(Remove {
            size: Some(-1),
            ..removed("a", None)
        }),
    ]);
    let mut vector = added("a", Some("v"));
    vector.deletion_vector = Some(DeletionVectorDescriptor {
        cardinality: -1,
        ..descriptor("v")
    });
    rejected(&[info(), Action::Add(vector)]);
    let checkpoint = Action::CheckpointMetadata(CheckpointMetadata {
        version: 1,
        tags: None,
    });
    rejected(&[info(), checkpoint]);
    let sidecar = Sidecar {
        path: "x".to_owned(),
        size_in_bytes: 1,
        modification_time: 1,
        tags: None,
    };
    rejected(&[info(), Action::Sidecar(sidecar)]);
    let deep = (0..100).fold(serde_json::Value::Null, |inner, _| {
        serde_json::json!([inner])
    });
    let mut provenance = CommitInfo {
        txn_id: Some("t".to_owned()),
        ..CommitInfo::default()
    };
    provenance.unknown.insert("deep".to_owned(), deep);
    rejected(&[Action::CommitInfo(provenance)]);
}

#[test]
fn a_16_a_commit_that_is_too_large_is_rejected() {
    let actions: Vec<_> = std::iter::once(info())
        .chain((0..100).map(|index| add(&format!("f{index}"))))
        .collect();
    let bytes = encode(7, &actions).unwrap();
    let longest = bytes
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::len)
        .max()
        .unwrap();
    let tight = Limits {
        commit_bytes: bytes.len(),
        line_bytes: longest,
        lines: actions.len(),
    };
    assert_eq!(encode_within(7, &actions, tight).unwrap(), bytes);
    for limits in [
        Limits {
            commit_bytes: bytes.len() - 1,
            ..tight
        },
        Limits {
            line_bytes: longest - 1,
            ..tight
        },
        Limits {
            lines: actions.len() - 1,
            ..tight
        },
    ] {
        let error = encode_within(7, &actions, limits).unwrap_err();
        assert_eq!(error.code(), Code::LimitExceeded);
        assert_eq!(error.kind(), crate::error::ErrorKind::Invalid);
    }
    assert_eq!(WRITTEN.commit_bytes, 128 << 20);
}

#[test]
fn a_17_a_commit_after_the_last_version_is_rejected() {
    assert!(encode(VERSION_MAX, &[info()]).is_ok());
    let error = encode(VERSION_MAX + 1, &[info()]).unwrap_err();
    assert_eq!(error.code(), Code::LimitExceeded);
}
