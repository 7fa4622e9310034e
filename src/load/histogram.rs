//! Times, counted by their size.
//!
//! Owns the buckets: 64 to each power of two, so that a time is known to 1.6 % at the cost of 30 KB in all, whatever the
//! number of times.

/// Buckets to each power of two, as a power of two.
const PRECISION: u32 = 6;

/// Enough for every `u64`.
const BUCKETS: usize = ((u64::BITS - PRECISION + 1) << PRECISION) as usize;

/// How often which time was seen, in nanoseconds.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max: 0 }
    }
}

fn bucket(value: u64) -> usize {
    let shift = (value | 1).ilog2().saturating_sub(PRECISION);
    ((shift as usize) << PRECISION) + (value >> shift) as usize
}

/// The smallest and the largest value of a bucket.
fn bounds(bucket: usize) -> (u64, u64) {
    let shift = (bucket >> PRECISION).saturating_sub(1);
    let low = ((bucket - (shift << PRECISION)) as u64) << shift;
    (low, low + ((1 << shift) - 1))
}

impl Histogram {
    /// Counts one time.
    pub(super) fn record(&mut self, nanoseconds: u64) {
        if let Some(count) = self.counts.get_mut(bucket(nanoseconds)) {
            *count += 1;
        }
        self.total += 1;
        self.max = self.max.max(nanoseconds);
    }

    /// What was counted since `earlier`, an earlier state of this histogram. Its largest time is known to 1.6 %.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let counts: Vec<_> =
            self.counts.iter().zip(&earlier.counts).map(|(now, before)| now.saturating_sub(*before)).collect();
        let largest = counts.iter().rposition(|count| *count > 0);
        let max = largest.map_or(0, |at| bounds(at).1.min(self.max));
        Self { counts, total: self.total.saturating_sub(earlier.total), max }
    }

    /// The largest time, exactly.
    pub(super) fn max(&self) -> u64 {
        self.max
    }

    /// The time that `share` (0 to 1) of the times do not exceed, at most 1.6 % too high and never too low. 0 when empty.
    pub(super) fn quantile(&self, share: f64) -> u64 {
        let wanted = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        found.map_or(0, |at| bounds(at).1.min(self.max))
    }

    /// The counts between steps of 1, 2 and 5 times powers of ten, without the empty ends: from, to, count. A bucket on
    /// a border counts where its middle lies.
    pub(super) fn steps(&self) -> Vec<(u64, u64, u64)> {
        let mut steps: Vec<(u64, u64, u64)> = Vec::new();
        for (at, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (low, high) = bounds(at);
            let middle = low + (high - low) / 2;
            while steps.last().is_none_or(|(_, to, _)| *to <= middle) {
                let (from, to) = steps.last().map_or_else(|| step_of(middle), |(_, to, _)| step_of(*to));
                steps.push((from, to, 0));
            }
            if let Some((_, _, sum)) = steps.last_mut() {
                *sum += count;
            }
        }
        steps
    }
}

/// The step that holds a value.
fn step_of(value: u64) -> (u64, u64) {
    let power = 10_u64.pow(value.max(1).ilog10());
    let (from, to) = match value / power {
        0 => (0, 1),
        1 => (1, 2),
        2..5 => (2, 5),
        _ => (5, 10),
    };
    (from * power, power.saturating_mul(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_within_its_bucket_and_buckets_are_narrow() {
        let edges = (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1]).chain([u64::MAX]);
        for value in edges.chain((0..100_000).map(|step| step * 7919)) {
            let (low, high) = bounds(bucket(value));
            assert!((low..=high).contains(&value) && bucket(value) < BUCKETS, "{value}");
            assert!((high - low) as f64 <= low as f64 / 64.0, "{value}: {low} to {high}");
        }
    }

    #[test]
    fn quantiles_of_known_times() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.quantile(0.5), histogram.max(), histogram.total), (0, 0, 0));
        for value in 1..=10_000 {
            histogram.record(value * 1000);
        }
        for (share, exact) in [(0.0, 1e3), (0.5, 5e6), (0.9, 9e6), (0.99, 9.9e6), (0.999, 9.99e6), (1.0, 1e7)] {
            let found = histogram.quantile(share) as f64;
            assert!((exact..=exact * 1.016).contains(&found), "{share}: {found}");
        }
        assert_eq!((histogram.max(), histogram.total), (10_000_000, 10_000));
    }

    #[test]
    fn what_came_later_is_told_from_what_came_before() {
        let mut histogram = Histogram::default();
        histogram.record(9_000_000);
        let earlier = histogram.clone();
        assert_eq!(histogram.since(&earlier).max(), 0);
        (0..10).for_each(|_| histogram.record(1_000));
        let later = histogram.since(&earlier);
        assert_eq!((later.total, later.max()), (10, later.quantile(1.0)));
        assert!((1_000..1_016).contains(&later.max()), "{}", later.max());
    }

    #[test]
    fn steps_cover_what_was_seen_and_lose_nothing() {
        let mut histogram = Histogram::default();
        for value in [0, 1_500, 1_600, 30_000, 30_001, u64::MAX] {
            histogram.record(value);
        }
        let steps = histogram.steps();
        assert_eq!(steps.iter().map(|step| step.2).sum::<u64>(), 6);
        assert!(steps.is_sorted_by(|one, other| one.1 == other.0), "{steps:?}");
        assert!(steps.contains(&(1_000, 2_000, 2)) && steps.contains(&(20_000, 50_000, 2)), "{steps:?}");
    }
}
