//! The one table that all cores share: which cores have sockets in a room, and who is present.
//!
//! Owns the lookups that let a broadcast leave its core only when it must. Member lists and sockets stay on their
//! cores. No two entries are ever locked at the same time, so cores cannot wait for each other in a circle.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use dashmap::DashMap;

use crate::chat::event::{Online, OnlineUser};
use crate::chat::presence::{Announcement, Presence, Status, Telling};
use crate::ids::{CoreId, RoomId, UserId};

/// A set of cores, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreSet(u64);

impl CoreSet {
    /// The cores in the set.
    pub fn iter(self) -> impl Iterator<Item = CoreId> {
        let count = u8::try_from(CoreId::MAX_CORES).unwrap_or(u8::MAX);
        (0..count).map(CoreId).filter(move |core| self.0 & Self::bit(*core) != 0)
    }

    fn bit(core: CoreId) -> u64 {
        1_u64.checked_shl(u32::from(core.0)).unwrap_or(0)
    }
}

/// Shared by all cores; every call locks one shard for a moment.
#[derive(Debug, Default)]
pub struct Directory {
    rooms: DashMap<RoomId, Room>,
    users: DashMap<UserId, User>,
}

#[derive(Debug, Default)]
struct Room {
    watchers: CoreSet,
    /// Members of the conversation who are connected, in the room or not, and whether they may be seen.
    present: HashMap<UserId, bool>,
}

#[derive(Debug)]
struct User {
    username: Arc<str>,
    presence: Presence,
    /// Sockets per core.
    sockets: HashMap<CoreId, u32>,
    conversations: HashSet<RoomId>,
}

/// Users to be told something, by the core that has their sockets.
pub type Audience = HashMap<CoreId, Vec<UserId>>;

impl Directory {
    /// A core has, or is about to have, a socket in the room.
    pub fn watch(&self, room: &RoomId, core: CoreId) {
        self.rooms.entry(room.clone()).or_default().watchers.0 |= CoreSet::bit(core);
    }

    /// A core has no socket in the room any more.
    pub fn unwatch(&self, room: &RoomId, core: CoreId) {
        self.change_room(room, |entry| entry.watchers.0 &= !CoreSet::bit(core));
    }

    /// The cores that have sockets in the room.
    #[must_use]
    pub fn watchers(&self, room: &RoomId) -> CoreSet {
        self.rooms.get(room).map(|entry| entry.watchers).unwrap_or_default()
    }

    /// A user's socket arrived on a core, and the user's conversations are known.
    pub fn arrive(
        &self,
        user: &UserId,
        username: &Arc<str>,
        core: CoreId,
        conversations: Vec<RoomId>,
    ) -> Option<Announcement> {
        let announcement = {
            let mut entry = self.users.entry(user.clone()).or_insert_with(|| User {
                username: Arc::clone(username),
                presence: Presence::default(),
                sockets: HashMap::new(),
                conversations: HashSet::new(),
            });
            entry.username = Arc::clone(username);
            *entry.sockets.entry(core).or_default() += 1;
            entry.conversations.extend(conversations);
            entry.presence.arrive()
        };
        self.show(user);
        announcement
    }

    /// A present user became a member of one more conversation.
    pub fn enter(&self, user: &UserId, room: &RoomId) {
        let visible = self.users.get_mut(user).and_then(|mut entry| {
            entry.conversations.insert(room.clone()).then(|| entry.presence.visible() != Status::Offline)
        });
        if let Some(visible) = visible {
            self.rooms.entry(room.clone()).or_default().present.insert(user.clone(), visible);
        }
    }

    /// A user is no member of a conversation any more.
    pub fn expel(&self, user: &UserId, room: &RoomId) {
        if let Some(mut entry) = self.users.get_mut(user) {
            entry.conversations.remove(room);
        }
        self.change_room(room, |entry| {
            entry.present.remove(user);
        });
    }

    /// A present user chose a status.
    pub fn choose(&self, user: &UserId, status: Status, now: Instant) -> Option<Telling> {
        let telling = self.users.get_mut(user).map(|mut entry| entry.presence.choose(status, now));
        self.show(user);
        telling
    }

    /// A choice of the user may be due to be told.
    pub fn tell(&self, user: &UserId, now: Instant) -> Option<(Announcement, Arc<str>)> {
        let mut entry = self.users.get_mut(user)?;
        let announcement = entry.presence.tell(now)?;
        Some((announcement, Arc::clone(&entry.username)))
    }

    /// A user's socket left a core. `true` when it was the last: look again at `until`.
    pub fn leave(&self, user: &UserId, core: CoreId, until: Instant) -> bool {
        let Some(mut entry) = self.users.get_mut(user) else { return false };
        if let Some(count) = entry.sockets.get_mut(&core) {
            *count -= 1;
            if *count == 0 {
                entry.sockets.remove(&core);
            }
        }
        entry.presence.leave(until)
    }

    /// The grace period of a user whose last socket left may be over. When it is, the user is forgotten, and `Some` has
    /// the announcement with those who are to hear it.
    pub fn expire(&self, user: &UserId, now: Instant) -> Option<(Announcement, Arc<str>, Audience)> {
        let (announcement, username) = {
            let mut entry = self.users.get_mut(user)?;
            (entry.presence.expire(now)?, Arc::clone(&entry.username))
        };
        let audience = self.audience(user);
        // A user who came back on another core in this moment is not forgotten, and was never gone.
        let (_, forgotten) = self.users.remove_if(user, |_, entry| entry.sockets.is_empty())?;
        for room in &forgotten.conversations {
            self.change_room(room, |entry| {
                entry.present.remove(user);
            });
        }
        self.show(user);
        announcement.map(|announcement| (announcement, username, audience))
    }

