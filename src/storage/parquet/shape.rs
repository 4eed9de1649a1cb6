//! The structs of [parquet.thrift](https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift)
//! that are read, with the fields that are read of them.
//!
//! Left out on purpose: ordinals of row groups (they may lie; without them the parser counts), paths of column chunks
//! (they repeat the schema), histograms and encoding statistics (large, and nobody asks), bloom filters.

use super::thrift::{Kind, Shape};

/// Ids of the fields that a walk looks at.
pub(super) mod id {
    pub(crate) const ELEMENT_LENGTH: i16 = 2;
    pub(crate) const ELEMENT_NAME: i16 = 4;
    pub(crate) const ELEMENT_CHILDREN: i16 = 5;
    pub(crate) const CHUNK_DICTIONARY_OFFSET: i16 = 11;
    pub(crate) const PAGE_TYPE: i16 = 1;
    pub(crate) const PAGE_UNCOMPRESSED: i16 = 2;
    pub(crate) const PAGE_COMPRESSED: i16 = 3;
    pub(crate) const PAGE_VALUES: i16 = 1;
    pub(crate) const PAGE_ENCODING: i16 = 2;
    pub(crate) const PAGE_V2_ENCODING: i16 = 4;
}

const ENCRYPTED: &str = "the file is encrypted";

pub(super) static FILE_META_DATA: Shape = Shape {
    name: "FileMetaData",
    union: false,
    fields: &[
        (1, Kind::I32),                                  // version
        (2, Kind::List(&Kind::Struct(&SCHEMA_ELEMENT))), // schema
        (3, Kind::I64),                                  // num_rows
        (4, Kind::List(&Kind::Struct(&ROW_GROUP))),      // row_groups
        (5, Kind::List(&Kind::Struct(&KEY_VALUE))),      // key_value_metadata
        (6, Kind::Binary),                               // created_by
        (7, Kind::List(&Kind::Struct(&COLUMN_ORDER))),   // column_orders
    ],
    refused: &[(8, ENCRYPTED), (9, ENCRYPTED)],
};

pub(super) static SCHEMA_ELEMENT: Shape = Shape::new(
    "SchemaElement",
    &[
        (1, Kind::I32),                    // type
        (2, Kind::I32),                    // type_length
        (3, Kind::I32),                    // repetition_type
        (4, Kind::Binary),                 // name
        (5, Kind::I32),                    // num_children
        (6, Kind::I32),                    // converted_type
        (7, Kind::I32),                    // scale
        (8, Kind::I32),                    // precision
        (9, Kind::I32),                    // field_id
        (10, Kind::Struct(&LOGICAL_TYPE)), // logicalType
    ],
);

static EMPTY: Shape = Shape::new("Empty", &[]);

static LOGICAL_TYPE: Shape = Shape::one_of(
    "LogicalType",
    &[
        (5, Kind::Struct(&DECIMAL_TYPE)),
        (7, Kind::Struct(&TIME_TYPE)),
        (8, Kind::Struct(&TIME_TYPE)), // a timestamp has the fields of a time
        (10, Kind::Struct(&INT_TYPE)),
        (16, Kind::Struct(&VARIANT_TYPE)),
        (17, Kind::Struct(&GEOGRAPHY_TYPE)), // a geometry has one field of a geography
        (18, Kind::Struct(&GEOGRAPHY_TYPE)),
    ],
);

static DECIMAL_TYPE: Shape = Shape::new("DecimalType", &[(1, Kind::I32), (2, Kind::I32)]);
static TIME_TYPE: Shape = Shape::new(
    "TimeType",
    &[(1, Kind::Bool), (2, Kind::Struct(&TIME_UNIT))],
);
static TIME_UNIT: Shape = Shape::one_of("TimeUnit", &[]);
static INT_TYPE: Shape = Shape::new("IntType", &[(1, Kind::Byte), (2, Kind::Bool)]);
static VARIANT_TYPE: Shape = Shape::new("VariantType", &[(1, Kind::Byte)]);
static GEOGRAPHY_TYPE: Shape = Shape::new("GeographyType", &[(1, Kind::Binary), (2, Kind::I32)]);
static COLUMN_ORDER: Shape = Shape::one_of("ColumnOrder", &[(1, Kind::Struct(&EMPTY))]);
static KEY_VALUE: Shape = Shape::new("KeyValue", &[(1, Kind::Binary), (2, Kind::Binary)]);

pub(super) static ROW_GROUP: Shape = Shape::new(
    "RowGroup",
    &[
        (1, Kind::List(&Kind::Struct(&COLUMN_CHUNK))), // columns
        (2, Kind::I64),                                // total_byte_size
        (3, Kind::I64),                                // num_rows
    ],
);

