//! The ids and times of messages.
//!
//! Owns the ObjectId layout (4 bytes of seconds, 5 random bytes of the process, a 3-byte counter that starts at a
//! random value: the MongoDB ObjectId specification) and the promise that times do not run backwards within a process,
//! unless the clock was set back by more than [`MOST_WAITED_OUT`].

use std::time::SystemTime;

use super::StoreError;
use crate::ids::{MessageId, Timestamp};

/// A clock that is set back by less than this many milliseconds is waited for, with the latest time given meanwhile. One
/// that is set back by more was wrong before: were it waited for as well, a clock that was a year ahead for a moment
/// would give all messages one time for a year, and after 2^24 of them the same ids again.
const MOST_WAITED_OUT: u64 = 10_000;

/// Makes times and message ids, each id once.
#[derive(Debug)]
pub(super) struct Stamps {
    process: [u8; 5],
    counter: u32,
    latest: Timestamp,
}

impl Stamps {
    /// Stamps of a new process, from the system's random source.
    pub(super) fn new() -> Result<Self, StoreError> {
        let mut stamps = Self { process: [0; 5], counter: 0, latest: Timestamp(0) };
        stamps.draw().map_err(StoreError::Random)?;
        Ok(stamps)
    }

    /// As a process that starts now: no id that comes is one that was.
    fn draw(&mut self) -> Result<(), getrandom::Error> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        let [process @ .., high, middle, low] = random;
        (self.process, self.counter) = (process, u32::from_be_bytes([0, high, middle, low]));
        Ok(())
    }

    /// The wall clock, or the latest time given when the clock was set back a little.
    pub(super) fn now(&mut self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.advance(Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The id for a message of that time. The counter and the random bytes keep ids apart even if the clock of an
    /// earlier process ran ahead.
    pub(super) fn id(&mut self, time: Timestamp) -> MessageId {
        let [a, b, c, d] = u32::try_from(time.0 / 1000).unwrap_or(u32::MAX).to_be_bytes();
        let [e, f, g, h, i] = self.process;
        let [_, j, k, l] = self.counter.to_be_bytes();
        self.counter = self.counter.wrapping_add(1) & 0x00ff_ffff;
        MessageId([a, b, c, d, e, f, g, h, i, j, k, l])
    }

    fn advance(&mut self, clock: Timestamp) -> Timestamp {
        let was_set_back = self.latest.0.saturating_sub(clock.0) > MOST_WAITED_OUT;
        // Seconds that were used before come again, and so might their ids.
        if clock > self.latest || (was_set_back && self.draw().is_ok()) {
            self.latest = clock;
        }
        self.latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_seconds_then_the_process_then_a_counter_that_wraps() {
        let mut stamps = Stamps { process: [1, 2, 3, 4, 5], counter: 0x00ff_ffff, latest: Timestamp(0) };
        let time = Timestamp(0x6512_3456_u64 * 1000 + 999);
        assert_eq!(stamps.id(time).to_string(), "651234560102030405ffffff");
        assert_eq!(stamps.id(time).to_string(), "651234560102030405000000");
    }

    #[test]
    fn time_never_runs_backwards_in_a_process() {
        let mut stamps = Stamps::new().unwrap();
        assert_eq!(stamps.advance(Timestamp(5000)), Timestamp(5000));
        assert_eq!(stamps.advance(Timestamp(4000)), Timestamp(5000));
        assert_eq!(stamps.advance(Timestamp(5001)), Timestamp(5001));
        assert!(stamps.now() > Timestamp(5001));
    }

    #[test]
    fn a_clock_that_was_an_hour_or_a_year_off_is_followed_back_and_no_id_comes_twice() {
        const HOUR: u64 = 3_600_000;
        let start = Timestamp(1_770_000_000_000);
        for jump in [HOUR, 365 * 24 * HOUR] {
            let mut stamps = Stamps::new().unwrap();
            let mut ids = std::collections::HashSet::new();
            let mut stamp = |stamps: &mut Stamps, clock: Timestamp| {
                let time = stamps.advance(clock);
                assert!(ids.insert(stamps.id(time)), "an id that was given before");
                time
            };
            let first_counter = stamps.counter;
            assert_eq!(stamp(&mut stamps, start), start);
            assert_eq!(stamp(&mut stamps, Timestamp(start.0 + jump)).0, start.0 + jump);
            assert_eq!(stamp(&mut stamps, start), start, "time does not stand still until the clock is there again");
            // As after 2^24 messages, all within the second that came twice.
            stamps.counter = first_counter;
            assert_eq!(stamp(&mut stamps, start), start);
            assert_eq!(stamp(&mut stamps, Timestamp(start.0 - jump)).0, start.0 - jump, "set back without need");
        }
    }

    #[test]
    fn two_processes_differ() {
        let (mut one, mut other) = (Stamps::new().unwrap(), Stamps::new().unwrap());
        assert_ne!(one.id(Timestamp(0)), other.id(Timestamp(0)));
    }
}
