//! Which parts of a predicate are asked first: one that is certain leaves the others unasked.

use std::sync::Arc;

use crate::predicate::bind::{Bound, Test};
use crate::predicate::{BoundColumn, BoundPredicate};

impl BoundPredicate {
    /// The same predicate; for skipping, with parts first whose columns are all at hand. What is known of the others
    /// costs more to find out, and is asked for only if those do not decide.
    pub(crate) fn asking_first(&self, is_at_hand: impl Fn(&BoundColumn) -> bool) -> Self {
        let at_hand: Vec<bool> = self.columns().iter().map(is_at_hand).collect();
        let mut root = self.root().clone();
        root.sort(&at_hand);
        self.with_root(Arc::new(root))
    }
}

impl Bound {
    fn sort(&mut self, at_hand: &[bool]) {
        match self {
            Self::Constant(_) | Self::Leaf(_) => {}
            Self::Is { part, .. } | Self::Not(part) => part.sort(at_hand),
            Self::And(parts) | Self::Or(parts) => {
                parts.iter_mut().for_each(|part| part.sort(at_hand));
                // Stable: parts of one cost stay as they were written.
                parts.sort_by_key(|part| !part.is_at_hand(at_hand));
            }
        }
    }

    fn is_at_hand(&self, at_hand: &[bool]) -> bool {
        let is = |column: &usize| at_hand.get(*column).copied().unwrap_or(false);
        match self {
            Self::Constant(_) => true,
            Self::Leaf(leaf) => match &leaf.test {
                Test::Value { column, .. }
                | Test::Compare { column, .. }
                | Test::In { column, .. }
                | Test::Like { column, .. }
                | Test::IsNull { column } => is(column),
                Test::Columns { left, right, .. } => is(left) && is(right),
                // Nothing is asked: bounds say nothing of what is computed.
                Test::Computed(_) => true,
            },
            Self::Is { part, .. } | Self::Not(part) => part.is_at_hand(at_hand),
            Self::And(parts) | Self::Or(parts) => parts.iter().all(|part| part.is_at_hand(at_hand)),
        }
    }
}
