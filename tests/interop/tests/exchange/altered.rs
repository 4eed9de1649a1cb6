//! Tables of other engines that headwater changes: deletion vectors, constraints, generated columns, defaults, change
//! feeds, column mapping. Which rows there must be then is reckoned here, row by row, from the rows that stand beside
//! the table; other engines read them, and the change feeds are the differences of the versions.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use headwater::arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use headwater::arrow_schema::DataType as ArrowType;
use headwater::predicate::{Expression, Predicate};
use headwater::{Code, ErrorKind, Table};
use headwater_interop::Failure;
use headwater_interop::table::{self, text};
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::changed::Changed;
use crate::golden::golden;

/// A row as JSON.
type Row = Map<String, Value>;

/// Tables, a column of whole numbers to find rows by, and one to change; where there is none, the first is changed.
const TABLES: [(&str, &str, Option<&str>); 20] = [
    // With deletion vectors.
    ("golden-dv-with-columnmapping", "col1", Some("col2")),
    ("golden-log-replay-dv-key-cases", "id", None),
    ("kernel-cdf-table-with-cdc-and-dvs", "id", Some("comment")),
    ("kernel-table-with-dv-small", "value", None),
    ("kernel-with-short-dv", "id", Some("value")),
    ("rs-cdf-table-with-cdc-and-dvs", "id", Some("comment")),
    ("spark-dv_merge", "id", Some("v")),
    ("spark-v2cp_json", "a", None),
    ("spark-v2cp_parquet", "a", None),
    // With a constraint, a generated column and a default; with the features for them.
    ("spark-gen", "id", Some("k")),
    (
        "rs-table_with_partitioning_mapping",
        "newid",
        Some("description"),
    ),
    // With a change feed.
    ("kernel-cdf-column-mapping-id-mode", "id", Some("name")),
    ("kernel-cdf-table", "id", Some("name")),
    ("kernel-cdf-table-partitioned", "id", Some("text")),
    ("rs-cdf-table-non-partitioned", "id", Some("name")),
    ("rs-simple_table_with_cdc", "id", Some("name")),
    ("spark-cdf", "id", Some("v")),
    // With column mapping.
    ("spark-cm_id", "id", Some("w")),
    ("spark-cm_name", "id", Some("c")),
    // Small files of one partition each.
    ("kernel-basic_partitioned", "number", Some("letter")),
];

/// What keeps headwater from writing a table, by name.
const REFUSED: [(&str, &str, &str); 2] = [
    ("spark-dropf", "a", "checkpointProtection"),
    ("spark-rt", "id", "rowTracking"),
];

/// Where an engine is known to read wrongly, whoever wrote: see `golden.py`.
const WRONG: [(&str, &str); 1] = [("duckdb", "spark-cm_name")];

/// A table that is being changed, and the rows that it must have.
struct Altered {
    changed: Changed,
    name: &'static str,
    table: Table,
    key: &'static str,
    value: Option<&'static str>,
    /// Whether the column to change holds text.
    is_text: bool,
    rows: Vec<Row>,
    /// What was done.
    done: Vec<&'static str>,
}

