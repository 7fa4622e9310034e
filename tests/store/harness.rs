//! A store under test: started from settings, asked questions, held still so that many records meet in one batch.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alt_ws::auth::revocations::Revocations;
use alt_ws::chat::effect::{
    Committed, History, Join, Joined, NewMessage, NewReceipt, Origin, Outcome, Page, PageRequest, ReceiptStatus,
    Receipted, Record, RecordBody, Refusal,
};
use alt_ws::chat::event::Message;
use alt_ws::ids::{ConnectionKey, CoreId, MessageId, NamespaceId, RoomId, SocketKey, UserId};
use alt_ws::store::revocations::RevocationList;
use alt_ws::store::{
    Health, MessagesKind, MongoSettings, News, PostgresSettings, Seat, SideHealth, StoreKind, StoreSettings,
    StructureKind, Writer,
};

#[path = "../support/services.rs"]
pub(crate) mod services;
pub(crate) use services::{shared_mongo, shared_postgres};

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

    /// Structure in PostgreSQL, messages in MongoDB.
    pub fn databases() -> Self {
        Self::split(postgres(), mongo(), None)
    }

    /// Structure in PostgreSQL, messages in the embedded file.
    pub fn postgres_and_sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("alt.db");
        Self::split(postgres(), MessagesKind::Sqlite { path }, Some(directory))
    }

    /// Structure in the embedded file, messages in MongoDB.
    pub fn sqlite_and_mongo() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("alt.db");
        Self::split(StructureKind::Sqlite { path }, mongo(), Some(directory))
    }

    fn split(structure: StructureKind, messages: MessagesKind, directory: Option<tempfile::TempDir>) -> Self {
        let mut settings = StoreSettings::new(StoreKind::Split { structure, messages });
        // One lane, so that records meet in one batch whatever their rooms are.
        settings.lanes = 1;
        Self { settings, _directory: directory }
    }

    /// The list of revocations as the command line edits it; `None` for a store in memory.
    pub fn revocation_list(&self) -> Option<RevocationList> {
        match &self.settings.kind {
            StoreKind::Memory => None,
            StoreKind::Sqlite { path } | StoreKind::Split { structure: StructureKind::Sqlite { path }, .. } => {
                Some(RevocationList::open(path).unwrap())
            }
            StoreKind::Split { structure: StructureKind::Postgres(postgres), .. } => {
                Some(RevocationList::in_postgres(postgres.clone()).unwrap())
            }
        }
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
        let (answers, received) = mpsc::channel::<Outcome>();
        let (out, removed) = mpsc::channel();
        let (list_out, revoked) = mpsc::channel();
        let (held, is_held) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let released = Mutex::new(released);
        let sink = move |news: News| {
            let outcomes = match news {
                News::Outcomes(outcomes) => outcomes,
                News::Removed(seats) => return drop(out.send(seats)),
                News::Revoked(list) => return drop(list_out.send(list)),
            };
            for outcome in outcomes {
                if outcome.origin.request == HOLD {
                    let _ = held.send(());
                    let _ = released.lock().unwrap().recv();
                } else {
                    let _ = answers.send(outcome);
                }
            }
        };
        let writer = Writer::start(self.settings.clone(), sink).unwrap();
        let since = Instant::now();
        while writer.handle().health() != WELL {
            assert!(since.elapsed() < PATIENCE, "{:?}", writer.handle().health());
            std::thread::sleep(Duration::from_millis(5));
        }
        Running { writer, received, removed, revoked, is_held, release }
    }
}

const WELL: SideHealth = SideHealth { structure: Health::Ok, messages: Health::Ok };

/// A new PostgreSQL database.
pub fn postgres() -> StructureKind {
    let postgres = shared_postgres();
    let config: tokio_postgres::Config = postgres.url(&postgres.database()).parse().unwrap();
    let host = match &config.get_hosts()[0] {
        tokio_postgres::config::Host::Tcp(host) => host.clone(),
        tokio_postgres::config::Host::Unix(folder) => folder.display().to_string(),
    };
    StructureKind::Postgres(PostgresSettings {
        host,
        port: config.get_ports().first().copied().unwrap_or(5432),
        database: config.get_dbname().unwrap().to_owned(),
        user: config.get_user().unwrap().to_owned(),
        password: config.get_password().map(|password| String::from_utf8_lossy(password).into_owned()),
    })
}

/// A new MongoDB database.
pub fn mongo() -> MessagesKind {
    let mongo = shared_mongo();
    MessagesKind::Mongo(MongoSettings { uri: mongo.uri(&mongo.database()) })
}

pub struct Running {
    pub writer: Writer,
    received: Receiver<Outcome>,
    /// Who was told to be out, as it was told.
    pub removed: Receiver<Vec<Seat>>,
    /// The lists of revocations, as they were told.
    pub revoked: Receiver<Arc<Revocations>>,
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
        self.writer.shutdown(Instant::now() + PATIENCE);
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

    pub fn page(&self, room_id: &str, user_id: &str, request: PageRequest) -> Result<Page, Refusal> {
        self.ask(history(room_id, user_id, request)).map(|committed| match committed {
            Committed::History { room: asked, page } if asked == room(room_id) => page,
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

pub fn history(room_id: &str, user_id: &str, request: PageRequest) -> RecordBody {
    RecordBody::History(History { room: room(room_id), user: user(user_id), request })
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
