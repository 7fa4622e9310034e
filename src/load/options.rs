//! What a run is to do.
//!
//! Owns the options and which of them fit together. Knows no command line.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::LoadError;

/// Longest content of a message, in bytes: the most that alt-ws can be set to take.
pub(super) const MAX_PAYLOAD: usize = 131_072;

/// Most messages in flight in a room.
pub(super) const MAX_IN_FLIGHT: usize = 100_000;

/// Everything about a run. Has no `Debug`, because it may hold a secret.
#[derive(Clone)]
pub struct Options {
    /// Which server.
    pub target: Target,
    /// Clients that take part, at least one.
    pub clients: usize,
    /// Rooms the clients are spread over in turn, 1 to `clients`.
    pub rooms: usize,
    /// Clients that send, spread over the rooms in turn, 1 to `clients`.
    pub senders: usize,
    /// Messages on their way in each room that has senders, shared among them; each has at least one.
    pub in_flight: usize,
    /// Bytes of each message's content; at least the counter and the time that it carries.
    pub payload: usize,
    /// How the clients are connected.
    pub transport: Transport,
    /// Further clients that join the first room and then never read again. WebSocket only.
    pub stalled: usize,
    /// What the clients do once they are connected.
    pub plan: Plan,
    /// How long they stay connected: after connecting ([`Plan::ConnectOnly`]), or apart between waves.
    pub hold: Duration,
    /// Signs each client's token; without it none is sent.
    pub secret: Option<String>,
    /// Each message asks for an acknowledgement, and the next one waits for that instead of for its own return.
    pub durable: bool,
    /// Messages a second in all rooms together, sent whether answered or not; 0: as fast as they come back.
    pub rate: u32,
    /// Where a line is written for each acknowledged message: room, seq, id, and the beginning of its content.
    pub journal: Option<PathBuf>,
    /// Print phases as lines on standard error, for a program that watches, instead of progress for people.
    pub json: bool,
}

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Exchange messages for this long.
    Messages(Duration),
    /// Connect, join, and hold.
    ConnectOnly,
    /// This many times: all connect, each sender sends what it keeps in flight once, all go.
    Waves(usize),
    /// Exchange messages until the server sends everybody away, at most for this long.
    UntilDrained(Duration),
    /// Exchange messages for as long as `calm`, then until `comers` have come back: further clients, each in a room of its
    /// own, that all lose their connection at that moment.
    Storm {
        /// How many lose it.
        comers: usize,
        /// How long messages flow before.
        calm: Duration,
    },
}

/// How a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A WebSocket from the start.
    WebSocket,
    /// Long-polling to the end, on two keep-alive connections.
    Polling,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WebSocket => "websocket",
            Self::Polling => "polling",
        })
    }
}

/// A server's address: `http://host[:port]`, port 80 unless given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl Target {
    /// The value of the `Host` header.
    pub(super) fn authority(&self) -> String {
        if self.host.contains(':') { format!("[{}]:{}", self.host, self.port) } else { self.to_string() }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: hyper::Uri = text.parse().map_err(|_| "it is no URL; write http://host:port".to_owned())?;
        match uri.scheme_str() {
            Some("http" | "ws") => {}
            Some("https" | "wss") => {
                return Err("encryption is not spoken here: measure the server itself over http".to_owned());
            }
            _ => return Err("write http://host:port".to_owned()),
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err("the path is always /socket.io/; write http://host:port".to_owned());
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or("it names no host")?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port: uri.port_u16().unwrap_or(80) })
    }
}

impl Options {
    /// How many clients lose their connection and come back.
    pub(super) fn comers(&self) -> usize {
        if let Plan::Storm { comers, .. } = self.plan { comers } else { 0 }
    }

