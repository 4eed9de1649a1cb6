//! Looking at the files once: which units there are, and how many rows of each belong to the feed.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::data::reader::DataFile;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::feed::digest::{Digest, field};
use crate::feed::leased::Leased;
use crate::feed::order::{ORDER_SPEC, Order, OrderDigest, Share, Walk};
use crate::feed::training::source::{Places, Selection, Source, key_of};
use crate::feed::training::state::PlanIdentity;
use crate::feed::training::units::Units;
use crate::feed::training::{TrainingFeed, choice};
use crate::protocol::Version;
use crate::protocol::schema::Schema;
use crate::snapshot::Snapshot;
use arrow_schema::SchemaRef;

/// Rows that are gathered at once and then cut into batches, at most.
const BLOCK_ROWS_MAX: u64 = 8_192;
/// They take the memory divided by this, about.
const BLOCK_SHARE: u64 = 16;
/// Rows of an order that are walked before others get their turn.
const DIGEST_ROWS: u64 = 1 << 20;

/// A training feed whose files were looked at: every row's place in every epoch is settled. Cloning is cheap.
#[derive(Clone)]
pub struct TrainingPlan(pub(super) Arc<Planned>);

pub(super) struct Planned {
    pub(super) environment: Environment,
    pub(super) files: Vec<DataFile>,
    pub(super) units: Vec<Unit>,
    pub(super) source: Source,
    pub(super) schema: SchemaRef,
    /// Bytes of decoded rows that may wait.
    pub(super) memory_bytes: u64,
    pub(super) identity: PlanIdentity,
    /// Held for as long as anything is read by the plan.
    _leased: Option<Leased>,
    snapshot_digest: Digest,
    rows: u64,
    row_bytes: u64,
    unit_bytes_max: u64,
}

/// A range of rows of a file that is read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) file: u32,
    pub(super) first_row: u64,
    pub(super) rows: u32,
    /// Rows that belong to the feed; never 0.
    pub(super) live: u32,
}

impl Unit {
    pub(super) fn range(&self) -> Range<u64> {
        self.first_row..self.first_row.saturating_add(self.rows.into())
    }
}

/// What a plan came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlanSummary {
    /// Rows of an epoch.
    pub rows: u64,
    /// Pieces of files that are read at once.
    pub units: u64,
    /// Rows of such a piece, where files can be cut so.
    pub unit_rows: u32,
    /// Orders that run side by side.
    pub lanes: u32,
    /// Units that each of them mixes at a time.
    pub window: u32,
    /// Bytes of decoded rows that wait to be handed out at most, about.
    pub memory_bytes: u64,
}

impl TrainingFeed {
    /// Looks at the files: reads every footer, and where a predicate or a split selects rows, the columns these look
    /// at, once. Memory: 24 bytes a unit, and meanwhile 4 bytes for each 1,024 rows.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if a column is unknown or the condition does not fit the schema,
    /// [`Conflict`](crate::ErrorKind::Conflict) if a lease was asked for and a vacuum may be about to take a file,
    /// [`Unsupported`](crate::ErrorKind::Unsupported) if a split's key cannot be hashed as Spark does,
    /// [`NotFound`](crate::ErrorKind::NotFound) with the code [`FilesExpired`](Code::FilesExpired) if files of this
    /// version were vacuumed, [`Corrupt`](crate::ErrorKind::Corrupt) if a file is damaged.
    pub async fn plan(&self) -> Result<TrainingPlan> {
        let output = self.output()?;
        let leased = match self.lease {
            Some(lasts) => Some(Leased::of(&self.snapshot, lasts).await?),
            None => None,
        };
        let mut scan = self.snapshot.scan();
        if let Some(predicate) = &self.predicate {
            scan = scan.filter(predicate.clone());
        }
        let planned = scan.plan().await?;
        let selection = Selection {
            predicate: planned.predicate,
            part: self.part.clone(),
        };
        let mut files = planned.files;
        files.sort_by_cached_key(key_of);
        let counting = Source::new(
            &self.snapshot,
            &Schema::new([])?,
            &selection,
            Places::Wanted,
        )?;
        let source = Source::new(&self.snapshot, &output, &selection, Places::NotWanted)?;
        let units = Units::of(&self.shuffle, counting, &files, &selection).await?;
        let schema = output.to_arrow()?;
        self.settle(files, units, (source, schema, leased)).await
    }

