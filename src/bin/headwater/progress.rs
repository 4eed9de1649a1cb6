//! A progress bar on a terminal, nothing otherwise.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A spinner that counts rows on stderr; hidden unless stderr is a terminal.
pub(crate) fn rows(what: &'static str) -> ProgressBar {
    spinner(
        what,
        "{spinner} {msg} {human_pos} rows, {per_sec}, {elapsed}",
    )
}

/// A spinner for work that counts nothing.
pub(crate) fn work(what: &'static str) -> ProgressBar {
    spinner(what, "{spinner} {msg} {elapsed}")
}

fn spinner(what: &'static str, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template(template);
    // The template is a constant; the plain style is as good a fallback as any.
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
