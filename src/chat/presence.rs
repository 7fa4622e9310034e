//! Presence as data: what a user's devices and status add up to.

use std::time::{Duration, Instant};

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

/// How often the choice of one user is told at most. Every telling costs the whole audience, so it is bounded by itself and
/// not only by the rate of a socket's events: a page that changes its mind with every movement of a mouse is told of once a
/// second, with where it has come to.
pub const TELL_EVERY: Duration = Duration::from_secs(1);

/// When a choice is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// Now.
    Now(Announcement),
    /// Call [`Presence::tell`] then.
    At(Instant),
    /// With an earlier one that waits: the latest choice is told.
    Waiting,
}

/// One user's devices and status.
///
/// An invisible user ([`Status::Offline`] by choice) arrives and leaves unseen. When the last device goes, the choice
/// is forgotten with it: the next first device is online.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    devices: u32,
    status: Status,
    /// What the others were told last.
    told: Status,
    /// When they were told of a choice.
    told_at: Option<Instant>,
    /// Whether a choice waits to be told.
    waiting: bool,
    /// Set while the last device is gone and the grace period runs, in which a page reload stays silent.
    leaving_until: Option<Instant>,
}

impl Default for Presence {
    fn default() -> Self {
        Self {
            devices: 0,
            status: Status::Online,
            told: Status::Online,
            told_at: None,
            waiting: false,
            leaving_until: None,
        }
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
        // What counts is what the others believe, not what was chosen and is not told yet.
        let was_visible = self.told != Status::Offline;
        *self = Self { told_at: self.told_at, ..Self::default() };
        Some(was_visible.then_some(Announcement::Offline))
    }

    /// The user chose a status. Said again it is announced again: a client may use it to make itself seen.
    pub fn choose(&mut self, status: Status, now: Instant) -> Telling {
        self.status = status;
        match self.told_at.map(|at| at + TELL_EVERY).filter(|next| now < *next) {
            None => Telling::Now(self.told_now(now)),
            Some(_) if std::mem::replace(&mut self.waiting, true) => Telling::Waiting,
            Some(next) => Telling::At(next),
        }
    }

    /// A choice may be due to be told. `None` when it was told meanwhile, or its user is gone.
    pub fn tell(&mut self, now: Instant) -> Option<Announcement> {
        let is_due = self.waiting && self.told_at.is_none_or(|at| at + TELL_EVERY <= now);
        is_due.then(|| self.told_now(now))
    }

    fn told_now(&mut self, now: Instant) -> Announcement {
        self.told = self.status;
        self.told_at = Some(now);
        self.waiting = false;
        Announcement::Changed(self.status)
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
    fn r4_choices_within_a_second_are_told_once_and_the_latest_wins() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut presence = Presence::default();
        presence.arrive();
        assert_eq!(presence.choose(Status::Away, at(0)), Telling::Now(Announcement::Changed(Status::Away)));
        assert_eq!(presence.choose(Status::Busy, at(10)), Telling::At(at(1000)));
        for ms in 11..900 {
            assert_eq!(presence.choose(Status::Away, at(ms)), Telling::Waiting, "nothing more is queued");
        }
        assert_eq!(presence.choose(Status::Online, at(900)), Telling::Waiting);
        assert_eq!(presence.visible(), Status::Online, "whoever asks is told the truth");
        assert_eq!(presence.tell(at(999)), None);
        assert_eq!(presence.tell(at(1000)), Some(Announcement::Changed(Status::Online)));
        assert_eq!(presence.tell(at(1000)), None, "once");
        assert_eq!(
            presence.choose(Status::Busy, at(1500)),
            Telling::At(at(2000)),
            "the second counts from the telling"
        );
    }

    #[test]
    fn who_leaves_before_a_choice_was_told_leaves_as_what_the_others_saw() {
        let now = Instant::now();
        for (told, chosen, expected) in
            [(Status::Away, Status::Offline, Some(Announcement::Offline)), (Status::Offline, Status::Online, None)]
        {
            let mut presence = Presence::default();
            presence.arrive();
            presence.choose(told, now);
            assert_eq!(presence.choose(chosen, now), Telling::At(now + TELL_EVERY));
            presence.leave(now);
            assert_eq!(presence.expire(now), Some(expected));
            assert_eq!(presence.tell(now + TELL_EVERY), None, "nobody is left to be told of");
        }
    }

    #[test]
    fn an_invisible_user_leaves_unseen_and_comes_back_online() {
        let now = Instant::now();
        let mut presence = Presence::default();
        presence.arrive();
        assert_eq!(presence.choose(Status::Busy, now), Telling::Now(Announcement::Changed(Status::Busy)));
        assert_eq!(presence.visible(), Status::Busy);
        let later = now + TELL_EVERY;
        assert_eq!(presence.choose(Status::Offline, later), Telling::Now(Announcement::Changed(Status::Offline)));
        assert_eq!(presence.visible(), Status::Offline);
        assert_eq!(presence.arrive(), None, "a second device does not give an invisible user away");
        presence.leave(now);
        assert!(presence.leave(now));
        assert_eq!(presence.expire(now), Some(None), "gone, and nobody is told");
        assert_eq!(presence.arrive(), Some(Announcement::Online));
    }
}
