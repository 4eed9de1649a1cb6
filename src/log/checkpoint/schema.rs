//! The shape of a checkpoint: one struct column per kind of action, and the typed columns of one table.
//!
//! Spec: [Checkpoint Schema](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#checkpoint-schema).

use std::collections::BTreeSet;

use crate::error::Result;
use crate::protocol::action::{Metadata, Protocol};
use crate::protocol::property::{ColumnMappingMode, TableProperties};
use crate::protocol::schema::{DataType, Field, PrimitiveType, Schema, fold};

/// `add.partitionValues_parsed`: partition values in their own types.
pub(crate) const PARTITION_VALUES_PARSED: &str = "partitionValues_parsed";
/// `add.stats_parsed`: statistics in the types of their columns.
pub(crate) const STATS_PARSED: &str = "stats_parsed";

/// What the checkpoint of one table holds beside the columns that every checkpoint has.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// Partition columns by physical name.
    pub(crate) partition: Vec<(String, PrimitiveType)>,
    /// Columns with typed statistics; `None` leaves `stats_parsed` out.
    pub(crate) statistics: Option<Vec<StatisticsField>>,
    /// Whether partition values are written in their types, too.
    pub(crate) partition_values_parsed: bool,
    /// Whether statistics are written as JSON.
    pub(crate) stats_as_json: bool,
    /// Columns of type `timestamp`.
    pub(crate) instants: BTreeSet<Vec<String>>,
    reader_features: bool,
    writer_features: bool,
}

/// A column with statistics, by physical name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StatisticsField {
    /// A column that has a null count, and bounds if its type has them.
    Leaf {
        /// The physical name.
        name: String,
        /// The type of its bounds.
        bounds: Option<PrimitiveType>,
    },
    /// A struct column.
    Group {
        /// The physical name.
        name: String,
        /// Its fields.
        fields: Vec<StatisticsField>,
    },
}

impl Layout {
    /// The layout that a table's schema and properties ask for.
    pub(crate) fn new(
        protocol: &Protocol,
        metadata: &Metadata,
        schema: &Schema,
        properties: &TableProperties,
    ) -> Self {
        let mapped = is_mapped(properties);
        let partition = metadata.partition_columns.iter().filter_map(|name| {
            let field = schema.field(name)?;
            Some((
                physical(field, mapped),
                field.data_type.as_primitive()?.clone(),
            ))
        });
        let partition: Vec<_> = partition.collect();
        let as_struct = properties.write_stats_as_struct;
        Self {
            partition_values_parsed: as_struct && !partition.is_empty(),
            partition,
            statistics: as_struct.then(|| indexed(metadata, schema, properties)),
            stats_as_json: properties.write_stats_as_json,
            instants: instants(schema),
            reader_features: 3 <= protocol.min_reader_version,
            writer_features: 7 <= protocol.min_writer_version,
        }
    }

    /// The whole checkpoint as a schema: all columns nullable structs with nullable fields.
    pub(crate) fn schema(&self) -> Result<Schema> {
        Schema::new([
            root("txn", txn()?),
            root("add", self.add()?),
            root("remove", remove()?),
            root("metaData", metadata()?),
            root(
                "protocol",
                protocol(self.reader_features, self.writer_features)?,
            ),
            root("domainMetadata", domain_metadata()?),
        ])
    }

    /// The `add` column.
    pub(crate) fn add(&self) -> Result<Schema> {
        let mut fields = add()?.fields().to_vec();
        fields.retain(|field| self.stats_as_json || field.name != "stats");
        if let Some(statistics) = &self.statistics {
            fields.push(root(STATS_PARSED, stats_parsed(statistics)?));
        }
        if self.partition_values_parsed {
            let fields_of = self.partition.iter();
            let parsed = fields_of.map(|(name, ty)| leaf(name, DataType::Primitive(ty.clone())));
            fields.push(root(PARTITION_VALUES_PARSED, Schema::new(parsed)?));
        }
        Schema::new(fields)
    }

    /// The columns with typed statistics as physical paths, each with the type of its bounds.
    pub(crate) fn leaves(&self) -> Vec<(Vec<String>, Option<PrimitiveType>)> {
        fn walk(
            fields: &[StatisticsField],
            path: &mut Vec<String>,
            out: &mut Vec<(Vec<String>, Option<PrimitiveType>)>,
        ) {
            for field in fields {
                match field {
                    StatisticsField::Leaf { name, bounds } => {
                        path.push(name.clone());
                        out.push((path.clone(), bounds.clone()));
                    }
                    StatisticsField::Group { name, fields } => {
                        path.push(name.clone());
                        walk(fields, path, out);
                    }
                }
                path.pop();
            }
        }
        let mut out = Vec::new();
        walk(
            self.statistics.as_deref().unwrap_or_default(),
            &mut Vec::new(),
            &mut out,
        );
        out
    }
}