impl Altered {
    async fn open(
        folder: &Path,
        (name, key, value): (&'static str, &'static str, Option<&'static str>),
    ) -> Result<Self, Failure> {
        let changed = Changed::new(&format!("altered-{name}"))?;
        table::copy(&folder.join(name).join("table"), &changed.place)?;
        let table = Table::open(&text(&changed.place)).await?;
        let version = table.snapshot().version();
        let stored = folder.join(name).join(format!("rows@{version}.ndjson"));
        let stored = fs::read_to_string(&stored)?;
        let rows: Result<Vec<Row>, _> = stored.lines().map(serde_json::from_str).collect();
        let rows = rows?;
        let is_text = value.is_some_and(|value| rows.iter().any(|row| row[value].is_string()));
        let mut altered = Self {
            changed,
            is_text,
            name,
            table,
            key,
            value,
            rows,
            done: Vec::new(),
        };
        altered.check("").await?;
        Ok(altered)
    }

    /// The keys, each once.
    fn keys(&self) -> BTreeSet<i64> {
        let keys = self.rows.iter().filter_map(|row| row[self.key].as_i64());
        keys.collect()
    }

    /// A key that so many keys are smaller than.
    fn key(&self, place: usize) -> Option<i64> {
        self.keys().into_iter().nth(place)
    }

    /// The smallest key that one row has.
    fn key_of_one(&self) -> Option<i64> {
        let has = |key: &i64| self.rows.iter().filter(|row| row[self.key] == *key).count() == 1;
        self.keys().into_iter().find(has)
    }

    fn condition(&self, key: i64) -> Result<Predicate, Failure> {
        Ok(Predicate::parse(&format!("`{}` = {key}", self.key))?)
    }

    /// A value that the column to change has nowhere, as it is in the rows.
    fn fresh(&self, mark: i64) -> Value {
        match self.is_text {
            true => json!(format!("new {mark}")),
            false => json!(mark),
        }
    }

    /// The rows of a key as a batch, with other values in some columns.
    async fn batch(&self, key: i64, changes: &[(&str, Value)]) -> Result<RecordBatch, Failure> {
        let scan = self.table.refresh().await?.scan();
        let batches = scan.filter(self.condition(key)?).collect().await?;
        let batch = batches.first().ok_or("no row of this key")?.slice(0, 1);
        let mut columns = batch.columns().to_vec();
        for (name, value) in changes {
            let index = batch.schema().index_of(name)?;
            let array: ArrayRef = match (batch.column(index).data_type(), value) {
                (ArrowType::Int32, value) => {
                    let value = value.as_i64().and_then(|value| i32::try_from(value).ok());
                    Arc::new(Int32Array::from(vec![value]))
                }
                (ArrowType::Int64, value) => Arc::new(Int64Array::from(vec![value.as_i64()])),
                (_, value) => Arc::new(StringArray::from(vec![value.as_str()])),
            };
            *columns.get_mut(index).ok_or("no such column")? = array;
        }
        Ok(RecordBatch::try_new(batch.schema(), columns)?)
    }

    /// The row of a key with other values in some columns.
    fn row(&self, key: i64, changes: &[(&str, Value)]) -> Option<Row> {
        let mut row = self
            .rows
            .iter()
            .find(|row| row.get(self.key) == Some(&json!(key)))?
            .clone();
        for (name, value) in changes {
            row.insert((*name).to_owned(), value.clone());
        }
        Some(row)
    }

    /// A row like that of a key, with another key and a fresh value: as it is and as a batch.
    async fn like(&self, key: i64, other: i64) -> Result<(Row, RecordBatch), Failure> {
        let mut changes = vec![(self.key, json!(other))];
        if let Some(value) = self.value {
            changes.push((value, self.fresh(other)));
        }
        let row = self.row(key, &changes).ok_or("no row of this key")?;
        Ok((row, self.batch(key, &changes).await?))
    }

    async fn delete(&mut self, key: i64) -> Outcome {
        self.table.delete(self.condition(key)?).await?;
        self.rows
            .retain(|row| row.get(self.key) != Some(&json!(key)));
        self.check("delete").await
    }

    async fn update(&mut self, key: i64) -> Outcome {
        let (column, value) = (self.value.unwrap_or(self.key), self.fresh(7_001));
        let literal = match &value {
            Value::String(text) => Expression::from(text.as_str()),
            value => Expression::parse(&value.to_string())?,
        };
        let update = self.table.update().set(column, literal);
        update.filter(self.condition(key)?).await?;
        for row in self
            .rows
            .iter_mut()
            .filter(|row| row.get(self.key) == Some(&json!(key)))
        {
            row.insert(column.to_owned(), value.clone());
        }
        self.check("update").await
    }

    /// The row of a key is updated, or deleted where there is nothing to update, and one is inserted.
    async fn merge(&mut self, key: i64, fresh: i64) -> Outcome {
        let (inserted, source) = self.like(key, fresh).await?;
        let changes = self.value.map(|value| (value, self.fresh(7_002)));
        let changes: Vec<_> = changes.into_iter().collect();
        let matching = self.batch(key, &changes).await?;
        let merge = self.table.merge(vec![matching, source]).on([self.key]);
        let merge = match self.value {
            Some(_) => merge.when_matched_update_all(),
            None => merge.when_matched_delete(),
        };
        merge.when_not_matched_insert_all().await?;
        let updated = self.row(key, &changes);
        self.rows
            .retain(|row| row.get(self.key) != Some(&json!(key)));
        self.rows.extend(updated.filter(|_| self.value.is_some()));
        self.rows.push(inserted);
        self.check("merge").await
    }

    /// The rows of a key are replaced; refused where a change feed would have to tell of it row by row.
    async fn replace_where(&mut self, key: i64) -> Outcome {
        let changes = self.value.map(|value| (value, self.fresh(7_003)));
        let changes: Vec<_> = changes.into_iter().collect();
        let (row, batch) = (self.row(key, &changes), self.batch(key, &changes).await?);
        let feed = self.feed();
        let overwrite = self.table.overwrite(batch);
        match overwrite.matching(self.condition(key)?).await {
            Err(error) if feed && error.kind() == ErrorKind::Unsupported => {
                println!("{}: rows not replaced: {error}", self.name);
                return Ok(());
            }
            done => {
                done?;
            }
        }
        self.rows
            .retain(|row| row.get(self.key) != Some(&json!(key)));
        self.rows.extend(row);
        self.check("overwrite of a condition").await
    }

    /// The partition of a row is replaced by one row.
    async fn replace_partition(&mut self, key: i64, fresh: i64) -> Outcome {
        let (row, batch) = self.like(key, fresh).await?;
        let columns = self.table.snapshot().partition_columns().to_vec();
        let overwrite = self.table.overwrite(batch);
        overwrite.partitions_of_rows().await?;
        self.rows.retain(|other| {
            columns
                .iter()
                .any(|column| other.get(column) != row.get(column))
        });
        self.rows.push(row);
        self.check("overwrite of a partition").await
    }

    async fn replace_all(&mut self, key: i64, fresh: i64) -> Outcome {
        let (row, batch) = self.like(key, fresh).await?;
        self.table.overwrite(batch).await?;
        self.rows = vec![row];
        self.check("overwrite").await
    }

    fn feed(&self) -> bool {
        let snapshot = self.table.snapshot();
        snapshot.properties().enable_change_data_feed
    }

    /// Has every engine read the rows that there must be now, and the change feed.
    async fn check(&mut self, what: &'static str) -> Outcome {
        let version = self.table.refresh().await?.version();
        let expected = self.changed.home.join(format!("{version}.ndjson"));
        let lines = self.rows.iter().map(|row| json!(row).to_string());
        fs::write(&expected, lines.collect::<Vec<_>>().join("\n"))?;
        let feed = self.feed() && !what.is_empty();
        self.changed.check(version..=version, &[], feed).await?;
        for engine in ["headwater", "deltalake-sql", "duckdb"] {
            if WRONG.contains(&(engine, self.name)) {
                continue;
            }
            let read = json!({
                "do": "golden", "engine": engine, "table": self.changed.place, "name": self.name,
                "version": version, "ours": self.changed.file(version), "stored": expected, "loose": [],
            });
            self.changed
                .ask_golden(&format!("{engine} after {what:?}"), &read)?;
        }
        if !what.is_empty() {
            self.done.push(what);
        }
        Ok(())
    }

    /// Everything that can be done with a table, as far as its rows last.
    async fn alter(&mut self) -> Outcome {
        let last = self.keys().len() - 1;
        if let Some(key) = self.key(last).filter(|_| 0 < last) {
            self.delete(key).await?;
        }
        let key = self.key(0).ok_or("no row")?;
        self.update(key).await?;
        if let Some(key) = self.key_of_one() {
            self.merge(key, 9_001).await?;
            self.replace_where(9_001).await?;
        }
        if !self.table.snapshot().partition_columns().is_empty() {
            let key = self.key(0).ok_or("no row")?;
            self.replace_partition(key, 9_002).await?;
        }
        // Files with deletion vectors are replaced as wholes.
        if let Some(key) = self.key(0).filter(|_| 1 < self.keys().len()) {
            self.delete(key).await?;
        }
        let key = self.key(0).ok_or("no row")?;
        self.replace_all(key, 9_003).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn golden_tables_that_we_change_are_read_by_others() -> Outcome {
    let Some(folder) = golden() else {
        return Ok(());
    };
    let (mut complaints, mut done) = (Vec::new(), BTreeSet::new());
    for described in TABLES {
        let name = described.0;
        let at = |error: Failure| format!("{name}: {error}");
        let mut altered = Altered::open(&folder, described).await.map_err(at)?;
        let one_row = altered.keys().len() < 2;
        if let Err(error) = altered.alter().await {
            complaints.push(format!("{name}: {error}"));
        }
        println!(
            "{name}: {}; feed {}, {} checks",
            altered.done.join(", "),
            altered.feed(),
            altered.changed.checks
        );
        for operation in ["delete", "update", "merge", "overwrite"] {
            if !one_row && !altered.done.contains(&operation) {
                complaints.push(format!("{name}: no {operation}"));
            }
        }
        done.extend(altered.done.iter().copied());
        complaints.append(&mut altered.changed.complaints);
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert_eq!(done.len(), 6, "{done:?}");
    Ok(())
}

/// What a table of Spark's says of its rows holds for ours: a constraint, a generated column, a default; and where new
/// rows would need what this build does not make, they are refused.
#[tokio::test(flavor = "multi_thread")]
async fn constraints_generated_columns_and_defaults_of_others_are_obeyed() -> Outcome {
    let Some(folder) = golden() else {
        return Ok(());
    };
    let mut altered = Altered::open(&folder, ("spark-gen", "id", Some("k"))).await?;
    let refused = altered.table.update().set("id", Expression::parse("-id")?);
    let refused = refused.filter(altered.condition(1)?).await;
    let code = refused.err().map(|error| (error.kind(), error.code()));
    assert_eq!(code, Some((ErrorKind::Invalid, Code::RowsRejected)));
    // Another time, and so another day, which is the partition.
    let time = Expression::parse("TIMESTAMP '2024-06-01 10:00:00'")?;
    let update = altered.table.update().set("ts", time);
    update.filter(altered.condition(1)?).await?;
    let changes = [
        ("ts", json!("2024-06-01T10:00:00.000000Z")),
        ("d", json!("2024-06-01")),
    ];
    let moved = altered.row(1, &changes).ok_or("no row")?;
    altered.rows.retain(|row| row["id"] != 1);
    altered.rows.push(moved);
    altered.check("update").await?;
    // Rows without the columns that the table can make.
    let whole = altered.batch(1, &[("id", json!(5))]).await?;
    let given = whole.project(&[
        whole.schema().index_of("id")?,
        whole.schema().index_of("ts")?,
    ])?;
    altered.table.append(given).await?;
    let changes = [("id", json!(5)), ("k", json!(42))];
    let made = altered.row(1, &changes).ok_or("no row")?;
    altered.rows.push(made);
    altered.check("append").await?;
    assert!(
        altered.changed.complaints.is_empty(),
        "{}",
        altered.changed.complaints.join("\n")
    );

    for (name, key, feature) in REFUSED {
        let mut protected = Altered::open(&folder, (name, key, None)).await?;
        let refused = protected.delete(0).await.err();
        let told = refused.map(|error| error.to_string()).unwrap_or_default();
        assert!(told.contains(feature), "{name}: {told}");
    }

    let identity = Altered::open(&folder, ("spark-idn", "id2", Some("v"))).await?;
    let batch = identity.batch(1, &[]).await?;
    let refused = identity.table.append(batch).await.err();
    let kind = refused.as_ref().map(headwater::Error::kind);
    assert_eq!(kind, Some(ErrorKind::Unsupported), "{refused:?}");
    Ok(())
}
