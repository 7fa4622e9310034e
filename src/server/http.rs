//! Requests by path: the Engine.IO mounts, the client's scripts, health, and the page to try the chat with.
//!
//! Owns the routes, who a request is counted for, and the shape of every answer. Sessions are reached through `polling` and
//! `websocket`; nothing here knows a packet.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body as _;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Version, body};

use super::admission::AddressPass;
use super::compression::Coding;
use super::core::{Core, Shared};
use super::forwarded::{self, Client};
use super::metrics::page;
use super::newcomers::{Crowded, Newcomer};
use super::patience::Patience;
use super::recovery::{Standing, takes_offsets};
use super::settings::Protocol;
use super::websocket::{Handshake, Upgraded};
use super::{ambiguity, cookie, cors, health, playground, polling, websocket};
use crate::chat::application::Application;
use crate::engineio::deflate;
use crate::engineio::error::HandshakeError;
use crate::engineio::handshake::{self, Dialect};
use crate::ids::SessionId;

/// What every request is answered with.
pub(crate) type Response = hyper::Response<Full<Bytes>>;

/// Who opened a TCP connection, as its requests share it; or on whose behalf a proxy of ours makes one request.
#[derive(Clone)]
pub(crate) struct Peer {
    address: IpAddr,
    /// A client's is held until the last of the connection's tasks has ended; a proxy has none.
    pass: Arc<std::sync::Mutex<Option<AddressPass>>>,
    is_proxy: bool,
}

/// Answers one request. It never fails: a request that makes no sense gets an answer that says so.
pub(crate) async fn answer<A: Application>(
    core: Core<A>,
    peer: Peer,
    request: Request<body::Incoming>,
) -> Result<Response, Infallible> {
    let shared = Arc::clone(core.shared());
    let verdict = cors::judge(&shared.settings.origins, request.headers());
    let proxies = &shared.settings.edge.proxies;
    let client = forwarded::client(proxies, peer.address, |name| {
        request.headers().get_all(name).iter().map(HeaderValue::as_bytes)
    });
    let wants_upgrade = request.headers().contains_key(header::UPGRADE);
    let has_body = !request.body().is_end_stream();
    let is_ambiguous = ambiguity::is_ambiguous(request.method(), request.headers(), has_body);
    let mut response = match peer.on_behalf_of(&client, &shared) {
        _ if is_ambiguous => {
            shared.metrics.http_refused.increment("ambiguous");
            json(StatusCode::BAD_REQUEST, "{\"message\":\"It is not clear where the request ends\"}".to_owned())
        }
        _ if request.method() == Method::OPTIONS => verdict.preflight(request.headers()),
        Some(peer) => route(core, peer, request, &client, verdict.is_allowed).await,
        None => {
            tracing::debug!(address = %client.address, "too many connections of one address, through a proxy");
            shared.metrics.http_refused.increment("address");
            too_many()
        }
    };
    if is_ambiguous || wants_upgrade && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // What follows may be frames for all we know, or what a proxy takes for frames: it is not for us to read.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    verdict.apply(response.headers_mut());
    Ok(response)
}

