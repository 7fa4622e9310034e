//! The settings, parsed once into typed values, each with its unit, bounds, default and reason.
//!
//! Owns the names of the variables and what they mean together. Everything after this module works with [`Config`] and
//! never sees a variable. A value that is not understood stops the start: a server that guesses is worse than none.

mod bundle;
mod error;
mod http;
pub mod limits;
mod origins;
mod proxies;
mod reader;
mod secret;
mod stores;
mod variables;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::auth::Keys;
use crate::ids::CoreId;
pub use bundle::ClientBundle;
pub use error::ConfigError;
pub use http::{CookieName, Edge, Exposure, SocketPath};
pub use origins::Origins;
pub use proxies::{Network, TrustProxy, first_of};
pub use reader::Setting;
use reader::{Lookup, Reader};
pub use secret::{MASK, Secret};
use stores::stores;
pub use stores::{Messages, MongoSettings, PostgresSettings, Stores, Structure};
pub use variables::{Source, Variables};

/// How the server is run: `NODE_ENV`. Unset means production, because forgetting it must not open a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// For real users: every default is the strict one.
    Production,
    /// On one's own machine: guests are let in, unknown rooms open by themselves, a missing secret is made up.
    Development,
    /// As production, with a log for people.
    Test,
}

/// The least important thing that is logged: `LOG_LEVEL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// What needs somebody's attention.
    Error,
    /// What may need it soon.
    Warn,
    /// The course of the server's life.
    Info,
    /// The course of each connection's.
    Debug,
}

/// Who sees that a user comes and goes: `PRESENCE_SCOPE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresenceScope {
    /// Those who share a conversation with them.
    Contacts,
    /// Every connected socket, as in the replaced service.
    All,
}

/// The form of Socket.IO packets: `PARSER`. Nothing on the wire says which one a client has, so it is one per server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parser {
    /// What clients have built in.
    Json,
    /// The npm package `socket.io-msgpack-parser`.
    MsgPack,
}

/// Everything the server is told from outside.
#[derive(Clone, Debug)]
pub struct Config {
    /// `NODE_ENV`: `production` (default), `development`, `test`.
    pub environment: Environment,
    /// `WS_HOST` (default 0.0.0.0, all of IPv4) and `WS_PORT` (0..=65535, default 3001; 0 takes any free port).
    pub listen: SocketAddr,
    /// `JWT_SECRET` or `JWT_PUBLIC_KEY`, with `JWT_REQUIRE_EXP` (default false: old issuers leave `exp` out).
    pub keys: Keys,
    /// The secret behind [`Config::keys`] when it was made up: in development, with neither variable set. 256 bits.
    pub made_up_secret: Option<Secret>,
    /// The secret that the page to try the chat with signs its tokens with: in development, unless `JWT_PUBLIC_KEY` is
    /// set.
    pub page_secret: Option<Secret>,
    /// `CORS_ORIGIN`: `*` or a list separated by commas. Default: same origin only; in development `*`, because a
    /// front end under work is served from another port.
    pub origins: Origins,
    /// `SOCKET_PATH`, `COOKIE_NAME`, `TRUST_PROXY`, `CLIENT_BUNDLE_DIR`, `WS_DEFLATE`, `METRICS`.
    pub edge: Edge,
    /// `LOG_LEVEL`: `error`, `warn`, `info` (default), `debug`.
    pub log_level: LogLevel,
    /// `STORE`: `auto` (default) or `memory`; `MONGO_URI`, `DB_HOST` and what belongs to them.
    pub store: Stores,
    /// `DATA_DIR`: the folder of what is embedded; default `./data`. Not touched when nothing is.
    pub data_dir: PathBuf,
    /// `ALLOW_EIO3`: serve socket.io-client 1 and 2 (Engine.IO 3) as well. Default false, as in the reference server: a
    /// second protocol is something that only those should carry who have such clients.
    pub allow_eio3: bool,
    /// `OPEN_ROOMS`: joining an unknown conversation creates it. Default: only in development, where there is no other
    /// service to create conversations.
    pub open_rooms: bool,
    /// `PRESENCE_SCOPE`: `contacts` (default) or `all`.
    pub presence_scope: PresenceScope,
    /// `PARSER`: `json` (default) or `msgpack`.
    pub parser: Parser,
    /// `PRESENCE_GRACE_MS`, 0..=60,000, default 1,500: how long `user:offline` is held back, so that the reload of a
    /// page is silent.
    pub presence_grace: Duration,
    /// `RECOVERY_MS`, 0..=600,000, default 120,000: how long a client that lost its connection may come back as what it
    /// was; `None` (0) is never. The reference's two minutes: a tunnel, a lift, a change of networks. Longer gaps are
    /// for `since`, and what is kept costs memory.
    pub recovery: Option<Duration>,
    /// `PERSIST_TIMEOUT_MS`, 100..=60,000, default 10,000: within this time each `message:send` is answered. Shorter
    /// than a slow disk's sync, it would refuse what is stored a moment later; longer, people have given up.
    pub persist_timeout: Duration,
    /// `DRAIN_TIMEOUT_MS`, 0..=600,000, default 10,000: how long a stopping server finishes its work. Below the 30 s
    /// after which orchestrators kill.
    pub drain_timeout: Duration,
    /// `MAX_MESSAGE_BYTES`, 1..=[`limits::HIGHEST_MAX_MESSAGE_BYTES`], default 65,536: the longest `content`, in bytes.
    pub max_message_bytes: usize,
    /// `CORES`, 1..=64 ([`CoreId::MAX_CORES`]), default the number of CPUs: threads that serve connections.
    pub cores: usize,
    /// `MAX_CONNECTIONS_PER_IP`, default 256: a large office behind one IPv4 address, or one IPv6 network of 64 bits;
    /// `None` (0) is no limit.
    pub max_connections_per_ip: Option<NonZeroU32>,
    /// `MAX_CONNECTIONS_PER_USER`, default 32: every tab of every device of one person; `None` (0) is no limit.
    pub max_connections_per_user: Option<NonZeroU32>,
    /// `RATE_LIMIT_EVENTS`, per second and socket, default 50: nobody types faster, scripts do; `None` (0) is no limit.
    pub rate_limit_events: Option<NonZeroU32>,
    /// `RATE_LIMIT_BYTES`, per second and socket, default 262,144: four of the longest messages; never less than
    /// [`Config::max_message_bytes`], or those could not be sent at all; `None` (0) is no limit.
    pub rate_limit_bytes: Option<NonZeroU32>,
}

