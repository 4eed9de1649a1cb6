//! Where a file of the table is: paths in the log, decoded once and confined to the table; and paths for the log.
//!
//! A path in the log is a URI reference. Directories of partitioned tables are escaped a first time, as Hive does it,
//! to be names on disk (`p=a%3Ab`), and a second time as parts of a URI (`p=a%253Ab`). Only the second layer is undone
//! here: the values of partition columns are in `partitionValues`, never in a path.
//!
//! Spec: [Data Files](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#data-files),
//! [Add File and Remove File](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#add-file-and-remove-file).

use percent_encoding::percent_decode_str;

use crate::error::{Code, Error, Result};

#[cfg(test)]
mod tests;

/// The directory of the log below the table's root.
pub const LOG_DIRECTORY: &str = "_delta_log";

/// The directory of sidecars below the table's root.
pub const SIDECAR_DIRECTORY: &str = "_delta_log/_sidecars";

/// What stands in the directory name for null.
const NULL_VALUE: &str = "__HIVE_DEFAULT_PARTITION__";

/// How long one directory name may get, in bytes: file systems allow 255.
const DIRECTORY_NAME_MAX: usize = 200;

/// Where a file is. Two are equal if and only if they mean the same file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileLocation {
    /// Below the table's root: decoded, segments with `/` between them, none of them empty, `.` or `..`.
    Relative(String),
    /// Somewhere else, as `scheme://authority/path`, decoded. Nothing may be read from there unless the caller of the
    /// library has allowed it by a prefix: a log must not choose what this process connects to.
    Absolute(String),
}

impl FileLocation {
    /// The key below the table's root.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::error::ErrorKind::Corrupt) with [`Code::UnsafePath`] if the file is not below it.
    pub fn key(&self) -> Result<&str> {
        match self {
            Self::Relative(key) => Ok(key),
            Self::Absolute(_) => Err(unsafe_path("it leads out of the table")),
        }
    }

    /// The path as one text: equal for two paths in the log if and only if they mean the same file.
    pub fn canonical(&self) -> &str {
        match self {
            Self::Relative(path) | Self::Absolute(path) => path,
        }
    }

    /// The path as one text, without copying it.
    pub fn into_canonical(self) -> String {
        match self {
            Self::Relative(path) | Self::Absolute(path) => path,
        }
    }

    /// The same location; relative, if it is below `root`, which is a decoded URL such as `s3://bucket/table`.
    pub fn relative_to(self, root: &str) -> Self {
        let trimmed = root.trim_end_matches('/');
        // The slashes of `scheme://` are no end of a path: without them, hosts would be names below the root.
        let root = match trimmed.ends_with(':') {
            true => root.get(..trimmed.len().saturating_add(2)).unwrap_or(root),
            false => trimmed,
        };
        let below = match &self {
            Self::Absolute(path) => path.strip_prefix(root),
            Self::Relative(_) => None,
        };
        match below.and_then(|below| below.strip_prefix('/')) {
            Some(key) => Self::Relative(key.to_owned()),
            None => self,
        }
    }
}

