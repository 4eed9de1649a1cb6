//! Column mapping: ids and physical names of the fields that have none yet.
//!
//! Spec: [Column Mapping](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#column-mapping): every field of a
//! struct, at every depth, has an id of its own and a name in data files that is never used again.

use crate::error::Result;
use crate::protocol::json::Json;
use crate::protocol::schema::{DataType, Field, Schema};

/// What all notes of column mapping begin with.
const NOTES: &str = "delta.columnMapping.";
/// The note that holds a field's id.
const ID: &str = "delta.columnMapping.id";
/// The note that holds the name of a field in data files.
const PHYSICAL_NAME: &str = "delta.columnMapping.physicalName";

/// Hands out ids, and names where they are asked for.
pub(crate) struct Mapper<'a> {
    /// The highest id that was ever handed out.
    pub(crate) max_id: i64,
    /// The physical name of a field that has none.
    pub(crate) name: &'a mut dyn FnMut(&Field) -> String,
}

impl Mapper<'_> {
    /// The schema with every field mapped; fields that are keep what they have.
    pub(crate) fn map(&mut self, schema: &Schema) -> Result<Schema> {
        self.see(schema);
        self.fields(schema)
    }

    /// Ids that are there already are never handed out again.
    fn see(&mut self, schema: &Schema) {
        for field in schema.fields() {
            self.max_id = self.max_id.max(field.mapped_id().unwrap_or(0));
            self.see_type(&field.data_type);
        }
    }

    fn see_type(&mut self, data_type: &DataType) {
        match data_type {
            DataType::Primitive(_) => {}
            DataType::Struct(schema) => self.see(schema),
            DataType::Array(array) => self.see_type(&array.element),
            DataType::Map(map) => {
                self.see_type(&map.key);
                self.see_type(&map.value);
            }
        }
    }

    fn fields(&mut self, schema: &Schema) -> Result<Schema> {
        let fields = schema.fields().iter().map(|field| self.field(field));
        Schema::new(fields.collect::<Result<Vec<_>>>()?)
    }

    fn field(&mut self, field: &Field) -> Result<Field> {
        let mut mapped = field.clone();
        if field.mapped_id().is_none() {
            self.max_id = self.max_id.saturating_add(1);
            let id = Json::from(serde_json::Value::from(self.max_id));
            mapped.metadata.insert(ID.to_owned(), id);
        }
        if field.mapped_name().is_none() {
            let name = Json::string(&(self.name)(field));
            mapped.metadata.insert(PHYSICAL_NAME.to_owned(), name);
        }
        mapped.data_type = self.data_type(&field.data_type)?;
        Ok(mapped)
    }

    fn data_type(&mut self, data_type: &DataType) -> Result<DataType> {
        Ok(match data_type {
            DataType::Primitive(_) => data_type.clone(),
            DataType::Struct(schema) => DataType::Struct(self.fields(schema)?),
            DataType::Array(array) => {
                DataType::array(self.data_type(&array.element)?, array.contains_null)
            }
            DataType::Map(map) => DataType::map(
                self.data_type(&map.key)?,
                self.data_type(&map.value)?,
                map.value_contains_null,
            ),
        })
    }
}

impl Schema {
    /// The schema without ids and names in data files: what one table knows its columns by says nothing of another's.
    pub(crate) fn unmapped(&self) -> Self {
        let fields = self.fields.iter().map(Field::unmapped);
        Self {
            fields: fields.collect(),
        }
    }
}

impl Field {
    /// The field without ids and names in data files, at any depth.
    pub(crate) fn unmapped(&self) -> Self {
        let mut field = self.clone();
        field.metadata.retain(|key, _| !key.starts_with(NOTES));
        field.data_type = unmapped(&self.data_type);
        field
    }
}

fn unmapped(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Primitive(_) => data_type.clone(),
        DataType::Struct(schema) => DataType::Struct(schema.unmapped()),
        DataType::Array(array) => DataType::array(unmapped(&array.element), array.contains_null),
        DataType::Map(map) => DataType::map(
            unmapped(&map.key),
            unmapped(&map.value),
            map.value_contains_null,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(field: &Field) -> String {
        format!("p-{}", field.name)
    }

    #[test]
    fn column_mapping_gives_every_struct_field_an_id_and_a_name_once() {
        let inner = Schema::new([Field::new("x", DataType::LONG, true)]).unwrap();
        let list = DataType::array(DataType::Struct(inner.clone()), true);
        let map = DataType::map(DataType::STRING, DataType::Struct(inner.clone()), true);
        let schema = Schema::new([
            Field::new("a", DataType::LONG, false),
            Field::new("s", DataType::Struct(inner), true),
            Field::new("l", list, true),
            Field::new("m", map, true),
        ])
        .unwrap();
        let mut mapper = Mapper {
            max_id: 0,
            name: &mut named,
        };
        let mapped = mapper.map(&schema).unwrap();
        assert_eq!(mapper.max_id, 7);
        let ids: Vec<_> = mapped.fields().iter().map(Field::mapped_id).collect();
        assert_eq!(ids, [Some(1), Some(2), Some(4), Some(6)]);
        assert_eq!(mapped.field("a").unwrap().mapped_name().unwrap(), "p-a");
        assert_eq!(mapped.unmapped(), schema, "at every depth");
        let again = mapper.map(&mapped).unwrap();
        assert_eq!((again, mapper.max_id), (mapped.clone(), 7));

        // A dropped column's id is not used again, and neither is one that is there but was not counted.
        let mut fields = mapped.fields()[1..].to_vec();
        fields.push(Field::new("b", DataType::LONG, true));
        let schema = Schema::new(fields).unwrap();
        let mut mapper = Mapper {
            max_id: 3,
            name: &mut named,
        };
        let mapped = mapper.map(&schema).unwrap();
        assert_eq!(mapped.field("b").unwrap().mapped_id(), Some(8));
    }
}
