//! Rows of one table that has a column of every type, as the tests keep them and as Arrow has them.

use std::sync::Arc;

use arrow_buffer::NullBuffer;
use headwater::arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, RecordBatch, StringArray,
    StructArray, TimestampMicrosecondArray,
};
use headwater::arrow_schema::{DataType as ArrowType, Fields};
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::protocol::value::Scalar;
use proptest::prelude::*;

use super::values::{Kind, Value};

/// The columns, but for `id`, by which rows are told apart.
pub(crate) const COLUMNS: [(&str, Kind); 19] = [
    ("b", Kind::Bool),
    ("i8", Kind::Byte),
    ("i16", Kind::Short),
    ("i32", Kind::Integer),
    ("i64", Kind::Long),
    ("f32", Kind::Float),
    ("f64", Kind::Double),
    ("d5", Kind::Decimal(5, 2)),
    ("d38", Kind::Decimal(38, 18)),
    ("d38w", Kind::Decimal(38, 0)),
    ("s", Kind::Text),
    ("bin", Kind::Bytes),
    ("dt", Kind::Day),
    ("ts", Kind::Instant),
    ("ntz", Kind::Wall),
    ("st.x", Kind::Long),
    ("st.t", Kind::Instant),
    ("st.deep.s", Kind::Text),
    ("st.deep.f", Kind::Double),
];
/// Columns that are not fields of a struct.
pub(crate) const PLAIN: usize = 15;
/// Columns of the struct, without those of the struct in it.
const OUTER: usize = 17;

/// One row. A field of a struct that is not there is null in `values`, whatever `stored` says.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) values: Vec<Value>,
    stored: Vec<Value>,
    pub(crate) has_struct: bool,
    pub(crate) has_deep: bool,
}

impl Row {
    /// Gives a column that is no field of a struct another value.
    pub(crate) fn set(&mut self, column: usize, value: &Value) {
        assert!(column < PLAIN);
        self.values[column] = value.clone();
        self.stored[column] = value.clone();
    }
}

/// Rows that are written at one go: few different values, so that bounds are narrow.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    /// For each column the values that its rows take.
    palettes: Vec<Vec<Value>>,
    structs: Vec<bool>,
    deeps: Vec<bool>,
    rows: usize,
}

pub(crate) fn chunks(rows: std::ops::Range<usize>) -> BoxedStrategy<Chunk> {
    let palettes: Vec<_> = COLUMNS
        .iter()
        .map(|(_, kind)| proptest::collection::vec(kind.values(), 1..4))
        .collect();
    let presence = || proptest::collection::vec(proptest::bool::weighted(0.8), 1..3);
    (palettes, presence(), presence(), rows)
        .prop_map(|(palettes, structs, deeps, rows)| Chunk {
            palettes,
            structs,
            deeps,
            rows,
        })
        .boxed()
}

impl Chunk {
    /// The rows, with ids from `first` on; columns in `partitions` hold what partition columns can.
    pub(crate) fn rows(&self, first: i64, partitions: &[usize]) -> Vec<Row> {
        (0..self.rows)
            .map(|row| {
                let pick = |column: usize, len: usize| (row * (2 * column + 1) / 3 + column) % len;
                let stored = self.palettes.iter().enumerate().map(|(column, palette)| {
                    let value = palette[pick(column, palette.len())].clone();
                    match partitions.contains(&column) {
                        true => value.partitioned(),
                        false => value,
                    }
                });
                let stored: Vec<Value> = stored.collect();
                let has_struct = self.structs[pick(1, self.structs.len())];
                let has_deep = self.deeps[pick(2, self.deeps.len())];
                let mut values = stored.clone();
                for (column, value) in values.iter_mut().enumerate().skip(PLAIN) {
                    if !has_struct || (OUTER <= column && !has_deep) {
                        *value = Value::Null;
                    }
                }
                Row {
                    id: first + row as i64,
                    values,
                    stored,
                    has_struct,
                    has_deep,
                }
            })
            .collect()
    }
}

pub(crate) fn schema() -> Schema {
    let field = |index: usize| {
        let (path, kind) = COLUMNS[index];
        let name = path.rsplit('.').next().unwrap();
        Field::new(name, kind.data_type(), true)
    };
    let deep = Schema::new((OUTER..COLUMNS.len()).map(field)).unwrap();
    let mut outer: Vec<Field> = (PLAIN..OUTER).map(field).collect();
    outer.push(Field::new("deep", DataType::Struct(deep), true));
    let outer = Schema::new(outer).unwrap();
    let mut fields: Vec<Field> = (0..PLAIN).map(field).collect();
    fields.insert(7, Field::new("id", DataType::LONG, false));
    fields.push(Field::new("st", DataType::Struct(outer), true));
    Schema::new(fields).unwrap()
}

