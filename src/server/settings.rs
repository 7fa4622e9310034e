//! Everything a server is set up with, whatever application it carries.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::gate::Gate;
use super::outbox::Bounds;
use crate::config::{Edge, Messages, Origins, PostgresSettings, Secret, Stores, Structure, limits};
use crate::engineio::session::Timings;
use crate::socketio::Parser;
use crate::store::{self, MessagesKind, StoreKind, StoreSettings, StructureKind};

/// Who hears that a user comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Those who share a conversation.
    Contacts,
    /// Every connected socket.
    All,
}

/// What a path of the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Socket.IO over Engine.IO.
    SocketIo,
    /// A bare Engine.IO echo, for conformance suites.
    EngineIoEcho,
}

/// A server's settings. Every limit has its source in [`crate::config::limits`] or in the contract.
#[derive(Debug)]
pub struct Settings {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Threads, each with its own listener and runtime.
    pub cores: usize,
    /// Whether clients of Engine.IO 3 and Socket.IO 4 (socket.io-client 1 and 2) are served too.
    pub allow_eio3: bool,
    /// The Engine.IO paths, with their leading and trailing slash.
    pub mounts: Vec<(Cow<'static, str>, Protocol)>,
    /// The Socket.IO namespaces; their indices are the namespace ids.
    pub namespaces: &'static [&'static str],
    /// The form of the packets; its clients must be set up with the same.
    pub parser: Parser,
    /// Heartbeat, upgrade and linger.
    pub timings: Timings,
    /// Longest WebSocket message, and longest body of a poll or post, in bytes.
    pub max_payload: usize,
    /// From the handshake to the first CONNECT.
    pub connect_timeout: Duration,
    /// How long a request and its answer may take.
    pub http: HttpTimes,
    /// Who may connect.
    pub gate: Gate,
    /// The JWK Set that the gate's keys came from, to be followed.
    pub key_file: Option<PathBuf>,
    /// Which web pages may connect.
    pub origins: Origins,
    /// What browsers and proxies see of the server.
    pub edge: Edge,
    /// What a slow client may let pile up.
    pub outbox: Bounds,
    /// `None` for an application that stores nothing.
    pub store: Option<StoreSettings>,
    /// Who hears of presence.
    pub audience: Audience,
    /// How long the departure of a last device is held back.
    pub presence_grace: Duration,
    /// How long a stopping server finishes its work.
    pub drain_timeout: Duration,
    /// TCP connections of one address; behind proxies of ours, its requests under way and its WebSockets.
    pub max_connections_per_ip: Option<NonZeroU32>,
    /// Sessions of one core that have not said yet who they are; of one address, as many as it may have connections.
    pub max_newcomers: Option<NonZeroU32>,
    /// Sockets of one user.
    pub max_connections_per_user: Option<NonZeroU32>,
    /// `None`: who loses the connection comes back as a new socket.
    pub recovery: Option<Recovery>,
    /// Whether to serve the page to try the chat with, and the tokens it needs: `Some` has the signing secret.
    pub playground: Option<Playground>,
}

/// How long the parts of an HTTP exchange may take.
#[derive(Clone, Copy, Debug)]
pub struct HttpTimes {
    /// The request's head, from the end of the request before it.
    pub head: Duration,
    /// The request's body.
    pub body: Duration,
    /// The answer's way to a client that is slow to take it.
    pub answer: Duration,
}

impl Default for HttpTimes {
    fn default() -> Self {
        Self { head: limits::HTTP_HEADER_TIMEOUT, body: limits::HTTP_BODY_TIMEOUT, answer: limits::HTTP_ANSWER_TIMEOUT }
    }
}

/// How much is kept of lost connections, over all cores.
#[derive(Clone, Copy, Debug)]
pub struct Recovery {
    /// Within which time a client may come back.
    pub window: Duration,
    /// Bytes of what was given to sockets; older events are forgotten.
    pub bytes: usize,
    /// How many of them.
    pub entries: usize,
    /// Sessions and rooms that they were in, added up; those that would end first are forgotten.
    pub seats: usize,
}

/// What the page to try the chat with needs; development only.
#[derive(Debug)]
pub struct Playground {
    /// Signs the page's tokens; `None` when only a public key is configured.
    pub secret: Option<Secret>,
}

/// The one file in `data_dir` that everything embedded is in.
#[must_use]
pub fn embedded_file(data_dir: &Path) -> PathBuf {
    data_dir.join("alt.db")
}

/// Which store a configuration asks for.
#[must_use]
pub fn store_kind(stores: &Stores, data_dir: &Path) -> StoreKind {
    let path = embedded_file(data_dir);
    match stores {
        Stores::Memory => StoreKind::Memory,
        Stores::Kept { structure: Structure::Embedded, messages: Messages::Embedded } => StoreKind::Sqlite { path },
        Stores::Kept { structure, messages } => StoreKind::Split {
            structure: match structure {
                Structure::Embedded => StructureKind::Sqlite { path: path.clone() },
                Structure::Postgres(postgres) => StructureKind::Postgres(postgres_settings(postgres)),
            },
            messages: match messages {
                Messages::Embedded => MessagesKind::Sqlite { path },
                Messages::Mongo(mongo) => {
                    MessagesKind::Mongo(store::MongoSettings { uri: mongo.uri.reveal().to_owned() })
                }
            },
        },
    }
}

/// The same database, as the store takes it.
#[must_use]
pub fn postgres_settings(postgres: &PostgresSettings) -> store::PostgresSettings {
    store::PostgresSettings {
        host: postgres.host.clone(),
        port: postgres.port,
        database: postgres.database.clone(),
        user: postgres.user.clone(),
        password: postgres.password.as_ref().map(|password| password.reveal().to_owned()),
    }
}
