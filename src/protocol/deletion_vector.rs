//! Deletion vectors: which rows of a data file are deleted, as a bitmap beside it or in the log.
//!
//! Spec: [Deletion Vectors](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#deletion-vectors),
//! [Deletion Vector Format](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#deletion-vector-format).

use std::ops::Range;

use roaring::{RoaringBitmap, RoaringTreemap};
use uuid::Uuid;

use crate::error::{Code, Error, Result};
use crate::protocol::action::DeletionVectorDescriptor;
use crate::protocol::location::{FileLocation, checked_key, resolve};

mod z85;

#[cfg(test)]
mod tests;

/// How many bytes one vector may be: a bit for each of two thousand million rows.
pub const DELETION_VECTOR_BYTES_MAX: u64 = 256 << 20;

/// The first byte of a file of deletion vectors.
pub const FILE_VERSION: u8 = 1;

/// How the portable layout starts.
const MAGIC: u32 = 1_681_511_377;
/// How an older layout, private to one engine, starts.
const MAGIC_NATIVE: u32 = 1_681_511_376;
/// Characters of base 85 that a UUID takes.
const UUID_CHARACTERS: usize = 20;
/// The size field before a vector in a file and the checksum after it.
const FRAME_BYTES: u64 = 8;

/// Where the bytes of a vector are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VectorSource {
    /// Here: pass them to [`decode`].
    Inline(Vec<u8>),
    /// In a file: pass the bytes of the range to [`decode_frame`].
    File {
        /// The file.
        location: FileLocation,
        /// The vector with its size and checksum.
        range: Range<u64>,
    },
}

impl DeletionVectorDescriptor {
    /// Where the bytes of the vector are.
    ///
    /// Spec: [Derived Fields](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#derived-fields).
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::error::ErrorKind::Corrupt) if the descriptor contradicts itself, or its path leads out of the
    /// table.
    pub fn source(&self) -> Result<VectorSource> {
        let size = u64::try_from(self.size_in_bytes).unwrap_or(u64::MAX);
        if DELETION_VECTOR_BYTES_MAX < size || self.cardinality < 0 {
            return Err(corrupt(
                "its size or the number of its rows is out of range",
            ));
        }
        let location = match self.storage_type.as_str() {
            "i" => return self.inline(size).map(VectorSource::Inline),
            "u" => FileLocation::Relative(self.file_of_uuid()?),
            "p" => resolve(&self.path_or_inline_dv)?,
            _ => return Err(Error::unsupported("this storage type of deletion vectors")),
        };
        // The file's version is its first byte, so no vector starts there.
        let start = u64::try_from(self.offset.unwrap_or(1).max(1)).unwrap_or(1);
        if self.offset.is_some_and(|offset| offset < 0) {
            return Err(corrupt("its offset is negative"));
        }
        Ok(VectorSource::File {
            location,
            range: start..start + size + FRAME_BYTES,
        })
    }

    fn inline(&self, size: u64) -> Result<Vec<u8>> {
        let wrong = || corrupt("its text is not base 85 of the size it states");
        let mut bytes = z85::decode(&self.path_or_inline_dv).ok_or_else(wrong)?;
        // The text holds whole groups of four bytes: up to three at the end are filling.
        let size = usize::try_from(size).map_err(|_| wrong())?;
        if bytes.len() < size || size + 4 <= bytes.len() {
            return Err(wrong());
        }
        bytes.truncate(size);
        Ok(bytes)
    }

    fn file_of_uuid(&self) -> Result<String> {
        let wrong = || corrupt("its text is not a UUID in base 85");
        let text = &self.path_or_inline_dv;
        let at = text.len().checked_sub(UUID_CHARACTERS).ok_or_else(wrong)?;
        let (prefix, id) = text.split_at_checked(at).ok_or_else(wrong)?;
        let id = z85::decode(id)
            .and_then(|bytes| Uuid::from_slice(&bytes).ok())
            .ok_or_else(wrong)?;
        checked_key(&file_path(prefix, id))
    }
}

/// The key of the file that is named by a UUID.
///
/// ```
/// use headwater::protocol::deletion_vector::file_path;
/// let id = "d2c639aa-8816-431a-aaf6-d3fe2512ff61".parse()?;
/// assert_eq!(file_path("ab", id), "ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin");
/// # Ok::<(), uuid::Error>(())
/// ```
pub fn file_path(prefix: &str, id: Uuid) -> String {
    let slash = if prefix.is_empty() { "" } else { "/" };
    format!("{prefix}{slash}deletion_vector_{id}.bin")
}