pub(super) static COLUMN_CHUNK: Shape = Shape {
    name: "ColumnChunk",
    union: false,
    fields: &[
        (2, Kind::I64),                       // file_offset
        (3, Kind::Struct(&COLUMN_META_DATA)), // meta_data
        (4, Kind::I64),                       // offset_index_offset
        (5, Kind::I32),                       // offset_index_length
        (6, Kind::I64),                       // column_index_offset
        (7, Kind::I32),                       // column_index_length
    ],
    refused: &[
        (1, "a column chunk lies in another file"),
        (8, ENCRYPTED),
        (9, ENCRYPTED),
    ],
};

pub(super) static COLUMN_META_DATA: Shape = Shape::new(
    "ColumnMetaData",
    &[
        (1, Kind::I32),                  // type
        (2, Kind::List(&Kind::I32)),     // encodings
        (4, Kind::I32),                  // codec
        (5, Kind::I64),                  // num_values
        (6, Kind::I64),                  // total_uncompressed_size
        (7, Kind::I64),                  // total_compressed_size
        (9, Kind::I64),                  // data_page_offset
        (11, Kind::I64),                 // dictionary_page_offset
        (12, Kind::Struct(&STATISTICS)), // statistics
        (16, Kind::Struct(&SIZES)),      // size_statistics
    ],
);

static SIZES: Shape = Shape::new(
    "SizeStatistics",
    &[
        (1, Kind::I64), // unencoded_byte_array_data_bytes
    ],
);

static STATISTICS: Shape = Shape::new(
    "Statistics",
    &[
        (1, Kind::Binary), // max (deprecated)
        (2, Kind::Binary), // min (deprecated)
        (3, Kind::I64),    // null_count
        (4, Kind::I64),    // distinct_count
        (5, Kind::Binary), // max_value
        (6, Kind::Binary), // min_value
        (7, Kind::Bool),   // is_max_value_exact
        (8, Kind::Bool),   // is_min_value_exact
    ],
);

pub(super) static PAGE_HEADER: Shape = Shape::new(
    "PageHeader",
    &[
        (1, Kind::I32),                             // type
        (2, Kind::I32),                             // uncompressed_page_size
        (3, Kind::I32),                             // compressed_page_size
        (4, Kind::I32),                             // crc
        (5, Kind::Struct(&DATA_PAGE_HEADER)),       // data_page_header
        (6, Kind::Struct(&EMPTY)),                  // index_page_header
        (7, Kind::Struct(&DICTIONARY_PAGE_HEADER)), // dictionary_page_header
        (8, Kind::Struct(&DATA_PAGE_HEADER_V2)),    // data_page_header_v2
    ],
);

pub(super) static DATA_PAGE_HEADER: Shape = Shape::new(
    "DataPageHeader",
    &[
        (1, Kind::I32),                 // num_values
        (2, Kind::I32),                 // encoding
        (3, Kind::I32),                 // definition_level_encoding
        (4, Kind::I32),                 // repetition_level_encoding
        (5, Kind::Struct(&STATISTICS)), // statistics
    ],
);

pub(super) static DICTIONARY_PAGE_HEADER: Shape = Shape::new(
    "DictionaryPageHeader",
    &[
        (1, Kind::I32),  // num_values
        (2, Kind::I32),  // encoding
        (3, Kind::Bool), // is_sorted
    ],
);

pub(super) static DATA_PAGE_HEADER_V2: Shape = Shape::new(
    "DataPageHeaderV2",
    &[
        (1, Kind::I32),                 // num_values
        (2, Kind::I32),                 // num_nulls
        (3, Kind::I32),                 // num_rows
        (4, Kind::I32),                 // encoding
        (5, Kind::I32),                 // definition_levels_byte_length
        (6, Kind::I32),                 // repetition_levels_byte_length
        (7, Kind::Bool),                // is_compressed
        (8, Kind::Struct(&STATISTICS)), // statistics
    ],
);

pub(super) static OFFSET_INDEX: Shape = Shape::new(
    "OffsetIndex",
    &[
        (1, Kind::List(&Kind::Struct(&PAGE_LOCATION))), // page_locations
        (2, Kind::List(&Kind::I64)),                    // unencoded_byte_array_data_bytes
    ],
);

static PAGE_LOCATION: Shape = Shape::new(
    "PageLocation",
    &[
        (1, Kind::I64), // offset
        (2, Kind::I32), // compressed_page_size
        (3, Kind::I64), // first_row_index
    ],
);

pub(super) static COLUMN_INDEX: Shape = Shape::new(
    "ColumnIndex",
    &[
        (1, Kind::List(&Kind::Bool)),   // null_pages
        (2, Kind::List(&Kind::Binary)), // min_values
        (3, Kind::List(&Kind::Binary)), // max_values
        (4, Kind::I32),                 // boundary_order
        (5, Kind::List(&Kind::I64)),    // null_counts
        (6, Kind::List(&Kind::I64)),    // repetition_level_histograms
        (7, Kind::List(&Kind::I64)),    // definition_level_histograms
    ],
);
