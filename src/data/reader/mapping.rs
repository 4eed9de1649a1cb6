//! Which columns of a file hold the columns of a read, and how what is decoded becomes what was asked for.
//!
//! Names and nesting follow the schema: fields are found by physical name or by id, at every depth, and only the
//! Parquet columns that are asked for are decoded. What a file lacks is null.
//!
//! Spec: [Column Mapping](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#column-mapping).

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, Int16Type, Int32Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, ListArray, MapArray, PrimitiveArray, StructArray,
};
use arrow_schema::{
    ArrowError, DataType as ArrowType, Field as ArrowField, FieldRef, Fields, SchemaRef,
};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::basic::Type as Physical;
use parquet::schema::types::SchemaDescriptor;

use crate::data::ColumnNames;
use crate::data::layout::is_void;
use crate::data::reader::bounds::{Known, Leaf};
use crate::data::reader::variant;
use crate::error::{Code, Error, Result};
use crate::protocol::arrow::position;
use crate::protocol::property::ColumnMappingMode;
use crate::protocol::schema::{DataType, Field, PrimitiveType, Schema};

/// How fields are found in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FindFields {
    /// By their names.
    ByName(ColumnNames),
    /// By their ids.
    ById,
}

/// The columns of one file, for look-ups.
#[derive(Debug)]
pub(super) struct FileSchema {
    arrow: SchemaRef,
    find: FindFields,
    /// Which leaves are 96-bit timestamps.
    wide: BTreeSet<usize>,
}

/// The columns of a file that a read needs.
#[derive(Debug)]
pub(super) struct Mapping {
    /// Parquet columns to decode, in file order.
    pub(super) leaves: Vec<usize>,
    /// For each field of the read, where it is; `None` if the file lacks it.
    pub(super) columns: Vec<Option<Source>>,
}

/// A field among what is decoded.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Source {
    /// Its place among the decoded fields of its parent.
    pub(super) place: usize,
    /// What is to be done with it.
    pub(super) shape: Shape,
    renamed: bool,
}

/// What to do with a decoded array before its values are brought to the types of the table.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    /// Nothing.
    AsIs,
    /// A 96-bit timestamp, which decodes as an instant, is a time without a zone.
    WallClock,
    /// Whole numbers of 32 bits are of so few, which their writer did not say.
    Narrow(PrimitiveType),
    /// A group of columns holds variants.
    Variant,
    /// Take these children, under these names.
    Struct(Vec<(String, Source)>),
    List(Box<Shape>),
    Map(Box<Shape>, Box<Shape>),
}

impl FileSchema {
    /// The columns of a file whose Arrow form is `arrow`.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::error::ErrorKind::Corrupt) if fields are to be found by id, and none has one.
    pub(super) fn new(
        descriptor: &SchemaDescriptor,
        arrow: &SchemaRef,
        find: FindFields,
    ) -> Result<Self> {
        let corrupt = |message| Error::corrupt(Code::DataCorrupt, message);
        if descriptor.num_columns() != leaves_of(arrow.fields()) {
            return Err(corrupt("the columns of the file cannot be understood"));
        }
        let has_id = |field: &FieldRef| field.metadata().contains_key(PARQUET_FIELD_ID_META_KEY);
        if find == FindFields::ById && !arrow.fields().iter().any(has_id) {
            // Taking such columns for missing would turn data into nulls.
            return Err(corrupt(
                "columns are found by field id, and the file has none",
            ));
        }
        let leaves = descriptor.columns().iter().enumerate();
        let wide = leaves.filter(|(_, leaf)| leaf.physical_type() == Physical::INT96);
        let wide = wide.map(|(index, _)| index).collect();
        Ok(Self {
            arrow: Arc::clone(arrow),
            find,
            wide,
        })
    }

    /// Where the columns of `schema` are, apart from those of which no file is asked.
    pub(super) fn map(&self, schema: &Schema, is_stored: impl Fn(&Field) -> bool) -> Mapping {
        let mut finder = Finder {
            file: self,
            leaves: BTreeSet::new(),
        };
        let columns = finder.children(schema, self.arrow.fields(), 0, &is_stored);
        Mapping {
            leaves: finder.leaves.into_iter().collect(),
            columns,
        }
    }

    /// What statistics there are at the end of a path of field names.
    pub(super) fn find(&self, schema: &Schema, path: &[String]) -> Known {
        let (mut schema, mut fields, mut index) = (schema, self.arrow.fields(), 0);
        let mut names = path.iter();
        loop {
            let Some(field) = names.next().and_then(|name| schema.field(name)) else {
                return Known::Opaque;
            };
            let place = self.find.place(field, fields);
            let Some((place, file)) = place.and_then(|place| Some((place, fields.get(place)?)))
            else {
                return Known::Missing;
            };
            index += leaves_of(fields.iter().take(place));
            match (&field.data_type, file.data_type()) {
                (DataType::Struct(inner), ArrowType::Struct(children)) => {
                    (schema, fields) = (inner, children);
                }
                (DataType::Primitive(PrimitiveType::Void), _) => return Known::Missing,
                (DataType::Primitive(_), arrow) if !arrow.is_nested() => {
                    return Known::Leaf(Leaf {
                        index,
                        arrow: arrow.clone(),
                    });
                }
                _ => return Known::Opaque,
            }
        }
    }
}

