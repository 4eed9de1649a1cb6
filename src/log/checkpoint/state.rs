//! Actions that are not files: what a checkpoint says of the table as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, StructArray, new_null_array};
use arrow_schema::{
    DataType as ArrowType, Field as ArrowField, FieldRef as ArrowFieldRef, Fields, SchemaRef,
};
use arrow_select::concat::concat;

use crate::error::Result;
use crate::log::checkpoint::cells::{self, Rows};
use crate::log::checkpoint::{cannot_build, corrupt, schema};
use crate::protocol::Version;
use crate::protocol::action::{DomainMetadata, Format, Metadata, Protocol, Sidecar, Txn};

/// The state of a table at the version of a checkpoint, but for its files.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CheckpointState {
    /// What a client must be able to do.
    pub(crate) protocol: Protocol,
    /// Name, schema, partitioning, properties.
    pub(crate) metadata: Metadata,
    /// The last transaction of each application, by application.
    pub(crate) txns: Vec<Txn>,
    /// Live domains, by name.
    pub(crate) domains: Vec<DomainMetadata>,
}

impl CheckpointState {
    /// One row for each action, in the columns of a whole checkpoint.
    pub(super) fn to_batch(&self, schema: &SchemaRef) -> Result<RecordBatch> {
        let blocks = [
            ("protocol", protocol_column(&self.protocol)?),
            ("metaData", metadata_column(&self.metadata)?),
            ("txn", txn_column(&self.txns)?),
            ("domainMetadata", domain_column(&self.domains)?),
        ];
        let rows = blocks.iter().map(|(_, array)| array.len()).sum::<usize>();
        let column = |field: &ArrowFieldRef| {
            let mut before = 0;
            for (name, array) in &blocks {
                if name == field.name() {
                    let array = conform_to(array, field)?;
                    let above = new_null_array(field.data_type(), before);
                    let below = new_null_array(field.data_type(), rows - before - array.len());
                    return concat(&[&above, &array, &below]).map_err(cannot_build);
                }
                before += array.len();
            }
            Ok(new_null_array(field.data_type(), rows))
        };
        let columns = schema
            .fields()
            .iter()
            .map(column)
            .collect::<Result<Vec<_>>>()?;
        RecordBatch::try_new(Arc::clone(schema), columns).map_err(cannot_build)
    }
}

/// A struct column with exactly the fields that the checkpoint has.
fn conform_to(array: &StructArray, field: &ArrowFieldRef) -> Result<ArrayRef> {
    let ArrowType::Struct(fields) = field.data_type() else {
        return Err(cannot_build("an action is not a struct"));
    };
    let arrays: Option<Vec<ArrayRef>> = fields
        .iter()
        .map(|field| array.column_by_name(field.name()).cloned())
        .collect();
    let arrays = arrays.ok_or_else(|| cannot_build("a field of an action is missing"))?;
    let options = StructArray::try_new_with_length(fields.clone(), arrays, None, array.len());
    Ok(Arc::new(options.map_err(cannot_build)?))
}

fn struct_of(fields: Vec<(&str, ArrayRef)>) -> Result<StructArray> {
    let (fields, arrays): (Vec<_>, Vec<_>) = fields
        .into_iter()
        .map(|(name, array)| {
            (
                ArrowField::new(name, array.data_type().clone(), true),
                array,
            )
        })
        .unzip();
    StructArray::try_new(Fields::from(fields), arrays, None).map_err(cannot_build)
}

fn protocol_column(protocol: &Protocol) -> Result<StructArray> {
    struct_of(vec![
        (
            "minReaderVersion",
            cells::integers([Some(protocol.min_reader_version)]),
        ),
        (
            "minWriterVersion",
            cells::integers([Some(protocol.min_writer_version)]),
        ),
        (
            "readerFeatures",
            cells::lists([protocol.reader_features.as_deref()]),
        ),
        (
            "writerFeatures",
            cells::lists([protocol.writer_features.as_deref()]),
        ),
    ])
}

fn metadata_column(metadata: &Metadata) -> Result<StructArray> {
    let map = |map: &BTreeMap<String, String>| {
        cells::map(
            map.iter()
                .map(|(key, value)| (key.as_str(), Some(value.as_str()))),
        )
    };
    let format = struct_of(vec![
        (
            "provider",
            cells::texts([Some(metadata.format.provider.as_str())]),
        ),
        ("options", map(&metadata.format.options)?),
    ])?;
    struct_of(vec![
        ("id", cells::texts([Some(metadata.id.as_str())])),
        ("name", cells::texts([metadata.name.as_deref()])),
        (
            "description",
            cells::texts([metadata.description.as_deref()]),
        ),
        ("format", Arc::new(format)),
        (
            "schemaString",
            cells::texts([Some(metadata.schema_string.as_str())]),
        ),
        (
            "partitionColumns",
            cells::lists([Some(metadata.partition_columns.as_slice())]),
        ),
        ("configuration", map(&metadata.configuration)?),
        ("createdTime", cells::longs([metadata.created_time])),
    ])
}

