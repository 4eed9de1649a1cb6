//! Page headers: read before the parquet crate reads them, because it allocates what they say.

use bytes::Bytes;

use super::shape::{self, id};
use super::thrift::{self, Observer, Refusal, Shape, Unknown};

/// Bytes of one page once it is decompressed.
const PAGE_BYTES_MAX: usize = 512 << 20;

/// Above this, a page must not be [`RATIO_MAX`] times as large as its compressed bytes: no writer makes such pages.
const SUSPECT_PAGE_BYTES: usize = 32 << 20;

/// How much a large page may grow when it is decompressed.
const RATIO_MAX: usize = 1024;

/// Values and nulls of one page. A run of a billion equal levels takes six bytes.
const PAGE_VALUES_MAX: usize = 1 << 26;

/// Values and nulls of a column chunk of lists. What its rows take in memory is weighed in [`super::weight`].
const NESTED_VALUES_MAX: usize = 1 << 30;

/// Bytes of a page header. Statistics in it may hold two values.
const HEADER_MAX: usize = 16 << 20;

mod kind {
    pub(super) const DATA: i64 = 0;
    pub(super) const INDEX: i64 = 1;
    pub(super) const DICTIONARY: i64 = 2;
    pub(super) const DATA_V2: i64 = 3;
}

/// Encodings that keep the lengths of all strings of a page in front: see [`super::delta`].
const DELTA_LENGTH_BYTE_ARRAY: i64 = 6;
const DELTA_BYTE_ARRAY: i64 = 7;

/// Encodings of which the values are in the dictionary.
const PLAIN_DICTIONARY: i64 = 2;
const RLE_DICTIONARY: i64 = 8;

/// What the pages of a column chunk are held against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    /// Whether it is inside of a list or map: then a row has any number of values.
    pub(super) repeated: bool,
    /// The bytes of one value; none for strings and bits.
    pub(super) value_len: Option<usize>,
    /// Whether pages are compressed.
    pub(super) compressed: bool,
}

/// A data page, as far as it matters to how much memory its rows take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DataPage {
    /// Values and nulls.
    pub(super) values: usize,
    /// Bytes once it is decompressed.
    pub(super) bytes: usize,
    /// Whether its values are in the dictionary.
    pub(super) in_dictionary: bool,
}

/// What the pages of a column chunk come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pages {
    /// The data pages, in their order.
    pub(super) data: Vec<DataPage>,
    /// Values and nulls.
    pub(super) values: usize,
    /// Bytes of data pages once they are decompressed.
    pub(super) bytes: usize,
    /// The largest data page.
    pub(super) largest: usize,
    /// Bytes of the dictionary.
    pub(super) dictionary: usize,
    /// Values of the dictionary.
    pub(super) dictionary_values: usize,
    /// Whether pages hold lengths that have to be checked once they are decompressed.
    pub(super) lengths: bool,
}

impl Pages {
    /// Goes over a whole column chunk of `rows` rows.
    pub(super) fn of_chunk(bytes: &Bytes, column: Column, rows: usize) -> Result<Self, Refusal> {
        let mut pages = Self::default();
        let mut left: &[u8] = bytes;
        while !left.is_empty() {
            let page = match Page::read(left, column) {
                Ok(page) => page,
                // Old writers counted bytes to a chunk that are none of its pages.
                Err(_) if !column.repeated && pages.values >= rows => break,
                Err(refusal) => return Err(refusal),
            };
            pages.add(&page)?;
            left = left.get(page.total..).unwrap_or_default();
        }
        pages.check_values(column, rows)?;
        Ok(pages)
    }

    /// Goes over one page that a page index points to, or the dictionary page in front of those.
    pub(super) fn add_single(&mut self, bytes: &Bytes, column: Column) -> Result<usize, Refusal> {
        let page = Page::read(bytes, column)?;
        let dictionary = page.kind == kind::DICTIONARY;
        self.add(&page)?;
        Ok(if dictionary { 0 } else { page.values })
    }

    /// Holds the values of the pages against the rows that they are to make.
    pub(super) fn check_values(&self, column: Column, rows: usize) -> Result<(), Refusal> {
        if !column.repeated && self.values != rows {
            return Err(Refusal::Malformed(
                "a column chunk has another number of rows",
            ));
        }
        if column.repeated && self.values > NESTED_VALUES_MAX {
            return Err(Refusal::TooLarge("its lists hold too many values"));
        }
        Ok(())
    }

    fn add(&mut self, page: &Page) -> Result<(), Refusal> {
        match page.kind {
            kind::INDEX => {}
            kind::DICTIONARY => {
                if self.dictionary > 0 {
                    return Err(Refusal::Malformed("a column chunk has two dictionaries"));
                }
                (self.dictionary, self.dictionary_values) = (page.memory, page.values);
            }
            _ => {
                self.values = self.values.saturating_add(page.values);
                self.bytes = self.bytes.saturating_add(page.memory);
                self.largest = self.largest.max(page.memory);
                self.lengths |= matches!(page.encoding, DELTA_LENGTH_BYTE_ARRAY | DELTA_BYTE_ARRAY);
                self.data.push(DataPage {
                    values: page.values,
                    bytes: page.memory,
                    in_dictionary: matches!(page.encoding, PLAIN_DICTIONARY | RLE_DICTIONARY),
                });
            }
        }
        Ok(())
    }
}

