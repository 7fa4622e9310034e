//! Who may connect: the token of a CONNECT packet or of the handshake's header, and the guests of development.
//!
//! Owns where a token may come from, and which keys and which revocations count at the moment. What makes a token good
//! is [`crate::auth`]'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use serde::Deserialize;

use crate::auth::revocations::Revocations;
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
    Tokens(Tokens),
}

/// What makes a token valid. The keys and the list of revocations are changed as a whole and while others read them.
#[derive(Debug)]
pub struct Tokens {
    keys: ArcSwap<Keys>,
    /// `None`: not known yet, and nobody is let in.
    revoked: Arc<ArcSwapOption<Revocations>>,
    guests: Option<Guests>,
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
    /// Asks for tokens that are signed with one of the keys. `guests`, in development: whoever brings none is one.
    #[must_use]
    pub fn tokens(keys: Keys, guests: Option<Guests>) -> Self {
        let revoked = Arc::new(ArcSwapOption::from_pointee(Revocations::default()));
        Self::Tokens(Tokens { keys: ArcSwap::from_pointee(keys), revoked, guests })
    }

    /// From now on tokens are checked with these keys. Whether they need an end stays as it was.
    pub(crate) fn change_keys(&self, keys: Keys) {
        if let Self::Tokens(tokens) = self {
            let require_exp = tokens.keys.load().requires_exp();
            tokens.keys.store(Arc::new(keys.with_required_exp(require_exp)));
        }
    }

    /// Where to put another list of revocations; `None` when nobody is asked for tokens.
    pub(crate) fn revoked(&self) -> Option<Arc<ArcSwapOption<Revocations>>> {
        match self {
            Self::Open => None,
            Self::Tokens(tokens) => Some(Arc::clone(&tokens.revoked)),
        }
    }

    /// Whether it is known what is revoked. Until then nobody is to come: they could not be told good from bad.
    pub(crate) fn is_ready(&self) -> bool {
        match self {
            Self::Open => true,
            Self::Tokens(tokens) => tokens.revoked.load().is_some(),
        }
    }

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
        let Self::Tokens(tokens) = self else { return Ok(None) };
        let in_payload = payload.and_then(|text| serde_json::from_str::<Credentials>(text).ok()?.token);
        let token = match &in_payload {
            Some(serde_json::Value::String(token)) if !token.is_empty() => Some(token.as_str()),
            None | Some(serde_json::Value::Null | serde_json::Value::String(_)) => authorization.and_then(bearer),
            Some(_) => return Err(AuthError::Invalid("token is no string")),
        };
        match (token, &tokens.guests) {
            (Some(token), _) => tokens.verify(token, now).map(Some),
            (None, Some(guests)) => Ok(Some(guests.next(now)?)),
            (None, None) => Err(AuthError::Required),
        }
    }

    /// Reads the claims of a token that somebody brings who is in already.
    ///
    /// # Errors
    /// [`AuthError`], as at the entrance.
    pub(crate) fn check(&self, token: &str, now: Timestamp) -> Result<Claims, AuthError> {
        match self {
            Self::Open => Err(AuthError::Invalid("nobody is asked for tokens")),
            Self::Tokens(tokens) => tokens.verify(token, now),
        }
    }
}

impl Tokens {
    fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, AuthError> {
        let claims = auth::verify(token, &self.keys.load(), now.0 / 1000)?;
        match self.revoked.load().as_deref() {
            None => Err(AuthError::Invalid("it is not known what was revoked")),
            Some(list) if list.revokes(&claims, now) => Err(AuthError::Invalid("it was revoked")),
            Some(_) => Ok(claims),
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
        Ok(Claims::new(user, Arc::from("Guest User")))
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
    use crate::auth::revocations::{Revocation, Subject};

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const NOW: Timestamp = Timestamp(1_770_000_000_000);

    fn gate(guests: Option<Guests>) -> Gate {
        Gate::tokens(Keys::from_secret(SECRET).unwrap(), guests)
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
    fn j8_a_revoked_token_is_none_at_the_entrance_and_later() {
        let gate = gate(None);
        let (ada, bob) = (token("ada"), token("bob"));
        let header = format!("Bearer {ada}");
        let entrance = || gate.identify(None, Some(&header), NOW).map(|claims| claims.unwrap().user.to_string());
        assert_eq!(entrance().unwrap(), "ada");
        let revocation = Revocation {
            subject: Subject::from_parts("user", "ada").unwrap(),
            at: NOW,
            until: Some(Timestamp(NOW.0 + 30_000)),
        };
        gate.revoked().unwrap().store(Some(Arc::new([revocation].into_iter().collect())));
        let revoked = AuthError::Invalid("it was revoked");
        assert_eq!((entrance(), gate.check(&ada, NOW)), (Err(revoked), Err(revoked)));
        let told = ConnectError::from(revoked).json(Revision::V5);
        assert_eq!(told, r#"{"message":"Invalid token","data":{"code":"token_invalid"}}"#);
        assert!(gate.check(&bob, NOW).is_ok());
        assert!(gate.check(&ada, Timestamp(NOW.0 + 30_000)).is_ok(), "until then");
    }

    #[test]
    fn j8_until_it_is_known_what_is_revoked_no_token_is_good() {
        let gate = gate(None);
        assert!(gate.is_ready() && gate.check(&token("ada"), NOW).is_ok(), "nothing is, unless there is a list");
        gate.revoked().unwrap().store(None);
        assert!(!gate.is_ready());
        assert_eq!(gate.check(&token("ada"), NOW), Err(AuthError::Invalid("it is not known what was revoked")));
        gate.revoked().unwrap().store(Some(Arc::default()));
        assert!(gate.is_ready() && gate.check(&token("ada"), NOW).is_ok());
        assert!(Gate::Open.is_ready());
    }

    #[test]
    fn other_keys_take_the_place_of_the_old_ones_and_are_as_strict() {
        let gate = Gate::tokens(Keys::from_secret(SECRET).unwrap().with_required_exp(true), None);
        let old = token("ada");
        assert!(gate.check(&old, NOW).is_ok());
        let other = "fedcba9876543210fedcba9876543210";
        gate.change_keys(Keys::from_secret(other).unwrap());
        assert!(gate.check(&old, NOW).is_err());
        let ada = UserId::from_text("ada").unwrap();
        let good = auth::sign(&ada, "Ada", other, NOW.0 / 1000, Duration::from_secs(60)).unwrap();
        assert!(gate.check(&good, NOW).is_ok());
        let Gate::Tokens(tokens) = &gate else { panic!() };
        assert!(tokens.keys.load().requires_exp());
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
