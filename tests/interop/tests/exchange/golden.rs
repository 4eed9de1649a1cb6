//! Tables that other engines wrote, at every version that is listed beside them: what headwater, deltalake and duckdb
//! read, held against the rows of the reference engine.
//!
//! Whether headwater reads what the reference says is a test of its own (`tests/golden`); here it is the peers' turn.
//! Of tables so large that only a digest of their rows is stored, which that test holds, the peers are held against
//! what headwater reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::{
    Array, ArrayRef, ListArray, MapArray, RecordBatch, StringArray, StructArray,
};
use headwater::arrow_schema::{DataType, Field, FieldRef, Schema};
use headwater::protocol::variant::{self, EXTENSION_KEY, EXTENSION_NAME};
use headwater::snapshot::At;
use headwater::{ErrorKind, Table};
use headwater_interop::Failure;
use headwater_interop::case::save;
use headwater_interop::table::{self, text};
use headwater_interop::worker::{Answer, Worker};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Outcome, scratch};

const ENGINES: [&str; 4] = ["headwater", "deltalake", "deltalake-sql", "duckdb"];

/// A table whose stored rows break the protocol, and the one whose rows are right: see `tests/golden`. Both peers read
/// those.
const DISPUTED: (&str, &str) = (
    "kernel-compacted-log-files-table",
    "kernel-cdf-table-with-cdc-and-dvs",
);

/// The folder of the tables; without it nothing is compared, which with `CI` set is a failure.
pub(crate) fn golden() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden");
    let found = std::env::var_os("HEADWATER_GOLDEN").map_or(beside, PathBuf::from);
    let found = found.is_dir().then_some(found);
    assert!(
        found.is_some() || std::env::var_os("CI").is_none(),
        "the golden tables are missing"
    );
    if found.is_none() {
        println!("the golden tables are not here: nothing was checked");
    }
    found
}

/// How an engine did.
#[derive(Debug, Deserialize)]
struct Read {
    equal: bool,
    told: String,
}

/// A table, a version of it, and what the reference says.
struct Expected<'a> {
    table: &'a str,
    version: &'a str,
    what: &'a Value,
}

impl Expected<'_> {
    fn number(&self) -> Option<u64> {
        self.version.parse().ok()
    }

    fn is_read(&self) -> bool {
        self.what["rows"].is_u64()
    }
}

#[derive(Default)]
struct Totals {
    reads: usize,
    equal: BTreeMap<&'static str, usize>,
    complaints: Vec<String>,
    /// Which engine differs in which table.
    differing: BTreeSet<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_peer_reads_what_the_reference_reads_so_do_we() -> Outcome {
    let Some(folder) = golden() else {
        return Ok(());
    };
    let home = scratch("golden")?;
    let mut worker = Worker::new(&home.join("worker.log"));
    let mut totals = Totals::default();
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    for name in &names {
        let place = home.join("table");
        // Nobody is to write there, but who knows.
        table::copy(&folder.join(name).join("table"), &place)?;
        let described = fs::read_to_string(folder.join(name).join("expect.json"))?;
        let described: Value = serde_json::from_str(&described)?;
        let reads = described["reads"].as_object().ok_or("no reads")?;
        for (version, what) in reads {
            let expected = Expected {
                table: name,
                version,
                what,
            };
            totals.read(&folder, &place, &expected, &mut worker).await?;
        }
        fs::remove_dir_all(&place)?;
    }
    totals.settle(&mut worker)
}

impl Totals {
    async fn read(
        &mut self,
        folder: &Path,
        place: &Path,
        expected: &Expected<'_>,
        worker: &mut Worker,
    ) -> Outcome {
        // A name of its own, for the worker keeps what it has read.
        let name = format!("{}@{}.arrow", expected.table, expected.version);
        let file = place.with_file_name(name);
        let ours = ours(place, expected.number(), &file).await;
        let loose = match &ours {
            Ok(loose) => loose.clone(),
            Err(_) => Vec::new(),
        };
        let source = match expected.table == DISPUTED.0 {
            true => DISPUTED.1,
            false => expected.table,
        };
        let stored = folder.join(source);
        let stored = stored.join(format!("rows@{}.ndjson", expected.version));
        let mut line = format!("golden: {}@{}:", expected.table, expected.version);
        let mut seen = BTreeMap::new();
        for engine in ENGINES {
            let read = if engine == "headwater" && !expected.is_read() {
                refused(&ours, expected.what)
            } else if let (Err(error), "headwater") = (&ours, engine) {
                Read {
                    equal: false,
                    told: error.to_string(),
                }
            } else {
                let read = json!({
                    "do": "golden", "engine": engine, "table": place, "name": expected.table,
                    "version": expected.number(), "ours": expected.is_read().then_some(&file),
                    "stored": (expected.is_read() && stored.exists()).then_some(&stored), "loose": loose,
                });
                match worker.ask(&read)? {
                    Answer::Is(read) => read,
                    Answer::Failed(error) => return Err(error.into()),
                    Answer::Died => Read {
                        equal: false,
                        told: "its process died".to_owned(),
                    },
                }
            };
            line = format!("{line} {engine} {};", brief(&read));
            if read.told.starts_with("differs") {
                self.differing
                    .insert(format!("{engine} {}", expected.table));
            }
            seen.insert(engine, read);
        }
        println!("{line}");
        self.note(expected, &seen);
        if file.exists() {
            fs::remove_file(file)?;
        }
        Ok(())
    }

