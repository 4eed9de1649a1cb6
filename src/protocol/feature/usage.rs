//! Which features a schema and properties put to use.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Code, Error, Result};
use crate::protocol::feature::TableFeature;
use crate::protocol::schema::{DataType, Field, PrimitiveType, Schema};

/// Properties that put a feature to use when they are `true`.
const SWITCHES: &[(&str, TableFeature)] = &[
    ("delta.appendOnly", TableFeature::AppendOnly),
    ("delta.enableChangeDataFeed", TableFeature::ChangeDataFeed),
    ("delta.enableDeletionVectors", TableFeature::DeletionVectors),
    (
        "delta.enableInCommitTimestamps",
        TableFeature::InCommitTimestamp,
    ),
    ("delta.enableRowTracking", TableFeature::RowTracking),
    ("delta.enableTypeWidening", TableFeature::TypeWidening),
    (
        "delta.enableVariantShredding",
        TableFeature::VariantShredding,
    ),
    ("delta.enableIcebergCompatV1", TableFeature::IcebergCompatV1),
    ("delta.enableIcebergCompatV2", TableFeature::IcebergCompatV2),
    ("delta.enableIcebergCompatV3", TableFeature::IcebergCompatV3),
];

/// The features that a schema and properties put to use.
pub(super) fn used_by(
    schema: &Schema,
    properties: &BTreeMap<String, String>,
) -> Result<BTreeSet<TableFeature>> {
    let mut features = BTreeSet::new();
    schema
        .fields()
        .iter()
        .for_each(|field| used_by_field(field, &mut features));
    for (name, feature) in SWITCHES {
        if is_true(properties, name) {
            features.insert(feature.clone());
        }
    }
    for (name, value) in properties {
        if name.starts_with("delta.constraints.") {
            features.insert(TableFeature::CheckConstraints);
        } else if let Some(feature) = name.strip_prefix("delta.feature.") {
            if !matches!(value.trim(), "supported" | "enabled") {
                let message = "a feature can only be `supported`";
                return Err(Error::invalid(Code::InvalidArgument, message).with("property", name));
            }
            features.insert(TableFeature::from_name(feature));
        }
    }
    let is = |name: &str, value: &str| {
        properties
            .get(name)
            .is_some_and(|have| have.trim().eq_ignore_ascii_case(value))
    };
    if properties.contains_key("delta.columnMapping.mode")
        && !is("delta.columnMapping.mode", "none")
    {
        features.insert(TableFeature::ColumnMapping);
    }
    if is("delta.checkpointPolicy", "v2") {
        features.insert(TableFeature::V2Checkpoint);
    }
    Ok(features)
}

fn used_by_field(field: &Field, features: &mut BTreeSet<TableFeature>) {
    for name in field.metadata.keys() {
        match name.as_str() {
            "delta.invariants" => features.insert(TableFeature::Invariants),
            "delta.generationExpression" => features.insert(TableFeature::GeneratedColumns),
            "CURRENT_DEFAULT" => features.insert(TableFeature::AllowColumnDefaults),
            "delta.typeChanges" => features.insert(TableFeature::TypeWidening),
            name if name.starts_with("delta.identity.") => {
                features.insert(TableFeature::IdentityColumns)
            }
            _ => false,
        };
    }
    used_by_type(&field.data_type, features);
}

fn used_by_type(data_type: &DataType, features: &mut BTreeSet<TableFeature>) {
    match data_type {
        DataType::Primitive(PrimitiveType::TimestampNtz) => {
            features.insert(TableFeature::TimestampNtz);
        }
        DataType::Primitive(PrimitiveType::Variant) => {
            features.insert(TableFeature::VariantType);
        }
        DataType::Primitive(_) => {}
        DataType::Struct(schema) => {
            schema
                .fields()
                .iter()
                .for_each(|field| used_by_field(field, features));
        }
        DataType::Array(array) => used_by_type(&array.element, features),
        DataType::Map(map) => {
            used_by_type(&map.key, features);
            used_by_type(&map.value, features);
        }
    }
}

pub(super) fn is_true(properties: &BTreeMap<String, String>, name: &str) -> bool {
    properties
        .get(name)
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
}
