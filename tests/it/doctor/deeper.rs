//! What only a close look shows: checksums and checkpoints field by field, and numbers that make scans lose rows.

use super::*;

type Change = fn(&mut Value);

#[tokio::test]
async fn b_19_each_field_of_a_checksum_is_held_against_the_log() {
    let store = Faulty::default();
    let table = sound(&store).await;
    let protocol = commit(&store, 0)
        .await
        .into_iter()
        .find_map(|action| action.get("protocol").cloned());
    let metadata = commit(&store, 0)
        .await
        .into_iter()
        .find_map(|action| action.get("metaData").cloned());
    let (protocol, metadata) = (protocol.unwrap(), metadata.unwrap());
    let sums = table.snapshot().sums().await.unwrap();
    let sound_sum = json!({
        "tableSizeBytes": sums.bytes, "numFiles": sums.files, "numMetadata": 1, "numProtocol": 1,
        "metadata": metadata, "protocol": protocol, "domainMetadata": [],
        "setTransactions": [{"appId": "loader", "version": 20}],
        "numDeletedRecordsOpt": 1, "numDeletionVectorsOpt": 1,
    });
    let key = log(&format!("{:020}.crc", 5));
    store.place(&key, sound_sum.to_string()).await;
    assert_eq!(found(&store).await, []);
    let changes: [(&str, Change); 12] = [
        ("number of files", |sum| sum["numFiles"] = json!(1)),
        ("bytes", |sum| sum["tableSizeBytes"] = json!(1)),
        ("protocol or metaData", |sum| sum["numProtocol"] = json!(2)),
        ("metadata", |sum| {
            sum["metadata"]["configuration"]["delta.appendOnly"] = json!("true")
        }),
        ("metadata", |sum| {
            sum["metadata"]["partitionColumns"] = json!([])
        }),
        ("protocol", |sum| {
            sum["protocol"]["writerFeatures"] = json!(["appendOnly"])
        }),
        ("transaction numbers", |sum| {
            sum["setTransactions"][0]["version"] = json!(19)
        }),
        ("transaction numbers", |sum| {
            sum["setTransactions"] = json!([])
        }),
        (
            "metadata domains",
            |sum| {
                sum["domainMetadata"] =
                    json!([{"domain": "a", "configuration": "{}", "removed": false}])
            },
        ),
        ("list of files", |sum| sum["allFiles"] = json!([])),
        ("deletion vectors", |sum| {
            sum["numDeletedRecordsOpt"] = json!(0)
        }),
        ("deletion vectors", |sum| {
            sum["numDeletionVectorsOpt"] = json!(7)
        }),
    ];
    for (what, change) in changes {
        let mut wrong = sound_sum.clone();
        change(&mut wrong);
        store.place(&key, wrong.to_string()).await;
        let report = examine(&store).await;
        let [finding] = report.findings.as_slice() else {
            panic!("{what}: {report:#?}");
        };
        assert_eq!(
            (finding.grade, finding.code),
            (Grade::Damage, "checksum_differs")
        );
        assert!(finding.message.contains(what), "{what}: {finding}");
    }
}

#[tokio::test]
async fn f_9_a_number_of_rows_that_makes_scans_lose_some_is_graded_so() {
    for said in [0, 1] {
        let store = Faulty::default();
        sound(&store).await;
        change_adds(&store, 5, |add| {
            with_stats(add, |stats| stats["numRecords"] = json!(said))
        })
        .await;
        assert_finds(&store, Grade::Rows, "row_count").await;
    }
    let store = Faulty::default();
    sound(&store).await;
    change_adds(&store, 5, |add| {
        with_stats(add, |stats| stats["numRecords"] = json!(-1))
    })
    .await;
    assert_finds(&store, Grade::Damage, "statistics").await;
}

#[tokio::test]
async fn f_7_a_file_replaced_by_another_valid_one_of_its_size() {
    let store = Faulty::default();
    let table = Table::create_in(storage(&store), Environment::system(), schema());
    let table = table.await.unwrap();
    table.append(rows(100..120)).await.unwrap();
    table.append(rows(200..220)).await.unwrap();
    let (one, other) = (data_key(&store, 1).await, data_key(&store, 2).await);
    let (bytes, others) = (store.bytes(&one).await, store.bytes(&other).await);
    assert_eq!(bytes.len(), others.len(), "numbers as long as each other");
    store.place(&one, others).await;
    assert_finds(&store, Grade::Rows, "changed_file").await;
    store.place(&one, bytes).await;
    assert_eq!(found(&store).await, []);
}

