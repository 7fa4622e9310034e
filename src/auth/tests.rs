//! Each hostile row of the tokens' table is a test here.

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_700_000_000;

// Public halves of keys made for these tests, and one token signed with each:
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
const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCwg5G8TTk4RKD021xH+l2RNCTu
2lE/CtDgCpreYkbOD1DeP1WB488kzyzObZfGgn6obPmF9bMQ9EOEylDCpGCLWmot
NP3ckbP0Bax7korNfFbJdcLiIGf0bO/RLw3AWwSbP8GiPJPTJX6GfDya5HQ8Tike
9NIE4vhARHamc4/MOwIDAQAB
-----END PUBLIC KEY-----
";
const P_384: &str = "-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE0TebI1WPs7NHHiSOhZMK84gDfHZQ5Puy
GYiL7kJlhkl5seeZTyJB2Ey0THt63z1BHWVsCztaCjllcNlaI+3VA2uJ9vOoyPht
dNuGnTB93xO9khmdjM9zJ2aJ8G7K37Dc
-----END PUBLIC KEY-----
";
const SECP256K1: &str = "-----BEGIN PUBLIC KEY-----
MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEAaQ4qARXyYtmFHHyreolkVgEkXIz4whF
zk9vnQRcB8wX0QRaihEuYrhddKK9HNVPjGotCo/F7cY43YpYGCz7QA==
-----END PUBLIC KEY-----
";

fn keys() -> Keys {
    Keys::from_secret(SECRET).unwrap()
}

/// A token with exactly this header and these claims, rightly signed with `secret`.
fn forge(header: &str, claims: &str, secret: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = keys::hs256(&message, secret).unwrap();
    format!("{message}.{signature}")
}

