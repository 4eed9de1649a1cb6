//! `LIKE`: patterns over text, as Spark reads them.

use crate::error::{Code, Error, Result};

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Exactly(char),
    OneChar,
    AnyText,
}

impl Pattern {
    /// Reads a pattern whose escape character is the backslash.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut parts = Vec::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            parts.push(match char {
                '%' => Part::AnyText,
                '_' => Part::OneChar,
                '\\' => match chars.next() {
                    Some(escaped @ ('%' | '_' | '\\')) => Part::Exactly(escaped),
                    _ => {
                        let message =
                            "in a LIKE pattern, a backslash stands before %, _ or a backslash";
                        return Err(Error::invalid(Code::InvalidPredicate, message));
                    }
                },
                other => Part::Exactly(other),
            });
        }
        // Runs of % say no more than one, and would multiply the work of matching.
        parts.dedup_by(|a, b| *a == Part::AnyText && *b == Part::AnyText);
        Ok(Self { parts })
    }

    /// The text that every match starts with.
    pub(super) fn prefix(&self) -> String {
        let exact = self.parts.iter().map_while(|part| match part {
            Part::Exactly(char) => Some(*char),
            Part::OneChar | Part::AnyText => None,
        });
        exact.collect()
    }

    /// Whether the pattern is its prefix and nothing else.
    pub(super) fn is_exact(&self) -> bool {
        self.parts
            .iter()
            .all(|part| matches!(part, Part::Exactly(_)))
    }

    /// Whether every text that starts with the prefix matches.
    pub(super) fn is_prefix_only(&self) -> bool {
        match self.parts.split_last() {
            Some((Part::AnyText, rest)) => rest.iter().all(|part| matches!(part, Part::Exactly(_))),
            _ => false,
        }
    }

    /// Whether the text has this form.
    pub(super) fn matches(&self, text: &str) -> bool {
        let mut rest = text.chars();
        let mut parts = self.parts.as_slice();
        // Where to go on when what follows the last % does not fit: one character further.
        let mut retry: Option<(&[Part], std::str::Chars<'_>)> = None;
        loop {
            let mut after = rest.clone();
            let fits = match (parts.split_first(), after.next()) {
                (None, None) => return true,
                (Some((Part::AnyText, tail)), _) => {
                    if tail.is_empty() {
                        return true;
                    }
                    retry = Some((tail, rest.clone()));
                    parts = tail;
                    continue;
                }
                (Some((Part::OneChar, tail)), Some(_)) => Some(tail),
                (Some((Part::Exactly(want), tail)), Some(have)) if *want == have => Some(tail),
                _ => None,
            };
            match (fits, &mut retry) {
                (Some(tail), _) => (parts, rest) = (tail, after),
                (None, Some((tail, from))) => {
                    if from.next().is_none() {
                        return false;
                    }
                    (parts, rest) = (tail, from.clone());
                }
                (None, None) => return false,
            }
        }
    }
}

/// The pattern of all text that starts with this.
pub(super) fn starting_with(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for char in prefix.chars() {
        if matches!(char, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(char);
    }
    pattern.push('%');
    pattern
}

/// A pattern with another escape character as one with the backslash.
pub(super) fn with_escape(pattern: &str, escape: Option<char>) -> Result<String> {
    let Some(escape) = escape.filter(|escape| *escape != '\\') else {
        return Ok(pattern.to_owned());
    };
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(char) = chars.next() {
        if char == escape {
            match chars.next() {
                Some(escaped) if escaped == escape || matches!(escaped, '%' | '_') => {
                    if matches!(escaped, '%' | '_' | '\\') {
                        out.push('\\');
                    }
                    out.push(escaped);
                }
                _ => {
                    let message =
                        "in a LIKE pattern, the escape character stands before %, _ or itself";
                    return Err(Error::invalid(Code::InvalidPredicate, message));
                }
            }
        } else {
            if char == '\\' {
                out.push('\\');
            }
            out.push(char);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(text: &str, pattern: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(text)
    }

    #[test]
    fn patterns_match_as_sql_says() {
        for (text, pattern, expected) in [
            ("", "", true),
            ("", "%", true),
            ("", "_", false),
            ("abc", "abc", true),
            ("abc", "ab", false),
            ("abc", "a%", true),
            ("abc", "%c", true),
            ("abc", "a_c", true),
            ("abc", "a__c", false),
            ("aXbXc", "a%b%c", true),
            ("abab", "%ab", true),
            ("aab", "%ab", true),
            ("mississippi", "%iss%ip_i", true),
            ("mississippi", "%iss%ip_", false),
            ("a\nb", "a%b", true),
            ("\u{1f600}!", "_!", true),
            ("50%", "50\\%", true),
            ("50x", "50\\%", false),
            ("a_b", "a\\_b", true),
            ("axb", "a\\_b", false),
            ("a\\b", "a\\\\b", true),
            ("abc", "%%%b%%%", true),
        ] {
            assert_eq!(like(text, pattern), expected, "{text:?} LIKE {pattern:?}");
        }
    }

    #[test]
    fn a_dangling_escape_is_refused() {
        assert!(Pattern::parse("abc\\").is_err());
        assert!(Pattern::parse("a\\bc").is_err());
        assert!(with_escape("a!b", Some('!')).is_err());
        assert!(with_escape("a!", Some('!')).is_err());
    }

    #[test]
    fn other_escapes_become_backslashes() {
        assert_eq!(with_escape("a!%b\\", Some('!')).unwrap(), "a\\%b\\\\");
        assert_eq!(with_escape("a!!", Some('!')).unwrap(), "a!");
        assert_eq!(
            with_escape("a%%%", Some('%')).unwrap_err().kind(),
            crate::error::ErrorKind::Invalid
        );
    }

    #[test]
    fn prefixes_are_what_stands_before_the_first_wildcard() {
        let prefix = |text| Pattern::parse(text).unwrap().prefix();
        assert_eq!(prefix("ab%c"), "ab");
        assert_eq!(prefix("%c"), "");
        assert_eq!(prefix("a\\%b_"), "a%b");
        assert!(
            Pattern::parse(&starting_with("5%_\\"))
                .unwrap()
                .is_prefix_only()
        );
        assert_eq!(prefix(&starting_with("5%_\\")), "5%_\\");
        assert!(!Pattern::parse("a%b").unwrap().is_prefix_only());
    }

    #[test]
    fn a_hostile_pattern_ends_soon() {
        let text = "a".repeat(20_000);
        assert!(!like(&text, &format!("{}b", "%a".repeat(50))));
    }
}
