//! Foreign JSON, bounded before any parser sees it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// How deep arrays and objects may nest in JSON that was read from a table.
pub const JSON_DEPTH_MAX: usize = 64;

/// Whether `text` nests no deeper than `limit`. Looks at brackets outside strings only, without recursion, so no
/// input can exhaust the stack.
///
/// ```
/// use headwater::protocol::json::depth_within;
/// assert!(depth_within(br#"{"a":[1,"]]]"]}"#, 2));
/// assert!(!depth_within(b"[[[1]]]", 2));
/// ```
pub fn depth_within(text: &[u8], limit: usize) -> bool {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for &byte in text {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if limit < depth {
                    return false;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

/// One JSON value kept as the text it was written as, so that numbers keep every digit.
#[derive(Clone)]
pub struct Json(Box<RawValue>);

impl Json {
    /// The value's text.
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// A JSON value from its text; `None` if the text is not one JSON value.
    pub fn parse(text: &str) -> Option<Self> {
        RawValue::from_string(text.to_owned()).ok().map(Self)
    }

    /// A JSON string.
    pub fn string(value: &str) -> Self {
        Self::from(serde_json::Value::from(value))
    }

    /// The string, if the value is one.
    pub fn as_string(&self) -> Option<String> {
        serde_json::from_str(self.text()).ok()
    }

    /// The integer, if the value is one.
    pub fn as_i64(&self) -> Option<i64> {
        serde_json::from_str(self.text()).ok()
    }
}

impl From<serde_json::Value> for Json {
    fn from(value: serde_json::Value) -> Self {
        // Printing a `Value` gives one JSON value; the fallback cannot be reached and is one, too.
        Self(RawValue::from_string(value.to_string()).unwrap_or_else(|_| RawValue::NULL.to_owned()))
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Json {}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self)
    }
}
