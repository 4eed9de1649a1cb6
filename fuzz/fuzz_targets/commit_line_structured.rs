//! Actions of every kind: refused by the writer, or read again as they were.
#![no_main]

use std::collections::BTreeMap;

use arbitrary::{Arbitrary, Unstructured};
use headwater::fuzzing;
use headwater::protocol::action::{
    Action, Add, AddCdc, CommitInfo, DeletionVectorDescriptor, DomainMetadata, Format, Metadata,
    Protocol, Remove, Txn,
};
use headwater_fuzz::start;
use libfuzzer_sys::fuzz_target;

type Made<T> = arbitrary::Result<T>;

fn path(u: &mut Unstructured<'_>) -> Made<String> {
    match u.int_in_range(0..=3)? {
        0 => Ok(format!("part-{}.parquet", u.int_in_range(0..=9_u8)?)),
        1 => Ok(headwater::protocol::location::encode(u.arbitrary()?)),
        2 => Ok(format!("s3://bucket/{}", u.arbitrary::<&str>()?)),
        _ => u.arbitrary(),
    }
}

fn vector(u: &mut Unstructured<'_>) -> Made<Option<DeletionVectorDescriptor>> {
    if u.ratio(2, 3)? {
        return Ok(None);
    }
    Ok(Some(DeletionVectorDescriptor {
        storage_type: ["i", "u", "p", "x"][u.choose_index(4)?].to_owned(),
        path_or_inline_dv: u.arbitrary()?,
        offset: u.arbitrary()?,
        size_in_bytes: u.arbitrary()?,
        cardinality: u.arbitrary()?,
    }))
}

fn action(u: &mut Unstructured<'_>) -> Made<Action> {
    Ok(match u.int_in_range(0..=7)? {
        0 | 1 => Action::Add(Add {
            path: path(u)?,
            partition_values: u.arbitrary()?,
            size: u.arbitrary()?,
            modification_time: u.arbitrary()?,
            data_change: u.arbitrary()?,
            stats: u.arbitrary()?,
            tags: u.arbitrary()?,
            deletion_vector: vector(u)?,
            base_row_id: u.arbitrary()?,
            default_row_commit_version: u.arbitrary()?,
            clustering_provider: u.arbitrary()?,
            unknown: BTreeMap::new(),
        }),
        2 => Action::Remove(Remove {
            path: path(u)?,
            deletion_timestamp: u.arbitrary()?,
            data_change: u.arbitrary()?,
            extended_file_metadata: u.arbitrary()?,
            partition_values: u.arbitrary()?,
            size: u.arbitrary()?,
            stats: u.arbitrary()?,
            tags: u.arbitrary()?,
            deletion_vector: vector(u)?,
            base_row_id: u.arbitrary()?,
            default_row_commit_version: u.arbitrary()?,
            unknown: BTreeMap::new(),
        }),
        3 => Action::Cdc(AddCdc {
            path: path(u)?,
            partition_values: u.arbitrary()?,
            size: u.arbitrary()?,
            data_change: false,
            tags: u.arbitrary()?,
        }),
        4 => Action::Metadata(Metadata {
            id: u.arbitrary()?,
            name: u.arbitrary()?,
            description: u.arbitrary()?,
            format: Format {
                provider: u.arbitrary()?,
                options: u.arbitrary()?,
            },
            schema_string: u.arbitrary()?,
            partition_columns: u.arbitrary()?,
            created_time: u.arbitrary()?,
            configuration: u.arbitrary()?,
            unknown: BTreeMap::new(),
        }),
        5 => Action::Protocol(Protocol {
            min_reader_version: u.arbitrary()?,
            min_writer_version: u.arbitrary()?,
            reader_features: u.arbitrary()?,
            writer_features: u.arbitrary()?,
        }),
        6 => Action::Txn(Txn {
            app_id: u.arbitrary()?,
            version: u.arbitrary()?,
            last_updated: u.arbitrary()?,
        }),
        _ => Action::DomainMetadata(DomainMetadata {
            domain: u.arbitrary()?,
            configuration: u.arbitrary()?,
            removed: u.arbitrary()?,
            unknown: BTreeMap::new(),
        }),
    })
}

#[derive(Debug)]
struct Actions(Vec<Action>);

impl<'a> Arbitrary<'a> for Actions {
    fn arbitrary(u: &mut Unstructured<'a>) -> Made<Self> {
        let info = CommitInfo {
            timestamp: u.arbitrary()?,
            in_commit_timestamp: u.arbitrary()?,
            operation: u.arbitrary()?,
            read_version: u.arbitrary()?,
            is_blind_append: u.arbitrary()?,
            engine_info: u.arbitrary()?,
            txn_id: Some("f03ce383-0d09-4e1c-9446-8d80e1a59daa".to_owned()),
            ..CommitInfo::default()
        };
        let mut actions = vec![Action::CommitInfo(info)];
        for _ in 0..u.int_in_range(0..=6)? {
            actions.push(action(u)?);
        }
        Ok(Self(actions))
    }
}

fuzz_target!(init: start(), |actions: Actions| {
    let Ok(bytes) = fuzzing::encode_commit(3, &actions.0) else {
        return;
    };
    let read = fuzzing::decode_commit(3, &bytes).expect("what is written can be read");
    let lines = |actions: &[Action]| {
        let mut lines: Vec<String> = actions
            .iter()
            .filter(|action| !matches!(action, Action::CommitInfo(_)))
            .map(|action| serde_json::to_string(action).expect("JSON"))
            .collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&read), lines(&actions.0));
    assert_eq!(fuzzing::encode_commit(3, &read).map(|again| again.len()).ok(), Some(bytes.len()));
});
