//! The last transactions of applications: there may be many, and a commit brings one.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use crate::protocol::action::Txn;

/// How many transactions are kept apart at least.
const RECENT_MIN: usize = 32;

/// The last transaction of every application, by its id. Those of the last commits are kept apart, so that one more
/// commit costs about the square root of all of them, not all.
#[derive(Debug, Clone, Default)]
pub(super) struct Txns {
    base: Arc<BTreeMap<String, Txn>>,
    /// These hold where the base says something else.
    recent: BTreeMap<String, Txn>,
    /// Both in one, once somebody asked for it.
    all: OnceLock<Arc<BTreeMap<String, Txn>>>,
}

impl Txns {
    pub(super) fn new(txns: impl IntoIterator<Item = Txn>) -> Self {
        let by_app = txns.into_iter().map(|txn| (txn.app_id.clone(), txn));
        Self {
            base: Arc::new(by_app.collect()),
            ..Self::default()
        }
    }

    /// Puts newer ones on top.
    pub(super) fn extend<'a>(&mut self, txns: impl IntoIterator<Item = &'a Txn>) {
        let before = self.recent.len();
        for txn in txns {
            self.recent.insert(txn.app_id.clone(), txn.clone());
            self.all = OnceLock::new();
        }
        let recent = self.recent.len();
        if before < recent && RECENT_MIN < recent && self.base.len() < recent.saturating_mul(recent)
        {
            self.base = Arc::new(self.merged());
            self.recent.clear();
        }
    }

    pub(super) fn get(&self, app_id: &str) -> Option<&Txn> {
        self.recent.get(app_id).or_else(|| self.base.get(app_id))
    }

    pub(super) fn all(&self) -> &BTreeMap<String, Txn> {
        match self.recent.is_empty() {
            true => &self.base,
            false => self.all.get_or_init(|| Arc::new(self.merged())),
        }
    }

    fn merged(&self) -> BTreeMap<String, Txn> {
        let mut all = BTreeMap::clone(&self.base);
        all.extend(self.recent.clone());
        all
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Txns;
    use crate::protocol::action::Txn;

    fn txn(app: usize, version: i64) -> Txn {
        Txn {
            app_id: format!("app-{app}"),
            version,
            last_updated: None,
        }
    }

    #[test]
    fn the_newest_of_every_application_holds_however_many_there_are() {
        let mut txns = Txns::default();
        let mut expected = std::collections::BTreeMap::new();
        for step in 0..2_000_usize {
            let (app, version) = (step * 7 % 301, step as i64);
            txns.extend([&txn(app, version)]);
            expected.insert(format!("app-{app}"), txn(app, version));
            assert_eq!(txns.get(&format!("app-{app}")), Some(&txn(app, version)));
            if step % 97 == 0 {
                assert_eq!(txns.all(), &expected);
            }
        }
        assert_eq!(txns.all(), &expected);
        assert_eq!(txns.get("nobody"), None);
    }

    #[test]
    fn one_more_transaction_does_not_copy_all_of_them() {
        let many = Txns::new((0..10_000).map(|app| txn(app, 0)));
        let mut next = many.clone();
        next.extend([&txn(77, 1)]);
        assert!(Arc::ptr_eq(&many.base, &next.base));
        assert_eq!(next.get("app-77").unwrap().version, 1);
        assert_eq!(many.get("app-77").unwrap().version, 0);
    }
}
