//! Update.

use headwater::predicate::{Expression, col};
use proptest::prelude::*;

use super::{assert_is, assert_status, cases};
use crate::pruning::check;
use crate::pruning::conditions::conditions;
use crate::pruning::rows::{COLUMNS, PLAIN, Row};
use crate::pruning::values::Value;
use crate::support::block_on;
use crate::support::store::Faulty;

/// What a column is set to.
#[derive(Debug, Clone)]
enum New {
    Literal(usize, Value),
    /// Another column of the same type, as it was.
    Swap(usize, usize),
}

fn news() -> impl Strategy<Value = New> {
    let literal = (0..PLAIN).prop_flat_map(|column| {
        let values = COLUMNS[column].1.values();
        // Partition columns may be among them.
        values.prop_map(move |value| New::Literal(column, value.partitioned()))
    });
    // f32 is widened to f64 exactly.
    prop_oneof![3 => literal, 1 => Just(New::Swap(6, 5)), 1 => Just(New::Swap(4, 3))]
}

fn expression(new: &New) -> (&'static str, Expression) {
    match new {
        New::Literal(column, value) => {
            let (name, kind) = COLUMNS[*column];
            (name, Expression::Literal(value.scalar(kind)))
        }
        New::Swap(to, from) => (COLUMNS[*to].0, col(COLUMNS[*from].0)),
    }
}

fn changed(row: &Row, news: &[New]) -> Row {
    let mut changed = row.clone();
    for new in news {
        match new {
            New::Literal(column, value) => changed.values[*column] = value.clone(),
            New::Swap(to, from) => changed.values[*to] = row.values[*from].clone(),
        }
    }
    changed
}

#[test]
fn p72_updates_change_what_an_interpreter_of_rows_changes() {
    let step = (conditions(), proptest::collection::vec(news(), 1..3));
    let steps = proptest::collection::vec(step, 2);
    check(24, (cases(), steps), |(case, steps)| {
        block_on(async {
            let store = Faulty::default();
            let (table, mut rows) = case.build(&store).await;
            for (condition, mut news) in steps {
                let column = |new: &New| match new {
                    New::Literal(column, _) | New::Swap(column, _) => *column,
                };
                news.dedup_by_key(|new| column(new));
                let hit = rows.iter().filter(|row| condition.holds(row) == Some(true));
                let hit = hit.count() as u64;
                let mut update = table.update().filter(condition.predicate());
                for new in &news {
                    let (name, value) = expression(new);
                    update = update.set(name, value);
                }
                let commit = update.await.unwrap();
                for row in &mut rows {
                    if condition.holds(row) == Some(true) {
                        *row = changed(row, &news);
                    }
                }
                assert_eq!(commit.rows_updated, hit, "{}", condition.predicate());
                assert_status(&commit, 0 < hit);
                assert_is(&store, &rows).await;
            }
        });
    });
}
