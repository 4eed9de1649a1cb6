//! What a table is, while it is changed: metadata and the features that its protocol lists.

use std::collections::BTreeSet;

use crate::data::rules::check_condition;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::operation::alter::{Change, schema};
use crate::operation::evolve::{self, MAX_COLUMN_ID};
use crate::operation::invalid;
use crate::predicate::Predicate;
use crate::protocol::action::{Metadata, Protocol};
use crate::protocol::feature::{self, TableFeature};
use crate::protocol::json::Json;
use crate::protocol::property::{ColumnMappingMode, TableProperties};
use crate::protocol::schema::{Field, Schema, fold};
use crate::snapshot::Snapshot;

/// The property prefix of CHECK constraints.
const CONSTRAINTS: &str = "delta.constraints.";
/// The property prefix that asks for a feature, and is no property of the table.
const FEATURES: &str = "delta.feature.";
const MAPPING_MODE: &str = "delta.columnMapping.mode";

pub(super) struct Form {
    environment: Environment,
    base: Protocol,
    metadata: Metadata,
    schema: Schema,
    was_mapped: bool,
    features: BTreeSet<TableFeature>,
}

impl Form {
    pub(super) fn of(state: &Snapshot) -> Self {
        Self {
            environment: state.environment().clone(),
            base: state.protocol().clone(),
            metadata: state.metadata().clone(),
            schema: Schema::clone(state.schema()),
            was_mapped: state.properties().column_mapping_mode != ColumnMappingMode::None,
            features: BTreeSet::new(),
        }
    }

    pub(super) fn apply(&mut self, change: &Change) -> Result<()> {
        match change {
            Change::AddColumn { parent, field } => self.add_column(parent, field),
            Change::RenameColumn { path, name } => self.rename_column(path, name),
            Change::DropColumn { path } => self.drop_column(path),
            Change::DropNotNull { path } => self.change(path, |field| field.nullable = true),
            Change::Comment { path, text } => self.change(path, |field| {
                let note = text.as_deref().map(Json::string);
                drop(match note {
                    Some(note) => field.metadata.insert("comment".to_owned(), note),
                    None => field.metadata.remove("comment"),
                });
            }),
            Change::Describe { text } => {
                self.metadata.description.clone_from(text);
                Ok(())
            }
            Change::SetProperty { key, value } => self.set_property(key, value),
            Change::UnsetProperty { key, must_exist } => self.unset_property(key, *must_exist),
            Change::AddConstraint { name, condition } => self.add_constraint(name, condition),
            Change::DropConstraint { name } => {
                let key = self.constraint_key(name);
                match key.and_then(|key| self.metadata.configuration.remove(&key)) {
                    Some(_) => Ok(()),
                    None => {
                        let message = "the table has no constraint of this name";
                        Err(invalid(message).with("constraint", name))
                    }
                }
            }
            Change::AddFeature { name } => self.add_feature(name),
        }
    }

    fn add_column(&mut self, parent: &[String], field: &Field) -> Result<()> {
        if !field.nullable {
            let message =
                "an added column must be nullable: the rows that are there have no value for it";
            return Err(Error::invalid(Code::InvalidSchema, message).with("column", &field.name));
        }
        if field.metadata.contains_key("CURRENT_DEFAULT") {
            let message =
                "an added column cannot have a default: the rows that are there would not have it";
            return Err(Error::invalid(Code::InvalidSchema, message).with("column", &field.name));
        }
        if field.metadata.contains_key("delta.generationExpression") {
            let message =
                "an added column cannot be generated: the rows that are there have no value for it";
            return Err(Error::invalid(Code::InvalidSchema, message).with("column", &field.name));
        }
        // A field that was taken from a schema is a new column nonetheless: it must not find what another one wrote.
        self.schema = schema::added(&self.schema, parent, &field.unmapped())?;
        Ok(())
    }

