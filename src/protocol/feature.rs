//! Table features: whether this build can read a table, whether it may write it, and what a new table needs.
//!
//! A feature is *supported* by a table if its protocol says so, and *in use* if the schema or a property makes a demand
//! by it. What is supported but not in use asks nothing of a writer.
//!
//! Spec: [Table Features](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#table-features),
//! [Protocol Evolution](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#protocol-evolution).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::error::{Code, Error, Result};
use crate::protocol::action::{Metadata, Protocol};
use crate::protocol::schema::{DataType, PrimitiveType, Schema};
use crate::protocol::type_change::check_type_changes;

mod usage;

use usage::{is_true, used_by};

#[cfg(test)]
mod tests;

/// The reader version from which on a protocol lists its features.
const READER_WITH_FEATURES: i32 = 3;
/// The writer version from which on a protocol lists its features.
const WRITER_WITH_FEATURES: i32 = 7;

macro_rules! features {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $kind:ident;)*) => {
        /// Something that a table may demand of its readers and writers, by the protocol's name for it.
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum TableFeature {
            $($(#[$doc])* $variant,)*
            /// A feature this build has never heard of.
            Unknown(String),
        }

        impl TableFeature {
            /// The name, as it stands in the protocol action.
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Unknown(name) => name,
                }
            }

            /// The feature of this name.
            pub fn from_name(name: &str) -> Self {
                match name {
                    $($name => Self::$variant,)*
                    _ => Self::Unknown(name.to_owned()),
                }
            }

            /// Whom the feature concerns; `None` if it is not known.
            pub fn audience(&self) -> Option<Audience> {
                match self {
                    $(Self::$variant => Some(Audience::$kind),)*
                    Self::Unknown(_) => None,
                }
            }
        }
    };
}

features! {
    /// Rows are never changed or removed, where the property says so.
    AppendOnly = "appendOnly", Writers;
    /// Columns with a condition in their notes.
    Invariants = "invariants", Writers;
    /// Conditions on rows, kept in properties.
    CheckConstraints = "checkConstraints", Writers;
    /// Row-level changes are recorded.
    ChangeDataFeed = "changeDataFeed", Writers;
    /// Columns computed from others.
    GeneratedColumns = "generatedColumns", Writers;
    /// Columns known in files by another name or by id.
    ColumnMapping = "columnMapping", ReadersAndWriters;
    /// Columns that number rows.
    IdentityColumns = "identityColumns", Writers;
    /// Rows deleted by bitmaps beside the data files.
    DeletionVectors = "deletionVectors", ReadersAndWriters;
    /// Rows keep an id and the version that changed them last.
    RowTracking = "rowTracking", Writers;
    /// The type `timestamp_ntz`.
    TimestampNtz = "timestampNtz", ReadersAndWriters;
    /// Columns whose type was widened.
    TypeWidening = "typeWidening", ReadersAndWriters;
    /// [`TypeWidening`](Self::TypeWidening) before it was final.
    TypeWideningPreview = "typeWidening-preview", ReadersAndWriters;
    /// Named configurations beside the metadata.
    DomainMetadata = "domainMetadata", Writers;
    /// Checkpoints in several files.
    V2Checkpoint = "v2Checkpoint", ReadersAndWriters;
    /// A catalog decides which commits count.
    CatalogManaged = "catalogManaged", ReadersAndWriters;
    /// [`CatalogManaged`](Self::CatalogManaged) before it was final.
    CatalogOwnedPreview = "catalogOwned-preview", ReadersAndWriters;
    /// Metadata can be converted to Iceberg's.
    IcebergCompatV1 = "icebergCompatV1", Writers;
    /// Metadata can be converted to Iceberg's, second version.
    IcebergCompatV2 = "icebergCompatV2", Writers;
    /// Metadata can be converted to Iceberg's, third version.
    IcebergCompatV3 = "icebergCompatV3", Writers;
    /// Data files are clustered by some columns.
    Clustering = "clustering", Writers;
    /// VACUUM must check the protocol first.
    VacuumProtocolCheck = "vacuumProtocolCheck", ReadersAndWriters;
    /// Commits carry their own, monotone time.
    InCommitTimestamp = "inCommitTimestamp", Writers;
    /// Columns with defaults.
    AllowColumnDefaults = "allowColumnDefaults", Writers;
    /// The type `variant`.
    VariantType = "variantType", ReadersAndWriters;
    /// [`VariantType`](Self::VariantType) before it was final.
    VariantTypePreview = "variantType-preview", ReadersAndWriters;
    /// Variants in columns of their own.
    VariantShredding = "variantShredding", ReadersAndWriters;
    /// [`VariantShredding`](Self::VariantShredding) before it was final.
    VariantShreddingPreview = "variantShredding-preview", ReadersAndWriters;
    /// Checkpoints before some version must not be removed lightly.
    CheckpointProtection = "checkpointProtection", Writers;
    /// Partition columns stand in the data files, too.
    MaterializePartitionColumns = "materializePartitionColumns", Writers;
}

