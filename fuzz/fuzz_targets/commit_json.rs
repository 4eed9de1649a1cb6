//! A commit file: an error, or actions that are written and read again as they were.
#![no_main]

use headwater::fuzzing;
use headwater_fuzz::start;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: start(), |data: &[u8]| {
    let Ok(actions) = fuzzing::decode_commit(7, data) else {
        return;
    };
    // A writer demands more than a reader.
    if let Ok(bytes) = fuzzing::encode_commit(7, &actions) {
        let again = fuzzing::decode_commit(7, &bytes).expect("what is written can be read");
        assert_eq!(actions.len(), again.len());
        let written = fuzzing::encode_commit(7, &again).expect("what is read can be written");
        assert_eq!(bytes, written);
    }
});
