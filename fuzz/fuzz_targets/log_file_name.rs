//! Names in the log: none, or exactly the one that a writer would give.
#![no_main]

use headwater::fuzzing;
use headwater_fuzz::start;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: start(), |name: &str| {
    if let Some(written) = fuzzing::log_file_name(name) {
        assert_eq!(written, name.to_ascii_lowercase());
        assert_eq!(fuzzing::log_file_name(&written), Some(written));
    }
});
