//! Clients that all lose their connection at once, and each come back by themselves.
//!
//! Owns who waits for what, and how long coming back took. Knows the time only as it is told, and no connection.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;

use super::histogram::Histogram;

/// What socket.io-client does after a failed attempt when nobody says otherwise (`reconnectionDelay`,
/// `reconnectionDelayMax`, `randomizationFactor`): it waits a second, then twice as long each time, at most five, and each
/// time up to half as much less or more.
const FIRST_WAIT: u64 = 1_000_000_000;
const LONGEST_WAIT: u64 = 5_000_000_000;

/// Most kinds of setbacks that are told apart.
const MAX_KINDS: usize = 16;

/// A storm. Its first attempts are due at once, which is harder than anything that official clients do.
#[derive(Debug)]
pub(super) struct Storm {
    began: u64,
    first: usize,
    attempts: Vec<u32>,
    /// When which client tries, the soonest first.
    waiting: BinaryHeap<Reverse<(u64, usize)>>,
    back: usize,
    /// From the loss to being in the room again.
    times: Histogram,
    connections: u64,
    setbacks: BTreeMap<String, u64>,
    dice: u64,
    /// The deliveries before it.
    calm: Histogram,
}

/// What a storm came to.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// How many lost their connection, and how many of them were in their rooms when the run ended.
    pub(super) comers: usize,
    pub(super) back: usize,
    /// From the loss to being back, for each that came back, in nanoseconds.
    pub(super) times: Histogram,
    /// Connections that were begun for it, and why some of them led to nothing.
    pub(super) connections: u64,
    pub(super) setbacks: BTreeMap<String, u64>,
    /// From the sending to each delivery of a message: before, and while they came back.
    pub(super) calm: Histogram,
    pub(super) stormy: Histogram,
}

impl Storm {
    /// The clients of these seats lose their connection now.
    pub(super) fn new(seats: Range<usize>, now: u64, calm: Histogram) -> Self {
        Self {
            began: now,
            first: seats.start,
            attempts: vec![0; seats.len()],
            waiting: seats.map(|seat| Reverse((now, seat))).collect(),
            back: 0,
            times: Histogram::default(),
            connections: 0,
            setbacks: BTreeMap::new(),
            dice: now | 1,
            calm,
        }
    }

    /// A client whose time has come; it connects.
    pub(super) fn due(&mut self, now: u64) -> Option<usize> {
        let Reverse((at, seat)) = *self.waiting.peek()?;
        if at > now {
            return None;
        }
        self.waiting.pop();
        self.connections += 1;
        Some(seat)
    }

    /// An attempt failed, or somebody who was back fell out again: the next attempt comes later.
    pub(super) fn fell(&mut self, seat: usize, was_in: bool, why: &str, now: u64) {
        if was_in {
            self.back = self.back.saturating_sub(1);
        }
        let known = self.setbacks.contains_key(why) || self.setbacks.len() < MAX_KINDS;
        *self.setbacks.entry(if known { why } else { "other" }.to_owned()).or_default() += 1;
        let chance = self.chance();
        let Some(attempts) = seat.checked_sub(self.first).and_then(|at| self.attempts.get_mut(at)) else { return };
        let wait = wait(*attempts, chance);
        *attempts = attempts.saturating_add(1);
        self.waiting.push(Reverse((now.saturating_add(wait), seat)));
    }

    /// A client is in its room again.
    pub(super) fn arrived(&mut self, now: u64) {
        self.back += 1;
        self.times.record(now.saturating_sub(self.began));
    }

    pub(super) fn back(&self) -> usize {
        self.back
    }

    /// Whether all are back.
    pub(super) fn is_over(&self) -> bool {
        self.back == self.attempts.len()
    }

    /// The end, with all deliveries of the run so far.
    pub(super) fn finish(self, deliveries: &Histogram) -> Outcome {
        let stormy = deliveries.since(&self.calm);
        let Self { attempts, back, times, connections, setbacks, calm, .. } = self;
        Outcome { comers: attempts.len(), back, times, connections, setbacks, calm, stormy }
    }

    /// From 0 to 1. Nothing but a spread is asked of it (xorshift64).
    fn chance(&mut self) -> f64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// How long to wait after so many failed attempts.
fn wait(attempts: u32, chance: f64) -> u64 {
    let mean = FIRST_WAIT.saturating_mul(1 << attempts.min(8));
    ((mean as f64 * (0.5 + chance)) as u64).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn all_try_at_once_and_whoever_fails_tries_again_later_and_later() {
        let mut storm = Storm::new(10..13, 5, Histogram::default());
        let mut first: Vec<_> = std::iter::from_fn(|| storm.due(5)).collect();
        first.sort_unstable();
        assert_eq!(first, [10, 11, 12]);
        for seat in [10, 11] {
            storm.arrived(5 + SECOND);
            assert!(!storm.is_over(), "{seat}");
        }
        let mut now = 5;
        for (from, to) in [(0.5, 1.5), (1.0, 3.0), (2.0, 5.0), (2.5, 5.0)] {
            storm.fell(12, false, "503", now);
            let (sooner, later) = (now + (from * SECOND as f64) as u64 - 1, now + (to * SECOND as f64) as u64);
            assert_eq!(storm.due(sooner), None);
            assert_eq!(storm.due(later), Some(12));
            now = later;
        }
        storm.arrived(now);
        assert!(storm.is_over());
        let outcome = storm.finish(&Histogram::default());
        assert_eq!((outcome.comers, outcome.back, outcome.connections), (3, 3, 7));
        assert_eq!(outcome.setbacks.into_iter().collect::<Vec<_>>(), [("503".to_owned(), 4)]);
        assert_eq!(outcome.times.max(), now - 5);
    }

    #[test]
    fn somebody_who_falls_out_again_is_not_back() {
        let mut storm = Storm::new(0..1, 1, Histogram::default());
        assert_eq!(storm.due(1), Some(0));
        storm.arrived(2);
        assert!(storm.is_over());
        storm.fell(0, true, "closed", 3);
        assert!(!storm.is_over() && storm.back() == 0);
    }

    #[test]
    fn waits_are_spread_between_half_and_one_and_a_half_times_the_mean() {
        let mut storm = Storm::new(0..1, 1, Histogram::default());
        let waits: Vec<_> = (0..1_000).map(|_| wait(0, storm.chance())).collect();
        assert!(waits.iter().all(|wait| (SECOND / 2..=SECOND * 3 / 2).contains(wait)));
        let early = waits.iter().filter(|wait| **wait < SECOND).count();
        assert!((400..600).contains(&early), "{early} of 1000 in the first half");
    }
}
