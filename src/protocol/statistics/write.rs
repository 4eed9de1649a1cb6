//! Statistics as JSON text.

use crate::protocol::value::Scalar;

/// Collects what is known of a file's columns and writes it as JSON, columns in the order in which they are added.
///
/// ```
/// use headwater::protocol::statistics::StatisticsBuilder;
/// use headwater::protocol::value::Scalar;
/// let mut statistics = StatisticsBuilder::new(3);
/// statistics.column(&["id"], Some(&Scalar::Long(1)), Some(&Scalar::Long(3)), Some(0));
/// assert_eq!(
///     statistics.to_json(),
///     r#"{"numRecords":3,"minValues":{"id":1},"maxValues":{"id":3},"nullCount":{"id":0},"tightBounds":true}"#
/// );
/// ```
#[derive(Debug, Clone)]
pub struct StatisticsBuilder {
    num_records: u64,
    min_values: Tree,
    max_values: Tree,
    null_count: Tree,
}

impl StatisticsBuilder {
    /// Statistics of a file with this many rows.
    pub fn new(num_records: u64) -> Self {
        let empty = Tree::default;
        Self {
            num_records,
            min_values: empty(),
            max_values: empty(),
            null_count: empty(),
        }
    }

    /// Adds what is known of the column at a physical path. Each path may be added once.
    ///
    /// Times are let out to whole milliseconds and zeros get the sign that includes both. A bound that JSON cannot
    /// say is left out, and so is NaN unless it is both bounds: engines differ in where it stands among numbers.
    pub fn column(
        &mut self,
        path: &[&str],
        min: Option<&Scalar>,
        max: Option<&Scalar>,
        null_count: Option<u64>,
    ) {
        let only_nan = min.is_some_and(is_nan) && max.is_some_and(is_nan);
        let certain = |bound: &&Scalar| only_nan || !is_nan(bound);
        let (min, max) = (min.filter(certain), max.filter(certain));
        if let Some(text) = min.and_then(lower).and_then(|min| min.to_statistics()) {
            self.min_values.insert(path, text);
        }
        if let Some(text) = max.and_then(upper).and_then(|max| max.to_statistics()) {
            self.max_values.insert(path, text);
        }
        if let Some(count) = null_count {
            self.null_count.insert(path, count.to_string());
        }
    }

    /// The JSON text.
    pub fn to_json(&self) -> String {
        let mut json = format!("{{\"numRecords\":{}", self.num_records);
        let trees = [
            (",\"minValues\":", &self.min_values),
            (",\"maxValues\":", &self.max_values),
            (",\"nullCount\":", &self.null_count),
        ];
        for (key, tree) in trees {
            json.push_str(key);
            tree.write(&mut json);
        }
        json.push_str(",\"tightBounds\":true}");
        json
    }
}

fn is_nan(bound: &Scalar) -> bool {
    match bound {
        Scalar::Float(value) => value.is_nan(),
        Scalar::Double(value) => value.is_nan(),
        _ => false,
    }
}

fn lower(min: &Scalar) -> Option<Scalar> {
    Some(match min {
        Scalar::Timestamp(micros) => Scalar::Timestamp(floor(*micros)?),
        Scalar::TimestampNtz(micros) => Scalar::TimestampNtz(floor(*micros)?),
        Scalar::Float(0.0) => Scalar::Float(-0.0),
        Scalar::Double(0.0) => Scalar::Double(-0.0),
        other => other.clone(),
    })
}

fn upper(max: &Scalar) -> Option<Scalar> {
    Some(match max {
        Scalar::Timestamp(micros) => Scalar::Timestamp(ceil(*micros)?),
        Scalar::TimestampNtz(micros) => Scalar::TimestampNtz(ceil(*micros)?),
        Scalar::Float(0.0) => Scalar::Float(0.0),
        Scalar::Double(0.0) => Scalar::Double(0.0),
        other => other.clone(),
    })
}

fn floor(micros: i64) -> Option<i64> {
    micros.checked_sub(micros.rem_euclid(1000))
}

fn ceil(micros: i64) -> Option<i64> {
    floor(micros.checked_add(999)?)
}

/// Nested objects.
#[derive(Debug, Clone, Default)]
struct Tree(Vec<(String, Node)>);

#[derive(Debug, Clone)]
enum Node {
    Leaf(String),
    Tree(Tree),
}

impl Tree {
    fn insert(&mut self, path: &[&str], text: String) {
        let Some((name, rest)) = path.split_first() else {
            return;
        };
        if rest.is_empty() {
            self.0.push(((*name).to_owned(), Node::Leaf(text)));
            return;
        }
        // Fields of a struct come one after another, so the last one is nearly always it.
        let found = self.0.iter_mut().rev().find_map(|(have, node)| match node {
            Node::Tree(tree) if have == name => Some(tree),
            _ => None,
        });
        if let Some(tree) = found {
            return tree.insert(rest, text);
        }
        let mut tree = Self::default();
        tree.insert(rest, text);
        self.0.push(((*name).to_owned(), Node::Tree(tree)));
    }

    fn write(&self, json: &mut String) {
        json.push('{');
        for (index, (name, node)) in self.0.iter().enumerate() {
            if 0 < index {
                json.push(',');
            }
            json.push_str(&serde_json::Value::from(name.as_str()).to_string());
            json.push(':');
            match node {
                Node::Leaf(text) => json.push_str(text),
                Node::Tree(tree) => tree.write(json),
            }
        }
        json.push('}');
    }
}
