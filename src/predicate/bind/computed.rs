//! Conditions of computed values, where columns and literals would have tests of their own.

use crate::error::Result;
use crate::predicate::bind::value::{Node, Op};
use crate::predicate::bind::{Binder, Bound, Test, leaf, types};
use crate::predicate::compute::mistyped;
use crate::predicate::{Comparison, Expression};

impl Binder<'_> {
    pub(super) fn between(
        &mut self,
        source: &Expression,
        value: &Expression,
        (low, high): (&Expression, &Expression),
        depth: usize,
    ) -> Result<Bound> {
        let simple =
            |side: &Expression| matches!(side, Expression::Column(_) | Expression::Literal(_));
        if simple(value) {
            let above = self.compare(source, (value, Comparison::GtEq, low), depth)?;
            let below = self.compare(source, (value, Comparison::LtEq, high), depth)?;
            return Ok(Bound::And(vec![above, below]));
        }
        let mut node = |part| {
            let side = self.side(part, depth)?;
            self.node(side)
        };
        let (value, low, high) = (node(value)?, node(low)?, node(high)?);
        let (value, bounds) = types::comparable_with(value, vec![low, high])?;
        let [low, high] = <[Node; 2]>::try_from(bounds).map_err(|_| mistyped())?;
        let test = Node::boolean(Op::Between {
            value: Box::new(value),
            bounds: Box::new((low, high)),
        });
        Ok(leaf(source, Test::Computed(Box::new(test))))
    }

    // A computed value against a list.
    pub(super) fn value_in(
        &mut self,
        source: &Expression,
        value: Node,
        list: &[Expression],
        depth: usize,
    ) -> Result<Bound> {
        let mut items = Vec::with_capacity(list.len());
        for item in list {
            let side = self.side(item, depth)?;
            items.push(self.node(side)?);
        }
        let (value, items) = types::comparable_with(value, items)?;
        let value = Box::new(value);
        let test = Node::boolean(Op::In { value, list: items });
        Ok(leaf(source, Test::Computed(Box::new(test))))
    }
}
