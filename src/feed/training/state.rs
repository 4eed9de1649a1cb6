//! Where a training run stands, as text that fits anywhere.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};
use crate::feed::digest::Digest;
use crate::feed::order::Shape;
use crate::protocol::Version;

/// Bytes of a state as text, at most.
const STATE_BYTES_MAX: usize = 256;
/// The form of the text.
const FORM: u32 = 1;

/// Where a training run stands: one line of JSON of at most 256 bytes, the same on every rank.
///
/// It knows which plan it belongs to and carries a checksum, so a state of another table, version, selection or seed,
/// or one that was cut off, is refused and never resumed by mistake. Store it beside the model.
///
/// ```
/// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # use headwater::protocol::schema::{DataType, Field, Schema};
/// # let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
/// # let table = headwater::Table::create("memory:///state-example", schema).await?;
/// # let plan = table.snapshot().feed(17).plan().await?;
/// use headwater::feed::{BatchOptions, FeedState};
/// let state = plan.batches(BatchOptions::default())?.state();
/// let text = state.to_string();
/// assert!(text.len() <= 256);
/// assert_eq!(text.parse::<FeedState>()?, state);
/// # Ok(()) }) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedState {
    pub(super) identity: PlanIdentity,
    pub(super) epoch: u64,
    pub(super) position: u64,
}

/// What makes a plan the plan it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PlanIdentity {
    /// All that the order and its rows depend on.
    pub(super) plan: Digest,
    /// The table's id.
    pub(super) table: u32,
    pub(super) version: Version,
    /// Which rows of the files belong to the feed.
    pub(super) rows: u32,
    pub(super) shape: Shape,
    pub(super) unit_rows: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    hw_feed: u32,
    plan: String,
    table: String,
    version: u64,
    rows: String,
    order: (u64, u32, u32, u32),
    epoch: u64,
    pos: u64,
    sum: String,
}

impl FeedState {
    /// The epoch, counted from 0.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Rows of the epoch that were handed out, over all ranks.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The version of the table that the run reads.
    pub fn version(&self) -> Version {
        self.identity.version
    }

    pub(super) fn shape(&self) -> Shape {
        self.identity.shape
    }

    pub(super) fn unit_rows(&self) -> u32 {
        self.identity.unit_rows
    }

    /// Refuses the state if it is of another plan, and says what differs.
    pub(super) fn check(&self, plan: &PlanIdentity) -> Result<()> {
        let own = &self.identity;
        let refuse = |message: &str| {
            Err(Error::invalid(Code::InvalidArgument, message)
                .with("state_plan", own.plan)
                .with("plan", plan.plan))
        };
        if own.table != plan.table {
            return refuse("the state is of another table");
        }
        if own.version != plan.version {
            let message = "the state is of another version; take the snapshot of that version";
            return refuse(message).map_err(|error| error.with("state_version", own.version));
        }
        if own.shape.seed != plan.shape.seed {
            return refuse("the state is of another seed; plan with `TrainingFeed::like`");
        }
        if (own.shape, own.unit_rows) != (plan.shape, plan.unit_rows) {
            let message = "the state is of another number of lanes, window or unit size; \
                           plan with `TrainingFeed::like`";
            return refuse(message);
        }
        if own.rows != plan.rows {
            return refuse("the state is of another filter or split");
        }
        if own.plan != plan.plan {
            return refuse("the state is of another order or other files");
        }
        Ok(())
    }

    fn text(&self) -> Text {
        let PlanIdentity {
            plan,
            table,
            version,
            rows,
            shape,
            unit_rows,
        } = self.identity;
        let mut text = Text {
            hw_feed: FORM,
            plan: plan.to_string(),
            table: format!("{table:08x}"),
            version,
            rows: format!("{rows:08x}"),
            order: (shape.seed, shape.lanes, shape.window, unit_rows),
            epoch: self.epoch,
            pos: self.position,
            sum: String::new(),
        };
        text.sum = text.checksum();
        text
    }
}

impl Text {
    /// The checksum of everything else.
    fn checksum(&self) -> String {
        let Self {
            hw_feed,
            plan,
            table,
            version,
            rows,
            order: (seed, lanes, window, unit_rows),
            epoch,
            pos,
            sum: _,
        } = self;
        let all = format!(
            "{hw_feed} {plan} {table} {version} {rows} {seed} {lanes} {window} {unit_rows} {epoch} {pos}"
        );
        format!("{:08x}", crc32fast::hash(all.as_bytes()))
    }
}