fn txn_column(txns: &[Txn]) -> Result<StructArray> {
    struct_of(vec![
        (
            "appId",
            cells::texts(txns.iter().map(|txn| Some(txn.app_id.as_str()))),
        ),
        (
            "version",
            cells::longs(txns.iter().map(|txn| Some(txn.version))),
        ),
        (
            "lastUpdated",
            cells::longs(txns.iter().map(|txn| txn.last_updated)),
        ),
    ])
}

fn domain_column(domains: &[DomainMetadata]) -> Result<StructArray> {
    struct_of(vec![
        (
            "domain",
            cells::texts(domains.iter().map(|domain| Some(domain.domain.as_str()))),
        ),
        (
            "configuration",
            cells::texts(
                domains
                    .iter()
                    .map(|domain| Some(domain.configuration.as_str())),
            ),
        ),
        (
            "removed",
            cells::booleans(domains.iter().map(|domain| Some(domain.removed))),
        ),
    ])
}

/// Actions of a checkpoint as they are found, checked against each other.
#[derive(Debug, Default)]
pub(super) struct Found {
    protocol: Option<Protocol>,
    metadata: Option<Metadata>,
    txns: BTreeMap<String, Txn>,
    domains: BTreeMap<String, DomainMetadata>,
    pub(super) sidecars: Vec<Sidecar>,
    version: Option<i64>,
}

