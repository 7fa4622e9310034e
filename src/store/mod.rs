//! Where messages, memberships and receipts live: records in, outcomes out.
//!
//! ```text
//!  cores ── submit(Record) ──► queue (bounded: records and bytes) ──► lane thread ── Batcher ─┬─► Memory
//!                                                                        │                   ├─► Sqlite  one file
//!                                                                        │                   └─► Split
//!  sink(News) ◄──────────────────────────────────────────────────────────┘      structure: Postgres | embedded
//!                                                                               messages:  Mongo    | embedded
//! ```
//!
//! Owns the queue before the store, the group commit, the seq of every conversation, the ids and times of messages,
//! the files on disk and the tables and documents in the databases. Knows the vocabulary of [`crate::chat::effect`],
//! [`crate::chat::event`] and [`crate::auth::revocations`] and nothing else of the chat; knows no socket and no
//! transport. The databases' drivers have a small runtime of their own, and nothing else here is asynchronous.
//!
//! An [`Outcome`] with [`Committed`](crate::chat::effect::Committed) is handed out only
//! after the commit: for SQLite that means written and synced, for MongoDB `w: majority, j: true`, for PostgreSQL
//! committed.

mod backlog;
mod batch;
mod fault;
mod lane;
pub mod members;
mod memory;
mod messages;
mod page;
mod reader;
pub mod revocations;
#[cfg(test)]
#[path = "../../tests/support/services.rs"]
mod services;
mod split;
mod sqlite;
mod stamp;
mod structure;
pub mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::auth::revocations::Revocations;
use crate::chat::effect::Outcome;
use crate::ids::{RoomId, UserId};

pub use members::Members;
pub use messages::MongoSettings;
pub use structure::PostgresSettings;
pub use writer::{Health, SideHealth, Ticket, Writer, WriterHandle};

/// A user in a room.
pub type Seat = (RoomId, UserId);

/// What a store tells the server.
#[derive(Clone, Debug)]
pub enum News {
    /// What became of records, those of a room in the order of their commits.
    Outcomes(Vec<Outcome>),
    /// Somebody ended these memberships. May be told again, and of users who were not there.
    Removed(Vec<Seat>),
    /// The tokens that are believed no more; from now on all of these and no others. May be told again.
    Revoked(Arc<Revocations>),
}

/// Conversations told to a user: enough for any sidebar, and a bound on what one question costs.
const MAX_CONVERSATIONS: usize = 1000;

/// Which store a [`Writer`] writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// Nothing on disk: for tests and benchmarks. Keeps the newest 1000 messages of a room.
    Memory,
    /// One SQLite file, made if missing together with its directory. One server process at a time.
    Sqlite {
        /// The file, `DATA_DIR/alt.db`.
        path: PathBuf,
    },
    /// A side, or both, in a database of its own.
    Split {
        /// Where the members and the read state are.
        structure: StructureKind,
        /// Where the messages are.
        messages: MessagesKind,
    },
}

impl StoreKind {
    /// Whether it has a list of revocations, which is then [told](News::Revoked) before anything else.
    #[must_use]
    pub fn keeps_revocations(&self) -> bool {
        *self != Self::Memory
    }
}

/// Where the members and the read state of [`StoreKind::Split`] are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StructureKind {
    /// PostgreSQL.
    Postgres(PostgresSettings),
    /// As in [`StoreKind::Sqlite`].
    Sqlite {
        /// The file.
        path: PathBuf,
    },
}

/// Where the messages of [`StoreKind::Split`] are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessagesKind {
    /// MongoDB.
    Mongo(MongoSettings),
    /// As in [`StoreKind::Sqlite`].
    Sqlite {
        /// The file.
        path: PathBuf,
    },
}

/// How a [`Writer`] is to run.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// Which store.
    pub kind: StoreKind,
    /// `OPEN_ROOMS`: joining an unknown conversation creates it, open to everybody, and makes the caller a member.
    pub open_rooms: bool,
    /// Records that may wait for the store; one more is refused as [`Busy`](crate::chat::effect::Refusal::Busy).
    pub queue_records: usize,
    /// What the waiting records may weigh together, in bytes of
    /// [`RecordBody::weight`](crate::chat::effect::RecordBody::weight); beyond that, `Busy`.
    pub queue_bytes: usize,
    /// `PERSIST_TIMEOUT_MS`: a record that waited longer is answered
    /// [`Unavailable`](crate::chat::effect::Refusal::Unavailable) and not stored.
    pub persist_timeout: Duration,
    /// Records that may share one write, at least 1.
    pub batch_records: usize,
    /// How many batches of messages may be on their way to databases at a time; a room always has the same lane. More
    /// than one: receipts and questions have two others. The embedded stores have one for everything.
    pub lanes: usize,
    /// Made members at start, their conversations created closed where missing.
    pub members: Vec<(RoomId, UserId)>,
}

