use super::*;
use crate::error::ErrorKind;

fn table(fields: &str) -> String {
    format!(r#"{{"type":"struct","fields":[{fields}]}}"#)
}

fn column(name: &str, ty: &str) -> String {
    format!(r#"{{"name":"{name}","type":{ty},"nullable":true,"metadata":{{}}}}"#)
}

#[test]
fn types_are_written_per_schema_serialization_format() {
    let types = [
        "string",
        "long",
        "integer",
        "short",
        "byte",
        "float",
        "double",
        "boolean",
        "binary",
        "date",
        "timestamp",
        "timestamp_ntz",
        "decimal(38,18)",
        "void",
        "variant",
        "interval year to month",
    ];
    for name in types {
        let json = table(&column("c", &format!("\"{name}\"")));
        let schema = Schema::from_json(&json).unwrap();
        assert_eq!(schema.to_json(), json);
    }
    let spaced = Schema::from_json(&table(&column("c", "\"decimal( 10 , 4 )\""))).unwrap();
    assert_eq!(
        spaced.fields()[0].data_type,
        DataType::decimal(10, 4).unwrap()
    );
}

#[test]
fn notes_keep_their_json_per_column_metadata() {
    let notes = r#"{"delta.columnMapping.id":7,"delta.columnMapping.physicalName":"col-1","n":12345678901234567890.10,"o":{"b":[true,null]}}"#;
    let json = table(&format!(
        r#"{{"name":"c","type":"long","nullable":false,"metadata":{notes}}}"#
    ));
    let schema = Schema::from_json(&json).unwrap();
    assert_eq!(schema.to_json(), json);
    let field = &schema.fields()[0];
    assert_eq!(
        (field.mapped_id(), field.mapped_name().as_deref()),
        (Some(7), Some("col-1"))
    );
}

#[test]
fn names_are_unique_and_found_without_regard_to_case() {
    let schema = Schema::new([
        Field::new("ID", DataType::LONG, true),
        Field::new("Stra\u{df}e", DataType::LONG, true),
    ])
    .unwrap();
    assert_eq!(schema.index_of("id"), Some(0));
    assert_eq!(schema.index_of("STRA\u{df}E"), Some(1));
    assert_eq!(schema.index_of("x"), None);
    let twins = Schema::new([
        Field::new("a", DataType::LONG, true),
        Field::new("A", DataType::LONG, true),
    ]);
    assert_eq!(twins.unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn h_5_hostile_schemas_are_errors() {
    let deep = |depth: usize| {
        let open = r#"{"type":"array","containsNull":true,"elementType":"#.repeat(depth);
        table(&column(
            "c",
            &format!("{open}\"long\"{}", "}".repeat(depth)),
        ))
    };
    assert!(Schema::from_json(&deep(50)).is_ok());
    for depth in [101, 10_000, 100_000] {
        let error = Schema::from_json(&deep(depth)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{depth}");
    }
    let wide: Vec<String> = (0..=SCHEMA_FIELDS_MAX)
        .map(|index| column(&format!("c{index}"), "\"long\""))
        .collect();
    assert_eq!(
        Schema::from_json(&table(&wide.join(",")))
            .unwrap_err()
            .code(),
        Code::LimitExceeded
    );
    let spaces = " ".repeat(SCHEMA_BYTES_MAX + 1);
    assert_eq!(
        Schema::from_json(&spaces).unwrap_err().code(),
        Code::LimitExceeded
    );
    for text in [
        String::new(),
        "null".into(),
        "[]".into(),
        "\"long\"".into(),
        "{".into(),
        r#"{"type":"struct"}"#.into(),
        r#"{"type":"struct","fields":{}}"#.into(),
        r#"{"type":"union","fields":[]}"#.into(),
        table("5"),
        table(&column("", "\"long\"")),
        table(&format!(
            "{},{}",
            column("a", "\"long\""),
            column("A", "\"long\"")
        )),
        table(&column("c", "5")),
        table(&column("c", "null")),
        table(&column("c", "\"decimal(200,300)\"")),
        table(&column("c", "\"decimal(0,0)\"")),
        table(&column("c", "\"decimal(5,-1)\"")),
        table(&column("c", "\"decimal(5,6)\"")),
        table(&column("c", "\"decimal(5)\"")),
        table(&column("c", r#"{"type":"array"}"#)),
        table(&column("c", r#"{"type":"map","keyType":"long"}"#)),
        table(r#"{"name":5,"type":"long"}"#),
        table(r#"{"name":"c"}"#),
        table(r#"{"name":"c","type":"long","nullable":"yes"}"#),
        table(r#"{"name":"c","type":"long","metadata":[]}"#),
    ] {
        let error = Schema::from_json(&text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{text}");
    }
}

#[test]
fn h_5_deep_notes_and_long_names_do_no_harm() {
    let notes = format!(r#"{{"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let json = table(&format!(
        r#"{{"name":"c","type":"long","nullable":true,"metadata":{notes}}}"#
    ));
    assert_eq!(
        Schema::from_json(&json).unwrap_err().code(),
        Code::LimitExceeded
    );
    let name = "n".repeat(1 << 20);
    assert_eq!(
        Schema::from_json(&table(&column(&name, "\"long\"")))
            .unwrap()
            .fields()[0]
            .name,
        name
    );
}
