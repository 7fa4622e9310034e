//! Tokens in, claims out.
//!
//! Owns which JSON Web Tokens (RFC 7519, signed as in RFC 7515) are believed and what they say. Knows no socket, reads
//! no clock and no file, and follows nothing that a token points at: `jku`, `x5u`, `x5c` and `jwk` are never read, and
//! `kid` chooses only among the keys that are configured. The keys are in [`keys`], and in [`jwks`] where they are a set.
//!
//! No error and no `Debug` of this module contains any part of a token or of a secret.

pub mod jwks;
pub mod keys;
pub mod revocations;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::ids::UserId;
pub use jwks::JwksError;
pub use keys::{KeyError, Keys};

/// Longest token that is looked at, in bytes. nginx takes no longer header line by default, so hardly a working
/// client has one. Checked before anything is split or decoded (golang-jwt CVE-2025-30204).
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// How far the issuer's clock may be from ours, in seconds, when `exp` and `nbf` are compared (RFC 7519, 4.1.4).
pub const LEEWAY_SECONDS: u64 = 5;

/// Longest `username`, in bytes: it is repeated in every event of its user.
pub const MAX_USERNAME_BYTES: usize = 256;

/// Longest `jti`, in bytes: it is kept as long as its socket. A uuid has 36.
pub const MAX_TOKEN_ID_BYTES: usize = 256;

/// What a valid token says about its bearer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `userId`, else `id`, else `sub`, in the JSON form it came with.
    pub user: UserId,
    /// `username`, else the user id as text.
    pub username: Arc<str>,
    /// When the token ends, in seconds since the Unix epoch, if it does. Within [`LEEWAY_SECONDS`] it may lie in the
    /// past already.
    pub expires_at: Option<u64>,
    /// When it was made (`iat`), in seconds since the Unix epoch. `None` also when that lies ahead: such a token says
    /// nothing of when it was made.
    pub issued_at: Option<u64>,
    /// Its own name (`jti`), by which it can be revoked.
    pub token_id: Option<Arc<str>>,
}

impl Claims {
    /// Of somebody whose token says no more than who they are.
    #[must_use]
    pub fn new(user: UserId, username: Arc<str>) -> Self {
        Self { user, username, expires_at: None, issued_at: None, token_id: None }
    }
}

/// Why nobody is let in. Always the client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is no token.
    #[error("no token")]
    Required,
    /// The token is not one of ours; the text says why, for the log only, and quotes nothing.
    #[error("invalid token: {0}")]
    Invalid(&'static str),
    /// The token was ours, and its time is over.
    #[error("expired token")]
    Expired,
}

impl AuthError {
    /// `data.code` of the `connect_error`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Required => "auth_required",
            Self::Invalid(_) => "token_invalid",
            Self::Expired => "token_expired",
        }
    }

    /// `message` of the `connect_error`. Clients in the field compare it, and know these two texts only.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Required => "Authentication required",
            Self::Invalid(_) | Self::Expired => "Invalid token",
        }
    }
}

/// The members of the JOSE header that matter. One of them given twice is refused (RFC 7515, 4).
#[derive(Deserialize)]
struct Header {
    alg: String,
    /// Names extensions that must be understood (RFC 7515, 4.1.11). We understand none.
    #[serde(default, deserialize_with = "present")]
    crit: bool,
    kid: Option<Value>,
}

/// The claims that matter. One of them given twice is refused, so that no two readers see different tokens; others may
/// be anything. A null id or name counts as absent, a null time does not.
#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "userId")]
    user_id: Option<Value>,
    id: Option<Value>,
    sub: Option<Value>,
    username: Option<Value>,
    #[serde(default, deserialize_with = "even_null")]
    exp: Option<Value>,
    #[serde(default, deserialize_with = "even_null")]
    nbf: Option<Value>,
    #[serde(default, deserialize_with = "even_null")]
    iat: Option<Value>,
    jti: Option<Value>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

