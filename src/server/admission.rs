//! How many connections one address and one user may hold.
//!
//! Owns the counts, shared by all cores. An admission lasts as long as its [`Pass`]; dropping the pass gives it back.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use dashmap::DashMap;

use crate::ids::{NamespaceId, UserId};

/// Counts by key, each up to a limit. `None` is no limit, and then nothing is counted.
#[derive(Debug)]
pub(crate) struct Limit<K: Eq + Hash> {
    most: Option<NonZeroU32>,
    counts: DashMap<K, u32>,
}

/// One admission.
#[derive(Debug)]
pub(crate) struct Pass<K: Eq + Hash + Clone> {
    limit: Arc<Limit<K>>,
    key: Option<K>,
}

/// An address's TCP connections.
pub(crate) type AddressPass = Pass<IpAddr>;

/// What one connection is counted for: a user in each namespace.
#[derive(Debug, Default)]
pub(crate) struct Places(Vec<(NamespaceId, Pass<UserId>)>);

impl Places {
    /// Counts a socket for its user. `false` when it is one too many. The place is kept while the connection lasts, also
    /// when its socket leaves, or a user could open and leave without end; it is changed for the next user's.
    pub(crate) fn take(&mut self, namespace: NamespaceId, user: &UserId, limit: &Arc<Limit<UserId>>) -> bool {
        if self.0.iter().any(|(of, pass)| *of == namespace && pass.is_for(user)) {
            return true;
        }
        let Some(pass) = limit.admit(user) else { return false };
        self.0.retain(|(of, _)| *of != namespace);
        self.0.push((namespace, pass));
        true
    }

    /// Gives all of them back.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

impl<K: Eq + Hash + Clone> Limit<K> {
    pub(crate) fn new(most: Option<NonZeroU32>) -> Arc<Self> {
        Arc::new(Self { most, counts: DashMap::new() })
    }

    /// One more for `key`; `None` when that is one too many.
    pub(crate) fn admit(self: &Arc<Self>, key: &K) -> Option<Pass<K>> {
        let Some(most) = self.most else { return Some(Pass { limit: Arc::clone(self), key: None }) };
        let mut count = self.counts.entry(key.clone()).or_default();
        if *count >= most.get() {
            return None;
        }
        *count += 1;
        Some(Pass { limit: Arc::clone(self), key: Some(key.clone()) })
    }

    /// All of them.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }
}

impl<K: Eq + Hash + Clone> Pass<K> {
    /// Whether it was given for `key`. Without a limit it was given for nobody.
    pub(crate) fn is_for(&self, key: &K) -> bool {
        self.key.as_ref() == Some(key)
    }
}

impl<K: Eq + Hash + Clone> Drop for Pass<K> {
    fn drop(&mut self) {
        let Some(key) = &self.key else { return };
        if let Some(mut count) = self.limit.counts.get_mut(key) {
            *count = count.saturating_sub(1);
        }
        self.limit.counts.remove_if(key, |_, count| *count == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_too_many_is_refused_until_a_pass_is_given_back() {
        let limit = Limit::new(NonZeroU32::new(2));
        let first = limit.admit(&"a").unwrap();
        let _second = limit.admit(&"a").unwrap();
        assert!(limit.admit(&"a").is_none());
        assert!(limit.admit(&"b").is_some(), "others are not concerned");
        drop(first);
        let third = limit.admit(&"a");
        assert!(third.is_some());
        drop((third, _second));
        assert!(limit.counts.is_empty());
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let limit = Limit::new(None);
        let _passes: Vec<_> = (0..1000).map(|_| limit.admit(&1).unwrap()).collect();
        assert!(limit.counts.is_empty());
    }
}
