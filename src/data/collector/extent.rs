//! The least and the greatest value of an array, many values at a time.

use arrow_array::{Array, StringArray};
use arrow_buffer::NullBuffer;

// So many running minima and maxima are kept side by side: the loop then has no chain of dependent comparisons, and
// compiles to vector instructions.
const LANES: usize = 8;
// The bits of one word of a null bitmap.
const WORD: usize = 64;

/// A number as the loops below need it.
pub(super) trait Number: Copy + PartialOrd {
    /// Not below any number.
    const HIGHEST: Self;
    /// Not above any number.
    const LOWEST: Self;
    /// Whether this is no number at all, and takes no part in the order.
    fn is_nan(self) -> bool;
}

macro_rules! integers {
    ($($integer:ty),*) => {
        $(impl Number for $integer {
            const HIGHEST: Self = <$integer>::MAX;
            const LOWEST: Self = <$integer>::MIN;
            fn is_nan(self) -> bool {
                false
            }
        })*
    };
}

macro_rules! floats {
    ($($float:ty),*) => {
        $(impl Number for $float {
            const HIGHEST: Self = <$float>::INFINITY;
            const LOWEST: Self = <$float>::NEG_INFINITY;
            fn is_nan(self) -> bool {
                <$float>::is_nan(self)
            }
        })*
    };
}

integers!(i8, i16, i32, i64, i128);
floats!(f32, f64);

/// The least and the greatest number of an array, and whether it has a NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Extent<T> {
    /// Least and greatest; `None` if there is no number.
    pub(super) range: Option<(T, T)>,
    /// Whether a NaN was among the values.
    pub(super) nan: bool,
}

struct Lanes<T> {
    low: [T; LANES],
    high: [T; LANES],
    nan: bool,
}

/// The extent of the values that `valid` marks, or of all.
pub(super) fn of_numbers<T: Number>(values: &[T], valid: Option<&NullBuffer>) -> Extent<T> {
    let mut lanes = Lanes {
        low: [T::HIGHEST; LANES],
        high: [T::LOWEST; LANES],
        nan: false,
    };
    match valid.filter(|valid| 0 < valid.null_count()) {
        None => lanes.take(values),
        Some(valid) => {
            let words = valid.inner().bit_chunks();
            for (values, mask) in values.chunks(WORD).zip(words.iter_padded()) {
                lanes.take_masked(values, mask);
            }
        }
    }
    lanes.finish()
}

impl<T: Number> Lanes<T> {
    fn take(&mut self, values: &[T]) {
        let (chunks, rest) = values.as_chunks::<LANES>();
        for chunk in chunks {
            self.take_lanes(chunk);
        }
        self.take_lanes(rest);
        self.nan |= values.iter().fold(false, |nan, value| nan | value.is_nan());
    }

    // Comparisons with a NaN are false, so it never becomes a bound.
    fn take_lanes(&mut self, values: &[T]) {
        for ((low, high), &value) in self.low.iter_mut().zip(&mut self.high).zip(values) {
            *low = if value < *low { value } else { *low };
            *high = if *high < value { value } else { *high };
        }
    }

    fn take_masked(&mut self, values: &[T], mask: u64) {
        if mask == u64::MAX {
            return self.take(values);
        }
        if mask == 0 {
            return;
        }
        let lanes = (0..LANES).cycle();
        for ((index, &value), lane) in values.iter().enumerate().zip(lanes) {
            let valid = (mask >> index) & 1 == 1;
            let Some(low) = self.low.get_mut(lane) else {
                continue;
            };
            *low = if valid & (value < *low) { value } else { *low };
            let Some(high) = self.high.get_mut(lane) else {
                continue;
            };
            *high = if valid & (*high < value) {
                value
            } else {
                *high
            };
            self.nan |= valid & value.is_nan();
        }
    }

    fn finish(self) -> Extent<T> {
        let low = self
            .low
            .into_iter()
            .fold(T::HIGHEST, |low, lane| if lane < low { lane } else { low });
        let high = self.high.into_iter().fold(
            T::LOWEST,
            |high, lane| if high < lane { lane } else { high },
        );
        // Without a single number the two still stand where they began: crossed.
        Extent {
            range: (low <= high).then_some((low, high)),
            nan: self.nan,
        }
    }
}

/// The least and the greatest text, by bytes, of the values that `valid` marks, or of all.
pub(super) fn of_texts<'a>(
    array: &'a StringArray,
    valid: Option<&NullBuffer>,
) -> Option<(&'a str, &'a str)> {
    let mut found = None;
    match valid.filter(|valid| 0 < valid.null_count()) {
        None => (0..array.len()).for_each(|index| take_text(&mut found, array.value(index))),
        Some(valid) => valid
            .valid_indices()
            .for_each(|index| take_text(&mut found, array.value(index))),
    }
    found.map(|(low, high): (Keyed<'_>, Keyed<'_>)| (low.text, high.text))
}

// A text and its first bytes as one number: most comparisons end there.
#[derive(Clone, Copy)]
struct Keyed<'a> {
    key: u64,
    text: &'a str,
}

fn take_text<'a>(found: &mut Option<(Keyed<'a>, Keyed<'a>)>, text: &'a str) {
    let value = Keyed {
        key: key(text.as_bytes()),
        text,
    };
    let Some((low, high)) = found else {
        *found = Some((value, value));
        return;
    };
    if value.key <= low.key && (value.key < low.key || text < low.text) {
        *low = value;
    }
    if high.key <= value.key && (high.key < value.key || high.text < text) {
        *high = value;
    }
}

// Shorter texts are filled with zeros: equal keys say nothing, different keys are in the order of the texts.
fn key(text: &[u8]) -> u64 {
    match text.first_chunk::<8>() {
        Some(first) => u64::from_be_bytes(*first),
        None => {
            let filled = text
                .iter()
                .fold(0, |key, &byte| (key << 8) | u64::from(byte));
            // An empty text would be shifted by all 64 bits; its key is zero anyway.
            filled.checked_shl(64 - 8 * text.len() as u32).unwrap_or(0)
        }
    }
}
