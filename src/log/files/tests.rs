use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, StringArray, StructArray};
use arrow_schema::{DataType, Field, Schema};

use super::*;
use crate::log::builder::vector_fields;
use crate::log::removes::RemoveBatch;
use crate::protocol::action::Remove;

fn vector(offset: Option<i32>) -> DeletionVectorDescriptor {
    DeletionVectorDescriptor {
        storage_type: "u".to_owned(),
        path_or_inline_dv: "ab^-aqEH.-t@S}K{vb[*k^".to_owned(),
        offset,
        size_in_bytes: 36,
        cardinality: 2,
    }
}

fn plain(path: &str) -> Add {
    Add {
        path: path.to_owned(),
        partition_values: [("p".to_owned(), None)].into(),
        size: 3,
        modification_time: -5,
        data_change: true,
        stats: None,
        tags: None,
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
        clustering_provider: None,
        unknown: UnknownFields::new(),
    }
}

fn full(path: &str) -> Add {
    Add {
        partition_values: [
            ("p".to_owned(), Some("1".to_owned())),
            ("q".to_owned(), Some(String::new())),
        ]
        .into(),
        stats: Some(r#"{"numRecords":1}"#.to_owned()),
        tags: Some([("t".to_owned(), Some("x".to_owned()))].into()),
        deletion_vector: Some(vector(Some(1))),
        base_row_id: Some(7),
        default_row_commit_version: Some(8),
        clustering_provider: Some("liquid".to_owned()),
        ..plain(path)
    }
}

#[test]
fn adds_survive_columns() {
    let adds = vec![plain("a"), full("b%20c"), full("d")];
    let batch = FileBatch::from_adds(adds.clone()).unwrap();
    assert_eq!(batch.adds().collect::<Vec<_>>(), adds);
    assert_eq!(batch.partition_value(1, "p"), Some(Some("1")));
    assert_eq!(batch.partition_value(0, "p"), Some(None));
    assert_eq!(batch.partition_value(0, "q"), None);
    assert_eq!(batch.tag(1, "t"), Some("x"));
    assert_eq!(batch.tag(0, "t"), None);
    assert!(batch.has_deletion_vectors());
    assert_eq!(
        batch.key(1),
        FileKey::new("b c", Some(vector(Some(1)).unique_id()))
    );
    assert_eq!(batch.key_text(1), batch.key(1).text());
    let mask = BooleanArray::from(vec![false, true, false]);
    let kept = batch.filter(&mask).unwrap();
    assert_eq!(kept.adds().collect::<Vec<_>>(), adds[1..2]);
    let joined = FileBatch::concat(&[kept.clone(), batch.clone()]).unwrap();
    assert_eq!(joined.len(), 4);
    assert_eq!(joined.add(0), joined.add(2));
    assert!(batch.filter(&BooleanArray::from(vec![true])).is_err());
    assert!(FileBatch::concat(&[]).unwrap().is_empty());
}

#[test]
fn removes_survive_columns() {
    let bare = Remove {
        path: "a".to_owned(),
        deletion_timestamp: None,
        data_change: true,
        extended_file_metadata: None,
        partition_values: None,
        size: None,
        stats: None,
        tags: None,
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
        unknown: UnknownFields::new(),
    };
    let extended = Remove {
        deletion_timestamp: Some(9),
        data_change: false,
        extended_file_metadata: Some(true),
        partition_values: Some([("p".to_owned(), None)].into()),
        size: Some(0),
        deletion_vector: Some(vector(None)),
        ..bare.clone()
    };
    let removes = vec![bare, extended];
    let batch = RemoveBatch::from_removes(removes.clone()).unwrap();
    assert_eq!(batch.removes().collect::<Vec<_>>(), removes);
    assert_eq!(batch.deletion_timestamp(0), None);
    assert_ne!(batch.key(0), batch.key(1));
    assert_eq!(batch.partition_value(0, "p"), None);
    assert_eq!(batch.partition_value(1, "p"), Some(None));
}

fn with_column(name: &str, column: ArrayRef) -> Result<FileBatch> {
    let batch = FileBatch::from_adds([full("a")]).unwrap();
    let index = batch.schema().index_of(name).unwrap();
    let mut fields: Vec<Field> = batch
        .schema()
        .fields()
        .iter()
        .map(|field| field.as_ref().clone())
        .collect();
    fields[index] = Field::new(name, column.data_type().clone(), true);
    let mut columns = batch.batch().columns().to_vec();
    columns[index] = column;
    FileBatch::try_new(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap())
}

#[test]
fn h_6_columns_that_cannot_be_are_corrupt() {
    let long = |value: Option<i64>| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
    assert!(with_column("size", long(Some(i64::MAX))).is_ok());
    for (name, column) in [
        ("size", long(Some(-1))),
        ("size", long(None)),
        (
            "path",
            Arc::new(StringArray::from(vec![None::<&str>])) as ArrayRef,
        ),
        ("path", long(Some(1))),
        ("stats", long(Some(1))),
        ("partitionValues", long(Some(1))),
        ("deletionVector", long(Some(1))),
        ("dataChange", long(Some(1))),
    ] {
        let error = with_column(name, column).unwrap_err();
        assert_eq!(error.code(), Code::CorruptCheckpoint, "{name}");
        assert_eq!(error.context_value("column"), Some(name));
    }
}

#[test]
fn a_descriptor_that_is_there_in_part_is_corrupt() {
    let descriptor = |storage: Option<&str>, size: Option<i32>| -> ArrayRef {
        Arc::new(StructArray::new(
            vector_fields(),
            vec![
                Arc::new(StringArray::from(vec![storage])),
                Arc::new(StringArray::from(vec![storage])),
                Arc::new(Int32Array::from(vec![None::<i32>])),
                Arc::new(Int32Array::from(vec![size])),
                Arc::new(Int64Array::from(vec![size.map(i64::from)])),
            ],
            None,
        ))
    };
    let none = with_column("deletionVector", descriptor(None, None)).unwrap();
    assert_eq!(none.deletion_vector(0), None);
    assert!(!none.has_deletion_vectors());
    let whole = with_column("deletionVector", descriptor(Some("u"), Some(1))).unwrap();
    assert!(whole.deletion_vector(0).is_some());
    for (storage, size) in [(Some("u"), None), (None, Some(1))] {
        assert!(with_column("deletionVector", descriptor(storage, size)).is_err());
    }
}

#[test]
fn h_6_sums_do_not_overflow() {
    let huge = || Add {
        size: i64::MAX,
        ..plain("a")
    };
    let sum = |count| {
        FileBatch::from_adds((0..count).map(|_| huge()))
            .unwrap()
            .total_bytes()
    };
    assert_eq!(sum(2).unwrap(), 2 * i64::MAX as u64);
    assert_eq!(sum(3).unwrap_err().code(), Code::LimitExceeded);
}

#[test]
fn other_columns_are_carried_along() {
    let batch = FileBatch::from_adds([plain("a"), plain("b")]).unwrap();
    let mut fields: Vec<Field> = batch
        .schema()
        .fields()
        .iter()
        .map(|field| field.as_ref().clone())
        .collect();
    fields.push(Field::new("stats_parsed", DataType::Int32, true));
    let mut columns = batch.batch().columns().to_vec();
    columns.push(Arc::new(Int32Array::from(vec![1, 2])));
    let record = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let kept = FileBatch::try_new(record)
        .unwrap()
        .filter(&BooleanArray::from(vec![false, true]))
        .unwrap();
    let parsed = kept.batch().column_by_name("stats_parsed").unwrap();
    assert_eq!(
        parsed.as_ref(),
        &Int32Array::from(vec![2]) as &dyn arrow_array::Array
    );
}
