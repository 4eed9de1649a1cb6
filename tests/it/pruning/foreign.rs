//! Data files of other writers: many row groups, small pages, odd statistics, deletion vectors.

use std::sync::Arc;

use arrow_cast::cast;
use headwater::Table;
use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::{Array, ArrayRef, RecordBatch, StructArray};
use headwater::arrow_schema::{DataType as ArrowType, Field as ArrowField, TimeUnit};
use headwater::environment::Environment;
use headwater::protocol::deletion_vector::{encode, inline_text};
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use proptest::prelude::*;
use roaring::RoaringTreemap;
use serde_json::json;

use super::conditions::conditions;
use super::rows::{COLUMNS, Chunk, Row, batch, chunks, schema};
use super::values::Value;
use super::{Left, assert_same, assert_whole, check};
use crate::support::store::Faulty;
use crate::support::{block_on, commit_key, storage};

/// How a file is written.
#[derive(Debug, Clone)]
pub(crate) struct File {
    group_rows: usize,
    page_rows: usize,
    statistics: EnabledStatistics,
    dictionary: bool,
    second_version: bool,
    cut_bounds: Option<usize>,
    compressed: bool,
    pub(crate) with_statistics: bool,
    /// Whether values are stored in types that are narrower or finer than the table's.
    other_types: bool,
    /// Every so manieth row is deleted.
    deleted: Option<usize>,
    pub(crate) chunk: Chunk,
}

pub(crate) fn files() -> impl Strategy<Value = File> {
    files_of(1..60)
}

/// Files of so many rows.
pub(crate) fn files_of(rows: std::ops::Range<usize>) -> impl Strategy<Value = File> {
    let statistics = proptest::sample::select(vec![
        EnabledStatistics::None,
        EnabledStatistics::Chunk,
        EnabledStatistics::Page,
        EnabledStatistics::Page,
    ]);
    let flags = any::<[bool; 5]>();
    let cut = proptest::option::of(1_usize..40);
    let deleted = proptest::option::of(1_usize..5);
    let sizes = (1_usize..40, 1_usize..9);
    (sizes, statistics, flags, cut, deleted, chunks(rows)).prop_map(
        |((group_rows, page_rows), statistics, flags, cut_bounds, deleted, chunk)| File {
            group_rows,
            page_rows,
            statistics,
            dictionary: flags[0],
            second_version: flags[1],
            compressed: flags[2],
            other_types: flags[3],
            with_statistics: flags[4],
            cut_bounds,
            deleted,
            chunk,
        },
    )
}

/// The name by which files know a column of a mapped table.
pub(crate) fn physical(name: &str) -> String {
    format!("col-{}", name.chars().rev().collect::<String>())
}

/// The schema of the mapped table: every field has another name in files.
fn mapped_schema() -> String {
    fn map(schema: &mut serde_json::Value, next: &mut i64) {
        for field in schema["fields"].as_array_mut().unwrap() {
            let name = physical(field["name"].as_str().unwrap());
            field["metadata"] =
                json!({"delta.columnMapping.id": *next, "delta.columnMapping.physicalName": name});
            *next += 1;
            if field["type"].is_object() {
                map(&mut field["type"], next);
            }
        }
    }
    let mut json = serde_json::from_str(&schema().to_json()).unwrap();
    map(&mut json, &mut 1);
    json.to_string()
}

/// The rows under the names that files of the mapped table have.
fn renamed(batch: &RecordBatch) -> RecordBatch {
    fn rename(name: &str, array: &ArrayRef) -> (String, ArrayRef) {
        let Some(parts) = array.as_struct_opt() else {
            return (physical(name), array.clone());
        };
        let renamed = parts.column_names().into_iter().zip(parts.columns());
        let (fields, columns): (Vec<_>, Vec<_>) = renamed
            .map(|(name, column)| {
                let (name, column) = rename(name, column);
                (
                    ArrowField::new(name, column.data_type().clone(), true),
                    column,
                )
            })
            .unzip();
        let array = StructArray::new(fields.into(), columns, parts.nulls().cloned());
        (physical(name), Arc::new(array))
    }
    let columns = batch.schema_ref().fields().iter().zip(batch.columns());
    let columns = columns.map(|(field, column)| {
        let (name, column) = rename(field.name(), column);
        (name, column, field.is_nullable())
    });
    RecordBatch::try_from_iter_with_nullable(columns.collect::<Vec<_>>()).unwrap()
}