/// A configuration and how it came about.
#[derive(Debug)]
pub struct Report {
    /// The result.
    pub config: Config,
    /// Every variable as it took effect, secrets masked.
    pub settings: Vec<Setting>,
    /// What is allowed and unwise: a sentence each.
    pub warnings: Vec<String>,
}

impl Config {
    /// Parses the variables that `lookup` finds; blank ones count as unset.
    ///
    /// # Errors
    /// [`ConfigError`], for the first variable that is wrong.
    pub fn from_env(lookup: &impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        parse(&|name| lookup(name).map(|value| (value, Source::Environment))).map(|report| report.config)
    }
}

impl Report {
    /// Parses the variables and remembers where each came from.
    ///
    /// # Errors
    /// [`ConfigError`], for the first variable that is wrong.
    pub fn from_variables(variables: &Variables) -> Result<Self, ConfigError> {
        parse(&|name| variables.get(name))
    }
}

/// Where memberships are kept, for a command that edits them and needs nothing else to be set: the kind of store, and
/// `DATA_DIR` for the embedded one.
///
/// # Errors
/// [`ConfigError`] when a variable of the stores is wrong, or `STORE=memory` keeps nothing.
pub fn structure(variables: &Variables) -> Result<(Structure, PathBuf), ConfigError> {
    match stores(&mut Reader::new(&|name| variables.get(name)))? {
        (Stores::Kept { structure, .. }, data_dir) => Ok((structure, data_dir)),
        (Stores::Memory, _) => Err(ConfigError::value("STORE", "memory", "auto: memory keeps nothing to work on")),
    }
}

/// Where the server listens, for a command that asks it something.
///
/// # Errors
/// [`ConfigError`] when `WS_HOST` or `WS_PORT` is wrong.
pub fn listen_address(variables: &Variables) -> Result<SocketAddr, ConfigError> {
    listen(&mut Reader::new(&|name| variables.get(name)))
}

