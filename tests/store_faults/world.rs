//! PostgreSQL and MongoDB behind networks that can fail, a store on them, and ways past both.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alt_ws::chat::effect::{RecordBody, Refusal};
use alt_ws::chat::event::Message;
use alt_ws::ids::{RoomId, UserId};
use alt_ws::store::{
    Health, MessagesKind, MongoSettings, News, PostgresSettings, SideHealth, StoreKind, StoreSettings, StructureKind,
    Ticket, Writer, WriterHandle,
};
use futures_util::TryStreamExt as _;
use mongodb::bson::{Document, doc};
use tokio_postgres::SimpleQueryMessage;

use super::harness::services::{Mongo, Postgres, shared_mongo, shared_postgres};
use super::harness::{access, once, record, room, user};
use super::ledger::{Key, Ledger, Stored, Told, may_be_sent_again};
use super::toxic::Toxic;

/// Short, so that outages can be longer.
pub(crate) const PERSIST_TIMEOUT: Duration = Duration::from_secs(5);
/// What something takes that no fault holds up, on a busy machine.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(1);
/// From the end of a fault to the first acknowledgement.
pub(crate) const RECOVERY: Duration = Duration::from_secs(2);
/// Longer than anything that ends well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The request whose outcome stops its lane until it is released.
const HOLD: u64 = u64::MAX;
/// Between two looks at something that tells nobody when it changes.
const LOOK: Duration = Duration::from_millis(10);

const WELL: SideHealth = SideHealth { structure: Health::Ok, messages: Health::Ok };

/// Rooms and members of every world.
pub(crate) const ROOMS: [&str; 3] = ["a", "b", "c"];
pub(crate) const PEOPLE: [&str; 2] = ["ann", "bob"];

/// A database each, and what is between them and the store.
pub(crate) struct World {
    pub(crate) settings: StoreSettings,
    /// Before MongoDB.
    pub(crate) messages: Toxic,
    /// Before PostgreSQL.
    pub(crate) structure: Toxic,
    address: String,
    postgres_url: String,
    mongo: mongodb::Client,
    database: String,
    runtime: tokio::runtime::Runtime,
}

impl World {
    /// On servers that others use too: only the networks may fail.
    pub(crate) fn shared() -> Self {
        Self::on(shared_mongo(), shared_postgres())
    }

    pub(crate) fn on(mongo: &Mongo, postgres: &Postgres) -> Self {
        let before = |port| Toxic::before(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let (messages, structure) = (before(mongo.port()), before(postgres.port()));
        let (database, postgres_database) = (mongo.database(), postgres.database());
        let postgres_url = postgres.url(&postgres_database);
        let address = format!("{} {} {database} {postgres_database}", messages.address(), structure.address());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let uri = mongo.uri(&database);
        let mongo = runtime.block_on(mongodb::Client::with_uri_str(uri)).unwrap();
        let settings = settings_at(&address);
        Self { settings, messages, structure, address, postgres_url, mongo, database, runtime }
    }

    /// What another process needs for [`settings_at`].
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// One lane, in which records meet in one batch whatever their rooms are.
    pub(crate) fn one_lane(mut self) -> Self {
        self.settings.lanes = 1;
        self
    }

    pub(crate) fn start(&self) -> Desk {
        Desk::open(self.settings.clone())
    }

    /// What MongoDB has, past the store and its network.
    pub(crate) fn stored(&self) -> Vec<Stored> {
        self.documents().iter().map(stored).collect()
    }

    pub(crate) fn documents(&self) -> Vec<Document> {
        let messages = self.mongo.database(&self.database).collection::<Document>("messages");
        let all = async { messages.find(doc! {}).await?.try_collect().await };
        self.runtime.block_on(all).unwrap()
    }

    /// Waits until so many messages are stored, whoever has been told.
    #[track_caller]
    pub(crate) fn wait_until_stored(&self, count: usize) {
        until("not stored", || self.stored().len() >= count);
    }

    /// Waits until changes of members are heard of, which is a change by itself.
    #[track_caller]
    pub(crate) fn wait_until_it_listens(&self) {
        let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND (query LIKE 'LISTEN%' OR query LIKE '%alt_ws_members_rows%')
            AND pid <> pg_backend_pid()";
        until("nobody listens", || !self.sql(sql).is_empty());
    }

    pub(crate) fn command(&self, command: Document) {
        let database = self.mongo.database(&self.database);
        self.runtime.block_on(async { database.run_command(command).await }).unwrap();
    }

    /// The rows that statements return, past the store and its network.
    pub(crate) fn sql(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.session().run(sql)
    }

    /// A session with PostgreSQL of its own.
    pub(crate) fn session(&self) -> Session<'_> {
        let connect = tokio_postgres::connect(&self.postgres_url, tokio_postgres::NoTls);
        let (client, connection) = self.runtime.block_on(connect).unwrap();
        self.runtime.spawn(connection);
        Session { client, runtime: &self.runtime }
    }

