//! Where messages, memberships and receipts live: records in, outcomes out.
//!
//! ```text
//!  cores ── submit(Record) ──► queue (bounded: records and bytes) ──► lane thread ── Batcher ──► Memory | Sqlite
//!                                                                        │                one transaction a batch
//!  sink(Vec<Outcome>) ◄──────────────────────────────────────────────────┘
//! ```
//!
//! Owns the queue before the store, the group commit, the seq of every conversation, the ids and times of messages,
//! and the files on disk. Knows the vocabulary of [`crate::chat::effect`] and [`crate::chat::event`] and nothing else
//! of the chat; knows no socket, no transport and no async runtime.
//!
//! An [`Outcome`](crate::chat::effect::Outcome) with [`Committed`](crate::chat::effect::Committed) is handed out only
//! after the commit: for SQLite that means written and synced.

mod batch;
mod lane;
pub mod members;
mod memory;
mod reader;
mod sqlite;
mod stamp;
pub mod writer;

use std::path::PathBuf;
use std::time::Duration;

use crate::ids::{RoomId, UserId};

pub use members::Members;
pub use writer::{Health, Ticket, Writer, WriterHandle};

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

    /// The defaults for a store: closed rooms, no seeded members.
    #[must_use]
    pub fn new(kind: StoreKind) -> Self {
        Self {
            kind,
            open_rooms: false,
            queue_records: Self::QUEUE_RECORDS,
            queue_bytes: Self::QUEUE_BYTES,
            persist_timeout: Self::PERSIST_TIMEOUT,
            members: Vec::new(),
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
    /// The system gave no random bytes for message ids.
    #[error("the system's random source failed: {0}")]
    Random(getrandom::Error),
    /// The lane's thread could not be started.
    #[error("cannot start the store's thread: {0}; raise the limit on threads")]
    Thread(std::io::Error),
}
