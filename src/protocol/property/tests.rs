use super::*;
use crate::error::ErrorKind;

fn of(properties: &[(&str, &str)]) -> BTreeMap<String, String> {
    properties
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn defaults_apply_where_nothing_is_said() {
    let parsed = TableProperties::parse(&BTreeMap::new()).unwrap();
    assert_eq!(parsed, TableProperties::default());
    assert_eq!(parsed.deleted_file_retention, Duration::from_secs(604_800));
    assert_eq!(parsed.log_retention, Duration::from_secs(2_592_000));
    assert_eq!(parsed.compression, Compression::Zstd);
}

#[test]
fn properties_are_typed_and_unknown_ones_are_kept() {
    let parsed = TableProperties::parse(&of(&[
        ("delta.appendOnly", "TRUE"),
        ("delta.checkpointInterval", "10"),
        ("delta.checkpoint.writeStatsAsStruct", "false"),
        ("delta.columnMapping.mode", "id"),
        ("delta.dataSkippingNumIndexedCols", "-1"),
        ("delta.enableInCommitTimestamps", "true"),
        ("delta.inCommitTimestampEnablementVersion", "2"),
        ("delta.isolationLevel", "WriteSerializable"),
        ("delta.parquet.compression.codec", "SNAPPY"),
        ("delta.setTransactionRetentionDuration", "interval 1 days"),
        ("delta.targetFileSize", "100mb"),
        ("delta.future", "x"),
        ("owner", "me"),
    ]))
    .unwrap();
    assert!(
        parsed.append_only && parsed.enable_in_commit_timestamps && !parsed.write_stats_as_struct
    );
    assert_eq!(parsed.checkpoint_interval, Some(10));
    assert_eq!(parsed.column_mapping_mode, ColumnMappingMode::Id);
    assert_eq!(parsed.data_skipping_num_indexed_cols, None);
    assert_eq!(parsed.in_commit_timestamp_enablement_version, Some(2));
    assert_eq!(parsed.isolation_level, IsolationLevel::WriteSerializable);
    assert_eq!(parsed.compression, Compression::Snappy);
    assert_eq!(parsed.set_transaction_retention, Some(DAY));
    assert_eq!(parsed.target_file_size, Some(100 << 20));
    assert_eq!(
        parsed.unknown,
        of(&[("delta.future", "x"), ("owner", "me")])
    );
}

#[test]
fn malformed_properties_stop_writers_but_not_readers() {
    for (name, value) in [
        ("delta.logRetentionDuration", "interval 1 month"),
        ("delta.deletedFileRetentionDuration", "a week"),
        ("delta.checkpointInterval", "0"),
        ("delta.checkpointInterval", "-3"),
        ("delta.appendOnly", "yes"),
        ("delta.dataSkippingNumIndexedCols", "-2"),
        ("delta.isolationLevel", "Chaos"),
        ("delta.targetFileSize", "18446744073709551615t"),
        ("delta.inCommitTimestampEnablementVersion", "-1"),
        ("delta.parquet.compression.codec", "rar"),
        ("delta.dataSkippingStatsColumns", "a,,b"),
    ] {
        let properties = of(&[(name, value)]);
        let error = TableProperties::parse(&properties).unwrap_err();
        assert_eq!(
            (error.kind(), error.context_value("property")),
            (ErrorKind::Invalid, Some(name))
        );
        assert_eq!(
            TableProperties::parse_leniently(&properties).unwrap(),
            TableProperties::default(),
            "{name}"
        );
    }
    let mapping = of(&[("delta.columnMapping.mode", "telepathy")]);
    assert_eq!(
        TableProperties::parse_leniently(&mapping)
            .unwrap_err()
            .kind(),
        ErrorKind::Unsupported
    );
}

#[test]
fn intervals_are_sparks_calendar_intervals() {
    let seconds = |text: &str| interval(text).map(|interval| interval.as_secs());
    assert_eq!(seconds("interval 30 days"), Some(2_592_000));
    assert_eq!(seconds("interval 1 week 2 hours"), Some(612_000));
    assert_eq!(seconds("  INTERVAL 1 WEEK "), Some(604_800));
    assert_eq!(seconds("2 minutes 1 second"), Some(121));
    assert_eq!(
        interval("interval 5 milliseconds"),
        Some(Duration::from_millis(5))
    );
    assert_eq!(interval("interval 0 days"), Some(Duration::ZERO));
    let wrong = [
        "",
        "interval",
        "interval 1",
        "interval days",
        "interval 1 month",
        "interval 1 year",
        "interval -1 days",
    ];
    for text in wrong.into_iter().chain([
        "interval 99999999999999999999 days",
        "18446744073709551615 weeks 1 week",
        "1 fortnight",
    ]) {
        assert_eq!(interval(text), None, "{text}");
    }
}

#[test]
fn column_lists_may_be_quoted() {
    let list = |text: &str| {
        column_list(text).map(|columns| {
            columns
                .iter()
                .map(|path| path.join("|"))
                .collect::<Vec<_>>()
        })
    };
    let expect = |names: &[&str]| {
        Some(
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(
        list("a, b.c ,`d.e`.`f``,g` , h"),
        expect(&["a", "b|c", "d.e|f`,g", "h"])
    );
    assert_eq!(list(""), expect(&[]));
    assert_eq!(list("a,"), expect(&["a"]));
    for wrong in ["`a", "a..b", ".a", "a,,b", "`a`b", "a`b`", "``"] {
        assert_eq!(list(wrong), None, "{wrong}");
    }
}