    /// Everyone present who shares a conversation with the user, each once; the user is not among them.
    #[must_use]
    pub fn audience(&self, user: &UserId) -> Audience {
        let Some(conversations) = self.users.get(user).map(|entry| entry.conversations.clone()) else {
            return Audience::new();
        };
        let mut contacts = HashSet::new();
        for room in &conversations {
            if let Some(entry) = self.rooms.get(room) {
                contacts.extend(entry.present.keys().filter(|contact| *contact != user).cloned());
            }
        }
        let mut audience = Audience::new();
        for contact in contacts {
            for core in self.cores_of(&contact) {
                audience.entry(core).or_default().push(contact.clone());
            }
        }
        audience
    }

    /// The cores that have sockets of a user.
    #[must_use]
    pub fn cores_of(&self, user: &UserId) -> Vec<CoreId> {
        self.users.get(user).map(|entry| entry.sockets.keys().copied().collect()).unwrap_or_default()
    }

    /// Who of a room's members may be seen.
    #[must_use]
    pub fn online(&self, room: &RoomId) -> Online {
        let (count, shown) = match self.rooms.get(room) {
            None => return Online::default(),
            Some(entry) => {
                let visible = || entry.present.iter().filter(|(_, visible)| **visible).map(|(user, _)| user);
                (visible().count(), visible().take(Online::MAX_LISTED).cloned().collect::<Vec<_>>())
            }
        };
        let listed = shown.into_iter().filter_map(|user_id| {
            let entry = self.users.get(&user_id)?;
            let (username, status) = (Arc::clone(&entry.username), entry.presence.visible());
            drop(entry);
            Some(OnlineUser { user_id, username, status })
        });
        Online { listed: listed.collect(), count }
    }

    /// Writes the user's visibility into their conversations.
    fn show(&self, user: &UserId) {
        let Some((conversations, visible)) = self
            .users
            .get(user)
            .map(|entry| (entry.conversations.clone(), entry.presence.visible() != Status::Offline))
        else {
            return;
        };
        for room in conversations {
            self.rooms.entry(room).or_default().present.insert(user.clone(), visible);
        }
    }

    fn change_room(&self, room: &RoomId, change: impl FnOnce(&mut Room)) {
        if let Some(mut entry) = self.rooms.get_mut(room) {
            change(&mut entry);
        }
        self.rooms.remove_if(room, |_, entry| entry.watchers == CoreSet::default() && entry.present.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(text: &str) -> RoomId {
        RoomId::from_text(text).unwrap()
    }

    fn user(text: &str) -> UserId {
        UserId::from_text(text).unwrap()
    }

    #[test]
    fn a_room_names_the_cores_that_watch_it_and_is_forgotten_with_the_last() {
        let directory = Directory::default();
        directory.watch(&room("r"), CoreId(0));
        directory.watch(&room("r"), CoreId(63));
        assert_eq!(directory.watchers(&room("r")).iter().collect::<Vec<_>>(), [CoreId(0), CoreId(63)]);
        directory.unwatch(&room("r"), CoreId(0));
        directory.unwatch(&room("r"), CoreId(63));
        assert!(directory.rooms.is_empty());
    }

    #[test]
    fn contacts_hear_of_a_user_once_however_many_rooms_they_share() {
        let directory = Directory::default();
        let now = Instant::now();
        let rooms = || vec![room("a"), room("b")];
        directory.arrive(&user("bob"), &"Bob".into(), CoreId(1), rooms());
        directory.arrive(&user("eve"), &"Eve".into(), CoreId(1), vec![room("c")]);
        assert_eq!(directory.arrive(&user("ada"), &"Ada".into(), CoreId(0), rooms()), Some(Announcement::Online));
        let audience = directory.audience(&user("ada"));
        assert_eq!(audience, HashMap::from([(CoreId(1), vec![user("bob")])]));

        let online = directory.online(&room("a"));
        assert_eq!(online.count, 2);
        directory.choose(&user("bob"), Status::Offline, now);
        assert_eq!(directory.online(&room("a")).count, 1, "bob is invisible");
        assert_eq!(directory.audience(&user("ada")).len(), 1, "and still hears of others");

        assert!(directory.leave(&user("ada"), CoreId(0), now));
        let (announcement, username, audience) = directory.expire(&user("ada"), now).unwrap();
        assert_eq!((announcement, &*username), (Announcement::Offline, "Ada"));
        assert_eq!(audience.len(), 1);
        directory.leave(&user("bob"), CoreId(1), now);
        directory.leave(&user("eve"), CoreId(1), now);
        assert!(directory.expire(&user("bob"), now).is_none(), "nobody is told of an invisible user");
        directory.expire(&user("eve"), now);
        assert!(directory.rooms.is_empty() && directory.users.is_empty(), "nothing is left behind");
    }

    #[test]
    fn a_user_who_enters_a_new_conversation_is_seen_there() {
        let directory = Directory::default();
        directory.arrive(&user("ada"), &"Ada".into(), CoreId(0), Vec::new());
        directory.enter(&user("ada"), &room("new"));
        directory.enter(&user("ghost"), &room("new"));
        let online = directory.online(&room("new"));
        assert_eq!((online.count, online.listed.len()), (1, 1));
    }
}