impl StoreSettings {
    /// A second of full load (8192 records of ordinary size), or 150 messages of the greatest size.
    pub const QUEUE_RECORDS: usize = 8192;
    /// See [`Self::QUEUE_RECORDS`]: 16 MiB.
    pub const QUEUE_BYTES: usize = 16 * 1024 * 1024;
    /// The contract's promise to answer every send: 10 s.
    pub const PERSIST_TIMEOUT: Duration = Duration::from_secs(10);

    /// Enough to share one fsync among many, small enough that a batch is written in a few milliseconds.
    pub const BATCH_RECORDS: usize = 512;
    /// Enough to keep a database busy while others of its answers travel.
    pub const LANES: usize = 4;

    /// The defaults for a store: closed rooms, no seeded members.
    #[must_use]
    pub fn new(kind: StoreKind) -> Self {
        Self {
            kind,
            open_rooms: false,
            queue_records: Self::QUEUE_RECORDS,
            queue_bytes: Self::QUEUE_BYTES,
            persist_timeout: Self::PERSIST_TIMEOUT,
            batch_records: Self::BATCH_RECORDS,
            lanes: Self::LANES,
            members: Vec::new(),
        }
    }
}

/// How long [`prepare`] waits for databases.
const PREPARE_WITHIN: Duration = Duration::from_secs(30);

/// Makes the tables and indexes that a store needs, as starting a [`Writer`] does, and waits until they are there.
///
/// # Errors
/// [`StoreError`] when the store cannot be opened or a database was not ready within 30 s; what an operator can do
/// about a database that refuses is logged.
pub fn prepare(kind: &StoreKind) -> Result<(), StoreError> {
    let writer = Writer::start(StoreSettings::new(kind.clone()), |_| ())?;
    let since = Instant::now();
    loop {
        let SideHealth { structure, messages } = writer.handle().health();
        match [structure, messages].into_iter().find(|health| *health != Health::Ok) {
            None => return Ok(()),
            Some(_) if since.elapsed() < PREPARE_WITHIN => std::thread::sleep(Duration::from_millis(50)),
            Some(Health::Degraded(reason) | Health::ReadOnly(reason)) => return Err(StoreError::NotReady(reason)),
            Some(_) => return Err(StoreError::NotReady("it has stopped")),
        }
    }
}

/// Why a store could not be opened or its members not be edited. Each sentence says what the operator can do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data directory is missing and cannot be made.
    #[error("cannot create the data directory {path}: {source}; create it, or set DATA_DIR to a writable place")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The lock file cannot be made or locked.
    #[error("cannot lock {path}: {source}; make the data directory writable for this user, on a local disk")]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another server holds the lock.
    #[error("{path} is in use by another alt-ws server; stop that one first, or set DATA_DIR to another place")]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// SQLite could not open or prepare the file.
    #[error("cannot open {path}: {source}; check its permissions and the disk, or restore it from a backup")]
    Open {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The file system does not carry a write-ahead log.
    #[error("{path} cannot use a write-ahead log (SQLite chose {mode:?}); put DATA_DIR on a local disk")]
    NoWriteAheadLog {
        /// The database.
        path: PathBuf,
        /// The journal mode that SQLite fell back to.
        mode: String,
    },
    /// The schema is of a later version of alt-ws.
    #[error("{path} has schema version {found}, this alt-ws knows {known}; start the newer alt-ws that wrote it")]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The latest version known here.
        known: i64,
    },
    /// The file is a database of something else.
    #[error("{path} is not an alt-ws database; move it away, or set DATA_DIR to another place")]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// An edit of memberships failed; nothing was changed.
    #[error("cannot edit the members in {path}: {source}; nothing was changed, try again")]
    Edit {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// An edit of the revocations failed; nothing was changed.
    #[error("cannot edit the revocations in {path}: {source}; nothing was changed, try again")]
    Revoke {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The list of revocations is full.
    #[error(
        "there are {} revocations, and no server keeps more; take some back, or give them an end (--for)",
        Revocations::MOST
    )]
    TooManyRevocations,
    /// The address of MongoDB cannot be read. It is secret, so nothing of it is said.
    #[error("MONGO_URI is no address of a MongoDB server; it looks like mongodb://user:password@host:27017/database")]
    MongoUri,
    /// A database did not become ready in time.
    #[error("a database is not ready: {0}")]
    NotReady(&'static str),
    /// A database did not edit the memberships; nothing was changed.
    #[error("the members cannot be edited: {0}")]
    EditDatabase(String),
    /// A database did not edit the revocations; nothing was changed.
    #[error("the revocations cannot be edited: {0}")]
    RevokeInDatabase(&'static str),
    /// The system gave no random bytes for message ids.
    #[error("the system's random source failed: {0}")]
    Random(getrandom::Error),
    /// The lane's thread could not be started.
    #[error("cannot start the store's thread: {0}; raise the limit on threads")]
    Thread(std::io::Error),
}
