//! `GET /`: in development a page to try the chat with, in production one line that says what this is.
//!
//! Owns the page, its content security policy, and the tokens it asks for. Without a [`Playground`](super::settings::Playground)
//! in the settings neither the page nor the tokens exist.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};

use super::core::{Shared, now};
use super::http::{self, Response};
use crate::auth;
use crate::chat::json::Object;
use crate::engineio::handshake::percent_decode;
use crate::ids::UserId;

const PAGE: &str = include_str!("page/index.html");

/// How long a token of the page is good: a day of trying.
const TOKEN_TTL: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// `GET /`.
pub(crate) fn root(shared: &Shared) -> Response {
    if shared.settings.playground.is_none() {
        let path = &shared.settings.edge.socket_path;
        let text = format!("ALT WebSocket Service: connect with a socket.io client at {path}\n");
        return http::with_body(StatusCode::OK, "text/plain; charset=UTF-8", text);
    }
    let mut random = [0; 16];
    if getrandom::fill(&mut random).is_err() {
        return http::json(StatusCode::SERVICE_UNAVAILABLE, "{\"message\":\"No randomness\"}".to_owned());
    }
    let nonce = STANDARD.encode(random);
    let page = PAGE.replacen("/socket.io/", shared.settings.edge.socket_path.as_str(), 1);
    let page = page.replacen("<script>", &format!("<script nonce=\"{nonce}\">"), 1).replacen(
        "<style>",
        &format!("<style nonce=\"{nonce}\">"),
        1,
    );
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut response = http::with_body(StatusCode::OK, "text/html; charset=UTF-8", page);
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// `GET /dev/token?user=…&name=…`: a token for whoever asks, in development only.
pub(crate) fn token(shared: &Shared, query: &str) -> Response {
    let Some(secret) = shared.settings.playground.as_ref().and_then(|playground| playground.secret.as_ref()) else {
        return http::json(StatusCode::NOT_FOUND, "{\"message\":\"Not found\"}".to_owned());
    };
    let parameter = |name: &str| {
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| String::from_utf8_lossy(&percent_decode(value).collect::<Vec<_>>()).into_owned())
    };
    let user = parameter("user").unwrap_or_default();
    let name = parameter("name").filter(|name| !name.is_empty()).unwrap_or_else(|| user.clone());
    let signed = UserId::from_text(&user).map_err(|error| error.to_string()).and_then(|user| {
        auth::sign(&user, &name, secret.reveal(), now().wall.0 / 1000, TOKEN_TTL).map_err(|e| e.to_string())
    });
    match signed {
        Ok(token) => http::json(StatusCode::OK, Object::with_capacity(256).field("token", &token).finish()),
        Err(message) => {
            http::json(StatusCode::BAD_REQUEST, Object::with_capacity(96).field("message", &message).finish())
        }
    }
}
