//! Tokens: arbitrary ones, ones that are rightly signed whatever they say, and good ones with a few bytes changed.
//!
//! Oracle: an HMAC of its own, and serde_json's reading of header and claims. Only a token that is rightly signed, by the
//! algorithm of the key, and in its time may be believed, and what is believed is what it says.

use alt_ws_pure::auth::{AuthError, Claims, Keys, LEEWAY_SECONDS, MAX_TOKEN_BYTES, MAX_USERNAME_BYTES, verify};
use arbitrary::{Result, Unstructured};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::values;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_700_000_000;
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const CLAIMS: &str = r#"{"userId":42,"username":"Ada","exp":2000000000}"#;

// Public halves of keys made for the unit tests of `auth`, and one token signed with each:
// {"userId":42,"username":"Ada","exp":2000000000}.
const RSA_KEY: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAoDRtahBhJ8G2ImZc8u9p
a3NGDQ4m0AZezxTcIDFGVv5mCXJRAjUlpwqMLj6QPXOXos0CqyB0KJZSheTsBny8
nTPicj0f/DbCDNWA/xwDF2PRiGinBbzxDzdB2veL/ixYe6hGRu0qjN+/qWGRjzvl
9fylkcXiVhMDvRvGPdY6q8+tnpzym0FFgUsjGewOeySu8Pg2hsPS7OIXJfRC2Ubf
zEd5Oh72h16SwVz9vPpNUgVr9T0zA464B8pEypAPVcGAZUdv12vYlpjvNmoY9/pj
n54wdiDEHmNs2ezXF6zVSGlxLkMyM+YQyumj1fm6vIh/J9AEChmYdlDAl7ruLu4K
nwIDAQAB
-----END PUBLIC KEY-----
";
const RSA_TOKEN: &str = concat!(
    "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VySWQiOjQyLCJ1c2VybmFtZSI6IkFkYSIsImV4cCI6MjAwMDAwMDAwMH0.Y9yphnY5L",
    "XEL-4JmkumqYyfk4kZkJ5rHwUxRq1QVkWCPVk1EzVRxVPr_87NeeUHMAVkGakwSIQAlde249qCs9Q-8H8e7KoSEDYkPdF_cvqgT06tNOpixCUH",
    "370eLx39w5IjjVCczNPiSe2c73VBUMlWfkz37ecumXmuj_dpb3ezzXXB1iiibhK_-EpYTgsJhE7GeSp8ftnTqoGy28Ya4bXfTJ7YGZDXP84CEd",
    "TtyjmSVwqXnSjh9wXaLstdbQMoZaQZB8blmeQHkm-Tr4SPQTsr_VcevUfh_F3yueReKG-opNGusTIgfoRc1JVfuie9wrUocdoOuvkUqRgQxqyz",
    "M3g",
);
const EC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYSNzhqTOlcpEnFTOpunE5OKtnlgR
0WenfQav/Vpmjpv2U9KPzdKQmr1I3mojxFH25VhWoLXqS5UIHrzuaZwuWg==
-----END PUBLIC KEY-----
";
const EC_TOKEN: &str = concat!(
    "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VySWQiOjQyLCJ1c2VybmFtZSI6IkFkYSIsImV4cCI6MjAwMDAwMDAwMH0.KliswWnkD",
    "YvC005xWqOBP3z6hq2D2sxVlrKkBDbqPQsHhAg8CaFIuiQVaO5jkRKvVUpNWw3UM7zvK3fbZ3IC1A",
);
const ED_KEY: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAcKhqeXEgDdyKbI0GYc6yZZCEstIi0J00QILH4PxSb0Q=
-----END PUBLIC KEY-----
";
const ED_TOKEN: &str = concat!(
    "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.eyJ1c2VySWQiOjQyLCJ1c2VybmFtZSI6IkFkYSIsImV4cCI6MjAwMDAwMDAwMH0.I5ielRNam",
    "IllLGc3T_Y5STW2hTJwdlUMLFCFxv6V8kL-6pCOoN2k094dtNoM54hhVHkvPihtQPaFJqmPqnMsBA",
);
type Verdict = std::result::Result<Claims, AuthError>;