fn even_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Checks a token and reads its claims. `now` is in seconds since the Unix epoch.
///
/// # Errors
/// [`AuthError::Required`] for an empty token, [`AuthError::Expired`] for one that was good until its `exp`, and
/// [`AuthError::Invalid`] for everything else.
pub fn verify(token: &str, keys: &Keys, now: u64) -> Result<Claims, AuthError> {
    if token.is_empty() {
        return Err(AuthError::Required);
    }
    if token.len() > MAX_TOKEN_BYTES {
        return Err(AuthError::Invalid("it is longer than 8 KB"));
    }
    let segments = token.rsplit_once('.').and_then(|(message, signature)| {
        let (header, payload) = message.split_once('.')?;
        (!payload.contains('.')).then_some((message, header, payload, signature))
    });
    let (message, header, payload, signature) =
        segments.ok_or(AuthError::Invalid("it does not have three segments"))?;

    let header: Header = read_object(header).ok_or(AuthError::Invalid("its header cannot be read"))?;
    let key = keys.choose(header.kid.as_ref()).ok_or(AuthError::Invalid("it names no key that is configured"))?;
    if header.alg != key.algorithm() {
        return Err(AuthError::Invalid("it names another algorithm than the configured key's"));
    }
    if header.crit {
        return Err(AuthError::Invalid("it demands an extension"));
    }
    if !key.signed(message, signature) {
        return Err(AuthError::Invalid("its signature is wrong"));
    }

    let payload: Payload = read_object(payload).ok_or(AuthError::Invalid("its claims cannot be read"))?;
    let expires = numeric_date(payload.exp, "its exp is not a number")?;
    let not_before = numeric_date(payload.nbf, "its nbf is not a number")?;
    let issued = numeric_date(payload.iat, "its iat is not a number")?;
    if expires.is_none() && keys.requires_exp() {
        return Err(AuthError::Invalid("it has no exp"));
    }
    let (clock, leeway) = (now as f64, LEEWAY_SECONDS as f64);
    if not_before.is_some_and(|start| clock + leeway < start) {
        return Err(AuthError::Invalid("it is not valid yet"));
    }
    if expires.is_some_and(|end| clock >= end + leeway) {
        return Err(AuthError::Expired);
    }

    let id = payload.user_id.or(payload.id).or(payload.sub).ok_or(AuthError::Invalid("it names no user"))?;
    let user = UserId::deserialize(id).map_err(|_| AuthError::Invalid("its user id is not an id"))?;
    let username = match payload.username {
        Some(Value::String(name)) if !name.is_empty() => check_username(&name)?.into(),
        _ => user.as_str().into(),
    };
    let token_id = match payload.jti {
        None => None,
        Some(Value::String(id)) if is_token_id(&id) => Some(id.into()),
        // What could not be revoked is not let in.
        Some(_) => return Err(AuthError::Invalid("its jti is not a string of 1 to 256 bytes")),
    };
    // The casts saturate: a far future stays far, and what is negative has expired above, or was made at no time.
    let issued_at = issued.filter(|at| *at <= clock + leeway).map(|at| at as u64);
    Ok(Claims { user, username, expires_at: expires.map(|end| end as u64), issued_at, token_id })
}

/// Whether a text can be a token's `jti`.
#[must_use]
pub fn is_token_id(text: &str) -> bool {
    (1..=MAX_TOKEN_ID_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Makes an HS256 token for `user` that is valid from `now` (seconds since the Unix epoch) for `ttl`.
///
/// # Errors
/// [`AuthError::Invalid`] when [`verify`] would refuse the name or the token's length.
pub fn sign(user: &UserId, username: &str, secret: &str, now: u64, ttl: Duration) -> Result<String, AuthError> {
    check_username(username)?;
    let header = json!({"alg": "HS256", "typ": "JWT"}).to_string();
    let claims =
        json!({"userId": user, "username": username, "iat": now, "exp": now.saturating_add(ttl.as_secs())}).to_string();
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = keys::hs256(&message, secret).ok_or(AuthError::Invalid("it could not be signed"))?;
    Ok(format!("{message}.{signature}"))
}

/// One segment: base64url without padding, whitespace or loose tail bits, around one JSON object. The brace is looked
/// at because serde would also fill a struct from an array.
fn read_object<T: DeserializeOwned>(segment: &str) -> Option<T> {
    let bytes = URL_SAFE_NO_PAD.decode(segment).ok()?;
    bytes.trim_ascii_start().starts_with(b"{").then(|| serde_json::from_slice(&bytes).ok()).flatten()
}

/// A NumericDate (RFC 7519, 2): a JSON number of seconds, fractions allowed. Text is never read as a number
/// (jsonwebtoken CVE-2026-25537).
fn numeric_date(claim: Option<Value>, complaint: &'static str) -> Result<Option<f64>, AuthError> {
    let Some(value) = claim else { return Ok(None) };
    value.as_f64().map(Some).ok_or(AuthError::Invalid(complaint))
}

/// Control characters would end up in the terminals and logs of others.
fn check_username(name: &str) -> Result<&str, AuthError> {
    let fine = name.len() <= MAX_USERNAME_BYTES && !name.chars().any(char::is_control);
    fine.then_some(name).ok_or(AuthError::Invalid("its username is too long or has control characters"))
}

#[cfg(test)]
mod tests;
