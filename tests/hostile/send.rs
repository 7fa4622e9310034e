//! Sends an input the way its group is sent, and says what came of it in the words of the verdicts.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::Value;

use crate::corpus::{Input, Names};
use crate::support::raw::{Frame, Polling, Raw, frame, http, text};
use crate::support::{SECRET, token};

/// The user of the hostile connections.
const EVE: &str = "eve";

/// What came of an input, and what is still open because of it.
pub(crate) struct Sent {
    pub(crate) verdict: String,
    raw: Raw,
    session: Option<Polling>,
}

impl Sent {
    fn new(verdict: impl Into<String>, raw: Raw) -> Self {
        Self { verdict: verdict.into(), raw, session: None }
    }

    /// Nothing has come of it since.
    pub(crate) async fn is_still_open(&mut self) -> bool {
        tokio::time::timeout(Duration::ZERO, self.raw.frame()).await.is_err()
    }

    /// Leaves nothing behind on our side.
    pub(crate) async fn close(self, address: SocketAddr) {
        drop(self.raw);
        if let Some(session) = self.session {
            // It may be over already.
            http(address, "POST", &session.path(), "1").await;
        }
    }
}

/// Bytes on a TCP connection of their own.
pub(crate) async fn http_bytes(address: SocketAddr, input: &Input, room: &str) -> Sent {
    let session = if input.mentions("<<sid>>") { Some(Polling::join(address, EVE, room).await) } else { None };
    let sid = session.as_ref().map_or("", |session| &session.sid);
    let mut raw = Raw::open(address).await;
    raw.try_write(&input.whole(&Names { token: "", sid, room })).await;
    let verdict = if input.verdict == "open" {
        "open".to_owned()
    } else {
        let head = raw.head().await;
        head.split(' ').nth(1).map_or_else(|| "end".to_owned(), str::to_owned)
    };
    let verdict = match &session {
        Some(session) if input.verdict == "ended" => is_over(address, session).await.to_owned(),
        _ => verdict,
    };
    Sent { verdict, raw, session }
}

/// Whether a session is over: it has a last word, or is not known any more.
async fn is_over(address: SocketAddr, session: &Polling) -> &'static str {
    loop {
        let (status, body) = http(address, "GET", &session.path(), "").await;
        if status != 200 || body.split('\x1e').any(|packet| packet == "1") {
            return "ended";
        }
    }
}

/// Bytes on the WebSocket of a socket.
pub(crate) async fn frames(address: SocketAddr, input: &Input, room: &str) -> Sent {
    let mut raw = Raw::open(address).await;
    raw.connect(EVE).await;
    raw.try_write(&input.whole(&Names { token: "", sid: "", room })).await;
    let verdict = match input.verdict.as_str() {
        "open" => "open".to_owned(),
        "alive" => is_alive(&mut raw).await.to_owned(),
        _ => raw.close_code().await.map_or_else(|| "end".to_owned(), |code| code.to_string()),
    };
    Sent::new(verdict, raw)
}

/// Packets of a socket that is in the room.
pub(crate) async fn packets(address: SocketAddr, input: &Input, room: &str) -> Sent {
    let mut raw = in_room(address, room).await;
    for message in input.messages(&Names { token: &token(EVE), sid: "", room }) {
        let bytes = message.strip_prefix(b"b:").map_or_else(|| frame(0x81, &message), |binary| frame(0x82, binary));
        raw.try_write(&bytes).await;
    }
    let verdict = match input.verdict.as_str() {
        "open" => "open",
        "alive" => is_alive(&mut raw).await,
        _ => {
            match next(&mut raw, |packet| ["431[", "44", "42[\"error\""].iter().any(|start| packet.starts_with(start)))
                .await
            {
                None => "closed",
                Some(_) if is_alive(&mut raw).await != "alive" => "answered and closed",
                Some(packet) if packet.contains("Invalid namespace") => "invalid",
                Some(packet) if packet.contains("\"ok\":true") => "ok",
                Some(_) => "refused",
            }
        }
    };
    Sent::new(verdict, raw)
}

/// An event of a socket that is in the room.
pub(crate) async fn event(address: SocketAddr, input: &Input, room: &str) -> Sent {
    let mut raw = in_room(address, room).await;
    let names = Names { token: "", sid: "", room };
    raw.try_write(&frame(0x81, &[b"421", input.whole(&names).as_slice()].concat())).await;
    let verdict = match next(&mut raw, |packet| packet.starts_with("431[")).await {
        None => "closed".to_owned(),
        Some(answer) => match &serde_json::from_str::<Value>(&answer[3..]).unwrap()[0] {
            answer if answer["ok"] == true => "ok".to_owned(),
            answer => answer["error"]["code"].as_str().unwrap().to_owned(),
        },
    };
    Sent::new(verdict, raw)
}

/// A CONNECT.
pub(crate) async fn connect(address: SocketAddr, input: &Input, room: &str) -> Sent {
    let mut raw = Raw::open(address).await;
    raw.upgrade(None, b"").await;
    let whole = input.whole(&Names { token: "", sid: "", room });
    let payload = match whole.strip_prefix(b"jwt:") {
        Some(parts) => format!("{{\"token\":\"{}\"}}", forged(std::str::from_utf8(parts).unwrap())).into_bytes(),
        None => whole,
    };
    raw.try_write(&frame(0x81, &[b"40", payload.as_slice()].concat())).await;
    let verdict = match next(&mut raw, |packet| packet.starts_with('4')).await {
        None => "closed",
        Some(packet) if packet.starts_with("44") => "refused",
        Some(_) => "in",
    };
    Sent::new(verdict, raw)
}

/// A token out of its parts: header, claims, signature.
fn forged(parts: &str) -> String {
    let [header, claims, how]: [&str; 3] = parts.split('|').map(str::trim).collect::<Vec<_>>().try_into().unwrap();
    let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let signed = |secret: &str| {
        let key = EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap()
    };
    let signature = match how {
        "none" => String::new(),
        "hs256" => signed(SECRET),
        "empty" => signed(""),
        other => other.to_owned(),
    };
    format!("{message}.{signature}")
}

async fn in_room(address: SocketAddr, room: &str) -> Raw {
    let mut raw = Raw::open(address).await;
    raw.connect(EVE).await;
    raw.write(text(&format!("420[\"room:join\",{{\"roomId\":\"{room}\"}}]"))).await;
    assert!(next(&mut raw, |packet| packet.starts_with("430[{\"ok\":true")).await.is_some());
    raw
}

/// Whether a connection is still listened to.
async fn is_alive(raw: &mut Raw) -> &'static str {
    raw.try_write(&text("429[\"presence:update\",{\"status\":\"away\"}]")).await;
    match next(raw, |packet| packet.starts_with("439[")).await {
        Some(_) => "alive",
        None => "closed",
    }
}

/// The next packet that is wanted; `None` when the connection ends first.
async fn next(raw: &mut Raw, is_wanted: impl Fn(&str) -> bool) -> Option<String> {
    loop {
        match raw.frame().await {
            Frame::Text(packet) if is_wanted(&packet) => return Some(packet),
            Frame::Close(_) | Frame::End => return None,
            _ => {}
        }
    }
}
