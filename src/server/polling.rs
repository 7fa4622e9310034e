//! Long-polling: the GET that waits and the POST that brings, on whichever core they arrive.
//!
//! Owns the requests' own rules (body size, time, type) and the way to the session's core and back. What the requests
//! mean to the session is the session's.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};
use tokio::sync::oneshot;

use super::compression::{self, Coding};
use super::core::Core;
use super::http::{self, Response};
use super::mailbox::{self, Aborted, Answer, Call, Mail, Mailbox};
use super::websocket::Handshake;
use crate::chat::application::Application;
use crate::engineio::body::{Body, Form};
use crate::engineio::error::HandshakeError;
use crate::engineio::handshake::Query;
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

/// The handshake: a new session, and its open packet. `None` when there may be no new session.
pub(crate) fn begin<A: Application>(core: &Core<A>, handshake: Handshake) -> Option<Response> {
    let (sid, revision) = (handshake.sid, handshake.dialect.revision());
    let open = core.with(|state, now| {
        let key = state.open(handshake, Transport::Polling, now)?;
        state.welcome(key, now);
        Some(state.open_packet(sid, Transport::Polling))
    });
    open.map(|open| payload(Body::of(revision, &open)))
}

/// Whether a session exists, on whichever core its id names, and speaks the request's revision.
pub(crate) async fn exists<A: Application>(core: &Core<A>, sid: SessionId, query: Query) -> Result<(), HandshakeError> {
    ask(core, sid, mailbox::Request::Exists(query)).await.map(|_| ())
}

/// A GET: answered when the session has something to say, compressed if that is long and the client takes `coding`.
pub(crate) async fn poll<A: Application>(
    core: &Core<A>,
    sid: SessionId,
    coding: Option<Coding>,
) -> Result<Response, HandshakeError> {
    let guard = Guard::new(core, sid, Aborted::Poll);
    let answer = ask(core, sid, mailbox::Request::Poll).await;
    let response = match answer {
        // Still guarded: what is being compressed is lost if the client leaves.
        Ok(Answer::Payload(body)) => Ok(compressed(core, body, coding).await),
        Ok(Answer::Done) => Err(HandshakeError::BadRequest),
        Ok(Answer::Refused(error)) | Err(error) => Err(error),
    };
    guard.disarm();
    response
}

async fn compressed<A: Application>(core: &Core<A>, body: Body, coding: Option<Coding>) -> Response {
    let content_type = content_type(body.form());
    let (mut body, mut name) = (body.into_bytes(), None);
    if let (Some(coding), true) = (coding, body.len() >= compression::LEAST_BYTES)
        && let Ok(mut compressor) = core.compressor().try_lock()
        && let Some(short) = compressor.compress(coding, &body).await
    {
        (body, name) = (short, Some(coding.name()));
    }
    let mut response = http::with_body(StatusCode::OK, content_type, body);
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Some(name) = name {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    response
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
    let (max_payload, time) = (core.shared().settings.max_payload, core.shared().settings.http.body);
    let (head, mut incoming) = request.into_parts();
    let form = form(&head.headers);
    let read = match (revision, form) {
        (Revision::V4, Form::Binary) => Err(BodyRefusal::Binary),
        _ => read_body(&head.headers, &mut incoming, max_payload, time).await,
    };
    let body = match read {
        Ok(body) => body,
        Err(refusal) => {
            core.shared().metrics.http_refused.increment(refusal.as_str());
            tokio::task::spawn_local(discard(incoming));
            return Ok(refusal.response());
        }
    };
    guard.disarm();
    ask(core, sid, mailbox::Request::PostBody { body, form }).await?;
    Ok(http::with_body(StatusCode::OK, "text/html", "ok"))
}

fn payload(body: Body) -> Response {
    http::with_body(StatusCode::OK, content_type(body.form()), body.into_bytes())
}

fn content_type(form: Form) -> &'static str {
    match form {
        Form::Text => "text/plain; charset=UTF-8",
        Form::Binary => OCTET_STREAM,
    }
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
    /// A label for counters.
    fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "body_too_large",
            Self::Encoded => "body_encoded",
            Self::Binary => "body_binary",
            Self::Late => "body_late",
            Self::Broken => "body_broken",
        }
    }

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
    incoming: &mut (impl body::Body<Data = Bytes> + Unpin),
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll, ready};

    use hyper::body::Frame;
    use tokio::time::{Instant, Interval, interval};

    use super::*;
    use crate::config::limits::HTTP_BODY_TIMEOUT;

    /// A byte a second, for ever.
    struct Trickle(Interval);

    impl body::Body for Trickle {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            ready!(self.0.poll_tick(context));
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"4")))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn e2_a_body_that_trickles_is_given_thirty_seconds() {
        let started = Instant::now();
        let mut body = Trickle(interval(Duration::from_secs(1)));
        let read = read_body(&HeaderMap::new(), &mut body, 1_000_000, HTTP_BODY_TIMEOUT).await;
        assert_eq!(read, Err(BodyRefusal::Late));
        assert_eq!(started.elapsed(), Duration::from_secs(30));
        assert_eq!(BodyRefusal::Late.response().status(), StatusCode::REQUEST_TIMEOUT);
    }
}
