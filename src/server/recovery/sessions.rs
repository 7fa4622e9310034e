//! The sessions that sockets of a core left behind, and the rooms that are watched for them.
//!
//! Owns the records, their bound, and the exact answer to whether the core must still be told of a room. Knows no
//! mailbox and no log.

use std::collections::HashMap;
use std::time::Instant;

use crate::chat::deadlines::{Deadlines, Entry};
use crate::ids::{ConnectionKey, CoreId, Offset, PrivateId, RoomId, SocketKey, UserId};

/// One attempt to take a session up: the connection that makes it, and a number that its core never uses again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) core: CoreId,
    pub(crate) connection: ConnectionKey,
    pub(crate) number: u64,
}

/// What a socket left behind.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) pid: PrivateId,
    pub(crate) user: UserId,
    pub(crate) rooms: Vec<RoomId>,
    /// The last offset that it was given, or presented when it was given none.
    pub(crate) last: Option<Offset>,
    /// The end of the core's log when it left.
    pub(crate) left: u64,
    /// Until when it may come back.
    pub(crate) until: Instant,
    /// Who is taking it up.
    pub(crate) taken: Option<Ticket>,
}

/// The sessions of one core. When there are too many, the one that would be over first goes.
#[derive(Debug)]
pub(crate) struct Sessions {
    left: HashMap<SocketKey, (Session, Entry)>,
    ends: Deadlines<SocketKey>,
    watched: HashMap<RoomId, Watch>,
    /// One for each session and each of its rooms.
    weight: usize,
    most: usize,
}

/// Who on this core cares for a room.
#[derive(Debug, Default)]
struct Watch {
    sessions: u32,
    application: bool,
}

/// A session that is over: its name, and the rooms that the core need not be told of any more.
#[derive(Debug)]
pub(crate) struct Gone {
    pub(crate) socket: SocketKey,
    pub(crate) pid: PrivateId,
    pub(crate) unwatched: Vec<RoomId>,
}

impl Sessions {
    /// `most`: sessions and their rooms together.
    pub(crate) fn new(most: usize) -> Self {
        Self { left: HashMap::new(), ends: Deadlines::default(), watched: HashMap::new(), weight: 0, most }
    }

    /// A socket leaves a session, in whose rooms it still is. Returns those that have to go for it.
    pub(crate) fn add(&mut self, socket: SocketKey, session: Session) -> Vec<Gone> {
        for room in &session.rooms {
            let new = Watch { sessions: 0, application: true };
            self.watched.entry(room.clone()).or_insert(new).sessions += 1;
        }
        self.weight += 1 + session.rooms.len();
        let latest = session.until;
        let end = self.ends.push(session.until, socket);
        self.left.insert(socket, (session, end));
        let mut gone = Vec::new();
        while self.weight > self.most {
            let Some(first) = self.ends.pop_due(latest) else { break };
            gone.extend(self.remove(first));
        }
        gone
    }

    pub(crate) fn contains(&self, socket: SocketKey) -> bool {
        self.left.contains_key(&socket)
    }

    /// Takes a session up. `None` when there is none by that name, it is another user's, or is being taken up already.
    pub(crate) fn take(
        &mut self,
        socket: SocketKey,
        pid: PrivateId,
        user: &UserId,
        ticket: Ticket,
    ) -> Option<&[RoomId]> {
        let (session, _) = self.left.get_mut(&socket)?;
        if session.pid != pid || session.user != *user || session.taken.is_some() {
            return None;
        }
        session.taken = Some(ticket);
        Some(&session.rooms)
    }

    /// The session that is being taken up with this ticket.
    pub(crate) fn taken(&self, socket: SocketKey, ticket: Ticket) -> Option<&Session> {
        self.left.get(&socket).map(|(session, _)| session).filter(|session| session.taken == Some(ticket))
    }

    /// The attempt came to nothing, and another may be made.
    pub(crate) fn release(&mut self, socket: SocketKey, ticket: Ticket) {
        if let Some((session, _)) = self.left.get_mut(&socket)
            && session.taken == Some(ticket)
        {
            session.taken = None;
        }
    }

    /// The session is over.
    pub(crate) fn remove(&mut self, socket: SocketKey) -> Option<Gone> {
        let (session, end) = self.left.remove(&socket)?;
        self.ends.remove(end);
        self.weight -= 1 + session.rooms.len();
        let mut unwatched = session.rooms;
        unwatched.retain(|room| {
            let Some(watch) = self.watched.get_mut(room) else { return false };
            watch.sessions -= 1;
            let (is_last, application) = (watch.sessions == 0, watch.application);
            if is_last {
                self.watched.remove(room);
            }
            is_last && !application
        });
        Some(Gone { socket, pid: session.pid, unwatched })
    }

