//! The ids and times of messages.
//!
//! Owns the ObjectId layout (4 bytes of seconds, 5 random bytes of the process, a 3-byte counter that starts at a
//! random value: the MongoDB ObjectId specification) and the promise that times never run backwards within a process.

use std::time::SystemTime;

use super::StoreError;
use crate::ids::{MessageId, Timestamp};

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
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(StoreError::Random)?;
        let [a, b, c, d, e, counter @ ..] = random;
        let [high, middle, low] = counter;
        Ok(Self { process: [a, b, c, d, e], counter: u32::from_be_bytes([0, high, middle, low]), latest: Timestamp(0) })
    }

    /// The wall clock, or the latest time given when the clock was set back.
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
        self.latest = self.latest.max(clock);
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
    fn two_processes_differ() {
        let (mut one, mut other) = (Stamps::new().unwrap(), Stamps::new().unwrap());
        assert_ne!(one.id(Timestamp(0)), other.id(Timestamp(0)));
    }
}
