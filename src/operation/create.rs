//! Version 0.

use std::collections::BTreeMap;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use crate::data::rules::Rules;
use crate::environment::Environment;
use crate::error::{Code, Error, ErrorKind, Result};
use crate::log::commit::{self, TABLE_ID};
use crate::log::segment::LogSegment;
use crate::operation::{evolve, invalid};
use crate::protocol::action::{Action, Format, Metadata};
use crate::protocol::feature::{self, TableFeature};
use crate::protocol::property::{ColumnMappingMode, TableProperties};
use crate::protocol::schema::{DataType, Field, PrimitiveType, Schema};
use crate::snapshot::Snapshot;
use crate::storage::Storage;
use crate::table::Table;
use crate::transaction::Operation;
use crate::transaction::slot::{self, Slot};

/// Creates a table; await it. See [`Table::create`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct Create {
    place: Place,
    schema: Schema,
    partition_columns: Vec<String>,
    properties: BTreeMap<String, String>,
    features: Vec<String>,
    description: Option<String>,
    or_open: bool,
}

#[derive(Debug)]
enum Place {
    Location(String),
    Storage(Storage, Environment),
}

impl Table {
    /// Creates a table at a path or URL: writes version 0, with the lowest protocol that schema and properties need.
    ///
    /// ```
    /// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use headwater::protocol::schema::{DataType, Field, Schema};
    /// let schema = Schema::new([
    ///     Field::new("day", DataType::DATE, false),
    ///     Field::new("delay", DataType::INTEGER, true),
    /// ])?;
    /// let table = headwater::Table::create("memory:///create-example", schema)
    ///     .partition_by(["day"])
    ///     .property("delta.appendOnly", "true")
    ///     .await?;
    /// assert_eq!(table.snapshot().partition_columns(), ["day"]);
    /// assert_eq!(table.snapshot().protocol().min_reader_version, 1);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    ///
    /// When awaited: [`Conflict`](ErrorKind::Conflict) with the code [`TableExists`](Code::TableExists) if a table is
    /// there already, [`Invalid`](ErrorKind::Invalid) if schema, partition columns or properties cannot be.
    pub fn create(location: &str, schema: Schema) -> Create {
        Create::new(Place::Location(location.to_owned()), schema)
    }

    /// Creates a table in a storage of the caller's own.
    pub fn create_in(storage: Storage, environment: Environment, schema: Schema) -> Create {
        Create::new(Place::Storage(storage, environment), schema)
    }
}

impl Create {
    fn new(place: Place, schema: Schema) -> Self {
        // Structured statistics let readers prune without parsing JSON per file.
        let struct_stats = (
            "delta.checkpoint.writeStatsAsStruct".to_owned(),
            "true".to_owned(),
        );
        Self {
            place,
            schema,
            partition_columns: Vec::new(),
            properties: BTreeMap::from([struct_stats]),
            features: Vec::new(),
            description: None,
            or_open: false,
        }
    }

