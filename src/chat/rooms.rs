//! Which of this core's sockets are in which room.
//!
//! Owns the member lists that a broadcast walks. A room also counts the joins that still wait for the store, because
//! commits must be mailed here before the first of them is answered.

use std::collections::HashMap;

use crate::ids::{RoomId, SocketKey};

/// The rooms of one core. A room exists while somebody is in it or about to be.
#[derive(Debug, Default)]
pub struct Rooms {
    rooms: HashMap<RoomId, Room>,
}

#[derive(Debug, Default)]
struct Room {
    members: Vec<SocketKey>,
    awaited: u32,
}

/// Whether a change made the core begin or cease to care for a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// As before.
    Same,
    /// The first socket is here or on its way.
    Began,
    /// Nobody is here any more.
    Ceased,
}

impl Rooms {
    /// A join was handed to the store.
    pub fn await_join(&mut self, room: &RoomId) -> Interest {
        let known = self.rooms.contains_key(room);
        self.rooms.entry(room.clone()).or_default().awaited += 1;
        if known { Interest::Same } else { Interest::Began }
    }

    /// The store answered a join; whoever may enter was inserted before.
    pub fn settle_join(&mut self, room: &RoomId) -> Interest {
        if let Some(entry) = self.rooms.get_mut(room) {
            entry.awaited = entry.awaited.saturating_sub(1);
        }
        self.drop_if_empty(room)
    }

    /// A socket enters. `false` when it was in already. Only after [`Self::await_join`].
    pub fn insert(&mut self, room: &RoomId, socket: SocketKey) -> bool {
        let members = &mut self.rooms.entry(room.clone()).or_default().members;
        let is_new = !members.contains(&socket);
        if is_new {
            members.push(socket);
        }
        is_new
    }

    /// A socket leaves.
    pub fn remove(&mut self, room: &RoomId, socket: SocketKey) -> Interest {
        if let Some(entry) = self.rooms.get_mut(room)
            && let Some(position) = entry.members.iter().position(|member| *member == socket)
        {
            entry.members.swap_remove(position);
        }
        self.drop_if_empty(room)
    }

    /// The sockets in a room, in no particular order.
    #[must_use]
    pub fn members(&self, room: &RoomId) -> &[SocketKey] {
        self.rooms.get(room).map_or(&[], |room| &room.members)
    }

    fn drop_if_empty(&mut self, room: &RoomId) -> Interest {
        let is_empty = self.rooms.get(room).is_some_and(|room| room.members.is_empty() && room.awaited == 0);
        if is_empty {
            self.rooms.remove(room);
            Interest::Ceased
        } else {
            Interest::Same
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ConnectionKey, NamespaceId};

    fn socket(index: u32) -> SocketKey {
        SocketKey { connection: ConnectionKey { index, generation: 0 }, namespace: NamespaceId(0) }
    }

    #[test]
    fn interest_begins_with_the_first_join_and_ceases_with_the_last_leave() {
        let room = RoomId::from_text("r").unwrap();
        let mut rooms = Rooms::default();
        assert_eq!(rooms.await_join(&room), Interest::Began);
        assert_eq!(rooms.await_join(&room), Interest::Same);
        assert!(rooms.insert(&room, socket(1)));
        assert!(!rooms.insert(&room, socket(1)), "nobody is in a room twice");
        assert_eq!(rooms.settle_join(&room), Interest::Same);
        assert_eq!(rooms.remove(&room, socket(1)), Interest::Same, "the second join is still awaited");
        assert_eq!(rooms.settle_join(&room), Interest::Ceased, "it was refused");
        assert!(rooms.members(&room).is_empty());
        assert_eq!(rooms.remove(&room, socket(1)), Interest::Same, "what is gone does not cease again");
    }
}