/// Whom a feature concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Only those who write: readers may ignore it.
    Writers,
    /// Everybody.
    ReadersAndWriters,
}

impl fmt::Display for TableFeature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What this build can read. The one list for it.
const READABLE: &[TableFeature] = &[
    TableFeature::ColumnMapping,
    TableFeature::DeletionVectors,
    TableFeature::TimestampNtz,
    TableFeature::TypeWidening,
    TableFeature::TypeWideningPreview,
    TableFeature::V2Checkpoint,
    TableFeature::VacuumProtocolCheck,
    TableFeature::VariantShredding,
    TableFeature::VariantShreddingPreview,
    TableFeature::VariantType,
    TableFeature::VariantTypePreview,
];

/// What this build obeys when it writes, in use or not. The one list for it; what is missing here and not in use is
/// allowed by [`idle`].
const WRITABLE: &[TableFeature] = &[
    TableFeature::AllowColumnDefaults,
    TableFeature::AppendOnly,
    TableFeature::ChangeDataFeed,
    TableFeature::CheckConstraints,
    TableFeature::Clustering,
    TableFeature::ColumnMapping,
    TableFeature::DeletionVectors,
    TableFeature::DomainMetadata,
    TableFeature::GeneratedColumns,
    TableFeature::InCommitTimestamp,
    TableFeature::Invariants,
    TableFeature::TimestampNtz,
    // Files are written in the types in force; the notes of older types stay in the schema.
    TableFeature::TypeWidening,
    TableFeature::TypeWideningPreview,
    TableFeature::V2Checkpoint,
    TableFeature::VacuumProtocolCheck,
];

/// What the versions before feature lists stand for: reader version, writer version, feature.
const LEGACY: &[(i32, i32, TableFeature)] = &[
    (1, 2, TableFeature::AppendOnly),
    (1, 2, TableFeature::Invariants),
    (1, 3, TableFeature::CheckConstraints),
    (1, 4, TableFeature::ChangeDataFeed),
    (1, 4, TableFeature::GeneratedColumns),
    (2, 5, TableFeature::ColumnMapping),
    (1, 6, TableFeature::IdentityColumns),
];

/// Features that come with others.
const REQUIRES: &[(TableFeature, TableFeature)] = &[
    (TableFeature::Clustering, TableFeature::DomainMetadata),
    (TableFeature::RowTracking, TableFeature::DomainMetadata),
    (TableFeature::VariantShredding, TableFeature::VariantType),
    (TableFeature::IcebergCompatV1, TableFeature::ColumnMapping),
    (TableFeature::IcebergCompatV2, TableFeature::ColumnMapping),
    (TableFeature::IcebergCompatV3, TableFeature::ColumnMapping),
    (TableFeature::IcebergCompatV3, TableFeature::RowTracking),
];

