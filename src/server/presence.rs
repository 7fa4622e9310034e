//! Who is told that somebody came, went or changed: the bridge from the directory to the sockets.
//!
//! Owns the audience of an announcement, the grace period of a departure and the wait of a choice that came too soon after
//! another. What a change means is
//! [`crate::chat::presence`]'s.

use std::sync::Arc;

use super::core::State;
use super::directory;
use super::mailbox::{Frames, Mail};
use super::outbound::event_frames;
use super::settings::Audience;
use crate::chat::application::{Application, Now};
use crate::chat::event;
use crate::chat::presence::{Announcement, PresenceChange, Telling};
use crate::ids::{SocketKey, UserId};

impl<A: Application> State<A> {
    pub(super) fn change_presence(
        &mut self,
        user: &UserId,
        username: &Arc<str>,
        socket: SocketKey,
        change: PresenceChange,
        now: Now,
    ) {
        let directory = Arc::clone(&self.shared.directory);
        let announcement = match change {
            PresenceChange::Arrived { conversations } => directory.arrive(user, username, self.id, conversations),
            PresenceChange::Chose(status) => match directory.choose(user, status, now.instant) {
                Some(Telling::Now(announcement)) => Some(announcement),
                Some(telling @ (Telling::At(_) | Telling::Waiting)) => {
                    self.shared.metrics.presence_held.increment();
                    if let Telling::At(at) = telling {
                        self.tellings.push(at, user.clone());
                    }
                    None
                }
                None => None,
            },
            PresenceChange::Left => {
                let until = now.instant + self.shared.settings.presence_grace;
                if directory.leave(user, self.id, until) {
                    self.departures.push_back((until, user.clone()));
                }
                None
            }
        };
        let Some(announcement) = announcement else { return };
        let audience = self.audience(user, announcement);
        let except = (announcement == Announcement::Online).then_some(socket);
        self.announce(user, username, announcement, audience, except, now);
    }

    fn audience(&self, user: &UserId, announcement: Announcement) -> directory::Audience {
        let directory = &self.shared.directory;
        let mut audience = match self.shared.settings.audience {
            Audience::Contacts => directory.audience(user),
            Audience::All => directory::Audience::new(),
        };
        // The user's other devices show the status too; that one is online they know.
        if matches!(announcement, Announcement::Changed(_)) {
            for core in directory.cores_of(user) {
                audience.entry(core).or_default().push(user.clone());
            }
        }
        audience
    }

    /// Announces the choices that had to wait for their second.
    pub(super) fn tell_choices(&mut self, now: Now) {
        while let Some(user) = self.tellings.pop_due(now.instant) {
            if let Some((announcement, username)) = self.shared.directory.tell(&user, now.instant) {
                let audience = self.audience(&user, announcement);
                self.announce(&user, &username, announcement, audience, None, now);
            }
        }
    }

    /// Announces the departures whose grace period is over.
    pub(super) fn expire_departures(&mut self, now: Now) {
        while let Some((_, user)) = self.departures.pop_front_if(|(at, _)| *at <= now.instant) {
            let directory = Arc::clone(&self.shared.directory);
            if let Some((announcement, username, audience)) = directory.expire(&user, now.instant) {
                self.announce(&user, &username, announcement, audience, None, now);
            }
        }
    }

    fn announce(
        &mut self,
        user: &UserId,
        username: &str,
        announcement: Announcement,
        audience: directory::Audience,
        except: Option<SocketKey>,
        now: Now,
    ) {
        let event = match announcement {
            Announcement::Online => event::user_online(user, username, now.wall),
            Announcement::Offline => event::user_offline(user, username, now.wall),
            Announcement::Changed(status) => event::presence_changed(user, username, status, now.wall),
        };
        let frames = event_frames(self.shared.settings.parser, "/", &event, None, true, None);
        match self.shared.settings.audience {
            Audience::All => self.tell_all(&frames, except, now),
            Audience::Contacts => {
                for (core, users) in audience {
                    if core == self.id {
                        self.send_to_users(&users, &frames, now);
                    } else {
                        self.mail(core, true, || Mail::Users { users, frames: frames.clone() });
                    }
                }
            }
        }
    }

    fn tell_all(&mut self, frames: &Frames, except: Option<SocketKey>, now: Now) {
        let others: Vec<_> = self.shared.post.all().map(|(core, _)| core).filter(|core| *core != self.id).collect();
        for core in others {
            self.mail(core, true, || Mail::All { frames: frames.clone() });
        }
        self.send_to_all(frames, except, now);
    }
}