    fn note(&mut self, expected: &Expected<'_>, seen: &BTreeMap<&'static str, Read>) {
        self.reads += 1;
        for (engine, read) in seen {
            *self.equal.entry(engine).or_default() += usize::from(read.equal);
            let at = format!("{}@{}", expected.table, expected.version);
            if *engine == "headwater" && !read.equal {
                self.complaints.push(format!("{at}: {}", read.told));
            }
            if read.told.contains("UNEXPLAINED") {
                self.complaints
                    .push(format!("{at}: {engine} {}", read.told));
            }
        }
    }

    fn settle(self, worker: &mut Worker) -> Outcome {
        for engine in ENGINES {
            let equal = self.equal.get(engine).copied().unwrap_or_default();
            println!("golden: {engine}: {equal} of {} reads equal", self.reads);
        }
        assert!(self.complaints.is_empty(), "{}", self.complaints.join("\n"));
        // A reason that is no longer needed is no longer true.
        let reasons: BTreeSet<String> = worker.expect(&json!({ "do": "reasons" }))?;
        assert_eq!(reasons, self.differing);
        assert!(325 <= self.reads);
        assert_eq!(self.equal.get("headwater"), Some(&self.reads));
        // Were the peers held against nothing, this would show nothing.
        for (peer, least) in [("deltalake", 150), ("deltalake-sql", 250), ("duckdb", 250)] {
            let equal = self.equal.get(peer).copied().unwrap_or_default();
            assert!(least <= equal, "{peer}: {equal}");
        }
        Ok(())
    }
}

fn brief(read: &Read) -> String {
    match (read.equal, read.told.as_str()) {
        (true, "equal") => "equal".to_owned(),
        (true, error) => format!("equal, as it should be: {error}"),
        (false, why) => why.to_owned(),
    }
}

/// Whether headwater fails as the reference says: with this kind, or because files are not there.
fn refused(ours: &Result<Vec<String>, headwater::Error>, what: &Value) -> Read {
    match ours {
        Ok(_) => Read {
            equal: false,
            told: "it was read".to_owned(),
        },
        Err(error) => Read {
            equal: match what["error"].as_str() {
                Some(kind) => format!("{:?}", error.kind()) == kind,
                None => matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound),
            },
            told: error.to_string(),
        },
    }
}