/// Fields of `add` that every checkpoint may have.
pub(crate) fn add() -> Result<Schema> {
    Schema::new([
        leaf("path", DataType::STRING),
        leaf("partitionValues", text_map()),
        leaf("size", DataType::LONG),
        leaf("modificationTime", DataType::LONG),
        leaf("dataChange", DataType::BOOLEAN),
        leaf("stats", DataType::STRING),
        leaf("tags", text_map()),
        leaf("deletionVector", DataType::Struct(deletion_vector()?)),
        leaf("baseRowId", DataType::LONG),
        leaf("defaultRowCommitVersion", DataType::LONG),
        leaf("clusteringProvider", DataType::STRING),
    ])
}

/// Fields of `remove`: tombstones have neither statistics nor tags.
pub(crate) fn remove() -> Result<Schema> {
    Schema::new([
        leaf("path", DataType::STRING),
        leaf("deletionTimestamp", DataType::LONG),
        leaf("dataChange", DataType::BOOLEAN),
        leaf("extendedFileMetadata", DataType::BOOLEAN),
        leaf("partitionValues", text_map()),
        leaf("size", DataType::LONG),
        leaf("deletionVector", DataType::Struct(deletion_vector()?)),
        leaf("baseRowId", DataType::LONG),
        leaf("defaultRowCommitVersion", DataType::LONG),
    ])
}

/// Fields of `txn`.
pub(crate) fn txn() -> Result<Schema> {
    Schema::new([
        leaf("appId", DataType::STRING),
        leaf("version", DataType::LONG),
        leaf("lastUpdated", DataType::LONG),
    ])
}

/// Fields of `metaData`.
pub(crate) fn metadata() -> Result<Schema> {
    let format = Schema::new([
        leaf("provider", DataType::STRING),
        leaf("options", text_map()),
    ])?;
    Schema::new([
        leaf("id", DataType::STRING),
        leaf("name", DataType::STRING),
        leaf("description", DataType::STRING),
        leaf("format", DataType::Struct(format)),
        leaf("schemaString", DataType::STRING),
        leaf("partitionColumns", text_list()),
        leaf("configuration", text_map()),
        leaf("createdTime", DataType::LONG),
    ])
}

/// Fields of `protocol`: a feature list has a column only where the protocol version has features.
pub(crate) fn protocol(reader_features: bool, writer_features: bool) -> Result<Schema> {
    let versions =
        ["minReaderVersion", "minWriterVersion"].map(|name| leaf(name, DataType::INTEGER));
    let reader = reader_features.then(|| leaf("readerFeatures", text_list()));
    let writer = writer_features.then(|| leaf("writerFeatures", text_list()));
    Schema::new(versions.into_iter().chain(reader).chain(writer))
}

/// Fields of `domainMetadata`.
pub(crate) fn domain_metadata() -> Result<Schema> {
    Schema::new([
        leaf("domain", DataType::STRING),
        leaf("configuration", DataType::STRING),
        leaf("removed", DataType::BOOLEAN),
    ])
}

/// Fields of `sidecar`.
pub(crate) fn sidecar() -> Result<Schema> {
    Schema::new([
        leaf("path", DataType::STRING),
        leaf("sizeInBytes", DataType::LONG),
        leaf("modificationTime", DataType::LONG),
        leaf("tags", text_map()),
    ])
}

/// Fields of `checkpointMetadata`.
pub(crate) fn checkpoint_metadata() -> Result<Schema> {
    Schema::new([leaf("version", DataType::LONG), leaf("tags", text_map())])
}

fn deletion_vector() -> Result<Schema> {
    Schema::new([
        leaf("storageType", DataType::STRING),
        leaf("pathOrInlineDv", DataType::STRING),
        leaf("offset", DataType::INTEGER),
        leaf("sizeInBytes", DataType::INTEGER),
        leaf("cardinality", DataType::LONG),
    ])
}

// Structs without fields cannot be written to Parquet: what has no column is left out at every level.
fn stats_parsed(statistics: &[StatisticsField]) -> Result<Schema> {
    let bounds = bounds(statistics)?;
    let counts = null_counts(statistics)?;
    let mut fields = vec![leaf("numRecords", DataType::LONG)];
    if !bounds.fields().is_empty() {
        fields.push(root("minValues", bounds.clone()));
        fields.push(root("maxValues", bounds));
    }
    if !counts.fields().is_empty() {
        fields.push(root("nullCount", counts));
    }
    fields.push(leaf("tightBounds", DataType::BOOLEAN));
    Schema::new(fields)
}

fn bounds(statistics: &[StatisticsField]) -> Result<Schema> {
    let mut fields = Vec::new();
    for field in statistics {
        match field {
            StatisticsField::Leaf {
                name,
                bounds: Some(ty),
            } => {
                fields.push(leaf(name, DataType::Primitive(ty.clone())));
            }
            StatisticsField::Leaf { bounds: None, .. } => {}
            StatisticsField::Group {
                name,
                fields: inner,
            } => {
                let inner = bounds(inner)?;
                if !inner.fields().is_empty() {
                    fields.push(root(name, inner));
                }
            }
        }
    }
    Schema::new(fields)
}

