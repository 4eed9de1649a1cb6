//! What functions make of their arguments.

use std::borrow::Cow;

use crate::error::Result;
use crate::predicate::bind::value::{Node, Op};
use crate::predicate::compute::calendar::{self, Form, Unit};
use crate::predicate::compute::{Cells, Fault, arithmetic, choice, map, map2, mistyped, text};
use crate::predicate::{Comparison, Function};
use crate::protocol::schema::PrimitiveType;
use crate::protocol::value::Scalar;

/// A call: the function, what is known of it since binding, and the values of its arguments.
pub(in crate::predicate) struct Call<'a, 'n> {
    pub(in crate::predicate) function: Function,
    pub(in crate::predicate) ty: &'n PrimitiveType,
    pub(in crate::predicate) nodes: &'n [Node],
    pub(in crate::predicate) arguments: Vec<Cells<'a>>,
    pub(in crate::predicate) rows: usize,
}

impl<'a> Call<'a, '_> {
    pub(in crate::predicate) fn answer(mut self) -> Result<Cells<'a>> {
        use Function as F;
        self.arguments.reverse();
        match self.function {
            F::Abs | F::Ceil | F::Floor | F::Round => self.number(),
            F::Coalesce | F::NullIf | F::Greatest | F::Least => self.choice(),
            F::Year | F::Quarter | F::Month | F::Day | F::DayOfWeek | F::DayOfYear => {
                let function = self.function;
                let part = |day| calendar::part_of_day(function, day);
                Ok(Cells::Whole(map(self.next()?.wholes()?, part)))
            }
            F::Hour | F::Minute | F::Second => {
                let function = self.function;
                let part = |micros| Ok(Some(calendar::part_of_time(function, micros)));
                Ok(Cells::Whole(map(self.next()?.wholes()?, part)))
            }
            F::DateFormat | F::ToDate | F::DateTrunc | F::Trunc => self.of_form(),
            F::DateAdd | F::DateSub | F::DateDiff => {
                let (left, right) = (self.next()?.wholes()?, self.next()?.wholes()?);
                let (function, ty) = (self.function, self.ty);
                let reckon = |day: i64, by: i64| {
                    let days = if function == F::DateAdd {
                        day + by
                    } else {
                        day - by
                    };
                    arithmetic::in_range(days, ty)
                };
                Ok(Cells::Whole(map2(left, right, reckon)))
            }
            // Binding refuses them unless they are given their value.
            F::CurrentDate | F::CurrentTimestamp => Err(mistyped()),
            _ => self.text(),
        }
    }

    fn next(&mut self) -> Result<Cells<'a>> {
        self.arguments.pop().ok_or_else(mistyped)
    }

    fn node(&self, place: usize) -> Result<&Node> {
        self.nodes.get(place).ok_or_else(mistyped)
    }

    fn number(mut self) -> Result<Cells<'a>> {
        let cells = self.next()?;
        let from = &self.node(0)?.ty;
        match self.function {
            Function::Abs => arithmetic::absolute(cells, self.ty),
            Function::Ceil => arithmetic::stepped(cells, from, self.ty, true),
            Function::Floor => arithmetic::stepped(cells, from, self.ty, false),
            _ => {
                let digits = match self.nodes.get(1) {
                    None => 0,
                    Some(node) => node.constant_whole().ok_or_else(mistyped)?,
                };
                arithmetic::to_digits(cells, from, self.ty, digits)
            }
        }
    }

    fn choice(mut self) -> Result<Cells<'a>> {
        match self.function {
            Function::NullIf => {
                let (left, right) = (self.next()?, self.next()?);
                let equal = choice::compared(
                    Comparison::Eq,
                    (&left, &self.node(0)?.ty),
                    (&right, &self.node(1)?.ty),
                )?;
                choice::unless(left, &equal)
            }
            function => {
                self.arguments.reverse();
                if function == Function::Coalesce {
                    return choice::first_value(self.arguments, self.rows);
                }
                let greatest = function == Function::Greatest;
                choice::extreme(self.arguments, self.ty, greatest, self.rows)
            }
        }
    }

    /// The constant text that says in what form, or to what unit.
    fn constant(&self, place: usize) -> Result<&str> {
        match &self.node(place)?.op {
            Op::Literal(Scalar::String(text)) => Ok(text),
            _ => Err(mistyped()),
        }
    }

    fn of_form(mut self) -> Result<Cells<'a>> {
        match self.function {
            Function::DateTrunc => {
                let unit = Unit::named(self.constant(0)?).ok_or_else(mistyped)?;
                self.next()?;
                let cells = self.next()?.wholes()?;
                Ok(Cells::Whole(map(cells, |micros| unit.first_micros(micros))))
            }
            Function::Trunc => {
                let unit = Unit::named(self.constant(1)?).ok_or_else(mistyped)?;
                let cells = self.next()?.wholes()?;
                Ok(Cells::Whole(map(cells, |day| unit.first_day(day))))
            }
            Function::DateFormat => {
                let form = Form::parse(self.constant(1)?).map_err(|_| mistyped())?;
                let cells = self.next()?.wholes()?;
                Ok(Cells::Text(map(cells, |micros| {
                    Ok(Some(Cow::Owned(form.write(micros)?)))
                })))
            }
            _ if self.nodes.len() == 1 => self.next(),
            _ => {
                let form = Form::parse(self.constant(1)?).map_err(|_| mistyped())?;
                let cells = self.next()?.texts()?;
                Ok(Cells::Whole(map(cells, |text| {
                    Ok(Some(form.read_day(&text)?))
                })))
            }
        }
    }

    fn text(mut self) -> Result<Cells<'a>> {
        use Function as F;
        let rows = self.rows;
        if self.function == F::Concat {
            self.arguments.reverse();
            let parts = self.arguments.into_iter().map(Cells::texts);
            return Ok(Cells::Text(text::joined(
                parts.collect::<Result<_>>()?,
                rows,
            )));
        }
        if self.function == F::Length {
            return Ok(Cells::Whole(match self.next()? {
                Cells::Binary(cells) => map(cells, |bytes| {
                    i64::try_from(bytes.len())
                        .map(Some)
                        .map_err(|_| Fault::RANGE)
                }),
                cells => map(cells.texts()?, |it| Ok(Some(text::count(&it)))),
            }));
        }
        let cells = self.next()?.texts()?;
        Ok(match self.function {
            F::StartsWith | F::EndsWith | F::Contains => {
                Cells::Boolean(text::beside(self.function, cells, self.next()?.texts()?))
            }
            F::Replace => {
                let from = self.next()?.texts()?;
                let to = match self.arguments.pop() {
                    Some(to) => to.texts()?,
                    None => vec![Ok(Some(Cow::Borrowed(""))); rows],
                };
                Cells::Text(text::replaced(cells, from, to))
            }
            F::Substring => {
                let from = self.next()?.wholes()?;
                let length = match self.arguments.pop() {
                    Some(length) => length.wholes()?,
                    None => vec![Ok(Some(i64::MAX)); rows],
                };
                Cells::Text(text::part(cells, from, length))
            }
            F::Left | F::Right => {
                Cells::Text(text::edge(self.function, cells, self.next()?.wholes()?))
            }
            function => Cells::Text(text::changed(function, cells)),
        })
    }
}
