//! Rules as schema and properties declare them.

use crate::error::{Error, Result};
use crate::predicate::Expression;
use crate::protocol::json::Json;
use crate::protocol::schema::{DataType, Field};

/// What kind of rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Default,
    Generated,
    Invariant,
    Check,
}

impl Kind {
    pub(super) fn of(self) -> &'static str {
        match self {
            Self::Default => "the default of a column",
            Self::Generated => "the expression of a generated column",
            Self::Invariant => "the invariant of a column",
            Self::Check => "a CHECK constraint",
        }
    }

    fn named(key: &str) -> Option<Self> {
        Some(match key {
            "CURRENT_DEFAULT" => Self::Default,
            "delta.generationExpression" => Self::Generated,
            "delta.invariants" => Self::Invariant,
            _ => return None,
        })
    }
}

/// A rule, before it is understood.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) kind: Kind,
    /// Of the constraint, or of the column.
    pub(super) name: String,
    pub(super) sql: String,
}

impl Declared {
    /// What a field declares, of itself.
    pub(super) fn of(field: &Field) -> Result<Vec<Self>> {
        if let Some(path) = declared_inside(&field.data_type) {
            let message = "a rule on a field inside a column cannot be obeyed in this build";
            return Err(
                Error::unsupported(message).with("column", format!("{}.{path}", field.name))
            );
        }
        let mut declared = Vec::new();
        for (key, value) in &field.metadata {
            if let Some(kind) = Kind::named(key) {
                let name = field.name.clone();
                let sql = value.as_string();
                let sql = match kind {
                    Kind::Invariant => sql.as_deref().and_then(invariant),
                    _ => sql,
                };
                let sql = sql.ok_or_else(|| {
                    Error::unsupported(format!("{} cannot be read", kind.of()))
                        .with("column", &name)
                })?;
                declared.push(Self { kind, name, sql });
            }
        }
        Ok(declared)
    }

    /// The expression, at this time.
    pub(super) fn expression(&self, now_micros: i64) -> Result<Expression> {
        if is_ambiguous(&self.sql) {
            return Err(self.refused("its text has double quotes or backslashes"));
        }
        let expression = Expression::parse(&self.sql);
        let expression = expression.map_err(|cause| self.not_evaluated(cause))?;
        Ok(expression.at(now_micros))
    }

    /// Whether two writers would come to different values, because they write at different times.
    pub(super) fn asks_for_time(&self) -> bool {
        let at = |micros| Expression::parse(&self.sql).map(|expression| expression.at(micros));
        // Of another day: the date would not tell two times of one day apart.
        match (at(0), at(86_400_000_000)) {
            (Ok(one), Ok(other)) => one != other,
            _ => false,
        }
    }

    pub(super) fn refused(&self, why: &str) -> Error {
        let message = format!("{} cannot be obeyed in this build: {why}", self.kind.of());
        let place = match self.kind {
            Kind::Check => "constraint",
            _ => "column",
        };
        Error::unsupported(message).with(place, &self.name)
    }

    pub(super) fn not_evaluated(&self, cause: Error) -> Error {
        self.refused(cause.message()).because(cause)
    }
}

/// The condition in `{"expression":{"expression":"x > 3"}}`.
fn invariant(json: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(json).ok()?;
    let sql = value.get("expression")?.get("expression")?.as_str()?;
    Some(sql.to_owned())
}

/// Whether Spark would read something else than we do: to it, double quotes hold text, and a backslash in text stands
/// for another character.
fn is_ambiguous(sql: &str) -> bool {
    let mut quote = None;
    for char in sql.chars() {
        match (quote, char) {
            (Some('\''), '\\') | (None, '"') => return true,
            (Some(open), char) if open == char => quote = None,
            (None, '\'' | '`') => quote = Some(char),
            _ => {}
        }
    }
    false
}

/// The path of a field inside a type that declares a rule.
fn declared_inside(data_type: &DataType) -> Option<String> {
    let inner = |name: &str, data_type: &DataType| {
        declared_inside(data_type).map(|path| format!("{name}.{path}"))
    };
    match data_type {
        DataType::Primitive(_) => None,
        DataType::Struct(schema) => schema.fields().iter().find_map(|field| {
            let rule = |value: (&String, &Json)| Kind::named(value.0).is_some();
            if field.metadata.iter().any(rule) {
                return Some(field.name.clone());
            }
            inner(&field.name, &field.data_type)
        }),
        DataType::Array(array) => inner("element", &array.element),
        DataType::Map(map) => inner("key", &map.key).or_else(|| inner("value", &map.value)),
    }
}