#[tokio::test]
async fn f_4_a_deletion_vector_on_disk_that_was_flipped() {
    let store = Faulty::default();
    let table = Table::create_in(storage(&store), Environment::system(), schema())
        .property("delta.enableDeletionVectors", "true")
        .await
        .unwrap();
    table.append(rows(0..4_000)).await.unwrap();
    let scattered = headwater::predicate::Predicate::parse("id % 3 = 1");
    table.delete(scattered.unwrap()).await.unwrap();
    assert_eq!(found(&store).await, []);
    let paths = store.paths().await;
    let vector = paths.iter().find(|path| path.ends_with(".bin")).unwrap();
    let vector = Path::parse(vector).unwrap();
    let sound = store.bytes(&vector).await;
    for at in [sound.len() / 2, sound.len() - 1] {
        let mut flipped = sound.to_vec();
        flipped[at] ^= 1;
        store.place(&vector, flipped).await;
        assert_finds(&store, Grade::Rows, "deletion_vector").await;
    }
    store.remove(&vector).await;
    assert_finds(&store, Grade::Rows, "deletion_vector").await;
}

#[tokio::test]
async fn b_8_a_checkpoint_that_is_empty_or_was_flipped() {
    let store = Faulty::default();
    let table = sound(&store).await;
    table.checkpoint().await.unwrap();
    assert_eq!(found(&store).await, []);
    let whole = store.bytes(&checkpoint(5)).await;
    store.place(&checkpoint(5), "").await;
    assert!(!found(&store).await.is_empty());
    let mut flipped = whole.to_vec();
    let at = flipped.len() - 20;
    flipped[at] ^= 0xff;
    store.place(&checkpoint(5), flipped).await;
    assert!(!found(&store).await.is_empty());
}

#[tokio::test]
async fn b_14_a_checkpoint_that_knows_an_application_that_never_was() {
    let store = Faulty::default();
    sound(&store).await;
    replace_checkpoint(&store, 5, async |store| {
        let mut actions = commit(store, 3).await;
        actions.push(json!({"txn": {"appId": "ghost", "version": 7}}));
        rewrite(store, 3, actions).await;
    })
    .await;
    assert_finds(&store, Grade::Rows, "checkpoint_differs").await;
}

#[tokio::test]
async fn b_14_a_checkpoint_that_says_another_number_of_rows() {
    let store = Faulty::default();
    sound(&store).await;
    replace_checkpoint(&store, 5, async |store| {
        change_adds(store, 5, |add| {
            with_stats(add, |stats| stats["numRecords"] = json!(0))
        })
        .await;
    })
    .await;
    assert_finds(&store, Grade::Rows, "checkpoint_differs").await;
}

#[tokio::test]
async fn b_14_a_checkpoint_that_says_more_of_values_than_the_commits_did() {
    let changes: [(bool, Change); 7] = [
        (true, |stats| stats["minValues"]["id"] = json!(31)),
        (true, |stats| stats["maxValues"]["id"] = json!(31)),
        (true, |stats| stats["nullCount"]["id"] = json!(1)),
        // Who says less prunes less, and that is all.
        (false, |stats| stats["minValues"]["id"] = json!(29)),
        (false, |stats| stats["maxValues"]["id"] = json!(40)),
        (false, |stats| drop(stats["minValues"].take())),
        (false, |stats| drop(stats["nullCount"].take())),
    ];
    for (turn, (is_bolder, change)) in changes.into_iter().enumerate() {
        let store = Faulty::default();
        sound(&store).await;
        replace_checkpoint(&store, 5, async |store| {
            change_adds(store, 5, |add| with_stats(add, change)).await;
        })
        .await;
        if is_bolder {
            let report = examine(&store).await;
            let mut findings = report.findings.iter();
            let finding = findings.find(|finding| finding.message.contains("narrower bounds"));
            let finding = finding.unwrap_or_else(|| panic!("{turn}: {report:#?}"));
            assert_eq!(
                (finding.grade, finding.code),
                (Grade::Rows, "checkpoint_differs")
            );
        } else {
            assert_eq!(found(&store).await, [], "{turn}");
        }
    }
}
