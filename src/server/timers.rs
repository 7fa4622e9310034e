//! When which connection needs attention: one queue of deadlines per core instead of a timer per heartbeat.
//!
//! Owns the queue. A connection whose deadline moved forward is not looked for: its old entry fires, finds nothing due
//! and is queued anew. Only a deadline that moved closer gets a second entry.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use crate::ids::ConnectionKey;

/// The deadlines of a core's connections.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BinaryHeap<Reverse<(Instant, ConnectionKey)>>,
}

impl Timers {
    /// Makes sure that the connection comes up at `deadline`, given when it would come up already.
    pub(crate) fn schedule(&mut self, key: ConnectionKey, scheduled: &mut Option<Instant>, deadline: Instant) {
        if scheduled.is_none_or(|at| deadline < at) {
            *scheduled = Some(deadline);
            self.queue.push(Reverse((deadline, key)));
        }
    }

    /// The next connection whose entry is due, with the entry's time. It is the connection's current entry only if it
    /// is scheduled at that time.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(Instant, ConnectionKey)> {
        let Reverse((at, _)) = self.queue.peek()?;
        if *at > now {
            return None;
        }
        self.queue.pop().map(|Reverse(entry)| entry)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse((at, _))| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_a_closer_deadline_gets_another_entry() {
        let now = Instant::now();
        let key = ConnectionKey { index: 0, generation: 0 };
        let mut timers = Timers::default();
        let mut scheduled = None;
        for seconds in [30, 60, 10, 20] {
            timers.schedule(key, &mut scheduled, now + Duration::from_secs(seconds));
        }
        assert_eq!(timers.queue.len(), 2);
        assert_eq!(timers.pop_due(now + Duration::from_secs(9)), None);
        assert_eq!(timers.pop_due(now + Duration::from_secs(10)), Some((now + Duration::from_secs(10), key)));
        assert_eq!(timers.deadline(), Some(now + Duration::from_secs(30)));
    }
}