/// Puts version 0 of a table whose files have other names for its columns.
pub(crate) async fn create_mapped(store: &Faulty, partition_by: &[&str]) {
    let features = ["columnMapping", "deletionVectors", "timestampNtz"];
    let protocol = json!({"protocol": {
        "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features,
    }});
    let metadata = json!({"metaData": {
        "id": "6c41bfba-1a4b-4a0a-8b4b-000000000002", "format": {"provider": "parquet", "options": {}},
        "schemaString": mapped_schema(), "partitionColumns": partition_by, "createdTime": 0,
        "configuration": {"delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": "99"},
    }});
    store
        .place(&commit_key(0), format!("{protocol}\n{metadata}\n"))
        .await;
}

/// The same values in columns of other types, wherever they fit.
fn in_other_types(batch: &RecordBatch) -> RecordBatch {
    let fields = batch.schema_ref().fields().iter();
    let columns = fields.zip(batch.columns()).map(|(field, column)| {
        let others: Vec<ArrowType> = match column.data_type() {
            ArrowType::Int64 => vec![ArrowType::Int8, ArrowType::Int16, ArrowType::Int32],
            ArrowType::Int32 => vec![ArrowType::Int16],
            ArrowType::Float64 => vec![ArrowType::Float32],
            ArrowType::Timestamp(_, zone) => [TimeUnit::Millisecond, TimeUnit::Nanosecond]
                .map(|unit| ArrowType::Timestamp(unit, zone.clone()))
                .to_vec(),
            ArrowType::Utf8 => vec![ArrowType::LargeUtf8],
            ArrowType::Binary => vec![ArrowType::LargeBinary],
            &ArrowType::Decimal128(_, 0) => {
                vec![ArrowType::Decimal128(9, 0), ArrowType::Decimal128(18, 0)]
            }
            _ => Vec::new(),
        };
        let same = |other: &ArrowType| {
            let other = cast(column, other).ok()?;
            let back = cast(&other, column.data_type()).ok()?;
            (back.as_ref() == column.as_ref()).then_some(other)
        };
        let column = others
            .iter()
            .find_map(same)
            .unwrap_or_else(|| column.clone());
        (field.name().clone(), column, field.is_nullable())
    });
    RecordBatch::try_from_iter_with_nullable(columns.collect::<Vec<_>>()).unwrap()
}

