//! File actions as they stand in one line of a commit, borrowed from it. Columns are made of them in
//! [`builder`](crate::log::builder).

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, de};

use crate::protocol::action::{Add, DeletionVectorDescriptor, PartitionValues, Remove};

/// Text that is borrowed from the line where it has no escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> de::Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

/// Statistics as they stand in a line. Anything but a string is no statistics: that never fails a table, it only
/// prunes nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stats<'a>(pub(crate) Option<Text<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Stats<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StatsVisitor)
    }
}

struct StatsVisitor;

impl<'de> de::Visitor<'de> for StatsVisitor {
    type Value = Stats<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("statistics")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Stats(Some(Text(Cow::Borrowed(text)))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Stats(Some(Text(Cow::Owned(text.to_owned())))))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Stats(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Stats(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Stats(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Stats(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Stats(None))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        de::IgnoredAny.visit_seq(seq).map(|_| Stats(None))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        de::IgnoredAny.visit_map(map).map(|_| Stats(None))
    }
}

/// A map from text to text or null, in the order of the line.
#[derive(Debug, Clone, Default)]
pub(crate) struct TextMap<'a>(pub(crate) Vec<(Text<'a>, Option<Text<'a>>)>);

impl<'a> From<&'a PartitionValues> for TextMap<'a> {
    fn from(values: &'a PartitionValues) -> Self {
        let text = |(key, value): (&'a String, &'a Option<String>)| {
            (Text::from(key.as_str()), value.as_deref().map(Text::from))
        };
        Self(values.iter().map(text).collect())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for TextMap<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TextMapVisitor)
    }
}

struct TextMapVisitor;

impl<'de> de::Visitor<'de> for TextMapVisitor {
    type Value = TextMap<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries: Vec<(Text<'de>, Option<Text<'de>>)> = Vec::new();
        while let Some((key, value)) = map.next_entry::<Text<'de>, Option<Text<'de>>>()? {
            // Partition columns are few; which of two values counts would be a guess.
            if entries.len() < 64 && entries.iter().any(|(earlier, _)| *earlier == key) {
                return Err(de::Error::custom("a key is there twice"));
            }
            entries.push((key, value));
        }
        Ok(TextMap(entries))
    }
}

/// An [`Add`] that borrows from its line.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AddRow<'a> {
    #[serde(borrow)]
    pub(crate) path: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) partition_values: Option<TextMap<'a>>,
    pub(crate) size: i64,
    pub(crate) modification_time: i64,
    pub(crate) data_change: bool,
    #[serde(borrow, default)]
    pub(crate) stats: Stats<'a>,
    #[serde(borrow, default)]
    pub(crate) tags: Option<TextMap<'a>>,
    #[serde(default)]
    pub(crate) deletion_vector: Option<DeletionVectorDescriptor>,
    #[serde(default)]
    pub(crate) base_row_id: Option<i64>,
    #[serde(default)]
    pub(crate) default_row_commit_version: Option<i64>,
    #[serde(borrow, default)]
    pub(crate) clustering_provider: Option<Text<'a>>,
}

impl<'a> From<&'a Add> for AddRow<'a> {
    fn from(add: &'a Add) -> Self {
        Self {
            path: add.path.as_str().into(),
            partition_values: Some((&add.partition_values).into()),
            size: add.size,
            modification_time: add.modification_time,
            data_change: add.data_change,
            stats: Stats(add.stats.as_deref().map(Text::from)),
            tags: add.tags.as_ref().map(TextMap::from),
            deletion_vector: add.deletion_vector.clone(),
            base_row_id: add.base_row_id,
            default_row_commit_version: add.default_row_commit_version,
            clustering_provider: add.clustering_provider.as_deref().map(Text::from),
        }
    }
}

/// A [`Remove`] that borrows from its line.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RemoveRow<'a> {
    #[serde(borrow)]
    pub(crate) path: Text<'a>,
    #[serde(default)]
    pub(crate) deletion_timestamp: Option<i64>,
    #[serde(default)]
    pub(crate) data_change: Option<bool>,
    #[serde(default)]
    pub(crate) extended_file_metadata: Option<bool>,
    #[serde(borrow, default)]
    pub(crate) partition_values: Option<TextMap<'a>>,
    #[serde(default)]
    pub(crate) size: Option<i64>,
    #[serde(borrow, default)]
    pub(crate) stats: Stats<'a>,
    #[serde(borrow, default)]
    pub(crate) tags: Option<TextMap<'a>>,
    #[serde(default)]
    pub(crate) deletion_vector: Option<DeletionVectorDescriptor>,
    #[serde(default)]
    pub(crate) base_row_id: Option<i64>,
    #[serde(default)]
    pub(crate) default_row_commit_version: Option<i64>,
}

impl<'a> From<&'a Remove> for RemoveRow<'a> {
    fn from(remove: &'a Remove) -> Self {
        Self {
            path: remove.path.as_str().into(),
            deletion_timestamp: remove.deletion_timestamp,
            data_change: Some(remove.data_change),
            extended_file_metadata: remove.extended_file_metadata,
            partition_values: remove.partition_values.as_ref().map(TextMap::from),
            size: remove.size,
            stats: Stats(remove.stats.as_deref().map(Text::from)),
            tags: remove.tags.as_ref().map(TextMap::from),
            deletion_vector: remove.deletion_vector.clone(),
            base_row_id: remove.base_row_id,
            default_row_commit_version: remove.default_row_commit_version,
        }
    }
}

/// Why a number of an add or remove cannot be what it claims to count; `None` if it can.
pub(crate) fn negative_number(
    size: Option<i64>,
    row_tracking: [Option<i64>; 2],
    vector: Option<&DeletionVectorDescriptor>,
) -> Option<&'static str> {
    let negative = |value: Option<i64>| value.is_some_and(|value| value < 0);
    if negative(size) {
        return Some("size is negative");
    }
    if row_tracking.into_iter().any(negative) {
        return Some("a row id or commit version is negative");
    }
    let vector = vector?;
    let counts = [
        Some(vector.cardinality),
        Some(vector.size_in_bytes.into()),
        vector.offset.map(i64::from),
    ];
    counts
        .into_iter()
        .any(negative)
        .then_some("a number of the deletion vector is negative")
}
