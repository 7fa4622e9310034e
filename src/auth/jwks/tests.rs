//! Which keys of a set are taken, and which of them a token is checked with.

use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::json;

use super::*;
use crate::auth::{AuthError, Keys, verify};

const NOW: u64 = 1_700_000_000;

const RSA: &str = r#"{"kty":"RSA","e":"AQAB","n":"oDRtahBhJ8G2ImZc8u9pa3NGDQ4m0AZezxTcIDFGVv5mCXJRAjUlpwqMLj6QPXOXos0CqyB0KJZSheTsBny8nTPicj0f_DbCDNWA_xwDF2PRiGinBbzxDzdB2veL_ixYe6hGRu0qjN-_qWGRjzvl9fylkcXiVhMDvRvGPdY6q8-tnpzym0FFgUsjGewOeySu8Pg2hsPS7OIXJfRC2UbfzEd5Oh72h16SwVz9vPpNUgVr9T0zA464B8pEypAPVcGAZUdv12vYlpjvNmoY9_pjn54wdiDEHmNs2ezXF6zVSGlxLkMyM-YQyumj1fm6vIh_J9AEChmYdlDAl7ruLu4Knw"}"#;
const RSA_1024: &str = r#"{"kty":"RSA","e":"AQAB","n":"sIORvE05OESg9NtcR_pdkTQk7tpRPwrQ4Aqa3mJGzg9Q3j9VgePPJM8szm2XxoJ-qGz5hfWzEPRDhMpQwqRgi1pqLTT93JGz9AWse5KKzXxWyXXC4iBn9Gzv0S8NwFsEmz_BojyT0yV-hnw8muR0PE4pHvTSBOL4QER2pnOPzDs"}"#;
const P_384: &str = r#"{"kty":"EC","crv":"P-384","x":"0TebI1WPs7NHHiSOhZMK84gDfHZQ5PuyGYiL7kJlhkl5seeZTyJB2Ey0THt63z1B","y":"HWVsCztaCjllcNlaI-3VA2uJ9vOoyPhtdNuGnTB93xO9khmdjM9zJ2aJ8G7K37Dc"}"#;
const SECP256K1: &str = r#"{"kty":"EC","crv":"secp256k1","x":"AaQ4qARXyYtmFHHyreolkVgEkXIz4whFzk9vnQRcB8w","y":"F9EEWooRLmK4XXSivRzVT4xqLQqPxe3GON2KWBgs-0A"}"#;

/// A key pair that is always the same: PKCS #8 around 32 bytes.
struct Pair {
    key: EncodingKey,
    algorithm: Algorithm,
}

impl Pair {
    fn ed(seed: u8) -> Self {
        let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
        der.extend([seed; 32]);
        Self { key: EncodingKey::from_ed_der(&der), algorithm: Algorithm::EdDSA }
    }

    fn ec(seed: u8) -> Self {
        let mut der =
            b"\x30\x41\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\
            \x01\x07\x04\x27\x30\x25\x02\x01\x01\x04\x20"
                .to_vec();
        der.extend([seed; 32]);
        Self { key: EncodingKey::from_ec_der(&der), algorithm: Algorithm::ES256 }
    }

