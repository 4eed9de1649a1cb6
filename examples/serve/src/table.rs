//! The table of predictions.

use std::collections::HashMap;
use std::sync::Arc;

use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::Float64Type;
use headwater::arrow_array::{
    ArrayRef, Date32Array, Float64Array, Int32Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use headwater::predicate::Predicate;
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::{Result, Table};

/// What is stored of an answer.
#[derive(Debug, Clone)]
pub(crate) struct Prediction {
    /// The caller's name for the question; a prediction is stored once for each.
    pub(crate) id: String,
    /// Days since 1970-01-01.
    pub(crate) day: i32,
    pub(crate) carrier: String,
    pub(crate) flight: i32,
    pub(crate) origin: String,
    pub(crate) late: f64,
}

/// Opens the table, and creates it where there is none.
pub(crate) async fn open(location: &str) -> Result<Table> {
    let schema = Schema::new([
        Field::new("answered", DataType::TIMESTAMP, false),
        Field::new("id", DataType::STRING, false),
        Field::new("date", DataType::DATE, false),
        Field::new("carrier", DataType::STRING, false),
        Field::new("flight", DataType::INTEGER, false),
        Field::new("origin", DataType::STRING, false),
        Field::new("late", DataType::DOUBLE, false),
        Field::new("model", DataType::STRING, false),
    ])?;
    Table::create(location, schema).or_open().await
}

/// The ids that were answered since a moment (microseconds since the epoch), with the answers. Files that are older
/// are not read.
pub(crate) async fn answered_since(table: &Table, micros: i64) -> Result<HashMap<String, f64>> {
    let since = chrono::DateTime::from_timestamp_micros(micros).unwrap_or_default();
    let since = since.format("%Y-%m-%dT%H:%M:%S%.6fZ");
    let condition = Predicate::parse(&format!("answered >= TIMESTAMP '{since}'"))?;
    let snapshot = table.refresh().await?;
    let scan = snapshot.scan().filter(condition).select(["id", "late"]);
    let mut found = HashMap::new();
    for batch in scan.collect().await? {
        let ids = batch.column(0).as_string::<i32>();
        let late = batch.column(1).as_primitive::<Float64Type>();
        for (id, late) in ids.iter().zip(late) {
            found.extend(id.map(ToOwned::to_owned).zip(late));
        }
    }
    Ok(found)
}

/// The rows of one group.
pub(crate) fn rows(
    group: &[Prediction],
    micros: i64,
    model: &str,
) -> std::result::Result<RecordBatch, headwater::arrow_schema::ArrowError> {
    let texts = |of: fn(&Prediction) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(group.iter().map(of)))
    };
    let integers = |of: fn(&Prediction) -> i32| group.iter().map(of);
    let answered = TimestampMicrosecondArray::from_value(micros, group.len());
    let columns: [(&str, ArrayRef); 8] = [
        ("answered", Arc::new(answered.with_timezone("UTC"))),
        ("id", texts(|one| &one.id)),
        (
            "date",
            Arc::new(Date32Array::from_iter_values(integers(|one| one.day))),
        ),
        ("carrier", texts(|one| &one.carrier)),
        (
            "flight",
            Arc::new(Int32Array::from_iter_values(integers(|one| one.flight))),
        ),
        ("origin", texts(|one| &one.origin)),
        (
            "late",
            Arc::new(Float64Array::from_iter_values(
                group.iter().map(|one| one.late),
            )),
        ),
        (
            "model",
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
                model,
                group.len(),
            ))),
        ),
    ];
    RecordBatch::try_from_iter(columns)
}
