//! Alter: columns, properties, constraints and features of a table; its rows stay.

mod form;
mod schema;

use futures::TryStreamExt;
use futures::future::BoxFuture;

use crate::error::{Code, Error, Result};
use crate::operation::alter::form::Form;
use crate::operation::{Verb, awaitable};
use crate::predicate::Predicate;
use crate::protocol::schema::Field;
use crate::table::Table;
use crate::transaction::{Draft, ReadRows};

/// Changes what a table is; await it. See [`Table::alter`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct Alter {
    table: Table,
    changes: Vec<Change>,
}

/// One change of many.
#[derive(Debug, Clone)]
enum Change {
    AddColumn {
        parent: Vec<String>,
        field: Field,
    },
    RenameColumn {
        path: Vec<String>,
        name: String,
    },
    DropColumn {
        path: Vec<String>,
    },
    DropNotNull {
        path: Vec<String>,
    },
    Comment {
        path: Vec<String>,
        text: Option<String>,
    },
    Describe {
        text: Option<String>,
    },
    SetProperty {
        key: String,
        value: String,
    },
    UnsetProperty {
        key: String,
        must_exist: bool,
    },
    AddConstraint {
        name: String,
        condition: String,
    },
    DropConstraint {
        name: String,
    },
    AddFeature {
        name: String,
    },
}

impl Change {
    /// What `commitInfo` calls it.
    fn name(&self) -> &'static str {
        match self {
            Self::AddColumn { .. } => "ADD COLUMNS",
            Self::RenameColumn { .. } => "RENAME COLUMN",
            Self::DropColumn { .. } => "DROP COLUMNS",
            Self::DropNotNull { .. } | Self::Comment { .. } => "CHANGE COLUMN",
            Self::Describe { .. } | Self::SetProperty { .. } => "SET TBLPROPERTIES",
            Self::UnsetProperty { .. } => "UNSET TBLPROPERTIES",
            Self::AddConstraint { .. } => "ADD CONSTRAINT",
            Self::DropConstraint { .. } => "DROP CONSTRAINT",
            Self::AddFeature { .. } => "ADD FEATURE",
        }
    }
}

impl Table {
    /// Changes columns, properties, constraints and features, as one version. Columns are named as in
    /// [`col`](crate::predicate::col): `a`, or `a.b` for a field of a struct column.
    ///
    /// ```
    /// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use headwater::protocol::schema::{DataType, Field, Schema};
    /// # let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
    /// # let table = headwater::Table::create("memory:///alter-example", schema).await?;
    /// table
    ///     .alter()
    ///     .add_column(Field::new("note", DataType::STRING, true))
    ///     .set_property("delta.appendOnly", "true")
    ///     .await?;
    /// assert_eq!(table.snapshot().schema().fields().len(), 2);
    /// assert!(table.snapshot().properties().append_only);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    ///
    /// When awaited: [`Invalid`](crate::ErrorKind::Invalid) if a change makes no sense on this table or its rows break
    /// a new constraint, [`Unsupported`](crate::ErrorKind::Unsupported) if it needs a feature that this build lacks,
    /// [`Conflict`](crate::ErrorKind::Conflict), and [`Storage`](crate::ErrorKind::Storage).
    pub fn alter(&self) -> Alter {
        Alter {
            table: self.clone(),
            changes: Vec::new(),
        }
    }
}