impl Protocol {
    /// Every feature the table supports, listed or implied by its versions.
    ///
    /// Spec: [Supported Features](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#supported-features).
    pub fn features(&self) -> BTreeSet<TableFeature> {
        let listed = [self.writer_features.as_ref(), self.reader_features.as_ref()];
        let listed = listed.into_iter().flatten().flatten();
        let mut features: BTreeSet<_> = listed.map(|name| TableFeature::from_name(name)).collect();
        if self.min_writer_version < WRITER_WITH_FEATURES {
            let implied = LEGACY
                .iter()
                .filter(|(_, writer, _)| *writer <= self.min_writer_version);
            features.extend(implied.map(|(_, _, feature)| feature.clone()));
        }
        if self.min_reader_version == 2 {
            features.insert(TableFeature::ColumnMapping);
        }
        features
    }

    /// This protocol with the features of another added: never lower versions, never a feature less.
    pub(crate) fn extended_by(&self, other: &Self) -> Self {
        let have = self.features();
        let features: BTreeSet<_> = have.union(&other.features()).cloned().collect();
        if features == have {
            return self.clone();
        }
        let lowest = lowest(&features);
        let lists = WRITER_WITH_FEATURES <= self.min_writer_version
            || READER_WITH_FEATURES <= self.min_reader_version;
        if lists && lowest.min_writer_version < WRITER_WITH_FEATURES {
            return listed(&features, self.min_reader_version);
        }
        let reader = self.min_reader_version.max(lowest.min_reader_version);
        if lowest.min_writer_version < WRITER_WITH_FEATURES {
            return Self {
                min_reader_version: reader,
                min_writer_version: self.min_writer_version.max(lowest.min_writer_version),
                ..lowest
            };
        }
        listed(&features, reader)
    }

    /// Whether the table supports the feature.
    pub fn supports(&self, feature: &TableFeature) -> bool {
        self.features().contains(feature)
    }
}

/// Whether this build can read a table of this protocol.
///
/// Spec: [Reader Version Requirements](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#reader-version-requirements).
///
/// # Errors
///
/// [`Unsupported`](crate::error::ErrorKind::Unsupported) naming every feature that is missing, or
/// [`Corrupt`](crate::error::ErrorKind::Corrupt) if the protocol contradicts itself.
pub fn check_readable(p: &Protocol) -> Result<()> {
    let mut missing = BTreeSet::new();
    if READER_WITH_FEATURES < p.min_reader_version {
        missing.insert(format!("reader version {}", p.min_reader_version));
    } else {
        // What versions to come ask of the lists is theirs to say.
        check_consistent(p)?;
    }
    for name in p.reader_features.iter().flatten() {
        let feature = TableFeature::from_name(name);
        if matches!(
            feature,
            TableFeature::CatalogManaged | TableFeature::CatalogOwnedPreview
        ) {
            missing.insert(format!(
                "{name} (its newest commits are known to its catalog alone, so it can only be read through that catalog)"
            ));
        } else if !READABLE.contains(&feature) {
            missing.insert(name.escape_debug().to_string());
        }
    }
    refuse("reading", missing)
}

/// Whether this build can undo what happened to the columns of a table of this protocol.
///
/// Spec: [Type Widening](https://github.com/delta-io/delta/blob/master/protocol_rfcs/type-widening.md).
///
/// # Errors
///
/// [`Unsupported`](crate::error::ErrorKind::Unsupported) naming a type change that is not known.
pub(crate) fn check_columns(p: &Protocol, schema: &Schema) -> Result<()> {
    let widening = [
        TableFeature::TypeWidening,
        TableFeature::TypeWideningPreview,
    ];
    if widening.iter().any(|feature| p.supports(feature)) {
        check_type_changes(schema)?;
    }
    Ok(())
}