impl fmt::Display for FeedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(&self.text()).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl FromStr for FeedState {
    type Err = Error;

    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if the text is no state or was changed or cut;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) if a later release wrote it.
    fn from_str(text: &str) -> Result<Self> {
        let broken = || {
            let message = "this is no state of a training feed, or it was cut or changed";
            Error::invalid(Code::InvalidArgument, message)
        };
        let text = text.trim();
        if STATE_BYTES_MAX < text.len() {
            return Err(broken());
        }
        #[derive(Deserialize)]
        struct Form {
            hw_feed: u32,
        }
        let form: Form = serde_json::from_str(text).map_err(|_| broken())?;
        if form.hw_feed != FORM {
            let message = "the state of the training feed was written by a later release";
            return Err(Error::unsupported(message).with("form", form.hw_feed));
        }
        let text: Text = serde_json::from_str(text).map_err(|_| broken())?;
        if text.checksum() != text.sum {
            return Err(broken());
        }
        let short = |hex: &str| u32::from_str_radix(hex, 16).map_err(|_| broken());
        let (seed, lanes, window, unit_rows) = text.order;
        Ok(Self {
            identity: PlanIdentity {
                plan: Digest::parse(&text.plan).ok_or_else(broken)?,
                table: short(&text.table)?,
                version: text.version,
                rows: short(&text.rows)?,
                shape: Shape {
                    seed,
                    lanes,
                    window,
                },
                unit_rows,
            },
            epoch: text.epoch,
            position: text.pos,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> FeedState {
        FeedState {
            identity: PlanIdentity {
                plan: Digest::of(b"plan"),
                table: 7,
                version: 9,
                rows: 3,
                shape: Shape {
                    seed: 17,
                    lanes: 32,
                    window: 9,
                },
                unit_rows: 65_536,
            },
            epoch: 3,
            position: 18_274_304,
        }
    }

    #[test]
    fn the_largest_state_fits() {
        let mut largest = state();
        largest.identity.version = u64::MAX;
        largest.identity.table = u32::MAX;
        largest.identity.shape = Shape {
            seed: u64::MAX,
            lanes: 4_096,
            window: 4_096,
        };
        largest.identity.unit_rows = u32::MAX;
        (largest.epoch, largest.position) = (u64::MAX, u64::MAX);
        let text = largest.to_string();
        assert!(text.len() <= STATE_BYTES_MAX, "{} bytes", text.len());
        assert_eq!(text.parse::<FeedState>().unwrap(), largest);
    }

    #[test]
    fn j_8_a_state_that_was_cut_or_changed_is_refused() {
        let text = state().to_string();
        assert_eq!(text.parse::<FeedState>().unwrap(), state());
        for end in 0..text.len() {
            assert!(text[..end].parse::<FeedState>().is_err(), "cut at {end}");
        }
        for (at, byte) in text.bytes().enumerate() {
            if byte.is_ascii_digit() {
                let mut changed = text.clone().into_bytes();
                changed[at] = if byte == b'9' { b'1' } else { byte + 1 };
                let changed = String::from_utf8(changed).unwrap();
                assert!(changed.parse::<FeedState>().is_err(), "changed at {at}");
            }
        }
    }

    #[test]
    fn a_state_of_another_plan_is_refused_by_name() {
        let state = state();
        let plan = state.identity;
        assert!(state.check(&plan).is_ok());
        let differs = |change: &dyn Fn(&mut PlanIdentity)| {
            let mut other = plan;
            change(&mut other);
            state.check(&other).unwrap_err().message().to_owned()
        };
        assert!(differs(&|plan| plan.table = 1).contains("another table"));
        assert!(differs(&|plan| plan.version = 1).contains("another version"));
        assert!(differs(&|plan| plan.shape.seed = 1).contains("another seed"));
        assert!(differs(&|plan| plan.shape.lanes = 1).contains("lanes"));
        assert!(differs(&|plan| plan.unit_rows = 1).contains("unit size"));
        assert!(differs(&|plan| plan.rows = 1).contains("filter or split"));
        assert!(differs(&|plan| plan.plan = Digest::of(b"other")).contains("other files"));
    }
}
