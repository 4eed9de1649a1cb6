//! What the tests share: a store with scripted faults, tables of one column, and rows read back.

pub(crate) mod hasty;
pub(crate) mod store;

use std::path::PathBuf;
use std::sync::Arc;

use headwater::arrow_array::cast::AsArray;
use headwater::arrow_array::types::Int64Type;
use headwater::arrow_array::{Int64Array, RecordBatch};
use headwater::environment::Environment;
use headwater::protocol::schema::{DataType, Field, Schema};
use headwater::storage::Storage;
use headwater::{Result, Snapshot, Table};
use object_store::path::Path;

use self::store::Faulty;

/// The folder of the tables that other engines wrote: beside the checkout, or where `HEADWATER_GOLDEN` says.
///
/// None where there is none, except with `CI` set: there a test that compares nothing fails.
pub(crate) fn golden() -> Option<PathBuf> {
    let beside = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/golden");
    let found = std::env::var_os("HEADWATER_GOLDEN").map_or(beside, PathBuf::from);
    let found = found.is_dir().then_some(found);
    assert!(
        found.is_some() || std::env::var_os("CI").is_none(),
        "the golden tables are missing"
    );
    found
}

/// A schema of one column, `id`, that is never null.
pub(crate) fn id_schema() -> Schema {
    Schema::new([Field::new("id", DataType::LONG, false)]).unwrap()
}

/// A batch of ids.
pub(crate) fn ids(values: impl IntoIterator<Item = i64>) -> RecordBatch {
    let values = Int64Array::from_iter_values(values);
    RecordBatch::try_from_iter([("id", Arc::new(values) as _)]).unwrap()
}

/// The ids of a version, sorted.
pub(crate) async fn ids_of(snapshot: &Snapshot) -> Result<Vec<i64>> {
    let mut found = Vec::new();
    for batch in snapshot.scan().select(["id"]).collect().await? {
        found.extend(batch.column(0).as_primitive::<Int64Type>().values());
    }
    found.sort_unstable();
    Ok(found)
}

/// The table's storage over a faulty store.
pub(crate) fn storage(store: &Faulty) -> Storage {
    storage_in(store, &Environment::system())
}

/// Runs a future to its end, for tests that are no async functions.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}

/// The table's storage over a faulty store, in a world of the caller's choice.
pub(crate) fn storage_in(store: &Faulty, environment: &Environment) -> Storage {
    Storage::new(Arc::new(store.clone()), Path::from("table"), environment)
}

/// A new table of ids in a faulty store whose rows are deleted by vectors.
pub(crate) async fn create_marking(store: &Faulty) -> Table {
    Table::create_in(storage(store), Environment::system(), id_schema())
        .property("delta.enableDeletionVectors", "true")
        .await
        .unwrap()
}

/// A new table of ids in a faulty store, in a world where waiting takes no time.
pub(crate) async fn create_hasty(store: &Faulty) -> Table {
    let environment = hasty::environment();
    let storage = storage_in(store, &environment);
    Table::create_in(storage, environment, id_schema())
        .await
        .unwrap()
}

/// A second handle, in a world where waiting takes no time.
pub(crate) async fn open_hasty(store: &Faulty) -> Result<Table> {
    let environment = hasty::environment();
    Table::open_in(storage_in(store, &environment), environment).await
}

/// A new table of ids in a faulty store.
pub(crate) async fn create(store: &Faulty) -> Table {
    Table::create_in(storage(store), Environment::system(), id_schema())
        .await
        .unwrap()
}

/// A second handle on the table, as another process would have it.
pub(crate) async fn open(store: &Faulty) -> Result<Table> {
    Table::open_in(storage(store), Environment::system()).await
}

/// The key of a commit file below the store's root.
pub(crate) fn commit_key(version: u64) -> Path {
    Path::from(format!("table/_delta_log/{version:020}.json"))
}