impl FindFields {
    /// How fields are found in the files of a table with this mapping.
    pub(crate) fn by(mapping: ColumnMappingMode) -> Self {
        match mapping {
            ColumnMappingMode::None | ColumnMappingMode::Name => {
                Self::ByName(ColumnNames::by(mapping))
            }
            ColumnMappingMode::Id => Self::ById,
        }
    }

    /// By which names partition values and statistics in the log know the columns.
    pub(crate) fn names(self) -> ColumnNames {
        match self {
            Self::ByName(names) => names,
            Self::ById => ColumnNames::Physical,
        }
    }

    fn place(self, field: &Field, fields: &Fields) -> Option<usize> {
        match self {
            Self::ByName(names) => {
                let have: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
                position(&have, &names.of(field))
            }
            Self::ById => {
                // Columns that are no part of the schema have no id; they go by name.
                let Some(id) = field.mapped_id() else {
                    return Self::ByName(ColumnNames::Logical).place(field, fields);
                };
                let id = id.to_string();
                let has_id = |field: &FieldRef| {
                    field
                        .metadata()
                        .get(PARQUET_FIELD_ID_META_KEY)
                        .is_some_and(|have| *have == id)
                };
                fields.iter().position(has_id)
            }
        }
    }
}

struct Finder<'a> {
    file: &'a FileSchema,
    leaves: BTreeSet<usize>,
}

impl Finder<'_> {
    /// Finds the fields of `schema` among `fields`, the first leaf of which is `first_leaf`.
    fn children(
        &mut self,
        schema: &Schema,
        fields: &Fields,
        first_leaf: usize,
        is_stored: &dyn Fn(&Field) -> bool,
    ) -> Vec<Option<Source>> {
        // A void column has no values, whatever a file holds under its name.
        let is_asked = |field: &Field| !is_void(&field.data_type) && is_stored(field);
        let place = |field: &Field| {
            if is_asked(field) {
                self.file.find.place(field, fields)
            } else {
                None
            }
        };
        let places: Vec<Option<usize>> = schema.fields().iter().map(place).collect();
        let taken: BTreeSet<usize> = places.iter().flatten().copied().collect();
        let sources = schema.fields().iter().zip(places).map(|(field, place)| {
            let place = place?;
            let file = fields.get(place)?;
            let first = first_leaf + leaves_of(fields.iter().take(place));
            Some(Source {
                place: taken.range(..place).count(),
                shape: self.shape(&field.data_type, file.data_type(), first),
                renamed: field.name != *file.name(),
            })
        });
        sources.collect()
    }

    fn shape(&mut self, data_type: &DataType, arrow: &ArrowType, first: usize) -> Shape {
        match (data_type, arrow) {
            (DataType::Struct(schema), ArrowType::Struct(fields)) => {
                self.struct_shape(schema, fields, first)
            }
            (DataType::Array(array), ArrowType::List(element)) => {
                match self.shape(&array.element, element.data_type(), first) {
                    Shape::AsIs => Shape::AsIs,
                    inner => Shape::List(Box::new(inner)),
                }
            }
            (DataType::Map(map), ArrowType::Map(entries, _)) => {
                let parts = match entries.data_type() {
                    ArrowType::Struct(parts) => parts.as_ref(),
                    _ => &[],
                };
                let [key, value] = parts else {
                    return self.whole(arrow, first);
                };
                let keys = self.shape(&map.key, key.data_type(), first);
                let first_value = first + leaf_count(key.data_type());
                match (keys, self.shape(&map.value, value.data_type(), first_value)) {
                    (Shape::AsIs, Shape::AsIs) => Shape::AsIs,
                    (keys, values) => Shape::Map(Box::new(keys), Box::new(values)),
                }
            }
            (DataType::Primitive(PrimitiveType::TimestampNtz), _)
                if self.file.wide.contains(&first) =>
            {
                self.leaves.insert(first);
                Shape::WallClock
            }
            (DataType::Primitive(PrimitiveType::Variant), ArrowType::Struct(_)) => {
                self.whole(arrow, first);
                Shape::Variant
            }
            (
                DataType::Primitive(narrow @ (PrimitiveType::Byte | PrimitiveType::Short)),
                ArrowType::Int32,
            ) => {
                self.leaves.insert(first);
                Shape::Narrow(narrow.clone())
            }
            // Types that do not go together are refused where values are brought to the table's types.
            _ => self.whole(arrow, first),
        }
    }

    fn whole(&mut self, arrow: &ArrowType, first: usize) -> Shape {
        self.leaves.extend(first..first + leaf_count(arrow));
        Shape::AsIs
    }

    fn struct_shape(&mut self, schema: &Schema, fields: &Fields, first: usize) -> Shape {
        let sources = self.children(schema, fields, first, &|_| true);
        let found = schema.fields().iter().zip(sources);
        let found: Vec<(String, Source)> = found
            .filter_map(|(field, source)| Some((field.name.clone(), source?)))
            .collect();
        if found.is_empty() {
            // Any leaf tells which of the structs are null.
            self.leaves.insert(first);
            return Shape::Struct(found);
        }
        let is_plain = |(index, (_, source)): (usize, &(String, Source))| {
            index == source.place && !source.renamed && source.shape == Shape::AsIs
        };
        if found.iter().enumerate().all(is_plain) {
            Shape::AsIs
        } else {
            Shape::Struct(found)
        }
    }
}