async fn route<A: Application>(
    core: Core<A>,
    peer: Peer,
    request: Request<body::Incoming>,
    client: &Client,
    is_allowed: bool,
) -> Response {
    let shared = Arc::clone(core.shared());
    let path = request.uri().path();
    if let Some((_, protocol)) = shared.settings.mounts.iter().find(|(mount, _)| *mount == path) {
        return engine(core, peer, request, *protocol, client, is_allowed).await.unwrap_or_else(refuse);
    }
    if let Some(script) = shared.bundle.answer(request.method(), path, request.headers()) {
        return script;
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    match path {
        "/health" | "/livez" | "/readyz" | "/" if !is_read => method_not_allowed("GET, HEAD"),
        "/health" => health::health(&shared),
        "/livez" => health::livez(),
        "/readyz" => health::readyz(&shared),
        "/" => playground::root(&shared),
        "/metrics" if is_read && page::may_see(shared.settings.edge.metrics, client.address, request.headers()) => {
            page::answer(&shared).await
        }
        "/dev/token" if is_read => playground::token(&shared, request.uri().query().unwrap_or_default()),
        _ => json(StatusCode::NOT_FOUND, "{\"message\":\"Not found\"}".to_owned()),
    }
}

/// A request to an Engine.IO path.
async fn engine<A: Application>(
    core: Core<A>,
    peer: Peer,
    request: Request<body::Incoming>,
    protocol: Protocol,
    client: &Client,
    is_allowed: bool,
) -> Result<Response, HandshakeError> {
    let query = handshake::parse_query(request.uri().query().unwrap_or_default())?;
    let is_upgrade = request.headers().contains_key(header::UPGRADE);
    let is_echo = protocol == Protocol::EngineIoEcho;
    if let Some(sid) = query.sid {
        polling::exists(&core, sid, query).await?;
    }
    let dialect = query.admit(request.method().as_str(), is_upgrade, core.shared().settings.allow_eio3)?;
    let caller = match query.sid {
        Some(sid) => Caller::Known(sid),
        None if core.shared().phase.is_draining() => {
            core.shared().metrics.handshakes_refused.increment("draining");
            return Ok(come_back(STOPPING));
        }
        None if !core.shared().settings.gate.is_ready() => {
            core.shared().metrics.handshakes_refused.increment("starting");
            return Ok(come_back("The server is starting"));
        }
        None => match core.shared().newcomers.admit(core.id(), forwarded::counted_as(peer.address)) {
            Ok(newcomer) => Caller::New(newcomer),
            Err(crowded) => {
                core.shared().metrics.handshakes_refused.increment(crowded.as_str());
                return Ok(crowded.response());
            }
        },
    };
    if is_upgrade {
        return upgrade(core, peer, request, (caller, dialect), is_echo, client.is_secure, is_allowed);
    }
    match (caller, request.method()) {
        (Caller::New(newcomer), _) => {
            let sid = polling::new_session_id(core.id())?;
            let authorization = authorization(request.headers());
            let standing = standing(core.shared(), &request);
            let handshake = Handshake { sid, dialect, is_echo, authorization, standing, newcomer };
            let Some(mut response) = polling::begin(&core, handshake) else { return Ok(come_back(STOPPING)) };
            // A page that may not read the answer is not to leave a cookie behind either.
            let name = core.shared().settings.edge.cookie_name.as_ref().filter(|_| is_allowed);
            cookie::set(response.headers_mut(), name, sid, client.is_secure);
            Ok(response)
        }
        (Caller::Known(sid), &Method::GET) => polling::poll(&core, sid, Coding::choose(request.headers())).await,
        (Caller::Known(sid), &Method::POST) => polling::post(&core, sid, dialect.revision(), request).await,
        _ => Err(HandshakeError::BadRequest),
    }
}

fn upgrade<A: Application>(
    core: Core<A>,
    peer: Peer,
    mut request: Request<body::Incoming>,
    (caller, dialect): (Caller, Dialect),
    is_echo: bool,
    is_secure: bool,
    is_allowed: bool,
) -> Result<Response, HandshakeError> {
    // Browsers do not hold WebSockets to CORS, so it is checked here (cross-site WebSocket hijacking).
    if !is_allowed {
        return Err(HandshakeError::Forbidden);
    }
    let headers = request.headers();
    let values = |name: &'static str| headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let key = match handshake::check_upgrade(request.method().as_str(), request.version() >= Version::HTTP_11, values) {
        Ok(key) => key,
        Err(error) => {
            let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
            let mut response = json(status, format!("{{\"code\":3,\"message\":\"{error}\"}}"));
            response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            return Ok(response);
        }
    };
    let accept = HeaderValue::from_str(&tokio_tungstenite::tungstenite::handshake::derive_accept_key(&key))
        .map_err(|_| HandshakeError::BadRequest)?;
    let deflates = core.shared().settings.edge.deflate && deflate::is_offered(values("sec-websocket-extensions"));
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    let begin = match caller {
        Caller::Known(sid) => Begin::Probe(sid),
        Caller::New(newcomer) => {
            let sid = polling::new_session_id(core.id())?;
            let name = core.shared().settings.edge.cookie_name.as_ref();
            cookie::set(response.headers_mut(), name, sid, is_secure);
            let standing = standing(core.shared(), &request);
            let authorization = authorization(headers);
            Begin::Session(Handshake { sid, dialect, is_echo, authorization, standing, newcomer })
        }
    };
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::task::spawn_local(async move {
        // A client that goes away in the middle of its upgrade is no news.
        let Ok(upgraded) = upgraded.await else { return };
        let Ok(parts) = upgraded.downcast::<hyper_util::rt::TokioIo<Patience>>() else { return };
        let Some(pass) = peer.take() else { return };
        let upgraded =
            Upgraded { stream: parts.io.into_inner().into_inner(), read_ahead: parts.read_buf, pass, deflates };
        match begin {
            Begin::Session(handshake) => websocket::begin(&core, upgraded, handshake),
            Begin::Probe(sid) => websocket::probe(&core, sid, upgraded),
        }
    });
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if deflates {
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(deflate::AGREED));
    }
    Ok(response)
}

