//! Who may connect: the token of a CONNECT packet or of the handshake's header, and the guests of development.
//!
//! Owns where a token may come from. What makes a token good is [`crate::auth`]'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;

use crate::auth::{self, AuthError, Claims, Keys};
use crate::chat::event::Code;
use crate::chat::json::Object;
use crate::ids::{Timestamp, UserId};
use crate::socketio::Revision;

/// What is asked of those who connect.
#[derive(Debug)]
pub enum Gate {
    /// Nothing; the application gets no claims.
    Open,
    /// A valid token.
    Tokens {
        /// What it must be signed with.
        keys: Keys,
        /// Development: whoever brings no token is a guest.
        guests: Option<Guests>,
    },
}

/// Makes guests, each with a name of their own.
#[derive(Debug, Default)]
pub struct Guests {
    latest: AtomicU64,
}

/// The CONNECT payload, as far as the gate reads it.
#[derive(Deserialize)]
struct Credentials {
    token: Option<serde_json::Value>,
}

impl Gate {
    /// Reads the claims of someone who connects.
    ///
    /// # Errors
    /// [`AuthError`]: the client's fault, and what its [`ConnectError`] says.
    pub(crate) fn identify(
        &self,
        payload: Option<&str>,
        authorization: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<Claims>, AuthError> {
        let Self::Tokens { keys, guests } = self else { return Ok(None) };
        let in_payload = payload.and_then(|text| serde_json::from_str::<Credentials>(text).ok()?.token);
        let token = match &in_payload {
            Some(serde_json::Value::String(token)) if !token.is_empty() => Some(token.as_str()),
            None | Some(serde_json::Value::Null | serde_json::Value::String(_)) => authorization.and_then(bearer),
            Some(_) => return Err(AuthError::Invalid("token is no string")),
        };
        match (token, guests) {
            (Some(token), _) => auth::verify(token, keys, now.0 / 1000).map(Some),
            (None, Some(guests)) => Ok(Some(guests.next(now)?)),
            (None, None) => Err(AuthError::Required),
        }
    }
}

/// The token of an `Authorization: Bearer …` header.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl Guests {
    /// `guest_<ms>` as in the replaced service; two guests of one millisecond still differ.
    fn next(&self, now: Timestamp) -> Result<Claims, AuthError> {
        let previous = self.latest.fetch_max(now.0, Ordering::Relaxed);
        let number = if previous >= now.0 { self.latest.fetch_add(1, Ordering::Relaxed) + 1 } else { now.0 };
        let user = UserId::from_text(&format!("guest_{number}")).map_err(|_| AuthError::Required)?;
        Ok(Claims { user, username: Arc::from("Guest User"), expires_at: None })
    }
}

/// What a client is told that may not connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectError {
    /// For people, and for clients in the field that compare it.
    pub(crate) message: &'static str,
    /// For programs.
    pub(crate) code: Option<&'static str>,
    /// In how many milliseconds to come again, if that may help.
    pub(crate) retry_after_ms: Option<u64>,
}

impl From<AuthError> for ConnectError {
    fn from(error: AuthError) -> Self {
        Self { message: error.message(), code: Some(error.code()), retry_after_ms: None }
    }
}

/// A place of a user is free when another device has gone; seldom sooner than this.
const USER_RETRY_MS: u64 = 5000;

impl ConnectError {
    pub(crate) const UNKNOWN_NAMESPACE: Self = Self { message: "Invalid namespace", code: None, retry_after_ms: None };
    pub(crate) const TOO_MANY_OF_USER: Self = Self {
        message: "Too many connections of this user",
        code: Some(Code::RateLimited.as_str()),
        retry_after_ms: Some(USER_RETRY_MS),
    };

    /// The JSON of CONNECT_ERROR, or of revision 4's ERROR: the message alone, because that is what the clients of the
    /// replaced service compare, and a text leaves no room for more.
    pub(crate) fn json(self, revision: Revision) -> String {
        match (revision, self.code) {
            (Revision::V4, _) => serde_json::Value::from(self.message).to_string(),
            (Revision::V5, None) => Object::with_capacity(32).field("message", self.message).finish(),
            (Revision::V5, Some(code)) => {
                let mut data = Object::with_capacity(48).field("code", code);
                if let Some(retry_after_ms) = self.retry_after_ms {
                    data = data.field("retryAfter", &retry_after_ms);
                }
                Object::with_capacity(96).field("message", self.message).raw("data", &data.finish()).finish()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const NOW: Timestamp = Timestamp(1_770_000_000_000);

    fn gate(guests: Option<Guests>) -> Gate {
        Gate::Tokens { keys: Keys::from_secret(SECRET).unwrap(), guests }
    }

    fn token(user: &str) -> String {
        let user = UserId::from_text(user).unwrap();
        auth::sign(&user, "Name", SECRET, NOW.0 / 1000, Duration::from_secs(60)).unwrap()
    }

    #[test]
    fn the_payload_comes_before_the_header_and_nothing_else_counts() {
        let gate = gate(None);
        let payload = format!("{{\"token\":\"{}\"}}", token("ada"));
        let header = format!("Bearer {}", token("bob"));
        let user = |payload: Option<&str>, header: Option<&str>| {
            gate.identify(payload, header, NOW).map(|claims| claims.unwrap().user.to_string())
        };
        assert_eq!(user(Some(&payload), Some(&header)).unwrap(), "ada");
        assert_eq!(user(Some("{}"), Some(&header)).unwrap(), "bob");
        assert_eq!(user(None, Some(&header.replace("Bearer", "bearer"))).unwrap(), "bob");
        for (payload, header) in [(None, None), (Some("{\"token\":\"\"}"), None), (None, Some("Basic abc"))] {
            assert_eq!(user(payload, header), Err(AuthError::Required), "{payload:?} {header:?}");
        }
        for payload in ["{\"token\":{\"$ne\":null}}", "{\"token\":5}", "{\"token\":\"abc\"}"] {
            assert!(matches!(user(Some(payload), None), Err(AuthError::Invalid(_))), "{payload}");
        }
    }

    #[test]
    fn a_refusal_is_an_object_or_in_revision_4_its_message() {
        let required = ConnectError::from(AuthError::Required);
        let json = r#"{"message":"Authentication required","data":{"code":"auth_required"}}"#;
        assert_eq!(required.json(Revision::V5), json);
        assert_eq!(required.json(Revision::V4), r#""Authentication required""#);
        let bare = ConnectError::UNKNOWN_NAMESPACE;
        assert_eq!(bare.json(Revision::V5), r#"{"message":"Invalid namespace"}"#);
        let limit = ConnectError::TOO_MANY_OF_USER;
        let json =
            r#"{"message":"Too many connections of this user","data":{"code":"rate_limited","retryAfter":5000}}"#;
        assert_eq!(limit.json(Revision::V5), json);
        assert_eq!(limit.json(Revision::V4), r#""Too many connections of this user""#);
    }

    #[test]
    fn guests_are_let_in_only_where_they_are_wanted_and_are_all_different() {
        let gate = gate(Some(Guests::default()));
        let guest = |now: u64| gate.identify(None, None, Timestamp(now)).unwrap().unwrap();
        let ids: Vec<String> = [5, 5, 5, 6, 100].map(|now| guest(now).user.to_string()).into();
        assert_eq!(ids, ["guest_5", "guest_6", "guest_7", "guest_8", "guest_100"]);
        assert_eq!(&*guest(200).username, "Guest User");
        assert!(gate.identify(Some("{\"token\":\"bad\"}"), None, NOW).is_err(), "a bad token is no guest");
    }
}
