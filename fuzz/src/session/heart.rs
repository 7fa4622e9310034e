//! Who has to be heard until when: the heartbeat, as the protocol has it.

use std::time::{Duration, Instant};

use alt_ws_pure::engineio::session::{Revision, Timings};

pub(super) const TIMINGS: Timings = Timings {
    ping_interval: Duration::from_secs(25),
    ping_timeout: Duration::from_secs(20),
    upgrade_timeout: Duration::from_secs(10),
    linger: Duration::from_secs(5),
};

/// A ping whose timer was that late still counts from when it was due.
const SLACK: Duration = Duration::from_millis(50);

pub(super) struct Heart {
    revision: Revision,
    /// The opening, or the last pong (revision 3: ping) that counts.
    heard: Instant,
    /// When the ping went out that is not answered yet.
    pinged: Option<Instant>,
}

impl Heart {
    pub(super) fn new(revision: Revision, now: Instant) -> Self {
        Self { revision, heard: now, pinged: None }
    }

    /// The server pings.
    pub(super) fn ping(&mut self, now: Instant) {
        assert_eq!(self.revision, Revision::V4, "in revision 3 it is the client that pings");
        assert_eq!(self.pinged, None, "a ping while another is not answered");
        assert!(now >= self.heard + TIMINGS.ping_interval, "a ping too soon");
        self.pinged = Some(now);
    }

    /// A pong came over the transport. One that nobody asked for counts for nothing.
    pub(super) fn pong(&mut self, now: Instant) {
        if self.pinged.take().is_some() {
            self.heard = now;
        }
    }

    /// Revision 3: a ping came over the transport.
    pub(super) fn client_ping(&mut self, now: Instant) {
        self.heard = now;
    }

    /// When an open session has to do something of its own accord, at the latest.
    pub(super) fn latest(&self) -> Instant {
        match (self.revision, self.pinged) {
            (Revision::V3, _) => self.heard + TIMINGS.ping_interval + TIMINGS.ping_timeout,
            (Revision::V4, None) => self.heard + TIMINGS.ping_interval,
            (Revision::V4, Some(pinged)) => pinged + TIMINGS.ping_timeout,
        }
    }

    /// Nobody was heard for too long.
    pub(super) fn stop(&self, now: Instant) {
        assert!(self.revision == Revision::V3 || self.pinged.is_some(), "given up without being asked");
        assert!(now + SLACK >= self.latest(), "given up too soon");
    }
}