    async fn settle(
        &self,
        files: Vec<DataFile>,
        cut: Units,
        (source, schema, leased): (Source, SchemaRef, Option<Leased>),
    ) -> Result<TrainingPlan> {
        let (units, rows) = (cut.units, cut.rows);
        let live_max = units.iter().map(|unit| u64::from(unit.live)).max();
        let row_bytes = cut.row_bytes;
        let unit_bytes_max = row_bytes.saturating_mul(live_max.unwrap_or(0));
        let shape = choice::shape(&self.shuffle, self.seed, units.len() as u64, unit_bytes_max);
        let snapshot = &self.snapshot;
        let snapshot_digest = snapshot.digest().await?;
        let table = Digest::of(snapshot.metadata().id.as_bytes()).short();
        let mut identity = PlanIdentity {
            plan: rows,
            table,
            version: snapshot.version(),
            rows: rows.short(),
            shape,
            unit_rows: cut.unit_rows,
        };
        identity.plan = digest(
            snapshot,
            &identity,
            (&snapshot_digest, &rows),
            &files,
            &units,
        );
        let planned = Planned {
            environment: snapshot.environment().clone(),
            rows: units.iter().map(|unit| u64::from(unit.live)).sum(),
            files,
            units,
            source,
            schema,
            memory_bytes: self.shuffle.memory_bytes,
            identity,
            _leased: leased,
            snapshot_digest,
            row_bytes,
            unit_bytes_max,
        };
        // What the order refuses, it refuses here.
        planned.order(0)?;
        Ok(TrainingPlan(Arc::new(planned)))
    }
}

/// All that order and rows depend on; not what is read of the rows, nor how.
///
/// Frozen as the order is: states carry it, and a state must be known to be of its plan for as long as there are
/// states. Numbers are little-endian; a *field* is a length of 8 bytes and so many bytes; a *digest* is the first 16
/// bytes of BLAKE3. The plan's is that of the fields `headwater feed plan 1`, order specification (4 bytes), table id,
/// version (8); then the digest of the version ([`Snapshot::digest`]) and that of the rows, bare; then the fields seed
/// (8), lanes (4), window (4), unit size (4); then for each file with units its key as a field and, for each of its
/// units, first row (8), rows (4) and live rows (4), bare. The digest of the rows is that of the field `headwater feed
/// rows 1` and, where a condition or a split selects, for each file with a selected row the digest of their places in
/// the file (8 bytes each, ascending).
fn digest(
    snapshot: &Snapshot,
    identity: &PlanIdentity,
    (content, rows): (&Digest, &Digest),
    files: &[DataFile],
    units: &[Unit],
) -> Digest {
    let mut hasher = blake3::Hasher::new();
    field(&mut hasher, b"headwater feed plan 1");
    field(&mut hasher, &ORDER_SPEC.to_le_bytes());
    field(&mut hasher, snapshot.metadata().id.as_bytes());
    field(&mut hasher, &snapshot.version().to_le_bytes());
    hasher.update(content.bytes()).update(rows.bytes());
    field(&mut hasher, &identity.shape.seed.to_le_bytes());
    for number in [
        identity.shape.lanes,
        identity.shape.window,
        identity.unit_rows,
    ] {
        field(&mut hasher, &number.to_le_bytes());
    }
    let mut last = None;
    for unit in units {
        if last != Some(unit.file) {
            let file = usize::try_from(unit.file).ok();
            let file = file.and_then(|file| files.get(file)).map(key_of);
            field(&mut hasher, file.unwrap_or_default().as_bytes());
            last = Some(unit.file);
        }
        hasher.update(&unit.first_row.to_le_bytes());
        hasher.update(&unit.rows.to_le_bytes());
        hasher.update(&unit.live.to_le_bytes());
    }
    Digest::finish(&hasher)
}

