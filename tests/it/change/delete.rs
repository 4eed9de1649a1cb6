//! Delete.

use headwater::ErrorKind;
use headwater::predicate::{Predicate, col};
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::{Code, Table};

use super::{assert_is, assert_status, cases};
use crate::pruning::check;
use crate::pruning::conditions::conditions;
use crate::support::store::Faulty;
use crate::support::{block_on, ids, ids_of};

#[test]
fn p72_deletes_leave_what_an_interpreter_of_rows_leaves() {
    let conditions = proptest::collection::vec(conditions(), 3);
    check(24, (cases(), conditions), |(case, conditions)| {
        block_on(async {
            let store = Faulty::default();
            let (table, mut rows) = case.build(&store).await;
            for condition in &conditions {
                let before = rows.len();
                rows.retain(|row| condition.holds(row) != Some(true));
                let commit = table.delete(condition.predicate()).await.unwrap();
                let gone = (before - rows.len()) as u64;
                assert_eq!(commit.rows_deleted, gone, "{}", condition.predicate());
                assert_status(&commit, 0 < gone);
                assert_is(&store, &rows).await;
            }
        });
    });
}

async fn table(name: &str, properties: &[(&str, &str)]) -> Table {
    let schema = Schema::new([Field::new("id", DataType::LONG, true)]).unwrap();
    let mut create = Table::create(&format!("memory:///change-delete/{name}"), schema);
    for (key, value) in properties {
        create = create.property(*key, *value);
    }
    create.await.unwrap()
}

/// PROTOCOL.md, "Append-only Tables".
#[tokio::test]
async fn an_append_only_table_keeps_its_rows() {
    let table = table("append-only", &[("delta.appendOnly", "true")]).await;
    table.append(ids(0..3)).await.unwrap();
    let refused = table.delete(col("id").gt(1)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused:?}");
    assert_eq!(refused.code(), Code::RowsRejected);
    let refused = table.update().set("id", 1_i64).await.unwrap_err();
    assert_eq!(refused.code(), Code::RowsRejected);
    let merge = table.merge(ids(0..1)).on(["id"]).when_matched_delete();
    assert_eq!(merge.await.unwrap_err().code(), Code::RowsRejected);
    assert_eq!(ids_of(&table.snapshot()).await.unwrap(), [0, 1, 2]);
}

#[tokio::test]
async fn files_that_hold_nothing_else_go_unread() {
    let table = table("whole", &[("delta.enableDeletionVectors", "true")]).await;
    for first in [0, 10, 20] {
        table.append(ids(first..first + 10)).await.unwrap();
    }
    let before = table.snapshot().version();
    let commit = table.delete(col("id").lt(20)).await.unwrap();
    assert_eq!((commit.rows_deleted, commit.files_removed), (20, 2));
    assert_eq!((commit.version, commit.files), (before + 1, 0));
    let all = table
        .delete(Predicate::parse("TRUE").unwrap())
        .await
        .unwrap();
    assert_eq!(all.rows_deleted, 10);
    assert_eq!(table.snapshot().sums().await.unwrap().files, 0);
}

#[tokio::test]
async fn a_file_whose_last_row_goes_is_removed() {
    let table = table("last", &[("delta.enableDeletionVectors", "true")]).await;
    table.append(ids([5, 1, 3])).await.unwrap();
    for (id, files) in [(1, 1), (5, 1), (3, 0)] {
        let commit = table.delete(col("id").eq(id)).await.unwrap();
        assert_eq!(commit.rows_deleted, 1);
        assert_eq!(table.snapshot().sums().await.unwrap().files, files);
    }
    let none = table.delete(col("id").eq(1)).await.unwrap();
    assert_eq!(none.status, headwater::CommitStatus::Unchanged);
}

/// Spark's names of operation, parameters and metrics.
#[tokio::test]
async fn history_says_what_was_deleted() {
    let table = table("history", &[]).await;
    table.append(ids([5, 1, 3])).await.unwrap();
    table.delete(col("id").eq(1)).await.unwrap();
    let entry = table.snapshot().history(1).await.unwrap().remove(0);
    assert_eq!(entry.info.operation.as_deref(), Some("DELETE"));
    assert_eq!(entry.info.is_blind_append, Some(false));
    let parameters = entry.info.operation_parameters.unwrap();
    let predicate: String = serde_json::from_str(parameters["predicate"].text()).unwrap();
    let predicate: Vec<String> = serde_json::from_str(&predicate).unwrap();
    let parsed = Predicate::parse(&predicate[0]).unwrap();
    assert_eq!(parsed.to_string(), col("id").eq(1).to_string());
    let metrics = entry.info.operation_metrics.unwrap();
    assert_eq!(metrics["numDeletedRows"].text(), r#""1""#);
    assert_eq!(metrics["numCopiedRows"].text(), r#""2""#);
}