    /// Splits the rows by the values of these columns, each combination into files of its own.
    pub fn partition_by<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.partition_columns = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets a table property, such as `delta.appendOnly` to `true`.
    pub fn property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.insert(key.into(), value.into());
        self
    }

    /// Lists a table feature in the protocol, by its name in the protocol, whether or not anything needs it.
    pub fn feature(mut self, name: impl Into<String>) -> Self {
        self.features.push(name.into());
        self
    }

    /// A description for people.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// Opens the table if one is there already, whatever its schema; of any number of callers at once, one creates it
    /// and the others open it.
    ///
    /// ```
    /// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use headwater::protocol::schema::{DataType, Field, Schema};
    /// let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
    /// let first = headwater::Table::create("memory:///or-open-example", schema.clone()).or_open().await?;
    /// let second = headwater::Table::create("memory:///or-open-example", schema).or_open().await?;
    /// assert_eq!(first.snapshot().metadata().id, second.snapshot().metadata().id);
    /// # Ok(()) }) }
    /// ```
    pub fn or_open(mut self) -> Self {
        self.or_open = true;
        self
    }

    async fn run(self) -> Result<Table> {
        let (storage, environment) = self.place()?;
        match self.create(&storage, &environment).await {
            Err(error) if self.or_open && error.code() == Code::TableExists => {
                Table::open_in(storage, environment).await
            }
            created => created,
        }
    }

    fn place(&self) -> Result<(Storage, Environment)> {
        Ok(match &self.place {
            Place::Location(location) => {
                let environment = Environment::system();
                (Storage::open(location, &environment)?, environment)
            }
            Place::Storage(storage, environment) => (storage.clone(), environment.clone()),
        })
    }

    async fn create(&self, storage: &Storage, environment: &Environment) -> Result<Table> {
        let actions = self.actions(environment)?;
        refuse_existing(storage).await?;
        let txn_id = environment.uuid().to_string();
        let now = environment.now_millis();
        let mut info = self.operation().commit_info(&txn_id, now);
        let properties = TableProperties::parse(&self.properties)?;
        info.isolation_level = Some(properties.isolation_level.as_str().to_owned());
        info.is_blind_append = Some(true);
        info.in_commit_timestamp = properties.enable_in_commit_timestamps.then_some(now);
        let table_id = actions.iter().find_map(|action| match action {
            Action::Metadata(metadata) => Some(metadata.id.clone()),
            _ => None,
        });
        let table_id = table_id.map(|id| (TABLE_ID.to_owned(), id.into()));
        info.unknown.extend(table_id);
        let actions: Vec<_> = std::iter::once(Action::CommitInfo(info))
            .chain(actions)
            .collect();
        let bytes = commit::encode(0, &actions)?;
        land(storage, environment, &txn_id, &bytes).await?;
        // What landed is these bytes: reading them back could fail, and the table is there.
        let landed = commit::decode(0, &bytes)?;
        Ok(Table::of(Snapshot::created(storage, environment, landed)?))
    }

    fn actions(&self, environment: &Environment) -> Result<Vec<Action>> {
        // The schema may be another table's, which knows its columns by names that mean nothing here.
        let schema = self.schema.unmapped();
        check_partition_columns(&schema, &self.partition_columns)?;
        let properties = TableProperties::parse(&self.properties)?;
        let features: Vec<_> = self
            .features
            .iter()
            .map(|name| TableFeature::from_name(name))
            .collect();
        let protocol = feature::protocol_for(&schema, &self.properties, &features)?;
        let mut metadata = Metadata {
            id: environment.uuid().to_string(),
            name: None,
            description: self.description.clone(),
            format: Format::default(),
            schema_string: schema.to_json(),
            partition_columns: self
                .partition_columns
                .iter()
                .map(|name| {
                    // As the schema spells it: names are compared without regard to case.
                    schema
                        .field(name)
                        .map_or_else(|| name.clone(), |field| field.name.clone())
                })
                .collect(),
            created_time: Some(environment.now_millis()),
            configuration: self.kept_properties(),
            unknown: BTreeMap::new(),
        };
        if properties.column_mapping_mode != ColumnMappingMode::None {
            let mut name = |_: &Field| evolve::fresh_name(environment);
            let mapped = evolve::map_columns(&schema, &mut metadata, &mut name)?;
            metadata.schema_string = mapped.to_json();
        }
        feature::check_readable(&protocol)?;
        feature::check_writable(&protocol, &metadata, &schema)?;
        Rules::of(
            &Arc::new(schema),
            &metadata.configuration,
            environment.now_millis(),
        )?;
        Ok(vec![Action::Protocol(protocol), Action::Metadata(metadata)])
    }

    /// Properties `delta.feature.NAME` ask for a feature of the protocol and are not properties of the table.
    fn kept_properties(&self) -> BTreeMap<String, String> {
        let kept = |(key, _): &(&String, &String)| !key.starts_with("delta.feature.");
        let owned = |(key, value): (&String, &String)| (key.clone(), value.clone());
        self.properties.iter().filter(kept).map(owned).collect()
    }

    fn operation(&self) -> Operation {
        let json = |value: serde_json::Value| value.to_string();
        let properties: serde_json::Map<_, _> = self
            .properties
            .iter()
            .map(|(key, value)| (key.clone(), value.clone().into()))
            .collect();
        let parameters = [
            ("isManaged", json(false.into())),
            ("description", json(self.description.clone().into())),
            ("partitionBy", json(self.partition_columns.clone().into())),
            ("properties", json(properties.into())),
        ];
        Operation {
            name: "CREATE TABLE",
            parameters: parameters
                .map(|(key, value)| (key.to_owned(), value))
                .into(),
            metrics: BTreeMap::new(),
        }
    }
}

impl IntoFuture for Create {
    type Output = Result<Table>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

fn check_partition_columns(schema: &Schema, columns: &[String]) -> Result<()> {
    if schema.fields().is_empty() {
        return Err(Error::invalid(
            Code::InvalidSchema,
            "a table needs at least one column",
        ));
    }
    let mut seen = std::collections::BTreeSet::new();
    for column in columns {
        let Some(field) = schema.field(column) else {
            return Err(invalid("a partition column is not in the schema").with("column", column));
        };
        if !seen.insert(field.name.clone()) {
            return Err(invalid("a partition column is named twice").with("column", column));
        }
        match field.data_type.as_primitive() {
            Some(PrimitiveType::Void | PrimitiveType::Variant | PrimitiveType::Unknown(_))
            | None => {
                let message = format!(
                    "a column of type {} cannot partition a table",
                    field.data_type
                );
                return Err(invalid(message).with("column", column));
            }
            Some(_) => {}
        }
    }
    if columns.len() == schema.fields().len() {
        let message = "every column is a partition column: data files would have none";
        return Err(invalid(message));
    }
    let nested = |field: &Field| matches!(field.data_type, DataType::Struct(ref inner) if inner.fields().is_empty());
    match schema.fields().iter().find(|field| nested(field)) {
        Some(field) => {
            let message = "a struct column needs at least one field";
            Err(Error::invalid(Code::InvalidSchema, message).with("column", &field.name))
        }
        None => Ok(()),
    }
}

async fn refuse_existing(storage: &Storage) -> Result<()> {
    match LogSegment::list(storage, None).await {
        Ok(_) => Err(exists(storage)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn exists(storage: &Storage) -> Error {
    Error::conflict(
        Code::TableExists,
        "a table exists there already; open it instead",
    )
    .with("table", storage.location())
}

/// Fills the slot of version 0.
async fn land(
    storage: &Storage,
    environment: &Environment,
    txn_id: &str,
    bytes: &bytes::Bytes,
) -> Result<()> {
    match slot::fill(storage, environment, 0, bytes, txn_id).await {
        Slot::Ours => Ok(()),
        Slot::Theirs(_) => Err(exists(storage)),
        Slot::Refused(error) => Err(error),
        Slot::Open(cause) => {
            let message =
                "the store did not say whether the table was created; open it to find out";
            let error = Error::storage(Code::CommitUnknown, message);
            let error = error
                .with("table", storage.location())
                .with("txn_id", txn_id);
            Err(match cause {
                Some(cause) => error.because(cause),
                None => error,
            })
        }
    }
}
