//! Token buckets: how much one socket may ask for.
//!
//! Pure arithmetic over `now`; what is answered and who is disconnected is decided by the application.

use std::time::{Duration, Instant};

/// The rates of one socket. `0` switches a rate off.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Events per second, in the long run.
    pub events: u32,
    /// Bytes of events per second, in the long run.
    pub bytes: u32,
}

/// A bucket holds two seconds' worth, so that a page that loads may ask for a screenful at once.
const BURST_SECONDS: f64 = 2.0;
/// A socket that stays over its rate this long is no busy person but a program gone wrong.
const PATIENCE: Duration = Duration::from_secs(10);
/// Within the rate for this long, and the patience starts anew.
const CALM: Duration = Duration::from_secs(1);

/// What the limiter says to one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Fine.
    Pass,
    /// Too much; the same event would pass after this time.
    Limited {
        /// From now.
        retry_after: Duration,
    },
    /// Too much for too long.
    Disconnect {
        /// As in [`Verdict::Limited`].
        retry_after: Duration,
    },
}

/// The buckets of one socket.
#[derive(Clone, Copy, Debug)]
pub struct Limiter {
    events: f64,
    bytes: f64,
    updated: Instant,
    over: Option<Over>,
}

#[derive(Clone, Copy, Debug)]
struct Over {
    since: Instant,
    last: Instant,
}

impl Limiter {
    /// Full buckets.
    #[must_use]
    pub fn new(rates: Rates, now: Instant) -> Self {
        let [events, bytes] = [rates.events, rates.bytes].map(|rate| f64::from(rate) * BURST_SECONDS);
        Self { events, bytes, updated: now, over: None }
    }

    /// Takes one event of `size` bytes out of the buckets. An event larger than its bucket passes when the bucket is
    /// full, and is paid for afterwards.
    pub fn take(&mut self, rates: Rates, size: usize, now: Instant) -> Verdict {
        let elapsed = now.saturating_duration_since(self.updated).as_secs_f64();
        self.updated = now;
        let [event_rate, byte_rate] = [rates.events, rates.bytes].map(f64::from);
        self.events = (self.events + elapsed * event_rate).min(event_rate * BURST_SECONDS);
        self.bytes = (self.bytes + elapsed * byte_rate).min(byte_rate * BURST_SECONDS);
        let size = size as f64;
        let byte_need = size.min(byte_rate * BURST_SECONDS);
        let wait = wait_for(self.events, 1.0, event_rate).max(wait_for(self.bytes, byte_need, byte_rate));
        if wait <= 0.0 {
            self.events -= 1.0;
            self.bytes -= size;
            return Verdict::Pass;
        }
        let since = match self.over {
            Some(over) if now.saturating_duration_since(over.last) < CALM => over.since,
            _ => now,
        };
        self.over = Some(Over { since, last: now });
        let retry_after = Duration::from_secs_f64(wait);
        if now.saturating_duration_since(since) >= PATIENCE {
            Verdict::Disconnect { retry_after }
        } else {
            Verdict::Limited { retry_after }
        }
    }
}

/// Seconds until `need` tokens are there; a rate of 0 is no limit.
fn wait_for(have: f64, need: f64, rate: f64) -> f64 {
    if rate == 0.0 || have >= need { 0.0 } else { (need - have) / rate }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: Rates = Rates { events: 50, bytes: 1000 };

    #[test]
    fn a_burst_passes_and_the_rate_holds_after_it() {
        let start = Instant::now();
        let mut limiter = Limiter::new(RATES, start);
        let passed = (0..200).filter(|_| limiter.take(RATES, 1, start) == Verdict::Pass).count();
        assert_eq!(passed, 100, "two seconds' worth");
        let Verdict::Limited { retry_after } = limiter.take(RATES, 1, start) else { panic!("not limited") };
        assert_eq!(retry_after, Duration::from_millis(20));
        assert_eq!(limiter.take(RATES, 1, start + retry_after), Verdict::Pass);
    }

    #[test]
    fn bytes_are_counted_apart_and_a_large_event_is_paid_for_afterwards() {
        let start = Instant::now();
        let mut limiter = Limiter::new(RATES, start);
        assert_eq!(limiter.take(RATES, 5000, start), Verdict::Pass);
        assert!(matches!(limiter.take(RATES, 1, start + Duration::from_secs(3)), Verdict::Limited { .. }));
        assert_eq!(limiter.take(RATES, 1, start + Duration::from_millis(3002)), Verdict::Pass);
    }

    #[test]
    fn zero_is_no_limit() {
        let start = Instant::now();
        let off = Rates { events: 0, bytes: 0 };
        let mut limiter = Limiter::new(off, start);
        assert!((0..100_000).all(|_| limiter.take(off, 1_000_000, start) == Verdict::Pass));
    }

    #[test]
    fn ten_seconds_over_the_rate_end_the_connection_and_a_calm_second_forgives() {
        let start = Instant::now();
        let flood = |limiter: &mut Limiter, from: u64, to: u64| {
            (from..to).map(|ms| limiter.take(RATES, 1, start + Duration::from_millis(ms))).last()
        };
        let is_over = |verdict| matches!(verdict, Some(Verdict::Disconnect { .. }));
        let mut limiter = Limiter::new(RATES, start);
        assert!(!is_over(flood(&mut limiter, 0, 9_000)));
        let mut forgiven = limiter;
        assert!(is_over(flood(&mut limiter, 9_000, 10_500)));
        assert!(!is_over(flood(&mut forgiven, 12_000, 20_000)));
    }
}
