//! What rows must be before they are written: of the table's types, and not null where the table says so.
//!
//! Messages name columns and count rows; they never hold a value.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_buffer::{BooleanBufferBuilder, NullBuffer, OffsetBuffer};
use arrow_schema::{DataType as ArrowType, SchemaRef, TimeUnit};

use crate::data::layout::{is_void, nullable, relabel};
use crate::error::{Code, Error, Result};
use crate::protocol::arrow::{conform, refuse_unknown_fields};
use crate::protocol::schema::{ArrayType, DataType, Field, Schema};

/// The rows of `batch` as exactly the columns of `schema`, whose Arrow form is `arrow`.
///
/// Columns are found by name, without regard to case, in any order. A nullable column that the batch lacks is null.
/// Types may differ where no value can be lost. Not null is enforced at every depth: a field of a struct, an element of
/// a list, a value of a map; what lies inside a null is not looked at.
///
/// # Errors
///
/// [`Invalid`](crate::error::ErrorKind::Invalid), code `RowsRejected`, naming the column.
pub(crate) fn conform_batch(
    batch: &RecordBatch,
    schema: &Schema,
    arrow: &SchemaRef,
) -> Result<RecordBatch> {
    let sources = sources(batch, schema)?;
    let mut columns = Vec::with_capacity(schema.fields().len());
    for ((field, target), source) in schema.fields().iter().zip(arrow.fields()).zip(sources) {
        let column = match source.and_then(|index| batch.columns().get(index)) {
            Some(column) => conform_column(column, field, target.data_type())?,
            None if field.nullable => new_null_array(target.data_type(), batch.num_rows()),
            None => {
                return Err(rejected(
                    "a column that must not be null is missing",
                    &field.name,
                ));
            }
        };
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(arrow), columns, &options)
        .map_err(|cause| Error::invalid(Code::RowsRejected, "the rows do not fit").because(cause))
}

/// For each field of the schema, where its column stands in the batch.
fn sources(batch: &RecordBatch, schema: &Schema) -> Result<Vec<Option<usize>>> {
    let mut sources = vec![None; schema.fields().len()];
    for (index, column) in batch.schema_ref().fields().iter().enumerate() {
        let source = schema
            .index_of(column.name())
            .and_then(|place| sources.get_mut(place));
        let Some(source) = source else {
            return Err(rejected("the table has no such column", column.name()));
        };
        if source.replace(index).is_some() {
            return Err(rejected(
                "the rows have this column more than once",
                column.name(),
            ));
        }
    }
    Ok(sources)
}

fn conform_column(
    column: &ArrayRef,
    field: &Field,
    target: &arrow_schema::DataType,
) -> Result<ArrayRef> {
    if is_void(&field.data_type) {
        if column.logical_null_count() == column.len() {
            return Ok(new_null_array(target, column.len()));
        }
        return Err(rejected("a void column holds values", &field.name));
    }
    if column.data_type() == target && field.nullable && !demands_values(&field.data_type) {
        return Ok(Arc::clone(column));
    }
    refuse_finer_times(column, &field.name)?;
    refuse_unknown_fields(column.data_type(), &field.data_type, &field.name)?;
    // Everything nullable first, so that the check below finds the nulls and names the place.
    let loose = conform(column, &nullable(&field.data_type), &field.name)?;
    Check { path: Vec::new() }.check(&Place::of(field), &loose, None)?;
    relabel(&loose, target)
        .map_err(|cause| rejected("its values do not fit", &field.name).because(cause))
}

/// Refuses times that lie between two microseconds, which is as fine as the table's are: cut, they would be others.
fn refuse_finer_times(column: &ArrayRef, name: &str) -> Result<()> {
    let elements = |values: &ArrayRef| refuse_finer_times(values, &format!("{name}.element"));
    // Of what is encoded only the values that rows have count.
    let plain = |values: &ArrowType| {
        let timed = matches!(values, ArrowType::Timestamp(TimeUnit::Nanosecond, _));
        if !timed && !values.is_nested() {
            return Ok(());
        }
        let column = arrow_cast::cast(column, values);
        let column = column.map_err(|cause| rejected("its values do not fit", name).because(cause));
        refuse_finer_times(&column?, name)
    };
    match column.data_type() {
        ArrowType::Timestamp(TimeUnit::Nanosecond, _) => {
            let times = column.as_primitive::<TimestampNanosecondType>();
            if times.iter().flatten().any(|nanos| nanos % 1000 != 0) {
                let message = "its times are finer than microseconds and would be cut";
                return Err(rejected(message, name));
            }
            Ok(())
        }
        ArrowType::Struct(_) => {
            let parts = column.as_struct();
            let mut parts = parts.column_names().into_iter().zip(parts.columns());
            parts.try_for_each(|(part, column)| {
                refuse_finer_times(column, &format!("{name}.{part}"))
            })
        }
        ArrowType::List(_) => elements(column.as_list::<i32>().values()),
        ArrowType::LargeList(_) => elements(column.as_list::<i64>().values()),
        ArrowType::ListView(_) => elements(column.as_list_view::<i32>().values()),
        ArrowType::LargeListView(_) => elements(column.as_list_view::<i64>().values()),
        ArrowType::FixedSizeList(_, _) => elements(column.as_fixed_size_list().values()),
        ArrowType::Dictionary(_, values) => plain(values),
        ArrowType::RunEndEncoded(_, values) => plain(values.data_type()),
        ArrowType::Map(_, _) => {
            let map = column.as_map();
            refuse_finer_times(map.keys(), &format!("{name}.key"))?;
            refuse_finer_times(map.values(), &format!("{name}.value"))
        }
        _ => Ok(()),
    }
}

