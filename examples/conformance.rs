//! A server for conformance suites: bare Engine.IO echo at `/engine.io/`, a Socket.IO echo application at
//! `/socket.io/` with the namespaces `/` and `/custom`.
//!
//! `[ALLOW_EIO3=true] [PARSER=msgpack] cargo run --release --example conformance -- --port 3000 [--cores 2]`
//!
//! It is also the smallest application on the server: everything but [`Echo`] is set-up.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use alt_ws::chat::application::{Application, ConnectRequest, Now};
use alt_ws::chat::effect::{Effect, OutEvent, Outcome};
use alt_ws::chat::event::Online;
use alt_ws::config::{Edge, Origins};
use alt_ws::engineio::session::Timings;
use alt_ws::ids::{RoomId, SocketKey, UserId};
use alt_ws::server::outbox::Bounds;
use alt_ws::server::settings::{Audience, HttpTimes, Protocol, Settings};
use alt_ws::server::{Gate, Server};
use alt_ws::socketio::{self, AckId, Event, PendingAcks};
use clap::Parser;

/// A server for conformance suites.
#[derive(Parser)]
struct Options {
    /// Port to listen on, on all addresses.
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    cores: usize,
    /// Milliseconds that a pong may take. The suites want 200; a busy machine may need more.
    #[arg(long, default_value_t = 200)]
    ping_timeout: u64,
}

/// How much later than the answer to CONNECT the `auth` event is sent. The suite of revision 5 listens for one message
/// at a time and misses the second of two that it reads at once, and a core writes what belongs together at once.
const AUTH_DELAY: Duration = Duration::from_millis(10);

/// Sends back what it gets.
#[derive(Default)]
struct Echo {
    asked: HashMap<SocketKey, PendingAcks<()>>,
    /// Who is to be told with what they connected, and when.
    connected: VecDeque<(Instant, SocketKey, String)>,
}

fn emit(to: SocketKey, name: &str, event: Event<'_>, ack: Option<AckId>) -> Effect {
    let event = OutEvent { name: name.into(), args: event.args.raw().to_owned(), attachments: event.attachments };
    Effect::Emit { to, event, ack }
}

impl Application for Echo {
    fn connect(&mut self, to: SocketKey, request: ConnectRequest<'_>, now: Now, _: &mut Vec<Effect>) {
        self.connected.push_back((now.instant + AUTH_DELAY, to, request.payload.unwrap_or("{}").to_owned()));
    }

    fn restore(&mut self, to: SocketKey, request: ConnectRequest<'_>, _: Vec<RoomId>, now: Now, out: &mut Vec<Effect>) {
        self.connect(to, request, now, out);
        out.push(Effect::Restored { socket: to, is_certain: true });
    }

    fn event(&mut self, socket: SocketKey, event: Event<'_>, ack: Option<AckId>, now: Now, out: &mut Vec<Effect>) {
        match (&*event.name, ack) {
            ("message", _) => out.push(emit(socket, "message-back", event, None)),
            ("message-with-ack", Some(id)) => {
                let args = event.args.raw().to_owned();
                out.push(Effect::Ack { to: socket, id, args, attachments: event.attachments });
            }
            ("emit-with-ack", _) => {
                let asked = self.asked.entry(socket).or_default();
                if let Some(id) = asked.issue((), now.instant) {
                    out.push(emit(socket, "emit-with-ack", event, Some(id)));
                }
            }
            _ => {}
        }
    }

    fn acknowledged(&mut self, socket: SocketKey, id: AckId, answer: Event<'_>, _: Now, out: &mut Vec<Effect>) {
        if self.asked.get_mut(&socket).and_then(|asked| asked.take(id)).is_some() {
            out.push(emit(socket, "emit-with-ack", answer, None));
        }
    }

    fn disconnect(&mut self, socket: SocketKey, _: Now, _: &mut Vec<Effect>) {
        self.asked.remove(&socket);
        self.connected.retain(|(_, to, _)| *to != socket);
    }

    fn outcome(&mut self, _: Outcome, _: Online, _: Now, _: &mut Vec<Effect>) {}

    fn removed(&mut self, _: &RoomId, _: &UserId, _: Now, _: &mut Vec<Effect>) {}

    fn timeout(&mut self, now: Now, out: &mut Vec<Effect>) {
        while self.connected.front().is_some_and(|(at, ..)| *at <= now.instant) {
            let Some((_, to, args)) = self.connected.pop_front() else { return };
            let event = OutEvent { name: "auth".into(), args, attachments: Vec::new() };
            out.push(Effect::Emit { to, event, ack: None });
        }
        for asked in self.asked.values_mut() {
            while asked.expire(now.instant).is_some() {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let asked = self.asked.values().filter_map(PendingAcks::deadline).min();
        asked.into_iter().chain(self.connected.front().map(|(at, ..)| *at)).min()
    }

    fn members(&self, _: &RoomId) -> &[SocketKey] {
        &[]
    }

    fn seat_of(&self, _: SocketKey) -> Option<(&UserId, &[RoomId])> {
        None
    }

    fn sockets_of(&self, _: &UserId) -> &[SocketKey] {
        &[]
    }
}

/// `ALLOW_EIO3`, as the server itself reads it.
fn allow_eio3() -> Result<bool, String> {
    match std::env::var("ALLOW_EIO3").as_deref() {
        Err(_) | Ok("" | "false" | "0") => Ok(false),
        Ok("true" | "1") => Ok(true),
        Ok(other) => Err(format!("ALLOW_EIO3 is {other:?}; it must be true, false, 1 or 0")),
    }
}

/// `PARSER`, as the server itself reads it.
fn parser() -> Result<socketio::Parser, String> {
    match std::env::var("PARSER").as_deref() {
        Err(_) | Ok("" | "json") => Ok(socketio::Parser::Json),
        Ok("msgpack") => Ok(socketio::Parser::MsgPack),
        Ok(other) => Err(format!("PARSER is {other:?}; it must be json or msgpack")),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let settings = Settings {
        // A dual-stack address, because suites say `localhost` and systems differ in what that is first.
        listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, options.port)),
        cores: options.cores,
        allow_eio3: allow_eio3()?,
        mounts: vec![("/engine.io/".into(), Protocol::EngineIoEcho), ("/socket.io/".into(), Protocol::SocketIo)],
        namespaces: &["/", "/custom"],
        parser: parser()?,
        timings: Timings {
            ping_interval: Duration::from_millis(300),
            ping_timeout: Duration::from_millis(options.ping_timeout),
            upgrade_timeout: Duration::from_secs(10),
            linger: Duration::from_secs(1),
        },
        max_payload: 1_000_000,
        connect_timeout: Duration::from_secs(1),
        http: HttpTimes::default(),
        gate: Gate::Open,
        origins: Origins::Any,
        edge: Edge::default(),
        outbox: Bounds { bytes: 4_000_000, age: Duration::from_secs(30) },
        store: None,
        audience: Audience::Contacts,
        presence_grace: Duration::ZERO,
        drain_timeout: Duration::from_secs(1),
        max_connections_per_ip: None,
        max_newcomers: None,
        max_connections_per_user: None,
        playground: None,
        recovery: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = Server::start(settings, |_| Echo::default())?;
        println!("listening on {}", server.address());
        tokio::signal::ctrl_c().await?;
        server.stop().await;
        Ok(())
    })
}
