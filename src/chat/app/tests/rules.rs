//! Who may do what: section 6 of the catalogue of hostile inputs, whose ids the tests carry. The table of everything is
//! walked here, where that takes no time; its diagonal is walked on the wire by `protocol-tests/rules.test.mjs`.

mod removal;
mod table;

use std::collections::HashSet;

use super::*;
use crate::chat::command::EventName;
use crate::chat::effect::{Join, Missed, OutEvent};
use crate::chat::event::Message;

const NO_LIMITS: Settings = Settings { rates: Rates { events: 0, bytes: 0 }, rooms_per_socket: 100, ..SETTINGS };

/// A socket and the core that it is on.
type Seat = (usize, SocketKey);

/// Who was sent what: the name of an event, or `ack`, and its arguments.
type Heard = (Seat, String, String);

/// Two cores, and a store that knows who is a member and what was said.
struct House {
    chats: [Chat; 2],
    start: Instant,
    sockets: u32,
    members: HashSet<(String, String)>,
    messages: HashMap<MessageId, Arc<Message>>,
    /// What sockets were sent.
    heard: Vec<Heard>,
    /// What the store was asked, but for who is here.
    asked: usize,
}

impl House {
    fn new() -> Self {
        Self {
            chats: [0, 1].map(|core| Chat::new(CoreId(core), NO_LIMITS)),
            start: World::new().start,
            sockets: 0,
            members: HashSet::new(),
            messages: HashMap::new(),
            heard: Vec::new(),
            asked: 0,
        }
    }

    fn now(&self) -> Now {
        Now { instant: self.start, wall: Timestamp(1_770_000_000_000) }
    }

    fn member(&mut self, room: &str, user: &str) {
        self.members.insert((room.to_owned(), user.to_owned()));
    }

    fn connect(&mut self, core: usize, user: &str) -> Seat {
        self.sockets += 1;
        let connection = ConnectionKey { index: self.sockets, generation: 0 };
        let socket = SocketKey { connection, namespace: NamespaceId(0) };
        let claims = Claims { user: UserId::from_text(user).unwrap(), username: Arc::from(user), expires_at: None };
        let request = ConnectRequest { claims: Some(claims), payload: None };
        let (now, mut out) = (self.now(), Vec::new());
        self.chats[core].connect(socket, request, now, &mut out);
        self.perform(core, out);
        (core, socket)
    }

    /// A member who is in the room.
    fn inside(&mut self, core: usize, user: &str, room: &str) -> Seat {
        self.member(room, user);
        let seat = self.connect(core, user);
        self.send(seat, "room:join", &format!("{{\"roomId\":\"{room}\"}}"));
        seat
    }

    fn send(&mut self, (core, socket): Seat, name: &str, args: &str) {
        let event = Event { name: name.into(), args: Args::from_raw(args), attachments: Vec::new() };
        let (now, mut out) = (self.now(), Vec::new());
        self.chats[core].event(socket, event, Some(AckId(1)), now, &mut out);
        self.perform(core, out);
    }

    fn remove(&mut self, room: &str, user: &str) {
        self.members.remove(&(room.to_owned(), user.to_owned()));
        let (room, user) = (RoomId::from_text(room).unwrap(), UserId::from_text(user).unwrap());
        for core in 0..self.chats.len() {
            let (now, mut out) = (self.now(), Vec::new());
            self.chats[core].removed(&room, &user, now, &mut out);
            self.perform(core, out);
        }
    }

