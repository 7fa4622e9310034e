//! The key that tokens are checked with, and the one algorithm that follows from it.
//!
//! Owns the reading of key material. Knows nothing of what a token says.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto};

/// The configured key. Its kind alone decides the algorithm: a token that names another one is refused, so that a public
/// key can never be used as an HMAC secret (fast-jwt CVE-2023-48223) and `none` means nothing.
#[derive(Clone)]
pub struct Keys {
    kind: Kind,
    key: DecodingKey,
    require_exp: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
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
        Ok(Self { kind: Kind::Hs256, key: DecodingKey::from_secret(secret.as_bytes()), require_exp: false })
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
        let keys = Self { kind, key, require_exp: false };
        // A first verification tells a point of this curve from one of another, now instead of at the first token.
        let usable = right_size && crypto::verify("AA", b"", &keys.key, kind.algorithm()).is_ok();
        usable.then_some(keys).ok_or(KeyError::Unsupported)
    }

    /// Whether a token without `exp` is refused (`JWT_REQUIRE_EXP`); off unless set.
    #[must_use]
    pub fn with_required_exp(self, require_exp: bool) -> Self {
        Self { require_exp, ..self }
    }

    /// The name of the algorithm, as it stands in a token's `alg`.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        match self.kind {
            Kind::Hs256 => "HS256",
            Kind::Rs256 => "RS256",
            Kind::Es256 => "ES256",
            Kind::EdDsa => "EdDSA",
        }
    }

    pub(super) fn requires_exp(&self) -> bool {
        self.require_exp
    }

    /// Whether `signature` (base64url) is this key's over `message`. HMACs are compared in constant time.
    pub(super) fn signed(&self, message: &str, signature: &str) -> bool {
        matches!(crypto::verify(signature, message.as_bytes(), &self.key, self.kind.algorithm()), Ok(true))
    }
}

impl fmt::Debug for Keys {
    /// Names the algorithm; the key stays out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.algorithm())
    }
}

/// The HMAC of `message`, base64url.
pub(super) fn hs256(message: &str, secret: &str) -> Option<String> {
    crypto::sign(message.as_bytes(), &EncodingKey::from_secret(secret.as_bytes()), Algorithm::HS256).ok()
}
