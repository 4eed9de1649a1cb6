//! Functions of text. Characters are Unicode scalar values.

use std::borrow::Cow;

use crate::predicate::Function;
use crate::predicate::compute::{Cell, map, map2};

type Texts<'a> = Vec<Cell<Cow<'a, str>>>;

/// Text made of one text.
pub(super) fn changed<'a>(function: Function, cells: Texts<'a>) -> Texts<'a> {
    let trim: fn(&str) -> &str = match function {
        Function::Upper => return map(cells, |text| Ok(Some(Cow::Owned(text.to_uppercase())))),
        Function::Lower => return map(cells, |text| Ok(Some(Cow::Owned(text.to_lowercase())))),
        Function::LTrim => |text| text.trim_start_matches(' '),
        Function::RTrim => |text| text.trim_end_matches(' '),
        _ => |text| text.trim_matches(' '),
    };
    map(cells, |text| {
        Ok(Some(match text {
            Cow::Borrowed(text) => Cow::Borrowed(trim(text)),
            Cow::Owned(text) => Cow::Owned(trim(&text).to_owned()),
        }))
    })
}

/// Whether two texts stand so to each other.
pub(super) fn beside(function: Function, left: Texts<'_>, right: Texts<'_>) -> Vec<Cell<bool>> {
    map2(left, right, |text, part| {
        Ok(Some(match function {
            Function::StartsWith => text.starts_with(part.as_ref()),
            Function::EndsWith => text.ends_with(part.as_ref()),
            _ => text.contains(part.as_ref()),
        }))
    })
}

/// All texts, one after another.
pub(super) fn joined<'a>(parts: Vec<Texts<'a>>, rows: usize) -> Texts<'a> {
    let empty = vec![Ok(Some(Cow::Borrowed(""))); rows];
    parts.into_iter().fold(empty, |all, part| {
        map2(all, part, |all: Cow<'a, str>, part| {
            let mut all = all.into_owned();
            all.push_str(&part);
            Ok(Some(Cow::Owned(all)))
        })
    })
}

/// Each occurrence of a text replaced.
pub(super) fn replaced<'a>(cells: Texts<'a>, from: Texts<'a>, to: Texts<'a>) -> Texts<'a> {
    let with = map2(from, to, |from, to| Ok(Some((from, to))));
    map2(cells, with, |text, (from, to)| {
        Ok(Some(if from.is_empty() {
            text
        } else {
            Cow::Owned(text.replace(from.as_ref(), &to))
        }))
    })
}

/// Part of each text: positions count from 1, or backwards from the end; 0 is the first, too.
pub(super) fn part<'a>(
    cells: Texts<'a>,
    from: Vec<Cell<i64>>,
    length: Vec<Cell<i64>>,
) -> Texts<'a> {
    let place = map2(from, length, |from, length| Ok(Some((from, length))));
    map2(cells, place, |text, (from, length)| {
        let start = match from {
            0 => 0,
            from if 0 < from => from - 1,
            // What reaches over the beginning is cut there, not moved.
            from => count(&text).saturating_add(from),
        };
        Ok(Some(Cow::Owned(between(
            &text,
            start,
            start.saturating_add(length),
        ))))
    })
}

/// So many characters from the beginning, or from the end.
pub(super) fn edge<'a>(function: Function, cells: Texts<'a>, length: Vec<Cell<i64>>) -> Texts<'a> {
    map2(cells, length, |text, length| {
        let length = length.max(0);
        let start = match function {
            Function::Right => count(&text).saturating_sub(length),
            _ => 0,
        };
        Ok(Some(Cow::Owned(between(
            &text,
            start,
            start.saturating_add(length),
        ))))
    })
}

/// How many characters.
pub(super) fn count(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}

fn between(text: &str, start: i64, end: i64) -> String {
    let end = usize::try_from(end.max(0)).unwrap_or(usize::MAX);
    let start = usize::try_from(start.max(0)).unwrap_or(usize::MAX);
    text.chars().take(end).skip(start).collect()
}