/// Whether null is forbidden anywhere inside the type.
fn demands_values(data_type: &DataType) -> bool {
    match data_type {
        DataType::Primitive(_) => false,
        DataType::Struct(schema) => schema
            .fields()
            .iter()
            .any(|field| !field.nullable || demands_values(&field.data_type)),
        DataType::Array(array) => !array.contains_null || demands_values(&array.element),
        // Keys are never null.
        DataType::Map(_) => true,
    }
}

/// One place in a type: a column, a field, an element.
struct Place<'a> {
    name: &'a str,
    may_be_null: bool,
    data_type: &'a DataType,
}

struct Check<'a> {
    path: Vec<&'a str>,
}

impl<'a> Check<'a> {
    /// `inside` marks the rows whose parents are there; without it, all are.
    fn check(
        &mut self,
        place: &Place<'a>,
        array: &ArrayRef,
        inside: Option<&NullBuffer>,
    ) -> Result<()> {
        self.path.push(place.name);
        let nulls = array.logical_nulls();
        let present = NullBuffer::union(inside, nulls.as_ref());
        if !place.may_be_null {
            let outside = inside.map_or(0, NullBuffer::null_count);
            let missing = present.as_ref().map_or(0, NullBuffer::null_count) - outside;
            if 0 < missing {
                let message = "a column that must not be null is null";
                return Err(rejected(message, &self.path.join(".")).with("rows", missing));
            }
        }
        if demands_values(place.data_type) {
            self.check_inside(place.data_type, array, present.as_ref())?;
        }
        self.path.pop();
        Ok(())
    }

    fn check_inside(
        &mut self,
        data_type: &'a DataType,
        array: &ArrayRef,
        present: Option<&NullBuffer>,
    ) -> Result<()> {
        match data_type {
            DataType::Primitive(_) => Ok(()),
            DataType::Struct(schema) => {
                for (field, child) in schema.fields().iter().zip(array.as_struct().columns()) {
                    self.check(&Place::of(field), child, present)?;
                }
                Ok(())
            }
            DataType::Array(list) => {
                let array = array.as_list::<i32>();
                let within = within(array.offsets(), present, array.values().len());
                let ArrayType {
                    element: data_type,
                    contains_null,
                } = &**list;
                let place = Place {
                    name: "element",
                    may_be_null: *contains_null,
                    data_type,
                };
                self.check(&place, array.values(), Some(&within))
            }
            DataType::Map(map) => {
                let array = array.as_map();
                let within = within(array.offsets(), present, array.entries().len());
                let key = Place {
                    name: "key",
                    may_be_null: false,
                    data_type: &map.key,
                };
                self.check(&key, array.keys(), Some(&within))?;
                let may_be_null = map.value_contains_null;
                let value = Place {
                    name: "value",
                    may_be_null,
                    data_type: &map.value,
                };
                self.check(&value, array.values(), Some(&within))
            }
        }
    }
}

impl<'a> Place<'a> {
    fn of(field: &'a Field) -> Self {
        Self {
            name: &field.name,
            may_be_null: field.nullable,
            data_type: &field.data_type,
        }
    }
}

