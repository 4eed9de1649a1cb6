//! Deletion vectors to their place: small ones into the log itself, the others of one write into one object.
//!
//! Spec: [Deletion Vector File Storage Format](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#deletion-vector-file-storage-format).

use bytes::Bytes;
use roaring::RoaringTreemap;
use uuid::Uuid;

use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::protocol::action::DeletionVectorDescriptor;
use crate::protocol::deletion_vector::{
    DELETION_VECTOR_BYTES_MAX, FILE_VERSION, encode, encode_frame, file_path, inline_text,
    uuid_text,
};
use crate::storage::{Storage, Upload};

/// A vector of at most this many bytes is part of the log: an object of its own would cost more than it saves.
const INLINE_BYTES_MAX: usize = 128;

/// An object of vectors ends near this size: offsets in it are 32-bit numbers.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Stores vectors and says, for each in its order, where it is. When this returns, the objects are there, whole.
///
/// # Errors
///
/// [`Invalid`](crate::error::ErrorKind::Invalid), code `LimitExceeded`, if a vector is larger than readers take;
/// [`Storage`](crate::error::ErrorKind::Storage) if the store fails.
pub(crate) async fn write_vectors(
    storage: &Storage,
    environment: &Environment,
    vectors: &[RoaringTreemap],
) -> Result<Vec<DeletionVectorDescriptor>> {
    let mut open: Option<VectorFile> = None;
    let mut descriptors = Vec::with_capacity(vectors.len());
    for vector in vectors {
        let data = packed(vector);
        if DELETION_VECTOR_BYTES_MAX < data.len() as u64 {
            return Err(too_large());
        }
        let mut descriptor = DeletionVectorDescriptor {
            storage_type: "i".to_owned(),
            path_or_inline_dv: String::new(),
            offset: None,
            size_in_bytes: i32::try_from(data.len()).map_err(|_| too_large())?,
            cardinality: i64::try_from(vector.len()).map_err(|_| too_large())?,
        };
        if data.len() <= INLINE_BYTES_MAX {
            descriptor.path_or_inline_dv = inline_text(&data);
        } else {
            if let Some(full) = open.take_if(|file| FILE_BYTES_MAX < file.length) {
                full.upload.finish().await?;
            }
            let file = match &mut open {
                Some(file) => file,
                None => open.insert(VectorFile::begin(storage, environment).await?),
            };
            descriptor.storage_type = "u".to_owned();
            descriptor.path_or_inline_dv = uuid_text("", file.id);
            descriptor.offset = Some(file.push(&data).await?);
        }
        descriptors.push(descriptor);
    }
    if let Some(last) = open {
        last.upload.finish().await?;
    }
    Ok(descriptors)
}

/// An object of vectors while it is written.
struct VectorFile {
    id: Uuid,
    upload: Upload,
    length: u64,
}

impl VectorFile {
    async fn begin(storage: &Storage, environment: &Environment) -> Result<Self> {
        let id = environment.uuid();
        let mut upload = storage.upload(&file_path("", id)).await?;
        upload.write(Bytes::from_static(&[FILE_VERSION])).await?;
        let length = 1;
        Ok(Self { id, upload, length })
    }

    /// Adds a vector and says where it starts.
    async fn push(&mut self, data: &[u8]) -> Result<i32> {
        let start = i32::try_from(self.length).map_err(|_| too_large())?;
        let frame = encode_frame(data).ok_or_else(too_large)?;
        self.length += frame.len() as u64;
        self.upload.write(Bytes::from(frame)).await?;
        Ok(start)
    }
}

/// The bytes of a vector, runs of rows as runs.
fn packed(vector: &RoaringTreemap) -> Vec<u8> {
    let mut vector = vector.clone();
    vector.optimize();
    encode(&vector)
}

fn too_large() -> Error {
    let message = "a deletion vector would be larger than readers take; rewrite the file instead";
    Error::invalid(Code::LimitExceeded, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::reader::deleted_rows;
    use crate::protocol::deletion_vector::VectorSource;

    fn place() -> (Storage, Environment) {
        let environment = Environment::system();
        let name = format!("memory:///vectors/{}", environment.uuid());
        (Storage::open(&name, &environment).unwrap(), environment)
    }

    /// PROTOCOL.md, "Deletion Vector File Storage Format": any number of vectors in one file, each found by its offset.
    #[tokio::test]
    async fn vectors_of_one_write_share_an_object_and_are_read_back() {
        let (storage, environment) = place();
        let scattered: RoaringTreemap = (0..5_000).map(|row| row * 3).collect();
        let far: RoaringTreemap = (0..2_000).map(|row| (row << 21) + 7).collect();
        let vectors = [scattered, far, RoaringTreemap::from_iter([7])];
        let written = write_vectors(&storage, &environment, &vectors)
            .await
            .unwrap();
        for (vector, descriptor) in vectors.iter().zip(&written) {
            let read = deleted_rows(&storage, Some(descriptor)).await.unwrap();
            assert_eq!(read.as_ref(), Some(vector));
        }
        assert_eq!(written[0].storage_type, "u");
        assert_eq!(written[0].offset, Some(1));
        assert_eq!(written[0].path_or_inline_dv, written[1].path_or_inline_dv);
        assert_eq!(written[1].offset, Some(1 + 8 + written[0].size_in_bytes));
        assert_eq!(written[2].storage_type, "i");
        let VectorSource::File { location, .. } = written[0].source().unwrap() else {
            panic!("the first vector is in a file");
        };
        let bytes = storage.get(location.key().unwrap()).await.unwrap();
        assert_eq!(bytes[0], FILE_VERSION);
        let frames = i64::from(written[0].size_in_bytes) + i64::from(written[1].size_in_bytes);
        assert_eq!(bytes.len() as i64, 1 + 8 + 8 + frames);
        assert_eq!(storage.counts().puts, 1);
    }

    #[tokio::test]
    async fn small_vectors_cost_no_object() {
        let (storage, environment) = place();
        let run: RoaringTreemap = (10..100_000).collect();
        let vectors = [RoaringTreemap::from_iter([0]), run, RoaringTreemap::new()];
        let written = write_vectors(&storage, &environment, &vectors)
            .await
            .unwrap();
        assert_eq!(storage.counts().puts, 0);
        for (vector, descriptor) in vectors.iter().zip(&written) {
            assert_eq!(descriptor.storage_type, "i");
            assert_eq!(descriptor.offset, None);
            assert_eq!(descriptor.cardinality as u64, vector.len());
            let read = deleted_rows(&storage, Some(descriptor)).await.unwrap();
            assert_eq!(read.as_ref(), Some(vector));
        }
        assert!(
            write_vectors(&storage, &environment, &[])
                .await
                .unwrap()
                .is_empty()
        );
    }
}
