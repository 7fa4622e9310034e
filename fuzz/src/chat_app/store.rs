//! The store, as far as the chat sees it: who is a member, and what it was asked.

use std::collections::HashSet;
use std::sync::Arc;

use alt_ws_pure::chat::effect::{
    Committed, History, Join, Joined, Missed, NewMessage, NewReceipt, Page, Record, RecordBody, Refusal,
};
use alt_ws_pure::ids::{MessageId, RoomId, Timestamp, UserId};

/// A record that is not answered yet.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) record: Record,
    /// Whose it is.
    pub(super) visit: usize,
    /// Whether they were a member then.
    pub(super) was_member: bool,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    members: HashSet<(RoomId, UserId)>,
    pub(super) waiting: Vec<Asked>,
}

impl Store {
    pub(super) fn ask(&mut self, record: Record, visit: usize) {
        let was_member = record.body.room().is_none_or(|room| self.is_member(room, user_of(&record.body)));
        self.waiting.push(Asked { record, visit, was_member });
    }

    pub(super) fn is_member(&self, room: &RoomId, user: &UserId) -> bool {
        self.members.contains(&(room.clone(), user.clone()))
    }

    pub(super) fn add(&mut self, room: RoomId, user: UserId) {
        self.members.insert((room, user));
    }

    pub(super) fn remove(&mut self, room: &RoomId, user: &UserId) {
        self.members.remove(&(room.clone(), user.clone()));
    }

    /// Whether anybody has yet to be let into the room, or not.
    pub(super) fn awaits(&self, room: &RoomId) -> bool {
        self.waiting.iter().any(|asked| matches!(&asked.record.body, RecordBody::Join(join) if join.room == *room))
    }

    /// What becomes of a record. A join may be answered as it was when it was asked for: the end of a membership is told
    /// by another way than the answers, and may be faster.
    pub(super) fn answer(&self, asked: &Asked, as_of_then: bool) -> Result<Committed, Refusal> {
        let body = &asked.record.body;
        let is_member = match body {
            RecordBody::Conversations { .. } => true,
            RecordBody::Join(_) if as_of_then => asked.was_member,
            _ => body.room().is_some_and(|room| self.is_member(room, user_of(body))),
        };
        if is_member { Ok(self.done(body)) } else { Err(Refusal::NotMember) }
    }

    fn done(&self, body: &RecordBody) -> Committed {
        match body {
            RecordBody::Message(message) => {
                let message = message.stored(MessageId([1; 12]), 1, Timestamp(7));
                Committed::Message { message: Arc::new(message), duplicate: false }
            }
            RecordBody::Receipt(receipt) => Committed::Receipt(receipt.stored(Timestamp(7), true)),
            RecordBody::Join(Join { room, user, since }) => Committed::Joined(Joined {
                room: room.clone(),
                user: user.clone(),
                seq: 0,
                unread: 0,
                missed: since.map(|_| Missed { messages: Vec::new(), complete: true }),
            }),
            RecordBody::History(History { room, .. }) => {
                Committed::History { room: room.clone(), page: Page { messages: Vec::new(), has_more: false } }
            }
            RecordBody::Access { .. } => Committed::Access,
            RecordBody::Conversations { user } => {
                let rooms = self.members.iter().filter(|(_, member)| member == user).map(|(room, _)| room.clone());
                Committed::Conversations(rooms.collect())
            }
        }
    }
}

/// In whose name something is asked.
pub(super) fn user_of(body: &RecordBody) -> &UserId {
    match body {
        RecordBody::Message(NewMessage { user, .. })
        | RecordBody::Receipt(NewReceipt { user, .. })
        | RecordBody::Join(Join { user, .. })
        | RecordBody::History(History { user, .. })
        | RecordBody::Access { user, .. }
        | RecordBody::Conversations { user } => user,
    }
}
