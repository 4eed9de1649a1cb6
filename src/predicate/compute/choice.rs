//! Values beside values: which is first, which is taken.

use std::cmp::Ordering;

use crate::error::Result;
use crate::predicate::Comparison;
use crate::predicate::compute::{Cell, Cells, mistyped, with_cells};
use crate::protocol::schema::PrimitiveType;
use crate::protocol::value::Scalar;

/// How the values of two columns stand to each other, row by row; null where either is.
pub(in crate::predicate) fn orders(
    (left, left_type): (&Cells<'_>, &PrimitiveType),
    (right, right_type): (&Cells<'_>, &PrimitiveType),
) -> Result<Vec<Cell<Ordering>>> {
    if *left_type == PrimitiveType::Void || *right_type == PrimitiveType::Void {
        return Ok(nothing(left, right));
    }
    Ok(match (left, right) {
        (Cells::Void(_), _) | (_, Cells::Void(_)) => nothing(left, right),
        (Cells::Boolean(a), Cells::Boolean(b)) => beside(a, b, |a, b| Some(a.cmp(b))),
        (Cells::Whole(a), Cells::Whole(b)) => beside(a, b, |a, b| Some(a.cmp(b))),
        (Cells::Text(a), Cells::Text(b)) => {
            beside(a, b, |a, b| Some(a.as_bytes().cmp(b.as_bytes())))
        }
        (Cells::Binary(a), Cells::Binary(b)) => beside(a, b, |a, b| Some(a.cmp(b))),
        _ => {
            let (a, b) = (numbers(left, left_type)?, numbers(right, right_type)?);
            beside(&a, &b, Scalar::compare)
        }
    })
}

// One side is null in every row.
fn nothing(left: &Cells<'_>, right: &Cells<'_>) -> Vec<Cell<Ordering>> {
    let one = |(left, right): (Cell<bool>, Cell<bool>)| match (left?, right) {
        (Some(true), _) => Ok(None),
        (_, right) => right.map(|_| None),
    };
    left.nulls()
        .into_iter()
        .zip(right.nulls())
        .map(one)
        .collect()
}

fn beside<A, B>(
    left: &[Cell<A>],
    right: &[Cell<B>],
    order: impl Fn(&A, &B) -> Option<Ordering>,
) -> Vec<Cell<Ordering>> {
    let one = |(left, right): (&Cell<A>, &Cell<B>)| match (left, right) {
        (Err(fault), _) => Err(*fault),
        (Ok(None), _) => Ok(None),
        (_, Err(fault)) => Err(*fault),
        (Ok(Some(left)), Ok(Some(right))) => Ok(order(left, right)),
        (_, Ok(None)) => Ok(None),
    };
    left.iter().zip(right).map(one).collect()
}

// Numbers of different types are left to their own comparison.
fn numbers(cells: &Cells<'_>, ty: &PrimitiveType) -> Result<Vec<Cell<Scalar>>> {
    let scale = match *ty {
        PrimitiveType::Decimal { scale, .. } => scale,
        _ => 0,
    };
    let decimal = |unscaled| Scalar::Decimal {
        unscaled,
        precision: 38,
        scale,
    };
    Ok(match cells {
        Cells::Whole(cells) => cells
            .iter()
            .map(|it| it.map(|it| it.map(Scalar::Long)))
            .collect(),
        Cells::Decimal(cells) => cells
            .iter()
            .map(|it| it.map(|it| it.map(decimal)))
            .collect(),
        Cells::Float(cells) => cells
            .iter()
            .map(|it| it.map(|it| it.map(Scalar::Double)))
            .collect(),
        _ => return Err(mistyped()),
    })
}

/// Whether a comparison holds.
pub(in crate::predicate) fn compared(
    op: Comparison,
    left: (&Cells<'_>, &PrimitiveType),
    right: (&Cells<'_>, &PrimitiveType),
) -> Result<Vec<Cell<bool>>> {
    let holds = |cell: Cell<Ordering>| cell.map(|order| order.map(|order| op.holds(order)));
    let answers = orders(left, right)?.into_iter().map(holds);
    if op != Comparison::NullSafeEq {
        return Ok(answers.collect());
    }
    let nulls = left.0.nulls().into_iter().zip(right.0.nulls());
    let null_safe = |(answer, (left, right)): (Cell<bool>, (Cell<bool>, Cell<bool>))| {
        let (left, right) = (left? == Some(true), right? == Some(true));
        Ok(Some(match answer? {
            Some(answer) => answer,
            None => left && right,
        }))
    };
    Ok(answers.zip(nulls).map(null_safe).collect())
}

/// Whether the first equals one of the others: unknown if not, and something is null.
pub(in crate::predicate) fn is_in(
    value: (&Cells<'_>, &PrimitiveType),
    list: &[(Cells<'_>, &PrimitiveType)],
    rows: usize,
) -> Result<Vec<Cell<bool>>> {
    let mut answers: Vec<Cell<bool>> = vec![Ok(Some(false)); rows];
    for (item, ty) in list {
        let equal = compared(Comparison::Eq, value, (item, ty))?;
        for (answer, equal) in answers.iter_mut().zip(equal) {
            *answer = match (*answer, equal) {
                // As with `OR`: one that is equal decides, whatever is wrong with the others.
                (Ok(Some(true)), _) | (_, Ok(Some(true))) => Ok(Some(true)),
                (Err(fault), _) | (_, Err(fault)) => Err(fault),
                (Ok(None), _) | (_, Ok(None)) => Ok(None),
                _ => Ok(Some(false)),
            };
        }
    }
    Ok(answers)
}

/// For each row the cell of the part picked there; null where none is. All parts are of one kind.
pub(in crate::predicate) fn choose<'a>(
    parts: Vec<Cells<'a>>,
    picks: &[Cell<usize>],
) -> Result<Cells<'a>> {
    let kind = parts.iter().find(|part| !matches!(part, Cells::Void(_)));
    macro_rules! chosen {
        ($variant:ident, $method:ident) => {{
            let parts = parts.into_iter().map(Cells::$method);
            Cells::$variant(picked(parts.collect::<Result<_>>()?, picks))
        }};
    }
    Ok(match kind {
        // Nulls without a type: only what failed is to be told.
        None | Some(Cells::Void(_)) if picks.iter().any(Result::is_err) => {
            Cells::Boolean(picked(Vec::new(), picks))
        }
        None | Some(Cells::Void(_)) => Cells::Void(picks.len()),
        Some(Cells::Boolean(_)) => chosen!(Boolean, booleans),
        Some(Cells::Whole(_)) => chosen!(Whole, wholes),
        Some(Cells::Decimal(_)) => chosen!(Decimal, decimals),
        Some(Cells::Float(_)) => chosen!(Float, floats),
        Some(Cells::Text(_)) => chosen!(Text, texts),
        Some(Cells::Binary(_)) => chosen!(Binary, binaries),
    })
}

fn picked<T>(parts: Vec<Vec<Cell<T>>>, picks: &[Cell<usize>]) -> Vec<Cell<T>> {
    let mut parts: Vec<_> = parts.into_iter().map(Vec::into_iter).collect();
    let mut chosen = Vec::with_capacity(picks.len());
    for pick in picks {
        let mut cell = match pick {
            Ok(_) => Ok(None),
            Err(fault) => Err(*fault),
        };
        for (place, part) in parts.iter_mut().enumerate() {
            let next = part.next();
            if *pick == Ok(Some(place)) {
                cell = next.unwrap_or(Ok(None));
            }
        }
        chosen.push(cell);
    }
    chosen
}

/// For each row the first condition that is true, in order; `otherwise` where none is.
pub(in crate::predicate) fn first_true(
    conditions: &[Vec<Cell<bool>>],
    otherwise: usize,
    rows: usize,
) -> Vec<Cell<usize>> {
    let mut picks: Vec<Cell<usize>> = vec![Ok(None); rows];
    for (place, condition) in conditions.iter().enumerate() {
        for (pick, cell) in picks.iter_mut().zip(condition) {
            if *pick == Ok(None) {
                match cell {
                    Ok(Some(true)) => *pick = Ok(Some(place)),
                    Ok(_) => {}
                    Err(fault) => *pick = Err(*fault),
                }
            }
        }
    }
    let left = |pick: &mut Cell<usize>| {
        if *pick == Ok(None) {
            *pick = Ok(Some(otherwise));
        }
    };
    picks.iter_mut().for_each(left);
    picks
}

/// For each row the first part that is not null.
pub(super) fn first_value<'a>(parts: Vec<Cells<'a>>, rows: usize) -> Result<Cells<'a>> {
    let there = |part: &Cells<'a>| {
        let there = |null: Cell<bool>| null.map(|null| null.map(|null| !null));
        part.nulls().into_iter().map(there).collect::<Vec<_>>()
    };
    let conditions: Vec<_> = parts.iter().map(there).collect();
    let picks = first_true(&conditions, parts.len(), rows);
    choose(parts, &picks)
}

/// For each row the greatest, or the least, part that is not null.
pub(super) fn extreme<'a>(
    parts: Vec<Cells<'a>>,
    ty: &PrimitiveType,
    greatest: bool,
    rows: usize,
) -> Result<Cells<'a>> {
    let wanted = if greatest {
        Ordering::Greater
    } else {
        Ordering::Less
    };
    let mut best: Option<Cells<'a>> = None;
    for part in parts {
        let Some(before) = best.take() else {
            best = Some(part);
            continue;
        };
        let orders = orders((&part, ty), (&before, ty))?;
        let missing = before.nulls().into_iter().zip(part.nulls());
        let pick = |(order, (before, part)): (Cell<Ordering>, (Cell<bool>, Cell<bool>))| {
            let (before, part) = (before?, part?);
            let takes = order? == Some(wanted) || (before == Some(true) && part != Some(true));
            Ok(Some(usize::from(takes)))
        };
        let picks: Vec<_> = orders.into_iter().zip(missing).map(pick).collect();
        best = Some(choose(vec![before, part], &picks)?);
    }
    Ok(best.unwrap_or(Cells::Void(rows)))
}

/// The first, but null where the condition is true.
pub(super) fn unless<'a>(cells: Cells<'a>, condition: &[Cell<bool>]) -> Result<Cells<'a>> {
    let pick = |cell: &Cell<bool>| cell.map(|truth| (truth != Some(true)).then_some(0));
    let picks: Vec<Cell<usize>> = condition.iter().map(pick).collect();
    choose(vec![cells], &picks)
}

/// How many rows.
pub(in crate::predicate) fn rows(cells: &Cells<'_>) -> usize {
    with_cells!(cells, rows => *rows, cells => cells.len())
}
