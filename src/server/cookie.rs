//! The cookie that a handshake sets, for a proxy that keeps a session on one server by it.
//!
//! It holds the session's id and is never read here: who sends it proves nothing by it.

use hyper::header::{self, HeaderMap, HeaderValue};

use crate::config::CookieName;
use crate::ids::SessionId;

/// Adds the cookie to a handshake's answer: for this browser session, for every path, out of scripts' reach, not sent
/// along by foreign sites, and over TLS alone if it came so.
pub(crate) fn set(headers: &mut HeaderMap, name: Option<&CookieName>, sid: SessionId, is_secure: bool) {
    let Some(name) = name else { return };
    let secure = if is_secure { "; Secure" } else { "" };
    let cookie = format!("{}={sid}; Path=/; HttpOnly; SameSite=Lax{secure}", name.as_str());
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        headers.append(header::SET_COOKIE, cookie);
    }
}
