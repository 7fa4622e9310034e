//! Long-polling: the GET that waits and the POST that brings, on whichever core they arrive.
//!
//! Owns the requests' own rules (body size, time, type) and the way to the session's core and back. What the requests
//! mean to the session is the session's.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::header::{self, HeaderMap};
use hyper::{Request, StatusCode, body};
use tokio::sync::oneshot;

use super::core::Core;
use super::http::{self, Response};
use super::mailbox::{self, Aborted, Answer, Call, Mail, Mailbox};
use super::websocket::Handshake;
use crate::chat::application::Application;
use crate::config::limits::HTTP_BODY_TIMEOUT;
use crate::engineio::body::{Body, Form};
use crate::engineio::error::HandshakeError;
use crate::engineio::handshake::{Dialect, Query};
use crate::engineio::session::{Revision, Transport};
use crate::ids::{CoreId, SessionId, TOKEN_BYTES};

/// How much of a refused body is read all the same: a few times what is allowed.
const MOST_DISCARDED: usize = 8 * 1024 * 1024;

/// How long it is read.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// What revision 3 declares binary bodies as.
const OCTET_STREAM: &str = "application/octet-stream";

/// A `sid` that nobody can guess.
///
/// # Errors
/// When the operating system has no randomness, which is a request that cannot be served.
pub(crate) fn new_session_id(core: CoreId) -> Result<SessionId, HandshakeError> {
    let mut random = [0; TOKEN_BYTES - 1];
    getrandom::fill(&mut random).map_err(|_| HandshakeError::BadRequest)?;
    Ok(SessionId::new(random, core))
}

/// The handshake: a new session, and its open packet.
pub(crate) fn begin<A: Application>(
    core: &Core<A>,
    dialect: Dialect,
    is_echo: bool,
    authorization: Option<Box<str>>,
) -> Result<Response, HandshakeError> {
    let sid = new_session_id(core.id())?;
    let open = core.with(|state, now| {
        let key = state.open(Handshake { sid, dialect, is_echo, authorization }, Transport::Polling, now)?;
        state.welcome(key, now);
        Some(state.open_packet(sid, Transport::Polling))
    });
    open.map(|open| payload(Body::of(dialect.revision(), &open))).ok_or(HandshakeError::BadRequest)
}

/// Whether a session exists, on whichever core its id names, and speaks the request's revision.
pub(crate) async fn exists<A: Application>(core: &Core<A>, sid: SessionId, query: Query) -> Result<(), HandshakeError> {
    ask(core, sid, mailbox::Request::Exists(query)).await.map(|_| ())
}

/// A GET: answered when the session has something to say.
pub(crate) async fn poll<A: Application>(core: &Core<A>, sid: SessionId) -> Result<Response, HandshakeError> {
    let guard = Guard::new(core, sid, Aborted::Poll);
    let answer = ask(core, sid, mailbox::Request::Poll).await;
    guard.disarm();
    match answer? {
        Answer::Payload(body) => Ok(payload(body)),
        Answer::Done => Err(HandshakeError::BadRequest),
        Answer::Refused(error) => Err(error),
    }
}

/// A POST: its packets are handled before it is answered.
pub(crate) async fn post<A: Application>(
    core: &Core<A>,
    sid: SessionId,
    revision: Revision,
    request: Request<body::Incoming>,
) -> Result<Response, HandshakeError> {
    ask(core, sid, mailbox::Request::PostBegin).await?;
    // From here on a request that breaks off, or is not what it should be, ends the session: its packets are lost.
    let guard = Guard::new(core, sid, Aborted::Post);
    let max_payload = core.shared().settings.max_payload;
    let (head, mut incoming) = request.into_parts();
    let form = form(&head.headers);
    let read = match (revision, form) {
        (Revision::V4, Form::Binary) => Err(BodyRefusal::Binary),
        _ => read_body(&head.headers, &mut incoming, max_payload, HTTP_BODY_TIMEOUT).await,
    };
    let body = match read {
        Ok(body) => body,
        Err(refusal) => {
            tokio::task::spawn_local(discard(incoming));
            return Ok(refusal.response());
        }
    };
    guard.disarm();
    ask(core, sid, mailbox::Request::PostBody { body, form }).await?;
    Ok(http::with_body(StatusCode::OK, "text/html", "ok"))
}