    fn rename_column(&mut self, path: &[String], name: &str) -> Result<()> {
        self.needs_mapping("renaming", path)?;
        self.refuse_use("renamed", path)?;
        let mut old = String::new();
        self.schema = schema::changed(&self.schema, path, &mut |field| {
            old.clone_from(&field.name);
            Ok(Some(Field {
                name: name.to_owned(),
                ..field.clone()
            }))
        })?;
        if path.len() == 1 {
            for column in &mut self.metadata.partition_columns {
                if fold(column) == fold(&old) {
                    name.clone_into(column);
                }
            }
        }
        Ok(())
    }

    fn drop_column(&mut self, path: &[String]) -> Result<()> {
        self.needs_mapping("dropping", path)?;
        self.refuse_use("dropped", path)?;
        let is_top = path.len() == 1;
        let partitions = self.metadata.partition_columns.clone();
        self.schema = schema::changed(&self.schema, path, &mut |field| {
            let is_it = |partition: &String| fold(partition) == fold(&field.name);
            if is_top && partitions.iter().any(is_it) {
                let message = "a partition column cannot be dropped";
                return Err(invalid(message).with("column", &field.name));
            }
            Ok(None)
        })?;
        let left = self.schema.fields().len();
        if left == 0 || left == partitions.len() {
            return Err(invalid(
                "the last column that data files hold cannot be dropped",
            ));
        }
        Ok(())
    }

    fn needs_mapping(&self, doing: &str, path: &[String]) -> Result<()> {
        if self.was_mapped {
            return Ok(());
        }
        let message = format!(
            "{doing} a column needs column mapping: set the property `{MAPPING_MODE}` to `name` first"
        );
        Err(invalid(message).with("column", path.join(".")))
    }

    /// What is computed from a column, or rests on it, names it by its text.
    fn refuse_use(&self, done: &str, path: &[String]) -> Result<()> {
        let Some(name) = path.last() else {
            return Ok(());
        };
        let refuse = |by: String| {
            let message = format!("the column cannot be {done}: {by} may rest on it");
            Err(invalid(message).with("column", path.join(".")))
        };
        for (key, text) in &self.metadata.configuration {
            let rests = key.starts_with(CONSTRAINTS) || key == "delta.dataSkippingStatsColumns";
            if rests && mentions(text, name) {
                return refuse(format!("`{key}`"));
            }
        }
        for field in self.schema.fields() {
            for key in ["delta.generationExpression", "delta.invariants"] {
                let rule = field.metadata.get(key);
                if rule.is_some_and(|rule| mentions(rule.text(), name)) {
                    return refuse(format!("a rule of the column `{}`", field.name));
                }
            }
        }
        Ok(())
    }

    fn change(&mut self, path: &[String], change: impl Fn(&mut Field)) -> Result<()> {
        self.schema = schema::changed(&self.schema, path, &mut |field| {
            let mut field = field.clone();
            change(&mut field);
            Ok(Some(field))
        })?;
        Ok(())
    }

