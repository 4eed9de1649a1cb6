//! Training: logistic regression by follow-the-regularized-leader, from the training feed of one version.

use futures::TryStreamExt;
use headwater::Snapshot;
use headwater::feed::{BatchOptions, Digest, HashSplit, OrderDigest, TrainingPlan};
use headwater::predicate::Predicate;
use linfa::prelude::{Dataset, FitWith, ParamGuard};
use linfa_ftrl::Ftrl;
use ndarray::{Array1, Array2};

use crate::Outcome;
use crate::model::{Model, WIDTH};
use crate::rows::{KEY, Rows, TRAINING};

const SEED: u64 = 20_130_630;
const EPOCHS: u64 = 3;
const BATCH_ROWS: usize = 128;

/// A model, and what it came from.
pub(crate) struct Trained {
    pub(crate) model: Model,
    pub(crate) snapshot: Digest,
    pub(crate) order: OrderDigest,
    pub(crate) rows: u64,
    pub(crate) batches: u64,
}

/// How good probabilities are.
pub(crate) struct Quality {
    pub(crate) rows: usize,
    /// The share of flights that were late.
    pub(crate) base: f64,
    pub(crate) log_loss: f64,
    /// How likely it is that a late flight has a higher probability than one in time.
    pub(crate) auc: f64,
}

/// The rows of one part, by hash of the flight's identity, that are known to have arrived, late or not.
async fn plan(snapshot: &Snapshot, part: &str) -> Outcome<TrainingPlan> {
    let split = HashSplit::by(KEY, [("train", 80), ("test", 20)])?;
    let feed = snapshot.feed(SEED).part(split.part(part)?);
    let arrived = Predicate::parse("arr_delay IS NOT NULL")?;
    Ok(feed.filter(arrived).select(TRAINING).plan().await?)
}

/// Trains on the part `train`, batch by batch.
pub(crate) async fn train(snapshot: &Snapshot) -> Outcome<Trained> {
    let plan = plan(snapshot, "train").await?;
    let learner = Ftrl::<f64>::params()
        .alpha(0.03)
        .beta(1.0)
        .l1_ratio(1.0)
        .l2_ratio(1.0)
        .check()?;
    let mut batches = plan.batches(BatchOptions {
        rows: BATCH_ROWS,
        epochs: 0..EPOCHS,
        ..BatchOptions::default()
    })?;
    let mut model: Option<Ftrl<f64>> = None;
    let mut count = 0;
    while let Some(batch) = batches.try_next().await? {
        let rows = Rows(&batch);
        let mut records = Array2::zeros((batch.num_rows(), WIDTH));
        for (row, flight) in rows.flights()?.iter().enumerate() {
            for feature in flight.features() {
                records[(row, feature)] += 1.0;
            }
        }
        let late: Option<Vec<bool>> = rows.late()?.into_iter().collect();
        let late = late.ok_or("a flight that did not arrive was fed")?;
        let dataset = Dataset::new(records, Array1::from_vec(late));
        model = Some(learner.fit_with(model.take(), &dataset)?);
        count += 1;
    }
    let model = model.ok_or("there is nothing to train on")?;
    Ok(Trained {
        model: Model::new(model.get_weights().to_vec()),
        snapshot: plan.snapshot_digest(),
        order: batches.order_digest(),
        rows: plan.rows(),
        batches: count,
    })
}

/// Measures a model on the part `test`, which it has not seen.
pub(crate) async fn test(snapshot: &Snapshot, model: &Model) -> Outcome<Quality> {
    let mut batches = plan(snapshot, "test")
        .await?
        .batches(BatchOptions::default())?;
    let mut judged = Vec::new();
    while let Some(batch) = batches.try_next().await? {
        let rows = Rows(&batch);
        for (flight, late) in rows.flights()?.iter().zip(rows.late()?) {
            judged.extend(late.map(|late| (model.late(flight), late)));
        }
    }
    Ok(Quality::of(judged))
}

impl Quality {
    /// The quality of probabilities, each with what came true.
    pub(crate) fn of(mut judged: Vec<(f64, bool)>) -> Self {
        judged.sort_by(|left, right| left.0.total_cmp(&right.0));
        let positives = judged.iter().filter(|(_, late)| *late).count() as f64;
        let negatives = judged.len() as f64 - positives;
        let losses = judged.iter().map(|(probability, late)| {
            let right = if *late {
                *probability
            } else {
                1.0 - probability
            };
            -right.max(f64::MIN_POSITIVE).ln()
        });
        let log_loss = losses.sum::<f64>() / judged.len() as f64;
        // The sum of the ranks of the late ones; equal probabilities share the mean of their ranks.
        let mut ranks = 0.0;
        let mut below = 0;
        for equal in judged.chunk_by(|left, right| left.0 == right.0) {
            let late = equal.iter().filter(|(_, late)| *late).count() as f64;
            ranks += late * (below as f64 + (equal.len() as f64 + 1.0) / 2.0);
            below += equal.len();
        }
        Self {
            rows: judged.len(),
            base: positives / judged.len() as f64,
            log_loss,
            auc: (ranks - positives * (positives + 1.0) / 2.0) / (positives * negatives),
        }
    }

    /// The loss of whoever knows how many flights are late, and nothing else.
    pub(crate) fn base_log_loss(&self) -> f64 {
        -(self.base * self.base.ln() + (1.0 - self.base) * (1.0 - self.base).ln())
    }
}
