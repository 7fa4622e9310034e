//! The store that keeps nothing: plain maps with the semantics of the real ones.
//!
//! Owns conversations, members, the newest [`KEPT_MESSAGES`] messages of each room and the [`KEPT_CLIENT_IDS`] newest
//! `clientMsgId`s. Beyond that it forgets: an older message cannot be acknowledged, `missed` says that it is not
//! complete, the history begins with the oldest that is kept, and an older `clientMsgId` no longer prevents a second
//! copy. Rooms are bounded by [`MAX_ROOMS`].

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::stamp::Stamps;
use super::{MAX_CONVERSATIONS, StoreError};
use crate::chat::effect::{
    Committed, History, Join, Joined, Missed, NewMessage, NewReceipt, Page, PageRequest, ReceiptStatus, Receipted,
    RecordBody, Refusal,
};
use crate::chat::event::Message;
use crate::ids::{RoomId, UserId};

use super::page::PageBuilder;
use super::reader::Reader;

/// Messages kept of each room.
const KEPT_MESSAGES: usize = 1000;
/// `clientMsgId`s kept, over all users.
const KEPT_CLIENT_IDS: usize = 10_000;
/// Rooms never end here; joining an unknown one beyond this many is refused as a full disk would be.
const MAX_ROOMS: usize = 100_000;

/// Everything there is, gone with the process.
#[derive(Debug)]
pub(super) struct Memory {
    open_rooms: bool,
    stamps: Stamps,
    rooms: HashMap<RoomId, Room>,
    /// The rooms of each user, in the order of joining.
    joined: HashMap<UserId, Vec<RoomId>>,
    sent: HashMap<(UserId, String), Arc<Message>>,
    sent_order: VecDeque<(UserId, String)>,
}

#[derive(Debug, Default)]
struct Room {
    /// Whoever asks becomes a member, while the server has open rooms.
    open: bool,
    members: HashSet<UserId>,
    last_seq: i64,
    messages: VecDeque<Arc<Message>>,
    readers: HashMap<UserId, Reader>,
}

impl Memory {
    pub(super) fn new(open_rooms: bool, members: &[(RoomId, UserId)]) -> Result<Self, StoreError> {
        let mut memory = Self {
            open_rooms,
            stamps: Stamps::new()?,
            rooms: HashMap::new(),
            joined: HashMap::new(),
            sent: HashMap::new(),
            sent_order: VecDeque::new(),
        };
        for (room, user) in members {
            memory.add_member(room, user);
        }
        Ok(memory)
    }

    pub(super) fn apply(&mut self, bodies: &[&RecordBody]) -> Vec<Result<Committed, Refusal>> {
        bodies
            .iter()
            .map(|body| match *body {
                RecordBody::Message(message) => self.message(message),
                RecordBody::Receipt(receipt) => self.receipt(receipt).map(Committed::Receipt),
                RecordBody::Join(join) => self.join(join).map(Committed::Joined),
                RecordBody::History(history) => self.history(history),
                RecordBody::Access { room, user } => {
                    member_room(&mut self.rooms, room, user).map(|_| Committed::Access)
                }
                RecordBody::Conversations { user } => Ok(Committed::Conversations(self.conversations(user))),
            })
            .collect()
    }

    fn add_member(&mut self, room: &RoomId, user: &UserId) {
        if self.rooms.entry(room.clone()).or_default().members.insert(user.clone()) {
            self.joined.entry(user.clone()).or_default().push(room.clone());
        }
    }

    fn message(&mut self, new: &NewMessage) -> Result<Committed, Refusal> {
        member_room(&mut self.rooms, &new.room, &new.user)?;
        let key = new.client_msg_id.clone().map(|id| (new.user.clone(), id));
        if let Some(first) = key.as_ref().and_then(|key| self.sent.get(key)) {
            let current = self.rooms.get(&first.room).and_then(|room| room.by_seq(first.seq)).unwrap_or(first);
            let message = Arc::new(Message { temp_id: new.temp_id.clone(), ..Message::clone(current) });
            return Ok(Committed::Message { message, duplicate: true });
        }
        let timestamp = self.stamps.now();
        let id = self.stamps.id(timestamp);
        let room = member_room(&mut self.rooms, &new.room, &new.user)?;
        room.last_seq += 1;
        let message = Message { temp_id: None, ..new.stored(id, room.last_seq, timestamp) };
        let stored = Arc::new(message.clone());
        if room.messages.len() >= KEPT_MESSAGES {
            room.messages.pop_front();
        }
        room.messages.push_back(Arc::clone(&stored));
        if let Some(key) = key {
            self.remember(key, stored);
        }
        let message = Arc::new(Message { temp_id: new.temp_id.clone(), ..message });
        Ok(Committed::Message { message, duplicate: false })
    }