/// Whether this build may write a table of this protocol, with this metadata and schema.
///
/// Spec: [Writer Version Requirements](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#writer-version-requirements).
///
/// # Errors
///
/// As [`check_readable`]; [`Unsupported`](crate::error::ErrorKind::Unsupported) naming every feature that is in use and
/// cannot be obeyed.
pub fn check_writable(p: &Protocol, m: &Metadata, schema: &Schema) -> Result<()> {
    check_readable(p)?;
    let mut missing = BTreeSet::new();
    if WRITER_WITH_FEATURES < p.min_writer_version {
        missing.insert(format!("writer version {}", p.min_writer_version));
    }
    for feature in p.features() {
        if !WRITABLE.contains(&feature) && !idle(&feature, schema, &m.configuration) {
            missing.insert(feature.to_string().escape_debug().to_string());
        }
    }
    // Rules that are declared without their feature are beyond the protocol; ignoring them would still break them.
    for feature in used_by(schema, &m.configuration).unwrap_or_default() {
        let rule = matches!(
            feature,
            TableFeature::Invariants
                | TableFeature::CheckConstraints
                | TableFeature::GeneratedColumns
                | TableFeature::IdentityColumns
                | TableFeature::ColumnMapping
        );
        if rule && !WRITABLE.contains(&feature) {
            missing.insert(feature.to_string());
        }
    }
    unstorable(schema, &mut missing);
    refuse("writing", missing)?;
    schema.to_arrow().map(|_| ())
}

/// Adds the types that are read but not written.
fn unstorable(schema: &Schema, missing: &mut BTreeSet<String>) {
    let mut types: Vec<&DataType> = schema
        .fields()
        .iter()
        .map(|field| &field.data_type)
        .collect();
    while let Some(data_type) = types.pop() {
        match data_type {
            DataType::Primitive(PrimitiveType::Unknown(name)) => {
                missing.insert(format!("data of type {}", name.escape_debug()));
            }
            DataType::Primitive(_) => {}
            DataType::Struct(schema) => {
                types.extend(schema.fields().iter().map(|field| &field.data_type))
            }
            DataType::Array(array) => types.push(&array.element),
            DataType::Map(map) => types.extend([&map.key, &map.value]),
        }
    }
}

/// The protocol that a new table of this schema and these properties needs: versions as low as can be, `(1, 2)` for a
/// plain table. Properties `delta.feature.NAME` ask for a feature by name.
///
/// # Errors
///
/// [`Invalid`](crate::error::ErrorKind::Invalid) if a property that decides about a feature is malformed.
pub fn protocol_for(
    schema: &Schema,
    properties: &BTreeMap<String, String>,
    extra: &[TableFeature],
) -> Result<Protocol> {
    let mut features = used_by(schema, properties)?;
    features.extend(extra.iter().cloned());
    features.extend([TableFeature::AppendOnly, TableFeature::Invariants]);
    // Twice, since a required feature may require another.
    for _ in 0..2 {
        for (feature, required) in REQUIRES {
            if features.contains(feature) {
                features.insert(required.clone());
            }
        }
    }
    Ok(lowest(&features))
}

/// The lowest protocol of these features: by versions where they say it, else by lists.
fn lowest(features: &BTreeSet<TableFeature>) -> Protocol {
    let (reader, writer) = LEGACY
        .iter()
        .filter(|(_, _, feature)| features.contains(feature))
        .fold((1, 1), |(reader, writer), &(r, w, _)| {
            (reader.max(r), writer.max(w))
        });
    let legacy = Protocol {
        min_reader_version: reader,
        min_writer_version: writer,
        reader_features: None,
        writer_features: None,
    };
    if legacy.features() == *features {
        return legacy;
    }
    listed(features, 1)
}