/// Reads the `path` of an `add`, `remove` or `cdc` action.
///
/// ```
/// use headwater::protocol::location::{FileLocation, resolve};
/// assert_eq!(resolve("p=a%253Ab/x%20y.parquet")?, FileLocation::Relative("p=a%3Ab/x y.parquet".into()));
/// assert!(resolve("p=1/%2e%2e/%2e%2e/secret").is_err());
/// assert!(resolve("file:///etc/passwd")?.key().is_err());
/// # Ok::<(), headwater::Error>(())
/// ```
///
/// # Errors
///
/// [`Corrupt`](crate::error::ErrorKind::Corrupt) with [`Code::UnsafePath`] if the path, decoded once, could lead out of
/// the table or into its log: segments that are empty, `.` or `..`, separators or control characters within a
/// segment, a drive letter. The message does not repeat the path.
pub fn resolve(path_in_log: &str) -> Result<FileLocation> {
    if path_in_log.starts_with('/') {
        return match path_in_log.strip_prefix("//") {
            Some(_) => Err(unsafe_path("it names a host")),
            None => absolute("file", "", path_in_log),
        };
    }
    if let Some((scheme, rest)) = split_scheme(path_in_log) {
        let scheme = scheme.to_ascii_lowercase();
        return match rest.strip_prefix("//") {
            Some(rest) => {
                let end = rest.find('/').unwrap_or(rest.len());
                let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
                absolute(&scheme, authority, path)
            }
            None if scheme.len() == 1 => Err(unsafe_path("it names a drive")),
            None if rest.starts_with('/') => absolute(&scheme, "", rest),
            None => Err(unsafe_path("it is neither relative nor absolute")),
        };
    }
    check_start(decode(path_in_log)?).map(FileLocation::Relative)
}

/// A key that is not escaped, if it stays below the table's root and out of its log.
pub(crate) fn checked_key(key: &str) -> Result<String> {
    key.split('/').try_for_each(check_segment)?;
    check_start(key.to_owned())
}

fn check_start(key: String) -> Result<String> {
    let first = key.split('/').next().unwrap_or_default();
    if first.eq_ignore_ascii_case(LOG_DIRECTORY) {
        return Err(unsafe_path("it leads into the log"));
    }
    let mut letters = first.chars();
    if let (Some(letter), Some(':')) = (letters.next(), letters.next())
        && letter.is_ascii_alphabetic()
    {
        return Err(unsafe_path("it names a drive"));
    }
    Ok(key)
}

/// Reads the `path` of a `sidecar` action, as a key below the table's root.
///
/// Sidecars are in their directory, so a path that says more than a name says only that. Where the rest of it tells of
/// another place, as in a table that was copied, the file of that name in this table's directory is meant.
///
/// Spec: [Sidecar File Information](https://github.com/delta-io/delta/blob/master/PROTOCOL.md#sidecar-file-information).
///
/// # Errors
///
/// [`Corrupt`](crate::error::ErrorKind::Corrupt) with [`Code::UnsafePath`] unless it is the name of a file in the
/// sidecar directory, or the address of one in the sidecar directory of some table.
pub fn resolve_sidecar(path_in_log: &str) -> Result<String> {
    let is_absolute = path_in_log.starts_with('/') || split_scheme(path_in_log).is_some();
    let path = match is_absolute {
        true => resolve(path_in_log)?.into_canonical(),
        false => decode(path_in_log)?,
    };
    let name = match (path.rsplit_once('/'), is_absolute) {
        (None, false) => path.as_str(),
        (Some((directory, name)), true) if is_sidecar_directory(directory) => name,
        _ => return Err(unsafe_path("it leads out of the sidecar directory")),
    };
    if name.contains(':') {
        return Err(unsafe_path("it leads out of the sidecar directory"));
    }
    Ok(format!("{SIDECAR_DIRECTORY}/{name}"))
}

fn is_sidecar_directory(path: &str) -> bool {
    let table = path.strip_suffix(SIDECAR_DIRECTORY);
    table.is_some_and(|table| table.ends_with('/'))
}

fn absolute(scheme: &str, authority: &str, path: &str) -> Result<FileLocation> {
    // User names, passwords and ports have no place in a log, and a query could carry a signature.
    if authority.contains(['@', ':', '%']) || path.contains(['?', '#']) {
        return Err(unsafe_path("its address has more than a host and a path"));
    }
    let path = decode(path.strip_prefix('/').unwrap_or_default())?;
    Ok(FileLocation::Absolute(format!(
        "{scheme}://{}/{path}",
        authority.to_ascii_lowercase()
    )))
}

/// Decodes once and checks every segment.
fn decode(path: &str) -> Result<String> {
    path.split('/')
        .try_for_each(|segment| check_segment(&decoded(segment)?))?;
    decoded(path).map(|path| path.into_owned())
}