impl File {
    /// The file of these rows, without the columns in `without`.
    pub(crate) fn bytes(&self, rows: &[Row], mapped: bool, without: &[&str]) -> Vec<u8> {
        let version = match self.second_version {
            true => WriterVersion::PARQUET_2_0,
            false => WriterVersion::PARQUET_1_0,
        };
        let codec = match self.compressed {
            true => Compression::SNAPPY,
            false => Compression::UNCOMPRESSED,
        };
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(self.group_rows))
            .set_data_page_row_count_limit(self.page_rows)
            .set_write_batch_size(1)
            .set_statistics_enabled(self.statistics)
            .set_dictionary_enabled(self.dictionary)
            .set_writer_version(version)
            .set_compression(codec)
            .set_statistics_truncate_length(self.cut_bounds)
            .set_column_index_truncate_length(self.cut_bounds)
            .build();
        let all = batch(rows);
        let names = all.schema_ref().fields().iter().map(|field| field.name());
        let kept = names.enumerate();
        let kept: Vec<_> = kept
            .filter(|(_, name)| !without.contains(&name.as_str()))
            .map(|(index, _)| index)
            .collect();
        let batch = all.project(&kept).unwrap();
        let batch = match self.other_types {
            true => in_other_types(&batch),
            false => batch,
        };
        let batch = if mapped { renamed(&batch) } else { batch };
        let mut bytes = Vec::new();
        let mut writer =
            ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        bytes
    }

    fn is_deleted(&self, row: usize) -> bool {
        self.deleted.is_some_and(|every| row % every == every - 1)
    }

    /// Statistics as another writer has them: of two columns, by their names in the file.
    pub(crate) fn statistics(&self, rows: &[Row], mapped: bool) -> serde_json::Value {
        let bounds = |path: &[&str], column: &str| {
            let index = COLUMNS
                .iter()
                .position(|(name, _)| *name == column)
                .unwrap();
            let values = rows.iter().filter_map(|row| match &row.values[index] {
                Value::Int(value) => Some(*value),
                _ => None,
            });
            let values: Vec<i64> = values.collect();
            let nulls = json!(rows.len() - values.len());
            let at = |value: serde_json::Value| {
                path.iter().rev().fold(value, |value, name| match mapped {
                    true => json!({ physical(name): value }),
                    false => json!({ *name: value }),
                })
            };
            [
                values.iter().min().map(|min| at(json!(min))),
                values.iter().max().map(|max| at(json!(max))),
                Some(at(nulls)),
            ]
        };
        let (one, other) = (bounds(&["i64"], "i64"), bounds(&["st", "x"], "st.x"));
        let merged = |index: usize| {
            let mut all = serde_json::Map::new();
            for object in [&one[index], &other[index]].into_iter().flatten() {
                all.extend(object.as_object().unwrap().clone());
            }
            all
        };
        json!({
            "numRecords": rows.len(), "tightBounds": self.deleted.is_none(),
            "minValues": merged(0), "maxValues": merged(1), "nullCount": merged(2),
        })
    }

    /// The line of the log that adds the file.
    fn add(&self, path: &str, size: usize, all: &[Row], mapped: bool) -> String {
        let rows = all.len();
        let deleted: RoaringTreemap = (0..rows as u64)
            .filter(|row| self.is_deleted(*row as usize))
            .collect();
        let mut add = json!({
            "path": path, "partitionValues": {}, "size": size, "modificationTime": 0, "dataChange": true,
        });
        if self.with_statistics {
            add["stats"] = self.statistics(all, mapped).to_string().into();
        }
        if !deleted.is_empty() {
            let data = encode(&deleted);
            if !self.with_statistics {
                add["stats"] = format!("{{\"numRecords\":{rows},\"tightBounds\":false}}").into();
            }
            add["deletionVector"] = json!({
                "storageType": "i", "pathOrInlineDv": inline_text(&data),
                "sizeInBytes": data.len(), "cardinality": deleted.len(),
            });
        }
        json!({ "add": add }).to_string()
    }
}

/// Puts the files into the store and into the log, one version each; what is left is the rows that are not deleted.
pub(crate) async fn place(store: &Faulty, files: &[File], mapped: bool) -> Vec<Row> {
    let (mut all, mut next) = (Vec::new(), 0);
    for (number, file) in files.iter().enumerate() {
        let rows = file.chunk.rows(next, &[]);
        next += rows.len() as i64;
        let bytes = file.bytes(&rows, mapped, &[]);
        let name = format!("part {number}.parquet");
        let path = format!("part%20{number}.parquet");
        let line = file.add(&path, bytes.len(), &rows, mapped);
        let key = Path::from(format!("table/{name}"));
        store.place(&key, bytes).await;
        store.place(&commit_key(number as u64 + 1), line).await;
        let live = rows.into_iter().enumerate();
        let live = live.filter(|(row, _)| !file.is_deleted(*row));
        all.extend(live.map(|(_, row)| row));
    }
    all
}

#[test]
fn row_groups_pages_and_deleted_rows_of_other_writers_make_no_difference() {
    let tables = (
        proptest::collection::vec(files(), 1..4),
        any::<[bool; 2]>(),
        proptest::collection::vec(conditions(), 12),
    );
    let left = Left::default();
    check(20, tables, |(files, [checkpoint, mapped], conditions)| {
        block_on(async {
            let store = Faulty::default();
            let environment = Environment::system();
            let table = if mapped {
                create_mapped(&store, &[]).await;
                Table::open_in(storage(&store), environment).await.unwrap()
            } else {
                let create = Table::create_in(storage(&store), environment, schema());
                create.feature("deletionVectors").await.unwrap()
            };
            let all = place(&store, &files, mapped).await;
            if checkpoint {
                table.checkpoint().await.unwrap();
            }
            let snapshot = table.refresh().await.unwrap();
            assert_whole(&snapshot, &all).await;
            for condition in &conditions {
                assert_same(&snapshot, &all, condition, &left).await;
            }
        });
    });
    left.assert_some(|left| &left.row_groups);
    left.assert_some(|left| &left.rows);
}
