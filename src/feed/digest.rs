//! What a version and a plan are, as one number each.

use std::fmt;

use futures::TryStreamExt;

use crate::error::{Code, Result};
use crate::log::checkpoint::FileColumns;
use crate::snapshot::Snapshot;

/// 128 bits of BLAKE3: equal for what is equal, and for nothing else that anyone could find. Prints as 32 hexadecimal
/// digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 16]);

impl Digest {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self::finish(blake3::Hasher::new().update(bytes))
    }

    pub(crate) fn finish(hasher: &blake3::Hasher) -> Self {
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        Self(bytes)
    }

    pub(crate) fn parse(hex: &str) -> Option<Self> {
        let is_ours = hex.len() == 32 && !hex.starts_with('+');
        let number = u128::from_str_radix(hex, 16).ok().filter(|_| is_ours)?;
        Some(Self(number.to_be_bytes()))
    }

    pub(crate) fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The first 32 bits.
    pub(crate) fn short(&self) -> u32 {
        (u128::from_be_bytes(self.0) >> 96) as u32
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Adds bytes so that no two lists of fields look alike.
pub(crate) fn field(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

impl Snapshot {
    /// A digest of what the version holds: the table's id, its schema, and its live files with their deletion vectors
    /// and partition values. Costs the list of files and no data; the same whichever checkpoint the list comes from.
    ///
    /// Two versions with the same digest have the same rows. Compaction changes it, though it changes no row.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if the list of files cannot be read.
    pub async fn digest(&self) -> Result<Digest> {
        let mut snapshot = self.clone();
        loop {
            match snapshot.digest_of_files().await {
                Err(error) if error.code() == Code::CorruptCheckpoint => {
                    snapshot = snapshot.without_checkpoint(error).await?;
                }
                digest => return digest,
            }
        }
    }

    /// The first 16 bytes of BLAKE3 of: the fields `headwater snapshot 1`, table id, schema text, each partition column
    /// in its order, and number of files (8 bytes); then, in the order of their bytes, the whole BLAKE3 of each file:
    /// key, size (8 bytes), and by name each partition column with its value, all fields, a null value eight bytes of
    /// ones. Frozen: states of training feeds depend on it.
    async fn digest_of_files(&self) -> Result<Digest> {
        let columns = FileColumns::least();
        let mut files = Vec::new();
        let mut batches = self.files(columns).await?;
        while let Some(batch) = batches.try_next().await? {
            for row in 0..batch.len() {
                let mut hasher = blake3::Hasher::new();
                field(&mut hasher, batch.key_text(row).as_bytes());
                field(&mut hasher, &batch.size(row).to_le_bytes());
                for (name, value) in batch.add(row).partition_values {
                    field(&mut hasher, name.as_bytes());
                    // A null is no value; its mark cannot be a length.
                    match value {
                        Some(value) => field(&mut hasher, value.as_bytes()),
                        None => {
                            hasher.update(&[u8::MAX; 8]);
                        }
                    }
                }
                files.push(*hasher.finalize().as_bytes());
            }
        }
        files.sort_unstable();
        let mut hasher = blake3::Hasher::new();
        field(&mut hasher, b"headwater snapshot 1");
        field(&mut hasher, self.metadata().id.as_bytes());
        field(&mut hasher, self.metadata().schema_string.as_bytes());
        for column in self.partition_columns() {
            field(&mut hasher, column.as_bytes());
        }
        field(&mut hasher, &(files.len() as u64).to_le_bytes());
        for file in files {
            hasher.update(&file);
        }
        Ok(Digest::finish(&hasher))
    }
}