/// Reads the vector that `descriptor` describes from the bytes of its [range](VectorSource::File).
///
/// Spec: [Deletion Vector File Storage Format](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#deletion-vector-file-storage-format).
///
/// # Errors
///
/// [`Corrupt`](crate::error::ErrorKind::Corrupt) if the size or the checksum is another, or as [`decode`].
pub fn decode_frame(frame: &[u8], descriptor: &DeletionVectorDescriptor) -> Result<RoaringTreemap> {
    let cut = || corrupt("its file ends within it");
    let (size, rest) = frame.split_first_chunk::<4>().ok_or_else(cut)?;
    let (data, checksum) = rest.split_last_chunk::<4>().ok_or_else(cut)?;
    let size = i64::from(i32::from_be_bytes(*size));
    if size != i64::from(descriptor.size_in_bytes) || usize::try_from(size) != Ok(data.len()) {
        return Err(corrupt("its size is not what the log says"));
    }
    if crc32fast::hash(data) != u32::from_be_bytes(*checksum) {
        return Err(corrupt("its checksum does not match"));
    }
    decode(data, descriptor)
}

/// Reads the vector that `descriptor` describes from its bytes.
///
/// # Errors
///
/// [`Corrupt`](crate::error::ErrorKind::Corrupt) if they are no bitmap, or one of another number of rows.
pub fn decode(data: &[u8], descriptor: &DeletionVectorDescriptor) -> Result<RoaringTreemap> {
    let cut = || corrupt("it ends too early");
    let (magic, rest) = data.split_first_chunk::<4>().ok_or_else(cut)?;
    match (u32::from_le_bytes(*magic), u32::from_be_bytes(*magic)) {
        (MAGIC, _) => {}
        (MAGIC_NATIVE, _) | (_, MAGIC_NATIVE) => {
            return Err(Error::unsupported("deletion vectors in the native layout"));
        }
        _ => return Err(corrupt("it does not start as deletion vectors do")),
    }
    let (count, mut rest) = rest.split_first_chunk::<8>().ok_or_else(cut)?;
    let count = u64::from_le_bytes(*count);
    let mut bitmaps: Vec<(u32, RoaringBitmap)> = Vec::new();
    for _ in 0..count {
        let (key, mut bytes) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let key = u32::from_le_bytes(*key);
        if bitmaps.last().is_some_and(|(last, _)| key <= *last) || i32::try_from(key).is_err() {
            return Err(corrupt("its parts are out of order"));
        }
        let bitmap = RoaringBitmap::deserialize_from(&mut bytes)
            .map_err(|cause| corrupt("a part of it is no bitmap").because(cause))?;
        bitmaps.push((key, bitmap));
        rest = bytes;
    }
    if !rest.is_empty() {
        return Err(corrupt("it goes on after its end"));
    }
    let vector = RoaringTreemap::from_bitmaps(bitmaps);
    if u64::try_from(descriptor.cardinality) != Ok(vector.len()) {
        return Err(corrupt(
            "it deletes another number of rows than the log says",
        ));
    }
    Ok(vector)
}

/// Whether a vector goes with a file of so many rows.
///
/// # Errors
///
/// [`Corrupt`](crate::error::ErrorKind::Corrupt) if it deletes rows that the file does not have.
pub fn check_rows(vector: &RoaringTreemap, rows: u64) -> Result<()> {
    match vector.max() {
        Some(last) if rows <= last => Err(corrupt("it deletes rows that the file does not have")),
        _ => Ok(()),
    }
}

/// A vector as bytes.
pub fn encode(vector: &RoaringTreemap) -> Vec<u8> {
    let mut data = MAGIC.to_le_bytes().to_vec();
    // Writing into memory cannot fail.
    let _ = vector.serialize_into(&mut data);
    data
}

/// A vector's bytes with their size and checksum, as they stand in a file after [`FILE_VERSION`]; `None` if they are
/// too many.
pub fn encode_frame(data: &[u8]) -> Option<Vec<u8>> {
    let size = i32::try_from(data.len()).ok()?;
    let mut frame = size.to_be_bytes().to_vec();
    frame.extend_from_slice(data);
    frame.extend_from_slice(&crc32fast::hash(data).to_be_bytes());
    Some(frame)
}

/// The text of `pathOrInlineDv` for a vector in the log itself.
pub fn inline_text(data: &[u8]) -> String {
    z85::encode(data)
}

/// The text of `pathOrInlineDv` for a vector in the file at [`file_path`].
pub fn uuid_text(prefix: &str, id: Uuid) -> String {
    format!("{prefix}{}", z85::encode(id.as_bytes()))
}

fn corrupt(what: &str) -> Error {
    Error::corrupt(
        Code::DataCorrupt,
        format!("a deletion vector cannot be read: {what}"),
    )
}
