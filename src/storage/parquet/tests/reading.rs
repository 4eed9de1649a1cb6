#![allow(
    clippy::single_range_in_vec_init,
    reason = "a list of ranges may have one"
)]
use super::*;

use parquet::basic::{Compression, Encoding};
use parquet::data_type::{Int96, Int96Type};
use parquet::file::properties::WriterVersion;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

#[test]
fn reads_what_was_written() {
    run(async {
        let batch = batch(0, 250);
        for compression in [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::LZ4_RAW,
        ] {
            for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
                let properties = small_pages()
                    .set_compression(compression)
                    .set_writer_version(version);
                let file = opened(written(&batch, properties)).await.unwrap();
                assert_eq!(
                    (file.num_rows(), file.metadata().num_row_groups()),
                    (250, 3)
                );
                assert_eq!(file.first_row_of(2), Some(200));
                assert_eq!(file.first_row_of(3), None);
                let batches = collected(&file, everything(&file)).await.unwrap();
                assert!(batches.iter().all(|batch| batch.num_rows() <= 37));
                assert_eq!(rows(&batches), expected(&batch, 0..250));
            }
        }
    });
}

#[test]
fn reads_selected_rows_with_and_without_an_index() {
    run(async {
        let batch = batch(0, 250);
        let file = opened(written(&batch, small_pages())).await.unwrap();
        let indexed = file.with_page_index().await.unwrap();
        assert!(file.metadata().offset_index().is_none());
        assert!(indexed.metadata().offset_index().is_some());
        for wanted in [
            vec![0..1],
            vec![249..250],
            vec![5..6, 15..16, 95..105, 199..200, 248..250],
            vec![3..3, 20..30],
            vec![100..200],
            (0..125).map(|row| row * 2..row * 2 + 1).collect(),
            vec![],
        ] {
            for file in [&file, &indexed] {
                let selection = Some(ranges(&wanted, 250));
                let request = ReadRequest {
                    selection,
                    ..everything(file)
                };
                let batches = collected(file, request).await.unwrap();
                assert_eq!(
                    rows(&batches),
                    expected(&batch, wanted.iter().cloned().flatten())
                );
            }
        }
    });
}

#[test]
fn row_groups_come_in_the_order_asked_for() {
    run(async {
        let batch = batch(0, 250);
        let file = opened(written(&batch, small_pages())).await.unwrap();
        let file = file.with_page_index().await.unwrap();
        let all = ReadRequest {
            row_groups: vec![2, 0],
            ..everything(&file)
        };
        assert_eq!(
            rows(&collected(&file, all.clone()).await.unwrap()),
            expected(&batch, (200..250).chain(0..100))
        );
        let some = ReadRequest {
            selection: Some(ranges(&[49..52], 150)),
            ..all
        };
        assert_eq!(
            rows(&collected(&file, some.clone()).await.unwrap()),
            expected(&batch, [249, 0, 1])
        );
        let two = ReadRequest {
            limit: Some(2),
            ..some.clone()
        };
        assert_eq!(
            rows(&collected(&file, two).await.unwrap()),
            expected(&batch, [249, 0])
        );
        let short = ReadRequest {
            selection: Some(ranges(&[0..1], 10)),
            ..some.clone()
        };
        assert_eq!(
            rows(&collected(&file, short).await.unwrap()),
            expected(&batch, [200])
        );
        let absent = ReadRequest {
            row_groups: vec![3],
            ..some
        };
        assert!(
            file.read(absent)
                .await
                .is_err_and(|error| error.kind() == crate::error::ErrorKind::Invalid)
        );
    });
}

#[test]
fn limits_and_projections() {
    run(async {
        let batch = batch(0, 250);
        let file = opened(written(&batch, small_pages())).await.unwrap();
        let parquet = file.metadata().file_metadata().schema_descr();
        let none = ProjectionMask::none(parquet.num_columns());
        let request = ReadRequest {
            projection: none,
            limit: Some(130),
            ..everything(&file)
        };
        let batches = collected(&file, request.clone()).await.unwrap();
        assert_eq!(
            rows(&batches),
            (0..130).map(|row| (row, String::new())).collect::<Vec<_>>()
        );
        let bare = ReadRequest {
            with_row_numbers: false,
            limit: None,
            ..request
        };
        let batches = collected(&file, bare).await.unwrap();
        assert_eq!(
            batches.iter().map(RecordBatch::num_rows).sum::<usize>(),
            250
        );
        let columns = ProjectionMask::columns(parquet, ["struct.inner", "number"]);
        let request = ReadRequest {
            projection: columns,
            limit: Some(0),
            ..everything(&file)
        };
        assert!(collected(&file, request.clone()).await.unwrap().is_empty());
        let batches = collected(
            &file,
            ReadRequest {
                limit: Some(101),
                ..request
            },
        )
        .await
        .unwrap();
        assert_eq!(
            rows(&batches),
            expected(&batch.project(&[0, 3]).unwrap(), 0..101)
        );
    });
}