impl Shape {
    /// The array in this shape, with everything in it nullable.
    pub(super) fn apply(&self, array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        match self {
            Self::AsIs => Ok(Arc::clone(array)),
            Self::WallClock => match array.as_primitive_opt::<TimestampMicrosecondType>() {
                Some(times) => Ok(Arc::new(times.clone().with_timezone_opt(None::<Arc<str>>))),
                None => Ok(Arc::clone(array)),
            },
            Self::Narrow(PrimitiveType::Byte) => narrow::<Int8Type>(array),
            Self::Narrow(_) => narrow::<Int16Type>(array),
            Self::Variant => variant::assemble(array),
            Self::Struct(children) => {
                let Some(array) = array.as_struct_opt() else {
                    return Ok(Arc::clone(array));
                };
                let take = |(name, source): &(String, Source)| {
                    let child = array.columns().get(source.place).ok_or_else(missing)?;
                    let child = source.shape.apply(child)?;
                    Ok((
                        Arc::new(ArrowField::new(name, child.data_type().clone(), true)),
                        child,
                    ))
                };
                let taken = children
                    .iter()
                    .map(take)
                    .collect::<Result<Vec<_>, ArrowError>>()?;
                let (fields, columns): (Vec<FieldRef>, Vec<ArrayRef>) = taken.into_iter().unzip();
                let (fields, nulls) = (Fields::from(fields), array.nulls().cloned());
                Ok(Arc::new(StructArray::try_new_with_length(
                    fields,
                    columns,
                    nulls,
                    array.len(),
                )?))
            }
            Self::List(inner) => {
                let Some(array) = array.as_list_opt::<i32>() else {
                    return Ok(Arc::clone(array));
                };
                let values = inner.apply(array.values())?;
                let field = Arc::new(ArrowField::new("element", values.data_type().clone(), true));
                let (offsets, nulls) = (array.offsets().clone(), array.nulls().cloned());
                Ok(Arc::new(ListArray::try_new(field, offsets, values, nulls)?))
            }
            Self::Map(keys, values) => {
                let Some(array) = array.as_map_opt() else {
                    return Ok(Arc::clone(array));
                };
                let (keys, values) = (keys.apply(array.keys())?, values.apply(array.values())?);
                let fields = Fields::from(vec![
                    ArrowField::new("key", keys.data_type().clone(), false),
                    ArrowField::new("value", values.data_type().clone(), true),
                ]);
                let entries = StructArray::try_new(fields, vec![keys, values], None)?;
                let field = ArrowField::new("key_value", entries.data_type().clone(), false);
                let (offsets, nulls) = (array.offsets().clone(), array.nulls().cloned());
                Ok(Arc::new(MapArray::try_new(
                    Arc::new(field),
                    offsets,
                    entries,
                    nulls,
                    false,
                )?))
            }
        }
    }
}

/// The same numbers in fewer bits; one that does not fit is an error, not another number.
fn narrow<T: ArrowPrimitiveType>(array: &ArrayRef) -> Result<ArrayRef, ArrowError>
where
    T::Native: TryFrom<i32>,
{
    let Some(wide) = array.as_primitive_opt::<Int32Type>() else {
        return Ok(Arc::clone(array));
    };
    let narrow: PrimitiveArray<T> = wide
        .try_unary(T::Native::try_from)
        .map_err(|_| ArrowError::CastError("a number is out of its column's range".to_owned()))?;
    Ok(Arc::new(narrow))
}

fn missing() -> ArrowError {
    ArrowError::SchemaError("a decoded struct lacks a child".to_owned())
}

/// How many Parquet columns the fields have.
fn leaves_of<'a>(fields: impl IntoIterator<Item = &'a FieldRef>) -> usize {
    fields
        .into_iter()
        .map(|field| leaf_count(field.data_type()))
        .sum()
}

fn leaf_count(data_type: &ArrowType) -> usize {
    match data_type {
        ArrowType::Struct(fields) => leaves_of(fields),
        ArrowType::List(field) | ArrowType::Map(field, _) => leaf_count(field.data_type()),
        _ => 1,
    }
}
