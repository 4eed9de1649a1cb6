use super::*;
use crate::storage::parquet::thrift::Refusal;

use arrow_array::cast::AsArray;
use arrow_array::{FixedSizeBinaryArray, Int32Array, ListArray};
use arrow_buffer::OffsetBuffer;
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::{
    ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::properties::EnabledStatistics;

use crate::error::{Code, ErrorKind};

fn one_column(rows: i64) -> RecordBatch {
    let numbers = Arc::new(Int64Array::from_iter_values(0..rows)) as ArrayRef;
    RecordBatch::try_from_iter([("n", numbers)]).unwrap()
}

/// Opens and reads a file in every way; what its rows are.
async fn read_all(bytes: Bytes) -> Result<Vec<(u64, String)>> {
    let file = opened(bytes).await?;
    let whole = collected(&file, everything(&file)).await?;
    let file = file.with_page_index().await?;
    let total = file.num_rows().try_into().unwrap();
    let selection = Some(ranges(&[0..1, 15..16], total));
    let request = ReadRequest {
        selection,
        ..everything(&file)
    };
    let some = rows(&collected(&file, request).await?);
    let whole = rows(&whole);
    assert!(some.iter().all(|(row, _)| matches!(row, 0 | 15)));
    Ok(whole)
}

fn footer_len(bytes: &[u8]) -> usize {
    let at = bytes.len() - 8;
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

/// The file with another footer.
fn with_footer(bytes: &[u8], footer: &[u8]) -> Bytes {
    let mut file = bytes[..bytes.len() - 8 - footer_len(bytes)].to_vec();
    file.extend_from_slice(footer);
    file.extend_from_slice(&(footer.len() as u32).to_le_bytes());
    file.extend_from_slice(b"PAR1");
    file.into()
}

/// The file with its metadata changed.
fn changed(
    bytes: &Bytes,
    change: impl Fn(Vec<RowGroupMetaData>) -> Vec<RowGroupMetaData>,
) -> Bytes {
    let metadata = ParquetMetaDataReader::new()
        .parse_and_finish(bytes)
        .unwrap();
    let groups = change(metadata.row_groups().to_vec());
    let metadata = ParquetMetaData::new(metadata.file_metadata().clone(), groups);
    let mut tail = Vec::new();
    ParquetMetaDataWriter::new(&mut tail, &metadata)
        .finish()
        .unwrap();
    let len = footer_len(&tail);
    with_footer(bytes, &tail[tail.len() - 8 - len..tail.len() - 8])
}

#[test]
fn another_size_or_none_is_corrupt() {
    run(async {
        let storage = store();
        let bytes = written(
            &one_column(50_000),
            WriterProperties::builder().set_dictionary_enabled(false),
        );
        let size = bytes.len() as u64;
        storage.put("f", bytes.clone()).await.unwrap();
        for wrong in [0, 3, 11, size - 1, size + 1, size + 1_000_000] {
            let error = ParquetFile::open(&storage, "f", Some(wrong))
                .await
                .unwrap_err();
            assert_eq!(
                (error.kind(), error.code()),
                (ErrorKind::Corrupt, Code::DataCorrupt),
                "{wrong}"
            );
            assert_eq!(error.context_value("path"), Some("f"));
        }
        assert!(ParquetFile::open(&storage, "f", None).await.is_ok());
        for size in [None, Some(1_000)] {
            let error = ParquetFile::open(&storage, "missing", size)
                .await
                .unwrap_err();
            assert_eq!(
                (error.kind(), error.code()),
                (ErrorKind::Corrupt, Code::DataCorrupt)
            );
        }
    });
}

#[test]
fn a_file_that_ends_anywhere_is_refused() {
    run(async {
        let bytes = written(&batch(0, 20), small_pages());
        for end in 0..bytes.len() {
            let error = opened(bytes.slice(..end)).await.unwrap_err();
            assert_eq!(error.code(), Code::DataCorrupt, "{end}");
        }
        // The same for the footer alone.
        let len = footer_len(&bytes);
        let footer = bytes.slice(bytes.len() - 8 - len..bytes.len() - 8);
        for end in 0..len {
            assert!(
                crate::storage::parquet::footer::parse(&footer[..end], u64::MAX).is_err(),
                "{end}"
            );
            assert!(
                opened(with_footer(&bytes, &footer[..end])).await.is_err(),
                "{end}"
            );
        }
    });
}

#[test]
fn a_flipped_bit_is_never_fatal() {
    run(async {
        let properties = small_pages().set_compression(Compression::SNAPPY);
        let bytes = written(&batch(0, 20), properties);
        let good = read_all(bytes.clone()).await.unwrap();
        let mut same = 0;
        for at in 0..bytes.len() {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 1 << (at % 8);
            match read_all(flipped.into()).await {
                Ok(read) => same += usize::from(read == good),
                Err(error) => assert_ne!(error.kind(), ErrorKind::Invalid, "{at}: {error:?}"),
            }
        }
        assert!(same > 0);
    });
}

#[test]
fn a_flipped_page_index_changes_no_row() {
    run(async {
        let batch = batch(0, 40);
        let bytes = written(&batch, small_pages());
        let metadata = ParquetMetaDataReader::new()
            .parse_and_finish(&bytes)
            .unwrap();
        let column = metadata.row_group(0).column(0);
        let start = column
            .column_index_offset()
            .unwrap()
            .min(column.offset_index_offset().unwrap());
        let end = bytes.len() - 8 - footer_len(&bytes);
        let mut used = 0;
        for at in start as usize..end {
            for bit in 0..8 {
                let mut flipped = bytes.to_vec();
                flipped[at] ^= 1 << bit;
                let file = opened(flipped.into())
                    .await
                    .unwrap()
                    .with_page_index()
                    .await
                    .unwrap();
                used += usize::from(file.metadata().offset_index().is_some());
                let selection = Some(ranges(&[3..4, 25..26], 40));
                let projection = ProjectionMask::columns(
                    file.metadata().file_metadata().schema_descr(),
                    ["number", "string"],
                );
                let request = ReadRequest {
                    selection,
                    projection,
                    ..everything(&file)
                };
                if let Ok(batches) = collected(&file, request).await {
                    let wanted = expected(&batch.project(&[0, 1]).unwrap(), [3, 25]);
                    assert_eq!(rows(&batches), wanted, "{at} {bit}");
                }
            }
        }
        assert!(used > 0, "some indexes stay plausible");
    });
}

#[test]
fn footers_that_claim_too_much() {
    let refusal =
        |footer: &[u8]| crate::storage::parquet::footer::parse(footer, u64::MAX).unwrap_err();
    let huge = [0xff, 0xff, 0xff, 0xff, 0x07];
    // Lists of 2^31 - 1: schema elements, row groups, metadata, orders, and something unknown.
    for header in [0x29u8, 0x49, 0x59, 0x79, 0xf9] {
        let mut footer = vec![header, 0xfc];
        footer.extend(huge);
        footer.extend([0; 64]);
        assert!(matches!(refusal(&footer), Refusal::Malformed(_)));
    }
    // As many row groups as there are bytes for: each of them is empty.
    let mut footer = vec![0x15, 2, 0x39, 0xfc, 0xff, 0xff, 0x3f];
    footer[2] = 0x39;
    footer.extend(vec![0; 1 << 20]);
    assert_eq!(
        refusal(&footer),
        Refusal::TooLarge("it has too many row groups")
    );
    // A schema whose root has 2^31 - 1 children.
    let mut footer = vec![0x29, 0x1c, 0x48, 1, b'r', 0x15, 0xfe];
    footer.extend([&huge[1..], &[0, 0]].concat());
    assert_eq!(
        refusal(&footer),
        Refusal::Malformed("its schema is no tree")
    );
    // Groups within groups.
    let mut footer = vec![0x29, 0xfc, 100];
    for _ in 0..100 {
        footer.extend([0x48, 1, b'g', 0x15, 2, 0]);
    }
    footer.push(0);
    assert_eq!(
        refusal(&footer),
        Refusal::TooLarge("its schema nests too deep")
    );
    // Values of two gigabytes each.
    let mut footer = vec![0x29, 0x1c, 0x25];
    footer.extend([0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0]);
    assert!(matches!(refusal(&footer), Refusal::TooLarge(_)));
}

#[test]
fn long_names_above_many_leaves_are_refused() {
    // One group with a name of a megabyte, over 1,000 leaves that would all repeat it.
    let mut footer = vec![0x29, 0xfc];
    footer.extend([0xea, 7]);
    footer.extend([0x48, 1, b'r', 0x15, 2, 0]);
    footer.extend([0x48, 0x80, 0x80, 0x40]);
    footer.extend(vec![b'x'; 1 << 20]);
    footer.extend([0x15, 0xd0, 0x0f, 0]);
    for _ in 0..1000 {
        footer.extend([0x15, 2, 0x25, 2, 0x18, 1, b'l', 0]);
    }
    footer.push(0);
    let refusal = crate::storage::parquet::footer::parse(&footer, u64::MAX).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::TooLarge("the paths of its schema are over the limit")
    );
}

#[test]
fn a_footer_as_long_as_it_says() {
    let locate = crate::storage::parquet::footer::locate;
    let tail = |len: u32, magic: &[u8]| [&len.to_le_bytes()[..], magic].concat();
    assert_eq!(locate(&tail(88, b"PAR1"), 100), Ok(4..92));
    assert!(matches!(
        locate(&tail(89, b"PAR1"), 100),
        Err(Refusal::Malformed(_))
    ));
    assert!(matches!(
        locate(&tail(u32::MAX, b"PAR1"), u64::MAX),
        Err(Refusal::TooLarge(_))
    ));
    assert!(matches!(
        locate(&tail(0, b"PARE"), 100),
        Err(Refusal::Unsupported(_))
    ));
    assert!(matches!(
        locate(&tail(0, b"PAR2"), 100),
        Err(Refusal::Malformed(_))
    ));
    assert!(matches!(locate(b"PAR1", 4), Err(Refusal::Malformed(_))));
}

#[test]
fn chunks_have_to_lie_in_the_file() {
    run(async {
        let bytes = written(&one_column(100), WriterProperties::builder());
        let size = bytes.len() as i64;
        let place = |start: i64, len: i64| {
            changed(&bytes, |groups| {
                let edit = |group: RowGroupMetaData| {
                    let column = group.column(0).clone().into_builder();
                    let column = column
                        .set_dictionary_page_offset(None)
                        .set_data_page_offset(start)
                        .set_total_compressed_size(len);
                    group
                        .into_builder()
                        .set_column_metadata(vec![column.build().unwrap()])
                        .build()
                        .unwrap()
                };
                groups.into_iter().map(edit).collect()
            })
        };
        for (start, len) in [
            (-1, 10),
            (4, -1),
            (0, 10),
            (4, size),
            (size - 9, 10),
            (i64::MAX, 1),
            (1, i64::MAX),
            (3, 0),
        ] {
            let error = opened(place(start, len)).await.unwrap_err();
            assert_eq!(error.code(), Code::DataCorrupt, "{start} {len}");
        }
        // Inside of the file, but no page.
        let file = opened(place(5, 40)).await.unwrap();
        let error = collected(&file, everything(&file)).await.unwrap_err();
        assert_eq!(error.code(), Code::DataCorrupt);
        assert_eq!(error.context_value("path"), Some("f"));
    });
}

#[test]
fn row_counts_are_held_against_the_pages() {
    run(async {
        let bytes = written(&batch(0, 100), small_pages());
        let lying = |rows: [i64; 2]| {
            let bytes = written(&batch(0, 200), small_pages());
            changed(&bytes, move |groups| {
                let edit = |(group, rows): (RowGroupMetaData, i64)| {
                    group.into_builder().set_num_rows(rows).build().unwrap()
                };
                groups.into_iter().zip(rows).map(edit).collect()
            })
        };
        assert_eq!(
            opened(lying([-1, 201])).await.unwrap_err().code(),
            Code::DataCorrupt
        );
        assert_eq!(
            opened(lying([1 << 31, 1])).await.unwrap_err().code(),
            Code::DataCorrupt
        );
        // The total of 100 in the footer, as field 3 of it: one more.
        let len = footer_len(&bytes);
        let mut footer = bytes[bytes.len() - 8 - len..bytes.len() - 8].to_vec();
        let at = footer
            .windows(3)
            .position(|window| window == [0x16, 0xc8, 1])
            .unwrap();
        footer[at + 1] += 2;
        let error = opened(with_footer(&bytes, &footer)).await.unwrap_err();
        assert!(error.message().contains("row counts contradict"), "{error}");
        // The sum is right, the parts are not.
        let file = opened(lying([101, 99])).await.unwrap();
        let parquet = file.metadata().file_metadata().schema_descr();
        for (leaf, column) in parquet.columns().iter().enumerate() {
            for row_groups in [vec![0], vec![1]] {
                let projection = ProjectionMask::leaves(parquet, [leaf]);
                let repeated = column.max_rep_level() > 0;
                // Of a list, a group that says too little reads as such: nothing tells where its rows end.
                let unknown = repeated && row_groups == [1];
                let request = ReadRequest {
                    projection,
                    row_groups,
                    ..everything(&file)
                };
                let read = collected(&file, request).await;
                assert!(
                    unknown || read.is_err_and(|error| error.code() == Code::DataCorrupt),
                    "{column:?}"
                );
            }
        }
    });
}

#[test]
fn ordinals_may_lie() {
    run(async {
        let batch = batch(0, 300);
        let bytes = changed(&written(&batch, small_pages()), |groups| {
            let edit = |(index, group): (usize, RowGroupMetaData)| {
                group
                    .into_builder()
                    .set_ordinal([2, 2, 0][index])
                    .build()
                    .unwrap()
            };
            groups.into_iter().enumerate().map(edit).collect()
        });
        let file = opened(bytes).await.unwrap();
        let ordinals: Vec<_> = file
            .metadata()
            .row_groups()
            .iter()
            .map(|group| group.ordinal())
            .collect();
        assert_eq!(ordinals, [Some(0), Some(1), Some(2)]);
        let batches = collected(&file, everything(&file)).await.unwrap();
        assert_eq!(rows(&batches), expected(&batch, 0..300));
    });
}

#[test]
fn counts_of_lengths_in_pages_are_checked() {
    run(async {
        let strings = StringArray::from_iter_values((0..200).map(|row| row.to_string()));
        let batch = RecordBatch::try_from_iter([("s", Arc::new(strings) as ArrayRef)]).unwrap();
        for encoding in [
            Encoding::DELTA_BYTE_ARRAY,
            Encoding::DELTA_LENGTH_BYTE_ARRAY,
        ] {
            let properties = WriterProperties::builder()
                .set_dictionary_enabled(false)
                .set_compression(Compression::UNCOMPRESSED)
                .set_encoding(encoding);
            let bytes = written(&batch, properties);
            // Blocks of 128 in four miniblocks, 200 values.
            let header = [0x80, 0x01, 0x04, 0xc8, 0x01];
            let found: Vec<usize> = bytes
                .windows(5)
                .enumerate()
                .filter(|(_, w)| *w == header)
                .map(|(at, _)| at)
                .collect();
            assert!(!found.is_empty());
            for at in found {
                let mut lying = bytes.to_vec();
                lying[at + 4] = 0x7f;
                let file = opened(lying.into()).await.unwrap();
                let error = collected(&file, everything(&file)).await.unwrap_err();
                assert!(error.message().contains("lengths in a page"), "{error:?}");
            }
        }
    });
}

#[test]
fn encrypted_files_are_unsupported() {
    run(async {
        let mut bytes = written(&one_column(10), WriterProperties::builder()).to_vec();
        let end = bytes.len();
        bytes[end - 1] = b'E';
        assert_eq!(
            opened(bytes.into()).await.unwrap_err().kind(),
            ErrorKind::Unsupported
        );
    });
}

#[test]
fn statistics_that_do_not_parse_are_left_out() {
    run(async {
        let bytes = written(&one_column(10), WriterProperties::builder());
        let len = footer_len(&bytes);
        let footer = &bytes[bytes.len() - 8 - len..bytes.len() - 8];
        // The null count of the statistics, as a negative number: field 3, an i64 of zero, before field 5.
        let at = footer
            .windows(3)
            .position(|window| window == [0x16, 0, 0x28])
            .unwrap();
        let mut odd = footer.to_vec();
        odd[at + 1] = 1;
        let file = opened(with_footer(&bytes, &odd)).await.unwrap();
        assert!(
            file.metadata()
                .row_group(0)
                .column(0)
                .statistics()
                .is_none()
        );
        assert_eq!(
            collected(&file, everything(&file)).await.unwrap()[0].num_rows(),
            10
        );
    });
}

/// The bytes of the strings of the largest batch, and the rows of all of them.
async fn largest_batch(bytes: Bytes) -> (usize, usize) {
    let file = opened(bytes).await.unwrap();
    let request = ReadRequest {
        batch_rows: 1 << 20,
        with_row_numbers: false,
        ..everything(&file)
    };
    let (mut largest, mut rows) = (0, 0);
    let mut batches = file.read(request).await.unwrap();
    while let Some(batch) = batches.try_next().await.unwrap() {
        let strings = batch.column(0).as_string::<i32>();
        largest = largest.max(strings.value_data().len());
        rows += batch.num_rows();
    }
    (largest, rows)
}

/// reliability.md, D11: what is long beside what is short makes small batches, not large ones.
#[test]
fn long_strings_among_short_ones_make_small_batches() {
    const LONG: usize = 1 << 20;
    run(async {
        let short = (0..20_000).map(|row| row.to_string());
        let all: Vec<String> = short.chain((0..200).map(|_| "x".repeat(LONG))).collect();
        let strings = Arc::new(StringArray::from(all)) as ArrayRef;
        let batch = RecordBatch::try_from_iter([("s", strings)]).unwrap();
        let base = || {
            WriterProperties::builder()
                .set_compression(Compression::SNAPPY)
                .set_write_batch_size(4)
        };
        let encodings = [
            base().set_dictionary_page_size_limit(8 << 20),
            base()
                .set_dictionary_enabled(false)
                .set_encoding(Encoding::DELTA_BYTE_ARRAY),
            base().set_dictionary_enabled(false),
        ];
        for properties in encodings {
            let bytes = written(&batch, properties);
            let (largest, rows) = largest_batch(bytes).await;
            assert_eq!(rows, 20_200);
            assert!((LONG..=100 * LONG).contains(&largest), "{largest}");
        }
    });
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A page of lists of nulls: how many there are, and whether the first of them begins a row.
fn page_of_nulls(values: u64, begins: bool) -> Vec<u8> {
    let run = |len: u64, level: u8| [varint(len << 1), vec![level]].concat();
    let repetition = match begins {
        true => [run(1, 0), run(values - 1, 1)].concat(),
        false => run(values, 1),
    };
    let levels = |levels: Vec<u8>| [&(levels.len() as u32).to_le_bytes()[..], &levels].concat();
    let body = [levels(repetition), levels(run(values, 2))].concat();
    let number = |value: u64| [vec![0x15], varint(value << 1)].concat();
    let size = body.len() as u64;
    // A data page: sizes, then values, encoding, and the encodings of levels.
    let header = [
        [number(0), number(size), number(size), vec![0x2c]].concat(),
        [number(values), number(0), number(3), number(3), vec![0, 0]].concat(),
    ];
    [header.concat(), body].concat()
}

/// A file of one row of lists, of which the pages are these.
fn lists_of(elements: ArrayRef, pages: &[Vec<u8>], values: u64) -> Bytes {
    let field = Arc::new(Field::new("element", elements.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths([elements.len()]);
    let list = Arc::new(ListArray::new(field, offsets, elements, None)) as ArrayRef;
    let batch = RecordBatch::try_from_iter_with_nullable([("l", list, true)]).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .set_offset_index_disabled(true)
        .set_statistics_enabled(EnabledStatistics::None);
    let file = written(&batch, properties);
    let tail = file.slice(file.len() - 8 - footer_len(&file)..);
    let pages = pages.concat();
    let len = pages.len() as i64;
    let file = Bytes::from([b"PAR1", &pages[..], &tail].concat());
    changed(&file, |groups| {
        let edit = |group: RowGroupMetaData| {
            let column = group.column(0).clone().into_builder();
            let column = column
                .set_data_page_offset(4)
                .set_num_values(values as i64)
                .set_total_compressed_size(len)
                .set_total_uncompressed_size(len);
            let column = column.build().unwrap();
            let group = group.into_builder().set_column_metadata(vec![column]);
            group.build().unwrap()
        };
        groups.into_iter().map(edit).collect()
    })
}

/// A few hundred bytes must not end the process, nor take gigabytes.
#[test]
fn lists_of_many_nulls_in_one_row_are_refused() {
    run(async {
        let wide = || Arc::new(FixedSizeBinaryArray::new_null(1 << 20, 1)) as ArrayRef;
        let narrow = || Arc::new(Int32Array::new_null(1)) as ArrayRef;
        let many = 1 << 26;
        let first = page_of_nulls(many, true);
        let more = page_of_nulls(many, false);
        let pages = [vec![first.clone()], vec![more; 15]].concat();
        for (elements, pages, values) in [
            (wide(), &pages[..1], many),
            (narrow(), &pages[..1], many),
            (narrow(), &pages[..], 16 * many),
        ] {
            let bytes = lists_of(elements, pages, values);
            assert!(bytes.len() < 2_000);
            let file = opened(bytes).await.unwrap();
            let error = collected(&file, everything(&file)).await.unwrap_err();
            assert_eq!(error.code(), Code::LimitExceeded, "{error:?}");
        }
        // A million of them are nothing special.
        let bytes = lists_of(narrow(), &[page_of_nulls(1 << 20, true)], 1 << 20);
        let file = opened(bytes).await.unwrap();
        let batches = collected(&file, everything(&file)).await.unwrap();
        assert_eq!(
            batches[0].column(0).as_list::<i32>().value(0).len(),
            1 << 20
        );
    });
}
