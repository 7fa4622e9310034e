//! How a session begins: query parameters in, the open packet out, and the headers of a WebSocket upgrade.
//!
//! Owns the rules by which a request is refused and the order in which they are tried. Knows neither sessions (whether
//! a well-formed `sid` exists is the caller's question) nor an HTTP library.

use std::time::Duration;

use super::error::{HandshakeError, UpgradeError};
use crate::ids::SessionId;

/// The way a session's packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTP long-polling.
    Polling,
    /// One WebSocket message per packet.
    WebSocket,
}

/// The revision of the protocol that a session speaks, from its first request to its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revision {
    /// `EIO=3`, the protocol of socket.io-client 1 and 2: clients ping, and packets in a payload have lengths.
    V3,
    /// `EIO=4`, the protocol of socket.io-client 3 and 4: servers ping, and packets in a payload have separators.
    V4,
}

/// In what form a client takes what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Revision 4: binary packets are bare bytes on a WebSocket, and base64 in a payload.
    V4,
    /// Revision 3: binary packets begin with their type, on a WebSocket and in binary payloads.
    V3 {
        /// The client said `b64=1`: it takes no bytes at all, and binary packets are base64 everywhere.
        base64: bool,
    },
}

impl Dialect {
    /// The revision it belongs to.
    #[must_use]
    pub fn revision(self) -> Revision {
        match self {
            Self::V3 { .. } => Revision::V3,
            Self::V4 => Revision::V4,
        }
    }
}

/// The query parameters of a request. Unknown ones (`t`, `j`) are ignored: there is no JSONP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// `transport`.
    pub transport: Transport,
    /// `sid`; absent, or empty, when a session is to be opened.
    pub sid: Option<SessionId>,
    /// `EIO`; `None` when it is neither exactly `3` nor exactly `4`. The reference server takes whatever is not `4` for
    /// a 3; no client leaves it out.
    pub revision: Option<Revision>,
    /// `b64`, with any value: the client cannot take bytes. Means nothing in revision 4.
    pub base64: bool,
}

impl Query {
    /// Tries what is left once `sid`, if any, was found to exist: method, transport, protocol version, in the reference
    /// server's order. `upgrade` tells whether the request asks for a WebSocket, `allow_v3` whether revision 3 is spoken.
    ///
    /// # Errors
    /// Without `sid`: [`HandshakeError::BadHandshakeMethod`], [`HandshakeError::BadRequest`] when `upgrade` and
    /// `transport` disagree, [`HandshakeError::UnsupportedProtocolVersion`]. With it, always `BadRequest`.
    pub fn admit(&self, method: &str, upgrade: bool, allow_v3: bool) -> Result<Dialect, HandshakeError> {
        if self.sid.is_none() && method != "GET" {
            return Err(HandshakeError::BadHandshakeMethod);
        }
        if upgrade != (self.transport == Transport::WebSocket) {
            return Err(HandshakeError::BadRequest);
        }
        match (self.revision, self.sid) {
            (Some(Revision::V4), _) => Ok(Dialect::V4),
            (Some(Revision::V3), _) if allow_v3 => Ok(Dialect::V3 { base64: self.base64 }),
            (_, None) => Err(HandshakeError::UnsupportedProtocolVersion),
            (_, Some(_)) => Err(HandshakeError::BadRequest),
        }
    }
}

/// Reads a query string, without its `?`, in one pass that allocates nothing but the characters of a `sid`.
///
/// # Errors
/// [`HandshakeError::BadRequest`] when `transport`, `sid` or `EIO` is given twice (two parsers could disagree on which
/// counts), else [`HandshakeError::UnknownTransport`], else [`HandshakeError::UnknownSession`] for a `sid` that is none
/// of ours.
pub fn parse_query(query: &str) -> Result<Query, HandshakeError> {
    let (mut transport, mut sid, mut revision, mut base64) = (None, None, None, false);
    for parameter in query.split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let slot = match () {
            () if means(name, "transport") => &mut transport,
            () if means(name, "sid") => &mut sid,
            () if means(name, "EIO") => &mut revision,
            () if means(name, "b64") => {
                base64 |= !value.is_empty();
                continue;
            }
            () => continue,
        };
        if slot.replace(value).is_some() {
            return Err(HandshakeError::BadRequest);
        }
    }
    let transport = match transport {
        Some(name) if means(name, "polling") => Transport::Polling,
        Some(name) if means(name, "websocket") => Transport::WebSocket,
        _ => return Err(HandshakeError::UnknownTransport),
    };
    let sid = match sid {
        None | Some("") => None,
        Some(text) => Some(parse_sid(text).ok_or(HandshakeError::UnknownSession)?),
    };
    let revision = match revision {
        Some(text) if means(text, "4") => Some(Revision::V4),
        Some(text) if means(text, "3") => Some(Revision::V3),
        _ => None,
    };
    Ok(Query { transport, sid, revision, base64 })
}