/// The secret that this installation's tokens are signed with, for a command that makes one and needs nothing else.
///
/// # Errors
/// [`ConfigError`] when there is none, or it is refused.
pub fn signing_secret(variables: &Variables) -> Result<Secret, ConfigError> {
    let lookup = |name: &str| variables.get(name);
    let reader = &mut Reader::new(&lookup);
    let environment = environment(reader)?;
    let secret = reader.secret("JWT_SECRET")?;
    let instruction = match (&secret, reader.raw("JWT_PUBLIC_KEY")?) {
        (_, Some(_)) => "tokens for JWT_PUBLIC_KEY are signed by the holder of its private key, not here",
        (_, None) => "set it to the server's: a token is good only for the secret it was signed with",
    };
    let secret = secret.ok_or(ConfigError::Missing { name: "JWT_SECRET", instruction })?;
    secret_keys(reader, environment, &secret)?;
    Ok(secret)
}

fn parse(lookup: Lookup<'_>) -> Result<Report, ConfigError> {
    let reader = &mut Reader::new(lookup);
    let environment = environment(reader)?;
    let development = environment == Environment::Development;

    let listen = listen(reader)?;
    let (keys, secret, made_up) = keys(reader, environment)?;
    let made_up_secret = secret.clone().filter(|_| made_up);
    let page_secret = secret.filter(|_| development);
    let origins = reader.parsed(
        "CORS_ORIGIN",
        "* or a list, separated by commas, of origins like https://chat.example.com, without a path",
        if development { Origins::Any } else { Origins::SameOrigin },
        Origins::parse,
    )?;
    let allow_eio3 = reader.boolean("ALLOW_EIO3", false)?;
    let edge = http::edge(reader, &origins)?;
    let levels =
        [("error", LogLevel::Error), ("warn", LogLevel::Warn), ("info", LogLevel::Info), ("debug", LogLevel::Debug)];
    let log_level = reader.one_of("LOG_LEVEL", &levels, LogLevel::Info)?;
    let (store, data_dir) = stores(reader)?;
    let open_rooms = reader.boolean("OPEN_ROOMS", development)?;
    let parsers = [("json", Parser::Json), ("msgpack", Parser::MsgPack)];
    let parser = reader.one_of("PARSER", &parsers, Parser::Json)?;
    if development && parser == Parser::MsgPack {
        reader.warnings.push("PARSER is msgpack: there is no page to try the chat with, because it speaks JSON".into());
    }
    let scopes = [("contacts", PresenceScope::Contacts), ("all", PresenceScope::All)];
    let presence_scope = reader.one_of("PRESENCE_SCOPE", &scopes, PresenceScope::Contacts)?;
    let presence_grace = Duration::from_millis(reader.number("PRESENCE_GRACE_MS", 0..=60_000, 1_500)?);
    let recovery = Duration::from_millis(reader.number("RECOVERY_MS", 0..=600_000, 120_000)?);
    let persist_timeout = Duration::from_millis(reader.number("PERSIST_TIMEOUT_MS", 100..=60_000, 10_000)?);
    let drain_timeout = Duration::from_millis(reader.number("DRAIN_TIMEOUT_MS", 0..=600_000, 10_000)?);
    let max_message_bytes = reader.number("MAX_MESSAGE_BYTES", 1..=limits::HIGHEST_MAX_MESSAGE_BYTES, 65_536)?;
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get().min(CoreId::MAX_CORES));
    let cores = reader.number("CORES", 1..=CoreId::MAX_CORES, cpus)?;
    let max_connections_per_ip = reader.limit("MAX_CONNECTIONS_PER_IP", 1_000_000, 256)?;
    let max_connections_per_user = reader.limit("MAX_CONNECTIONS_PER_USER", 1_000_000, 32)?;
    let rate_limit_events = reader.limit("RATE_LIMIT_EVENTS", 1_000_000, 50)?;
    let rate_limit_bytes = reader.limit("RATE_LIMIT_BYTES", 1_000_000_000, 262_144)?;
    if let Some(rate) = rate_limit_bytes.filter(|rate| (rate.get() as usize) < max_message_bytes) {
        let allowed = format!("at least MAX_MESSAGE_BYTES ({max_message_bytes}), or 0 for no limit");
        return Err(ConfigError::value("RATE_LIMIT_BYTES", &rate.to_string(), allowed));
    }

    let config = Config {
        environment,
        listen,
        keys,
        made_up_secret,
        page_secret,
        origins,
        allow_eio3,
        edge,
        log_level,
        store,
        data_dir,
        open_rooms,
        presence_scope,
        parser,
        presence_grace,
        recovery: (!recovery.is_zero()).then_some(recovery),
        persist_timeout,
        drain_timeout,
        max_message_bytes,
        cores,
        max_connections_per_ip,
        max_connections_per_user,
        rate_limit_events,
        rate_limit_bytes,
    };
    Ok(Report {
        config,
        settings: std::mem::take(&mut reader.settings),
        warnings: std::mem::take(&mut reader.warnings),
    })
}

