//! The cookie of a handshake: for a proxy to keep a session on one server by, and for nothing else.

use alt_ws::config::{CookieName, Origins, TrustProxy};
use alt_ws::server::Server;

use crate::support::raw::{Frame, HANDSHAKE, Raw, UPGRADE, get, http, websocket_path};
use crate::support::{start, start_with};

fn start_with_cookie() -> Server {
    start_with(|settings| {
        settings.edge.cookie_name = CookieName::parse("io");
        settings.edge.proxies = TrustProxy::parse("127.0.0.1").unwrap();
        settings.origins = Origins::SameOrigin;
    })
}

fn sid(open: &[u8]) -> String {
    let open = std::str::from_utf8(open).unwrap();
    serde_json::from_str::<serde_json::Value>(&open[open.find('{').unwrap()..]).unwrap()["sid"].as_str().unwrap().into()
}

#[tokio::test]
async fn e13_a_handshake_sets_the_cookie_out_of_reach_of_scripts_and_foreign_sites() {
    let server = start_with_cookie();
    for (headers, secure) in [
        ("", ""),
        ("X-Forwarded-Proto: https\r\n", "; Secure"),
        ("X-Forwarded-Proto: http\r\n", ""),
        ("Forwarded: for=1.1.1.1;proto=https\r\n", "; Secure"),
    ] {
        let polling = get(server.address(), HANDSHAKE, headers).await;
        let expected = format!("io={}; Path=/; HttpOnly; SameSite=Lax{secure}", sid(&polling.body));
        assert_eq!(polling.values("set-cookie"), [expected], "{headers}");
        let mut raw = Raw::open(server.address()).await;
        raw.write(format!("GET {} HTTP/1.1\r\nHost: x\r\n{headers}{UPGRADE}\r\n", websocket_path(None))).await;
        let upgrade = raw.answer().await.unwrap();
        let Frame::Text(open) = raw.frame().await else { panic!("no open packet") };
        let expected = format!("io={}; Path=/; HttpOnly; SameSite=Lax{secure}", sid(open.as_bytes()));
        assert_eq!(upgrade.values("set-cookie"), [expected], "{headers}");
    }
}

#[tokio::test]
async fn e13_without_a_name_or_without_a_handshake_no_cookie_is_set() {
    let plain = start();
    assert!(get(plain.address(), HANDSHAKE, "").await.values("set-cookie").is_empty());
    let server = start_with_cookie();
    for path in ["/livez", "/", "/socket.io/?EIO=4&transport=x"] {
        assert!(get(server.address(), path, "").await.values("set-cookie").is_empty(), "{path}");
    }
    let foreign = get(server.address(), HANDSHAKE, "Origin: https://evil.example\r\n").await;
    assert_eq!((foreign.status, foreign.values("set-cookie").len()), (200, 0), "a page that may not read the answer");
    let sid = sid(&get(server.address(), HANDSHAKE, "").await.body);
    assert_eq!(http(server.address(), "POST", &format!("{HANDSHAKE}&sid={sid}"), "40").await.0, 200);
    let poll = get(server.address(), &format!("{HANDSHAKE}&sid={sid}"), "").await;
    assert_eq!((poll.status, poll.values("set-cookie").len()), (200, 0));
}

#[tokio::test]
async fn e13_a_cookie_that_comes_back_opens_nothing() {
    let server = start_with_cookie();
    let first = sid(&get(server.address(), HANDSHAKE, "").await.body);
    for cookie in [
        format!("io={first}"),
        format!("io={first}; io=x; Max-Age=9223372036854775808"),
        "io=\r\nCookie: io=constructor".into(),
        format!("io={}", "x".repeat(10_000)),
        ";;=;\u{80}".into(),
    ] {
        let headers = format!("Cookie: {cookie}\r\n");
        let again = get(server.address(), HANDSHAKE, &headers).await;
        assert_eq!(again.status, 200);
        assert_ne!(sid(&again.body), first, "a new session, whatever the cookie says");
        let mut raw = Raw::open(server.address()).await;
        raw.write(format!("POST {HANDSHAKE} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: 2\r\n\r\n40")).await;
        assert_eq!(raw.status().await, Some(400), "a post belongs to the session that its query names");
    }
}