    /// Its public half, with further members.
    fn jwk(&self, more: Value) -> Value {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&self.key, self.algorithm).unwrap()).unwrap();
        jwk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        jwk
    }

    /// A token of the user 42 with these members in its header.
    fn token(&self, header: Value) -> String {
        let mut header = header;
        header.as_object_mut().unwrap().entry("alg").or_insert(json!(self.algorithm));
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(json!({"userId": 42})));
        let signature = crypto::sign(message.as_bytes(), &self.key, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// Whether a set believes a token.
fn believes(keys: &[Value], token: &str) -> bool {
    let verdict = verify(token, &Keys::from_jwks(&set(keys)).unwrap(), NOW);
    assert!(!matches!(verdict, Err(AuthError::Required | AuthError::Expired)));
    verdict.is_ok_and(|claims| claims.user.as_str() == "42")
}

fn with(jwk: &str, more: Value) -> Value {
    let mut jwk: Value = serde_json::from_str(jwk).unwrap();
    jwk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    jwk
}

#[test]
fn a_token_is_checked_with_the_key_that_its_kid_names_by_that_keys_algorithm() {
    let (ed, ec) = (Pair::ed(1), Pair::ec(2));
    let keys = [ed.jwk(json!({"kid": "a"})), ec.jwk(json!({"kid": "b"})), with(RSA, json!({"kid": "c"}))];
    assert_eq!(Keys::from_jwks(&set(&keys)).unwrap().algorithms(), "EdDSA, ES256, RS256");
    assert!(believes(&keys, &ed.token(json!({"kid": "a"}))) && believes(&keys, &ec.token(json!({"kid": "b"}))));
    for token in [
        ed.token(json!({"kid": "b"})),
        ed.token(json!({"kid": "b", "alg": "ES256"})),
        ec.token(json!({"kid": "a"})),
        ec.token(json!({"kid": "b", "alg": "EdDSA"})),
        ed.token(json!({"kid": "c", "alg": "RS256"})),
        Pair::ed(3).token(json!({"kid": "a"})),
    ] {
        assert!(!believes(&keys, &token), "{token}");
    }
}

#[test]
fn j5_a_kid_names_one_of_the_configured_keys_or_nothing() {
    let (ed, ec) = (Pair::ed(1), Pair::ec(2));
    let two = [ed.jwk(json!({"kid": "a"})), ec.jwk(json!({"kid": "b"}))];
    let long = "k".repeat(5000);
    for kid in [
        json!("../../dev/null"),
        json!("' OR 1=1"),
        json!("A"),
        json!("a "),
        json!("a\u{0}"),
        json!(""),
        json!(long),
        json!(0),
        json!(["a"]),
        json!({"$ne": null}),
        json!(true),
    ] {
        assert!(!believes(&two, &ed.token(json!({"kid": kid}))), "{kid}");
        assert!(!believes(&two[..1], &ed.token(json!({"kid": kid}))), "{kid}");
    }
    let header = json!({"kid": "a", "jku": "http://127.0.0.1/", "x5u": "file:///etc/passwd"});
    assert!(believes(&two, &ed.token(header)), "what points elsewhere is not read");
    let own = Pair::ed(9);
    assert!(!believes(&two, &own.token(json!({"kid": "a", "jwk": own.jwk(json!({}))}))), "a key that comes with it");
    let key = Keys::from_jwks(&set(&two)).unwrap();
    let crit = ed.token(json!({"kid": "a", "crit": ["b64"]}));
    assert_eq!(verify(&crit, &key, NOW), Err(AuthError::Invalid("it demands an extension")));
}

#[test]
fn without_a_kid_there_must_be_only_one_key_to_be_meant() {
    let (ed, ec) = (Pair::ed(1), Pair::ec(2));
    let token = ed.token(json!({}));
    assert!(believes(&[ed.jwk(json!({"kid": "a"}))], &token) && believes(&[ed.jwk(json!({}))], &token));
    assert!(believes(&[ed.jwk(json!({})), with(RSA, json!({"use": "enc"}))], &token), "one for signatures");
    assert!(!believes(&[ed.jwk(json!({"kid": "a"})), ec.jwk(json!({"kid": "b"}))], &token));
    assert!(!believes(&[ed.jwk(json!({}))], &ed.token(json!({"kid": "a"}))), "a name that no key has");
}

#[test]
fn j2_a_key_of_a_set_is_no_hmac_secret() {
    let ed = Pair::ed(1);
    let jwk = ed.jwk(json!({"kid": "a"}));
    let x = URL_SAFE_NO_PAD.decode(jwk["x"].as_str().unwrap()).unwrap();
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    for secret in [jwk["x"].as_str().unwrap().as_bytes(), &x, jwk.to_string().as_bytes(), b""] {
        for alg in ["HS256", "EdDSA", "none"] {
            let message = format!("{}.{}", part(json!({"alg": alg, "kid": "a"})), part(json!({"userId": 42})));
            let key = EncodingKey::from_secret(secret);
            let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
            assert!(!believes(std::slice::from_ref(&jwk), &format!("{message}.{signature}")), "{alg}");
        }
    }
}

#[test]
fn what_is_no_set_of_public_keys_is_refused_with_the_key_and_the_reason() {
    let ed = Pair::ed(1);
    let good = ed.jwk(json!({"kid": "good"}));
    let unsupported = || JwkError::Unsupported;
    let ec = |x: Value| Pair::ec(2).jwk(json!({"kid": "b", "x": x}));
    for (bad, complaint) in [
        (json!({"kty": "oct", "kid": "b", "k": "AAAA"}), JwkError::Secret),
        (json!({"kty": "oct", "kid": "b"}), JwkError::Secret),
        (ed.jwk(json!({"kid": "b", "d": "AAAA"})), JwkError::Private),
        (with(RSA, json!({"kid": "b", "p": "AAAA"})), JwkError::Private),
        (with(RSA_1024, json!({"kid": "b"})), unsupported()),
        (with(P_384, json!({"kid": "b"})), unsupported()),
        (with(SECP256K1, json!({"kid": "b"})), unsupported()),
        (with(RSA, json!({"kid": "b", "e": "AQ"})), unsupported()),
        (with(RSA, json!({"kid": "b", "e": "AAAA"})), unsupported()),
        (with(RSA, json!({"kid": "b", "n": "%"})), unsupported()),
        (with(RSA, json!({"kid": "b", "n": 5})), unsupported()),
        (ec(json!("AA")), unsupported()),
        (ec(json!(URL_SAFE_NO_PAD.encode([7; 32]))), unsupported()),
        (ed.jwk(json!({"kid": "b", "x": "AA"})), unsupported()),
        (ed.jwk(json!({"kid": "b", "crv": "X25519"})), unsupported()),
        (json!({"kid": "b"}), unsupported()),
        (json!({"kty": "AKP", "kid": "b"}), unsupported()),
        (ed.jwk(json!({"kid": "b", "alg": "RS256"})), JwkError::Algorithm { says: "\"RS256\"".into(), is: "EdDSA" }),
        (with(RSA, json!({"kid": "b", "alg": "PS256"})), JwkError::Algorithm { says: "\"PS256\"".into(), is: "RS256" }),
        (with(RSA, json!({"kid": "b", "alg": "none"})), JwkError::Algorithm { says: "\"none\"".into(), is: "RS256" }),
        (ed.jwk(json!({"kid": 5})), JwkError::BadKid),
        (ed.jwk(json!({"kid": ""})), JwkError::BadKid),
        (ed.jwk(json!({})), JwkError::NoKid),
        (Pair::ed(2).jwk(json!({"kid": "good"})), JwkError::SameKid),
    ] {
        let error = Keys::from_jwks(&set(&[good.clone(), bad.clone()])).unwrap_err();
        assert_eq!(error, JwksError::Key { position: 2, complaint }, "{bad}");
    }
    for text in
        ["", "null", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[5]}"#, r#"{"keys":[],"keys":[]}"#, &good.to_string()]
    {
        assert_eq!(Keys::from_jwks(text).unwrap_err(), JwksError::NotASet, "{text}");
    }
    let encryption = with(RSA, json!({"use": "enc"}));
    for keys in [vec![], vec![encryption], vec![with(RSA, json!({"key_ops": ["encrypt"]}))]] {
        assert_eq!(Keys::from_jwks(&set(&keys)).unwrap_err(), JwksError::Empty);
    }
}
