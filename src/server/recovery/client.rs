//! What a client says of recovery: whether it understands offsets, and what it comes back with.
//!
//! Pure; owns no state.

use serde::Deserialize;

use crate::ids::{Offset, PrivateId};

/// How the user agents of clients begin whose handlers fail when an event has one more argument than they name.
const STRICT_AGENTS: [&str; 3] = ["Python", "python", "Dart"];

/// Whether a client can be given offsets. No handshake says so, and the additional argument breaks the handlers of
/// clients that know nothing of it; so it must look like the reference client's: `EIO` right before `transport`, which
/// python-socketio has the other way around, and no user agent of a strict one. Whoever looks otherwise connects as
/// ever, and is not recovered.
pub(crate) fn takes_offsets(query: &str, user_agent: Option<&[u8]>) -> bool {
    let names = query.split('&').zip(query.split('&').skip(1));
    let is_in_order = names.into_iter().any(|(one, next)| one == "EIO=4" && next.starts_with("transport="));
    let agent = user_agent.unwrap_or_default();
    is_in_order && !STRICT_AGENTS.iter().any(|strict| agent.starts_with(strict.as_bytes()))
}

/// What a CONNECT payload says of an earlier connection. What cannot be read is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Returning {
    /// The session that it wants back.
    pub(crate) pid: Option<PrivateId>,
    /// The last event it received, on that connection or, when it received none there, on an earlier one.
    pub(crate) offset: Option<Offset>,
}

#[derive(Deserialize)]
struct Payload {
    pid: Option<serde_json::Value>,
    offset: Option<serde_json::Value>,
}

impl Returning {
    pub(crate) fn read(payload: Option<&str>) -> Self {
        let Some(payload) = payload.and_then(|text| serde_json::from_str::<Payload>(text).ok()) else {
            return Self::default();
        };
        let text =
            |value: &Option<serde_json::Value>| value.as_ref().and_then(|value| value.as_str()).map(str::to_owned);
        let offset = text(&payload.offset).and_then(|offset| Offset::parse(&offset));
        // An offset that is none of ours is not the same as no offset: what it stands for is not known.
        let is_readable = payload.offset.is_none_or(|value| value.is_null()) || offset.is_some();
        let pid = text(&payload.pid).and_then(|pid| PrivateId::parse(&pid));
        Self { pid: pid.filter(|_| is_readable), offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TOKEN_BYTES;

    #[test]
    fn only_what_looks_like_the_reference_client_is_given_offsets() {
        let browser = Some(b"Mozilla/5.0 (X11; Linux x86_64)".as_slice());
        for (query, agent, expected) in [
            ("EIO=4&transport=polling&t=abc", browser, true),
            ("EIO=4&transport=websocket", None, true),
            ("tenant=7&EIO=4&transport=websocket", browser, true),
            ("transport=polling&EIO=4&t=1", Some(b"python-requests/2.32".as_slice()), false),
            ("transport=websocket&EIO=4", None, false),
            ("EIO=4&transport=websocket", Some(b"Python/3.12 aiohttp/3.9".as_slice()), false),
            ("EIO=4&transport=websocket", Some(b"Dart/3.4 (dart:io)".as_slice()), false),
            ("EIO=3&transport=polling", browser, false),
            ("EIO=4&b64=1&transport=polling", browser, false),
            ("", None, false),
        ] {
            assert_eq!(takes_offsets(query, agent), expected, "{query}");
        }
    }

    #[test]
    fn e15_a_payload_is_read_whatever_is_in_it() {
        let pid = PrivateId::new([3; TOKEN_BYTES]);
        let offset = Offset::parse("AAAAAAAAAAE").unwrap();
        let known = Returning { pid: Some(pid), offset: Some(offset) };
        for (payload, expected) in [
            (format!(r#"{{"token":"x","pid":"{pid}","offset":"{offset}"}}"#), known),
            (format!(r#"{{"pid":"{pid}"}}"#), Returning { offset: None, ..known }),
            (format!(r#"{{"pid":"{pid}","offset":null}}"#), Returning { offset: None, ..known }),
            (format!(r#"{{"offset":"{offset}"}}"#), Returning { pid: None, ..known }),
            (format!(r#"{{"pid":"{pid}","offset":"__proto__"}}"#), Returning::default()),
            (format!(r#"{{"pid":"{pid}","offset":{{"$gt":""}}}}"#), Returning::default()),
            (r#"{"pid":{"$ne":null},"offset":5}"#.into(), Returning::default()),
            (r#"{"pid":"undefined"}"#.into(), Returning::default()),
            ("{}".into(), Returning::default()),
        ] {
            assert_eq!(Returning::read(Some(&payload)), expected, "{payload}");
        }
        assert_eq!(Returning::read(None), Returning::default());
    }
}
