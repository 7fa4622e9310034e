//! A store under test: started from settings, asked questions, held still so that many records meet in one batch.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use alt_ws::chat::effect::{
    Committed, Join, Joined, NewMessage, NewReceipt, Origin, Outcome, ReceiptStatus, Receipted, Record, RecordBody,
    Refusal,
};
use alt_ws::chat::event::Message;
use alt_ws::ids::{ConnectionKey, CoreId, MessageId, NamespaceId, RoomId, SocketKey, UserId};
use alt_ws::store::{StoreKind, StoreSettings, Writer};

/// How long an outcome may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// The request whose outcome stops the lane until it is released.
const HOLD: u64 = u64::MAX;

pub type Answer = Result<Committed, Refusal>;

/// A store that every test of the suite can start. A new store joins with one more constructor here.
pub struct Subject {
    pub settings: StoreSettings,
    /// Deleted when the subject is dropped.
    _directory: Option<tempfile::TempDir>,
}

impl Subject {
    pub fn memory() -> Self {
        Self { settings: StoreSettings::new(StoreKind::Memory), _directory: None }
    }

    pub fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("alt.db");
        Self { settings: StoreSettings::new(StoreKind::Sqlite { path }), _directory: Some(directory) }
    }

    pub fn members(mut self, members: &[(&str, &str)]) -> Self {
        self.settings.members = members.iter().map(|(room_id, user_id)| (room(room_id), user(user_id))).collect();
        self
    }

    pub fn open_rooms(mut self) -> Self {
        self.settings.open_rooms = true;
        self
    }

    pub fn start(&self) -> Running {
        let (outcomes, received) = mpsc::channel::<Outcome>();
        let (held, is_held) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let sink = move |batch: Vec<Outcome>| {
            for outcome in batch {
                if outcome.origin.request == HOLD {
                    let _ = held.send(());
                    let _ = released.recv();
                } else {
                    let _ = outcomes.send(outcome);
                }
            }
        };
        Running { writer: Writer::start(self.settings.clone(), sink).unwrap(), received, is_held, release }
    }
}

pub struct Running {
    pub writer: Writer,
    received: Receiver<Outcome>,
    is_held: Receiver<()>,
    release: Sender<()>,
}

impl Running {
    /// The answer to one record.
    pub fn ask(&self, body: RecordBody) -> Answer {
        self.ask_all(vec![body]).remove(0)
    }

    /// The answers to records that meet in one batch, in order; the origin of each is checked.
    pub fn ask_all(&self, bodies: Vec<RecordBody>) -> Vec<Answer> {
        let hold = self.hold();
        let count = bodies.len() as u64;
        for (request, body) in (0..).zip(bodies) {
            self.writer.handle().submit(record(request, body)).unwrap();
        }
        drop(hold);
        (0..count).map(|request| self.next(request)).collect()
    }

    /// The next outcome, which must be of that request.
    pub fn next(&self, request: u64) -> Answer {
        let outcome = self.received.recv_timeout(PATIENCE).unwrap();
        assert_eq!(outcome.origin, origin(request), "outcomes come in the order of the records");
        outcome.result
    }

    /// Shuts the writer down and returns the answers that came until then.
    pub fn shut_down(self) -> Vec<Answer> {
        self.writer.shutdown();
        self.received.try_iter().map(|outcome| outcome.result).collect()
    }

    pub fn is_quiet(&self) -> bool {
        self.received.try_recv().is_err()
    }

    /// Stops the lane inside its sink until the hold is dropped.
    pub fn hold(&self) -> Hold<'_> {
        let body = RecordBody::Access { room: room("nowhere"), user: user("nobody") };
        self.writer.handle().submit(record(HOLD, body)).unwrap();
        self.is_held.recv_timeout(PATIENCE).unwrap();
        Hold(&self.release)
    }

    /// Sends a plain message and returns it as stored.
    pub fn send(&self, room: &str, user: &str, content: &str) -> Arc<Message> {
        stored(self.ask(text(room, user, content)))
    }

    pub fn join(&self, room_id: &str, user_id: &str, since: Option<i64>) -> Result<Joined, Refusal> {
        self.ask(join(room_id, user_id, since)).map(|committed| match committed {
            Committed::Joined(joined) => joined,
            other => panic!("{other:?}"),
        })
    }

    pub fn receipt(
        &self,
        user: &str,
        message: &Message,
        status: ReceiptStatus,
        up_to: bool,
    ) -> Result<Receipted, Refusal> {
        self.ask(receipt(message.room.as_str(), user, message.id, status, up_to)).map(|committed| match committed {
            Committed::Receipt(receipted) => receipted,
            other => panic!("{other:?}"),
        })
    }
}

pub struct Hold<'a>(&'a Sender<()>);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

pub fn record(request: u64, body: RecordBody) -> Record {
    Record { origin: origin(request), body }
}

fn origin(request: u64) -> Origin {
    let connection = ConnectionKey { index: 7, generation: 1 };
    Origin { core: CoreId(1), socket: SocketKey { connection, namespace: NamespaceId(0) }, request }
}

pub fn room(text: &str) -> RoomId {
    RoomId::from_text(text).unwrap()
}

pub fn user(text: &str) -> UserId {
    UserId::from_text(text).unwrap()
}

/// A message with nothing special about it.
pub fn new_message(room_id: &str, user_id: &str, content: &str) -> NewMessage {
    NewMessage {
        room: room(room_id),
        user: user(user_id),
        username: user_id.to_uppercase().into(),
        content: content.into(),
        kind: "text".into(),
        attachments: "[]".into(),
        temp_id: None,
        client_msg_id: None,
    }
}

pub fn text(room: &str, user: &str, content: &str) -> RecordBody {
    RecordBody::Message(new_message(room, user, content))
}

/// A message that may be sent again.
pub fn once(room: &str, user: &str, content: &str, client_msg_id: &str, temp_id: &str) -> RecordBody {
    RecordBody::Message(NewMessage {
        client_msg_id: Some(client_msg_id.into()),
        temp_id: Some(temp_id.into()),
        ..new_message(room, user, content)
    })
}

pub fn receipt(room_id: &str, user_id: &str, message: MessageId, status: ReceiptStatus, up_to: bool) -> RecordBody {
    RecordBody::Receipt(NewReceipt { room: room(room_id), user: user(user_id), message, status, up_to })
}

pub fn join(room_id: &str, user_id: &str, since: Option<i64>) -> RecordBody {
    RecordBody::Join(Join { room: room(room_id), user: user(user_id), since })
}

pub fn access(room_id: &str, user_id: &str) -> RecordBody {
    RecordBody::Access { room: room(room_id), user: user(user_id) }
}

pub fn conversations(user_id: &str) -> RecordBody {
    RecordBody::Conversations { user: user(user_id) }
}

/// The message of an answer that must be a new one.
pub fn stored(answer: Answer) -> Arc<Message> {
    match answer {
        Ok(Committed::Message { message, duplicate: false }) => message,
        other => panic!("{other:?}"),
    }
}

/// The message of an answer that must be a duplicate.
pub fn duplicate(answer: Answer) -> Arc<Message> {
    match answer {
        Ok(Committed::Message { message, duplicate: true }) => message,
        other => panic!("{other:?}"),
    }
}

/// The refusal of an answer that must be one.
pub fn refused(answer: Answer) -> Refusal {
    match answer {
        Err(refusal) => refusal,
        Ok(committed) => panic!("{committed:?}"),
    }
}
