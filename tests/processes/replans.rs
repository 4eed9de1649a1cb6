//! How often the crate plans an operation again, as it says in its events.

use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

static REPLANS: AtomicUsize = AtomicUsize::new(0);

/// Counts in this process from now on.
pub(crate) fn listen() {
    tracing::subscriber::set_global_default(Listener).unwrap();
}

/// How many there were since the last call.
pub(crate) fn take() -> usize {
    REPLANS.swap(0, Ordering::Relaxed)
}

struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("headwater") && *metadata.level() <= Level::DEBUG
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Counter);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Counter;

impl Visit for Counter {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let is_replan =
            field.name() == "message" && format!("{value:?}").starts_with("planned_again");
        REPLANS.fetch_add(usize::from(is_replan), Ordering::Relaxed);
    }
}