fn parse_sid(text: &str) -> Option<SessionId> {
    /// One more than a session id has, so that a longer text is still seen to be too long.
    const ENOUGH: usize = 21;
    let bytes: Vec<u8> = percent_decode(text).take(ENOUGH).collect();
    SessionId::parse(std::str::from_utf8(&bytes).ok()?)
}

fn means(text: &str, expected: &str) -> bool {
    percent_decode(text).eq(expected.bytes())
}

/// Decodes a query value as browsers' `URLSearchParams` does: `+` is a space, and a `%` without two hexadecimal digits stays a `%`.
pub fn percent_decode(text: &str) -> impl Iterator<Item = u8> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (&byte, after) = rest.split_first()?;
        let escaped = after.split_first_chunk::<2>().filter(|_| byte == b'%').and_then(|(digits, after)| {
            let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
            Some((u8::try_from(high? * 16 + low?).ok()?, after))
        });
        let plain = (if byte == b'+' { b' ' } else { byte }, after);
        let (byte, after) = escaped.unwrap_or(plain);
        rest = after;
        Some(byte)
    })
}

/// What the server says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenPacket {
    /// The new session's secret id.
    pub sid: SessionId,
    /// The transport it was opened on; polling offers an upgrade to WebSocket.
    pub transport: Transport,
    /// Time between two pings.
    pub ping_interval: Duration,
    /// How long the server waits for a pong.
    pub ping_timeout: Duration,
    /// Longest polling body, in bytes, in either direction.
    pub max_payload: usize,
}

impl OpenPacket {
    /// The whole text packet: `0` and its JSON, with times in whole milliseconds.
    #[must_use]
    pub fn encode(&self) -> String {
        let upgrades = match self.transport {
            Transport::Polling => r#"["websocket"]"#,
            Transport::WebSocket => "[]",
        };
        // None of these values can contain a character that JSON would have to escape.
        format!(
            r#"0{{"sid":"{}","upgrades":{upgrades},"pingInterval":{},"pingTimeout":{},"maxPayload":{}}}"#,
            self.sid,
            self.ping_interval.as_millis(),
            self.ping_timeout.as_millis(),
            self.max_payload,
        )
    }
}

/// Length of a `Sec-WebSocket-Key`: base64 of 16 bytes.
pub const KEY_LEN: usize = 24;

/// Checks a WebSocket opening handshake (RFC 6455 section 4.2.1) and returns the key from which the accept key is
/// derived. `values` gives all values of the header with that lower-case name.
///
/// Subprotocols and extensions are not looked at here: whatever a client proposes, it may be ignored.
///
/// # Errors
/// [`UpgradeError`] names the first rule that is broken.
pub fn check_upgrade<'h, V>(
    method: &str,
    http_1_1_or_newer: bool,
    values: impl Fn(&'static str) -> V,
) -> Result<[u8; KEY_LEN], UpgradeError>
where
    V: IntoIterator<Item = &'h [u8]>,
{
    if method != "GET" {
        return Err(UpgradeError::Method);
    }
    if !http_1_1_or_newer {
        return Err(UpgradeError::HttpVersion);
    }
    if !has_token(values("connection"), b"upgrade") || !has_token(values("upgrade"), b"websocket") {
        return Err(UpgradeError::NotAnUpgrade);
    }
    if single(values("sec-websocket-version")) != Some(b"13") {
        return Err(UpgradeError::Version);
    }
    let key = single(values("sec-websocket-key")).ok_or(UpgradeError::Key)?;
    let key: [u8; KEY_LEN] = key.try_into().map_err(|_| UpgradeError::Key)?;
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    match &key {
        [digits @ .., b'=', b'='] if digits.iter().all(is_base64) => Ok(key),
        _ => Err(UpgradeError::Key),
    }
}

fn has_token<'h>(values: impl IntoIterator<Item = &'h [u8]>, token: &[u8]) -> bool {
    let mut tokens = values.into_iter().flat_map(|value| value.split(|byte| *byte == b','));
    tokens.any(|found| found.trim_ascii().eq_ignore_ascii_case(token))
}