    fn perform(&mut self, core: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Emit { to, event, .. } => self.heard.push(((core, to), event.name.to_string(), event.args)),
                Effect::Ack { to, args, .. } => self.heard.push(((core, to), "ack".to_owned(), args)),
                Effect::Broadcast { room, except, event, .. } => {
                    self.tell(&room, except.map(|socket| (core, socket)), &event);
                }
                Effect::Store(record) => self.store(core, record),
                Effect::Watch(_)
                | Effect::Unwatch(_)
                | Effect::Presence { .. }
                | Effect::Restored { .. }
                | Effect::Failed(_) => {}
                Effect::Disconnect { reason, .. } => panic!("{reason}"),
            }
        }
    }

    fn tell(&mut self, room: &RoomId, except: Option<Seat>, event: &OutEvent) {
        for core in 0..self.chats.len() {
            for socket in self.chats[core].members(room) {
                if Some((core, *socket)) != except {
                    self.heard.push(((core, *socket), event.name.to_string(), event.args.clone()));
                }
            }
        }
    }

    fn store(&mut self, core: usize, record: Record) {
        let result = self.answer(&record.body);
        match &result {
            Ok(Committed::Message { message, duplicate: false }) => {
                self.tell(&message.room, None, &event::message_new(message));
            }
            Ok(Committed::Receipt(receipt)) => {
                let except = Some((core, record.origin.socket));
                self.tell(&receipt.room, except, &event::message_status(receipt));
            }
            _ => {}
        }
        let (now, mut out) = (self.now(), Vec::new());
        self.chats[core].outcome(Outcome { origin: record.origin, result }, Online::default(), now, &mut out);
        self.perform(core, out);
    }

    fn answer(&mut self, body: &RecordBody) -> Result<Committed, Refusal> {
        if let RecordBody::Conversations { .. } = body {
            return Ok(Committed::Conversations(Vec::new()));
        }
        self.asked += 1;
        let (room, user) = match body {
            RecordBody::Message(NewMessage { room, user, .. })
            | RecordBody::Receipt(NewReceipt { room, user, .. })
            | RecordBody::Join(Join { room, user, .. })
            | RecordBody::History(History { room, user, .. })
            | RecordBody::Access { room, user } => (room, user),
            RecordBody::Conversations { .. } => panic!("answered above"),
        };
        if !self.members.contains(&(room.to_string(), user.to_string())) {
            return Err(Refusal::NotMember);
        }
        Ok(match body {
            RecordBody::Message(new) => {
                let seq = self.messages.len() + 1;
                let id = MessageId([u8::try_from(seq).unwrap(); 12]);
                let message = Arc::new(new.stored(id, i64::try_from(seq).unwrap(), Timestamp(7)));
                self.messages.insert(id, Arc::clone(&message));
                Committed::Message { message, duplicate: false }
            }
            RecordBody::Receipt(receipt) => {
                let message = self.messages.get(&receipt.message).filter(|message| message.room == receipt.room);
                match message.ok_or(Refusal::NoSuchMessage)? {
                    message if message.user == receipt.user => return Err(Refusal::OwnMessage),
                    _ => Committed::Receipt(receipt.stored(Timestamp(8), true)),
                }
            }
            RecordBody::Join(Join { room, user, .. }) => {
                Committed::Joined(Joined { room: room.clone(), user: user.clone(), seq: 0, unread: 0, missed: None })
            }
            RecordBody::History(History { room, .. }) => Committed::History {
                room: room.clone(),
                page: Page { messages: self.messages.values().map(|m| Message::clone(m)).collect(), has_more: false },
            },
            RecordBody::Access { .. } => Committed::Access,
            RecordBody::Conversations { .. } => Committed::Conversations(Vec::new()),
        })
    }

    /// What one socket was sent, and what all the others were, since the last look.
    fn heard_by(&mut self, seat: Seat) -> (Vec<(String, String)>, Vec<Heard>) {
        let (own, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.heard).into_iter().partition(|(to, ..)| *to == seat);
        (own.into_iter().map(|(_, name, args)| (name, args)).collect(), others)
    }
}

/// Two people in the room, one on each core, and something said that an outsider would like to know.
fn busy_room() -> House {
    let mut house = House::new();
    let ada = house.inside(0, "ada", "r");
    house.inside(1, "bob", "r");
    house.send(ada, "message:send", r#"{"roomId":"r","content":"a secret"}"#);
    assert!(house.messages.contains_key(&MessageId([1; 12])));
    house
}

/// A payload with which a member in the room would be obeyed. No `_` here: of a new event it is to be said.
fn payload(event: EventName, room_id: &str) -> String {
    let message = MessageId([1; 12]);
    let more = match event {
        EventName::RoomJoin | EventName::RoomLeave | EventName::TypingStart | EventName::TypingStop => String::new(),
        EventName::MessageSend => ",\"content\":\"psst\"".to_owned(),
        EventName::MessageHistory => ",\"limit\":200".to_owned(),
        EventName::MessageDelivered | EventName::MessageRead => format!(",\"messageId\":\"{message}\",\"upTo\":true"),
        EventName::PresenceUpdate => ",\"status\":\"busy\"".to_owned(),
        EventName::AuthRefresh => ",\"token\":\"none\"".to_owned(),
    };
    format!("{{\"roomId\":{room_id}{more}}}")
}
