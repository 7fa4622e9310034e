//! Starting and stopping: threads, listeners, the store, and the signals that end it all.
//!
//! Owns the life of the process. [`run`] is the chat server of a configuration; [`Server`] is a server with any
//! application, for tests and for the conformance example.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::LocalSet;

use super::admission::Limit;
use super::bundle::Bundle;
use super::core::{Core, Shared, now};
use super::delivery::Delivery;
use super::directory::Directory;
use super::gate::{Gate, Guests};
use super::key_file::{self, Follower};
use super::listener;
use super::mailbox::{self, Letters, Post};
use super::metrics::Metrics;
use super::newcomers::Newcomers;
use super::outbox::Bounds;
use super::recovery::Registry;
use super::settings::{Audience, HttpTimes, Playground, Protocol, Recovery, Settings, store_kind};
use super::shutdown::{self, Phase};
use crate::chat::app::{self, Chat};
use crate::chat::application::Application;
use crate::chat::command::Limits;
use crate::chat::limit::Rates;
use crate::config::{self, Config, Environment, PresenceScope, limits};
use crate::engineio::session::Timings;
use crate::ids::CoreId;
use crate::socketio::Parser;
use crate::store::{StoreError, StoreSettings, Writer};

/// The part of the drain timeout in which the store may finish; the rest is for its answers to reach the clients.
const STORES_SHARE: f64 = 0.7;

/// The part of the drain timeout after which nothing is waited for any more: the process still has to end within it.
const WAITING_SHARE: f64 = 0.95;

/// How long a closed session waits for the poll that takes its last packets.
const LINGER: Duration = Duration::from_secs(5);

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; stop what uses it, or set WS_HOST and WS_PORT to another address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A thread or its runtime cannot be made.
    #[error("the system has no more threads or descriptors: {0}")]
    Threads(#[from] io::Error),
    /// It was told a second time to stop, while it was stopping.
    #[error("a second signal came before it had finished; what was not stored was not acknowledged")]
    Interrupted,
}

/// A running server. Dropping it without [`Server::stop`] leaves its threads to the end of the process.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    writer: Option<Writer>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
    /// Ends with the server.
    _key_file: Option<Follower>,
}

impl Server {
    /// Listens, opens the store and starts the cores, each with an application of its own.
    ///
    /// # Errors
    /// [`ServerError`], with what the operator can do about it.
    pub fn start<A, F>(settings: Settings, application: F) -> Result<Self, ServerError>
    where
        A: Application,
        F: Fn(CoreId) -> A + Clone + Send + 'static,
    {
        let wanted = settings.listen;
        let listeners =
            listener::bind(wanted, settings.cores).map_err(|source| ServerError::Listen { address: wanted, source })?;
        let address = listeners.first().map_or(Ok(wanted), std::net::TcpListener::local_addr)?;
        let (boxes, letters): (Vec<_>, Vec<_>) = listeners.iter().map(|_| mailbox::mailbox()).unzip();
        let post = Post::new(boxes);
        let directory = Arc::new(Directory::default());
        // Offsets are an argument that is taken away again for some, which only the text of JSON allows.
        let recovery = settings.recovery.filter(|_| settings.parser == Parser::Json);
        let recovery = recovery.map(|_| Arc::new(Registry::new(now().wall)));
        let metrics = Arc::new(Metrics::default());
        let writer = match &settings.store {
            Some(store) => {
                let revoked = settings.gate.revoked();
                if let Some(revoked) = revoked.as_ref().filter(|_| store.kind.keeps_revocations()) {
                    revoked.store(None);
                }
                let delivery = Delivery {
                    parser: settings.parser,
                    post: post.clone(),
                    directory: Arc::clone(&directory),
                    recovery: recovery.clone(),
                    revoked,
                    metrics: Arc::clone(&metrics),
                };
                Some(Writer::start(store.clone(), move |news| delivery.deliver(news))?)
            }
            None => None,
        };
        let shared = Arc::new(Shared {
            post,
            directory,
            metrics,
            writer: writer.as_ref().map(Writer::handle),
            recovery,
            phase: Phase::default(),
            bundle: Bundle::new(&settings.edge),
            addresses: Limit::new(settings.max_connections_per_ip),
            newcomers: Newcomers::new(settings.max_newcomers, settings.max_connections_per_ip),
            users: Limit::new(settings.max_connections_per_user),
            started: Instant::now(),
            settings,
        });
        let (stop, stopped) = watch::channel(false);
        let mut threads = Vec::new();
        for ((id, listener), letters) in (0..).map(CoreId).zip(listeners).zip(letters) {
            let (shared, application, stopped) = (Arc::clone(&shared), application.clone(), stopped.clone());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let thread = std::thread::Builder::new().name(format!("core-{}", id.0)).spawn(move || {
                let core = Core::new(id, shared, application(id));
                runtime.block_on(LocalSet::new().run_until(serve(core, listener, letters, stopped)));
            })?;
            threads.push(thread);
        }
        let key_file = shared.settings.key_file.clone();
        let key_file = key_file.map(|path| key_file::follow(path, Arc::clone(&shared))).transpose()?;
        shared.phase.serve();
        Ok(Self { address, shared, writer, stop, threads, _key_file: key_file })
    }

