//! What a changer does, told by its name and number alone: with the crate, and on a model in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::{Int32Type, Int64Type};
use headwater::arrow_array::{Int32Array, Int64Array, RecordBatch};
use headwater::predicate::Predicate;
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::{Table, Work};

use crate::rows::Id;

/// Rows of one append: so many that the deletion vector of a file of them can be an object of its own.
const ROWS: i64 = 256;
/// Ids of one application start at a multiple of this.
const IDS: i64 = 1_000_000;
pub(crate) const APPENDERS: i64 = 4;
/// Of the test in which others compact and vacuum.
pub(crate) const UPKEEP_APPENDERS: i64 = 8;
/// How many ids a window spans, and how far the windows over one appender's ids are apart.
const WINDOW: i64 = 4 * STEP;
const STEP: i64 = 400;
/// The partition that is overwritten again and again.
const OVERWRITTEN: i32 = 9;

/// A row; no two have the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Held {
    pub(crate) id: i64,
    pub(crate) part: i32,
    pub(crate) value: i64,
}

/// The rows of a table, by their ids.
pub(crate) type Model = BTreeMap<i64, Held>;

/// One operation of one changer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Append(Vec<Held>),
    Delete(Condition),
    /// Adds 1 to the values.
    Update(Condition),
    /// The rows replace those of the partition: by a condition, or as the partition that they are of.
    Overwrite {
        part: i32,
        by_condition: bool,
        rows: Vec<Held>,
    },
}

/// Rows of some ids, or of the partition that is overwritten; of these, each `of`-th.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    /// The first id; none: the partition.
    from: Option<i64>,
    of: i64,
    rest: i64,
    /// How many ids.
    width: i64,
}

/// How many rows an operation touched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    pub(crate) deleted: u64,
    pub(crate) updated: u64,
}

impl Change {
    /// Applications 1 to 4 append, 5 and 6 delete, 7 updates, 8 overwrites.
    pub(crate) fn of(id: Id) -> Self {
        let Id { app, number } = id;
        match app {
            1..=APPENDERS => {
                let part = match number % 10 {
                    5 => OVERWRITTEN,
                    _ => i32::try_from(number % 3).unwrap(),
                };
                Self::Append(rows(app * IDS + number * ROWS, ROWS, part, number))
            }
            // One deletes even ids, one odd ids of the same files: a quarter of them with each window that passes.
            5 | 6 => Self::Delete(Condition::of(
                number,
                8,
                number / APPENDERS % 4 * 2 + app - 5,
            )),
            7 => Self::Update(Condition::of(number, 3, number % 2)),
            8 => Self::overwrite(number),
            _ => panic!("there is no application {app}"),
        }
    }

    fn overwrite(number: i64) -> Self {
        // Now and then it is a partition that others append to all the time.
        let part = match number % 50 {
            0 => i32::try_from(number / 50 % 3).unwrap(),
            _ => OVERWRITTEN,
        };
        Self::Overwrite {
            part,
            by_condition: number % 2 == 0,
            rows: rows(8 * IDS + number * ROWS, 100 + number % 50, part, -number),
        }
    }

    /// Applications 1 to 8 append, 9 deletes: where others compact and vacuum.
    pub(crate) fn beside_upkeep(id: Id) -> Self {
        let Id { app, number } = id;
        if app <= UPKEEP_APPENDERS {
            let part = i32::try_from(number % 3).unwrap();
            return Self::Append(rows(app * IDS + number * ROWS, ROWS, part, number));
        }
        // Each window over one appender's rows overlaps those before it, and takes others of their rows.
        let (near, window) = (1 + number % UPKEEP_APPENDERS, number / 2);
        Self::Delete(Condition {
            from: Some(near * IDS + window * ROWS),
            of: 5,
            rest: number / UPKEEP_APPENDERS % 4,
            width: 16 * ROWS,
        })
    }

