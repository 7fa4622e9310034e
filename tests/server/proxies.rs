//! Behind a proxy: whose connections are counted, and who cannot have them counted for somebody else.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use alt_ws::config::TrustProxy;
use alt_ws::server::Server;

use crate::support::raw::{Frame, HANDSHAKE, Polling, Raw, UPGRADE, get, websocket_path};
use crate::support::{soon, start_with};

fn start(trust: &str, most: u32) -> Server {
    start_with(|settings| {
        settings.edge.proxies = TrustProxy::parse(trust).unwrap();
        settings.max_connections_per_ip = NonZeroU32::new(most);
    })
}

/// Opens a WebSocket for a client as a proxy would.
async fn websocket(address: SocketAddr, forwarded: &str, sid: Option<&str>) -> (u16, Raw) {
    let mut raw = Raw::open(address).await;
    raw.write(format!("GET {} HTTP/1.1\r\nHost: x\r\n{UPGRADE}{forwarded}\r\n\r\n", websocket_path(sid))).await;
    (raw.answer().await.unwrap().status, raw)
}

#[tokio::test]
async fn h6_who_is_no_proxy_of_ours_cannot_dodge_the_limit_of_its_address() {
    let server = start("10.0.0.0/8,::1", 2);
    let mut held = Vec::new();
    for forged in ["X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 10.0.0.1", "Forwarded: for=3.3.3.3"] {
        let mut raw = Raw::open(server.address()).await;
        raw.try_write(format!("GET /livez HTTP/1.1\r\nHost: x\r\n{forged}\r\n\r\n").as_bytes()).await;
        let expected = if held.len() < 2 { Some(200) } else { None };
        assert_eq!(raw.status().await, expected, "{forged}");
        held.push(raw);
    }
}

#[tokio::test]
async fn h6_behind_our_proxy_the_last_address_counts_whatever_the_client_wrote_before_it() {
    for trust in ["127.0.0.1", "1"] {
        let server = start(trust, 2);
        let address = server.address();
        let client = "X-Forwarded-For: 1.1.1.1";
        let (first, one) = websocket(address, client, None).await;
        let (second, _two) = websocket(address, client, None).await;
        assert_eq!((first, second), (101, 101));
        for again in [
            client,
            "X-Forwarded-For: 9.9.9.9, 1.1.1.1",
            "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 1.1.1.1:4711",
            "X-Forwarded-For: ::ffff:1.1.1.1",
            "Forwarded: for=9.9.9.9, for=\"1.1.1.1:80\"",
        ] {
            let (status, _) = websocket(address, again, None).await;
            assert_eq!(status, 429, "{again}");
            assert_eq!(get(address, "/livez", &format!("{again}\r\n")).await.status, 429, "{again}");
        }
        assert_eq!(get(address, "/livez", "X-Forwarded-For: 1.1.1.1, 2.2.2.2\r\n").await.status, 200, "another client");
        assert_eq!(get(address, "/livez", "").await.status, 200, "the proxy itself");
        drop(one);
        soon(async { while websocket(address, client, None).await.0 != 101 {} }).await;
    }
}

#[tokio::test]
async fn h6_the_header_that_our_proxy_does_not_write_is_not_believed() {
    let server = start("127.0.0.1", 1);
    let (status, _held) = websocket(server.address(), "X-Forwarded-For: 1.1.1.1\r\nForwarded: for=6.6.6.6", None).await;
    assert_eq!(status, 101);
    let (status, _) = websocket(server.address(), "X-Forwarded-For: 1.1.1.1\r\nForwarded: for=7.7.7.7", None).await;
    assert_eq!(status, 429, "both count for the proxy");
    assert_eq!(get(server.address(), "/livez", "X-Forwarded-For: 1.1.1.1\r\n").await.status, 200);
}

#[tokio::test]
async fn a_client_behind_a_proxy_is_counted_for_each_poll_that_waits_and_not_after_it() {
    let server = start("127.0.0.1", 1);
    let client = "X-Forwarded-For: 2001:db8::1\r\n";
    let neighbour = "X-Forwarded-For: [2001:db8::ffff]:80\r\n";
    let session = Polling::open(server.address()).await;
    let mut poll = Raw::open(server.address()).await;
    poll.write(format!("GET {} HTTP/1.1\r\nHost: x\r\n{client}\r\n", session.path())).await;
    soon(async { while get(server.address(), "/livez", neighbour).await.status != 429 {} }).await;
    assert_eq!(get(server.address(), "/livez", "X-Forwarded-For: 2001:db8:0:1::1\r\n").await.status, 200);
    // The poll ends because its client leaves; then because it is answered.
    drop(poll);
    soon(async { while get(server.address(), "/livez", neighbour).await.status != 200 {} }).await;
    let session = Polling::open(server.address()).await;
    let mut poll = Raw::open(server.address()).await;
    poll.write(format!("GET {} HTTP/1.1\r\nHost: x\r\n{client}\r\n", session.path())).await;
    soon(async { while get(server.address(), "/livez", neighbour).await.status != 429 {} }).await;
    session.post("40").await;
    assert_eq!(poll.status().await, Some(200));
    assert_eq!(get(server.address(), "/livez", neighbour).await.status, 200, "its connection alone is not counted");
}

#[tokio::test]
async fn many_clients_come_over_one_connection_of_a_proxy_and_a_refused_one_hurts_no_other() {
    let server = start("127.0.0.1", 1);
    // Over two cores: the count is common, and the place of an upgraded session is given back from either.
    for round in 0..8 {
        // Of one who has said who they are: the limit holds for newcomers as well.
        let session = Polling::join(server.address(), "ann", "r").await;
        let (status, mut held) = websocket(server.address(), "X-Forwarded-For: 1.1.1.1", Some(&session.sid)).await;
        assert_eq!(status, 101);
        let mut proxy = Raw::open(server.address()).await;
        let (second, third) = (format!("2.2.2.{round}"), format!("3.3.3.{round}"));
        for (client, expected) in [("1.1.1.1", 429), (&second, 200), ("1.1.1.1", 429), (&third, 200)] {
            proxy.write(format!("GET {HANDSHAKE} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\n\r\n")).await;
            assert_eq!(proxy.status().await, Some(expected), "{client}");
        }
        held.write(b"\xff\xff").await;
        while held.frame().await != Frame::End {}
        drop(held);
        soon(async { while get(server.address(), "/livez", "X-Forwarded-For: 1.1.1.1\r\n").await.status != 200 {} })
            .await;
    }
}