/// Who asks for something at an Engine.IO path.
enum Caller {
    /// Somebody without a session, who has been given a place for one.
    New(Newcomer),
    Known(SessionId),
}

/// What an upgraded connection is for.
enum Begin {
    Session(Handshake),
    Probe(SessionId),
}

impl Peer {
    /// Counts a connection for its address. That of a proxy of ours counts for nobody: its requests do, each for the
    /// client that it is made for. `None` when it is one too many.
    pub(crate) fn admit(shared: &Shared, address: IpAddr) -> Option<Self> {
        let is_proxy = shared.settings.edge.proxies.trusts(address.to_canonical(), 0);
        let pass = if is_proxy { None } else { Some(shared.addresses.admit(&forwarded::counted_as(address))?) };
        Some(Self { address, pass: Arc::new(std::sync::Mutex::new(pass)), is_proxy })
    }

    /// Who a request is counted for: a client's connection is counted already; what a proxy brings is counted from here
    /// until it is answered, or until the WebSocket that it opens has ended. `None` when it is one too many.
    fn on_behalf_of(self, client: &Client, shared: &Shared) -> Option<Self> {
        if !self.is_proxy {
            return Some(self);
        }
        let pass = shared.addresses.admit(&forwarded::counted_as(client.address))?;
        Some(Self { address: client.address, pass: Arc::new(std::sync::Mutex::new(Some(pass))), is_proxy: false })
    }

    /// The WebSocket's task holds the pass from now on.
    fn take(&self) -> Option<AddressPass> {
        self.pass.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }
}

fn authorization(headers: &HeaderMap) -> Option<Box<str>> {
    headers.get(header::AUTHORIZATION)?.to_str().ok().map(Box::from)
}

/// What the client of a handshake is to recovery.
fn standing(shared: &Shared, request: &Request<body::Incoming>) -> Standing {
    let agent = request.headers().get(header::USER_AGENT).map(HeaderValue::as_bytes);
    let is_able = shared.recovery.is_some() && takes_offsets(request.uri().query().unwrap_or_default(), agent);
    if is_able { Standing::Able } else { Standing::Unable }
}

/// An Engine.IO error, as the reference server words it.
pub(crate) fn refuse(error: HandshakeError) -> Response {
    json(StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST), error.body())
}

pub(crate) fn method_not_allowed(allowed: &'static str) -> Response {
    let mut response = json(StatusCode::METHOD_NOT_ALLOWED, "{\"message\":\"Method not allowed\"}".to_owned());
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// As many requests as one address may make at a time are under way.
fn too_many() -> Response {
    let mut response =
        json(StatusCode::TOO_MANY_REQUESTS, "{\"message\":\"Too many connections of one address\"}".to_owned());
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

const STOPPING: &str = "The server is stopping";

/// Not now, but soon: this server, or the one that takes its place when it is stopping.
fn come_back(why: &'static str) -> Response {
    let mut response = json(StatusCode::SERVICE_UNAVAILABLE, format!("{{\"message\":\"{why}\"}}"));
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    // Kept open, it would take a descriptor from those who get in.
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

impl Crowded {
    fn response(self) -> Response {
        come_back(match self {
            Self::Core => "Too many clients are connecting",
            Self::Address => "Too many clients of one address are connecting",
        })
    }
}

/// An answer with a JSON body, which no browser may take for anything else.
pub(crate) fn json(status: StatusCode, body: String) -> Response {
    with_body(status, "application/json", body)
}

/// An answer with a body that is not to be cached.
pub(crate) fn with_body(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = hyper::Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let fixed: [(HeaderName, &'static str); 3] = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = hyper::Response::new(Full::default());
    *response.status_mut() = status;
    response
}
