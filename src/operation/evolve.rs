//! Schemas that rows bring: columns added, a schema replaced, and whether files still fit a table that changed.
//!
//! Spec: [Schema Serialization Format](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#schema-serialization-format).

use std::collections::BTreeSet;

use arrow_array::RecordBatch;

use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::protocol::action::Metadata;
use crate::protocol::feature;
use crate::protocol::property::ColumnMappingMode;
use crate::protocol::schema::{DataType, Field, Mapper, Schema};
use crate::snapshot::Snapshot;

/// The schema with the columns of `batch` that `base` lacks, and the `metaData` that says so; `None` if it lacks none.
pub(crate) fn add_columns(
    base: &Snapshot,
    batch: &RecordBatch,
) -> Result<Option<(Schema, Metadata)>> {
    let incoming = Schema::from_arrow(batch.schema_ref())?;
    let merged = merge(base.schema(), &incoming)?;
    if merged == **base.schema() {
        return Ok(None);
    }
    let needed = feature::protocol_for(&merged, &base.metadata().configuration, &[])?;
    if !needed.features().is_subset(&base.protocol().features()) {
        let message = "the new columns need a table feature that the table does not list; \
                       add the feature first";
        return Err(Error::invalid(Code::InvalidSchema, message));
    }
    let mut metadata = base.metadata().clone();
    let merged = match base.properties().column_mapping_mode {
        ColumnMappingMode::None => merged,
        _ => map_columns(&merged, &mut metadata, &mut |_| {
            fresh_name(base.environment())
        })?,
    };
    metadata.schema_string = merged.to_json();
    feature::check_writable(base.protocol(), &metadata, &merged)?;
    Ok(Some((merged, metadata)))
}

/// The name of a column in data files that no column ever had.
pub(super) fn fresh_name(environment: &Environment) -> String {
    format!("col-{}", environment.uuid())
}

/// The schema with ids and names for the fields that have none; the metadata keeps count of the ids.
///
/// Spec: [Writer Requirements for Column Mapping](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#writer-requirements-for-column-mapping).
pub(super) fn map_columns(
    schema: &Schema,
    metadata: &mut Metadata,
    name: &mut dyn FnMut(&Field) -> String,
) -> Result<Schema> {
    let known = metadata.configuration.get(MAX_COLUMN_ID);
    let max_id = known.and_then(|id| id.parse().ok()).unwrap_or(0);
    let mut mapper = Mapper { max_id, name };
    let schema = mapper.map(schema)?;
    let max_id = mapper.max_id.to_string();
    metadata
        .configuration
        .insert(MAX_COLUMN_ID.to_owned(), max_id);
    Ok(schema)
}

/// The property that counts the ids of mapped columns.
pub(super) const MAX_COLUMN_ID: &str = "delta.columnMapping.maxColumnId";

/// Properties that files may be written without knowing.
const HARMLESS: &[&str] = &[
    "delta.appendOnly",
    "delta.autoOptimize.autoCompact",
    "delta.autoOptimize.optimizeWrite",
    "delta.checkpoint.writeStatsAsJson",
    "delta.checkpoint.writeStatsAsStruct",
    "delta.checkpointInterval",
    "delta.checkpointPolicy",
    MAX_COLUMN_ID,
    "delta.dataSkippingNumIndexedCols",
    "delta.dataSkippingStatsColumns",
    "delta.deletedFileRetentionDuration",
    "delta.enableChangeDataFeed",
    "delta.enableDeletionVectors",
    "delta.enableExpiredLogCleanup",
    "delta.enableInCommitTimestamps",
    "delta.inCommitTimestampEnablementTimestamp",
    "delta.inCommitTimestampEnablementVersion",
    "delta.isolationLevel",
    "delta.logRetentionDuration",
    "delta.setTransactionRetentionDuration",
    "delta.targetFileSize",
];

/// Whether files that were written for a table of the metadata `then` may be added to it now that it has others.
///
/// They may if nothing changed but names, comments and properties that files need not know, and columns that were
/// added and are null in them.
pub(crate) fn still_fits(then: &Metadata, now: &Metadata) -> Result<bool> {
    if then.schema_string == now.schema_string
        && then.configuration == now.configuration
        && then.partition_columns == now.partition_columns
    {
        return Ok(true);
    }
    let matters = |name: &&String| name.starts_with("delta.") && !HARMLESS.contains(&name.as_str());
    let names: BTreeSet<_> = then
        .configuration
        .keys()
        .chain(now.configuration.keys())
        .collect();
    let same_rules = names
        .into_iter()
        .filter(matters)
        .all(|name| then.configuration.get(name) == now.configuration.get(name));
    if !same_rules || then.partition_columns != now.partition_columns {
        return Ok(false);
    }
    let then = Schema::from_json(&then.schema_string)?;
    let now = Schema::from_json(&now.schema_string)?;
    Ok(is_extended(&then, &now))
}

