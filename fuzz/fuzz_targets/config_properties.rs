//! Table properties: an error, or values; what is read strictly is read leniently to the same.
#![no_main]

use std::collections::BTreeMap;

use headwater::protocol::property::TableProperties;
use headwater_fuzz::start;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: start(), |text: &str| {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let properties: BTreeMap<String, String> = pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let lenient = TableProperties::parse_leniently(&properties);
    if let Ok(strict) = TableProperties::parse(&properties) {
        assert_eq!(lenient.expect("what is strictly right is right"), strict);
    }
});
