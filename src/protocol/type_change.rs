//! Columns whose type was widened: files, statistics and partition values from before keep the old type.
//!
//! Spec: [Type Widening](https://github.com/delta-io/delta/blob/master/protocol_rfcs/type-widening.md).

use serde::Deserialize;

use crate::error::{Code, Error, Result};
use crate::protocol::schema::{DataType, Field, PrimitiveType, Schema};

const NOTE: &str = "delta.typeChanges";

/// One change, as it is noted in the nearest field of a struct.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeChange {
    from_type: String,
    to_type: String,
    /// Where below the field: `element`, `key`, `value`, with points between.
    field_path: Option<String>,
}

impl Field {
    fn type_changes(&self) -> Result<Vec<TypeChange>> {
        let Some(note) = self.metadata.get(NOTE) else {
            return Ok(Vec::new());
        };
        serde_json::from_str(note.text()).map_err(|cause| {
            let message = "the notes of type changes in the schema cannot be read";
            Error::corrupt(Code::InvalidSchema, message)
                .with("column", &self.name)
                .because(cause)
        })
    }

    /// Whether the field itself had 32-bit floats before it had 64-bit ones.
    ///
    /// Bounds in the log are text: `0.1` of a 32-bit column is another number than `0.1` of a 64-bit one.
    pub(crate) fn was_float(&self) -> bool {
        let changes = self.type_changes().unwrap_or_default();
        changes
            .iter()
            .any(|change| change.from_type == "float" && change.field_path.is_none())
    }
}

/// Whether every type change of the schema is one that readers know how to undo.
///
/// # Errors
///
/// [`Unsupported`](crate::error::ErrorKind::Unsupported) naming the column and the change.
pub(crate) fn check_type_changes(schema: &Schema) -> Result<()> {
    schema.fields().iter().try_for_each(check_field)
}

fn check_field(field: &Field) -> Result<()> {
    for change in field.type_changes()? {
        let (from, to) = (
            PrimitiveType::from_name(&change.from_type),
            PrimitiveType::from_name(&change.to_type),
        );
        let known = from.zip(to).is_some_and(|(from, to)| widens(&from, &to));
        if !known {
            let change = format!(
                "{} to {}",
                change.from_type.escape_debug(),
                change.to_type.escape_debug()
            );
            let message = format!(
                "reading this table needs what this build lacks: a type change from {change}"
            );
            return Err(Error::unsupported(message).with("column", &field.name));
        }
    }
    check_type(&field.data_type)
}

fn check_type(data_type: &DataType) -> Result<()> {
    match data_type {
        DataType::Primitive(_) => Ok(()),
        DataType::Struct(schema) => check_type_changes(schema),
        DataType::Array(array) => check_type(&array.element),
        DataType::Map(map) => check_type(&map.key).and_then(|()| check_type(&map.value)),
    }
}

/// Whether the protocol lets a column change from one type to the other.
pub(crate) fn widens(from: &PrimitiveType, to: &PrimitiveType) -> bool {
    use PrimitiveType as P;
    let fits = |whole: u8, scale: u8, to_precision: u8, to_scale: u8| {
        let grown = to_precision.checked_sub(whole.saturating_add(scale));
        let finer = to_scale.checked_sub(scale);
        grown
            .zip(finer)
            .is_some_and(|(grown, finer)| finer <= grown)
    };
    match (from, to) {
        (P::Byte, P::Short | P::Integer | P::Long | P::Double)
        | (P::Short, P::Integer | P::Long | P::Double)
        | (P::Integer, P::Long | P::Double)
        | (P::Float, P::Double)
        | (P::Date, P::TimestampNtz) => true,
        (P::Byte | P::Short | P::Integer, &P::Decimal { precision, scale }) => {
            fits(10, 0, precision, scale)
        }
        (P::Long, &P::Decimal { precision, scale }) => fits(20, 0, precision, scale),
        (
            &P::Decimal { precision, scale },
            &P::Decimal {
                precision: to,
                scale: to_scale,
            },
        ) => fits(precision.saturating_sub(scale), scale, to, to_scale),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_widening_changes_of_the_protocol_are_known_and_no_others() {
        let primitive = |name: &str| PrimitiveType::from_name(name).unwrap();
        let known = [
            ("byte", "short"),
            ("byte", "integer"),
            ("byte", "long"),
            ("short", "integer"),
            ("short", "long"),
            ("integer", "long"),
            ("float", "double"),
            ("byte", "double"),
            ("short", "double"),
            ("integer", "double"),
            ("date", "timestamp_ntz"),
            ("decimal(5,2)", "decimal(5,2)"),
            ("decimal(5,2)", "decimal(6,3)"),
            ("decimal(5,2)", "decimal(6,2)"),
            ("byte", "decimal(10,0)"),
            ("short", "decimal(12,2)"),
            ("integer", "decimal(38,28)"),
            ("long", "decimal(20,0)"),
            ("long", "decimal(21,1)"),
        ];
        for (from, to) in known {
            assert!(widens(&primitive(from), &primitive(to)), "{from} to {to}");
        }
        let unknown = [
            ("long", "double"),
            ("long", "integer"),
            ("integer", "float"),
            ("double", "float"),
            ("date", "timestamp"),
            ("timestamp_ntz", "date"),
            ("string", "binary"),
            ("byte", "decimal(4,1)"),
            ("integer", "decimal(11,2)"),
            ("long", "decimal(19,0)"),
            ("decimal(5,2)", "decimal(6,4)"),
            ("decimal(5,2)", "decimal(4,1)"),
            ("float", "decimal(38,10)"),
        ];
        for (from, to) in unknown {
            assert!(!widens(&primitive(from), &primitive(to)), "{from} to {to}");
        }
    }

    #[test]
    fn type_widening_readers_refuse_unknown_changes_at_every_depth() {
        let schema = |change: &str| {
            let inner = format!(
                r#"{{"name":"x","type":{{"type":"array","elementType":"double","containsNull":true}},"nullable":true,
                "metadata":{{"delta.typeChanges":[{change}]}}}}"#
            );
            let map = format!(
                r#"{{"type":"map","keyType":"string","valueType":{{"type":"struct","fields":[{inner}]}},"valueContainsNull":true}}"#
            );
            Schema::from_json(&format!(
                r#"{{"type":"struct","fields":[{{"name":"m","type":{map},"nullable":true,"metadata":{{}}}}]}}"#
            ))
            .unwrap()
        };
        let fine =
            r#"{"fromType":"float","toType":"double","fieldPath":"element","tableVersion":3}"#;
        check_type_changes(&schema(fine)).unwrap();
        let error =
            check_type_changes(&schema(r#"{"fromType":"string","toType":"double"}"#)).unwrap_err();
        assert_eq!(error.kind(), crate::error::ErrorKind::Unsupported);
        assert_eq!(error.context_value("column").unwrap(), "x");
        let error = check_type_changes(&schema("7")).unwrap_err();
        assert_eq!(error.kind(), crate::error::ErrorKind::Corrupt);
    }
}