fn payload(body: Body) -> Response {
    let content_type = match body.form() {
        Form::Text => "text/plain; charset=UTF-8",
        Form::Binary => OCTET_STREAM,
    };
    http::with_body(StatusCode::OK, content_type, body.into_bytes())
}

/// What a body says it is. Whatever is not declared as bytes is text, as it is to the reference server.
fn form(headers: &HeaderMap) -> Form {
    let is_binary =
        headers.get(header::CONTENT_TYPE).is_some_and(|name| name.as_bytes().starts_with(OCTET_STREAM.as_bytes()));
    if is_binary { Form::Binary } else { Form::Text }
}

/// Puts a request to the session and waits for its answer, through the core's mailbox when it lives elsewhere.
async fn ask<A: Application>(
    core: &Core<A>,
    sid: SessionId,
    request: mailbox::Request,
) -> Result<Answer, HandshakeError> {
    let (reply, answer) = oneshot::channel();
    let call = Call { sid, request, reply };
    if sid.core() == core.id() {
        core.with(|state, now| state.handle_call(call, now));
    } else {
        core.shared().post.of(sid.core()).ok_or(HandshakeError::UnknownSession)?.post(Mail::Call(call));
    }
    // The other end is dropped only with the session.
    match answer.await {
        Ok(Answer::Refused(error)) => Err(error),
        Ok(answer) => Ok(answer),
        Err(_) => Err(HandshakeError::UnknownSession),
    }
}

/// Tells the session when its client gives up on a request: dropping the request's future drops this.
struct Guard {
    sid: SessionId,
    request: Aborted,
    mailbox: Option<Mailbox>,
}

impl Guard {
    fn new<A: Application>(core: &Core<A>, sid: SessionId, request: Aborted) -> Self {
        Self { sid, request, mailbox: core.shared().post.of(sid.core()).cloned() }
    }

    fn disarm(mut self) {
        self.mailbox = None;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(mailbox) = &self.mailbox {
            mailbox.post(Mail::Abort { sid: self.sid, request: self.request });
        }
    }
}

/// Why a body is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyRefusal {
    TooLarge,
    Encoded,
    Binary,
    Late,
    Broken,
}

impl BodyRefusal {
    fn response(self) -> Response {
        let (status, message) = match self {
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Body too large"),
            Self::Encoded => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Encoded bodies are not accepted"),
            Self::Binary => (StatusCode::BAD_REQUEST, "Binary bodies belong to revision 3 of the protocol"),
            Self::Late => (StatusCode::REQUEST_TIMEOUT, "Body not received in time"),
            Self::Broken => (StatusCode::BAD_REQUEST, "Body broken"),
        };
        http::json(status, format!("{{\"code\":3,\"message\":\"{message}\"}}"))
    }
}

/// Reads a body of at most `most` bytes within `time`. What its headers give away is refused before a byte is read.
async fn read_body(
    headers: &HeaderMap,
    incoming: &mut body::Incoming,
    most: usize,
    time: Duration,
) -> Result<Bytes, BodyRefusal> {
    check_headers(headers, most)?;
    let read = async {
        let mut whole = BytesMut::new();
        while let Some(frame) = incoming.frame().await {
            let Ok(data) = frame.map_err(|_| BodyRefusal::Broken)?.into_data() else { continue };
            if whole.len() + data.len() > most {
                return Err(BodyRefusal::TooLarge);
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    };
    tokio::time::timeout(time, read).await.unwrap_or(Err(BodyRefusal::Late))
}

/// Reads and forgets what still comes of a refused body, within reason: closing with unread bytes would reset the
/// connection, and the refusal would be lost with it.
async fn discard(mut incoming: body::Incoming) {
    let read = async {
        let mut length = 0;
        while let Some(Ok(frame)) = incoming.frame().await {
            length += frame.data_ref().map_or(0, Bytes::len);
            if length > MOST_DISCARDED {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, read).await;
}

fn check_headers(headers: &HeaderMap, most: usize) -> Result<(), BodyRefusal> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !matches!(text(header::CONTENT_ENCODING), "" | "identity") {
        return Err(BodyRefusal::Encoded);
    }
    let declared = text(header::CONTENT_LENGTH).parse::<u64>().unwrap_or(0);
    if usize::try_from(declared).map_or(true, |declared| declared > most) {
        return Err(BodyRefusal::TooLarge);
    }
    Ok(())
}