fn null_counts(statistics: &[StatisticsField]) -> Result<Schema> {
    let fields = statistics.iter().map(|field| match field {
        StatisticsField::Leaf { name, .. } => Ok(leaf(name, DataType::LONG)),
        StatisticsField::Group { name, fields } => Ok(root(name, null_counts(fields)?)),
    });
    Schema::new(fields.collect::<Result<Vec<_>>>()?)
}

/// The columns that have statistics: the leaves that the table properties name, partition columns aside.
fn indexed(
    metadata: &Metadata,
    schema: &Schema,
    properties: &TableProperties,
) -> Vec<StatisticsField> {
    let partition: Vec<String> = metadata
        .partition_columns
        .iter()
        .map(|name| fold(name))
        .collect();
    let listed = properties.data_skipping_stats_columns.as_ref();
    let listed = listed.map(|columns| {
        let folded = columns
            .iter()
            .map(|path| path.iter().map(|name| fold(name)).collect());
        folded.collect::<Vec<Vec<String>>>()
    });
    let left = match (&listed, properties.data_skipping_num_indexed_cols) {
        (None, Some(leaves)) => leaves,
        _ => u64::MAX,
    };
    let mut walk = Walk {
        listed,
        left,
        mapped: is_mapped(properties),
    };
    let data = schema
        .fields()
        .iter()
        .filter(|field| !partition.contains(&fold(&field.name)));
    walk.fields(data, &mut Vec::new())
}

struct Walk {
    listed: Option<Vec<Vec<String>>>,
    left: u64,
    mapped: bool,
}

impl Walk {
    fn fields<'a>(
        &mut self,
        fields: impl Iterator<Item = &'a Field>,
        path: &mut Vec<String>,
    ) -> Vec<StatisticsField> {
        let mut out = Vec::new();
        for field in fields {
            path.push(fold(&field.name));
            match &field.data_type {
                DataType::Struct(inner) => {
                    let fields = self.fields(inner.fields().iter(), path);
                    if !fields.is_empty() {
                        out.push(StatisticsField::Group {
                            name: physical(field, self.mapped),
                            fields,
                        });
                    }
                }
                other => out.extend(self.leaf(field, other.as_primitive(), path)),
            }
            path.pop();
        }
        out
    }

    fn leaf(
        &mut self,
        field: &Field,
        ty: Option<&PrimitiveType>,
        path: &[String],
    ) -> Option<StatisticsField> {
        let listed = |listed: &Vec<Vec<String>>| listed.iter().any(|above| path.starts_with(above));
        if !self.listed.as_ref().is_none_or(listed) {
            return None;
        }
        if matches!(ty, Some(PrimitiveType::Void)) {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        // Bounds from when the column had 32 bits are text of 32 bits: as 64 they would be too narrow.
        let bounds = ty.filter(|ty| has_bounds(ty) && !field.was_float());
        let bounds = bounds.cloned();
        Some(StatisticsField::Leaf {
            name: physical(field, self.mapped),
            bounds,
        })
    }
}

/// Columns of type `timestamp` by path, by logical as well as by physical names.
pub(crate) fn instants(schema: &Schema) -> BTreeSet<Vec<String>> {
    fn walk(
        schema: &Schema,
        mapped: bool,
        path: &mut Vec<String>,
        out: &mut BTreeSet<Vec<String>>,
    ) {
        for field in schema.fields() {
            path.push(physical(field, mapped));
            match &field.data_type {
                DataType::Struct(inner) => walk(inner, mapped, path, out),
                DataType::Primitive(PrimitiveType::Timestamp) => {
                    out.insert(path.clone());
                }
                _ => {}
            }
            path.pop();
        }
    }
    let mut out = BTreeSet::new();
    walk(schema, false, &mut Vec::new(), &mut out);
    walk(schema, true, &mut Vec::new(), &mut out);
    out
}

fn has_bounds(ty: &PrimitiveType) -> bool {
    match ty {
        PrimitiveType::String
        | PrimitiveType::Long
        | PrimitiveType::Integer
        | PrimitiveType::Short
        | PrimitiveType::Byte
        | PrimitiveType::Float
        | PrimitiveType::Double
        | PrimitiveType::Decimal { .. }
        | PrimitiveType::Date
        | PrimitiveType::Timestamp
        | PrimitiveType::TimestampNtz => true,
        PrimitiveType::Boolean
        | PrimitiveType::Binary
        | PrimitiveType::Void
        | PrimitiveType::Variant
        | PrimitiveType::Unknown(_) => false,
    }
}

fn is_mapped(properties: &TableProperties) -> bool {
    properties.column_mapping_mode != ColumnMappingMode::None
}

fn physical(field: &Field, mapped: bool) -> String {
    let name = if mapped { field.mapped_name() } else { None };
    name.unwrap_or_else(|| field.name.clone())
}

fn root(name: &str, schema: Schema) -> Field {
    leaf(name, DataType::Struct(schema))
}

fn leaf(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

fn text_map() -> DataType {
    DataType::map(DataType::STRING, DataType::STRING, true)
}

fn text_list() -> DataType {
    DataType::array(DataType::STRING, true)
}
