//! Presence as data: what a user's devices and status add up to.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::ids::RoomId;

/// A user's status. `Offline` while devices are connected means invisible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// There.
    Online,
    /// Not at the keyboard.
    Away,
    /// Not to be disturbed.
    Busy,
    /// Gone, or wishing to look so.
    Offline,
}

/// What happened to a user's presence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PresenceChange {
    /// A device connected and the user's conversations are known.
    Arrived {
        /// The conversations whose members may see the user.
        conversations: Vec<RoomId>,
    },
    /// The user chose a status.
    Chose(Status),
    /// A device that had arrived is gone.
    Left,
}

/// What the user's contacts are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// `user:online`.
    Online,
    /// `user:offline`.
    Offline,
    /// `presence:changed`.
    Changed(Status),
}

/// One user's devices and status.
///
/// An invisible user ([`Status::Offline`] by choice) arrives and leaves unseen. When the last device goes, the choice
/// is forgotten with it: the next first device is online.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    devices: u32,
    status: Status,
    /// Set while the last device is gone and the grace period runs, in which a page reload stays silent.
    leaving_until: Option<Instant>,
}

impl Default for Presence {
    fn default() -> Self {
        Self { devices: 0, status: Status::Online, leaving_until: None }
    }
}

impl Presence {
    /// What others see. A user in the grace period still looks as before.
    #[must_use]
    pub fn visible(&self) -> Status {
        if self.devices == 0 && self.leaving_until.is_none() { Status::Offline } else { self.status }
    }

    /// A device arrived.
    pub fn arrive(&mut self) -> Option<Announcement> {
        let returning = self.leaving_until.take().is_some();
        self.devices = self.devices.saturating_add(1);
        (self.devices == 1 && !returning).then_some(Announcement::Online)
    }

    /// A device is gone. When it was the last, call [`Self::expire`] at `until`.
    pub fn leave(&mut self, until: Instant) -> bool {
        let was_last = self.devices == 1;
        self.devices = self.devices.saturating_sub(1);
        if was_last {
            self.leaving_until = Some(until);
        }
        was_last
    }

    /// The grace period of a last device may be over. `None` when the user is back, or another period still runs;
    /// otherwise the user is gone, and `Some` says whether anybody is told.
    pub fn expire(&mut self, now: Instant) -> Option<Option<Announcement>> {
        if self.devices > 0 || self.leaving_until.is_none_or(|until| now < until) {
            return None;
        }
        self.leaving_until = None;
        let was_visible = self.status != Status::Offline;
        self.status = Status::Online;
        Some(was_visible.then_some(Announcement::Offline))
    }

    /// The user chose a status. Said again it is announced again: a client may use it to make itself seen.
    pub fn choose(&mut self, status: Status) -> Announcement {
        self.status = status;
        Announcement::Changed(status)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const GRACE: Duration = Duration::from_millis(1500);

    #[test]
    fn the_first_device_in_and_the_last_one_out_are_news() {
        let now = Instant::now();
        let mut presence = Presence::default();
        assert_eq!(presence.visible(), Status::Offline);
        assert_eq!(presence.arrive(), Some(Announcement::Online));
        assert_eq!(presence.arrive(), None);
        assert!(!presence.leave(now + GRACE));
        assert!(presence.leave(now + GRACE));
        assert_eq!(presence.visible(), Status::Online, "the grace period hides the gap");
        assert_eq!(presence.expire(now), None, "too early");
        assert_eq!(presence.expire(now + GRACE), Some(Some(Announcement::Offline)));
        assert_eq!(presence.visible(), Status::Offline);
        assert_eq!(presence.expire(now + GRACE), None, "only once");
    }

    #[test]
    fn a_reload_within_the_grace_period_is_silent() {
        let now = Instant::now();
        let mut presence = Presence::default();
        presence.arrive();
        assert!(presence.leave(now + GRACE));
        assert_eq!(presence.arrive(), None);
        assert_eq!(presence.expire(now + GRACE), None, "the user is back");
        assert!(presence.leave(now + 3 * GRACE));
        assert_eq!(presence.expire(now + 2 * GRACE), None, "the second departure has a grace period of its own");
        assert!(presence.expire(now + 3 * GRACE).is_some());
    }

    #[test]
    fn an_invisible_user_leaves_unseen_and_comes_back_online() {
        let now = Instant::now();
        let mut presence = Presence::default();
        presence.arrive();
        assert_eq!(presence.choose(Status::Busy), Announcement::Changed(Status::Busy));
        assert_eq!(presence.visible(), Status::Busy);
        assert_eq!(presence.choose(Status::Offline), Announcement::Changed(Status::Offline));
        assert_eq!(presence.visible(), Status::Offline);
        assert_eq!(presence.arrive(), None, "a second device does not give an invisible user away");
        presence.leave(now);
        assert!(presence.leave(now));
        assert_eq!(presence.expire(now), Some(None), "gone, and nobody is told");
        assert_eq!(presence.arrive(), Some(Announcement::Online));
    }
}
