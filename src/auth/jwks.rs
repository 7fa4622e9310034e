//! JWK Sets: the public keys of an issuer that has several, or changes them (RFC 7517).
//!
//! Owns which of the keys in such a text are taken. Knows no file. Strict, because an operator who is told is better off
//! than one whose key is silently missing; only keys that are there for something else than signatures are passed over.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::keys::{Key, Kind};

/// Members that only a private key or a shared secret has (RFC 7518, 6.2.2, 6.3.2 and 6.4.1).
const PRIVATE: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

/// Longest `kid`, in bytes.
const MAX_KID_BYTES: usize = 256;

/// Why a text is no JWK Set of keys for tokens. The operator's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// Something else altogether.
    #[error("it is not a JWK Set, an object with an array \"keys\" of objects")]
    NotASet,
    /// A set with nothing to check tokens with.
    #[error("it has no key for signatures")]
    Empty,
    /// One of its keys.
    #[error("its key {position} {complaint}")]
    Key {
        /// Counted from 1.
        position: usize,
        /// What is wrong with it.
        complaint: JwkError,
    },
}

/// What is wrong with one key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// The verifying side has no business with it.
    #[error("is private; the server needs only the public one, without \"d\"")]
    Private,
    /// Whoever can check with it can sign.
    #[error("is a shared secret (\"oct\"); that belongs into JWT_SECRET")]
    Secret,
    /// No kind that is used here, or not well formed.
    #[error("is neither RSA of 2048 to 4096 bits, nor EC on P-256, nor OKP on Ed25519")]
    Unsupported,
    /// Its `alg` says something else than its kind.
    #[error("says \"alg\":{says}, but its kind is for {is}")]
    Algorithm {
        /// What it says, as JSON.
        says: String,
        /// What follows from its kind.
        is: &'static str,
    },
    /// A `kid` that is none.
    #[error("has a \"kid\" that is not a string of 1 to 256 bytes")]
    BadKid,
    /// Several keys, one of them without a name.
    #[error("has no \"kid\", and there are others")]
    NoKid,
    /// Two keys of one name.
    #[error("has the same \"kid\" as one before it")]
    SameKid,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Map<String, Value>>,
}

/// The keys for signatures in a JWK Set, each with its `kid`.
pub(super) fn read(json: &str) -> Result<Vec<(Option<String>, Key)>, JwksError> {
    let Set { keys } = serde_json::from_str(json).map_err(|_| JwksError::NotASet)?;
    let keys: Vec<_> = (1..).zip(keys).filter(|(_, jwk)| is_for_signatures(jwk)).collect();
    let (is_one, mut known) = (keys.len() == 1, HashSet::new());
    let keys = keys.into_iter().map(|(position, jwk)| {
        let named = |complaint| JwksError::Key { position, complaint };
        let kid = kid(&jwk).map_err(named)?;
        let key = key(&jwk).map_err(named)?;
        match &kid {
            None if !is_one => Err(named(JwkError::NoKid)),
            Some(kid) if !known.insert(kid.clone()) => Err(named(JwkError::SameKid)),
            _ => Ok((kid, key)),
        }
    });
    let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(JwksError::Empty) } else { Ok(keys) }
}

/// An issuer may have keys for encryption in the same set.
fn is_for_signatures(jwk: &Map<String, Value>) -> bool {
    let is_used = jwk.get("use").is_none_or(|purpose| purpose == "sig");
    let operations = jwk.get("key_ops").and_then(Value::as_array);
    is_used && operations.is_none_or(|operations| operations.iter().any(|operation| operation == "verify"))
}

fn kid(jwk: &Map<String, Value>) -> Result<Option<String>, JwkError> {
    match jwk.get("kid") {
        None => Ok(None),
        Some(Value::String(kid)) if (1..=MAX_KID_BYTES).contains(&kid.len()) => Ok(Some(kid.clone())),
        Some(_) => Err(JwkError::BadKid),
    }
}

fn key(jwk: &Map<String, Value>) -> Result<Key, JwkError> {
    if jwk.get("kty").is_some_and(|kind| kind == "oct") || jwk.contains_key("k") {
        return Err(JwkError::Secret);
    }
    if PRIVATE.iter().any(|member| jwk.contains_key(*member)) {
        return Err(JwkError::Private);
    }
    let parsed = Jwk::deserialize(Value::Object(jwk.clone())).map_err(|_| JwkError::Unsupported)?;
    let kind = match &parsed.algorithm {
        AlgorithmParameters::RSA(rsa) if is_rsa(&rsa.n, &rsa.e) => Kind::Rs256,
        AlgorithmParameters::EllipticCurve(point)
            if point.curve == EllipticCurve::P256 && is_32_bytes(&point.x) && is_32_bytes(&point.y) =>
        {
            Kind::Es256
        }
        AlgorithmParameters::OctetKeyPair(point) if point.curve == EllipticCurve::Ed25519 && is_32_bytes(&point.x) => {
            Kind::EdDsa
        }
        _ => return Err(JwkError::Unsupported),
    };
    if let Some(says) = jwk.get("alg").filter(|algorithm| *algorithm != kind.name()) {
        return Err(JwkError::Algorithm { says: says.to_string().chars().take(40).collect(), is: kind.name() });
    }
    let key = DecodingKey::from_jwk(&parsed).map_err(|_| JwkError::Unsupported)?;
    Key::tried(kind, key).ok_or(JwkError::Unsupported)
}

fn is_32_bytes(text: &str) -> bool {
    URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32)
}

/// 2048 bits are the least that RFC 7518, 3.3 allows, 4096 bits, and exponents of 33, the most that the rsa crate takes.
fn is_rsa(modulus: &str, exponent: &str) -> bool {
    let number = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let (Some(n), Some(e)) = (number(modulus), number(exponent)) else { return false };
    let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    let is_odd = |bytes: &[u8]| bytes.last().is_some_and(|last| last % 2 == 1);
    let e_value = e.iter().fold(0_u64, |value, byte| value.saturating_mul(256).saturating_add(u64::from(*byte)));
    (2048..=4096).contains(&bits) && is_odd(&n) && is_odd(&e) && (3..1 << 33).contains(&e_value)
}

#[cfg(test)]
mod tests;