    fn set_property(&mut self, key: &str, value: &str) -> Result<()> {
        if let Some(name) = key.strip_prefix(FEATURES) {
            return self.add_feature(name);
        }
        let configuration = &mut self.metadata.configuration;
        let old = configuration
            .get(key)
            .map(String::as_str)
            .unwrap_or_default();
        let refuse = |message: &str| Err(invalid(message).with("property", key));
        match key {
            MAX_COLUMN_ID | "delta.minReaderVersion" | "delta.minWriterVersion" => {
                return refuse("this property is kept by writers; it cannot be set");
            }
            MAPPING_MODE
                if old != value && !matches!((old, value), ("" | "none", "name" | "none")) =>
            {
                return refuse("column mapping can be changed from `none` to `name` only");
            }
            "delta.enableInCommitTimestamps" if is_true(value) && !is_true(old) => {
                return refuse("in-commit timestamps can be enabled only when a table is created");
            }
            _ if key.starts_with(CONSTRAINTS) => {
                return refuse("a constraint is added as such, so that the rows are checked");
            }
            _ => {}
        }
        configuration.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    fn unset_property(&mut self, key: &str, must_exist: bool) -> Result<()> {
        let refuse = |message: &str| Err(invalid(message).with("property", key));
        if matches!(key, MAPPING_MODE | MAX_COLUMN_ID) {
            return refuse("column mapping stays once it is there");
        }
        if key.starts_with(CONSTRAINTS) {
            return refuse("a constraint is dropped as such");
        }
        if self.metadata.configuration.remove(key).is_none() && must_exist {
            return refuse("the property is not set");
        }
        Ok(())
    }

    fn add_constraint(&mut self, name: &str, condition: &str) -> Result<()> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || !name.chars().all(is_name) {
            let message = "a constraint's name is made of letters, digits, `_` and `-`";
            return Err(invalid(message).with("constraint", name));
        }
        if self.constraint_key(name).is_some() {
            let message = "the table has a constraint of this name already";
            return Err(invalid(message).with("constraint", name));
        }
        let bound = Predicate::parse(condition).and_then(|it| it.bind(&self.schema).map(drop));
        bound.map_err(|error| error.with("constraint", name))?;
        // As every writer will ask from now on: what is refused then would close the table.
        check_condition(name, condition, &self.schema)?;
        let key = format!("{CONSTRAINTS}{}", name.to_lowercase());
        self.metadata
            .configuration
            .insert(key, condition.to_owned());
        Ok(())
    }

    /// The property of a constraint, whose name is found without regard to case.
    fn constraint_key(&self, name: &str) -> Option<String> {
        let wanted = format!("{CONSTRAINTS}{name}").to_lowercase();
        let mut keys = self.metadata.configuration.keys();
        keys.find(|key| key.to_lowercase() == wanted).cloned()
    }

    fn add_feature(&mut self, name: &str) -> Result<()> {
        let feature = TableFeature::from_name(name);
        if matches!(feature, TableFeature::Unknown(_)) {
            let message = "this build does not know the table feature";
            return Err(Error::unsupported(message).with("feature", name));
        }
        self.features.insert(feature);
        Ok(())
    }

    /// The metadata and the protocol that the changes lead to.
    pub(super) fn finish(mut self) -> Result<(Metadata, Protocol)> {
        let properties = TableProperties::parse(&self.metadata.configuration)?;
        if properties.column_mapping_mode != ColumnMappingMode::None {
            self.map_columns()?;
        }
        let configuration = &self.metadata.configuration;
        let extra: Vec<_> = self.features.into_iter().collect();
        let needed = feature::protocol_for(&self.schema, configuration, &extra)?;
        let protocol = self.base.extended_by(&needed);
        // What did not change keeps the text it was written with.
        if self.schema != Schema::from_json(&self.metadata.schema_string)? {
            self.metadata.schema_string = self.schema.to_json();
        }
        feature::check_writable(&protocol, &self.metadata, &self.schema)?;
        Ok((self.metadata, protocol))
    }

    /// Columns that were there before mapping keep their names in data files; later ones get names that no column
    /// ever had.
    fn map_columns(&mut self) -> Result<()> {
        let keep = !self.was_mapped;
        if keep {
            // Files so far were written by the columns' names, whatever notes of an earlier mapping say.
            self.schema = self.schema.unmapped();
        }
        let environment = self.environment.clone();
        let mut name = |field: &Field| match keep {
            true => field.name.clone(),
            false => evolve::fresh_name(&environment),
        };
        self.schema = evolve::map_columns(&self.schema, &mut self.metadata, &mut name)?;
        Ok(())
    }
}

/// Whether a text has a name as a word of its own, in any case. It may say so of a text that means something else;
/// never the other way round.
fn mentions(text: &str, name: &str) -> bool {
    let text = text.to_lowercase();
    let name = name.to_lowercase();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(&name).any(|(start, found)| {
        let before = text.get(..start).and_then(|text| text.chars().next_back());
        let after = text
            .get(start + found.len()..)
            .and_then(|text| text.chars().next());
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// Whether a property is true, as readers understand it.
fn is_true(value: &str) -> bool {
    value.trim().eq_ignore_ascii_case("true")
}
