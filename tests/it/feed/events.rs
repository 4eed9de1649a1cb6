//! What the crate says in its events, on this thread.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Counts events whose message begins so.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    beginning: &'static str,
    count: Arc<AtomicUsize>,
}

impl Events {
    /// Counts as long as the guard lives.
    pub(crate) fn listen(beginning: &'static str) -> (Self, tracing::subscriber::DefaultGuard) {
        let events = Self {
            beginning,
            count: Arc::default(),
        };
        let guard = tracing::subscriber::set_default(events.clone());
        (events, guard)
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("headwater")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Counter(self));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Counter<'a>(&'a Events);

impl Visit for Counter<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let is_one =
            field.name() == "message" && format!("{value:?}").starts_with(self.0.beginning);
        self.0
            .count
            .fetch_add(usize::from(is_one), Ordering::Relaxed);
    }
}