    fn remember(&mut self, key: (UserId, String), message: Arc<Message>) {
        if self.sent_order.len() >= KEPT_CLIENT_IDS
            && let Some(oldest) = self.sent_order.pop_front()
        {
            self.sent.remove(&oldest);
        }
        self.sent.insert(key.clone(), message);
        self.sent_order.push_back(key);
    }

    fn receipt(&mut self, receipt: &NewReceipt) -> Result<Receipted, Refusal> {
        let timestamp = self.stamps.now();
        let room = member_room(&mut self.rooms, &receipt.room, &receipt.user)?;
        let message = room.messages.iter().rev().find(|message| message.id == receipt.message);
        let message = message.ok_or(Refusal::NoSuchMessage)?;
        if message.user == receipt.user {
            return Err(Refusal::OwnMessage);
        }
        let seq = message.seq;
        let reader = room.readers.entry(receipt.user.clone()).or_default();
        let changed = !reader.covers(seq, receipt.status, receipt.up_to);
        if changed {
            let first = if receipt.up_to { reader.watermark(receipt.status) + 1 } else { seq };
            for message in &mut room.messages {
                if (first..=seq).contains(&message.seq) && message.user != receipt.user {
                    mark(message, receipt);
                }
            }
            let others = room.messages.iter().filter(|message| message.user != receipt.user);
            reader.raise(seq, receipt.status, receipt.up_to, room.last_seq, others.map(|message| message.seq));
        }
        Ok(receipt.stored(timestamp, changed))
    }

    fn join(&mut self, join: &Join) -> Result<Joined, Refusal> {
        self.enter(&join.room, &join.user)?;
        let room = member_room(&mut self.rooms, &join.room, &join.user)?;
        let reader = room.readers.get(&join.user);
        let unread =
            room.messages.iter().rev().filter(|message| {
                message.user != join.user && !reader.is_some_and(|reader| reader.has_read(message.seq))
            });
        let unread = unread.take(usize::try_from(Joined::MAX_UNREAD).unwrap_or(usize::MAX)).count();
        Ok(Joined {
            room: join.room.clone(),
            user: join.user.clone(),
            seq: room.last_seq,
            unread: u64::try_from(unread).unwrap_or(Joined::MAX_UNREAD),
            missed: join.since.map(|since| room.missed(since)),
        })
    }

    fn history(&mut self, history: &History) -> Result<Committed, Refusal> {
        let room = member_room(&mut self.rooms, &history.room, &history.user)?;
        Ok(Committed::History { room: history.room.clone(), page: room.page(&history.request) })
    }

    /// Makes the user a member if the room lets them in.
    fn enter(&mut self, room: &RoomId, user: &UserId) -> Result<(), Refusal> {
        let known = self.rooms.len();
        match self.rooms.get_mut(room) {
            Some(room) if room.members.contains(user) => return Ok(()),
            _ if !self.open_rooms => return Err(Refusal::NotMember),
            Some(room) if !room.open => return Err(Refusal::NotMember),
            Some(_) => {}
            None if known >= MAX_ROOMS => return Err(Refusal::StorageFull),
            None => {
                self.rooms.insert(room.clone(), Room { open: true, ..Room::default() });
            }
        }
        self.add_member(room, user);
        Ok(())
    }

    fn conversations(&self, user: &UserId) -> Vec<RoomId> {
        let joined = self.joined.get(user).into_iter().flatten();
        joined.rev().take(MAX_CONVERSATIONS).cloned().collect()
    }
}

fn member_room<'a>(
    rooms: &'a mut HashMap<RoomId, Room>,
    room: &RoomId,
    user: &UserId,
) -> Result<&'a mut Room, Refusal> {
    rooms.get_mut(room).filter(|room| room.members.contains(user)).ok_or(Refusal::NotMember)
}