/// Whether `now` is `then` with columns added that may be null and are not computed.
fn is_extended(then: &Schema, now: &Schema) -> bool {
    let kept = then
        .fields()
        .iter()
        .all(|field| now.field(&field.name) == Some(field));
    let added = now
        .fields()
        .iter()
        .filter(|field| then.field(&field.name).is_none());
    let mut added = added;
    let is_plain = |field: &Field| {
        let rules = [
            "delta.generationExpression",
            "delta.invariants",
            "CURRENT_DEFAULT",
        ];
        let identity = field
            .metadata
            .keys()
            .any(|key| key.starts_with("delta.identity."));
        field.nullable && !identity && !rules.iter().any(|rule| field.metadata.contains_key(*rule))
    };
    kept && added.all(is_plain)
}

/// The schema of `batch` in place of the table's own, and the `metaData` that says so.
pub(crate) fn replace_schema(
    base: &Snapshot,
    batch: &RecordBatch,
) -> Result<Option<(Schema, Metadata)>> {
    let schema = Schema::from_arrow(batch.schema_ref())?;
    let is_mapped = base.properties().column_mapping_mode != ColumnMappingMode::None;
    let is_same = match is_mapped {
        // Ids and names in files are no matter of the rows.
        true => schema == Schema::from_arrow(&*base.schema().to_arrow()?)?,
        false => schema == **base.schema(),
    };
    if is_same {
        return Ok(None);
    }
    let mut partition_columns = Vec::with_capacity(base.partition_columns().len());
    for column in base.partition_columns() {
        // As the new schema spells it.
        if let Some(field) = schema.field(column) {
            partition_columns.push(field.name.clone());
        } else {
            let message = "the new schema lacks a partition column; add it to the rows, or create the table anew";
            return Err(Error::invalid(Code::InvalidSchema, message).with("column", column));
        }
    }
    let needed = feature::protocol_for(&schema, &base.metadata().configuration, &[])?;
    if !needed.features().is_subset(&base.protocol().features()) {
        let message = "the new columns need a table feature that the table does not list; \
                       add the feature first";
        return Err(Error::invalid(Code::InvalidSchema, message));
    }
    let mut metadata = Metadata {
        partition_columns,
        ..base.metadata().clone()
    };
    let schema = match is_mapped {
        true => map_columns(
            &keeping_ids(base.schema(), &schema.unmapped())?,
            &mut metadata,
            &mut |_| fresh_name(base.environment()),
        )?,
        false => schema,
    };
    metadata.schema_string = schema.to_json();
    feature::check_writable(base.protocol(), &metadata, &schema)?;
    Ok(Some((schema, metadata)))
}

/// The schema with the ids and names in files of columns that stay what they were.
fn keeping_ids(known: &Schema, schema: &Schema) -> Result<Schema> {
    let fields = schema.fields().iter().map(|field| {
        let mut field = field.clone();
        let old = known.field(&field.name).filter(|old| {
            let is_plain = old.data_type.as_primitive().is_some();
            is_plain && old.data_type == field.data_type
        });
        let notes = old.into_iter().flat_map(|old| &old.metadata);
        let ids = notes.filter(|(key, _)| key.starts_with("delta.columnMapping."));
        field
            .metadata
            .extend(ids.map(|(key, value)| (key.clone(), value.clone())));
        field
    });
    Schema::new(fields)
}

/// The fields of `known`, in order, then those that only `incoming` has, as nullable.
fn merge(known: &Schema, incoming: &Schema) -> Result<Schema> {
    let mut fields = Vec::with_capacity(known.fields().len());
    for field in known.fields() {
        let data_type = match incoming.field(&field.name) {
            Some(other) => merge_type(&field.data_type, &other.data_type)?,
            None => field.data_type.clone(),
        };
        fields.push(Field {
            data_type,
            ..field.clone()
        });
    }
    for field in incoming.fields() {
        if known.field(&field.name).is_none() {
            fields.push(Field {
                nullable: true,
                ..field.clone()
            });
        }
    }
    Schema::new(fields)
}

/// Types that differ otherwise than by added fields are left to the check of the rows, which names the column.
fn merge_type(known: &DataType, incoming: &DataType) -> Result<DataType> {
    Ok(match (known, incoming) {
        (DataType::Struct(known), DataType::Struct(incoming)) => {
            DataType::Struct(merge(known, incoming)?)
        }
        (DataType::Array(known), DataType::Array(incoming)) => DataType::array(
            merge_type(&known.element, &incoming.element)?,
            known.contains_null,
        ),
        (DataType::Map(known), DataType::Map(incoming)) => DataType::map(
            merge_type(&known.key, &incoming.key)?,
            merge_type(&known.value, &incoming.value)?,
            known.value_contains_null,
        ),
        _ => known.clone(),
    })
}
