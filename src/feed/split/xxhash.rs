//! The function `xxhash64` of Spark SQL: XXH64, one column after the other, the hash of one as the seed of the next.
//!
//! Spark's conventions: the first seed is 42; a null leaves the hash as it is; booleans, dates and integers of up to
//! 32 bits hash as four bytes, longs and timestamps (microseconds) as eight; -0.0 hashes as 0.0 and every NaN alike;
//! decimals of up to 18 digits hash as longs, wider ones as the fewest bytes of two's complement that hold them.

const PRIME_1: u64 = 0x9E37_79B1_85EB_CA87;
const PRIME_2: u64 = 0xC2B2_AE3D_27D4_EB4F;
const PRIME_3: u64 = 0x1656_67B1_9E37_79F9;
const PRIME_4: u64 = 0x85EB_CA77_C2B2_AE63;
const PRIME_5: u64 = 0x27D4_EB2F_1656_67C5;

/// The seed of the first column.
pub(crate) const SEED: u64 = 42;

/// Four bytes: booleans, dates, integers of up to 32 bits.
pub(crate) fn of_int(value: i32, seed: u64) -> u64 {
    let start = seed.wrapping_add(PRIME_5).wrapping_add(4);
    finish(with_four(start, value.cast_unsigned()))
}

/// Eight bytes: longs and timestamps.
pub(crate) fn of_long(value: i64, seed: u64) -> u64 {
    let start = seed.wrapping_add(PRIME_5).wrapping_add(8);
    finish(with_eight(start, value.cast_unsigned()))
}

/// A number of 32 bits.
pub(crate) fn of_float(value: f32, seed: u64) -> u64 {
    let bits = match value {
        value if value.is_nan() => 0x7fc0_0000,
        0.0 => 0,
        value => value.to_bits(),
    };
    of_int(bits.cast_signed(), seed)
}

/// A number of 64 bits.
pub(crate) fn of_double(value: f64, seed: u64) -> u64 {
    let bits = match value {
        value if value.is_nan() => 0x7ff8_0000_0000_0000,
        0.0 => 0,
        value => value.to_bits(),
    };
    of_long(bits.cast_signed(), seed)
}

/// A decimal by its digits as a whole number.
pub(crate) fn of_decimal(unscaled: i128, precision: u8, seed: u64) -> u64 {
    const LONG_DIGITS_MAX: u8 = 18;
    if let (true, Ok(long)) = (precision <= LONG_DIGITS_MAX, i64::try_from(unscaled)) {
        return of_long(long, seed);
    }
    let bytes = unscaled.to_be_bytes();
    let (sign, is_negative) = match unscaled < 0 {
        true => (0xff, true),
        false => (0, false),
    };
    // A leading byte may go if the next one still says the sign.
    let spare = bytes
        .iter()
        .zip(bytes.iter().skip(1))
        .take_while(|(byte, next)| **byte == sign && (128 <= **next) == is_negative)
        .count();
    of_bytes(bytes.get(spare..).unwrap_or(&bytes), seed)
}

/// Text (UTF-8) and bytes.
pub(crate) fn of_bytes(bytes: &[u8], seed: u64) -> u64 {
    let (stripes, rest) = bytes.as_chunks::<32>();
    let length = bytes.len() as u64;
    let mut hash = if stripes.is_empty() {
        seed.wrapping_add(PRIME_5)
    } else {
        of_stripes(stripes, seed)
    };
    hash = hash.wrapping_add(length);
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        hash = with_eight(hash, u64::from_le_bytes(*word));
    }
    let (halves, rest) = rest.as_chunks::<4>();
    for half in halves {
        hash = with_four(hash, u32::from_le_bytes(*half));
    }
    for byte in rest {
        hash ^= u64::from(*byte).wrapping_mul(PRIME_5);
        hash = hash.rotate_left(11).wrapping_mul(PRIME_1);
    }
    finish(hash)
}

fn of_stripes(stripes: &[[u8; 32]], seed: u64) -> u64 {
    let mut lanes = [
        seed.wrapping_add(PRIME_1).wrapping_add(PRIME_2),
        seed.wrapping_add(PRIME_2),
        seed,
        seed.wrapping_sub(PRIME_1),
    ];
    for stripe in stripes {
        let (words, _) = stripe.as_chunks::<8>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = round(*lane, u64::from_le_bytes(*word));
        }
    }
    let [a, b, c, d] = lanes;
    let mixed = a
        .rotate_left(1)
        .wrapping_add(b.rotate_left(7))
        .wrapping_add(c.rotate_left(12))
        .wrapping_add(d.rotate_left(18));
    lanes.into_iter().fold(mixed, |hash, lane| {
        (hash ^ round(0, lane))
            .wrapping_mul(PRIME_1)
            .wrapping_add(PRIME_4)
    })
}

fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(PRIME_2))
        .rotate_left(31)
        .wrapping_mul(PRIME_1)
}

fn with_eight(hash: u64, word: u64) -> u64 {
    (hash ^ round(0, word))
        .rotate_left(27)
        .wrapping_mul(PRIME_1)
        .wrapping_add(PRIME_4)
}

fn with_four(hash: u64, half: u32) -> u64 {
    (hash ^ u64::from(half).wrapping_mul(PRIME_1))
        .rotate_left(23)
        .wrapping_mul(PRIME_2)
        .wrapping_add(PRIME_3)
}

fn finish(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 33)).wrapping_mul(PRIME_2);
    let hash = (hash ^ (hash >> 29)).wrapping_mul(PRIME_3);
    hash ^ (hash >> 32)
}