impl Alter {
    fn and(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    /// Adds a column after the others. It must be nullable: rows that are there have no value for it.
    pub fn add_column(self, field: Field) -> Self {
        let parent = Vec::new();
        self.and(Change::AddColumn { parent, field })
    }

    /// Adds a field to a struct column.
    pub fn add_field(self, parent: &str, field: Field) -> Self {
        let parent = schema::path(parent);
        self.and(Change::AddColumn { parent, field })
    }

    /// Gives a column another name; data files stay as they are. Needs `delta.columnMapping.mode` to be `name` or
    /// `id`.
    ///
    /// Spec: [Column Mapping](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#column-mapping).
    pub fn rename_column(self, column: &str, name: impl Into<String>) -> Self {
        let path = schema::path(column);
        let name = name.into();
        self.and(Change::RenameColumn { path, name })
    }

    /// Takes a column out of the schema; data files stay as they are, and older versions have it. Needs
    /// `delta.columnMapping.mode` to be `name` or `id`.
    pub fn drop_column(self, column: &str) -> Self {
        let path = schema::path(column);
        self.and(Change::DropColumn { path })
    }

    /// Lets a column be null from now on.
    pub fn drop_not_null(self, column: &str) -> Self {
        let path = schema::path(column);
        self.and(Change::DropNotNull { path })
    }

    /// Notes what a column is about; `None` removes the note.
    pub fn comment(self, column: &str, text: Option<&str>) -> Self {
        let path = schema::path(column);
        let text = text.map(str::to_owned);
        self.and(Change::Comment { path, text })
    }

    /// Describes the table for people; `None` removes the description.
    pub fn describe(self, text: Option<&str>) -> Self {
        let text = text.map(str::to_owned);
        self.and(Change::Describe { text })
    }

    /// Sets a table property. What a property asks of the protocol is added to it.
    pub fn set_property(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let (key, value) = (key.into(), value.into());
        self.and(Change::SetProperty { key, value })
    }

    /// Removes a table property that is set.
    pub fn unset_property(self, key: impl Into<String>) -> Self {
        let (key, must_exist) = (key.into(), true);
        self.and(Change::UnsetProperty { key, must_exist })
    }

    /// Removes a table property, if it is set.
    pub fn unset_property_if_set(self, key: impl Into<String>) -> Self {
        let (key, must_exist) = (key.into(), false);
        self.and(Change::UnsetProperty { key, must_exist })
    }

    /// Makes every row obey a condition, in SQL, from now on; the rows that are there are checked first.
    ///
    /// Spec: [CHECK Constraints](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#check-constraints).
    pub fn add_constraint(self, name: impl Into<String>, condition: impl Into<String>) -> Self {
        let (name, condition) = (name.into(), condition.into());
        self.and(Change::AddConstraint { name, condition })
    }

    /// Removes a constraint.
    pub fn drop_constraint(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.and(Change::DropConstraint { name })
    }

    /// Lists a table feature in the protocol, by the protocol's name for it. It stays for good.
    ///
    /// Spec: [Table Features](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#table-features).
    pub fn add_feature(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.and(Change::AddFeature { name })
    }

    async fn stage_changes(&self, draft: &mut Draft) -> Result<()> {
        let state = draft.state().clone();
        let mut form = Form::of(&state);
        for change in &self.changes {
            form.apply(change)?;
        }
        let (metadata, protocol) = form.finish()?;
        if metadata != *state.metadata() {
            draft.set_metadata(metadata);
        }
        if protocol != *state.protocol() {
            draft.set_protocol(protocol);
        }
        // A constraint speaks of the columns as they are with all the changes.
        draft.settle().await?;
        for change in &self.changes {
            if let Change::AddConstraint { name, condition } = change {
                check_rows(draft, name, condition).await?;
            }
        }
        for (name, value) in self.parameters() {
            draft.parameter(name, value);
        }
        Ok(())
    }

    /// What the history shows of the changes: never a value of a property, which may be a secret.
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut columns = Vec::new();
        let mut properties = Vec::new();
        let mut constraints = Vec::new();
        for change in &self.changes {
            match change {
                Change::AddColumn { parent, field } => {
                    let path = parent.iter().chain([&field.name]);
                    columns.push(path.cloned().collect::<Vec<_>>().join("."));
                }
                Change::RenameColumn { path, .. }
                | Change::DropColumn { path }
                | Change::DropNotNull { path }
                | Change::Comment { path, .. } => columns.push(path.join(".")),
                Change::SetProperty { key, .. } | Change::UnsetProperty { key, .. } => {
                    properties.push(key.clone());
                }
                Change::AddConstraint { name, .. } | Change::DropConstraint { name } => {
                    constraints.push(name.clone());
                }
                Change::Describe { .. } | Change::AddFeature { .. } => {}
            }
        }
        let lists = [
            ("columns", columns),
            ("properties", properties),
            ("constraints", constraints),
        ];
        let given = lists.into_iter().filter(|(_, list)| !list.is_empty());
        given
            .map(|(name, list)| (name, serde_json::Value::from(list).to_string()))
            .collect()
    }
}

/// Counts rows that break a condition: it must be true, and unknown is not.
async fn check_rows(draft: &mut Draft, name: &str, condition: &str) -> Result<()> {
    let broken = Predicate::parse(&format!("({condition}) IS NOT TRUE"))?;
    let scan = draft
        .state()
        .scan()
        .filter(broken.clone())
        .select::<String>([]);
    let mut rows = scan.stream().await?;
    let mut count = 0;
    while let Some(batch) = rows.try_next().await? {
        count += batch.num_rows();
    }
    draft.reads(ReadRows::Matching(broken));
    if count == 0 {
        return Ok(());
    }
    let message = "rows of the table break the new constraint; change them first";
    Err(Error::invalid(Code::RowsRejected, message)
        .with("constraint", name)
        .with("rows", count))
}

impl Verb for Alter {
    fn table(&self) -> &Table {
        &self.table
    }

    fn name(&self) -> &'static str {
        let mut names = self.changes.iter().map(Change::name);
        match names.next() {
            Some(first) if names.all(|name| name == first) => first,
            _ => "ALTER TABLE",
        }
    }

    fn stage<'a>(&'a mut self, draft: &'a mut Draft) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.stage_changes(draft))
    }
}

awaitable!(Alter);