impl Planned {
    pub(super) fn order(&self, epoch: u64) -> Result<Order> {
        let live: Vec<u32> = self.units.iter().map(|unit| unit.live).collect();
        Order::new(&live, self.identity.shape, epoch)
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows that are gathered at once, besides those of one batch: they take little of the memory.
    pub(super) fn block_rows(&self) -> u64 {
        let fitting = self.memory_bytes / BLOCK_SHARE / self.row_bytes.max(1);
        fitting.clamp(1, BLOCK_ROWS_MAX)
    }
}

impl TrainingPlan {
    /// Rows of an epoch, exactly.
    pub fn rows(&self) -> u64 {
        self.0.rows
    }

    /// The version that is read.
    pub fn version(&self) -> Version {
        self.0.identity.version
    }

    /// The Arrow schema of the batches.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.schema)
    }

    /// What makes the plan the plan it is: equal for equal rows in an equal order, whatever columns are read of them,
    /// in batches of any size.
    pub fn digest(&self) -> Digest {
        self.0.identity.plan
    }

    /// The digest of the version that is read: see [`Snapshot::digest`].
    pub fn snapshot_digest(&self) -> Digest {
        self.0.snapshot_digest
    }

    /// The digest of the order of an epoch. Computed from the plan alone, without a row.
    ///
    /// # Errors
    ///
    /// [`Storage`](crate::ErrorKind::Storage) if the computation was stopped.
    pub async fn order_digest(&self, epoch: u64) -> Result<OrderDigest> {
        let planned = Arc::clone(&self.0);
        let compute = move || {
            let order = Arc::new(planned.order(epoch)?);
            let mut walk = Walk::new(order, 0);
            let mut digest = OrderDigest::default();
            while walk.position() < planned.rows {
                for (position, row) in walk.batch(DIGEST_ROWS, Share::ALL) {
                    digest.add(position, row);
                }
            }
            Ok(digest)
        };
        let computed = self.0.environment.run_blocking(compute).await;
        computed.ok_or_else(|| Error::storage(Code::Stopped, "the computation was stopped"))?
    }

    /// What the plan came to.
    pub fn summary(&self) -> PlanSummary {
        let planned = &self.0;
        let shape = planned.identity.shape;
        let units = planned.units.len() as u64;
        let lane_units = units.div_ceil(u64::from(shape.lanes).max(1));
        let lane = u64::from(shape.window).saturating_add(1).min(lane_units);
        let resident = lane.saturating_mul(shape.lanes.into()).min(units);
        PlanSummary {
            rows: planned.rows,
            units,
            unit_rows: planned.identity.unit_rows,
            lanes: shape.lanes,
            window: shape.window,
            memory_bytes: resident.saturating_mul(planned.unit_bytes_max),
        }
    }
}

impl PlanSummary {
    /// How much more the mean of `rows` rows in a row varies than that of as many random rows, where rows of one unit
    /// correlate by `correlation` (0: not at all, 1: they are all the same). 1.0 is perfect mixing.
    ///
    /// ```
    /// # fn main() -> headwater::Result<()> { tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use headwater::protocol::schema::{DataType, Field, Schema};
    /// # let schema = Schema::new([Field::new("id", DataType::LONG, false)])?;
    /// # let table = headwater::Table::create("memory:///summary-example", schema).await?;
    /// let summary = table.snapshot().feed(17).plan().await?.summary();
    /// assert_eq!(summary.variance_factor(1024, 0.0), 1.0);
    /// # Ok(()) }) }
    /// ```
    pub fn variance_factor(&self, rows: u32, correlation: f64) -> f64 {
        let mixed = f64::from(self.lanes) * f64::from(self.window);
        let rows = f64::from(rows);
        let worst = rows / (mixed + rows / f64::from(self.unit_rows.max(1)));
        (1.0 + correlation * (worst - 1.0)).max(1.0)
    }
}

impl fmt::Debug for TrainingPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrainingPlan")
            .field("version", &self.version())
            .field("digest", &self.digest())
            .field("summary", &self.summary())
            .finish_non_exhaustive()
    }
}
