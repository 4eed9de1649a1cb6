//! Base 85 in the alphabet of ZeroMQ's RFC 32: five characters for four bytes.

const ALPHABET: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// The bytes of a text; `None` if it is none in this alphabet.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let (groups, rest) = text.as_bytes().as_chunks::<5>();
    if !rest.is_empty() {
        return None;
    }
    let mut bytes = Vec::with_capacity(groups.len() * 4);
    for group in groups {
        let value = group.iter().try_fold(0_u32, |value, character| {
            let digit = ALPHABET.iter().position(|have| have == character)?;
            value
                .checked_mul(85)?
                .checked_add(u32::try_from(digit).ok()?)
        })?;
        bytes.extend_from_slice(&value.to_be_bytes());
    }
    Some(bytes)
}

/// The text of bytes, which are filled with zeros to a multiple of four.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(4) * 5);
    for chunk in bytes.chunks(4) {
        let byte = |index: usize| chunk.get(index).copied().unwrap_or(0);
        let value = u32::from_be_bytes([byte(0), byte(1), byte(2), byte(3)]);
        for power in [85_u32.pow(4), 85_u32.pow(3), 85_u32.pow(2), 85, 1] {
            let digit = usize::try_from(value / power % 85).unwrap_or(0);
            text.push(ALPHABET.get(digit).copied().map_or('0', char::from));
        }
    }
    text
}