    /// Whether the options fit together.
    ///
    /// # Errors
    /// [`LoadError::Options`], with a sentence for whoever gave them.
    pub fn check(&self) -> Result<(), LoadError> {
        let Self { clients, rooms, senders, in_flight, payload, .. } = *self;
        let busiest = senders.div_ceil(rooms.max(1));
        let complaint = if clients == 0 {
            "there must be at least one client".to_owned()
        } else if !(1..=clients).contains(&rooms) {
            format!("{rooms} rooms for {clients} clients: each room needs one, and there must be one room")
        } else if !(1..=clients).contains(&senders) {
            format!("{senders} senders of {clients} clients: they must be 1 to {clients}")
        } else if !(busiest..=MAX_IN_FLIGHT).contains(&in_flight) {
            format!(
                "{in_flight} in flight in each room: it must be {busiest} (one for each sender there) to {MAX_IN_FLIGHT}"
            )
        } else if !(1..=MAX_PAYLOAD).contains(&payload) {
            format!("a payload of {payload} bytes: it must be 1 to {MAX_PAYLOAD}")
        } else if self.stalled > 0 && self.transport == Transport::Polling {
            "stalled clients are WebSockets: a client that polls reads by asking".to_owned()
        } else if matches!(self.plan, Plan::Messages(time) | Plan::UntilDrained(time) if time.is_zero())
            || self.plan == Plan::Waves(0)
        {
            "a run must take some time".to_owned()
        } else if matches!(self.plan, Plan::UntilDrained(_)) && !self.durable {
            "what a stopping server has taken is known by its acknowledgements: ask for them (--durable)".to_owned()
        } else if self.comers() > 0 && (self.stalled > 0 || self.transport == Transport::Polling) {
            "clients that come back are WebSockets, and nobody is stalled beside them".to_owned()
        } else if self.journal.is_some() && !self.durable {
            "a journal is of acknowledged messages: ask for acknowledgements (--durable)".to_owned()
        } else {
            return Ok(());
        };
        Err(LoadError::Options(complaint))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// `clients` in one room with one sender.
    pub(in crate::load) fn options(clients: usize) -> Options {
        Options {
            target: Target { host: "localhost".to_owned(), port: 3001 },
            clients,
            rooms: 1,
            senders: 1,
            in_flight: 1,
            payload: 100,
            transport: Transport::WebSocket,
            stalled: 0,
            plan: Plan::Messages(Duration::from_secs(1)),
            hold: Duration::ZERO,
            secret: None,
            durable: false,
            rate: 0,
            journal: None,
            json: false,
        }
    }

    #[test]
    fn a_target_is_a_plain_url_of_a_host() {
        for (text, host, port, authority) in [
            ("http://localhost:3001", "localhost", 3001, "localhost:3001"),
            ("http://localhost:3001/", "localhost", 3001, "localhost:3001"),
            ("ws://10.0.0.1", "10.0.0.1", 80, "10.0.0.1:80"),
            ("http://[::1]:3001", "::1", 3001, "[::1]:3001"),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!((target.host.as_str(), target.port, target.authority().as_str()), (host, port, authority));
        }
        for text in ["localhost:3001", "https://localhost", "http://", "http://h/chat", "http://h/?a", "ftp://h", "a b"]
        {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn options_that_do_not_fit_together_are_refused() {
        let fits = |change: fn(&mut Options)| {
            let mut options = Options { rooms: 10, senders: 20, in_flight: 2, ..options(100) };
            change(&mut options);
            options.check().is_ok()
        };
        assert!(fits(|_| {}));
        let wrong: [fn(&mut Options); 14] = [
            |options| options.clients = 0,
            |options| options.rooms = 0,
            |options| options.rooms = 101,
            |options| options.senders = 0,
            |options| options.senders = 101,
            |options| options.in_flight = 1,
            |options| options.in_flight = usize::MAX,
            |options| options.payload = MAX_PAYLOAD + 1,
            |options| (options.stalled, options.transport) = (1, Transport::Polling),
            |options| options.plan = Plan::Messages(Duration::ZERO),
            |options| options.plan = Plan::Waves(0),
            |options| options.plan = Plan::UntilDrained(Duration::from_secs(1)),
            |options| options.journal = Some("journal".into()),
            |options| {
                options.plan = Plan::Storm { comers: 1, calm: Duration::ZERO };
                options.stalled = 1;
            },
        ];
        for (case, change) in wrong.into_iter().enumerate() {
            assert!(!fits(change), "case {case}");
        }
    }
}