/// One page.
struct Page {
    kind: i64,
    encoding: i64,
    /// Values and nulls.
    values: usize,
    /// Bytes in memory.
    memory: usize,
    /// Bytes with its header in the file.
    total: usize,
}

impl Page {
    /// Reads the header at the start of `left`, which the page does not exceed.
    fn read(left: &[u8], column: Column) -> Result<Self, Refusal> {
        let mut header = Header::default();
        let window = left.get(..HEADER_MAX).unwrap_or(left);
        let header_len = thrift::check(window, &shape::PAGE_HEADER, Unknown::Skip, &mut header)?;
        let (Some(kind), Some(uncompressed), Some(compressed)) =
            (header.kind, header.uncompressed, header.compressed)
        else {
            return Err(Refusal::Malformed("a page header lacks its sizes"));
        };
        let size =
            |value| usize::try_from(value).map_err(|_| Refusal::Malformed("a negative size"));
        let (uncompressed, compressed) = (size(uncompressed)?, size(compressed)?);
        let total = header_len.saturating_add(compressed);
        if total > left.len() {
            return Err(Refusal::Malformed("a page leaves its column chunk"));
        }
        let memory = uncompressed.max(compressed);
        let bomb = memory > SUSPECT_PAGE_BYTES && memory / RATIO_MAX > compressed;
        if memory > PAGE_BYTES_MAX || (column.compressed && bomb) {
            return Err(Refusal::TooLarge("a page is over the limit"));
        }
        let (values, encoding) = match kind {
            kind::INDEX => (Some(0), Some(0)),
            kind::DATA => header.data,
            kind::DICTIONARY => header.dictionary,
            kind::DATA_V2 => header.data_v2,
            _ => return Err(Refusal::Unsupported("a page is of an unknown kind")),
        };
        let (Some(values), Some(encoding)) = (values, encoding) else {
            return Err(Refusal::Malformed("a page header lacks its counts"));
        };
        let values = size(values)?;
        if values > PAGE_VALUES_MAX {
            return Err(Refusal::TooLarge("a page has too many values"));
        }
        let page = Self {
            kind,
            encoding,
            values,
            memory,
            total,
        };
        page.check_dictionary(column)?;
        Ok(page)
    }

    /// A dictionary allocates its values before it reads them: they have to fit into its bytes.
    fn check_dictionary(&self, column: Column) -> Result<(), Refusal> {
        let least = column.value_len.unwrap_or(STRING_LEN).max(1);
        if self.kind == kind::DICTIONARY && self.values.saturating_mul(least) > self.memory {
            return Err(Refusal::Malformed(
                "a dictionary has more values than bytes",
            ));
        }
        Ok(())
    }
}

/// The bytes of a string in a dictionary, beside its own.
pub(super) const STRING_LEN: usize = 4;

/// What a page header says: counts and encodings by kind of page.
#[derive(Default)]
struct Header {
    kind: Option<i64>,
    uncompressed: Option<i64>,
    compressed: Option<i64>,
    data: (Option<i64>, Option<i64>),
    data_v2: (Option<i64>, Option<i64>),
    dictionary: (Option<i64>, Option<i64>),
}

impl Observer for Header {
    fn integer(&mut self, shape: &'static Shape, field: i16, value: i64) -> Result<bool, Refusal> {
        let is = |other: &'static Shape| std::ptr::eq(shape, other);
        let slot = if is(&shape::PAGE_HEADER) {
            match field {
                id::PAGE_TYPE => &mut self.kind,
                id::PAGE_UNCOMPRESSED => &mut self.uncompressed,
                id::PAGE_COMPRESSED => &mut self.compressed,
                _ => return Ok(true),
            }
        } else if is(&shape::DATA_PAGE_HEADER_V2) {
            match field {
                id::PAGE_VALUES => &mut self.data_v2.0,
                id::PAGE_V2_ENCODING => &mut self.data_v2.1,
                _ => return Ok(true),
            }
        } else {
            let counts = if is(&shape::DATA_PAGE_HEADER) {
                &mut self.data
            } else if is(&shape::DICTIONARY_PAGE_HEADER) {
                &mut self.dictionary
            } else {
                return Ok(true);
            };
            match field {
                id::PAGE_VALUES => &mut counts.0,
                id::PAGE_ENCODING => &mut counts.1,
                _ => return Ok(true),
            }
        };
        if slot.replace(value).is_some() {
            return Err(Refusal::Malformed("a page header says something twice"));
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: Column = Column {
        repeated: false,
        value_len: Some(8),
        compressed: true,
    };
    const LISTS: Column = Column {
        repeated: true,
        ..NUMBERS
    };

    fn number(value: i64) -> Vec<u8> {
        let mut left = ((value << 1) ^ (value >> 63)) as u64;
        let mut bytes = Vec::new();
        while left >= 0x80 {
            bytes.push(left as u8 | 0x80);
            left >>= 7;
        }
        bytes.push(left as u8);
        bytes
    }

    /// Fields that follow each other, all of them i32.
    fn fields(values: &[i64]) -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| [vec![0x15], number(*value)].concat())
            .collect()
    }