    /// Where it listens; with port 0 in the settings this is the port it got.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many panics there were so far, each of which cost no more than a connection.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.shared.metrics.panics.get()
    }

    /// Lets go in order: no new sessions, the clients are told, what the store has is stored and answered, the
    /// sessions are closed. Gives up waiting for slow clients in time for the drain timeout.
    pub async fn stop(self) {
        let deadline = Instant::now() + self.shared.settings.drain_timeout.mul_f64(WAITING_SHARE);
        shutdown::tell_clients(&self.shared);
        if let Some(writer) = self.writer {
            let flushed_by = Instant::now() + self.shared.settings.drain_timeout.mul_f64(STORES_SHARE);
            let at_last = flushed_by + deadline.saturating_duration_since(flushed_by) / 2;
            // The store's answers travel through the cores' mailboxes before the letter that closes the sessions.
            let drained = tokio::task::spawn_blocking(move || writer.shutdown(flushed_by));
            if tokio::time::timeout_at(at_last.into(), drained).await.is_err() {
                tracing::error!("the store did not finish in time; what it had not stored was not acknowledged");
            }
        }
        // Polling clients come for their last packets over connections of their own, so accepting ends last.
        let left = shutdown::close_clients(&self.shared, deadline).await;
        self.stop.send_replace(true);
        shutdown::see_off(&self.shared, deadline).await;
        if left > 0 {
            tracing::warn!(sessions = left, "sessions were cut off at the drain timeout");
        }
        drop(self.threads);
    }
}

/// One core's thread: the loop and its listener. When the listener stops, the loop goes on: there are sessions to end.
async fn serve<A: Application>(
    core: Core<A>,
    listener: std::net::TcpListener,
    letters: Letters,
    stopped: watch::Receiver<bool>,
) {
    let accepting = core.clone();
    tokio::task::spawn_local(async move {
        if let Err(error) = listener::accept(accepting, listener, stopped).await {
            tracing::error!(%error, "a core cannot listen");
        }
    });
    core.run(letters).await;
}

/// Runs the chat server until the process is told to stop. Told twice, it does not finish its work.
///
/// # Errors
/// [`ServerError`] when it cannot start, or was not left the time to stop.
pub fn run(config: Config) -> Result<(), ServerError> {
    let chat = app::Settings {
        limits: Limits { max_message_bytes: config.max_message_bytes },
        rates: Rates { events: rate(config.rate_limit_events), bytes: rate(config.rate_limit_bytes) },
        rooms_per_socket: limits::MAX_ROOMS_PER_SOCKET,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let server = Server::start(settings(config), move |core| Chat::new(core, chat))?;
        tracing::info!(address = %server.address(), "listening");
        signals.next().await;
        tracing::info!("stopping: the clients are told and the store finishes");
        tokio::select! {
            () = server.stop() => tracing::info!("stopped"),
            () = signals.next() => return Err(ServerError::Interrupted),
        }
        Ok(())
    });
    // A store that hangs must not keep the process.
    runtime.shutdown_background();
    result
}

fn rate(limit: Option<NonZeroU32>) -> u32 {
    limit.map_or(0, NonZeroU32::get)
}

/// A chat server's settings, from its configuration.
fn settings(config: Config) -> Settings {
    let is_development = config.environment == Environment::Development;
    // The page speaks JSON.
    let has_page = is_development && config.parser == config::Parser::Json;
    let store = StoreSettings {
        open_rooms: config.open_rooms,
        persist_timeout: config.persist_timeout,
        ..StoreSettings::new(store_kind(&config.store, &config.data_dir))
    };
    Settings {
        listen: config.listen,
        cores: config.cores,
        allow_eio3: config.allow_eio3,
        mounts: vec![(config.edge.socket_path.as_str().to_owned().into(), Protocol::SocketIo)],
        namespaces: &["/"],
        parser: match config.parser {
            config::Parser::Json => Parser::Json,
            config::Parser::MsgPack => Parser::MsgPack,
        },
        timings: Timings {
            ping_interval: limits::PING_INTERVAL,
            ping_timeout: limits::PING_TIMEOUT,
            upgrade_timeout: limits::UPGRADE_TIMEOUT,
            linger: LINGER,
        },
        max_payload: limits::MAX_PAYLOAD,
        connect_timeout: limits::CONNECT_TIMEOUT,
        http: HttpTimes::default(),
        gate: Gate::tokens(config.keys, is_development.then(Guests::default)),
        key_file: config.key_file,
        origins: config.origins,
        edge: config.edge,
        outbox: Bounds { bytes: limits::MAX_OUTBOX_BYTES, age: limits::OUTBOX_TIMEOUT },
        store: Some(store),
        audience: match config.presence_scope {
            PresenceScope::Contacts => Audience::Contacts,
            PresenceScope::All => Audience::All,
        },
        presence_grace: config.presence_grace,
        drain_timeout: config.drain_timeout,
        max_connections_per_ip: config.max_connections_per_ip,
        max_newcomers: NonZeroU32::new(limits::MAX_NEWCOMERS),
        max_connections_per_user: config.max_connections_per_user,
        recovery: config.recovery.map(|window| Recovery {
            window,
            bytes: limits::RECOVERY_LOG_BYTES,
            entries: limits::RECOVERY_LOG_ENTRIES,
            seats: limits::RECOVERY_SEATS,
        }),
        playground: has_page.then_some(Playground { secret: config.page_secret }),
    }
}

/// The signals that end the process.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
