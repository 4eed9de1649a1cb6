//! Commits that are hostile as JSON (faults H-4 to H-7), paths (H-1 to H-3), protocols (H-12).

use headwater::arrow_array::{Int64Array, RecordBatch};
use headwater::environment::Environment;
use headwater::predicate::col;
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::scan::{Pruning, Verdict};
use headwater::storage::Storage;
use headwater::{Code, ErrorKind, Table};
use serde_json::{Value as Json, json};

use super::{
    SCHEMA, add, commit, full_text, handle, metadata, parquet, place, protocol, read, refusal,
    refusal_of, remove, table_of_three, text,
};
use crate::support::ids_of;
use crate::support::store::Faulty;

#[tokio::test]
async fn h_1_no_path_of_the_log_leads_out_of_the_table() {
    let secret = parquet(666..670);
    for path in [
        "../secret.parquet",
        "%2e%2e/secret.parquet",
        "%2E%2E/secret.parquet",
        "%252e%252e/secret.parquet",
        "..%2fsecret.parquet",
        "..%5csecret.parquet",
        "..\\secret.parquet",
        "x/../../secret.parquet",
        "x/%2e%2e/%2e%2e/secret.parquet",
        "./../secret.parquet",
        "/secret.parquet",
        "//secret.parquet",
        "/%2e%2e/secret.parquet",
        "C:/secret.parquet",
        "C:\\secret.parquet",
        "secret.parquet%00",
        "secret\u{0}.parquet",
        "secret%0a.parquet",
        "",
        ".",
        "..",
        "x//y.parquet",
        "_delta_log/00000000000000000000.json",
        "%5fdelta_log/00000000000000000000.json",
        "_DELTA_LOG/../secret.parquet",
    ] {
        let store = Faulty::default();
        table_of_three(&store).await;
        store.place(&"secret.parquet".into(), secret.clone()).await;
        commit(&store, 2, text(&[add(path, secret.len())])).await;
        let error = refusal(&store).await;
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{path:?}: {error:?}");
        assert!(
            matches!(error.code(), Code::UnsafePath | Code::CorruptCommit),
            "{path:?}: {error:?}"
        );
        // A tombstone of such a path hides nothing and breaks nothing worse.
        commit(&store, 2, text(&[remove(path)])).await;
        match read(&store).await {
            Ok(ids) => assert_eq!(ids, [1, 2, 3], "{path:?}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{path:?}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn h_1_a_path_is_decoded_once_and_no_more() {
    let store = Faulty::default();
    table_of_three(&store).await;
    let file = parquet(4..=5);
    // On disk the name has a percent sign; decoded twice it would be another file.
    store
        .place(
            &object_store::path::Path::parse("table/p=a%2Fb/x y%41.parquet").unwrap(),
            file.clone(),
        )
        .await;
    commit(
        &store,
        2,
        text(&[add("p=a%252Fb/x%20y%2541.parquet", file.len())]),
    )
    .await;
    assert_eq!(read(&store).await.unwrap(), [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn h_1_deletion_vectors_and_sidecars_are_confined_too() {
    for (kind, path) in [
        ("p", "../vector.bin"),
        ("p", "file:///etc/passwd"),
        ("p", "s3://elsewhere/vector.bin"),
        ("u", "../../ab^-aqEH.-t@S}K{vb[*k^"),
        ("u", "%2e%2e/ab^-aqEH.-t@S}K{vb[*k^"),
    ] {
        let store = Faulty::default();
        let features = json!({"protocol": {
            "minReaderVersion": 3, "minWriterVersion": 7,
            "readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"],
        }});
        commit(&store, 0, text(&[features, metadata(SCHEMA)])).await;
        let file = parquet(1..=3);
        let mut action = add("a.parquet", file.len());
        action["add"]["deletionVector"] = json!({
            "storageType": kind, "pathOrInlineDv": path, "offset": 1, "sizeInBytes": 36, "cardinality": 1,
        });
        place(&store, "a.parquet", file).await;
        commit(&store, 1, text(&[action])).await;
        let error = refusal(&store).await;
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{path}: {error:?}");
    }
}

#[tokio::test]
async fn h_2_no_address_in_the_log_is_ever_opened() {
    for address in [
        "file:///etc/passwd",
        "file:/etc/passwd",
        "file://localhost/etc/passwd",
        "s3://another-bucket/key.parquet",
        "s3a://another-bucket/key.parquet",
        "http://169.254.169.254/latest/meta-data/iam",
        "https://user:hunter2@example.com/x?sig=topsecret",
        "abfss://container@account.dfs.core.windows.net/x.parquet",
        "data:application/octet-stream;base64,AAAA",
        "memory:///another/x.parquet",
    ] {
        let error = refusal_of(text(&[add(address, 100)])).await;
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{address}: {error:?}");
        for secret in ["hunter2", "topsecret"] {
            assert!(!full_text(&error).contains(secret), "{error:?}");
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn h_3_a_symbolic_link_does_not_lead_out_of_the_table() {
    let folder = std::env::temp_dir().join(format!("headwater-h-3-{}", std::process::id()));
    let (root, outside) = (folder.join("table"), folder.join("outside"));
    std::fs::create_dir_all(&outside).unwrap();
    let schema = Schema::new([Field::new("id", DataType::LONG, true)]).unwrap();
    let table = Table::create(root.to_str().unwrap(), schema).await.unwrap();
    let ids = std::sync::Arc::new(Int64Array::from(vec![1, 2, 3]));
    let batch = RecordBatch::try_from_iter([("id", ids as _)]).unwrap();
    let _ = table.append(batch).await.unwrap();
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [1, 2, 3]);

    let data = std::fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let data = data.filter(|path| path.extension().is_some_and(|end| end == "parquet"));
    let data: Vec<_> = data.collect();
    assert_eq!(data.len(), 1);
    let moved = outside.join("secret.parquet");
    std::fs::rename(&data[0], &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &data[0]).unwrap();
    let error = ids_of(&table.snapshot()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Corrupt, Code::UnsafePath),
        "{error:?}"
    );

    // A commit of the log that is a link out of it is none of the log.
    let commit = root.join("_delta_log/00000000000000000001.json");
    std::fs::rename(&commit, outside.join("commit.json")).unwrap();
    std::os::unix::fs::symlink(outside.join("commit.json"), &commit).unwrap();
    let storage = Storage::local(&root, &Environment::system()).unwrap();
    let opened = Table::open_in(storage, Environment::system()).await;
    assert!(opened.is_err(), "{opened:?}");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A line of an unknown action that is this value.
fn unknown(value: &str) -> String {
    format!("{{\"unheardOf\":{value}}}\n")
}

#[tokio::test]
async fn h_4_depth_is_bounded_before_anything_recurses() {
    let nested = |open: &str, close: &str, depth: usize| {
        unknown(&format!("{}1{}", open.repeat(depth), close.repeat(depth)))
    };
    for depth in [1_000, 60_000, 200_000] {
        for line in [
            nested("[", "]", depth),
            nested("{\"a\":", "}", depth),
            nested("[{\"a\":", "}]", depth / 2),
            unknown(&"[".repeat(depth)),
            format!("{{\"commitInfo\":{}", nested("[", "]", depth)),
            format!("{{\"add\":{}", nested("{\"a\":", "}", depth)),
        ] {
            let error = refusal_of(line).await;
            assert_eq!(
                (error.kind(), error.code()),
                (ErrorKind::Corrupt, Code::CorruptCommit)
            );
            assert_eq!(error.context_value("version"), Some("1"));
        }
    }
    // In texts that are JSON again: statistics, the schema, the hint, the values of the metadata.
    let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    let store = Faulty::default();
    table_of_three(&store).await;
    let mut odd = add("b.parquet", parquet(4..=4).len());
    odd["add"]["stats"] = deep.clone().into();
    place(&store, "b.parquet", parquet(4..=4)).await;
    commit(&store, 2, text(&[odd])).await;
    place(&store, "_delta_log/_last_checkpoint", deep.clone()).await;
    assert_eq!(read(&store).await.unwrap(), [1, 2, 3, 4]);
    let filtered = handle(&store)
        .await
        .snapshot()
        .scan()
        .filter(col("id").gt(3))
        .collect()
        .await;
    assert_eq!(
        filtered
            .unwrap()
            .iter()
            .map(RecordBatch::num_rows)
            .sum::<usize>(),
        1
    );
    let schema = format!("{{\"type\":\"struct\",\"fields\":{deep}}}");
    commit(&store, 0, text(&[protocol(1, 2), metadata(&schema)])).await;
    assert_eq!(refusal(&store).await.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn h_4_a_huge_line_is_refused_or_read() {
    // 65 MiB of one text: more than a line may have.
    let huge = unknown(&format!("\"{}\"", "x".repeat(65 << 20)));
    let error = refusal_of(huge).await;
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Corrupt, Code::LimitExceeded),
        "{error:?}"
    );
    assert_eq!(error.context_value("version"), Some("1"));
    assert!(full_text(&error).len() < 2_000);

    let store = Faulty::default();
    table_of_three(&store).await;
    let large = unknown(&format!("\"{}\"", "x".repeat(8 << 20)));
    commit(&store, 2, large).await;
    assert_eq!(read(&store).await.unwrap(), [1, 2, 3]);
}

#[tokio::test]
async fn h_4_many_tiny_lines_are_refused_or_read() {
    let store = Faulty::default();
    table_of_three(&store).await;
    let file = parquet(4..=4);
    place(&store, "b.parquet", file.clone()).await;
    let mut lines = "{}\n".repeat(200_000);
    lines.push_str(&"\r\n \n".repeat(200_000));
    lines.push_str(&text(&[add("b.parquet", file.len())]));
    commit(&store, 2, lines).await;
    assert_eq!(read(&store).await.unwrap(), [1, 2, 3, 4]);

    let error = refusal_of("{}\n".repeat((8 << 20) + 1)).await;
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Corrupt, Code::LimitExceeded),
        "{error:?}"
    );
}

#[tokio::test]
async fn h_4_bytes_that_are_no_json_are_corrupt() {
    let line = text(&[add("a.parquet", parquet(1..=3).len())]);
    let mut latin = line.clone().into_bytes();
    let at = latin.iter().position(|byte| *byte == b'p').unwrap();
    latin[at] = 0xe9;
    let size = parquet(1..=3).len();
    let with = |from: &str, to: &str| {
        assert!(line.contains(from), "{line}");
        line.replace(from, to).into_bytes()
    };
    let number = format!("\"size\":{size}");
    for (what, bytes) in [
        (
            "a byte order mark",
            [b"\xef\xbb\xbf", line.as_bytes()].concat(),
        ),
        (
            "UTF-16",
            line.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ),
        ("not UTF-8", latin),
        ("a NUL", [line.as_bytes(), b"\0"].concat()),
        ("a NUL line", [line.as_bytes(), b"\0\n"].concat()),
        ("a NUL within", with("a.parquet", "a\0.parquet")),
        ("a lone surrogate", with("a.parquet", "\\ud800.parquet")),
        ("half a pair", with("a.parquet", "\\udc00\\ud800.parquet")),
        ("1e400", with(&number, "\"size\":1e400")),
        ("-1e400", with(&number, "\"size\":-1e400")),
        ("NaN", with(&number, "\"size\":NaN")),
        ("a float", with(&number, "\"size\":10.5")),
        (
            "a hundred digits",
            with(&number, &format!("\"size\":{}", "9".repeat(100))),
        ),
        ("a key twice", with(&number, &format!("{number},{number}"))),
        (
            "two values",
            [line.trim_end().as_bytes(), line.as_bytes()].concat(),
        ),
        ("an array", format!("[{}]", line.trim_end()).into_bytes()),
        ("half a line", line.as_bytes()[..line.len() / 2].to_vec()),
        ("nothing", Vec::new()),
        ("white space", b" \n\t\n".to_vec()),
        ("a number", b"7\n".to_vec()),
    ] {
        let error = refusal_of(bytes).await;
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::Corrupt, Code::CorruptCommit),
            "{what}"
        );
        assert_eq!(error.context_value("version"), Some("1"), "{what}");
    }
    // In what nobody reads, odd numbers do no harm.
    let store = Faulty::default();
    table_of_three(&store).await;
    commit(
        &store,
        2,
        unknown("[1e400,-1e400,1e-400,123456789012345678901234567890]"),
    )
    .await;
    assert_eq!(read(&store).await.unwrap(), [1, 2, 3]);
}

#[tokio::test]
async fn h_5_schemas_that_cannot_be_are_refused() {
    let field = |name: &str, ty: &str| {
        format!(r#"{{"name":"{name}","type":{ty},"nullable":true,"metadata":{{}}}}"#)
    };
    let of = |fields: &str| format!(r#"{{"type":"struct","fields":[{fields}]}}"#);
    let mut deep = "\"long\"".to_owned();
    for _ in 0..10_000 {
        deep = format!(r#"{{"type":"array","elementType":{deep},"containsNull":true}}"#);
    }
    let mut structs = "\"long\"".to_owned();
    for _ in 0..3_000 {
        structs = of(&field("a", &structs));
    }
    let many: Vec<String> = (0..200_000)
        .map(|n| field(&format!("c{n}"), "\"long\""))
        .collect();
    for (what, schema) in [
        ("deep lists", of(&field("id", &deep))),
        ("deep structs", structs),
        ("many columns", of(&many.join(","))),
        (
            "names that differ in case",
            of(&format!(
                "{},{}",
                field("id", "\"long\""),
                field("ID", "\"long\"")
            )),
        ),
        (
            "a decimal of 200 digits",
            of(&field("id", "\"decimal(200,300)\"")),
        ),
        (
            "a decimal of -1 digits",
            of(&field("id", "\"decimal(-1,0)\"")),
        ),
        ("a type that is a number", of(&field("id", "7"))),
        ("a top level that is no struct", "\"long\"".to_owned()),
        ("no JSON", "struct<id:long>".to_owned()),
        ("nothing", String::new()),
    ] {
        let store = Faulty::default();
        table_of_three(&store).await;
        commit(&store, 0, text(&[protocol(1, 2), metadata(&schema)])).await;
        let error = refusal(&store).await;
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error:?}");
        assert!(full_text(&error).len() < 4_000, "{what}");
    }
    // A type of the future is refused by its name.
    let store = Faulty::default();
    table_of_three(&store).await;
    let schema = of(&field("id", "\"hypercube\""));
    commit(&store, 0, text(&[protocol(1, 2), metadata(&schema)])).await;
    let error = refusal(&store).await;
    assert!(full_text(&error).contains("hypercube"), "{error:?}");
}

#[tokio::test]
async fn h_6_numbers_at_the_ends_of_64_bits_do_not_wrap() {
    let of_size = |size: Json| {
        let mut action = add("a.parquet", 0);
        action["add"]["size"] = size;
        text(&[action])
    };
    let error = refusal_of(of_size(json!(-1))).await;
    assert_eq!(error.code(), Code::CorruptCommit);
    let error = refusal_of(of_size(json!(i64::MIN))).await;
    assert_eq!(error.code(), Code::CorruptCommit);
    let error = refusal_of(of_size(json!(i64::MAX))).await;
    assert_eq!(
        error.code(),
        Code::DataCorrupt,
        "its size is another: {error:?}"
    );
    let error = refusal_of(of_size(json!(u64::MAX))).await;
    assert_eq!(error.code(), Code::CorruptCommit);

    // Sums of sizes and rows beyond 64 bits.
    let store = Faulty::default();
    table_of_three(&store).await;
    let mut actions = Vec::new();
    for name in ["x", "y", "z"] {
        let mut action = add(name, 0);
        action["add"]["size"] = json!(i64::MAX);
        action["add"]["stats"] = format!("{{\"numRecords\":{}}}", i64::MAX).into();
        actions.push(action);
    }
    commit(&store, 2, text(&actions)).await;
    match handle(&store).await.snapshot().sums().await {
        Ok(sums) => assert!(i64::MAX as u64 <= sums.bytes, "{sums:?}"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt),
    }

    // Records, nulls and vectors that say what cannot be.
    for stats in [
        r#"{"numRecords":-1}"#,
        r#"{"numRecords":99999999999999999999}"#,
        r#"{"numRecords":1.5}"#,
        r#"{"numRecords":"3"}"#,
        r#"{"numRecords":null}"#,
    ] {
        let store = Faulty::default();
        table_of_three(&store).await;
        let mut action = add("a.parquet", parquet(1..=3).len());
        action["add"]["stats"] = stats.into();
        commit(&store, 1, text(&[action])).await;
        assert_eq!(read(&store).await.unwrap(), [1, 2, 3], "{stats}");
        let sums = handle(&store).await.snapshot().sums().await.unwrap();
        assert_eq!((sums.files, sums.rows), (1, None), "{stats}");
    }
}

#[tokio::test]
async fn h_7_odd_statistics_prune_nothing_and_break_nothing() {
    let file = parquet(1..=3);
    for stats in [
        "",
        "null",
        "7",
        "{",
        "[]",
        "\u{0}",
        r#"{"numRecords":3,"minValues":7,"maxValues":[],"nullCount":"x"}"#,
        r#"{"numRecords":3,"minValues":{"id":"1"},"maxValues":{"id":{"x":1}},"nullCount":{"id":[]}}"#,
        r#"{"numRecords":3,"minValues":{"id":9},"maxValues":{"id":1},"nullCount":{"id":0}}"#,
        r#"{"numRecords":3,"minValues":{"id":100},"maxValues":{"id":200},"nullCount":{"id":9}}"#,
        r#"{"numRecords":3,"minValues":{"id":"NaN"},"maxValues":{"id":"Infinity"}}"#,
        r#"{"numRecords":3,"minValues":{"id":1e400},"maxValues":{"id":-1e400}}"#,
        r#"{"numRecords":3,"minValues":{"id":true},"maxValues":{"id":false}}"#,
        r#"{"numRecords":3,"minValues":{"id":100,"id":200},"maxValues":{"id":300,"id":400}}"#,
        r#"{"numRecords":3,"minValues":{"id":99999999999999999999},"maxValues":{"id":999999999999999999999}}"#,
        r#"{"numRecords":3,"nullCount":{"id":-3}}"#,
        r#"{"numRecords":3,"nullCount":{"id":4}}"#,
        r#"{"numRecords":3,"nullCount":{"id":3},"minValues":{"id":1},"maxValues":{"id":3}}"#,
        r#"{"numRecords":3,"tightBounds":"no","nullCount":{"id":2}}"#,
    ] {
        let store = Faulty::default();
        table_of_three(&store).await;
        let mut action = add("a.parquet", file.len());
        action["add"]["stats"] = stats.into();
        commit(&store, 1, text(&[action])).await;
        for checkpoint in [false, true] {
            if checkpoint {
                handle(&store).await.checkpoint().await.unwrap();
            }
            let snapshot = handle(&store).await.snapshot();
            for (condition, expected) in [
                ("id = 2", 1),
                ("id >= 1", 3),
                ("id < 3", 2),
                ("id IS NOT NULL", 3),
                ("id IS NULL", 0),
                ("id IN (1, 3)", 2),
                ("NOT id = 2", 2),
            ] {
                for pruning in [Pruning::On, Pruning::Off] {
                    let scan = snapshot
                        .scan()
                        .filter_sql(condition)
                        .unwrap()
                        .pruning(pruning);
                    let rows = scan.collect().await.unwrap();
                    let rows: usize = rows.iter().map(RecordBatch::num_rows).sum();
                    assert_eq!(
                        rows, expected,
                        "{condition} with {stats}, checkpoint {checkpoint}"
                    );
                }
            }
            let explained = snapshot
                .scan()
                .filter(col("id").eq(2))
                .explain()
                .await
                .unwrap();
            assert_eq!(explained[0].verdict, Verdict::Kept, "{stats}");
        }
    }
}

#[tokio::test]
async fn h_7_dates_and_times_out_of_range_prune_nothing() {
    let schema = r#"{"type":"struct","fields":[
        {"name":"id","type":"long","nullable":true,"metadata":{}},
        {"name":"d","type":"date","nullable":true,"metadata":{}},
        {"name":"t","type":"timestamp","nullable":true,"metadata":{}}]}"#;
    for bound in [
        "0000-00-00",
        "99999-12-31",
        "2013-02-30",
        "2013-13-01",
        "yesterday",
        "2013-01-01T25:00:00Z",
        "",
    ] {
        let store = Faulty::default();
        let file = parquet(1..=3);
        let mut action = add("a.parquet", file.len());
        let bounds = json!({"d": bound, "t": bound});
        let stats = json!({"numRecords": 3, "minValues": bounds, "maxValues": bounds});
        action["add"]["stats"] = stats.to_string().into();
        commit(&store, 0, text(&[protocol(1, 2), metadata(schema), action])).await;
        place(&store, "a.parquet", file).await;
        let snapshot = handle(&store).await.snapshot();
        for condition in [
            "d IS NULL",
            "t IS NULL",
            "NOT (d = DATE '2013-01-01') OR id > 0",
        ] {
            let rows = snapshot
                .scan()
                .filter_sql(condition)
                .unwrap()
                .collect()
                .await
                .unwrap();
            let rows: usize = rows.iter().map(RecordBatch::num_rows).sum();
            assert_eq!(rows, 3, "{condition} with {bound}");
        }
    }
}

#[tokio::test]
async fn h_12_protocols_that_contradict_themselves_are_refused() {
    let features = |reader: i64, writer: i64, readers: Json, writers: Json| {
        let mut action = protocol(reader, writer);
        for (key, list) in [("readerFeatures", readers), ("writerFeatures", writers)] {
            if !list.is_null() {
                action["protocol"][key] = list;
            }
        }
        action
    };
    let none = || Json::Null;
    for action in [
        protocol(0, 2),
        protocol(-1, 2),
        protocol(1, 0),
        protocol(1, -7),
        protocol(i64::from(i32::MAX), 7),
        protocol(1 << 40, 7),
        protocol(3, 7),
        protocol(4, 7),
        protocol(1, 8),
        features(1, 2, json!(["deletionVectors"]), none()),
        features(1, 7, json!(["deletionVectors"]), json!(["deletionVectors"])),
        features(3, 7, none(), json!([])),
        features(3, 7, json!([]), none()),
        features(3, 6, json!([]), json!([])),
        features(3, 7, json!(["deletionVectors"]), json!([])),
        features(3, 7, json!("deletionVectors"), json!(["deletionVectors"])),
        features(3, 7, json!([7]), json!([7])),
        json!({"protocol": {}}),
        json!({"protocol": {"minReaderVersion": 1}}),
        json!({"protocol": {"minReaderVersion": "1", "minWriterVersion": "2"}}),
        json!({"protocol": []}),
    ] {
        let store = Faulty::default();
        table_of_three(&store).await;
        let opened = async {
            commit(&store, 0, text(&[action.clone(), metadata(SCHEMA)])).await;
            let table = handle_or_error(&store).await?;
            // What only writers must obey is refused when something is written.
            let ids = std::sync::Arc::new(Int64Array::from(vec![4]));
            table
                .append(RecordBatch::try_from_iter([("id", ids as _)]).unwrap())
                .await
                .map(drop)
        };
        let error = opened.await.expect_err(&action.to_string());
        assert!(
            matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported),
            "{action}: {error:?}"
        );
    }
    let unheard = features(3, 7, json!(["telepathy"]), json!(["telepathy"]));
    let store = Faulty::default();
    table_of_three(&store).await;
    commit(&store, 0, text(&[unheard, metadata(SCHEMA)])).await;
    let error = refusal(&store).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("telepathy"), "{error}");
}

async fn handle_or_error(store: &Faulty) -> headwater::Result<Table> {
    crate::support::open(store).await
}
