//! The keys that tokens are checked with, and the one algorithm that follows from each.
//!
//! Owns the reading of key material; that of JWK Sets is [`jwks`]'s. Of a token it knows the `kid`, which
//! chooses among the keys that are configured and nothing else.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto};
use serde_json::Value;

use super::jwks::{self, JwksError};

/// The configured keys. A key's kind alone decides the algorithm: a token that names another one is refused, so that a
/// public key can never be used as an HMAC secret (fast-jwt CVE-2023-48223) and `none` means nothing.
#[derive(Clone)]
pub struct Keys {
    keys: Choice,
    require_exp: bool,
}

#[derive(Clone)]
enum Choice {
    /// The only one there is, whatever a token's `kid` says.
    One(Key),
    /// Those of a JWK Set, each with its `kid`.
    Set(Vec<(Option<String>, Key)>),
}

/// One key.
#[derive(Clone)]
pub(super) struct Key {
    kind: Kind,
    key: DecodingKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Hs256,
    Rs256,
    Es256,
    EdDsa,
}

impl Kind {
    fn algorithm(self) -> Algorithm {
        match self {
            Self::Hs256 => Algorithm::HS256,
            Self::Rs256 => Algorithm::RS256,
            Self::Es256 => Algorithm::ES256,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }

    /// As it stands in a token's `alg`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl Key {
    /// Whether tokens can be checked with it is seen by a first verification: it tells a point of this curve from one of
    /// another, now instead of at the first token. The key must have the right length already.
    pub(super) fn tried(kind: Kind, key: DecodingKey) -> Option<Self> {
        crypto::verify("AA", b"", &key, kind.algorithm()).is_ok().then_some(Self { kind, key })
    }

    /// The name of the algorithm, as it stands in a token's `alg`.
    pub(super) fn algorithm(&self) -> &'static str {
        self.kind.name()
    }

    /// Whether `signature` (base64url) is this key's over `message`. HMACs are compared in constant time.
    pub(super) fn signed(&self, message: &str, signature: &str) -> bool {
        matches!(crypto::verify(signature, message.as_bytes(), &self.key, self.kind.algorithm()), Ok(true))
    }
}

/// Why key material is no key. The operator's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// An HMAC secret of no bytes: everybody knows it.
    #[error("the secret is empty")]
    EmptySecret,
    /// A PEM text as a shared secret: if it is a public key, everybody can sign.
    #[error("a PEM key is no shared secret")]
    PemAsSecret,
    /// The verifying side has no business with the private key.
    #[error("this is a private key; the server needs only the public one")]
    PrivateKey,
    /// Not a PEM text of one public key.
    #[error("this is not one PEM block `PUBLIC KEY` or `RSA PUBLIC KEY`")]
    NotPublicPem,
    /// A public key, and not one that can be used here.
    #[error("the key is neither RSA of 2048 to 4096 bits, nor P-256, nor Ed25519")]
    Unsupported,
}

impl Keys {
    /// HS256 with a shared secret.
    ///
    /// # Errors
    /// [`KeyError::EmptySecret`], [`KeyError::PemAsSecret`].
    pub fn from_secret(secret: &str) -> Result<Self, KeyError> {
        if secret.trim().is_empty() {
            return Err(KeyError::EmptySecret);
        }
        if secret.contains("-----BEGIN ") {
            return Err(KeyError::PemAsSecret);
        }
        Ok(Self::one(Key { kind: Kind::Hs256, key: DecodingKey::from_secret(secret.as_bytes()) }))
    }

    /// RS256, ES256 or EdDSA, whichever the key in this PEM text is for.
    ///
    /// # Errors
    /// [`KeyError::PrivateKey`], [`KeyError::NotPublicPem`], [`KeyError::Unsupported`].
    pub fn from_public_pem(pem: &str) -> Result<Self, KeyError> {
        if pem.contains("PRIVATE KEY-----") {
            return Err(KeyError::PrivateKey);
        }
        let one_block = pem.matches("-----BEGIN ").count() == 1;
        if !one_block || !(pem.contains("-----BEGIN PUBLIC KEY-----") || pem.contains("-----BEGIN RSA PUBLIC KEY-----"))
        {
            return Err(KeyError::NotPublicPem);
        }
        let bytes = pem.as_bytes();
        let (kind, key) = DecodingKey::from_rsa_pem(bytes)
            .map(|key| (Kind::Rs256, key))
            .or_else(|_| DecodingKey::from_ec_pem(bytes).map(|key| (Kind::Es256, key)))
            .or_else(|_| DecodingKey::from_ed_pem(bytes).map(|key| (Kind::EdDsa, key)))
            .map_err(|_| KeyError::NotPublicPem)?;
        let length = key.try_get_as_bytes().map_or(0, <[u8]>::len);
        let right_size = match kind {
            Kind::Hs256 => false,
            // The DER of modulus and exponent: 2048 bits are the least that RFC 7518, 3.3 allows, 4096 the most that
            // the rsa crate takes.
            Kind::Rs256 => (266..=530).contains(&length),
            // A point of a 256-bit curve, plain or compressed.
            Kind::Es256 => matches!(length, 33 | 65),
            Kind::EdDsa => length == 32,
        };
        let key = Some(key).filter(|_| right_size).and_then(|key| Key::tried(kind, key));
        key.map(Self::one).ok_or(KeyError::Unsupported)
    }

    /// RS256, ES256 and EdDSA with the keys of a JWK Set (RFC 7517, 5), chosen by `kid`.
    ///
    /// # Errors
    /// [`JwksError`], with what is wrong with which key.
    pub fn from_jwks(json: &str) -> Result<Self, JwksError> {
        Ok(Self { keys: Choice::Set(jwks::read(json)?), require_exp: false })
    }

    fn one(key: Key) -> Self {
        Self { keys: Choice::One(key), require_exp: false }
    }

    /// Whether a token without `exp` is refused (`JWT_REQUIRE_EXP`); off unless set.
    #[must_use]
    pub fn with_required_exp(self, require_exp: bool) -> Self {
        Self { require_exp, ..self }
    }

    /// The names of the keys' algorithms, as they stand in a token's `alg`.
    #[must_use]
    pub fn algorithms(&self) -> String {
        match &self.keys {
            Choice::One(key) => key.algorithm().to_owned(),
            Choice::Set(keys) => keys.iter().map(|(_, key)| key.algorithm()).collect::<Vec<_>>().join(", "),
        }
    }

    /// Whether a token without `exp` is refused.
    #[must_use]
    pub fn requires_exp(&self) -> bool {
        self.require_exp
    }

    /// The key for a token that names this one; or names none, where there is only one to be meant.
    pub(super) fn choose(&self, kid: Option<&Value>) -> Option<&Key> {
        match (&self.keys, kid) {
            (Choice::One(key), _) => Some(key),
            (Choice::Set(keys), Some(kid)) => {
                let kid = kid.as_str()?;
                keys.iter().find(|(id, _)| id.as_deref() == Some(kid)).map(|(_, key)| key)
            }
            (Choice::Set(keys), None) => match keys.as_slice() {
                [(_, key)] => Some(key),
                _ => None,
            },
        }
    }
}

impl fmt::Debug for Keys {
    /// Names the algorithms; the keys stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.algorithms())
    }
}

/// The HMAC of `message`, base64url.
pub(super) fn hs256(message: &str, secret: &str) -> Option<String> {
    crypto::sign(message.as_bytes(), &EncodingKey::from_secret(secret.as_bytes()), Algorithm::HS256).ok()
}