/// Marks the elements that belong to a list that is there: a null list, and a slice, may leave others behind.
fn within(offsets: &OffsetBuffer<i32>, present: Option<&NullBuffer>, len: usize) -> NullBuffer {
    let mut marks = BooleanBufferBuilder::new(len);
    for (row, (start, end)) in offsets.iter().zip(offsets.iter().skip(1)).enumerate() {
        let (start, end) = (
            usize::try_from(*start).unwrap_or(0),
            usize::try_from(*end).unwrap_or(0),
        );
        if marks.len() < start {
            marks.append_n(start - marks.len(), false);
        }
        let is_present = present.is_none_or(|present| present.is_valid(row));
        marks.append_n(end.saturating_sub(start), is_present);
    }
    if marks.len() < len {
        marks.append_n(len - marks.len(), false);
    }
    NullBuffer::new(marks.finish())
}

fn rejected(message: &str, column: &str) -> Error {
    Error::invalid(Code::RowsRejected, message).with("column", column)
}

#[cfg(test)]
mod tests {
    use arrow_array::builder::{Int64Builder, ListBuilder, MapBuilder, StringBuilder};
    use arrow_array::{Int32Array, Int64Array, NullArray, StringArray, StructArray};
    use arrow_schema::{Field as ArrowField, Fields};

    use super::*;
    use crate::protocol::schema::PrimitiveType;

