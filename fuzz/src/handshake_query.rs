//! The query of a request, and what it is admitted to.
//!
//! Oracle: the same query read by the parser that browsers and the url crate share.

use alt_ws_pure::engineio::error::HandshakeError;
use alt_ws_pure::engineio::handshake::{Dialect, Query, Revision, Transport, parse_query, percent_decode};
use alt_ws_pure::ids::SessionId;

/// All of the input is a query.
pub fn check(input: &[u8]) {
    let Ok(query) = str::from_utf8(input) else { return };
    let result = parse_query(query);
    assert_eq!(result, expected(query));
    if let Ok(query) = result {
        check_admission(&query);
    }
    let (name, value) = (percent_decode(query).collect::<Vec<_>>(), query.replace(['&', '='], "."));
    assert!(name.len() <= query.len());
    let decoded = String::from_utf8_lossy(&percent_decode(&value).collect::<Vec<_>>()).into_owned();
    let parsed: Vec<_> = form_urlencoded::parse(value.as_bytes()).collect();
    match &parsed[..] {
        [] => assert!(value.is_empty()),
        [(name, value)] => assert!(*name == decoded && value.is_empty()),
        more => panic!("{} parameters", more.len()),
    }
}

fn expected(query: &str) -> Result<Query, HandshakeError> {
    let parameters: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let all = |name: &str| -> Vec<&str> {
        parameters.iter().filter(|(found, _)| found == name).map(|(_, value)| &**value).collect()
    };
    let one = |name: &str| match all(name)[..] {
        [] => Ok(None),
        [value] => Ok(Some(value)),
        _ => Err(HandshakeError::BadRequest),
    };
    let (transport, sid, revision) = (one("transport")?, one("sid")?, one("EIO")?);
    Ok(Query {
        transport: match transport {
            Some("polling") => Transport::Polling,
            Some("websocket") => Transport::WebSocket,
            _ => return Err(HandshakeError::UnknownTransport),
        },
        sid: match sid {
            None | Some("") => None,
            Some(text) => Some(SessionId::parse(text).ok_or(HandshakeError::UnknownSession)?),
        },
        revision: match revision {
            Some("4") => Some(Revision::V4),
            Some("3") => Some(Revision::V3),
            _ => None,
        },
        base64: all("b64").iter().any(|value| !value.is_empty()),
    })
}

/// Whoever is admitted speaks a revision that is allowed, and asked for the transport that its request has.
fn check_admission(query: &Query) {
    for method in ["GET", "POST", "get", ""] {
        for (upgrade, allow_v3) in [(false, false), (false, true), (true, false), (true, true)] {
            let fits = upgrade == (query.transport == Transport::WebSocket);
            match query.admit(method, upgrade, allow_v3) {
                Ok(dialect) => {
                    assert!(fits && (query.sid.is_some() || method == "GET"));
                    assert!(query.revision == Some(dialect.revision()));
                    assert!(dialect == Dialect::V4 || allow_v3, "a revision that is not spoken");
                }
                Err(HandshakeError::BadHandshakeMethod) => assert!(query.sid.is_none() && method != "GET"),
                Err(HandshakeError::UnsupportedProtocolVersion) => {
                    assert!(fits && query.sid.is_none() && query.revision != Some(Revision::V4));
                }
                Err(HandshakeError::BadRequest) => {
                    assert!(!fits || (query.sid.is_some() && query.revision != Some(Revision::V4)));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}
