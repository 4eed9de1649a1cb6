//! Deletion vectors as the log and the files have them, read without the crate.
//!
//! Spec: [Deletion Vectors](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#deletion-vectors).

use std::path::Path;

use roaring::RoaringTreemap;
use serde_json::Value;

use crate::replay::read;

/// Base 85 of ZeroMQ, by value.
const DIGITS: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// What an action says of the deletion vector of its file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Vector {
    pub(crate) storage: String,
    pub(crate) text: String,
    pub(crate) offset: Option<u64>,
    size: usize,
    cardinality: u64,
}

impl Vector {
    /// The vector of a file's action; `None` if the file has none.
    pub(crate) fn of(action: &Value) -> Option<Self> {
        let vector = action.get("deletionVector").filter(|it| !it.is_null())?;
        let number = |name: &str| vector[name].as_u64().unwrap();
        Some(Self {
            storage: vector["storageType"].as_str().unwrap().to_owned(),
            text: vector["pathOrInlineDv"].as_str().unwrap().to_owned(),
            offset: vector.get("offset").and_then(Value::as_u64),
            size: usize::try_from(number("sizeInBytes")).unwrap(),
            cardinality: number("cardinality"),
        })
    }

    /// The object that it is in; `None` if it is in the log.
    pub(crate) fn key(&self) -> Option<String> {
        match self.storage.as_str() {
            "i" => None,
            "u" => {
                let id = uuid::Uuid::from_slice(&base85(&self.text)).unwrap();
                Some(format!("deletion_vector_{id}.bin"))
            }
            other => panic!("nobody wrote a vector of storage type {other}"),
        }
    }

    /// The rows that it deletes.
    pub(crate) fn rows(&self, table: &Path) -> RoaringTreemap {
        let data = match self.key() {
            None => base85(&self.text)[..self.size].to_vec(),
            Some(key) => {
                let bytes = read(table, &key);
                assert_eq!(bytes[0], 1, "{key}: the version of the format");
                let frame = &bytes[usize::try_from(self.offset.unwrap()).unwrap()..];
                let number = |at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().unwrap());
                assert_eq!(number(0) as usize, self.size, "{key}: the size");
                let data = frame[4..4 + self.size].to_vec();
                let sum = crc32fast::hash(&data);
                assert_eq!(number(4 + self.size), sum, "{key}: the checksum");
                data
            }
        };
        assert_eq!(data[..4], 1_681_511_377_u32.to_le_bytes());
        let rows = RoaringTreemap::deserialize_from(&data[4..]).unwrap();
        assert_eq!(rows.len(), self.cardinality);
        rows
    }
}

fn base85(text: &str) -> Vec<u8> {
    let digit = |byte: &u8| DIGITS.iter().position(|digit| digit == byte).unwrap();
    let word = |five: &[u8]| {
        let number = five.iter().fold(0, |sum, byte| sum * 85 + digit(byte));
        u32::try_from(number).unwrap().to_be_bytes()
    };
    text.as_bytes().chunks(5).flat_map(word).collect()
}
