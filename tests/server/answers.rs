//! What answers look like: compression, and what no browser may take them for.

use std::io::Read;

use serde_json::json;

use crate::support::chatter::Chatter;
use crate::support::raw::{HANDSHAKE, HttpAnswer, Polling, get, http};
use crate::support::start;

fn plain(answer: &HttpAnswer) -> String {
    let mut text = String::new();
    match answer.values("content-encoding")[..] {
        [] => text = String::from_utf8(answer.body.clone()).unwrap(),
        ["gzip"] => _ = flate2::read::GzDecoder::new(&*answer.body).read_to_string(&mut text).unwrap(),
        ["deflate"] => _ = flate2::read::ZlibDecoder::new(&*answer.body).read_to_string(&mut text).unwrap(),
        ref other => panic!("{other:?}"),
    }
    text
}

#[tokio::test]
async fn a_long_answer_to_a_poll_is_compressed_for_those_who_take_it() {
    let server = start();
    let session = Polling::join(server.address(), "ann", "r").await;
    let mut bob = Chatter::join(server.address(), "bob", "r").await;
    while !session.poll().await.contains("user:joined") {}
    for (accepted, length, expected) in [
        ("gzip, deflate, br", 200_000, &["gzip"][..]),
        ("gzip, deflate, br", 65_000, &["gzip"]),
        ("deflate", 2000, &["deflate"]),
        ("gzip", 2000, &["gzip"]),
        ("gzip", 10, &[]),
        ("br", 2000, &[]),
        ("gzip;q=0", 2000, &[]),
    ] {
        let mut left = length;
        while left > 0 {
            let content = "~".repeat(left.min(60_000));
            left -= content.len();
            assert_eq!(bob.ask("message:send", json!({"roomId": "r", "content": content})).await["ok"], true);
        }
        let answer = get(server.address(), &session.path(), &format!("Accept-Encoding: {accepted}\r\n")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.values("content-encoding"), expected, "{accepted} {length}");
        assert!(answer.values("vary").contains(&"Accept-Encoding"));
        let text = plain(&answer);
        assert_eq!(text.bytes().filter(|byte| *byte == b'~').count(), length, "{accepted}");
        assert!(expected.is_empty() || answer.body.len() < text.len() / 3, "{} of {}", answer.body.len(), text.len());
    }
    assert!(get(server.address(), HANDSHAKE, "Accept-Encoding: gzip\r\n").await.values("content-encoding").is_empty());
}

#[tokio::test]
async fn e12_nothing_of_a_query_comes_back_and_no_answer_is_taken_for_a_page() {
    let server = start();
    let hostile = "j=0);alert(1)//&x=%3Cscript%3Ealert(1)";
    let (_, open) = http(server.address(), "GET", &format!("{HANDSHAKE}&{hostile}"), "").await;
    assert!(open.starts_with("0{") && open.ends_with('}'), "no JSONP: {open}");
    let session = Polling::open(server.address()).await;
    for path in [
        format!("{HANDSHAKE}&{hostile}"),
        format!("/socket.io/?EIO=4&transport=%3Cscript%3E&{hostile}"),
        format!("{HANDSHAKE}&sid=%3Cscript%3E&{hostile}"),
        format!("/socket.io/?EIO=%3Cscript%3E&transport=polling&{hostile}"),
        format!("/%3Cscript%3E?{hostile}"),
        format!("/dev/token?user=%3Cscript%3E&{hostile}"),
        format!("/livez?{hostile}"),
        format!("/?{hostile}"),
    ] {
        let answer = get(server.address(), &path, "").await;
        assert_eq!(answer.values("x-content-type-options"), ["nosniff"], "{path}");
        let [content_type] = answer.values("content-type")[..] else { panic!("{path}: {answer:?}") };
        assert!(content_type == "application/json" || content_type.starts_with("text/plain"), "{path}: {content_type}");
        let body = String::from_utf8(answer.body).unwrap();
        assert!(!body.contains("script") && !body.contains("alert"), "{path}: {body}");
        assert!(answer.status == 200 || serde_json::from_str::<serde_json::Value>(&body).is_ok(), "{path}: {body}");
    }
    // The answer to a post is for the client's eyes: a constant.
    let (status, body) = http(server.address(), "POST", &format!("{}&{hostile}", session.path()), "40").await;
    assert_eq!((status, body.as_str()), (200, "ok"));
}