fn claims(claims: &str) -> Result<Claims, AuthError> {
    verify(&forge(r#"{"alg":"HS256","typ":"JWT"}"#, claims, SECRET), &keys(), NOW)
}

fn header(header: &str) -> Result<Claims, AuthError> {
    verify(&forge(header, r#"{"userId":42}"#, SECRET), &keys(), NOW)
}

fn invalid(result: Result<Claims, AuthError>) -> bool {
    matches!(result, Err(AuthError::Invalid(_)))
}

#[test]
fn the_user_is_user_id_else_id_else_sub_in_the_form_it_came_with() {
    let cases = [
        (r#"{"userId":42,"id":1,"sub":"s"}"#, "42", true),
        (r#"{"userId":"42"}"#, "42", false),
        (r#"{"userId":null,"id":7,"sub":"s"}"#, "7", true),
        (r#"{"sub":"auth0|5f"}"#, "auth0|5f", false),
    ];
    for (json, text, numeric) in cases {
        let user = claims(json).unwrap().user;
        assert_eq!((user.as_str(), user.is_numeric()), (text, numeric), "{json}");
    }
}

#[test]
fn j7_a_token_without_a_proper_user_id_is_invalid() {
    let long = format!(r#"{{"userId":"{}"}}"#, "x".repeat(129));
    for json in [
        "{}",
        r#"{"username":"Ada"}"#,
        r#"{"userId":""}"#,
        r#"{"userId":{"$ne":null}}"#,
        r#"{"userId":[1]}"#,
        r#"{"userId":true,"id":1}"#,
        r#"{"userId":1.5}"#,
        r#"{"sub":"a\u0000b"}"#,
        &long,
    ] {
        assert!(invalid(claims(json)), "{json}");
    }
}

#[test]
fn the_username_falls_back_to_the_id_and_is_bounded() {
    for (json, name) in [
        (r#"{"id":5,"username":"Ada Ł"}"#, "Ada Ł"),
        (r#"{"id":5}"#, "5"),
        (r#"{"id":5,"username":""}"#, "5"),
        (r#"{"id":5,"username":null}"#, "5"),
        (r#"{"id":5,"username":{"a":1}}"#, "5"),
    ] {
        assert_eq!(&*claims(json).unwrap().username, name, "{json}");
    }
    let name = |length| format!(r#"{{"id":5,"username":"{}"}}"#, "x".repeat(length));
    assert!(claims(&name(MAX_USERNAME_BYTES)).is_ok());
    assert!(invalid(claims(&name(MAX_USERNAME_BYTES + 1))));
    assert!(invalid(claims(r#"{"id":5,"username":"\u001b[2J"}"#)));
}

#[test]
fn j1_only_the_keys_own_algorithm_and_three_segments_count() {
    for alg in ["none", "None", "nOnE", "", "HS384", "HS512", "RS256", "hs256"] {
        assert!(invalid(header(&format!(r#"{{"alg":"{alg}"}}"#))), "{alg}");
    }
    for text in
        ["{}", r#"{"alg":["HS256"]}"#, r#"{"alg":null}"#, r#"["HS256"]"#, "null", "", "{", r#"{"alg":"HS256"} x"#]
    {
        assert!(invalid(header(text)), "{text}");
    }
    assert!(header(r#"{"alg":"HS256"}"#).is_ok());

    let token = forge(r#"{"alg":"HS256"}"#, r#"{"id":5}"#, SECRET);
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (head, payload) = message.split_once('.').unwrap();
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    for bad in [
        format!("{message}."),
        message.to_owned(),
        format!("{token}."),
        format!("{token}.{signature}"),
        format!(".{token}"),
        format!("{head}..{signature}"),
        format!("{none}.{payload}."),
        format!("{head}.{payload}.{payload}.{signature}.{signature}"),
        "a.b.c".to_owned(),
        "..".to_owned(),
    ] {
        assert!(invalid(verify(&bad, &keys(), NOW)), "{bad}");
    }
    assert_eq!(verify("", &keys(), NOW), Err(AuthError::Required));
}

#[test]
fn j2_a_public_key_is_no_hmac_secret() {
    for pem in [RSA_KEY, EC_KEY, ED_KEY] {
        let keys = Keys::from_public_pem(pem).unwrap();
        for secret in [pem.to_owned(), pem.trim().to_owned(), format!("\n{pem}"), String::new()] {
            for alg in ["HS256", &keys.algorithms()] {
                let token = forge(&format!(r#"{{"alg":"{alg}"}}"#), r#"{"id":5}"#, &secret);
                assert!(invalid(verify(&token, &keys, NOW)), "{alg}");
            }
        }
        assert_eq!(Keys::from_secret(pem).unwrap_err(), KeyError::PemAsSecret);
    }
}

#[test]
fn j3_an_empty_secret_is_no_key() {
    for secret in ["", "  ", "\n"] {
        assert_eq!(Keys::from_secret(secret).unwrap_err(), KeyError::EmptySecret);
    }
}

#[test]
fn j4_times_are_numbers_with_five_seconds_of_leeway() {
    for name in ["exp", "nbf", "iat"] {
        for value in ["\"never\"", "\"99999999999\"", "null", "1e400", "NaN", "[1]", "{}", "true", "-"] {
            assert!(invalid(claims(&format!(r#"{{"id":5,"{name}":{value}}}"#))), "{name} {value}");
        }
    }
    let exp = |value: &str| claims(&format!(r#"{{"id":5,"exp":{value}}}"#)).map(|claims| claims.expires_at);
    assert_eq!(exp("1699999996"), Ok(Some(1_699_999_996)), "within the leeway");
    assert_eq!(exp("1699999995"), Err(AuthError::Expired), "the leeway is over");
    assert_eq!(exp("1699999995.5"), Ok(Some(1_699_999_995)));
    assert_eq!(exp("1700000060.75"), Ok(Some(1_700_000_060)));
    for past in ["-1", "-1.5", "0", "-1e300", "-9223372036854775808"] {
        assert_eq!(exp(past), Err(AuthError::Expired), "{past}");
    }
    assert_eq!(exp("9223372036854775808"), Ok(Some(1 << 63)));
    assert_eq!(exp("1e300"), Ok(Some(u64::MAX)));

    let nbf = |value: u64| claims(&format!(r#"{{"id":5,"nbf":{value}}}"#));
    assert!(nbf(NOW + 5).is_ok());
    assert!(invalid(nbf(NOW + 6)));
}

#[test]
fn j4_when_a_token_was_made_is_believed_unless_that_lies_ahead() {
    let iat = |value: &str| claims(&format!(r#"{{"id":5,"iat":{value}}}"#)).unwrap().issued_at;
    assert_eq!(claims(r#"{"id":5}"#).unwrap().issued_at, None);
    for (value, issued_at) in [
        ("1699999000", Some(1_699_999_000)),
        ("1699999000.9", Some(1_699_999_000)),
        ("1700000005", Some(1_700_000_005)),
        ("1700000006", None),
        ("9223372036854775808", None),
        ("1e300", None),
        ("-1", Some(0)),
    ] {
        assert_eq!(iat(value), issued_at, "{value}");
    }
}

#[test]
fn j8_the_name_of_a_token_is_a_bounded_text_or_the_token_is_invalid() {
    let id = |value: &str| claims(&format!(r#"{{"id":5,"jti":{value}}}"#)).map(|claims| claims.token_id);
    assert_eq!(claims(r#"{"id":5}"#).unwrap().token_id, None);
    assert_eq!(id("null").unwrap(), None);
    let text = |length| format!("\"{}\"", "x".repeat(length));
    assert_eq!(id("\"9f2c-é\"").unwrap().as_deref(), Some("9f2c-é"));
    assert!(id(&text(MAX_TOKEN_ID_BYTES)).is_ok());
    for bad in
        ["\"\"", "5", "true", "[\"a\"]", "{\"$ne\":1}", r#""a\u0000""#, r#""a\n""#, &text(MAX_TOKEN_ID_BYTES + 1)]
    {
        assert!(invalid(id(bad).map(|_| Claims::new(UserId::nobody(), "".into()))), "{bad}");
    }
    assert!(invalid(claims(r#"{"id":5,"jti":"a","jti":"b"}"#)));
}

#[test]
fn j4_exp_is_demanded_when_so_configured() {
    let token = forge(r#"{"alg":"HS256"}"#, r#"{"id":5}"#, SECRET);
    assert_eq!(verify(&token, &keys(), NOW).unwrap().expires_at, None);
    assert!(invalid(verify(&token, &keys().with_required_exp(true), NOW)));
}

#[test]
fn j5_what_a_token_points_at_is_never_followed_and_crit_never_understood() {
    for extra in [
        r#""kid":"../../dev/null""#,
        r#""kid":"' OR 1=1""#,
        r#""kid":5"#,
        r#""jku":"http://127.0.0.1/","x5u":"file:///etc/passwd""#,
        r#""jwk":{"kty":"oct","k":"AAAA"}"#,
    ] {
        assert!(header(&format!(r#"{{"alg":"HS256",{extra}}}"#)).is_ok(), "{extra}");
        let token = forge(&format!(r#"{{"alg":"HS256",{extra}}}"#), r#"{"id":5}"#, "AAAA");
        assert!(invalid(verify(&token, &keys(), NOW)), "{extra}");
    }
    for crit in [r#"["b64"]"#, "[]", "null", "\"x\""] {
        assert!(invalid(header(&format!(r#"{{"alg":"HS256","crit":{crit}}}"#))), "{crit}");
    }
}

#[test]
fn j6_length_comes_first_and_base64_is_canonical() {
    for huge in [".".repeat(1 << 20), "x".repeat(MAX_TOKEN_BYTES + 1)] {
        assert_eq!(verify(&huge, &keys(), NOW), Err(AuthError::Invalid("it is longer than 8 KB")));
    }
    let token = forge(r#"{"alg":"HS256"}"#, r#"{"id":55}"#, SECRET);
    assert!(verify(&token, &keys(), NOW).is_ok());
    // 32 bytes leave two unused bits in the last character: its three successors decode to the same bytes.
    let (rest, last) = token.split_at(token.len() - 1);
    let next = char::from(last.as_bytes()[0] + 1);
    for bad in
        [format!("{token}="), format!("{token} "), format!(" {token}"), format!("{token}\n"), format!("{rest}{next}")]
    {
        assert!(invalid(verify(&bad, &keys(), NOW)), "{bad:?}");
    }
}

#[test]
fn j6_a_claim_given_twice_is_refused() {
    for json in [
        r#"{"userId":1,"userId":2}"#,
        r#"{"id":1,"exp":2000000000,"exp":1}"#,
        r#"{"id":1,"username":"a","username":"b"}"#,
    ] {
        assert!(invalid(claims(json)), "{json}");
    }
    assert!(invalid(header(r#"{"alg":"HS256","alg":"HS256"}"#)));
    assert!(claims(r#"{"id":1,"role":"a","role":"b"}"#).is_ok(), "claims that nobody reads may be anything");
    for json in ["[1,2,3,\"a\",null,null,null]", "\"text\"", "5", "{\"id\":1}{}", "{\"id\":\"\u{0}\"}", "nul"] {
        assert!(invalid(claims(json)), "{json}");
    }
    let deep = |name: &str| claims(&format!(r#"{{"id":1,"{name}":{}1{}}}"#, "[".repeat(2000), "]".repeat(2000)));
    assert!(deep("x").is_ok(), "depth of what nobody reads costs no stack");
    assert!(invalid(deep("username")));
}

#[test]
fn j7_a_token_of_another_secret_is_invalid_and_foreign_claims_are_ignored() {
    let token = forge(r#"{"alg":"HS256"}"#, r#"{"id":5}"#, "another secret");
    assert!(invalid(verify(&token, &keys(), NOW)));
    assert!(claims(r#"{"id":5,"iss":"x","aud":["a","b"]}"#).is_ok());
}

#[test]
fn j7_each_kind_of_public_key_verifies_its_own_tokens_only_and_no_signature_of_zeros() {
    let all = [(RSA_KEY, RSA_TOKEN, "RS256"), (EC_KEY, EC_TOKEN, "ES256"), (ED_KEY, ED_TOKEN, "EdDSA")];
    for (pem, token, name) in all {
        let keys = Keys::from_public_pem(pem).unwrap();
        assert_eq!(keys.algorithms(), name);
        let claims = verify(token, &keys, NOW).unwrap();
        assert_eq!((claims.user.as_str(), &*claims.username, claims.expires_at), ("42", "Ada", Some(2_000_000_000)));
        assert_eq!(verify(token, &keys, 2_000_000_005), Err(AuthError::Expired));
        for (_, foreign, _) in all.iter().filter(|(other, ..)| *other != pem) {
            assert!(invalid(verify(foreign, &keys, NOW)));
        }
        let (message, signature) = token.rsplit_once('.').unwrap();
        let (head, _) = message.split_once('.').unwrap();
        let admin = URL_SAFE_NO_PAD.encode(r#"{"userId":1}"#);
        for forged in [
            format!("{head}.{admin}.{signature}"),
            format!("{message}.{}", URL_SAFE_NO_PAD.encode([0; 64])),
            format!("{message}.{}", &signature[..signature.len() - 4]),
            format!("{message}."),
        ] {
            assert!(invalid(verify(&forged, &keys, NOW)), "{name} {forged}");
        }
    }
}

#[test]
fn unfit_public_keys_are_refused_when_read() {
    for pem in [RSA_1024, P_384, SECP256K1] {
        assert_eq!(Keys::from_public_pem(pem).unwrap_err(), KeyError::Unsupported, "{pem}");
    }
    let private = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----";
    assert_eq!(Keys::from_public_pem(private).unwrap_err(), KeyError::PrivateKey);
    let certificate = EC_KEY.replace("PUBLIC KEY", "CERTIFICATE");
    let short = "-----BEGIN PUBLIC KEY-----\nMAwwBQYDK2VwAwMAAAE=\n-----END PUBLIC KEY-----\n";
    for pem in ["", "secret", &certificate, &format!("{EC_KEY}{ED_KEY}"), "-----BEGIN PUBLIC KEY-----\n%\n", short] {
        assert!(Keys::from_public_pem(pem).is_err(), "{pem}");
    }
}

#[test]
fn what_sign_makes_verify_believes() {
    for (text, numeric) in [("42", true), ("42", false), ("ada", false)] {
        let user = UserId::from_parts(text, numeric).unwrap();
        let token = sign(&user, "Ada", SECRET, NOW, Duration::from_secs(60)).unwrap();
        let claims = verify(&token, &keys().with_required_exp(true), NOW).unwrap();
        assert_eq!((claims.user.as_str(), claims.user.is_numeric()), (text, numeric));
        assert_eq!((&*claims.username, claims.expires_at), ("Ada", Some(NOW + 60)));
        assert_eq!(verify(&token, &keys(), NOW + 65), Err(AuthError::Expired));
    }
    let user = UserId::from_text("ada").unwrap();
    assert!(sign(&user, "a\nb", SECRET, NOW, Duration::ZERO).is_err());
}

#[test]
fn every_error_has_the_clients_code_and_one_of_two_messages() {
    for (error, code, message) in [
        (AuthError::Required, "auth_required", "Authentication required"),
        (AuthError::Invalid("x"), "token_invalid", "Invalid token"),
        (AuthError::Expired, "token_expired", "Invalid token"),
    ] {
        assert_eq!((error.code(), error.message()), (code, message));
    }
    assert!(!format!("{:?}", keys()).contains(SECRET));
}