#[test]
fn asks_the_store_for_little() {
    run(async {
        let batch = batch(0, 60_000);
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(20_000))
            .set_dictionary_enabled(false)
            .set_data_page_row_count_limit(1_000);
        let bytes = written(&batch, properties);
        let storage = store();
        storage.put("f", bytes.clone()).await.unwrap();
        let before = storage.counts();
        let file = ParquetFile::open(&storage, "f", Some(bytes.len() as u64))
            .await
            .unwrap();
        let opened = storage.counts();
        assert_eq!(
            (opened.gets - before.gets, opened.heads - before.heads),
            (1, 0)
        );
        // The page index is at the end of the file, which is in memory.
        let file = file.with_page_index().await.unwrap();
        assert!(file.metadata().offset_index().is_some());
        assert_eq!(storage.counts().gets, opened.gets);
        let selection = Some(ranges(&[45_500..45_501], 60_000));
        let parquet = file.metadata().file_metadata().schema_descr();
        let projection = ProjectionMask::columns(parquet, ["number"]);
        let request = ReadRequest {
            selection,
            projection,
            ..everything(&file)
        };
        let batches = collected(&file, request).await.unwrap();
        assert_eq!(
            rows(&batches),
            expected(&batch.project(&[0]).unwrap(), [45_500])
        );
        let read = storage.counts();
        assert_eq!(read.gets - opened.gets, 1);
        assert!(
            read.bytes_read - opened.bytes_read < 20_000,
            "one page of one column"
        );
        let small = written(&batch.slice(0, 50), WriterProperties::builder());
        storage.put("s", small.clone()).await.unwrap();
        let before = storage.counts().gets;
        let file = ParquetFile::open(&storage, "s", Some(small.len() as u64))
            .await
            .unwrap();
        collected(&file, everything(&file)).await.unwrap();
        assert_eq!(storage.counts().gets - before, 1);
    });
}

#[test]
fn strings_in_delta_encodings() {
    run(async {
        let batch = batch(0, 250);
        for encoding in [
            Encoding::DELTA_BYTE_ARRAY,
            Encoding::DELTA_LENGTH_BYTE_ARRAY,
        ] {
            for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
                let strings = parquet::schema::types::ColumnPath::from("string");
                let inner = parquet::schema::types::ColumnPath::from(vec![
                    "struct".to_owned(),
                    "inner".to_owned(),
                ]);
                let properties = small_pages()
                    .set_writer_version(version)
                    .set_dictionary_enabled(false)
                    .set_column_encoding(strings, encoding)
                    .set_column_encoding(inner, encoding);
                let file = opened(written(&batch, properties)).await.unwrap();
                let batches = collected(&file, everything(&file)).await.unwrap();
                assert_eq!(rows(&batches), expected(&batch, 0..250));
                let file = file.with_page_index().await.unwrap();
                let selection = Some(ranges(&[12..13, 145..148], 250));
                let request = ReadRequest {
                    selection,
                    ..everything(&file)
                };
                let batches = collected(&file, request).await.unwrap();
                assert_eq!(rows(&batches), expected(&batch, [12, 145, 146, 147]));
            }
        }
    });
}

#[test]
fn timestamps_of_96_bits_are_microseconds() {
    run(async {
        let schema =
            parse_message_type("message m { required int64 id; optional int96 t; }").unwrap();
        let mut bytes = Vec::new();
        let mut writer =
            SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut ids = group.next_column().unwrap().unwrap();
        ids.typed::<parquet::data_type::Int64Type>()
            .write_batch(&[1], None, None)
            .unwrap();
        ids.close().unwrap();
        let mut times = group.next_column().unwrap().unwrap();
        // Noon of 9999-12-31: not in reach of nanoseconds in 64 bits.
        let mut noon = Int96::new();
        let nanos = 12 * 3_600 * 1_000_000_000u64;
        noon.set_data(nanos as u32, (nanos >> 32) as u32, 5_373_484);
        times
            .typed::<Int96Type>()
            .write_batch(&[noon], Some(&[1]), None)
            .unwrap();
        times.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        let file = opened(bytes.into()).await.unwrap();
        let batches = collected(&file, everything(&file)).await.unwrap();
        let times = batches[0].column(1).as_any();
        let times = times
            .downcast_ref::<arrow_array::TimestampMicrosecondArray>()
            .unwrap();
        assert_eq!(times.value(0), 253_402_257_600_000_000);
        assert_eq!(times.timezone(), Some("UTC"));
    });
}

#[test]
fn types_can_be_asked_for() {
    run(async {
        let batch = batch(0, 50);
        let file = opened(written(&batch, small_pages())).await.unwrap();
        let mut fields: Vec<Field> = file
            .arrow_schema()
            .fields()
            .iter()
            .map(|field| field.as_ref().clone())
            .collect();
        fields[1] = fields[1].clone().with_data_type(DataType::Utf8View);
        let hint = |fields: &[Field]| Some(Arc::new(arrow_schema::Schema::new(fields.to_vec())));
        let request = ReadRequest {
            arrow_schema_hint: hint(&fields),
            ..everything(&file)
        };
        let batches = collected(&file, request).await.unwrap();
        assert_eq!(
            batches[0].schema().field(1).data_type(),
            &DataType::Utf8View
        );
        let request = ReadRequest {
            arrow_schema_hint: hint(&fields[1..]),
            ..everything(&file)
        };
        assert!(file.read(request).await.is_err());
    });
}

#[test]
fn wide_rows_come_in_small_batches() {
    run(async {
        let long = "x".repeat(1 << 20);
        let strings = StringArray::from_iter_values((0..200).map(|row| format!("{row}{long}")));
        let batch = RecordBatch::try_from_iter([("s", Arc::new(strings) as ArrayRef)]).unwrap();
        let properties = WriterProperties::builder().set_compression(Compression::LZ4_RAW);
        let file = opened(written(&batch, properties)).await.unwrap();
        let request = ReadRequest {
            batch_rows: 8192,
            ..everything(&file)
        };
        let batches = collected(&file, request).await.unwrap();
        assert_eq!(
            batches.iter().map(RecordBatch::num_rows).sum::<usize>(),
            200
        );
        assert!(
            batches
                .iter()
                .all(|batch| batch.get_array_memory_size() < 256 << 20)
        );
        assert!(batches.len() >= 3);
    });
}
