//! The state of a training feed: an error, or one that is written and read again as it was.
#![no_main]

use headwater::feed::FeedState;
use headwater_fuzz::start;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: start(), |text: &str| {
    if let Ok(state) = text.parse::<FeedState>() {
        let written = state.to_string();
        let again: FeedState = written.parse().expect("what is written can be read");
        assert_eq!(state, again);
        assert_eq!(written, again.to_string());
    }
});
