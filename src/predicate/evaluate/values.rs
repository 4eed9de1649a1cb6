//! Expression and record batch to a column.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, make_array, new_null_array};
use arrow_buffer::NullBuffer;

use crate::error::{Code, Error, Result};
use crate::predicate::BoundExpression;
use crate::predicate::Comparison;
use crate::predicate::bind::Root;
use crate::predicate::bind::value::{Node, Op};
use crate::predicate::compute::call::Call;
use crate::predicate::compute::{Cell, Cells, Fault, arithmetic, cast, choice, map};
use crate::predicate::evaluate::Rows;
use crate::protocol::arrow::conform;
use crate::protocol::schema::DataType;
use crate::protocol::value::Scalar;

/// The refusal of rows for which there is no answer.
pub(super) fn failed(fault: Fault, rows: usize) -> Error {
    let message = format!("an expression has no value in some rows: {}", fault.0);
    Error::invalid(Code::InvalidPredicate, message).with("rows", rows)
}

impl BoundExpression {
    /// The value in every row of the batch, as an array of exactly the Arrow type of [`data_type`](Self::data_type).
    ///
    /// Columns are found by their logical names, whatever their order and whatever else the batch has.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::error::ErrorKind::Invalid) if the batch lacks a column or has it in another type, or if some
    /// row has no value: its type is too small for it, a number is divided by zero, a text is not what it is cast to.
    /// Then the error counts the rows, and names the column the values are for.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let rows = Rows::new(batch, self.columns());
        let node = match self.root() {
            Root::Whole(column) => return rows.whole(*column, self.data_type()),
            Root::Value(node) => node,
        };
        let cells = rows.cells(node)?;
        if let Some((count, fault)) = cells.faults() {
            let error = failed(fault, count);
            return Err(match self.target() {
                Some(column) => error.with("column", column),
                None => error.with("expression", self.expression()),
            });
        }
        match self.data_type() {
            DataType::Primitive(ty) => cells.into_array(ty),
            // Null where a struct, list or map is wanted.
            nested => Ok(new_null_array(&nested.to_arrow()?, choice::rows(&cells))),
        }
    }
}

impl Node {
    /// The node, or the literal that it is in all rows.
    pub(in crate::predicate) fn folded(self) -> Self {
        if matches!(self.op, Op::Literal(_)) || !self.is_constant() {
            return self;
        }
        let schema = Arc::new(arrow_schema::Schema::empty());
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let Ok(batch) = RecordBatch::try_new_with_options(schema, Vec::new(), &options) else {
            return self;
        };
        let rows = Rows::new(&batch, &[]);
        // What has a fault is left to the rows: there may be none.
        let value = match rows.cells(&self) {
            Ok(cells) if cells.faults().is_none() => cells.into_array(&self.ty).ok(),
            _ => None,
        };
        match value.and_then(|array| Scalar::from_array(array.as_ref(), 0)) {
            Some(scalar) => Self {
                op: Op::Literal(scalar),
                ty: self.ty,
            },
            None => self,
        }
    }

    fn is_constant(&self) -> bool {
        match &self.op {
            Op::Column(_) | Op::Condition(_) => false,
            Op::Literal(_) => true,
            Op::Negate(value) | Op::Cast(value) | Op::IsNull(value) | Op::Like { value, .. } => {
                value.is_constant()
            }
            Op::Arithmetic { left, right, .. } | Op::Compare { left, right, .. } => {
                left.is_constant() && right.is_constant()
            }
            Op::Call { arguments, .. } => arguments.iter().all(Self::is_constant),
            Op::In { value, list } => value.is_constant() && list.iter().all(Self::is_constant),
            Op::Between { value, bounds } => {
                value.is_constant() && bounds.0.is_constant() && bounds.1.is_constant()
            }
            Op::Case {
                operand,
                branches,
                otherwise,
            } => {
                operand.as_ref().is_none_or(|operand| operand.is_constant())
                    && otherwise.is_constant()
                    && branches
                        .iter()
                        .all(|(when, then)| when.is_constant() && then.is_constant())
            }
        }
    }
}

