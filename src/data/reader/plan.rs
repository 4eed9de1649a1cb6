//! What all files of one read have in common.

use std::sync::Arc;

use arrow_schema::SchemaRef;

use crate::data::layout::nullable_schema;
use crate::data::reader::DataFile;
use crate::data::reader::bounds::{Known, KnownColumns};
use crate::data::reader::mapping::{FileSchema, FindFields};
use crate::error::{Code, Error, Result};
use crate::predicate::BoundPredicate;
use crate::protocol::schema::{DataType, Field, Schema};
use crate::protocol::value::Scalar;

/// What to read of a table's files.
#[derive(Debug, Clone)]
pub(crate) struct ReadPlan {
    /// The table's schema.
    pub(crate) table_schema: Arc<Schema>,
    /// Logical names of the partition columns.
    pub(crate) partition_columns: Vec<String>,
    /// How fields are found in files.
    pub(crate) find: FindFields,
    /// The columns of the result, in its order: fields of the table, structs with all of their fields or some.
    pub(crate) schema: Arc<Schema>,
    /// Which rows; bound to the table's schema.
    pub(crate) predicate: Option<Arc<BoundPredicate>>,
    /// Whether row groups and pages are left unread that provably hold no row of the predicate.
    pub(crate) prune: bool,
    /// Rows of a batch, at most.
    pub(crate) batch_rows: usize,
    /// Whether every row comes with its position in its file.
    pub(crate) row_positions: bool,
}

/// A plan with what follows from it.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) plan: ReadPlan,
    /// The columns to decode: those of the result, then what else the predicate looks at.
    pub(super) read: Schema,
    /// Their Arrow types, in which everything may be null.
    pub(super) read_arrow: SchemaRef,
    /// For each column of the result, where it is among `read`.
    pub(super) output_places: Vec<usize>,
    /// The Arrow types of the result.
    pub(super) output_arrow: SchemaRef,
}

impl Prepared {
    pub(super) fn new(plan: ReadPlan) -> Result<Self> {
        let mut read = plan.schema.fields().to_vec();
        for column in plan
            .predicate
            .iter()
            .flat_map(|predicate| predicate.columns())
        {
            add_path(&mut read, &plan.table_schema, &column.path)
                .map_err(|error| error.with("column", column.path.join(".")))?;
        }
        let read = Schema::new(read)?;
        let places = plan
            .schema
            .fields()
            .iter()
            .filter_map(|field| read.index_of(&field.name));
        Ok(Self {
            output_places: places.collect(),
            output_arrow: plan.schema.to_arrow()?,
            read_arrow: nullable_schema(&read).to_arrow()?,
            read,
            plan,
        })
    }

    pub(super) fn is_partition(&self, name: &str) -> bool {
        let index = self.plan.table_schema.index_of(name);
        let mut columns = self.plan.partition_columns.iter();
        index.is_some() && columns.any(|column| self.plan.table_schema.index_of(column) == index)
    }
}

impl Prepared {
    /// The value of a column that has none in the file.
    pub(super) fn constant(&self, file: &DataFile, field: &Field) -> Result<Option<Scalar>> {
        let DataType::Primitive(primitive) = &field.data_type else {
            return Ok(None);
        };
        if !self.is_partition(&field.name) {
            return Ok(None);
        }
        let name = self.plan.find.names().of(field);
        let text = file.partition_values.get(&name).and_then(Option::as_deref);
        let value = Scalar::from_partition_value(text, primitive);
        value.map(Some).map_err(|error| {
            let message = "the log has a partition value that is not of its column's type";
            Error::corrupt(Code::CorruptCommit, message)
                .with("column", &field.name)
                .because(error)
        })
    }

    /// Where the columns of the predicate are.
    pub(super) fn known(&self, file: &DataFile, schema: &FileSchema) -> Result<KnownColumns> {
        let mut known = KnownColumns::new();
        let columns = self
            .plan
            .predicate
            .iter()
            .flat_map(|predicate| predicate.columns());
        for column in columns {
            let root = column
                .path
                .first()
                .and_then(|name| self.plan.table_schema.field(name));
            let Some(root) = root else { continue };
            let found = match self.constant(file, root)? {
                Some(value) => Known::Constant(value),
                None => schema.find(&self.plan.table_schema, &column.path),
            };
            known.insert(column.path.clone(), found);
        }
        Ok(known)
    }
}

/// Adds the field at the end of `path` to `fields`, with as little around it as can be.
fn add_path(fields: &mut Vec<Field>, schema: &Schema, path: &[String]) -> Result<()> {
    let unknown = || {
        Error::invalid(
            Code::InvalidPredicate,
            "the predicate names an unknown column",
        )
    };
    let (name, rest) = path.split_first().ok_or_else(unknown)?;
    let full = schema.field(name).ok_or_else(unknown)?;
    let place = fields.iter().position(|field| field.name == full.name);
    let DataType::Struct(inner) = &full.data_type else {
        if place.is_none() {
            fields.push(full.clone());
        }
        return Ok(());
    };
    let mut children = match place
        .and_then(|place| fields.get(place))
        .map(|field| &field.data_type)
    {
        Some(DataType::Struct(have)) => have.fields().to_vec(),
        Some(_) => return Ok(()),
        None => Vec::new(),
    };
    if rest.is_empty() {
        children = inner.fields().to_vec();
    } else {
        add_path(&mut children, inner, rest)?;
    }
    let field = Field {
        data_type: DataType::Struct(Schema::new(children)?),
        ..full.clone()
    };
    match place.and_then(|place| fields.get_mut(place)) {
        Some(have) => *have = field,
        None => fields.push(field),
    }
    Ok(())
}