fn mark(message: &mut Arc<Message>, receipt: &NewReceipt) {
    let read = message.read || receipt.status == ReceiptStatus::Read;
    if !message.delivered || read != message.read {
        let message = Arc::make_mut(message);
        message.delivered = true;
        message.read = read;
    }
}

impl Room {
    fn by_seq(&self, seq: i64) -> Option<&Arc<Message>> {
        let first = self.messages.front()?.seq;
        self.messages.get(usize::try_from(seq.checked_sub(first)?).ok()?)
    }

    /// What is kept after `since`, oldest first. Not complete when cut, or when older ones are forgotten.
    fn missed(&self, since: i64) -> Missed {
        let request = PageRequest { before: None, after: Some(since), limit: Missed::MAX_MESSAGES };
        let messages = self.page(&request).messages;
        let expected = self.last_seq.saturating_sub(since).max(0);
        Missed { complete: i64::try_from(messages.len()) == Ok(expected), messages }
    }

    /// A page of what is kept.
    fn page(&self, request: &PageRequest) -> Page {
        let first = request.after.map_or(0, |after| self.messages.partition_point(|message| message.seq <= after));
        let end = request
            .before
            .map_or(self.messages.len(), |before| self.messages.partition_point(|message| message.seq < before));
        let mut asked_for = self.messages.iter().skip(first).take(end.saturating_sub(first));
        let mut page = PageBuilder::new(request);
        let mut next = || if request.after.is_some() { asked_for.next() } else { asked_for.next_back() };
        while next().is_some_and(|message| page.push(Message::clone(message))) {}
        page.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room() -> RoomId {
        RoomId::from_text("5").unwrap()
    }

    fn user(name: &str) -> UserId {
        UserId::from_text(name).unwrap()
    }

    fn send(memory: &mut Memory, client_msg_id: Option<String>) -> (Arc<Message>, bool) {
        let new = NewMessage {
            room: room(),
            user: user("ann"),
            username: "Ann".into(),
            content: "hi".into(),
            kind: "text".into(),
            attachments: "[]".into(),
            temp_id: None,
            client_msg_id,
        };
        match memory.message(&new) {
            Ok(Committed::Message { message, duplicate }) => (message, duplicate),
            other => panic!("{other:?}"),
        }
    }

    fn memory() -> Memory {
        Memory::new(false, &[(room(), user("ann")), (room(), user("bob"))]).unwrap()
    }

    #[test]
    fn the_newest_thousand_messages_are_kept_and_missed_says_so() {
        let mut memory = memory();
        let (first, _) = send(&mut memory, None);
        (0..KEPT_MESSAGES).for_each(|_| drop(send(&mut memory, None)));
        let mut join = Join { room: room(), user: user("bob"), since: Some(0) };
        let missed = memory.join(&join).unwrap().missed.unwrap();
        assert!(!missed.complete, "message 1 is forgotten");
        assert_eq!(missed.messages.first().unwrap().seq, 2);
        join.since = Some(900);
        let joined = memory.join(&join).unwrap();
        assert_eq!((joined.seq, joined.unread), (1001, 1000));
        assert!(joined.missed.unwrap().complete);
        let oldest = PageRequest { before: Some(4), after: None, limit: 50 };
        let Ok(Committed::History { page, .. }) =
            memory.history(&History { room: room(), user: user("bob"), request: oldest })
        else {
            panic!("no page")
        };
        assert_eq!((page.messages.len(), page.has_more), (2, false), "the history begins with message 2");
        let receipt = NewReceipt {
            room: room(),
            user: user("bob"),
            message: first.id,
            status: ReceiptStatus::Read,
            up_to: false,
        };
        assert_eq!(memory.receipt(&receipt).unwrap_err(), Refusal::NoSuchMessage);
    }

    #[test]
    fn r5_client_ids_are_bounded_and_outlive_their_message() {
        let mut memory = memory();
        let (first, _) = send(&mut memory, Some("0".into()));
        (1..KEPT_CLIENT_IDS).for_each(|n| drop(send(&mut memory, Some(n.to_string()))));
        let (again, duplicate) = send(&mut memory, Some("0".into()));
        assert!(duplicate);
        assert_eq!(again.id, first.id);
        send(&mut memory, Some("one more".into()));
        assert_eq!(memory.sent.len(), KEPT_CLIENT_IDS);
        assert!(!send(&mut memory, Some("0".into())).1, "forgotten");
    }
}
