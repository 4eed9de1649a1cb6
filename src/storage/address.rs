//! Where a table is: paths and URLs, and what of them may be shown.

use std::path::PathBuf;

use object_store::path::Path;
use url::Url;

use crate::error::{Code, Error, Result};

/// A table's place, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// A folder of this machine.
    Local(PathBuf),
    /// A path in the memory of this process.
    Memory(Path),
}

impl Address {
    /// Understands a path, or a URL with the scheme `file` or `memory`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let Some(scheme) = scheme(text) else {
            if text.is_empty() {
                return Err(invalid(text, "a table's location is empty"));
            }
            return Ok(Self::Local(PathBuf::from(text)));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "file" => {
                let url = parse_url(text)?;
                url.to_file_path()
                    .map(Self::Local)
                    .map_err(|()| invalid(text, "a file URL names no folder of this machine"))
            }
            "memory" => {
                let url = parse_url(text)?;
                let joined = format!("{}{}", url.host_str().unwrap_or_default(), url.path());
                let name = joined.trim_matches('/');
                if name.is_empty() {
                    return Err(invalid(
                        text,
                        "a memory URL needs a name, as in memory:///name",
                    ));
                }
                Path::from_url_path(name)
                    .map(Self::Memory)
                    .map_err(|_| invalid(text, "a memory URL has a path that is not allowed"))
            }
            "s3" | "s3a" => Err(missing_feature(text, "s3")),
            "az" | "azure" | "adl" | "abfs" | "abfss" | "wasb" | "wasbs" => {
                Err(missing_feature(text, "azure"))
            }
            "gs" | "gcs" => Err(missing_feature(text, "gcs")),
            other => Err(Error::unsupported(format!(
                "no store for locations that start with {other}:"
            ))
            .with("table", redact(text))),
        }
    }
}

/// The scheme of a URL; `None` for paths. `c:/x`, `a:b` and the like are paths.
fn scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once(':')?;
    let named = scheme.len() > 1
        && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let is_url =
        rest.starts_with("//") || (rest.starts_with('/') && scheme.eq_ignore_ascii_case("file"));
    (named && is_url).then_some(scheme)
}

fn parse_url(text: &str) -> Result<Url> {
    Url::parse(text).map_err(|error| invalid(text, "a table's location is no URL").because(error))
}

fn invalid(text: &str, message: &str) -> Error {
    Error::invalid(Code::InvalidArgument, message).with("table", redact(text))
}

fn missing_feature(text: &str, feature: &str) -> Error {
    Error::unsupported(format!(
        "this build has no such store: enable the cargo feature {feature:?}"
    ))
    .with("table", redact(text))
}

/// `text` with the user names, passwords, queries and fragments of its URLs taken out.
pub(super) fn redact(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | ')' | ',');
        let (address, tail) = after.split_at(after.find(ends).unwrap_or(after.len()));
        let plain = address.split(['?', '#']).next().unwrap_or_default();
        let (authority, path) = plain.split_at(plain.find('/').unwrap_or(plain.len()));
        shown.push_str(
            authority
                .rsplit_once('@')
                .map_or(authority, |(_, host)| host),
        );
        shown.push_str(path);
        rest = tail;
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn paths_and_urls_are_told_apart() {
        let local = |text: &str| match Address::parse(text).unwrap() {
            Address::Local(path) => path.to_str().unwrap().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(local("/data/t"), "/data/t");
        assert_eq!(local("data/a b%20c"), "data/a b%20c");
        assert_eq!(local("file:///data/a%20b"), "/data/a b");
        assert_eq!(local("file://localhost/data/t"), "/data/t");
        assert_eq!(local("file:/data/t"), "/data/t");
        assert_eq!(local("a:b"), "a:b");
        assert_eq!(local("./c:/x"), "./c:/x");
        let memory = |text: &str| match Address::parse(text).unwrap() {
            Address::Memory(path) => path.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(memory("memory:///a/b"), "a/b");
        assert_eq!(memory("memory://a/b/"), "a/b");
        assert_eq!(memory("MEMORY:///a%20b"), "a b");
    }

    #[test]
    fn a_store_that_is_not_built_in_is_refused_by_the_name_of_its_feature() {
        for (url, feature) in [
            ("s3://bucket/t", "s3"),
            ("abfss://c@account.dfs.core.windows.net/t", "azure"),
            ("gs://bucket/t", "gcs"),
            ("hdfs://host/t", "hdfs"),
        ] {
            let error = Address::parse(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{url}");
            assert!(error.message().contains(feature), "{error}");
        }
        for url in [
            "",
            "memory://",
            "file://other-host/t",
            "memory:///a//b",
            "memory:///a%00",
        ] {
            assert_eq!(
                Address::parse(url).unwrap_err().kind(),
                ErrorKind::Invalid,
                "{url}"
            );
        }
    }

    #[test]
    fn i_2_user_names_passwords_and_queries_of_urls_are_never_shown() {
        let secret = "canary";
        for (text, shown) in [
            (
                "s3://canary:canary@bucket/t?sig=canary#canary",
                "s3://bucket/t",
            ),
            ("s3://canary@bucket", "s3://bucket"),
            (
                "GET https://h/x?sig=canary failed, https://u:canary@h/y too",
                "GET https://h/x failed, https://h/y too",
            ),
            ("https://h?canary://canary", "https://h"),
            ("no URL here", "no URL here"),
        ] {
            assert_eq!(redact(text), shown);
        }
        for url in [
            "s3://canary:canary@b/t?canary",
            "weird://canary@b/t?canary=1",
            "memory://u:canary@/?canary",
        ] {
            let error = Address::parse(url).unwrap_err();
            assert!(!format!("{error:?} {error}").contains(secret), "{error:?}");
        }
    }
}
