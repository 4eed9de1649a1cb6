//! Columns whose type was widened.

use super::written::{add, input, state, storage, within, written_adds};
use crate::log::checkpoint::write;
use crate::protocol::json::Json;
use crate::protocol::schema::{DataType, Field, Schema};

/// `0.1` of 32 bits is more than `0.1` of 64: as a double, the text of the bound would cut the value off.
#[tokio::test]
async fn bounds_of_a_column_that_had_floats_are_left_out() {
    let (storage, environment) = storage("was-float");
    let changes = serde_json::json!([{"fromType": "float", "toType": "double"}]);
    let mut wide = Field::new("wide", DataType::DOUBLE, true);
    wide.metadata
        .insert("delta.typeChanges".to_owned(), Json::from(changes));
    let schema = Schema::new([
        wide,
        Field::new("double", DataType::DOUBLE, true),
        Field::new("day", DataType::INTEGER, true),
    ]);
    let mut state = state(&[]);
    state.metadata.schema_string = schema.unwrap().to_json();
    let mut file = add("old", Some(1));
    let values = r#"{"wide":0.1,"double":0.1}"#;
    let stats = format!(
        r#"{{"numRecords":1,"minValues":{values},"maxValues":{values},"nullCount":{{"wide":0}}}}"#
    );
    file.stats = Some(stats);
    write(&storage, &environment, input(1, state, vec![file]))
        .await
        .unwrap();
    let add = written_adds(&storage).await;
    assert!(within(&add, &["stats_parsed", "maxValues", "wide"]).is_none());
    assert!(within(&add, &["stats_parsed", "minValues", "wide"]).is_none());
    assert!(within(&add, &["stats_parsed", "nullCount", "wide"]).is_some());
    assert!(within(&add, &["stats_parsed", "maxValues", "double"]).is_some());
}
