//! Which web pages may talk to the server: the CORS headers of every answer, preflights, and the verdict that WebSocket
//! upgrades are held to.
//!
//! Owns the comparison of origins. The answers are those of the reference server's `cors` package, except that an origin
//! that is not allowed is given nothing at all, and that a wildcard does not claim to allow credentials, which no browser
//! believes it (Fetch, 3.3.5).

use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};

use super::http::{self, Response};
use crate::config::Origins;

/// How long a browser may keep what a preflight answered, in seconds: few enough that an origin that is taken off the
/// list is off soon.
const PREFLIGHT_SECONDS: HeaderValue = HeaderValue::from_static("600");

/// What is thought of one request's origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Whether a page of that origin may connect. What comes from no page may.
    pub(crate) is_allowed: bool,
    /// What stands in `Access-Control-Allow-Origin`.
    shown: Option<HeaderValue>,
    /// Whether another origin would have been answered differently.
    varies: bool,
}

/// Judges a request by its `Origin`.
pub(crate) fn judge(origins: &Origins, headers: &HeaderMap) -> Verdict {
    let mut all = headers.get_all(header::ORIGIN).iter();
    let origin = all.next();
    // No browser names two; of two, a proxy and we could believe different ones.
    let is_single = all.next().is_none();
    match (origins, origin) {
        (Origins::Any, _) => Verdict { is_allowed: true, shown: Some(HeaderValue::from_static("*")), varies: false },
        (_, None) => Verdict { is_allowed: true, shown: None, varies: true },
        (origins, Some(origin)) => {
            let is_listed = is_single && is_listed(origins, origin);
            let is_allowed = is_listed || (is_single && is_same_origin(origin, headers));
            Verdict { is_allowed, shown: is_listed.then(|| origin.clone()), varies: true }
        }
    }
}

impl Verdict {
    /// Adds what a browser needs to let the page read the answer.
    pub(crate) fn apply(self, headers: &mut HeaderMap) {
        if self.varies {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        let Some(origin) = self.shown else { return };
        if self.varies {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }

    /// The answer to `OPTIONS`: what a page of an allowed origin may send, and nothing for others.
    pub(crate) fn preflight(&self, asked: &HeaderMap) -> Response {
        let mut response = http::empty(StatusCode::NO_CONTENT);
        let headers = response.headers_mut();
        headers.append(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
        if self.shown.is_some() {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET,HEAD,POST"));
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS);
            // Names of headers are plain text; what is not is no browser's question, and is not repeated.
            let wanted = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS).filter(|wanted| wanted.to_str().is_ok());
            if let Some(wanted) = wanted {
                headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
            }
        }
        response
    }
}

/// Only an origin that stands in the list, letter by letter, is ever shown back.
fn is_listed(origins: &Origins, origin: &HeaderValue) -> bool {
    match origins {
        Origins::Any => true,
        Origins::List(list) => list.iter().any(|listed| listed.as_bytes() == origin.as_bytes()),
        Origins::SameOrigin => false,
    }
}

/// Whether a page of this very host asks. The scheme is the proxy's business: behind one, ours is always http.
fn is_same_origin(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return false };
    let schemes: [&[u8]; 2] = [b"http://", b"https://"];
    schemes.iter().any(|scheme| origin.as_bytes().strip_prefix(*scheme) == Some(host.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    /// What the answer to a request with these headers shows: its CORS headers, in the order of their names.
    fn shown(origins: &Origins, pairs: &[(&'static str, &'static str)], method: &str) -> Vec<String> {
        let asked = headers(pairs);
        let verdict = judge(origins, &asked);
        let mut response = if method == "OPTIONS" { verdict.preflight(&asked) } else { http::empty(StatusCode::OK) };
        verdict.apply(response.headers_mut());
        let mut shown: Vec<_> = response
            .headers()
            .iter()
            .map(|(name, value)| {
                format!("{}: {}", name.as_str().replace("access-control-", ""), value.to_str().unwrap())
            })
            .collect();
        shown.sort();
        shown
    }

    #[test]
    fn e11_only_a_listed_origin_is_shown_back_and_only_it_may_bring_credentials() {
        let list = Origins::parse("https://a.example,https://b.example:8443").unwrap();
        for origin in ["https://a.example", "https://b.example:8443"] {
            let expected = ["allow-credentials: true".into(), format!("allow-origin: {origin}"), "vary: Origin".into()];
            assert_eq!(shown(&list, &[("origin", origin)], "GET"), expected);
        }
        for origin in [
            "null",
            "https://a.example.evil",
            "https://evila.example",
            "http://a.example",
            "https://a.example:444",
            "https://b.example",
            "https://A.example",
            "https://a.example/",
            "https://a.example,https://b.example:8443",
            "*",
        ] {
            assert_eq!(shown(&list, &[("origin", origin)], "GET"), ["vary: Origin"], "{origin}");
            assert!(!judge(&list, &headers(&[("origin", origin)])).is_allowed, "{origin}");
        }
        assert_eq!(shown(&list, &[], "GET"), ["vary: Origin"]);
        assert!(judge(&list, &headers(&[])).is_allowed, "what comes from no page");
        let two = [("origin", "https://a.example"), ("origin", "https://evil.example")];
        assert_eq!(shown(&list, &two, "GET"), ["vary: Origin"]);
        assert!(!judge(&list, &headers(&two)).is_allowed);
    }

    #[test]
    fn a_wildcard_is_the_same_for_everybody_and_brings_no_credentials() {
        for pairs in [&[][..], &[("origin", "https://a.example")], &[("origin", "null")]] {
            assert_eq!(shown(&Origins::Any, pairs, "GET"), ["allow-origin: *"]);
            assert!(judge(&Origins::Any, &headers(pairs)).is_allowed);
        }
    }

    #[test]
    fn pages_of_the_servers_own_host_need_no_permission() {
        for (origin, host, is_allowed) in [
            ("https://chat.example", "chat.example", true),
            ("http://127.0.0.1:3001", "127.0.0.1:3001", true),
            ("https://chat.example", "chat.example:8443", false),
            ("https://chat.example.evil", "chat.example", false),
            ("ftp://chat.example", "chat.example", false),
            ("null", "null", false),
        ] {
            let asked = headers(&[("origin", origin), ("host", host)]);
            let verdict = judge(&Origins::SameOrigin, &asked);
            assert_eq!((verdict.is_allowed, verdict.shown), (is_allowed, None), "{origin} {host}");
        }
    }

    #[test]
    fn a_preflight_permits_nothing_to_strangers() {
        let list = Origins::parse("https://a.example").unwrap();
        let ask = |origin| {
            [
                ("origin", origin),
                ("access-control-request-method", "POST"),
                ("access-control-request-headers", "authorization"),
            ]
        };
        let permitted = ["allow-headers: authorization", "allow-methods: GET,HEAD,POST"];
        let vary = ["vary: Access-Control-Request-Headers"];
        assert_eq!(
            shown(&list, &ask("https://a.example"), "OPTIONS"),
            [
                &["allow-credentials: true"][..],
                &permitted[..1],
                &permitted[1..],
                &["allow-origin: https://a.example", "max-age: 600"],
                &vary,
                &["vary: Origin"],
            ]
            .concat()
        );
        assert_eq!(shown(&list, &ask("https://evil.example"), "OPTIONS"), [vary[0], "vary: Origin"]);
        assert_eq!(
            shown(&Origins::Any, &ask("https://evil.example"), "OPTIONS"),
            [permitted[0], permitted[1], "allow-origin: *", "max-age: 600", vary[0]]
        );
    }
}