fn check_segment(segment: &str) -> Result<()> {
    // Whoever decodes it again must not be led astray either: no honest writer escapes a dot.
    let again: Vec<u8> = percent_decode_str(segment).collect();
    if matches!(again.as_slice(), b"" | b"." | b"..") {
        return Err(unsafe_path("a segment of it is empty or all dots"));
    }
    if segment.contains(['/', '\\']) {
        return Err(unsafe_path("a segment of it contains a separator"));
    }
    // Other engines escape these in the names of directories, and only these: what is beyond ASCII may stand in a value.
    if segment.contains(|character: char| character.is_ascii_control()) {
        return Err(unsafe_path("it contains a control character"));
    }
    Ok(())
}

fn decoded(text: &str) -> Result<std::borrow::Cow<'_, str>> {
    percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| unsafe_path("it is not UTF-8"))
}

/// `scheme:rest` as RFC 3986 has it; a colon after a slash or after other characters belongs to a segment.
fn split_scheme(path: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = path.split_once(':')?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    is_scheme.then_some((scheme, rest))
}

fn unsafe_path(why: &str) -> Error {
    Error::corrupt(
        Code::UnsafePath,
        format!("a path in the log is not safe: {why}"),
    )
}

/// A key below the table's root as the URI that stands in the log, escaped exactly as Spark escapes it.
///
/// ```
/// use headwater::protocol::location::encode;
/// assert_eq!(encode("p=a%3Ab/one 1.parquet"), "p=a%253Ab/one%201.parquet");
/// ```
pub fn encode(relative_key: &str) -> String {
    let mut uri = String::with_capacity(relative_key.len());
    let mut in_first_segment = true;
    for c in relative_key.chars() {
        in_first_segment &= c != '/';
        let keep = match c {
            // Before the first slash a colon would end a scheme.
            ':' => !in_first_segment,
            c if c.is_ascii() => c.is_ascii_alphanumeric() || "_-!.~'()*,;$&+=@/".contains(c),
            c => !c.is_control() && !is_space(c),
        };
        if keep {
            uri.push(c);
        } else {
            escape(c, &mut uri);
        }
    }
    uri
}

/// Unicode's space, line and paragraph separators, which Java escapes in a URI.
fn is_space(c: char) -> bool {
    matches!(
        c,
        ' ' | '\u{a0}' | '\u{1680}' | '\u{2000}'
            ..='\u{200a}' | '\u{2028}' | '\u{2029}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    )
}

/// The directory, below the table's root, of files with these partition values: `p=a%3Ab/q=__HIVE_DEFAULT_PARTITION__`.
///
/// Escaped exactly as Spark and Hive escape it; not yet [`encode`]d. The directory is a courtesy to people and tools
/// that look at it: a name too long for file systems is cut, since nothing reads values from it.
pub fn partition_directory(values: &[(&str, Option<&str>)]) -> String {
    let mut path = String::new();
    for (index, (name, value)) in values.iter().enumerate() {
        if 0 < index {
            path.push('/');
        }
        let longest = path.len() + DIRECTORY_NAME_MAX;
        hive_escape(name, longest, &mut path);
        path.push('=');
        match value {
            Some(value) if !value.is_empty() => hive_escape(value, longest, &mut path),
            _ => path.push_str(NULL_VALUE),
        }
    }
    path
}

fn hive_escape(text: &str, longest: usize, path: &mut String) {
    for c in text.chars() {
        if longest <= path.len() {
            return;
        }
        if c.is_ascii_control() || "\"#%'*/:=?\\{[]^".contains(c) {
            escape(c, path);
        } else {
            path.push(c);
        }
    }
}

fn escape(c: char, text: &mut String) {
    let mut buffer = [0; 4];
    for byte in c.encode_utf8(&mut buffer).bytes() {
        text.push_str(percent_encoding::percent_encode_byte(byte));
    }
}