pub(crate) fn batch(rows: &[Row]) -> RecordBatch {
    let schema = schema().to_arrow().unwrap();
    let arrays: Vec<ArrayRef> = (0..COLUMNS.len()).map(|index| array(rows, index)).collect();
    let fields = |name: &str, of: &Fields| -> Fields {
        match of.find(name).unwrap().1.data_type() {
            ArrowType::Struct(fields) => fields.clone(),
            other => panic!("{other}"),
        }
    };
    let outer_fields = fields("st", schema.fields());
    let deep_fields = fields("deep", &outer_fields);
    let has = |of: fn(&Row) -> bool| Some(NullBuffer::from_iter(rows.iter().map(of)));
    // Below a null struct stand values, which nobody must see.
    let deep = StructArray::new(
        deep_fields,
        arrays[OUTER..].to_vec(),
        has(|row| row.has_deep),
    );
    let mut outer = arrays[PLAIN..OUTER].to_vec();
    outer.push(Arc::new(deep));
    let outer = StructArray::new(outer_fields, outer, has(|row| row.has_struct));
    let mut columns = arrays[..PLAIN].to_vec();
    columns.insert(
        7,
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.id))),
    );
    columns.push(Arc::new(outer));
    RecordBatch::try_new(schema, columns).unwrap()
}

fn array(rows: &[Row], column: usize) -> ArrayRef {
    let values = || rows.iter().map(|row| &row.stored[column]);
    let int = |value: &Value| match value {
        Value::Int(value) => Some(*value),
        _ => None,
    };
    let double = |value: &Value| match value {
        Value::Double(value) => Some(*value),
        _ => None,
    };
    let micros = || {
        values().map(|value| match value {
            Value::Instant(micros) | Value::Wall(micros) => Some(*micros),
            _ => None,
        })
    };
    match COLUMNS[column].1 {
        Kind::Bool => Arc::new(BooleanArray::from_iter(values().map(|value| match value {
            Value::Bool(value) => Some(*value),
            _ => None,
        }))),
        Kind::Byte => Arc::new(Int8Array::from_iter(
            values().map(|it| int(it).map(|it| it as i8)),
        )),
        Kind::Short => Arc::new(Int16Array::from_iter(
            values().map(|it| int(it).map(|it| it as i16)),
        )),
        Kind::Integer => Arc::new(Int32Array::from_iter(
            values().map(|it| int(it).map(|it| it as i32)),
        )),
        Kind::Long => Arc::new(Int64Array::from_iter(values().map(int))),
        Kind::Float => Arc::new(Float32Array::from_iter(
            values().map(|it| double(it).map(|it| it as f32)),
        )),
        Kind::Double => Arc::new(Float64Array::from_iter(values().map(double))),
        Kind::Decimal(precision, scale) => {
            let digits = Decimal128Array::from_iter(values().map(|value| match value {
                Value::Decimal(unscaled, _) => Some(*unscaled),
                _ => None,
            }));
            Arc::new(
                digits
                    .with_precision_and_scale(precision, scale as i8)
                    .unwrap(),
            )
        }
        Kind::Text => Arc::new(StringArray::from_iter(values().map(|value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        }))),
        Kind::Bytes => Arc::new(BinaryArray::from_iter(values().map(|value| match value {
            Value::Bytes(bytes) => Some(bytes.as_slice()),
            _ => None,
        }))),
        Kind::Day => Arc::new(Date32Array::from_iter(values().map(|value| match value {
            Value::Day(days) => Some(*days),
            _ => None,
        }))),
        Kind::Instant => {
            Arc::new(TimestampMicrosecondArray::from_iter(micros()).with_timezone("UTC"))
        }
        Kind::Wall => Arc::new(TimestampMicrosecondArray::from_iter(micros())),
    }
}

/// The values of a batch that a scan of all columns handed out, by id.
pub(crate) fn read_back(batch: &RecordBatch) -> Vec<(i64, Vec<Value>, bool, bool)> {
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let ids = column("id");
    let outer = column("st").as_any().downcast_ref::<StructArray>().unwrap();
    let deep = outer.column_by_name("deep").unwrap();
    let deep = deep.as_any().downcast_ref::<StructArray>().unwrap();
    let find = |index: usize| match index {
        0..PLAIN => column(COLUMNS[index].0),
        PLAIN..OUTER => outer.column(index - PLAIN),
        _ => deep.column(index - OUTER),
    };
    let cell = |index: usize, row: usize| {
        let hidden =
            (PLAIN <= index && outer.is_null(row)) || (OUTER <= index && deep.is_null(row));
        match Scalar::from_array(find(index), row).unwrap() {
            _ if hidden => Value::Null,
            Scalar::Null => Value::Null,
            Scalar::Boolean(value) => Value::Bool(value),
            Scalar::Byte(value) => Value::Int(value.into()),
            Scalar::Short(value) => Value::Int(value.into()),
            Scalar::Integer(value) => Value::Int(value.into()),
            Scalar::Long(value) => Value::Int(value),
            Scalar::Float(value) => Value::Double(value.into()),
            Scalar::Double(value) => Value::Double(value),
            Scalar::Decimal {
                unscaled, scale, ..
            } => Value::Decimal(unscaled, scale),
            Scalar::String(value) => Value::Text(value),
            Scalar::Binary(value) => Value::Bytes(value),
            Scalar::Date(value) => Value::Day(value),
            Scalar::Timestamp(value) => Value::Instant(value),
            Scalar::TimestampNtz(value) => Value::Wall(value),
        }
    };
    let rows = (0..batch.num_rows()).map(|row| {
        let id = match Scalar::from_array(ids, row) {
            Some(Scalar::Long(id)) => id,
            other => panic!("{other:?}"),
        };
        let values = (0..COLUMNS.len()).map(|index| cell(index, row)).collect();
        (
            id,
            values,
            outer.is_valid(row),
            outer.is_valid(row) && deep.is_valid(row),
        )
    });
    rows.collect()
}
