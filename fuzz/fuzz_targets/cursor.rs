//! The cursor of a followed table: an error, or one that is the same as text and as a number.
#![no_main]

use headwater::feed::Cursor;
use headwater_fuzz::start;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: start(), |input: (i64, &str)| {
    let (number, text) = input;
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string().parse::<Cursor>().expect("what is written can be read"), cursor);
        assert_eq!(Cursor::from_number(cursor.number()).expect("what is written can be read"), cursor);
        if let Ok(other) = Cursor::from_number(number) {
            assert_eq!(other < cursor, number < cursor.number());
        }
    }
    if let Ok(cursor) = Cursor::from_number(number) {
        assert_eq!(cursor.number(), number);
        assert_eq!(cursor.to_string().parse::<Cursor>().expect("what is written can be read"), cursor);
    }
});
