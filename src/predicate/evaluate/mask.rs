//! Answers for all rows at once.

use arrow_buffer::{BooleanBuffer, NullBuffer};

use crate::predicate::compute::{Cell, Cells, Fault};

/// Where the answer is true, and where it is false.
pub(super) struct Mask {
    pub(super) yes: BooleanBuffer,
    pub(super) no: BooleanBuffer,
    /// Where there is none.
    pub(super) failed: Option<Failed>,
}

/// Rows without an answer, and why one of them has none.
#[derive(Clone)]
pub(super) struct Failed {
    pub(super) rows: BooleanBuffer,
    pub(super) fault: Fault,
}

impl Mask {
    /// True here, false there, unknown elsewhere.
    pub(super) fn certain(yes: BooleanBuffer, no: BooleanBuffer) -> Self {
        Self {
            yes,
            no,
            failed: None,
        }
    }

    pub(super) fn constant(truth: Option<bool>, rows: usize) -> Self {
        let set = |value| BooleanBuffer::collect_bool(rows, |_| truth == Some(value));
        Self::certain(set(true), set(false))
    }

    /// An answer for each row, unknown where there is no value.
    pub(super) fn of(answers: BooleanBuffer, nulls: Option<&NullBuffer>) -> Self {
        let no = !&answers;
        match nulls {
            None => Self::certain(answers, no),
            Some(nulls) => Self::certain(&answers & nulls.inner(), &no & nulls.inner()),
        }
    }

    pub(super) fn of_cells(cells: Vec<Cell<bool>>) -> Self {
        let which = |wanted: bool| cells.iter().map(|cell| *cell == Ok(Some(wanted))).collect();
        let fault = cells.iter().find_map(|cell| cell.err());
        Self {
            yes: which(true),
            no: which(false),
            failed: fault.map(|fault| Failed {
                rows: cells.iter().map(Result::is_err).collect(),
                fault,
            }),
        }
    }

    pub(super) fn into_cells(self) -> Cells<'static> {
        let cells = self.yes.iter().zip(self.no.iter()).enumerate();
        let cell = |(row, answer): (usize, (bool, bool))| match (answer, &self.failed) {
            ((_, _), Some(failed)) if failed.rows.value(row) => Err(failed.fault),
            ((true, _), _) => Ok(Some(true)),
            ((_, true), _) => Ok(Some(false)),
            _ => Ok(None),
        };
        Cells::Boolean(cells.map(cell).collect())
    }

    pub(super) fn not(self) -> Self {
        Self {
            yes: self.no,
            no: self.yes,
            failed: self.failed,
        }
    }

    /// One side that is false is enough, whatever the other is.
    pub(super) fn and(self, other: &Self) -> Self {
        let no = &self.no | &other.no;
        Self {
            yes: &self.yes & &other.yes,
            failed: either(self.failed, other.failed.as_ref(), &no),
            no,
        }
    }

    pub(super) fn or(self, other: &Self) -> Self {
        let yes = &self.yes | &other.yes;
        Self {
            failed: either(self.failed, other.failed.as_ref(), &yes),
            yes,
            no: &self.no & &other.no,
        }
    }

    pub(super) fn is(self, truth: Option<bool>) -> Self {
        let yes = match truth {
            Some(true) => self.yes,
            Some(false) => self.no,
            None => match &self.failed {
                None => !&(&self.yes | &self.no),
                Some(failed) => !&(&(&self.yes | &self.no) | &failed.rows),
            },
        };
        let no = match &self.failed {
            None => !&yes,
            Some(failed) => !&(&yes | &failed.rows),
        };
        Self {
            yes,
            no,
            failed: self.failed,
        }
    }
}

/// Rows that fail on either side and are not decided.
fn either(one: Option<Failed>, other: Option<&Failed>, decided: &BooleanBuffer) -> Option<Failed> {
    let failed = match (one, other) {
        (None, None) => return None,
        (Some(failed), None) => failed,
        (None, Some(failed)) => failed.clone(),
        (Some(one), Some(other)) => Failed {
            rows: &one.rows | &other.rows,
            fault: one.fault,
        },
    };
    let rows = &failed.rows & &!decided;
    (0 < rows.count_set_bits()).then_some(Failed {
        rows,
        fault: failed.fault,
    })
}
