//! What tokens are checked with: `JWT_SECRET`, `JWT_PUBLIC_KEY` or `JWT_JWKS_FILE`, one of them.
//!
//! Owns which secrets are too weak to start with. What makes key material a key is [`crate::auth`]'s.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::reader::{self, Reader};
use super::{ConfigError, Environment, MASK, Secret, Variables, environment};
use crate::auth::Keys;

/// A secret shorter than this, of the letters that people choose, is found by trying.
const MIN_SECRET_BYTES: usize = 16;

/// A secret of full strength (RFC 7518, 3.2).
const GOOD_SECRET_BYTES: usize = 32;

const JWKS_FILE: &str = "JWT_JWKS_FILE";

/// The keys, and where they came from.
pub(super) struct TokenKeys {
    pub(super) keys: Keys,
    /// The JWK Set.
    pub(super) file: Option<PathBuf>,
    /// The shared secret.
    pub(super) secret: Option<Secret>,
    /// Whether that had to be made up.
    pub(super) is_made_up: bool,
}

/// Reads the three variables, of which one has to be set, and `JWT_REQUIRE_EXP`.
pub(super) fn token_keys(reader: &mut Reader<'_>, environment: Environment) -> Result<TokenKeys, ConfigError> {
    let secret = reader.secret("JWT_SECRET")?;
    let read = |pem: &str| {
        Keys::from_public_pem(pem).map_err(|error| format!("the PEM text of a public key for tokens; {error}"))
    };
    let public = reader.text_or_file("JWT_PUBLIC_KEY", "-----BEGIN", read, Keys::algorithms)?;
    let set = reader.file(JWKS_FILE, read_set, Keys::algorithms)?;
    let require_exp = reader.boolean("JWT_REQUIRE_EXP", false)?;
    let found = match (secret, public, set) {
        (Some(_), Some(_), _) => return Err(contradiction("JWT_SECRET", "JWT_PUBLIC_KEY")),
        (Some(_), _, Some(_)) => return Err(contradiction("JWT_SECRET", JWKS_FILE)),
        (_, Some(_), Some(_)) => return Err(contradiction("JWT_PUBLIC_KEY", JWKS_FILE)),
        (Some(secret), None, None) => {
            let keys = secret_keys(reader, environment, &secret)?;
            TokenKeys { keys, file: None, secret: Some(secret), is_made_up: false }
        }
        (None, Some(keys), None) => TokenKeys { keys, file: None, secret: None, is_made_up: false },
        (None, None, Some((keys, file))) => TokenKeys { keys, file: Some(file), secret: None, is_made_up: false },
        (None, None, None) if environment == Environment::Development => {
            let secret = random_secret()?;
            reader.warnings.push("JWT_SECRET is not set: each start makes up another, and ends earlier tokens".into());
            let keys = secret_keys(reader, environment, &secret)?;
            TokenKeys { keys, file: None, secret: Some(secret), is_made_up: true }
        }
        (None, None, None) => {
            return Err(ConfigError::Missing {
                name: "JWT_SECRET",
                instruction: "set it to the secret that your tokens are signed with, at least 32 random bytes, or set \
                              JWT_PUBLIC_KEY or JWT_JWKS_FILE to their issuer's public key or keys (only \
                              NODE_ENV=development can do without)",
            });
        }
    };
    Ok(TokenKeys { keys: found.keys.with_required_exp(require_exp), ..found })
}

/// Reads a JWK Set again, as at the start.
///
/// # Errors
/// [`ConfigError`] when the file cannot be read or is no such set.
pub fn read_key_file(path: &Path) -> Result<Keys, ConfigError> {
    reader::parse_file(JWKS_FILE, path, read_set)
}

/// The secret that this installation's tokens are signed with, for a command that makes one and needs nothing else.
///
/// # Errors
/// [`ConfigError`] when there is none, or it is refused.
pub fn signing_secret(variables: &Variables) -> Result<Secret, ConfigError> {
    let lookup = |name: &str| variables.get(name);
    let reader = &mut Reader::new(&lookup);
    let environment = environment(reader)?;
    let secret = reader.secret("JWT_SECRET")?;
    let instruction = match (reader.raw("JWT_PUBLIC_KEY")?, reader.raw(JWKS_FILE)?) {
        (Some(_), _) => "tokens for JWT_PUBLIC_KEY are signed by the holder of its private key, not here",
        (None, Some(_)) => "tokens for JWT_JWKS_FILE are signed by the holder of its private keys, not here",
        (None, None) => "set it to the server's: a token is good only for the secret it was signed with",
    };
    let secret = secret.ok_or(ConfigError::Missing { name: "JWT_SECRET", instruction })?;
    secret_keys(reader, environment, &secret)?;
    Ok(secret)
}

fn read_set(json: &str) -> Result<Keys, String> {
    Keys::from_jwks(json).map_err(|error| format!("a JWK Set of public keys for tokens; {error}"))
}

fn contradiction(first: &str, second: &str) -> ConfigError {
    ConfigError::Contradiction {
        first: first.into(),
        second: second.into(),
        instruction: "unset one of them, because the key alone decides which algorithm is believed",
    }
}

/// Refuses secrets that anybody would guess, and warns of those that a machine could.
fn secret_keys(reader: &mut Reader<'_>, environment: Environment, secret: &Secret) -> Result<Keys, ConfigError> {
    let refuse = |allowed: &str| ConfigError::Value {
        name: "JWT_SECRET".into(),
        value: MASK.into(),
        allowed: allowed.to_owned(),
    };
    let keys = Keys::from_secret(secret.reveal())
        .map_err(|error| refuse(&format!("a shared secret ({error}; a public key goes into JWT_PUBLIC_KEY)")))?;
    let length = secret.reveal().len();
    let hopeless = if secret.is_well_known() {
        Some("at least 32 random bytes, not a text that examples use: whoever guesses it can be any user")
    } else if length < MIN_SECRET_BYTES {
        Some("at least 32 random bytes, and never fewer than 16: whoever finds it by trying can be any user")
    } else {
        None
    };
    match hopeless {
        Some(advice) if environment != Environment::Development => return Err(refuse(advice)),
        Some(advice) => reader.warnings.push(format!("JWT_SECRET should be {advice}")),
        None if length < GOOD_SECRET_BYTES => {
            reader.warnings.push("JWT_SECRET is shorter than the 32 bytes that HS256 asks for (RFC 7518, 3.2)".into());
        }
        None => {}
    }
    Ok(keys)
}

/// 256 bits, the strength of HS256, as text that survives a shell.
fn random_secret() -> Result<Secret, ConfigError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| ConfigError::Random(error.to_string()))?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes)))
}
