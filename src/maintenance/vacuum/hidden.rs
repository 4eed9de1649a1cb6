//! Which objects vacuum looks at.
//!
//! Directories and files whose names start with `_` or `.` belong to others, but for partition directories of columns
//! with such names and for the change feed.

/// Whether objects below a directory of this name may be data of the table.
pub(super) fn is_entered(name: &str, partition_columns: &[String]) -> bool {
    let is_partition = || {
        let mut columns = partition_columns.iter();
        columns.any(|column| {
            name.strip_prefix(column.as_str())
                .is_some_and(|rest| rest.starts_with('='))
        })
    };
    match name {
        "_change_data" => true,
        "metadata" => false,
        _ => !name.starts_with(['_', '.']) || is_partition(),
    }
}

/// Whether the object may be data of the table: its directories are entered, and its own name is no hidden one.
pub(super) fn is_candidate(key: &str, partition_columns: &[String]) -> bool {
    let (directories, name) = match key.rsplit_once('/') {
        Some((directories, name)) => (directories, name),
        None => ("", key),
    };
    let mut directories = directories.split('/').filter(|name| !name.is_empty());
    !name.starts_with(['_', '.']) && directories.all(|name| is_entered(name, partition_columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e_7_hidden_names_belong_to_others_but_for_partitions_and_the_change_feed() {
        let columns = ["_x".to_owned(), "_delta".to_owned(), "_d".to_owned()];
        for data in [
            "a.parquet",
            "p=1/a.parquet",
            "_x=1/a.parquet",
            "_delta=1/q=2/a.parquet",
            "_change_data/cdc.parquet",
            "_change_data/_d=1/cdc.parquet",
            "deletion_vector_1.bin",
        ] {
            assert!(is_candidate(data, &columns), "{data}");
        }
        for other in [
            "_delta_log/00000000000000000000.json",
            "_delta_log/_sidecars/a.parquet",
            "_headwater/pins/a.json",
            "_xy=1/a.parquet",
            "_y=1/a.parquet",
            ".hidden/a.parquet",
            "p=1/_tmp/a.parquet",
            "metadata/v1.json",
            "_started",
            "p=1/.tmp-1",
        ] {
            assert!(!is_candidate(other, &columns), "{other}");
        }
    }
}
