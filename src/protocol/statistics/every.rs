//! Statistics of every column of a file, in one walk over the JSON.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::protocol::schema::PrimitiveType;
use crate::protocol::statistics::{FileStatistics, Written};
use crate::protocol::value::Scalar;

/// The statistics of one file for those who want most columns of it: says the same as [`FileStatistics`], but looks at
/// the JSON once, and finds columns fastest in the order in which they stand there.
#[derive(Debug)]
pub(crate) struct EveryColumn<'a> {
    statistics: FileStatistics<'a>,
    min_values: Level<'a>,
    max_values: Level<'a>,
    null_count: Level<'a>,
}

/// Bounds and null count of one column.
pub(crate) type Column = ((Option<Scalar>, Option<Scalar>), Option<u64>);

impl<'a> EveryColumn<'a> {
    /// Walks over the statistics.
    pub(crate) fn of(statistics: FileStatistics<'a>) -> Self {
        Self {
            min_values: Level::of(statistics.min_values),
            max_values: Level::of(statistics.max_values),
            null_count: Level::of(statistics.null_count),
            statistics,
        }
    }

    /// What holds for the file as a whole.
    pub(crate) fn file(&self) -> &FileStatistics<'a> {
        &self.statistics
    }

    /// Bounds, if the column has a type that has them, and null count of the column at a physical path.
    pub(crate) fn column(&mut self, path: &[&str], ty: Option<&PrimitiveType>) -> Column {
        let nulls = self.null_count.find(path);
        let null_count = self.statistics.nulls_of(nulls).known();
        let Some(ty) = ty else {
            return ((None, None), null_count);
        };
        let written = Written {
            min: self.min_values.find(path),
            max: self.max_values.find(path),
            nulls,
        };
        (self.statistics.bounds_of(&written, ty), null_count)
    }
}

/// The members of one object.
#[derive(Debug, Default)]
struct Level<'a> {
    members: Vec<Member<'a>>,
    /// Where the next name is expected.
    next: usize,
}

#[derive(Debug)]
struct Member<'a> {
    name: Cow<'a, str>,
    value: &'a RawValue,
    /// What is in the value, once somebody looked.
    inner: Option<Level<'a>>,
}

impl<'a> Level<'a> {
    /// The members of an object; none if it is no object, or if a name stands there twice.
    fn of(object: Option<&'a RawValue>) -> Self {
        let Some(object) = object else {
            return Self::default();
        };
        let mut deserializer = serde_json::Deserializer::from_str(object.get());
        let members = deserializer.deserialize_map(Members).unwrap_or_default();
        Self { members, next: 0 }
    }

    fn find(&mut self, path: &[&str]) -> Option<&'a RawValue> {
        let (name, below) = path.split_first()?;
        let expected = self.members.get(self.next);
        let index = match expected.filter(|member| member.name == *name) {
            Some(_) => self.next,
            None => self
                .members
                .iter()
                .position(|member| member.name == *name)?,
        };
        let member = self.members.get_mut(index)?;
        if below.is_empty() {
            self.next = index + 1;
            return Some(member.value);
        }
        let value = member.value;
        member
            .inner
            .get_or_insert_with(|| Self::of(Some(value)))
            .find(below)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<Member<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<Member<'de>> = Vec::new();
        while let Some(name) = map.next_key_seed(Name)? {
            members.push(Member {
                name,
                value: map.next_value()?,
                inner: None,
            });
        }
        let names: BTreeSet<&str> = members.iter().map(|member| member.name.as_ref()).collect();
        // Which of two values counts would be a guess.
        let twice = names.len() < members.len();
        Ok(if twice { Vec::new() } else { members })
    }
}

struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_walk_says_the_same_as_one_look_for_each_column() {
        let long = PrimitiveType::Long;
        for json in [
            r#"{"numRecords":3,"minValues":{"a":1,"b":{"c":2,"d":-1},"e":5},"maxValues":{"e":9,"a":7,"b":{"d":0}},
                "nullCount":{"a":0,"b":{"c":4,"d":1},"e":3}}"#,
            r#"{"numRecords":3,"minValues":{"a":1,"\u0062":{"c":2}},"maxValues":[1],"nullCount":{"a":"x"}}"#,
            r#"{"minValues":{"a":9},"maxValues":{"a":1},"tightBounds":false,"nullCount":{"a":1,"e":0}}"#,
            r#"{"minValues":7,"maxValues":{"b":5,"a":1}}"#,
            "{}",
        ] {
            let statistics = FileStatistics::parse(json).unwrap();
            let mut every = EveryColumn::of(statistics.clone());
            let paths: [&[&str]; 7] = [
                &["a"],
                &["b", "c"],
                &["b", "d"],
                &["e"],
                &["a"],
                &["b"],
                &["x", "y"],
            ];
            for path in paths {
                let wanted = (statistics.bounds(path, &long), statistics.null_count(path));
                assert_eq!(
                    every.column(path, Some(&long)),
                    wanted,
                    "{path:?} of {json}"
                );
                assert_eq!(every.column(path, None), ((None, None), wanted.1));
            }
        }
    }

    #[test]
    fn of_names_that_stand_there_twice_nothing_is_known() {
        let json = r#"{"numRecords":1,"minValues":{"a":1,"a":2},"maxValues":{"a":3}}"#;
        let mut every = EveryColumn::of(FileStatistics::parse(json).unwrap());
        let ((min, max), _) = every.column(&["a"], Some(&PrimitiveType::Long));
        assert_eq!((min, max), (None, Some(Scalar::Long(3))));
    }
}
