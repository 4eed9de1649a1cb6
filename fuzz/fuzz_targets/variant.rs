//! A variant: an error, or JSON.
#![no_main]

use headwater::protocol::variant::to_json;
use headwater_fuzz::start;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: start(), |data: &[u8]| {
    let Some((at, rest)) = data.split_first() else {
        return;
    };
    let (metadata, value) = rest.split_at(usize::from(*at).min(rest.len()));
    if let Ok(text) = to_json(metadata, value) {
        serde_json::from_str::<serde::de::IgnoredAny>(&text).expect("it is JSON");
    }
});
