//! What one client has received of one sender: each message once, in order, none missing?
//!
//! Owns the memory of gaps. Knows nothing of connections and of what was sent.

use std::ops::Range;

/// How a message arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The one after the latest, or later: what lies between is missing for now.
    Onward,
    /// One that was missing, after a later one.
    Late,
    /// One that had been there.
    Again,
}

/// The messages of one sender at one receiver.
///
/// A gap costs 16 bytes until it is filled. There are never more of them than messages received, and the caller passes no
/// counter that was not sent, so a server cannot make this grow by inventing some.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    /// The counter after the highest received.
    next: u64,
    /// What is missing below `next`.
    gaps: Vec<Range<u64>>,
}

impl Ledger {
    /// Enters the message `counter`.
    pub(super) fn enter(&mut self, counter: u64) -> Arrival {
        if counter == self.next {
            self.next += 1;
            return Arrival::Onward;
        }
        if counter > self.next {
            self.gaps.push(self.next..counter);
            self.next = counter + 1;
            return Arrival::Onward;
        }
        let Some(at) = self.gaps.iter().position(|gap| gap.contains(&counter)) else { return Arrival::Again };
        let gap = self.gaps.swap_remove(at);
        self.gaps.extend([gap.start..counter, counter + 1..gap.end].into_iter().filter(|gap| !gap.is_empty()));
        Arrival::Late
    }

    /// How many different messages were received.
    pub(super) fn received(&self) -> u64 {
        self.next - self.gaps.iter().map(|gap| gap.end - gap.start).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::Arrival::{Again, Late, Onward};
    use super::*;

    #[test]
    fn lost_doubled_and_swapped_messages_are_told_apart() {
        let cases: &[(&[u64], &[Arrival], u64)] = &[
            (&[], &[], 0),
            (&[0, 1, 2], &[Onward, Onward, Onward], 3),
            (&[0, 2, 3], &[Onward, Onward, Onward], 3),
            (&[5], &[Onward], 1),
            (&[0, 0, 1], &[Onward, Again, Onward], 2),
            (&[0, 2, 1, 3], &[Onward, Onward, Late, Onward], 4),
            (&[0, 2, 1, 1, 2], &[Onward, Onward, Late, Again, Again], 3),
            (&[9, 4, 0, 8, 4, 3, 5], &[Onward, Late, Late, Late, Again, Late, Late], 6),
            (&[3, 2, 1, 0, 4], &[Onward, Late, Late, Late, Onward], 5),
        ];
        for (counters, arrivals, received) in cases {
            let mut ledger = Ledger::default();
            let seen: Vec<_> = counters.iter().map(|counter| ledger.enter(*counter)).collect();
            assert_eq!((seen.as_slice(), ledger.received()), (*arrivals, *received), "{counters:?}");
        }
    }

    #[test]
    fn a_gap_filled_in_any_order_is_forgotten() {
        let mut ledger = Ledger::default();
        ledger.enter(100);
        for counter in (0..100).map(|step| step * 37 % 100) {
            assert_eq!(ledger.enter(counter), Late);
        }
        assert!(ledger.gaps.is_empty() && ledger.received() == 101);
    }
}