    /// How far the books and the store are apart.
    #[track_caller]
    pub(crate) fn check(&self, desk: &Desk) {
        until("the store still has records", || desk.handle().queued() == (0, 0));
        let wrong = desk.ledger.check(&self.stored(), PERSIST_TIMEOUT);
        assert!(wrong.is_empty(), "{} wrong, beginning with {:#?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    }
}

/// How to run a store on databases: MongoDB's address, PostgreSQL's, and the names of the databases there.
pub(crate) fn settings_at(address: &str) -> StoreSettings {
    let [mongo, postgres, database, postgres_database] = address.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let postgres: SocketAddr = postgres.parse().unwrap();
    let kind = StoreKind::Split {
        structure: StructureKind::Postgres(PostgresSettings {
            host: postgres.ip().to_string(),
            port: postgres.port(),
            database: postgres_database.into(),
            user: "postgres".into(),
            password: None,
        }),
        messages: MessagesKind::Mongo(MongoSettings {
            uri: format!("mongodb://{mongo}/{database}?directConnection=true"),
        }),
    };
    let mut settings = StoreSettings::new(kind);
    settings.persist_timeout = PERSIST_TIMEOUT;
    settings.members = everybody();
    settings
}

/// All people in all rooms.
pub(crate) fn everybody() -> Vec<(RoomId, UserId)> {
    ROOMS.iter().flat_map(|id| PEOPLE.iter().map(|name| (room(id), user(name)))).collect()
}

fn stored(document: &Document) -> Stored {
    let text = |name: &str| document.get_str(name).unwrap_or_default().to_owned();
    Stored {
        id: document.get_object_id("_id").unwrap().to_hex(),
        room: text("room"),
        seq: document.get_i64("seq").unwrap(),
        key: Key { user: text("userId"), client_msg_id: text("clientMsgId") },
    }
}

pub(crate) struct Session<'a> {
    client: tokio_postgres::Client,
    runtime: &'a tokio::runtime::Runtime,
}

impl Session<'_> {
    pub(crate) fn run(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let told = self.runtime.block_on(self.client.simple_query(sql)).unwrap();
        let rows = told.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        rows.map(|row| (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()).collect()
    }
}

/// A store that runs, and the books of what it was asked. As the server does, it gives up what the store has had for too
/// long, tells the client that it is not known, and still takes the store's word when it comes.
pub(crate) struct Desk {
    /// There until the end.
    writer: Option<Writer>,
    pub(crate) ledger: Arc<Ledger>,
    waiting: Sender<(Instant, u64, Ticket)>,
    patience: Duration,
    /// A lane stands still in its sink.
    held: Mutex<Receiver<()>>,
    /// It may go on.
    release: Sender<()>,
}

impl Desk {
    /// Starts a store and waits until it is well.
    pub(crate) fn open(settings: StoreSettings) -> Self {
        // What the store logs is shown with a test that fails.
        let _ = tracing_subscriber::fmt().with_ansi(false).with_test_writer().try_init();
        let ledger = Arc::new(Ledger::default());
        let books = Arc::clone(&ledger);
        let (holding, held) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let released = Mutex::new(released);
        let (waiting, who_waits) = mpsc::channel();
        let (patience, gives_up) = (settings.persist_timeout, Arc::clone(&ledger));
        // Ends by itself soon after the desk is gone.
        std::thread::spawn(move || give_up(&who_waits, &gives_up));
        let sink = move |news| {
            let News::Outcomes(outcomes) = news else { return };
            for outcome in outcomes {
                if outcome.origin.request == HOLD {
                    let _ = holding.send(());
                    let _ = released.lock().unwrap().recv();
                } else {
                    books.answered(outcome.origin.request, outcome.result);
                }
            }
        };
        let writer = Writer::start(settings, sink).unwrap();
        let desk = Self { writer: Some(writer), ledger, waiting, patience, held: Mutex::new(held), release };
        until("the store is not well", || desk.is_well());
        desk
    }

    pub(crate) fn handle(&self) -> WriterHandle {
        self.writer.as_ref().unwrap().handle()
    }

    pub(crate) fn is_well(&self) -> bool {
        self.handle().health() == WELL
    }

    /// Submits a record and returns the number of the request. That it is refused at once is noted as its answer.
    pub(crate) fn submit(&self, body: RecordBody) -> u64 {
        let request = self.ledger.sent(&body);
        match self.handle().submit(record(request, body)) {
            Ok(ticket) => self.waiting.send((Instant::now() + self.patience, request, ticket)).unwrap(),
            Err(refusal) => self.ledger.answered(request, Err(refusal)),
        }
        request
    }

    pub(crate) fn submit_all(&self, bodies: impl IntoIterator<Item = RecordBody>) -> Vec<u64> {
        bodies.into_iter().map(|body| self.submit(body)).collect()
    }

