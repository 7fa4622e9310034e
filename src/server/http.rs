//! Requests by path: the Engine.IO mounts, health, and the page to try the chat with.
//!
//! Owns the routes, the CORS rules and the shape of every answer. Sessions are reached through `polling` and
//! `websocket`; nothing here knows a packet.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Version, body};

use super::admission::AddressPass;
use super::core::Core;
use super::settings::Protocol;
use super::websocket::{Handshake, Upgraded};
use super::{health, playground, polling, websocket};
use crate::chat::application::Application;
use crate::config::Origins;
use crate::engineio::error::HandshakeError;
use crate::engineio::handshake::{self, Dialect};
use crate::ids::SessionId;

/// What every request is answered with.
pub(crate) type Response = hyper::Response<Full<Bytes>>;

/// A client's TCP connection, as its requests share it.
#[derive(Clone)]
pub(crate) struct Peer {
    /// Held until the last of the connection's tasks has ended.
    pub(crate) pass: Arc<std::sync::Mutex<Option<AddressPass>>>,
}

/// Answers one request. It never fails: a request that makes no sense gets an answer that says so.
pub(crate) async fn answer<A: Application>(
    core: Core<A>,
    peer: Peer,
    request: Request<body::Incoming>,
) -> Result<Response, Infallible> {
    let shared = Arc::clone(core.shared());
    let origins = &shared.settings.origins;
    let origin = request.headers().get(header::ORIGIN).cloned();
    let is_same = is_same_origin(origin.as_ref(), request.headers());
    let is_allowed = is_same || origin.as_ref().is_none_or(|origin| is_listed(origins, origin));
    let mut response = route(core, peer, request, is_allowed).await;
    let headers = response.headers_mut();
    if !matches!(origins, Origins::Any) {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    let shown = match (origins, origin) {
        (Origins::Any, Some(_)) => Some(HeaderValue::from_static("*")),
        (_, Some(origin)) if is_allowed && !is_same => Some(origin),
        _ => None,
    };
    if let Some(origin) = shown {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    Ok(response)
}

async fn route<A: Application>(
    core: Core<A>,
    peer: Peer,
    request: Request<body::Incoming>,
    is_allowed: bool,
) -> Response {
    if request.method() == Method::OPTIONS {
        return preflight(&request);
    }
    let shared = Arc::clone(core.shared());
    let path = request.uri().path();
    if let Some((_, protocol)) = shared.settings.mounts.iter().find(|(mount, _)| *mount == path) {
        return engine(core, peer, request, *protocol, is_allowed).await.unwrap_or_else(refuse);
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    match path {
        "/health" | "/livez" | "/readyz" | "/" if !is_read => method_not_allowed("GET, HEAD"),
        "/health" => health::health(&shared),
        "/livez" => health::livez(),
        "/readyz" => health::readyz(&shared),
        "/" => playground::root(&shared),
        "/dev/token" if is_read => playground::token(&shared, request.uri().query().unwrap_or_default()),
        _ => json(StatusCode::NOT_FOUND, "{\"message\":\"Not found\"}".to_owned()),
    }
}

/// Only an origin that stands in the list, letter by letter, is ever shown back.
fn is_listed(origins: &Origins, origin: &HeaderValue) -> bool {
    match origins {
        Origins::Any => true,
        Origins::List(list) => list.iter().any(|listed| listed.as_bytes() == origin.as_bytes()),
        Origins::SameOrigin => false,
    }
}

/// Whether a page of this very host asks. The scheme is the proxy's business: behind one, ours is always http.
fn is_same_origin(origin: Option<&HeaderValue>, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin = origin.and_then(|origin| origin.to_str().ok());
    let (Some(host), Some(origin)) = (host, origin) else { return false };
    ["http://", "https://"].iter().any(|scheme| origin.strip_prefix(scheme) == Some(host))
}

fn preflight(request: &Request<body::Incoming>) -> Response {
    let mut response = empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET,POST,OPTIONS"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    headers.append(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    if let Some(wanted) = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    response
}

/// A request to an Engine.IO path.
async fn engine<A: Application>(
    core: Core<A>,
    peer: Peer,
    request: Request<body::Incoming>,
    protocol: Protocol,
    is_allowed: bool,
) -> Result<Response, HandshakeError> {
    let query = handshake::parse_query(request.uri().query().unwrap_or_default())?;
    let is_upgrade = request.headers().contains_key(header::UPGRADE);
    let is_echo = protocol == Protocol::EngineIoEcho;
    if let Some(sid) = query.sid {
        polling::exists(&core, sid, query).await?;
    }
    let dialect = query.admit(request.method().as_str(), is_upgrade, core.shared().settings.allow_eio3)?;
    if query.sid.is_none() && core.shared().phase.is_draining() {
        return Ok(come_back());
    }
    if is_upgrade {
        return upgrade(core, peer, request, (query.sid, dialect), is_echo, is_allowed);
    }
    match (query.sid, request.method()) {
        (None, _) => polling::begin(&core, dialect, is_echo, authorization(request.headers())),
        (Some(sid), &Method::GET) => polling::poll(&core, sid).await,
        (Some(sid), &Method::POST) => polling::post(&core, sid, dialect.revision(), request).await,
        _ => Err(HandshakeError::BadRequest),
    }
}

fn upgrade<A: Application>(
    core: Core<A>,
    peer: Peer,
    mut request: Request<body::Incoming>,
    (sid, dialect): (Option<SessionId>, Dialect),
    is_echo: bool,
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
    let begin = match sid {
        Some(sid) => Begin::Probe(sid),
        None => {
            let sid = polling::new_session_id(core.id())?;
            Begin::Session(Handshake { sid, dialect, is_echo, authorization: authorization(headers) })
        }
    };
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::task::spawn_local(async move {
        // A client that goes away in the middle of its upgrade is no news.
        let Ok(upgraded) = upgraded.await else { return };
        let Ok(parts) = upgraded.downcast::<hyper_util::rt::TokioIo<tokio::net::TcpStream>>() else { return };
        let Some(pass) = peer.take() else { return };
        let upgraded = Upgraded { stream: parts.io.into_inner(), read_ahead: parts.read_buf, pass };
        match begin {
            Begin::Session(handshake) => websocket::begin(&core, upgraded, handshake),
            Begin::Probe(sid) => websocket::probe(&core, sid, upgraded),
        }
    });
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

/// What an upgraded connection is for.
enum Begin {
    Session(Handshake),
    Probe(SessionId),
}

impl Peer {
    pub(crate) fn new(pass: AddressPass) -> Self {
        Self { pass: Arc::new(std::sync::Mutex::new(Some(pass))) }
    }

    /// The WebSocket's task holds the pass from now on.
    fn take(&self) -> Option<AddressPass> {
        self.pass.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }
}

fn authorization(headers: &HeaderMap) -> Option<Box<str>> {
    headers.get(header::AUTHORIZATION)?.to_str().ok().map(Box::from)
}

/// An Engine.IO error, as the reference server words it.
pub(crate) fn refuse(error: HandshakeError) -> Response {
    json(StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST), error.body())
}

fn method_not_allowed(allowed: &'static str) -> Response {
    let mut response = json(StatusCode::METHOD_NOT_ALLOWED, "{\"message\":\"Method not allowed\"}".to_owned());
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The server is stopping: another one, or this one started anew, will take the client.
fn come_back() -> Response {
    let mut response = json(StatusCode::SERVICE_UNAVAILABLE, "{\"message\":\"The server is stopping\"}".to_owned());
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
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

fn empty(status: StatusCode) -> Response {
    let mut response = hyper::Response::new(Full::default());
    *response.status_mut() = status;
    response
}
