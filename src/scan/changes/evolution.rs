//! Whether rows of an older schema have one meaning under a newer one.

use crate::data::ColumnNames;
use crate::error::{Error, Result};
use crate::protocol::Version;
use crate::protocol::property::ColumnMappingMode;
use crate::protocol::schema::{DataType, Field, Schema, fold};
use crate::protocol::type_change::widens;

/// The columns of a table at one version.
#[derive(Debug, Clone)]
pub(super) struct Columns<'a> {
    pub(super) schema: &'a Schema,
    pub(super) partition_columns: &'a [String],
    pub(super) mapping: ColumnMappingMode,
}

/// Whether all that rows of `old`, the columns at `version`, hold can be said in the columns of `new`: columns were
/// added, renamed or widened, and nothing else happened to them.
///
/// # Errors
///
/// [`Unsupported`](crate::ErrorKind::Unsupported) naming the version and the column.
pub(super) fn check(old: &Columns<'_>, new: &Columns<'_>, version: Version) -> Result<()> {
    let refused = |what: &str, column: &str| {
        let message = format!(
            "changes across this version have no one meaning: {what}; read the ranges before and after it"
        );
        Error::unsupported(message)
            .with("version", version)
            .with("column", column)
    };
    let physical = |columns: &Columns<'_>| -> Vec<String> {
        let names = ColumnNames::by(columns.mapping);
        let fields = columns
            .partition_columns
            .iter()
            .filter_map(|name| columns.schema.field(name));
        fields.map(|field| fold(&names.of(field))).collect()
    };
    if physical(old) != physical(new) {
        return Err(refused(
            "the partition columns changed",
            &new.partition_columns.join(", "),
        ));
    }
    let names = (ColumnNames::by(old.mapping), ColumnNames::by(new.mapping));
    within(old.schema, new.schema, names).map_err(|(what, column)| refused(what, &column))
}

type Broken = (&'static str, String);

fn within(old: &Schema, new: &Schema, names: (ColumnNames, ColumnNames)) -> Result<(), Broken> {
    for field in old.fields() {
        let name = fold(&names.0.of(field));
        let is_it = |candidate: &&Field| fold(&names.1.of(candidate)) == name;
        let Some(found) = new.fields().iter().find(is_it) else {
            return Err(("a column was dropped", field.name.clone()));
        };
        becomes(&field.data_type, &found.data_type, names).map_err(|(what, column)| {
            (
                what,
                if column.is_empty() {
                    field.name.clone()
                } else {
                    column
                },
            )
        })?;
    }
    Ok(())
}

fn becomes(
    old: &DataType,
    new: &DataType,
    names: (ColumnNames, ColumnNames),
) -> Result<(), Broken> {
    match (old, new) {
        (DataType::Struct(old), DataType::Struct(new)) => within(old, new, names),
        (DataType::Array(old), DataType::Array(new)) => becomes(&old.element, &new.element, names),
        (DataType::Map(old), DataType::Map(new)) => {
            becomes(&old.key, &new.key, names)?;
            becomes(&old.value, &new.value, names)
        }
        (DataType::Primitive(old), DataType::Primitive(new)) if old == new || widens(old, new) => {
            Ok(())
        }
        _ => Err(("a column's type changed", String::new())),
    }
}