    #[track_caller]
    pub(crate) fn ask(&self, body: RecordBody) -> Told {
        self.ledger.wait(self.submit(body))
    }

    /// Submits records that meet in one batch, on a store of one lane.
    pub(crate) fn submit_together(&self, bodies: Vec<RecordBody>) -> Vec<u64> {
        self.handle().submit(record(HOLD, access(ROOMS[0], PEOPLE[0]))).unwrap();
        self.held.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        let requests = self.submit_all(bodies);
        self.release.send(()).unwrap();
        requests
    }

    /// Sends until there is an answer that sending again does not change, as a client does.
    #[track_caller]
    pub(crate) fn insist(&self, body: RecordBody) -> Told {
        let since = Instant::now();
        loop {
            let told = self.ask(body.clone());
            if !may_be_sent_again(&told.answer) {
                return told;
            }
            assert!(since.elapsed() < PATIENCE, "still refused: {body:?}");
            // A client that is told `busy` waits before it tries again.
            std::thread::sleep(LOOK);
        }
    }

    /// As [`Self::insist`], for a message that is then stored.
    #[track_caller]
    pub(crate) fn insist_on(&self, body: RecordBody) -> Arc<Message> {
        match self.insist(body).answer {
            Ok(alt_ws::chat::effect::Committed::Message { message, .. }) => message,
            other => panic!("{other:?}"),
        }
    }

    /// Everybody says something in every room, so that it is known who they are; twice, because an answer about somebody
    /// that crosses a change of members is not kept. Returns how many messages there are then.
    pub(crate) fn warm_up(&self) -> usize {
        let mut count = 0;
        for name in ["hello", "hello again"] {
            let requests = self.submit_all(say(name, ROOMS.len() * PEOPLE.len()));
            count += requests.len();
            assert!(requests.into_iter().all(|request| self.ledger.wait(request).answer.is_ok()));
        }
        count
    }

    /// The answers to requests, each of which is there in time; `None` where it is not, for the check to tell.
    pub(crate) fn answers(&self, requests: &[u64]) -> Vec<Option<Told>> {
        self.ledger.wait_all(requests, PERSIST_TIMEOUT + 4 * AT_ONCE)
    }

    #[track_caller]
    pub(crate) fn wait_until_well(&self) {
        until("the store is not well again", || self.is_well());
    }
}

/// Those that came earlier are given up earlier.
fn give_up(waiting: &Receiver<(Instant, u64, Ticket)>, ledger: &Ledger) {
    for (at, request, ticket) in waiting {
        while !ticket.is_done() {
            let now = Instant::now();
            if now >= at {
                ledger.given_up(request, ticket.cancel());
                break;
            }
            std::thread::sleep(LOOK.min(at - now));
        }
    }
}

impl Drop for Desk {
    /// A test that fails while a database is away shall fail, not wait for it.
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.shutdown(Instant::now() + AT_ONCE);
        }
    }
}

/// So many messages with names that begin like this, over all rooms and people in turn.
pub(crate) fn say(name: &str, count: usize) -> Vec<RecordBody> {
    let person = |n: usize| PEOPLE[n / ROOMS.len() % PEOPLE.len()];
    (0..count).map(|n| once(ROOMS[n % ROOMS.len()], person(n), "x", &format!("{name} {n}"), "1")).collect()
}

/// Answers for a failure to show: `ok 12 ms`, `Unavailable 2000 ms`, `silent`.
pub(crate) fn words<'a>(answers: impl IntoIterator<Item = &'a Option<Told>>) -> String {
    let word = |told: &Option<Told>| match told {
        Some(Told { answer: Ok(_), after }) => format!("ok {} ms", after.as_millis()),
        Some(Told { answer: Err(refusal), after }) => format!("{refusal:?} {} ms", after.as_millis()),
        None => "silent".to_owned(),
    };
    answers.into_iter().map(word).collect::<Vec<_>>().join(", ")
}

/// Those answered with this refusal.
pub(crate) fn refused_as(answers: &[Option<Told>], refusal: Refusal) -> usize {
    answers.iter().flatten().filter(|told| told.answer.as_ref().err() == Some(&refusal)).count()
}

pub(crate) fn accepted(answers: &[Option<Told>]) -> usize {
    answers.iter().flatten().filter(|told| told.answer.is_ok()).count()
}

/// How often processes are killed.
pub(crate) fn rounds() -> usize {
    std::env::var("FAULT_ROUNDS").map_or(3, |rounds| rounds.parse().expect("FAULT_ROUNDS is a number"))
}

/// Looks until it is so.
#[track_caller]
pub(crate) fn until(otherwise: &str, mut so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !so() {
        assert!(since.elapsed() < PATIENCE, "{otherwise}");
        std::thread::sleep(LOOK);
    }
}