fn single<'h>(values: impl IntoIterator<Item = &'h [u8]>) -> Option<&'h [u8]> {
    let mut values = values.into_iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::CoreId;

    fn sid() -> SessionId {
        SessionId::new([0xfb; 14], CoreId(1))
    }

    #[test]
    fn queries_of_real_clients_are_read() {
        let query = |transport, sid| Query { transport, sid, revision: Some(Revision::V4), base64: false };
        let old = |base64| Query { revision: Some(Revision::V3), base64, ..query(Transport::Polling, None) };
        let escaped: String = sid().to_string().bytes().map(|byte| format!("%{byte:02x}")).collect();
        for (text, expected) in [
            ("EIO=4&transport=polling".into(), query(Transport::Polling, None)),
            ("EIO=4&transport=polling&t=P1x&j=0".into(), query(Transport::Polling, None)),
            ("EIO=3&transport=polling&t=P1x".into(), old(false)),
            ("EIO=3&transport=polling&b64=".into(), old(false)),
            ("EIO=3&transport=polling&t=P1x&b64=1".into(), old(true)),
            ("transport=websocket&EIO=4&sid=".into(), query(Transport::WebSocket, None)),
            ("&&EIO=%34&%74ransport=poll%69ng&".into(), query(Transport::Polling, None)),
            (format!("EIO=4&transport=websocket&sid={}", sid()), query(Transport::WebSocket, Some(sid()))),
            (format!("EIO=4&transport=polling&sid={escaped}"), query(Transport::Polling, Some(sid()))),
        ] {
            assert_eq!(parse_query(&text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn e4_hostile_queries_are_refused_with_the_reference_servers_codes() {
        let long = "A".repeat(1_000_000);
        for (text, code) in [
            ("", 0),
            ("EIO=4", 0),
            ("EIO=4&transport", 0),
            ("EIO=4&transport=", 0),
            ("EIO=4&transport=abc", 0),
            ("EIO=4&transport=__proto__", 0),
            ("EIO=4&transport=constructor", 0),
            ("EIO=4&transport=Polling", 0),
            ("EIO=4&transport=polling%00", 0),
            ("EIO=4&transport=webtransport", 0),
            ("EIO=4&transport=x&sid=x", 0),
            ("EIO=4&transport=polling&sid=__proto__", 1),
            ("EIO=4&transport=polling&sid=%00", 1),
            ("EIO=4&transport=polling&sid=%zz", 1),
            ("EIO=4&transport=polling&sid=%", 1),
            ("EIO=4&transport=polling&sid=%4", 1),
            ("EIO=4&transport=polling&sid=%ff%fe", 1),
            ("EIO=4&transport=polling&sid=é", 1),
            ("EIO=4&transport=polling&sid=12345678901234567890%00", 1),
            (&format!("EIO=4&transport=polling&sid={long}"), 1),
            (&format!("EIO=4&transport=polling&sid={}A", sid()), 1),
            ("EIO=4&transport=polling&transport=polling", 3),
            ("EIO=4&EIO=3&transport=polling", 3),
            ("EIO=4&transport=polling&sid=&sid=x", 3),
        ] {
            let shown = &text[..text.len().min(80)];
            assert_eq!(parse_query(text).map_err(HandshakeError::code), Err(code), "{shown}");
        }
        let unknown = ["", "&EIO=", "&EIO=+4", "&EIO=%204", "&EIO=4%00", "&EIO=44", "&EIO=abc", "&eio=4"];
        let unknown = unknown.into_iter().chain(["&EIO=2", "&EIO=33", "&EIO=+3", "&EIO=3.0", "&eio=3"]);
        for (eio, allow_v3) in unknown.map(|eio| (eio, true)).chain([("&EIO=3", false)]) {
            let query = parse_query(&format!("transport=polling{eio}")).unwrap();
            assert_eq!(query.admit("GET", false, allow_v3).map_err(HandshakeError::code), Err(5), "{eio}");
        }
    }

    #[test]
    fn methods_transports_and_versions_are_tried_in_the_reference_servers_order() {
        use Transport::{Polling, WebSocket};
        let (v3, v4) = (Some(Revision::V3), Some(Revision::V4));
        for (transport, known, revision, method, upgrade, expected) in [
            (Polling, false, v4, "GET", false, Ok(Dialect::V4)),
            (WebSocket, false, v4, "GET", true, Ok(Dialect::V4)),
            (Polling, true, v4, "POST", false, Ok(Dialect::V4)),
            (WebSocket, true, v4, "GET", true, Ok(Dialect::V4)),
            (Polling, false, None, "POST", true, Err(2)),
            (Polling, false, v4, "PUT", false, Err(2)),
            (WebSocket, false, None, "GET", false, Err(3)),
            (Polling, false, v4, "GET", true, Err(3)),
            (WebSocket, true, v4, "GET", false, Err(3)),
            (Polling, false, None, "GET", false, Err(5)),
            (Polling, false, v3, "GET", false, Err(5)),
            (Polling, true, None, "GET", false, Err(3)),
            (Polling, true, v3, "GET", false, Err(3)),
        ] {
            let query = Query { transport, sid: known.then(sid), revision, base64: false };
            let admitted = query.admit(method, upgrade, false).map_err(HandshakeError::code);
            assert_eq!(admitted, expected, "{query:?} {method}");
        }
        for base64 in [false, true] {
            let query = Query { transport: Polling, sid: None, revision: v3, base64 };
            assert_eq!(query.admit("GET", false, true), Ok(Dialect::V3 { base64 }));
            assert_eq!(Query { revision: v4, ..query }.admit("GET", false, true), Ok(Dialect::V4));
        }
    }

    #[test]
    fn the_open_packet_is_what_clients_expect() {
        let mut open = OpenPacket {
            sid: sid(),
            transport: Transport::Polling,
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(60),
            max_payload: 1_000_000,
        };
        let rest = r#""pingInterval":25000,"pingTimeout":60000,"maxPayload":1000000}"#;
        assert_eq!(open.encode(), format!(r#"0{{"sid":"{}","upgrades":["websocket"],{rest}"#, sid()));
        open.transport = Transport::WebSocket;
        assert_eq!(open.encode(), format!(r#"0{{"sid":"{}","upgrades":[],{rest}"#, sid()));
        assert!(serde_json::from_str::<serde_json::Value>(&open.encode()[1..]).is_ok());
    }

    type Changes<'a> = [(&'static str, &'a [&'a [u8]])];

    /// Checks the headers of RFC 6455 section 1.3 after `changes`: each takes the values of one header.
    fn upgrade<'a>(changes: &Changes<'a>) -> Result<[u8; KEY_LEN], UpgradeError> {
        check_upgrade("GET", true, |name| -> Vec<&'a [u8]> {
            match (changes.iter().find(|(changed, _)| *changed == name), name) {
                (Some((_, values)), _) => values.to_vec(),
                (None, "connection") => vec![b"Upgrade"],
                (None, "upgrade") => vec![b"websocket"],
                (None, "sec-websocket-version") => vec![b"13"],
                (None, "sec-websocket-key") => vec![b"dGhlIHNhbXBsZSBub25jZQ=="],
                _ => vec![],
            }
        })
    }

    #[test]
    fn w10_w11_w13_upgrades_are_judged_by_four_headers_and_nothing_else() {
        let spaces = [b" ".repeat(50_000), b"x".to_vec()].concat();
        let accepted: [&Changes; 7] = [
            &[],
            &[("connection", &[b"keep-alive, Upgrade"])],
            &[("connection", &[b"keep-alive", b"UPGRADE"])],
            &[("upgrade", &[b"WebSocket"])],
            &[("sec-websocket-protocol", &[b"\x80"]), ("origin", &[b"\x80"]), ("cookie", &[b"\x80"])],
            &[("sec-websocket-protocol", &[&spaces]), ("sec-websocket-extensions", &[b"constructor"])],
            &[("sec-websocket-extensions", &[b"permessage-deflate; server_max_window_bits=9999"])],
        ];
        for changes in accepted {
            assert_eq!(upgrade(changes), Ok(*b"dGhlIHNhbXBsZSBub25jZQ=="), "{changes:?}");
        }
        let key = "sec-websocket-key";
        let version = "sec-websocket-version";
        let same: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";
        let refused: [(_, &[&[u8]], _, _); 15] = [
            ("connection", &[], UpgradeError::NotAnUpgrade, 400),
            ("connection", &[b"keep-alive"], UpgradeError::NotAnUpgrade, 400),
            ("connection", &[b"notupgrade"], UpgradeError::NotAnUpgrade, 400),
            ("connection", &[&spaces], UpgradeError::NotAnUpgrade, 400),
            ("upgrade", &[b"h2c"], UpgradeError::NotAnUpgrade, 400),
            (version, &[], UpgradeError::Version, 426),
            (version, &[b"8"], UpgradeError::Version, 426),
            (version, &[b"12"], UpgradeError::Version, 426),
            (version, &[b"13", b"13"], UpgradeError::Version, 426),
            (key, &[], UpgradeError::Key, 400),
            (key, &[b"short"], UpgradeError::Key, 400),
            (key, &[b"\x80"], UpgradeError::Key, 400),
            (key, &[same, same], UpgradeError::Key, 400),
            (key, &[b"dGhlIHNhbXBsZSBub25jZQAA"], UpgradeError::Key, 400),
            (key, &[b"dGhlIHNhbXBsZSBub25j\x80Q=="], UpgradeError::Key, 400),
        ];
        for (name, values, error, status) in refused {
            assert_eq!(upgrade(&[(name, values)]), Err(error), "{name} {values:?}");
            assert_eq!(error.status(), status);
        }
    }

    #[test]
    fn w13_upgrades_need_get_and_http_1_1() {
        assert_eq!(check_upgrade("POST", true, |_| [b"".as_slice()]), Err(UpgradeError::Method));
        assert_eq!(check_upgrade("GET", false, |_| [b"".as_slice()]), Err(UpgradeError::HttpVersion));
    }
}
