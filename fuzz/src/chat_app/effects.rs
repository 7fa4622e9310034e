//! What each effect must be like, by what it came of.

use alt_ws_pure::chat::application::Application as _;
use alt_ws_pure::chat::effect::{Effect, OutEvent, Record};
use alt_ws_pure::chat::presence::PresenceChange;
use alt_ws_pure::ids::{RoomId, SocketKey, UserId};

use super::people::State;
use super::store::user_of;
use super::world::{CORE, World};

/// What the chat was told when it asked for effects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A visit begins, or its client says something.
    Own(usize),
    /// A visit ends.
    End(usize),
    /// The store answers what a visit asked for.
    Outcome(usize),
    /// Somebody is no member any more.
    Removed(UserId),
    Time,
}

impl World {
    /// Executes effects in order, as the server does.
    pub(super) fn perform(&mut self, effects: Vec<Effect>, cause: &Cause) {
        for effect in effects {
            self.perform_one(effect, cause);
        }
    }

    fn perform_one(&mut self, effect: Effect, cause: &Cause) {
        match effect {
            Effect::Emit { to, event, ack } => {
                assert_eq!(ack, None, "the chat asks for no acknowledgement");
                let visit = self.hearer(to, cause);
                if self.people.visits[visit].state == State::Lost {
                    assert_eq!(&*event.name, "message:ack", "all that is kept for whoever comes back");
                }
            }
            Effect::Ack { to, id, .. } => {
                let visit = self.hearer(to, cause);
                let visit = &mut self.people.visits[visit];
                let was_asked = visit.asked.remove(&id.0);
                assert!(was_asked || visit.state == State::Lost, "{id:?} is answered twice, or was not asked for");
            }
            Effect::Broadcast { room, except, event, volatile } => {
                self.broadcast(&room, except, &event, volatile, cause)
            }
            // A number in the metrics.
            Effect::Failed(_) => {}
            Effect::Watch(room) => assert!(self.watched.insert(room), "watched twice"),
            Effect::Unwatch(room) => assert!(self.watched.remove(&room), "not watched"),
            Effect::Store(record) => self.ask(record, cause),
            Effect::Verify { socket, ack, token } => {
                self.hearer(socket, cause);
                self.verify(socket, ack, token.reveal(), cause);
            }
            Effect::Presence { user, socket, change, .. } => self.presence(&user, socket, &change, cause),
            Effect::Restored { socket, is_certain } => {
                let visit = self.hearer(socket, cause);
                assert_eq!(self.people.visits[visit].state, State::Restoring, "restored once");
                assert_eq!(is_certain, !self.people.visits[visit].is_in_doubt);
                if is_certain {
                    self.people.visits[visit].state = State::Here;
                } else {
                    self.to_begin_anew.push(visit);
                }
            }
            Effect::Disconnect { socket, .. } => {
                let visit = self.people.at(socket).expect("who is gone cannot be put out");
                self.to_lose.push(self.people.visits[visit].place);
            }
        }
    }

    /// Who is told something: whoever it is about, who is there, or whose connection was lost. Nobody who came later.
    fn hearer(&self, to: SocketKey, cause: &Cause) -> usize {
        let there = self.people.at(to);
        match cause {
            Cause::Own(visit) => assert_eq!(there, Some(*visit), "somebody else is told"),
            Cause::Outcome(visit) => {
                assert_eq!(self.people.visits[*visit].key, to, "somebody else is told");
                if self.people.visits[*visit].state == State::Lost {
                    return *visit;
                }
                assert_eq!(there, Some(*visit), "told what one had asked for who had left");
            }
            Cause::Removed(user) => {
                assert!(there.is_some_and(|visit| self.people.visits[visit].user == *user), "somebody else is told");
            }
            Cause::Time => {}
            Cause::End(_) => panic!("whoever is gone is told something"),
        }
        there.expect("nobody is there")
    }

    fn broadcast(&mut self, room: &RoomId, except: Option<SocketKey>, event: &OutEvent, volatile: bool, cause: &Cause) {
        let author = except.expect("the chat says nothing in its own name");
        let visit = match cause {
            Cause::Own(visit) | Cause::End(visit) | Cause::Outcome(visit) => *visit,
            Cause::Removed(_) | Cause::Time => self.people.at(author).expect("the author is gone"),
        };
        let visit = &mut self.people.visits[visit];
        assert_eq!(visit.key, author, "in somebody else's name");
        let is_member = self.store.is_member(room, &visit.user);
        let is_in = self.chat.members(room).contains(&author) && visit.is_there();
        match &*event.name {
            "typing:user" if event.args.contains("\"isTyping\":true") => {
                assert!(is_member && visit.is_there(), "typing by one who is no member");
                visit.typing.insert(room.clone());
            }
            "typing:user" => assert!(visit.typing.remove(room), "one stops who was not typing"),
            "user:joined" => assert!(is_in && is_member, "who is not in the room joined it"),
            "user:left" => assert!(!is_in, "who left the room is in it"),
            other => panic!("{other} is nothing that a room is told by the chat"),
        }
        assert_eq!(volatile, &*event.name == "typing:user");
        for member in self.chat.members(room) {
            let hearer = self.people.at(*member).expect("a room is told, and somebody in it is gone");
            assert!(self.store.is_member(room, &self.people.visits[hearer].user), "told to one who is no member");
        }
    }

    fn ask(&mut self, record: Record, cause: &Cause) {
        let (Cause::Own(visit) | Cause::Outcome(visit)) = cause else { panic!("{cause:?} asks the store") };
        assert_eq!((record.origin.core, self.people.at(record.origin.socket)), (CORE, Some(*visit)));
        assert_eq!(*user_of(&record.body), self.people.visits[*visit].user, "asked in somebody else's name");
        assert!(record.origin.request > self.last_request, "a number is used twice");
        self.last_request = record.origin.request;
        self.store.ask(record, *visit);
    }

    fn presence(&mut self, user: &UserId, socket: SocketKey, change: &PresenceChange, cause: &Cause) {
        let (Cause::Own(visit) | Cause::Outcome(visit) | Cause::End(visit)) = cause else { panic!("{cause:?}") };
        let visit = &mut self.people.visits[*visit];
        assert_eq!((&visit.user, visit.key), (user, socket), "somebody else's presence");
        match change {
            PresenceChange::Arrived { .. } => {
                assert!(visit.state == State::Here && !visit.has_arrived, "arrived twice, or not at all");
                visit.has_arrived = true;
            }
            PresenceChange::Chose(_) => assert!(visit.is_there() && visit.has_arrived, "seen before they arrived"),
            PresenceChange::Left => {
                assert!(matches!(cause, Cause::End(_)) && visit.has_arrived, "left without having arrived");
                visit.has_arrived = false;
            }
        }
    }
}
