//! What was observed, held against `divergences.toml`: a difference that is not listed fails, and so does a listed one
//! that is gone.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::Failure;

/// One known difference of a peer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Divergence {
    /// Which engine differs.
    pub peer: String,
    /// In which case, as `area/case`.
    pub case: String,
    /// In which checks of the case.
    pub checks: Vec<String>,
    /// Why that is the peer's fault.
    pub reason: String,
    /// Which other engine agrees with headwater.
    pub witness: Option<String>,
}

/// Of which engine, in which case, which check.
pub type Key = (String, String, String);

/// The checks of one test, by engine and case: `None` is agreement, text is what went wrong.
#[derive(Debug, Default)]
pub struct Ledger(BTreeMap<Key, Option<String>>);

impl Ledger {
    /// Notes how a check went.
    pub fn note(&mut self, peer: &str, case: &str, check: &str, problem: Option<String>) {
        let key = (peer.to_owned(), case.to_owned(), check.to_owned());
        self.0.insert(key, problem);
    }

    /// Takes over what another ledger has.
    pub fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// How many checks there were.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was checked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many checks each engine had, and how many of them went wrong.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&str, (usize, usize)> {
        let mut counts = BTreeMap::<&str, (usize, usize)>::new();
        for ((peer, ..), problem) in &self.0 {
            let count = counts.entry(peer).or_default();
            count.0 += 1;
            count.1 += usize::from(problem.is_some());
        }
        counts
    }

    /// Whether this engine agreed in this check; in all checks of the case where it had no such check.
    #[must_use]
    pub fn agrees(&self, peer: &str, case: &str, check: &str) -> bool {
        let of_case = |key: &&Key| key.0 == peer && key.1 == case;
        let same = (peer.to_owned(), case.to_owned(), check.to_owned());
        match self.0.get(&same) {
            Some(problem) => problem.is_none(),
            None => {
                let mut seen = self.0.iter().filter(|(key, _)| of_case(key)).peekable();
                seen.peek().is_some() && seen.all(|(_, problem)| problem.is_none())
            }
        }
    }

    /// What is wrong: differences that `known` does not list, and listed ones that are gone or that no witness backs.
    /// `witnessed` says whether an engine agrees with headwater in a check that another one failed.
    ///
    /// # Errors
    ///
    /// If a witness cannot be asked.
    pub fn complaints(
        &self,
        known: &[Divergence],
        mut witnessed: impl FnMut(&str, &Key) -> Result<bool, Failure>,
    ) -> Result<Vec<String>, Failure> {
        let mut complaints = Vec::new();
        let mut listed = BTreeMap::new();
        for divergence in known {
            for check in &divergence.checks {
                let key = (
                    divergence.peer.clone(),
                    divergence.case.clone(),
                    check.clone(),
                );
                let text = format!("{} in {}, {check}", key.0, key.1);
                match self.0.get(&key) {
                    None => complaints.push(format!("listed, but no check that ran: {text}")),
                    Some(None) => complaints.push(format!("listed, but gone: {text}")),
                    Some(Some(_)) => {
                        let agrees = match &divergence.witness {
                            Some(witness) => witnessed(witness, &key)?,
                            None => check == "write",
                        };
                        if !agrees {
                            complaints.push(format!("listed, but its witness disagrees: {text}"));
                        }
                    }
                }
                listed.insert(key, ());
            }
        }
        for (key, problem) in &self.0 {
            if let (Some(problem), false) = (problem, listed.contains_key(key)) {
                complaints.push(format!("{} in {}, {}: {problem}", key.0, key.1, key.2));
            }
        }
        Ok(complaints)
    }

    /// The differences as entries for `divergences.toml`, without reasons and witnesses.
    #[must_use]
    pub fn as_toml(&self) -> String {
        let mut entries = BTreeMap::<(&str, &str), Vec<&str>>::new();
        for ((peer, case, check), problem) in &self.0 {
            if problem.is_some() {
                entries.entry((case, peer)).or_default().push(check);
            }
        }
        let mut text = String::new();
        for ((case, peer), checks) in entries {
            text += &format!("[[divergence]]\npeer = {peer:?}\ncase = {case:?}\nchecks = [\n");
            for check in checks {
                text += &format!("    {},\n", serde_json::Value::from(check));
            }
            text += "]\n\n";
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{Divergence, Ledger};

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.note("duck", "ours/a", "rows", Some("lost one".to_owned()));
        ledger.note("goose", "ours/a", "rows", None);
        ledger
    }

    fn known(peer: &str, witness: &str) -> Vec<Divergence> {
        vec![Divergence {
            peer: peer.to_owned(),
            case: "ours/a".to_owned(),
            checks: vec!["rows".to_owned()],
            reason: "it counts badly".to_owned(),
            witness: Some(witness.to_owned()),
        }]
    }

    fn complaints(known: &[Divergence]) -> Vec<String> {
        let ledger = ledger();
        let witnessed = |peer: &str, key: &super::Key| Ok(ledger.agrees(peer, &key.1, &key.2));
        ledger.complaints(known, witnessed).unwrap()
    }

    #[test]
    fn what_is_not_listed_fails() {
        assert_eq!(complaints(&[]), ["duck in ours/a, rows: lost one"]);
    }

    #[test]
    fn what_is_listed_and_witnessed_passes() {
        assert!(complaints(&known("duck", "goose")).is_empty());
    }

    #[test]
    fn what_is_listed_and_gone_fails() {
        assert_eq!(
            complaints(&known("goose", "duck")),
            [
                "listed, but gone: goose in ours/a, rows",
                "duck in ours/a, rows: lost one"
            ]
        );
    }

    #[test]
    fn a_witness_that_fails_too_is_none() {
        let seen = complaints(&known("duck", "duck"));
        assert_eq!(
            seen,
            ["listed, but its witness disagrees: duck in ours/a, rows"]
        );
    }
}
