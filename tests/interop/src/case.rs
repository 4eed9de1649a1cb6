//! Cases, as `cases.py` describes them, and their rows.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow_ipc::reader::FileReader;
use arrow_ipc::writer::FileWriter;
use headwater::arrow_array::RecordBatch;
use headwater::arrow_schema::SchemaRef;
use serde::Deserialize;

use crate::Failure;

/// A table to exchange.
#[derive(Debug, Deserialize)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// What happens to it, in order.
    pub steps: Vec<Step>,
    /// Its partition columns.
    pub partition_by: Vec<String>,
    /// Its properties.
    pub properties: BTreeMap<String, String>,
    /// Questions to ask of its newest version.
    pub probes: Vec<Probe>,
}

/// One thing that happens to a table.
#[derive(Debug, Deserialize)]
pub struct Step {
    /// What.
    pub kind: Kind,
    /// The rows of an append.
    pub file: Option<PathBuf>,
}

/// What can happen to a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Rows are appended.
    Append,
    /// Rows with more columns are appended.
    Widen,
    /// A checkpoint is written.
    Checkpoint,
}

/// A condition over rows.
#[derive(Debug, Deserialize)]
pub struct Probe {
    /// Its name, the same for every engine.
    pub name: String,
    /// As SQL for headwater.
    pub sql: String,
}

impl Case {
    /// Reads the description that the worker wrote.
    ///
    /// # Errors
    ///
    /// If it is not there, or is no case.
    pub fn read(home: &Path, name: &str) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(home.join(name).join("case.json"))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// How many commits bring rows.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits_of(&self.steps)
    }

    /// How many commits bring rows before the last checkpoint.
    #[must_use]
    pub fn commits_before_checkpoint(&self) -> u64 {
        let checkpoint = |step: &Step| step.kind == Kind::Checkpoint;
        let at = self.steps.iter().rposition(checkpoint).unwrap_or(0);
        self.commits_of(self.steps.get(..at).unwrap_or_default())
    }

    fn commits_of(&self, steps: &[Step]) -> u64 {
        let count = steps.iter().filter(|step| step.file.is_some()).count();
        u64::try_from(count).unwrap_or(u64::MAX)
    }
}

/// The batches of an Arrow file, and their schema.
///
/// # Errors
///
/// If it is none.
pub fn load(file: &Path) -> Result<(SchemaRef, Vec<RecordBatch>), Failure> {
    let reader = FileReader::try_new(File::open(file)?, None)?;
    let schema = reader.schema();
    Ok((schema, reader.collect::<Result<_, _>>()?))
}

/// Writes batches to an Arrow file.
///
/// # Errors
///
/// If they cannot be written.
pub fn save(file: &Path, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<(), Failure> {
    let mut writer = FileWriter::try_new(File::create(file)?, schema)?;
    for batch in batches {
        writer.write(batch)?;
    }
    Ok(writer.finish()?)
}
