//! Scoring: every source row is scored once, whatever dies and whoever competes.

use std::sync::Arc;

use headwater::environment::Environment;
use headwater::feed::{Cursor, FollowOptions, FollowStart, ScoringFeed};
use headwater::{CommitStatus, ErrorKind, Result, Table};
use object_store::memory::InMemory;

use super::crash::Mortal;
use super::events::Events;
use super::{flights, ids_in, rows, scanned, schema};
use crate::support::hasty;
use crate::support::store::Faulty;

/// Source and sink in two stores.
async fn tables() -> (Faulty, Faulty, Table, Table) {
    let (from, to) = (Faulty::default(), Faulty::default());
    let source = flights(&from, &["day"]).await;
    let sink = flights(&to, &[]).await;
    for first in [0, 10, 20] {
        source.append(rows(first..first + 10)).await.unwrap();
    }
    (from, to, source, sink)
}

fn small() -> FollowOptions {
    FollowOptions {
        files_max: 2,
        ..FollowOptions::default()
    }
}

/// What the newest version of the sink says of where its rows come from.
async fn lineage(sink: &Table) -> serde_json::Value {
    let history = sink.snapshot().history(1).await.unwrap();
    let parameters = history[0].info.operation_parameters.clone().unwrap();
    let text: String = serde_json::from_str(parameters["lineage"].text()).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Scores what there is; the score of a row is the row.
async fn score(feed: &mut ScoringFeed) -> Result<()> {
    while let Some(input) = feed.next().await? {
        feed.commit(&input, input.collect().await?).await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_row_is_scored_once_and_restarts_go_on_from_the_sink() {
    let (_from, _to, source, sink) = tables().await;
    for round in 0..3 {
        let mut feed = source.score_into(&sink, "late", small()).model("late@3");
        score(&mut feed).await.unwrap();
        assert_eq!(
            scanned(&sink.snapshot()).await,
            (0..30 + round).collect::<Vec<_>>()
        );
        source.append(rows([30 + round])).await.unwrap();
    }
    let lineage = lineage(&sink).await;
    assert_eq!(lineage["model"], "late@3");
    assert_eq!(lineage["sourceVersion"], 5);
    assert_eq!(lineage["source"], source.snapshot().metadata().id.as_str());
    // Another application scores everything anew.
    score(&mut source.score_into(&sink, "other", small()))
        .await
        .unwrap();
    assert_eq!(scanned(&sink.snapshot()).await.len(), 32 + 33);
}

#[tokio::test]
async fn j_1_an_input_that_is_committed_again_is_already_applied() {
    let (_from, _to, source, sink) = tables().await;
    let mut feed = source.score_into(&sink, "late", small());
    let input = feed.next().await.unwrap().unwrap();
    // Not committed: it comes again.
    let again = feed.next().await.unwrap().unwrap();
    assert_eq!((input.begin(), input.end()), (again.begin(), again.end()));
    let output = input.collect().await.unwrap();
    let first = feed.commit(&input, output.clone()).await.unwrap();
    assert_eq!(first.status, CommitStatus::Committed);
    for late in [&input, &again] {
        let second = feed.commit(late, output.clone()).await.unwrap();
        assert_eq!(second.status, CommitStatus::AlreadyApplied);
    }
    score(&mut feed).await.unwrap();
    assert_eq!(scanned(&sink.snapshot()).await, (0..30).collect::<Vec<_>>());
}

/// J-1: the first of two inputs is committed after the second was handed out, which reaches further.
#[tokio::test]
async fn j_1_rows_of_a_later_input_come_again_after_an_earlier_one_was_committed() {
    let (_from, _to, source, sink) = tables().await;
    let wide = FollowOptions::default;
    let mut feed = source.score_into(&sink, "late", wide());
    for first in [30, 40] {
        let early = feed.next().await.unwrap().unwrap();
        source.append(rows(first..first + 5)).await.unwrap();
        let later = feed.next().await.unwrap().unwrap();
        assert_eq!(early.begin(), later.begin());
        assert!(early.end() < later.end());
        source.append(rows(first + 5..first + 10)).await.unwrap();
        let commit = feed.commit(&early, early.collect().await.unwrap()).await;
        assert_eq!(commit.unwrap().status, CommitStatus::Committed);
    }
    score(&mut feed).await.unwrap();
    assert_eq!(scanned(&sink.snapshot()).await, (0..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn j_2_a_scorer_that_cuts_inputs_otherwise_doubles_nothing() {
    let (_from, _to, source, sink) = tables().await;
    let mut one = source.score_into(&sink, "late", small());
    let wide = FollowOptions {
        files_max: 5,
        ..FollowOptions::default()
    };
    let mut other = source.score_into(&sink, "late", wide);
    let (short, long) = (
        one.next().await.unwrap().unwrap(),
        other.next().await.unwrap().unwrap(),
    );
    assert!(short.end() < long.end());
    one.commit(&short, short.collect().await.unwrap())
        .await
        .unwrap();
    let lost = other
        .commit(&long, long.collect().await.unwrap())
        .await
        .unwrap();
    assert_eq!(lost.status, CommitStatus::AlreadyApplied);
    score(&mut other).await.unwrap();
    assert_eq!(scanned(&sink.snapshot()).await, (0..30).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j_7_two_scorers_with_one_app_id_never_double() {
    let (_from, to, source, sink) = tables().await;
    let mut tasks = Vec::new();
    for files_max in [1, 2, 3, 4] {
        let (source, sink) = (source.clone(), crate::support::open(&to).await.unwrap());
        tasks.push(tokio::spawn(async move {
            let options = FollowOptions {
                files_max,
                ..FollowOptions::default()
            };
            let mut feed = source.score_into(&sink, "late", options);
            for _ in 0..40 {
                score(&mut feed).await.unwrap();
                tokio::task::yield_now().await;
            }
        }));
    }
    for first in 3..20 {
        source
            .append(rows(first * 10..first * 10 + 10))
            .await
            .unwrap();
    }
    for task in tasks {
        task.await.unwrap();
    }
    score(&mut source.score_into(&sink, "late", small()))
        .await
        .unwrap();
    sink.refresh().await.unwrap();
    assert_eq!(
        scanned(&sink.snapshot()).await,
        (0..200).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn an_input_without_output_moves_the_cursor_and_so_does_saving() {
    let (from, _to, source, sink) = tables().await;
    let mut feed = source.score_into(&sink, "late", FollowOptions::default());
    let input = feed.next().await.unwrap().unwrap();
    feed.commit(&input, Vec::new()).await.unwrap();
    assert!(feed.next().await.unwrap().is_none());
    assert_eq!(
        feed.cursor().await.unwrap(),
        Some(Cursor::through(3).unwrap())
    );
    assert!(feed.save().await.unwrap().is_none());
    super::compact(&from, &source).await;
    assert!(feed.next().await.unwrap().is_none());
    assert!(feed.save().await.unwrap().is_some());
    assert_eq!(
        feed.cursor().await.unwrap(),
        Some(Cursor::through(4).unwrap())
    );
    // Where nothing was scored yet, too: else the log is cleaned up beyond where it began.
    let since = FollowOptions {
        start: FollowStart::Version(4),
        ..FollowOptions::default()
    };
    let mut feed = source.score_into(&sink, "since", since);
    assert!(feed.save().await.unwrap().is_none());
    assert!(feed.next().await.unwrap().is_none());
    assert!(feed.save().await.unwrap().is_some());
    let saved = feed.cursor().await.unwrap();
    assert_eq!(saved, Some(Cursor::through(4).unwrap()));
}

#[tokio::test]
async fn where_it_begins_does_not_move_with_a_restart() {
    let (_from, _to, source, sink) = tables().await;
    let latest = FollowOptions {
        start: FollowStart::Latest,
        ..FollowOptions::default()
    };
    let mut feed = source.score_into(&sink, "late", latest.clone());
    assert!(feed.next().await.unwrap().is_none());
    source.append(rows(30..35)).await.unwrap();
    score(&mut source.score_into(&sink, "late", latest))
        .await
        .unwrap();
    assert_eq!(
        scanned(&sink.snapshot()).await,
        (30..35).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_pinned_version_is_scored_as_a_batch_and_says_its_digest() {
    let (_from, _to, source, sink) = tables().await;
    for _ in 0..2 {
        let pinned = FollowOptions {
            until: Some(2),
            ..small()
        };
        let mut feed = source
            .score_into(&sink, "batch", pinned)
            .model("late@1")
            .model_digest("0123abcd");
        score(&mut feed).await.unwrap();
        assert_eq!(scanned(&sink.snapshot()).await, (0..20).collect::<Vec<_>>());
    }
    let lineage = lineage(&sink).await;
    let digest = source.snapshot_at(2).await.unwrap().digest().await.unwrap();
    assert_eq!(lineage["modelDigest"], "0123abcd");
    assert_eq!(lineage["sourceDigest"], digest.to_string());
    assert_eq!(lineage["sourceVersion"], 2);
}

#[tokio::test]
async fn a_sink_that_forgets_is_refused() {
    let source = flights(&Faulty::default(), &[]).await;
    let store = Faulty::default();
    let sink = Table::create_in(
        crate::support::storage(&store),
        Environment::system(),
        schema(),
    )
    .property("delta.setTransactionRetentionDuration", "interval 1 days")
    .await
    .unwrap();
    let refused = source
        .score_into(&sink, "late", small())
        .next()
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}

/// One life of a scorer: it opens both tables, scores what there is, and perhaps dies.
async fn live(store: &Mortal, environment: &Environment) -> Result<()> {
    let open = async |folder| {
        Table::open_in(store.storage(folder, environment), environment.clone()).await
    };
    let (source, sink) = (open("source").await?, open("sink").await?);
    let scored = score(&mut source.score_into(&sink, "late", small())).await;
    sink.close().await;
    scored
}

#[tokio::test]
async fn j_8_a_scorer_that_dies_at_any_request_loses_and_doubles_nothing() {
    let mut deaths = 0;
    for carries_out_the_last in [false, true] {
        for requests in 0.. {
            let inner = Arc::new(InMemory::new());
            let immortal = Mortal::new(&inner, i64::MAX / 2, false);
            let environment = hasty::environment();
            let create = async |folder| {
                let storage = immortal.storage(folder, &environment);
                Table::create_in(storage, environment.clone(), schema())
                    .await
                    .unwrap()
            };
            let (source, sink) = (create("source").await, create("sink").await);
            source.append(rows(0..5)).await.unwrap();
            source.append(rows(5..9)).await.unwrap();
            source.append(rows(9..12)).await.unwrap();
            // The first life sees a snapshot; the others see what was added to it.
            let mortal = Mortal::new(&inner, requests, carries_out_the_last);
            let first = live(&mortal, &environment).await;
            source.append(rows(12..14)).await.unwrap();
            let second = Mortal::new(&inner, requests / 2, !carries_out_the_last);
            let _ = live(&second, &environment).await;
            live(&immortal, &environment).await.unwrap();
            let scored = sink
                .refresh()
                .await
                .unwrap()
                .scan()
                .collect()
                .await
                .unwrap();
            let mut ids = ids_in(&scored);
            ids.sort_unstable();
            assert_eq!(
                ids,
                (0..14).collect::<Vec<_>>(),
                "died at request {requests}"
            );
            if first.is_ok() && 0 <= mortal.left() {
                break;
            }
            deaths += 1;
        }
    }
    assert!(30 < deaths, "{deaths}");
}

/// D-12: a sink keeps its cursors for ever, unless it says otherwise; one that forgets them soon is refused.
#[tokio::test]
async fn d_12_a_sink_that_soon_forgets_its_cursors_is_refused() {
    let (_from, _to, source, sink) = tables().await;
    let mut feed = source.score_into(&sink, "late", small());
    score(&mut feed).await.unwrap();
    sink.checkpoint().await.unwrap();
    assert_eq!(sink.snapshot().txns().len(), 1);
    let retention = "delta.setTransactionRetentionDuration";
    sink.alter()
        .set_property(retention, "interval 1 days")
        .await
        .unwrap();
    let refused = source
        .score_into(&sink, "late", small())
        .next()
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.message().contains(retention), "{refused}");
    sink.alter()
        .set_property(retention, "interval 30 days")
        .await
        .unwrap();
    source.append(rows(100..101)).await.unwrap();
    // One that keeps them longer is warned of, once however often it is asked.
    let (events, _listening) = Events::listen("cursor_expires");
    let mut feed = source.score_into(&sink, "late", small());
    score(&mut feed).await.unwrap();
    assert!(feed.next().await.unwrap().is_none());
    assert_eq!(events.count(), 1);
    assert_eq!(scanned(&sink.refresh().await.unwrap()).await.len(), 31);
}