    /// The next session whose time is over.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Gone> {
        let socket = self.ends.pop_due(now)?;
        self.remove(socket)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.ends.deadline()
    }

    /// The application begins or ceases to care for a room. Says whether a session does.
    pub(crate) fn note(&mut self, room: &RoomId, application: bool) -> bool {
        self.watched.get_mut(room).map(|watch| watch.application = application).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ids::{NamespaceId, TOKEN_BYTES};

    fn room(text: &str) -> RoomId {
        RoomId::from_text(text).unwrap()
    }

    fn socket(index: u32) -> SocketKey {
        SocketKey { connection: ConnectionKey { index, generation: 0 }, namespace: NamespaceId(0) }
    }

    fn pid(byte: u8) -> PrivateId {
        PrivateId::new([byte; TOKEN_BYTES])
    }

    fn user(text: &str) -> UserId {
        UserId::from_text(text).unwrap()
    }

    fn session(byte: u8, rooms: &[&str], until: Instant) -> Session {
        let rooms = rooms.iter().map(|text| room(text)).collect();
        Session { pid: pid(byte), user: user("ada"), rooms, last: None, left: 0, until, taken: None }
    }

    fn ticket(number: u64) -> Ticket {
        Ticket { core: CoreId(1), connection: ConnectionKey { index: 0, generation: 0 }, number }
    }

    #[test]
    fn a_session_is_taken_up_by_its_user_once_at_a_time() {
        let mut sessions = Sessions::new(100);
        let until = Instant::now();
        assert!(sessions.add(socket(1), session(1, &["a", "b"], until)).is_empty());
        assert!(sessions.take(socket(1), pid(2), &user("ada"), ticket(1)).is_none(), "not its pid");
        assert!(sessions.take(socket(1), pid(1), &user("bob"), ticket(1)).is_none(), "not its user");
        assert!(sessions.take(socket(2), pid(1), &user("ada"), ticket(1)).is_none(), "not its socket");
        let rooms = sessions.take(socket(1), pid(1), &user("ada"), ticket(1)).unwrap();
        assert_eq!(rooms, [room("a"), room("b")]);
        assert!(sessions.take(socket(1), pid(1), &user("ada"), ticket(2)).is_none(), "taken");
        sessions.release(socket(1), ticket(2));
        assert!(sessions.taken(socket(1), ticket(1)).is_some(), "another's ticket releases nothing");
        sessions.release(socket(1), ticket(1));
        assert!(sessions.taken(socket(1), ticket(1)).is_none());
        assert!(sessions.take(socket(1), pid(1), &user("ada"), ticket(2)).is_some());
    }

    #[test]
    fn a_room_is_unwatched_when_neither_a_session_nor_the_application_cares() {
        let mut sessions = Sessions::new(100);
        let until = Instant::now();
        sessions.add(socket(1), session(1, &["a", "b"], until));
        sessions.add(socket(2), session(2, &["a"], until));
        assert!(!sessions.note(&room("c"), false), "the application alone cared");
        assert!(sessions.note(&room("a"), false), "the sessions still do");
        assert!(sessions.note(&room("b"), false));
        assert!(sessions.note(&room("b"), true), "somebody came into b");
        assert_eq!(sessions.remove(socket(1)).unwrap().unwatched, [], "a has a session, b has somebody");
        assert_eq!(sessions.remove(socket(2)).unwrap().unwatched, [room("a")]);
        assert!(sessions.remove(socket(2)).is_none());
        assert!(sessions.watched.is_empty() && sessions.deadline().is_none());
        assert_eq!(sessions.weight, 0);
    }

    #[test]
    fn sessions_end_by_time_and_the_first_to_end_goes_when_there_are_too_many() {
        let mut sessions = Sessions::new(6);
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        sessions.add(socket(1), session(1, &["a"], at(1)));
        sessions.add(socket(2), session(2, &["b"], at(2)));
        let gone = sessions.add(socket(3), session(3, &["c", "d"], at(3)));
        assert_eq!(gone.iter().map(|gone| gone.socket).collect::<Vec<_>>(), [socket(1)]);
        assert!(sessions.pop_due(at(1)).is_none());
        assert_eq!(sessions.pop_due(at(2)).unwrap().pid, pid(2));
        assert_eq!(sessions.deadline(), Some(at(3)));
        let whole = sessions.add(socket(4), session(4, &["a", "b", "c", "d", "e", "f"], at(4)));
        assert_eq!(whole.len(), 2, "one that is too large by itself is not kept either");
        assert!(sessions.left.is_empty() && sessions.watched.is_empty());
    }
}