fn environment(reader: &mut Reader<'_>) -> Result<Environment, ConfigError> {
    let words = [
        ("production", Environment::Production),
        ("development", Environment::Development),
        ("test", Environment::Test),
    ];
    reader.one_of("NODE_ENV", &words, Environment::Production)
}

fn listen(reader: &mut Reader<'_>) -> Result<SocketAddr, ConfigError> {
    let port = reader.number("WS_PORT", 0..=u16::MAX, 3001)?;
    let host = reader.parsed("WS_HOST", "an IP address or localhost", IpAddr::V4(Ipv4Addr::UNSPECIFIED), |text| {
        if text == "localhost" { Some(Ipv4Addr::LOCALHOST.into()) } else { text.parse().ok() }
    })?;
    Ok(SocketAddr::new(host, port))
}

/// The one key that tokens are checked with, its secret if it has one, and whether that had to be made up.
fn keys(reader: &mut Reader<'_>, environment: Environment) -> Result<(Keys, Option<Secret>, bool), ConfigError> {
    let secret = reader.secret("JWT_SECRET")?;
    let read = |pem: &str| {
        Keys::from_public_pem(pem).map_err(|error| format!("the PEM text of a public key for tokens; {error}"))
    };
    let public = reader.text_or_file("JWT_PUBLIC_KEY", "-----BEGIN", read, Keys::algorithm)?;
    let require_exp = reader.boolean("JWT_REQUIRE_EXP", false)?;
    let (keys, secret, made_up) = match (secret, public) {
        (Some(_), Some(_)) => {
            return Err(ConfigError::Contradiction {
                first: "JWT_SECRET".into(),
                second: "JWT_PUBLIC_KEY".into(),
                instruction: "unset one of them, because the key alone decides which algorithm is believed",
            });
        }
        (Some(secret), None) => (secret_keys(reader, environment, &secret)?, Some(secret), false),
        (None, Some(keys)) => (keys, None, false),
        (None, None) if environment == Environment::Development => {
            let secret = random_secret()?;
            reader.warnings.push("JWT_SECRET is not set: each start makes up another, and ends earlier tokens".into());
            (secret_keys(reader, environment, &secret)?, Some(secret), true)
        }
        (None, None) => {
            return Err(ConfigError::Missing {
                name: "JWT_SECRET",
                instruction: "set it to the secret that your tokens are signed with, at least 32 random bytes, or set \
                              JWT_PUBLIC_KEY to their issuer's public key (only NODE_ENV=development can do without)",
            });
        }
    };
    Ok((keys.with_required_exp(require_exp), secret, made_up))
}

/// Refuses secrets that anybody would guess, and warns of those that a machine could.
fn secret_keys(reader: &mut Reader<'_>, environment: Environment, secret: &Secret) -> Result<Keys, ConfigError> {
    let refuse = |allowed: &str| ConfigError::Value {
        name: "JWT_SECRET".into(),
        value: MASK.into(),
        allowed: allowed.to_owned(),
    };
    let keys = Keys::from_secret(secret.reveal())
        .map_err(|error| refuse(&format!("a shared secret ({error}; a public key goes into JWT_PUBLIC_KEY)")))?;
    if secret.is_well_known() {
        let advice = "at least 32 random bytes, not a text that examples use: whoever guesses it can be any user";
        if environment != Environment::Development {
            return Err(refuse(advice));
        }
        reader.warnings.push(format!("JWT_SECRET should be {advice}"));
    } else if secret.reveal().len() < 32 {
        reader.warnings.push("JWT_SECRET is shorter than the 32 bytes that HS256 asks for (RFC 7518, 3.2)".into());
    }
    Ok(keys)
}

/// 256 bits, the strength of HS256, as text that survives a shell.
fn random_secret() -> Result<Secret, ConfigError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| ConfigError::Random(error.to_string()))?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes)))
}

#[cfg(test)]
mod tests;