/// The first byte chooses what the rest is, and the key.
pub fn check(input: &[u8]) {
    let Some((choice, data)) = input.split_first() else { return };
    let require_exp = choice & 0x10 != 0;
    let which = usize::from(choice >> 2 & 3);
    match choice & 3 {
        0 => check_any(&String::from_utf8_lossy(data), which),
        1 => check_signed(data, require_exp),
        2 => check_changed(data, which),
        _ => {
            let _data_was_enough = check_claims(&mut Unstructured::new(data), require_exp);
        }
    }
}

/// The key of that number, and a good token for it.
fn key(which: usize) -> (Keys, String) {
    match which {
        0 => (Keys::from_secret(SECRET).expect("a secret"), sign(HEADER, CLAIMS)),
        1 => (Keys::from_public_pem(RSA_KEY).expect("a key"), RSA_TOKEN.to_owned()),
        2 => (Keys::from_public_pem(EC_KEY).expect("a key"), EC_TOKEN.to_owned()),
        _ => (Keys::from_public_pem(ED_KEY).expect("a key"), ED_TOKEN.to_owned()),
    }
}

fn mac(message: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key of any length");
    mac.update(message.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

fn sign(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = mac(&message);
    format!("{message}.{signature}")
}

/// Whoever does not have the key has only the token that was given out; with a secret, whatever has the right HMAC is signed.
fn check_any(token: &str, which: usize) {
    let (keys, good) = key(which);
    let verdict = verify(token, &keys, NOW);
    assert_eq!(verdict, verify(token, &keys, NOW), "the same token, twice");
    assert_eq!(verdict == Err(AuthError::Required), token.is_empty());
    if !matches!(verdict, Ok(_) | Err(AuthError::Expired)) || token == good {
        return;
    }
    let (message, signature) = token.rsplit_once('.').expect("three segments");
    assert!(which == 0 && signature == mac(message), "a forged token was believed");
}

/// Header and claims with a zero byte between them, rightly signed.
fn check_signed(data: &[u8], require_exp: bool) {
    let mut halves = data.splitn(2, |byte| *byte == 0).map(String::from_utf8_lossy);
    let (header, claims) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    let token = sign(&header, &claims);
    let keys = Keys::from_secret(SECRET).expect("a secret").with_required_exp(require_exp);
    let verdict = verify(&token, &keys, NOW);
    if matches!(verdict, Err(AuthError::Required | AuthError::Invalid(_))) {
        return;
    }
    assert!(token.len() <= MAX_TOKEN_BYTES);
    // Claims that nobody reads may be nested deeper than serde_json makes values of.
    if let Ok(header) = serde_json::from_str::<Value>(&header) {
        assert!(header["alg"] == "HS256" && header.get("crit").is_none(), "{header}");
    }
    if let Ok(claims) = serde_json::from_str::<Value>(&claims) {
        compare(verdict, read(&claims, require_exp), &claims.to_string());
    }
}

/// A good token with bytes replaced, put in, or taken out.
fn check_changed(data: &[u8], which: usize) {
    let (keys, good) = key(which);
    let mut token = good.clone().into_bytes();
    for change in data.chunks_exact(4) {
        let [how, low, high, byte] = change else { continue };
        let at = usize::from(u16::from_le_bytes([*low, *high])) % (token.len() + 1);
        match how % 4 {
            0 if at < token.len() => token[at] = *byte,
            1 => token.insert(at, *byte),
            2 if at < token.len() => drop(token.remove(at)),
            3 => token.truncate(at),
            _ => {}
        }
    }
    let Ok(token) = String::from_utf8(token) else { return };
    let verdict = verify(&token, &keys, NOW);
    if token == good {
        assert_eq!(verdict.map(|claims| claims.user.as_str().to_owned()), Ok("42".to_owned()));
    } else {
        assert!(matches!(verdict, Err(AuthError::Invalid(_) | AuthError::Required)), "{token} was believed");
    }
}

/// Claims that were made here, so that it is known whether they are good.
fn check_claims(u: &mut Unstructured<'_>, require_exp: bool) -> Result<()> {
    let time = |u: &mut Unstructured<'_>| -> Result<Value> {
        Ok(match u.int_in_range(0..=5)? {
            0 => json!(u.arbitrary::<i64>()?),
            1 => json!(u.arbitrary::<f64>()?),
            2 => json!(NOW as f64 + f64::from(u.arbitrary::<i16>()?) / 256.0),
            3 => values::any(u, 1)?,
            _ => json!(NOW.saturating_add_signed(u.int_in_range(-8..=8)?)),
        })
    };
    let mut claims = serde_json::Map::new();
    for name in ["userId", "id", "sub"] {
        if u.ratio(1, 2)? {
            claims.insert(name.to_owned(), values::any(u, 1)?);
        }
    }
    if u.arbitrary()? {
        claims.insert("username".to_owned(), values::any(u, 1)?);
    }
    for name in ["exp", "nbf", "iat"] {
        if u.ratio(1, 2)? {
            claims.insert(name.to_owned(), time(u)?);
        }
    }
    let claims = Value::Object(claims);
    let text = claims.to_string();
    let token = sign(HEADER, &text);
    let keys = Keys::from_secret(SECRET).expect("a secret").with_required_exp(require_exp);
    let verdict = verify(&token, &keys, NOW);
    if token.len() > MAX_TOKEN_BYTES {
        assert!(matches!(verdict, Err(AuthError::Invalid(_))));
        return Ok(());
    }
    // Read again, as serde_json does not read every fraction to the bit that it wrote.
    let claims = serde_json::from_str(&text).expect("JSON");
    compare(verdict, read(&claims, require_exp), &text);
    Ok(())
}

/// What is to be believed of a token.
#[derive(Debug, PartialEq)]
struct Bearer {
    user: String,
    is_numeric: bool,
    username: String,
    expires_at: Option<u64>,
}

/// Why a token is not believed.
#[derive(Debug)]
enum Fault {
    Invalid,
    Expired,
}

fn compare(verdict: Verdict, expected: std::result::Result<Bearer, Fault>, text: &str) {
    let verdict = verdict.map(|claims| Bearer {
        user: claims.user.as_str().to_owned(),
        is_numeric: claims.user.is_numeric(),
        username: claims.username.to_string(),
        expires_at: claims.expires_at,
    });
    match (verdict, expected) {
        (Ok(bearer), Ok(expected)) => assert_eq!(bearer, expected),
        (Err(AuthError::Expired), Err(Fault::Expired)) | (Err(AuthError::Invalid(_)), Err(Fault::Invalid)) => {}
        (verdict, expected) => panic!("{verdict:?} where {expected:?} was expected: {text}"),
    }
}

/// The contract's words about claims, one after the other.
fn read(claims: &Value, require_exp: bool) -> std::result::Result<Bearer, Fault> {
    let claim = |name: &str| claims.get(name).filter(|value| !value.is_null());
    let time = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => Ok(number.as_f64()),
        Some(_) => Err(Fault::Invalid),
    };
    let (exp, nbf, _iat) = (time("exp")?, time("nbf")?, time("iat")?);
    let (now, leeway) = (NOW as f64, LEEWAY_SECONDS as f64);
    if (exp.is_none() && require_exp) || nbf.is_some_and(|nbf| nbf > now + leeway) {
        return Err(Fault::Invalid);
    }
    if exp.is_some_and(|exp| exp + leeway <= now) {
        return Err(Fault::Expired);
    }
    let (user, is_numeric) = match claim("userId").or(claim("id")).or(claim("sub")) {
        Some(Value::String(id)) if is_clean(id, 128) && !id.is_empty() => (id.clone(), false),
        Some(Value::Number(id)) if id.is_i64() => (id.to_string(), true),
        _ => return Err(Fault::Invalid),
    };
    let username = match claim("username") {
        Some(Value::String(name)) if !name.is_empty() => {
            if !is_clean(name, MAX_USERNAME_BYTES) {
                return Err(Fault::Invalid);
            }
            name.clone()
        }
        _ => user.clone(),
    };
    Ok(Bearer { user, is_numeric, username, expires_at: exp.map(|exp| exp as u64) })
}

fn is_clean(text: &str, most: usize) -> bool {
    text.len() <= most && !text.chars().any(char::is_control)
}
