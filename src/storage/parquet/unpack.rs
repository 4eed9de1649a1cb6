//! Pages that are decompressed once more, only to look: at lengths, at the dictionary, at where rows begin.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::serialized_reader::SerializedPageReader;

use super::chunk::Chunks;
use super::thrift::Refusal;

const CUT: Refusal = Refusal::Malformed("a page ends in its levels");

/// A column chunk, of which all pages are read or only some.
pub(super) struct Chunk<'a> {
    pub(super) chunks: &'a Arc<Chunks>,
    pub(super) column: &'a ColumnChunkMetaData,
    /// Rows of the row group.
    pub(super) rows: usize,
    /// The pages that are read, the dictionary among them.
    pub(super) pages: Option<Vec<PageLocation>>,
}

/// A page.
pub(super) enum Unpacked {
    Dictionary(Bytes),
    Data {
        encoding: Encoding,
        /// Values and nulls.
        count: u32,
        /// The repetition levels, if there are any and they are encoded as they are by now.
        repetition: Option<Bytes>,
        values: Bytes,
    },
}

impl Chunk<'_> {
    /// Goes over the pages, for as long as `look` wants more.
    pub(super) fn each(
        &self,
        mut look: impl FnMut(Unpacked) -> Result<bool, Refusal>,
    ) -> Result<(), Refusal> {
        let column = self.column;
        let pages = self.pages.clone();
        // The reader takes bytes in front of the first page for a dictionary, so the chunk has to begin with that page.
        let first = pages.as_deref().and_then(<[PageLocation]>::first);
        let start = first.map_or(column.data_page_offset(), |page| page.offset);
        let mut about = column.clone().into_builder().set_data_page_offset(start);
        if first.is_some() {
            about = about.set_dictionary_page_offset(None);
        }
        let about = about.build().map_err(unreadable)?;
        let chunks = Arc::clone(self.chunks);
        let mut reader =
            SerializedPageReader::new(chunks, &about, self.rows, pages).map_err(unreadable)?;
        while let Some(page) = reader.get_next_page().map_err(unreadable)? {
            if !look(self.unpacked(page)?)? {
                break;
            }
        }
        Ok(())
    }

    fn unpacked(&self, page: Page) -> Result<Unpacked, Refusal> {
        let descriptor = self.column.column_descr();
        let levels = [descriptor.max_rep_level(), descriptor.max_def_level()];
        Ok(match page {
            Page::DictionaryPage { buf, .. } => Unpacked::Dictionary(buf),
            Page::DataPage {
                buf,
                num_values: count,
                encoding,
                def_level_encoding,
                rep_level_encoding,
                ..
            } => {
                let encodings = [rep_level_encoding, def_level_encoding];
                let (repetition, values) =
                    after_levels(&buf, count, levels, encodings).ok_or(CUT)?;
                Unpacked::Data {
                    encoding,
                    count,
                    repetition,
                    values,
                }
            }
            Page::DataPageV2 {
                buf,
                num_values: count,
                encoding,
                def_levels_byte_len,
                rep_levels_byte_len,
                ..
            } => {
                let repetition = rep_levels_byte_len as usize;
                let at = repetition.saturating_add(def_levels_byte_len as usize);
                let values = tail(&buf, at).ok_or(CUT)?;
                Unpacked::Data {
                    encoding,
                    count,
                    repetition: Some(buf.slice(..repetition)),
                    values,
                }
            }
        })
    }
}

fn unreadable(_: ParquetError) -> Refusal {
    Refusal::Malformed("a page cannot be decompressed")
}

/// The bits of a level of at most `max`.
pub(super) fn level_bits(max: i16) -> u32 {
    u32::from(max.unsigned_abs())
        .checked_ilog2()
        .map_or(0, |bits| bits + 1)
}

/// The repetition levels in a page of the first version, and what follows all levels.
fn after_levels(
    page: &Bytes,
    count: u32,
    levels: [i16; 2],
    encodings: [Encoding; 2],
) -> Option<(Option<Bytes>, Bytes)> {
    let (mut left, mut repetition) = (page.clone(), None);
    for (place, (max, encoding)) in levels.into_iter().zip(encodings).enumerate() {
        if max == 0 {
            continue;
        }
        if encoding == Encoding::RLE {
            let len: [u8; 4] = left.get(..4)?.try_into().ok()?;
            left = left.slice(4..);
            let len = u32::from_le_bytes(len) as usize;
            let after = tail(&left, len)?;
            if place == 0 {
                repetition = Some(left.slice(..len));
            }
            left = after;
        } else {
            let bits = count as usize * level_bits(max) as usize;
            left = tail(&left, bits.div_ceil(8))?;
        }
    }
    Some((repetition, left))
}

fn tail(bytes: &Bytes, at: usize) -> Option<Bytes> {
    (at <= bytes.len()).then(|| bytes.slice(at..))
}