    /// A page that says it has these sizes, with `len` bytes after its header.
    fn page(kind: i64, (uncompressed, compressed): (i64, i64), values: i64, len: usize) -> Bytes {
        let mut bytes = fields(&[kind, uncompressed, compressed]);
        match kind {
            kind::DATA => bytes.extend([vec![0x2c], fields(&[values, 0, 3, 3])].concat()),
            kind::DICTIONARY => bytes.extend([vec![0x4c], fields(&[values, 0])].concat()),
            _ => bytes.extend([vec![0x5c], fields(&[values, 0, values, 7, 0, 0])].concat()),
        }
        bytes.extend([0, 0]);
        bytes.extend(vec![0; len]);
        bytes.into()
    }

    fn walked(pages: &[Bytes], column: Column, rows: usize) -> Result<Pages, Refusal> {
        Pages::of_chunk(&pages.concat().into(), column, rows)
    }

    #[test]
    fn adds_pages_up() {
        let pages = [
            page(kind::DICTIONARY, (80, 30), 10, 30),
            page(kind::DATA, (100, 20), 40, 20),
            page(kind::DATA_V2, (300, 10), 60, 10),
        ];
        let found = walked(&pages, NUMBERS, 100).unwrap();
        let data = |values, bytes| DataPage {
            values,
            bytes,
            in_dictionary: false,
        };
        let expected = Pages {
            data: vec![data(40, 100), data(60, 300)],
            values: 100,
            bytes: 400,
            largest: 300,
            dictionary: 80,
            dictionary_values: 10,
            lengths: true,
        };
        assert_eq!(found, expected);
        assert!(walked(&pages, NUMBERS, 101).is_err());
        assert!(walked(&pages, NUMBERS, 99).is_err());
        assert!(walked(&pages, LISTS, 99).is_ok());
        // Bytes after the last row that are no page.
        let padded = [&pages[..], &[Bytes::from_static(&[0; 5])]].concat();
        assert_eq!(walked(&padded, NUMBERS, 100), Ok(expected));
        assert!(walked(&padded, LISTS, 100).is_err());
    }

    #[test]
    fn refuses_sizes_that_lie() {
        let malformed = |pages: &[Bytes]| {
            let refusal = walked(pages, LISTS, 10).unwrap_err();
            assert!(matches!(refusal, Refusal::Malformed(_)), "{refusal:?}");
        };
        malformed(&[page(kind::DATA, (10, 21), 10, 20)]);
        malformed(&[page(kind::DATA, (-1, 20), 10, 20)]);
        malformed(&[page(kind::DATA, (20, -1), 10, 20)]);
        malformed(&[page(kind::DATA, (20, 20), -1, 20)]);
        malformed(&[page(kind::DATA, (i64::MAX, 20), 10, 20)]);
        malformed(&[page(kind::DICTIONARY, (80, 20), 11, 20)]);
        malformed(&[
            page(kind::DICTIONARY, (8, 8), 1, 8),
            page(kind::DICTIONARY, (8, 8), 1, 8),
        ]);
    }

    #[test]
    fn refuses_bombs() {
        let too_large = |page: Bytes| {
            let refusal = walked(&[page], LISTS, 10).unwrap_err();
            assert!(matches!(refusal, Refusal::TooLarge(_)), "{refusal:?}");
        };
        too_large(page(kind::DATA, (i64::from(i32::MAX), 20), 10, 20));
        too_large(page(kind::DATA, (40 << 20, 1000), 10, 1000));
        too_large(page(kind::DATA, (20, 20), 1 << 27, 20));
        too_large(page(
            kind::DICTIONARY,
            (i64::from(i32::MAX), 20),
            1 << 27,
            20,
        ));
        assert!(
            walked(
                &[page(kind::DATA, (40 << 20, 50_000), 10, 50_000)],
                LISTS,
                10
            )
            .is_ok()
        );
        // Lists of a billion nulls, page by page: whether one row holds them all is asked elsewhere.
        let nulls = page(kind::DATA, (20, 20), 1 << 26, 20);
        assert!(walked(&vec![nulls.clone(); 16], LISTS, 10).is_ok());
        assert!(matches!(
            walked(&vec![nulls; 17], LISTS, 10),
            Err(Refusal::TooLarge(_))
        ));
    }
}
