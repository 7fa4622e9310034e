//! What is due when, in order.

use std::collections::BTreeMap;
use std::time::Instant;

/// Things that are due at a time. Bounded by what they are about: whoever adds an entry takes it out again when it has
/// become pointless, or lets it come due.
#[derive(Debug)]
pub struct Deadlines<T> {
    due: BTreeMap<Entry, T>,
    counter: u64,
}

/// Names one entry, to take it out early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry(Instant, u64);

impl<T> Default for Deadlines<T> {
    fn default() -> Self {
        Self { due: BTreeMap::new(), counter: 0 }
    }
}

impl<T> Deadlines<T> {
    /// Adds something that is due at `at`.
    pub fn push(&mut self, at: Instant, what: T) -> Entry {
        self.counter += 1;
        let entry = Entry(at, self.counter);
        self.due.insert(entry, what);
        entry
    }

    /// Takes an entry out; one that came due already is gone.
    pub fn remove(&mut self, entry: Entry) {
        self.due.remove(&entry);
    }

    /// The next thing that is due by now.
    pub fn pop_due(&mut self, now: Instant) -> Option<T> {
        self.due.first_entry().filter(|entry| entry.key().0 <= now).map(|entry| entry.remove())
    }

    /// When the next thing is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.due.first_key_value().map(|(entry, _)| entry.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn things_come_due_in_order_and_may_be_taken_out() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut deadlines = Deadlines::default();
        for (seconds, what) in [(2, "b"), (1, "a"), (2, "c")] {
            deadlines.push(at(seconds), what);
        }
        let taken_out = deadlines.push(at(0), "never");
        deadlines.remove(taken_out);
        assert_eq!(deadlines.deadline(), Some(at(1)));
        assert_eq!(deadlines.pop_due(now), None);
        assert_eq!(deadlines.pop_due(at(1)), Some("a"));
        assert_eq!(deadlines.pop_due(at(1)), None);
        assert_eq!([deadlines.pop_due(at(9)), deadlines.pop_due(at(9))], [Some("b"), Some("c")]);
        assert_eq!(deadlines.deadline(), None);
    }
}
