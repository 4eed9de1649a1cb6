//! A schema: an error, or one that is written and read again as it was, and has Arrow types or a reason why not.
#![no_main]

use headwater::protocol::schema::Schema;
use headwater_fuzz::start;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: start(), |text: &str| {
    let Ok(schema) = Schema::from_json(text) else {
        return;
    };
    let written = schema.to_json();
    let again = Schema::from_json(&written).expect("what is written can be read");
    assert_eq!(schema, again);
    assert_eq!(written, again.to_json());
    for field in schema.fields() {
        assert!(schema.field(&field.name).is_some(), "{}", field.name);
    }
    if let Ok(arrow) = schema.to_arrow() {
        assert_eq!(arrow.fields().len(), schema.fields().len());
        let _ = Schema::from_arrow(&arrow);
    }
});
