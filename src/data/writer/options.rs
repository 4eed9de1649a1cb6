//! How files are laid out, and what writing them may cost.

use std::num::NonZero;

use parquet::basic::{Compression, GzipLevel, ZstdLevel};

use crate::data::collector::StatisticsOptions;
use crate::protocol::property::{Compression as Codec, TableProperties};

/// How files are laid out, and what writing them may cost.
#[derive(Debug, Clone)]
pub(crate) struct WriterOptions {
    /// A file ends near this size.
    pub(crate) target_file_bytes: usize,
    /// A row group ends at this many rows, about.
    pub(crate) row_group_rows: usize,
    /// A row group ends near this size.
    pub(crate) row_group_bytes: usize,
    /// Memory for rows that wait and for row groups that are open, about.
    pub(crate) memory_bytes: usize,
    /// Threads that encode.
    pub(crate) workers: usize,
    /// How pages are compressed.
    pub(crate) compression: Compression,
    /// What the statistics in the log hold.
    pub(crate) statistics: StatisticsOptions,
    /// The table's columns in whose order the rows come, ascending, nulls first: footers say so.
    pub(crate) sorted_by: Vec<String>,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            target_file_bytes: 128 << 20,
            row_group_rows: 1 << 20,
            row_group_bytes: 128 << 20,
            memory_bytes: 384 << 20,
            workers: std::thread::available_parallelism().map_or(1, NonZero::get),
            compression: Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default()),
            statistics: StatisticsOptions::default(),
            sorted_by: Vec::new(),
        }
    }
}

impl WriterOptions {
    /// What a table's properties ask for.
    pub(crate) fn of(properties: &TableProperties) -> Self {
        let defaults = Self::default();
        let target = properties.target_file_size.map(usize::try_from);
        let target = target.and_then(Result::ok).filter(|bytes| 0 < *bytes);
        Self {
            target_file_bytes: target.unwrap_or(defaults.target_file_bytes),
            compression: match properties.compression {
                Codec::None => Compression::UNCOMPRESSED,
                Codec::Snappy => Compression::SNAPPY,
                Codec::Gzip => Compression::GZIP(GzipLevel::default()),
                Codec::Lz4 => Compression::LZ4,
                Codec::Lz4Raw => Compression::LZ4_RAW,
                Codec::Zstd => defaults.compression,
            },
            statistics: StatisticsOptions::of(properties),
            ..defaults
        }
    }
}