    /// What the log calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Append(_) | Self::Overwrite { .. } => "WRITE",
            Self::Delete(_) => "DELETE",
            Self::Update(_) => "UPDATE",
        }
    }

    /// The operation for a transaction of the table.
    pub(crate) fn work(self, table: &Table) -> Work {
        match self {
            Self::Append(rows) => table.append(batch(&rows)).into(),
            Self::Delete(condition) => table.delete(condition.predicate()).into(),
            Self::Update(condition) => {
                let update = table.update().filter(condition.predicate());
                update.set_sql("value", "value + 1").unwrap().into()
            }
            Self::Overwrite {
                part,
                by_condition,
                rows,
            } => {
                let overwrite = table.overwrite(batch(&rows));
                if by_condition {
                    let condition = Predicate::parse(&format!("part = {part}")).unwrap();
                    overwrite.matching(condition).into()
                } else {
                    overwrite.partitions_of_rows().into()
                }
            }
        }
    }

    /// Does it to the model.
    pub(crate) fn apply(self, model: &mut Model) -> Touched {
        let before = model.len();
        let mut touched = Touched::default();
        match self {
            Self::Append(rows) => put(model, rows),
            Self::Delete(condition) => {
                model.retain(|_, row| !condition.holds(row));
                touched.deleted = (before - model.len()) as u64;
            }
            Self::Update(condition) => {
                for row in model.values_mut().filter(|row| condition.holds(row)) {
                    row.value += 1;
                    touched.updated += 1;
                }
            }
            Self::Overwrite { part, rows, .. } => {
                model.retain(|_, row| row.part != part);
                touched.deleted = (before - model.len()) as u64;
                put(model, rows);
            }
        }
        touched
    }
}

impl Condition {
    /// The `number`-th of a changer. The windows of all of them walk in the same way over the appenders' ids.
    fn of(number: i64, of: i64, rest: i64) -> Self {
        let app = 1 + number % APPENDERS;
        let window = number / APPENDERS * STEP;
        let from = (number % 6 != 0).then_some(app * IDS + ROWS + window);
        Self {
            from,
            of,
            rest,
            width: WINDOW,
        }
    }

    fn holds(&self, row: &Held) -> bool {
        let is_near = match self.from {
            Some(from) => (from..from + self.width).contains(&row.id),
            None => row.part == OVERWRITTEN,
        };
        is_near && row.id % self.of == self.rest
    }

    fn predicate(&self) -> Predicate {
        let Self {
            from,
            of,
            rest,
            width,
        } = self;
        let near = match from {
            Some(from) => format!("id >= {from} AND id < {}", from + width),
            None => format!("part = {OVERWRITTEN}"),
        };
        Predicate::parse(&format!("{near} AND id % {of} = {rest}")).unwrap()
    }
}

/// The table's schema; it is partitioned by `part`.
pub(crate) fn schema() -> Schema {
    Schema::new([
        Field::new("id", DataType::LONG, false),
        Field::new("part", DataType::INTEGER, false),
        Field::new("value", DataType::LONG, true),
    ])
    .unwrap()
}

/// The rows of a batch; of a data file's, which does not have it, `part` is the partition.
pub(crate) fn rows_of(batch: &RecordBatch, part: Option<i32>) -> Vec<Held> {
    let longs = |name: &str| {
        let column = batch.column_by_name(name).unwrap();
        let column = column.as_primitive::<Int64Type>();
        column.iter().map(Option::unwrap).collect::<Vec<_>>()
    };
    let parts = batch.column_by_name("part");
    let parts = parts.map(|column| column.as_primitive::<Int32Type>());
    let rows = longs("id").into_iter().zip(longs("value")).enumerate();
    rows.map(|(row, (id, value))| {
        let part = part.unwrap_or_else(|| parts.unwrap().value(row));
        Held { id, part, value }
    })
    .collect()
}

fn rows(first: i64, count: i64, part: i32, value: i64) -> Vec<Held> {
    (first..first + count)
        .map(|id| Held { id, part, value })
        .collect()
}

fn put(model: &mut Model, rows: Vec<Held>) {
    for row in rows {
        assert_eq!(model.insert(row.id, row), None, "an id is new");
    }
}

fn batch(rows: &[Held]) -> RecordBatch {
    let ids = Int64Array::from_iter_values(rows.iter().map(|row| row.id));
    let parts = Int32Array::from_iter_values(rows.iter().map(|row| row.part));
    let values = Int64Array::from_iter_values(rows.iter().map(|row| row.value));
    RecordBatch::try_from_iter([
        ("id", Arc::new(ids) as _),
        ("part", Arc::new(parts) as _),
        ("value", Arc::new(values) as _),
    ])
    .unwrap()
}
