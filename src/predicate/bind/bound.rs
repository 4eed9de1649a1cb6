//! Expressions that are ready to be evaluated.

use std::sync::Arc;

use crate::error::Result;
use crate::predicate::bind::value::Node;
use crate::predicate::bind::{Binder, BoundColumn, invalid};
use crate::predicate::compute::cast::can_assign;
use crate::predicate::{Expression, literal};
use crate::protocol::schema::{DataType, PrimitiveType, Schema};

/// An expression whose columns and types are known: ready to make a column.
#[derive(Debug, Clone)]
pub struct BoundExpression {
    source: Arc<Expression>,
    columns: Arc<[BoundColumn]>,
    root: Arc<Root>,
    data_type: DataType,
    /// The column that the values are for.
    target: Option<Arc<str>>,
}

/// What makes the values.
#[derive(Debug)]
pub(in crate::predicate) enum Root {
    /// A struct, list or map, as it is.
    Whole(usize),
    /// A value without parts.
    Value(Node),
}

impl BoundExpression {
    /// The type of the values. Null by itself is of type void.
    pub fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// The columns that the values depend on, each once.
    pub fn columns(&self) -> &[BoundColumn] {
        &self.columns
    }

    /// The expression as it was before it was bound.
    pub fn expression(&self) -> &Expression {
        &self.source
    }

    pub(in crate::predicate) fn root(&self) -> &Root {
        &self.root
    }

    pub(in crate::predicate) fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// The expression as values of a column of this type, by Spark's ANSI store assignment: numbers as numbers (with
    /// fewer digits after the point they are rounded, as integers cut), days and times as each other, everything as
    /// text. A value that the type does not hold is an error when it is met, which names the column.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::error::ErrorKind::Invalid) if values of the type cannot be stored in such a column.
    pub fn assigned_to(self, column: &str, data_type: &DataType) -> Result<Self> {
        let refused = || {
            let message = format!("a {} cannot be stored as a {data_type}", self.data_type);
            invalid(message).with("column", column)
        };
        let root = match (self.root.as_ref(), data_type) {
            (Root::Whole(place), _) if self.data_type == *data_type => Root::Whole(*place),
            (Root::Value(node), DataType::Primitive(ty)) if can_assign(&node.ty, ty) => {
                Root::Value(node.clone().cast(ty)?)
            }
            (Root::Value(node), _) if node.ty == PrimitiveType::Void => Root::Value(node.clone()),
            _ => return Err(refused()),
        };
        Ok(Self {
            source: self.source,
            columns: self.columns,
            root: Arc::new(root),
            data_type: data_type.clone(),
            target: Some(column.into()),
        })
    }
}

pub(in crate::predicate) fn bind_expression(
    expression: &Expression,
    schema: &Schema,
) -> Result<BoundExpression> {
    let mut binder = Binder {
        schema,
        columns: Vec::new(),
    };
    let (root, data_type) = match expression {
        Expression::Column(path) => {
            let place = binder.column(path)?;
            match type_at(schema, path) {
                Some(DataType::Primitive(PrimitiveType::Unknown(_) | PrimitiveType::Variant)) => {
                    let message = "values of this column cannot be taken in this build";
                    return Err(invalid(message).with("column", literal::column(path)));
                }
                Some(DataType::Primitive(_)) | None => value(&mut binder, expression)?,
                Some(nested) => (Root::Whole(place), nested.clone()),
            }
        }
        _ => value(&mut binder, expression)?,
    };
    Ok(BoundExpression {
        source: Arc::new(expression.clone()),
        columns: binder.columns.into(),
        root: Arc::new(root),
        data_type,
        target: None,
    })
}

fn value(binder: &mut Binder<'_>, expression: &Expression) -> Result<(Root, DataType)> {
    let node = binder.value(expression, 0)?.folded();
    let data_type = DataType::Primitive(node.ty.clone());
    Ok((Root::Value(node), data_type))
}

fn type_at<'s>(schema: &'s Schema, path: &[String]) -> Option<&'s DataType> {
    let (first, rest) = path.split_first()?;
    let mut found = &schema.field(first)?.data_type;
    for name in rest {
        let DataType::Struct(inner) = found else {
            return None;
        };
        found = &inner.field(name)?.data_type;
    }
    Some(found)
}
