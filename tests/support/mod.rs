//! A chat server in this process, and what it takes to talk to it, politely or not.

pub(crate) mod chatter;
pub(crate) mod raw;

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alt_ws::auth::{self, Keys};
use alt_ws::chat::app::{self, Chat};
use alt_ws::chat::command::Limits;
use alt_ws::chat::limit::Rates;
use alt_ws::config::{Edge, Origins, limits};
use alt_ws::engineio::session::Timings;
use alt_ws::ids::UserId;
use alt_ws::server::outbox::Bounds;
use alt_ws::server::settings::{Audience, HttpTimes, Protocol, Settings};
use alt_ws::server::{Gate, Server, ServerError};
use alt_ws::socketio::Parser;
use alt_ws::store::{StoreKind, StoreSettings};

pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Longer than anything here takes, so that a test that would wait for ever fails instead.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What the program runs with, but for: any free port, two cores, a store in memory with open rooms, no limits of rate
/// and number, and no grace for a departure.
pub(crate) fn settings() -> Settings {
    Settings {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        cores: 2,
        allow_eio3: false,
        mounts: vec![("/socket.io/".into(), Protocol::SocketIo)],
        namespaces: &["/"],
        parser: Parser::Json,
        timings: Timings {
            ping_interval: limits::PING_INTERVAL,
            ping_timeout: limits::PING_TIMEOUT,
            upgrade_timeout: limits::UPGRADE_TIMEOUT,
            linger: Duration::from_secs(1),
        },
        max_payload: limits::MAX_PAYLOAD,
        connect_timeout: limits::CONNECT_TIMEOUT,
        http: HttpTimes::default(),
        gate: Gate::tokens(Keys::from_secret(SECRET).unwrap(), None),
        key_file: None,
        origins: Origins::Any,
        edge: Edge::default(),
        outbox: Bounds { bytes: limits::MAX_OUTBOX_BYTES, age: limits::OUTBOX_TIMEOUT },
        store: Some(StoreSettings { open_rooms: true, ..StoreSettings::new(StoreKind::Memory) }),
        audience: Audience::Contacts,
        presence_grace: Duration::ZERO,
        drain_timeout: Duration::from_secs(5),
        max_connections_per_ip: None,
        max_newcomers: NonZeroU32::new(limits::MAX_NEWCOMERS),
        max_connections_per_user: None,
        playground: None,
        recovery: None,
    }
}

/// Starts a server with settings that differ from [`settings`] by `change`.
pub(crate) fn start_with(change: impl FnOnce(&mut Settings)) -> Server {
    let mut settings = settings();
    change(&mut settings);
    try_start(settings).unwrap()
}

pub(crate) fn start() -> Server {
    start_with(|_| ())
}

pub(crate) fn try_start(settings: Settings) -> Result<Server, ServerError> {
    Server::start(settings, |core| Chat::new(core, chat()))
}

/// How the chat of [`settings`] behaves.
pub(crate) fn chat() -> app::Settings {
    app::Settings {
        limits: Limits { max_message_bytes: 65_536 },
        rates: Rates { events: 0, bytes: 0 },
        rooms_per_socket: limits::MAX_ROOMS_PER_SOCKET,
    }
}

pub(crate) fn token(user: &str) -> String {
    token_for(user, Duration::from_secs(3600))
}

/// A token that ends so much later.
pub(crate) fn token_for(user: &str, ttl: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    auth::sign(&UserId::from_text(user).unwrap(), user, SECRET, now, ttl).unwrap()
}

/// Waits for something that happens soon or not at all.
#[track_caller]
pub(crate) fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        let Ok(output) = tokio::time::timeout(PATIENCE, future).await else { panic!("nothing happened at {caller}") };
        output
    }
}
