//! The versions that say that a vacuum starts and ends.

use futures::future::BoxFuture;

use crate::error::Result;
use crate::maintenance::vacuum::Vacuum;
use crate::operation::Verb;
use crate::protocol::Version;
use crate::storage::ObjectInfo;
use crate::table::Table;
use crate::transaction::Draft;
use crate::transaction::vacuum::{PLANNED, STARTED, VACUUM_END, VACUUM_START};

/// A version that only says that a vacuum starts or ends.
#[derive(Debug)]
pub(super) struct Marker {
    table: Table,
    name: &'static str,
    parameters: Vec<(&'static str, String)>,
    metrics: Vec<(&'static str, u64)>,
}

impl Marker {
    /// Deletions start that were planned on this version.
    pub(super) fn start(
        table: &Table,
        vacuum: &Vacuum,
        planned: Version,
        doomed: &[ObjectInfo],
    ) -> Self {
        let promised = table.snapshot().properties().deleted_file_retention;
        let mut parameters = vec![
            (
                "retentionCheckEnabled",
                (!vacuum.unsafe_retention).to_string(),
            ),
            ("defaultRetentionMillis", promised.as_millis().to_string()),
            (PLANNED, planned.to_string()),
        ];
        if let Some(retention) = vacuum.retention {
            parameters.push((
                "specifiedRetentionMillis",
                retention.as_millis().to_string(),
            ));
        }
        let bytes = doomed.iter().map(|object| object.size).sum();
        Self {
            table: table.clone(),
            name: VACUUM_START,
            parameters,
            metrics: vec![
                ("numFilesToDelete", doomed.len() as u64),
                ("sizeOfDataToDelete", bytes),
            ],
        }
    }

    /// The deletions that started with this version have ended.
    pub(super) fn end(table: &Table, start: Version, deleted: u64) -> Self {
        Self {
            table: table.clone(),
            name: VACUUM_END,
            parameters: vec![
                ("status", "COMPLETED".to_owned()),
                (STARTED, start.to_string()),
            ],
            metrics: vec![("numDeletedFiles", deleted)],
        }
    }
}

impl Verb for Marker {
    fn table(&self) -> &Table {
        &self.table
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn stage<'a>(&'a mut self, draft: &'a mut Draft) -> BoxFuture<'a, Result<()>> {
        draft.commit_always();
        for (name, value) in &self.parameters {
            draft.parameter(name, value.clone());
        }
        for (name, value) in &self.metrics {
            draft.metric(name, *value);
        }
        Box::pin(std::future::ready(Ok(())))
    }
}