/// Reads a version into a file; the columns that hold variants.
async fn ours(
    place: &Path,
    version: Option<u64>,
    file: &Path,
) -> Result<Vec<String>, headwater::Error> {
    // Of the newest version only that is asked for which is: it may need what no reader here has.
    let at = version.map_or(At::Latest, At::Version);
    let table = Table::open_at(&text(place), at).await?;
    let scan = table.snapshot().scan();
    let (schema, batches) = (scan.schema()?, scan.collect().await?);
    let told: Result<Vec<_>, Failure> = batches.iter().map(told).collect();
    let empty = told_schema(&schema);
    let batches = told.unwrap_or_else(|error| panic!("{}: {error}", place.display()));
    save(file, &Arc::new(empty), &batches)
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let fields = schema.fields().iter();
    let loose = fields.filter(|field| field.as_ref() != told_field(field).as_ref());
    Ok(loose.map(|field| field.name().clone()).collect())
}

fn told_schema(schema: &Schema) -> Schema {
    Schema::new(schema.fields().iter().map(told_field).collect::<Vec<_>>())
}

/// The batch, with variants as structs of a text of JSON, which the worker knows.
fn told(batch: &RecordBatch) -> Result<RecordBatch, Failure> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    let columns: Result<Vec<_>, Failure> = columns
        .map(|(field, column)| told_array(field, column))
        .collect();
    Ok(RecordBatch::try_new(
        Arc::new(told_schema(&schema)),
        columns?,
    )?)
}

fn is_variant(field: &Field) -> bool {
    let name = field.metadata().get(EXTENSION_KEY);
    name.is_some_and(|name| name == EXTENSION_NAME)
}

fn told_field(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Struct(_) if is_variant(field) => {
            DataType::Struct(vec![Field::new("$variant", DataType::Utf8, true)].into())
        }
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(told_field).collect()),
        DataType::List(item) => DataType::List(told_field(item)),
        DataType::Map(entries, sorted) => DataType::Map(told_field(entries), *sorted),
        _ => return Arc::clone(field),
    };
    let told = Field::new(field.name(), data_type, field.is_nullable());
    Arc::new(told)
}

fn told_array(field: &FieldRef, array: &ArrayRef) -> Result<ArrayRef, Failure> {
    let to = told_field(field);
    Ok(match (field.data_type(), to.data_type()) {
        (DataType::Struct(_), DataType::Struct(fields)) if is_variant(field) => {
            let parts = array.as_struct();
            let part = |name: &str| parts.column_by_name(name).ok_or("a variant lacks a part");
            let (metadata, value) = (part("metadata")?, part("value")?);
            let (metadata, value) = (metadata.as_binary::<i32>(), value.as_binary::<i32>());
            let json = (0..parts.len()).map(|row| {
                parts
                    .is_valid(row)
                    .then(|| variant::to_json(metadata.value(row), value.value(row)))
                    .transpose()
            });
            let json = json.collect::<Result<StringArray, _>>()?;
            let nulls = parts.nulls().cloned();
            Arc::new(StructArray::new(
                fields.clone(),
                vec![Arc::new(json)],
                nulls,
            ))
        }
        (DataType::Struct(from), DataType::Struct(fields)) => {
            let parts = array.as_struct();
            let columns = from.iter().zip(parts.columns());
            let columns: Result<Vec<_>, Failure> = columns
                .map(|(field, column)| told_array(field, column))
                .collect();
            let nulls = parts.nulls().cloned();
            match fields.is_empty() {
                true => Arc::clone(array),
                false => Arc::new(StructArray::new(fields.clone(), columns?, nulls)),
            }
        }
        (DataType::List(from), DataType::List(item)) => {
            let list = array.as_list::<i32>();
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            let values = told_array(from, list.values())?;
            Arc::new(ListArray::new(Arc::clone(item), offsets, values, nulls))
        }
        (DataType::Map(from, _), DataType::Map(entries, sorted)) => {
            let map = array.as_map();
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            let inner: ArrayRef = Arc::new(map.entries().clone());
            let inner = told_array(from, &inner)?.as_struct().clone();
            Arc::new(MapArray::new(
                Arc::clone(entries),
                offsets,
                inner,
                nulls,
                *sorted,
            ))
        }
        _ => Arc::clone(array),
    })
}
