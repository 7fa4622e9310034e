//! When a batch is full: a pure structure, told the time.
//!
//! Owns the three bounds of a group commit. Knows nothing of what it collects, of channels or of stores.

use std::time::{Duration, Instant};

use super::StoreSettings;

/// The bounds that close a batch; whichever is reached first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// At most this many items.
    pub(super) records: usize,
    /// Closed once the items weigh this much; the last one may reach beyond it.
    pub(super) bytes: usize,
    /// Closed when the first item has been in the batch this long.
    pub(super) age: Duration,
}

impl Limits {
    /// A batch that is written in a few milliseconds.
    pub(super) const GROUP_COMMIT: Self =
        Self { records: StoreSettings::BATCH_RECORDS, bytes: 1024 * 1024, age: Duration::from_millis(2) };
}

/// Collects items until a bound of [`Limits`] is reached. Push while it is not closed, then take.
#[derive(Debug)]
pub(super) struct Batcher<T> {
    limits: Limits,
    items: Vec<T>,
    bytes: usize,
    first_at: Option<Instant>,
}

impl<T> Batcher<T> {
    /// An empty, open batch.
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, items: Vec::new(), bytes: 0, first_at: None }
    }

    /// Adds an item that weighs `bytes`.
    pub(super) fn push(&mut self, item: T, bytes: usize, now: Instant) {
        self.items.push(item);
        self.bytes = self.bytes.saturating_add(bytes);
        self.first_at.get_or_insert(now);
    }

    /// Whether the batch is to be taken before anything else is pushed. An empty batch is never closed.
    pub(super) fn is_closed(&self, now: Instant) -> bool {
        self.first_at.is_some_and(|first| {
            self.items.len() >= self.limits.records
                || self.bytes >= self.limits.bytes
                || now.saturating_duration_since(first) >= self.limits.age
        })
    }

    /// Whether it would still be open with so many more items that weigh so much together.
    pub(super) fn has_room(&self, items: usize, bytes: usize) -> bool {
        self.items.len() + items < self.limits.records && self.bytes.saturating_add(bytes) < self.limits.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The items in the order they were pushed; the batcher is empty and open again.
    pub(super) fn take(&mut self) -> Vec<T> {
        self.bytes = 0;
        self.first_at = None;
        std::mem::take(&mut self.items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { records: 3, bytes: 100, age: Duration::from_millis(2) };

    #[test]
    fn a_batch_closes_on_whichever_bound_is_reached_first() {
        let ms = Duration::from_millis;
        // (weights, time passed since the first, closed)
        let cases: [(&[usize], Duration, bool); 9] = [
            (&[], ms(60_000), false),
            (&[1], ms(0), false),
            (&[1], Duration::from_micros(1999), false),
            (&[1], ms(2), true),
            (&[1, 1], ms(0), false),
            (&[1, 1, 1], ms(0), true),
            (&[99], ms(0), false),
            (&[99, 1], ms(0), true),
            (&[usize::MAX, usize::MAX], ms(0), true),
        ];
        for (weights, passed, closed) in cases {
            let start = Instant::now();
            let mut batcher = Batcher::new(LIMITS);
            for weight in weights {
                batcher.push((), *weight, start);
            }
            assert_eq!(batcher.is_closed(start + passed), closed, "{weights:?} after {passed:?}");
        }
    }

    #[test]
    fn the_age_counts_from_the_first_item_and_begins_anew_with_each_batch() {
        let start = Instant::now();
        let later = start + Duration::from_millis(1);
        let mut batcher = Batcher::new(LIMITS);
        batcher.push('a', 1, start);
        batcher.push('b', 1, later);
        assert!(batcher.is_closed(start + LIMITS.age));
        assert_eq!(batcher.take(), ['a', 'b']);
        assert!(!batcher.is_closed(start + LIMITS.age));
        batcher.push('c', 1, later);
        assert!(!batcher.is_closed(start + LIMITS.age));
        assert!(batcher.is_closed(later + LIMITS.age));
    }

    #[test]
    fn a_clock_that_seems_to_go_back_does_not_close_a_batch() {
        let start = Instant::now();
        let mut batcher = Batcher::new(LIMITS);
        batcher.push((), 1, start + Duration::from_secs(1));
        assert!(!batcher.is_closed(start));
    }
}