/// The protocol that lists these features, of a reader version that is not below `reader`.
fn listed(features: &BTreeSet<TableFeature>, reader: i32) -> Protocol {
    let of_readers = |feature: &&TableFeature| feature.audience() != Some(Audience::Writers);
    let readers: Vec<&TableFeature> = features.iter().filter(of_readers).collect();
    let needed = match readers.as_slice() {
        [] => 1,
        [TableFeature::ColumnMapping] => 2,
        _ => READER_WITH_FEATURES,
    };
    let reader = reader.max(needed);
    let names =
        |features: Vec<&TableFeature>| features.iter().map(|f| f.name().to_owned()).collect();
    Protocol {
        min_reader_version: reader,
        min_writer_version: WRITER_WITH_FEATURES,
        reader_features: (reader == READER_WITH_FEATURES).then(|| names(readers)),
        writer_features: Some(names(features.iter().collect())),
    }
}

fn refuse(doing: &str, missing: BTreeSet<String>) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.into_iter().collect::<Vec<_>>().join(", ");
    Err(Error::unsupported(format!(
        "{doing} this table needs what this build lacks: {names}"
    )))
}

/// Versions and lists must agree: acting on one of two contradicting statements could lose rows.
fn check_consistent(p: &Protocol) -> Result<()> {
    let corrupt = |what: &str| {
        let message = format!("the table's protocol contradicts itself: {what}");
        Err(Error::corrupt(Code::CorruptCommit, message)
            .with("reader version", p.min_reader_version)
            .with("writer version", p.min_writer_version))
    };
    if p.min_reader_version < 1 || p.min_writer_version < 1 {
        return corrupt("versions start at 1");
    }
    let (reader, writer) = (p.min_reader_version, p.min_writer_version);
    // Some writers put empty lists beside old versions.
    let reader_list = p
        .reader_features
        .as_deref()
        .filter(|list| 3 <= reader || !list.is_empty());
    let writer_list = p
        .writer_features
        .as_deref()
        .filter(|list| 7 <= writer || !list.is_empty());
    if (READER_WITH_FEATURES <= reader) != reader_list.is_some() {
        return corrupt("reader features are listed if and only if the reader version is 3");
    }
    if (WRITER_WITH_FEATURES <= writer) != writer_list.is_some() {
        return corrupt("writer features are listed if and only if the writer version is 7");
    }
    if READER_WITH_FEATURES <= reader && writer < WRITER_WITH_FEATURES {
        return corrupt("reader version 3 goes with writer version 7");
    }
    let (reader_list, writer_list) = (
        reader_list.unwrap_or_default(),
        writer_list.unwrap_or_default(),
    );
    for name in reader_list {
        if !writer_list.contains(name) {
            return corrupt("a reader feature is not among the writer features");
        }
        if TableFeature::from_name(name).audience() == Some(Audience::Writers) {
            return corrupt("a feature of writers only is among the reader features");
        }
    }
    for name in writer_list {
        let feature = TableFeature::from_name(name);
        // Reader version 2 stands for column mapping.
        let by_version = reader == 2 && feature == TableFeature::ColumnMapping;
        let of_readers = feature.audience() == Some(Audience::ReadersAndWriters);
        if of_readers && !by_version && !reader_list.contains(name) {
            return corrupt("a feature of readers and writers is not among the reader features");
        }
    }
    Ok(())
}

/// Whether a feature that is not in [`WRITABLE`] asks nothing of a writer of this table.
fn idle(feature: &TableFeature, schema: &Schema, properties: &BTreeMap<String, String>) -> bool {
    match feature {
        // Being supported is enough to oblige writers.
        TableFeature::RowTracking => is_true(properties, "delta.rowTrackingSuspended"),
        TableFeature::CheckpointProtection => properties
            .get("delta.requireCheckpointProtectionBeforeVersion")
            .is_none_or(|version| version.trim() == "0"),
        TableFeature::Invariants
        | TableFeature::CheckConstraints
        | TableFeature::GeneratedColumns
        | TableFeature::ColumnMapping
        | TableFeature::IdentityColumns
        | TableFeature::AllowColumnDefaults
        | TableFeature::IcebergCompatV1
        | TableFeature::IcebergCompatV2
        | TableFeature::IcebergCompatV3 => {
            used_by(schema, properties).is_ok_and(|used| !used.contains(feature))
        }
        _ => false,
    }
}