impl Found {
    /// Takes the actions of a batch.
    pub(super) fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        let column = |name: &str| batch.column_by_name(name);
        if let Some(rows) = rows(
            column("protocol"),
            schema::protocol(true, true)?,
            "protocol",
        )? {
            each(&rows, "minReaderVersion", |row| {
                self.protocol(read_protocol(&rows, row))
            })?;
        }
        if let Some(rows) = rows(column("metaData"), schema::metadata()?, "metaData")? {
            each(&rows, "id", |row| self.metadata(read_metadata(&rows, row)))?;
        }
        if let Some(rows) = rows(column("txn"), schema::txn()?, "txn")? {
            each(&rows, "appId", |row| self.txn(read_txn(&rows, row)))?;
        }
        let name = "domainMetadata";
        if let Some(rows) = rows(column(name), schema::domain_metadata()?, name)? {
            each(&rows, "domain", |row| self.domain(read_domain(&rows, row)))?;
        }
        if let Some(rows) = rows(column("sidecar"), schema::sidecar()?, "sidecar")? {
            each(&rows, "path", |row| self.sidecar(read_sidecar(&rows, row)))?;
        }
        let name = "checkpointMetadata";
        if let Some(rows) = rows(column(name), schema::checkpoint_metadata()?, name)? {
            each(&rows, "version", |row| {
                self.version(rows.long(row, "version"))
            })?;
        }
        Ok(())
    }

    pub(super) fn protocol(&mut self, found: Option<Protocol>) -> Result<()> {
        let found = found.ok_or_else(|| corrupt("a protocol action lacks a version"))?;
        one(&mut self.protocol, found, "protocol")
    }

    pub(super) fn metadata(&mut self, found: Option<Metadata>) -> Result<()> {
        let found = found.ok_or_else(|| corrupt("a metaData action lacks its id or schema"))?;
        one(&mut self.metadata, found, "metaData")
    }

    pub(super) fn txn(&mut self, found: Option<Txn>) -> Result<()> {
        let found = found.ok_or_else(|| corrupt("a txn action lacks its version"))?;
        match self.txns.insert(found.app_id.clone(), found) {
            Some(before) if self.txns.get(&before.app_id) != Some(&before) => Err(corrupt(
                "it has two different txn actions of one application",
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn domain(&mut self, found: Option<DomainMetadata>) -> Result<()> {
        let found = found.ok_or_else(|| corrupt("a domainMetadata action lacks its domain"))?;
        if found.removed {
            return Ok(());
        }
        match self.domains.insert(found.domain.clone(), found) {
            Some(before) if self.domains.get(&before.domain) != Some(&before) => Err(corrupt(
                "it has two different domainMetadata actions of one domain",
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn sidecar(&mut self, found: Option<Sidecar>) -> Result<()> {
        self.sidecars
            .push(found.ok_or_else(|| corrupt("a sidecar action lacks its size"))?);
        Ok(())
    }

    pub(super) fn version(&mut self, found: Option<i64>) -> Result<()> {
        let found = found.ok_or_else(|| corrupt("its checkpointMetadata has no version"))?;
        one(&mut self.version, found, "checkpointMetadata")
    }

    /// Whether this is a V2 checkpoint.
    pub(super) fn is_v2(&self) -> bool {
        self.version.is_some()
    }

    /// The state, once all rows were taken.
    pub(super) fn finish(self, version: Version) -> Result<CheckpointState> {
        if self
            .version
            .is_some_and(|found| Version::try_from(found) != Ok(version))
        {
            return Err(corrupt("it says that it is of another version"));
        }
        Ok(CheckpointState {
            protocol: self
                .protocol
                .ok_or_else(|| corrupt("it has no protocol action"))?,
            metadata: self
                .metadata
                .ok_or_else(|| corrupt("it has no metaData action"))?,
            txns: self.txns.into_values().collect(),
            domains: self.domains.into_values().collect(),
        })
    }
}

fn one<T: PartialEq>(slot: &mut Option<T>, found: T, what: &str) -> Result<()> {
    match slot {
        Some(before) if *before != found => {
            Err(corrupt(format!("it has two different {what} actions")))
        }
        _ => {
            *slot = Some(found);
            Ok(())
        }
    }
}

fn rows(
    column: Option<&ArrayRef>,
    schema: crate::protocol::schema::Schema,
    name: &str,
) -> Result<Option<Rows>> {
    column
        .map(|column| Rows::new(column, schema, name))
        .transpose()
}

/// Calls `take` for each row that has the action. A row that has some of its fields but not `key` is corrupt.
fn each(rows: &Rows, key: &str, mut take: impl FnMut(usize) -> Result<()>) -> Result<()> {
    for row in (0..rows.len()).filter(|row| rows.is_present(*row)) {
        if rows.has(row, key) {
            take(row)?;
        } else if rows.has_any(row) {
            return Err(corrupt(format!("an action has no `{key}`")));
        }
    }
    Ok(())
}

fn read_protocol(rows: &Rows, row: usize) -> Option<Protocol> {
    let min_reader_version = rows.integer(row, "minReaderVersion")?;
    let min_writer_version = rows.integer(row, "minWriterVersion")?;
    // Writers exist that leave empty lists where the version has no features.
    let features = |name: &str, allowed: bool| {
        rows.texts(row, name)
            .filter(|features| allowed || !features.is_empty())
    };
    Some(Protocol {
        min_reader_version,
        min_writer_version,
        reader_features: features("readerFeatures", 3 <= min_reader_version),
        writer_features: features("writerFeatures", 7 <= min_writer_version),
    })
}

fn read_metadata(rows: &Rows, row: usize) -> Option<Metadata> {
    let texts = |map: BTreeMap<String, Option<String>>| {
        map.into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect()
    };
    let format = rows.inner("format").and_then(|format| {
        let options = format.map(row, "options").map(texts).unwrap_or_default();
        Some(Format {
            provider: format.text(row, "provider")?,
            options,
        })
    });
    Some(Metadata {
        id: rows.text(row, "id")?,
        name: rows.text(row, "name"),
        description: rows.text(row, "description"),
        format: format.unwrap_or_default(),
        schema_string: rows.text(row, "schemaString")?,
        partition_columns: rows.texts(row, "partitionColumns").unwrap_or_default(),
        created_time: rows.long(row, "createdTime"),
        configuration: rows
            .map(row, "configuration")
            .map(texts)
            .unwrap_or_default(),
        unknown: BTreeMap::new(),
    })
}

fn read_txn(rows: &Rows, row: usize) -> Option<Txn> {
    Some(Txn {
        app_id: rows.text(row, "appId")?,
        version: rows.long(row, "version")?,
        last_updated: rows.long(row, "lastUpdated"),
    })
}

fn read_domain(rows: &Rows, row: usize) -> Option<DomainMetadata> {
    Some(DomainMetadata {
        domain: rows.text(row, "domain")?,
        configuration: rows.text(row, "configuration").unwrap_or_default(),
        removed: rows.boolean(row, "removed").unwrap_or(false),
        unknown: BTreeMap::new(),
    })
}

fn read_sidecar(rows: &Rows, row: usize) -> Option<Sidecar> {
    Some(Sidecar {
        path: rows.text(row, "path")?,
        size_in_bytes: rows.long(row, "sizeInBytes")?,
        modification_time: rows.long(row, "modificationTime").unwrap_or(0),
        tags: rows.map(row, "tags"),
    })
}