    fn conformed(batch: &RecordBatch, schema: &Schema) -> Result<RecordBatch> {
        conform_batch(batch, schema, &schema.to_arrow().unwrap())
    }

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        let columns = columns.into_iter().map(|(name, array)| (name, array, true));
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    }

    /// The column and the number of rows that a refusal names.
    fn refusal(batch: &RecordBatch, schema: &Schema) -> (String, String) {
        let error = conformed(batch, schema).unwrap_err();
        assert_eq!(error.code(), Code::RowsRejected, "{error:?}");
        let of = |key| error.context_value(key).unwrap_or_default().to_owned();
        (of("column"), of("rows"))
    }

    #[test]
    fn columns_are_found_by_name_without_regard_to_case_and_order() {
        let schema = Schema::new([
            Field::new("Id", DataType::LONG, false),
            Field::new("name", DataType::STRING, true),
            Field::new("late", DataType::DATE, true),
        ])
        .unwrap();
        let rows = batch(vec![
            ("NAME", Arc::new(StringArray::from(vec![None, Some("x")]))),
            ("id", Arc::new(Int32Array::from(vec![1, 2]))),
        ]);
        let found = conformed(&rows, &schema).unwrap();
        assert_eq!(found.schema(), schema.to_arrow().unwrap());
        assert_eq!(found.column(0).as_ref(), &Int64Array::from(vec![1, 2]));
        assert_eq!(found.column(2).null_count(), 2);
    }

    /// However a column is encoded that is taken in.
    #[test]
    fn times_finer_than_microseconds_are_refused_wherever_they_are() {
        use arrow_array::types::Int32Type;
        use arrow_array::{
            DictionaryArray, FixedSizeListArray, LargeListViewArray, ListViewArray, RunArray,
            TimestampNanosecondArray,
        };
        let fine = |nanos: i64| -> ArrayRef {
            Arc::new(TimestampNanosecondArray::from(vec![1_000, nanos]).with_timezone("UTC"))
        };
        let element = || {
            let ty = fine(0).data_type().clone();
            Arc::new(ArrowField::new("element", ty, true))
        };
        type Form = fn(ArrayRef, Arc<ArrowField>) -> ArrayRef;
        let forms: [(&str, Form); 5] = [
            ("at", |values, _| {
                let keys = Int32Array::from(vec![0, 1]);
                Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values).unwrap())
            }),
            ("at", |values, _| {
                let ends = Int32Array::from(vec![1, 2]);
                Arc::new(RunArray::<Int32Type>::try_new(&ends, &values).unwrap())
            }),
            ("list", |values, field| {
                Arc::new(FixedSizeListArray::new(field, 1, values, None))
            }),
            ("list", |values, field| {
                let (offsets, sizes) = (vec![0, 1].into(), vec![1, 1].into());
                Arc::new(ListViewArray::new(field, offsets, sizes, values, None))
            }),
            ("list", |values, field| {
                let (offsets, sizes) = (vec![0, 1].into(), vec![1, 1].into());
                Arc::new(LargeListViewArray::new(field, offsets, sizes, values, None))
            }),
        ];
        let schema = Schema::new([
            Field::new("at", DataType::TIMESTAMP, true),
            Field::new("list", DataType::array(DataType::TIMESTAMP, true), true),
        ])
        .unwrap();
        for (name, form) in forms {
            let rows = |nanos| batch(vec![(name, form(fine(nanos), element()))]);
            assert!(conformed(&rows(2_000), &schema).is_ok(), "{name}");
            let column = refusal(&rows(2_001), &schema).0;
            assert!(column.starts_with(name), "{column}");
        }
    }

    #[test]
    fn what_does_not_belong_is_refused_by_name() {
        let schema = Schema::new([Field::new("id", DataType::LONG, false)]).unwrap();
        let id: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let extra = batch(vec![("id", Arc::clone(&id)), ("other", Arc::clone(&id))]);
        assert_eq!(refusal(&extra, &schema).0, "other");
        let twice = batch(vec![("id", Arc::clone(&id)), ("ID", Arc::clone(&id))]);
        assert_eq!(refusal(&twice, &schema).0, "ID");
        let text = batch(vec![("id", Arc::new(StringArray::from(vec!["secret"])))]);
        assert_eq!(refusal(&text, &schema).0, "id");
        assert!(!format!("{:?}", conformed(&text, &schema).unwrap_err()).contains("secret"));
        let none = RecordBatch::new_empty(Arc::new(arrow_schema::Schema::empty()));
        assert_eq!(refusal(&none, &schema).0, "id");
        let nulls = batch(vec![(
            "id",
            Arc::new(Int64Array::from(vec![Some(1), None, None])),
        )]);
        assert_eq!(refusal(&nulls, &schema), ("id".to_owned(), "2".to_owned()));
    }

    #[test]
    fn a_void_column_takes_nulls_only() {
        let void = DataType::Primitive(PrimitiveType::Void);
        let schema = Schema::new([Field::new("v", void, true)]).unwrap();
        assert!(conformed(&batch(vec![("v", Arc::new(NullArray::new(2)))]), &schema).is_ok());
        let nulls: ArrayRef = Arc::new(Int64Array::from(vec![None, None]));
        assert!(conformed(&batch(vec![("v", nulls)]), &schema).is_ok());
        let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(1)]));
        assert_eq!(refusal(&batch(vec![("v", values)]), &schema).0, "v");
    }

    #[test]
    fn a_field_of_a_struct_must_be_there_where_the_struct_is() {
        let inner = Schema::new([Field::new("x", DataType::LONG, false)]).unwrap();
        let schema = Schema::new([Field::new("s", DataType::Struct(inner), true)]).unwrap();
        let fields = Fields::from(vec![ArrowField::new("x", ArrowType::Int64, true)]);
        let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, None]));
        let with = |valid: Vec<bool>| -> RecordBatch {
            let nulls = Some(NullBuffer::from(valid));
            let array = StructArray::new(fields.clone(), vec![Arc::clone(&values)], nulls);
            batch(vec![("s", Arc::new(array))])
        };
        assert!(conformed(&with(vec![true, false, false]), &schema).is_ok());
        let bad = with(vec![true, false, true]);
        assert_eq!(refusal(&bad, &schema), ("s.x".to_owned(), "1".to_owned()));
    }

    #[test]
    fn an_element_of_a_list_must_be_there_where_the_list_is() {
        let list = DataType::array(DataType::LONG, false);
        let schema = Schema::new([Field::new("l", list, true)]).unwrap();
        let mut builder = ListBuilder::new(Int64Builder::new());
        builder.append_value([Some(1), None]);
        builder.append_value([Some(2)]);
        builder.append_null();
        let lists: ArrayRef = Arc::new(builder.finish());
        let all = batch(vec![("l", Arc::clone(&lists))]);
        assert_eq!(
            refusal(&all, &schema),
            ("l.element".to_owned(), "1".to_owned())
        );
        // Cut off, the null is still in the values below.
        assert!(conformed(&batch(vec![("l", lists.slice(1, 2))]), &schema).is_ok());
    }

    #[test]
    fn a_value_of_a_map_must_be_there() {
        let map = DataType::map(DataType::STRING, DataType::LONG, false);
        let schema = Schema::new([Field::new("m", map, true)]).unwrap();
        let mut builder = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
        builder.keys().append_value("a");
        builder.values().append_null();
        builder.append(true).unwrap();
        let rows = batch(vec![("m", Arc::new(builder.finish()))]);
        assert_eq!(
            refusal(&rows, &schema),
            ("m.value".to_owned(), "1".to_owned())
        );
    }

    #[test]
    fn a_field_that_a_struct_of_the_table_has_not_is_refused() {
        let inner = Schema::new([Field::new("x", DataType::LONG, true)]).unwrap();
        let schema = Schema::new([Field::new("s", DataType::Struct(inner), true)]).unwrap();
        let one: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let field = |name| Arc::new(ArrowField::new(name, ArrowType::Int64, true));
        let both = vec![(field("x"), Arc::clone(&one)), (field("y"), one)];
        let rows = batch(vec![("s", Arc::new(StructArray::from(both)))]);
        assert_eq!(refusal(&rows, &schema).0, "s.y");
    }
}