impl Rows<'_> {
    /// A struct, list or map, null where a struct around it is.
    fn whole(&self, column: usize, data_type: &DataType) -> Result<ArrayRef> {
        let column = self.column(column)?;
        let (array, nulls) = self.find(column)?;
        let array = conform(&array, data_type, &column.name())?;
        if column.path.len() == 1 {
            return Ok(array);
        }
        let nulls = NullBuffer::union(nulls.as_ref(), array.logical_nulls().as_ref());
        let data = array.to_data().into_builder().nulls(nulls).build();
        data.map(make_array).map_err(|cause| {
            Error::invalid(Code::InvalidPredicate, "a column cannot be taken whole").because(cause)
        })
    }

    /// The values of a node.
    pub(super) fn cells<'s>(&'s self, node: &'s Node) -> Result<Cells<'s>> {
        let rows = self.batch.num_rows();
        match &node.op {
            Op::Column(column) => {
                let values = self.values(*column)?;
                Cells::of(&values.array, values.nulls.as_ref())
            }
            Op::Literal(scalar) => Ok(Cells::constant(scalar, rows)),
            Op::Condition(bound) => Ok(self.mask(bound)?.into_cells()),
            Op::Arithmetic { op, left, right } => arithmetic::reckon(
                *op,
                (self.cells(left)?, &left.ty),
                (self.cells(right)?, &right.ty),
                &node.ty,
            ),
            Op::Negate(value) => arithmetic::negated(self.cells(value)?, &node.ty),
            Op::Cast(value) => cast::cast(self.cells(value)?, &value.ty, &node.ty),
            Op::Case {
                operand,
                branches,
                otherwise,
            } => self.case(operand.as_deref(), branches, otherwise),
            Op::Call {
                function,
                arguments,
            } => {
                let cells = arguments.iter().map(|argument| self.cells(argument));
                Call {
                    function: *function,
                    ty: &node.ty,
                    nodes: arguments,
                    arguments: cells.collect::<Result<_>>()?,
                    rows,
                }
                .answer()
            }
            Op::Compare { .. }
            | Op::IsNull(_)
            | Op::In { .. }
            | Op::Between { .. }
            | Op::Like { .. } => self.answers(node).map(Cells::Boolean),
        }
    }

    fn answers(&self, node: &Node) -> Result<Vec<Cell<bool>>> {
        match &node.op {
            Op::Compare { op, left, right } => {
                let (a, b) = (self.cells(left)?, self.cells(right)?);
                choice::compared(*op, (&a, &left.ty), (&b, &right.ty))
            }
            Op::IsNull(value) => Ok(self.cells(value)?.nulls()),
            Op::In { value, list } => {
                let cells = self.cells(value)?;
                let items = list.iter().map(|item| Ok((self.cells(item)?, &item.ty)));
                let items: Vec<_> = items.collect::<Result<_>>()?;
                choice::is_in((&cells, &value.ty), &items, self.batch.num_rows())
            }
            Op::Between { value, bounds } => {
                let cells = self.cells(value)?;
                let answer = |op, bound: &Node| {
                    let limit = self.cells(bound)?;
                    choice::compared(op, (&cells, &value.ty), (&limit, &bound.ty))
                };
                let above = answer(Comparison::GtEq, &bounds.0)?;
                let below = answer(Comparison::LtEq, &bounds.1)?;
                let both = super::Mask::of_cells(above).and(&super::Mask::of_cells(below));
                both.into_cells().booleans()
            }
            Op::Like { value, pattern } => Ok(map(self.cells(value)?.texts()?, |text| {
                Ok(Some(pattern.matches(&text)))
            })),
            _ => Err(crate::predicate::compute::mistyped()),
        }
    }

    fn case<'s>(
        &'s self,
        operand: Option<&'s Node>,
        branches: &'s [(Node, Node)],
        otherwise: &'s Node,
    ) -> Result<Cells<'s>> {
        let rows = self.batch.num_rows();
        let operand = match operand {
            Some(node) => Some((self.cells(node)?, &node.ty)),
            None => None,
        };
        let mut conditions = Vec::with_capacity(branches.len());
        let mut values = Vec::with_capacity(branches.len() + 1);
        for (when, then) in branches {
            let cells = self.cells(when)?;
            conditions.push(match &operand {
                Some((operand, ty)) => {
                    choice::compared(Comparison::Eq, (operand, ty), (&cells, &when.ty))?
                }
                None => cells.booleans()?,
            });
            values.push(self.cells(then)?);
        }
        values.push(self.cells(otherwise)?);
        choice::choose(
            values,
            &choice::first_true(&conditions, branches.len(), rows),
        )
    }
}
